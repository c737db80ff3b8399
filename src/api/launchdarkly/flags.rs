//! Flags, as far as experiments need them: a flag of LaunchDarkly's is one here whose only parameter
//! is `value`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::Experimentation;
use super::answer::{Answer, Refusal};
use super::input::{maybe, new_key, present};
use super::list::Counted;
use super::list::{Links, Query};
use super::patch::SemanticPatch;
use crate::api::call::Call;
use crate::change::{Change, FlagPatch, NewFlag, NewVariation};
use crate::error::{Code, Error};
use crate::id::{FlagId, VariationId};
use crate::json::{Cursor, FromJson, Object};
use crate::model::{Experiment, Flag, FlagStatus, ParameterType, Status, Variation};
use crate::snapshot::Snapshot;
use crate::time::Timestamp;

/// The parameter that holds the value of a variation.
const VALUE: &str = "value";

/// The most values in a variation.
const MAX_VALUES: usize = 1 << 10;

const KINDS: &[&str] = &["turnFlagOn", "turnFlagOff", "archiveFlag"];

/// The body that creates a flag.
struct FlagInput {
    key: String,
    name: String,
    description: Option<String>,
    variations: Vec<VariationInput>,
    off_variation: Option<usize>,
    is_on: bool,
}

struct VariationInput {
    value: Value,
    name: Option<String>,
    description: Option<String>,
}

enum Instruction {
    TurnOn,
    TurnOff,
    Archive,
}

impl FromJson for FlagInput {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.open_object()?;
        let variations: Option<Vec<VariationInput>> = maybe(&object, "variations")?;
        let both = || {
            [true, false].map(|value| VariationInput {
                value: value.into(),
                name: None,
                description: None,
            })
        };
        let defaults = present(&object, "defaults");
        let off = match defaults {
            Some(defaults) => {
                let index: u32 = defaults.open_object()?.read("offVariation")?;
                usize::try_from(index).ok()
            }
            None => None,
        };
        Ok(Self {
            key: new_key(&object)?,
            name: object.read("name")?,
            description: maybe(&object, "description")?,
            variations: variations.unwrap_or_else(|| both().into()),
            off_variation: off,
            is_on: maybe(&object, "isFlagOn")?.unwrap_or_default(),
        })
    }
}

impl FromJson for VariationInput {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.open_object()?;
        let value = object.required(VALUE)?;
        let rule = || {
            let rule = format!("must have at most {MAX_VALUES} values");
            value.locate(Error::new(Code::LimitExceeded, rule))
        };
        Ok(Self {
            value: value.value(MAX_VALUES).ok_or_else(rule)?,
            name: maybe(&object, "name")?,
            description: maybe(&object, "description")?,
        })
    }
}

impl FlagInput {
    /// The changes that create the flag and make it one that experiments can be on.
    fn changes(self, id: &FlagId) -> Result<Vec<Change>, Refusal> {
        let count = self.variations.len();
        if count < 2 {
            return Err(Refusal::invalid("variations", format!("must be at least 2; got {count}")));
        }
        // Variations are held in the order of their ids, and LaunchDarkly's have one of their own.
        let ids = self.variations.iter().map(|_| VariationId::random());
        let mut ids = ids.collect::<Result<Vec<_>, _>>()?;
        ids.sort_unstable();
        let off = self.off_variation.unwrap_or(count - 1);
        let Some((off_id, off)) = ids.get(off).zip(self.variations.get(off)) else {
            let reason = format!("must be the index of a variation, below {count}; got {off}");
            return Err(Refusal::invalid("defaults.offVariation", reason));
        };
        let kind = ParameterType::of(&off.value);
        let other = |own: &&VariationInput| ParameterType::of(&own.value) != kind;
        if let Some(other) = self.variations.iter().find(other) {
            let reason =
                format!("must all have values of one type; got {} and {}", off.value, other.value);
            return Err(Refusal::invalid("variations", reason));
        }
        let mut new = NewFlag::new(self.name).id(id.clone()).key(self.key);
        new.description = self.description.filter(|text| !text.is_empty());
        new.on = (!self.is_on).then_some(false);
        new.off_variation_id = Some(off_id.clone());
        new = new.parameter(VALUE, off.value.clone());
        for (id, input) in ids.iter().zip(&self.variations) {
            let name = input.name.clone().filter(|name| !name.is_empty());
            let name = name.unwrap_or_else(|| input.value.to_string().chars().take(255).collect());
            let mut variation = NewVariation::new(name).id(id.clone());
            variation.description = input.description.clone().filter(|text| !text.is_empty());
            if input.value != off.value {
                variation = variation.with(VALUE, input.value.clone());
            }
            new = new.variation(variation);
        }
        Ok(vec![new.into(), Change::set_flag_status(id, FlagStatus::Active)])
    }
}

impl Experimentation {
    pub(super) fn create_flag(&self, call: Call<'_>) -> Result<Answer, Refusal> {
        let input: FlagInput = call.read(|cursor| cursor.read())?;
        let id = FlagId::random()?;
        let commit = self.engine.commit(input.changes(&id)?)?;
        let flag = commit.snapshot.flag(&id).ok_or_else(|| missing(id.as_str()))?;
        Ok(Answer::created(&self.shown_flag(&commit.snapshot, flag)))
    }

    pub(super) fn list_flags(&self, query: &Query) -> Result<Answer, Refusal> {
        let snapshot = self.engine.snapshot();
        let mut flags: Vec<&Flag> = snapshot.flags().collect();
        flags.sort_unstable_by_key(|flag| (flag.created_at(), flag.id()));
        let path = format!("/api/v2/flags/{}", self.project);
        let (page, total_count, links) = query.page(flags, &path)?;
        let items: Vec<_> = page.into_iter().map(|flag| self.shown_flag(&snapshot, flag)).collect();
        Ok(Answer::ok(&Counted { items, total_count, links }))
    }

    pub(super) fn get_flag(&self, key: &str) -> Result<Answer, Refusal> {
        let snapshot = self.engine.snapshot();
        let flag = find(&snapshot, key).ok_or_else(|| missing(key))?;
        Ok(Answer::ok(&self.shown_flag(&snapshot, flag)))
    }

    pub(super) fn patch_flag(&self, key: &str, call: Call<'_>) -> Result<Answer, Refusal> {
        find(&self.engine.snapshot(), key).ok_or_else(|| missing(key))?;
        let patch = SemanticPatch::read(call, KINDS, |kind, _: &Object<'_>| {
            Ok(match kind {
                "turnFlagOn" => Instruction::TurnOn,
                "turnFlagOff" => Instruction::TurnOff,
                _ => Instruction::Archive,
            })
        })?;
        let switches = |instruction: &Instruction| !matches!(instruction, Instruction::Archive);
        if patch.instructions().any(switches) {
            self.check_patched_environment(patch.environment.as_deref())?;
        }
        let commit = self.carry_out(
            &patch,
            |_| None,
            |snapshot, instruction| {
                let flag = find(snapshot, key).ok_or_else(|| missing(key))?;
                let switched = |on| vec![Change::patch_flag(flag.id(), FlagPatch::new().on(on))];
                Ok(match instruction {
                    Instruction::TurnOn => switched(true),
                    Instruction::TurnOff => switched(false),
                    Instruction::Archive if flag.status() == FlagStatus::Archived => Vec::new(),
                    Instruction::Archive => {
                        vec![Change::set_flag_status(flag.id(), FlagStatus::Archived)]
                    }
                })
            },
        )?;
        let flag = find(&commit.snapshot, key).ok_or_else(|| missing(key))?;
        Ok(Answer::ok(&self.shown_flag(&commit.snapshot, flag)))
    }

    /// Checks that a patch names the environment that it is for.
    pub(super) fn check_patched_environment(&self, key: Option<&str>) -> Result<(), Refusal> {
        match key {
            Some(key) => self.check_environment(key),
            None => Err(Refusal::invalid("environmentKey", "is required for these instructions")),
        }
    }

    /// The path of a flag.
    pub(super) fn flag_path(&self, key: &str) -> String {
        format!("/api/v2/flags/{}/{key}", self.project)
    }

    fn shown_flag<'s>(&'s self, snapshot: &'s Snapshot, flag: &'s Flag) -> ShownFlag<'s> {
        let values = flag.variations().values();
        let is_boolean = values.clone().all(|own| value_of(own).is_some_and(Value::is_boolean));
        let archived = flag.status() == FlagStatus::Archived;
        let path = self.flag_path(key_of(flag));
        let index = |id: &VariationId| flag.variations().keys().position(|own| own == id);
        let environment = ShownEnvironment {
            on: flag.is_on(),
            archived,
            salt: flag.id().as_str(),
            sel: flag.id().as_str(),
            last_modified: flag.updated_at().unix_millis(),
            version: flag.version(),
            off_variation: flag.off_variation_id().and_then(index),
            fallthrough: fallthrough(snapshot, flag, index),
            site: Site { href: format!("{path}/targeting"), r#type: "text/html" },
            environment_name: &self.environment,
            track_events: false,
            track_events_fallthrough: false,
        };
        ShownFlag {
            name: flag.name().as_str(),
            kind: if is_boolean { "boolean" } else { "multivariate" },
            description: flag.description().map(|text| text.as_str()),
            key: key_of(flag),
            version: flag.version(),
            creation_date: flag.created_at().unix_millis(),
            variations: values
                .map(|own| ShownVariation {
                    id: own.id().as_str(),
                    value: value_of(own),
                    name: own.name().as_str(),
                    description: own.description().map(|text| text.as_str()),
                })
                .collect(),
            temporary: true,
            tags: [],
            links: Links::new().and("self", path),
            experiments: ShownExperiments { baseline_idx: 0, items: [] },
            custom_properties: BTreeMap::new(),
            archived,
            archived_date: archived.then(|| flag.updated_at()).map(Timestamp::unix_millis),
            environments: BTreeMap::from([(&*self.environment, environment)]),
        }
    }
}

/// The flag of this key, or of this id, which it shows as its key if it has none.
pub(super) fn find<'s>(snapshot: &'s Snapshot, key: &str) -> Option<&'s Flag> {
    snapshot.flag_by_key(key).or_else(|| snapshot.flag(key))
}

/// What programs call a flag by.
pub(super) fn key_of(flag: &Flag) -> &str {
    flag.key().map_or(flag.id().as_str(), |key| key.as_str())
}

fn missing(key: &str) -> Refusal {
    Refusal::not_found("flag", key)
}

/// What a variation serves: the value of the parameter `value`, or of the only one that there is.
fn value_of(variation: &Variation) -> Option<&Value> {
    let config = variation.config();
    config.get(VALUE).or_else(|| config.iter().next().map(|(_, value)| value))
}

/// What those get whom no rule matches, if an experiment says so.
fn fallthrough(
    snapshot: &Snapshot,
    flag: &Flag,
    index: impl Fn(&VariationId) -> Option<usize>,
) -> Option<ShownFallthrough> {
    let on_flag = snapshot.used_by(flag.id()).filter_map(|id| snapshot.experiment(id));
    let everyone = |own: &&Experiment| own.iteration().audience_id().is_none();
    let mut candidates: Vec<&Experiment> = on_flag.filter(everyone).collect();
    candidates.sort_unstable_by_key(|own| (own.iteration().started_at(), own.id()));
    let runs = |own: &&&Experiment| matches!(own.status(), Status::Active | Status::Paused);
    if let Some(run) = candidates.iter().find(runs) {
        let slices = run.iteration().rollout()?;
        let variations = slices.iter().map(|slice| ShownWeight {
            variation: slice.variation_id.as_ref().and_then(&index),
            weight: slice.weight,
            untracked: slice.untracked,
        });
        return Some(ShownFallthrough {
            variation: None,
            rollout: Some(ShownRollout {
                variations: variations.collect(),
                experiment_allocation: ShownAllocation {
                    default_variation: run.outside_variation_id().and_then(&index),
                    can_reshuffle: run.can_reshuffle(),
                },
                seed: run.salt().as_str().parse().ok(),
                context_kind: run.subject_kind().to_string(),
            }),
        });
    }
    let shipped = |own: &Experiment| {
        let winner = own.iteration().winner().filter(|winner| winner.is_shipped());
        let completed = own.status() == Status::Completed;
        winner.filter(|_| completed).and_then(|winner| index(winner.variation_id()))
    };
    let variation = candidates.iter().rev().find_map(|own| shipped(own));
    variation.map(|variation| ShownFallthrough { variation: Some(variation), rollout: None })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownFlag<'s> {
    name: &'s str,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'s str>,
    key: &'s str,
    #[serde(rename = "_version")]
    version: u64,
    creation_date: i64,
    variations: Vec<ShownVariation<'s>>,
    temporary: bool,
    tags: [&'s str; 0],
    #[serde(rename = "_links")]
    links: Links,
    experiments: ShownExperiments,
    custom_properties: BTreeMap<&'s str, &'s str>,
    archived: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    archived_date: Option<i64>,
    environments: BTreeMap<&'s str, ShownEnvironment<'s>>,
}

/// What an older kind of experiment had; there are none here.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownExperiments {
    baseline_idx: u32,
    items: [(); 0],
}

#[derive(Serialize)]
struct ShownVariation<'s> {
    #[serde(rename = "_id")]
    id: &'s str,
    value: Option<&'s Value>,
    name: &'s str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'s str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "as LaunchDarkly has it")]
struct ShownEnvironment<'s> {
    on: bool,
    archived: bool,
    salt: &'s str,
    sel: &'s str,
    last_modified: i64,
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    off_variation: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fallthrough: Option<ShownFallthrough>,
    #[serde(rename = "_site")]
    site: Site,
    #[serde(rename = "_environmentName")]
    environment_name: &'s str,
    track_events: bool,
    track_events_fallthrough: bool,
}

#[derive(Serialize)]
struct Site {
    href: String,
    r#type: &'static str,
}

#[derive(Serialize)]
struct ShownFallthrough {
    #[serde(skip_serializing_if = "Option::is_none")]
    variation: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rollout: Option<ShownRollout>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownRollout {
    variations: Vec<ShownWeight>,
    experiment_allocation: ShownAllocation,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    context_kind: String,
}

#[derive(Serialize)]
struct ShownWeight {
    #[serde(skip_serializing_if = "Option::is_none")]
    variation: Option<usize>,
    weight: u32,
    #[serde(rename = "_untracked", skip_serializing_if = "std::ops::Not::not")]
    untracked: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownAllocation {
    #[serde(skip_serializing_if = "Option::is_none")]
    default_variation: Option<usize>,
    can_reshuffle: bool,
}
