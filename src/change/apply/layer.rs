//! Layers.

use std::collections::BTreeMap;

use super::super::{EffectKind, EntityKind, LayerPatch, NewLayer};
use super::{Edit, Work, given, not_found, patched, text};
use crate::error::{Code, Error};
use crate::id::{ExperimentId, LayerId};
use crate::model::{Layer, Record, Salt, Slots, Status, check_id_free};

impl Work<'_> {
    pub(super) fn create_layer(&mut self, mut new: NewLayer) -> Result<NewLayer, Error> {
        let id = match new.id.take() {
            Some(id) => id,
            None => LayerId::generate(self.entropy)?,
        };
        check_id_free(self.next.layer(&id).is_some(), id.as_str())?;
        let salt = new.salt.take().unwrap_or_else(|| Salt::from(&id));
        let layer = Layer {
            name: text("name", &new.name)?,
            description: given("description", new.description.as_ref())?,
            salt: salt.clone(),
            subject_kind: self.subject_kind(new.subject_kind.as_ref())?,
            slots: Slots::new(new.members.clone()).map_err(|error| error.at("members"))?,
            record: Record::new(self.now),
            key: given("key", new.key.as_ref())?,
            id: id.clone(),
        };
        self.next.check_layer_free(&layer)?;
        self.next.check_members(&layer)?;
        self.check_halted(layer.members().keys(), "joins").map_err(|error| error.at("members"))?;
        self.note(EffectKind::Created, EntityKind::Layer, id.as_str(), 1);
        self.next.put_layer(layer);
        new.id = Some(id);
        new.salt = Some(salt);
        Ok(new)
    }

    pub(super) fn patch_layer(
        &mut self,
        id: &LayerId,
        if_version: Option<u64>,
        patch: &LayerPatch,
    ) -> Result<(), Error> {
        let mut layer = self.layer(id, if_version)?;
        let fields = self.edit_layer(&mut layer, patch).map_err(|error| error.at("patch"))?;
        let Some(fields) = fields else { return Ok(()) };
        layer.record.touch(self.now)?;
        self.note_edit(EntityKind::Layer, id.as_str(), layer.version(), fields);
        self.next.put_layer(layer);
        Ok(())
    }

    fn edit_layer(
        &self,
        layer: &mut Layer,
        patch: &LayerPatch,
    ) -> Result<Option<Vec<String>>, Error> {
        let mut edit = Edit::new(|_| Ok(()));
        edit.set("name", &mut layer.name, given("name", patch.name.as_ref())?)?;
        let description = patched("description", &patch.description)?;
        edit.set("description", &mut layer.description, description)?;
        let none = BTreeMap::new();
        let shares = patch.members.as_ref().unwrap_or(&none);
        let leave = patch.leave.iter().flatten();
        check_apart(leave.clone(), |id| shares.contains_key(id), "members")?;
        let join = shares.keys().filter(|id| !layer.members().contains_key(*id));
        self.check_halted(join, "joins").map_err(|error| error.at("members"))?;
        let mut members = layer.members().clone();
        members.extend(shares.iter().map(|(id, share)| (id.clone(), *share)));
        let left = leave.filter(|id| members.remove(*id).is_some());
        self.check_halted(left, "leaves").map_err(|error| error.at("leave"))?;
        let slots = layer.slots.edit(members).map_err(|error| error.at("members"))?;
        edit.set("members", &mut layer.slots, Some(slots))?;
        self.next.check_layer_free(layer)?;
        self.next.check_members(layer)?;
        Ok(edit.into_fields())
    }

    pub(super) fn delete_layer(
        &mut self,
        id: &LayerId,
        if_version: Option<u64>,
    ) -> Result<(), Error> {
        let layer = self.layer(id, if_version)?;
        check_empty(id.as_str(), layer.members().keys())?;
        self.next.remove_layer(id);
        self.note(EffectKind::Deleted, EntityKind::Layer, id.as_str(), layer.version());
        Ok(())
    }

    /// Checks that none of the experiments that join or leave is active: it would gain or lose
    /// subjects for another reason than its own.
    pub(super) fn check_halted<'e>(
        &self,
        mut changing: impl Iterator<Item = &'e ExperimentId>,
        what: &str,
    ) -> Result<(), Error> {
        let active = |id: &&ExperimentId| {
            self.next.experiment(*id).is_some_and(|own| own.status() == Status::Active)
        };
        match changing.find(active) {
            Some(id) => {
                let rule = format!(
                    "must not be active when it {what}; one transaction can pause it, change this \
                     and activate it"
                );
                Err(Error::new(Code::NotMutable, rule).with_value(id))
            }
            None => Ok(()),
        }
    }

    /// A copy of a layer to work on.
    fn layer(&self, id: &LayerId, if_version: Option<u64>) -> Result<Layer, Error> {
        let layer = self.next.layer(id).ok_or_else(|| not_found("a layer", id.as_str()))?;
        layer.record.check_version(if_version)?;
        Ok(layer.clone())
    }
}

/// Checks that nobody who leaves is among those who stay or join.
pub(super) fn check_apart<'e>(
    mut leave: impl Iterator<Item = &'e ExperimentId>,
    stays: impl Fn(&ExperimentId) -> bool,
    other: &str,
) -> Result<(), Error> {
    match leave.find(|id| stays(id)) {
        Some(id) => {
            let rule = format!("must not be in {other} as well");
            Err(Error::invalid(rule).with_value(id).at("leave"))
        }
        None => Ok(()),
    }
}

/// Checks that what is to go has no experiments any more.
pub(super) fn check_empty<'e>(
    id: &str,
    mut experiments: impl Iterator<Item = &'e ExperimentId>,
) -> Result<(), Error> {
    match experiments.next() {
        Some(experiment) => {
            let rule = format!("must have no experiments, but has {experiment}");
            Err(Error::new(Code::InUse, rule).with_value(id).at("id"))
        }
        None => Ok(()),
    }
}
