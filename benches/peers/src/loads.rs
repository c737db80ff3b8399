//! The workloads on a whole configuration: all of it for one subject, loading it, changing it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde_json::Value;
use variate::{ExperimentId, Reader, Scratch, Subject};

use crate::assignments::IDS;
use crate::check::{Expected, check, check_arms};
use crate::engines::variate::{Variate, arm_of, assign_all, reweigh};
use crate::engines::{Engine, Visitor, each};
use crate::measure::Contender;
use crate::world::{Split, World, key};

/// How many experiments a peer's edits go round.
const EDITS: usize = 16;

/// How many commits an engine sees before it begins anew, so that experiments do not grow old.
const COMMITS: u64 = 1_000;

/// Every experiment for one subject.
pub fn all(world: World) -> Vec<Contender> {
    let mut engines = AssigningAll { world, contenders: Vec::new() };
    each(&mut engines);
    engines.contenders
}

struct AssigningAll {
    world: World,
    contenders: Vec<Contender>,
}

impl Visitor for AssigningAll {
    fn visit<E: Engine>(&mut self) {
        if E::NAME == Variate::NAME {
            self.contenders.push(all_by_variate(self.world));
            return;
        }
        let engine: &'static E = Box::leak(Box::new(E::load(&E::text(&self.world))));
        let subjects: Vec<E::Subject> = IDS.iter().map(|id| engine.subject(id, None)).collect();
        let keys = self.world.keys();
        let mut next = 0;
        self.contenders.push(Contender::new(E::NAME, move || {
            next = (next + 1) % subjects.len();
            engine.assign_all(black_box(&keys), black_box(&subjects[next]));
        }));
    }
}

fn all_by_variate(world: World) -> Contender {
    let variate: &'static Variate = Box::leak(Box::new(Variate::load(&Variate::text(&world))));
    let (snapshot, mut scratch) = (variate.snapshot(), Scratch::new());
    let decisions = snapshot.assign_all(&Subject::new("device-1"), &mut scratch).count();
    assert_eq!(decisions, world.experiments, "variate: not every experiment");
    let mut next = 0;
    Contender::new(Variate::NAME, move || {
        next = (next + 1) % IDS.len();
        assign_all(snapshot, black_box(&IDS[next]), &mut scratch);
    })
}

/// A configuration from its text.
pub fn load(world: World) -> Vec<Contender> {
    let text = Variate::text(&world);
    let value = move || serde_json::from_str::<Value>(black_box(&text)).expect("JSON");
    let mut engines =
        Loading { world, contenders: vec![Contender::making("serde_json_value", value)] };
    each(&mut engines);
    engines.contenders
}

struct Loading {
    world: World,
    contenders: Vec<Contender>,
}

impl Visitor for Loading {
    fn visit<E: Engine>(&mut self) {
        let text = E::text(&self.world);
        self.contenders.push(Contender::making(E::NAME, move || E::load(black_box(&text))));
    }
}

/// One experiment's new weights, until they are visible to readers.
pub fn update(world: World) -> Vec<Contender> {
    let mut engines = Updating { world, contenders: vec![commit(world)] };
    each(&mut engines);
    engines.contenders
}

struct Updating {
    world: World,
    contenders: Vec<Contender>,
}

impl Visitor for Updating {
    fn visit<E: Engine>(&mut self) {
        if E::NAME == Variate::NAME {
            return;
        }
        let world = self.world;
        let numbers = (0..EDITS).map(|edit| edit * world.experiments / EDITS);
        let uneven = numbers.clone().map(|number| E::edit(&world, number));
        let even = numbers.map(|number| E::edit_back(&world, number));
        let edits: Vec<String> = uneven.chain(even).collect();
        check_updates::<E>(world, &edits[0], &edits[EDITS]);
        let (mut engine, mut next) = (E::load(&E::text(&world)), 0);
        self.contenders.push(Contender::new(E::NAME, move || {
            engine.update(black_box(&edits[next]));
            next = (next + 1) % edits.len();
        }));
    }
}

/// After an edit the experiment has its new weights and another one the old; after both, the old.
fn check_updates<E: Engine>(world: World, edit: &str, back: &str) {
    let edited = |edits: &[&str]| -> &'static E {
        let mut engine = E::load(&E::text(&world));
        for edit in edits {
            engine.update(edit);
        }
        Box::leak(Box::new(engine))
    };
    let shares = |engine: &'static E, number: usize, weights| {
        let subjects: Vec<E::Subject> = IDS.iter().map(|id| engine.subject(id, None)).collect();
        check(engine, &[key(number)], &subjects, Expected::Shares(weights));
    };
    let (even, uneven) = (world.weights(0), world.edited(0).weights(0));
    let engine = edited(&[edit]);
    shares(engine, 0, uneven);
    shares(engine, 1, even);
    shares(edited(&[edit, back]), 0, even);
}

/// This crate alone: a commit, until a reader has it.
pub fn commit(world: World) -> Contender {
    let world = World { split: Split::Even, ..world };
    let variate = Variate::load(&Variate::text(&world));
    let ids: Vec<ExperimentId> =
        world.keys().iter().map(|key| key.parse().expect("an id")).collect();
    check_commit(&variate, &ids);
    let mut next = 0;
    Contender::timed(Variate::NAME, move |mut calls| {
        let mut elapsed = Duration::ZERO;
        while calls > 0 {
            let engine = variate::Engine::from_snapshot(variate.snapshot().clone());
            let mut reader = engine.reader();
            let commits = calls.min(COMMITS);
            let start = Instant::now();
            for _ in 0..commits {
                next = (next + 1) % ids.len();
                commit_one(&engine, &ids[next], next);
                black_box(reader.snapshot());
            }
            elapsed += start.elapsed();
            calls -= commits;
        }
        elapsed
    })
}

fn commit_one(engine: &variate::Engine, id: &ExperimentId, number: usize) {
    engine.commit(reweigh(id, number, [60, 40])).expect("a commit");
}

fn check_commit(variate: &Variate, ids: &[ExperimentId]) {
    let engine = variate::Engine::from_snapshot(variate.snapshot().clone());
    let mut reader = engine.reader();
    let arms = |reader: &mut Reader| -> Vec<usize> {
        let snapshot = reader.snapshot();
        let arm = |id: &String| arm_of(&snapshot.assign(&ids[0], &Subject::new(id)));
        IDS.iter().map(|id| arm(id).expect("an arm")).collect()
    };
    check_arms(Variate::NAME, &arms(&mut reader), Expected::Shares(&[50, 50]));
    commit_one(&engine, &ids[0], 0);
    check_arms(Variate::NAME, &arms(&mut reader), Expected::Shares(&[60, 40]));
}
