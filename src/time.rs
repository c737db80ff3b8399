//! Points in time, and where they come from.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::Error;
use crate::json::{Cursor, FromJson, deserialize};
use crate::number::Tight;

/// A moment in UTC with millisecond resolution, in the years 0000 to 9999.
///
/// As text and in JSON it is an RFC 3339 date-time. It is printed in UTC with three decimals. It
/// is read with any offset, a capital `T` and `Z`, and any number of decimals, of which those past
/// the third are dropped.
///
/// ```
/// use variate::Timestamp;
///
/// let noon: Timestamp = "2026-11-21T13:00:00.25+01:00".parse()?;
/// assert_eq!(noon.to_string(), "2026-11-21T12:00:00.250Z");
/// assert_eq!(noon.unix_millis(), 1_795_262_400_250);
/// assert!("2026-11-21 12:00:00Z".parse::<Timestamp>().is_err());
/// # Ok::<(), variate::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(
    /// Milliseconds since the first.
    Tight,
);

impl Timestamp {
    /// 1970-01-01T00:00:00Z; in a document, what stands for a time that nobody wrote down.
    pub const EPOCH: Self = Self::of(0);

    /// The first: 0000-01-01T00:00:00Z.
    pub const MIN: Self = Self(Tight::new(0));

    /// The last: 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self::of(253_402_300_799_999);

    /// The first, in milliseconds after the Unix epoch.
    const FIRST: i64 = -62_167_219_200_000;

    /// The moment this many milliseconds after the Unix epoch.
    ///
    /// # Errors
    /// [`Code::InvalidValue`](crate::Code::InvalidValue) outside [`MIN`](Self::MIN) to
    /// [`MAX`](Self::MAX).
    pub fn from_unix_millis(millis: i64) -> Result<Self, Error> {
        Self::checked(millis)
            .ok_or_else(|| Error::invalid("must lie in the years 0000 to 9999").with_value(&millis))
    }

    /// The moment this many milliseconds after the Unix epoch, or the first if that comes later.
    const fn of(millis: i64) -> Self {
        let before = Self::FIRST.saturating_sub(millis);
        Self(Tight::new(if before < 0 { before.unsigned_abs() } else { 0 }))
    }

    fn checked(millis: i64) -> Option<Self> {
        let range = Self::FIRST..=Self::MAX.unix_millis();
        range.contains(&millis).then_some(Self::of(millis))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn unix_millis(self) -> i64 {
        Self::FIRST.saturating_add_unsigned(self.0.get())
    }

    /// The system's clock, cut to what can be held.
    pub fn now() -> Self {
        let millis = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |m| -m),
        };
        Self::of(millis.min(Self::MAX.unix_millis()))
    }

    /// Reads a text as [`from_str`](Self::from_str) does, and allocates nothing.
    pub(crate) fn read(text: &str) -> Option<Self> {
        // The parser also takes a space or lower case here, which RFC 3339 only tolerates.
        if text.as_bytes().get(10) != Some(&b'T') || text.ends_with('z') {
            return None;
        }
        let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        let millis = moment.unix_timestamp() * 1_000 + i64::from(moment.millisecond());
        Self::checked(millis)
    }
}

impl Default for Timestamp {
    fn default() -> Self {
        Self::EPOCH
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::read(text).ok_or_else(|| {
            Error::invalid("must be an RFC 3339 date-time such as 2026-11-21T12:00:00Z")
                .with_value(text)
        })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.unix_millis().div_euclid(1_000);
        let millis = self.unix_millis().rem_euclid(1_000);
        // Every Timestamp is in range by construction.
        let moment =
            OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (year, month, day) = moment.to_calendar_date();
        let (hour, minute, second) = moment.to_hms();
        let month = u8::from(month);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromJson for Timestamp {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        cursor.parse()
    }
}

deserialize!(Timestamp);

/// Where an [`Engine`](crate::Engine) reads the time, and for a [`Subject`](crate::Subject) an
/// experiment with a schedule. Any closure that returns a [`Timestamp`] is one, and a [`Timestamp`]
/// itself, which stands still.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;
}

impl<F: Fn() -> Timestamp + Send + Sync> Clock for F {
    fn now(&self) -> Timestamp {
        self()
    }
}

impl Clock for Timestamp {
    fn now(&self) -> Timestamp {
        *self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_rfc_3339_strictly() {
        fn check(text: &str, expected: Option<&str>) {
            let read = text.parse::<Timestamp>().ok().map(|t| t.to_string());
            assert_eq!(read.as_deref(), expected, "{text:?}");
        }
        check("2026-11-21T12:00:00Z", Some("2026-11-21T12:00:00.000Z"));
        check("2026-11-21T12:00:00.1239999Z", Some("2026-11-21T12:00:00.123Z"));
        check("1969-12-31T23:59:59.9999Z", Some("1969-12-31T23:59:59.999Z"));
        check("2026-11-21T23:30:00-01:00", Some("2026-11-22T00:30:00.000Z"));
        check("0000-01-01T00:00:00Z", Some("0000-01-01T00:00:00.000Z"));
        check("9999-12-31T23:59:59.999Z", Some("9999-12-31T23:59:59.999Z"));
        for text in [
            "",
            "2026-11-21",
            "2026-11-21T12:00Z",
            "2026-11-21T12:00:00",
            "2026-11-21 12:00:00Z",
            "2026-11-21t12:00:00Z",
            "2026-11-21T12:00:00z",
            "2026-11-21T12:00:00+0100",
            "2026-11-21T12:00:00,5Z",
            "2026-13-01T00:00:00Z",
            "2026-02-30T00:00:00Z",
            "2026-11-21T24:00:00Z",
            "0000-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
            "20261121T120000Z",
            " 2026-11-21T12:00:00Z",
        ] {
            check(text, None);
        }
    }

    proptest! {
        #[test]
        fn every_timestamp_survives_text(millis in Timestamp::FIRST..=Timestamp::MAX.unix_millis()) {
            let timestamp = Timestamp::from_unix_millis(millis).unwrap();
            prop_assert_eq!(timestamp.to_string().parse::<Timestamp>().unwrap(), timestamp);
        }
    }
}
