//! Whether a segment matches a subject.

use super::{Attribute, Attributes, ToAttribute};
use crate::model::{Bounds, Condition, Expression, Nested, Rule, Segment, SemverReading};
use crate::time::Timestamp;

impl Segment {
    /// Whether any of the rules matches.
    pub fn contains(&self, attributes: &dyn Attributes) -> bool {
        self.rules().iter().any(|rule| rule.holds(attributes))
    }
}

impl Rule {
    /// Whether it matches: its conditions hold and the rules within it match as they must.
    #[inline]
    pub fn holds(&self, attributes: &dyn Attributes) -> bool {
        self.matches().iter().all(|condition| condition.holds(attributes))
            && !self.not_matches().iter().any(|condition| condition.holds(attributes))
            && self.nested().is_none_or(|nested| nested.holds(attributes))
    }
}

/// What keeps a rule from matching.
pub(crate) struct Failure<'r> {
    /// Where within the rule.
    pub(crate) path: String,
    /// The attribute of the condition there; `None` where rules failed.
    pub(crate) attribute: Option<&'r str>,
}

impl Rule {
    /// What keeps it from matching; `None` if it matches.
    pub(crate) fn failure(&self, attributes: &dyn Attributes) -> Option<Failure<'_>> {
        let at = |key: &str, condition: &'_ Condition| format!("{key}.{}", condition.attribute);
        let missed = self.matches().iter().find(|condition| !condition.holds(attributes));
        let met = || self.not_matches().iter().find(|condition| condition.holds(attributes));
        let failed = missed.map(|condition| (at("match", condition), condition));
        let failed =
            failed.or_else(|| met().map(|condition| (at("not_match", condition), condition)));
        match failed {
            Some((path, condition)) => {
                Some(Failure { path, attribute: Some(&condition.attribute) })
            }
            None => self.nested()?.failure(attributes),
        }
    }
}

impl Nested {
    fn failure(&self, attributes: &dyn Attributes) -> Option<Failure<'_>> {
        let of_rules = |path: String| Some(Failure { path, attribute: None });
        for (rule, index) in self.all.iter().flatten().zip(0..) {
            if let Some(Failure { path, attribute }) = rule.failure(attributes) {
                return Some(Failure { path: format!("all[{index}].{path}"), attribute });
            }
        }
        if self.any.as_ref().is_some_and(|any| !any.iter().any(|rule| rule.holds(attributes))) {
            return of_rules("any".to_owned());
        }
        let met = self.not.iter().flatten().position(|rule| rule.holds(attributes));
        met.and_then(|index| of_rules(format!("not[{index}]")))
    }

    fn holds(&self, attributes: &dyn Attributes) -> bool {
        let holds = |rule: &Rule| rule.holds(attributes);
        self.all.iter().flatten().all(holds)
            && self.any.as_ref().is_none_or(|rules| rules.iter().any(holds))
            && !self.not.iter().flatten().any(holds)
    }
}

impl Condition {
    fn holds(&self, attributes: &dyn Attributes) -> bool {
        self.expression.admits(attributes.attribute(&self.attribute))
    }
}

impl Expression {
    /// Whether it is true of this value, or of a missing one.
    pub(crate) fn admits(&self, attribute: Option<Attribute<'_>>) -> bool {
        let Some(Attribute::String(text)) = attribute else {
            return match self {
                Self::Exists(wanted) => attribute.is_some() == *wanted,
                Self::Contains(_) | Self::EndsWith(_) | Self::OneOf(_) | Self::StartsWith(_) => {
                    false
                }
                _ => self.holds_otherwise(attribute),
            };
        };
        match self {
            Self::Contains(parts) => parts.iter().any(|part| text.contains(&**part)),
            Self::EndsWith(ends) => ends.iter().any(|end| text.ends_with(&**end)),
            Self::OneOf(list) => list.contains(text),
            Self::StartsWith(starts) => starts.iter().any(|start| text.starts_with(&**start)),
            Self::Exists(wanted) => *wanted,
            _ => self.holds_otherwise(attribute),
        }
    }

    /// What is asked more rarely, out of the way of the rest.
    #[inline(never)]
    fn holds_otherwise(&self, attribute: Option<Attribute<'_>>) -> bool {
        match (self, attribute) {
            (Self::Path { steps, is }, _) => is.admits(follow(steps, attribute)),
            (Self::Boolean(wanted), Some(Attribute::Bool(value))) => value == *wanted,
            (Self::Date(bounds), Some(Attribute::Timestamp(at))) => lies(at, bounds),
            (Self::Date(bounds), Some(Attribute::String(text))) => {
                Timestamp::read(text).is_some_and(|at| lies(at, bounds))
            }
            (Self::Listed(list), Some(Attribute::String(text))) => list.contains(text),
            (Self::Number(bounds), Some(Attribute::Integer(integer))) => {
                bounds.admit(|bound| bound.order_of_integer(integer.into()))
            }
            (Self::Number(bounds), Some(Attribute::Unsigned(integer))) => {
                bounds.admit(|bound| bound.order_of_integer(integer.into()))
            }
            (Self::Number(bounds), Some(Attribute::Float(float))) => {
                !float.is_nan() && bounds.admit(|bound| bound.order_of_float(float))
            }
            #[cfg(feature = "regex")]
            (Self::Regex(regex), Some(Attribute::String(text))) => regex.is_match(text),
            (Self::Semver(bounds), Some(Attribute::String(text))) => SemverReading::new(text)
                .is_some_and(|version| bounds.admit(|bound| version.order(bound))),
            _ => false,
        }
    }
}

/// What these members lead to.
fn follow<'a>(steps: &[Box<str>], attribute: Option<Attribute<'a>>) -> Option<Attribute<'a>> {
    let Some(Attribute::Json(whole)) = attribute else { return None };
    let mut members = steps.iter();
    members.try_fold(whole, |value, step| value.as_object()?.get(&**step))?.to_attribute()
}

fn lies(at: Timestamp, bounds: &Bounds<Timestamp>) -> bool {
    bounds.admit(|bound| at.cmp(bound))
}
