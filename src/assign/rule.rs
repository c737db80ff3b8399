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
    pub fn holds(&self, attributes: &dyn Attributes) -> bool {
        let holds = |attribute: &str, expression: &Expression| {
            expression.holds(attributes.attribute(attribute))
        };
        self.matches().iter().all(|c| holds(&c.attribute, &c.expression))
            && !self.not_matches().iter().any(|c| holds(&c.attribute, &c.expression))
            && self.nested().is_none_or(|nested| nested.holds(attributes))
    }
}

impl Rule {
    /// What keeps it from matching: the path within the rule; `None` if it matches.
    pub(crate) fn failure(&self, attributes: &dyn Attributes) -> Option<String> {
        let holds = |c: &&Condition| c.expression.holds(attributes.attribute(&c.attribute));
        let missed = self.matches().iter().find(|condition| !holds(condition));
        let met = || self.not_matches().iter().find(holds);
        missed
            .map(|condition| format!("match.{}", condition.attribute))
            .or_else(|| met().map(|condition| format!("not_match.{}", condition.attribute)))
            .or_else(|| self.nested()?.failure(attributes))
    }
}

impl Nested {
    fn failure(&self, attributes: &dyn Attributes) -> Option<String> {
        let failure = |rule: &Rule| rule.failure(attributes);
        let mut all = self.all.iter().flatten().zip(0..);
        let missed = all.find_map(|(rule, index)| Some(format!("all[{index}].{}", failure(rule)?)));
        let none = || {
            let mut any = self.any.as_ref()?.iter();
            any.all(|rule| !rule.holds(attributes)).then(|| "any".to_owned())
        };
        let met = || {
            let index = self.not.as_ref()?.iter().position(|rule| rule.holds(attributes))?;
            Some(format!("not[{index}]"))
        };
        missed.or_else(none).or_else(met)
    }

    fn holds(&self, attributes: &dyn Attributes) -> bool {
        let holds = |rule: &Rule| rule.holds(attributes);
        self.all.iter().flatten().all(holds)
            && self.any.as_ref().is_none_or(|rules| rules.iter().any(holds))
            && !self.not.iter().flatten().any(holds)
    }
}

impl Expression {
    #[inline]
    pub(crate) fn holds(&self, attribute: Option<Attribute<'_>>) -> bool {
        let Some(Attribute::String(text)) = attribute else {
            return self.holds_of_other(attribute);
        };
        match self {
            Self::Contains(parts) => parts.iter().any(|part| text.contains(&**part)),
            Self::EndsWith(ends) => ends.iter().any(|end| text.ends_with(&**end)),
            Self::OneOf(list) => list.contains(text),
            Self::StartsWith(starts) => starts.iter().any(|start| text.starts_with(&**start)),
            _ => self.holds_of_text(text),
        }
    }

    /// What is asked of texts more rarely.
    fn holds_of_text(&self, text: &str) -> bool {
        match self {
            Self::Date(bounds) => Timestamp::read(text).is_some_and(|at| lies(at, bounds)),
            Self::Exists(wanted) => *wanted,
            Self::Listed(list) => list.contains(text),
            Self::Path { is, .. } => is.holds(None),
            #[cfg(feature = "regex")]
            Self::Regex(regex) => regex.is_match(text),
            Self::Semver(bounds) => SemverReading::new(text)
                .is_some_and(|version| bounds.admit(|bound| version.order(bound))),
            _ => false,
        }
    }

    fn holds_of_other(&self, attribute: Option<Attribute<'_>>) -> bool {
        match (self, attribute) {
            (Self::Exists(wanted), _) => attribute.is_some() == *wanted,
            (Self::Path { steps, is }, _) => is.holds(follow(steps, attribute)),
            (Self::Boolean(wanted), Some(Attribute::Bool(value))) => value == *wanted,
            (Self::Date(bounds), Some(Attribute::Timestamp(at))) => lies(at, bounds),
            (Self::Number(bounds), Some(Attribute::Integer(integer))) => {
                bounds.admit(|bound| bound.order_of_integer(integer))
            }
            (Self::Number(bounds), Some(Attribute::Float(float))) => {
                !float.is_nan() && bounds.admit(|bound| bound.order_of_float(float))
            }
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
