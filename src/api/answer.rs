//! A successful answer, as it is the same for all surfaces.

use http::StatusCode;
use serde::Serialize;

/// A successful answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn ok(body: &impl Serialize) -> Self {
        Self { status: StatusCode::OK, body: to_json(body) }
    }

    pub(super) fn created(body: &impl Serialize) -> Self {
        Self { status: StatusCode::CREATED, body: to_json(body) }
    }

    #[cfg(any(feature = "auth0", feature = "qonversion"))]
    pub(super) fn deleted() -> Self {
        Self { status: StatusCode::NO_CONTENT, body: Vec::new() }
    }
}

/// Serialises what cannot fail to be JSON: structs with fixed keys, and texts.
pub(super) fn to_json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}
