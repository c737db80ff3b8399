//! An experiment, compiled for assigning.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::ask::Once;
use super::explain::{Step, Trace};
use super::gate::Gate;
use super::guards::Guards;
use super::hash::point;
use super::program::Program;
#[cfg(feature = "launchdarkly")]
use super::rollout::Buckets;
use super::{Decision, Explanation, Reason, Scratch, Subject};
use crate::id::{ExperimentId, VariationId};
use crate::model::{Config, Keep, Segment, Status, SubjectKind};
use crate::partition::Partition;

/// An experiment, compiled for assigning: what is left when everything that does not depend on the
/// subject is worked out.
///
/// Hold on to one, as [`Snapshot::plan`](crate::Snapshot::plan) lends it, to assign many subjects
/// to one experiment.
#[derive(Debug, Clone)]
// In this order, so that what a pair decides with lies together, ahead of the rest.
#[repr(C)]
pub struct Plan {
    /// What decides, once more and in short, if two arms divide all subjects of the default kind.
    pub(super) pair: Option<Pair>,
    /// As the run froze them, whatever the status; those of the present design if it never ran.
    pub(crate) arms: Box<[Arm]>,
    pub(super) experiment_id: ExperimentId,
    pub(super) subject_kind: SubjectKind,
    pub(crate) gate: Gate,
    pub(super) beside: Option<Box<Beside>>,
    pub(crate) keep: Keep,
}

impl PartialEq for Plan {
    fn eq(&self, other: &Self) -> bool {
        // The pair follows from the gate.
        let Self { pair: _, arms, experiment_id, subject_kind, gate, beside, keep } = self;
        (arms, experiment_id, subject_kind)
            == (&other.arms, &other.experiment_id, &other.subject_kind)
            && (gate, beside, keep) == (&other.gate, &other.beside, &other.keep)
    }
}

/// Two arms that divide everyone, as most experiments have them.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    seed: u64,
    /// The first point of the second.
    second: NonZeroU32,
    arms: [u8; 2],
}

impl Pair {
    pub(super) fn new(kind: &SubjectKind, gate: &Gate) -> Option<Self> {
        let (open, partition) = gate
            .lot()
            .filter(|(open, _)| open.traffic_end == Partition::POINTS && kind.own().is_none())?;
        let (second, arms) = partition.pair()?;
        Some(Self { seed: open.variation_seed, second, arms })
    }

    /// The place of the arm that the draw gives.
    #[inline]
    pub(super) fn draw(&self, hash: u64) -> usize {
        let second = self.second.get() <= point(hash, self.seed);
        self.arms.get(usize::from(second)).map_or(0, |arm| usize::from(*arm))
    }
}

/// What a plan can serve beside its arms.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Beside {
    pub(super) outside: Option<Arm>,
    /// The flag's off variation as it is now; nothing while nobody can get it.
    pub(super) off: Option<Arm>,
    /// What else the slices of a rollout serve, numbered on from the arms.
    pub(super) others: Box<[Arm]>,
}

/// What a subject can be served.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Arm {
    pub(crate) variation_id: VariationId,
    pub(crate) config: Arc<Config>,
    pub(crate) is_control: bool,
    /// Its place among the arms.
    pub(crate) number: u8,
}

impl Arm {
    /// The number of what is served outside the experiment.
    pub(crate) const OUTSIDE: u8 = 254;

    /// The number of the flag's off variation.
    pub(crate) const OFF: u8 = 253;

    /// The number of nothing.
    pub(crate) const NONE: u8 = 255;
}

/// What decides when the status does not.
#[derive(Debug, Clone)]
pub(crate) struct Open {
    /// What most experiments do without.
    pub(crate) guards: Option<Box<Guards>>,
    pub(crate) traffic_seed: u64,
    /// The first point that is not in; 2^32 when all are.
    pub(crate) traffic_end: u64,
    /// The arm of those who are not in: the control of a ramp without weights.
    pub(crate) rest: Option<u8>,
    pub(crate) variation_seed: u64,
    pub(crate) route: Route,
}

impl Open {
    /// Whether a subject is within the traffic.
    #[inline]
    pub(super) fn samples(&self, hash: u64, traffic_end: u64, trace: &mut impl Trace) -> bool {
        // Nothing is drawn when everyone enters.
        let point = (traffic_end < Partition::POINTS).then(|| point(hash, self.traffic_seed));
        trace.note(|| Step::Traffic { point, end: traffic_end });
        point.is_none_or(|point| u64::from(point) < traffic_end)
    }
}

impl PartialEq for Open {
    fn eq(&self, other: &Self) -> bool {
        let Self { guards, traffic_seed, traffic_end, rest, variation_seed, route } = self;
        Guards::same(guards.as_deref(), other.guards.as_deref())
            && (traffic_seed, traffic_end) == (&other.traffic_seed, &other.traffic_end)
            && (rest, variation_seed) == (&other.rest, &other.variation_seed)
            && *route == other.route
    }
}

/// Which target decides.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Route {
    Percentage(Partition),
    Segments(Box<Targets>),
    /// One draw decides both whether a subject enters and what it is served.
    #[cfg(feature = "launchdarkly")]
    Rollout(Box<Buckets>),
}

impl Route {
    /// The number of what subjects without an id are served, if they are served at all.
    pub(super) fn without_id(&self) -> Option<u8> {
        match self {
            #[cfg(feature = "launchdarkly")]
            Self::Rollout(buckets) => Some(buckets.first()),
            Self::Percentage(_) | Self::Segments(_) => None,
        }
    }
}

/// Segments and what those get who are in them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Targets {
    pub(super) program: Program,
    /// Those of the segments, in the order in which they are asked.
    shares: Box<[Share]>,
    /// What those get who are in none.
    pub(crate) fallback: Share,
}

impl Targets {
    pub(super) fn new(list: Vec<(Arc<Segment>, Share)>, fallback: Share) -> Self {
        let (segments, shares): (Vec<_>, Vec<_>) = list.into_iter().unzip();
        Self { program: Program::new(segments), shares: shares.into(), fallback }
    }

    /// The segments and what those get who are in them, in the order in which they are asked.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<Segment>, &Share)> {
        self.program.segments().iter().zip(&self.shares)
    }

    #[inline]
    pub(super) fn get(&self, place: usize) -> Option<(&Arc<Segment>, &Share)> {
        Some((self.program.segments().get(place)?, self.shares.get(place)?))
    }
}

/// The arms of a target.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Share {
    Whole(u8),
    Split(Partition),
}

impl Share {
    #[cfg(feature = "auth0")]
    fn is_split(&self) -> bool {
        matches!(self, Self::Split(_))
    }
}

impl Plan {
    /// The experiment.
    pub fn experiment_id(&self) -> &ExperimentId {
        &self.experiment_id
    }

    /// Which of a subject's ids is hashed.
    pub fn subject_kind(&self) -> &SubjectKind {
        &self.subject_kind
    }

    /// What a subject gets, and why. Never fails, allocates or takes a lock.
    #[inline]
    pub fn assign<'s>(&'s self, subject: &Subject<'_>) -> Decision<'s> {
        self.decide(subject, &mut Once, &mut ())
    }

    /// The same for a subject whose [default hash](Subject::default_hash) is at hand.
    #[inline]
    pub(crate) fn assign_with<'s>(
        &'s self,
        subject: &Subject<'_>,
        hash: Option<u64>,
        scratch: &mut Scratch,
    ) -> Decision<'s> {
        match (&self.pair, hash) {
            (Some(pair), Some(hash)) => self.serve(self.arms.get(pair.draw(hash)), Reason::Split),
            _ => self.decide(subject, scratch, &mut ()),
        }
    }

    /// What a subject gets, and the whole way there: each gate that was asked, with what went in and
    /// what came out.
    ///
    /// The same code decides as in [`assign`](Self::assign), so the two always agree.
    pub fn explain<'s>(&'s self, subject: &Subject<'_>) -> Explanation<'s> {
        let mut steps = Vec::new();
        let decision = self.decide(subject, &mut Once, &mut steps);
        Explanation::new(decision, steps)
    }

    /// Whether this plan can go on in place of another that was compiled later. One with guards never
    /// can: they are told apart by whom they let in alone, and an explanation says more.
    pub(crate) fn stands_for(&self, other: &Self) -> bool {
        let plain = |plan: &Self| match &plan.gate {
            Gate::Closed(_) => true,
            Gate::Open(open) | Gate::Paused(open) => open.guards.is_none(),
            Gate::Off(_) | Gate::Shipped(_) => false,
        };
        plain(self) && plain(other) && self == other
    }

    /// Whether it hashes an id: if not, a subject without one gets an arm as any other.
    #[cfg(feature = "auth0")]
    pub(crate) fn hashes(&self) -> bool {
        if let Gate::Shipped(own) = &self.gate {
            return own.guards.as_ref().is_some_and(|guards| guards.hash());
        }
        let Some(open) = self.gate.open() else { return false };
        open.traffic_end < Partition::POINTS
            || open.guards.as_ref().is_some_and(|guards| guards.hash())
            || match &open.route {
                Route::Percentage(_) => true,
                #[cfg(feature = "launchdarkly")]
                Route::Rollout(_) => true,
                Route::Segments(targets) => {
                    let mut shares = targets.shares.iter();
                    shares.any(Share::is_split) || targets.fallback.is_split()
                }
            }
    }

    /// What can be served under this number.
    pub(crate) fn numbered(&self, number: u8) -> Option<&Arm> {
        let place = usize::from(number);
        match self.arms.get(place) {
            None if number == Arm::OUTSIDE => self.outside(),
            None if number == Arm::OFF => self.off(),
            None => self.beside.as_ref()?.others.get(place - self.arms.len()),
            arm => arm,
        }
    }

    /// The segments that it asks, in order.
    pub(super) fn targets(&self) -> impl Iterator<Item = (&Arc<Segment>, &Share)> {
        let targets = match &self.gate {
            Gate::Open(Open { route: Route::Segments(targets), .. }) => Some(targets),
            _ => None,
        };
        targets.into_iter().flat_map(|targets| targets.iter())
    }

    pub(super) fn status(&self) -> Status {
        match &self.gate {
            Gate::Open(_) => Status::Active,
            Gate::Paused(_) => Status::Paused,
            Gate::Shipped(_) => Status::Completed,
            Gate::Closed(status) => *status,
            Gate::Off(off) => off.status,
        }
    }

    /// What the flag serves while it is off.
    pub(crate) fn off(&self) -> Option<&Arm> {
        self.beside.as_ref()?.off.as_ref()
    }

    /// What those get who are no part of the experiment.
    pub(crate) fn outside(&self) -> Option<&Arm> {
        self.beside.as_ref()?.outside.as_ref()
    }

    /// What those get who are held out.
    pub(crate) fn held_out(&self) -> Option<&Arm> {
        self.off().or(self.outside())
    }

    /// What is served to those whom a guard does not let in.
    pub(super) fn left_out(&self, reason: Reason<'_>) -> Option<&Arm> {
        match reason {
            Reason::HeldOut => self.held_out(),
            reason if reason.is_outside() => self.outside(),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn serve<'s>(&'s self, served: Option<&'s Arm>, reason: Reason<'s>) -> Decision<'s> {
        Decision { experiment_id: Some(&self.experiment_id), served, reason }
    }
}
