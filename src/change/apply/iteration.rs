//! Experiments from one iteration to the next.

use std::sync::Arc;

use super::super::DraftPatch;
use super::super::lifecycle::not_allowed;
use super::experiment::{check_not_shelved, edit_analysis, settable};
use super::{Edit, Work, archived, given, settled};
use crate::error::{Code, Error};
use crate::id::{ExperimentId, VariationId};
use crate::model::{
    Carryover, Design, Draft, Experiment, HashVersion, Iteration, PastIteration, Rollout, Salt,
    Status, Winner, check_allocations, check_previous,
};
use crate::snapshot::{check_arm, not_ready};

impl Work<'_> {
    pub(super) fn draft_iteration(
        &mut self,
        id: &ExperimentId,
        if_version: Option<u64>,
        patch: &DraftPatch,
    ) -> Result<(), Error> {
        let mut experiment = self.experiment(id, if_version)?;
        match experiment.status {
            Status::Draft => {
                let rule = "must not be opened beside an experiment that is a draft itself, which \
                            patch_experiment edits";
                return Err(Error::new(Code::NotMutable, rule).at("draft"));
            }
            Status::Archived => return Err(archived("experiment", "draft")),
            Status::Active | Status::Paused | Status::Completed => {}
        }
        let opened = experiment.draft.take().map(|own| *own);
        let opens = opened.is_none();
        let mut draft = opened.unwrap_or_else(|| Draft::of(&experiment, self.now));
        let edited = self.edit_draft(&experiment, &mut draft, patch);
        let edited = edited.map_err(|error| error.at("patch"))?;
        let fields = if opens { Some(vec!["draft".to_owned()]) } else { edited };
        let Some(fields) = fields else { return Ok(()) };
        experiment.draft = Some(Box::new(draft));
        self.put_edited(experiment, fields)
    }

    fn edit_draft(
        &self,
        experiment: &Experiment,
        draft: &mut Draft,
        patch: &DraftPatch,
    ) -> Result<Option<Vec<String>>, Error> {
        let mut edit = Edit::new(|_| Ok(()));
        let kind = given("subject_kind", patch.subject_kind.as_ref())?;
        edit.set("draft.subject_kind", &mut draft.subject_kind, kind)?;
        if let Some(allocations) = &patch.allocations {
            check_allocations(allocations, experiment.strategy, experiment.weights)
                .map_err(|error| error.at("allocations"))?;
        }
        let allocations = patch.allocations.as_deref().map(Arc::from);
        edit.set("draft.allocations", &mut draft.allocations, allocations)?;
        match patch.traffic {
            Some(traffic) if traffic != draft.traffic && !experiment.extra.levels.is_empty() => {
                let rule = "must be the first level, since the experiment has levels";
                return Err(Error::new(Code::NotMutable, rule).with_value(&traffic).at("traffic"));
            }
            traffic => edit.set("draft.traffic", &mut draft.traffic, traffic)?,
        }
        edit.set("draft.audience_id", &mut draft.audience_id, settled(&patch.audience_id))?;
        let outside = settled(&patch.outside_variation_id);
        edit.set("draft.outside_variation_id", &mut draft.outside_variation_id, outside)?;
        edit.set("draft.can_reshuffle", &mut draft.can_reshuffle, patch.can_reshuffle)?;
        if let Some(patch) = &patch.analysis {
            let (analysis, fields) = edit_analysis(draft.analysis(), Status::Draft, patch)
                .map_err(|error| error.at("analysis"))?;
            draft.set_analysis(analysis);
            edit.fields.extend(fields.into_iter().map(|field| format!("draft.{field}")));
        }
        let drafted = draft.put_into(experiment);
        self.next.check_references(&drafted)?;
        self.next.check_kind(&drafted)?;
        Ok(edit.into_fields())
    }

    pub(super) fn discard_draft(
        &mut self,
        id: &ExperimentId,
        if_version: Option<u64>,
    ) -> Result<(), Error> {
        let mut experiment = self.experiment(id, if_version)?;
        if experiment.draft.take().is_none() {
            return Ok(());
        }
        if experiment.status == Status::Archived {
            return Err(archived("experiment", "draft"));
        }
        self.put_edited(experiment, vec!["draft".to_owned()])
    }

    /// Starts the next iteration, and returns the salt that was given or drawn for it.
    pub(super) fn start_iteration(
        &mut self,
        id: &ExperimentId,
        if_version: Option<u64>,
        reshuffle: bool,
        salt: Option<Salt>,
        carryover: Carryover,
    ) -> Result<Option<Salt>, Error> {
        let mut experiment = self.experiment(id, if_version)?;
        let from = experiment.status;
        if from == Status::Archived {
            return Err(not_allowed("an experiment", from.as_str(), "active", &[]));
        }
        check_not_shelved(&experiment)?;
        if carryover != Carryover::default() && !experiment.hash.has_rollout() {
            let rule = format!("is only for experiments that hash by {}", HashVersion::ROLLOUTS);
            return Err(Error::invalid(rule).with_value(&carryover).at("carryover"));
        }
        let mut salt = match salt {
            None if reshuffle || from == Status::Completed => {
                Some(self.draw_salt(experiment.hash)?)
            }
            given => given,
        };
        let froze = if from == Status::Draft {
            if let Some(salt) = &salt {
                experiment.salt = salt.clone();
            }
            self.activate(&mut experiment, false)?
        } else {
            let next = self.drafted(&experiment);
            let served = match carryover {
                Carryover::ServedOnly if salt.is_none() => experiment.served_only(&next)?,
                _ => None,
            };
            if matches!(served, Some(None)) && next.can_reshuffle {
                salt = Some(self.draw_salt(experiment.hash)?);
            }
            experiment = self.follow(&experiment, next, salt.as_ref(), served.flatten())?;
            true
        };
        self.put_transitioned(experiment, from, Status::Active, froze)?;
        Ok(salt)
    }

    /// The experiment with the design of its next iteration.
    fn drafted(&self, before: &Experiment) -> Experiment {
        match before.draft() {
            Some(draft) => draft.put_into(before),
            None => Draft::of(before, self.now).put_into(before),
        }
    }

    /// The experiment when its next iteration has begun, with these slices if any are worked out.
    fn follow(
        &self,
        before: &Experiment,
        mut after: Experiment,
        salt: Option<&Salt>,
        rollout: Option<Rollout>,
    ) -> Result<Experiment, Error> {
        check_previous(before.previous_iterations().len())?;
        if let Some(salt) = salt.filter(|salt| **salt != before.salt) {
            if before.status != Status::Completed && !after.can_reshuffle {
                let rule = "must stay the same, since can_reshuffle is false";
                return Err(Error::new(Code::NotMutable, rule).at("salt"));
            }
            after.salt = salt.clone();
        }
        let readiness = self.next.readiness_of(&after);
        if !readiness.is_ready() {
            return Err(not_ready(readiness).at("status"));
        }
        self.next.check_kind(&after).map_err(|error| error.at("draft"))?;
        let number = before.iteration.number.checked_add(1).ok_or_else(|| {
            let error = Error::new(Code::LimitExceeded, "must not be the last that can be counted");
            error.with_value(&before.iteration.number).at("number").at("iteration")
        })?;
        let mut past = PastIteration::of(before);
        if before.status != Status::Completed {
            past.iteration.end(self.now, self.next.reservation(&before.id));
        }
        if after.subject_kind != before.subject_kind {
            // Other ids are hashed, so there is nobody to be kept where they are.
            after.iteration.design = None;
        }
        if let (Some(rollout), Some(design)) = (rollout, &after.iteration.design) {
            let carried = Design { rollout: Some(Box::new(rollout)), ..Design::clone(design) };
            after.iteration.design = Some(Arc::new(carried));
        }
        let design = Arc::new(self.next.freeze(&after)?);
        let started_at = Some(self.now);
        let created_at = before.draft().map_or(self.now, Draft::created_at);
        let next = Iteration::new(number, created_at);
        let turn = self.next.turn_of(&after, self.now);
        after.iteration = Iteration { started_at, turn, design: Some(design), ..next };
        let mut previous = before.previous_iterations().to_vec();
        previous.push(past);
        after.extra.previous = Some(Arc::new(previous));
        Ok(after)
    }

    pub(super) fn stop_iteration(
        &mut self,
        id: &ExperimentId,
        if_version: Option<u64>,
        winner: Option<&VariationId>,
        reason: Option<&str>,
        ship: bool,
    ) -> Result<(), Error> {
        let mut experiment = self.experiment(id, if_version)?;
        let from = experiment.status;
        if !from.can_become(Status::Completed) {
            let to = Status::Completed.as_str();
            return Err(not_allowed("an experiment", from.as_str(), to, &settable(from)));
        }
        experiment.iteration.winner = match winner {
            Some(id) => {
                let arms = experiment.iteration.allocations().unwrap_or_default();
                check_arm(arms, id).map_err(|error| error.at("winner"))?;
                Some(Box::new(Winner::new(id.clone(), reason, ship)?))
            }
            None if ship => {
                return Err(Error::invalid("must be given to be shipped").at("winner"));
            }
            None if reason.is_some() => {
                return Err(Error::invalid("must be given beside a reason").at("winner"));
            }
            None => None,
        };
        experiment.iteration.end(self.now, self.next.reservation(id));
        self.put_transitioned(experiment, from, Status::Completed, false)
    }

    pub(super) fn shelve_experiment(
        &mut self,
        id: &ExperimentId,
        if_version: Option<u64>,
        shelved: bool,
    ) -> Result<(), Error> {
        let mut experiment = self.experiment(id, if_version)?;
        if experiment.extra.shelved_at.is_some() == shelved {
            return Ok(());
        }
        let status = experiment.status;
        if !matches!(status, Status::Draft | Status::Completed) {
            let rule = format!(
                "changes only while the experiment is {} or {}, not {status}",
                Status::Draft,
                Status::Completed
            );
            return Err(Error::new(Code::NotMutable, rule).at("shelved"));
        }
        experiment.extra.shelved_at = shelved.then_some(self.now);
        self.put_edited(experiment, vec!["shelved_at".to_owned()])
    }
}
