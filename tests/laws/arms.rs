//! Names of arms: for people alone.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may")]

use crate::common::{apply, brought_to, ok, p, world};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;
use variate::{Allocation, Change, Code, ExperimentPatch, Snapshot, Status, Subject};

/// The arms of an experiment with these names.
fn named(snapshot: &Snapshot, id: &str, names: &[Option<&str>]) -> Vec<Allocation> {
    let arms = snapshot.experiment(id).unwrap().allocations().iter();
    let named = arms.zip(names).map(|(arm, name)| {
        let bare = Allocation { name: None, ..arm.clone() };
        name.map_or(bare.clone(), |name| bare.named(p(name)))
    });
    named.collect()
}

fn rename(id: &str, arms: Vec<Allocation>) -> Change {
    Change::patch_experiment(&p(id), ExperimentPatch::new().allocations(arms))
}

fn decisions(snapshot: &Snapshot, id: &str) -> Vec<Value> {
    let attributes = [("country", "DE")];
    let all = (0..50).flat_map(|number| {
        let subject = format!("device-{number}");
        let plain = snapshot.assign(id, &Subject::new(&subject));
        let german = snapshot.assign(id, &Subject::new(&subject).with_attributes(&attributes));
        [plain, german].map(|decision| serde_json::to_value(decision).unwrap())
    });
    all.collect()
}

proptest! {
    /// Whatever arms are called, the run stays as it froze, and nobody moves.
    #[test]
    fn names_of_arms_decide_nothing(
        id in select(vec!["exp_weights", "exp_segments"]),
        names in prop::collection::vec(prop::option::of(select(vec!["One", "Two"])), 3),
    ) {
        let paused = brought_to(&world(), id, Status::Paused);
        let arms = named(&paused, id, &names);
        let other = arms != paused.experiment(id).unwrap().allocations();
        let commit = apply(&paused, rename(id, arms.clone())).unwrap();
        prop_assert_eq!(commit.event.is_some(), other);
        if let Some(event) = &commit.event {
            prop_assert_eq!(&event.effects[0].fields, &["allocations"]);
        }
        let start = Change::set_experiment_status(&p(id), Status::Active);
        let before = ok(&paused, start.clone());
        let commit = apply(&commit.snapshot, start).unwrap();
        prop_assert!(!commit.event.as_ref().unwrap().effects[0].froze);
        let snapshot = Snapshot::clone(&commit.snapshot);
        prop_assert_eq!(snapshot.experiment(id).unwrap().allocations(), &arms[..]);
        prop_assert_eq!(decisions(&snapshot, id), decisions(&before, id));
        prop_assert!(before.plan(id) == snapshot.plan(id));
        let read = Snapshot::from_json(snapshot.to_json()).unwrap();
        prop_assert!(read == snapshot && read.to_json() == snapshot.to_json());
        prop_assert_eq!(decisions(&read, id), decisions(&before, id));
    }
}

#[test]
fn arms_are_renamed_as_they_are_edited() {
    let active = brought_to(&world(), "exp_weights", Status::Active);
    let change = rename("exp_weights", named(&active, "exp_weights", &[Some("One"), None]));
    let error = apply(&active, change).unwrap_err();
    assert_eq!((error.code(), error.path()), (Code::NotMutable, "patch.allocations"));
    // A run freezes the names with the arms.
    let draft = world();
    let change = rename("exp_weights", named(&draft, "exp_weights", &[Some("One"), None]));
    let run = brought_to(&ok(&draft, change), "exp_weights", Status::Active);
    let frozen = run.experiment("exp_weights").unwrap().iteration().allocations().unwrap();
    assert_eq!(frozen[0].name, Some(p("One")));
    assert!(!draft.to_json().contains("\"One\"") && run.to_json().contains("\"name\": \"One\""));
    // Two arms can be called alike.
    ok(&draft, rename("exp_weights", named(&draft, "exp_weights", &[Some("x"), Some("x")])));
}
