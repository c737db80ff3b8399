//! Experiments and their iterations as LaunchDarkly shows them.

mod expand;
mod holdout;
mod metrics;

use std::collections::BTreeMap;

use serde::Serialize;

use super::Experimentation;
use super::analysis::hyphened;
use super::design::share_of;
use super::fields::{Operation, mutable_fields};
use super::list::Links;
use crate::api::key_of;
use crate::id::{SegmentId, VariationId};
use crate::model::{
    Allocation, Analysis, Draft, Experiment, Flag, Iteration, PastIteration, Status, SubjectKind,
    Text,
};
use crate::number::Percentage;
use crate::snapshot::Snapshot;
use crate::time::Timestamp;
use metrics::{ShownDependent, ShownFunnel, ShownMetric};

pub(super) use expand::{Expand, Part};
pub(super) use holdout::HoldoutExpand;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShownExperiment<'s> {
    #[serde(rename = "_id")]
    id: &'s str,
    key: &'s str,
    name: &'s str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'s str>,
    #[serde(rename = "_maintainerId")]
    maintainer_id: &'s str,
    #[serde(rename = "_creationDate")]
    creation_date: i64,
    environment_key: &'s str,
    #[serde(skip_serializing_if = "Option::is_none")]
    methodology: Option<&'s str>,
    data_source: &'s str,
    #[serde(skip_serializing_if = "Option::is_none")]
    archived_date: Option<i64>,
    tags: Vec<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    holdout_id: Option<&'s str>,
    #[serde(rename = "_links")]
    links: Links,
    r#type: &'s str,
    current_iteration: ShownIteration<'s>,
    #[serde(skip_serializing_if = "Option::is_none")]
    draft_iteration: Option<ShownIteration<'s>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_iterations: Option<Vec<ShownIteration<'s>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    analysis_config: Option<ShownConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mutable_fields_by_status:
        Option<BTreeMap<&'static str, BTreeMap<&'static str, &'static [Operation]>>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    bayesian_threshold: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    significance_threshold: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    test_direction: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multiple_comparison_correction_method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multiple_comparison_correction_scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequential_testing_enabled: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShownIteration<'s> {
    hypothesis: &'s str,
    status: &'static str,
    created_at: i64,
    #[serde(rename = "_id")]
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    winning_treatment_id: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    winning_reason: Option<&'s str>,
    can_reshuffle_traffic: bool,
    flags: BTreeMap<&'s str, ShownFlagUse<'s>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reallocation_frequency_millis: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_metric: Option<ShownDependent<'s>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_single_metric: Option<ShownMetric<'s>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_funnel: Option<ShownFunnel<'s>>,
    randomization_unit: &'s str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    treatments: Option<Vec<ShownTreatment<'s>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secondary_metrics: Option<Vec<ShownMetric<'s>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<Vec<ShownDependent<'s>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    layer_snapshot: Option<ShownReservation<'s>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    covariate_info: Option<ShownCovariate<'s>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownFlagUse<'s> {
    targeting_rule: &'s str,
    #[serde(skip_serializing_if = "Option::is_none")]
    targeting_rule_description: Option<&'s str>,
    flag_config_version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_in_experiment_variation_id: Option<&'s str>,
    #[serde(rename = "_links")]
    links: Links,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownTreatment<'s> {
    #[serde(rename = "_id")]
    id: &'s str,
    name: &'s str,
    allocation_percent: String,
    baseline: bool,
    parameters: Vec<ShownParameter<'s>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownParameter<'s> {
    flag_key: &'s str,
    variation_id: &'s str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownReservation<'s> {
    key: &'s str,
    name: &'s str,
    reservation_percent: u64,
    other_reservation_percent: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownCovariate<'s> {
    id: &'s str,
    file_name: &'s str,
    created_at: i64,
}

/// An iteration, be it to come, present or past.
pub(super) struct Run<'s> {
    /// The id of the experiment.
    id: &'s str,
    number: u32,
    status: &'static str,
    created_at: Timestamp,
    record: Option<&'s Iteration>,
    flag: Option<&'s Flag>,
    subject_kind: &'s SubjectKind,
    allocations: &'s [Allocation],
    traffic: Percentage,
    audience_id: Option<&'s SegmentId>,
    outside_variation_id: Option<&'s VariationId>,
    can_reshuffle: bool,
    analysis: &'s Analysis,
}

/// The state of the present iteration, as LaunchDarkly has it.
pub(super) fn state(experiment: &Experiment) -> &'static str {
    match experiment.status() {
        Status::Draft => "not_started",
        Status::Active | Status::Paused => "running",
        Status::Archived if experiment.iteration().started_at().is_none() => "not_started",
        Status::Completed | Status::Archived => "stopped",
    }
}

impl<'s> Run<'s> {
    pub(super) fn present(snapshot: &'s Snapshot, experiment: &'s Experiment) -> Self {
        let iteration = experiment.iteration();
        let design = iteration.design.as_deref();
        Self {
            id: experiment.id().as_str(),
            number: iteration.number(),
            status: state(experiment),
            created_at: iteration.created_at(),
            record: Some(iteration),
            flag: iteration.flag().or_else(|| snapshot.flag(experiment.flag_id())),
            subject_kind: experiment.subject_kind(),
            allocations: iteration.allocations().unwrap_or_else(|| experiment.allocations()),
            traffic: experiment.traffic(),
            audience_id: match design {
                Some(design) => design.audience_id.as_ref(),
                None => experiment.audience_id(),
            },
            outside_variation_id: match design {
                Some(design) => design.outside_variation_id.as_ref(),
                None => experiment.outside_variation_id(),
            },
            can_reshuffle: experiment.can_reshuffle(),
            analysis: experiment.analysis(),
        }
    }

    /// The iteration that is to start next: the draft beside, or the present one.
    pub(super) fn next(snapshot: &'s Snapshot, experiment: &'s Experiment) -> Self {
        match experiment.draft() {
            Some(draft) => Self::to_come(snapshot, experiment, draft),
            None => Self::present(snapshot, experiment),
        }
    }

    fn to_come(snapshot: &'s Snapshot, experiment: &'s Experiment, draft: &'s Draft) -> Self {
        Self {
            number: experiment.iteration().number() + 1,
            status: "not_started",
            created_at: draft.created_at(),
            record: None,
            flag: snapshot.flag(experiment.flag_id()),
            subject_kind: draft.subject_kind(),
            allocations: draft.allocations(),
            traffic: draft.traffic(),
            audience_id: draft.audience_id(),
            outside_variation_id: draft.outside_variation_id(),
            can_reshuffle: draft.can_reshuffle(),
            analysis: draft.analysis(),
            id: experiment.id().as_str(),
        }
    }

    fn past(experiment: &'s Experiment, past: &'s PastIteration) -> Self {
        let iteration = past.iteration();
        let design = iteration.design.as_deref();
        Self {
            id: experiment.id().as_str(),
            number: iteration.number(),
            status: "stopped",
            created_at: iteration.created_at(),
            record: Some(iteration),
            flag: iteration.flag(),
            subject_kind: past.subject_kind(),
            allocations: iteration.allocations().unwrap_or_default(),
            traffic: past.traffic(),
            audience_id: design.and_then(|design| design.audience_id.as_ref()),
            outside_variation_id: design.and_then(|design| design.outside_variation_id.as_ref()),
            can_reshuffle: past.can_reshuffle(),
            analysis: past.analysis(),
        }
    }
}

impl Experimentation {
    pub(super) fn shown_experiment<'s>(
        &'s self,
        snapshot: &'s Snapshot,
        experiment: &'s Experiment,
        expand: Expand,
    ) -> ShownExperiment<'s> {
        let present = Run::present(snapshot, experiment);
        // Once an iteration is stopped, it is the next one whose reading changes.
        let stopped = experiment.status() == Status::Completed;
        let analysis = match experiment.draft().filter(|_| stopped) {
            Some(draft) => draft.analysis(),
            None => experiment.analysis(),
        };
        let draft = match experiment.status() {
            Status::Draft => Some(Run::present(snapshot, experiment)),
            _ => experiment.draft().map(|draft| Run::to_come(snapshot, experiment, draft)),
        };
        let show = |run: Run<'s>| self.shown_iteration(snapshot, &run, expand);
        let path = self.in_environment("");
        let own = format!("{path}/experiments/{}", key_of(experiment));
        let archived = (experiment.status() == Status::Archived).then(|| experiment.updated_at());
        ShownExperiment {
            id: experiment.id().as_str(),
            key: key_of(experiment),
            name: experiment.name().as_str(),
            description: experiment.description().map(|text| text.as_str()),
            maintainer_id: experiment.maintainer().map_or(&self.member, |own| own.as_str()),
            creation_date: experiment.created_at().unix_millis(),
            environment_key: &self.environment,
            methodology: analysis.methodology.map(|own| own.as_str()),
            data_source: analysis.data_source.as_ref().map_or("launchdarkly", |own| own.as_str()),
            archived_date: experiment.shelved_at().or(archived).map(Timestamp::unix_millis),
            tags: experiment.tags().iter().map(|tag| tag.as_str()).collect(),
            holdout_id: snapshot.holdouts_of(experiment.id()).next().map(|own| own.id().as_str()),
            links: Links::new().and("parent", path).and("self", own),
            r#type: analysis.kind.as_str(),
            current_iteration: show(present),
            draft_iteration: draft.filter(|_| expand.has(Part::Draft)).map(show),
            previous_iterations: expand.has(Part::Previous).then(|| {
                let past = experiment.previous_iterations().iter().rev();
                past.map(|past| show(Run::past(experiment, past))).collect()
            }),
            analysis_config: expand.has(Part::Config).then(|| shown_config(analysis)),
            mutable_fields_by_status: expand.has(Part::Mutable).then(mutable_fields),
        }
    }

    pub(super) fn shown_iteration<'s>(
        &'s self,
        snapshot: &'s Snapshot,
        run: &Run<'s>,
        expand: Expand,
    ) -> ShownIteration<'s> {
        let (analysis, record) = (run.analysis, run.record);
        let metrics = || analysis.metrics.iter();
        let primary = metrics().find(|used| used.is_primary);
        let metric = |id: &'s _| snapshot.metric(id);
        let winner = record.and_then(Iteration::winner);
        let millis = |at: fn(&Iteration) -> Option<Timestamp>| {
            record.and_then(at).map(Timestamp::unix_millis)
        };
        ShownIteration {
            hypothesis: analysis.hypothesis.as_ref().map(Text::as_str).unwrap_or_default(),
            status: run.status,
            created_at: run.created_at.unix_millis(),
            id: format!("{}.{}", run.id, run.number),
            started_at: millis(Iteration::started_at),
            ended_at: millis(Iteration::ended_at),
            winning_treatment_id: winner.map(|winner| winner.variation_id().as_str()),
            winning_reason: winner.and_then(|winner| winner.reason()),
            can_reshuffle_traffic: run.can_reshuffle,
            flags: self.shown_flags(snapshot, run),
            reallocation_frequency_millis: analysis.reallocation_interval,
            primary_metric: primary.and_then(|used| self.shown_dependent(snapshot, used)),
            primary_single_metric: primary.and_then(|used| {
                let single = metric(&used.metric_id).filter(|own| !own.kind().is_group())?;
                Some(self.shown_metric(single, used.unit.as_ref()))
            }),
            primary_funnel: primary.and_then(|used| {
                let funnel = metric(&used.metric_id).filter(|own| own.kind().is_group())?;
                Some(self.shown_funnel(snapshot, funnel))
            }),
            randomization_unit: run.subject_kind.as_str(),
            attributes: analysis.attributes.iter().map(|own| &**own).collect(),
            treatments: expand.has(Part::Treatments).then(|| shown_treatments(run)),
            secondary_metrics: expand.has(Part::Secondary).then(|| {
                let others = metrics().filter(|used| !used.is_primary);
                let singles = others.filter_map(|used| Some((metric(&used.metric_id)?, used)));
                let singles = singles.filter(|(own, _)| !own.kind().is_group());
                singles.map(|(own, used)| self.shown_metric(own, used.unit.as_ref())).collect()
            }),
            metrics: expand.has(Part::Secondary).then(|| {
                metrics().filter_map(|used| self.shown_dependent(snapshot, used)).collect()
            }),
            layer_snapshot: record.and_then(Iteration::layer).map(|own| ShownReservation {
                key: snapshot
                    .layer(own.layer_id())
                    .and_then(|layer| layer.key())
                    .map_or(own.layer_id().as_str(), |key| key.as_str()),
                name: own.name().as_str(),
                reservation_percent: own.share().millionths() / 1_000_000,
                other_reservation_percent: own.others().millionths() / 1_000_000,
            }),
            covariate_info: analysis.covariate_id.as_ref().map(Text::as_str).map(|id| {
                ShownCovariate { id, file_name: id, created_at: run.created_at.unix_millis() }
            }),
        }
    }

    fn shown_flags<'s>(
        &'s self,
        snapshot: &'s Snapshot,
        run: &Run<'s>,
    ) -> BTreeMap<&'s str, ShownFlagUse<'s>> {
        let Some(flag) = run.flag else { return BTreeMap::new() };
        let key = super::flags::key_of(flag);
        let rule = run.audience_id;
        let segment = rule.and_then(|id| snapshot.segment(id));
        let shown = ShownFlagUse {
            targeting_rule: rule.map_or("fallthrough", SegmentId::as_str),
            targeting_rule_description: segment.map(|segment| segment.name().as_str()),
            flag_config_version: flag.version(),
            not_in_experiment_variation_id: run.outside_variation_id.map(VariationId::as_str),
            links: Links::new().and("self", self.flag_path(key)),
        };
        BTreeMap::from([(key, shown)])
    }
}

fn shown_treatments<'s>(run: &Run<'s>) -> Vec<ShownTreatment<'s>> {
    let flag_key = run.flag.map(super::flags::key_of).unwrap_or_default();
    let variations = run.flag.map(Flag::variations);
    let name = |arm: &'s Allocation| match &arm.name {
        Some(name) => name.as_str(),
        None => variations
            .and_then(|variations| variations.get(&arm.variation_id))
            .map_or(arm.variation_id.as_str(), |own| own.name().as_str()),
    };
    let arms = run.allocations.iter().map(|arm| ShownTreatment {
        id: arm.variation_id.as_str(),
        name: name(arm),
        allocation_percent: share_of(arm, run.allocations, run.traffic).to_string(),
        baseline: arm.is_control,
        parameters: vec![ShownParameter { flag_key, variation_id: arm.variation_id.as_str() }],
    });
    arms.collect()
}

fn shown_config(analysis: &Analysis) -> ShownConfig {
    ShownConfig {
        bayesian_threshold: analysis.bayesian_threshold.map(|own| own.to_string()),
        significance_threshold: analysis.significance_threshold.map(|own| own.to_string()),
        test_direction: analysis.test_direction.map(|own| hyphened(own.as_str())),
        multiple_comparison_correction_method: analysis
            .correction
            .and_then(|own| own.method)
            .map(|own| hyphened(own.as_str())),
        multiple_comparison_correction_scope: analysis
            .correction
            .and_then(|own| own.scope)
            .map(|own| hyphened(own.as_str())),
        sequential_testing_enabled: analysis.sequential,
    }
}
