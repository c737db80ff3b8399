//! The rules of what a metric measures.

use serde_json::Value;

use super::{MetricDefinition, MetricKind};
use crate::error::{Code, Error};
use crate::json::Cursor;
use crate::model::{Record, SubjectKind, check_count, check_distinct, is_deeper};
use crate::number::Percentage;

/// The most entries in each list of a metric.
const MAX_ENTRIES: usize = 100;

/// The longest JSON that is held as it is, in bytes when compact.
const MAX_HELD: usize = 4 << 10;

/// The deepest nesting of what is held as it is.
const MAX_DEPTH: usize = 32;

/// Checks a metric as far as no other is concerned.
pub(crate) fn check_definition(own: &MetricDefinition) -> Result<(), Error> {
    let kind = own.kind;
    let of = |kinds: &[MetricKind]| {
        kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(" or ")
    };
    for (field, is_given, kinds) in own.fields() {
        if is_given && !kinds.contains(&kind) {
            let rule = format!("is only for metrics of the kind {}, not {kind}", of(kinds));
            return Err(Error::invalid(rule).at(field));
        }
    }
    for (field, is_given, needed_by) in [
        ("event_key", own.event_key.is_some(), MetricKind::Custom),
        ("selector", own.selector.is_some(), MetricKind::Click),
    ] {
        if kind == needed_by && !is_given {
            let rule = format!("is required for metrics of the kind {kind}");
            return Err(Error::new(Code::MissingKey, rule).at(field));
        }
    }
    check_count(own.urls.len(), 0, MAX_ENTRIES).map_err(|error| error.at("urls"))?;
    check_units(&own.analysis_units).map_err(|error| error.at("analysis_units"))?;
    check_percentile(own)?;
    check_winsor(own)?;
    check_window(own)?;
    match own.event_default.and_then(|default| default.value) {
        Some(value) if value != 0 => {
            let error = Error::invalid("must be 0").with_value(&value);
            return Err(error.at("value").at("event_default"));
        }
        _ => {}
    }
    for (key, value) in [("filters", &own.filters), ("denominator", &own.denominator)] {
        value.as_ref().map_or(Ok(()), check_held_value).map_err(|error| error.at(key))?;
    }
    if kind.is_group() {
        check_members(own).map_err(|error| error.at("members"))?;
    }
    Ok(())
}

fn check_units(units: &[SubjectKind]) -> Result<(), Error> {
    check_count(units.len(), 0, MAX_ENTRIES)?;
    let twice = |unit: &SubjectKind| Error::invalid("must not be given twice").with_value(unit);
    check_distinct(units, |unit| unit, twice)
}

fn check_percentile(own: &MetricDefinition) -> Result<(), Error> {
    let rule = match own.percentile {
        _ if own.is_percentile() && own.is_occurrence() => {
            let rule = "must be mean, since the metric is not numeric";
            return Err(Error::invalid(rule).with_value(&own.analysis_type).at("analysis_type"));
        }
        None if own.is_percentile() => {
            let rule = "is required for the analysis type percentile";
            return Err(Error::new(Code::MissingKey, rule).at("percentile"));
        }
        Some(_) if !own.is_percentile() => "is only for the analysis type percentile",
        _ => return Ok(()),
    };
    Err(Error::invalid(rule).with_value(&own.percentile).at("percentile"))
}

fn check_winsor(own: &MetricDefinition) -> Result<(), Error> {
    let (lower, upper) = (own.winsor_lower_percentile, own.winsor_upper_percentile);
    for (field, bound) in [("winsor_lower_percentile", lower), ("winsor_upper_percentile", upper)] {
        if bound.is_some_and(|bound| bound.is_zero() || bound == Percentage::MAX) {
            let error = Error::invalid("must be above 0 and below 100").with_value(&bound);
            return Err(error.at(field));
        }
    }
    match (lower, upper) {
        (Some(lower), Some(upper)) if upper <= lower => {
            let rule = format!("must be above winsor_lower_percentile, which is {lower}");
            Err(Error::invalid(rule).with_value(&upper).at("winsor_upper_percentile"))
        }
        (None, None) if own.winsor_include_imputed => {
            let rule = "is only beside winsor_lower_percentile or winsor_upper_percentile";
            Err(Error::invalid(rule).with_value(&true).at("winsor_include_imputed"))
        }
        _ => Ok(()),
    }
}

fn check_window(own: &MetricDefinition) -> Result<(), Error> {
    let (start, end) = (own.window_start_offset, own.window_end_offset);
    for (field, offset) in [("window_start_offset", start), ("window_end_offset", end)] {
        if let Some(offset) = offset.filter(|offset| *offset > Record::LAST) {
            let rule = format!("must be at most {}", Record::LAST);
            return Err(Error::invalid(rule).with_value(&offset).at(field));
        }
    }
    match (start, end) {
        (Some(start), Some(end)) if end <= start => {
            let rule = format!("must be above window_start_offset, which is {start}");
            Err(Error::invalid(rule).with_value(&end).at("window_end_offset"))
        }
        _ => Ok(()),
    }
}

fn check_held_value(value: &Value) -> Result<(), Error> {
    if value.is_null() {
        return Err(Error::new(Code::WrongType, "must not be null").with_value(value));
    }
    if is_deeper(value, MAX_DEPTH) {
        let rule = format!("must be nested at most {MAX_DEPTH} deep");
        return Err(Error::new(Code::LimitExceeded, rule));
    }
    if value.to_string().len() > MAX_HELD {
        return Err(too_large(value));
    }
    Ok(())
}

/// Reads what is held as it is, which has no more values within than its JSON may have bytes.
pub(super) fn read_held(cursor: Cursor<'_>) -> Result<Value, Error> {
    cursor.value(MAX_HELD).ok_or_else(|| cursor.locate(too_large(&cursor.preview())))
}

fn too_large(value: &Value) -> Error {
    let rule = format!("must have at most {MAX_HELD} bytes as compact JSON");
    Error::new(Code::LimitExceeded, rule).with_value(value)
}

fn check_members(own: &MetricDefinition) -> Result<(), Error> {
    let is_funnel = own.kind == MetricKind::Funnel;
    check_count(own.members.len(), if is_funnel { 2 } else { 1 }, MAX_ENTRIES)?;
    check_distinct(
        &own.members,
        |member| &member.metric_id,
        |member| {
            let error = Error::invalid("must not be given twice");
            error.with_value(&member.metric_id).at("metric_id")
        },
    )?;
    let unnamed = own.members.iter().position(|member| member.name_in_group.is_none());
    match unnamed.filter(|_| is_funnel) {
        Some(index) => {
            let error = Error::new(Code::MissingKey, "is required in a funnel");
            Err(error.at("name_in_group").at_index(index))
        }
        None => Ok(()),
    }
}
