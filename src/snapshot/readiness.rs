//! Whether an experiment could start now, and every reason why not.

use super::Snapshot;
use super::design::segments_of;
use crate::error::{Violation, ViolationCode};
use crate::id::ExperimentId;
use crate::model::{
    ActiveLimit, Allocation, Experiment, Flag, FlagStatus, Flow, SegmentStatus, Strategy, Weights,
    is_weightless, targets,
};
use crate::number::Weight;

/// The sum of weights that percentages make.
const WHOLE: u64 = 100_000_000;

/// Whether an experiment could start now, and every reason why not.
///
/// Worked out when asked, from the experiment and all that it refers to, so it is never stale. It
/// is the gate of activation, of resumption and of a new iteration. It says nothing of the lifecycle:
/// whether a status leads to `active` is [`Status::can_become`](crate::Status::can_become)'s to say,
/// and what is [shelved](Experiment::shelved_at) does not start however ready it is.
///
/// Rules, for both strategies: the flag is active and on; there is an allocation; each variation, the
/// outside one included, is of the flag; exactly one allocation is the control; the snapshot's
/// [`ActiveLimit`] has room.
///
/// By `percentage`: no variation twice, and the weights sum to exactly 100, but under a hash that
/// has a [rollout](crate::RolloutSlice), and where weights are [relative](Weights::Relative), every
/// arm has one, and they sum to anything above 0; a ramp may have none at all, and then has an arm
/// beside the control.
///
/// By `segment`: exactly one fallback, which names neither segment nor priority; every other
/// allocation names a segment that is active, and a priority; no segment and no priority twice.
/// Several allocations that all have weights can divide one segment with one priority, or the
/// fallback: no variation twice among them, and their weights sum to exactly 100.
///
/// The audience, if there is one, is active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    violations: Vec<Violation>,
}

impl Readiness {
    /// Whether nothing is in the way.
    pub fn is_ready(&self) -> bool {
        self.violations.is_empty()
    }

    /// Everything that is in the way.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    pub(crate) fn into_violations(self) -> Vec<Violation> {
        self.violations
    }
}

impl Snapshot {
    /// Whether an experiment could start now, and every reason why not; `None` when there is none
    /// of this id.
    pub fn readiness(&self, experiment: impl AsRef<str>) -> Option<Readiness> {
        self.experiment(experiment).map(|experiment| self.readiness_of(experiment))
    }

    /// Whether an experiment's [draft](Experiment::draft) could start now, and every reason why
    /// not; `None` when there is no such experiment, or nothing drafted beside it.
    pub fn draft_readiness(&self, experiment: impl AsRef<str>) -> Option<Readiness> {
        let experiment = self.experiment(experiment)?;
        Some(self.readiness_of(&experiment.draft()?.put_into(experiment)))
    }

    pub(crate) fn readiness_of(&self, experiment: &Experiment) -> Readiness {
        let mut list = List::default();
        let flag = self.flag(&experiment.flag_id);
        list.check_flag(experiment, flag);
        list.check_shape(experiment, &experiment.allocations);
        let mut segments: Vec<_> =
            segments_of(experiment.allocations(), experiment.audience_id()).collect();
        segments.sort_unstable();
        segments.dedup();
        for id in segments {
            if self.segment(id).is_none_or(|segment| segment.status != SegmentStatus::Active) {
                list.add(ViolationCode::SegmentNotActive, format!("segment {id} is not active"));
            }
        }
        if let Some(other) = self.in_the_way(experiment) {
            list.add(
                ViolationCode::ExperimentActiveLimitExceeded,
                format!("experiment {other} is active, which leaves no room"),
            );
        }
        Readiness { violations: list.0 }
    }

    /// An active experiment that keeps this one from being active too.
    fn in_the_way(&self, experiment: &Experiment) -> Option<&ExperimentId> {
        let id = experiment.id();
        let mut any = self.active().map(Experiment::id).filter(|other| *other != id);
        let on = |flow: &str| self.active_on(flow).find(|other| *other != id);
        match (self.settings.active_limit, experiment.flow().map(Flow::as_str)) {
            (ActiveLimit::Unlimited, _) => None,
            (ActiveLimit::One, _) | (ActiveLimit::PerFlow, Some(Flow::ALL)) => any.next(),
            (ActiveLimit::PerFlow, flow) => on(Flow::ALL).or_else(|| flow.and_then(on)),
        }
    }
}

/// What is wrong with the shape of allocations, the experiment's own or those that it froze: all
/// that does not depend on other entities.
pub(super) fn check_shape(experiment: &Experiment, allocations: &[Allocation]) -> Vec<Violation> {
    let mut list = List::default();
    list.check_shape(experiment, allocations);
    list.0
}

/// Whether arms divide one target by weight.
fn is_divided(arms: &[&Allocation]) -> bool {
    let same = |pair: &[&Allocation]| match pair {
        [one, other] => one.priority == other.priority && one.is_fallback == other.is_fallback,
        _ => true,
    };
    arms.iter().all(|arm| arm.weight.is_some()) && arms.windows(2).all(same)
}

#[derive(Default)]
struct List(Vec<Violation>);

impl List {
    fn add(&mut self, code: ViolationCode, message: impl Into<String>) {
        self.0.push(Violation::new(code, message));
    }

    fn check_flag(&mut self, experiment: &Experiment, flag: Option<&Flag>) {
        if flag.is_none_or(|flag| flag.status != FlagStatus::Active) {
            let message = format!("flag {} is not active", experiment.flag_id);
            self.add(ViolationCode::FeatureFlagNotActive, message);
        }
        if flag.is_some_and(|flag| !flag.is_on()) {
            let message = format!("flag {} is off", experiment.flag_id);
            self.add(ViolationCode::FlagOff, message);
        }
        let arms = experiment.allocations().iter().map(|arm| &arm.variation_id);
        for id in arms.chain(experiment.outside_variation_id()) {
            if flag.is_none_or(|flag| !flag.variations.contains_key(id)) {
                let message = format!("variation {id} is not one of flag {}", experiment.flag_id);
                self.add(ViolationCode::VariationNotFromFlag, message);
            }
        }
    }

    fn check_shape(&mut self, experiment: &Experiment, arms: &[Allocation]) {
        if arms.is_empty() {
            let message = "an experiment needs at least one allocation";
            self.add(ViolationCode::ExperimentMissingAllocations, message);
        }
        let controls = arms.iter().filter(|arm| arm.is_control).count();
        if controls != 1 {
            let message = format!("exactly one allocation must be the control, not {controls}");
            self.add(ViolationCode::ExperimentMissingControl, message);
        }
        match experiment.strategy {
            Strategy::Percentage => {
                self.check_weights(experiment, arms);
                let arms: Vec<&Allocation> = arms.iter().collect();
                self.check_distinct(ViolationCode::DuplicateVariation, "variation", &arms, |arm| {
                    Some(&arm.variation_id)
                });
            }
            Strategy::Segment => self.check_segments(arms),
        }
    }

    fn check_weights(&mut self, experiment: &Experiment, arms: &[Allocation]) {
        if !experiment.extra.levels.is_empty() && is_weightless(arms) {
            if arms.iter().all(|arm| arm.is_control) {
                let message = "a ramp without weights needs an allocation beside the control";
                self.add(ViolationCode::RampMissingTreatment, message);
            }
            return;
        }
        if !experiment.hash.has_rollout() && experiment.weights == Weights::Percent {
            return self.check_sum(arms);
        }
        let some = arms.iter().any(|arm| arm.weight.is_some_and(|weight| !weight.is_zero()));
        if !some || arms.iter().any(|arm| arm.weight.is_none()) {
            let message = "every allocation needs a weight, and one of them more than 0";
            self.add(ViolationCode::ExperimentInvalidAllocationWeights, message);
        }
    }

    fn check_sum<'a>(&mut self, arms: impl IntoIterator<Item = &'a Allocation>) {
        let weights = arms.into_iter().filter_map(|arm| arm.weight);
        let sum: u64 = weights.map(Weight::millionths).sum();
        if sum != WHOLE {
            let sum = Weight::from_millionths(sum).unwrap_or(Weight::MAX);
            let message = format!("the weights must sum to exactly 100, not {sum}");
            self.add(ViolationCode::ExperimentInvalidAllocationWeights, message);
        }
    }

    fn check_segments(&mut self, arms: &[Allocation]) {
        // Arms that divide a target count as one.
        let mut counted: Vec<&Allocation> = Vec::new();
        for target in targets(arms) {
            let own: Vec<&Allocation> = target.arms.iter().map(|(_, arm)| *arm).collect();
            if is_divided(&own) {
                self.check_sum(own.iter().copied());
                self.check_distinct(ViolationCode::DuplicateVariation, "variation", &own, |arm| {
                    Some(&arm.variation_id)
                });
                counted.extend(own.first());
            } else {
                counted.extend(own);
            }
        }
        let fallbacks = counted.iter().filter(|arm| arm.is_fallback).count();
        if fallbacks != 1 {
            let message = format!("exactly one allocation must be the fallback, not {fallbacks}");
            self.add(ViolationCode::ExperimentMissingDefault, message);
        }
        for (index, arm) in arms.iter().enumerate() {
            if arm.is_fallback {
                if arm.segment_id.is_some() || arm.priority.is_some() {
                    let message = format!(
                        "allocations[{index}], the fallback, must name neither a segment nor a priority"
                    );
                    self.add(ViolationCode::FallbackNotPlain, message);
                }
                continue;
            }
            if arm.segment_id.is_none() {
                let message = format!("allocations[{index}] must name a segment");
                self.add(ViolationCode::AllocationMissingSegment, message);
            }
            if arm.priority.is_none() {
                let message = format!("allocations[{index}] must have a priority");
                self.add(ViolationCode::AllocationMissingPriority, message);
            }
        }
        self.check_distinct(ViolationCode::DuplicateSegment, "segment", &counted, |arm| {
            arm.segment_id.as_ref()
        });
        self.check_distinct(ViolationCode::DuplicatePriority, "priority", &counted, |arm| {
            arm.priority
        });
    }

    fn check_distinct<'a, K: Ord + std::fmt::Display>(
        &mut self,
        code: ViolationCode,
        what: &str,
        arms: &[&'a Allocation],
        key: impl Fn(&'a Allocation) -> Option<K>,
    ) {
        let mut seen: Vec<K> = Vec::new();
        for key in arms.iter().filter_map(|arm| key(arm)) {
            if seen.contains(&key) {
                self.add(code, format!("{what} {key} must not stand in two allocations"));
            }
            seen.push(key);
        }
    }
}
