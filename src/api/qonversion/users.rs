//! Attaching users to groups by hand, and detaching them.

use serde::Serialize;

use super::Experiments;
use super::answer::{Refusal, Reply};
use super::experiments::find;
use super::input::read_attachment;
use super::show::path_of;
use crate::api::call::Call;
use crate::error::Code;
use crate::model::{Experiment, Key, Status};
use crate::snapshot::Snapshot;

/// A user in a group, as it is answered.
#[derive(Serialize)]
struct ShownUser<'s> {
    object: &'static str,
    id: &'s str,
    url: String,
    experiment_id: &'s str,
    group_id: &'s str,
}

impl Experiments {
    /// Checks that no user who is attached to an experiment is so to another of this chain.
    pub(super) fn check_joins(
        &self,
        snapshot: &Snapshot,
        experiment: &Experiment,
        chain: &str,
    ) -> Result<(), Refusal> {
        let joins = self.keeper().check_joins(snapshot, experiment, chain);
        joins.map_err(|error| match error.code() {
            Code::AlreadyAttached => {
                let user = error.value().unwrap_or_default();
                let message = format!("has another experiment that user {user} is attached to");
                Refusal::conflict("").of("context_key", message)
            }
            _ => error.into(),
        })
    }

    pub(super) fn attach_user(
        &self,
        id: &str,
        user: &str,
        call: Call<'_>,
    ) -> Result<Reply, Refusal> {
        check_user(user)?;
        let group = read_attachment(call)?;
        let snapshot = self.engine().snapshot();
        let experiment = find(&snapshot, id)?;
        let arm = experiment.allocations().iter().find(|arm| arm.variation_id == *group);
        let Some(arm) = arm else {
            let message = format!("there is no such group of the experiment; got {group:?}");
            return Err(Refusal::senseless("relation_not_found", "").of("group_id", message));
        };
        let kind = experiment.subject_kind();
        if kind.as_str() != &*self.subject_kind {
            let message = format!("the experiment goes by ids of the kind {kind}, not by users");
            return Err(Refusal::conflict(message));
        }
        if matches!(experiment.status(), Status::Completed | Status::Archived) {
            return Err(Refusal::conflict("the experiment is finished, and takes nobody any more"));
        }
        let attached = self.keeper().attach(experiment.id(), user, &arm.variation_id);
        attached.map_err(|error| match error.code() {
            Code::AlreadyAttached => {
                let message =
                    "is attached to another experiment of this context key; detach it first";
                Refusal::exists("").of("user_id", message)
            }
            _ => error.into(),
        })?;
        let url = format!("{}/users/{user}", path_of(experiment));
        let (experiment_id, group_id) = (experiment.id().as_str(), arm.variation_id.as_str());
        let object = "experiment_user";
        Ok(Reply::ok(&ShownUser { object, id: user, url, experiment_id, group_id }))
    }

    pub(super) fn detach_user(&self, id: &str, user: &str) -> Result<Reply, Refusal> {
        check_user(user)?;
        let snapshot = self.engine().snapshot();
        self.keeper().detach(find(&snapshot, id)?.id(), user)?;
        Ok(Reply::deleted())
    }
}

/// Checks that this can be the id of a user: by the same rule as a key.
fn check_user(user: &str) -> Result<(), Refusal> {
    user.parse::<Key>().map(drop).map_err(|error| Refusal::faults(&[error.at("user_id")]))
}
