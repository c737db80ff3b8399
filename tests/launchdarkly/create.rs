//! What it takes to create an experiment.

use serde_json::{Value, json};
use variate::{Change, SettingsPatch};

use crate::support::{Api, EXPERIMENTS, treatment};

const INVALID: &str = "invalid_request";

/// Has the usual body refused once it is changed like this.
#[track_caller]
fn check(change: impl FnOnce(&mut Value), status: u16, code: &str, attribute: &str) {
    let api = Api::new();
    let mut body = api.experiment("cta");
    change(&mut body);
    api.post(EXPERIMENTS, &body).refused(status, code, attribute);
}

/// Has it taken, and returns what is shown.
#[track_caller]
fn taken(change: impl FnOnce(&mut Value)) -> Value {
    let api = Api::new();
    let mut body = api.experiment("cta");
    change(&mut body);
    let created = api.create_from(&body);
    assert_eq!(api.show("cta"), created);
    created
}

fn without(value: &mut Value, member: &str) {
    value.as_object_mut().unwrap().remove(member).unwrap();
}

#[test]
fn members_that_are_required() {
    for member in ["key", "name", "iteration"] {
        check(|body| without(body, member), 400, INVALID, member);
        check(|body| body[member] = Value::Null, 400, INVALID, member);
    }
    for member in ["hypothesis", "flags", "treatments", "metrics"] {
        let attribute = format!("iteration.{member}");
        check(|body| without(&mut body["iteration"], member), 400, INVALID, &attribute);
    }
    for member in ["ruleId", "flagConfigVersion"] {
        let attribute = format!("iteration.flags.button.{member}");
        let change = |body: &mut Value| without(&mut body["iteration"]["flags"]["button"], member);
        check(change, 400, INVALID, &attribute);
    }
    for member in ["name", "baseline", "allocationPercent", "parameters"] {
        let attribute = format!("iteration.treatments[1].{member}");
        let change = |body: &mut Value| without(&mut body["iteration"]["treatments"][1], member);
        check(change, 400, INVALID, &attribute);
    }
    for member in ["flagKey", "variationId"] {
        let attribute = format!("iteration.treatments[1].parameters[0].{member}");
        let change = |body: &mut Value| {
            without(&mut body["iteration"]["treatments"][1]["parameters"][0], member);
        };
        check(change, 400, INVALID, &attribute);
    }
    check(
        |body| body["iteration"]["metrics"] = json!([{}]),
        400,
        INVALID,
        "iteration.metrics[0].key",
    );
}

#[test]
fn all_else_can_be_left_out() {
    let bare = taken(|body| {
        for member in ["description", "tags", "dataSource", "analysisConfig"] {
            without(body, member);
        }
        without(&mut body["iteration"], "attributes");
        without(&mut body["iteration"], "covariateId");
    });
    assert_eq!(bare.get("description"), None);
    assert_eq!(bare["tags"], json!([]));
    assert_eq!(bare["type"], "experiment");
    assert_eq!(bare["methodology"], "frequentist");
    assert_eq!(bare["dataSource"], "launchdarkly");
    assert_eq!(bare["_maintainerId"], "000000000000000000000000");
    assert_eq!(bare["currentIteration"]["randomizationUnit"], "user");
    assert_eq!(bare["currentIteration"]["canReshuffleTraffic"], true);
    let flag = &bare["currentIteration"]["flags"]["button"];
    assert_eq!(flag["notInExperimentVariationId"], "var_a");
    // `null` is the same, and what nobody knows is passed over.
    let nothing = taken(|body| {
        for member in ["description", "tags", "dataSource", "analysisConfig", "methodology", "type"]
        {
            body[member] = Value::Null;
        }
        body["unknown"] = json!([1]);
        for member in ["attributes", "covariateId", "randomizationUnit", "canReshuffleTraffic"] {
            body["iteration"][member] = Value::Null;
        }
        body["iteration"]["flags"]["button"]["notInExperimentVariationId"] = Value::Null;
    });
    let same = ["tags", "type", "methodology", "dataSource", "analysisConfig"];
    for member in same {
        assert_eq!(nothing[member], bare[member], "{member}");
    }
}

#[test]
fn all_that_is_given_is_shown() {
    let mab = taken(|body| {
        body["type"] = json!("mab");
        body["maintainerId"] = json!("member-7");
        without(body, "analysisConfig");
        body["iteration"]["reallocationFrequencyMillis"] = json!(3_600_000);
        body["iteration"]["randomizationUnit"] = json!("device");
        body["iteration"]["canReshuffleTraffic"] = json!(false);
    });
    assert_eq!((&mab["type"], &mab["methodology"]), (&json!("mab"), &json!("bayesian")));
    assert_eq!(mab["_maintainerId"], "member-7");
    assert_eq!(mab["dataSource"], "databricks");
    let iteration = &mab["currentIteration"];
    assert_eq!(iteration["reallocationFrequencyMillis"], 3_600_000);
    assert_eq!(iteration["randomizationUnit"], "device");
    assert_eq!(iteration["canReshuffleTraffic"], false);
    let export = taken(|body| {
        body["methodology"] = json!("export_only");
        body["iteration"]["metrics"] = json!([]);
        without(&mut body["iteration"], "primarySingleMetricKey");
    });
    assert_eq!(export["methodology"], "export_only");
    assert_eq!(export["currentIteration"].get("primaryMetric"), None);
}

#[test]
fn what_is_referred_to_is_there() {
    let missing = |change: &dyn Fn(&mut Value), attribute: &str| {
        check(change, 404, "not_found", attribute);
    };
    missing(
        &|body| {
            let flag = body["iteration"]["flags"]["button"].clone();
            body["iteration"]["flags"] = json!({"none": flag});
        },
        "iteration.flags.none",
    );
    missing(
        &|body| {
            let flag = body["iteration"]["flags"]["button"].clone();
            body["iteration"]["flags"] = json!({"no-flag": flag});
        },
        "iteration.flags[\"no-flag\"]",
    );
    missing(
        &|body| body["iteration"]["flags"]["button"]["ruleId"] = json!("seg_none"),
        "iteration.flags.button.ruleId",
    );
    missing(
        &|body| body["iteration"]["metrics"][1]["key"] = json!("none"),
        "iteration.metrics[1].key",
    );
    missing(
        &|body| body["iteration"]["primarySingleMetricKey"] = json!("none"),
        "iteration.primarySingleMetricKey",
    );
    missing(&|body| body["holdoutId"] = json!("none"), "holdoutId");
    let variation = |body: &mut Value| {
        body["iteration"]["treatments"][1]["parameters"][0]["variationId"] = json!("var_x");
    };
    let attribute = "iteration.treatments[1].parameters[0].variationId";
    check(variation, 400, INVALID, attribute);
    let flag = |body: &mut Value| {
        body["iteration"]["treatments"][1]["parameters"][0]["flagKey"] = json!("colour");
    };
    check(flag, 400, INVALID, "iteration.treatments[1].parameters[0].flagKey");
    let outside = |body: &mut Value| {
        body["iteration"]["flags"]["button"]["notInExperimentVariationId"] = json!("var_x");
    };
    check(outside, 400, INVALID, "iteration.flags.button.notInExperimentVariationId");
}

#[test]
fn a_key_is_taken_once_and_a_version_is_the_present_one() {
    let api = Api::new();
    api.create("cta");
    let mut body = api.experiment("cta");
    api.post(EXPERIMENTS, &body).refused(409, INVALID, "key");
    // The name can be the same.
    body["key"] = json!("other");
    api.post(EXPERIMENTS, &body).is(201);
    body["key"] = json!("third");
    let switch = |kind: &str| {
        let body = json!({"environmentKey": "production", "instructions": [{"kind": kind}]});
        api.request("PATCH", "/flags/default/button", body.to_string().into_bytes()).is(200);
    };
    switch("turnFlagOff");
    let stale = "iteration.flags.button.flagConfigVersion";
    api.post(EXPERIMENTS, &body).refused(409, "optimistic_locking_error", stale);
    body["iteration"]["flags"]["button"]["flagConfigVersion"] = json!(api.version("button"));
    api.post(EXPERIMENTS, &body).is(201);
    let ahead =
        |body: &mut Value| body["iteration"]["flags"]["button"]["flagConfigVersion"] = json!(99);
    check(ahead, 409, "optimistic_locking_error", stale);
}

#[test]
fn keys_and_names() {
    for key in ["", " ", "no space", "schräg", "a/b", "_a", "-a", ".a"] {
        check(|body| body["key"] = json!(key), 400, INVALID, "key");
    }
    check(|body| body["name"] = json!(""), 400, INVALID, "name");
    check(|body| body["key"] = json!(7), 400, INVALID, "key");
    taken(|body| body["name"] = json!("Ünïcode ✓"));
}

#[test]
fn treatments() {
    let check = |treatments: Value, attribute: &str| {
        check(|body| body["iteration"]["treatments"] = treatments, 400, INVALID, attribute);
    };
    let arm = |id: &str, percent: &str, baseline| treatment(id, percent, baseline);
    let all = "iteration.treatments";
    check(json!([]), all);
    check(json!([arm("var_a", "50", false), arm("var_b", "50", false)]), all);
    check(json!([arm("var_a", "50", true), arm("var_b", "50", true)]), all);
    check(json!([arm("var_a", "50", true), arm("var_b", "50.001", false)]), all);
    check(json!({"a": 1}), all);
    let mut two = arm("var_b", "50", false);
    two["parameters"] = json!([two["parameters"][0], two["parameters"][0]]);
    check(json!([arm("var_a", "50", true), two]), "iteration.treatments[1].parameters");
    let mut nameless = arm("var_b", "50", false);
    nameless["name"] = json!("");
    check(json!([arm("var_a", "50", true), nameless]), "iteration.treatments[1].name");
    taken(|body| {
        body["iteration"]["treatments"] =
            json!([arm("var_a", "50", true), arm("var_b", "50", false)]);
    });
}

#[test]
fn one_flag() {
    let flags = |flags: Value| move |body: &mut Value| body["iteration"]["flags"] = flags;
    let one = json!({"ruleId": "fallthrough", "flagConfigVersion": 1});
    check(flags(json!({})), 400, INVALID, "iteration.flags");
    check(flags(json!({"button": one, "colour": one})), 400, INVALID, "iteration.flags");
    check(flags(json!([one])), 400, INVALID, "iteration.flags");
    check(flags(json!({"button": "fallthrough"})), 400, INVALID, "iteration.flags.button");
}

#[test]
fn metrics_and_groups_are_called_what_they_are() {
    let metrics = |metrics: Value| move |body: &mut Value| body["iteration"]["metrics"] = metrics;
    let first = "iteration.metrics[0].key";
    check(metrics(json!([{"key": "checkout"}])), 400, INVALID, first);
    check(metrics(json!([{"key": "clicks", "isGroup": true}])), 400, INVALID, first);
    check(
        metrics(json!([{"key": "clicks"}, {"key": "clicks", "analysisUnit": "device"}])),
        400,
        INVALID,
        "iteration.metrics[1].key",
    );
    let shown = taken(metrics(json!([
        {"key": "clicks", "isGroup": false, "analysisUnit": "device"},
        {"key": "health", "isGroup": true},
    ])));
    let metrics = &shown["currentIteration"]["metrics"];
    assert_eq!(metrics[0]["analysisUnit"], "device");
    assert_eq!((&metrics[1]["key"], &metrics[1]["isGroup"]), (&json!("health"), &json!(true)));
}

#[test]
fn one_metric_or_funnel_is_primary() {
    let iteration = |change: &dyn Fn(&mut Value), attribute: &str| {
        check(|body| change(&mut body["iteration"]), 400, INVALID, attribute);
    };
    let single = "iteration.primarySingleMetricKey";
    iteration(&|own| without(own, "primarySingleMetricKey"), single);
    iteration(&|own| own["primaryFunnelKey"] = json!("checkout"), "iteration.primaryFunnelKey");
    iteration(&|own| own["primarySingleMetricKey"] = json!("checkout"), single);
    iteration(
        &|own| {
            without(own, "primarySingleMetricKey");
            own["primaryFunnelKey"] = json!("health");
        },
        "iteration.primaryFunnelKey",
    );
    // One that is not among those that are read is read too.
    let shown = taken(|body| body["iteration"]["primarySingleMetricKey"] = json!("errors"));
    assert_eq!(shown["currentIteration"]["primarySingleMetric"]["key"], "errors");
    assert_eq!(shown["currentIteration"]["metrics"].as_array().unwrap().len(), 3);
    let shown = taken(|body| {
        without(&mut body["iteration"], "primarySingleMetricKey");
        body["iteration"]["primaryFunnelKey"] = json!("checkout");
    });
    assert_eq!(shown["currentIteration"]["primaryFunnel"]["key"], "checkout");
    // The older way.
    let shown = taken(|body| {
        without(&mut body["iteration"], "primarySingleMetricKey");
        body["iteration"]["metrics"][1]["primary"] = json!(true);
    });
    assert_eq!(shown["currentIteration"]["primaryMetric"]["key"], "latency");
}

#[test]
fn how_results_are_judged() {
    let config = |config: Value| move |body: &mut Value| body["analysisConfig"] = config;
    let refused = |member: &str, value: Value| {
        let attribute = format!("analysisConfig.{member}");
        check(config(json!({member: value})), 400, INVALID, &attribute);
    };
    for value in ["5", "1.1", "-0.1", "", "x"] {
        refused("significanceThreshold", json!(value));
    }
    for value in ["101", "-1", "", "high"] {
        refused("bayesianThreshold", json!(value));
    }
    for value in ["two_sided", "both", ""] {
        refused("testDirection", json!(value));
    }
    refused("multipleComparisonCorrectionMethod", json!("benjamini_hochberg"));
    refused("multipleComparisonCorrectionScope", json!("all"));
    refused("sequentialTestingEnabled", json!("yes"));
    check(|body| body["methodology"] = json!("guess"), 400, INVALID, "methodology");
    check(|body| body["type"] = json!("survey"), 400, INVALID, "type");
    for method in ["bonferroni", "benjamini-hochberg"] {
        for scope in ["variations", "metrics", "variations-and-metrics"] {
            for direction in ["one-sided", "two-sided"] {
                let given = json!({
                    "bayesianThreshold": "95", "significanceThreshold": "0.01",
                    "testDirection": direction, "multipleComparisonCorrectionMethod": method,
                    "multipleComparisonCorrectionScope": scope, "sequentialTestingEnabled": true,
                });
                assert_eq!(taken(config(given.clone()))["analysisConfig"], given);
            }
        }
    }
    assert_eq!(taken(config(json!({})))["analysisConfig"], json!({}));
}

#[test]
fn units_are_those_of_the_project() {
    let api = Api::new();
    let kinds = ["user", "device"].map(str::to_owned);
    let mut patch = SettingsPatch::new();
    patch.subject_kinds = Some(kinds.into());
    patch.default_subject_kind = variate::Patch::Set("device".to_owned());
    api.commit(Change::patch_settings(patch));
    let created = api.create("cta");
    assert_eq!(created["currentIteration"]["randomizationUnit"], "device");
    let mut body = api.experiment("other");
    body["iteration"]["randomizationUnit"] = json!("account");
    let attribute = "iteration.randomizationUnit";
    api.post(EXPERIMENTS, &body).refused(400, INVALID, attribute).naming("user, device");
    api.draft("cta", &body["iteration"]).refused(400, INVALID, "randomizationUnit");
    let update = crate::support::update("randomizationUnit", "update", Some(json!("account")));
    let attribute = "instructions[0].randomizationUnit";
    api.patch("cta", json!([update])).refused(400, INVALID, attribute);
}
