//! A recording of what one replica of a cluster was sent, and a replica that it is played to: what a replica does between its
//! sockets, measured alone. `hypostyle-bench pillar-scaling` says what for.
//!
//! The cluster is recorded in lockstep and in one thread: whole replicas ([`Member`](crate::simulation::Member)) with real
//! keys order waves of full batches. The last replica is the listener; it leads no pillar. It is played to by the threads
//! that run in production, above the handshake ([`hypostyle_net::Replay`]).

mod listener;
mod record;

use std::collections::BTreeMap;
use std::time::Duration;

use hypostyle_app_api::{Application, ReplicaId};
use hypostyle_crypto::SigningKey;
use hypostyle_net::Track;

use crate::config::{Assign, ClusterConfig, ReplicaConfig};
use crate::replica::{Replica, StartError};

pub use listener::Listening;

/// What a replica was sent while a cluster ordered so many operations.
#[derive(Clone, Debug)]
pub struct Recording {
    cluster: ClusterConfig,
    tracks: Vec<Track>,
    operations: u64,
    state: State,
    sent: BTreeMap<&'static str, u64>,
}

/// What is recorded.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Operations at least; whole waves.
    pub operations: u64,
    /// Bytes of each.
    pub payload: usize,
    /// Full batches of a pillar that are under way together: so many statements come in a bundle, where it holds them.
    pub wave: u16,
}

/// Where a replica stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Executed positions of the global order.
    pub position: u64,
    /// The state's digest there, hexadecimal.
    pub digest: String,
}

/// Why nothing could be recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The last replica would lead a pillar.
    #[error("{pillars} pillars among {replicas} replicas: the last one leads some; use fewer pillars")]
    Leads {
        /// P.
        pillars: u16,
        /// n.
        replicas: usize,
    },
    /// A pillar would have nothing to order.
    #[error("pillar {pillar} has no client of its own: use more clients")]
    Idle {
        /// Which pillar.
        pillar: u16,
    },
    /// A wave doesn't fit the windows of the clients or of the cluster.
    #[error("a wave of {wave} batches doesn't fit: {what}")]
    Wave {
        /// How many batches.
        wave: u16,
        /// What it breaks.
        what: &'static str,
    },
    /// More than a recording may hold.
    #[error("a recording of {bytes} bytes is more than {max}: use fewer operations")]
    TooLong {
        /// So much it would be.
        bytes: usize,
        /// What is allowed.
        max: usize,
    },
    /// The replicas didn't execute what was given to them.
    #[error("replica {replica} executed {executed} of {given} operations and says no more")]
    Stuck {
        /// Which.
        replica: u16,
        /// Executed there.
        executed: u64,
        /// Given to the primaries.
        given: u64,
    },
    /// A key can't be used.
    #[error(transparent)]
    Key(#[from] hypostyle_crypto::KeyError),
}

/// Bytes that a recording may hold.
pub const RECORDING_MAX: usize = 1 << 30;

impl Recording {
    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> &ClusterConfig {
        &self.cluster
    }

    /// Operations in it.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// Where the replicas stood at its end.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Frames in it by kind: what the listener is sent.
    #[must_use]
    pub fn frames(&self) -> &BTreeMap<&'static str, u64> {
        &self.sent
    }

    /// Starts the listener with its threads as `config` says; nothing is played yet. Reads all of the recording once, so
    /// that it is in memory.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn listen<A: Application>(
        &self,
        config: ReplicaConfig,
        key: SigningKey,
        application: A,
    ) -> Result<Listening, StartError> {
        let config = ReplicaConfig { id: listener_of(&self.cluster), ..config };
        let replica = Replica::new(self.cluster.clone(), config, key);
        Listening::start(replica, &self.tracks, self.operations, application)
    }
}

/// The last replica.
fn listener_of(cluster: &ClusterConfig) -> ReplicaId {
    ReplicaId(u16::try_from(cluster.n() - 1).expect("n fits 16 bits"))
}

/// The configuration as it can be recorded: nobody does anything for lack of time, and each client has one pillar, so that
/// all pillars get equally much.
#[must_use]
pub fn recordable(cluster: ClusterConfig) -> ClusterConfig {
    let hour = Duration::from_secs(3600);
    ClusterConfig { view_timeout: hour, max_clock_skew: hour, assign: Assign::Client, ..cluster }
}

#[cfg(test)]
mod tests;
