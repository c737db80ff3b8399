//! Segments as conditions.

use std::ops::Bound;

use super::{Dialect, Printer};
use crate::error::{Code, Error};
use crate::model::{Bounds, Condition, Expression, Number, Rule, Segment};
use crate::time::Timestamp;

/// The moments that every engine holds in all of its types with a time: the years 1900 to 2261.
const MOMENTS: std::ops::Range<i64> = -2_208_988_800_000..9_214_646_400_000;

/// 2^53: from here on, neighbouring integers can be one float.
const BEYOND: f64 = 9_007_199_254_740_992.0;

impl Printer<'_> {
    /// Whether a segment contains the subject; never NULL.
    pub(super) fn segment(&self, segment: &Segment) -> Result<String, Error> {
        let rules = self.rules("rules", segment.rules());
        let rules = rules.map_err(|error| error.at_key(segment.id().as_str()))?;
        Ok(match &rules[..] {
            [only] => only.clone(),
            _ => format!("({})", rules.join(")\n    OR (")),
        })
    }

    /// Rules, each of which only `AND` joins.
    fn rules(&self, key: &str, rules: &[Rule]) -> Result<Vec<String>, Error> {
        let rules = rules.iter().enumerate();
        let rules = rules
            .map(|(index, rule)| self.rule(rule).map_err(|error| error.at_index(index).at(key)));
        rules.collect()
    }

    fn rule(&self, rule: &Rule) -> Result<String, Error> {
        let mut parts = self.conditions("match", rule.matches())?;
        let not_matches = self.conditions("not_match", rule.not_matches())?;
        parts.extend(not_matches.iter().map(|condition| format!("NOT {condition}")));
        parts.extend(self.rules("all", rule.all())?);
        let any = self.rules("any", rule.any())?;
        if !any.is_empty() {
            parts.push(format!("(({}))", any.join(") OR (")));
        }
        let not = self.rules("not", rule.not())?;
        parts.extend(not.iter().map(|rule| format!("NOT ({rule})")));
        Ok(parts.join(" AND "))
    }

    fn conditions(&self, key: &str, list: &[Condition]) -> Result<Vec<String>, Error> {
        let conditions = list.iter().map(|condition| {
            self.condition(condition).map_err(|error| error.at_key(&condition.attribute).at(key))
        });
        conditions.collect()
    }

    /// Whether a condition holds; never NULL, so that no logic of three values decides.
    fn condition(&self, condition: &Condition) -> Result<String, Error> {
        let dialect = self.dialect;
        // Asked for only where there are words, since no column would help where there are none.
        let column = || self.columns.of(&condition.attribute);
        let any = |items: &[Box<str>], holds: fn(Dialect, &str, &str) -> String| {
            let column = column()?;
            let items = items.iter().map(|item| holds(dialect, column, item));
            Ok::<_, Error>(items.collect::<Vec<_>>().join(" OR "))
        };
        let holds = match &condition.expression {
            Expression::Exists(true) => return Ok(format!("({} IS NOT NULL)", column()?)),
            Expression::Exists(false) => return Ok(format!("({} IS NULL)", column()?)),
            Expression::Boolean(wanted) => format!("{} = {wanted}", column()?),
            Expression::Contains(parts) => any(parts, Dialect::contains)?,
            Expression::Date(bounds) => {
                self.date(column()?, bounds).map_err(|error| error.at("date"))?
            }
            Expression::EndsWith(ends) => any(ends, Dialect::ends_with)?,
            Expression::Listed(list) => self.one_of(column()?, list.values()),
            Expression::Number(bounds) => {
                self.number(column()?, bounds).map_err(|error| error.at("number"))?
            }
            Expression::OneOf(list) => self.one_of(column()?, list.values()),
            Expression::Path { .. } => return Err(no_words("path")),
            #[cfg(feature = "regex")]
            Expression::Regex(_) => return Err(no_words("regex")),
            Expression::Semver(_) => return Err(no_words("semver")),
            Expression::StartsWith(starts) => any(starts, Dialect::starts_with)?,
        };
        Ok(format!("coalesce({holds}, false)"))
    }

    fn one_of<'v>(&self, column: &str, values: impl Iterator<Item = &'v str>) -> String {
        let values: Vec<_> = values.map(|value| self.dialect.text(value)).collect();
        format!("{column} IN ({})", values.join(", "))
    }

    fn number(&self, column: &str, bounds: &Bounds<Number>) -> Result<String, Error> {
        let number = |number: &Number| {
            // These engines turn an integer into the nearest float to compare it with one.
            if self.dialect != Dialect::ClickHouse && number.as_f64().abs() >= BEYOND {
                let rule = "must be less than 2^53 in magnitude for an exact comparison in SQL";
                return Err(Error::new(Code::NotExpressible, rule).with_value(number));
            }
            Ok(self.dialect.number(*number))
        };
        let (lower, upper) = match bounds {
            Bounds::Equal(value) => return Ok(format!("{column} = {}", number(value)?)),
            Bounds::Between(lower, upper) => (lower, upper),
        };
        let mut parts = Vec::new();
        match lower {
            Bound::Excluded(least) => parts.push(format!("{column} > {}", number(least)?)),
            Bound::Included(least) => parts.push(format!("{column} >= {}", number(least)?)),
            Bound::Unbounded => {}
        }
        match upper {
            Bound::Excluded(most) => parts.push(format!("{column} < {}", number(most)?)),
            Bound::Included(most) => parts.push(format!("{column} <= {}", number(most)?)),
            // To Spark NaN is more than all numbers.
            Bound::Unbounded if self.dialect == Dialect::Spark => {
                parts.push(format!("NOT isnan({column})"));
            }
            Bound::Unbounded => {}
        }
        Ok(parts.join(" AND "))
    }

    /// A column can be finer than a millisecond, of which the crate takes the whole ones.
    fn date(&self, column: &str, bounds: &Bounds<Timestamp>) -> Result<String, Error> {
        let moment = |of: &Timestamp, later: i64| {
            let millis = of.unix_millis() + later;
            match Timestamp::from_unix_millis(millis) {
                Ok(moment) if MOMENTS.contains(&millis) => Ok(self.dialect.moment(moment)),
                _ => {
                    let rule = "must lie in the years 1900 to 2261 for a comparison in SQL";
                    Err(Error::new(Code::NotExpressible, rule).with_value(of))
                }
            }
        };
        let from = |of, later| Ok(format!("{column} >= {}", moment(of, later)?));
        let before = |of, later| Ok(format!("{column} < {}", moment(of, later)?));
        let (lower, upper) = match bounds {
            Bounds::Equal(value) => (Some(from(value, 0)?), Some(before(value, 1)?)),
            Bounds::Between(lower, upper) => {
                let lower = match lower {
                    Bound::Excluded(least) => Some(from(least, 1)?),
                    Bound::Included(least) => Some(from(least, 0)?),
                    Bound::Unbounded => None,
                };
                let upper = match upper {
                    Bound::Excluded(most) => Some(before(most, 0)?),
                    Bound::Included(most) => Some(before(most, 1)?),
                    Bound::Unbounded => None,
                };
                (lower, upper)
            }
        };
        Ok(lower.into_iter().chain(upper).collect::<Vec<_>>().join(" AND "))
    }
}

#[cold]
fn no_words(operator: &str) -> Error {
    let rule = format!("must not be asked in SQL, which has no exact words for {operator}");
    Error::new(Code::NotExpressible, rule).at(operator)
}
