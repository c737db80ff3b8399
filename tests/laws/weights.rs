//! Relative weights: what an arm has is its weight's part of the sum, in exact arithmetic, whatever
//! the sum is; a common factor changes nothing, and an edit moves no more than it must.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

use crate::common::{apply, at, ok, p, share};
use proptest::prelude::*;
use serde_json::{Value, json};
use variate::hash::{Draw, draw_seed, point, subject_hash};
use variate::{
    Allocation, Change, Code, DraftPatch, Engine, ExperimentPatch, FlagStatus, HashVersion,
    Iteration, NewExperiment, NewFlag, NewSegment, NewVariation, Partition, Rule, Snapshot, Status,
    Subject, ViolationCode, Weight, Weights,
};

/// In byte order.
const ARMS: [&str; 20] = [
    "var_1", "var_2", "var_3", "var_9", "var_A", "var_B", "var_C", "var_D", "var_E", "var_F",
    "var_Z", "var_a", "var_aa", "var_b", "var_c", "var_d", "var_e", "var_f", "var_g", "var_z",
];

/// A flag with every variation, and a segment.
fn flag() -> Snapshot {
    let flag = NewFlag::new("A flag").id(p("flg_a")).parameter("x", 1);
    let flag = ARMS.iter().fold(flag, |flag, id| flag.variation(NewVariation::new(*id).id(p(id))));
    let rule = Rule::new().when("country", variate::Expression::one_of(["DE"]));
    ok(
        &Snapshot::new(),
        vec![
            flag.into(),
            Change::set_flag_status(&p("flg_a"), FlagStatus::Active),
            NewSegment::new("Germany").id(p("seg_germany")).rule(rule).into(),
        ],
    )
}

/// Arms of these weights in millionths, listed from this one on; the first in the list is the control.
fn arms(millionths: &[u64], from: usize) -> Vec<Allocation> {
    let weight = |m: &u64| Weight::from_millionths(*m).unwrap();
    let pairs = ARMS.iter().zip(millionths);
    let mut arms: Vec<_> = pairs.map(|(id, m)| Allocation::share(p(id), weight(m))).collect();
    let count = arms.len();
    arms.rotate_left(from % count);
    arms[0].is_control = true;
    arms
}

fn new(weights: Weights, arms: Vec<Allocation>) -> NewExperiment {
    let new = NewExperiment::by_percentage("Weighed", p("flg_a")).id(p("exp_w")).weights(weights);
    arms.into_iter().fold(new, NewExperiment::allocation)
}

fn status(to: Status) -> Change {
    Change::set_experiment_status(&p("exp_w"), to)
}

fn running(weights: Weights, arms: Vec<Allocation>) -> Snapshot {
    ok(&flag(), vec![new(weights, arms).into(), status(Status::Active)])
}

fn run(snapshot: &Snapshot) -> &Iteration {
    snapshot.experiment("exp_w").unwrap().iteration()
}

/// The first point of each arm in byte order, and the end: by fractions of wide whole numbers.
fn borders(millionths: &[u64]) -> Vec<u128> {
    let sum = |upto: usize| millionths[..upto].iter().map(|m| u128::from(*m)).sum::<u128>();
    (0..=millionths.len())
        .map(|upto| sum(upto) * u128::from(Partition::POINTS) / sum(millionths.len()))
        .collect()
}

/// How many points each arm is due.
fn due(millionths: &[u64]) -> Vec<u64> {
    let borders = borders(millionths);
    borders.windows(2).map(|pair| u64::try_from(pair[1] - pair[0]).unwrap()).collect()
}

/// How many points each arm has.
fn points(iteration: &Iteration, count: usize) -> Vec<u64> {
    let (listed, cut) = (iteration.allocations().unwrap(), iteration.partition().unwrap());
    let own = |id: &str| listed.iter().position(|arm| arm.variation_id == *id);
    ARMS[..count].iter().map(|id| own(id).map_or(0, |arm| cut.points(arm))).collect()
}

/// From one millionth to a thousand million, not all 0.
fn weights() -> impl Strategy<Value = Vec<u64>> {
    let millionths = prop_oneof![
        1 => Just(0),
        2 => 1..=3_u64,
        3 => (1..=10_u64).prop_map(|whole| whole * 1_000_000),
        2 => 0..=200_000_000_u64,
        2 => 0..=Weight::MAX.millionths(),
        1 => Just(Weight::MAX.millionths()),
    ];
    prop::collection::vec(millionths, 1..=20)
        .prop_filter("all 0", |list| list.iter().any(|own| *own > 0))
}

/// Pads a list to as many arms, which have nothing.
fn padded(list: &[u64], count: usize) -> Vec<u64> {
    list.iter().copied().chain(std::iter::repeat(0)).take(count).collect()
}

/// Half of what the shares differ by, in points.
fn distance(before: &[u64], after: &[u64]) -> u64 {
    let pairs = before.iter().zip(after);
    pairs.map(|(one, other)| one.abs_diff(*other)).sum::<u64>() / 2
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_arm_has_its_part_of_the_sum(
        weights in weights(),
        from in 0..20_usize,
        ids in prop::collection::vec("[a-z0-9-]{1,12}", 1..40),
    ) {
        let snapshot = running(Weights::Relative, arms(&weights, from));
        prop_assert_eq!(points(run(&snapshot), weights.len()), due(&weights));
        let borders = borders(&weights);
        for id in &ids {
            let point = point(subject_hash(id), draw_seed("exp_w", Draw::Variation));
            let own = borders[1..].iter().position(|end| u128::from(point) < *end).unwrap();
            let subject = Subject::new(id);
            let decision = snapshot.assign("exp_w", &subject);
            prop_assert_eq!(decision.variation_id().unwrap(), &ARMS[own]);
            prop_assert_eq!(decision.reason().as_str(), "split");
        }
        let read = Snapshot::from_json(snapshot.to_json()).unwrap();
        prop_assert_eq!(&read, &snapshot);
        prop_assert_eq!(read.to_json(), snapshot.to_json());
        // What a person writes, without the run, lies as at first.
        let mut written: Value = serde_json::to_value(&snapshot).unwrap();
        written["experiments"][0].as_object_mut().unwrap().remove("iteration");
        let written = Snapshot::from_json(written.to_string()).unwrap();
        prop_assert_eq!(run(&written).partition(), run(&snapshot).partition());
    }

    #[test]
    fn a_common_factor_changes_nothing(
        parts in prop::collection::vec(0..=1_000_000_u64, 2..=20),
        factor in 1..=1_000_u64,
        from in 0..20_usize,
    ) {
        prop_assume!(parts.iter().any(|part| *part > 0));
        let scaled: Vec<u64> = parts.iter().map(|part| part * factor).collect();
        let [one, other] =
            [&parts, &scaled].map(|list| running(Weights::Relative, arms(list, from)));
        prop_assert_eq!(run(&one).partition(), run(&other).partition());
        prop_assert_eq!(run(&one).moved(run(&other)), Some(0));
        // An edit to the same weights by another factor moves nobody.
        let patch = ExperimentPatch::new().allocations(arms(&scaled, from));
        let change = Change::patch_experiment(&p("exp_w"), patch);
        let edited = ok(&one, vec![status(Status::Paused), change, status(Status::Active)]);
        prop_assert_eq!(run(&edited).moved(run(&one)), Some(0));
    }

    #[test]
    fn percentages_are_the_same_read_either_way(cuts in prop::collection::vec(0..=100_u64, 0..=19)) {
        let mut cuts = cuts;
        cuts.extend([0, 100]);
        cuts.sort_unstable();
        let percent: Vec<u64> = cuts.windows(2).map(|own| (own[1] - own[0]) * 1_000_000).collect();
        let factor = percent.iter().fold(0, |a, b| gcd(a, *b));
        let least: Vec<u64> = percent.iter().map(|own| own / factor).collect();
        let before = running(Weights::Percent, arms(&percent, 0));
        for list in [&percent, &least] {
            let after = running(Weights::Relative, arms(list, 0));
            prop_assert_eq!(run(&before).partition(), run(&after).partition());
            for n in 0..50 {
                let id = format!("device-{n}");
                let subject = Subject::new(&id);
                let [one, other] = [&before, &after]
                    .map(|own| own.assign("exp_w", &subject).variation_id().cloned());
                prop_assert_eq!(one, other);
            }
        }
    }

    #[test]
    fn an_edit_moves_exactly_the_distance(history in prop::collection::vec((weights(), 0..20_usize), 2..6)) {
        let engine = Engine::from_snapshot(flag());
        let start = engine.snapshot();
        let events = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let told = std::sync::Arc::clone(&events);
        engine.listen(move |event, _| told.lock().unwrap().push(event.clone())).unwrap();
        let (first, from) = &history[0];
        engine.commit(new(Weights::Relative, arms(first, *from))).unwrap();
        engine.commit(status(Status::Active)).unwrap();
        for (step, pair) in history.windows(2).enumerate() {
            let ((old, _), (new, from)) = (&pair[0], &pair[1]);
            let before = engine.snapshot();
            // While it is paused, or by a next iteration.
            if step % 2 == 0 {
                engine.commit(status(Status::Paused)).unwrap();
                let patch = ExperimentPatch::new().allocations(arms(new, *from));
                engine.commit(Change::patch_experiment(&p("exp_w"), patch)).unwrap();
                engine.commit(status(Status::Active)).unwrap();
            } else {
                let patch = DraftPatch::new().allocations(arms(new, *from));
                engine.commit(Change::draft_iteration(&p("exp_w"), patch)).unwrap();
                let drafted = engine.snapshot();
                prop_assert!(drafted.draft_readiness("exp_w").unwrap().is_ready());
                prop_assert_eq!(&Snapshot::from_json(drafted.to_json()).unwrap(), &*drafted);
                engine.commit(Change::start_iteration(&p("exp_w"))).unwrap();
            }
            let after = engine.snapshot();
            let count = old.len().max(new.len());
            let shares = [old, new].map(|list| padded(&due(list), count));
            prop_assert_eq!(points(run(&after), count), shares[1].clone());
            let least = distance(&shares[0], &shares[1]);
            prop_assert_eq!(run(&before).moved(run(&after)), Some(least));
            let moves = before.preview(&after).shares("exp_w", at(0)).unwrap();
            let share = moves.moved() * 4_294_967_296.0;
            prop_assert!((share - to_f64(least)).abs() < 1e-3, "{share} {least}");
            prop_assert_eq!(&Snapshot::from_json(after.to_json()).unwrap(), &*after);
        }
        let events = events.lock().unwrap();
        prop_assert_eq!(start.replay(&*events).unwrap().to_json(), engine.to_json());
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// At most 2^32, which a float holds exactly.
fn to_f64(points: u64) -> f64 {
    u32::try_from(points).map_or(4_294_967_296.0, f64::from)
}

#[test]
fn twenty_arms_of_the_largest_weight_have_a_twentieth_each() {
    let most = [Weight::MAX.millionths(); 20];
    let snapshot = running(Weights::Relative, arms(&most, 3));
    let shares = points(run(&snapshot), 20);
    assert_eq!(shares, due(&most));
    assert_eq!(shares.iter().sum::<u64>(), Partition::POINTS);
    assert!(shares.iter().all(|own| own.abs_diff(Partition::POINTS / 20) <= 1));
}

#[test]
fn weights_are_said_once_and_left_out_when_they_are_percentages() {
    #[track_caller]
    fn check(weights: Weights, name: Option<&str>) {
        let change = Change::from(new(weights, vec![share("var_a", "100").control()]));
        let json = serde_json::to_value(&change).unwrap();
        assert_eq!(json.get("weights"), name.map(Value::from).as_ref());
        assert_eq!(Change::from_json(json.to_string()).unwrap(), change);
        let snapshot = ok(&flag(), change);
        let json = serde_json::to_value(&snapshot).unwrap();
        assert_eq!(json["experiments"][0].get("weights"), name.map(Value::from).as_ref());
        assert_eq!(snapshot.experiment("exp_w").unwrap().weights(), weights);
    }
    check(Weights::Percent, None);
    check(Weights::Relative, Some("relative"));
    let json = json!({
        "change": "create_experiment", "name": "W", "flag_id": "flg_a", "strategy": "percentage",
        "weights": "percent",
    });
    let change = Change::from_json(json.to_string()).unwrap();
    assert!(!serde_json::to_string(&change).unwrap().contains("weights"));
    let patch = r#"{"change": "patch_experiment", "id": "exp_w", "patch": {"weights": "percent"}}"#;
    assert_eq!(Change::from_json(patch).unwrap_err().code(), Code::UnknownKey);
}

#[test]
fn what_weights_an_experiment_is_ready_with() {
    #[track_caller]
    fn check(new: NewExperiment, violation: Option<&str>) {
        let snapshot = ok(&flag(), new);
        let readiness = snapshot.readiness("exp_w").unwrap();
        let found: Vec<_> =
            readiness.violations().iter().map(|own| (own.code(), own.message())).collect();
        let invalid = ViolationCode::ExperimentInvalidAllocationWeights;
        let wanted: Vec<_> = violation.map(|message| (invalid, message)).into_iter().collect();
        assert_eq!(found, wanted);
        let started = apply(&snapshot, status(Status::Active));
        assert_eq!(started.is_ok(), violation.is_none());
    }
    let incomplete = Some("every allocation needs a weight, and one of them more than 0");
    let relative = |list: &[Option<&str>]| {
        let weighed = |(id, weight): (&&str, Option<&str>)| Allocation {
            weight: weight.map(p),
            ..Allocation::ramped(p(id))
        };
        let mut arms: Vec<_> = ARMS.iter().zip(list.iter().copied()).map(weighed).collect();
        arms[0].is_control = true;
        new(Weights::Relative, arms)
    };
    check(relative(&[Some("1"), Some("2")]), None);
    check(relative(&[Some("0.000001")]), None);
    check(relative(&[Some("0"), Some("1000000000")]), None);
    check(relative(&[Some("60"), Some("60")]), None);
    check(relative(&[Some("0"), Some("0")]), incomplete);
    check(relative(&[Some("100"), None]), incomplete);
    check(relative(&[None, None]), incomplete);
    // As a ramp, with weights and without.
    let ramp = |list| relative(list).levels([p("10"), p("50")]);
    check(ramp(&[Some("1"), Some("2")]), None);
    check(ramp(&[None, None]), None);
    check(ramp(&[Some("1"), None]), incomplete);
    let percent = |own: NewExperiment| own.weights(Weights::Percent);
    check(
        percent(relative(&[Some("1"), Some("2")])),
        Some("the weights must sum to exactly 100, not 3"),
    );
    if cfg!(feature = "launchdarkly") {
        let sha1 = |list| relative(list).hash(HashVersion::Sha1V1).salt(p("7"));
        check(sha1(&[Some("1000000000"), Some("500")]), None);
        check(sha1(&[Some("0"), Some("0")]), incomplete);
    }
}

/// A ramp's traffic grows beside relative weights as beside percentages.
#[test]
fn ramps_go_by_relative_weights() {
    let ramp = |weights, list: &[u64]| {
        let new = new(weights, arms(list, 0)).levels([p("10"), p("50")]);
        let advance = Change::advance_ramp(&p("exp_w"), p("50"));
        let first = ok(&flag(), vec![new.into(), status(Status::Active)]);
        let second = ok(&first, advance);
        [first, second]
    };
    let percent = ramp(Weights::Percent, &[25_000_000, 25_000_000, 50_000_000]);
    let relative = ramp(Weights::Relative, &[1, 1, 2]);
    for (one, other) in percent.iter().zip(&relative) {
        for n in 0..500 {
            let id = format!("device-{n}");
            let subject = Subject::new(&id);
            let [a, b] = [one, other].map(|own| {
                let decision = own.assign("exp_w", &subject);
                (decision.reason(), decision.variation_id().cloned())
            });
            assert_eq!(a, b);
        }
    }
}

#[test]
fn weights_out_of_range_are_refused_where_they_stand() {
    #[track_caller]
    fn check(snapshot: &Snapshot, change: Change, code: Code, path: &str, rule: &str) {
        let error = apply(snapshot, change).unwrap_err();
        assert_eq!((error.code(), error.path(), error.rule()), (code, path, rule));
    }
    let percent = "must be a number from 0 to 100 with at most 6 decimals";
    let heavy = || vec![share("var_a", "1").control(), share("var_b", "100.000001")];
    let patch =
        || Change::patch_experiment(&p("exp_w"), ExperimentPatch::new().allocations(heavy()));
    let draft = || Change::draft_iteration(&p("exp_w"), DraftPatch::new().allocations(heavy()));
    let flag = flag();
    let whole = || vec![share("var_a", "100").control()];
    let at = "allocations[1].weight";
    check(&flag, new(Weights::Percent, heavy()).into(), Code::InvalidValue, at, percent);
    let percents = ok(&flag, new(Weights::Percent, whole()));
    check(&percents, patch(), Code::InvalidValue, &format!("patch.{at}"), percent);
    let active = ok(&percents, status(Status::Active));
    check(&active, draft(), Code::InvalidValue, &format!("patch.{at}"), percent);
    // Relative weights go on from there.
    ok(&flag, new(Weights::Relative, heavy()));
    let relative = ok(&flag, new(Weights::Relative, whole()));
    ok(&relative, patch());
    ok(&ok(&relative, status(Status::Active)), draft());
    // By segment there is one sum.
    let segmented = NewExperiment::by_segment("S", p("flg_a"))
        .allocation(Allocation::fallback(p("var_a")).control());
    check(
        &flag,
        segmented.weights(Weights::Relative).into(),
        Code::InvalidValue,
        "weights",
        "is only for experiments that assign by percentage",
    );
}

#[test]
fn documents_have_weights_in_range() {
    #[track_caller]
    fn check(pointer: &str, value: Value, error: Option<(&str, &str)>) {
        let snapshot = running(Weights::Relative, arms(&[1_000_000, 2_000_000], 0));
        let draft = DraftPatch::new().allocations(arms(&[3_000_000], 0));
        let draft = Change::draft_iteration(&p("exp_w"), draft);
        let snapshot = ok(&snapshot, vec![draft, status(Status::Paused)]);
        let mut document = serde_json::to_value(&snapshot).unwrap();
        let own = &mut document["experiments"][0];
        // The run says what it froze.
        own["iteration"]["allocations"] = own["allocations"].clone();
        match pointer {
            "weights" => _ = own.as_object_mut().unwrap().remove("weights"),
            pointer => *own.pointer_mut(pointer).unwrap() = value,
        }
        let read = Snapshot::from_json(document.to_string());
        let found = read.as_ref().err().map(|error| (error.path(), error.rule()));
        let path = error.map(|(path, rule)| (format!("experiments[0].{path}"), rule));
        assert_eq!(found, path.as_ref().map(|(path, rule)| (path.as_str(), *rule)));
    }
    let range = "must be a number from 0 to 100 with at most 6 decimals, or to 1000000000 where \
                 weights are relative";
    let most = json!(1_000_000_000);
    for (pointer, path) in [
        ("/allocations/0/weight", "allocations[0].weight"),
        ("/draft/allocations/0/weight", "draft.allocations[0].weight"),
        ("/iteration/allocations/0/weight", "iteration.allocations[0].weight"),
    ] {
        check(pointer, most.clone(), None);
        for value in [json!(1_000_000_001), json!(-1), json!(0.000_000_1)] {
            check(pointer, value, Some((path, range)));
        }
    }
    let strategy = ("weights", "is only for experiments that assign by percentage");
    check("/strategy", json!("segment"), Some(strategy));
    // Without them the document is one of percentages.
    check(
        "weights",
        Value::Null,
        Some(("iteration.allocations", "must have been ready when it was frozen")),
    );
}
