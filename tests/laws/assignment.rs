//! Laws of assignment: one snapshot and one subject always give one decision, by whatever way it is
//! asked for; it is the one that is documented; and edits that must move nobody move nobody.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::{apply, brought_to, ok, p, world};
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};
use serde_json::{Map, Value, json};
use variate::{
    Allocation, Attribute, Attributes, Change, Code, Decision, Engine, ExperimentId,
    ExperimentPatch, Expression, FlagStatus, NewExperiment, NewFlag, NewSegment, NewVariation,
    Percentage, Reason, Rule, Scratch, Segment, Snapshot, Status, Subject, ToAttribute, Weight,
};
use xxhash_rust::xxh64::xxh64;

/// In byte order, which is not that of the alphabet.
const VARIATIONS: [&str; 6] = ["var_9", "var_B", "var_Z", "var_a", "var_aa", "var_c"];

const WHOLE: u64 = 100_000_000;

#[derive(Debug, Clone)]
enum Ask {
    Contains(Vec<String>),
    EndsWith(Vec<String>),
    Exists(bool),
    OneOf(Vec<String>),
    StartsWith(Vec<String>),
}

type Asks = Vec<(&'static str, Ask)>;

/// The conditions of which all must hold, and those of which none may.
type Terms = (Asks, Asks);

#[derive(Debug, Clone)]
enum Arms {
    /// Variation and weight in millionths.
    Shares(Vec<(usize, u64)>),
    /// Variation, segment and priority; and the variation of everyone else.
    Segments(Vec<(usize, usize, u32)>, usize),
}

#[derive(Debug, Clone)]
struct Spec {
    kind: &'static str,
    arms: Arms,
    traffic: u64,
    outside: Option<usize>,
    salt: Option<String>,
    status: Status,
}

#[derive(Debug, Clone)]
struct World {
    segments: Vec<Vec<Terms>>,
    experiments: Vec<Spec>,
}

#[derive(Debug, Clone)]
struct Who {
    ids: Vec<(&'static str, String)>,
    attributes: Map<String, Value>,
}

impl Who {
    fn subject(&self) -> Subject<'_> {
        let mut ids = self.ids.iter();
        let (kind, id) = ids.next().unwrap();
        ids.fold(Subject::of(kind, id), |subject, (kind, id)| subject.with_id(kind, id))
            .with_attributes(&self.attributes)
    }
}

fn fulfils(ask: &Ask, value: Option<&Value>) -> bool {
    let value = value.filter(|value| !value.is_null());
    let any = |items: &[String], test: fn(&str, &str) -> bool| {
        let text = value.and_then(Value::as_str);
        text.is_some_and(|text| items.iter().any(|item| test(text, item)))
    };
    match ask {
        Ask::Exists(wanted) => value.is_some() == *wanted,
        Ask::OneOf(items) => any(items, |text, item| text == item),
        Ask::Contains(items) => any(items, |text, item| text.contains(item)),
        Ask::StartsWith(items) => any(items, |text, item| text.starts_with(item)),
        Ask::EndsWith(items) => any(items, |text, item| text.ends_with(item)),
    }
}

fn matches(rules: &[Terms], attributes: &Map<String, Value>) -> bool {
    let holds = |(name, ask): &(&'static str, Ask)| fulfils(ask, attributes.get(*name));
    rules.iter().any(|(all, none)| all.iter().all(holds) && !none.iter().any(holds))
}

fn naive_point(salt: &str, draw: &str, id: &str) -> u128 {
    let seed = xxh64(format!("{salt}\0{draw}").as_bytes(), 0);
    u128::from(xxh64(&(xxh64(id.as_bytes(), 0) ^ seed).to_le_bytes(), 0) >> 32)
}

/// The variation of a point: arms in byte order of their ids, cumulative weights, no float.
fn owner(shares: &[(usize, u64)], point: u128) -> usize {
    let mut shares = shares.to_vec();
    shares.sort_by_key(|(variation, _)| VARIATIONS[*variation].as_bytes());
    let total: u128 = shares.iter().map(|(_, weight)| u128::from(*weight)).sum();
    let mut sum = 0;
    for (variation, weight) in shares {
        sum += u128::from(weight);
        if point < (sum << 32) / total {
            return variation;
        }
    }
    panic!("no arm owns {point}");
}

/// The reason and the variation that a subject is due.
fn due(world: &World, experiment: usize, who: &Who) -> (String, Option<usize>) {
    let spec = &world.experiments[experiment];
    if spec.status != Status::Active {
        return (spec.status.to_string(), None);
    }
    let id = who.ids.iter().rfind(|(kind, _)| *kind == spec.kind).map_or("", |(_, id)| id.as_str());
    if id.is_empty() {
        return ("missing_subject_id".into(), None);
    }
    let own_id = experiment_id(experiment);
    let salt = spec.salt.as_deref().unwrap_or(&own_id);
    let end = (u128::from(spec.traffic) << 32) / u128::from(WHOLE);
    if naive_point(salt, "traffic", id) >= end {
        return ("not_sampled".into(), spec.outside);
    }
    match &spec.arms {
        Arms::Shares(shares) => {
            ("split".into(), Some(owner(shares, naive_point(salt, "variation", id))))
        }
        Arms::Segments(targets, fallback) => {
            let mut targets = targets.clone();
            targets.sort_by_key(|(_, _, priority)| *priority);
            let hit = targets
                .iter()
                .find(|(_, segment, _)| matches(&world.segments[*segment], &who.attributes));
            match hit {
                Some((variation, segment, _)) => {
                    (format!("segment {}", segment_id(*segment)), Some(*variation))
                }
                None => ("fallback".into(), Some(*fallback)),
            }
        }
    }
}

fn letter(index: usize) -> char {
    char::from(b'a' + u8::try_from(index).unwrap())
}

fn experiment_id(index: usize) -> String {
    format!("exp_{}", letter(index))
}

fn segment_id(index: usize) -> String {
    format!("seg_{}", letter(index))
}

fn rule((all, none): &Terms) -> Rule {
    let expression = |ask: &Ask| match ask {
        Ask::Contains(items) => Expression::contains(items.clone()),
        Ask::EndsWith(items) => Expression::ends_with(items.clone()),
        Ask::Exists(exists) => Expression::Exists(*exists),
        Ask::OneOf(items) => Expression::one_of(items.clone()),
        Ask::StartsWith(items) => Expression::starts_with(items.clone()),
    };
    let rule = all.iter().fold(Rule::new(), |rule, (name, ask)| rule.when(*name, expression(ask)));
    none.iter().fold(rule, |rule, (name, ask)| rule.unless(*name, expression(ask)))
}

fn flag() -> Vec<Change> {
    let flag = NewFlag::new("A flag").id(p("flg_a")).parameter("of", "nobody");
    let flag = VARIATIONS.iter().fold(flag, |flag, id| {
        flag.variation(NewVariation::new(format!("named {id}")).id(p(id)).with("of", *id))
    });
    vec![flag.into(), Change::set_flag_status(&p("flg_a"), FlagStatus::Active)]
}

fn weight(millionths: u64) -> Weight {
    Weight::from_millionths(millionths).unwrap()
}

fn percentage(millionths: u64) -> Percentage {
    Percentage::from_millionths(millionths).unwrap()
}

/// Allocations by share, of which the first is the control.
fn shares(list: &[(usize, u64)]) -> Vec<Allocation> {
    let arms = list.iter().map(|(v, w)| Allocation::share(p(VARIATIONS[*v]), weight(*w)));
    arms.enumerate().map(|(i, arm)| if i == 0 { arm.control() } else { arm }).collect()
}

fn experiment(index: usize, spec: &Spec) -> NewExperiment {
    let name = format!("Experiment {index}");
    let (new, arms) = match &spec.arms {
        Arms::Shares(list) => (NewExperiment::by_percentage(name, p("flg_a")), shares(list)),
        Arms::Segments(targets, fallback) => {
            let mut arms: Vec<_> = targets
                .iter()
                .map(|(v, s, priority)| {
                    Allocation::segment(p(VARIATIONS[*v]), p(&segment_id(*s)), *priority).unwrap()
                })
                .collect();
            // Somewhere in the list, so that where it stands cannot matter.
            let place = fallback % (arms.len() + 1);
            arms.insert(place, Allocation::fallback(p(VARIATIONS[*fallback])).control());
            (NewExperiment::by_segment(name, p("flg_a")), arms)
        }
    };
    let mut new = arms.into_iter().fold(new, NewExperiment::allocation);
    new.salt = spec.salt.as_ref().map(|salt| p(salt));
    new.outside_variation_id = spec.outside.map(|variation| p(VARIATIONS[variation]));
    new.id(p(&experiment_id(index))).subject_kind(spec.kind).traffic(percentage(spec.traffic))
}

fn build(world: &World) -> Snapshot {
    let mut changes = flag();
    for (index, rules) in world.segments.iter().enumerate() {
        let segment = NewSegment::new(format!("Segment {index}")).id(p(&segment_id(index)));
        changes.push(rules.iter().map(rule).fold(segment, NewSegment::rule).into());
    }
    for (index, spec) in world.experiments.iter().enumerate() {
        changes.push(experiment(index, spec).into());
    }
    let snapshot = ok(&Snapshot::new(), changes);
    world.experiments.iter().enumerate().fold(snapshot, |snapshot, (index, spec)| {
        brought_to(&snapshot, &experiment_id(index), spec.status)
    })
}

/// Short texts over few letters, so that they often match.
fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["x", "y", "é"]), 0..=3)
        .prop_map(|letters| letters.concat())
}

fn ask() -> impl Strategy<Value = Ask> {
    let few = || prop::collection::vec(text(), 1..=2);
    prop_oneof![
        few().prop_map(Ask::Contains),
        few().prop_map(Ask::EndsWith),
        few().prop_map(Ask::StartsWith),
        any::<bool>().prop_map(Ask::Exists),
        few().prop_map(Ask::OneOf),
        // Long enough to be searched in another way, with items that stand twice.
        prop::collection::vec(text(), 7..=20).prop_map(Ask::OneOf),
    ]
}

fn asks() -> impl Strategy<Value = Asks> {
    subsequence(vec!["p", "q", "r"], 0..=2).prop_flat_map(|names| {
        let list: Vec<_> = names.into_iter().map(|name| (Just(name), ask())).collect();
        list
    })
}

fn rules() -> impl Strategy<Value = Vec<Terms>> {
    let terms = (asks(), asks()).prop_filter("no condition", |(a, b)| a.len() + b.len() > 0);
    prop::collection::vec(terms, 1..=3)
}

fn attributes() -> impl Strategy<Value = Map<String, Value>> {
    let value = prop_oneof![
        6 => text().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => prop_oneof![Just(json!(7)), Just(json!(1.5)), Just(json!(u64::MAX))],
        1 => prop_oneof![Just(json!(["x"])), Just(json!({"x": "y"}))],
    ];
    prop::collection::btree_map(prop::sample::select(vec!["p", "q", "r"]), value, 0..=3)
        .prop_map(|map| map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn who() -> impl Strategy<Value = Who> {
    let id = prop_oneof![1 => Just(String::new()), 6 => "[a-z0-9]{1,12}", 2 => any::<String>()];
    let kind = prop::sample::select(vec!["device", "device", "user", "other"]);
    let ids = prop::collection::vec((kind, id), 1..=3);
    (ids, attributes()).prop_map(|(ids, attributes)| Who { ids, attributes })
}

/// Weights that sum to exactly 100, often with a 0 among them.
fn weights(arms: usize) -> impl Strategy<Value = Vec<u64>> {
    let cut = prop_oneof![
        1 => Just(0),
        3 => (0..=100_u64).prop_map(|percent| percent * 1_000_000),
        3 => 0..=WHOLE,
        1 => Just(WHOLE),
    ];
    prop::collection::vec(cut, arms - 1).prop_map(|mut cuts| {
        cuts.extend([0, WHOLE]);
        cuts.sort_unstable();
        cuts.windows(2).map(|pair| pair[1] - pair[0]).collect()
    })
}

fn by_shares() -> impl Strategy<Value = Vec<(usize, u64)>> {
    let all: Vec<usize> = (0..VARIATIONS.len()).collect();
    subsequence(all, 1..=VARIATIONS.len()).prop_shuffle().prop_flat_map(|variations| {
        weights(variations.len())
            .prop_map(move |weights| variations.iter().copied().zip(weights).collect())
    })
}

fn by_segments(segments: usize) -> impl Strategy<Value = Arms> {
    let all: Vec<usize> = (0..segments).collect();
    let variation = 0..VARIATIONS.len();
    (subsequence(all, 0..=segments).prop_shuffle(), variation.clone()).prop_flat_map(
        move |(segments, fallback)| {
            let count = segments.len();
            let priorities = prop::collection::btree_set(1..=50_u32, count..=count)
                .prop_map(|set| set.into_iter().collect::<Vec<_>>())
                .prop_shuffle();
            let variations = prop::collection::vec(variation.clone(), count);
            (variations, priorities).prop_map(move |(variations, priorities)| {
                let targets = variations.into_iter().zip(segments.clone()).zip(priorities);
                Arms::Segments(targets.map(|((v, s), p)| (v, s, p)).collect(), fallback)
            })
        },
    )
}

fn traffic() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => Just(WHOLE),
        1 => Just(0),
        1 => prop_oneof![Just(1_u64), Just(WHOLE - 1)],
        4 => 0..=WHOLE,
    ]
}

fn spec(segments: usize, status: impl Strategy<Value = Status>) -> impl Strategy<Value = Spec> {
    let arms = prop_oneof![by_shares().prop_map(Arms::Shares), by_segments(segments)];
    let kind = prop::sample::select(vec!["device", "device", "user"]);
    let outside = prop::option::of(0..VARIATIONS.len());
    let salt = prop::option::of("[a-c]{1,2}|.{1,20}");
    (kind, arms, traffic(), outside, salt, status).prop_map(
        |(kind, arms, traffic, outside, salt, status)| Spec {
            kind,
            arms,
            traffic,
            outside,
            salt,
            status,
        },
    )
}

fn worlds() -> impl Strategy<Value = World> {
    prop::collection::vec(rules(), 1..=4).prop_flat_map(|segments| {
        let status = prop_oneof![
            6 => Just(Status::Active),
            1 => prop::sample::select(Status::ALL),
        ];
        let experiments = prop::collection::vec(spec(segments.len(), status), 1..=5);
        experiments.prop_map(move |experiments| World { segments: segments.clone(), experiments })
    })
}

fn check_due(decision: &Decision<'_>, (reason, variation): &(String, Option<usize>)) {
    let served = variation.map(|index| VARIATIONS[index]);
    let inside = *reason == "split" || *reason == "fallback" || reason.starts_with("segment ");
    assert_eq!(decision.reason().to_string(), *reason, "{decision:?}");
    assert_eq!(decision.variation_id().map(AsRef::as_ref), served, "{decision:?}");
    assert_eq!(decision.in_experiment(), inside, "{decision:?}");
    let assigned = decision.assignment().map(|assignment| assignment.variation_id.as_str());
    assert_eq!(assigned, served.filter(|_| inside), "{decision:?}");
    // The one parameter says which variation it is.
    let of = decision.config().map(|config| config.get("of").unwrap().as_str().unwrap());
    assert_eq!(of, served, "{decision:?}");
}

proptest! {
    #[test]
    fn a_segment_contains_whom_its_rules_describe(
        rules in rules(),
        subjects in prop::collection::vec(attributes(), 1..20),
    ) {
        let new = rules.iter().map(rule).fold(NewSegment::new("Segment"), NewSegment::rule);
        let snapshot = ok(&Snapshot::new(), new.id(p("seg_a")));
        let segment = snapshot.segment("seg_a").unwrap();
        let printed = serde_json::to_string(segment).unwrap();
        let read: Segment = serde_json::from_str(&printed).unwrap();
        for attributes in &subjects {
            let expected = matches(&rules, attributes);
            prop_assert_eq!(segment.contains(attributes), expected, "{:?}", attributes);
            prop_assert_eq!(read.contains(attributes), expected, "read again, {:?}", attributes);
            for (terms, rule) in rules.iter().zip(segment.rules()) {
                let expected = matches(std::slice::from_ref(terms), attributes);
                prop_assert_eq!(rule.holds(attributes), expected, "{:?}", attributes);
            }
        }
    }

    #[test]
    fn every_way_to_ask_gives_the_decision_that_is_documented(
        world in worlds(),
        subjects in prop::collection::vec(who(), 1..12),
    ) {
        let snapshot = build(&world);
        let reloaded = Snapshot::from_json(snapshot.to_json()).unwrap();
        let engine = Engine::from_snapshot(snapshot.clone());
        let mut reader = engine.reader();
        let (mut scratch, mut others) = (Scratch::new(), Scratch::new());
        let active: BTreeSet<String> = (0..world.experiments.len())
            .filter(|index| world.experiments[*index].status == Status::Active)
            .map(experiment_id)
            .collect();
        for who in &subjects {
            let subject = who.subject();
            let all: Vec<_> = snapshot.assign_all(&subject, &mut scratch).collect();
            let listed: BTreeSet<String> =
                all.iter().map(|decision| decision.experiment_id().unwrap().to_string()).collect();
            prop_assert_eq!(listed.len(), all.len());
            prop_assert_eq!(&listed, &active);
            let again: Vec<_> = reloaded.assign_all(&subject, &mut others).collect();
            prop_assert_eq!(&again, &all, "the order depends on the set alone");
            for index in 0..world.experiments.len() {
                let id = experiment_id(index);
                let decision = snapshot.assign(&id, &subject);
                check_due(&decision, &due(&world, index, who));
                prop_assert_eq!(snapshot.plan(&id).unwrap().assign(&subject), decision);
                prop_assert_eq!(reloaded.assign(&id, &subject), decision);
                prop_assert_eq!(reader.snapshot().assign(&id, &subject), decision);
                let found = all.iter().find(|d| d.experiment_id().unwrap().as_str() == id);
                let expected = active.contains(&id).then_some(&decision);
                prop_assert_eq!(found, expected);
            }
        }
    }
}

/// Ids like those that there are, one per number.
fn device(number: usize) -> String {
    format!("device-{number}")
}

#[test]
fn many_threads_get_what_one_gets() {
    let snapshot = brought_to(&world(), "exp_weights", Status::Active);
    let snapshot = brought_to(&snapshot, "exp_segments", Status::Active);
    let engine = Engine::from_snapshot(snapshot.clone());
    let ids: Vec<String> = (0..3_000).map(device).collect();
    let countries = [("country", "DE"), ("country", "FR")];
    let expected: Vec<Vec<Decision<'_>>> = ids
        .iter()
        .enumerate()
        .map(|(number, id)| {
            let attributes = &countries[number % 2..][..1];
            let subject = Subject::new(id).with_attributes(&attributes);
            ["exp_weights", "exp_segments"].map(|e| snapshot.assign(e, &subject)).to_vec()
        })
        .collect();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (ids, expected, countries, engine) = (&ids, &expected, &countries, &engine);
            scope.spawn(move || {
                let mut reader = engine.reader();
                let held = engine.snapshot();
                let mut scratch = Scratch::new();
                for step in 0..ids.len() {
                    // Each thread begins elsewhere.
                    let number = (step + thread * 375) % ids.len();
                    let attributes = &countries[number % 2..][..1];
                    let subject = Subject::new(&ids[number]).with_attributes(&attributes);
                    let snapshot = if thread % 2 == 0 { reader.snapshot() } else { &held };
                    for decision in &expected[number] {
                        let id = decision.experiment_id().unwrap();
                        assert_eq!(snapshot.assign(id, &subject), *decision);
                    }
                    let mut all: Vec<_> = snapshot.assign_all(&subject, &mut scratch).collect();
                    all.sort_by_key(|decision| std::cmp::Reverse(decision.experiment_id()));
                    assert_eq!(all, expected[number]);
                }
            });
        }
    });
    let arms: BTreeSet<_> = expected.iter().flatten().map(|d| d.variation_id()).collect();
    assert_eq!(arms.len(), 2, "both arms were given");
}

/// The world with one experiment of each kind in every status; both of the active ones have the
/// given traffic and `var_d` outside.
fn gates(status: Status, traffic: &str) -> Snapshot {
    let snapshot = ["exp_weights", "exp_segments"].into_iter().fold(world(), |snapshot, id| {
        let patch = ExperimentPatch::new().traffic(p(traffic)).outside_variation_id(p("var_d"));
        let snapshot = ok(&snapshot, Change::patch_experiment(&p(id), patch));
        brought_to(&snapshot, id, status)
    });
    assert!(snapshot.experiments().all(|e| e.status() == status));
    snapshot
}

#[test]
fn the_first_gate_that_is_closed_is_the_reason() {
    #[track_caller]
    fn check(
        snapshot: &Snapshot,
        id: &str,
        subject: &Subject<'_>,
        reason: &str,
        variation: Option<&str>,
    ) {
        let decision = snapshot.assign(id, subject);
        assert_eq!(decision.reason().to_string(), reason);
        assert_eq!(decision.variation_id().map(AsRef::as_ref), variation);
        let inside = reason == "split" || reason == "fallback" || reason.starts_with("segment");
        assert_eq!(decision.in_experiment(), inside);
        assert_eq!(decision.assignment().is_some(), inside);
        assert_eq!(
            decision.experiment_id().map(AsRef::as_ref),
            Some(id).filter(|_| reason != "not_found")
        );
    }
    let german = [("country", "DE")];
    let apple = [("platform", "ios17"), ("country", "FR")];
    let both = [("platform", "ios17"), ("country", "DE")];
    let nobody = Subject::of("user", "u-1").with_attributes(&german);
    let empty = Subject::new("").with_attributes(&german);
    let somebody = Subject::new("device-42");
    let german = somebody.clone().with_attributes(&german);
    let apple = somebody.clone().with_attributes(&apple);
    let both = somebody.clone().with_attributes(&both);

    let open = gates(Status::Active, "100");
    let shut = gates(Status::Active, "0");
    // Whatever the later gates would say, with traffic 0 and nobody there, the status comes first.
    for (status, reason) in [
        (Status::Draft, "draft"),
        (Status::Paused, "paused"),
        (Status::Completed, "completed"),
        (Status::Archived, "archived"),
    ] {
        for traffic in ["0", "100"] {
            let snapshot = gates(status, traffic);
            for subject in [&nobody, &empty, &german] {
                check(&snapshot, "exp_weights", subject, reason, None);
                check(&snapshot, "exp_segments", subject, reason, None);
                check(&snapshot, "exp_none", subject, "not_found", None);
            }
        }
    }
    for id in ["exp_weights", "exp_segments"] {
        for snapshot in [&open, &shut] {
            check(snapshot, id, &nobody, "missing_subject_id", None);
            check(snapshot, id, &empty, "missing_subject_id", None);
        }
        check(&shut, id, &german, "not_sampled", Some("var_d"));
    }
    // The first by priority, not the first in the list or the last that matches.
    check(&open, "exp_segments", &german, "segment seg_germany", Some("var_b"));
    check(&open, "exp_segments", &apple, "segment seg_ios", Some("var_c"));
    check(&open, "exp_segments", &both, "segment seg_germany", Some("var_b"));
    check(&open, "exp_segments", &somebody, "fallback", Some("var_a"));
    let arm = owner(&[(3, 50), (4, 50)], naive_point("exp_weights", "variation", "device-42"));
    let arm = if arm == 3 { "var_a" } else { "var_b" };
    check(&open, "exp_weights", &german, "split", Some(arm));
    check(&open, "", &german, "not_found", None);
    check(&open, "flg_a", &german, "not_found", None);
    check(&open, "EXP_WEIGHTS", &german, "not_found", None);
}

#[test]
fn reasons_have_names() {
    #[track_caller]
    fn check(reason: Reason<'_>, name: &str, text: &str) {
        assert_eq!(reason.as_str(), name);
        assert_eq!(reason.to_string(), text);
        assert_eq!(format!("{reason:>30}"), format!("{text:>30}"));
    }
    let segment = p("seg_a");
    check(Reason::NotFound, "not_found", "not_found");
    check(Reason::Forced, "forced", "forced");
    check(Reason::Draft, "draft", "draft");
    check(Reason::Kept, "kept", "kept");
    check(Reason::Paused, "paused", "paused");
    check(Reason::Completed, "completed", "completed");
    check(Reason::Archived, "archived", "archived");
    check(Reason::MissingSubjectId, "missing_subject_id", "missing_subject_id");
    check(Reason::NotSampled, "not_sampled", "not_sampled");
    check(Reason::Split, "split", "split");
    check(Reason::Segment(&segment), "segment", "segment seg_a");
    check(Reason::Fallback, "fallback", "fallback");
    check(Reason::Shipped, "shipped", "shipped");
    check(Reason::Attached, "attached", "attached");
}

#[test]
fn a_decision_says_all_in_json() {
    #[track_caller]
    fn check(decision: Decision<'_>, expected: &Value) {
        assert_eq!(serde_json::to_value(decision).unwrap(), *expected);
    }
    let (open, shut) = (gates(Status::Active, "100"), gates(Status::Active, "0"));
    let german = [("country", "DE")];
    let german = Subject::new("device-42").with_attributes(&german);
    let other = Subject::new("device-42");
    check(
        open.assign("exp_segments", &german),
        &json!({
            "experiment_id": "exp_segments", "variation_id": "var_b", "in_experiment": true,
            "is_control": false, "reason": "segment", "segment_id": "seg_germany",
        }),
    );
    check(
        open.assign("exp_segments", &other),
        &json!({
            "experiment_id": "exp_segments", "variation_id": "var_a", "in_experiment": true,
            "is_control": true, "reason": "fallback",
        }),
    );
    check(
        shut.assign("exp_weights", &other),
        &json!({
            "experiment_id": "exp_weights", "variation_id": "var_d", "in_experiment": false,
            "reason": "not_sampled",
        }),
    );
    check(
        open.assign("exp_weights", &Subject::new("")),
        &json!({
            "experiment_id": "exp_weights", "in_experiment": false, "reason": "missing_subject_id",
        }),
    );
    check(open.assign("exp_none", &other), &json!({"in_experiment": false, "reason": "not_found"}));
}

#[test]
fn an_assignment_says_which_arm_is_the_control() {
    let open = gates(Status::Active, "100");
    let mut controls = BTreeMap::new();
    for id in (0..100).map(device) {
        let decision = open.assign("exp_weights", &Subject::new(&id));
        let assignment = decision.assignment().unwrap();
        assert_eq!(Some(assignment.variation_id), decision.variation_id());
        assert_eq!(Some(assignment.config), decision.config());
        assert_eq!(assignment.experiment_id.as_str(), "exp_weights");
        controls.insert(assignment.variation_id.as_str(), assignment.is_control);
    }
    assert_eq!(controls, BTreeMap::from([("var_a", true), ("var_b", false)]));
}

/// Anything goes in, a decision comes out.
#[test]
fn assigning_is_total() {
    let huge = "🙂\0x".repeat(1 << 17);
    assert!(huge.len() >= 1 << 19);
    let long = "x".repeat(1 << 20);
    let odd = ["", "\0", " ", "🙂", "a\0b", "\u{feff}", "exp_weights", "var_a", &huge, &long];
    let deep = json!({"country": {"country": ["DE"]}, "platform": huge});
    let mut snapshots: Vec<_> = Status::ALL.iter().map(|s| gates(*s, "50")).collect();
    snapshots.push(Snapshot::new());
    let mut scratch = Scratch::new();
    for snapshot in &snapshots {
        for id in odd {
            let subjects = [
                Subject::new(id),
                Subject::of(id, id),
                Subject::of("user", id).with_id("device", id).with_id(id, "x"),
                Subject::of("user", "u").with_attributes(&deep),
                Subject::new(id).with_id("device", "").with_attributes(&deep),
            ];
            for subject in &subjects {
                for experiment in odd.into_iter().chain(["exp_segments"]) {
                    let decision = snapshot.assign(experiment, subject);
                    let known = snapshot.experiment(experiment).is_some();
                    assert_eq!(decision.reason() == Reason::NotFound, !known);
                    assert_eq!(decision.experiment_id().is_some(), known);
                    assert!(!format!("{decision:?}").is_empty());
                }
                let missing = subject.id("device").is_none();
                assert_eq!(missing, subject.id("device").unwrap_or("").is_empty());
                for decision in snapshot.assign_all(subject, &mut scratch) {
                    assert_eq!(decision.reason() == Reason::MissingSubjectId, missing);
                }
            }
        }
    }
}

#[test]
fn a_subject_has_one_id_of_each_kind() {
    #[track_caller]
    fn check(subject: &Subject<'_>, kind: &str, id: Option<&str>) {
        assert_eq!(subject.id(kind), id);
    }
    let subject = Subject::new("d-1").with_id("user", "u-1").with_id("site", "s-1");
    check(&subject, "device", Some("d-1"));
    check(&subject, "user", Some("u-1"));
    check(&subject, "site", Some("s-1"));
    check(&subject, "Device", None);
    check(&subject, "", None);
    let again = subject.with_id("device", "d-2").with_id("user", "").with_id("site", "s-2");
    check(&again, "device", Some("d-2"));
    check(&again, "user", None);
    check(&again, "site", Some("s-2"));

    // The id that was replaced is not the one that is hashed.
    let open = gates(Status::Active, "100");
    for number in 0..64 {
        let (old, new) = (device(number), device(number + 1));
        let replaced = Subject::new(&old).with_id("device", &new);
        let expected = open.assign("exp_weights", &Subject::new(&new));
        assert_eq!(open.assign("exp_weights", &replaced), expected);
        let other = Subject::of("user", &old).with_id("device", &new);
        assert_eq!(open.assign("exp_weights", &other), expected);
    }
}

#[test]
fn the_config_is_complete() {
    #[track_caller]
    fn check(snapshot: &Snapshot, attributes: &Value, expected: &Value) {
        let subject = Subject::new("device-42").with_attributes(attributes);
        let decision = snapshot.assign("exp_a", &subject);
        assert_eq!(serde_json::to_value(decision.config().unwrap()).unwrap(), *expected);
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(decision.config().unwrap().get(name), Some(value));
        }
        assert_eq!(decision.config().unwrap().get("nothing"), None);
        assert_eq!(decision.config().unwrap().len(), 5);
    }
    let flag = NewFlag::new("Every type")
        .id(p("flg_a"))
        .parameter("text", "Hello")
        .parameter("number", 1.5)
        .parameter("switch", false)
        .parameter("list", json!([1, 2]))
        .parameter("object", json!({"a": 1, "b": {"c": 2}}))
        .variation(NewVariation::new("control").id(p("var_a")))
        .variation(
            NewVariation::new("some").id(p("var_b")).with("text", "").with("list", json!([])),
        )
        .variation(
            // An override replaces the whole value, so that nothing is left of `b`.
            NewVariation::new("object").id(p("var_c")).with("object", json!({"a": 2})),
        )
        .variation(
            NewVariation::new("all")
                .id(p("var_d"))
                .with("text", "Hi")
                .with("number", 7)
                .with("switch", true)
                .with("list", json!(["x"]))
                .with("object", json!({})),
        );
    let segment = |name: &str, is: &str| {
        let rule = Rule::new().when("is", Expression::one_of([is]));
        NewSegment::new(name).id(p(&format!("seg_{is}"))).rule(rule)
    };
    let arm = |variation: &str, segment: &str, priority| {
        Allocation::segment(p(variation), p(segment), priority).unwrap()
    };
    let snapshot = ok(
        &Snapshot::new(),
        vec![
            flag.into(),
            Change::set_flag_status(&p("flg_a"), FlagStatus::Active),
            segment("First", "b").into(),
            segment("Second", "c").into(),
            segment("Third", "d").into(),
            NewExperiment::by_segment("Experiment", p("flg_a"))
                .id(p("exp_a"))
                .allocation(Allocation::fallback(p("var_a")).control())
                .allocation(arm("var_b", "seg_b", 1))
                .allocation(arm("var_c", "seg_c", 2))
                .allocation(arm("var_d", "seg_d", 3))
                .outside_variation_id(p("var_b"))
                .into(),
            Change::set_experiment_status(&p("exp_a"), Status::Active),
        ],
    );
    let object = json!({"a": 1, "b": {"c": 2}});
    let defaults =
        json!({"text": "Hello", "number": 1.5, "switch": false, "list": [1, 2], "object": object});
    let some = json!({"text": "", "number": 1.5, "switch": false, "list": [], "object": object});
    check(&snapshot, &json!({}), &defaults);
    check(&snapshot, &json!({"is": "b"}), &some);
    check(
        &snapshot,
        &json!({"is": "c"}),
        &json!({"text": "Hello", "number": 1.5, "switch": false, "list": [1, 2], "object": {"a": 2}}),
    );
    check(
        &snapshot,
        &json!({"is": "d"}),
        &json!({"text": "Hi", "number": 7, "switch": true, "list": ["x"], "object": {}}),
    );
    let patch = ExperimentPatch::new().traffic(Percentage::ZERO);
    let outside = ok(&snapshot, Change::patch_experiment(&p("exp_a"), patch));
    check(&outside, &json!({"is": "d"}), &some);
}

struct Request {
    country: String,
    app: Option<&'static str>,
}

impl Attributes for Request {
    fn attribute(&self, name: &str) -> Option<Attribute<'_>> {
        match name {
            "country" => self.country.to_attribute(),
            "app" => self.app.to_attribute(),
            _ => None,
        }
    }
}

/// What a rule with one condition on `country` makes of these attributes.
fn holds(attributes: &dyn Attributes, expression: Expression) -> bool {
    Rule::new().when("country", expression).holds(attributes)
}

#[test]
fn attributes_come_from_anything_that_has_names() {
    #[track_caller]
    fn check(attributes: &dyn Attributes) {
        assert_eq!(attributes.attribute("country"), Some(Attribute::String("DE")));
        assert_eq!(attributes.attribute("Country"), None);
        assert!(holds(attributes, Expression::one_of(["DE"])));
        assert!(!holds(attributes, Expression::one_of(["FR"])));
        assert!(holds(attributes, Expression::Exists(true)));
        let open = gates(Status::Active, "100");
        let decision =
            open.assign("exp_segments", &Subject::new("device-42").with_attributes(attributes));
        assert_eq!(decision.reason().to_string(), "segment seg_germany");
    }
    let text = String::from("DE");
    check(&[("country", "DE")]);
    check(&[("country".to_owned(), &text)]);
    check(&[("app", None), ("country", Some("DE"))]);
    check(&[("country", Cow::Borrowed("DE")), ("app", Cow::Owned("x".to_owned()))]);
    // The first of a name counts.
    check(&[("country", "DE"), ("country", "FR")]);
    check(&&[("country", "DE"), ("app", "x")][..]);
    check(&vec![("app", Value::Null), ("country", json!("DE"))]);
    check(&vec![(String::from("country"), text.clone())]);
    check(&HashMap::from([("country", "DE")]));
    check(&HashMap::from([("country".to_owned(), text.clone())]));
    check(&BTreeMap::from([("country", &*text)]));
    check(&BTreeMap::from([("country".to_owned(), json!("DE"))]));
    check(json!({"country": "DE", "app": null}).as_object().unwrap());
    check(&json!({"country": "DE"}));
    check(&&json!({"country": "DE"}));
    check(&Request { country: text, app: None });
}

#[test]
fn values_are_what_they_are() {
    #[track_caller]
    fn check(value: &dyn ToAttribute, expected: Option<Attribute<'_>>) {
        assert_eq!(value.to_attribute(), expected);
    }
    let list = json!([1]);
    check(&"x", Some(Attribute::String("x")));
    check(&"", Some(Attribute::String("")));
    check(&true, Some(Attribute::Bool(true)));
    check(&7_i64, Some(Attribute::Integer(7)));
    check(&i8::MIN, Some(Attribute::Integer(-128)));
    check(&u32::MAX, Some(Attribute::Integer(4_294_967_295)));
    check(&1.5, Some(Attribute::Float(1.5)));
    check(&1.5_f32, Some(Attribute::Float(1.5)));
    check(&Attribute::Json(&list), Some(Attribute::Json(&list)));
    check(&None::<&str>, None);
    check(&Some(7_i64), Some(Attribute::Integer(7)));
    check(&json!(null), None);
    check(&Some(json!(null)), None);
    check(&json!("x"), Some(Attribute::String("x")));
    check(&json!(-7), Some(Attribute::Integer(-7)));
    check(&json!(i64::MIN), Some(Attribute::Integer(i64::MIN)));
    check(&json!(7.0), Some(Attribute::Float(7.0)));
    check(&json!(1_u64 << 63), Some(Attribute::Unsigned(1 << 63)));
    check(&u64::MAX, Some(Attribute::Unsigned(u64::MAX)));
    check(&7_usize, Some(Attribute::Integer(7)));
    check(&list, Some(Attribute::Json(&list)));
}

#[test]
fn only_a_string_fulfils_a_condition_on_strings() {
    #[track_caller]
    fn check(attributes: &dyn Attributes, exists: bool) {
        assert_eq!(holds(attributes, Expression::Exists(true)), exists);
        assert_eq!(holds(attributes, Expression::Exists(false)), !exists);
        for text in ["7", "7.0", "true", "null", "", "[\"7\"]"] {
            assert!(!holds(attributes, Expression::one_of([text])), "{text:?}");
            let many = (0..20).map(|n| n.to_string()).chain([text.to_owned()]);
            assert!(!holds(attributes, Expression::one_of(many)), "{text:?}");
            assert!(!holds(attributes, Expression::contains([text])), "{text:?}");
            assert!(!holds(attributes, Expression::starts_with([text])), "{text:?}");
            assert!(!holds(attributes, Expression::ends_with([text])), "{text:?}");
            // Under not_match it is no obstacle.
            let unless = Rule::new().unless("country", Expression::one_of([text]));
            assert!(unless.holds(attributes), "{text:?}");
        }
    }
    check(&(), false);
    check(&json!({}), false);
    check(&json!(null), false);
    check(&json!(["country"]), false);
    check(&json!({"country": null}), false);
    check(&[("country", None::<&str>)], false);
    // As for every list of pairs, the first of a name counts, though it has nothing to say.
    check(&[("country", None), ("country", Some("7"))], false);
    check(&json!({"country": 7}), true);
    check(&json!({"country": 7.0}), true);
    check(&json!({"country": true}), true);
    check(&json!({"country": ["7"]}), true);
    check(&json!({"country": {}}), true);
    check(&[("country", 7_i64)], true);
}

/// Counts how often each attribute is read.
struct Counting {
    values: HashMap<String, (String, AtomicUsize)>,
}

impl Attributes for Counting {
    fn attribute(&self, name: &str) -> Option<Attribute<'_>> {
        let (value, reads) = self.values.get(name)?;
        reads.fetch_add(1, Ordering::Relaxed);
        Some(Attribute::String(value))
    }
}

#[test]
fn all_at_once_asks_each_segment_at_most_once() {
    const SEGMENTS: usize = 90;
    const EXPERIMENTS: usize = 24;
    // Spelled with letters that an id can have.
    let name = |index: usize| format!("{}{}", letter(index / 10), letter(index % 10));
    let mut changes = flag();
    for index in 0..SEGMENTS {
        let rule = Rule::new().when(name(index), Expression::one_of(["in"]));
        let segment = NewSegment::new(format!("Segment {index}")).rule(rule);
        changes.push(segment.id(p(&format!("seg_{}", name(index)))).into());
    }
    for index in 0..EXPERIMENTS {
        let new = NewExperiment::by_segment(format!("Experiment {index}"), p("flg_a"))
            .id(p(&format!("exp_{}", name(index))))
            .allocation(Allocation::fallback(p("var_a")).control());
        let arms = (0..19_usize).map(|step| {
            let segment = p(&format!("seg_{}", name((index * 4 + step * 7) % SEGMENTS)));
            let priority = u32::try_from(step + 1).unwrap();
            Allocation::segment(p(VARIATIONS[step % 6]), segment, priority).unwrap()
        });
        changes.push(arms.fold(new, NewExperiment::allocation).into());
        let id = p(&format!("exp_{}", name(index)));
        changes.push(Change::set_experiment_status(&id, Status::Active));
    }
    let snapshot = ok(&Snapshot::new(), changes);
    let reloaded = Snapshot::from_json(snapshot.to_json()).unwrap();
    let mut scratch = Scratch::new();
    let (mut most, mut hits) = (0, 0);
    // The first is in no segment, so that every segment is asked and the scratch has to grow.
    for (number, modulus) in [SEGMENTS + 1, 2, 50, 7, 90, SEGMENTS + 1, 30].into_iter().enumerate()
    {
        let values = (0..SEGMENTS).map(|index| {
            let value = if (index + 1) % modulus == 0 { "in" } else { "out" };
            (name(index), (value.to_owned(), AtomicUsize::new(0)))
        });
        let counting = Counting { values: values.collect() };
        let id = device(number);
        let subject = Subject::new(&id).with_attributes(&counting);
        for snapshot in [&snapshot, &reloaded] {
            let all: Vec<_> = snapshot.assign_all(&subject, &mut scratch).collect();
            let reads: Vec<usize> = counting
                .values
                .values()
                .map(|(_, reads)| reads.swap(0, Ordering::Relaxed))
                .collect();
            assert!(reads.iter().all(|reads| *reads <= 1), "{reads:?}");
            most = most.max(reads.iter().sum());
            assert_eq!(all.len(), EXPERIMENTS);
            for decision in all {
                let single = snapshot.assign(decision.experiment_id().unwrap(), &subject);
                assert_eq!(decision, single);
                hits += usize::from(matches!(decision.reason(), Reason::Segment(_)));
            }
            for (_, reads) in counting.values.values() {
                reads.store(0, Ordering::Relaxed);
            }
        }
    }
    assert_eq!(most, SEGMENTS, "every segment is asked when none matches");
    assert!(hits > 0);
}

fn by_percentage(id: &str, arms: &[(usize, u64)]) -> NewExperiment {
    let new = NewExperiment::by_percentage("Experiment", p("flg_a")).id(p(id));
    shares(arms).into_iter().fold(new, NewExperiment::allocation)
}

fn running(new: NewExperiment) -> Snapshot {
    let id = new.id.clone().unwrap();
    let mut changes = flag();
    changes.extend([new.into(), Change::set_experiment_status(&id, Status::Active)]);
    ok(&Snapshot::new(), changes)
}

/// What each of many subjects is served, and why.
fn served(snapshot: &Snapshot, subjects: usize) -> Vec<(String, Option<String>)> {
    let plan = snapshot.plan("exp_a").unwrap();
    (0..subjects)
        .map(|number| {
            let id = device(number);
            let decision = plan.assign(&Subject::new(&id));
            (decision.reason().to_string(), decision.variation_id().map(ToString::to_string))
        })
        .collect()
}

/// Pauses, edits and resumes.
fn edited(snapshot: &Snapshot, patch: ExperimentPatch) -> Snapshot {
    let id: ExperimentId = p("exp_a");
    ok(
        snapshot,
        vec![
            Change::set_experiment_status(&id, Status::Paused),
            Change::patch_experiment(&id, patch),
            Change::set_experiment_status(&id, Status::Active),
        ],
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_an_experiment_is_called_and_how_it_is_listed_moves_nobody(
        arms in by_shares(),
        order in any::<[Index; 6]>(),
        traffic in traffic(),
    ) {
        let new = || by_percentage("exp_a", &arms).traffic(percentage(traffic));
        let before = running(new());
        let expected = served(&before, 400);

        let mut other = arms.clone();
        for (place, index) in order.iter().enumerate().take(arms.len()) {
            other.swap(place, index.index(arms.len()));
        }
        let permuted = running(by_percentage("exp_a", &other).traffic(percentage(traffic)));
        prop_assert_eq!(&served(&permuted, 400), &expected);
        let patch = ExperimentPatch::new().allocations(shares(&other));
        prop_assert_eq!(&served(&edited(&before, patch), 400), &expected);

        let patch = ExperimentPatch::new().name("Another name").description("What it is about");
        let patch = patch.tags(vec!["one".to_owned(), "two".to_owned()]);
        let renamed = ok(&before, Change::patch_experiment(&p("exp_a"), patch));
        prop_assert_eq!(&served(&renamed, 400), &expected);
        let mut called = new().description("What it is about").tag("one").flow("sign-in");
        called.name = "Another name".to_owned();
        prop_assert_eq!(&served(&running(called), 400), &expected);

        // Every variation that has no arm gets one of weight 0, in front of the others.
        let idle = (0..VARIATIONS.len()).filter(|v| arms.iter().all(|(own, _)| own != v));
        let more: Vec<_> = idle.map(|v| (v, 0)).chain(other.iter().copied()).collect();
        let widened = running(by_percentage("exp_a", &more).traffic(percentage(traffic)));
        prop_assert_eq!(&served(&widened, 400), &expected);
        let patch = ExperimentPatch::new().allocations(shares(&more));
        prop_assert_eq!(&served(&edited(&before, patch), 400), &expected);
        // And loses it again.
        let patch = ExperimentPatch::new().allocations(shares(&arms));
        prop_assert_eq!(&served(&edited(&widened, patch), 400), &expected);

        for (variation, weight) in &more {
            let id = VARIATIONS[*variation].to_owned();
            let nobody = expected.iter().all(|(_, served)| served.as_ref() != Some(&id));
            prop_assert!(*weight > 0 || nobody, "{} of weight 0 is served", id);
        }
    }

    #[test]
    fn raising_traffic_only_adds_and_lowering_only_removes(
        arms in by_shares(),
        start in traffic(),
        steps in prop::collection::vec(traffic(), 1..8),
        salt in "[a-z]{1,12}",
        outside in any::<bool>(),
    ) {
        let outside = Some(VARIATIONS[0]).filter(|_| outside);
        let mut new = by_percentage("exp_a", &arms).salt(p(&salt)).traffic(percentage(start));
        new.outside_variation_id = outside.map(p);
        let mut snapshot = running(new);
        let mut before = (start, served(&snapshot, 300));
        let mut arm_of = BTreeMap::new();
        for step in steps {
            let patch = ExperimentPatch::new().traffic(percentage(step));
            snapshot = ok(&snapshot, Change::patch_experiment(&p("exp_a"), patch));
            let after = served(&snapshot, 300);
            for (number, (old, new)) in before.1.iter().zip(&after).enumerate() {
                let (was, is) = (old.0 == "split", new.0 == "split");
                prop_assert!(was || !is || step > before.0, "{} came in", number);
                prop_assert!(!was || is || step < before.0, "{} went out", number);
                prop_assert!(is || new.0 == "not_sampled" && new.1.as_deref() == outside);
                if is {
                    // Whoever leaves and comes back gets the same arm again, too.
                    let arm = arm_of.entry(number).or_insert(new.1.clone());
                    prop_assert_eq!(&*arm, &new.1, "{} changes arm", number);
                }
            }
            before = (step, after);
        }
    }
}

#[test]
fn traffic_0_is_nobody_and_traffic_100_everybody() {
    let arms = [(0, WHOLE / 2), (1, WHOLE / 2)];
    let inside = |traffic: &str| {
        let snapshot = running(by_percentage("exp_a", &arms).traffic(p(traffic)));
        served(&snapshot, 20_000).iter().filter(|(reason, _)| reason == "split").count()
    };
    assert_eq!(inside("0"), 0);
    assert_eq!(inside("100"), 20_000);
    // Within five standard deviations of the share.
    assert!(inside("12.5").abs_diff(2_500) < 5 * 47, "{}", inside("12.5"));
    assert!(inside("50").abs_diff(10_000) < 5 * 71, "{}", inside("50"));
}

/// Of every 43 subjects, one has a point at which some share in millionths ends.
#[test]
fn shares_end_at_the_very_point_that_is_due() {
    let whole = u128::from(WHOLE);
    let mut found = (0, 0);
    for id in (0..2_000).map(device) {
        let ends_at = |draw: &str| {
            let point = naive_point("exp_a", draw, &id);
            let share = (point * whole).div_ceil(1 << 32);
            ((share << 32) / whole == point).then(|| u64::try_from(share).unwrap())
        };
        let subject = Subject::new(&id);
        if let Some(share) = ends_at("traffic") {
            let reason = |share: u64| {
                let new = by_percentage("exp_a", &[(0, WHOLE)]).traffic(percentage(share));
                running(new).assign("exp_a", &subject).reason().to_string()
            };
            // The end is the first point that is out.
            assert_eq!(reason(share), "not_sampled");
            assert_eq!(reason(share + 1), "split");
            found.0 += 1;
        }
        if let Some(share) = ends_at("variation") {
            let arm = |share: u64| {
                let snapshot = running(by_percentage("exp_a", &[(0, share), (1, WHOLE - share)]));
                snapshot.assign("exp_a", &subject).variation_id().unwrap().to_string()
            };
            assert_eq!(arm(share), VARIATIONS[1]);
            assert_eq!(arm(share + 1), VARIATIONS[0]);
            found.1 += 1;
        }
    }
    assert!(found.0 > 20 && found.1 > 20, "{found:?}");
}

#[test]
fn a_reshuffle_needs_a_draft_or_a_pause() {
    #[track_caller]
    fn check(status: Status, allowed: bool) {
        for change in [
            Change::reshuffle(&p("exp_weights")),
            Change::Reshuffle { id: p("exp_weights"), if_version: None, salt: Some(p("new salt")) },
        ] {
            let before = brought_to(&world(), "exp_weights", status);
            let result = apply(&before, change);
            assert_eq!(result.is_ok(), allowed);
            if let Err(error) = result {
                assert_eq!((error.code(), error.path()), (Code::NotMutable, "salt"));
            }
        }
    }
    check(Status::Draft, true);
    check(Status::Active, false);
    check(Status::Paused, true);
    check(Status::Completed, false);
    check(Status::Archived, false);
}

#[test]
fn a_reshuffle_is_recorded_and_lays_out_anew() {
    let arms = |weights: [u64; 3]| {
        let list: Vec<_> = [2, 4, 5].into_iter().zip(weights.map(|w| w * 1_000_000)).collect();
        ExperimentPatch::new().allocations(shares(&list))
    };
    let first = [(2, 50_000_000), (4, 30_000_000), (5, 20_000_000)];
    let snapshot = running(by_percentage("exp_a", &first).traffic(p("60")));
    // Edits leave the slices where they are as far as they can, so they no longer lie in order.
    let snapshot = edited(&snapshot, arms([20, 30, 50]));
    let snapshot = edited(&snapshot, arms([30, 30, 40]));
    let edge = |percent: u64| (percent << 32) / 100;
    let laid_out = [(0, edge(30), 0), (edge(30), edge(60), 1), (edge(60), 1 << 32, 2)];
    let slices = |snapshot: &Snapshot| -> Vec<(u64, u64, usize)> {
        let iteration = snapshot.experiment("exp_a").unwrap().iteration();
        iteration.partition().unwrap().slices().collect()
    };
    assert_ne!(slices(&snapshot), laid_out, "the edits left a trace");
    let before = served(&snapshot, 20_000);

    let paused = ok(&snapshot, Change::set_experiment_status(&p("exp_a"), Status::Paused));
    let version = paused.experiment("exp_a").unwrap().version();
    let commit = apply(&paused, Change::reshuffle(&p("exp_a")).if_version(version)).unwrap();
    let event = commit.event.as_ref().unwrap();
    let [Change::Reshuffle { id, if_version, salt: Some(salt) }] = event.changes.as_slice() else {
        panic!("the salt must be recorded: {:?}", event.changes);
    };
    assert_eq!((id.as_str(), *if_version), ("exp_a", Some(version)));
    assert_ne!(salt.as_str(), "exp_a");
    assert_eq!(commit.snapshot.experiment("exp_a").unwrap().salt(), salt);
    assert_eq!(event.effects.len(), 1);
    assert_eq!(event.effects[0].fields, ["salt"]);
    assert_eq!(event.effects[0].version, Some(version + 1));

    let resumed =
        apply(&commit.snapshot, Change::set_experiment_status(&p("exp_a"), Status::Active));
    let resumed = resumed.unwrap();
    assert!(resumed.event.unwrap().effects[0].froze);
    assert_eq!(slices(&resumed.snapshot), laid_out);
    let after = served(&resumed.snapshot, 20_000);

    // Whoever is in both times keeps the arm by chance alone.
    let both: Vec<_> =
        before.iter().zip(&after).filter(|(a, b)| a.0 == "split" && b.0 == "split").collect();
    let moved = both.iter().filter(|(a, b)| a != b).count();
    check_share(both.len(), 20_000, 0.6 * 0.6);
    check_share(moved, both.len(), 1.0 - 0.3 * 0.3 - 0.3 * 0.3 - 0.4 * 0.4);

    // The same salt again draws nothing anew.
    let paused = ok(&resumed.snapshot, Change::set_experiment_status(&p("exp_a"), Status::Paused));
    let same = Change::Reshuffle { id: p("exp_a"), if_version: None, salt: Some(salt.clone()) };
    assert!(apply(&paused, same).unwrap().event.is_none());
}

/// Within five standard deviations of the share.
#[track_caller]
fn check_share(count: usize, of: usize, share: f64) {
    let (count, of) =
        (f64::from(u32::try_from(count).unwrap()), f64::from(u32::try_from(of).unwrap()));
    let deviation = (share * (1.0 - share) / of).sqrt();
    assert!((count / of - share).abs() < 5.0 * deviation, "{count} of {of}, not {share}");
}

#[test]
fn a_draft_that_is_reshuffled_starts_with_its_new_salt() {
    let salted = |salt: &str| {
        let mut changes = flag();
        let arms = [(0, WHOLE / 2), (1, WHOLE / 2)];
        changes.push(by_percentage("exp_a", &arms).into());
        let salt = Some(p(salt));
        changes.push(Change::Reshuffle { id: p("exp_a"), if_version: None, salt });
        changes.push(Change::set_experiment_status(&p("exp_a"), Status::Active));
        served(&ok(&Snapshot::new(), changes), 2_000)
    };
    let naive: Vec<_> = (0..2_000)
        .map(|number| {
            let point = naive_point("another", "variation", &device(number));
            let arm = VARIATIONS[usize::from(point >= 1 << 31)];
            ("split".to_owned(), Some(arm.to_owned()))
        })
        .collect();
    assert_eq!(salted("another"), naive);
    assert_ne!(salted("exp_a"), naive);
}

/// The design that is edited while an experiment is paused moves nobody before it is resumed, and a
/// resume without edits moves nobody at all.
#[test]
fn a_pause_moves_nobody() {
    let arms = [(0, 20_000_000), (1, 45_500_000), (4, 34_500_000)];
    let snapshot = running(by_percentage("exp_a", &arms).traffic(p("70")));
    let before = served(&snapshot, 2_000);
    let paused = ok(&snapshot, Change::set_experiment_status(&p("exp_a"), Status::Paused));
    assert!(served(&paused, 2_000).iter().all(|row| *row == ("paused".to_owned(), None)));
    let resumed = ok(&paused, Change::set_experiment_status(&p("exp_a"), Status::Active));
    assert_eq!(served(&resumed, 2_000), before);
    let loaded = Snapshot::from_json(paused.to_json()).unwrap();
    let resumed = ok(&loaded, Change::set_experiment_status(&p("exp_a"), Status::Active));
    assert_eq!(served(&resumed, 2_000), before);
    let refreshed = ok(&paused, Change::resume_refreshed(&p("exp_a")));
    assert_eq!(served(&refreshed, 2_000), before);
}
