use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use hypostyle_crypto::{SigningKey, read_key};

use super::cluster::{ClusterConfig, ReplicaEntry};
use super::error::{ConfigError, Place, Wrong};
use super::overrides::Overrides;
use super::replica::ReplicaConfig;

/// Everything a replica reads before it starts, checked against each other.
pub struct Home {
    /// The directory of its state.
    pub path: PathBuf,
    /// This machine's part.
    pub replica: ReplicaConfig,
    /// The cluster's part.
    pub cluster: ClusterConfig,
    /// The private key.
    pub key: SigningKey,
}

impl Home {
    /// Reads `replica.toml` in `directory`, and the cluster's configuration and the key that it names.
    ///
    /// # Errors
    /// The first fault, with its place and remedy.
    pub fn open(directory: impl AsRef<Path>, overrides: &Overrides) -> Result<Self, ConfigError> {
        let file = directory.as_ref().join("replica.toml");
        let replica = ReplicaConfig::load_with(&file, overrides)?;
        let cluster = ClusterConfig::load_with(&replica.cluster, overrides)?;
        check_ids(&file, &replica, &cluster)?;
        let entry = &cluster.replicas[replica.id.index()];
        let key = read_private_key(&replica.private_key, &replica.cluster, entry)?;
        Ok(Self { path: replica.home.clone(), replica, cluster, key })
    }

    /// Checks what the configuration may come to hold against the memory of this machine, or `limits.memory`.
    ///
    /// # Errors
    /// When the bound is larger.
    pub fn check_memory(&self) -> Result<(), ConfigError> {
        let limit = self.replica.limits.memory.and_then(|memory| u64::try_from(memory).ok());
        let Some(available) = limit.or_else(machine_memory) else { return Ok(()) };
        let bound = self.cluster.memory_bound();
        if bound <= available {
            return Ok(());
        }
        let place = Place::File(self.replica.cluster.display().to_string());
        let (bound, available) = (ByteSize::b(bound), ByteSize::b(available));
        let what = format!("a replica may come to hold {bound}, more than the {available} there are");
        let remedy = "lower pillars, window, batch_bytes, client_window, client_result_bytes or catch_up_bytes; most of \
                      it are 10·pillars·window·batch_bytes and what faulty replicas may have it keep of their votes";
        Err(ConfigError::new(place, Wrong::new(what, remedy)))
    }

    /// This replica as the cluster knows it.
    #[must_use]
    pub fn entry(&self) -> &ReplicaEntry {
        &self.cluster.replicas[self.replica.id.index()]
    }
}

/// The memory this process may have: the machine's, or its control group's if that is less.
#[must_use]
pub fn machine_memory() -> Option<u64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let total = total.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)?;
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    Some(group.and_then(|group| group.trim().parse().ok()).map_or(total, |group: u64| group.min(total)))
}

fn check_ids(file: &Path, replica: &ReplicaConfig, cluster: &ClusterConfig) -> Result<(), ConfigError> {
    let known = cluster.n();
    let unknown = std::iter::once(&replica.id).chain(replica.dial.keys()).find(|id| id.index() >= known);
    let Some(id) = unknown else { return Ok(()) };
    let what = format!("replica {id} is not among the {known} of {}", replica.cluster.display());
    let remedy = format!("choose an id from 0 to {}, or name the right cluster.toml", known - 1);
    Err(ConfigError::new(Place::File(file.display().to_string()), Wrong::new(what, remedy)))
}

fn read_private_key(path: &Path, cluster: &Path, entry: &ReplicaEntry) -> Result<SigningKey, ConfigError> {
    let place = Place::File(path.display().to_string());
    let key = read_key(path).map_err(|error| {
        let wrong =
            Wrong::new(format!("no usable private key: {error}"), "correct private_key in replica.toml");
        ConfigError::new(place.clone(), wrong)
    })?;
    if key.public() == entry.key {
        return Ok(key);
    }
    let what = format!("not the private key of replica {} in {}", entry.id, cluster.display());
    let remedy = "give this replica the key.pem that `init` wrote for it and this cluster";
    Err(ConfigError::new(place, Wrong::new(what, remedy)))
}
