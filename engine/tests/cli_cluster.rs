//! Verbs that run replicas: what `replica` refuses, and a whole cluster under `local`.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A process that does not outlive its test.
struct Process(Child);

impl Process {
    fn start(directory: &Path, arguments: &[&str]) -> Self {
        Self(command(directory, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap(), signal).unwrap();
    }

    fn lines(&mut self, count: usize) -> Vec<String> {
        let out = BufReader::new(self.0.stdout.as_mut().unwrap());
        out.lines().take(count).map(Result::unwrap).collect()
    }

    fn wait(&mut self) -> i32 {
        self.0.wait().unwrap().code().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hypostyle"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HYPOSTYLE_")) {
        command.env_remove(name);
    }
    command.current_dir(directory).args(arguments).stdin(Stdio::null());
    command
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    command(directory, arguments).output().unwrap()
}

fn fails(directory: &Path, arguments: &[&str], code: i32) -> String {
    let output = run(directory, arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
    error
}

fn prints(directory: &Path, arguments: &[&str]) -> String {
    let output = run(directory, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A base port whose next twelve are free, or were a moment ago.
fn base_port() -> String {
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let any = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let base = std::iter::repeat_with(any).find(|base| *base < 65_000 && (*base..base + 12).all(free));
    base.unwrap().to_string()
}

fn demo() -> (TempDir, String) {
    let (directory, port) = (tempfile::tempdir().unwrap(), base_port());
    prints(directory.path(), &["init", "demo", "--auth", "ed25519", "--base-port", &port]);
    (directory, port)
}

/// Waits until a replica answers on its admin address.
fn wait_for(directory: &Path, home: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !run(directory, &["status", home]).status.success() {
        assert!(Instant::now() < deadline, "{home} does not answer");
    }
}

#[test]
fn a_replica_starts_alone_and_its_second_start_recovers() {
    let (directory, _) = demo();
    let path = directory.path();
    let mut replica = Process::start(path, &["replica", "demo/replica-0"]);
    wait_for(path, "demo/replica-0");
    let error = fails(path, &["replica", "demo/replica-0"], 1);
    assert!(error.contains("another process runs this replica\n  remedy: stop it first"), "{error}");

    replica.signal(Signal::TERM);
    assert_eq!(replica.wait(), 0);
    let mut again = Process::start(path, &["replica", "demo/replica-0"]);
    wait_for(path, "demo/replica-0");
    let status = prints(path, &["status", "demo/replica-0"]);
    assert!(status.contains("recovering") && status.contains("its Recover (incarnation 1)"), "{status}");
    again.signal(Signal::TERM);
    assert_eq!(again.wait(), 0);
}

#[test]
fn a_replica_that_is_wrong_does_not_start() {
    let (directory, port) = demo();
    let path = directory.path();
    let taken = TcpListener::bind(format!("127.0.0.1:{port}")).unwrap();
    let error = fails(path, &["replica", "demo/replica-0"], 1);
    assert!(error.contains(&format!("127.0.0.1:{port}")) && error.contains("in use"), "{error}");
    drop(taken);

    fs::remove_file(path.join("demo/replica-1/key.pem")).unwrap();
    let error = fails(path, &["replica", "demo/replica-1"], 1);
    assert!(error.contains("demo/replica-1/key.pem: no usable private key"), "{error}");

    fs::rename(path.join("demo/replica-3/key.pem"), path.join("demo/replica-1/key.pem")).unwrap();
    let error = fails(path, &["replica", "demo/replica-1"], 1);
    assert!(error.contains("not the private key of replica 1"), "{error}");

    let error = fails(path, &["replica", "demo/replica-2", "--set", "wrkers=2"], 2);
    assert!(error.contains("did you mean \"workers\"?"), "{error}");
    let error = fails(path, &["replica", "demo/replica-2", "--set", "limits_memory=32MiB"], 1);
    assert!(error.contains("more than the 32.0 MiB there are"), "{error}");
    assert!(path.join("demo/replica-2/genesis").exists(), "a start that was refused uses nothing up");
}

#[test]
fn a_local_cluster_answers_and_ends_without_trace() {
    let (directory, port) = (tempfile::tempdir().unwrap(), base_port());
    let path = directory.path();
    let arguments = ["local", "demo", "--auth", "ed25519", "--pillars", "2", "--base-port", &port];
    let mut local = Process::start(path, &arguments);
    assert!(local.lines(1)[0].starts_with("4 replicas run, pillars = 2, ed25519"));

    let call = |operation| prints(path, &["call", "--cluster", "demo/cluster.toml", operation]);
    assert_eq!(call("set greeting hello world"), "OK");
    assert_eq!(call("get greeting"), "hello world");

    let status = prints(path, &["status", "demo", "--json"]);
    let statuses: Vec<serde_json::Value> =
        status.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(statuses.len(), 4);
    assert!(statuses.iter().any(|status| status["executed_operations"] == 2), "{status}");
    assert_eq!(statuses[3]["pillars"][1]["pillar"], 1);
    let order: serde_json::Value =
        serde_json::from_str(&prints(path, &["order-log", "demo/replica-0", "--json"])).unwrap();
    assert!(order.as_array().unwrap().iter().any(|entry| entry["requests"][0]["client"] == 0), "{order}");
    assert!(prints(path, &["status", "demo"]).contains("replica 3 of 4 in hypostyle"));

    assert!(prints(path, &["status", "demo/replica-0", "--evidence"]).contains("no evidence"));
    local.signal(Signal::INT);
    assert_eq!(local.wait(), 0);
    let error = fails(path, &["status", "demo/replica-0"], 1);
    assert!(error.contains("no answer"), "{error}");
}
