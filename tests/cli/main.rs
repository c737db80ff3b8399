//! The command line, as scripts use it: exact output, exit codes, order.

#![cfg(all(feature = "cli", unix))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

#[path = "../common/mod.rs"]
mod common;

mod assign;
mod chain;
mod explain;
mod kept;
mod lint;
mod preview;
mod serve;
mod server;
mod sql;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use variate::{Allocation, Change, ExperimentPatch, NewExperiment, Snapshot, Status};

use common::{brought_to, ok, p, share, world};

/// A directory of its own for a test, gone at the end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("cli-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The path of a new file with this content.
    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let file = self.file(name);
        fs::write(&file, content).unwrap();
        file.into_os_string().into_string().unwrap()
    }

    /// The path of the document of a snapshot.
    fn config(&self, snapshot: &Snapshot) -> String {
        self.write("experiments.json", snapshot.to_json())
    }

    /// What is there beside the locks, which stay.
    fn names(&self) -> Vec<String> {
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<String> =
            fs::read_dir(&self.0).unwrap().map(|e| name(e).into_string().unwrap()).collect();
        names.retain(|name| name.strip_suffix(".lock").is_none());
        names.sort();
        names
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// How a command ended.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    /// What it printed, when it did what it was to.
    #[track_caller]
    fn done(self) -> String {
        assert_eq!((self.code, &*self.stderr), (Some(0), ""), "{}", self.stdout);
        self.stdout
    }

    /// What it printed, when it was at odds with what it was given, which it says with these words.
    #[track_caller]
    fn refused(self, code: i32, words: &str) -> String {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        assert!(self.stderr.contains(words), "{words:?}: {}", self.stderr);
        if code == 3 {
            assert!(self.stderr.starts_with("variate: ") && self.stderr.ends_with('\n'));
            assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        }
        self.stdout
    }
}

fn spawn(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_variate"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs a command on this input to its end.
fn run(arguments: &[&str], input: &[u8]) -> Ran {
    let mut child = spawn(arguments);
    let mut stdin = child.stdin.take().unwrap();
    let output = thread::scope(|scope| {
        // A command that is refused reads nothing.
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().unwrap()
    });
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A pipe that nobody reads.
fn unread() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// The world with both experiments active, half of all in `exp_weights` and the others outside it
/// with `var_d`, a paused experiment by user, and a draft.
fn running() -> Snapshot {
    let half = ExperimentPatch::new().traffic(p("50")).outside_variation_id(p("var_d"));
    let by_user = NewExperiment::by_percentage("By user", p("flg_a"))
        .id(p("exp_user"))
        .subject_kind("user")
        .allocation(share("var_a", "50").control())
        .allocation(share("var_b", "50"));
    let draft = NewExperiment::by_percentage("Draft", p("flg_a"))
        .id(p("exp_draft"))
        .allocation(Allocation::share(p("var_a"), p("100")).control());
    let world = ok(
        &world(),
        vec![Change::patch_experiment(&p("exp_weights"), half), by_user.into(), draft.into()],
    );
    let world = brought_to(&world, "exp_weights", Status::Active);
    let world = brought_to(&world, "exp_user", Status::Active);
    brought_to(&world, "exp_segments", Status::Active)
}

#[test]
fn help_and_version() {
    assert_eq!(run(&["--version"], b"").done(), format!("variate {}\n", env!("CARGO_PKG_VERSION")));
    assert!(run(&[], b"").stderr.contains("Usage: variate <COMMAND>"));
    assert_eq!(run(&["assing"], b"").code, Some(2));
    let help = run(&["--help"], b"").done();
    for code in [
        "0  done",
        "1  lint has findings; serve cannot start or go on",
        "2  the command line",
        "3  what was given",
    ] {
        assert!(help.contains(code), "{code}");
    }
    for command in ["assign", "explain", "lint", "preview", "serve", "sql"] {
        assert!(help.contains(&format!("  {command} ")), "{command}");
        let own = run(&[command, "--help"], b"").done();
        assert!(own.contains(&format!("Usage: variate {command} ")), "{own}");
        let (_, example) = own.split_once("\nExample").unwrap();
        let line = format!("\n  variate {command} --config experiments.json");
        assert!(example.contains(&line), "{own}");
    }
}

#[test]
fn whoever_does_not_read_is_no_fault_and_a_full_disk_is() {
    let directory = Directory::new();
    let config = directory.config(&running());
    let changes = directory.write("changes.json", "[]");
    let on = ["--config", &config, "--experiment", "exp_weights"];
    let commands: [(&str, &[&str]); 4] = [
        ("assign", &["--ids", &changes]),
        ("explain", &["device-1"]),
        ("preview", &["--changes", &changes]),
        ("sql", &["--dialect", "spark", "--id-column", "id"]),
    ];
    for (command, options) in commands {
        let end = |stdout: Stdio| {
            let mut command_line = Command::new(env!("CARGO_BIN_EXE_variate"));
            let command_line = command_line.arg(command).args(on).args(options);
            let output = command_line.stdout(stdout).output().unwrap();
            (output.status.code(), String::from_utf8(output.stderr).unwrap())
        };
        assert_eq!(end(unread()), (Some(0), String::new()), "{command}");
        if let Ok(full) = fs::File::options().write(true).open("/dev/full") {
            let (code, message) = end(full.into());
            assert_eq!(code, Some(3), "{command}");
            assert!(message.starts_with("variate: standard output: "), "{message}");
        }
    }
}
