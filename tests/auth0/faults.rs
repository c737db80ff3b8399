//! Every field of every body and query: left out, null, of each wrong type, too short, too long, of
//! a bad pattern, out of range, beside an unknown key: the documented status, a message that names
//! the field as it stands on the wire, and an engine that is byte for byte the same. What lies just
//! within each bound is accepted, so that nothing passes for want of reaching its rule.
//!
//! The tables declare the fields; what can be wrong with one follows from its [`Kind`].

mod tables;

use serde_json::{Value, json};
use variate::api::auth0::Generation;

use crate::schema::EDITABLE;
use crate::support::{Api, GENERATIONS, world};

/// What a field holds.
enum Kind {
    /// A line of so many characters.
    Line(usize, usize),
    /// An id with this prefix.
    Id(&'static str),
    /// One of a few names, of which these are accepted in this place.
    Name(&'static [&'static str]),
    Number {
        most: u32,
    },
    Whole {
        least: i64,
        most: i64,
    },
    Bool,
    /// Anything but null.
    Any,
    /// An object; whether its keys are known.
    Object {
        closed: bool,
    },
    /// A list of so many items. That it can be so long is for the table to show.
    List {
        least: usize,
    },
    /// A text of at most so many characters.
    Text(usize),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Presence {
    Required,
    Optional,
    /// Optional, and null clears it.
    Nullable,
    /// Of a list or a map, which can be without it.
    Item,
}

struct Field {
    /// Where it stands, as a JSON pointer.
    at: &'static str,
    presence: Presence,
    kind: Kind,
}

fn required(at: &'static str, kind: Kind) -> Field {
    Field { at, presence: Presence::Required, kind }
}

fn optional(at: &'static str, kind: Kind) -> Field {
    Field { at, presence: Presence::Optional, kind }
}

fn item(at: &'static str, kind: Kind) -> Field {
    Field { at, presence: Presence::Item, kind }
}

fn nullable(at: &'static str, kind: Kind) -> Field {
    Field { at, presence: Presence::Nullable, kind }
}

/// One operation with a body.
struct Table {
    method: &'static str,
    path: &'static str,
    /// A body that has every field.
    body: Value,
    fields: Vec<Field>,
    /// What else is accepted in place of what stands there.
    fits: Vec<(&'static str, Value)>,
    /// What else is refused with 400.
    faults: Vec<(&'static str, Value)>,
    /// What is well-formed and cannot mean anything: 422 since the early access.
    senseless: Vec<(&'static str, Value)>,
}

impl Kind {
    /// Values of other types, and values of the type that break a rule.
    fn faults(&self, generation: Generation) -> (Vec<Value>, Vec<Value>) {
        let scalars = [json!(true), json!(7), json!("text")];
        let others = |own: fn(&Value) -> bool| {
            let compound = [json!([]), json!({}), json!(["text"]), json!({"value": "text"})];
            scalars.iter().cloned().chain(compound).filter(|value| !own(value)).collect::<Vec<_>>()
        };
        match *self {
            Self::Line(least, most) => {
                let spaces = [" abc", "abc ", "abc\t", "\u{feff}abc", "abc\u{a0}", "\u{3000}abc"];
                let lines = ["ab\nc", "abc\n", "a\r\nc", "ab\u{2028}c", "ab\u{2029}c", "   "];
                let mut bad: Vec<Value> = spaces.iter().chain(&lines).map(|t| json!(t)).collect();
                bad.extend([json!(""), json!("é".repeat(most + 1)), json!("x".repeat(most + 1))]);
                if least > 1 {
                    let short = ["x", "é", "👩"].map(|letter| json!(letter.repeat(least - 1)));
                    bad.extend(short.into_iter().chain([json!("ab\0c")]));
                }
                (others(Value::is_string), bad)
            }
            Self::Id(prefix) => {
                let digits =
                    ["", "0", "O", "I", "l", "a0", "a b", "a-b", "a_b", "é", "a\n", " ", "a\0"];
                let mut bad: Vec<Value> =
                    digits.iter().map(|digits| json!(format!("{prefix}{digits}"))).collect();
                let other = if prefix == "var_" { "flg_a" } else { "var_a" };
                bad.extend(["", "a", " ", other].map(|text| json!(text)));
                bad.push(json!(format!("{}a", prefix.to_uppercase())));
                bad.push(json!(format!(" {prefix}a")));
                (others(Value::is_string), bad)
            }
            Self::Name(names) => {
                let mut bad = vec![json!(""), json!("other"), json!(" ")];
                bad.extend(names.iter().map(|name| json!(name.to_uppercase())));
                bad.extend(names.iter().map(|name| json!(format!("{name} "))));
                (others(Value::is_string), bad)
            }
            Self::Number { most } => {
                let mut bad = vec![json!(-1), json!(-0.5), json!(most + 1), json!(1e300)];
                bad.push(json!(f64::from(most) + 0.000_001));
                if generation == Generation::EarlyAccess {
                    bad.extend([json!(0.5), json!(33.3)]);
                }
                (others(Value::is_number), bad)
            }
            Self::Whole { least, most } => {
                let bad = vec![json!(least - 1), json!(most + 1), json!(1.5), json!(u64::MAX)];
                (others(Value::is_number), bad)
            }
            Self::Any => (vec![], vec![]),
            Self::Bool => (others(Value::is_boolean), vec![]),
            Self::Object { .. } => (others(Value::is_object), vec![]),
            Self::List { least } => {
                let short = (0..least).map(|_| json!([])).take(1).collect();
                let mut types = others(Value::is_array);
                types.push(json!({"0": {}}));
                (types, short)
            }
            Self::Text(most) => (others(Value::is_string), vec![json!("é".repeat(most + 1))]),
        }
    }

    /// Values at the bounds.
    fn fits(&self, generation: Generation) -> Vec<Value> {
        match *self {
            Self::Line(least, most) => {
                let mut fits = vec![json!("x".repeat(least)), json!("é".repeat(most))];
                // The third is two people and what joins them: three code points.
                fits.extend(["a\tc", "a \u{3000} c", "👩‍👩", "\u{85}ab"].map(|text| json!(text)));
                fits.push(json!("👩".repeat(most)));
                fits
            }
            Self::Name(names) => names.iter().map(|name| json!(name)).collect(),
            Self::Number { most } => {
                let mut fits = vec![json!(0), json!(1), json!(most)];
                if generation == Generation::Seeds {
                    fits.extend([json!(33.3), json!(0.000_001), json!(99.999_999)]);
                }
                fits
            }
            Self::Whole { least, most } => vec![json!(least), json!(most)],
            Self::Text(most) => vec![json!(""), json!("é".repeat(most)), json!(" a\nb\0 ")],
            Self::Bool => vec![json!(true), json!(false)],
            Self::Any | Self::Id(_) | Self::Object { .. } | Self::List { .. } => vec![],
        }
    }
}

/// `/allocations/0/weight` as messages write it: `allocations[0].weight`.
fn wire(pointer: &str) -> String {
    let mut path = String::new();
    for step in pointer.split('/').skip(1) {
        let step = match step.parse::<usize>() {
            Ok(index) => format!("[{index}]"),
            Err(_) if path.is_empty() => step.to_owned(),
            Err(_) => format!(".{step}"),
        };
        path.push_str(&step);
    }
    path
}

/// The body with this value at a place, which there may be already.
fn with(body: &Value, at: &str, value: &Value) -> Value {
    let mut body = body.clone();
    let (parent, key) = at.rsplit_once('/').unwrap();
    match body.pointer_mut(parent).unwrap() {
        Value::Object(members) => drop(members.insert(key.to_owned(), value.clone())),
        Value::Array(items) => items[key.parse::<usize>().unwrap()] = value.clone(),
        other => panic!("{at}: {other}"),
    }
    body
}

fn without(body: &Value, at: &str) -> Value {
    let mut body = body.clone();
    let (parent, key) = at.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key).unwrap();
    body
}

/// Counts what it has tried, so that a table that shrinks to nothing is noticed.
struct Trial<'t> {
    table: &'t Table,
    generation: Generation,
    accepted: usize,
    refused: usize,
}

impl Trial<'_> {
    #[track_caller]
    fn accepts(&mut self, body: &Value) {
        let api = Api::over(&world(), self.generation);
        api.call(self.table.method, self.table.path, body).ok();
        self.accepted += 1;
    }

    #[track_caller]
    fn refuses(&mut self, body: &Value, at: &str, status: u16, codes: &[&str]) {
        let api = Api::over(&world(), self.generation);
        let before = api.engine().to_json();
        let answer = api.call(self.table.method, self.table.path, body);
        answer.is(status).naming(&wire(at));
        let code = answer.body["errorCode"].as_str().unwrap();
        assert!(codes.is_empty() || codes.contains(&code), "{at}: {}", answer.body);
        assert_eq!(api.engine().to_json(), before, "{at}");
        self.refused += 1;
    }

    fn run(&mut self) {
        let (table, generation) = (self.table, self.generation);
        self.accepts(&table.body);
        for field in &table.fields {
            let base = &table.body;
            match field.presence {
                Presence::Required => {
                    self.refuses(&without(base, field.at), field.at, 400, &["missing_key"]);
                }
                Presence::Optional | Presence::Nullable => self.accepts(&without(base, field.at)),
                Presence::Item => {}
            }
            let null = with(base, field.at, &Value::Null);
            match field.presence {
                Presence::Nullable => self.accepts(&null),
                _ => self.refuses(&null, field.at, 400, &["not_nullable", "wrong_type"]),
            }
            let (types, bad) = field.kind.faults(generation);
            for value in types {
                self.refuses(&with(base, field.at, &value), field.at, 400, &["wrong_type"]);
            }
            for value in bad {
                let codes = ["invalid_value", "limit_exceeded", "wrong_type"];
                self.refuses(&with(base, field.at, &value), field.at, 400, &codes);
            }
            for value in field.kind.fits(generation) {
                self.accepts(&with(base, field.at, &value));
            }
            if matches!(field.kind, Kind::Object { closed: true }) {
                self.refuses_more_keys(field.at);
            }
        }
        self.refuses_more_keys("");
        for (at, value) in &table.fits {
            self.accepts(&with(&table.body, at, value));
        }
        for (at, value) in &table.faults {
            self.refuses(&with(&table.body, at, value), at, 400, &[]);
        }
        for (at, value) in &table.senseless {
            let status = if generation == Generation::Seeds { 400 } else { 422 };
            self.refuses(&with(&table.body, at, value), at, status, &[]);
        }
    }

    /// At each object that lists its keys.
    fn refuses_more_keys(&mut self, at: &str) {
        for key in ["extra", "Name", "id", "__proto__"] {
            let body = &with(&self.table.body, &format!("{at}/{key}"), &json!(1));
            self.refuses(body, &format!("{at}/{key}"), 400, &["unknown_key"]);
        }
    }
}

#[track_caller]
fn check(tables: impl Fn(Generation) -> Vec<Table>) {
    for generation in GENERATIONS {
        for table in tables(generation) {
            let mut trial = Trial { table: &table, generation, accepted: 0, refused: 0 };
            trial.run();
            assert!(trial.accepted > 1 && trial.refused > 5, "{}", table.path);
        }
    }
}

#[test]
fn every_field_of_a_body_is_held_to_its_rules() {
    check(tables::experiments);
    check(tables::transitions);
    check(tables::flags);
    check(tables::variations);
    check(tables::segments);
}

/// What is fixed at creation or is the server's to set is no field of a body.
#[test]
fn fields_of_responses_alone_are_unknown_in_requests() {
    let experiment = [
        "id",
        "status",
        "is_valid",
        "created_at",
        "updated_at",
        "started_at",
        "ended_at",
        "current_level",
        "editable_fields",
        "feature_flag_name",
        "feature_flag_snapshot",
    ];
    let fixed = ["feature_flag_id", "allocation_strategy"];
    for generation in GENERATIONS {
        let api = Api::new(generation);
        for (key, creates) in experiment.map(|k| (k, true)).into_iter().chain(
            experiment
                .into_iter()
                .filter(|k| !EDITABLE.contains(k))
                .chain(fixed)
                .map(|k| (k, false)),
        ) {
            let answer = if creates {
                let body =
                    with(&crate::support::new_experiment("New"), &format!("/{key}"), &json!("a"));
                api.post("/experiments", &body)
            } else {
                api.patch("/experiments/exp_weights", &json!({"name": "New", key: "percentage"}))
            };
            answer.refused(400, "unknown_key").naming(key);
        }
        for key in ["id", "type", "status", "created_at", "feature_flag_id"] {
            let body = json!({
                "name": "New", "parameters": {"a": {"type": "number", "value": 1}}, key: "active",
            });
            api.post("/feature-flags", &body).refused(400, "unknown_key").naming(key);
            let body = json!({"name": "New", "rules": [{"match": {"a": ["b"]}}], key: "active"});
            api.post("/segments", &body).refused(400, "unknown_key").naming(key);
            let body = json!({"name": "New", "overrides": {}, key: "active"});
            let path = "/feature-flags/flg_signin/variations";
            api.post(path, &body).refused(400, "unknown_key").naming(key);
            api.patch(&format!("{path}/var_a"), &json!({"name": "New", key: "active"}))
                .refused(400, "unknown_key")
                .naming(key);
            if key != "status" {
                for path in ["/feature-flags/flg_signin", "/segments/seg_ios"] {
                    let answer = api.patch(path, &json!({"name": "New", key: "active"}));
                    answer.refused(400, "unknown_key").naming(key);
                }
            }
        }
    }
}

/// A query with one parameter in each of these forms, and what the message then names.
#[test]
fn every_parameter_of_a_query_is_held_to_its_rules() {
    let lists = [
        ("/experiments", &["status", "authentication_flow", "feature_flag_id"] as &[_]),
        ("/feature-flags", &["status", "type"]),
        ("/segments", &["type"]),
    ];
    let fits = [
        ("take", &["1", "25", "50"] as &[_]),
        ("authentication_flow", &["all", "login", "no-such-flow"]),
        ("feature_flag_id", &["flg_signin", "flg_none"]),
        ("type", &["self", "auth0"]),
    ];
    let faults = [
        (
            "take",
            &["", "0", "51", "-1", "1.5", "%2B5", "abc", "1e1", "%205", "99999999999999999999"]
                as &[_],
        ),
        ("from", &["", "%00", "~", "no-cursor", "exp_", "%FF%FE", "1%202"]),
        ("status", &["", "none", "Active", "active,paused"]),
        ("type", &["", "none", "SELF"]),
        ("feature_flag_id", &["", "flg_", "flg_0", "exp_a", "flg_a%20"]),
    ];
    for generation in GENERATIONS {
        let api = Api::new(generation);
        for (path, filters) in lists {
            let known = |key: &str| ["take", "from"].contains(&key) || filters.contains(&key);
            api.get(path).is(200);
            for (key, values) in fits.into_iter().filter(|(key, _)| known(key)) {
                for value in values {
                    api.get(&format!("{path}?{key}={value}")).is(200);
                    let twice = api.get(&format!("{path}?{key}={value}&{key}={value}"));
                    twice.is(400).naming(key);
                }
            }
            for (key, values) in faults {
                for value in values {
                    let answer = api.get(&format!("{path}?{key}={value}"));
                    answer.is(400).naming(key);
                }
            }
            let statuses: &[_] = match path {
                "/experiments" => &["draft", "active", "paused", "completed", "archived"],
                "/feature-flags" => &["draft", "active", "archived"],
                _ => &[],
            };
            for status in ["draft", "active", "paused", "completed", "archived"] {
                let answer = api.get(&format!("{path}?status={status}"));
                answer.is(if statuses.contains(&status) { 200 } else { 400 });
            }
            for key in ["sort", "q", "page", "per_page", "include_totals", "fields", "TAKE", "name"]
            {
                api.get(&format!("{path}?{key}=1")).is(400).naming(key);
                api.get(&format!("{path}?take=1&{key}")).is(400).naming(key);
            }
        }
        api.get("/feature-flags/flg_signin/variations?take=1").is(400).naming("take");
    }
}
