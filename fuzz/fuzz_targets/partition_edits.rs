#![no_main]

#[path = "../checks/partition_edits.rs"]
mod partition_edits;

libfuzzer_sys::fuzz_target!(|data: &[u8]| partition_edits::check(data));
