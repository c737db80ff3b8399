//! Why, line by line.

use serde_json::{Value, json};
use variate::{Subject, Timestamp};

use super::{Directory, run, running};

const NOON: &str = "2026-11-21T12:00:00Z";

#[test]
fn the_tree_is_the_library_s() {
    let (directory, snapshot) = (Directory::new(), running());
    let config = directory.config(&snapshot);
    let noon: Timestamp = NOON.parse().unwrap();
    let attributes = [("country", "DE")];
    let subject = |kind, id| Subject::of(kind, id).with_attributes(&attributes).with_clock(&noon);
    let ids = ["device-1", "device-2", "", "a b\tc"];
    for (experiment, kind) in
        [("exp_weights", "device"), ("exp_segments", "device"), ("exp_user", "user")]
    {
        let explain = ["explain", "--config", &config, "--experiment", experiment];
        let explain = [&explain[..], &["--attribute", "country=DE", "--at", NOON]].concat();
        let trees = ids.map(|id| snapshot.explain(experiment, &subject(kind, id)).to_string());
        assert_eq!(run(&[&explain[..], &ids].concat(), b"not-read").done(), trees.join("\n"));
        let lines = ids.join("\r\n");
        assert_eq!(run(&explain, lines.as_bytes()).done(), trees.join("\n"));

        let printed = run(&[&explain[..], &["--json"], &ids].concat(), b"").done();
        assert_eq!(printed.lines().count(), ids.len());
        for (line, id) in printed.lines().zip(ids) {
            let explanation = snapshot.explain(experiment, &subject(kind, id));
            let mut row = serde_json::to_value(explanation).unwrap();
            row["id"] = json!(id);
            assert_eq!(serde_json::from_str::<Value>(line).unwrap(), row);
        }
    }
}

#[test]
fn what_cannot_be_explained_is_refused() {
    let directory = Directory::new();
    let config = directory.config(&running());
    let explain =
        |options: &[&str]| run(&[&["explain", "--config", &config], options].concat(), b"\xff");
    let unknown = format!("{config}: there is no experiment \"exp_other\"");
    explain(&["--experiment", "exp_other", "d-1"]).refused(3, &unknown);
    explain(&["--experiment", "exp_weights"]).refused(3, "standard input: line 1: must be UTF-8");
    let twice = ["--experiment", "exp_weights", "--attribute", "a=1", "--attribute", "a=1", "d-1"];
    explain(&twice).refused(2, "--attribute a: ");
    explain(&["d-1"]).refused(2, "--experiment");
}
