//! Metrics and metric groups.

use serde_json::Value;

use super::Experimentation;
use super::answer::{Answer, Refusal};
use super::input::{maybe, new_key, present};
use super::list::{Counted, Query};
use crate::api::call::Call;
use crate::change::NewMetric;
use crate::error::Error;
use crate::id::MetricId;
use crate::json::{Cursor, FromJson, Object};
use crate::model::{
    AnalysisType, EventDefault, Metric, MetricDefinition, MetricKind, MetricMember, SubjectKind,
    SuccessCriteria, Text, UnitAggregation, UrlMatch,
};
use crate::snapshot::Snapshot;

/// The kinds of single metrics, and those of groups.
const SINGLES: &[MetricKind] =
    &[MetricKind::Pageview, MetricKind::Click, MetricKind::Custom, MetricKind::Trace];
const GROUPS: &[MetricKind] = &[MetricKind::Funnel, MetricKind::Standard];

/// The names of success criteria.
pub(super) const CRITERIA: &[(&str, SuccessCriteria)] = &[
    ("HigherThanBaseline", SuccessCriteria::HigherThanBaseline),
    ("LowerThanBaseline", SuccessCriteria::LowerThanBaseline),
];

/// The most values in what is held as it is.
const MAX_VALUES: usize = 1 << 10;

/// The body that creates a metric.
struct MetricInput {
    key: String,
    name: Option<String>,
    description: Option<String>,
    tags: Vec<String>,
    maintainer: Option<String>,
    definition: MetricDefinition,
}

impl FromJson for MetricInput {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.open_object()?;
        let mut definition =
            MetricDefinition::new(object.required("kind")?.one_of(SINGLES, MetricKind::as_str)?);
        definition.is_numeric = maybe(&object, "isNumeric")?.unwrap_or_default();
        definition.event_key = maybe(&object, "eventKey")?;
        definition.selector = maybe(&object, "selector")?;
        definition.urls = maybe::<Vec<UrlMatch>>(&object, "urls")?.unwrap_or_default();
        definition.unit = maybe(&object, "unit")?;
        definition.success_criteria = present(&object, "successCriteria")
            .map(|cursor| cursor.one_of(CRITERIA, |(name, _)| name))
            .transpose()?
            .map(|(_, criteria)| criteria);
        let units: Option<Vec<SubjectKind>> = maybe(&object, "analysisUnits")?;
        definition.analysis_units = match units {
            Some(units) => units,
            None => maybe(&object, "randomizationUnits")?.unwrap_or_default(),
        };
        definition.unit_aggregation = present(&object, "unitAggregationType")
            .map(|cursor| cursor.one_of(UnitAggregation::ALL, UnitAggregation::as_str))
            .transpose()?;
        definition.analysis_type = present(&object, "analysisType")
            .map(|cursor| cursor.one_of(AnalysisType::ALL, AnalysisType::as_str))
            .transpose()?;
        definition.percentile = maybe(&object, "percentileValue")?;
        definition.event_default =
            present(&object, "eventDefault").map(event_default).transpose()?;
        definition.data_source = match present(&object, "dataSource") {
            Some(source) => maybe(&source.open_object()?, "key")?,
            None => None,
        };
        definition.winsor_lower_percentile = maybe(&object, "winsorLowerPercentile")?;
        definition.winsor_upper_percentile = maybe(&object, "winsorUpperPercentile")?;
        definition.winsor_include_imputed =
            maybe(&object, "winsorIncludeImputed")?.unwrap_or_default();
        definition.trace_query = maybe(&object, "traceQuery")?;
        definition.trace_value_location = maybe(&object, "traceValueLocation")?;
        definition.unit_aggregation_field = maybe(&object, "unitAggregationField")?;
        definition.value_column = maybe(&object, "valueColumn")?;
        definition.denominator = held(&object, "denominator")?;
        definition.filters = held(&object, "filters")?;
        definition.window_start_offset = maybe(&object, "windowStartOffset")?;
        definition.window_end_offset = maybe(&object, "windowEndOffset")?;
        Ok(Self {
            key: new_key(&object)?,
            name: maybe(&object, "name")?,
            description: maybe(&object, "description")?,
            tags: maybe(&object, "tags")?.unwrap_or_default(),
            maintainer: maybe(&object, "maintainerId")?,
            definition,
        })
    }
}

fn event_default(cursor: Cursor<'_>) -> Result<EventDefault, Error> {
    let object = cursor.open_object()?;
    Ok(EventDefault {
        disabled: maybe(&object, "disabled")?.unwrap_or_default(),
        value: maybe(&object, "value")?,
    })
}

/// Reads what is held as it is.
fn held(object: &Object<'_>, key: &'static str) -> Result<Option<Value>, Error> {
    let Some(cursor) = present(object, key) else { return Ok(None) };
    cursor.value(MAX_VALUES).map(Some).ok_or_else(|| {
        cursor.locate(Error::invalid(format!("must have at most {MAX_VALUES} values")))
    })
}

/// The body that creates a metric group.
struct GroupInput {
    key: String,
    name: String,
    description: Option<String>,
    tags: Vec<String>,
    maintainer: Option<String>,
    kind: MetricKind,
    /// The metrics by key, each with its name in the group.
    metrics: Vec<(String, Option<Text>)>,
}

impl FromJson for GroupInput {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.open_object()?;
        Ok(Self {
            key: new_key(&object)?,
            name: object.read("name")?,
            description: maybe(&object, "description")?,
            tags: maybe(&object, "tags")?.unwrap_or_default(),
            maintainer: maybe(&object, "maintainerId")?,
            kind: object.required("kind")?.one_of(GROUPS, MetricKind::as_str)?,
            metrics: object.required("metrics")?.array(|item| {
                let object = item.open_object()?;
                Ok((object.read("key")?, maybe(&object, "nameInGroup")?))
            })?,
        })
    }
}

impl Experimentation {
    pub(super) fn create_metric(&self, call: Call<'_>) -> Result<Answer, Refusal> {
        let input: MetricInput = call.read(|cursor| cursor.read())?;
        let id = MetricId::random()?;
        let mut new =
            NewMetric::new(input.name.unwrap_or_else(|| input.key.clone()), input.definition)
                .id(id.clone())
                .key(input.key);
        new.description = input.description.filter(|text| !text.is_empty());
        new.tags = input.tags;
        new.maintainer = input.maintainer;
        let commit = self.engine.commit(new).map_err(Refusal::from)?;
        let metric = find(&commit.snapshot, id.as_str()).ok_or_else(|| missing(id.as_str()))?;
        Ok(Answer::created(&self.listed_metric(&commit.snapshot, metric)))
    }

    pub(super) fn list_metrics(&self, query: &Query) -> Result<Answer, Refusal> {
        let snapshot = self.engine.snapshot();
        let metrics = sorted(snapshot.metrics().filter(|own| !own.kind().is_group()));
        let path = format!("/api/v2/metrics/{}", self.project);
        let (page, total_count, links) = query.page(metrics, &path)?;
        let items: Vec<_> =
            page.into_iter().map(|own| self.listed_metric(&snapshot, own)).collect();
        Ok(Answer::ok(&Counted { items, total_count, links }))
    }

    pub(super) fn get_metric(&self, key: &str) -> Result<Answer, Refusal> {
        let snapshot = self.engine.snapshot();
        let metric = find(&snapshot, key).filter(|own| !own.kind().is_group());
        let metric = metric.ok_or_else(|| missing(key))?;
        Ok(Answer::ok(&self.listed_metric(&snapshot, metric)))
    }

    pub(super) fn create_metric_group(&self, call: Call<'_>) -> Result<Answer, Refusal> {
        let input: GroupInput = call.read(|cursor| cursor.read())?;
        let id = MetricId::random()?;
        let commit = self.engine.commit_with(|snapshot| {
            let members = input.metrics.iter().map(|(key, name_in_group)| {
                let metric = find(snapshot, key).ok_or_else(|| missing(key))?;
                let metric_id = metric.id().clone();
                Ok(MetricMember { metric_id, name_in_group: name_in_group.clone() })
            });
            let mut definition = MetricDefinition::new(input.kind);
            definition.members = members.collect::<Result<_, Refusal>>()?;
            let mut new = NewMetric::new(input.name.clone(), definition)
                .id(id.clone())
                .key(input.key.clone());
            new.description = input.description.clone().filter(|text| !text.is_empty());
            new.tags.clone_from(&input.tags);
            new.maintainer.clone_from(&input.maintainer);
            Ok::<_, Refusal>(new)
        })?;
        let group = find(&commit.snapshot, id.as_str()).ok_or_else(|| missing(id.as_str()))?;
        Ok(Answer::created(&self.listed_group(&commit.snapshot, group)))
    }

    pub(super) fn list_metric_groups(&self, query: &Query) -> Result<Answer, Refusal> {
        let snapshot = self.engine.snapshot();
        let groups = sorted(snapshot.metrics().filter(|own| own.kind().is_group()));
        let (page, total_count, links) = query.page(groups, &self.in_project("/metric-groups"))?;
        let items: Vec<_> = page.into_iter().map(|own| self.listed_group(&snapshot, own)).collect();
        Ok(Answer::ok(&Counted { items, total_count, links }))
    }

    pub(super) fn get_metric_group(&self, key: &str) -> Result<Answer, Refusal> {
        let snapshot = self.engine.snapshot();
        let group = find(&snapshot, key).filter(|own| own.kind().is_group());
        let group = group.ok_or_else(|| Refusal::not_found("metric group", key))?;
        Ok(Answer::ok(&self.listed_group(&snapshot, group)))
    }
}

/// The metric or group of this key, or of this id, which it shows as its key if it has none.
pub(super) fn find<'s>(snapshot: &'s Snapshot, key: &str) -> Option<&'s Metric> {
    snapshot.metric_by_key(key).or_else(|| snapshot.metric(key))
}

/// What programs call a metric by.
pub(super) fn key_of(metric: &Metric) -> &str {
    metric.key().map_or(metric.id().as_str(), |key| key.as_str())
}

fn missing(key: &str) -> Refusal {
    Refusal::not_found("metric", key)
}

fn sorted<'s>(metrics: impl Iterator<Item = &'s Metric>) -> Vec<&'s Metric> {
    let mut metrics: Vec<_> = metrics.collect();
    metrics.sort_unstable_by_key(|own| (own.created_at(), own.id()));
    metrics
}
