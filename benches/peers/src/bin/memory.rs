//! Counts what is allocated, and prints it as JSON.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use variate_peers::memory::{Count, memory};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    let memory = memory(count);
    println!("{}", serde_json::to_string(&memory).expect("JSON"));
}

fn count() -> Count {
    let stats = ALLOCATOR.stats();
    Count {
        allocations: stats.allocations + stats.reallocations,
        live_bytes: stats.bytes_allocated.cast_signed() - stats.bytes_deallocated.cast_signed(),
    }
}
