//! Experiments and their allocations.

use std::num::NonZeroU32;
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::iteration::{DesignRef, Iteration};
use super::{
    Description, Flow, Name, Record, Salt, Status, SubjectKind, Tag, check_count, check_distinct,
    checked, entity, keys,
};
use crate::error::{Error, codes};
use crate::id::{ExperimentId, FlagId, SegmentId, VariationId};
use crate::json::{Cursor, FromJson, deserialize};
use crate::number::{Percentage, Weight};

/// The most allocations of an experiment.
pub(crate) const MAX_ALLOCATIONS: usize = 20;

/// The most tags of an experiment.
const MAX_TAGS: usize = 100;

/// The largest weight by which an allocation can be written.
const MAX_WEIGHT: u64 = 100_000_000;

/// The most levels of a ramp.
const MAX_LEVELS: usize = 101;

/// A named question under test: which variation of a flag does better.
///
/// An experiment has a design (flag, allocations, traffic, salt, …), which can be edited as far as
/// [`Status::can_change`] says, and an [`Iteration`], which froze what the experiment rests on when
/// it was activated. While it runs, the iteration decides who gets what, not the design; traffic
/// alone takes effect at once.
///
/// Its name is its own among all experiments, archived ones included.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    pub(crate) id: ExperimentId,
    pub(crate) name: Name,
    pub(crate) description: Option<Description>,
    pub(crate) tags: Box<[Tag]>,
    pub(crate) flag_id: FlagId,
    pub(crate) flow: Option<Flow>,
    pub(crate) subject_kind: SubjectKind,
    pub(crate) strategy: Strategy,
    pub(crate) allocations: Arc<[Allocation]>,
    pub(crate) traffic: Percentage,
    pub(crate) levels: Box<[Percentage]>,
    pub(crate) outside_variation_id: Option<VariationId>,
    pub(crate) hash: HashVersion,
    pub(crate) salt: Salt,
    pub(crate) status: Status,
    pub(crate) iteration: Iteration,
    pub(crate) record: Record,
}

entity!(Experiment ExperimentId);

impl Experiment {
    /// Words to find it by, at most 100, none twice.
    pub fn tags(&self) -> &[Tag] {
        &self.tags
    }

    /// The flag that it varies; fixed when it is created.
    pub fn flag_id(&self) -> &FlagId {
        &self.flag_id
    }

    /// The surface that it applies to.
    pub fn flow(&self) -> Option<&Flow> {
        self.flow.as_ref()
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
    /// removes some, and nobody who stays in changes arm.
    pub fn traffic(&self) -> Percentage {
        self.traffic
    }

    /// The steps of a ramp, each higher than the one before and at most 101 of them; none unless
    /// the experiment is one. Only for strategy `percentage`.
    ///
    /// The first activation sets the traffic to the first level, and
    /// [`Change::AdvanceRamp`](crate::Change::AdvanceRamp) alone raises it, level by level. So who
    /// has once entered stays, in the same arm.
    ///
    /// With weights, the arms divide those who have entered, and the others are outside. A ramp can
    /// also do without weights: then the arms but the control divide those who have entered, all
    /// alike, and everyone else has the control, as part of the experiment; at level 100 nobody is
    /// left to compare with.
    pub fn levels(&self) -> &[Percentage] {
        &self.levels
    }

    /// The level that a ramp stands at, once it has started.
    pub fn current_level(&self) -> Option<Percentage> {
        let ramps = !self.levels.is_empty() && self.iteration.started_at.is_some();
        ramps.then_some(self.traffic)
    }

    /// Sets the traffic of a ramp that has not started to its first level.
    pub(crate) fn start_ramp(&mut self) {
        if let Some(first) = self.levels.first()
            && self.iteration.started_at.is_none()
        {
            self.traffic = *first;
        }
    }

    /// What subjects outside the traffic are served, as no part of the experiment; by default
    /// nothing. Of no effect in a ramp without weights, which has nobody outside.
    pub fn outside_variation_id(&self) -> Option<&VariationId> {
        self.outside_variation_id.as_ref()
    }

    /// The formula that maps subjects to points.
    pub fn hash(&self) -> HashVersion {
        self.hash
    }

    /// What it mixes into its hash.
    pub fn salt(&self) -> &Salt {
        &self.salt
    }

    /// Where it stands in its life.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Its present run.
    pub fn iteration(&self) -> &Iteration {
        &self.iteration
    }

    /// Reads an experiment and what its iteration refers to, which the snapshot has to supply.
    pub(crate) fn from_json(cursor: Cursor<'_>) -> Result<(Self, Option<DesignRef>), Error> {
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
            "outside_variation_id",
            "hash",
            "salt",
            "status",
            "iteration",
        ])?;
        let id: ExperimentId = object.read("id")?;
        let strategy = object.read("strategy")?;
        let allocations = checked(&object, "allocations", |list: &Vec<Allocation>| {
            check_allocations(list, strategy)
        })?;
        let levels = match object.get("levels") {
            Some(_) => checked(&object, "levels", |levels: &Vec<Percentage>| {
                check_levels(levels, strategy)
            })?,
            None => Vec::new(),
        };
        let tags: Vec<Tag> = match object.get("tags") {
            Some(_) => checked(&object, "tags", |tags: &Vec<Tag>| check_tags(tags))?,
            None => Vec::new(),
        };
        let (iteration, design) = match object.get("iteration") {
            Some(cursor) => Iteration::from_json(cursor)?,
            None => (Iteration::first(), None),
        };
        let status = object.optional("status")?.unwrap_or(Status::Draft);
        let experiment = Self {
            name: object.read("name")?,
            description: object.optional("description")?,
            tags: tags.into(),
            flag_id: object.read("flag_id")?,
            flow: object.optional("flow")?,
            subject_kind: object.or_default("subject_kind")?,
            strategy,
            allocations: allocations.into(),
            traffic: match (object.optional("traffic")?, levels.first()) {
                (Some(traffic), _) => traffic,
                (None, Some(first)) if status != Status::Draft => *first,
                (None, _) => Percentage::MAX,
            },
            levels: levels.into(),
            outside_variation_id: object.optional("outside_variation_id")?,
            hash: object.or_default("hash")?,
            salt: object.optional("salt")?.unwrap_or_else(|| Salt::from(&id)),
            status,
            iteration,
            record: Record::from_json(&object)?,
            id,
        };
        Ok((experiment, design))
    }
}

codes! {
    /// How an experiment maps subjects to variations.
    #[expect(clippy::exhaustive_enums, reason = "whoever matches on it must consider a new one")]
    pub enum Strategy {
        /// By weight: each arm has its share of the subjects, drawn by hash.
        Percentage = "percentage",
        /// By segment: the first segment that matches, in order of priority, decides; if none
        /// does, the fallback.
        Segment = "segment",
    }
}

codes! {
    /// The formula that maps subjects to points; see [`hash`](crate::hash). A formula never
    /// changes: a better one gets a name of its own.
    #[derive(Default)]
    #[non_exhaustive]
    pub enum HashVersion {
        /// XXH64 of the id, then of the id's hash and the experiment's seed.
        #[default]
        Xxh64V1 = "xxh64-v1",
    }
}

/// One arm of an experiment: a variation with its share, or with its segment.
///
/// Which fields belong to it depends on the [`Strategy`]; one that belongs to the other strategy is
/// refused. What is left out is asked for by readiness, not when it is written.
///
/// ```
/// use variate::Allocation;
///
/// let control = Allocation::share("var_today".parse()?, 90.try_into()?).control();
/// assert!(control.is_control);
///
/// let german = Allocation::segment("var_b".parse()?, "seg_germany".parse()?, 1)?;
/// let everyone_else = Allocation::fallback("var_a".parse()?).control();
/// # Ok::<(), variate::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "plain data, made by literal")]
pub struct Allocation {
    /// What is served; one of the flag's variations.
    pub variation_id: VariationId,
    /// Whether this is the arm that the others are compared with. Exactly one is.
    pub is_control: bool,
    /// Strategy `percentage`: the share in percent. All sum to exactly 100; 0 serves nobody. A ramp
    /// may do without; see [`Experiment::levels`].
    pub weight: Option<Weight>,
    /// Strategy `segment`: who gets it.
    pub segment_id: Option<SegmentId>,
    /// Strategy `segment`: when the segment is asked; 1 comes first.
    pub priority: Option<NonZeroU32>,
    /// Strategy `segment`: whether this is what subjects get whom no segment matches. Exactly one
    /// is.
    pub is_fallback: bool,
}

impl Allocation {
    pub(crate) const KEYS: &[&str] =
        &["variation_id", "weight", "segment_id", "priority", "is_control", "is_fallback"];

    /// An arm by weight.
    pub fn share(variation_id: VariationId, weight: Weight) -> Self {
        Self { weight: Some(weight), ..Self::bare(variation_id) }
    }

    /// An arm by segment.
    ///
    /// # Errors
    /// [`Code::InvalidValue`](crate::Code::InvalidValue) for priority 0.
    pub fn segment(
        variation_id: VariationId,
        segment_id: SegmentId,
        priority: u32,
    ) -> Result<Self, Error> {
        let priority = NonZeroU32::new(priority).ok_or_else(invalid_priority)?;
        Ok(Self {
            segment_id: Some(segment_id),
            priority: Some(priority),
            ..Self::bare(variation_id)
        })
    }

    /// An arm of a ramp that does without weights.
    pub fn ramped(variation_id: VariationId) -> Self {
        Self::bare(variation_id)
    }

    /// The arm of those whom no segment matches.
    pub fn fallback(variation_id: VariationId) -> Self {
        Self { is_fallback: true, ..Self::bare(variation_id) }
    }

    /// The same arm as the control.
    pub fn control(self) -> Self {
        Self { is_control: true, ..self }
    }

    fn bare(variation_id: VariationId) -> Self {
        Self {
            variation_id,
            is_control: false,
            weight: None,
            segment_id: None,
            priority: None,
            is_fallback: false,
        }
    }

    fn check_weight(&self) -> Result<(), Error> {
        match self.weight {
            Some(weight) if weight.millionths() > MAX_WEIGHT => {
                let rule = "must be a number from 0 to 100 with at most 6 decimals";
                Err(Error::invalid(rule).with_value(&weight).at("weight"))
            }
            _ => Ok(()),
        }
    }

    /// Checks that no field belongs to the other strategy than it is written for.
    fn check_strategy(&self, strategy: Strategy) -> Result<(), Error> {
        let fields = [
            ("weight", Strategy::Percentage, self.weight.is_some()),
            ("segment_id", Strategy::Segment, self.segment_id.is_some()),
            ("priority", Strategy::Segment, self.priority.is_some()),
            ("is_fallback", Strategy::Segment, self.is_fallback),
        ];
        match fields.into_iter().find(|(_, owner, given)| *given && *owner != strategy) {
            Some((key, owner, _)) => {
                Err(Error::invalid(format!("is only for experiments that assign by {owner}"))
                    .at(key))
            }
            None => Ok(()),
        }
    }
}

fn invalid_priority() -> Error {
    Error::invalid("must be a whole number from 1 to 4294967295").with_value(&0).at("priority")
}

/// Checks the allocations of an experiment as far as no other entity is concerned.
pub(crate) fn check_allocations(list: &[Allocation], strategy: Strategy) -> Result<(), Error> {
    check_count(list.len(), 0, MAX_ALLOCATIONS)?;
    for (index, allocation) in list.iter().enumerate() {
        allocation.check_weight().map_err(|error| error.at_index(index))?;
    }
    check_strategy(list, strategy)
}

/// Checks that the allocations have no fields that belong to the other strategy.
pub(crate) fn check_strategy(list: &[Allocation], strategy: Strategy) -> Result<(), Error> {
    for (index, allocation) in list.iter().enumerate() {
        allocation.check_strategy(strategy).map_err(|error| error.at_index(index))?;
    }
    Ok(())
}

/// The weights by which the arms divide those who enter: those that they have, or if none has one,
/// as in a ramp, the same for each but the control.
pub(crate) fn weights(arms: &[Allocation]) -> impl Iterator<Item = Weight> {
    let weightless = is_weightless(arms);
    arms.iter().map(move |arm| match (weightless, arm.is_control) {
        (false, _) => arm.weight.unwrap_or(Weight::ZERO),
        (true, false) => Weight::ONE,
        (true, true) => Weight::ZERO,
    })
}

/// Whether no arm has a weight.
pub(crate) fn is_weightless(arms: &[Allocation]) -> bool {
    arms.iter().all(|arm| arm.weight.is_none())
}

/// Checks the levels of a ramp.
pub(crate) fn check_levels(levels: &[Percentage], strategy: Strategy) -> Result<(), Error> {
    if strategy != Strategy::Percentage && !levels.is_empty() {
        return Err(Error::invalid(format!(
            "is only for experiments that assign by {}",
            Strategy::Percentage
        )));
    }
    check_count(levels.len(), 0, MAX_LEVELS)?;
    match levels.windows(2).position(|pair| !pair.is_sorted_by(|low, high| low < high)) {
        Some(index) => Err(Error::invalid("must be higher than the level before")
            .with_value(&levels.get(index + 1))
            .at_index(index + 1)),
        None => Ok(()),
    }
}

/// Checks the tags of an experiment.
pub(crate) fn check_tags(tags: &[Tag]) -> Result<(), Error> {
    check_count(tags.len(), 0, MAX_TAGS)?;
    check_distinct(tags, |tag| tag, |tag| Error::invalid("must not be given twice").with_value(tag))
}

impl Serialize for Experiment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("name", &self.name)?;
        if let Some(description) = &self.description {
            map.serialize_entry("description", description)?;
        }
        if !self.tags.is_empty() {
            map.serialize_entry("tags", &self.tags)?;
        }
        map.serialize_entry("flag_id", &self.flag_id)?;
        if let Some(flow) = &self.flow {
            map.serialize_entry("flow", flow)?;
        }
        map.serialize_entry("subject_kind", &self.subject_kind)?;
        map.serialize_entry("strategy", &self.strategy)?;
        map.serialize_entry("allocations", &*self.allocations)?;
        map.serialize_entry("traffic", &self.traffic)?;
        if !self.levels.is_empty() {
            map.serialize_entry("levels", &self.levels)?;
        }
        if let Some(variation) = &self.outside_variation_id {
            map.serialize_entry("outside_variation_id", variation)?;
        }
        map.serialize_entry("hash", &self.hash)?;
        map.serialize_entry("salt", &self.salt)?;
        map.serialize_entry("status", &self.status)?;
        map.serialize_entry("iteration", &self.iteration.within(self))?;
        self.record.serialize_into(&mut map)?;
        map.end()
    }
}

impl Serialize for Allocation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("variation_id", &self.variation_id)?;
        if let Some(weight) = &self.weight {
            map.serialize_entry("weight", weight)?;
        }
        if let Some(segment) = &self.segment_id {
            map.serialize_entry("segment_id", segment)?;
        }
        if let Some(priority) = &self.priority {
            map.serialize_entry("priority", priority)?;
        }
        map.serialize_entry("is_control", &self.is_control)?;
        if self.is_fallback {
            map.serialize_entry("is_fallback", &true)?;
        }
        map.end()
    }
}

impl FromJson for Allocation {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(Self::KEYS)?;
        let priority = match object.optional::<u32>("priority")? {
            Some(priority) => {
                Some(NonZeroU32::new(priority).ok_or_else(|| object.locate(invalid_priority()))?)
            }
            None => None,
        };
        // A share is a percentage, though a weight elsewhere can be more.
        let share: Option<Percentage> = object.optional("weight")?;
        Ok(Self {
            variation_id: object.read("variation_id")?,
            is_control: object.or_default("is_control")?,
            weight: share.map(Weight::from),
            segment_id: object.optional("segment_id")?,
            priority,
            is_fallback: object.or_default("is_fallback")?,
        })
    }
}

impl FromJson for Strategy {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        cursor.one_of(Self::ALL, Self::as_str)
    }
}

impl FromJson for HashVersion {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        cursor.one_of(Self::ALL, Self::as_str)
    }
}

deserialize!(Allocation, Strategy, HashVersion);
