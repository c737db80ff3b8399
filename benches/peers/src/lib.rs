//! `variate` beside the crates that a Rust program would use instead; see `README.md`.

pub mod assignments;
pub mod chart;
pub mod check;
pub mod engines;
pub mod loads;
pub mod machine;
pub mod measure;
pub mod memory;
pub mod readers;
pub mod results;
pub mod tables;
pub mod workloads;
pub mod world;
