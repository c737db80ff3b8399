//! The README shows what was measured: the committed results of `benches/peers`, line by line.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::fs;
use std::path::Path;

use serde_json::Value;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn the_readme_shows_the_committed_results() {
    let (readme, report) = (read("README.md"), read("benches/peers/results.md"));
    let is_row = |line: &&str| line.starts_with('|');
    let rows: Vec<&str> =
        report.lines().skip_while(|line| !is_row(line)).take_while(is_row).collect();
    assert!(rows.len() > 10, "the report begins with its table");
    assert!(
        readme.contains(&rows.join("\n")),
        "README.md must have this table:\n{}",
        rows.join("\n")
    );
    let medians = report.lines().find(|line| line.starts_with("Medians on ")).unwrap();
    let versions = report.lines().find(|line| line.starts_with("Versions: ")).unwrap();
    for line in [medians, versions] {
        let words: Vec<&str> = line.split_whitespace().collect();
        let shown: Vec<&str> = readme.split_whitespace().collect();
        assert!(shown.windows(words.len()).any(|own| own == words), "README.md must say: {line}");
    }
    assert!(readme.contains("benches/peers/results.svg"));
}

#[test]
fn the_results_have_every_workload_with_its_floor() {
    let results: Value = serde_json::from_str(&read("benches/peers/results.json")).unwrap();
    assert!(results["machine"].is_string());
    for (workload, beside) in [
        ("W1", "floor"),
        ("W1_held", "floor"),
        ("W2", "floor"),
        ("W3_first", "floor"),
        ("W3_tenth", "floor"),
        ("W3_fallback", "floor"),
        ("W4_10", "map"),
        ("W4_1000", "map"),
        ("W4_10000", "map"),
        ("W5", "launchdarkly"),
        ("W6", "serde_json_value"),
        ("W7", "launchdarkly"),
    ] {
        for contender in ["variate", beside] {
            let time = results["workloads"][workload][contender].as_f64();
            assert!(time.is_some_and(|ns| ns > 0.0), "{workload}: {contender}");
        }
    }
}
