//! What is measured.

use crate::assignments::{among, batch, by_key, held};
use crate::check::Expected;
use crate::loads::{all, commit, load, update};
use crate::measure::Contender;
use crate::world::{Facts, RULES, Split, World};

/// Something that is measured.
pub struct Workload {
    pub name: &'static str,
    /// In words, with what a unit is.
    pub words: &'static str,
    pub prepare: fn() -> Vec<Contender>,
}

const ONE: World = World::new(1, Split::Even);
const UNEVEN: World = World::new(1, Split::Uneven);

/// All of them, in the order of the tables.
pub const WORKLOADS: &[Workload] = &[
    Workload {
        name: "W1",
        words: "assign: 50/50, by key",
        prepare: || by_key(ONE, None, Expected::Shares(ONE.weights(0))),
    },
    Workload { name: "W1_held", words: "assign: 50/50, plan held", prepare: || held(ONE) },
    Workload {
        name: "W2",
        words: "assign: eight uneven arms",
        prepare: || by_key(UNEVEN, None, Expected::Shares(UNEVEN.weights(0))),
    },
    Workload {
        name: "W3_first",
        words: "assign: ten rules, the first hits",
        prepare: || by_rules(0),
    },
    Workload {
        name: "W3_tenth",
        words: "assign: ten rules, the tenth hits",
        prepare: || by_rules(RULES - 1),
    },
    Workload {
        name: "W3_fallback",
        words: "assign: ten rules, none hits",
        prepare: || by_rules(RULES),
    },
    Workload {
        name: "W4_10",
        words: "assign: one of 10 experiments",
        prepare: || among_experiments(10),
    },
    Workload {
        name: "W4_1000",
        words: "assign: one of 1,000 experiments",
        prepare: || among_experiments(1_000),
    },
    Workload {
        name: "W4_10000",
        words: "assign: one of 10,000 experiments",
        prepare: || among_experiments(10_000),
    },
    Workload {
        name: "W5",
        words: "assign: all of 1,000 experiments, whole call",
        prepare: || all(World::new(1_000, Split::Even)),
    },
    Workload {
        name: "batch",
        words: "assign: a batch of hashed ids, by subject",
        prepare: || batch(ONE),
    },
    Workload {
        name: "W6",
        words: "load 10,000 experiments from JSON",
        prepare: || load(World::new(10_000, Split::Even)),
    },
    Workload { name: "W7_10", words: "change one of 10 experiments", prepare: || change(10) },
    Workload {
        name: "W7",
        words: "change one of 1,000 experiments",
        prepare: || update(World::new(1_000, Split::Even)),
    },
    Workload {
        name: "W7_10000",
        words: "change one of 10,000 experiments",
        prepare: || change(10_000),
    },
    Workload {
        name: "W7_100000",
        words: "change one of 100,000 experiments",
        prepare: || change(100_000),
    },
];

/// Someone on the plan of the rule of this number; after the last rule, on a plan of none.
fn by_rules(number: usize) -> Vec<Contender> {
    by_key(World::new(1, Split::Rules), Some(Facts::on_plan(number)), Expected::Arm(number))
}

fn among_experiments(count: usize) -> Vec<Contender> {
    let world = World::new(count, Split::Even);
    among(world, Expected::Shares(world.weights(0)))
}

fn change(count: usize) -> Vec<Contender> {
    vec![commit(World::new(count, Split::Even))]
}
