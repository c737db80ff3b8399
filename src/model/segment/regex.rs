//! Regular expressions that are compiled when they are written.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use regex_automata::Input;
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::syntax;
use serde::{Serialize, Serializer};

use crate::error::{Code, Error};
use crate::json::{Cursor, FromJson, deserialize};

/// The longest pattern, in characters.
const MAX_PATTERN: usize = 1024;

/// The largest automaton, in bytes.
const MAX_COMPILED: usize = 1 << 20;

/// What compiling may take beside, in bytes.
const MAX_COMPILING: usize = 2 << 20;

/// A regular expression: 1 to 1024 characters in the syntax of the crate `regex`, found anywhere in
/// a text unless anchored with `^` and `$`.
///
/// It is compiled when it is written, to at most 1 MiB: a table that a search follows from byte to
/// byte. So a search takes one step for each byte, whatever the pattern and the text, and allocates
/// nothing. Word boundaries must be those of ASCII, `(?-u:\b)`, since those of Unicode have no such
/// table. Clones share the table.
///
/// ```
/// use variate::{Expression, Regex, Rule};
///
/// let fours: Regex = r"^4\.[0-9]+".parse()?;
/// assert!(fours.is_match("4.12.0"));
/// let rule = Rule::new().when("app", Expression::Regex(fours));
/// assert!(!rule.holds(&[("app", "14.0")]));
/// assert!("(a".parse::<Regex>().is_err());
/// # Ok::<(), variate::Error>(())
/// ```
#[derive(Clone)]
pub struct Regex(Arc<Compiled>);

struct Compiled {
    pattern: Box<str>,
    table: dense::DFA<Vec<u32>>,
}

impl Regex {
    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0.pattern
    }

    /// Whether it is found in a text.
    pub fn is_match(&self, text: &str) -> bool {
        // A search fails only on bytes at which a table gives up, and this one has none.
        let found = self.0.table.try_search_fwd(&Input::new(text).earliest(true));
        found.is_ok_and(|end| end.is_some())
    }
}

impl FromStr for Regex {
    type Err = Error;

    /// # Errors
    /// [`Code::InvalidValue`] for what is no regular expression, is too short or too long, or has
    /// word boundaries of Unicode; [`Code::LimitExceeded`] for what is too large when compiled.
    fn from_str(pattern: &str) -> Result<Self, Error> {
        Self::within(pattern, MAX_COMPILED)
    }
}

impl Regex {
    /// Compiles a pattern to at most this many bytes.
    fn within(pattern: &str, most: usize) -> Result<Self, Error> {
        let length = pattern.chars().take(MAX_PATTERN + 1).count();
        if !(1..=MAX_PATTERN).contains(&length) {
            let rule = format!("must have 1 to {MAX_PATTERN} characters");
            return Err(Error::invalid(rule).with_value(pattern));
        }
        let table = compile(pattern, most).map_err(|error| error.with_value(pattern))?;
        Ok(Self(Arc::new(Compiled { pattern: pattern.into(), table })))
    }
}

fn compile(pattern: &str, most: usize) -> Result<dense::DFA<Vec<u32>>, Error> {
    let syntax = syntax::parse(pattern).map_err(|fault| {
        // It comes as a picture of the pattern, which ends with what is wrong.
        let text = fault.to_string();
        let why = text.lines().last().unwrap_or_default();
        let why = why.strip_prefix("error: ").unwrap_or(why);
        Error::invalid(format!("must be a regular expression: {why}"))
    })?;
    let too_large = || {
        let rule = format!("must be simpler: it must take at most {most} bytes when compiled");
        Error::new(Code::LimitExceeded, rule)
    };
    let config =
        thompson::Config::new().nfa_size_limit(Some(most)).which_captures(WhichCaptures::None);
    let states = thompson::Compiler::new().configure(config).build_from_hir(&syntax);
    let config = dense::Config::new()
        .start_kind(StartKind::Unanchored)
        .accelerate(false)
        .dfa_size_limit(Some(most))
        .determinize_size_limit(Some(MAX_COMPILING));
    let table =
        dense::Builder::new().configure(config).build_from_nfa(&states.map_err(|_| too_large())?);
    table.map_err(|fault| match fault.is_size_limit_exceeded() {
        true => too_large(),
        false => Error::invalid(
            r"must not have word boundaries of Unicode; those of ASCII are written (?-u:\b)",
        ),
    })
}

impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Regex {}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Regex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl FromJson for Regex {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let left = cursor.patterns();
        let most = left.get().min(MAX_COMPILED);
        let regex = Self::within(cursor.str()?, most).map_err(|error| cursor.locate(error))?;
        left.set(left.get().saturating_sub(regex.0.table.memory_usage()));
        Ok(regex)
    }
}

deserialize!(Regex);
