//! How what is held changes: plain data, applied whole or not at all.

mod apply;
mod create;
mod event;
mod lifecycle;
mod mutability;
mod patch;

use serde::Serialize;

pub use apply::Commit;
pub use create::{NewExperiment, NewFlag, NewSegment, NewVariation};
pub use event::{Effect, EffectKind, EntityKind, Event};
pub use mutability::Field;
pub use patch::{ExperimentPatch, FlagPatch, Patch, SegmentPatch, SettingsPatch, VariationPatch};

use crate::error::Error;
use crate::id::{ExperimentId, FlagId, SegmentId, VariationId};
use crate::json::{Cursor, FromJson, Limits, Object, deserialize, read};
use crate::model::{FlagStatus, Salt, SegmentStatus, Status};
use crate::number::Percentage;

/// One change of what is held, as plain data.
///
/// Every patch, transition, reshuffle and deletion can carry `if_version`: it is then refused, as a
/// conflict, unless that is the entity's present version.
///
/// In JSON a change is an object whose `change` is the variant's name in snake case; the rest are the
/// members of the variant, or for `create_flag`, `create_segment` and `create_experiment` those of
/// what is created:
///
/// ```
/// use variate::{Change, ExperimentPatch};
///
/// let change = Change::from_json(r#"{
///     "change": "patch_experiment",
///     "id": "exp_signinScreen",
///     "if_version": 3,
///     "patch": {"traffic": 50, "description": null}
/// }"#)?;
/// let patch = ExperimentPatch::new().traffic("50".parse()?).clear_description();
/// let same = Change::patch_experiment(&"exp_signinScreen".parse()?, patch).if_version(3);
/// assert_eq!(change, same);
/// # Ok::<(), variate::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// Creates a flag, as a draft.
    CreateFlag(NewFlag),
    /// Creates a segment.
    CreateSegment(NewSegment),
    /// Creates an experiment, as a draft.
    CreateExperiment(NewExperiment),
    /// Adds a variation to a flag that is not archived.
    CreateVariation {
        /// The flag.
        flag_id: FlagId,
        /// The variation.
        variation: NewVariation,
    },
    /// Edits a flag that is not archived. Moves nobody in a running experiment.
    PatchFlag {
        /// Which.
        id: FlagId,
        /// The version that the change was made for.
        #[serde(skip_serializing_if = "Option::is_none")]
        if_version: Option<u64>,
        /// What becomes different.
        patch: FlagPatch,
    },
    /// Edits a variation of a flag that is not archived. Moves nobody in a running experiment.
    PatchVariation {
        /// Which.
        id: VariationId,
        /// The version that the change was made for.
        #[serde(skip_serializing_if = "Option::is_none")]
        if_version: Option<u64>,
        /// What becomes different.
        patch: VariationPatch,
    },
    /// Edits a segment that is not archived. Moves nobody in a running experiment.
    PatchSegment {
        /// Which.
        id: SegmentId,
        /// The version that the change was made for.
        #[serde(skip_serializing_if = "Option::is_none")]
        if_version: Option<u64>,
        /// What becomes different.
        patch: SegmentPatch,
    },
    /// Edits an experiment, as far as its status allows; see [`Status::can_change`].
    PatchExperiment {
        /// Which.
        id: ExperimentId,
        /// The version that the change was made for.
        #[serde(skip_serializing_if = "Option::is_none")]
        if_version: Option<u64>,
        /// What becomes different.
        patch: ExperimentPatch,
    },
    /// Edits what holds for all entities.
    PatchSettings {
        /// What becomes different.
        patch: SettingsPatch,
    },
    /// Moves a flag along its lifecycle; see [`FlagStatus::can_become`].
    SetFlagStatus {
        /// Which.
        id: FlagId,
        /// The version that the change was made for.
        #[serde(skip_serializing_if = "Option::is_none")]
        if_version: Option<u64>,
        /// Where to.
        status: FlagStatus,
    },
    /// Moves a segment along its lifecycle; see [`SegmentStatus::can_become`].
    SetSegmentStatus {
        /// Which.
        id: SegmentId,
        /// The version that the change was made for.
        #[serde(skip_serializing_if = "Option::is_none")]
        if_version: Option<u64>,
        /// Where to.
        status: SegmentStatus,
    },
    /// Moves an experiment along its lifecycle; see [`Status::can_become`].
    SetExperimentStatus {
        /// Which.
        id: ExperimentId,
        /// The version that the change was made for.
        #[serde(skip_serializing_if = "Option::is_none")]
        if_version: Option<u64>,
        /// Where to.
        status: Status,
        /// Whether a resumed run is to rest on the flag and segments as they are now, even though
        /// its own design was not edited. Only for status `active`.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        refresh: bool,
    },
    /// Raises the traffic of an active experiment that is a ramp to its next level. The level that
    /// it stands at makes no difference, in any status but `draft`.
    AdvanceRamp {
        /// Which.
        id: ExperimentId,
        /// The version that the change was made for.
        #[serde(skip_serializing_if = "Option::is_none")]
        if_version: Option<u64>,
        /// The next level.
        level: Percentage,
    },
    /// Draws anew who gets what: gives a draft or paused experiment another salt. In JSON
    /// `reshuffle`.
    Reshuffle {
        /// Which.
        id: ExperimentId,
        /// The version that the change was made for.
        #[serde(skip_serializing_if = "Option::is_none")]
        if_version: Option<u64>,
        /// The new salt; a random one unless given.
        #[serde(skip_serializing_if = "Option::is_none")]
        salt: Option<Salt>,
    },
    /// Deletes a flag and its variations. Refused while an experiment that is not archived names
    /// it.
    DeleteFlag {
        /// Which.
        id: FlagId,
        /// The version that the change was made for.
        #[serde(skip_serializing_if = "Option::is_none")]
        if_version: Option<u64>,
    },
    /// Deletes a variation. Refused while an experiment that is not archived names it.
    DeleteVariation {
        /// Which.
        id: VariationId,
        /// The version that the change was made for.
        #[serde(skip_serializing_if = "Option::is_none")]
        if_version: Option<u64>,
    },
    /// Deletes a segment. Refused while an experiment that is not archived names it.
    DeleteSegment {
        /// Which.
        id: SegmentId,
        /// The version that the change was made for.
        #[serde(skip_serializing_if = "Option::is_none")]
        if_version: Option<u64>,
    },
    /// Deletes an experiment that is not active, for good.
    DeleteExperiment {
        /// Which.
        id: ExperimentId,
        /// The version that the change was made for.
        #[serde(skip_serializing_if = "Option::is_none")]
        if_version: Option<u64>,
    },
}

impl Change {
    /// Reads a change from JSON text, more strictly than serde alone can: a number that 64 bits
    /// cannot hold is refused, not rounded.
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self, Error> {
        read(json.as_ref(), &Limits::DEFAULT)
    }

    /// Adds a variation to a flag.
    pub fn create_variation(flag_id: &FlagId, variation: NewVariation) -> Self {
        Self::CreateVariation { flag_id: flag_id.clone(), variation }
    }

    /// Edits a flag.
    pub fn patch_flag(id: &FlagId, patch: FlagPatch) -> Self {
        Self::PatchFlag { id: id.clone(), if_version: None, patch }
    }

    /// Edits a variation.
    pub fn patch_variation(id: &VariationId, patch: VariationPatch) -> Self {
        Self::PatchVariation { id: id.clone(), if_version: None, patch }
    }

    /// Edits a segment.
    pub fn patch_segment(id: &SegmentId, patch: SegmentPatch) -> Self {
        Self::PatchSegment { id: id.clone(), if_version: None, patch }
    }

    /// Edits an experiment.
    pub fn patch_experiment(id: &ExperimentId, patch: ExperimentPatch) -> Self {
        Self::PatchExperiment { id: id.clone(), if_version: None, patch }
    }

    /// Edits what holds for all entities.
    pub fn patch_settings(patch: SettingsPatch) -> Self {
        Self::PatchSettings { patch }
    }

    /// Moves a flag along its lifecycle.
    pub fn set_flag_status(id: &FlagId, status: FlagStatus) -> Self {
        Self::SetFlagStatus { id: id.clone(), if_version: None, status }
    }

    /// Moves a segment along its lifecycle.
    pub fn set_segment_status(id: &SegmentId, status: SegmentStatus) -> Self {
        Self::SetSegmentStatus { id: id.clone(), if_version: None, status }
    }

    /// Moves an experiment along its lifecycle.
    pub fn set_experiment_status(id: &ExperimentId, status: Status) -> Self {
        Self::SetExperimentStatus { id: id.clone(), if_version: None, status, refresh: false }
    }

    /// Resumes a paused experiment on the flag and segments as they are now.
    pub fn resume_refreshed(id: &ExperimentId) -> Self {
        let status = Status::Active;
        Self::SetExperimentStatus { id: id.clone(), if_version: None, status, refresh: true }
    }

    /// Raises a ramp to its next level.
    pub fn advance_ramp(id: &ExperimentId, level: Percentage) -> Self {
        Self::AdvanceRamp { id: id.clone(), if_version: None, level }
    }

    /// Gives an experiment a new random salt.
    pub fn reshuffle(id: &ExperimentId) -> Self {
        Self::Reshuffle { id: id.clone(), if_version: None, salt: None }
    }

    /// Deletes a flag and its variations.
    pub fn delete_flag(id: &FlagId) -> Self {
        Self::DeleteFlag { id: id.clone(), if_version: None }
    }

    /// Deletes a variation.
    pub fn delete_variation(id: &VariationId) -> Self {
        Self::DeleteVariation { id: id.clone(), if_version: None }
    }

    /// Deletes a segment.
    pub fn delete_segment(id: &SegmentId) -> Self {
        Self::DeleteSegment { id: id.clone(), if_version: None }
    }

    /// Deletes an experiment.
    pub fn delete_experiment(id: &ExperimentId) -> Self {
        Self::DeleteExperiment { id: id.clone(), if_version: None }
    }

    /// The same change, refused unless the entity is of this version. In a transaction every change
    /// counts, so only the first of an entity can carry the version that its author saw. Creations
    /// and settings have no version and stay as they are.
    pub fn if_version(mut self, version: u64) -> Self {
        match &mut self {
            Self::PatchFlag { if_version, .. }
            | Self::PatchVariation { if_version, .. }
            | Self::PatchSegment { if_version, .. }
            | Self::PatchExperiment { if_version, .. }
            | Self::SetFlagStatus { if_version, .. }
            | Self::SetSegmentStatus { if_version, .. }
            | Self::SetExperimentStatus { if_version, .. }
            | Self::AdvanceRamp { if_version, .. }
            | Self::Reshuffle { if_version, .. }
            | Self::DeleteFlag { if_version, .. }
            | Self::DeleteVariation { if_version, .. }
            | Self::DeleteSegment { if_version, .. }
            | Self::DeleteExperiment { if_version, .. } => *if_version = Some(version),
            Self::CreateFlag(_)
            | Self::CreateSegment(_)
            | Self::CreateExperiment(_)
            | Self::CreateVariation { .. }
            | Self::PatchSettings { .. } => {}
        }
        self
    }
}

/// Changes that take effect together or not at all, and why they are made.
///
/// Each change sees what those before it have done. Anything that is a change, or a list of them,
/// is a transaction.
///
/// ```
/// use variate::{Change, Engine, FlagStatus, NewFlag, NewVariation, Transaction};
///
/// let engine = Engine::new();
/// let flag = NewFlag::new("Sign-in screen")
///     .id("flg_signinScreen".parse()?)
///     .parameter("headline", "Welcome back")
///     .variation(NewVariation::new("control"))
///     .variation(NewVariation::new("short").with("headline", "Hi"));
/// let start = Change::set_flag_status(&"flg_signinScreen".parse()?, FlagStatus::Active);
/// let both = Transaction::from(vec![flag.into(), start]).comment("the autumn test");
/// let commit = engine.commit(both)?;
/// assert_eq!(commit.event.unwrap().comment.as_deref(), Some("the autumn test"));
/// # Ok::<(), variate::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct Transaction {
    /// What changes, in order.
    pub changes: Vec<Change>,
    /// Why, for whoever reads the events: at most 4096 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl Transaction {
    /// The same changes with a reason.
    pub fn comment(mut self, comment: impl Into<String>) -> Self {
        self.comment = Some(comment.into());
        self
    }

    /// Reads a transaction from JSON text: an object with `changes`, a list of [`Change`]s, and
    /// perhaps `comment`.
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self, Error> {
        read(json.as_ref(), &Limits::DEFAULT)
    }
}

impl From<Vec<Change>> for Transaction {
    fn from(changes: Vec<Change>) -> Self {
        Self { changes, comment: None }
    }
}

impl<const N: usize> From<[Change; N]> for Transaction {
    fn from(changes: [Change; N]) -> Self {
        Self::from(Vec::from(changes))
    }
}

impl From<Change> for Transaction {
    fn from(change: Change) -> Self {
        Self::from(vec![change])
    }
}

impl<C: Into<Change>> FromIterator<C> for Transaction {
    fn from_iter<I: IntoIterator<Item = C>>(changes: I) -> Self {
        Self::from(changes.into_iter().map(Into::into).collect::<Vec<Change>>())
    }
}

macro_rules! creations {
    ($($new:ident $variant:ident,)+) => {$(
        impl From<$new> for Change {
            fn from(new: $new) -> Self {
                Self::$variant(new)
            }
        }

        impl From<$new> for Transaction {
            fn from(new: $new) -> Self {
                Self::from(Change::from(new))
            }
        }
    )+};
}

creations! {
    NewFlag CreateFlag,
    NewSegment CreateSegment,
    NewExperiment CreateExperiment,
}

impl FromJson for Transaction {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(&["changes", "comment"])?;
        Ok(Self { changes: object.read("changes")?, comment: object.optional("comment")? })
    }
}

impl FromJson for Change {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        macro_rules! change {
            ($variant:ident $($field:ident)+) => {{
                let object = cursor.object(&["change", $(stringify!($field)),+])?;
                Self::$variant { $($field: Member::member(&object, stringify!($field))?),+ }
            }};
        }
        const TAG: Option<&str> = Some("change");
        const NAMES: &[&str] = &[
            "create_flag",
            "create_segment",
            "create_experiment",
            "create_variation",
            "patch_flag",
            "patch_variation",
            "patch_segment",
            "patch_experiment",
            "patch_settings",
            "set_flag_status",
            "set_segment_status",
            "set_experiment_status",
            "advance_ramp",
            "reshuffle",
            "delete_flag",
            "delete_variation",
            "delete_segment",
            "delete_experiment",
        ];
        Ok(match cursor.tag("change")?.one_of(NAMES, |name| name)? {
            "create_flag" => Self::CreateFlag(NewFlag::tagged(cursor, TAG)?),
            "create_segment" => Self::CreateSegment(NewSegment::tagged(cursor, TAG)?),
            "create_experiment" => Self::CreateExperiment(NewExperiment::tagged(cursor, TAG)?),
            "create_variation" => change!(CreateVariation flag_id variation),
            "patch_flag" => change!(PatchFlag id if_version patch),
            "patch_variation" => change!(PatchVariation id if_version patch),
            "patch_segment" => change!(PatchSegment id if_version patch),
            "patch_experiment" => change!(PatchExperiment id if_version patch),
            "patch_settings" => change!(PatchSettings patch),
            "set_flag_status" => change!(SetFlagStatus id if_version status),
            "set_segment_status" => change!(SetSegmentStatus id if_version status),
            "set_experiment_status" => change!(SetExperimentStatus id if_version status refresh),
            "advance_ramp" => change!(AdvanceRamp id if_version level),
            "reshuffle" => change!(Reshuffle id if_version salt),
            "delete_flag" => change!(DeleteFlag id if_version),
            "delete_variation" => change!(DeleteVariation id if_version),
            "delete_segment" => change!(DeleteSegment id if_version),
            _ => change!(DeleteExperiment id if_version),
        })
    }
}

/// The member of a change, required or not as its type says.
trait Member: Sized {
    fn member(object: &Object<'_>, key: &'static str) -> Result<Self, Error>;
}

impl<T: FromJson> Member for Option<T> {
    fn member(object: &Object<'_>, key: &'static str) -> Result<Self, Error> {
        object.optional(key)
    }
}

impl Member for bool {
    fn member(object: &Object<'_>, key: &'static str) -> Result<Self, Error> {
        object.or_default(key)
    }
}

macro_rules! required {
    ($($name:ident)+) => {$(
        impl Member for $name {
            fn member(object: &Object<'_>, key: &'static str) -> Result<Self, Error> {
                object.read(key)
            }
        }
    )+};
}

required! {
    FlagId VariationId SegmentId ExperimentId NewVariation Status FlagStatus SegmentStatus
    FlagPatch VariationPatch SegmentPatch ExperimentPatch SettingsPatch Percentage
}

deserialize!(Change, Transaction);
