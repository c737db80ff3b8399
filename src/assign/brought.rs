//! What a subject brings: assignments by force, those by hand, and those that it keeps.

use super::ask::{Ask, Once};
use super::explain::{Step, Trace};
use super::gate::Gate;
use super::plan::Arm;
use super::subject::BroughtBy;
use super::{Decision, Plan, Reason, Subject};
use crate::model::Keep;
use crate::time::Timestamp;

impl Plan {
    /// Decides about a subject that brings assignments.
    #[cold]
    pub(super) fn honour<'s>(
        &'s self,
        subject: &Subject<'_>,
        now: Option<Timestamp>,
        ask: &mut (impl Ask + ?Sized),
        trace: &mut impl Trace,
    ) -> Decision<'s> {
        if let Some(forced) = self.brought(subject, now, BroughtBy::Forced, trace) {
            trace.note(|| Step::Forced { variation_id: forced.variation_id.clone() });
            return self.serve(Some(forced), Reason::Forced);
        }
        if let Some(arm) = self.brought(subject, now, BroughtBy::Attached, trace) {
            let guards = self.gate.open().and_then(|open| open.guards.as_ref());
            let link = guards.and_then(|guards| guards.chain.as_ref());
            // It can be attached to an earlier one of the chain as well.
            let elsewhere = link.and_then(|link| link.elsewhere(subject, now, ask, &mut ()));
            if elsewhere.is_none() && self.takes_attached(now, trace) {
                trace.note(|| Step::Attached { variation_id: arm.variation_id.clone() });
                return self.serve(Some(arm), Reason::Attached);
            }
            let variation = arm.variation_id.as_str();
            trace.note(|| Step::passed_over(variation, BroughtBy::Attached, true));
        }
        let mut kept = self.brought(subject, now, BroughtBy::Kept, trace);
        let keeps = match &self.gate {
            Gate::Open(_) => self.keep == Keep::Always,
            Gate::Paused(_) => self.keep != Keep::Never,
            Gate::Closed(_) | Gate::Shipped(_) | Gate::Off(_) => false,
        };
        if let Some(arm) = kept.take_if(|_| !keeps) {
            trace.note(|| Step::passed_over(arm.variation_id.as_str(), BroughtBy::Kept, true));
        }
        self.proceed(subject, now, kept, ask, trace)
    }

    /// Whether those who are attached are in: the experiment is active or paused, its flag on and its
    /// schedule open.
    fn takes_attached(&self, now: Option<Timestamp>, trace: &mut impl Trace) -> bool {
        let (Gate::Open(open) | Gate::Paused(open)) = &self.gate else { return false };
        let schedule = open.guards.as_ref().and_then(|guards| guards.schedule.as_ref());
        let asked = schedule.zip(now).map(|(own, now)| (own, now, own.traffic_at(now)));
        if asked.as_ref().is_some_and(|(.., traffic)| traffic.is_err()) {
            return false;
        }
        trace.note(|| Step::Status { status: self.status() });
        if let Some((schedule, now, traffic)) = asked {
            trace.note(|| Step::schedule(schedule, now, traffic));
        }
        true
    }

    /// The first arm that the subject brings in this way, and that the experiment has.
    #[cold]
    fn brought(
        &self,
        subject: &Subject<'_>,
        now: Option<Timestamp>,
        by: BroughtBy,
        trace: &mut impl Trace,
    ) -> Option<&Arm> {
        let mut brought = subject.brought(self.experiment_id().as_str(), by);
        brought.find_map(|variation| {
            let arm = self.arm(variation, subject, now);
            if arm.is_none() {
                trace.note(|| Step::passed_over(variation, by, false));
            }
            arm
        })
    }

    /// The arm with this variation; if there are several, that by which the subject would get it.
    fn arm(&self, variation: &str, subject: &Subject<'_>, now: Option<Timestamp>) -> Option<&Arm> {
        let same = |arm: &&Arm| arm.variation_id == *variation;
        let first = self.arms.iter().find(same)?;
        let Some(open) = self.gate.open() else { return Some(first) };
        let drawn = self.draw(open, subject, now, None, &mut Once, &mut ());
        let drawn = drawn.served.filter(|_| drawn.in_experiment()).filter(same);
        Some(drawn.unwrap_or(first))
    }
}
