//! Experiments turned into plans.

use std::sync::Arc;

use super::gate::Gate;
use super::guards::{Guards, Surroundings};
use super::hash::{Draw, draw_seed};
use super::plan::{Arm, Beside, Open, Pair, Route, Share, Targets};
#[cfg(feature = "launchdarkly")]
use super::rollout::Buckets;
use super::shipped::Shipped;
use super::{Link, Members, Plan};
use crate::id::VariationId;
use crate::model::{Design, Experiment, Flag, Rollout, Status, Strategy, is_weightless, targets};
use crate::partition::Partition;

impl Plan {
    /// Compiles an experiment as its iteration froze it, or with its present flag if it never ran.
    pub(crate) fn compile(experiment: &Experiment, around: &Surroundings<'_>) -> Self {
        let design = experiment.iteration.design.as_deref();
        let open = |design| Open::new(experiment, design, around);
        let gate = match (experiment.status, design) {
            (status @ (Status::Active | Status::Paused), Some(design)) if !around.is_on => {
                Gate::off(status, &experiment.flag_id, Some(open(design)))
            }
            (Status::Active, Some(design)) => Gate::Open(open(design)),
            (Status::Paused, Some(design)) => Gate::Paused(open(design)),
            // One that has started always has a design.
            (Status::Active | Status::Paused, None) => Gate::Closed(Status::Draft),
            (status, design) => design
                .and_then(|design| Shipped::new(experiment, design, around))
                .map_or(Gate::Closed(status), |shipped| match around.is_on {
                    true => Gate::Shipped(shipped),
                    false => Gate::off(status, &experiment.flag_id, None),
                }),
        };
        let (flag, allocations, outside) = match design {
            Some(design) => {
                (Some(&*design.flag), &design.allocations, &design.outside_variation_id)
            }
            None => (around.flag, &experiment.allocations, &experiment.outside_variation_id),
        };
        let arm = |id: &VariationId, is_control, number| Arm::new(flag?, id, is_control, number);
        let off = around
            .flag
            .filter(|_| gate.serves_off())
            .and_then(|flag| Arm::new(flag, flag.off_variation_id.as_ref()?, false, Arm::OFF));
        let arms = allocations.iter().zip(0..);
        let arms = arms.filter_map(|(own, number)| arm(&own.variation_id, own.is_control, number));
        let others = design.map(others).unwrap_or_default().into_iter().zip(allocations.len()..);
        let others = others.filter_map(|(id, number)| arm(id, false, u8::try_from(number).ok()?));
        let beside = Beside {
            outside: outside.as_ref().and_then(|id| arm(id, false, Arm::OUTSIDE)),
            off,
            others: others.collect(),
        };
        Self {
            experiment_id: experiment.id.clone(),
            subject_kind: experiment.subject_kind.clone(),
            keep: experiment.keep,
            pair: Pair::new(&experiment.subject_kind, &gate),
            gate,
            arms: arms.collect(),
            beside: Some(beside).filter(|own| *own != Beside::default()).map(Box::new),
        }
    }
}

impl Plan {
    /// Whether it can be a member of a chain: the experiment is active or paused, and its flag on.
    pub(crate) fn is_link(&self) -> bool {
        matches!(self.gate, Gate::Open(_) | Gate::Paused(_))
    }

    /// The same plan at this place of its chain, if anybody else is in it.
    pub(crate) fn linked(&self, members: &Arc<Members>, place: usize) -> Self {
        let mut plan = self.clone();
        if members.plans.len() > 1
            && let Gate::Open(open) | Gate::Paused(open) = &mut plan.gate
        {
            Guards::link(&mut open.guards, Link { members: Arc::clone(members), place });
            plan.pair = Pair::new(&plan.subject_kind, &plan.gate);
        }
        plan
    }
}

/// What the slices of a rollout serve that is neither an arm nor the outside variation, each once.
pub(super) fn others(design: &Design) -> Vec<&VariationId> {
    let arms = || design.allocations.iter().map(|arm| &arm.variation_id);
    let known = |id: &VariationId| arms().chain(&design.outside_variation_id).any(|own| own == id);
    let served = design.rollout().into_iter().flat_map(Rollout::variations);
    let mut others: Vec<_> = served.filter(|id| !known(id)).collect();
    others.sort_unstable();
    others.dedup();
    others
}

impl Open {
    fn new(experiment: &Experiment, design: &Design, around: &Surroundings<'_>) -> Self {
        let salt = design.salt.as_str();
        #[cfg(feature = "launchdarkly")]
        let rollout = design.rollout().map(|rollout| {
            Route::Rollout(Box::new(Buckets::new(experiment.hash, design, rollout)))
        });
        #[cfg(not(feature = "launchdarkly"))]
        let rollout = None;
        let route = rollout.unwrap_or_else(|| match design.partition(None) {
            Some(partition) if experiment.strategy == Strategy::Percentage => {
                Route::Percentage(partition.clone())
            }
            _ => segments(design),
        });
        let ramps = !experiment.extra.levels.is_empty() && is_weightless(&design.allocations);
        let mut arms = (0u8..).zip(design.allocations.iter()).filter(|_| ramps);
        Self {
            guards: Guards::new(experiment, design, around),
            traffic_seed: draw_seed(salt, Draw::Traffic),
            // A rollout has one draw for both.
            traffic_end: match experiment.hash.has_rollout() {
                true => Partition::POINTS,
                false => experiment.traffic.points(),
            },
            rest: arms.find(|(_, arm)| arm.is_control).map(|(number, _)| number),
            variation_seed: draw_seed(salt, Draw::Variation),
            route,
        }
    }
}

fn segments(design: &Design) -> Route {
    let mut fallback = Share::Whole(0);
    let mut by_segment = Vec::new();
    for target in targets(&design.allocations) {
        let share = match (design.partition(target.segment_id), target.arms.first()) {
            (Some(partition), _) => Share::Split(partition.clone()),
            (None, Some((arm, _))) => Share::Whole(*arm),
            (None, None) => continue,
        };
        match target.segment_id {
            None => fallback = share,
            Some(id) => by_segment.extend(design.segment(id).cloned().map(|own| (own, share))),
        }
    }
    Route::Segments(Box::new(Targets::new(by_segment, fallback)))
}

impl Arm {
    pub(super) fn new(flag: &Flag, id: &VariationId, is_control: bool, number: u8) -> Option<Self> {
        let config = Arc::clone(&flag.variations().get(id)?.config);
        Some(Self { variation_id: id.clone(), config, is_control, number })
    }
}
