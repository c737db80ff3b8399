//! Metrics.

use serde::Serialize;

use crate::error::Error;
use crate::id::MetricId;
use crate::json::{Cursor, FromJson, deserialize};
use crate::model::{MetricDefinition, metric_keys};

/// A metric to be created, with a name and a definition. It never changes afterwards.
///
/// Plain data: its rules, which are those of a [`Metric`](crate::Metric), are checked when it is
/// applied. In JSON the members of the definition stand beside the name.
///
/// ```
/// use variate::{MetricDefinition, NewMetric};
///
/// let sign_ins = NewMetric::new("Sign-ins", MetricDefinition::conversion("signed-in".parse()?))
///     .id("met_entries".parse()?);
/// let clicks = NewMetric::new("Clicks", MetricDefinition::click("#sign-in".parse()?))
///     .id("met_taps".parse()?);
/// let steps = [
///     ("met_taps".parse()?, "tries".parse()?),
///     ("met_entries".parse()?, "gets in".parse()?),
/// ];
/// let funnel = NewMetric::new("Way in", MetricDefinition::funnel(steps));
/// # Ok::<(), variate::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct NewMetric {
    /// The id; a random one unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<MetricId>,
    /// The name, which other metrics can have, too.
    pub name: String,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Words to find it by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What programs call it by; nothing unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Who looks after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintainer: Option<String>,
    /// What it measures and how that is read, or what it groups.
    #[serde(flatten)]
    pub definition: MetricDefinition,
}

impl NewMetric {
    /// A metric of this name.
    pub fn new(name: impl Into<String>, definition: MetricDefinition) -> Self {
        Self {
            id: None,
            name: name.into(),
            description: None,
            tags: Vec::new(),
            key: None,
            maintainer: None,
            definition,
        }
    }

    /// The same metric with an id of the caller's.
    pub fn id(self, id: MetricId) -> Self {
        Self { id: Some(id), ..self }
    }

    /// The same metric with a description.
    pub fn description(self, description: impl Into<String>) -> Self {
        Self { description: Some(description.into()), ..self }
    }

    /// The same metric with a key.
    pub fn key(self, key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// The same metric with somebody who looks after it.
    pub fn maintainer(self, maintainer: impl Into<String>) -> Self {
        Self { maintainer: Some(maintainer.into()), ..self }
    }

    /// The same metric with one more tag.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Reads the rest of an object whose `tag`, if any, has been read.
    pub(in crate::change) fn tagged(cursor: Cursor<'_>, tag: Option<&str>) -> Result<Self, Error> {
        let object = cursor.tagged_object(tag, metric_keys![])?;
        Ok(Self {
            id: object.optional("id")?,
            name: object.read("name")?,
            description: object.optional("description")?,
            tags: object.or_default("tags")?,
            key: object.optional("key")?,
            maintainer: object.optional("maintainer")?,
            definition: MetricDefinition::read(&object)?,
        })
    }
}

impl FromJson for NewMetric {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        Self::tagged(cursor, None)
    }
}

deserialize!(NewMetric);
