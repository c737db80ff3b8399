//! One way to call the surface, and the small world that the tests begin with.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use http::{HeaderMap, Method, Request};
use serde_json::{Value, json};
use variate::api::launchdarkly::Experimentation;
use variate::{
    Change, Engine, Event, Experiment, Expression, FlagStatus, NewFlag, NewSegment, NewVariation,
    Rule, Snapshot, Timestamp,
};

use crate::common::{ok, p};

/// Where the experiments are.
pub const EXPERIMENTS: &str = "/projects/default/environments/production/experiments";

/// The query that has an answer show everything.
pub const ALL: &str = "?expand=previousIterations,draftIteration,secondaryMetrics,treatments,\
                       analysisConfig,mutableFieldsByStatus";

/// The surface over an engine of its own.
pub struct Api {
    surface: Experimentation,
    clock: Arc<AtomicI64>,
    events: Arc<Mutex<Vec<Event>>>,
}

/// A response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
    /// What was asked, for messages.
    asked: String,
}

impl Api {
    /// Over the [`world`].
    pub fn new() -> Self {
        Self::with(|surface| surface)
    }

    /// Over the [`world`], set up like this.
    pub fn with(set: impl FnOnce(Experimentation) -> Experimentation) -> Self {
        let snapshot = world();
        let clock = Arc::new(AtomicI64::new(1_700_000_000_000));
        let (ticks, drawn) = (Arc::clone(&clock), AtomicU64::new(1));
        let now = move || {
            let now = ticks.fetch_add(1_000, Ordering::Relaxed) + 1_000;
            Timestamp::from_unix_millis(now).unwrap()
        };
        let entropy = move || {
            let number = drawn.fetch_add(1, Ordering::Relaxed);
            u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
        };
        let engine = Engine::with(snapshot, now, entropy);
        let events = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&events);
        engine.listen(move |event, _| told.lock().unwrap().push(event.clone())).unwrap();
        Self { surface: set(Experimentation::new(engine)), clock, events }
    }

    pub fn engine(&self) -> &Engine {
        self.surface.engine()
    }

    /// The latest moment that the engine has seen.
    pub fn now(&self) -> i64 {
        self.clock.load(Ordering::Relaxed)
    }

    pub fn event_count(&self) -> usize {
        self.events.lock().unwrap().len()
    }

    /// The comment of the latest event.
    pub fn comment(&self) -> Option<String> {
        self.events.lock().unwrap().last().unwrap().comment.clone()
    }

    #[track_caller]
    pub fn commit(&self, change: impl Into<Change>) {
        self.engine().commit(change.into()).unwrap_or_else(|error| panic!("{error}"));
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, Vec::new())
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.request("POST", path, body.to_string().into_bytes())
    }

    /// Below `/api/v2`.
    #[track_caller]
    pub fn request(&self, method: &str, path: &str, body: Vec<u8>) -> Answer {
        let request = Request::builder().method(method).uri(format!("/api/v2{path}"));
        self.send(&request.body(body).unwrap())
    }

    /// Any request: unless it is a success of a writing method, nothing has changed.
    #[track_caller]
    pub fn send(&self, request: &Request<Vec<u8>>) -> Answer {
        let (before, told) = (self.engine().snapshot(), self.event_count());
        let response = self.surface.handle(request);
        let text = String::from_utf8_lossy(request.body());
        let short: String = text.chars().take(800).collect();
        let asked = format!("{} {} {short}", request.method(), request.uri());
        let (parts, body) = response.into_parts();
        let status = parts.status.as_u16();
        assert!(status < 500, "{asked}: {status}");
        assert_eq!(parts.headers["content-type"], "application/json", "{asked}");
        let body: Value =
            serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{asked}: {error}"));
        if status >= 400 || request.method() == Method::GET {
            let after = self.engine().snapshot();
            assert!(
                Arc::ptr_eq(&before, &after),
                "{asked}: changed something, and answered {body}"
            );
            assert_eq!(self.event_count(), told, "{asked}");
        }
        if status >= 400 {
            check_refusal(&body, &asked);
        } else {
            check_no_null(&body, &asked);
        }
        Answer { status, headers: parts.headers, body, asked }
    }

    /// Creates the [`experiment`] of this key.
    #[track_caller]
    pub fn create(&self, key: &str) -> Value {
        self.create_from(&self.experiment(key))
    }

    #[track_caller]
    pub fn create_from(&self, body: &Value) -> Value {
        self.post(&format!("{EXPERIMENTS}{ALL}"), body).is(201).body.clone()
    }

    /// Creates and starts the [`experiment`] of this key.
    #[track_caller]
    pub fn run(&self, key: &str) {
        self.create(key);
        self.start(key);
    }

    #[track_caller]
    pub fn start(&self, key: &str) -> Value {
        self.patch(key, json!([{"kind": "startIteration"}])).ok()
    }

    /// Stops an experiment, with `var_b` as the winner.
    #[track_caller]
    pub fn stop(&self, key: &str) -> Value {
        self.patch(key, json!([stop_with("var_b")])).ok()
    }

    /// Posts an iteration of an experiment.
    #[track_caller]
    pub fn draft(&self, key: &str, iteration: &Value) -> Answer {
        self.post(&format!("{EXPERIMENTS}/{key}/iterations"), iteration)
    }

    /// Has these instructions carried out; the answer shows everything.
    #[track_caller]
    pub fn patch(&self, key: &str, instructions: Value) -> Answer {
        self.patch_with(key, &json!({"instructions": instructions}))
    }

    #[track_caller]
    pub fn patch_with(&self, key: &str, body: &Value) -> Answer {
        let path = format!("{EXPERIMENTS}/{key}{ALL}");
        self.request("PATCH", &path, body.to_string().into_bytes())
    }

    /// Everything about an experiment.
    #[track_caller]
    pub fn show(&self, key: &str) -> Value {
        self.get(&format!("{EXPERIMENTS}/{key}{ALL}")).ok()
    }

    /// The experiment as the engine has it.
    #[track_caller]
    pub fn held(&self, key: &str) -> Experiment {
        self.engine().snapshot().experiment_by_key(key).unwrap().clone()
    }

    /// A body that creates an experiment.
    pub fn experiment(&self, key: &str) -> Value {
        json!({
            "key": key,
            "name": format!("Experiment {key}"),
            "description": "Which button",
            "tags": ["one", "two"],
            "dataSource": "databricks",
            "analysisConfig": {"significanceThreshold": "0.05"},
            "iteration": self.iteration(),
        })
    }

    /// An iteration on the flag `button`: `var_a` (baseline) and `var_b` 25 each, `var_c` 10.
    pub fn iteration(&self) -> Value {
        json!({
            "hypothesis": "It is clicked more often",
            "flags": {"button": {"ruleId": "fallthrough", "flagConfigVersion": self.version("button")}},
            "treatments": [
                treatment("var_a", "25", true),
                treatment("var_b", "25", false),
                treatment("var_c", "10", false),
            ],
            "metrics": [{"key": "clicks"}, {"key": "latency"}],
            "primarySingleMetricKey": "clicks",
            "attributes": ["country"],
            "covariateId": "covariates-1",
        })
    }

    /// The version of a flag's configuration.
    pub fn version(&self, flag: &str) -> u64 {
        let flag = self.get(&format!("/flags/default/{flag}")).ok();
        flag["environments"]["production"]["version"].as_u64().unwrap()
    }
}

impl Answer {
    /// The body of a success.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert!(self.status < 300, "{}: {} {}", self.asked, self.status, self.body);
        self.body
    }

    #[track_caller]
    pub fn is(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{}: {}", self.asked, self.body);
        self
    }

    /// A refusal with this status, code and attribute of its first error; an attribute of nothing is
    /// that of a refusal without errors.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str, attribute: &str) -> &Self {
        let got = (self.status, self.body["code"].as_str().unwrap_or_default(), self.attribute());
        assert_eq!(got, (status, code, attribute), "{}: {}", self.asked, self.body);
        self
    }

    /// The attribute of the first error.
    pub fn attribute(&self) -> &str {
        self.body["errors"][0]["attribute"].as_str().unwrap_or_default()
    }

    /// A refusal whose message has this in it.
    #[track_caller]
    pub fn naming(&self, what: &str) -> &Self {
        let message = self.body["message"].as_str().unwrap_or_default();
        assert!(message.contains(what), "{}: {} does not name {what}", self.asked, self.body);
        self
    }
}

/// Checks that a body is a code, a message, and maybe errors with an attribute and a reason.
#[track_caller]
fn check_refusal(body: &Value, asked: &str) {
    let keys: BTreeSet<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    let plain = BTreeSet::from(["code", "message"]);
    let full = BTreeSet::from(["code", "message", "errors"]);
    assert!(keys == plain || keys == full, "{asked}: {body}");
    assert!(!body["message"].as_str().unwrap().is_empty(), "{asked}: {body}");
    for error in body["errors"].as_array().unwrap_or(&Vec::new()) {
        assert!(error["attribute"].is_string(), "{asked}: {body}");
        assert!(!error["reason"].as_str().unwrap().is_empty(), "{asked}: {body}");
    }
}

/// Checks that what is not there is left out, and not `null`.
#[track_caller]
fn check_no_null(value: &Value, asked: &str) {
    match value {
        Value::Null => panic!("{asked}: null"),
        Value::Array(list) => list.iter().for_each(|value| check_no_null(value, asked)),
        Value::Object(members) => {
            // These are held as they were given.
            let held = |key: &str| matches!(key, "value" | "filters" | "denominator");
            let own = members.iter().filter(|(key, _)| !held(key));
            own.for_each(|(_, value)| check_no_null(value, asked));
        }
        _ => {}
    }
}

pub fn treatment(variation: &str, percent: impl Into<Value>, baseline: bool) -> Value {
    json!({
        "name": format!("Treatment {variation}"),
        "baseline": baseline,
        "allocationPercent": percent.into(),
        "parameters": [{"flagKey": "button", "variationId": variation}],
    })
}

pub fn stop_with(winner: &str) -> Value {
    json!({"kind": "stopIteration", "winningTreatmentId": winner, "winningReason": "It is better"})
}

/// The instruction that updates one field.
pub fn update(field: &str, operation: &str, value: Option<Value>) -> Value {
    json!({"kind": "updateExperimentFields", "value": one(field, operation, value)})
}

/// The instruction that starts a new iteration with one field updated.
pub fn save_and_start(field: &str, operation: &str, value: Option<Value>) -> Value {
    json!({"kind": "saveAndStartNewIteration", "value": one(field, operation, value)})
}

fn one(field: &str, operation: &str, value: Option<Value>) -> Value {
    let mut update = json!({"operation": operation});
    if let Some(value) = value {
        update["value"] = value;
    }
    json!({field: update})
}

/// Flags `button` (`var_a` to `var_d`) and `colour` (`var_x`, `var_y`), both on; the targeting rule
/// `seg_beta`; the metrics `clicks`, `latency`, `errors` and `signup`, the funnel `checkout` of
/// clicks and signup and the group `health` of latency and errors.
pub fn world() -> Snapshot {
    static WORLD: OnceLock<Snapshot> = OnceLock::new();
    WORLD.get_or_init(build).clone()
}

fn build() -> Snapshot {
    let variation = |id: &str| NewVariation::new(id).id(p(id)).with("value", id);
    let flag = |id: &str, key: &str| {
        NewFlag::new(key).id(p(id)).key(key).parameter("value", "off").on(true)
    };
    let button = ["var_a", "var_b", "var_c", "var_d"].map(variation);
    let button = button.into_iter().fold(flag("flg_button", "button"), NewFlag::variation);
    let colour = ["var_x", "var_y"].map(variation);
    let colour = colour.into_iter().fold(flag("flg_paint", "colour"), NewFlag::variation);
    let beta = Rule::new().when("beta", Expression::one_of(["yes"]));
    let metric = |key: &str, members: Value| {
        let mut json = json!({
            "change": "create_metric", "id": metric_id(key), "key": key, "name": key,
        });
        json.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        Change::from_json(json.to_string()).unwrap()
    };
    let member =
        |key: &str, name: &str| json!({"metric_id": metric_id(key), "name_in_group": name});
    ok(
        &Snapshot::new(),
        vec![
            button.into(),
            Change::set_flag_status(&p("flg_button"), FlagStatus::Active),
            colour.into(),
            Change::set_flag_status(&p("flg_paint"), FlagStatus::Active),
            NewSegment::new("Beta testers").id(p("seg_beta")).rule(beta).into(),
            metric("clicks", json!({"kind": "custom", "event_key": "clicked"})),
            metric(
                "latency",
                json!({"kind": "custom", "event_key": "loaded", "is_numeric": true, "analysis_type": "mean"}),
            ),
            metric("errors", json!({"kind": "custom", "event_key": "failed"})),
            metric("signup", json!({"kind": "custom", "event_key": "signed-up"})),
            metric(
                "checkout",
                json!({"kind": "funnel", "members": [member("clicks", "First"), member("signup", "Last")]}),
            ),
            metric(
                "health",
                json!({"kind": "standard", "members": [{"metric_id": metric_id("latency")}, {"metric_id": metric_id("errors")}]}),
            ),
        ],
    )
}

/// The id of a metric of this key, which has letters that no id has.
fn metric_id(key: &str) -> String {
    format!("met_{}", key.replace('l', "L"))
}
