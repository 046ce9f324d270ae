//! Whole clusters in this process: real sockets, real threads, every mode.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use hypostyle::config::{Count, Executor, Replies};
use hypostyle::crypto::Suite;
use hypostyle::order_log::OrderEntry;
use hypostyle::service::KeyValue;
use hypostyle::status::ReplicaStatus;
use hypostyle::{Client, Cluster, LocalCluster};
use hypostyle_tests::poll;

/// Waits until `condition` holds of the replicas; shows where they stand when it doesn't in time.
fn eventually(cluster: &LocalCluster, condition: impl Fn(&[ReplicaStatus]) -> bool) -> Vec<ReplicaStatus> {
    let look = || Some(cluster.status()).filter(|status| condition(status));
    poll::eventually(Duration::from_secs(20), look)
        .unwrap_or_else(|| panic!("not in time: {:#?}", cluster.status()))
}

fn all_at_the_same_place(status: &[ReplicaStatus]) -> bool {
    let places: Vec<_> =
        status.iter().map(|s| (s.execution.executed_position, &s.execution.state_digest)).collect();
    places.windows(2).all(|pair| pair[0] == pair[1])
}

/// Sets `count` keys, many at a time, and waits for every answer.
fn load(client: &Client, name: &str, count: usize) {
    let keys: Vec<_> = (0..count).collect();
    for chunk in keys.chunks(256) {
        let pending: Vec<_> = chunk.iter().map(|k| client.send(format!("set {name}{k} {k}"))).collect();
        for operation in pending {
            assert_eq!(operation.wait().unwrap(), "OK");
        }
    }
}

fn check(client: &Client, name: &str, count: usize) {
    for k in 0..count {
        assert_eq!(client.call_blocking(format!("get {name}{k}")).unwrap(), k.to_string());
    }
}

/// The order without what replicas may see differently.
fn order(cluster: &LocalCluster, replica: u16) -> Vec<OrderEntry> {
    cluster.order(replica).into_iter().map(|entry| OrderEntry { view: 0, ..entry }).collect()
}

fn executed(operations: u64) -> impl Fn(&[ReplicaStatus]) -> bool {
    move |status| {
        let done = status.iter().all(|s| s.execution.executed_operations == operations);
        done && all_at_the_same_place(status)
    }
}

#[test]
fn every_thread_mode_executes_the_same_order_from_the_same_proposals() {
    let cluster = Cluster::local(4).pillars(4).clients(3).configure_replica(|replica| {
        let (workers, executor, crypto) = match replica.id.0 {
            0 => (1, Executor::Inline, 0),
            1 => (2, Executor::Thread, 0),
            2 => (1, Executor::Thread, 2),
            _ => (3, Executor::Inline, 1),
        };
        replica.workers = Count::Fixed(workers);
        replica.executor = executor;
        replica.crypto_threads = Count::Fixed(crypto);
    });
    let cluster = cluster.start(KeyValue::default).unwrap();
    std::thread::scope(|scope| {
        for id in 0..3 {
            let client = cluster.client(id).unwrap();
            scope.spawn(move || load(&client, &format!("c{id}-"), 500));
        }
    });
    let status = eventually(&cluster, executed(1500));
    let modes: Vec<_> =
        status.iter().map(|s| (s.mode.workers, s.mode.executor.as_str(), s.mode.crypto_threads)).collect();
    assert_eq!(modes, [(1, "inline", 0), (2, "thread", 0), (1, "thread", 2), (3, "inline", 1)]);
    let first = order(&cluster, 0);
    assert!(first.iter().map(|entry| entry.requests.len()).sum::<usize>() > 0);
    for replica in 1..4 {
        assert_eq!(order(&cluster, replica), first, "replica {replica}");
    }
    cluster.stop().unwrap();
}

#[test]
fn one_client_with_one_operation_outstanding_never_stalls_with_four_pillars() {
    let cluster = Cluster::local(4).pillars(4).start(KeyValue::default).unwrap();
    let client = cluster.client(0).unwrap();
    load(&client, "warm", 8);
    let start = Instant::now();
    check(&client, "warm", 8);
    for _ in 0..10 {
        check(&client, "warm", 8);
    }
    // A stall lasts at least half a view timeout, 250 ms.
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    eventually(&cluster, executed(96));
}

#[test]
fn a_stopped_backup_costs_nothing_that_was_acknowledged() {
    let mut cluster = Cluster::local(4).pillars(1).start(KeyValue::default).unwrap();
    let client = cluster.client(0).unwrap();
    load(&client, "before", 200);
    cluster.stop_replica(2).unwrap();
    load(&client, "after", 2000);
    check(&client, "before", 200);
    check(&client, "after", 200);
    let status = eventually(&cluster, executed(2600));
    assert_eq!(status.len(), 3);
    assert!(status.iter().all(|s| s.execution.stable_round > 0), "checkpoints become stable without it");
}

#[test]
fn seven_replicas_with_eight_pillars_and_ten_with_two() {
    for (replicas, pillars) in [(7, 8), (10, 2)] {
        let cluster = Cluster::local(replicas).pillars(pillars).start(KeyValue::default).unwrap();
        let client = cluster.client(0).unwrap();
        load(&client, "k", 300);
        check(&client, "k", 20);
        eventually(&cluster, executed(320));
        assert_eq!(order(&cluster, 0), order(&cluster, replicas - 1));
    }
}

#[test]
fn every_suite_orders_and_answers() {
    for suite in [Suite::Rsa2048, Suite::Rsa3072, Suite::Ed25519, Suite::EcdsaP256] {
        let cluster = Cluster::local(4).clients(1).pillars(2).auth(suite).start(KeyValue::default).unwrap();
        let client = cluster.client(0).unwrap();
        load(&client, "k", 50);
        check(&client, "k", 5);
        eventually(&cluster, executed(55));
    }
}

#[test]
fn the_papers_setting_signs_every_statement_and_every_reply() {
    let cluster = Cluster::local(4).configure(|config| {
        config.bundle = 1;
        config.replies = Replies::Each;
        config.batch_max = 10;
    });
    let cluster = cluster.start(KeyValue::default).unwrap();
    let client = cluster.client(0).unwrap();
    load(&client, "k", 300);
    let answered = |s: &ReplicaStatus| s.counters["reply_groups"] == 300;
    let status = eventually(&cluster, |status| executed(300)(status) && status.iter().all(answered));
    for s in status {
        let count = |name: &str| s.counters[name];
        assert_eq!(count("statements"), count("bundles"));
        assert!(count("signatures") >= 300 + count("statements"), "{:?}", s.counters);
    }
}

#[test]
fn large_operations_and_results_pass_whole() {
    let cluster = Cluster::local(4).pillars(2).start(KeyValue::default).unwrap();
    let client = cluster.client(0).unwrap();
    let value = "v".repeat(16 * 1024);
    assert_eq!(client.call_blocking(format!("set large {value}")).unwrap(), "OK");
    assert_eq!(client.call_blocking("get large").unwrap(), value);
    let too_large = client.call_blocking("x".repeat(1 << 20)).unwrap_err();
    assert!(too_large.to_string().contains("request_max"), "{too_large}");
    eventually(&cluster, executed(2));
}
