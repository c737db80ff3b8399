//! What a server remembers of who got what, and what it asks of the file that it remembers it in.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use variate::{AssignmentStore, Engine, Keeper, KeptAssignment, MemoryStore, Snapshot};

use super::common::p;
use super::server::{Server, refused};
use super::{Directory, run};

const HEADER: &str = "{\"format\":\"variate-kept/1\"}\n";

/// Why a user is in nothing.
const OUTSIDE: &str = "not_sampled";

/// The files of a server that keeps what it remembers.
struct Files {
    directory: Directory,
    config: PathBuf,
    kept: PathBuf,
}

impl Files {
    fn new() -> Self {
        let directory = Directory::new();
        let (config, kept) = (directory.file("experiments.json"), directory.file("kept.jsonl"));
        Self { directory, config, kept }
    }

    fn options(&self) -> [&str; 4] {
        ["--config", self.config.to_str().unwrap(), "--kept", self.kept.to_str().unwrap()]
    }

    fn serve(&self) -> Server {
        Server::start(&self.options())
    }

    /// The lines of the file after the first.
    fn lines(&self) -> Vec<Value> {
        let content = fs::read_to_string(&self.kept).unwrap();
        let lines = content.strip_prefix(HEADER).unwrap();
        assert!(lines.is_empty() || lines.ends_with('\n'));
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// An experiment that runs on half of the users of the context `paywall`: its id, and those of its
/// groups.
fn running(server: &Server, alias: &str) -> (String, [String; 2]) {
    let body = json!({
        "name": alias, "alias_id": alias, "context_key": "paywall", "segment_percent": 50,
    });
    let path = format!("/v4/experiments/{alias}");
    let id = created(server, "/v4/experiments", &body);
    let groups = [("rc_today", true), ("rc_short", false)].map(|(uid, is_control)| {
        let group = json!({"weight": 1, "is_control": is_control, "remote_config_uid": uid});
        created(server, &format!("{path}/groups"), &group)
    });
    set_status(server, alias, "active");
    (id, groups)
}

/// The id of what is created.
fn created(server: &Server, path: &str, body: &Value) -> String {
    let (status, created) = server.post(path, body);
    assert_eq!(status, 201, "{created}");
    created["id"].as_str().unwrap().to_owned()
}

fn set_status(server: &Server, alias: &str, status: &str) {
    let path = format!("/v4/experiments/{alias}/status");
    assert_eq!(server.post(&path, &json!({"status": status})).0, 200);
}

fn attach(server: &Server, alias: &str, user: &str, group: &str) -> (u16, Value) {
    let path = format!("/v4/experiments/{alias}/users/{user}");
    server.post(&path, &json!({"group_id": group}))
}

fn delete(server: &Server, path: &str) -> u16 {
    server.send("DELETE", &format!("/v4/experiments/{path}"), "", b"").0
}

fn ask(server: &Server, user: &str) -> (u16, Value) {
    server.post("/context", &json!({"chain": "paywall", "ids": {"user": user}}))
}

/// Why each of these users gets what it gets, and what that is.
fn places(server: &Server, users: &[String]) -> BTreeMap<String, (String, Value)> {
    let place = |user: &String| {
        let (status, answer) = ask(server, user);
        assert_eq!(status, 200, "{answer}");
        let reason = answer["reason"].as_str().unwrap().to_owned();
        (user.clone(), (reason, answer["config"].clone()))
    };
    users.iter().map(place).collect()
}

fn users(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| format!("u-{number}")).collect()
}

fn put(experiment: &str, user: &str, group: &str, attached: bool) -> Value {
    let mut kept = json!({"variation_id": group});
    if attached {
        kept["attached"] = json!(true);
    }
    json!({"put": {"experiment_id": experiment, "subject_id": user, "kept": kept}})
}

#[test]
fn an_answer_about_a_chain_is_a_decision_with_its_config() {
    let server = Server::start(&[]);
    let nothing = json!({"in_experiment": false, "reason": "not_found", "config": null});
    assert_eq!(ask(&server, "u-1"), (200, nothing));
    let (id, [_, short]) = running(&server, "a");
    assert_eq!(attach(&server, "a", "u-1", &short).0, 200);
    let attached = json!({
        "experiment_id": id, "variation_id": short, "in_experiment": true, "is_control": false,
        "reason": "attached", "config": {"remote_config_uid": "rc_short"},
    });
    assert_eq!(ask(&server, "u-1"), (200, attached));
    assert_eq!(delete(&server, "a/users/u-1"), 204);

    // What a subject brings counts as in any other question.
    set_status(&server, "a", "paused");
    let question = |kept: Value| {
        let question = json!({"chain": "paywall", "ids": {"user": "u-2"}, "kept": kept});
        server.post("/context", &question).1["reason"].clone()
    };
    assert_eq!(question(json!({})), OUTSIDE);
    assert_eq!(question(json!({&id: short})), "kept");
}

#[test]
fn a_restart_keeps_what_stands_in_the_file_and_nothing_else() {
    for is_kept in [true, false] {
        let files = Files::new();
        let all = files.options();
        let options = if is_kept { &all[..] } else { &all[..2] };
        let server = Server::start(options);
        let (_, [_, short]) = running(&server, "a");
        for user in ["by-hand", "no-more"] {
            assert_eq!(attach(&server, "a", user, &short).0, 200);
        }
        assert_eq!(delete(&server, "a/users/no-more"), 204);
        let before = places(&server, &users(0, 60));
        let members = before.values().filter(|(reason, _)| reason == "split").count();
        assert!((10..50).contains(&members), "{members}");
        set_status(&server, "a", "paused");
        // One end that is orderly, and one that is not.
        server.end("TERM");
        drop(Server::start(options));

        let server = Server::start(options);
        for (user, (reason, config)) in places(&server, &users(0, 60)) {
            let (before, was) = &before[&user];
            let is_member = is_kept && before == "split";
            assert_eq!(reason, if is_member { "kept" } else { OUTSIDE }, "{user}");
            assert_eq!(config, if is_member { was.clone() } else { Value::Null }, "{user}");
        }
        let by_hand = ask(&server, "by-hand").1;
        assert_eq!(by_hand["reason"], if is_kept { "attached" } else { OUTSIDE });
        assert_eq!(ask(&server, "no-more").1["reason"], OUTSIDE);
        for (_, (reason, _)) in places(&server, &users(60, 90)) {
            assert_eq!(reason, OUTSIDE);
        }
    }
}

#[test]
fn the_file_says_what_is_remembered_line_by_line() {
    let files = Files::new();
    let server = files.serve();
    assert!(files.lines().is_empty());
    let (first, [today, short]) = running(&server, "first");
    let (second, [other, _]) = running(&server, "second");
    for _ in 0..2 {
        assert_eq!(attach(&server, "first", "b", &today).0, 200);
    }
    assert_eq!(attach(&server, "first", "b", &short).0, 200);
    assert_eq!(attach(&server, "first", "a", &short).0, 200);
    for _ in 0..2 {
        assert_eq!(delete(&server, "first/users/a"), 204);
    }
    assert_eq!(attach(&server, "second", "a", &other).0, 200);
    let mut lines = vec![
        put(&first, "b", &today, true),
        put(&first, "b", &short, true),
        put(&first, "a", &short, true),
        json!({"remove": {"experiment_id": first, "subject_id": "a"}}),
        put(&second, "a", &other, true),
    ];
    assert_eq!(files.lines(), lines);
    // Who asks is written once.
    let drawn = users(0, 100).into_iter().find_map(|user| {
        let answer = ask(&server, &user).1;
        assert_eq!(ask(&server, &user).1, answer);
        let place = |member: &str| answer[member].as_str().unwrap().to_owned();
        (answer["in_experiment"] == json!(true))
            .then(|| put(&place("experiment_id"), &user, &place("variation_id"), false))
    });
    lines.push(drawn.unwrap());
    assert_eq!(files.lines(), lines);
    server.end("TERM");

    // What it comes to, in the order of the ids.
    let mut compact = vec![lines[1].clone(), lines[4].clone(), lines[5].clone()];
    compact.sort_by_key(|line| {
        let own = |member: &str| line["put"][member].as_str().unwrap().to_owned();
        (own("experiment_id"), own("subject_id"))
    });
    let server = files.serve();
    assert_eq!(files.lines(), compact);
    set_status(&server, "second", "finished");
    assert_eq!(delete(&server, "second"), 204);
    let cleared = json!({"clear": {"experiment_id": second}});
    assert_eq!(files.lines().last(), Some(&cleared));
    server.end("TERM");
    drop(files.serve());
    compact.retain(|line| line["put"]["experiment_id"] != json!(second));
    assert_eq!(files.lines(), compact);
    assert_eq!(files.directory.names(), ["experiments.json", "kept.jsonl"]);

    // Without the document there are no experiments that anybody could be in.
    fs::remove_file(&files.config).unwrap();
    drop(files.serve());
    assert_eq!(fs::read_to_string(&files.kept).unwrap(), HEADER);
}

/// What a keeper's document says of who got what, in these entries: experiment, user and group, and
/// whether by hand.
fn document_with(snapshot: &Snapshot, entries: &[(&str, &str, &str, bool)]) -> String {
    let store = MemoryStore::new();
    for (experiment, user, group, attached) in entries {
        store.put(&p(experiment), user, &KeptAssignment::new(p(group), *attached)).unwrap();
    }
    let keeper = Keeper::with_store(Engine::from_snapshot(snapshot.clone()), store).unwrap();
    keeper.to_json().unwrap()
}

#[test]
fn what_a_document_remembers_moves_into_the_file() {
    let files = Files::new();
    let server = files.serve();
    let (first, [today, short]) = running(&server, "first");
    let (second, [other, _]) = running(&server, "second");
    set_status(&server, "first", "paused");
    server.end("TERM");
    let plain = fs::read_to_string(&files.config).unwrap();
    let snapshot = Snapshot::from_json(&plain).unwrap();
    let remembering = document_with(
        &snapshot,
        &[
            (&first, "by-hand", &short, true),
            (&first, "member", &short, false),
            (&first, "both", &short, true),
            (&second, "both", &other, true),
        ],
    );
    assert_ne!(remembering, plain);

    let with = |lines: &[Value]| {
        let lines: Vec<String> = lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(&files.kept, [HEADER, &lines.concat()].concat()).unwrap();
        fs::write(&files.config, &remembering).unwrap();
    };
    let in_order = |mut lines: Vec<Value>| {
        lines.sort_by_key(|line| {
            let own = |member: &str| line["put"][member].as_str().unwrap().to_owned();
            (own("experiment_id"), own("subject_id"))
        });
        lines
    };
    // The file goes first, entry by entry.
    let own = put(&first, "both", &today, false);
    let another = put(&second, "another", &other, false);
    let brought = [
        put(&first, "by-hand", &short, true),
        put(&first, "member", &short, false),
        put(&second, "both", &other, true),
    ];
    let alone = [put(&first, "both", &short, true)].into_iter().chain(brought.clone());
    let merged = [own.clone(), another.clone()].into_iter().chain(brought);
    for (before, after) in
        [(vec![], in_order(alone.collect())), (vec![own, another], in_order(merged.collect()))]
    {
        with(&before);
        // One end that is orderly, and one that is not.
        files.serve().end("TERM");
        for _ in 0..2 {
            assert_eq!(files.lines(), after);
            assert_eq!(fs::read_to_string(&files.config).unwrap(), plain);
            drop(files.serve());
        }
        // As after an end between the two files.
        fs::write(&files.config, &remembering).unwrap();
        let server = files.serve();
        assert_eq!(files.lines(), after);
        assert_eq!(fs::read_to_string(&files.config).unwrap(), plain);
        let reason = |server: &Server, user: &str| ask(server, user).1["reason"].clone();
        assert_eq!(reason(&server, "by-hand"), "attached");
        assert_eq!(reason(&server, "member"), "kept");
        assert_eq!(server.create_segment("Germany").0, 201);
        server.end("TERM");

        let server = files.serve();
        assert_eq!(files.lines(), after);
        assert_eq!(reason(&server, "by-hand"), "attached");
        assert_eq!(reason(&server, "member"), "kept");
        // Whoever is detached stays so.
        assert_eq!(delete(&server, "first/users/by-hand"), 204);
        server.end("TERM");
        assert_ne!(reason(&files.serve(), "by-hand"), "attached");
    }
    assert_eq!(files.directory.names(), ["experiments.json", "kept.jsonl"]);
}

#[test]
fn what_a_document_remembers_has_a_place_or_there_is_no_server() {
    let files = Files::new();
    let server = files.serve();
    let (id, [today, short]) = running(&server, "a");
    server.end("TERM");
    let plain = fs::read_to_string(&files.config).unwrap();
    let snapshot = Snapshot::from_json(&plain).unwrap();
    let [config, path, ..] = files.options();
    let (one, two) = ((&*id, "u-1", &*short, true), (&*id, "u-2", &*today, false));
    for (entries, said) in [(vec![one], "1 assignment:"), (vec![one, two], "2 assignments:")] {
        let remembering = document_with(&snapshot, &entries);
        fs::write(path, &remembering).unwrap();
        let message = refused(&[config, path, "--active-limit", "one"]);
        let words = format!("variate: {path}: remembers {said} say with --kept FILE");
        assert!(message.starts_with(&words), "{message}");
        assert_eq!(message.lines().count(), 1);
        assert_eq!(fs::read_to_string(path).unwrap(), remembering);
    }

    // Nor is there one that cannot write it down: nothing is lost.
    let remembering = fs::read_to_string(path).unwrap();
    fs::write(&files.kept, "x").unwrap();
    refused(&files.options());
    assert_eq!(fs::read_to_string(path).unwrap(), remembering);
    // An empty memory is none.
    let nothing = plain.replacen('{', "{\"kept_assignments\": [],", 1);
    fs::write(path, &nothing).unwrap();
    drop(Server::start(&[config, path]));
    assert_eq!(fs::read_to_string(path).unwrap(), nothing);
}

#[test]
fn a_last_line_that_is_cut_short_is_passed_over() {
    let files = Files::new();
    let server = files.serve();
    let (id, [today, short]) = running(&server, "a");
    server.end("TERM");
    let entry = put(&id, "whole", &today, true).to_string();
    let cut = put(&id, "cut", &short, true).to_string();
    let mut ends: Vec<&[u8]> =
        [0, 1, 20, cut.len() - 1, cut.len()].map(|length| &cut.as_bytes()[..length]).to_vec();
    ends.push(&[0; 100]);
    for end in ends {
        let content = [HEADER.as_bytes(), entry.as_bytes(), b"\n", end].concat();
        fs::write(&files.kept, content).unwrap();
        let server = files.serve();
        assert_eq!(files.lines(), [put(&id, "whole", &today, true)]);
        assert_eq!(ask(&server, "whole").1["reason"], "attached");
        // What comes after it stands on a line of its own.
        assert_eq!(attach(&server, "a", "cut", &short).0, 200);
        assert_eq!(files.lines()[1], put(&id, "cut", &short, true));
    }
}

#[test]
fn any_other_fault_is_named_with_its_line_and_nothing_is_rewritten() {
    let files = Files::new();
    let path = files.kept.to_str().unwrap();
    let entry = put("exp_a", "u", "var_a", false).to_string();
    let check = |content: &str, named: &[&str]| {
        fs::write(&files.kept, content).unwrap();
        let mut options = files.options().to_vec();
        options.extend(["--active-limit", "one"]);
        let message = refused(&options);
        assert!(message.starts_with(&format!("variate: {path}: ")), "{message}");
        for word in named {
            assert!(message.contains(word), "{content:?}: {message}");
        }
        assert_eq!(fs::read_to_string(&files.kept).unwrap(), content);
        assert_eq!(files.directory.names(), ["kept.jsonl"]);
    };
    let document = Keeper::from_json("{\"format\":\"variate/1\"}").unwrap().to_json().unwrap();
    for strange in ["x", "\n", &document, HEADER.trim_end(), &entry] {
        let words = ["line 1", "variate-kept/1", "that serve has made for --kept", "--config"];
        check(strange, &words);
    }
    let faults = [
        ("", "EOF"),
        ("{}", "expected"),
        ("[]", "expected"),
        (r#"{"drop": {}}"#, "drop"),
        (r#"{"clear": {}}"#, "experiment_id"),
        (r#"{"clear": {"experiment_id": "a"}}"#, "exp_"),
        (r#"{"remove": {"experiment_id": "exp_a"}}"#, "subject_id"),
        (r#"{"remove": {"experiment_id": "exp_a", "subject_id": "u", "at": 1}}"#, "at"),
        (r#"{"put": {"experiment_id": "exp_a", "subject_id": "u"}}"#, "kept"),
        (
            r#"{"put": {"experiment_id": "exp_a", "subject_id": "", "kept": {"variation_id": "var_a"}}}"#,
            "subject_id must not be empty",
        ),
        (
            r#"{"put": {"experiment_id": "exp_a", "subject_id": "u", "kept": {"variation_id": "a"}}}"#,
            "var_",
        ),
        (
            r#"{"put": {"experiment_id": "exp_a", "subject_id": "u", "kept": {}}} {}"#,
            "variation_id",
        ),
    ];
    for (line, named) in faults {
        // Not even as the last line, once it has an end.
        check(&format!("{HEADER}{entry}\n{line}\n"), &["line 3", named]);
        check(&format!("{HEADER}{line}\n{entry}\n"), &["line 2", named]);
    }
}

#[test]
fn a_file_has_one_server() {
    let (files, other) = (Files::new(), Files::new());
    let server = files.serve();
    let options = ["--config", other.config.to_str().unwrap(), "--kept", files.options()[3]];
    let message = refused(&options);
    assert!(message.contains("kept.jsonl: another server has it"), "{message}");
    drop(server);
    drop(files.serve());

    // Nor can it be the document.
    let config = files.config.to_str().unwrap();
    assert!(refused(&["--config", config, "--kept", config]).contains("has it"));
    // And there is nothing to keep it for without one.
    run(&["serve", "--kept", files.options()[3]], b"").refused(2, "--config");
    let nowhere = files.directory.file("nowhere").join("kept.jsonl");
    let options = ["--config", config, "--kept", nowhere.to_str().unwrap()];
    assert!(refused(&options).contains("its directory"));
}

#[test]
fn what_cannot_be_written_is_not_remembered() {
    let files = Files::new();
    let inner = files.directory.file("inner");
    fs::create_dir(&inner).unwrap();
    let kept = inner.join("kept.jsonl");
    let server = Server::start(&[
        "--config",
        files.config.to_str().unwrap(),
        "--kept",
        kept.to_str().unwrap(),
    ]);
    let (_, [today, short]) = running(&server, "a");
    assert_eq!(attach(&server, "a", "attached", &today).0, 200);
    let whole = fs::read(&kept).unwrap();
    let member = users(0, 100).into_iter().find(|user| {
        let own = ask(&server, user).1;
        own["in_experiment"] == json!(true)
    });
    let member = member.unwrap();
    let away = files.directory.file("away");
    let unwritable = |server: &Server| {
        let refusals = [
            attach(server, "a", "new", &today),
            attach(server, "a", "attached", &short),
            server.send("DELETE", "/v4/experiments/a/users/attached", "", b""),
        ];
        for (status, refusal) in refusals {
            let error = &refusal["error"];
            let got = (status, &error["type"], &error["code"]);
            assert_eq!(got, (500, &json!("internal"), &json!("storage_error")));
        }
        // Who is remembered already needs no writing, and who is in nothing neither.
        assert_eq!(ask(server, &member).0, 200);
        assert_eq!(ask(server, "attached").1["reason"], "attached");
        let answers: Vec<_> = users(100, 130).iter().map(|user| ask(server, user)).collect();
        for (status, answer) in &answers {
            match status {
                200 => assert_eq!(answer["in_experiment"], json!(false)),
                _ => assert_eq!(
                    (*status, &answer["errorCode"]),
                    (500, &json!("storage_error")),
                    "{answer}"
                ),
            }
        }
        assert!(answers.iter().any(|(status, _)| *status == 500));
        let group = ask(server, "attached").1["variation_id"].clone();
        assert_eq!(group, json!(today));
    };

    fs::rename(&inner, &away).unwrap();
    unwritable(&server);
    fs::rename(&away, &inner).unwrap();
    // Another program's line is not written over.
    let ours = fs::read(&kept).unwrap();
    assert!(ours.starts_with(&whole));
    fs::write(&kept, &whole).unwrap();
    unwritable(&server);
    assert_eq!(fs::read(&kept).unwrap(), whole);
    fs::write(&kept, &ours).unwrap();

    set_status(&server, "a", "paused");
    for user in users(100, 130) {
        assert_eq!(ask(&server, &user).1["reason"], OUTSIDE);
    }
    assert_eq!(attach(&server, "a", "attached", &short).0, 200);
    assert_eq!(ask(&server, "attached").1["variation_id"], json!(short));
    assert_eq!(ask(&server, "new").1["reason"], OUTSIDE);
}

#[test]
fn a_line_that_only_partly_fits_leaves_nothing_behind() {
    let files = Files::new();
    // No file grows beyond some kilobytes, and to try is no reason to end.
    let limited = "trap '' XFSZ; ulimit -f 16; exec \"$0\" serve --port 0 \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", limited, env!("CARGO_BIN_EXE_variate")]).args(files.options());
    let server = Server::running(command);
    let (id, [today, _]) = running(&server, "a");
    let mut expected = Vec::new();
    // Then such as still fit.
    for name in ["x".repeat(250), "y".to_owned()] {
        let mut attached = (0..200).map(|number| format!("{name}-{number}"));
        let refused = attached.find(|user| match attach(&server, "a", user, &today) {
            (200, _) => {
                expected.push(put(&id, user, &today, true));
                false
            }
            (status, refusal) => {
                assert_eq!((status, &refusal["error"]["code"]), (500, &json!("storage_error")));
                true
            }
        });
        let refused = refused.unwrap();
        assert!(expected.len() > 5);
        assert_ne!(ask(&server, &refused).1["reason"], "attached");
        assert_eq!(files.lines(), expected);
    }
    server.end("TERM");
    let server = files.serve();
    assert_eq!(files.lines().len(), expected.len());
    assert_eq!(ask(&server, &format!("{}-0", "x".repeat(250))).1["reason"], "attached");
}
