//! Which field changes in which state, and that it does.

use serde_json::{Value, json};

use crate::support::{Api, treatment, update};

/// Where the answer shows a field.
#[derive(Clone, Copy)]
enum Place {
    Experiment,
    Iteration,
}

const STATES: [&str; 4] = ["not_started", "running", "stopped", "stopped with a draft"];
const OPERATIONS: [&str; 3] = ["add", "update", "remove"];

/// Each field: what it is added, updated to and relieved of, where an answer shows it, and what it
/// shows afterwards; an operation that a field never has is not looked at afterwards.
struct Case {
    field: &'static str,
    place: Place,
    values: [Option<Value>; 3],
    /// Below the place.
    shown: &'static str,
    expected: [Value; 3],
    /// Whether what it was before is no matter of an iteration, though it changes with one.
    of_experiment: bool,
}

/// A field that is only replaced, or cleared to this.
fn plain(
    field: &'static str,
    place: Place,
    shown: &'static str,
    value: Value,
    cleared: Value,
) -> Case {
    let values = [Some(value.clone()), Some(value.clone()), None];
    let expected = [Value::Null, value, cleared];
    Case { field, place, values, shown, expected, of_experiment: false }
}

fn cases(api: &Api) -> Vec<Case> {
    use Place::{Experiment, Iteration};
    let list = |field, place, shown, values: [Value; 3], expected: [Value; 3]| Case {
        field,
        place,
        values: values.map(Some),
        shown,
        expected,
        of_experiment: false,
    };
    let experiment = |case: Case| Case { of_experiment: true, ..case };
    let flags = json!({"button": {
        "ruleId": "seg_beta",
        "flagConfigVersion": api.version("button"),
        "notInExperimentVariationId": "var_c",
    }});
    let config = json!({"significanceThreshold": "0.1", "testDirection": "one-sided"});
    let (a, b, c, d) = (
        treatment("var_a", "25", true),
        treatment("var_b", "25", false),
        treatment("var_c", "10", false),
        treatment("var_d", "5", false),
    );
    let pair = json!([treatment("var_a", "30", false), treatment("var_d", "60", true)]);
    vec![
        experiment(plain("name", Experiment, "/name", json!("New"), Value::Null)),
        experiment(plain("description", Experiment, "/description", json!("New"), Value::Null)),
        experiment(plain(
            "maintainerId",
            Experiment,
            "/_maintainerId",
            json!("member-2"),
            Value::Null,
        )),
        experiment(list(
            "tags",
            Experiment,
            "/tags",
            [json!(["three", "one"]), json!(["four"]), json!(["one", "none"])],
            [json!(["one", "two", "three"]), json!(["four"]), json!(["two"])],
        )),
        plain("hypothesis", Iteration, "/hypothesis", json!("New"), Value::Null),
        list(
            "metrics",
            Iteration,
            "/metrics",
            [json!([{"key": "errors"}]), json!([{"key": "errors"}]), json!(["latency"])],
            [
                json!(["clicks", "latency", "errors"]),
                json!(["clicks", "errors"]),
                json!(["clicks"]),
            ],
        ),
        plain(
            "primarySingleMetricKey",
            Iteration,
            "/primarySingleMetric/key",
            json!("latency"),
            Value::Null,
        ),
        plain("primaryFunnelKey", Iteration, "/primaryFunnel/key", json!("checkout"), Value::Null),
        list(
            "attributes",
            Iteration,
            "/attributes",
            [json!(["device"]), json!(["plan", "country"]), json!(["country"])],
            [json!(["country", "device"]), json!(["plan", "country"]), Value::Null],
        ),
        list(
            "treatments",
            Iteration,
            "/treatments",
            [json!([d]), pair.clone(), json!(["var_c"])],
            [json!([a, b, c, d]), pair, json!([a, b])],
        ),
        plain("flags", Iteration, "/flags/button", flags, Value::Null),
        plain("randomizationUnit", Iteration, "/randomizationUnit", json!("device"), Value::Null),
        plain("canReshuffleTraffic", Iteration, "/canReshuffleTraffic", json!(false), Value::Null),
        plain(
            "reallocationFrequencyMillis",
            Iteration,
            "/reallocationFrequencyMillis",
            json!(7_200_000),
            Value::Null,
        ),
        plain("covariateId", Iteration, "/covariateInfo/id", json!("covariates-2"), Value::Null),
        plain("methodology", Experiment, "/methodology", json!("bayesian"), Value::Null),
        plain("dataSource", Experiment, "/dataSource", json!("snowflake"), json!("launchdarkly")),
        plain("analysisConfig", Experiment, "/analysisConfig", config, json!({})),
    ]
}

/// An experiment `cta` in this state, a bandit if the field is only a bandit's.
fn brought_to(state: &str, field: &str) -> Api {
    let api = Api::new();
    let mut body = api.experiment("cta");
    let mut iteration = api.iteration();
    if field == "reallocationFrequencyMillis" {
        body["type"] = json!("mab");
        body["analysisConfig"] = json!({"bayesianThreshold": "90"});
        iteration["reallocationFrequencyMillis"] = json!(3_600_000);
    }
    body["iteration"] = iteration.clone();
    api.create_from(&body);
    if state != "not_started" {
        api.start("cta");
    }
    if state.starts_with("stopped") {
        api.stop("cta");
    }
    if state == "stopped with a draft" {
        api.draft("cta", &iteration).is(200);
    }
    api
}

/// What an answer shows of a field, as a request would say it.
fn shown(case: &Case, state: &str, body: &Value) -> Value {
    let iteration =
        if state == "stopped with a draft" { "/draftIteration" } else { "/currentIteration" };
    let base = match case.place {
        Place::Experiment => "",
        Place::Iteration => iteration,
    };
    let value = body.pointer(&format!("{base}{}", case.shown)).cloned().unwrap_or_default();
    match case.field {
        "metrics" => value.as_array().unwrap().iter().map(|own| own["key"].clone()).collect(),
        "treatments" => {
            let bare = |mut own: Value| {
                own.as_object_mut().unwrap().remove("_id").unwrap();
                own
            };
            value.as_array().unwrap().iter().cloned().map(bare).collect()
        }
        "flags" => json!({"button": {
            "ruleId": value["targetingRule"],
            "flagConfigVersion": value["flagConfigVersion"],
            "notInExperimentVariationId": value["notInExperimentVariationId"],
        }}),
        _ => value,
    }
}

#[test]
fn each_field_changes_as_the_table_of_mutable_fields_says() {
    let mut taken = 0;
    let cases = cases(&Api::new());
    for case in &cases {
        for state in STATES {
            let table = match state {
                "stopped with a draft" if !case.of_experiment => "not_started",
                "stopped with a draft" => "stopped",
                state => state,
            };
            for (operation, name) in OPERATIONS.into_iter().enumerate() {
                let api = brought_to(state, case.field);
                let before = api.show("cta");
                let open = &before["mutableFieldsByStatus"][table][case.field];
                let open = open.as_array().is_some_and(|own| own.contains(&json!(name)));
                let instruction = update(case.field, name, case.values[operation].clone());
                let answer = api.patch("cta", json!([instruction]));
                let said = format!("{name} {} while {state}", case.field);
                if open {
                    taken += 1;
                    let body = answer.ok();
                    assert_eq!(shown(case, state, &body), case.expected[operation], "{said}");
                    assert_ne!(shown(case, state, &before), case.expected[operation], "{said}");
                    assert_eq!(body, api.show("cta"), "{said}");
                } else {
                    let attribute = format!("instructions[0].value.{}", case.field);
                    answer.refused(400, "invalid_request", &attribute);
                    assert_eq!(api.show("cta"), before, "{said}");
                }
            }
        }
    }
    assert_eq!(taken, 78, "so many field updates are open");
}

#[test]
fn the_table_of_mutable_fields() {
    let all = json!(["add", "update", "remove"]);
    let (replaced, cleared) = (json!(["update"]), json!(["update", "remove"]));
    let always = json!({
        "name": replaced, "description": cleared, "maintainerId": replaced, "tags": all,
    });
    let with = |more: Value| {
        let mut table = always.clone();
        table.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        table
    };
    let api = Api::new();
    let expected = json!({
        "not_started": with(json!({
            "hypothesis": replaced, "metrics": all, "primarySingleMetricKey": replaced,
            "primaryFunnelKey": replaced, "attributes": all, "treatments": all, "flags": replaced,
            "randomizationUnit": replaced, "canReshuffleTraffic": replaced,
            "reallocationFrequencyMillis": cleared, "covariateId": cleared,
            "methodology": replaced, "dataSource": cleared, "analysisConfig": cleared,
        })),
        "running": with(json!({"metrics": ["add"], "attributes": ["add"]})),
        "stopped": always,
    });
    assert_eq!(api.create("cta")["mutableFieldsByStatus"], expected);
}

#[test]
fn a_draft_beside_a_running_iteration_is_left_alone_by_updates() {
    let api = Api::new();
    api.run("cta");
    let mut next = api.iteration();
    next["hypothesis"] = json!("Next");
    api.draft("cta", &next).is(200);
    let more = update("metrics", "add", Some(json!([{"key": "errors"}])));
    let shown = api.patch("cta", json!([more])).ok();
    assert_eq!(shown["currentIteration"]["metrics"].as_array().unwrap().len(), 3);
    assert_eq!(shown["draftIteration"]["metrics"].as_array().unwrap().len(), 2);
    assert_eq!(shown["draftIteration"]["hypothesis"], "Next");
}

#[test]
fn values_are_checked_and_what_stays_is_no_change() {
    let api = Api::new();
    api.create("cta");
    let check = |field: &str, operation: &str, value: Value, status: u16, attribute: &str| {
        let answer = api.patch("cta", json!([update(field, operation, Some(value))]));
        let code = match status {
            404 => "not_found",
            409 => "optimistic_locking_error",
            _ => "invalid_request",
        };
        answer.refused(status, code, &format!("instructions[0].{attribute}"));
    };
    let flag = |rule: &str, version: u64| json!({"button": {"ruleId": rule, "flagConfigVersion": version}});
    let version = api.version("button");
    check(
        "flags",
        "update",
        flag("fallthrough", version + 1),
        409,
        "value.flags.button.flagConfigVersion",
    );
    check("flags", "update", flag("none", version), 404, "value.flags.button.ruleId");
    let colour =
        json!({"colour": {"ruleId": "fallthrough", "flagConfigVersion": api.version("colour")}});
    check("flags", "update", colour, 400, "value.flags.value");
    check("flags", "update", json!({}), 400, "value.flags");
    check("treatments", "remove", json!(["var_a"]), 400, "treatments");
    check("treatments", "add", json!([treatment("var_d", "90", false)]), 400, "treatments");
    check(
        "treatments",
        "add",
        json!([treatment("var_x", "1", false)]),
        400,
        "value.treatments[0].parameters[0].variationId",
    );
    check(
        "analysisConfig",
        "update",
        json!({"significanceThreshold": "5"}),
        400,
        "value.analysisConfig.significanceThreshold",
    );
    check(
        "analysisConfig",
        "update",
        json!({"testDirection": "both"}),
        400,
        "value.analysisConfig.testDirection",
    );
    check("methodology", "update", json!("guess"), 400, "value.methodology");
    check("metrics", "add", json!([{"key": "checkout"}]), 400, "value.metrics[0].key");
    check("primaryFunnelKey", "update", json!("clicks"), 400, "value.primaryFunnelKey");
    check(
        "primarySingleMetricKey",
        "update",
        json!("checkout"),
        400,
        "value.primarySingleMetricKey",
    );
    check("attributes", "add", json!(["1", "2", "3", "4", "5"]), 400, "attributes");

    let before = api.event_count();
    for (field, operation, value) in [
        ("name", "update", json!("Experiment cta")),
        ("tags", "add", json!(["two"])),
        ("tags", "remove", json!(["none"])),
        ("attributes", "add", json!(["country"])),
        ("metrics", "add", json!([{"key": "latency"}, {"key": "clicks"}])),
        ("metrics", "remove", json!(["none"])),
        ("treatments", "add", json!([treatment("var_b", 25, false)])),
        ("flags", "update", flag("fallthrough", version)),
        ("canReshuffleTraffic", "update", json!(true)),
        ("analysisConfig", "update", json!({"significanceThreshold": "0.050"})),
    ] {
        api.patch("cta", json!([update(field, operation, Some(value))])).ok();
        assert_eq!(api.event_count(), before, "{operation} {field}");
    }
}

#[test]
fn a_remove_without_a_value_clears_the_field() {
    let api = Api::new();
    api.create("cta");
    let remove = |field: &str| api.patch("cta", json!([update(field, "remove", None)]));
    assert_eq!(remove("tags").ok()["tags"], json!([]));
    assert_eq!(remove("attributes").ok()["currentIteration"].get("attributes"), None);
    // The primary metric stays, and a treatment there must be.
    let metrics = remove("metrics").ok()["currentIteration"]["metrics"].clone();
    assert_eq!(metrics.as_array().unwrap().len(), 1);
    assert_eq!(metrics[0]["key"], "clicks");
    remove("treatments").refused(400, "invalid_request", "instructions[0].treatments");
}
