//! The switch of a flag: at once, on every experiment, on everyone but the forced; and nobody is
//! moved by switching off and on again.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

use crate::common::{apply, at, brought_to, ok, p, share, world};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use variate::{
    Allocation, Change, Code, Decision, ExperimentPatch, FlagPatch, FlagStatus, Keep,
    NewExperiment, NewFlag, NewHoldout, NewLayer, NewVariation, Scratch, Snapshot, Stage, Status,
    Subject, VariationPatch, ViolationCode,
};

const IDS: [&str; 4] = ["exp_weights", "exp_segments", "exp_soon", "exp_out"];

fn switch(patch: FlagPatch) -> Change {
    Change::patch_flag(&p("flg_a"), patch)
}

/// The world with another flag that has an experiment, one experiment that has not begun, and one
/// behind a holdout and a layer, all in this status.
fn start(status: Status) -> Snapshot {
    let late = NewExperiment::by_percentage("Late", p("flg_a"))
        .id(p("exp_soon"))
        .allocation(share("var_a", "50").control())
        .allocation(share("var_b", "50"))
        .stage(at(50), p("60"))
        .starts_at(at(40));
    let held = NewExperiment::by_percentage("Held", p("flg_a"))
        .id(p("exp_out"))
        .allocation(Allocation::ramped(p("var_a")).control())
        .allocation(Allocation::ramped(p("var_b")))
        .levels([p("30"), p("60")])
        .outside_variation_id(p("var_d"));
    let other = NewFlag::new("Other")
        .id(p("flg_b"))
        .parameter("x", 1)
        .variation(NewVariation::new("one").id(p("var_x")))
        .variation(NewVariation::new("two").id(p("var_y")).with("x", 2));
    let on_other = NewExperiment::by_percentage("Other", p("flg_b"))
        .id(p("exp_other"))
        .allocation(share("var_x", "50").control())
        .allocation(share("var_y", "50"));
    let snapshot = ok(
        &world(),
        vec![
            late.into(),
            held.into(),
            other.into(),
            Change::set_flag_status(&p("flg_b"), FlagStatus::Active),
            on_other.into(),
            NewHoldout::new("A holdout", "device", p("30"))
                .id(p("hld_a"))
                .experiment(p("exp_out"))
                .into(),
            NewLayer::new("A layer", "device").id(p("lay_a")).member(p("exp_out"), p("80")).into(),
        ],
    );
    let all = IDS.into_iter().chain(["exp_other"]);
    all.fold(snapshot, |snapshot, id| brought_to(&snapshot, id, status))
}

/// What a subject gets of an experiment, as what can be compared across snapshots.
fn told(decision: Decision<'_>) -> Value {
    json!([decision, decision.config(), decision.assignment().map(|own| own.is_control)])
}

/// Everything that is decided: of all experiments, of subjects that bring something or nothing.
fn decisions(snapshot: &Snapshot, id: &str) -> Vec<Value> {
    let mut all = Vec::new();
    for second in [0, 45, 60] {
        let now = at(second);
        for (country, brought) in [("DE", None), ("SE", Some("var_b")), ("SE", Some("var_none"))] {
            let attributes = [("country", country)];
            let subject = Subject::new(id).with_clock(&now).with_attributes(&attributes);
            for experiment in IDS.into_iter().chain(["exp_other", "exp_none"]) {
                let plain = snapshot.assign(experiment, &subject);
                all.push(told(plain));
                assert_eq!(snapshot.explain(experiment, &subject).decision(), plain);
                if let Some(arm) = brought {
                    let kept = subject.clone().kept(experiment, arm);
                    all.push(told(snapshot.assign(experiment, &kept)));
                    let forced = subject.clone().forced(experiment, arm);
                    all.push(told(snapshot.assign(experiment, &forced)));
                }
            }
            let mut scratch = Scratch::new();
            let mut active: Vec<Value> =
                snapshot.assign_all(&subject, &mut scratch).map(told).collect();
            active.sort_by_key(Value::to_string);
            all.extend(active);
        }
    }
    all
}

/// While the flag is off, who is not forced gets its off variation from what is active or paused,
/// and everything else is as it was.
#[track_caller]
fn check_off(on: &Snapshot, off: &Snapshot, id: &str) {
    let flag = off.flag("flg_a").unwrap();
    assert!(!flag.is_on());
    let variation = flag.off_variation_id();
    let config = variation.map(|id| off.variation(id).unwrap().config());
    for second in [0, 45, 60] {
        let now = at(second);
        let subject = Subject::new(id).with_clock(&now);
        for experiment in IDS {
            let status = off.experiment(experiment).unwrap().status();
            let runs = matches!(status, Status::Active | Status::Paused);
            for subject in [subject.clone(), subject.clone().kept(experiment, "var_b")] {
                let decision = off.assign(experiment, &subject);
                if !runs {
                    assert_eq!(told(decision), told(on.assign(experiment, &subject)));
                    continue;
                }
                assert_eq!(decision.reason().as_str(), "flag_off", "{experiment} {status}");
                assert_eq!(decision.variation_id(), variation);
                assert_eq!(decision.config(), config);
                assert!(!decision.in_experiment() && decision.assignment().is_none());
            }
            let forced = subject.clone().forced(experiment, "var_b");
            assert_eq!(told(off.assign(experiment, &forced)), told(on.assign(experiment, &forced)));
            let trial = off.trial_plan(experiment).unwrap();
            let as_if_on = on.trial_plan(experiment).unwrap();
            assert_eq!(told(trial.assign(&subject)), told(as_if_on.assign(&subject)));
        }
        let other = |snapshot: &Snapshot| told(snapshot.assign("exp_other", &subject));
        assert_eq!(other(off), other(on));
    }
    // Without an id it is the same.
    for experiment in IDS {
        let decision = off.assign(experiment, &Subject::of("user", "u-1"));
        if matches!(off.experiment(experiment).unwrap().status(), Status::Active | Status::Paused) {
            assert_eq!(decision.reason().as_str(), "flag_off");
            assert_eq!(decision.variation_id(), variation);
        }
    }
}

/// What can be edited of a flag and its experiments between switching off and on.
fn any_edit() -> impl Strategy<Value = Change> {
    let name = |name: &str| Change::patch_flag(&p("flg_a"), FlagPatch::new().name(name));
    let headline = VariationPatch::new().overrides([("headline".to_owned(), json!("Ahoy"))].into());
    prop_oneof![
        Just(name("Another name")),
        select(vec!["var_a", "var_b", "var_c", "var_d"])
            .prop_map(move |id| Change::patch_variation(&p(id), headline.clone())),
        Just(Change::set_flag_status(&p("flg_a"), FlagStatus::Archived)),
        Just(Change::patch_experiment(&p("exp_weights"), ExperimentPatch::new().name("Renamed"))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn off_is_at_once_and_on_again_moves_nobody(
        status in prop_oneof![4 => Just(Status::Active), 2 => Just(Status::Paused), 1 => select(Status::ALL)],
        off_variation in prop::option::of(select(vec!["var_a", "var_b", "var_c"])),
        ids in prop::collection::vec("[a-z0-9]{1,8}", 8),
        edit in prop::option::of(any_edit()),
    ) {
        let patch = FlagPatch::new();
        let patch = match off_variation {
            Some(id) => patch.off_variation_id(p(id)),
            None => patch,
        };
        // What is held out gets the off variation whether the flag is on or off.
        let on = ok(&start(status), switch(patch));
        let before: Vec<_> = ids.iter().map(|id| decisions(&on, id)).collect();
        let commit = apply(&on, switch(FlagPatch::new().on(false))).unwrap();
        let event = commit.event.clone().unwrap();
        prop_assert_eq!(&event.effects[0].fields, &["on"]);
        let off = Snapshot::clone(&commit.snapshot);
        for id in &ids {
            check_off(&on, &off, id);
        }
        let read = Snapshot::from_json(off.to_json()).unwrap();
        let replayed = on.replay([&*event]).unwrap();
        for other in [&read, &replayed] {
            prop_assert!(*other == off && other.to_json() == off.to_json());
            for id in &ids {
                check_off(&on, other, id);
                prop_assert_eq!(decisions(other, id), decisions(&off, id));
            }
        }
        for other in [&off, &read, &replayed] {
            let back = ok(other, switch(FlagPatch::new().on(true)));
            let after: Vec<_> = ids.iter().map(|id| decisions(&back, id)).collect();
            prop_assert!(before == after);
        }
        // Whatever else is edited, it serves the off variation as it is now.
        if let Some(Ok(commit)) = edit.map(|edit| apply(&off, edit)) {
            let edited = Snapshot::clone(&commit.snapshot);
            for experiment in IDS {
                let decision = edited.assign(experiment, &Subject::new("device-42"));
                if decision.reason().as_str() == "flag_off" {
                    let now = off_variation.map(|id| edited.variation(id).unwrap().config());
                    prop_assert_eq!(decision.config(), now);
                }
            }
            prop_assert!(Snapshot::from_json(edited.to_json()).unwrap() == edited);
        }
    }

    /// Of those who are held out, by any experiment: the off variation, or else the outside one.
    #[test]
    fn who_is_held_out_gets_the_off_variation(
        off_variation in prop::option::of(select(vec!["var_a", "var_c"])),
        ids in prop::collection::vec("[a-z0-9]{1,8}", 32),
        keep in select(Keep::ALL.to_vec()),
    ) {
        let plain = ok(
            &start(Status::Active),
            Change::patch_experiment(&p("exp_out"), ExperimentPatch::new().keep(keep)),
        );
        let patch = FlagPatch::new();
        let patch = match off_variation {
            Some(id) => patch.off_variation_id(p(id)),
            None => patch.clear_off_variation_id(),
        };
        let snapshot = ok(&plain, switch(patch));
        for id in &ids {
            let subject = Subject::new(id);
            for experiment in IDS {
                let [was, is] = [&plain, &snapshot].map(|own| own.assign(experiment, &subject));
                prop_assert_eq!(was.reason(), is.reason());
                match (is.reason().as_str(), off_variation) {
                    ("held_out", Some(off)) => {
                        prop_assert_eq!(is.variation_id().unwrap().as_str(), off);
                        prop_assert!(!is.in_experiment());
                        let config = snapshot.variation(off).unwrap().config();
                        prop_assert_eq!(is.config(), Some(config));
                    }
                    _ => prop_assert_eq!(told(is), told(was)),
                }
            }
        }
        let now = at(0);
        let differing = plain.preview(&snapshot).experiments();
        let differing: Vec<&str> = differing.into_iter().map(|id| id.as_str()).collect();
        let wanted: &[&str] = if off_variation.is_some() { &["exp_out"] } else { &[] };
        prop_assert_eq!(differing, wanted);
        if let Some(off) = off_variation {
            let moves = plain.preview(&snapshot).shares("exp_out", now).unwrap();
            let row = moves.rows().iter().find(|row| row.from != row.to).unwrap();
            prop_assert_eq!(row.from.variation_id.as_ref().unwrap().as_str(), "var_d");
            prop_assert_eq!(row.to.variation_id.as_ref().unwrap().as_str(), off);
            prop_assert!((row.share - 0.3).abs() < 1e-9 && !row.to.in_experiment);
        }
    }
}

#[test]
fn nothing_starts_while_the_flag_is_off() {
    let off = switch(FlagPatch::new().on(false));
    for status in [Status::Draft, Status::Paused] {
        let snapshot = ok(&brought_to(&world(), "exp_weights", status), off.clone());
        let readiness = snapshot.readiness("exp_weights").unwrap();
        let found: Vec<_> = readiness.violations().iter().map(|own| own.code()).collect();
        assert_eq!(found, [ViolationCode::FlagOff]);
        assert_eq!(readiness.violations()[0].to_string(), "flag_off: flag flg_a is off");
        let activate = Change::set_experiment_status(&p("exp_weights"), Status::Active);
        let error = apply(&snapshot, activate.clone()).unwrap_err();
        assert_eq!((error.code(), error.path()), (Code::NotReady, "status"));
        ok(&snapshot, vec![switch(FlagPatch::new().on(true)), activate]);
    }
    // What runs in a document without an iteration is to start there.
    let mut document: Value = world().to_json().parse().unwrap();
    document["flags"][0]["on"] = json!(false);
    let place = document["experiments"].as_array().unwrap().iter();
    let place = place.clone().position(|own| own["id"] == "exp_weights").unwrap();
    document["experiments"][place]["status"] = json!("active");
    document["experiments"][place].as_object_mut().unwrap().remove("iteration");
    let error = Snapshot::from_json(document.to_string()).unwrap_err();
    assert_eq!(error.code(), Code::NotReady, "{error}");
}

#[track_caller]
fn check_refused(change: Change, code: Code, path: &str) {
    let snapshot = ok(&world(), switch(FlagPatch::new().off_variation_id(p("var_d"))));
    let error = apply(&snapshot, change).unwrap_err();
    assert_eq!((error.code(), error.path()), (code, path), "{error}");
}

#[test]
fn the_off_variation_is_one_of_the_flags_own() {
    let other = NewFlag::new("Other").parameter("x", 1);
    let other = other.variation(NewVariation::new("one").id(p("var_x")));
    let foreign = other.clone().off_variation_id(p("var_a"));
    check_refused(foreign.into(), Code::UnknownReference, "off_variation_id");
    ok(&world(), other.off_variation_id(p("var_x")).on(false));
    let patch = |id: &str| switch(FlagPatch::new().off_variation_id(p(id)));
    check_refused(patch("var_x"), Code::UnknownReference, "patch.off_variation_id");
    // It goes when it is one no more.
    check_refused(Change::delete_variation(&p("var_d")), Code::InUse, "id");
    for free in [patch("var_a"), switch(FlagPatch::new().clear_off_variation_id())] {
        let snapshot = ok(&world(), patch("var_d"));
        ok(&snapshot, vec![free, Change::delete_variation(&p("var_d"))]);
    }
    let archived = Change::set_flag_status(&p("flg_a"), FlagStatus::Archived);
    let snapshot = ok(&world(), archived);
    for late in [switch(FlagPatch::new().on(false)), patch("var_a")] {
        assert_eq!(apply(&snapshot, late).unwrap_err().code(), Code::NotMutable);
    }
    let mut document: Value = world().to_json().parse().unwrap();
    document["flags"][0]["off_variation_id"] = json!("var_x");
    let error = Snapshot::from_json(document.to_string()).unwrap_err();
    let wanted = (Code::UnknownReference, "flags[0].off_variation_id");
    assert_eq!((error.code(), error.path()), wanted);
}

/// What is the default is not printed, and giving it is no change.
#[test]
fn a_flag_that_is_on_prints_as_before() {
    let plain = world();
    let text = plain.to_json();
    assert!(!text.contains("\"on\"") && !text.contains("off_variation_id"));
    for same in [FlagPatch::new().on(true), FlagPatch::new().clear_off_variation_id()] {
        assert_eq!(apply(&plain, switch(same)).unwrap().event, None);
    }
    let new = NewFlag::new("Other").id(p("flg_b")).parameter("x", 1);
    let made = |new: NewFlag| ok(&world(), new).to_json();
    assert_eq!(made(new.clone()), made(new.clone().on(true)));
    assert!(ok(&world(), new).flag("flg_b").unwrap().is_on());
}

/// An experiment is compiled anew when, and only when, the switch or what it serves has changed.
#[test]
fn the_preview_names_whom_the_switch_reaches() {
    let snapshot = ok(
        &start(Status::Active),
        Change::patch_experiment(
            &p("exp_soon"),
            ExperimentPatch::new().stages([Stage { at: at(50), traffic: p("70") }]),
        ),
    );
    let named = |then: &Snapshot| -> Vec<String> {
        snapshot.preview(then).experiments().iter().map(ToString::to_string).collect()
    };
    let off = ok(&snapshot, switch(FlagPatch::new().on(false).off_variation_id(p("var_c"))));
    assert_eq!(named(&off), ["exp_out", "exp_segments", "exp_soon", "exp_weights"]);
    let moves = snapshot.preview(&off).shares("exp_weights", at(0)).unwrap();
    assert_eq!(
        moves.to_string(),
        "from   to               share
var_a  var_c (outside)  50.0000 %  moves
var_b  var_c (outside)  50.0000 %  moves
100.0000 % move"
    );
    let renamed = ok(&snapshot, switch(FlagPatch::new().name("Another")));
    assert_eq!(named(&renamed), Vec::<String>::new());
    assert!(snapshot.lint(at(0)) == off.lint(at(0)), "an off variation is no finding");
}

#[test]
fn the_way_to_the_off_variation_is_shown() {
    let off = FlagPatch::new().on(false);
    let shown = |snapshot: &Snapshot, subject: &Subject<'_>| {
        snapshot.explain("exp_weights", subject).to_string()
    };
    let snapshot = ok(&start(Status::Paused), switch(off.clone()));
    let subject = Subject::new("device-42").kept("exp_weights", "var_b");
    assert_eq!(
        shown(&snapshot, &subject),
        "exp_weights → nothing (flag_off)
  kept      var_b is not kept now, and is passed over
  status    paused
  flag      flg_a is off, and serves nothing"
    );
    let snapshot = ok(&start(Status::Active), switch(off.off_variation_id(p("var_c"))));
    let subject = Subject::new("device-42");
    assert_eq!(
        shown(&snapshot, &subject),
        "exp_weights → var_c (flag_off)
  status    active
  flag      flg_a is off, and serves var_c"
    );
    let explained = serde_json::to_value(snapshot.explain("exp_weights", &subject)).unwrap();
    assert_eq!(
        explained,
        json!({
            "experiment_id": "exp_weights",
            "variation_id": "var_c",
            "in_experiment": false,
            "reason": "flag_off",
            "steps": [
                {"gate": "status", "status": "active"},
                {"gate": "flag_off", "flag_id": "flg_a", "variation_id": "var_c"}
            ]
        })
    );
}
