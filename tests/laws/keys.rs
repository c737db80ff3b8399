//! Keys: who has one is found by it, nobody else of the kind has it, and it lets a name be shared.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

use std::collections::BTreeMap;

use crate::common::{apply, ok, p, world};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use variate::{
    Change, Code, Error, ExperimentPatch, FlagPatch, HoldoutPatch, LayerPatch, NewExperiment,
    NewFlag, NewHoldout, NewLayer, Snapshot,
};

const KINDS: [&str; 4] = ["experiment", "flag", "layer", "holdout"];

/// What creates an entity of a kind, with this id, name and key.
fn create(kind: &str, id: &str, name: &str, key: Option<&str>) -> Change {
    let key = key.map(ToOwned::to_owned);
    match kind {
        "experiment" => {
            let new = NewExperiment::by_percentage(name, p("flg_a")).id(p(&format!("exp_{id}")));
            key.into_iter().fold(new, NewExperiment::key).into()
        }
        "flag" => {
            let new = NewFlag::new(name).id(p(&format!("flg_{id}"))).parameter("x", 1);
            key.into_iter().fold(new, NewFlag::key).into()
        }
        "layer" => {
            let new = NewLayer::new(name, "device").id(p(&format!("lay_{id}")));
            key.into_iter().fold(new, NewLayer::key).into()
        }
        _ => {
            let new = NewHoldout::new(name, "device", p("1")).id(p(&format!("hld_{id}")));
            key.into_iter().fold(new, NewHoldout::key).into()
        }
    }
}

fn rename(kind: &str, id: &str, name: &str) -> Change {
    match kind {
        "experiment" => Change::patch_experiment(&p(id), ExperimentPatch::new().name(name)),
        "flag" => Change::patch_flag(&p(id), FlagPatch::new().name(name)),
        "layer" => Change::patch_layer(&p(id), LayerPatch::new().name(name)),
        _ => Change::patch_holdout(&p(id), HoldoutPatch::new().name(name)),
    }
}

fn delete(kind: &str, id: &str) -> Change {
    match kind {
        "experiment" => Change::delete_experiment(&p(id)),
        "flag" => Change::delete_flag(&p(id)),
        "layer" => Change::delete_layer(&p(id)),
        _ => Change::delete_holdout(&p(id)),
    }
}

/// The id of an entity of a kind.
fn full(kind: &str, id: &str) -> String {
    let prefix = match kind {
        "experiment" => "exp_",
        "flag" => "flg_",
        "layer" => "lay_",
        _ => "hld_",
    };
    format!("{prefix}{id}")
}

/// The id, key and name of whom a kind's look-up finds.
fn find(snapshot: &Snapshot, kind: &str, key: &str) -> Option<(String, String, String)> {
    macro_rules! told {
        ($found:expr) => {
            $found.map(|own| {
                let key = own.key().unwrap().to_string();
                (own.id().to_string(), key, own.name().to_string())
            })
        };
    }
    match kind {
        "experiment" => told!(snapshot.experiment_by_key(key)),
        "flag" => told!(snapshot.flag_by_key(key)),
        "layer" => told!(snapshot.layer_by_key(key)),
        _ => told!(snapshot.holdout_by_key(key)),
    }
}

/// What there is of one kind: key and name by id.
type Model = BTreeMap<String, (Option<String>, String)>;

/// Whom a change that gives this key and name meets: at what, and who has it.
fn taken<'m>(
    model: &'m Model,
    own: &str,
    key: Option<&str>,
    name: &str,
) -> Option<(&'static str, &'m str)> {
    let others = || model.iter().filter(|(id, _)| *id != own);
    let meets = |(other, own): (&Option<String>, &String)| match (key, other) {
        (Some(key), Some(other)) => key == other,
        (None, None) => own == name,
        _ => false,
    };
    let owner = others().find(|(_, (other, own))| meets((other, own)))?.0;
    Some((if key.is_some() { "key" } else { "name" }, owner))
}

#[track_caller]
fn check_taken(error: &Error, path: &str, owner: &str) {
    let code = if path.ends_with("key") { Code::AlreadyExists } else { Code::NameTaken };
    assert_eq!((error.code(), error.path()), (code, path), "{error}");
    assert!(error.is_conflict(), "{error}");
    assert!(error.rule().contains(owner), "{error} must name {owner}");
}

#[derive(Debug, Clone)]
enum Step {
    Create(&'static str, Option<&'static str>, &'static str),
    Rename(&'static str, &'static str),
    Delete(&'static str),
}

fn any_step() -> impl Strategy<Value = Step> {
    let id = || select(vec!["1", "2", "3", "4", "5"]);
    let name = || select(vec!["One", "Two", "x"]);
    let key = prop::option::of(select(vec!["a", "b", "A", "a.b"]));
    prop_oneof![
        4 => (id(), key, name()).prop_map(|(id, key, name)| Step::Create(id, key, name)),
        2 => (id(), name()).prop_map(|(id, name)| Step::Rename(id, name)),
        1 => id().prop_map(Step::Delete),
    ]
}

proptest! {
    #[test]
    fn a_key_is_one_entitys_and_a_name_that_of_one_without_a_key(
        kind in select(KINDS.to_vec()),
        steps in prop::collection::vec(any_step(), 1..24),
    ) {
        let start = world();
        let mut snapshot = start.clone();
        let mut model = Model::new();
        let mut events = Vec::new();
        for step in steps {
            let (change, id, wanted) = match step {
                Step::Create(id, key, name) => {
                    let own = full(kind, id);
                    if model.contains_key(&own) {
                        continue;
                    }
                    let met = taken(&model, &own, key, name).map(|(at, owner)| (at.to_owned(), owner.to_owned()));
                    if met.is_none() {
                        model.insert(own.clone(), (key.map(ToOwned::to_owned), name.to_owned()));
                    }
                    (create(kind, id, name, key), own, met)
                }
                Step::Rename(id, name) => {
                    let own = full(kind, id);
                    let Some((key, _)) = model.get(&own).cloned() else { continue };
                    // A key that stays is nobody else's.
                    let met = taken(&model, &own, key.as_deref(), name)
                        .map(|(at, owner)| (format!("patch.{at}"), owner.to_owned()));
                    if met.is_none() {
                        model.insert(own.clone(), (key, name.to_owned()));
                    }
                    (rename(kind, &own, name), own, met)
                }
                Step::Delete(id) => {
                    let own = full(kind, id);
                    if model.remove(&own).is_none() {
                        continue;
                    }
                    (delete(kind, &own), own, None)
                }
            };
            match (apply(&snapshot, change), wanted) {
                (Ok(commit), None) => {
                    events.extend(commit.event.as_deref().cloned());
                    snapshot = Snapshot::clone(&commit.snapshot);
                }
                (Err(error), Some((path, owner))) => check_taken(&error, &path, &owner),
                (outcome, wanted) => prop_assert!(false, "{}: {:?}, not {:?}", id, outcome, wanted),
            }
            for key in ["a", "b", "A", "a.b", "", "One"] {
                let mut owners = model.iter().filter(|(_, own)| own.0.as_deref() == Some(key));
                let owner = owners.next().map(|(id, (_, name))| (id.clone(), key.to_owned(), name.clone()));
                prop_assert_eq!(find(&snapshot, kind, key), owner);
            }
        }
        let read = Snapshot::from_json(snapshot.to_json()).unwrap();
        prop_assert!(read == snapshot && read.to_json() == snapshot.to_json());
        let replayed = start.replay(&events).unwrap();
        prop_assert!(replayed == snapshot);
        for key in ["a", "b", "A", "a.b"] {
            for other in [&read, &replayed] {
                prop_assert_eq!(find(other, kind, key), find(&snapshot, kind, key));
            }
        }
    }
}

/// Each kind has keys of its own.
#[test]
fn entities_of_two_kinds_can_share_a_key() {
    let changes = KINDS.map(|kind| create(kind, "n", "Name", Some("shared")));
    let snapshot = ok(&world(), changes);
    for kind in KINDS {
        let found = find(&snapshot, kind, "shared").unwrap();
        assert_eq!(found, (full(kind, "n"), "shared".to_owned(), "Name".to_owned()));
        assert_eq!(find(&world(), kind, "shared"), None);
    }
}

/// What a document says twice.
#[track_caller]
fn check_document(kind: &str, [one, other]: [(Option<&str>, &str); 2], wanted: Option<&str>) {
    let list = format!("{kind}s");
    let mut document: Value = world().to_json().parse().unwrap();
    let entity = |id: &str, (key, name): (Option<&str>, &str)| {
        let mut entity = json!({"id": full(kind, id), "name": name});
        if let Some(key) = key {
            entity["key"] = json!(key);
        }
        match kind {
            "experiment" => {
                entity["flag_id"] = json!("flg_a");
                entity["strategy"] = json!("percentage");
                entity["allocations"] = json!([]);
            }
            "flag" => entity["parameters"] = json!({"x": {"type": "number", "value": 1}}),
            "holdout" => entity["share"] = json!(5),
            _ => {}
        }
        entity
    };
    let mut all = document[&list].as_array().cloned().unwrap_or_default();
    all.extend([entity("m", one), entity("n", other)]);
    let last = all.len() - 1;
    document[&list] = json!(all);
    match (Snapshot::from_json(document.to_string()), wanted) {
        (Ok(read), None) => {
            let again = Snapshot::from_json(read.to_json()).unwrap();
            assert!(again == read && again.to_json() == read.to_json());
        }
        (Err(error), Some(path)) => {
            check_taken(&error, &format!("{list}[{last}].{path}"), &full(kind, "m"));
        }
        (outcome, wanted) => panic!("{outcome:?}, not {wanted:?}"),
    }
}

#[test]
fn a_document_says_each_key_once_and_each_name_of_what_has_none() {
    for kind in KINDS {
        check_document(kind, [(Some("a"), "One"), (Some("a"), "Two")], Some("key"));
        check_document(kind, [(Some("a"), "One"), (Some("b"), "One")], None);
        check_document(kind, [(Some("a"), "One"), (None, "One")], None);
        check_document(kind, [(None, "One"), (Some("b"), "One")], None);
        check_document(kind, [(None, "One"), (None, "One")], Some("name"));
        check_document(kind, [(Some("One"), "x"), (None, "One")], None);
        check_document(kind, [(Some("a"), "One"), (Some("A"), "One")], None);
    }
}

/// A key is there from the beginning or never.
#[test]
fn a_key_is_left_out_unless_given_and_never_changes() {
    for kind in KINDS {
        for key in [None, Some("the.key-1_X")] {
            let change = create(kind, "n", "Name", key);
            let json = serde_json::to_value(&change).unwrap();
            assert_eq!(json.get("key").and_then(Value::as_str), key);
            assert_eq!(Change::from_json(json.to_string()).unwrap(), change);
            let snapshot = ok(&world(), change);
            let document: Value = snapshot.to_json().parse().unwrap();
            let list = document[format!("{kind}s")].as_array().unwrap();
            let own = list.iter().find(|own| own["id"] == full(kind, "n")).unwrap();
            assert_eq!(own.get("key").and_then(Value::as_str), key);
        }
        let patch = json!({
            "change": format!("patch_{kind}"), "id": full(kind, "n"), "patch": {"key": "other"},
        });
        let error = Change::from_json(patch.to_string()).unwrap_err();
        assert_eq!((error.code(), error.path()), (Code::UnknownKey, "patch.key"));
    }
}
