//! Whatever a request is, it is answered, and what is refused changes nothing (which
//! [`Api::send`](crate::support::Api::send) sees to).

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use crate::support::{Api, EXPERIMENTS, save_and_start, stop_with, treatment, update};

/// Values that are seldom right.
fn strange() -> impl Strategy<Value = Value> {
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(1.5),
        json!(u64::MAX),
        json!(1e300),
        json!(""),
        json!("x"),
        json!("var_a"),
        json!("99999999999999999999"),
        json!("\u{0}\u{fffd}"),
        json!("a".repeat(5_000)),
        json!([]),
        json!({}),
        json!([[]]),
        json!({"operation": "remove"}),
        json!(["clicks", "clicks"]),
    ];
    prop::sample::select(values.to_vec())
}

/// What is done to one place in a body.
#[derive(Debug, Clone)]
enum Twist {
    Replace(Value),
    Remove,
    Double,
    /// Puts there what is elsewhere.
    Move(Index),
}

fn twist() -> impl Strategy<Value = Twist> {
    prop_oneof![
        4 => strange().prop_map(Twist::Replace),
        2 => Just(Twist::Remove),
        1 => Just(Twist::Double),
        2 => any::<Index>().prop_map(Twist::Move),
    ]
}

/// The pointers to all values.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(list) => {
            let each = list.iter().enumerate();
            each.for_each(|(index, own)| places(own, &format!("{at}/{index}"), found));
        }
        Value::Object(members) => {
            members.iter().for_each(|(key, own)| places(own, &format!("{at}/{key}"), found));
        }
        _ => {}
    }
}

fn twisted(body: &mut Value, place: Index, twist: &Twist) {
    let mut all = Vec::new();
    places(body, "", &mut all);
    let at = all[place.index(all.len())].clone();
    let elsewhere = match twist {
        Twist::Move(from) => body.pointer(&all[from.index(all.len())]).cloned(),
        _ => None,
    };
    let (parent, key) = at.rsplit_once('/').unwrap_or_default();
    match twist {
        Twist::Replace(value) => *body.pointer_mut(&at).unwrap() = value.clone(),
        Twist::Move(_) => *body.pointer_mut(&at).unwrap() = elsewhere.unwrap(),
        Twist::Remove | Twist::Double => {
            match body.pointer_mut(parent).filter(|_| !at.is_empty()) {
                Some(Value::Object(members)) => _ = members.remove(key),
                Some(Value::Array(list)) => {
                    let index: usize = key.parse().unwrap();
                    let own = list.remove(index);
                    if matches!(twist, Twist::Double) {
                        list.insert(index, own.clone());
                        list.insert(index, own);
                    }
                }
                _ => *body = Value::Null,
            }
        }
    }
}

/// Requests that are right, over a world with `draft`, `running`, `stopped` and `next`, which is
/// stopped and has a draft.
fn requests(api: &Api) -> Vec<(&'static str, String, Value)> {
    let flag =
        json!({"button": {"ruleId": "seg_beta", "flagConfigVersion": api.version("button")}});
    let fields = json!({
        "name": {"operation": "update", "value": "New"},
        "description": {"operation": "remove"},
        "tags": {"operation": "add", "value": ["three"]},
        "hypothesis": {"operation": "update", "value": "New"},
        "metrics": {"operation": "add", "value": [{"key": "errors", "isGroup": false}]},
        "treatments": {"operation": "add", "value": [treatment("var_d", "5", false)]},
        "attributes": {"operation": "remove", "value": ["country"]},
        "canReshuffleTraffic": {"operation": "update", "value": false},
        "randomizationUnit": {"operation": "update", "value": "device"},
        "flags": {"operation": "update", "value": flag},
        "primaryFunnelKey": {"operation": "update", "value": "checkout"},
        "analysisConfig": {"operation": "update", "value": {
            "significanceThreshold": "0.1", "multipleComparisonCorrectionMethod": "bonferroni",
        }},
    });
    let mut iteration = api.iteration();
    iteration["treatments"] =
        json!([treatment("var_c", "20", true), treatment("var_d", 30.5, false)]);
    let mut mab = api.experiment("mab");
    mab["type"] = json!("mab");
    mab["methodology"] = json!("bayesian");
    mab["iteration"]["reallocationFrequencyMillis"] = json!(60_000);
    let change = |kind: &str| json!({"kind": kind, "value": fields});
    let patch = |key: &str, instructions: Value| {
        let body = json!({"comment": "Why", "instructions": instructions});
        ("PATCH", format!("{EXPERIMENTS}/{key}"), body)
    };
    let start = json!({"kind": "startIteration", "changeJustification": "It is time"});
    let post = |path: String, body: Value| ("POST", path, body);
    let more = update("metrics", "add", Some(json!([{"key": "errors"}])));
    vec![
        post(EXPERIMENTS.to_owned(), api.experiment("new")),
        post(EXPERIMENTS.to_owned(), mab),
        post(format!("{EXPERIMENTS}/draft/iterations"), iteration.clone()),
        post(format!("{EXPERIMENTS}/running/iterations"), iteration.clone()),
        post(format!("{EXPERIMENTS}/next/iterations"), iteration),
        patch("draft", json!([change("updateExperimentFields")])),
        patch("next", json!([change("updateExperimentFields"), start])),
        patch("running", json!([change("saveAndStartNewIteration"), more, stop_with("var_d")])),
        patch(
            "running",
            json!([save_and_start("tags", "remove", None), {"kind": "updateName", "value": "A"}]),
        ),
        patch("stopped", json!([{"kind": "archiveExperiment"}, {"kind": "restoreExperiment"}])),
        post(
            "/flags/default".to_owned(),
            json!({
                "key": "flag", "name": "Flag", "variations": [
                    {"value": {"b": "c"}, "name": "One"}, {"value": {"a": [1, null]}, "description": "Two"},
                ],
                "defaults": {"onVariation": 0, "offVariation": 1}, "isFlagOn": true,
            }),
        ),
        (
            "PATCH",
            "/flags/default/colour".to_owned(),
            json!({
                "environmentKey": "production",
                "instructions": [{"kind": "turnFlagOff"}, {"kind": "turnFlagOn"}, {"kind": "archiveFlag"}],
            }),
        ),
        post(
            "/metrics/default".to_owned(),
            json!({
                "key": "metric", "kind": "custom", "eventKey": "event", "isNumeric": true,
                "analysisType": "percentile", "percentileValue": 95, "analysisUnits": ["user"],
                "successCriteria": "LowerThanBaseline", "eventDefault": {"disabled": true},
                "filters": {"type": "group", "values": [1]}, "winsorLowerPercentile": 1,
                "winsorUpperPercentile": 99, "unitAggregationType": "average",
            }),
        ),
        post(
            "/projects/default/metric-groups".to_owned(),
            json!({
                "key": "group", "name": "Group", "kind": "funnel", "maintainerId": "m", "tags": [],
                "metrics": [{"key": "clicks", "nameInGroup": "1"}, {"key": "signup", "nameInGroup": "2"}],
            }),
        ),
    ]
}

fn busy() -> Api {
    let api = Api::new();
    api.create("draft");
    for key in ["stopped", "next", "running"] {
        api.run(key);
        if key != "running" {
            api.stop(key);
        }
    }
    api.draft("next", &api.iteration()).is(200);
    // Its rule is another, so that `next` can start.
    let flags =
        json!({"button": {"ruleId": "seg_beta", "flagConfigVersion": api.version("button")}});
    api.patch("running", json!([save_and_start("flags", "update", Some(flags))])).ok();
    api
}

#[test]
fn the_requests_that_are_twisted_are_right() {
    for index in 0..requests(&busy()).len() {
        let api = busy();
        let (method, path, mut body) = requests(&api).swap_remove(index);
        if path.ends_with("/next") || path.ends_with("/running") {
            // Both cannot be on one rule.
            let text = body.to_string().replace("seg_beta", "fallthrough");
            body = serde_json::from_str(&text).unwrap();
        }
        let answer = api.request(method, &path, body.to_string().into_bytes());
        answer.ok();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_request_is_too_strange(
        which in any::<Index>(),
        twists in prop::collection::vec((any::<Index>(), twist()), 1..4),
    ) {
        let api = busy();
        let all = requests(&api);
        let (method, path, mut body) = all[which.index(all.len())].clone();
        for (place, twist) in &twists {
            twisted(&mut body, *place, twist);
        }
        api.request(method, &path, body.to_string().into_bytes());
        // What is held still leads to itself.
        let json = api.engine().to_json();
        prop_assert_eq!(variate::Engine::from_json(&json).unwrap().to_json(), json);
    }

    #[test]
    fn no_text_is_too_strange(
        which in any::<Index>(),
        cut in any::<Index>(),
        noise in prop::collection::vec(any::<u8>(), 0..8),
    ) {
        let api = busy();
        let all = requests(&api);
        let (method, path, body) = &all[which.index(all.len())];
        let mut text = body.to_string().into_bytes();
        text.truncate(cut.index(text.len()));
        text.extend(noise);
        let answer = api.request(method, path, text);
        prop_assert!(answer.status >= 400, "{answer:?}");
    }

    #[test]
    fn no_path_is_too_strange(path in "(/(projects|default|environments|production|experiments|flags|metrics|%zz|%ff|\\.\\.|)){0,7}(\\?[a-z=&%:,]{0,12})?") {
        let api = Api::new();
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"] {
            api.request(method, &path, Vec::new());
        }
    }
}
