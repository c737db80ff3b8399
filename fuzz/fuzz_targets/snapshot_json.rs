#![no_main]

#[path = "../checks/snapshot_json.rs"]
mod snapshot_json;

libfuzzer_sys::fuzz_target!(|data: &[u8]| snapshot_json::check(data));
