//! Numbers that attributes are compared with.

use std::cmp::Ordering;
use std::fmt;

use serde::{Serialize, Serializer};

use crate::error::Error;
use crate::json::{Cursor, FromJson, deserialize};

const RULE: &str = "must be a number that 64 bits can hold as written";

/// 2^63: the first that is too large for an `i64`.
const BEYOND: f64 = 9_223_372_036_854_775_808.0;

/// A number that an attribute is compared with: an `i64`, or a finite `f64` that is no `i64`.
///
/// Comparison is exact, with integers and floats alike.
///
/// ```
/// use variate::Number;
///
/// assert_eq!(Number::try_from(5.0)?, Number::from(5));
/// assert_eq!(serde_json::from_str::<Number>("0.25").unwrap().as_f64(), 0.25);
/// assert!(Number::try_from(f64::NAN).is_err());
/// # Ok::<(), variate::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq)]
pub struct Number(Held);

/// Each number has one form, so that equal ones print alike.
#[derive(Clone, Copy, PartialEq)]
enum Held {
    Integer(i64),
    /// Neither a whole number that an `i64` holds, nor infinite, nor NaN.
    Float(f64),
}

impl Eq for Number {}

impl Number {
    /// The number, if it is a whole one from -2^63 to 2^63 - 1.
    pub fn as_i64(self) -> Option<i64> {
        match self.0 {
            Held::Integer(integer) => Some(integer),
            Held::Float(_) => None,
        }
    }

    /// The float nearest to the number; exactly the number if [`as_i64`](Self::as_i64) is `None`.
    pub fn as_f64(self) -> f64 {
        match self.0 {
            #[expect(clippy::cast_precision_loss, reason = "the nearest is asked for")]
            Held::Integer(integer) => integer as f64,
            Held::Float(float) => float,
        }
    }

    /// How an integer stands to this number.
    pub(crate) fn order_of_integer(self, integer: i128) -> Ordering {
        match self.0 {
            Held::Integer(own) => integer.cmp(&own.into()),
            Held::Float(own) => order(own, integer).reverse(),
        }
    }

    /// How a float that is not NaN stands to this number.
    pub(crate) fn order_of_float(self, float: f64) -> Ordering {
        match self.0 {
            Held::Integer(own) => order(float, own.into()),
            Held::Float(own) => float.partial_cmp(&own).unwrap_or(Ordering::Equal),
        }
    }
}

/// How a float that is not NaN stands to an integer, without rounding either.
fn order(float: f64, integer: i128) -> Ordering {
    // The cast stops at what an `i128` holds, which lies far beyond any integer that comes here.
    #[expect(clippy::cast_possible_truncation, reason = "what is whole is cut off first")]
    let whole = float.trunc() as i128;
    let rest = float.fract().partial_cmp(&0.0).unwrap_or(Ordering::Equal);
    whole.cmp(&integer).then(rest)
}

/// The integer that a float is.
fn to_i64(float: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and in range")]
    let integer = || float as i64;
    ((-BEYOND..BEYOND).contains(&float) && float.fract() == 0.0).then(integer)
}

impl TryFrom<f64> for Number {
    type Error = Error;

    /// # Errors
    /// [`Code::InvalidValue`](crate::Code::InvalidValue) for what is infinite or NaN.
    fn try_from(float: f64) -> Result<Self, Error> {
        match to_i64(float) {
            Some(integer) => Ok(integer.into()),
            None if float.is_finite() => Ok(Self(Held::Float(float))),
            None => Err(Error::invalid("must be a finite number").with_value(&float.to_string())),
        }
    }
}

macro_rules! integers {
    ($($integer:ty)+) => {$(
        impl From<$integer> for Number {
            fn from(integer: $integer) -> Self {
                Self(Held::Integer(integer.into()))
            }
        }
    )+};
}

integers!(i8 i16 i32 i64 u8 u16 u32);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Held::Integer(integer) => fmt::Display::fmt(&integer, f),
            Held::Float(float) => fmt::Display::fmt(&float, f),
        }
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Held::Integer(integer) => serializer.serialize_i64(integer),
            Held::Float(float) => serializer.serialize_f64(float),
        }
    }
}

impl FromJson for Number {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let number = cursor.number()?;
        let held = match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Some(integer.into()),
            (None, Some(large)) => exact(large),
            (None, None) => number.as_f64().and_then(|float| Self::try_from(float).ok()),
        };
        held.ok_or_else(|| cursor.locate(Error::invalid(RULE).with_value(number)))
    }
}

/// A number beyond an `i64`, if a float is exactly that.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "what comes back is compared"
)]
fn exact(large: u64) -> Option<Number> {
    let float = large as f64;
    // Of twice as many bits, since the nearest can be 2^64.
    (float as u128 == u128::from(large)).then_some(Number(Held::Float(float)))
}

deserialize!(Number);
