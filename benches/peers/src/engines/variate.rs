//! This crate: `Snapshot::assign`. The subject is made anew for each decision, its id hashed.

use serde_json::{Value, json};
use variate::{
    Allocation, Attribute, Attributes, Change, Decision, DraftPatch, ExperimentId, Scratch,
    Snapshot, Subject, ToAttribute, Transaction,
};

use super::Engine;
use crate::world::{COUNTRIES, Facts, RULES, Split, VERSION, World, arm_name, arms, id, key, plan};

/// Room for the arms of an experiment in the numbers of variations.
const ARMS: usize = 16;

pub struct Variate {
    snapshot: Snapshot,
}

/// Who is assigned. What is not known of anyone is asked of nobody.
pub struct Person {
    id: &'static str,
    attributes: &'static dyn Attributes,
}

impl Attributes for Facts {
    fn attribute(&self, name: &str) -> Option<Attribute<'_>> {
        match name {
            "app" => self.app.to_attribute(),
            "country" => self.country.to_attribute(),
            "plan" => self.plan.to_attribute(),
            _ => None,
        }
    }
}

impl Variate {
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }
}

impl Engine for Variate {
    const NAME: &'static str = "variate";
    const CRATE: &'static str = "variate";

    type Subject = Person;
    type Decision<'a> = Decision<'a>;

    fn text(world: &World) -> String {
        document(world, |number| number)
    }

    fn load(text: &str) -> Self {
        Self { snapshot: Snapshot::from_json(text).expect("a document") }
    }

    fn subject(&'static self, id: &'static str, facts: Option<&'static Facts>) -> Person {
        match facts {
            Some(facts) => Person { id, attributes: facts },
            None => Person { id, attributes: &() },
        }
    }

    fn assign<'a>(&'a self, key: &'a str, person: &'a Person) -> Decision<'a> {
        self.snapshot.assign(key, &Subject::new(person.id).with_attributes(person.attributes))
    }

    fn arm(&self, decision: &Decision<'_>) -> Option<usize> {
        arm_of(decision)
    }

    fn update(&mut self, _: &str) {
        // Measured by itself, with an engine and its readers.
    }
}

/// The arm of a decision.
pub fn arm_of(decision: &Decision<'_>) -> Option<usize> {
    let number = decision.variation_id()?.as_str().strip_prefix("var_")?.replace('z', "0");
    Some(number.parse::<usize>().ok()? % ARMS)
}

/// One subject and all experiments, with room that is kept.
pub fn assign_all(snapshot: &Snapshot, id: &str, scratch: &mut Scratch) {
    for decision in snapshot.assign_all(&Subject::new(id), scratch) {
        std::hint::black_box(&decision);
    }
}

/// New weights for an experiment that runs: its next iteration.
pub fn reweigh(experiment: &ExperimentId, number: usize, weights: [u32; 2]) -> Transaction {
    let share = |arm: usize| {
        let variation = variation(number, arm).parse().expect("an id");
        Allocation::share(variation, weights[arm].try_into().expect("a weight"))
    };
    let draft = DraftPatch::new().allocations([share(0).control(), share(1)]);
    [Change::draft_iteration(experiment, draft), Change::start_iteration(experiment)]
        .into_iter()
        .collect()
}

/// A world whose experiments are all on one flag.
pub fn on_one_flag(world: &World) -> String {
    document(world, |_| 0)
}

fn variation(flag: usize, arm: usize) -> String {
    id("var", flag * ARMS + arm)
}

fn document(world: &World, flag_of: impl Fn(usize) -> usize) -> String {
    let mut flags: Vec<usize> = world.numbers().map(&flag_of).collect();
    flags.dedup();
    let segments = if world.split == Split::Rules { RULES } else { 0 };
    let document = json!({
        "format": "variate/1",
        "flags": flags.into_iter().map(|number| flag(world, number)).collect::<Value>(),
        "segments": (0..segments).map(segment).collect::<Value>(),
        "experiments": world.numbers().map(|number| experiment(world, number, flag_of(number))).collect::<Value>(),
    });
    document.to_string()
}

fn flag(world: &World, number: usize) -> Value {
    json!({
        "id": id("flg", number),
        "name": format!("Flag {number}"),
        "status": "active",
        "parameters": {"arm": {"type": "string", "value": arm_name(0)}},
        "variations": arms(world.weights(number), |arm, _| json!({
            "id": variation(number, arm),
            "name": arm_name(arm),
            "overrides": {"arm": arm_name(arm)},
        })),
    })
}

fn segment(number: usize) -> Value {
    let rule = json!({"match": {
        "country": COUNTRIES,
        "app": {"semver": {"gte": VERSION}},
        "plan": [plan(number)],
    }});
    json!({"id": id("seg", number), "name": format!("Segment {number}"), "rules": [rule]})
}

fn experiment(world: &World, number: usize, flag: usize) -> Value {
    let (strategy, allocations) = match world.split {
        Split::Even | Split::Uneven => (
            "percentage",
            arms(world.weights(number), |arm, weight| {
                json!({
                    "variation_id": variation(flag, arm), "weight": weight, "is_control": arm == 0,
                })
            }),
        ),
        Split::Rules => (
            "segment",
            arms(world.weights(number), |arm, _| match arm {
                RULES => json!({
                    "variation_id": variation(flag, arm), "is_fallback": true, "is_control": true,
                }),
                _ => json!({
                    "variation_id": variation(flag, arm),
                    "segment_id": id("seg", arm),
                    "priority": arm + 1,
                }),
            }),
        ),
    };
    json!({
        "id": key(number),
        "name": format!("Experiment {number}"),
        "status": "active",
        "flag_id": id("flg", flag),
        "strategy": strategy,
        "allocations": allocations,
    })
}
