//! All instructions are carried out, or none.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use crate::support::{Api, save_and_start, stop_with, treatment, update};

/// Instructions that a running experiment takes at any time, and after which it runs.
fn valid() -> Vec<Value> {
    vec![
        json!({"kind": "updateName", "value": "Another name"}),
        json!({"kind": "updateDescription", "value": "Another description"}),
        update("name", "update", Some(json!("A third name"))),
        update("description", "remove", None),
        update("tags", "add", Some(json!(["three"]))),
        update("tags", "update", Some(json!(["four"]))),
        update("metrics", "add", Some(json!([{"key": "errors"}]))),
        update("attributes", "add", Some(json!(["device"]))),
        json!({"kind": "saveAndStartNewIteration"}),
        save_and_start("hypothesis", "update", Some(json!("Anew"))),
        save_and_start("treatments", "add", Some(json!([treatment("var_d", "5", false)]))),
        json!({"kind": "restoreExperiment"}),
    ]
}

/// Instructions that no running experiment takes, with status and the rest of the attribute.
fn bad() -> Vec<(Value, u16, &'static str)> {
    let over = [treatment("var_a", "60", true), treatment("var_b", "60", false)];
    vec![
        (json!({"kind": "explode"}), 422, ".kind"),
        (json!({"kind": "updateName", "value": ""}), 400, ".name"),
        (json!({"kind": "updateName"}), 400, ".value"),
        (json!({"kind": "archiveExperiment"}), 400, ".kind"),
        (json!({"kind": "startIteration"}), 400, ".changeJustification"),
        (json!({"kind": "startIteration", "changeJustification": "No draft"}), 400, ".kind"),
        (json!({"kind": "stopIteration"}), 400, ".winningTreatmentId"),
        (stop_with("var_none"), 400, ".winningTreatmentId"),
        (update("hypothesis", "update", Some(json!("No"))), 400, ".value.hypothesis"),
        (update("unknown", "update", Some(json!("No"))), 400, ".value.unknown"),
        (update("tags", "add", Some(json!([""]))), 400, ".tags[3]"),
        (update("maintainerId", "update", Some(json!(""))), 400, ".maintainerId"),
        (
            update("metrics", "add", Some(json!([{"key": "errors"}, {"key": "none"}]))),
            404,
            ".value.metrics[1].key",
        ),
        (save_and_start("treatments", "update", Some(json!(over))), 400, ".treatments"),
        (
            save_and_start("primarySingleMetricKey", "update", Some(json!("no"))),
            404,
            ".value.primarySingleMetricKey",
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn one_bad_instruction_undoes_them_all(
        list in proptest::collection::vec(select(valid()), 0..6),
        (bad, status, attribute) in select(bad()),
        place in any::<prop::sample::Index>(),
    ) {
        let api = Api::new();
        api.run("cta");
        let index = place.index(list.len() + 1);
        let mut with_bad = list.clone();
        with_bad.insert(index, bad);
        let before = (api.engine().to_json(), api.event_count());
        let answer = api.patch("cta", json!(with_bad));
        let start = format!("instructions[{index}]");
        prop_assert!(answer.status == status, "{answer:?}");
        prop_assert!(answer.attribute().starts_with(&start), "{answer:?}");
        if attribute != ".tags[3]" {
            prop_assert_eq!(answer.attribute(), format!("{start}{attribute}"));
        }
        prop_assert_eq!(&(api.engine().to_json(), api.event_count()), &before);
        // The others by themselves are all right, and it is one event at most.
        if !list.is_empty() {
            api.patch("cta", json!(list)).ok();
            prop_assert!(api.event_count() <= before.1 + 1);
        }
    }
}

#[test]
fn a_field_that_does_not_change_now_is_refused_with_what_does() {
    let api = Api::new();
    api.create("cta");
    let check = |instruction: Value, attribute: &str, names: &[&str]| {
        let answer = api.patch("cta", json!([instruction]));
        answer.refused(400, "invalid_request", &format!("instructions[0].value.{attribute}"));
        for name in names {
            answer.naming(name);
        }
        answer.naming(&format!("value.{attribute}"));
    };
    let add = update("name", "add", Some(json!("No")));
    check(
        add,
        "name",
        &["does not take add", "not_started", "name (update)", "tags (add, update, remove)"],
    );
    api.start("cta");
    let unit = update("randomizationUnit", "update", Some(json!("device")));
    check(unit, "randomizationUnit", &["update", "running", "metrics (add)", "attributes (add)"]);
    api.stop("cta");
    let more = update("metrics", "add", Some(json!([{"key": "errors"}])));
    check(more, "metrics", &["add", "stopped", "maintainerId (update)"]);
}
