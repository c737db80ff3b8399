//! The operations on feature flags.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::Serialize;

use super::ExperimentCenter;
use super::answer::{Answer, Refusal};
use super::list::Query;
use super::show::ShownFlag;
use super::texts::{check_new, check_texts};
use crate::api::call::Call;
use crate::change::{Change, FlagPatch, NewFlag, Patch, Transaction};
use crate::error::{Code, Error};
use crate::id::FlagId;
use crate::model::{Flag, FlagStatus, Parameter};
use crate::snapshot::Snapshot;

#[derive(Serialize)]
struct Page<'s> {
    feature_flags: Vec<ShownFlag<'s>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl ExperimentCenter {
    pub(super) fn list_flags(&self, call: Call<'_>) -> Result<Answer, Refusal> {
        let query = Query::read(call.query, &["from", "take", "type", "status"])?;
        let own = query.asks_for_own()?;
        let status = query.one_of("status", FlagStatus::ALL, FlagStatus::as_str)?;
        let snapshot = self.engine.snapshot();
        let matching = snapshot.flags().filter(|flag| {
            own && status.map_or(flag.status() != FlagStatus::Archived, |s| flag.status() == s)
        });
        let (page, next) = query.page(matching, |flag| (flag.created_at(), flag.id()))?;
        let shown = page.into_iter().map(ShownFlag::new).collect();
        Ok(Answer::ok(&Page { feature_flags: shown, next }))
    }

    pub(super) fn create_flag(&self, call: Call<'_>) -> Result<Answer, Refusal> {
        let new = call.read(|cursor| {
            let object = cursor.object(&["name", "description", "parameters"])?;
            Ok(NewFlag {
                description: object.optional("description")?,
                parameters: object.read("parameters")?,
                ..NewFlag::new(object.read::<String>("name")?)
            })
        })?;
        check_new(&new.name, new.description.as_deref())?;
        let commit = self.engine.commit(new).map_err(Refusal::from)?;
        let id = commit.flag().map_or("", FlagId::as_str);
        Ok(Answer::created(&ShownFlag::new(flag(&commit.snapshot, id)?)))
    }

    pub(super) fn get_flag(&self, id: &str) -> Result<Answer, Refusal> {
        Ok(Answer::ok(&ShownFlag::new(flag(&self.engine.snapshot(), id)?)))
    }

    pub(super) fn patch_flag(&self, id: &str, call: Call<'_>) -> Result<Answer, Refusal> {
        let keys = ["name", "description", "parameters", "status"];
        let (patch, status) = call.read_patch(&keys, |object| {
            let patch = FlagPatch {
                name: object.set("name")?,
                description: Patch::read(object, "description")?,
                parameters: object.set::<BTreeMap<String, Parameter>>("parameters")?,
                ..FlagPatch::new()
            };
            Ok((patch, object.set("status")?))
        })?;
        self.update_flag(id, patch, status)
    }

    pub(super) fn set_flag_status(&self, id: &str, call: Call<'_>) -> Result<Answer, Refusal> {
        let status = call.read(|cursor| cursor.object(&["status"])?.read("status"))?;
        self.update_flag(id, FlagPatch::new(), Some(status))
    }

    fn update_flag(
        &self,
        id: &str,
        patch: FlagPatch,
        status: Option<FlagStatus>,
    ) -> Result<Answer, Refusal> {
        let commit = self.engine.commit_with(|snapshot| {
            let flag = flag(snapshot, id)?;
            let id = flag.id();
            check_texts(
                flag.name(),
                patch.name.as_deref(),
                flag.description(),
                &patch.description,
            )?;
            let transition = status.map(|status| Change::set_flag_status(id, status));
            let changes = [Change::patch_flag(id, patch)].into_iter().chain(transition);
            Ok::<_, Refusal>(changes.collect::<Transaction>())
        })?;
        Ok(Answer::ok(&ShownFlag::new(flag(&commit.snapshot, id)?)))
    }

    pub(super) fn delete_flag(&self, id: &str) -> Result<Answer, Refusal> {
        self.engine.commit_with(|snapshot| {
            let found = snapshot.flag(id).into_iter();
            let gone = found.map(|flag| Change::delete_flag(flag.id()));
            Ok::<_, Error>(gone.collect::<Transaction>())
        })?;
        Ok(Answer::deleted())
    }
}

/// Refuses to add or remove variations once the flag has been put away.
pub(super) fn check_not_archived(flag: &Flag, status: StatusCode) -> Result<(), Refusal> {
    if flag.status() == FlagStatus::Archived {
        let message = "the variations of an archived feature flag stay as they are";
        return Err(Refusal::new(status, Code::NotMutable.as_str(), message));
    }
    Ok(())
}

pub(super) fn flag<'s>(snapshot: &'s Snapshot, id: &str) -> Result<&'s Flag, Refusal> {
    snapshot.flag(id).ok_or_else(|| Refusal::not_found("feature flag", id))
}
