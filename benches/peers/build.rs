//! Notes which compiler builds the comparison.

use std::process::Command;

fn main() {
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let version = Command::new(compiler).arg("--version").output();
    let version = version.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    let version = version.as_deref().unwrap_or("unknown").trim();
    println!("cargo::rustc-env=COMPILER={version}");
    println!("cargo::rerun-if-changed=build.rs");
}
