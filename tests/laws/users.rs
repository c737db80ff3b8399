//! Who uses what, by looking at every experiment.

use std::collections::{BTreeMap, BTreeSet};

use variate::{Draft, Experiment, ExperimentId, PastIteration, Snapshot, Status};

/// What an experiment's design, draft and analyses name.
fn named_by(experiment: &Experiment) -> BTreeSet<String> {
    let mut ids = BTreeSet::from([experiment.flag_id().to_string()]);
    let draft = experiment.draft();
    let arms = experiment.allocations().iter();
    for arm in arms.chain(draft.map(Draft::allocations).unwrap_or_default()) {
        ids.insert(arm.variation_id.to_string());
        ids.extend(arm.segment_id.iter().map(ToString::to_string));
    }
    let audiences = [experiment.audience_id(), draft.and_then(Draft::audience_id)];
    ids.extend(audiences.into_iter().flatten().map(ToString::to_string));
    let outside = draft.and_then(Draft::outside_variation_id);
    let outside = [experiment.outside_variation_id(), outside];
    ids.extend(outside.into_iter().flatten().map(ToString::to_string));
    let slices = experiment.rollout().iter();
    let slices = slices.chain(experiment.iteration().rollout().unwrap_or_default());
    ids.extend(slices.filter_map(|slice| slice.variation_id.as_ref()).map(ToString::to_string));
    let past = experiment.previous_iterations().iter().map(PastIteration::analysis);
    let analyses = past.chain([experiment.analysis()]).chain(draft.map(Draft::analysis));
    let metrics = analyses.flat_map(|analysis| &analysis.metrics);
    ids.extend(metrics.map(|own| own.metric_id.to_string()));
    ids
}

/// Who uses what is what the experiments say, one by one.
pub fn check_users(snapshot: &Snapshot) {
    let mut users: BTreeMap<String, BTreeSet<&ExperimentId>> = BTreeMap::new();
    let mut flows: BTreeMap<&str, BTreeSet<&ExperimentId>> = BTreeMap::new();
    for experiment in snapshot.experiments() {
        if experiment.status() != Status::Archived {
            for id in named_by(experiment) {
                users.entry(id).or_default().insert(experiment.id());
            }
        }
        if let Some(flow) = experiment.flow() {
            let active = flows.entry(flow.as_str()).or_default();
            active.extend(Some(experiment.id()).filter(|_| experiment.status() == Status::Active));
        }
    }
    let flags = snapshot.flags().map(|flag| flag.id().as_str());
    let variations = snapshot.flags().flat_map(|flag| flag.variations().keys());
    let segments = snapshot.segments().map(|segment| segment.id().as_str());
    let metrics = snapshot.metrics().map(|metric| metric.id().as_str());
    let ids = flags.chain(variations.map(|id| id.as_str())).chain(segments).chain(metrics);
    for id in ids {
        let found: Vec<_> = snapshot.used_by(id).collect();
        let distinct: BTreeSet<_> = found.iter().copied().collect();
        assert_eq!(found.len(), distinct.len(), "{id} must be told once of each");
        assert_eq!(distinct, users.remove(id).unwrap_or_default(), "who uses {id}");
    }
    for (flow, active) in flows {
        assert_eq!(snapshot.active_on(flow).collect::<BTreeSet<_>>(), active, "{flow}");
    }
}
