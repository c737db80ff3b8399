//! What a writer costs those who read.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cpu_time::ThreadTime;
use serde::{Deserialize, Serialize};
use variate::{Engine, ExperimentId, Subject};

use crate::assignments::IDS;
use crate::engines::Engine as _;
use crate::engines::variate::{Variate, reweigh};
use crate::world::{Split, World};

/// How many experiments are held.
const EXPERIMENTS: usize = 1_000;

/// How often a commit lands.
const BETWEEN_COMMITS: Duration = Duration::from_millis(1);

/// How many assignments a reader makes before it looks at the time.
const STRETCH: u32 = 1_000;

/// Two threads that read while commits land, beside one that reads alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Readers {
    /// Of one reader without a writer, by second of its own processor time.
    pub alone_per_cpu_second: f64,
    /// Of each of two readers beside the writer.
    pub beside_writer_per_cpu_second: f64,
    /// What is left of a reader's throughput, by its processor time: other threads on its core do
    /// not count, what the commits cost it does.
    pub ratio_per_cpu_second: f64,
    /// The same by the clock, as a share of what one reader alone does: the writer needs a core too.
    pub ratio_per_wall_second: f64,
    pub commits_per_second: f64,
}

/// How fast a reader was.
struct Pace {
    per_cpu_second: f64,
    per_wall_second: f64,
}

pub fn readers(time: Duration) -> Readers {
    let world = World::new(EXPERIMENTS, Split::Even);
    let variate = Variate::load(&Variate::text(&world));
    let engine = Engine::from_snapshot(variate.snapshot().clone());
    let keys = world.keys();
    let stop = AtomicBool::new(false);
    let alone = read(&engine, &keys, time);
    let (paces, commits) = thread::scope(|scope| {
        let writer = scope.spawn(|| write(&engine, &keys, &stop));
        let readers = [(); 2].map(|()| scope.spawn(|| read(&engine, &keys, time)));
        let paces = readers.map(|reader| reader.join().expect("a reader"));
        stop.store(true, Ordering::Relaxed);
        (paces, writer.join().expect("the writer"))
    });
    let mean = |pace: fn(&Pace) -> f64| paces.iter().map(pace).sum::<f64>() / 2.0;
    let beside = mean(|pace| pace.per_cpu_second);
    Readers {
        alone_per_cpu_second: alone.per_cpu_second,
        beside_writer_per_cpu_second: beside,
        ratio_per_cpu_second: beside / alone.per_cpu_second,
        ratio_per_wall_second: mean(|pace| pace.per_wall_second) / alone.per_wall_second,
        commits_per_second: f64::from(commits) / time.as_secs_f64(),
    }
}

fn read(engine: &Engine, keys: &[String], time: Duration) -> Pace {
    let mut reader = engine.reader();
    let mut pairs = keys.iter().cycle().zip(IDS.iter().cycle());
    let (wall, cpu, mut count) = (Instant::now(), ThreadTime::now(), 0_u64);
    while wall.elapsed() < time {
        for (key, id) in pairs.by_ref().take(STRETCH as usize) {
            black_box(reader.snapshot().assign(key, &Subject::new(black_box(id))));
        }
        count += u64::from(STRETCH);
    }
    Pace {
        per_cpu_second: count as f64 / cpu.elapsed().as_secs_f64(),
        per_wall_second: count as f64 / wall.elapsed().as_secs_f64(),
    }
}

/// Commits on time, until told to stop.
fn write(engine: &Engine, keys: &[String], stop: &AtomicBool) -> u32 {
    let ids: Vec<ExperimentId> = keys.iter().map(|key| key.parse().expect("an id")).collect();
    let (start, mut commits) = (Instant::now(), 0);
    while !stop.load(Ordering::Relaxed) {
        let number = commits as usize % ids.len();
        engine.commit(reweigh(&ids[number], number, [60, 40])).expect("a commit");
        commits += 1;
        thread::sleep((BETWEEN_COMMITS * commits).saturating_sub(start.elapsed()));
    }
    commits
}
