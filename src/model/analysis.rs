//! How the results of an experiment are to be read.

use std::sync::Arc;

use serde::Serialize;

use super::{Goal, Record, SubjectKind, Text, check_count, check_distinct};
use crate::error::{Error, codes};
use crate::id::MetricId;
use crate::json::{Cursor, FromJson, deserialize};
use crate::number::{Percentage, Probability};

/// The most metrics of an analysis.
const MAX_METRICS: usize = 100;

/// The most attributes that results are sliced by.
const MAX_ATTRIBUTES: usize = 5;

/// The longest name of an attribute, in characters.
const MAX_ATTRIBUTE: usize = 255;

/// How the results of an experiment are to be read. It is held and checked, nothing is computed
/// with it, and it has no influence on who gets what.
///
/// It changes while the experiment is a draft; `metrics` and `attributes` also grow while it is
/// active or paused, see [`Field::grows_in`](crate::Field::grows_in), and `goal` changes while it is a
/// draft, active or paused.
///
/// A bandit, kind `mab`, is `bayesian` and has a primary metric, which is no group; neither it nor
/// any other metric or member of a group is read by a percentile.
///
/// ```
/// use variate::{Analysis, Methodology};
///
/// let analysis = Analysis::new()
///     .hypothesis("A shorter headline brings more sign-ins".parse()?)
///     .methodology(Methodology::Bayesian)
///     .primary("met_entries".parse()?)
///     .metric("met_revenue".parse()?)
///     .attribute("country");
/// assert_eq!(analysis.primary_metric().unwrap().metric_id, "met_entries");
/// # Ok::<(), variate::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Analysis {
    /// What is expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hypothesis: Option<Text>,
    /// What kind of question it is.
    #[serde(skip_serializing_if = "AnalysisKind::is_default")]
    pub kind: AnalysisKind,
    /// By which school results are read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub methodology: Option<Methodology>,
    /// Where the events come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_source: Option<Text>,
    /// The metrics that are read, at most 100, none twice and at most one primary.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricUse>,
    /// The attributes that results are sliced by, at most 5, none twice, with names of 1 to 255
    /// characters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<String>,
    /// The data that explain a part of the variance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub covariate_id: Option<Text>,
    /// From which probability to be best, in percent, an arm counts as better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bayesian_threshold: Option<Percentage>,
    /// Below which p-value a difference counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub significance_threshold: Option<Probability>,
    /// Whether a test asks for a difference in one direction or in both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_direction: Option<TestDirection>,
    /// How it is made up for that many comparisons are made. Not beside `bayesian`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correction: Option<Correction>,
    /// Whether results can be read at any time, not only at the end. Not beside `bayesian`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequential: Option<bool>,
    /// How often a bandit divides the subjects anew, in milliseconds, at least 1. Only for the kind
    /// `mab`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reallocation_interval: Option<u64>,
    /// What the experiment is to reach. One that says nothing is none.
    #[serde(skip_serializing_if = "says_nothing")]
    pub goal: Option<Goal>,
}

/// A metric as an analysis reads it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "plain data, made by literal")]
pub struct MetricUse {
    /// The metric, which exists.
    pub metric_id: MetricId,
    /// Whether it is the one that decides: a single metric or a funnel.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_primary: bool,
    /// What it is read by, if not by what the experiment assigns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<SubjectKind>,
}

codes! {
    /// What kind of question an experiment is.
    #[derive(Default)]
    #[non_exhaustive]
    pub enum AnalysisKind {
        /// Which arm is better.
        #[default]
        Experiment = "experiment",
        /// What a set of experiments brings together.
        Holdout = "holdout",
        /// A bandit: which arm is better, while more and more subjects get it.
        Mab = "mab",
    }
}

codes! {
    /// By which school results are read.
    #[non_exhaustive]
    pub enum Methodology {
        /// By how probable it is that an arm is better.
        Bayesian = "bayesian",
        /// Not here: the data are exported.
        ExportOnly = "export_only",
        /// By how improbable the data are if there is no difference.
        Frequentist = "frequentist",
    }
}

codes! {
    /// Whether a test asks for a difference in one direction or in both.
    #[non_exhaustive]
    pub enum TestDirection {
        /// In one.
        OneSided = "one_sided",
        /// In both.
        TwoSided = "two_sided",
    }
}

codes! {
    /// How it is made up for that many comparisons are made.
    #[non_exhaustive]
    pub enum CorrectionMethod {
        /// By keeping the share of false discoveries low.
        BenjaminiHochberg = "benjamini_hochberg",
        /// By dividing the threshold by the number of comparisons.
        Bonferroni = "bonferroni",
    }
}

codes! {
    /// Which comparisons count as many.
    #[non_exhaustive]
    pub enum CorrectionScope {
        /// The metrics of one variation.
        Metrics = "metrics",
        /// The variations in one metric.
        Variations = "variations",
        /// All of both.
        VariationsAndMetrics = "variations_and_metrics",
    }
}

/// How it is made up for that many comparisons are made, and which. It has at least one of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "plain data, made by literal")]
pub struct Correction {
    /// How.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<CorrectionMethod>,
    /// Which comparisons.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<CorrectionScope>,
}

impl AnalysisKind {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde passes")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Analysis {
    /// What an experiment has of which nothing has been said.
    pub(crate) const NONE: &'static Self = &Self {
        hypothesis: None,
        kind: AnalysisKind::Experiment,
        methodology: None,
        data_source: None,
        metrics: Vec::new(),
        attributes: Vec::new(),
        covariate_id: None,
        bayesian_threshold: None,
        significance_threshold: None,
        test_direction: None,
        correction: None,
        sequential: None,
        reallocation_interval: None,
        goal: None,
    };

    /// One that says nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it says nothing.
    pub fn is_default(&self) -> bool {
        *self == *Self::NONE
    }

    /// The same analysis, without a goal that says nothing.
    pub(crate) fn tidy(self) -> Self {
        Self { goal: self.goal.filter(|goal| !goal.is_default()), ..self }
    }

    /// To be held; nothing when it says nothing.
    pub(crate) fn shared(self) -> Option<Arc<Self>> {
        Some(self.tidy()).filter(|own| !own.is_default()).map(Arc::new)
    }

    /// The metric that decides.
    pub fn primary_metric(&self) -> Option<&MetricUse> {
        self.metrics.iter().find(|metric| metric.is_primary)
    }

    /// The same analysis with this hypothesis.
    pub fn hypothesis(self, hypothesis: Text) -> Self {
        Self { hypothesis: Some(hypothesis), ..self }
    }

    /// The same analysis of this kind.
    pub fn kind(self, kind: AnalysisKind) -> Self {
        Self { kind, ..self }
    }

    /// The same analysis by this methodology.
    pub fn methodology(self, methodology: Methodology) -> Self {
        Self { methodology: Some(methodology), ..self }
    }

    /// The same analysis with one more metric, which decides.
    pub fn primary(mut self, metric_id: MetricId) -> Self {
        self.metrics.push(MetricUse { metric_id, is_primary: true, unit: None });
        self
    }

    /// The same analysis with one more metric.
    pub fn metric(mut self, metric_id: MetricId) -> Self {
        self.metrics.push(MetricUse { metric_id, is_primary: false, unit: None });
        self
    }

    /// The same analysis, sliced by one more attribute.
    pub fn attribute(mut self, attribute: impl Into<String>) -> Self {
        self.attributes.push(attribute.into());
        self
    }

    /// The same analysis with this goal.
    pub fn goal(self, goal: Goal) -> Self {
        Self { goal: Some(goal), ..self }
    }
}

#[expect(clippy::ref_option, reason = "what serde passes")]
fn says_nothing(goal: &Option<Goal>) -> bool {
    goal.as_ref().is_none_or(Goal::is_default)
}

/// Checks an analysis as far as no metric is concerned.
pub(crate) fn check_analysis(own: &Analysis) -> Result<(), Error> {
    check_metrics(&own.metrics).map_err(|error| error.at("metrics"))?;
    check_attributes(&own.attributes).map_err(|error| error.at("attributes"))?;
    if own.correction == Some(Correction::default()) {
        let rule = "must have a method or a scope";
        return Err(Error::invalid(rule).at("correction"));
    }
    let is_bayesian = own.methodology == Some(Methodology::Bayesian);
    for (field, is_given) in
        [("correction", own.correction.is_some()), ("sequential", own.sequential.is_some())]
    {
        if is_given && is_bayesian {
            let rule = "must not be given beside the methodology bayesian";
            return Err(Error::invalid(rule).at(field));
        }
    }
    check_interval(own).map_err(|error| error.at("reallocation_interval"))?;
    if own.kind == AnalysisKind::Mab {
        if !is_bayesian {
            let rule = "must be bayesian for the kind mab";
            return Err(Error::invalid(rule).with_value(&own.methodology).at("methodology"));
        }
        if own.primary_metric().is_none() {
            return Err(Error::invalid("must have a primary one for the kind mab").at("metrics"));
        }
    }
    Ok(())
}

fn check_metrics(metrics: &[MetricUse]) -> Result<(), Error> {
    check_count(metrics.len(), 0, MAX_METRICS)?;
    check_distinct(
        metrics,
        |metric| &metric.metric_id,
        |metric| {
            let error = Error::invalid("must not be given twice").with_value(&metric.metric_id);
            error.at("metric_id")
        },
    )?;
    let mut primary = metrics.iter().enumerate().filter(|(_, metric)| metric.is_primary);
    match (primary.next(), primary.next()) {
        (Some((_, first)), Some((second, _))) => {
            let rule = format!("must be false, since {} is the primary metric", first.metric_id);
            let error = Error::invalid(rule).with_value(&true);
            Err(error.at("is_primary").at_index(second))
        }
        _ => Ok(()),
    }
}

fn check_attributes(attributes: &[String]) -> Result<(), Error> {
    check_count(attributes.len(), 0, MAX_ATTRIBUTES)?;
    for (index, attribute) in attributes.iter().enumerate() {
        if attribute.is_empty() || attribute.chars().count() > MAX_ATTRIBUTE {
            let rule = format!("must have 1 to {MAX_ATTRIBUTE} characters");
            return Err(Error::invalid(rule).with_value(attribute).at_index(index));
        }
    }
    let twice = |own: &String| Error::invalid("must not be given twice").with_value(own);
    check_distinct(attributes, |attribute| attribute, twice)
}

fn check_interval(own: &Analysis) -> Result<(), Error> {
    let rule = match own.reallocation_interval {
        Some(_) if own.kind != AnalysisKind::Mab => "is only for the kind mab".to_owned(),
        None | Some(1..=Record::LAST) => return Ok(()),
        Some(_) => format!("must be a whole number from 1 to {}", Record::LAST),
    };
    Err(Error::invalid(rule).with_value(&own.reallocation_interval))
}

/// Whether a list has every entry of another in the same order, and perhaps more.
pub(crate) fn extends<T: PartialEq>(longer: &[T], shorter: &[T]) -> bool {
    let mut rest = longer.iter();
    shorter.iter().all(|entry| rest.any(|other| other == entry))
}

/// Whether metrics become more with none of those added primary.
pub(crate) fn adds_none_primary(old: &[MetricUse], new: &[MetricUse]) -> bool {
    let primary = |metrics: &[MetricUse]| metrics.iter().filter(|own| own.is_primary).count();
    extends(new, old) && primary(new) == primary(old)
}

impl FromJson for Analysis {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(&[
            "hypothesis",
            "kind",
            "methodology",
            "data_source",
            "metrics",
            "attributes",
            "covariate_id",
            "bayesian_threshold",
            "significance_threshold",
            "test_direction",
            "correction",
            "sequential",
            "reallocation_interval",
            "goal",
        ])?;
        let own = Self {
            hypothesis: object.optional("hypothesis")?,
            kind: object.or_default("kind")?,
            methodology: object.optional("methodology")?,
            data_source: object.optional("data_source")?,
            metrics: object.or_default("metrics")?,
            attributes: object.or_default("attributes")?,
            covariate_id: object.optional("covariate_id")?,
            bayesian_threshold: object.optional("bayesian_threshold")?,
            significance_threshold: object.optional("significance_threshold")?,
            test_direction: object.optional("test_direction")?,
            correction: object.optional("correction")?,
            sequential: object.optional("sequential")?,
            reallocation_interval: object.optional("reallocation_interval")?,
            goal: object.optional("goal")?,
        };
        Ok(own.tidy())
    }
}

impl FromJson for MetricUse {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(&["metric_id", "is_primary", "unit"])?;
        Ok(Self {
            metric_id: object.read("metric_id")?,
            is_primary: object.or_default("is_primary")?,
            unit: object.optional("unit")?,
        })
    }
}

impl FromJson for Correction {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(&["method", "scope"])?;
        Ok(Self { method: object.optional("method")?, scope: object.optional("scope")? })
    }
}

macro_rules! named {
    ($($name:ident),+) => {$(
        impl FromJson for $name {
            fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
                cursor.one_of(Self::ALL, Self::as_str)
            }
        }

        deserialize!($name);
    )+};
}

named!(AnalysisKind, Methodology, TestDirection, CorrectionMethod, CorrectionScope);

deserialize!(Analysis, MetricUse, Correction);
