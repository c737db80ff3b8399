//! What keeps an iteration from starting.

use serde_json::{Value, json};
use variate::{Carryover, Change, NewLayer, Status};

use crate::support::{Api, EXPERIMENTS, save_and_start, treatment, update};

/// What a gate answers: status, code, attribute and a part of the message.
type Refused = (u16, &'static str, &'static str, &'static str);

const INVALID: &str = "invalid_request";

/// Has `cta` refused by `startIteration`, and `running`, which runs, by `saveAndStartNewIteration`.
#[track_caller]
fn check(api: &Api, key: &str, instruction: Value, (status, code, attribute, naming): Refused) {
    let answer = api.patch(key, json!([instruction]));
    answer.refused(status, code, &format!("instructions[0]{attribute}")).naming(naming);
}

fn start() -> Value {
    json!({"kind": "startIteration", "changeJustification": "It is time"})
}

fn save() -> Value {
    json!({"kind": "saveAndStartNewIteration"})
}

fn switch(api: &Api, kind: &str) {
    let mut body = json!({"instructions": [{"kind": kind}]});
    if kind != "archiveFlag" {
        body["environmentKey"] = json!("production");
    }
    api.request("PATCH", "/flags/default/button", body.to_string().into_bytes()).is(200);
}

#[test]
fn the_flag_is_on() {
    let api = Api::new();
    api.create("cta");
    api.create("running");
    api.start("running");
    switch(&api, "turnFlagOff");
    let off = (400, INVALID, ".flags", "is off");
    check(&api, "cta", start(), (409, "optimistic_locking_error", "", "running"));
    check(&api, "running", save(), off);
    api.stop("running");
    check(&api, "cta", start(), off);
    switch(&api, "turnFlagOn");
    api.start("cta");
}

#[test]
fn the_flag_is_not_archived() {
    let api = Api::new();
    api.create("cta");
    switch(&api, "archiveFlag");
    check(&api, "cta", start(), (400, INVALID, ".flags", "is archived"));
}

#[test]
fn the_targeting_rule_is_active() {
    let api = Api::new();
    let mut body = api.experiment("cta");
    body["iteration"]["flags"]["button"]["ruleId"] = json!("seg_beta");
    api.create_from(&body);
    let id = "seg_beta".parse().unwrap();
    let archived = Change::set_segment_status(&id, variate::SegmentStatus::Archived);
    // The segment can be put away or is in use; either way no iteration starts on one that is not
    // active.
    if api.engine().commit(archived).is_ok() {
        check(&api, "cta", start(), (400, INVALID, ".flags", "seg_beta"));
    } else {
        api.start("cta");
    }
}

#[test]
fn a_treatment_has_traffic() {
    let none = [treatment("var_a", "0", true), treatment("var_b", 0, false)];
    let api = Api::new();
    let mut body = api.experiment("cta");
    body["iteration"]["treatments"] = json!(none);
    api.create_from(&body);
    let refused = (400, INVALID, ".treatments", "allocationPercent above 0");
    check(&api, "cta", start(), refused);
    api.run("running");
    check(&api, "running", save_and_start("treatments", "update", Some(json!(none))), refused);
    let little = [treatment("var_a", "0", true), treatment("var_b", "0.001", false)];
    api.stop("running");
    api.patch("cta", json!([update("treatments", "update", Some(json!(little)))])).ok();
    api.start("cta");
    let arms = api.held("cta");
    let slices = arms.iteration().rollout().unwrap().iter().filter(|slice| !slice.untracked);
    assert_eq!(slices.map(|slice| slice.weight).sum::<u32>(), 1);
}

#[test]
fn there_are_two_treatments() {
    let one = [treatment("var_a", "50", true)];
    let api = Api::new();
    let mut body = api.experiment("cta");
    body["iteration"]["treatments"] = json!(one);
    api.create_from(&body);
    let refused = (400, INVALID, ".treatments", "at least 2; got 1");
    check(&api, "cta", start(), refused);
    api.run("running");
    check(&api, "running", save_and_start("treatments", "update", Some(json!(one))), refused);
}

#[test]
fn whoever_starts_beside_a_running_iteration_says_why() {
    let api = Api::new();
    api.run("cta");
    api.draft("cta", &api.iteration()).is(200);
    let refused = (400, INVALID, ".changeJustification", "is running");
    check(&api, "cta", json!({"kind": "startIteration"}), refused);
    check(&api, "cta", json!({"kind": "startIteration", "changeJustification": ""}), refused);
    check(&api, "cta", json!({"kind": "startIteration", "changeJustification": null}), refused);
    let shown = api.patch("cta", json!([start()])).ok();
    assert_eq!(shown["previousIterations"].as_array().unwrap().len(), 1);
    assert_eq!(shown.get("draftIteration"), None);
    assert_eq!(api.comment().as_deref(), Some("It is time"));
}

#[test]
fn the_experiment_is_not_archived() {
    let api = Api::new();
    api.create("cta");
    api.patch("cta", json!([{"kind": "archiveExperiment"}])).ok();
    check(&api, "cta", start(), (400, INVALID, ".kind", "restore it"));
}

#[test]
fn there_is_an_iteration_to_start() {
    let api = Api::new();
    api.run("cta");
    let refused = (400, INVALID, ".kind", "POST one");
    check(&api, "cta", start(), refused);
    api.stop("cta");
    check(&api, "cta", start(), refused);
    api.draft("cta", &api.iteration()).is(200);
    api.start("cta");
    // One that was put away for good elsewhere.
    api.stop("cta");
    api.commit(Change::set_experiment_status(api.held("cta").id(), Status::Archived));
    check(&api, "cta", start(), (400, INVALID, ".kind", ""));
    let restore = json!({"kind": "restoreExperiment"});
    check(&api, "cta", restore, (400, INVALID, ".kind", "for good"));
}

#[test]
fn one_experiment_runs_on_a_rule() {
    let api = Api::new();
    api.run("cta");
    api.create("rival");
    let refused = (409, "optimistic_locking_error", "", "running experiment: cta");
    check(&api, "rival", start(), refused);
    // Another rule of the same flag is free, and so is the same rule of another flag.
    let mut body = api.experiment("beta");
    body["iteration"]["flags"]["button"]["ruleId"] = json!("seg_beta");
    api.create_from(&body);
    api.start("beta");
    let mut body = api.experiment("colour");
    let version = api.version("colour");
    body["iteration"]["flags"] =
        json!({"colour": {"ruleId": "fallthrough", "flagConfigVersion": version}});
    let mut arms = [treatment("var_x", "50", true), treatment("var_y", "50", false)];
    for arm in &mut arms {
        arm["parameters"][0]["flagKey"] = json!("colour");
    }
    body["iteration"]["treatments"] = json!(arms);
    api.create_from(&body);
    api.start("colour");

    // A new iteration cannot move onto it either.
    let flags =
        json!({"button": {"ruleId": "fallthrough", "flagConfigVersion": api.version("button")}});
    let moved = save_and_start("flags", "update", Some(flags));
    check(&api, "beta", moved, refused);
    // One that is halted elsewhere holds its rule.
    api.commit(Change::set_experiment_status(api.held("cta").id(), Status::Paused));
    check(&api, "rival", start(), refused);
    api.stop("cta");
    api.start("rival");
}

#[test]
fn a_place_in_a_layer_is_not_empty() {
    let api = Api::new();
    api.create("cta");
    let id = api.held("cta").id().clone();
    api.commit(NewLayer::new("Layer", "user").key("flow").member(id, 0.try_into().unwrap()));
    check(&api, "cta", start(), (400, INVALID, ".reservationPercent", "above 0"));
}

#[test]
fn a_bare_start_says_what_stands_in_its_way() {
    for carryover in [Carryover::Analysed, Carryover::ServedOnly] {
        let api = Api::with(|surface| surface.carryover(carryover));
        api.create("cta");
        let answer = api.patch("cta", json!([{"kind": "startIteration"}]));
        answer.is(200);
        let request = json!({"instructions": [{"kind": "startIteration"}]}).to_string();
        let path = format!("{EXPERIMENTS}/none");
        api.request("PATCH", &path, request.into_bytes()).refused(404, "not_found", "");
    }
}
