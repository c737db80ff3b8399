//! One run of an experiment, and the design that it froze.

use std::sync::Arc;

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::allocation::weights;
use super::{Allocation, Experiment, Flag, Salt, Segment, Strategy};
use crate::error::{Code, Error};
use crate::id::{SegmentId, VariationId};
use crate::json::{Cursor, FromJson};
use crate::number::Weight;
use crate::partition::{Partition, Slice};
use crate::time::Timestamp;

/// The most slices of a partition in a document: far more than any history of edits leaves.
const MAX_SLICES: usize = 4096;

/// One run of an experiment.
///
/// When an experiment is activated out of draft, its iteration freezes what the run rests on: the
/// flag's parameters and overrides, the rules of the segments, the allocations, the salt. Editing
/// any of these afterwards moves nobody. The edit reaches the run when it is resumed with other
/// allocations, another salt or another outside variation than it froze, or when the transition
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

    /// Who owns which point, if the strategy is `percentage`: arm i is the i-th of
    /// [`allocations`](Self::allocations).
    pub fn partition(&self) -> Option<&Partition> {
        self.design.as_ref().and_then(|design| design.partition.as_ref())
    }

    /// How many of the 2^32 points, and so what share of the subjects that enter, have another
    /// variation in `other`; `None` unless both runs assign by weight and draw by the same salt.
    pub fn moved(&self, other: &Self) -> Option<u64> {
        let (ours, theirs) = (self.design.as_ref()?, other.design.as_ref()?);
        if ours.salt != theirs.salt {
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
        Some(ours.partition.as_ref()?.moved(&theirs.partition.as_ref()?.renumber(number)))
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
            "outside_variation_id",
            "salt",
            "partition",
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
                    "outside_variation_id",
                    "salt",
                    "partition",
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
                outside_variation_id: match object.get("outside_variation_id") {
                    Some(cursor) if cursor.is_null() => Some(None),
                    Some(cursor) => Some(Some(cursor.read()?)),
                    None => None,
                },
                salt: object.optional("salt")?,
                partition: object.optional("partition")?,
            }),
        };
        Ok((iteration, design))
    }
}

/// What a run rests on, as it was when the run was activated.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Design {
    pub(crate) flag: Arc<Flag>,
    /// Every segment that an allocation names, once, in the order of ids.
    pub(crate) segments: Box<[Arc<Segment>]>,
    pub(crate) allocations: Arc<[Allocation]>,
    pub(crate) outside_variation_id: Option<VariationId>,
    pub(crate) salt: Salt,
    /// For strategy `percentage`.
    pub(crate) partition: Option<Partition>,
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
        let partition = match experiment.strategy {
            Strategy::Segment => None,
            Strategy::Percentage => Some(match before {
                Some(before) if before.salt == experiment.salt => before.rebalance(&allocations)?,
                _ => lay_out(&allocations)?,
            }),
        };
        Ok(Self {
            flag,
            segments,
            allocations,
            outside_variation_id: experiment.outside_variation_id.clone(),
            salt: experiment.salt.clone(),
            partition,
        })
    }

    /// Whether the experiment's own design has moved on from this one.
    pub(crate) fn differs_from(&self, experiment: &Experiment) -> bool {
        // The order in which arms are listed is nothing that they differ by.
        let sorted = |arms: &[Allocation]| {
            let mut arms = arms.to_vec();
            arms.sort_unstable();
            arms
        };
        sorted(&self.allocations) != sorted(&experiment.allocations)
            || self.outside_variation_id != experiment.outside_variation_id
            || self.salt != experiment.salt
    }

    /// The partition for other allocations that moves as few subjects as can be.
    ///
    /// Arms are told by their variation, and counted in the order of the variations' ids, so that
    /// the order in which allocations are listed does not matter.
    pub(crate) fn rebalance(&self, allocations: &[Allocation]) -> Result<Partition, Error> {
        let Some(partition) = &self.partition else {
            return lay_out(allocations);
        };
        let mut all: Vec<&VariationId> =
            self.allocations.iter().chain(allocations).map(|arm| &arm.variation_id).collect();
        all.sort_unstable();
        all.dedup();
        let mut due = vec![Weight::ZERO; all.len()];
        for (arm, weight) in allocations.iter().zip(weights(allocations)) {
            let slot = due.iter_mut().zip(&all).find(|(_, id)| ***id == arm.variation_id);
            if let Some((slot, _)) = slot {
                *slot = weight;
            }
        }
        let ordered = partition.renumber(|arm| {
            let arm = self.allocations.get(usize::from(arm));
            position(all.iter(), |id| arm.is_some_and(|arm| arm.variation_id == **id))
        });
        let rebalanced = ordered.rebalance(&due)?;
        Ok(rebalanced.renumber(|number| {
            let id = all.get(usize::from(number));
            position(allocations.iter(), |arm| id.is_some_and(|id| arm.variation_id == **id))
        }))
    }
}

/// The partition of an experiment that nobody has entered yet: the arms one after the other, in the
/// order of their variations' ids.
pub(crate) fn lay_out(allocations: &[Allocation]) -> Result<Partition, Error> {
    let mut order: Vec<(&VariationId, u8, Weight)> = Vec::with_capacity(allocations.len());
    for ((arm, number), weight) in allocations.iter().zip(0..).zip(weights(allocations)) {
        order.push((&arm.variation_id, number, weight));
    }
    order.sort_unstable();
    let weights: Vec<Weight> = order.iter().map(|(_, _, weight)| *weight).collect();
    let partition = Partition::new(&weights)?;
    Ok(partition.renumber(|place| order.get(usize::from(place)).map_or(place, |(_, arm, _)| *arm)))
}

/// The index of what is known to be there.
fn position<T>(mut items: impl Iterator<Item = T>, wanted: impl FnMut(T) -> bool) -> u8 {
    items.position(wanted).and_then(|index| u8::try_from(index).ok()).unwrap_or(u8::MAX)
}

/// A design as a document has it: what it froze is named by version, what equals the experiment's
/// own is left out.
#[derive(Debug)]
pub(crate) struct DesignRef {
    pub(crate) flag_version: u64,
    pub(crate) segment_versions: Vec<(SegmentId, u64)>,
    pub(crate) allocations: Option<Vec<Allocation>>,
    pub(crate) outside_variation_id: Option<Option<VariationId>>,
    pub(crate) salt: Option<Salt>,
    pub(crate) partition: Option<Vec<Owned>>,
}

/// A slice as a document has it.
#[derive(Debug)]
pub(crate) struct Owned {
    start: u32,
    variation_id: VariationId,
}

/// Reads a partition: its owners are among the allocations, which get the shares that they are due.
pub(crate) fn read_partition(
    owned: &[Owned],
    allocations: &[Allocation],
) -> Result<Partition, Error> {
    if owned.len() > MAX_SLICES {
        let rule = format!("must have at most {MAX_SLICES} slices");
        return Err(Error::new(Code::LimitExceeded, rule).with_value(&owned.len()));
    }
    let slices = owned.iter().map(|owned| Slice {
        start: owned.start,
        arm: position(allocations.iter(), |arm| arm.variation_id == owned.variation_id),
    });
    let partition = Partition::from_slices(slices.collect(), allocations.len())?;
    let due = lay_out(allocations)?;
    match (0..allocations.len()).find(|arm| partition.points(*arm) != due.points(*arm)) {
        None => Ok(partition),
        Some(arm) => {
            let id = allocations.get(arm).map_or("", |arm| arm.variation_id.as_str());
            let rule = format!("must give {id} {} points, which is its weight", due.points(arm));
            Err(Error::invalid(rule).with_value(&partition.points(arm)))
        }
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
            if design.outside_variation_id != experiment.outside_variation_id {
                map.serialize_entry("outside_variation_id", &design.outside_variation_id)?;
            }
            if design.salt != experiment.salt {
                map.serialize_entry("salt", &design.salt)?;
            }
            if let Some(partition) = &design.partition
                && lay_out(&design.allocations).as_ref() != Ok(partition)
            {
                map.serialize_entry("partition", &Slices(partition, &design.allocations))?;
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
