//! Flags, their parameters and variations.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{Description, FlagStatus, Name, ParameterName, Record, check_distinct, checked, keys};
use crate::error::{Code, Error, codes};
use crate::id::{FlagId, VariationId};
use crate::json::{Cursor, FromJson, deserialize};
use crate::time::Timestamp;

/// The most parameters of a flag.
pub(crate) const MAX_PARAMETERS: usize = 10;

/// The most variations of a flag.
pub(crate) const MAX_VARIATIONS: usize = 100;

/// The longest value, in bytes of compact JSON.
const MAX_VALUE: usize = 1 << 10;

/// The longest description of a parameter, in characters.
const MAX_PARAMETER_DESCRIPTION: usize = 255;

/// What is being varied: typed parameters with defaults, and variations that override them.
///
/// A flag has 1 to 10 parameters and at most 100 variations. Its name is its own among all flags,
/// archived ones included. It can be activated with two variations or more; archived, it no longer
/// changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Flag {
    pub(crate) id: FlagId,
    pub(crate) name: Name,
    pub(crate) description: Option<Description>,
    pub(crate) status: FlagStatus,
    pub(crate) parameters: BTreeMap<ParameterName, Parameter>,
    pub(crate) variations: BTreeMap<VariationId, Variation>,
    pub(crate) record: Record,
}

impl Flag {
    /// The id.
    pub fn id(&self) -> &FlagId {
        &self.id
    }

    /// The name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// What it is about.
    pub fn description(&self) -> Option<&Description> {
        self.description.as_ref()
    }

    /// Where it stands in its life.
    pub fn status(&self) -> FlagStatus {
        self.status
    }

    /// The parameters by name.
    pub fn parameters(&self) -> &BTreeMap<ParameterName, Parameter> {
        &self.parameters
    }

    /// The variations by id.
    pub fn variations(&self) -> &BTreeMap<VariationId, Variation> {
        &self.variations
    }

    /// How often it has changed, its variations included, counting from 1.
    pub fn version(&self) -> u64 {
        self.record.version
    }

    /// When it was created.
    pub fn created_at(&self) -> Timestamp {
        self.record.created_at
    }

    /// When it or one of its variations last changed.
    pub fn updated_at(&self) -> Timestamp {
        self.record.updated_at
    }

    /// The complete config of each variation: the defaults, overlaid with its overrides.
    pub(crate) fn merge(&mut self) {
        for variation in self.variations.values_mut() {
            let values = self.parameters.iter().map(|(name, parameter)| {
                let value = variation.overrides.get(name).unwrap_or(&parameter.value);
                (name.clone(), value.clone())
            });
            let config = Config(values.collect());
            if *variation.config != config {
                variation.config = Arc::new(config);
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

/// Checks overrides against the parameters that they override.
pub(crate) fn check_overrides(
    parameters: &BTreeMap<ParameterName, Parameter>,
    overrides: &BTreeMap<ParameterName, Value>,
) -> Result<(), Error> {
    for (name, value) in overrides {
        let Some(parameter) = parameters.get(name) else {
            let rule = "is not a parameter of the flag";
            return Err(Error::new(Code::UnknownReference, rule).at_key(name.as_str()));
        };
        if ParameterType::of(value) != Some(parameter.kind) {
            let rule = format!("must be of the parameter's type, {}", parameter.kind);
            return Err(Error::invalid(rule).with_value(value).at_key(name.as_str()));
        }
        check_size(value).map_err(|error| error.at_key(name.as_str()))?;
    }
    Ok(())
}

fn check_size(value: &Value) -> Result<(), Error> {
    if value.to_string().len() <= MAX_VALUE {
        return Ok(());
    }
    let rule = format!("must have at most {MAX_VALUE} bytes as compact JSON");
    Err(Error::new(Code::LimitExceeded, rule).with_value(value))
}

codes! {
    /// The type of a parameter: one of JSON's.
    #[expect(clippy::exhaustive_enums, reason = "JSON has no more types")]
    pub enum ParameterType {
        /// A list.
        Array = "array",
        /// True or false.
        Boolean = "boolean",
        /// A finite number.
        Number = "number",
        /// A map.
        Object = "object",
        /// A text.
        String = "string",
    }
}

impl ParameterType {
    /// The type of a value; `None` for `null`.
    pub fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Null => None,
            Value::Bool(_) => Some(Self::Boolean),
            Value::Number(_) => Some(Self::Number),
            Value::String(_) => Some(Self::String),
            Value::Array(_) => Some(Self::Array),
            Value::Object(_) => Some(Self::Object),
        }
    }
}

/// One typed parameter of a flag and its default.
///
/// The default has at most 1 KiB as compact JSON, the description at most 255 characters.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Parameter {
    #[serde(rename = "type")]
    kind: ParameterType,
    value: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

impl Parameter {
    /// A parameter with this default, and of its type.
    ///
    /// # Errors
    /// [`Code::WrongType`] for `null`, which is also what `serde_json` makes of a float that is not
    /// finite; [`Code::LimitExceeded`] above 1 KiB.
    pub fn new(value: impl Into<Value>) -> Result<Self, Error> {
        let value = value.into();
        let Some(kind) = ParameterType::of(&value) else {
            let rule = "must be a string, boolean, number, array or object";
            return Err(Error::new(Code::WrongType, rule).with_value(&value).at("value"));
        };
        check_size(&value).map_err(|error| error.at("value"))?;
        Ok(Self { kind, value, description: None })
    }

    /// The same parameter with a description.
    ///
    /// # Errors
    /// [`Code::InvalidValue`] above 255 characters.
    pub fn with_description(mut self, description: impl Into<String>) -> Result<Self, Error> {
        let description = description.into();
        if description.chars().count() > MAX_PARAMETER_DESCRIPTION {
            let rule = format!("must have at most {MAX_PARAMETER_DESCRIPTION} characters");
            return Err(Error::invalid(rule).with_value(&description).at("description"));
        }
        self.description = Some(description);
        Ok(self)
    }

    /// The type.
    pub fn kind(&self) -> ParameterType {
        self.kind
    }

    /// The default.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// What it is for.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }
}

/// One alternative of a flag: overrides of its parameters.
///
/// Each key is a parameter of the flag, each value of that parameter's type and at most 1 KiB as
/// compact JSON. No overrides at all is what a control looks like. The name is its own within the
/// flag.
#[derive(Debug, Clone, PartialEq)]
pub struct Variation {
    pub(crate) id: VariationId,
    pub(crate) name: Name,
    pub(crate) description: Option<Description>,
    pub(crate) overrides: BTreeMap<ParameterName, Value>,
    pub(crate) record: Record,
    pub(crate) config: Arc<Config>,
}

impl Variation {
    /// The id.
    pub fn id(&self) -> &VariationId {
        &self.id
    }

    /// The name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// What it is about.
    pub fn description(&self) -> Option<&Description> {
        self.description.as_ref()
    }

    /// What differs from the flag's defaults.
    pub fn overrides(&self) -> &BTreeMap<ParameterName, Value> {
        &self.overrides
    }

    /// The value of every parameter of the flag: the defaults, overlaid with the overrides.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How often it has changed, counting from 1.
    pub fn version(&self) -> u64 {
        self.record.version
    }

    /// When it was created.
    pub fn created_at(&self) -> Timestamp {
        self.record.created_at
    }

    /// When it last changed.
    pub fn updated_at(&self) -> Timestamp {
        self.record.updated_at
    }
}

/// The value of every parameter of a flag, by name.
///
/// What a subject is served: the flag's defaults, each replaced whole where the variation overrides
/// it. Serialises as a JSON object.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config(Box<[(ParameterName, Value)]>);

impl Config {
    /// The value of a parameter.
    pub fn get(&self, parameter: &str) -> Option<&Value> {
        self.iter().find(|(name, _)| *name == parameter).map(|(_, value)| value)
    }

    /// The parameters in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
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
        map.serialize_entry("status", &self.status)?;
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
        let object =
            cursor.object(keys!["id", "name", "description", "status", "parameters", "variations"])?;
        let parameters: BTreeMap<ParameterName, Parameter> =
            checked(&object, "parameters", |parameters: &BTreeMap<_, _>| {
                check_count(parameters.len(), 1, MAX_PARAMETERS)
            })?;
        let variations = match object.get("variations") {
            None => Vec::new(),
            Some(cursor) => {
                let list: Vec<Variation> = cursor.read()?;
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
            variations: variations.into_iter().map(|v| (v.id.clone(), v)).collect(),
            record: Record::from_json(&object)?,
        };
        flag.merge();
        Ok(flag)
    }
}

fn check_variations(
    list: &[Variation],
    parameters: &BTreeMap<ParameterName, Parameter>,
) -> Result<(), Error> {
    check_count(list.len(), 0, MAX_VARIATIONS)?;
    check_distinct(list, |variation| &variation.id, |variation| {
        let rule = "must not be another variation's id";
        Error::new(Code::AlreadyExists, rule).with_value(&variation.id).at("id")
    })?;
    check_distinct(list, |variation| &variation.name, |variation| {
        let rule = "must not be another variation's name";
        Error::new(Code::NameTaken, rule).with_value(&variation.name).at("name")
    })?;
    for (index, variation) in list.iter().enumerate() {
        check_overrides(parameters, &variation.overrides)
            .map_err(|error| error.at("overrides").at_index(index))?;
    }
    Ok(())
}

impl FromJson for Variation {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(keys!["id", "name", "description", "overrides"])?;
        Ok(Self {
            id: object.read("id")?,
            name: object.read("name")?,
            description: object.optional("description")?,
            overrides: object.or_default("overrides")?,
            record: Record::from_json(&object)?,
            config: Arc::default(),
        })
    }
}

impl FromJson for Parameter {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(&["type", "value", "description"])?;
        let value = object.required("value")?.value();
        let kind = object.required("type")?.one_of(ParameterType::ALL, ParameterType::as_str)?;
        let parameter = Self::new(value).map_err(|error| object.locate(error))?;
        if parameter.kind != kind {
            let rule = format!("must be of the type that stands beside it, {kind}");
            return Err(object.locate(Error::invalid(rule).with_value(&parameter.value).at("value")));
        }
        match object.optional::<String>("description")? {
            Some(text) => parameter.with_description(text).map_err(|error| object.locate(error)),
            None => Ok(parameter),
        }
    }
}

impl FromJson for BTreeMap<ParameterName, Parameter> {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        read_parameters(cursor, |cursor| cursor.read())
    }
}

impl FromJson for BTreeMap<ParameterName, Value> {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        read_parameters(cursor, |cursor| Ok(cursor.value()))
    }
}

fn read_parameters<T>(
    cursor: Cursor<'_>,
    mut read: impl FnMut(Cursor<'_>) -> Result<T, Error>,
) -> Result<BTreeMap<ParameterName, T>, Error> {
    let entries = cursor.map(|name, value| {
        let name = name.parse().map_err(|error| cursor.locate(error))?;
        Ok((name, read(value)?))
    })?;
    Ok(entries.into_iter().collect())
}

impl Record {
    pub(crate) fn serialize_into<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("version", &self.version)?;
        map.serialize_entry("created_at", &self.created_at)?;
        map.serialize_entry("updated_at", &self.updated_at)
    }
}

deserialize!(Flag, Parameter);
