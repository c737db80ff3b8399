//! What a request says, as LaunchDarkly's clients write it. Members that nobody knows are passed
//! over, and `null` is the same as nothing.

use crate::error::Error;
use crate::json::{Cursor, FromJson, Object};
use crate::number::Percentage;

/// The body that creates an experiment.
pub(super) struct ExperimentInput {
    pub(super) key: String,
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) maintainer: Option<String>,
    pub(super) tags: Vec<String>,
    pub(super) holdout_id: Option<String>,
    pub(super) methodology: Option<String>,
    pub(super) data_source: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) config: ConfigInput,
    pub(super) iteration: IterationInput,
}

/// What an iteration is to be like.
pub(super) struct IterationInput {
    pub(super) hypothesis: String,
    pub(super) can_reshuffle: Option<bool>,
    pub(super) unit: Option<String>,
    pub(super) flags: Vec<(String, FlagInput)>,
    pub(super) treatments: Vec<TreatmentInput>,
    pub(super) metrics: Vec<MetricInput>,
    pub(super) primary: Option<Primary>,
    pub(super) reallocation: Option<u64>,
    pub(super) covariate: Option<String>,
    pub(super) attributes: Vec<String>,
}

/// Where on a flag an iteration runs.
#[derive(Debug, Clone)]
pub(super) struct FlagInput {
    pub(super) rule_id: String,
    pub(super) config_version: u64,
    pub(super) outside: Option<String>,
}

/// One arm.
#[derive(Debug, Clone)]
pub(super) struct TreatmentInput {
    pub(super) name: String,
    pub(super) baseline: bool,
    pub(super) percent: Percentage,
    /// Flags with their variations.
    pub(super) parameters: Vec<(String, String)>,
}

/// The use of a metric or of a metric group.
#[derive(Debug, Clone)]
pub(super) struct MetricInput {
    pub(super) key: String,
    pub(super) is_group: bool,
    pub(super) is_primary: bool,
    pub(super) unit: Option<String>,
}

/// The metric, or the funnel, that decides.
#[derive(Debug, Clone)]
pub(super) enum Primary {
    Single(String),
    Funnel(String),
    /// Of a holdout, which has one name for both.
    Either(String),
}

/// How results are to be judged.
#[derive(Debug, Clone, Default)]
pub(super) struct ConfigInput {
    pub(super) bayesian_threshold: Option<String>,
    pub(super) significance_threshold: Option<String>,
    pub(super) test_direction: Option<String>,
    pub(super) correction_method: Option<String>,
    pub(super) correction_scope: Option<String>,
    pub(super) sequential: Option<bool>,
}

/// Reads a member that can be left out or `null`.
pub(super) fn maybe<T: FromJson>(
    object: &Object<'_>,
    key: &'static str,
) -> Result<Option<T>, Error> {
    present(object, key).map(Cursor::read).transpose()
}

/// Reads the key of what is to be created, which LaunchDarkly has begin with a letter or digit.
pub(super) fn new_key(object: &Object<'_>) -> Result<String, Error> {
    let cursor = object.required("key")?;
    let key = cursor.str()?;
    match key.strip_prefix(['.', '_', '-']) {
        None => Ok(key.to_owned()),
        Some(_) => {
            let error = Error::invalid("must begin with a letter or digit").with_value(key);
            Err(cursor.locate(error))
        }
    }
}

/// A member that is neither left out nor `null`.
pub(super) fn present<'o>(object: &'o Object<'_>, key: &'static str) -> Option<Cursor<'o>> {
    object.get(key).filter(|cursor| !cursor.is_null())
}

impl FromJson for ExperimentInput {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.open_object()?;
        Ok(Self {
            key: new_key(&object)?,
            name: object.read("name")?,
            description: maybe(&object, "description")?,
            maintainer: maybe(&object, "maintainerId")?,
            tags: maybe(&object, "tags")?.unwrap_or_default(),
            holdout_id: maybe(&object, "holdoutId")?,
            methodology: maybe(&object, "methodology")?,
            data_source: maybe(&object, "dataSource")?,
            kind: maybe(&object, "type")?,
            config: maybe(&object, "analysisConfig")?.unwrap_or_default(),
            iteration: object.read("iteration")?,
        })
    }
}

impl FromJson for IterationInput {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.open_object()?;
        let single: Option<String> = maybe(&object, "primarySingleMetricKey")?;
        let funnel: Option<String> = maybe(&object, "primaryFunnelKey")?;
        let primary = match (single, funnel) {
            (Some(_), Some(funnel)) => {
                let rule = "must not be given beside primarySingleMetricKey";
                let error = Error::invalid(rule).with_value(&funnel).at("primaryFunnelKey");
                return Err(object.locate(error));
            }
            (Some(key), None) => Some(Primary::Single(key)),
            (None, Some(key)) => Some(Primary::Funnel(key)),
            (None, None) => None,
        };
        Ok(Self {
            hypothesis: object.read("hypothesis")?,
            can_reshuffle: maybe(&object, "canReshuffleTraffic")?,
            unit: maybe(&object, "randomizationUnit")?,
            flags: read_flags(object.required("flags")?)?,
            treatments: object.read("treatments")?,
            metrics: object.read("metrics")?,
            primary,
            reallocation: maybe(&object, "reallocationFrequencyMillis")?,
            covariate: maybe(&object, "covariateId")?,
            attributes: maybe(&object, "attributes")?.unwrap_or_default(),
        })
    }
}

/// Reads the flags of an iteration, by their keys.
pub(super) fn read_flags(cursor: Cursor<'_>) -> Result<Vec<(String, FlagInput)>, Error> {
    cursor.map(|key, flag| Ok((key.to_owned(), flag.read()?)))
}

impl FromJson for FlagInput {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.open_object()?;
        Ok(Self {
            rule_id: object.read("ruleId")?,
            config_version: object.read("flagConfigVersion")?,
            outside: maybe(&object, "notInExperimentVariationId")?,
        })
    }
}

impl FromJson for TreatmentInput {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.open_object()?;
        let parameters = object.required("parameters")?.array(|item| {
            let object = item.open_object()?;
            Ok((object.read("flagKey")?, object.read("variationId")?))
        })?;
        Ok(Self {
            name: object.read("name")?,
            baseline: object.read("baseline")?,
            percent: read_percent(object.required("allocationPercent")?)?,
            parameters,
        })
    }
}

/// Reads a share in percent, written as a text or as a number, of which LaunchDarkly has three
/// decimals.
pub(super) fn read_percent(cursor: Cursor<'_>) -> Result<Percentage, Error> {
    let percent: Percentage = match cursor.number() {
        Ok(_) => cursor.read()?,
        Err(_) => cursor.parse()?,
    };
    match percent.millionths().is_multiple_of(1_000) {
        true => Ok(percent),
        false => {
            let rule = "must have at most 3 decimals";
            Err(cursor.locate(Error::invalid(rule).with_value(&percent)))
        }
    }
}

impl FromJson for MetricInput {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.open_object()?;
        Ok(Self {
            key: object.read("key")?,
            is_group: maybe(&object, "isGroup")?.unwrap_or_default(),
            is_primary: maybe(&object, "primary")?.unwrap_or_default(),
            unit: maybe(&object, "analysisUnit")?,
        })
    }
}

impl FromJson for ConfigInput {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.open_object()?;
        Ok(Self {
            bayesian_threshold: maybe(&object, "bayesianThreshold")?,
            significance_threshold: maybe(&object, "significanceThreshold")?,
            test_direction: maybe(&object, "testDirection")?,
            correction_method: maybe(&object, "multipleComparisonCorrectionMethod")?,
            correction_scope: maybe(&object, "multipleComparisonCorrectionScope")?,
            sequential: maybe(&object, "sequentialTestingEnabled")?,
        })
    }
}
