#![allow(clippy::unwrap_used)]

mod agreement;
mod cluster_faults;
mod profile;
mod replica_faults;

use std::net::SocketAddr;

use hypostyle_crypto::{PublicKey, SigningKey, Suite};

use super::ClusterConfig;

fn keys(count: usize) -> Vec<PublicKey> {
    (0..count).map(|_| SigningKey::generate(Suite::Ed25519).public()).collect()
}

/// Four replicas, three clients, ed25519.
fn cluster() -> ClusterConfig {
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let addresses: Vec<_> = (0..4).map(|i| (address(7400 + 2 * i), address(7401 + 2 * i))).collect();
    ClusterConfig::local(&addresses, &keys(4), &keys(3))
}
