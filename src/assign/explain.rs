//! Why a subject gets what it gets: the way through the gates.

use std::fmt;
use std::ops::Range;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::guards::{HoldoutGate, LayerGate};
use super::plan::Arm;
use super::subject::BroughtBy;
use super::{Attributes, Decision, Reason, Subject};
use crate::error::shorten;
use crate::id::{ExperimentId, FlagId, HoldoutId, LayerId, SegmentId, VariationId};
use crate::model::{Closed, Schedule, Segment, Status};
use crate::number::Percentage;
use crate::partition::Partition;
use crate::time::Timestamp;

/// A decision and the whole way to it.
///
/// Displays as lines for people. Serialises as the [`Decision`] with one more member, `steps`, a list
/// of objects whose `gate` says which it is.
///
/// ```
/// # let snapshot = variate::Snapshot::from_json(r#"{"format": "variate/1",
/// #     "flags": [{"id": "flg_a", "name": "A flag", "status": "active",
/// #         "parameters": {"x": {"type": "number", "value": 1}},
/// #         "variations": [{"id": "var_today", "name": "one"}, {"id": "var_short", "name": "two"}]}],
/// #     "experiments": [{"id": "exp_signin", "name": "Sign-in", "flag_id": "flg_a",
/// #         "strategy": "percentage", "status": "active", "traffic": 90,
/// #         "allocations": [{"variation_id": "var_today", "weight": 90, "is_control": true},
/// #             {"variation_id": "var_short", "weight": 10}]}]}"#)?;
/// use variate::Subject;
///
/// let explanation = snapshot.explain("exp_signin", &Subject::new("device-42"));
/// assert_eq!(explanation.to_string(), "\
/// exp_signin → var_short (split)
///   status    active
///   subject   device \"device-42\"
///   traffic   point 3721284257 (86.64 %) lies below 3865470566 (90.00 %)
///   split     point 333885173 lies in 0..429496729, which is var_short's");
/// # Ok::<(), variate::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation<'s> {
    decision: Decision<'s>,
    steps: Vec<Step>,
}

impl<'s> Explanation<'s> {
    pub(crate) fn new(decision: Decision<'s>, steps: Vec<Step>) -> Self {
        Self { decision, steps }
    }

    /// What was decided: what [`assign`](crate::Snapshot::assign) gives.
    pub fn decision(&self) -> Decision<'s> {
        self.decision
    }

    /// The gates that were asked, in order; the last one decided.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }
}

/// A gate that was asked, what went in and what came out.
///
/// A point is a subject's in one draw, of 0 to 2^32 − 1 unless another range is named.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "gate", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Step {
    /// The subject was forced into an arm, and nothing else was asked.
    Forced {
        /// The arm's variation.
        variation_id: VariationId,
    },
    /// The subject brought this variation, which does not count.
    PassedOver {
        /// The variation.
        variation_id: String,
        /// Whether it was to be forced, or else attached or kept.
        forced: bool,
        /// Whether it is an arm, which is not attached or kept now, or else is none.
        is_arm: bool,
        /// Whether it was to be attached.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        attached: bool,
    },
    /// Where the experiment stands in its life.
    Status {
        /// The status; anything but `active` lets nobody in, `paused` those who keep an arm, and
        /// `completed` serves everyone eligible a winner that is shipped.
        status: Status,
    },
    /// What the clock says.
    Schedule {
        /// The time that was read.
        now: Timestamp,
        /// The moment from which on subjects enter.
        #[serde(skip_serializing_if = "Option::is_none")]
        starts_at: Option<Timestamp>,
        /// The moment from which on none do.
        #[serde(skip_serializing_if = "Option::is_none")]
        ends_at: Option<Timestamp>,
        /// Whether `now` lies between them.
        open: bool,
        /// The share of the last stage that has begun, 0 before the first; nothing if there are no
        /// stages.
        #[serde(skip_serializing_if = "Option::is_none")]
        traffic: Option<Percentage>,
    },
    /// The id that is hashed.
    Subject {
        /// The experiment's kind.
        kind: String,
        /// The subject's id of that kind; nothing if it has none, or an empty one.
        id: Option<String>,
    },
    /// Whether the subject is held out.
    Holdout {
        /// The holdout.
        holdout_id: HoldoutId,
        /// The subject's point in the holdout's draw.
        point: u32,
        /// The first point that is not held out.
        end: u64,
        /// Whether the point lies below it.
        held_out: bool,
    },
    /// Who owns the subject's point in the layer.
    Layer {
        /// The layer.
        layer_id: LayerId,
        /// The subject's point in the layer's draw.
        point: u32,
        /// Whose it is; nothing if it is free.
        owner: Option<ExperimentId>,
        /// Whether it is this experiment's.
        inside: bool,
    },
    /// The subject keeps the arm that it brought, and nothing else was asked.
    Kept {
        /// The arm's variation.
        variation_id: VariationId,
    },
    /// Whether the subject is in the audience.
    Audience(Asked),
    /// Whether the subject is in the share that enters.
    Traffic {
        /// The subject's point in the traffic's draw; nothing is drawn if everyone enters.
        point: Option<u32>,
        /// The first point that is not in.
        end: u64,
    },
    /// Whether a segment matches.
    Segment(Asked),
    /// Which arm the point falls to.
    Split {
        /// The subject's point in the draw of the variation.
        point: u32,
        /// The first point of the slice in which it lies.
        start: u64,
        /// The first point after that slice.
        end: u64,
        /// The arm's variation.
        variation_id: Option<VariationId>,
    },
    /// The flag is off, and nothing else was asked.
    FlagOff {
        /// The flag.
        flag_id: FlagId,
        /// Its off variation; nothing if it has none.
        #[serde(skip_serializing_if = "Option::is_none")]
        variation_id: Option<VariationId>,
    },
    /// The winner of the completed experiment is served, and nothing else was asked.
    Shipped {
        /// The winner's variation.
        variation_id: VariationId,
    },
    /// Whether another experiment of the chain has the subject before this one's turn comes.
    Chain {
        /// The chain's name.
        chain: String,
        /// The other experiment that has it; nothing if none has.
        owner: Option<ExperimentId>,
    },
    /// In which slice the point lies, under a hash whose one draw decides both traffic and arm.
    Rollout {
        /// The subject's point, of 0 to 2^60 − 1.
        point: u64,
        /// The first point of the slice.
        start: u64,
        /// The first point after it.
        end: u64,
        /// What the slice serves; nothing if that is nothing.
        variation_id: Option<VariationId>,
        /// Whether its subjects are in the experiment.
        tracked: bool,
    },
    /// The subject is attached to an arm, and nothing but status and schedule was asked.
    Attached {
        /// The arm's variation.
        variation_id: VariationId,
    },
}

/// A segment that was asked.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Asked {
    /// The segment.
    pub segment_id: SegmentId,
    /// The segment's version, as the run froze it.
    pub version: u64,
    /// Whether any of its rules matches.
    pub matched: bool,
    /// What each rule came to, up to the first that matches.
    pub rules: Vec<RuleVerdict>,
}

/// What a rule came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RuleVerdict {
    /// Whether it matches.
    pub matched: bool,
    /// What kept it from matching: the path within the rule, such as `match.country`, of the first
    /// that did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// What the attribute there is, as compact JSON, cut after 80 characters; nothing if it is
    /// missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

/// Who looks on while a plan decides: nobody, or an explanation.
pub(crate) trait Trace {
    fn note(&mut self, step: impl FnOnce() -> Step);
}

/// Nobody looks on, and nothing is made for them.
impl Trace for () {
    #[inline]
    fn note(&mut self, _: impl FnOnce() -> Step) {}
}

impl Trace for Vec<Step> {
    fn note(&mut self, step: impl FnOnce() -> Step) {
        self.push(step());
    }
}

impl Step {
    pub(super) fn schedule(
        schedule: &Schedule,
        now: Timestamp,
        traffic: Result<Percentage, Closed>,
    ) -> Self {
        let Schedule { starts_at, ends_at, .. } = *schedule;
        let open = traffic.is_ok();
        let traffic = (!schedule.stages.is_empty()).then(|| schedule.staged(now));
        Self::Schedule { now, starts_at, ends_at, open, traffic }
    }

    pub(super) fn passed_over(variation_id: &str, by: BroughtBy, is_arm: bool) -> Self {
        let (forced, attached) = (by == BroughtBy::Forced, by == BroughtBy::Attached);
        Self::PassedOver { variation_id: variation_id.to_owned(), forced, is_arm, attached }
    }

    pub(super) fn subject_id(kind: &str, subject: &Subject<'_>) -> Self {
        Self::Subject { kind: kind.to_owned(), id: subject.id(kind).map(str::to_owned) }
    }

    pub(super) fn holdout(gate: &HoldoutGate, point: u32) -> Self {
        let holdout_id = gate.holdout.id().clone();
        Self::Holdout { holdout_id, point, end: gate.end, held_out: u64::from(point) < gate.end }
    }

    pub(super) fn layer(gate: &LayerGate, point: u32) -> Self {
        Self::Layer {
            layer_id: gate.layer.id().clone(),
            point,
            owner: gate.layer.owner(point).cloned(),
            inside: gate.layer.slots.owner(point) == usize::from(gate.arm),
        }
    }

    pub(super) fn split(point: u32, partition: &Partition, arm: Option<&Arm>) -> Self {
        let Range { start, end } = partition.slice(point);
        Self::Split { point, start, end, variation_id: arm.map(|arm| arm.variation_id.clone()) }
    }
}

impl Asked {
    pub(super) fn new(segment: &Segment, attributes: &dyn Attributes, matched: bool) -> Self {
        let mut rules = Vec::new();
        for rule in segment.rules() {
            let failure = rule.failure(attributes);
            let matched = failure.is_none();
            let attribute = failure.as_ref().and_then(|failure| failure.attribute);
            let found = attribute.and_then(|name| attributes.attribute(name));
            let found = found.map(|value| shorten(&value.to_string()));
            rules.push(RuleVerdict { matched, failed: failure.map(|own| own.path), found });
            if matched {
                break;
            }
        }
        let (segment_id, version) = (segment.id().clone(), segment.version());
        Self { segment_id, version, matched, rules }
    }
}

impl Serialize for Explanation<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.decision.serialize_into(&mut map)?;
        map.serialize_entry("steps", &self.steps)?;
        map.end()
    }
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Decision { experiment_id, reason, .. } = self.decision;
        let experiment = experiment_id.map_or("no such experiment", ExperimentId::as_str);
        let variation = self.decision.variation_id().map_or("nothing", VariationId::as_str);
        match reason {
            Reason::NotFound => f.write_str(experiment)?,
            _ => write!(f, "{experiment} → {variation} ({reason})")?,
        }
        self.steps.iter().try_for_each(|step| write!(f, "\n  {step}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forced { variation_id } => write!(f, "forced    into {variation_id}"),
            Self::PassedOver { variation_id, forced, is_arm, attached } => {
                let brought = match (forced, attached) {
                    (true, _) => "forced",
                    (false, true) => "attached",
                    (false, false) => "kept",
                };
                write!(f, "{brought:<8}  {variation_id} ")?;
                match is_arm {
                    true => write!(f, "is not {brought} now, and is passed over"),
                    false => f.write_str("is no arm, and is passed over"),
                }
            }
            Self::Status { status } => write!(f, "status    {status}"),
            Self::Schedule { now, starts_at: Some(start), .. } if now < start => {
                write!(f, "schedule  {now} lies before {start}, when it begins")
            }
            Self::Schedule { now, ends_at: Some(end), .. } if now >= end => {
                write!(f, "schedule  {now} does not lie before {end}, when it ends")
            }
            Self::Schedule { now, traffic, .. } => {
                write!(f, "schedule  {now} lies within its time")?;
                traffic.iter().try_for_each(|own| write!(f, "; by its stages {own} % enter"))
            }
            Self::Subject { kind, id: Some(id) } => write!(f, "subject   {kind} {id:?}"),
            Self::Subject { kind, id: None } => write!(f, "subject   has no id of kind {kind}"),
            Self::Holdout { holdout_id, point, end, held_out } => {
                write!(f, "holdout   {holdout_id}: {}", Below(*point, *end, *held_out))
            }
            Self::Layer { layer_id, point, owner, .. } => match owner {
                Some(owner) => write!(f, "layer     {layer_id}: point {point} is {owner}'s"),
                None => write!(f, "layer     {layer_id}: point {point} is nobody's"),
            },
            Self::Kept { variation_id } => write!(f, "kept      {variation_id}"),
            Self::Shipped { variation_id } => write!(f, "shipped   {variation_id}"),
            Self::Audience(asked) => write!(f, "audience  {asked}"),
            Self::Traffic { point: None, .. } => f.write_str("traffic   everyone enters"),
            Self::Traffic { point: Some(point), end } => {
                write!(f, "traffic   {}", Below(*point, *end, u64::from(*point) < *end))
            }
            Self::Segment(asked) => write!(f, "segment   {asked}"),
            Self::Split { point, start, end, variation_id } => {
                write!(f, "split     point {point} lies in {start}..{end}")?;
                variation_id.iter().try_for_each(|id| write!(f, ", which is {id}'s"))
            }
            Self::FlagOff { flag_id, variation_id } => {
                let served = variation_id.as_ref().map_or("nothing", VariationId::as_str);
                write!(f, "flag      {flag_id} is off, and serves {served}")
            }
            Self::Chain { chain, owner: Some(owner) } => {
                write!(f, "chain     {chain:?}: {owner} has the subject")
            }
            Self::Chain { chain, owner: None } => {
                write!(f, "chain     {chain:?}: none before has the subject")
            }
            Self::Rollout { point, start, end, variation_id, tracked } => {
                write!(f, "rollout   point {point} lies in {start}..{end}, which is ")?;
                match (variation_id, tracked) {
                    (Some(id), true) => write!(f, "{id}'s"),
                    (Some(id), false) => write!(f, "served {id}, untracked"),
                    (None, _) => f.write_str("outside"),
                }
            }
            Self::Attached { variation_id } => write!(f, "attached  to {variation_id}"),
        }
    }
}

/// A point and whether it lies below the end.
struct Below(u32, u64, bool);

impl fmt::Display for Below {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(point, end, below) = *self;
        let lies = if below { "lies below" } else { "does not lie below" };
        let [point_share, end_share] = [point.into(), end].map(Share);
        write!(f, "point {point} ({point_share}) {lies} {end} ({end_share})")
    }
}

/// A number of points as a share of all, rounded to two decimals.
struct Share(u64);

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // At most 2^32 · 10^4, far below 2^64.
        let hundredths = (self.0 * 10_000 + Partition::POINTS / 2) / Partition::POINTS;
        write!(f, "{}.{:02} %", hundredths / 100, hundredths % 100)
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let matches = if self.matched { "matches" } else { "does not match" };
        write!(f, "{} (version {}) {matches}", self.segment_id, self.version)?;
        for (index, rule) in self.rules.iter().enumerate() {
            let mark = if index == 0 { ": " } else { "; " };
            match &rule.failed {
                Some(path) => {
                    write!(f, "{mark}rules[{index}] fails at {path}")?;
                    match &rule.found {
                        Some(value) => write!(f, ", which is {value}")?,
                        None if path.contains("match.") => f.write_str(", which is missing")?,
                        None => {}
                    }
                }
                None => write!(f, "{mark}rules[{index}] matches")?,
            }
        }
        Ok(())
    }
}
