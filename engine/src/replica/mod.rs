//! A running replica: its threads, and who owns what. The cores in `node` and `executor` decide; the shells here move
//! bytes and time.

mod catch_up;
mod clock;
mod mail;
mod panics;
mod pillar_config;
mod recovery;
mod refused;
mod running;
mod seat;
mod snapshot_writer;
mod start;
mod worker;

#[cfg(feature = "simulation")]
use std::net::SocketAddr;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hypostyle_crypto::{Identity, Signer, SigningKey};
#[cfg(feature = "simulation")]
use hypostyle_net::{Gate, Replay, Track};

use crate::Application;
use crate::config::genesis::{self, GenesisError, HomeLock, LockError};
use crate::config::{ClusterConfig, ConfigError, Home, Overrides, ReplicaConfig};
use crate::pinning::{ThreadPlan, available_cores, plan};

pub use running::{ReplicaFailed, RunningReplica};
#[cfg(any(test, feature = "simulation"))]
pub(crate) use seat::Seat;
pub(crate) use seat::{ORDER_ENTRIES_MAX, ORDER_REQUESTS_MAX};

/// A replica that hasn't been started.
pub struct Replica {
    cluster: ClusterConfig,
    config: ReplicaConfig,
    identity: Arc<Identity>,
    listeners: Option<Listeners>,
    /// Whether it may have said something before that it has forgotten.
    restarted: bool,
    /// Where it lives, locked while it does; `None`: in memory.
    home: Option<(PathBuf, HomeLock)>,
    extra_counters: Option<ExtraCounters>,
}

/// Counters that the embedding process adds to a replica's status, by name.
pub type ExtraCounters = Box<dyn Fn() -> Vec<(String, u64)> + Send + Sync>;

/// Sockets bound already, so that nobody can take their ports.
pub(crate) struct Listeners {
    pub(crate) peer: TcpListener,
    pub(crate) client: TcpListener,
}

/// Why a replica didn't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A configuration file or key.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Another process runs on this home.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The token that tells a first start from a later one.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// A listening address is taken or not this machine's.
    #[error(
        "replica {replica} can't listen for {what} on {address}: {error}; is another process using the port?"
    )]
    Listen {
        /// Which replica.
        replica: hypostyle_app_api::ReplicaId,
        /// Peers, clients or the administrator.
        what: &'static str,
        /// Where.
        address: std::net::SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// A public key in the configuration doesn't parse.
    #[error("a public key in cluster.toml can't be used: {0}")]
    Key(#[from] hypostyle_crypto::KeyError),
    /// The order log can't be written.
    #[error("the order log {path} can't be opened: {error}")]
    OrderLog {
        /// The file.
        path: std::path::PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The system gave no thread or event queue.
    #[error("the replica's threads can't be started: {0}")]
    Io(#[from] std::io::Error),
}

impl Replica {
    /// Reads `replica.toml` in `home`, with the cluster's configuration and the key it names, and locks the home. A replica
    /// that was started before has forgotten what it promised: it recovers, see [`Replica::restarted`].
    ///
    /// # Errors
    /// On any fault of the files; when another process runs on this home.
    pub fn open(home: impl AsRef<Path>) -> Result<Self, StartError> {
        Self::open_with(home, &Overrides::default())
    }

    /// As [`Replica::open`], with settings that take precedence over the files.
    ///
    /// # Errors
    /// As [`Replica::open`].
    pub fn open_with(home: impl AsRef<Path>, overrides: &Overrides) -> Result<Self, StartError> {
        let home = Home::open(home, overrides)?;
        home.check_memory()?;
        let lock = genesis::lock(&home.path)?;
        let restarted = !genesis::is_first_start(&home.path)?;
        Ok(Self {
            restarted,
            home: Some((home.path, lock)),
            ..Self::new(home.cluster, home.replica, home.key)
        })
    }

    /// A replica from values instead of files. Under one configuration and key only the first may be started as it is:
    /// without a home nothing prevents a later one from contradicting it, but [`Replica::restarted`].
    #[must_use]
    pub fn new(cluster: ClusterConfig, config: ReplicaConfig, key: SigningKey) -> Self {
        let identity = Arc::new(Identity::new(Signer::Replica(config.id), key, cluster.domain()));
        let (listeners, home, extra_counters) = (None, None, None);
        Self { cluster, config, identity, listeners, restarted: false, home, extra_counters }
    }

    /// It may have run before and has no log of it. It says nothing that could contradict what it said then until it has
    /// recovered: it has the others order that it starts anew, fetches the state, and votes again from a later checkpoint
    /// on. At most f replicas of n = 3f+1 may be down or in this state at once.
    #[must_use]
    pub fn restarted(self) -> Self {
        Self { restarted: true, ..self }
    }

    /// Adds counters of the embedding process to the status.
    #[must_use]
    pub fn counters(mut self, counters: ExtraCounters) -> Self {
        self.extra_counters = Some(counters);
        self
    }

    pub(crate) fn listeners(mut self, listeners: Listeners) -> Self {
        self.listeners = Some(listeners);
        self
    }

    /// Starts the replica's threads with `application` at its initial state. When nothing can fail any more but the
    /// system itself, the home's genesis token is used up.
    ///
    /// The first start in a process puts a panic hook before the one that is there: a panic of the application, which is
    /// caught and answered, is logged now and then instead of each time.
    ///
    /// # Errors
    /// When an address is taken, or the system gives no thread.
    pub fn start<A: Application>(self, application: A) -> Result<RunningReplica, StartError> {
        start::start(self, application)
    }

    /// Starts it in front of a recording of what peers sent it instead of sockets: what it says is counted and dropped.
    #[cfg(feature = "simulation")]
    pub(crate) fn start_before<A: Application>(
        self,
        application: A,
        tracks: &[Track],
        gate: &Arc<Gate>,
    ) -> Result<RunningReplica, StartError> {
        let plan = self.plan();
        let workers = usize::from(plan.workers);
        let of = |worker: usize| {
            let own = tracks.iter().filter(|track| track.pillar.index() % workers == worker);
            Replay::new(own.cloned().collect(), Arc::clone(gate))
        };
        let wires = (0..workers).map(of).collect::<Result<Vec<_>, _>>()?;
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let keyring = Arc::new(self.cluster.keyring()?);
        start::run(self, application, &plan, &keyring, wires, (nowhere, nowhere))
    }

    /// Its threads and their cores on this machine; what an operator should know of it is logged.
    fn plan(&self) -> ThreadPlan {
        let plan = plan(&self.config, self.cluster.pillars, &available_cores().unwrap_or_default());
        plan.notes.iter().for_each(|note| tracing::warn!(replica = self.config.id.0, "{note}"));
        plan
    }
}
