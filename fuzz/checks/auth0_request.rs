//! Whatever is asked of Auth0's surface is answered, and what is refused changes nothing.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a check fails by panicking")]

use std::sync::Arc;

use http::{Request, StatusCode};
use serde_json::Value;
use variate::api::auth0::{ExperimentCenter, Generation, Login, resolve};
use variate::{Engine, Snapshot, Subject, Timestamp};

/// Enough for every path and reference to have something to find.
const WORLD: &str = r#"{
    "format": "variate/1",
    "flags": [{
        "id": "flg_a", "name": "Sign-in screen", "status": "active",
        "parameters": {
            "headline": {"type": "string", "value": "Welcome back"},
            "map": {"type": "object", "value": {}}
        },
        "variations": [
            {"id": "var_a", "name": "control"},
            {"id": "var_b", "name": "short", "overrides": {"headline": "Hi"}}
        ]
    }],
    "segments": [{"id": "seg_a", "name": "Germany", "rules": [{"match": {"country": ["DE"]}}]}],
    "experiments": [
        {
            "id": "exp_a", "name": "By weight", "status": "active", "flow": "authentication",
            "flag_id": "flg_a", "strategy": "percentage",
            "allocations": [
                {"variation_id": "var_a", "weight": 50, "is_control": true},
                {"variation_id": "var_b", "weight": 50}
            ]
        },
        {
            "id": "exp_b", "name": "By segment", "flow": "all",
            "flag_id": "flg_a", "strategy": "segment",
            "allocations": [
                {"variation_id": "var_b", "segment_id": "seg_a", "priority": 1},
                {"variation_id": "var_a", "is_fallback": true, "is_control": true}
            ]
        },
        {
            "id": "exp_c", "name": "A ramp", "flow": "authentication", "levels": [10, 100],
            "flag_id": "flg_a", "strategy": "percentage",
            "allocations": [
                {"variation_id": "var_a", "is_control": true},
                {"variation_id": "var_b"}
            ]
        }
    ]
}"#;

/// Takes bytes as requests: each a line with method and target, then lines of its body up to one
/// that is `.`. The first line is the generation.
pub fn check(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let generation = match lines.next() {
        Some(b"early-access") => Generation::EarlyAccess,
        _ => Generation::Seeds,
    };
    let center = center().generation(generation);
    while let Some(first) = lines.next() {
        let body: Vec<&[u8]> = lines.by_ref().take_while(|line| *line != b".").collect();
        ask(&center, &String::from_utf8_lossy(first), &body.join(&b'\n'));
    }
    let snapshot = center.engine().snapshot();
    let again = Snapshot::from_json(snapshot.to_json()).expect("what was printed must load");
    assert!(again == *snapshot, "what was printed must be the same");
    for flow in ["authentication", "all", ""] {
        let login = Login::new(flow, Subject::new("device-42").kept("exp_a", "var_a"));
        assert_eq!(resolve(&snapshot, &login), resolve(&again, &login));
    }
}

fn center() -> ExperimentCenter {
    let mut counter = 0;
    let entropy = move || {
        counter += 1;
        counter
    };
    let world = Snapshot::from_json(WORLD).expect("the world must load");
    ExperimentCenter::new(Engine::with(world, || Timestamp::EPOCH, entropy))
}

fn ask(center: &ExperimentCenter, line: &str, body: &[u8]) {
    let (method, target) = line.split_once(' ').unwrap_or((line, "/"));
    let Ok(request) = Request::builder().method(method).uri(target).body(body) else { return };
    let before = center.engine().snapshot();
    let response = center.handle(&request);
    let after = center.engine().snapshot();
    let status = response.status();
    if status == StatusCode::NO_CONTENT {
        assert!(response.body().is_empty(), "what is deleted has no body");
        return;
    }
    let answer: Value = serde_json::from_slice(response.body()).expect("an answer must be JSON");
    assert!(status.is_success() || status.is_client_error(), "{status} for {line}: {answer}");
    if status.is_client_error() {
        assert!(Arc::ptr_eq(&before, &after), "what is refused must change nothing");
        assert_eq!(answer["statusCode"], status.as_u16());
        assert!(answer["errorCode"].is_string() && answer["message"].is_string());
    }
}
