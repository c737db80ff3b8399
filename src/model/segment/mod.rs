//! Segments and their rules.

mod bounds;
mod expression;
mod number;
mod one_of;
#[cfg(feature = "regex")]
mod regex;
mod rule;
mod semver;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

pub use bounds::Bounds;
pub use expression::Expression;
pub use number::Number;
pub use one_of::OneOf;
#[cfg(feature = "regex")]
pub use regex::Regex;
pub use rule::{Condition, Rule};
pub use semver::Semver;

#[cfg(feature = "auth0")]
pub(crate) use rule::PlainRules;
pub(crate) use rule::{Nested, check_rules};
pub(crate) use semver::SemverReading;

use super::{Description, Name, Record, SegmentStatus, checked, entity, keys};
use crate::error::Error;
use crate::id::SegmentId;
use crate::json::{Cursor, FromJson, deserialize};

/// A named set of subjects, told by their attributes: those whom any of its rules matches.
///
/// A segment has at least one rule; all its rules have at most 10 KiB as compact JSON. Its name is
/// its own among all segments, archived ones included. Archived, it no longer changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    pub(crate) id: SegmentId,
    pub(crate) name: Name,
    pub(crate) description: Option<Description>,
    pub(crate) status: SegmentStatus,
    pub(crate) rules: Box<[Rule]>,
    pub(crate) record: Record,
}

entity!(Segment SegmentId);

impl Segment {
    /// Where it stands in its life.
    pub fn status(&self) -> SegmentStatus {
        self.status
    }

    /// The rules, any of which may match.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }
}

impl Serialize for Segment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("name", &self.name)?;
        if let Some(description) = &self.description {
            map.serialize_entry("description", description)?;
        }
        map.serialize_entry("status", &self.status)?;
        map.serialize_entry("rules", &self.rules)?;
        self.record.serialize_into(&mut map)?;
        map.end()
    }
}

impl FromJson for Segment {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(keys!["id", "name", "description", "status", "rules"])?;
        Ok(Self {
            id: object.read("id")?,
            name: object.read("name")?,
            description: object.optional("description")?,
            status: object.optional("status")?.unwrap_or(SegmentStatus::Active),
            rules: checked(&object, "rules", |rules: &Vec<Rule>| check_rules(rules))?.into(),
            record: Record::from_json(&object)?,
        })
    }
}

deserialize!(Segment);
