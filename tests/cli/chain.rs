//! Chains on the command line: what a chain gives, line by line, and why.

use serde_json::{Value, json};
use variate::{Chain, Keep, NewExperiment, Snapshot, Status, Subject};

use super::common::{brought_to, ok, p, share, world};
use super::{Directory, run};

/// One of a chain, by device, for half of all subjects.
fn member(id: &str, chain: &str) -> NewExperiment {
    NewExperiment::by_percentage(format!("Number {id}"), p("flg_a"))
        .id(p(id))
        .traffic(p("50"))
        .allocation(share("var_a", "50").control())
        .allocation(share("var_b", "50"))
        .chain(chain)
}

/// The world with three chains: `paywall` by device, the second of whose experiments has a key and
/// keeps everyone;
/// `both`, by device and then by user; and `later`, a draft.
fn chained() -> Snapshot {
    let members = [
        member("exp_first", "paywall"),
        member("exp_second", "paywall").key("second").keep(Keep::Always),
        member("exp_device", "both"),
        member("exp_user", "both").subject_kind("user"),
    ];
    let started = members.into_iter().fold(world(), |snapshot, new| {
        let id = new.id.clone().unwrap();
        brought_to(&ok(&snapshot, new), id.as_str(), Status::Active)
    });
    ok(&started, member("exp_next", "later"))
}

fn on<'a>(command: &'a str, config: &'a str, chain: &'a str, options: &[&'a str]) -> Vec<&'a str> {
    [&[command, "--config", config, "--chain", chain][..], options].concat()
}

/// The line of an id.
fn line(chain: Chain<'_>, id: &str, subject: &Subject<'_>) -> String {
    let decision = chain.assign(subject);
    let variation = decision.variation_id().map_or("", |id| id.as_str());
    let experiment = decision.experiment_id().map_or("", |id| id.as_str());
    format!("{id}\t{variation}\t{}\t{experiment}\n", decision.reason().as_str())
}

#[test]
fn a_chain_assigns_as_the_library_s() {
    let (directory, snapshot) = (Directory::new(), chained());
    let config = directory.config(&snapshot);
    let chain = snapshot.chain("paywall");
    let ids: Vec<String> = (0..1_000).map(|number| format!("d-{number}")).collect();
    let input = ids.join("\n");
    let text = run(&on("assign", &config, "paywall", &[]), input.as_bytes()).done();
    let expected: String = ids.iter().map(|id| line(chain, id, &Subject::new(id))).collect();
    assert_eq!(text, expected);
    for end in ["\tsplit\texp_first", "\tsplit\texp_second", "\t\tnot_sampled\t"] {
        assert!(text.lines().filter(|line| line.ends_with(end)).count() > 100, "{end}");
    }

    let printed = run(&on("assign", &config, "paywall", &["--json"]), input.as_bytes()).done();
    assert_eq!(printed.lines().count(), ids.len());
    for (line, id) in printed.lines().zip(&ids) {
        let mut row = serde_json::to_value(chain.assign(&Subject::new(id))).unwrap();
        row["id"] = json!(id);
        assert_eq!(serde_json::from_str::<Value>(line).unwrap(), row);
    }

    // One of which nothing runs has nothing for anybody.
    let none = run(&on("assign", &config, "later", &[]), b"a\n").done();
    assert_eq!(none, "a\t\tnot_found\t\n");
}

#[test]
fn a_chain_is_explained_experiment_by_experiment() {
    let (directory, snapshot) = (Directory::new(), chained());
    let config = directory.config(&snapshot);
    let ids = ["d-1", "d-2", "d-3", "", "d-4"];
    let explained =
        ids.map(|id| snapshot.chain("paywall").explain(&Subject::new(id)).collect::<Vec<_>>());
    let trees = explained.each_ref().map(|own| {
        let heads = own.iter().map(|own| own.decision().experiment_id().unwrap().as_str());
        assert_eq!(heads.collect::<Vec<_>>(), ["exp_first", "exp_second"]);
        let trees = own.iter().map(|own| format!("{}\n", own.to_string().trim_end()));
        trees.collect::<Vec<_>>().concat()
    });
    assert!(trees.iter().all(|tree| tree.contains("\nexp_second → ")));
    let texts = trees.join("\n");
    let arguments = on("explain", &config, "paywall", &ids);
    assert_eq!(run(&arguments, b"not-read").done(), texts);
    let lines = ids.join("\n");
    assert_eq!(run(&on("explain", &config, "paywall", &[]), lines.as_bytes()).done(), texts);

    let printed = run(&[&arguments[..], &["--json"]].concat(), b"").done();
    assert_eq!(printed.lines().count(), ids.len());
    for ((line, id), own) in printed.lines().zip(ids).zip(&explained) {
        let rows = own.iter().map(|explanation| {
            let mut row = serde_json::to_value(explanation).unwrap();
            row["id"] = json!(id);
            row
        });
        let rows = Value::Array(rows.collect());
        assert_eq!(serde_json::from_str::<Value>(line).unwrap(), rows);
    }

    let none = run(&on("explain", &config, "later", &["a", "b"]), b"").done();
    let said = "no experiment of the chain runs\n";
    assert_eq!(none, format!("{said}\n{said}"));
    assert_eq!(run(&on("explain", &config, "later", &["a", "--json"]), b"").done(), "[]\n");
}

#[test]
fn lines_of_json_name_experiments_by_id_or_key() {
    let (directory, snapshot) = (Directory::new(), chained());
    let config = directory.config(&snapshot);
    let json = ["--input", "json"];
    let check = |member: &str, experiment: &str, printed: &str| {
        let line = json!({"ids": {"device": "d-1"}, member: {experiment: "var_b"}}).to_string();
        let chain = run(&on("assign", &config, "paywall", &json), line.as_bytes()).done();
        assert_eq!(chain, format!("d-1\tvar_b\t{printed}\texp_second\n"), "{line}");
        let alone = ["assign", "--config", &config, "--experiment", "second"];
        let alone = run(&[&alone[..], &json].concat(), line.as_bytes()).done();
        assert_eq!(alone, format!("d-1\tvar_b\t{printed}\n"), "{line}");
        let explain = ["explain", "--config", &config, "--experiment", "exp_second"];
        let tree = run(&[&explain[..], &json].concat(), line.as_bytes()).done();
        let head = format!("exp_second → var_b ({printed})");
        assert_eq!(tree.lines().next(), Some(&*head), "{line}");
    };
    for name in ["exp_second", "second"] {
        for member in ["forced", "attached", "kept"] {
            check(member, name, member);
        }
    }
    let refused = |command: &str, line: &Value, said: &str| {
        let options = on(command, &config, "paywall", &json);
        let said = format!("variate: standard input: line 1: {said}\n");
        assert_eq!(run(&options, line.to_string().as_bytes()).refused(3, &said), "");
    };
    for command in ["assign", "explain"] {
        for member in ["forced", "attached", "kept"] {
            let gone = json!({"ids": {}, member: {"exp_gone": "var_b"}});
            refused(command, &gone, &format!("{member}: there is no experiment \"exp_gone\""));
            let twice = json!({"ids": {}, member: {"exp_second": "var_b", "second": "var_b"}});
            refused(command, &twice, &format!("{member}: exp_second stands there twice"));
        }
    }
}

#[test]
fn a_chain_by_two_kinds_asks_which() {
    let (directory, snapshot) = (Directory::new(), chained());
    let config = directory.config(&snapshot);
    let chain = snapshot.chain("both");
    let missing =
        "variate: --kind is missing: the experiments of the chain go by device and user\n";
    for command in ["assign", "explain"] {
        run(&on(command, &config, "both", &[]), b"a\n").refused(2, missing);
    }
    for (kind, told) in [
        ("device", "variate: --kind device: exp_user goes by user\n"),
        ("user", "variate: --kind user: exp_device goes by device\n"),
    ] {
        let ran = run(&on("assign", &config, "both", &["--kind", kind]), b"a\nb\n");
        let lines = ["a", "b"].map(|id| line(chain, id, &Subject::of(kind, id))).concat();
        assert_eq!((ran.code, ran.stdout, &*ran.stderr), (Some(0), lines, told));
        let tree = run(&on("explain", &config, "both", &["--kind", kind, "a"]), b"").done();
        assert_eq!(tree.matches("has no id of kind").count(), 1, "{tree}");
    }

    // A line is called by its id of the first kind, wherever it ends up.
    let subject = |number: u32| (format!("d-{number}"), format!("u-{number}"));
    let subjects: Vec<(String, String)> = (0..100).map(subject).collect();
    let both =
        subjects.iter().map(|(device, user)| json!({"ids": {"device": device, "user": user}}));
    let input: Vec<String> = both.map(|line| line.to_string()).collect();
    let options = on("assign", &config, "both", &["--input", "json"]);
    let expected = subjects
        .iter()
        .map(|(device, user)| line(chain, device, &Subject::new(device).with_id("user", user)));
    let expected: String = expected.collect();
    assert!(expected.contains("\texp_device\n") && expected.contains("\texp_user\n"));
    assert_eq!(run(&options, input.join("\n").as_bytes()).done(), expected);
    let user = br#"{"ids": {"device": "", "user": "u-1"}}"#;
    assert!(run(&options, user).done().starts_with("u-1\t"));
    assert!(run(&options, br#"{"ids": {}}"#).done().starts_with("\t\t"));
}

#[test]
fn what_is_no_chain_is_refused() {
    let (directory, snapshot) = (Directory::new(), chained());
    let config = directory.config(&snapshot);
    for command in ["assign", "explain"] {
        let check = |options: &[&str], code: i32, words: &str| {
            let all = [&[command, "--config", &config][..], options].concat();
            assert_eq!(run(&all, b"a\n").refused(code, words), "");
        };
        let there = r#"only "both", "later", "paywall""#;
        let unknown = format!("variate: {config}: there is no chain \"paywal\", {there}\n");
        check(&["--chain", "paywal"], 3, &unknown);
        check(&["--chain", "exp_first"], 3, "there is no chain \"exp_first\"");
        check(&["--chain", ""], 3, "there is no chain \"\"");
        check(&["--chain", "paywall", "--experiment", "exp_first"], 2, "--experiment");
        check(&["--chain", "paywall", "--chain", "both"], 2, "--chain");
        check(&[], 2, "--chain");
        for option in ["--forced", "--attached", "--kept"] {
            check(&["--chain", "paywall", option, "var_b"], 2, option);
        }
    }
    let bare = directory.write("bare.json", world().to_json());
    let unknown = format!("variate: {bare}: there is no chain \"paywall\"\n");
    run(&on("assign", &bare, "paywall", &[]), b"").refused(3, &unknown);
    // Many names help nobody.
    let many = ('a'..='j').fold(chained(), |snapshot, name| {
        ok(&snapshot, member(&format!("exp_{name}"), &format!("chain {name}")))
    });
    let many = directory.write("many.json", many.to_json());
    let unknown = format!("variate: {many}: there is no chain \"paywal\"\n");
    run(&on("assign", &many, "paywal", &[]), b"").refused(3, &unknown);
}
