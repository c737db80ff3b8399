//! What holds before a body is looked at: paths, methods, content types, and JSON that is read
//! strictly.

use http::Request;
use serde_json::{Value, json};
use variate::Status;
use variate::api::auth0::ExperimentCenter;

use crate::support::{Api, GENERATIONS, new_experiment, world_with};

/// Every operation that takes a body, with one that it accepts on an active ramp.
fn writes() -> Vec<(&'static str, &'static str, Value)> {
    let parameters = json!({"a": {"type": "number", "value": 1}});
    vec![
        ("POST", "/experiments", new_experiment("New one")),
        ("PATCH", "/experiments/exp_weights", json!({"name": "Another"})),
        ("POST", "/experiments/exp_weights/status", json!({"status": "active"})),
        ("POST", "/experiments/exp_ramp/advance-ramp", json!({"target_level": 50})),
        ("POST", "/feature-flags", json!({"name": "New one", "parameters": parameters})),
        ("PATCH", "/feature-flags/flg_other", json!({"name": "Another"})),
        ("POST", "/feature-flags/flg_other/status", json!({"status": "active"})),
        ("POST", "/feature-flags/flg_other/variations", json!({"name": "New", "overrides": {}})),
        ("PATCH", "/feature-flags/flg_other/variations/var_x", json!({"name": "Another"})),
        ("POST", "/segments", json!({"name": "New", "rules": [{"match": {"a": ["b"]}}]})),
        ("PATCH", "/segments/seg_ios", json!({"name": "Another"})),
    ]
}

fn apis() -> impl Iterator<Item = Api> {
    GENERATIONS.map(|g| Api::over(&world_with("exp_ramp", Status::Active), g)).into_iter()
}

#[test]
fn every_path_has_its_methods_and_no_others() {
    let paths: &[(&str, &[&str])] = &[
        ("/experiments", &["GET", "POST"]),
        ("/experiments/exp_ramp", &["DELETE", "GET", "PATCH"]),
        ("/experiments/exp_ramp/status", &["POST"]),
        ("/experiments/exp_ramp/validate", &["POST"]),
        ("/experiments/exp_ramp/advance-ramp", &["POST"]),
        ("/feature-flags", &["GET", "POST"]),
        ("/feature-flags/flg_other", &["DELETE", "GET", "PATCH"]),
        ("/feature-flags/flg_other/status", &["POST"]),
        ("/feature-flags/flg_other/variations", &["GET", "POST"]),
        ("/feature-flags/flg_other/variations/var_x", &["DELETE", "GET", "PATCH"]),
        ("/segments", &["GET", "POST"]),
        ("/segments/seg_ios", &["DELETE", "GET", "PATCH"]),
        // The path is there, whether or not the id is.
        ("/segments/seg_none", &["DELETE", "GET", "PATCH"]),
    ];
    let others =
        ["GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS", "TRACE", "CONNECT", "QUERY"];
    for api in apis() {
        for (path, methods) in paths {
            for method in others.iter().chain(&["get", "Post"]) {
                if methods.contains(method) {
                    let answer = api.request(method, path, &[], Vec::new());
                    assert_ne!(answer.status, 405, "{method} {path}");
                    continue;
                }
                let answer = api.request(method, path, &[], Vec::new());
                answer.is(405);
                let allowed = answer.headers["allow"].to_str().unwrap();
                let mut allowed: Vec<_> = allowed.split(", ").collect();
                allowed.sort_unstable();
                assert_eq!(allowed, *methods, "{path}");
            }
        }
    }
}

#[test]
fn no_other_path_is_there() {
    let paths = [
        "/",
        "/experiments",
        "/experimentation",
        "/api/v2",
        "/api/v2/experiments",
        "/api/v1/experimentation/experiments",
        "/v2/experimentation/experiments",
        "/api/v2/api/v2/experimentation/experiments",
        "/Experimentation/experiments",
        "/experimentation/Experiments",
        "/experimentation/flags",
        "/experimentation/feature_flags",
        "/experimentation/variations",
        "/experimentation/experiments/exp_ramp/Status",
        "/experimentation/experiments/exp_ramp/pause",
        "/experimentation/experiments/exp_ramp/advance_ramp",
        "/experimentation/experiments/exp_ramp/status/active",
        "/experimentation/feature-flags/flg_other/validate",
        "/experimentation/feature-flags/flg_other/variations/var_x/status",
        "/experimentation/segments/seg_ios/status",
        "/experimentationexperiments",
    ];
    for api in apis() {
        for path in paths {
            for method in ["GET", "POST", "PATCH", "DELETE", "PUT"] {
                let request = Request::builder().method(method).uri(path);
                api.send(&request.body(b"{}".to_vec()).unwrap()).is(404);
            }
        }
    }
}

/// The host and scheme of a URI are not looked at.
#[test]
fn a_whole_uri_is_taken_for_its_path() {
    for api in apis() {
        for prefix in ["https://tenant.example.com", "http://127.0.0.1:8080/api/v2"] {
            let uri = format!("{prefix}/experimentation/experiments/exp_ramp");
            let request = Request::builder().uri(uri).body(Vec::new()).unwrap();
            assert_eq!(api.send(&request).ok()["id"], "exp_ramp");
        }
    }
}

#[test]
fn a_body_is_json_or_says_nothing_else() {
    let json = ["application/json", "application/json; charset=utf-8", "Application/JSON"];
    let other = [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=a",
        "application/jsonx",
        "application/xml",
    ];
    for (index, (method, path, body)) in writes().into_iter().enumerate() {
        for (kind, accepted) in
            json.map(|kind| (kind, true)).into_iter().chain(other.map(|kind| (kind, false)))
        {
            for api in apis() {
                let text = body.to_string().into_bytes();
                let answer = api.request(method, path, &[("content-type", kind)], text);
                if accepted {
                    answer.ok();
                } else {
                    answer.is(415);
                }
            }
        }
        for api in apis() {
            api.request(method, path, &[], body.to_string().into_bytes()).ok();
            // Nothing is of no type, and yet something is required.
            let kind = if index % 2 == 0 { "text/plain" } else { "application/json" };
            api.request(method, path, &[("content-type", kind)], Vec::new()).is(400);
        }
    }
}

#[test]
fn a_body_is_one_object_of_strict_json() {
    let bodies: &[(&[u8], &str)] = &[
        (b"", ""),
        (b" ", ""),
        (b"{", "invalid_json"),
        (b"{}}", "invalid_json"),
        (b"{} {}", "invalid_json"),
        (b"{\"name\": \"Another\",}", "invalid_json"),
        (b"{'name': 'Another'}", "invalid_json"),
        (b"{name: 1}", "invalid_json"),
        (b"{\"name\": \"Another\"} // more", "invalid_json"),
        (b"{\"name\": \"a\nb\"}", "invalid_json"),
        (b"{\"name\": \"\\ud800\"}", "invalid_json"),
        (b"{\"name\": \"abc\xff\"}", "invalid_json"),
        (b"\xef\xbb\xbf{\"name\": \"Another\"}", "invalid_json"),
        (b"{\"name\": NaN}", "invalid_json"),
        (b"{\"name\": 1e400}", ""),
        (b"{\"name\": 01}", "invalid_json"),
        (b"name=Another", "invalid_json"),
        (b"null", "wrong_type"),
        (b"true", "wrong_type"),
        (b"7", "wrong_type"),
        (b"\"text\"", "wrong_type"),
        (b"[]", "wrong_type"),
        (b"[{\"name\": \"Another\"}]", "wrong_type"),
        (b"{\"name\": \"Another\", \"name\": \"Another\"}", "duplicate_key"),
        (b"{\"name\": \"Another\", \"n\\u0061me\": \"Another\"}", "duplicate_key"),
    ];
    for api in apis() {
        for (method, path, _) in writes() {
            for (body, code) in bodies {
                let answer = api.request(method, path, &[], body.to_vec());
                answer.is(400);
                if !code.is_empty() {
                    answer.refused(400, code);
                }
            }
            // Something is to be in it, be it because a field is required or an edit.
            api.call(method, path, &json!({})).is(400);
        }
    }
}

/// Numbers that a double would round are not numbers that anyone meant.
#[test]
fn numbers_are_kept_as_they_stand() {
    for api in apis() {
        let post = |value: &str| {
            let body = format!(
                r#"{{"name": "Flag {value}", "parameters": {{"a": {{"type": "number", "value": {value}}}}}}}"#
            );
            api.request("POST", "/feature-flags", &[], body.into_bytes())
        };
        for value in
            ["0", "-1", "0.1", "18446744073709551615", "-9223372036854775808", "1e3", "1.5"]
        {
            let shown = post(value).ok()["parameters"]["a"]["value"].clone();
            let same: Value = serde_json::from_str(value).unwrap();
            assert_eq!(shown.as_f64(), same.as_f64(), "{value}");
            assert_eq!((shown.as_u64(), shown.as_i64()), (same.as_u64(), same.as_i64()), "{value}");
        }
        for value in
            ["18446744073709551616", "-9223372036854775809", "1e400", "0.1000000000000000000001"]
        {
            post(value).is(400);
        }
    }
}

/// Both prefixes lead to the same, which the other tests rely on by taking turns.
#[test]
fn the_prefix_makes_no_difference() {
    for api in apis() {
        let answers = ["", "/api/v2"].map(|prefix| {
            ["experiments", "feature-flags", "segments"].map(|list| {
                let uri = format!("{prefix}/experimentation/{list}");
                api.send(&Request::builder().uri(uri).body(Vec::new()).unwrap()).ok()
            })
        });
        assert_eq!(answers[0], answers[1]);
    }
}

/// The body can be anything that is bytes.
#[test]
fn bodies_of_any_type_are_read_alike() {
    for api in apis() {
        let center = ExperimentCenter::new(api.engine().clone()).generation(api.generation);
        let path = "/experimentation/segments/seg_ios";
        let text = r#"{"name": "Another"}"#;
        let request = || Request::builder().method("PATCH").uri(path);
        let answers = [
            center.handle(&request().body(text).unwrap()),
            center.handle(&request().body(text.to_owned()).unwrap()),
            center.handle(&request().body(text.as_bytes()).unwrap()),
            center.handle(&request().body(Vec::from(text)).unwrap()),
            center.handle(&request().body(Box::<[u8]>::from(text.as_bytes())).unwrap()),
        ];
        assert!(answers.iter().all(|answer| answer.status() == 200));
        assert!(answers.windows(2).all(|pair| pair[0].body() == pair[1].body()));
    }
}

/// What a request cannot be blamed for is no refusal of it, and changes nothing either.
#[test]
fn failures_of_the_engine_are_errors_of_the_server() {
    for api in apis() {
        let center = ExperimentCenter::new(api.engine().clone()).generation(api.generation);
        api.engine().journal(|_, _| Err(std::io::Error::other("the disk is full"))).unwrap();
        let before = api.engine().to_json();
        for (method, path, body) in writes() {
            let request = Request::builder().method(method).uri(format!("/experimentation{path}"));
            let response = center.handle(&request.body(body.to_string()).unwrap());
            assert_eq!(response.status(), 500, "{method} {path}");
            let envelope: Value = serde_json::from_slice(response.body()).unwrap();
            assert_eq!(envelope["statusCode"], 500);
            assert_eq!(envelope["error"], "Internal Server Error");
            assert_eq!(envelope["errorCode"], "not_recorded");
            assert_eq!(api.engine().to_json(), before);
        }
    }
}

/// However a client escapes an id, it is the same; an empty one is no path at all.
#[test]
fn ids_in_paths_can_be_escaped() {
    for generation in GENERATIONS {
        let api = Api::new(generation);
        let plain = api.get("/segments/seg_germany").ok();
        assert_eq!(api.get("/segments/seg%5Fgermany").ok(), plain);
        assert_eq!(api.get("/segments/%73eg_germany").ok(), plain);
        api.get("/segments/seg%ffgermany").refused(404, "not_found");
        for path in ["/segments/", "/experiments/exp_weights/", "//segments"] {
            api.get(path).refused(404, "not_found");
            api.delete(path).refused(404, "not_found");
        }
        let gone = api.post(
            "/segments",
            &json!({"name": "To be gone", "rules": [{
                "match": {"country": ["AT"]},
            }]}),
        );
        let id = gone.id();
        api.delete(&format!("/segments/{}", id.replace('_', "%5f"))).is(204);
        api.get(&format!("/segments/{id}")).refused(404, "not_found");
    }
}
