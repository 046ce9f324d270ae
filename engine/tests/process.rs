//! A whole cluster of processes: `hypostyle init`, four times `hypostyle replica`, a client, and SIGKILL.
#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use hypostyle::Client;
use hypostyle::order_log::OrderEntry;
use hypostyle::status::ReplicaStatus;

const HYPOSTYLE: &str = env!("CARGO_BIN_EXE_hypostyle");
const PATIENCE: Duration = Duration::from_secs(30);

/// Replica processes and their files; both go when this does.
struct Processes {
    directory: tempfile::TempDir,
    replicas: Vec<Option<Child>>,
}

impl Processes {
    /// Starts four replicas. A port that was free when asked may be taken a moment later: then others are tried.
    fn start(settings: &[&str]) -> Self {
        (0..5).find_map(|attempt| Self::try_start(settings, attempt)).expect("ports that stay free")
    }

    fn try_start(settings: &[&str], attempt: u16) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let port = free_ports(12, attempt).to_string();
        let made = hypostyle(
            &["init", "cluster", "--clients", "2", "--base-port", &port],
            settings,
            directory.path(),
        );
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut cluster = Self { directory, replicas: Vec::new() };
        for replica in 0..4 {
            let home = cluster.home(replica);
            let child =
                Command::new(HYPOSTYLE).arg("replica").arg(home).stderr(Stdio::null()).spawn().unwrap();
            cluster.replicas.push(Some(child));
        }
        let ready =
            |cluster: &mut Self| (0..4).all(|replica| cluster.status(replica).is_some_and(|s| s.ready()));
        let deadline = Instant::now() + PATIENCE;
        while !ready(&mut cluster) {
            let ended =
                cluster.replicas.iter_mut().flatten().any(|child| child.try_wait().unwrap().is_some());
            if ended {
                return None;
            }
            assert!(Instant::now() < deadline, "not ready in time");
        }
        Some(cluster)
    }

    fn home(&self, replica: usize) -> PathBuf {
        self.directory.path().join(format!("cluster/replica-{replica}"))
    }

    fn client(&self, client: usize) -> Client {
        let cluster = self.directory.path().join("cluster");
        let key = cluster.join(format!("clients/client-{client}.pem"));
        Client::open(cluster.join("cluster.toml"), key).unwrap().with_deadline(PATIENCE)
    }

    fn status(&self, replica: usize) -> Option<ReplicaStatus> {
        let output =
            hypostyle(&["status", "--json"], &[&self.home(replica).display().to_string()], Path::new("."));
        serde_json::from_slice(&output.stdout).ok()
    }

    /// The order without the view, which replicas may see differently.
    fn order(&self, replica: usize) -> Vec<OrderEntry> {
        let output =
            hypostyle(&["order-log", "--json"], &[&self.home(replica).display().to_string()], Path::new("."));
        let entries: Vec<OrderEntry> = serde_json::from_slice(&output.stdout).unwrap();
        entries.into_iter().map(|entry| OrderEntry { view: 0, ..entry }).collect()
    }

    /// Waits until these replicas have executed so much and agree on the state.
    fn agree(&self, replicas: &[usize], operations: u64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status: Vec<_> = replicas.iter().filter_map(|replica| self.status(*replica)).collect();
            let states: Vec<_> =
                status.iter().map(|s| (s.execution.executed_position, &s.execution.state_digest)).collect();
            let done = status.iter().all(|s| s.execution.executed_operations == operations);
            if status.len() == replicas.len() && done && states.windows(2).all(|pair| pair[0] == pair[1]) {
                return;
            }
            assert!(Instant::now() < deadline, "no agreement on {operations} operations: {status:#?}");
        }
    }

    fn restart(&mut self, replica: usize) {
        let child =
            Command::new(HYPOSTYLE).arg("replica").arg(self.home(replica)).stderr(Stdio::null()).spawn();
        assert!(self.replicas[replica].replace(child.unwrap()).is_none(), "it still runs");
    }

    /// Waits until a replica has recovered so often and may vote.
    fn votes_again(&self, replica: usize, incarnation: u64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status(replica);
            if let Some(status) = &status
                && status.recovering.is_none()
                && status.ready()
            {
                assert_eq!(status.execution.incarnation, incarnation, "it has forgotten its votes");
                return;
            }
            assert!(Instant::now() < deadline, "it still recovers: {status:#?}");
        }
    }

    fn kill(&mut self, replica: usize) {
        let mut child = self.replicas[replica].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for mut child in self.replicas.drain(..).flatten() {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn hypostyle(arguments: &[&str], more: &[&str], directory: &Path) -> Output {
    Command::new(HYPOSTYLE).args(arguments).args(more).current_dir(directory).output().unwrap()
}

/// The first of `count` ports in a row that nobody listens on, below those that the system hands out by itself.
fn free_ports(count: u16, attempt: u16) -> u16 {
    let seed = u16::try_from(std::process::id() % 900).unwrap();
    let starts = (0..900).map(|step| 10_000 + (seed + attempt * 37 + step) % 900 * 20);
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let mut free_rows = starts.filter(|start| (*start..start + count).all(|port| free(&port)));
    free_rows.next().expect("free ports")
}

fn set(client: &Client, name: &str, count: usize) {
    let pending: Vec<_> = (0..count).map(|k| client.send(format!("set {name}{k} {k}"))).collect();
    pending.into_iter().for_each(|operation| assert_eq!(operation.wait().unwrap(), "OK"));
}

fn check(client: &Client, name: &str, count: usize) {
    let pending: Vec<_> = (0..count).map(|k| client.send(format!("get {name}{k}"))).collect();
    for (k, operation) in pending.into_iter().enumerate() {
        assert_eq!(operation.wait().unwrap(), k.to_string());
    }
}

#[test]
fn four_processes_agree_on_order_and_state() {
    let cluster = Processes::start(&["--auth", "ed25519", "--pillars", "4"]);
    let (one, other) = (cluster.client(0), cluster.client(1));
    std::thread::scope(|scope| {
        scope.spawn(|| set(&one, "a", 500));
        scope.spawn(|| set(&other, "b", 500));
    });
    check(&one, "b", 100);
    check(&other, "a", 100);
    cluster.agree(&[0, 1, 2, 3], 1200);
    let order = cluster.order(0);
    assert!(!order.is_empty());
    (1..4).for_each(|replica| assert_eq!(cluster.order(replica), order, "replica {replica}"));

    let again = hypostyle(&["replica"], &[&cluster.home(0).display().to_string()], Path::new("."));
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(!again.status.success() && said.contains("replica-0"), "a second process on one home: {said}");
}

#[test]
fn a_backup_killed_under_load_loses_nothing_that_was_acknowledged() {
    let mut cluster = Processes::start(&["--auth", "rsa-2048"]);
    let client = cluster.client(0);
    set(&client, "before", 200);
    let victim = 3;
    std::thread::scope(|scope| {
        let load = scope.spawn(|| set(&client, "during", 1000));
        cluster.kill(victim);
        load.join().unwrap();
    });
    set(&client, "after", 200);
    for (name, count) in [("before", 200), ("during", 1000), ("after", 200)] {
        check(&client, name, count);
    }
    cluster.agree(&[0, 1, 2], 2800);

    cluster.restart(victim);
    cluster.votes_again(victim, 1);
}

/// Under load, and in an idle cluster; then its vote is needed.
#[test]
fn a_replica_that_is_killed_and_started_twice_votes_again() {
    let mut cluster = Processes::start(&["--auth", "ed25519", "--pillars", "4"]);
    let client = cluster.client(0);
    set(&client, "before", 200);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| set(&client, "during", 2000));
        cluster.kill(3);
        cluster.restart(3);
        load.join().unwrap();
    });
    cluster.votes_again(3, 1);
    cluster.kill(3);
    cluster.restart(3);
    cluster.votes_again(3, 2);

    cluster.kill(2);
    set(&client, "after", 200);
    for (name, count) in [("before", 200), ("during", 2000), ("after", 200)] {
        check(&client, name, count);
    }
}
