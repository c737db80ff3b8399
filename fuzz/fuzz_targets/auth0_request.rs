#![no_main]

#[path = "../checks/auth0_request.rs"]
mod auth0_request;

libfuzzer_sys::fuzz_target!(|data: &[u8]| auth0_request::check(data));
