//! Lists: filters, pages and their cursors.

use std::fmt::Display;
use std::str::FromStr;

use form_urlencoded::parse;

use super::answer::Refusal;
use crate::error::{Code, Error};
use crate::json::one_of;
use crate::time::Timestamp;

/// The most entries of a page, and how many there are unless the request says so.
const MAX_TAKE: usize = 50;
const DEFAULT_TAKE: usize = 25;

/// The parameters of a list's query, each at most once.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query that has no parameters but these.
    pub(super) fn read(query: Option<&str>, known: &[&str]) -> Result<Self, Refusal> {
        let mut read: Vec<(String, String)> = Vec::new();
        for (key, value) in parse(query.unwrap_or_default().as_bytes()) {
            if !known.contains(&&*key) {
                let rule = "is no parameter of this list";
                let error = Error::new(Code::UnknownKey, rule).at_key(&key);
                return Err(Refusal::unreadable(&error));
            }
            if read.iter().any(|(earlier, _)| *earlier == key) {
                let rule = "must not be given twice";
                return Err(Error::new(Code::DuplicateKey, rule).at_key(&key).into());
            }
            read.push((key.into_owned(), value.into_owned()));
        }
        Ok(Self(read))
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| &**value)
    }

    /// A filter by text that has rules of its own.
    pub(super) fn parsed<T: FromStr<Err = Error>>(&self, key: &str) -> Result<Option<T>, Refusal> {
        self.get(key).map(|value| value.parse().map_err(|e: Error| e.at(key).into())).transpose()
    }

    /// A filter by one of a closed set of names.
    pub(super) fn one_of<T: Copy>(
        &self,
        key: &str,
        all: &[T],
        name: impl Fn(T) -> &'static str,
    ) -> Result<Option<T>, Refusal> {
        let found = self.get(key).map(|text| one_of(text, all, name)).transpose();
        found.map_err(|error| error.at(key).into())
    }

    /// Whether what is asked for is of the customer's own making, as everything here is.
    pub(super) fn asks_for_own(&self) -> Result<bool, Refusal> {
        Ok(self.one_of("type", &["self", "auth0"], |name| name)? != Some("auth0"))
    }

    /// One page of these entities, and the cursor of the next if there is one.
    ///
    /// Entities come in the order of their creation, then of their ids, neither of which changes;
    /// the cursor is the last of them. So whatever is created or deleted between two pages, what
    /// is there throughout comes once.
    pub(super) fn page<'s, T, I: Ord + Display + FromStr + 's>(
        &self,
        entities: impl Iterator<Item = &'s T>,
        key: impl Fn(&'s T) -> (Timestamp, &'s I),
    ) -> Result<(Vec<&'s T>, Option<String>), Refusal> {
        let take = match self.get("take") {
            None => DEFAULT_TAKE,
            Some(text) => read_take(text)?,
        };
        let after: Option<(Timestamp, I)> = self.get("from").map(read_cursor).transpose()?;
        let after = after.as_ref().map(|(created_at, id)| (*created_at, id));
        let mut rest: Vec<&T> =
            entities.filter(|entity| after.is_none_or(|after| key(entity) > after)).collect();
        rest.sort_unstable_by_key(|entity| key(entity));
        let more = rest.len() > take;
        rest.truncate(take);
        let last = rest.last().filter(|_| more).map(|entity| key(entity));
        Ok((rest, last.map(|(created_at, id)| print_cursor(created_at, id))))
    }
}

fn read_take(text: &str) -> Result<usize, Error> {
    let take = text.parse().ok().filter(|take| (1..=MAX_TAKE).contains(take));
    take.filter(|take| take.to_string() == text).ok_or_else(|| {
        let rule = format!("must be a whole number from 1 to {MAX_TAKE}");
        Error::invalid(rule).with_value(text).at("take")
    })
}

fn print_cursor(created_at: Timestamp, id: &impl Display) -> String {
    format!("{}.{id}", created_at.unix_millis())
}

fn read_cursor<I: Display + FromStr>(text: &str) -> Result<(Timestamp, I), Error> {
    let read = text.split_once('.').and_then(|(millis, id)| {
        let created_at = Timestamp::from_unix_millis(millis.parse().ok()?).ok()?;
        Some((created_at, id.parse().ok()?))
    });
    let whole = read.filter(|(created_at, id)| print_cursor(*created_at, id) == text);
    whole.ok_or_else(|| {
        let rule = "must be the next of a page before";
        Error::invalid(rule).with_value(text).at("from")
    })
}
