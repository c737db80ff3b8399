//! Experiments.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::lifecycle::not_allowed;
use super::super::mutability::{not_mutable, refusal};
use super::super::{AnalysisPatch, EffectKind, EntityKind, ExperimentPatch, Field, NewExperiment};
use super::{Edit, Work, given, not_found, patched, settled, text};
use crate::error::{Code, Error};
use crate::id::{ExperimentId, spell};
use crate::model::{
    Analysis, Experiment, Extra, Extras, HashVersion, Iteration, Record, Salt, Schedule, Status,
    Tag, adds_none_primary, annotated, check_allocations, check_analysis, check_hash,
    check_id_free, check_levels, check_schedule, check_tags, extends, initial_traffic,
};
use crate::number::Percentage;
use crate::snapshot::not_ready;

impl Work<'_> {
    pub(super) fn create_experiment(
        &mut self,
        mut new: NewExperiment,
    ) -> Result<NewExperiment, Error> {
        let id = match new.id.take() {
            Some(id) => id,
            None => ExperimentId::generate(self.entropy)?,
        };
        check_id_free(self.next.experiment(&id).is_some(), id.as_str())?;
        check_levels(&new.levels, new.strategy).map_err(|error| error.at("levels"))?;
        check_hash(new.hash, new.strategy, &new.levels, &new.stages)?;
        new.weights.check_strategy(new.strategy)?;
        if let Some(traffic) = new.traffic.filter(|_| !new.levels.is_empty()) {
            let rule = "must not be given beside levels, which set it";
            return Err(Error::invalid(rule).with_value(&traffic).at("traffic"));
        }
        let schedule = Schedule {
            starts_at: new.starts_at,
            ends_at: new.ends_at,
            stages: new.stages.as_slice().into(),
        };
        check_schedule(&schedule, &new.levels)?;
        let salt = match new.salt.take() {
            Some(salt) => salt,
            None if new.hash.has_rollout() => self.draw_salt(new.hash)?,
            None => Salt::from(&id),
        };
        let annotations = new.annotations.iter().map(|(key, value)| (key, Some(value)));
        let mut experiment = Experiment {
            name: text("name", &new.name)?,
            description: given("description", new.description.as_ref())?,
            flag_id: new.flag_id.clone(),
            subject_kind: self.subject_kind(new.subject_kind.as_ref())?,
            strategy: new.strategy,
            allocations: new.allocations.as_slice().into(),
            traffic: new.traffic.unwrap_or_else(|| initial_traffic(&new.stages)),
            audience_id: new.audience_id.clone(),
            keep: new.keep,
            outside_variation_id: new.outside_variation_id.clone(),
            hash: new.hash,
            salt: salt.clone(),
            status: Status::Draft,
            iteration: Iteration::new(1, self.now),
            record: Record::new(self.now),
            key: given("key", new.key.as_ref())?,
            can_reshuffle: new.can_reshuffle,
            draft: None,
            analysis: None,
            weights: new.weights,
            extra: Extra::from(Extras {
                tags: tags(&new.tags)?,
                flow: given("flow", new.flow.as_ref())?,
                levels: new.levels.as_slice().into(),
                maintainer: given("maintainer", new.maintainer.as_ref())?,
                chain: given("chain", new.chain.as_ref())?,
                annotations: annotated(&BTreeMap::new(), annotations)?,
                ..Extras::default()
            }),
            id: id.clone(),
        };
        self.next.share_ids(&mut experiment);
        self.next.check_experiment_free(&experiment)?;
        check_allocations(&new.allocations, new.strategy, new.weights)
            .map_err(|error| error.at("allocations"))?;
        experiment.set_schedule(schedule);
        new.analysis = new.analysis.tidy();
        check_analysis(&new.analysis).map_err(|error| error.at("analysis"))?;
        experiment.set_analysis(new.analysis.clone());
        experiment.bring_rollout(&new.rollout)?;
        self.next.check_references(&experiment)?;
        self.note(EffectKind::Created, EntityKind::Experiment, id.as_str(), 1);
        self.next.put_experiment(experiment);
        new.id = Some(id);
        new.salt = Some(salt);
        Ok(new)
    }

    pub(super) fn patch_experiment(
        &mut self,
        id: &ExperimentId,
        if_version: Option<u64>,
        patch: &ExperimentPatch,
    ) -> Result<(), Error> {
        let mut experiment = self.experiment(id, if_version)?;
        let fields = self.edit_experiment(&mut experiment, patch);
        match fields.map_err(|error| error.at("patch"))? {
            Some(fields) => self.put_edited(experiment, fields),
            None => Ok(()),
        }
    }

    fn edit_experiment(
        &self,
        experiment: &mut Experiment,
        patch: &ExperimentPatch,
    ) -> Result<Option<Vec<String>>, Error> {
        let mut edit = editing(experiment.status);
        edit.set("name", &mut experiment.name, given("name", patch.name.as_ref())?)?;
        let description = patched("description", &patch.description)?;
        edit.set("description", &mut experiment.description, description)?;
        let tags = patch.tags.as_deref().map(tags).transpose()?;
        edit.set("tags", &mut experiment.extra.tags, tags)?;
        edit.set("flow", &mut experiment.extra.flow, patched("flow", &patch.flow)?)?;
        let kind = given("subject_kind", patch.subject_kind.as_ref())?;
        let before = experiment.subject_kind.clone();
        edit.set("subject_kind", &mut experiment.subject_kind, kind)?;
        if experiment.subject_kind != before {
            let settings = &self.next.settings;
            settings.check_kind(&experiment.subject_kind).map_err(|e| e.at("subject_kind"))?;
        }
        if let Some(allocations) = &patch.allocations {
            check_allocations(allocations, experiment.strategy, experiment.weights)
                .map_err(|error| error.at("allocations"))?;
        }
        let allocations = patch.allocations.as_deref().map(Arc::from);
        edit.set("allocations", &mut experiment.allocations, allocations)?;
        if let Some(levels) = &patch.levels {
            check_levels(levels, experiment.strategy).map_err(|error| error.at("levels"))?;
        }
        edit.set("levels", &mut experiment.extra.levels, patch.levels.as_deref().map(Box::from))?;
        match patch.traffic {
            Some(traffic)
                if traffic != experiment.traffic && !experiment.extra.levels.is_empty() =>
            {
                let rule = "changes only by advancing the ramp, since the experiment has levels";
                return Err(Error::new(Code::NotMutable, rule).with_value(&traffic).at("traffic"));
            }
            traffic => edit.set("traffic", &mut experiment.traffic, traffic)?,
        }
        edit.set("audience_id", &mut experiment.audience_id, settled(&patch.audience_id))?;
        let outside = settled(&patch.outside_variation_id);
        edit.set("outside_variation_id", &mut experiment.outside_variation_id, outside)?;
        edit.set("keep", &mut experiment.keep, patch.keep)?;
        let maintainer = patched("maintainer", &patch.maintainer)?;
        edit.set("maintainer", &mut experiment.extra.maintainer, maintainer)?;
        edit.set("chain", &mut experiment.extra.chain, patched("chain", &patch.chain)?)?;
        let mut schedule = experiment.schedule();
        edit.set("starts_at", &mut schedule.starts_at, settled(&patch.starts_at))?;
        edit.set("ends_at", &mut schedule.ends_at, settled(&patch.ends_at))?;
        edit.set("stages", &mut schedule.stages, patch.stages.as_deref().map(Box::from))?;
        edit.set("can_reshuffle", &mut experiment.can_reshuffle, patch.can_reshuffle)?;
        check_schedule_edit(&schedule, experiment, patch)?;
        experiment.set_schedule(schedule);
        if let Some(patch) = &patch.analysis {
            let (analysis, fields) = edit_analysis(experiment.analysis(), experiment.status, patch)
                .map_err(|error| error.at("analysis"))?;
            experiment.set_analysis(analysis);
            edit.fields.extend(fields);
        }
        if let Some(entries) = &patch.annotations {
            let entries = entries.iter().map(|(key, value)| (key, value.as_ref()));
            let annotations = annotated(experiment.annotations(), entries)?;
            edit.set("annotations", &mut experiment.extra.annotations, Some(annotations))?;
        }
        let Experiment { hash, strategy, .. } = *experiment;
        check_hash(hash, strategy, experiment.levels(), experiment.stages())?;
        let Some(fields) = edit.into_fields() else { return Ok(None) };
        self.next.check_experiment_free(experiment)?;
        self.next.check_references(experiment)?;
        self.next.check_kind(experiment)?;
        experiment.recut()?;
        Ok(Some(fields))
    }

    pub(super) fn set_experiment_status(
        &mut self,
        id: &ExperimentId,
        if_version: Option<u64>,
        to: Status,
        refresh: bool,
    ) -> Result<(), Error> {
        let mut experiment = self.experiment(id, if_version)?;
        let from = experiment.status;
        if (from, to) == (Status::Completed, Status::Active) {
            let rule = "must be what completed leads to: archived; a new iteration, start_iteration, \
                        leads on to active";
            let error = Error::new(Code::TransitionNotAllowed, rule);
            return Err(error.with_value(&to).at("status"));
        }
        if !from.can_become(to) {
            return Err(not_allowed("an experiment", from.as_str(), to.as_str(), &settable(from)));
        }
        if refresh && to != Status::Active {
            let rule = "must be false unless the status becomes active";
            return Err(Error::invalid(rule).with_value(&true).at("refresh"));
        }
        let froze = match to {
            Status::Active => {
                check_not_shelved(&experiment)?;
                self.activate(&mut experiment, refresh)?
            }
            Status::Completed => {
                experiment.iteration.end(self.now, self.next.reservation(id));
                false
            }
            Status::Draft | Status::Paused | Status::Archived => false,
        };
        self.put_transitioned(experiment, from, to, froze)
    }

    /// Puts an experiment back that goes from one status to another, and notes the effect.
    pub(super) fn put_transitioned(
        &mut self,
        mut experiment: Experiment,
        from: Status,
        to: Status,
        froze: bool,
    ) -> Result<(), Error> {
        experiment.status = to;
        experiment.record.touch(self.now)?;
        let (version, states) = (experiment.version(), (from.as_str(), to.as_str()));
        let id = experiment.id.as_str();
        self.note_transition(EntityKind::Experiment, id, version, states, froze);
        self.next.put_experiment(experiment);
        Ok(())
    }

    /// Puts an edited experiment back, and notes the effect.
    pub(super) fn put_edited(
        &mut self,
        mut experiment: Experiment,
        fields: Vec<String>,
    ) -> Result<(), Error> {
        experiment.record.touch(self.now)?;
        let (id, version) = (experiment.id.as_str(), experiment.version());
        self.note_edit(EntityKind::Experiment, id, version, fields);
        self.next.put_experiment(experiment);
        Ok(())
    }

    /// Starts or resumes a run, and says whether it froze its design.
    pub(super) fn activate(
        &self,
        experiment: &mut Experiment,
        refresh: bool,
    ) -> Result<bool, Error> {
        let readiness = self.next.readiness_of(experiment);
        if !readiness.is_ready() {
            return Err(not_ready(readiness).at("status"));
        }
        experiment.start_ramp();
        if experiment.iteration.started_at.is_none() {
            experiment.iteration.started_at = Some(self.now);
            experiment.iteration.turn = self.next.turn_of(experiment, self.now);
        }
        let before = experiment.iteration.design.as_ref();
        let freezes = refresh || before.is_none_or(|design| design.differs_from(experiment));
        if freezes {
            experiment.iteration.design = Some(Arc::new(self.next.freeze(experiment)?));
            experiment.extra.rollout = None;
        } else {
            experiment.recut_run()?;
        }
        Ok(freezes)
    }

    pub(super) fn advance_ramp(
        &mut self,
        id: &ExperimentId,
        if_version: Option<u64>,
        level: Percentage,
    ) -> Result<(), Error> {
        let mut experiment = self.experiment(id, if_version)?;
        check_step(&experiment, level).map_err(|error| error.with_value(&level).at("level"))?;
        let mut edit = editing(experiment.status);
        edit.set("traffic", &mut experiment.traffic, Some(level))?;
        if let Some(fields) = edit.into_fields() {
            self.put_edited(experiment, fields)?;
        }
        Ok(())
    }

    /// Gives an experiment another salt, and returns it.
    pub(super) fn reshuffle(
        &mut self,
        id: &ExperimentId,
        if_version: Option<u64>,
        salt: Option<Salt>,
    ) -> Result<Salt, Error> {
        let mut experiment = self.experiment(id, if_version)?;
        let salt = match salt {
            Some(salt) => salt,
            None => self.draw_salt(experiment.hash)?,
        };
        let mut edit = editing(experiment.status);
        edit.set("salt", &mut experiment.salt, Some(salt.clone()))?;
        if let Some(fields) = edit.into_fields() {
            self.put_edited(experiment, fields)?;
        }
        Ok(salt)
    }

    /// A random salt. Under a hash of LaunchDarkly's it is as their seeds are: a whole number from 1
    /// to 2^31 − 1 in decimal.
    pub(super) fn draw_salt(&mut self, hash: HashVersion) -> Result<Salt, Error> {
        let bits = self.entropy.bits()?;
        match hash.has_rollout() {
            true => (1 + bits % ((1 << 31) - 1)).to_string().parse(),
            false => spell(bits).parse(),
        }
    }

    pub(super) fn delete_experiment(
        &mut self,
        id: &ExperimentId,
        if_version: Option<u64>,
    ) -> Result<(), Error> {
        let experiment = self.experiment(id, if_version)?;
        if experiment.status == Status::Active {
            let rule = "must be paused or completed before the experiment is deleted";
            let error = Error::new(Code::TransitionNotAllowed, rule);
            return Err(error.with_value(&experiment.status).at("status"));
        }
        self.next.check_no_member(id)?;
        self.next.remove_experiment(id);
        self.note(EffectKind::Deleted, EntityKind::Experiment, id.as_str(), experiment.version());
        Ok(())
    }

    /// A copy of an experiment to work on.
    pub(super) fn experiment(
        &self,
        id: &ExperimentId,
        if_version: Option<u64>,
    ) -> Result<Experiment, Error> {
        let found = self.next.experiment(id);
        let experiment = found.ok_or_else(|| not_found("an experiment", id.as_str()))?;
        experiment.record.check_version(if_version)?;
        Ok(experiment.clone())
    }
}

/// The states that this one leads to without a new iteration.
pub(super) fn settable(from: Status) -> Vec<String> {
    let anew = |to: &&Status| (from, **to) == (Status::Completed, Status::Active);
    from.leads_to().iter().filter(|to| !anew(to)).map(ToString::to_string).collect()
}

/// Checks that an experiment that is to run is not shelved.
pub(super) fn check_not_shelved(experiment: &Experiment) -> Result<(), Error> {
    match experiment.extra.shelved_at {
        Some(_) => {
            let rule = "must not be active while the experiment is shelved";
            let error = Error::new(Code::TransitionNotAllowed, rule);
            Err(error.with_value(&Status::Active).at("status"))
        }
        None => Ok(()),
    }
}

/// Checks that a ramp can go to this level, or stands at it.
fn check_step(experiment: &Experiment, level: Percentage) -> Result<(), Error> {
    if experiment.extra.levels.is_empty() {
        return Err(Error::invalid("must be a level of the experiment, which has none"));
    }
    let Some(current) = experiment
        .current_level()
        .filter(|current| *current == level || experiment.status == Status::Active)
    else {
        let status = experiment.status;
        let rule = format!("advances only while the experiment is active, not {status}");
        return Err(Error::new(Code::NotMutable, rule));
    };
    let next = experiment.extra.levels.iter().find(|next| **next > current);
    if level == current || next == Some(&level) {
        return Ok(());
    }
    Err(Error::invalid(match next {
        Some(next) => format!("must be the next level, {next}"),
        None => format!("must be the last level, {current}, at which the ramp stands"),
    }))
}

/// Checks a schedule that a patch has made, so that the error names what the patch has given.
fn check_schedule_edit(
    schedule: &Schedule,
    experiment: &Experiment,
    patch: &ExperimentPatch,
) -> Result<(), Error> {
    let both = !schedule.stages.is_empty() && !experiment.extra.levels.is_empty();
    if both && patch.stages.is_none() {
        let rule = "must not be given beside stages, which raise the traffic by time";
        return Err(Error::invalid(rule).at("levels"));
    }
    match (schedule.starts_at, schedule.ends_at) {
        (Some(start), Some(end)) if end <= start && patch.ends_at.is_keep() => {
            let rule = format!("must be earlier than ends_at, which is {end}");
            Err(Error::invalid(rule).with_value(&start).at("starts_at"))
        }
        _ => check_schedule(schedule, &experiment.extra.levels),
    }
}

/// Edits how results are to be read, and returns which fields have become different.
pub(super) fn edit_analysis(
    analysis: &Analysis,
    status: Status,
    patch: &AnalysisPatch,
) -> Result<(Analysis, Vec<String>), Error> {
    let mut own = analysis.clone();
    let mut edit = Edit::new(|name| {
        let field = Field::ALL.iter().copied().find(|field| field.as_str() == name);
        match field.unwrap_or(Field::Analysis) {
            field if status.can_change(field) => Ok(()),
            field => Err(refusal(field, status).at(name)),
        }
    });
    edit.set("hypothesis", &mut own.hypothesis, settled(&patch.hypothesis))?;
    edit.set("kind", &mut own.kind, patch.kind)?;
    edit.set("methodology", &mut own.methodology, settled(&patch.methodology))?;
    edit.set("data_source", &mut own.data_source, settled(&patch.data_source))?;
    let metrics = patch.metrics.clone();
    let grows =
        |old: &Vec<_>, new: &Vec<_>| status.can_grow(Field::Metrics) && adds_none_primary(old, new);
    edit.set_or_grow("metrics", &mut own.metrics, metrics, grows)?;
    let attributes = patch.attributes.clone();
    let grows =
        |old: &Vec<_>, new: &Vec<_>| status.can_grow(Field::Attributes) && extends(new, old);
    edit.set_or_grow("attributes", &mut own.attributes, attributes, grows)?;
    edit.set("covariate_id", &mut own.covariate_id, settled(&patch.covariate_id))?;
    let threshold = settled(&patch.bayesian_threshold);
    edit.set("bayesian_threshold", &mut own.bayesian_threshold, threshold)?;
    let threshold = settled(&patch.significance_threshold);
    edit.set("significance_threshold", &mut own.significance_threshold, threshold)?;
    edit.set("test_direction", &mut own.test_direction, settled(&patch.test_direction))?;
    edit.set("correction", &mut own.correction, settled(&patch.correction))?;
    edit.set("sequential", &mut own.sequential, settled(&patch.sequential))?;
    let interval = settled(&patch.reallocation_interval);
    edit.set("reallocation_interval", &mut own.reallocation_interval, interval)?;
    let goal = settled(&patch.goal).map(|goal| goal.filter(|goal| !goal.is_default()));
    edit.set("goal", &mut own.goal, goal)?;
    check_analysis(&own)?;
    let mut fields = edit.fields;
    for field in &mut fields {
        if Field::ALL.iter().all(|known| known.as_str() != field) {
            Field::Analysis.as_str().clone_into(field);
        }
    }
    fields.sort_unstable();
    fields.dedup();
    Ok((own, fields))
}

/// The edits of an experiment, as far as its status allows.
fn editing(status: Status) -> Edit<impl Fn(&'static str) -> Result<(), Error>> {
    Edit::new(move |name| match Field::ALL.iter().find(|field| field.as_str() == name) {
        Some(field) if !status.can_change(*field) => Err(not_mutable(*field, status)),
        _ => Ok(()),
    })
}

/// Reads the tags of an entity.
pub(super) fn tags(given: &[String]) -> Result<Box<[Tag]>, Error> {
    let tags = given
        .iter()
        .enumerate()
        .map(|(index, tag)| tag.parse().map_err(|error: Error| error.at_index(index).at("tags")))
        .collect::<Result<Vec<Tag>, Error>>()?;
    check_tags(&tags).map_err(|error| error.at("tags"))?;
    Ok(tags.into())
}
