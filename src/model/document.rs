//! A run as a document has it.

use std::sync::Arc;

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::allocation::targets;
use super::iteration::{Design, lay_out};
use super::rollout::{Rollout, RolloutSlice, due};
use super::{Allocation, Experiment, Iteration, Segment, Strategy};
use crate::id::{SegmentId, VariationId};
use crate::number::Percentage;
use crate::partition::Partition;

impl Iteration {
    /// A run of this experiment, with this traffic, as JSON: what the design shares with the
    /// experiment is left out.
    pub(crate) fn within<'a>(
        &'a self,
        experiment: &'a Experiment,
        traffic: Percentage,
    ) -> impl Serialize {
        Within { iteration: self, experiment, traffic }
    }
}

struct Within<'a> {
    iteration: &'a Iteration,
    experiment: &'a Experiment,
    traffic: Percentage,
}

impl Serialize for Within<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { iteration, experiment, traffic } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("number", &iteration.number)?;
        if let Some(started_at) = &iteration.started_at {
            map.serialize_entry("started_at", started_at)?;
        }
        if iteration.turn > 0 {
            map.serialize_entry("turn", &iteration.turn)?;
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
            if let Some(rollout) = design.moved_rollout() {
                map.serialize_entry("rollout", rollout)?;
            }
            let cut_for = design.rollout().map(|rollout| rollout.traffic);
            if let Some(own) = cut_for.filter(|own| own != traffic) {
                map.serialize_entry("traffic", &own)?;
            }
        }
        if iteration.created_at != experiment.created_at() {
            map.serialize_entry("created_at", &iteration.created_at)?;
        }
        if let Some(winner) = &iteration.winner {
            map.serialize_entry("winner", winner)?;
        }
        if let Some(layer) = &iteration.layer {
            map.serialize_entry("layer", layer)?;
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
    /// The slices, unless they lie as at first.
    fn moved_rollout(&self) -> Option<&[RolloutSlice]> {
        let rollout = self.rollout.as_ref()?;
        let outside = self.outside_variation_id.as_ref();
        let due = due(&self.allocations, rollout.traffic).ok();
        let first = due.map(|due| Rollout::lay_out(&due, outside, rollout.traffic));
        (first.as_ref() != Some(rollout)).then(|| rollout.slices())
    }

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
