//! Replica processes on loopback addresses of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hypostyle::ReplicaId;
use hypostyle::config::{self, ClusterConfig, Cores, ReplicaConfig};
use hypostyle::crypto::Suite;
use hypostyle::order_log::OrderEntry;
use hypostyle::status::ReplicaStatus;
use hypostyle_tests::poll;
use rustix::process::{Pid, Signal, kill_process};

use crate::{PATIENCE, VIEW_TIMEOUT};

/// What a cluster is to be.
pub(crate) struct Shape {
    pub(crate) replicas: usize,
    pub(crate) clients: u32,
    pub(crate) suite: Suite,
    /// Everything else.
    pub(crate) settings: ClusterConfig,
    /// Changes what one replica alone knows, as where it dials others.
    pub(crate) local: Box<Local>,
}

type Local = dyn Fn(&mut ReplicaConfig, &ClusterConfig);

/// The processes of a cluster and their files; both go when this does.
pub(crate) struct Cluster {
    directory: tempfile::TempDir,
    config: ClusterConfig,
    admins: Vec<SocketAddr>,
    replicas: Vec<Option<Child>>,
    /// How often each was started.
    starts: Vec<u32>,
}

const REPLICA: &str = env!("CARGO_BIN_EXE_replica");
const BASE_PORT: u16 = 7400;
/// A replica that doesn't tell its status for so long is paused or gone.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);
/// How far behind the others' head a replica may be that keeps pace with them: a pipeline's worth of slots in each pillar.
const PACE: u64 = 64;
/// Lines of a replica's log shown after a failure: from a panic on, else the last ones.
const LOG_LINES: usize = 20;
const ORDER: &str = "order.jsonl";

impl Shape {
    pub(crate) fn new(replicas: usize, pillars: u16) -> Self {
        let settings = ClusterConfig { pillars, view_timeout: VIEW_TIMEOUT, ..ClusterConfig::default() };
        Self { replicas, clients: 4, suite: Suite::default(), settings, local: Box::new(|_, _| {}) }
    }

    /// Writes the files of such a cluster; nothing runs yet.
    pub(crate) fn make(&self) -> Cluster {
        let directory = tempfile::tempdir().unwrap();
        let host = IpAddr::V4(own_host());
        let plan = config::Plan {
            hosts: vec![host; self.replicas],
            base_port: BASE_PORT,
            clients: self.clients,
            auth: self.suite,
            settings: ClusterConfig { auth: self.suite, ..self.settings.clone() },
            threads: config::Threads::default(),
        };
        let config = config::init(directory.path(), &plan, &mut || {}).unwrap();
        let mut admins = Vec::new();
        for entry in &config.replicas {
            let admin = SocketAddr::new(host, entry.client.port() + 1);
            let mut own = ReplicaConfig {
                admin: Some(admin),
                source: Some(host),
                cores: Cores::Shared,
                order_log: Some(PathBuf::from(ORDER)),
                ..ReplicaConfig::new(entry.id)
            };
            (self.local)(&mut own, &config);
            let file = config::replica_home(directory.path(), entry.id).join("replica.toml");
            fs::write(file, own.to_toml()).unwrap();
            admins.push(admin);
        }
        let replicas = (0..self.replicas).map(|_| None).collect();
        Cluster { directory, config, admins, replicas, starts: vec![0; self.replicas] }
    }

    /// A cluster all of whose replicas are up and linked.
    pub(crate) fn start(&self) -> Cluster {
        let mut cluster = self.make();
        (0..self.replicas).for_each(|replica| cluster.start(replica));
        cluster.eventually("all replicas are linked", |status| {
            status.len() == self.replicas
                && status.iter().all(|s| s.pillars.iter().all(|p| usize::from(p.peers) == self.replicas - 1))
        });
        cluster
    }
}

impl Cluster {
    pub(crate) fn config(&self) -> &ClusterConfig {
        &self.config
    }

    pub(crate) fn client_key(&self, client: u32) -> PathBuf {
        config::client_key(self.directory.path(), client)
    }

    pub(crate) fn start(&mut self, replica: usize) {
        let home = self.home(replica);
        let log = File::options().append(true).create(true).open(home.join("log")).unwrap();
        let mut command = Command::new(REPLICA);
        command.arg(home).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        // The settings tested are those written here, not whatever this shell has set.
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HYPOSTYLE_"))
        {
            command.env_remove(name);
        }
        let former = self.replicas[replica].replace(command.spawn().unwrap());
        assert!(former.is_none(), "replica {replica} runs already");
        self.starts[replica] += 1;
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, replica: usize) {
        let mut child = self.replicas[replica].take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(crate) fn signal(&self, replica: usize, signal: Signal) {
        let child = self.replicas[replica].as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    /// The processes of the replicas that run.
    pub(crate) fn pids(&self) -> impl Iterator<Item = u32> {
        self.replicas.iter().flatten().map(Child::id)
    }

    /// Where the replicas stand that run and answer.
    pub(crate) fn status(&self) -> Vec<ReplicaStatus> {
        self.running().filter_map(|replica| self.status_of(replica)).collect()
    }

    pub(crate) fn status_of(&self, replica: usize) -> Option<ReplicaStatus> {
        let config = ureq::Agent::config_builder().timeout_global(Some(STATUS_TIMEOUT)).proxy(None);
        let agent: ureq::Agent = config.build().into();
        let url = format!("http://{}/status", self.admins[replica]);
        let text = agent.get(url).call().ok()?.body_mut().read_to_string().ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Waits until `condition` holds of the replicas that run.
    #[track_caller]
    pub(crate) fn eventually(&self, what: &str, condition: impl Fn(&[ReplicaStatus]) -> bool) {
        let look = || Some(self.status()).filter(|status| condition(status));
        if poll::eventually(PATIENCE, look).is_none() {
            panic!("not in time: {what}\n{}", self.describe());
        }
    }

    /// Waits until the replicas that run are at the same place, then compares what they executed: one order, in which all
    /// that was acknowledged stands, each operation executed once. What a replica took over as state it hasn't executed, and
    /// one that was killed has only the beginning.
    #[track_caller]
    pub(crate) fn check(&mut self, acknowledged: &[(u32, u64)]) {
        for (replica, child) in self.replicas.iter_mut().enumerate() {
            let ended = child.as_mut().and_then(|child| child.try_wait().unwrap());
            assert!(ended.is_none(), "replica {replica} has ended: {}", self.describe());
        }
        let running: Vec<usize> = self.running().collect();
        self.eventually("all are at the same place", |status| {
            let place = |s: &ReplicaStatus| (s.execution.executed_position, s.execution.state_digest.clone());
            status.len() == running.len() && status.windows(2).all(|two| place(&two[0]) == place(&two[1]))
        });
        let status = self.status();
        let positions = status[0].execution.executed_position;
        let orders: Vec<_> = (0..self.replicas.len()).map(|replica| self.order(replica, positions)).collect();
        let mut whole: BTreeMap<u64, &OrderEntry> = BTreeMap::new();
        for (replica, entry) in
            orders.iter().enumerate().flat_map(|(replica, order)| order.iter().map(move |e| (replica, e)))
        {
            let known = whole.entry(entry.position).or_insert(entry);
            assert_eq!(*known, entry, "the order of replica {replica} departs");
        }
        assert_eq!(whole.len() as u64, positions, "somebody executed each slot");
        let ordered = first_positions(whole.into_values());
        let lost: Vec<_> = acknowledged.iter().filter(|operation| !ordered.contains_key(operation)).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        for s in status.iter().filter(|s| self.starts[usize::from(s.replica)] == 1) {
            let own: BTreeSet<u64> =
                orders[usize::from(s.replica)].iter().map(|entry| entry.position).collect();
            let new = ordered.values().filter(|position| own.contains(position)).count();
            let executed = s.execution.executed_operations;
            assert_eq!(executed, new as u64, "replica {}: each operation is executed once", s.replica);
        }
    }

    /// Views entered so far: of each pillar the highest that a running replica is in.
    pub(crate) fn views(&self) -> Vec<u64> {
        let status = self.status();
        let highest = |pillar: usize| status.iter().map(|s| s.pillars[pillar].view).max().unwrap_or(0);
        (0..usize::from(self.config.pillars)).map(highest).collect()
    }

    /// Whether a replica has decided, in every pillar, and executed about as much as the others.
    pub(crate) fn is_at_the_head(&self, replica: usize) -> bool {
        let status = self.status();
        let head = |value: &dyn Fn(&ReplicaStatus) -> u64| status.iter().map(value).max().unwrap_or(0);
        let Some(own) = status.iter().find(|s| usize::from(s.replica) == replica) else { return false };
        let near = |value: &dyn Fn(&ReplicaStatus) -> u64, pace| value(own) + pace >= head(value);
        let pillars = own.pillars.len();
        (0..pillars).all(|pillar| near(&|s| s.pillars[pillar].decided, PACE))
            && near(&|s| s.execution.executed_position, PACE * pillars as u64)
    }

    /// All there is to know after a failure.
    pub(crate) fn describe(&self) -> String {
        let mut text = String::new();
        for (replica, child) in self.replicas.iter().enumerate() {
            let log = fs::read_to_string(self.home(replica).join("log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let from = lines.iter().position(|line| line.contains("panicked at"));
            let last = &lines[from.unwrap_or(lines.len().saturating_sub(LOG_LINES))..];
            let last = last[..last.len().min(LOG_LINES)].join("\n  ");
            let status = child.as_ref().and_then(|_| self.status_of(replica));
            text += &format!("replica {replica}: {status:#?}\n  {last}\n");
        }
        text
    }

    fn running(&self) -> impl Iterator<Item = usize> {
        (0..self.replicas.len()).filter(|replica| self.replicas[*replica].is_some())
    }

    fn home(&self, replica: usize) -> PathBuf {
        config::replica_home(self.directory.path(), ReplicaId(u16::try_from(replica).unwrap()))
    }

    /// What a replica executed, without the view, which replicas may see differently. One that runs has written all up to
    /// `positions` in the end.
    #[track_caller]
    fn order(&self, replica: usize, positions: u64) -> Vec<OrderEntry> {
        let file = self.home(replica).join(ORDER);
        let whole = |order: &Vec<OrderEntry>| order.last().map_or(0, |last| last.position + 1) == positions;
        let runs = self.replicas[replica].is_some();
        let read = || Some(read_order(&file)).filter(|order| !runs || whole(order));
        poll::eventually(PATIENCE, read)
            .unwrap_or_else(|| panic!("replica {replica} doesn't write its order"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for mut child in self.replicas.drain(..).flatten() {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The last line of a replica that was killed may break off.
fn read_order(file: &Path) -> Vec<OrderEntry> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let entries = whole.lines().map(|line| serde_json::from_str::<OrderEntry>(line).unwrap());
    entries.map(|entry| OrderEntry { view: 0, ..entry }).collect()
}

/// Each operation, by client and number, and the first place where it stands.
fn first_positions<'a>(order: impl Iterator<Item = &'a OrderEntry>) -> BTreeMap<(u32, u64), u64> {
    let mut first = BTreeMap::new();
    for entry in order {
        for r in &entry.requests {
            for number in r.number..r.number + u64::from(r.count) {
                first.entry((r.client, number)).or_insert(entry.position);
            }
        }
    }
    first
}

/// An address of loopback that is this cluster's alone: no port of it is taken.
fn own_host() -> Ipv4Addr {
    static CLUSTERS: AtomicU32 = AtomicU32::new(0);
    let number = CLUSTERS.fetch_add(1, Ordering::Relaxed);
    // 2^16 processes with 2^7 clusters each.
    let [.., high, low] = (std::process::id() % 65_536).to_be_bytes();
    Ipv4Addr::new(127, 64 + u8::try_from(number % 128).unwrap(), high, low.max(1))
}
