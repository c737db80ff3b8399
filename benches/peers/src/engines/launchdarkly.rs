//! LaunchDarkly: `evaluate` of its evaluation crate, on a flag looked up in a map of the caller's.

use std::collections::HashMap;

use launchdarkly_server_sdk_evaluation::{
    Context, ContextBuilder, Detail, Flag, FlagValue, Segment, Store, evaluate,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Engine;
use crate::world::{COUNTRIES, Facts, RULES, Split, VERSION, World, arm_names, arms, key, plan};

/// The crate has no store of its own.
#[derive(Deserialize)]
pub struct LaunchDarkly {
    flags: HashMap<String, Flag>,
}

/// Asked for prerequisites and shared segments only, which there are none of.
impl Store for LaunchDarkly {
    fn flag(&self, key: &str) -> Option<Flag> {
        self.flags.get(key).cloned()
    }

    fn segment(&self, _: &str) -> Option<Segment> {
        None
    }
}

impl Engine for LaunchDarkly {
    const NAME: &'static str = "launchdarkly";
    const CRATE: &'static str = "launchdarkly-server-sdk-evaluation";

    type Subject = Context;
    type Decision<'a> = Option<Detail<&'a FlagValue>>;

    fn text(world: &World) -> String {
        json!({"flags": world.by_key(|number| flag(world, number)), "segments": {}}).to_string()
    }

    fn load(text: &str) -> Self {
        serde_json::from_str(text).expect("all data")
    }

    fn subject(&'static self, id: &'static str, facts: Option<&'static Facts>) -> Context {
        let mut context = ContextBuilder::new(id);
        for (name, value) in facts.into_iter().flat_map(Facts::pairs) {
            context.set_string(name, value);
        }
        context.build().expect("a context")
    }

    fn assign<'a>(&'a self, key: &'a str, context: &'a Context) -> Self::Decision<'a> {
        Some(evaluate(self, self.flags.get(key)?, context, None))
    }

    fn arm(&self, decision: &Self::Decision<'_>) -> Option<usize> {
        decision.as_ref()?.variation_index?.try_into().ok()
    }

    fn edit(world: &World, number: usize) -> String {
        flag(&world.edited(number), number).to_string()
    }

    fn edit_back(world: &World, number: usize) -> String {
        flag(world, number).to_string()
    }

    fn update(&mut self, edit: &str) {
        let flag: Flag = serde_json::from_str(edit).expect("a flag");
        self.flags.insert(flag.key.clone(), flag);
    }
}

fn flag(world: &World, number: usize) -> Value {
    let weights = world.weights(number);
    let (rules, fallthrough) = match world.split {
        Split::Even | Split::Uneven => {
            // Weights are in thousandths of a percent.
            let variations =
                arms(weights, |arm, weight| json!({"variation": arm, "weight": weight * 1000}));
            let rollout =
                json!({"kind": "experiment", "seed": 61 + number, "variations": variations});
            (json!([]), json!({"rollout": rollout}))
        }
        Split::Rules => ((0..RULES).map(rule).collect(), json!({"variation": RULES})),
    };
    json!({
        "key": key(number),
        "version": 1,
        "on": true,
        "targets": [],
        "rules": rules,
        "prerequisites": [],
        "fallthrough": fallthrough,
        "offVariation": 0,
        "variations": arm_names(weights),
        "salt": key(number),
    })
}

/// There is no «at least» for versions, so «less than» is negated.
fn rule(number: usize) -> Value {
    let clause = |attribute: &str, op: &str, negate: bool, values: Value| json!({"attribute": attribute, "op": op, "negate": negate, "values": values});
    let clauses = [
        clause("country", "in", false, json!(COUNTRIES)),
        clause("app", "semVerLessThan", true, json!([VERSION])),
        clause("plan", "in", false, json!([plan(number)])),
    ];
    json!({
        "id": format!("rule-{number}"),
        "clauses": clauses,
        "variation": number,
        "trackEvents": false,
    })
}
