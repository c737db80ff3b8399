//! Which experiments a layer or holdout can have.

use super::Snapshot;
use crate::error::{Code, Error};
use crate::id::ExperimentId;
use crate::model::{Experiment, Holdout, Layer, Reservation, SubjectKind};
use crate::number::Percentage;

/// The most holdouts that an experiment can be in.
const MAX_HOLDOUTS: usize = 16;

impl Snapshot {
    /// Checks the members of a layer against the experiments and the other layers.
    pub(crate) fn check_members(&self, layer: &Layer) -> Result<(), Error> {
        for id in layer.members().keys() {
            let check = || {
                self.check_member(id, &layer.subject_kind)?;
                match self.layer_of(id) {
                    Some(other) if other.id != layer.id => {
                        let rule = format!("must be in no other layer, but is in {}", other.id());
                        Err(Error::new(Code::InUse, rule).with_value(id))
                    }
                    _ => Ok(()),
                }
            };
            check().map_err(|error| error.at("members"))?;
        }
        Ok(())
    }

    /// Checks the experiments of a holdout.
    pub(crate) fn check_held(&self, holdout: &Holdout) -> Result<(), Error> {
        holdout.experiments.iter().try_for_each(|id| {
            self.check_member(id, &holdout.subject_kind)?;
            let others = self.holdouts_of(id).filter(|other| other.id != holdout.id);
            if others.count() < MAX_HOLDOUTS {
                return Ok(());
            }
            let rule = format!("must be in at most {MAX_HOLDOUTS} holdouts");
            Err(Error::new(Code::LimitExceeded, rule).with_value(id))
        })
    }

    fn check_member(&self, id: &ExperimentId, kind: &SubjectKind) -> Result<(), Error> {
        let Some(experiment) = self.experiment(id) else {
            let rule = "must be the id of an experiment that exists";
            return Err(Error::new(Code::UnknownReference, rule).with_value(id));
        };
        if experiment.subject_kind != *kind {
            let rule = format!("must be an experiment on subjects of the kind {kind}");
            return Err(Error::invalid(rule).with_value(id));
        }
        Ok(())
    }

    /// Checks that an experiment goes by the kind of subject of the layer and the holdouts that it
    /// is in.
    pub(crate) fn check_kind(&self, experiment: &Experiment) -> Result<(), Error> {
        let layer = self.layer_of(&experiment.id);
        let layer = layer.map(|layer| (layer.id.as_str(), &layer.subject_kind));
        let holdouts = self.holdouts_of(&experiment.id);
        let holdouts = holdouts.map(|holdout| (holdout.id.as_str(), &holdout.subject_kind));
        let kind = &experiment.subject_kind;
        match layer.into_iter().chain(holdouts).find(|(_, other)| *other != kind) {
            Some((id, other)) => {
                let rule = format!("must be {other} as long as the experiment is in {id}");
                Err(Error::invalid(rule).with_value(kind).at("subject_kind"))
            }
            None => Ok(()),
        }
    }

    /// The place of an experiment in its layer, if it is in one.
    pub(crate) fn reservation(&self, id: &ExperimentId) -> Option<Reservation> {
        let layer = self.layer_of(id)?;
        let share = *layer.members().get(id)?;
        let taken = Percentage::MAX.millionths().saturating_sub(layer.free().millionths());
        let others = Percentage::from_millionths(taken.saturating_sub(share.millionths()));
        Some(Reservation {
            layer_id: layer.id.clone(),
            name: layer.name.clone(),
            share,
            others: others.unwrap_or(Percentage::ZERO),
        })
    }

    /// Checks that an experiment is in no layer and no holdout.
    pub(crate) fn check_no_member(&self, id: &ExperimentId) -> Result<(), Error> {
        let layer = self.layer_of(id).map(|layer| layer.id.as_str());
        let holdout = self.holdouts_of(id).next().map(|holdout| holdout.id.as_str());
        match layer.or(holdout) {
            Some(other) => {
                let rule = format!("must not be used, but is in {other}");
                Err(Error::new(Code::InUse, rule).with_value(id).at("id"))
            }
            None => Ok(()),
        }
    }
}
