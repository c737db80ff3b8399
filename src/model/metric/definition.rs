//! What a metric measures, and the rules of that.

use serde::Serialize;
use serde_json::Value;

use super::UrlMatch;
use super::check::read_held;
use crate::error::{Error, codes};
use crate::id::MetricId;
use crate::json::{Cursor, FromJson, Object, deserialize};
use crate::model::{SubjectKind, Text};
use crate::number::Percentage;

codes! {
    /// The kinds of metrics.
    #[non_exhaustive]
    pub enum MetricKind {
        /// Clicks on an element of a page.
        Click = "click",
        /// Events of the caller's.
        Custom = "custom",
        /// A group: steps that follow each other.
        Funnel = "funnel",
        /// Views of a page.
        Pageview = "pageview",
        /// A group: metrics that are read together.
        Standard = "standard",
        /// Spans of traces.
        Trace = "trace",
    }
}

impl MetricKind {
    const SINGLES: &'static [Self] = &[Self::Pageview, Self::Click, Self::Custom, Self::Trace];
    const GROUPS: &'static [Self] = &[Self::Funnel, Self::Standard];

    /// Whether it is a group of metrics: `funnel` or `standard`.
    pub fn is_group(self) -> bool {
        Self::GROUPS.contains(&self)
    }
}

codes! {
    /// Which way a metric should move.
    #[non_exhaustive]
    pub enum SuccessCriteria {
        /// Higher than in the control is better.
        HigherThanBaseline = "higher_than_baseline",
        /// Lower than in the control is better.
        LowerThanBaseline = "lower_than_baseline",
    }
}

codes! {
    /// How the events of one unit become one value.
    #[non_exhaustive]
    pub enum UnitAggregation {
        /// Their average.
        Average = "average",
        /// How many different values there are.
        CountDistinct = "count_distinct",
        /// Their sum.
        Sum = "sum",
    }
}

codes! {
    /// What is read of the values of all units of an arm.
    #[non_exhaustive]
    pub enum AnalysisType {
        /// Their mean.
        Mean = "mean",
        /// One of their percentiles.
        Percentile = "percentile",
    }
}

/// What stands for a unit that has no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "plain data, made by literal")]
pub struct EventDefault {
    /// Whether nothing stands for it, so that the unit is left out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// The value, if it is said: 0 is the only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<u32>,
}

/// A metric of a group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "plain data, made by literal")]
pub struct MetricMember {
    /// The metric.
    pub metric_id: MetricId,
    /// What it is called as a part of the group; each step of a funnel is called something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_in_group: Option<Text>,
}

/// What a metric measures and how that is read, or what it groups.
///
/// Plain data: the rules are checked when a metric takes it. Each list has at most 100 entries. Of
/// the fields only `kind` and `members` are for groups, and `members` for groups alone.
///
/// A metric of occurrence is one that is not numeric: a `pageview`, a `click`, or a `custom` without
/// `is_numeric`.
///
/// ```
/// use variate::{AnalysisType, MetricDefinition};
///
/// let mut latency = MetricDefinition::numeric("page-load".parse()?);
/// latency.unit = Some("ms".parse()?);
/// latency.analysis_type = Some(AnalysisType::Percentile);
/// latency.percentile = Some(95.try_into()?);
/// # Ok::<(), variate::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MetricDefinition {
    /// What kind of metric it is.
    pub kind: MetricKind,
    /// Whether the value of an event counts, not only that it occurs. Only for `custom` and
    /// `trace`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_numeric: bool,
    /// The key of the events. Required for `custom`; also for `trace`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_key: Option<Text>,
    /// The element that is clicked. Required for `click`, and only for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<Text>,
    /// The pages. Only for `pageview` and `click`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<UrlMatch>,
    /// What it is measured in. Only for `custom` and `trace`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<Text>,
    /// Which way it should move.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_criteria: Option<SuccessCriteria>,
    /// The kinds of subjects that it can be read by, none twice.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub analysis_units: Vec<SubjectKind>,
    /// How the events of one unit become one value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit_aggregation: Option<UnitAggregation>,
    /// What is read of the values of all units; their mean, unless it is said. A metric of
    /// occurrence has no percentiles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub analysis_type: Option<AnalysisType>,
    /// Which percentile. Required for the analysis type `percentile`, and only for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percentile: Option<Percentage>,
    /// What stands for a unit that has no event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_default: Option<EventDefault>,
    /// Where the events come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_source: Option<Text>,
    /// The percentile to which lower values are raised: above 0 and below 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub winsor_lower_percentile: Option<Percentage>,
    /// The percentile to which higher values are lowered: above 0 and below 100, and above the lower
    /// one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub winsor_upper_percentile: Option<Percentage>,
    /// Whether units without an event count for these percentiles. Only beside one of them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub winsor_include_imputed: bool,
    /// Which spans. Only for `trace`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_query: Option<Text>,
    /// Where in a span the value stands. Only for `trace`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_value_location: Option<Text>,
    /// The member of the events that is aggregated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit_aggregation_field: Option<Text>,
    /// The column in which the value stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_column: Option<Text>,
    /// What a ratio is divided by, held as `filters` are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denominator: Option<Value>,
    /// Which events count: any JSON but `null`, of at most 4 KiB as compact JSON and 32 levels of
    /// nesting. It is held, not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filters: Option<Value>,
    /// How many milliseconds after its first exposure a unit's events begin to count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_start_offset: Option<u64>,
    /// How many milliseconds after its first exposure they cease to count; more than that at which
    /// they begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_end_offset: Option<u64>,
    /// The metrics of a group, in their order, none twice, each a single metric that exists: two or
    /// more in a funnel, one or more in a standard group. The steps of a funnel have a
    /// `name_in_group`, and are metrics of occurrence read by their mean.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MetricMember>,
}

impl MetricDefinition {
    /// A definition of this kind with nothing else in it, which some kinds do not allow.
    pub fn new(kind: MetricKind) -> Self {
        Self {
            kind,
            is_numeric: false,
            event_key: None,
            selector: None,
            urls: Vec::new(),
            unit: None,
            success_criteria: None,
            analysis_units: Vec::new(),
            unit_aggregation: None,
            analysis_type: None,
            percentile: None,
            event_default: None,
            data_source: None,
            winsor_lower_percentile: None,
            winsor_upper_percentile: None,
            winsor_include_imputed: false,
            trace_query: None,
            trace_value_location: None,
            unit_aggregation_field: None,
            value_column: None,
            denominator: None,
            filters: None,
            window_start_offset: None,
            window_end_offset: None,
            members: Vec::new(),
        }
    }

    /// Whether events with this key occur.
    pub fn conversion(event_key: Text) -> Self {
        Self { event_key: Some(event_key), ..Self::new(MetricKind::Custom) }
    }

    /// The values of events with this key.
    pub fn numeric(event_key: Text) -> Self {
        Self { is_numeric: true, ..Self::conversion(event_key) }
    }

    /// Clicks on this element.
    pub fn click(selector: Text) -> Self {
        Self { selector: Some(selector), ..Self::new(MetricKind::Click) }
    }

    /// A funnel of these steps, each with what it is called there.
    pub fn funnel(steps: impl IntoIterator<Item = (MetricId, Text)>) -> Self {
        let step = |(metric_id, name)| MetricMember { metric_id, name_in_group: Some(name) };
        Self { members: steps.into_iter().map(step).collect(), ..Self::new(MetricKind::Funnel) }
    }

    /// A standard group of these metrics.
    pub fn group(members: impl IntoIterator<Item = MetricId>) -> Self {
        let member = |metric_id| MetricMember { metric_id, name_in_group: None };
        let members = members.into_iter().map(member).collect();
        Self { members, ..Self::new(MetricKind::Standard) }
    }

    /// Whether it only counts that something occurs.
    pub(crate) fn is_occurrence(&self) -> bool {
        match self.kind {
            MetricKind::Pageview | MetricKind::Click => true,
            MetricKind::Custom => !self.is_numeric,
            MetricKind::Trace | MetricKind::Funnel | MetricKind::Standard => false,
        }
    }

    pub(crate) fn is_percentile(&self) -> bool {
        self.analysis_type == Some(AnalysisType::Percentile)
    }

    /// Each field that not all kinds have: whether it is given, and which have it.
    pub(super) fn fields(&self) -> [(&'static str, bool, &'static [MetricKind]); 24] {
        use MetricKind::{Click, Custom, Pageview, Trace};
        const SINGLES: &[MetricKind] = MetricKind::SINGLES;
        [
            ("is_numeric", self.is_numeric, &[Custom, Trace]),
            ("event_key", self.event_key.is_some(), &[Custom, Trace]),
            ("selector", self.selector.is_some(), &[Click]),
            ("urls", !self.urls.is_empty(), &[Pageview, Click]),
            ("unit", self.unit.is_some(), &[Custom, Trace]),
            ("success_criteria", self.success_criteria.is_some(), SINGLES),
            ("analysis_units", !self.analysis_units.is_empty(), SINGLES),
            ("unit_aggregation", self.unit_aggregation.is_some(), SINGLES),
            ("analysis_type", self.analysis_type.is_some(), SINGLES),
            ("percentile", self.percentile.is_some(), SINGLES),
            ("event_default", self.event_default.is_some(), SINGLES),
            ("data_source", self.data_source.is_some(), SINGLES),
            ("winsor_lower_percentile", self.winsor_lower_percentile.is_some(), SINGLES),
            ("winsor_upper_percentile", self.winsor_upper_percentile.is_some(), SINGLES),
            ("winsor_include_imputed", self.winsor_include_imputed, SINGLES),
            ("trace_query", self.trace_query.is_some(), &[Trace]),
            ("trace_value_location", self.trace_value_location.is_some(), &[Trace]),
            ("unit_aggregation_field", self.unit_aggregation_field.is_some(), SINGLES),
            ("value_column", self.value_column.is_some(), SINGLES),
            ("denominator", self.denominator.is_some(), SINGLES),
            ("filters", self.filters.is_some(), SINGLES),
            ("window_start_offset", self.window_start_offset.is_some(), SINGLES),
            ("window_end_offset", self.window_end_offset.is_some(), SINGLES),
            ("members", !self.members.is_empty(), MetricKind::GROUPS),
        ]
    }
}

/// The keys of a metric in JSON, and more.
macro_rules! metric_keys {
    ($($more:literal),*) => {
        &[
            "id", "name", "description", "tags", "key", "maintainer", "kind", "is_numeric", "event_key", "selector",
            "urls", "unit", "success_criteria", "analysis_units", "unit_aggregation",
            "analysis_type", "percentile", "event_default", "data_source",
            "winsor_lower_percentile", "winsor_upper_percentile", "winsor_include_imputed",
            "trace_query", "trace_value_location", "unit_aggregation_field", "value_column",
            "denominator", "filters", "window_start_offset", "window_end_offset", "members",
            $($more,)*
        ]
    };
}
pub(crate) use metric_keys;

impl MetricDefinition {
    /// Reads what an object with the [`metric_keys`] says of it.
    pub(crate) fn read(object: &Object<'_>) -> Result<Self, Error> {
        Ok(Self {
            kind: object.read("kind")?,
            is_numeric: object.or_default("is_numeric")?,
            event_key: object.optional("event_key")?,
            selector: object.optional("selector")?,
            urls: object.or_default("urls")?,
            unit: object.optional("unit")?,
            success_criteria: object.optional("success_criteria")?,
            analysis_units: object.or_default("analysis_units")?,
            unit_aggregation: object.optional("unit_aggregation")?,
            analysis_type: object.optional("analysis_type")?,
            percentile: object.optional("percentile")?,
            event_default: object.optional("event_default")?,
            data_source: object.optional("data_source")?,
            winsor_lower_percentile: object.optional("winsor_lower_percentile")?,
            winsor_upper_percentile: object.optional("winsor_upper_percentile")?,
            winsor_include_imputed: object.or_default("winsor_include_imputed")?,
            trace_query: object.optional("trace_query")?,
            trace_value_location: object.optional("trace_value_location")?,
            unit_aggregation_field: object.optional("unit_aggregation_field")?,
            value_column: object.optional("value_column")?,
            denominator: object.get("denominator").map(read_held).transpose()?,
            filters: object.get("filters").map(read_held).transpose()?,
            window_start_offset: object.optional("window_start_offset")?,
            window_end_offset: object.optional("window_end_offset")?,
            members: object.or_default("members")?,
        })
    }
}

impl FromJson for EventDefault {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(&["disabled", "value"])?;
        Ok(Self { disabled: object.or_default("disabled")?, value: object.optional("value")? })
    }
}

impl FromJson for MetricMember {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(&["metric_id", "name_in_group"])?;
        Ok(Self {
            metric_id: object.read("metric_id")?,
            name_in_group: object.optional("name_in_group")?,
        })
    }
}

macro_rules! named {
    ($($name:ident),+) => {$(
        impl FromJson for $name {
            fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
                cursor.one_of(Self::ALL, Self::as_str)
            }
        }
    )+};
}

named!(MetricKind, SuccessCriteria, UnitAggregation, AnalysisType);

deserialize!(
    EventDefault,
    MetricMember,
    MetricKind,
    SuccessCriteria,
    UnitAggregation,
    AnalysisType
);
