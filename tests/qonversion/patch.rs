//! The PATCH of an experiment: each field, left out, `null`, as it is, new, and of a wrong type.

use serde_json::{Value, json};

use crate::support::{Api, EXPERIMENTS};

/// What `null` does to a field.
enum Null {
    Refused,
    /// It reads back as this.
    Clears(Value),
}

/// A field with what it can be.
struct Row {
    field: &'static str,
    /// What it is before.
    present: Value,
    null: Null,
    /// New values, and what they read back as.
    new: Vec<(Value, Value)>,
    wrong: Vec<Value>,
    /// The states in which it changes.
    changes_in: &'static [&'static str],
}

const ALWAYS: &[&str] = &["draft", "active", "paused", "finished"];
const RUNNING: &[&str] = &["draft", "active", "paused"];
const HALTED: &[&str] = &["draft", "paused"];

fn same(values: impl IntoIterator<Item = Value>) -> Vec<(Value, Value)> {
    values.into_iter().map(|value| (value.clone(), value)).collect()
}

/// What an experiment says before, where it is not what the table says: everything; next to nothing;
/// and a context that it is not restricted to, of everybody.
fn worlds() -> [Value; 3] {
    [
        json!({}),
        json!({
            "description": "", "segment_percent": null, "primary_metric": null, "goal_value": null,
            "goal_direction": null, "context_key": "", "is_context_specific": false,
        }),
        json!({"segment_percent": 100, "is_context_specific": false}),
    ]
}

fn rows(world: &Value) -> Vec<Row> {
    let mut rows = table();
    for row in &mut rows {
        if let Some(present) = world.get(row.field) {
            row.present = present.clone();
        }
    }
    rows
}

fn table() -> Vec<Row> {
    let long = "x".repeat(256);
    vec![
        Row {
            field: "name",
            present: json!("Before"),
            null: Null::Refused,
            new: same([json!("After"), json!("x"), json!("ö".repeat(255))]),
            wrong: vec![json!(7), json!([]), json!({}), json!(true), json!(""), json!(long)],
            changes_in: ALWAYS,
        },
        Row {
            field: "alias_id",
            present: json!("alias.v1"),
            null: Null::Refused,
            new: Vec::new(),
            wrong: vec![
                json!(7),
                json!([]),
                json!(""),
                json!("a b"),
                json!("ä"),
                json!("x".repeat(65)),
            ],
            changes_in: &[],
        },
        Row {
            field: "description",
            present: json!("What it is about"),
            null: Null::Clears(json!("")),
            new: same([json!("Another"), json!(""), json!("x".repeat(2048))]),
            wrong: vec![json!(7), json!(false), json!(["a"]), json!("x".repeat(2049))],
            changes_in: ALWAYS,
        },
        Row {
            field: "segment_percent",
            present: json!(70),
            null: Null::Clears(Value::Null),
            new: same([json!(30), json!(0), json!(100), json!(12.5), json!(0.000_001)]),
            wrong: vec![
                json!("70"),
                json!(-1),
                json!(100.1),
                json!(0.000_000_1),
                json!(1e300),
                json!(true),
            ],
            changes_in: RUNNING,
        },
        Row {
            field: "primary_metric",
            present: json!("user_to_trial"),
            null: Null::Clears(Value::Null),
            new: vec![
                (json!("sales"), json!("sales")),
                (json!("subscription-cancellation"), json!("subscription_cancellation")),
                (json!("one of our own"), json!("one of our own")),
            ],
            wrong: vec![json!(7), json!([]), json!(""), json!("a\u{0}b"), json!("x".repeat(2049))],
            changes_in: RUNNING,
        },
        Row {
            field: "goal_value",
            present: json!(12.5),
            null: Null::Clears(Value::Null),
            new: same([
                json!(3),
                json!(-0.25),
                json!(0),
                json!(1e300),
                json!(9_007_199_254_740_993_i64),
            ]),
            wrong: vec![json!("12.5"), json!(true), json!([1])],
            changes_in: RUNNING,
        },
        Row {
            field: "goal_direction",
            present: json!("increase"),
            null: Null::Clears(Value::Null),
            new: same([json!("decrease"), json!("side-ways")]),
            wrong: vec![json!(1), json!({}), json!("")],
            changes_in: RUNNING,
        },
        Row {
            field: "context_key",
            present: json!("paywall"),
            null: Null::Clears(json!("")),
            new: same([json!("onboarding"), json!(""), json!("über all"), json!("x".repeat(255))]),
            wrong: vec![json!(7), json!(["paywall"]), json!("x".repeat(256)), json!("\u{0}")],
            changes_in: HALTED,
        },
        Row {
            field: "is_context_specific",
            present: json!(true),
            null: Null::Clears(json!(false)),
            new: same([json!(false)]),
            wrong: vec![json!("true"), json!(1), json!([])],
            changes_in: HALTED,
        },
    ]
}

/// An experiment in this state with every field as the table has it before.
fn world(status: &str) -> (Api, String) {
    with(&json!({}), status)
}

fn with(world: &Value, status: &str) -> (Api, String) {
    let api = Api::new();
    let mut facts = json!({});
    for row in rows(world) {
        facts[row.field] = row.present;
    }
    let (path, _) = api.ready("alias.v1", facts);
    api.bring(&path, status);
    (api, path)
}

/// The experiment before and after, which differ by these fields and the time of the edit.
#[track_caller]
fn check_edit(before: &Value, after: &Value, edits: &[(&str, &Value)]) {
    let mut expected = before.clone();
    for (field, value) in edits {
        expected[*field] = (*value).clone();
    }
    if expected != *before {
        assert_ne!(after["updated_at"], before["updated_at"]);
        expected["updated_at"] = after["updated_at"].clone();
    }
    assert_eq!(*after, expected);
}

#[test]
fn every_field_in_every_state() {
    for world in worlds() {
        for status in ALWAYS {
            for row in rows(&world) {
                check_row(&world, status, row);
            }
        }
    }
}

fn check_row(world: &Value, status: &str, row: Row) {
    let fresh = || with(world, status);
    let (api, path) = fresh();
    let before = api.get(&path).ok();
    assert_eq!(before[row.field], row.present, "{status}");

    // Left out, and as it is: nothing happens, in any state.
    check_edit(&before, &api.patch(&path, &json!({})).ok(), &[]);
    let same = json!({row.field: row.present});
    if !row.present.is_null() || matches!(row.null, Null::Clears(_)) {
        check_edit(&before, &api.patch(&path, &same).ok(), &[]);
    }

    for wrong in &row.wrong {
        api.patch(&path, &json!({row.field: wrong})).invalid(&[row.field]);
    }

    let changes = row.changes_in.contains(&status);
    let mut edits = row.new.clone();
    match row.null {
        Null::Refused => {
            api.patch(&path, &json!({row.field: null})).invalid(&[row.field]);
        }
        Null::Clears(reads) => edits.push((Value::Null, reads)),
    }
    for (value, reads) in edits {
        let (api, path) = fresh();
        let before = api.get(&path).ok();
        let body = json!({row.field: value});
        let answer = api.patch(&path, &body);
        if !changes && reads != row.present {
            answer.conflict(&[row.field]);
            continue;
        }
        check_edit(&before, &answer.ok(), &[(row.field, &reads)]);
        // What it answers is what is there, and the same again is no edit.
        let read = api.get(&path).ok();
        check_edit(&before, &read, &[(row.field, &reads)]);
        check_edit(&read, &api.patch(&path, &body).ok(), &[]);
        let back = json!({row.field: read[row.field]});
        check_edit(&read, &api.patch(&path, &back).ok(), &[]);
    }
}

#[test]
fn all_fields_at_once() {
    let (api, path) = world("draft");
    let before = api.get(&path).ok();
    let body = json!({
        "name": "After", "alias_id": "alias.v1", "description": null, "segment_percent": null,
        "primary_metric": "sales", "goal_value": null, "goal_direction": null,
        "context_key": "onboarding", "is_context_specific": null,
    });
    let after = api.patch(&path, &body).ok();
    let expected = [
        ("name", json!("After")),
        ("description", json!("")),
        ("segment_percent", Value::Null),
        ("primary_metric", json!("sales")),
        ("goal_value", Value::Null),
        ("goal_direction", Value::Null),
        ("context_key", json!("onboarding")),
        ("is_context_specific", json!(false)),
    ];
    let expected: Vec<_> = expected.iter().map(|(field, value)| (*field, value)).collect();
    check_edit(&before, &after, &expected);
}

#[test]
fn every_fault_is_told_at_once_and_nothing_happens() {
    let (api, path) = world("draft");
    let body =
        json!({"name": null, "segment_percent": 101, "goal_value": "x", "description": "New"});
    api.patch(&path, &body).invalid(&["name", "segment_percent", "goal_value"]);
    let body = json!({"nmae": "x", "colour": 1, "goal_value": "x", "description": "New"});
    api.patch(&path, &body).invalid(&["colour", "nmae", "goal_value"]);
    // By the name that it was given, be it one of the program's own.
    for field in ["chain", "key", "traffic", "annotations", "subject_id"] {
        api.patch(&path, &json!({field: 1})).invalid(&[field]);
    }
    for field in ["id", "url", "status", "started_at", "created_at", "object"] {
        api.patch(&path, &json!({field: "x"})).invalid(&[field]);
    }
}

#[test]
fn an_alias_never_changes() {
    for status in ALWAYS {
        let (api, path) = world(status);
        api.patch(&path, &json!({"alias_id": "other"})).conflict(&["alias_id"]);
        api.patch(&path, &json!({"alias_id": "Alias.v1", "name": "After"})).conflict(&["alias_id"]);
        api.patch(&path, &json!({"alias_id": "alias.v1", "name": "After"})).ok();
    }
    // One that is longer than a PATCH may give is no fault where it is the experiment's own.
    let api = Api::new();
    let long = "x".repeat(256);
    let path = api.draft(&long, json!({}));
    api.patch(&path, &json!({"alias_id": long})).ok();
    api.patch(&path, &json!({"alias_id": "y".repeat(256)})).invalid(&["alias_id"]);
    // What has none shows its id.
    let id = api.get(&path).ok()["id"].clone();
    api.patch(&path, &json!({"alias_id": id})).conflict(&["alias_id"]);
}

#[test]
fn numbers_that_are_none_are_refused() {
    let (api, path) = world("draft");
    for field in ["goal_value", "segment_percent"] {
        for number in ["NaN", "Infinity", "-Infinity", "1e400", "-1e999", "0x10", "1e", ".5"] {
            let body = format!("{{{field:?}: {number}}}");
            let answer = api.request("PATCH", &path, body.into_bytes());
            assert_eq!(answer.is(400).body["error"]["code"], "invalid_data", "{number}");
        }
        // More digits than a double keeps would be another number.
        let body = format!("{{{field:?}: 0.12345678901234567890123}}");
        api.request("PATCH", &path, body.into_bytes()).invalid(&[field]);
    }
}

#[test]
fn what_the_program_has_written_is_shown_as_it_is() {
    let (api, path) = world("draft");
    let goal = variate::Goal::default();
    let mut goal = goal;
    goal.metric = Some("subscription-cancellation".parse().unwrap());
    let patch = variate::AnalysisPatch::new().goal(goal);
    let patch = variate::ExperimentPatch::new().analysis(patch);
    api.commit(variate::Change::patch_experiment(api.held("alias.v1").id(), patch));
    let shown = api.get(&path).ok();
    assert_eq!(shown["primary_metric"], "subscription-cancellation");
    // Another edit leaves it, and sending it back writes it with underscores.
    let after = api.patch(&path, &json!({"goal_value": 3})).ok();
    assert_eq!(after["primary_metric"], "subscription-cancellation");
    let back = json!({"primary_metric": after["primary_metric"]});
    assert_eq!(api.patch(&path, &back).ok()["primary_metric"], "subscription_cancellation");
    assert_eq!(api.get(&format!("{EXPERIMENTS}/alias.v1")).ok()["goal_value"], 3);
}

#[test]
fn every_field_that_cannot_change_is_named() {
    let (api, path) = world("finished");
    let body = json!({
        "primary_metric": "user_to_trial", "goal_value": 3, "context_key": null, "name": "After",
        "is_context_specific": true, "segment_percent": 1,
    });
    api.patch(&path, &body).conflict(&["segment_percent", "goal_value", "context_key"]);
    let (api, path) = world("active");
    let body = json!({"context_key": "paywall", "is_context_specific": false});
    api.patch(&path, &body).conflict(&["is_context_specific"]);
}

#[test]
fn what_others_change_leaves_no_stale_facts() {
    // The share alone.
    let (api, path) = with(&worlds()[2], "active");
    let id = api.held("alias.v1").id().clone();
    let patch = variate::ExperimentPatch::new().traffic("50".parse().unwrap());
    api.commit(variate::Change::patch_experiment(&id, patch));
    assert_eq!(
        api.patch(&path, &json!({"segment_percent": null})).ok()["segment_percent"],
        Value::Null
    );

    let (api, path) = with(&worlds()[2], "draft");
    let id = api.held("alias.v1").id().clone();
    let patch = variate::ExperimentPatch::new().chain("native").traffic("50".parse().unwrap());
    api.commit(variate::Change::patch_experiment(&id, patch));
    let shown = api.get(&path).ok();
    let got = (&shown["context_key"], &shown["is_context_specific"], &shown["segment_percent"]);
    assert_eq!(got, (&json!("native"), &json!(true), &json!(50)));
    let body = json!({"context_key": null, "is_context_specific": null, "segment_percent": null});
    let shown = api.patch(&path, &body).ok();
    let got = (&shown["context_key"], &shown["is_context_specific"], &shown["segment_percent"]);
    assert_eq!(got, (&json!(""), &json!(false), &Value::Null));
}

#[test]
fn a_metric_of_old_can_be_sent_back_when_it_cannot_change() {
    let (api, path) = world("draft");
    let goal = variate::Goal::default().metric("user-to-trial".parse().unwrap());
    let patch = variate::AnalysisPatch::new().goal(goal);
    let patch = variate::ExperimentPatch::new().analysis(patch);
    api.commit(variate::Change::patch_experiment(api.held("alias.v1").id(), patch));
    api.bring(&path, "finished");
    let body = json!({"primary_metric": "user-to-trial", "name": "After"});
    let shown = api.patch(&path, &body).ok();
    assert_eq!(
        (&shown["primary_metric"], &shown["name"]),
        (&json!("user-to-trial"), &json!("After"))
    );
}
