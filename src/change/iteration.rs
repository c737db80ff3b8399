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
    ///
    /// The life of an experiment, from one iteration to the next:
    ///
    /// ```
    /// # use variate::{Engine, Subject};
    /// # let engine = Engine::from_json(r#"{"format": "variate/1",
    /// #     "flags": [{"id": "flg_a", "name": "A flag", "status": "active",
    /// #         "parameters": {"x": {"type": "number", "value": 1}},
    /// #         "variations": [{"id": "var_today", "name": "one"}, {"id": "var_short", "name": "two"}]}]}"#)?;
    /// use variate::{Allocation, Change, DraftPatch, NewExperiment, Status};
    ///
    /// let arms = |today: u32, short: u32| -> Result<_, variate::Error> {
    ///     let today = Allocation::share("var_today".parse()?, today.try_into()?).control();
    ///     Ok([today, Allocation::share("var_short".parse()?, short.try_into()?)])
    /// };
    /// let id = "exp_signin".parse()?;
    /// let mut new = NewExperiment::by_percentage("Sign-in", "flg_a".parse()?).id("exp_signin".parse()?);
    /// new.allocations = arms(90, 10)?.into();
    /// engine.commit(new)?;
    /// engine.commit(Change::start_iteration(&id))?;
    ///
    /// // The next one is drafted while this one runs, and moves as few subjects as can be.
    /// let even = DraftPatch::new().allocations(arms(50, 50)?);
    /// engine.commit(Change::draft_iteration(&id, even))?;
    /// let before = engine.snapshot();
    /// engine.commit(Change::start_iteration(&id))?;
    /// let now = engine.snapshot();
    /// let preview = before.preview(&now);
    /// assert!((preview.shares(&id, now.updated_at()).unwrap().moved() - 0.4).abs() < 1e-9);
    ///
    /// // Everyone gets the winner, until an iteration begins that splits them anew.
    /// let winner = "var_short".parse()?;
    /// let stop = Change::stop_iteration(&id).with_winner(&winner).because("3 % more sign in");
    /// engine.commit(stop.shipping())?;
    /// let stopped = engine.snapshot();
    /// let decision = stopped.assign(&id, &Subject::new("device-42"));
    /// assert_eq!((decision.reason().as_str(), decision.variation_id()), ("shipped", Some(&winner)));
    ///
    /// engine.commit(Change::start_iteration(&id))?;
    /// let snapshot = engine.snapshot();
    /// let experiment = snapshot.experiment(&id).unwrap();
    /// assert_eq!(experiment.status(), Status::Active);
    /// assert_eq!(experiment.iteration().number(), 3);
    /// assert_ne!(experiment.salt(), stopped.experiment(&id).unwrap().salt());
    /// let winners = experiment.previous_iterations().iter().map(|past| past.iteration().winner());
    /// let reasons: Vec<_> = winners.map(|winner| winner.and_then(|own| own.reason())).collect();
    /// assert_eq!(reasons, [None, Some("3 % more sign in")]);
    /// # Ok::<(), variate::Error>(())
    /// ```
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
