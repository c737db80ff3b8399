//! Why, line by line.

use serde_json::{Value, json};
use variate::{Explanation, Status, Subject, Timestamp};

use super::common::{brought_to, world};
use super::{Directory, run, running};

const NOON: &str = "2026-11-21T12:00:00Z";

/// These explanations as they are printed, an empty line between them.
fn trees(explanations: &[Explanation<'_>]) -> String {
    let tree = |explanation: &Explanation<'_>| format!("{}\n", explanation.to_string().trim_end());
    explanations.iter().map(tree).collect::<Vec<String>>().join("\n")
}

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
        let trees = trees(&ids.map(|id| snapshot.explain(experiment, &subject(kind, id))));
        assert_eq!(run(&[&explain[..], &ids].concat(), b"not-read").done(), trees);
        let lines = ids.join("\r\n");
        assert_eq!(run(&explain, lines.as_bytes()).done(), trees);
        let file = directory.write("ids.txt", lines);
        assert_eq!(run(&[&explain[..], &["--ids", &file]].concat(), b"not-read").done(), trees);

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
fn a_line_of_json_is_a_subject() {
    let (directory, snapshot) = (Directory::new(), running());
    let config = directory.config(&snapshot);
    let explain = ["explain", "--config", &config, "--experiment", "exp_segments"];
    let explain = [&explain[..], &["--input", "json", "--at", NOON]].concat();
    let input = concat!(
        r#"{"ids": {"device": "d-1", "user": "u-1"}, "attributes": {"country": "DE", "age": 36}}"#,
        "\r\n",
        r#"{"ids": {"device": "d-2"}, "attributes": {"country": {"name": "DE"}, "platform": "ios 17"}}"#,
        "\n",
        r#"{"ids": {"user": "u-1"}, "forced": {"exp_segments": "var_c"}}"#,
    );
    let noon: Timestamp = NOON.parse().unwrap();
    let german = json!({"country": "DE", "age": 36});
    let nested = json!({"country": {"name": "DE"}, "platform": "ios 17"});
    let subjects = [
        Subject::new("d-1").with_id("user", "u-1").with_attributes(&german),
        Subject::new("d-2").with_attributes(&nested),
        Subject::of("user", "u-1").forced("exp_segments", "var_c"),
    ];
    let explanations =
        subjects.map(|subject| snapshot.explain("exp_segments", &subject.with_clock(&noon)));
    let reasons = explanations.each_ref().map(|own| own.decision().reason().to_string());
    assert_eq!(reasons, ["segment seg_germany", "segment seg_ios", "forced"]);

    assert_eq!(run(&explain, input.as_bytes()).done(), trees(&explanations));
    let file = directory.write("subjects.jsonl", input);
    let from_file = [&explain[..], &["--ids", &file]].concat();
    assert_eq!(run(&from_file, b"not-read").done(), trees(&explanations));

    let printed = run(&[&explain[..], &["--json"]].concat(), input.as_bytes()).done();
    let ids = [json!("d-1"), json!("d-2"), Value::Null];
    assert_eq!(printed.lines().count(), ids.len());
    for ((line, id), explanation) in printed.lines().zip(ids).zip(&explanations) {
        let mut row = serde_json::to_value(explanation).unwrap();
        row["id"] = id;
        assert_eq!(serde_json::from_str::<Value>(line).unwrap(), row);
    }

    // What came before a faulty line has been printed.
    let ran = run(&explain, b"{\"ids\": {\"device\": \"d-1\"}}\n{\"ids\": []}\n");
    let first = snapshot.explain("exp_segments", &Subject::new("d-1").with_clock(&noon));
    assert_eq!(ran.refused(3, "standard input: line 2: column "), trees(&[first]));
}

#[test]
fn subjects_bring_variations() {
    let directory = Directory::new();
    let config = directory.config(&brought_to(&world(), "exp_segments", Status::Paused));
    let check = |options: &[&str], input: &str, printed: &str| {
        let explain = ["explain", "--config", &config, "--experiment", "exp_segments"];
        let tree = run(&[&explain[..], options].concat(), input.as_bytes()).done();
        assert_eq!(tree.lines().next(), Some(printed), "{options:?} {input}");
    };
    check(&["a"], "", "exp_segments → nothing (paused)");
    check(&["a", "--kept", "var_b"], "", "exp_segments → var_b (kept)");
    check(&["a", "--kept", "var_b", "--forced", "var_c"], "", "exp_segments → var_c (forced)");
    check(&["--kept", "var_d"], "a", "exp_segments → nothing (paused)");
    let json = ["--input", "json"];
    let kept = r#"{"ids": {"device": "a"}, "kept": {"exp_segments": "var_b"}}"#;
    check(&json, kept, "exp_segments → var_b (kept)");
    let other = r#"{"ids": {"device": "a"}, "kept": {"exp_weights": "var_b"}}"#;
    check(&json, other, "exp_segments → nothing (paused)");
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
    let on = |options: &[&str]| explain(&[&["--experiment", "exp_weights"], options].concat());
    on(&["d-1", "--ids", "-"]).refused(2, "--ids");
    on(&["--ids", "gone.txt"]).refused(3, "variate: gone.txt: No such file");
    let argument = "variate: --input json: the lines say the ids, not the argument \"d-1\"\n";
    on(&["d-1", "--input", "json"]).refused(2, argument);
    for option in ["--kind", "--forced", "--attached", "--kept"] {
        on(&["--input", "json", option, "var_a"]).refused(2, option);
    }
    on(&["--input", "json", "--attribute", "a=1"]).refused(2, "--attribute");
}
