//! The operations on the variations of a feature flag.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use super::answer::{Answer, Refusal};
use super::flags::{check_not_archived, flag};
use super::list::Query;
use super::show::ShownVariation;
use super::texts::{check_new, check_texts};
use super::{ExperimentCenter, Generation};
use crate::api::call::Call;
use crate::change::{Change, NewVariation, Patch, Transaction, VariationPatch};
use crate::error::{Code, Error};
use crate::id::VariationId;
use crate::model::{Flag, Parameter, ParameterType, Variation, check_variation_count};

/// Overrides by parameter, as they are written.
type Overrides = BTreeMap<String, Value>;

#[derive(Serialize)]
struct All<'s> {
    variations: Vec<ShownVariation<'s>>,
}

impl ExperimentCenter {
    pub(super) fn list_variations(&self, flag_id: &str, call: Call<'_>) -> Result<Answer, Refusal> {
        Query::read(call.query, &[])?;
        let snapshot = self.engine.snapshot();
        let flag = flag(&snapshot, flag_id)?;
        let mut all: Vec<&Variation> = flag.variations().values().collect();
        all.sort_by_key(|variation| variation.created_at());
        let shown = all.into_iter().map(|variation| self.generation.variation(flag, variation));
        Ok(Answer::ok(&All { variations: shown.collect() }))
    }

    pub(super) fn create_variation(
        &self,
        flag_id: &str,
        call: Call<'_>,
    ) -> Result<Answer, Refusal> {
        let new = call.read(|cursor| {
            let object = cursor.object(&["name", "description", "overrides"])?;
            Ok(NewVariation {
                description: object.optional("description")?,
                overrides: object.read("overrides")?,
                ..NewVariation::new(object.read::<String>("name")?)
            })
        })?;
        let commit = self.engine.commit_with(|snapshot| {
            let flag = flag(snapshot, flag_id)?;
            check_not_archived(flag, StatusCode::BAD_REQUEST)?;
            let mut overrides = BTreeMap::new();
            for (name, value) in new.overrides {
                overrides.insert(name.clone(), unwrap(flag, &name, value)?);
            }
            check_variation_count(flag.variations().len() + 1).map_err(|e| e.at("variations"))?;
            check_new(&new.name, new.description.as_deref())?;
            let new = NewVariation { overrides, ..new };
            Ok::<_, Refusal>(Change::create_variation(flag.id(), new))
        })?;
        let flag = flag(&commit.snapshot, flag_id)?;
        let id = commit.variation().map_or("", VariationId::as_str);
        Ok(Answer::created(&self.generation.variation(flag, variation(flag, id)?)))
    }

    pub(super) fn get_variation(&self, flag_id: &str, id: &str) -> Result<Answer, Refusal> {
        let snapshot = self.engine.snapshot();
        let flag = flag(&snapshot, flag_id)?;
        Ok(Answer::ok(&self.generation.variation(flag, variation(flag, id)?)))
    }

    pub(super) fn patch_variation(
        &self,
        flag_id: &str,
        id: &str,
        call: Call<'_>,
    ) -> Result<Answer, Refusal> {
        let keys = ["name", "description", "overrides"];
        let (patch, overrides) = call.read_patch(&keys, |object| {
            let patch = VariationPatch {
                name: object.set("name")?,
                description: Patch::read(object, "description")?,
                overrides: None,
            };
            Ok((patch, Patch::<Overrides>::read(object, "overrides")?))
        })?;
        let commit = self.engine.commit_with(|snapshot| {
            let flag = flag(snapshot, flag_id)?;
            let variation = variation(flag, id)?;
            let overrides = merge(flag, variation, overrides)?;
            let (name, description) = (variation.name(), variation.description());
            check_texts(name, patch.name.as_deref(), description, &patch.description)?;
            let patch = VariationPatch { overrides, ..patch };
            Ok::<_, Refusal>(Change::patch_variation(variation.id(), patch))
        })?;
        let flag = flag(&commit.snapshot, flag_id)?;
        Ok(Answer::ok(&self.generation.variation(flag, variation(flag, id)?)))
    }

    pub(super) fn delete_variation(&self, flag_id: &str, id: &str) -> Result<Answer, Refusal> {
        self.engine.commit_with(|snapshot| {
            let flag = flag(snapshot, flag_id)?;
            let Some(variation) = flag.variations().get(id) else {
                return Ok(Transaction::default());
            };
            check_not_archived(flag, StatusCode::CONFLICT)?;
            if self.generation == Generation::Seeds && flag.variations().len() == 1 {
                let rule = "the last variation of a feature flag cannot be deleted";
                return Err(Error::new(Code::LimitExceeded, rule).with_value(id).into());
            }
            Ok::<Transaction, Refusal>(Change::delete_variation(variation.id()).into())
        })?;
        Ok(Answer::deleted())
    }
}

fn variation<'s>(flag: &'s Flag, id: &str) -> Result<&'s Variation, Refusal> {
    let found = flag.variations().get(id);
    found.ok_or_else(|| Refusal::not_found("variation of this feature flag", id))
}

/// All overrides of a variation after a patch of some: `null` removes one, and an empty patch all.
fn merge(
    flag: &Flag,
    variation: &Variation,
    patch: Patch<Overrides>,
) -> Result<Option<Overrides>, Error> {
    let patch = match patch {
        Patch::Keep => return Ok(None),
        Patch::Clear => return Ok(Some(Overrides::new())),
        Patch::Set(patch) if patch.is_empty() => return Ok(Some(patch)),
        Patch::Set(patch) => patch,
    };
    let stored = variation.overrides().iter();
    let mut merged: Overrides =
        stored.map(|(name, value)| (name.to_string(), Value::clone(value))).collect();
    for (name, value) in patch {
        if value.is_null() {
            parameter(flag, &name)?;
            merged.remove(&name);
        } else {
            let value = unwrap(flag, &name, value)?;
            merged.insert(name, value);
        }
    }
    Ok(Some(merged))
}

/// The value of an override, out of its envelope if it stands in one: an object with nothing but a
/// `value` of the parameter's type.
fn unwrap(flag: &Flag, name: &str, value: Value) -> Result<Value, Error> {
    let parameter = parameter(flag, name)?;
    let value = match value {
        Value::Object(mut members) if members.len() == 1 => match members.get_mut("value") {
            Some(own) if ParameterType::of(own) == parameter.kind() => own.take(),
            _ => Value::Object(members),
        },
        bare => bare,
    };
    if is_same(&value, parameter.value()) {
        let rule = "must differ from the parameter's own value";
        return Err(Error::invalid(rule).with_value(&value).at_key(name).at("overrides"));
    }
    Ok(value)
}

/// Whether two values mean the same: `1` and `1.0` do.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() != b.is_f64() => {
            a.as_f64() == b.as_f64()
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let in_b = |(key, value)| b.get(key).is_some_and(|other| is_same(value, other));
            a.len() == b.len() && a.iter().all(in_b)
        }
        _ => a == b,
    }
}

fn parameter<'s>(flag: &'s Flag, name: &str) -> Result<&'s Parameter, Error> {
    flag.parameters().get(name).ok_or_else(|| {
        let rule = "must be a parameter of the feature flag";
        Error::new(Code::UnknownReference, rule).at_key(name).at("overrides")
    })
}
