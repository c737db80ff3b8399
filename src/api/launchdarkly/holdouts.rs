//! Holdouts.
//!
//! LaunchDarkly leaves open, and here it is so:
//! - `key`, `name` and `holdoutamount` are required. The share is a text or a number from 0 to 100
//!   with at most 3 decimals, and never changes; the unit is the project's default unless named.
//! - A holdout holds out from the moment it is created until it is ended, and no flag is made for
//!   it: who is held out gets the off variation of each experiment's flag. `prerequisiteflagkey`
//!   must be the key of a flag, and that is all that becomes of it.
//! - It is `enabled` as soon as it has an experiment and `running` as soon as one of these has
//!   started; an experiment that leaves can take it back. There is no instruction to declare it
//!   ready.
//! - An experiment joins when it is created, and leaves while it does not run; of a holdout that has
//!   ended, at any time.
//! - The base experiment has one iteration, which began with the first start of one of the
//!   experiments that are in the holdout, but not before the holdout itself. Its two treatments,
//!   `in` and `out`, of which the former is the baseline, and its metrics are always shown.

use serde::Serialize;

use super::Experimentation;
use super::answer::{Answer, Refusal};
use super::experiments::{check_halted, check_unit, find as find_experiment};
use super::input::{ConfigInput, MetricInput, Primary, maybe, new_key, read_percent};
use super::list::{Page, Query};
use super::patch::SemanticPatch;
use super::settings::default_unit;
use super::show::{Expand, HoldoutExpand, ShownExperiment, state};
use super::used;
use crate::api::call::Call;
use crate::change::{Change, HoldoutPatch, NewHoldout, Patch};
use crate::error::Error;
use crate::id::HoldoutId;
use crate::json::{Cursor, FromJson, Object};
use crate::model::{Analysis, AnalysisKind, Description, Experiment, Holdout, Name, SubjectKind};
use crate::number::Percentage;
use crate::snapshot::Snapshot;

const KINDS: &[&str] = &["updateName", "updateDescription", "endHoldout", "removeExperiment"];

/// The body that creates a holdout.
struct HoldoutInput {
    key: String,
    name: String,
    description: Option<String>,
    unit: Option<SubjectKind>,
    share: Percentage,
    primary: Option<String>,
    metrics: Vec<MetricInput>,
    attributes: Vec<String>,
    flag: Option<String>,
    maintainer: Option<String>,
}

enum Instruction {
    UpdateName(Name),
    UpdateDescription(Option<Description>),
    End,
    Remove { experiment: String },
}

impl FromJson for HoldoutInput {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.open_object()?;
        Ok(Self {
            key: new_key(&object)?,
            name: object.read("name")?,
            description: maybe(&object, "description")?,
            unit: maybe(&object, "randomizationunit")?,
            share: read_percent(object.required("holdoutamount")?)?,
            primary: maybe(&object, "primarymetrickey")?,
            metrics: maybe(&object, "metrics")?.unwrap_or_default(),
            attributes: maybe(&object, "attributes")?.unwrap_or_default(),
            flag: maybe(&object, "prerequisiteflagkey")?,
            maintainer: maybe(&object, "maintainerId")?,
        })
    }
}

impl Instruction {
    fn read(kind: &str, object: &Object<'_>) -> Result<Self, Error> {
        Ok(match kind {
            "updateName" => Self::UpdateName(object.read("value")?),
            "updateDescription" => {
                let value = object.required("value")?;
                Self::UpdateDescription(match value.str()? {
                    "" => None,
                    _ => Some(value.read()?),
                })
            }
            "endHoldout" => Self::End,
            _ => Self::Remove { experiment: object.read("value")? },
        })
    }
}

impl Experimentation {
    pub(super) fn list_holdouts(&self, query: &Query) -> Result<Answer, Refusal> {
        let snapshot = self.engine.snapshot();
        let mut holdouts: Vec<&Holdout> = snapshot.holdouts().collect();
        holdouts.sort_unstable_by_key(|own| (own.created_at(), own.id()));
        let (page, total_count, links) = query.page(holdouts, &self.in_environment("/holdouts"))?;
        let items = page.into_iter().map(|own| Listed {
            id: own.id().as_str(),
            key: key_of(own),
            name: own.name().as_str(),
            status: status(&snapshot, own),
            created_at: own.created_at().unix_millis(),
            updated_at: own.updated_at().unix_millis(),
            experiments: members(&snapshot, own).map(|own| self.related(own)).collect(),
        });
        Ok(Answer::ok(&Page { items: items.collect::<Vec<_>>(), total_count, links }))
    }

    pub(super) fn create_holdout(&self, call: Call<'_>) -> Result<Answer, Refusal> {
        let input: HoldoutInput = call.read(|cursor| cursor.read())?;
        let id = HoldoutId::random()?;
        let commit = self.engine.commit_with(|snapshot| {
            if let Some(key) = &input.flag {
                let flag = super::flags::find(snapshot, key);
                flag.ok_or_else(|| Refusal::not_found("flag", key))?;
            }
            let unit =
                input.unit.as_ref().map_or_else(|| default_unit(snapshot), |own| own.as_str());
            check_unit("randomizationunit", snapshot, unit)?;
            let mut new = NewHoldout::new(input.name.clone(), unit, input.share)
                .id(id.clone())
                .key(input.key.clone())
                .analysis(input.analysis(snapshot)?);
            new.description = input.description.clone().filter(|text| !text.is_empty());
            new.maintainer.clone_from(&input.maintainer);
            Ok::<_, Refusal>(new)
        })?;
        let holdout = commit.snapshot.holdout(&id).ok_or_else(|| missing(id.as_str()))?;
        Ok(Answer::created(&self.shown_holdout(&commit.snapshot, holdout)))
    }

    pub(super) fn get_holdout(&self, query: &Query, key: &str) -> Result<Answer, Refusal> {
        let expand = HoldoutExpand::read(query)?;
        let snapshot = self.engine.snapshot();
        let holdout = find_by_key(&snapshot, key)?;
        let is_running = |own: &Experiment| state(own) == "running";
        let related = members(&snapshot, holdout);
        Ok(Answer::ok(&ShownHoldout {
            base_experiment: self.shown_base(&snapshot, holdout, expand.own),
            experiments: None,
            is_dirty: Some(
                holdout.ended_at().is_none() && members(&snapshot, holdout).any(is_running),
            ),
            related_experiments: Some(
                related.map(|own| self.shown_experiment(&snapshot, own, expand.related)).collect(),
            ),
            ..self.shown_holdout(&snapshot, holdout)
        }))
    }

    pub(super) fn get_holdout_by_id(&self, id: &str) -> Result<Answer, Refusal> {
        let snapshot = self.engine.snapshot();
        let holdout = snapshot.holdout(id).ok_or_else(|| missing(id))?;
        Ok(Answer::ok(&self.shown_holdout(&snapshot, holdout)))
    }

    pub(super) fn patch_holdout(&self, key: &str, call: Call<'_>) -> Result<Answer, Refusal> {
        find_by_key(&self.engine.snapshot(), key)?;
        let patch = SemanticPatch::read(call, KINDS, Instruction::read)?;
        let commit = self.carry_out(
            &patch,
            |_| None,
            |snapshot, instruction| step(snapshot, find_by_key(snapshot, key)?, instruction),
        )?;
        let holdout = find_by_key(&commit.snapshot, key)?;
        Ok(Answer::ok(&self.shown_holdout(&commit.snapshot, holdout)))
    }

    fn shown_holdout<'s>(
        &'s self,
        snapshot: &'s Snapshot,
        holdout: &'s Holdout,
    ) -> ShownHoldout<'s> {
        let related = members(snapshot, holdout).map(|own| self.related(own));
        ShownHoldout {
            id: holdout.id().as_str(),
            status: status(snapshot, holdout),
            description: holdout.description().map(|text| text.as_str()),
            holdout_amount: holdout.share().to_string(),
            is_dirty: None,
            created_at: holdout.created_at().unix_millis(),
            updated_at: holdout.updated_at().unix_millis(),
            base_experiment: self.shown_base(snapshot, holdout, Expand::default()),
            experiments: Some(related.collect()),
            related_experiments: None,
        }
    }

    /// An experiment as a list shows it.
    fn related<'s>(&'s self, experiment: &'s Experiment) -> Related<'s> {
        Related {
            key: crate::api::key_of(experiment),
            name: experiment.name().as_str(),
            environment: &self.environment,
        }
    }
}

impl HoldoutInput {
    /// How those who are held out are to be compared with the others.
    fn analysis(&self, snapshot: &Snapshot) -> Result<Analysis, Refusal> {
        let kind = AnalysisKind::Holdout.as_str();
        let plain = super::analysis::analysis(Some(kind), None, None, &ConfigInput::default())?;
        let mut metrics = Vec::new();
        used::add(snapshot, &mut metrics, &self.metrics)?;
        if let Some(key) = &self.primary {
            used::set_primary(snapshot, &mut metrics, &Primary::Either(key.clone()))?;
        }
        Ok(Analysis { metrics, attributes: self.attributes.clone(), ..plain })
    }
}

/// The holdout of this id or key.
pub(super) fn find<'s>(snapshot: &'s Snapshot, id: &str) -> Option<&'s Holdout> {
    snapshot.holdout(id).or_else(|| snapshot.holdout_by_key(id))
}

/// The holdout of this key, or of this id, which it shows as its key if it has none.
fn find_by_key<'s>(snapshot: &'s Snapshot, key: &str) -> Result<&'s Holdout, Refusal> {
    let found = snapshot.holdout_by_key(key).or_else(|| snapshot.holdout(key));
    found.ok_or_else(|| missing(key))
}

/// What programs call a holdout by.
pub(super) fn key_of(holdout: &Holdout) -> &str {
    holdout.key().map_or(holdout.id().as_str(), |key| key.as_str())
}

/// The experiments of a holdout, in the order in which they were created.
pub(super) fn members<'s>(
    snapshot: &'s Snapshot,
    holdout: &'s Holdout,
) -> impl Iterator<Item = &'s Experiment> {
    let own = holdout.experiments().iter().filter_map(|id| snapshot.experiment(id));
    let mut own: Vec<_> = own.collect();
    own.sort_unstable_by_key(|own| (own.created_at(), own.id()));
    own.into_iter()
}

/// The state of a holdout, as LaunchDarkly has it.
pub(super) fn status(snapshot: &Snapshot, holdout: &Holdout) -> &'static str {
    let mut members = members(snapshot, holdout);
    match (holdout.ended_at(), holdout.experiments().is_empty()) {
        (Some(_), _) => "ended",
        (None, true) => "created",
        (None, false) if members.any(|own| state(own) != "not_started") => "running",
        (None, false) => "enabled",
    }
}

fn missing(key: &str) -> Refusal {
    Refusal::not_found("holdout", key)
}

/// The changes that an instruction comes to.
fn step(
    snapshot: &Snapshot,
    holdout: &Holdout,
    instruction: &Instruction,
) -> Result<Vec<Change>, Refusal> {
    let patch = match instruction {
        Instruction::UpdateName(name) => HoldoutPatch::new().name(name.as_str()),
        Instruction::UpdateDescription(text) => {
            let description =
                text.as_ref().map_or(Patch::Clear, |text| Patch::Set(text.to_string()));
            HoldoutPatch { description, ..HoldoutPatch::new() }
        }
        Instruction::End => return Ok(vec![Change::end_holdout(holdout.id())]),
        Instruction::Remove { experiment } => {
            let experiment = find_experiment(snapshot, experiment)?;
            let is_held = holdout.experiments().contains(experiment.id());
            if is_held && holdout.ended_at().is_none() {
                check_halted(experiment, "value")?;
            }
            HoldoutPatch::new().without(experiment.id().clone())
        }
    };
    Ok(vec![Change::patch_holdout(holdout.id(), patch)])
}

/// A holdout by itself: with its experiments in short, or whole.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownHoldout<'s> {
    #[serde(rename = "_id")]
    id: &'s str,
    status: &'s str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'s str>,
    holdout_amount: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_dirty: Option<bool>,
    created_at: i64,
    updated_at: i64,
    base_experiment: ShownExperiment<'s>,
    #[serde(skip_serializing_if = "Option::is_none")]
    experiments: Option<Vec<Related<'s>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    related_experiments: Option<Vec<ShownExperiment<'s>>>,
}

/// A holdout in a list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'s> {
    #[serde(rename = "_id")]
    id: &'s str,
    key: &'s str,
    name: &'s str,
    status: &'s str,
    created_at: i64,
    updated_at: i64,
    experiments: Vec<Related<'s>>,
}

#[derive(Serialize)]
struct Related<'s> {
    key: &'s str,
    name: &'s str,
    environment: &'s str,
}
