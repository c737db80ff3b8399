//! Holdouts.

use super::Experimentation;
use super::answer::{Answer, Refusal};
use super::list::Query;
use crate::api::call::Call;
use crate::model::Holdout;
use crate::snapshot::Snapshot;

impl Experimentation {
    pub(super) fn list_holdouts(&self, _query: &Query) -> Result<Answer, Refusal> {
        Err(Refusal::no_such_path("holdouts"))
    }

    pub(super) fn create_holdout(&self, _call: Call<'_>) -> Result<Answer, Refusal> {
        Err(Refusal::no_such_path("holdouts"))
    }

    pub(super) fn get_holdout(&self, _key: &str) -> Result<Answer, Refusal> {
        Err(Refusal::no_such_path("holdouts"))
    }

    pub(super) fn get_holdout_by_id(&self, _id: &str) -> Result<Answer, Refusal> {
        Err(Refusal::no_such_path("holdouts"))
    }

    pub(super) fn patch_holdout(&self, _key: &str, _call: Call<'_>) -> Result<Answer, Refusal> {
        Err(Refusal::no_such_path("holdouts"))
    }
}

/// The holdout of this id or key.
pub(super) fn find<'s>(snapshot: &'s Snapshot, id: &str) -> Option<&'s Holdout> {
    snapshot.holdout(id).or_else(|| snapshot.holdout_by_key(id))
}
