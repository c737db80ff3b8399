//! The laws of LaunchDarkly's experiments, written from their published description and not from
//! the code.
//!
//! Every request of every test goes through [`support::Api`], which sees to it that what is refused,
//! or only reads, changes nothing, and that a refusal has the envelope of LaunchDarkly's errors.

#![cfg(feature = "launchdarkly")]
#![allow(
    clippy::needless_pass_by_value,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test may"
)]

mod allocation;
mod atomicity;
#[path = "../common/mod.rs"]
mod common;
mod create;
mod fields;
mod gates;
mod groups;
mod instructions;
mod iterations;
mod lists;
mod mutations;
mod show;
mod support;
mod traffic;
