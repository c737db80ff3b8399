//! What holds for all entities of a snapshot.

use serde::Serialize;

use super::{SubjectKind, check_count, check_distinct, checked};
use crate::error::{Error, codes};
use crate::json::{Cursor, FromJson, deserialize};

/// The most kinds of subjects.
const MAX_KINDS: usize = 100;

/// Rules for a snapshot as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Settings {
    /// How many experiments can be active at once.
    pub active_limit: ActiveLimit,
    /// The kinds of subjects that experiments, layers and holdouts go by, at most 100 and none twice;
    /// any if there are none. Checked when one is created or given another kind: what there is
    /// stays.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subject_kinds: Vec<SubjectKind>,
    /// The kind that a creation gets which names none, one of `subject_kinds` if there are any;
    /// `device` if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_subject_kind: Option<SubjectKind>,
}

impl Settings {
    /// Checks that the default kind is one of the kinds.
    pub(crate) fn check_default_kind(&self) -> Result<(), Error> {
        match &self.default_subject_kind {
            Some(kind) => self.check_kind(kind).map_err(|error| error.at("default_subject_kind")),
            None => Ok(()),
        }
    }

    /// Checks that this is a kind that experiments go by.
    pub(crate) fn check_kind(&self, kind: &SubjectKind) -> Result<(), Error> {
        if self.subject_kinds.is_empty() || self.subject_kinds.contains(kind) {
            return Ok(());
        }
        let kinds: Vec<&str> = self.subject_kinds.iter().map(SubjectKind::as_str).collect();
        let rule = format!("must be one of the settings' subject_kinds: {}", kinds.join(", "));
        Err(Error::invalid(rule).with_value(kind))
    }
}

/// Checks the kinds of subjects that experiments go by.
pub(crate) fn check_kinds(kinds: &[SubjectKind]) -> Result<(), Error> {
    check_count(kinds.len(), 0, MAX_KINDS)?;
    check_distinct(
        kinds,
        |kind| kind,
        |kind| Error::invalid("must not be given twice").with_value(kind),
    )
}

codes! {
    /// How many experiments can be active at once. Checked when one is activated: tightening the
    /// limit stops nothing that runs.
    #[derive(Default)]
    #[non_exhaustive]
    pub enum ActiveLimit {
        /// Any number.
        #[default]
        Unlimited = "unlimited",
        /// One for each flow; one whose flow is `all` only alone. Experiments without a flow do
        /// not limit each other.
        PerFlow = "per_flow",
        /// One in all.
        One = "one",
    }
}

impl FromJson for ActiveLimit {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        cursor.one_of(Self::ALL, Self::as_str)
    }
}

impl FromJson for Settings {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let keys = ["active_limit", "subject_kinds", "default_subject_kind"];
        let object = cursor.object(&keys)?;
        let subject_kinds = match object.get("subject_kinds") {
            Some(_) => checked(&object, "subject_kinds", |kinds: &Vec<_>| check_kinds(kinds))?,
            None => Vec::new(),
        };
        let settings = Self {
            active_limit: object.or_default("active_limit")?,
            subject_kinds,
            default_subject_kind: object.optional("default_subject_kind")?,
        };
        settings.check_default_kind().map_err(|error| object.locate(error))?;
        Ok(settings)
    }
}

deserialize!(ActiveLimit, Settings);
