//! How a plan decides: through the gates, one after the other.

use super::ask::Ask;
use super::explain::{Asked, Step, Trace};
use super::gate::Gate;
use super::guards::Guards;
use super::hash::point;
use super::plan::{Arm, Open, Route, Share, Targets};
use super::{Decision, Plan, Reason, Subject};
use crate::model::Status;
use crate::partition::Partition;
use crate::time::Timestamp;

impl Plan {
    /// Weights alone decide for most experiments; whatever else there is, is out of their way.
    #[inline]
    pub(super) fn decide<'s>(
        &'s self,
        subject: &Subject<'_>,
        ask: &mut impl Ask,
        trace: &mut impl Trace,
    ) -> Decision<'s> {
        match self.gate.lot() {
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
            Route::Segments(targets) => match open.samples(hash, traffic_end, trace) {
                true => self.target(open, targets, hash, subject, ask, trace),
                false => self.pass_by(open),
            },
            #[cfg(feature = "launchdarkly")]
            Route::Rollout(buckets) => match subject.id(self.subject_kind.as_str()) {
                Some(id) => self.roll(buckets, id, trace),
                None => self.unidentified(open),
            },
        }
    }

    /// What weights alone give a subject.
    #[inline]
    pub(super) fn weigh<'s>(
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
        subject: &Subject<'_>,
        ask: &mut (impl Ask + ?Sized),
        trace: &mut impl Trace,
    ) -> Decision<'s> {
        let attributes = subject.attributes();
        let hit = ask.first(targets, attributes);
        for (place, (segment, _)) in targets.iter().enumerate() {
            if hit.is_none_or(|hit| place <= hit) {
                let matched = hit == Some(place);
                trace.note(|| Step::Segment(Asked::new(segment, attributes, matched)));
            }
        }
        let (share, reason) = match hit.and_then(|place| targets.get(place)) {
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
}
