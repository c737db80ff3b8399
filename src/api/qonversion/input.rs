//! What a request says, field by field.

use super::answer::Refusal;
use crate::api::call::Call;
use crate::change::Patch;
use crate::error::{Code, Error};
use crate::json::{Cursor, FromJson, Object};
use crate::model::{ChainName, Description, Key, Name, Number, Status, Text};
use crate::number::{Percentage, Weight};

/// The most characters of an alias id that a PATCH gives, and of the id of a group.
const MAX_WORD: usize = 64;

/// The body that creates an experiment.
pub(super) struct ExperimentInput {
    pub(super) name: Name,
    pub(super) alias_id: Key,
    pub(super) facts: Facts,
}

/// The body that edits one.
pub(super) struct ExperimentEdit {
    pub(super) name: Option<Name>,
    /// As it is written: what the experiment has already is no fault, whatever it is like.
    pub(super) alias_id: Option<String>,
    pub(super) facts: Facts,
}

/// What can be said of an experiment beside its names.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) description: Patch<Description>,
    pub(super) segment_percent: Patch<Percentage>,
    pub(super) primary_metric: Patch<Text>,
    pub(super) goal_value: Patch<Number>,
    pub(super) goal_direction: Patch<Text>,
    pub(super) context_key: Patch<ChainName>,
    pub(super) is_context_specific: Patch<bool>,
}

/// The body that creates a group.
pub(super) struct GroupInput {
    pub(super) weight: Weight,
    pub(super) name: Option<Name>,
    pub(super) is_control: bool,
    pub(super) remote_config_uid: Option<Name>,
}

/// The body that edits one.
pub(super) struct GroupEdit {
    pub(super) weight: Option<Weight>,
    pub(super) name: Patch<Name>,
    pub(super) is_control: Option<bool>,
    pub(super) remote_config_uid: Patch<Name>,
}

const EXPERIMENT: &[&str] = &[
    "name",
    "alias_id",
    "description",
    "segment_percent",
    "primary_metric",
    "goal_value",
    "goal_direction",
    "context_key",
    "is_context_specific",
];

const GROUP: &[&str] = &["weight", "name", "is_control", "remote_config_uid"];

impl ExperimentInput {
    pub(super) fn read(call: Call<'_>) -> Result<Self, Refusal> {
        read(call, EXPERIMENT, |fields| {
            let (name, alias_id) = (fields.required("name"), fields.required("alias_id"));
            let facts = fields.facts(|fields, key| fields.check_not_null(key));
            Some(Self { name: name?, alias_id: alias_id?, facts })
        })
    }
}

impl ExperimentEdit {
    pub(super) fn read(call: Call<'_>) -> Result<Self, Refusal> {
        read(call, EXPERIMENT, |fields| {
            let (name, alias_id) = (fields.set("name"), fields.set("alias_id"));
            Some(Self { name, alias_id, facts: fields.facts(|_, _| ()) })
        })
    }

    /// The refusal of an alias id that is not the experiment's.
    pub(super) fn other_alias(alias_id: &str) -> Refusal {
        match check_word(alias_id) {
            Err(error) => Refusal::faults(&[error.at("alias_id")]),
            Ok(()) => {
                let rule = "never changes once the experiment is created";
                Refusal::conflict("").of("alias_id", rule)
            }
        }
    }
}

impl GroupInput {
    pub(super) fn read(call: Call<'_>) -> Result<Self, Refusal> {
        read(call, GROUP, |fields| {
            let weight = fields.required("weight");
            let name: Patch<Name> = fields.patch("name");
            let is_control: Option<bool> = fields.set("is_control");
            let uid: Patch<Name> = fields.patch("remote_config_uid");
            Some(Self {
                weight: fields.positive(weight)?,
                name: set(name),
                is_control: is_control.unwrap_or_default(),
                remote_config_uid: set(uid),
            })
        })
    }
}

impl GroupEdit {
    pub(super) fn read(call: Call<'_>) -> Result<Self, Refusal> {
        read(call, GROUP, |fields| {
            let weight = fields.set("weight");
            Some(Self {
                weight: fields.positive(weight),
                name: fields.patch("name"),
                is_control: fields.set("is_control"),
                remote_config_uid: fields.patch("remote_config_uid"),
            })
        })
    }
}

/// Reads the body that changes a status.
pub(super) fn read_status(call: Call<'_>) -> Result<Status, Refusal> {
    struct Target(Status);

    impl FromJson for Target {
        fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
            let all = [Status::Draft, Status::Active, Status::Paused, Status::Completed];
            cursor.one_of(&all, status_name).map(Self)
        }
    }

    read(call, &["status"], |fields| fields.required("status").map(|Target(status)| status))
}

/// How Qonversion calls a status.
pub(super) fn status_name(status: Status) -> &'static str {
    match status {
        Status::Draft => "draft",
        Status::Active => "active",
        Status::Paused => "paused",
        Status::Completed | Status::Archived => "finished",
    }
}

/// Reads the body that attaches a user, which names a group.
pub(super) fn read_attachment(call: Call<'_>) -> Result<String, Refusal> {
    struct GroupId(String);

    impl FromJson for GroupId {
        fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
            let id = cursor.str()?;
            check_word(id).map(|()| Self(id.to_owned())).map_err(|error| cursor.locate(error))
        }
    }

    read(call, &["group_id"], |fields| fields.required("group_id").map(|GroupId(id)| id))
}

/// Checks the characters of an alias id or a group's id, and that it is as short as a request must
/// write it.
fn check_word(word: &str) -> Result<(), Error> {
    word.parse::<Key>()?;
    match word.len() > MAX_WORD {
        true => {
            Err(Error::invalid(format!("must have 1 to {MAX_WORD} characters")).with_value(word))
        }
        false => Ok(()),
    }
}

/// Reads a body that has no members but these; the refusal tells of all that are at fault.
fn read<T>(
    call: Call<'_>,
    keys: &[&str],
    rule: impl FnOnce(&mut Fields<'_, '_>) -> Option<T>,
) -> Result<T, Refusal> {
    let read = call.read(|cursor| {
        let object = cursor.open_object()?;
        let mut fields = Fields { object: &object, faults: object.unknown(keys).collect() };
        let value = rule(&mut fields);
        Ok(value.filter(|_| fields.faults.is_empty()).ok_or(fields.faults))
    })?;
    read.map_err(|faults| Refusal::faults(&faults))
}

/// The members of a body, and what is wrong with each.
struct Fields<'o, 'n> {
    object: &'o Object<'n>,
    faults: Vec<Error>,
}

impl Fields<'_, '_> {
    /// A member that must be there.
    fn required<T: FromJson>(&mut self, key: &'static str) -> Option<T> {
        let read = match self.object.set(key) {
            Ok(None) => self.object.read(key),
            Ok(Some(value)) => Ok(value),
            Err(error) => Err(error),
        };
        self.told(read)
    }

    /// A member that may be left out, but not `null`.
    fn set<T: FromJson>(&mut self, key: &'static str) -> Option<T> {
        let read = self.object.set(key);
        self.told(read).flatten()
    }

    /// A member that may be left out, or `null`.
    fn patch<T: FromJson>(&mut self, key: &'static str) -> Patch<T> {
        let read = Patch::read(self.object, key);
        self.told(read).unwrap_or_default()
    }

    /// What is said of an experiment. Three fields are subject to a rule that is not the same for
    /// all bodies.
    fn facts(&mut self, rule: impl Fn(&mut Self, &'static str)) -> Facts {
        for key in ["description", "context_key", "is_context_specific"] {
            rule(self, key);
        }
        Facts {
            description: match self.patch("description") {
                Patch::Set(Line(Some(description))) => Patch::Set(description),
                Patch::Set(Line(None)) | Patch::Clear => Patch::Clear,
                Patch::Keep => Patch::Keep,
            },
            segment_percent: self.patch("segment_percent"),
            primary_metric: match self.patch("primary_metric") {
                Patch::Set(Metric(metric)) => Patch::Set(metric),
                Patch::Clear => Patch::Clear,
                Patch::Keep => Patch::Keep,
            },
            goal_value: self.patch("goal_value"),
            goal_direction: self.patch("goal_direction"),
            context_key: self.patch("context_key"),
            is_context_specific: self.patch("is_context_specific"),
        }
    }

    fn check_not_null(&mut self, key: &'static str) {
        if let Some(cursor) = self.object.get(key).filter(|cursor| cursor.is_null()) {
            let error = Error::new(Code::NotNullable, "must not be null; leave it out");
            self.faults.push(cursor.locate(error));
        }
    }

    /// A weight that serves somebody.
    fn positive(&mut self, weight: Option<Weight>) -> Option<Weight> {
        if weight.is_some_and(Weight::is_zero) {
            let error = Error::invalid("must be more than 0").with_value(&0);
            self.faults.push(error.at("weight"));
        }
        weight
    }

    fn told<T>(&mut self, read: Result<T, Error>) -> Option<T> {
        read.map_err(|error| self.faults.push(error)).ok()
    }
}

fn set<T>(patch: Patch<T>) -> Option<T> {
    match patch {
        Patch::Set(value) => Some(value),
        Patch::Keep | Patch::Clear => None,
    }
}

/// A description, of which the empty text is none.
struct Line(Option<Description>);

impl FromJson for Line {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        match cursor.str()? {
            "" => Ok(Self(None)),
            _ => cursor.parse().map(|description| Self(Some(description))),
        }
    }
}

/// The name of a metric, which is written with underscores.
struct Metric(Text);

impl FromJson for Metric {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let name = cursor.str()?.replace('-', "_");
        name.parse().map(Self).map_err(|error| cursor.locate(error))
    }
}
