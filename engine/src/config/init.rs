//! The files of a new cluster.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use hypostyle_app_api::ReplicaId;
use hypostyle_crypto::{KeyFileError, PublicKey, SigningKey, Suite, write_key};

use super::check::check_n;
use super::cluster::ClusterConfig;
use super::error::{ConfigError, Place};
use super::genesis::{self, GenesisError};
use super::replica::{Cores, ReplicaConfig, Threads};

/// Ports of one replica on a host, from the base port on: peers, clients, admin; the next replica's follow.
const PORTS: u16 = 3;

/// A cluster to be made.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The host of every replica; several may share one.
    pub hosts: Vec<IpAddr>,
    /// The first port on each host.
    pub base_port: u16,
    /// How many clients get a key.
    pub clients: u32,
    /// The suite of all keys.
    pub auth: Suite,
    /// The settings, whose members are replaced.
    pub settings: ClusterConfig,
    /// The threads of every replica.
    pub threads: Threads,
}

/// Why a cluster's files cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is a cluster already.
    #[error("{}: exists already\n  remedy: choose another directory; keys and votes are not overwritten", .0.display())]
    Exists(PathBuf),
    /// The ports do not fit.
    #[error(
        "base port {base_port}: {replicas} replicas on one host need {PORTS} ports each\n  remedy: choose a lower one"
    )]
    Ports {
        /// The first port.
        base_port: u16,
        /// The replicas of the host.
        replicas: usize,
    },
    /// The settings are wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A key cannot be written.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// A token cannot be written.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The operating system's word.
    #[error("{}: {error}\n  remedy: let this user write there", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
}

/// The directory of a replica below that of its cluster.
#[must_use]
pub fn replica_home(directory: &Path, id: ReplicaId) -> PathBuf {
    directory.join(format!("replica-{id}"))
}

/// Where a client's key lies below the directory of its cluster.
#[must_use]
pub fn client_key(directory: &Path, client: u32) -> PathBuf {
    directory.join("clients").join(format!("client-{client}.pem"))
}

/// Writes `cluster.toml`, for every replica `replica-i/` with `replica.toml`, `key.pem` and its genesis token, and for
/// every client `clients/client-i.pem`. Nothing is overwritten; `made` hears of every key, for they take a while.
///
/// # Errors
/// When the directory holds a cluster, the plan is not valid, or a file cannot be written.
pub fn init(directory: &Path, plan: &Plan, made: &mut dyn FnMut()) -> Result<ClusterConfig, InitError> {
    let cluster_file = directory.join("cluster.toml");
    if cluster_file.exists() {
        return Err(InitError::Exists(cluster_file));
    }
    check_n(plan.hosts.len())
        .map_err(|wrong| ConfigError::new(Place::Setting("the cluster's size".to_owned()), wrong))?;
    let ports = plan.ports()?;
    let mut key = || {
        let key = SigningKey::generate(plan.auth);
        made();
        key
    };
    let replica_keys: Vec<SigningKey> = plan.hosts.iter().map(|_| key()).collect();
    let client_keys: Vec<SigningKey> = (0..plan.clients).map(|_| key()).collect();
    let cluster = plan.cluster(&ports, &replica_keys, &client_keys)?;

    make_directory(directory)?;
    for (index, (entry, key)) in cluster.replicas.iter().zip(&replica_keys).enumerate() {
        let home = replica_home(directory, entry.id);
        make_directory(&home)?;
        write_key(&home.join("key.pem"), key)?;
        let cores = if plan.is_alone(index) { Cores::Auto } else { Cores::Shared };
        let admin = Some(ports[index].admin);
        let replica =
            ReplicaConfig { admin, cores, ..ReplicaConfig::new(entry.id).with_threads(plan.threads) };
        write_new(&home.join("replica.toml"), &replica.to_toml())?;
        genesis::write(&home)?;
    }
    make_directory(&directory.join("clients"))?;
    for (client, key) in (0..).zip(&client_keys) {
        write_key(&client_key(directory, client), key)?;
    }
    // Last: where it stands, the cluster is complete.
    write_new(&cluster_file, &cluster.to_toml())?;
    Ok(cluster)
}

struct Ports {
    peer: SocketAddr,
    client: SocketAddr,
    admin: SocketAddr,
}

impl Plan {
    /// Whether a replica has its host to itself. If not, none may take the cores for its own.
    fn is_alone(&self, index: usize) -> bool {
        self.hosts.iter().filter(|host| **host == self.hosts[index]).count() == 1
    }

    /// Replicas of one host take its ports in turn.
    fn ports(&self) -> Result<Vec<Ports>, InitError> {
        let ports = |(index, host): (usize, &IpAddr)| {
            let before = self.hosts[..index].iter().filter(|other| *other == host).count();
            let wrong = || InitError::Ports {
                base_port: self.base_port,
                replicas: self.hosts.iter().filter(|other| *other == host).count(),
            };
            let first = u16::try_from(before).ok().and_then(|before| before.checked_mul(PORTS));
            let first = first.and_then(|first| first.checked_add(self.base_port)).ok_or_else(wrong)?;
            let last = first.checked_add(PORTS - 1).ok_or_else(wrong)?;
            let loopback = if host.is_ipv4() { "127.0.0.1" } else { "::1" };
            Ok(Ports {
                peer: SocketAddr::new(*host, first),
                client: SocketAddr::new(*host, first + 1),
                admin: SocketAddr::new(loopback.parse().expect("an address"), last),
            })
        };
        self.hosts.iter().enumerate().map(ports).collect()
    }

    fn cluster(
        &self,
        ports: &[Ports],
        replicas: &[SigningKey],
        clients: &[SigningKey],
    ) -> Result<ClusterConfig, ConfigError> {
        let addresses: Vec<_> = ports.iter().map(|ports| (ports.peer, ports.client)).collect();
        let public = |keys: &[SigningKey]| keys.iter().map(SigningKey::public).collect::<Vec<PublicKey>>();
        let members = ClusterConfig::local(&addresses, &public(replicas), &public(clients));
        let cluster = ClusterConfig {
            auth: self.auth,
            replicas: members.replicas,
            clients: members.clients,
            ..self.settings.clone()
        };
        cluster.validate()?;
        Ok(cluster)
    }
}

fn make_directory(path: &Path) -> Result<(), InitError> {
    fs::create_dir_all(path).map_err(|error| InitError::Io { path: path.to_owned(), error })
}

fn write_new(path: &Path, text: &str) -> Result<(), InitError> {
    let file = fs::OpenOptions::new().write(true).create_new(true).open(path);
    let written = file.and_then(|mut file| io::Write::write_all(&mut file, text.as_bytes()));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => InitError::Exists(path.to_owned()),
        _ => InitError::Io { path: path.to_owned(), error },
    })
}
