//! The operations on experiments and their iterations.

use super::Experimentation;
use super::analysis::analysis;
use super::answer::{Answer, Refusal};
use super::design::Design;
use super::input::{ExperimentInput, IterationInput};
use super::list::{Page, Query};
use super::show::{Expand, Run, state};
use crate::api::call::Call;
use crate::api::key_of;
use crate::change::{Change, HoldoutPatch, NewExperiment, Transaction};
use crate::id::ExperimentId;
use crate::model::{Analysis, Experiment, Status, Strategy};
use crate::snapshot::Snapshot;

impl Experimentation {
    /// Lists the experiments below this path, be it that of the environment or of the project.
    pub(super) fn list_experiments(&self, query: &Query, path: &str) -> Result<Answer, Refusal> {
        let expand = Expand::read(query)?;
        let filter = Filter::read(query)?;
        let snapshot = self.engine.snapshot();
        let mut matching: Vec<&Experiment> =
            snapshot.experiments().filter(|own| filter.admits(&snapshot, own)).collect();
        matching.sort_unstable_by_key(|own| (own.created_at(), own.id()));
        let (page, total_count, links) = query.page(matching, path)?;
        let shown = page.into_iter().map(|own| self.shown_experiment(&snapshot, own, expand));
        Ok(Answer::ok(&Page { items: shown.collect(), total_count, links }))
    }

    pub(super) fn get_experiment(&self, query: &Query, key: &str) -> Result<Answer, Refusal> {
        let expand = Expand::read(query)?;
        let snapshot = self.engine.snapshot();
        let experiment = find(&snapshot, key)?;
        Ok(Answer::ok(&self.shown_experiment(&snapshot, experiment, expand)))
    }

    pub(super) fn create_experiment(
        &self,
        query: &Query,
        call: Call<'_>,
    ) -> Result<Answer, Refusal> {
        let expand = Expand::read(query)?;
        let input: ExperimentInput = call.read(|cursor| cursor.read())?;
        let id = ExperimentId::random()?;
        let commit = self.engine.commit_with(|snapshot| {
            let analysis = analysis(
                input.kind.as_deref(),
                input.methodology.as_deref(),
                input.data_source.as_deref(),
                &input.config,
            )?;
            let design = Design::resolve(snapshot, &input.iteration, analysis)
                .and_then(|own| check_unit("randomizationUnit", snapshot, &own.unit).map(|()| own))
                .map_err(|refusal| refusal.within("iteration"))?;
            let mut new = NewExperiment::new(
                input.name.clone(),
                design.flag_id.clone(),
                Strategy::Percentage,
            )
            .id(id.clone())
            .key(input.key.clone());
            new.description = input.description.clone().filter(|text| !text.is_empty());
            new.maintainer.clone_from(&input.maintainer);
            new.tags.clone_from(&input.tags);
            new.subject_kind = Some(design.unit.clone());
            new.allocations = design.allocations();
            new.traffic = Some(design.traffic());
            new.audience_id.clone_from(&design.audience_id);
            new.outside_variation_id = design.outside_variation_id().cloned();
            new.can_reshuffle = design.can_reshuffle();
            new.hash = self.hash;
            new.analysis = design.analysis;
            let mut changes = vec![Change::from(new)];
            if let Some(holdout) = &input.holdout_id {
                let found = super::holdouts::find(snapshot, holdout);
                let found = found
                    .ok_or_else(|| Refusal::not_found("holdout", holdout).within("holdoutId"))?;
                let joined = HoldoutPatch::new().experiment(id.clone());
                changes.push(Change::patch_holdout(found.id(), joined));
            }
            Ok::<_, Refusal>(Transaction::from(changes))
        })?;
        let experiment = find(&commit.snapshot, id.as_str())?;
        Ok(Answer::created(&self.shown_experiment(&commit.snapshot, experiment, expand)))
    }

    pub(super) fn create_iteration(&self, key: &str, call: Call<'_>) -> Result<Answer, Refusal> {
        let input: IterationInput = call.read(|cursor| cursor.read())?;
        let commit = self.engine.commit_with(|snapshot| {
            let experiment = find(snapshot, key)?;
            if is_archived(experiment) {
                let reason = format!("{} is archived; restore it first", named(experiment));
                return Err(Refusal::conflict(reason));
            }
            let analysis = Analysis { metrics: Vec::new(), ..experiment.analysis().clone() };
            let design = Design::resolve(snapshot, &input, analysis)?;
            if design.flag_id != *experiment.flag_id() {
                let reason = "must have the flag that the experiment is on";
                return Err(Refusal::invalid("flags", reason));
            }
            check_unit("randomizationUnit", snapshot, &design.unit)?;
            let present = Design::of_next(experiment);
            Ok(Transaction::from(match experiment.status() {
                Status::Draft => Change::patch_experiment(experiment.id(), design.patch(&present)),
                _ => Change::draft_iteration(experiment.id(), design.draft_patch(&present)),
            }))
        })?;
        let experiment = find(&commit.snapshot, key)?;
        let run = Run::next(&commit.snapshot, experiment);
        let expand = Expand::ALL;
        Ok(Answer::ok(&self.shown_iteration(&commit.snapshot, &run, expand)))
    }
}

/// Checks that what this attribute names is a kind of subject that experiments can go by.
pub(super) fn check_unit(attribute: &str, snapshot: &Snapshot, unit: &str) -> Result<(), Refusal> {
    let kinds = &snapshot.settings().subject_kinds;
    if kinds.is_empty() || kinds.iter().any(|kind| kind.as_str() == unit) {
        return Ok(());
    }
    let names: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
    let reason = format!(
        "must be one of the project's randomization units, which are {}; got {unit:?}",
        names.join(", ")
    );
    Err(Refusal::invalid(attribute, reason))
}

/// The experiment of this key, or of this id, which it shows as its key if it has none.
pub(super) fn find<'s>(snapshot: &'s Snapshot, key: &str) -> Result<&'s Experiment, Refusal> {
    let found = snapshot.experiment_by_key(key).or_else(|| snapshot.experiment(key));
    found.ok_or_else(|| Refusal::not_found("experiment", key))
}

/// Which experiments a list shows.
struct Filter<'q> {
    flags: Vec<&'q str>,
    metrics: Vec<&'q str>,
    states: Vec<&'q str>,
    archived: bool,
    active: bool,
}

impl<'q> Filter<'q> {
    fn read(query: &'q Query) -> Result<Self, Refusal> {
        let (mut flags, mut metrics, mut states) = (Vec::new(), Vec::new(), Vec::new());
        for term in query.list("filter") {
            match term.split_once(':') {
                Some(("flagKey", key)) => flags.push(key),
                Some(("metricKey", key)) => metrics.push(key),
                Some(("status", state @ ("not_started" | "running" | "stopped"))) => {
                    states.push(state);
                }
                _ => {
                    let reason = format!(
                        "must have terms of flagKey:, metricKey: and status:, the latter with \
                         not_started, running or stopped; got {term:?}"
                    );
                    return Err(Refusal::invalid("filter", reason));
                }
            }
        }
        let (mut archived, mut active) = (false, query.list("lifecycleState").next().is_none());
        for state in query.list("lifecycleState") {
            match state {
                "archived" => archived = true,
                "active" => active = true,
                _ => {
                    let reason = format!("must be some of archived, active; got {state:?}");
                    return Err(Refusal::invalid("lifecycleState", reason));
                }
            }
        }
        Ok(Self { flags, metrics, states, archived, active })
    }

    /// Terms of one kind are alternatives; those of different kinds must all hold.
    fn admits(&self, snapshot: &Snapshot, experiment: &Experiment) -> bool {
        let any = |terms: &[&str], holds: &dyn Fn(&str) -> bool| {
            terms.is_empty() || terms.iter().any(|term| holds(term))
        };
        let flag = snapshot.flag(experiment.flag_id()).map(super::flags::key_of);
        let used = || experiment.analysis().metrics.iter();
        let metric = |key: &str| super::metrics::find(snapshot, key).map(|metric| metric.id());
        let is_archived = is_archived(experiment);
        (if is_archived { self.archived } else { self.active })
            && any(&self.flags, &|key| flag == Some(key))
            && any(&self.states, &|own| own == state(experiment))
            && any(&self.metrics, &|key| {
                let id = metric(key);
                used().any(|own| Some(&own.metric_id) == id)
            })
    }
}

/// Whether an experiment is put away, be it for good.
pub(super) fn is_archived(experiment: &Experiment) -> bool {
    experiment.shelved_at().is_some() || experiment.status() == Status::Archived
}

/// How an experiment is called in words.
pub(super) fn named(experiment: &Experiment) -> String {
    format!("experiment {}", key_of(experiment))
}

/// Checks that an experiment can join and leave a layer or a holdout, which would move subjects if
/// it ran.
pub(super) fn check_halted(experiment: &Experiment, attribute: &str) -> Result<(), Refusal> {
    if experiment.status() != Status::Active {
        return Ok(());
    }
    let reason = format!("{} is running; stop its iteration first", named(experiment));
    Err(Refusal::invalid(attribute, reason))
}
