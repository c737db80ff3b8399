//! Metrics: what the success of an experiment is told by.

mod check;
mod definition;
mod url;

use serde::{Serialize, Serializer};

pub(crate) use check::check_definition;
pub(crate) use definition::metric_keys;
pub use definition::{
    AnalysisType, EventDefault, MetricDefinition, MetricKind, MetricMember, SuccessCriteria,
    UnitAggregation,
};
pub use url::{UrlMatch, UrlTarget};

use super::{Description, Key, Maintainer, Name, Record, Tag, entity, keyed, read_tags};
use crate::error::Error;
use crate::id::MetricId;
use crate::json::{Cursor, FromJson, deserialize};
use crate::time::Timestamp;

/// What the success of an experiment is told by: a single metric, made of events, or a group of
/// metrics.
///
/// A metric is created and deleted, and never edited, so that an analysis in progress means what it
/// meant when it began. Nothing is computed with it here: it is held for whoever reads the results.
///
/// Several metrics can have one name. A metric that an experiment which is not archived names, or a
/// group, is not deleted; and as long as any experiment names a metric that has been deleted, no
/// other gets its id.
///
/// ```
/// use variate::{MetricDefinition, NewMetric, Snapshot, SystemEntropy, Timestamp};
///
/// let revenue = NewMetric::new("Revenue", MetricDefinition::numeric("order-value".parse()?))
///     .id("met_revenue".parse()?);
/// let commit = Snapshot::new().apply(revenue, Timestamp::EPOCH, &mut SystemEntropy)?;
/// let metric = commit.snapshot.metric("met_revenue").unwrap();
/// assert_eq!(metric.definition().event_key.as_ref().unwrap(), &"order-value");
/// # Ok::<(), variate::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    pub(crate) id: MetricId,
    pub(crate) name: Name,
    pub(crate) description: Option<Description>,
    pub(crate) tags: Box<[Tag]>,
    pub(crate) definition: MetricDefinition,
    pub(crate) record: Record,
    pub(crate) key: Option<Key>,
    pub(crate) maintainer: Option<Maintainer>,
}

entity!(Metric MetricId);
keyed!(Metric);

impl Metric {
    /// Who looks after it; fixed when it is created.
    pub fn maintainer(&self) -> Option<&Maintainer> {
        self.maintainer.as_ref()
    }

    /// Words to find it by, at most 100, none twice.
    pub fn tags(&self) -> &[Tag] {
        &self.tags
    }

    /// What kind of metric it is.
    pub fn kind(&self) -> MetricKind {
        self.definition.kind
    }

    /// What it measures and how that is read, or what it groups.
    pub fn definition(&self) -> &MetricDefinition {
        &self.definition
    }
}

impl FromJson for Metric {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(metric_keys!["version", "created_at", "updated_at"])?;
        let definition = MetricDefinition::read(&object)?;
        check_definition(&definition).map_err(|error| object.locate(error))?;
        Ok(Self {
            id: object.read("id")?,
            name: object.read("name")?,
            description: object.optional("description")?,
            tags: read_tags(&object)?,
            definition,
            record: Record::from_json(&object)?,
            key: object.optional("key")?,
            maintainer: object.optional("maintainer")?,
        })
    }
}

impl Serialize for Metric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Document<'a> {
            id: &'a MetricId,
            name: &'a Name,
            #[serde(skip_serializing_if = "Option::is_none")]
            description: Option<&'a Description>,
            #[serde(skip_serializing_if = "<[Tag]>::is_empty")]
            tags: &'a [Tag],
            #[serde(skip_serializing_if = "Option::is_none")]
            key: Option<&'a Key>,
            #[serde(skip_serializing_if = "Option::is_none")]
            maintainer: Option<&'a Maintainer>,
            #[serde(flatten)]
            definition: &'a MetricDefinition,
            version: u64,
            created_at: Timestamp,
            updated_at: Timestamp,
        }
        let document = Document {
            id: &self.id,
            name: &self.name,
            description: self.description.as_ref(),
            tags: &self.tags,
            key: self.key.as_ref(),
            maintainer: self.maintainer.as_ref(),
            definition: &self.definition,
            version: self.record.version,
            created_at: self.record.created_at,
            updated_at: self.record.updated_at,
        };
        document.serialize(serializer)
    }
}

deserialize!(Metric);
