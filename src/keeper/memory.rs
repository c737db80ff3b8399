//! The store of a keeper, with the locks that make of its calls steps.

use std::collections::BTreeSet;
use std::io;

use parking_lot::{Mutex, MutexGuard, RwLock};

use super::AssignmentStore;
use crate::assign::hash::subject_hash;
use crate::change::{EffectKind, EntityKind, Event};
use crate::error::{Code, Error};
use crate::id::ExperimentId;
use crate::model::KeptAssignment;

/// One lock for each value of a byte of a subject's hash: so many can be written of at once.
const LOCKS: usize = 1 << u8::BITS;

/// What is remembered, and who may write.
pub(super) struct Memory {
    store: Box<dyn AssignmentStore>,
    /// Whoever writes of a subject holds that of its id, and whoever forgets an experiment holds
    /// them all. Taken after the engine's lock for commits, if both are.
    locks: [Mutex<()>; LOCKS],
    /// The experiments that were deleted and that the store could not forget yet.
    deleted: RwLock<BTreeSet<ExperimentId>>,
}

impl Memory {
    pub(super) fn new(store: impl AssignmentStore + 'static) -> Self {
        Self {
            store: Box::new(store),
            locks: [const { Mutex::new(()) }; LOCKS],
            deleted: RwLock::default(),
        }
    }

    /// What is remembered of a subject.
    pub(super) fn get(
        &self,
        experiment_id: &ExperimentId,
        subject_id: &str,
    ) -> Result<Option<KeptAssignment>, Error> {
        self.catch_up(experiment_id)?;
        self.store.get(experiment_id, subject_id).map_err(|cause| unread(&cause))
    }

    /// Everything that is remembered in an experiment, in the order of the subjects' ids.
    pub(super) fn list(
        &self,
        experiment_id: &ExperimentId,
    ) -> Result<Vec<(String, KeptAssignment)>, Error> {
        self.catch_up(experiment_id)?;
        let mut list = self.store.list(experiment_id).map_err(|cause| unread(&cause))?;
        list.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Ok(list)
    }

    /// Makes of what is remembered of a subject what a function says: nothing else is written of the
    /// subject between the reading and the writing.
    pub(super) fn update<T>(
        &self,
        experiment_id: &ExperimentId,
        subject_id: &str,
        decide: impl FnOnce(Option<KeptAssignment>) -> (Update, T),
    ) -> Result<T, Error> {
        self.catch_up(experiment_id)?;
        let _writing = self.lock(subject_id);
        let kept = self.store.get(experiment_id, subject_id).map_err(|cause| unread(&cause))?;
        let (update, result) = decide(kept);
        match update {
            Update::Nothing => Ok(()),
            Update::Put(kept) => self.store.put(experiment_id, subject_id, &kept),
            Update::Remove => self.store.remove(experiment_id, subject_id),
        }
        .map_err(|cause| unwritten(&cause))?;
        Ok(result)
    }

    /// Remembers this of a subject, whatever was remembered.
    pub(super) fn put(
        &self,
        experiment_id: &ExperimentId,
        subject_id: &str,
        kept: &KeptAssignment,
    ) -> Result<(), Error> {
        self.catch_up(experiment_id)?;
        let _writing = self.lock(subject_id);
        self.store.put(experiment_id, subject_id, kept).map_err(|cause| unwritten(&cause))
    }

    /// Forgets an experiment.
    pub(super) fn clear(&self, experiment_id: &ExperimentId) -> Result<(), Error> {
        let _writing = self.lock_all();
        self.store.clear(experiment_id).map_err(|cause| unwritten(&cause))
    }

    /// Forgets the experiments that a commit has deleted.
    pub(super) fn hear(&self, event: &Event) {
        let deleted = event.effects.iter().filter(|effect| {
            effect.effect == EffectKind::Deleted && effect.entity == EntityKind::Experiment
        });
        for id in deleted.filter_map(|effect| effect.id.as_ref()?.parse().ok()) {
            // First, so that it is not lost if the store fails.
            let id: ExperimentId = id;
            self.deleted.write().insert(id.clone());
            // Whoever asks next of the experiment tries again, and is told.
            let _ = self.catch_up(&id);
        }
    }

    /// Forgets an experiment that was deleted, if that has not been done.
    fn catch_up(&self, experiment_id: &ExperimentId) -> Result<(), Error> {
        if !self.deleted.read().contains(experiment_id) {
            return Ok(());
        }
        let _writing = self.lock_all();
        // Another thread may have done it, and more may have been remembered since.
        if self.deleted.read().contains(experiment_id) {
            self.store.clear(experiment_id).map_err(|cause| unwritten(&cause))?;
            self.deleted.write().remove(experiment_id);
        }
        Ok(())
    }

    fn lock(&self, subject_id: &str) -> Option<MutexGuard<'_, ()>> {
        let [byte, ..] = subject_hash(subject_id).to_le_bytes();
        self.locks.get(usize::from(byte)).map(Mutex::lock)
    }

    fn lock_all(&self) -> Vec<MutexGuard<'_, ()>> {
        self.locks.iter().map(Mutex::lock).collect()
    }
}

/// What becomes of what is remembered of a subject.
pub(super) enum Update {
    Nothing,
    Put(KeptAssignment),
    Remove,
}

fn unread(cause: &io::Error) -> Error {
    let rule = format!("what is remembered cannot be read: {cause}");
    Error::new(Code::StoreUnavailable, rule)
}

fn unwritten(cause: &io::Error) -> Error {
    let rule = format!("what is to be remembered cannot be written down: {cause}");
    Error::new(Code::StoreUnavailable, rule)
}
