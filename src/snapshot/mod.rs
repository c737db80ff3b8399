//! One consistent world: the documents, their plans, look-up, JSON in and out.

mod json;
mod readiness;
mod revisions;
mod table;

use std::fmt;
use std::sync::Arc;

pub use readiness::Readiness;

pub(crate) use json::not_ready;
use readiness::check_shape;

use crate::assign::{Decision, Plan, Reason, Scratch, Subject};
use crate::id::{ExperimentId, FlagId, SegmentId, VariationId};
use crate::model::{Experiment, Flag, Name, Segment, Settings, Status, Variation};
use crate::time::Timestamp;
use table::Table;

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
    flags: Table<FlagId, Arc<Flag>>,
    segments: Table<SegmentId, Arc<Segment>>,
    experiments: Table<ExperimentId, Arc<Held>>,
    /// The experiments that assign.
    active: Table<ExperimentId, Arc<Held>>,
    /// The flag of each variation.
    variations: Table<VariationId, FlagId>,
    names: Names,
    /// The experiments that name a flag, variation or segment.
    users: Users,
    /// The experiments whose run froze a flag or segment, which may have been deleted since.
    runs: Users,
    /// The active experiments by flow.
    flows: Users,
}

/// Experiments by the id of what they use.
type Users = Table<Arc<str>, Table<ExperimentId, ()>>;

/// An experiment and its plan.
#[derive(Debug, Clone, PartialEq)]
struct Held {
    experiment: Experiment,
    plan: Plan,
}

/// Who has which name.
#[derive(Debug, Clone, Default)]
struct Names {
    flags: Table<Name, Arc<str>>,
    segments: Table<Name, Arc<str>>,
    experiments: Table<Name, Arc<str>>,
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
            None => Decision { experiment_id: None, served: None, reason: Reason::NotFound },
        }
    }

    /// What a subject gets from every active experiment, each as [`assign`](Self::assign) says.
    /// Others are left out, whatever the subject brings.
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
        self.active.values().map(|held| held.plan.assign_with(subject, scratch))
    }

    /// The plan of an experiment, to assign many subjects to it.
    #[inline]
    pub fn plan(&self, experiment: impl AsRef<str>) -> Option<&Plan> {
        self.experiments.get(experiment.as_ref()).map(|held| &held.plan)
    }

    /// The plan by which an experiment would assign if it were active, whatever its status: what its
    /// run froze or, before it ever ran, its present design. To try out a draft.
    ///
    /// What was edited while it is paused is not what its run froze: to try that, take the plan of
    /// the resumption's [dry run](crate::Engine::dry_run).
    ///
    /// `None` when there is no such experiment, or its design is not complete; what else keeps it
    /// from starting, such as a flag that is not active, does not matter here.
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
        Some(Plan::compile(&trial, None))
    }

    /// An experiment by id.
    pub fn experiment(&self, id: impl AsRef<str>) -> Option<&Experiment> {
        self.experiments.get(id.as_ref()).map(|held| &held.experiment)
    }

    /// All experiments, in an order that depends only on which there are; sort for people.
    pub fn experiments(&self) -> impl Iterator<Item = &Experiment> {
        self.experiments.values().map(|held| &held.experiment)
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
        self.flags.values().map(|flag| &**flag)
    }

    /// A variation by id, which is unique among all flags.
    pub fn variation(&self, id: impl AsRef<str>) -> Option<&Variation> {
        let flag = self.flag(self.variations.get(id.as_ref())?)?;
        flag.variations().get(id.as_ref())
    }

    /// A segment by id.
    pub fn segment(&self, id: impl AsRef<str>) -> Option<&Segment> {
        self.segments.get(id.as_ref()).map(|segment| &**segment)
    }

    /// All segments, in an order that depends only on which there are; sort for people.
    pub fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.segments.values().map(|segment| &**segment)
    }

    /// The experiments, archived ones aside, whose design names this flag, variation or segment.
    pub fn used_by(&self, id: impl AsRef<str>) -> impl Iterator<Item = &ExperimentId> {
        let users = self.users.get(id.as_ref()).into_iter().flat_map(Table::iter);
        users
            .map(|(id, ())| id)
            .filter(|id| self.experiment(id).is_some_and(|user| user.status != Status::Archived))
    }

    /// The experiments whose run rests on this flag or segment.
    pub(crate) fn runs_on(&self, id: &str) -> impl Iterator<Item = &ExperimentId> {
        self.runs.get(id).into_iter().flat_map(Table::iter).map(|(id, ())| id)
    }

    /// The experiments that are active on this flow, and on no other than it.
    pub fn active_on(&self, flow: &str) -> impl Iterator<Item = &ExperimentId> {
        self.flows.get(flow).into_iter().flat_map(Table::iter).map(|(id, ())| id)
    }

    pub(crate) fn active(&self) -> impl Iterator<Item = &Experiment> {
        self.active.values().map(|held| &held.experiment)
    }

    pub(crate) fn shared_flag(&self, id: &str) -> Option<&Arc<Flag>> {
        self.flags.get(id)
    }

    pub(crate) fn shared_segment(&self, id: &str) -> Option<&Arc<Segment>> {
        self.segments.get(id)
    }

    pub(crate) fn flag_of_variation(&self, id: &VariationId) -> Option<&FlagId> {
        self.variations.get(id.as_str())
    }

    /// Who has this name among the flags.
    pub(crate) fn flag_named(&self, name: &Name) -> Option<&str> {
        self.names.flags.get(name.as_str()).map(|id| &**id)
    }

    /// Who has this name among the segments.
    pub(crate) fn segment_named(&self, name: &Name) -> Option<&str> {
        self.names.segments.get(name.as_str()).map(|id| &**id)
    }

    /// Who has this name among the experiments.
    pub(crate) fn experiment_named(&self, name: &Name) -> Option<&str> {
        self.names.experiments.get(name.as_str()).map(|id| &**id)
    }

    /// Puts a flag in place of the one with its id, if there is one.
    pub(crate) fn put_flag(&mut self, flag: Flag) {
        let flag = Arc::new(flag);
        let before = self.flags.insert(flag.id.clone(), Arc::clone(&flag));
        self.recompile(&flag.id);
        let named = before.as_ref().map(|before| &before.name);
        rename(&mut self.names.flags, named, Some((&flag.name, flag.id.shared())));
        for gone in before.iter().flat_map(|before| before.variations.keys()) {
            if !flag.variations.contains_key(gone) {
                self.variations.remove(gone.as_str());
            }
        }
        for id in flag.variations.keys() {
            if self.variations.get(id.as_str()).is_none() {
                self.variations.insert(id.clone(), flag.id.clone());
            }
        }
    }

    /// Gives the experiments on a flag that never ran its present configs, which nothing froze for
    /// them.
    fn recompile(&mut self, flag: &FlagId) {
        let users = self.users.get(flag.as_str()).into_iter().flat_map(Table::iter);
        let never_ran: Vec<Experiment> = users
            .filter_map(|(id, ())| self.experiment(id))
            .filter(|experiment| experiment.iteration.design.is_none())
            .cloned()
            .collect();
        for experiment in never_ran {
            self.put_experiment(experiment);
        }
    }

    pub(crate) fn remove_flag(&mut self, id: &FlagId) {
        let Some(before) = self.flags.remove(id.as_str()) else {
            return;
        };
        rename(&mut self.names.flags, Some(&before.name), None);
        for id in before.variations.keys() {
            self.variations.remove(id.as_str());
        }
        self.recompile(id);
    }

    /// Puts a segment in place of the one with its id, if there is one.
    pub(crate) fn put_segment(&mut self, segment: Segment) {
        let segment = Arc::new(segment);
        let before = self.segments.insert(segment.id.clone(), Arc::clone(&segment));
        let named = before.as_ref().map(|before| &before.name);
        rename(&mut self.names.segments, named, Some((&segment.name, segment.id.shared())));
    }

    pub(crate) fn remove_segment(&mut self, id: &SegmentId) {
        let Some(before) = self.segments.remove(id.as_str()) else {
            return;
        };
        rename(&mut self.names.segments, Some(&before.name), None);
    }

    /// Compiles an experiment and puts it in place of the one with its id, if there is one.
    pub(crate) fn put_experiment(&mut self, experiment: Experiment) {
        let plan = Plan::compile(&experiment, self.flag(&experiment.flag_id));
        let held = Arc::new(Held { experiment, plan });
        let id = &held.experiment.id;
        let before = self.experiments.insert(id.clone(), Arc::clone(&held));
        let named = before.as_ref().map(|before| &before.experiment.name);
        rename(&mut self.names.experiments, named, Some((&held.experiment.name, id.shared())));
        if held.experiment.status == Status::Active {
            self.active.insert(id.clone(), Arc::clone(&held));
        } else {
            self.active.remove(id.as_str());
        }
        self.reuse(before.as_deref().map(|before| &before.experiment), Some(&held.experiment));
    }

    pub(crate) fn remove_experiment(&mut self, id: &ExperimentId) {
        let Some(before) = self.experiments.remove(id.as_str()) else {
            return;
        };
        rename(&mut self.names.experiments, Some(&before.experiment.name), None);
        self.active.remove(id.as_str());
        self.reuse(Some(&before.experiment), None);
    }

    /// Notes who uses what when one experiment becomes another.
    fn reuse(&mut self, before: Option<&Experiment>, after: Option<&Experiment>) {
        let Some(id) = before.or(after).map(Experiment::id) else { return };
        let of = |ids: fn(&Experiment) -> Vec<Arc<str>>| {
            [before, after].map(|experiment| experiment.map(ids).unwrap_or_default())
        };
        for (users, [old, new]) in [
            (&mut self.users, of(used)),
            (&mut self.runs, of(rested_on)),
            (&mut self.flows, of(occupied)),
        ] {
            for key in old.iter().filter(|key| !new.contains(key)) {
                let Some(mut list) = users.remove(key) else { continue };
                list.remove(id.as_str());
                if list.len() > 0 {
                    users.insert(Arc::clone(key), list);
                }
            }
            for key in new.iter().filter(|key| !old.contains(key)) {
                let mut list = users.remove(key).unwrap_or_default();
                list.insert(id.clone(), ());
                users.insert(Arc::clone(key), list);
            }
        }
    }
}

/// The flag, variations and segments that an experiment's design names.
fn used(experiment: &Experiment) -> Vec<Arc<str>> {
    let mut ids = vec![experiment.flag_id.shared()];
    for arm in experiment.allocations() {
        ids.push(arm.variation_id.shared());
        ids.extend(arm.segment_id.as_ref().map(SegmentId::shared));
    }
    ids.extend(experiment.outside_variation_id().map(VariationId::shared));
    ids
}

/// The flag and segments that an experiment's run froze.
fn rested_on(experiment: &Experiment) -> Vec<Arc<str>> {
    let Some(design) = &experiment.iteration.design else { return Vec::new() };
    let segments = design.segments.iter().map(|segment| segment.id.shared());
    [design.flag.id.shared()].into_iter().chain(segments).collect()
}

/// The flow on which an experiment is active.
fn occupied(experiment: &Experiment) -> Vec<Arc<str>> {
    let flow = experiment.flow().filter(|_| experiment.status == Status::Active);
    flow.map(|flow| flow.as_str().into()).into_iter().collect()
}

fn rename(
    names: &mut Table<Name, Arc<str>>,
    before: Option<&Name>,
    after: Option<(&Name, Arc<str>)>,
) {
    if before == after.as_ref().map(|(name, _)| *name) {
        return;
    }
    if let Some(before) = before {
        names.remove(before.as_str());
    }
    if let Some((after, id)) = after {
        names.insert(after.clone(), id);
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
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("sequence", &self.sequence)
            .field("flags", &self.flags.len())
            .field("segments", &self.segments.len())
            .field("experiments", &self.experiments.len())
            .field("active", &self.active.len())
            .finish_non_exhaustive()
    }
}
