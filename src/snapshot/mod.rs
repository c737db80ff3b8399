//! One consistent world: the documents, their plans, look-up, JSON in and out.

mod chain;
mod design;
mod json;
mod kept;
mod keys;
mod membership;
mod metrics;
mod readiness;
mod revisions;
mod store;
mod table;
mod users;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arcstr::ArcStr;

pub use chain::Chain;
pub use readiness::Readiness;

pub(crate) use design::check_arm;
pub(crate) use json::not_ready;
use readiness::check_shape;

use crate::assign::{Decision, Explanation, Members, Plan, Scratch, Subject, Surroundings};
use crate::id::{ExperimentId, FlagId, HoldoutId, LayerId, MetricId, VariationId};
use crate::model::{
    Experiment, Flag, Holdout, Layer, Metric, Name, Segment, Settings, Status, Variation,
};
use crate::time::Timestamp;
use keys::Keys;
use table::{Entry, Table};
use users::Users;

/// Everything that an engine holds, at one moment: immutable, complete, consistent.
///
/// Whoever holds a snapshot reads one world, whatever is committed meanwhile. All reading is pure:
/// it takes no lock, and assigning allocates nothing. [`apply`](Self::apply) makes the next
/// snapshot, which shares with this one all that did not change, so that keeping many is cheap.
///
/// ```
/// use variate::{Snapshot, Subject};
///
/// let snapshot = Snapshot::from_json(r#"{
///     "format": "variate/1",
///     "flags": [{
///         "id": "flg_a", "name": "Sign-in screen", "status": "active",
///         "parameters": {"headline": {"type": "string", "value": "Welcome back"}},
///         "variations": [
///             {"id": "var_a", "name": "control"},
///             {"id": "var_b", "name": "short", "overrides": {"headline": "Hi"}}
///         ]
///     }],
///     "experiments": [{
///         "id": "exp_a", "name": "Sign-in headline", "status": "active",
///         "flag_id": "flg_a", "strategy": "percentage",
///         "allocations": [
///             {"variation_id": "var_a", "weight": 50, "is_control": true},
///             {"variation_id": "var_b", "weight": 50}
///         ]
///     }]
/// }"#)?;
///
/// let decision = snapshot.assign("exp_a", &Subject::new("device-42"));
/// assert_eq!(decision.reason().as_str(), "split");
/// assert_eq!(decision.config().unwrap().get("headline").unwrap(), "Hi");
/// # Ok::<(), variate::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Snapshot {
    pub(crate) sequence: u64,
    pub(crate) updated_at: Timestamp,
    pub(crate) settings: Settings,
    flags: Table<Arc<Flag>>,
    segments: Table<Arc<Segment>>,
    experiments: Table<Arc<Held>>,
    layers: Table<Arc<Layer>>,
    holdouts: Table<Arc<Holdout>>,
    /// The layer and the holdouts of each experiment that has any.
    memberships: Table<(ExperimentId, Membership)>,
    /// The plans of the experiments that assign, away from the documents.
    active: Table<Arc<Plan>>,
    /// The flag of each variation.
    variations: Table<(VariationId, FlagId)>,
    names: Names,
    /// The experiments that use a flag, segment or metric.
    users: Users,
    /// The active experiments by flow.
    flows: Users,
    keys: Keys,
    metrics: Table<Arc<Metric>>,
    /// The groups that a metric is in.
    groups: Table<(MetricId, BTreeSet<MetricId>)>,
    /// The active and paused experiments by the name of their chain.
    chained: Users,
    /// The members of each chain that has any.
    chains: Table<Arc<Members>>,
}

/// An experiment and its plan.
#[derive(Debug, Clone, PartialEq)]
struct Held {
    experiment: Experiment,
    plan: Arc<Plan>,
    /// The plan as if there were no chain, if it is a member of one.
    alone: Option<Arc<Plan>>,
}

macro_rules! keyed_by {
    ($($entry:ty: $($field:ident).+;)+) => {$(
        impl Entry for $entry {
            #[inline]
            fn key(&self) -> &str {
                self.$($field).+.as_str()
            }
        }
    )+};
}

keyed_by! {
    Flag: id;
    Held: experiment.id;
    Holdout: id;
    Layer: id;
    Members: name;
    Metric: id;
    Segment: id;
}

impl Entry for Plan {
    #[inline]
    fn key(&self) -> &str {
        self.experiment_id().as_str()
    }
}

/// The layer and the holdouts of an experiment.
#[derive(Debug, Clone, Default)]
struct Membership {
    layer: Option<LayerId>,
    /// In the order of ids.
    holdouts: BTreeSet<HoldoutId>,
}

/// Who has which name, of those without a key.
#[derive(Debug, Clone, Default)]
struct Names {
    flags: Table<(Name, ArcStr)>,
    segments: Table<(Name, ArcStr)>,
    experiments: Table<(Name, ArcStr)>,
    layers: Table<(Name, ArcStr)>,
    holdouts: Table<(Name, ArcStr)>,
}

impl Snapshot {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many transactions have led here.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// When the last of them was committed.
    pub fn updated_at(&self) -> Timestamp {
        self.updated_at
    }

    /// What holds for all entities.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What a subject gets from an experiment, and why.
    ///
    /// Total: an unknown id, a missing subject id or an experiment that does not run is a decision
    /// with its reason. Never allocates or takes a lock.
    #[inline]
    pub fn assign(&self, experiment: impl AsRef<str>, subject: &Subject<'_>) -> Decision<'_> {
        match self.plan(experiment) {
            Some(plan) => plan.assign(subject),
            None => Decision::NOT_FOUND,
        }
    }

    /// What a subject gets from an experiment, and the whole way there; see [`Explanation`].
    pub fn explain(&self, experiment: impl AsRef<str>, subject: &Subject<'_>) -> Explanation<'_> {
        match self.plan(experiment) {
            Some(plan) => plan.explain(subject),
            None => Explanation::new(Decision::NOT_FOUND, Vec::new()),
        }
    }

    /// What a subject gets from every active experiment, each as [`assign`](Self::assign) says.
    /// Others are left out, whatever the subject brings; so is one that is completed and ships its
    /// winner, which assigns nobody.
    ///
    /// A segment that several experiments use is evaluated at most once. The order is the same for
    /// the same set of active experiments. Allocates nothing once `scratch` has grown.
    ///
    /// ```
    /// # use variate::{Scratch, Snapshot, Subject};
    /// # let snapshot = Snapshot::new();
    /// let mut scratch = Scratch::new();
    /// let mut decisions = Vec::new();
    /// for id in ["device-1", "device-2"] {
    ///     decisions.clear();
    ///     decisions.extend(snapshot.assign_all(&Subject::new(id), &mut scratch));
    /// }
    /// ```
    pub fn assign_all<'s>(
        &'s self,
        subject: &Subject<'_>,
        scratch: &mut Scratch,
    ) -> impl Iterator<Item = Decision<'s>> {
        scratch.begin();
        // What nearly all of them hash.
        let hash = subject.default_hash();
        self.active.iter().map(move |plan| plan.assign_with(subject, hash, scratch))
    }

    /// The plan of an experiment, to assign many subjects to it.
    #[inline]
    pub fn plan(&self, experiment: impl AsRef<str>) -> Option<&Plan> {
        let id = experiment.as_ref();
        let hash = Plan::hash(id);
        match self.active.get_hashed(hash, id) {
            Some(plan) => Some(plan),
            None => self.idle_plan(hash, id),
        }
    }

    /// The plan of an experiment that is not active.
    #[inline(never)]
    fn idle_plan(&self, hash: u64, id: &str) -> Option<&Plan> {
        self.experiments.get_hashed(hash, id).map(|held| &*held.plan)
    }

    /// The plan by which an experiment would assign if it were active, whatever its status: what its
    /// run froze or, before it ever ran, its present design. To try out a draft. It assigns as if the
    /// flag were on.
    ///
    /// What was edited while it is paused is not what its run froze: to try that, take the plan of
    /// the resumption's [dry run](crate::Engine::dry_run). So it is with the
    /// [draft](Experiment::draft) beside a run and the dry run of its start.
    ///
    /// `None` when there is no such experiment, or its design is not complete; what else keeps it
    /// from starting, such as a flag that is not active, does not matter here. In its
    /// [chain](crate::Chain) a draft stands last.
    pub fn trial_plan(&self, experiment: impl AsRef<str>) -> Option<Plan> {
        let mut trial = self.experiment(experiment)?.clone();
        if trial.iteration.design.is_none() {
            if !check_shape(&trial, &trial.allocations).is_empty() {
                return None;
            }
            trial.start_ramp();
            trial.iteration.design = Some(Arc::new(self.freeze(&trial).ok()?));
        }
        trial.status = Status::Active;
        let plan = Plan::compile(&trial, &Surroundings { is_on: true, ..self.around(&trial) });
        Some(self.link_trial(&trial, plan))
    }

    /// An experiment by id.
    pub fn experiment(&self, id: impl AsRef<str>) -> Option<&Experiment> {
        self.experiments.get(id.as_ref()).map(|held| &held.experiment)
    }

    /// All experiments, in an order that depends only on which there are; sort for people.
    pub fn experiments(&self) -> impl Iterator<Item = &Experiment> {
        self.experiments.iter().map(|held| &held.experiment)
    }

    /// How many experiments there are.
    pub fn experiment_count(&self) -> usize {
        self.experiments.len()
    }

    /// A flag by id.
    pub fn flag(&self, id: impl AsRef<str>) -> Option<&Flag> {
        self.flags.get(id.as_ref()).map(|flag| &**flag)
    }

    /// All flags, in an order that depends only on which there are; sort for people.
    pub fn flags(&self) -> impl Iterator<Item = &Flag> {
        self.flags.iter().map(|flag| &**flag)
    }

    /// A variation by id, which is unique among all flags.
    pub fn variation(&self, id: impl AsRef<str>) -> Option<&Variation> {
        let flag = self.flag(&self.variations.get(id.as_ref())?.1)?;
        flag.variations().get(id.as_ref())
    }

    /// A segment by id.
    pub fn segment(&self, id: impl AsRef<str>) -> Option<&Segment> {
        self.segments.get(id.as_ref()).map(|segment| &**segment)
    }

    /// All segments, in an order that depends only on which there are; sort for people.
    pub fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().map(|segment| &**segment)
    }

    /// A layer by id.
    pub fn layer(&self, id: impl AsRef<str>) -> Option<&Layer> {
        self.layers.get(id.as_ref()).map(|layer| &**layer)
    }

    /// All layers, in an order that depends only on which there are; sort for people.
    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter().map(|layer| &**layer)
    }

    /// The layer that an experiment is a member of.
    pub fn layer_of(&self, experiment: impl AsRef<str>) -> Option<&Layer> {
        self.layer(self.memberships.get(experiment.as_ref())?.1.layer.as_ref()?)
    }

    /// A holdout by id.
    pub fn holdout(&self, id: impl AsRef<str>) -> Option<&Holdout> {
        self.holdouts.get(id.as_ref()).map(|holdout| &**holdout)
    }

    /// All holdouts, in an order that depends only on which there are; sort for people.
    pub fn holdouts(&self) -> impl Iterator<Item = &Holdout> {
        self.holdouts.iter().map(|holdout| &**holdout)
    }

    /// The holdouts that keep subjects out of an experiment, in the order of their ids, with those
    /// that have ended.
    pub fn holdouts_of(&self, experiment: impl AsRef<str>) -> impl Iterator<Item = &Holdout> {
        let membership = self.memberships.get(experiment.as_ref());
        let ids = membership.into_iter().flat_map(|(_, membership)| &membership.holdouts);
        ids.filter_map(|id| self.holdout(id))
    }

    /// A metric by id.
    pub fn metric(&self, id: impl AsRef<str>) -> Option<&Metric> {
        self.metrics.get(id.as_ref()).map(|metric| &**metric)
    }

    /// All metrics, in an order that depends only on which there are; sort for people.
    pub fn metrics(&self) -> impl Iterator<Item = &Metric> {
        self.metrics.iter().map(|metric| &**metric)
    }

    /// The groups that a metric is in, in the order of their ids.
    pub fn groups_of(&self, metric: impl AsRef<str>) -> impl Iterator<Item = &Metric> {
        let ids = self.groups.get(metric.as_ref()).into_iter().flat_map(|(_, ids)| ids);
        ids.filter_map(|id| self.metric(id))
    }

    pub(crate) fn active(&self) -> impl Iterator<Item = &Experiment> {
        self.active.iter().filter_map(|plan| self.experiment(plan.experiment_id()))
    }

    pub(crate) fn shared_flag(&self, id: &str) -> Option<&Arc<Flag>> {
        self.flags.get(id)
    }

    pub(crate) fn shared_segment(&self, id: &str) -> Option<&Arc<Segment>> {
        self.segments.get(id)
    }

    pub(crate) fn flag_of_variation(&self, id: &VariationId) -> Option<&FlagId> {
        self.variations.get(id.as_str()).map(|(_, flag_id)| flag_id)
    }

    /// Who has this name among the flags without a key.
    pub(crate) fn flag_named(&self, name: &Name) -> Option<&str> {
        self.names.flags.get(name.as_str()).map(|(_, id)| id.as_str())
    }

    /// Who has this name among the segments.
    pub(crate) fn segment_named(&self, name: &Name) -> Option<&str> {
        self.names.segments.get(name.as_str()).map(|(_, id)| id.as_str())
    }

    /// Who has this name among the experiments without a key.
    pub(crate) fn experiment_named(&self, name: &Name) -> Option<&str> {
        self.names.experiments.get(name.as_str()).map(|(_, id)| id.as_str())
    }

    /// Who has this name among the layers without a key.
    pub(crate) fn layer_named(&self, name: &Name) -> Option<&str> {
        self.names.layers.get(name.as_str()).map(|(_, id)| id.as_str())
    }

    /// Who has this name among the holdouts without a key.
    pub(crate) fn holdout_named(&self, name: &Name) -> Option<&str> {
        self.names.holdouts.get(name.as_str()).map(|(_, id)| id.as_str())
    }
}

/// Two snapshots are equal when they hold equal entities and have come as far.
impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        // Everything else follows from these.
        self.sequence == other.sequence
            && self.updated_at == other.updated_at
            && self.settings == other.settings
            && self.flags == other.flags
            && self.segments == other.segments
            && self.experiments == other.experiments
            && self.layers == other.layers
            && self.holdouts == other.holdouts
            && self.metrics == other.metrics
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("sequence", &self.sequence)
            .field("flags", &self.flags.len())
            .field("segments", &self.segments.len())
            .field("experiments", &self.experiments.len())
            .field("layers", &self.layers.len())
            .field("holdouts", &self.holdouts.len())
            .field("metrics", &self.metrics.len())
            .field("active", &self.active.len())
            .finish_non_exhaustive()
    }
}
