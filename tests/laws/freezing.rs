//! Activation freezes what an experiment rests on: editing a flag, a variation or a segment changes
//! nobody's decision in an experiment that runs, until it is resumed after an edit of its own
//! design or on request; and what was frozen survives a document.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

use std::collections::{BTreeMap, BTreeSet};

use crate::common::{apply, ok, p, share, world};
use proptest::prelude::*;
use serde_json::{Value, json};
use variate::{
    Change, Code, Decision, ExperimentPatch, FlagPatch, FlagStatus, NewHoldout, NewLayer,
    NewVariation, Scratch, SegmentStatus, Snapshot, Status, Subject,
};

const EXPERIMENTS: [&str; 2] = ["exp_weights", "exp_segments"];

/// The countries and platforms of the subjects, each with each.
const COUNTRIES: [Option<&str>; 4] = [Some("DE"), Some("FR"), Some("IT"), None];
const PLATFORMS: [Option<&str>; 3] = [Some("ios 17"), Some("android"), None];

/// A subject's id, country and platform.
fn subjects() -> impl Iterator<Item = (String, [(&'static str, Option<&'static str>); 2])> {
    (0..240_usize).map(|number| {
        let (country, platform) = (COUNTRIES[number % 4], PLATFORMS[number / 4 % 3]);
        (format!("device-{number}"), [("country", country), ("platform", platform)])
    })
}

/// Everything that a decision says.
fn whole(decision: &Decision<'_>) -> Value {
    json!({
        "decision": decision,
        "config": decision.config(),
        "assigned_config": decision.assignment().map(|assignment| assignment.config),
    })
}

/// Everything that all subjects get from an experiment, by each way of asking.
#[track_caller]
fn decisions(snapshot: &Snapshot, id: &str) -> Vec<Value> {
    let mut scratch = Scratch::new();
    let all = subjects().map(|(device, attributes)| {
        let subject = Subject::new(&device).with_attributes(&attributes);
        let decision = whole(&snapshot.assign(id, &subject));
        assert_eq!(whole(&snapshot.plan(id).unwrap().assign(&subject)), decision);
        let among_all = snapshot
            .assign_all(&subject, &mut scratch)
            .find(|decision| decision.experiment_id().unwrap().as_str() == id);
        let is_active = snapshot.experiment(id).unwrap().status() == Status::Active;
        assert_eq!(among_all.as_ref().map(whole), Some(&decision).filter(|_| is_active).cloned());
        decision
    });
    all.collect()
}

/// A change, by way of JSON.
#[track_caller]
fn change(json: &Value) -> Change {
    Change::from_json(json.to_string()).unwrap_or_else(|error| panic!("{json}: {error}"))
}

fn set_status(id: &str, status: Status) -> Change {
    Change::set_experiment_status(&p(id), status)
}

/// The world with a traffic of 80 for both experiments and `var_d` outside.
fn drafts() -> Snapshot {
    let patch = ExperimentPatch::new().traffic(p("80")).outside_variation_id(p("var_d"));
    ok(&world(), EXPERIMENTS.map(|id| Change::patch_experiment(&p(id), patch.clone())))
}

/// The same with both experiments running.
fn running() -> Snapshot {
    ok(&drafts(), EXPERIMENTS.map(|id| set_status(id, Status::Active)))
}

/// Edits of everything that the experiments rest on, each of which would show in some decision.
fn visible_edits() -> Vec<Value> {
    let parameters = json!({
        "headline": {"type": "string", "value": "Good morning"},
        "size": {"type": "number", "value": 14},
        "bold": {"type": "boolean", "value": true}
    });
    vec![
        json!({"change": "patch_flag", "id": "flg_a", "patch": {"parameters": parameters}}),
        json!({"change": "patch_variation", "id": "var_a", "patch": {"overrides": {"size": 1}}}),
        json!({"change": "patch_variation", "id": "var_b", "patch": {"overrides": {"size": 2}}}),
        json!({"change": "patch_variation", "id": "var_d", "patch": {"overrides": {}}}),
        json!({
            "change": "patch_segment", "id": "seg_germany",
            "patch": {"rules": [{"match": {"country": ["FR"]}}]}
        }),
        json!({
            "change": "patch_segment", "id": "seg_ios",
            "patch": {"rules": [{"not_match": {"country": {"exists": true}}}]}
        }),
    ]
}

/// Edits that no decision would ever show, and ends of what the experiments rest on.
fn other_edits() -> Vec<Change> {
    let patch = |kind: &str, id: &str| {
        let patch = json!({"name": "Another name", "description": "Another description"});
        change(&json!({"change": kind, "id": id, "patch": patch}))
    };
    vec![
        patch("patch_flag", "flg_a"),
        patch("patch_variation", "var_b"),
        patch("patch_segment", "seg_germany"),
        patch("patch_experiment", "exp_weights"),
        Change::create_variation(&p("flg_a"), NewVariation::new("one more").with("size", 99)),
        NewLayer::new("Of others", "device").into(),
        NewHoldout::new("Of others", "device", p("100")).into(),
        Change::set_segment_status(&p("seg_germany"), SegmentStatus::Archived),
        Change::set_segment_status(&p("seg_ios"), SegmentStatus::Archived),
        Change::set_flag_status(&p("flg_a"), FlagStatus::Archived),
    ]
}

/// No subject's decision differs between two snapshots.
#[track_caller]
fn check_same(before: &Snapshot, after: &Snapshot, why: &str) {
    for id in EXPERIMENTS {
        for (one, other) in decisions(before, id).iter().zip(&decisions(after, id)) {
            assert_eq!(one, other, "{id}: {why}");
        }
    }
}

/// What a snapshot's document leads to is the snapshot, and decides alike.
#[track_caller]
fn check_survives(snapshot: &Snapshot) -> Snapshot {
    let json = snapshot.to_json();
    let restored = Snapshot::from_json(&json).unwrap_or_else(|error| panic!("{error}\n{json}"));
    assert!(restored == *snapshot, "a document must lead to an equal snapshot:\n{json}");
    assert_eq!(restored.to_json(), json, "and that to an equal document");
    for experiment in snapshot.experiments() {
        let id = experiment.id().as_str();
        assert_eq!(decisions(&restored, id), decisions(snapshot, id), "{id}");
    }
    restored
}

#[test]
fn the_subjects_meet_every_kind_of_decision() {
    let snapshot = running();
    let kinds = |id: &str| -> BTreeSet<String> {
        let name = |decision: &Value| {
            let decision = &decision["decision"];
            format!("{} {}", decision["reason"], decision["variation_id"]).replace('"', "")
        };
        decisions(&snapshot, id).iter().map(name).collect()
    };
    let split = ["not_sampled var_d", "split var_a", "split var_b"];
    assert_eq!(kinds("exp_weights"), split.map(str::to_owned).into());
    let routes = ["fallback var_a", "not_sampled var_d", "segment var_b", "segment var_c"];
    assert_eq!(kinds("exp_segments"), routes.map(str::to_owned).into());
}

#[test]
fn an_edit_moves_nobody_in_a_running_experiment() {
    let before = running();
    let edits: Vec<Change> = visible_edits().iter().map(change).chain(other_edits()).collect();
    for edit in &edits {
        let after = ok(&before, edit.clone());
        check_same(&before, &after, &format!("{edit:?}"));
        check_survives(&after);
    }
    // One after the other, and all in one transaction.
    let mut after = before.clone();
    for edit in &edits {
        after = ok(&after, edit.clone());
        check_same(&before, &after, &format!("after {edit:?}"));
    }
    check_survives(&after);
    check_same(&before, &ok(&before, edits), "all at once");
}

/// The same edits do reach a draft, so that the test above tests something.
#[test]
fn an_edit_reaches_a_draft_at_its_first_activation() {
    for edit in visible_edits() {
        let edited = ok(&drafts(), change(&edit));
        let started = ok(&edited, EXPERIMENTS.map(|id| set_status(id, Status::Active)));
        let of = |snapshot: &Snapshot| EXPERIMENTS.map(|id| decisions(snapshot, id));
        assert_ne!(of(&started), of(&running()), "{edit}");
    }
}

#[test]
fn a_run_shows_what_it_froze() {
    let edits: Vec<Change> = visible_edits().iter().map(change).collect();
    let snapshot = ok(&running(), edits);
    let now = snapshot.flag("flg_a").unwrap();
    assert_eq!(now.variations().get("var_b").unwrap().config().get("size"), Some(&json!(2)));
    for id in EXPERIMENTS {
        let run = snapshot.experiment(id).unwrap().iteration();
        let frozen = run.flag().unwrap();
        assert_ne!(frozen.version(), now.version());
        assert_eq!(
            frozen.variations().get("var_b").unwrap().config().get("size"),
            Some(&json!(12))
        );
        assert!(!frozen.parameters().contains_key("bold"));
    }
    let run = snapshot.experiment("exp_segments").unwrap().iteration();
    let frozen: Vec<_> = run.segments().map(|segment| segment.id().as_str()).collect();
    assert_eq!(frozen, ["seg_germany", "seg_ios"]);
    for segment in run.segments() {
        assert_ne!(Some(segment.version()), snapshot.segment(segment.id()).map(|s| s.version()));
    }
}

/// Makes a transition and returns where it leads and whether its effect says that a run froze its
/// design.
#[track_caller]
fn step(snapshot: &Snapshot, change: Change) -> (Snapshot, bool) {
    let commit = apply(snapshot, change).unwrap();
    let event = commit.event.as_ref().unwrap();
    assert_eq!(event.effects.len(), 1);
    let froze = event.effects[0].froze;
    let json = serde_json::to_value(&event.effects[0]).unwrap();
    assert_eq!(json.get("froze"), Some(&json!(true)).filter(|_| froze), "{json}");
    (Snapshot::clone(&commit.snapshot), froze)
}

/// Edits everything that a running experiment rests on, pauses it, makes changes and resumes it:
/// whether the edits have reached it afterwards.
#[track_caller]
fn check_resume(id: &str, meanwhile: &[Change], resume: Change, reached: bool) {
    let started = running();
    let edits: Vec<Change> = visible_edits().iter().map(change).collect();
    let (paused, froze) = step(&ok(&started, edits), set_status(id, Status::Paused));
    assert!(!froze, "a pause freezes nothing");
    let edited = meanwhile.iter().fold(paused, |snapshot, edit| ok(&snapshot, edit.clone()));
    let (resumed, froze) = step(&check_survives(&edited), resume);
    assert_eq!(froze, reached, "{id} {meanwhile:?}");
    check_survives(&resumed);
    let run = resumed.experiment(id).unwrap().iteration();
    let now = resumed.flag("flg_a").unwrap().version();
    assert_eq!(run.flag().unwrap().version() == now, reached);
    for (decision, before) in decisions(&resumed, id).iter().zip(decisions(&started, id)) {
        let variation = decision["decision"]["variation_id"].as_str().unwrap();
        // The defaults and overrides of `visible_edits()`, merged by hand.
        let config = match (reached, variation) {
            (true, "var_a") => json!({"headline": "Good morning", "size": 1, "bold": true}),
            (true, "var_b") => json!({"headline": "Good morning", "size": 2, "bold": true}),
            (true, "var_c") => json!({"headline": "Good morning", "size": 16, "bold": true}),
            (true, _) => json!({"headline": "Good morning", "size": 14, "bold": true}),
            (false, "var_a") => json!({"headline": "Welcome back", "size": 12}),
            (false, "var_b") => json!({"headline": "Hi", "size": 12}),
            (false, "var_c") => json!({"headline": "Welcome back", "size": 16}),
            (false, _) => json!({"headline": "Hi", "size": 16}),
        };
        assert_eq!(decision["config"], config, "{id} {meanwhile:?}");
        if !reached && meanwhile.is_empty() {
            assert_eq!(*decision, before, "{id}");
        }
    }
}

#[test]
fn a_plain_resume_keeps_what_was_frozen() {
    for id in EXPERIMENTS {
        check_resume(id, &[], set_status(id, Status::Active), false);
        // Edits of the experiment that its arms do not rest on.
        let patch = json!({"name": "Renamed", "tags": ["x"], "description": "Another"});
        let renamed = change(&json!({"change": "patch_experiment", "id": id, "patch": patch}));
        check_resume(id, &[renamed], set_status(id, Status::Active), false);
        let traffic = Change::patch_experiment(&p(id), ExperimentPatch::new().traffic(p("55.5")));
        check_resume(id, &[traffic], set_status(id, Status::Active), false);
        // Several pauses later still.
        let again = [set_status(id, Status::Active), set_status(id, Status::Paused)];
        check_resume(id, &again, set_status(id, Status::Active), false);
    }
}

#[test]
fn an_edited_design_is_frozen_anew_when_it_is_resumed() {
    let weights = [share("var_a", "30").control(), share("var_c", "70")];
    let allocations = [
        ("exp_weights", Vec::from(weights)),
        ("exp_segments", {
            let arms = world().experiment("exp_segments").unwrap().allocations().to_vec();
            arms.into_iter().filter(|arm| arm.segment_id.as_ref() != Some(&p("seg_ios"))).collect()
        }),
    ];
    for (id, arms) in allocations {
        let patch = |patch| [Change::patch_experiment(&p(id), patch)];
        let resume = || set_status(id, Status::Active);
        check_resume(id, &patch(ExperimentPatch::new().allocations(arms)), resume(), true);
        let outside = ExperimentPatch::new().outside_variation_id(p("var_c"));
        check_resume(id, &patch(outside), resume(), true);
        let salt = json!({"change": "reshuffle", "id": id, "salt": "another"});
        check_resume(id, &[change(&salt)], resume(), true);
        check_resume(id, &[Change::reshuffle(&p(id))], resume(), true);
        // And then it rests there.
        let once_more = [change(&salt), resume(), set_status(id, Status::Paused)];
        let started = once_more
            .iter()
            .fold(ok(&running(), set_status(id, Status::Paused)), |snapshot, step| {
                ok(&snapshot, step.clone())
            });
        let (resumed, froze) = step(&started, resume());
        assert!(!froze, "{id} was frozen already");
        check_survives(&resumed);
    }
}

#[test]
fn a_resume_on_request_freezes_anew() {
    for id in EXPERIMENTS {
        check_resume(id, &[], Change::resume_refreshed(&p(id)), true);
        // Nobody changes arm: it is the same draw by the same weights.
        if id == "exp_weights" {
            let paused = ok(&running(), set_status(id, Status::Paused));
            let (resumed, froze) = step(&paused, Change::resume_refreshed(&p(id)));
            assert!(froze);
            assert_eq!(decisions(&resumed, id), decisions(&running(), id));
        }
    }
}

#[test]
fn only_an_activation_freezes() {
    use Status::{Active, Archived, Completed, Paused};
    for id in EXPERIMENTS {
        for way in [
            [Active, Paused, Completed, Archived].as_slice(),
            &[Active, Completed, Archived],
            &[Active, Paused, Archived],
            &[Archived],
        ] {
            let mut snapshot = drafts();
            for to in way {
                let (next, froze) = step(&snapshot, set_status(id, *to));
                assert_eq!(froze, *to == Active, "{id} to {to}");
                snapshot = next;
            }
        }
        let (_, froze) = step(&drafts(), Change::resume_refreshed(&p(id)));
        assert!(froze, "the first activation freezes, asked or not");
    }
}

#[test]
fn a_rebalanced_run_survives_a_document() {
    let mut snapshot = running();
    let mut scattered = 0;
    for weights in
        [[50, 25, 25], [60, 25, 15], [20, 60, 20], [0, 50, 50], [100, 0, 0], [34, 33, 33]]
    {
        let ids = ["var_a", "var_b", "var_c"].into_iter();
        let mut arms: Vec<_> =
            ids.zip(weights).map(|(id, weight)| share(id, &weight.to_string())).collect();
        arms[0].is_control = true;
        let patch = ExperimentPatch::new().allocations(arms);
        let edit = [
            set_status("exp_weights", Status::Paused),
            Change::patch_experiment(&p("exp_weights"), patch),
        ];
        let edited = check_survives(&ok(&snapshot, edit));
        snapshot = check_survives(&ok(&edited, set_status("exp_weights", Status::Active)));
        let run = snapshot.experiment("exp_weights").unwrap().iteration();
        scattered += usize::from(run.partition().unwrap().slices().count() > 3);
    }
    assert!(scattered > 1, "some runs must lie otherwise than at first");
}

#[test]
fn runs_that_froze_different_revisions_survive_together() {
    let size = |size: u32| {
        let patch = FlagPatch::new().parameters(
            [("headline".to_owned(), "Welcome back".into()), ("size".to_owned(), size.into())]
                .into(),
        );
        Change::patch_flag(&p("flg_a"), patch)
    };
    let country = |country: &str| {
        change(&json!({
            "change": "patch_segment", "id": "seg_germany",
            "patch": {"rules": [{"match": {"country": [country]}}]}
        }))
    };
    let snapshot = ok(
        &drafts(),
        [
            size(21),
            set_status("exp_weights", Status::Active),
            size(22),
            country("FR"),
            set_status("exp_segments", Status::Active),
            size(23),
            country("IT"),
            country("DE"),
            size(24),
        ],
    );
    let sizes = |snapshot: &Snapshot| {
        EXPERIMENTS.map(|id| {
            let run = snapshot.experiment(id).unwrap().iteration();
            run.flag().unwrap().parameters().get("size").unwrap().value().clone()
        })
    };
    assert_eq!(sizes(&snapshot), [json!(21), json!(22)]);
    let restored = check_survives(&snapshot);
    assert_eq!(sizes(&restored), [json!(21), json!(22)]);
    // What was restored is as frozen as before.
    let resumed = ok(
        &restored,
        [set_status("exp_segments", Status::Paused), set_status("exp_segments", Status::Active)],
    );
    check_same(&snapshot, &resumed, "restored, paused and resumed");
    let refreshed = ok(
        &restored,
        [set_status("exp_weights", Status::Paused), Change::resume_refreshed(&p("exp_weights"))],
    );
    assert_eq!(sizes(&refreshed), [json!(24), json!(22)]);
}

#[test]
fn what_an_archived_run_froze_survives_the_end_of_it() {
    let edits: Vec<Change> = visible_edits().iter().map(change).collect();
    let snapshot = ok(&running(), edits);
    let mut snapshot = ok(&snapshot, EXPERIMENTS.map(|id| set_status(id, Status::Completed)));
    check_survives(&snapshot);
    snapshot = ok(&snapshot, EXPERIMENTS.map(|id| set_status(id, Status::Archived)));
    check_survives(&snapshot);
    let frozen = |snapshot: &Snapshot| {
        EXPERIMENTS.map(|id| snapshot.experiment(id).unwrap().iteration().clone())
    };
    let before = frozen(&snapshot);
    for deletion in [
        Change::delete_variation(&p("var_b")),
        Change::delete_segment(&p("seg_ios")),
        Change::delete_flag(&p("flg_a")),
        Change::delete_segment(&p("seg_germany")),
    ] {
        snapshot = ok(&snapshot, deletion);
        assert_eq!(frozen(&snapshot), before);
        snapshot = check_survives(&snapshot);
        assert_eq!(frozen(&snapshot), before);
    }
    assert_eq!(snapshot.flags().count() + snapshot.segments().count(), 0);
    let flag = before[0].flag().unwrap();
    let overrides = flag.variations().get("var_b").unwrap().overrides();
    assert_eq!(**overrides.get("headline").unwrap(), json!("Hi"));
}

/// A segment with this id for those who are not from Germany.
fn other_segment(id: &str) -> Change {
    let rules = json!([{"not_match": {"country": ["DE"]}}]);
    change(&json!({"change": "create_segment", "id": id, "name": "Elsewhere", "rules": rules}))
}

/// A flag with this id, with the same variations, all of which say something else.
fn other_flag(id: &str) -> Change {
    let variations: Vec<_> = ["var_a", "var_b", "var_c", "var_d"]
        .map(|id| json!({"id": id, "name": format!("other {id}")}))
        .into();
    let parameters = json!({"other": {"type": "number", "value": 1}});
    change(&json!({
        "change": "create_flag", "id": id, "name": "Other", "parameters": parameters,
        "variations": variations
    }))
}

/// Creates under an id that a run rests on: refused, alone and behind other changes, and as much
/// once the snapshot has been a document.
#[track_caller]
fn check_rested_on(snapshot: &Snapshot, create: &Change, run: &str) {
    for snapshot in [snapshot.clone(), check_survives(snapshot)] {
        let before = snapshot.to_json();
        let touch = Change::create_variation(&p("flg_z"), NewVariation::new("more"));
        for (changes, index) in
            [(vec![create.clone()], None), (vec![other_flag_z(), touch, create.clone()], Some(2))]
        {
            let error = apply(&snapshot, changes).unwrap_err();
            assert_eq!((error.code(), error.path()), (Code::AlreadyExists, "id"), "{error}");
            assert_eq!(error.change(), index);
            assert!(error.rule().contains(&format!("experiment {run} ")), "{error}");
            assert!(error.is_conflict());
        }
        assert_eq!(snapshot.to_json(), before);
    }
}

/// Some other flag.
fn other_flag_z() -> Change {
    let parameters = json!({"other": {"type": "number", "value": 1}});
    change(&json!({
        "change": "create_flag", "id": "flg_z", "name": "Another", "parameters": parameters
    }))
}

/// Creates under an id that no run rests on any more.
#[track_caller]
fn check_given_again(snapshot: &Snapshot, create: &Change) -> Snapshot {
    for snapshot in [snapshot.clone(), check_survives(snapshot)] {
        check_survives(&ok(&snapshot, create.clone()));
    }
    ok(snapshot, create.clone())
}

/// `exp_segments` in this status after a run that rests on `seg_germany`, which the experiment no
/// longer names and which has been deleted.
fn without_germany(status: Status) -> Snapshot {
    let arms = world().experiment("exp_segments").unwrap().allocations().to_vec();
    let arms: Vec<_> =
        arms.into_iter().filter(|arm| arm.segment_id != Some(p("seg_germany"))).collect();
    let drop_it = ExperimentPatch::new().allocations(arms);
    let paused = ok(&running(), set_status("exp_segments", Status::Paused));
    let mut changes = vec![Change::patch_experiment(&p("exp_segments"), drop_it)];
    if status != Status::Paused {
        changes.push(set_status("exp_segments", status));
    }
    changes.push(Change::delete_segment(&p("seg_germany")));
    let snapshot = check_survives(&ok(&paused, changes));
    let run = snapshot.experiment("exp_segments").unwrap().iteration();
    let rests_on_it = run.segments().any(|segment| segment.id().as_str() == "seg_germany");
    assert_eq!(rests_on_it, status != Status::Active);
    snapshot
}

#[test]
fn the_id_of_a_segment_that_a_run_rests_on_is_not_given_again() {
    let create = other_segment("seg_germany");
    for status in [Status::Paused, Status::Completed, Status::Archived] {
        let deleted = without_germany(status);
        check_rested_on(&deleted, &create, "exp_segments");
        // To name it again leads nowhere, since it is gone.
        let again = world().experiment("exp_segments").unwrap().allocations().to_vec();
        let again = ExperimentPatch::new().allocations(again);
        if status == Status::Paused {
            let change = Change::patch_experiment(&p("exp_segments"), again.clone());
            let error = apply(&deleted, change).unwrap_err();
            assert_eq!(error.code(), Code::UnknownReference, "{error}");
            assert_eq!(error.path(), "patch.allocations[0].segment_id");
            // Nor does it in one transaction, where the run once came to rest on the new one.
            let back = vec![
                create.clone(),
                Change::patch_experiment(&p("exp_segments"), again),
                set_status("exp_segments", Status::Active),
            ];
            let error = apply(&deleted, back).unwrap_err();
            assert_eq!((error.code(), error.change()), (Code::AlreadyExists, Some(0)));
        }
        // Another id is as good as ever, and the name is free.
        check_survives(&ok(&deleted, other_segment("seg_x")));
        // With the experiment goes its run.
        let gone = ok(&deleted, Change::delete_experiment(&p("exp_segments")));
        check_given_again(&gone, &create);
        let at_once = [Change::delete_experiment(&p("exp_segments")), create.clone()];
        check_survives(&ok(&deleted, at_once));
    }
    // A run that was refreshed without it rests on it no longer.
    for deleted in [
        without_germany(Status::Active),
        ok(&without_germany(Status::Paused), set_status("exp_segments", Status::Active)),
        ok(&without_germany(Status::Paused), Change::resume_refreshed(&p("exp_segments"))),
    ] {
        let given = check_given_again(&deleted, &create);
        check_same(&deleted, &given, "nobody rests on the new one");
    }
    let refresh = [set_status("exp_segments", Status::Active), create];
    check_survives(&ok(&without_germany(Status::Paused), refresh));
}

#[test]
fn the_id_of_a_flag_that_a_run_rests_on_is_not_given_again() {
    let archive = |snapshot: &Snapshot, from: Status| {
        let way = EXPERIMENTS
            .into_iter()
            .flat_map(|id| [set_status(id, from), set_status(id, Status::Archived)]);
        ok(snapshot, way.collect::<Vec<_>>())
    };
    let create = other_flag("flg_a");
    for from in [Status::Paused, Status::Completed] {
        let archived = archive(&running(), from);
        let deleted = check_survives(&ok(&archived, Change::delete_flag(&p("flg_a"))));
        check_rested_on(&deleted, &create, "exp_segments");
        // The variations' ids are free: a run has its own of them.
        let other = check_survives(&ok(&deleted, other_flag("flg_b")));
        let frozen = |snapshot: &Snapshot| {
            EXPERIMENTS.map(|id| snapshot.experiment(id).unwrap().iteration().clone())
        };
        assert_eq!(frozen(&other), frozen(&deleted));
        // The last of two runs lets go of it.
        let one = ok(&deleted, Change::delete_experiment(&p("exp_segments")));
        check_rested_on(&one, &create, "exp_weights");
        let none = ok(&one, Change::delete_experiment(&p("exp_weights")));
        check_given_again(&none, &create);
    }
    // What never ran rests on nothing.
    let archived = ok(&drafts(), EXPERIMENTS.map(|id| set_status(id, Status::Archived)));
    check_given_again(&ok(&archived, Change::delete_flag(&p("flg_a"))), &create);
}

#[test]
fn an_edit_of_a_paused_design_keeps_what_the_run_froze() {
    for id in EXPERIMENTS {
        let arms = world().experiment(id).unwrap().allocations().to_vec();
        let paused = ok(&running(), set_status(id, Status::Paused));
        let patch = ExperimentPatch::new().allocations([]).clear_outside_variation_id();
        let edited =
            ok(&paused, [Change::patch_experiment(&p(id), patch), Change::reshuffle(&p(id))]);
        let restored = check_survives(&edited);
        let run = restored.experiment(id).unwrap().iteration();
        assert_eq!(run.allocations().unwrap(), arms);
        assert_eq!(restored.experiment(id).unwrap().allocations(), []);
    }
}

/// The ids of those who are in, with what they get.
fn inside(snapshot: &Snapshot, id: &str) -> BTreeMap<String, Value> {
    let decisions = decisions(snapshot, id);
    let named = subjects().map(|(device, _)| device).zip(decisions);
    named.filter(|(_, decision)| decision["decision"]["in_experiment"] == true).collect()
}

#[test]
fn traffic_takes_effect_at_once_and_moves_nobody_who_stays() {
    for id in EXPERIMENTS {
        let mut snapshot = running();
        let mut last = inside(&snapshot, id);
        let mut share = 80.0;
        for traffic in ["40", "40.5", "0", "100", "0.000001", "80", "99.999999", "100"] {
            let patch = ExperimentPatch::new().traffic(p(traffic));
            let commit = apply(&snapshot, Change::patch_experiment(&p(id), patch)).unwrap();
            assert!(!commit.event.as_ref().unwrap().effects[0].froze);
            snapshot = check_survives(&commit.snapshot);
            let now = inside(&snapshot, id);
            let next: f64 = traffic.parse().unwrap();
            let (small, large) = if next < share { (&now, &last) } else { (&last, &now) };
            for (device, decision) in small {
                assert_eq!(large.get(device), Some(decision), "{device} in {id} at {traffic}");
            }
            match traffic {
                "0" => assert_eq!(now.len(), 0),
                "100" => assert_eq!(now.len(), subjects().count()),
                // Far beyond chance for 240 subjects.
                "40" => assert!((60..130).contains(&now.len()), "{}", now.len()),
                _ => {}
            }
            let outside = decisions(&snapshot, id);
            let mut outside = outside.iter().filter(|d| d["decision"]["in_experiment"] == false);
            assert!(outside.all(|decision| {
                decision["decision"]["variation_id"] == "var_d"
                    && decision["config"] == json!({"headline": "Hi", "size": 16})
            }));
            (last, share) = (now, next);
        }
    }
}

/// What a run rests on, in the words of the reference.
#[derive(Debug, Clone, PartialEq)]
struct Basis {
    defaults: BTreeMap<&'static str, Value>,
    overrides: BTreeMap<&'static str, BTreeMap<&'static str, Value>>,
    countries: BTreeMap<&'static str, Vec<&'static str>>,
}

/// What an experiment says itself.
#[derive(Debug, Clone, PartialEq)]
struct Own {
    allocations: Value,
    outside: Option<&'static str>,
    salt: u64,
}

#[derive(Debug, Clone)]
struct Model {
    status: Status,
    own: Own,
    frozen: Option<(Own, Basis)>,
}

impl Basis {
    fn config(&self, variation: &str) -> Value {
        let mut values = self.defaults.clone();
        values.extend(self.overrides[variation].clone());
        json!(values)
    }
}

#[derive(Debug, Clone)]
enum Op {
    Defaults(u8, u8),
    Overrides(&'static str, Option<u8>),
    Countries(&'static str, Vec<&'static str>),
    Move(&'static str, Status, bool),
    Weights([u8; 3]),
    Targets(bool),
    Outside(&'static str, Option<&'static str>),
    Reshuffle(&'static str, u64),
    Traffic(&'static str, u8),
    Reload,
}

fn op() -> impl Strategy<Value = Op> {
    let experiment = || prop::sample::select(&EXPERIMENTS[..]);
    let variation = || prop::sample::select(&["var_a", "var_b", "var_c", "var_d"][..]);
    let segment = prop::sample::select(&["seg_germany", "seg_ios"][..]);
    let countries = prop::sample::subsequence(vec!["DE", "FR", "IT"], 1..=3);
    let status = prop::sample::select(&[Status::Active, Status::Active, Status::Paused][..]);
    prop_oneof![
        3 => (0..4_u8, 0..4_u8).prop_map(|(one, two)| Op::Defaults(one, two)),
        3 => (variation(), prop::option::of(0..4_u8))
            .prop_map(|(id, size)| Op::Overrides(id, size)),
        3 => (segment, countries).prop_map(|(id, countries)| Op::Countries(id, countries)),
        8 => (experiment(), status, prop::bool::weighted(0.2))
            .prop_map(|(id, to, refresh)| Op::Move(id, to, refresh && to == Status::Active)),
        2 => (0..=100_u8, 0..=100_u8).prop_map(|(one, other)| {
            let (low, high) = (one.min(other), one.max(other));
            Op::Weights([low, high - low, 100 - high])
        }),
        2 => any::<bool>().prop_map(Op::Targets),
        1 => (experiment(), prop::option::of(variation())).prop_map(|(id, to)| Op::Outside(id, to)),
        1 => (experiment(), 0..3_u64).prop_map(|(id, salt)| Op::Reshuffle(id, salt)),
        1 => (experiment(), prop::sample::select(&[0, 50, 100_u8][..]))
            .prop_map(|(id, share)| Op::Traffic(id, share)),
        1 => Just(Op::Reload),
    ]
}

fn weights([first, second, third]: [u8; 3]) -> Value {
    json!([
        {"variation_id": "var_a", "weight": first, "is_control": true},
        {"variation_id": "var_b", "weight": second, "is_control": false},
        {"variation_id": "var_c", "weight": third, "is_control": false}
    ])
}

fn targets(germany_first: bool) -> Value {
    let [germany, ios] = if germany_first { [1, 2] } else { [2, 1] };
    json!([
        {
            "variation_id": "var_b", "segment_id": "seg_germany", "priority": germany,
            "is_control": false
        },
        {"variation_id": "var_c", "segment_id": "seg_ios", "priority": ios, "is_control": false},
        {"variation_id": "var_a", "is_control": true, "is_fallback": true}
    ])
}

/// The change that an op asks for.
fn change_of(op: &Op) -> Change {
    let patch = |kind: &str, id: &str, patch: Value| {
        change(&json!({"change": kind, "id": id, "patch": patch}))
    };
    match op {
        Op::Defaults(headline, size) => {
            let parameters = json!({
                "headline": {"type": "string", "value": headline.to_string()},
                "size": {"type": "number", "value": size}
            });
            patch("patch_flag", "flg_a", json!({"parameters": parameters}))
        }
        Op::Overrides(id, size) => {
            let overrides = size.map_or(json!({}), |size| json!({"size": size}));
            patch("patch_variation", id, json!({"overrides": overrides}))
        }
        Op::Countries(id, countries) => {
            let rules = json!([{"match": {"country": countries}}]);
            patch("patch_segment", id, json!({"rules": rules}))
        }
        Op::Move(id, Status::Active, true) => Change::resume_refreshed(&p(id)),
        Op::Move(id, to, _) => set_status(id, *to),
        Op::Weights(first) => {
            patch("patch_experiment", "exp_weights", json!({"allocations": weights(*first)}))
        }
        Op::Targets(first) => {
            patch("patch_experiment", "exp_segments", json!({"allocations": targets(*first)}))
        }
        Op::Outside(id, to) => patch("patch_experiment", id, json!({"outside_variation_id": to})),
        Op::Reshuffle(id, salt) => {
            let salt = format!("salt {salt} of {id}");
            change(&json!({"change": "reshuffle", "id": id, "salt": salt}))
        }
        Op::Traffic(id, share) => patch("patch_experiment", id, json!({"traffic": share})),
        Op::Reload => patch("patch_flag", "flg_a", json!({})),
    }
}

/// Notes what an op that succeeded has changed, and says whether a run froze.
fn note(op: Op, basis: &mut Basis, models: &mut BTreeMap<&'static str, Model>) -> bool {
    fn model<'m>(models: &'m mut BTreeMap<&'static str, Model>, id: &str) -> &'m mut Model {
        models.get_mut(id).unwrap()
    }
    match op {
        Op::Defaults(headline, size) => {
            basis.defaults.insert("headline", json!(headline.to_string()));
            basis.defaults.insert("size", json!(size));
        }
        Op::Overrides(id, size) => {
            let size = size.map(|size| ("size", json!(size)));
            basis.overrides.insert(id, size.into_iter().collect());
        }
        Op::Countries(id, countries) => drop(basis.countries.insert(id, countries)),
        Op::Weights(first) => model(models, "exp_weights").own.allocations = weights(first),
        Op::Targets(first) => model(models, "exp_segments").own.allocations = targets(first),
        Op::Outside(id, to) => model(models, id).own.outside = to,
        Op::Reshuffle(id, salt) => model(models, id).own.salt = salt,
        Op::Move(id, to, refresh) => {
            let Model { status, own, frozen } = model(models, id);
            *status = to;
            let edited = frozen.as_ref().is_none_or(|(frozen, _)| frozen != own);
            if to == Status::Active && (refresh || edited) {
                *frozen = Some((own.clone(), basis.clone()));
                return true;
            }
        }
        Op::Traffic(..) | Op::Reload => {}
    }
    false
}

/// What everyone must get from a running experiment by what it froze, as far as it takes no hash.
#[track_caller]
fn check_run(snapshot: &Snapshot, id: &str, (own, basis): &(Own, Basis)) {
    let traffic = snapshot.experiment(id).unwrap().traffic().to_string();
    for (device, attributes) in subjects() {
        let subject = Subject::new(&device).with_attributes(&attributes);
        let decision = snapshot.assign(id, &subject);
        let served = decision.variation_id().map(|id| id.as_str());
        assert_eq!(json!(decision.config()), json!(served.map(|id| basis.config(id))), "{id}");
        let reason = decision.reason().as_str();
        match (reason, &*traffic) {
            ("not_sampled", "0" | "50") => assert_eq!(served, own.outside),
            ("split", "100" | "50") if id == "exp_weights" => {
                let arms = own.allocations.as_array().unwrap();
                let arm = arms.iter().find(|arm| arm["variation_id"] == served.unwrap()).unwrap();
                assert_ne!(arm["weight"], 0, "an arm without weight serves nobody");
            }
            ("segment" | "fallback", "100" | "50") if id == "exp_segments" => {
                let mut arms: Vec<_> = own.allocations.as_array().unwrap().iter().collect();
                arms.sort_by_key(|arm| arm["priority"].as_u64().unwrap_or(u64::MAX));
                let hit = arms.iter().find(|arm| {
                    arm["segment_id"].as_str().is_none_or(|segment| {
                        attributes[0].1.is_some_and(|own| basis.countries[segment].contains(&own))
                    })
                });
                assert_eq!(served, hit.unwrap()["variation_id"].as_str());
                assert_eq!(reason == "fallback", hit.unwrap().get("segment_id").is_none());
            }
            _ => panic!("{reason} at a traffic of {traffic}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever is edited in whatever order, a run decides by what the reference says that it
    /// froze, and says when it froze.
    #[test]
    fn a_run_decides_by_what_it_froze(ops in prop::collection::vec(op(), 1..40)) {
        let mut snapshot = world();
        snapshot = ok(&snapshot, change_of(&Op::Weights([50, 50, 0])));
        let segments = [("seg_germany", "DE"), ("seg_ios", "FR")];
        for (id, country) in segments {
            snapshot = ok(&snapshot, change_of(&Op::Countries(id, vec![country])));
        }
        let mut basis = Basis {
            defaults: [("headline", json!("Welcome back")), ("size", json!(12))].into(),
            overrides: [
                ("var_a", [].into()),
                ("var_b", [("headline", json!("Hi"))].into()),
                ("var_c", [("size", json!(16))].into()),
                ("var_d", [("headline", json!("Hi")), ("size", json!(16))].into()),
            ]
            .into(),
            countries: segments.map(|(id, country)| (id, vec![country])).into(),
        };
        let model = |allocations: Value| Model {
            status: Status::Draft,
            own: Own { allocations, outside: None, salt: u64::MAX },
            frozen: None,
        };
        let mut models: BTreeMap<_, _> =
            [("exp_weights", weights([50, 50, 0])), ("exp_segments", targets(true))]
                .map(|(id, allocations)| (id, model(allocations)))
                .into();
        for op in ops {
            if matches!(op, Op::Reload) {
                snapshot = check_survives(&snapshot);
            }
            if let Ok(commit) = apply(&snapshot, change_of(&op)) {
                let froze = note(op.clone(), &mut basis, &mut models);
                let effects = commit.event.iter().flat_map(|event| &event.effects);
                prop_assert_eq!(effects.filter(|effect| effect.froze).count(), usize::from(froze));
                snapshot = Snapshot::clone(&commit.snapshot);
            }
            for (id, model) in &models {
                prop_assert_eq!(snapshot.experiment(id).unwrap().status(), model.status);
                if let (Status::Active, Some(frozen)) = (model.status, &model.frozen) {
                    check_run(&snapshot, id, frozen);
                }
            }
        }
        check_survives(&snapshot);
    }
}
