//! Flags and their variations.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::super::lifecycle::not_allowed;
use super::super::{EffectKind, EntityKind, FlagPatch, NewFlag, NewVariation, VariationPatch};
use super::{Edit, Work, archived, given, not_found, patched, settled, text};
use crate::error::{Code, Error};
use crate::id::{FlagId, VariationId};
use crate::map::Map;
use crate::model::{
    Flag, FlagStatus, Parameter, Record, Variation, check_id_free, check_name_free,
    check_overrides, check_parameters, check_variation_count,
};

impl Work<'_> {
    pub(super) fn create_flag(&mut self, mut new: NewFlag) -> Result<NewFlag, Error> {
        let id = match new.id.take() {
            Some(id) => id,
            None => FlagId::generate(self.entropy)?,
        };
        check_id_free(self.next.flag(&id).is_some(), id.as_str())?;
        self.check_no_run_rests_on(id.as_str())?;
        let mut flag = Flag {
            name: text("name", &new.name)?,
            description: given("description", new.description.as_ref())?,
            status: FlagStatus::Draft,
            parameters: parameters(&new.parameters)?,
            variations: Map::default(),
            record: Record::new(self.now),
            defaults: Arc::default(),
            key: given("key", new.key.as_ref())?,
            on: new.on.unwrap_or(true),
            off_variation_id: new.off_variation_id.clone(),
            id,
        };
        self.next.check_flag_free(&flag)?;
        check_variation_count(new.variations.len()).map_err(|error| error.at("variations"))?;
        for (index, variation) in new.variations.iter_mut().enumerate() {
            let made = self
                .new_variation(&flag, variation)
                .map_err(|error| error.at_index(index).at("variations"))?;
            flag.variations.insert(made.id.clone(), made);
        }
        flag.check_off_variation()?;
        flag.merge();
        new.id = Some(flag.id.clone());
        self.note(EffectKind::Created, EntityKind::Flag, flag.id.as_str(), 1);
        self.next.put_flag(flag);
        Ok(new)
    }

    pub(super) fn patch_flag(
        &mut self,
        id: &FlagId,
        if_version: Option<u64>,
        patch: &FlagPatch,
    ) -> Result<(), Error> {
        let mut flag = self.flag(id, if_version)?;
        let fields = self.edit_flag(&mut flag, patch).map_err(|error| error.at("patch"))?;
        let Some(fields) = fields else { return Ok(()) };
        self.put_flag(flag, |work, version| {
            work.note_edit(EntityKind::Flag, id.as_str(), version, fields);
        })
    }

    fn edit_flag(&self, flag: &mut Flag, patch: &FlagPatch) -> Result<Option<Vec<String>>, Error> {
        let mut edit = editing(flag);
        edit.set("name", &mut flag.name, given("name", patch.name.as_ref())?)?;
        let description = patched("description", &patch.description)?;
        edit.set("description", &mut flag.description, description)?;
        let parameters = patch.parameters.as_ref().map(parameters).transpose()?;
        edit.set("parameters", &mut flag.parameters, parameters)?;
        edit.set("on", &mut flag.on, patch.on)?;
        edit.set("off_variation_id", &mut flag.off_variation_id, settled(&patch.off_variation_id))?;
        flag.check_off_variation()?;
        self.next.check_flag_free(flag)?;
        for variation in flag.variations.values() {
            check_overrides(&flag.parameters, &variation.overrides).map_err(|error| {
                let rule = format!("must fit the overrides of variation {}: {error}", variation.id);
                Error::invalid(rule).at("parameters")
            })?;
        }
        Ok(edit.into_fields())
    }

    pub(super) fn set_flag_status(
        &mut self,
        id: &FlagId,
        if_version: Option<u64>,
        to: FlagStatus,
    ) -> Result<(), Error> {
        let mut flag = self.flag(id, if_version)?;
        let from = flag.status;
        if !from.can_become(to) {
            let allowed: Vec<_> = from.leads_to().iter().map(ToString::to_string).collect();
            return Err(not_allowed("a flag", from.as_str(), to.as_str(), &allowed));
        }
        if to == FlagStatus::Active && flag.variations.len() < 2 {
            let rule = "must have at least 2 variations before the flag is activated";
            let error = Error::new(Code::NotReady, rule).with_value(&flag.variations.len());
            return Err(error.at("variations"));
        }
        flag.status = to;
        self.put_flag(flag, |work, version| {
            let states = (from.as_str(), to.as_str());
            work.note_transition(EntityKind::Flag, id.as_str(), version, states, false);
        })
    }

    pub(super) fn delete_flag(
        &mut self,
        id: &FlagId,
        if_version: Option<u64>,
    ) -> Result<(), Error> {
        let flag = self.flag(id, if_version)?;
        self.check_unused(id.as_str())?;
        self.next.remove_flag(id);
        self.note(EffectKind::Deleted, EntityKind::Flag, id.as_str(), flag.version());
        Ok(())
    }

    pub(super) fn create_variation(
        &mut self,
        flag_id: &FlagId,
        mut new: NewVariation,
    ) -> Result<NewVariation, Error> {
        let Some(flag) = self.next.flag(flag_id) else {
            return Err(Error::new(Code::NotFound, "must be the id of a flag that exists")
                .with_value(flag_id)
                .at("flag_id"));
        };
        let mut flag = flag.clone();
        (editing(&flag).check)("flag_id")?;
        check_variation_count(flag.variations.len() + 1).map_err(|error| error.at("variations"))?;
        let made = self.new_variation(&flag, &mut new).map_err(|error| error.at("variation"))?;
        let id = made.id.clone();
        flag.variations.insert(id.clone(), made);
        flag.merge();
        self.put_flag(flag, |work, _| {
            work.note(EffectKind::Created, EntityKind::Variation, id.as_str(), 1);
        })?;
        Ok(new)
    }

    pub(super) fn patch_variation(
        &mut self,
        id: &VariationId,
        if_version: Option<u64>,
        patch: &VariationPatch,
    ) -> Result<(), Error> {
        let (mut flag, mut variation) = self.variation(id, if_version)?;
        let fields = edit_variation(&flag, &mut variation, patch);
        let Some(fields) = fields.map_err(|error| error.at("patch"))? else { return Ok(()) };
        variation.record.touch(self.now)?;
        let version = variation.version();
        flag.variations.insert(id.clone(), variation);
        self.put_flag(flag, |work, _| {
            work.note_edit(EntityKind::Variation, id.as_str(), version, fields);
        })
    }

    pub(super) fn delete_variation(
        &mut self,
        id: &VariationId,
        if_version: Option<u64>,
    ) -> Result<(), Error> {
        let (mut flag, variation) = self.variation(id, if_version)?;
        (editing(&flag).check)("id")?;
        self.check_unused(id.as_str())?;
        if flag.off_variation_id.as_ref() == Some(id) {
            let rule = format!("must not be used, but is the off variation of {}", flag.id);
            return Err(Error::new(Code::InUse, rule).with_value(id).at("id"));
        }
        flag.variations.remove(id);
        self.put_flag(flag, |work, _| {
            let version = variation.version();
            work.note(EffectKind::Deleted, EntityKind::Variation, id.as_str(), version);
        })
    }

    fn new_variation(&mut self, flag: &Flag, new: &mut NewVariation) -> Result<Variation, Error> {
        let id = match new.id.take() {
            Some(id) => id,
            None => VariationId::generate(self.entropy)?,
        };
        let taken = self.next.variation(&id).is_some() || flag.variations.contains_key(&id);
        check_id_free(taken, id.as_str())?;
        let variation = Variation {
            name: text("name", &new.name)?,
            description: given("description", new.description.as_ref())?,
            overrides: overriding(&new.overrides),
            record: Record::new(self.now),
            config: Arc::clone(&flag.defaults),
            id: id.clone(),
        };
        check_variation_name(flag, &variation)?;
        check_overrides(&flag.parameters, &variation.overrides)
            .map_err(|error| error.at("overrides"))?;
        new.id = Some(id);
        Ok(variation)
    }

    /// A copy of a flag to work on.
    fn flag(&self, id: &FlagId, if_version: Option<u64>) -> Result<Flag, Error> {
        let flag = self.next.flag(id).ok_or_else(|| not_found("a flag", id.as_str()))?;
        flag.record.check_version(if_version)?;
        Ok(flag.clone())
    }

    /// A copy of a variation to work on, and of its flag.
    fn variation(
        &self,
        id: &VariationId,
        if_version: Option<u64>,
    ) -> Result<(Flag, Variation), Error> {
        let flag = self.next.flag_of_variation(id).and_then(|flag| self.next.flag(flag));
        let found = flag.and_then(|flag| Some((flag, flag.variations.get(id)?)));
        let (flag, variation) = found.ok_or_else(|| not_found("a variation", id.as_str()))?;
        variation.record.check_version(if_version)?;
        Ok((flag.clone(), variation.clone()))
    }

    /// Puts an edited flag back, with its next version, and notes the effect.
    fn put_flag(&mut self, mut flag: Flag, note: impl FnOnce(&mut Self, u64)) -> Result<(), Error> {
        flag.record.touch(self.now)?;
        flag.merge();
        let version = flag.version();
        self.next.put_flag(flag);
        note(self, version);
        Ok(())
    }
}

fn edit_variation(
    flag: &Flag,
    variation: &mut Variation,
    patch: &VariationPatch,
) -> Result<Option<Vec<String>>, Error> {
    let mut edit = editing(flag);
    edit.set("name", &mut variation.name, given("name", patch.name.as_ref())?)?;
    let description = patched("description", &patch.description)?;
    edit.set("description", &mut variation.description, description)?;
    let overrides = patch.overrides.as_ref().map(overriding);
    if let Some(overrides) = &overrides {
        check_overrides(&flag.parameters, overrides).map_err(|error| error.at("overrides"))?;
    }
    edit.set("overrides", &mut variation.overrides, overrides)?;
    check_variation_name(flag, variation)?;
    Ok(edit.into_fields())
}

/// The edits of a flag, of which an archived one takes none.
fn editing(flag: &Flag) -> Edit<impl Fn(&'static str) -> Result<(), Error> + use<>> {
    let status = flag.status;
    Edit::new(move |field| match status {
        FlagStatus::Archived => Err(archived("flag", field)),
        FlagStatus::Draft | FlagStatus::Active => Ok(()),
    })
}

fn parameters(given: &BTreeMap<String, Parameter>) -> Result<Map<Arc<str>, Parameter>, Error> {
    let own = given.iter().map(|(name, own)| (name.as_str().into(), own.clone()));
    let parameters = Map::of(own);
    check_parameters(&parameters).map_err(|error| error.at("parameters"))?;
    Ok(parameters)
}

fn overriding(given: &BTreeMap<String, Value>) -> Map<Arc<str>, Arc<Value>> {
    Map::of(given.iter().map(|(name, value)| (name.as_str().into(), Arc::new(value.clone()))))
}

fn check_variation_name(flag: &Flag, variation: &Variation) -> Result<(), Error> {
    let mut others = flag.variations.values().filter(|other| other.id != variation.id);
    let taken = others.find(|other| other.name == variation.name);
    check_name_free(taken.map(|other| other.id.as_str()), "", variation.name.as_str())
}
