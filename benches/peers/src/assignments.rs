//! The workloads whose unit is one assignment.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::LazyLock;

use variate::hash::{Draw, draw_seed, point, subject_hash};
use variate::{Batch, Outcome, Subject};

use crate::check::{Expected, check, check_arms};
use crate::engines::variate::{Variate, arm_of};
use crate::engines::{Engine, Visitor, each};
use crate::measure::Contender;
use crate::world::{Facts, World, subject_ids};

/// The ids of all subjects, for as long as the program runs.
pub static IDS: LazyLock<Vec<String>> = LazyLock::new(subject_ids);

/// Goes round a list.
struct Round {
    next: usize,
    len: usize,
}

impl Round {
    const fn new(len: usize) -> Self {
        Self { next: 0, len }
    }

    fn next(&mut self) -> usize {
        let now = self.next;
        self.next = if now + 1 == self.len { 0 } else { now + 1 };
        now
    }
}

/// One assignment by every engine, and the floor.
pub fn by_key(world: World, facts: Option<Facts>, expected: Expected) -> Vec<Contender> {
    by_keys(world, Vec::leak(world.scattered_keys()), facts, expected)
}

/// All contenders ask by the same texts, so that where these lie makes no difference.
fn by_keys(
    world: World,
    keys: &'static [String],
    facts: Option<Facts>,
    expected: Expected,
) -> Vec<Contender> {
    let facts = facts.map(|facts| &*Box::leak(Box::new(facts)));
    let mut engines = Assigning { world, facts, keys, expected, contenders: vec![floor()] };
    each(&mut engines);
    engines.contenders
}

/// The same with what a look-up in a bare map costs beside the floor.
pub fn among(world: World, expected: Expected) -> Vec<Contender> {
    let keys: &[String] = Vec::leak(world.scattered_keys());
    let mut contenders = by_keys(world, keys, None, expected);
    let numbers = || world.keys().into_iter().zip(0_u32..);
    let (map, other): (HashMap<_, _>, hashbrown::HashMap<_, _>) =
        (numbers().collect(), numbers().collect());
    contenders.push(looked_up("map", keys, move |key| map.get(key).copied()));
    contenders.push(looked_up("hashbrown_map", keys, move |key| other.get(key).copied()));
    contenders
}

struct Assigning {
    world: World,
    facts: Option<&'static Facts>,
    keys: &'static [String],
    expected: Expected,
    contenders: Vec<Contender>,
}

impl Visitor for Assigning {
    fn visit<E: Engine>(&mut self) {
        if self.world.experiments > 1 && !E::ASSIGNS_ONE {
            return;
        }
        let engine: &'static E = Box::leak(Box::new(E::load(&E::text(&self.world))));
        let subjects: Vec<E::Subject> =
            IDS.iter().map(|id| engine.subject(id, self.facts)).collect();
        check(engine, self.keys, &subjects, self.expected);
        let keys = self.keys;
        let (mut key, mut subject) = (Round::new(keys.len()), Round::new(subjects.len()));
        let assign = move || {
            let (key, subject) = (&keys[key.next()], &subjects[subject.next()]);
            black_box(&engine.assign(black_box(key), black_box(subject)));
        };
        let contender = Contender::new(E::NAME, assign).going_round(self.world.experiments);
        self.contenders.push(contender);
    }
}

/// One hash of the subject's id, and one of eight bytes.
fn floor() -> Contender {
    let seed = draw_seed("exp_a", Draw::Variation);
    let mut subject = Round::new(IDS.len());
    let ids: &'static [String] = &IDS;
    Contender::new("floor", move || {
        let id = &ids[subject.next()];
        black_box(point(subject_hash(black_box(id)), black_box(seed)));
    })
}

/// The floor and a look-up.
fn looked_up(
    name: &'static str,
    keys: &'static [String],
    look_up: impl Fn(&str) -> Option<u32> + 'static,
) -> Contender {
    let seed = draw_seed("exp_a", Draw::Variation);
    let (mut key, mut subject) = (Round::new(keys.len()), Round::new(IDS.len()));
    let (ids, experiments): (&'static [String], _) = (&IDS, keys.len());
    let assign = move || {
        let (key, id) = (&keys[key.next()], &ids[subject.next()]);
        let found = look_up(black_box(key));
        black_box((found, point(subject_hash(black_box(id)), black_box(seed))));
    };
    Contender::new(name, assign).going_round(experiments)
}

/// This crate's plan of one experiment, held by the caller.
pub fn held(world: World) -> Vec<Contender> {
    let variate: &'static Variate = Box::leak(Box::new(Variate::load(&Variate::text(&world))));
    let plan = variate.snapshot().plan(&world.keys()[0]).expect("the experiment");
    let arm = |id: &String| arm_of(&plan.assign(&Subject::new(id))).expect("an arm");
    check_arms(
        Variate::NAME,
        &IDS.iter().map(arm).collect::<Vec<_>>(),
        Expected::Shares(world.weights(0)),
    );
    let mut subject = Round::new(IDS.len());
    let ids: &'static [String] = &IDS;
    let held = Contender::new(Variate::NAME, move || {
        black_box(&plan.assign(&Subject::new(black_box(&ids[subject.next()]))));
    });
    vec![floor(), held]
}

/// This crate's plan, for all subjects at once whose ids have been hashed.
pub fn batch(world: World) -> Vec<Contender> {
    let variate: &'static Variate = Box::leak(Box::new(Variate::load(&Variate::text(&world))));
    let plan = variate.snapshot().plan(&world.keys()[0]).expect("the experiment");
    let hashes: Vec<u64> = IDS.iter().map(|id| subject_hash(id)).collect();
    let mut outcomes = vec![Outcome::default(); hashes.len()];
    plan.assign_batch(&Batch::hashed(&hashes), &mut outcomes);
    let arms = outcomes.iter().map(|outcome| arm_of(&plan.decision(*outcome)).expect("an arm"));
    check_arms(Variate::NAME, &arms.collect::<Vec<_>>(), Expected::Shares(world.weights(0)));
    let rows = hashes.len() as u32;
    let batch = Contender::new(Variate::NAME, move || {
        plan.assign_batch(&Batch::hashed(black_box(&hashes)), &mut outcomes);
        black_box(&outcomes);
    });
    vec![batch.counted_as(rows)]
}
