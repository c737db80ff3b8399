//! What is no request at all.

use http::Request;
use http::header::CONTENT_TYPE;
use serde_json::json;

use crate::support::{Api, EXPERIMENTS};

#[test]
fn paths_and_methods() {
    let api = Api::new();
    let (path, [group, _]) = api.ready("a", json!({}));
    for unknown in [
        "/",
        "/v4",
        "/v4/",
        "/v4/users",
        "/v3/experiments",
        "/experiments",
        "/v4/experiments/",
        "/v4//experiments",
        "/v4/experiments/a/",
        "/v4/experiments/a/users",
        "/v4/experiments/a/x",
        "/v4/experiments/a/groups/b/c",
        "/v4/experiments/a/status/b",
    ] {
        for method in ["GET", "POST", "PATCH"] {
            api.request(method, unknown, Vec::new()).refused(
                404,
                "request",
                "invalid_request",
                &[],
            );
        }
    }
    let check = |path: &str, allow: &str| {
        for method in ["GET", "POST", "PATCH", "PUT", "DELETE", "HEAD", "OPTIONS", "BREW"] {
            if allow.split(", ").all(|own| own != method) {
                let answer = api.request(method, path, Vec::new());
                answer.refused(405, "request", "not_implemented", &[]);
                assert_eq!(answer.headers["allow"], allow, "{method} {path}");
            }
        }
    };
    check(EXPERIMENTS, "GET, POST");
    check("/v4/experiments/summary", "GET");
    check(&path, "GET, PATCH, DELETE");
    check(&format!("{path}/status"), "POST");
    check(&format!("{path}/groups"), "GET, POST");
    check(&format!("{path}/groups/{group}"), "PATCH, DELETE");
    check(&format!("{path}/users/u"), "POST, DELETE");
}

#[test]
fn bodies() {
    let api = Api::new();
    for body in ["", "{", "[]", "null", "7", "\"x\"", "{\"name\": \"a\",}", "\u{feff}{}"] {
        api.request("POST", EXPERIMENTS, body.into()).invalid(&[]);
    }
    api.request("POST", EXPERIMENTS, vec![b'{', 0xff, b'}']).invalid(&[]);
    let twice = r#"{"name": "a", "name": "b", "alias_id": "a"}"#;
    api.request("POST", EXPERIMENTS, twice.into()).invalid(&["name"]);
    api.request("POST", EXPERIMENTS, vec![b' '; (1 << 20) + 1]).invalid(&[]);
    let body = json!({"name": "a", "alias_id": "a"}).to_string().into_bytes();
    let typed = |kind: &str| {
        let request = Request::post(EXPERIMENTS).header(CONTENT_TYPE, kind);
        api.send(&request.body(body.clone()).unwrap())
    };
    typed("text/plain").invalid(&[]);
    typed("application/x-www-form-urlencoded").invalid(&[]);
    typed("application/json; charset=utf-8").is(201);
}

#[test]
fn an_experiment_is_found_by_id_and_by_alias() {
    let api = Api::new();
    let path = api.draft("a.b-c_d", json!({}));
    let id = api.get(&path).ok()["id"].as_str().unwrap().to_owned();
    api.get(&format!("{EXPERIMENTS}/{id}")).is(200);
    api.get(&format!("{EXPERIMENTS}/a%2Eb-c_d")).is(200);
    for none in ["A.b-c_d", "exp_none", "%00", "%ff", "a b".replace(' ', "%20").as_str()] {
        api.get(&format!("{EXPERIMENTS}/{none}")).refused(404, "resource", "not_found", &[]);
    }
}
