//! The shapes of what is answered, as checks that panic with the path of what is wrong.

use serde_json::{Map, Value};

pub(super) fn envelope(at: &str, body: &Value, status: http::StatusCode) {
    let code: Check = |at, v| {
        let text = string(at, v);
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        assert!(!text.is_empty() && text.bytes().all(plain), "{at}: {v}");
    };
    closed(
        at,
        body,
        &[
            ("statusCode", |at, v| whole_number(at, v, 400, 599)),
            ("error", text),
            ("message", text),
            ("errorCode", code),
        ],
        &[],
    );
    assert_eq!(body["statusCode"], status.as_u16(), "{at}");
    assert_eq!(body["error"].as_str(), status.canonical_reason(), "{at}");
}

/// Panics when a value at a path is not right.
pub(super) type Check = fn(&str, &Value);

type Members<'a> = &'a [(&'a str, Check)];

const EXPERIMENT: Members<'_> = &[
    ("id", |at, v| id(at, v, "exp_")),
    ("name", name),
    ("feature_flag_id", |at, v| id(at, v, "flg_")),
    ("authentication_flow", text),
    ("allocation_strategy", |at, v| one_of(at, v, &["percentage", "segment"])),
    ("status", |at, v| one_of(at, v, &["draft", "active", "paused", "completed", "archived"])),
    ("is_valid", boolean),
    ("created_at", date_time),
    ("updated_at", date_time),
];

const EXPERIMENT_OPTIONAL: Members<'_> =
    &[("description", description), ("started_at", date_time), ("ended_at", date_time)];

pub(super) fn seeds_experiment(at: &str, value: &Value) {
    let device: Check = |at, v| whole(at, v, "subject", |at, v| one_of(at, v, &["device"]));
    let allocations: Check = |at, v| list(at, v, 0..=20, |at, v| allocation(at, v, false));
    let own: Members<'_> = &[("assignment_config", device), ("allocations", allocations)];
    closed(at, value, &[EXPERIMENT, own].concat(), EXPERIMENT_OPTIONAL);
    relations(at, value);
}

pub(super) fn early_experiment(at: &str, value: &Value) {
    let fields: Check = |at, v| list(at, v, 0..=8, |at, v| one_of(at, v, EDITABLE));
    let allocations: Check = |at, v| list(at, v, 0..=20, |at, v| allocation(at, v, true));
    let own: Members<'_> = &[("editable_fields", fields), ("allocations", allocations)];
    let optional: Members<'_> = &[
        ("feature_flag_name", name),
        ("feature_flag_snapshot", map),
        ("levels", levels),
        ("current_level", |at, v| whole_number(at, v, 0, 100)),
    ];
    closed(at, value, &[EXPERIMENT, own].concat(), &[EXPERIMENT_OPTIONAL, optional].concat());
    relations(at, value);
    let has = |key: &str| value.get(key).is_some();
    assert_eq!(has("feature_flag_snapshot"), has("started_at"), "{at}: a snapshot is of a run");
    assert_eq!(has("current_level"), has("levels") && has("started_at"), "{at}: a ramp runs");
    assert!(!has("levels") || value["allocation_strategy"] == "percentage", "{at}: levels");
    for field in value["editable_fields"].as_array().unwrap() {
        let count = value["editable_fields"].as_array().unwrap().iter().filter(|f| *f == field);
        assert_eq!(count.count(), 1, "{at}: {field} twice");
    }
}

/// What a PATCH can name.
pub const EDITABLE: &[&str] =
    &["name", "description", "authentication_flow", "levels", "allocations", "status"];

fn allocation(at: &str, value: &Value, early_access: bool) {
    let common: Members<'_> =
        &[("variation_id", |at, v| id(at, v, "var_")), ("is_control", boolean)];
    let weight: Check = |at, v| number(at, v, 0.0, 100.0);
    let whole_weight: Check = |at, v| whole_number(at, v, 0, 100);
    let own: Members<'_> = &[
        ("weight", if early_access { whole_weight } else { weight }),
        ("segment_id", |at, v| id(at, v, "seg_")),
        ("priority", |at, v| whole_number(at, v, 1, u64::from(u32::MAX))),
        ("is_fallback", boolean),
    ];
    let later: Members<'_> = &[
        ("variation_name", name),
        ("variation_snapshot", map),
        ("segment_name", name),
        ("segment_snapshot", map),
    ];
    let later = if early_access { later } else { &[] };
    closed(at, value, common, &[own, later].concat());
}

/// What members of an experiment say of each other.
fn relations(at: &str, value: &Value) {
    let status = value["status"].as_str().unwrap();
    let (started, ended) = (value.get("started_at"), value.get("ended_at"));
    assert!(status != "draft" || started.is_none(), "{at}: a draft has started");
    let ran = ["active", "paused", "completed"].contains(&status);
    assert!(!ran || started.is_some(), "{at}: {status} without a start");
    assert!(status != "completed" || ended.is_some(), "{at}: completed without an end");
    assert!(ended.is_none() || ["completed", "archived"].contains(&status), "{at}: ended");
    for arm in value["allocations"].as_array().unwrap() {
        let foreign: &[&str] = match value["allocation_strategy"].as_str() {
            Some("percentage") => {
                &["segment_id", "priority", "is_fallback", "segment_name", "segment_snapshot"]
            }
            _ => &["weight"],
        };
        for key in foreign {
            assert!(arm.get(key).is_none(), "{at}: {key} is not of this strategy");
        }
        let has = |key: &str| arm.get(key).is_some();
        assert!(has("segment_id") || !has("segment_name"), "{at}: the name of no segment");
        assert!(has("segment_id") || !has("segment_snapshot"), "{at}: a snapshot of no segment");
    }
}

fn levels(at: &str, value: &Value) {
    list(at, value, 1..=101, |at, v| whole_number(at, v, 0, 100));
    let levels: Vec<_> = value.as_array().unwrap().iter().map(Value::as_u64).collect();
    assert!(levels.is_sorted_by(|a, b| a < b), "{at}: {value} does not rise");
}

pub(super) fn validity(at: &str, value: &Value) {
    let error: Check = |at, v| {
        closed(at, v, &[("code", text), ("message", text)], &[]);
    };
    let errors: &str = "errors";
    closed(at, value, &[("is_valid", boolean)], &[(errors, |_, _| {})]);
    list(at, &value[errors], 0..=1_000, error);
    let none = value[errors].as_array().unwrap().is_empty();
    assert_eq!(value["is_valid"].as_bool(), Some(none), "{at}: is_valid and errors disagree");
}

pub(super) fn ramp_step(at: &str, value: &Value) {
    let level: Check = |at, v| whole_number(at, v, 0, 100);
    let members: Members<'_> = &[
        ("experiment_id", |at, v| id(at, v, "exp_")),
        ("from_level", level),
        ("to_level", level),
        ("current_level", level),
    ];
    closed(at, value, members, &[]);
}

pub(super) fn flag(at: &str, value: &Value) {
    let members: Members<'_> = &[
        ("id", |at, v| id(at, v, "flg_")),
        ("name", name),
        ("type", |at, v| one_of(at, v, &["self"])),
        ("status", |at, v| one_of(at, v, &["draft", "active", "archived"])),
        ("parameters", parameters),
        ("created_at", date_time),
        ("updated_at", date_time),
    ];
    closed(at, value, members, &[("description", description)]);
}

fn parameters(at: &str, value: &Value) {
    let map = object(at, value);
    assert!((1..=10).contains(&map.len()), "{at}: {} parameters", map.len());
    for (key, parameter) in map {
        let at = format!("{at}.{key}");
        let text: Check = |at, v| assert!(string(at, v).chars().count() <= 255, "{at}: long");
        let types: Check =
            |at, v| one_of(at, v, &["string", "boolean", "number", "array", "object"]);
        closed(&at, parameter, &[("type", types), ("value", small)], &[("description", text)]);
        let kind = match &parameter["value"] {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        assert_eq!(parameter["type"], kind, "{at}: the value is of another type");
    }
}

pub(super) fn seeds_variation(at: &str, value: &Value) {
    variation(at, value, |at, v| whole(at, v, "value", small));
}

pub(super) fn early_variation(at: &str, value: &Value) {
    variation(at, value, small);
}

fn variation(at: &str, value: &Value, overriding: Check) {
    let members: Members<'_> = &[
        ("id", |at, v| id(at, v, "var_")),
        ("feature_flag_id", |at, v| id(at, v, "flg_")),
        ("name", name),
        ("overrides", map),
        ("created_at", date_time),
        ("updated_at", date_time),
    ];
    closed(at, value, members, &[("description", description)]);
    for (key, value) in object(at, &value["overrides"]) {
        overriding(&format!("{at}.overrides.{key}"), value);
    }
}

/// Any value of at most 1 KB but null.
fn small(at: &str, value: &Value) {
    assert!(!value.is_null(), "{at}: null");
    assert!(value.to_string().len() <= 1024, "{at}: large");
}

const SEGMENT: Members<'_> = &[
    ("id", |at, v| id(at, v, "seg_")),
    ("name", name),
    ("type", |at, v| one_of(at, v, &["self"])),
    ("rules", |at, v| list(at, v, 1..=1_000, rule)),
    ("created_at", date_time),
    ("updated_at", date_time),
];

pub(super) fn seeds_segment(at: &str, value: &Value) {
    closed(at, value, SEGMENT, &[("description", description)]);
}

pub(super) fn early_segment(at: &str, value: &Value) {
    let status: Members<'_> = &[("status", |at, v| one_of(at, v, &["active", "archived"]))];
    closed(at, value, &[SEGMENT, status].concat(), &[("description", description)]);
}

fn rule(at: &str, value: &Value) {
    let conditions: Check = |at, v| {
        let map = object(at, v);
        assert!((1..=10).contains(&map.len()), "{at}: {} conditions", map.len());
        map.iter().for_each(|(key, v)| expression(&format!("{at}.{key}"), v));
    };
    closed(at, value, &[], &[("match", conditions), ("not_match", conditions)]);
    assert!(!object(at, value).is_empty(), "{at}: no condition");
}

fn expression(at: &str, value: &Value) {
    let items: Check = |at, v| {
        list(at, v, 1..=10_000, |at, v| {
            assert!(string(at, v).chars().count() <= 1024, "{at}: long");
        });
    };
    if value.is_array() {
        return items(at, value);
    }
    let forms: Members<'_> =
        &[("contains", items), ("starts_with", items), ("ends_with", items), ("exists", boolean)];
    closed(at, value, &[], forms);
    assert_eq!(object(at, value).len(), 1, "{at}: not one form");
}

pub(super) fn page(at: &str, value: &Value, key: &str, entity: Check) {
    closed(at, value, &[(key, |_, _| {})], &[("next", text)]);
    list(&format!("{at}.{key}"), &value[key], 0..=50, entity);
}

/// An object with this member and no other.
pub(super) fn whole(at: &str, value: &Value, key: &str, check: Check) {
    closed(at, value, &[(key, check)], &[]);
}

fn closed(at: &str, value: &Value, required: Members<'_>, optional: Members<'_>) {
    let members = object(at, value);
    for (key, check) in required {
        let value = members.get(*key).unwrap_or_else(|| panic!("{at}: {key} is not there"));
        check(&format!("{at}.{key}"), value);
    }
    for (key, value) in members {
        let known = |(name, _): &&(&str, Check)| name == key;
        if let Some((_, check)) = optional.iter().find(known) {
            check(&format!("{at}.{key}"), value);
        } else {
            assert!(required.iter().any(|member| known(&member)), "{at}: {key} is unknown");
        }
    }
}

fn object<'v>(at: &str, value: &'v Value) -> &'v Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("{at}: {value} is no object"))
}

pub(super) fn map(at: &str, value: &Value) {
    object(at, value);
}

pub(super) fn list(at: &str, value: &Value, count: std::ops::RangeInclusive<usize>, check: Check) {
    let items = value.as_array().unwrap_or_else(|| panic!("{at}: {value} is no list"));
    assert!(count.contains(&items.len()), "{at}: {} items", items.len());
    items.iter().enumerate().for_each(|(index, item)| check(&format!("{at}[{index}]"), item));
}

fn string<'v>(at: &str, value: &'v Value) -> &'v str {
    value.as_str().unwrap_or_else(|| panic!("{at}: {value} is no string"))
}

/// A text that says something.
fn text(at: &str, value: &Value) {
    assert!(!string(at, value).trim().is_empty(), "{at}: empty");
}

fn boolean(at: &str, value: &Value) {
    assert!(value.is_boolean(), "{at}: {value} is no boolean");
}

fn number(at: &str, value: &Value, least: f64, most: f64) {
    assert!(value.as_f64().is_some_and(|n| (least..=most).contains(&n)), "{at}: {value}");
}

fn whole_number(at: &str, value: &Value, least: u64, most: u64) {
    assert!(value.as_u64().is_some_and(|n| (least..=most).contains(&n)), "{at}: {value}");
}

fn one_of(at: &str, value: &Value, names: &[&str]) {
    assert!(names.contains(&string(at, value)), "{at}: {value} is none of {names:?}");
}

/// `^exp_[A-HJ-NP-Za-km-z1-9]+$` and its like.
fn id(at: &str, value: &Value, prefix: &str) {
    let digits = string(at, value).strip_prefix(prefix).unwrap_or_default();
    let base58 = |b: u8| b.is_ascii_alphanumeric() && !b"0OIl".contains(&b);
    assert!(!digits.is_empty() && digits.bytes().all(base58), "{at}: {value}");
}

/// `^(?!.*\x00)\S(.*\S)?$` as ECMAScript reads it, and the length in code points.
fn line(at: &str, value: &Value, most: usize) {
    let text = string(at, value);
    let space = |c: char| c == '\u{feff}' || c.is_whitespace() && c != '\u{85}';
    let ends = [text.chars().next(), text.chars().next_back()];
    assert!((3..=most).contains(&text.chars().count()), "{at}: {value} in length");
    assert!(!text.contains(['\0', '\n', '\r', '\u{2028}', '\u{2029}']), "{at}: {value} in lines");
    assert!(!ends.iter().flatten().any(|c| space(*c)), "{at}: {value} in spaces");
}

fn name(at: &str, value: &Value) {
    line(at, value, 255);
}

fn description(at: &str, value: &Value) {
    line(at, value, 1024);
}

/// RFC 3339, with `T` and in capitals.
fn date_time(at: &str, value: &Value) {
    let text = string(at, value);
    let (moment, zone) = text.split_at(text.find(['Z', '+']).unwrap_or_default());
    let digits: String = moment.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let fraction = digits.strip_prefix("0000-00-00T00:00:00");
    let plain = |rest: &str| {
        rest.is_empty() || rest.strip_prefix('.').is_some_and(|rest| rest.contains('0'))
    };
    assert!(fraction.is_some_and(plain) && zone == "Z", "{at}: {value} is no date-time");
    let part = |range: std::ops::Range<usize>| moment[range].parse::<u32>().unwrap();
    let date = (1..=12).contains(&part(5..7)) && (1..=31).contains(&part(8..10));
    let time = part(11..13) < 24 && part(14..16) < 60 && part(17..19) <= 60;
    assert!(date && time, "{at}: {value} is no moment");
}
