//! The examples run, and print what they promise.
#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Where an example is, built: with the whole workspace, as `cargo verify` has done, so that nothing is built twice.
fn example(name: &str) -> PathBuf {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--locked", "--workspace", "--examples", "--message-format", "json"]);
    let built = cargo.args((!cfg!(debug_assertions)).then_some("--release"));
    let built = built.stdin(Stdio::null()).stderr(Stdio::inherit()).output().unwrap();
    assert!(built.status.success(), "the examples are not built");
    let messages = String::from_utf8(built.stdout).unwrap();
    let messages = messages.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut examples = messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    examples.find(|path| path.file_stem().is_some_and(|stem| stem == name)).expect("an example of this name")
}

fn run(name: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(example(name));
    let output = command.args(arguments).stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The first of twelve ports in a row that nobody listens on, below those that the system hands out by itself.
fn base_port() -> u16 {
    let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    (7400..30_000).step_by(20).find(|base| (*base..base + 12).all(free)).expect("free ports")
}

#[test]
fn counter_counts() {
    assert_eq!(run("counter", &[]), "1\n2\n3\n");
}

#[test]
fn kv_has_many_operations_in_flight() {
    let printed = run("kv", &[]);
    assert!(printed.starts_with("1024 operations in ") && printed.contains("\nkey42 = 42\n"), "{printed}");
    assert_eq!(printed.matches("replica ").count(), 4, "{printed}");
}

#[test]
fn bank_keeps_the_sum() {
    assert_eq!(run("bank", &[]), "500 transfers between 4096 accounts; the sum is still 4096000\n");
}

#[test]
fn embedded_sells_every_seat_once() {
    let printed = run("embedded", &[&base_port().to_string()]);
    assert_eq!(printed, "8 clerks sold 1250 seats in 500 orders, none of them twice\n");
}
