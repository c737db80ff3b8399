//! What a hand-edited document may not claim, and what hostile ones cost.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may")]

use std::collections::BTreeMap;
use std::ptr;
use std::sync::Arc;

use crate::common::{brought_to, ok, p, world};
use serde_json::{Value, json};
use variate::{Change, Code, FlagPatch, NewFlag, NewVariation, Snapshot, Status, VariationPatch};

/// The document of a running `exp_weights`, edited at its iteration.
fn edited(status: Status, edit: impl Fn(&mut Value)) -> Result<Snapshot, variate::Error> {
    let snapshot = brought_to(&world(), "exp_weights", status);
    let mut document: Value = serde_json::from_str(&snapshot.to_json()).unwrap();
    let experiments = document["experiments"].as_array_mut().unwrap();
    let own = experiments.iter_mut().find(|own| own["id"] == "exp_weights").unwrap();
    edit(&mut own["iteration"]);
    Snapshot::from_json(document.to_string())
}

/// `var_a` and `var_b` in turns, each with half of the points.
fn slices(count: u64) -> Value {
    let width = (1_u64 << 32) / count;
    let slice = |index: u64| {
        let owner = if index.is_multiple_of(2) { "var_a" } else { "var_b" };
        json!({"start": index * width, "variation_id": owner})
    };
    (0..count).map(slice).collect()
}

#[test]
fn a_partition_has_a_bounded_number_of_slices() {
    let most = edited(Status::Active, |run| run["partition"] = slices(4_096)).unwrap();
    assert_eq!(Snapshot::from_json(most.to_json()).unwrap(), most);
    let error = edited(Status::Active, |run| run["partition"] = slices(8_192)).unwrap_err();
    assert_eq!(error.code(), Code::LimitExceeded);
    assert_eq!(error.path(), "experiments[1].iteration.partition");
}

#[test]
fn what_an_active_experiment_runs_on_is_its_own_design() {
    let other = json!([
        {"variation_id": "var_a", "weight": 10, "is_control": true},
        {"variation_id": "var_b", "weight": 90},
    ]);
    let error = edited(Status::Active, |run| run["allocations"] = other.clone()).unwrap_err();
    assert_eq!(error.path(), "experiments[1].iteration.allocations");
    assert_eq!(error.rule(), "must be the experiment's own, since it is active");
    // Paused, the design may have moved on.
    assert!(edited(Status::Paused, |run| run["allocations"] = other.clone()).is_ok());
    // The order of arms is no difference.
    let reordered = json!([
        {"variation_id": "var_b", "weight": 50},
        {"variation_id": "var_a", "weight": 50, "is_control": true},
    ]);
    let snapshot = edited(Status::Active, |run| run["allocations"] = reordered.clone()).unwrap();
    assert_eq!(Snapshot::from_json(snapshot.to_json()).unwrap(), snapshot);
}

#[test]
fn configs_share_the_values_that_they_are_made_of() {
    // A hundred variations of a flag with a large default would else hold it a hundred times.
    let large = "x".repeat(1_000);
    let parameters: serde_json::Map<String, Value> =
        (0..10).map(|n| (format!("p{n}"), json!({"type": "string", "value": large}))).collect();
    let variations: Vec<Value> = (1..=9)
        .flat_map(|a| (1..=9).map(move |b| (a, b)))
        .map(|(a, b)| json!({"id": format!("var_{a}{b}"), "name": format!("number {a}{b}")}))
        .collect();
    let document = json!({
        "format": "variate/1",
        "flags": [{"id": "flg_a", "name": "Large", "parameters": parameters, "variations": variations}],
    });
    let snapshot = Snapshot::from_json(document.to_string()).unwrap();
    let flag = snapshot.flag("flg_a").unwrap();
    let default = flag.defaults().get("p3").unwrap();
    for variation in flag.variations().values() {
        assert!(std::ptr::eq(variation.config().get("p3").unwrap(), default));
    }
}

#[test]
fn a_flag_holds_its_names_and_its_defaults_once() {
    fn check(snapshot: &Snapshot) {
        for flag in snapshot.flags() {
            for variation in flag.variations().values() {
                for name in variation.overrides().keys() {
                    let own = flag.parameters().keys().find(|own| *own == name).unwrap();
                    assert!(Arc::ptr_eq(own, name), "{name} of {}", variation.id());
                }
                let shares = ptr::eq(variation.config(), flag.defaults());
                assert_eq!(shares, variation.overrides().is_empty(), "{}", variation.id());
            }
        }
    }
    let texts = |headline: &str| {
        let both = [("headline", headline), ("button", "Go")];
        BTreeMap::from(both.map(|(name, value)| (name.to_owned(), value.into())))
    };
    let control = NewVariation::new("Today").id(p("var_today"));
    let short = NewVariation::new("Short").id(p("var_short")).with("headline", "Hi");
    let mut new = NewFlag::new("Sign-in").id(p("flg_new")).variation(control).variation(short);
    new.parameters = texts("Welcome");
    let third = NewVariation::new("Third").id(p("var_third")).with("button", "Start");
    let fourth = NewVariation::new("Fourth").id(p("var_fourth"));
    let overrides = |own: &[(&str, &str)]| {
        let own = own.iter().map(|(name, value)| ((*name).to_owned(), json!(value)));
        VariationPatch::new().overrides(own.collect())
    };
    let steps: [Change; 7] = [
        new.into(),
        Change::create_variation(&p("flg_new"), third),
        Change::create_variation(&p("flg_new"), fourth),
        Change::patch_flag(&p("flg_new"), FlagPatch::new().parameters(texts("Good morning"))),
        Change::patch_variation(&p("var_today"), overrides(&[("headline", "Yes"), ("button", "")])),
        Change::patch_variation(&p("var_short"), overrides(&[])),
        Change::delete_variation(&p("var_third")),
    ];
    let mut snapshot = world();
    check(&snapshot);
    for step in steps {
        snapshot = ok(&snapshot, step);
        check(&snapshot);
        check(&Snapshot::from_json(snapshot.to_json()).unwrap());
    }
}

#[cfg(not(feature = "launchdarkly"))]
#[test]
fn a_hash_that_the_program_lacks_is_refused() {
    for hash in ["sha1-v1", "sha1-f32-v1"] {
        let own = format!(
            r#"{{"name": "Rollout", "flag_id": "flg_a", "strategy": "percentage", "hash": "{hash}"}}"#
        );
        let error = serde_json::from_str::<variate::NewExperiment>(&own).unwrap_err();
        assert!(error.to_string().contains("needs the feature launchdarkly"), "{error}");
        let document = format!(
            r#"{{"format": "variate/1", "experiments": [{{"id": "exp_a", "name": "Rollout",
                "flag_id": "flg_a", "strategy": "percentage", "allocations": [], "hash": "{hash}"}}]}}"#
        );
        let error = Snapshot::from_json(document).unwrap_err();
        let expected = (Code::FeatureMissing, "experiments[0].hash");
        assert_eq!((error.code(), error.path()), expected, "{error}");
    }
}
