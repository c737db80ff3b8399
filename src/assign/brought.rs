//! What a subject brings: assignments by force, and those that it keeps.

use std::sync::Arc;

use super::explain::{Step, Trace};
use super::gate::Gate;
use super::plan::Arm;
use super::{Attributes, Decision, Plan, Reason, Subject};
use crate::model::{Keep, Segment};
use crate::time::Timestamp;

impl Plan {
    /// Decides about a subject that brings assignments.
    #[cold]
    pub(super) fn honour<'s>(
        &'s self,
        subject: &Subject<'_>,
        now: Option<Timestamp>,
        contains: impl FnMut(&Arc<Segment>, &dyn Attributes) -> bool,
        trace: &mut impl Trace,
    ) -> Decision<'s> {
        if let Some(forced) = self.brought(subject, now, true, trace) {
            trace.note(|| Step::Forced { variation_id: forced.variation_id.clone() });
            return self.serve(Some(forced), Reason::Forced);
        }
        let mut kept = self.brought(subject, now, false, trace);
        let keeps = match &self.gate {
            Gate::Open(_) => self.keep == Keep::Always,
            Gate::Paused(_) => self.keep != Keep::Never,
            Gate::Closed(_) | Gate::Shipped(_) | Gate::Off(_) => false,
        };
        if let Some(arm) = kept.take_if(|_| !keeps) {
            trace.note(|| Step::passed_over(arm.variation_id.as_str(), false, true));
        }
        self.proceed(subject, || now, kept, contains, trace)
    }

    /// The first arm that the subject brings, by force or not, and that the experiment has.
    #[cold]
    fn brought(
        &self,
        subject: &Subject<'_>,
        now: Option<Timestamp>,
        forced: bool,
        trace: &mut impl Trace,
    ) -> Option<&Arm> {
        let mut brought = subject.brought(self.experiment_id().as_str(), forced);
        brought.find_map(|variation| {
            let arm = self.arm(variation, subject, now);
            if arm.is_none() {
                trace.note(|| Step::passed_over(variation, forced, false));
            }
            arm
        })
    }

    /// The arm with this variation; if there are several, that by which the subject would get it.
    fn arm(&self, variation: &str, subject: &Subject<'_>, now: Option<Timestamp>) -> Option<&Arm> {
        let same = |arm: &&Arm| arm.variation_id == *variation;
        let first = self.arms.iter().find(same)?;
        let Some(open) = self.gate.open() else { return Some(first) };
        let contains =
            |segment: &Arc<Segment>, attributes: &dyn Attributes| segment.contains(attributes);
        let drawn = self.draw(open, subject, || now, None, contains, &mut ());
        let drawn = drawn.served.filter(|_| drawn.in_experiment()).filter(same);
        Some(drawn.unwrap_or(first))
    }
}
