//! What a number, a version or a date is compared with.

use std::cmp::Ordering;
use std::ops::{Bound, Range, RangeFrom, RangeInclusive, RangeTo, RangeToInclusive};

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::error::Error;
use crate::json::{Cursor, FromJson};

/// Where the value of an attribute must lie: at one value, or between bounds.
///
/// In JSON an object: `eq` alone, or a lower bound, `gt` or `gte`, or an upper one, `lt` or `lte`,
/// or one of each. Rust's ranges are turned into bounds:
///
/// ```
/// use std::ops::Bound;
/// use variate::{Bounds, Expression, Number, Rule};
///
/// let adult = Expression::number(18..65);
/// let json = r#"{"match": {"age": {"number": {"gte": 18, "lt": 65}}}}"#;
/// assert_eq!(serde_json::from_str::<Rule>(json)?, Rule::new().when("age", adult));
///
/// let above = Bounds::from((Bound::Excluded(3), Bound::Unbounded));
/// assert_eq!(above, Bounds::Between(Bound::Excluded(Number::from(3)), Bound::Unbounded));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no other way to compare")]
pub enum Bounds<T> {
    /// Between a lower and an upper bound, at least one of which is not
    /// [`Unbounded`](Bound::Unbounded).
    Between(Bound<T>, Bound<T>),
    /// Equal to this.
    Equal(T),
}

impl<T> Bounds<T> {
    /// Whether a value lies there, told by how it stands to each bound.
    pub(crate) fn admit(&self, order: impl Fn(&T) -> Ordering) -> bool {
        match self {
            Self::Equal(value) => order(value).is_eq(),
            Self::Between(lower, upper) => {
                let above = match lower {
                    Bound::Excluded(least) => order(least).is_gt(),
                    Bound::Included(least) => order(least).is_ge(),
                    Bound::Unbounded => true,
                };
                above
                    && match upper {
                        Bound::Excluded(most) => order(most).is_lt(),
                        Bound::Included(most) => order(most).is_le(),
                        Bound::Unbounded => true,
                    }
            }
        }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        match self {
            Self::Between(Bound::Unbounded, Bound::Unbounded) => Err(unbounded()),
            _ => Ok(()),
        }
    }
}

fn unbounded() -> Error {
    Error::invalid("must have one of eq, gt, gte, lt, lte")
}

impl<N: Into<T>, T> From<(Bound<N>, Bound<N>)> for Bounds<T> {
    fn from((lower, upper): (Bound<N>, Bound<N>)) -> Self {
        Self::Between(lower.map(Into::into), upper.map(Into::into))
    }
}

impl<N: Into<T>, T> From<Range<N>> for Bounds<T> {
    fn from(range: Range<N>) -> Self {
        (Bound::Included(range.start), Bound::Excluded(range.end)).into()
    }
}

impl<N: Into<T>, T> From<RangeFrom<N>> for Bounds<T> {
    fn from(range: RangeFrom<N>) -> Self {
        (Bound::Included(range.start), Bound::Unbounded).into()
    }
}

impl<N: Into<T>, T> From<RangeInclusive<N>> for Bounds<T> {
    fn from(range: RangeInclusive<N>) -> Self {
        let (start, end) = range.into_inner();
        (Bound::Included(start), Bound::Included(end)).into()
    }
}

impl<N: Into<T>, T> From<RangeTo<N>> for Bounds<T> {
    fn from(range: RangeTo<N>) -> Self {
        (Bound::Unbounded, Bound::Excluded(range.end)).into()
    }
}

impl<N: Into<T>, T> From<RangeToInclusive<N>> for Bounds<T> {
    fn from(range: RangeToInclusive<N>) -> Self {
        (Bound::Unbounded, Bound::Included(range.end)).into()
    }
}

impl<T: Serialize> Serialize for Bounds<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Equal(value) => map.serialize_entry("eq", value)?,
            Self::Between(lower, upper) => {
                match lower {
                    Bound::Excluded(least) => map.serialize_entry("gt", least)?,
                    Bound::Included(least) => map.serialize_entry("gte", least)?,
                    Bound::Unbounded => {}
                }
                match upper {
                    Bound::Excluded(most) => map.serialize_entry("lt", most)?,
                    Bound::Included(most) => map.serialize_entry("lte", most)?,
                    Bound::Unbounded => {}
                }
            }
        }
        map.end()
    }
}

impl<T: FromJson> FromJson for Bounds<T> {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(&["eq", "gt", "gte", "lt", "lte"])?;
        let bound = |open, closed| match (object.optional(open)?, object.optional(closed)?) {
            (None, None) => Ok(Bound::Unbounded),
            (Some(value), None) => Ok(Bound::Excluded(value)),
            (None, Some(value)) => Ok(Bound::Included(value)),
            (Some(_), Some(_)) => {
                let rule = format!("must not have both {open} and {closed}");
                Err(cursor.locate(Error::invalid(rule)))
            }
        };
        match (object.optional("eq")?, bound("gt", "gte")?, bound("lt", "lte")?) {
            (Some(value), Bound::Unbounded, Bound::Unbounded) => Ok(Self::Equal(value)),
            (Some(_), ..) => Err(cursor.locate(Error::invalid("must have eq alone"))),
            (None, Bound::Unbounded, Bound::Unbounded) => Err(cursor.locate(unbounded())),
            (None, lower, upper) => Ok(Self::Between(lower, upper)),
        }
    }
}
