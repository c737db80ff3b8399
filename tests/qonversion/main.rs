//! The laws of Qonversion's experiments, written from their published description and not from the
//! code.
//!
//! Every request of every test goes through [`support::Api`], which sees to it that what is refused,
//! or only reads, changes nothing, and that every body has the envelope of Qonversion's answers.

#![cfg(feature = "qonversion")]
#![allow(
    clippy::needless_pass_by_value,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test may"
)]

#[path = "../common/mod.rs"]
mod common;
mod create;
mod errors;
mod groups;
mod lists;
mod mutations;
mod patch;
mod selection;
mod status;
mod support;
mod users;
