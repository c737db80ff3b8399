//! One run of an experiment, and the design that it froze.

use std::sync::Arc;

use super::allocation::{Target, targets};
use super::past::{Reservation, Winner};
use super::rollout::{Rollout, RolloutSlice};
use super::{Allocation, Experiment, Flag, Salt, Segment};
use crate::error::{Code, Error};
use crate::id::{SegmentId, VariationId};
use crate::json::{Cursor, FromJson, Object};
use crate::number::{Percentage, Weight};
use crate::partition::{Partition, Slice, widths};
use crate::time::Timestamp;

/// The most slices of a partition in a document: far more than any history of edits leaves.
const MAX_SLICES: usize = 4096;

/// One run of an experiment.
///
/// When an experiment is activated out of draft, or its next iteration is started, this freezes what
/// the run rests on: the flag's parameters and overrides, the rules of the segments, the
/// allocations, the salt. Editing any of these afterwards moves nobody. The edit reaches the run
/// when it is resumed with other allocations, another audience, salt or outside variation than it
/// froze, or when the transition asks for it (`refresh`); the event then says so.
#[derive(Debug, Clone, PartialEq)]
pub struct Iteration {
    pub(crate) number: u32,
    pub(crate) created_at: Timestamp,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) winner: Option<Box<Winner>>,
    pub(crate) layer: Option<Box<Reservation>>,
    pub(crate) turn: u32,
    /// Shared, so that editing a running experiment copies little.
    pub(crate) design: Option<Arc<Design>>,
}

impl Iteration {
    /// Which run this is, counting from 1; see [`Change::StartIteration`](crate::Change::StartIteration).
    pub fn number(&self) -> u32 {
        self.number
    }

    /// When it was drafted: when the experiment was created or the [`Draft`](crate::Draft) opened,
    /// and for a run that had no draft when it was started.
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// When it was first activated.
    pub fn started_at(&self) -> Option<Timestamp> {
        self.started_at
    }

    /// How many experiments that were in some [chain](crate::Chain) had started before it at the very
    /// moment when it did; 0 for almost all, and for those that were in no chain. It tells their order
    /// where the moment does not.
    pub fn turn(&self) -> u32 {
        self.turn
    }

    /// When it was completed, or the next one started.
    pub fn ended_at(&self) -> Option<Timestamp> {
        self.ended_at
    }

    /// What came of it, if whoever stopped it said so.
    pub fn winner(&self) -> Option<&Winner> {
        self.winner.as_deref()
    }

    /// The experiment's place in its layer when the run ended; `None` before, and for an experiment
    /// that was in no layer.
    pub fn layer(&self) -> Option<&Reservation> {
        self.layer.as_deref()
    }

    /// The flag as the run froze it.
    pub fn flag(&self) -> Option<&Flag> {
        self.design.as_ref().map(|design| &*design.flag)
    }

    /// The segments as the run froze them, in the order of their ids.
    pub fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.design.iter().flat_map(|design| &design.segments).map(|segment| &**segment)
    }

    /// The allocations as the run froze them.
    pub fn allocations(&self) -> Option<&[Allocation]> {
        self.design.as_ref().map(|design| &*design.allocations)
    }

    /// The segment of those who can be in the experiment, as the run froze it.
    pub fn audience_id(&self) -> Option<&SegmentId> {
        self.design.as_ref().and_then(|design| design.audience_id.as_ref())
    }

    /// Who owns which point, where weights decide: arm i is the i-th of
    /// [`allocations`](Self::allocations). At first the arms lie in the order of their variations'
    /// ids. With strategy `segment` that is so among those whom no
    /// segment matches, if several arms divide them.
    pub fn partition(&self) -> Option<&Partition> {
        self.design.as_ref().and_then(|design| design.partition(None))
    }

    /// Who owns which point among those whom this segment gets, if several arms divide them.
    pub fn partition_of(&self, segment_id: &SegmentId) -> Option<&Partition> {
        self.design.as_ref().and_then(|design| design.partition(Some(segment_id)))
    }

    /// The slices of a run whose hash is [`HashVersion::Sha1V1`](crate::HashVersion::Sha1V1) or
    /// [`HashVersion::Sha1F32V1`](crate::HashVersion::Sha1F32V1); see [`RolloutSlice`].
    pub fn rollout(&self) -> Option<&[RolloutSlice]> {
        self.design.as_ref().and_then(|design| design.rollout()).map(Rollout::slices)
    }

    /// How many of the 2^32 points, and so what share of the subjects that enter, have another
    /// variation in `other`; `None` unless both runs assign by weight, under `xxh64-v1`, and draw by the same salt.
    /// See [`Preview`](crate::Preview) for all else.
    pub fn moved(&self, other: &Self) -> Option<u64> {
        let (ours, theirs) = (self.design.as_ref()?, other.design.as_ref()?);
        let by_weight = |design: &Design| !design.allocations.iter().any(|arm| arm.is_fallback);
        if ours.salt != theirs.salt || !by_weight(ours) || !by_weight(theirs) {
            return None;
        }
        // A variation of theirs that we lack gets a number that no arm of ours has.
        let number = |arm: u8| {
            let id = theirs.allocations.get(usize::from(arm)).map(|arm| &arm.variation_id);
            let mut arms = ours.allocations.iter().map(|arm| Some(&arm.variation_id));
            match arms.position(|own| own == id).map(u8::try_from) {
                Some(Ok(own)) => own,
                _ => u8::MAX - arm,
            }
        };
        Some(ours.partition(None)?.moved(&theirs.partition(None)?.renumber(number)))
    }

    /// One that has not started.
    pub(crate) fn new(number: u32, created_at: Timestamp) -> Self {
        Self {
            number,
            created_at,
            started_at: None,
            ended_at: None,
            winner: None,
            layer: None,
            turn: 0,
            design: None,
        }
    }

    /// Ends the run, with the experiment's place in its layer.
    pub(crate) fn end(&mut self, now: Timestamp, layer: Option<Reservation>) {
        self.ended_at = Some(now);
        self.layer = layer.map(Box::new);
    }

    /// Reads a run and what it refers to; it was drafted with the experiment unless it says
    /// otherwise.
    pub(crate) fn from_json(
        cursor: Cursor<'_>,
        created_at: Timestamp,
    ) -> Result<(Self, Option<DesignRef>), Error> {
        let object = cursor.object(&[
            "number",
            "started_at",
            "ended_at",
            "flag_version",
            "segment_versions",
            "allocations",
            "audience_id",
            "outside_variation_id",
            "salt",
            "partition",
            "splits",
            "created_at",
            "winner",
            "layer",
            "rollout",
            "traffic",
            "turn",
        ])?;
        let number = object.optional("number")?.unwrap_or(1);
        if number == 0 {
            return Err(object.locate(Error::invalid("must be 1 or more").at("number")));
        }
        let iteration = Self {
            started_at: object.optional("started_at")?,
            ended_at: object.optional("ended_at")?,
            winner: object.optional("winner")?.map(Box::new),
            layer: object.optional("layer")?.map(Box::new),
            turn: object.or_default("turn")?,
            ..Self::new(number, object.optional("created_at")?.unwrap_or(created_at))
        };
        let design = match object.optional("flag_version")? {
            None => {
                let rest = [
                    "segment_versions",
                    "allocations",
                    "audience_id",
                    "outside_variation_id",
                    "salt",
                    "partition",
                    "splits",
                    "winner",
                    "rollout",
                    "traffic",
                ];
                if let Some(key) = rest.into_iter().find(|key| object.get(key).is_some()) {
                    let rule = "must not stand without flag_version";
                    return Err(object.locate(Error::invalid(rule).at(key)));
                }
                None
            }
            Some(flag_version) => Some(DesignRef {
                flag_version,
                segment_versions: match object.get("segment_versions") {
                    Some(cursor) => cursor.map(|id, version| {
                        let id = id.parse().map_err(|error| cursor.locate(error))?;
                        Ok((id, version.u64()?))
                    })?,
                    None => Vec::new(),
                },
                allocations: object.optional("allocations")?,
                audience_id: nullable(&object, "audience_id")?,
                outside_variation_id: nullable(&object, "outside_variation_id")?,
                salt: object.optional("salt")?,
                partition: object.optional("partition")?,
                splits: object.or_default("splits")?,
                rollout: object.optional("rollout")?,
                traffic: object.optional("traffic")?,
            }),
        };
        Ok((iteration, design))
    }
}

/// What a run rests on, as it was when the run was activated.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Design {
    pub(crate) flag: Arc<Flag>,
    /// The audience and every segment that an allocation names, once, in the order of ids.
    pub(crate) segments: Box<[Arc<Segment>]>,
    pub(crate) allocations: Arc<[Allocation]>,
    pub(crate) audience_id: Option<SegmentId>,
    pub(crate) outside_variation_id: Option<VariationId>,
    pub(crate) salt: Salt,
    /// One for each target whose arms are divided by weight.
    pub(crate) splits: Splits,
    /// In place of the splits, under a hash that has one.
    pub(crate) rollout: Option<Box<Rollout>>,
}

/// Reads a member that can be null, as it is written where it differs from the experiment's own.
pub(crate) fn nullable<T: FromJson>(
    object: &Object<'_>,
    key: &'static str,
) -> Result<Option<Option<T>>, Error> {
    match object.get(key) {
        Some(cursor) if cursor.is_null() => Ok(Some(None)),
        Some(cursor) => cursor.read().map(|value| Some(Some(value))),
        None => Ok(None),
    }
}

impl Design {
    /// Freezes the present design of an experiment that is ready.
    ///
    /// A run that is resumed keeps as many subjects where they are as the new weights allow, unless
    /// its salt has changed.
    pub(crate) fn freeze(
        experiment: &Experiment,
        flag: Arc<Flag>,
        segments: Box<[Arc<Segment>]>,
    ) -> Result<Self, Error> {
        let before = experiment.iteration.design.as_deref();
        let allocations = Arc::clone(&experiment.allocations);
        let before = before.filter(|before| before.salt == experiment.salt);
        let rollout = experiment.next_rollout(before.and_then(Self::rollout))?;
        let splits = match rollout {
            Some(_) => Splits::default(),
            None => split(&allocations, before)?,
        };
        Ok(Self {
            flag,
            segments,
            allocations,
            audience_id: experiment.audience_id.clone(),
            outside_variation_id: experiment.outside_variation_id.clone(),
            salt: experiment.salt.clone(),
            splits,
            rollout: rollout.map(Box::new),
        })
    }

    /// Whether the experiment's own design has moved on from this one.
    pub(crate) fn differs_from(&self, experiment: &Experiment) -> bool {
        self.difference(experiment).is_some()
    }

    /// The first field in which the experiment's own design has moved on from this one.
    pub(crate) fn difference(&self, experiment: &Experiment) -> Option<&'static str> {
        // Nor the order in which arms are listed nor their names are anything that they differ by.
        let sorted = |arms: &[Allocation]| {
            let unnamed = arms.iter().map(|arm| Allocation { name: None, ..arm.clone() });
            let mut arms: Vec<Allocation> = unnamed.collect();
            arms.sort_unstable();
            arms
        };
        if sorted(&self.allocations) != sorted(&experiment.allocations) {
            return Some("allocations");
        }
        let fields = [
            ("audience_id", self.audience_id != experiment.audience_id),
            ("outside_variation_id", self.outside_variation_id != experiment.outside_variation_id),
            ("salt", self.salt != experiment.salt),
        ];
        fields.into_iter().find(|(_, differs)| *differs).map(|(field, _)| field)
    }

    /// What stands in place of the splits.
    pub(crate) fn rollout(&self) -> Option<&Rollout> {
        self.rollout.as_deref()
    }

    /// A segment as it was frozen.
    pub(crate) fn segment(&self, id: &SegmentId) -> Option<&Arc<Segment>> {
        self.segments.iter().find(|segment| segment.id() == id)
    }

    /// The cut among the arms of the target of this segment, or of the one without.
    pub(crate) fn partition(&self, segment_id: Option<&SegmentId>) -> Option<&Partition> {
        match (&self.splits, segment_id) {
            (Splits::One(partition), None) => Some(partition),
            (Splits::One(_), Some(_)) => None,
            (Splits::Many(splits), _) => {
                let mut splits = splits.iter();
                let split = splits.find(|split| split.segment_id.as_ref() == segment_id);
                split.map(|split| &split.partition)
            }
        }
    }

    /// The partition among the arms of a target that moves as few subjects as can be.
    fn rebalance(&self, target: &Target<'_>) -> Result<Partition, Error> {
        let Some(partition) = self.partition(target.segment_id) else {
            return lay_out(target);
        };
        let order = in_order(target);
        let weights: Vec<Weight> = order.iter().map(|(_, _, weight)| *weight).collect();
        let ids = order.iter().map(|(id, _, _)| *id);
        let heirs: Vec<(&VariationId, u64)> = ids.zip(widths(&weights)?).collect();
        let owners: Vec<&VariationId> =
            self.allocations.iter().map(|arm| &arm.variation_id).collect();
        Ok(numbered(&partition.pass_on(&owners, &heirs), &order))
    }
}

/// The cuts among the arms of an experiment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Splits {
    /// That of the target without a segment alone, as most have it.
    One(Partition),
    Many(Box<[Split]>),
}

impl Default for Splits {
    fn default() -> Self {
        Self::Many(Box::default())
    }
}

impl FromIterator<Split> for Splits {
    fn from_iter<I: IntoIterator<Item = Split>>(splits: I) -> Self {
        let mut splits: Vec<Split> = splits.into_iter().collect();
        match splits.pop_if(|split| split.segment_id.is_none()) {
            Some(only) if splits.is_empty() => Self::One(only.partition),
            last => {
                splits.extend(last);
                Self::Many(splits.into())
            }
        }
    }
}

/// The cut among the arms of one target.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Split {
    pub(crate) segment_id: Option<SegmentId>,
    /// Arms are numbered as in the allocations.
    pub(crate) partition: Partition,
}

/// The cuts among the arms of an experiment, which move as few subjects of a run as can be.
fn split(allocations: &[Allocation], before: Option<&Design>) -> Result<Splits, Error> {
    let splits = targets(allocations).into_iter().filter(Target::is_split).map(|target| {
        Ok(Split {
            segment_id: target.segment_id.cloned(),
            partition: match before {
                Some(before) => before.rebalance(&target)?,
                None => lay_out(&target)?,
            },
        })
    });
    splits.collect()
}

/// The partition of a target that nobody has entered yet: the arms one after the other, in the
/// order of their variations' ids.
pub(crate) fn lay_out(target: &Target<'_>) -> Result<Partition, Error> {
    let order = in_order(target);
    let weights: Vec<Weight> = order.iter().map(|(_, _, weight)| *weight).collect();
    Ok(numbered(&Partition::new(&weights)?, &order))
}

/// The arms of a target in the order of their variations' ids, with their numbers and weights.
fn in_order<'t>(target: &'t Target<'_>) -> Vec<(&'t VariationId, u8, Weight)> {
    let arms = target.arms.iter().zip(target.weights());
    let mut order: Vec<_> =
        arms.map(|((number, arm), weight)| (&arm.variation_id, *number, weight)).collect();
    order.sort_unstable();
    order
}

/// A partition of arms that are numbered by their place in this order, with their own numbers.
fn numbered(partition: &Partition, order: &[(&VariationId, u8, Weight)]) -> Partition {
    partition.renumber(|place| order.get(usize::from(place)).map_or(place, |(_, arm, _)| *arm))
}

/// A design as a document has it: what it froze is named by version, what equals the experiment's
/// own is left out.
#[derive(Debug)]
pub(crate) struct DesignRef {
    pub(crate) flag_version: u64,
    pub(crate) segment_versions: Vec<(SegmentId, u64)>,
    pub(crate) allocations: Option<Vec<Allocation>>,
    pub(crate) audience_id: Option<Option<SegmentId>>,
    pub(crate) outside_variation_id: Option<Option<VariationId>>,
    pub(crate) salt: Option<Salt>,
    pub(crate) partition: Option<Vec<Owned>>,
    pub(crate) splits: Vec<SplitRef>,
    pub(crate) rollout: Option<Vec<RolloutSlice>>,
    pub(crate) traffic: Option<Percentage>,
}

/// What the runs of an experiment refer to.
#[derive(Debug)]
pub(crate) struct DesignRefs {
    pub(crate) present: Option<DesignRef>,
    /// In the order of the previous iterations.
    pub(crate) previous: Vec<Option<DesignRef>>,
}

/// A slice as a document has it.
#[derive(Debug)]
pub(crate) struct Owned {
    start: u32,
    variation_id: VariationId,
}

/// The cut among the arms of one target as a document has it.
#[derive(Debug)]
pub(crate) struct SplitRef {
    pub(crate) segment_id: Option<SegmentId>,
    pub(crate) partition: Vec<Owned>,
}

/// Reads a partition: its owners are among the arms of the target, which get the shares that they
/// are due.
pub(crate) fn read_partition(owned: &[Owned], target: &Target<'_>) -> Result<Partition, Error> {
    if owned.len() > MAX_SLICES {
        let rule = format!("must have at most {MAX_SLICES} slices");
        return Err(Error::new(Code::LimitExceeded, rule).with_value(&owned.len()));
    }
    let arms = &target.arms;
    let arm = |id: &VariationId| {
        let place = arms.iter().position(|(_, arm)| arm.variation_id == *id);
        place.and_then(|place| u8::try_from(place).ok()).unwrap_or(u8::MAX)
    };
    let slices =
        owned.iter().map(|owned| Slice { start: owned.start, arm: arm(&owned.variation_id) });
    let partition = Partition::from_slices(slices.collect(), arms.len())?;
    let number = |place: u8| arms.get(usize::from(place)).map_or(u8::MAX, |(number, _)| *number);
    let partition = partition.renumber(number);
    let due = lay_out(target)?;
    for (number, arm) in arms {
        let [points, due] = [&partition, &due].map(|cut| cut.points(usize::from(*number)));
        if points != due {
            let id = &arm.variation_id;
            let rule = format!("must give {id} {due} points, which is its weight");
            return Err(Error::invalid(rule).with_value(&points));
        }
    }
    Ok(partition)
}

impl FromJson for SplitRef {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(&["segment_id", "partition"])?;
        Ok(Self {
            segment_id: object.optional("segment_id")?,
            partition: object.read("partition")?,
        })
    }
}

impl FromJson for Owned {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(&["start", "variation_id"])?;
        Ok(Self { start: object.read("start")?, variation_id: object.read("variation_id")? })
    }
}
