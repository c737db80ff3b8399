//! Metrics.

use super::super::{EffectKind, EntityKind, NewMetric};
use super::experiment::tags;
use super::{Work, given, not_found, text};
use crate::error::{Code, Error};
use crate::id::MetricId;
use crate::model::{Holdout, Metric, Record, check_definition, check_id_free};

impl Work<'_> {
    pub(super) fn create_metric(&mut self, mut new: NewMetric) -> Result<NewMetric, Error> {
        let id = match new.id.take() {
            Some(id) => id,
            None => MetricId::generate(self.entropy)?,
        };
        check_id_free(self.next.metric(&id).is_some(), id.as_str())?;
        if let Some(user) = self.next.ever_used_by(id.as_str()).min() {
            let rule =
                format!("must not be that of a deleted metric which experiment {user} names");
            return Err(Error::new(Code::AlreadyExists, rule).with_value(&id).at("id"));
        }
        let metric = Metric {
            name: text("name", &new.name)?,
            description: given("description", new.description.as_ref())?,
            tags: tags(&new.tags)?,
            definition: new.definition.clone(),
            record: Record::new(self.now),
            key: given("key", new.key.as_ref())?,
            maintainer: given("maintainer", new.maintainer.as_ref())?,
            id: id.clone(),
        };
        self.next.check_metric_free(&metric)?;
        check_definition(&metric.definition)?;
        self.next.check_group(&metric)?;
        self.note(EffectKind::Created, EntityKind::Metric, id.as_str(), 1);
        self.next.put_metric(metric);
        new.id = Some(id);
        Ok(new)
    }

    pub(super) fn delete_metric(
        &mut self,
        id: &MetricId,
        if_version: Option<u64>,
    ) -> Result<(), Error> {
        let metric = self.next.metric(id).ok_or_else(|| not_found("a metric", id.as_str()))?;
        metric.record.check_version(if_version)?;
        let version = metric.version();
        self.check_unused(id.as_str())?;
        if let Some(group) = self.next.groups_of(id).map(Metric::id).min() {
            let rule = format!("must be in no group, but is in {group}");
            return Err(Error::new(Code::InUse, rule).with_value(id).at("id"));
        }
        let names =
            |own: &&Holdout| own.analysis().metrics.iter().any(|used| used.metric_id == *id);
        if let Some(holdout) = self.next.holdouts().filter(names).map(Holdout::id).min() {
            let rule = format!("must not be used, but is by {holdout}");
            return Err(Error::new(Code::InUse, rule).with_value(id).at("id"));
        }
        self.next.remove_metric(id);
        self.note(EffectKind::Deleted, EntityKind::Metric, id.as_str(), version);
        Ok(())
    }
}
