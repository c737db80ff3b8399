//! Replays what the fuzzers start from, on any toolchain.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::fs;
use std::panic;
use std::path::Path;

#[cfg(feature = "auth0")]
#[path = "../fuzz/checks/auth0_request.rs"]
mod auth0_request;
#[path = "../fuzz/checks/partition_edits.rs"]
mod partition_edits;
#[path = "../fuzz/checks/snapshot_json.rs"]
mod snapshot_json;

#[test]
fn snapshots_survive_json() {
    replay("snapshot_json", snapshot_json::check);
}

#[cfg(feature = "auth0")]
#[test]
fn requests_are_answered() {
    replay("auth0_request", auth0_request::check);
}

#[test]
fn partitions_keep_their_word() {
    replay("partition_edits", partition_edits::check);
}

fn replay(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path());
    let mut count = 0;
    for file in files {
        let data = fs::read(&file).unwrap();
        if let Err(cause) = panic::catch_unwind(|| check(&data)) {
            eprintln!("on {}", file.display());
            panic::resume_unwind(cause);
        }
        count += 1;
    }
    assert!(count > 0, "{} must have files", corpus.display());
}
