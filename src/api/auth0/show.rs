//! The entities as Auth0 shows them.

use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::Generation;
use crate::change::Field;
use crate::id::{ExperimentId, FlagId, SegmentId, VariationId};
use crate::map::Map;
use crate::model::{
    Allocation, Description, Experiment, Flag, FlagStatus, Flow, Iteration, Name, Parameter, Rule,
    Segment, SegmentStatus, Status, Strategy, Variation, Weights, percentages,
};
use crate::number::{Percentage, Weight};
use crate::snapshot::Snapshot;
use crate::time::Timestamp;

/// The fields of an experiment that a PATCH names, and what each is here.
const EDITABLE: [(&str, Field); 5] = [
    ("name", Field::Name),
    ("description", Field::Description),
    ("authentication_flow", Field::Flow),
    ("allocations", Field::Allocations),
    ("levels", Field::Levels),
];

#[derive(Serialize)]
pub(super) struct ShownExperiment<'s> {
    id: &'s ExperimentId,
    name: &'s Name,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'s Description>,
    feature_flag_id: &'s FlagId,
    #[serde(skip_serializing_if = "Option::is_none")]
    feature_flag_name: Option<&'s Name>,
    authentication_flow: &'s str,
    allocation_strategy: Strategy,
    #[serde(skip_serializing_if = "Option::is_none")]
    assignment_config: Option<AssignmentConfig<'s>>,
    status: Status,
    is_valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    feature_flag_snapshot: Option<FlagSnapshot<'s>>,
    allocations: Vec<ShownAllocation<'s>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    levels: Option<&'s [Percentage]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_level: Option<Percentage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    editable_fields: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Serialize)]
struct AssignmentConfig<'s> {
    subject: &'s str,
}

#[derive(Serialize)]
struct ShownAllocation<'s> {
    variation_id: &'s VariationId,
    #[serde(skip_serializing_if = "Option::is_none")]
    variation_name: Option<&'s Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    segment_id: Option<&'s SegmentId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    segment_name: Option<&'s Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<Weight>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u32>,
    is_control: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_fallback: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    variation_snapshot: Option<VariationSnapshot<'s>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    segment_snapshot: Option<SegmentSnapshot<'s>>,
}

#[derive(Serialize)]
struct FlagSnapshot<'s> {
    name: &'s Name,
    parameters: &'s Map<Arc<str>, Parameter>,
}

#[derive(Serialize)]
struct VariationSnapshot<'s> {
    name: &'s Name,
    overrides: Overrides<'s>,
}

#[derive(Serialize)]
struct SegmentSnapshot<'s> {
    name: &'s Name,
    rules: &'s [Rule],
}

#[derive(Serialize)]
pub(super) struct ShownFlag<'s> {
    id: &'s FlagId,
    name: &'s Name,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'s Description>,
    #[serde(rename = "type")]
    kind: &'static str,
    status: FlagStatus,
    parameters: &'s Map<Arc<str>, Parameter>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Serialize)]
pub(super) struct ShownVariation<'s> {
    id: &'s VariationId,
    feature_flag_id: &'s FlagId,
    name: &'s Name,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'s Description>,
    overrides: Overrides<'s>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Serialize)]
pub(super) struct ShownSegment<'s> {
    id: &'s SegmentId,
    name: &'s Name,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'s Description>,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<SegmentStatus>,
    rules: &'s [Rule],
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// The overrides of a variation: each in an envelope, or bare as in the early access.
struct Overrides<'s> {
    overrides: &'s Map<Arc<str>, Arc<Value>>,
    enveloped: bool,
}

/// A value in its envelope.
#[derive(Serialize)]
pub(super) struct Envelope<'s> {
    pub(super) value: &'s Value,
}

impl<'s> ShownFlag<'s> {
    pub(super) fn new(flag: &'s Flag) -> Self {
        Self {
            id: flag.id(),
            name: flag.name(),
            description: flag.description(),
            kind: SELF,
            status: flag.status(),
            parameters: flag.parameters(),
            created_at: flag.created_at(),
            updated_at: flag.updated_at(),
        }
    }
}

/// Everything is of the customer's own making: there are no entities of Auth0's here.
const SELF: &str = "self";

impl Generation {
    fn is_early_access(self) -> bool {
        self == Self::EarlyAccess
    }

    pub(super) fn experiment<'s>(
        self,
        snapshot: &'s Snapshot,
        experiment: &'s Experiment,
    ) -> ShownExperiment<'s> {
        let early = self.is_early_access();
        let frozen = experiment.iteration().flag().filter(|_| early);
        let flag = snapshot.flag(experiment.flag_id()).filter(|_| early);
        ShownExperiment {
            id: experiment.id(),
            name: experiment.name(),
            description: experiment.description(),
            feature_flag_id: experiment.flag_id(),
            feature_flag_name: flag.or(frozen).map(Flag::name),
            authentication_flow: experiment.flow().map_or("", Flow::as_str),
            allocation_strategy: experiment.strategy(),
            assignment_config: (!early)
                .then(|| AssignmentConfig { subject: experiment.subject_kind().as_str() }),
            status: experiment.status(),
            is_valid: snapshot.readiness(experiment.id()).is_some_and(|now| now.is_ready()),
            feature_flag_snapshot: frozen
                .map(|flag| FlagSnapshot { name: flag.name(), parameters: flag.parameters() }),
            allocations: experiment
                .allocations()
                .iter()
                .zip(self.percent(experiment))
                .map(|(arm, weight)| self.allocation(snapshot, experiment, arm, weight))
                .collect(),
            levels: Some(experiment.levels()).filter(|levels| early && !levels.is_empty()),
            current_level: experiment.current_level().filter(|_| early),
            editable_fields: early.then(|| editable_fields(experiment)),
            started_at: experiment.iteration().started_at(),
            ended_at: experiment.iteration().ended_at(),
            created_at: experiment.created_at(),
            updated_at: experiment.updated_at(),
        }
    }

    fn allocation<'s>(
        self,
        snapshot: &'s Snapshot,
        experiment: &'s Experiment,
        arm: &'s Allocation,
        weight: Option<Weight>,
    ) -> ShownAllocation<'s> {
        let early = self.is_early_access();
        let run = Some(experiment.iteration()).filter(|_| early);
        let assigned = |run: &&Iteration| {
            let mut arms = run.allocations().unwrap_or_default().iter();
            arms.any(|frozen| frozen.variation_id == arm.variation_id)
        };
        let frozen_flag = run.filter(assigned).and_then(Iteration::flag);
        let frozen = frozen_flag.and_then(|flag| flag.variations().get(&arm.variation_id));
        let variation = snapshot.variation(&arm.variation_id).filter(|_| early);
        let segment_id = arm.segment_id.as_ref();
        let is_segment = |segment: &&Segment| Some(segment.id()) == segment_id;
        let frozen_segment = run.and_then(|run| run.segments().find(is_segment));
        let segment = segment_id.filter(|_| early).and_then(|id| snapshot.segment(id));
        ShownAllocation {
            variation_id: &arm.variation_id,
            variation_name: variation.or(frozen).map(Variation::name),
            segment_id,
            segment_name: segment.or(frozen_segment).map(Segment::name),
            weight,
            priority: arm.priority.map(|priority| priority.get()),
            is_control: arm.is_control,
            is_fallback: (experiment.strategy() == Strategy::Segment).then_some(arm.is_fallback),
            variation_snapshot: frozen.map(|variation| VariationSnapshot {
                name: variation.name(),
                overrides: self.overrides(variation),
            }),
            segment_snapshot: frozen_segment
                .map(|segment| SegmentSnapshot { name: segment.name(), rules: segment.rules() }),
        }
    }

    /// The weights of an experiment's allocations in percent. Where they are relative, these are
    /// their shares with as many decimals as a weight has here, cut so that they sum to exactly 100.
    pub(super) fn percent(self, experiment: &Experiment) -> Vec<Option<Weight>> {
        let own = experiment.allocations().iter().map(|arm| arm.weight);
        if experiment.weights() == Weights::Percent {
            return own.collect();
        }
        let step = if self.is_early_access() { Percentage::ONE.millionths() } else { 1 };
        let shares = percentages(experiment.allocations(), step);
        shares.map(|share| share.map(Weight::from)).collect()
    }

    pub(super) fn variation<'s>(
        self,
        flag: &'s Flag,
        variation: &'s Variation,
    ) -> ShownVariation<'s> {
        ShownVariation {
            id: variation.id(),
            feature_flag_id: flag.id(),
            name: variation.name(),
            description: variation.description(),
            overrides: self.overrides(variation),
            created_at: variation.created_at(),
            updated_at: variation.updated_at(),
        }
    }

    pub(super) fn segment(self, segment: &Segment) -> ShownSegment<'_> {
        ShownSegment {
            id: segment.id(),
            name: segment.name(),
            description: segment.description(),
            kind: SELF,
            status: self.is_early_access().then(|| segment.status()),
            rules: segment.rules(),
            created_at: segment.created_at(),
            updated_at: segment.updated_at(),
        }
    }

    fn overrides(self, variation: &Variation) -> Overrides<'_> {
        Overrides { overrides: variation.overrides(), enveloped: !self.is_early_access() }
    }
}

/// What a PATCH can change in the present status.
fn editable_fields(experiment: &Experiment) -> Vec<&'static str> {
    let (status, strategy) = (experiment.status(), experiment.strategy());
    let fields = EDITABLE.iter().filter(|(_, field)| {
        status.can_change(*field) && (*field != Field::Levels || strategy == Strategy::Percentage)
    });
    let transitions = (!status.leads_to().is_empty()).then_some("status");
    fields.map(|(name, _)| *name).chain(transitions).collect()
}

/// Whether a bare value would be taken for an envelope when a client sends it back.
fn looks_enveloped(value: &Value) -> bool {
    value.as_object().is_some_and(|members| {
        members.len() == 1 && members.get("value").is_some_and(Value::is_object)
    })
}

impl Serialize for Overrides<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.overrides.len()))?;
        for (name, value) in self.overrides {
            match self.enveloped || looks_enveloped(value) {
                true => map.serialize_entry(name, &Envelope { value })?,
                false => map.serialize_entry(name, value)?,
            }
        }
        map.end()
    }
}
