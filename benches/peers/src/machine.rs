//! What the numbers were taken on and with.

use std::collections::BTreeMap;
use std::env::consts::{ARCH, OS};

use variate::Timestamp;

use crate::engines::{Engine, Visitor, each};

/// Processor, cores, system.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{}, {cores} cores, {OS}/{}", processor(), ARCH.replace('_', "-"))
}

fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.and_then(|rest| rest.split_once(": ")).map(|(_, model)| model.trim());
    model.unwrap_or("unknown processor").to_owned()
}

/// The day, in UTC.
pub fn today() -> String {
    Timestamp::now().to_string().chars().take(10).collect()
}

/// The compiler that built the comparison.
pub fn compiler() -> String {
    env!("COMPILER").to_owned()
}

/// The version of every engine's crate.
pub fn versions() -> BTreeMap<String, String> {
    let mut versions = Versions(BTreeMap::new());
    each(&mut versions);
    versions.0
}

struct Versions(BTreeMap<String, String>);

impl Visitor for Versions {
    fn visit<E: Engine>(&mut self) {
        let version = locked(include_str!("../Cargo.lock"), E::CRATE).unwrap_or("unknown");
        self.0.insert(E::NAME.to_owned(), version.to_owned());
    }
}

/// The version that a lock file has of a crate.
fn locked<'l>(lock: &'l str, name: &str) -> Option<&'l str> {
    let name = format!("name = \"{name}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name);
    lines.nth(1)?.strip_prefix("version = \"")?.strip_suffix('"')
}
