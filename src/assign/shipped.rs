//! What a completed experiment serves that ships its winner.

use super::ask::Ask;
use super::explain::{Asked, Step, Trace};
use super::guards::{Guards, Surroundings};
use super::plan::{Arm, Plan};
use super::{Decision, Reason, Subject};
use crate::model::{Design, Experiment, Status};

/// What decides while a winner is shipped.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shipped {
    /// The holdouts and the audience, the only gates that stay.
    pub(crate) guards: Option<Box<Guards>>,
    /// The winner's arm.
    pub(crate) arm: u8,
}

impl Shipped {
    /// That of an experiment, if it is completed and ships its winner.
    pub(super) fn new(
        experiment: &Experiment,
        design: &Design,
        around: &Surroundings<'_>,
    ) -> Option<Self> {
        let completed = experiment.status == Status::Completed;
        let winner = experiment.iteration.winner().filter(|own| completed && own.is_shipped())?;
        let mut arms = (0u8..).zip(design.allocations.iter());
        let (arm, _) = arms.find(|(_, arm)| arm.variation_id == *winner.variation_id())?;
        Some(Self { guards: Guards::eligible(design, around), arm })
    }
}

impl Plan {
    /// What a subject gets of a winner that is shipped.
    #[inline(never)]
    pub(super) fn ship<'s>(
        &'s self,
        shipped: &'s Shipped,
        subject: &Subject<'_>,
        ask: &mut (impl Ask + ?Sized),
        trace: &mut impl Trace,
    ) -> Decision<'s> {
        let outside = || self.outside();
        if let Some(guards) = &shipped.guards {
            if let Err(reason) = guards.admit(self.subject_kind(), subject, None, trace) {
                return self.serve(self.left_out(reason), reason);
            }
            if let Some(segment) = &guards.audience {
                let attributes = subject.attributes();
                let targeted = ask.contains(segment, attributes);
                trace.note(|| Step::Audience(Asked::new(segment, attributes, targeted)));
                if !targeted {
                    return self.serve(outside(), Reason::NotTargeted);
                }
            }
        }
        let arm: Option<&Arm> = self.arms.get(usize::from(shipped.arm));
        arm.inspect(|arm| trace.note(|| Step::Shipped { variation_id: arm.variation_id.clone() }));
        self.serve(arm, Reason::Shipped)
    }
}
