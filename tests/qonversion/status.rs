//! The lifecycle.

use serde_json::{Value, json};
use variate::Status;

use crate::support::Api;

const ALL: [&str; 4] = ["draft", "active", "paused", "finished"];

/// An experiment in this state.
fn world(status: &str) -> (Api, String) {
    let api = Api::new();
    let (path, _) = api.ready("a", json!({}));
    api.bring(&path, status);
    (api, path)
}

#[test]
fn every_state_and_every_target() {
    for from in ALL {
        for to in ALL {
            let (api, path) = world(from);
            let before = api.get(&path).ok();
            let answer = api.status(&path, to);
            let legal = matches!(
                (from, to),
                ("draft" | "paused", "active")
                    | ("active", "paused")
                    | ("active" | "paused", "finished")
            );
            if !legal {
                answer.conflict(&["status"]).naming(from).naming(to);
                continue;
            }
            let after = answer.ok();
            assert_eq!(after["status"], to, "{from} to {to}");
            assert_eq!(after, api.get(&path).ok());
            let started = before["started_at"].is_null();
            assert!(!after["started_at"].is_null());
            assert_eq!(started, from == "draft");
            if from != "draft" {
                assert_eq!(after["started_at"], before["started_at"], "{from} to {to}");
            }
            assert_eq!(after["finished_at"].is_null(), to != "finished");
        }
    }
}

#[test]
fn bodies_that_are_wrong() {
    let (api, path) = world("draft");
    let path = format!("{path}/status");
    for body in
        [json!({}), json!({"status": null}), json!({"status": 1}), json!({"status": "running"})]
    {
        api.post(&path, &body).invalid(&["status"]);
    }
    for status in ["completed", "archived", "stopped", "Active", ""] {
        api.post(&path, &json!({"status": status})).invalid(&["status"]);
    }
    api.post(&path, &json!({"status": "active", "force": true})).invalid(&["force"]);
    api.post(&path, &json!("active")).invalid(&[]);
    api.post("/v4/experiments/none/status", &json!({"status": "active"})).refused(
        404,
        "resource",
        "not_found",
        &[],
    );
}

#[test]
fn a_start_that_is_refused_leaves_the_flag_a_draft() {
    let (api, path) = world("draft");
    let flag = api.held("a").flag_id().clone();
    let groups = api.get(&format!("{path}/groups")).ok();
    let control = groups["data"][0]["id"].as_str().unwrap().to_owned();
    api.patch(&format!("{path}/groups/{control}"), &json!({"is_control": false})).ok();
    api.status(&path, "active").refused(422, "logical", "not_ready", &[]);
    assert_eq!(api.engine().snapshot().flag(&flag).unwrap().status().as_str(), "draft");
}

#[test]
fn what_has_been_archived_is_finished() {
    let (api, path) = world("finished");
    let id = api.held("a").id().clone();
    api.commit(variate::Change::set_experiment_status(&id, Status::Archived));
    let shown: Value = api.get(&path).ok();
    assert_eq!((&shown["status"], shown["finished_at"].is_null()), (&json!("finished"), false));
    api.status(&path, "active").conflict(&["status"]);
    api.delete(&path).is(204);
}
