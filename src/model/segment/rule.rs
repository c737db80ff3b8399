//! Rules: what must hold of a subject's attributes.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::expression::{self, Expression};
use crate::error::{Code, Error};
use crate::json::{Cursor, FromJson, Object, deserialize};

/// The most attributes in one `match` or `not_match`.
const MAX_CONDITIONS: usize = 10;

/// The deepest that rules stand in rules, the outermost counted.
const MAX_DEPTH: usize = 8;

/// The longest rule, in bytes of compact JSON.
const MAX_RULE: usize = 4 << 10;

/// The longest list of rules, in bytes of compact JSON.
const MAX_RULES: usize = 10 << 10;

/// A rule over a subject's attributes. It matches when all of this is so:
///
/// - every condition of `match` holds,
/// - no condition of `not_match` holds,
/// - every rule of `all` matches,
/// - at least one rule of `any` matches, if there is an `any`,
/// - no rule of `not` matches.
///
/// A rule has at least one of the five, and none of them is empty. `match` and `not_match` have at
/// most ten conditions, on one attribute each. Rules stand in rules at most 8 deep, the outermost
/// counted. A rule has at most 4 KiB as compact JSON, those within it included, the items of
/// [`Listed`](Expression::Listed) not.
///
/// Comparison of texts is exact, byte for byte. An attribute that is missing, or is not of the kind
/// that is asked for, fulfils no condition; a missing one fulfils only `exists: false`. So under
/// `not_match`, and under `not`, a missing attribute is no obstacle, unless it is `exists: false`
/// that must not hold.
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
///
/// let staff = Rule::new().when("staff", Expression::Boolean(true));
/// let either = Rule::new().any_of([rule, staff]);
/// assert!(either.holds(&[("staff", true)]));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rule {
    matches: Vec<Condition>,
    not_matches: Vec<Condition>,
    nested: Option<Box<Nested>>,
}

/// The rules within a rule; `None` for a key that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Nested {
    pub(crate) all: Option<Vec<Rule>>,
    pub(crate) any: Option<Vec<Rule>>,
    pub(crate) not: Option<Vec<Rule>>,
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

    /// Adds rules to `all`: each of them must match.
    pub fn all_of(mut self, rules: impl IntoIterator<Item = Self>) -> Self {
        self.nested.get_or_insert_default().all.get_or_insert_default().extend(rules);
        self
    }

    /// Adds rules to `any`: at least one of those there must match.
    pub fn any_of(mut self, rules: impl IntoIterator<Item = Self>) -> Self {
        self.nested.get_or_insert_default().any.get_or_insert_default().extend(rules);
        self
    }

    /// Adds rules to `not`: none of them may match.
    pub fn none_of(mut self, rules: impl IntoIterator<Item = Self>) -> Self {
        self.nested.get_or_insert_default().not.get_or_insert_default().extend(rules);
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

    /// The rules that must all match.
    pub fn all(&self) -> &[Self] {
        self.nested().and_then(|nested| nested.all.as_deref()).unwrap_or_default()
    }

    /// The rules of which at least one must match, if there are any.
    pub fn any(&self) -> &[Self] {
        self.nested().and_then(|nested| nested.any.as_deref()).unwrap_or_default()
    }

    /// The rules of which none may match.
    pub fn not(&self) -> &[Self] {
        self.nested().and_then(|nested| nested.not.as_deref()).unwrap_or_default()
    }

    pub(crate) fn nested(&self) -> Option<&Nested> {
        self.nested.as_deref()
    }
}

impl Nested {
    fn lists(&self) -> [(&'static str, Option<&Vec<Rule>>); 3] {
        [("all", self.all.as_ref()), ("any", self.any.as_ref()), ("not", self.not.as_ref())]
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

/// Checks the rules of a segment.
pub(crate) fn check_rules(rules: &[Rule]) -> Result<(), Error> {
    check_list(rules, |rule| {
        rule.check(1)?;
        check_size(rule, MAX_RULE)
    })?;
    check_size(rules, MAX_RULES)
}

fn check_list(rules: &[Rule], check: impl Fn(&Rule) -> Result<(), Error>) -> Result<(), Error> {
    if rules.is_empty() {
        return Err(Error::invalid("must have at least one rule"));
    }
    for (index, rule) in rules.iter().enumerate() {
        check(rule).map_err(|error| error.at_index(index))?;
    }
    Ok(())
}

fn check_size<T: ?Sized>(value: &T, most: usize) -> Result<(), Error>
where
    for<'a> Printed<'a, T>: Serialize,
{
    let size = serde_json::to_vec(&Printed(value, Lists::Emptied)).map_or(usize::MAX, |j| j.len());
    if size > most {
        let rule = format!("must have at most {most} bytes as compact JSON");
        return Err(Error::new(Code::LimitExceeded, rule).with_value(&size));
    }
    Ok(())
}

impl Rule {
    fn check(&self, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            let rule = format!("must not stand more than {MAX_DEPTH} deep in rules");
            return Err(Error::new(Code::LimitExceeded, rule).with_value(&depth));
        }
        if self.matches.is_empty() && self.not_matches.is_empty() && self.nested.is_none() {
            let rule = "must have a condition in match or not_match, or a rule in all, any or not";
            return Err(Error::invalid(rule));
        }
        for (key, list) in [("match", &self.matches), ("not_match", &self.not_matches)] {
            check_conditions(list).map_err(|error| error.at(key))?;
        }
        for (key, list) in self.nested().map(Nested::lists).into_iter().flatten() {
            if let Some(rules) = list {
                check_list(rules, |rule| rule.check(depth + 1)).map_err(|error| error.at(key))?;
            }
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
        condition.expression.check().map_err(|error| error.at_key(attribute))?;
    }
    Ok(())
}

/// What is printed of the lists that do not count for the size of a rule.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lists {
    Emptied,
    Whole,
}

/// A value of a rule, to be printed.
pub(super) struct Printed<'a, T: ?Sized>(pub(super) &'a T, pub(super) Lists);

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Printed(self, Lists::Whole).serialize(serializer)
    }
}

impl Serialize for Printed<'_, Rule> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(rule, lists) = *self;
        let mut map = serializer.serialize_map(None)?;
        for (key, list) in [("match", &rule.matches), ("not_match", &rule.not_matches)] {
            if !list.is_empty() {
                map.serialize_entry(key, &Printed(&**list, lists))?;
            }
        }
        for (key, list) in rule.nested().map(Nested::lists).into_iter().flatten() {
            if let Some(rules) = list {
                map.serialize_entry(key, &Printed(&**rules, lists))?;
            }
        }
        map.end()
    }
}

impl Serialize for Printed<'_, [Rule]> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|rule| Printed(rule, self.1)))
    }
}

impl Serialize for Printed<'_, [Condition]> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(list, lists) = *self;
        serializer.collect_map(list.iter().map(|c| (&c.attribute, Printed(&c.expression, lists))))
    }
}

/// The keys that rules and the expressions in them can have.
#[derive(Debug, Clone, Copy)]
struct Dialect {
    rule: &'static [&'static str],
    expression: &'static [&'static str],
}

impl Dialect {
    const FULL: Self =
        Self { rule: &["match", "not_match", "all", "any", "not"], expression: expression::KEYS };

    /// What Auth0's API knows.
    #[cfg(feature = "auth0")]
    const PLAIN: Self = Self { rule: &["match", "not_match"], expression: expression::PLAIN_KEYS };
}

impl Rule {
    fn read(cursor: Cursor<'_>, dialect: Dialect) -> Result<Self, Error> {
        let object = cursor.object(dialect.rule)?;
        let rules = |key| {
            let list = object.get(key).map(|list| list.array(|rule| Self::read(rule, dialect)));
            list.transpose()
        };
        let nested = Nested { all: rules("all")?, any: rules("any")?, not: rules("not")? };
        Ok(Self {
            matches: read_conditions(&object, "match", dialect)?,
            not_matches: read_conditions(&object, "not_match", dialect)?,
            nested: (nested != Nested::default()).then(|| Box::new(nested)),
        })
    }
}

fn read_conditions(
    object: &Object<'_>,
    key: &'static str,
    dialect: Dialect,
) -> Result<Vec<Condition>, Error> {
    let Some(cursor) = object.get(key) else { return Ok(Vec::new()) };
    let list = cursor.map(|attribute, cursor| {
        let expression = Expression::read(cursor, dialect.expression)?;
        Ok(Condition { attribute: attribute.to_owned(), expression })
    })?;
    match list.is_empty() {
        true => Err(cursor.locate(Error::invalid("must have at least one attribute"))),
        false => Ok(list),
    }
}

impl FromJson for Rule {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        Self::read(cursor, Dialect::FULL)
    }
}

/// Rules with nothing in them that Auth0's API does not know.
#[cfg(feature = "auth0")]
pub(crate) struct PlainRules(pub(crate) Vec<Rule>);

#[cfg(feature = "auth0")]
impl FromJson for PlainRules {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        cursor.array(|rule| Rule::read(rule, Dialect::PLAIN)).map(Self)
    }
}

deserialize!(Rule);
