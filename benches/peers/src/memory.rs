//! What is allocated, told by a counter of the caller's.

use std::collections::BTreeMap;
use std::hint::black_box;

use serde::{Deserialize, Serialize};

use crate::assignments::IDS;
use crate::engines::variate::{Variate, on_one_flag};
use crate::engines::{Engine, Visitor, each};
use crate::world::{Split, World};

/// How many assignments are counted.
const ASSIGNMENTS: usize = 1_000;

/// How many experiments are held.
const EXPERIMENTS: usize = 10_000;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// By one assignment.
    pub allocations: BTreeMap<String, f64>,
    /// By one experiment of many.
    pub live_bytes: BTreeMap<String, f64>,
}

/// How much has been allocated since the program began.
#[derive(Clone, Copy)]
pub struct Count {
    pub allocations: usize,
    /// What has been freed since does not count.
    pub live_bytes: isize,
}

pub fn memory(count: fn() -> Count) -> Memory {
    let mut counting = Counting { count, memory: Memory::default() };
    each(&mut counting);
    let on_one_flag = counting.live_bytes::<Variate>(on_one_flag);
    counting.memory.live_bytes.insert("variate (shared flag)".to_owned(), on_one_flag);
    counting.memory
}

struct Counting {
    count: fn() -> Count,
    memory: Memory,
}

impl Visitor for Counting {
    fn visit<E: Engine>(&mut self) {
        let allocations = self.allocations::<E>();
        self.memory.allocations.insert(E::NAME.to_owned(), allocations);
        let live_bytes = self.live_bytes::<E>(E::text);
        self.memory.live_bytes.insert(E::NAME.to_owned(), live_bytes);
    }
}

impl Counting {
    fn allocations<E: Engine>(&self) -> f64 {
        let world = World::new(1, Split::Even);
        let engine: &'static E = Box::leak(Box::new(E::load(&E::text(&world))));
        let subjects: Vec<_> = IDS.iter().map(|id| engine.subject(id, None)).collect();
        let key = &world.keys()[0];
        let assign = |subjects: &[E::Subject]| {
            for subject in subjects {
                black_box(engine.assign(key, subject));
            }
        };
        // What an engine sets up when it is first asked is not counted.
        assign(&subjects[..ASSIGNMENTS]);
        let before = (self.count)();
        assign(&subjects[ASSIGNMENTS..2 * ASSIGNMENTS]);
        let after = (self.count)();
        (after.allocations - before.allocations) as f64 / ASSIGNMENTS as f64
    }

    fn live_bytes<E: Engine>(&self, text: fn(&World) -> String) -> f64 {
        let held = |experiments: usize| {
            let text = text(&World::new(experiments, Split::Even));
            let before = (self.count)();
            let engine = E::load(&text);
            let after = (self.count)();
            drop(engine);
            after.live_bytes - before.live_bytes
        };
        ((held(EXPERIMENTS) - held(0)) as f64 / EXPERIMENTS as f64).round()
    }
}
