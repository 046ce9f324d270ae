//! Replica processes among others that are configured otherwise, belong to another cluster, or mean harm: what each side
//! says, and that the others go on.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use hypostyle::client::{Driver, Registration};
use hypostyle::config::{ClusterConfig, ReplicaConfig};
use hypostyle::status::ReplicaStatus;
use hypostyle::{ClientId, Number};
use tempfile::TempDir;

const HYPOSTYLE: &str = env!("CARGO_BIN_EXE_hypostyle");
const PATIENCE: Duration = Duration::from_secs(30);

/// A replica's process with the lines of its log; it ends with its test.
struct Replica {
    process: Child,
    log: Receiver<String>,
}

impl Replica {
    fn start(directory: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(HYPOSTYLE);
        command.arg("replica").args(arguments).current_dir(directory);
        let mut process = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (lines, log) = channel();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        // Ends with the process, whose log it reads to the end.
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
        });
        Self { process, log }
    }

    /// The next line of the log with all of these words.
    #[track_caller]
    fn says(&self, words: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.log.recv_timeout(left) {
                Ok(line) if words.iter().all(|word| line.contains(word)) => return line,
                Ok(line) => said.push(line),
                Err(error) => panic!("no {words:?} ({error}) in {said:#?}"),
            }
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Exit status and what was said.
fn hypostyle(directory: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(HYPOSTYLE).args(arguments).current_dir(directory).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// A base port whose next twelve are free, or were a moment ago.
fn base_port() -> String {
    let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let any = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let base = std::iter::repeat_with(any).find(|base| *base < 65_000 && (*base..base + 12).all(free));
    base.unwrap().to_string()
}

fn init(directory: &Path, name: &str, port: &str) {
    let made = hypostyle(directory, &["init", name, "--auth", "ed25519", "--base-port", port]);
    assert_eq!(made.0, Some(0), "{}", made.1);
}

/// A directory with a cluster called `demo`.
fn demo() -> (TempDir, String) {
    let (directory, port) = (tempfile::tempdir().unwrap(), base_port());
    init(directory.path(), "demo", &port);
    (directory, port)
}

fn status(directory: &Path, replica: usize) -> Option<ReplicaStatus> {
    let (_, text) = hypostyle(directory, &["status", "--json", &format!("demo/replica-{replica}")]);
    serde_json::from_str(&text).ok()
}

/// All four, each with a quorum of links.
fn start_all(directory: &Path) -> Vec<Replica> {
    let replicas: Vec<_> =
        (0..4).map(|id| Replica::start(directory, &[&format!("demo/replica-{id}")])).collect();
    let deadline = Instant::now() + PATIENCE;
    while !(0..4).all(|id| status(directory, id).is_some_and(|status| status.ready())) {
        assert!(Instant::now() < deadline, "not ready in time");
    }
    replicas
}

fn call(directory: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    hypostyle(directory, &[&["call", "--cluster", "demo/cluster.toml"], arguments].concat())
}

#[test]
fn both_sides_name_the_setting_that_differs_and_the_remedy() {
    let (directory, _) = demo();
    let path = directory.path();
    let one = Replica::start(path, &["demo/replica-0"]);
    let other = Replica::start(path, &["demo/replica-1", "--set", "pillars=2"]);
    let here = one.says(&["WARN", "pillars is 1 here and 2 at replica 1"]);
    let there = other.says(&["WARN", "pillars is 2 here and 1 at replica 0"]);
    for line in [here, there] {
        assert!(line.contains("another cluster configuration"), "{line}");
        assert!(line.contains("give all replicas and clients the same cluster.toml"), "{line}");
    }
    // And it is counted, on the side that was dialled.
    let counted = |status: &ReplicaStatus| status.refusals["connection: another cluster configuration"];
    assert!(status(path, 0).is_some_and(|status| counted(&status) > 0));

    // A client's file, too.
    let text = fs::read_to_string(path.join("demo/cluster.toml")).unwrap();
    assert!(text.contains("\npillars = 1\n"), "{text}");
    fs::write(path.join("other.toml"), text.replace("\npillars = 1\n", "\npillars = 4\n")).unwrap();
    let key = "demo/clients/client-0.pem";
    let arguments = ["call", "--cluster", "other.toml", "--key", key, "--timeout", "3s", "get k"];
    let (code, error) = hypostyle(path, &arguments);
    assert_eq!(code, Some(1));
    assert!(error.contains("pillars is 4 here and 1 at replica 0"), "{error}");
}

#[test]
fn members_of_another_cluster_are_turned_away_by_name() {
    let (directory, port) = demo();
    let path = directory.path();
    init(path, "other", &port);
    let ours = Replica::start(path, &["demo/replica-0"]);
    let theirs = Replica::start(path, &["other/replica-1"]);
    for (replica, peer) in [(&ours, "replica 1"), (&theirs, "replica 0")] {
        let line = replica.says(&["WARN", "another cluster configuration: replica_keys is "]);
        assert!(line.contains(&format!("at {peer}")), "{line}");
    }
    let (code, error) = call(path, &["--key", "other/clients/client-0.pem", "get k"]);
    assert_eq!(code, Some(1));
    let expected =
        "the key in other/clients/client-0.pem belongs to no client in demo/cluster.toml; give the key";
    assert!(error.contains(expected), "{error}");
    let (code, error) = call(path, &["--key", "other/none.pem", "get k"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("other/none.pem"), "{error}");
}

#[test]
fn each_port_that_is_taken_is_named_with_what_to_do() {
    let (directory, port) = demo();
    let config = ClusterConfig::load(directory.path().join("demo/cluster.toml")).unwrap();
    let admin = ReplicaConfig::load(directory.path().join("demo/replica-0/replica.toml")).unwrap().admin;
    let replica = &config.replicas[0];
    assert!(replica.peer.to_string().ends_with(&port));
    for address in [replica.peer, replica.client, admin.unwrap()] {
        let taken = TcpListener::bind(address).unwrap();
        let (code, error) = hypostyle(directory.path(), &["replica", "demo/replica-0"]);
        assert_eq!(code, Some(1), "{error}");
        assert!(error.contains(&address.to_string()), "{error}");
        assert!(error.contains("is another process using the port?"), "{error}");
        drop(taken);
        assert!(directory.path().join("demo/replica-0/genesis").exists(), "it may start another time");
    }
    let replica = Replica::start(directory.path(), &["demo/replica-0"]);
    replica.says(&["INFO", "started"]);
}

#[test]
fn garbage_on_every_port_and_500_silent_connections_stop_nobody() {
    let (directory, _) = demo();
    let path = directory.path();
    let replicas = start_all(path);
    let config = ClusterConfig::load(path.join("demo/cluster.toml")).unwrap();
    let admin = ReplicaConfig::load(path.join("demo/replica-0/replica.toml")).unwrap().admin.unwrap();
    let (peer, client) = (config.replicas[0].peer, config.replicas[0].client);
    for address in [peer, client, admin] {
        for garbage in
            [&[0xff; 100_000][..], &[0; 64], b"GET / HTTP/1.1\r\n\r\n", b"\r\n\r\n", b"\x16\x03\x01", b""]
        {
            throw(address, garbage);
        }
    }
    replicas[0].says(&["WARN", "not a Hypostyle peer", "unknown"]);
    let silent: Vec<_> = (0..500).map(|_| TcpStream::connect(client).unwrap()).collect();

    let key = hypostyle::crypto::read_key(&path.join("demo/clients/client-0.pem")).unwrap();
    let newcomer = Registration { client: ClientId(0), key, first: Number(1) };
    let mut driver = Driver::new(&config, vec![newcomer]).unwrap();
    driver.submit(0, &[b"set k v"]).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut settled = 0;
    while settled == 0 || driver.connections() != (4, 4) {
        driver.turn(Some(Duration::from_millis(10))).unwrap();
        settled +=
            driver.settled().inspect(|s| assert_eq!(s.completion.result.as_deref(), Ok(&b"OK"[..]))).count();
        let troubles: Vec<_> = driver.troubles().collect();
        assert!(Instant::now() < deadline, "{settled} settled, {troubles:?}");
    }
    drop(silent);
    for id in 0..4 {
        let status = status(path, id).expect("it answers");
        assert!(status.ready(), "replica {id}");
        let refused: u64 = status
            .refusals
            .iter()
            .filter(|(name, _)| name.starts_with("connection: "))
            .map(|(_, count)| count)
            .sum();
        assert!(id > 0 || refused >= 12, "{:?}", status.refusals);
    }
}

/// Sends it, and reads until the other side has enough.
fn throw(address: SocketAddr, garbage: &[u8]) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // It may hang up before it has read all.
    let _ = stream.write_all(garbage);
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.read_to_end(&mut Vec::new());
}

#[test]
fn an_operation_too_large_for_the_cluster_is_not_sent() {
    let (directory, _) = demo();
    // Nobody needs to run: the client knows by itself.
    let large = "x".repeat(100_000);
    let (code, error) = call(directory.path(), &[&large]);
    assert_eq!(code, Some(1));
    assert!(
        error.contains("not sent") && error.contains("request_max = ") && error.contains("split"),
        "{error}"
    );
}
