//! Who of a chain has a subject.

use std::sync::Arc;

use super::ask::{Ask, Once};
use super::explain::{Step, Trace};
use super::{Decision, Plan, Reason, Subject};
use crate::id::ExperimentId;
use crate::model::ChainName;
use crate::time::Timestamp;

/// The members of a chain in order, each compiled as if it stood alone.
#[derive(Debug)]
pub(crate) struct Members {
    pub(crate) name: ChainName,
    pub(crate) plans: Box<[Arc<Plan>]>,
}

/// The place of an experiment in its chain.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) members: Arc<Members>,
    pub(crate) place: usize,
}

/// How much holds a subject in an experiment: in a chain the strongest hold wins, and of equal ones
/// the first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Hold {
    Forced,
    Attached,
    Kept,
    Drawn,
}

impl Hold {
    fn of(decision: &Decision<'_>) -> Option<Self> {
        match decision.reason {
            Reason::Forced => Some(Self::Forced),
            Reason::Attached => Some(Self::Attached),
            Reason::Kept => Some(Self::Kept),
            _ => decision.in_experiment().then_some(Self::Drawn),
        }
    }
}

impl Members {
    /// The member that has the subject, and what it gives it.
    pub(crate) fn assign(&self, subject: &Subject<'_>) -> Option<Decision<'_>> {
        holder(&self.plans, usize::MAX, subject, None, &mut Once)
    }
}

impl Plan {
    /// The members of its chain, itself among them, if it is in one.
    pub(crate) fn members(&self) -> Option<&Members> {
        let guards = self.gate.open()?.guards.as_ref()?;
        guards.chain.as_ref().map(|link| &*link.members)
    }
}

impl Link {
    /// The members before this one, in order.
    pub(crate) fn before(&self) -> impl Iterator<Item = &Plan> {
        self.members.plans.iter().take(self.place).map(|plan| &**plan)
    }

    /// The other member that has the subject before this one is asked: by a stronger hold, or by a
    /// draw that comes first. The time is that of the whole decision,
    /// if it has been read.
    pub(super) fn elsewhere(
        &self,
        subject: &Subject<'_>,
        now: Option<Timestamp>,
        ask: &mut (impl Ask + ?Sized),
        trace: &mut impl Trace,
    ) -> Option<&ExperimentId> {
        let plans = &self.members.plans;
        let holder = holder(plans, self.place, subject, now, ask);
        let own = plans.get(self.place).map(|plan| &plan.experiment_id);
        let other =
            holder.and_then(|decision| decision.experiment_id).filter(|id| Some(*id) != own);
        trace.note(|| Step::Chain {
            chain: self.members.name.as_str().to_owned(),
            owner: other.cloned(),
        });
        other
    }
}

/// What the one of these that has the subject gives it, of which only those before `drawing` can draw
/// it. One walk, up to the first that nothing later outdoes; the clock is read at most once.
fn holder<'p>(
    plans: &'p [Arc<Plan>],
    drawing: usize,
    subject: &Subject<'_>,
    mut now: Option<Timestamp>,
    ask: &mut (impl Ask + ?Sized),
) -> Option<Decision<'p>> {
    // Whoever brings nothing can only be drawn.
    let (strongest, asked) = match subject.brings_assignments() {
        true => (Hold::Forced, usize::MAX),
        false => (Hold::Drawn, drawing),
    };
    let mut best: Option<(Hold, Decision<'p>)> = None;
    for (place, plan) in plans.iter().enumerate().take(asked) {
        let now = plan.reads_clock().then(|| *now.get_or_insert_with(|| subject.now()));
        let decision = plan.decide_at(subject, now, ask, &mut ());
        let Some(hold) = Hold::of(&decision) else { continue };
        if hold == Hold::Drawn && place >= drawing {
            continue;
        }
        if best.is_none_or(|(known, _)| hold < known) {
            best = Some((hold, decision));
        }
        if hold <= strongest {
            break;
        }
    }
    best.map(|(_, decision)| decision)
}
