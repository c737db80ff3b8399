//! What was committed.

use serde::Serialize;

use super::Change;
use crate::error::{Error, codes};
use crate::json::{Cursor, FromJson, Limits, deserialize, read};
use crate::time::Timestamp;

/// One committed transaction: what was asked, with everything fixed that was left open, and what
/// came of it.
///
/// Every id and salt that the engine chose stands in `changes`, so that applying the events of a
/// history to the snapshot that it began with gives the same snapshot again, byte for byte in JSON;
/// see [`Snapshot::replay`](crate::Snapshot::replay). Serialises as a JSON object.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Event {
    /// Which transaction this is, counting from 1.
    pub sequence: u64,
    /// When it was committed; never before the one before.
    pub at: Timestamp,
    /// Why, if its author said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// What was changed.
    pub changes: Vec<Change>,
    /// What came of each, in order; an edit that made no difference has no effect.
    pub effects: Vec<Effect>,
}

impl Event {
    /// Reads an event from JSON text.
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self, Error> {
        read(json.as_ref(), &Limits::DEFAULT)
    }
}

/// What a change did to one entity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Effect {
    /// What was done.
    pub effect: EffectKind,
    /// What kind of entity it was done to.
    pub entity: EntityKind,
    /// Which; the settings have no id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The entity's version afterwards, or its last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The fields that have become different; those of a draft after a dot, as `draft.traffic`, and
    /// `draft` alone when it was opened or discarded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// The status before a transition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The status after a transition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Whether the experiment's run froze its design, its flag and its segments as they are.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub froze: bool,
}

impl Effect {
    pub(crate) fn new(effect: EffectKind, entity: EntityKind, id: &str, version: u64) -> Self {
        Self {
            effect,
            entity,
            id: Some(id.to_owned()),
            version: Some(version),
            fields: Vec::new(),
            from: None,
            to: None,
            froze: false,
        }
    }
}

codes! {
    /// What a change did.
    #[non_exhaustive]
    pub enum EffectKind {
        /// The entity came to be.
        Created = "created",
        /// The entity is gone.
        Deleted = "deleted",
        /// Fields have become different.
        Edited = "edited",
        /// The status is another.
        Transitioned = "transitioned",
    }
}

codes! {
    /// A kind of entity.
    #[non_exhaustive]
    pub enum EntityKind {
        /// An [`Experiment`](crate::Experiment).
        Experiment = "experiment",
        /// A [`Flag`](crate::Flag).
        Flag = "flag",
        /// A [`Holdout`](crate::Holdout).
        Holdout = "holdout",
        /// A [`Layer`](crate::Layer).
        Layer = "layer",
        /// A [`Metric`](crate::Metric).
        Metric = "metric",
        /// A [`Segment`](crate::Segment).
        Segment = "segment",
        /// The [`Settings`](crate::Settings).
        Settings = "settings",
        /// A [`Variation`](crate::Variation).
        Variation = "variation",
    }
}

impl FromJson for Event {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(&["sequence", "at", "comment", "changes", "effects"])?;
        Ok(Self {
            sequence: object.read("sequence")?,
            at: object.read("at")?,
            comment: object.optional("comment")?,
            changes: object.read("changes")?,
            effects: object.read("effects")?,
        })
    }
}

impl FromJson for Effect {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor
            .object(&["effect", "entity", "id", "version", "fields", "from", "to", "froze"])?;
        Ok(Self {
            effect: object.required("effect")?.one_of(EffectKind::ALL, EffectKind::as_str)?,
            entity: object.required("entity")?.one_of(EntityKind::ALL, EntityKind::as_str)?,
            id: object.optional("id")?,
            version: object.optional("version")?,
            fields: object.or_default("fields")?,
            from: object.optional("from")?,
            to: object.optional("to")?,
            froze: object.or_default("froze")?,
        })
    }
}

deserialize!(Event, Effect);
