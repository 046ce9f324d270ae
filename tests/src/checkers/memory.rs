//! What a replica holds is bounded, as it promises: real allocations, counted by the allocator, against the very function
//! by which replicas refuse a configuration. What a replica reads is its own copy; what it has sent is nobody's.

use hypostyle::config::ClusterConfig;
use hypostyle_app_api::ReplicaId;

use super::{Check, violated};

/// The bound, and the most that any replica has held.
pub(super) struct Memory {
    bound: u64,
    most: u64,
}

/// A snapshot's part that isn't the application's, and the rest of its last chunk.
const SNAPSHOT: u64 = 128 << 10;

impl Memory {
    pub(super) fn new(cluster: &ClusterConfig, snapshot: usize) -> Self {
        // The application's state beside its replica's: one for each peer that asks, one that is fetched, chunk by chunk,
        // beside an older one, and one being written or read.
        let snapshots = (cluster.n() as u64 + 3) * (snapshot as u64 + SNAPSHOT);
        Self { bound: cluster.memory_bound() + snapshots, most: 0 }
    }

    pub(super) fn holds(&mut self, replica: ReplicaId, bytes: u64) -> Check {
        self.most = self.most.max(bytes);
        match bytes > self.bound {
            true => {
                violated("memory", format!("replica {replica} holds {bytes} bytes, at most {}", self.bound))
            }
            false => Ok(()),
        }
    }

    pub(super) fn most(&self) -> (u64, u64) {
        (self.most, self.bound)
    }
}
