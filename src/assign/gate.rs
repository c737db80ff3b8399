//! What the status and the flag decide before anything else does.

use super::plan::{Open, Route};
use super::shipped::Shipped;
use crate::id::FlagId;
use crate::model::Status;
use crate::partition::Partition;

/// Whether the status lets anyone in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Gate {
    Closed(Status),
    /// Closed but to those who were in.
    Paused(Open),
    Open(Open),
    /// Closed, and the winner served to everyone eligible.
    Shipped(Shipped),
    /// One of the three before, on a flag that is off.
    Off(Box<Off>),
}

/// What is to be told while the flag is off, and what decides when it is on again.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Off {
    pub(crate) status: Status,
    pub(super) flag_id: FlagId,
    /// Nothing if a winner is shipped.
    open: Option<Open>,
}

impl Gate {
    /// That of an experiment in this state on a flag that is off.
    pub(super) fn off(status: Status, flag_id: &FlagId, open: Option<Open>) -> Self {
        Self::Off(Box::new(Off { status, flag_id: flag_id.clone(), open }))
    }

    /// What decides if nothing but weights does.
    #[inline]
    pub(super) fn lot(&self) -> Option<(&Open, &Partition)> {
        match self {
            Self::Open(open @ Open { guards: None, route: Route::Percentage(partition), .. }) => {
                Some((open, partition))
            }
            _ => None,
        }
    }

    /// What decides when neither the status nor the flag does.
    pub(super) fn open(&self) -> Option<&Open> {
        match self {
            Self::Open(open) | Self::Paused(open) => Some(open),
            Self::Off(off) => off.open.as_ref(),
            Self::Closed(_) | Self::Shipped(_) => None,
        }
    }

    /// Whether anybody can get the flag's off variation.
    pub(super) fn serves_off(&self) -> bool {
        match self {
            Self::Off(_) => true,
            Self::Open(Open { guards: Some(guards), .. })
            | Self::Shipped(Shipped { guards: Some(guards), .. }) => !guards.holdouts.is_empty(),
            _ => false,
        }
    }
}
