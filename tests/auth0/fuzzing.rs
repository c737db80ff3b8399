//! No request panics, hangs or half-happens, however malformed: random bytes, random JSON, bodies
//! that were right and are bent, random paths, methods, queries and headers, and a list of hostile
//! ones by hand. Each answer passes the schema, and what is refused changes nothing: [`Api`] sees to
//! both.

use std::time::{Duration, Instant};

use http::Request;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use variate::Status;

use crate::support::{Api, Dice, GENERATIONS, new_experiment, new_ramp, new_segmented, world_with};

const METHODS: &[&str] = &["GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS", "X"];

const IDS: &[&str] = &[
    "exp_weights",
    "exp_segments",
    "exp_ramp",
    "flg_signin",
    "flg_other",
    "var_a",
    "var_b",
    "var_x",
    "seg_germany",
    "seg_ios",
    "exp_none",
    "exp_",
    "",
    "0",
];

/// Every operation that reads a body, with one that it accepts.
fn writes() -> Vec<(&'static str, &'static str, Value)> {
    let parameters = json!({
        "a": {"type": "number", "value": 1}, "b": {"type": "object", "value": {"deep": [1, null]}}
    });
    let rules = json!([
        {"match": {"country": ["DE"]}, "not_match": {"mail": {"ends_with": ["a"]}}},
        {"match": {"partner": {"exists": true}}}
    ]);
    let overrides = json!({"headline": {"value": "Yo"}, "map": {"value": {}}, "size": null});
    vec![
        ("POST", "/experiments", new_experiment("New one")),
        ("POST", "/experiments", new_segmented("New two")),
        ("POST", "/experiments", new_ramp("New three")),
        (
            "PATCH",
            "/experiments/exp_weights",
            json!({
                "name": "Another", "description": null, "status": "active",
                "authentication_flow": "all", "allocations": new_experiment("")["allocations"],
            }),
        ),
        (
            "PATCH",
            "/experiments/exp_segments",
            json!({
                "allocations": new_segmented("")["allocations"], "status": "archived",
            }),
        ),
        ("POST", "/experiments/exp_weights/status", json!({"status": "active"})),
        ("POST", "/experiments/exp_ramp/status", json!({"status": "paused"})),
        ("POST", "/experiments/exp_ramp/advance-ramp", json!({"target_level": 50})),
        ("POST", "/feature-flags", json!({"name": "New flag", "parameters": parameters})),
        ("PATCH", "/feature-flags/flg_other", json!({"name": "Another", "status": "active"})),
        ("POST", "/feature-flags/flg_other/status", json!({"status": "archived"})),
        (
            "POST",
            "/feature-flags/flg_other/variations",
            json!({
                "name": "New", "overrides": {"colour": {"value": "green"}}
            }),
        ),
        (
            "PATCH",
            "/feature-flags/flg_signin/variations/var_b",
            json!({
                "overrides": overrides, "description": "Something"
            }),
        ),
        ("POST", "/segments", json!({"name": "New", "rules": rules})),
        ("PATCH", "/segments/seg_ios", json!({"rules": rules, "status": "archived"})),
    ]
}

fn scalar(dice: &mut Dice) -> Value {
    match dice.below(16) {
        0 => Value::Null,
        1 => json!(dice.chance(50)),
        2 => json!(dice.below(102)),
        3 => json!(-1),
        4 => json!(0.5),
        5 => json!(u64::MAX),
        6 => json!(1e300),
        7 => json!(""),
        8 => json!("x".repeat(dice.below(1_100))),
        9 => json!("\u{0}\u{2028}🙂\u{feff}"),
        10 => json!({"value": 1}),
        11..=13 => json!(dice.pick(IDS)),
        _ => json!(dice.pick(&["active", "draft", "percentage", "segment", "device", "string"])),
    }
}

fn tree(dice: &mut Dice, depth: usize) -> Value {
    let keys =
        ["name", "value", "status", "match", "type", "overrides", "allocations", "weight", "é", ""];
    match dice.below(4) {
        0 if depth > 0 => (0..dice.below(4)).map(|_| tree(dice, depth - 1)).collect(),
        1 if depth > 0 => {
            let entry = |dice: &mut Dice| ((*dice.pick(&keys)).to_owned(), tree(dice, depth - 1));
            let entries: Map<_, _> = (0..dice.below(4)).map(|_| entry(dice)).collect();
            entries.into()
        }
        _ => scalar(dice),
    }
}

/// Bends one place of a body.
fn bend(value: &mut Value, dice: &mut Dice) {
    let children = match value {
        Value::Array(items) => items.len(),
        Value::Object(members) => members.len(),
        _ => 0,
    };
    if children > 0 && dice.chance(75) {
        let index = dice.below(children);
        let child = match value {
            Value::Array(items) => items.get_mut(index),
            Value::Object(members) => members.values_mut().nth(index),
            _ => None,
        };
        return bend(child.unwrap(), dice);
    }
    match (value, dice.below(5)) {
        (Value::Array(items), 0) => items.push(tree(dice, 2)),
        (Value::Array(items), 1) if !items.is_empty() => {
            items.extend(vec![items[0].clone(); dice.below(25)]);
        }
        (Value::Array(items), 2) => drop(items.pop()),
        (Value::Object(members), 0) => drop(members.insert("extra".to_owned(), tree(dice, 2))),
        (Value::Object(members), 1 | 2) if !members.is_empty() => {
            let key = members.keys().nth(dice.below(members.len())).unwrap().clone();
            let value = members.remove(&key).unwrap();
            if dice.chance(30) {
                members.insert(key.to_uppercase(), value);
            }
        }
        (value, _) => *value = tree(dice, 3),
    }
}

/// Bends the text itself, so that it is hardly JSON any more.
fn garble(text: &mut Vec<u8>, dice: &mut Dice) {
    if text.is_empty() {
        return;
    }
    let at = dice.below(text.len());
    match dice.below(5) {
        0 => text.truncate(at),
        1 => text[at] = u8::try_from(dice.below(256)).unwrap(),
        2 => drop(text.remove(at)),
        3 => text.insert(at, *dice.pick(b"{}[]\",:0\\\xff ")),
        _ => text.extend_from_within(at..),
    }
}

fn path(dice: &mut Dice) -> String {
    let words = [
        "experiments",
        "feature-flags",
        "segments",
        "variations",
        "status",
        "validate",
        "advance-ramp",
        "api",
        "v2",
        "experimentation",
        "",
        "..",
        ".",
        "%00",
        "%2F",
        "é",
        "~",
        "*",
        "exp_weights%20",
        "Experiments",
    ];
    let mut path =
        (*dice.pick(&["/experimentation", "/api/v2/experimentation", "", "/"])).to_owned();
    for _ in 0..=dice.below(5) {
        path.push('/');
        let word: &&str = if dice.chance(40) { dice.pick(IDS) } else { dice.pick(&words) };
        path.push_str(word);
    }
    path
}

fn query(dice: &mut Dice) -> String {
    let keys =
        ["take", "from", "status", "type", "feature_flag_id", "authentication_flow", "é", ""];
    let values =
        ["1", "50", "0", "-1", "draft", "self", "flg_signin", "", "%", "%zz", "%FF", "a=b", "+"];
    let pairs = (0..dice.below(4)).map(|_| format!("{}={}", dice.pick(&keys), dice.pick(&values)));
    let pairs: Vec<_> = pairs.collect();
    let between: &&str = dice.pick(&["&", "&", "&&", ";"]);
    pairs.join(between)
}

/// Sends what can be a request at all, and sees how long it takes.
fn send(api: &Api, method: &str, uri: &str, kind: Option<&[u8]>, body: Vec<u8>) {
    let mut request = Request::builder().method(method).uri(uri);
    if let Some(kind) = kind {
        request = request.header("content-type", kind);
    }
    let Ok(request) = request.body(body) else { return };
    let begun = Instant::now();
    api.send(&request);
    assert!(begun.elapsed() < Duration::from_secs(5), "{method} {uri} took {:?}", begun.elapsed());
}

fn kind(dice: &mut Dice) -> Option<&'static [u8]> {
    let kinds: &[&[u8]] =
        &[b"application/json", b"text/plain", b"", b";", b"application/json;", b"\xff", b"a/b/c"];
    let common = dice.chance(80);
    (!common || dice.chance(50)).then(|| if common { kinds[0] } else { dice.pick(kinds) })
}

fn api(seed: u64) -> Api {
    let status = Status::ALL[usize::try_from(seed % 5).unwrap()];
    Api::over(&world_with("exp_ramp", status), GENERATIONS[usize::try_from(seed % 2).unwrap()])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..Default::default() })]

    /// Several on the same engine, since those that happen to be right change what the next meet.
    #[test]
    fn bent_requests_are_answered(seed: u64) {
        let dice = &mut Dice(seed);
        let api = api(seed);
        let writes = writes();
        for _ in 0..60 {
            let (method, path, body) = dice.pick(&writes);
            let mut body = body.clone();
            for _ in 0..dice.below(4) {
                bend(&mut body, dice);
            }
            let mut text = body.to_string().into_bytes();
            if dice.chance(20) {
                garble(&mut text, dice);
            }
            let prefix = dice.pick(&["/experimentation", "/api/v2/experimentation"]);
            send(&api, method, &format!("{prefix}{path}"), kind(dice), text);
        }
    }

    #[test]
    fn random_requests_are_answered(seed: u64, bodies in vec(vec(any::<u8>(), 0..40), 60)) {
        let dice = &mut Dice(seed);
        let api = api(seed);
        for body in bodies {
            let uri = match dice.chance(50) {
                true => path(dice),
                false => format!("{}?{}", path(dice), query(dice)),
            };
            let body = match dice.below(3) {
                0 => body,
                1 => tree(dice, 4).to_string().into_bytes(),
                _ => Vec::new(),
            };
            let method: &&str = dice.pick(METHODS);
            send(&api, method, &uri, kind(dice), body);
        }
    }

    #[test]
    fn random_text_is_answered(
        method in "[!-~]{1,8}",
        id in "[^/?#]{0,12}",
        query in ".{0,20}",
        kind in vec(any::<u8>(), 0..12),
        body in ".{0,60}",
        seed: u64,
    ) {
        let api = api(seed);
        let uris = [
            format!("/experimentation/experiments/{id}"),
            format!("/experimentation/experiments/{id}/status"),
            format!("/experimentation/feature-flags/{id}/variations/{id}"),
            format!("/experimentation/segments?{query}"),
            format!("/experimentation/experiments?from={query}"),
            format!("/{id}"),
            id,
        ];
        for uri in uris {
            for method in METHODS.iter().copied().chain([method.as_str()]) {
                send(&api, method, &uri, Some(&kind), body.clone().into_bytes());
                send(&api, method, &uri, None, body.clone().into_bytes());
            }
        }
    }
}

#[test]
fn hostile_bodies_are_answered() {
    let deep = |open: &str, close: &str, count: usize| open.repeat(count) + &close.repeat(count);
    let long = "x".repeat(1 << 20);
    let many = |item: &str, count: usize| vec![item; count].join(",");
    let keys: Vec<String> = (0..100_000).map(|index| format!("\"k{index}\":0")).collect();
    let values = [
        deep("[", "]", 50),
        deep("[", "]", 1_000),
        deep("[", "]", 500_000),
        "[".repeat(500_000),
        deep("{\"a\":", "}", 100_000),
        format!("\"{long}\""),
        format!("[{}]", many("0", 300_000)),
        format!("[{}]", many("{}", 100_000)),
        format!("{{{}}}", keys.join(",")),
        format!("{{{}}}", many("\"a\":0", 50_000)),
        "9".repeat(1 << 20),
        format!("0.{}", "3".repeat(1 << 20)),
        format!("1e{}", "9".repeat(1 << 10)),
        "1e400".to_owned(),
        "-1e400".to_owned(),
        "1e-400".to_owned(),
        "-0".to_owned(),
        "-0.0".to_owned(),
        "18446744073709551616".to_owned(),
        "\"\\ud800\"".to_owned(),
        "\"\\udc00\\ud800\"".to_owned(),
        "\"\\u0000\\u0000\\u0000\"".to_owned(),
        format!("\"{}\"", "\\u0061".repeat(100_000)),
        "{\"__proto__\": {\"admin\": true}}".to_owned(),
        "\"\u{202e}abc\"".to_owned(),
    ];
    for generation in GENERATIONS {
        let api = Api::over(&world_with("exp_ramp", Status::Active), generation);
        for (index, (method, path, body)) in writes().into_iter().enumerate() {
            let uri = format!("/experimentation{path}");
            for (number, value) in values.iter().enumerate() {
                // The large ones once for a few fields, which is enough and does not take long.
                let large = value.len() > 10_000;
                let fields = body.as_object().unwrap().keys().enumerate();
                for (at, key) in fields.filter(|(at, _)| !large || at + index == number % 5) {
                    let mut body = body.clone();
                    body[key] = json!("HERE");
                    let text = body.to_string().replacen("\"HERE\"", value, 1);
                    let kind: Option<&[u8]> = (at % 2 == 0).then_some(b"application/json");
                    send(&api, method, &uri, kind, text.into_bytes());
                }
                if !large || index == 0 {
                    send(&api, method, &uri, None, value.clone().into_bytes());
                }
            }
            let text = body.to_string();
            for bytes in [
                b"\xef\xbb\xbf{}".to_vec(),
                b"\xff\xfe{\0}\0".to_vec(),
                b"\0".to_vec(),
                vec![0; 1 << 16],
                vec![b' '; 1 << 20],
                [text.as_bytes(), b"\0"].concat(),
                [text.as_bytes(), text.as_bytes()].concat(),
                text.replacen('{', "{\"name\": 1, \"name\": 2,", 1).into_bytes(),
            ] {
                send(&api, method, &uri, None, bytes);
            }
        }
    }
}

/// A parameter's value and an override are the two places where any JSON can stand.
#[test]
fn numbers_at_the_edge_are_kept_or_refused_but_never_changed() {
    for generation in GENERATIONS {
        let api = Api::over(&world_with("exp_ramp", Status::Active), generation);
        for number in ["1e400", "1e-400", "-0", "18446744073709551616", "0.1e1", "1E+2", "5e-324"] {
            let path = "/experimentation/feature-flags/flg_signin/variations/var_b";
            let body = format!(r#"{{"overrides": {{"size": {number}}}}}"#).into_bytes();
            let request = Request::builder().method("PATCH").uri(path).body(body).unwrap();
            let answer = api.send(&request);
            if answer.accepted() {
                let shown = &answer.body["overrides"]["size"];
                let shown = if api.is_seeds() { &shown["value"] } else { shown };
                assert_eq!(shown.as_f64(), number.parse::<f64>().ok(), "{number}");
            } else {
                answer.is(400).naming("overrides.size");
            }
        }
    }
}

#[test]
fn hostile_paths_are_answered() {
    let long = "a".repeat(60_000);
    let paths = [
        "//",
        "//experiments",
        "/experiments//",
        "/experiments/",
        "/experiments//status",
        "/experiments/%00",
        "/experiments/%2e%2e",
        "/experiments/..",
        "/experiments/../segments",
        "/experiments/./exp_ramp",
        "/experiments/exp_ramp/",
        "/experiments/exp_ramp%2Fstatus",
        "/experiments/exp%5Framp",
        "/%65xperiments",
        "/experiments/%ff%fe",
        "/experiments/%",
        "/experiments/exp_ramp%00",
        "/experiments/exp_ramp;a=b",
        "/experiments/*",
        "/experiments/é",
        "/experiments/\u{1F600}",
        "/feature-flags//variations",
        "/feature-flags/flg_other/variations/",
        "/feature-flags//variations//",
        "/segments/%20",
        "/segments/'--",
        "/segments/{id}",
        "/experiments?",
        "/experiments?&",
        "/experiments?=",
        "/experiments?take",
        "/experiments?%",
        "/experiments?take=%31",
        "/experiments?from=%00&take=1",
        "/experiments?take=1&take=1",
        "/experiments?\u{e9}=1",
        "/segments?type=self#fragment",
    ];
    let long =
        [format!("/experiments/{long}"), format!("/experiments?from={long}"), format!("/{long}")];
    for generation in GENERATIONS {
        let api = Api::over(&world_with("exp_ramp", Status::Active), generation);
        for path in paths.iter().copied().chain(long.iter().map(String::as_str)) {
            for prefix in ["/experimentation", "/api/v2/experimentation", ""] {
                for method in METHODS {
                    send(&api, method, &format!("{prefix}{path}"), None, Vec::new());
                    send(&api, method, &format!("{prefix}{path}"), None, b"{}".to_vec());
                }
            }
        }
    }
}
