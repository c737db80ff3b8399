//! The parameters of a flag.

use std::collections::BTreeMap;
use std::sync::Arc;

use arcstr::ArcStr;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::check_count;
use crate::error::{Code, Error, codes};
use crate::json::{Cursor, FromJson, deserialize};
use crate::map::Map;

/// The most parameters of a flag.
const MAX_PARAMETERS: usize = 10;

/// The longest value, in bytes of compact JSON.
const MAX_VALUE: usize = 1 << 10;

/// The deepest nesting of a value, so that documents and events stay within their limit.
const MAX_DEPTH: usize = 32;

/// The longest name and the longest description of a parameter, in characters.
const MAX_PARAMETER_TEXT: usize = 255;

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
/// The type is that of the default: any but `null`, which is also what `serde_json` makes of a
/// float that is not finite. The default has at most 1 KiB as compact JSON and at most 32 levels of
/// nesting, the description at most 255 characters. A flag checks all this when it takes the parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Shared with the configs that it is part of.
    pub(super) value: Arc<Value>,
    description: Option<ArcStr>,
}

impl Parameter {
    /// A parameter with this default, and of its type.
    pub fn new(value: impl Into<Value>) -> Self {
        Self { value: Arc::new(value.into()), description: None }
    }

    /// The same parameter with a description.
    pub fn with_description(self, description: impl Into<String>) -> Self {
        Self { description: Some(description.into().into()), ..self }
    }

    /// The type; `None` for `null`, which no flag takes.
    pub fn kind(&self) -> Option<ParameterType> {
        ParameterType::of(&self.value)
    }

    /// The default.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// What it is for.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    fn check(&self) -> Result<(), Error> {
        if self.value.is_null() {
            let rule = "must be a string, boolean, number, array or object";
            return Err(Error::new(Code::WrongType, rule).with_value(&*self.value).at("value"));
        }
        check_size(&self.value).map_err(|error| error.at("value"))?;
        match &self.description {
            Some(text) if text.chars().count() > MAX_PARAMETER_TEXT => {
                let rule = format!("must have at most {MAX_PARAMETER_TEXT} characters");
                Err(Error::invalid(rule).with_value(text.as_str()).at("description"))
            }
            _ => Ok(()),
        }
    }
}

impl<V: Into<Value>> From<V> for Parameter {
    fn from(value: V) -> Self {
        Self::new(value)
    }
}

/// Checks the parameters of a flag.
pub(crate) fn check_parameters(parameters: &Map<Arc<str>, Parameter>) -> Result<(), Error> {
    check_count(parameters.len(), 1, MAX_PARAMETERS)?;
    for (name, parameter) in parameters {
        if name.is_empty() || name.chars().count() > MAX_PARAMETER_TEXT {
            let rule = format!("must have names of 1 to {MAX_PARAMETER_TEXT} characters");
            return Err(Error::invalid(rule).with_value(name));
        }
        parameter.check().map_err(|error| error.at_key(name))?;
    }
    Ok(())
}

/// Checks overrides against the parameters that they override.
pub(crate) fn check_overrides(
    parameters: &Map<Arc<str>, Parameter>,
    overrides: &Map<Arc<str>, Arc<Value>>,
) -> Result<(), Error> {
    for (name, value) in overrides {
        let Some(parameter) = parameters.get(name) else {
            let rule = "must be a parameter of the flag";
            return Err(Error::new(Code::UnknownReference, rule).with_value(value).at_key(name));
        };
        let kind = parameter.kind();
        if ParameterType::of(value) != kind {
            let kind = kind.map_or("null", ParameterType::as_str);
            let rule = format!("must be of the parameter's type, {kind}");
            return Err(Error::new(Code::WrongType, rule).with_value(value).at_key(name));
        }
        check_size(value).map_err(|error| error.at_key(name))?;
    }
    Ok(())
}

fn check_size(value: &Value) -> Result<(), Error> {
    if is_deeper(value, MAX_DEPTH) {
        let rule = format!("must be nested at most {MAX_DEPTH} deep");
        return Err(Error::new(Code::LimitExceeded, rule));
    }
    if value.to_string().len() <= MAX_VALUE {
        return Ok(());
    }
    Err(too_large(value))
}

pub(crate) fn is_deeper(value: &Value, depth: usize) -> bool {
    match (value, depth.checked_sub(1)) {
        (Value::Array(_) | Value::Object(_), None) => true,
        (Value::Array(items), Some(left)) => items.iter().any(|item| is_deeper(item, left)),
        (Value::Object(members), Some(left)) => members.values().any(|own| is_deeper(own, left)),
        _ => false,
    }
}

impl Serialize for Parameter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", &self.kind())?;
        map.serialize_entry("value", &self.value)?;
        if let Some(description) = &self.description {
            map.serialize_entry("description", description.as_str())?;
        }
        map.end()
    }
}

impl FromJson for Parameter {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(&["type", "value", "description"])?;
        let kind = object.required("type")?.one_of(ParameterType::ALL, ParameterType::as_str)?;
        let value = object.required("value")?;
        let parameter = Self {
            value: Arc::new(read_value(value)?),
            description: object.optional::<String>("description")?.map(Into::into),
        };
        if parameter.kind() != Some(kind) {
            let rule = format!("must be of the type that stands beside it, {kind}");
            let error = Error::new(Code::WrongType, rule).with_value(&*parameter.value);
            return Err(value.locate(error));
        }
        Ok(parameter)
    }
}

impl FromJson for Map<Arc<str>, Parameter> {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        Ok(Self::of(cursor.map(|name, parameter| Ok((name.into(), parameter.read()?)))?))
    }
}

impl FromJson for Map<Arc<str>, Arc<Value>> {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        Ok(Self::of(cursor.map(|name, value| Ok((name.into(), Arc::new(read_value(value)?))))?))
    }
}

/// Parameters of a change.
impl FromJson for BTreeMap<String, Parameter> {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let entries = cursor.map(|name, parameter| Ok((name.into(), parameter.read()?)))?;
        Ok(entries.into_iter().collect())
    }
}

/// Overrides of a change.
impl FromJson for BTreeMap<String, Value> {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let entries = cursor.map(|name, value| Ok((name.into(), read_value(value)?)))?;
        Ok(entries.into_iter().collect())
    }
}

/// Reads a value, which has no more values within than its JSON may have bytes.
fn read_value(cursor: Cursor<'_>) -> Result<Value, Error> {
    cursor.value(MAX_VALUE).ok_or_else(|| cursor.locate(too_large(&cursor.preview())))
}

fn too_large(value: &Value) -> Error {
    let rule = format!("must have at most {MAX_VALUE} bytes as compact JSON");
    Error::new(Code::LimitExceeded, rule).with_value(value)
}

deserialize!(Parameter);
