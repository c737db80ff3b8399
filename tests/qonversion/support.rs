//! One way to call the surface, and the experiments that the tests begin with.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use http::{HeaderMap, Method, Request};
use serde_json::{Value, json};
use variate::api::qonversion::Experiments;
use variate::{Change, Decision, Engine, Event, Experiment, Snapshot, Subject, Timestamp};

/// Where the experiments are.
pub const EXPERIMENTS: &str = "/v4/experiments";

/// The surface over an engine of its own.
pub struct Api {
    surface: Experiments,
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
    /// Over an engine that holds nothing.
    pub fn new() -> Self {
        Self::over(Snapshot::new())
    }

    pub fn over(snapshot: Snapshot) -> Self {
        let (ticks, drawn) = (AtomicI64::new(1_700_000_000_000), AtomicU64::new(1));
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
        Self { surface: Experiments::new(engine).unwrap(), events }
    }

    pub fn surface(&self) -> &Experiments {
        &self.surface
    }

    pub fn engine(&self) -> &Engine {
        self.surface.engine()
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

    #[track_caller]
    pub fn patch(&self, path: &str, body: &Value) -> Answer {
        self.request("PATCH", path, body.to_string().into_bytes())
    }

    #[track_caller]
    pub fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path, Vec::new())
    }

    #[track_caller]
    pub fn request(&self, method: &str, path: &str, body: Vec<u8>) -> Answer {
        let request = Request::builder().method(method).uri(path);
        self.send(&request.body(body).unwrap())
    }

    /// Any request: unless it is a success of a writing method, nothing has changed.
    #[track_caller]
    pub fn send(&self, request: &Request<Vec<u8>>) -> Answer {
        let (before, told) = (self.engine().snapshot(), self.events.lock().unwrap().len());
        let kept = self.surface.keeper().to_json().unwrap();
        let response = self.surface.handle(request);
        let text = String::from_utf8_lossy(request.body());
        let short: String = text.chars().take(800).collect();
        let asked = format!("{} {} {short}", request.method(), request.uri());
        let (parts, body) = response.into_parts();
        let status = parts.status.as_u16();
        assert!(status < 500, "{asked}: {status}");
        let body: Value = match status {
            204 => {
                assert!(body.is_empty() && !parts.headers.contains_key("content-type"), "{asked}");
                Value::Null
            }
            _ => {
                assert_eq!(parts.headers["content-type"], "application/json", "{asked}");
                serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{asked}: {error}"))
            }
        };
        if status >= 400 || request.method() == Method::GET {
            let after = self.engine().snapshot();
            assert!(
                Arc::ptr_eq(&before, &after),
                "{asked}: changed something, and answered {body}"
            );
            assert_eq!(self.events.lock().unwrap().len(), told, "{asked}");
            assert_eq!(self.surface.keeper().to_json().unwrap(), kept, "{asked}");
        }
        match status {
            204 => {}
            400.. => check_refusal(&body, &asked),
            _ => {
                check_shape(&body, &asked);
                let location = parts.headers.get("location").map(|own| own.to_str().unwrap());
                let expected = (status == 201).then(|| body["url"].as_str().unwrap());
                assert_eq!(location, expected, "{asked}");
            }
        }
        Answer { status, headers: parts.headers, body, asked }
    }

    /// Creates an experiment of this alias id, as a draft without groups, and returns its path.
    #[track_caller]
    pub fn draft(&self, alias: &str, facts: Value) -> String {
        let mut body = json!({"name": "Experiment", "alias_id": alias});
        body.as_object_mut().unwrap().extend(facts.as_object().unwrap().clone());
        self.post(EXPERIMENTS, &body).is(201);
        format!("{EXPERIMENTS}/{alias}")
    }

    /// Adds a group, and returns its id.
    #[track_caller]
    pub fn group(&self, experiment: &str, body: Value) -> String {
        let created = self.post(&format!("{experiment}/groups"), &body).is(201).body.clone();
        created["id"].as_str().unwrap().to_owned()
    }

    /// Creates an experiment with a control and another group of the same weight, and returns its path
    /// and their ids.
    #[track_caller]
    pub fn ready(&self, alias: &str, facts: Value) -> (String, [String; 2]) {
        let path = self.draft(alias, facts);
        let control = json!({"weight": 1, "is_control": true, "remote_config_uid": "rc_today"});
        let other = json!({"weight": 1, "name": "Short", "remote_config_uid": "rc_short"});
        let groups = [control, other].map(|group| self.group(&path, group));
        (path, groups)
    }

    /// The same, running.
    #[track_caller]
    pub fn running(&self, alias: &str, facts: Value) -> (String, [String; 2]) {
        let (path, groups) = self.ready(alias, facts);
        self.status(&path, "active").ok();
        (path, groups)
    }

    /// Takes an experiment that is ready to this state.
    #[track_caller]
    pub fn bring(&self, experiment: &str, status: &str) {
        let steps: &[&str] = match status {
            "draft" => &[],
            "active" => &["active"],
            "paused" => &["active", "paused"],
            _ => &["active", "finished"],
        };
        for step in steps {
            self.status(experiment, step).ok();
        }
    }

    #[track_caller]
    pub fn status(&self, experiment: &str, status: &str) -> Answer {
        self.post(&format!("{experiment}/status"), &json!({"status": status}))
    }

    /// What a user gets in a context, with what is remembered, as JSON.
    pub fn ask(&self, context: &str, user: &str) -> Value {
        let snapshot = self.engine().snapshot();
        let subject = Subject::of("user", user);
        let decision: Decision<'_> =
            self.surface.keeper().assign_in_chain(&snapshot, context, &subject).unwrap();
        serde_json::to_value(decision).unwrap()
    }

    /// The experiment as the engine has it.
    #[track_caller]
    pub fn held(&self, alias: &str) -> Experiment {
        self.engine().snapshot().experiment_by_key(alias).unwrap().clone()
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

    /// A refusal with this status, type, code and fields.
    #[track_caller]
    pub fn refused(&self, status: u16, r#type: &str, code: &str, fields: &[&str]) -> &Self {
        let error = &self.body["error"];
        let details = error["details"].as_array().cloned().unwrap_or_default();
        let named: Vec<&str> = details.iter().map(|own| own["field"].as_str().unwrap()).collect();
        let got = (self.status, error["type"].as_str(), error["code"].as_str(), &named[..]);
        let expected = (status, Some(r#type), Some(code), fields);
        assert_eq!(got, expected, "{}: {}", self.asked, self.body);
        self
    }

    /// A 400 on account of these fields.
    #[track_caller]
    pub fn invalid(&self, fields: &[&str]) -> &Self {
        self.refused(400, "request", "invalid_data", fields)
    }

    /// A 409 on account of what there is, maybe because of these fields.
    #[track_caller]
    pub fn conflict(&self, fields: &[&str]) -> &Self {
        self.refused(409, "resource", "conflict", fields)
    }

    /// A refusal whose message has this in it.
    #[track_caller]
    pub fn naming(&self, what: &str) -> &Self {
        let message = self.body["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(what), "{}: {} does not name {what}", self.asked, self.body);
        self
    }
}

/// Checks that a body is an error with a type, a code, a message, and maybe details.
#[track_caller]
fn check_refusal(body: &Value, asked: &str) {
    let keys = |value: &Value| -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    let of = |list: &[&str]| list.iter().map(|key| (*key).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(keys(body), of(&["error"]), "{asked}: {body}");
    let error = &body["error"];
    let mut expected = of(&["type", "code", "message"]);
    if let Some(details) = error.get("details") {
        expected.insert("details".to_owned());
        assert!(!details.as_array().unwrap().is_empty(), "{asked}: {body}");
        for detail in details.as_array().unwrap() {
            assert_eq!(keys(detail), of(&["field", "message"]), "{asked}: {body}");
            for text in ["field", "message"] {
                assert!(!detail[text].as_str().unwrap().is_empty(), "{asked}: {body}");
            }
        }
    }
    assert_eq!(keys(error), expected, "{asked}: {body}");
    assert!(!error["message"].as_str().unwrap().is_empty(), "{asked}: {body}");
}

/// The published fields of a resource, each with the letters of the types that it can have: text,
/// number, boolean, nothing, moment.
fn published(object: &str) -> &'static [(&'static str, &'static str)] {
    match object {
        "experiment" => &[
            ("object", "t"),
            ("id", "t"),
            ("url", "t"),
            ("name", "t"),
            ("alias_id", "t"),
            ("description", "t"),
            ("status", "t"),
            ("started_at", "mn"),
            ("finished_at", "mn"),
            ("segment_percent", "#n"),
            ("primary_metric", "tn"),
            ("goal_value", "#n"),
            ("goal_direction", "tn"),
            ("context_key", "t"),
            ("is_context_specific", "b"),
            ("created_at", "m"),
            ("updated_at", "m"),
        ],
        "experiment_group" => &[
            ("object", "t"),
            ("id", "t"),
            ("url", "t"),
            ("name", "tn"),
            ("is_control", "b"),
            ("weight", "#"),
            ("remote_config_uid", "tn"),
            ("created_at", "m"),
            ("updated_at", "m"),
        ],
        _ => &[],
    }
}

/// Checks that a resource has the published fields and no others.
#[track_caller]
fn check_shape(body: &Value, asked: &str) {
    let object = body["object"].as_str().unwrap();
    if object == "list" {
        assert!(body["url"].is_string(), "{asked}: {body}");
        let more = body["has_more"].as_bool().unwrap();
        assert_eq!(body.get("next_cursor").is_some(), more, "{asked}: {body}");
        body["data"].as_array().unwrap().iter().for_each(|own| check_shape(own, asked));
        return;
    }
    let fields = published(object);
    if fields.is_empty() {
        return;
    }
    let named: BTreeSet<&str> = fields.iter().map(|(name, _)| *name).collect();
    let keys: BTreeSet<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, named, "{asked}: {body}");
    for (name, types) in fields {
        let fits = match &body[name] {
            Value::Null => types.contains('n'),
            Value::Bool(_) => types.contains('b'),
            Value::Number(_) => types.contains('#'),
            Value::String(text) => match types.contains('m') {
                true => text.parse::<Timestamp>().is_ok(),
                false => types.contains('t'),
            },
            _ => false,
        };
        assert!(fits, "{asked}: {name} in {body}");
    }
}
