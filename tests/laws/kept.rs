//! When an assignment that a subject brings is kept: by policy and status, and by the gates that go
//! before it; and when it is attached, which only status, switch and schedule decide.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use crate::common::{at, brought_to, ok, p, share, world};
use variate::{
    Change, ExperimentPatch, Expression, FlagPatch, Keep, NewExperiment, NewHoldout, NewLayer,
    NewSegment, Percentage, Rule, Scratch, Snapshot, Status, Subject,
};

/// What stands in the way of a subject, or does not, before anything is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Gate {
    /// No gate at all.
    None,
    /// Every gate lets it in.
    LetIn,
    HeldOut,
    OutsideSlot,
    BeforeStart,
    AfterEnd,
    /// A holdout and a layer want an id that the subject does not have.
    NoId,
    /// There is no gate that wants an id, and the subject has none.
    NoIdAsked,
    /// It is outside the audience, and the traffic is 0.
    NotTargeted,
    FlagOff,
}

const GATES: [Gate; 10] = [
    Gate::None,
    Gate::LetIn,
    Gate::HeldOut,
    Gate::OutsideSlot,
    Gate::BeforeStart,
    Gate::AfterEnd,
    Gate::NoId,
    Gate::NoIdAsked,
    Gate::NotTargeted,
    Gate::FlagOff,
];

/// An experiment with this policy, in this status, behind this gate.
fn behind(gate: Gate, keep: Keep, status: Status) -> Snapshot {
    let rule = Rule::new().when("country", Expression::one_of(["DE"]));
    let new = NewExperiment::by_percentage("Kept", p("flg_a"))
        .id(p("exp_t"))
        .allocation(share("var_a", "100").control())
        .allocation(share("var_b", "0"))
        .outside_variation_id(p("var_d"))
        .keep(keep);
    let new = match gate {
        Gate::LetIn => new.starts_at(at(500)).ends_at(at(1_001)),
        Gate::BeforeStart => new.starts_at(at(1_001)),
        Gate::AfterEnd => new.ends_at(at(1_000)),
        Gate::NotTargeted => new.audience(p("seg_t")).traffic(p("0")),
        _ => new,
    };
    let mut changes =
        vec![NewSegment::new("Audience").id(p("seg_t")).rule(rule).into(), new.into()];
    if matches!(gate, Gate::LetIn | Gate::HeldOut | Gate::OutsideSlot | Gate::NoId) {
        let held = if gate == Gate::HeldOut { Percentage::MAX } else { Percentage::ZERO };
        let slot = if gate == Gate::OutsideSlot { Percentage::ZERO } else { Percentage::MAX };
        let holdout = NewHoldout::new("Holdout", "device", held).experiment(p("exp_t"));
        changes.push(holdout.into());
        changes.push(NewLayer::new("Layer", "device").member(p("exp_t"), slot).into());
    }
    let snapshot = brought_to(&ok(&world(), changes), "exp_t", status);
    let switch = FlagPatch::new().on(gate != Gate::FlagOff).off_variation_id(p("var_c"));
    ok(&snapshot, Change::patch_flag(&p("flg_a"), switch))
}

/// The reason and what is served, when `exp_t` was kept in this arm, which it has or not.
fn wanted(
    gate: Gate,
    keep: Keep,
    status: Status,
    has_arm: bool,
) -> (&'static str, Option<&'static str>) {
    let admits = !matches!(
        gate,
        Gate::HeldOut | Gate::OutsideSlot | Gate::BeforeStart | Gate::AfterEnd | Gate::NoId
    );
    let keeps = match keep {
        Keep::Always => matches!(status, Status::Active | Status::Paused),
        Keep::WhilePaused => status == Status::Paused,
        _ => false,
    };
    match status {
        Status::Active | Status::Paused if gate == Gate::FlagOff => ("flag_off", Some("var_c")),
        Status::Active | Status::Paused if keeps && admits && has_arm => ("kept", Some("var_b")),
        Status::Active => match gate {
            Gate::None | Gate::LetIn | Gate::FlagOff => ("split", Some("var_a")),
            Gate::HeldOut => ("held_out", Some("var_c")),
            Gate::OutsideSlot => ("outside_layer_slot", Some("var_d")),
            Gate::BeforeStart => ("before_start", None),
            Gate::AfterEnd => ("after_end", None),
            Gate::NoId | Gate::NoIdAsked => ("missing_subject_id", None),
            Gate::NotTargeted => ("not_targeted", Some("var_d")),
        },
        other => (other.as_str(), None),
    }
}

#[track_caller]
fn check(gate: Gate, keep: Keep, status: Status, arm: &str) {
    let snapshot = behind(gate, keep, status);
    let now = at(1_000);
    let kind = if matches!(gate, Gate::NoId | Gate::NoIdAsked) { "user" } else { "device" };
    let plain = Subject::of(kind, "device-42").with_clock(&now);
    let kept = plain.clone().kept("exp_t", arm);
    let decision = snapshot.assign("exp_t", &kept);
    let (reason, served) = wanted(gate, keep, status, arm == "var_b");
    let shown = format!("{gate:?} {keep} {status} {arm}: {decision:?}");
    assert_eq!(decision.reason().as_str(), reason, "{shown}");
    assert_eq!(decision.variation_id().map(AsRef::as_ref), served, "{shown}");
    assert_eq!(decision.in_experiment(), matches!(reason, "kept" | "split"), "{shown}");
    if reason != "kept" {
        assert_eq!(decision, snapshot.assign("exp_t", &plain), "{shown}");
    }
    // By hand it holds while the experiment runs, and wants nothing but switch and schedule.
    let runs = matches!(status, Status::Active | Status::Paused);
    let shut = matches!(gate, Gate::FlagOff | Gate::BeforeStart | Gate::AfterEnd);
    for base in [&plain, &kept] {
        let attached = base.clone().attached("exp_other", "var_b").attached("exp_t", arm);
        let gets = snapshot.assign("exp_t", &attached);
        assert_eq!(snapshot.explain("exp_t", &attached).decision(), gets, "{shown}");
        if arm != "var_b" || !runs || shut {
            assert_eq!(gets, snapshot.assign("exp_t", base), "{shown}");
            continue;
        }
        assert_eq!(gets.reason().as_str(), "attached", "{shown}");
        assert_eq!(gets.assignment().unwrap().variation_id.as_str(), "var_b", "{shown}");
        assert!(gets.in_experiment(), "{shown}");
    }
    // Force goes through every gate, and counts for nothing.
    let forced = snapshot.assign("exp_t", &kept.clone().forced("exp_t", "var_b"));
    assert_eq!(forced.reason().as_str(), "forced", "{shown}");
    assert!(!forced.in_experiment(), "{shown}");
    // By every way of asking, also after a document.
    let restored = Snapshot::from_json(snapshot.to_json()).unwrap();
    assert_eq!(restored.assign("exp_t", &kept), decision, "{shown}");
    assert_eq!(snapshot.explain("exp_t", &kept).decision(), decision, "{shown}");
    let mut scratch = Scratch::new();
    let all: Vec<_> = snapshot.assign_all(&kept, &mut scratch).collect();
    assert_eq!(all.first().copied(), Some(decision).filter(|_| status == Status::Active));
}

#[test]
fn what_is_kept_follows_policy_status_and_gates() {
    for gate in GATES {
        for keep in Keep::ALL {
            for status in Status::ALL {
                // The second stands outside the experiment, the last is no variation of the flag.
                for arm in ["var_b", "var_d", "var_none", ""] {
                    check(gate, *keep, *status, arm);
                }
            }
        }
    }
}

/// The policy takes effect at once, and of several assignments the first that is an arm counts.
#[test]
fn the_policy_is_edited_while_the_experiment_runs() {
    let mut snapshot = behind(Gate::None, Keep::Never, Status::Active);
    let subject = Subject::new("device-42")
        .kept("exp_t", "var_d")
        .kept("exp_t", "var_b")
        .kept("exp_t", "var_a");
    for keep in [Keep::Never, Keep::Always, Keep::WhilePaused, Keep::Always, Keep::Never] {
        let patch = ExperimentPatch::new().keep(keep);
        snapshot = ok(&snapshot, Change::patch_experiment(&p("exp_t"), patch));
        let wanted = if keep == Keep::Always { ("kept", "var_b") } else { ("split", "var_a") };
        let decision = snapshot.assign("exp_t", &subject);
        let served = decision.variation_id().unwrap().as_str();
        assert_eq!((decision.reason().as_str(), served), wanted);
    }
}
