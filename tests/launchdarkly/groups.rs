//! What goes around experiments on LaunchDarkly's surface: layers, holdouts and the project's
//! randomization units.
//!
//! Every request of every test goes through [`Api::call`], which sees to it that what is refused, or
//! only reads, changes nothing, and that no answer has a `null`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use http::Request;
use serde_json::{Value, json};
use variate::api::launchdarkly::Experimentation;
use variate::{
    Change, Engine, Event, NewHoldout, NewLayer, Percentage, Reason, Snapshot, Status, Subject,
    SystemEntropy, Timestamp,
};

const PROJECT: &str = "/api/v2/projects/default";
const ENVIRONMENT: &str = "/api/v2/projects/default/environments/production";

/// How many subjects are asked.
const SUBJECTS: u32 = 10_000;

/// The surface over an engine of its own, whose clock ticks with every look at it.
struct Api {
    surface: Experimentation,
    events: Arc<Mutex<Vec<Event>>>,
}

/// A response with what was asked, for messages.
#[derive(Debug)]
struct Answer {
    status: u16,
    body: Value,
    asked: String,
}

impl Api {
    fn new() -> Self {
        let millis = AtomicI64::new(1_700_000_000_000);
        let now = move || {
            Timestamp::from_unix_millis(millis.fetch_add(1_000, Ordering::Relaxed)).unwrap()
        };
        let engine = Engine::with(Snapshot::new(), now, SystemEntropy);
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&events);
        engine.listen(move |event, _| heard.lock().unwrap().push(event.clone())).unwrap();
        Self { surface: Experimentation::new(engine), events }
    }

    fn engine(&self) -> &Engine {
        self.surface.engine()
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.engine().snapshot()
    }

    #[track_caller]
    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let before = self.engine().to_json();
        let text = body.map(ToString::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path.replace(' ', "%20"))
            .header("content-type", "application/json; domain-model=launchdarkly.semanticpatch")
            .body(text.clone())
            .unwrap();
        let response = self.surface.handle(&request);
        let status = response.status().as_u16();
        let asked = format!("{method} {path} {text}");
        let body: Value = serde_json::from_slice(response.body()).expect(&asked);
        assert!(!has_null(&body), "{asked}\n{body}");
        if method == "GET" || status >= 400 {
            assert_eq!(self.engine().to_json(), before, "{asked}");
        }
        Answer { status, body, asked }
    }

    #[track_caller]
    fn get(&self, path: &str) -> Value {
        self.call("GET", path, None).expect(200)
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Value {
        self.call("POST", path, Some(body)).expect(201)
    }

    /// Carries out these instructions.
    #[track_caller]
    fn try_patch(&self, path: &str, instructions: &[Value]) -> Answer {
        let body = json!({ "environmentKey": "production", "instructions": instructions });
        self.call("PATCH", path, Some(&body))
    }

    #[track_caller]
    fn patch(&self, path: &str, instructions: &[Value]) -> Value {
        self.try_patch(path, instructions).expect(200)
    }

    /// Creates a boolean flag that is switched on; its variations are `true` and `false`, and it
    /// serves the latter while it is off.
    fn flag(&self, key: &str) {
        self.post("/api/v2/flags/default", &json!({ "key": key, "name": key, "isFlagOn": true }));
    }

    fn metric(&self, key: &str) {
        let body = json!({ "key": key, "kind": "custom", "eventKey": key });
        self.post("/api/v2/metrics/default", &body);
    }

    /// The body that creates an experiment which divides everybody in halves, with more members.
    #[track_caller]
    fn halves(&self, key: &str, flag: &str, unit: &str, more: &Value) -> Value {
        let held = self.get(&format!("/api/v2/flags/default/{flag}"));
        let arm = |index: usize, baseline: bool| {
            json!({
                "name": format!("arm {index}"), "baseline": baseline, "allocationPercent": "50",
                "parameters": [{ "flagKey": flag, "variationId": held["variations"][index]["_id"] }],
            })
        };
        let mut body = json!({
            "key": key, "name": key,
            "iteration": {
                "hypothesis": "it helps", "randomizationUnit": unit,
                "flags": { flag: {
                    "ruleId": "fallthrough",
                    "flagConfigVersion": held["environments"]["production"]["version"],
                } },
                "treatments": [arm(0, true), arm(1, false)],
                "metrics": [{ "key": "sales" }], "primarySingleMetricKey": "sales",
            },
        });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    }

    #[track_caller]
    fn experiment_with(&self, key: &str, flag: &str, unit: &str, more: &Value) {
        let body = self.halves(key, flag, unit, more);
        self.post(&format!("{ENVIRONMENT}/experiments"), &body);
    }

    /// Creates an experiment on a flag of its own.
    #[track_caller]
    fn experiment(&self, key: &str) {
        self.flag(&format!("{key}-flag"));
        self.experiment_with(key, &format!("{key}-flag"), "user", &json!({}));
    }

    #[track_caller]
    fn held_experiment(&self, key: &str, holdout: &Value) {
        self.flag(&format!("{key}-flag"));
        let more = json!({ "holdoutId": holdout["_id"] });
        self.experiment_with(key, &format!("{key}-flag"), "user", &more);
    }

    #[track_caller]
    fn start(&self, key: &str) {
        let path = format!("{ENVIRONMENT}/experiments/{key}");
        self.patch(&path, &[json!({ "kind": "startIteration" })]);
    }

    #[track_caller]
    fn stop(&self, key: &str) {
        let path = format!("{ENVIRONMENT}/experiments/{key}");
        let shown = self.get(&format!("{path}?expand=treatments"));
        let winner = &shown["currentIteration"]["treatments"][0]["_id"];
        let stop = json!({ "kind": "stopIteration", "winningTreatmentId": winner });
        self.patch(&path, &[stop]);
    }

    #[track_caller]
    fn layer(&self, key: &str) -> Value {
        let body = json!({ "key": key, "name": key, "description": "exclusive" });
        self.post(&format!("{PROJECT}/layers"), &body)
    }

    #[track_caller]
    fn holdout(&self, key: &str, amount: &str) -> Value {
        let body = json!({ "key": key, "name": key, "holdoutamount": amount });
        self.post(&format!("{ENVIRONMENT}/holdouts"), &body)
    }

    /// The variations that subjects get of an experiment, each with the reason.
    fn assigned(&self, key: &str) -> Vec<(Option<String>, String, bool)> {
        let snapshot = self.snapshot();
        let id = snapshot.experiment_by_key(key).unwrap().id().clone();
        let ask = |number: u32| {
            let subject = format!("subject-{number}");
            let subject = Subject::of("user", &subject);
            let decision = snapshot.assign(&id, &subject);
            let variation = decision.variation_id().map(ToString::to_string);
            (variation, decision.reason().as_str().to_owned(), decision.in_experiment())
        };
        (0..SUBJECTS).map(ask).collect()
    }

    /// Checks that the events tell all that has become of the engine.
    #[track_caller]
    fn check_replay(&self) {
        let replayed = Engine::replay(self.events.lock().unwrap().iter()).unwrap();
        assert_eq!(replayed.to_json(), self.engine().to_json());
    }
}

impl Answer {
    #[track_caller]
    fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}\n{}", self.asked, self.body);
        self.body
    }

    /// Checks a refusal: its code by its status, the attribute at fault, if one is, and a part of
    /// what it says.
    #[track_caller]
    fn refused(&self, status: u16, attribute: &str, says: &str) {
        let shown = format!("{}\n{}", self.asked, self.body);
        assert_eq!(self.status, status, "{shown}");
        let code = match status {
            404 => "not_found",
            422 => "patch_failed",
            _ => "invalid_request",
        };
        assert_eq!(self.body["code"], code, "{shown}");
        let fault = match &self.body["errors"] {
            Value::Array(errors) => errors[0].clone(),
            _ => json!({ "attribute": "", "reason": self.body["message"] }),
        };
        assert_eq!(fault["attribute"], attribute, "{shown}");
        assert!(fault["reason"].as_str().unwrap().contains(says), "{says}\n{shown}");
    }
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(members) => members.values().any(has_null),
        _ => false,
    }
}

/// Checks that an answer has these members, whatever else it has.
#[track_caller]
fn has(answer: &Value, wanted: &Value) {
    for (name, value) in wanted.as_object().unwrap() {
        assert_eq!(&answer[name], value, "{name} of {answer}");
    }
}

fn reserve(experiment: &str, percent: u32) -> Value {
    json!({
        "kind": "updateExperimentReservation",
        "experimentKey": experiment, "reservationPercent": percent,
    })
}

fn leave_layer(experiment: &str) -> Value {
    json!({ "kind": "removeExperiment", "experimentKey": experiment })
}

fn leave_holdout(experiment: &str) -> Value {
    json!({ "kind": "removeExperiment", "value": experiment })
}

/// The reservations of a layer.
fn reservations(layer: &Value) -> Vec<(String, u64)> {
    let list = layer["environments"]["production"]["reservations"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    list.iter()
        .map(|own| {
            assert_eq!(own["flagKey"], format!("{}-flag", text(&own["experimentKey"])));
            (text(&own["experimentKey"]), own["reservationPercent"].as_u64().unwrap())
        })
        .collect()
}

fn shares(list: &[(&str, u64)]) -> Vec<(String, u64)> {
    list.iter().map(|(key, share)| ((*key).to_owned(), *share)).collect()
}

/// Checks that about this share of the subjects is meant: within six standard deviations.
#[track_caller]
fn check_share(count: usize, percent: f64) {
    let (total, part) = (f64::from(SUBJECTS), percent / 100.0);
    let count = f64::from(u32::try_from(count).unwrap());
    let deviation = (total * part * (1.0 - part)).sqrt();
    let off = (count - total * part).abs();
    assert!(off <= 6.0 * deviation, "{count} of {total} instead of {percent} %");
}

/// Drafts `a`, `b` and `c` by `user` and `d` by `device`, each on a flag of its own; the layers `one`
/// and `two`, and the holdout `winter` of 20 percent.
fn world() -> Api {
    let api = Api::new();
    api.metric("sales");
    for key in ["a", "b", "c"] {
        api.experiment(key);
    }
    api.flag("d-flag");
    api.experiment_with("d", "d-flag", "device", &json!({}));
    api.layer("one");
    api.layer("two");
    api.holdout("winter", "20");
    api
}

fn layer_path(key: &str) -> String {
    format!("{PROJECT}/layers/{key}")
}

fn holdout_path(key: &str) -> String {
    format!("{ENVIRONMENT}/holdouts/{key}")
}

#[test]
fn a_layer_is_created_with_what_it_is_called() {
    let api = Api::new();
    let path = format!("{PROJECT}/layers");
    let body = json!({ "key": "one", "name": "Checkout", "description": "all", "extra": 1 });
    let shown = api.post(&path, &body);
    has(
        &shown,
        &json!({
            "key": "one", "name": "Checkout", "description": "all", "randomizationUnit": "user",
            "environments": { "production": { "reservations": [] } },
        }),
    );
    assert!(shown["createdAt"].is_i64());
    for (body, status, attribute, says) in [
        (json!({ "key": "two", "name": "x" }), 400, "description", "is required"),
        (json!({ "key": "two", "description": "" }), 400, "name", "is required"),
        (json!({ "name": "x", "description": "" }), 400, "key", "is required"),
        (json!({ "key": "", "name": "x", "description": "" }), 400, "key", "characters"),
        (json!({ "key": "two", "name": "", "description": "" }), 400, "name", "characters"),
        (json!({ "key": "two", "name": 2, "description": "" }), 400, "name", "a string"),
        (json!({ "key": "one", "name": "x", "description": "" }), 409, "key", "key of"),
        (json!([]), 400, "", "an object"),
    ] {
        api.call("POST", &path, Some(&body)).refused(status, attribute, says);
    }
    let empty = json!({ "key": "two", "name": "Checkout", "description": "" });
    assert_eq!(api.post(&path, &empty)["description"], "");
    api.check_replay();
}

#[test]
fn layers_are_listed_all_or_by_pages_or_by_their_experiments() {
    let api = world();
    api.patch(&layer_path("two"), &[reserve("a", 10), reserve("b", 10)]);
    for number in 0..25 {
        api.layer(&format!("more-{number}"));
    }
    let check = |query: &str, total: usize, first: &[&str]| {
        let page = api.get(&format!("{PROJECT}/layers{query}"));
        assert_eq!(page["totalCount"], total, "{query}");
        let keys = page["items"].as_array().unwrap().iter().map(|own| own["key"].clone());
        let keys: Vec<_> = keys.collect();
        assert_eq!(keys[..first.len()], first.iter().map(|key| json!(key)).collect::<Vec<_>>());
        keys.len()
    };
    assert_eq!(check("", 27, &["one", "two", "more-0"]), 27);
    assert_eq!(check("?limit=2", 27, &["one", "two"]), 2);
    assert_eq!(check("?limit=2&offset=1", 27, &["two", "more-0"]), 2);
    let filter = "?filter=reservations.experimentKey contains";
    assert_eq!(check(&format!("{filter} a"), 1, &["two"]), 1);
    let page = api.get(&format!("{PROJECT}/layers{filter} a"));
    let own = format!("{PROJECT}/layers?filter=reservations.experimentKey+contains+a");
    assert_eq!(page["_links"]["self"]["href"], own);
    assert_eq!(check(&format!("{filter} %22b%22"), 1, &["two"]), 1);
    assert_eq!(check(&format!("{filter} c"), 0, &[]), 0);
    assert_eq!(check(&format!("{filter} nobody"), 0, &[]), 0);
    for (query, attribute) in
        [("filter=name:one", "filter"), ("limit=0", "limit"), ("offset=x", "offset")]
    {
        let answer = api.call("GET", &format!("{PROJECT}/layers?{query}"), None);
        answer.refused(400, attribute, "must");
    }
}

#[test]
fn instructions_change_a_layer() {
    let api = world();
    let path = layer_path("one");
    let check = |instructions: &[Value], wanted: &[(&str, u64)]| {
        assert_eq!(reservations(&api.patch(&path, instructions)), shares(wanted));
    };
    check(&[reserve("b", 30)], &[("b", 30)]);
    check(&[reserve("a", 70)], &[("a", 70), ("b", 30)]);
    check(&[reserve("a", 0), reserve("b", 100)], &[("a", 0), ("b", 100)]);
    check(&[leave_layer("b"), reserve("c", 40)], &[("a", 0), ("c", 40)]);
    // Who is no member, be it in no layer or in another, leaves nothing.
    let before = api.engine().to_json();
    check(&[leave_layer("b"), leave_layer("d")], &[("a", 0), ("c", 40)]);
    check(&[reserve("c", 40)], &[("a", 0), ("c", 40)]);
    assert_eq!(api.engine().to_json(), before);
    let renamed = [
        json!({ "kind": "updateName", "name": "Other", "value": "ignored" }),
        json!({ "kind": "updateDescription", "description": "what for" }),
    ];
    has(&api.patch(&path, &renamed), &json!({ "name": "Other", "description": "what for" }));
    let cleared = [json!({ "kind": "updateDescription", "description": "" })];
    has(&api.patch(&path, &cleared), &json!({ "name": "Other", "description": "" }));
    // Names need no environment.
    let body = json!({ "instructions": [{ "kind": "updateName", "name": "Third" }] });
    has(&api.call("PATCH", &path, Some(&body)).expect(200), &json!({ "name": "Third" }));
    api.check_replay();
}

#[test]
fn what_a_layer_cannot_do_is_refused_by_the_place_at_fault() {
    let api = world();
    let winter = api.get(&holdout_path("winter"));
    api.held_experiment("held", &winter);
    api.experiment("running");
    api.start("running");
    api.experiment("away");
    let archive = json!({ "kind": "archiveExperiment" });
    api.patch(&format!("{ENVIRONMENT}/experiments/away"), &[archive]);
    api.patch(&layer_path("one"), &[reserve("a", 60), reserve("b", 10)]);
    api.patch(&layer_path("two"), &[reserve("c", 10)]);
    api.start("b");
    let percent = "reservationPercent";
    let (experiment, whole) = ("experimentKey", "must be a whole number from 0 to 100");
    for (instruction, status, attribute, says) in [
        (reserve("a", 101), 400, percent, whole),
        (json!({ "kind": "updateExperimentReservation", "experimentKey": "a" }), 400, percent, ""),
        (reserve("a", 91), 400, percent, "sum to at most 100"),
        (reserve("b", 0), 400, percent, "experiment b is running"),
        (reserve("c", 10), 400, experiment, "experiment c is in layer two"),
        (reserve("d", 10), 400, experiment, "randomizationUnit, user; experiment d has device"),
        (reserve("held", 10), 400, experiment, "experiment held is in holdout winter"),
        (reserve("running", 10), 400, experiment, "experiment running is running; stop"),
        (reserve("away", 10), 400, experiment, "experiment away is archived"),
        (leave_layer("b"), 400, experiment, "experiment b is running; stop"),
        (json!({ "kind": "removeExperiment", "value": "a" }), 400, experiment, "is required"),
        (json!({ "kind": "updateName", "value": "x" }), 400, "name", "is required"),
        (json!({ "kind": "updateName", "name": "" }), 400, "name", "characters"),
        (json!({ "kind": "updateDescription", "value": "x" }), 400, "description", "is required"),
        (json!({ "kind": "deleteLayer" }), 422, "kind", "must be one of updateName"),
    ] {
        let answer = api.try_patch(&layer_path("one"), std::slice::from_ref(&instruction));
        answer.refused(status, &format!("instructions[0].{attribute}"), says);
    }
    for percent in [json!("10"), json!(10.5), json!(-1), json!(4_294_967_296_u64)] {
        let mut instruction = reserve("a", 1);
        instruction["reservationPercent"] = percent;
        let answer = api.try_patch(&layer_path("one"), &[instruction]);
        answer.refused(400, "instructions[0].reservationPercent", whole);
    }
    for unknown in [reserve("nobody", 1), leave_layer("nobody")] {
        let answer = api.try_patch(&layer_path("one"), &[unknown]);
        answer.refused(404, "instructions[0]", "there is no experiment \"nobody\"");
    }
    for (key, body, status, attribute, says) in [
        ("three", json!({ "instructions": [leave_layer("a")] }), 404, "", "no layer \"three\""),
        ("one", json!({ "instructions": [] }), 400, "instructions", "at least one"),
        ("one", json!({}), 400, "instructions", "is required"),
        ("one", json!([{ "op": "replace" }]), 422, "", "no JSON patch"),
        ("one", json!({ "instructions": [leave_layer("a")] }), 400, "environmentKey", "required"),
        ("one", json!({ "instructions": [reserve("a", 1)] }), 400, "environmentKey", "required"),
        (
            "one",
            json!({ "environmentKey": "test", "instructions": [reserve("a", 1)] }),
            404,
            "",
            "no environment \"test\"",
        ),
    ] {
        api.call("PATCH", &layer_path(key), Some(&body)).refused(status, attribute, says);
    }
    // A share of a member that runs can change, and who has stopped can leave.
    api.patch(&layer_path("one"), &[reserve("b", 40)]);
    api.stop("b");
    let left = api.patch(&layer_path("one"), &[leave_layer("b")]);
    assert_eq!(reservations(&left), shares(&[("a", 60)]));
    api.check_replay();
}

#[test]
fn of_a_patch_all_is_done_or_nothing() {
    let api = world();
    api.patch(&layer_path("one"), &[reserve("c", 10)]);
    let winter = api.get(&holdout_path("winter"));
    api.held_experiment("held", &winter);
    let name = json!({ "kind": "updateName", "name": "x", "value": "x" });
    let text = json!({ "kind": "updateDescription", "description": "x", "value": "x" });
    let empty = json!({ "kind": "updateName", "name": "", "value": "" });
    let unknown = json!({ "kind": "turnOver" });
    let layer = (
        layer_path("one"),
        vec![name.clone(), reserve("a", 20), text.clone(), leave_layer("c")],
        vec![reserve("a", 101), reserve("nobody", 1), reserve("d", 1), leave_layer("nobody")],
    );
    let end = json!({ "kind": "endHoldout" });
    let holdout = (
        holdout_path("winter"),
        vec![name, leave_holdout("held"), text, end],
        vec![leave_holdout("nobody"), json!({ "kind": "removeExperiment" })],
    );
    for (path, good, mut bad) in [layer, holdout] {
        bad.extend([empty.clone(), unknown.clone()]);
        for (fault, index) in bad.iter().flat_map(|bad| (0..=good.len()).map(move |at| (bad, at))) {
            let mut instructions = good.clone();
            instructions.insert(index, fault.clone());
            let answer = api.try_patch(&path, &instructions);
            assert!(answer.status >= 400, "{}", answer.asked);
            let told = format!("instructions[{index}]");
            assert!(answer.body["message"].as_str().unwrap().contains(&told), "{}", answer.body);
        }
        let before = api.engine().to_json();
        api.patch(&path, &good);
        assert_ne!(api.engine().to_json(), before);
    }
    api.check_replay();
}

#[test]
fn a_subject_is_in_one_running_experiment_of_a_layer_at_most() {
    let api = world();
    let path = layer_path("one");
    let keys = ["a", "b", "c"];
    // Who is in which, after checking that nobody is in two.
    let check = |wanted: [u32; 3]| {
        let assigned = keys.map(|key| api.assigned(key));
        let mut counts = [0; 3];
        let mut owners = BTreeMap::new();
        for number in 0..SUBJECTS as usize {
            let within: Vec<usize> = (0..3).filter(|own| assigned[*own][number].2).collect();
            assert!(within.len() <= 1, "subject-{number} is in {within:?}");
            for own in within {
                counts[own] += 1;
                owners.insert(number, own);
            }
            for (own, wanted) in assigned.iter().zip(wanted) {
                let (variation, reason, within) = &own[number];
                if wanted > 0 && !within {
                    assert_eq!(reason, Reason::OutsideLayerSlot.as_str());
                    assert!(variation.is_some(), "the variation of those not in the experiment");
                }
            }
        }
        for (count, percent) in counts.into_iter().zip(wanted) {
            check_share(count, f64::from(percent));
        }
        owners
    };
    api.patch(&path, &[reserve("a", 30), reserve("b", 20)]);
    api.start("a");
    api.start("b");
    let before = check([30, 20, 0]);
    // A third joins and another grows; nobody leaves what stays as large.
    api.patch(&path, &[reserve("c", 25), reserve("a", 50)]);
    let between = check([50, 20, 0]);
    assert!(before.iter().all(|(number, own)| between.get(number) == Some(own)));
    api.start("c");
    let after = check([50, 20, 25]);
    assert!(between.iter().all(|(number, own)| after.get(number) == Some(own)));
    // One shrinks in favour of another, which can only have what is free by then.
    let answer = api.try_patch(&path, &[reserve("b", 60), reserve("a", 10)]);
    answer.refused(400, "instructions[0].reservationPercent", "sum to at most 100");
    api.patch(&path, &[reserve("a", 10), reserve("b", 60)]);
    check([10, 60, 25]);
    api.check_replay();
}

#[test]
fn a_holdout_is_created_with_how_it_is_to_be_read() {
    let api = Api::new();
    for key in ["sales", "visits"] {
        api.metric(key);
    }
    let group = |key: &str, kind: &str| {
        let members = ["sales", "visits"].map(|key| json!({ "key": key, "nameInGroup": key }));
        json!({
            "key": key, "name": key, "kind": kind, "maintainerId": "m", "tags": [],
            "metrics": members,
        })
    };
    for (key, kind) in [("path", "funnel"), ("both", "standard")] {
        api.post(&format!("{PROJECT}/metric-groups"), &group(key, kind));
    }
    api.flag("gate");
    let path = format!("{ENVIRONMENT}/holdouts");
    let body = json!({
        "key": "winter", "name": "Winter", "description": "until spring",
        "randomizationunit": "device", "holdoutamount": "12.5", "attributes": ["country"],
        "primarymetrickey": "sales", "metrics": [{ "key": "visits" }, { "key": "sales" }],
        "prerequisiteflagkey": "gate", "maintainerId": "m1", "extra": null,
    });
    let shown = api.post(&path, &body);
    has(
        &shown,
        &json!({
            "status": "created", "description": "until spring", "holdoutAmount": "12.5",
            "experiments": [],
        }),
    );
    assert_eq!(shown["createdAt"], shown["updatedAt"]);
    let base = &shown["baseExperiment"];
    has(
        base,
        &json!({
            "_id": shown["_id"], "key": "winter", "name": "Winter", "type": "holdout",
            "description": "until spring", "_maintainerId": "m1", "environmentKey": "production",
            "_creationDate": shown["createdAt"],
        }),
    );
    assert_eq!(base["_links"]["self"]["href"], format!("{path}/winter"));
    let iteration = &base["currentIteration"];
    has(
        iteration,
        &json!({
            "status": "not_started", "randomizationUnit": "device", "attributes": ["country"],
            "hypothesis": "", "flags": {},
        }),
    );
    assert_eq!(iteration["primarySingleMetric"]["key"], "sales");
    let keys = |list: &Value| -> Vec<String> {
        let list = list.as_array().unwrap().iter();
        list.map(|own| own["key"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(keys(&iteration["metrics"]), ["visits", "sales"]);
    assert_eq!(keys(&iteration["secondaryMetrics"]), ["visits"]);
    let sides = iteration["treatments"].as_array().unwrap();
    let wanted = [("in", "12.5", true), ("out", "87.5", false)];
    assert_eq!(sides.len(), 2);
    for (side, (id, percent, baseline)) in sides.iter().zip(wanted) {
        has(side, &json!({ "_id": id, "allocationPercent": percent, "baseline": baseline }));
    }
    // What is left out has its default, and a number does for a share.
    let plain = json!({ "key": "plain", "name": "Winter", "holdoutamount": 5 });
    let plain = api.post(&path, &plain);
    assert_eq!(plain["holdoutAmount"], "5");
    let iteration = &plain["baseExperiment"]["currentIteration"];
    assert_eq!(iteration["randomizationUnit"], "user");
    assert!(iteration.get("primaryMetric").is_none());
    let funnel = json!({
        "key": "funnel", "name": "Funnel", "holdoutamount": "1", "primarymetrickey": "path",
    });
    let funnel = api.post(&path, &funnel);
    assert_eq!(funnel["baseExperiment"]["currentIteration"]["primaryFunnel"]["key"], "path");

    for (member, value, status, attribute, says) in [
        ("key", json!("winter"), 409, "key", "key of"),
        ("key", json!(null), 400, "key", "a string"),
        ("name", json!(""), 400, "name", "characters"),
        ("holdoutamount", json!("101"), 400, "holdoutamount", "from 0 to 100"),
        ("holdoutamount", json!("0.0001"), 400, "holdoutamount", "at most 3 decimals"),
        ("holdoutamount", json!("five"), 400, "holdoutamount", "must be a number"),
        ("randomizationunit", json!(""), 400, "randomizationunit", "characters"),
        ("primarymetrickey", json!("both"), 400, "primarymetrickey", "a metric or a funnel"),
        ("primarymetrickey", json!("nobody"), 404, "primarymetrickey", "no metric \"nobody\""),
        ("metrics", json!([{ "key": "nobody" }]), 404, "metrics[0].key", "no metric \"nobody\""),
        ("metrics", json!([{ "key": "both" }]), 400, "metrics[0].key", "a metric, not a group"),
        ("prerequisiteflagkey", json!("nobody"), 404, "", "no flag \"nobody\""),
        ("attributes", json!(["a", "b", "c", "d", "e", "f"]), 400, "attributes", "5"),
        ("maintainerId", json!(""), 400, "maintainerId", "characters"),
    ] {
        let mut body = json!({ "key": "summer", "name": "Summer", "holdoutamount": "5" });
        body[member] = value;
        api.call("POST", &path, Some(&body)).refused(status, attribute, says);
    }
    for member in ["key", "name", "holdoutamount"] {
        let mut body = json!({ "key": "summer", "name": "Summer", "holdoutamount": "5" });
        body.as_object_mut().unwrap().remove(member);
        api.call("POST", &path, Some(&body)).refused(400, member, "is required");
    }
    api.check_replay();
}

#[test]
fn the_state_of_a_holdout_is_that_of_its_experiments() {
    let api = world();
    let path = holdout_path("winter");
    let check = |status: &str, iteration: &str, is_dirty: bool, members: &[&str]| {
        let shown = api.get(&path);
        has(&shown, &json!({ "status": status, "isDirty": is_dirty }));
        let base = &shown["baseExperiment"]["currentIteration"];
        assert_eq!(base["status"], iteration);
        let has_started = iteration != "not_started" && !members.is_empty();
        assert_eq!(base.get("startedAt").is_some(), has_started);
        assert_eq!(base.get("endedAt").is_some(), status == "ended");
        let related = shown["relatedExperiments"].as_array().unwrap().iter();
        assert!(related.clone().all(|own| own["holdoutId"] == shown["_id"]));
        let keys: Vec<_> = related.map(|own| own["key"].as_str().unwrap().to_owned()).collect();
        assert_eq!(keys, members);
        assert!(shown.get("experiments").is_none());
        let listed = api.get(&format!("{ENVIRONMENT}/holdouts"));
        assert_eq!(listed["total_count"], 1);
        let id = shown["_id"].as_str().unwrap();
        let by_id = api.get(&format!("{ENVIRONMENT}/holdouts/id/{id}"));
        assert!(by_id.get("relatedExperiments").is_none() && by_id.get("isDirty").is_none());
        let short = members
            .iter()
            .map(|key| json!({ "key": key, "name": key, "environment": "production" }));
        let short = Value::Array(short.collect());
        for own in [&listed["items"][0], &by_id] {
            has(own, &json!({ "status": status, "experiments": short, "_id": id }));
        }
        has(&listed["items"][0], &json!({ "key": "winter" }));
        shown
    };
    let winter = check("created", "not_started", false, &[]);
    api.held_experiment("first", &winter);
    api.held_experiment("second", &winter);
    check("enabled", "not_started", false, &["first", "second"]);
    api.start("second");
    let running = check("running", "running", true, &["first", "second"]);
    api.stop("second");
    check("running", "running", false, &["first", "second"]);
    api.start("first");
    let again = check("running", "running", true, &["first", "second"]);
    let started = |shown: &Value| shown["baseExperiment"]["currentIteration"]["startedAt"].clone();
    assert_eq!(started(&again), started(&running));

    let refused = api.try_patch(&path, &[leave_holdout("first")]);
    refused.refused(400, "instructions[0].value", "experiment first is running; stop");
    api.patch(&path, &[leave_holdout("second")]);
    check("running", "running", true, &["first"]);
    let before = api.engine().to_json();
    api.patch(&path, &[leave_holdout("second"), leave_holdout("a")]);
    assert_eq!(api.engine().to_json(), before, "who is no member leaves nothing");

    let end = json!({ "kind": "endHoldout" });
    let ended = api.patch(&path, std::slice::from_ref(&end));
    assert_eq!(ended["status"], "ended");
    let ended = check("ended", "stopped", false, &["first"]);
    let before = api.engine().to_json();
    api.patch(&path, &[end]);
    assert_eq!(api.engine().to_json(), before, "one that has ended ends no more");
    assert_eq!(api.get(&path), ended);
    // Nobody joins one that has ended, and who runs can leave it.
    let joins = json!({ "holdoutId": winter["_id"] });
    let body = api.halves("late", "a-flag", "user", &joins);
    let answer = api.call("POST", &format!("{ENVIRONMENT}/experiments"), Some(&body));
    answer.refused(400, "holdoutId", "ended");
    api.patch(&path, &[leave_holdout("first")]);
    check("ended", "stopped", false, &[]);
    api.check_replay();
}

/// Without a start there is none to show, even if the holdout has ended.
#[test]
fn a_holdout_that_ends_before_anything_starts_has_no_start() {
    let api = world();
    let ended = api.patch(&holdout_path("winter"), &[json!({ "kind": "endHoldout" })]);
    let iteration = &ended["baseExperiment"]["currentIteration"];
    assert_eq!(iteration["status"], "stopped");
    assert!(iteration.get("startedAt").is_none());
}

#[test]
fn instructions_change_a_holdout() {
    let api = world();
    let path = holdout_path("winter");
    let text = |kind: &str, value: &str| json!({ "kind": kind, "value": value });
    let shown = api.patch(&path, &[text("updateName", "A"), text("updateDescription", "B")]);
    has(&shown, &json!({ "description": "B" }));
    has(&shown["baseExperiment"], &json!({ "name": "A", "description": "B", "key": "winter" }));
    assert_ne!(shown["createdAt"], shown["updatedAt"]);
    let shown = api.patch(&path, &[text("updateDescription", "")]);
    assert!(shown.get("description").is_none());
    api.patch(&path, &[json!({ "kind": "endHoldout" }), text("updateName", "C")]);
    for (instruction, status, attribute, says) in [
        (text("updateName", ""), 400, "value", "characters"),
        (json!({ "kind": "updateName", "name": "x" }), 400, "value", "is required"),
        (text("updateDescription", "a\nb"), 400, "value", "line"),
        (json!({ "kind": "updateDescription" }), 400, "value", "is required"),
        (json!({ "kind": "removeExperiment", "experimentKey": "a" }), 400, "value", "is required"),
        (json!({ "kind": "startHoldout" }), 422, "kind", "must be one of updateName"),
    ] {
        let answer = api.try_patch(&path, &[instruction]);
        answer.refused(status, &format!("instructions[0].{attribute}"), says);
    }
    let answer = api.try_patch(&path, &[leave_holdout("nobody")]);
    answer.refused(404, "instructions[0]", "there is no experiment \"nobody\"");
    let end = [json!({ "kind": "endHoldout" })];
    api.try_patch(&holdout_path("summer"), &end).refused(404, "", "no holdout \"summer\"");
    for path in [holdout_path("summer"), holdout_path("id/winter")] {
        api.call("GET", &path, None).refused(404, "", "there is no holdout");
    }
    api.check_replay();
}

#[test]
fn a_request_for_a_holdout_expands_its_experiments() {
    let api = world();
    let winter = api.get(&holdout_path("winter"));
    api.held_experiment("held", &winter);
    let path = holdout_path("winter");
    let related = |query: &str| api.get(&format!("{path}{query}"))["relatedExperiments"][0].clone();
    for (name, member) in [
        ("treatments", "treatments"),
        ("metrics", "metrics"),
        ("secondaryMetrics", "secondaryMetrics"),
    ] {
        assert!(related("")["currentIteration"].get(member).is_none());
        assert!(related(&format!("?expand={name}"))["currentIteration"].get(member).is_none());
        assert!(related(&format!("?expand=rel-{name}"))["currentIteration"][member].is_array());
    }
    assert!(related("").get("draftIteration").is_none());
    let both = "?expand=draftIteration,rel-draftIteration,rel-previousIterations";
    assert_eq!(related(both)["draftIteration"]["status"], "not_started");
    assert_eq!(related(both)["previousIterations"], json!([]));
    let base = |query: &str| api.get(&format!("{path}{query}"))["baseExperiment"].clone();
    assert!(base("").get("draftIteration").is_none());
    assert_eq!(base(both)["draftIteration"], base("")["currentIteration"]);
    api.start("held");
    assert!(base(both).get("draftIteration").is_none());
    let answer = api.call("GET", &format!("{path}?expand=rel-flags"), None);
    answer.refused(400, "expand", "got \"rel-flags\"");
}

#[test]
fn who_is_held_out_gets_the_off_variation_until_the_holdout_ends() {
    let api = world();
    let winter = api.get(&holdout_path("winter"));
    let keys = ["first", "second"];
    for key in keys {
        api.held_experiment(key, &winter);
        api.start(key);
    }
    let off = keys.map(|key| {
        let flag = api.get(&format!("/api/v2/flags/default/{key}-flag"));
        let index = flag["environments"]["production"]["offVariation"].as_u64().unwrap();
        let index = usize::try_from(index).unwrap();
        flag["variations"][index]["_id"].as_str().unwrap().to_owned()
    });
    let during = keys.map(|key| api.assigned(key));
    let is_out =
        |(_, reason, _): &(Option<String>, String, bool)| *reason == Reason::HeldOut.as_str();
    let held_out: Vec<bool> = during[0].iter().map(is_out).collect();
    check_share(held_out.iter().filter(|own| **own).count(), 20.0);
    for (own, off) in during.iter().zip(&off) {
        for (decision, held_out) in own.iter().zip(&held_out) {
            assert_eq!(is_out(decision), *held_out, "who is held out of one is held out of all");
            assert_eq!(decision.2, !held_out);
            if *held_out {
                assert_eq!(decision.0.as_ref(), Some(off));
            }
        }
    }
    // A winner does not reach them either.
    api.stop("second");
    for (decision, held_out) in api.assigned("second").iter().zip(&held_out) {
        assert_eq!(decision.0.as_ref() == Some(&off[1]), *held_out);
    }
    api.patch(&holdout_path("winter"), &[json!({ "kind": "endHoldout" })]);
    let after = api.assigned("first");
    assert!(after.iter().all(|decision| decision.2));
    for ((before, after), held_out) in during[0].iter().zip(&after).zip(&held_out) {
        assert!(*held_out || before.0 == after.0, "who was not held out stays where they are");
    }
    let left: std::collections::BTreeSet<_> =
        api.assigned("second").into_iter().map(|decision| decision.0).collect();
    assert_eq!(left.len(), 1, "the winner for all");
    api.check_replay();
}

#[test]
fn an_experiment_is_in_a_layer_or_in_a_holdout() {
    let api = world();
    let winter = api.get(&holdout_path("winter"));
    api.held_experiment("held", &winter);
    let join = [reserve("held", 10)];
    let refuse = || {
        let answer = api.try_patch(&layer_path("one"), &join);
        answer.refused(400, "instructions[0].experimentKey", "is in holdout winter");
    };
    refuse();
    api.patch(&holdout_path("winter"), &[json!({ "kind": "endHoldout" })]);
    refuse();
    api.patch(&holdout_path("winter"), &[leave_holdout("held")]);
    let layer = api.patch(&layer_path("one"), &join);
    assert_eq!(reservations(&layer), shares(&[("held", 10)]));
}

#[test]
fn the_settings_say_what_experiments_go_by() {
    let api = Api::new();
    api.metric("sales");
    let path = format!("{PROJECT}/experimentation-settings");
    let unit = |unit: &str, default: bool| {
        json!({
            "randomizationUnit": unit, "default": default, "_hidden": false, "_displayName": unit,
        })
    };
    let shown = api.get(&path);
    has(
        &shown,
        &json!({
            "_projectId": "default", "_projectKey": "default",
            "randomizationUnits": [unit("user", true)],
        }),
    );
    assert_eq!(shown["_links"]["self"]["href"], path);
    let put = |units: &Value| api.call("PUT", &path, Some(&json!({ "randomizationUnits": units })));
    for (units, attribute, says) in [
        (json!([]), "randomizationUnits", "exactly one default; got 0"),
        (json!([{ "randomizationUnit": "user" }]), "randomizationUnits", "got 0"),
        (
            json!([
                { "randomizationUnit": "user", "default": true },
                { "randomizationUnit": "device", "default": true },
            ]),
            "randomizationUnits",
            "exactly one default; got 2",
        ),
        (
            json!([
                { "randomizationUnit": "user", "default": true },
                { "randomizationUnit": "user", "default": false },
            ]),
            "randomizationUnits[1]",
            "must not be given twice",
        ),
        (json!([{ "default": true }]), "randomizationUnits[0].randomizationUnit", "is required"),
        (
            json!([{ "randomizationUnit": "", "default": true }]),
            "randomizationUnits[0].randomizationUnit",
            "characters",
        ),
        (
            json!([{ "randomizationUnit": "user", "default": "yes" }]),
            "randomizationUnits[0].default",
            "true or false",
        ),
        (json!("user"), "randomizationUnits", "an array"),
    ] {
        put(&units).refused(400, attribute, says);
    }
    let both = json!([
        { "randomizationUnit": "device", "standardRandomizationUnit": "user", "extra": 1 },
        { "randomizationUnit": "organization", "default": true },
    ]);
    let shown = put(&both).expect(200);
    let wanted = json!([unit("device", false), unit("organization", true)]);
    assert_eq!(shown["randomizationUnits"], wanted);
    assert_eq!(api.get(&path), shown);

    // From now on they hold for what is created.
    assert_eq!(api.layer("one")["randomizationUnit"], "organization");
    let winter = api.holdout("winter", "5");
    let iteration = &winter["baseExperiment"]["currentIteration"];
    assert_eq!(iteration["randomizationUnit"], "organization");
    let body = json!({
        "key": "summer", "name": "Summer", "holdoutamount": "5", "randomizationunit": "user",
    });
    let answer = api.call("POST", &format!("{ENVIRONMENT}/holdouts"), Some(&body));
    answer.refused(400, "randomizationunit", "which are device, organization; got \"user\"");
    // What there is stays, and what is put replaces everything.
    let user = json!([{ "randomizationUnit": "user", "default": true }]);
    assert_eq!(put(&user).expect(200)["randomizationUnits"], json!([unit("user", true)]));
    let layers = api.get(&format!("{PROJECT}/layers"));
    assert_eq!(layers["items"][0]["randomizationUnit"], "organization");
    assert_eq!(api.layer("two")["randomizationUnit"], "user");
    api.check_replay();
}

/// What the native API makes has no keys, and shares with decimals.
#[test]
fn what_others_have_made_is_shown_too() {
    let api = world();
    let share: Percentage = "12.5".parse().unwrap();
    let snapshot = api.snapshot();
    let member = snapshot.experiment_by_key("a").unwrap().id().clone();
    let layer = NewLayer::new("Native", "user").id("lay_native".parse().unwrap());
    let holdout = NewHoldout::new("Native", "user", share).id("hld_native".parse().unwrap());
    let changes: [Change; 2] = [layer.member(member, share).into(), holdout.into()];
    api.engine().commit(changes).unwrap();
    let renamed = [json!({ "kind": "updateName", "name": "Renamed" })];
    let shown = api.patch(&layer_path("lay_native"), &renamed);
    has(&shown, &json!({ "key": "lay_native", "name": "Renamed", "description": "" }));
    assert_eq!(reservations(&shown), shares(&[("a", 12)]));
    let shown = api.get(&holdout_path("hld_native"));
    has(&shown, &json!({ "_id": "hld_native", "holdoutAmount": "12.5" }));
    has(&shown["baseExperiment"], &json!({ "key": "hld_native", "type": "holdout" }));
    // One that is paused, which LaunchDarkly has no word for, counts as running but can leave.
    let id = snapshot.experiment_by_key("a").unwrap().id();
    for status in [Status::Active, Status::Paused] {
        api.engine().commit(Change::set_experiment_status(id, status)).unwrap();
    }
    let answer = api.try_patch(&layer_path("lay_native"), &[reserve("a", 0)]);
    answer.refused(400, "instructions[0].reservationPercent", "experiment a is running");
    let left = api.patch(&layer_path("lay_native"), &[leave_layer("a")]);
    assert_eq!(reservations(&left), []);
}

#[test]
fn each_path_has_its_methods() {
    let api = world();
    for (method, path) in [
        ("DELETE", layer_path("one")),
        ("GET", layer_path("one")),
        ("PUT", format!("{PROJECT}/layers")),
        ("DELETE", holdout_path("winter")),
        ("PATCH", holdout_path("id/winter")),
        ("PATCH", format!("{PROJECT}/experimentation-settings")),
    ] {
        let answer = api.call(method, &path, Some(&json!({})));
        assert_eq!(answer.expect(405)["code"], "method_not_allowed");
    }
    for path in [
        "/api/v2/projects/other/layers",
        "/api/v2/projects/other/experimentation-settings",
        "/api/v2/projects/default/environments/test/holdouts",
    ] {
        assert_eq!(api.call("GET", path, None).expect(404)["code"], "not_found");
    }
}
