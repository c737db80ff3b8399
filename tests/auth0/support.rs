//! One way to call the surface, and the small world that most tests begin with.

use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use http::{HeaderMap, Method, Request};
use serde_json::{Value, json};
use variate::api::auth0::{ExperimentCenter, Generation};
use variate::{
    ActiveLimit, Allocation, Change, Engine, Expression, FlagStatus, NewExperiment, NewFlag,
    NewSegment, NewVariation, Parameter, Percentage, Rule, SettingsPatch, Snapshot, Status,
    Timestamp,
};

use crate::common::{brought_to, ok, p, share};
use crate::schema::{self, Operation};

pub const GENERATIONS: [Generation; 2] = [Generation::Seeds, Generation::EarlyAccess];

/// The surface over an engine of its own.
pub struct Api {
    center: ExperimentCenter,
    pub generation: Generation,
    calls: Cell<u32>,
}

/// A response that has passed the schema.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// `null` when the body is empty.
    pub body: Value,
    /// What was asked, for messages.
    asked: String,
}

impl Api {
    /// Over the [`world`].
    pub fn new(generation: Generation) -> Self {
        Self::over(&world(), generation)
    }

    /// Over an engine that begins with this snapshot, whose clock ticks with every look at it.
    pub fn over(snapshot: &Snapshot, generation: Generation) -> Self {
        let millis = AtomicI64::new(snapshot.updated_at().unix_millis());
        let now = move || {
            let now = millis.fetch_add(1_000, Ordering::Relaxed) + 1_000;
            Timestamp::from_unix_millis(now).unwrap()
        };
        let drawn = AtomicU64::new(1);
        let entropy = move || spread(drawn.fetch_add(1, Ordering::Relaxed));
        Self::on(Engine::with(snapshot.clone(), now, entropy), generation)
    }

    pub fn on(engine: Engine, generation: Generation) -> Self {
        let center = ExperimentCenter::new(engine).generation(generation);
        Self { center, generation, calls: Cell::new(0) }
    }

    pub fn engine(&self) -> &Engine {
        self.center.engine()
    }

    pub fn is_seeds(&self) -> bool {
        self.generation == Generation::Seeds
    }

    /// What the two generations answer differently.
    pub fn either<T>(&self, seeds: T, early_access: T) -> T {
        if self.is_seeds() { seeds } else { early_access }
    }

    #[track_caller]
    pub fn commit(&self, change: Change) {
        self.engine().commit(change).unwrap_or_else(|error| panic!("{error}"));
    }

    pub fn limit(&self, limit: ActiveLimit) {
        self.commit(Change::patch_settings(SettingsPatch::new().active_limit(limit)));
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], Vec::new())
    }

    #[track_caller]
    pub fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path, &[], Vec::new())
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, body)
    }

    #[track_caller]
    pub fn patch(&self, path: &str, body: &Value) -> Answer {
        self.call("PATCH", path, body)
    }

    /// With a JSON body; every other time it says so.
    #[track_caller]
    pub fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        let said: &[_] = &[("content-type", "application/json")];
        let headers = if self.calls.get() % 4 < 2 { said } else { &[] };
        self.request(method, path, headers, body.to_string().into_bytes())
    }

    /// Below `/experimentation`, every other time below `/api/v2` too.
    #[track_caller]
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        self.calls.set(self.calls.get() + 1);
        let prefix = if self.calls.get().is_multiple_of(2) { "/api/v2" } else { "" };
        let mut request =
            Request::builder().method(method).uri(format!("{prefix}/experimentation{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(&request.body(body).unwrap())
    }

    /// Any request: its answer passes the schema, and unless it is a success of a writing method,
    /// nothing has changed.
    #[track_caller]
    pub fn send(&self, request: &Request<Vec<u8>>) -> Answer {
        let before = self.engine().snapshot();
        let response = self.center.handle(request);
        let after = self.engine().snapshot();
        let text = String::from_utf8_lossy(request.body());
        let short: String = text.chars().take(600).collect();
        let asked = format!("{} {} {short}", request.method(), request.uri());
        let operation = Operation::of(request.method(), request.uri().path());
        schema::check(operation, self.generation, &response, &asked);
        let reads = request.method() == Method::GET || operation == Operation::ValidateExperiment;
        if response.status().as_u16() >= 400 || reads {
            let same = Arc::ptr_eq(&before, &after) || before.to_json() == after.to_json();
            assert!(same, "{asked}: changed something, and answered {}", response.status());
        }
        let (parts, body) = response.into_parts();
        let body =
            if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
        Answer { status: parts.status.as_u16(), headers: parts.headers, body, asked }
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

    /// A refusal with this status and code.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> &Self {
        let got = (self.status, self.body["errorCode"].as_str().unwrap_or_default());
        assert_eq!(got, (status, code), "{}: {}", self.asked, self.body);
        self
    }

    /// A refusal whose message has this in it.
    #[track_caller]
    pub fn naming(&self, what: &str) -> &Self {
        let message = self.body["message"].as_str().unwrap_or_default();
        assert!(message.contains(what), "{}: {} does not name {what}", self.asked, self.body);
        self
    }

    /// Whether it is a success.
    pub fn accepted(&self) -> bool {
        self.status < 300
    }

    #[track_caller]
    pub fn id(self) -> String {
        self.ok()["id"].as_str().unwrap().to_owned()
    }
}

/// Bits for an id, far apart for neighbours.
pub fn spread(number: u64) -> u128 {
    u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

pub fn levels(levels: &[u32]) -> Vec<Percentage> {
    levels.iter().map(|level| Percentage::try_from(*level).unwrap()).collect()
}

/// Two flags, two segments and three drafts that are ready, all of a flow.
///
/// - `flg_signin` (active) with a parameter of each type: `var_a` overrides nothing, `var_b` the
///   headline, `var_c` size and map; `flg_other` (draft) with `var_x` and `var_y`.
/// - `seg_germany` and `seg_ios`.
/// - `exp_weights` (`var_a` 50 control, `var_b` 50), `exp_segments` (germany: `var_b`, ios: `var_c`,
///   fallback and control `var_a`) and `exp_ramp` (10, 50, 100; `var_a` control, `var_b`).
pub fn world() -> Snapshot {
    static WORLD: OnceLock<Snapshot> = OnceLock::new();
    WORLD.get_or_init(build).clone()
}

fn build() -> Snapshot {
    let headline = Parameter::new("Welcome back").with_description("The first line");
    let signin = NewFlag::new("Sign-in screen")
        .id(p("flg_signin"))
        .description("What a visitor sees")
        .parameter("headline", headline)
        .parameter("size", 12)
        .parameter("bold", true)
        .parameter("list", json!(["a", 1]))
        .parameter("map", json!({"value": 1}))
        .variation(NewVariation::new("control").id(p("var_a")))
        .variation(NewVariation::new("short").id(p("var_b")).with("headline", "Hi"))
        .variation(
            NewVariation::new("large")
                .id(p("var_c"))
                .description("Both at once")
                .with("size", 16)
                .with("map", json!({"value": {"value": 2}})),
        );
    let other = NewFlag::new("Another screen")
        .id(p("flg_other"))
        .parameter("colour", "red")
        .variation(NewVariation::new("red").id(p("var_x")))
        .variation(NewVariation::new("blue").id(p("var_y")).with("colour", "blue"));
    let germany = Rule::new().when("country", Expression::one_of(["DE"]));
    let ios = Rule::new()
        .when("platform", Expression::starts_with(["ios"]))
        .unless("browser", Expression::Exists(false));
    let weights = NewExperiment::by_percentage("Weights", p("flg_signin"))
        .id(p("exp_weights"))
        .flow("authentication")
        .description("By weight")
        .allocation(share("var_a", "50").control())
        .allocation(share("var_b", "50"));
    let segments = NewExperiment::by_segment("Segments", p("flg_signin"))
        .id(p("exp_segments"))
        .flow("mfa_challenge")
        .allocation(Allocation::segment(p("var_b"), p("seg_germany"), 1).unwrap())
        .allocation(Allocation::segment(p("var_c"), p("seg_ios"), 2).unwrap())
        .allocation(Allocation::fallback(p("var_a")).control());
    let ramp = NewExperiment::by_percentage("Ramp", p("flg_signin"))
        .id(p("exp_ramp"))
        .flow("password_reset")
        .levels(levels(&[10, 50, 100]))
        .allocation(Allocation::ramped(p("var_a")).control())
        .allocation(Allocation::ramped(p("var_b")));
    let changes = vec![
        signin.into(),
        Change::set_flag_status(&p("flg_signin"), FlagStatus::Active),
        other.into(),
        NewSegment::new("Germany").id(p("seg_germany")).rule(germany).into(),
        NewSegment::new("iOS").id(p("seg_ios")).description("Phones").rule(ios).into(),
        weights.into(),
        segments.into(),
        ramp.into(),
    ];
    ok(&Snapshot::new(), changes)
}

/// The world with an experiment in this status.
#[track_caller]
pub fn world_with(experiment: &str, status: Status) -> Snapshot {
    brought_to(&world(), experiment, status)
}

/// A body that creates an experiment on the world, under both generations.
pub fn new_experiment(name: &str) -> Value {
    json!({
        "name": name,
        "feature_flag_id": "flg_signin",
        "authentication_flow": "authentication",
        "allocation_strategy": "percentage",
        "assignment_config": {"subject": "device"},
        "allocations": [
            {"variation_id": "var_a", "weight": 50, "is_control": true},
            {"variation_id": "var_b", "weight": 50, "is_control": false}
        ]
    })
}

/// A body that creates one by segment.
pub fn new_segmented(name: &str) -> Value {
    let mut body = new_experiment(name);
    body["allocation_strategy"] = json!("segment");
    body["allocations"] = json!([
        {"variation_id": "var_b", "segment_id": "seg_germany", "priority": 1, "is_control": false},
        {"variation_id": "var_a", "is_control": true, "is_fallback": true}
    ]);
    body
}

/// A body that creates a ramp.
pub fn new_ramp(name: &str) -> Value {
    let mut body = new_experiment(name);
    body["levels"] = json!([10, 50, 100]);
    body["allocations"] = json!([
        {"variation_id": "var_a", "is_control": true},
        {"variation_id": "var_b", "is_control": false}
    ]);
    body
}

/// Choices that follow from one number.
#[derive(Debug, Clone)]
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(end).unwrap()).unwrap()
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'t, T>(&mut self, items: &'t [T]) -> &'t T {
        &items[self.below(items.len())]
    }
}

/// An override as it is shown: bare in the early access, unless what is in it would make it look
/// like an envelope.
pub fn shown_override(is_early: bool, value: &Value) -> Value {
    let looks_enveloped = value.as_object().is_some_and(|members| {
        members.len() == 1 && members.get("value").is_some_and(Value::is_object)
    });
    if is_early && !looks_enveloped { value.clone() } else { json!({"value": value}) }
}
