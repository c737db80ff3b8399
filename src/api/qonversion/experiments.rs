//! The operations on experiments.

use super::Experiments;
use super::answer::{Refusal, Reply};
use super::input::{ExperimentEdit, ExperimentInput, Facts, read_status, status_name};
use super::list::{Query, page};
use super::show::{REMOTE_CONFIG, ShownExperiment, context_of, notes, path_of, percent_of};
use crate::api::call::Call;
use crate::api::key_of;
use crate::change::{
    AnalysisPatch, Change, ExperimentPatch, Field, NewExperiment, NewFlag, Patch, Transaction,
};
use crate::id::{ExperimentId, FlagId};
use crate::model::{Description, Experiment, Flag, FlagStatus, Goal, Status, Weights};
use crate::number::Percentage;
use crate::snapshot::Snapshot;

impl Experiments {
    /// Lists the experiments, the latest first.
    pub(super) fn list_experiments(&self, query: &Query) -> Result<Reply, Refusal> {
        let snapshot = self.engine().snapshot();
        let mut all: Vec<&Experiment> = snapshot.experiments().collect();
        all.sort_unstable_by_key(|own| (own.created_at(), own.id()));
        all.reverse();
        page(
            query,
            &all,
            "/v4/experiments",
            |own| own.id().as_str(),
            |own| ShownExperiment::of(own),
        )
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
        new = new.chain(state.chain());
        for (note, value) in state.notes() {
            if let Some(value) = value {
                new = new.annotation(note, value);
            }
        }
        new.traffic = state.percent;
        new.description = state.description.map(|text| text.to_string());
        new.analysis.goal = Some(state.goal);
        let commit = self.engine().commit([flag.into(), Change::from(new)])?;
        let experiment = find(&commit.snapshot, id.as_str())?;
        Ok(Reply::created(&ShownExperiment::of(experiment), path_of(experiment)))
    }

    pub(super) fn patch_experiment(&self, id: &str, call: Call<'_>) -> Result<Reply, Refusal> {
        let edit = ExperimentEdit::read(call)?;
        let commit = self.engine().commit_with(|snapshot| {
            let experiment = find(snapshot, id)?;
            if let Some(alias_id) = &edit.alias_id
                && key_of(experiment) != alias_id
            {
                return Err(ExperimentEdit::other_alias(alias_id));
            }
            let before = State::of(experiment);
            let after = before.after(&edit.facts).respelled(&before, experiment.status());
            let renamed = edit.name.as_ref().is_some_and(|name| name != experiment.name());
            check_frozen(experiment.status(), renamed, &before, &after)?;
            if after.chain() != before.chain() {
                self.check_joins(snapshot, experiment, after.chain())?;
            }
            let mut patch = after.patch(&before, experiment);
            patch.name = edit.name.as_ref().map(ToString::to_string);
            Ok(Transaction::from(Change::patch_experiment(experiment.id(), patch)))
        })?;
        Ok(Reply::ok(&ShownExperiment::of(find(&commit.snapshot, id)?)))
    }

    pub(super) fn delete_experiment(&self, id: &str) -> Result<Reply, Refusal> {
        self.engine().commit_with(|snapshot| {
            let experiment = find(snapshot, id)?;
            if experiment.status() == Status::Active {
                return Err(Refusal::conflict(
                    "the experiment is active: pause or finish it first",
                ));
            }
            let mut changes = vec![Change::delete_experiment(experiment.id())];
            let used = |flag: &&Flag| snapshot.used_by(flag.id()).any(|id| id != experiment.id());
            if let Some(flag) = own_flag(snapshot, experiment).filter(|flag| !used(flag)) {
                changes.push(Change::delete_flag(flag.id()));
            }
            Ok(Transaction::from(changes))
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
            if target == Status::Active && experiment.allocations().len() < 2 {
                let message = "the experiment cannot start: it must have at least two groups";
                return Err(Refusal::senseless("not_ready", message));
            }
            if target == Status::Active
                && let Some(flag) = own_flag(snapshot, experiment)
                && flag.status() == FlagStatus::Draft
            {
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

/// The flag that was created with an experiment.
fn own_flag<'s>(snapshot: &'s Snapshot, experiment: &Experiment) -> Option<&'s Flag> {
    let flag = snapshot.flag(experiment.flag_id())?;
    let own = flag.key().is_some_and(|key| key.as_str() == experiment.id().as_str());
    own.then_some(flag)
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

/// What an experiment says beside its names, as far as a request can.
#[derive(Default, PartialEq)]
struct State {
    description: Option<Description>,
    /// Nothing if everybody is included without that having been said.
    percent: Option<Percentage>,
    goal: Goal,
    context_key: String,
    is_specific: bool,
}

impl State {
    fn of(experiment: &Experiment) -> Self {
        let (context_key, is_specific) = context_of(experiment);
        Self {
            description: experiment.description().cloned(),
            percent: percent_of(experiment),
            goal: experiment.analysis().goal.clone().unwrap_or_default(),
            context_key: context_key.to_owned(),
            is_specific,
        }
    }

    /// The same with what a request says.
    fn after(&self, facts: &Facts) -> Self {
        let context_key = match &facts.context_key {
            Patch::Keep => self.context_key.clone(),
            Patch::Clear => String::new(),
            Patch::Set(key) => key.to_string(),
        };
        let goal = Goal {
            metric: settled(&facts.primary_metric, self.goal.metric.clone()),
            value: settled(&facts.goal_value, self.goal.value),
            direction: settled(&facts.goal_direction, self.goal.direction.clone()),
        };
        let is_specific = settled(&facts.is_context_specific, Some(self.is_specific));
        Self {
            description: settled(&facts.description, self.description.clone()),
            percent: settled(&facts.segment_percent, self.percent),
            goal,
            context_key,
            is_specific: is_specific.unwrap_or_default(),
        }
    }

    /// That of a new experiment. Whoever names a context and says nothing else means it.
    fn new(facts: &Facts) -> Self {
        let state = Self::default().after(facts);
        let is_specific = match facts.is_context_specific.is_keep() {
            true => !state.context_key.is_empty(),
            false => state.is_specific,
        };
        Self { is_specific, ..state }
    }

    /// The chain that the experiment is in.
    fn chain(&self) -> &str {
        if self.is_specific { &self.context_key } else { "" }
    }

    /// What is noted beside the chain and the traffic.
    fn notes(&self) -> [(&'static str, Option<&str>); 3] {
        let key = Some(&*self.context_key).filter(|key| !key.is_empty());
        let everybody = self.percent == Some(Percentage::MAX);
        [
            (notes::CONTEXT_KEY, key.filter(|_| !self.is_specific)),
            (notes::CONTEXT_SPECIFIC, Some("true").filter(|_| self.is_specific && key.is_none())),
            (notes::SEGMENT_PERCENT, Some("100").filter(|_| everybody)),
        ]
    }

    /// The same where a metric that only differs in its hyphens is no other while it cannot change.
    fn respelled(mut self, before: &Self, status: Status) -> Self {
        if let (Some(own), Some(new)) = (&before.goal.metric, &self.goal.metric)
            && !status.can_change(Field::Goal)
            && own.as_str().replace('-', "_") == new.as_str()
        {
            self.goal.metric = Some(own.clone());
        }
        self
    }

    /// The patch that makes this of what that says of an experiment.
    fn patch(&self, before: &Self, experiment: &Experiment) -> ExperimentPatch {
        let mut patch = ExperimentPatch::new();
        if self.description != before.description {
            patch = match &self.description {
                Some(description) => patch.description(description.as_str()),
                None => patch.clear_description(),
            };
        }
        if self.percent != before.percent {
            patch = patch.traffic(self.percent.unwrap_or(Percentage::MAX));
        }
        if self.goal != before.goal {
            patch = patch.analysis(AnalysisPatch::new().goal(self.goal.clone()));
        }
        if self.chain() != before.chain() {
            patch = patch.chain(self.chain());
        }
        let context = |own: &Self| (own.percent, own.context_key.clone(), own.is_specific);
        if context(self) != context(before) {
            // What others have changed since can have left a note that says nothing.
            for (note, value) in self.notes() {
                let noted = experiment.annotations().get(note).map(|text| text.as_str());
                patch = match value {
                    _ if value == noted => patch,
                    Some(value) => patch.annotation(note, value),
                    None => patch.without_annotation(note),
                };
            }
        }
        patch
    }
}

/// Refuses what does not change in the experiment's status, naming every such field.
fn check_frozen(
    status: Status,
    renamed: bool,
    before: &State,
    after: &State,
) -> Result<(), Refusal> {
    let (goal, new) = (&before.goal, &after.goal);
    let edits = [
        ("name", Field::Name, renamed),
        ("description", Field::Description, after.description != before.description),
        ("segment_percent", Field::Traffic, after.percent != before.percent),
        ("primary_metric", Field::Goal, new.metric != goal.metric),
        ("goal_value", Field::Goal, new.value != goal.value),
        ("goal_direction", Field::Goal, new.direction != goal.direction),
        ("context_key", Field::Chain, after.context_key != before.context_key),
        ("is_context_specific", Field::Chain, after.is_specific != before.is_specific),
    ];
    let frozen = edits.iter().filter(|(_, field, edited)| *edited && !status.can_change(*field));
    let details = frozen.map(|(name, field, _)| match status {
        Status::Archived => (*name, "never changes, since the experiment is archived".to_owned()),
        _ => {
            let states: Vec<_> = field.changes_in().iter().map(|own| status_name(*own)).collect();
            (*name, format!("changes only while the experiment is {}", states.join(" or ")))
        }
    });
    let refusal =
        details.fold(Refusal::conflict(""), |refusal, (name, rule)| refusal.of(name, rule));
    if refusal.is_detailed() { Err(refusal) } else { Ok(()) }
}

/// What there is after a patch, when that was there before.
fn settled<T: Clone>(patch: &Patch<T>, before: Option<T>) -> Option<T> {
    match patch {
        Patch::Keep => before,
        Patch::Clear => None,
        Patch::Set(value) => Some(value.clone()),
    }
}
