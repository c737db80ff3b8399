//! Changes in JSON.

use super::{
    Change, DraftPatch, ExperimentPatch, FlagPatch, HoldoutPatch, LayerPatch, NewExperiment,
    NewFlag, NewHoldout, NewLayer, NewMetric, NewSegment, NewVariation, SegmentPatch,
    SettingsPatch, VariationPatch,
};
use crate::error::Error;
use crate::id::{ExperimentId, FlagId, HoldoutId, LayerId, MetricId, SegmentId, VariationId};
use crate::json::{Cursor, FromJson, Object, deserialize};
use crate::model::{Carryover, FlagStatus, SegmentStatus, Status};
use crate::number::Percentage;

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
            "create_layer",
            "create_holdout",
            "create_variation",
            "patch_flag",
            "patch_variation",
            "patch_segment",
            "patch_experiment",
            "patch_layer",
            "patch_holdout",
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
            "delete_layer",
            "delete_holdout",
            "end_holdout",
            "draft_iteration",
            "discard_draft",
            "start_iteration",
            "stop_iteration",
            "shelve_experiment",
            "create_metric",
            "delete_metric",
        ];
        Ok(match cursor.tag("change")?.one_of(NAMES, |name| name)? {
            "create_flag" => Self::CreateFlag(NewFlag::tagged(cursor, TAG)?),
            "create_segment" => Self::CreateSegment(NewSegment::tagged(cursor, TAG)?),
            "create_experiment" => Self::CreateExperiment(NewExperiment::tagged(cursor, TAG)?),
            "create_layer" => Self::CreateLayer(NewLayer::tagged(cursor, TAG)?),
            "create_holdout" => Self::CreateHoldout(NewHoldout::tagged(cursor, TAG)?),
            "create_variation" => change!(CreateVariation flag_id variation),
            "patch_flag" => change!(PatchFlag id if_version patch),
            "patch_variation" => change!(PatchVariation id if_version patch),
            "patch_segment" => change!(PatchSegment id if_version patch),
            "patch_experiment" => change!(PatchExperiment id if_version patch),
            "patch_layer" => change!(PatchLayer id if_version patch),
            "patch_holdout" => change!(PatchHoldout id if_version patch),
            "patch_settings" => change!(PatchSettings patch),
            "set_flag_status" => change!(SetFlagStatus id if_version status),
            "set_segment_status" => change!(SetSegmentStatus id if_version status),
            "set_experiment_status" => change!(SetExperimentStatus id if_version status refresh),
            "advance_ramp" => change!(AdvanceRamp id if_version level),
            "reshuffle" => change!(Reshuffle id if_version salt),
            "delete_flag" => change!(DeleteFlag id if_version),
            "delete_variation" => change!(DeleteVariation id if_version),
            "delete_segment" => change!(DeleteSegment id if_version),
            "delete_experiment" => change!(DeleteExperiment id if_version),
            "delete_layer" => change!(DeleteLayer id if_version),
            "end_holdout" => change!(EndHoldout id if_version),
            "delete_holdout" => change!(DeleteHoldout id if_version),
            "draft_iteration" => change!(DraftIteration id if_version patch),
            "discard_draft" => change!(DiscardDraft id if_version),
            "start_iteration" => change!(StartIteration id if_version reshuffle salt carryover),
            "stop_iteration" => change!(StopIteration id if_version winner reason ship),
            "shelve_experiment" => {
                let object = cursor.object(&["change", "id", "if_version", "shelved"])?;
                Self::ShelveExperiment {
                    id: object.read("id")?,
                    if_version: object.optional("if_version")?,
                    shelved: object.read("shelved")?,
                }
            }
            "create_metric" => Self::CreateMetric(NewMetric::tagged(cursor, TAG)?),
            _ => change!(DeleteMetric id if_version),
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

macro_rules! defaulted {
    ($($name:ident)+) => {$(
        impl Member for $name {
            fn member(object: &Object<'_>, key: &'static str) -> Result<Self, Error> {
                object.or_default(key)
            }
        }
    )+};
}

defaulted! { bool Carryover }

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
    FlagId VariationId SegmentId ExperimentId LayerId HoldoutId NewVariation Status FlagStatus SegmentStatus
    FlagPatch VariationPatch SegmentPatch ExperimentPatch LayerPatch HoldoutPatch
    SettingsPatch Percentage DraftPatch MetricId
}

deserialize!(Change);
