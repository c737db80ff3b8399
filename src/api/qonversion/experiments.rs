//! The operations on experiments.

use super::Experiments;
use super::answer::{Refusal, Reply};
use super::input::{ExperimentEdit, ExperimentInput, Facts, read_status, status_name};
use super::list::Query;
use super::show::{REMOTE_CONFIG, ShownExperiment, context_of, notes, path_of, percent_of};
use crate::api::call::Call;
use crate::change::{
    AnalysisPatch, Change, ExperimentPatch, NewExperiment, NewFlag, Patch, Transaction,
};
use crate::id::{ExperimentId, FlagId};
use crate::model::{Experiment, Flag, FlagStatus, Goal, Status, Weights};
use crate::number::Percentage;
use crate::snapshot::Snapshot;

impl Experiments {
    /// Lists the experiments, the latest first.
    pub(super) fn list_experiments(&self, query: &Query) -> Result<Reply, Refusal> {
        let snapshot = self.engine().snapshot();
        let mut all: Vec<&Experiment> = snapshot.experiments().collect();
        all.sort_unstable_by_key(|own| (own.created_at(), own.id()));
        all.reverse();
        query.page(&all, "/v4/experiments", |own| own.id().as_str(), |own| ShownExperiment::of(own))
    }

    pub(super) fn get_experiment(&self, id: &str) -> Result<Reply, Refusal> {
        let snapshot = self.engine().snapshot();
        Ok(Reply::ok(&ShownExperiment::of(find(&snapshot, id)?)))
    }

    pub(super) fn create_experiment(&self, call: Call<'_>) -> Result<Reply, Refusal> {
        let input = ExperimentInput::read(call)?;
        let (id, flag_id) = (ExperimentId::random()?, FlagId::random()?);
        // Qonversion has no flags: what the groups serve stands on one of the experiment's own, by
        // whose key it is found again.
        let flag = NewFlag::new(input.name.as_str())
            .id(flag_id.clone())
            .key(id.as_str())
            .parameter(REMOTE_CONFIG, "");
        let mut new = NewExperiment::by_percentage(input.name.as_str(), flag_id)
            .id(id.clone())
            .key(input.alias_id.as_str())
            .subject_kind(&*self.subject_kind)
            .weights(Weights::Relative);
        let state = State::new(&input.facts);
        new.description = state.description;
        new.traffic = state.percent;
        new.analysis.goal = state.goal;
        new.chain = Some(state.context.chain().to_owned());
        for (note, value) in state.context.notes(state.percent) {
            if let Some(value) = value {
                new = new.annotation(note, value);
            }
        }
        let commit = self.engine().commit([flag.into(), Change::from(new)])?;
        let experiment = find(&commit.snapshot, id.as_str())?;
        Ok(Reply::created(&ShownExperiment::of(experiment), path_of(experiment)))
    }

    pub(super) fn patch_experiment(&self, id: &str, call: Call<'_>) -> Result<Reply, Refusal> {
        let edit = ExperimentEdit::read(call)?;
        let commit = self.engine().commit_with(|snapshot| {
            let experiment = find(snapshot, id)?;
            if let Some(alias_id) = &edit.alias_id
                && experiment.key().map_or(experiment.id().as_str(), |key| key.as_str()) != alias_id
            {
                return Err(ExperimentEdit::other_alias(alias_id));
            }
            let patch = edit.patch(experiment);
            Ok::<_, Refusal>(Transaction::from(Change::patch_experiment(experiment.id(), patch)))
        });
        let commit = commit.map_err(|refusal| {
            let refusal = refusal.renamed("goal", edit.facts.goal_field());
            refusal.renamed("context_key", edit.facts.context_field())
        })?;
        Ok(Reply::ok(&ShownExperiment::of(find(&commit.snapshot, id)?)))
    }

    pub(super) fn delete_experiment(&self, id: &str) -> Result<Reply, Refusal> {
        self.engine().commit_with(|snapshot| {
            let experiment = find(snapshot, id)?;
            let mut changes = vec![Change::delete_experiment(experiment.id())];
            if let Some(flag) = own_flag(snapshot, experiment) {
                changes.push(Change::delete_flag(flag.id()));
            }
            Ok::<_, Refusal>(Transaction::from(changes))
        })?;
        Ok(Reply::deleted())
    }

    pub(super) fn set_status(&self, id: &str, call: Call<'_>) -> Result<Reply, Refusal> {
        let target = read_status(call)?;
        let commit = self.engine().commit_with(|snapshot| {
            let experiment = find(snapshot, id)?;
            check_transition(experiment.status(), target)?;
            let id = experiment.id();
            let mut changes = Vec::new();
            if target == Status::Active
                && let Some(flag) = own_flag(snapshot, experiment)
                && flag.status() == FlagStatus::Draft
            {
                if experiment.allocations().len() < 2 {
                    let message = "the experiment cannot start: it must have at least two groups";
                    return Err(Refusal::senseless("not_ready", message));
                }
                changes.push(Change::set_flag_status(flag.id(), FlagStatus::Active));
            }
            changes.push(match (experiment.status(), target) {
                // Groups can have been given other remote configs meanwhile.
                (Status::Paused, Status::Active) => Change::resume_refreshed(id),
                _ => Change::set_experiment_status(id, target),
            });
            Ok(Transaction::from(changes))
        })?;
        Ok(Reply::ok(&ShownExperiment::of(find(&commit.snapshot, id)?)))
    }
}

/// The experiment of this id or, failing that, of this alias id.
pub(super) fn find<'s>(snapshot: &'s Snapshot, id: &str) -> Result<&'s Experiment, Refusal> {
    let found = snapshot.experiment(id).or_else(|| snapshot.experiment_by_key(id));
    found.ok_or_else(|| Refusal::not_found("experiment", id))
}

/// The flag that was created with an experiment, while no other experiment is on it.
fn own_flag<'s>(snapshot: &'s Snapshot, experiment: &Experiment) -> Option<&'s Flag> {
    let flag = snapshot.flag(experiment.flag_id())?;
    let own = flag.key().is_some_and(|key| key.as_str() == experiment.id().as_str());
    let alone = || snapshot.used_by(flag.id()).all(|user| user == experiment.id());
    (own && alone()).then_some(flag)
}

/// Checks that the status leads there, in Qonversion's words.
fn check_transition(from: Status, to: Status) -> Result<(), Refusal> {
    let next: &[Status] = match from {
        Status::Draft => &[Status::Active],
        Status::Active => &[Status::Paused, Status::Completed],
        Status::Paused => &[Status::Active, Status::Completed],
        Status::Completed | Status::Archived => &[],
    };
    if next.contains(&to) {
        return Ok(());
    }
    let next: Vec<_> = next.iter().map(|status| status_name(*status)).collect();
    let rule = match next.as_slice() {
        [] => "leads nowhere".to_owned(),
        _ => format!("leads to {}", next.join(" or ")),
    };
    let (from, to) = (status_name(from), status_name(to));
    Err(Refusal::conflict("").of("status", format!("{from} {rule}, not to {to}")))
}

/// What an experiment says, as far as a request can.
struct State {
    description: Option<String>,
    percent: Option<Percentage>,
    goal: Option<Goal>,
    context: Context,
}

/// The context key, and whether the experiment is restricted to it.
#[derive(PartialEq)]
struct Context {
    key: String,
    is_specific: bool,
}

impl State {
    fn new(facts: &Facts) -> Self {
        let key = match &facts.context_key {
            Patch::Set(key) => key.to_string(),
            Patch::Keep | Patch::Clear => String::new(),
        };
        // Whoever names a context and says nothing else means it.
        let is_specific = !key.is_empty();
        Self {
            description: settled(&facts.description, None).map(|text| text.to_string()),
            percent: settled(&facts.segment_percent, None),
            goal: facts.goal(None),
            context: Context {
                is_specific: settled(&facts.is_context_specific, Some(is_specific))
                    .unwrap_or_default(),
                key,
            },
        }
    }
}

impl Context {
    /// The chain that the experiment is in.
    fn chain(&self) -> &str {
        if self.is_specific { &self.key } else { "" }
    }

    /// What is noted beside the chain and the traffic.
    fn notes(&self, percent: Option<Percentage>) -> [(&'static str, Option<&str>); 3] {
        let Self { key, is_specific } = self;
        [
            (notes::CONTEXT_KEY, Some(&**key).filter(|key| !is_specific && !key.is_empty())),
            (notes::CONTEXT_SPECIFIC, Some("true").filter(|_| *is_specific && key.is_empty())),
            (notes::SEGMENT_PERCENT, Some("100").filter(|_| percent == Some(Percentage::MAX))),
        ]
    }
}

impl Facts {
    /// The goal that there is when that was there before.
    fn goal(&self, before: Option<&Goal>) -> Option<Goal> {
        let before = before.cloned().unwrap_or_default();
        let goal = Goal {
            metric: settled(&self.primary_metric, before.metric),
            value: settled(&self.goal_value, before.value),
            direction: settled(&self.goal_direction, before.direction),
        };
        (goal != Goal::default()).then_some(goal)
    }

    /// The first field of the context that is named.
    fn context_field(&self) -> &'static str {
        if self.context_key.is_keep() { "is_context_specific" } else { "context_key" }
    }

    /// The first field of the goal that is named.
    fn goal_field(&self) -> &'static str {
        match (&self.primary_metric, &self.goal_value) {
            (Patch::Set(_) | Patch::Clear, _) => "primary_metric",
            (Patch::Keep, Patch::Set(_) | Patch::Clear) => "goal_value",
            (Patch::Keep, Patch::Keep) => "goal_direction",
        }
    }
}

impl ExperimentEdit {
    /// What becomes different about an experiment.
    fn patch(&self, experiment: &Experiment) -> ExperimentPatch {
        let Self { name, facts, .. } = self;
        let mut patch = ExperimentPatch::new();
        patch.name = name.as_ref().map(ToString::to_string);
        patch.description = match &facts.description {
            Patch::Keep => Patch::Keep,
            Patch::Clear => Patch::Clear,
            Patch::Set(text) => Patch::Set(text.to_string()),
        };
        let percent = settled(&facts.segment_percent, percent_of(experiment));
        if !facts.segment_percent.is_keep() {
            patch.traffic = Some(percent.unwrap_or(Percentage::MAX));
        }
        let before = experiment.analysis().goal.as_ref();
        let goal = facts.goal(before);
        if goal.as_ref() != before {
            let analysis = AnalysisPatch::new();
            patch.analysis = Some(match goal {
                Some(goal) => analysis.goal(goal),
                None => analysis.clear_goal(),
            });
        }
        let (key, is_specific) = context_of(experiment);
        let before = Context { key: key.to_owned(), is_specific };
        let key = match &facts.context_key {
            Patch::Keep => key.to_owned(),
            Patch::Clear => String::new(),
            Patch::Set(key) => key.to_string(),
        };
        let is_specific =
            settled(&facts.is_context_specific, Some(is_specific)).unwrap_or_default();
        let context = Context { key, is_specific };
        if context.chain() != before.chain() {
            patch = patch.chain(context.chain());
        }
        let noted = before.notes(percent_of(experiment));
        for ((note, after), (_, before)) in context.notes(percent).into_iter().zip(noted) {
            match after {
                _ if after == before => {}
                Some(value) => patch = patch.annotation(note, value),
                None => patch = patch.without_annotation(note),
            }
        }
        patch
    }
}

/// What there is after a patch, when that was there before.
fn settled<T: Clone>(patch: &Patch<T>, before: Option<T>) -> Option<T> {
    match patch {
        Patch::Keep => before,
        Patch::Clear => None,
        Patch::Set(value) => Some(value.clone()),
    }
}
