//! The operations on experiments.

use http::StatusCode;
use serde::Serialize;

use super::answer::{Answer, Refusal};
use super::list::Query;
use super::show::ShownExperiment;
use super::texts::{check_new, check_texts};
use super::{ExperimentCenter, Generation};
use crate::api::call::Call;
use crate::change::{Change, ExperimentPatch, Field, NewExperiment, Patch, Transaction};
use crate::error::{Code, Error, Violation};
use crate::id::{ExperimentId, FlagId};
use crate::json::{Cursor, FromJson, Object};
use crate::model::{
    Allocation, Experiment, Status, Strategy, SubjectKind, check_levels, check_strategy,
    is_weightless,
};
use crate::number::{Percentage, Weight};
use crate::snapshot::Snapshot;

/// The flows of the early access.
const FLOWS: &[&str] = &[
    "authentication",
    "mfa_enrollment",
    "mfa_challenge",
    "password_reset",
    "passkey_enrollment",
    "all",
];

/// The members of an allocation; its name is the program's own.
const ALLOCATION_KEYS: &[&str] =
    &["variation_id", "weight", "segment_id", "priority", "is_control", "is_fallback"];

/// The states that a transition can lead to.
const TARGETS: &[Status] = &[Status::Active, Status::Paused, Status::Completed, Status::Archived];

#[derive(Serialize)]
struct Page<'s> {
    experiments: Vec<ShownExperiment<'s>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize)]
struct Validation<'v> {
    is_valid: bool,
    errors: &'v [Violation],
}

#[derive(Serialize)]
struct Advanced<'s> {
    experiment_id: &'s ExperimentId,
    from_level: Percentage,
    to_level: Percentage,
    current_level: Percentage,
}

/// What creating and patching have in common.
#[derive(Default)]
struct Fields {
    flow: Option<String>,
    allocations: Option<Vec<Allocation>>,
    levels: Option<Vec<Percentage>>,
    default_config: Option<&'static str>,
}

#[derive(Default)]
struct Patched {
    name: Option<String>,
    description: Patch<String>,
    fields: Fields,
    status: Option<Status>,
}

impl ExperimentCenter {
    pub(super) fn list_experiments(&self, call: Call<'_>) -> Result<Answer, Refusal> {
        let query = Query::read(
            call.query,
            &["from", "take", "status", "authentication_flow", "feature_flag_id"],
        )?;
        let status = query.one_of("status", Status::ALL, Status::as_str)?;
        let flow = query.get("authentication_flow");
        let flag: Option<FlagId> = query.parsed("feature_flag_id")?;
        let snapshot = self.engine.snapshot();
        let matching = snapshot.experiments().filter(|experiment| {
            status.map_or(experiment.status() != Status::Archived, |s| experiment.status() == s)
                && flow.is_none_or(|flow| experiment.flow().is_some_and(|own| *own == *flow))
                && flag.as_ref().is_none_or(|flag| experiment.flag_id() == flag)
        });
        let (page, next) = query.page(matching, |e| (e.created_at(), e.id()))?;
        let shown = page.into_iter().map(|e| self.generation.experiment(&snapshot, e)).collect();
        Ok(Answer::ok(&Page { experiments: shown, next }))
    }

    pub(super) fn create_experiment(&self, call: Call<'_>) -> Result<Answer, Refusal> {
        let (new, fields) = call.read(|cursor| read_new(cursor, self.generation))?;
        let present = fields.allocations.as_deref().unwrap_or_default();
        let levels = fields.levels.as_deref().unwrap_or_default();
        check_sense(new.strategy, present, levels).map_err(Refusal::senseless)?;
        check_no_default_config(&fields)?;
        check_levels(levels, new.strategy).map_err(|error| error.at("levels"))?;
        check_new(&new.name, new.description.as_deref())?;
        let new = NewExperiment {
            subject_kind: Some(SubjectKind::DEFAULT.to_owned()),
            flow: fields.flow,
            allocations: fields.allocations.unwrap_or_default(),
            levels: fields.levels.unwrap_or_default(),
            ..new
        };
        let commit = self.engine.commit(new).map_err(Refusal::from)?;
        let id = commit.experiment().map_or("", ExperimentId::as_str);
        Ok(Answer::created(&self.shown_experiment(&commit.snapshot, id)?))
    }

    pub(super) fn get_experiment(&self, id: &str) -> Result<Answer, Refusal> {
        Ok(Answer::ok(&self.shown_experiment(&self.engine.snapshot(), id)?))
    }

    pub(super) fn patch_experiment(&self, id: &str, call: Call<'_>) -> Result<Answer, Refusal> {
        let keys = [
            "name",
            "description",
            "assignment_config",
            "allocations",
            "authentication_flow",
            "default_config",
            "levels",
            "status",
        ];
        let patched = call.read_patch(&keys, |object| read_patched(object, self.generation))?;
        self.update_experiment(id, patched)
    }

    pub(super) fn set_experiment_status(
        &self,
        id: &str,
        call: Call<'_>,
    ) -> Result<Answer, Refusal> {
        let status = call.read(|cursor| {
            let object = cursor.object(&["status"])?;
            object.required("status")?.one_of(TARGETS, Status::as_str)
        })?;
        self.update_experiment(id, Patched { status: Some(status), ..Patched::default() })
    }

    fn update_experiment(&self, id: &str, patched: Patched) -> Result<Answer, Refusal> {
        let commit = self.engine.commit_with(|snapshot| {
            let experiment = experiment(snapshot, id)?;
            let Patched { name, description, mut fields, status } = patched;
            keep_names(experiment, &mut fields);
            keep_weights(experiment, &mut fields, self.generation);
            check_halted(experiment, fields.allocations.as_deref())?;
            check_patched(experiment, &fields).map_err(Refusal::senseless)?;
            check_no_default_config(&fields)?;
            check_texts(
                experiment.name(),
                name.as_deref(),
                experiment.description(),
                &description,
            )?;
            let patch = ExperimentPatch {
                name,
                description,
                flow: fields.flow.map_or(Patch::Keep, Patch::Set),
                allocations: fields.allocations,
                levels: fields.levels,
                ..ExperimentPatch::new()
            };
            let mut changes = vec![Change::patch_experiment(experiment.id(), patch)];
            if let Some(to) = status {
                check_not_reactivated(experiment.status(), to)?;
                changes.push(Change::set_experiment_status(experiment.id(), to));
            }
            Ok::<_, Refusal>(Transaction::from(changes))
        })?;
        Ok(Answer::ok(&self.shown_experiment(&commit.snapshot, id)?))
    }

    pub(super) fn validate_experiment(&self, id: &str) -> Result<Answer, Refusal> {
        let readiness = self.engine.snapshot().readiness(id);
        let readiness = readiness.ok_or_else(|| Refusal::not_found("experiment", id))?;
        let (is_valid, errors) = (readiness.is_ready(), readiness.violations());
        Ok(Answer::ok(&Validation { is_valid, errors }))
    }

    pub(super) fn advance_ramp(&self, id: &str, call: Call<'_>) -> Result<Answer, Refusal> {
        let target = call.read(|cursor| {
            let object = cursor.object(&["target_level"])?;
            read_level(object.required("target_level")?)
        })?;
        let mut from_level = target;
        let commit = self.engine.commit_with(|snapshot| {
            let experiment = experiment(snapshot, id)?;
            from_level = experiment.current_level().unwrap_or(target);
            Ok::<_, Refusal>(Change::advance_ramp(experiment.id(), target))
        })?;
        let current_level = target;
        let experiment_id = experiment(&commit.snapshot, id)?.id();
        let to_level = target;
        Ok(Answer::ok(&Advanced { experiment_id, from_level, to_level, current_level }))
    }

    pub(super) fn delete_experiment(&self, id: &str) -> Result<Answer, Refusal> {
        self.engine.commit_with(|snapshot| {
            let found = snapshot.experiment(id).into_iter();
            let gone = found.map(|experiment| Change::delete_experiment(experiment.id()));
            Ok::<_, Refusal>(gone.collect::<Transaction>())
        })?;
        Ok(Answer::deleted())
    }

    fn shown_experiment<'s>(
        &self,
        snapshot: &'s Snapshot,
        id: &str,
    ) -> Result<ShownExperiment<'s>, Refusal> {
        Ok(self.generation.experiment(snapshot, experiment(snapshot, id)?))
    }
}

/// Gives the arms that the experiment has the names by which the program calls them.
fn keep_names(experiment: &Experiment, fields: &mut Fields) {
    for arm in fields.allocations.iter_mut().flatten() {
        let same = |own: &&Allocation| {
            (&own.variation_id, &own.segment_id) == (&arm.variation_id, &arm.segment_id)
        };
        let own = experiment.allocations().iter().find(same);
        arm.name = own.and_then(|own| own.name.clone());
    }
}

/// Gives arms whose relative weights are sent back as the shares that were shown the weights that
/// they have.
fn keep_weights(experiment: &Experiment, fields: &mut Fields, generation: Generation) {
    let Some(arms) = &mut fields.allocations else { return };
    let own = experiment.allocations().iter().zip(generation.percent(experiment));
    // In whatever order, which makes no difference.
    let shown = |arm: &Allocation| {
        own.clone()
            .find(|(own, share)| own.variation_id == arm.variation_id && *share == arm.weight)
    };
    if arms.len() == own.clone().count() && arms.iter().all(|arm| shown(arm).is_some()) {
        for arm in arms {
            arm.weight = shown(arm).and_then(|(own, _)| own.weight);
        }
    }
}

/// Refuses what is well-formed but cannot mean anything.
fn check_sense(
    strategy: Strategy,
    allocations: &[Allocation],
    levels: &[Percentage],
) -> Result<(), Error> {
    if strategy == Strategy::Segment && !levels.is_empty() {
        let rule = format!("are only for experiments that assign by {}", Strategy::Percentage);
        return Err(Error::invalid(rule).at("levels"));
    }
    check_strategy(allocations, strategy).map_err(|error| error.at("allocations"))?;
    let weighs = allocations.iter().position(|arm| arm.weight.is_some());
    if let Some(index) = weighs.filter(|_| strategy == Strategy::Segment) {
        let rule = format!("is only for experiments that assign by {}", Strategy::Percentage);
        return Err(Error::invalid(rule).at("weight").at_index(index).at("allocations"));
    }
    match weighs {
        Some(index) if !levels.is_empty() => {
            let rule = "must not be given with levels, which divide the subjects";
            Err(Error::invalid(rule).at("weight").at_index(index).at("allocations"))
        }
        _ => Ok(()),
    }
}

/// Refuses a patch that leaves the experiment with what cannot mean anything.
fn check_patched(experiment: &Experiment, fields: &Fields) -> Result<(), Error> {
    let (strategy, status) = (experiment.strategy(), experiment.status());
    // Levels that cannot change are refused for that.
    let given = fields.levels.as_deref().filter(|_| status.can_change(Field::Levels));
    let levels = given.unwrap_or_else(|| experiment.levels());
    match &fields.allocations {
        // What was shown can be sent back, also weights within segments, which this API cannot say.
        Some(own)
            if strategy == Strategy::Segment && own.as_slice() == experiment.allocations() =>
        {
            check_sense(strategy, &[], levels)
        }
        Some(allocations) => check_sense(strategy, allocations, levels),
        None if given.is_some() && !is_weightless(experiment.allocations()) => {
            let rule = "must not be given to an experiment whose allocations have weights";
            Err(Error::invalid(rule).at("levels"))
        }
        None => check_sense(strategy, &[], levels),
    }
}

fn check_no_default_config(fields: &Fields) -> Result<(), Refusal> {
    let Some(value) = fields.default_config else { return Ok(()) };
    let rule = "is only for experiments on flags of Auth0's own, of which there are none";
    Err(Refusal::senseless(Error::invalid(rule).with_value(value).at("default_config")))
}

/// Refuses to change the allocations of an active experiment, with Auth0's own code.
fn check_halted(
    experiment: &Experiment,
    allocations: Option<&[Allocation]>,
) -> Result<(), Refusal> {
    match allocations {
        Some(other)
            if experiment.status() == Status::Active && other != experiment.allocations() =>
        {
            let message =
                "allocations: cannot change while the experiment is active; pause it first";
            Err(Refusal::new(StatusCode::BAD_REQUEST, "experiment_requires_pause", message))
        }
        _ => Ok(()),
    }
}

fn check_not_reactivated(from: Status, to: Status) -> Result<(), Error> {
    if (from, to) == (Status::Completed, Status::Active) {
        let rule = "a completed experiment cannot be activated again; create a new one";
        return Err(Error::new(Code::TransitionNotAllowed, rule).with_value(&to).at("status"));
    }
    Ok(())
}

fn experiment<'s>(snapshot: &'s Snapshot, id: &str) -> Result<&'s Experiment, Refusal> {
    snapshot.experiment(id).ok_or_else(|| Refusal::not_found("experiment", id))
}

fn read_new(cursor: Cursor<'_>, generation: Generation) -> Result<(NewExperiment, Fields), Error> {
    let object = cursor.object(&[
        "name",
        "description",
        "feature_flag_id",
        "authentication_flow",
        "allocation_strategy",
        "assignment_config",
        "allocations",
        "default_config",
        "levels",
    ])?;
    if generation == Generation::Seeds {
        object.required("assignment_config")?;
        object.required("allocations")?;
    }
    object.required("authentication_flow")?;
    let name: String = object.read("name")?;
    let flag_id = object.read("feature_flag_id")?;
    let strategy = object.read("allocation_strategy")?;
    let new = NewExperiment {
        description: object.optional("description")?,
        ..NewExperiment::new(name, flag_id, strategy)
    };
    Ok((new, read_fields(&object, generation)?))
}

fn read_patched(object: &Object<'_>, generation: Generation) -> Result<Patched, Error> {
    let status = match object.get("status") {
        Some(cursor) => Some(cursor.one_of(TARGETS, Status::as_str)?),
        None => None,
    };
    Ok(Patched {
        name: object.set("name")?,
        description: Patch::read(object, "description")?,
        fields: read_fields(object, generation)?,
        status,
    })
}

fn read_fields(object: &Object<'_>, generation: Generation) -> Result<Fields, Error> {
    if let Some(cursor) = object.get("assignment_config") {
        let config = cursor.object(&["subject"])?;
        config.required("subject")?.one_of(&[SubjectKind::DEFAULT], |name| name)?;
    }
    let flow = match (object.get("authentication_flow"), generation) {
        (None, _) => None,
        (Some(cursor), Generation::Seeds) => Some(cursor.str()?),
        (Some(cursor), Generation::EarlyAccess) => Some(cursor.one_of(FLOWS, |name| name)?),
    };
    let allocations = match object.get("allocations") {
        None => None,
        Some(cursor) => Some(read_list(cursor, |arm| read_allocation(arm, generation))?),
    };
    let levels = match object.get("levels") {
        None => None,
        Some(cursor) => Some(read_list(cursor, read_level)?),
    };
    let default_config = match object.get("default_config") {
        None => None,
        Some(cursor) => Some(cursor.one_of(&["tenant", "flag"], |name| name)?),
    };
    Ok(Fields { flow: flow.map(str::to_owned), allocations, levels, default_config })
}

/// Reads a list that has an entry.
fn read_list<T>(
    cursor: Cursor<'_>,
    each: impl FnMut(Cursor<'_>) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let list = cursor.array(each)?;
    match list.is_empty() {
        true => Err(cursor.locate(Error::invalid("must have at least one entry"))),
        false => Ok(list),
    }
}

fn read_allocation(cursor: Cursor<'_>, generation: Generation) -> Result<Allocation, Error> {
    let object = cursor.object(ALLOCATION_KEYS)?;
    // The engine takes more where weights are relative; here they are percentages.
    object.optional::<Percentage>("weight")?;
    let allocation = Allocation::from_json(cursor)?;
    object.required("is_control")?;
    match allocation.weight {
        Some(weight) if generation == Generation::EarlyAccess && !is_whole(weight.millionths()) => {
            Err(not_whole(&weight, object.required("weight")?))
        }
        _ => Ok(allocation),
    }
}

fn read_level(cursor: Cursor<'_>) -> Result<Percentage, Error> {
    let level: Percentage = cursor.read()?;
    match is_whole(level.millionths()) {
        true => Ok(level),
        false => Err(not_whole(&level, cursor)),
    }
}

fn is_whole(millionths: u64) -> bool {
    millionths.is_multiple_of(Weight::ONE.millionths())
}

fn not_whole(value: &impl Serialize, cursor: Cursor<'_>) -> Error {
    let rule = "must be a whole number from 0 to 100";
    cursor.locate(Error::invalid(rule).with_value(value))
}
