//! Groups: created, edited and deleted; their weights count as they are written.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{Api, EXPERIMENTS};

#[test]
fn a_group_reads_back() {
    let api = Api::new();
    let path = api.draft("a", json!({}));
    let bare = api.post(&format!("{path}/groups"), &json!({"weight": 1})).is(201).body.clone();
    let id = bare["id"].as_str().unwrap();
    let experiment = api.get(&path).ok()["url"].as_str().unwrap().to_owned();
    let expected = json!({
        "object": "experiment_group", "id": id, "url": format!("{experiment}/groups/{id}"),
        "name": null, "is_control": false, "weight": 1, "remote_config_uid": null,
        "created_at": bare["created_at"], "updated_at": bare["updated_at"],
    });
    assert_eq!(bare, expected);
    let full =
        json!({"weight": 0.5, "name": "Short", "is_control": true, "remote_config_uid": "rc_1"});
    let full = api.post(&format!("{path}/groups"), &full).is(201).body.clone();
    for (field, value) in [
        ("name", json!("Short")),
        ("weight", json!(0.5)),
        ("is_control", json!(true)),
        ("remote_config_uid", json!("rc_1")),
    ] {
        assert_eq!(full[field], value);
    }
    let list = api.get(&format!("{path}/groups")).ok();
    let mut bare = bare;
    bare["updated_at"] = full["updated_at"].clone();
    let expected = json!({
        "object": "list", "url": format!("{experiment}/groups"), "data": [bare, full],
        "has_more": false,
    });
    assert_eq!(list, expected);
}

#[test]
fn bodies_that_are_wrong() {
    fn check(body: Value, fields: &[&str]) {
        let api = Api::new();
        let (path, [group, _]) = api.ready("a", json!({}));
        api.post(&format!("{path}/groups"), &body).invalid(fields);
        if !fields.is_empty() && body.get(fields[0]).is_some() {
            api.patch(&format!("{path}/groups/{group}"), &body).invalid(fields);
        }
    }
    check(json!({}), &["weight"]);
    check(json!({"name": "x"}), &["weight"]);
    for weight in [
        json!(null),
        json!("1"),
        json!(0),
        json!(0.0),
        json!(-1),
        json!(0.000_000_1),
        json!(1_000_000_001),
        json!(1e300),
        json!([1]),
        json!(true),
    ] {
        check(json!({"weight": weight}), &["weight"]);
    }
    let with = |field: &str, value: Value| json!({"weight": 1, field: value});
    for name in [json!(1), json!(""), json!("x".repeat(256)), json!("a\nb")] {
        check(with("name", name.clone()), &["name"]);
        check(with("remote_config_uid", name), &["remote_config_uid"]);
    }
    for control in [json!(null), json!("true"), json!(1)] {
        check(with("is_control", control), &["is_control"]);
    }
    check(with("offering_uid", json!("x")), &["offering_uid"]);
    check(with("id", json!("x")), &["id"]);
    check(json!({"weight": -1, "name": 7, "is_control": null}), &["weight", "name", "is_control"]);
}

/// What a PATCH does to each field of a group: as it is told, and nothing else.
#[test]
fn every_field_of_a_patch() {
    fn check(body: Value, expected: &[(&str, Value)]) {
        let api = Api::new();
        let (path, [_, group]) = api.ready("a", json!({}));
        let list = |api: &Api| api.get(&format!("{path}/groups")).ok()["data"].clone();
        let before = list(&api);
        let at = format!("{path}/groups/{group}");
        let answer = api.patch(&at, &body).ok();
        let mut after = before.clone();
        for (field, value) in expected {
            after[1][*field] = value.clone();
        }
        for (index, own) in after.as_array_mut().unwrap().iter_mut().enumerate() {
            own["updated_at"] = list(&api)[index]["updated_at"].clone();
        }
        assert_eq!(list(&api), after, "{body}");
        assert_eq!(answer, after[1], "{body}");
        if expected.is_empty() {
            assert_eq!(list(&api), before, "{body}");
        } else {
            assert_ne!(list(&api)[1]["updated_at"], before[1]["updated_at"], "{body}");
        }
        // The same again is no edit.
        assert_eq!(api.patch(&at, &body).ok(), answer, "{body}");
    }
    check(json!({}), &[]);
    check(
        json!({"weight": 1, "name": "Short", "is_control": false, "remote_config_uid": "rc_short"}),
        &[],
    );
    check(json!({"weight": 7.25}), &[("weight", json!(7.25))]);
    check(json!({"name": "Long"}), &[("name", json!("Long"))]);
    check(json!({"name": null}), &[("name", Value::Null)]);
    check(json!({"remote_config_uid": "rc_2"}), &[("remote_config_uid", json!("rc_2"))]);
    check(json!({"remote_config_uid": null}), &[("remote_config_uid", Value::Null)]);
    check(json!({"name": null, "weight": 3}), &[("name", Value::Null), ("weight", json!(3))]);
}

#[test]
fn there_is_one_control() {
    let api = Api::new();
    let (path, [control, other]) = api.ready("a", json!({}));
    let at = |group: &str| format!("{path}/groups/{group}");
    api.patch(&at(&other), &json!({"is_control": true})).conflict(&["is_control"]);
    api.post(&format!("{path}/groups"), &json!({"weight": 1, "is_control": true}))
        .conflict(&["is_control"]);
    api.patch(&at(&control), &json!({"is_control": true})).ok();
    api.patch(&at(&control), &json!({"is_control": false})).ok();
    api.status(&path, "active").refused(422, "logical", "not_ready", &[]).naming("control");
    api.patch(&at(&other), &json!({"is_control": true})).ok();
    api.status(&path, "active").ok();
}

#[test]
fn groups_change_while_the_experiment_is_halted() {
    let api = Api::new();
    let (path, [control, other]) = api.running("a", json!({}));
    let at = format!("{path}/groups/{other}");
    let refused = || {
        api.post(&format!("{path}/groups"), &json!({"weight": 1})).conflict(&[]);
        api.patch(&at, &json!({"weight": 2})).conflict(&[]);
        api.patch(&at, &json!({"remote_config_uid": "rc_new"})).conflict(&[]);
        api.delete(&at).conflict(&[]);
        // As it is.
        api.patch(&at, &json!({"weight": 1, "remote_config_uid": "rc_short"})).ok();
    };
    refused();
    api.status(&path, "paused").ok();
    api.patch(&at, &json!({"weight": 2, "remote_config_uid": "rc_new"})).ok();
    let third = api.group(&path, json!({"weight": 1, "remote_config_uid": "rc_third"}));
    api.status(&path, "active").ok();
    // From the resumption on, everybody is served what the groups say now.
    let mut seen = BTreeMap::new();
    for user in 0..400 {
        let id = format!("user-{user}");
        let decision = api.ask("", &id);
        let snapshot = api.engine().snapshot();
        let subject = variate::Subject::of("user", &id);
        let uid = snapshot
            .chain("")
            .assign(&subject)
            .config()
            .unwrap()
            .get("remote_config_uid")
            .unwrap()
            .clone();
        *seen
            .entry((decision["variation_id"].as_str().unwrap().to_owned(), uid.to_string()))
            .or_insert(0) += 1;
    }
    let keys: Vec<_> = seen.keys().cloned().collect();
    let mut expected = vec![
        (control.clone(), "\"rc_today\"".to_owned()),
        (other, "\"rc_new\"".to_owned()),
        (third, "\"rc_third\"".to_owned()),
    ];
    expected.sort();
    assert_eq!(keys, expected);
    api.status(&path, "paused").ok();
    api.delete(&at).is(204);
    api.delete(&at).refused(404, "resource", "not_found", &[]);
    api.status(&path, "active").ok();
    api.status(&path, "finished").ok();
    api.post(&format!("{path}/groups"), &json!({"weight": 1})).conflict(&[]);
    api.delete(&format!("{path}/groups/{control}")).conflict(&[]);
    api.patch(&format!("{path}/groups/{control}"), &json!({"remote_config_uid": "x"}))
        .conflict(&[]);
}

#[test]
fn there_are_at_most_twenty() {
    let api = Api::new();
    let path = api.draft("a", json!({}));
    for _ in 0..20 {
        api.group(&path, json!({"weight": 1}));
    }
    api.post(&format!("{path}/groups"), &json!({"weight": 1})).refused(
        422,
        "logical",
        "limit_exceeded",
        &[],
    );
    let page = api.get(&format!("{path}/groups")).ok();
    assert_eq!((page["data"].as_array().unwrap().len(), &page["has_more"]), (20, &json!(false)));
}

#[test]
fn a_start_needs_groups() {
    let api = Api::new();
    let path = api.draft("a", json!({}));
    api.status(&path, "active").refused(422, "logical", "not_ready", &[]);
    api.group(&path, json!({"weight": 1, "is_control": true}));
    api.status(&path, "active").refused(422, "logical", "not_ready", &[]).naming("two groups");
    api.group(&path, json!({"weight": 1}));
    api.status(&path, "active").ok();
    let none = "/v4/experiments/none/groups";
    api.get(none).refused(404, "resource", "not_found", &[]);
    api.post(none, &json!({"weight": 1})).refused(404, "resource", "not_found", &[]);
    let group = format!("{EXPERIMENTS}/a/groups/var_none");
    api.patch(&group, &json!({})).refused(404, "resource", "not_found", &[]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Weights are relative: a group of weight w has w of the sum of all, to the point, in the order of
    /// the groups' ids.
    #[test]
    fn weights_count_exactly(millionths in prop::collection::vec(1..=1_000_000_000_000_000_u64, 2..8)) {
        let api = Api::new();
        let path = api.draft("a", json!({}));
        let mut groups = BTreeMap::new();
        for (index, own) in millionths.iter().enumerate() {
            let (whole, rest) = (own / 1_000_000, own % 1_000_000);
            let body = format!("{{\"weight\": {whole}.{rest:06}, \"is_control\": {}}}", index == 0);
            let answer = api.request("POST", &format!("{path}/groups"), body.into_bytes());
            let shown = answer.ok();
            let weight: f64 = format!("{whole}.{rest:06}").parse().unwrap();
            prop_assert_eq!(shown["weight"].as_f64(), Some(weight));
            groups.insert(shown["id"].as_str().unwrap().to_owned(), u128::from(*own));
        }
        api.status(&path, "active").ok();
        let held = api.held("a");
        let partition = held.iteration().partition().unwrap();
        let arms: Vec<&str> = held.iteration().allocations().unwrap().iter()
            .map(|arm| arm.variation_id.as_str()).collect();
        let all: u128 = groups.values().sum();
        let (mut before, mut points) = (0, 0);
        for (id, weight) in &groups {
            before += weight;
            let end = (before << 32) / all;
            let arm = arms.iter().position(|own| own == id).unwrap();
            prop_assert_eq!(u128::from(partition.points(arm)), end - points);
            points = end;
        }
    }
}
