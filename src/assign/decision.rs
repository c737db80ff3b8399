//! What a subject gets, and why.

use std::fmt;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::plan::Arm;
use crate::id::{ExperimentId, SegmentId, VariationId};
use crate::model::{Config, Status};

/// What a subject gets from an experiment, and why. Borrowed from the snapshot; costs nothing to
/// make.
///
/// Serialises as an object with `experiment_id`, `variation_id`, `in_experiment`, `is_control`,
/// `reason` and `segment_id`, those left out that there are not.
#[derive(Clone, Copy, PartialEq)]
pub struct Decision<'s> {
    pub(crate) experiment_id: Option<&'s ExperimentId>,
    pub(crate) served: Option<&'s Arm>,
    pub(crate) reason: Reason<'s>,
}

impl<'s> Decision<'s> {
    /// That of an experiment that does not exist.
    pub(crate) const NOT_FOUND: Self =
        Self { experiment_id: None, served: None, reason: Reason::NotFound };

    /// The experiment; `None` when there is none of the id asked for, and when no member of the
    /// [chain](crate::Chain) asked for has the subject.
    pub fn experiment_id(&self) -> Option<&'s ExperimentId> {
        self.experiment_id
    }

    /// Why it is so.
    pub fn reason(&self) -> Reason<'s> {
        self.reason
    }

    /// The arm that the subject has, be it drawn, kept, attached or forced; `None` when it has none.
    pub fn assignment(&self) -> Option<Assignment<'s>> {
        let has_arm = self.in_experiment() || self.reason == Reason::Forced;
        let arm = self.served.filter(|_| has_arm)?;
        Some(Assignment {
            experiment_id: self.experiment_id?,
            variation_id: &arm.variation_id,
            config: &arm.config,
            is_control: arm.is_control,
        })
    }

    /// What is served: the assignment's variation; or outside the experiment its
    /// [outside variation](crate::Experiment::outside_variation_id), what an untracked
    /// [slice](crate::RolloutSlice) says or the [off variation](crate::Flag::off_variation_id) of its
    /// flag, if there is one; or the winner that a completed one [ships](Reason::Shipped).
    pub fn variation_id(&self) -> Option<&'s VariationId> {
        self.served.map(|arm| &arm.variation_id)
    }

    /// The complete config of what is served. `None` when nothing is: the experiment does not exist;
    /// it does not run and ships no winner, and the subject is neither forced, attached nor kept in it; its schedule is closed;
    /// the subject has no id of its kind; or the subject is held out, elsewhere in its chain, or outside the
    /// layer's slots, the audience or the traffic, or the flag is off, and there is no variation for them.
    /// [`Flag::defaults`](crate::Flag::defaults) is what to fall back on.
    pub fn config(&self) -> Option<&'s Config> {
        self.served.map(|arm| &*arm.config)
    }

    /// Whether the subject is part of the experiment and counts in its analysis; one that was forced
    /// into an arm does not.
    pub fn in_experiment(&self) -> bool {
        use Reason::{Attached, Fallback, Kept, Segment, Split};
        matches!(self.reason, Split | Segment(_) | Fallback | Kept | Attached)
    }
}

impl fmt::Debug for Decision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Decision({:?} {:?}: {})", self.experiment_id, self.variation_id(), self.reason)
    }
}

impl Serialize for Decision<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.serialize_into(&mut map)?;
        map.end()
    }
}

impl Decision<'_> {
    /// Adds the members of a decision to an object.
    pub(super) fn serialize_into<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        if let Some(id) = self.experiment_id {
            map.serialize_entry("experiment_id", id)?;
        }
        if let Some(id) = self.variation_id() {
            map.serialize_entry("variation_id", id)?;
        }
        map.serialize_entry("in_experiment", &self.in_experiment())?;
        if let Some(assignment) = self.assignment() {
            map.serialize_entry("is_control", &assignment.is_control)?;
        }
        map.serialize_entry("reason", self.reason.as_str())?;
        if let Reason::Segment(id) = self.reason {
            map.serialize_entry("segment_id", id)?;
        }
        Ok(())
    }
}

/// The arm of an experiment that a subject has.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Assignment<'s> {
    /// The experiment.
    pub experiment_id: &'s ExperimentId,
    /// The variation.
    pub variation_id: &'s VariationId,
    /// Every parameter of the flag: the defaults, overlaid with the variation's overrides.
    pub config: &'s Config,
    /// Whether the arm is the control.
    pub is_control: bool,
}

/// Why a subject gets what it gets, or nothing: the first gate that closed, in the order in which
/// they stand here, or the way in. Displays with the segment; to count by kind, use
/// [`as_str`](Self::as_str).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason<'s> {
    /// There is no such experiment, or no running one in the chain.
    NotFound,
    /// [Forced](crate::Subject::forced) for this call.
    Forced,
    /// It has not started.
    Draft,
    /// It is halted.
    Paused,
    /// It is concluded.
    Completed,
    /// It has been put away.
    Archived,
    /// It is active or paused, or completed and ships its winner, and its
    /// [flag](crate::Flag::is_on) is off.
    FlagOff,
    /// Its schedule has not begun.
    BeforeStart,
    /// Its schedule is over.
    AfterEnd,
    /// The subject is [attached](crate::Subject::attached) to its arm by hand.
    Attached,
    /// The subject has no id of the experiment's kind, or an empty one. Served nothing, or what the
    /// first [slice](crate::RolloutSlice) with a weight says.
    MissingSubjectId,
    /// The subject is in a [holdout](crate::Holdout) of the experiment.
    HeldOut,
    /// The subject's point in the [layer](crate::Layer) is not one of the experiment's.
    OutsideLayerSlot,
    /// Another experiment of its [chain](crate::Chain) has the subject before this one's turn comes.
    Elsewhere,
    /// The subject [keeps](crate::Subject::kept) what it had, as [`Keep`](crate::Keep) lets it.
    Kept,
    /// The subject is not in the experiment's [audience](crate::Experiment::audience_id).
    NotTargeted,
    /// The subject lies outside the experiment's traffic, or no member of the chain has it.
    NotSampled,
    /// Drawn by weight.
    Split,
    /// This is the first segment that matches.
    Segment(&'s SegmentId),
    /// No segment matches.
    Fallback,
    /// The experiment is concluded, and its [winner](crate::Iteration::winner) is served to
    /// everyone eligible, as no part of it.
    Shipped,
}

impl Reason<'_> {
    /// That of a status in which nobody is assigned.
    pub(crate) const fn closed(status: Status) -> Self {
        match status {
            Status::Draft | Status::Active => Self::Draft,
            Status::Paused => Self::Paused,
            Status::Completed => Self::Completed,
            Status::Archived => Self::Archived,
        }
    }

    /// Whether the subject is one that the experiment could have let in.
    pub(crate) const fn is_outside(self) -> bool {
        matches!(
            self,
            Self::HeldOut
                | Self::OutsideLayerSlot
                | Self::Elsewhere
                | Self::NotTargeted
                | Self::NotSampled
        )
    }

    /// The stable name, without the segment.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Forced => "forced",
            Self::Draft => "draft",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Archived => "archived",
            Self::FlagOff => "flag_off",
            Self::BeforeStart => "before_start",
            Self::AfterEnd => "after_end",
            Self::MissingSubjectId => "missing_subject_id",
            Self::HeldOut => "held_out",
            Self::OutsideLayerSlot => "outside_layer_slot",
            Self::Elsewhere => "elsewhere",
            Self::Kept => "kept",
            Self::NotTargeted => "not_targeted",
            Self::NotSampled => "not_sampled",
            Self::Split => "split",
            Self::Segment(_) => "segment",
            Self::Fallback => "fallback",
            Self::Shipped => "shipped",
            Self::Attached => "attached",
        }
    }
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(id) => f.pad(&format!("segment {id}")),
            _ => f.pad(self.as_str()),
        }
    }
}
