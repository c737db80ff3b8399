//! Creating, reading and deleting experiments.

use serde_json::{Value, json};
use variate::{Change, Status, Weights};

use crate::support::{Api, EXPERIMENTS};

#[test]
fn only_two_fields_are_needed() {
    let api = Api::new();
    let created = api.post(EXPERIMENTS, &json!({"name": "Paywall", "alias_id": "paywall_v3"}));
    let created = created.is(201).body.clone();
    let id = created["id"].as_str().unwrap();
    let expected = json!({
        "object": "experiment", "id": id, "url": format!("/v4/experiments/{id}"), "name": "Paywall",
        "alias_id": "paywall_v3", "description": "", "status": "draft", "started_at": null,
        "finished_at": null, "segment_percent": null, "primary_metric": null, "goal_value": null,
        "goal_direction": null, "context_key": "", "is_context_specific": false,
        "created_at": created["created_at"], "updated_at": created["created_at"],
    });
    assert_eq!(created, expected);
    for name in [id, "paywall_v3"] {
        assert_eq!(api.get(&format!("{EXPERIMENTS}/{name}")).ok(), expected);
    }
    let held = api.held("paywall_v3");
    assert_eq!(held.weights(), Weights::Relative);
    assert_eq!(held.subject_kind().as_str(), "user");
}

#[test]
fn what_is_given_reads_back() {
    let api = Api::new();
    let given = json!({
        "description": "Which paywall", "segment_percent": 12.25, "primary_metric": "new-trials",
        "goal_value": 0.5, "goal_direction": "increase", "context_key": "paywall",
        "is_context_specific": true,
    });
    let path = api.draft("a", given.clone());
    let shown = api.get(&path).ok();
    for (field, value) in given.as_object().unwrap() {
        let expected = if field == "primary_metric" { &json!("new_trials") } else { value };
        assert_eq!(&shown[field], expected, "{field}");
    }
}

#[test]
fn whoever_names_a_context_means_it_unless_it_says_otherwise() {
    fn check(facts: Value, key: &str, is_specific: bool, chain: &str) {
        let api = Api::new();
        let path = api.draft("a", facts.clone());
        let shown = api.get(&path).ok();
        let got = (&shown["context_key"], &shown["is_context_specific"]);
        assert_eq!(got, (&json!(key), &json!(is_specific)), "{facts}");
        assert_eq!(api.held("a").chain().unwrap().as_str(), chain, "{facts}");
    }
    check(json!({}), "", false, "");
    check(json!({"context_key": "c"}), "c", true, "c");
    check(json!({"context_key": ""}), "", false, "");
    check(json!({"context_key": "c", "is_context_specific": true}), "c", true, "c");
    check(json!({"context_key": "c", "is_context_specific": false}), "c", false, "");
    check(json!({"is_context_specific": true}), "", true, "");
    check(json!({"is_context_specific": false}), "", false, "");
}

#[test]
fn what_cannot_be_created() {
    fn check(body: Value, fields: &[&str]) {
        Api::new().post(EXPERIMENTS, &body).invalid(fields);
    }
    check(json!({}), &["name", "alias_id"]);
    check(json!({"name": "x"}), &["alias_id"]);
    check(json!({"alias_id": "x"}), &["name"]);
    check(json!({"name": null, "alias_id": null}), &["name", "alias_id"]);
    let with = |field: &str, value: Value| json!({"name": "x", "alias_id": "x", field: value});
    for alias in ["", "a b", "ä", "a/b", "a\n", &"x".repeat(257)] {
        check(with("alias_id", json!(alias)), &["alias_id"]);
    }
    for alias in [".", "-", "_a", "A.b-c_9", &"x".repeat(256)] {
        Api::new().post(EXPERIMENTS, &with("alias_id", json!(alias))).is(201);
    }
    // As their page has it, these may be left out and not null, and the others may be.
    for field in ["description", "context_key", "is_context_specific"] {
        check(with(field, Value::Null), &[field]);
    }
    for field in ["segment_percent", "primary_metric", "goal_value", "goal_direction"] {
        Api::new().post(EXPERIMENTS, &with(field, Value::Null)).is(201);
    }
    for field in ["status", "id", "weight", "started_at"] {
        check(with(field, json!("draft")), &[field]);
    }
}

#[test]
fn an_alias_is_taken_once() {
    let api = Api::new();
    let path = api.draft("taken", json!({}));
    let again = json!({"name": "Another", "alias_id": "taken"});
    api.post(EXPERIMENTS, &again).refused(409, "resource", "already_exists", &["alias_id"]);
    let id = api.get(&path).ok()["id"].clone();
    let body = json!({"name": "Another", "alias_id": id});
    api.post(EXPERIMENTS, &body).refused(409, "resource", "already_exists", &["alias_id"]);
    api.delete(&path).is(204);
    api.post(EXPERIMENTS, &again).is(201);
    // Names may be shared.
    api.post(EXPERIMENTS, &json!({"name": "Another", "alias_id": "other"})).is(201);
}

#[test]
fn deleting_leaves_nothing() {
    let api = Api::new();
    for steps in [&[][..], &["active", "paused"], &["active", "finished"]] {
        let (path, _) = api.ready("a", json!({}));
        for step in steps {
            api.status(&path, step).ok();
        }
        api.delete(&path).is(204);
        api.delete(&path).refused(404, "resource", "not_found", &[]);
        api.get(&path).refused(404, "resource", "not_found", &[]);
        let snapshot = api.engine().snapshot();
        assert_eq!((snapshot.experiment_count(), snapshot.flags().count()), (0, 0));
    }
    let (path, _) = api.running("a", json!({}));
    api.delete(&path).conflict(&[]);
}

#[test]
fn a_flag_that_others_use_stays() {
    let api = Api::new();
    let (path, groups) = api.ready("a", json!({}));
    let flag = api.held("a").flag_id().clone();
    let share = |index: usize, weight: u32| {
        let arm =
            variate::Allocation::share(groups[index].parse().unwrap(), weight.try_into().unwrap());
        if index == 0 { arm.control() } else { arm }
    };
    let other = variate::NewExperiment::by_percentage("Native", flag.clone())
        .allocation(share(0, 40))
        .allocation(share(1, 60));
    api.commit(other);
    api.delete(&format!("{path}/groups/{}", groups[1])).is(204);
    assert!(api.engine().snapshot().variation(&groups[1]).is_some());
    api.delete(&path).is(204);
    assert!(api.engine().snapshot().flag(&flag).is_some());
}

#[test]
fn what_others_have_made_is_shown() {
    let api = Api::over(
        variate::Snapshot::from_json(
            r#"{"format": "variate/1",
            "flags": [{"id": "flg_a", "name": "A", "status": "active",
                "parameters": {"headline": {"type": "string", "value": "Hi"}},
                "variations": [{"id": "var_a", "name": "a"}, {"id": "var_b", "name": "b"}]}],
            "segments": [{"id": "seg_a", "name": "A", "rules": [{"match": {"country": ["DE"]}}]}],
            "experiments": [
                {"id": "exp_a", "name": "By segment", "flag_id": "flg_a", "strategy": "segment",
                 "status": "active", "flow": "login",
                 "allocations": [
                    {"variation_id": "var_b", "segment_id": "seg_a", "priority": 1},
                    {"variation_id": "var_a", "is_fallback": true, "is_control": true}]},
                {"id": "exp_b", "name": "By weight", "flag_id": "flg_a", "strategy": "percentage",
                 "allocations": [
                    {"variation_id": "var_a", "weight": 33.3, "is_control": true},
                    {"variation_id": "var_b", "weight": 66.7}]}]}"#,
        )
        .unwrap(),
    );
    let shown = api.get(&format!("{EXPERIMENTS}/exp_a")).ok();
    assert_eq!((&shown["alias_id"], &shown["status"]), (&json!("exp_a"), &json!("active")));
    let groups = api.get(&format!("{EXPERIMENTS}/exp_b/groups")).ok();
    assert_eq!(groups["data"][0]["weight"], json!(33.3));
    assert_eq!(groups["data"][1]["remote_config_uid"], Value::Null);
    let groups = api.get(&format!("{EXPERIMENTS}/exp_a/groups")).ok();
    assert_eq!(groups["data"][0]["weight"], json!(0));
    let uid = json!({"remote_config_uid": "rc"});
    api.patch(&format!("{EXPERIMENTS}/exp_b/groups/var_a"), &uid).conflict(&["remote_config_uid"]);
    // What assigns by segment has no groups to edit.
    for body in [json!({"weight": 1}), json!({"weight": 1, "name": "New"})] {
        api.post(&format!("{EXPERIMENTS}/exp_a/groups"), &body).conflict(&[]).naming("segment");
        api.patch(&format!("{EXPERIMENTS}/exp_a/groups/var_a"), &body).conflict(&[]);
    }
    api.delete(&format!("{EXPERIMENTS}/exp_a/groups/var_a")).conflict(&[]);
    api.patch(&format!("{EXPERIMENTS}/exp_b"), &json!({"alias_id": "exp_b", "name": "B"})).ok();
    api.commit(Change::set_experiment_status(&"exp_b".parse().unwrap(), Status::Archived));
    assert_eq!(api.get(&format!("{EXPERIMENTS}/exp_b")).ok()["status"], "finished");
}

#[test]
fn an_alias_that_is_a_path_of_its_own_is_found_by_its_id() {
    let api = Api::new();
    let body = json!({"name": "Summary", "alias_id": "summary"});
    let id = api.post(EXPERIMENTS, &body).is(201).body["id"].as_str().unwrap().to_owned();
    api.get(&format!("{EXPERIMENTS}/summary")).is(400);
    assert_eq!(api.get(&format!("{EXPERIMENTS}/{id}")).ok()["alias_id"], "summary");
}

#[test]
fn a_draft_of_a_next_iteration_brings_its_own_goal_and_share() {
    let api = Api::new();
    let facts = json!({"primary_metric": "one", "segment_percent": 100});
    let (path, [_, other]) = api.running("a", facts);
    let id = api.held("a").id().clone();
    api.commit(Change::draft_iteration(&id, variate::DraftPatch::new()));
    api.patch(&path, &json!({"primary_metric": "two", "segment_percent": 60})).ok();
    api.status(&path, "paused").ok();
    api.delete(&format!("{path}/groups/{other}")).conflict(&[]).naming("draft");
    api.commit(Change::start_iteration(&id));
    let shown = api.get(&path).ok();
    assert_eq!(
        (&shown["primary_metric"], &shown["segment_percent"]),
        (&json!("one"), &Value::Null)
    );
}
