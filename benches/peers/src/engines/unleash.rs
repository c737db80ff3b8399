//! Unleash: `EngineState::check_variant` of its core, without counting. `resolve_all` for all.

use std::collections::HashMap;
use std::hint::black_box;

use serde_json::{Value, json};
use unleash_yggdrasil::state::EnrichedContext;
use unleash_yggdrasil::{ClientFeatures, Context, EngineState, UpdateMessage, VariantDef};

use super::Engine;
use crate::world::{
    COUNTRIES, Facts, RULES, Split, VERSION, World, arm_name, arm_named, arms, key, plan,
};

pub struct Unleash {
    state: EngineState,
}

impl Engine for Unleash {
    const NAME: &'static str = "unleash";
    const CRATE: &'static str = "unleash-yggdrasil";

    type Subject = Context;
    type Decision<'a> = Option<VariantDef>;

    fn text(world: &World) -> String {
        let features: Value = world.numbers().map(|number| feature(world, number)).collect();
        json!({"version": 2, "features": features}).to_string()
    }

    fn load(text: &str) -> Self {
        let features: ClientFeatures = serde_json::from_str(text).expect("features");
        let state = EngineState::default();
        let warnings = state.apply_client_features(features);
        assert!(warnings.is_none(), "unleash: {warnings:?}");
        Self { state }
    }

    fn subject(&'static self, id: &'static str, facts: Option<&'static Facts>) -> Context {
        let pairs = facts.map(Facts::pairs);
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let properties = pairs.map(|pairs| pairs.map(own).into_iter().collect::<HashMap<_, _>>());
        Context { user_id: Some(id.to_owned()), properties, ..Context::default() }
    }

    fn assign<'a>(&'a self, key: &'a str, context: &'a Context) -> Option<VariantDef> {
        self.state.check_variant(&EnrichedContext::from(context, key, None))
    }

    fn arm(&self, decision: &Option<VariantDef>) -> Option<usize> {
        arm_named(&decision.as_ref()?.name)
    }

    fn assign_all(&self, _: &[String], context: &Context) {
        black_box(self.state.resolve_all(context, &None));
    }

    fn edit(world: &World, number: usize) -> String {
        delta(&world.edited(number), number)
    }

    fn edit_back(world: &World, number: usize) -> String {
        delta(world, number)
    }

    fn update(&mut self, edit: &str) {
        let message: UpdateMessage = serde_json::from_str(edit).expect("a delta");
        self.state.take_state(message);
    }
}

fn delta(world: &World, number: usize) -> String {
    let feature = feature(world, number);
    json!({"events": [{"type": "feature-updated", "eventId": 2, "feature": feature}]}).to_string()
}

fn feature(world: &World, number: usize) -> Value {
    let weights = world.weights(number);
    // Weights are in tenths of a percent.
    let strategies = match world.split {
        Split::Even | Split::Uneven => json!([{
            "name": "default",
            "variants": arms(weights, |arm, weight| variant(arm, weight * 10)),
        }]),
        Split::Rules => arms(weights, |arm, _| {
            let constraints = if arm < RULES { constraints(arm) } else { json!([]) };
            json!({
                "name": "default",
                "constraints": constraints,
                "variants": [variant(arm, 1_000)],
            })
        }),
    };
    json!({
        "name": key(number),
        "type": "experiment",
        "project": "default",
        "enabled": true,
        "strategies": strategies,
    })
}

fn variant(arm: usize, weight: u64) -> Value {
    json!({"name": arm_name(arm), "weight": weight, "weightType": "fix", "stickiness": "userId"})
}

fn constraints(number: usize) -> Value {
    json!([
        {"contextName": "country", "operator": "IN", "values": COUNTRIES},
        {"contextName": "app", "operator": "SEMVER_GTE", "value": VERSION},
        {"contextName": "plan", "operator": "IN", "values": [plan(number)]},
    ])
}
