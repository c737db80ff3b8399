//! Flagsmith: `get_evaluation_result` of its engine, which evaluates a whole environment; there is
//! no way to one flag alone.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hint::black_box;
use std::mem::swap;

use flagsmith_flag_engine::engine::get_evaluation_result;
use flagsmith_flag_engine::engine_eval::context::IdentityContext;
use flagsmith_flag_engine::engine_eval::{EngineEvaluationContext, EvaluationResult};
use flagsmith_flag_engine::types::{FlagsmithValue, FlagsmithValueType};
use serde_json::{Value, json};

use super::Engine;
use crate::world::{
    COUNTRIES, Facts, RULES, Split, VERSION, World, arm_name, arm_named, arms, key, plan,
};

pub struct Flagsmith {
    /// Holds the subject, too.
    context: RefCell<EngineEvaluationContext>,
}

impl Engine for Flagsmith {
    const NAME: &'static str = "flagsmith";
    const CRATE: &'static str = "flagsmith-flag-engine";
    const ASSIGNS_ONE: bool = false;

    type Subject = RefCell<Option<IdentityContext>>;
    /// The result is everyone's; the key says whose is asked for.
    type Decision<'a> = (EvaluationResult, &'a str);

    fn text(world: &World) -> String {
        let rules = if world.split == Split::Rules { RULES } else { 0 };
        let segments: serde_json::Map<_, _> =
            (0..rules).map(|number| (number.to_string(), segment(number))).collect();
        json!({
            "environment": {"key": "production", "name": "Production"},
            "features": world.by_key(|number| feature(world, number)),
            "segments": segments,
        })
        .to_string()
    }

    fn load(text: &str) -> Self {
        Self { context: RefCell::new(serde_json::from_str(text).expect("a context")) }
    }

    fn subject(&'static self, id: &'static str, facts: Option<&'static Facts>) -> Self::Subject {
        let text = |value: &str| FlagsmithValue {
            value_type: FlagsmithValueType::String,
            value: value.to_owned(),
        };
        let pairs = facts.into_iter().flat_map(Facts::pairs);
        let traits: HashMap<_, _> =
            pairs.map(|(name, value)| (name.to_owned(), text(value))).collect();
        RefCell::new(Some(IdentityContext {
            identifier: id.to_owned(),
            key: id.to_owned(),
            traits,
        }))
    }

    fn assign<'a>(&'a self, key: &'a str, identity: &'a Self::Subject) -> Self::Decision<'a> {
        let (mut context, mut identity) = (self.context.borrow_mut(), identity.borrow_mut());
        swap(&mut context.identity, &mut *identity);
        let result = get_evaluation_result(&context);
        swap(&mut context.identity, &mut *identity);
        (result, key)
    }

    fn arm(&self, (result, key): &Self::Decision<'_>) -> Option<usize> {
        arm_named(&result.flags.get(*key)?.value.value)
    }

    fn assign_all(&self, _: &[String], identity: &Self::Subject) {
        black_box(self.assign("", identity));
    }
}

fn feature(world: &World, number: usize) -> Value {
    let variants = match world.split {
        Split::Even | Split::Uneven => arms(
            world.weights(number),
            |arm, weight| json!({"key": arm_name(arm), "value": arm_name(arm), "weight": weight, "priority": arm}),
        ),
        Split::Rules => json!([]),
    };
    json!({
        "key": key(number),
        "name": key(number),
        "enabled": true,
        "value": arm_name(RULES),
        "variants": variants,
    })
}

/// Rules are segments that override the value of the feature.
fn segment(number: usize) -> Value {
    let conditions = json!([
        {"operator": "IN", "property": "country", "value": COUNTRIES},
        {"operator": "GREATER_THAN_INCLUSIVE", "property": "app", "value": format!("{VERSION}:semver")},
        {"operator": "EQUAL", "property": "plan", "value": plan(number)},
    ]);
    json!({
        "key": number.to_string(),
        "name": plan(number),
        "rules": [{"type": "ALL", "conditions": conditions}],
        "overrides": [{
            "key": key(0),
            "name": key(0),
            "enabled": true,
            "value": arm_name(number),
            "priority": number,
        }],
    })
}
