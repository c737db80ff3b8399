//! Which metrics a group and an analysis can have.

use super::Snapshot;
use crate::error::{Code, Error};
use crate::id::MetricId;
use crate::model::{Analysis, AnalysisKind, Metric, MetricKind, MetricUse};

impl Snapshot {
    /// Checks the members of a group of metrics.
    pub(crate) fn check_group(&self, group: &Metric) -> Result<(), Error> {
        for (index, member) in group.definition.members.iter().enumerate() {
            let id = &member.metric_id;
            self.check_group_member(group.kind(), id).map_err(|error| {
                error.with_value(id).at("metric_id").at_index(index).at("members")
            })?;
        }
        Ok(())
    }

    fn check_group_member(&self, kind: MetricKind, id: &MetricId) -> Result<(), Error> {
        let Some(member) = self.metric(id) else { return Err(unknown()) };
        if member.kind().is_group() {
            return Err(Error::invalid("must be the id of a single metric, not of a group"));
        }
        let is_step = member.definition.is_occurrence() && !member.definition.is_percentile();
        match kind == MetricKind::Funnel && !is_step {
            true => Err(Error::invalid(
                "must be the id of a pageview, a click or a custom metric that is not numeric, read \
                 by its mean, since the group is a funnel",
            )),
            false => Ok(()),
        }
    }

    /// Checks the metrics of an analysis.
    pub(crate) fn check_metrics(&self, analysis: &Analysis) -> Result<(), Error> {
        for (index, own) in analysis.metrics.iter().enumerate() {
            self.check_use(analysis.kind, own).map_err(|error| {
                error.with_value(&own.metric_id).at("metric_id").at_index(index).at("metrics")
            })?;
        }
        Ok(())
    }

    fn check_use(&self, kind: AnalysisKind, own: &MetricUse) -> Result<(), Error> {
        let Some(metric) = self.metric(&own.metric_id) else { return Err(unknown()) };
        if own.is_primary && metric.kind() == MetricKind::Standard {
            let rule = "must be the id of a single metric or a funnel, since it is primary";
            return Err(Error::invalid(rule));
        }
        if kind != AnalysisKind::Mab {
            return Ok(());
        }
        if own.is_primary && metric.kind().is_group() {
            let rule = "must be the id of a single metric, since it is primary in a mab";
            return Err(Error::invalid(rule));
        }
        let members = metric.definition.members.iter();
        let members = members.filter_map(|member| self.metric(&member.metric_id));
        match members.chain([metric]).find(|metric| metric.definition.is_percentile()) {
            Some(other) => {
                let rule = format!("must be read by its mean in a mab, but {} is not", other.id);
                Err(Error::invalid(rule))
            }
            None => Ok(()),
        }
    }
}

fn unknown() -> Error {
    Error::new(Code::UnknownReference, "must be the id of a metric that exists")
}
