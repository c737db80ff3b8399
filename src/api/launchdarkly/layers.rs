//! Layers.

use super::Experimentation;
use super::answer::{Answer, Refusal};
use super::list::Query;
use crate::api::call::Call;
use crate::model::Layer;

impl Experimentation {
    pub(super) fn list_layers(&self, _query: &Query) -> Result<Answer, Refusal> {
        Err(Refusal::no_such_path("layers"))
    }

    pub(super) fn create_layer(&self, _call: Call<'_>) -> Result<Answer, Refusal> {
        Err(Refusal::no_such_path("layers"))
    }

    pub(super) fn patch_layer(&self, _key: &str, _call: Call<'_>) -> Result<Answer, Refusal> {
        Err(Refusal::no_such_path("layers"))
    }
}

/// What programs call a layer by.
pub(super) fn key_of(layer: &Layer) -> &str {
    layer.key().map_or(layer.id().as_str(), |key| key.as_str())
}
