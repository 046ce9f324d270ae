//! A replica that was cut off for long, over real sockets and with real threads: it takes over a state and is back at the
//! head while the others go on.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hypostyle::config::{Count, Executor};
use hypostyle::service::KeyValue;
use hypostyle::status::ReplicaStatus;
use hypostyle::{Client, Cluster, LocalCluster};
use hypostyle_app_api::ReplicaId;
use hypostyle_tests::poll;
use hypostyle_tests::proxy::{Proxy, Toward};

const LAGGARD: u16 = 3;
const WINDOW: u32 = 64;
const PILLARS: u16 = 2;

/// Three proxies stand between the last replica, which dials, and the others.
struct Scene {
    cluster: LocalCluster,
    proxies: Vec<Proxy>,
}

impl Scene {
    fn start(workers: u16, executor: Executor) -> Self {
        let proxies: Vec<_> = (0..LAGGARD).map(|_| Proxy::new().unwrap()).collect();
        let addresses: Vec<_> = proxies.iter().map(Proxy::address).collect();
        let cluster = Cluster::local(4).pillars(PILLARS).clients(2);
        let cluster = cluster.configure(|config| {
            (config.checkpoint_interval, config.window, config.batch_max) = (16, WINDOW, 4);
        });
        let cluster = cluster.configure_replica(move |replica| {
            (replica.workers, replica.executor) = (Count::Fixed(workers), executor);
            if replica.id == ReplicaId(LAGGARD) {
                replica.dial = (0..).map(ReplicaId).zip(addresses.iter().copied()).collect();
            }
        });
        let cluster = cluster.start(KeyValue::default).unwrap();
        for (proxy, replica) in proxies.iter().zip(&cluster.config().replicas) {
            proxy.lead_to(replica.peer);
        }
        Self { cluster, proxies }
    }

    fn cut(&self, cut: bool) {
        for proxy in &self.proxies {
            proxy.hold(Toward::Target, cut);
            proxy.hold(Toward::Dialler, cut);
        }
    }

    #[track_caller]
    fn eventually(&self, seconds: u64, condition: impl Fn(&[ReplicaStatus]) -> bool) -> Vec<ReplicaStatus> {
        let look = || Some(self.cluster.status()).filter(|status| condition(status));
        poll::eventually(Duration::from_secs(seconds), look)
            .unwrap_or_else(|| panic!("not in time: {:#?}", self.cluster.status()))
    }
}

/// Sets keys, many at a time, until told to stop.
fn load(client: &Client, stop: &AtomicBool, done: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        let first = done.load(Ordering::Relaxed);
        let value = "v".repeat(200);
        let pending: Vec<_> = (first..first + 64)
            .map(|key| client.send(format!("set key{} {value}{key}", key % 5000)))
            .collect();
        for operation in pending {
            assert_eq!(operation.wait().unwrap(), "OK");
        }
        done.fetch_add(64, Ordering::Relaxed);
    }
}

fn lag(status: &[ReplicaStatus]) -> u64 {
    let position = |s: &ReplicaStatus| s.execution.executed_position;
    let head = status.iter().map(position).max().unwrap();
    head - position(&status[usize::from(LAGGARD)])
}

fn is_isolated_for_twenty_windows_and_comes_back(workers: u16, executor: Executor) {
    let scene = Scene::start(workers, executor);
    scene.eventually(20, |status| status.iter().all(ReplicaStatus::ready));
    let client = scene.cluster.client(0).unwrap();
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let far = 20 * u64::from(WINDOW) * u64::from(PILLARS);
    std::thread::scope(|scope| {
        scope.spawn(|| load(&client, &stop, &done));
        scene.eventually(20, |status| status[0].execution.executed_position > far / 4);
        scene.cut(true);
        scene.eventually(60, |status| lag(status) > far);
        scene.cut(false);
        let near = u64::from(WINDOW) * u64::from(PILLARS);
        scene.eventually(10, |status| {
            lag(status) < near && !status[usize::from(LAGGARD)].execution.transferring
        });
        stop.store(true, Ordering::Relaxed);
    });
    let status = scene.eventually(20, |status| {
        let places: Vec<_> =
            status.iter().map(|s| (s.execution.executed_position, &s.execution.state_digest)).collect();
        places.windows(2).all(|pair| pair[0] == pair[1])
    });
    let laggard = &status[usize::from(LAGGARD)].counters;
    assert!(laggard["transfers_installed"] >= 1, "{laggard:?}");
    assert!(laggard["operations"] < status[0].counters["operations"], "it executed the last part only");
    scene.cluster.stop().unwrap();
}

#[test]
fn isolated_for_twenty_windows_with_everything_inline() {
    is_isolated_for_twenty_windows_and_comes_back(1, Executor::Inline);
}

#[test]
fn isolated_for_twenty_windows_with_two_workers_and_an_executor_thread() {
    is_isolated_for_twenty_windows_and_comes_back(2, Executor::Thread);
}
