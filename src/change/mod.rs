//! How what is held changes: plain data, applied whole or not at all.

mod apply;
mod create;
mod event;
mod iteration;
mod json;
mod lifecycle;
mod make;
mod mutability;
mod patch;
mod transaction;

use serde::Serialize;

pub use apply::Commit;
pub use create::{
    NewExperiment, NewFlag, NewHoldout, NewLayer, NewMetric, NewSegment, NewVariation,
};
pub use event::{Effect, EffectKind, EntityKind, Event};
pub use mutability::Field;
pub use patch::{
    AnalysisPatch, DraftPatch, ExperimentPatch, FlagPatch, HoldoutPatch, LayerPatch, Patch,
    SegmentPatch, SettingsPatch, VariationPatch,
};
pub use transaction::Transaction;

use crate::error::Error;
use crate::id::{ExperimentId, FlagId, HoldoutId, LayerId, MetricId, SegmentId, VariationId};
use crate::json::{Limits, read};
use crate::model::{Carryover, FlagStatus, Salt, SegmentStatus, Status};
use crate::number::Percentage;

/// One change of what is held, as plain data.
///
/// Every patch, transition, reshuffle and deletion can carry `if_version`: it is then refused, as a
/// conflict, unless that is the entity's present version.
///
/// In JSON a change is an object whose `change` is the variant's name in snake case; the rest are the
/// members of the variant, or for the creations of entities those of what
/// is created:
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
    /// Creates a layer.
    CreateLayer(NewLayer),
    /// Creates a holdout.
    CreateHoldout(NewHoldout),
    /// Adds a variation to a flag that is not archived.
    CreateVariation {
        /// The flag.
        flag_id: FlagId,
        /// The variation.
        variation: NewVariation,
    },
    /// Edits a flag that is not archived. Moves nobody in a running experiment, but for its switch
    /// and its off variation, which take effect at once; see [`Flag`](crate::Flag).
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
    /// Edits a layer. Takes effect at once, also on members that run.
    PatchLayer {
        /// Which.
        id: LayerId,
        /// The version that the change was made for.
        #[serde(skip_serializing_if = "Option::is_none")]
        if_version: Option<u64>,
        /// What becomes different.
        patch: LayerPatch,
    },
    /// Edits a holdout. Takes effect at once, also on experiments that run.
    PatchHoldout {
        /// Which.
        id: HoldoutId,
        /// The version that the change was made for.
        #[serde(skip_serializing_if = "Option::is_none")]
        if_version: Option<u64>,
        /// What becomes different.
        patch: HoldoutPatch,
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
    /// Moves an experiment along its lifecycle; see [`Status::can_become`]. From `completed` to
    /// `active` only [`StartIteration`](Self::StartIteration) leads.
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
    /// Deletes a variation. Refused while an experiment that is not archived names it, and while it is
    /// its flag's off variation.
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
    /// Deletes an experiment that is not active and in no layer or holdout, for good.
    DeleteExperiment {
        /// Which.
        id: ExperimentId,
        /// The version that the change was made for.
        #[serde(skip_serializing_if = "Option::is_none")]
        if_version: Option<u64>,
    },
    /// Deletes a layer that has no members.
    DeleteLayer {
        /// Which.
        id: LayerId,
        /// The version that the change was made for.
        #[serde(skip_serializing_if = "Option::is_none")]
        if_version: Option<u64>,
    },
    /// Deletes a holdout that has no experiments.
    DeleteHoldout {
        /// Which.
        id: HoldoutId,
        /// The version that the change was made for.
        #[serde(skip_serializing_if = "Option::is_none")]
        if_version: Option<u64>,
    },
    /// Ends a holdout, for good: from now on it holds nobody out. One that has ended stays as it is.
    EndHoldout {
        /// Which.
        id: HoldoutId,
        /// The version that the change was made for.
        #[serde(skip_serializing_if = "Option::is_none")]
        if_version: Option<u64>,
    },
    /// Creates a metric.
    CreateMetric(NewMetric),
    /// Deletes a metric. Refused while an experiment that is not archived names it, or a group.
    DeleteMetric {
        /// Which.
        id: MetricId,
        /// The version that the change was made for.
        #[serde(skip_serializing_if = "Option::is_none")]
        if_version: Option<u64>,
    },
    /// Opens the [`Draft`](crate::Draft) of an experiment's next iteration as a copy of its present
    /// design, if there is none, and edits it. Not of an experiment that is a draft itself, which is
    /// edited by [`PatchExperiment`](Self::PatchExperiment), nor of one that is archived.
    DraftIteration {
        /// Which.
        id: ExperimentId,
        /// The version that the change was made for.
        #[serde(skip_serializing_if = "Option::is_none")]
        if_version: Option<u64>,
        /// What becomes different about the draft.
        patch: DraftPatch,
    },
    /// Discards the draft of an experiment's next iteration. Without one it makes no difference.
    DiscardDraft {
        /// Which.
        id: ExperimentId,
        /// The version that the change was made for.
        #[serde(skip_serializing_if = "Option::is_none")]
        if_version: Option<u64>,
    },
    /// Starts the next iteration of an experiment that is not archived and not
    /// [shelved](Self::ShelveExperiment), as far as it is [ready](crate::Readiness).
    ///
    /// A draft is activated for the first time. From any other status the
    /// [draft beside it](crate::Experiment::draft), or else a copy of the present design, becomes
    /// the experiment's design, is frozen as a first one is, and runs under the next number, a ramp
    /// from its first level on. The iteration before ends now, unless it was completed, and is kept
    /// as [previous](crate::Experiment::previous_iterations).
    ///
    /// From `active` and `paused` the salt stays, and as few subjects move as the new weights allow:
    /// with the same design nobody does. Another salt, or `reshuffle`, draws everybody anew, unless
    /// [`can_reshuffle`](crate::Experiment::can_reshuffle) forbids it. From `completed` the salt is
    /// always a new one unless it is given: stopping ends the split.
    StartIteration {
        /// Which.
        id: ExperimentId,
        /// The version that the change was made for.
        #[serde(skip_serializing_if = "Option::is_none")]
        if_version: Option<u64>,
        /// Whether to draw everybody anew.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        reshuffle: bool,
        /// The salt; the present one unless given, and a random one if everybody is drawn anew.
        #[serde(skip_serializing_if = "Option::is_none")]
        salt: Option<Salt>,
        /// What becomes of those who are in when the traffic grows and the salt stays.
        #[serde(skip_serializing_if = "Carryover::is_default")]
        carryover: Carryover,
    },
    /// Stops the iteration of an active or paused experiment, which becomes completed; see
    /// [`Iteration::winner`](crate::Iteration::winner).
    ///
    /// A winner that is shipped is served, as [`Reason::Shipped`](crate::Reason::Shipped), until a
    /// new iteration starts or the experiment is archived: to all whom the holdouts and the audience
    /// let pass, whatever slots, traffic, schedule and weights say. No id is needed unless a holdout
    /// asks for it. Whoever is held out or outside the audience gets the outside variation, as ever.
    StopIteration {
        /// Which.
        id: ExperimentId,
        /// The version that the change was made for.
        #[serde(skip_serializing_if = "Option::is_none")]
        if_version: Option<u64>,
        /// The arm of the iteration that came out best.
        #[serde(skip_serializing_if = "Option::is_none")]
        winner: Option<VariationId>,
        /// Why it is the winner, in at most 2048 characters of free text.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Whether to serve the winner to everyone eligible.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        ship: bool,
    },
    /// Puts an experiment that is a draft or completed on the shelf, or takes it off: a mark beside
    /// the status, under which it cannot be activated or started. A winner that is shipped goes on
    /// being served.
    ShelveExperiment {
        /// Which.
        id: ExperimentId,
        /// The version that the change was made for.
        #[serde(skip_serializing_if = "Option::is_none")]
        if_version: Option<u64>,
        /// Whether it is to be on the shelf.
        shelved: bool,
    },
}

impl Change {
    /// Reads a change from JSON text, more strictly than serde alone can: a number that 64 bits
    /// cannot hold is refused, not rounded.
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self, Error> {
        read(json.as_ref(), &Limits::DEFAULT)
    }
}
