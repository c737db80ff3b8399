//! Experiments.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::allocation::check_allocations;
use super::analysis::{Analysis, check_analysis};
use super::annotations::NO_ANNOTATIONS;
use super::draft::Draft;
use super::extra::{Extra, Extras};
use super::iteration::{Design, DesignRef, DesignRefs, Iteration};
use super::past::{PastIteration, check_previous};
use super::rollout::{Rollout, RolloutSlice, check_hash};
use super::schedule::{Schedule, Stage, check_levels, initial_traffic};
use super::{
    Allocation, AnnotationKey, Description, Flow, HashVersion, Keep, Key, Maintainer, Name, Record,
    Salt, Status, Strategy, SubjectKind, Tag, Text, Weights, checked, entity, keyed, keys,
};
use crate::error::Error;
use crate::id::{ExperimentId, FlagId, SegmentId, VariationId};
use crate::json::{Cursor, Object};
use crate::number::Percentage;
use crate::time::Timestamp;

/// A named question under test: which variation of a flag does better.
///
/// An experiment has a design (flag, allocations, traffic, salt, …), which can be edited as far as
/// [`Status::can_change`] says, and an [`Iteration`], which froze what the experiment rests on when
/// it was activated. While it runs, the iteration decides who gets what, not the design; only the
/// traffic, the schedule and what is kept take effect at once.
///
/// One iteration follows another: a [`Draft`] says what the next is to be like, and those that are
/// over can be read for ever; see [`Change::StartIteration`](crate::Change::StartIteration).
///
/// Without a [key](Self::key), its name is its own among all experiments without one, archived ones
/// included.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    pub(crate) id: ExperimentId,
    pub(crate) name: Name,
    pub(crate) description: Option<Description>,
    pub(crate) flag_id: FlagId,
    pub(crate) subject_kind: SubjectKind,
    pub(crate) strategy: Strategy,
    pub(crate) allocations: Arc<[Allocation]>,
    pub(crate) traffic: Percentage,
    pub(crate) audience_id: Option<SegmentId>,
    pub(crate) outside_variation_id: Option<VariationId>,
    pub(crate) keep: Keep,
    pub(crate) hash: HashVersion,
    pub(crate) salt: Salt,
    pub(crate) status: Status,
    pub(crate) iteration: Iteration,
    pub(crate) record: Record,
    pub(crate) key: Option<Key>,
    pub(crate) can_reshuffle: bool,
    pub(crate) draft: Option<Box<Draft>>,
    /// `None` when it says nothing, as most do not.
    pub(crate) analysis: Option<Arc<Analysis>>,
    pub(crate) weights: Weights,
    pub(crate) extra: Extra,
}

entity!(Experiment ExperimentId);
keyed!(Experiment);

impl Experiment {
    /// Words to find it by, at most 100, none twice.
    pub fn tags(&self) -> &[Tag] {
        &self.extra.tags
    }

    /// What other systems want to find again on it, such as a ticket, at most 64. They decide
    /// nothing.
    pub fn annotations(&self) -> &BTreeMap<AnnotationKey, Text> {
        self.extra.annotations.as_deref().unwrap_or(NO_ANNOTATIONS)
    }

    /// Who looks after it.
    pub fn maintainer(&self) -> Option<&Maintainer> {
        self.extra.maintainer.as_ref()
    }

    /// The flag that it varies; fixed when it is created.
    pub fn flag_id(&self) -> &FlagId {
        &self.flag_id
    }

    /// The surface that it applies to.
    pub fn flow(&self) -> Option<&Flow> {
        self.extra.flow.as_ref()
    }

    /// What is assigned: which of a subject's ids is hashed.
    pub fn subject_kind(&self) -> &SubjectKind {
        &self.subject_kind
    }

    /// How subjects are mapped to variations; fixed when it is created.
    pub fn strategy(&self) -> Strategy {
        self.strategy
    }

    /// The arms as they stand in the design, in the order in which they were written.
    pub fn allocations(&self) -> &[Allocation] {
        &self.allocations
    }

    /// The share of subjects that enters at all. Raising it only adds subjects, lowering it only
    /// removes some, and nobody who stays in changes arm. Under `sha1-v1` and `sha1-f32-v1` a run's
    /// slices are cut anew; see [`RolloutSlice`].
    pub fn traffic(&self) -> Percentage {
        self.traffic
    }

    /// The steps of a ramp, each higher than the one before and at most 101 of them; none unless
    /// the experiment is one. Only for strategy `percentage`.
    ///
    /// The first activation sets the traffic to the first level, and
    /// [`Change::AdvanceRamp`](crate::Change::AdvanceRamp) alone raises it, level by level. So who
    /// has once entered stays, in the same arm, until a new iteration begins at the first level.
    ///
    /// With weights, the arms divide those who have entered, and the others are outside. A ramp can
    /// also do without weights: then the arms but the control divide those who have entered, all
    /// alike, and everyone else has the control, as part of the experiment; at level 100 nobody is
    /// left to compare with.
    pub fn levels(&self) -> &[Percentage] {
        &self.extra.levels
    }

    /// The level that a ramp stands at, once it has started.
    pub fn current_level(&self) -> Option<Percentage> {
        let ramps = !self.extra.levels.is_empty() && self.iteration.started_at.is_some();
        ramps.then_some(self.traffic)
    }

    /// Sets the traffic of a ramp that has not started to its first level.
    pub(crate) fn start_ramp(&mut self) {
        if let Some(first) = self.extra.levels.first()
            && self.iteration.started_at.is_none()
        {
            self.traffic = *first;
        }
    }

    /// The segment of those who can be in the experiment, by whatever strategy it assigns; everyone
    /// unless there is one. Asked before the traffic is drawn, so that the traffic is a share of the
    /// audience.
    pub fn audience_id(&self) -> Option<&SegmentId> {
        self.audience_id.as_ref()
    }

    /// When an assignment that a subject brings is kept.
    pub fn keep(&self) -> Keep {
        self.keep
    }

    /// The moment before which an active experiment assigns nobody.
    pub fn starts_at(&self) -> Option<Timestamp> {
        self.extra.schedule.as_ref().and_then(|schedule| schedule.starts_at)
    }

    /// The moment from which on an active experiment assigns nobody.
    pub fn ends_at(&self) -> Option<Timestamp> {
        self.extra.schedule.as_ref().and_then(|schedule| schedule.ends_at)
    }

    /// The steps of a ramp by time, each later and higher than the one before and at most 101 of
    /// them; none unless the experiment is one. Not beside [`levels`](Self::levels).
    ///
    /// At any moment the share of subjects that enters is the [`traffic`](Self::traffic) or that of
    /// the last stage that has begun, whichever is higher. So who has once entered stays, in the
    /// same arm, as time goes by.
    pub fn stages(&self) -> &[Stage] {
        self.extra.schedule.as_ref().map_or(&[], |schedule| &schedule.stages)
    }

    /// What it does by the clock, to be edited.
    pub(crate) fn schedule(&self) -> Schedule {
        self.extra.schedule.clone().unwrap_or_default()
    }

    pub(crate) fn set_schedule(&mut self, schedule: Schedule) {
        let schedule = Some(schedule).filter(|own| *own != Schedule::default());
        self.extra.schedule = schedule;
    }

    /// What subjects are served who are held out, outside the layer's slots, outside the audience or
    /// outside the traffic, as no part of the experiment; by default nothing. In a ramp without
    /// weights nobody is outside the traffic. Those who are held out get the flag's
    /// [off variation](crate::Flag::off_variation_id) instead, if it has one.
    pub fn outside_variation_id(&self) -> Option<&VariationId> {
        self.outside_variation_id.as_ref()
    }

    /// The formula that maps subjects to points.
    pub fn hash(&self) -> HashVersion {
        self.hash
    }

    /// What it mixes into its hash. Under `sha1-v1` and `sha1-f32-v1` a salt that is drawn is a
    /// seed as LaunchDarkly has them: a whole number from 1 to 2^31 − 1 in decimal.
    pub fn salt(&self) -> &Salt {
        &self.salt
    }

    /// How the slices of its first run will lie, if it is brought over from elsewhere and has not
    /// started; see [`RolloutSlice`]. Those of its run are
    /// [`Iteration::rollout`].
    pub fn rollout(&self) -> &[RolloutSlice] {
        self.extra.rollout.as_ref().map_or(&[], Rollout::slices)
    }

    /// How the weights of its allocations are read; fixed when it is created.
    pub fn weights(&self) -> Weights {
        self.weights
    }

    /// Where it stands in its life.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Its present run.
    pub fn iteration(&self) -> &Iteration {
        &self.iteration
    }

    /// How its results are to be read; it has no influence on who gets what.
    pub fn analysis(&self) -> &Analysis {
        self.analysis.as_deref().unwrap_or(Analysis::NONE)
    }

    pub(crate) fn set_analysis(&mut self, analysis: Analysis) {
        self.analysis = analysis.shared();
    }

    /// The runs before the present one, oldest first, at most 1,000 of them.
    pub fn previous_iterations(&self) -> &[PastIteration] {
        self.extra.previous.as_ref().map_or(&[], |previous| previous)
    }

    /// What its runs froze, oldest first.
    pub(crate) fn designs(&self) -> impl Iterator<Item = &Design> {
        let previous = self.previous_iterations().iter().map(PastIteration::iteration);
        previous.chain([&self.iteration]).filter_map(|run| run.design.as_deref())
    }

    /// What the next run is to be like, if that has been drafted.
    pub fn draft(&self) -> Option<&Draft> {
        self.draft.as_deref()
    }

    /// Whether an iteration that follows on a running one may draw everybody anew when it cannot
    /// keep them where they are; `true` unless given. If not,
    /// [`Change::StartIteration`](crate::Change::StartIteration) refuses another salt, except after
    /// the run was stopped, which always ends the split.
    pub fn can_reshuffle(&self) -> bool {
        self.can_reshuffle
    }

    /// When it was [shelved](crate::Change::ShelveExperiment), if it is.
    pub fn shelved_at(&self) -> Option<Timestamp> {
        self.extra.shelved_at
    }

    /// Reads an experiment and what its runs refer to, which the snapshot has to supply.
    pub(crate) fn from_json(cursor: Cursor<'_>) -> Result<(Self, DesignRefs), Error> {
        let object = cursor.object(keys![
            "id",
            "name",
            "description",
            "tags",
            "flag_id",
            "flow",
            "subject_kind",
            "strategy",
            "allocations",
            "traffic",
            "levels",
            "audience_id",
            "outside_variation_id",
            "keep",
            "starts_at",
            "ends_at",
            "stages",
            "hash",
            "salt",
            "status",
            "iteration",
            "key",
            "maintainer",
            "can_reshuffle",
            "shelved_at",
            "draft",
            "previous_iterations",
            "analysis",
            "rollout",
            "chain",
            "weights",
            "annotations",
        ])?;
        let id: ExperimentId = object.read("id")?;
        let strategy = object.read("strategy")?;
        let weights = Weights::read(&object, strategy)?;
        let allocations = checked(&object, "allocations", |list: &Vec<Allocation>| {
            check_allocations(list, strategy, weights)
        })?;
        let levels = match object.get("levels") {
            Some(_) => checked(&object, "levels", |levels: &Vec<Percentage>| {
                check_levels(levels, strategy)
            })?,
            None => Vec::new(),
        };
        let schedule = Schedule::read(&object, &levels)?;
        let record = Record::from_json(&object)?;
        let (iteration, present) = match object.get("iteration") {
            Some(cursor) => Iteration::from_json(cursor, record.created_at)?,
            None => (Iteration::new(1, record.created_at), None),
        };
        let status = object.optional("status")?.unwrap_or(Status::Draft);
        let hash: HashVersion = object.or_default("hash")?;
        check_hash(hash, strategy, &levels, &schedule.stages)
            .map_err(|error| object.locate(error))?;
        let mut experiment = Self {
            name: object.read("name")?,
            description: object.optional("description")?,
            flag_id: object.read("flag_id")?,
            subject_kind: object.or_default("subject_kind")?,
            strategy,
            allocations: allocations.into(),
            traffic: match (object.optional("traffic")?, levels.first()) {
                (Some(traffic), _) => traffic,
                (None, Some(first)) if status != Status::Draft => *first,
                (None, _) => initial_traffic(&schedule.stages),
            },
            audience_id: object.optional("audience_id")?,
            outside_variation_id: object.optional("outside_variation_id")?,
            keep: object.or_default("keep")?,
            hash,
            // What most have is their id, whose text is then held once.
            salt: object
                .optional("salt")?
                .filter(|salt: &Salt| *salt != id.as_str())
                .unwrap_or_else(|| Salt::from(&id)),
            status,
            iteration,
            record,
            key: object.optional("key")?,
            can_reshuffle: object.optional("can_reshuffle")?.unwrap_or(true),
            draft: None,
            analysis: None,
            weights,
            extra: Extra::from(Extras {
                levels: levels.into(),
                schedule: Some(schedule).filter(|own| *own != Schedule::default()),
                ..Extras::read(&object)?
            }),
            id,
        };
        if object.get("analysis").is_some() {
            experiment.set_analysis(checked(&object, "analysis", check_analysis)?);
        }
        experiment.read_rollout(&object, present.is_some())?;
        let previous = experiment.read_other_runs(&object)?;
        Ok((experiment, DesignRefs { present, previous }))
    }

    /// Reads how the slices of the first run will lie, which must not have begun.
    fn read_rollout(&mut self, object: &Object<'_>, has_run: bool) -> Result<(), Error> {
        let rollout: Vec<RolloutSlice> = object.or_default("rollout")?;
        self.bring_rollout(&rollout).map_err(|error| object.locate(error))?;
        if self.extra.rollout.is_some() && has_run {
            let rule = "must stand in the iteration, since the experiment has started";
            return Err(object.locate(Error::invalid(rule).at("rollout")));
        }
        Ok(())
    }

    /// Holds its id, and the salt that is its id, as this equal one.
    pub(crate) fn hold_id(&mut self, id: ExperimentId) {
        if self.salt == *id.as_str() {
            self.salt = Salt::from(&id);
        }
        self.id = id;
    }

    /// Reads the draft and the previous runs, and returns what these refer to.
    fn read_other_runs(&mut self, object: &Object<'_>) -> Result<Vec<Option<DesignRef>>, Error> {
        if let Some(cursor) = object.get("draft") {
            self.draft = Some(Box::new(Draft::from_json(cursor, self)?));
        }
        let Some(cursor) = object.get("previous_iterations") else { return Ok(Vec::new()) };
        let past = cursor.array(|past| PastIteration::from_json(past, self))?;
        check_previous(past.len().saturating_sub(1)).map_err(|error| object.locate(error))?;
        let (past, designs): (Vec<_>, Vec<_>) = past.into_iter().unzip();
        self.extra.previous = Some(Arc::new(past)).filter(|past| !past.is_empty());
        Ok(designs)
    }
}

impl Serialize for Experiment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("name", &self.name)?;
        if let Some(description) = &self.description {
            map.serialize_entry("description", description)?;
        }
        if let Some(key) = &self.key {
            map.serialize_entry("key", key)?;
        }
        if let Some(maintainer) = &self.extra.maintainer {
            map.serialize_entry("maintainer", maintainer)?;
        }
        if !self.extra.tags.is_empty() {
            map.serialize_entry("tags", &self.extra.tags)?;
        }
        map.serialize_entry("flag_id", &self.flag_id)?;
        if let Some(flow) = &self.extra.flow {
            map.serialize_entry("flow", flow)?;
        }
        map.serialize_entry("subject_kind", &self.subject_kind)?;
        map.serialize_entry("strategy", &self.strategy)?;
        map.serialize_entry("allocations", &*self.allocations)?;
        map.serialize_entry("traffic", &self.traffic)?;
        if !self.extra.levels.is_empty() {
            map.serialize_entry("levels", &self.extra.levels)?;
        }
        if let Some(segment) = &self.audience_id {
            map.serialize_entry("audience_id", segment)?;
        }
        if let Some(variation) = &self.outside_variation_id {
            map.serialize_entry("outside_variation_id", variation)?;
        }
        if self.keep != Keep::default() {
            map.serialize_entry("keep", &self.keep)?;
        }
        if let Some(start) = &self.starts_at() {
            map.serialize_entry("starts_at", start)?;
        }
        if let Some(end) = &self.ends_at() {
            map.serialize_entry("ends_at", end)?;
        }
        if !self.stages().is_empty() {
            map.serialize_entry("stages", self.stages())?;
        }
        map.serialize_entry("hash", &self.hash)?;
        map.serialize_entry("salt", &self.salt)?;
        map.serialize_entry("status", &self.status)?;
        map.serialize_entry("iteration", &self.iteration.within(self, self.traffic))?;
        if !self.can_reshuffle {
            map.serialize_entry("can_reshuffle", &self.can_reshuffle)?;
        }
        if let Some(shelved_at) = &self.extra.shelved_at {
            map.serialize_entry("shelved_at", shelved_at)?;
        }
        if let Some(draft) = &self.draft {
            map.serialize_entry("draft", &draft.within(self))?;
        }
        if let Some(previous) = &self.extra.previous {
            let previous: Vec<_> = previous.iter().map(|past| past.within(self)).collect();
            map.serialize_entry("previous_iterations", &previous)?;
        }
        if let Some(analysis) = &self.analysis {
            map.serialize_entry("analysis", analysis)?;
        }
        if !self.rollout().is_empty() {
            map.serialize_entry("rollout", self.rollout())?;
        }
        if let Some(chain) = &self.extra.chain {
            map.serialize_entry("chain", chain)?;
        }
        if self.weights != Weights::default() {
            map.serialize_entry("weights", &self.weights)?;
        }
        if let Some(annotations) = &self.extra.annotations {
            map.serialize_entry("annotations", annotations)?;
        }
        self.record.serialize_into(&mut map)?;
        map.end()
    }
}
