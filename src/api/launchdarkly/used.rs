//! The metrics that an iteration or a holdout reads.

use super::answer::Refusal;
use super::input::{MetricInput, Primary};
use crate::error::Error;
use crate::model::{MetricKind, MetricUse};
use crate::snapshot::Snapshot;

/// Reads these metrics in place of those that there are; the primary one stays unless one of these is.
pub(super) fn replace(
    snapshot: &Snapshot,
    metrics: &mut Vec<MetricUse>,
    list: &[MetricInput],
) -> Result<(), Refusal> {
    metrics.retain(|used| used.is_primary);
    let primary = metrics.pop();
    add(snapshot, metrics, list)?;
    if let Some(primary) = primary.filter(|_| !metrics.iter().any(|own| own.is_primary)) {
        make_primary(metrics, &primary);
    }
    Ok(())
}

/// Reads these metrics beside those that there are.
pub(super) fn add(
    snapshot: &Snapshot,
    metrics: &mut Vec<MetricUse>,
    list: &[MetricInput],
) -> Result<(), Refusal> {
    for (index, input) in list.iter().enumerate() {
        let at = format!("metrics[{index}].key");
        let place = |reason: String| Refusal::invalid(&at, reason);
        let metric = super::metrics::find(snapshot, &input.key)
            .ok_or_else(|| Refusal::not_found("metric", &input.key).within(&at))?;
        if metric.kind().is_group() != input.is_group {
            let what = if input.is_group { "a metric group" } else { "a metric, not a group" };
            return Err(place(format!("must be the key of {what}; got {:?}", input.key)));
        }
        let unit = input.unit.as_deref().map(str::parse).transpose().map_err(|error: Error| {
            Refusal::from(error).within(&format!("metrics[{index}].analysisUnit"))
        })?;
        let used = MetricUse { metric_id: metric.id().clone(), is_primary: false, unit };
        let same = |own: &&MetricUse| own.metric_id == used.metric_id;
        match metrics.iter().find(same) {
            None => metrics.push(used.clone()),
            // An analysis is in the desired state already.
            Some(own) if own.unit == used.unit => {}
            Some(_) => return Err(place("must not be given twice".to_owned())),
        }
        if input.is_primary && !metrics.iter().any(|own| own.is_primary) {
            make_primary(metrics, &used);
        }
    }
    Ok(())
}

/// Has the metric of this key decide.
pub(super) fn set_primary(
    snapshot: &Snapshot,
    metrics: &mut Vec<MetricUse>,
    primary: &Primary,
) -> Result<(), Refusal> {
    let (key, attribute, what) = match primary {
        Primary::Single(key) => (key, "primarySingleMetricKey", "a metric, not a group"),
        Primary::Funnel(key) => (key, "primaryFunnelKey", "a funnel"),
        Primary::Either(key) => (key, "primarymetrickey", "a metric or a funnel"),
    };
    let metric = super::metrics::find(snapshot, key)
        .ok_or_else(|| Refusal::not_found("metric", key).within(attribute))?;
    let (is_single, is_funnel) = (!metric.kind().is_group(), metric.kind() == MetricKind::Funnel);
    let fits = match primary {
        Primary::Single(_) => is_single,
        Primary::Funnel(_) => is_funnel,
        Primary::Either(_) => is_single || is_funnel,
    };
    if !fits {
        let reason = format!("must be the key of {what}; got {key:?}");
        return Err(Refusal::invalid(attribute, reason));
    }
    let metric_id = metric.id().clone();
    make_primary(metrics, &MetricUse { metric_id, is_primary: true, unit: None });
    Ok(())
}

/// Has this metric decide, be it among those that are read or not.
fn make_primary(metrics: &mut Vec<MetricUse>, primary: &MetricUse) {
    for used in metrics.iter_mut() {
        used.is_primary = used.metric_id == primary.metric_id;
    }
    if !metrics.iter().any(|used| used.is_primary) {
        metrics.insert(0, MetricUse { is_primary: true, ..primary.clone() });
    }
}
