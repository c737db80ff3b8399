//! Metrics and metric groups.

use serde::Serialize;
use serde_json::{Number, Value};

use crate::api::launchdarkly::Experimentation;
use crate::api::launchdarkly::list::Links;
use crate::api::launchdarkly::metrics::{CRITERIA, key_of};
use crate::model::{AnalysisType, Metric, MetricUse, SubjectKind, Text, UnitAggregation, UrlMatch};
use crate::number::Percentage;
use crate::snapshot::Snapshot;

impl Experimentation {
    fn metric_path(&self, metric: &Metric) -> String {
        match metric.kind().is_group() {
            true => self.in_project(&format!("/metric-groups/{}", key_of(metric))),
            false => format!("/api/v2/metrics/{}/{}", self.project, key_of(metric)),
        }
    }

    fn maintainer_of<'s>(&'s self, metric: &'s Metric) -> &'s str {
        metric.maintainer().map_or(&self.member, |own| own.as_str())
    }

    fn metric_links(&self, metric: &Metric) -> Links {
        Links::new().and("parent", self.in_project("")).and("self", self.metric_path(metric))
    }

    /// A single metric as an iteration shows it.
    pub(in crate::api::launchdarkly) fn shown_metric<'s>(
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
    pub(in crate::api::launchdarkly) fn shown_funnel<'s>(
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
    pub(in crate::api::launchdarkly) fn shown_dependent<'s>(
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

    pub(in crate::api::launchdarkly) fn listed_metric<'s>(
        &'s self,
        snapshot: &'s Snapshot,
        metric: &'s Metric,
    ) -> Listed<'s> {
        let definition = metric.definition();
        let used = snapshot.used_by(metric.id()).count();
        let active = snapshot.used_by(metric.id()).filter_map(|id| snapshot.experiment(id));
        let text = |text: &'s Option<Text>| text.as_ref().map(Text::as_str);
        let units: Vec<_> = definition.analysis_units.iter().map(SubjectKind::as_str).collect();
        Listed {
            experiment_count: used,
            metric_group_count: snapshot.groups_of(metric.id()).count(),
            active_experiment_count: active.filter(|own| super::state(own) == "running").count(),
            id: metric.id().as_str(),
            version_id: metric.id().as_str(),
            version: metric.version(),
            key: key_of(metric),
            name: metric.name().as_str(),
            kind: metric.kind().as_str(),
            links: self.metric_links(metric),
            tags: metric.tags().iter().map(|tag| tag.as_str()).collect(),
            creation_date: metric.created_at().unix_millis(),
            maintainer_id: self.maintainer_of(metric),
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

    pub(in crate::api::launchdarkly) fn listed_group<'s>(
        &'s self,
        snapshot: &'s Snapshot,
        group: &'s Metric,
    ) -> ListedGroup<'s> {
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
            maintainer: ShownMaintainer { key: self.maintainer_of(group), kind: "member" },
            metrics: self.shown_members(snapshot, group),
            version: group.version(),
            experiment_count: snapshot.used_by(group.id()).count(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api::launchdarkly) struct ShownMetric<'s> {
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
pub(in crate::api::launchdarkly) struct ShownMember<'s> {
    #[serde(flatten)]
    metric: ShownMetric<'s>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_in_group: Option<&'s str>,
    analysis_units: Vec<&'s str>,
    randomization_units: Vec<&'s str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api::launchdarkly) struct ShownFunnel<'s> {
    key: &'s str,
    name: &'s str,
    kind: &'s str,
    #[serde(rename = "_links")]
    links: Links,
    metrics: Vec<ShownMember<'s>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api::launchdarkly) struct ShownDependent<'s> {
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
pub(in crate::api::launchdarkly) struct Listed<'s> {
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
pub(in crate::api::launchdarkly) struct ListedGroup<'s> {
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
