//! Metrics: what can be one and what cannot, that none changes or goes while somebody names it, and
//! that what is held comes back.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

use crate::common::{apply, brought_to, ok, p, world};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Map, Value, json};
use variate::{
    Analysis, Change, Code, EffectKind, EntityKind, Error, MetricDefinition, NewMetric, Snapshot,
    Status,
};

/// The creation of a metric with an id, by way of JSON.
#[track_caller]
fn create(id: &str, members: &Value) -> Result<Change, Error> {
    let mut json = json!({"change": "create_metric", "id": id, "name": "A metric"});
    json.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    Change::from_json(json.to_string())
}

/// The world with a metric of each single kind, and one that is read by a percentile.
fn measured() -> Snapshot {
    let metrics = [
        ("met_view", json!({"kind": "pageview"})),
        ("met_tap", json!({"kind": "click", "selector": "#buy"})),
        ("met_event", json!({"kind": "custom", "event_key": "bought"})),
        ("met_sum", json!({"kind": "custom", "event_key": "bought", "is_numeric": true})),
        (
            "met_p95",
            json!({
                "kind": "custom", "event_key": "load", "is_numeric": true,
                "analysis_type": "percentile", "percentile": 95,
            }),
        ),
        ("met_trace", json!({"kind": "trace"})),
    ];
    let metrics = metrics.map(|(id, members)| create(id, &members).unwrap());
    ok(&world(), metrics)
}

/// What is created stands in the snapshot as it was written, survives its document, and is told in
/// an event that leads there again.
#[track_caller]
fn check_taken(before: &Snapshot, members: &Value) {
    let change = create("met_new", members).unwrap_or_else(|error| panic!("{members}: {error}"));
    let commit = apply(before, change).unwrap_or_else(|error| panic!("{members}: {error}"));
    let metric = commit.snapshot.metric("met_new").unwrap();
    assert_eq!(commit.metric(), Some(metric.id()));
    let printed = serde_json::to_value(metric).unwrap();
    for (key, value) in members.as_object().unwrap() {
        assert_eq!(printed.get(key), Some(value), "{key} of {printed}");
    }
    let event = commit.event.as_ref().unwrap();
    assert_eq!(event.effects[0].effect, EffectKind::Created);
    assert_eq!(event.effects[0].entity, EntityKind::Metric);
    let event = variate::Event::from_json(serde_json::to_string(event).unwrap()).unwrap();
    assert_eq!(before.replay([&event]).unwrap(), *commit.snapshot);
    let json = commit.snapshot.to_json();
    let read = Snapshot::from_json(&json).unwrap();
    assert_eq!(read, *commit.snapshot);
    assert_eq!(read.to_json(), json);
}

/// What is refused as a change is refused in a document, with the same code at the same path.
#[track_caller]
fn check_refused(before: &Snapshot, members: &Value, code: Code, path: &str) {
    let error = match create("met_new", members) {
        Ok(change) => apply(before, change).unwrap_err(),
        Err(error) => error,
    };
    assert_eq!((error.code(), error.path()), (code, path), "{members}: {error}");
    let mut document: Value = serde_json::from_str(&before.to_json()).unwrap();
    let mut metric = json!({"id": "met_new", "name": "A metric"});
    metric.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    let metrics = document["metrics"].as_array_mut().unwrap();
    let index = metrics.len();
    metrics.push(metric);
    let error = Snapshot::from_json(document.to_string()).unwrap_err();
    let path = format!("metrics[{index}].{path}");
    assert_eq!((error.code(), error.path()), (code, &*path), "{members}: {error}");
}

/// A custom numeric metric, the kind with the fewest restrictions, with more members.
fn numeric(more: &Value) -> Value {
    let mut all = json!({"kind": "custom", "event_key": "bought", "is_numeric": true});
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    all
}

#[test]
fn single_metrics_hold_what_they_are_given() {
    let world = measured();
    for metric in world.metrics() {
        let mut members = serde_json::to_value(metric).unwrap();
        let own = members.as_object_mut().unwrap();
        own.retain(|key, _| {
            !["id", "name", "version", "created_at", "updated_at"].contains(&&**key)
        });
        check_taken(&world, &members);
    }
    for more in [
        json!({"description": "What it is about", "tags": ["money", "core"]}),
        json!({"unit": "EUR", "success_criteria": "higher_than_baseline"}),
        json!({"success_criteria": "lower_than_baseline", "analysis_units": ["user", "device"]}),
        json!({"unit_aggregation": "sum", "analysis_type": "mean"}),
        json!({"unit_aggregation": "count_distinct", "unit_aggregation_field": "order"}),
        json!({"analysis_type": "percentile", "percentile": 0}),
        json!({"analysis_type": "percentile", "percentile": 99.9}),
        json!({"event_default": {}}),
        json!({"event_default": {"disabled": true, "value": 0}}),
        json!({"winsor_lower_percentile": 0.000_001, "winsor_upper_percentile": 99.999_999}),
        json!({"winsor_upper_percentile": 99, "winsor_include_imputed": true}),
        json!({"data_source": "snowflake", "value_column": "value", "denominator": "visits"}),
        json!({"filters": {"type": "group", "op": "and", "values": [{"negate": false}, null]}}),
        json!({"filters": "x".repeat(4094)}),
        json!({"window_start_offset": 0, "window_end_offset": 9_007_199_254_740_991_u64}),
    ] {
        check_taken(&world, &numeric(&more));
    }
    let urls = json!([
        {"kind": "exact", "url": "https://example.com/"},
        {"kind": "substring", "substring": "buy"},
        {"kind": "regex", "pattern": "^a+$"},
        {"kind": "of another sort", "url": "x"},
    ]);
    check_taken(&world, &json!({"kind": "pageview", "urls": urls}));
    check_taken(&world, &json!({"kind": "click", "selector": "a\n> b", "urls": urls}));
    check_taken(
        &world,
        &json!({"kind": "trace", "trace_query": "name=load", "trace_value_location": "duration"}),
    );
}

#[test]
fn what_makes_no_sense_is_refused() {
    let world = measured();
    let check = |members: Value, code, path| check_refused(&world, &members, code, path);
    let (invalid, missing, limit) = (Code::InvalidValue, Code::MissingKey, Code::LimitExceeded);
    check(json!({"kind": "custom"}), missing, "event_key");
    check(json!({"kind": "click"}), missing, "selector");
    check(json!({"kind": "page"}), invalid, "kind");
    check(json!({"kind": "pageview", "is_numeric": true}), invalid, "is_numeric");
    check(json!({"kind": "pageview", "event_key": "x"}), invalid, "event_key");
    check(json!({"kind": "pageview", "selector": "x"}), invalid, "selector");
    check(json!({"kind": "pageview", "unit": "x"}), invalid, "unit");
    check(json!({"kind": "pageview", "trace_query": "x"}), invalid, "trace_query");
    check(numeric(&json!({"trace_value_location": "x"})), invalid, "trace_value_location");
    check(numeric(&json!({"urls": [{"kind": "exact", "url": "x"}]})), invalid, "urls");
    let single = json!([{"metric_id": "met_view"}]);
    check(numeric(&json!({"members": single})), invalid, "members");
    check(json!({"kind": "pageview", "urls": [{"kind": "exact"}]}), invalid, "urls[0]");
    let two = json!({"kind": "exact", "url": "x", "pattern": "x"});
    check(json!({"kind": "pageview", "urls": [two]}), invalid, "urls[0]");
    let many = vec![json!({"kind": "exact", "url": "x"}); 101];
    check(json!({"kind": "pageview", "urls": many}), limit, "urls");
    check(numeric(&json!({"analysis_units": ["user", "user"]})), invalid, "analysis_units[1]");
    check(numeric(&json!({"analysis_type": "percentile"})), missing, "percentile");
    check(numeric(&json!({"percentile": 5})), invalid, "percentile");
    check(numeric(&json!({"percentile": 5, "analysis_type": "mean"})), invalid, "percentile");
    let over = json!({"percentile": 100.000_001, "analysis_type": "percentile"});
    check(numeric(&over), invalid, "percentile");
    for kind in ["pageview", "custom"] {
        let mut own = json!({"kind": kind, "analysis_type": "percentile", "percentile": 50});
        if kind == "custom" {
            own["event_key"] = json!("x");
        }
        check(own, invalid, "analysis_type");
    }
    check(numeric(&json!({"event_default": {"value": 1}})), invalid, "event_default.value");
    for field in ["winsor_lower_percentile", "winsor_upper_percentile"] {
        check(numeric(&json!({field: 0})), invalid, field);
        check(numeric(&json!({field: 100})), invalid, field);
    }
    let turned = json!({"winsor_lower_percentile": 5, "winsor_upper_percentile": 5});
    check(numeric(&turned), invalid, "winsor_upper_percentile");
    check(numeric(&json!({"winsor_include_imputed": true})), invalid, "winsor_include_imputed");
    let turned = json!({"window_start_offset": 5, "window_end_offset": 5});
    check(numeric(&turned), invalid, "window_end_offset");
    let late = json!({"window_start_offset": 9_007_199_254_740_992_u64});
    check(numeric(&late), invalid, "window_start_offset");
    check(numeric(&json!({"filters": null})), Code::WrongType, "filters");
    check(numeric(&json!({"filters": "x".repeat(4095)})), limit, "filters");
    check(numeric(&json!({"filters": vec![0; 4097]})), limit, "filters");
    let deep = |levels| (0..levels).fold(json!([]), |inner, _| json!([inner]));
    check_taken(&world, &numeric(&json!({"filters": deep(31)})));
    check(numeric(&json!({"filters": deep(32)})), limit, "filters");
    check(numeric(&json!({"event_key": "a\0b"})), invalid, "event_key");
    check(numeric(&json!({"unit": ""})), invalid, "unit");
    check(numeric(&json!({"unit": "é".repeat(2049)})), invalid, "unit");
    check_taken(&world, &numeric(&json!({"unit": "é".repeat(2048)})));
    check(numeric(&json!({"tags": ["a", "a"]})), invalid, "tags[1]");
}

#[test]
fn a_group_has_members_that_fit() {
    let world = ok(&measured(), create("met_group", &json!({
        "kind": "standard", "members": [{"metric_id": "met_view"}, {"metric_id": "met_p95"}],
    })).unwrap());
    let step = |id: &str| json!({"metric_id": id, "name_in_group": id});
    let funnel = |ids: &[&str]| {
        let members: Vec<_> = ids.iter().map(|id| step(id)).collect();
        json!({"kind": "funnel", "members": members})
    };
    check_taken(&world, &funnel(&["met_view", "met_tap", "met_event"]));
    check_taken(&world, &funnel(&["met_event", "met_view"]));
    check_taken(&world, &json!({"kind": "standard", "members": [step("met_trace")]}));
    check_taken(
        &world,
        &json!({
            "kind": "standard", "members": [{"metric_id": "met_p95"}, step("met_sum")],
        }),
    );
    let check = |members: Value, code, path| check_refused(&world, &members, code, path);
    let (invalid, limit) = (Code::InvalidValue, Code::LimitExceeded);
    check(json!({"kind": "standard"}), limit, "members");
    check(funnel(&["met_view"]), limit, "members");
    let many: Vec<_> = (1..=101).map(|_| step("met_view")).collect();
    check(json!({"kind": "standard", "members": many}), limit, "members");
    check(funnel(&["met_view", "met_tap", "met_view"]), invalid, "members[2].metric_id");
    check(funnel(&["met_view", "met_none"]), Code::UnknownReference, "members[1].metric_id");
    let grouped = funnel(&["met_view", "met_group"]);
    check(grouped, invalid, "members[1].metric_id");
    for id in ["met_sum", "met_p95", "met_trace"] {
        check(funnel(&["met_view", id]), invalid, "members[1].metric_id");
    }
    let unnamed = json!({
        "kind": "funnel", "members": [step("met_view"), {"metric_id": "met_tap"}],
    });
    check(unnamed, Code::MissingKey, "members[1].name_in_group");
    let mut more = funnel(&["met_view", "met_tap"]);
    more["success_criteria"] = json!("higher_than_baseline");
    check(more, invalid, "success_criteria");
}

/// Whoever names a metric keeps it.
#[track_caller]
fn check_held(snapshot: &Snapshot, id: &str, by: Option<&str>) {
    match (apply(snapshot, Change::delete_metric(&p(id))), by) {
        (Ok(commit), None) => {
            assert!(commit.snapshot.metric(id).is_none());
            let effect = &commit.event.as_ref().unwrap().effects[0];
            assert_eq!((effect.effect, effect.entity), (EffectKind::Deleted, EntityKind::Metric));
        }
        (Err(error), Some(by)) => {
            assert_eq!((error.code(), error.path()), (Code::InUse, "id"), "{error}");
            assert!(error.rule().contains(by), "{error}");
        }
        (other, _) => panic!("{other:?}, but {by:?}"),
    }
}

#[test]
fn a_metric_stays_while_it_is_named() {
    let group = NewMetric::new("Group", MetricDefinition::group([p("met_view")])).id(p("met_g"));
    let analysis = Analysis::new().primary(p("met_event")).metric(p("met_g"));
    let experiment = variate::NewExperiment::by_percentage("Read", p("flg_a"))
        .id(p("exp_read"))
        .allocation(crate::common::share("var_a", "50").control())
        .allocation(crate::common::share("var_b", "50"))
        .analysis(analysis);
    let snapshot = ok(&measured(), vec![group.into(), experiment.into()]);
    for status in Status::ALL {
        let snapshot = brought_to(&snapshot, "exp_read", *status);
        let user = Some("exp_read").filter(|_| *status != Status::Archived);
        let users: Vec<_> = snapshot.used_by("met_event").map(|id| id.as_str()).collect();
        assert_eq!(users, user.into_iter().collect::<Vec<_>>());
        check_held(&snapshot, "met_event", user);
        check_held(&snapshot, "met_g", user);
        check_held(&snapshot, "met_view", Some("met_g"));
        check_held(&snapshot, "met_tap", None);
    }
    let groups: Vec<_> = snapshot.groups_of("met_view").map(|group| group.id().as_str()).collect();
    assert_eq!(groups, ["met_g"]);

    // Archived, it may go; but nothing else gets its id while the experiment names it.
    let archived = brought_to(&snapshot, "exp_read", Status::Archived);
    let gone = ok(&archived, [p("met_g"), p("met_view")].map(|id| Change::delete_metric(&id)));
    assert_eq!(gone.groups_of("met_view").count(), 0);
    assert_eq!(Snapshot::from_json(gone.to_json()).unwrap(), gone);
    let again = || create("met_g", &json!({"kind": "pageview"})).unwrap();
    let error = apply(&gone, again()).unwrap_err();
    assert_eq!((error.code(), error.path()), (Code::AlreadyExists, "id"));
    assert!(error.rule().contains("exp_read"), "{error}");
    let forgotten = ok(&gone, Change::delete_experiment(&p("exp_read")));
    assert!(ok(&forgotten, again()).metric("met_g").is_some());
}

#[test]
fn a_deletion_can_be_of_a_version() {
    let world = measured();
    let delete = || Change::delete_metric(&p("met_view"));
    assert_eq!(apply(&world, delete().if_version(2)).unwrap_err().code(), Code::VersionConflict);
    assert!(apply(&world, delete().if_version(1)).is_ok());
    let unknown = apply(&world, Change::delete_metric(&p("met_none"))).unwrap_err();
    assert!(unknown.is_not_found());
    // Names may repeat, ids may not.
    assert_eq!(world.metric("met_view").unwrap().name(), world.metric("met_tap").unwrap().name());
    let twice = apply(&world, create("met_view", &json!({"kind": "pageview"})).unwrap());
    assert_eq!(twice.unwrap_err().code(), Code::AlreadyExists);
}

#[test]
fn a_group_may_stand_before_its_members() {
    let document = json!({"format": "variate/1", "metrics": [
        {"id": "met_a", "name": "First", "kind": "standard", "members": [{"metric_id": "met_b"}]},
        {"id": "met_b", "name": "Second", "kind": "pageview"},
    ]});
    let snapshot = Snapshot::from_json(document.to_string()).unwrap();
    assert_eq!(snapshot.groups_of("met_b").count(), 1);
    let mut own = document.clone();
    own["metrics"][0]["members"][0]["metric_id"] = json!("met_a");
    let error = Snapshot::from_json(own.to_string()).unwrap_err();
    assert_eq!(error.path(), "metrics[0].members[0].metric_id");
    let mut twice = document;
    twice["metrics"][1]["id"] = json!("met_a");
    assert_eq!(Snapshot::from_json(twice.to_string()).unwrap_err().path(), "metrics[1].id");
}

/// Members of a metric, each with a value that some kind allows.
fn any_members() -> impl Strategy<Value = Map<String, Value>> {
    let all = [
        ("is_numeric", json!(true)),
        ("event_key", json!("bought\n🙂")),
        ("selector", json!("#buy")),
        ("urls", json!([{"kind": "exact", "url": "x"}])),
        ("unit", json!("EUR")),
        ("success_criteria", json!("lower_than_baseline")),
        ("analysis_units", json!(["user"])),
        ("unit_aggregation", json!("average")),
        ("analysis_type", json!("percentile")),
        ("percentile", json!(12.5)),
        ("winsor_lower_percentile", json!(1.5)),
        ("winsor_upper_percentile", json!(98.5)),
        ("winsor_include_imputed", json!(true)),
        ("trace_query", json!("x")),
        ("filters", json!([1.5, {"a": "b"}])),
        ("window_end_offset", json!(1)),
        (
            "members",
            json!([{"metric_id": "met_view", "name_in_group": "one"},
            {"metric_id": "met_event", "name_in_group": "two"}]),
        ),
    ];
    subsequence(all.to_vec(), 0..=all.len())
        .prop_map(|some| some.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// Whether a metric of a kind can have exactly these members, by the table of the docs.
fn is_allowed(kind: &str, members: &Map<String, Value>) -> bool {
    let has = |key: &str| members.contains_key(key);
    let group = ["funnel", "standard"].contains(&kind);
    if group {
        return members.keys().all(|key| key == "members") && has("members");
    }
    let by_event = ["custom", "trace"].contains(&kind);
    let on_page = ["pageview", "click"].contains(&kind);
    let percentile = has("analysis_type");
    !has("members")
        && (by_event || !(has("is_numeric") || has("event_key") || has("unit")))
        && (on_page || !has("urls"))
        && has("selector") == (kind == "click")
        && (kind != "custom" || has("event_key"))
        && (kind == "trace" || !has("trace_query"))
        && percentile == has("percentile")
        && !(percentile && (on_page || (kind == "custom" && !has("is_numeric"))))
        && (!has("winsor_include_imputed")
            || has("winsor_lower_percentile")
            || has("winsor_upper_percentile"))
}

proptest! {
    #[test]
    fn a_metric_has_what_its_kind_has(
        kind in select(vec!["pageview", "click", "custom", "trace", "funnel", "standard"]),
        members in any_members(),
        fit in any::<bool>(),
    ) {
        let world = measured();
        let mut members = members;
        // Half of all without what the kind surely refuses, so that many are taken.
        if fit {
            let group = ["funnel", "standard"].contains(&kind);
            members.retain(|key, _| (key == "members") == group);
        }
        let is_allowed = is_allowed(kind, &members);
        members.insert("kind".to_owned(), json!(kind));
        let members = Value::Object(members);
        let commit = create("met_new", &members).and_then(|change| apply(&world, change));
        prop_assert_eq!(commit.is_ok(), is_allowed, "{}: {:?}", members, commit.err());
        if is_allowed {
            check_taken(&world, &members);
        }
    }
}
