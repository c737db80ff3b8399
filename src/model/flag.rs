//! Flags, their parameters and variations.

use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{
    Description, FlagStatus, Key, Name, Parameter, Record, check_distinct, check_overrides,
    check_parameters, checked, entity, keyed, keys,
};
use crate::error::{Code, Error};
use crate::id::{FlagId, VariationId};
use crate::json::{Cursor, FromJson, deserialize};
use crate::map::Map;

/// The most variations of a flag.
const MAX_VARIATIONS: usize = 100;

/// What is being varied: typed parameters with defaults, and variations that override them.
///
/// A flag has 1 to 10 parameters and at most 100 variations. Without a [key](Self::key), its name is
/// its own among all flags without one, archived ones included. It can be activated with two
/// variations or more; archived, it no longer changes. A change of one of its variations is a change
/// of the flag, and counts in its version.
///
/// # The switch
/// A flag is on unless it is switched [off](Self::is_on). No run freezes the switch: it takes effect
/// at once on every experiment on the flag. While the flag is off, none of these can start, and those
/// that are active or paused, or completed and ship their winner, give everyone who is not
/// [forced](crate::Subject::forced) the [off variation](Self::off_variation_id), as no part of the
/// experiment. Switching it on again gives
/// everyone what they had.
///
/// ```
/// # use variate::{Change, Engine, FlagPatch, Subject};
/// # let engine = Engine::from_json(r#"{"format": "variate/1",
/// #     "flags": [{"id": "flg_a", "name": "A flag", "status": "active",
/// #         "parameters": {"x": {"type": "number", "value": 1}},
/// #         "variations": [{"id": "var_today", "name": "one"}, {"id": "var_short", "name": "two"}]}],
/// #     "experiments": [{"id": "exp_signin", "name": "Sign-in", "flag_id": "flg_a",
/// #         "strategy": "percentage", "status": "active",
/// #         "allocations": [{"variation_id": "var_today", "weight": 90, "is_control": true},
/// #             {"variation_id": "var_short", "weight": 10}]}]}"#)?;
/// let off = FlagPatch::new().on(false).off_variation_id("var_today".parse()?);
/// engine.commit(Change::patch_flag(&"flg_a".parse()?, off))?;
///
/// let snapshot = engine.snapshot();
/// let decision = snapshot.assign("exp_signin", &Subject::new("device-42"));
/// assert_eq!(decision.reason().as_str(), "flag_off");
/// assert_eq!(decision.variation_id().unwrap(), "var_today");
/// assert!(!decision.in_experiment());
/// # Ok::<(), variate::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Flag {
    pub(crate) id: FlagId,
    pub(crate) name: Name,
    pub(crate) description: Option<Description>,
    pub(crate) status: FlagStatus,
    pub(crate) parameters: Map<Arc<str>, Parameter>,
    pub(crate) variations: Map<VariationId, Variation>,
    pub(crate) record: Record,
    pub(crate) defaults: Arc<Config>,
    pub(crate) key: Option<Key>,
    pub(crate) on: bool,
    pub(crate) off_variation_id: Option<VariationId>,
}

entity!(Flag FlagId);
keyed!(Flag);

impl Flag {
    /// Where it stands in its life.
    pub fn status(&self) -> FlagStatus {
        self.status
    }

    /// The parameters by name.
    pub fn parameters(&self) -> &Map<Arc<str>, Parameter> {
        &self.parameters
    }

    /// The variations by id.
    pub fn variations(&self) -> &Map<VariationId, Variation> {
        &self.variations
    }

    /// The default of every parameter: what to serve when no experiment decides.
    pub fn defaults(&self) -> &Config {
        &self.defaults
    }

    /// Whether it is switched on, as at first.
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// What subjects are served while the flag is off, and those whom a [holdout](crate::Holdout)
    /// keeps out of an experiment on it: one of its variations, as it is now; nothing unless there is
    /// one. It goes before the [outside variation](crate::Experiment::outside_variation_id).
    pub fn off_variation_id(&self) -> Option<&VariationId> {
        self.off_variation_id.as_ref()
    }

    /// Checks that the off variation is one of its own.
    pub(crate) fn check_off_variation(&self) -> Result<(), Error> {
        match &self.off_variation_id {
            Some(id) if !self.variations.contains_key(id) => {
                let rule = "must be a variation of the flag";
                let error = Error::new(Code::UnknownReference, rule).with_value(id);
                Err(error.at("off_variation_id"))
            }
            _ => Ok(()),
        }
    }

    /// Works out the complete configs: the defaults, overlaid with each variation's overrides. What
    /// is the same in several places is held once: names, and the config of what overrides nothing.
    pub(crate) fn merge(&mut self) {
        let Self { parameters, variations, defaults, .. } = self;
        let settle = |config: &mut Arc<Config>, overrides: &Map<_, _>| {
            if !config.is_of(parameters, overrides) {
                *config = Arc::new(Config::of(parameters, overrides));
            }
        };
        settle(defaults, &Map::default());
        for Variation { overrides, config, .. } in variations.values_mut() {
            overrides.share_keys(parameters);
            match overrides.is_empty() {
                true => *config = Arc::clone(defaults),
                false => settle(config, overrides),
            }
        }
    }
}

/// Checks how many entries a field has.
pub(crate) fn check_count(count: usize, min: usize, max: usize) -> Result<(), Error> {
    if (min..=max).contains(&count) {
        return Ok(());
    }
    let rule = format!("must have {min} to {max} entries");
    Err(Error::new(Code::LimitExceeded, rule).with_value(&count))
}

/// Checks how many variations a flag has.
pub(crate) fn check_variation_count(count: usize) -> Result<(), Error> {
    check_count(count, 0, MAX_VARIATIONS)
}

/// One alternative of a flag: overrides of its parameters.
///
/// Each key is a parameter of the flag, each value of that parameter's type, of at most 1 KiB as
/// compact JSON and 32 levels of nesting. No overrides at all is what a control looks like. The name is its own within the
/// flag.
#[derive(Debug, Clone, PartialEq)]
pub struct Variation {
    pub(crate) id: VariationId,
    pub(crate) name: Name,
    pub(crate) description: Option<Description>,
    pub(crate) overrides: Map<Arc<str>, Arc<Value>>,
    pub(crate) record: Record,
    pub(crate) config: Arc<Config>,
}

entity!(Variation VariationId);

impl Variation {
    /// What differs from the flag's defaults.
    pub fn overrides(&self) -> &Map<Arc<str>, Arc<Value>> {
        &self.overrides
    }

    /// The value of every parameter of the flag: the defaults, overlaid with the overrides.
    pub fn config(&self) -> &Config {
        &self.config
    }
}

/// The value of every parameter of a flag, by name.
///
/// What a subject is served: the flag's defaults, each replaced whole where the variation overrides
/// it. Serialises as a JSON object.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config(Box<[(Arc<str>, Arc<Value>)]>);

impl Config {
    /// The value of a parameter.
    pub fn get(&self, parameter: &str) -> Option<&Value> {
        self.iter().find(|(name, _)| **name == *parameter).map(|(_, value)| value)
    }

    /// The parameters in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// How many parameters there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none, as when nothing is served.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Config {
    /// The defaults of these parameters, overlaid with these overrides.
    fn of(parameters: &Map<Arc<str>, Parameter>, overrides: &Map<Arc<str>, Arc<Value>>) -> Self {
        let values = overlaid(parameters, overrides);
        Self(values.map(|(name, value)| (Arc::clone(name), Arc::clone(value))).collect())
    }

    /// Whether it is what [`of`](Self::of) makes of these.
    fn is_of(
        &self,
        parameters: &Map<Arc<str>, Parameter>,
        overrides: &Map<Arc<str>, Arc<Value>>,
    ) -> bool {
        overlaid(parameters, overrides).eq(self.0.iter().map(|(name, value)| (name, value)))
    }
}

fn overlaid<'f>(
    parameters: &'f Map<Arc<str>, Parameter>,
    overrides: &'f Map<Arc<str>, Arc<Value>>,
) -> impl Iterator<Item = (&'f Arc<str>, &'f Arc<Value>)> {
    parameters
        .iter()
        .map(|(name, parameter)| (name, overrides.get(name).unwrap_or(&parameter.value)))
}

impl Serialize for Config {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl Serialize for Flag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("name", &self.name)?;
        if let Some(description) = &self.description {
            map.serialize_entry("description", description)?;
        }
        if let Some(key) = &self.key {
            map.serialize_entry("key", key)?;
        }
        map.serialize_entry("status", &self.status)?;
        if !self.on {
            map.serialize_entry("on", &self.on)?;
        }
        if let Some(variation) = &self.off_variation_id {
            map.serialize_entry("off_variation_id", variation)?;
        }
        map.serialize_entry("parameters", &self.parameters)?;
        let variations: Vec<&Variation> = self.variations.values().collect();
        map.serialize_entry("variations", &variations)?;
        self.record.serialize_into(&mut map)?;
        map.end()
    }
}

impl Serialize for Variation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("name", &self.name)?;
        if let Some(description) = &self.description {
            map.serialize_entry("description", description)?;
        }
        map.serialize_entry("overrides", &self.overrides)?;
        self.record.serialize_into(&mut map)?;
        map.end()
    }
}

impl FromJson for Flag {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(keys![
            "id",
            "name",
            "description",
            "status",
            "parameters",
            "variations",
            "key",
            "on",
            "off_variation_id",
        ])?;
        let parameters: Map<Arc<str>, Parameter> =
            checked(&object, "parameters", check_parameters)?;
        let defaults = Arc::new(Config::of(&parameters, &Map::default()));
        let variations = match object.get("variations") {
            None => Vec::new(),
            Some(cursor) => {
                let list = cursor.array(|own| Variation::from_json(own, &defaults))?;
                check_variations(&list, &parameters).map_err(|error| cursor.locate(error))?;
                list
            }
        };
        let mut flag = Self {
            id: object.read("id")?,
            name: object.read("name")?,
            description: object.optional("description")?,
            status: object.optional("status")?.unwrap_or(FlagStatus::Draft),
            parameters,
            variations: Map::of(variations.into_iter().map(|v| (v.id.clone(), v))),
            record: Record::from_json(&object)?,
            defaults,
            key: object.optional("key")?,
            on: object.optional("on")?.unwrap_or(true),
            off_variation_id: object.optional("off_variation_id")?,
        };
        flag.check_off_variation().map_err(|error| object.locate(error))?;
        flag.merge();
        Ok(flag)
    }
}

fn check_variations(
    list: &[Variation],
    parameters: &Map<Arc<str>, Parameter>,
) -> Result<(), Error> {
    check_variation_count(list.len())?;
    check_distinct(
        list,
        |variation| &variation.id,
        |variation| {
            let rule = "must not be another variation's id";
            Error::new(Code::AlreadyExists, rule).with_value(&variation.id).at("id")
        },
    )?;
    check_distinct(
        list,
        |variation| &variation.name,
        |variation| {
            let rule = "must not be another variation's name";
            Error::new(Code::NameTaken, rule).with_value(&variation.name).at("name")
        },
    )?;
    for (index, variation) in list.iter().enumerate() {
        check_overrides(parameters, &variation.overrides)
            .map_err(|error| error.at("overrides").at_index(index))?;
    }
    Ok(())
}

impl Variation {
    /// Reads a variation, whose config is that of the flag's defaults until the flag
    /// [merges](Flag::merge).
    fn from_json(cursor: Cursor<'_>, defaults: &Arc<Config>) -> Result<Self, Error> {
        let object = cursor.object(keys!["id", "name", "description", "overrides"])?;
        Ok(Self {
            id: object.read("id")?,
            name: object.read("name")?,
            description: object.optional("description")?,
            overrides: object.or_default("overrides")?,
            record: Record::from_json(&object)?,
            config: Arc::clone(defaults),
        })
    }
}

impl Record {
    pub(crate) fn serialize_into<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("version", &self.version)?;
        map.serialize_entry("created_at", &self.created_at)?;
        map.serialize_entry("updated_at", &self.updated_at)
    }
}

deserialize!(Flag);
