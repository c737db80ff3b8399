//! The instructions by which an experiment changes.

use super::answer::{Answer, Fault, Refusal};
use super::design::{Design, edit_texts};
use super::experiments::{check_unit, find, is_archived, named};
use super::fields::{Update, Value, WireField};
use super::input::maybe;
use super::list::Query;
use super::patch::SemanticPatch;
use super::show::Expand;
use super::{Experimentation, Reshuffling};
use crate::api::call::Call;
use crate::change::{Change, ExperimentPatch, Patch};
use crate::error::Error;
use crate::id::SegmentId;
use crate::json::Object;
use crate::model::{Experiment, FlagStatus, Status};
use crate::snapshot::Snapshot;

const KINDS: &[&str] = &[
    "updateName",
    "updateDescription",
    "updateExperimentFields",
    "saveAndStartNewIteration",
    "startIteration",
    "stopIteration",
    "archiveExperiment",
    "restoreExperiment",
];

enum Instruction {
    UpdateName(String),
    UpdateDescription(String),
    UpdateFields(Vec<Update>),
    SaveAndStart { justification: Option<String>, updates: Vec<Update> },
    Start { justification: Option<String> },
    Stop { winner: Option<String>, reason: Option<String> },
    Archive,
    Restore,
}

impl Instruction {
    fn read(kind: &str, object: &Object<'_>) -> Result<Self, Error> {
        Ok(match kind {
            "updateName" => Self::UpdateName(object.read("value")?),
            "updateDescription" => Self::UpdateDescription(object.read("value")?),
            "updateExperimentFields" => {
                Self::UpdateFields(Update::read_all(object.required("value")?)?)
            }
            "saveAndStartNewIteration" => Self::SaveAndStart {
                justification: maybe(object, "changeJustification")?,
                updates: maybe(object, "value")?.unwrap_or_default(),
            },
            "startIteration" => {
                Self::Start { justification: maybe(object, "changeJustification")? }
            }
            "stopIteration" => Self::Stop {
                winner: maybe(object, "winningTreatmentId")?,
                reason: maybe(object, "winningReason")?,
            },
            "archiveExperiment" => Self::Archive,
            _ => Self::Restore,
        })
    }

    /// What stands in the event beside the comment.
    fn note(&self) -> Option<&str> {
        match self {
            Self::SaveAndStart { justification, .. } | Self::Start { justification } => {
                justification.as_deref()
            }
            _ => None,
        }
    }
}

impl Experimentation {
    pub(super) fn patch_experiment(
        &self,
        query: &Query,
        key: &str,
        call: Call<'_>,
    ) -> Result<Answer, Refusal> {
        let expand = Expand::read(query)?;
        find(&self.engine.snapshot(), key)?;
        let patch = SemanticPatch::read(call, KINDS, Instruction::read)?;
        let commit = self.carry_out(&patch, Instruction::note, |snapshot, instruction| {
            self.step(snapshot, find(snapshot, key)?, instruction)
        })?;
        let experiment = find(&commit.snapshot, key)?;
        Ok(Answer::ok(&self.shown_experiment(&commit.snapshot, experiment, expand)))
    }

    /// The changes that an instruction comes to.
    fn step(
        &self,
        snapshot: &Snapshot,
        experiment: &Experiment,
        instruction: &Instruction,
    ) -> Result<Vec<Change>, Refusal> {
        let id = experiment.id();
        let patch = |patch| vec![Change::patch_experiment(id, patch)];
        Ok(match instruction {
            Instruction::UpdateName(name) => patch(ExperimentPatch::new().name(name)),
            Instruction::UpdateDescription(text) => patch(ExperimentPatch {
                description: text_or_nothing(text),
                ..ExperimentPatch::new()
            }),
            Instruction::UpdateFields(updates) => Self::update(snapshot, experiment, updates)?,
            Instruction::SaveAndStart { updates, .. } => {
                self.save_and_start(snapshot, experiment, updates)?
            }
            Instruction::Start { justification } => {
                self.start(snapshot, experiment, justification.as_deref())?
            }
            Instruction::Stop { winner, reason } => {
                stop(experiment, winner.as_deref(), reason.as_deref())?
            }
            Instruction::Archive => {
                check_can_be_archived(snapshot, experiment)?;
                match is_archived(experiment) {
                    true => Vec::new(),
                    false => vec![Change::shelve(id)],
                }
            }
            Instruction::Restore if experiment.status() == Status::Archived => {
                let reason = format!("{} has been archived for good", named(experiment));
                return Err(Refusal::invalid("kind", reason));
            }
            Instruction::Restore => vec![Change::unshelve(id)],
        })
    }

    /// Updates fields of the experiment and of its present iteration; once that is stopped, of the
    /// one to come.
    fn update(
        snapshot: &Snapshot,
        experiment: &Experiment,
        updates: &[Update],
    ) -> Result<Vec<Change>, Refusal> {
        let id = experiment.id();
        let draft = experiment.draft().filter(|_| experiment.status() == Status::Completed);
        let present = match draft {
            Some(_) => Design::of_next(experiment),
            None => Design::of_present(experiment),
        };
        let status = match experiment.status() {
            Status::Paused => Status::Active,
            status => status,
        };
        let allowed = |update: &Update| match draft {
            Some(_) => update.allowed(status).or_else(|_| update.allowed(Status::Draft)),
            None => update.allowed(status),
        };
        let mut design = present.clone();
        let (patch, of_iteration) = apply(updates, allowed, snapshot, experiment, &mut design)
            .map_err(|refusal| refusal.within("value"))?;
        if of_iteration {
            design.check_edited(&present)?;
            check_unit("randomizationUnit", snapshot, &design.unit)?;
        }
        Ok(match draft {
            Some(_) if of_iteration => vec![
                Change::patch_experiment(id, patch),
                Change::draft_iteration(id, design.draft_patch(&present)),
            ],
            _ if of_iteration => {
                let designed = design.patch(&present);
                let patch = ExperimentPatch {
                    name: patch.name,
                    description: patch.description,
                    maintainer: patch.maintainer,
                    tags: patch.tags,
                    ..designed
                };
                vec![Change::patch_experiment(id, patch)]
            }
            _ => vec![Change::patch_experiment(id, patch)],
        })
    }

    /// Stops the running iteration and starts a copy of it with these updates.
    fn save_and_start(
        &self,
        snapshot: &Snapshot,
        experiment: &Experiment,
        updates: &[Update],
    ) -> Result<Vec<Change>, Refusal> {
        let id = experiment.id();
        if !matches!(experiment.status(), Status::Active | Status::Paused) {
            let reason = format!(
                "needs a running iteration, and that of {} is {}",
                named(experiment),
                super::show::state(experiment)
            );
            return Err(Refusal::invalid("kind", reason));
        }
        let present = Design::of_present(experiment);
        let allowed = |update: &Update| update.allowed(Status::Draft);
        let mut design = present.clone();
        let (patch, _) = apply(updates, allowed, snapshot, experiment, &mut design)
            .map_err(|refusal| refusal.within("value"))?;
        design.check_edited(&present)?;
        check_unit("randomizationUnit", snapshot, &design.unit)?;
        Self::check_startable(snapshot, experiment, &design)?;
        let discarded = experiment.draft().map(|_| Change::discard_draft(id));
        let changes = discarded.into_iter().chain([
            Change::patch_experiment(id, patch),
            Change::draft_iteration(id, design.draft_patch(&present)),
            self.started(experiment, design.can_reshuffle()),
        ]);
        Ok(changes.collect())
    }

    /// Starts the iteration to come.
    fn start(
        &self,
        snapshot: &Snapshot,
        experiment: &Experiment,
        justification: Option<&str>,
    ) -> Result<Vec<Change>, Refusal> {
        let running = matches!(experiment.status(), Status::Active | Status::Paused);
        if running && justification.is_none_or(str::is_empty) {
            let reason = format!("is required, since {} is running", named(experiment));
            return Err(Refusal::invalid("changeJustification", reason));
        }
        if experiment.status() != Status::Draft && experiment.draft().is_none() {
            let reason =
                format!("needs an iteration to start; POST one for {} first", named(experiment));
            return Err(Refusal::invalid("kind", reason));
        }
        let design = Design::of_next(experiment);
        Self::check_startable(snapshot, experiment, &design)?;
        Ok(vec![self.started(experiment, design.can_reshuffle())])
    }

    fn started(&self, experiment: &Experiment, can_reshuffle: bool) -> Change {
        let reshuffle = self.reshuffling == Reshuffling::Always && can_reshuffle;
        let start = Change::start_iteration(experiment.id());
        match (experiment.status(), experiment.hash().has_rollout()) {
            (Status::Draft, _) => start,
            _ if reshuffle => start.reshuffled(),
            (_, true) => start.carrying_over(self.carryover),
            (_, false) => start,
        }
    }

    /// Checks what LaunchDarkly asks of an iteration that is to start beyond what the engine does.
    fn check_startable(
        snapshot: &Snapshot,
        experiment: &Experiment,
        design: &Design,
    ) -> Result<(), Refusal> {
        if is_archived(experiment) {
            let reason = format!("{} is archived; restore it first", named(experiment));
            return Err(Refusal::invalid("kind", reason));
        }
        let rival = snapshot.used_by(&design.flag_id).filter(|id| *id != experiment.id());
        let mut rivals = rival.filter_map(|id| snapshot.experiment(id));
        let same_rule = |own: &Experiment| audience_of(own) == design.audience_id.as_ref();
        let running = |own: &Experiment| matches!(own.status(), Status::Active | Status::Paused);
        if let Some(other) = rivals.find(|own| running(own) && same_rule(own)) {
            return Err(Refusal::conflict(format!(
                "the rule of the flag has a running experiment: {}",
                crate::api::key_of(other)
            )));
        }
        let flag = snapshot.flag(&design.flag_id);
        let key = flag.map_or(design.flag_id.as_str(), super::flags::key_of);
        let layer = snapshot.layer_of(experiment.id());
        let reserved = layer.and_then(|layer| layer.members().get(experiment.id()));
        let gates = [
            (
                flag.is_some_and(|flag| flag.status() == FlagStatus::Archived),
                "flags",
                format!("flag {key} is archived"),
            ),
            (flag.is_some_and(|flag| !flag.is_on()), "flags", format!("flag {key} is off")),
            (
                design.treatment_count() < 2,
                "treatments",
                format!("must be at least 2; got {}", design.treatment_count()),
            ),
            (
                design.traffic().is_zero(),
                "treatments",
                "must have at least one with an allocationPercent above 0".to_owned(),
            ),
            (
                reserved.is_some_and(|share| share.is_zero()),
                "reservationPercent",
                "must be above 0 in the experiment's layer".to_owned(),
            ),
        ];
        let shut = gates.into_iter().filter(|(shut, ..)| *shut);
        let faults: Vec<Fault> = shut
            .map(|(_, attribute, reason)| Fault { attribute: attribute.to_owned(), reason })
            .collect();
        match faults.is_empty() {
            true => Ok(()),
            false => Err(Refusal::faults(faults)),
        }
    }
}

/// The segment of a running experiment's targeting rule.
fn audience_of(experiment: &Experiment) -> Option<&SegmentId> {
    experiment.iteration().audience_id()
}

fn stop(
    experiment: &Experiment,
    winner: Option<&str>,
    reason: Option<&str>,
) -> Result<Vec<Change>, Refusal> {
    let Some(winner) = winner else {
        let reason = "is required; if no treatment has won, name the baseline";
        return Err(Refusal::invalid("winningTreatmentId", reason));
    };
    let iteration = experiment.iteration();
    let told = iteration.winner();
    let same = told.filter(|own| own.variation_id() == winner && own.reason() == reason);
    match experiment.status() {
        Status::Completed if same.is_some() => return Ok(Vec::new()),
        Status::Active | Status::Paused => {}
        _ => {
            let reason = format!("needs a running iteration, and {} has none", named(experiment));
            return Err(Refusal::invalid("kind", reason));
        }
    }
    let arms = iteration.allocations().unwrap_or_default();
    let Some(arm) = arms.iter().find(|arm| arm.variation_id == *winner) else {
        let ids: Vec<_> = arms.iter().map(|arm| arm.variation_id.as_str()).collect();
        let reason = format!("must be one of the treatments, {}; got {winner:?}", ids.join(", "));
        return Err(Refusal::invalid("winningTreatmentId", reason));
    };
    let stopped = Change::stop_iteration(experiment.id()).with_winner(&arm.variation_id).shipping();
    Ok(vec![match reason {
        Some(reason) => stopped.because(reason),
        None => stopped,
    }])
}

fn check_can_be_archived(snapshot: &Snapshot, experiment: &Experiment) -> Result<(), Refusal> {
    if matches!(experiment.status(), Status::Active | Status::Paused) {
        let reason = format!("{} is running; stop its iteration first", named(experiment));
        return Err(Refusal::invalid("kind", reason));
    }
    match snapshot.layer_of(experiment.id()) {
        Some(layer) => {
            let reason = format!(
                "{} is in layer {}; remove it from there first",
                named(experiment),
                super::layers::key_of(layer)
            );
            Err(Refusal::invalid("kind", reason))
        }
        None => Ok(()),
    }
}

/// Updates fields of an iteration in its design, and those of the experiment in the patch that is
/// returned, with whether there were any of the former.
fn apply(
    updates: &[Update],
    allowed: impl Fn(&Update) -> Result<&'static WireField, Refusal>,
    snapshot: &Snapshot,
    experiment: &Experiment,
    design: &mut Design,
) -> Result<(ExperimentPatch, bool), Refusal> {
    let (mut patch, mut of_iteration) = (ExperimentPatch::new(), false);
    for update in updates {
        let field = allowed(update)?;
        of_iteration |= field.is_of_iteration;
        match field.is_of_iteration {
            true => design.update(snapshot, field.name, update)?,
            false => update_experiment(experiment, &mut patch, field.name, update)?,
        }
    }
    Ok((patch, of_iteration))
}

/// Updates a field of the experiment as a whole.
fn update_experiment(
    experiment: &Experiment,
    patch: &mut ExperimentPatch,
    field: &str,
    update: &Update,
) -> Result<(), Refusal> {
    match (field, &update.value) {
        ("name", Value::Text(name)) => patch.name = Some(name.clone()),
        ("description", Value::Text(text)) => patch.description = text_or_nothing(text),
        ("description", Value::Nothing) => patch.description = Patch::Clear,
        ("maintainerId", Value::Text(id)) => patch.maintainer = Patch::Set(id.clone()),
        ("tags", Value::Nothing) => patch.tags = Some(Vec::new()),
        ("tags", Value::Texts(entries)) => {
            let present = || experiment.tags().iter().map(ToString::to_string).collect();
            let tags = patch.tags.get_or_insert_with(present);
            edit_texts(tags, update.operation, entries);
        }
        _ => return Err(update.refuse("must be a value that the field can have")),
    }
    Ok(())
}

/// A text, which is cleared by an empty one.
pub(super) fn text_or_nothing(text: &str) -> Patch<String> {
    if text.is_empty() { Patch::Clear } else { Patch::Set(text.to_owned()) }
}
