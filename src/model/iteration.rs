//! One run of an experiment, and the design that it froze.

use std::sync::Arc;

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::allocation::{Target, targets};
use super::{Allocation, Experiment, Flag, Salt, Segment, Strategy};
use crate::error::{Code, Error};
use crate::id::{SegmentId, VariationId};
use crate::json::{Cursor, FromJson, Object};
use crate::number::Weight;
use crate::partition::{Partition, Slice, widths};
use crate::time::Timestamp;

/// The most slices of a partition in a document: far more than any history of edits leaves.
const MAX_SLICES: usize = 4096;

/// One run of an experiment.
///
/// When an experiment is activated out of draft, its iteration freezes what the run rests on: the
/// flag's parameters and overrides, the rules of the segments, the allocations, the salt. Editing
/// any of these afterwards moves nobody. The edit reaches the run when it is resumed with other
/// allocations, another audience, salt or outside variation than it froze, or when the transition
/// asks for it (`refresh`); the event then says so.
#[derive(Debug, Clone, PartialEq)]
pub struct Iteration {
    pub(crate) number: u32,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) ended_at: Option<Timestamp>,
    /// Shared, so that editing a running experiment copies little.
    pub(crate) design: Option<Arc<Design>>,
}

impl Iteration {
    /// Which run this is, counting from 1; an experiment has one run so far.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// When it was first activated.
    pub fn started_at(&self) -> Option<Timestamp> {
        self.started_at
    }

    /// When it was completed.
    pub fn ended_at(&self) -> Option<Timestamp> {
        self.ended_at
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

    /// How many of the 2^32 points, and so what share of the subjects that enter, have another
    /// variation in `other`; `None` unless both runs assign by weight and draw by the same salt.
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

    pub(crate) fn first() -> Self {
        Self { number: 1, started_at: None, ended_at: None, design: None }
    }

    /// The iteration of this experiment, as JSON: what the design shares with the experiment is
    /// left out.
    pub(crate) fn within<'a>(&'a self, experiment: &'a Experiment) -> impl Serialize {
        Within { iteration: self, experiment }
    }

    pub(crate) fn from_json(cursor: Cursor<'_>) -> Result<(Self, Option<DesignRef>), Error> {
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
        ])?;
        let number = object.optional("number")?.unwrap_or(1);
        if number == 0 {
            return Err(object.locate(Error::invalid("must be 1 or more").at("number")));
        }
        let iteration = Self {
            number,
            started_at: object.optional("started_at")?,
            ended_at: object.optional("ended_at")?,
            design: None,
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
    pub(crate) splits: Box<[Split]>,
}

/// Reads a member that can be null, as it is written where it differs from the experiment's own.
fn nullable<T: FromJson>(
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
        let splits = split(&allocations, before.filter(|before| before.salt == experiment.salt))?;
        Ok(Self {
            flag,
            segments,
            allocations,
            audience_id: experiment.audience_id.clone(),
            outside_variation_id: experiment.outside_variation_id.clone(),
            salt: experiment.salt.clone(),
            splits,
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

    /// A segment as it was frozen.
    pub(crate) fn segment(&self, id: &SegmentId) -> Option<&Arc<Segment>> {
        self.segments.iter().find(|segment| segment.id() == id)
    }

    /// The cut among the arms of the target of this segment, or of the one without.
    pub(crate) fn partition(&self, segment_id: Option<&SegmentId>) -> Option<&Partition> {
        let split = self.splits.iter().find(|split| split.segment_id.as_ref() == segment_id);
        split.map(|split| &split.partition)
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

/// The cut among the arms of one target.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Split {
    pub(crate) segment_id: Option<SegmentId>,
    /// Arms are numbered as in the allocations.
    pub(crate) partition: Partition,
}

/// The cuts among the arms of an experiment, which move as few subjects of a run as can be.
fn split(allocations: &[Allocation], before: Option<&Design>) -> Result<Box<[Split]>, Error> {
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

struct Within<'a> {
    iteration: &'a Iteration,
    experiment: &'a Experiment,
}

impl Serialize for Within<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { iteration, experiment } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("number", &iteration.number)?;
        if let Some(started_at) = &iteration.started_at {
            map.serialize_entry("started_at", started_at)?;
        }
        if let Some(ended_at) = &iteration.ended_at {
            map.serialize_entry("ended_at", ended_at)?;
        }
        if let Some(design) = &iteration.design {
            map.serialize_entry("flag_version", &design.flag.version())?;
            if !design.segments.is_empty() {
                map.serialize_entry("segment_versions", &Versions(&design.segments))?;
            }
            if design.allocations != experiment.allocations {
                map.serialize_entry("allocations", &*design.allocations)?;
            }
            if design.audience_id != experiment.audience_id {
                map.serialize_entry("audience_id", &design.audience_id)?;
            }
            if design.outside_variation_id != experiment.outside_variation_id {
                map.serialize_entry("outside_variation_id", &design.outside_variation_id)?;
            }
            if design.salt != experiment.salt {
                map.serialize_entry("salt", &design.salt)?;
            }
            let moved = design.moved_splits();
            match (experiment.strategy, moved.as_slice()) {
                (_, []) => {}
                (Strategy::Percentage, [split, ..]) => {
                    map.serialize_entry("partition", &split.partition)?;
                }
                (Strategy::Segment, splits) => map.serialize_entry("splits", splits)?,
            }
        }
        map.end()
    }
}

struct Versions<'a>(&'a [Arc<Segment>]);

impl Serialize for Versions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|segment| (segment.id(), segment.version())))
    }
}

/// A cut that does not lie as at first.
#[derive(Serialize)]
struct MovedSplit<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    segment_id: Option<&'a SegmentId>,
    partition: Slices<'a>,
}

impl Design {
    fn moved_splits(&self) -> Vec<MovedSplit<'_>> {
        let targets = targets(&self.allocations);
        let moved = targets.iter().filter_map(|target| {
            let partition = self.partition(target.segment_id)?;
            let moved = lay_out(target).as_ref() != Ok(partition);
            moved.then_some(MovedSplit {
                segment_id: target.segment_id,
                partition: Slices(partition, &self.allocations),
            })
        });
        moved.collect()
    }
}

struct Slices<'a>(&'a Partition, &'a [Allocation]);

impl Serialize for Slices<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Row<'a> {
            start: u64,
            variation_id: Option<&'a VariationId>,
        }
        let mut rows = serializer.serialize_seq(None)?;
        for (start, _, arm) in self.0.slices() {
            let variation_id = self.1.get(arm).map(|arm| &arm.variation_id);
            rows.serialize_element(&Row { start, variation_id })?;
        }
        rows.end()
    }
}
