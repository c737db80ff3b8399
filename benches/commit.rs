//! What a change costs, and what it costs to load a world.

#![allow(clippy::unwrap_used, reason = "a change that is refused is not measured")]

mod common;

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::Value;
use variate::{Change, Engine, ExperimentId, ExperimentPatch, Snapshot};

use common::{By, id, world};

fn commit(c: &mut Criterion) {
    let mut group = c.benchmark_group("commit");
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    for count in [10, 1_000, 10_000] {
        let engine = Engine::from_snapshot(world(count, By::Weight(2)));
        let ids: Vec<ExperimentId> =
            (0..count).map(|number| id("exp", number).parse().unwrap()).collect();
        let mut ids = ids.iter().cycle();
        let mut edits = 0;
        // Someone still reads the snapshot before, as is so under load.
        let mut read = engine.snapshot();
        group.bench_function(format!("one edit among {count}"), |b| {
            b.iter(|| {
                edits += 1;
                let patch = ExperimentPatch::new().description(format!("Edit number {edits}"));
                let change = Change::patch_experiment(ids.next().unwrap(), patch);
                read = engine.commit(change).unwrap().snapshot;
            });
        });
    }
    group.finish();
}

fn load(c: &mut Criterion) {
    let mut group = c.benchmark_group("load");
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    group.sample_size(20);
    for count in [1_000, 10_000] {
        let json = world(count, By::Weight(2)).to_json();
        group.throughput(Throughput::Bytes(json.len() as u64));
        group.bench_function(format!("snapshot/{count}"), |b| {
            b.iter_with_large_drop(|| Snapshot::from_json(&json).unwrap());
        });
        group.bench_function(format!("serde_json value/{count}"), |b| {
            b.iter_with_large_drop(|| serde_json::from_str::<Value>(&json).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, commit, load);
criterion_main!(benches);
