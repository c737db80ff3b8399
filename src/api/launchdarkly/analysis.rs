//! How results are to be read, as LaunchDarkly writes it.

use super::answer::Refusal;
use super::input::ConfigInput;
use crate::error::Error;
use crate::json::one_of;
use crate::model::{
    Analysis, AnalysisKind, Correction, CorrectionMethod, CorrectionScope, Methodology,
    TestDirection, Text,
};

/// How the results of an experiment are to be read, as far as it is no matter of an iteration.
pub(super) fn analysis(
    kind: Option<&str>,
    methodology_given: Option<&str>,
    source: Option<&str>,
    config: &ConfigInput,
) -> Result<Analysis, Refusal> {
    let kind = match kind {
        Some(text) => one_of(text, AnalysisKind::ALL, AnalysisKind::as_str)
            .map_err(|error| error.at("type"))?,
        None => AnalysisKind::Experiment,
    };
    let methodology = match methodology_given {
        Some(text) => methodology(text)?,
        None if kind == AnalysisKind::Mab => Methodology::Bayesian,
        None => Methodology::Frequentist,
    };
    let mut analysis = Analysis {
        kind,
        methodology: Some(methodology),
        data_source: source.map(data_source).transpose()?,
        ..Analysis::new()
    };
    configure(&mut analysis, config)?;
    Ok(analysis)
}

pub(super) fn methodology(text: &str) -> Result<Methodology, Error> {
    one_of(text, Methodology::ALL, Methodology::as_str).map_err(|error| error.at("methodology"))
}

pub(super) fn covariate(id: &str) -> Result<Text, Error> {
    id.parse().map_err(|error: Error| error.at("covariateId"))
}

pub(super) fn data_source(text: &str) -> Result<Text, Error> {
    text.parse().map_err(|error: Error| error.at("dataSource"))
}

pub(super) fn hypothesis(text: &str) -> Result<Option<Text>, Error> {
    match text {
        "" => Ok(None),
        _ => text.parse().map(Some).map_err(|error: Error| error.at("hypothesis")),
    }
}

/// Sets how results are to be judged, all of it.
pub(super) fn configure(analysis: &mut Analysis, input: &ConfigInput) -> Result<(), Error> {
    fn at<T>(key: &'static str, read: Result<T, Error>) -> Result<T, Error> {
        read.map_err(|error| error.at(key).at("analysisConfig"))
    }
    let number = |text: &Option<String>| text.as_deref().map(str::parse).transpose();
    analysis.bayesian_threshold = at("bayesianThreshold", number(&input.bayesian_threshold))?;
    let significance = input.significance_threshold.as_deref().map(str::parse).transpose();
    analysis.significance_threshold = at("significanceThreshold", significance)?;
    analysis.test_direction = at(
        "testDirection",
        named(input.test_direction.as_deref(), TestDirection::ALL, TestDirection::as_str),
    )?;
    let method = at(
        "multipleComparisonCorrectionMethod",
        named(input.correction_method.as_deref(), CorrectionMethod::ALL, CorrectionMethod::as_str),
    )?;
    let scope = at(
        "multipleComparisonCorrectionScope",
        named(input.correction_scope.as_deref(), CorrectionScope::ALL, CorrectionScope::as_str),
    )?;
    let some = method.is_some() || scope.is_some();
    analysis.correction = some.then_some(Correction { method, scope });
    analysis.sequential = input.sequential;
    Ok(())
}

/// Reads one of these names, which LaunchDarkly writes with hyphens.
fn named<T: Copy>(
    text: Option<&str>,
    all: &[T],
    name: fn(T) -> &'static str,
) -> Result<Option<T>, Error> {
    let Some(text) = text else { return Ok(None) };
    let found = all.iter().copied().find(|own| hyphened(name(*own)) == text);
    found.map(Some).ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|own| hyphened(name(*own))).collect();
        Error::invalid(format!("must be one of {}", names.join(", "))).with_value(text)
    })
}

/// A name of this crate as LaunchDarkly spells it.
pub(super) fn hyphened(name: &str) -> String {
    name.replace('_', "-")
}
