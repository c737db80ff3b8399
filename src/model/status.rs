//! The states of each kind of entity. What leads from one to another stands in `change::lifecycle`.

use crate::error::{Error, codes};
use crate::json::{Cursor, FromJson, deserialize};

codes! {
    /// Where an experiment stands in its life.
    #[expect(clippy::exhaustive_enums, reason = "whoever matches on it must consider a new state")]
    pub enum Status {
        /// Being designed; assigns nobody.
        Draft = "draft",
        /// Running.
        Active = "active",
        /// Halted for a while; admits nobody, and serves only those who bring what they had, by
        /// [`Subject::kept`](crate::Subject::kept).
        Paused = "paused",
        /// Concluded; assigns nobody, and serves the winner if that is
        /// [shipped](crate::Winner::is_shipped). A new iteration can follow.
        Completed = "completed",
        /// Put away for good.
        Archived = "archived",
    }
}

codes! {
    /// Where a flag stands in its life.
    #[expect(clippy::exhaustive_enums, reason = "whoever matches on it must consider a new state")]
    pub enum FlagStatus {
        /// Being designed; experiments that vary it cannot start.
        Draft = "draft",
        /// In use.
        Active = "active",
        /// Put away for good.
        Archived = "archived",
    }
}

codes! {
    /// Where a segment stands in its life.
    #[expect(clippy::exhaustive_enums, reason = "whoever matches on it must consider a new state")]
    pub enum SegmentStatus {
        /// In use.
        Active = "active",
        /// Put away for good; experiments that need it cannot start.
        Archived = "archived",
    }
}

macro_rules! from_json {
    ($($name:ident),+) => {$(
        impl FromJson for $name {
            fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
                cursor.one_of(Self::ALL, Self::as_str)
            }
        }

        deserialize!($name);
    )+};
}

from_json!(Status, FlagStatus, SegmentStatus);
