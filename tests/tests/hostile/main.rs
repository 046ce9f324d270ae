//! Clusters on real sockets with somebody hostile on the wire, at a port, or among the clients.
#![allow(clippy::unwrap_used)]

mod application;
mod ports;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use hypostyle::service::KeyValue;
use hypostyle::status::ReplicaStatus;
use hypostyle::{Client, Cluster, LocalCluster};
use hypostyle_tests::poll;
use hypostyle_tests::proxy::Proxy;

const PATIENCE: Duration = Duration::from_secs(30);

/// Four replicas, each reached by others and by clients through proxies of its own.
struct Watched {
    cluster: LocalCluster,
    peers: Vec<Arc<Proxy>>,
    clients: Vec<Arc<Proxy>>,
}

impl Watched {
    fn start() -> Self {
        let proxies = || (0..4).map(|_| Arc::new(Proxy::new().unwrap())).collect::<Vec<_>>();
        let (peers, clients) = (proxies(), proxies());
        let (to_peers, to_clients) = (peers.clone(), clients.clone());
        let cluster = Cluster::local(4).configure(move |config| {
            for (replica, (peer, client)) in config.replicas.iter_mut().zip(to_peers.iter().zip(&to_clients))
            {
                peer.lead_to(replica.peer);
                client.lead_to(replica.client);
                (replica.peer, replica.client) = (peer.address(), client.address());
            }
        });
        Self { cluster: cluster.start(KeyValue::default).unwrap(), peers, clients }
    }
}

/// Waits until `condition` holds of the replicas; shows where they stand when it doesn't in time.
#[track_caller]
fn eventually(cluster: &LocalCluster, condition: impl Fn(&[ReplicaStatus]) -> bool) -> Vec<ReplicaStatus> {
    let look = || Some(cluster.status()).filter(|status| condition(status));
    poll::eventually(PATIENCE, look).unwrap_or_else(|| panic!("not in time: {:#?}", cluster.status()))
}

/// All replicas executed so many operations, to the same state.
fn executed(operations: u64) -> impl Fn(&[ReplicaStatus]) -> bool {
    move |status| {
        let execution: Vec<_> =
            status.iter().map(|s| (&s.execution.state_digest, s.execution.executed_position)).collect();
        let done = status.iter().all(|s| s.execution.executed_operations == operations);
        done && execution.windows(2).all(|pair| pair[0] == pair[1])
    }
}

/// Every replica has a link to each of the others.
fn all_linked(status: &[ReplicaStatus]) -> bool {
    let others = status.len() - 1;
    status.iter().all(|s| s.pillars.iter().all(|pillar| usize::from(pillar.peers) == others))
}

fn refused(status: &ReplicaStatus, reason: &str) -> u64 {
    status
        .refusals
        .get(reason)
        .copied()
        .unwrap_or_else(|| panic!("nothing counts {reason:?}: {:?}", status.refusals))
}

/// All connections that were refused, for whatever reason.
fn connections_refused(status: &ReplicaStatus) -> u64 {
    let refusals = status.refusals.iter().filter(|(name, _)| name.starts_with("connection: "));
    refusals.map(|(_, count)| count).sum()
}

/// Sets `count` keys and waits for the answers.
fn load(client: &Client, name: &str, count: usize) {
    let pending: Vec<_> = (0..count).map(|k| client.send(format!("set {name}{k} {k}"))).collect();
    pending.into_iter().for_each(|operation| assert_eq!(operation.wait().unwrap(), "OK"));
}
