//! What a request of a subject gets: the experiment context, its warnings and its log record.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::show::Envelope;
use crate::assign::{Assignment, Decision, Plan, Reason, Subject};
use crate::error::codes;
use crate::id::{ExperimentId, SegmentId, VariationId};
use crate::model::{Allocation, Config, Experiment, Flow, Status, Strategy};
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

    /// The same request, enrolled in this experiment whatever its status. Beside a variation or
    /// segment that the experiment does not have, it is passed over with that.
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
/// experiment applies, `overridden` and `warnings`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Resolution<'s> {
    /// What the product code receives; `None` when no experiment applies.
    pub context: Option<ExperimentContext<'s>>,
    /// What the log of the request receives; `None` when no experiment applies.
    pub log: Option<LogRecord<'s>>,
    /// Whether the override parameters decided, or [`Subject::forced`]. Such a request says nothing of how the experiment
    /// does, though its log record looks like any other: leave it out of the analysis.
    pub overridden: bool,
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

/// What the log of a request receives, under `details.experiment`. See
/// [`Resolution::overridden`] before counting with it.
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
///
/// 1. The override parameters, if they name an allocation of an experiment, whatever its status:
///    they hold for this call only. With the experiment alone, the subject gets what the experiment
///    would give it if it were active.
/// 2. An assignment that the subject brings, by [`Subject::kept`], from a paused experiment of the
///    flow. While it is active it is asked anew, so that a ramp goes on.
/// 3. The experiments that are active on the flow or on `all`, in the order in which they started,
///    and of their ids if that was in the same millisecond: the first that gives the subject an
///    arm. One into which [`Subject::forced`] puts the subject gives that arm, which counts as
///    overridden; one that is not active takes the override parameters.
///
/// What an experiment has is what its run froze, or its design if it never ran: allocations that were
/// edited while it is paused can be forced when it has resumed. A paused experiment gives nothing to
/// anyone else. One by segment needs no id of the subject, since
/// it hashes none. Override parameters that name nothing are passed over with a warning. Total, like
/// all assigning.
///
/// ```
/// # use variate::{Allocation, Change, Engine, FlagStatus, NewExperiment, NewFlag, NewVariation};
/// # let engine = Engine::new();
/// # engine.commit([
/// #     NewFlag::new("Sign-in screen")
/// #         .id("flg_signin".parse()?)
/// #         .parameter("headline", "Welcome back")
/// #         .variation(NewVariation::new("control").id("var_a".parse()?))
/// #         .variation(NewVariation::new("short").id("var_b".parse()?).with("headline", "Hi"))
/// #         .into(),
/// #     NewExperiment::by_percentage("Sign-in headline", "flg_signin".parse()?)
/// #         .id("exp_signin".parse()?)
/// #         .flow("authentication")
/// #         .allocation(Allocation::share("var_a".parse()?, "50".parse()?).control())
/// #         .allocation(Allocation::share("var_b".parse()?, "50".parse()?))
/// #         .into(),
/// # ])?;
/// use variate::Subject;
/// use variate::api::auth0::{Login, resolve};
///
/// let snapshot = engine.snapshot();
/// let login = Login::new("authentication", Subject::new("device-42"))
///     .experiment_id("exp_signin")
///     .variation_id("var_b");
/// let context = resolve(&snapshot, &login).context.unwrap();
/// assert_eq!(
///     serde_json::to_string(&context).unwrap(),
///     r#"{"experiment_id":"exp_signin","variation_id":"var_b","config":{"headline":{"value":"Hi"}},"is_control":false}"#,
/// );
/// # Ok::<(), variate::Error>(())
/// ```
pub fn resolve<'s>(snapshot: &'s Snapshot, login: &Login<'_>) -> Resolution<'s> {
    let (found, overridden, warnings) = match overridden(snapshot, login) {
        Overridden::By(found) => (found, true, Vec::new()),
        Overridden::Not => (regular(snapshot, login), false, Vec::new()),
        Overridden::Badly(warning) => (regular(snapshot, login), false, vec![warning]),
    };
    let overridden = overridden || found.as_ref().is_some_and(|found| found.is_forced);
    Resolution {
        context: found.as_ref().map(|found| ExperimentContext {
            experiment_id: found.experiment.id(),
            variation_id: found.variation_id,
            config: found.config,
            is_control: found.is_control,
        }),
        log: found.as_ref().map(|found| LogRecord {
            experiment_id: found.experiment.id(),
            variation_id: found.variation_id,
            is_control: found.is_control,
            allocation_strategy: found.experiment.strategy(),
            segment_id: found.segment_id,
        }),
        overridden,
        warnings,
    }
}

/// The arm that a subject has.
struct Found<'s> {
    experiment: &'s Experiment,
    variation_id: &'s VariationId,
    config: &'s Config,
    is_control: bool,
    segment_id: Option<&'s SegmentId>,
    is_forced: bool,
}

/// What came of the override parameters.
enum Overridden<'s> {
    Not,
    By(Option<Found<'s>>),
    Badly(Warning),
}

fn overridden<'s>(snapshot: &'s Snapshot, login: &Login<'_>) -> Overridden<'s> {
    let Login { experiment_id, variation_id, segment_id, .. } = login;
    let Some(id) = *experiment_id else {
        return match (variation_id, segment_id) {
            (None, None) => Overridden::Not,
            _ => Overridden::Badly(Warning::OrphanedParams),
        };
    };
    let Some(experiment) = snapshot.experiment(id) else {
        return Overridden::Badly(Warning::NotFound);
    };
    let found = match (*variation_id, *segment_id) {
        (None, None) => enrolled(snapshot, experiment, &login.subject),
        (Some(id), None) => chosen(snapshot, experiment, login, id).map(Some),
        (id, Some(segment)) => allocations(experiment)
            .iter()
            .find(|arm| {
                arm.segment_id.as_ref().is_some_and(|own| *own == segment)
                    && id.is_none_or(|id| arm.variation_id == id)
            })
            .and_then(|arm| {
                let segment_id = arm.segment_id.as_ref();
                let found = forced(snapshot, experiment, arm)?;
                Some(Some(Found { segment_id, ..found }))
            }),
    };
    found.map_or(Overridden::Badly(Warning::AllocationNotFound), Overridden::By)
}

/// The arm with this variation: if there are several, that by which the experiment would give it to
/// the subject.
fn chosen<'s>(
    snapshot: &'s Snapshot,
    experiment: &'s Experiment,
    login: &Login<'_>,
    variation_id: &str,
) -> Option<Found<'s>> {
    let given = enrolled(snapshot, experiment, &login.subject).flatten();
    given.filter(|found| *found.variation_id == *variation_id).or_else(|| {
        let mut arms = allocations(experiment).iter();
        forced(snapshot, experiment, arms.find(|arm| arm.variation_id == *variation_id)?)
    })
}

/// The allocations that decide: those of the run, or of the design if it never ran.
fn allocations(experiment: &Experiment) -> &[Allocation] {
    experiment.iteration().allocations().unwrap_or_else(|| experiment.allocations())
}

/// What an experiment would give the subject if it were active; `None` if it cannot be.
fn enrolled<'s>(
    snapshot: &'s Snapshot,
    experiment: &'s Experiment,
    subject: &Subject<'_>,
) -> Option<Option<Found<'s>>> {
    let plan = snapshot.trial_plan(experiment.id())?;
    let decision = plan.assign(&identified(subject, &plan));
    let Some(assignment) = decision.assignment() else { return Some(None) };
    let arm = allocations(experiment).iter().find(|arm| {
        arm.variation_id == *assignment.variation_id
            && match decision.reason() {
                Reason::Segment(id) => arm.segment_id.as_ref() == Some(id),
                Reason::Fallback => arm.is_fallback,
                _ => true,
            }
    })?;
    let segment_id = arm.segment_id.as_ref();
    forced(snapshot, experiment, arm).map(|found| Some(Found { segment_id, ..found }))
}

/// An arm whatever the experiment's status.
fn forced<'s>(
    snapshot: &'s Snapshot,
    experiment: &'s Experiment,
    arm: &'s Allocation,
) -> Option<Found<'s>> {
    let (experiment_id, variation_id) = (experiment.id().as_str(), arm.variation_id.as_str());
    let subject = Subject::new("").forced(experiment_id, variation_id);
    let config = snapshot.assign(experiment_id, &subject).assignment()?.config;
    let (variation_id, is_control) = (&arm.variation_id, arm.is_control);
    let (segment_id, is_forced) = (None, true);
    Some(Found { experiment, variation_id, config, is_control, segment_id, is_forced })
}

/// What a request gets that overrides nothing.
fn regular<'s>(snapshot: &'s Snapshot, login: &Login<'_>) -> Option<Found<'s>> {
    kept(snapshot, login).or_else(|| assigned(snapshot, login))
}

/// The arm that the subject brings from a paused experiment of the flow.
fn kept<'s>(snapshot: &'s Snapshot, login: &Login<'_>) -> Option<Found<'s>> {
    login.subject.kept_experiments().find_map(|id| {
        let experiment = snapshot.experiment(id)?;
        let flow = experiment.flow()?;
        let is_on = *flow == login.flow || *flow == Flow::ALL;
        if experiment.status() != Status::Paused || !is_on {
            return None;
        }
        let plan = snapshot.plan(id)?;
        found(experiment, plan.assign(&identified(&login.subject, plan)))
    })
}

/// The arm that the first experiment gives which is active on the flow and has one for the subject.
fn assigned<'s>(snapshot: &'s Snapshot, login: &Login<'_>) -> Option<Found<'s>> {
    let others = if login.flow == Flow::ALL { None } else { Some(snapshot.active_on(Flow::ALL)) };
    let active = snapshot.active_on(login.flow).chain(others.into_iter().flatten());
    let mut active: Vec<&Experiment> = active.filter_map(|id| snapshot.experiment(id)).collect();
    active
        .sort_unstable_by_key(|experiment| (experiment.iteration().started_at(), experiment.id()));
    active.into_iter().find_map(|experiment| {
        let plan = snapshot.plan(experiment.id())?;
        found(experiment, plan.assign(&identified(&login.subject, plan)))
    })
}

/// The arm of a decision, if it has one.
fn found<'s>(experiment: &'s Experiment, decision: Decision<'s>) -> Option<Found<'s>> {
    let assignment = decision.assignment()?;
    let segment_id = match decision.reason() {
        Reason::Segment(id) => Some(id),
        _ => None,
    };
    let Assignment { variation_id, config, is_control, .. } = assignment;
    let is_forced = decision.reason() == Reason::Forced;
    Some(Found { experiment, variation_id, config, is_control, segment_id, is_forced })
}

/// The subject, with an id if the experiment hashes none: one by segment that lets everyone in asks
/// for attributes alone.
fn identified<'a>(subject: &Subject<'a>, plan: &'a Plan) -> Subject<'a> {
    let kind = plan.subject_kind().as_str();
    let needs_none = plan.hashes() || subject.id(kind).is_some();
    if needs_none { subject.clone() } else { subject.clone().with_id(kind, "-") }
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

impl Serialize for Enveloped<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, Envelope { value })))
    }
}
