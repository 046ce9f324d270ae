use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use hypostyle_app_api::{ClientId, ReplicaId};
use hypostyle_crypto::{SigningKey, Suite};

use crate::Application;
use crate::client::{Client, OpenError};
use crate::config::{ClusterConfig, Cores, ReplicaConfig};
use crate::order_log::OrderEntry;
use crate::replica::{Listeners, Replica, ReplicaFailed, RunningReplica, StartError};
use crate::status::ReplicaStatus;

/// A whole cluster in this process, for tests and first steps: real replicas on loopback sockets, with keys made for
/// the occasion and nothing on disk (`durability = "none"`).
///
/// ```no_run
/// # fn demo<A: hypostyle::Application + Default>() -> Result<(), Box<dyn std::error::Error>> {
/// let cluster = hypostyle::Cluster::local(4).pillars(2).start(A::default)?;
/// let result = cluster.client(0)?.call_blocking("operation")?;
/// # Ok(()) }
/// ```
pub struct Cluster {
    replicas: u16,
    clients: u32,
    suite: Suite,
    configure: Box<dyn Fn(&mut ClusterConfig)>,
    configure_replica: Box<dyn Fn(&mut ReplicaConfig)>,
}

/// A [`Cluster`] at work. Dropping it stops it.
pub struct LocalCluster {
    config: ClusterConfig,
    /// PKCS#8 PEM: a key can be opened, not copied.
    client_keys: Vec<zeroize::Zeroizing<String>>,
    replicas: Vec<Option<RunningReplica>>,
}

impl Cluster {
    /// A cluster of `replicas` = 3f+1 replicas with every setting at its default, but Ed25519 keys, which take no time
    /// to make.
    #[must_use]
    pub fn local(replicas: u16) -> Self {
        Self {
            replicas,
            clients: 4,
            suite: Suite::Ed25519,
            configure: Box::new(|_| {}),
            configure_replica: Box::new(|_| {}),
        }
    }

    /// P: how many ordering instances run side by side.
    #[must_use]
    pub fn pillars(self, pillars: u16) -> Self {
        self.configure(move |config| config.pillars = pillars)
    }

    /// How many clients are registered.
    #[must_use]
    pub fn clients(self, clients: u32) -> Self {
        Self { clients, ..self }
    }

    /// The suite of all signatures.
    #[must_use]
    pub fn auth(self, suite: Suite) -> Self {
        Self { suite, ..self }
    }

    /// Changes any setting of the cluster, after those changed before.
    #[must_use]
    pub fn configure(self, change: impl Fn(&mut ClusterConfig) + 'static) -> Self {
        let before = self.configure;
        let configure = Box::new(move |config: &mut ClusterConfig| {
            before(config);
            change(config);
        });
        Self { configure, ..self }
    }

    /// Changes any setting of a replica, after those changed before; its id says which one it is.
    #[must_use]
    pub fn configure_replica(self, change: impl Fn(&mut ReplicaConfig) + 'static) -> Self {
        let before = self.configure_replica;
        let configure_replica = Box::new(move |config: &mut ReplicaConfig| {
            before(config);
            change(config);
        });
        Self { configure_replica, ..self }
    }

    /// Starts all replicas, each with an application that `make` returns.
    ///
    /// # Errors
    /// When the settings contradict each other, or the system gives no socket or thread.
    pub fn start<A: Application>(self, mut make: impl FnMut() -> A) -> Result<LocalCluster, StartError> {
        let keys = |count: u32| (0..count).map(|_| SigningKey::generate(self.suite)).collect::<Vec<_>>();
        let (replica_keys, client_keys) = (keys(u32::from(self.replicas)), keys(self.clients));
        let listeners: Vec<_> = (0..self.replicas).map(|_| loopback()).collect::<Result<_, _>>()?;
        let address = |l: &Listeners| Ok((l.peer.local_addr()?, l.client.local_addr()?));
        let addresses: Vec<_> = listeners.iter().map(address).collect::<std::io::Result<_>>()?;
        let public = |keys: &[SigningKey]| keys.iter().map(SigningKey::public).collect::<Vec<_>>();
        let mut config = ClusterConfig::local(&addresses, &public(&replica_keys), &public(&client_keys));
        (self.configure)(&mut config);
        config.validate()?;
        let mut replicas = Vec::new();
        for ((id, key), listeners) in (0..).map(ReplicaId).zip(replica_keys).zip(listeners) {
            // The replicas share this machine's cores.
            let mut replica = ReplicaConfig { cores: Cores::Shared, ..ReplicaConfig::new(id) };
            (self.configure_replica)(&mut replica);
            let replica = Replica::new(config.clone(), replica, key).listeners(listeners);
            replicas.push(Some(replica.start(make())?));
        }
        let client_keys = client_keys.iter().map(SigningKey::to_pem).collect();
        Ok(LocalCluster { config, client_keys, replicas })
    }
}

impl LocalCluster {
    /// A client of this cluster; each number below [`Cluster::clients`] is one, to be opened once.
    ///
    /// # Errors
    /// When the system gives no thread or socket.
    ///
    /// # Panics
    /// When no such client is registered.
    pub fn client(&self, client: u32) -> Result<Client, OpenError> {
        let (id, key) = (ClientId(client), self.client_key(client));
        Client::connect(&self.config, id, key, None)
    }

    /// The private key of a client, for a [`Driver`](crate::client::Driver).
    ///
    /// # Panics
    /// When no such client is registered.
    #[must_use]
    pub fn client_key(&self, client: u32) -> SigningKey {
        let key = self.client_keys.get(ClientId(client).index()).expect("a registered client");
        SigningKey::from_pem(key).expect("a key that was written as PEM")
    }

    /// The cluster's configuration.
    #[must_use]
    pub fn config(&self) -> &ClusterConfig {
        &self.config
    }

    /// Where the replicas stand that haven't been stopped.
    ///
    /// # Panics
    /// As [`RunningReplica::status`].
    #[must_use]
    pub fn status(&self) -> Vec<ReplicaStatus> {
        self.replicas.iter().flatten().map(RunningReplica::status).collect()
    }

    /// The recent part of the order that a replica executed; empty when it was stopped.
    ///
    /// # Panics
    /// As [`RunningReplica::status`].
    #[must_use]
    pub fn order(&self, replica: u16) -> Vec<OrderEntry> {
        let running = self.replicas.get(usize::from(replica)).and_then(Option::as_ref);
        running.map(RunningReplica::order).unwrap_or_default()
    }

    /// Stops one replica for good.
    ///
    /// # Errors
    /// When it had failed.
    pub fn stop_replica(&mut self, replica: u16) -> Result<(), ReplicaFailed> {
        match self.replicas.get_mut(usize::from(replica)).and_then(Option::take) {
            Some(running) => running.stop(),
            None => Ok(()),
        }
    }

    /// Stops all replicas.
    ///
    /// # Errors
    /// The first failure of one.
    pub fn stop(self) -> Result<(), ReplicaFailed> {
        self.replicas.into_iter().flatten().try_for_each(RunningReplica::stop)
    }
}

fn loopback() -> std::io::Result<Listeners> {
    let bind = || TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    Ok(Listeners { peer: bind()?, client: bind()? })
}
