//! Compares what the harness counted with what is recorded. From standard input it reads the
//! harness's summaries, a line of JSON for each path; its arguments are the file of what is
//! recorded, and `--record` to write that file anew.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::{Read, stdin};
use std::process::ExitCode;

use serde_json::{Deserializer, Value};

/// How often each path does its thing; as in `benches/paths.rs`.
const TIMES: u64 = 1_000;
/// A count may be this many times what is recorded.
const BOUND: f64 = 1.25;

/// Instructions for one decision, by path.
type Counts = BTreeMap<String, u64>;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("which file?")?;
    let mut summaries = String::new();
    stdin().read_to_string(&mut summaries)?;
    let now = counts(&summaries)?;
    if arguments.next().as_deref() == Some("--record") {
        fs::write(&file, serde_json::to_string_pretty(&now)? + "\n")?;
    }
    let recorded: Counts = serde_json::from_str(&fs::read_to_string(&file)?)?;
    Ok(if compare(&recorded, &now) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn counts(summaries: &str) -> Result<Counts, Box<dyn Error>> {
    let mut counts = Counts::new();
    for summary in Deserializer::from_str(summaries).into_iter::<Value>() {
        let summary = summary?;
        let part = |name| summary.get(name).and_then(Value::as_str).unwrap_or_default();
        let path = format!("{} {}", part("function_name"), part("id")).replace('_', " ");
        let total = instructions(&summary).ok_or_else(|| format!("no count of {path}"))?;
        counts.insert(path, total.div_ceil(TIMES));
    }
    Ok(counts)
}

/// Callgrind's count of all that a path did.
fn instructions(summary: &Value) -> Option<u64> {
    summary.pointer("/profiles/0/data/total/metrics/Ir/values/new")?.as_u64()
}

/// Prints a table, and says whether every path is within the bound.
fn compare(recorded: &Counts, now: &Counts) -> bool {
    let mut passes = true;
    println!("{:32} {:>10} {:>10} {:>7}", "path", "recorded", "now", "ratio");
    for (path, &count) in now {
        let Some(&before) = recorded.get(path) else {
            println!("{path:32} {:>10} {count:>10}          not recorded", "");
            passes = false;
            continue;
        };
        let ratio = count as f64 / before as f64;
        let verdict = if ratio > BOUND { "  too many" } else { "" };
        println!("{path:32} {before:>10} {count:>10} {ratio:>7.2}{verdict}");
        passes &= ratio <= BOUND;
    }
    for path in recorded.keys().filter(|path| !now.contains_key(*path)) {
        println!("{path:32} is recorded, but not counted");
        passes = false;
    }
    passes
}
