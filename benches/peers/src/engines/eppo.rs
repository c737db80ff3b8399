//! Eppo: `eppo_core::eval::get_assignment` on a configuration that the caller holds, at a time that
//! the caller gives, with nothing to log.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use eppo_core::eval::get_assignment;
use eppo_core::ufc::{Assignment, AssignmentValue, UniversalFlagConfig, VariationType};
use eppo_core::{Attributes, Configuration, SdkMetadata, Str};
use serde_json::{Value, json};

use super::Engine;
use crate::world::{
    COUNTRIES, Facts, RULES, Split, VERSION, World, arm_name, arm_named, key, plan,
};

const SHARDS: u64 = 10_000;

pub struct Eppo {
    configuration: Configuration,
    now: DateTime<Utc>,
}

impl Engine for Eppo {
    const NAME: &'static str = "eppo";
    const CRATE: &'static str = "eppo_core";

    type Subject = (Str, Arc<Attributes>);
    type Decision<'a> = Option<Assignment>;

    fn text(world: &World) -> String {
        json!({
            "createdAt": "2026-01-01T00:00:00Z",
            "format": "SERVER",
            "environment": {"name": "production"},
            "flags": world.by_key(|number| flag(world, number)),
        })
        .to_string()
    }

    fn load(text: &str) -> Self {
        let metadata = SdkMetadata { name: "rust", version: "0" };
        let flags = UniversalFlagConfig::from_json(metadata, text.as_bytes().to_vec());
        let configuration =
            Configuration::from_server_response(flags.expect("a configuration"), None);
        Self { configuration, now: DateTime::from_timestamp(1_800_000_000, 0).expect("a time") }
    }

    fn subject(&'static self, id: &'static str, facts: Option<&'static Facts>) -> Self::Subject {
        let pairs = facts.into_iter().flat_map(Facts::pairs);
        let attributes = pairs.map(|(name, value)| (name.into(), value.into())).collect();
        (id.into(), Arc::new(attributes))
    }

    fn assign<'a>(
        &'a self,
        key: &'a str,
        (id, attributes): &'a Self::Subject,
    ) -> Option<Assignment> {
        let string = Some(VariationType::String);
        get_assignment(Some(&self.configuration), key, id, attributes, string, self.now).ok()?
    }

    fn arm(&self, decision: &Option<Assignment>) -> Option<usize> {
        match &decision.as_ref()?.value {
            AssignmentValue::String(name) => arm_named(name),
            _ => None,
        }
    }
}

fn flag(world: &World, number: usize) -> Value {
    let weights = world.weights(number);
    let variations: serde_json::Map<_, _> = (0..weights.len())
        .map(|arm| (arm_name(arm), json!({"key": arm_name(arm), "value": arm_name(arm)})))
        .collect();
    let allocations = match world.split {
        Split::Even | Split::Uneven => {
            let splits: Value =
                world.ranges(number, SHARDS).map(|range| split(number, range)).collect();
            json!([{"key": "all", "splits": splits, "doLog": false}])
        }
        Split::Rules => (0..weights.len()).map(allocation).collect(),
    };
    json!({
        "key": key(number),
        "enabled": true,
        "variationType": "STRING",
        "variations": variations,
        "allocations": allocations,
        "totalShards": SHARDS,
    })
}

fn split(number: usize, (arm, start, end): (usize, u64, u64)) -> Value {
    let shard =
        json!({"salt": format!("{}-split", key(number)), "ranges": [{"start": start, "end": end}]});
    json!({"variationKey": arm_name(arm), "shards": [shard]})
}

fn allocation(arm: usize) -> Value {
    let conditions = json!([
        {"attribute": "country", "operator": "ONE_OF", "value": COUNTRIES},
        {"attribute": "app", "operator": "GTE", "value": VERSION},
        {"attribute": "plan", "operator": "ONE_OF", "value": [plan(arm)]},
    ]);
    let rules = if arm < RULES { json!([{"conditions": conditions}]) } else { json!([]) };
    let whole = json!([{"variationKey": arm_name(arm), "shards": []}]);
    json!({"key": format!("rule-{arm}"), "rules": rules, "splits": whole, "doLog": false})
}
