//! Exact decimals: weights and percentages. No float ever decides who gets what.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use serde_json::Number;

use crate::error::Error;
use crate::json::{Cursor, FromJson, deserialize};

/// How many millionths make one.
const ONE: u64 = 1_000_000;

/// How many decimals a number can have.
const DECIMALS: usize = 6;

/// A number below 2^64 − 1, of which an option takes no more room than it does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tight(NonZeroU64);

impl Tight {
    pub(crate) const fn new(number: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(number))
    }

    pub(crate) const fn get(self) -> u64 {
        self.0.get() - 1
    }
}

macro_rules! decimals {
    ($($(#[$meta:meta])* $name:ident 0..=$max:literal;)+) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Tight);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(Tight::new(0));

            /// One.
            pub const ONE: Self = Self(Tight::new(ONE));

            /// The most there can be.
            pub const MAX: Self = Self(Tight::new($max * ONE));

            const RULE: &'static str =
                concat!("must be a number from 0 to ", $max, " with at most 6 decimals");

            /// This many millionths.
            ///
            /// # Errors
            /// [`Code::InvalidValue`](crate::Code::InvalidValue) above [`MAX`](Self::MAX).
            pub fn from_millionths(millionths: u64) -> Result<Self, Error> {
                Self::checked(Some(millionths))
                    .ok_or_else(|| Error::invalid(Self::RULE).with_value(&print(millionths)))
            }

            /// The number in millionths, exactly.
            pub const fn millionths(self) -> u64 {
                self.0.get()
            }

            /// The float nearest to the number, for reports; decisions are made without.
            pub fn as_f64(self) -> f64 {
                to_f64(self.millionths())
            }

            /// Whether it is nothing.
            pub const fn is_zero(self) -> bool {
                self.millionths() == 0
            }

            fn checked(millionths: Option<u64>) -> Option<Self> {
                millionths.filter(|m| *m <= Self::MAX.millionths()).map(|m| Self(Tight::new(m)))
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::ZERO
            }
        }

        impl TryFrom<u32> for $name {
            type Error = Error;

            fn try_from(whole: u32) -> Result<Self, Error> {
                Self::checked(u64::from(whole).checked_mul(ONE))
                    .ok_or_else(|| Error::invalid(Self::RULE).with_value(&whole))
            }
        }

        impl TryFrom<f64> for $name {
            type Error = Error;

            /// Takes the shortest decimal that denotes this float: what the literal in the source
            /// says, not its binary neighbour.
            fn try_from(float: f64) -> Result<Self, Error> {
                Self::checked(millionths(&float.to_string()))
                    .ok_or_else(|| Error::invalid(Self::RULE).with_value(&float.to_string()))
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                Self::checked(millionths(text))
                    .ok_or_else(|| Error::invalid(Self::RULE).with_value(text))
            }
        }

        impl FromJson for $name {
            fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
                let number = cursor.number()?;
                Self::checked(number_millionths(number))
                    .ok_or_else(|| cursor.locate(Error::invalid(Self::RULE).with_value(number)))
            }
        }

        deserialize!($name);

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serialize_millionths(self.millionths(), serializer)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&print(self.millionths()))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&print(self.millionths()))
            }
        }
    )+};
}

impl From<Percentage> for Weight {
    fn from(share: Percentage) -> Self {
        Self(share.0)
    }
}

decimals! {
    /// The weight of an arm: a decimal from 0 to 1,000,000,000 with at most six decimals, held
    /// exactly.
    ///
    /// ```
    /// use variate::Weight;
    ///
    /// let third: Weight = "33.333".parse()?;
    /// assert_eq!(third.millionths(), 33_333_000);
    /// assert_eq!(third, Weight::try_from(33.333)?);
    /// assert_eq!(third.to_string(), "33.333");
    /// assert!("33.3333333".parse::<Weight>().is_err());
    /// assert!(Weight::try_from(f64::NAN).is_err());
    /// # Ok::<(), variate::Error>(())
    /// ```
    Weight 0..=1_000_000_000;

    /// A share of all subjects: a decimal from 0 to 100 with at most six decimals, held exactly.
    ///
    /// ```
    /// use variate::Percentage;
    ///
    /// assert_eq!(Percentage::try_from(12.5)?.to_string(), "12.5");
    /// assert_eq!(Percentage::MAX.to_string(), "100");
    /// assert!(Percentage::try_from(101).is_err());
    /// # Ok::<(), variate::Error>(())
    /// ```
    Percentage 0..=100;

    /// A probability: a decimal from 0 to 1 with at most six decimals, held exactly.
    ///
    /// ```
    /// use variate::Probability;
    ///
    /// assert_eq!("0.050".parse::<Probability>()?.to_string(), "0.05");
    /// assert!(Probability::try_from(5).is_err());
    /// # Ok::<(), variate::Error>(())
    /// ```
    Probability 0..=1;
}

impl Percentage {
    /// How many of the 2^32 points lie within this share: the floor, so that 100 is all of them.
    pub(crate) fn points(self) -> u64 {
        // At most 10^8 · 2^32, far below 2^64.
        (self.millionths() << 32) / Self::MAX.millionths()
    }
}

fn number_millionths(number: &Number) -> Option<u64> {
    match number.as_u64() {
        Some(whole) => whole.checked_mul(ONE),
        None => millionths(&number.as_f64()?.to_string()),
    }
}

/// Reads digits, and after a point more digits, of which those past the sixth must be zeros.
fn millionths(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let (counted, dropped) = fraction.split_at_checked(DECIMALS).unwrap_or((fraction, ""));
    if dropped.bytes().any(|b| b != b'0') {
        return None;
    }
    let counted = format!("{counted:0<DECIMALS$}");
    whole.parse::<u64>().ok()?.checked_mul(ONE)?.checked_add(counted.parse().ok()?)
}

fn print(millionths: u64) -> String {
    let text = format!("{}.{:06}", millionths / ONE, millionths % ONE);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn serialize_millionths<S: Serializer>(millionths: u64, serializer: S) -> Result<S::Ok, S::Error> {
    if millionths.is_multiple_of(ONE) {
        return serializer.serialize_u64(millionths / ONE);
    }
    // The shortest form of that double is the decimal again: it has at most 15 significant digits.
    serializer.serialize_f64(to_f64(millionths))
}

/// The double nearest to the decimal, since both operands are exact.
#[expect(clippy::cast_precision_loss, reason = "at most 10^15, below 2^53")]
fn to_f64(millionths: u64) -> f64 {
    millionths as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_decimals_and_nothing_else() {
        fn check(text: &str, expected: Option<u64>) {
            assert_eq!(millionths(text), expected, "{text:?}");
        }
        check("0", Some(0));
        check("1", Some(1_000_000));
        check("0.000001", Some(1));
        check("0.0000010", Some(1));
        check("0.0000011", None);
        check("33.333", Some(33_333_000));
        check("007", Some(7_000_000));
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e2", " 1", "1 ", "1_0", "٣", "NaN", "inf"]
        {
            check(text, None);
        }
        check("99999999999999999999", None);
    }

    #[test]
    fn an_option_of_a_tight_number_takes_no_more_room() {
        fn check<T>() {
            assert_eq!(size_of::<Option<T>>(), size_of::<T>());
        }
        check::<Tight>();
        check::<Weight>();
        check::<crate::time::Timestamp>();
        for number in [0, 1, u64::MAX - 1] {
            assert_eq!(Tight::new(number).get(), number);
        }
    }

    proptest! {
        #[test]
        fn every_weight_survives_text_and_json(millionths in 0..=Weight::MAX.millionths()) {
            let weight = Weight::from_millionths(millionths).unwrap();
            prop_assert_eq!(weight.to_string().parse::<Weight>().unwrap(), weight);
            let json = serde_json::to_string(&weight).unwrap();
            prop_assert_eq!(serde_json::from_str::<Weight>(&json).unwrap(), weight);
        }
    }
}
