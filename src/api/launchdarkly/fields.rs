//! The fields that an instruction updates one by one, and when they change.

use std::collections::BTreeMap;

use serde::Serialize;

use super::answer::Refusal;
use super::input::{ConfigInput, FlagInput, MetricInput, TreatmentInput, maybe, read_flags};
use crate::change::Field;
use crate::error::Error;
use crate::json::{Cursor, FromJson, Object};
use crate::model::Status;

/// What an update does with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Operation {
    /// Adds entries to a list.
    Add,
    /// Replaces the value.
    Update,
    /// Removes entries from a list, or the value.
    Remove,
}

impl Operation {
    const ALL: &[Self] = &[Self::Add, Self::Update, Self::Remove];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Update => "update",
            Self::Remove => "remove",
        }
    }
}

/// A field, by LaunchDarkly's name.
#[derive(Debug)]
pub(super) struct WireField {
    pub(super) name: &'static str,
    /// What it is to the engine, whose table says when that changes.
    parts: &'static [Field],
    shape: Shape,
    /// Whether it belongs to an iteration, and not to the experiment as a whole.
    pub(super) is_of_iteration: bool,
}

/// How a value is read, and so what can be done with it.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Text,
    ClearableText,
    Texts,
    Switch,
    Millis,
    Metrics,
    Treatments,
    Flags,
    Config,
}

/// A value as it was read.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Nothing,
    Text(String),
    Texts(Vec<String>),
    Switch(bool),
    Millis(u64),
    Metrics(Vec<MetricInput>),
    Treatments(Vec<TreatmentInput>),
    Flags(Vec<(String, FlagInput)>),
    Config(ConfigInput),
}

/// An update of one field.
#[derive(Debug)]
pub(super) struct Update {
    name: String,
    pub(super) operation: Operation,
    pub(super) value: Value,
}

const FIELDS: &[WireField] = &[
    WireField::of_experiment("name", &[Field::Name], Shape::Text),
    WireField::of_experiment("description", &[Field::Description], Shape::ClearableText),
    WireField::of_experiment("maintainerId", &[Field::Maintainer], Shape::Text),
    WireField::of_experiment("tags", &[Field::Tags], Shape::Texts),
    WireField::of_iteration("hypothesis", &[Field::Hypothesis], Shape::Text),
    WireField::of_iteration("metrics", &[Field::Metrics], Shape::Metrics),
    WireField::of_iteration("primarySingleMetricKey", &[Field::Metrics], Shape::Text),
    WireField::of_iteration("primaryFunnelKey", &[Field::Metrics], Shape::Text),
    WireField::of_iteration("attributes", &[Field::Attributes], Shape::Texts),
    WireField::of_iteration("treatments", &[Field::Allocations, Field::Traffic], Shape::Treatments),
    WireField::of_iteration("flags", &[Field::AudienceId, Field::OutsideVariationId], Shape::Flags),
    WireField::of_iteration("randomizationUnit", &[Field::SubjectKind], Shape::Text),
    WireField::of_iteration("canReshuffleTraffic", &[Field::CanReshuffle], Shape::Switch),
    WireField::of_iteration("reallocationFrequencyMillis", &[Field::Analysis], Shape::Millis),
    WireField::of_iteration("covariateId", &[Field::Analysis], Shape::ClearableText),
    WireField::of_iteration("methodology", &[Field::Analysis], Shape::Text),
    WireField::of_iteration("dataSource", &[Field::Analysis], Shape::ClearableText),
    WireField::of_iteration("analysisConfig", &[Field::Analysis], Shape::Config),
];

/// The states of an iteration as LaunchDarkly has them, and those of an experiment that they are.
pub(super) const STATES: [(&str, Status); 3] =
    [("not_started", Status::Draft), ("running", Status::Active), ("stopped", Status::Completed)];

impl WireField {
    const fn of_experiment(name: &'static str, parts: &'static [Field], shape: Shape) -> Self {
        Self { name, parts, shape, is_of_iteration: false }
    }

    const fn of_iteration(name: &'static str, parts: &'static [Field], shape: Shape) -> Self {
        Self { name, parts, shape, is_of_iteration: true }
    }

    /// What can be done with the field of an experiment in this state.
    pub(super) fn operations(&self, status: Status) -> &'static [Operation] {
        use Operation::{Add, Remove, Update};
        let is_list = matches!(self.shape, Shape::Texts | Shape::Metrics | Shape::Treatments);
        let changes = |field: &Field| status.can_change(*field);
        let grows = |field: &Field| changes(field) || field.grows_in().contains(&status);
        match self.shape {
            _ if self.parts.iter().all(changes) => match self.shape {
                _ if is_list => &[Add, Update, Remove],
                Shape::ClearableText | Shape::Millis | Shape::Config => &[Update, Remove],
                _ => &[Update],
            },
            _ if is_list && self.parts.iter().all(grows) => &[Add],
            _ => &[],
        }
    }

    /// Reads a value by which the field is updated.
    fn read(&self, operation: Operation, object: &Object<'_>) -> Result<Value, Error> {
        if operation == Operation::Remove {
            let entries = maybe(object, "value")?;
            return Ok(entries.map_or(Value::Nothing, Value::Texts));
        }
        let cursor = object.required("value")?;
        Ok(match self.shape {
            Shape::Text | Shape::ClearableText => Value::Text(cursor.read()?),
            Shape::Texts => Value::Texts(cursor.read()?),
            Shape::Switch => Value::Switch(cursor.read()?),
            Shape::Millis => Value::Millis(cursor.read()?),
            Shape::Metrics => Value::Metrics(cursor.read()?),
            Shape::Treatments => Value::Treatments(cursor.read()?),
            Shape::Flags => Value::Flags(read_flags(cursor)?),
            Shape::Config => Value::Config(cursor.read()?),
        })
    }
}

impl Update {
    /// Reads an object whose keys are fields.
    pub(super) fn read_all(cursor: Cursor<'_>) -> Result<Vec<Self>, Error> {
        cursor.map(|name, update| {
            let object = update.open_object()?;
            let operation =
                object.required("operation")?.one_of(Operation::ALL, Operation::as_str)?;
            let value = match field(name) {
                Some(field) => field.read(operation, &object)?,
                None => Value::Nothing,
            };
            Ok(Self { name: name.to_owned(), operation, value })
        })
    }

    /// The field, if it can be updated so in this state of the iteration.
    pub(super) fn allowed(&self, status: Status) -> Result<&'static WireField, Refusal> {
        let found = field(&self.name).filter(|f| f.operations(status).contains(&self.operation));
        found.ok_or_else(|| {
            let state = STATES.iter().find(|(_, own)| *own == status);
            let state = state.map_or("archived", |(state, _)| state);
            let open: Vec<String> = allowed_in(status)
                .iter()
                .map(|(name, operations)| {
                    let names: Vec<_> = operations.iter().map(|own| own.as_str()).collect();
                    format!("{name} ({})", names.join(", "))
                })
                .collect();
            let reason = format!(
                "does not take {} while the iteration is {state}; what does: {}",
                self.operation.as_str(),
                open.join(", ")
            );
            Refusal::invalid(self.name.clone(), reason)
        })
    }

    /// The refusal of its value.
    pub(super) fn refuse(&self, reason: impl Into<String>) -> Refusal {
        Refusal::invalid(format!("{}.value", self.name), reason)
    }
}

fn field(name: &str) -> Option<&'static WireField> {
    FIELDS.iter().find(|field| field.name == name)
}

/// What can be updated in this state, and how.
fn allowed_in(status: Status) -> BTreeMap<&'static str, &'static [Operation]> {
    let all = FIELDS.iter().map(|field| (field.name, field.operations(status)));
    all.filter(|(_, operations)| !operations.is_empty()).collect()
}

/// What can be updated in each state, as `mutableFieldsByStatus` shows it.
pub(super) fn mutable_fields()
-> BTreeMap<&'static str, BTreeMap<&'static str, &'static [Operation]>> {
    STATES.iter().map(|(state, status)| (*state, allowed_in(*status))).collect()
}

impl FromJson for Vec<Update> {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        Update::read_all(cursor)
    }
}
