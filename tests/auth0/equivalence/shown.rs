//! What the surface is to show of a snapshot, worked out from its document.

use serde_json::{Map, Value, json};
use variate::api::auth0::Generation;
use variate::{Snapshot, Variation};

use crate::support::shown_override;

/// Renders the entities of one snapshot.
pub(super) struct Shown<'s> {
    generation: Generation,
    snapshot: &'s Snapshot,
    document: Value,
}

/// The members of an object that are there.
fn some<const N: usize>(members: [(&str, Option<Value>); N]) -> Map<String, Value> {
    members.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

impl<'s> Shown<'s> {
    pub(super) fn new(generation: Generation, snapshot: &'s Snapshot) -> Self {
        let document = serde_json::from_str(&snapshot.to_json()).unwrap();
        Self { generation, snapshot, document }
    }

    fn is_early(&self) -> bool {
        self.generation == Generation::EarlyAccess
    }

    fn find(&self, kind: &str, id: &str) -> Option<&Value> {
        self.document[kind].as_array()?.iter().find(|entity| entity["id"] == id)
    }

    fn find_variation(&self, id: &str) -> Option<(&Value, &Value)> {
        let flags = self.document["flags"].as_array()?.iter();
        let mut all = flags.flat_map(|flag| {
            flag["variations"].as_array().unwrap().iter().map(move |variation| (flag, variation))
        });
        all.find(|(_, variation)| variation["id"] == id)
    }

    /// Every path of an entity, and what is to be seen there.
    pub(super) fn everything(&self) -> Vec<(String, Value)> {
        let mut all = Vec::new();
        let of = |kind: &str| self.document[kind].as_array().into_iter().flatten();
        for flag in of("flags") {
            let path = format!("/feature-flags/{}", flag["id"].as_str().unwrap());
            for variation in flag["variations"].as_array().unwrap() {
                let id = variation["id"].as_str().unwrap();
                all.push((format!("{path}/variations/{id}"), self.variation(id)));
            }
            all.push((path, self.flag(flag["id"].as_str().unwrap())));
        }
        for segment in of("segments") {
            let id = segment["id"].as_str().unwrap();
            all.push((format!("/segments/{id}"), self.segment(id)));
        }
        for experiment in of("experiments") {
            let id = experiment["id"].as_str().unwrap();
            all.push((format!("/experiments/{id}"), self.experiment(id)));
        }
        all
    }

    pub(super) fn flag(&self, id: &str) -> Value {
        let mut shown = self.find("flags", id).unwrap().clone();
        let members = shown.as_object_mut().unwrap();
        members.remove("variations");
        members.remove("version");
        members.insert("type".to_owned(), json!("self"));
        shown
    }

    pub(super) fn variation(&self, id: &str) -> Value {
        let (flag, variation) = self.find_variation(id).unwrap();
        let mut shown = variation.clone();
        let members = shown.as_object_mut().unwrap();
        members.remove("version");
        members.insert("feature_flag_id".to_owned(), flag["id"].clone());
        for value in members["overrides"].as_object_mut().unwrap().values_mut() {
            *value = shown_override(self.is_early(), value);
        }
        shown
    }

    pub(super) fn segment(&self, id: &str) -> Value {
        let mut shown = self.find("segments", id).unwrap().clone();
        let members = shown.as_object_mut().unwrap();
        members.remove("version");
        members.insert("type".to_owned(), json!("self"));
        if !self.is_early() {
            members.remove("status");
        }
        shown
    }

    pub(super) fn experiment(&self, id: &str) -> Value {
        let own = self.find("experiments", id).unwrap();
        let get = |key: &str| own.get(key).cloned();
        let run = |key: &str| own["iteration"].get(key).cloned();
        let ready = self.snapshot.readiness(id).unwrap().is_ready();
        let arms = own["allocations"].as_array().unwrap().iter();
        let mut shown = some([
            ("id", get("id")),
            ("name", get("name")),
            ("description", get("description")),
            ("feature_flag_id", get("flag_id")),
            ("authentication_flow", get("flow")),
            ("allocation_strategy", get("strategy")),
            ("status", get("status")),
            ("is_valid", Some(json!(ready))),
            ("allocations", Some(arms.map(|arm| self.allocation(own, arm)).collect())),
            ("started_at", run("started_at")),
            ("ended_at", run("ended_at")),
            ("created_at", get("created_at")),
            ("updated_at", get("updated_at")),
        ]);
        if self.is_early() {
            let held = self.snapshot.experiment(id).unwrap();
            let frozen = held.iteration().flag();
            let name = frozen.map(|flag| json!(flag.name()));
            let flag = self.find("flags", own["flag_id"].as_str().unwrap());
            let name = flag.map(|flag| flag["name"].clone()).or(name);
            let level = get("traffic").filter(|_| get("levels").is_some());
            shown.extend(some([
                ("feature_flag_name", name),
                ("levels", get("levels")),
                ("current_level", level.filter(|_| run("started_at").is_some())),
                (
                    "feature_flag_snapshot",
                    frozen.map(|f| json!({"name": f.name(), "parameters": f.parameters()})),
                ),
                ("editable_fields", Some(editable(own))),
            ]));
        } else {
            shown.extend(some([("assignment_config", Some(json!({"subject": "device"})))]));
        }
        Value::Object(shown)
    }

    fn allocation(&self, experiment: &Value, arm: &Value) -> Value {
        let mut shown = arm.as_object().unwrap().clone();
        if experiment["strategy"] == "segment" {
            let fallback = arm.get("is_fallback").cloned().unwrap_or(json!(false));
            shown.insert("is_fallback".to_owned(), fallback);
        }
        if self.is_early() {
            let held = self.snapshot.experiment(experiment["id"].as_str().unwrap()).unwrap();
            let id = arm["variation_id"].as_str().unwrap();
            // Of the arms that the run rests on: another may have come while it is paused.
            let mut arms = held.iteration().allocations().unwrap_or_default().iter();
            let flag = held.iteration().flag().filter(|_| arms.any(|arm| arm.variation_id == id));
            let frozen = flag.and_then(|flag| flag.variations().get(id));
            let named = self.find_variation(id).map(|(_, variation)| variation["name"].clone());
            let segment = arm.get("segment_id").and_then(Value::as_str);
            let rests_on =
                segment.and_then(|id| held.iteration().segments().find(|s| *s.id() == id));
            let segment_named =
                segment.and_then(|id| Some(self.find("segments", id)?["name"].clone()));
            shown.extend(some([
                ("variation_name", named.or(frozen.map(|v| json!(v.name())))),
                ("variation_snapshot", frozen.map(snapshot_of)),
                ("segment_name", segment_named.or(rests_on.map(|s| json!(s.name())))),
                (
                    "segment_snapshot",
                    rests_on.map(|s| json!({"name": s.name(), "rules": s.rules()})),
                ),
            ]));
        }
        Value::Object(shown)
    }
}

fn snapshot_of(variation: &Variation) -> Value {
    let entries = variation.overrides().iter();
    let shown = entries.map(|(key, value)| (key.to_string(), shown_override(true, value)));
    json!({"name": variation.name(), "overrides": Value::Object(shown.collect())})
}

/// In no order that anyone is promised; see [`settle`].
fn editable(experiment: &Value) -> Value {
    let mut fields = match experiment["status"].as_str().unwrap() {
        "draft" => {
            vec!["allocations", "authentication_flow", "description", "levels", "name", "status"]
        }
        "paused" => vec!["allocations", "description", "name", "status"],
        "archived" => vec![],
        _ => vec!["description", "name", "status"],
    };
    fields.retain(|field| *field != "levels" || experiment["strategy"] == "percentage");
    json!(fields)
}

/// A shown entity with the one list in it that has no order put in order.
pub(super) fn settle(mut shown: Value) -> Value {
    if let Some(fields) = shown.get_mut("editable_fields").and_then(Value::as_array_mut) {
        fields.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    }
    shown
}
