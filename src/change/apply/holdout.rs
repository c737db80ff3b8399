//! Holdouts.

use std::collections::BTreeSet;

use super::super::{EffectKind, EntityKind, HoldoutPatch, NewHoldout};
use super::layer::{check_apart, check_empty};
use super::{Edit, Work, given, not_found, patched, text};
use crate::error::{Code, Error};
use crate::id::{ExperimentId, HoldoutId};
use crate::model::{Holdout, Record, Salt, check_analysis, check_held, check_id_free};

impl Work<'_> {
    pub(super) fn create_holdout(&mut self, mut new: NewHoldout) -> Result<NewHoldout, Error> {
        let id = match new.id.take() {
            Some(id) => id,
            None => HoldoutId::generate(self.entropy)?,
        };
        check_id_free(self.next.holdout(&id).is_some(), id.as_str())?;
        let salt = new.salt.take().unwrap_or_else(|| Salt::from(&id));
        new.analysis = new.analysis.tidy();
        let holdout = Holdout {
            name: text("name", &new.name)?,
            description: given("description", new.description.as_ref())?,
            salt: salt.clone(),
            subject_kind: self.subject_kind(new.subject_kind.as_ref())?,
            share: new.share,
            experiments: new.experiments.clone(),
            record: Record::new(self.now),
            key: given("key", new.key.as_ref())?,
            ended_at: None,
            maintainer: given("maintainer", new.maintainer.as_ref())?,
            analysis: new.analysis.clone().shared(),
            id: id.clone(),
        };
        check_analysis(&new.analysis).map_err(|error| error.at("analysis"))?;
        self.next.check_metrics(&new.analysis).map_err(|error| error.at("analysis"))?;
        self.next.check_holdout_free(&holdout)?;
        check_held(&holdout.experiments).map_err(|error| error.at("experiments"))?;
        self.next.check_held(&holdout).map_err(|error| error.at("experiments"))?;
        self.check_halted(holdout.experiments.iter(), "joins")
            .map_err(|error| error.at("experiments"))?;
        self.note(EffectKind::Created, EntityKind::Holdout, id.as_str(), 1);
        self.next.put_holdout(holdout);
        new.id = Some(id);
        new.salt = Some(salt);
        Ok(new)
    }

    pub(super) fn patch_holdout(
        &mut self,
        id: &HoldoutId,
        if_version: Option<u64>,
        patch: &HoldoutPatch,
    ) -> Result<(), Error> {
        let mut holdout = self.holdout(id, if_version)?;
        let fields = self.edit_holdout(&mut holdout, patch).map_err(|error| error.at("patch"))?;
        let Some(fields) = fields else { return Ok(()) };
        holdout.record.touch(self.now)?;
        self.note_edit(EntityKind::Holdout, id.as_str(), holdout.version(), fields);
        self.next.put_holdout(holdout);
        Ok(())
    }

    fn edit_holdout(
        &self,
        holdout: &mut Holdout,
        patch: &HoldoutPatch,
    ) -> Result<Option<Vec<String>>, Error> {
        let ended = holdout.ended_at.is_some();
        let mut edit = Edit::new(|field| match field {
            "share" if ended => Err(over("never changes once the holdout has ended").at(field)),
            _ => Ok(()),
        });
        edit.set("name", &mut holdout.name, given("name", patch.name.as_ref())?)?;
        let description = patched("description", &patch.description)?;
        edit.set("description", &mut holdout.description, description)?;
        edit.set("share", &mut holdout.share, patch.share)?;
        let none = BTreeSet::new();
        let [join, leave] = [&patch.join, &patch.leave].map(|ids| ids.as_ref().unwrap_or(&none));
        check_apart(leave.iter(), |id| join.contains(id), "join")?;
        let mut joining = join.difference(&holdout.experiments);
        if ended && let Some(id) = joining.next() {
            let rule = "must not join a holdout that has ended";
            return Err(over(rule).with_value(id).at("join"));
        }
        self.check_halted(joining, "joins").map_err(|error| error.at("join"))?;
        // Leaving one that has ended changes nothing for anybody.
        let leaving = leave.intersection(&holdout.experiments).filter(|_| !ended);
        self.check_halted(leaving, "leaves").map_err(|error| error.at("leave"))?;
        let stay = holdout.experiments.difference(leave);
        let experiments: BTreeSet<ExperimentId> = stay.chain(join).cloned().collect();
        check_held(&experiments).map_err(|error| error.at("join"))?;
        edit.set("experiments", &mut holdout.experiments, Some(experiments))?;
        self.next.check_holdout_free(holdout)?;
        self.next.check_held(holdout).map_err(|error| error.at("join"))?;
        Ok(edit.into_fields())
    }

    pub(super) fn end_holdout(
        &mut self,
        id: &HoldoutId,
        if_version: Option<u64>,
    ) -> Result<(), Error> {
        let mut holdout = self.holdout(id, if_version)?;
        if holdout.ended_at.is_some() {
            return Ok(());
        }
        holdout.ended_at = Some(self.now);
        holdout.record.touch(self.now)?;
        let fields = vec!["ended_at".to_owned()];
        self.note_edit(EntityKind::Holdout, id.as_str(), holdout.version(), fields);
        self.next.put_holdout(holdout);
        Ok(())
    }

    pub(super) fn delete_holdout(
        &mut self,
        id: &HoldoutId,
        if_version: Option<u64>,
    ) -> Result<(), Error> {
        let holdout = self.holdout(id, if_version)?;
        check_empty(id.as_str(), holdout.experiments.iter())?;
        self.next.remove_holdout(id);
        self.note(EffectKind::Deleted, EntityKind::Holdout, id.as_str(), holdout.version());
        Ok(())
    }

    /// A copy of a holdout to work on.
    fn holdout(&self, id: &HoldoutId, if_version: Option<u64>) -> Result<Holdout, Error> {
        let holdout = self.next.holdout(id).ok_or_else(|| not_found("a holdout", id.as_str()))?;
        holdout.record.check_version(if_version)?;
        Ok(holdout.clone())
    }
}

/// The refusal of what a holdout that has ended no longer does.
fn over(rule: &'static str) -> Error {
    Error::new(Code::NotMutable, rule)
}
