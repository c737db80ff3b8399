//! Featurevisor: `Featurevisor::get_variation`, with the subject as context of the call.

use featurevisor::{
    AttributeValue, Context, DatafileInput, Featurevisor as Instance, FeaturevisorOptions,
    LogLevel, create_featurevisor,
};
use serde_json::{Value, json};

use super::Engine;
use crate::world::{
    COUNTRIES, Facts, RULES, Split, VERSION, World, arm_name, arm_named, arms, key, plan,
};

/// The whole of its scale.
const POINTS: u64 = 100_000;

pub struct Featurevisor {
    instance: Instance,
}

impl Engine for Featurevisor {
    const NAME: &'static str = "featurevisor";
    const CRATE: &'static str = "featurevisor";

    type Subject = Context;
    type Decision<'a> = Option<String>;

    fn text(world: &World) -> String {
        datafile(&world.by_key(|number| feature(world, number)))
    }

    fn load(text: &str) -> Self {
        let options = FeaturevisorOptions {
            datafile: Some(DatafileInput::Json(text.to_owned())),
            log_level: Some(LogLevel::Fatal),
            ..FeaturevisorOptions::default()
        };
        Self { instance: create_featurevisor(options) }
    }

    fn subject(&'static self, id: &'static str, facts: Option<&'static Facts>) -> Context {
        let pairs = facts.into_iter().flat_map(Facts::pairs).chain([("userId", id)]);
        pairs.map(|(name, value)| (name.to_owned(), AttributeValue::from(value))).collect()
    }

    fn assign<'a>(&'a self, key: &'a str, context: &'a Context) -> Option<String> {
        self.instance.get_variation(key, Some(context), None)
    }

    fn arm(&self, decision: &Option<String>) -> Option<usize> {
        arm_named(decision.as_ref()?)
    }

    fn assign_all(&self, keys: &[String], context: &Context) {
        std::hint::black_box(self.instance.get_feature_evaluations(Some(context), keys, None));
    }

    fn edit(world: &World, number: usize) -> String {
        datafile(&json!({key(number): feature(&world.edited(number), number)}))
    }

    fn edit_back(world: &World, number: usize) -> String {
        datafile(&json!({key(number): feature(world, number)}))
    }

    fn update(&mut self, edit: &str) {
        self.instance.set_datafile(DatafileInput::Json(edit.to_owned()), false);
    }
}

fn datafile(features: &Value) -> String {
    json!({"schemaVersion": "4", "revision": "1", "segments": {}, "features": features}).to_string()
}

fn feature(world: &World, number: usize) -> Value {
    let weights = world.weights(number);
    let traffic = match world.split {
        Split::Even | Split::Uneven => {
            let allocation = world.ranges(number, POINTS).map(
                |(arm, start, end)| json!({"variation": arm_name(arm), "range": [start, end]}),
            );
            let allocation: Value = allocation.collect();
            json!([{
                "key": "everyone",
                "conditions": "*",
                "percentage": POINTS,
                "enabled": true,
                "allocation": allocation,
            }])
        }
        Split::Rules => (0..weights.len()).map(rule).collect(),
    };
    json!({
        "bucketBy": "userId",
        "variations": arms(weights, |arm, _| json!({"value": arm_name(arm)})),
        "traffic": traffic,
    })
}

fn rule(number: usize) -> Value {
    let conditions = json!([
        {"attribute": "country", "operator": "in", "value": COUNTRIES},
        {"attribute": "app", "operator": "semverGreaterThanOrEquals", "value": VERSION},
        {"attribute": "plan", "operator": "equals", "value": plan(number)},
    ]);
    json!({
        "key": format!("rule-{number}"),
        "conditions": if number < RULES { conditions } else { json!("*") },
        "percentage": POINTS,
        "enabled": true,
        "variation": arm_name(number),
    })
}
