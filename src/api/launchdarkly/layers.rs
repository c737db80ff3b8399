//! Layers.
//!
//! LaunchDarkly leaves open, and here it is so:
//! - A layer goes by the project's default randomization unit as it is when the layer is created,
//!   and keeps that; its members go by the same.
//! - The reservations of an environment sum to at most 100 percent. One can change while its
//!   experiment runs, at once, but not to 0; an experiment joins and leaves while it does not run.
//! - An experiment is in one layer at most, in none while it is in a holdout, be that one ended or
//!   not, and joins none while it is archived.
//! - Each instruction counts by itself: where two experiments swap shares, the one that gives comes
//!   first.
//! - A list has all layers unless a `limit` or an `offset` is asked for, since clients have no
//!   parameters for these. Its `filter` takes `reservations.experimentKey contains <key>`, several
//!   of them as alternatives.
//! - A reservation that is no whole number, which only the native API can make, is shown rounded
//!   down.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Experimentation;
use super::answer::{Answer, Refusal};
use super::experiments::{check_halted, find as find_experiment, is_archived, named};
use super::input::new_key;
use super::instructions::text_or_nothing;
use super::list::Counted;
use super::list::Query;
use super::patch::SemanticPatch;
use super::settings::default_unit;
use super::show::state;
use crate::api::call::Call;
use crate::change::{Change, LayerPatch, NewLayer};
use crate::error::Error;
use crate::id::LayerId;
use crate::json::{Cursor, FromJson, Object};
use crate::model::{Experiment, Layer};
use crate::number::Percentage;
use crate::snapshot::Snapshot;

const KINDS: &[&str] =
    &["updateName", "updateDescription", "updateExperimentReservation", "removeExperiment"];

/// What the one kind of term of a filter begins with.
const HAS_EXPERIMENT: &str = "reservations.experimentKey contains ";

/// The body that creates a layer.
struct LayerInput {
    key: String,
    name: String,
    description: String,
}

enum Instruction {
    UpdateName(String),
    UpdateDescription(String),
    Reserve { experiment: String, share: Percentage },
    Remove { experiment: String },
}

impl FromJson for LayerInput {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.open_object()?;
        Ok(Self {
            key: new_key(&object)?,
            name: object.read("name")?,
            description: object.read("description")?,
        })
    }
}

impl Instruction {
    fn read(kind: &str, object: &Object<'_>) -> Result<Self, Error> {
        Ok(match kind {
            "updateName" => Self::UpdateName(object.read("name")?),
            "updateDescription" => Self::UpdateDescription(object.read("description")?),
            "updateExperimentReservation" => Self::Reserve {
                experiment: object.read("experimentKey")?,
                share: read_share(object.required("reservationPercent")?)?,
            },
            _ => Self::Remove { experiment: object.read("experimentKey")? },
        })
    }

    /// Whether it is about one environment.
    fn is_local(&self) -> bool {
        matches!(self, Self::Reserve { .. } | Self::Remove { .. })
    }
}

impl Experimentation {
    pub(super) fn list_layers(&self, query: &Query) -> Result<Answer, Refusal> {
        let mut wanted = Vec::new();
        for term in query.list("filter") {
            let key = term.strip_prefix(HAS_EXPERIMENT).map(|key| key.trim().trim_matches('"'));
            wanted.push(key.ok_or_else(|| {
                let reason = format!("must have terms of {HAS_EXPERIMENT}<key>; got {term:?}");
                Refusal::invalid("filter", reason)
            })?);
        }
        let snapshot = self.engine.snapshot();
        let ids = wanted.iter().filter_map(|key| find_experiment(&snapshot, key).ok());
        let ids: Vec<_> = ids.map(Experiment::id).collect();
        let admits = |layer: &&Layer| {
            let mut own = ids.iter();
            wanted.is_empty() || own.any(|id| layer.members().contains_key(*id))
        };
        let mut layers: Vec<&Layer> = snapshot.layers().filter(admits).collect();
        layers.sort_unstable_by_key(|own| (own.created_at(), own.id()));
        let (page, total_count, links) = query.page_or_all(layers, &self.in_project("/layers"))?;
        let items: Vec<_> = page.into_iter().map(|own| self.shown_layer(&snapshot, own)).collect();
        Ok(Answer::ok(&Counted { items, total_count, links }))
    }

    pub(super) fn create_layer(&self, call: Call<'_>) -> Result<Answer, Refusal> {
        let input: LayerInput = call.read(|cursor| cursor.read())?;
        let id = LayerId::random()?;
        let commit = self.engine.commit_with(|snapshot| {
            let new = NewLayer::new(input.name.clone(), default_unit(snapshot));
            let mut new = new.id(id.clone()).key(input.key.clone());
            new.description = Some(input.description.clone()).filter(|text| !text.is_empty());
            Ok::<_, Refusal>(new)
        })?;
        let layer = find(&commit.snapshot, id.as_str())?;
        Ok(Answer::created(&self.shown_layer(&commit.snapshot, layer)))
    }

    pub(super) fn patch_layer(&self, key: &str, call: Call<'_>) -> Result<Answer, Refusal> {
        find(&self.engine.snapshot(), key)?;
        let patch = SemanticPatch::read(call, KINDS, Instruction::read)?;
        if patch.instructions().any(Instruction::is_local) {
            self.check_patched_environment(patch.environment.as_deref())?;
        }
        let commit = self.carry_out(
            &patch,
            |_| None,
            |snapshot, instruction| step(snapshot, find(snapshot, key)?, instruction),
        )?;
        let layer = find(&commit.snapshot, key)?;
        Ok(Answer::ok(&self.shown_layer(&commit.snapshot, layer)))
    }

    fn shown_layer<'s>(&'s self, snapshot: &'s Snapshot, layer: &'s Layer) -> ShownLayer<'s> {
        let members = layer.members().iter();
        let mut reservations: Vec<_> = members
            .filter_map(|(id, share)| {
                let experiment = snapshot.experiment(id)?;
                let flag = snapshot.flag(experiment.flag_id());
                Some(ShownReservation {
                    experiment_key: crate::api::key_of(experiment),
                    flag_key: flag
                        .map_or(experiment.flag_id().as_str(), |flag| super::flags::key_of(flag)),
                    reservation_percent: share.millionths() / Percentage::ONE.millionths(),
                })
            })
            .collect();
        reservations.sort_unstable_by_key(|own| own.experiment_key);
        ShownLayer {
            key: key_of(layer),
            name: layer.name().as_str(),
            description: layer.description().map(|text| text.as_str()).unwrap_or_default(),
            created_at: layer.created_at().unix_millis(),
            randomization_unit: layer.subject_kind().as_str(),
            environments: BTreeMap::from([(
                &*self.environment,
                ShownReservations { reservations },
            )]),
        }
    }
}

/// What programs call a layer by.
pub(super) fn key_of(layer: &Layer) -> &str {
    layer.key().map_or(layer.id().as_str(), |key| key.as_str())
}

/// The layer of this key, or of this id, which it shows as its key if it has none.
fn find<'s>(snapshot: &'s Snapshot, key: &str) -> Result<&'s Layer, Refusal> {
    let found = snapshot.layer_by_key(key).or_else(|| snapshot.layer(key));
    found.ok_or_else(|| Refusal::not_found("layer", key))
}

/// Reads a share of a layer, of which LaunchDarkly has no decimals.
fn read_share(cursor: Cursor<'_>) -> Result<Percentage, Error> {
    let whole = cursor.u64().ok().and_then(|number| u32::try_from(number).ok());
    whole.and_then(|number| Percentage::try_from(number).ok()).ok_or_else(|| {
        let rule = "must be a whole number from 0 to 100";
        cursor.locate(Error::invalid(rule).with_value(&cursor.preview()))
    })
}

/// The changes that an instruction comes to.
fn step(
    snapshot: &Snapshot,
    layer: &Layer,
    instruction: &Instruction,
) -> Result<Vec<Change>, Refusal> {
    let patch = match instruction {
        Instruction::UpdateName(name) => LayerPatch::new().name(name),
        Instruction::UpdateDescription(text) => {
            LayerPatch { description: text_or_nothing(text), ..LayerPatch::new() }
        }
        Instruction::Reserve { experiment, share } => {
            let experiment = find_experiment(snapshot, experiment)?;
            if !layer.members().contains_key(experiment.id()) {
                check_can_join(snapshot, layer, experiment)?;
            }
            if share.is_zero() && state(experiment) == "running" {
                let reason = format!("must be above 0 while {} is running", named(experiment));
                return Err(Refusal::invalid("reservationPercent", reason));
            }
            LayerPatch::new().member(experiment.id().clone(), *share)
        }
        Instruction::Remove { experiment } => {
            let experiment = find_experiment(snapshot, experiment)?;
            if layer.members().contains_key(experiment.id()) {
                check_halted(experiment, "experimentKey")?;
            }
            LayerPatch::new().without(experiment.id().clone())
        }
    };
    Ok(vec![Change::patch_layer(layer.id(), patch)])
}

/// Checks that an experiment can become a member, in LaunchDarkly's words.
fn check_can_join(
    snapshot: &Snapshot,
    layer: &Layer,
    experiment: &Experiment,
) -> Result<(), Refusal> {
    let refuse = |reason: String| Err(Refusal::invalid("experimentKey", reason));
    let name = named(experiment);
    if is_archived(experiment) {
        return refuse(format!("{name} is archived; restore it first"));
    }
    if let Some(holdout) = snapshot.holdouts_of(experiment.id()).next() {
        let holdout = super::holdouts::key_of(holdout);
        return refuse(format!("{name} is in holdout {holdout}, and can be in that or in a layer"));
    }
    if let Some(other) = snapshot.layer_of(experiment.id()) {
        let other = key_of(other);
        return refuse(format!("{name} is in layer {other}; remove it from there first"));
    }
    let (own, unit) = (experiment.subject_kind(), layer.subject_kind());
    if own != unit {
        return refuse(format!(
            "must have the layer's randomizationUnit, {unit}; {name} has {own}"
        ));
    }
    check_halted(experiment, "experimentKey")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownLayer<'s> {
    key: &'s str,
    name: &'s str,
    description: &'s str,
    created_at: i64,
    randomization_unit: &'s str,
    environments: BTreeMap<&'s str, ShownReservations<'s>>,
}

#[derive(Serialize)]
struct ShownReservations<'s> {
    reservations: Vec<ShownReservation<'s>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownReservation<'s> {
    experiment_key: &'s str,
    flag_key: &'s str,
    reservation_percent: u64,
}
