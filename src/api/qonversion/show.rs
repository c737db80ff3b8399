//! Experiments and groups as Qonversion shows them.

use serde::Serialize;
use serde_json::Value;

use super::input::status_name;
use crate::api::key_of;
use crate::model::{Allocation, Experiment, Flag, Number, Variation};
use crate::number::{Percentage, Weight};
use crate::snapshot::Snapshot;
use crate::time::Timestamp;

/// The parameter of a flag that says which remote config a group is served.
pub(super) const REMOTE_CONFIG: &str = "remote_config_uid";

/// Facts of Qonversion's alone, as annotations of the experiment; each stands there only while it
/// differs from what the experiment says without it.
pub(super) mod notes {
    /// The context key of an experiment that is not restricted to it.
    pub(in super::super) const CONTEXT_KEY: &str = "qonversion.context_key";
    /// `true` of one that is restricted to a context without having a key.
    pub(in super::super) const CONTEXT_SPECIFIC: &str = "qonversion.is_context_specific";
    /// `100` of one that includes everybody because that was asked for.
    pub(in super::super) const SEGMENT_PERCENT: &str = "qonversion.segment_percent";
}

#[derive(Serialize)]
pub(super) struct ShownExperiment<'s> {
    object: &'static str,
    id: &'s str,
    url: String,
    name: &'s str,
    alias_id: &'s str,
    description: &'s str,
    status: &'static str,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    segment_percent: Option<Percentage>,
    primary_metric: Option<&'s str>,
    goal_value: Option<&'s Number>,
    goal_direction: Option<&'s str>,
    context_key: &'s str,
    is_context_specific: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Serialize)]
pub(super) struct ShownGroup<'s> {
    object: &'static str,
    pub(super) id: &'s str,
    pub(super) url: String,
    name: Option<&'s str>,
    is_control: bool,
    weight: Weight,
    remote_config_uid: Option<&'s str>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl<'s> ShownExperiment<'s> {
    pub(super) fn of(experiment: &'s Experiment) -> Self {
        let run = experiment.iteration();
        let goal = experiment.analysis().goal.as_ref();
        let (context_key, is_context_specific) = context_of(experiment);
        Self {
            object: "experiment",
            id: experiment.id().as_str(),
            url: path_of(experiment),
            name: experiment.name().as_str(),
            alias_id: key_of(experiment),
            description: experiment.description().map_or("", |text| text.as_str()),
            status: status_name(experiment.status()),
            started_at: run.started_at(),
            finished_at: run.ended_at(),
            segment_percent: percent_of(experiment),
            primary_metric: goal.and_then(|own| own.metric.as_ref()).map(|text| text.as_str()),
            goal_value: goal.and_then(|own| own.value.as_ref()),
            goal_direction: goal.and_then(|own| own.direction.as_ref()).map(|text| text.as_str()),
            context_key,
            is_context_specific,
            created_at: experiment.created_at(),
            updated_at: experiment.updated_at(),
        }
    }
}

impl<'s> ShownGroup<'s> {
    /// Nothing if the group's variation is gone, as that of an archived experiment can be.
    pub(super) fn of(
        snapshot: &'s Snapshot,
        experiment: &'s Experiment,
        arm: &'s Allocation,
    ) -> Option<Self> {
        let flag = snapshot.flag(experiment.flag_id())?;
        let variation = flag.variations().get(&arm.variation_id)?;
        Some(Self {
            object: "experiment_group",
            id: arm.variation_id.as_str(),
            url: group_path(experiment, arm),
            name: arm.name.as_ref().map(|name| name.as_str()),
            is_control: arm.is_control,
            weight: arm.weight.unwrap_or(Weight::ZERO),
            remote_config_uid: uid_of(variation),
            created_at: variation.created_at(),
            updated_at: variation.updated_at().max(experiment.updated_at()),
        })
    }
}

/// Where an experiment is.
pub(super) fn path_of(experiment: &Experiment) -> String {
    format!("/v4/experiments/{}", experiment.id())
}

/// Where a group is.
pub(super) fn group_path(experiment: &Experiment, arm: &Allocation) -> String {
    format!("{}/groups/{}", path_of(experiment), arm.variation_id)
}

/// The context key, and whether the experiment is restricted to it.
pub(super) fn context_of(experiment: &Experiment) -> (&str, bool) {
    let note = |key| experiment.annotations().get(key).map(|text| text.as_str());
    match experiment.chain().map_or("", |chain| chain.as_str()) {
        "" => (
            note(notes::CONTEXT_KEY).unwrap_or_default(),
            note(notes::CONTEXT_SPECIFIC) == Some("true"),
        ),
        key => (key, true),
    }
}

/// The share that is included, if it has been limited or said to be all.
pub(super) fn percent_of(experiment: &Experiment) -> Option<Percentage> {
    let traffic = experiment.traffic();
    let said = experiment.annotations().contains_key(notes::SEGMENT_PERCENT);
    (traffic < Percentage::MAX || said).then_some(traffic)
}

/// The remote config of a group, if it has one.
pub(super) fn uid_of(variation: &Variation) -> Option<&str> {
    let uid = variation.config().get(REMOTE_CONFIG).and_then(Value::as_str);
    uid.filter(|uid| !uid.is_empty())
}

/// Whether the groups of experiments on a flag can have a remote config each.
pub(super) fn takes_uid(flag: &Flag) -> bool {
    flag.parameters().get(REMOTE_CONFIG).is_some_and(|own| own.value().is_string())
}
