//! An experiment, compiled for assigning.

use std::sync::Arc;

use super::ask::{Ask, Once};
use super::explain::{Asked, Step, Trace};
use super::gate::Gate;
use super::guards::Guards;
use super::hash::point;
#[cfg(feature = "launchdarkly")]
use super::rollout::Buckets;
use super::{Decision, Explanation, Reason, Scratch, Subject};
use crate::id::{ExperimentId, VariationId};
use crate::model::{Config, Keep, Segment, Status, SubjectKind};
use crate::partition::Partition;
use crate::time::Timestamp;

/// An experiment, compiled for assigning: what is left when everything that does not depend on the
/// subject is worked out.
///
/// Hold on to one, as [`Snapshot::plan`](crate::Snapshot::plan) lends it, to assign many subjects
/// to one experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    // What nearly every decision needs stands together, and what few need elsewhere.
    pub(super) experiment_id: ExperimentId,
    pub(super) subject_kind: SubjectKind,
    pub(crate) gate: Gate,
    /// As the run froze them, whatever the status; those of the present design if it never ran.
    pub(crate) arms: Box<[Arm]>,
    pub(crate) keep: Keep,
    pub(super) beside: Option<Box<Beside>>,
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
    fn without_id(&self) -> Option<u8> {
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
    /// In the order in which they are asked.
    pub(crate) list: Box<[(Arc<Segment>, Share)]>,
    /// What those get who are in none.
    pub(crate) fallback: Share,
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
        match (self.lot(), hash) {
            (Some((open, partition)), Some(hash)) if self.subject_kind.own().is_none() => {
                self.weigh(open, partition, hash, open.traffic_end, &mut ())
            }
            _ => self.decide_at(subject, self.now(subject), scratch, &mut ()),
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
                    let mut shares = targets.list.iter().map(|(_, share)| share);
                    shares.any(Share::is_split) || targets.fallback.is_split()
                }
            }
    }

    /// Weights alone decide for most experiments; whatever else there is, is out of their way.
    #[inline]
    fn decide<'s>(
        &'s self,
        subject: &Subject<'_>,
        ask: &mut impl Ask,
        trace: &mut impl Trace,
    ) -> Decision<'s> {
        match self.lot() {
            Some((open, partition)) if !subject.brings_assignments() => {
                trace.note(|| Step::Status { status: Status::Active });
                match self.identify(subject, trace) {
                    Some(hash) => self.weigh(open, partition, hash, open.traffic_end, trace),
                    None => self.unidentified(open),
                }
            }
            _ => self.decide_at(subject, self.now(subject), ask, trace),
        }
    }

    /// What decides if nothing but weights does.
    #[inline]
    pub(super) fn lot(&self) -> Option<(&Open, &Partition)> {
        match &self.gate {
            Gate::Open(open @ Open { guards: None, route: Route::Percentage(partition), .. }) => {
                Some((open, partition))
            }
            _ => None,
        }
    }

    /// Decides at this moment, which is needed only if it [reads the clock](Self::reads_clock).
    #[inline(never)]
    pub(super) fn decide_at<'s>(
        &'s self,
        subject: &Subject<'_>,
        now: Option<Timestamp>,
        ask: &mut (impl Ask + ?Sized),
        trace: &mut impl Trace,
    ) -> Decision<'s> {
        if subject.brings_assignments() {
            return self.honour(subject, now, ask, trace);
        }
        self.proceed(subject, now, None, ask, trace)
    }

    /// Decides about a subject that nothing is forced on and that keeps at most this.
    #[inline]
    pub(super) fn proceed<'s>(
        &'s self,
        subject: &Subject<'_>,
        now: Option<Timestamp>,
        kept: Option<&'s Arm>,
        ask: &mut (impl Ask + ?Sized),
        trace: &mut impl Trace,
    ) -> Decision<'s> {
        trace.note(|| Step::Status { status: self.status() });
        match &self.gate {
            Gate::Open(open) => self.draw(open, subject, now, kept, ask, trace),
            Gate::Paused(open) => self.stay(open, subject, now, kept, ask, trace),
            Gate::Closed(status) => self.serve(None, Reason::closed(*status)),
            Gate::Off(off) => {
                trace.note(|| Step::FlagOff {
                    flag_id: off.flag_id.clone(),
                    variation_id: self.off().map(|arm| arm.variation_id.clone()),
                });
                self.serve(self.off(), Reason::FlagOff)
            }
            Gate::Shipped(shipped) => self.ship(shipped, subject, ask, trace),
        }
    }

    /// The time, read once for all that a decision takes, if it depends on it.
    #[inline]
    pub(super) fn now(&self, subject: &Subject<'_>) -> Option<Timestamp> {
        // A flag that is off goes before the schedule, but for what a subject brings.
        let asked = subject.brings_assignments() || !matches!(self.gate, Gate::Off(_));
        (asked && self.reads_clock()).then(|| subject.now())
    }

    /// Whether its decisions depend on the time.
    #[inline]
    pub(super) fn reads_clock(&self) -> bool {
        let guards = self.gate.open().and_then(|open| open.guards.as_ref());
        guards.is_some_and(|guards| guards.schedule.is_some())
    }

    #[inline]
    pub(super) fn draw<'s>(
        &'s self,
        open: &'s Open,
        subject: &Subject<'_>,
        now: Option<Timestamp>,
        kept: Option<&'s Arm>,
        ask: &mut (impl Ask + ?Sized),
        trace: &mut impl Trace,
    ) -> Decision<'s> {
        if open.guards.is_some() || kept.is_some() {
            return self.pass(open, subject, now, kept, ask, trace);
        }
        match self.identify(subject, trace) {
            Some(hash) => self.enter(open, hash, open.traffic_end, subject, ask, trace),
            None => self.unidentified(open),
        }
    }

    /// Takes a subject through the gates that every experiment has.
    #[inline]
    fn enter<'s>(
        &'s self,
        open: &'s Open,
        hash: u64,
        traffic_end: u64,
        subject: &Subject<'_>,
        ask: &mut (impl Ask + ?Sized),
        trace: &mut impl Trace,
    ) -> Decision<'s> {
        match &open.route {
            Route::Percentage(partition) => self.weigh(open, partition, hash, traffic_end, trace),
            Route::Segments(targets) => {
                self.target(open, targets, hash, traffic_end, subject, ask, trace)
            }
            #[cfg(feature = "launchdarkly")]
            Route::Rollout(buckets) => match subject.id(self.subject_kind.as_str()) {
                Some(id) => self.roll(buckets, id, trace),
                None => self.unidentified(open),
            },
        }
    }

    /// What weights alone give a subject.
    #[inline]
    fn weigh<'s>(
        &'s self,
        open: &'s Open,
        partition: &Partition,
        hash: u64,
        traffic_end: u64,
        trace: &mut impl Trace,
    ) -> Decision<'s> {
        match open.samples(hash, traffic_end, trace) {
            true => self.serve(self.split(open, partition, hash, trace), Reason::Split),
            false => self.pass_by(open),
        }
    }

    /// What the first segment that contains a subject gives it.
    #[inline]
    fn target<'s>(
        &'s self,
        open: &'s Open,
        targets: &'s Targets,
        hash: u64,
        traffic_end: u64,
        subject: &Subject<'_>,
        ask: &mut (impl Ask + ?Sized),
        trace: &mut impl Trace,
    ) -> Decision<'s> {
        if !open.samples(hash, traffic_end, trace) {
            return self.pass_by(open);
        }
        let attributes = subject.attributes();
        let hit = ask.first(targets, attributes);
        for (place, (segment, _)) in targets.list.iter().enumerate() {
            if hit.is_none_or(|hit| place <= hit) {
                let matched = hit == Some(place);
                trace.note(|| Step::Segment(Asked::new(segment, attributes, matched)));
            }
        }
        let (share, reason) = match hit.and_then(|place| targets.list.get(place)) {
            Some((segment, share)) => (share, Reason::Segment(segment.id())),
            None => (&targets.fallback, Reason::Fallback),
        };
        let arm = match share {
            Share::Whole(arm) => self.arms.get(usize::from(*arm)),
            Share::Split(partition) => self.split(open, partition, hash, trace),
        };
        self.serve(arm, reason)
    }

    /// What a subject outside the traffic gets.
    pub(super) fn pass_by(&self, open: &Open) -> Decision<'_> {
        match open.rest {
            Some(control) => self.serve(self.arms.get(usize::from(control)), Reason::Split),
            None => self.serve(self.outside(), Reason::NotSampled),
        }
    }

    /// What a subject without an id gets.
    #[cold]
    fn unidentified(&self, open: &Open) -> Decision<'_> {
        let served = open.route.without_id().and_then(|number| self.numbered(number));
        self.serve(served, Reason::MissingSubjectId)
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

    #[inline]
    fn identify(&self, subject: &Subject<'_>, trace: &mut impl Trace) -> Option<u64> {
        trace.note(|| Step::subject_id(self.subject_kind.as_str(), subject));
        subject.hash(&self.subject_kind)
    }

    /// Takes a subject through the guards and past what it keeps. Out of the way of those who have
    /// neither.
    #[inline(never)]
    fn pass<'s>(
        &'s self,
        open: &'s Open,
        subject: &Subject<'_>,
        now: Option<Timestamp>,
        kept: Option<&'s Arm>,
        ask: &mut (impl Ask + ?Sized),
        trace: &mut impl Trace,
    ) -> Decision<'s> {
        let outside = || self.outside();
        let guards = open.guards.as_deref();
        let mut traffic_end = open.traffic_end;
        if let Some(guards) = guards {
            match guards.admit(&self.subject_kind, subject, now, trace) {
                Ok(staged) => traffic_end = traffic_end.max(staged),
                // Nobody without an id is held out, nor outside of a layer's slots.
                Err(Reason::MissingSubjectId) if open.route.without_id().is_some() => {}
                Err(reason) => return self.serve(self.left_out(reason), reason),
            }
        }
        let chain = guards.and_then(|guards| guards.chain.as_ref());
        if let Some(arm) = kept {
            if let Some(link) = chain
                && link.elsewhere(subject, now, ask, trace).is_some()
            {
                return self.serve(outside(), Reason::Elsewhere);
            }
            trace.note(|| Step::Kept { variation_id: arm.variation_id.clone() });
            return self.serve(Some(arm), Reason::Kept);
        }
        // The guards that hash have noted it already.
        let identified = match guards.is_some_and(Guards::hash) {
            true => self.identify(subject, &mut ()),
            false => self.identify(subject, trace),
        };
        if identified.is_none() && open.route.without_id().is_none() {
            return self.unidentified(open);
        }
        if let Some(link) = chain
            && link.elsewhere(subject, now, ask, trace).is_some()
        {
            return self.serve(outside(), Reason::Elsewhere);
        }
        let attributes = subject.attributes();
        if let Some(segment) = guards.and_then(|guards| guards.audience.as_ref()) {
            let targeted = ask.contains(segment, attributes);
            trace.note(|| Step::Audience(Asked::new(segment, attributes, targeted)));
            if !targeted {
                return self.serve(outside(), Reason::NotTargeted);
            }
        }
        match identified {
            Some(hash) => self.enter(open, hash, traffic_end, subject, ask, trace),
            None => self.unidentified(open),
        }
    }

    /// The arm that a draw by weight gives.
    #[inline]
    fn split(
        &self,
        open: &Open,
        partition: &Partition,
        hash: u64,
        trace: &mut impl Trace,
    ) -> Option<&Arm> {
        let point = point(hash, open.variation_seed);
        let arm = self.arms.get(partition.owner(point));
        trace.note(|| Step::split(point, partition, arm));
        arm
    }

    /// What a paused experiment gives: what the subject keeps, or nothing.
    #[cold]
    fn stay<'s>(
        &'s self,
        open: &Open,
        subject: &Subject<'_>,
        now: Option<Timestamp>,
        kept: Option<&'s Arm>,
        ask: &mut (impl Ask + ?Sized),
        trace: &mut impl Trace,
    ) -> Decision<'s> {
        let paused = self.serve(None, Reason::Paused);
        let Some(arm) = kept else { return paused };
        if let Some(guards) = &open.guards {
            if guards.admit(&self.subject_kind, subject, now, trace).is_err() {
                return paused;
            }
            if let Some(link) = &guards.chain
                && link.elsewhere(subject, now, ask, trace).is_some()
            {
                return paused;
            }
        }
        trace.note(|| Step::Kept { variation_id: arm.variation_id.clone() });
        self.serve(Some(arm), Reason::Kept)
    }

    /// The segments that it asks, in order.
    pub(super) fn targets(&self) -> &[(Arc<Segment>, Share)] {
        match &self.gate {
            Gate::Open(Open { route: Route::Segments(targets), .. }) => &targets.list,
            _ => &[],
        }
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
