//! Annotations: edited entry by entry, against a map of the test's own, in every status that lets
//! them change; and nothing else goes by them.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

use std::collections::BTreeMap;

use crate::common::{apply, brought_to, ok, p, world};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use variate::{
    Change, Code, Event, ExperimentPatch, NewExperiment, Snapshot, Status, Subject, Text,
};

type Entries = BTreeMap<String, Option<String>>;

fn edit(entries: &Entries) -> Change {
    let patch = ExperimentPatch::new().annotations(entries.clone());
    Change::patch_experiment(&p("exp_weights"), patch)
}

/// The annotations of `exp_weights`.
fn held(snapshot: &Snapshot) -> BTreeMap<String, String> {
    let own = snapshot.experiment("exp_weights").unwrap().annotations();
    own.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

/// Those as a document has them.
fn printed(snapshot: &Snapshot) -> Option<Value> {
    let own = serde_json::to_value(snapshot.experiment("exp_weights").unwrap()).unwrap();
    own.get("annotations").cloned()
}

fn any_entries() -> impl Strategy<Value = Entries> {
    let key = select(vec!["ticket", "ticket ", "Ticket", "a b", "é", "", "a\nb"]);
    // Two of the keys are none.
    let key = key.prop_map(str::to_owned);
    let value = prop::option::weighted(0.7, select(vec!["EX-1", "one\ntwo", "🙂", "x"]));
    prop::collection::btree_map(key, value.prop_map(|own| own.map(str::to_owned)), 0..4)
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.trim() == key && !key.contains('\n')
}

proptest! {
    #[test]
    fn a_patch_edits_entry_by_entry(
        edits in prop::collection::vec(any_entries(), 1..6),
        status in select(Status::ALL),
    ) {
        let mut snapshot = world();
        let mut naive: BTreeMap<String, String> = BTreeMap::new();
        for (step, entries) in edits.iter().enumerate() {
            if step == 1 {
                snapshot = brought_to(&snapshot, "exp_weights", status);
            }
            let change = serde_json::to_string(&edit(entries)).unwrap();
            let change = Change::from_json(change).unwrap();
            prop_assert_eq!(&change, &edit(entries));
            let commit = apply(&snapshot, change);
            if !entries.keys().all(|key| is_key(key)) {
                let error = commit.unwrap_err();
                prop_assert_eq!(error.code(), Code::InvalidValue);
                prop_assert_eq!(error.path(), "patch.annotations");
                continue;
            }
            let mut next = naive.clone();
            for (key, value) in entries {
                match value {
                    Some(value) => _ = next.insert(key.clone(), value.clone()),
                    None => _ = next.remove(key),
                }
            }
            if next != naive && step > 0 && status == Status::Archived {
                let error = commit.unwrap_err();
                prop_assert_eq!(error.code(), Code::NotMutable);
                prop_assert_eq!(error.path(), "patch.annotations");
                continue;
            }
            let commit = commit.unwrap();
            prop_assert_eq!(commit.event.is_some(), next != naive);
            prop_assert_eq!(&held(&commit.snapshot), &next);
            let wanted = Some(json!(next)).filter(|_| !next.is_empty());
            prop_assert_eq!(printed(&commit.snapshot), wanted);
            if let Some(event) = &commit.event {
                prop_assert_eq!(&event.effects[0].fields, &["annotations"]);
                let event = Event::from_json(serde_json::to_string(&**event).unwrap()).unwrap();
                prop_assert_eq!(snapshot.replay([event]).unwrap(), Snapshot::clone(&commit.snapshot));
            }
            let json = commit.snapshot.to_json();
            let read = Snapshot::from_json(&json).unwrap();
            prop_assert_eq!(&read, &*commit.snapshot);
            prop_assert_eq!(read.to_json(), json);
            (snapshot, naive) = (read, next);
        }
    }
}

#[test]
fn nothing_goes_by_them() {
    let plain = brought_to(&world(), "exp_weights", Status::Active);
    let noted = ok(&plain, edit(&BTreeMap::from([("ticket".to_owned(), Some("EX-1".to_owned()))])));
    let [one, other] = [&plain, &noted].map(|own| own.experiment("exp_weights").unwrap());
    assert_eq!(one.iteration(), other.iteration());
    for n in 0..200 {
        let id = format!("device-{n}");
        let subject = Subject::new(&id);
        let [a, b] = [&plain, &noted].map(|own| own.assign("exp_weights", &subject));
        assert_eq!(a, b);
    }
    // Resuming freezes nothing for them.
    let paused = ok(&noted, Change::set_experiment_status(&p("exp_weights"), Status::Paused));
    let paused = ok(&paused, edit(&BTreeMap::from([("ticket".to_owned(), None)])));
    let resume = Change::set_experiment_status(&p("exp_weights"), Status::Active);
    assert!(!apply(&paused, resume).unwrap().event.unwrap().effects[0].froze);
}

#[test]
fn an_experiment_can_be_created_with_them() {
    let new = NewExperiment::by_percentage("Noted", p("flg_a"))
        .id(p("exp_noted"))
        .annotation("ticket", "EX-1")
        .annotation("owner", "a\nb")
        .annotation("ticket", "EX-2");
    let json = serde_json::to_value(&new).unwrap();
    assert_eq!(json["annotations"], json!({"owner": "a\nb", "ticket": "EX-2"}));
    let snapshot = ok(&world(), new);
    let own = snapshot.experiment("exp_noted").unwrap();
    assert_eq!(own.annotations().get("ticket").map(Text::as_str), Some("EX-2"));
    assert_eq!(own.annotations().get("Ticket"), None);
    assert_eq!(own.annotations().len(), 2);
    let patch = ExperimentPatch::new().annotation("owner", "c").without_annotation("ticket");
    let after = ok(&snapshot, Change::patch_experiment(&p("exp_noted"), patch));
    let own = after.experiment("exp_noted").unwrap();
    assert_eq!(serde_json::to_value(own.annotations()).unwrap(), json!({"owner": "c"}));
    assert!(world().experiment("exp_weights").unwrap().annotations().is_empty());
}

/// What is removed makes room for what is set.
#[test]
fn there_are_at_most_64() {
    let entries = |range: std::ops::Range<usize>, value: Option<&str>| -> Entries {
        range.map(|n| (format!("k{n}"), value.map(str::to_owned))).collect()
    };
    let full = ok(&world(), edit(&entries(0..64, Some("x"))));
    let error = apply(&full, edit(&entries(64..65, Some("x")))).unwrap_err();
    assert_eq!((error.code(), error.path()), (Code::LimitExceeded, "patch.annotations"));
    let mut exchange = entries(0..10, None);
    exchange.extend(entries(64..74, Some("y")));
    let exchanged = ok(&full, edit(&exchange));
    assert_eq!(held(&exchanged).len(), 64);
    assert_eq!(printed(&ok(&exchanged, edit(&entries(0..80, None)))), None);
}
