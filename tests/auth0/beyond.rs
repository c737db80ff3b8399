//! What the program does with the engine that Auth0 does not know: it is neither shown nor undone,
//! and Auth0's own bounds hold for what comes through its surface.

use http::Request;
use serde_json::{Value, json};
use variate::api::auth0::{ExperimentCenter, Login, resolve};
use variate::{
    Allocation, Change, ExperimentPatch, FlagPatch, NewExperiment, SegmentPatch, SettingsPatch,
    Snapshot, Status, Subject, VariationPatch, Weights,
};

use crate::common::{ok, p, share};
use crate::support::{Api, GENERATIONS, new_experiment, world, world_with};

/// The bodies that create one of each kind, and the paths of one of each.
fn kinds() -> [(&'static str, Value, &'static str); 4] {
    let flag = json!({"name": "New", "parameters": {"x": {"type": "number", "value": 1}}});
    let variation = json!({"name": "New", "overrides": {}});
    let segment = json!({"name": "New", "rules": [{"match": {"country": ["DE"]}}]});
    [
        ("/feature-flags", flag, "/feature-flags/flg_signin"),
        (
            "/feature-flags/flg_signin/variations",
            variation,
            "/feature-flags/flg_signin/variations/var_b",
        ),
        ("/segments", segment, "/segments/seg_ios"),
        ("/experiments", new_experiment("New"), "/experiments/exp_weights"),
    ]
}

#[test]
fn names_and_descriptions_are_of_auth0s_length() {
    for generation in GENERATIONS {
        for (list, body, own) in kinds() {
            for (field, max) in [("name", 255), ("description", 1024)] {
                for length in [0, 1, 2, 3, max, max + 1, 2049] {
                    let text = "é".repeat(length);
                    let mut new = body.clone();
                    new[field] = json!(text);
                    let answers = [
                        Api::new(generation).post(list, &new),
                        Api::new(generation).patch(own, &json!({field: text})),
                    ];
                    let shown: String = json!(text).to_string().chars().take(80).collect();
                    let message = format!("{field}: must have 3 to {max} characters; got {shown}");
                    for answer in answers {
                        if (3..=max).contains(&length) {
                            answer.ok();
                            continue;
                        }
                        answer.refused(400, "invalid_value").naming(&message);
                    }
                }
            }
        }
    }
}

/// Answers without Auth0's schema, which knows no short names.
fn call(center: &ExperimentCenter, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let request = Request::builder().method(method).uri(format!("/experimentation{path}"));
    let response = center.handle(&request.body(body.to_string()).unwrap());
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap_or_default())
}

#[test]
fn what_the_program_has_written_can_be_sent_back() {
    let (long, short) = ("x".repeat(2_000), "A");
    let snapshot = ok(
        &world(),
        vec![
            Change::patch_flag(&p("flg_signin"), FlagPatch::new().name(short).description(&long)),
            Change::patch_variation(
                &p("var_b"),
                VariationPatch::new().name(short).description(&long),
            ),
            Change::patch_segment(
                &p("seg_ios"),
                SegmentPatch::new().name(short).description(&long),
            ),
            Change::patch_experiment(
                &p("exp_weights"),
                ExperimentPatch::new().name(short).description(&long),
            ),
        ],
    );
    for generation in GENERATIONS {
        let api = Api::over(&snapshot, generation);
        let center = ExperimentCenter::new(api.engine().clone()).generation(generation);
        for (_, _, own) in kinds() {
            let same = json!({"name": short, "description": long});
            let (status, shown) = call(&center, "PATCH", own, &same);
            assert_eq!((status, &shown["name"]), (200, &json!(short)), "{own}: {shown}");
            assert_eq!(call(&center, "PATCH", own, &json!({"name": "B"})).0, 400, "{own}");
            let other = json!({"description": format!("{long}x")});
            assert_eq!(call(&center, "PATCH", own, &other).0, 400, "{own}");
        }
        assert_eq!(api.engine().snapshot().to_json(), snapshot.to_json());
    }
}

/// The names of an experiment's arms.
fn names(snapshot: &Snapshot, id: &str) -> Vec<Option<String>> {
    let arms = snapshot.experiment(id).unwrap().allocations().iter();
    arms.map(|arm| arm.name.as_ref().map(ToString::to_string)).collect()
}

#[test]
fn arms_keep_the_names_that_the_program_gave_them() {
    let named = |id: &str, arms: Vec<Allocation>| {
        Change::patch_experiment(&p(id), ExperimentPatch::new().allocations(arms))
    };
    let weights = vec![
        share("var_a", "50").control().named(p("As it is")),
        share("var_b", "50").named(p("Short")),
    ];
    let target = |variation, segment, priority| {
        Allocation::segment(p(variation), p(segment), priority).unwrap()
    };
    let segments = vec![
        target("var_b", "seg_germany", 1).named(p("German")),
        target("var_c", "seg_ios", 2).named(p("Apple")),
        Allocation::fallback(p("var_a")).control(),
    ];
    let snapshot =
        ok(&world(), vec![named("exp_weights", weights), named("exp_segments", segments)]);
    for generation in GENERATIONS {
        let api = Api::over(&snapshot, generation);
        let told = |id: &str| names(&api.engine().snapshot(), id);
        let shown = api.get("/experiments/exp_weights").ok();
        assert!(!shown.to_string().contains("As it is"), "{shown}");
        let arms = json!([
            {"variation_id": "var_b", "weight": 70, "is_control": false},
            {"variation_id": "var_c", "weight": 20, "is_control": false},
            {"variation_id": "var_a", "weight": 10, "is_control": true}
        ]);
        api.patch("/experiments/exp_weights", &json!({"allocations": arms})).ok();
        let kept = [Some("Short".to_owned()), None, Some("As it is".to_owned())];
        assert_eq!(told("exp_weights"), kept);
        // One that goes to another segment is another.
        let arms = json!([
            {"variation_id": "var_b", "segment_id": "seg_ios", "priority": 1, "is_control": false},
            {"variation_id": "var_a", "is_control": true, "is_fallback": true}
        ]);
        let body = json!({"allocations": arms});
        api.patch("/experiments/exp_segments", &body).ok();
        assert_eq!(told("exp_segments"), [None, None]);
        // What is active takes its own arms back.
        api.post("/experiments/exp_weights/status", &json!({"status": "active"})).ok();
        let arms = json!([
            {"variation_id": "var_b", "weight": 70, "is_control": false},
            {"variation_id": "var_c", "weight": 20, "is_control": false},
            {"variation_id": "var_a", "weight": 10, "is_control": true}
        ]);
        api.patch("/experiments/exp_weights", &json!({"allocations": arms})).ok();
        assert_eq!(told("exp_weights"), kept);
        let named = json!([{
            "variation_id": "var_b", "weight": 100, "is_control": true, "name": "Mine"
        }]);
        let answer = api.patch("/experiments/exp_weights", &json!({"allocations": named}));
        answer.refused(400, "unknown_key").naming(
            "allocations[0].name: has no such key; the keys are variation_id, weight, segment_id, \
             priority, is_control, is_fallback",
        );
    }
}

#[test]
fn experiments_are_on_devices_whatever_the_default_is() {
    let default = SettingsPatch::new().default_subject_kind("user");
    let snapshot = ok(&world(), Change::patch_settings(default));
    for generation in GENERATIONS {
        let api = Api::over(&snapshot, generation);
        let id = api.post("/experiments", &new_experiment("New")).id();
        assert_eq!(api.engine().snapshot().experiment(id).unwrap().subject_kind(), &"device");
    }
}

#[test]
fn a_flag_that_is_off_applies_to_nobody() {
    let off = FlagPatch::new().on(false).off_variation_id(p("var_c"));
    let off = Change::patch_flag(&p("flg_signin"), off);
    for status in [Status::Active, Status::Paused] {
        let snapshot = ok(&world_with("exp_weights", status), off.clone());
        let subject = Subject::new("device-1").kept("exp_weights", "var_b");
        let resolution = resolve(&snapshot, &Login::new("authentication", subject.clone()));
        assert!(resolution.context.is_none() && resolution.log.is_none());
        // Who overrides is a tester, and gets what is asked for.
        let login = Login::new("authentication", subject).experiment_id("exp_weights");
        assert!(resolve(&snapshot, &login).context.is_some());
        let context = resolve(&snapshot, &login.variation_id("var_b")).context.unwrap();
        assert_eq!(context.variation_id, &"var_b");
    }
    for generation in GENERATIONS {
        let api = Api::over(&ok(&world(), off.clone()), generation);
        let activate = json!({"status": "active"});
        let answer = api.post("/experiments/exp_weights/status", &activate);
        answer.refused(400, "flag_off").naming("flag flg_signin is off");
        let deleted = api.delete("/feature-flags/flg_signin/variations/var_c");
        deleted.refused(409, "in_use");
    }
}

/// Through the surface a name is its own among what has no key.
#[test]
fn a_name_of_what_has_a_key_is_free() {
    let keyed = NewExperiment::by_percentage("Taken", p("flg_signin")).key("taken");
    let snapshot = ok(&world(), keyed);
    for generation in GENERATIONS {
        let api = Api::over(&snapshot, generation);
        let id = api.post("/experiments", &new_experiment("Taken")).id();
        api.patch("/experiments/exp_ramp", &json!({"name": "Taken"})).refused(409, "name_taken");
        assert!(api.engine().snapshot().experiment(id).unwrap().key().is_none());
    }
}

/// What the surface shows of an experiment's weights.
fn shown_weights(shown: &Value) -> Vec<Value> {
    shown["allocations"].as_array().unwrap().iter().map(|arm| arm["weight"].clone()).collect()
}

/// Relative weights are shown as shares in percent, which sum to 100 and come back as they are.
#[test]
fn relative_weights_are_shown_in_percent() {
    #[track_caller]
    fn check(weights: &[&str], decimal: &[f64], whole: &[u32]) {
        let ids = ["var_a", "var_b", "var_c"];
        let arms: Vec<_> = ids.iter().zip(weights).map(|(id, weight)| share(id, weight)).collect();
        let new = NewExperiment::by_percentage("Weighed", p("flg_signin"))
            .id(p("exp_weighed"))
            .flow("authentication")
            .weights(Weights::Relative);
        let new = arms.iter().enumerate().fold(new, |new, (index, arm)| {
            new.allocation(Allocation { is_control: index == 0, ..arm.clone() })
        });
        let snapshot = ok(&world(), new);
        for generation in GENERATIONS {
            let api = Api::over(&snapshot, generation);
            let path = "/experiments/exp_weighed";
            let shown = api.get(path).ok();
            let found: Vec<f64> =
                shown_weights(&shown).iter().map(|weight| weight.as_f64().unwrap()).collect();
            let whole: Vec<f64> = whole.iter().map(|weight| f64::from(*weight)).collect();
            assert_eq!(found, api.either(decimal, &whole));
            api.post(&format!("{path}/status"), &json!({"status": "active"})).ok();
            let before = api.engine().snapshot().to_json();
            let keys = ["variation_id", "weight", "is_control"];
            let back: Vec<Value> = shown["allocations"]
                .as_array()
                .unwrap()
                .iter()
                .map(|arm| keys.iter().map(|key| ((*key).to_owned(), arm[*key].clone())).collect())
                .collect();
            let back = json!({"allocations": back});
            api.patch(path, &back).ok();
            assert_eq!(api.engine().snapshot().to_json(), before);
        }
    }
    check(&["1", "1"], &[50.0, 50.0], &[50, 50]);
    check(&["1", "2"], &[33.333_333, 66.666_667], &[33, 67]);
    check(&["1", "1", "1"], &[33.333_333, 33.333_333, 33.333_334], &[33, 33, 34]);
    check(&["3", "1000000000", "0"], &[0.0, 100.0, 0.0], &[0, 100, 0]);
    check(
        &["1000000000", "1000000000", "2000.000001"],
        &[49.999_95, 49.999_95, 0.000_1],
        &[49, 50, 1],
    );
}

/// What is sent is a percentage, of whatever kind the weights are that it becomes.
#[test]
fn relative_weights_are_set_as_percentages() {
    let new = NewExperiment::by_percentage("Weighed", p("flg_signin"))
        .id(p("exp_weighed"))
        .flow("authentication")
        .weights(Weights::Relative)
        .allocation(share("var_a", "1").control())
        .allocation(share("var_b", "2"));
    let snapshot = ok(&world(), new);
    let arms = |first: Value, second: Value| {
        json!({"allocations": [
            {"variation_id": "var_a", "weight": first, "is_control": true},
            {"variation_id": "var_b", "weight": second, "is_control": false}
        ]})
    };
    for generation in GENERATIONS {
        let api = Api::over(&snapshot, generation);
        let path = "/experiments/exp_weighed";
        let shown = api.patch(path, &arms(json!(10), json!(30))).ok();
        assert_eq!(shown_weights(&shown), [json!(25), json!(75)]);
        assert_eq!(shown["is_valid"], json!(true));
        let held = api.engine().snapshot();
        let own = held.experiment("exp_weighed").unwrap();
        assert_eq!(own.allocations()[1].weight, Some(p("30")));
        let rule = "must be a number from 0 to 100";
        let answer = api.patch(path, &arms(json!(101), json!(1)));
        answer.refused(400, "invalid_value").naming(rule);
    }
}
