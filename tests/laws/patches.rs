//! Partial updates: what is named changes and nothing else, as far as the status allows; a version
//! counts each edit; a transaction takes effect whole or not at all; names and ids are unique.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::{apply, brought_to, ok, p, share, world};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use variate::{
    Allocation, Change, Code, Commit, EffectKind, Engine, Error, Event, Expression, Field,
    FlagStatus, Keep, NewExperiment, NewFlag, NewHoldout, NewLayer, NewSegment, NewVariation, Rule,
    SegmentStatus, Snapshot, Status, Transaction,
};

/// The world with a description wherever there can be one, a draft `exp_rich` whose every field has
/// a value that no default gives, levels and stages aside, a draft `exp_ramp` that has levels and
/// `exp_staged` that has stages, a layer `lay_a` and a holdout `hld_a` that have two drafts each.
fn rich() -> Snapshot {
    let experiment = NewExperiment::by_percentage("Rich", p("flg_a"))
        .id(p("exp_rich"))
        .description("All fields")
        .tag("autumn")
        .tag("copy")
        .flow("authentication")
        .subject_kind("user")
        .allocation(share("var_a", "60").control())
        .allocation(share("var_b", "40"))
        .traffic(p("80"))
        .outside_variation_id(p("var_d"))
        .audience(p("seg_germany"))
        .keep(Keep::Always)
        .starts_at(p("2026-11-21T09:00:00Z"))
        .ends_at(p("2026-12-21T09:00:00Z"))
        .salt(p("pepper"))
        .key("rich")
        .maintainer("Ann")
        .chain("paywall")
        .annotation("ticket", "EX-1");
    let staged = NewExperiment::by_percentage("Staged", p("flg_a"))
        .id(p("exp_staged"))
        .allocation(share("var_a", "60").control())
        .allocation(share("var_b", "40"))
        .stage(p("2026-11-21T09:00:00Z"), p("10"))
        .stage(p("2026-11-22T09:00:00Z"), p("60"));
    let layer = NewLayer::new("Sign-in", "device")
        .id(p("lay_a"))
        .member(p("exp_weights"), p("30"))
        .member(p("exp_staged"), p("5"));
    let holdout = NewHoldout::new("Winter", "device", p("5"))
        .id(p("hld_a"))
        .experiment(p("exp_segments"))
        .experiment(p("exp_staged"));
    let ramp = NewExperiment::by_percentage("Ramp", p("flg_a"))
        .id(p("exp_ramp"))
        .allocation(Allocation::ramped(p("var_a")).control())
        .allocation(Allocation::ramped(p("var_b")))
        .levels([p("10"), p("50")]);
    let describe =
        |kind: &str, id: &str| patch(kind, id, &json!({"description": "What it was about"}));
    ok(
        &world(),
        vec![
            experiment.into(),
            ramp.into(),
            staged.into(),
            layer.into(),
            holdout.into(),
            describe("patch_flag", "flg_a"),
            patch("patch_flag", "flg_a", &json!({"off_variation_id": "var_d"})),
            describe("patch_variation", "var_b"),
            describe("patch_segment", "seg_ios"),
            describe("patch_layer", "lay_a"),
            describe("patch_holdout", "hld_a"),
        ],
    )
}

/// A patch, by way of JSON.
#[track_caller]
fn patch(kind: &str, id: &str, patch: &Value) -> Change {
    let json = json!({"change": kind, "id": id, "patch": patch});
    Change::from_json(json.to_string()).unwrap_or_else(|error| panic!("{json}: {error}"))
}

/// A snapshot as JSON, without what every commit changes, and with what a run shares with its
/// experiment written out, as it would be if they differed.
fn document(snapshot: &Snapshot) -> Value {
    let mut document = serde_json::to_value(snapshot).unwrap();
    document.as_object_mut().unwrap().retain(|key, _| key != "sequence" && key != "updated_at");
    for experiment in document["experiments"].as_array_mut().unwrap() {
        let experiment = experiment.as_object_mut().unwrap();
        for list in ["tags", "levels", "stages"] {
            experiment.entry(list).or_insert(json!([]));
        }
        experiment.entry("keep").or_insert(json!("while_paused"));
        experiment.entry("can_reshuffle").or_insert(json!(true));
        let shared = ["allocations", "audience_id", "outside_variation_id", "salt"]
            .map(|key| (key, experiment.get(key).cloned().unwrap_or_default()));
        let iteration = experiment["iteration"].as_object_mut().unwrap();
        if iteration.contains_key("flag_version") {
            for (key, value) in shared {
                iteration.entry(key).or_insert(value);
            }
        }
    }
    for layer in document["layers"].as_array_mut().into_iter().flatten() {
        // Where the slots lie follows from the members.
        layer.as_object_mut().unwrap().remove("partition");
        layer.as_object_mut().unwrap().entry("members").or_insert(json!({}));
    }
    for holdout in document["holdouts"].as_array_mut().into_iter().flatten() {
        holdout.as_object_mut().unwrap().entry("experiments").or_insert(json!([]));
    }
    document
}

/// An entity, or a variation, in a document.
#[track_caller]
fn entity<'d>(document: &'d mut Value, id: &str) -> &'d mut Value {
    let list = match id.split_at(4).0 {
        "exp_" => "experiments",
        "seg_" => "segments",
        "flg_" | "var_" => "flags",
        "lay_" => "layers",
        "hld_" => "holdouts",
        _ => return &mut document["settings"],
    };
    for entity in document[list].as_array_mut().unwrap() {
        if entity["id"] == id {
            return entity;
        }
        let variations = entity.get_mut("variations").and_then(Value::as_array_mut);
        for variation in variations.into_iter().flatten() {
            if variation["id"] == id {
                return variation;
            }
        }
    }
    panic!("{id} must be there")
}

/// An entity of a snapshot as JSON.
#[track_caller]
fn read(snapshot: &Snapshot, id: &str) -> Map<String, Value> {
    entity(&mut document(snapshot), id).as_object().unwrap().clone()
}

/// Commits to an engine what must not lead anywhere: nothing is published, and nobody is told.
#[track_caller]
fn commit_in_vain(snapshot: &Snapshot, transaction: Transaction) -> Result<Commit, Error> {
    let engine = Engine::from_snapshot(snapshot.clone());
    let told = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&told);
    let count = move |_: &Event, _: &Snapshot| _ = counter.fetch_add(1, Ordering::Relaxed);
    engine.listen(count).unwrap();
    let (before, text) = (engine.snapshot(), snapshot.to_json());
    let outcome = engine.commit(transaction);
    assert!(Arc::ptr_eq(&before, &engine.snapshot()), "nothing must be published");
    assert_eq!(before.to_json(), text, "the snapshot must stay as it is");
    assert_eq!(told.load(Ordering::Relaxed), 0, "nobody must be told");
    outcome
}

/// Commits what must be refused.
#[track_caller]
fn refused(snapshot: &Snapshot, transaction: impl Into<Transaction>) -> Error {
    commit_in_vain(snapshot, transaction.into()).unwrap_err()
}

/// Commits what must be accepted and make no difference.
#[track_caller]
fn no_change(snapshot: &Snapshot, transaction: impl Into<Transaction>) {
    let transaction = transaction.into();
    let commit = commit_in_vain(snapshot, transaction.clone())
        .unwrap_or_else(|error| panic!("{transaction:?}: {error}"));
    assert!(commit.event.is_none(), "{transaction:?} must have no event");
    assert!(*commit.snapshot == *snapshot, "{transaction:?} must lead nowhere");
    assert_eq!(commit.snapshot.to_json(), snapshot.to_json());
}

/// Commits an edit and shows that it is one of exactly these fields of this entity: the fields have
/// the values that were named, its version is one more, and nothing else is different.
#[track_caller]
fn check_edit(
    snapshot: &Snapshot,
    change: Change,
    id: &str,
    named: &Map<String, Value>,
) -> Snapshot {
    let commit = apply(snapshot, change).unwrap_or_else(|error| panic!("{id} {named:?}: {error}"));
    let event = commit.event.as_ref().unwrap();
    let effect = match &*event.effects {
        [effect] => effect,
        effects => panic!("an edit of {id} has one effect, not {effects:?}"),
    };
    let mut documents = [document(snapshot), document(&commit.snapshot)];
    // A flag counts the edits of its variations.
    if id.starts_with("var_") {
        let flag = snapshot.flags().find(|flag| flag.variations().contains_key(id)).unwrap();
        let records =
            documents.each_mut().map(|document| take_record(document, flag.id().as_str()));
        assert_eq!(records[1].0, records[0].0 + 1, "the flag of {id} must count the edit");
    }
    let records = documents.each_mut().map(|document| take_record(document, id));
    assert_eq!(records[1].0, records[0].0 + 1, "the version of {id}");
    assert_eq!(effect.effect, EffectKind::Edited);
    assert_eq!((effect.id.as_deref(), effect.version), (Some(id), Some(records[1].0)));
    assert_eq!(records[1].1, json!(event.at));
    for (field, value) in named {
        let after = entity(&mut documents[1], id).get(field).cloned();
        assert_eq!(after.unwrap_or_default(), *value, "{field} of {id}");
    }
    let mut fields: Vec<&str> = effect.fields.iter().map(String::as_str).collect();
    fields.sort_unstable();
    let mut different: Vec<&str> = Vec::new();
    for field in named.keys() {
        let values = documents.each_mut().map(|document| {
            entity(document, id).as_object_mut().unwrap().remove(field).unwrap_or_default()
        });
        if values[0] != values[1] {
            different.push(field);
        }
    }
    assert_eq!(fields, different, "the effect must name what has become different");
    assert_eq!(documents[0], documents[1], "nothing must change that was not named");
    Snapshot::clone(&commit.snapshot)
}

/// Takes an entity's version and time of change out of a document.
fn take_record(document: &mut Value, id: &str) -> (u64, Value) {
    let entity = entity(document, id).as_object_mut().unwrap();
    let version = entity.remove("version").unwrap().as_u64().unwrap();
    (version, entity.remove("updated_at").unwrap())
}

/// The fields that an entity has after a patch, of those that it names: for the members of a layer
/// or holdout, those there were with who joins and without who leaves.
fn led_to(before: &Map<String, Value>, patch: &Map<String, Value>) -> Map<String, Value> {
    let mut fields = patch.clone();
    let [members, join, leave] = ["members", "join", "leave"].map(|key| fields.remove(key));
    let names = |key: &str| patch.contains_key(key) || patch.contains_key("leave");
    let leaves =
        |id: &str| leave.iter().flat_map(|ids| ids.as_array().unwrap()).any(|own| own == id);
    if let Some(old) = before.get("members").filter(|_| names("members")) {
        let mut shares = map(old);
        shares.extend(members.iter().flat_map(map));
        shares.retain(|id, _| !leaves(id));
        fields.insert("members".to_owned(), json!(shares));
    }
    if let Some(old) = before.get("experiments").filter(|_| names("join")) {
        let ids = [Some(old), join.as_ref()].into_iter().flatten();
        let ids = ids.flat_map(|ids| ids.as_array().unwrap()).map(|id| id.as_str().unwrap());
        let ids: BTreeSet<&str> = ids.filter(|id| !leaves(id)).collect();
        fields.insert("experiments".to_owned(), json!(ids));
    }
    fields
}

fn map(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// Stages a day apart with these shares.
fn stages(shares: &[u8]) -> Value {
    let stage = |(day, share)| {
        let at = format!("2026-11-{day}T09:00:00.000Z");
        json!({"at": at, "traffic": share})
    };
    (21..).zip(shares).map(stage).collect()
}

/// Each field of an experiment, other values for it, and whether it changes in the states draft,
/// active, paused, completed and archived.
fn mutability() -> Vec<(Field, Vec<Value>, [bool; 5])> {
    let arms = json!([
        {"variation_id": "var_a", "weight": 10, "is_control": true},
        {"variation_id": "var_c", "weight": 90, "is_control": false}
    ]);
    let but_archived = [true, true, true, true, false];
    let while_it_lives = [true, true, true, false, false];
    let at_rest = [true, false, true, false, false];
    vec![
        (Field::Name, vec![json!("Other")], but_archived),
        (Field::Description, vec![json!("Other words"), json!(null)], but_archived),
        (Field::Tags, vec![json!(["winter"]), json!(["copy", "autumn"])], but_archived),
        (Field::Traffic, vec![json!(79), json!(12.5)], while_it_lives),
        (Field::Allocations, vec![arms], at_rest),
        (Field::OutsideVariationId, vec![json!("var_c"), json!(null)], at_rest),
        (Field::AudienceId, vec![json!("seg_ios"), json!(null)], at_rest),
        (Field::Keep, vec![json!("never"), json!("while_paused")], while_it_lives),
        (Field::StartsAt, vec![json!("2026-11-20T09:00:00.000Z"), json!(null)], while_it_lives),
        (Field::EndsAt, vec![json!("2026-11-21T09:00:00.001Z"), json!(null)], while_it_lives),
        (Field::Stages, vec![stages(&[7]), stages(&[0, 30, 100])], while_it_lives),
        (Field::Salt, vec![json!("thyme")], at_rest),
        (Field::Flow, vec![json!("all"), json!(null)], [true, false, false, false, false]),
        (Field::Levels, vec![json!([20, 80]), json!([80])], [true, false, false, false, false]),
        (Field::SubjectKind, vec![json!("session")], [true, false, false, false, false]),
        (Field::CanReshuffle, vec![json!(false)], [true, false, false, false, false]),
        (Field::FlagId, vec![json!("flg_b")], [false; 5]),
        (Field::Strategy, vec![json!("segment")], [false; 5]),
        (Field::Key, vec![json!("other")], [false; 5]),
        (Field::Maintainer, vec![json!("Bob"), json!(null)], but_archived),
        (Field::Chain, vec![json!("banner"), json!(""), json!(null)], at_rest),
        (Field::Annotations, vec![json!({"ticket": "EX-2"})], but_archived),
    ]
}

/// The fields that stand in the analysis; what patches do to them is told with it.
const OF_ANALYSIS: [Field; 5] =
    [Field::Hypothesis, Field::Metrics, Field::Attributes, Field::Analysis, Field::Goal];

/// The change that gives a field of an experiment this value; `None` where a patch has no such key.
fn give(id: &str, field: Field, value: &Value) -> Option<Change> {
    match field {
        Field::Salt => {
            let json = json!({"change": "reshuffle", "id": id, "salt": value});
            Some(Change::from_json(json.to_string()).unwrap())
        }
        Field::FlagId | Field::Strategy | Field::Key => None,
        _ => Some(patch("patch_experiment", id, &json!({field.as_str(): value}))),
    }
}

#[test]
fn each_field_changes_in_these_states_and_no_others() {
    let table = mutability();
    assert_eq!(table.len() + OF_ANALYSIS.len(), Field::ALL.len());
    let known = |field: &Field| table.iter().any(|(known, ..)| known == field);
    assert!(Field::ALL.iter().all(|field| known(field) != OF_ANALYSIS.contains(field)));
    for (field, values, allowed) in table {
        for (status, allowed) in Status::ALL.iter().zip(allowed) {
            assert_eq!(status.can_change(field), allowed, "{field} in {status}");
            assert_eq!(field.changes_in().contains(status), allowed, "{field} in {status}");
            assert!(!status.can_grow(field), "{field} in {status}");
            let snapshot = brought_to(&rich(), "exp_rich", *status);
            for value in &values {
                let Some(change) = give("exp_rich", field, value) else {
                    continue;
                };
                if allowed {
                    let named = map(&json!({field.as_str(): value}));
                    check_edit(&snapshot, change, "exp_rich", &named);
                    continue;
                }
                let error = refused(&snapshot, change);
                assert_eq!(error.code(), Code::NotMutable, "{field} in {status}: {error}");
                let path = match field {
                    Field::Salt => field.as_str().to_owned(),
                    _ => format!("patch.{field}"),
                };
                assert_eq!(error.path(), path, "{field} in {status}: {error}");
                assert!(error.rule().contains(status.as_str()), "{error} must name {status}");
                assert!(error.is_refused());
            }
        }
    }
}

#[test]
fn flag_and_strategy_have_no_key_in_a_patch() {
    for key in
        ["flag_id", "strategy", "salt", "status", "hash", "id", "version", "iteration", "key"]
    {
        let json = json!({"change": "patch_experiment", "id": "exp_rich", "patch": {key: "x"}});
        let error = Change::from_json(json.to_string()).unwrap_err();
        assert_eq!((error.code(), error.path()), (Code::UnknownKey, &*format!("patch.{key}")));
    }
}

#[test]
fn a_field_can_be_given_the_value_that_it_has_in_every_status() {
    for status in Status::ALL {
        for id in ["exp_rich", "exp_ramp"] {
            let snapshot = brought_to(&rich(), id, *status);
            let present = read(&snapshot, id);
            let mut all = Map::new();
            for field in Field::ALL.iter().filter(|field| !OF_ANALYSIS.contains(field)) {
                let Some(value) = present.get(field.as_str()) else {
                    assert_eq!(id, "exp_ramp", "{field}");
                    continue;
                };
                let Some(change) = give(id, *field, value) else {
                    continue;
                };
                no_change(&snapshot, change);
                if *field != Field::Salt {
                    all.insert(field.as_str().to_owned(), value.clone());
                }
            }
            assert_eq!(all.len(), if id == "exp_rich" { 18 } else { 9 }, "{all:?}");
            no_change(&snapshot, patch("patch_experiment", id, &json!(all)));
        }
        // And what is empty can be cleared.
        let snapshot = brought_to(&rich(), "exp_weights", *status);
        let nothing = json!({
            "description": null, "flow": null, "outside_variation_id": null, "audience_id": null,
            "starts_at": null, "ends_at": null, "maintainer": null, "chain": null,
            "annotations": {"ticket": null},
        });
        no_change(&snapshot, patch("patch_experiment", "exp_weights", &nothing));
    }
}

#[test]
fn what_is_frozen_may_be_named_beside_what_changes() {
    let snapshot = brought_to(&rich(), "exp_rich", Status::Active);
    let present = read(&snapshot, "exp_rich");
    let named = json!({
        "name": "Other", "traffic": 10, "flow": present["flow"],
        "allocations": present["allocations"], "subject_kind": "user",
        "outside_variation_id": "var_d"
    });
    check_edit(&snapshot, patch("patch_experiment", "exp_rich", &named), "exp_rich", &map(&named));
    // One that would change takes the rest down with it.
    let mixed = json!({"name": "Other", "traffic": 10, "flow": "all"});
    let error = refused(&snapshot, patch("patch_experiment", "exp_rich", &mixed));
    assert_eq!((error.code(), error.path()), (Code::NotMutable, "patch.flow"));
}

#[test]
fn archived_flags_and_segments_no_longer_change() {
    let snapshot = ok(
        &rich(),
        [
            Change::set_flag_status(&p("flg_a"), FlagStatus::Archived),
            Change::set_segment_status(&p("seg_ios"), SegmentStatus::Archived),
        ],
    );
    for (kind, id, fields) in patchable() {
        if !matches!(kind, "patch_flag" | "patch_variation" | "patch_segment") {
            continue;
        }
        let present = read(&snapshot, id);
        for field in fields {
            let error = refused(&snapshot, patch(kind, id, &json!({field.name: field.other})));
            let path = format!("patch.{}", field.name);
            assert_eq!((error.code(), error.path()), (Code::NotMutable, &*path), "{id}");
            // What is left out is on.
            let same = present.get(field.name).cloned().unwrap_or(json!(true));
            no_change(&snapshot, patch(kind, id, &json!({field.name: same})));
        }
    }
    let variation = NewVariation::new("one more");
    let error = refused(&snapshot, Change::create_variation(&p("flg_a"), variation));
    assert_eq!((error.code(), error.path()), (Code::NotMutable, "flag_id"));
    // `var_c` is named by `exp_segments`, so archive that first: the flag alone is in the way.
    let alone = ok(&snapshot, Change::set_experiment_status(&p("exp_segments"), Status::Archived));
    let error = refused(&alone, Change::delete_variation(&p("var_c")));
    assert_eq!((error.code(), error.path()), (Code::NotMutable, "id"));
}

/// A field of a patch.
struct Patchable {
    name: &'static str,
    /// Whether `null` clears it.
    clears: bool,
    other: Value,
}

/// Every kind of patch with an entity to patch and all its fields.
fn patchable() -> Vec<(&'static str, &'static str, Vec<Patchable>)> {
    let set = |name, other| Patchable { name, clears: false, other };
    let clear = |name, other| Patchable { name, clears: true, other };
    let arms = json!([{"variation_id": "var_c", "weight": 100, "is_control": true}]);
    vec![
        (
            "patch_flag",
            "flg_a",
            vec![
                set("name", json!("Another name")),
                set(
                    "parameters",
                    json!({
                        "headline": {"type": "string", "value": "Good morning", "description": "d"},
                        "size": {"type": "number", "value": 12},
                        "bold": {"type": "boolean", "value": false}
                    }),
                ),
                clear("description", json!("Another description")),
                set("on", json!(false)),
                clear("off_variation_id", json!("var_c")),
            ],
        ),
        (
            "patch_variation",
            "var_b",
            vec![
                set("name", json!("Another name")),
                set("overrides", json!({"size": 20})),
                clear("description", json!("Another description")),
            ],
        ),
        (
            "patch_segment",
            "seg_ios",
            vec![
                set("name", json!("Another name")),
                set("rules", json!([{"match": {"platform": {"exists": true}}}])),
                clear("description", json!("Another description")),
            ],
        ),
        (
            "patch_experiment",
            "exp_rich",
            vec![
                set("name", json!("Another name")),
                set("tags", json!([])),
                set("subject_kind", json!("session")),
                set("allocations", arms),
                set("traffic", json!(33.333)),
                set("levels", json!([0, 33.333])),
                clear("description", json!("Another description")),
                clear("flow", json!("all")),
                clear("outside_variation_id", json!("var_c")),
                clear("audience_id", json!("seg_ios")),
                set("keep", json!("never")),
                clear("starts_at", json!("2026-11-22T09:00:00.000Z")),
                clear("ends_at", json!("2026-12-22T09:00:00.000Z")),
                clear("maintainer", json!("Bob")),
                clear("chain", json!("")),
            ],
        ),
        ("patch_experiment", "exp_staged", vec![set("stages", stages(&[5, 6]))]),
        (
            "patch_layer",
            "lay_a",
            vec![
                set("name", json!("Another name")),
                set("members", json!({"exp_segments": 60.5, "exp_staged": 0})),
                set("leave", json!(["exp_weights"])),
                clear("description", json!("Another description")),
            ],
        ),
        (
            "patch_holdout",
            "hld_a",
            vec![
                set("name", json!("Another name")),
                set("share", json!(0.000_001)),
                set("join", json!(["exp_segments", "exp_weights"])),
                set("leave", json!(["exp_ramp", "exp_staged"])),
                clear("description", json!("Another description")),
            ],
        ),
    ]
}

/// The JSON type of a value.
fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[test]
fn each_field_is_kept_cleared_or_set() {
    for (kind, id, fields) in patchable() {
        let snapshot = rich();
        let present = read(&snapshot, id);
        for Patchable { name, clears, other } in fields {
            let parse = |value: &Value| {
                let json = json!({"change": kind, "id": id, "patch": {name: value}});
                Change::from_json(json.to_string())
            };
            let path = format!("patch.{name}");
            // Absent.
            no_change(&snapshot, patch(kind, id, &json!({})));
            // Null.
            if clears {
                let cleared = json!({name: null});
                let after = check_edit(&snapshot, parse(&json!(null)).unwrap(), id, &map(&cleared));
                assert!(!read(&after, id).contains_key(name), "{name} of {id} must be gone");
                no_change(&after, parse(&json!(null)).unwrap());
                check_edit(&after, parse(&other).unwrap(), id, &map(&json!({name: other})));
            } else {
                let error = parse(&json!(null)).unwrap_err();
                assert_eq!((error.code(), error.path()), (Code::NotNullable, &*path));
                assert!(error.is_invalid());
            }
            // The same.
            let same = match name {
                "join" => json!(["exp_staged"]),
                "leave" => json!(["exp_ramp", "exp_rich"]),
                // What is left out.
                "on" => json!(true),
                _ => present[name].clone(),
            };
            no_change(&snapshot, parse(&same).unwrap());
            // Another.
            let wanted = led_to(&present, &map(&json!({name: other})));
            let after = check_edit(&snapshot, parse(&other).unwrap(), id, &wanted);
            no_change(&after, parse(&other).unwrap());
            // Of the wrong type, or with an item of the wrong type.
            for wrong in [json!(true), json!(7), json!(1.5), json!("x"), json!([]), json!({})] {
                if json_type(&wrong) == json_type(&other) {
                    continue;
                }
                let error = parse(&wrong).unwrap_err();
                assert_eq!((error.code(), error.path()), (Code::WrongType, &*path), "{wrong}");
                assert_eq!(error.value(), Some(&*wrong.to_string()));
            }
            if other.is_array() {
                let error = parse(&json!([null])).unwrap_err();
                let item = format!("{path}[0]");
                assert_eq!((error.code(), error.path()), (Code::WrongType, &*item));
            }
        }
    }
}

#[test]
fn the_settings_are_kept_or_set() {
    let parse = |patch: &Value| {
        Change::from_json(json!({"change": "patch_settings", "patch": patch}).to_string())
    };
    let snapshot = rich();
    no_change(&snapshot, parse(&json!({})).unwrap());
    no_change(&snapshot, parse(&json!({"active_limit": "unlimited"})).unwrap());
    let error = parse(&json!({"active_limit": null})).unwrap_err();
    assert_eq!((error.code(), error.path()), (Code::NotNullable, "patch.active_limit"));
    for wrong in [json!(true), json!(1), json!([]), json!({})] {
        let error = parse(&json!({"active_limit": wrong})).unwrap_err();
        assert_eq!((error.code(), error.path()), (Code::WrongType, "patch.active_limit"));
    }
    for limit in ["one", "per_flow"] {
        let change = parse(&json!({"active_limit": limit})).unwrap();
        let commit = apply(&snapshot, change.clone()).unwrap();
        assert_eq!(commit.event.as_ref().unwrap().effects[0].fields, ["active_limit"]);
        let mut after = document(&commit.snapshot);
        assert_eq!(
            after.as_object_mut().unwrap().remove("settings").unwrap()["active_limit"],
            limit
        );
        assert_eq!(after, document(&snapshot), "nothing must change but the settings");
        no_change(&commit.snapshot, change);
    }
}

#[test]
fn an_empty_patch_is_the_identity_in_every_status() {
    for status in Status::ALL {
        let snapshot = brought_to(&rich(), "exp_rich", *status);
        let version = snapshot.experiment("exp_rich").unwrap().version();
        let nothing = patch("patch_experiment", "exp_rich", &json!({}));
        no_change(&snapshot, nothing.clone());
        no_change(&snapshot, nothing.clone().if_version(version));
        no_change(&snapshot, vec![nothing.clone(), nothing.clone()]);
        no_change(&snapshot, Transaction::from(nothing).comment("nothing at all"));
    }
    let archived = ok(
        &rich(),
        [
            Change::set_flag_status(&p("flg_a"), FlagStatus::Archived),
            Change::set_segment_status(&p("seg_ios"), SegmentStatus::Archived),
        ],
    );
    for snapshot in [rich(), archived] {
        for (kind, id, _) in patchable() {
            no_change(&snapshot, patch(kind, id, &json!({})));
        }
        no_change(&snapshot, Transaction::default());
    }
}

/// A field and values for it.
type Free = (&'static str, BoxedStrategy<Value>);

/// Values for the fields of a layer and of a holdout.
fn free_fields_of_groups() -> [Vec<Free>; 2] {
    let text = || prop::sample::select(vec![json!("one text"), json!("another text")]);
    let nullable = || prop_oneof![Just(json!(null)), text()];
    // In any order there is room for those who join, and nobody is named twice.
    let members =
        [json!({}), json!({"exp_weights": 31}), json!({"exp_ramp": 10, "exp_segments": 55})];
    let leave = [json!([]), json!(["exp_staged"]), json!(["exp_rich", "exp_staged"])];
    let layer = vec![
        ("name", text().boxed()),
        ("description", nullable().boxed()),
        ("members", prop::sample::select(members.to_vec()).boxed()),
        ("leave", prop::sample::select(leave.to_vec()).boxed()),
    ];
    let join = [json!([]), json!(["exp_ramp", "exp_segments", "exp_weights"])];
    let holdout = vec![
        ("name", text().boxed()),
        ("description", nullable().boxed()),
        ("share", (0..=100_u8).prop_map(|share| json!(share)).boxed()),
        ("join", prop::sample::select(join.to_vec()).boxed()),
        ("leave", prop::sample::select(leave.to_vec()).boxed()),
    ];
    [layer, holdout]
}

/// Values for the fields of one entity that can be combined freely.
fn free_fields() -> impl Strategy<Value = (&'static str, &'static str, Map<String, Value>)> {
    let text = || prop::sample::select(vec![json!("one text"), json!("another text")]);
    let nullable = || prop_oneof![Just(json!(null)), text()];
    let arms = |weights: [u8; 2]| {
        json!([
            {"variation_id": "var_a", "weight": weights[0], "is_control": true},
            {"variation_id": "var_c", "weight": weights[1], "is_control": false}
        ])
    };
    let rules = |country: &str| json!([{"match": {"country": [country]}}]);
    let moment = |day: &str| json!(format!("{day}T12:00:00.000Z"));
    let experiment = vec![
        ("name", text().boxed()),
        ("description", nullable().boxed()),
        ("tags", prop_oneof![Just(json!([])), Just(json!(["x", "y"]))].boxed()),
        ("flow", nullable().boxed()),
        ("subject_kind", prop_oneof![Just(json!("user")), Just(json!("session"))].boxed()),
        ("allocations", prop_oneof![Just(arms([1, 99])), Just(arms([50, 50]))].boxed()),
        ("traffic", (0..=100_u8).prop_map(|share| json!(share)).boxed()),
        ("outside_variation_id", prop_oneof![Just(json!(null)), Just(json!("var_b"))].boxed()),
        ("audience_id", prop_oneof![Just(json!(null)), Just(json!("seg_ios"))].boxed()),
        ("keep", prop_oneof![Just(json!("never")), Just(json!("while_paused"))].boxed()),
        ("starts_at", prop_oneof![Just(json!(null)), Just(moment("2026-11-20"))].boxed()),
        ("ends_at", prop_oneof![Just(json!(null)), Just(moment("2026-12-24"))].boxed()),
        ("stages", prop_oneof![Just(json!([])), Just(stages(&[1, 2]))].boxed()),
        ("maintainer", nullable().boxed()),
        ("chain", nullable().boxed()),
    ];
    // Levels, which leave the traffic to the ramp.
    let bare = json!([
        {"variation_id": "var_b", "is_control": false},
        {"variation_id": "var_a", "is_control": true}
    ]);
    let levels = [json!([]), json!([10]), json!([0, 0.5, 100])];
    let ramp = vec![
        ("name", text().boxed()),
        ("description", nullable().boxed()),
        ("allocations", prop_oneof![Just(arms([50, 50])), Just(bare)].boxed()),
        ("levels", prop::sample::select(levels.to_vec()).boxed()),
        ("outside_variation_id", prop_oneof![Just(json!(null)), Just(json!("var_b"))].boxed()),
    ];
    let flag = vec![
        ("name", text().boxed()),
        ("description", nullable().boxed()),
        (
            "parameters",
            text()
                .prop_map(|text| {
                    json!({
                        "headline": {"type": "string", "value": text},
                        "size": {"type": "number", "value": 7}
                    })
                })
                .boxed(),
        ),
        ("on", Just(json!(false)).boxed()),
        ("off_variation_id", prop_oneof![Just(json!(null)), Just(json!("var_b"))].boxed()),
    ];
    let variation = vec![
        ("name", text().boxed()),
        ("description", nullable().boxed()),
        ("overrides", prop_oneof![Just(json!({})), Just(json!({"size": 3}))].boxed()),
    ];
    let segment = vec![
        ("name", text().boxed()),
        ("description", nullable().boxed()),
        ("rules", prop_oneof![Just(rules("FR")), Just(rules("IT"))].boxed()),
    ];
    let [layer, holdout] = free_fields_of_groups();
    let entities = vec![
        ("patch_layer", "lay_a", layer),
        ("patch_holdout", "hld_a", holdout),
        ("patch_experiment", "exp_rich", experiment),
        ("patch_experiment", "exp_ramp", ramp),
        ("patch_flag", "flg_a", flag),
        ("patch_variation", "var_b", variation),
        ("patch_segment", "seg_ios", segment),
    ];
    let one = |(kind, id, fields): (&'static str, &'static str, Vec<Free>)| {
        let fields: Vec<_> = fields
            .into_iter()
            .map(|(name, value)| prop::option::of(value).prop_map(move |value| (name, value)))
            .collect();
        fields.prop_map(move |fields| {
            let named =
                fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
            (kind, id, named.collect())
        })
    };
    proptest::strategy::Union::new(entities.into_iter().map(|entity| one(entity).boxed()))
}

/// The entity without what counts and dates its edits.
#[track_caller]
fn content(snapshot: &Snapshot, id: &str) -> Map<String, Value> {
    let mut entity = read(snapshot, id);
    entity.remove("version").unwrap();
    entity.remove("updated_at").unwrap();
    entity
}

proptest! {
    /// Two patches of different fields lead to the same entity in either order, and so does one
    /// patch of all of them; each changes what it names and nothing else.
    #[test]
    fn disjoint_patches_commute((kind, id, named) in free_fields(), split in any::<u16>()) {
        let start = rich();
        let mut halves = [Map::new(), Map::new()];
        for (index, (name, value)) in named.iter().enumerate() {
            halves[usize::from(split >> index & 1)].insert(name.clone(), value.clone());
        }
        let steps = halves.each_ref().map(|half| patch(kind, id, &json!(half)));
        let mut wanted = content(&start, id);
        let fields = led_to(&wanted, &named);
        wanted.extend(fields.clone());
        wanted.retain(|_, value| !value.is_null());
        let version = |snapshot: &Snapshot| read(snapshot, id)["version"].as_u64().unwrap();
        for order in [[0, 1], [1, 0]] {
            let mut snapshot = start.clone();
            for half in order {
                let before = content(&snapshot, id);
                let edits = led_to(&before, &halves[half]).iter().any(|(name, value)| {
                    before.get(name).unwrap_or(&Value::Null) != value
                });
                let next = ok(&snapshot, steps[half].clone());
                prop_assert_eq!(version(&next), version(&snapshot) + u64::from(edits));
                snapshot = next;
            }
            prop_assert_eq!(&content(&snapshot, id), &wanted);
            // As one transaction.
            let both = ok(&start, order.map(|half| steps[half].clone()));
            prop_assert_eq!(&content(&both, id), &wanted);
        }
        let at_once = ok(&start, patch(kind, id, &json!(named)));
        prop_assert_eq!(&content(&at_once, id), &wanted);
        if !named.is_empty() && content(&start, id) != wanted {
            check_edit(&start, patch(kind, id, &json!(named)), id, &fields);
        }
    }
}

/// Every change that can name a version, each of which would succeed on `rich()` once its ramp runs.
fn versioned() -> Vec<(Change, &'static str)> {
    vec![
        (patch("patch_flag", "flg_a", &json!({"name": "Other"})), "flg_a"),
        (patch("patch_variation", "var_b", &json!({"name": "Other"})), "var_b"),
        (patch("patch_segment", "seg_ios", &json!({"name": "Other"})), "seg_ios"),
        (patch("patch_experiment", "exp_rich", &json!({"name": "Other"})), "exp_rich"),
        (patch("patch_layer", "lay_a", &json!({"name": "Other"})), "lay_a"),
        (patch("patch_holdout", "hld_a", &json!({"name": "Other"})), "hld_a"),
        (Change::set_flag_status(&p("flg_a"), FlagStatus::Archived), "flg_a"),
        (Change::set_segment_status(&p("seg_ios"), SegmentStatus::Archived), "seg_ios"),
        (Change::set_experiment_status(&p("exp_rich"), Status::Active), "exp_rich"),
        (Change::resume_refreshed(&p("exp_rich")), "exp_rich"),
        (Change::advance_ramp(&p("exp_ramp"), p("50")), "exp_ramp"),
        (Change::reshuffle(&p("exp_rich")), "exp_rich"),
        (Change::delete_flag(&p("flg_b")), "flg_b"),
        (Change::delete_variation(&p("var_x")), "var_x"),
        (Change::delete_segment(&p("seg_b")), "seg_b"),
        (Change::delete_experiment(&p("exp_rich")), "exp_rich"),
        (Change::delete_layer(&p("lay_b")), "lay_b"),
        (Change::delete_holdout(&p("hld_b")), "hld_b"),
        (Change::end_holdout(&p("hld_a")), "hld_a"),
    ]
}

#[test]
fn a_version_that_has_moved_on_is_a_conflict_that_shows_both() {
    let flag = NewFlag::new("Unused")
        .id(p("flg_b"))
        .parameter("color", "red")
        .variation(NewVariation::new("control").id(p("var_x")));
    let rule = Rule::new().when("country", Expression::one_of(["FR"]));
    let segment = NewSegment::new("France").id(p("seg_b")).rule(rule);
    // Every version is brought beyond 1, so that no default can stand for it.
    let touch = [
        ("patch_flag", "flg_b"),
        ("patch_segment", "seg_b"),
        ("patch_segment", "seg_ios"),
        ("patch_layer", "lay_a"),
        ("patch_layer", "lay_b"),
        ("patch_holdout", "hld_a"),
        ("patch_holdout", "hld_b"),
    ];
    let touch = touch.map(|(kind, id)| patch(kind, id, &json!({"description": "touched"})));
    let layer = NewLayer::new("Unused", "device").id(p("lay_b"));
    let holdout = NewHoldout::new("Unused", "device", p("1")).id(p("hld_b"));
    let mut changes = vec![flag.into(), segment.into(), layer.into(), holdout.into()];
    changes.extend(touch);
    changes.push(patch("patch_variation", "var_x", &json!({"description": "touched"})));
    changes.push(patch("patch_experiment", "exp_rich", &json!({"tags": []})));
    changes.push(Change::set_experiment_status(&p("exp_ramp"), Status::Active));
    let snapshot = ok(&rich(), changes);
    for (change, id) in versioned() {
        let version = read(&snapshot, id)["version"].as_u64().unwrap();
        assert!(version > 1, "{id}");
        for stale in [0, 1, version - 1, version + 1, u64::MAX] {
            let error = refused(&snapshot, change.clone().if_version(stale));
            assert_eq!(error.code(), Code::VersionConflict, "{change:?}: {error}");
            assert_eq!(error.path(), "if_version");
            assert_eq!(error.value(), Some(&*stale.to_string()));
            assert!(error.is_conflict());
            let text = error.to_string();
            assert!(text.contains(&stale.to_string()), "{text} must show {stale}");
            assert!(text.contains(&version.to_string()), "{text} must show {version}");
        }
        let wanted = change.clone().if_version(version);
        let json = serde_json::to_value(&wanted).unwrap();
        assert_eq!(json["if_version"], version, "{json}");
        assert_eq!(Change::from_json(json.to_string()).unwrap(), wanted);
        ok(&snapshot, wanted.clone());
        // Of two writers who read the same version, the second is told; deleted is deleted.
        let after = ok(&snapshot, wanted.clone());
        let code = refused(&after, wanted.clone()).code();
        let gone = json["change"].as_str().unwrap().starts_with("delete_");
        assert_eq!(code, if gone { Code::NotFound } else { Code::VersionConflict });
        // Even if the change would make no difference.
        if json["change"].as_str().unwrap().starts_with("patch_") {
            let error = refused(&after, patch_nothing(&wanted));
            assert_eq!(error.code(), Code::VersionConflict);
        }
    }
}

/// The same patch of the same version, naming nothing.
fn patch_nothing(change: &Change) -> Change {
    let mut json = serde_json::to_value(change).unwrap();
    json["patch"] = json!({});
    Change::from_json(json.to_string()).unwrap()
}

#[test]
fn changes_that_make_no_entity_different_have_no_version() {
    let create =
        NewSegment::new("France").rule(Rule::new().when("country", Expression::one_of(["FR"])));
    let create = Change::from(create);
    assert_eq!(create.clone().if_version(7), create);
}

/// A change of the world that succeeds whatever others of these have been made before.
fn good(kind: u8, number: usize) -> Change {
    let rule = Rule::new().when("country", Expression::one_of(["FR"]));
    match kind {
        0 => patch("patch_experiment", "exp_rich", &json!({"name": format!("name {number}")})),
        1 => patch("patch_experiment", "exp_rich", &json!({"traffic": number})),
        2 => NewSegment::new(format!("segment {number}")).rule(rule).into(),
        3 => NewExperiment::by_percentage(format!("experiment {number}"), p("flg_a")).into(),
        4 => patch("patch_flag", "flg_a", &json!({"description": format!("text {number}")})),
        5 => Change::create_variation(&p("flg_a"), NewVariation::new(format!("new {number}"))),
        6 => Change::reshuffle(&p("exp_rich")),
        _ => patch("patch_variation", "var_b", &json!({"overrides": {"size": number}})),
    }
}

/// Changes of the world that are refused, and why.
fn bad() -> Vec<(Change, Code)> {
    let weights = json!({"allocations": [{"variation_id": "var_x", "weight": 100}]});
    vec![
        (Change::delete_experiment(&p("exp_x")), Code::NotFound),
        (Change::set_experiment_status(&p("exp_rich"), Status::Paused), Code::TransitionNotAllowed),
        (NewExperiment::by_percentage("Weights", p("flg_a")).into(), Code::NameTaken),
        (
            NewExperiment::by_percentage("New", p("flg_a")).id(p("exp_rich")).into(),
            Code::AlreadyExists,
        ),
        (patch("patch_experiment", "exp_weights", &json!({"name": ""})), Code::InvalidValue),
        (patch("patch_experiment", "exp_weights", &weights), Code::UnknownReference),
        (patch("patch_flag", "flg_a", &json!({"parameters": {}})), Code::LimitExceeded),
        (Change::delete_segment(&p("seg_ios")), Code::InUse),
        (Change::delete_flag(&p("flg_a")).if_version(u64::MAX), Code::VersionConflict),
        (Change::set_flag_status(&p("flg_a"), FlagStatus::Draft), Code::TransitionNotAllowed),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// One bad change among good ones undoes them all, is told by its index, and nobody hears of
    /// anything.
    #[test]
    fn a_transaction_fails_whole(
        kinds in prop::collection::vec(0..8_u8, 0..8),
        at in any::<prop::sample::Index>(),
        wrong in prop::sample::select(bad()),
    ) {
        let start = rich();
        let mut changes: Vec<Change> =
            kinds.iter().enumerate().map(|(number, kind)| good(*kind, number)).collect();
        // The good ones alone are good.
        let all = apply(&start, changes.clone()).unwrap();
        prop_assert_eq!(all.event.is_some(), !changes.is_empty());
        let position = at.index(changes.len() + 1);
        changes.insert(position, wrong.0);
        let several = changes.len() > 1;
        let error = refused(&start, changes);
        prop_assert_eq!(error.code(), wrong.1);
        prop_assert_eq!(error.change(), several.then_some(position));
        if several {
            let prefix = format!("changes[{position}]: ");
            prop_assert!(error.to_string().starts_with(&prefix), "{}", error);
        }
    }
}

#[test]
fn each_change_of_a_transaction_sees_those_before_it() {
    let flag = NewFlag::new("Checkout")
        .id(p("flg_b"))
        .parameter("color", "red")
        .variation(NewVariation::new("control").id(p("var_x")));
    let experiment = NewExperiment::by_percentage("Colors", p("flg_b"))
        .id(p("exp_tint"))
        .allocation(share("var_x", "50").control())
        .allocation(share("var_y", "50"));
    let blue = NewVariation::new("blue").id(p("var_y")).with("color", "blue");
    let all = vec![
        flag.into(),
        Change::create_variation(&p("flg_b"), blue),
        Change::set_flag_status(&p("flg_b"), FlagStatus::Active).if_version(2),
        experiment.into(),
        Change::set_experiment_status(&p("exp_tint"), Status::Active).if_version(1),
        patch("patch_experiment", "exp_tint", &json!({"traffic": 50})).if_version(2),
        Change::set_experiment_status(&p("exp_tint"), Status::Paused).if_version(3),
    ];
    let commit = apply(&rich(), all.clone()).unwrap();
    let made = commit.snapshot.experiment("exp_tint").unwrap();
    assert_eq!((made.status(), made.version()), (Status::Paused, 4));
    assert_eq!(commit.snapshot.sequence(), rich().sequence() + 1, "one transaction, one number");
    assert_eq!(commit.event.unwrap().effects.len(), all.len());
    // In another order the first that looks ahead is refused.
    let mut reversed = all;
    reversed.swap(3, 4);
    let error = refused(&rich(), reversed);
    assert_eq!((error.code(), error.change()), (Code::NotFound, Some(3)));
    // What was deleted is gone, and its name and id are free.
    let again = NewExperiment::by_percentage("Rich", p("flg_a")).id(p("exp_rich"));
    let after = ok(&rich(), vec![Change::delete_experiment(&p("exp_rich")), again.into()]);
    assert_eq!(after.experiment("exp_rich").unwrap().version(), 1);
    let empty = patch("patch_layer", "lay_a", &json!({"leave": ["exp_staged", "exp_weights"]}));
    let again = NewLayer::new("Sign-in", "user").id(p("lay_a"));
    let after = ok(&rich(), vec![empty, Change::delete_layer(&p("lay_a")), again.into()]);
    assert_eq!(after.layer("lay_a").unwrap().version(), 1);
    assert_eq!(after.layer_of("exp_weights"), None);
    let empty = patch("patch_holdout", "hld_a", &json!({"leave": ["exp_segments", "exp_staged"]}));
    let again = NewHoldout::new("Winter", "user", p("9")).id(p("hld_a"));
    let after = ok(&rich(), vec![empty, Change::delete_holdout(&p("hld_a")), again.into()]);
    assert_eq!(after.holdout("hld_a").unwrap().version(), 1);
    assert_eq!(after.holdouts_of("exp_segments").count(), 0);
    // Two edits of one entity are two versions.
    let before = rich().experiment("exp_rich").unwrap().version();
    let twice = ["One", "Two and a half"]
        .map(|name| patch("patch_experiment", "exp_rich", &json!({"description": name})));
    assert_eq!(ok(&rich(), twice).experiment("exp_rich").unwrap().version(), before + 2);
}

/// A second one of each kind of entity, named `Twin`.
fn twins() -> Snapshot {
    let rule = Rule::new().when("country", Expression::one_of(["FR"]));
    ok(
        &rich(),
        vec![
            NewFlag::new("Twin")
                .id(p("flg_t"))
                .parameter("color", "red")
                .variation(NewVariation::new("Twin").id(p("var_t")))
                .into(),
            NewSegment::new("Twin").id(p("seg_t")).rule(rule).into(),
            NewExperiment::by_percentage("Twin", p("flg_a")).id(p("exp_t")).into(),
            NewLayer::new("Twin", "device").id(p("lay_t")).into(),
            NewHoldout::new("Twin", "device", p("1")).id(p("hld_t")).into(),
            Change::create_variation(&p("flg_a"), NewVariation::new("Twin").id(p("var_u"))),
        ],
    )
}

/// Creates an entity of this name, with this id if there is one.
fn create(kind: &str, name: &str, id: Option<&str>) -> Change {
    let mut json = match kind {
        "flag" => {
            json!({"change": "create_flag", "parameters": {"x": {"type": "number", "value": 1}}})
        }
        "segment" => {
            json!({"change": "create_segment", "rules": [{"match": {"x": {"exists": true}}}]})
        }
        "variation" => json!({"change": "create_variation", "flag_id": "flg_a", "variation": {}}),
        "layer" => json!({"change": "create_layer"}),
        "holdout" => json!({"change": "create_holdout", "share": 7.5}),
        _ => json!({"change": "create_experiment", "flag_id": "flg_a", "strategy": "segment"}),
    };
    let own = if kind == "variation" { &mut json["variation"] } else { &mut json };
    own["name"] = json!(name);
    if let Some(id) = id {
        own["id"] = json!(id);
    }
    Change::from_json(json.to_string()).unwrap()
}

/// Each kind of entity: one named `Twin`, one named otherwise, and the kind of its patch.
const KINDS: [(&str, &str, &str, &str); 6] = [
    ("flag", "flg_t", "flg_a", "patch_flag"),
    ("segment", "seg_t", "seg_ios", "patch_segment"),
    ("experiment", "exp_t", "exp_staged", "patch_experiment"),
    ("layer", "lay_t", "lay_a", "patch_layer"),
    ("holdout", "hld_t", "hld_a", "patch_holdout"),
    ("variation", "var_u", "var_b", "patch_variation"),
];

#[track_caller]
fn check_taken(snapshot: &Snapshot, change: Change, path: &str, owner: &str) {
    let error = refused(snapshot, change);
    assert_eq!((error.code(), error.path()), (Code::NameTaken, path), "{error}");
    assert_eq!(error.value(), Some("\"Twin\""));
    assert!(error.to_string().contains(owner), "{error} must name {owner}");
    assert!(error.is_conflict());
}

#[test]
fn a_name_is_taken_once_in_each_kind() {
    let snapshot = twins();
    for (kind, twin, other, patch_kind) in KINDS {
        let path = if kind == "variation" { "variation.name" } else { "name" };
        check_taken(&snapshot, create(kind, "Twin", None), path, twin);
        let rename = patch(patch_kind, other, &json!({"name": "Twin"}));
        check_taken(&snapshot, rename, "patch.name", twin);
        // Nearly the same is another.
        for name in ["twin", "TWIN", "Twins", "Tw\u{131}n", "Twin\u{301}", "Tẃin", "Tw\u{301}in"]
        {
            let after = ok(&snapshot, create(kind, name, None));
            ok(&after, patch(patch_kind, other, &json!({"name": format!("{name} 2")})));
        }
        // Its own name is no other's.
        no_change(&snapshot, patch(patch_kind, twin, &json!({"name": "Twin"})));
        // A rename frees the old name, within a transaction too.
        let rename = patch(patch_kind, twin, &json!({"name": "Other"}));
        let renamed = ok(&snapshot, rename.clone());
        ok(&renamed, create(kind, "Twin", None));
        let swap = vec![
            rename,
            patch(patch_kind, other, &json!({"name": "Twin"})),
            create(kind, read(&snapshot, other)["name"].as_str().unwrap(), None),
        ];
        let swapped = ok(&snapshot, swap);
        check_taken(&swapped, create(kind, "Twin", None), path, other);
        // Among its documents too.
        assert!(Snapshot::from_json(swapped.to_json()).unwrap() == swapped);
    }
}

#[test]
fn variations_of_two_flags_can_share_a_name() {
    let snapshot = twins();
    assert_eq!(snapshot.variation("var_t").unwrap().name(), "Twin");
    assert_eq!(snapshot.variation("var_u").unwrap().name(), "Twin");
    let pair = NewFlag::new("Pair")
        .parameter("x", 1)
        .variation(NewVariation::new("control"))
        .variation(NewVariation::new("control"));
    let error = refused(&snapshot, pair);
    assert_eq!((error.code(), error.path()), (Code::NameTaken, "variations[1].name"));
}

#[test]
fn what_is_archived_keeps_its_name_and_what_is_deleted_frees_it() {
    let snapshot = twins();
    let archived = ok(
        &snapshot,
        [
            Change::set_flag_status(&p("flg_t"), FlagStatus::Archived),
            Change::set_segment_status(&p("seg_t"), SegmentStatus::Archived),
            Change::set_experiment_status(&p("exp_t"), Status::Archived),
        ],
    );
    let deletions = [
        Change::delete_flag(&p("flg_t")),
        Change::delete_segment(&p("seg_t")),
        Change::delete_experiment(&p("exp_t")),
        Change::delete_layer(&p("lay_t")),
        Change::delete_holdout(&p("hld_t")),
        Change::delete_variation(&p("var_u")),
    ];
    for ((kind, twin, other, patch_kind), delete) in KINDS.into_iter().zip(deletions) {
        if kind != "variation" {
            check_taken(&archived, create(kind, "Twin", None), "name", twin);
            let rename = patch(patch_kind, other, &json!({"name": "Twin"}));
            check_taken(&archived, rename, "patch.name", twin);
        }
        for before in [&snapshot, &archived] {
            let deleted = ok(before, delete.clone());
            ok(&deleted, create(kind, "Twin", Some(twin)));
            ok(&deleted, patch(patch_kind, other, &json!({"name": "Twin"})));
        }
    }
}

#[test]
fn an_id_is_taken_once() {
    let snapshot = twins();
    for (kind, twin, ..) in KINDS {
        let error = refused(&snapshot, create(kind, "Third", Some(twin)));
        let path = if kind == "variation" { "variation.id" } else { "id" };
        assert_eq!((error.code(), error.path()), (Code::AlreadyExists, path), "{error}");
        assert_eq!(error.value(), Some(&*format!("\"{twin}\"")));
        assert!(error.is_conflict());
    }
    // A variation's id is its own among those of all flags, and of the flag that it comes with.
    let foreign = create("variation", "Third", Some("var_t"));
    assert_eq!(refused(&snapshot, foreign).code(), Code::AlreadyExists);
    let flag = |ids: [&str; 2]| {
        ids.into_iter().enumerate().fold(NewFlag::new("Pair").parameter("x", 1), |flag, (n, id)| {
            flag.variation(NewVariation::new(format!("number {n}")).id(p(id)))
        })
    };
    for (ids, path) in [
        (["var_x", "var_x"], "variations[1].id"),
        (["var_x", "var_a"], "variations[1].id"),
        (["var_t", "var_x"], "variations[0].id"),
    ] {
        let error = refused(&snapshot, flag(ids));
        assert_eq!((error.code(), error.path()), (Code::AlreadyExists, path));
    }
    ok(&snapshot, flag(["var_x", "var_y"]));
}
