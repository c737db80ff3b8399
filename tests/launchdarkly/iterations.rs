//! Posting an iteration.

use serde_json::json;

use crate::support::{Api, treatment};

#[test]
fn on_a_draft_it_takes_the_place_of_what_there_is() {
    let api = Api::new();
    let before = api.create("cta");
    let mut next = api.iteration();
    next["hypothesis"] = json!("Anew");
    next["treatments"] = json!([treatment("var_c", "10", true), treatment("var_d", "20", false)]);
    next["metrics"] = json!([{"key": "errors"}]);
    next["primarySingleMetricKey"] = json!("errors");
    next.as_object_mut().unwrap().remove("attributes");
    let answer = api.draft("cta", &next).is(200).body.clone();
    let shown = api.show("cta");
    assert_eq!(answer, shown["currentIteration"]);
    assert_eq!(answer["_id"], before["currentIteration"]["_id"]);
    assert_eq!(answer["status"], "not_started");
    assert_eq!(answer["hypothesis"], "Anew");
    assert_eq!(answer["treatments"].as_array().unwrap().len(), 2);
    assert_eq!(answer["flags"]["button"]["notInExperimentVariationId"], "var_c");
    assert_eq!(answer["metrics"].as_array().unwrap().len(), 1);
    assert_eq!(answer.get("attributes"), None);
    assert_eq!(shown["previousIterations"], json!([]));
    assert_eq!(shown["methodology"], before["methodology"]);
}

#[test]
fn beside_a_running_or_stopped_one_it_waits_for_its_start() {
    for stopped in [false, true] {
        let api = Api::new();
        api.run("cta");
        if stopped {
            api.stop("cta");
        }
        let before = api.show("cta");
        assert_eq!(before.get("draftIteration"), None);
        let mut next = api.iteration();
        next["hypothesis"] = json!("Second");
        next["treatments"] = json!([treatment("var_a", "1", true), treatment("var_b", "2", false)]);
        let answer = api.draft("cta", &next).is(200).body.clone();
        let shown = api.show("cta");
        assert_eq!(shown["draftIteration"], answer);
        assert_eq!(answer["status"], "not_started");
        assert_eq!(answer.get("startedAt"), None);
        assert_ne!(answer["_id"], before["currentIteration"]["_id"]);
        assert_eq!(shown["currentIteration"], before["currentIteration"]);

        // A second one takes the place of the first, even if it is like the present one.
        let again = api.draft("cta", &api.iteration()).is(200).body.clone();
        assert_eq!(again["_id"], answer["_id"]);
        assert_eq!(again["hypothesis"], "It is clicked more often");
        assert_eq!(again["treatments"], before["currentIteration"]["treatments"]);
        let shown = api.draft("cta", &next).is(200).body.clone();
        assert_eq!(shown["treatments"], answer["treatments"]);

        let start = json!({"kind": "startIteration", "changeJustification": "It is time"});
        let started = api.patch("cta", json!([start])).ok();
        assert_eq!(started["currentIteration"]["_id"], answer["_id"]);
        assert_eq!(started["currentIteration"]["treatments"], answer["treatments"]);
        assert_eq!(started["currentIteration"]["createdAt"], answer["createdAt"]);
        let past = &started["previousIterations"][0];
        assert_eq!(past["_id"], before["currentIteration"]["_id"]);
        assert_eq!(past["treatments"], before["currentIteration"]["treatments"]);
        assert_eq!(past.get("winningTreatmentId").is_some(), stopped);
    }
}

#[test]
fn a_new_iteration_discards_the_draft_beside() {
    let api = Api::new();
    api.run("cta");
    let mut next = api.iteration();
    next["hypothesis"] = json!("Second");
    api.draft("cta", &next).is(200);
    let shown = api.patch("cta", json!([{"kind": "saveAndStartNewIteration"}])).ok();
    assert_eq!(shown["currentIteration"]["hypothesis"], "It is clicked more often");
    assert_eq!(shown.get("draftIteration"), None);
}

#[test]
fn what_it_refuses() {
    let api = Api::new();
    api.create("cta");
    let invalid = "invalid_request";
    api.draft("none", &api.iteration()).refused(404, "not_found", "");
    api.draft("cta", &json!({})).is(400);
    let mut other = api.iteration();
    let version = api.version("colour");
    other["flags"] = json!({"colour": {"ruleId": "fallthrough", "flagConfigVersion": version}});
    let mut arms = [treatment("var_x", "50", true), treatment("var_y", "50", false)];
    for arm in &mut arms {
        arm["parameters"][0]["flagKey"] = json!("colour");
    }
    other["treatments"] = json!(arms);
    api.draft("cta", &other).refused(400, invalid, "flags");
    let mut stale = api.iteration();
    stale["flags"]["button"]["flagConfigVersion"] = json!(77);
    let attribute = "flags.button.flagConfigVersion";
    api.draft("cta", &stale).refused(409, "optimistic_locking_error", attribute);
}

#[test]
fn experiments_that_others_made_are_answered_for_too() {
    // One without keys, names and an outside variation, under another hash.
    let api = Api::new();
    let new = variate::NewExperiment::by_percentage("Plain", "flg_button".parse().unwrap())
        .id("exp_bare".parse().unwrap())
        .allocation(crate::common::share("var_a", "60").control())
        .allocation(crate::common::share("var_b", "40"));
    api.commit(new);
    let shown = api.show("exp_bare");
    assert_eq!(shown["key"], "exp_bare");
    assert_eq!(shown["currentIteration"]["treatments"][0]["allocationPercent"], "60");
    assert_eq!(shown["currentIteration"]["treatments"][0]["name"], "var_a");
    api.start("exp_bare");
    let tags = crate::support::update("tags", "add", Some(json!(["one"])));
    assert_eq!(api.patch("exp_bare", json!([tags])).ok()["tags"], json!(["one"]));
    let add = |key: &str| {
        let metric = json!([{"key": key}]);
        crate::support::update("metrics", "add", Some(metric))
    };
    api.patch("exp_bare", json!([add("errors"), {"kind": "saveAndStartNewIteration"}])).ok();
    let primary =
        crate::support::save_and_start("primarySingleMetricKey", "update", Some(json!("clicks")));
    let before = api.engine().snapshot();
    let salt = before.experiment("exp_bare").unwrap().salt().clone();
    api.patch("exp_bare", json!([primary, add("latency")])).ok();
    let after = api.engine().snapshot();
    assert_eq!(after.experiment("exp_bare").unwrap().outside_variation_id(), None);
    assert_eq!(*after.experiment("exp_bare").unwrap().salt(), salt);
    let shown = api.patch("exp_bare", json!([crate::support::stop_with("var_a")])).ok();
    assert_eq!(shown["currentIteration"]["winningTreatmentId"], "var_a");
}
