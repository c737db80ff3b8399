//! A keeper as one JSON document: the snapshot, and who got what.

use serde::Serialize;

use super::{AssignmentStore, Keeper, MemoryStore};
use crate::engine::Engine;
use crate::error::{Code, Error};
use crate::json::{Limits, read_with};
use crate::model::KeptEntry;
use crate::snapshot::Snapshot;

impl Keeper {
    /// Reads a document, as [`to_json`](Self::to_json) prints it: a snapshot, as
    /// [`Snapshot::from_json`] says, and the kept assignments that stand in it, which are remembered
    /// in memory.
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self, Error> {
        Self::from_json_within(json, &Limits::DEFAULT)
    }

    /// Reads a document within other limits.
    pub fn from_json_within(json: impl AsRef<[u8]>, limits: &Limits) -> Result<Self, Error> {
        let (snapshot, all) = read_with(json.as_ref(), limits, Snapshot::read_with_kept)?;
        let store = MemoryStore::new();
        for ((experiment_id, subject_id), kept) in all {
            store.put(&experiment_id, &subject_id, &kept).map_err(|cause| {
                Error::new(Code::StoreUnavailable, format!("must be remembered, but {cause}"))
            })?;
        }
        Self::with_store(Engine::from_snapshot(snapshot), store)
    }

    /// Prints the document: the engine's current snapshot, as [`Snapshot::to_json`] does, with one
    /// more member if anything is remembered, `kept_assignments`, in the order of the ids of the
    /// experiments and then of the subjects. So it is complete, and the same bytes for the same
    /// snapshot and memory; what is remembered while it is printed may be missing.
    ///
    /// ```
    /// # use variate::{Engine, Keeper};
    /// # let document = Engine::new().to_json();
    /// let keeper = Keeper::from_json(&document)?;
    /// assert_eq!(keeper.to_json()?, document);
    /// # Ok::<(), variate::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`].
    pub fn to_json(&self) -> Result<String, Error> {
        #[derive(Serialize)]
        struct Document<'a> {
            #[serde(flatten)]
            snapshot: &'a Snapshot,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            kept_assignments: Vec<KeptEntry>,
        }
        let snapshot = self.engine().snapshot();
        let mut experiments: Vec<_> = snapshot.experiments().map(|own| own.id()).collect();
        experiments.sort_unstable();
        let mut kept_assignments = Vec::new();
        for id in experiments {
            let entries = self.list(id)?.into_iter().map(|(subject_id, kept)| KeptEntry {
                experiment_id: id.clone(),
                subject_id,
                kept,
            });
            kept_assignments.extend(entries);
        }
        let document = Document { snapshot: &snapshot, kept_assignments };
        // All keys are strings and no number is infinite, so there is no error to pass on.
        let mut json = serde_json::to_string_pretty(&document).unwrap_or_default();
        json.push('\n');
        Ok(json)
    }
}
