//! Which kinds of subjects there are: what is created or changed goes by one of them, and what there
//! is stays.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use crate::common::{apply, ok, p, share, world};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::json;
use variate::{
    Change, Code, ExperimentPatch, NewExperiment, NewHoldout, NewLayer, SettingsPatch, Snapshot,
    SubjectKind,
};

const KINDS: [&str; 4] = ["device", "user", "account", "org"];

fn owned(kinds: &[&str]) -> Vec<String> {
    kinds.iter().map(|kind| (*kind).to_owned()).collect()
}

fn settings(patch: SettingsPatch) -> Change {
    Change::patch_settings(patch)
}

/// What creates an entity that goes by a kind, or leaves it open, and the kind that it then has.
fn create(which: usize, kind: Option<&str>) -> (Change, fn(&Snapshot) -> SubjectKind) {
    let kind = kind.map(ToOwned::to_owned);
    match which {
        0 => {
            let new = NewExperiment::by_percentage("New", p("flg_a")).id(p("exp_n"));
            let new = kind.into_iter().fold(new, NewExperiment::subject_kind);
            (new.into(), |own| own.experiment("exp_n").unwrap().subject_kind().clone())
        }
        1 => {
            let mut new = NewLayer::new("New", "device").id(p("lay_n"));
            new.subject_kind = kind;
            (new.into(), |own| own.layer("lay_n").unwrap().subject_kind().clone())
        }
        _ => {
            let mut new = NewHoldout::new("New", "device", p("1")).id(p("hld_n"));
            new.subject_kind = kind;
            (new.into(), |own| own.holdout("hld_n").unwrap().subject_kind().clone())
        }
    }
}

proptest! {
    #[test]
    fn creations_go_by_a_kind_that_there_is(
        kinds in subsequence(KINDS.to_vec(), 0..4),
        default in prop::option::of(select(KINDS.to_vec())),
        which in 0..3_usize,
        kind in prop::option::of(select(KINDS.to_vec())),
        patched in select(KINDS.to_vec()),
    ) {
        let before = world();
        let knows = |kind: &str| kinds.is_empty() || kinds.contains(&kind);
        let patch = SettingsPatch::new().subject_kinds(owned(&kinds));
        let patch = default.into_iter().fold(patch, SettingsPatch::default_subject_kind);
        let commit = match (apply(&before, settings(patch)), default.is_none_or(knows)) {
            (Ok(commit), true) => commit,
            (Err(error), false) => {
                let wanted = (Code::InvalidValue, "patch.default_subject_kind");
                prop_assert_eq!((error.code(), error.path()), wanted);
                return Ok(());
            }
            (outcome, _) => panic!("{outcome:?}"),
        };
        let snapshot = Snapshot::clone(&commit.snapshot);
        prop_assert!(Snapshot::from_json(snapshot.to_json()).unwrap() == snapshot);
        // What there is stays, whatever its kind.
        for experiment in before.experiments() {
            prop_assert_eq!(snapshot.experiment(experiment.id()), Some(experiment));
        }
        let wanted = kind.or(default).unwrap_or("device");
        let (change, told) = create(which, kind);
        match apply(&snapshot, change) {
            Ok(commit) => {
                prop_assert!(knows(wanted));
                let told = told(&commit.snapshot);
                prop_assert_eq!(told.as_str(), wanted);
                // The event leads there again.
                let event = commit.event.clone().unwrap();
                prop_assert!(snapshot.replay([&*event]).unwrap() == *commit.snapshot);
            }
            Err(error) => {
                prop_assert!(!knows(wanted), "{}", error);
                prop_assert_eq!((error.code(), error.path()), (Code::InvalidValue, "subject_kind"));
                let value = format!("\"{wanted}\"");
                prop_assert_eq!(error.value(), Some(&*value));
            }
        }
        // Giving an experiment the kind that it has is no change, also if it is none of them.
        let patch = ExperimentPatch::new().subject_kind(patched);
        let change = Change::patch_experiment(&p("exp_weights"), patch);
        match apply(&snapshot, change) {
            Ok(commit) => {
                prop_assert!(patched == "device" || knows(patched));
                prop_assert_eq!(commit.event.is_none(), patched == "device");
            }
            Err(error) => {
                prop_assert!(patched != "device" && !knows(patched), "{}", error);
                let wanted = (Code::InvalidValue, "patch.subject_kind");
                prop_assert_eq!((error.code(), error.path()), wanted);
            }
        }
    }
}

#[test]
fn what_goes_by_a_kind_that_is_gone_can_be_edited_and_run() {
    let snapshot = ok(&world(), settings(SettingsPatch::new().subject_kinds(owned(&["user"]))));
    let rename = ExperimentPatch::new()
        .name("Renamed")
        .allocations([share("var_a", "10").control(), share("var_b", "90")]);
    let edit = Change::patch_experiment(&p("exp_weights"), rename);
    let start = Change::set_experiment_status(&p("exp_weights"), variate::Status::Active);
    ok(&snapshot, [edit, start]);
}

#[test]
fn the_kinds_are_kept_cleared_or_set() {
    #[track_caller]
    fn check(snapshot: &Snapshot, patch: SettingsPatch, wanted: Result<&[&str], (&str, &str)>) {
        match (apply(snapshot, settings(patch)), wanted) {
            (Ok(commit), Ok(fields)) => {
                let event = commit.event.as_deref();
                let told = event.map(|event| event.effects.iter().flat_map(|own| &own.fields));
                let told: Vec<&str> = told.into_iter().flatten().map(String::as_str).collect();
                assert_eq!(told, fields);
            }
            (Err(error), Err((path, rule))) => {
                assert_eq!((error.path(), error.rule()), (path, rule));
            }
            (outcome, wanted) => panic!("{outcome:?}, not {wanted:?}"),
        }
    }
    let new = SettingsPatch::new;
    let both = new().subject_kinds(owned(&["user", "org"])).default_subject_kind("org");
    let snapshot = ok(&world(), settings(both.clone()));
    assert_eq!(snapshot.settings().subject_kinds, [p::<SubjectKind>("user"), p("org")]);
    assert_eq!(snapshot.settings().default_subject_kind, Some(p("org")));
    let fields = ["subject_kinds", "default_subject_kind"];
    check(&world(), both.clone(), Ok(&fields));
    check(&snapshot, both, Ok(&[]));
    check(&snapshot, new(), Ok(&[]));
    check(&snapshot, new().subject_kinds([]), Ok(&["subject_kinds"]));
    check(&snapshot, new().clear_default_subject_kind(), Ok(&["default_subject_kind"]));
    check(&snapshot, new().subject_kinds([]).clear_default_subject_kind(), Ok(&fields));
    check(&world(), new().default_subject_kind("any"), Ok(&["default_subject_kind"]));
    let rule = "must have the default_subject_kind, which is org";
    let user = new().subject_kinds(owned(&["user"]));
    check(&snapshot, user.clone(), Err(("patch.subject_kinds", rule)));
    check(&snapshot, user.clone().clear_default_subject_kind(), Ok(&fields));
    check(&snapshot, user.default_subject_kind("user"), Ok(&fields));
    let rule = "must be one of the settings' subject_kinds: user, org";
    let other = new().default_subject_kind("any");
    check(&snapshot, other, Err(("patch.default_subject_kind", rule)));
    let twice = new().subject_kinds(owned(&["a", "b", "a"]));
    check(&world(), twice, Err(("patch.subject_kinds[2]", "must not be given twice")));
    let rule = "must have only letters, digits and . _ -";
    let bad = new().subject_kinds(owned(&["a", "b c"]));
    check(&world(), bad, Err(("patch.subject_kinds[1]", rule)));
    let many = |count: usize| -> Vec<String> {
        (0..count).map(|number| format!("kind-{number}")).collect()
    };
    check(&world(), new().subject_kinds(many(100)), Ok(&["subject_kinds"]));
    let rule = "must have 0 to 100 entries";
    let too_many = new().subject_kinds(many(101));
    check(&world(), too_many, Err(("patch.subject_kinds", rule)));
}

#[test]
fn a_document_has_a_default_kind_that_there_is() {
    let read = |settings: serde_json::Value| {
        Snapshot::from_json(json!({"format": "variate/1", "settings": settings}).to_string())
    };
    read(json!({"subject_kinds": ["a", "b"], "default_subject_kind": "b"})).unwrap();
    read(json!({"default_subject_kind": "b"})).unwrap();
    for (settings, path) in [
        (json!({"subject_kinds": ["a"], "default_subject_kind": "b"}), "default_subject_kind"),
        (json!({"subject_kinds": ["a", "a"]}), "subject_kinds[1]"),
    ] {
        let error = read(settings).unwrap_err();
        let path = format!("settings.{path}");
        assert_eq!((error.code(), error.path()), (Code::InvalidValue, &*path));
    }
    assert!(!world().to_json().contains("subject_kinds"));
}
