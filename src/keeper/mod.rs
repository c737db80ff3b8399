//! Who remembers: assignments that outlast the call, and those that are made by hand.

mod document;
mod memory;
mod store;

use std::fmt;
use std::sync::Arc;

pub use store::{AssignmentStore, MemoryStore};

use crate::assign::{Decision, Gate, Plan, Reason, Subject};
use crate::change::Transaction;
use crate::engine::Engine;
use crate::error::{Code, Error};
use crate::id::{ExperimentId, VariationId};
use crate::model::{Allocation, Experiment, Keep, KeptAssignment, Status, check_subject_id};
#[cfg(doc)]
use crate::snapshot::Chain;
use crate::snapshot::{Snapshot, check_arm};
use memory::{Memory, Update};

/// Remembers who got what, over an [`Engine`], so that a paused experiment keeps its members without
/// the caller carrying anything to and fro; and attaches subjects by hand.
///
/// It remembers by the experiment and by the subject's id of the experiment's kind. A subject
/// without such an id is neither looked up nor remembered. What it remembers outlives edits,
/// reshuffles and iterations, until the subject is found outside, or [`forget`](Self::forget) is
/// called. With a deleted experiment it forgets its subjects, so that they do not come back with a
/// new experiment of the same id: if the store fails then, it tries again before it next reads or
/// writes anything of that experiment, and says so for as long as that fails. It learns of deletions as
/// a [listener](Engine::listen) does, and so not if one before it panics.
///
/// A clone is another handle on the same memory.
///
/// ```
/// use variate::{Change, Engine, Keeper, Status, Subject};
///
/// let keeper = Keeper::new(Engine::from_json(r#"{
///     "format": "variate/1",
///     "flags": [{
///         "id": "flg_a", "name": "Sign-in screen", "status": "active",
///         "parameters": {"headline": {"type": "string", "value": "Welcome back"}},
///         "variations": [
///             {"id": "var_a", "name": "control"},
///             {"id": "var_b", "name": "short", "overrides": {"headline": "Hi"}}
///         ]
///     }],
///     "experiments": [{
///         "id": "exp_a", "name": "Sign-in headline", "status": "active",
///         "flag_id": "flg_a", "strategy": "percentage",
///         "allocations": [
///             {"variation_id": "var_a", "weight": 50, "is_control": true},
///             {"variation_id": "var_b", "weight": 50}
///         ]
///     }]
/// }"#)?)?;
/// let reason = |id: &str| -> Result<&str, variate::Error> {
///     let snapshot = keeper.engine().snapshot();
///     Ok(keeper.assign(&snapshot, "exp_a", &Subject::new(id))?.reason().as_str())
/// };
/// keeper.attach(&"exp_a".parse()?, "device-1", &"var_b".parse()?)?;
/// assert_eq!((reason("device-1")?, reason("device-2")?), ("attached", "split"));
///
/// keeper.engine().commit(Change::set_experiment_status(&"exp_a".parse()?, Status::Paused))?;
/// assert_eq!((reason("device-1")?, reason("device-2")?), ("attached", "kept"));
/// assert_eq!(reason("device-3")?, "paused");
/// # Ok::<(), variate::Error>(())
/// ```
///
/// # The store
/// It remembers in an [`AssignmentStore`], by default in memory. Where several keepers have one store
/// between them, as in several processes, each sees what the others write; but what two of them write
/// of one subject at the same time stands as the later one wrote it.
///
/// When the store fails, so does the call, with [`Code::StoreUnavailable`]: nobody gets another arm
/// because of it.
#[derive(Clone)]
pub struct Keeper {
    engine: Engine,
    memory: Arc<Memory>,
}

impl Keeper {
    /// One that remembers in memory.
    ///
    /// # Errors
    /// [`Code::ReentrantCommit`] from within a journal or listener of the engine.
    pub fn new(engine: Engine) -> Result<Self, Error> {
        Self::with_store(engine, MemoryStore::new())
    }

    /// One that remembers in this store, and what there is in it already.
    ///
    /// # Errors
    /// [`Code::ReentrantCommit`] from within a journal or listener of the engine.
    pub fn with_store(
        engine: Engine,
        store: impl AssignmentStore + 'static,
    ) -> Result<Self, Error> {
        let memory = Arc::new(Memory::new(store));
        // The engine lives on without its keepers.
        let listening = Arc::downgrade(&memory);
        engine.listen(move |event, _| {
            if let Some(memory) = listening.upgrade() {
                memory.hear(event);
            }
        })?;
        Ok(Self { engine, memory })
    }

    /// The engine that it keeps for.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What a subject gets from an experiment, as [`Snapshot::assign`] says, with what is remembered
    /// of it; and remembers what it got.
    ///
    /// `snapshot` is one of this keeper's engine. What is remembered counts as if the subject
    /// brought it, [attached](Subject::attached) or [kept](Subject::kept), after what it brings
    /// itself of the same kind.
    ///
    /// While the experiment is active, a subject that is in it is remembered with its arm; one that
    /// is outside is forgotten: by holdout, slot, chain, audience or traffic, not because the schedule
    /// is closed or the flag is off. So the members of a paused experiment are those who were in when
    /// they last asked while it was active. Nothing is written while it is paused, nor with
    /// [`Keep::Never`], nor of a subject that is forced or attached; and what is attached by hand
    /// stays until it is [detached](Self::detach), or its arm is gone.
    ///
    /// In a [chain](crate::Chain), what is remembered in its other members counts as well, and nothing
    /// is written of a subject that is forced into any of them.
    ///
    /// Costs one look-up in the store if the experiment is active or paused and its flag is on, or one
    /// for each member of its chain; another and a write if what is remembered has to change.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] when the store fails. So it is when the decision is made and only
    /// cannot be written down: a pause would not keep the subject where it is.
    pub fn assign<'s>(
        &self,
        snapshot: &'s Snapshot,
        experiment: impl AsRef<str>,
        subject: &Subject<'_>,
    ) -> Result<Decision<'s>, Error> {
        let Some(plan) = snapshot.plan(experiment) else { return Ok(Decision::NOT_FOUND) };
        if let Gate::Closed(_) | Gate::Shipped(_) | Gate::Off(_) = &plan.gate {
            return Ok(plan.assign(subject));
        }
        let remembered = match plan.members() {
            Some(members) => self.remembered(members.plans.iter().map(|plan| &**plan), subject)?,
            None => self.remembered([plan], subject)?,
        };
        let decision = plan.assign(&bring(subject, &remembered));
        self.remember(snapshot, plan, subject, &remembered, decision)
    }

    /// What a subject gets from the member of a chain that has it, as [`Chain::assign`] says, with
    /// what is remembered of it in all of them; and remembers what it got.
    ///
    /// Each active member remembers and forgets as if it had been asked by
    /// [`assign`](Self::assign). Costs a look-up in the store for each member.
    ///
    /// ```
    /// # let engine = variate::Engine::from_json(r#"{"format": "variate/1",
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
    /// use variate::{Keeper, Subject};
    ///
    /// let keeper = Keeper::new(engine)?;
    /// keeper.attach(&"exp_reminder".parse()?, "device-42", &"var_b".parse()?)?;
    ///
    /// let snapshot = keeper.engine().snapshot();
    /// let decision = keeper.assign_in_chain(&snapshot, "paywall", &Subject::new("device-42"))?;
    /// assert_eq!(decision.experiment_id().unwrap().as_str(), "exp_reminder");
    /// # Ok::<(), variate::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`assign`](Self::assign).
    pub fn assign_in_chain<'s>(
        &self,
        snapshot: &'s Snapshot,
        chain: impl AsRef<str>,
        subject: &Subject<'_>,
    ) -> Result<Decision<'s>, Error> {
        let chain = snapshot.chain(chain);
        let remembered = self.remembered(chain.plans(), subject)?;
        let brought = bring(subject, &remembered);
        let decision = chain.assign(&brought);
        for alone in chain.plans() {
            let id = alone.experiment_id();
            let linked = snapshot.plan(id).unwrap_or(alone);
            if decision.experiment_id() == Some(id) {
                self.remember(snapshot, linked, subject, &remembered, decision)?;
            } else if remembered.iter().any(|(own, _)| *own == id) {
                let elsewhere = linked.assign(&brought);
                self.remember(snapshot, linked, subject, &remembered, elsewhere)?;
            }
        }
        Ok(decision)
    }

    /// What is remembered of a subject in the experiments of these plans.
    fn remembered<'p>(
        &self,
        plans: impl IntoIterator<Item = &'p Plan>,
        subject: &Subject<'_>,
    ) -> Result<Vec<Remembered<'p>>, Error> {
        let mut remembered = Vec::new();
        for plan in plans {
            let Some(subject_id) = subject.id(plan.subject_kind().as_str()) else { continue };
            let id = plan.experiment_id();
            remembered.extend(self.memory.get(id, subject_id)?.map(|kept| (id, kept)));
        }
        Ok(remembered)
    }

    /// Remembers what a subject gets by what is remembered of it, or what it gets instead if that has
    /// changed meanwhile.
    fn remember<'s>(
        &self,
        snapshot: &Snapshot,
        plan: &'s Plan,
        subject: &Subject<'_>,
        remembered: &[Remembered<'_>],
        mut decision: Decision<'s>,
    ) -> Result<Decision<'s>, Error> {
        let id = plan.experiment_id();
        let mut kept = remembered.iter().find(|(own, _)| *own == id).map(|(_, kept)| kept.clone());
        let writes = matches!(plan.gate, Gate::Open(_)) && plan.keep != Keep::Never;
        let subject_id = subject.id(plan.subject_kind().as_str());
        let Some(subject_id) = subject_id.filter(|_| writes) else { return Ok(decision) };
        let mut members = plan.members().into_iter().flat_map(|members| &members.plans);
        if subject.is_forced_into(plan) || members.any(|plan| subject.is_forced_into(plan)) {
            return Ok(decision);
        }
        let others: Vec<_> = remembered.iter().filter(|(own, _)| *own != id).cloned().collect();
        // It is decided without a lock, since the subject's attributes and clock are the caller's; and
        // anew if something else has been remembered meanwhile.
        loop {
            let (update, before) = (update(snapshot, &decision, kept.as_ref()), kept);
            if matches!(update, Update::Nothing) {
                return Ok(decision);
            }
            let present = self.memory.update(id, subject_id, |kept| {
                let same = kept == before;
                let writes = same && self.holds(snapshot, id, before.as_ref());
                (if writes { update } else { Update::Nothing }, (same, kept))
            })?;
            match present {
                (true, _) => return Ok(decision),
                (false, present) => kept = present,
            }
            let own = kept.clone().map(|kept| (id, kept));
            let all: Vec<_> = others.iter().cloned().chain(own).collect();
            decision = plan.assign(&bring(subject, &all));
        }
    }

    /// Attaches a subject to an arm of an experiment, by its id of the experiment's kind. One that
    /// is attached to another arm is moved.
    ///
    /// It is then in the experiment, as [`Subject::attached`] says, until it is
    /// [detached](Self::detach); what was remembered of it before is forgotten. In a draft that takes
    /// effect when it is active, and with an arm that a paused one has been given since it started,
    /// when it is resumed. Takes its turn among the engine's commits, so that no change of the
    /// experiment comes in between.
    ///
    /// # Errors
    /// [`Code::NotFound`] when there is no such experiment; [`Code::NotMutable`] when it is completed
    /// or archived; [`Code::UnknownReference`] when the variation is not that of an arm, of its run
    /// or its design; [`Code::InvalidValue`] when the id is empty;
    /// [`Code::AlreadyAttached`] when the subject is attached to another experiment of the chain
    /// that goes by the same kind of id, and is neither completed nor archived;
    /// [`Code::ReentrantCommit`] as [`Engine::commit`]; and [`Code::StoreUnavailable`].
    pub fn attach(
        &self,
        experiment: &ExperimentId,
        subject_id: &str,
        variation: &VariationId,
    ) -> Result<(), Error> {
        check_subject_id(subject_id)?;
        let attach = |snapshot: &Snapshot| {
            let experiment = attachable(snapshot, experiment, variation)?;
            if let Some(chain) = experiment.chain() {
                self.check_unattached(snapshot, experiment, chain.as_str(), subject_id)?;
            }
            let kept = KeptAssignment::new(variation.clone(), true);
            self.memory.put(experiment.id(), subject_id, &kept)?;
            Ok(Transaction::default())
        };
        self.engine.commit_with(attach).map(drop)
    }

    /// Checks that no subject that is attached to an experiment is so to another of this chain.
    #[cfg(feature = "qonversion")]
    pub(crate) fn check_joins(
        &self,
        snapshot: &Snapshot,
        experiment: &Experiment,
        chain: &str,
    ) -> Result<(), Error> {
        let attached = self.list(experiment.id())?.into_iter();
        let mut attached = attached.filter(|(_, kept)| holds_by_hand(experiment, kept));
        attached.try_for_each(|(id, _)| self.check_unattached(snapshot, experiment, chain, &id))
    }

    /// Checks that a subject of an experiment is attached to no other of this chain.
    fn check_unattached(
        &self,
        snapshot: &Snapshot,
        experiment: &Experiment,
        chain: &str,
        subject_id: &str,
    ) -> Result<(), Error> {
        for other in rivals(snapshot, experiment, chain) {
            let kept = self.kept(other.id(), subject_id)?;
            if kept.is_some_and(|kept| holds_by_hand(other, &kept)) {
                let rule =
                    format!("must not be attached to two of a chain, and is to {}", other.id());
                let error = Error::new(Code::AlreadyAttached, rule).with_value(subject_id);
                return Err(error.at("subject_id"));
            }
        }
        Ok(())
    }

    /// Detaches a subject that was attached by hand to an experiment, whatever its status, and says
    /// whether it was. From then on the subject is assigned as any other.
    pub fn detach(&self, experiment: &ExperimentId, subject_id: &str) -> Result<bool, Error> {
        self.memory.update(experiment, subject_id, |kept| match kept {
            Some(KeptAssignment { attached: true, .. }) => (Update::Remove, true),
            _ => (Update::Nothing, false),
        })
    }

    /// What is remembered of a subject in an experiment.
    pub fn kept(
        &self,
        experiment: &ExperimentId,
        subject_id: &str,
    ) -> Result<Option<KeptAssignment>, Error> {
        self.memory.get(experiment, subject_id)
    }

    /// Everything that is remembered in an experiment, in the order of the subjects' ids.
    pub fn list(&self, experiment: &ExperimentId) -> Result<Vec<(String, KeptAssignment)>, Error> {
        self.memory.list(experiment)
    }

    /// Forgets every subject in an experiment, also those that were attached by hand.
    pub fn forget(&self, experiment: &ExperimentId) -> Result<(), Error> {
        self.memory.clear(experiment)
    }

    /// Whether what a snapshot leads to can be written: the engine still has its experiment, which may
    /// have been deleted since and another created under its id, and what was remembered is not an
    /// attachment to an arm that the experiment has been given since.
    fn holds(&self, snapshot: &Snapshot, id: &ExperimentId, kept: Option<&KeptAssignment>) -> bool {
        let present = self.engine.snapshot();
        let (Some(own), Some(then)) = (present.experiment(id), snapshot.experiment(id)) else {
            return false;
        };
        own.created_at() == then.created_at() && !kept.is_some_and(|kept| holds_by_hand(own, kept))
    }
}

/// What is remembered of a subject in an experiment.
type Remembered<'p> = (&'p ExperimentId, KeptAssignment);

/// The subject with what is remembered of it.
fn bring<'a>(subject: &Subject<'a>, remembered: &'a [Remembered<'_>]) -> Subject<'a> {
    remembered.iter().fold(subject.clone(), |subject, (experiment, kept)| {
        let (experiment, variation) = (experiment.as_str(), kept.variation_id.as_str());
        match kept.attached {
            true => subject.attached(experiment, variation),
            false => subject.kept(experiment, variation),
        }
    })
}

/// What a decision of an active experiment makes of what is remembered.
fn update(snapshot: &Snapshot, decision: &Decision<'_>, kept: Option<&KeptAssignment>) -> Update {
    let experiment = decision.experiment_id().and_then(|id| snapshot.experiment(id));
    let by_hand = experiment.zip(kept).is_some_and(|(own, kept)| holds_by_hand(own, kept));
    if by_hand || decision.reason() == Reason::Attached {
        return Update::Nothing;
    }
    match decision.variation_id().filter(|_| decision.in_experiment()) {
        Some(id) if kept == Some(&KeptAssignment::new(id.clone(), false)) => Update::Nothing,
        Some(id) => Update::Put(KeptAssignment::new(id.clone(), false)),
        None if kept.is_some() && decision.reason().is_outside() => Update::Remove,
        None => Update::Nothing,
    }
}

/// The experiment, if a subject can be attached to this variation of it.
fn attachable<'s>(
    snapshot: &'s Snapshot,
    id: &ExperimentId,
    variation: &VariationId,
) -> Result<&'s Experiment, Error> {
    let Some(experiment) = snapshot.experiment(id) else {
        let rule = "must be the id of an experiment that exists";
        return Err(Error::new(Code::NotFound, rule).with_value(id).at("experiment_id"));
    };
    let status = experiment.status();
    if matches!(status, Status::Completed | Status::Archived) {
        let rule = "must be draft, active or paused, for subjects to be attached";
        return Err(Error::new(Code::NotMutable, rule).with_value(&status).at("status"));
    }
    let arms: Vec<Allocation> = arms(experiment).cloned().collect();
    check_arm(&arms, variation).map_err(|error| error.at("variation_id"))?;
    Ok(experiment)
}

/// The arms that subjects can be attached to: those of its run, and those that it has been given
/// since.
fn arms(experiment: &Experiment) -> impl Iterator<Item = &Allocation> {
    let run = experiment.iteration().allocations().unwrap_or_default();
    run.iter().chain(experiment.allocations())
}

/// Whether this is an attachment to an arm that there is.
fn holds_by_hand(experiment: &Experiment, kept: &KeptAssignment) -> bool {
    kept.attached && arms(experiment).any(|arm| arm.variation_id == kept.variation_id)
}

/// The other experiments of a chain that a subject must not be attached to at the same time.
fn rivals<'s>(
    snapshot: &'s Snapshot,
    own: &'s Experiment,
    chain: &'s str,
) -> impl Iterator<Item = &'s Experiment> {
    snapshot.experiments().filter(move |other| {
        other.chain().is_some_and(|name| name.as_str() == chain)
            && other.id() != own.id()
            && other.subject_kind() == own.subject_kind()
            && !matches!(other.status(), Status::Completed | Status::Archived)
    })
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("engine", &self.engine).finish_non_exhaustive()
    }
}
