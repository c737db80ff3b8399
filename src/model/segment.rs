//! Segments and their rules.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::{Description, Name, Record, SegmentStatus, checked, entity, keys};
use crate::error::{Code, Error};
use crate::id::SegmentId;
use crate::json::{Cursor, FromJson, deserialize};

/// The most attributes in one `match` or `not_match`.
const MAX_CONDITIONS: usize = 10;

/// The longest item of a condition's list, in characters.
const MAX_ITEM: usize = 1024;

/// The longest rule, in bytes of compact JSON.
const MAX_RULE: usize = 4 << 10;

/// The longest list of rules, in bytes of compact JSON.
const MAX_RULES: usize = 10 << 10;

/// What an expression looks like.
const EXPRESSION: &str =
    "a list of values, or an object with one of contains, starts_with, ends_with, exists";

/// Lists longer than this are searched in order of their items.
const LINEAR: usize = 8;

/// A named set of subjects, told by their attributes: those whom any of its rules matches.
///
/// A segment has at least one rule; all its rules have at most 10 KiB as compact JSON. Its name is
/// its own among all segments, archived ones included. Archived, it no longer changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    pub(crate) id: SegmentId,
    pub(crate) name: Name,
    pub(crate) description: Option<Description>,
    pub(crate) status: SegmentStatus,
    pub(crate) rules: Box<[Rule]>,
    pub(crate) record: Record,
}

entity!(Segment SegmentId);

impl Segment {
    /// Where it stands in its life.
    pub fn status(&self) -> SegmentStatus {
        self.status
    }

    /// The rules, any of which may match.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }
}

/// A rule over a subject's attributes: all of `match` must hold and none of `not_match`.
///
/// Each of the two has at most ten conditions, on one attribute each; together they have at least
/// one. A rule has at most 4 KiB as compact JSON.
///
/// Comparison is exact, byte for byte. An attribute that is missing, or is no string, fulfils no
/// condition on strings; a missing one fulfils only `exists: false`. So under `not_match` a missing
/// attribute is no obstacle, unless it is `exists: false` that must not hold.
///
/// ```
/// use variate::{Expression, Rule};
///
/// let rule = Rule::new()
///     .when("country", Expression::one_of(["DE", "AT"]))
///     .when("platform", Expression::starts_with(["ios"]))
///     .unless("partner", Expression::Exists(true));
/// let json = r#"{
///     "match": {"country": ["DE", "AT"], "platform": {"starts_with": ["ios"]}},
///     "not_match": {"partner": {"exists": true}}
/// }"#;
/// assert_eq!(serde_json::from_str::<Rule>(json)?, rule);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rule {
    matches: Vec<Condition>,
    not_matches: Vec<Condition>,
}

impl Rule {
    /// A rule without conditions, which no segment takes as it is.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition to `match`: this must be true of the attribute, which has no other there.
    pub fn when(mut self, attribute: impl Into<String>, expression: Expression) -> Self {
        self.matches.push(Condition { attribute: attribute.into(), expression });
        self
    }

    /// Adds a condition to `not_match`: this must not be true of the attribute, which has no other
    /// there.
    pub fn unless(mut self, attribute: impl Into<String>, expression: Expression) -> Self {
        self.not_matches.push(Condition { attribute: attribute.into(), expression });
        self
    }

    /// The conditions that must all hold.
    pub fn matches(&self) -> &[Condition] {
        &self.matches
    }

    /// The conditions of which none may hold.
    pub fn not_matches(&self) -> &[Condition] {
        &self.not_matches
    }
}

/// One attribute and what must be true of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Condition {
    /// The attribute's name: 1 to 255 characters.
    pub attribute: String,
    /// What must be true of it.
    pub expression: Expression,
}

/// What can be asked of an attribute.
///
/// Each list has at least one item, of at most 1024 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expression {
    /// It contains one of these.
    Contains(Box<[Box<str>]>),
    /// It ends with one of these.
    EndsWith(Box<[Box<str>]>),
    /// It is there, or is not.
    Exists(bool),
    /// It equals one of these.
    OneOf(OneOf),
    /// It begins with one of these.
    StartsWith(Box<[Box<str>]>),
}

impl Expression {
    /// It contains one of these.
    pub fn contains<T: Into<Box<str>>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::Contains(items.into_iter().map(Into::into).collect())
    }

    /// It ends with one of these.
    pub fn ends_with<T: Into<Box<str>>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::EndsWith(items.into_iter().map(Into::into).collect())
    }

    /// It equals one of these.
    pub fn one_of<T: Into<Box<str>>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::OneOf(OneOf::new(items.into_iter().map(Into::into).collect()))
    }

    /// It begins with one of these.
    pub fn starts_with<T: Into<Box<str>>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::StartsWith(items.into_iter().map(Into::into).collect())
    }

    fn key(&self) -> &'static str {
        match self {
            Self::Contains(_) => "contains",
            Self::EndsWith(_) => "ends_with",
            Self::Exists(_) => "exists",
            Self::OneOf(_) => "one_of",
            Self::StartsWith(_) => "starts_with",
        }
    }

    fn items(&self) -> Option<&[Box<str>]> {
        match self {
            Self::Contains(items) | Self::EndsWith(items) | Self::StartsWith(items) => Some(items),
            Self::OneOf(one_of) => Some(&one_of.values),
            Self::Exists(_) => None,
        }
    }
}

/// A list of values, in the order in which it was written, searched in that of the values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneOf {
    values: Box<[Box<str>]>,
    /// The indices of a long list in the order of the values.
    order: Box<[u32]>,
}

impl OneOf {
    fn new(values: Box<[Box<str>]>) -> Self {
        let mut order: Vec<u32> = Vec::new();
        if values.len() > LINEAR {
            order.extend((0..).zip(&values).map(|(index, _)| index));
            order.sort_by_key(|index| values.get(*index as usize));
        }
        Self { values, order: order.into() }
    }

    /// The values as they were written.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(|value| &**value)
    }

    /// Whether this is one of them.
    pub fn contains(&self, value: &str) -> bool {
        if self.order.is_empty() {
            return self.values.iter().any(|own| **own == *value);
        }
        let compare = |index: &u32| self.values.get(*index as usize).map(|own| (**own).cmp(value));
        self.order
            .binary_search_by(|index| compare(index).unwrap_or(std::cmp::Ordering::Less))
            .is_ok()
    }
}

/// Checks the rules of a segment.
pub(crate) fn check_rules(rules: &[Rule]) -> Result<(), Error> {
    if rules.is_empty() {
        return Err(Error::invalid("must have at least one rule"));
    }
    for (index, rule) in rules.iter().enumerate() {
        rule.check().map_err(|error| error.at_index(index))?;
    }
    if json_size(rules) > MAX_RULES {
        let rule = format!("must have at most {MAX_RULES} bytes as compact JSON");
        return Err(Error::new(Code::LimitExceeded, rule).with_value(&json_size(rules)));
    }
    Ok(())
}

fn json_size(value: &(impl Serialize + ?Sized)) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |json| json.len())
}

impl Rule {
    fn check(&self) -> Result<(), Error> {
        if self.matches.is_empty() && self.not_matches.is_empty() {
            return Err(Error::invalid("must have a condition in match or not_match"));
        }
        for (key, list) in [("match", &self.matches), ("not_match", &self.not_matches)] {
            check_conditions(list).map_err(|error| error.at(key))?;
        }
        if json_size(self) > MAX_RULE {
            let rule = format!("must have at most {MAX_RULE} bytes as compact JSON");
            return Err(Error::new(Code::LimitExceeded, rule).with_value(&json_size(self)));
        }
        Ok(())
    }
}

fn check_conditions(list: &[Condition]) -> Result<(), Error> {
    if list.len() > MAX_CONDITIONS {
        let rule = format!("must have at most {MAX_CONDITIONS} attributes");
        return Err(Error::new(Code::LimitExceeded, rule).with_value(&list.len()));
    }
    for (index, condition) in list.iter().enumerate() {
        let attribute = &condition.attribute;
        let before = list.get(..index).unwrap_or_default();
        if before.iter().any(|earlier| earlier.attribute == *attribute) {
            let rule = "must not have an attribute twice";
            return Err(Error::new(Code::DuplicateKey, rule).with_value(attribute));
        }
        if attribute.is_empty() || attribute.chars().count() > 255 {
            return Err(Error::invalid("must have attribute names of 1 to 255 characters")
                .with_value(attribute));
        }
        check_items(&condition.expression).map_err(|error| {
            let error = match condition.expression {
                Expression::OneOf(_) => error,
                _ => error.at(condition.expression.key()),
            };
            error.at_key(attribute)
        })?;
    }
    Ok(())
}

fn check_items(expression: &Expression) -> Result<(), Error> {
    let Some(items) = expression.items() else {
        return Ok(());
    };
    if items.is_empty() {
        return Err(Error::invalid("must have at least one item"));
    }
    match items.iter().position(|item| item.chars().count() > MAX_ITEM) {
        Some(index) => {
            let rule = format!("must have at most {MAX_ITEM} characters");
            Err(Error::invalid(rule).with_value(&items.get(index)).at_index(index))
        }
        None => Ok(()),
    }
}

impl Serialize for Segment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("name", &self.name)?;
        if let Some(description) = &self.description {
            map.serialize_entry("description", description)?;
        }
        map.serialize_entry("status", &self.status)?;
        map.serialize_entry("rules", &self.rules)?;
        self.record.serialize_into(&mut map)?;
        map.end()
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Conditions<'a>(&'a [Condition]);
        impl Serialize for Conditions<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter().map(|c| (&c.attribute, &c.expression)))
            }
        }
        let mut map = serializer.serialize_map(None)?;
        for (key, list) in [("match", &self.matches), ("not_match", &self.not_matches)] {
            if !list.is_empty() {
                map.serialize_entry(key, &Conditions(list))?;
            }
        }
        map.end()
    }
}

impl Serialize for Expression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Self::OneOf(one_of) = self {
            return one_of.values.serialize(serializer);
        }
        let mut map = serializer.serialize_map(Some(1))?;
        match self.items() {
            Some(items) => map.serialize_entry(self.key(), items)?,
            None => map.serialize_entry(self.key(), &matches!(self, Self::Exists(true)))?,
        }
        map.end()
    }
}

impl FromJson for Segment {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(keys!["id", "name", "description", "status", "rules"])?;
        Ok(Self {
            id: object.read("id")?,
            name: object.read("name")?,
            description: object.optional("description")?,
            status: object.optional("status")?.unwrap_or(SegmentStatus::Active),
            rules: checked(&object, "rules", |rules: &Vec<Rule>| check_rules(rules))?.into(),
            record: Record::from_json(&object)?,
        })
    }
}

impl FromJson for Rule {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(&["match", "not_match"])?;
        let conditions = |key| match object.get(key) {
            None => Ok(Vec::new()),
            Some(cursor) => {
                let list = cursor.map(|attribute, cursor| {
                    Ok(Condition { attribute: attribute.to_owned(), expression: cursor.read()? })
                })?;
                match list.is_empty() {
                    true => Err(cursor.locate(Error::invalid("must have at least one attribute"))),
                    false => Ok(list),
                }
            }
        };
        Ok(Self { matches: conditions("match")?, not_matches: conditions("not_match")? })
    }
}

impl FromJson for Expression {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let items = |cursor: Cursor<'_>| {
            cursor.array(|item| item.str().map(Box::from)).map(Vec::into_boxed_slice)
        };
        if cursor.is_array() {
            return Ok(Self::OneOf(OneOf::new(items(cursor)?)));
        }
        if !cursor.is_object() {
            return Err(cursor.wrong_type(EXPRESSION));
        }
        let object = cursor.object(&["contains", "starts_with", "ends_with", "exists"])?;
        let forms = [
            object.get("contains").map(|list| items(list).map(Self::Contains)),
            object.get("starts_with").map(|list| items(list).map(Self::StartsWith)),
            object.get("ends_with").map(|list| items(list).map(Self::EndsWith)),
            object.get("exists").map(|exists| exists.bool().map(Self::Exists)),
        ];
        let mut given = forms.into_iter().flatten();
        match (given.next(), given.next()) {
            (Some(form), None) => form,
            _ => Err(cursor.wrong_type(EXPRESSION)),
        }
    }
}

deserialize!(Segment, Rule);
