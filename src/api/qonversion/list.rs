//! Lists and their pages.

use serde::Serialize;

use super::answer::{Refusal, Reply};
pub(super) use crate::api::query::Query;

/// How many entries a page has unless the request says so.
const DEFAULT_LIMIT: usize = 20;

/// The most entries of a page.
const MAX_LIMIT: usize = 100;

/// One page of these entities, of which each is shown when it is on it.
pub(super) fn page<'e, E, S: Serialize>(
    query: &Query,
    entities: &'e [E],
    path: &str,
    id: impl Fn(&'e E) -> &'e str,
    show: impl Fn(&'e E) -> S,
) -> Result<Reply, Refusal> {
    let limit = limit(query)?;
    let after = query.get("starting_after");
    let place = after.map(|after| entities.iter().position(|own| id(own) == after));
    let start = place.flatten().map_or(0, |place| place + 1);
    let rest = entities.get(start..).unwrap_or_default();
    let shown = rest.get(..limit).unwrap_or(rest);
    let has_more = shown.len() < rest.len();
    let next_cursor = shown.last().filter(|_| has_more).map(&id);
    let data = shown.iter().map(show).collect();
    let list = List { object: "list", url: path, data, has_more, next_cursor };
    Ok(Reply::ok(&list).restarted(place == Some(None)))
}

fn limit(query: &Query) -> Result<usize, Refusal> {
    let Some(text) = query.get("limit") else { return Ok(DEFAULT_LIMIT) };
    let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| {
        let rule = format!("must be a whole number from 1 to {MAX_LIMIT}; got {text:?}");
        Refusal::invalid("limit", rule)
    })
}

/// All of these, on one page.
pub(super) fn whole<S: Serialize>(data: Vec<S>, url: &str) -> Reply {
    Reply::ok(&List { object: "list", url, data, has_more: false, next_cursor: None })
}

/// A page of entities.
#[derive(Serialize)]
struct List<'l, S> {
    object: &'static str,
    url: &'l str,
    data: Vec<S>,
    has_more: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<&'l str>,
}
