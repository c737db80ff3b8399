//! What each instruction does, when, and what it leaves alone.

use http::Request;
use serde_json::{Value, json};

use crate::support::{Api, EXPERIMENTS, save_and_start, stop_with, treatment, update};

/// Carries out an instruction twice: the second time changes nothing, and shows the same.
#[track_caller]
fn check_idempotent(api: &Api, instruction: &Value) -> Value {
    let before = api.event_count();
    let shown = api.patch("cta", json!([instruction])).ok();
    assert_eq!(api.event_count(), before + 1, "{instruction}");
    assert_eq!(api.patch("cta", json!([instruction])).ok(), shown, "{instruction}");
    assert_eq!(api.event_count(), before + 1, "{instruction}");
    shown
}

#[test]
fn names_and_descriptions_are_updated_whatever_the_state() {
    let api = Api::new();
    api.create("cta");
    for (state, round) in [("not_started", "1"), ("running", "2"), ("stopped", "3")] {
        let name = format!("Name {round}");
        let shown = check_idempotent(&api, &json!({"kind": "updateName", "value": name}));
        assert_eq!(shown["name"], name);
        let text = format!("Description {round}");
        let shown = check_idempotent(&api, &json!({"kind": "updateDescription", "value": text}));
        assert_eq!(shown["description"], text);
        let shown = check_idempotent(&api, &json!({"kind": "updateDescription", "value": ""}));
        assert_eq!(shown.get("description"), None);
        assert_eq!(shown["currentIteration"]["status"], state);
        match state {
            "not_started" => _ = api.start("cta"),
            _ if state == "running" => _ = api.stop("cta"),
            _ => {}
        }
    }
}

#[test]
fn an_iteration_starts_and_stops_with_a_winner_that_is_shipped() {
    let api = Api::new();
    let draft = api.create("cta");
    assert_eq!(draft["currentIteration"]["status"], "not_started");
    let running = api.start("cta");
    assert_eq!(running["currentIteration"]["status"], "running");
    assert_eq!(running["currentIteration"]["_id"], draft["currentIteration"]["_id"]);
    assert!(running["currentIteration"]["startedAt"].is_i64());
    assert_eq!(running.get("draftIteration"), None);

    let stopped = check_idempotent(&api, &stop_with("var_b"));
    let iteration = &stopped["currentIteration"];
    assert_eq!(iteration["status"], "stopped");
    assert_eq!(iteration["winningTreatmentId"], "var_b");
    assert_eq!(iteration["winningReason"], "It is better");
    assert!(iteration["endedAt"].as_i64() > iteration["startedAt"].as_i64());
    for id in ["u-1", "u-2", "u-3"] {
        let (snapshot, held) = (api.engine().snapshot(), api.held("cta"));
        let decision = snapshot.assign(held.id(), &variate::Subject::of("user", id));
        assert_eq!(decision.variation_id().map(|own| own.as_str()), Some("var_b"));
        assert!(!decision.in_experiment());
    }
    let flag = api.get("/flags/default/button").ok();
    assert_eq!(flag["environments"]["production"]["fallthrough"], json!({"variation": 1}));

    // Another winner is another matter.
    api.patch("cta", json!([stop_with("var_a")])).refused(
        400,
        "invalid_request",
        "instructions[0].kind",
    );
}

#[test]
fn a_stop_needs_a_running_iteration_and_a_treatment_that_won() {
    let check = |api: &Api, instruction: Value, attribute: &str, naming: &str| {
        let answer = api.patch("cta", json!([instruction]));
        answer.refused(400, "invalid_request", attribute).naming(naming);
    };
    let api = Api::new();
    api.create("cta");
    check(&api, stop_with("var_a"), "instructions[0].kind", "cta has none");
    api.start("cta");
    let winner = "instructions[0].winningTreatmentId";
    check(&api, json!({"kind": "stopIteration"}), winner, "name the baseline");
    check(
        &api,
        json!({"kind": "stopIteration", "winningReason": "none won"}),
        winner,
        "name the baseline",
    );
    check(&api, stop_with("var_d"), winner, "var_a, var_b, var_c");
    check(&api, stop_with(""), winner, "got \"\"");
    check(
        &api,
        json!({"kind": "stopIteration", "winningTreatmentId": 1}),
        winner,
        "instructions[0].winningTreatmentId",
    );
    // A reason is not asked for.
    api.patch("cta", json!([{"kind": "stopIteration", "winningTreatmentId": "var_a"}])).ok();
}

#[test]
fn archiving_and_restoring() {
    let api = Api::new();
    let archive = json!({"kind": "archiveExperiment"});
    let restore = json!({"kind": "restoreExperiment"});
    api.run("cta");
    let kind = "instructions[0].kind";
    api.patch("cta", json!([archive])).refused(400, "invalid_request", kind).naming("is running");
    // One that is not archived is in the desired state.
    let before = api.event_count();
    api.patch("cta", json!([restore])).ok();
    assert_eq!(api.event_count(), before);
    api.stop("cta");
    let shown = check_idempotent(&api, &archive);
    assert!(shown["archivedDate"].as_i64().unwrap() <= api.now());
    assert_eq!(shown["currentIteration"]["status"], "stopped");
    let shown = check_idempotent(&api, &restore);
    assert_eq!(shown.get("archivedDate"), None);

    api.create("other");
    api.patch("other", json!([archive])).ok();
    api.patch("other", json!([{"kind": "startIteration"}]))
        .refused(400, "invalid_request", kind)
        .naming("restore it");
    api.patch("other", json!([restore, {"kind": "startIteration"}])).ok();
}

#[test]
fn an_experiment_in_a_layer_is_not_archived() {
    let api = Api::new();
    api.create("cta");
    let half = 50.try_into().unwrap();
    let layer = variate::NewLayer::new("Layer", "user").key("flow");
    api.commit(layer.member(api.held("cta").id().clone(), half));
    api.patch("cta", json!([{"kind": "archiveExperiment"}]))
        .refused(400, "invalid_request", "instructions[0].kind")
        .naming("layer flow");
}

#[test]
fn a_new_iteration_follows_the_running_one() {
    let api = Api::new();
    api.create("cta");
    let bare = json!({"kind": "saveAndStartNewIteration"});
    let kind = "instructions[0].kind";
    api.patch("cta", json!([bare])).refused(400, "invalid_request", kind).naming("not_started");
    let first = api.start("cta")["currentIteration"].clone();
    let hypothesis = save_and_start("hypothesis", "update", Some(json!("Anew")));
    let shown = api.patch("cta", json!([hypothesis])).ok();
    let past = shown["previousIterations"].as_array().unwrap();
    assert_eq!(past.len(), 1);
    assert_eq!(past[0]["_id"], first["_id"]);
    assert_eq!(past[0]["status"], "stopped");
    assert_eq!(past[0]["hypothesis"], "It is clicked more often");
    assert_eq!(past[0].get("winningTreatmentId"), None);
    let current = &shown["currentIteration"];
    assert_eq!(current["status"], "running");
    assert_eq!(current["hypothesis"], "Anew");
    assert_eq!(current["treatments"], first["treatments"]);
    assert_eq!(current["metrics"], first["metrics"]);
    assert_eq!(past[0]["endedAt"], current["startedAt"]);

    // Those before come latest first.
    let shown = api.patch("cta", json!([bare])).ok();
    let ids = shown["previousIterations"].as_array().unwrap().iter().map(|own| &own["_id"]);
    assert_eq!(ids.collect::<Vec<_>>(), [&current["_id"], &first["_id"]]);
    api.stop("cta");
    api.patch("cta", json!([bare])).refused(400, "invalid_request", kind).naming("stopped");
}

#[test]
fn a_new_iteration_can_change_what_a_running_one_cannot() {
    let api = Api::new();
    api.run("cta");
    let version = api.version("button");
    let arms = [treatment("var_a", "5", false), treatment("var_d", "6", true)];
    let value = json!({
        "name": {"operation": "update", "value": "New name"},
        "treatments": {"operation": "update", "value": arms},
        "flags": {"operation": "update", "value": {"button": {
            "ruleId": "seg_beta", "flagConfigVersion": version, "notInExperimentVariationId": "var_c",
        }}},
        "randomizationUnit": {"operation": "update", "value": "device"},
        "methodology": {"operation": "update", "value": "bayesian"},
        "analysisConfig": {"operation": "update", "value": {"bayesianThreshold": "95"}},
        "primaryFunnelKey": {"operation": "update", "value": "checkout"},
    });
    let shown =
        api.patch("cta", json!([{"kind": "saveAndStartNewIteration", "value": value}])).ok();
    let current = &shown["currentIteration"];
    assert_eq!(shown["name"], "New name");
    assert_eq!(shown["methodology"], "bayesian");
    assert_eq!(shown["analysisConfig"], json!({"bayesianThreshold": "95"}));
    assert_eq!(current["treatments"][1]["_id"], "var_d");
    assert_eq!(current["treatments"][1]["baseline"], true);
    assert_eq!(current["flags"]["button"]["targetingRule"], "seg_beta");
    assert_eq!(current["flags"]["button"]["notInExperimentVariationId"], "var_c");
    assert_eq!(current["randomizationUnit"], "device");
    assert_eq!(current["primaryFunnel"]["key"], "checkout");
    assert_eq!(current.get("primarySingleMetric"), None);
    let past = &shown["previousIterations"][0];
    assert_eq!(past["flags"]["button"]["targetingRule"], "fallthrough");
    assert_eq!(past["flags"]["button"]["notInExperimentVariationId"], "var_a");
    assert_eq!(past["randomizationUnit"], "user");
    assert_eq!(past["primarySingleMetric"]["key"], "clicks");
}

#[test]
fn later_instructions_see_earlier_ones() {
    let name = |text: &str| json!({"kind": "updateName", "value": text});
    let start = json!({"kind": "startIteration"});
    let hypothesis = update("hypothesis", "update", Some(json!("Anew")));
    let api = Api::new();
    api.create("cta");
    let before = api.event_count();
    let shown = api.patch("cta", json!([name("A"), hypothesis, start, name("B")])).ok();
    assert_eq!(shown["name"], "B");
    assert_eq!(shown["currentIteration"]["hypothesis"], "Anew");
    assert_eq!(shown["currentIteration"]["status"], "running");
    // It is one event whatever the number of instructions.
    assert_eq!(api.event_count(), before + 1);

    let more = update("tags", "add", Some(json!(["three"])));
    let less = update("tags", "remove", Some(json!(["one"])));
    let shown = api.patch("cta", json!([more, less, more])).ok();
    assert_eq!(shown["tags"], json!(["two", "three"]));

    let archive = json!({"kind": "archiveExperiment"});
    let shown = api.patch("cta", json!([stop_with("var_a"), archive])).ok();
    assert_eq!(shown["currentIteration"]["status"], "stopped");
    assert!(shown["archivedDate"].is_i64());

    api.create("other");
    let other = update("hypothesis", "update", Some(json!("Another")));
    api.patch("other", json!([start, other])).refused(
        400,
        "invalid_request",
        "instructions[1].value.hypothesis",
    );
    api.patch("other", json!([archive, start])).refused(
        400,
        "invalid_request",
        "instructions[1].kind",
    );
    let draft = api.iteration();
    api.draft("other", &draft).is(200);
}

#[test]
fn comments_and_justifications_stand_in_the_event() {
    let api = Api::new();
    api.create("cta");
    let check = |body: Value, expected: Option<&str>| {
        api.patch_with("cta", &body).ok();
        assert_eq!(api.comment().as_deref(), expected, "{body}");
    };
    let name = |text: &str| json!([{"kind": "updateName", "value": text}]);
    check(json!({"instructions": name("A")}), None);
    check(json!({"instructions": name("B"), "comment": ""}), None);
    check(json!({"instructions": name("C"), "comment": null}), None);
    check(json!({"instructions": name("D"), "comment": "As agreed"}), Some("As agreed"));
    let start = json!([{"kind": "startIteration", "changeJustification": "It is time"}]);
    check(json!({"instructions": start}), Some("It is time"));
    let again = json!([{"kind": "saveAndStartNewIteration", "changeJustification": "And again"}]);
    check(json!({"instructions": again, "comment": "Two"}), Some("Two\nAnd again"));
}

#[test]
fn what_is_no_list_of_instructions_is_refused() {
    let api = Api::new();
    api.create("cta");
    let check = |body: Value, status, code: &str, attribute: &str| {
        api.patch_with("cta", &body).refused(status, code, attribute);
    };
    let invalid = "invalid_request";
    check(json!({"instructions": []}), 400, invalid, "instructions");
    check(json!({"instructions": null}), 400, invalid, "instructions");
    check(json!({"instructions": {"kind": "updateName"}}), 400, invalid, "instructions");
    check(json!({"comment": "none"}), 400, invalid, "instructions");
    check(json!("updateName"), 400, invalid, "");
    check(
        json!({"comment": 1, "instructions": [{"kind": "archiveExperiment"}]}),
        400,
        invalid,
        "comment",
    );
    let patch = json!([{"op": "replace", "path": "/name", "value": "A"}]);
    check(patch, 422, "patch_failed", "");
    check(json!([]), 422, "patch_failed", "");
    let known = json!({"kind": "updateName", "value": "A"});
    for kind in ["rename", "", "UpdateName", "deleteExperiment"] {
        let unknown = json!({"kind": kind, "value": "A"});
        let attribute = "instructions[1].kind";
        check(json!({"instructions": [known, unknown]}), 422, "patch_failed", attribute);
    }
    api.patch("cta", json!([{"kind": "rename"}])).naming("updateExperimentFields");

    let kind = "instructions[0].kind";
    check(json!({"instructions": [{"value": "A"}]}), 400, invalid, kind);
    check(json!({"instructions": [{"kind": 1}]}), 400, invalid, kind);
    check(json!({"instructions": ["archiveExperiment"]}), 400, invalid, "instructions[0]");
    let value = "instructions[0].value";
    for kind in ["updateName", "updateDescription", "updateExperimentFields"] {
        check(json!({"instructions": [{"kind": kind}]}), 400, invalid, value);
        check(json!({"instructions": [{"kind": kind, "value": 1}]}), 400, invalid, value);
        check(json!({"instructions": [{"kind": kind, "value": null}]}), 400, invalid, value);
    }
    let start = json!({"kind": "startIteration", "changeJustification": 1});
    check(json!({"instructions": [start]}), 400, invalid, "instructions[0].changeJustification");
    let fields = |update: Value| json!({"instructions": [{"kind": "updateExperimentFields", "value": update}]});
    let tags = "instructions[0].value.tags";
    check(fields(json!({"tags": 1})), 400, invalid, tags);
    check(fields(json!({"tags": {}})), 400, invalid, &format!("{tags}.operation"));
    check(
        fields(json!({"tags": {"operation": "set"}})),
        400,
        invalid,
        &format!("{tags}.operation"),
    );
    for operation in ["add", "update"] {
        let bare = json!({"tags": {"operation": operation}});
        check(fields(bare), 400, invalid, &format!("{tags}.value"));
        let wrong = json!({"tags": {"operation": operation, "value": "one"}});
        check(fields(wrong), 400, invalid, &format!("{tags}.value"));
    }
    // An empty map of fields and members that nobody knows are no fault.
    api.patch_with("cta", &fields(json!({}))).ok();
    api.patch("cta", json!([{"kind": "updateName", "value": "A", "because": "B"}])).ok();
}

#[test]
fn the_body_is_json_whatever_the_domain_model() {
    let api = Api::new();
    api.create("cta");
    let check = |content_type: &str, status: u16| {
        let body = json!({"instructions": [{"kind": "updateName", "value": content_type}]});
        let request = Request::builder()
            .method("PATCH")
            .uri(format!("/api/v2{EXPERIMENTS}/cta"))
            .header("content-type", content_type)
            .body(body.to_string().into_bytes());
        api.send(&request.unwrap()).is(status);
    };
    check("application/json", 200);
    check("application/json; domain-model=launchdarkly.semanticpatch", 200);
    check("text/plain", 400);
    api.request("PATCH", &format!("{EXPERIMENTS}/cta"), Vec::new()).refused(
        400,
        "invalid_request",
        "",
    );
    api.request("PATCH", &format!("{EXPERIMENTS}/cta"), b"{".to_vec()).is(400);
    api.patch("none", json!([{"kind": "archiveExperiment"}])).refused(404, "not_found", "");
}
