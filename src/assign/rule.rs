//! Whether a segment matches a subject.

use super::{Attribute, Attributes};
use crate::model::{Condition, Expression, Rule, Segment};

impl Segment {
    /// Whether any of the rules matches.
    pub fn contains(&self, attributes: &dyn Attributes) -> bool {
        self.rules().iter().any(|rule| rule.holds(attributes))
    }
}

impl Rule {
    /// Whether all of `match` hold and none of `not_match`.
    pub fn holds(&self, attributes: &dyn Attributes) -> bool {
        self.matches().iter().all(|condition| condition.holds(attributes))
            && !self.not_matches().iter().any(|condition| condition.holds(attributes))
    }
}

impl Rule {
    /// What keeps it from matching: the path within the rule; `None` if it matches.
    pub(crate) fn failure(&self, attributes: &dyn Attributes) -> Option<String> {
        let path = |key: &str, condition: &Condition| format!("{key}.{}", condition.attribute);
        let missed = self.matches().iter().find(|condition| !condition.holds(attributes));
        let met = || self.not_matches().iter().find(|condition| condition.holds(attributes));
        missed
            .map(|condition| path("match", condition))
            .or_else(|| met().map(|condition| path("not_match", condition)))
    }
}

impl Condition {
    fn holds(&self, attributes: &dyn Attributes) -> bool {
        let attribute = attributes.attribute(&self.attribute);
        if let Expression::Exists(exists) = self.expression {
            return attribute.is_some() == exists;
        }
        let Some(Attribute::String(value)) = attribute else {
            return false;
        };
        match &self.expression {
            Expression::Contains(parts) => parts.iter().any(|part| value.contains(&**part)),
            Expression::EndsWith(ends) => ends.iter().any(|end| value.ends_with(&**end)),
            Expression::OneOf(one_of) => one_of.contains(value),
            Expression::StartsWith(starts) => {
                starts.iter().any(|start| value.starts_with(&**start))
            }
            Expression::Exists(_) => false,
        }
    }
}
