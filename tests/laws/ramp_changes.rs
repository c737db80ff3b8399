//! How a ramp changes: what levels there can be, which of them it can go to from where, what sets
//! its traffic and what may not, and what all of that leaves on record.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

use std::sync::{Arc, Mutex};

use crate::common::{apply, at, brought_to, ok, p, share, world};
use serde_json::{Value, json};
use variate::{
    Allocation, Change, Code, EffectKind, Engine, EntityKind, Error, Event, ExperimentPatch,
    FlagStatus, NewExperiment, Percentage, Snapshot, Status, Transaction,
};

const ID: &str = "exp_ramp";

fn levels(texts: &[&str]) -> Vec<Percentage> {
    texts.iter().map(|text| p(text)).collect()
}

/// A draft without weights in the world, with these levels.
fn draft(steps: &[&str]) -> Snapshot {
    let new = NewExperiment::by_percentage("Ramp", p("flg_a"))
        .id(p(ID))
        .allocation(Allocation::ramped(p("var_a")).control())
        .allocation(Allocation::ramped(p("var_b")))
        .levels(levels(steps));
    ok(&world(), new)
}

/// A ramp in this status, that stands at this one of its levels.
fn standing(status: Status, steps: &[&str], level: usize) -> Snapshot {
    let mut snapshot = draft(steps);
    if status == Status::Draft {
        return snapshot;
    }
    snapshot = ok(&snapshot, set_status(Status::Active));
    for level in &steps[1..=level] {
        snapshot = ok(&snapshot, advance(level));
    }
    match status {
        Status::Active => snapshot,
        Status::Archived => ok(&snapshot, [Status::Completed, Status::Archived].map(set_status)),
        _ => ok(&snapshot, set_status(status)),
    }
}

fn set_status(status: Status) -> Change {
    Change::set_experiment_status(&p(ID), status)
}

fn advance(level: &str) -> Change {
    Change::advance_ramp(&p(ID), p(level))
}

fn patch(patch: ExperimentPatch) -> Change {
    Change::patch_experiment(&p(ID), patch)
}

/// The traffic and the level of the ramp.
fn stands(snapshot: &Snapshot) -> (String, Option<String>) {
    let ramp = snapshot.experiment(ID).unwrap();
    (ramp.traffic().to_string(), ramp.current_level().map(|level| level.to_string()))
}

/// A refusal leaves everything as it was, in an engine too.
#[track_caller]
fn refused(snapshot: &Snapshot, transaction: impl Into<Transaction>) -> Error {
    let engine = Engine::from_snapshot(snapshot.clone());
    engine.listen(|_, _| panic!("nobody must be told")).unwrap();
    let error = engine.commit(transaction).unwrap_err();
    assert!(*engine.snapshot() == *snapshot);
    assert_eq!(engine.to_json(), snapshot.to_json());
    error
}

#[track_caller]
fn no_change(snapshot: &Snapshot, change: Change) {
    let commit = apply(snapshot, change).unwrap_or_else(|error| panic!("{error}"));
    assert!(commit.event.is_none(), "{:?}", commit.event);
    assert!(*commit.snapshot == *snapshot);
}

/// What comes of going to a level.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Outcome {
    Goes,
    Stays,
    /// Refused, with a word of the rule.
    Refused(Code, &'static str),
}

const NOT_NEXT: Outcome = Outcome::Refused(Code::InvalidValue, "must be the next level, ");
const AT_THE_END: Outcome = Outcome::Refused(Code::InvalidValue, "must be the last level, 50, at");
const NO_LEVELS: Outcome = Outcome::Refused(Code::InvalidValue, "which has none");

const fn halted(status: &'static str) -> Outcome {
    Outcome::Refused(Code::NotMutable, status)
}

#[track_caller]
fn check_advance(snapshot: &Snapshot, level: &str, wanted: Outcome) {
    let before = snapshot.experiment(ID).unwrap();
    match wanted {
        Outcome::Goes => {
            let commit = apply(snapshot, advance(level)).unwrap();
            let after = commit.snapshot.experiment(ID).unwrap();
            assert_eq!(stands(&commit.snapshot), (level.to_owned(), Some(level.to_owned())));
            assert_eq!(after.version(), before.version() + 1);
            assert_eq!(after.iteration(), before.iteration(), "the run goes on as it was frozen");
        }
        Outcome::Stays => no_change(snapshot, advance(level)),
        Outcome::Refused(code, word) => {
            let error = refused(snapshot, advance(level));
            assert_eq!((error.code(), error.path()), (code, "level"), "{error}");
            assert_eq!(error.value(), Some(level));
            assert!(error.rule().contains(word), "{error} must say {word:?}");
            let settings = Change::patch_settings(variate::SettingsPatch::new());
            let second = refused(snapshot, [settings, advance(level)]);
            assert_eq!((second.change(), second.path()), (Some(1), "level"));
        }
    }
}

/// By status: the level at which the ramp of 10, 20, 30 and 50 stands, and the outcome for the
/// levels in order, for one between, and for one beyond.
#[test]
fn a_ramp_goes_to_the_next_level_alone_and_only_while_it_is_active() {
    use Outcome::{Goes, Stays};
    const STEPS: [&str; 4] = ["10", "20", "30", "50"];
    const TARGETS: [&str; 7] = ["10", "20", "30", "50", "20.000001", "0", "100"];
    const N: Outcome = NOT_NEXT;
    const E: Outcome = AT_THE_END;
    let d = halted("is active, not draft");
    let h = halted("is active, not paused");
    let c = halted("is active, not completed");
    let a = halted("is active, not archived");
    let table = [
        (Status::Draft, 0, [d, d, d, d, d, d, d]),
        (Status::Active, 0, [Stays, Goes, N, N, N, N, N]),
        (Status::Active, 1, [N, Stays, Goes, N, N, N, N]),
        (Status::Active, 2, [N, N, Stays, Goes, N, N, N]),
        (Status::Active, 3, [E, E, E, Stays, E, E, E]),
        (Status::Paused, 1, [h, Stays, h, h, h, h, h]),
        (Status::Paused, 3, [h, h, h, Stays, h, h, h]),
        (Status::Completed, 1, [c, Stays, c, c, c, c, c]),
        (Status::Archived, 1, [a, Stays, a, a, a, a, a]),
    ];
    for (status, level, outcomes) in table {
        let snapshot = standing(status, &STEPS, level);
        let restored = Snapshot::from_json(snapshot.to_json()).unwrap();
        for (target, wanted) in TARGETS.into_iter().zip(outcomes) {
            check_advance(&snapshot, target, wanted);
            check_advance(&restored, target, wanted);
        }
    }
    let next = refused(&standing(Status::Active, &STEPS, 1), advance("50"));
    assert!(next.rule().contains("next level, 30"), "{next}");
    // Without levels, in whatever status.
    for status in Status::ALL {
        let snapshot = brought_to(&world(), "exp_weights", *status);
        for level in ["0", "50", "100"] {
            let error = refused(&snapshot, Change::advance_ramp(&p("exp_weights"), p(level)));
            let Outcome::Refused(code, word) = NO_LEVELS else { panic!("is a refusal") };
            assert_eq!((error.code(), error.path()), (code, "level"), "{status}");
            assert!(error.rule().contains(word), "{error}");
        }
    }
    let error = refused(&world(), Change::advance_ramp(&p("exp_none"), p("10")));
    assert_eq!((error.code(), error.path()), (Code::NotFound, "id"));
}

#[test]
fn an_archived_draft_is_no_ramp_that_started() {
    let archived = ok(&draft(&["10", "20"]), set_status(Status::Archived));
    assert_eq!(stands(&archived), ("100".into(), None));
    check_advance(&archived, "10", halted("is active, not archived"));
    check_advance(&archived, "100", halted("is active, not archived"));
}

#[test]
fn the_first_activation_alone_sets_the_first_level() {
    let before = draft(&["0.5", "20"]);
    assert_eq!(stands(&before), ("100".into(), None));
    let commit = apply(&before, set_status(Status::Active)).unwrap();
    assert_eq!(stands(&commit.snapshot), ("0.5".into(), Some("0.5".into())));
    assert_eq!(commit.snapshot.experiment(ID).unwrap().version(), 2);
    let effects = &commit.event.unwrap().effects;
    assert_eq!(effects.len(), 1);
    assert_eq!((effects[0].effect, effects[0].froze), (EffectKind::Transitioned, true));
    // Whatever the traffic of the draft was.
    let given = ok(&world(), {
        let new = NewExperiment::by_percentage("Ramp", p("flg_a")).id(p(ID)).traffic(p("70"));
        [share("var_a", "50").control(), share("var_b", "50")]
            .into_iter()
            .fold(new, NewExperiment::allocation)
    });
    let ramped = ok(&given, patch(ExperimentPatch::new().levels(levels(&["30", "60"]))));
    assert_eq!(stands(&ramped), ("70".into(), None));
    assert_eq!(stands(&ok(&ramped, set_status(Status::Active))), ("30".into(), Some("30".into())));
    // A pause keeps the level, and so does taking up edits.
    let second = ok(&commit.snapshot, advance("20"));
    for resume in [set_status(Status::Active), Change::resume_refreshed(&p(ID))] {
        let resumed = ok(&second, [set_status(Status::Paused), resume]);
        assert_eq!(stands(&resumed), ("20".into(), Some("20".into())));
    }
    // One transaction can start it and go on.
    let all = [set_status(Status::Active), advance("0.5"), advance("20").if_version(2)];
    let started = apply(&before, all).unwrap();
    assert_eq!(stands(&started.snapshot), ("20".into(), Some("20".into())));
    assert_eq!(started.event.unwrap().effects.len(), 2);
}

#[test]
fn the_traffic_of_a_ramp_changes_in_no_other_way() {
    for status in Status::ALL {
        let snapshot = standing(*status, &["10", "20", "30"], 1);
        let (present, _) = stands(&snapshot);
        no_change(&snapshot, patch(ExperimentPatch::new().traffic(p(&present))));
        // Not even to a level.
        for traffic in ["10", "30", "31", "0"] {
            let error = refused(&snapshot, patch(ExperimentPatch::new().traffic(p(traffic))));
            let got = (error.code(), error.path());
            assert_eq!(got, (Code::NotMutable, "patch.traffic"), "{status}: {error}");
            assert_eq!(error.value(), Some(traffic));
            assert!(error.rule().contains("advancing the ramp"), "{error}");
            assert!(error.is_refused());
        }
        if *status != Status::Draft {
            let error = refused(&snapshot, patch(ExperimentPatch::new().levels(levels(&["20"]))));
            assert_eq!((error.code(), error.path()), (Code::NotMutable, "patch.levels"));
        }
    }
    // A draft that is no ramp any more is free again, at once.
    let both = ExperimentPatch::new().levels([]).traffic(p("44"));
    assert_eq!(stands(&ok(&draft(&["10"]), patch(both))), ("44".into(), None));
    let plain = ok(&draft(&["10"]), patch(ExperimentPatch::new().levels([])));
    let both = ExperimentPatch::new().levels(levels(&["10"])).traffic(p("44"));
    let error = refused(&plain, patch(both));
    assert_eq!((error.code(), error.path()), (Code::NotMutable, "patch.traffic"));
    // Whoever creates a ramp cannot give it.
    let new = NewExperiment::by_percentage("Other ramp", p("flg_a")).traffic(p("10"));
    let error = refused(&world(), new.clone().levels(levels(&["10"])));
    assert_eq!((error.code(), error.path()), (Code::InvalidValue, "traffic"));
    assert_eq!(error.value(), Some("10"));
    ok(&world(), new.levels([]));
}

/// Levels of an experiment when it is created, when it is edited, and in a document.
#[track_caller]
fn check_levels(strategy: variate::Strategy, steps: &[Percentage], wanted: Option<(Code, &str)>) {
    let new = NewExperiment::new("Ramp", p("flg_a"), strategy).id(p(ID));
    let plain = ok(&world(), new.clone());
    let mut document: Value = serde_json::from_str(&plain.to_json()).unwrap();
    let experiments = document["experiments"].as_array_mut().unwrap();
    let index = experiments.iter().position(|own| own["id"] == ID).unwrap();
    experiments[index]["levels"] = json!(steps);
    let ways = [
        (apply(&world(), new.levels(steps)).map(|commit| commit.snapshot), String::new()),
        (
            apply(&plain, patch(ExperimentPatch::new().levels(steps)))
                .map(|commit| commit.snapshot),
            "patch.".to_owned(),
        ),
        (Snapshot::from_json(document.to_string()).map(Arc::new), format!("experiments[{index}].")),
    ];
    for (outcome, prefix) in ways {
        match (outcome, wanted) {
            (Ok(snapshot), None) => {
                assert_eq!(snapshot.experiment(ID).unwrap().levels(), steps);
                let restored = Snapshot::from_json(snapshot.to_json()).unwrap();
                assert!(restored == *snapshot);
            }
            (Err(error), Some((code, path))) => {
                let path = format!("{prefix}{path}");
                assert_eq!((error.code(), error.path()), (code, &*path), "{error}");
            }
            (Ok(_), Some(wanted)) => panic!("{steps:?} must be refused with {wanted:?}"),
            (Err(error), None) => panic!("{steps:?}: {error}"),
        }
    }
}

#[test]
fn levels_rise_from_0_to_100_and_are_for_percentages() {
    use variate::Strategy::{Percentage as ByWeight, Segment};
    let invalid = Code::InvalidValue;
    for (steps, wanted) in [
        (&[][..], None),
        (&["0"], None),
        (&["100"], None),
        (&["0", "0.000001", "50", "99.999999", "100"], None),
        (&["10", "10"], Some((invalid, "levels[1]"))),
        (&["10", "10.0"], Some((invalid, "levels[1]"))),
        (&["0", "50", "49.999999", "100"], Some((invalid, "levels[2]"))),
        (&["100", "0"], Some((invalid, "levels[1]"))),
    ] {
        check_levels(ByWeight, &levels(steps), wanted);
        let wanted = (!steps.is_empty()).then_some((invalid, "levels"));
        check_levels(Segment, &levels(steps), wanted);
    }
    let many = |count: u64| -> Vec<Percentage> {
        (0..count).map(|number| Percentage::from_millionths(number * 900_000).unwrap()).collect()
    };
    check_levels(ByWeight, &many(101), None);
    check_levels(ByWeight, &many(102), Some((Code::LimitExceeded, "levels")));
    // Whole percents fill it.
    let whole = (0..=100).map(|number| Percentage::from_millionths(number * 1_000_000).unwrap());
    check_levels(ByWeight, &whole.collect::<Vec<_>>(), None);
    for beyond in ["-1", "100.000001", "1e300", "0.0000001"] {
        let json = format!(r#"{{"change": "advance_ramp", "id": "{ID}", "level": {beyond}}}"#);
        let error = Change::from_json(json).unwrap_err();
        assert_eq!((error.code(), error.path()), (invalid, "level"), "{beyond}");
    }
}

/// A ramp in a document: it is read, or refused at this path.
#[track_caller]
fn check_document(
    status: Status,
    edit: impl FnOnce(&mut Value),
    wanted: Option<(Code, &str)>,
) -> Option<Snapshot> {
    let mut document: Value =
        serde_json::from_str(&standing(status, &["10", "20", "30"], 1).to_json()).unwrap();
    let experiments = document["experiments"].as_array_mut().unwrap();
    let index = experiments.iter().position(|own| own["id"] == ID).unwrap();
    edit(&mut experiments[index]);
    match (Snapshot::from_json(document.to_string()), wanted) {
        (Ok(read), None) => {
            assert!(Snapshot::from_json(read.to_json()).unwrap() == read);
            Some(read)
        }
        (Err(error), Some((code, path))) => {
            let path = format!("experiments[{index}].{path}");
            assert_eq!((error.code(), error.path()), (code, &*path), "{error}");
            None
        }
        (read, wanted) => panic!("{wanted:?}, but {:?}", read.map(drop)),
    }
}

#[test]
fn what_has_started_stands_at_one_of_its_levels() {
    let at_a_level = Some((Code::InvalidValue, "traffic"));
    for status in Status::ALL {
        let wanted = at_a_level.filter(|_| *status != Status::Draft);
        for traffic in ["10", "20", "30"] {
            check_document(*status, |own| own["traffic"] = json!(p::<Percentage>(traffic)), None);
        }
        for traffic in ["0", "20.5", "100"] {
            let traffic = json!(p::<Percentage>(traffic));
            check_document(*status, |own| own["traffic"] = traffic, wanted);
        }
        // Left out it is the first, or in a draft everything, as in one that is created.
        let absent = |own: &mut Value| drop(own.as_object_mut().unwrap().remove("traffic"));
        let read = check_document(*status, absent, None).unwrap();
        assert_eq!(stands(&read).0, if *status == Status::Draft { "100" } else { "10" });
        // With nothing said of its run, it has one if it is active or paused or completed.
        let bare = |own: &mut Value| {
            own["traffic"] = json!(70);
            own.as_object_mut().unwrap().remove("iteration");
        };
        let ran = !matches!(status, Status::Draft | Status::Archived);
        check_document(*status, bare, at_a_level.filter(|_| ran));
        // What it ran on needs levels to be without weights.
        let plain = |own: &mut Value| drop(own.as_object_mut().unwrap().remove("levels"));
        let frozen = Some((Code::NotReady, "iteration.allocations"));
        check_document(*status, plain, frozen.filter(|_| *status != Status::Draft));
    }
}

#[test]
fn a_version_that_has_moved_on_is_a_conflict() {
    let snapshot = standing(Status::Active, &["10", "20", "30"], 1);
    let version = snapshot.experiment(ID).unwrap().version();
    assert_eq!(version, 3);
    for stale in [1, 2, 4, 0, u64::MAX] {
        for level in ["20", "30", "10"] {
            let error = refused(&snapshot, advance(level).if_version(stale));
            assert_eq!((error.code(), error.path()), (Code::VersionConflict, "if_version"));
            assert!(error.is_conflict());
        }
    }
    no_change(&snapshot, advance("20").if_version(3));
    ok(&snapshot, advance("30").if_version(3));
    // Of two who both go on from here, the second is told, rather than taken a level too far.
    let twice = refused(&snapshot, [advance("30").if_version(3), advance("30").if_version(3)]);
    assert_eq!((twice.code(), twice.change()), (Code::VersionConflict, Some(1)));
}

#[test]
fn an_advance_is_an_edit_of_the_traffic() {
    let snapshot = standing(Status::Active, &["10", "20"], 0);
    let commit = apply(&snapshot, advance("20").if_version(2)).unwrap();
    let event = commit.event.unwrap();
    let json = serde_json::to_value(&*event).unwrap();
    assert_eq!(
        json["effects"],
        json!([{
            "effect": "edited", "entity": "experiment", "id": ID, "version": 3,
            "fields": ["traffic"]
        }])
    );
    assert_eq!(event.effects[0].entity, EntityKind::Experiment);
    let change = json!({"change": "advance_ramp", "id": ID, "if_version": 2, "level": 20});
    assert_eq!(json["changes"], json!([change]));
    assert_eq!(Event::from_json(json.to_string()).unwrap(), *event);
    assert_eq!(Change::from_json(change.to_string()).unwrap(), advance("20").if_version(2));
    assert_eq!(commit.snapshot.experiment(ID).unwrap().updated_at(), event.at);
    // Only the arms' traffic is different in the document.
    let [mut before, mut after] = [&snapshot, &*commit.snapshot].map(|snapshot| {
        let document = serde_json::to_value(snapshot).unwrap();
        let own = document["experiments"].as_array().unwrap().iter().find(|own| own["id"] == ID);
        own.unwrap().clone()
    });
    for key in ["traffic", "version", "updated_at"] {
        assert_ne!(before[key].take(), after[key].take(), "{key}");
    }
    assert_eq!(before, after);
}

#[test]
fn a_ramp_goes_on_whatever_has_been_archived() {
    let snapshot = standing(Status::Active, &["10", "20"], 0);
    let archived = ok(&snapshot, Change::set_flag_status(&p("flg_a"), FlagStatus::Archived));
    assert!(!archived.readiness(ID).unwrap().is_ready());
    check_advance(&archived, "20", Outcome::Goes);
}

/// Byte for byte, from the draft to the end; and a dry run says before what comes of each step.
#[test]
fn a_ramp_is_replayed_and_run_dry() {
    let engine = Engine::with(world(), || at(1_000), || 7);
    let told: Arc<Mutex<Vec<Event>>> = Arc::default();
    let heard = Arc::clone(&told);
    engine.listen(move |event, _| heard.lock().unwrap().push(event.clone())).unwrap();
    let create = NewExperiment::by_percentage("Ramp", p("flg_a"))
        .id(p(ID))
        .allocation(Allocation::ramped(p("var_a")).control())
        .allocation(Allocation::ramped(p("var_b")))
        .levels(levels(&["5", "20", "60"]));
    let steps = [
        create.into(),
        patch(ExperimentPatch::new().levels(levels(&["10", "20", "60"]))),
        set_status(Status::Active),
        advance("20"),
        advance("20"),
        set_status(Status::Paused),
        patch(ExperimentPatch::new().allocations([
            share("var_a", "50").control(),
            share("var_b", "25"),
            share("var_c", "25"),
        ])),
        set_status(Status::Active),
        advance("60"),
        set_status(Status::Completed),
    ];
    for step in steps {
        let before = engine.snapshot();
        let dry = engine.dry_run(step.clone()).unwrap();
        assert!(Arc::ptr_eq(&engine.snapshot(), &before), "a dry run publishes nothing");
        let commit = engine.commit(step).unwrap();
        assert_eq!(dry, commit);
        assert_eq!(dry.snapshot.to_json(), commit.snapshot.to_json());
    }
    let events = told.lock().unwrap();
    assert_eq!(events.len(), 9, "one step makes no difference");
    let through_json = events.iter().map(|event| serde_json::to_string(event).unwrap());
    let read: Vec<Event> = through_json.map(|json| Event::from_json(json).unwrap()).collect();
    let replayed = world().replay(&read).unwrap();
    assert_eq!(replayed.to_json(), engine.to_json());
    assert!(replayed == *engine.snapshot());
    // A history that claims another level is found out.
    let mut tampered = read;
    for event in &mut tampered {
        for change in &mut event.changes {
            if let Change::AdvanceRamp { level, .. } = change {
                *level = p("10");
            }
        }
    }
    let error = world().replay(&tampered).unwrap_err();
    assert_eq!(error.code(), Code::ReplayMismatch);
}
