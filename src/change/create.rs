//! What an entity is to be like when it is created.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::error::Error;
use crate::id::{ExperimentId, FlagId, SegmentId, VariationId};
use crate::json::{Cursor, FromJson, deserialize};
use crate::model::{Allocation, HashVersion, Parameter, Rule, Salt, Strategy};
use crate::number::Percentage;

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

/// An experiment to be created, with a name, a flag and a strategy. It begins as a draft.
///
/// Plain data: its rules, which are those of an [`Experiment`](crate::Experiment), are checked when
/// it is applied.
///
/// ```
/// use variate::{Allocation, NewExperiment};
///
/// let experiment = NewExperiment::by_percentage("Sign-in headline", "flg_signinScreen".parse()?)
///     .flow("authentication")
///     .allocation(Allocation::share("var_today".parse()?, "90".parse()?).control())
///     .allocation(Allocation::share("var_short".parse()?, "10".parse()?));
/// # Ok::<(), variate::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct NewExperiment {
    /// The id; a random one unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<ExperimentId>,
    /// The name.
    pub name: String,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Words to find it by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The flag that it varies.
    pub flag_id: FlagId,
    /// The surface that it applies to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<String>,
    /// What is assigned; `device` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_kind: Option<String>,
    /// How subjects are mapped to variations.
    pub strategy: Strategy,
    /// The arms.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allocations: Vec<Allocation>,
    /// The share of subjects that enters; 100 unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Percentage>,
    /// The steps by which the traffic is raised, which then cannot be given; none unless the
    /// experiment is a ramp.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<Percentage>,
    /// What subjects outside the traffic are served; nothing unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outside_variation_id: Option<VariationId>,
    /// The formula that maps subjects to points.
    pub hash: HashVersion,
    /// What it mixes into its hash; its id unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub salt: Option<Salt>,
}

impl NewExperiment {
    /// An experiment that assigns by weight.
    pub fn by_percentage(name: impl Into<String>, flag_id: FlagId) -> Self {
        Self::new(name, flag_id, Strategy::Percentage)
    }

    /// An experiment that assigns by segment.
    pub fn by_segment(name: impl Into<String>, flag_id: FlagId) -> Self {
        Self::new(name, flag_id, Strategy::Segment)
    }

    /// An experiment that assigns by this strategy.
    pub fn new(name: impl Into<String>, flag_id: FlagId, strategy: Strategy) -> Self {
        Self {
            id: None,
            name: name.into(),
            description: None,
            tags: Vec::new(),
            flag_id,
            flow: None,
            subject_kind: None,
            strategy,
            allocations: Vec::new(),
            traffic: None,
            levels: Vec::new(),
            outside_variation_id: None,
            hash: HashVersion::default(),
            salt: None,
        }
    }

    /// The same experiment with an id of the caller's.
    pub fn id(self, id: ExperimentId) -> Self {
        Self { id: Some(id), ..self }
    }

    /// The same experiment with a description.
    pub fn description(self, description: impl Into<String>) -> Self {
        Self { description: Some(description.into()), ..self }
    }

    /// The same experiment with one more tag.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// The same experiment on this surface.
    pub fn flow(self, flow: impl Into<String>) -> Self {
        Self { flow: Some(flow.into()), ..self }
    }

    /// The same experiment on subjects of this kind.
    pub fn subject_kind(self, kind: impl Into<String>) -> Self {
        Self { subject_kind: Some(kind.into()), ..self }
    }

    /// The same experiment with one more arm.
    pub fn allocation(mut self, allocation: Allocation) -> Self {
        self.allocations.push(allocation);
        self
    }

    /// The same experiment with this share of subjects.
    pub fn traffic(self, traffic: Percentage) -> Self {
        Self { traffic: Some(traffic), ..self }
    }

    /// The same experiment as a ramp with these levels.
    pub fn levels(self, levels: impl Into<Vec<Percentage>>) -> Self {
        Self { levels: levels.into(), ..self }
    }

    /// The same experiment with this variation for subjects outside its traffic.
    pub fn outside_variation_id(self, id: VariationId) -> Self {
        Self { outside_variation_id: Some(id), ..self }
    }

    /// The same experiment with a salt of the caller's.
    pub fn salt(self, salt: Salt) -> Self {
        Self { salt: Some(salt), ..self }
    }
}

impl NewFlag {
    /// Reads the rest of an object whose `tag`, if any, has been read.
    pub(super) fn tagged(cursor: Cursor<'_>, tag: Option<&str>) -> Result<Self, Error> {
        let object = cursor
            .tagged_object(tag, &["id", "name", "description", "parameters", "variations"])?;
        Ok(Self {
            id: object.optional("id")?,
            name: object.read("name")?,
            description: object.optional("description")?,
            parameters: object.read("parameters")?,
            variations: object.or_default("variations")?,
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
    pub(super) fn tagged(cursor: Cursor<'_>, tag: Option<&str>) -> Result<Self, Error> {
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

impl NewExperiment {
    /// Reads the rest of an object whose `tag`, if any, has been read.
    pub(super) fn tagged(cursor: Cursor<'_>, tag: Option<&str>) -> Result<Self, Error> {
        let object = cursor.tagged_object(
            tag,
            &[
                "id",
                "name",
                "description",
                "tags",
                "flag_id",
                "flow",
                "subject_kind",
                "strategy",
                "allocations",
                "traffic",
                "levels",
                "outside_variation_id",
                "hash",
                "salt",
            ],
        )?;
        Ok(Self {
            id: object.optional("id")?,
            name: object.read("name")?,
            description: object.optional("description")?,
            tags: object.or_default("tags")?,
            flag_id: object.read("flag_id")?,
            flow: object.optional("flow")?,
            subject_kind: object.optional("subject_kind")?,
            strategy: object.read("strategy")?,
            allocations: object.or_default("allocations")?,
            traffic: object.optional("traffic")?,
            levels: object.or_default("levels")?,
            outside_variation_id: object.optional("outside_variation_id")?,
            hash: object.or_default("hash")?,
            salt: object.optional("salt")?,
        })
    }
}

impl FromJson for NewExperiment {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        Self::tagged(cursor, None)
    }
}

deserialize!(NewFlag, NewVariation, NewSegment, NewExperiment);
