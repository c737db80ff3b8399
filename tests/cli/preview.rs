//! Whom changes would move.

use std::fs;

use serde_json::{Value, json};
use variate::{Moves, Snapshot, Subject, Timestamp, Transaction};

use super::common::apply;
use super::{Directory, run, running};

const PAUSE: &str =
    r#"{"change": "set_experiment_status", "id": "exp_segments", "status": "paused"}"#;
const RAISE: &str =
    r#"{"change": "patch_experiment", "id": "exp_weights", "patch": {"traffic": 100}}"#;

const RAISED: &str = "\
exp_weights
  from             to     share
  var_a            var_a  25.0000 %
  var_b            var_b  25.0000 %
  var_d (outside)  var_a  25.0000 %  moves
  var_d (outside)  var_b  25.0000 %  moves
";

/// The running world, and what changes make of it.
fn worlds(changes: &str) -> [Snapshot; 2] {
    let before = running();
    let after = apply(&before, Transaction::from_json(changes).unwrap()).unwrap();
    [before, Snapshot::clone(&after.snapshot)]
}

/// The table of an experiment as it is printed, which begins with these lines.
#[track_caller]
fn table(experiment: &str, moves: &Moves, lines: &str) -> String {
    let table = format!("{experiment}\n  {}\n", moves.to_string().trim_end().replace('\n', "\n  "));
    assert!(table.starts_with(lines), "{table}");
    table
}

/// The shares of whom `RAISE` moves.
fn raised() -> String {
    let [before, after] = worlds(&format!("{{\"changes\": [{RAISE}]}}"));
    let moves = before.preview(&after).shares("exp_weights", Timestamp::now()).unwrap();
    table("exp_weights", &moves, RAISED)
}

/// The document of the running world, and a file of changes.
struct Files {
    directory: Directory,
    config: String,
    changes: String,
}

impl Files {
    fn with(changes: &str) -> Self {
        let directory = Directory::new();
        let config = directory.config(&running());
        let changes = directory.write("changes.json", changes);
        Self { directory, config, changes }
    }

    fn preview(&self, options: &[&str], input: &[u8]) -> super::Ran {
        let preview = ["preview", "--config", &self.config, "--changes", &self.changes];
        run(&[&preview[..], options].concat(), input)
    }
}

#[test]
fn shares_are_exact_and_nothing_is_written() {
    for changes in [
        RAISE.to_owned(),
        format!(" [{RAISE}] "),
        format!("{{\"comment\": \"change\", \"changes\": [{RAISE}]}}"),
    ] {
        let files = Files::with(&changes);
        let document = fs::read(&files.config).unwrap();
        assert_eq!(files.preview(&[], b"not-read").done(), raised());
        assert_eq!(fs::read(&files.config).unwrap(), document);
        assert_eq!(files.directory.names(), ["changes.json", "experiments.json"]);
    }
    let none = Files::with("[]");
    assert_eq!(none.preview(&[], b"").done(), "no assignment can differ\n");
    assert_eq!(none.preview(&["--json"], b"").done(), "");
}

#[test]
fn where_shares_depend_on_the_subjects_they_are_counted() {
    let files = Files::with(&format!("[{PAUSE}, {RAISE}]"));
    let open = "exp_segments\n  it depends on the subjects: --ids counts them\n";
    assert_eq!(files.preview(&[], b"").done(), format!("{open}\n{}", raised()));
    assert_eq!(files.preview(&["--experiment", "exp_segments"], b"").done(), open);
    assert_eq!(files.preview(&["--experiment", "exp_weights"], b"").done(), raised());
    assert_eq!(files.preview(&["--experiment", "exp_user"], b"").done(), {
        "no assignment can differ\n"
    });
    let both = ["--experiment", "exp_weights", "--experiment", "exp_segments", "--json"];
    let lines = files.preview(&both, b"").done();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0], json!({"experiment_id": "exp_segments", "moves": null}));
    assert_eq!(lines[1]["experiment_id"], "exp_weights");
    assert_eq!(
        lines[1]["moves"]["rows"][2],
        json!({
            "from": {"variation_id": "var_d", "in_experiment": false},
            "to": {"variation_id": "var_a", "in_experiment": true},
            "share": 0.25,
        })
    );
    assert_eq!(lines.len(), 2);

    let count = |options: &[&str], input: &[u8]| {
        let of = ["--experiment", "exp_segments"];
        files.preview(&[&of[..], options].concat(), input)
    };
    let counted = count(&["--ids", "-"], b"a\nb\r\n\nc").done();
    let [before, after] = worlds(&format!("{{\"changes\": [{PAUSE}, {RAISE}]}}"));
    let moves =
        before.preview(&after).counts("exp_segments", ["a", "b", "", "c"].map(Subject::new));
    let lines = "\
exp_segments
  from     to       count  share
  var_a    nothing      3  75.0000 %  moves
  nothing  nothing      1  25.0000 %
";
    assert_eq!(counted, table("exp_segments", &moves, lines));
    let file = files.directory.write("ids.txt", "a\nb\n\nc\n");
    assert_eq!(count(&["--ids", &file], b"").done(), counted);
    let german = count(&["--ids", &file, "--attribute", "country=DE"], b"").done();
    assert_eq!(german, counted.replace("var_a", "var_b"));
    let users = count(&["--ids", &file, "--kind", "user"], b"").done();
    assert!(users.contains("nothing  nothing      4  100.0000 %"), "{users}");

    assert_eq!(count(&["--ids", "-"], b"a\n\xff").refused(3, "standard input: line 2: "), "");
    count(&["--ids", "-", "--input", "json"], b"{}\n").refused(3, "standard input: line 1: ");
    count(&["--ids", "gone.txt"], b"").refused(3, "gone.txt: No such file");
    count(&["--ids", "-", "--input", "json", "--kind", "user"], b"").refused(2, "--kind");
}

#[test]
fn ids_are_counted_also_where_shares_are_known() {
    let changes = format!("{{\"changes\": [{PAUSE}, {RAISE}]}}");
    let (files, [before, after]) = (Files::with(&changes), worlds(&changes));
    let preview = before.preview(&after);
    let segments = preview.counts("exp_segments", ["a", "b", "c"].map(Subject::new));
    let segments =
        table("exp_segments", &segments, "exp_segments\n  from   to       count  share\n");
    let weights = preview.counts("exp_weights", ["a", "b", "c"].map(Subject::new));
    assert_eq!(weights.count(), Some(3));
    let weights = table("exp_weights", &weights, "exp_weights\n  from");
    let count =
        |options: &[&str], input: &[u8]| files.preview(&[&["--ids", "-"], options].concat(), input);
    assert_eq!(count(&[], b"a\nb\nc\n").done(), format!("{segments}\n{weights}"));
    assert_eq!(count(&["--experiment", "exp_weights"], b"a\nb\nc\n").done(), weights);
    count(&["--experiment", "exp_weights"], b"\xff").refused(3, "standard input: line 1: ");

    // What a subject brings counts, too.
    let forced = Subject::new("a").forced("exp_weights", "var_b");
    let kept = Subject::new("a").kept("exp_segments", "var_c");
    let lines = "\
exp_weights
  from             to               count  share
  var_b (outside)  var_b (outside)      1  100.0000 %
";
    let weights = table("exp_weights", &preview.counts("exp_weights", [forced]), lines);
    let line = br#"{"ids": {"device": "a"}, "forced": {"exp_weights": "var_b"}}"#;
    let json = ["--input", "json", "--experiment"];
    assert_eq!(count(&[&json[..], &["exp_weights"]].concat(), line).done(), weights);
    let lines = "\
exp_segments
  from   to     count  share
  var_a  var_c      1  100.0000 %  moves
";
    let segments = table("exp_segments", &preview.counts("exp_segments", [kept]), lines);
    let line = br#"{"ids": {"device": "a"}, "kept": {"exp_segments": "var_c"}}"#;
    assert_eq!(count(&[&json[..], &["exp_segments"]].concat(), line).done(), segments);
    for (kept, said) in [
        (json!({"exp_segments": 1}), ""),
        (json!({"exp_gone": "var_c"}), "kept: there is no experiment \"exp_gone\""),
    ] {
        let line = json!({"ids": {"device": "a"}, "kept": kept}).to_string();
        let said = format!("standard input: line 1: {said}");
        count(&[&json[..], &["exp_segments"]].concat(), line.as_bytes()).refused(3, &said);
    }
}

#[test]
fn counts_are_the_library_s() {
    const STARTS: &str = r#"{"change": "create_experiment", "id": "exp_new", "key": "new", "name": "New",
        "flag_id": "flg_a", "subject_kind": "user", "strategy": "segment", "allocations": [
            {"variation_id": "var_c", "segment_id": "seg_ios", "priority": 1},
            {"variation_id": "var_a", "is_fallback": true, "is_control": true}]},
        {"change": "set_experiment_status", "id": "exp_new", "status": "active"}"#;
    let changes = format!("{{\"changes\": [{PAUSE}, {STARTS}, {RAISE}]}}");
    let (files, [before, after]) = (Files::with(&changes), worlds(&changes));
    let preview = before.preview(&after);

    let numbers = 0..10_000;
    let ids: Vec<[String; 2]> = numbers.map(|n| [format!("d-{n}"), format!("u-{n}")]).collect();
    let countries = [json!({"country": "DE"}), json!({"platform": "ios 18"}), json!({"x": 1})];
    let all = || ids.iter().zip(countries.iter().cycle());
    let lines = all().map(|([device, user], attributes)| {
        let line = json!({"ids": {"device": device, "user": user}, "attributes": attributes});
        format!("{line}\n")
    });
    let lines: String = lines.collect();
    let printed = files.preview(&["--ids", "-", "--input", "json", "--json"], lines.as_bytes());
    let printed = printed.done();
    let printed: Vec<Value> =
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let named: Vec<&Value> = printed.iter().map(|row| &row["experiment_id"]).collect();
    assert_eq!(named, ["exp_new", "exp_segments", "exp_weights"]);
    for row in &printed {
        let experiment = row["experiment_id"].as_str().unwrap();
        let subjects = all().map(|([device, user], attributes)| {
            Subject::new(device).with_id("user", user).with_attributes(attributes)
        });
        let moves = preview.counts(experiment, subjects);
        assert_eq!(moves.count(), Some(10_000));
        assert_eq!(row["moves"], serde_json::to_value(moves).unwrap());
    }
    // One that the changes create can be asked for, by ids of its own kind.
    let new = files.preview(&["--experiment", "exp_new", "--ids", "-"], b"u-1\nu-2\n").done();
    let subjects = ["u-1", "u-2"].map(|id| Subject::of("user", id));
    let lines = "\
exp_new
  from     to     count  share
  nothing  var_a      2  100.0000 %  moves
";
    assert_eq!(new, table("exp_new", &preview.counts("exp_new", subjects), lines));
    // Also by what a subject brings to it, by id or key.
    for name in ["exp_new", "new"] {
        let line = json!({"ids": {"user": "u-1"}, "forced": {name: "var_c"}}).to_string();
        let forced = ["--experiment", "exp_new", "--ids", "-", "--input", "json"];
        let forced = files.preview(&forced, line.as_bytes()).done();
        let subject = Subject::of("user", "u-1").forced("exp_new", "var_c");
        let lines = "\
exp_new
  from     to               count  share
  nothing  var_c (outside)      1  100.0000 %  moves
";
        assert_eq!(forced, table("exp_new", &preview.counts("exp_new", [subject]), lines));
    }
}

#[test]
fn changes_that_are_refused_say_which_and_why() {
    let check = |changes: &str, words: &str| {
        let files = Files::with(changes);
        let message = format!("variate: {}: {words}", files.changes);
        assert_eq!(files.preview(&[], b"").refused(3, &message), "");
    };
    check("", "");
    check("{", "");
    check("{}", "changes: ");
    check("7", "");
    check("[7]", "changes[0]: ");
    check("[], \"comment\": \"x\"", "");
    check(r#"{"changes": [], "change": "x"}"#, "change: ");
    check(&format!("[{RAISE}, {{}}]"), "changes[1].change: ");
    check(&RAISE.replace("100", "120"), "patch.traffic: ");
    check(
        &format!("[{RAISE}, {PAUSE}, {PAUSE}]").replace("exp_segments", "exp_draft"),
        "changes[1]: ",
    );
    check(&PAUSE.replace("exp_segments", "exp_other"), "id: ");

    let files = Files::with(RAISE);
    let unknown = format!("variate: {}: there is no experiment \"exp_other\"", files.config);
    files.preview(&["--experiment", "exp_other"], b"").refused(3, &unknown);
    let gone = ["preview", "--config", &files.config, "--changes", "gone.json"];
    run(&gone, b"").refused(3, "variate: gone.json: No such file");
    run(&gone[..3], b"").refused(2, "--changes");
}
