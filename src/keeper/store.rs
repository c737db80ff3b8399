//! Where assignments are remembered.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::id::ExperimentId;
use crate::model::KeptAssignment;

/// Remembers assignments, by experiment and by the id of the subject: in memory, as
/// [`MemoryStore`] does, or in a table, a cache or a file of the caller's.
///
/// A [`Keeper`](crate::Keeper) asks it from any thread. It must not call that keeper, and must not
/// commit to its engine. What fails leaves what was remembered as it was.
///
/// ```
/// use std::collections::BTreeMap;
/// use std::io;
/// use std::sync::Mutex;
/// use variate::{AssignmentStore, Engine, ExperimentId, Keeper, KeptAssignment};
///
/// /// A table, here one in memory.
/// #[derive(Default)]
/// struct Table(Mutex<BTreeMap<(ExperimentId, String), KeptAssignment>>);
///
/// impl AssignmentStore for Table {
///     fn get(&self, experiment: &ExperimentId, id: &str) -> io::Result<Option<KeptAssignment>> {
///         Ok(self.0.lock().unwrap().get(&(experiment.clone(), id.to_owned())).cloned())
///     }
///
///     fn put(&self, experiment: &ExperimentId, id: &str, kept: &KeptAssignment) -> io::Result<()> {
///         let key = (experiment.clone(), id.to_owned());
///         self.0.lock().unwrap().insert(key, kept.clone());
///         Ok(())
///     }
///
///     fn remove(&self, experiment: &ExperimentId, id: &str) -> io::Result<()> {
///         self.0.lock().unwrap().remove(&(experiment.clone(), id.to_owned()));
///         Ok(())
///     }
///
///     fn clear(&self, experiment: &ExperimentId) -> io::Result<()> {
///         self.0.lock().unwrap().retain(|(own, _), _| own != experiment);
///         Ok(())
///     }
///
///     fn list(&self, experiment: &ExperimentId) -> io::Result<Vec<(String, KeptAssignment)>> {
///         let table = self.0.lock().unwrap();
///         let own = table.iter().filter(|((own, _), _)| own == experiment);
///         Ok(own.map(|((_, id), kept)| (id.clone(), kept.clone())).collect())
///     }
/// }
///
/// let keeper = Keeper::with_store(Engine::new(), Table::default())?;
/// # Ok::<(), variate::Error>(())
/// ```
pub trait AssignmentStore: Send + Sync {
    /// What is remembered of a subject in an experiment.
    fn get(
        &self,
        experiment_id: &ExperimentId,
        subject_id: &str,
    ) -> io::Result<Option<KeptAssignment>>;

    /// Remembers this of a subject in an experiment, in place of what was remembered before.
    fn put(
        &self,
        experiment_id: &ExperimentId,
        subject_id: &str,
        kept: &KeptAssignment,
    ) -> io::Result<()>;

    /// Forgets a subject in an experiment; no difference if nothing is remembered.
    fn remove(&self, experiment_id: &ExperimentId, subject_id: &str) -> io::Result<()>;

    /// Forgets every subject in an experiment.
    fn clear(&self, experiment_id: &ExperimentId) -> io::Result<()>;

    /// Everything that is remembered in an experiment, by the id of the subject, in any order.
    fn list(&self, experiment_id: &ExperimentId) -> io::Result<Vec<(String, KeptAssignment)>>;
}

/// A store that others hold too.
impl<S: AssignmentStore + ?Sized> AssignmentStore for Arc<S> {
    fn get(
        &self,
        experiment_id: &ExperimentId,
        subject_id: &str,
    ) -> io::Result<Option<KeptAssignment>> {
        (**self).get(experiment_id, subject_id)
    }

    fn put(
        &self,
        experiment_id: &ExperimentId,
        subject_id: &str,
        kept: &KeptAssignment,
    ) -> io::Result<()> {
        (**self).put(experiment_id, subject_id, kept)
    }

    fn remove(&self, experiment_id: &ExperimentId, subject_id: &str) -> io::Result<()> {
        (**self).remove(experiment_id, subject_id)
    }

    fn clear(&self, experiment_id: &ExperimentId) -> io::Result<()> {
        (**self).clear(experiment_id)
    }

    fn list(&self, experiment_id: &ExperimentId) -> io::Result<Vec<(String, KeptAssignment)>> {
        (**self).list(experiment_id)
    }
}

/// Remembers assignments in memory, for as long as it lives; it never fails. To keep them beyond
/// that, print them: [`Keeper::to_json`](crate::Keeper::to_json).
#[derive(Debug, Default)]
pub struct MemoryStore {
    experiments: RwLock<HashMap<ExperimentId, HashMap<String, KeptAssignment>>>,
}

impl MemoryStore {
    /// One that remembers nothing yet.
    pub fn new() -> Self {
        Self::default()
    }
}

impl AssignmentStore for MemoryStore {
    fn get(
        &self,
        experiment_id: &ExperimentId,
        subject_id: &str,
    ) -> io::Result<Option<KeptAssignment>> {
        let experiments = self.experiments.read();
        let subjects = experiments.get(experiment_id);
        Ok(subjects.and_then(|subjects| subjects.get(subject_id)).cloned())
    }

    fn put(
        &self,
        experiment_id: &ExperimentId,
        subject_id: &str,
        kept: &KeptAssignment,
    ) -> io::Result<()> {
        let mut experiments = self.experiments.write();
        let subjects = experiments.entry(experiment_id.clone()).or_default();
        subjects.insert(subject_id.to_owned(), kept.clone());
        Ok(())
    }

    fn remove(&self, experiment_id: &ExperimentId, subject_id: &str) -> io::Result<()> {
        if let Some(subjects) = self.experiments.write().get_mut(experiment_id) {
            subjects.remove(subject_id);
        }
        Ok(())
    }

    fn clear(&self, experiment_id: &ExperimentId) -> io::Result<()> {
        self.experiments.write().remove(experiment_id);
        Ok(())
    }

    fn list(&self, experiment_id: &ExperimentId) -> io::Result<Vec<(String, KeptAssignment)>> {
        let experiments = self.experiments.read();
        let subjects = experiments.get(experiment_id).into_iter().flatten();
        Ok(subjects.map(|(id, kept)| (id.clone(), kept.clone())).collect())
    }
}
