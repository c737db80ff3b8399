//! The paths that are counted. Each does its thing a thousand times: that many decisions or commits,
//! or experiments that are loaded. Worlds are leaked, so that dropping them counts for nothing.

#![allow(clippy::unwrap_used, reason = "a world without its experiments is not counted")]

#[path = "../../common/mod.rs"]
mod common;

use std::hint::black_box;

use gungraun::{Callgrind, LibraryBenchmarkConfig};
use gungraun::{library_benchmark, library_benchmark_group, main};
use variate::hash::{Draw, draw_seed, point, subject_hash};
use variate::{
    Allocation, Batch, Change, Engine, ExperimentId, ExperimentPatch, Outcome, Plan, Reader,
    Scratch, Snapshot, Status, Subject, SystemEntropy, Timestamp, Weight,
};

use common::{By, Request, SEGMENTS, id, world};

const TIMES: usize = 1_000;

// One hash of the subject's id, and one of eight bytes.
#[library_benchmark]
#[bench::hashes(draw_seed("exp_a", Draw::Variation), subjects())]
fn floor(seed: u64, subjects: &[String]) {
    for id in subjects {
        black_box(point(subject_hash(black_box(id)), seed));
    }
}

#[library_benchmark]
#[bench::of_2_arms(plan(world(1, By::Weight(2))), subjects())]
#[bench::of_8_arms(plan(uneven()), subjects())]
fn plan_held(plan: &Plan, subjects: &[String]) {
    for id in subjects {
        black_box(plan.assign(&Subject::new(black_box(id))));
    }
}

#[library_benchmark]
#[bench::among_10_000(leak(world(10_000, By::Weight(2))), experiments(), subjects())]
fn by_id(snapshot: &Snapshot, experiments: &[String], subjects: &[String]) {
    for (experiment, id) in experiments.iter().zip(subjects) {
        black_box(snapshot.assign(black_box(experiment), &Subject::new(black_box(id))));
    }
}

#[library_benchmark]
#[bench::first_of_10(plan(world(1, By::Segment)), request(0), subjects())]
#[bench::last_of_10(plan(world(1, By::Segment)), request(SEGMENTS - 1), subjects())]
#[bench::fallback(plan(world(1, By::Segment)), request(SEGMENTS), subjects())]
fn by_segment(plan: &Plan, request: &Request, subjects: &[String]) {
    for id in subjects {
        black_box(plan.assign(&Subject::new(black_box(id)).with_attributes(black_box(request))));
    }
}

// One subject, in a thousand experiments.
#[library_benchmark]
#[bench::of_1_000_by_weight(leak(world(TIMES, By::Weight(2))), leak(Scratch::new()))]
fn all(snapshot: &Snapshot, scratch: &mut Scratch) {
    let subject = Subject::new(black_box("device-1"));
    snapshot.assign_all(&subject, scratch).for_each(|decision| {
        black_box(decision);
    });
}

#[library_benchmark]
#[bench::of_1_000_hashed_ids(plan(world(1, By::Weight(2))), hashes(), outcomes())]
fn batch(plan: &Plan, hashes: &[u64], outcomes: &mut [Outcome]) {
    plan.assign_batch(&Batch::hashed(black_box(hashes)), outcomes);
    black_box(outcomes);
}

// As a thread does that asks for the current snapshot before each decision.
#[library_benchmark]
#[bench::and_by_id_among_10(engine(10).reader(), subjects())]
fn reader(mut reader: Reader, subjects: &[String]) -> Reader {
    let experiment = id("exp", 1);
    for id in subjects {
        black_box(reader.snapshot().assign(black_box(&experiment), &Subject::new(black_box(id))));
    }
    reader
}

#[library_benchmark]
#[bench::among_1_000(engine(1_000), edits(1_000))]
fn commit(engine: Engine, edits: Vec<Change>) -> Engine {
    // Someone still reads the snapshot before, as is so under load.
    let mut read = engine.snapshot();
    for edit in edits {
        read = engine.commit(edit).unwrap().snapshot;
    }
    black_box(read);
    engine
}

// A document of a hundred experiments, ten times.
#[library_benchmark]
#[bench::of_100_experiments(leak(world(100, By::Weight(2)).to_json()))]
fn load(json: &str) {
    for _ in 0..TIMES / 100 {
        std::mem::forget(black_box(Snapshot::from_json(black_box(json)).unwrap()));
    }
}

library_benchmark_group!(
    name = decisions,
    benchmarks = [floor, plan_held, by_id, by_segment, all, batch, reader]
);
library_benchmark_group!(name = changes, benchmarks = [commit, load]);

main!(
    config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no"])),
    library_benchmark_groups = [decisions, changes]
);

fn subjects() -> &'static [String] {
    &leak(common::subjects())[..TIMES]
}

fn hashes() -> &'static [u64] {
    leak(subjects().iter().map(|id| subject_hash(id)).collect::<Vec<_>>())
}

fn outcomes() -> &'static mut [Outcome] {
    leak(vec![Outcome::default(); TIMES])
}

/// Every tenth of ten thousand, so that none is at hand since the one before.
fn experiments() -> &'static [String] {
    leak((0..TIMES).map(|number| id("exp", 10 * number)).collect::<Vec<_>>())
}

fn plan(world: Snapshot) -> &'static Plan {
    leak(world).plan(id("exp", 0)).unwrap()
}

/// One experiment, whose arms have all sorts of weights.
fn uneven() -> Snapshot {
    let weights = [30, 20, 15, 12, 10, 7, 5, 1];
    let snapshot = world(1, By::Weight(weights.len()));
    let arms = (0..).zip(weights).map(|(arm, percent)| {
        let weight = Weight::from_millionths(percent * 1_000_000).unwrap();
        let share = Allocation::share(id("var", arm).parse().unwrap(), weight);
        if arm == 0 { share.control() } else { share }
    });
    let experiment: ExperimentId = id("exp", 0).parse().unwrap();
    let arms: Vec<Allocation> = arms.collect();
    let changes = vec![
        Change::set_experiment_status(&experiment, Status::Paused),
        Change::patch_experiment(&experiment, ExperimentPatch::new().allocations(arms)),
        Change::set_experiment_status(&experiment, Status::Active),
    ];
    let commit = snapshot.apply(changes, Timestamp::EPOCH, &mut SystemEntropy).unwrap();
    Snapshot::clone(&commit.snapshot)
}

/// Someone whom the segment of this number matches, or none.
fn request(number: usize) -> &'static Request {
    leak(Request::on_plan(number))
}

fn engine(experiments: usize) -> Engine {
    Engine::with(world(experiments, By::Weight(2)), Timestamp::EPOCH, SystemEntropy)
}

fn edits(experiments: usize) -> Vec<Change> {
    let edit = |number| {
        let experiment: ExperimentId = id("exp", number).parse().unwrap();
        let patch = ExperimentPatch::new().description(format!("Edit number {number}"));
        Change::patch_experiment(&experiment, patch)
    };
    (0..experiments).map(edit).collect()
}

fn leak<T>(value: T) -> &'static mut T {
    Box::leak(Box::new(value))
}
