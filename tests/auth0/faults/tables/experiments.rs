//! Experiments of both strategies, ramps, and transitions.

use serde_json::{Value, json};
use variate::api::auth0::Generation;

use super::{CLOSED, DESCRIPTION, NAME};
use crate::faults::{Field, Kind, Table, item, nullable, optional, required};
use crate::support::{new_experiment, new_ramp, new_segmented};

const FLOWS: &[&str] = &[
    "authentication",
    "mfa_enrollment",
    "mfa_challenge",
    "password_reset",
    "passkey_enrollment",
    "all",
];

fn flow(generation: Generation) -> Kind {
    match generation {
        Generation::EarlyAccess => Kind::Name(FLOWS),
        _ => Kind::Line(1, 255),
    }
}

/// Required until the early access.
fn once(at: &'static str, kind: Kind, generation: Generation) -> Field {
    match generation {
        Generation::EarlyAccess => optional(at, kind),
        _ => required(at, kind),
    }
}

fn described(mut body: Value) -> Value {
    body["description"] = json!("What it is about");
    body
}

/// So many arms by weight.
fn arms(count: usize) -> Value {
    let arm = |index| json!({"variation_id": "var_a", "weight": 5, "is_control": index == 0});
    (0..count).map(arm).collect()
}

fn arm() -> Vec<Field> {
    vec![
        item("/allocations/0", CLOSED),
        item("/allocations/1", CLOSED),
        required("/allocations/0/variation_id", Kind::Id("var_")),
        required("/allocations/0/is_control", Kind::Bool),
    ]
}

/// A kind of experiment: what its two bodies have in common.
struct Design {
    path: &'static str,
    strategy: &'static [&'static str],
    body: Value,
    fields: Vec<Field>,
    fits: Vec<(&'static str, Value)>,
    faults: Vec<(&'static str, Value)>,
    senseless: Vec<(&'static str, Value)>,
}

fn weighted() -> Design {
    let mut fields = arm();
    fields.push(optional("/allocations/0/weight", Kind::Number { most: 100 }));
    let others = ["", "none"].map(|name| json!(name)).into_iter();
    let others = others.chain([json!(null), json!(7), json!({}), json!(["flag"])]);
    let mut faults: Vec<_> = others.map(|value| ("/default_config", value)).collect();
    faults.push(("/allocations", arms(21)));
    faults.push(("/assignment_config/subject", json!("user")));
    Design {
        path: "/experiments/exp_weights",
        strategy: &["percentage"],
        body: new_experiment("New one"),
        fields,
        fits: vec![("/allocations/0/is_fallback", json!(false)), ("/allocations", arms(20))],
        faults,
        senseless: vec![
            ("/allocations/0/segment_id", json!("seg_germany")),
            ("/allocations/0/priority", json!(1)),
            ("/allocations/0/is_fallback", json!(true)),
            ("/default_config", json!("tenant")),
            ("/default_config", json!("flag")),
            // Beside weights.
            ("/levels", json!([10, 100])),
        ],
    }
}

fn segmented() -> Design {
    let mut fields = arm();
    fields.push(optional("/allocations/0/segment_id", Kind::Id("seg_")));
    let priority = Kind::Whole { least: 1, most: i64::from(u32::MAX) };
    fields.push(optional("/allocations/0/priority", priority));
    fields.push(optional("/allocations/1/is_fallback", Kind::Bool));
    Design {
        path: "/experiments/exp_segments",
        strategy: &["segment"],
        body: new_segmented("New one"),
        fields,
        fits: vec![("/allocations/0/is_fallback", json!(false))],
        faults: vec![("/allocations/0/segment_id", json!("seg_none"))],
        senseless: vec![("/allocations/0/weight", json!(0)), ("/levels", json!([10]))],
    }
}

fn ramped() -> Design {
    let mut fields = arm();
    fields.push(optional("/levels", Kind::List { least: 1 }));
    Design {
        path: "/experiments/exp_ramp",
        strategy: &["percentage"],
        body: new_ramp("New one"),
        fields,
        fits: good_levels(),
        faults: bad_levels(),
        senseless: vec![("/allocations/0/weight", json!(50)), ("/default_config", json!("flag"))],
    }
}

fn bad_levels() -> Vec<(&'static str, Value)> {
    let lists = [
        json!([10, 10]),
        json!([20, 10]),
        json!([10, 50, 50]),
        json!([-1, 10]),
        json!([10, 101]),
        json!([1.5]),
        json!(["10"]),
        json!([null]),
        json!([[10]]),
        json!([true]),
    ];
    lists.into_iter().map(|list| ("/levels", list)).collect()
}

fn good_levels() -> Vec<(&'static str, Value)> {
    let all: Value = (0..=100).collect();
    let lists = [json!([0]), json!([100]), json!([0, 100]), json!([1, 2, 3]), all];
    lists.into_iter().map(|list| ("/levels", list)).collect()
}

pub(in crate::faults) fn experiments(generation: Generation) -> Vec<Table> {
    let designs = || [weighted(), segmented(), ramped()].into_iter();
    let create = designs().map(|design| create(design, generation));
    create.chain(designs().map(|design| edit(design, generation))).collect()
}

fn create(design: Design, generation: Generation) -> Table {
    let mut fields = vec![
        required("/name", NAME),
        optional("/description", DESCRIPTION),
        required("/feature_flag_id", Kind::Id("flg_")),
        required("/authentication_flow", flow(generation)),
        required("/allocation_strategy", Kind::Name(design.strategy)),
        once("/assignment_config", CLOSED, generation),
        required("/assignment_config/subject", Kind::Name(&["device"])),
        once("/allocations", Kind::List { least: 1 }, generation),
    ];
    fields.extend(design.fields);
    Table {
        method: "POST",
        path: "/experiments",
        body: described(design.body),
        fields,
        fits: design.fits,
        faults: design.faults,
        senseless: design.senseless,
    }
}

fn edit(design: Design, generation: Generation) -> Table {
    let mut fields = vec![
        optional("/name", NAME),
        nullable("/description", DESCRIPTION),
        optional("/authentication_flow", flow(generation)),
        optional("/assignment_config", CLOSED),
        required("/assignment_config/subject", Kind::Name(&["device"])),
        optional("/allocations", Kind::List { least: 1 }),
    ];
    fields.extend(design.fields);
    let mut body = described(design.body);
    for fixed in ["feature_flag_id", "allocation_strategy"] {
        body.as_object_mut().unwrap().remove(fixed);
    }
    let statuses = [json!(null), json!("draft"), json!(""), json!(7), json!(["active"])];
    let (mut fits, mut faults) = (design.fits, design.faults);
    fits.push(("/status", json!("active")));
    faults.extend(statuses.map(|status| ("/status", status)));
    let senseless = design.senseless;
    Table { method: "PATCH", path: design.path, body, fields, fits, faults, senseless }
}

pub(in crate::faults) fn transitions(_: Generation) -> Vec<Table> {
    let table = |path, body, fields, faults| Table {
        method: "POST",
        path,
        body,
        fields,
        fits: vec![],
        faults,
        senseless: vec![],
    };
    let status = || required("/status", Kind::Name(&["active", "archived"]));
    let other = ("/status", json!("draft"));
    let only = json!({"status": "active"});
    vec![
        table("/experiments/exp_weights/status", only.clone(), vec![status()], vec![other.clone()]),
        table(
            "/experiments/exp_segments/status",
            only.clone(),
            vec![status()],
            vec![other.clone()],
        ),
        table("/feature-flags/flg_other/status", only, vec![status()], vec![other]),
    ]
}
