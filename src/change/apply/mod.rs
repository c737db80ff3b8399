//! Applying changes: the pure step from one snapshot to the next.

mod experiment;
mod flag;
mod holdout;
mod iteration;
mod layer;
mod metric;
mod segment;

use std::borrow::Borrow;
use std::str::FromStr;
use std::sync::Arc;

use super::{
    Change, Effect, EffectKind, EntityKind, Event, NewExperiment, NewFlag, NewHoldout, NewLayer,
    NewMetric, NewSegment, NewVariation, Patch, SettingsPatch, Transaction,
};
use crate::error::{Code, Error};
use crate::id::{
    Entropy, ExperimentId, FlagId, HoldoutId, LayerId, MetricId, SegmentId, VariationId,
};
use crate::model::{Settings, SubjectKind, check_kinds, next as count_on};
use crate::snapshot::Snapshot;
use crate::time::Timestamp;

/// How many of those that use an entity a message names.
const USERS_NAMED: usize = 5;

/// The longest comment, in characters.
const MAX_COMMENT: usize = 4096;

/// What applying a transaction came to.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Commit {
    /// The snapshot afterwards.
    pub snapshot: Arc<Snapshot>,
    /// What happened; `None` when the transaction made no difference, and the snapshot is the one
    /// before.
    pub event: Option<Arc<Event>>,
}

impl Commit {
    /// The first flag that was created.
    pub fn flag(&self) -> Option<&FlagId> {
        self.created(|change| match change {
            Change::CreateFlag(NewFlag { id, .. }) => id.as_ref(),
            _ => None,
        })
    }

    /// The first variation that was created on its own.
    pub fn variation(&self) -> Option<&VariationId> {
        self.created(|change| match change {
            Change::CreateVariation { variation: NewVariation { id, .. }, .. } => id.as_ref(),
            _ => None,
        })
    }

    /// The first segment that was created.
    pub fn segment(&self) -> Option<&SegmentId> {
        self.created(|change| match change {
            Change::CreateSegment(NewSegment { id, .. }) => id.as_ref(),
            _ => None,
        })
    }

    /// The first layer that was created.
    pub fn layer(&self) -> Option<&LayerId> {
        self.created(|change| match change {
            Change::CreateLayer(NewLayer { id, .. }) => id.as_ref(),
            _ => None,
        })
    }

    /// The first holdout that was created.
    pub fn holdout(&self) -> Option<&HoldoutId> {
        self.created(|change| match change {
            Change::CreateHoldout(NewHoldout { id, .. }) => id.as_ref(),
            _ => None,
        })
    }

    /// The first experiment that was created.
    pub fn experiment(&self) -> Option<&ExperimentId> {
        self.created(|change| match change {
            Change::CreateExperiment(NewExperiment { id, .. }) => id.as_ref(),
            _ => None,
        })
    }

    /// The first metric that was created.
    pub fn metric(&self) -> Option<&MetricId> {
        self.created(|change| match change {
            Change::CreateMetric(NewMetric { id, .. }) => id.as_ref(),
            _ => None,
        })
    }

    fn created<T: ?Sized>(&self, id: impl Fn(&Change) -> Option<&T>) -> Option<&T> {
        self.event.as_ref()?.changes.iter().find_map(id)
    }
}

impl Snapshot {
    /// The snapshot that a transaction leads to, and its event. Pure: this snapshot stays as it is,
    /// and nothing is published, so this is also the dry run of a commit.
    ///
    /// The time is `now`, or that of the last transaction if `now` is earlier. Ids and salts that
    /// the changes leave open come from `entropy`.
    ///
    /// # Errors
    /// The first change that breaks a rule refuses them all; [`Error::change`] is its index when
    /// there are several.
    pub fn apply(
        &self,
        transaction: impl Into<Transaction>,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> Result<Commit, Error> {
        let Transaction { changes, comment } = transaction.into();
        if let Some(text) = &comment
            && text.chars().count() > MAX_COMMENT
        {
            let rule = format!("must have at most {MAX_COMMENT} characters");
            return Err(Error::invalid(rule).with_value(text).at("comment"));
        }
        let now = now.max(self.updated_at);
        let mut work = Work { next: self.clone(), now, entropy, effects: Vec::new() };
        let several = changes.len() > 1;
        let mut settled = Vec::with_capacity(changes.len());
        for (index, change) in changes.into_iter().enumerate() {
            let change = work.change(change).map_err(|error| match several {
                true => error.in_change(index),
                false => error,
            })?;
            settled.push(change);
        }
        let Work { mut next, effects, .. } = work;
        if effects.is_empty() {
            return Ok(Commit { snapshot: Arc::new(next), event: None });
        }
        next.sequence = count_on(next.sequence).map_err(|error| error.at("sequence"))?;
        next.updated_at = now;
        let event = Event { sequence: next.sequence, at: now, comment, changes: settled, effects };
        Ok(Commit { snapshot: Arc::new(next), event: Some(Arc::new(event)) })
    }

    /// The snapshot that a history of events leads to.
    ///
    /// # Errors
    /// [`Code::ReplayMismatch`] when an event does not follow on this snapshot, or has other effects
    /// here than it records; and whatever its changes break. That finds events that are lost, twice
    /// or out of order; it is no seal against values that somebody has altered.
    ///
    /// ```
    /// use variate::{NewFlag, Snapshot, SystemEntropy, Timestamp};
    ///
    /// let empty = Snapshot::new();
    /// let flag = NewFlag::new("Sign-in screen").parameter("headline", "Welcome back");
    /// let commit = empty.apply(flag, Timestamp::now(), &mut SystemEntropy)?;
    /// let event = commit.event.unwrap();
    /// assert_eq!(empty.replay([&*event])?, *commit.snapshot);
    /// # Ok::<(), variate::Error>(())
    /// ```
    pub fn replay(&self, events: impl IntoIterator<Item: Borrow<Event>>) -> Result<Self, Error> {
        let mut snapshot = self.clone();
        for event in events {
            snapshot = snapshot.replay_one(event.borrow())?;
        }
        Ok(snapshot)
    }

    fn replay_one(&self, event: &Event) -> Result<Self, Error> {
        let mismatch = |rule: String| Error::new(Code::ReplayMismatch, rule);
        let next = self.sequence + 1;
        if event.sequence != next {
            return Err(mismatch(format!("must be event {next}")).with_value(&event.sequence));
        }
        let transaction =
            Transaction { changes: event.changes.clone(), comment: event.comment.clone() };
        let commit = self.apply(transaction, event.at, &mut Settled)?;
        match commit.event {
            Some(replayed) if *replayed == *event => Ok(Arc::unwrap_or_clone(commit.snapshot)),
            _ => Err(mismatch(format!(
                "must have effects that its changes have here, but event {next} records others"
            ))),
        }
    }
}

/// The entropy of a replay: everything random stands in the event.
struct Settled;

impl Entropy for Settled {
    fn bits(&mut self) -> Result<u128, Error> {
        Err(Error::new(Code::ReplayMismatch, "must have every id and salt that it created"))
    }
}

/// A transaction half done, which nobody but it sees.
struct Work<'e> {
    next: Snapshot,
    now: Timestamp,
    entropy: &'e mut dyn Entropy,
    effects: Vec<Effect>,
}

impl Work<'_> {
    /// Applies a change and returns it with everything fixed that was left open.
    fn change(&mut self, change: Change) -> Result<Change, Error> {
        match change {
            Change::CreateFlag(new) => return self.create_flag(new).map(Change::CreateFlag),
            Change::CreateSegment(new) => {
                return self.create_segment(new).map(Change::CreateSegment);
            }
            Change::CreateExperiment(new) => {
                return self.create_experiment(new).map(Change::CreateExperiment);
            }
            Change::CreateLayer(new) => return self.create_layer(new).map(Change::CreateLayer),
            Change::CreateHoldout(new) => {
                return self.create_holdout(new).map(Change::CreateHoldout);
            }
            Change::CreateMetric(new) => return self.create_metric(new).map(Change::CreateMetric),
            Change::CreateVariation { flag_id, variation } => {
                let variation = self.create_variation(&flag_id, variation)?;
                return Ok(Change::CreateVariation { flag_id, variation });
            }
            Change::Reshuffle { id, if_version, salt } => {
                let salt = self.reshuffle(&id, if_version, salt)?;
                return Ok(Change::Reshuffle { id, if_version, salt: Some(salt) });
            }
            Change::StartIteration { id, if_version, reshuffle, salt, carryover } => {
                let salt = self.start_iteration(&id, if_version, reshuffle, salt, carryover)?;
                return Ok(Change::StartIteration { id, if_version, reshuffle, salt, carryover });
            }
            _ => {}
        }
        match &change {
            Change::PatchFlag { id, if_version, patch } => self.patch_flag(id, *if_version, patch),
            Change::PatchVariation { id, if_version, patch } => {
                self.patch_variation(id, *if_version, patch)
            }
            Change::PatchSegment { id, if_version, patch } => {
                self.patch_segment(id, *if_version, patch)
            }
            Change::PatchExperiment { id, if_version, patch } => {
                self.patch_experiment(id, *if_version, patch)
            }
            Change::PatchLayer { id, if_version, patch } => {
                self.patch_layer(id, *if_version, patch)
            }
            Change::PatchHoldout { id, if_version, patch } => {
                self.patch_holdout(id, *if_version, patch)
            }
            Change::PatchSettings { patch } => self.patch_settings(patch),
            Change::SetFlagStatus { id, if_version, status } => {
                self.set_flag_status(id, *if_version, *status)
            }
            Change::SetSegmentStatus { id, if_version, status } => {
                self.set_segment_status(id, *if_version, *status)
            }
            Change::SetExperimentStatus { id, if_version, status, refresh } => {
                self.set_experiment_status(id, *if_version, *status, *refresh)
            }
            Change::AdvanceRamp { id, if_version, level } => {
                self.advance_ramp(id, *if_version, *level)
            }
            Change::DeleteFlag { id, if_version } => self.delete_flag(id, *if_version),
            Change::DeleteVariation { id, if_version } => self.delete_variation(id, *if_version),
            Change::DeleteSegment { id, if_version } => self.delete_segment(id, *if_version),
            Change::DeleteExperiment { id, if_version } => self.delete_experiment(id, *if_version),
            Change::DeleteLayer { id, if_version } => self.delete_layer(id, *if_version),
            Change::DeleteHoldout { id, if_version } => self.delete_holdout(id, *if_version),
            Change::EndHoldout { id, if_version } => self.end_holdout(id, *if_version),
            Change::DraftIteration { id, if_version, patch } => {
                self.draft_iteration(id, *if_version, patch)
            }
            Change::DiscardDraft { id, if_version } => self.discard_draft(id, *if_version),
            Change::StopIteration { id, if_version, winner, reason, ship } => {
                self.stop_iteration(id, *if_version, winner.as_ref(), reason.as_deref(), *ship)
            }
            Change::ShelveExperiment { id, if_version, shelved } => {
                self.shelve_experiment(id, *if_version, *shelved)
            }
            Change::DeleteMetric { id, if_version } => self.delete_metric(id, *if_version),
            Change::CreateFlag(_)
            | Change::CreateSegment(_)
            | Change::CreateExperiment(_)
            | Change::CreateLayer(_)
            | Change::CreateHoldout(_)
            | Change::CreateVariation { .. }
            | Change::Reshuffle { .. }
            | Change::StartIteration { .. }
            | Change::CreateMetric(_) => Ok(()),
        }?;
        Ok(change)
    }

    fn patch_settings(&mut self, patch: &SettingsPatch) -> Result<(), Error> {
        let fields = edit_settings(&mut self.next.settings, patch);
        if let Some(fields) = fields.map_err(|error| error.at("patch"))? {
            let effect = Effect::new(EffectKind::Edited, EntityKind::Settings, "", 0);
            self.effects.push(Effect { id: None, version: None, fields, ..effect });
        }
        Ok(())
    }

    /// The kind of subject of what is created: as it is given, or the settings' default.
    fn subject_kind(&self, given: Option<&String>) -> Result<SubjectKind, Error> {
        let settings = &self.next.settings;
        let kind = match given {
            Some(kind) => text("subject_kind", kind)?,
            None => settings.default_subject_kind.clone().unwrap_or_default(),
        };
        settings.check_kind(&kind).map_err(|error| error.at("subject_kind"))?;
        Ok(kind)
    }

    fn note(&mut self, effect: EffectKind, entity: EntityKind, id: &str, version: u64) {
        self.effects.push(Effect::new(effect, entity, id, version));
    }

    fn note_edit(&mut self, entity: EntityKind, id: &str, version: u64, fields: Vec<String>) {
        let effect = Effect::new(EffectKind::Edited, entity, id, version);
        self.effects.push(Effect { fields, ..effect });
    }

    fn note_transition(
        &mut self,
        entity: EntityKind,
        id: &str,
        version: u64,
        (from, to): (&str, &str),
        froze: bool,
    ) {
        let effect = Effect::new(EffectKind::Transitioned, entity, id, version);
        let (from, to) = (Some(from.to_owned()), Some(to.to_owned()));
        self.effects.push(Effect { from, to, froze, ..effect });
    }

    /// Checks that an id is not one that a run still means by something that has been deleted.
    fn check_no_run_rests_on(&self, id: &str) -> Result<(), Error> {
        match self.next.runs_on(id).min() {
            Some(run) => {
                let rule = format!("must not be what the run of experiment {run} rests on");
                Err(Error::new(Code::AlreadyExists, rule).with_value(id).at("id"))
            }
            None => Ok(()),
        }
    }

    /// Checks that no experiment but archived ones names an entity that is to go.
    fn check_unused(&self, id: &str) -> Result<(), Error> {
        let mut users: Vec<_> = self.next.used_by(id).map(ExperimentId::as_str).collect();
        if users.is_empty() {
            return Ok(());
        }
        users.sort_unstable();
        let others = users.len().saturating_sub(USERS_NAMED);
        users.truncate(USERS_NAMED);
        let others = if others == 0 { String::new() } else { format!(" and {others} more") };
        let rule = format!(
            "must not be used, but is by {}{others}; an archived experiment does not count",
            users.join(", ")
        );
        Err(Error::new(Code::InUse, rule).with_value(id).at("id"))
    }
}

fn edit_settings(
    settings: &mut Settings,
    patch: &SettingsPatch,
) -> Result<Option<Vec<String>>, Error> {
    let mut edit = Edit::new(|_| Ok(()));
    edit.set("active_limit", &mut settings.active_limit, patch.active_limit)?;
    let kinds = patch.subject_kinds.as_deref().map(kinds).transpose()?;
    edit.set("subject_kinds", &mut settings.subject_kinds, kinds)?;
    let default = patched("default_subject_kind", &patch.default_subject_kind)?;
    edit.set("default_subject_kind", &mut settings.default_subject_kind, default)?;
    match (settings.check_default_kind(), &settings.default_subject_kind) {
        (Err(_), Some(kind)) if patch.default_subject_kind.is_keep() => {
            let rule = format!("must have the default_subject_kind, which is {kind}");
            let error = Error::invalid(rule).with_value(&settings.subject_kinds);
            Err(error.at("subject_kinds"))
        }
        (checked, _) => checked.map(|()| edit.into_fields()),
    }
}

fn kinds(given: &[String]) -> Result<Vec<SubjectKind>, Error> {
    let kinds = given.iter().enumerate().map(|(index, kind)| {
        kind.parse().map_err(|error: Error| error.at_index(index).at("subject_kinds"))
    });
    let kinds = kinds.collect::<Result<Vec<_>, Error>>()?;
    check_kinds(&kinds).map_err(|error| error.at("subject_kinds"))?;
    Ok(kinds)
}

/// The edits of one entity: which fields have become different.
struct Edit<F> {
    /// Whether a field may become different.
    check: F,
    fields: Vec<String>,
}

impl<F: Fn(&'static str) -> Result<(), Error>> Edit<F> {
    fn new(check: F) -> Self {
        Self { check, fields: Vec::new() }
    }

    /// Sets a field, if there is anything to set.
    fn set<T: PartialEq>(
        &mut self,
        field: &'static str,
        slot: &mut T,
        value: Option<T>,
    ) -> Result<(), Error> {
        self.set_or_grow(field, slot, value, |_, _| false)
    }

    /// Sets a field, which needs no leave to grow.
    fn set_or_grow<T: PartialEq>(
        &mut self,
        field: &'static str,
        slot: &mut T,
        value: Option<T>,
        grows: impl Fn(&T, &T) -> bool,
    ) -> Result<(), Error> {
        if let Some(value) = value
            && *slot != value
        {
            if !grows(slot, &value) {
                (self.check)(field)?;
            }
            *slot = value;
            self.fields.push(field.to_owned());
        }
        Ok(())
    }

    /// The fields that have become different, if any.
    fn into_fields(self) -> Option<Vec<String>> {
        Some(self.fields).filter(|fields| !fields.is_empty())
    }
}

/// Parses a text by the rules of its type.
fn text<T: FromStr<Err = Error>>(field: &'static str, text: &str) -> Result<T, Error> {
    text.parse().map_err(|error: Error| error.at(field))
}

/// Parses a text if it is given.
fn given<T: FromStr<Err = Error>>(
    field: &'static str,
    value: Option<&String>,
) -> Result<Option<T>, Error> {
    value.map(|value| text(field, value)).transpose()
}

/// Parses a text that can be cleared.
fn patched<T: FromStr<Err = Error>>(
    field: &'static str,
    patch: &Patch<String>,
) -> Result<Option<Option<T>>, Error> {
    match patch {
        Patch::Keep => Ok(None),
        Patch::Clear => Ok(Some(None)),
        Patch::Set(value) => text(field, value).map(|value| Some(Some(value))),
    }
}

/// What a field that can be cleared is to become, if anything.
fn settled<T: Clone>(patch: &Patch<T>) -> Option<Option<T>> {
    match patch {
        Patch::Keep => None,
        Patch::Clear => Some(None),
        Patch::Set(value) => Some(Some(value.clone())),
    }
}

fn not_found(what: &str, id: &str) -> Error {
    Error::new(Code::NotFound, format!("must be the id of {what} that exists"))
        .with_value(id)
        .at("id")
}

/// The refusal to edit what has been put away.
fn archived(what: &str, field: &'static str) -> Error {
    let rule = format!("never changes once the {what} is archived");
    Error::new(Code::NotMutable, rule).at(field)
}
