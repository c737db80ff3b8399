//! Lists: queries, pages and links.

use form_urlencoded::Serializer as QueryText;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::answer::Refusal;
pub(super) use crate::api::query::Query;

/// How many entries a page has unless the request says so.
const DEFAULT_LIMIT: usize = 20;

impl Query {
    /// The entries of a parameter that is a list, be it given once or several times.
    pub(super) fn list<'q>(&'q self, key: &'q str) -> impl Iterator<Item = &'q str> {
        let values = self.all(key).flat_map(|value| value.split(','));
        values.map(str::trim).filter(|value| !value.is_empty())
    }

    fn number(&self, key: &str, least: usize) -> Result<Option<usize>, Refusal> {
        let Some(text) = self.get(key) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| *number >= least);
        number.map(Some).ok_or_else(|| {
            Refusal::invalid(key, format!("must be a whole number from {least}; got {text:?}"))
        })
    }

    /// One page of these entities, and its links, which ask for the same otherwise; the page before
    /// and the one after have links if there are such.
    pub(super) fn page<T>(
        &self,
        entities: Vec<T>,
        path: &str,
    ) -> Result<(Vec<T>, usize, Links), Refusal> {
        let limit = self.number("limit", 1)?.unwrap_or(DEFAULT_LIMIT);
        let offset = self.number("offset", 0)?.unwrap_or(0);
        let total = entities.len();
        let asked = self.asked();
        let and = if asked.is_empty() { "" } else { "&" };
        let at = |offset: usize| format!("{path}?{asked}{and}limit={limit}&offset={offset}");
        let mut links = Links::new().and("self", at(offset));
        if offset > 0 {
            links = links.and("prev", at(offset.saturating_sub(limit)));
        }
        let end = offset.saturating_add(limit);
        if end < total {
            links = links.and("next", at(end));
        }
        Ok((entities.into_iter().skip(offset).take(limit).collect(), total, links))
    }

    /// The same, but all of these entities if the request asks for no page.
    pub(super) fn page_or_all<T>(
        &self,
        entities: Vec<T>,
        path: &str,
    ) -> Result<(Vec<T>, usize, Links), Refusal> {
        if self.get("limit").or(self.get("offset")).is_some() {
            return self.page(entities, path);
        }
        let (total, asked) = (entities.len(), self.asked());
        let mark = if asked.is_empty() { "" } else { "?" };
        Ok((entities, total, Links::new().and("self", format!("{path}{mark}{asked}"))))
    }

    /// What the request asks for beside a page, as a query.
    fn asked(&self) -> String {
        let asked = self.pairs().filter(|(name, _)| *name != "limit" && *name != "offset");
        QueryText::new(String::new()).extend_pairs(asked).finish()
    }
}

/// Where related resources are, by what they are called.
pub(super) struct Links(Vec<(&'static str, String)>);

impl Links {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn and(mut self, name: &'static str, href: impl Into<String>) -> Self {
        self.0.push((name, href.into()));
        self
    }
}

#[derive(Serialize)]
struct Link<'l> {
    href: &'l str,
    r#type: &'static str,
}

impl Serialize for Links {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, href) in &self.0 {
            map.serialize_entry(name, &Link { href, r#type: "application/json" })?;
        }
        map.end()
    }
}

/// A page of entities, as experiments and holdouts have it.
#[derive(Serialize)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) total_count: usize,
    #[serde(rename = "_links")]
    pub(super) links: Links,
}

/// A page of entities, as flags, metrics and layers have it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Counted<T> {
    pub(super) items: Vec<T>,
    pub(super) total_count: usize,
    #[serde(rename = "_links")]
    pub(super) links: Links,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_ask_for_the_same_otherwise() {
        const ASKED: &str = "filter=flagKey%3Aa%2Cstatus%3Arunning&expand=a%26b&expand=c";

        fn check(query: &str, asked: &str, expected: &[(&str, usize, usize)]) {
            let page = Query::read(Some(query)).page((0..9).collect(), "/p");
            let (_, total, Links(links)) = page.unwrap();
            let expected = expected.iter().map(|(name, limit, offset)| {
                (*name, format!("/p?{asked}limit={limit}&offset={offset}"))
            });
            assert_eq!((total, links), (9, expected.collect()), "{query}");
        }
        check("", "", &[("self", 20, 0)]);
        check(
            &format!("offset=3&{ASKED}&limit=3"),
            &format!("{ASKED}&"),
            &[("self", 3, 3), ("prev", 3, 0), ("next", 3, 6)],
        );
    }
}
