//! Which experiments use what.

use std::collections::BTreeMap;
use std::sync::Arc;

use arcstr::ArcStr;

use super::Snapshot;
use super::design::segments_of;
use super::table::Table;
use crate::id::{ExperimentId, SegmentId, Shared, VariationId};
use crate::model::{Allocation, Draft, Experiment, PastIteration, Rollout, Status};

/// Experiments by what they use.
pub(super) type Users = Table<(ArcStr, Table<(ExperimentId, Use)>)>;

/// In what way an experiment uses something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Use {
    /// Its design, draft or analysis names it.
    named: bool,
    /// A run of it froze it, which may have been deleted since.
    froze: bool,
}

/// What an experiment uses.
type Uses = BTreeMap<ArcStr, Use>;

impl Snapshot {
    /// The experiments, archived ones aside, whose design or [draft](Experiment::draft) names this
    /// flag, variation or segment, be it as audience, or whose analysis names this metric.
    pub fn used_by(&self, id: impl AsRef<str>) -> impl Iterator<Item = &ExperimentId> {
        // Who names a variation is among those who use its flag.
        let variation = self.variations.get(id.as_ref());
        let key = variation.map_or(id.as_ref(), |(_, flag_id)| flag_id.as_str());
        let users = named(&self.users, key).filter_map(|id| self.experiment(id));
        let users = users.filter(move |user| {
            user.status != Status::Archived
                && variation.is_none_or(|(id, _)| variations(user).any(|own| own == id))
        });
        users.map(Experiment::id)
    }

    /// The same with archived experiments, which may mean by it what has been deleted, and not of
    /// variations.
    pub(crate) fn ever_used_by(&self, id: &str) -> impl Iterator<Item = &ExperimentId> {
        named(&self.users, id)
    }

    /// The experiments of which a run rests on this flag or segment.
    pub(crate) fn runs_on(&self, id: &str) -> impl Iterator<Item = &ExperimentId> {
        users(&self.users, id).filter(|(_, own)| own.froze).map(|(id, _)| id)
    }

    /// The experiments that are active on this flow, and on no other than it.
    pub fn active_on(&self, flow: &str) -> impl Iterator<Item = &ExperimentId> {
        named(&self.flows, flow)
    }

    /// The active and paused experiments of a chain.
    pub(super) fn chained_in(&self, chain: &str) -> impl Iterator<Item = &ExperimentId> {
        named(&self.chained, chain)
    }

    /// The active and paused experiments of all chains.
    pub(super) fn all_chained(&self) -> impl Iterator<Item = &ExperimentId> {
        self.chained.iter().flat_map(|(_, users)| users.iter()).map(|(id, _)| id)
    }

    /// Notes who uses what when one experiment becomes another.
    pub(super) fn reuse(&mut self, before: Option<&Experiment>, after: Option<&Experiment>) {
        let Some(id) = before.or(after).map(Experiment::id) else { return };
        if let (Some(before), Some(after)) = (before, after)
            && uses_alike(before, after)
        {
            return;
        }
        let both = [before, after];
        for (users, of) in [
            (&mut self.users, used as fn(&Experiment) -> Uses),
            (&mut self.flows, occupied),
            (&mut self.chained, chained),
        ] {
            let [old, new] = both.map(|experiment| experiment.map(of).unwrap_or_default());
            for key in old.keys().filter(|key| !new.contains_key(*key)) {
                let Some((_, list)) = users.get_mut(key) else { continue };
                list.remove(id.as_str());
                if list.len() == 0 {
                    users.remove(key);
                }
            }
            for (key, own) in new.iter().filter(|(key, own)| old.get(*key) != Some(own)) {
                let entry = (id.clone(), *own);
                match users.get_mut(key) {
                    Some((_, list)) => drop(list.insert(entry)),
                    None => drop(users.insert((ArcStr::clone(key), Table::from_iter([entry])))),
                }
            }
        }
    }
}

fn users<'u>(
    users: &'u Users,
    key: &str,
) -> impl Iterator<Item = &'u (ExperimentId, Use)> + use<'u> {
    users.get(key).into_iter().flat_map(|(_, list)| list.iter())
}

fn named<'u>(all: &'u Users, key: &str) -> impl Iterator<Item = &'u ExperimentId> + use<'u> {
    users(all, key).filter(|(_, own)| own.named).map(|(id, _)| id)
}

/// Whether it is plain that two versions of an experiment use the same: what they share is not
/// looked into.
fn uses_alike(one: &Experiment, other: &Experiment) -> bool {
    fn shares<T>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
        match (one, other) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        }
    }
    Arc::ptr_eq(&one.allocations, &other.allocations)
        && one.audience_id == other.audience_id
        && one.outside_variation_id == other.outside_variation_id
        && one.draft == other.draft
        && one.extra.rollout == other.extra.rollout
        && shares(one.analysis.as_ref(), other.analysis.as_ref())
        && shares(one.extra.previous.as_ref(), other.extra.previous.as_ref())
        && shares(one.iteration.design.as_ref(), other.iteration.design.as_ref())
        && (one.status, one.flow(), one.chain()) == (other.status, other.flow(), other.chain())
}

/// Everything that an experiment uses but variations: flag, segments and metrics.
fn used(experiment: &Experiment) -> Uses {
    let mut uses = Uses::new();
    let mut name = |id: ArcStr| uses.entry(id).or_default().named = true;
    name(experiment.flag_id.shared());
    for (allocations, audience_id, _) in designs(experiment) {
        segments_of(allocations, audience_id).map(SegmentId::shared).for_each(&mut name);
    }
    let past = experiment.previous_iterations().iter().map(PastIteration::analysis);
    let drafted = experiment.draft().map(Draft::analysis);
    let analyses = past.chain(drafted).chain([experiment.analysis()]);
    let metrics = analyses.flat_map(|analysis| &analysis.metrics);
    metrics.map(|own| own.metric_id.shared()).for_each(name);
    let mut freeze = |id: ArcStr| uses.entry(id).or_default().froze = true;
    for design in experiment.designs() {
        freeze(design.flag.id.shared());
        design.segments.iter().map(|segment| segment.id.shared()).for_each(&mut freeze);
    }
    uses
}

/// What the present design says, and what the draft does.
fn designs(
    experiment: &Experiment,
) -> impl Iterator<Item = (&[Allocation], Option<&SegmentId>, Option<&VariationId>)> {
    let own =
        (experiment.allocations(), experiment.audience_id(), experiment.outside_variation_id());
    let draft = experiment.draft();
    let draft = draft.map(|own| (&*own.allocations, own.audience_id(), own.outside_variation_id()));
    [own].into_iter().chain(draft)
}

/// The variations that an experiment's design or draft names.
fn variations(experiment: &Experiment) -> impl Iterator<Item = &VariationId> {
    let named = designs(experiment).flat_map(|(allocations, _, outside_variation_id)| {
        allocations.iter().map(|arm| &arm.variation_id).chain(outside_variation_id)
    });
    // Slices outlive the arms that they were of, and are served from the flag as it is next.
    let run = experiment.iteration.design.as_ref().and_then(|design| design.rollout());
    let rollouts = experiment.extra.rollout.iter().chain(run);
    named.chain(rollouts.flat_map(Rollout::variations))
}

/// The flow on which an experiment is active.
fn occupied(experiment: &Experiment) -> Uses {
    let flow = experiment.flow().filter(|_| experiment.status == Status::Active);
    flow.map(|flow| by_name(flow.as_str())).into_iter().collect()
}

/// The chain in which an experiment stands by its status.
fn chained(experiment: &Experiment) -> Uses {
    experiment.linked().map(|chain| by_name(chain.as_str())).into_iter().collect()
}

fn by_name(name: &str) -> (ArcStr, Use) {
    (name.into(), Use { named: true, froze: false })
}
