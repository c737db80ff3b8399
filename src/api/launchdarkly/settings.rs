//! The experimentation settings of the project.

use super::Experimentation;
use super::answer::{Answer, Refusal};
use crate::api::call::Call;

impl Experimentation {
    pub(super) fn get_settings(&self) -> Result<Answer, Refusal> {
        Err(Refusal::no_such_path("experimentation-settings"))
    }

    pub(super) fn put_settings(&self, _call: Call<'_>) -> Result<Answer, Refusal> {
        Err(Refusal::no_such_path("experimentation-settings"))
    }
}
