//! The operations on groups.

use std::collections::BTreeSet;

use super::Experiments;
use super::answer::{Refusal, Reply};
use super::experiments::find;
use super::input::{GroupEdit, GroupInput, status_name};
use super::list::{Query, page};
use super::show::{REMOTE_CONFIG, ShownGroup, path_of, takes_uid, uid_of};
use crate::api::call::Call;
use crate::change::{Change, ExperimentPatch, NewVariation, Patch, Transaction, VariationPatch};
use crate::id::VariationId;
use crate::model::{Allocation, Experiment, Status, Strategy};
use crate::snapshot::Snapshot;

impl Experiments {
    /// Lists the groups of an experiment in the order in which they were created.
    pub(super) fn list_groups(&self, id: &str, query: &Query) -> Result<Reply, Refusal> {
        let snapshot = self.engine().snapshot();
        let experiment = find(&snapshot, id)?;
        let shown = experiment.allocations().iter();
        let shown = shown.filter_map(|arm| ShownGroup::of(&snapshot, experiment, arm));
        let mut shown: Vec<ShownGroup<'_>> = shown.collect();
        // By segment, a variation can be served to several.
        let mut seen = BTreeSet::new();
        shown.retain(|group| seen.insert(group.id));
        let path = format!("{}/groups", path_of(experiment));
        page(query, &shown, &path, |own| own.id, |own| own)
    }

    pub(super) fn create_group(&self, id: &str, call: Call<'_>) -> Result<Reply, Refusal> {
        let input = GroupInput::read(call)?;
        let group = VariationId::random()?;
        let commit = self.engine().commit_with(|snapshot| {
            let experiment = find(snapshot, id)?;
            check_halted(experiment)?;
            if input.is_control {
                check_only_control(experiment, &group)?;
            }
            let mut variation = NewVariation::new(group.as_str()).id(group.clone());
            if let Some(uid) = &input.remote_config_uid {
                check_takes_uid(snapshot, experiment)?;
                variation = variation.with(REMOTE_CONFIG, uid.as_str());
            }
            let arm = Allocation {
                is_control: input.is_control,
                name: input.name.clone(),
                ..Allocation::share(group.clone(), input.weight)
            };
            let mut arms = experiment.allocations().to_vec();
            arms.push(arm);
            Ok::<_, Refusal>(Transaction::from([
                Change::create_variation(experiment.flag_id(), variation),
                Change::patch_experiment(experiment.id(), ExperimentPatch::new().allocations(arms)),
            ]))
        })?;
        let shown = shown(&commit.snapshot, id, group.as_str())?;
        let location = shown.url.clone();
        Ok(Reply::created(&shown, location))
    }

    pub(super) fn patch_group(
        &self,
        id: &str,
        group: &str,
        call: Call<'_>,
    ) -> Result<Reply, Refusal> {
        let edit = GroupEdit::read(call)?;
        let commit = self.engine().commit_with(|snapshot| {
            let experiment = find(snapshot, id)?;
            let present = find_group(experiment, group)?;
            if edit.is_control == Some(true) {
                check_only_control(experiment, &present.variation_id)?;
            }
            let mut arms = experiment.allocations().to_vec();
            for arm in arms.iter_mut().filter(|arm| arm.variation_id == present.variation_id) {
                edit.apply(arm);
            }
            let mut changes = Vec::new();
            if arms != experiment.allocations() {
                let patch = ExperimentPatch::new().allocations(arms);
                changes.push(Change::patch_experiment(experiment.id(), patch));
            }
            changes.extend(edit.served(snapshot, experiment, &present.variation_id)?);
            if !changes.is_empty() {
                check_halted(experiment)?;
            }
            Ok::<_, Refusal>(Transaction::from(changes))
        })?;
        Ok(Reply::ok(&shown(&commit.snapshot, id, group)?))
    }

    pub(super) fn delete_group(&self, id: &str, group: &str) -> Result<Reply, Refusal> {
        self.engine().commit_with(|snapshot| {
            let experiment = find(snapshot, id)?;
            let id = &find_group(experiment, group)?.variation_id;
            check_halted(experiment)?;
            let arms = experiment.allocations().iter().filter(|arm| arm.variation_id != *id);
            let patch = ExperimentPatch::new().allocations(arms.cloned().collect::<Vec<_>>());
            let mut changes = vec![Change::patch_experiment(experiment.id(), patch)];
            // One that others use stays for them.
            if snapshot.used_by(id).all(|user| user == experiment.id()) {
                changes.push(Change::delete_variation(id));
            }
            Ok::<_, Refusal>(Transaction::from(changes))
        })?;
        Ok(Reply::deleted())
    }
}

impl GroupEdit {
    /// Edits an arm.
    fn apply(&self, arm: &mut Allocation) {
        arm.weight = self.weight.or(arm.weight);
        arm.is_control = self.is_control.unwrap_or(arm.is_control);
        match &self.name {
            Patch::Keep => {}
            Patch::Clear => arm.name = None,
            Patch::Set(name) => arm.name = Some(name.clone()),
        }
    }

    /// The change of what a group is served, if there is one.
    fn served(
        &self,
        snapshot: &Snapshot,
        experiment: &Experiment,
        id: &VariationId,
    ) -> Result<Option<Change>, Refusal> {
        let Some(variation) = snapshot.variation(id) else { return Ok(None) };
        let uid = match &self.remote_config_uid {
            Patch::Keep => return Ok(None),
            Patch::Clear => None,
            Patch::Set(uid) => Some(uid.as_str()),
        };
        if uid == uid_of(variation) {
            return Ok(None);
        }
        check_takes_uid(snapshot, experiment)?;
        let others = variation.overrides().iter().filter(|(name, _)| ***name != *REMOTE_CONFIG);
        let others = others.map(|(name, value)| (name.to_string(), (**value).clone()));
        let own = uid.map(|uid| (REMOTE_CONFIG.to_owned(), uid.into()));
        let overrides = others.chain(own).collect();
        let patch = VariationPatch::new().overrides(overrides);
        Ok(Some(Change::patch_variation(id, patch)))
    }
}

/// The arm of this group.
pub(super) fn find_group<'e>(
    experiment: &'e Experiment,
    group: &str,
) -> Result<&'e Allocation, Refusal> {
    let mut arms = experiment.allocations().iter();
    let found = arms.find(|arm| arm.variation_id == *group);
    found.ok_or_else(|| Refusal::not_found("experiment group", group))
}

fn shown<'s>(snapshot: &'s Snapshot, id: &str, group: &str) -> Result<ShownGroup<'s>, Refusal> {
    let experiment = find(snapshot, id)?;
    let arm = find_group(experiment, group)?;
    ShownGroup::of(snapshot, experiment, arm)
        .ok_or_else(|| Refusal::not_found("experiment group", group))
}

/// Checks that the groups of an experiment can be others.
fn check_halted(experiment: &Experiment) -> Result<(), Refusal> {
    if experiment.strategy() != Strategy::Percentage {
        let message = "the experiment assigns by segment, and its groups do not change here";
        return Err(Refusal::conflict(message));
    }
    match experiment.status() {
        Status::Draft | Status::Paused => Ok(()),
        status => {
            let status = status_name(status);
            let message =
                format!("groups change only while the experiment is draft or paused, not {status}");
            Err(Refusal::conflict(message))
        }
    }
}

/// Checks that no other group is the control.
fn check_only_control(experiment: &Experiment, group: &VariationId) -> Result<(), Refusal> {
    let mut arms = experiment.allocations().iter();
    match arms.find(|arm| arm.is_control && arm.variation_id != *group) {
        None => Ok(()),
        Some(control) => {
            let message = format!("group {} is the control already", control.variation_id);
            Err(Refusal::conflict("").of("is_control", message))
        }
    }
}

/// Checks that the groups can have a remote config each.
fn check_takes_uid(snapshot: &Snapshot, experiment: &Experiment) -> Result<(), Refusal> {
    match snapshot.flag(experiment.flag_id()).is_some_and(takes_uid) {
        true => Ok(()),
        false => {
            let message = format!(
                "must be null: the experiment's flag has no parameter {REMOTE_CONFIG} of the type \
                 string"
            );
            Err(Refusal::conflict("").of(REMOTE_CONFIG, message))
        }
    }
}
