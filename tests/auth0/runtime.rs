//! What a request of a subject gets: the context and its complete config, override parameters in
//! every status, kept assignments while paused, and the log record.

use serde_json::{Value, json};
use variate::api::auth0::{Login, resolve};
use variate::{Attributes, Change, Snapshot, Status, Subject};

use crate::common::{apply, ok, p};
use crate::support::{world, world_with};

const EXPERIMENTS: [(&str, &str); 3] = [
    ("exp_weights", "authentication"),
    ("exp_segments", "mfa_challenge"),
    ("exp_ramp", "password_reset"),
];

fn device<'a>(id: &'a str, attributes: &'a dyn Attributes) -> Subject<'a> {
    Subject::new(id).with_attributes(attributes)
}

fn shown(snapshot: &Snapshot, login: &Login<'_>) -> Value {
    serde_json::to_value(resolve(snapshot, login)).unwrap()
}

fn nothing() -> Value {
    json!({"context": null, "log": null, "overridden": false, "warnings": []})
}

/// The variation of a context, and whether it is the control.
fn arm(shown: &Value) -> (&str, bool) {
    let context = &shown["context"];
    (context["variation_id"].as_str().unwrap(), context["is_control"].as_bool().unwrap())
}

#[test]
fn the_context_and_the_log_have_these_members_and_no_others() {
    let snapshot = world_with("exp_segments", Status::Active);
    let german = [("country", "DE")];
    let config = json!({
        "headline": {"value": "Hi"}, "size": {"value": 12}, "bold": {"value": true},
        "list": {"value": ["a", 1]}, "map": {"value": {"value": 1}},
    });
    // By segment no id is needed: nothing is hashed.
    for id in ["device-1", ""] {
        let login = Login::new("mfa_challenge", device(id, &german));
        let expected = json!({
            "context": {
                "experiment_id": "exp_segments", "variation_id": "var_b", "config": config,
                "is_control": false,
            },
            "log": {
                "experiment_id": "exp_segments", "variation_id": "var_b", "is_control": false,
                "allocation_strategy": "segment", "segment_id": "seg_germany",
            },
            "overridden": false,
            "warnings": [],
        });
        assert_eq!(shown(&snapshot, &login), expected);
    }
    // No segment matches: the fallback, and no segment in the log.
    let other = shown(&snapshot, &Login::new("mfa_challenge", Subject::new("device-1")));
    assert_eq!(arm(&other), ("var_a", true));
    assert_eq!(other["log"].as_object().unwrap().len(), 4);
    // On another flow nothing.
    assert_eq!(shown(&snapshot, &Login::new("login", device("device-1", &german))), nothing());
}

#[test]
fn overrides_hold_in_every_status_for_one_call() {
    for (id, flow) in EXPERIMENTS {
        for status in Status::ALL {
            let snapshot = world_with(id, *status);
            let plain = Login::new(flow, Subject::new("device-1"));
            let before = shown(&snapshot, &plain);
            assert_eq!(before["context"].is_null(), *status != Status::Active, "{id} {status}");
            for variation in ["var_a", "var_b"] {
                let login = plain.clone().experiment_id(id).variation_id(variation);
                let forced = shown(&snapshot, &login);
                assert_eq!(arm(&forced), (variation, variation == "var_a"), "{id} {status}");
                assert_eq!(
                    (&forced["overridden"], &forced["warnings"]),
                    (&json!(true), &json!([]))
                );
            }
            // Enrolled, the subject gets what the experiment gives or would give it.
            let enrolled = shown(&snapshot, &plain.clone().experiment_id(id));
            let running = shown(&world_with(id, Status::Active), &plain);
            assert_eq!(enrolled["context"], running["context"], "{id} {status}");
            assert_eq!(enrolled["log"], running["log"], "{id} {status}");
            assert_eq!(shown(&snapshot, &plain), before);
        }
    }
    let login = Login::new("login", Subject::new("device-1")).experiment_id("exp_segments");
    let german = shown(&world(), &login.clone().segment_id("seg_germany"));
    assert_eq!(
        (arm(&german), &german["log"]["segment_id"]),
        (("var_b", false), &"seg_germany".into())
    );
}

#[test]
fn override_parameters_that_name_nothing_are_passed_over_with_a_warning() {
    let snapshot = world_with("exp_weights", Status::Active);
    let plain = Login::new("authentication", Subject::new("device-1"));
    let regular = shown(&snapshot, &plain);
    let check = |login: Login<'_>, warning: &str| {
        let mut expected = regular.clone();
        expected["warnings"] = json!([warning]);
        assert_eq!(shown(&snapshot, &login), expected);
    };
    check(plain.clone().variation_id("var_b"), "experiment_orphaned_params");
    check(plain.clone().segment_id("seg_ios"), "experiment_orphaned_params");
    for id in ["exp_none", "", "flg_signin"] {
        check(plain.clone().experiment_id(id).variation_id("var_b"), "experiment_not_found");
    }
    let known = plain.clone().experiment_id("exp_weights");
    for (variation, segment) in [("var_c", None), ("", None), ("var_b", Some("seg_ios"))] {
        let login = known.clone().variation_id(variation);
        let login = segment.iter().fold(login, |login, id| login.segment_id(id));
        check(login, "experiment_allocation_not_found");
    }
}

#[test]
fn a_paused_experiment_keeps_those_who_bring_an_assignment() {
    for (id, flow) in EXPERIMENTS {
        for status in Status::ALL {
            let snapshot = world_with(id, *status);
            let regular = shown(&snapshot, &Login::new(flow, Subject::new("device-1")));
            for variation in ["var_a", "var_b", "var_x", "none"] {
                let brings = Login::new(flow, Subject::new("device-1").kept(id, variation));
                let got = shown(&snapshot, &brings);
                if *status == Status::Paused && variation.len() == 5 && variation != "var_x" {
                    assert_eq!(arm(&got), (variation, variation == "var_a"), "{id}");
                    assert_eq!(got["overridden"], json!(false));
                } else {
                    // Also while it is active: else a ramp would never go on.
                    assert_eq!(got, regular, "{id} {status} {variation}");
                }
            }
            let elsewhere = Subject::new("device-1").kept(id, "var_b");
            assert_eq!(shown(&snapshot, &Login::new("login", elsewhere)), nothing());
        }
    }
}

#[test]
fn forced_wins_over_kept_and_counts_as_overridden() {
    for status in [Status::Active, Status::Paused] {
        let snapshot = world_with("exp_weights", status);
        let both =
            Subject::new("device-1").kept("exp_weights", "var_a").forced("exp_weights", "var_b");
        let got = shown(&snapshot, &Login::new("authentication", both));
        assert_eq!((arm(&got), &got["overridden"]), (("var_b", false), &json!(true)), "{status}");
    }
}

#[test]
fn who_is_attached_is_so_while_active_and_paused() {
    for status in Status::ALL {
        let snapshot = world_with("exp_weights", *status);
        let ask = |subject| shown(&snapshot, &Login::new("authentication", subject));
        let plain = Subject::new("device-1").kept("exp_weights", "var_a");
        for variation in ["var_a", "var_b"] {
            let got = ask(plain.clone().attached("exp_weights", variation));
            if matches!(status, Status::Active | Status::Paused) {
                assert_eq!(arm(&got), (variation, variation == "var_a"), "{status}");
                assert_eq!(got["overridden"], json!(false));
            } else {
                assert_eq!(got, ask(plain.clone()), "{status}");
            }
        }
    }
}

#[test]
fn the_experiment_that_started_first_comes_first() {
    let both = ok(
        &world(),
        [
            Change::patch_experiment(&p("exp_ramp"), variate::ExperimentPatch::new().flow("all")),
            Change::set_experiment_status(&p("exp_weights"), Status::Active),
        ],
    );
    let later = variate::Timestamp::from_unix_millis(10_000).unwrap();
    let start = Change::set_experiment_status(&p("exp_ramp"), Status::Active);
    assert!(apply(&both, start.clone()).is_ok());
    let both = both.apply(start, later, &mut || 0).unwrap().snapshot;
    for (flow, id) in [("authentication", "exp_weights"), ("all", "exp_ramp"), ("x", "exp_ramp")] {
        let got = shown(&both, &Login::new(flow, Subject::new("device-1")));
        assert_eq!(got["context"]["experiment_id"], id, "{flow}");
    }
}
