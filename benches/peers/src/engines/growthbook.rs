//! `GrowthBook`: `GrowthBook::check`, the synchronous part of its crate, on features that the caller
//! holds.

use std::collections::HashMap;

use growthbook_rust::dto::GrowthBookFeature;
use growthbook_rust::growthbook::GrowthBook as Features;
use growthbook_rust::model_public::{FeatureResult, GrowthBookAttribute, GrowthBookAttributeValue};
use serde_json::{Value, json};

use super::Engine;
use crate::world::{
    COUNTRIES, Facts, RULES, Split, VERSION, World, arm_name, arm_named, arm_names, key, plan,
};

pub struct GrowthBook {
    features: Features,
}

impl Engine for GrowthBook {
    const NAME: &'static str = "growthbook";
    const CRATE: &'static str = "growthbook-rust";

    type Subject = Option<Vec<GrowthBookAttribute>>;
    type Decision<'a> = FeatureResult;

    fn text(world: &World) -> String {
        world.by_key(|number| feature(world, number)).to_string()
    }

    fn load(text: &str) -> Self {
        let features: HashMap<String, GrowthBookFeature> =
            serde_json::from_str(text).expect("features");
        let features = Features {
            forced_variations: None,
            features,
            attributes: None,
            sticky_bucket_service: None,
            saved_groups: HashMap::new(),
        };
        Self { features }
    }

    fn subject(&'static self, id: &'static str, facts: Option<&'static Facts>) -> Self::Subject {
        let pairs = facts.into_iter().flat_map(Facts::pairs).chain([("id", id)]);
        let attribute = |(name, value): (&str, &str)| {
            let value = GrowthBookAttributeValue::String(value.to_owned());
            GrowthBookAttribute::new(name.to_owned(), value)
        };
        Some(pairs.map(attribute).collect())
    }

    fn assign<'a>(&'a self, key: &'a str, attributes: &'a Self::Subject) -> FeatureResult {
        self.features.check(key, attributes)
    }

    fn arm(&self, decision: &FeatureResult) -> Option<usize> {
        arm_named(decision.value.as_str()?)
    }

    fn edit(world: &World, number: usize) -> String {
        json!({key(number): feature(&world.edited(number), number)}).to_string()
    }

    fn edit_back(world: &World, number: usize) -> String {
        json!({key(number): feature(world, number)}).to_string()
    }

    fn update(&mut self, edit: &str) {
        let edit: HashMap<String, GrowthBookFeature> =
            serde_json::from_str(edit).expect("a feature");
        self.features.features.extend(edit);
    }
}

fn feature(world: &World, number: usize) -> Value {
    let weights = world.weights(number);
    let rules = match world.split {
        Split::Even | Split::Uneven => {
            let shares: Vec<f64> = weights.iter().map(|weight| *weight as f64 / 100.0).collect();
            json!([{
                "key": key(number),
                "variations": arm_names(weights),
                "weights": shares,
                "hashAttribute": "id",
                "hashVersion": 2,
            }])
        }
        Split::Rules => (0..RULES).map(rule).collect(),
    };
    json!({"defaultValue": arm_name(RULES), "rules": rules})
}

fn rule(number: usize) -> Value {
    let condition = json!({
        "country": {"$in": COUNTRIES},
        "app": {"$vgte": VERSION},
        "plan": plan(number),
    });
    json!({"condition": condition, "force": arm_name(number)})
}
