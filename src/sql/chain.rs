//! Who of a chain has a subject, as conditions.

use super::Printer;
#[cfg(feature = "launchdarkly")]
use crate::assign::Route;
use crate::assign::{Gate, Plan};
use crate::error::{Code, Error};
use crate::partition::Partition;

impl Printer<'_> {
    /// Whether this earlier member of the chain has the subject; `None` if it has nobody.
    pub(super) fn taken(&self, other: &Plan) -> Result<Option<String>, Error> {
        // A paused one has only those who bring what it gave them.
        let Gate::Open(open) = &other.gate else { return Ok(None) };
        let here = |error: Error| error.at_key(other.experiment_id().as_str()).at("chain");
        let guards = open.guards.as_deref();
        let Some(staged) =
            guards.map_or(Ok(Some(0)), |guards| self.staged(guards)).map_err(here)?
        else {
            return Ok(None);
        };
        let (kind, own) = (other.subject_kind(), self.plan.subject_kind());
        if kind != own {
            let rule = format!("must be {own}, the kind of the experiment that comes after it");
            let error = Error::new(Code::NotExpressible, rule).with_value(kind);
            return Err(here(error.at("subject_kind")));
        }
        let mut out = guards.map(|guards| self.drawn_out(guards)).unwrap_or_default();
        if let Some(audience) = guards.and_then(|guards| guards.audience.as_ref()) {
            out.push(format!("NOT ({})", self.segment(audience).map_err(here)?));
        }
        let traffic_end = open.traffic_end.max(staged);
        // In a ramp without weights everyone is in, those above the level with the control.
        if traffic_end < Partition::POINTS && open.rest.is_none() {
            out.push(format!("{} >= {traffic_end}", self.point(open.traffic_seed)));
        }
        #[cfg(feature = "launchdarkly")]
        if let Route::Rollout(buckets) = &open.route {
            let point = self.dialect.sha1_point(&self.columns.id, buckets.salt.as_str());
            let tracked = buckets.slices().filter(|(_, share)| share.tracked);
            out.push(super::none_of(&point, tracked.map(|(points, _)| points)));
        }
        Ok(Some(match out.is_empty() {
            true => "true".to_owned(),
            false => format!("NOT ({})", out.join(" OR ")),
        }))
    }
}
