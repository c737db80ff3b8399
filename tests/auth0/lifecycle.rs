//! The lifecycle of each kind, exhaustively, through `/status` and through PATCH: the published
//! transitions and no others; edits and transition together or not at all; what can be edited when,
//! which is what `editable_fields` says; readiness and the limits of what is active.

use serde_json::{Value, json};
use variate::api::auth0::Generation;
use variate::{ActiveLimit, Change, FlagStatus, SegmentStatus, Snapshot, Status};

use crate::common::{ok, p};
use crate::schema::EDITABLE;
use crate::support::{Api, GENERATIONS, new_experiment, new_segmented, world, world_with};

const STATUSES: [Status; 5] =
    [Status::Draft, Status::Active, Status::Paused, Status::Completed, Status::Archived];

/// The published edges.
const EDGES: [(Status, Status); 8] = [
    (Status::Draft, Status::Active),
    (Status::Active, Status::Paused),
    (Status::Paused, Status::Active),
    (Status::Active, Status::Completed),
    (Status::Paused, Status::Completed),
    (Status::Draft, Status::Archived),
    (Status::Paused, Status::Archived),
    (Status::Completed, Status::Archived),
];

const EXPERIMENTS: [&str; 3] = ["exp_weights", "exp_segments", "exp_ramp"];

/// Asks for a status in one of the two ways.
fn transition(api: &Api, path: &str, status: &str, patches: bool) -> crate::support::Answer {
    let body = json!({"status": status});
    if patches { api.patch(path, &body) } else { api.post(&format!("{path}/status"), &body) }
}

#[test]
fn experiments_go_along_the_published_edges_and_no_others() {
    for (from, to) in STATUSES.iter().flat_map(|from| STATUSES.map(|to| (*from, to))) {
        for (id, patches) in EXPERIMENTS.iter().flat_map(|id| [(id, false), (id, true)]) {
            for generation in GENERATIONS {
                let api = Api::over(&world_with(id, from), generation);
                let path = format!("/experiments/{id}");
                let before = api.get(&path).ok();
                let answer = transition(&api, &path, to.as_str(), patches);
                if to == Status::Draft {
                    // No transition, but a value that the field does not have.
                    answer.refused(400, "invalid_value").naming("status");
                } else if EDGES.contains(&(from, to)) {
                    let after = answer.ok();
                    assert_eq!(after["status"], to.as_str());
                    assert_eq!(api.get(&path).ok(), after);
                    check_times(&before, &after, to);
                } else {
                    answer.refused(400, "transition_not_allowed").naming("status");
                }
            }
        }
    }
}

fn check_times(before: &Value, after: &Value, to: Status) {
    assert_eq!(before["created_at"], after["created_at"]);
    assert!(before["updated_at"].as_str() < after["updated_at"].as_str());
    let now = &after["updated_at"];
    let first = before.get("started_at").is_none() && to == Status::Active;
    assert_eq!(&after["started_at"], if first { now } else { &before["started_at"] });
    let ends = to == Status::Completed;
    assert_eq!(&after["ended_at"], if ends { now } else { &before["ended_at"] });
}

#[test]
fn flags_go_along_the_published_edges_and_no_others() {
    use FlagStatus::{Active, Archived, Draft};
    let edges = [(Draft, Active), (Draft, Archived), (Active, Archived)];
    for (from, to) in
        [Draft, Active, Archived].iter().flat_map(|f| FlagStatus::ALL.iter().map(move |t| (*f, *t)))
    {
        for (generation, patches) in GENERATIONS.iter().flat_map(|g| [(*g, false), (*g, true)]) {
            let mut snapshot = world();
            if from != Draft {
                snapshot = ok(&snapshot, Change::set_flag_status(&p("flg_other"), from));
            }
            let api = Api::over(&snapshot, generation);
            let path = "/feature-flags/flg_other";
            let answer = transition(&api, path, to.as_str(), patches);
            if edges.contains(&(from, to)) {
                let after = answer.ok();
                assert_eq!(after["status"], to.as_str());
                assert_eq!(api.get(path).ok(), after);
            } else {
                answer.is(400).naming("status");
            }
        }
    }
}

#[test]
fn segments_are_archived_for_good() {
    for generation in GENERATIONS {
        let api = Api::new(generation);
        let path = "/segments/seg_ios";
        api.patch(path, &json!({"status": "active"})).refused(400, "transition_not_allowed");
        let archived = api.patch(path, &json!({"status": "archived"})).ok();
        let status = archived.get("status").and_then(Value::as_str);
        assert_eq!(status, api.either(None, Some("archived")));
        let held = api.engine().snapshot().segment("seg_ios").unwrap().status();
        assert_eq!(held, SegmentStatus::Archived);
        for status in ["active", "archived"] {
            let answer = api.patch(path, &json!({"status": status}));
            answer.refused(400, "transition_not_allowed").naming("status");
        }
        api.patch(path, &json!({"name": "Another"})).refused(400, "not_mutable");
    }
}

/// A flag needs two variations before it starts; adding the second is enough.
#[test]
fn a_flag_with_fewer_than_two_variations_does_not_start() {
    for (generation, patches) in GENERATIONS.iter().flat_map(|g| [(*g, false), (*g, true)]) {
        let api = Api::new(generation);
        let parameters = json!({"a": {"type": "number", "value": 1}});
        let body = json!({"name": "New flag", "parameters": parameters});
        let path = format!("/feature-flags/{}", api.post("/feature-flags", &body).id());
        for name in ["one", "two"] {
            transition(&api, &path, "active", patches).is(400).naming("variations");
            let body = json!({"name": name, "overrides": {}});
            api.post(&format!("{path}/variations"), &body).is(201);
        }
        assert_eq!(transition(&api, &path, "active", patches).ok()["status"], "active");
    }
}

/// Each kind with a refused transition beside a good edit, and a bad edit beside a good transition.
#[test]
fn edits_and_a_transition_take_effect_together_or_not_at_all() {
    for generation in GENERATIONS {
        let api = Api::new(generation);
        let paths = [
            ("/experiments/exp_weights", "completed", "active"),
            ("/feature-flags/flg_other", "draft", "active"),
            ("/segments/seg_ios", "active", "archived"),
        ];
        for (path, refused, allowed) in paths {
            let before = api.get(path).ok();
            let answer = api.patch(path, &json!({"name": "Renamed", "status": refused}));
            answer.is(400).naming("status");
            api.patch(path, &json!({"name": "ab", "status": allowed})).is(400).naming("name");
            assert_eq!(api.get(path).ok(), before);
            let version = api.engine().snapshot().sequence();
            let body = json!({"name": "Renamed", "description": "As one", "status": allowed});
            let after = api.patch(path, &body).ok();
            assert_eq!([&after["name"], &after["description"]], ["Renamed", "As one"]);
            assert!(after.get("status").is_none_or(|status| status == allowed));
            assert_eq!(api.engine().snapshot().sequence(), version + 1, "one transaction");
        }
    }
}

/// What is archived takes no edits, but for those that come with the archiving.
#[test]
fn edits_beside_an_archiving_come_before_it() {
    for generation in GENERATIONS {
        let api = Api::new(generation);
        for path in
            ["/experiments/exp_weights", "/feature-flags/flg_other", "/segments/seg_germany"]
        {
            let body = json!({"name": "The last name", "status": "archived"});
            assert_eq!(api.patch(path, &body).ok()["name"], "The last name");
            let body = json!({"name": "Yet another"});
            api.patch(path, &body).refused(400, "not_mutable").naming("name");
        }
        let path = "/feature-flags/flg_other/variations";
        let body = json!({"name": "One more", "overrides": {}});
        api.post(path, &body).refused(400, "not_mutable");
        api.patch(&format!("{path}/var_x"), &body).refused(400, "not_mutable");
        api.delete(&format!("{path}/var_x")).refused(409, "not_mutable");
    }
}

/// The edits of a PATCH come before its transition, which is judged by what they lead to.
#[test]
fn a_transition_sees_the_edits_beside_it() {
    let arms = |weight: u32| {
        json!([
            {"variation_id": "var_a", "weight": weight, "is_control": true},
            {"variation_id": "var_b", "weight": 50, "is_control": false}
        ])
    };
    for (generation, status) in
        GENERATIONS.iter().flat_map(|g| [(*g, Status::Draft), (*g, Status::Paused)])
    {
        let api = Api::over(&world_with("exp_weights", status), generation);
        let path = "/experiments/exp_weights";
        let body = json!({"allocations": arms(40), "status": "active"});
        api.patch(path, &body).refused(400, "experiment_invalid_allocation_weights");
        assert_eq!(api.patch(path, &json!({"allocations": arms(40)})).ok()["is_valid"], false);
        let body = json!({"allocations": arms(50), "status": "active"});
        let after = api.patch(path, &body).ok();
        assert_eq!((&after["status"], &after["is_valid"]), (&json!("active"), &json!(true)));
        // The experiment is still active when the edit comes.
        let body = json!({"allocations": arms(50).as_array().unwrap()[..1], "status": "paused"});
        api.patch(path, &body).refused(400, "experiment_requires_pause").naming("allocations");
        assert_eq!(api.get(path).ok()["status"], "active");
    }
}

/// Another value for a field of one of the experiments.
fn edit(field: &str, id: &str) -> Value {
    match (field, id) {
        ("name", _) => json!({"name": "Another name"}),
        ("description", _) => json!({"description": "Another description"}),
        ("authentication_flow", _) => json!({"authentication_flow": "passkey_enrollment"}),
        ("levels", "exp_weights") => json!({"levels": [5, 100], "allocations": [
            {"variation_id": "var_a", "is_control": true},
            {"variation_id": "var_b", "is_control": false},
        ]}),
        ("levels", _) => json!({"levels": [5, 100]}),
        ("allocations", "exp_segments") => json!({"allocations": [
            {"variation_id": "var_b", "is_control": true, "is_fallback": true},
        ]}),
        ("allocations", "exp_weights") => json!({"allocations": [
            {"variation_id": "var_b", "is_control": true, "weight": 100},
        ]}),
        ("allocations", _) => json!({"allocations": [
            {"variation_id": "var_c", "is_control": false},
            {"variation_id": "var_a", "is_control": true},
        ]}),
        other => panic!("{other:?}"),
    }
}

#[test]
fn editable_fields_are_those_that_a_patch_can_change() {
    for (id, status) in EXPERIMENTS.iter().flat_map(|id| STATUSES.map(|status| (id, status))) {
        let path = format!("/experiments/{id}");
        for generation in GENERATIONS {
            let fresh = || Api::over(&world_with(id, status), generation);
            let said = fresh().get(&path).ok();
            let mut accepted = Vec::new();
            for field in EDITABLE {
                let changes = if *field == "status" {
                    STATUSES
                        .iter()
                        .any(|to| fresh().patch(&path, &json!({"status": to})).accepted())
                } else {
                    let api = fresh();
                    let body = edit(field, id);
                    let answer = api.patch(&path, &body);
                    if answer.accepted() {
                        // The seeds do not show levels.
                        let shown = answer.body.get(*field);
                        assert!(shown.is_none() || shown != said.get(*field), "{field}");
                    } else {
                        refused_edit(&answer, field, status);
                    }
                    api.engine().snapshot().sequence() > fresh().engine().snapshot().sequence()
                };
                accepted.extend(changes.then_some(*field));
            }
            let by_status: &[&str] = match status {
                Status::Draft => &[
                    "name",
                    "description",
                    "authentication_flow",
                    "levels",
                    "allocations",
                    "status",
                ],
                Status::Active | Status::Completed => &["name", "description", "status"],
                Status::Paused => &["name", "description", "allocations", "status"],
                Status::Archived => &[],
            };
            let by_status: Vec<_> = by_status
                .iter()
                .copied()
                .filter(|field| *field != "levels" || *id != "exp_segments")
                .collect();
            assert_eq!(accepted, by_status, "{id} {status}");
            if generation == Generation::EarlyAccess {
                let list = said["editable_fields"].as_array().unwrap().iter();
                let mut list: Vec<_> = list.map(|field| field.as_str().unwrap()).collect();
                list.sort_by_key(|field| EDITABLE.iter().position(|known| known == field));
                assert_eq!(list, accepted, "{id} {status}");
            }
        }
    }
}

#[track_caller]
fn refused_edit(answer: &crate::support::Answer, field: &str, status: Status) {
    match (field, status) {
        ("levels", Status::Draft) => answer.naming("levels"),
        ("levels", _) => {
            assert!([400, 422].contains(&answer.status), "{answer:?}");
            answer
        }
        ("allocations", Status::Active) => {
            answer.refused(400, "experiment_requires_pause").naming("allocations")
        }
        _ => answer.refused(400, "not_mutable").naming(field),
    };
}

#[test]
fn the_fields_that_never_change_are_no_fields_of_a_patch() {
    for (status, generation) in STATUSES.iter().flat_map(|s| GENERATIONS.map(|g| (*s, g))) {
        let api = Api::over(&world_with("exp_weights", status), generation);
        for (key, value) in
            [("feature_flag_id", "flg_signin"), ("allocation_strategy", "percentage")]
        {
            let answer = api.patch("/experiments/exp_weights", &json!({key: value}));
            answer.refused(400, "unknown_key").naming(key);
        }
    }
}

/// Arms that are accepted and not ready, and the codes of what keeps them from starting.
fn unready() -> Vec<(Value, &'static [&'static str])> {
    let weighted = |arms: Value| {
        let mut body = new_experiment("Unready");
        body["allocations"] = arms;
        body
    };
    let segmented = |arms: Value| {
        let mut body = new_segmented("Unready");
        body["allocations"] = arms;
        body
    };
    let arm =
        |control, weight| json!({"variation_id": "var_a", "weight": weight, "is_control": control});
    let other =
        |control, weight| json!({"variation_id": "var_b", "weight": weight, "is_control": control});
    let fallback =
        |control| json!({"variation_id": "var_a", "is_control": control, "is_fallback": true});
    // A third arm by segment, beside the fallback and the first, which has priority 1.
    let by_segment = |keys: Value| {
        let mut body = new_segmented("Unready");
        let mut arm = json!({"variation_id": "var_b", "is_control": false});
        arm.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        body["allocations"].as_array_mut().unwrap().push(arm);
        body
    };
    let mut draft = new_experiment("Unready");
    draft["feature_flag_id"] = json!("flg_other");
    draft["allocations"] = json!([{"variation_id": "var_x", "weight": 100, "is_control": true}]);
    vec![
        (draft, &["feature_flag_not_active"]),
        (weighted(json!([arm(false, 50), other(false, 50)])), &["experiment_missing_control"]),
        (weighted(json!([arm(true, 50), other(true, 50)])), &["experiment_missing_control"]),
        (
            weighted(json!([arm(true, 50), other(false, 49)])),
            &["experiment_invalid_allocation_weights"],
        ),
        (
            weighted(json!([arm(true, 60), other(false, 60)])),
            &["experiment_invalid_allocation_weights"],
        ),
        (
            segmented(json!([
                {"variation_id": "var_b", "segment_id": "seg_ios", "priority": 1, "is_control": true}
            ])),
            &["experiment_missing_default"],
        ),
        (segmented(json!([fallback(true), fallback(false)])), &["experiment_missing_default"]),
        (
            weighted(json!([arm(false, 50), other(false, 40)])),
            &["experiment_missing_control", "experiment_invalid_allocation_weights"],
        ),
        (
            segmented(json!([
                {"variation_id": "var_b", "segment_id": "seg_ios", "priority": 1, "is_control": false}
            ])),
            &["experiment_missing_control", "experiment_missing_default"],
        ),
        (weighted(json!([arm(true, 50), arm(false, 50)])), &["duplicate_variation"]),
        (by_segment(json!({"segment_id": "seg_ios", "priority": 1})), &["duplicate_priority"]),
        (by_segment(json!({"segment_id": "seg_germany", "priority": 2})), &["duplicate_segment"]),
        (by_segment(json!({"segment_id": "seg_ios"})), &["allocation_missing_priority"]),
        (by_segment(json!({"priority": 2})), &["allocation_missing_segment"]),
    ]
}

#[test]
fn what_is_not_ready_says_why_and_does_not_start() {
    for (generation, (body, codes)) in
        GENERATIONS.iter().flat_map(|g| unready().into_iter().map(move |case| (*g, case)))
    {
        let api = Api::new(generation);
        let created = api.post("/experiments", &body).ok();
        assert_eq!(created["is_valid"], false);
        let path = format!("/experiments/{}", created["id"].as_str().unwrap());
        let verdict = api.post(&format!("{path}/validate"), &Value::Null).ok();
        let found = verdict["errors"].as_array().unwrap().iter();
        assert_eq!(found.map(|error| error["code"].as_str().unwrap()).collect::<Vec<_>>(), codes);
        for patches in [false, true] {
            transition(&api, &path, "active", patches).refused(400, codes[0]);
        }
        // A draft that is not ready can still be put away.
        assert_eq!(transition(&api, &path, "archived", true).ok()["status"], "archived");
    }
}

#[test]
fn validate_answers_in_every_status() {
    for (id, status) in EXPERIMENTS.iter().flat_map(|id| STATUSES.map(|status| (id, status))) {
        for generation in GENERATIONS {
            let api = Api::over(&world_with(id, status), generation);
            let path = format!("/experiments/{id}");
            let verdict = api.post(&format!("{path}/validate"), &Value::Null).ok();
            assert_eq!(verdict, json!({"is_valid": true, "errors": []}), "{status}");
            assert_eq!(api.get(&path).ok()["is_valid"], true);
        }
    }
}

/// Which of the three drafts can run beside each other; `exp_ramp` moves between flows.
#[test]
fn the_limits_of_what_is_active_are_kept() {
    let start = |api: &Api, id: &str| {
        transition(api, &format!("/experiments/{id}"), "active", id == "exp_ramp")
    };
    let flow = |snapshot: &Snapshot, flow: &str| {
        ok(
            snapshot,
            Change::patch_experiment(&p("exp_ramp"), variate::ExperimentPatch::new().flow(flow)),
        )
    };
    // The limit, the flow of the ramp, and whether the ramp starts while `exp_weights` runs on
    // `authentication`.
    let cases = [
        (ActiveLimit::Unlimited, "authentication", true),
        (ActiveLimit::Unlimited, "all", true),
        (ActiveLimit::PerFlow, "authentication", false),
        (ActiveLimit::PerFlow, "mfa_challenge", true),
        (ActiveLimit::PerFlow, "all", false),
        (ActiveLimit::One, "authentication", false),
        (ActiveLimit::One, "mfa_challenge", false),
    ];
    for (generation, (limit, name, starts)) in
        GENERATIONS.iter().flat_map(|g| cases.map(|case| (*g, case)))
    {
        for swapped in [false, true] {
            let api = Api::over(&flow(&world(), name), generation);
            api.limit(limit);
            let [first, second] =
                if swapped { ["exp_ramp", "exp_weights"] } else { ["exp_weights", "exp_ramp"] };
            start(&api, first).ok();
            if starts {
                start(&api, second).ok();
                continue;
            }
            let code = "experiment_active_limit_exceeded";
            start(&api, second).refused(400, code);
            let path = format!("/experiments/{second}");
            let verdict = api.post(&format!("{path}/validate"), &Value::Null).ok();
            assert_eq!(verdict["errors"][0]["code"], code);
            // Room is made by pausing, and then taken.
            transition(&api, &format!("/experiments/{first}"), "paused", false).ok();
            start(&api, second).ok();
            start(&api, first).refused(400, code);
        }
    }
}

/// What a run rests on can be put away: the run goes on, and does not resume.
#[test]
fn archiving_what_is_in_use_keeps_it_from_being_resumed_alone() {
    for generation in GENERATIONS {
        let cases = [
            ("/feature-flags/flg_signin", "feature_flag_not_active"),
            ("/segments/seg_ios", "segment_not_active"),
        ];
        for (what, code) in cases {
            let api = Api::over(&world_with("exp_segments", Status::Active), generation);
            let path = "/experiments/exp_segments";
            api.patch(what, &json!({"status": "archived"})).ok();
            let shown = api.get(path).ok();
            assert_eq!((&shown["status"], &shown["is_valid"]), (&json!("active"), &json!(false)));
            let verdict = api.post(&format!("{path}/validate"), &Value::Null).ok();
            assert_eq!(verdict["errors"][0]["code"], code);
            api.patch(path, &json!({"status": "paused"})).ok();
            api.patch(path, &json!({"status": "active"})).refused(400, code);
            api.patch(path, &json!({"status": "completed"})).ok();
        }
    }
}
