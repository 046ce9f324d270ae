//! Configuration: `cluster.toml` (what all members agree on), `replica.toml` (one machine), and a replica's home.

mod canonical;
mod check;
mod cluster;
mod cluster_file;
mod document;
mod error;
mod field;
pub mod genesis;
mod home;
mod init;
mod limits;
mod memory;
mod overrides;
mod profile;
mod replica;
mod value;

pub use canonical::{Difference, first_difference};
pub use cluster::{ClientAuth, ClientEntry, ClusterConfig, ReplicaEntry, Replies};
pub use error::{ConfigError, Place};
pub use home::{Home, machine_memory};
pub use hypostyle_pillars::{Assign, Leaders};
pub use init::{InitError, Plan, client_key, init, replica_home};
pub use overrides::Overrides;
pub use profile::{Figures, Machine, Measured, Profile, TunedCluster, Workload};
pub use replica::{Cores, Count, Durability, Executor, Limits, ReplicaConfig, Threads};

/// The names of all settings, as overrides use them.
fn setting_names() -> Vec<&'static str> {
    cluster::FIELDS.iter().map(|field| field.global).chain(replica::setting_names()).collect()
}

#[cfg(test)]
mod tests;
