//! The fields of each body, as the reference pages and the later SDKs describe them.

mod experiments;

use serde_json::{Value, json};
use variate::api::auth0::Generation;

pub(super) use experiments::{experiments, transitions};

use super::{Kind, Table, item, nullable, optional, required};

const NAME: Kind = Kind::Line(3, 255);
const DESCRIPTION: Kind = Kind::Line(3, 1024);
const CLOSED: Kind = Kind::Object { closed: true };
const OPEN: Kind = Kind::Object { closed: false };
pub(super) fn flags(_: Generation) -> Vec<Table> {
    let parameters = |count: usize| -> Value {
        let parameter = |index| (format!("p{index}"), json!({"type": "number", "value": index}));
        (0..count).map(parameter).collect::<serde_json::Map<_, _>>().into()
    };
    let body = json!({
        "name": "New one", "description": "What it is about",
        "parameters": {
            "headline": {"type": "string", "value": "Welcome", "description": "The first line"},
            "size": {"type": "number", "value": 12}
        }
    });
    let parameter = || {
        let types = Kind::Name(&["string"]);
        vec![
            item("/parameters/headline", CLOSED),
            required("/parameters/headline/type", types),
            required("/parameters/headline/value", Kind::Any),
            optional("/parameters/headline/description", Kind::Text(255)),
        ]
    };
    let values = [
        ("string", json!("x".repeat(1022))),
        ("string", json!("é".repeat(511))),
        ("string", json!("")),
        ("boolean", json!(false)),
        ("number", json!(-0.5)),
        ("number", json!(1e300)),
        ("array", json!([])),
        ("array", json!([null, {"a": [1]}])),
        ("object", json!({})),
        ("object", json!({"value": null})),
    ];
    let fitting =
        |(kind, value): &(&str, Value)| ("/parameters/size", json!({"type": kind, "value": value}));
    let fits: Vec<_> = values.iter().map(fitting).collect();
    let mut faults: Vec<_> =
        [json!(null), json!("12"), json!(true), json!([12]), json!({"value": 12})]
            .map(|value| ("/parameters/size/value", value))
            .into();
    faults.extend([
        ("/parameters/headline/value", json!("x".repeat(1023))),
        ("/parameters/headline/value", json!("é".repeat(512))),
        ("/parameters/headline/value", json!(null)),
        ("/parameters/headline/value", json!(7)),
        ("/parameters", parameters(0)),
        ("/parameters", parameters(11)),
        ("/parameters", json!([{"type": "number", "value": 1}])),
    ]);
    let mut create = vec![required("/name", NAME), optional("/description", DESCRIPTION)];
    create.push(required("/parameters", OPEN));
    create.extend(parameter());
    let mut edit = vec![optional("/name", NAME), nullable("/description", DESCRIPTION)];
    edit.extend(parameter());
    let mut patch_faults = faults.clone();
    let statuses = [json!("draft"), json!("paused"), json!(null), json!(1), json!("")];
    patch_faults.extend(statuses.map(|status| ("/status", status)));
    // The other flag has a variation that overrides `colour`, so that it has to keep it.
    let mut kept = body.clone();
    kept["parameters"]["colour"] = json!({"type": "string", "value": "green"});
    let (mut more, mut counted) = (fits.clone(), fits);
    more.push(("/status", json!("active")));
    counted.extend([1, 10].map(|count| ("/parameters", parameters(count))));
    vec![
        Table {
            method: "POST",
            path: "/feature-flags",
            body,
            fields: create,
            fits: counted,
            faults,
            senseless: vec![],
        },
        Table {
            method: "PATCH",
            path: "/feature-flags/flg_other",
            body: kept,
            fields: edit,
            fits: more,
            faults: patch_faults,
            senseless: vec![],
        },
    ]
}

pub(super) fn variations(_: Generation) -> Vec<Table> {
    let body = json!({
        "name": "New one", "description": "What it is about",
        "overrides": {"headline": {"value": "Hello"}, "size": 7}
    });
    let headlines = [
        json!("x".repeat(1022)),
        json!({"value": "x".repeat(1022)}),
        json!("é".repeat(511)),
        json!(""),
        json!({"value": ""}),
    ];
    let mut fits: Vec<_> = headlines.map(|value| ("/overrides/headline", value)).into();
    fits.extend([
        ("/overrides", json!({})),
        ("/overrides/bold", json!(false)),
        ("/overrides/list", json!([])),
        ("/overrides/list", json!({"value": []})),
        ("/overrides/map", json!({})),
        ("/overrides/map", json!({"value": {}})),
        ("/overrides/map", json!({"value": 2})),
        ("/overrides/map", json!({"value": 1, "more": 2})),
    ]);
    let headlines = [
        json!(7),
        json!(["Hi"]),
        json!({}),
        json!({"value": 7}),
        json!({"value": null}),
        json!({"value": "Hi", "extra": 1}),
        json!({"Value": "Hi"}),
        json!({"value": {"value": "Hi"}}),
        json!("x".repeat(1023)),
        json!({"value": "x".repeat(1023)}),
        // The default.
        json!("Welcome back"),
        json!({"value": "Welcome back"}),
    ];
    let mut faults: Vec<_> = headlines.map(|value| ("/overrides/headline", value)).into();
    faults.extend([
        ("/overrides/size", json!("7")),
        ("/overrides/size", json!(12)),
        ("/overrides/bold", json!(true)),
        ("/overrides/bold", json!(0)),
        ("/overrides/list", json!({"value": ["a", 1]})),
        ("/overrides/map", json!({"value": {"value": 1}})),
        ("/overrides/map", json!([])),
        ("/overrides/none", json!("Hi")),
        ("/overrides/none", json!({"value": "Hi"})),
        ("/overrides/Headline", json!("Hi")),
    ]);
    faults.extend([json!([]), json!(7), json!("{}"), json!(true)].map(|v| ("/overrides", v)));
    faults.push(("/overrides/none", json!(null)));
    let mut create = faults.clone();
    create.extend([("/overrides/headline", json!(null)), ("/overrides", json!(null))]);
    let mut patch = fits.clone();
    patch.extend([("/overrides/headline", json!(null)), ("/overrides", json!(null))]);
    vec![
        Table {
            method: "POST",
            path: "/feature-flags/flg_signin/variations",
            body: body.clone(),
            fields: vec![
                required("/name", NAME),
                optional("/description", DESCRIPTION),
                required("/overrides", OPEN),
            ],
            fits,
            faults: create,
            senseless: vec![],
        },
        Table {
            method: "PATCH",
            path: "/feature-flags/flg_signin/variations/var_b",
            body,
            fields: vec![optional("/name", NAME), nullable("/description", DESCRIPTION)],
            fits: patch,
            faults,
            senseless: vec![],
        },
    ]
}

/// A rule of this many bytes as compact JSON.
fn rule_of(bytes: usize) -> Value {
    let rule = |last: usize| {
        let mut items = vec!["x".repeat(1_000); 3];
        items.push("x".repeat(last));
        json!({"match": {"a": items, "b": [""]}})
    };
    let rest = bytes - rule(0).to_string().len();
    let mut rule = rule(rest / 2);
    rule["match"]["b"][0] = json!("x".repeat(rest - rest / 2));
    assert_eq!(rule.to_string().len(), bytes);
    rule
}

pub(super) fn segments(_: Generation) -> Vec<Table> {
    let conditions = |count: usize| -> Value {
        let condition = |index| (format!("a{index}"), json!(["x"]));
        (0..count).map(condition).collect::<serde_json::Map<_, _>>().into()
    };
    let body = json!({
        "name": "New one", "description": "What it is about",
        "rules": [
            {"match": {"country": ["DE"], "domain": {"contains": ["example"]}},
             "not_match": {"browser": {"exists": true}}},
            {"match": {"platform": ["ios"]}}
        ]
    });
    let country = "/rules/0/match/country";
    let expressions = [
        json!([""]),
        json!(["é".repeat(1024)]),
        json!(["DE", "DE"]),
        json!({"contains": ["a", "b"]}),
        json!({"starts_with": ["a"]}),
        json!({"ends_with": ["a"]}),
        json!({"exists": false}),
    ];
    let mut fits: Vec<_> = expressions.map(|value| (country, value)).into();
    fits.extend(["match", "not_match"].map(|key| ("/rules/1", json!({key: conditions(10)}))));
    fits.extend([
        ("/rules/0", rule_of(4096)),
        ("/rules", json!([rule_of(4096), rule_of(4096)])),
        ("/rules/0/match/anything_else", json!(["x"])),
    ]);
    let expressions = [
        json!([]),
        json!([7]),
        json!([null]),
        json!([["DE"]]),
        json!(["x".repeat(1025)]),
        json!({}),
        json!({"contains": []}),
        json!({"contains": "a"}),
        json!({"starts_with": [1]}),
        json!({"ends_with": null}),
        json!({"exists": "true"}),
        json!({"exists": null}),
        json!({"contains": ["x".repeat(1025)]}),
        json!({"contains": ["a"], "starts_with": ["a"]}),
        json!({"one_of": ["a"]}),
        json!({"contains": ["a"], "extra": 1}),
        json!("DE"),
        json!(7),
        json!(true),
        json!(null),
    ];
    let mut faults: Vec<_> = expressions.map(|value| (country, value)).into();
    for key in ["/rules/0/match", "/rules/0/not_match"] {
        let others = [json!({}), json!([]), json!("a"), json!(7), json!(null), conditions(11)];
        faults.extend(others.map(|value| (key, value)));
    }
    faults.push(("/rules/0/matches", json!({"country": ["DE"]})));
    let large = vec![
        ("/rules/0", rule_of(4097)),
        ("/rules", json!([rule_of(4096), rule_of(4096), rule_of(4000)])),
    ];
    let table = |method, path, body, fields, fits, faults| Table {
        method,
        path,
        body,
        fields,
        fits,
        faults,
        senseless: large.clone(),
    };
    let rule = || {
        let conditions = |at| optional(at, OPEN);
        [item("/rules/0", CLOSED), conditions("/rules/0/match"), conditions("/rules/0/not_match")]
    };
    let mut create = vec![required("/name", NAME), optional("/description", DESCRIPTION)];
    create.push(required("/rules", Kind::List { least: 1 }));
    create.extend(rule());
    let mut edit = vec![optional("/name", NAME), nullable("/description", DESCRIPTION)];
    edit.push(optional("/rules", Kind::List { least: 1 }));
    edit.extend(rule());
    let (mut more_fits, mut more_faults) = (fits.clone(), faults.clone());
    more_fits.push(("/status", json!("archived")));
    let statuses = [json!("active"), json!("draft"), json!(null), json!(1), json!("")];
    more_faults.extend(statuses.map(|status| ("/status", status)));
    vec![
        table("POST", "/segments", body.clone(), create, fits, faults),
        table("PATCH", "/segments/seg_ios", body, edit, more_fits, more_faults),
    ]
}
