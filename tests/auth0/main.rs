//! The laws of Auth0's surface, written from its published description and not from the code.
//!
//! Every request of every test goes through [`support::Api`], which holds each response against
//! the strict [`schema`] and sees to it that what is refused, or only reads, changes nothing.

#![cfg(feature = "auth0")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test may"
)]

mod beyond;
#[path = "../common/mod.rs"]
mod common;
mod equivalence;
mod faults;
mod fuzzing;
mod lifecycle;
mod operations;
mod overrides;
mod paging;
mod protocol;
mod ramp;
mod runtime;
mod schema;
mod support;
mod threads;
