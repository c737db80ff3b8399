//! What a request of a subject gets: the experiment context, its warnings and its log record.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::assign::Subject;
use crate::error::codes;
use crate::id::{ExperimentId, SegmentId, VariationId};
use crate::model::{Config, Strategy};
use crate::snapshot::Snapshot;

/// One request of a subject, which an experiment may shape.
///
/// ```
/// use variate::Subject;
/// use variate::api::auth0::Login;
///
/// let attributes = [("country", "DE")];
/// let subject = Subject::new("device-42").with_attributes(&attributes);
/// let login = Login::new("authentication", subject);
///
/// // A tester's link names what to show.
/// let tried = login.clone().experiment_id("exp_signin").variation_id("var_short");
/// ```
#[derive(Debug, Clone)]
pub struct Login<'a> {
    flow: &'a str,
    subject: Subject<'a>,
    experiment_id: Option<&'a str>,
    variation_id: Option<&'a str>,
    segment_id: Option<&'a str>,
}

impl<'a> Login<'a> {
    /// A request on a flow.
    pub fn new(flow: &'a str, subject: Subject<'a>) -> Self {
        Self { flow, subject, experiment_id: None, variation_id: None, segment_id: None }
    }

    /// The same request, enrolled in this experiment whatever its status.
    pub fn experiment_id(self, id: &'a str) -> Self {
        Self { experiment_id: Some(id), ..self }
    }

    /// The same request with this variation forced; needs the experiment.
    pub fn variation_id(self, id: &'a str) -> Self {
        Self { variation_id: Some(id), ..self }
    }

    /// The same request with this segment forced; needs the experiment, which assigns by segment.
    pub fn segment_id(self, id: &'a str) -> Self {
        Self { segment_id: Some(id), ..self }
    }
}

/// What a request gets. Serialises as an object with `context` and `log`, which are null when no
/// experiment applies, and `warnings`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Resolution<'s> {
    /// What the product code receives; `None` when no experiment applies.
    pub context: Option<ExperimentContext<'s>>,
    /// What the log of the request receives; `None` when no experiment applies.
    pub log: Option<LogRecord<'s>>,
    /// What was wrong with the override parameters.
    pub warnings: Vec<Warning>,
}

/// What the product code receives.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct ExperimentContext<'s> {
    /// The experiment.
    pub experiment_id: &'s ExperimentId,
    /// The variation.
    pub variation_id: &'s VariationId,
    /// Every parameter of the flag; in JSON each stands in an object as its `value`.
    pub config: &'s Config,
    /// Whether the arm is the control.
    pub is_control: bool,
}

/// What the log of a request receives, under `details.experiment`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LogRecord<'s> {
    /// The experiment.
    pub experiment_id: &'s ExperimentId,
    /// The variation.
    pub variation_id: &'s VariationId,
    /// Whether the arm is the control.
    pub is_control: bool,
    /// How the experiment assigns.
    pub allocation_strategy: Strategy,
    /// The segment by which the subject was assigned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segment_id: Option<&'s SegmentId>,
}

codes! {
    /// What was wrong with the override parameters, which were then ignored.
    #[non_exhaustive]
    pub enum Warning {
        /// A variation or segment without an experiment.
        OrphanedParams = "experiment_orphaned_params",
        /// There is no such experiment.
        NotFound = "experiment_not_found",
        /// The experiment has no such allocation, or cannot assign yet. Not a code of Auth0's,
        /// which does not say what becomes of such a parameter.
        AllocationNotFound = "experiment_allocation_not_found",
    }
}

/// What a request gets from the experiments of a snapshot.
pub fn resolve<'s>(_snapshot: &'s Snapshot, _login: &Login<'_>) -> Resolution<'s> {
    Resolution { context: None, log: None, warnings: Vec::new() }
}

impl Serialize for ExperimentContext<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("experiment_id", self.experiment_id)?;
        map.serialize_entry("variation_id", self.variation_id)?;
        map.serialize_entry("config", &Enveloped(self.config))?;
        map.serialize_entry("is_control", &self.is_control)?;
        map.end()
    }
}

struct Enveloped<'s>(&'s Config);

#[derive(Serialize)]
struct Envelope<'s> {
    value: &'s Value,
}

impl Serialize for Enveloped<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, Envelope { value })))
    }
}
