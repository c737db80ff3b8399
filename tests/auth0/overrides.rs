//! Overrides: bare or in an envelope, merged by key, cleared by null, never equal to a default; and
//! the parameters of a flag, which are replaced whole.

use serde_json::{Value, json};

use crate::support::{Api, GENERATIONS, shown_override};

const VARIATIONS: &str = "/feature-flags/flg_signin/variations";

/// What is held, whichever way it is shown.
fn held(api: &Api, id: &str) -> Value {
    let snapshot = api.engine().snapshot();
    let variation = snapshot.variation(id).unwrap();
    let entries = variation.overrides().iter().map(|(k, v)| (k.to_string(), Value::clone(v)));
    Value::Object(entries.collect())
}

/// What is shown of overrides.
fn shown(api: &Api, overrides: &Value) -> Value {
    let entries = overrides.as_object().unwrap().iter();
    let shown = |value| shown_override(!api.is_seeds(), value);
    Value::Object(entries.map(|(key, value)| (key.clone(), shown(value))).collect())
}

/// A value and what is held of it: an object that is nothing but an envelope is one whenever its
/// content is of the parameter's type.
#[test]
fn a_value_stands_bare_or_in_an_envelope() {
    let cases = [
        ("headline", json!("Hi"), json!("Hi")),
        ("headline", json!({"value": "Hi"}), json!("Hi")),
        ("size", json!(-0.5), json!(-0.5)),
        ("size", json!({"value": -0.5}), json!(-0.5)),
        ("size", json!(u64::MAX), json!(u64::MAX)),
        ("bold", json!(false), json!(false)),
        ("bold", json!({"value": false}), json!(false)),
        ("list", json!([{"value": 1}]), json!([{"value": 1}])),
        ("list", json!({"value": []}), json!([])),
        ("map", json!({}), json!({})),
        ("map", json!({"a": 1}), json!({"a": 1})),
        ("map", json!({"value": {"a": 1}}), json!({"a": 1})),
        ("map", json!({"value": {}}), json!({})),
        // Not of the type, so it is no envelope.
        ("map", json!({"value": 2}), json!({"value": 2})),
        ("map", json!({"value": null}), json!({"value": null})),
        ("map", json!({"value": {"value": 2}}), json!({"value": 2})),
        ("map", json!({"value": {"value": {"value": 2}}}), json!({"value": {"value": 2}})),
        // More than one key, so it is none either.
        ("map", json!({"value": {}, "a": 1}), json!({"value": {}, "a": 1})),
    ];
    for generation in GENERATIONS {
        let api = Api::new(generation);
        for (index, (name, given, expected)) in cases.iter().enumerate() {
            let whole = json!({*name: expected});
            let body = json!({"name": format!("Case {index}"), "overrides": {*name: given}});
            let made = api.post(VARIATIONS, &body).ok();
            let id = made["id"].as_str().unwrap();
            assert_eq!(held(&api, id), whole, "{given}");
            assert_eq!(made["overrides"], shown(&api, &whole), "{given}");
            api.patch(&format!("{VARIATIONS}/var_a"), &json!({"overrides": null})).ok();
            let patched =
                api.patch(&format!("{VARIATIONS}/var_a"), &json!({"overrides": {*name: given}}));
            assert_eq!(patched.ok()["overrides"], made["overrides"], "{given}");
        }
    }
}

/// What is shown can be sent again, and changes nothing.
#[test]
fn what_is_shown_is_read_as_what_it_was() {
    for generation in GENERATIONS {
        let api = Api::new(generation);
        for id in ["var_b", "var_c"] {
            let path = format!("{VARIATIONS}/{id}");
            let shown = api.get(&path).ok();
            let before = held(&api, id);
            let again = api.patch(&path, &json!({"overrides": shown["overrides"]})).ok();
            assert_eq!(held(&api, id), before);
            assert_eq!(again["overrides"], shown["overrides"]);
        }
    }
}

#[test]
fn overrides_merge_by_key() {
    let cases = [
        (json!({"bold": false}), json!({"headline": "Hi", "size": 7, "bold": false})),
        (json!({"size": 8}), json!({"headline": "Hi", "size": 8})),
        (json!({"size": null}), json!({"headline": "Hi"})),
        (json!({"size": null, "headline": {"value": "Yo"}}), json!({"headline": "Yo"})),
        (json!({"size": null, "headline": null}), json!({})),
        (json!({"list": null}), json!({"headline": "Hi", "size": 7})),
        (json!({"map": {"a": 1}, "size": null}), json!({"headline": "Hi", "map": {"a": 1}})),
        (json!({}), json!({})),
        (json!(null), json!({})),
    ];
    for generation in GENERATIONS {
        for (patch, expected) in &cases {
            let api = Api::new(generation);
            let body = json!({"name": "New", "overrides": {"headline": "Hi", "size": 7}});
            let id = api.post(VARIATIONS, &body).id();
            let path = format!("{VARIATIONS}/{id}");
            let after = api.patch(&path, &json!({"overrides": patch})).ok();
            assert_eq!(held(&api, &id), *expected, "{patch}");
            assert_eq!(after["overrides"], shown(&api, expected), "{patch}");
            assert_eq!(api.get(&path).ok(), after);
        }
    }
}

/// One bad key refuses the good ones beside it.
#[test]
fn a_refused_override_takes_the_others_with_it() {
    for generation in GENERATIONS {
        let api = Api::new(generation);
        let path = format!("{VARIATIONS}/var_b");
        for (bad, value) in [
            ("none", json!(1)),
            ("size", json!("7")),
            ("size", json!(12)),
            ("size", json!(12.0)),
            ("headline", json!("Welcome back")),
            ("list", json!(["a", 1])),
            ("map", json!({"value": {"value": 1}})),
        ] {
            let mut overrides = json!({"bold": false, "headline": null});
            overrides[bad] = value;
            let body = json!({"name": "Another", "overrides": overrides});
            api.patch(&path, &body).is(400).naming(&format!("overrides.{bad}"));
            assert_eq!(held(&api, "var_b"), json!({"headline": "Hi"}));
        }
        // No default is an envelope of it: this one is the object itself.
        let body = json!({"overrides": {"map": {"value": 1}}});
        api.patch(&path, &body).is(400).naming("overrides.map");
    }
}

#[test]
fn parameters_are_replaced_whole_and_keep_what_is_overridden() {
    for generation in GENERATIONS {
        let api = Api::new(generation);
        let path = "/feature-flags/flg_other";
        let number = json!({"type": "number", "value": 1});
        let red = json!({"type": "string", "value": "red"});
        for bad in [json!({"size": number}), json!({"colour": number})] {
            api.patch(path, &json!({"parameters": bad})).is(400).naming("parameters");
        }
        let both = json!({"colour": red, "size": number});
        assert_eq!(api.patch(path, &json!({"parameters": both})).ok()["parameters"], both);
        let one = json!({"colour": {"type": "string", "value": "green", "description": "Which"}});
        assert_eq!(api.patch(path, &json!({"parameters": one})).ok()["parameters"], one);
        api.patch(&format!("{path}/variations/var_y"), &json!({"overrides": {}})).ok();
        let other = json!({"size": number});
        assert_eq!(api.patch(path, &json!({"parameters": other})).ok()["parameters"], other);
    }
}

/// A default that becomes what a variation overrides it with leaves the variation as it is.
#[test]
fn a_default_can_become_what_an_override_is() {
    for generation in GENERATIONS {
        let api = Api::new(generation);
        let blue = json!({"colour": {"type": "string", "value": "blue"}});
        api.patch("/feature-flags/flg_other", &json!({"parameters": blue})).ok();
        let path = "/feature-flags/flg_other/variations/var_y";
        assert_eq!(held(&api, "var_y"), json!({"colour": "blue"}));
        assert_eq!(api.patch(path, &json!({"name": "Renamed"})).ok()["name"], "Renamed");
        api.patch(path, &json!({"overrides": {"colour": "blue"}}))
            .is(400)
            .naming("overrides.colour");
    }
}
