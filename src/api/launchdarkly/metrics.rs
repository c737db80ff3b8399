//! Metrics and metric groups.

use serde::Serialize;
use serde_json::{Number, Value};

use super::Experimentation;
use super::answer::{Answer, Refusal};
use super::input::maybe;
use super::list::{Links, Query};
use crate::api::call::Call;
use crate::change::NewMetric;
use crate::error::Error;
use crate::id::MetricId;
use crate::json::{Cursor, FromJson, Object};
use crate::model::{
    AnalysisType, EventDefault, Metric, MetricDefinition, MetricKind, MetricMember, MetricUse,
    SubjectKind, SuccessCriteria, Text, UnitAggregation, UrlMatch,
};
use crate::number::Percentage;
use crate::snapshot::Snapshot;

/// The kinds of single metrics, and those of groups.
const SINGLES: &[MetricKind] =
    &[MetricKind::Pageview, MetricKind::Click, MetricKind::Custom, MetricKind::Trace];
const GROUPS: &[MetricKind] = &[MetricKind::Funnel, MetricKind::Standard];

/// The names of success criteria.
const CRITERIA: &[(&str, SuccessCriteria)] = &[
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
            key: object.read("key")?,
            name: maybe(&object, "name")?,
            description: maybe(&object, "description")?,
            tags: maybe(&object, "tags")?.unwrap_or_default(),
            definition,
        })
    }
}

fn present<'o>(object: &'o Object<'_>, key: &'static str) -> Option<Cursor<'o>> {
    object.get(key).filter(|cursor| !cursor.is_null())
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
    kind: MetricKind,
    /// The metrics by key, each with its name in the group.
    metrics: Vec<(String, Option<Text>)>,
}

impl FromJson for GroupInput {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.open_object()?;
        Ok(Self {
            key: object.read("key")?,
            name: object.read("name")?,
            description: maybe(&object, "description")?,
            tags: maybe(&object, "tags")?.unwrap_or_default(),
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
            new.tags = input.tags.clone();
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

    fn metric_path(&self, metric: &Metric) -> String {
        match metric.kind().is_group() {
            true => self.in_project(&format!("/metric-groups/{}", key_of(metric))),
            false => format!("/api/v2/metrics/{}/{}", self.project, key_of(metric)),
        }
    }

    fn metric_links(&self, metric: &Metric) -> Links {
        Links::new().and("parent", self.in_project("")).and("self", self.metric_path(metric))
    }

    /// A single metric as an iteration shows it.
    pub(super) fn shown_metric<'s>(
        &'s self,
        metric: &'s Metric,
        unit: Option<&'s SubjectKind>,
    ) -> ShownMetric<'s> {
        let definition = metric.definition();
        ShownMetric {
            key: key_of(metric),
            version_id: metric.id().as_str(),
            name: metric.name().as_str(),
            kind: metric.kind().as_str(),
            is_numeric: definition.is_numeric,
            unit_aggregation_type: definition.unit_aggregation.map(UnitAggregation::as_str),
            analysis_type: definition.analysis_type.map(AnalysisType::as_str),
            event_key: definition.event_key.as_ref().map(Text::as_str),
            analysis_unit: unit.map(SubjectKind::as_str),
            links: self.metric_links(metric),
        }
    }

    fn shown_members<'s>(
        &'s self,
        snapshot: &'s Snapshot,
        group: &'s Metric,
    ) -> Vec<ShownMember<'s>> {
        let members = group.definition().members.iter();
        let shown = members.filter_map(|member| {
            let metric = snapshot.metric(&member.metric_id)?;
            let units = metric.definition().analysis_units.iter().map(SubjectKind::as_str);
            Some(ShownMember {
                metric: self.shown_metric(metric, None),
                name_in_group: member.name_in_group.as_ref().map(Text::as_str),
                analysis_units: units.clone().collect(),
                randomization_units: units.collect(),
            })
        });
        shown.collect()
    }

    /// A funnel as an iteration shows it.
    pub(super) fn shown_funnel<'s>(
        &'s self,
        snapshot: &'s Snapshot,
        group: &'s Metric,
    ) -> ShownFunnel<'s> {
        ShownFunnel {
            key: key_of(group),
            name: group.name().as_str(),
            kind: group.kind().as_str(),
            links: self.metric_links(group),
            metrics: self.shown_members(snapshot, group),
        }
    }

    /// A metric or a group as an iteration shows either.
    pub(super) fn shown_dependent<'s>(
        &'s self,
        snapshot: &'s Snapshot,
        used: &'s MetricUse,
    ) -> Option<ShownDependent<'s>> {
        let metric = snapshot.metric(&used.metric_id)?;
        let definition = metric.definition();
        let is_group = metric.kind().is_group();
        Some(ShownDependent {
            key: key_of(metric),
            version_id: metric.id().as_str(),
            name: metric.name().as_str(),
            kind: metric.kind().as_str(),
            links: self.metric_links(metric),
            is_group,
            is_numeric: (!is_group).then_some(definition.is_numeric),
            event_key: definition.event_key.as_ref().map(Text::as_str),
            analysis_type: definition.analysis_type.map(AnalysisType::as_str),
            analysis_unit: used.unit.as_ref().map(SubjectKind::as_str),
            metrics: is_group.then(|| self.shown_members(snapshot, metric)),
        })
    }

    fn listed_metric<'s>(&'s self, snapshot: &'s Snapshot, metric: &'s Metric) -> Listed<'s> {
        let definition = metric.definition();
        let used = snapshot.used_by(metric.id()).count();
        let active = snapshot.used_by(metric.id()).filter_map(|id| snapshot.experiment(id));
        let text = |text: &'s Option<Text>| text.as_ref().map(Text::as_str);
        let units: Vec<_> = definition.analysis_units.iter().map(SubjectKind::as_str).collect();
        Listed {
            experiment_count: used,
            metric_group_count: snapshot.groups_of(metric.id()).count(),
            active_experiment_count: active
                .filter(|own| super::show::state(own) == "running")
                .count(),
            id: metric.id().as_str(),
            version_id: metric.id().as_str(),
            version: metric.version(),
            key: key_of(metric),
            name: metric.name().as_str(),
            kind: metric.kind().as_str(),
            links: self.metric_links(metric),
            tags: metric.tags().iter().map(|tag| tag.as_str()).collect(),
            creation_date: metric.created_at().unix_millis(),
            maintainer_id: &self.member,
            description: metric.description().map(|text| text.as_str()),
            is_numeric: definition.is_numeric,
            success_criteria: definition.success_criteria.and_then(|own| {
                let named = CRITERIA.iter().find(|(_, criteria)| *criteria == own);
                named.map(|(name, _)| *name)
            }),
            unit: text(&definition.unit),
            event_key: text(&definition.event_key),
            randomization_units: units.clone(),
            analysis_units: units,
            filters: definition.filters.as_ref(),
            unit_aggregation_type: definition.unit_aggregation.map(UnitAggregation::as_str),
            analysis_type: definition.analysis_type.map(AnalysisType::as_str),
            percentile_value: definition.percentile,
            event_default: definition.event_default.map(|own| ShownDefault {
                disabled: own.disabled,
                value: own.value.map(Number::from),
            }),
            data_source: ShownSource {
                key: text(&definition.data_source).unwrap_or("launchdarkly"),
            },
            archived: false,
            selector: text(&definition.selector),
            urls: &definition.urls,
            window_start_offset: definition.window_start_offset,
            window_end_offset: definition.window_end_offset,
            winsor_lower_percentile: definition.winsor_lower_percentile,
            winsor_upper_percentile: definition.winsor_upper_percentile,
            winsor_include_imputed: definition.winsor_include_imputed,
            trace_query: text(&definition.trace_query),
            trace_value_location: text(&definition.trace_value_location),
            unit_aggregation_field: text(&definition.unit_aggregation_field),
            denominator: definition.denominator.as_ref(),
        }
    }

    fn listed_group<'s>(&'s self, snapshot: &'s Snapshot, group: &'s Metric) -> ListedGroup<'s> {
        ListedGroup {
            id: group.id().as_str(),
            key: key_of(group),
            name: group.name().as_str(),
            kind: group.kind().as_str(),
            description: group.description().map(|text| text.as_str()),
            links: self.metric_links(group),
            tags: group.tags().iter().map(|tag| tag.as_str()).collect(),
            creation_date: group.created_at().unix_millis(),
            last_modified: group.updated_at().unix_millis(),
            maintainer: ShownMaintainer { key: &self.member, kind: "member" },
            metrics: self.shown_members(snapshot, group),
            version: group.version(),
            experiment_count: snapshot.used_by(group.id()).count(),
        }
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

/// A page of entities, as flags, metrics and layers have it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Counted<T> {
    pub(super) items: Vec<T>,
    pub(super) total_count: usize,
    #[serde(rename = "_links")]
    pub(super) links: Links,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShownMetric<'s> {
    key: &'s str,
    #[serde(rename = "_versionId")]
    version_id: &'s str,
    name: &'s str,
    kind: &'s str,
    is_numeric: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit_aggregation_type: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    analysis_type: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_key: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    analysis_unit: Option<&'s str>,
    #[serde(rename = "_links")]
    links: Links,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownMember<'s> {
    #[serde(flatten)]
    metric: ShownMetric<'s>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_in_group: Option<&'s str>,
    analysis_units: Vec<&'s str>,
    randomization_units: Vec<&'s str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShownFunnel<'s> {
    key: &'s str,
    name: &'s str,
    kind: &'s str,
    #[serde(rename = "_links")]
    links: Links,
    metrics: Vec<ShownMember<'s>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShownDependent<'s> {
    key: &'s str,
    #[serde(rename = "_versionId")]
    version_id: &'s str,
    name: &'s str,
    kind: &'s str,
    #[serde(rename = "_links")]
    links: Links,
    is_group: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_numeric: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_key: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    analysis_type: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    analysis_unit: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<Vec<ShownMember<'s>>>,
}

/// A metric by itself.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'s> {
    experiment_count: usize,
    metric_group_count: usize,
    active_experiment_count: usize,
    #[serde(rename = "_id")]
    id: &'s str,
    #[serde(rename = "_versionId")]
    version_id: &'s str,
    #[serde(rename = "_version")]
    version: u64,
    key: &'s str,
    name: &'s str,
    kind: &'s str,
    #[serde(rename = "_links")]
    links: Links,
    tags: Vec<&'s str>,
    #[serde(rename = "_creationDate")]
    creation_date: i64,
    maintainer_id: &'s str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'s str>,
    is_numeric: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    success_criteria: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_key: Option<&'s str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    randomization_units: Vec<&'s str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    analysis_units: Vec<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filters: Option<&'s Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit_aggregation_type: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    analysis_type: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    percentile_value: Option<Percentage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_default: Option<ShownDefault>,
    data_source: ShownSource<'s>,
    archived: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    selector: Option<&'s str>,
    #[serde(skip_serializing_if = "<[UrlMatch]>::is_empty")]
    urls: &'s [UrlMatch],
    #[serde(skip_serializing_if = "Option::is_none")]
    window_start_offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window_end_offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    winsor_lower_percentile: Option<Percentage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    winsor_upper_percentile: Option<Percentage>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    winsor_include_imputed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_query: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_value_location: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit_aggregation_field: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    denominator: Option<&'s Value>,
}

#[derive(Serialize)]
struct ShownDefault {
    disabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Number>,
}

#[derive(Serialize)]
struct ShownSource<'s> {
    key: &'s str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListedGroup<'s> {
    #[serde(rename = "_id")]
    id: &'s str,
    key: &'s str,
    name: &'s str,
    kind: &'s str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'s str>,
    #[serde(rename = "_links")]
    links: Links,
    tags: Vec<&'s str>,
    #[serde(rename = "_creationDate")]
    creation_date: i64,
    #[serde(rename = "_lastModified")]
    last_modified: i64,
    maintainer: ShownMaintainer<'s>,
    metrics: Vec<ShownMember<'s>>,
    #[serde(rename = "_version")]
    version: u64,
    experiment_count: usize,
}

#[derive(Serialize)]
struct ShownMaintainer<'s> {
    key: &'s str,
    kind: &'static str,
}
