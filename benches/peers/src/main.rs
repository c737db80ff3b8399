//! Measures, prints and writes down the comparison; see `README.md`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Parser;
use variate_peers::chart::chart;
use variate_peers::machine::{compiler, machine, today, versions};
use variate_peers::measure::{Effort, Taken, measure};
use variate_peers::memory::Memory;
use variate_peers::readers::readers;
use variate_peers::results::{Results, spell, spell_ratio};
use variate_peers::tables::report;
use variate_peers::workloads::WORKLOADS;

/// Where the package is, and the results in it.
const HOME: &str = env!("CARGO_MANIFEST_DIR");

#[derive(Parser)]
struct Options {
    /// A short run, which shows that everything works and writes nothing down
    #[arg(long)]
    quick: bool,
    /// Only the workloads whose names begin so, such as `W1,W4`; writes nothing down
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Measures nothing, but makes the report and the chart anew from results.json
    #[arg(long)]
    render: bool,
}

fn main() {
    let options = Options::parse();
    if options.render {
        let json = std::fs::read_to_string(Path::new(HOME).join("results.json"));
        let json = json.expect("results.json can be read");
        render(&serde_json::from_str(&json).expect("results.json is as this program writes it"));
        return;
    }
    let mut results = Results {
        machine: machine(),
        date: today(),
        rustc: compiler(),
        versions: versions(),
        ..Results::default()
    };
    let chosen = |name: &str| {
        options.only.is_empty() || options.only.iter().any(|start| name.starts_with(start))
    };
    let effort = if options.quick { Effort::QUICK } else { Effort::FULL };
    for workload in WORKLOADS.iter().filter(|workload| chosen(workload.name)) {
        let taken = measure(&mut (workload.prepare)(), effort);
        println!("\n{}: {}", workload.name, workload.words);
        print(&taken);
        results.add(workload.name, &taken);
    }
    if chosen("readers") {
        let time = if options.quick { Duration::from_millis(50) } else { Duration::from_secs(6) };
        let readers = readers(time);
        println!("\nreaders: {readers:#?}");
        results.readers = Some(readers);
    }
    if chosen("memory") {
        results.memory = memory();
        println!("\nmemory: {:#?}", results.memory);
    }
    if !options.quick && options.only.is_empty() {
        let json = serde_json::to_string_pretty(&results).expect("JSON") + "\n";
        write("results.json", &json);
        render(&results);
    }
}

fn print(taken: &[(&str, Taken)]) {
    let own = taken.iter().find(|(name, _)| *name == "variate");
    for (name, time) in taken {
        let ratio = own.map(|(_, own)| spell_ratio(time.median / own.median)).unwrap_or_default();
        let (lower, upper) = (spell(time.lower), spell(time.upper));
        println!("  {name:<18}{:>10}{ratio:>10}   {lower} to {upper}", spell(time.median));
    }
}

/// What the program that counts says.
fn memory() -> Memory {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let without_statsig = (!cfg!(feature = "statsig")).then_some("--no-default-features");
    let output = Command::new(cargo)
        .args(["run", "--release", "--quiet", "--bin", "memory", "--manifest-path"])
        .arg(Path::new(HOME).join("Cargo.toml"))
        .args(without_statsig)
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo can be run");
    assert!(output.status.success(), "the program that counts allocations failed");
    serde_json::from_slice(&output.stdout).expect("what it prints is JSON")
}

fn render(results: &Results) {
    write("results.md", &report(results));
    write("results.svg", &chart(results));
}

fn write(name: &str, text: &str) {
    std::fs::write(Path::new(HOME).join(name), text).expect("the results can be written");
}
