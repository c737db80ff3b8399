//! What is legal and surely not meant: each finding, and that none is wrong.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::borrow::Borrow;

use crate::common::{at, brought_to, ok, p, world};
use proptest::prelude::*;
use serde_json::json;
use variate::{
    Allocation, Change, ExperimentPatch, Expression, LayerPatch, NewExperiment, NewHoldout,
    NewLayer, NewSegment, Percentage, Reason, Rule, Semver, Snapshot, Stage, Status, Subject,
};

/// The code and the message of each finding, in the order of entities.
#[track_caller]
fn check(snapshot: &Snapshot, expected: &[&str]) {
    let found: Vec<String> = snapshot.lint(at(100)).iter().map(ToString::to_string).collect();
    assert_eq!(found, expected);
    // Saving changes nothing about it.
    let read = Snapshot::from_json(snapshot.to_json()).unwrap();
    assert_eq!(read.lint(at(100)), snapshot.lint(at(100)));
}

fn percent(whole: u32) -> Percentage {
    whole.try_into().unwrap()
}

fn patched(patch: ExperimentPatch) -> Snapshot {
    ok(&world(), Change::patch_experiment(&p("exp_weights"), patch))
}

fn arm(variation: &str, weight: u32) -> Allocation {
    Allocation::share(p(variation), weight.try_into().unwrap())
}

#[test]
fn a_world_without_faults_has_no_findings() {
    check(&world(), &[]);
    check(&Snapshot::new(), &[]);
    for status in Status::ALL {
        check(&brought_to(&world(), "exp_weights", *status), &[]);
    }
}

#[test]
fn what_is_wrong_with_an_experiment() {
    let ended = ExperimentPatch::new().ends_at(at(100));
    let expired = "schedule_expired: exp_weights: its schedule ended at 1970-01-01T00:01:40.000Z";
    let mut snapshot = patched(ended);
    check(&snapshot, &[expired]);
    for (status, expected) in [
        (Status::Active, &[expired][..]),
        (Status::Paused, &[expired]),
        (Status::Completed, &[]),
        (Status::Archived, &[]),
    ] {
        snapshot = ok(&snapshot, Change::set_experiment_status(&p("exp_weights"), status));
        check(&snapshot, expected);
    }
    check(&patched(ExperimentPatch::new().ends_at(at(101))), &[]);

    let stages = [(200, 5), (300, 10), (400, 20)];
    let stages = stages.map(|(second, share)| Stage { at: at(second), traffic: percent(share) });
    let low = ExperimentPatch::new().traffic(percent(10)).stages(stages);
    check(
        &patched(low),
        &[
            "stage_without_effect: exp_weights: the stage at 1970-01-01T00:03:20.000Z is no higher \
             than the traffic, 10",
            "stage_without_effect: exp_weights: the stage at 1970-01-01T00:05:00.000Z is no higher \
             than the traffic, 10",
        ],
    );

    let bare = ExperimentPatch::new().allocations([arm("var_a", 0).control(), arm("var_b", 100)]);
    check(
        &patched(bare),
        &["control_without_weight: exp_weights: its control, var_a, has weight 0"],
    );

    let same = ExperimentPatch::new().allocations([arm("var_b", 50).control(), arm("var_a", 50)]);
    check(
        &patched(same),
        &["variation_changes_nothing: exp_weights: var_a serves the flag's defaults"],
    );
}

#[test]
fn experiments_on_one_flow_with_one_salt() {
    let twin = |id: &str, flow: Option<&str>, kind: &str| {
        let name = format!("Twin {id}");
        let new = NewExperiment::by_percentage(name, p("flg_a")).id(p(id)).salt(p("pepper"));
        let new = new.subject_kind(kind).allocation(arm("var_a", 50).control());
        let new = new.allocation(arm("var_b", 50));
        Change::from(flow.map_or(new.clone(), |flow| new.flow(flow)))
    };
    let alone = ok(&world(), twin("exp_a", Some("login"), "device"));
    check(&alone, &[]);
    let apart = [
        twin("exp_b", Some("checkout"), "device"),
        twin("exp_c", None, "device"),
        twin("exp_d", Some("login"), "user"),
    ];
    check(&ok(&alone, apart.to_vec()), &[]);
    let two = ok(&alone, twin("exp_b", Some("login"), "device"));
    check(
        &two,
        &[
            "shared_salt: exp_a: it has the salt \"pepper\" of exp_b",
            "shared_salt: exp_b: it has the salt \"pepper\" of exp_a",
        ],
    );
    check(&ok(&two, Change::set_experiment_status(&p("exp_b"), Status::Archived)), &[]);
}

#[test]
fn what_is_wrong_with_layers_and_holdouts() {
    let layer = NewLayer::new("A layer", "device").id(p("lay_a"));
    let empty = ok(&world(), Change::from(layer));
    check(&empty, &["layer_empty: lay_a: it has no members"]);
    let members = |own: u32, other: u32| {
        let members = [(p("exp_weights"), percent(own)), (p("exp_segments"), percent(other))];
        LayerPatch::new().members(members.into_iter().collect::<std::collections::BTreeMap<_, _>>())
    };
    let change = |own, other| Change::patch_layer(&p("lay_a"), members(own, other));
    check(&ok(&empty, change(60, 40)), &[]);
    check(&ok(&empty, change(99, 0)), &[]);
    let full = ok(&empty, change(100, 0));
    check(
        &full,
        &["layer_overfull: lay_a: its member exp_segments has no share, and none is free"],
    );
    let mut over = ok(&empty, change(60, 40));
    for status in [Status::Active, Status::Completed] {
        over = ok(&over, Change::set_experiment_status(&p("exp_weights"), status));
    }
    check(&over, &["member_idle: lay_a: its member exp_weights is completed and holds 60 %"]);

    let holdout = NewHoldout::new("A holdout", "device", percent(5)).id(p("hld_a"));
    let held = ok(&world(), Change::from(holdout.clone()));
    check(&held, &["holdout_empty: hld_a: it has no experiments"]);
    let of_one = holdout.experiment(p("exp_weights"));
    check(&ok(&world(), Change::from(of_one)), &[]);
}

#[test]
fn experiments_that_meet_on_one_flag() {
    let twin = |id: &str, flow: Option<&str>, kind: &str| {
        let new = NewExperiment::by_percentage(format!("Twin {id}"), p("flg_a")).id(p(id));
        let new = new.subject_kind(kind).allocation(arm("var_a", 50).control());
        let new = new.allocation(arm("var_b", 50));
        [
            Change::from(flow.map_or(new.clone(), |flow| new.flow(flow))),
            Change::set_experiment_status(&p(id), Status::Active),
        ]
    };
    let login = ok(&world(), twin("exp_a", Some("login"), "device"));
    check(&login, &[]);
    check(&ok(&login, twin("exp_b", None, "device")), &[]);
    check(&ok(&login, twin("exp_b", Some("login"), "user")), &[]);
    let contested = [
        "flag_contested: exp_a: exp_b vary flg_a for the same subjects, in no common layer",
        "flag_contested: exp_b: exp_a vary flg_a for the same subjects, in no common layer",
    ];
    for flow in ["login", "all"] {
        let two = ok(&login, twin("exp_b", Some(flow), "device"));
        check(&two, &contested);
        let pause =
            ["exp_a", "exp_b"].map(|id| Change::set_experiment_status(&p(id), Status::Paused));
        let paused = ok(&two, pause);
        check(&paused, &[]);
        let layer = NewLayer::new("A layer", "device").id(p("lay_a"));
        let layer = layer.member(p("exp_a"), percent(50)).member(p("exp_b"), percent(50));
        let start =
            ["exp_a", "exp_b"].map(|id| Change::set_experiment_status(&p(id), Status::Active));
        check(&ok(&ok(&paused, Change::from(layer)), start), &[]);
    }
}

#[test]
fn what_serves_whom_it_should_not() {
    let outside = ExperimentPatch::new().outside_variation_id(p("var_b"));
    let treated = "outside_serves_treatment: exp_weights: var_b, which is an arm, is served \
                   outside the experiment too";
    check(&patched(outside), &[treated]);
    check(&patched(ExperimentPatch::new().outside_variation_id(p("var_a"))), &[]);
    check(&patched(ExperimentPatch::new().outside_variation_id(p("var_d"))), &[]);
    // The control of a divided fallback, and its variation in a divided segment.
    let germany = |variation: &str, weight: u32| {
        let arm = Allocation::segment(p(variation), p("seg_germany"), 1).unwrap();
        arm.weighing(weight.try_into().unwrap())
    };
    let fallback = |variation: &str, weight: u32| {
        Allocation::fallback(p(variation)).weighing(weight.try_into().unwrap())
    };
    let divided = |control: u32| {
        let arms = [
            germany("var_a", 10),
            germany("var_b", 90),
            fallback("var_a", control).control(),
            fallback("var_c", 100 - control),
        ];
        let patch = ExperimentPatch::new().allocations(arms);
        ok(&world(), Change::patch_experiment(&p("exp_segments"), patch))
    };
    check(&divided(50), &[]);
    let bare = "control_without_weight: exp_segments: its control, var_a, has weight 0";
    check(&divided(0), &[bare]);
    let late = ExperimentPatch::new()
        .traffic(percent(0))
        .ends_at(at(400))
        .stages([Stage { at: at(400), traffic: percent(50) }]);
    check(
        &patched(late),
        &[
            "stage_without_effect: exp_weights: the stage at 1970-01-01T00:06:40.000Z begins when the \
           schedule is over, at 1970-01-01T00:06:40.000Z",
        ],
    );
    let idle =
        NewLayer::new("A layer", "device").id(p("lay_a")).member(p("exp_weights"), percent(0));
    check(
        &ok(&world(), Change::from(idle)),
        &["layer_empty: lay_a: it has no member with a share"],
    );
}

fn rule(json: &serde_json::Value) -> Rule {
    serde_json::from_value(json.clone()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn rules_that_cannot_match() {
    fn check(json: impl Borrow<serde_json::Value>, never: bool) {
        let json = json.borrow();
        let new = NewSegment::new("Nobody").id(p("seg_nobody")).rule(rule(json));
        let found = ok(&world(), Change::from(new)).lint(at(0));
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        let expected = "rule_never_matches: seg_nobody: rules[0] cannot match any subject";
        assert_eq!(found, if never { vec![expected] } else { vec![] }, "{json}");
    }
    check(json!({"match": {"a": ["x"]}, "not_match": {"a": ["x", "y"]}}), true);
    check(json!({"match": {"a": ["x", "z"]}, "not_match": {"a": ["x", "y"]}}), false);
    check(json!({"match": {"a": ["xy"]}, "not_match": {"a": {"starts_with": ["x"]}}}), true);
    check(
        json!({"match": {"a": {"starts_with": ["xy"]}}, "not_match": {"a": {"contains": ["y"]}}}),
        true,
    );
    check(
        json!({"match": {"a": {"starts_with": ["x"]}}, "not_match": {"a": {"starts_with": ["xy"]}}}),
        false,
    );
    check(json!({"match": {"a": ["x"]}, "not_match": {"a": {"exists": true}}}), true);
    check(json!({"match": {"a": {"exists": false}}, "not_match": {"a": {"exists": true}}}), false);
    check(json!({"match": {"a": ["x"]}, "not_match": {"b": ["x"]}}), false);
    check(json!({"match": {"a": {"number": {"gte": 5, "lt": 5}}}}), true);
    check(json!({"match": {"a": {"number": {"gte": 5, "lte": 5}}}}), false);
    check(json!({"match": {"a": {"number": {"gt": 6, "lt": 5.5}}}}), true);
    check(json!({"match": {"a": {"semver": {"gte": "2.0.0", "lt": "2.0.0-rc.1"}}}}), true);
    check(json!({"match": {"a": {"semver": {"gte": "2.0.0-rc.1", "lt": "2.0.0"}}}}), false);
    check(
        json!({"match": {"a": {"date": {"gt": "2026-01-01T00:00:00Z", "lt": "2025-01-01T00:00:00Z"}}}}),
        true,
    );
    check(json!({"all": [{"match": {"a": ["x"]}}, {"match": {"a": ["y"]}}]}), true);
    check(json!({"all": [{"match": {"a": ["x"]}}, {"match": {"b": ["y"]}}]}), false);
    check(
        json!({"all": [{"match": {"a": {"boolean": true}}}, {"match": {"a": {"number": {"eq": 1}}}}]}),
        true,
    );
    check(
        json!({"all": [{"match": {"a": {"exists": false}}}, {"match": {"a": {"boolean": true}}}]}),
        true,
    );
    let never = json!({"match": {"a": ["x"]}, "not_match": {"a": ["x"]}});
    check(json!({"any": [never, {"match": {"a": ["x"]}}]}), false);
    check(json!({"any": [never, never]}), true);
    check(json!({"match": {"b": ["x"]}, "all": [{"any": [never]}]}), true);
    check(json!({"not": [never]}), false);
}

#[test]
fn segments_that_nobody_reaches() {
    fn check(earlier: &[&serde_json::Value], later: &[&serde_json::Value], unreachable: bool) {
        let rules =
            |list: &[&serde_json::Value]| list.iter().map(|json| rule(json)).collect::<Vec<_>>();
        let segment = |id: &str, list| {
            let new = NewSegment::new(format!("Segment {id}")).id(p(id));
            Change::from(rules(list).into_iter().fold(new, NewSegment::rule))
        };
        let arm = |variation: &str, id: &str, priority| {
            Allocation::segment(p(variation), p(id), priority).unwrap()
        };
        let patch = ExperimentPatch::new().allocations([
            // Listed in another order than they are asked.
            arm("var_c", "seg_next", 2),
            arm("var_b", "seg_first", 1),
            Allocation::fallback(p("var_a")).control(),
        ]);
        let snapshot = ok(
            &world(),
            vec![
                segment("seg_first", earlier),
                segment("seg_next", later),
                Change::patch_experiment(&p("exp_segments"), patch),
            ],
        );
        let found: Vec<String> = snapshot.lint(at(0)).iter().map(ToString::to_string).collect();
        let expected = "segment_unreachable: exp_segments: whoever is in seg_next is in \
                        seg_first, which is asked before";
        let expected = if unreachable { vec![expected] } else { vec![] };
        assert_eq!(found, expected, "{earlier:?} {later:?}");
    }
    let de = json!({"match": {"country": ["DE"]}});
    let dach = json!({"match": {"country": ["DE", "AT", "CH"]}});
    let there = json!({"match": {"country": {"exists": true}}});
    let de_ios = json!({"match": {"country": ["DE"], "platform": {"starts_with": ["ios/4"]}}});
    let ios = json!({"match": {"platform": {"starts_with": ["ios"]}}});
    check(&[&dach], &[&de], true);
    check(&[&de], &[&dach], false);
    check(&[&there], &[&dach], true);
    check(&[&ios], &[&de_ios], true);
    check(&[&de_ios], &[&ios], false);
    // Each rule by another.
    check(&[&ios, &dach], &[&de_ios, &de], true);
    check(&[&ios], &[&de_ios, &de], false);
    let no_partner =
        json!({"match": {"country": ["DE"]}, "not_match": {"partner": {"exists": true}}});
    check(&[&no_partner], &[&de], false);
    check(&[&de], &[&no_partner], true);
    let no_ikea = json!({"match": {"country": ["DE"]}, "not_match": {"partner": ["ikea"]}});
    check(&[&no_ikea], &[&no_partner], true);
    check(&[&no_partner], &[&no_ikea], false);
    let adult = json!({"match": {"age": {"number": {"gte": 18}}}});
    let thirties = json!({"match": {"age": {"number": {"gte": 30, "lt": 40}}}});
    let twenty = json!({"match": {"age": {"number": {"eq": 20}}}});
    check(&[&adult], &[&thirties, &twenty], true);
    check(&[&thirties], &[&adult], false);
}

#[test]
fn a_running_experiment_is_judged_by_what_it_froze() {
    let germany = |snapshot: &Snapshot, platforms: &[&str]| {
        let rule = Rule::new().when("platform", Expression::starts_with(platforms.iter().copied()));
        let patch = variate::SegmentPatch::new().rules([rule]);
        ok(snapshot, Change::patch_segment(&p("seg_germany"), patch))
    };
    let running = brought_to(&world(), "exp_segments", Status::Active);
    check(&germany(&running, &["ios"]), &[]);
    check(
        &germany(&world(), &["ios"]),
        &["segment_unreachable: exp_segments: whoever is in seg_ios is in seg_germany, which is \
           asked before"],
    );
}

/// An expression over few values, so that rules meet.
fn expression() -> impl Strategy<Value = Expression> {
    let text = || prop::sample::select(vec!["a", "ab", "b", "ba", "1.0.0", "1.1.0"]);
    let texts = move || prop::collection::vec(text(), 1..3);
    let number = || 0..4_i64;
    let version = || prop::sample::select(vec!["1.0.0-a", "1.0.0", "1.1.0"]).prop_map(p::<Semver>);
    prop_oneof![
        texts().prop_map(Expression::one_of),
        texts().prop_map(Expression::listed),
        texts().prop_map(Expression::contains),
        texts().prop_map(Expression::starts_with),
        texts().prop_map(Expression::ends_with),
        any::<bool>().prop_map(Expression::Exists),
        any::<bool>().prop_map(Expression::Boolean),
        (number(), number()).prop_map(|(low, high)| Expression::number(low..=high)),
        (number(), number()).prop_map(|(low, high)| Expression::number(low..high)),
        number().prop_map(|low| Expression::number(low..)),
        (version(), version()).prop_map(|(low, high)| Expression::semver(low..high)),
        version().prop_map(|low| Expression::semver(low..)),
        (0..4_i64).prop_map(|second| Expression::date(at(second)..)),
        texts().prop_map(|texts| Expression::path(["x"], Expression::one_of(texts))),
        any::<bool>().prop_map(|there| Expression::path(["x"], Expression::Exists(there))),
    ]
}

fn rules() -> impl Strategy<Value = Rule> {
    let conditions = || prop::collection::btree_map(0..3_usize, expression(), 0..3);
    let leaf = (conditions(), conditions()).prop_filter_map("no condition", |(when, unless)| {
        let name = |index: usize| ["a", "b", "c"].get(index).copied().unwrap_or_default();
        let empty = when.is_empty() && unless.is_empty();
        let rule = when.into_iter().fold(Rule::new(), |rule, (i, e)| rule.when(name(i), e));
        let rule = unless.into_iter().fold(rule, |rule, (i, e)| rule.unless(name(i), e));
        (!empty).then_some(rule)
    });
    leaf.prop_recursive(2, 6, 2, |inner| {
        let list = || prop::collection::vec(inner.clone(), 1..3);
        prop_oneof![
            (inner.clone(), list()).prop_map(|(rule, list)| rule.all_of(list)),
            (inner.clone(), list()).prop_map(|(rule, list)| rule.any_of(list)),
            (inner.clone(), list()).prop_map(|(rule, list)| rule.none_of(list)),
        ]
    })
}

fn attributes() -> impl Strategy<Value = serde_json::Value> {
    let value = prop_oneof![
        prop::sample::select(vec![
            "a",
            "ab",
            "b",
            "ba",
            "1.0.0",
            "1.1.0",
            "1.0.0-a",
            "1970-01-01T00:00:02Z"
        ])
        .prop_map(|text| json!(text)),
        (0..4_i64).prop_map(|number| json!(number)),
        Just(json!(1.5)),
        any::<bool>().prop_map(|value| json!(value)),
        Just(json!({"x": "a"})),
        Just(json!({})),
        Just(json!(null)),
    ];
    prop::collection::btree_map(prop::sample::select(vec!["a", "b", "c"]), value, 0..4)
        .prop_map(|map| json!(map))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// What is said to match nobody matches nobody, and what is said to be out of reach is never
    /// reached.
    #[test]
    fn no_finding_about_rules_is_wrong(
        first in prop::collection::vec(rules(), 1..4),
        later in prop::collection::vec(rules(), 1..3),
        subjects in prop::collection::vec(attributes(), 40),
    ) {
        let segment = |id: &str, rules: &[Rule]| {
            let new = NewSegment::new(format!("Segment {id}")).id(p(id));
            Change::from(rules.iter().cloned().fold(new, NewSegment::rule))
        };
        let arm = |variation: &str, id: &str, priority| {
            Allocation::segment(p(variation), p(id), priority).unwrap()
        };
        let patch = ExperimentPatch::new().allocations([
            arm("var_b", "seg_first", 1),
            arm("var_c", "seg_next", 2),
            Allocation::fallback(p("var_a")).control(),
        ]);
        let exp = p("exp_segments");
        let snapshot = ok(
            &world(),
            vec![
                segment("seg_first", &first),
                segment("seg_next", &later),
                Change::patch_experiment(&exp, patch),
                Change::set_experiment_status(&exp, Status::Active),
            ],
        );
        let later_id = p("seg_next");
        for finding in snapshot.lint(at(0)) {
            let (code, message) = (finding.code().as_str(), finding.message());
            for attributes in &subjects {
                let subject = Subject::new("d").with_attributes(attributes);
                match code {
                    "segment_unreachable" => {
                        let reason = snapshot.assign(&exp, &subject).reason();
                        prop_assert_ne!(reason, Reason::Segment(&later_id), "{}", attributes);
                    }
                    "rule_never_matches" => {
                        let index: usize =
                            message.trim_start_matches("rules[").split(']').next().unwrap().parse().unwrap();
                        let rule = snapshot.segment(finding.id()).unwrap().rules().get(index);
                        prop_assert!(!rule.unwrap().holds(attributes), "{attributes} {message}");
                    }
                    other => prop_assert!(false, "{}", other),
                }
            }
        }
    }
}
