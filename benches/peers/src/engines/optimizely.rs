//! Optimizely, by its unofficial crate: `UserContext::decide`, built without events.

use optimizely::client::UserContext;
use optimizely::{AttributeValue, Client, Decision};
use serde_json::{Value, json};

use super::Engine;
use crate::world::{
    COUNTRIES, Facts, RULES, Split, VERSION, World, arm_name, arm_named, arms, key, plan,
};

const BUCKETS: u64 = 10_000;

pub struct Optimizely {
    client: Client,
}

impl Engine for Optimizely {
    const NAME: &'static str = "optimizely";
    const CRATE: &'static str = "optimizely";

    type Subject = UserContext<'static>;
    type Decision<'a> = Decision;

    fn text(world: &World) -> String {
        let rules = if world.split == Split::Rules { RULES } else { 0 };
        let attributes = ["app", "country", "plan"].map(|name| json!({"id": name, "key": name}));
        let experiments = world.numbers().flat_map(|number| experiments(world, number));
        json!({
            "accountId": "1",
            "projectId": "1",
            "environmentKey": "production",
            "sdkKey": "none",
            "revision": "1",
            "botFiltering": false,
            "anonymizeIP": true,
            "events": [],
            "attributes": attributes,
            "typedAudiences": (0..rules).map(audience).collect::<Value>(),
            "experiments": experiments.collect::<Value>(),
            "rollouts": [],
            "featureFlags": world.numbers().map(|number| flag(world, number)).collect::<Value>(),
        })
        .to_string()
    }

    fn load(text: &str) -> Self {
        Self { client: Client::from_string(text).expect("a datafile").initialize() }
    }

    fn subject(&'static self, id: &'static str, facts: Option<&'static Facts>) -> Self::Subject {
        let mut context = self.client.create_user_context(id);
        for (name, value) in facts.into_iter().flat_map(Facts::pairs) {
            context.set_attribute(name, AttributeValue::String(value.to_owned()));
        }
        context
    }

    fn assign<'a>(&'a self, key: &'a str, context: &'a Self::Subject) -> Decision {
        context.decide(key)
    }

    fn arm(&self, decision: &Decision) -> Option<usize> {
        arm_named(decision.variation_key())
    }
}

fn flag(world: &World, number: usize) -> Value {
    let ids: Value =
        experiments(world, number).map(|experiment| experiment["id"].clone()).collect();
    json!({"key": key(number), "rolloutId": "", "experimentIds": ids})
}

/// An experiment is for one audience, so rules are experiments of one arm each.
fn experiments(world: &World, number: usize) -> impl Iterator<Item = Value> {
    let weights = world.weights(number);
    let count = if world.split == Split::Rules { weights.len() } else { 1 };
    let world = *world;
    (0..count).map(move |rule| {
        let audiences =
            if count > 1 && rule < RULES { json!([audience_id(rule)]) } else { json!([]) };
        let ranges: Value = match world.split {
            Split::Rules => json!([{"entityId": variation(rule), "endOfRange": BUCKETS}]),
            Split::Even | Split::Uneven => world
                .ranges(number, BUCKETS)
                .map(|(arm, _, end)| json!({"entityId": variation(arm), "endOfRange": end}))
                .collect(),
        };
        json!({
            "id": format!("{number}0{rule}"),
            "key": format!("{}_{rule}", key(number)),
            "layerId": format!("{number}"),
            "trafficAllocation": ranges,
            "audienceIds": audiences,
            "variations": arms(weights, |arm, _| json!({
                "id": variation(arm), "key": arm_name(arm), "featureEnabled": true,
            })),
        })
    })
}

fn variation(arm: usize) -> String {
    format!("{}", 9000 + arm)
}

fn audience_id(number: usize) -> String {
    format!("{}", 100 + number)
}

/// There is no list of values, so the countries are alternatives.
fn audience(number: usize) -> Value {
    let condition = |kind: &str, name: &str, value: &str| json!({"match": kind, "name": name, "type": "custom_attribute", "value": value});
    let mut countries = vec![json!("or")];
    countries.extend(COUNTRIES.map(|country| condition("exact", "country", country)));
    let conditions = json!([
        "and",
        countries,
        condition("semver_ge", "app", VERSION),
        condition("exact", "plan", &plan(number)),
    ]);
    json!({"id": audience_id(number), "name": plan(number), "conditions": conditions})
}
