//! Draws requests that make sense for what is held, each with the native changes that are the same.

mod experiments;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use variate::{
    Change, Experiment, Expression, Flag, FlagPatch, FlagStatus, NewFlag, NewSegment, NewVariation,
    Parameter, Rule, SegmentPatch, SegmentStatus, Snapshot, Variation, VariationPatch,
};

use crate::support::Dice;

/// One request, and the same natively: `None` when nothing is to happen.
pub(super) struct Step {
    pub method: &'static str,
    pub path: String,
    pub body: Value,
    pub changes: Option<Vec<Change>>,
    /// For what is drawn to be counted.
    pub kind: &'static str,
}

impl Step {
    fn new(
        kind: &'static str,
        method: &'static str,
        path: String,
        body: Map<String, Value>,
    ) -> Self {
        Self { method, path, body: body.into(), changes: None, kind }
    }

    fn with(self, changes: Vec<Change>) -> Self {
        Self { changes: Some(changes), ..self }
    }
}

pub(super) struct Draw<'d> {
    pub dice: &'d mut Dice,
    pub snapshot: &'d Snapshot,
    /// Whether drafts need an arm, and flags their last variation.
    pub seeds: bool,
}

impl Draw<'_> {
    pub(super) fn step(&mut self) -> Step {
        match self.dice.below(28) {
            0 | 1 => self.create_flag(),
            2..=4 => self.create_variation(),
            5 => self.create_segment(),
            6..=8 => self.create_experiment(),
            9..=13 => self.patch_experiment(),
            14..=17 => self.transition_experiment(),
            18 | 19 => self.patch_flag(),
            20 | 21 => self.patch_variation(),
            22 => self.patch_segment(),
            23 | 24 => self.advance(),
            _ => self.delete(),
        }
    }

    fn name(&mut self) -> String {
        format!("Name {}", self.dice.below(60))
    }

    fn flag(&mut self) -> &Flag {
        let all: Vec<_> = self.snapshot.flags().collect();
        all[self.dice.below(all.len())]
    }

    /// Mostly one that experiments can run on.
    fn ready_flag(&mut self) -> &Flag {
        let ready = |flag: &&Flag| flag.status() == FlagStatus::Active;
        let all: Vec<_> = self.snapshot.flags().filter(ready).collect();
        if all.is_empty() || self.dice.chance(20) {
            return self.flag();
        }
        all[self.dice.below(all.len())]
    }

    fn experiment(&mut self) -> Option<&Experiment> {
        let all: Vec<_> = self.snapshot.experiments().collect();
        (!all.is_empty()).then(|| all[self.dice.below(all.len())])
    }

    fn value(&mut self, like: &Value) -> Value {
        let number = self.dice.below(7);
        match like {
            Value::Bool(own) => json!(!own),
            Value::Number(_) => json!(1_000 + number),
            Value::Array(_) => json!([number, {"value": null}]),
            Value::Object(_) => match number {
                0 => json!({"value": {"deep": []}}),
                1 => json!({"value": 7}),
                _ => json!({"a": number}),
            },
            _ => json!(format!("text {number}")),
        }
    }

    /// As it can be sent: an envelope, or bare unless that would be taken for one.
    fn sent(&mut self, value: &Value) -> Value {
        let bare = !value.is_object() && self.dice.chance(50);
        if bare { value.clone() } else { json!({"value": value}) }
    }

    fn described(&mut self, body: &mut Map<String, Value>) -> Option<String> {
        let text = self.dice.chance(30).then(|| format!("About {}", self.dice.below(5)));
        if let Some(text) = &text {
            body.insert("description".to_owned(), json!(text));
        }
        text
    }

    /// A description set or cleared.
    fn redescribed(&mut self, body: &mut Map<String, Value>) -> Option<Option<String>> {
        match self.dice.below(4) {
            0 => self.described(body).map(Some),
            1 => {
                body.insert("description".to_owned(), Value::Null);
                Some(None)
            }
            _ => None,
        }
    }

    fn parameters(&mut self, kept: &[(String, Parameter)]) -> BTreeMap<String, Parameter> {
        let mut all: BTreeMap<_, _> = kept.iter().cloned().collect();
        let defaults = [json!("a"), json!(1), json!(true), json!([1]), json!({"b": 1})];
        for _ in 0..=self.dice.below(3) {
            let parameter = Parameter::new(self.dice.pick(&defaults).clone());
            let described = self.dice.chance(30);
            let parameter = if described { parameter.with_description("") } else { parameter };
            all.entry(format!("p{}", self.dice.below(5))).or_insert(parameter);
        }
        all
    }

    fn create_flag(&mut self) -> Step {
        let name = self.name();
        let parameters = self.parameters(&[]);
        let mut body = Map::new();
        body.insert("name".to_owned(), json!(name));
        body.insert("parameters".to_owned(), json!(parameters));
        let mut new = NewFlag::new(name);
        new.description = self.described(&mut body);
        new.parameters = parameters;
        Step::new("flag created", "POST", "/feature-flags".to_owned(), body).with(vec![new.into()])
    }

    fn create_variation(&mut self) -> Step {
        let (id, parameters) = {
            let flag = self.flag();
            (flag.id().clone(), flag.parameters().clone())
        };
        let (mut overrides, mut sent) = (BTreeMap::new(), Map::new());
        for (name, parameter) in &parameters {
            if self.dice.chance(40) {
                let value = self.value(parameter.value());
                sent.insert(name.to_string(), self.sent(&value));
                overrides.insert(name.to_string(), value);
            }
        }
        let mut new = NewVariation::new(self.name());
        let mut body = Map::new();
        body.insert("name".to_owned(), json!(new.name));
        body.insert("overrides".to_owned(), sent.into());
        new.description = self.described(&mut body);
        new.overrides = overrides;
        let path = format!("/feature-flags/{id}/variations");
        let change = Change::create_variation(&id, new);
        Step::new("variation created", "POST", path, body).with(vec![change])
    }

    fn rules(&mut self) -> Vec<Rule> {
        // In the order in which a map of `serde_json` has them, since rules keep theirs.
        let attributes = ["a b", "country", "platform"];
        let rule = |dice: &mut Dice| {
            let mut rule = Rule::new();
            let forms = [
                Expression::one_of(["DE", "AT"]),
                Expression::contains(["a"]),
                Expression::starts_with(["b", ""]),
                Expression::ends_with(["c"]),
                Expression::Exists(dice.chance(50)),
            ];
            for attribute in &attributes[..=dice.below(3)] {
                let form = dice.pick(&forms).clone();
                rule = match dice.chance(70) {
                    true => rule.when(*attribute, form),
                    false => rule.unless(*attribute, form),
                };
            }
            rule
        };
        (0..=self.dice.below(3)).map(|_| rule(self.dice)).collect()
    }

    fn create_segment(&mut self) -> Step {
        let mut new = NewSegment::new(self.name());
        new.rules = self.rules();
        let mut body = Map::new();
        body.insert("name".to_owned(), json!(new.name));
        body.insert("rules".to_owned(), json!(new.rules));
        new.description = self.described(&mut body);
        Step::new("segment created", "POST", "/segments".to_owned(), body).with(vec![new.into()])
    }

    fn patch_flag(&mut self) -> Step {
        let flag = self.flag().clone();
        let id = flag.id().clone();
        let (mut patch, mut body) = (FlagPatch::new(), Map::new());
        if self.dice.chance(40) {
            patch.name = Some(self.name());
            body.insert("name".to_owned(), json!(patch.name));
        }
        match self.redescribed(&mut body) {
            Some(Some(text)) => patch = patch.description(text),
            Some(None) => patch = patch.clear_description(),
            None => {}
        }
        if self.dice.chance(30) {
            let kept: Vec<_> =
                flag.parameters().iter().map(|(k, v)| (k.to_string(), v.clone())).collect();
            let count = if self.dice.chance(80) { kept.len() } else { self.dice.below(3) };
            let parameters = self.parameters(&kept[..count.min(kept.len())]);
            body.insert("parameters".to_owned(), json!(parameters));
            patch = patch.parameters(parameters);
        }
        let moves = body.is_empty() || self.dice.chance(10);
        let mut changes = vec![Change::patch_flag(&id, patch)];
        let archives = self.dice.chance(if flag.status() == FlagStatus::Draft { 10 } else { 30 });
        let status = if archives { FlagStatus::Archived } else { FlagStatus::Active };
        let change = Change::set_flag_status(&id, status);
        if body.is_empty() && self.dice.chance(50) {
            body.insert("status".to_owned(), json!(status));
            let path = format!("/feature-flags/{id}/status");
            return Step::new("flag moved", "POST", path, body).with(vec![change]);
        }
        if moves {
            body.insert("status".to_owned(), json!(status));
            changes.push(change);
        }
        Step::new("flag patched", "PATCH", format!("/feature-flags/{id}"), body).with(changes)
    }

    fn patch_variation(&mut self) -> Step {
        let flag = self.flag().clone();
        let all: Vec<&Variation> = flag.variations().values().collect();
        if all.is_empty() {
            return self.create_variation();
        }
        let variation = all[self.dice.below(all.len())];
        let (mut patch, mut body) = (VariationPatch::new(), Map::new());
        if self.dice.chance(30) {
            patch.name = Some(self.name());
            body.insert("name".to_owned(), json!(patch.name));
        }
        match self.redescribed(&mut body) {
            Some(Some(text)) => patch = patch.description(text),
            Some(None) => patch = patch.clear_description(),
            None => {}
        }
        if body.is_empty() || self.dice.chance(60) {
            let own = variation.overrides().iter();
            let mut merged: BTreeMap<String, Value> =
                own.map(|(name, value)| (name.to_string(), Value::clone(value))).collect();
            let mut sent = Map::new();
            for (name, parameter) in flag.parameters() {
                match self.dice.below(4) {
                    0 => {
                        sent.insert(name.to_string(), Value::Null);
                        merged.remove(&**name);
                    }
                    1 => {
                        let value = self.value(parameter.value());
                        sent.insert(name.to_string(), self.sent(&value));
                        merged.insert(name.to_string(), value);
                    }
                    _ => {}
                }
            }
            if sent.is_empty() {
                merged.clear();
            }
            let clears = sent.is_empty() && self.dice.chance(50);
            let sent = if clears { Value::Null } else { sent.into() };
            body.insert("overrides".to_owned(), sent);
            patch = patch.overrides(merged);
        }
        let path = format!("/feature-flags/{}/variations/{}", flag.id(), variation.id());
        let change = Change::patch_variation(variation.id(), patch);
        Step::new("variation patched", "PATCH", path, body).with(vec![change])
    }

    fn patch_segment(&mut self) -> Step {
        let all: Vec<_> = self.snapshot.segments().map(|s| s.id().clone()).collect();
        if all.is_empty() {
            return self.create_segment();
        }
        let id = self.dice.pick(&all).clone();
        let (mut patch, mut body) = (SegmentPatch::new(), Map::new());
        if self.dice.chance(50) {
            patch.name = Some(self.name());
            body.insert("name".to_owned(), json!(patch.name));
        }
        match self.redescribed(&mut body) {
            Some(Some(text)) => patch = patch.description(text),
            Some(None) => patch = patch.clear_description(),
            None => {}
        }
        if self.dice.chance(40) {
            let rules = self.rules();
            body.insert("rules".to_owned(), json!(rules));
            patch = patch.rules(rules);
        }
        let mut changes = vec![Change::patch_segment(&id, patch)];
        if body.is_empty() || self.dice.chance(10) {
            body.insert("status".to_owned(), json!("archived"));
            changes.push(Change::set_segment_status(&id, SegmentStatus::Archived));
        }
        Step::new("segment patched", "PATCH", format!("/segments/{id}"), body).with(changes)
    }

    fn delete(&mut self) -> Step {
        let absent = self.dice.chance(20);
        let step = |path: String| Step::new("deleted", "DELETE", path, Map::new());
        match self.dice.below(4) {
            _ if absent => step("/experiments/exp_none".to_owned()),
            0 => match self.experiment().map(|e| e.id().clone()) {
                Some(id) => {
                    step(format!("/experiments/{id}")).with(vec![Change::delete_experiment(&id)])
                }
                None => step("/segments/seg_none".to_owned()),
            },
            1 => {
                // One flag stays, so that there is always something to draw from.
                if self.snapshot.flags().count() == 1 {
                    return step("/feature-flags/flg_none".to_owned());
                }
                let id = self.flag().id().clone();
                step(format!("/feature-flags/{id}")).with(vec![Change::delete_flag(&id)])
            }
            2 => {
                let flag = self.flag().clone();
                let all: Vec<_> = flag.variations().keys().cloned().collect();
                let path = format!("/feature-flags/{}/variations", flag.id());
                if all.is_empty() || self.seeds && all.len() == 1 {
                    return step(format!("{path}/var_none"));
                }
                let id = self.dice.pick(&all);
                step(format!("{path}/{id}")).with(vec![Change::delete_variation(id)])
            }
            _ => {
                let all: Vec<_> = self.snapshot.segments().map(|s| s.id().clone()).collect();
                if all.is_empty() {
                    return step("/segments/seg_none".to_owned());
                }
                let id = self.dice.pick(&all);
                step(format!("/segments/{id}")).with(vec![Change::delete_segment(id)])
            }
        }
    }
}
