//! The experimentation settings of the project: the kinds of subjects that experiments go by.
//!
//! LaunchDarkly leaves open, and here it is so:
//! - As long as none has been put, experiments can go by any unit, and what holds for those that
//!   name none is shown: `user`.
//! - What is put replaces all there was, and has exactly one default. Experiments, layers and
//!   holdouts that there are keep their unit.
//! - No unit is hidden, each is displayed by its own name, the project's id is its key, and there is
//!   no date of creation.

use serde::Serialize;

use super::Experimentation;
use super::answer::{Answer, Refusal};
use super::input::maybe;
use super::list::Links;
use crate::api::call::Call;
use crate::change::{Change, SettingsPatch};
use crate::error::Error;
use crate::json::{Cursor, FromJson};
use crate::model::SubjectKind;
use crate::snapshot::Snapshot;

/// The unit of what names none, as long as the settings name none either.
const UNIT: &str = "user";

/// A unit that experiments can go by.
struct UnitInput {
    unit: SubjectKind,
    is_default: bool,
}

impl FromJson for UnitInput {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.open_object()?;
        Ok(Self {
            unit: object.read("randomizationUnit")?,
            is_default: maybe(&object, "default")?.unwrap_or_default(),
        })
    }
}

impl Experimentation {
    pub(super) fn get_settings(&self) -> Answer {
        Answer::ok(&self.shown_settings(&self.engine.snapshot()))
    }

    pub(super) fn put_settings(&self, call: Call<'_>) -> Result<Answer, Refusal> {
        let units: Vec<UnitInput> =
            call.read(|cursor| cursor.open_object()?.read("randomizationUnits"))?;
        let mut defaults = units.iter().filter(|own| own.is_default);
        let (Some(default), None) = (defaults.next(), defaults.next()) else {
            let count = units.iter().filter(|own| own.is_default).count();
            let reason = format!("must have exactly one default; got {count}");
            return Err(Refusal::invalid("randomizationUnits", reason));
        };
        let kinds: Vec<String> = units.iter().map(|own| own.unit.to_string()).collect();
        let patch = SettingsPatch::new()
            .subject_kinds(kinds)
            .default_subject_kind(default.unit.to_string());
        let commit = self.engine.commit(Change::patch_settings(patch))?;
        Ok(Answer::ok(&self.shown_settings(&commit.snapshot)))
    }

    fn shown_settings<'s>(&'s self, snapshot: &'s Snapshot) -> ShownSettings<'s> {
        let default = default_unit(snapshot);
        let kinds = &snapshot.settings().subject_kinds;
        let units = match kinds.is_empty() {
            true => vec![default],
            false => kinds.iter().map(SubjectKind::as_str).collect(),
        };
        let shown = units.into_iter().map(|unit| ShownUnit {
            randomization_unit: unit,
            default: unit == default,
            hidden: false,
            display_name: unit,
        });
        ShownSettings {
            project_id: &self.project,
            project_key: &self.project,
            randomization_units: shown.collect(),
            links: Links::new()
                .and("parent", self.in_project(""))
                .and("self", self.in_project("/experimentation-settings")),
        }
    }
}

/// The unit of what names none.
pub(super) fn default_unit(snapshot: &Snapshot) -> &str {
    snapshot.settings().default_subject_kind.as_ref().map_or(UNIT, SubjectKind::as_str)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownSettings<'s> {
    #[serde(rename = "_projectId")]
    project_id: &'s str,
    #[serde(rename = "_projectKey")]
    project_key: &'s str,
    randomization_units: Vec<ShownUnit<'s>>,
    #[serde(rename = "_links")]
    links: Links,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownUnit<'s> {
    randomization_unit: &'s str,
    default: bool,
    #[serde(rename = "_hidden")]
    hidden: bool,
    #[serde(rename = "_displayName")]
    display_name: &'s str,
}
