//! Which state leads to which.

use crate::error::{Code, Error};
use crate::model::{FlagStatus, SegmentStatus, Status};

impl Status {
    /// The states that this one leads to.
    ///
    /// | from | to |
    /// |---|---|
    /// | `draft` | `active`, `archived` |
    /// | `active` | `paused`, `completed` |
    /// | `paused` | `active`, `completed`, `archived` |
    /// | `completed` | `archived`, `active` |
    /// | `archived` | nothing |
    ///
    /// From `completed` to `active` leads only a new iteration,
    /// [`Change::StartIteration`](crate::Change::StartIteration).
    pub const fn leads_to(self) -> &'static [Self] {
        match self {
            Self::Draft => &[Self::Active, Self::Archived],
            Self::Active => &[Self::Paused, Self::Completed],
            Self::Paused => &[Self::Active, Self::Completed, Self::Archived],
            Self::Completed => &[Self::Archived, Self::Active],
            Self::Archived => &[],
        }
    }

    /// Whether this state leads to that one. None leads to itself.
    pub fn can_become(self, to: Self) -> bool {
        self.leads_to().contains(&to)
    }
}

impl FlagStatus {
    /// The states that this one leads to: from `draft` to `active` and `archived`, from `active` to
    /// `archived`.
    pub const fn leads_to(self) -> &'static [Self] {
        match self {
            Self::Draft => &[Self::Active, Self::Archived],
            Self::Active => &[Self::Archived],
            Self::Archived => &[],
        }
    }

    /// Whether this state leads to that one. None leads to itself.
    pub fn can_become(self, to: Self) -> bool {
        self.leads_to().contains(&to)
    }
}

impl SegmentStatus {
    /// The states that this one leads to: from `active` to `archived`.
    pub const fn leads_to(self) -> &'static [Self] {
        match self {
            Self::Active => &[Self::Archived],
            Self::Archived => &[],
        }
    }

    /// Whether this state leads to that one. None leads to itself.
    pub fn can_become(self, to: Self) -> bool {
        self.leads_to().contains(&to)
    }
}

/// The refusal of a transition, with those that there are.
pub(crate) fn not_allowed(what: &str, from: &str, to: &str, allowed: &[String]) -> Error {
    let rule = match allowed {
        _ if from == to => format!("must be another: {what} that is {from} is so already"),
        [] => format!("is final: {what} that is {from} becomes nothing else"),
        _ => format!("must be what {from} leads to: {}", allowed.join(" or ")),
    };
    Error::new(Code::TransitionNotAllowed, rule).with_value(to).at("status")
}
