//! The changes that lead an experiment from one iteration to the next.

use super::{Change, DraftPatch};
use crate::id::{ExperimentId, VariationId};
use crate::model::Carryover;

impl Change {
    /// Opens or edits the draft of the next iteration.
    pub fn draft_iteration(id: &ExperimentId, patch: DraftPatch) -> Self {
        Self::DraftIteration { id: id.clone(), if_version: None, patch }
    }

    /// Discards the draft of the next iteration.
    pub fn discard_draft(id: &ExperimentId) -> Self {
        Self::DiscardDraft { id: id.clone(), if_version: None }
    }

    /// Starts the next iteration.
    pub fn start_iteration(id: &ExperimentId) -> Self {
        Self::StartIteration {
            id: id.clone(),
            if_version: None,
            reshuffle: false,
            salt: None,
            carryover: Carryover::Analysed,
        }
    }

    /// Stops the present iteration; see [`with_winner`](Self::with_winner),
    /// [`because`](Self::because) and [`shipping`](Self::shipping).
    pub fn stop_iteration(id: &ExperimentId) -> Self {
        Self::StopIteration {
            id: id.clone(),
            if_version: None,
            winner: None,
            reason: None,
            ship: false,
        }
    }

    /// Shelves an experiment.
    pub fn shelve(id: &ExperimentId) -> Self {
        Self::ShelveExperiment { id: id.clone(), if_version: None, shelved: true }
    }

    /// Takes an experiment off the shelf.
    pub fn unshelve(id: &ExperimentId) -> Self {
        Self::ShelveExperiment { id: id.clone(), if_version: None, shelved: false }
    }

    /// The same start of an iteration, which draws everybody anew. Any other change stays as it is.
    pub fn reshuffled(mut self) -> Self {
        if let Self::StartIteration { reshuffle, .. } = &mut self {
            *reshuffle = true;
        }
        self
    }

    /// The same start of an iteration, on which those who are in carry over like this. Any other
    /// change stays as it is.
    pub fn carrying_over(mut self, how: Carryover) -> Self {
        if let Self::StartIteration { carryover, .. } = &mut self {
            *carryover = how;
        }
        self
    }

    /// The same stop of an iteration, with this arm as the winner. Any other change stays as it is.
    pub fn with_winner(mut self, variation_id: &VariationId) -> Self {
        if let Self::StopIteration { winner, .. } = &mut self {
            *winner = Some(variation_id.clone());
        }
        self
    }

    /// The same stop of an iteration, with the reason for its winner. Any other change stays as it
    /// is.
    pub fn because(mut self, text: impl Into<String>) -> Self {
        if let Self::StopIteration { reason, .. } = &mut self {
            *reason = Some(text.into());
        }
        self
    }

    /// The same stop of an iteration, which ships its winner. Any other change stays as it is.
    pub fn shipping(mut self) -> Self {
        if let Self::StopIteration { ship, .. } = &mut self {
            *ship = true;
        }
        self
    }
}
