//! Semantic versions that attributes are compared with.

use std::cmp::Ordering;
use std::fmt;
use std::slice;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::error::Error;
use crate::json::{Cursor, FromJson, deserialize};

/// A version after Semantic Versioning 2.0.0, that an attribute is compared with by precedence:
/// build metadata does not count there, and `4.2.0-beta.2` comes before `4.2.0`.
///
/// Equality of two of this type is that of their texts.
///
/// ```
/// use variate::Semver;
///
/// let version: Semver = "4.2.0-beta.2+b7".parse()?;
/// assert_eq!((version.major(), version.minor(), version.patch()), (4, 2, 0));
/// assert_eq!(version.prerelease(), "beta.2");
/// assert!("4.2".parse::<Semver>().is_err());
/// # Ok::<(), variate::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Semver(semver::Version);

impl Semver {
    /// The first number.
    pub fn major(&self) -> u64 {
        self.0.major
    }

    /// The second number.
    pub fn minor(&self) -> u64 {
        self.0.minor
    }

    /// The third number.
    pub fn patch(&self) -> u64 {
        self.0.patch
    }

    /// What stands between `-` and `+`; empty for a release.
    pub fn prerelease(&self) -> &str {
        &self.0.pre
    }

    /// How it stands to another by precedence.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        self.reading().order(other)
    }

    fn reading(&self) -> SemverReading<'_> {
        SemverReading {
            numbers: [self.major(), self.minor(), self.patch()],
            pre: self.prerelease(),
        }
    }
}

impl FromStr for Semver {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.parse().map(Self).map_err(|fault: semver::Error| {
            let rule = format!("must be a semantic version such as 4.2.0: {fault}");
            Error::invalid(rule).with_value(text)
        })
    }
}

impl fmt::Display for Semver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Semver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Serialize for Semver {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromJson for Semver {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        cursor.parse()
    }
}

deserialize!(Semver);

/// What counts of a version, lent by the text: parsing into the owned type allocates.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SemverReading<'t> {
    numbers: [u64; 3],
    pre: &'t str,
}

impl<'t> SemverReading<'t> {
    /// Reads what [`Semver`] reads, and nothing else.
    #[inline]
    pub(crate) fn new(text: &'t str) -> Option<Self> {
        match read_plain(text.as_bytes()) {
            Some(numbers) => Some(Self { numbers, pre: "" }),
            None => Self::read(text),
        }
    }

    fn read(text: &'t str) -> Option<Self> {
        let (text, build) = text.split_once('+').map_or((text, "0"), |(rest, build)| (rest, build));
        // A hyphen belongs to the pre-release only after the three numbers, which have none.
        let (numbers, pre) = text.split_once('-').map_or((text, None), |(n, pre)| (n, Some(pre)));
        let identifiers = |list: &str, allowed: fn(&str) -> bool| {
            list.split('.').all(|identifier| {
                let known = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
                !identifier.is_empty() && identifier.bytes().all(known) && allowed(identifier)
            })
        };
        let fits = identifiers(build, |_| true)
            && pre.is_none_or(|pre| identifiers(pre, |part| !is_numeric(part) || is_plain(part)));
        let mut parts = numbers
            .split('.')
            .map(|part| Some(part).filter(|part| is_numeric(part) && is_plain(part))?.parse().ok());
        let numbers = [parts.next()??, parts.next()??, parts.next()??];
        (fits && parts.next().is_none()).then_some(Self { numbers, pre: pre.unwrap_or_default() })
    }

    /// How this version stands to another by precedence.
    pub(crate) fn order(self, other: &Semver) -> Ordering {
        let by_pre = || match (self.pre.is_empty(), other.prerelease().is_empty()) {
            (false, false) => order_identifiers(self.pre, other.prerelease()),
            (mine, others) => mine.cmp(&others),
        };
        let [major, minor, patch] = self.numbers;
        let numbers = (major, minor, patch).cmp(&(other.major(), other.minor(), other.patch()));
        numbers.then_with(by_pre)
    }
}

/// The numbers of a version that is nothing but numbers, as most are, unless it is very long.
#[inline]
fn read_plain(text: &[u8]) -> Option<[u64; 3]> {
    // Beside two other numbers and two dots, this leaves no number more digits than a `u64` has.
    if text.len() > 20 {
        return None;
    }
    let mut bytes = text.iter();
    let (major, Some(b'.')) = read_number(&mut bytes)? else { return None };
    let (minor, Some(b'.')) = read_number(&mut bytes)? else { return None };
    let (patch, None) = read_number(&mut bytes)? else { return None };
    Some([major, minor, patch])
}

/// A number without leading zeros, and the byte after it.
#[inline]
fn read_number(bytes: &mut slice::Iter<'_, u8>) -> Option<(u64, Option<u8>)> {
    let mut number = u64::from(digit(*bytes.next()?)?);
    for byte in bytes {
        match digit(*byte) {
            // What begins with a zero is it.
            Some(_) if number == 0 => return None,
            Some(digit) => number = number * 10 + u64::from(digit),
            None => return Some((number, Some(*byte))),
        }
    }
    Some((number, None))
}

#[inline]
fn digit(byte: u8) -> Option<u8> {
    Some(byte.wrapping_sub(b'0')).filter(|digit| *digit < 10)
}

fn order_identifiers(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        let (a, b) = match (a.next(), b.next()) {
            (Some(a), Some(b)) => (a, b),
            (a, b) => return a.is_some().cmp(&b.is_some()),
        };
        let order = match (is_numeric(a), is_numeric(b)) {
            // Without leading zeros, the longer number is the larger.
            (true, true) => a.len().cmp(&b.len()).then_with(|| a.cmp(b)),
            (false, false) => a.cmp(b),
            (a, b) => b.cmp(&a),
        };
        if order.is_ne() {
            return order;
        }
    }
}

fn is_numeric(identifier: &str) -> bool {
    !identifier.is_empty() && identifier.bytes().all(|b| b.is_ascii_digit())
}

/// Whether a number has no leading zero.
fn is_plain(number: &str) -> bool {
    number == "0" || !number.starts_with('0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Texts that are versions more often than not, and barely none otherwise.
    fn text() -> impl Strategy<Value = String> {
        let number = || {
            prop_oneof![
                6 => "[0-9]",
                2 => "[0-9]{1,3}",
                1 => Just("18446744073709551615".to_owned()),
                1 => Just("18446744073709551616".to_owned()),
            ]
        };
        let part = || "[.]?[0a1-][0-9aA-]{0,2}([.][09ab-]{1,3}){0,3}[.]?";
        let tail = prop_oneof![
            2 => Just(String::new()),
            4 => part().prop_map(|part| format!("-{part}")),
            1 => part().prop_map(|part| format!("+{part}")),
            2 => (part(), part()).prop_map(|(pre, build)| format!("-{pre}+{build}")),
            1 => "[-+.0a é]{0,5}",
        ];
        let three = (number(), number(), number(), tail)
            .prop_map(|(a, b, c, tail)| format!("{a}.{b}.{c}{tail}"));
        prop_oneof![9 => three, 1 => "[0-9.+a-]{0,9}", 1 => any::<String>()]
    }

    fn check(text: &str, operand: &str) {
        let parsed = semver::Version::parse(text).ok();
        let reading = SemverReading::new(text);
        assert_eq!(reading.is_some(), parsed.is_some(), "{text:?}");
        if let (Some(reading), Some(parsed)) = (reading, parsed)
            && let Ok(operand) = operand.parse::<Semver>()
        {
            let order = parsed.cmp_precedence(&operand.0);
            assert_eq!(reading.order(&operand), order, "{text} {operand}");
        }
    }

    #[test]
    fn the_ladder_of_precedence() {
        let ladder = [
            "1.0.0-0",
            "1.0.0-2",
            "1.0.0-11",
            "1.0.0--",
            "1.0.0-2a",
            "1.0.0-A",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.1.0",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.99999999999999999999",
            "1.0.0-beta.100000000000000000000",
            "1.0.0",
            "1.0.1",
            "1.2.0",
            "1.10.0",
            "2.0.0",
        ];
        for (a, lower) in ladder.iter().enumerate() {
            for (b, higher) in ladder.iter().enumerate() {
                let operand: Semver = higher.parse().unwrap();
                let reading = SemverReading::new(lower).unwrap();
                assert_eq!(reading.order(&operand), a.cmp(&b), "{lower} {higher}");
                check(&format!("{lower}+b.001"), higher);
            }
        }
    }

    #[test]
    fn reads_no_more_than_a_version() {
        for text in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "1.2.x",
            "*",
            "01.2.3",
            "00.0.0",
            "v1.2.3",
            " 1.2.3",
            "1.2.3 ",
            "1.2.3-",
            "1.2.3+",
            "1.2.3-+b",
            "1.2.3-a+",
            "1.2.3-a..b",
            "1.2.3-01",
            "1.2.3+a+b",
            "1.2.3-é",
            "1.2.-3",
            "1.2.3+01",
            "1.2.3-0a",
            "1.2.3-a-b+-",
            "+1.2.3",
            "1.2.3.-a",
            "1.2.3-.a",
            "1+2.3.4",
            "1.2.3-00",
            "1.2.3-0",
            "\u{661}.0.0",
        ] {
            check(text, "1.2.3");
        }
    }

    proptest! {
        #[test]
        fn reads_and_orders_as_the_parser_does(text in text(), operand in text()) {
            check(&text, &operand);
        }
    }
}
