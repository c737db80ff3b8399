//! What a document says of who got what.

use std::collections::BTreeMap;

use super::Snapshot;
use super::json::each;
use crate::error::{Code, Error};
use crate::id::ExperimentId;
use crate::json::Object;
use crate::model::{KeptAssignment, KeptEntry};

/// What is remembered, by experiment and by the id of the subject.
pub(super) type Kept = BTreeMap<(ExperimentId, String), KeptAssignment>;

impl Snapshot {
    /// Reads what a document says of who got what in these experiments.
    pub(super) fn read_kept(&self, object: &Object<'_>) -> Result<Kept, Error> {
        let mut all = Kept::new();
        each(object, "kept_assignments", |cursor| {
            let KeptEntry { experiment_id, subject_id, kept } = cursor.read()?;
            if self.experiment(&experiment_id).is_none() {
                let rule = "must be the id of an experiment that exists";
                let error = Error::new(Code::UnknownReference, rule).with_value(&experiment_id);
                return Err(cursor.locate(error.at("experiment_id")));
            }
            let key = (experiment_id, subject_id);
            if all.contains_key(&key) {
                let rule = "must stand only once for each experiment";
                let error = Error::new(Code::AlreadyExists, rule).with_value(&key.1);
                return Err(cursor.locate(error.at("subject_id")));
            }
            all.insert(key, kept);
            Ok(())
        })?;
        Ok(all)
    }
}
