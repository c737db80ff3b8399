//! A trial plan decides as the experiment would if it were active: a draft as its activation would,
//! a run as it does or did, and what is not complete not at all.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

use std::num::NonZeroU32;

use crate::common::{apply, brought_to, ok, p, share, world};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use variate::ViolationCode::{
    ExperimentActiveLimitExceeded, FeatureFlagNotActive, SegmentNotActive, VariationNotFromFlag,
};
use variate::{
    ActiveLimit, Allocation, Change, ExperimentPatch, FlagStatus, NewExperiment, NewFlag,
    NewVariation, Plan, SegmentStatus, SettingsPatch, Snapshot, Status, Strategy as Assigns,
    Subject,
};

const EXPERIMENTS: [&str; 4] = ["exp_weights", "exp_segments", "exp_ramp", "exp_weightedramp"];

/// The world with two ramps and something outside, all of them drafts.
fn drafts() -> Snapshot {
    let weightless = NewExperiment::by_percentage("Ramp", p("flg_a"))
        .id(p("exp_ramp"))
        .allocation(Allocation::ramped(p("var_a")).control())
        .allocation(Allocation::ramped(p("var_b")))
        .levels([p("25"), p("60")]);
    let weighted = NewExperiment::by_percentage("Weighted ramp", p("flg_a"))
        .id(p("exp_weightedramp"))
        .allocation(share("var_a", "60").control())
        .allocation(share("var_b", "40"))
        .outside_variation_id(p("var_d"))
        .levels([p("25"), p("60")]);
    let outside = ExperimentPatch::new().traffic(p("70")).outside_variation_id(p("var_d"));
    ok(
        &world(),
        vec![
            weightless.into(),
            weighted.into(),
            Change::patch_experiment(&p("exp_weights"), outside),
        ],
    )
}

fn activate(id: &str) -> Change {
    Change::set_experiment_status(&p(id), Status::Active)
}

/// Everything that subjects get from a plan.
fn decisions(plan: &Plan) -> Vec<Value> {
    let countries = [Some("DE"), Some("FR"), None];
    let all = (0..120_usize).map(|number| {
        let device = format!("device-{number}");
        let platform = if number % 2 == 0 { "ios" } else { "android" };
        let attributes = [("country", countries[number % 3]), ("platform", Some(platform))];
        let subject = Subject::new(&device).with_attributes(&attributes);
        let decision = plan.assign(&subject);
        json!({"decision": decision, "config": decision.config()})
    });
    all.collect()
}

/// The trial is the same plan as another, and tried out it decides alike.
#[track_caller]
fn check_same(snapshot: &Snapshot, id: &str, plan: &Plan) {
    let text = snapshot.to_json();
    let trial = snapshot.trial_plan(id).unwrap();
    assert_eq!(trial.experiment_id().as_str(), id);
    assert_eq!(decisions(&trial), decisions(plan), "{id}");
    assert_eq!(trial, *plan, "{id}");
    assert_eq!(snapshot.to_json(), text, "to try is to change nothing");
    let restored = Snapshot::from_json(&text).unwrap();
    assert_eq!(restored.trial_plan(id).unwrap(), trial, "{id} from a document");
}

#[test]
fn a_draft_is_tried_as_its_activation_would_decide() {
    for id in EXPERIMENTS {
        let started = ok(&drafts(), activate(id));
        check_same(&drafts(), id, started.plan(id).unwrap());
        assert!(decisions(started.plan(id).unwrap()).iter().all(|own| own["config"].is_object()));
    }
}

#[test]
fn a_run_is_tried_as_it_decides_or_did() {
    use Status::{Archived, Completed, Paused};
    for id in EXPERIMENTS {
        let started = ok(&drafts(), activate(id));
        let running = match id.contains("ramp") {
            true => ok(&started, Change::advance_ramp(&p(id), p("60"))),
            false => started,
        };
        let plan = running.plan(id).unwrap();
        check_same(&running, id, plan);
        let end = |way: &[Status]| {
            let changes: Vec<_> =
                way.iter().map(|to| Change::set_experiment_status(&p(id), *to)).collect();
            ok(&running, changes)
        };
        for way in [
            &[Paused][..],
            &[Completed],
            &[Paused, Completed],
            &[Completed, Archived],
            &[Paused, Archived],
        ] {
            check_same(&end(way), id, plan);
        }
        // As it would go on.
        let paused = end(&[Paused]);
        check_same(&paused, id, ok(&paused, activate(id)).plan(id).unwrap());
    }
}

#[test]
fn an_edit_reaches_the_trial_of_a_draft_and_of_no_run() {
    let overrides =
        json!({"change": "patch_variation", "id": "var_b", "patch": {"overrides": {"size": 99}}});
    let rules = json!({
        "change": "patch_segment", "id": "seg_germany",
        "patch": {"rules": [{"match": {"country": ["FR"]}}]}
    });
    let edits = || [&overrides, &rules].map(|json| Change::from_json(json.to_string()).unwrap());
    for id in EXPERIMENTS {
        let edited = ok(&drafts(), edits());
        check_same(&edited, id, ok(&edited, activate(id)).plan(id).unwrap());
        let before = decisions(&drafts().trial_plan(id).unwrap());
        assert_ne!(decisions(&edited.trial_plan(id).unwrap()), before);
        for status in [Status::Active, Status::Paused, Status::Completed, Status::Archived] {
            let edited = ok(&brought_to(&drafts(), id, status), edits());
            let trial = edited.trial_plan(id).unwrap();
            assert_eq!(decisions(&trial), before, "{id} {status}");
        }
    }
    // The design of a run that is halted may have moved on; what it gave has not.
    let paused = brought_to(&drafts(), "exp_weights", Status::Paused);
    let arms = [share("var_c", "50").control(), share("var_d", "50")];
    let edited = ok(
        &paused,
        [
            Change::patch_experiment(&p("exp_weights"), ExperimentPatch::new().allocations(arms)),
            Change::reshuffle(&p("exp_weights")),
        ],
    );
    check_same(&edited, "exp_weights", &paused.trial_plan("exp_weights").unwrap());
    // Even if it is no longer complete.
    let emptied = ok(
        &edited,
        Change::patch_experiment(&p("exp_weights"), ExperimentPatch::new().allocations([])),
    );
    check_same(&emptied, "exp_weights", &paused.trial_plan("exp_weights").unwrap());
    // Its traffic takes effect at once.
    let wide = ExperimentPatch::new().traffic(p("100"));
    let wide = ok(&paused, Change::patch_experiment(&p("exp_weights"), wide));
    check_same(
        &wide,
        "exp_weights",
        ok(&wide, activate("exp_weights")).plan("exp_weights").unwrap(),
    );
}

/// A document can say that a ramp is over and nothing of what it ran on. Then its design is tried, at
/// the level at which it stands.
#[test]
fn what_has_started_is_tried_at_its_level() {
    let mut document: Value = serde_json::from_str(&drafts().to_json()).unwrap();
    let experiments = document["experiments"].as_array_mut().unwrap();
    let ramp = experiments.iter_mut().find(|own| own["id"] == "exp_ramp").unwrap();
    ramp["status"] = json!("completed");
    ramp["traffic"] = json!(60);
    let completed = Snapshot::from_json(document.to_string()).unwrap();
    assert_eq!(completed.experiment("exp_ramp").unwrap().current_level(), Some(p("60")));
    let started = ok(&drafts(), activate("exp_ramp"));
    let running = ok(&started, Change::advance_ramp(&p("exp_ramp"), p("60")));
    check_same(&completed, "exp_ramp", running.plan("exp_ramp").unwrap());
}

/// All that keeps an experiment from starting, but not from being tried.
#[test]
fn what_else_is_in_the_way_does_not_matter() {
    let archive = [
        Change::set_flag_status(&p("flg_a"), FlagStatus::Archived),
        Change::set_segment_status(&p("seg_germany"), SegmentStatus::Archived),
    ];
    let blocked = ok(
        &ok(&drafts(), archive),
        Change::patch_settings(SettingsPatch::new().active_limit(ActiveLimit::One)),
    );
    for id in EXPERIMENTS {
        assert!(!blocked.readiness(id).unwrap().is_ready());
        // Not the same plan: that of a segment knows that it is archived.
        let trial = blocked.trial_plan(id).unwrap();
        check_same(&blocked, id, &trial);
        assert_eq!(decisions(&trial), decisions(ok(&drafts(), activate(id)).plan(id).unwrap()));
    }
    let flag = NewFlag::new("Not yet")
        .id(p("flg_b"))
        .parameter("x", 1)
        .variation(NewVariation::new("one").id(p("var_x")))
        .variation(NewVariation::new("two").id(p("var_y")).with("x", 2));
    let new = NewExperiment::by_percentage("Not yet", p("flg_b"))
        .id(p("exp_soon"))
        .allocation(share("var_x", "50").control())
        .allocation(share("var_y", "50"));
    let early = ok(&drafts(), vec![flag.into(), new.into()]);
    let ready = ok(&early, Change::set_flag_status(&p("flg_b"), FlagStatus::Active));
    check_same(&early, "exp_soon", ok(&ready, activate("exp_soon")).plan("exp_soon").unwrap());
}

#[track_caller]
fn check_incomplete(snapshot: &Snapshot, id: &str) {
    assert!(snapshot.trial_plan(id).is_none(), "{:?}", snapshot.readiness(id));
    let restored = Snapshot::from_json(snapshot.to_json()).unwrap();
    assert!(restored.trial_plan(id).is_none());
}

#[test]
fn what_is_not_complete_is_not_tried() {
    check_incomplete(&drafts(), "exp_none");
    check_incomplete(&drafts(), "");
    check_incomplete(&drafts(), "flg_a");
    let draft = |strategy, arms: &[Allocation]| {
        let new = NewExperiment::new("Test", p("flg_a"), strategy).id(p("exp_t"));
        ok(&world(), arms.iter().cloned().fold(new, NewExperiment::allocation))
    };
    let target = |variation: &str, priority| {
        Allocation::segment(p(variation), p("seg_ios"), priority).unwrap()
    };
    let fallback = || Allocation::fallback(p("var_a")).control();
    let control = || share("var_a", "50").control();
    for arms in [
        vec![],
        vec![control()],
        vec![control(), share("var_b", "49.999999")],
        vec![share("var_a", "50"), share("var_b", "50")],
        vec![control(), share("var_b", "50").control()],
        vec![control(), share("var_a", "50")],
        vec![Allocation::ramped(p("var_a")).control(), Allocation::ramped(p("var_b"))],
    ] {
        check_incomplete(&draft(Assigns::Percentage, &arms), "exp_t");
    }
    for arms in [
        vec![],
        vec![target("var_b", 1).control()],
        vec![target("var_b", 1), Allocation::fallback(p("var_a"))],
        vec![target("var_b", 1), target("var_c", 1), fallback()],
        vec![Allocation { segment_id: None, ..target("var_b", 1) }, fallback()],
        vec![Allocation { priority: None, ..target("var_b", 1) }, fallback()],
        vec![Allocation { priority: NonZeroU32::new(1), ..fallback() }],
    ] {
        check_incomplete(&draft(Assigns::Segment, &arms), "exp_t");
    }
    // A ramp of nothing but the control.
    let alone = vec![Allocation::ramped(p("var_a")).control()];
    let lone = draft(Assigns::Percentage, &alone);
    let levels = ExperimentPatch::new().levels([p("10")]);
    check_incomplete(&ok(&lone, Change::patch_experiment(&p("exp_t"), levels)), "exp_t");
}

/// An arm that is gone is not served as another.
#[test]
fn what_never_ran_is_not_tried_once_a_part_of_it_is_gone() {
    let archived = EXPERIMENTS.iter().fold(drafts(), |snapshot, id| {
        ok(&snapshot, Change::set_experiment_status(&p(id), Status::Archived))
    });
    for id in EXPERIMENTS {
        check_same(&archived, id, ok(&drafts(), activate(id)).plan(id).unwrap());
    }
    for (deletion, ids) in [
        (Change::delete_variation(&p("var_b")), &EXPERIMENTS[..]),
        (Change::delete_variation(&p("var_a")), &EXPERIMENTS),
        (Change::delete_variation(&p("var_d")), &["exp_weights", "exp_weightedramp"]),
        (Change::delete_segment(&p("seg_ios")), &["exp_segments"]),
        (Change::delete_flag(&p("flg_a")), &EXPERIMENTS),
    ] {
        let gone = ok(&archived, deletion);
        for id in ids {
            check_incomplete(&gone, id);
        }
    }
}

#[test]
fn a_trial_honours_what_is_forced_and_nothing_that_is_kept() {
    for status in Status::ALL {
        for id in EXPERIMENTS {
            let snapshot = brought_to(&drafts(), id, *status);
            let trial = snapshot.trial_plan(id).unwrap();
            let forced = Subject::new("").forced(id, "var_b");
            assert_eq!(trial.assign(&forced).reason().as_str(), "forced");
            let plain = Subject::new("device-42");
            let kept = plain.clone().kept(id, "var_b");
            assert_eq!(trial.assign(&kept), trial.assign(&plain));
        }
    }
}

fn any_arm() -> impl Strategy<Value = Allocation> {
    let variation = select(vec!["var_a", "var_b", "var_c"]);
    let weight = select(vec![None, Some("0"), Some("50"), Some("50"), Some("100")]);
    (variation, weight, prop::bool::weighted(0.4)).prop_map(|(id, weight, is_control)| Allocation {
        weight: weight.map(p),
        is_control,
        ..Allocation::ramped(p(id))
    })
}

proptest! {
    /// There is a trial exactly when nothing but what others are is in the way of starting, and then
    /// it is what starting leads to, if that is possible.
    #[test]
    fn there_is_a_trial_of_what_is_complete(
        arms in prop::collection::vec(any_arm(), 0..4),
        bare in any::<bool>(),
        levels in select(vec![vec![], vec!["0"], vec!["30", "60"]]),
        blocked in any::<bool>(),
    ) {
        let levels: Vec<_> = levels.into_iter().map(p).collect();
        let new = NewExperiment::by_percentage("Test", p("flg_a")).id(p("exp_t")).levels(levels);
        let arms = arms.into_iter().map(|arm| match bare {
            true => Allocation { weight: None, ..arm },
            false => arm,
        });
        let mut snapshot = ok(&world(), arms.fold(new, NewExperiment::allocation));
        if blocked {
            let archive = Change::set_flag_status(&p("flg_a"), FlagStatus::Archived);
            snapshot = ok(&snapshot, archive);
        }
        let of_others = [
            ExperimentActiveLimitExceeded,
            FeatureFlagNotActive,
            SegmentNotActive,
            VariationNotFromFlag,
        ];
        let readiness = snapshot.readiness("exp_t").unwrap();
        let is_complete = readiness.violations().iter().all(|v| of_others.contains(&v.code()));
        let trial = snapshot.trial_plan("exp_t");
        prop_assert_eq!(trial.is_some(), is_complete, "{:?}", readiness);
        if let Ok(commit) = apply(&snapshot, activate("exp_t")) {
            prop_assert_eq!(trial.as_ref(), commit.snapshot.plan("exp_t"));
        }
    }
}
