//! The summary of experiments: how their users are divided.

use serde::Serialize;

use super::Experiments;
use super::answer::{Refusal, Reply};
use super::experiments::find;
use super::input::status_name;
use super::list::Query;
use crate::model::{Allocation, Experiment};
use crate::number::{Percentage, Weight};
use crate::time::Timestamp;

/// The parameter that names the experiments.
const ASKED: &str = "filter[experiment_uid][]";

/// The most experiments of one summary.
const MAX_ASKED: usize = 50;

#[derive(Serialize)]
struct Summary<'s> {
    object: &'static str,
    url: &'static str,
    data: Vec<ShownSummary<'s>>,
    has_more: bool,
}

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
        let data = data.collect::<Result<_, _>>()?;
        let url = "/v4/experiments/summary";
        Ok(Reply::ok(&Summary { object: "list", url, data, has_more: false }))
    }

    /// How the users of an experiment are divided, as far as they are remembered.
    fn summary<'s>(&self, experiment: &'s Experiment) -> Result<ShownSummary<'s>, Refusal> {
        let kept = self.keeper().list(experiment.id())?;
        let arms = experiment.allocations();
        let all: u64 = arms.iter().filter_map(|arm| arm.weight).map(Weight::millionths).sum();
        let groups: Vec<_> = arms
            .iter()
            .map(|arm| {
                let own = || kept.iter().filter(|(_, kept)| kept.variation_id == arm.variation_id);
                ShownGroup {
                    group_id: arm.variation_id.as_str(),
                    name: arm.name.as_ref().map(|name| name.as_str()),
                    is_control: arm.is_control,
                    percent: percent(arm, all),
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

/// The share of a group in percent, rounded down to a millionth.
fn percent(arm: &Allocation, all: u64) -> Percentage {
    let weight = u128::from(arm.weight.map_or(0, Weight::millionths));
    let share = (weight * u128::from(Percentage::MAX.millionths())).checked_div(u128::from(all));
    let share = share.and_then(|share| u64::try_from(share).ok()).unwrap_or_default();
    Percentage::from_millionths(share).unwrap_or(Percentage::ZERO)
}
