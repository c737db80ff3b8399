//! Changes made in code.

use super::{
    Change, ExperimentPatch, FlagPatch, HoldoutPatch, LayerPatch, NewExperiment, NewFlag,
    NewHoldout, NewLayer, NewMetric, NewSegment, NewVariation, SegmentPatch, SettingsPatch,
    Transaction, VariationPatch,
};
use crate::id::{ExperimentId, FlagId, HoldoutId, LayerId, MetricId, SegmentId, VariationId};
use crate::model::{FlagStatus, SegmentStatus, Status};
use crate::number::Percentage;

impl Change {
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

    /// Edits a layer.
    pub fn patch_layer(id: &LayerId, patch: LayerPatch) -> Self {
        Self::PatchLayer { id: id.clone(), if_version: None, patch }
    }

    /// Edits a holdout.
    pub fn patch_holdout(id: &HoldoutId, patch: HoldoutPatch) -> Self {
        Self::PatchHoldout { id: id.clone(), if_version: None, patch }
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

    /// Deletes a layer.
    pub fn delete_layer(id: &LayerId) -> Self {
        Self::DeleteLayer { id: id.clone(), if_version: None }
    }

    /// Deletes a holdout.
    pub fn delete_holdout(id: &HoldoutId) -> Self {
        Self::DeleteHoldout { id: id.clone(), if_version: None }
    }

    /// Ends a holdout.
    pub fn end_holdout(id: &HoldoutId) -> Self {
        Self::EndHoldout { id: id.clone(), if_version: None }
    }

    /// Deletes a metric.
    pub fn delete_metric(id: &MetricId) -> Self {
        Self::DeleteMetric { id: id.clone(), if_version: None }
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
            | Self::PatchLayer { if_version, .. }
            | Self::PatchHoldout { if_version, .. }
            | Self::SetFlagStatus { if_version, .. }
            | Self::SetSegmentStatus { if_version, .. }
            | Self::SetExperimentStatus { if_version, .. }
            | Self::AdvanceRamp { if_version, .. }
            | Self::Reshuffle { if_version, .. }
            | Self::DeleteFlag { if_version, .. }
            | Self::DeleteVariation { if_version, .. }
            | Self::DeleteSegment { if_version, .. }
            | Self::DeleteExperiment { if_version, .. }
            | Self::DeleteLayer { if_version, .. }
            | Self::DeleteHoldout { if_version, .. }
            | Self::EndHoldout { if_version, .. }
            | Self::DraftIteration { if_version, .. }
            | Self::DiscardDraft { if_version, .. }
            | Self::StartIteration { if_version, .. }
            | Self::StopIteration { if_version, .. }
            | Self::ShelveExperiment { if_version, .. }
            | Self::DeleteMetric { if_version, .. } => *if_version = Some(version),
            Self::CreateFlag(_)
            | Self::CreateSegment(_)
            | Self::CreateExperiment(_)
            | Self::CreateLayer(_)
            | Self::CreateHoldout(_)
            | Self::CreateVariation { .. }
            | Self::PatchSettings { .. }
            | Self::CreateMetric(_) => {}
        }
        self
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
    NewLayer CreateLayer,
    NewHoldout CreateHoldout,
    NewMetric CreateMetric,
}
