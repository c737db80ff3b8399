//! What an entity is to be like when it is created.

mod experiment;
mod groups;
mod metric;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

pub use experiment::NewExperiment;
pub use groups::{NewHoldout, NewLayer};
pub use metric::NewMetric;

use crate::error::Error;
use crate::id::{FlagId, SegmentId, VariationId};
use crate::json::{Cursor, FromJson, deserialize};
use crate::model::{Parameter, Rule};

/// A flag to be created, with a name and at least one parameter. It begins as a draft, and is
/// activated before an experiment on it can start.
///
/// Plain data: its rules, which are those of a [`Flag`](crate::Flag), are checked when it is
/// applied.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct NewFlag {
    /// The id; a random one unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<FlagId>,
    /// The name.
    pub name: String,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The parameters by name.
    pub parameters: BTreeMap<String, Parameter>,
    /// The variations to begin with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub variations: Vec<NewVariation>,
    /// What programs call it by; nothing unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Whether it is switched on; so unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<bool>,
    /// What subjects are served while it is off; nothing unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub off_variation_id: Option<VariationId>,
}

impl NewFlag {
    /// A flag of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// The same flag with an id of the caller's.
    pub fn id(self, id: FlagId) -> Self {
        Self { id: Some(id), ..self }
    }

    /// The same flag with a description.
    pub fn description(self, description: impl Into<String>) -> Self {
        Self { description: Some(description.into()), ..self }
    }

    /// The same flag with one more parameter: its default, which also gives its type.
    pub fn parameter(mut self, name: impl Into<String>, default: impl Into<Parameter>) -> Self {
        self.parameters.insert(name.into(), default.into());
        self
    }

    /// The same flag with one more variation.
    pub fn variation(mut self, variation: NewVariation) -> Self {
        self.variations.push(variation);
        self
    }

    /// The same flag with a key.
    pub fn key(self, key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// The same flag, switched on or off.
    pub fn on(self, on: bool) -> Self {
        Self { on: Some(on), ..self }
    }

    /// The same flag with one of its variations to be served while it is off.
    pub fn off_variation_id(self, id: VariationId) -> Self {
        Self { off_variation_id: Some(id), ..self }
    }
}

/// A variation to be created, with a name.
///
/// Plain data: its rules, which are those of a [`Variation`](crate::Variation), are checked when it
/// is applied.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct NewVariation {
    /// The id; a random one unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<VariationId>,
    /// The name.
    pub name: String,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What differs from the flag's defaults.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub overrides: BTreeMap<String, Value>,
}

impl NewVariation {
    /// A variation of this name, which overrides nothing.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// The same variation with an id of the caller's.
    pub fn id(self, id: VariationId) -> Self {
        Self { id: Some(id), ..self }
    }

    /// The same variation with a description.
    pub fn description(self, description: impl Into<String>) -> Self {
        Self { description: Some(description.into()), ..self }
    }

    /// The same variation with one more override.
    pub fn with(mut self, parameter: impl Into<String>, value: impl Into<Value>) -> Self {
        self.overrides.insert(parameter.into(), value.into());
        self
    }
}

/// A segment to be created, with a name and at least one rule. It begins as active.
///
/// Plain data: its rules, which are those of a [`Segment`](crate::Segment), are checked when it is
/// applied.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct NewSegment {
    /// The id; a random one unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<SegmentId>,
    /// The name.
    pub name: String,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The rules, any of which may match.
    pub rules: Vec<Rule>,
}

impl NewSegment {
    /// A segment of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// The same segment with an id of the caller's.
    pub fn id(self, id: SegmentId) -> Self {
        Self { id: Some(id), ..self }
    }

    /// The same segment with a description.
    pub fn description(self, description: impl Into<String>) -> Self {
        Self { description: Some(description.into()), ..self }
    }

    /// The same segment with one more rule.
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }
}

impl NewFlag {
    /// Reads the rest of an object whose `tag`, if any, has been read.
    pub(in crate::change) fn tagged(cursor: Cursor<'_>, tag: Option<&str>) -> Result<Self, Error> {
        let object = cursor.tagged_object(
            tag,
            &[
                "id",
                "name",
                "description",
                "parameters",
                "variations",
                "key",
                "on",
                "off_variation_id",
            ],
        )?;
        Ok(Self {
            id: object.optional("id")?,
            name: object.read("name")?,
            description: object.optional("description")?,
            parameters: object.read("parameters")?,
            variations: object.or_default("variations")?,
            key: object.optional("key")?,
            on: object.optional("on")?,
            off_variation_id: object.optional("off_variation_id")?,
        })
    }
}

impl FromJson for NewFlag {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        Self::tagged(cursor, None)
    }
}

impl FromJson for NewVariation {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(&["id", "name", "description", "overrides"])?;
        Ok(Self {
            id: object.optional("id")?,
            name: object.read("name")?,
            description: object.optional("description")?,
            overrides: object.or_default("overrides")?,
        })
    }
}

impl NewSegment {
    /// Reads the rest of an object whose `tag`, if any, has been read.
    pub(in crate::change) fn tagged(cursor: Cursor<'_>, tag: Option<&str>) -> Result<Self, Error> {
        let object = cursor.tagged_object(tag, &["id", "name", "description", "rules"])?;
        Ok(Self {
            id: object.optional("id")?,
            name: object.read("name")?,
            description: object.optional("description")?,
            rules: object.read("rules")?,
        })
    }
}

impl FromJson for NewSegment {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        Self::tagged(cursor, None)
    }
}

deserialize!(NewFlag, NewVariation, NewSegment);
