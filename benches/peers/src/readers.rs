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
use crate::measure::Taken;
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
    /// Of each of two readers without a writer: what two busy cores leave each other.
    pub two_alone_per_cpu_second: f64,
    /// Of each of two readers beside the writer.
    pub beside_writer_per_cpu_second: f64,
    /// What is left of a reader's throughput, by its processor time: other threads on its core do
    /// not count, what the commits cost it does.
    pub ratio_per_cpu_second: f64,
    /// The same as a share of what each of two readers does without a writer.
    pub ratio_to_two_per_cpu_second: f64,
    /// The same by the clock, as a share of what one reader alone does: the writer needs a core too.
    pub ratio_per_wall_second: f64,
    pub commits_per_second: f64,
}

/// How many rounds there are: in each, one reader, two, and two beside the writer.
const ROUNDS: u32 = 15;

/// How fast a reader was.
struct Pace {
    per_cpu_second: f64,
    per_wall_second: f64,
}

pub fn readers(time: Duration) -> Readers {
    let world = World::new(EXPERIMENTS, Split::Even);
    let variate = Variate::load(&Variate::text(&world));
    let engine = Engine::from_snapshot(variate.snapshot().clone());
    let (keys, time) = (world.keys(), time / ROUNDS);
    let (mut alone, mut two, mut beside, mut commits) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        alone.push(read(&engine, &keys, time));
        two.extend(read_twice(&engine, &keys, time));
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let writer = scope.spawn(|| write(&engine, &keys, &stop));
            beside.extend(read_twice(&engine, &keys, time));
            stop.store(true, Ordering::Relaxed);
            commits += writer.join().expect("the writer");
        });
    }
    let by_cpu = |paces: &[Pace]| median(paces.iter().map(|pace| pace.per_cpu_second));
    let by_wall = |paces: &[Pace]| median(paces.iter().map(|pace| pace.per_wall_second));
    Readers {
        alone_per_cpu_second: by_cpu(&alone),
        two_alone_per_cpu_second: by_cpu(&two),
        beside_writer_per_cpu_second: by_cpu(&beside),
        ratio_per_cpu_second: by_cpu(&beside) / by_cpu(&alone),
        ratio_to_two_per_cpu_second: by_cpu(&beside) / by_cpu(&two),
        ratio_per_wall_second: by_wall(&beside) / by_wall(&alone),
        commits_per_second: f64::from(commits) / (time * ROUNDS).as_secs_f64(),
    }
}

fn median(paces: impl Iterator<Item = f64>) -> f64 {
    Taken::of(paces.collect()).median
}

fn read_twice(engine: &Engine, keys: &[String], time: Duration) -> [Pace; 2] {
    thread::scope(|scope| {
        let readers = [(); 2].map(|()| scope.spawn(|| read(engine, keys, time)));
        readers.map(|reader| reader.join().expect("a reader"))
    })
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
