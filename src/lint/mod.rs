//! What is legal and surely not meant.

mod rules;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::change::EntityKind;
use crate::error::codes;
use crate::model::{
    Allocation, Experiment, Flag, Segment, SegmentStatus, Status, Strategy, targets,
};
use crate::number::{Percentage, Weight};
use crate::snapshot::Snapshot;
use crate::time::Timestamp;
use rules::{covers, never_matches};

/// Something that is legal and surely not meant.
///
/// Displays as its code, what it is about, and the message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    entity: EntityKind,
    id: String,
    code: FindingCode,
    message: String,
}

impl Finding {
    /// The stable code.
    pub fn code(&self) -> FindingCode {
        self.code
    }

    /// What kind of entity it is about.
    pub fn entity(&self) -> EntityKind {
        self.entity
    }

    /// Which.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What was found, in words.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.code, self.id, self.message)
    }
}

codes! {
    /// The kinds of [`Finding`]. The names are stable.
    #[non_exhaustive]
    pub enum FindingCode {
        /// The control of an experiment by weight has no weight, so there is nobody to compare
        /// with.
        ControlWithoutWeight = "control_without_weight",
        /// A holdout has no experiments.
        HoldoutEmpty = "holdout_empty",
        /// A layer has no members.
        LayerEmpty = "layer_empty",
        /// A member of a layer has no share, and none is free.
        LayerOverfull = "layer_overfull",
        /// A member of a layer is completed or archived and still holds a share.
        MemberIdle = "member_idle",
        /// A rule cannot match any subject.
        RuleNeverMatches = "rule_never_matches",
        /// The schedule of an experiment that has not ended is over.
        ScheduleExpired = "schedule_expired",
        /// Whoever is in the segment is in one that is asked earlier.
        SegmentUnreachable = "segment_unreachable",
        /// Two experiments on one flow have the same salt, so that they split subjects alike.
        SharedSalt = "shared_salt",
        /// A stage is no higher than the traffic, which is in effect anyway.
        StageWithoutEffect = "stage_without_effect",
        /// An arm that is not the control serves the defaults.
        VariationChangesNothing = "variation_changes_nothing",
    }
}

impl Snapshot {
    /// What is legal and surely not meant, at this moment: by kind of entity, then by id. Archived
    /// and completed experiments and archived segments are left out.
    ///
    /// It finds what it can prove: that nothing is found of a segment does not mean that somebody
    /// can reach it.
    ///
    /// ```
    /// # use variate::{Engine, Timestamp};
    /// # let engine = Engine::from_json(r#"{"format": "variate/1",
    /// #     "flags": [{"id": "flg_a", "name": "A flag", "status": "active",
    /// #         "parameters": {"x": {"type": "number", "value": 1}},
    /// #         "variations": [{"id": "var_today", "name": "one"}]}],
    /// #     "experiments": [{"id": "exp_signin", "name": "Sign-in", "flag_id": "flg_a",
    /// #         "strategy": "percentage", "ends_at": "2026-11-01T00:00:00Z",
    /// #         "allocations": [{"variation_id": "var_today", "weight": 100, "is_control": true}]}]}"#)?;
    /// # let snapshot = engine.snapshot();
    /// for finding in snapshot.lint("2026-11-21T12:00:00Z".parse()?) {
    ///     println!("{finding}");
    /// }
    /// # let found = snapshot.lint("2026-11-21T12:00:00Z".parse()?);
    /// # let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    /// # assert_eq!(found, ["schedule_expired: exp_signin: its schedule ended at 2026-11-01T00:00:00.000Z"]);
    /// # Ok::<(), variate::Error>(())
    /// ```
    pub fn lint(&self, now: Timestamp) -> Vec<Finding> {
        let mut list = List::default();
        for experiment in self.experiments().filter(|own| is_current(own)) {
            list.experiment(self, experiment, now);
        }
        list.salts(self);
        for segment in self.segments().filter(|own| own.status() == SegmentStatus::Active) {
            list.rules(segment);
        }
        list.layers(self);
        for holdout in self.holdouts().filter(|own| own.experiments().is_empty()) {
            let id = holdout.id().as_str();
            list.add(EntityKind::Holdout, id, FindingCode::HoldoutEmpty, "it has no experiments");
        }
        list.0.sort_unstable();
        list.0
    }
}

/// Whether an experiment can still assign.
fn is_current(experiment: &Experiment) -> bool {
    !matches!(experiment.status(), Status::Completed | Status::Archived)
}

#[derive(Default)]
struct List(Vec<Finding>);

impl List {
    fn add(&mut self, entity: EntityKind, id: &str, code: FindingCode, message: impl Into<String>) {
        self.0.push(Finding { entity, id: id.to_owned(), code, message: message.into() });
    }

    fn experiment(&mut self, snapshot: &Snapshot, experiment: &Experiment, now: Timestamp) {
        let mut add = |code, message: String| {
            self.add(EntityKind::Experiment, experiment.id().as_str(), code, message);
        };
        if let Some(end) = experiment.ends_at().filter(|end| *end <= now) {
            add(FindingCode::ScheduleExpired, format!("its schedule ended at {end}"));
        }
        let traffic = experiment.traffic();
        for stage in experiment.stages().iter().filter(|stage| stage.traffic <= traffic) {
            let message =
                format!("the stage at {} is no higher than the traffic, {traffic}", stage.at);
            add(FindingCode::StageWithoutEffect, message);
        }
        let arms = experiment.allocations();
        let weightless = |arm: &&Allocation| arm.is_control && arm.weight == Some(Weight::ZERO);
        if experiment.strategy() == Strategy::Percentage
            && let Some(control) = arms.iter().find(weightless)
        {
            let message = format!("its control, {}, has weight 0", control.variation_id);
            add(FindingCode::ControlWithoutWeight, message);
        }
        let frozen = experiment.iteration().flag();
        if let Some(flag) = frozen.or_else(|| snapshot.flag(experiment.flag_id())) {
            for arm in arms.iter().filter(|arm| !arm.is_control && serves_defaults(flag, arm)) {
                let message = format!("{} serves the flag's defaults", arm.variation_id);
                add(FindingCode::VariationChangesNothing, message);
            }
        }
        for (segment, earlier) in unreachable(snapshot, experiment) {
            let message = format!("whoever is in {segment} is in {earlier}, which is asked before");
            add(FindingCode::SegmentUnreachable, message);
        }
    }

    /// Experiments that draw alike and meet on one flow.
    fn salts(&mut self, snapshot: &Snapshot) {
        let mut alike: BTreeMap<_, Vec<&Experiment>> = BTreeMap::new();
        for experiment in snapshot.experiments().filter(|own| is_current(own)) {
            let (salt, kind) = (experiment.salt(), experiment.subject_kind());
            alike.entry((salt, kind, experiment.flow())).or_default().push(experiment);
        }
        for mut experiments in alike.into_values().filter(|alike| alike.len() > 1) {
            experiments.sort_unstable_by_key(|own| own.id());
            for own in &experiments {
                let others = experiments.iter().filter(|other| other.id() != own.id());
                let others: Vec<_> = others.map(|other| other.id().as_str()).collect();
                let message = format!("it has the salt {:?} of {}", own.salt(), others.join(", "));
                let id = own.id().as_str();
                self.add(EntityKind::Experiment, id, FindingCode::SharedSalt, message);
            }
        }
    }

    fn rules(&mut self, segment: &Segment) {
        for (rule, index) in segment.rules().iter().zip(0..) {
            if never_matches(rule) {
                let message = format!("rules[{index}] cannot match any subject");
                let id = segment.id().as_str();
                self.add(EntityKind::Segment, id, FindingCode::RuleNeverMatches, message);
            }
        }
    }

    fn layers(&mut self, snapshot: &Snapshot) {
        for layer in snapshot.layers() {
            let mut add = |code, message: String| {
                self.add(EntityKind::Layer, layer.id().as_str(), code, message);
            };
            if layer.members().is_empty() {
                add(FindingCode::LayerEmpty, "it has no members".to_owned());
            }
            for (id, share) in layer.members() {
                let status = snapshot.experiment(id).map(Experiment::status);
                let current = snapshot.experiment(id).is_some_and(is_current);
                if let Some(status) = status.filter(|_| !current && *share > Percentage::ZERO) {
                    let message = format!("its member {id} is {status} and holds {share} %");
                    add(FindingCode::MemberIdle, message);
                }
                if current && share.is_zero() && layer.free().is_zero() {
                    let message = format!("its member {id} has no share, and none is free");
                    add(FindingCode::LayerOverfull, message);
                }
            }
        }
    }
}

/// Whether what an arm serves is what is served without an experiment.
fn serves_defaults(flag: &Flag, arm: &Allocation) -> bool {
    let variation = flag.variations().get(&arm.variation_id);
    variation.is_some_and(|variation| variation.config() == flag.defaults())
}

/// The segments of an experiment that nobody reaches, each with one that is asked before.
fn unreachable<'s>(snapshot: &'s Snapshot, experiment: &'s Experiment) -> Vec<(&'s str, &'s str)> {
    let mut frozen: Vec<&Segment> = experiment.iteration().segments().collect();
    frozen.retain(|_| experiment.status() != Status::Draft);
    let asked: Vec<&Segment> = targets(experiment.allocations())
        .into_iter()
        .filter_map(|target| {
            let id = target.segment_id?;
            let as_frozen = frozen.iter().copied().find(|segment| segment.id() == id);
            as_frozen.or_else(|| snapshot.segment(id))
        })
        .collect();
    let mut found = Vec::new();
    for (place, segment) in asked.iter().enumerate() {
        let earlier = asked.get(..place).unwrap_or_default();
        // Each rule may be covered by another of the earlier segments; any of these is named.
        let covering = |rule| {
            let covered = |other: &&&Segment| other.rules().iter().any(|own| covers(own, rule));
            earlier.iter().find(covered)
        };
        let each: Option<Vec<_>> = segment.rules().iter().map(covering).collect();
        if let Some(other) = each.as_deref().and_then(<[_]>::first) {
            found.push((segment.id().as_str(), other.id().as_str()));
        }
    }
    found
}
