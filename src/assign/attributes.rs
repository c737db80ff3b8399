//! What is known about a subject, lent by the caller.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::BuildHasher;

use serde_json::{Map, Value};

use crate::time::Timestamp;

/// A value of a subject's attribute, borrowed from the caller.
///
/// The conditions of a [`Rule`](crate::Rule) convert nothing: a number never equals a text, and a
/// condition on one kind of value holds of no other. Only dates and versions are also read from
/// texts; see [`Expression`](crate::Expression).
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
    /// A moment.
    Timestamp(Timestamp),
    /// A whole number beyond an `i64`.
    Unsigned(u64),
}

/// As JSON.
impl fmt::Display for Attribute<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Float(value) => Value::from(*value).fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Json(value) => value.fmt(f),
            Self::String(value) => Value::from(*value).fmt(f),
            Self::Timestamp(value) => Value::from(value.to_string()).fmt(f),
            Self::Unsigned(value) => value.fmt(f),
        }
    }
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
///     fn attribute(&self, name: &str) -> Option<Attribute<'_>> {
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
///
/// It is `Sync` so that a [`Subject`](crate::Subject) can be shared between threads. A slice of
/// pairs is lent as `&&pairs[..]`.
pub trait Attributes: Sync {
    /// The value of an attribute; `None` if it is missing.
    fn attribute(&self, name: &str) -> Option<Attribute<'_>>;
}

/// What can be the value of an attribute. `None` and JSON's `null` are a missing attribute.
pub trait ToAttribute {
    /// The value, or `None` for nothing.
    fn to_attribute(&self) -> Option<Attribute<'_>>;
}

impl Attributes for () {
    fn attribute(&self, _: &str) -> Option<Attribute<'_>> {
        None
    }
}

impl<A: Attributes + ?Sized> Attributes for &A {
    fn attribute(&self, name: &str) -> Option<Attribute<'_>> {
        (**self).attribute(name)
    }
}

impl Attributes for Map<String, Value> {
    fn attribute(&self, name: &str) -> Option<Attribute<'_>> {
        self.get(name)?.to_attribute()
    }
}

/// The members of a JSON object; any other value has no attributes.
impl Attributes for Value {
    fn attribute(&self, name: &str) -> Option<Attribute<'_>> {
        self.as_object()?.get(name)?.to_attribute()
    }
}

impl<V: ToAttribute + Sync, S: BuildHasher + Sync> Attributes for HashMap<String, V, S> {
    fn attribute(&self, name: &str) -> Option<Attribute<'_>> {
        self.get(name)?.to_attribute()
    }
}

impl<V: ToAttribute + Sync> Attributes for BTreeMap<String, V> {
    fn attribute(&self, name: &str) -> Option<Attribute<'_>> {
        self.get(name)?.to_attribute()
    }
}

impl<V: ToAttribute + Sync, S: BuildHasher + Sync> Attributes for HashMap<&str, V, S> {
    fn attribute(&self, name: &str) -> Option<Attribute<'_>> {
        self.get(name)?.to_attribute()
    }
}

impl<V: ToAttribute + Sync> Attributes for BTreeMap<&str, V> {
    fn attribute(&self, name: &str) -> Option<Attribute<'_>> {
        self.get(name)?.to_attribute()
    }
}

/// Pairs of name and value; the first of a name counts.
impl<K: AsRef<str> + Sync, V: ToAttribute + Sync> Attributes for [(K, V)] {
    fn attribute(&self, name: &str) -> Option<Attribute<'_>> {
        self.iter().find(|(key, _)| key.as_ref() == name)?.1.to_attribute()
    }
}

impl<K: AsRef<str> + Sync, V: ToAttribute + Sync, const N: usize> Attributes for [(K, V); N] {
    fn attribute(&self, name: &str) -> Option<Attribute<'_>> {
        self.as_slice().attribute(name)
    }
}

impl<K: AsRef<str> + Sync, V: ToAttribute + Sync> Attributes for Vec<(K, V)> {
    fn attribute(&self, name: &str) -> Option<Attribute<'_>> {
        self.as_slice().attribute(name)
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

impl ToAttribute for Attribute<'_> {
    fn to_attribute(&self) -> Option<Attribute<'_>> {
        Some(*self)
    }
}

macro_rules! numbers {
    ($variant:ident: $($number:ty)+) => {$(
        impl ToAttribute for $number {
            fn to_attribute(&self) -> Option<Attribute<'_>> {
                Some(Attribute::$variant((*self).into()))
            }
        }
    )+};
}

numbers!(Integer: i8 i16 i32 i64 u8 u16 u32);
numbers!(Float: f32 f64);

impl ToAttribute for u64 {
    fn to_attribute(&self) -> Option<Attribute<'_>> {
        Some(i64::try_from(*self).map_or(Attribute::Unsigned(*self), Attribute::Integer))
    }
}

impl ToAttribute for usize {
    fn to_attribute(&self) -> Option<Attribute<'_>> {
        // No machine has a wider one.
        let number = u64::try_from(*self).ok()?;
        Some(i64::try_from(number).map_or(Attribute::Unsigned(number), Attribute::Integer))
    }
}

impl ToAttribute for Timestamp {
    fn to_attribute(&self) -> Option<Attribute<'_>> {
        Some(Attribute::Timestamp(*self))
    }
}

impl ToAttribute for Value {
    fn to_attribute(&self) -> Option<Attribute<'_>> {
        match self {
            Self::Null => None,
            Self::Bool(value) => Some(Attribute::Bool(*value)),
            Self::Number(number) => {
                let unsigned = || number.as_u64().map(Attribute::Unsigned);
                let float = || number.as_f64().map(Attribute::Float);
                number.as_i64().map(Attribute::Integer).or_else(unsigned).or_else(float)
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
