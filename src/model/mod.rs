//! What is held: the entities, their rules, and their JSON.

mod allocation;
mod analysis;
mod annotations;
mod chain;
mod document;
mod draft;
mod experiment;
mod extra;
mod flag;
mod goal;
mod holdout;
mod iteration;
mod kept;
mod layer;
mod metric;
mod parameter;
mod past;
mod rollout;
mod schedule;
mod segment;
mod settings;
mod status;
mod strategy;
mod text;

pub use allocation::Allocation;
pub use analysis::{
    Analysis, AnalysisKind, Correction, CorrectionMethod, CorrectionScope, Methodology, MetricUse,
    TestDirection,
};
pub use draft::Draft;
pub use experiment::Experiment;
pub use flag::{Config, Flag, Variation};
pub use goal::Goal;
pub use holdout::Holdout;
pub use iteration::Iteration;
pub use kept::KeptAssignment;
pub use layer::Layer;
pub use metric::{
    AnalysisType, EventDefault, Metric, MetricDefinition, MetricKind, MetricMember,
    SuccessCriteria, UnitAggregation, UrlMatch, UrlTarget,
};
pub use parameter::{Parameter, ParameterType};
pub use past::{PastIteration, Reservation, Winner};
pub use rollout::{Carryover, RolloutSlice};
pub use schedule::Stage;
#[cfg(feature = "regex")]
pub use segment::Regex;
pub use segment::{Bounds, Condition, Expression, Number, OneOf, Rule, Segment, Semver};
pub use settings::{ActiveLimit, Settings};
pub use status::{FlagStatus, SegmentStatus, Status};
pub use strategy::{HashVersion, Keep, Strategy, Weights};
pub use text::{
    AnnotationKey, ChainName, Description, Flow, Key, Maintainer, Name, Salt, SubjectKind, Tag,
    Text,
};

#[cfg(feature = "auth0")]
pub(crate) use allocation::check_strategy;
#[cfg(any(feature = "auth0", feature = "qonversion"))]
pub(crate) use allocation::percentages;
pub(crate) use allocation::{check_allocations, is_weightless, targets};
pub(crate) use analysis::{adds_none_primary, check_analysis, extends};
pub(crate) use annotations::annotated;
pub(crate) use extra::{Extra, Extras};
pub(crate) use flag::{check_count, check_variation_count};
pub(crate) use holdout::check_held;
pub(crate) use iteration::{
    Design, DesignRef, DesignRefs, Owned, Split, SplitRef, Splits, lay_out, read_partition,
};
pub(crate) use kept::{KeptEntry, check_subject_id};
pub(crate) use layer::Slots;
pub(crate) use metric::{check_definition, metric_keys};
pub(crate) use parameter::{check_overrides, check_parameters, is_deeper};
pub(crate) use past::check_previous;
pub(crate) use rollout::{Rollout, check_hash, due};
pub(crate) use schedule::{Closed, Schedule, check_levels, check_schedule, initial_traffic};
#[cfg(feature = "auth0")]
pub(crate) use segment::PlainRules;
pub(crate) use segment::{Nested, SemverReading, check_rules};
pub(crate) use settings::check_kinds;
#[cfg(feature = "auth0")]
pub(crate) use text::check_published;
pub(crate) use text::{check_tags, read_tags};

use crate::error::{Code, Error};
use crate::json::{Cursor, FromJson, Object};
use crate::time::Timestamp;

/// What every entity carries: when it was made and last changed, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) version: u64,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

impl Record {
    /// The last version, and the last sequence number of a snapshot: what every reader of JSON can
    /// hold exactly.
    pub(crate) const LAST: u64 = (1 << 53) - 1;

    pub(crate) fn new(now: Timestamp) -> Self {
        Self { version: 1, created_at: now, updated_at: now }
    }

    pub(crate) fn touch(&mut self, now: Timestamp) -> Result<(), Error> {
        self.version = next(self.version).map_err(|error| error.at("version"))?;
        self.updated_at = now;
        Ok(())
    }

    /// Checks that a change was made for this version.
    pub(crate) fn check_version(&self, if_version: Option<u64>) -> Result<(), Error> {
        match if_version {
            Some(wanted) if wanted != self.version => {
                let rule = format!("must be the present version, which is {}", self.version);
                Err(Error::new(Code::VersionConflict, rule).with_value(&wanted).at("if_version"))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn from_json(object: &Object<'_>) -> Result<Self, Error> {
        let created_at = object.optional("created_at")?.unwrap_or(Timestamp::EPOCH);
        let version = match object.get("version") {
            None => 1,
            Some(cursor) => count(cursor, 1)?,
        };
        Ok(Self {
            version,
            created_at,
            updated_at: object.optional("updated_at")?.unwrap_or(created_at),
        })
    }
}

/// What every entity can be asked.
macro_rules! entity {
    ($name:ident $id:ident) => {
        impl $name {
            /// The id.
            pub fn id(&self) -> &$id {
                &self.id
            }

            /// The name.
            pub fn name(&self) -> &crate::model::Name {
                &self.name
            }

            /// What it is about.
            pub fn description(&self) -> Option<&crate::model::Description> {
                self.description.as_ref()
            }

            /// How often it has changed, counting from 1.
            pub fn version(&self) -> u64 {
                self.record.version
            }

            /// When it was created.
            pub fn created_at(&self) -> crate::Timestamp {
                self.record.created_at
            }

            /// When it last changed.
            pub fn updated_at(&self) -> crate::Timestamp {
                self.record.updated_at
            }
        }
    };
}
pub(crate) use entity;

/// What every entity that can have a key can be asked.
macro_rules! keyed {
    ($name:ident) => {
        impl $name {
            /// What programs call it by, if it was created with one; fixed then.
            pub fn key(&self) -> Option<&crate::model::Key> {
                self.key.as_ref()
            }
        }
    };
}
pub(crate) use keyed;

/// Checks that a name is free, or the entity's own.
pub(crate) fn check_name_free(taken: Option<&str>, own: &str, name: &str) -> Result<(), Error> {
    match taken {
        Some(other) if other != own => {
            let rule = format!("must not be the name of {other}");
            Err(Error::new(Code::NameTaken, rule).with_value(name).at("name"))
        }
        _ => Ok(()),
    }
}

/// Checks that a key is free, or the entity's own.
pub(crate) fn check_key_free(taken: Option<&str>, own: &str, key: &Key) -> Result<(), Error> {
    match taken {
        Some(other) if other != own => {
            let rule = format!("must not be taken, and is the key of {other}");
            Err(Error::new(Code::AlreadyExists, rule).with_value(key).at("key"))
        }
        _ => Ok(()),
    }
}

/// Checks that an id is free.
pub(crate) fn check_id_free(taken: bool, id: &str) -> Result<(), Error> {
    match taken {
        true => {
            let rule = "must not be another's id";
            Err(Error::new(Code::AlreadyExists, rule).with_value(id).at("id"))
        }
        false => Ok(()),
    }
}

/// The number after this one, of a version or a sequence.
pub(crate) fn next(number: u64) -> Result<u64, Error> {
    if number < Record::LAST {
        return Ok(number + 1);
    }
    let rule = "must not be the last that can be counted";
    Err(Error::new(Code::LimitExceeded, rule).with_value(&number))
}

/// Reads how often something has changed.
pub(crate) fn count(cursor: Cursor<'_>, least: u64) -> Result<u64, Error> {
    match cursor.u64()? {
        number if (least..=Record::LAST).contains(&number) => Ok(number),
        other => {
            let rule = format!("must be a whole number from {least} to {}", Record::LAST);
            Err(cursor.locate(Error::invalid(rule).with_value(&other)))
        }
    }
}

/// The keys of an entity: its own and those of its [`Record`].
macro_rules! keys {
    ($($key:literal),+ $(,)?) => {
        &[$($key,)+ "version", "created_at", "updated_at"]
    };
}
pub(crate) use keys;

/// Refuses an entry whose key equals an earlier one's.
pub(crate) fn check_distinct<'t, T, K: Ord>(
    entries: &'t [T],
    key: impl Fn(&'t T) -> K,
    refuse: impl Fn(&T) -> Error,
) -> Result<(), Error> {
    let mut order: Vec<(K, usize)> = entries.iter().map(key).zip(0..).collect();
    order.sort_unstable();
    let twice = order.windows(2).filter_map(|pair| match pair {
        [(a, _), (b, later)] if a == b => Some(*later),
        _ => None,
    });
    match twice.min().and_then(|index| Some((index, entries.get(index)?))) {
        Some((index, entry)) => Err(refuse(entry).at_index(index)),
        None => Ok(()),
    }
}

/// Reads `T` and checks it, so that the error knows where it stands.
pub(crate) fn checked<T: FromJson>(
    object: &Object<'_>,
    key: &'static str,
    check: impl FnOnce(&T) -> Result<(), Error>,
) -> Result<T, Error> {
    let cursor = object.required(key)?;
    let value = cursor.read()?;
    check(&value).map_err(|error| cursor.locate(error))?;
    Ok(value)
}
