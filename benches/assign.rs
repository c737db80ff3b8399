//! What a decision costs, beside the two hashes that it cannot do without.

#![allow(clippy::unwrap_used, reason = "a world without its experiments is not measured")]

mod common;

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use variate::hash::{Draw, draw_seed, point, subject_hash};
use variate::{Batch, Outcome, Reason, Scratch, Subject};

use common::{By, Request, SEGMENTS, id, subjects, world};

fn assign(c: &mut Criterion) {
    let mut group = c.benchmark_group("assign");
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_millis(1_500));
    floor(&mut group);
    plans(&mut group);
    by_id(&mut group);
    segments(&mut group);
    all(&mut group);
    batch(&mut group);
    group.finish();
}

/// One hash of the subject's id, and one of eight bytes.
fn floor(group: &mut BenchmarkGroup<'_, WallTime>) {
    let (subjects, seed) = (subjects(), draw_seed("exp_a", Draw::Variation));
    let mut subjects = subjects.iter().cycle();
    group.bench_function("floor", |b| {
        b.iter(|| subjects.next().map(|id| point(subject_hash(black_box(id)), seed)));
    });
}

fn plans(group: &mut BenchmarkGroup<'_, WallTime>) {
    let subjects = subjects();
    for arms in [2, 8] {
        let snapshot = world(1, By::Weight(arms));
        let plan = snapshot.plan(id("exp", 0)).unwrap();
        let mut subjects = subjects.iter().cycle();
        group.bench_function(format!("held plan/{arms} arms"), |b| {
            b.iter(|| subjects.next().map(|id| plan.assign(&Subject::new(black_box(id)))));
        });
    }
}

fn by_id(group: &mut BenchmarkGroup<'_, WallTime>) {
    let subjects = subjects();
    for count in [10, 1_000, 10_000] {
        let snapshot = world(count, By::Weight(2));
        let ids: Vec<String> = (0..count).map(|number| id("exp", number)).collect();
        // Another experiment each time, so that none is always at hand.
        let mut pairs = subjects.iter().cycle().zip(ids.iter().cycle());
        group.bench_function(format!("by id/among {count}"), |b| {
            b.iter(|| {
                let (subject, id) = pairs.next()?;
                Some(snapshot.assign(black_box(id), &Subject::new(black_box(subject))))
            });
        });
    }
}

fn segments(group: &mut BenchmarkGroup<'_, WallTime>) {
    let (subjects, snapshot) = (subjects(), world(1, By::Segment));
    let plan = snapshot.plan(id("exp", 0)).unwrap();
    let cases = [("first of 10", 0), ("last of 10", SEGMENTS - 1), ("fallback", SEGMENTS)];
    for (name, number) in cases {
        let request = Request::on_plan(number);
        let decide = |id: &str| {
            plan.assign(&Subject::new(black_box(id)).with_attributes(black_box(&request)))
        };
        let falls = matches!(decide("device").reason(), Reason::Fallback);
        assert_eq!(falls, number == SEGMENTS);
        let mut subjects = subjects.iter().cycle();
        group.bench_function(format!("segment/{name}"), |b| {
            b.iter(|| subjects.next().map(|id| decide(id)));
        });
    }
}

fn all(group: &mut BenchmarkGroup<'_, WallTime>) {
    let subjects = subjects();
    for (name, by) in [("weight", By::Weight(2)), ("10 shared segments", By::Segment)] {
        let snapshot = world(1_000, by);
        let (request, mut scratch) = (Request::on_plan(SEGMENTS - 1), Scratch::new());
        let mut subjects = subjects.iter().cycle();
        group.bench_function(format!("all of 1000/{name}"), |b| {
            b.iter(|| {
                let subject = Subject::new(subjects.next()?).with_attributes(&request);
                snapshot.assign_all(&subject, &mut scratch).for_each(|decision| {
                    black_box(decision);
                });
                Some(())
            });
        });
    }
}

/// A thousand subjects whose ids have been hashed.
fn batch(group: &mut BenchmarkGroup<'_, WallTime>) {
    let hashes: Vec<u64> = subjects().iter().take(1_000).map(|id| subject_hash(id)).collect();
    let mut outcomes = vec![Outcome::default(); hashes.len()];
    for arms in [2, 8] {
        let snapshot = world(1, By::Weight(arms));
        let plan = snapshot.plan(id("exp", 0)).unwrap();
        group.bench_function(format!("batch of 1000 hashes/{arms} arms"), |b| {
            b.iter(|| {
                plan.assign_batch(&Batch::hashed(black_box(&hashes)), &mut outcomes);
                black_box(&outcomes);
            });
        });
    }
}

criterion_group!(benches, assign);
criterion_main!(benches);
