//! Segments as conditions.

use super::Printer;
use crate::error::Error;
use crate::model::{Condition, Expression, Rule, Segment};

impl Printer<'_> {
    /// Whether a segment contains the subject; never NULL.
    pub(super) fn segment(&self, segment: &Segment) -> Result<String, Error> {
        let rules = segment.rules().iter().enumerate().map(|(index, rule)| {
            self.rule(rule).map_err(|error| error.at_index(index).at("rules"))
        });
        let rules: Result<Vec<_>, Error> = rules.collect();
        let rules = rules.map_err(|error| error.at_key(segment.id().as_str()))?;
        Ok(match &rules[..] {
            [only] => only.clone(),
            _ => format!("({})", rules.join(")\n    OR (")),
        })
    }

    fn rule(&self, rule: &Rule) -> Result<String, Error> {
        let conditions = |key, list: &[Condition], sign: &str| {
            let conditions = list.iter().map(|condition| {
                let holds = self.condition(condition);
                let holds = holds.map_err(|error| error.at_key(&condition.attribute).at(key))?;
                Ok(format!("{sign}{holds}"))
            });
            conditions.collect::<Result<Vec<_>, Error>>()
        };
        let mut all = conditions("match", rule.matches(), "")?;
        all.extend(conditions("not_match", rule.not_matches(), "NOT ")?);
        Ok(all.join(" AND "))
    }

    /// Whether a condition holds; never NULL, so that no logic of three values decides.
    fn condition(&self, condition: &Condition) -> Result<String, Error> {
        let dialect = self.dialect;
        let column = self.columns.of(&condition.attribute)?;
        let any = |items: &[Box<str>], holds: fn(super::Dialect, &str, &str) -> String| {
            let items = items.iter().map(|item| holds(dialect, column, item));
            items.collect::<Vec<_>>().join(" OR ")
        };
        let holds = match &condition.expression {
            Expression::Exists(true) => return Ok(format!("({column} IS NOT NULL)")),
            Expression::Exists(false) => return Ok(format!("({column} IS NULL)")),
            Expression::Contains(parts) => any(parts, super::Dialect::contains),
            Expression::StartsWith(starts) => any(starts, super::Dialect::starts_with),
            Expression::EndsWith(ends) => any(ends, super::Dialect::ends_with),
            Expression::OneOf(values) => {
                let values: Vec<_> = values.values().map(|value| dialect.text(value)).collect();
                format!("{column} IN ({})", values.join(", "))
            }
        };
        Ok(format!("coalesce({holds}, false)"))
    }
}
