//! Any sequence of valid requests through the surface equals the same changes through the native
//! API: two engines with one clock and the same source of ids, of which one is told by requests and
//! the other by [`Change`](variate::Change)s, hold the same document after every step, accept and
//! refuse the same, and what the surface shows is what the other holds.

mod draw;
mod shown;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use draw::{Draw, Step};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::Value;
use shown::{Shown, settle};
use variate::{ActiveLimit, Change, Engine, SettingsPatch, Timestamp, Transaction};

use crate::support::{Answer, Api, Dice, GENERATIONS, spread, world};

struct Twins {
    api: Api,
    native: Engine,
    clock: Arc<AtomicI64>,
    /// The next id of each, put to the same before each step: a refusal may have drawn some.
    drawn: [Arc<AtomicU64>; 2],
}

/// How often each kind of step was accepted and refused.
type Tally = BTreeMap<&'static str, [usize; 2]>;

impl Twins {
    fn new(seed: u64) -> Self {
        let dice = &mut Dice(seed);
        let clock = Arc::new(AtomicI64::new(world().updated_at().unix_millis()));
        let drawn = [Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0))];
        let engine = |drawn: &Arc<AtomicU64>| {
            let (clock, drawn) = (Arc::clone(&clock), Arc::clone(drawn));
            Engine::with(
                world(),
                move || Timestamp::from_unix_millis(clock.load(Ordering::Relaxed)).unwrap(),
                move || spread(drawn.fetch_add(1, Ordering::Relaxed)),
            )
        };
        let api = Api::on(engine(&drawn[0]), *dice.pick(&GENERATIONS));
        let native = engine(&drawn[1]);
        let limit = match dice.chance(60) {
            true => ActiveLimit::Unlimited,
            false => *dice.pick(ActiveLimit::ALL),
        };
        for engine in [api.engine(), &native] {
            let patch = SettingsPatch::new().active_limit(limit);
            engine.commit(Change::patch_settings(patch)).unwrap();
        }
        Self { api, native, clock, drawn }
    }

    fn take(&self, seed: u64, tally: &mut Tally) -> Result<(), TestCaseError> {
        let dice = &mut Dice(seed);
        self.clock.fetch_add(*dice.pick(&[0, 1, 1_000]), Ordering::Relaxed);
        for drawn in &self.drawn {
            drawn.store(seed, Ordering::Relaxed);
        }
        let before = self.native.snapshot();
        let step = Draw { dice, snapshot: &before, seeds: self.api.is_seeds() }.step();
        let answer = if step.body == Value::Object(serde_json::Map::new()) {
            self.api.request(step.method, &step.path, &[], Vec::new())
        } else {
            self.api.call(step.method, &step.path, &step.body)
        };
        let told = format!("{} {} {}: {}", step.method, step.path, step.body, answer.body);
        let commit =
            step.changes.clone().map(|changes| self.native.commit(Transaction::from(changes)));
        let refusal = commit.and_then(|commit| commit.err());
        prop_assert_eq!(answer.accepted(), refusal.is_none(), "{} but {:?}", told, refusal);
        let (ours, theirs) = (self.api.engine().to_json(), self.native.to_json());
        let parts = ours.lines().zip(theirs.lines()).find(|(ours, theirs)| ours != theirs);
        prop_assert!(ours == theirs, "{}: {:?}", told, parts);
        let counts = tally.entry(step.kind).or_default();
        counts[usize::from(!answer.accepted())] += 1;
        if answer.accepted() {
            let after = self.native.snapshot();
            let shown = Shown::new(self.api.generation, &after);
            prop_assert_eq!(
                settle(answer.body.clone()),
                expected(&step, &answer, &shown),
                "{}",
                told
            );
            if step.kind == "ramp advanced" {
                let id = answer.body["experiment_id"].as_str().unwrap();
                let level = before.experiment(id).unwrap().current_level();
                prop_assert_eq!(&answer.body["from_level"], &serde_json::json!(level), "{}", told);
            }
        }
        Ok(())
    }

    /// Every entity, one by one, and what `validate` says.
    fn compare_all(&self) -> Result<(), TestCaseError> {
        let held = self.native.snapshot();
        for (path, expected) in Shown::new(self.api.generation, &held).everything() {
            prop_assert_eq!(settle(self.api.get(&path).ok()), expected, "{}", path);
        }
        for experiment in held.experiments() {
            let path = format!("/experiments/{}/validate", experiment.id());
            let verdict = self.api.post(&path, &Value::Null).ok();
            let readiness = held.readiness(experiment.id()).unwrap();
            prop_assert_eq!(&verdict["errors"], &serde_json::json!(readiness.violations()));
        }
        Ok(())
    }
}

/// What the answer to a step is to be.
fn expected(step: &Step, answer: &Answer, shown: &Shown<'_>) -> Value {
    if step.method == "DELETE" {
        return Value::Null;
    }
    if step.kind == "ramp advanced" {
        let level = &step.body["target_level"];
        let id = step.path.split('/').nth(2).unwrap();
        let from = &answer.body["from_level"];
        return serde_json::json!({
            "experiment_id": id, "from_level": from, "to_level": level, "current_level": level
        });
    }
    let id = answer.body["id"].as_str().unwrap();
    if step.method == "PATCH" {
        assert_eq!(step.path.rsplit('/').next(), Some(id));
    }
    match &id[..4] {
        "flg_" => shown.flag(id),
        "var_" => shown.variation(id),
        "seg_" => shown.segment(id),
        _ => shown.experiment(id),
    }
}

#[test]
fn requests_equal_native_changes() {
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..Default::default()
    });
    let tally = std::cell::RefCell::new(Tally::new());
    let sequences = (any::<u64>(), vec(0..u64::MAX / 2, 1..100));
    let outcome = runner.run(&sequences, |(seed, steps)| {
        let twins = Twins::new(seed);
        for step in steps {
            twins.take(step, &mut tally.borrow_mut())?;
        }
        twins.compare_all()
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    // What is drawn is accepted often enough, of every kind, for the law to say something.
    let tally = tally.borrow();
    assert_eq!(tally.len(), 12, "{tally:?}");
    assert!(tally.values().all(|[accepted, refused]| accepted * 4 > *refused), "{tally:?}");
}
