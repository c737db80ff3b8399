//! How each engine spells what an assignment is made of.

use std::fmt::Write;

use crate::error::{Error, codes};
use crate::model::Number;
use crate::time::Timestamp;

codes! {
    /// An engine's SQL, for [`Snapshot::sql`](crate::Snapshot::sql).
    ///
    /// The tests run the expressions of ClickHouse and Spark in these engines and compare every row
    /// with what this crate assigns. They have no Trino: its expressions are run in another engine,
    /// with Trino's functions written after its documentation.
    #[non_exhaustive]
    pub enum Dialect {
        /// ClickHouse.
        ClickHouse = "clickhouse",
        /// Spark, from 3.3 on, which is the first to have `contains`, `startswith` and `endswith`.
        Spark = "spark",
        /// Trino.
        Trino = "trino",
    }
}

/// What Spark's `xxhash64`, whose seed is 42, hashes to 0. Its arguments are chained: each is hashed
/// with the hash of those before it as the seed, so that what follows this one is hashed with 0.
const SPARK_ZERO: &str = "-365884300664092260L";

impl Dialect {
    /// A text that the engine takes for what it is, whatever its settings: in quotes if no engine
    /// has a meaning for any of its characters, as hex if not.
    pub(super) fn text(self, text: &str) -> String {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b" _-.:/@+,".contains(&b);
        if text.bytes().all(plain) {
            return format!("'{text}'");
        }
        let hex = text.bytes().fold(String::new(), |mut hex, byte| {
            // Writing to a string does not fail.
            let _ = write!(hex, "{byte:02X}");
            hex
        });
        match self {
            Self::ClickHouse => format!("unhex('{hex}')"),
            Self::Spark => format!("CAST(X'{hex}' AS STRING)"),
            Self::Trino => format!("from_utf8(X'{hex}')"),
        }
    }

    /// A number: for the engines that compare a float with an integer as floats, a float.
    pub(super) fn number(self, number: Number) -> String {
        // With its exponent, where a float has many zeros.
        let float = || format!("{:?}", number.as_f64());
        let number = number.as_i64().map_or_else(float, |integer| integer.to_string());
        match self {
            Self::ClickHouse => number,
            Self::Spark => format!("{number}D"),
            Self::Trino => format!("DOUBLE '{number}'"),
        }
    }

    /// A moment, whatever the time zone of the session.
    pub(super) fn moment(self, moment: Timestamp) -> String {
        let millis = moment.unix_millis();
        match self {
            Self::ClickHouse => format!("fromUnixTimestamp64Milli(toInt64({millis}))"),
            Self::Spark => format!("timestamp_millis({millis})"),
            Self::Trino => {
                let text = moment.to_string().replace('T', " ").replace('Z', " UTC");
                format!("TIMESTAMP '{text}'")
            }
        }
    }

    /// A column by its name, quoted.
    pub(super) fn column(self, name: &str) -> Result<String, Error> {
        let refuse = |rule: &'static str| Err(Error::invalid(rule).with_value(name));
        if name.is_empty() {
            return refuse("must have at least one character");
        }
        if name.contains(char::is_control) {
            return refuse("must not have control characters");
        }
        if self == Self::Spark && name.contains("${") {
            return refuse("must not have ${, which Spark replaces wherever it stands");
        }
        Ok(match self {
            Self::ClickHouse => format!("`{}`", name.replace('\\', r"\\").replace('`', r"\`")),
            Self::Spark => format!("`{}`", name.replace('`', "``")),
            Self::Trino => format!("\"{}\"", name.replace('"', "\"\"")),
        })
    }

    /// A column's value as text.
    pub(super) fn as_text(self, column: &str) -> String {
        match self {
            Self::ClickHouse => format!("toString({column})"),
            Self::Spark => format!("CAST({column} AS STRING)"),
            Self::Trino => format!("CAST({column} AS varchar)"),
        }
    }

    /// The point of a subject in a draw: a whole number from 0 to 2^32 - 1.
    pub(super) fn point(self, id: &str, seed: u64) -> String {
        let signed = seed.cast_signed();
        match self {
            // The eight bytes of a number are its little-endian ones.
            Self::ClickHouse => format!(
                "bitShiftRight(xxHash64(reinterpretAsFixedString(\
                 bitXor(xxHash64({id}), toUInt64({seed})))), 32)"
            ),
            Self::Spark => format!(
                "shiftrightunsigned(xxhash64({SPARK_ZERO}, \
                 xxhash64({SPARK_ZERO}, {id}) ^ {signed}L), 32)"
            ),
            // The smallest number is none as a literal, since its sign is read apart.
            Self::Trino => format!(
                "bitwise_right_shift(from_big_endian_64(xxhash64(reverse(to_big_endian_64(\
                 bitwise_xor(from_big_endian_64(xxhash64(to_utf8({id}))), BIGINT '{signed}'))))), 32)"
            ),
        }
    }

    /// The point of a subject under a salt of LaunchDarkly's: a whole number from 0 to 2^60 - 1.
    #[cfg(feature = "launchdarkly")]
    pub(super) fn sha1_point(self, id: &str, salt: &str) -> String {
        let salt = self.text(&format!("{salt}."));
        match self {
            // A number's bytes are read as little-endian ones.
            Self::ClickHouse => format!(
                "bitShiftRight(reinterpretAsUInt64(reverse(substring(\
                 SHA1(concat({salt}, {id})), 1, 8))), 4)"
            ),
            Self::Spark => {
                format!("CAST(conv(substr(sha1(concat({salt}, {id})), 1, 15), 16, 10) AS BIGINT)")
            }
            Self::Trino => format!(
                "bitwise_right_shift(from_big_endian_64(substr(\
                 sha1(to_utf8(concat({salt}, {id}))), 1, 8)), 4)"
            ),
        }
    }

    pub(super) fn contains(self, column: &str, part: &str) -> String {
        let text = self.text(part);
        match self {
            Self::ClickHouse => format!("position({column}, {text}) > 0"),
            Self::Spark => format!("contains({column}, {text})"),
            Self::Trino => format!("strpos({column}, {text}) > 0"),
        }
    }

    pub(super) fn starts_with(self, column: &str, start: &str) -> String {
        let text = self.text(start);
        match self {
            Self::ClickHouse => format!("startsWith({column}, {text})"),
            Self::Spark => format!("startswith({column}, {text})"),
            Self::Trino => format!("starts_with({column}, {text})"),
        }
    }

    pub(super) fn ends_with(self, column: &str, end: &str) -> String {
        let text = self.text(end);
        match self {
            Self::ClickHouse => format!("endsWith({column}, {text})"),
            Self::Spark => format!("endswith({column}, {text})"),
            // What is cut off 0 characters from the end is empty, and so ends everything.
            Self::Trino => format!("substr({column}, -{}) = {text}", end.chars().count()),
        }
    }
}
