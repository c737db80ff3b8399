//! Paging: whatever is created, deleted or archived between the pages of a list, what was there and
//! matched throughout is seen exactly once, and nothing twice; also when the clock stands still or
//! goes back, and when the entity that a cursor was made from is gone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use proptest::prelude::*;
use serde_json::{Value, json};
use variate::{Engine, Timestamp};

use crate::support::{Api, Dice, GENERATIONS, spread, world};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Experiments,
    Flags,
    Segments,
}

impl Kind {
    fn path(self) -> &'static str {
        match self {
            Self::Experiments => "/experiments",
            Self::Flags => "/feature-flags",
            Self::Segments => "/segments",
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Experiments => "experiments",
            Self::Flags => "feature_flags",
            Self::Segments => "segments",
        }
    }

    fn filters(self) -> &'static [&'static str] {
        match self {
            Self::Experiments => &[
                "",
                "status=draft",
                "status=archived",
                "authentication_flow=authentication",
                "feature_flag_id=flg_other",
                "status=draft&authentication_flow=all",
            ],
            Self::Flags => &["", "status=draft", "status=archived", "type=self"],
            Self::Segments => &["", "type=self"],
        }
    }
}

/// A list under test, and a clock that goes where it is told.
struct Lab {
    api: Api,
    kind: Kind,
    filter: &'static str,
    clock: Arc<AtomicI64>,
    made: u32,
    /// Every id there is, with what filters look at.
    held: Vec<(String, Value)>,
}

impl Lab {
    fn new(kind: Kind, dice: &mut Dice) -> Self {
        let snapshot = world();
        let clock = Arc::new(AtomicI64::new(snapshot.updated_at().unix_millis()));
        let now = Arc::clone(&clock);
        let mut ids = dice.clone();
        let engine = Engine::with(
            snapshot,
            move || Timestamp::from_unix_millis(now.load(Ordering::Relaxed)).unwrap(),
            move || spread(ids.roll()),
        );
        let api = Api::on(engine, GENERATIONS[dice.below(2)]);
        let filter = dice.pick(kind.filters());
        let mut lab = Self { api, kind, filter, clock, made: 0, held: Vec::new() };
        lab.held = lab.list_held();
        lab
    }

    /// What the world begins with, by other means than the list.
    fn list_held(&self) -> Vec<(String, Value)> {
        let snapshot = self.api.engine().snapshot();
        let ids: Vec<String> = match self.kind {
            Kind::Experiments => snapshot.experiments().map(|e| e.id().to_string()).collect(),
            Kind::Flags => snapshot.flags().map(|flag| flag.id().to_string()).collect(),
            Kind::Segments => snapshot.segments().map(|segment| segment.id().to_string()).collect(),
        };
        let path = self.kind.path();
        let shown = |id: String| {
            let entity = self.api.get(&format!("{path}/{id}")).ok();
            (id, entity)
        };
        ids.into_iter().map(shown).collect()
    }

    fn matches(&self, entity: &Value) -> bool {
        let mut filters = self.filter.split('&').filter(|filter| !filter.is_empty());
        let hides = self.kind != Kind::Segments && !self.filter.contains("status=");
        (!hides || entity["status"] != "archived")
            && filters.all(|filter| {
                let (key, value) = filter.split_once('=').unwrap();
                entity[key] == value
            })
    }

    fn matching(&self) -> BTreeSet<String> {
        let matching = self.held.iter().filter(|(_, entity)| self.matches(entity));
        matching.map(|(id, _)| id.clone()).collect()
    }

    fn create(&mut self, dice: &mut Dice) {
        self.made += 1;
        let name = format!("Number {}", self.made);
        let body = match self.kind {
            Kind::Experiments => {
                let (flag, arm) = *dice.pick(&[("flg_signin", "var_a"), ("flg_other", "var_x")]);
                json!({
                    "name": name, "feature_flag_id": flag,
                    "authentication_flow": dice.pick(&["authentication", "all"]),
                    "allocation_strategy": "percentage",
                    "assignment_config": {"subject": "device"},
                    "allocations": [{"variation_id": arm, "weight": 100, "is_control": true}]
                })
            }
            Kind::Flags => {
                json!({"name": name, "parameters": {"a": {"type": "number", "value": 1}}})
            }
            Kind::Segments => json!({"name": name, "rules": [{"match": {"a": ["b"]}}]}),
        };
        self.clock.fetch_add(*dice.pick(&[0, 0, 0, 0, 1, 1, 1_000, -1, -2_000]), Ordering::Relaxed);
        let made = self.api.post(self.kind.path(), &body).ok();
        self.held.push((made["id"].as_str().unwrap().to_owned(), made));
    }

    /// Deletes or archives one, perhaps the very one that the cursor was made from.
    fn remove(&mut self, dice: &mut Dice, last: Option<&String>) {
        if self.held.is_empty() {
            return;
        }
        let at = self.held.iter().position(|(id, _)| dice.chance(60) && Some(id) == last);
        let index = at.unwrap_or_else(|| dice.below(self.held.len()));
        let path = format!("{}/{}", self.kind.path(), self.held[index].0);
        if dice.chance(30) {
            let answer = self.api.patch(&path, &json!({"status": "archived"}));
            if answer.accepted() {
                self.held[index].1 = answer.body;
            }
        } else if self.api.delete(&path).accepted() {
            self.held.remove(index);
        }
    }
}

/// Goes through a list to its end and says what was seen, in order.
fn walk(kind: Kind, seed: u64, count: usize, disturbances: usize) -> Result<(), TestCaseError> {
    let dice = &mut Dice(seed);
    let mut lab = Lab::new(kind, dice);
    for _ in 0..count {
        lab.create(dice);
    }
    let most = *dice.pick(&[1, 2, 3, 7, 25, 50]);
    let mut throughout = lab.matching();
    let mut seen: Vec<(String, String)> = Vec::new();
    let mut next: Option<String> = None;
    let mut undisturbed = false;
    for page in 0.. {
        prop_assert!(page < 300, "the list has no end");
        let take = if dice.chance(70) { most } else { 1 + dice.below(50) };
        let take = if most == 25 { None } else { Some(take) };
        let parts = [
            Some(lab.filter.to_owned()).filter(|filter| !filter.is_empty()),
            take.map(|take| format!("take={take}")),
            next.as_ref().map(|next| {
                form_urlencoded::Serializer::new(String::new()).append_pair("from", next).finish()
            }),
        ];
        let query: Vec<String> = parts.into_iter().flatten().collect();
        let shown = lab.api.get(&format!("{}?{}", kind.path(), query.join("&"))).ok();
        let items = shown[kind.key()].as_array().unwrap();
        let take = take.unwrap_or(25);
        prop_assert!(items.len() <= take);
        prop_assert!(!undisturbed || !items.is_empty(), "there was to be more");
        for item in items {
            prop_assert!(lab.matches(item), "{} does not match {}", item, lab.filter);
            let text = |key: &str| item[key].as_str().unwrap().to_owned();
            seen.push((text("created_at"), text("id")));
        }
        next = shown.get("next").map(|next| next.as_str().unwrap().to_owned());
        if next.is_none() {
            break;
        }
        prop_assert_eq!(items.len(), take, "a page that is not the last is full");
        let disturbed = disturbances > 0 && dice.chance(70);
        for _ in 0..if disturbed { 1 + dice.below(disturbances) } else { 0 } {
            if dice.chance(50) {
                lab.create(dice);
            } else {
                lab.remove(dice, seen.last().map(|(_, id)| id));
            }
            let matching = lab.matching();
            throughout.retain(|id| matching.contains(id));
        }
        undisturbed = !disturbed;
    }
    prop_assert!(seen.is_sorted(), "by the time of creation, then by id");
    let ids: BTreeSet<String> = seen.iter().map(|(_, id)| id.clone()).collect();
    prop_assert_eq!(ids.len(), seen.len(), "one was seen twice");
    let missed: Vec<_> = throughout.difference(&ids).collect();
    prop_assert!(missed.is_empty(), "{:?} were skipped", missed);
    if disturbances == 0 {
        prop_assert_eq!(ids, throughout);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..Default::default() })]

    #[test]
    fn what_is_there_throughout_is_seen_once(
        kind in prop::sample::select(&[Kind::Experiments, Kind::Flags, Kind::Segments][..]),
        seed: u64,
        count in 0_usize..70,
        disturbances in 0_usize..6,
    ) {
        walk(kind, seed, count, disturbances)?;
    }
}

/// A list of exactly one page, and of one more; and the default size of a page.
#[test]
fn a_page_that_holds_the_rest_is_the_last() {
    for (generation, kind) in GENERATIONS
        .iter()
        .flat_map(|g| [Kind::Experiments, Kind::Flags, Kind::Segments].map(|k| (*g, k)))
    {
        let mut lab = Lab::new(kind, &mut Dice(1));
        lab.api = Api::over(&world(), generation);
        let begun = lab.held.len();
        for _ in begun..51 {
            lab.create(&mut Dice(2));
        }
        let page = |query: &str| {
            let shown = lab.api.get(&format!("{}{query}", kind.path())).ok();
            (shown[kind.key()].as_array().unwrap().len(), shown.get("next").cloned())
        };
        let (count, next) = page("");
        assert_eq!(count, 25);
        let next = next.unwrap();
        let next = next.as_str().unwrap();
        let from =
            form_urlencoded::Serializer::new(String::new()).append_pair("from", next).finish();
        assert_eq!(page(&format!("?take=26&{from}")), (26, None));
        let (count, next) = page(&format!("?take=25&{from}"));
        assert!(count == 25 && next.is_some());
        assert_eq!(page("?take=50").0, 50);
        // The same cursor leads to the same page again.
        assert_eq!(page(&format!("?take=26&{from}")), (26, None));
    }
}

/// What is not, letter for letter, the `next` of a page is refused.
#[test]
fn a_cursor_that_was_bent_is_no_cursor() {
    for generation in GENERATIONS {
        for kind in [Kind::Experiments, Kind::Flags, Kind::Segments] {
            let api = Api::over(&world(), generation);
            let page = |from: &str| {
                let mut query = form_urlencoded::Serializer::new(String::new());
                query.append_pair("take", "1").append_pair("from", from);
                api.get(&format!("{}?{}", kind.path(), query.finish()))
            };
            let first = api.get(&format!("{}?take=1", kind.path())).ok();
            let next = first["next"].as_str().unwrap();
            page(next).is(200);
            let half = &next[..next.len() / 2];
            let bent = [
                half.to_owned(),
                next[half.len()..].to_owned(),
                format!("{next}!"),
                format!("{next}\u{0}"),
                format!(" {next}"),
                format!("{next} "),
                format!("+{next}"),
                format!("{next}.{next}"),
                next.replace(|c: char| c.is_ascii_digit(), "x"),
                "0.x".to_owned(),
                "0".to_owned(),
            ];
            for from in bent {
                page(&from).is(400).naming("from");
            }
        }
    }
}
