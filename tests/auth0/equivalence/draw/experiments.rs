//! Experiments, mostly ready to start, and ramps.

use serde_json::{Map, json};
use variate::{
    Allocation, Change, ExperimentPatch, Flag, NewExperiment, SegmentId, Status, Strategy,
    VariationId, Weight,
};

use super::{Draw, Step};
use crate::common::p;
use crate::support::levels;

const FLOWS: &[&str] = &["authentication", "mfa_challenge", "password_reset", "all"];

impl Draw<'_> {
    /// Arms that are mostly ready to start.
    fn arms(&mut self, flag: &Flag, strategy: Strategy, ramps: bool) -> Vec<Allocation> {
        let mut ids: Vec<_> = flag.variations().keys().cloned().collect();
        if ids.len() > 1 {
            let first = self.dice.below(ids.len());
            ids.rotate_left(first);
        }
        ids.truncate(1 + self.dice.below(4));
        let count = ids.len();
        let ready = self.dice.chance(90);
        let arm = |(index, id): (usize, VariationId)| match strategy {
            Strategy::Percentage if ramps => Allocation::ramped(id),
            Strategy::Percentage => {
                let share = 100_000_000 / count as u64;
                let rest = 100_000_000 - share * (count as u64 - 1);
                let share = if index == 0 { rest } else { share };
                let share = if self.seeds { share } else { share / 1_000_000 * 1_000_000 };
                Allocation::share(id, Weight::from_millionths(share).unwrap())
            }
            Strategy::Segment => {
                let segments: Vec<SegmentId> =
                    self.snapshot.segments().map(|s| s.id().clone()).collect();
                match segments.get(index) {
                    Some(segment) if index + 1 < count => {
                        let priority = u32::try_from(index + 1).unwrap();
                        Allocation::segment(id, segment.clone(), priority).unwrap()
                    }
                    _ => Allocation::fallback(id),
                }
            }
        };
        let mut arms: Vec<_> = ids.into_iter().enumerate().map(arm).collect();
        if let Some(first) = arms.first_mut() {
            first.is_control = ready;
        }
        arms
    }

    fn levels(&mut self) -> Vec<u32> {
        self.dice.pick(&[vec![10, 50, 100], vec![0, 1], vec![5], vec![25, 75]]).clone()
    }

    pub(super) fn create_experiment(&mut self) -> Step {
        let flag = self.ready_flag().clone();
        let strategy = *self.dice.pick(Strategy::ALL);
        let ramps = strategy == Strategy::Percentage && self.dice.chance(40);
        let mut new = NewExperiment::new(self.name(), flag.id().clone(), strategy);
        let flow = *self.dice.pick(FLOWS);
        new.flow = Some(flow.to_owned());
        new.allocations = self.arms(&flag, strategy, ramps);
        if self.seeds && new.allocations.is_empty() {
            return self.create_variation();
        }
        let mut body = Map::new();
        body.insert("name".to_owned(), json!(new.name));
        body.insert("feature_flag_id".to_owned(), json!(flag.id()));
        body.insert("authentication_flow".to_owned(), json!(flow));
        body.insert("allocation_strategy".to_owned(), json!(strategy));
        if self.seeds || self.dice.chance(30) {
            body.insert("assignment_config".to_owned(), json!({"subject": "device"}));
        }
        if !new.allocations.is_empty() {
            body.insert("allocations".to_owned(), json!(new.allocations));
        }
        if ramps {
            let steps = self.levels();
            body.insert("levels".to_owned(), json!(steps));
            new.levels = levels(&steps);
        }
        new.description = self.described(&mut body);
        Step::new("experiment created", "POST", "/experiments".to_owned(), body)
            .with(vec![new.into()])
    }

    pub(super) fn patch_experiment(&mut self) -> Step {
        let Some(experiment) = self.experiment().cloned() else { return self.create_experiment() };
        let id = experiment.id().clone();
        let path = format!("/experiments/{id}");
        let (mut patch, mut body) = (ExperimentPatch::new(), Map::new());
        if self.dice.chance(30) {
            patch.name = Some(self.name());
            body.insert("name".to_owned(), json!(patch.name));
        }
        match self.redescribed(&mut body) {
            Some(Some(text)) => patch = patch.description(text),
            Some(None) => patch = patch.clear_description(),
            None => {}
        }
        if self.dice.chance(20) {
            let flow = *self.dice.pick(FLOWS);
            patch = patch.flow(flow);
            body.insert("authentication_flow".to_owned(), json!(flow));
        }
        let strategy = experiment.strategy();
        let bare = experiment.allocations().iter().all(|arm| arm.weight.is_none());
        let takes_levels = strategy == Strategy::Percentage && bare && self.dice.chance(20);
        if takes_levels {
            let steps = self.levels();
            body.insert("levels".to_owned(), json!(steps));
            patch = patch.levels(levels(&steps));
        }
        let flag = self.snapshot.flag(experiment.flag_id()).cloned();
        if let Some(flag) = flag.filter(|_| self.dice.chance(40)) {
            let ramps = takes_levels || !experiment.levels().is_empty();
            let arms = self.arms(&flag, strategy, ramps);
            if !arms.is_empty() {
                body.insert("allocations".to_owned(), json!(arms));
                patch = patch.allocations(arms);
            }
        }
        let mut changes = vec![Change::patch_experiment(&id, patch)];
        if body.is_empty() || self.dice.chance(30) {
            let status = *self.dice.pick(&Status::ALL[1..]);
            body.insert("status".to_owned(), json!(status));
            changes.push(Change::set_experiment_status(&id, status));
        }
        Step::new("experiment patched", "PATCH", path, body).with(changes)
    }

    /// Mostly along an edge.
    pub(super) fn transition_experiment(&mut self) -> Step {
        let Some((id, from)) = self.experiment().map(|e| (e.id().clone(), e.status())) else {
            return self.create_experiment();
        };
        let edges: Vec<_> = Status::ALL[1..].iter().filter(|to| from.can_become(**to)).collect();
        let along = !edges.is_empty() && self.dice.chance(80);
        let status =
            if along { **self.dice.pick(&edges) } else { *self.dice.pick(&Status::ALL[1..]) };
        let body = Map::from_iter([("status".to_owned(), json!(status))]);
        let path = format!("/experiments/{id}/status");
        let change = Change::set_experiment_status(&id, status);
        Step::new("experiment moved", "POST", path, body).with(vec![change])
    }

    pub(super) fn advance(&mut self) -> Step {
        let running = self.dice.chance(90);
        let ramps: Vec<_> = self
            .snapshot
            .experiments()
            .filter(|e| !e.levels().is_empty())
            .filter(|e| !running || e.status() == Status::Active)
            .collect();
        if ramps.is_empty() {
            return self.transition_experiment();
        }
        let ramp = *self.dice.pick(&ramps);
        let next = ramp.levels().iter().find(|level| Some(**level) > ramp.current_level());
        let level = match self.dice.below(10) {
            0 => ramp.current_level().unwrap_or(ramp.levels()[0]),
            1 => p("7"),
            _ => next.copied().unwrap_or(ramp.levels()[0]),
        };
        let body = Map::from_iter([("target_level".to_owned(), json!(level))]);
        let path = format!("/experiments/{}/advance-ramp", ramp.id());
        let change = Change::advance_ramp(ramp.id(), level);
        Step::new("ramp advanced", "POST", path, body).with(vec![change])
    }
}
