//! How time is taken: contenders in turn, round after round, each by the median of its rounds.

use std::time::{Duration, Instant};

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Effort {
    rounds: usize,
    /// How long a contender runs in a round, unless one call takes longer.
    batch: Duration,
    /// How long all rounds may take where calls are slow.
    limit: Duration,
}

impl Effort {
    pub const FULL: Self =
        Self { rounds: 61, batch: Duration::from_millis(2), limit: Duration::from_secs(40) };

    pub const QUICK: Self =
        Self { rounds: 3, batch: Duration::from_micros(200), limit: Duration::ZERO };

    /// How many rounds there are at least.
    const LEAST: usize = 3;
}

/// What does the work that is measured.
pub struct Contender {
    pub name: &'static str,
    /// What one call is counted as.
    units: u32,
    /// The fewest calls of a batch.
    least: u64,
    /// Makes so many calls, and says how long they took.
    run: Box<dyn FnMut(u64) -> Duration>,
}

impl Contender {
    pub fn new(name: &'static str, mut call: impl FnMut() + 'static) -> Self {
        Self::timed(name, move |calls| {
            let start = Instant::now();
            for _ in 0..calls {
                call();
            }
            start.elapsed()
        })
    }

    /// One whose result is dropped when its time has been taken.
    pub fn making<T>(name: &'static str, mut make: impl FnMut() -> T + 'static) -> Self {
        Self::timed(name, move |calls| {
            let times = (0..calls).map(|_| {
                let start = Instant::now();
                let result = std::hint::black_box(make());
                let elapsed = start.elapsed();
                drop(result);
                elapsed
            });
            times.sum()
        })
    }

    /// One that takes its time itself.
    pub fn timed(name: &'static str, run: impl FnMut(u64) -> Duration + 'static) -> Self {
        Self { name, units: 1, least: 1, run: Box::new(run) }
    }

    #[must_use]
    pub fn counted_as(self, units: u32) -> Self {
        Self { units, ..self }
    }

    /// One that goes round so many things: a batch has at least one turn, so that what it works on is
    /// as much at hand for the slow as for the quick.
    #[must_use]
    pub fn going_round(self, things: usize) -> Self {
        Self { least: things as u64, ..self }
    }

    /// The time of one batch, after another that brings what it works on back into the caches.
    fn ns_per_unit(&mut self, calls: u64) -> f64 {
        if calls > 1 {
            (self.run)(calls);
        }
        (self.run)(calls).as_nanos() as f64 / calls as f64 / f64::from(self.units)
    }

    /// How many calls fill a batch.
    fn calibrate(&mut self, batch: Duration) -> u64 {
        let mut calls = 1;
        loop {
            let elapsed = (self.run)(calls);
            if elapsed >= batch || calls >= 1 << 24 {
                let fitting = calls as f64 * batch.as_secs_f64() / elapsed.as_secs_f64();
                return (fitting as u64).max(1);
            }
            calls *= 2;
        }
    }
}

/// Nanoseconds of a unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Taken {
    pub lower: f64,
    pub median: f64,
    pub upper: f64,
}

impl Taken {
    pub fn of(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        Self {
            lower: quantile(&times, 0.25),
            median: quantile(&times, 0.5),
            upper: quantile(&times, 0.75),
        }
    }
}

/// A quantile of sorted numbers, between two of them if need be.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

/// Measures contenders in turn, in another order each round, so that what slows the machine down
/// for a while slows all of them down.
pub fn measure(contenders: &mut [Contender], effort: Effort) -> Vec<(&'static str, Taken)> {
    let calls: Vec<u64> =
        contenders.iter_mut().map(|own| own.calibrate(effort.batch).max(own.least)).collect();
    let mut times = vec![Vec::new(); contenders.len()];
    let start = Instant::now();
    for round in 0..effort.rounds {
        if round >= Effort::LEAST && start.elapsed() > effort.limit {
            break;
        }
        for turn in 0..contenders.len() {
            let at = (turn + round) % contenders.len();
            times[at].push(contenders[at].ns_per_unit(calls[at]));
        }
    }
    contenders
        .iter()
        .zip(times)
        .map(|(contender, times)| (contender.name, Taken::of(times)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quartiles() {
        let odd = Taken::of(vec![5.0, 1.0, 3.0, 2.0, 4.0]);
        assert_eq!(odd, Taken { lower: 2.0, median: 3.0, upper: 4.0 });
        let even = Taken::of(vec![4.0, 1.0, 3.0, 2.0]);
        assert_eq!(even, Taken { lower: 1.75, median: 2.5, upper: 3.25 });
    }

    #[test]
    fn every_contender_is_measured() {
        let slow = || std::thread::sleep(Duration::from_micros(300));
        let mut contenders =
            [Contender::new("slow", slow), Contender::new("shared", slow).counted_as(1000)];
        let taken = measure(&mut contenders, Effort::QUICK);
        assert!(taken[0].1.median >= 300_000.0);
        assert!(taken[1].1.median < taken[0].1.median);
    }
}
