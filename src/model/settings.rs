//! What holds for all entities of a snapshot.

use serde::Serialize;

use crate::error::{Error, codes};
use crate::json::{Cursor, FromJson, deserialize};

/// Rules for a snapshot as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Settings {
    /// How many experiments can be active at once.
    pub active_limit: ActiveLimit,
}

codes! {
    /// How many experiments can be active at once. Checked when one is activated: tightening the
    /// limit stops nothing that runs.
    #[derive(Default)]
    #[non_exhaustive]
    pub enum ActiveLimit {
        /// Any number.
        #[default]
        Unlimited = "unlimited",
        /// One for each flow; one whose flow is `all` only alone. Experiments without a flow do
        /// not limit each other.
        PerFlow = "per_flow",
        /// One in all.
        One = "one",
    }
}

impl FromJson for ActiveLimit {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        cursor.one_of(Self::ALL, Self::as_str)
    }
}

impl FromJson for Settings {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(&["active_limit"])?;
        Ok(Self { active_limit: object.or_default("active_limit")? })
    }
}

deserialize!(ActiveLimit, Settings);
