//! The gates that most experiments do without.

use std::ops::Range;
use std::sync::Arc;

use super::explain::{Step, Trace};
use super::hash::{Draw, draw_seed, point};
use super::plan::Surroundings;
use super::{Reason, Subject};
use crate::model::{Closed, Design, Experiment, Holdout, Layer, Schedule, Segment};
use crate::time::Timestamp;

/// The gates between the status and the traffic: schedule, holdouts, layer, audience.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Guards {
    pub(crate) schedule: Option<Schedule>,
    pub(crate) holdouts: Box<[HoldoutGate]>,
    pub(crate) layer: Option<LayerGate>,
    pub(crate) audience: Option<Arc<Segment>>,
}

#[derive(Debug, Clone)]
pub(crate) struct HoldoutGate {
    pub(crate) holdout: Arc<Holdout>,
    pub(crate) seed: u64,
    /// The first point that is not held out.
    pub(crate) end: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct LayerGate {
    pub(crate) layer: Arc<Layer>,
    pub(crate) seed: u64,
    /// The experiment's number in the layer's partition.
    pub(crate) arm: u8,
}

/// Equal when they hold out the same subjects.
impl PartialEq for HoldoutGate {
    fn eq(&self, other: &Self) -> bool {
        (self.seed, self.end) == (other.seed, other.end)
    }
}

impl LayerGate {
    /// The points that let a subject in, in ascending order.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Range<u64>> {
        self.layer.slots.of(self.arm)
    }
}

/// Equal when they let the same subjects in.
impl PartialEq for LayerGate {
    fn eq(&self, other: &Self) -> bool {
        self.seed == other.seed && self.slots().eq(other.slots())
    }
}

impl Guards {
    /// The gates of an experiment, if it has any.
    pub(crate) fn new(
        experiment: &Experiment,
        design: &Design,
        around: &Surroundings<'_>,
    ) -> Option<Box<Self>> {
        let holdouts = around.holdouts.iter().map(|holdout| HoldoutGate {
            holdout: Arc::clone(holdout),
            seed: draw_seed(holdout.salt.as_str(), Draw::Holdout),
            end: holdout.share.points(),
        });
        let layer = around.layer.and_then(|layer| {
            Some(LayerGate {
                layer: Arc::clone(layer),
                seed: draw_seed(layer.salt.as_str(), Draw::Layer),
                arm: layer.slots.arm(&experiment.id)?,
            })
        });
        let guards = Self {
            schedule: experiment.schedule.as_deref().cloned(),
            holdouts: holdouts.collect(),
            layer,
            audience: design.audience_id.as_ref().and_then(|id| design.segment(id)).cloned(),
        };
        let some = guards.schedule.is_some() || guards.hash() || guards.audience.is_some();
        some.then(|| Box::new(guards))
    }

    /// Whether any of them hashes the subject's id.
    pub(crate) fn hash(&self) -> bool {
        !self.holdouts.is_empty() || self.layer.is_some()
    }

    /// Asks the schedule at this time, the holdouts and the layer: the first traffic point that is not
    /// in by the schedule alone, or the reason why the subject is not let in.
    pub(crate) fn admit(
        &self,
        kind: &str,
        subject: &Subject<'_>,
        now: Option<Timestamp>,
        trace: &mut impl Trace,
    ) -> Result<u64, Reason<'static>> {
        let mut staged = 0;
        if let (Some(schedule), Some(now)) = (&self.schedule, now) {
            let traffic = schedule.traffic_at(now);
            trace.note(|| Step::schedule(schedule, now, traffic));
            staged = traffic.map(|traffic| traffic.points()).map_err(|closed| match closed {
                Closed::BeforeStart => Reason::BeforeStart,
                Closed::AfterEnd => Reason::AfterEnd,
            })?;
        }
        if !self.hash() {
            return Ok(staged);
        }
        trace.note(|| Step::subject_id(kind, subject));
        let hash = subject.hash(kind).ok_or(Reason::MissingSubjectId)?;
        for gate in &self.holdouts {
            let point = point(hash, gate.seed);
            trace.note(|| Step::holdout(gate, point));
            if u64::from(point) < gate.end {
                return Err(Reason::HeldOut);
            }
        }
        if let Some(gate) = &self.layer {
            let point = point(hash, gate.seed);
            trace.note(|| Step::layer(gate, point));
            if gate.layer.slots.owner(point) != usize::from(gate.arm) {
                return Err(Reason::OutsideLayerSlot);
            }
        }
        Ok(staged)
    }
}
