//! What is legal and surely not meant.

use std::process::Command;

use serde_json::Value;
use variate::{Change, ExperimentPatch, Snapshot};

use super::common::{ok, p, share, world};
use super::{Directory, run, unread};

const NOON: &str = "2026-11-21T12:00:00Z";

/// The world with two findings at noon: the schedule of one experiment has ended, and another has an
/// arm that changes nothing.
fn odd() -> Snapshot {
    let ended = ExperimentPatch::new().ends_at(p(NOON));
    let swapped = [share("var_a", "50"), share("var_b", "50").control()];
    let swapped = ExperimentPatch::new().allocations(swapped);
    let patch = |id: &str, patch| Change::patch_experiment(&p(id), patch);
    ok(&world(), vec![patch("exp_segments", ended), patch("exp_weights", swapped)])
}

#[test]
fn findings_are_printed_and_told_by_the_exit_code() {
    let directory = Directory::new();
    let config = directory.config(&odd());
    let lint = |options: &[&str]| {
        let ran = run(&[&["lint", "--config", &config], options].concat(), b"");
        assert_eq!((ran.code, &*ran.stderr), (Some(1), ""), "{options:?}");
        ran.stdout
    };
    let [ended, nothing] = [
        "schedule_expired           exp_segments  its schedule ended at 2026-11-21T12:00:00.000Z\n",
        "variation_changes_nothing  exp_weights   var_a serves the flag's defaults\n",
    ];
    assert_eq!(lint(&["--at", NOON]), [ended, nothing].concat());
    let before = lint(&["--at", "2026-11-21T11:59:59Z"]);
    assert_eq!(before, nothing.replace("exp_weights   ", "exp_weights  "));

    let json = lint(&["--at", NOON, "--json"]);
    let json: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(Value::Array(json), serde_json::to_value(odd().lint(p(NOON))).unwrap());

    // Also when nobody reads them.
    let mut child = Command::new(env!("CARGO_BIN_EXE_variate"))
        .args(["lint", "--config", &config])
        .stdout(unread())
        .spawn()
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn nothing_found_is_nothing_printed() {
    let directory = Directory::new();
    for snapshot in [Snapshot::new(), world()] {
        let config = directory.config(&snapshot);
        for json in [&[][..], &["--json"]] {
            assert_eq!(run(&[&["lint", "--config", &config], json].concat(), b"").done(), "");
        }
    }
    let gone = ["lint", "--config", "gone.json"];
    run(&gone, b"").refused(3, "variate: gone.json: No such file");
    let faulty = directory.write("faulty.json", "{}");
    run(&["lint", "--config", &faulty], b"").refused(3, "format");
    run(&["lint"], b"").refused(2, "--config");
}
