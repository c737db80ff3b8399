//! What a server keeps, what it refuses itself, and how it ends.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use variate::Snapshot;

use super::server::{SEGMENTS, Server, refused};
use super::{Directory, run};

const FLAGS: &str = "/api/v2/flags/shop";

fn read(file: &Path) -> Snapshot {
    Snapshot::from_json(fs::read(file).unwrap()).unwrap()
}

#[test]
fn a_faulty_document_is_refused_and_left_as_it_is() {
    let directory = Directory::new();
    let file = directory.file("experiments.json");
    let path = file.to_str().unwrap();
    let faults = [
        ("{\"format\": \"variate/1\", \"flags\": [{\"id\": \"flg_a\"}]}", "flags[0]."),
        ("{\"format\": \"variate/1\", \"flag\": []}", "flag: "),
        ("{\"format\": \"variate/1\"", "JSON"),
        ("", "JSON"),
    ];
    for (document, named) in faults {
        fs::write(&file, document).unwrap();
        // Not even a change that is asked for at the start.
        let message = refused(&["--config", path, "--active-limit", "one"]);
        assert!(message.starts_with(&format!("variate: {path}: ")), "{message}");
        assert!(message.contains(named), "{message}");
        assert_eq!(fs::read_to_string(&file).unwrap(), document);
        assert_eq!(directory.names(), ["experiments.json"]);
    }
    assert!(refused(&["--config", directory.0.to_str().unwrap()]).contains("directory"));
    let nowhere = directory.file("nowhere").join("experiments.json");
    assert!(refused(&["--config", nowhere.to_str().unwrap()]).contains("its directory"));
}

#[test]
fn the_file_is_created_at_the_first_change_and_read_at_the_next_start() {
    let directory = Directory::new();
    let file = directory.file("experiments.json");

    let server = Server::with(&file);
    assert_eq!(server.send("GET", SEGMENTS, "", b"").0, 200);
    assert_eq!(server.create_segment("x").0, 400);
    assert!(directory.names().is_empty());
    let (status, created) = server.create_segment("Germany");
    assert_eq!(status, 201);
    assert_eq!(directory.names(), ["experiments.json"]);
    assert_eq!(read(&file).segments().count(), 1);
    assert_eq!(server.end("TERM").0, Some(0));

    let saved = fs::read(&file).unwrap();
    let server = Server::with(&file);
    let path = format!("{SEGMENTS}/{}", created["id"].as_str().unwrap());
    assert_eq!(server.send("GET", &path, "", b""), (200, created));
    assert_eq!(server.end("INT").0, Some(0));
    assert_eq!(fs::read(&file).unwrap(), saved);
}

#[test]
fn the_limit_is_a_change_of_the_document() {
    let directory = Directory::new();
    let file = directory.file("experiments.json");
    let path = file.to_str().unwrap();
    let options = ["--config", path, "--active-limit", "per-flow"];

    Server::start(&options).end("TERM");
    assert_eq!(read(&file).settings().active_limit, variate::ActiveLimit::PerFlow);
    let saved = fs::read(&file).unwrap();
    Server::start(&options).end("TERM");
    Server::with(&file).end("TERM");
    assert_eq!(fs::read(&file).unwrap(), saved);
}

#[test]
fn a_link_and_the_permissions_stay() {
    let directory = Directory::new();
    let (file, link) = (directory.file("kept.json"), directory.file("link.json"));
    fs::write(&file, "{\"format\": \"variate/1\"}").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("kept.json", &link).unwrap();

    let server = Server::with(&link);
    assert_eq!(server.create_segment("Germany").0, 201);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(read(&file).segments().count(), 1);
}

#[test]
fn what_cannot_be_saved_does_not_happen() {
    let directory = Directory::new();
    let inner = directory.file("inner");
    fs::create_dir(&inner).unwrap();
    let file = inner.join("experiments.json");
    let server = Server::with(&file);
    assert_eq!(server.create_segment("Germany").0, 201);
    let kept = server.send("GET", SEGMENTS, "", b"");

    fs::rename(&inner, directory.file("away")).unwrap();
    let (status, refusal) = server.create_segment("Austria");
    assert_eq!((status, &refusal["errorCode"]), (500, &json!("not_recorded")));
    assert_eq!(server.send("GET", SEGMENTS, "", b""), kept);

    fs::rename(directory.file("away"), &inner).unwrap();
    assert_eq!(server.create_segment("Austria").0, 201);
    assert_eq!(read(&file).segments().count(), 2);
}

#[test]
fn what_another_program_has_written_is_not_overwritten() {
    let directory = Directory::new();
    let file = directory.file("experiments.json");
    let server = Server::with(&file);
    assert_eq!(server.create_segment("Germany").0, 201);
    let saved = fs::read(&file).unwrap();
    // Written anew, it is still the same.
    fs::write(&file, &saved).unwrap();
    assert_eq!(server.create_segment("France").0, 201);
    fs::write(&file, &saved).unwrap();
    let (status, refusal) = server.create_segment("Austria");
    assert_eq!((status, &refusal["errorCode"]), (500, &json!("not_recorded")));
    assert!(!refusal["message"].as_str().unwrap().contains("program"), "{refusal}");
    assert_eq!(fs::read(&file).unwrap(), saved);
}

#[test]
fn a_file_has_one_server() {
    let directory = Directory::new();
    let file = directory.file("experiments.json");
    let options = ["--config", file.to_str().unwrap()];
    let server = Server::with(&file);
    assert!(refused(&options).contains("another server has it"));
    drop(server);
    Server::with(&file);
}

#[test]
fn a_reader_always_finds_a_whole_document() {
    const COMMITS: usize = 50;
    let directory = Directory::new();
    let file = directory.file("experiments.json");
    let server = Server::with(&file);
    assert_eq!(server.create_segment("segment 0").0, 201);

    thread::scope(|scope| {
        scope.spawn(|| {
            let (begin, mut last) = (Instant::now(), 1);
            while last < COMMITS && begin.elapsed() < Duration::from_secs(60) {
                let count = read(&file).segments().count();
                assert!(count >= last);
                last = count;
            }
        });
        for number in 1..COMMITS {
            assert_eq!(server.create_segment(&format!("segment {number}")).0, 201);
            // Whoever got an answer finds the change in the file.
            assert_eq!(read(&file).segments().count(), number + 1);
        }
    });
    assert_eq!(directory.names(), ["experiments.json"]);
}

#[test]
fn commits_of_many_clients_at_once_are_all_saved() {
    const CLIENTS: usize = 8;
    let directory = Directory::new();
    let file = directory.file("experiments.json");
    let server = Server::with(&file);
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let server = &server;
            scope.spawn(move || {
                for number in 0..5 {
                    let name = format!("segment {client} {number}");
                    assert_eq!(server.create_segment(&name).0, 201);
                }
            });
        }
    });
    assert_eq!(read(&file).segments().count(), CLIENTS * 5);
}

#[test]
fn the_server_ends_in_time_whatever_its_clients_do() {
    for signal in ["INT", "TERM"] {
        let server = Server::start(&[]);
        // An idle connection, a head and a body that never come whole.
        let _idle = server.connect();
        let mut head = server.connect();
        head.write_all(b"POST /context HTTP/1.1\r\nhost: local").unwrap();
        let mut body = server.connect();
        body.write_all(b"POST /context HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{\"fl")
            .unwrap();
        // Answered after those were accepted.
        assert_eq!(server.send("GET", SEGMENTS, "", b"").0, 200);
        let (code, took) = server.end(signal);
        assert_eq!(code, Some(0));
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}

#[test]
fn a_request_in_flight_is_answered_before_the_end() {
    let server = Server::start(&[]);
    let (first, rest) = ("{\"flow\": ", "\"login\", \"ids\": {}}");
    let mut stream = server.connect();
    write!(
        stream,
        "POST /context HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{first}",
        first.len() + rest.len()
    )
    .unwrap();
    assert_eq!(server.send("GET", SEGMENTS, "", b"").0, 200);
    let address = server.address;
    let client = thread::spawn(move || {
        // By the time that nobody listens any more, the server has been told.
        while TcpStream::connect(address).is_ok() {
            thread::sleep(Duration::from_millis(10));
        }
        stream.write_all(rest.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    let (code, took) = server.end("TERM");
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(client.join().unwrap().starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn a_port_that_is_taken_is_named() {
    let server = Server::start(&[]);
    let port = server.address.port().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_variate"))
        .args(["serve", "--port", &port])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains(&format!("port {port} is taken")), "{message}");
    assert!(server.address.ip().is_loopback());
}

#[test]
fn what_the_server_refuses_itself_comes_in_the_envelope() {
    let server = Server::start(&[]);
    let envelope = |(status, body): (u16, Value)| {
        let keys: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["error", "errorCode", "message", "statusCode"]);
        assert_eq!(body["statusCode"], json!(status));
        (status, body["errorCode"].as_str().unwrap().to_owned())
    };
    let question = br#"{"flow": "login", "ids": {"device": "d-1"}}"#;
    let segment = br#"{"name": "Germany", "rules": [{"match": {"country": ["DE"]}}]}"#;

    let page = "origin: http://localhost:7788\r\ncontent-type: application/json\r\n";
    for (method, path, body) in [
        ("POST", SEGMENTS, &segment[..]),
        ("GET", SEGMENTS, &[]),
        ("OPTIONS", SEGMENTS, &[]),
        ("POST", "/context", &question[..]),
    ] {
        let refused = envelope(server.send(method, path, page, body));
        assert_eq!(refused, (403, "origin_not_allowed".into()));
    }
    assert_eq!(server.send("GET", SEGMENTS, "", b"").1, json!({"segments": []}));

    let mut longest = question.to_vec();
    longest.resize(1 << 20, b' ');
    assert_eq!(server.send("POST", "/context", "", &longest).0, 200);
    for (path, length) in [("/context", (1 << 20) + 1), (SEGMENTS, 8 << 20)] {
        let too_long = envelope(server.send("POST", path, "", &vec![b' '; length]));
        assert_eq!(too_long, (413, "payload_too_large".into()));
    }

    let refused = envelope(server.send("GET", "/context", "", b""));
    assert_eq!(refused, (405, "method_not_allowed".into()));
}

#[test]
fn what_the_server_refuses_itself_is_said_as_the_surface_says_it() {
    let server = Server::start(&["--launchdarkly-project", "shop"]);
    let page = "origin: http://localhost:7788\r\n";
    let many = vec![b' '; (1 << 20) + 1];
    for (headers, body, status, code) in
        [(page, &[][..], 403, "forbidden"), ("", &many, 413, "payload_too_large")]
    {
        let (answered, refusal) = server.send("GET", FLAGS, headers, body);
        assert_eq!((answered, &refusal["code"]), (status, &json!(code)));
        let keys: Vec<&str> = refusal.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["code", "message"]);
    }
    for (headers, body, status, code) in
        [(page, &[][..], 403, "control_unauthorized"), ("", &many, 413, "invalid_data")]
    {
        let (answered, refusal) = server.send("GET", "/v4/experiments", headers, body);
        let error = &refusal["error"];
        let got = (answered, &error["type"], &error["code"]);
        assert_eq!(got, (status, &json!("request"), &json!(code)));
        let keys: Vec<&str> = error.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["code", "message", "type"]);
    }
}

#[test]
fn all_surfaces_work_on_one_engine() {
    let server = Server::start(&[
        "--launchdarkly-project",
        "shop",
        "--launchdarkly-environment",
        "test",
        "--launchdarkly-arithmetic",
        "float32",
    ]);
    let (status, theirs) = server.post(FLAGS, &json!({"key": "cart", "name": "Cart"}));
    assert_eq!(status, 201);
    assert_eq!(theirs["environments"]["test"]["on"], json!(false));
    let segment = server.create_segment("Germany");
    assert_eq!(segment.0, 201);

    for prefix in ["", "/api/v2"] {
        let path = format!("{prefix}/experimentation/feature-flags");
        let (status, flags) = server.send("GET", &path, "authorization: any\r\n", b"");
        assert_eq!((status, &flags["feature_flags"][0]["name"]), (200, &json!("Cart")));
    }
    let own = json!({"name": "Sign-in", "parameters": {"a": {"type": "boolean", "value": true}}});
    let (status, own) = server.post("/experimentation/feature-flags", &own);
    assert_eq!(status, 201);
    let (status, flags) = server.send("GET", FLAGS, "authorization: any\r\n", b"");
    let names: Vec<_> = flags["items"].as_array().unwrap().iter().map(|own| &own["name"]).collect();
    assert_eq!((status, names), (200, vec![&json!("Cart"), &json!("Sign-in")]));

    // What is created on one surface's paths is listed on the others'.
    let paywall = json!({"name": "Paywall", "alias_id": "paywall_v3", "context_key": "paywall"});
    let (status, paywall) = server.post("/v4/experiments", &paywall);
    assert_eq!(status, 201);
    let experiments = "/api/v2/projects/shop/environments/test/experiments";
    let named = |path: &str, list: &str| {
        let (status, body) = server.send("GET", path, "", b"");
        assert_eq!(status, 200, "{path}: {body}");
        let names = body[list].as_array().unwrap().iter().map(|own| own["name"].clone());
        names.collect::<Vec<_>>()
    };
    assert_eq!(named("/experimentation/experiments", "experiments"), ["Paywall"]);
    assert_eq!(named(experiments, "items"), ["Paywall"]);
    let path = format!("{experiments}/paywall_v3");
    let theirs = server.send("GET", &path, "", b"");
    assert_eq!((theirs.0, &theirs.1["_id"]), (200, &paywall["id"]));
    let flag = format!("/experimentation/feature-flags/{}", own["id"].as_str().unwrap());
    let control = json!({"name": "control", "overrides": {}});
    let (_, variation) = server.post(&format!("{flag}/variations"), &control);
    let headline = json!({
        "name": "Sign-in headline", "feature_flag_id": own["id"], "authentication_flow": "all",
        "allocation_strategy": "percentage", "assignment_config": {"subject": "device"},
        "allocations": [{"variation_id": variation["id"], "weight": 100, "is_control": true}],
    });
    let (status, created) = server.post("/experimentation/experiments", &headline);
    assert_eq!(status, 201, "{created}");
    let mut listed = named("/v4/experiments", "data");
    listed.sort_by_key(ToString::to_string);
    assert_eq!(listed, ["Paywall", "Sign-in headline"]);
    let (status, shown) = server.send(
        "GET",
        &format!("/v4/experiments/{}", created["id"].as_str().unwrap()),
        "",
        b"",
    );
    assert_eq!((status, &shown["alias_id"]), (200, &created["id"]));

    for (path, member) in [
        ("/api/v2/flags/default", "code"),
        ("/api/v2/experimentation-settings", "code"),
        ("/api/v2/", "code"),
        ("/api/v2", "errorCode"),
        ("/flags/shop", "errorCode"),
        ("/api/v2/experimentation", "errorCode"),
        ("/api/v2/experimentation/flags", "errorCode"),
        ("/v4", "errorCode"),
    ] {
        let (status, refusal) = server.send("GET", path, "", b"");
        assert_eq!((status, &refusal[member]), (404, &json!("not_found")), "{path}");
    }
}

#[test]
fn a_question_is_an_object_of_known_members() {
    let server = Server::start(&[]);
    let nothing = json!({"context": null, "log": null, "overridden": false, "warnings": []});
    let whole = json!({
        "flow": "login", "ids": {"device": "d-1", "user": "u-1"}, "attributes": {"country": "DE"},
        "chain": null, "experiment_id": null, "variation_id": null, "segment_id": null, "kept": {},
    });
    assert_eq!(server.post("/context", &whole), (200, nothing.clone()));
    assert_eq!(server.post("/context", &json!({"flow": "", "ids": {}})), (200, nothing));
    let orphan = json!({"flow": "login", "ids": {}, "segment_id": "seg_a"});
    let (_, resolution) = server.post("/context", &orphan);
    assert_eq!(resolution["warnings"], json!(["experiment_orphaned_params"]));

    let faulty = [
        (r#"{"ids": {}}"#, "one of flow and chain"),
        (r#"{"flow": "login", "chain": "paywall", "ids": {}}"#, "one of flow and chain"),
        (r#"{"chain": 7, "ids": {}}"#, "7"),
        (r#"{"chain": "paywall"}"#, "ids"),
        (r#"{"flow": "login"}"#, "missing field `ids` at line 1 column 17"),
        (r#"{"chain": "paywall", "ids": {}, "experiment_id": "exp_a"}"#, "experiment_id"),
        (r#"{"chain": "paywall", "ids": {}, "variation_id": "var_a"}"#, "variation_id"),
        (r#"{"chain": "paywall", "ids": {}, "segment_id": "seg_a"}"#, "segment_id"),
        (r#"{"flow": "login"}"#, "ids"),
        (r#"{"flow": "login", "ids": {}, "flows": 1}"#, "flows"),
        (r#"{"flow": "login", "flow": "login", "ids": {}}"#, "flow"),
        (r#"{"flow": "login", "ids": {"device": "a", "device": "b"}}"#, "twice"),
        (r#"{"flow": "login", "ids": {"device": 7}}"#, "7"),
        (r#"{"flow": "login", "ids": {}, "attributes": ["country"]}"#, "object"),
        (r#"{"flow": "login", "ids": {}, "attributes": {"geo": {"a": 1, "a": 2}}}"#, "twice"),
        (r#"{"flow": "login", "ids": {}, "kept": [["exp_a", "var_a"]]}"#, "object"),
        (r#"["login", {}]"#, "object"),
        (r#"{"flow": "login", "ids": {}} {}"#, "trailing"),
        ("", "EOF"),
    ];
    for (body, named) in faulty {
        let (status, refusal) = server.send("POST", "/context", "", body.as_bytes());
        assert_eq!((status, &refusal["errorCode"]), (400, &json!("invalid_body")), "{body}");
        let message = refusal["message"].as_str().unwrap();
        assert!(message.contains(named), "{body}: {message}");
    }
}

#[test]
fn help_says_what_there_is() {
    let help = run(&["serve", "--help"], b"").done();
    for option in [
        "--config",
        "--port",
        "--auth0-generation",
        "--launchdarkly-project",
        "--launchdarkly-environment",
        "--launchdarkly-arithmetic",
        "--active-limit",
        "--kept",
        "/context",
        "/v4/",
    ] {
        assert!(help.contains(option), "{option}");
    }
}
