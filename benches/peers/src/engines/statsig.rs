//! Statsig: `Statsig::get_experiment_with_options` on a configuration that the caller brings, with
//! network, logging and exposures switched off.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};
use statsig_rust::statsig_types::Experiment;
use statsig_rust::{
    ExperimentEvaluationOptions, Statsig as Instance, StatsigBootstrapSpecsAdapter, StatsigOptions,
    StatsigUser,
};
use tokio::runtime::Runtime;

use super::Engine;
use crate::world::{
    COUNTRIES, Facts, RULES, Split, VERSION, World, arm_name, arm_named, key, plan,
};

/// The whole of its scale.
const BUCKETS: u64 = 1_000;

/// What it starts in; evaluation does not need it.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

pub struct Statsig {
    instance: Instance,
    specs: Arc<StatsigBootstrapSpecsAdapter>,
}

impl Engine for Statsig {
    const NAME: &'static str = "statsig";
    const CRATE: &'static str = "statsig-rust";

    type Subject = StatsigUser;
    type Decision<'a> = Experiment;

    fn text(world: &World) -> String {
        let conditions = world.numbers().flat_map(|number| conditions(world, number));
        json!({
            "has_updates": true,
            "time": 1_800_000_000_000_u64,
            "feature_gates": {},
            "dynamic_configs": world.by_key(|number| experiment(world, number)),
            "layer_configs": {},
            "condition_map": conditions.collect::<serde_json::Map<_, _>>(),
            "experiment_to_layer": {},
        })
        .to_string()
    }

    fn load(text: &str) -> Self {
        let specs = Arc::new(StatsigBootstrapSpecsAdapter::new(text.to_owned()));
        let options = StatsigOptions {
            specs_adapter: Some(specs.clone()),
            disable_network: Some(true),
            disable_all_logging: Some(true),
            disable_country_lookup: Some(true),
            disable_disk_access: Some(true),
            ..StatsigOptions::default()
        };
        let instance = Instance::new("secret-none", Some(Arc::new(options)));
        RUNTIME.block_on(instance.initialize()).expect("statsig starts");
        Self { instance, specs }
    }

    fn subject(&'static self, id: &'static str, facts: Option<&'static Facts>) -> StatsigUser {
        let mut user = StatsigUser::with_user_id(id);
        if let Some(facts) = facts {
            user.set_custom(facts.pairs().into_iter().collect::<HashMap<_, _>>());
        }
        user
    }

    fn assign<'a>(&'a self, key: &'a str, user: &'a StatsigUser) -> Experiment {
        let options =
            ExperimentEvaluationOptions { disable_exposure_logging: true, ..Default::default() };
        self.instance.get_experiment_with_options(user, key, options)
    }

    fn arm(&self, decision: &Experiment) -> Option<usize> {
        arm_named(decision.group_name.as_ref()?)
    }

    fn update(&mut self, edit: &str) {
        self.specs.set_data(edit.to_owned()).expect("specs");
    }
}

fn experiment(world: &World, number: usize) -> Value {
    let rules = (0..world.weights(number).len()).map(|arm| {
        let names: Vec<String> = match world.split {
            Split::Even | Split::Uneven => vec![below(number, arm)],
            Split::Rules if arm < RULES => {
                vec!["country".to_owned(), "app".to_owned(), plan(arm)]
            }
            Split::Rules => vec!["everyone".to_owned()],
        };
        json!({
            "name": arm_name(arm),
            "groupName": arm_name(arm),
            "passPercentage": 100,
            "conditions": names,
            "returnValue": {"arm": arm_name(arm)},
            "id": format!("{}-{arm}", key(number)),
            "salt": format!("{}-{arm}", key(number)),
            "idType": "userID",
            "isExperimentGroup": true,
        })
    });
    json!({
        "type": "dynamic_config",
        "salt": key(number),
        "enabled": true,
        "defaultValue": {},
        "rules": rules.collect::<Value>(),
        "idType": "userID",
        "entity": "experiment",
        "version": 1,
        "isActive": true,
        "hasSharedParams": false,
    })
}

/// The condition that a subject's bucket lies before the end of an arm.
fn below(number: usize, arm: usize) -> String {
    format!("{}-below-{arm}", key(number))
}

fn conditions(world: &World, number: usize) -> Vec<(String, Value)> {
    let field = |name: &str, operator: &str, value: Value| {
        json!({
            "type": "user_field",
            "field": name,
            "operator": operator,
            "targetValue": value,
            "additionalValues": {},
            "idType": "userID",
        })
    };
    match world.split {
        Split::Even | Split::Uneven => world
            .ranges(number, BUCKETS)
            .map(|(arm, _, end)| {
                let bucket = json!({
                    "type": "user_bucket",
                    "field": null,
                    "operator": "lt",
                    "targetValue": end,
                    "additionalValues": {"salt": key(number)},
                    "idType": "userID",
                });
                (below(number, arm), bucket)
            })
            .collect(),
        Split::Rules => {
            let everyone = json!({
                "type": "public", "field": null, "operator": null, "targetValue": null,
                "additionalValues": {}, "idType": "userID",
            });
            let plans = (0..RULES)
                .map(|rule| (plan(rule), field("plan", "any_case_sensitive", json!([plan(rule)]))));
            let shared = [
                ("country".to_owned(), field("country", "any_case_sensitive", json!(COUNTRIES))),
                ("app".to_owned(), field("app", "version_gte", json!(VERSION))),
                ("everyone".to_owned(), everyone),
            ];
            plans.chain(shared).collect()
        }
    }
}
