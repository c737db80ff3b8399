//! What an experiment is to reach.

use serde::Serialize;

use super::{Number, Text};
use crate::error::Error;
use crate::json::{Cursor, FromJson, deserialize};

/// What an experiment is to reach, in the words of whoever has set it. It is held, nothing is
/// computed with it, and it decides nothing.
///
/// One that says nothing is no goal.
///
/// ```
/// use variate::{Analysis, Goal};
///
/// let goal = Goal::new()
///     .metric("trial_to_paid".parse()?)
///     .value(2.5.try_into()?)
///     .direction("increase".parse()?);
/// let analysis = Analysis::new().goal(goal);
/// assert_eq!(analysis.goal.unwrap().metric.unwrap(), "trial_to_paid");
/// # Ok::<(), variate::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Goal {
    /// What is measured. Free text, and none of the [`Metric`](crate::Metric)s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<Text>,
    /// What it is to come to, in the metric's own unit; any finite number, held exactly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Number>,
    /// Where it is to go, such as `increase`. Free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Text>,
}

impl Goal {
    /// One that says nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same goal by this metric.
    pub fn metric(self, metric: Text) -> Self {
        Self { metric: Some(metric), ..self }
    }

    /// The same goal at this value.
    pub fn value(self, value: Number) -> Self {
        Self { value: Some(value), ..self }
    }

    /// The same goal in this direction.
    pub fn direction(self, direction: Text) -> Self {
        Self { direction: Some(direction), ..self }
    }

    /// Whether it says nothing.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl FromJson for Goal {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(&["metric", "value", "direction"])?;
        Ok(Self {
            metric: object.optional("metric")?,
            value: object.optional("value")?,
            direction: object.optional("direction")?,
        })
    }
}

deserialize!(Goal);
