//! What every operation answers when all is well, and each refusal that the reference names: absent
//! entities, names taken, what is in use, references to what is not there.

use http::Method;
use serde_json::{Value, json};
use variate::api::auth0::Generation;
use variate::{Change, FlagStatus, NewExperiment, Status};

use crate::common::{ok, p, share};
use crate::support::{Api, GENERATIONS, new_experiment, new_ramp, new_segmented, world_with};

/// What is sent is what comes back, by each way of asking for it.
#[track_caller]
fn created(api: &Api, collection: &str, key: &str, body: &Value) -> Value {
    let made = api.post(collection, body).is(201).body.clone();
    let path = format!("{collection}/{}", made["id"].as_str().unwrap());
    assert_eq!(api.get(&path).ok(), made);
    let listed = api.get(collection).ok();
    assert!(listed[key].as_array().unwrap().contains(&made), "{listed}");
    assert_eq!(made["created_at"], made["updated_at"]);
    made
}

/// Each member of one object has the same value in the other.
#[track_caller]
fn includes(whole: &Value, part: &Value) {
    for (key, value) in part.as_object().unwrap() {
        assert_eq!(whole.get(key), Some(value), "{key} of {whole}");
    }
}

#[test]
fn experiments_are_created_as_asked() {
    for generation in GENERATIONS {
        let api = Api::new(generation);
        let bodies =
            [new_experiment("By weight"), new_segmented("By segment"), new_ramp("By step")];
        for mut body in bodies {
            body["description"] = json!("What it is about");
            let made = created(&api, "/experiments", "experiments", &body);
            assert_eq!((&made["status"], &made["is_valid"]), (&json!("draft"), &json!(true)));
            let asked = body.as_object_mut().unwrap();
            let arms = asked.remove("allocations").unwrap();
            for (key, given) in [("assignment_config", true), ("levels", false)] {
                if api.is_seeds() != given {
                    asked.remove(key);
                }
            }
            includes(&made, &body);
            for (made, asked) in
                made["allocations"].as_array().unwrap().iter().zip(arms.as_array().unwrap())
            {
                includes(made, asked);
                let name = if asked["variation_id"] == "var_a" { "control" } else { "short" };
                assert_eq!(made.get("variation_name"), api.either(None, Some(&json!(name))));
                let segment = asked.get("segment_id").map(|_| json!("Germany"));
                assert_eq!(made.get("segment_name").cloned(), api.either(None, segment));
            }
            let flag = made.get("feature_flag_name");
            assert_eq!(flag, api.either(None, Some(&json!("Sign-in screen"))));
        }
    }
}

/// The early access has no subject to choose, and lets a draft be without arms.
#[test]
fn what_the_early_access_leaves_out_the_seeds_require() {
    let full = new_experiment("New one");
    for key in ["assignment_config", "allocations"] {
        let mut body = full.clone();
        body.as_object_mut().unwrap().remove(key);
        Api::new(Generation::Seeds)
            .post("/experiments", &body)
            .refused(400, "missing_key")
            .naming(key);
        let made = Api::new(Generation::EarlyAccess).post("/experiments", &body).ok();
        assert_eq!(made["is_valid"], key != "allocations");
    }
    let mut body = full;
    body.as_object_mut().unwrap().remove("allocations");
    let api = Api::new(Generation::EarlyAccess);
    let id = api.post("/experiments", &body).id();
    assert_eq!(api.get(&format!("/experiments/{id}")).ok()["allocations"], json!([]));
    let verdict = api.post(&format!("/experiments/{id}/validate"), &Value::Null).ok();
    assert_eq!(verdict["is_valid"], false);
}

#[test]
fn experiments_are_updated_as_asked_and_in_nothing_else() {
    for generation in GENERATIONS {
        let api = Api::new(generation);
        let path = "/experiments/exp_weights";
        let arms = json!([
            {"variation_id": "var_c", "weight": 10, "is_control": true},
            {"variation_id": "var_a", "weight": 20, "is_control": false},
            {"variation_id": "var_b", "weight": 70, "is_control": false}
        ]);
        let patches = [
            json!({"name": "Another name"}),
            json!({"description": "Another description"}),
            json!({"description": null}),
            json!({"authentication_flow": "all"}),
            json!({"assignment_config": {"subject": "device"}}),
            json!({"allocations": arms}),
            json!({"name": "Once more", "description": "More", "authentication_flow": "mfa_challenge"}),
        ];
        for patch in patches {
            let mut expected = api.get(path).ok();
            let after = api.patch(path, &patch).ok();
            assert_eq!(api.get(path).ok(), after);
            for (key, value) in patch.as_object().unwrap() {
                match key.as_str() {
                    "description" if value.is_null() => {
                        drop(expected.as_object_mut().unwrap().remove(key));
                    }
                    "assignment_config" => {}
                    "allocations" => expected[key] = after[key].clone(),
                    _ => expected[key] = value.clone(),
                }
            }
            expected["updated_at"] = after["updated_at"].clone();
            assert_eq!(after, expected, "{patch}");
        }
        let shown = api.get(path).ok();
        let ids = shown["allocations"].as_array().unwrap().iter().map(|arm| &arm["variation_id"]);
        assert_eq!(ids.collect::<Vec<_>>(), ["var_c", "var_a", "var_b"]);
    }
}

#[test]
fn flags_variations_and_segments_are_created_and_updated_as_asked() {
    for generation in GENERATIONS {
        let api = Api::new(generation);
        let parameters = json!({
            "first": {"type": "string", "value": "a", "description": "What for"},
            "second": {"type": "object", "value": {"deep": [1, null]}}
        });
        let body = json!({"name": "New flag", "description": "A flag", "parameters": parameters});
        let flag = created(&api, "/feature-flags", "feature_flags", &body);
        includes(&flag, &body);
        includes(&flag, &json!({"type": "self", "status": "draft"}));
        let path = format!("/feature-flags/{}", flag["id"].as_str().unwrap());

        let variations = format!("{path}/variations");
        assert_eq!(api.get(&variations).ok(), json!({"variations": []}));
        let body = json!({"name": "New one", "description": "One", "overrides": {"first": "b"}});
        let variation = created(&api, &variations, "variations", &body);
        includes(&variation, &json!({"name": "New one", "description": "One"}));
        assert_eq!(variation["feature_flag_id"], flag["id"]);
        let shown = api.either(json!({"first": {"value": "b"}}), json!({"first": "b"}));
        assert_eq!(variation["overrides"], shown);

        let rules = json!([
            {"match": {"country": ["DE", "AT"], "mail": {"ends_with": ["@example.com"]}},
             "not_match": {"partner": {"exists": true}}},
            {"not_match": {"url": {"contains": ["a"]}, "device": {"starts_with": ["b", "c"]}}}
        ]);
        let body = json!({"name": "New segment", "description": "Some", "rules": rules});
        let segment = created(&api, "/segments", "segments", &body);
        includes(&segment, &body);
        assert_eq!(segment["type"], "self");
        assert_eq!(segment.get("status"), api.either(None, Some(&json!("active"))));

        let one = json!([{"match": {"a": ["b"]}}]);
        let replaced = json!({
            "first": {"type": "string", "value": "c"}, "third": {"type": "number", "value": -0.5}
        });
        let edits = [
            (path.clone(), json!({"parameters": replaced})),
            (format!("{variations}/{}", variation["id"].as_str().unwrap()), json!({})),
            (format!("/segments/{}", segment["id"].as_str().unwrap()), json!({"rules": one})),
        ];
        for (path, edit) in edits {
            for patch in [json!({"name": "Renamed"}), json!({"description": null}), edit] {
                if patch == json!({}) {
                    continue;
                }
                let mut expected = api.get(&path).ok();
                let after = api.patch(&path, &patch).ok();
                assert_eq!(api.get(&path).ok(), after);
                for (key, value) in patch.as_object().unwrap() {
                    match value {
                        Value::Null => drop(expected.as_object_mut().unwrap().remove(key)),
                        value => expected[key] = value.clone(),
                    }
                }
                expected["updated_at"] = after["updated_at"].clone();
                assert_eq!(after, expected, "{patch}");
            }
        }
    }
}

/// The id of each path absent, of another kind, and not an id at all.
#[test]
fn what_is_not_there_is_not_found_and_deleting_it_is_done_already() {
    let name = json!({"name": "Another"});
    let calls: [(&str, &str, &str, Value); 14] = [
        ("GET", "/experiments/*", "exp_", Value::Null),
        ("PATCH", "/experiments/*", "exp_", name.clone()),
        ("POST", "/experiments/*/status", "exp_", json!({"status": "active"})),
        ("POST", "/experiments/*/validate", "exp_", Value::Null),
        ("POST", "/experiments/*/advance-ramp", "exp_", json!({"target_level": 10})),
        ("GET", "/feature-flags/*", "flg_", Value::Null),
        ("PATCH", "/feature-flags/*", "flg_", name.clone()),
        ("POST", "/feature-flags/*/status", "flg_", json!({"status": "active"})),
        ("GET", "/feature-flags/*/variations", "flg_", Value::Null),
        ("POST", "/feature-flags/*/variations", "flg_", json!({"name": "New", "overrides": {}})),
        ("GET", "/feature-flags/flg_signin/variations/*", "var_", Value::Null),
        ("PATCH", "/feature-flags/flg_signin/variations/*", "var_", name.clone()),
        ("GET", "/segments/*", "seg_", Value::Null),
        ("PATCH", "/segments/*", "seg_", name.clone()),
    ];
    let deletes = [
        ("/experiments/*", "exp_"),
        ("/feature-flags/*", "flg_"),
        ("/segments/*", "seg_"),
        ("/feature-flags/flg_signin/variations/*", "var_"),
    ];
    let ids = |prefix: &str| {
        // The second is of the other flag, where there is one.
        let others = ["exp_a0", "var_x", "seg_", "null", "x", "-1", "EXP_WEIGHTS", "flg"];
        let absent = [format!("{prefix}none"), format!("{prefix}{}", "a".repeat(300))];
        absent.into_iter().chain(others.map(str::to_owned)).collect::<Vec<_>>()
    };
    for generation in GENERATIONS {
        let api = Api::new(generation);
        for (method, path, prefix, body) in &calls {
            for id in ids(prefix) {
                api.call(method, &path.replace('*', &id), body).refused(404, "not_found");
            }
        }
        let before = api.engine().to_json();
        for (path, prefix) in deletes {
            for id in ids(prefix) {
                api.delete(&path.replace('*', &id)).is(204);
            }
        }
        assert_eq!(api.engine().to_json(), before);
        for flag in ["flg_none", "none"] {
            let path = format!("/feature-flags/{flag}/variations/var_a");
            api.delete(&path).refused(404, "not_found");
            api.get(&path).refused(404, "not_found");
            api.patch(&path, &name).refused(404, "not_found");
        }
    }
}

#[test]
fn a_name_is_of_one_entity_of_its_kind_alone() {
    for generation in GENERATIONS {
        let api = Api::new(generation);
        let parameters = json!({"a": {"type": "number", "value": 1}});
        let rules = json!([{"match": {"a": ["b"]}}]);
        let cases = [
            ("/experiments", "Ramp", new_experiment("Ramp"), "exp_weights"),
            ("/feature-flags", "Another screen", json!({"parameters": parameters}), "flg_signin"),
            ("/segments", "iOS", json!({"rules": rules}), "seg_germany"),
            ("/feature-flags/flg_signin/variations", "short", json!({"overrides": {}}), "var_a"),
        ];
        for (collection, name, mut body, other) in cases {
            body["name"] = json!(name);
            api.post(collection, &body).refused(409, "name_taken").naming("name");
            let path = format!("{collection}/{other}");
            api.patch(&path, &json!({"name": name})).refused(409, "name_taken").naming("name");
            // Its own name is no other's, and another case makes another name.
            let own = api.get(&path).ok()["name"].clone();
            api.patch(&path, &json!({"name": own})).ok();
            body["name"] = json!(name.to_uppercase() + "?");
            api.post(collection, &body).is(201);
        }
        // A variation's name is free in another flag.
        let body = json!({"name": "control", "overrides": {}});
        api.post("/feature-flags/flg_other/variations", &body).is(201);
    }
}

#[test]
fn experiments_are_deleted_for_good_in_every_status_but_active() {
    for (status, generation) in Status::ALL.iter().flat_map(|s| GENERATIONS.map(|g| (*s, g))) {
        let api = Api::over(&world_with("exp_segments", status), generation);
        let path = "/experiments/exp_segments";
        if status == Status::Active {
            api.delete(path).is(400);
            api.get(path).is(200);
            continue;
        }
        api.delete(path).is(204);
        api.get(path).is(404);
        api.delete(path).is(204);
    }
}

#[test]
fn what_an_experiment_uses_is_not_deleted_until_it_is_archived() {
    let uses = [
        "/feature-flags/flg_signin",
        "/feature-flags/flg_signin/variations/var_c",
        "/segments/seg_germany",
    ];
    for (status, generation) in Status::ALL.iter().flat_map(|s| GENERATIONS.map(|g| (*s, g))) {
        for path in uses {
            let api = Api::over(&world_with("exp_segments", status), generation);
            for other in ["exp_weights", "exp_ramp"] {
                api.delete(&format!("/experiments/{other}")).is(204);
            }
            if status == Status::Archived {
                api.delete(path).is(204);
                api.get(path).is(404);
                let shown = api.get("/experiments/exp_segments").ok();
                assert_eq!(shown["feature_flag_id"], "flg_signin");
                assert_eq!(shown["allocations"].as_array().unwrap().len(), 3);
                continue;
            }
            api.delete(path).refused(409, "in_use");
            api.get(path).is(200);
            api.delete("/experiments/exp_segments").is(if status == Status::Active {
                400
            } else {
                204
            });
        }
    }
}

/// Once a rule, which left with the early access.
#[test]
fn the_last_variation_of_a_flag_stays_under_the_seeds() {
    for generation in GENERATIONS {
        let api = Api::new(generation);
        let path = "/feature-flags/flg_other/variations";
        api.delete(&format!("{path}/var_x")).is(204);
        let answer = api.delete(&format!("{path}/var_y"));
        answer.is(api.either(400, 204));
        let left = api.get(path).ok()["variations"].as_array().unwrap().len();
        assert_eq!(left, api.either(1, 0));
        // One that is not there is gone already, be it the last or not.
        api.delete(&format!("{path}/var_none")).is(204);
        api.delete(&format!("{path}/var_a")).is(204);
    }
}

#[test]
fn an_experiment_refers_to_what_there_is() {
    for generation in GENERATIONS {
        let api = Api::new(generation);
        let mut body = new_experiment("New one");
        body["feature_flag_id"] = json!("flg_none");
        api.post("/experiments", &body).is(404).naming("feature_flag_id");
        for (variation, index) in [("var_x", 0), ("var_none", 1)] {
            let mut body = new_experiment("New one");
            body["allocations"][index]["variation_id"] = json!(variation);
            let wire = format!("allocations[{index}].variation_id");
            api.post("/experiments", &body).refused(400, "variation_not_from_flag").naming(&wire);
            let body = json!({"allocations": body["allocations"]});
            api.patch("/experiments/exp_weights", &body)
                .refused(400, "variation_not_from_flag")
                .naming(&wire);
        }
        let mut body = new_segmented("New one");
        body["allocations"][0]["segment_id"] = json!("seg_none");
        let answer = api.post("/experiments", &body);
        answer.is(400).naming("allocations[0].segment_id");
        let body = json!({"allocations": body["allocations"]});
        api.patch("/experiments/exp_segments", &body).is(400).naming("allocations[0].segment_id");
    }
}

#[test]
fn lists_are_filtered_and_leave_out_what_is_archived() {
    let mut snapshot = world_with("exp_segments", Status::Archived);
    let other = NewExperiment::by_percentage("Other", p("flg_other"))
        .id(p("exp_other"))
        .flow("authentication")
        .allocation(share("var_x", "100").control());
    snapshot = ok(&snapshot, Change::from(other));
    snapshot = ok(&snapshot, Change::set_experiment_status(&p("exp_ramp"), Status::Active));
    let archive =
        |snapshot, id: &str| ok(snapshot, Change::set_flag_status(&p(id), FlagStatus::Archived));
    let archived = archive(&snapshot, "flg_other");
    let cases: &[(&str, &str, &[&str])] = &[
        ("/experiments", "experiments", &["exp_ramp", "exp_weights", "exp_other"]),
        ("/experiments?status=archived", "experiments", &["exp_segments"]),
        ("/experiments?status=draft", "experiments", &["exp_weights", "exp_other"]),
        ("/experiments?status=active", "experiments", &["exp_ramp"]),
        ("/experiments?status=paused", "experiments", &[]),
        ("/experiments?feature_flag_id=flg_other", "experiments", &["exp_other"]),
        ("/experiments?feature_flag_id=flg_none", "experiments", &[]),
        (
            "/experiments?authentication_flow=authentication",
            "experiments",
            &["exp_weights", "exp_other"],
        ),
        ("/experiments?authentication_flow=mfa_challenge", "experiments", &[]),
        (
            "/experiments?authentication_flow=mfa_challenge&status=archived",
            "experiments",
            &["exp_segments"],
        ),
        (
            "/experiments?authentication_flow=authentication&feature_flag_id=flg_signin&take=50",
            "experiments",
            &["exp_weights"],
        ),
        ("/experiments?feature_flag_id=flg%5Fother", "experiments", &["exp_other"]),
        ("/feature-flags", "feature_flags", &["flg_signin"]),
        ("/feature-flags?status=archived", "feature_flags", &["flg_other"]),
        ("/feature-flags?status=active&type=self", "feature_flags", &["flg_signin"]),
        ("/feature-flags?status=draft", "feature_flags", &[]),
        ("/feature-flags?type=auth0", "feature_flags", &[]),
        ("/segments", "segments", &["seg_germany", "seg_ios"]),
        ("/segments?type=self", "segments", &["seg_germany", "seg_ios"]),
        ("/segments?type=auth0", "segments", &[]),
    ];
    for generation in GENERATIONS {
        let api = Api::over(&archived, generation);
        api.patch("/segments/seg_ios", &json!({"status": "archived"})).ok();
        for (query, key, expected) in cases {
            let shown = api.get(query).ok();
            let ids = shown[key].as_array().unwrap().iter().map(|e| e["id"].as_str().unwrap());
            let mut ids: Vec<_> = ids.collect();
            ids.sort_unstable();
            let mut expected = expected.to_vec();
            expected.sort_unstable();
            assert_eq!(ids, expected, "{query}");
            assert_eq!(shown.get("next"), None, "{query}");
        }
    }
}

/// What a run rests on is shown from its start, and stays what it was.
#[test]
fn the_early_access_shows_what_a_run_has_frozen() {
    let api = Api::new(Generation::EarlyAccess);
    let path = "/experiments/exp_segments";
    let before = api.get(path).ok();
    assert_eq!(before.get("feature_flag_snapshot"), None);
    assert!(before["allocations"].as_array().unwrap().iter().all(|arm| {
        arm.get("variation_snapshot").is_none() && arm.get("segment_snapshot").is_none()
    }));
    let started = api.post(&format!("{path}/status"), &json!({"status": "active"})).ok();
    let flag = &started["feature_flag_snapshot"];
    assert_eq!(flag["name"], "Sign-in screen");
    assert_eq!(flag["parameters"]["size"]["value"], 12);
    let arm = &started["allocations"][0];
    assert_eq!(arm["variation_snapshot"]["name"], "short");
    assert_eq!(arm["segment_snapshot"]["name"], "Germany");
    assert_eq!(arm["segment_snapshot"]["rules"], json!([{"match": {"country": ["DE"]}}]));
    assert_eq!(started["allocations"][2].get("segment_snapshot"), None);

    api.patch("/feature-flags/flg_signin", &json!({"name": "Renamed flag"})).ok();
    let variation = "/feature-flags/flg_signin/variations/var_b";
    api.patch(variation, &json!({"name": "Renamed one", "overrides": null})).ok();
    api.patch("/segments/seg_germany", &json!({"name": "Renamed two"})).ok();
    let later = api.get(path).ok();
    assert_eq!(later["feature_flag_name"], "Renamed flag");
    assert_eq!(later["feature_flag_snapshot"], *flag);
    let shown = &later["allocations"][0];
    assert_eq!(shown["variation_name"], "Renamed one");
    assert_eq!(shown["segment_name"], "Renamed two");
    for key in ["variation_snapshot", "segment_snapshot"] {
        assert_eq!(shown[key], arm[key], "{key}");
    }
}

/// The number of variations that a flag can have is bounded, and says so.
#[test]
fn a_flag_has_at_most_a_hundred_variations() {
    for generation in GENERATIONS {
        let api = Api::new(generation);
        let path = "/feature-flags/flg_other/variations";
        for number in 2..100 {
            let body = json!({"name": format!("Number {number}"), "overrides": {}});
            api.post(path, &body).is(201);
        }
        let answer = api.post(path, &json!({"name": "One more", "overrides": {}}));
        answer.refused(400, "limit_exceeded").naming("variations");
        assert_eq!(api.get(path).ok()["variations"].as_array().unwrap().len(), 100);
    }
}

/// A method that only reads, and a body where none is foreseen.
#[test]
fn bodies_of_reads_and_deletions_are_not_looked_at() {
    for generation in GENERATIONS {
        let api = Api::new(generation);
        for kind in ["application/json", "text/plain"] {
            let headers = [("content-type", kind)];
            for (method, path, status) in [
                (Method::GET, "/experiments/exp_ramp", 200),
                (Method::GET, "/experiments", 200),
                (Method::POST, "/experiments/exp_ramp/validate", 200),
                (Method::DELETE, "/experiments/exp_none", 204),
            ] {
                api.request(method.as_str(), path, &headers, b"{\"a\": ".to_vec()).is(status);
            }
        }
    }
}
