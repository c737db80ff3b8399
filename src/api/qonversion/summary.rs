//! The summary of experiments: how their users are divided.

use serde::Serialize;

use super::Experiments;
use super::answer::{Refusal, Reply};
use super::experiments::find;
use super::input::status_name;
use super::list::{Query, whole};
use crate::model::{Experiment, percentages};
use crate::number::Percentage;
use crate::time::Timestamp;

/// The parameter that names the experiments.
const ASKED: &str = "filter[experiment_uid][]";

/// The most experiments of one summary.
const MAX_ASKED: usize = 50;

#[derive(Serialize)]
struct ShownSummary<'s> {
    object: &'static str,
    experiment_uid: &'s str,
    status: &'static str,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    users: usize,
    groups: Vec<ShownGroup<'s>>,
}

#[derive(Serialize)]
struct ShownGroup<'s> {
    group_id: &'s str,
    name: Option<&'s str>,
    is_control: bool,
    percent: Percentage,
    users: usize,
    attached_users: usize,
}

impl Experiments {
    pub(super) fn summarise(&self, query: &Query) -> Result<Reply, Refusal> {
        let asked: Vec<&str> = query.all(ASKED).collect();
        if asked.is_empty() || asked.len() > MAX_ASKED {
            let rule = format!("must be given 1 to {MAX_ASKED} times; got {}", asked.len());
            return Err(Refusal::invalid(ASKED, rule));
        }
        let snapshot = self.engine().snapshot();
        let data = asked.into_iter().map(|id| self.summary(find(&snapshot, id)?));
        Ok(whole(data.collect::<Result<_, _>>()?, "/v4/experiments/summary"))
    }

    /// How the users of an experiment are divided, as far as they are remembered.
    fn summary<'s>(&self, experiment: &'s Experiment) -> Result<ShownSummary<'s>, Refusal> {
        let kept = self.keeper().list(experiment.id())?;
        let arms = experiment.allocations();
        let groups: Vec<_> = arms
            .iter()
            .zip(percentages(arms, 1))
            .map(|(arm, percent)| {
                let own = || kept.iter().filter(|(_, kept)| kept.variation_id == arm.variation_id);
                ShownGroup {
                    group_id: arm.variation_id.as_str(),
                    name: arm.name.as_ref().map(|name| name.as_str()),
                    is_control: arm.is_control,
                    percent: percent.unwrap_or_default(),
                    users: own().count(),
                    attached_users: own().filter(|(_, kept)| kept.attached).count(),
                }
            })
            .collect();
        let run = experiment.iteration();
        Ok(ShownSummary {
            object: "experiment_summary",
            experiment_uid: experiment.id().as_str(),
            status: status_name(experiment.status()),
            started_at: run.started_at(),
            finished_at: run.ended_at(),
            users: groups.iter().map(|group| group.users).sum(),
            groups,
        })
    }
}
