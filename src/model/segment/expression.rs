//! What a condition asks of an attribute.

use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

#[cfg(feature = "regex")]
use super::Regex;
use super::rule::{Lists, Printed};
use super::{Bounds, Number, OneOf, Semver};
use crate::error::{Code, Error};
use crate::json::Cursor;
use crate::time::Timestamp;

/// The longest item of a condition's list, in characters.
const MAX_ITEM: usize = 1024;

/// The most items of `listed`.
const MAX_LISTED: usize = 100_000;

/// The most steps of a path.
const MAX_STEPS: usize = 8;

/// The longest step of a path, in characters.
const MAX_STEP: usize = 255;

/// The keys of an expression that is an object.
pub(super) const KEYS: &[&str] = &[
    "contains",
    "starts_with",
    "ends_with",
    "exists",
    "number",
    "semver",
    "date",
    "boolean",
    "regex",
    "listed",
    "path",
    "is",
];

/// Those of them that Auth0's API knows.
#[cfg(feature = "auth0")]
pub(super) const PLAIN_KEYS: &[&str] = &["contains", "starts_with", "ends_with", "exists"];

/// What can be asked of an attribute.
///
/// Each holds of attributes of one kind, and of no other: nothing is converted. So the text `"5"`
/// is no number, and a number is in no list of texts.
///
/// In JSON an expression is an object with one key, such as `{"exists": true}`; only
/// [`OneOf`](Self::OneOf) is a plain list. Each list has at least one item, of at most 1024
/// characters.
///
/// ```
/// use serde_json::json;
/// use variate::{Expression, Rule, Semver, Timestamp};
///
/// let rule = Rule::new()
///     .when("age", Expression::number(18..))
///     .when("app", Expression::semver("4.2.0".parse::<Semver>()?..))
///     .when("joined", Expression::date(..="2026-11-21T12:00:00Z".parse::<Timestamp>()?))
///     .when("geo", Expression::path(["country"], Expression::one_of(["DE"])));
/// let ada = json!({
///     "age": 36.5,
///     "app": "4.10.0",
///     "joined": "2026-11-21T13:00:00+01:00",
///     "geo": {"country": "DE"}
/// });
/// assert!(rule.holds(&ada));
/// # Ok::<(), variate::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expression {
    // Those that nearly every rule has stand first: one comparison tells them from the rest.
    /// It is a text that contains one of these. `{"contains": ["a", "b"]}`
    Contains(Box<[Box<str>]>),
    /// It is a text that ends with one of these. `{"ends_with": ["a", "b"]}`
    EndsWith(Box<[Box<str>]>),
    /// It is there, or is not. `{"exists": true}`
    Exists(bool),
    /// It is a text that equals one of these. `["a", "b"]`
    OneOf(OneOf),
    /// It is a text that begins with one of these. `{"starts_with": ["a", "b"]}`
    StartsWith(Box<[Box<str>]>),
    /// It is this truth value. `{"boolean": true}`
    Boolean(bool),
    /// It is a moment that lies there: a [`Timestamp`], or a text that is read as one.
    /// `{"date": {"gte": "2026-11-21T12:00:00Z"}}`
    Date(Box<Bounds<Timestamp>>),
    /// It is a text that equals one of these, of which there are at most 100,000: they do not count
    /// for the size of a rule. `{"listed": ["u-1", "u-2"]}`
    ///
    /// Clones share the list.
    Listed(Arc<OneOf>),
    /// It is a number that lies there. `{"number": {"eq": 5}}`
    ///
    /// Comparison is exact, be the attribute an integer or a float. NaN lies nowhere.
    Number(Box<Bounds<Number>>),
    /// It is a JSON object in which there is something of which this is true.
    /// `{"path": ["geo", "country"], "is": ["DE"]}`
    ///
    /// What is not there, is `null`, or would stand in what is no object, is missing.
    Path {
        /// The members that lead there: 1 to 8, each of 1 to 255 characters.
        steps: Box<[Box<str>]>,
        /// What must be true of what is there: any expression that is not a path.
        is: Box<Self>,
    },
    /// It is a text in which this is found. `{"regex": "^4\\.[0-9]+"}`
    ///
    /// Without the feature `regex` a rule with it is refused with
    /// [`Code::FeatureMissing`](crate::Code::FeatureMissing).
    #[cfg(feature = "regex")]
    Regex(Regex),
    /// It is a text that is a semantic version that lies there, by precedence.
    /// `{"semver": {"gte": "4.2.0", "lt": "5.0.0"}}`
    Semver(Box<Bounds<Semver>>),
}

impl Expression {
    /// It is a text that contains one of these.
    pub fn contains<T: Into<Box<str>>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::Contains(items.into_iter().map(Into::into).collect())
    }

    /// It is a moment that lies there.
    pub fn date(bounds: impl Into<Bounds<Timestamp>>) -> Self {
        Self::Date(Box::new(bounds.into()))
    }

    /// It is a text that ends with one of these.
    pub fn ends_with<T: Into<Box<str>>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::EndsWith(items.into_iter().map(Into::into).collect())
    }

    /// It is a text that equals one of these, of which there are many.
    pub fn listed<T: Into<Box<str>>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::Listed(Arc::new(OneOf::new(items.into_iter().map(Into::into).collect())))
    }

    /// It is a number that lies there.
    pub fn number(bounds: impl Into<Bounds<Number>>) -> Self {
        Self::Number(Box::new(bounds.into()))
    }

    /// It is a text that equals one of these.
    pub fn one_of<T: Into<Box<str>>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::OneOf(OneOf::new(items.into_iter().map(Into::into).collect()))
    }

    /// It is a JSON object in which these members lead to something of which this is true.
    pub fn path<T: Into<Box<str>>>(steps: impl IntoIterator<Item = T>, is: Self) -> Self {
        Self::Path { steps: steps.into_iter().map(Into::into).collect(), is: Box::new(is) }
    }

    /// It is a text that is a semantic version that lies there.
    pub fn semver(bounds: impl Into<Bounds<Semver>>) -> Self {
        Self::Semver(Box::new(bounds.into()))
    }

    /// It is a text that begins with one of these.
    pub fn starts_with<T: Into<Box<str>>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::StartsWith(items.into_iter().map(Into::into).collect())
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        match self {
            Self::Boolean(_) | Self::Exists(_) => Ok(()),
            Self::Contains(items) => check_items(items).map_err(|error| error.at("contains")),
            Self::Date(bounds) => bounds.check().map_err(|error| error.at("date")),
            Self::EndsWith(items) => check_items(items).map_err(|error| error.at("ends_with")),
            Self::Listed(list) => check_listed(list.items()).map_err(|error| error.at("listed")),
            Self::Number(bounds) => bounds.check().map_err(|error| error.at("number")),
            Self::OneOf(list) => check_items(list.items()),
            Self::Path { steps, is } => {
                check_steps(steps).map_err(|error| error.at("path"))?;
                match &**is {
                    Self::Path { .. } => Err(Error::invalid("must not be a path again")),
                    is => is.check(),
                }
                .map_err(|error| error.at("is"))
            }
            #[cfg(feature = "regex")]
            Self::Regex(_) => Ok(()),
            Self::Semver(bounds) => bounds.check().map_err(|error| error.at("semver")),
            Self::StartsWith(items) => check_items(items).map_err(|error| error.at("starts_with")),
        }
    }
}

fn check_items(items: &[Box<str>]) -> Result<(), Error> {
    if items.is_empty() {
        return Err(Error::invalid("must have at least one item"));
    }
    match items.iter().position(|item| is_longer(item, MAX_ITEM)) {
        Some(index) => {
            let rule = format!("must have at most {MAX_ITEM} characters");
            Err(Error::invalid(rule).with_value(&items.get(index)).at_index(index))
        }
        None => Ok(()),
    }
}

fn check_listed(items: &[Box<str>]) -> Result<(), Error> {
    if items.len() > MAX_LISTED {
        let rule = format!("must have at most {MAX_LISTED} items");
        return Err(Error::new(Code::LimitExceeded, rule).with_value(&items.len()));
    }
    check_items(items)
}

fn check_steps(steps: &[Box<str>]) -> Result<(), Error> {
    if !(1..=MAX_STEPS).contains(&steps.len()) {
        let rule = format!("must have 1 to {MAX_STEPS} steps");
        return Err(Error::invalid(rule).with_value(&steps.len()));
    }
    match steps.iter().position(|step| step.is_empty() || is_longer(step, MAX_STEP)) {
        Some(index) => {
            let rule = format!("must have 1 to {MAX_STEP} characters");
            Err(Error::invalid(rule).with_value(&steps.get(index)).at_index(index))
        }
        None => Ok(()),
    }
}

fn is_longer(text: &str, most: usize) -> bool {
    text.len() > most && text.chars().nth(most).is_some()
}

impl Serialize for Printed<'_, Expression> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(expression, lists) = *self;
        if let Expression::OneOf(list) = expression {
            return list.items().serialize(serializer);
        }
        let mut map = serializer.serialize_map(None)?;
        match expression {
            Expression::Boolean(wanted) => map.serialize_entry("boolean", wanted)?,
            Expression::Contains(items) => map.serialize_entry("contains", items)?,
            Expression::Date(bounds) => map.serialize_entry("date", bounds)?,
            Expression::EndsWith(items) => map.serialize_entry("ends_with", items)?,
            Expression::Exists(wanted) => map.serialize_entry("exists", wanted)?,
            Expression::Listed(list) => {
                let items = Some(list.items()).filter(|_| lists == Lists::Whole);
                map.serialize_entry("listed", items.unwrap_or_default())?;
            }
            Expression::Number(bounds) => map.serialize_entry("number", bounds)?,
            Expression::Path { steps, is } => {
                map.serialize_entry("path", steps)?;
                map.serialize_entry("is", &Printed(&**is, lists))?;
            }
            #[cfg(feature = "regex")]
            Expression::Regex(regex) => map.serialize_entry("regex", regex)?,
            Expression::Semver(bounds) => map.serialize_entry("semver", bounds)?,
            Expression::StartsWith(items) => map.serialize_entry("starts_with", items)?,
            Expression::OneOf(_) => {}
        }
        map.end()
    }
}

impl Expression {
    /// Reads an expression that has no keys but these.
    pub(super) fn read(cursor: Cursor<'_>, keys: &'static [&'static str]) -> Result<Self, Error> {
        let no_form = || {
            let forms: Vec<_> = keys.iter().copied().filter(|key| *key != "is").collect();
            let forms = forms.join(", ");
            cursor.wrong_type(&format!("a list of values, or an object with one of {forms}"))
        };
        if cursor.is_array() {
            return Ok(Self::OneOf(OneOf::new(read_items(cursor)?)));
        }
        if !cursor.is_object() {
            return Err(no_form());
        }
        let object = cursor.object(keys)?;
        let mut given = keys.iter().filter_map(|key| Some((*key, object.get(key)?)));
        let (first, second, third) = (given.next(), given.next(), given.next());
        match (first, second, third) {
            (Some(("path", steps)), Some(("is", is)), None) => {
                let is = Box::new(Self::read(is, keys)?);
                Ok(Self::Path { steps: read_items(steps)?, is })
            }
            (Some(("path", _)), None, None) => {
                Err(object.required("is").err().unwrap_or(no_form()))
            }
            (Some((key, operand)), None, None) => match key {
                "boolean" => operand.bool().map(Self::Boolean),
                "contains" => read_items(operand).map(Self::Contains),
                "date" => operand.read().map(|bounds| Self::Date(Box::new(bounds))),
                "ends_with" => read_items(operand).map(Self::EndsWith),
                "exists" => operand.bool().map(Self::Exists),
                "listed" => Ok(Self::Listed(Arc::new(OneOf::new(read_items(operand)?)))),
                "number" => operand.read().map(|bounds| Self::Number(Box::new(bounds))),
                "regex" => read_regex(operand),
                "semver" => operand.read().map(|bounds| Self::Semver(Box::new(bounds))),
                "starts_with" => read_items(operand).map(Self::StartsWith),
                _ => Err(no_form()),
            },
            _ => Err(no_form()),
        }
    }
}

fn read_items(cursor: Cursor<'_>) -> Result<Box<[Box<str>]>, Error> {
    cursor.array(|item| item.str().map(Box::from)).map(Vec::into_boxed_slice)
}

#[cfg(feature = "regex")]
fn read_regex(cursor: Cursor<'_>) -> Result<Expression, Error> {
    cursor.read().map(Expression::Regex)
}

#[cfg(not(feature = "regex"))]
fn read_regex(cursor: Cursor<'_>) -> Result<Expression, Error> {
    let rule = "needs the feature regex of this crate, which the program is built without";
    Err(cursor.locate(Error::new(Code::FeatureMissing, rule)))
}
