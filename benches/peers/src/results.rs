//! What is written down.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::measure::Taken;
use crate::memory::Memory;
use crate::readers::Readers;

/// Everything of one run. Times are nanoseconds of the unit of a workload.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Results {
    pub machine: String,
    pub date: String,
    pub rustc: String,
    pub versions: BTreeMap<String, String>,
    /// Medians by workload, then by contender.
    pub workloads: BTreeMap<String, BTreeMap<String, f64>>,
    /// The lower and the upper quartile, likewise.
    pub quartiles: BTreeMap<String, BTreeMap<String, [f64; 2]>>,
    #[serde(flatten)]
    pub memory: Memory,
    pub readers: Option<Readers>,
}

/// The contenders that are no engine.
const AIDS: [&str; 4] = ["floor", "map", "hashbrown_map", "serde_json_value"];

impl Results {
    pub fn add(&mut self, workload: &str, taken: &[(&str, Taken)]) {
        let medians = taken.iter().map(|(name, taken)| ((*name).to_owned(), round(taken.median)));
        self.workloads.insert(workload.to_owned(), medians.collect());
        let quartiles = taken
            .iter()
            .map(|(name, taken)| ((*name).to_owned(), [round(taken.lower), round(taken.upper)]));
        self.quartiles.insert(workload.to_owned(), quartiles.collect());
    }

    pub fn ns(&self, workload: &str, contender: &str) -> Option<f64> {
        self.workloads.get(workload)?.get(contender).copied()
    }

    /// The fastest engine beside this crate.
    pub fn best_peer(&self, workload: &str) -> Option<(&str, f64)> {
        let peers = self.workloads.get(workload)?.iter();
        peers
            .map(|(name, ns)| (name.as_str(), *ns))
            .filter(|(name, _)| *name != "variate" && !AIDS.contains(name))
            .min_by(|(_, one), (_, other)| one.total_cmp(other))
    }

    /// All engines beside this crate, by name.
    pub fn peers(&self) -> impl Iterator<Item = &str> {
        self.versions.keys().map(String::as_str).filter(|name| *name != "variate")
    }
}

/// No more digits than a time is worth.
fn round(ns: f64) -> f64 {
    if ns < 1_000.0 { (ns * 100.0).round() / 100.0 } else { ns.round() }
}

/// A time as people read it.
pub fn spell(ns: f64) -> String {
    match ns {
        ns if ns < 10.0 => format!("{ns:.1} ns"),
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e6 => format!("{} µs", three_digits(ns / 1e3)),
        ns if ns < 1e9 => format!("{} ms", three_digits(ns / 1e6)),
        ns => format!("{} s", three_digits(ns / 1e9)),
    }
}

fn three_digits(number: f64) -> String {
    match number {
        number if number < 10.0 => format!("{number:.2}"),
        number if number < 100.0 => format!("{number:.1}"),
        number => format!("{number:.0}"),
    }
}

/// How many times as long.
pub fn spell_ratio(ratio: f64) -> String {
    match ratio {
        ratio if ratio < 0.95 => format!("{ratio:.2}×"),
        ratio if ratio < 10.0 => format!("{ratio:.1}×"),
        ratio if ratio < 10_000.0 => format!("{ratio:.0}×"),
        ratio => format!("{:.0},{:03}×", (ratio / 1e3).floor(), ratio.round() % 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_ratios_are_spelt() {
        let times = [4.66, 17.2, 1_234.0, 45_600.0, 12_340_000.0, 2e9].map(spell);
        assert_eq!(times, ["4.7 ns", "17 ns", "1.23 µs", "45.6 µs", "12.3 ms", "2.00 s"]);
        let ratios = [0.054, 1.24, 38.0, 12_045.0].map(spell_ratio);
        assert_eq!(ratios, ["0.05×", "1.2×", "38×", "12,045×"]);
    }
}
