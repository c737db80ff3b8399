//! Assignments that a subject brings: one that is forced holds in every status and counts in none,
//! one that is attached holds while its experiment is active or paused, one that is kept while it is
//! paused; and all of arms alone that there are.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

use crate::common::{brought_to, ok, p, share, world};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use variate::{
    Allocation, Change, Decision, ExperimentPatch, FlagPatch, FlagStatus, NewExperiment, Scratch,
    Snapshot, Status, Subject,
};

const EXPERIMENTS: [&str; 3] = ["exp_weights", "exp_segments", "exp_ramp"];

/// The world with a draft of a ramp without weights, whose arms are `var_a`, the control, `var_c`
/// and `var_d`.
fn drafts() -> Snapshot {
    let ramp = NewExperiment::by_percentage("Ramp", p("flg_a"))
        .id(p("exp_ramp"))
        .allocation(Allocation::ramped(p("var_a")).control())
        .allocation(Allocation::ramped(p("var_c")))
        .allocation(Allocation::ramped(p("var_d")))
        .levels([p("0"), p("40")]);
    ok(&world(), ramp)
}

/// All three experiments in this status.
fn all_in(status: Status) -> Snapshot {
    EXPERIMENTS.iter().fold(drafts(), |snapshot, id| brought_to(&snapshot, id, status))
}

/// What the variations of the world serve.
fn config(variation: &str) -> Value {
    let [headline, size] = match variation {
        "var_a" => [json!("Welcome back"), json!(12)],
        "var_b" => [json!("Hi"), json!(12)],
        "var_c" => [json!("Welcome back"), json!(16)],
        _ => [json!("Hi"), json!(16)],
    };
    json!({"headline": headline, "size": size})
}

/// Whether the experiment has such an arm.
fn has_arm(id: &str, variation: &str) -> bool {
    let arms: &[&str] = match id {
        "exp_weights" => &["var_a", "var_b"],
        "exp_segments" => &["var_a", "var_b", "var_c"],
        _ => &["var_a", "var_c", "var_d"],
    };
    arms.contains(&variation)
}

/// What a subject gets, by every way of asking.
#[track_caller]
fn ask<'s>(snapshot: &'s Snapshot, id: &str, subject: &Subject<'_>) -> Decision<'s> {
    let decision = snapshot.assign(id, subject);
    assert_eq!(snapshot.plan(id).unwrap().assign(subject), decision);
    let mut scratch = Scratch::new();
    let own = snapshot
        .assign_all(subject, &mut scratch)
        .find(|decision| decision.experiment_id().unwrap().as_str() == id);
    let is_active = snapshot.experiment(id).unwrap().status() == Status::Active;
    assert_eq!(own, Some(decision).filter(|_| is_active));
    decision
}

/// A subject has an arm by this reason, `forced`, `attached` or `kept`.
#[track_caller]
fn check_has(snapshot: &Snapshot, id: &str, subject: &Subject<'_>, reason: &str, variation: &str) {
    let decision = ask(snapshot, id, subject);
    let counts = reason != "forced";
    let is_control = variation == "var_a";
    assert_eq!(
        serde_json::to_value(decision).unwrap(),
        json!({
            "experiment_id": id, "variation_id": variation, "in_experiment": counts,
            "is_control": is_control, "reason": reason,
        })
    );
    assert_eq!(decision.in_experiment(), counts);
    let assignment = decision.assignment().unwrap();
    assert_eq!(assignment.experiment_id.as_str(), id);
    assert_eq!(assignment.variation_id.as_str(), variation);
    assert_eq!(assignment.is_control, is_control);
    assert_eq!(Some(assignment.config), decision.config());
    assert_eq!(json!(assignment.config), config(variation));
}

/// What a subject brings makes no difference.
#[track_caller]
fn check_passed_over(snapshot: &Snapshot, id: &str, plain: &Subject<'_>, bringing: &Subject<'_>) {
    assert_eq!(ask(snapshot, id, bringing), ask(snapshot, id, plain));
}

/// Subjects with an id of the experiments' kind, one of another kind, and none.
fn subjects() -> [Subject<'static>; 3] {
    [Subject::new("device-42"), Subject::of("user", "u-7"), Subject::new("")]
}

#[test]
fn what_is_forced_holds_in_every_status_without_an_id() {
    for status in Status::ALL {
        let snapshot = all_in(*status);
        for id in EXPERIMENTS {
            for subject in subjects() {
                for variation in ["var_a", "var_b", "var_c", "var_d"] {
                    let forced = subject.clone().forced(id, variation);
                    match has_arm(id, variation) {
                        true => check_has(&snapshot, id, &forced, "forced", variation),
                        false => check_passed_over(&snapshot, id, &subject, &forced),
                    }
                    // Whatever it has kept.
                    let both = forced.clone().kept(id, "var_a");
                    let first = subject.clone().kept(id, "var_a").forced(id, variation);
                    if has_arm(id, variation) {
                        check_has(&snapshot, id, &both, "forced", variation);
                        check_has(&snapshot, id, &first, "forced", variation);
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_kept_holds_while_the_experiment_is_paused() {
    for status in Status::ALL {
        let snapshot = all_in(*status);
        for id in EXPERIMENTS {
            for subject in subjects() {
                for variation in ["var_a", "var_b", "var_c", "var_d"] {
                    let kept = subject.clone().kept(id, variation);
                    match *status == Status::Paused && has_arm(id, variation) {
                        true => check_has(&snapshot, id, &kept, "kept", variation),
                        false => check_passed_over(&snapshot, id, &subject, &kept),
                    }
                }
            }
        }
    }
}

/// Put away as it is, for as long as its flag has what it names.
#[test]
fn what_never_ran_and_is_put_away_has_the_arms_of_its_design() {
    let archive = |id: &&str| Change::set_experiment_status(&p(id), Status::Archived);
    let snapshot = ok(&drafts(), EXPERIMENTS.iter().map(archive).collect::<Vec<_>>());
    for id in EXPERIMENTS {
        for subject in subjects() {
            check_has(&snapshot, id, &subject.clone().forced(id, "var_a"), "forced", "var_a");
            check_passed_over(&snapshot, id, &subject, &subject.clone().kept(id, "var_a"));
        }
    }
    let check_gone = |change: Change, id: &str, variation: &str| {
        let plain = Subject::new("device-42");
        let bringing = plain.clone().forced(id, variation);
        let gone = ok(&snapshot, change);
        let restored = Snapshot::from_json(gone.to_json()).unwrap();
        assert!(restored == gone);
        for snapshot in [gone, restored] {
            check_passed_over(&snapshot, id, &plain, &bringing);
            assert_eq!(snapshot.assign(id, &bringing).reason().as_str(), "archived");
        }
    };
    check_gone(Change::delete_variation(&p("var_b")), "exp_weights", "var_b");
    check_gone(Change::delete_variation(&p("var_d")), "exp_ramp", "var_d");
    check_gone(Change::delete_flag(&p("flg_a")), "exp_segments", "var_a");
}

/// A variation that stands in several arms is that by which the subject would get it.
#[test]
fn of_several_arms_it_is_the_one_that_the_subject_would_get() {
    let arms = [
        Allocation::segment(p("var_a"), p("seg_ios"), 1).unwrap(),
        Allocation::segment(p("var_b"), p("seg_germany"), 2).unwrap(),
        Allocation::fallback(p("var_a")).control(),
    ];
    let patch = ExperimentPatch::new().allocations(arms);
    let draft = ok(&drafts(), Change::patch_experiment(&p("exp_segments"), patch));
    let subject = |platform| [("platform", platform), ("country", "FR")];
    let (ios, other) = (subject("ios"), subject("android"));
    let german = [("platform", "android"), ("country", "DE")];
    let is_control = |snapshot: &Snapshot, subject: Subject<'_>, reason: &str| {
        let decision = ask(snapshot, "exp_segments", &subject);
        assert_eq!(decision.reason().as_str(), reason);
        decision.assignment().unwrap().is_control
    };
    for (attributes, control) in [(&ios, false), (&other, true), (&german, false)] {
        let plain = Subject::new("device-42").with_attributes(attributes);
        let forced = || plain.clone().forced("exp_segments", "var_a");
        let active = brought_to(&draft, "exp_segments", Status::Active);
        assert_eq!(is_control(&active, forced(), "forced"), control, "{attributes:?}");
        let paused = brought_to(&draft, "exp_segments", Status::Paused);
        assert_eq!(is_control(&paused, forced(), "forced"), control, "{attributes:?}");
        let kept = plain.clone().kept("exp_segments", "var_a");
        assert_eq!(is_control(&paused, kept, "kept"), control, "{attributes:?}");
        // Nobody would get anything, so it is the first.
        for status in [Status::Draft, Status::Completed, Status::Archived] {
            let closed = brought_to(&draft, "exp_segments", status);
            assert!(!is_control(&closed, forced(), "forced"), "{attributes:?} {status}");
        }
    }
}

#[test]
fn the_first_that_is_an_arm_counts() {
    let snapshot = all_in(Status::Paused);
    let subject = || Subject::new("device-42");
    let forced = |ids: &[&'static str]| {
        ids.iter().fold(subject(), |subject, id| subject.forced("exp_weights", id))
    };
    let kept = |ids: &[&'static str]| {
        ids.iter().fold(subject(), |subject, id| subject.kept("exp_weights", id))
    };
    for (ids, first) in [
        (&["var_b", "var_a"][..], "var_b"),
        (&["var_a", "var_b"], "var_a"),
        (&["var_c", "", "VAR_B", "var_b ", "flg_a", "var_b", "var_a"], "var_b"),
    ] {
        check_has(&snapshot, "exp_weights", &forced(ids), "forced", first);
        check_has(&snapshot, "exp_weights", &kept(ids), "kept", first);
    }
    check_passed_over(&snapshot, "exp_weights", &subject(), &forced(&["var_c", "var_d"]));
    check_passed_over(&snapshot, "exp_weights", &subject(), &kept(&["var_c", "var_d"]));
    // A forced one that is passed over leaves the kept one.
    let mixed = forced(&["var_c"]).kept("exp_weights", "var_b");
    check_has(&snapshot, "exp_weights", &mixed, "kept", "var_b");
}

#[test]
fn each_experiment_has_its_own() {
    let snapshot = all_in(Status::Active);
    let plain = Subject::new("device-42");
    let subject = plain
        .clone()
        .forced("exp_segments", "var_c")
        .forced("exp_none", "var_a")
        .forced("", "var_a")
        .forced("exp_ramp", "var_d");
    check_has(&snapshot, "exp_segments", &subject, "forced", "var_c");
    check_has(&snapshot, "exp_ramp", &subject, "forced", "var_d");
    check_passed_over(&snapshot, "exp_weights", &plain, &subject);
    for id in ["exp_none", "", "EXP_WEIGHTS"] {
        let decision = snapshot.assign(id, &subject);
        assert_eq!(decision.reason().as_str(), "not_found");
        assert_eq!(serde_json::to_value(decision).unwrap()["in_experiment"], false);
    }
    // The id of what was replaced, and attributes, are no part of it.
    let again = subject.clone().with_id("device", "another").with_attributes(&());
    check_has(&snapshot, "exp_segments", &again, "forced", "var_c");
}

/// Edits of everything that the variations rest on.
fn edits() -> Vec<Change> {
    let defaults = [("headline".to_owned(), "Good day".into()), ("size".to_owned(), 13.into())];
    let overrides =
        json!({"change": "patch_variation", "id": "var_b", "patch": {"overrides": {"size": 99}}});
    vec![
        Change::patch_flag(&p("flg_a"), FlagPatch::new().parameters(defaults.into())),
        Change::from_json(overrides.to_string()).unwrap(),
    ]
}

/// The config that forcing leads to.
fn forced_config(snapshot: &Snapshot, id: &str, variation: &str) -> Value {
    let subject = Subject::new("").forced(id, variation);
    let decision = snapshot.assign(id, &subject);
    assert_eq!(decision.reason().as_str(), "forced");
    json!(decision.config())
}

#[test]
fn a_draft_follows_its_flag_and_a_run_does_not() {
    for status in Status::ALL {
        let mut snapshot = all_in(*status);
        for edit in edits() {
            snapshot = ok(&snapshot, edit);
            let restored = Snapshot::from_json(snapshot.to_json()).unwrap();
            assert!(restored == snapshot, "{status}");
            let now = snapshot.flag("flg_a").unwrap();
            for (id, variation) in
                [("exp_weights", "var_b"), ("exp_segments", "var_b"), ("exp_ramp", "var_d")]
            {
                let wanted = match status {
                    Status::Draft => json!(now.variations().get(variation).unwrap().config()),
                    _ => config(variation),
                };
                assert_eq!(forced_config(&snapshot, id, variation), wanted, "{id} {status}");
                assert_eq!(forced_config(&restored, id, variation), wanted, "{id} {status}");
            }
        }
        // Both at once come to the same.
        let at_once = ok(&all_in(*status), edits());
        for id in ["exp_weights", "exp_segments"] {
            let [one, other] = [&at_once, &snapshot].map(|s| forced_config(s, id, "var_b"));
            assert_eq!(one, other);
        }
    }
    let draft = ok(&drafts(), edits());
    assert_eq!(
        forced_config(&draft, "exp_weights", "var_b"),
        json!({"headline": "Good day", "size": 99})
    );
    // An edit that is taken up reaches the run.
    let paused = ok(&all_in(Status::Paused), edits());
    assert_eq!(forced_config(&paused, "exp_weights", "var_b"), config("var_b"));
    let resumed = ok(&paused, Change::resume_refreshed(&p("exp_weights")));
    assert_eq!(
        forced_config(&resumed, "exp_weights", "var_b"),
        json!({"headline": "Good day", "size": 99})
    );
    // What was put away before it ever ran follows too, whenever that was.
    let put_away = Change::set_experiment_status(&p("exp_weights"), Status::Archived);
    for snapshot in [ok(&draft, put_away.clone()), ok(&ok(&drafts(), put_away), edits())] {
        assert_eq!(
            forced_config(&snapshot, "exp_weights", "var_b"),
            json!({"headline": "Good day", "size": 99})
        );
        assert!(Snapshot::from_json(snapshot.to_json()).unwrap() == snapshot);
    }
    // What is archived is as good for a draft as what is active, or a draft itself.
    let archived = ok(&draft, Change::set_flag_status(&p("flg_a"), FlagStatus::Archived));
    assert_eq!(
        forced_config(&archived, "exp_weights", "var_b"),
        json!({"headline": "Good day", "size": 99})
    );
}

#[test]
fn the_arms_are_those_of_the_run_and_before_it_those_of_the_design() {
    let arms = [share("var_a", "50").control(), share("var_c", "50")];
    let edit = || {
        Change::patch_experiment(
            &p("exp_weights"),
            ExperimentPatch::new().allocations(arms.clone()),
        )
    };
    let plain = Subject::new("device-42");
    let forced = |variation| plain.clone().forced("exp_weights", variation);
    let kept = |variation| plain.clone().kept("exp_weights", variation);
    let draft = ok(&drafts(), edit());
    check_has(&draft, "exp_weights", &forced("var_c"), "forced", "var_c");
    check_passed_over(&draft, "exp_weights", &plain, &forced("var_b"));

    let paused = ok(&all_in(Status::Paused), edit());
    let restored = Snapshot::from_json(paused.to_json()).unwrap();
    for snapshot in [&paused, &restored] {
        check_has(snapshot, "exp_weights", &forced("var_b"), "forced", "var_b");
        check_has(snapshot, "exp_weights", &kept("var_b"), "kept", "var_b");
        check_passed_over(snapshot, "exp_weights", &plain, &forced("var_c"));
        check_passed_over(snapshot, "exp_weights", &plain, &kept("var_c"));
    }
    let resume = Change::set_experiment_status(&p("exp_weights"), Status::Active);
    let resumed = ok(&paused, resume);
    check_has(&resumed, "exp_weights", &forced("var_c"), "forced", "var_c");
    check_passed_over(&resumed, "exp_weights", &plain, &forced("var_b"));
    let again = ok(&resumed, Change::set_experiment_status(&p("exp_weights"), Status::Paused));
    check_has(&again, "exp_weights", &kept("var_c"), "kept", "var_c");
    check_passed_over(&again, "exp_weights", &plain, &kept("var_b"));
    // Who was outside has no arm to keep or be forced into.
    let outside = ExperimentPatch::new().outside_variation_id(p("var_d"));
    let outside = ok(&drafts(), Change::patch_experiment(&p("exp_weights"), outside));
    for status in [Status::Draft, Status::Active, Status::Paused] {
        let snapshot = brought_to(&outside, "exp_weights", status);
        check_passed_over(&snapshot, "exp_weights", &plain, &forced("var_d"));
        check_passed_over(&snapshot, "exp_weights", &plain, &kept("var_d"));
    }
}

#[test]
fn what_a_run_froze_is_served_when_the_flag_is_gone() {
    let snapshot = ok(
        &all_in(Status::Archived),
        [Change::delete_flag(&p("flg_a")), Change::delete_segment(&p("seg_germany"))],
    );
    let restored = Snapshot::from_json(snapshot.to_json()).unwrap();
    for id in EXPERIMENTS {
        let subject = Subject::new("device-42").forced(id, "var_a");
        check_has(&snapshot, id, &subject, "forced", "var_a");
        check_has(&restored, id, &subject, "forced", "var_a");
    }
}

/// A ramp leaves a tester alone at every level.
#[test]
fn a_tester_has_the_same_arm_at_every_level() {
    let started = brought_to(&drafts(), "exp_ramp", Status::Active);
    let advanced = ok(&started, Change::advance_ramp(&p("exp_ramp"), p("40")));
    for snapshot in [&drafts(), &started, &advanced] {
        for variation in ["var_a", "var_c", "var_d"] {
            let subject = Subject::new("device-42").forced("exp_ramp", variation);
            check_has(snapshot, "exp_ramp", &subject, "forced", variation);
        }
    }
}

type Bring = (&'static str, &'static str, &'static str);

fn any_bring() -> impl Strategy<Value = Bring> {
    let experiment = select(vec!["exp_weights", "exp_segments", "exp_ramp", "exp_none"]);
    let variation = select(vec!["var_a", "var_b", "var_c", "var_d", "var_x", ""]);
    (select(vec!["forced", "attached", "kept"]), experiment, variation)
}

proptest! {
    /// Whatever a subject brings: the first forced that is an arm, then, while the experiment is
    /// active or paused, the first attached that is one, then, while it is paused, the first kept,
    /// then what it would get without.
    #[test]
    fn forced_goes_before_attached_and_kept_and_the_draw_comes_last(
        statuses in prop::array::uniform3(select(Status::ALL)),
        device in "[a-z]{0,3}",
        brought in prop::collection::vec(any_bring(), 0..12),
    ) {
        let snapshot = EXPERIMENTS
            .iter()
            .zip(statuses)
            .fold(drafts(), |snapshot, (id, status)| brought_to(&snapshot, id, status));
        let plain = Subject::new(&device);
        let subject = brought.iter().fold(plain.clone(), |subject, (by, id, variation)| {
            match *by {
                "forced" => subject.forced(id, variation),
                "attached" => subject.attached(id, variation),
                _ => subject.kept(id, variation),
            }
        });
        for (id, status) in EXPERIMENTS.into_iter().zip(statuses) {
            let first = |wanted: &str| {
                let own = brought.iter().filter(|(by, own, _)| *by == wanted && *own == id);
                own.map(|(_, _, variation)| *variation).find(|variation| has_arm(id, variation))
            };
            let runs = matches!(status, Status::Active | Status::Paused);
            let holding = [("forced", true), ("attached", runs), ("kept", status == Status::Paused)];
            let mut holding = holding.into_iter().filter(|(_, holds)| *holds);
            match holding.find_map(|(by, _)| Some((by, first(by)?))) {
                Some((by, variation)) => check_has(&snapshot, id, &subject, by, variation),
                None => check_passed_over(&snapshot, id, &plain, &subject),
            }
        }
    }
}
