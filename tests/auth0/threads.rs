//! Requests from many threads are answered as if one came after another: no edit is lost, a name is
//! given once, and of the last two variations one stays.

use std::sync::Barrier;
use std::thread;

use http::Request;
use serde_json::{Value, json};
use variate::Engine;
use variate::api::auth0::{ExperimentCenter, Generation};

use crate::schema::{self, Operation};
use crate::support::{GENERATIONS, world};

const THREADS: usize = 6;
const ROUNDS: usize = 20;

/// What each thread is answered when all send at once.
fn at_once(
    engine: &Engine,
    generation: Generation,
    request: impl Fn(usize) -> (&'static str, String, Value) + Sync,
) -> Vec<(u16, Value)> {
    let center = ExperimentCenter::new(engine.clone()).generation(generation);
    let barrier = Barrier::new(THREADS);
    let send = |index: usize| {
        let (method, path, body) = request(index);
        let uri = format!("/experimentation{path}");
        let request = Request::builder().method(method).uri(uri).body(body.to_string()).unwrap();
        barrier.wait();
        let response = center.handle(&request);
        let operation = Operation::of(request.method(), request.uri().path());
        schema::check(operation, generation, &response, &format!("{method} {path} {body}"));
        let body = serde_json::from_slice(response.body()).unwrap_or_default();
        (response.status().as_u16(), body)
    };
    let send = &send;
    thread::scope(|scope| {
        let handles: Vec<_> = (0..THREADS).map(|index| scope.spawn(move || send(index))).collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    })
}

#[test]
fn edits_of_one_map_by_different_threads_are_all_kept() {
    for generation in GENERATIONS {
        let engine = Engine::from_snapshot(world());
        let parameter = |index| (format!("p{index}"), json!({"type": "number", "value": 0}));
        let parameters: serde_json::Map<_, _> = (0..THREADS).map(parameter).collect();
        let center = ExperimentCenter::new(engine.clone()).generation(generation);
        let post = |path: &str, body: Value| {
            let request = Request::post(format!("/experimentation{path}"));
            let response = center.handle(&request.body(body.to_string()).unwrap());
            let made: Value = serde_json::from_slice(response.body()).unwrap();
            made["id"].as_str().unwrap().to_owned()
        };
        let flag = post("/feature-flags", json!({"name": "Wide", "parameters": parameters}));
        let path = format!("/feature-flags/{flag}/variations");
        let id = post(&path, json!({"name": "one", "overrides": {}}));
        for round in 1..=ROUNDS {
            let answers = at_once(&engine, generation, |index| {
                let overrides = json!({format!("p{index}"): round});
                ("PATCH", format!("{path}/{id}"), json!({"overrides": overrides}))
            });
            assert!(answers.iter().all(|(status, _)| *status == 200));
            let snapshot = engine.snapshot();
            let held = snapshot.variation(&id).unwrap().overrides();
            assert_eq!(held.len(), THREADS);
            assert!(held.values().all(|value| **value == round), "{held:?}");
        }
    }
}

#[test]
fn a_name_is_given_once() {
    for generation in GENERATIONS {
        let engine = Engine::from_snapshot(world());
        for round in 0..ROUNDS {
            let answers = at_once(&engine, generation, |_| {
                let rules = json!([{"match": {"a": ["b"]}}]);
                let body = json!({"name": format!("Round {round}"), "rules": rules});
                ("POST", "/segments".to_owned(), body)
            });
            let made = answers.iter().filter(|(status, _)| *status == 201).count();
            assert_eq!(made, 1);
            assert!(answers.iter().all(|(status, _)| [201, 409].contains(status)));
        }
    }
}

#[test]
fn the_last_variation_is_the_last_for_every_thread() {
    for _ in 0..ROUNDS {
        let engine = Engine::from_snapshot(world());
        let answers = at_once(&engine, Generation::Seeds, |index| {
            let id = ["var_x", "var_y"][index % 2];
            let path = format!("/feature-flags/flg_other/variations/{id}");
            ("DELETE", path, Value::Null)
        });
        assert!(answers.iter().any(|(status, _)| *status == 400), "{answers:?}");
        assert_eq!(engine.snapshot().flag("flg_other").unwrap().variations().len(), 1);
    }
}
