//! The gates that most experiments do without.

use std::ops::Range;
use std::sync::Arc;

use super::explain::{Step, Trace};
use super::hash::{Draw, draw_seed, point};
use super::{Link, Reason, Subject};
use crate::model::{
    Closed, Design, Experiment, Flag, Holdout, Layer, Schedule, Segment, SubjectKind,
};
use crate::time::Timestamp;

/// What a plan depends on besides its experiment.
pub(crate) struct Surroundings<'a> {
    /// As it is now: for its off variation, and for an experiment that never ran.
    pub(crate) flag: Option<&'a Flag>,
    pub(crate) layer: Option<&'a Arc<Layer>>,
    /// Those that have not ended.
    pub(crate) holdouts: Vec<&'a Arc<Holdout>>,
    /// Whether the flag is on, or taken to be.
    pub(crate) is_on: bool,
}

/// The gates between the status and the traffic: schedule, holdouts, layer, chain, audience.
#[derive(Debug, Clone)]
pub(crate) struct Guards {
    pub(crate) schedule: Option<Schedule>,
    pub(crate) holdouts: Box<[HoldoutGate]>,
    pub(crate) layer: Option<LayerGate>,
    pub(crate) audience: Option<Arc<Segment>>,
    /// Asked before the audience.
    pub(crate) chain: Option<Link>,
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

/// Equal when they let the same subjects in.
impl PartialEq for Guards {
    fn eq(&self, other: &Self) -> bool {
        Self::same(Some(self), Some(other))
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
        let layer = around.layer.and_then(|layer| {
            Some(LayerGate {
                layer: Arc::clone(layer),
                seed: draw_seed(layer.salt.as_str(), Draw::Layer),
                arm: layer.slots.arm(&experiment.id)?,
            })
        });
        let schedule = experiment.extra.schedule.clone();
        Self { schedule, layer, ..Self::always(design, around) }.boxed()
    }

    /// The gates that say who is eligible at all, if there are any.
    pub(super) fn eligible(design: &Design, around: &Surroundings<'_>) -> Option<Box<Self>> {
        Self::always(design, around).boxed()
    }

    /// The gates that stay even when a winner is shipped.
    fn always(design: &Design, around: &Surroundings<'_>) -> Self {
        let holdouts = around.holdouts.iter().map(|holdout| HoldoutGate {
            holdout: Arc::clone(holdout),
            seed: draw_seed(holdout.salt.as_str(), Draw::Holdout),
            end: holdout.share.points(),
        });
        Self {
            schedule: None,
            holdouts: holdouts.collect(),
            layer: None,
            audience: design.audience_id.as_ref().and_then(|id| design.segment(id)).cloned(),
            chain: None,
        }
    }

    /// Whether these let the same subjects in. The first of a chain is not told from one without, so
    /// that what comes after it makes no difference to it.
    pub(super) fn same<'a>(one: Option<&'a Self>, other: Option<&'a Self>) -> bool {
        let of = |own: Option<&'a Self>| {
            let chain = own.and_then(|own| own.chain.as_ref());
            let before = chain.into_iter().flat_map(Link::before);
            let gates = (
                own.and_then(|own| own.schedule.as_ref()),
                own.map_or(&[][..], |own| &own.holdouts),
                own.and_then(|own| own.layer.as_ref()),
                own.and_then(|own| own.audience.as_ref()),
            );
            (gates, before)
        };
        let ((gates, before), (other_gates, other_before)) = (of(one), of(other));
        gates == other_gates && before.eq(other_before)
    }

    /// The same with a place in a chain.
    pub(super) fn link(slot: &mut Option<Box<Self>>, link: Link) {
        let bare = || {
            let (holdouts, layer, audience) = (Box::default(), None, None);
            Box::new(Self { schedule: None, holdouts, layer, audience, chain: None })
        };
        slot.get_or_insert_with(bare).chain = Some(link);
    }

    fn boxed(self) -> Option<Box<Self>> {
        let some = self.schedule.is_some() || self.hash() || self.audience.is_some();
        some.then(|| Box::new(self))
    }

    /// Whether any of them hashes the subject's id.
    pub(crate) fn hash(&self) -> bool {
        !self.holdouts.is_empty() || self.layer.is_some()
    }

    /// Asks the schedule at this time, the holdouts and the layer: the first traffic point that is not
    /// in by the schedule alone, or the reason why the subject is not let in.
    pub(crate) fn admit(
        &self,
        kind: &SubjectKind,
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
        trace.note(|| Step::subject_id(kind.as_str(), subject));
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
