//! What is known about a subject, lent by the caller.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;

use serde_json::{Map, Value};

/// A value of a subject's attribute, borrowed from the caller.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Attribute<'a> {
    /// True or false.
    Bool(bool),
    /// A number with a fraction.
    Float(f64),
    /// A whole number.
    Integer(i64),
    /// A JSON array or object.
    Json(&'a Value),
    /// A text.
    String(&'a str),
}

/// What is known about a subject: its attributes by name.
///
/// Implemented for maps, for lists of pairs and for JSON objects. A type of your own lends its
/// fields without copying any:
///
/// ```
/// use variate::{Attribute, Attributes, Subject, ToAttribute};
///
/// struct Request {
///     country: String,
///     app: Option<String>,
/// }
///
/// impl Attributes for Request {
///     fn get(&self, name: &str) -> Option<Attribute<'_>> {
///         match name {
///             "country" => self.country.to_attribute(),
///             "app" => self.app.to_attribute(),
///             _ => None,
///         }
///     }
/// }
///
/// let request = Request { country: "DE".into(), app: None };
/// let subject = Subject::new("device-42").with_attributes(&request);
/// ```
pub trait Attributes: Sync {
    /// The value of an attribute; `None` if it is missing.
    fn get(&self, name: &str) -> Option<Attribute<'_>>;
}

/// What can be the value of an attribute. `None` and JSON's `null` are a missing attribute.
pub trait ToAttribute {
    /// The value, or `None` for nothing.
    fn to_attribute(&self) -> Option<Attribute<'_>>;
}

impl Attributes for () {
    fn get(&self, _: &str) -> Option<Attribute<'_>> {
        None
    }
}

impl<A: Attributes + ?Sized> Attributes for &A {
    fn get(&self, name: &str) -> Option<Attribute<'_>> {
        (**self).get(name)
    }
}

impl Attributes for Map<String, Value> {
    fn get(&self, name: &str) -> Option<Attribute<'_>> {
        self.get(name)?.to_attribute()
    }
}

/// The members of a JSON object; any other value has no attributes.
impl Attributes for Value {
    fn get(&self, name: &str) -> Option<Attribute<'_>> {
        self.as_object()?.get(name)?.to_attribute()
    }
}

impl<V: ToAttribute + Sync, S: BuildHasher + Sync> Attributes for HashMap<String, V, S> {
    fn get(&self, name: &str) -> Option<Attribute<'_>> {
        self.get(name)?.to_attribute()
    }
}

impl<V: ToAttribute + Sync> Attributes for BTreeMap<String, V> {
    fn get(&self, name: &str) -> Option<Attribute<'_>> {
        self.get(name)?.to_attribute()
    }
}

impl<V: ToAttribute + Sync, S: BuildHasher + Sync> Attributes for HashMap<&str, V, S> {
    fn get(&self, name: &str) -> Option<Attribute<'_>> {
        self.get(name)?.to_attribute()
    }
}

impl<V: ToAttribute + Sync> Attributes for BTreeMap<&str, V> {
    fn get(&self, name: &str) -> Option<Attribute<'_>> {
        self.get(name)?.to_attribute()
    }
}

/// Pairs of name and value; the first of a name counts.
impl<K: AsRef<str> + Sync, V: ToAttribute + Sync> Attributes for [(K, V)] {
    fn get(&self, name: &str) -> Option<Attribute<'_>> {
        self.iter().find(|(key, _)| key.as_ref() == name)?.1.to_attribute()
    }
}

impl<K: AsRef<str> + Sync, V: ToAttribute + Sync, const N: usize> Attributes for [(K, V); N] {
    fn get(&self, name: &str) -> Option<Attribute<'_>> {
        Attributes::get(self.as_slice(), name)
    }
}

impl<K: AsRef<str> + Sync, V: ToAttribute + Sync> Attributes for Vec<(K, V)> {
    fn get(&self, name: &str) -> Option<Attribute<'_>> {
        Attributes::get(self.as_slice(), name)
    }
}

impl ToAttribute for str {
    fn to_attribute(&self) -> Option<Attribute<'_>> {
        Some(Attribute::String(self))
    }
}

impl ToAttribute for String {
    fn to_attribute(&self) -> Option<Attribute<'_>> {
        Some(Attribute::String(self))
    }
}

impl ToAttribute for Cow<'_, str> {
    fn to_attribute(&self) -> Option<Attribute<'_>> {
        Some(Attribute::String(self))
    }
}

impl ToAttribute for bool {
    fn to_attribute(&self) -> Option<Attribute<'_>> {
        Some(Attribute::Bool(*self))
    }
}

impl ToAttribute for i64 {
    fn to_attribute(&self) -> Option<Attribute<'_>> {
        Some(Attribute::Integer(*self))
    }
}

impl ToAttribute for f64 {
    fn to_attribute(&self) -> Option<Attribute<'_>> {
        Some(Attribute::Float(*self))
    }
}

impl ToAttribute for Value {
    fn to_attribute(&self) -> Option<Attribute<'_>> {
        match self {
            Self::Null => None,
            Self::Bool(value) => Some(Attribute::Bool(*value)),
            Self::Number(number) => {
                number.as_i64().map(Attribute::Integer).or(number.as_f64().map(Attribute::Float))
            }
            Self::String(value) => Some(Attribute::String(value)),
            Self::Array(_) | Self::Object(_) => Some(Attribute::Json(self)),
        }
    }
}

impl<T: ToAttribute> ToAttribute for Option<T> {
    fn to_attribute(&self) -> Option<Attribute<'_>> {
        self.as_ref()?.to_attribute()
    }
}

impl<T: ToAttribute + ?Sized> ToAttribute for &T {
    fn to_attribute(&self) -> Option<Attribute<'_>> {
        (**self).to_attribute()
    }
}
