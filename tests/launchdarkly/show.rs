//! What an answer shows.

use serde_json::{Value, json};
use variate::{Change, NewLayer};

use crate::support::{ALL, Api, EXPERIMENTS, save_and_start, stop_with, treatment};

/// Everything about one experiment in its second iteration, with a draft of a third beside.
fn full() -> (Api, Value) {
    let api = Api::new();
    let mut body = api.experiment("cta");
    body["type"] = json!("experiment");
    body["analysisConfig"] = json!({
        "bayesianThreshold": "95", "significanceThreshold": "0.05", "testDirection": "two-sided",
        "multipleComparisonCorrectionMethod": "benjamini-hochberg",
        "multipleComparisonCorrectionScope": "variations-and-metrics",
        "sequentialTestingEnabled": false,
    });
    let iteration = &mut body["iteration"];
    iteration["flags"]["button"]["ruleId"] = json!("seg_beta");
    iteration["metrics"] =
        json!([{"key": "clicks"}, {"key": "latency"}, {"key": "health", "isGroup": true}]);
    iteration["canReshuffleTraffic"] = json!(false);
    api.create_from(&body);
    let id = api.held("cta").id().clone();
    let layer = NewLayer::new("Flow", "user").key("flow").member(id, 50.try_into().unwrap());
    api.commit(layer);
    api.start("cta");
    let funnel = save_and_start("primaryFunnelKey", "update", Some(json!("checkout")));
    api.patch("cta", json!([funnel])).ok();
    api.patch("cta", json!([stop_with("var_b")])).ok();
    let mut next = api.iteration();
    next["treatments"] =
        json!([treatment("var_a", "33.333", true), treatment("var_d", "1", false)]);
    api.draft("cta", &next).is(200);
    let id = api.held("cta").id().to_string();
    let text = api.show("cta").to_string().replace(&id, "exp_golden");
    (api, serde_json::from_str(&text).unwrap())
}

#[test]
fn an_experiment_with_everything() {
    let (_, shown) = full();
    let golden: Value = serde_json::from_str(include_str!("experiment.json")).unwrap();
    let printed = || serde_json::to_string_pretty(&shown).unwrap();
    assert_eq!(shown, golden, "{}", printed());
}

#[test]
fn what_is_not_asked_for_is_left_out() {
    let (api, whole) = full();
    let path = |query: &str| format!("{EXPERIMENTS}/cta{query}");
    let bare = api.get(&path("")).ok();
    let of_experiment =
        ["previousIterations", "draftIteration", "analysisConfig", "mutableFieldsByStatus"];
    for member in of_experiment {
        assert_eq!(bare.get(member), None);
        let with = api.get(&path(&format!("?expand={member}"))).ok();
        assert!(with.get(member).is_some(), "{member}");
        let others = of_experiment.iter().filter(|own| **own != member);
        others.for_each(|own| assert_eq!(with.get(*own), None, "{member}"));
    }
    let current = &bare["currentIteration"];
    for member in ["treatments", "metrics", "secondaryMetrics"] {
        assert_eq!(current.get(member), None);
    }
    assert_eq!(current["primaryMetric"]["key"], "checkout");
    let with = api.get(&path("?expand=treatments,secondaryMetrics")).ok();
    let [ours, theirs] = [&with, &whole].map(|own| &own["currentIteration"]);
    for member in ["treatments", "metrics", "secondaryMetrics"] {
        assert_eq!(ours[member], theirs[member], "{member}");
    }
    // Of iterations before and to come as well.
    let with = api.get(&path("?expand=previousIterations&expand=draftIteration")).ok();
    assert_eq!(with["draftIteration"].get("treatments"), None);
    assert_eq!(with["previousIterations"][0].get("treatments"), None);
    // A list shows the same, and so do the answers to a POST and a PATCH.
    let page = api.get(&format!("{EXPERIMENTS}{ALL}")).ok();
    assert_eq!(page["items"][0], api.show("cta"));
    let body = api.experiment("other");
    let created = api.post(EXPERIMENTS, &body).is(201).body.clone();
    assert_eq!(created, api.get(&format!("{EXPERIMENTS}/other")).ok());
}

#[test]
fn moments_are_milliseconds() {
    let api = Api::new();
    let before = api.now();
    let created = api.create("cta")["_creationDate"].as_i64().unwrap();
    assert!(before < created && created <= api.now());
    let before = api.now();
    let started = api.start("cta")["currentIteration"]["startedAt"].as_i64().unwrap();
    assert!(before < started && started <= api.now());
    let before = api.now();
    let shown = api.stop("cta");
    let ended = shown["currentIteration"]["endedAt"].as_i64().unwrap();
    assert!(before < ended && ended <= api.now());
    assert_eq!(shown["currentIteration"]["createdAt"], created);
    let before = api.now();
    let shown = api.patch("cta", json!([{"kind": "archiveExperiment"}])).ok();
    let archived = shown["archivedDate"].as_i64().unwrap();
    assert!(before < archived && archived <= api.now());
    // What was put away for good elsewhere is archived too.
    api.run("other");
    api.stop("other");
    let id = api.held("other").id().clone();
    api.commit(Change::set_experiment_status(&id, variate::Status::Archived));
    assert!(api.show("other")["archivedDate"].is_i64());
}

#[test]
fn previous_iterations_keep_their_winners() {
    let api = Api::new();
    api.run("cta");
    for (round, winner) in ["var_b", "var_a", "var_c"].iter().enumerate() {
        let stop = json!({
            "kind": "stopIteration", "winningTreatmentId": winner,
            "winningReason": format!("Round {round}"),
        });
        api.patch("cta", json!([stop])).ok();
        api.draft("cta", &api.iteration()).is(200);
        api.start("cta");
    }
    let shown = api.show("cta");
    let past = shown["previousIterations"].as_array().unwrap();
    let winners: Vec<_> = past
        .iter()
        .map(|own| {
            (own["winningTreatmentId"].as_str().unwrap(), own["winningReason"].as_str().unwrap())
        })
        .collect();
    assert_eq!(winners, [("var_c", "Round 2"), ("var_a", "Round 1"), ("var_b", "Round 0")]);
    assert!(past.iter().all(|own| own["status"] == "stopped" && own["endedAt"].is_i64()));
    assert_eq!(shown["currentIteration"].get("winningTreatmentId"), None);
    let ids: std::collections::BTreeSet<_> =
        past.iter().map(|own| own["_id"].to_string()).collect();
    assert_eq!(ids.len(), 3);
}

#[test]
fn a_place_in_a_layer_is_remembered() {
    let api = Api::new();
    api.create("cta");
    api.create("other");
    let (cta, other) = (api.held("cta").id().clone(), api.held("other").id().clone());
    let layer = NewLayer::new("Flow", "user").key("flow").member(cta, 30.try_into().unwrap());
    api.commit(layer.member(other, 45.try_into().unwrap()));
    api.start("cta");
    let shown = api.patch("cta", json!([{"kind": "saveAndStartNewIteration"}])).ok();
    let expected = json!({
        "key": "flow", "name": "Flow", "reservationPercent": 30, "otherReservationPercent": 45,
    });
    assert_eq!(shown["previousIterations"][0]["layerSnapshot"], expected);
    assert_eq!(shown["currentIteration"].get("layerSnapshot"), None);
    // One that has stopped ran there too.
    let shown = api.stop("cta");
    assert_eq!(shown["currentIteration"]["layerSnapshot"], expected);
}

#[test]
fn links_lead_somewhere() {
    fn hrefs(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Array(list) => list.iter().for_each(|own| hrefs(own, found)),
            Value::Object(members) => {
                if let (Some(Value::String(href)), Some(_)) =
                    (members.get("href"), members.get("type"))
                {
                    found.push(href.clone());
                }
                members.values().for_each(|own| hrefs(own, found));
            }
            _ => {}
        }
    }

    let (api, shown) = full();
    let mut found = Vec::new();
    hrefs(&shown, &mut found);
    found.sort_unstable();
    found.dedup();
    // The project and the environment have no page of their own.
    found.retain(|href| !href.ends_with("/default") && !href.ends_with("/production"));
    assert_eq!(found.len(), 8, "{found:?}");
    for href in found {
        api.get(href.strip_prefix("/api/v2").unwrap()).is(200);
    }
}
