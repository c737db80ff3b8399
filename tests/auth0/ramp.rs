//! Ramps: begun at the first level, advanced to the next one only, once each; their levels are
//! edited in drafts alone; who is not active does not advance.

use serde_json::{Value, json};
use variate::Status;

use crate::support::{Api, GENERATIONS, new_ramp, world, world_with};

const PATH: &str = "/experiments/exp_ramp/advance-ramp";

fn advance(api: &Api, level: u32) -> crate::support::Answer {
    api.post(PATH, &json!({"target_level": level}))
}

fn step(from: u32, to: u32) -> Value {
    json!({"experiment_id": "exp_ramp", "from_level": from, "to_level": to, "current_level": to})
}

fn held(api: &Api) -> u64 {
    let snapshot = api.engine().snapshot();
    snapshot.experiment("exp_ramp").unwrap().traffic().millionths() / 1_000_000
}

#[test]
fn a_ramp_climbs_level_by_level() {
    for generation in GENERATIONS {
        let api = Api::over(&world_with("exp_ramp", Status::Active), generation);
        let levels = [10, 50, 100];
        for (index, current) in levels.into_iter().enumerate() {
            assert_eq!(held(&api), u64::from(current));
            let shown = api.get("/experiments/exp_ramp").ok();
            assert_eq!(shown.get("current_level"), api.either(None, Some(&json!(current))));
            assert_eq!(shown.get("levels"), api.either(None, Some(&json!([10, 50, 100]))));
            // Where it stands already is a success that changes nothing.
            let before = api.engine().to_json();
            assert_eq!(advance(&api, current).is(200).body, step(current, current));
            assert_eq!(api.engine().to_json(), before);
            for other in [0, 9, 10, 11, 49, 50, 51, 99, 100] {
                let next = levels.get(index + 1);
                if other != current && Some(&other) != next {
                    advance(&api, other).is(400).naming("target_level");
                }
            }
            if let Some(next) = levels.get(index + 1) {
                assert_eq!(advance(&api, *next).is(200).body, step(current, *next));
            }
        }
    }
}

#[test]
fn only_an_active_ramp_advances() {
    for generation in GENERATIONS {
        for status in [Status::Draft, Status::Paused, Status::Completed, Status::Archived] {
            let api = Api::over(&world_with("exp_ramp", status), generation);
            advance(&api, 50).is(409);
        }
        let api = Api::over(&world_with("exp_weights", Status::Active), generation);
        let body = json!({"target_level": 50});
        api.post("/experiments/exp_weights/advance-ramp", &body).is(400);
        api.post("/experiments/exp_none/advance-ramp", &body).refused(404, "not_found");
        api.post("/experiments/none/advance-ramp", &body).refused(404, "not_found");
    }
}

#[test]
fn the_target_level_is_held_to_its_rules() {
    let values = [
        json!(null),
        json!("50"),
        json!(true),
        json!([50]),
        json!({}),
        json!(50.5),
        json!(-1),
        json!(101),
        json!(u64::MAX),
        json!(1e300),
    ];
    for generation in GENERATIONS {
        let api = Api::over(&world_with("exp_ramp", Status::Active), generation);
        api.post(PATH, &json!({})).refused(400, "missing_key").naming("target_level");
        for value in &values {
            api.post(PATH, &json!({"target_level": value})).is(400).naming("target_level");
        }
        for key in ["level", "extra"] {
            let answer = api.post(PATH, &json!({"target_level": 50, key: 50}));
            answer.refused(400, "unknown_key").naming(key);
        }
    }
}

#[test]
fn a_paused_ramp_resumes_where_it_stood() {
    for generation in GENERATIONS {
        let api = Api::over(&world_with("exp_ramp", Status::Active), generation);
        advance(&api, 50).ok();
        for status in ["paused", "active"] {
            let shown = api.patch("/experiments/exp_ramp", &json!({"status": status})).ok();
            assert_eq!(shown.get("current_level"), api.either(None, Some(&json!(50))));
        }
        advance(&api, 100).ok();
    }
}

/// A draft takes up levels, for weights, and changes them; it cannot have both.
#[test]
fn levels_are_of_drafts_by_percentage_without_weights() {
    for generation in GENERATIONS {
        let api = Api::over(&world(), generation);
        let senseless = api.either(400, 422);
        let path = "/experiments/exp_weights";
        let bare = json!([
            {"variation_id": "var_a", "is_control": true},
            {"variation_id": "var_b", "is_control": false}
        ]);
        api.patch(path, &json!({"levels": [5, 10]})).is(senseless);
        let shown = api.patch(path, &json!({"levels": [5, 10], "allocations": bare})).ok();
        assert_eq!(shown["is_valid"], true);
        assert_eq!(shown.get("levels"), api.either(None, Some(&json!([5, 10]))));
        assert_eq!(shown.get("current_level"), None);
        let weighted = json!([{"variation_id": "var_a", "weight": 100, "is_control": true}]);
        api.patch(path, &json!({"allocations": weighted})).is(senseless);
        let shown = api.patch(path, &json!({"levels": [20], "status": "active"})).ok();
        assert_eq!(shown.get("current_level"), api.either(None, Some(&json!(20))));
        api.patch(path, &json!({"levels": [30]})).refused(400, "not_mutable").naming("levels");
        let answer = api.patch("/experiments/exp_segments", &json!({"levels": [5]}));
        answer.is(senseless).naming("levels");
    }
}

#[test]
fn a_ramp_is_ready_with_one_control_and_another_arm() {
    let arm = |id: &str, control: bool| json!({"variation_id": id, "is_control": control});
    let cases = [
        (json!([arm("var_a", true), arm("var_b", false)]), true),
        (json!([arm("var_a", true), arm("var_b", false), arm("var_c", false)]), true),
        (json!([arm("var_a", true)]), false),
        (json!([arm("var_a", false), arm("var_b", false)]), false),
        (json!([arm("var_a", true), arm("var_b", true)]), false),
        (json!([arm("var_a", true), arm("var_a", false)]), false),
    ];
    for (generation, (arms, ready)) in
        GENERATIONS.iter().flat_map(|g| cases.iter().map(move |case| (*g, case)))
    {
        let api = Api::new(generation);
        let mut body = new_ramp("New ramp");
        body["allocations"] = arms.clone();
        let created = api.post("/experiments", &body).ok();
        assert_eq!(created["is_valid"], *ready, "{arms}");
        let path = format!("/experiments/{}/status", created["id"].as_str().unwrap());
        api.post(&path, &json!({"status": "active"})).is(if *ready { 200 } else { 400 });
    }
}
