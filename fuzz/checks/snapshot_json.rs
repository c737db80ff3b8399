//! Whatever loads as a snapshot prints, loads again as the same, and assigns.

#![allow(clippy::expect_used, reason = "a check fails by panicking")]

use variate::{Scratch, Snapshot, Status, Subject, Timestamp};

/// Takes any bytes as a document.
pub fn check(data: &[u8]) {
    let Ok(snapshot) = Snapshot::from_json(data) else {
        return;
    };
    let text = snapshot.to_json();
    let again = Snapshot::from_json(&text).expect("what was printed must load");
    assert!(again == snapshot, "what was printed must be the same");
    assert_eq!(again.to_json(), text, "equal snapshots must print the same bytes");

    let attributes = [("country", "DE"), ("plan", ""), ("platform", "ios/17")];
    let mut scratch = Scratch::new();
    let now = Timestamp::from_unix_millis(1_795_262_400_000).expect("a moment of 2026");
    for subject in [
        Subject::new("device-42").with_id("user", "üser-7"),
        Subject::of("user", "user-8").with_attributes(&attributes),
        Subject::of("user", "").with_id("device", "d").with_attributes(&attributes),
    ] {
        check_subject(&snapshot, &again, &subject.with_clock(&now), &mut scratch);
    }
}

fn check_subject(
    snapshot: &Snapshot,
    again: &Snapshot,
    subject: &Subject<'_>,
    scratch: &mut Scratch,
) {
    let mut active = 0;
    for experiment in snapshot.experiments() {
        let decision = snapshot.assign(experiment.id(), subject);
        assert_eq!(decision, again.assign(experiment.id(), subject));
        assert_eq!(snapshot.explain(experiment.id(), subject).decision(), decision);
        assert_eq!(decision.in_experiment(), decision.assignment().is_some());
        assert_eq!(decision.variation_id().is_some(), decision.config().is_some());
        let runs = experiment.status() == Status::Active;
        assert!(runs || decision.variation_id().is_none());
        active += usize::from(runs);
    }
    for layer in snapshot.layers() {
        let members = layer.members().keys().map(|id| snapshot.assign(id, subject));
        let inside = members.filter(|decision| decision.in_experiment()).count();
        assert!(inside <= 1, "a subject is in one member at most");
    }
    let all: Vec<_> = snapshot.assign_all(subject, scratch).collect();
    assert_eq!(all.len(), active);
    for decision in all {
        let id = decision.experiment_id().expect("what is active must exist");
        assert_eq!(decision, snapshot.assign(id, subject));
    }
}
