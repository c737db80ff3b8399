//! Strict reading of JSON: one way in for every type of the crate.
//!
//! serde's derived readers take an array for an object, the last of two equal keys, and an absent
//! member for a `null` one. So the crate's types are read in two steps: serde fills a [`Node`],
//! which keeps what was written and refuses what is ambiguous, and [`FromJson`] takes it apart
//! through a [`Cursor`], which knows the JSON path for the error.

mod cursor;
mod exact;
mod node;

use std::cell::Cell;

use serde::de::{self, Deserializer};

#[cfg(any(feature = "auth0", feature = "launchdarkly"))]
pub(crate) use cursor::one_of;
pub(crate) use cursor::{Cursor, Object};

use crate::error::{Code, Error};
use crate::id::{ExperimentId, FlagId, HoldoutId, LayerId, MetricId, SegmentId, VariationId};
use exact::find_inexact;
use node::Reading;

/// How much JSON is read before it is refused, so that hostile text costs bounded time and memory.
///
/// ```
/// use variate::{Limits, Snapshot};
///
/// let tight = Limits { bytes: 1 << 10, ..Limits::DEFAULT };
/// let long = format!("{{{}}}", " ".repeat(2_000));
/// let error = Snapshot::from_json_within(long, &tight).unwrap_err();
/// assert_eq!(error.to_string(), "must have at most 1024 bytes; got 2002");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "callers fill in what they want with `..DEFAULT`")]
pub struct Limits {
    /// The longest text, in bytes.
    pub bytes: usize,
    /// The deepest nesting of arrays and objects; above 120 the parser's own bound takes over.
    pub depth: usize,
    /// The most values in all: each literal, array and object is one.
    pub values: usize,
    /// The most bytes that the regular expressions take when compiled, all of them together.
    pub patterns: usize,
}

impl Limits {
    /// 64 MiB, 64 levels, 8 Mi values, and 64 MiB of regular expressions.
    pub const DEFAULT: Self =
        Self { bytes: 64 << 20, depth: 64, values: 8 << 20, patterns: 64 << 20 };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What can be read from JSON, whole and valid or not at all.
pub(crate) trait FromJson: Sized {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error>;
}

/// Reads a `T` from JSON text.
pub(crate) fn read<T: FromJson>(json: &[u8], limits: &Limits) -> Result<T, Error> {
    read_with(json, limits, T::from_json)
}

/// Reads JSON text by a rule that the type alone does not give.
pub(crate) fn read_with<T>(
    json: &[u8],
    limits: &Limits,
    rule: impl FnOnce(Cursor<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    if json.len() > limits.bytes {
        let rule = format!("must have at most {} bytes", limits.bytes);
        return Err(Error::new(Code::InvalidJson, rule).with_value(&json.len()));
    }
    let text = std::str::from_utf8(json).map_err(|fault| {
        let rule = format!("must be UTF-8, which ends at byte {}", fault.valid_up_to());
        Error::new(Code::InvalidJson, rule)
    })?;
    let node = Reading::new(limits).parse(text)?;
    find_inexact(text, &node)?;
    rule(Cursor::root(&node, &Cell::new(limits.patterns)))
}

/// Reads a `T` from any self-describing serde format.
pub(crate) fn from_serde<'de, T: FromJson, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    let node = Reading::new(&Limits::DEFAULT).fill(from)?;
    let patterns = Cell::new(Limits::DEFAULT.patterns);
    T::from_json(Cursor::root(&node, &patterns)).map_err(de::Error::custom)
}

/// Implements serde's `Deserialize` by way of [`FromJson`].
macro_rules! deserialize {
    ($($name:ty),+ $(,)?) => {$(
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                crate::json::from_serde(from)
            }
        }
    )+};
}
pub(crate) use deserialize;

impl FromJson for bool {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        cursor.bool()
    }
}

impl FromJson for u64 {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        cursor.u64()
    }
}

impl FromJson for u32 {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let number = cursor.u64()?;
        number.try_into().map_err(|_| cursor.wrong_type("a whole number from 0 to 4294967295"))
    }
}

/// Ids, which are read as they are written in text.
macro_rules! from_text {
    ($($name:ty),+) => {$(
        impl FromJson for $name {
            fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
                cursor.parse()
            }
        }

        deserialize!($name);
    )+};
}

from_text!(ExperimentId, FlagId, HoldoutId, LayerId, SegmentId, VariationId, MetricId);

impl FromJson for String {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        cursor.str().map(str::to_owned)
    }
}

impl<T: FromJson> FromJson for Vec<T> {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        cursor.array(|item| item.read())
    }
}
