//! Analyses: what can be one and what cannot, when each part changes or grows, and that who gets
//! what does not depend on it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

use crate::common::{apply, brought_to, ok, p, world};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Map, Value, json};
use variate::{
    Analysis, AnalysisKind, AnalysisPatch, Change, Code, DraftPatch, Error, Event, ExperimentPatch,
    Field, Goal, Methodology, MetricDefinition, MetricUse, NewExperiment, NewHoldout, NewMetric,
    Number, Snapshot, Status, Subject,
};

const SINGLES: [&str; 5] = ["met_a", "met_b", "met_c", "met_d", "met_e"];

/// The world with single metrics `met_a` to `met_e`, `met_p95` that is read by a percentile, a
/// funnel `met_steps`, and groups `met_group` and `met_heavy`, which has `met_p95`.
fn measured() -> Snapshot {
    let new = |id: &str, own| NewMetric::new("A metric", own).id(p(id));
    let mut metrics: Vec<Change> = Vec::new();
    for id in SINGLES {
        metrics.push(new(id, MetricDefinition::conversion(p(id))).into());
    }
    let mut slow = MetricDefinition::numeric(p("load"));
    slow.analysis_type = Some(variate::AnalysisType::Percentile);
    slow.percentile = Some(p("95"));
    let steps = [(p("met_a"), p("first")), (p("met_b"), p("then"))];
    metrics.extend([
        new("met_p95", slow).into(),
        new("met_steps", MetricDefinition::funnel(steps)).into(),
        new("met_group", MetricDefinition::group([p("met_a")])).into(),
        new("met_heavy", MetricDefinition::group([p("met_a"), p("met_p95")])).into(),
    ]);
    ok(&world(), metrics)
}

/// An analysis with every member, as it is printed.
fn full() -> Value {
    json!({
        "hypothesis": "Shorter is better,\nsays \"everyone\" 🙂",
        "kind": "holdout",
        "methodology": "frequentist",
        "data_source": "snowflake",
        "metrics": [
            {"metric_id": "met_a", "is_primary": true, "unit": "device"},
            {"metric_id": "met_group"},
        ],
        "attributes": ["country", "app"],
        "covariate_id": "c0ffee",
        "bayesian_threshold": 95.5,
        "significance_threshold": 0.05,
        "test_direction": "one_sided",
        "correction": {"method": "benjamini_hochberg", "scope": "variations_and_metrics"},
        "sequential": true,
        "goal": {"metric": "trial to paid", "value": 2.5, "direction": "increase"},
    })
}

/// The measured world, whose `exp_weights` has an analysis.
#[track_caller]
fn analysed(analysis: &Value) -> Snapshot {
    ok(&measured(), patch(analysis).unwrap())
}

/// A patch of the analysis of `exp_weights`, by way of JSON.
fn patch(analysis: &Value) -> Result<Change, Error> {
    let json = json!({
        "change": "patch_experiment", "id": "exp_weights", "patch": {"analysis": analysis},
    });
    Change::from_json(json.to_string())
}

/// The analysis of `exp_weights` as a document has it.
fn printed(snapshot: &Snapshot) -> Value {
    let experiment = serde_json::to_value(snapshot.experiment("exp_weights").unwrap()).unwrap();
    experiment.get("analysis").cloned().unwrap_or_else(|| json!({}))
}

/// A patch leads to this analysis, by an event that names these fields and leads there again; the
/// document survives.
#[track_caller]
fn check_edit(before: &Snapshot, own: &Value, after: &Value, fields: &[&str]) -> Snapshot {
    let change = patch(own).unwrap_or_else(|error| panic!("{own}: {error}"));
    let commit = apply(before, change).unwrap_or_else(|error| panic!("{own}: {error}"));
    assert_eq!(printed(&commit.snapshot), *after, "{own}");
    let Some(event) = &commit.event else {
        assert!(fields.is_empty(), "{own} makes no difference");
        return Snapshot::clone(&commit.snapshot);
    };
    let mut named = event.effects[0].fields.clone();
    named.sort_unstable();
    assert_eq!(named, fields, "{own}");
    let event = Event::from_json(serde_json::to_string(event).unwrap()).unwrap();
    assert_eq!(before.replay([event]).unwrap(), *commit.snapshot);
    let json = commit.snapshot.to_json();
    let read = Snapshot::from_json(&json).unwrap();
    assert_eq!(read, *commit.snapshot);
    assert_eq!(read.to_json(), json);
    read
}

#[test]
fn an_analysis_is_held_in_full() {
    check_edit(
        &measured(),
        &full(),
        &full(),
        &["analysis", "attributes", "goal", "hypothesis", "metrics"],
    );
    for (own, fields) in [
        (json!({"significance_threshold": 0}), vec!["analysis"]),
        (json!({"significance_threshold": 1, "bayesian_threshold": 100}), vec!["analysis"]),
        (json!({"significance_threshold": 0.000_001, "bayesian_threshold": 0}), vec!["analysis"]),
        (json!({"correction": {"method": "bonferroni"}}), vec!["analysis"]),
        (json!({"correction": {"scope": "metrics"}, "sequential": false}), vec!["analysis"]),
        (json!({"methodology": "export_only", "sequential": true}), vec!["analysis"]),
        (json!({"hypothesis": "é".repeat(2048)}), vec!["hypothesis"]),
        (json!({"goal": {"metric": "é".repeat(2048)}}), vec!["goal"]),
        (json!({"goal": {"value": -1e300}}), vec!["goal"]),
        (json!({"goal": {"value": 0.1, "direction": "any\nwhere"}}), vec!["goal"]),
        (json!({"goal": {"value": i64::MAX}}), vec!["goal"]),
        (json!({"attributes": ["1", "2", "3", "4", "é".repeat(255)]}), vec!["attributes"]),
        (json!({"metrics": [{"metric_id": "met_steps", "is_primary": true}]}), vec!["metrics"]),
        (json!({"metrics": [{"metric_id": "met_group"}]}), vec!["metrics"]),
        (
            json!({
                "kind": "mab", "methodology": "bayesian", "reallocation_interval": 1,
                "metrics": [{"metric_id": "met_b"}, {"metric_id": "met_a", "is_primary": true}],
            }),
            vec!["analysis", "metrics"],
        ),
    ] {
        check_edit(&measured(), &own, &own, &fields);
    }
    // A decimal is what it is, however it is written.
    let spelled = patch(&json!({"significance_threshold": 0.050})).unwrap();
    let snapshot = ok(&measured(), spelled);
    assert_eq!(printed(&snapshot), json!({"significance_threshold": 0.05}));
}

#[test]
fn an_experiment_can_be_created_with_it() {
    let analysis: Analysis = serde_json::from_value(full()).unwrap();
    let new = |analysis: Analysis| {
        NewExperiment::by_percentage("Read", p("flg_a")).id(p("exp_read")).analysis(analysis)
    };
    let snapshot = ok(&measured(), new(analysis.clone()));
    assert_eq!(*snapshot.experiment("exp_read").unwrap().analysis(), analysis);
    let plain = ok(&measured(), new(Analysis::new()));
    assert!(plain.experiment("exp_read").unwrap().analysis().is_default());
    assert!(!plain.to_json().contains("\"analysis\":"), "what says nothing is left out");
    let error = apply(&measured(), new(Analysis::new().metric(p("met_none")))).unwrap_err();
    let path = "analysis.metrics[0].metric_id";
    assert_eq!((error.code(), error.path()), (Code::UnknownReference, path));
}

/// What is refused in a patch is refused in a creation and in a document, at the same path.
#[track_caller]
fn check_refused(own: &Value, code: Code, path: &str) {
    let world = measured();
    let error = patch(own).and_then(|change| apply(&world, change)).unwrap_err();
    let inner = |error: &Error, prefix: &str| {
        let path = error.path().strip_prefix(prefix);
        let path = path.unwrap_or_else(|| panic!("{own}: {error}"));
        (error.code(), path.trim_start_matches('.').to_owned())
    };
    let wanted = (code, path.to_owned());
    assert_eq!(inner(&error, "patch.analysis"), wanted, "{own}: {error}");
    let new = json!({
        "change": "create_experiment", "name": "Read", "flag_id": "flg_a",
        "strategy": "percentage", "analysis": own,
    });
    let new = Change::from_json(new.to_string());
    let error = new.and_then(|change| apply(&world, change)).unwrap_err();
    assert_eq!(inner(&error, "analysis"), wanted, "{own}: {error}");
    let mut document: Value = serde_json::from_str(&world.to_json()).unwrap();
    document["experiments"][0]["analysis"] = own.clone();
    let error = Snapshot::from_json(document.to_string()).unwrap_err();
    assert_eq!(inner(&error, "experiments[0].analysis"), wanted, "{own}: {error}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let (invalid, limit) = (Code::InvalidValue, Code::LimitExceeded);
    let check = |own: Value, code, path| check_refused(&own, code, path);
    check(json!({"hypothesis": ""}), invalid, "hypothesis");
    check(json!({"hypothesis": "a\0b"}), invalid, "hypothesis");
    check(json!({"hypothesis": "é".repeat(2049)}), invalid, "hypothesis");
    check(json!({"goal": {"metric": ""}}), invalid, "goal.metric");
    check(json!({"goal": {"direction": "a\0b"}}), invalid, "goal.direction");
    check(json!({"goal": {"direction": "é".repeat(2049)}}), invalid, "goal.direction");
    check(json!({"goal": {"value": "2"}}), Code::WrongType, "goal.value");
    check(json!({"goal": {"value": u64::MAX}}), invalid, "goal.value");
    check(json!({"goal": {"metric_id": "met_a"}}), Code::UnknownKey, "goal.metric_id");
    check(json!({"goal": "more"}), Code::WrongType, "goal");
    check(json!({"kind": "bandit"}), invalid, "kind");
    check(json!({"methodology": "export-only"}), invalid, "methodology");
    check(json!({"bayesian_threshold": 100.000_001}), invalid, "bayesian_threshold");
    check(json!({"significance_threshold": 5}), invalid, "significance_threshold");
    check(json!({"significance_threshold": -0.05}), invalid, "significance_threshold");
    check(json!({"significance_threshold": 1.000_001}), invalid, "significance_threshold");
    check(json!({"significance_threshold": 0.000_000_5}), invalid, "significance_threshold");
    check(json!({"significance_threshold": "0.05"}), Code::WrongType, "significance_threshold");
    check(json!({"attributes": ["a", "b", "a"]}), invalid, "attributes[2]");
    check(json!({"attributes": ["a", ""]}), invalid, "attributes[1]");
    check(json!({"attributes": ["é".repeat(256)]}), invalid, "attributes[0]");
    check(json!({"attributes": ["1", "2", "3", "4", "5", "6"]}), limit, "attributes");
    check(json!({"correction": {}}), invalid, "correction");
    let method = json!({"method": "bonferroni"});
    check(json!({"methodology": "bayesian", "correction": method}), invalid, "correction");
    check(json!({"methodology": "bayesian", "sequential": false}), invalid, "sequential");
    check(json!({"reallocation_interval": 5}), invalid, "reallocation_interval");

    let own = |id: &str, is_primary| json!({"metric_id": id, "is_primary": is_primary});
    let metrics = |list: &[Value]| json!({"metrics": list});
    let unknown = metrics(&[own("met_a", false), own("met_none", false)]);
    check(unknown, Code::UnknownReference, "metrics[1].metric_id");
    let twice = metrics(&[own("met_a", true), own("met_a", false)]);
    check(twice, invalid, "metrics[1].metric_id");
    let two = metrics(&[own("met_a", true), own("met_b", true)]);
    check(two, invalid, "metrics[1].is_primary");
    check(metrics(&vec![own("met_a", false); 101]), limit, "metrics");
    check(metrics(&[own("met_group", true)]), invalid, "metrics[0].metric_id");

    let mab = |more: Value, list: &[Value]| {
        let mut all = json!({"kind": "mab", "methodology": "bayesian", "metrics": list});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let first = own("met_a", true);
    check(
        mab(json!({"methodology": "frequentist"}), std::slice::from_ref(&first)),
        invalid,
        "methodology",
    );
    check(json!({"kind": "mab", "metrics": [first]}), invalid, "methodology");
    check(mab(json!({}), &[own("met_a", false)]), invalid, "metrics");
    check(mab(json!({}), &[own("met_steps", true)]), invalid, "metrics[0].metric_id");
    check(mab(json!({}), &[own("met_p95", true)]), invalid, "metrics[0].metric_id");
    for id in ["met_p95", "met_heavy"] {
        let list = [first.clone(), own(id, false)];
        check(mab(json!({}), &list), invalid, "metrics[1].metric_id");
    }
    let late = json!({"reallocation_interval": 9_007_199_254_740_992_u64});
    check(mab(late, std::slice::from_ref(&first)), invalid, "reallocation_interval");
    check(mab(json!({"reallocation_interval": 0}), &[first]), invalid, "reallocation_interval");
}

#[test]
fn a_patch_keeps_clears_and_sets() {
    let snapshot = analysed(&full());
    let mut left = full();
    for field in full().as_object().unwrap().keys() {
        let (cleared, named) = match field.as_str() {
            "kind" => (json!("experiment"), "analysis"),
            "metrics" | "attributes" => (json!([]), field.as_str()),
            "hypothesis" | "goal" => (Value::Null, field.as_str()),
            _ => (Value::Null, "analysis"),
        };
        let mut without = full();
        without.as_object_mut().unwrap().remove(field);
        check_edit(&snapshot, &json!({field: cleared}), &without, &[named]);
        check_edit(&snapshot, &json!({field: full()[field]}), &full(), &[]);
        left.as_object_mut().unwrap().remove(field);
    }
    check_edit(&snapshot, &json!({}), &full(), &[]);
    assert_eq!(left, json!({}));
}

#[test]
fn the_table_says_what_changes_and_what_grows() {
    for field in Field::ALL {
        let grows = matches!(field, Field::Metrics | Field::Attributes);
        let wanted: &[Status] = if grows { &[Status::Active, Status::Paused] } else { &[] };
        assert_eq!(field.grows_in(), wanted, "{field}");
        for status in Status::ALL {
            assert_eq!(status.can_grow(*field), wanted.contains(status), "{field} in {status}");
        }
    }
    for field in [Field::Hypothesis, Field::Metrics, Field::Attributes, Field::Analysis] {
        assert_eq!(field.changes_in(), [Status::Draft], "{field}");
    }
    assert_eq!(Field::Goal.changes_in(), [Status::Draft, Status::Active, Status::Paused]);
}

#[test]
fn only_a_draft_changes() {
    let other = json!({
        "hypothesis": "Another", "kind": "experiment", "methodology": "export_only",
        "data_source": "another", "metrics": [], "attributes": ["country"],
        "covariate_id": null, "bayesian_threshold": 5, "significance_threshold": 0.1,
        "test_direction": "two_sided", "correction": null, "sequential": false,
    });
    for status in &Status::ALL[1..] {
        let snapshot = brought_to(&analysed(&full()), "exp_weights", *status);
        check_edit(&snapshot, &full(), &full(), &[]);
        for (field, value) in other.as_object().unwrap() {
            let own = json!({field: value});
            let error = apply(&snapshot, patch(&own).unwrap()).unwrap_err();
            let path = format!("patch.analysis.{field}");
            assert_eq!((error.code(), error.path()), (Code::NotMutable, &*path), "{status}");
            assert!(error.rule().contains(status.as_str()), "{error}");
            let grows = matches!(field.as_str(), "metrics" | "attributes");
            let said = error.rule().contains("grows");
            assert_eq!(said, grows && matches!(status, Status::Active | Status::Paused), "{error}");
        }
        let mut moved = full();
        moved["goal"] = json!({"value": -3, "direction": "down"});
        let goal = json!({"goal": moved["goal"]});
        match status {
            Status::Active | Status::Paused => {
                let after = check_edit(&snapshot, &goal, &moved, &["goal"]);
                let [before, after] = [&snapshot, &after].map(|own| {
                    let experiment = serde_json::to_value(own.experiment("exp_weights")).unwrap();
                    experiment["iteration"].clone()
                });
                assert_eq!(before, after, "the run is the same");
            }
            _ => {
                let error = apply(&snapshot, patch(&goal).unwrap()).unwrap_err();
                let path = "patch.analysis.goal";
                assert_eq!((error.code(), error.path()), (Code::NotMutable, path), "{status}");
            }
        }
        let mut more = full();
        more["attributes"] = json!(["age", "country", "app"]);
        let grown = patch(&json!({"attributes": more["attributes"]})).unwrap();
        match status {
            Status::Active | Status::Paused => {
                check_edit(
                    &snapshot,
                    &json!({"attributes": more["attributes"]}),
                    &more,
                    &["attributes"],
                );
            }
            _ => assert_eq!(apply(&snapshot, grown).unwrap_err().code(), Code::NotMutable),
        }
    }
}

/// Some of the single metrics in some order, each with its unit, at most one of them primary.
fn any_uses() -> impl Strategy<Value = Vec<MetricUse>> {
    let ids = subsequence(SINGLES.to_vec(), 0..=SINGLES.len()).prop_shuffle();
    (ids, 0..6_usize, prop::collection::vec(prop::bool::weighted(0.3), 5)).prop_map(
        |(ids, primary, units)| {
            let own = |(index, id): (usize, &str)| MetricUse {
                metric_id: p(id),
                is_primary: index == primary,
                unit: Some(p("device")).filter(|_| units[index]),
            };
            ids.into_iter().enumerate().map(own).collect()
        },
    )
}

/// Uses that grow out of others, or nearly.
fn grown(
    old: &[MetricUse],
    more: Vec<MetricUse>,
    places: &[usize],
    spoil: usize,
) -> Vec<MetricUse> {
    let mut all = old.to_vec();
    for (own, place) in more.into_iter().zip(places) {
        if all.iter().all(|other| other.metric_id != own.metric_id) {
            let is_primary = own.is_primary && spoil == 1;
            all.insert(place % (all.len() + 1), MetricUse { is_primary, ..own });
        }
    }
    match spoil {
        2 if !all.is_empty() => drop(all.remove(0)),
        3 => all.reverse(),
        4 if !all.is_empty() => all[0].unit = Some(p("session")),
        5 if !all.is_empty() => all[0].is_primary = !all[0].is_primary,
        _ => {}
    }
    all
}

/// The law, naively: without what is added the list is the one there was, and of what is added
/// nothing is primary.
fn is_growth(old: &[MetricUse], new: &[MetricUse]) -> bool {
    let known = |own: &&MetricUse| old.iter().any(|other| other.metric_id == own.metric_id);
    let kept: Vec<_> = new.iter().filter(known).cloned().collect();
    kept == old && new.iter().filter(|own| !known(own)).all(|own| !own.is_primary)
}

fn set_metrics(metrics: Vec<MetricUse>) -> Change {
    let patch = ExperimentPatch::new().analysis(AnalysisPatch::new().metrics(metrics));
    Change::patch_experiment(&p("exp_weights"), patch)
}

proptest! {
    #[test]
    fn while_it_runs_metrics_only_grow(
        old in any_uses(),
        more in any_uses(),
        places in prop::collection::vec(0..6_usize, 5),
        spoil in 0..8_usize,
        paused in any::<bool>(),
    ) {
        let status = if paused { Status::Paused } else { Status::Active };
        let snapshot = brought_to(&ok(&measured(), set_metrics(old.clone())), "exp_weights", status);
        let new = grown(&old, more, &places, spoil);
        let primaries = new.iter().filter(|own| own.is_primary).count();
        let commit = apply(&snapshot, set_metrics(new.clone()));
        match commit {
            Ok(commit) => {
                prop_assert!(is_growth(&old, &new), "{:?} to {:?}", old, new);
                let own = commit.snapshot.experiment("exp_weights").unwrap();
                prop_assert_eq!(&own.analysis().metrics, &new);
                prop_assert_eq!(commit.event.is_some(), old != new);
            }
            Err(error) => {
                prop_assert!(!is_growth(&old, &new) || primaries > 1, "{}", error);
                prop_assert_eq!(error.code(), Code::NotMutable);
                prop_assert_eq!(error.path(), "patch.analysis.metrics");
            }
        }
    }

    #[test]
    fn while_it_runs_attributes_only_grow(
        old in subsequence(vec!["a", "b", "c", "d", "e"], 0..=3).prop_shuffle(),
        new in subsequence(vec!["a", "b", "c", "d", "e"], 0..=5).prop_shuffle(),
        sorted in any::<bool>(),
    ) {
        let (mut old, mut new) = (old, new);
        if sorted {
            old.sort_unstable();
            new.sort_unstable();
        }
        let snapshot = analysed(&json!({"attributes": old}));
        let snapshot = brought_to(&snapshot, "exp_weights", Status::Active);
        let kept: Vec<_> = new.iter().copied().filter(|own| old.contains(own)).collect();
        let commit = apply(&snapshot, patch(&json!({"attributes": new})).unwrap());
        prop_assert_eq!(commit.is_ok(), kept == old, "{:?} to {:?}", old, new);
    }

    /// A patch sets what it names and keeps the rest, and naming the present values changes nothing.
    #[test]
    fn a_patch_changes_what_it_names(
        first in any_members(),
        second in any_members(),
        status in select(Status::ALL),
    ) {
        let snapshot = analysed(&Value::Object(first.clone()));
        let mut both = first.clone();
        both.extend(second.clone());
        let fields = second
            .iter()
            .filter(|(key, value)| first.get(*key) != Some(*value))
            .map(|(key, _)| match key.as_str() {
                "hypothesis" | "metrics" | "attributes" | "goal" => key.as_str(),
                _ => "analysis",
            })
            .collect::<std::collections::BTreeSet<_>>();
        let fields: Vec<_> = fields.into_iter().collect();
        let both = Value::Object(both);
        let after = check_edit(&snapshot, &Value::Object(second.clone()), &both, &fields);
        let later = brought_to(&after, "exp_weights", status);
        check_edit(&later, &both, &both, &[]);
        check_edit(&later, &json!({}), &both, &[]);
    }

    /// Neither the decisions nor the run know of the analysis.
    #[test]
    fn who_gets_what_does_not_depend_on_it(members in any_members(), uses in any_uses()) {
        let plain = brought_to(&measured(), "exp_weights", Status::Paused);
        let read = analysed(&Value::Object(members));
        let read = brought_to(&read, "exp_weights", Status::Paused);
        let present = read.experiment("exp_weights").unwrap().analysis().metrics.clone();
        let more = uses.into_iter().map(|own| MetricUse { is_primary: false, ..own });
        let more = more.filter(|own| present.iter().all(|o| o.metric_id != own.metric_id));
        let read = ok(&read, set_metrics(present.iter().cloned().chain(more).collect()));
        let resume = || Change::set_experiment_status(&p("exp_weights"), Status::Active);
        let [plain, read] = [plain, read].map(|own| {
            let commit = apply(&own, resume()).unwrap();
            assert!(!commit.event.as_ref().unwrap().effects[0].froze, "the design is the same");
            commit.snapshot
        });
        for number in 0..50 {
            let id = format!("device-{number}");
            let [one, other] =
                [&plain, &read].map(|own| own.assign("exp_weights", &Subject::new(&id)));
            prop_assert_eq!(one, other);
        }
    }
}

/// Members of an analysis that go together, whichever there are.
fn any_members() -> impl Strategy<Value = Map<String, Value>> {
    let of = |key: &'static str, values: Vec<Value>| {
        prop::option::of(select(values)).prop_map(move |value| Some((key.to_owned(), value?)))
    };
    [
        of("hypothesis", vec![json!("One\ntwo"), json!("🙂")]),
        of("kind", vec![json!("holdout")]),
        of("methodology", vec![json!("frequentist"), json!("export_only")]),
        of("data_source", vec![json!("events"), json!("lake")]),
        of(
            "metrics",
            vec![
                json!([{"metric_id": "met_a", "is_primary": true}, {"metric_id": "met_heavy"}]),
                json!([{"metric_id": "met_p95", "unit": "session"}]),
            ],
        ),
        of("attributes", vec![json!(["country"]), json!(["app", "country"])]),
        of("covariate_id", vec![json!("c0ffee"), json!("a b")]),
        of("bayesian_threshold", vec![json!(90), json!(99.999_999)]),
        of("significance_threshold", vec![json!(0.05), json!(1)]),
        of("test_direction", vec![json!("one_sided"), json!("two_sided")]),
        of("correction", vec![json!({"method": "bonferroni"}), json!({"scope": "metrics"})]),
        of("sequential", vec![json!(true), json!(false)]),
        of("goal", vec![json!({"metric": "sales"}), json!({"value": 7, "direction": "up"})]),
    ]
    .prop_map(|members| members.into_iter().flatten().collect())
}

proptest! {
    /// A goal's number is the same after any way there is, to the bit, and prints as it was.
    #[test]
    fn a_goal_keeps_its_number(float in any::<f64>().prop_filter("finite", |own| own.is_finite())) {
        let number = Number::try_from(float).unwrap();
        let goal = Goal::new().value(number);
        let patch = AnalysisPatch::new().goal(goal.clone());
        let change = Change::patch_experiment(&p("exp_weights"), ExperimentPatch::new().analysis(patch));
        let change = Change::from_json(serde_json::to_string(&change).unwrap()).unwrap();
        let snapshot = ok(&measured(), change);
        let read = Snapshot::from_json(snapshot.to_json()).unwrap();
        prop_assert_eq!(read.to_json(), snapshot.to_json());
        let held = read.experiment("exp_weights").unwrap().analysis().goal.clone();
        prop_assert_eq!(held.as_ref(), Some(&goal));
        let value = held.unwrap().value.unwrap().as_f64();
        // Zero has one sign.
        prop_assert_eq!(value.to_bits(), (float + 0.0).to_bits());
    }
}

/// Rust writes the one text and `serde_json` the other; both are as short as can be.
#[test]
fn both_texts_of_a_number_that_lies_between_are_read() {
    for (text, is_read) in [
        ("2191378547211897.2", true),
        ("2191378547211897.3", true),
        ("2191378547211897.25", false),
        ("2191378547211897.4", false),
    ] {
        let change = format!(
            r#"{{"change": "patch_experiment", "id": "exp_weights",
                "patch": {{"analysis": {{"goal": {{"value": {text}}}}}}}}}"#
        );
        assert_eq!(Change::from_json(change).is_ok(), is_read, "{text}");
    }
}

#[test]
fn a_goal_that_says_nothing_is_none() {
    for float in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(Number::try_from(float).is_err());
    }
    let without = json!({"hypothesis": "More"});
    let with = json!({"hypothesis": "More", "goal": {"metric": "sales"}});
    let empty = json!({"goal": {}});
    check_edit(&analysed(&with), &empty, &without, &["goal"]);
    check_edit(&analysed(&without), &empty, &without, &[]);
    // However it comes to be there.
    let analysis = || Analysis::new().goal(Goal::new());
    assert_eq!(serde_json::to_value(analysis()).unwrap(), json!({}));
    assert_eq!(serde_json::from_value::<Analysis>(empty).unwrap(), Analysis::new());
    let experiment =
        NewExperiment::by_percentage("Read", p("flg_a")).id(p("exp_read")).analysis(analysis());
    let holdout = NewHoldout::new("Out", "device", p("5")).id(p("hld_a")).analysis(analysis());
    let before = measured();
    let commit = apply(&before, vec![experiment.into(), holdout.into()]).unwrap();
    assert!(!commit.snapshot.to_json().contains("\"analysis\":"));
    assert_eq!(commit.snapshot.experiment("exp_read").unwrap().analysis().goal, None);
    assert_eq!(commit.snapshot.holdout("hld_a").unwrap().analysis().goal, None);
    let event = Event::clone(&commit.event.unwrap());
    let read = Event::from_json(serde_json::to_string(&event).unwrap()).unwrap();
    assert_eq!(read, event);
    assert_eq!(before.replay([read]).unwrap(), *commit.snapshot);
}

/// The next run can have another goal, and what was the goal of one that is over stays.
#[test]
fn each_run_has_its_goal() {
    let goal = |metric: &str| Goal::new().metric(p(metric));
    let (id, first) = (p("exp_weights"), json!({"goal": {"metric": "first"}}));
    let running = brought_to(&analysed(&first), "exp_weights", Status::Active);
    let draft = DraftPatch::new().analysis(AnalysisPatch::new().goal(goal("third")));
    let drafted = ok(&running, Change::draft_iteration(&id, draft));
    let second = ok(&drafted, patch(&json!({"goal": {"metric": "second"}})).unwrap());
    let third = ok(&second, Change::start_iteration(&id));
    let own = third.experiment("exp_weights").unwrap();
    assert_eq!(own.analysis().goal, Some(goal("third")));
    assert_eq!(own.previous_iterations()[0].analysis().goal, Some(goal("second")));
    assert_eq!(Snapshot::from_json(third.to_json()).unwrap(), third);
    let cleared = AnalysisPatch::new().clear_goal();
    let cleared = Change::patch_experiment(&id, ExperimentPatch::new().analysis(cleared));
    let own = ok(&third, cleared);
    assert_eq!(own.experiment("exp_weights").unwrap().analysis().goal, None);
}

#[test]
fn from_rust_it_reads_as_it_is_built() {
    let analysis = Analysis::new()
        .hypothesis(p("More"))
        .kind(AnalysisKind::Mab)
        .methodology(Methodology::Bayesian)
        .primary(p("met_a"))
        .metric(p("met_b"))
        .attribute("country");
    assert_eq!(analysis.primary_metric().unwrap().metric_id, "met_a");
    let json = json!({
        "hypothesis": "More", "kind": "mab", "methodology": "bayesian",
        "metrics": [{"metric_id": "met_a", "is_primary": true}, {"metric_id": "met_b"}],
        "attributes": ["country"],
    });
    assert_eq!(serde_json::to_value(&analysis).unwrap(), json);
    assert_eq!(serde_json::from_value::<Analysis>(json).unwrap(), analysis);
}
