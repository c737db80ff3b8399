//! What is legal and surely not meant.

mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::change::EntityKind;
use crate::error::codes;
use crate::id::VariationId;
use crate::model::{Experiment, Flag, Flow, Segment, SegmentStatus, Status, targets};
use crate::number::{Percentage, Weight};
use crate::snapshot::Snapshot;
use crate::time::Timestamp;
use rules::{covers, never_matches};

/// How many experiments a message names.
const NAMED: usize = 5;

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
        /// The control has weight 0, so there is nobody to compare with.
        ControlWithoutWeight = "control_without_weight",
        /// Two active experiments vary one flag on one flow for the same kind of subject, and are in
        /// no common layer.
        FlagContested = "flag_contested",
        /// A holdout has no experiments.
        HoldoutEmpty = "holdout_empty",
        /// A layer has no member with a share.
        LayerEmpty = "layer_empty",
        /// A member of a layer has no share, and none is free.
        LayerOverfull = "layer_overfull",
        /// A member of a layer is completed or archived and still holds a share.
        MemberIdle = "member_idle",
        /// An arm that is not the control is also what is served outside the experiment, so that those
        /// outside are treated.
        OutsideServesTreatment = "outside_serves_treatment",
        /// A rule cannot match any subject.
        RuleNeverMatches = "rule_never_matches",
        /// The schedule of an experiment that has not ended is over.
        ScheduleExpired = "schedule_expired",
        /// Whoever is in the segment is in one that is asked earlier.
        SegmentUnreachable = "segment_unreachable",
        /// Two experiments that meet on a flow have the same salt, so that they split subjects alike.
        SharedSalt = "shared_salt",
        /// A stage is no higher than the traffic, which is in effect anyway, or begins when the schedule
        /// is over.
        StageWithoutEffect = "stage_without_effect",
        /// An arm that is not the control serves the defaults.
        VariationChangesNothing = "variation_changes_nothing",
    }
}

impl Snapshot {
    /// What is legal and surely not meant, at this moment: by kind of entity, then by id. Archived
    /// and completed experiments, archived segments and holdouts that have ended are left out.
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
        list.meetings(self);
        for segment in self.segments().filter(|own| own.status() == SegmentStatus::Active) {
            list.rules(segment);
        }
        list.layers(self);
        let current = self.holdouts().filter(|own| own.ended_at().is_none());
        for holdout in current.filter(|own| own.experiments().is_empty()) {
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
        for stage in experiment.stages() {
            let at = stage.at;
            if stage.traffic <= traffic {
                let message = format!("the stage at {at} is no higher than the traffic, {traffic}");
                add(FindingCode::StageWithoutEffect, message);
            }
            if let Some(end) = experiment.ends_at().filter(|end| *end <= at) {
                let message =
                    format!("the stage at {at} begins when the schedule is over, at {end}");
                add(FindingCode::StageWithoutEffect, message);
            }
        }
        let arms = experiment.allocations();
        let control = arms.iter().find(|arm| arm.is_control);
        if let Some(control) = control.filter(|arm| arm.weight == Some(Weight::ZERO)) {
            let message = format!("its control, {}, has weight 0", control.variation_id);
            add(FindingCode::ControlWithoutWeight, message);
        }
        let control = control.map(|arm| &arm.variation_id);
        let outside = experiment.outside_variation_id().filter(|id| Some(*id) != control);
        if let Some(id) = outside.filter(|id| arms.iter().any(|arm| arm.variation_id == **id)) {
            let message = format!("{id}, which is an arm, is served outside the experiment too");
            add(FindingCode::OutsideServesTreatment, message);
        }
        let frozen = experiment.iteration().flag();
        if let Some(flag) = frozen.or_else(|| snapshot.flag(experiment.flag_id())) {
            let treatments = arms.iter().map(|arm| &arm.variation_id);
            let treatments: BTreeSet<_> = treatments.filter(|id| Some(*id) != control).collect();
            for id in treatments.into_iter().filter(|id| serves_defaults(flag, id)) {
                let message = format!("{id} serves the flag's defaults");
                add(FindingCode::VariationChangesNothing, message);
            }
        }
        for (segment, earlier) in unreachable(snapshot, experiment) {
            let message = format!("whoever is in {segment} is in {earlier}, which is asked before");
            add(FindingCode::SegmentUnreachable, message);
        }
    }

    /// Experiments that meet on a flow, and draw alike or vary the same flag.
    fn meetings(&mut self, snapshot: &Snapshot) {
        let mut current: Vec<_> = snapshot.experiments().filter(|own| is_current(own)).collect();
        current.sort_unstable_by_key(|own| own.id());
        let by_salt = groups(&current, |own| own.salt().as_str());
        let by_flag = groups(&current, |own| own.flag_id().as_str());
        for own in current {
            let id = own.id().as_str();
            let mut alike = meeting(&by_salt, own, own.salt().as_str());
            alike.retain(|other| own.hash().has_rollout() == other.hash().has_rollout());
            if !alike.is_empty() {
                let message = format!("it has the salt {:?} of {}", own.salt(), names(&alike));
                self.add(EntityKind::Experiment, id, FindingCode::SharedSalt, message);
            }
            let layer = |own: &Experiment| snapshot.layer_of(own.id()).map(|layer| layer.id());
            let mut rivals = meeting(&by_flag, own, own.flag_id().as_str());
            let active = |own: &Experiment| own.status() == Status::Active;
            rivals.retain(|other| active(own) && active(other));
            rivals.retain(|other| layer(own).is_none() || layer(own) != layer(other));
            if !rivals.is_empty() {
                let flag = own.flag_id();
                let message = format!(
                    "{} vary {flag} for the same subjects, in no common layer",
                    names(&rivals)
                );
                self.add(EntityKind::Experiment, id, FindingCode::FlagContested, message);
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
            if layer.members().values().all(|share| share.is_zero()) {
                let whom = if layer.members().is_empty() {
                    "no members"
                } else {
                    "no member with a share"
                };
                add(FindingCode::LayerEmpty, format!("it has {whom}"));
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

/// The experiments by what they have in common.
fn groups<'s>(
    experiments: &[&'s Experiment],
    key: impl Fn(&'s Experiment) -> &'s str,
) -> BTreeMap<&'s str, Vec<&'s Experiment>> {
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for own in experiments {
        groups.entry(key(own)).or_default().push(*own);
    }
    groups
}

/// Those of an experiment's group that it meets.
fn meeting<'s>(
    groups: &BTreeMap<&'s str, Vec<&'s Experiment>>,
    own: &Experiment,
    key: &str,
) -> Vec<&'s Experiment> {
    let all = groups.get(key).into_iter().flatten().copied();
    all.filter(|other| other.id() != own.id() && meet(own, other)).collect()
}

/// The ids of some experiments, for a message.
fn names(experiments: &[&Experiment]) -> String {
    let named = experiments.iter().take(NAMED).map(|own| own.id().as_str());
    let names = named.collect::<Vec<_>>().join(", ");
    match experiments.len().saturating_sub(NAMED) {
        0 => names,
        more => format!("{names} and {more} more"),
    }
}

/// Whether a subject can come to both experiments on one flow.
fn meet(one: &Experiment, other: &Experiment) -> bool {
    let everywhere = |own: &Experiment| own.flow().is_some_and(|flow| flow == Flow::ALL);
    let same_flow = one.flow() == other.flow() || everywhere(one) || everywhere(other);
    same_flow && one.subject_kind() == other.subject_kind()
}

/// Whether what a variation serves is what is served without an experiment.
fn serves_defaults(flag: &Flag, variation_id: &VariationId) -> bool {
    let variation = flag.variations().get(variation_id);
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
