//! Who gets what, line by line.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use variate::{Change, ExperimentPatch, Snapshot, Status, Subject};

use super::common::{brought_to, ok, p, world};
use super::{Directory, run, running, spawn};

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("device-{number}")).collect()
}

/// The lines that `assign` is to print for these ids.
fn expected(snapshot: &Snapshot, experiment: &str, ids: &[String], kind: &str) -> String {
    let line = |id: &String| {
        let decision = snapshot.assign(experiment, &Subject::of(kind, id));
        let variation = decision.variation_id().map_or("", |id| id.as_str());
        format!("{id}\t{variation}\t{}\n", decision.reason().as_str())
    };
    ids.iter().map(line).collect()
}

#[test]
fn ten_thousand_ids_get_what_the_library_decides() {
    let (directory, snapshot, ids) = (Directory::new(), running(), ids(10_000));
    let config = directory.config(&snapshot);
    let input = ids.join("\n");
    for (experiment, kind) in
        [("exp_weights", "device"), ("exp_user", "user"), ("exp_segments", "device")]
    {
        let assign = ["assign", "--config", &config, "--experiment", experiment];
        let text = run(&assign, input.as_bytes()).done();
        assert_eq!(text, expected(&snapshot, experiment, &ids, kind));

        let printed = run(&[&assign[..], &["--json"]].concat(), input.as_bytes()).done();
        assert_eq!(printed.lines().count(), ids.len());
        for (line, id) in printed.lines().zip(&ids) {
            let decision = snapshot.assign(experiment, &Subject::of(kind, id));
            let mut row = serde_json::to_value(decision).unwrap();
            row["id"] = json!(id);
            assert_eq!(serde_json::from_str::<Value>(line).unwrap(), row);
        }

        let file = directory.write("ids.txt", &input);
        let from_file = [&assign[..], &["--ids", &file]].concat();
        assert_eq!(run(&from_file, b"not-read").done(), text);
    }
}

#[test]
fn a_line_is_an_id_to_the_byte() {
    let directory = Directory::new();
    let config = directory.config(&running());
    let check = |experiment: &str, options: &[&str], input: &[u8], printed: &str| {
        let assign = ["assign", "--config", &config, "--experiment", experiment];
        assert_eq!(run(&[&assign[..], options].concat(), input).done(), printed);
    };
    check("exp_segments", &[], b"", "");
    // The end of the last line can be missing, and is none of the id.
    check("exp_segments", &[], b"a", "a\tvar_a\tfallback\n");
    check("exp_segments", &[], b"a\n", "a\tvar_a\tfallback\n");
    check("exp_segments", &[], b"a\r\n b \nb\r", {
        "a\tvar_a\tfallback\n b \tvar_a\tfallback\nb\r\tvar_a\tfallback\n"
    });
    check("exp_segments", &[], b"\n\r\na\n\n", {
        "\t\tmissing_subject_id\n\t\tmissing_subject_id\na\tvar_a\tfallback\n\t\tmissing_subject_id\n"
    });
    check("exp_segments", &[], "ä\tb\n".as_bytes(), "ä\tb\tvar_a\tfallback\n");
    check(
        "exp_segments",
        &["--json"],
        b"a\tb\n",
        concat!(
            r#"{"id":"a\tb","experiment_id":"exp_segments","variation_id":"var_a","#,
            r#""in_experiment":true,"is_control":true,"reason":"fallback"}"#,
            "\n",
        ),
    );
    check(
        "exp_segments",
        &["--json"],
        b"\n",
        concat!(
            r#"{"id":"","experiment_id":"exp_segments","in_experiment":false,"#,
            r#""reason":"missing_subject_id"}"#,
            "\n",
        ),
    );

    let german = ["--attribute", "country=DE", "--attribute", "platform=ios=17"];
    check("exp_segments", &german, b"a\nb\n", "a\tvar_b\tsegment\nb\tvar_b\tsegment\n");
    let ios = ["--attribute", "platform=ios=17", "--attribute", "country="];
    check("exp_segments", &ios, b"a\n", "a\tvar_c\tsegment\n");

    check("exp_draft", &[], b"a\n", "a\t\tdraft\n");
}

#[test]
fn schedules_go_by_the_moment_that_is_asked_for() {
    let directory = Directory::new();
    let start = ExperimentPatch::new()
        .starts_at("2026-11-21T12:00:00Z".parse().unwrap())
        .ends_at("2026-11-22T12:00:00Z".parse().unwrap());
    let later = ok(&world(), Change::patch_experiment(&p("exp_segments"), start));
    let config = directory.config(&brought_to(&later, "exp_segments", Status::Active));
    let check = |moment: &str, printed: &str| {
        let assign = ["assign", "--config", &config, "--experiment", "exp_segments"];
        let lines = run(&[&assign[..], &["--at", moment]].concat(), b"a\n").done();
        assert_eq!(lines, format!("a\t{printed}\n"), "{moment}");
        let json = [&assign[..], &["--at", moment, "--input", "json"]].concat();
        assert_eq!(run(&json, b"{\"ids\": {\"device\": \"a\"}}").done(), lines);
    };
    check("2026-11-21T11:59:59.999Z", "\tbefore_start");
    check("2026-11-21T13:00:00+01:00", "var_a\tfallback");
    check("2026-11-22T12:00:00Z", "\tafter_end");
}

#[test]
fn a_line_of_json_is_a_subject() {
    let directory = Directory::new();
    let config = directory.config(&running());
    let input = [
        json!({"ids": {"device": "d-1", "user": "u-1"}, "attributes": {"country": "DE"}}),
        json!({"ids": {"device": "d-2"}, "attributes": {"country": 49, "platform": "ios 17"}}),
        json!({"attributes": {"country": ["DE"], "platform": null, "x": {"y": 1.5}}, "ids": {"device": "a\nb"}}),
        json!({"ids": {"user": "u-1"}}),
        json!({"ids": {}}),
    ];
    let input = input.map(|line| line.to_string()).join("\r\n");
    let assign = |experiment: &str, options: &[&str]| {
        let all = ["assign", "--config", &config, "--input", "json", "--experiment", experiment];
        run(&[&all[..], options].concat(), input.as_bytes()).done()
    };
    assert_eq!(assign("exp_segments", &[]), {
        "d-1\tvar_b\tsegment\nd-2\tvar_c\tsegment\na\nb\tvar_a\tfallback\n\
         \t\tmissing_subject_id\n\t\tmissing_subject_id\n"
    });
    let json: Vec<String> = assign("exp_segments", &["--json"]).lines().map(String::from).collect();
    assert_eq!(json.len(), 5);
    assert_eq!(
        json[0],
        concat!(
            r#"{"id":"d-1","experiment_id":"exp_segments","variation_id":"var_b","in_experiment":true,"#,
            r#""is_control":false,"reason":"segment","segment_id":"seg_germany"}"#,
        )
    );
    assert!(json[2].starts_with(r#"{"id":"a\nb","#), "{}", json[2]);
    assert!(json[3].starts_with(r#"{"id":null,"#), "{}", json[3]);

    // The id is that of the experiment's kind.
    let users = assign("exp_user", &[]);
    let users: Vec<&str> = users.lines().map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!(users, ["u-1", "", "", "u-1", ""]);
}

#[test]
fn a_kind_that_the_experiment_does_not_go_by_is_told_once() {
    let directory = Directory::new();
    let config = directory.config(&running());
    let check = |experiment: &str, options: &[&str], printed: &str, told: &str| {
        let assign = ["assign", "--config", &config, "--experiment", experiment];
        let ran = run(&[&assign[..], options].concat(), b"a\nb\n");
        assert_eq!((ran.code, &*ran.stdout, &*ran.stderr), (Some(0), printed, told));
    };
    let missing = "a\t\tmissing_subject_id\nb\t\tmissing_subject_id\n";
    let told = "variate: --kind device: exp_user goes by user\n";
    check("exp_user", &["--kind", "device"], missing, told);
    check("exp_draft", &["--kind", "device"], "a\t\tdraft\nb\t\tdraft\n", "");
    let fallback = "a\tvar_a\tfallback\nb\tvar_a\tfallback\n";
    check("exp_segments", &["--kind", "device"], fallback, "");
    let told = "variate: --kind user: exp_segments goes by device\n";
    check("exp_segments", &["--kind", "user"], missing, told);
    // Whoever is forced needs no id.
    let forced = ["--kind", "user", "--forced", "var_c"];
    check("exp_segments", &forced, "a\tvar_c\tforced\nb\tvar_c\tforced\n", told);
}

#[test]
fn subjects_bring_variations() {
    let directory = Directory::new();
    let snapshot = brought_to(&world(), "exp_segments", Status::Paused);
    let config = directory.config(&snapshot);
    let assign = ["assign", "--config", &config, "--experiment", "exp_segments"];
    let by_id = |options: &[&str], printed: &str| {
        let lines = run(&[&assign[..], options].concat(), b"a\nb\n").done();
        assert_eq!(lines, format!("a\t{printed}\nb\t{printed}\n"), "{options:?}");
    };
    by_id(&[], "\tpaused");
    by_id(&["--kept", "var_b"], "var_b\tkept");
    by_id(&["--forced", "var_b"], "var_b\tforced");
    by_id(&["--kept", "var_b", "--forced", "var_c"], "var_c\tforced");
    by_id(&["--kept", "var_b", "--attached", "var_c"], "var_c\tattached");
    by_id(&["--attached", "var_c", "--forced", "var_b"], "var_b\tforced");
    by_id(&["--attached", "no arm"], "\tpaused");
    by_id(&["--kept", "var_b", "--forced", "var_d"], "var_b\tkept");
    by_id(&["--kept", "no arm"], "\tpaused");

    let lines = [
        (json!({"kept": {}, "forced": {}}), "\tpaused"),
        (json!({"kept": {"exp_segments": "var_b"}}), "var_b\tkept"),
        (json!({"forced": {"exp_segments": "var_b"}}), "var_b\tforced"),
        (json!({"attached": {"exp_segments": "var_c"}}), "var_c\tattached"),
        (
            json!({"forced": {"exp_segments": "var_c", "exp_weights": "var_a"},
                "kept": {"exp_segments": "var_b"}}),
            "var_c\tforced",
        ),
        (json!({"kept": {"exp_weights": "var_b"}}), "\tpaused"),
        (json!({"kept": {"exp_segments": ""}}), "\tpaused"),
    ];
    let json = [&assign[..], &["--input", "json"]].concat();
    for (mut line, printed) in lines {
        line["ids"] = json!({"device": "a"});
        let line = line.to_string();
        assert_eq!(run(&json, line.as_bytes()).done(), format!("a\t{printed}\n"), "{line}");
    }
}

#[test]
fn what_is_wrong_with_a_line_is_said_with_its_number() {
    let directory = Directory::new();
    let config = directory.config(&running());
    let assign = ["assign", "--config", &config, "--experiment", "exp_segments"];

    // What came before it has been printed.
    let ran = run(&assign, b"a\nb\nc\xff\nd\n");
    let printed = ran.refused(3, "standard input: line 3: must be UTF-8, which ends at byte 1");
    assert_eq!(printed, "a\tvar_a\tfallback\nb\tvar_a\tfallback\n");
    let file = directory.write("ids.txt", b"\xc3");
    let ran = run(&[&assign[..], &["--ids", &file]].concat(), b"");
    assert_eq!(ran.refused(3, &format!("{file}: line 1: must be UTF-8")), "");

    let longest = "a".repeat(1 << 20);
    let ran = run(&assign, format!("{longest}\r\n{longest}\n{longest}").as_bytes());
    assert_eq!(ran.done().len(), 3 * (longest.len() + "\tvar_a\tfallback\n".len()));
    for end in ["", "\n", "\r\n"] {
        let ran = run(&assign, format!("a\n{longest}a{end}").as_bytes());
        assert_eq!(ran.refused(3, "line 2: must have at most 1048576 bytes"), {
            "a\tvar_a\tfallback\n"
        });
    }

    let faulty = [
        ("", "column 0: EOF"),
        ("d-1", "column 1: expected value"),
        (r#"["a"]"#, "an object"),
        (r#"[{"device": "a"}, {}]"#, "an object"),
        (r#"{"ids": [["device", "a"]]}"#, "an object"),
        (r#"{"id": {}}"#, "`id`"),
        (r#"{"attributes": {}}"#, "`ids`"),
        (r#"{"ids": {}, "ids": {}}"#, "`ids`"),
        (r#"{"ids": {"device": "a", "device": "b"}}"#, "twice"),
        (r#"{"ids": {}, "attributes": {"a": 1, "a": 1}}"#, "twice"),
        (r#"{"ids": {}, "attributes": {"a": [{"b": 1, "b": 1}]}}"#, "twice"),
        (r#"{"ids": {"device": 7}}"#, "7"),
        (r#"{"ids": {"device": null}}"#, "null"),
        (r#"{"ids": {}, "forced": null}"#, "null"),
        (r#"{"ids": {}, "forced": [["exp_segments", "var_b"]]}"#, "an object"),
        (r#"{"ids": {}, "forced": {"exp_segments": 7}}"#, "7"),
        (r#"{"ids": {}, "forced": {"exp_segments": "var_b", "exp_segments": "var_c"}}"#, "twice"),
        (r#"{"ids": {}, "kept": "var_b"}"#, "an object"),
        (r#"{"ids": {}, "kept": {"exp_segments": ["var_b"]}}"#, "sequence"),
        (r#"{"ids": {}, "kept": {"exp_segments": "var_b", "exp_segments": "var_b"}}"#, "twice"),
        (r#"{"ids": {}, "kept": {}, "kept": {}}"#, "`kept`"),
        (r#"{"ids": {}, "kept": {"other": "var_b"}}"#, "kept: there is no experiment \"other\""),
        (r#"{"ids": {}, "attached": {"exp_s": "var_b"}}"#, "attached: there is no experiment"),
        (r#"{"ids": {}, "forced": {"exp_weights": "var_b", "": "var_b"}}"#, "forced: there is no"),
        (r#"{"ids": {}, "attributes": null}"#, "null"),
        (r#"{"ids": {}} {}"#, "trailing"),
        (r#"{"ids": {}"#, "EOF"),
    ];
    let json = [&assign[..], &["--input", "json"]].concat();
    for (line, named) in faulty {
        let ran = run(&json, format!("{{\"ids\": {{}}}}\n{line}\n{{}}\n").as_bytes());
        assert!(ran.stderr.starts_with("variate: standard input: line 2: "), "{}", ran.stderr);
        assert!(!ran.stderr.contains(" at line "), "{}", ran.stderr);
        assert_eq!(ran.refused(3, named), "\t\tmissing_subject_id\n");
    }
}

#[test]
fn what_cannot_be_done_is_refused_before_anything_is_read() {
    let directory = Directory::new();
    let config = directory.config(&running());
    let faulty = directory.write("faulty.json", "{\"format\": \"variate/1\", \"flag\": []}");
    let gone = directory.file("gone.json").into_os_string().into_string().unwrap();
    let check = |options: &[&str], code: i32, words: &str| {
        // Its input never ends.
        let mut child = spawn(&[&["assign"][..], options].concat());
        let stdin = child.stdin.take();
        let mut read = [String::new(), String::new()];
        child.stdout.take().unwrap().read_to_string(&mut read[0]).unwrap();
        child.stderr.take().unwrap().read_to_string(&mut read[1]).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{options:?}: {}", read[1]);
        assert_eq!(read[0], "");
        assert!(read[1].contains(words), "{words:?}: {}", read[1]);
        drop(stdin);
    };
    let experiment = ["--experiment", "exp_weights"];
    let on = |file: &str, more: &[&str], code: i32, words: &str| {
        check(&[&["--config", file][..], &experiment, more].concat(), code, words);
    };
    let unknown = format!("variate: {config}: there is no experiment \"exp_other\"\n");
    check(&["--config", &config, "--experiment", "exp_other"], 3, &unknown);
    on(&gone, &[], 3, &format!("variate: {gone}: No such file"));
    on(&faulty, &[], 3, &format!("variate: {faulty}: flag: "));
    on(directory.0.to_str().unwrap(), &[], 3, "directory");
    on(&config, &["--ids", &gone], 3, &format!("variate: {gone}: No such file"));
    on(&config, &["--ids", directory.0.to_str().unwrap()], 3, "directory");

    on(&config, &["--attribute", "country"], 2, "a name, an equals sign and a value");
    on(&config, &["--attribute", "=DE"], 2, "a name, an equals sign and a value");
    on(&config, &["--attribute", "a=1", "--attribute", "a=2"], 2, "--attribute a: ");
    on(&config, &["--input", "json", "--kind", "user"], 2, "--kind");
    on(&config, &["--input", "json", "--attribute", "a=1"], 2, "--attribute");
    on(&config, &["--input", "json", "--forced", "var_a"], 2, "--forced");
    on(&config, &["--input", "json", "--kept", "var_a"], 2, "--kept");
    on(&config, &["--input", "json", "--attached", "var_a"], 2, "--attached");
    on(&config, &["--input", "csv"], 2, "csv");
    on(&config, &["--at", "tomorrow"], 2, "RFC 3339");
    on(&config, &["device-1"], 2, "device-1");
    check(&["--config", &config], 2, "--experiment");
    check(&experiment, 2, "--config");
}

#[test]
fn a_line_is_answered_before_the_next_is_sent() {
    let directory = Directory::new();
    let config = directory.config(&running());
    let mut child = spawn(&["assign", "--config", &config, "--experiment", "exp_segments"]);
    let (mut stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut stdout = BufReader::new(stdout);
    let mut answer = |sent: &str, answered: &str| {
        stdin.write_all(sent.as_bytes()).unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, answered);
    };
    answer("a\n", "a\tvar_a\tfallback\n");
    // Half a line is none; and long work shows nothing to what is no terminal.
    answer("b\nc", "b\tvar_a\tfallback\n");
    thread::sleep(Duration::from_millis(1_200));
    answer("d\n", "cd\tvar_a\tfallback\n");
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

#[test]
fn whoever_stops_reading_ends_it_quietly() {
    let directory = Directory::new();
    let config = directory.config(&running());
    for json in [&[][..], &["--json"]] {
        let assign = ["assign", "--config", &config, "--experiment", "exp_weights"];
        let mut child = spawn(&[&assign[..], json].concat());
        let mut stdin = child.stdin.take().unwrap();
        let feeder = thread::spawn(move || while stdin.write_all(b"device-1\n").is_ok() {});
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(first.contains("device-1"));
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
        feeder.join().unwrap();
    }
}

/// In less memory than a third of what it reads.
#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_the_input() {
    const LINES: usize = 300_000;
    let directory = Directory::new();
    let config = directory.config(&running());
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -v 100000 && exec \"$@\"", "sh", env!("CARGO_BIN_EXE_variate")])
        .args(["assign", "--config", &config, "--experiment", "exp_weights"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let id = "d".repeat(1_000);
    let line = format!("{id}\n");
    thread::spawn(move || (0..LINES).try_for_each(|_| stdin.write_all(line.as_bytes())));
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let answered = stdout.lines().filter(|line| line.as_ref().unwrap().starts_with(&id)).count();
    assert_eq!(answered, LINES);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
