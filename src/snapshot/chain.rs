//! Chains: experiments of which a subject is in at most one, in order of start.

use std::sync::Arc;

use super::{Held, Snapshot};
use crate::assign::{Decision, Explanation, Members, Plan, Reason, Subject};
use crate::id::ExperimentId;
use crate::model::{ChainName, Experiment, Iteration};
use crate::time::Timestamp;

/// The experiments with one [`chain`](Experiment::chain) that are active or paused, and whose flag
/// is on, in the order in which their present iteration [started](crate::Iteration::started_at);
/// those that started at one moment, [in turn](crate::Iteration::turn), and where nothing is known of
/// that, as in a document written by hand, in the order of their ids.
///
/// **A subject is in at most one experiment of a chain**, whichever way one asks. Of the members,
/// each judged for itself as if there were no chain, it is in
///
/// 1. the first that it is [forced](Subject::forced) into; or else
/// 2. the first that it is [attached](Subject::attached) to; or else
/// 3. the first in which an assignment that it brings [is kept](crate::Keep); or else
/// 4. the first whose gates let it in: schedule, holdouts, layer, audience and traffic.
///
/// To every other member whose turn comes later, it is [elsewhere](Reason::Elsewhere), which is asked
/// after the layer and before the audience, and it is served that member's
/// [outside variation](Experiment::outside_variation_id), if there is one. A member that it has missed
/// before says why, as without a chain; and a paused one that it is [paused](Reason::Paused), as to all
/// whom it does not keep. Only force knows no chain: whoever is forced into several members gets the
/// arm of each that is asked for.
///
/// Each member draws by its own salt, so what a member gets is its share of those whom no earlier one
/// has: behind one with 70 % traffic, one with 30 % has 9 % of all. Raising the traffic of one moves
/// subjects into it and nowhere else; when one ends, its subjects fall through to those after it, and
/// nobody who was in an earlier one moves. Resuming takes a paused member back to its old place; a new
/// iteration goes last.
///
/// Members can go by different kinds of subjects: each looks at its own id of the subject.
///
/// ```
/// # let snapshot = variate::Snapshot::from_json(r#"{"format": "variate/1",
/// #     "flags": [{"id": "flg_a", "name": "A flag", "status": "active",
/// #         "parameters": {"x": {"type": "number", "value": 1}},
/// #         "variations": [{"id": "var_a", "name": "one"}, {"id": "var_b", "name": "two"}]}],
/// #     "experiments": [
/// #         {"id": "exp_price", "name": "Price", "flag_id": "flg_a", "strategy": "percentage",
/// #             "status": "active", "traffic": 70, "chain": "paywall",
/// #             "allocations": [{"variation_id": "var_a", "weight": 100, "is_control": true}]},
/// #         {"id": "exp_reminder", "name": "Reminder", "flag_id": "flg_a", "strategy": "percentage",
/// #             "status": "active", "traffic": 30, "chain": "paywall",
/// #             "allocations": [{"variation_id": "var_b", "weight": 100, "is_control": true}]}]}"#)?;
/// use variate::Subject;
///
/// let chain = snapshot.chain("paywall");
/// let ids: Vec<_> = chain.experiments().map(|experiment| experiment.id().as_str()).collect();
/// assert_eq!(ids, ["exp_price", "exp_reminder"]);
///
/// let subject = Subject::new("device-4");
/// assert_eq!(chain.assign(&subject).experiment_id().unwrap().as_str(), "exp_price");
/// assert_eq!(snapshot.assign("exp_reminder", &subject).reason().as_str(), "elsewhere");
/// # Ok::<(), variate::Error>(())
/// ```
///
/// # Cost
/// [`assign`](Self::assign) asks one member after the other up to the one that has the subject, or
/// all of them if the subject brings assignments. To assign to one member asks those before it first,
/// so that asking each member of a long chain by itself, as
/// [`assign_all`](Snapshot::assign_all) does, takes time that grows with the square of its length.
#[derive(Clone, Copy)]
pub struct Chain<'s> {
    snapshot: &'s Snapshot,
    /// Nothing if it has no members.
    members: Option<&'s Members>,
}

impl Snapshot {
    /// The chain of this name; one without members if no running experiment is in it.
    pub fn chain(&self, name: impl AsRef<str>) -> Chain<'_> {
        let members = self.chains.get(name.as_ref()).map(|members| &**members);
        Chain { snapshot: self, members }
    }

    /// The names of the chains that have members, in an order that depends only on which there are.
    pub fn chains(&self) -> impl Iterator<Item = &ChainName> {
        self.chains.iter().map(|members| &members.name)
    }
}

impl<'s> Chain<'s> {
    /// Its name; `None` if it has no members.
    pub fn name(self) -> Option<&'s ChainName> {
        self.members.map(|members| &members.name)
    }

    /// Its members, in order.
    pub fn experiments(self) -> impl Iterator<Item = &'s Experiment> {
        let Self { snapshot, members } = self;
        let plans = members.into_iter().flat_map(|members| &members.plans);
        plans.filter_map(|plan| snapshot.experiment(plan.experiment_id()))
    }

    /// What the member that has the subject gives it, as [`Snapshot::assign`] says of that member.
    ///
    /// If none has it, nothing is served, of no experiment, because of [`Reason::NotSampled`]; of
    /// [`Reason::MissingSubjectId`] if the subject has none of the ids by which the members go; or of
    /// [`Reason::NotFound`] if the chain has no members. Total; never allocates or takes a lock.
    pub fn assign(self, subject: &Subject<'_>) -> Decision<'s> {
        let Some(members) = self.members else { return Decision::NOT_FOUND };
        members.assign(subject).unwrap_or_else(|| {
            let known = self.plans().any(|plan| subject.id(plan.subject_kind().as_str()).is_some());
            let reason = if known { Reason::NotSampled } else { Reason::MissingSubjectId };
            Decision { reason, ..Decision::NOT_FOUND }
        })
    }

    /// The members, each as if it stood alone.
    pub(crate) fn plans(&self) -> impl Iterator<Item = &'s Plan> {
        self.members.into_iter().flat_map(|members| &members.plans).map(|plan| &**plan)
    }

    /// What each member gives the subject and the whole way there, in order.
    pub fn explain(self, subject: &Subject<'_>) -> impl Iterator<Item = Explanation<'s>> {
        let Self { snapshot, .. } = self;
        self.experiments().map(move |own| snapshot.explain(own.id(), subject))
    }
}

impl std::fmt::Debug for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids: Vec<_> = self.experiments().map(Experiment::id).collect();
        f.debug_struct("Chain").field("name", &self.name()).field("experiments", &ids).finish()
    }
}

/// By what the members of a chain are put in order: one that never started comes last.
fn order(experiment: &Experiment) -> (bool, Option<Timestamp>, u32, &ExperimentId) {
    let Iteration { started_at, turn, .. } = experiment.iteration;
    (started_at.is_none(), started_at, turn, &experiment.id)
}

impl Snapshot {
    /// How many experiments of any chain have started before one at the moment when it starts.
    pub(crate) fn turn_of(&self, experiment: &Experiment, now: Timestamp) -> u32 {
        if experiment.chain().is_none() {
            return 0;
        }
        let others = self.all_chained().filter(|id| **id != *experiment.id());
        let others = others.filter_map(|id| self.experiment(id));
        let at_once = others.filter(|other| other.iteration.started_at == Some(now));
        at_once.map(|other| other.iteration.turn.saturating_add(1)).max().unwrap_or(0)
    }

    /// Puts the members of these chains in order and gives each its place, after one of them has
    /// been compiled or has gone.
    pub(super) fn link(&mut self, names: impl IntoIterator<Item = ChainName>) {
        for name in names {
            let ids = self.chained_in(name.as_str());
            let held = ids.filter_map(|id| self.experiments.get(id.as_str()));
            let mut held: Vec<Arc<Held>> =
                held.filter(|held| held.alone.is_some()).map(Arc::clone).collect();
            held.sort_unstable_by(|a, b| order(&a.experiment).cmp(&order(&b.experiment)));
            let plans = held.iter().filter_map(|held| held.alone.clone()).collect();
            let members = Arc::new(Members { name: name.clone(), plans });
            for (place, (held, alone)) in held.iter().zip(&members.plans).enumerate() {
                let experiment = held.experiment.clone();
                let plan = Arc::new(alone.linked(&members, place));
                self.hold(Held { experiment, plan, alone: Some(Arc::clone(alone)) });
            }
            match members.plans.is_empty() {
                true => drop(self.chains.remove(name.as_str())),
                false => drop(self.chains.insert(members)),
            }
        }
    }

    /// The plan of an experiment at the place that it would have in its chain.
    pub(super) fn link_trial(&self, trial: &Experiment, alone: Plan) -> Plan {
        let Some(name) = trial.linked() else { return alone };
        let members = self.chains.get(name.as_str());
        let others = members.into_iter().flat_map(|members| &members.plans);
        let others = others.filter(|plan| plan.experiment_id() != trial.id());
        let mut plans: Vec<Arc<Plan>> = others.cloned().collect();
        let place = plans.partition_point(|plan| {
            let other = self.experiment(plan.experiment_id());
            other.is_some_and(|other| order(other) < order(trial))
        });
        let alone = Arc::new(alone);
        plans.insert(place, Arc::clone(&alone));
        alone.linked(&Arc::new(Members { name: name.clone(), plans: plans.into() }), place)
    }
}
