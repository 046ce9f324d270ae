use hypostyle_app_api::ReplicaId;

use super::TableLimits;
use crate::config::{ClusterConfig, Replies};
use crate::reply::GroupLimits;

/// What an executor knows of the cluster configuration.
#[derive(Clone, Debug)]
pub struct ExecutorSettings {
    /// This replica.
    pub me: ReplicaId,
    /// n.
    pub replicas: u16,
    /// P.
    pub pillars: u16,
    /// Registered clients.
    pub clients: u32,
    /// W: how far above its floor a client's numbers may run.
    pub client_window: u32,
    /// Bytes of large results kept for a client; and whole results in a reply group after which it is closed.
    pub client_result_bytes: usize,
    /// Longest result.
    pub reply_max: usize,
    /// Whether replies are signed in groups or singly.
    pub replies: Replies,
    /// K: rounds between checkpoints.
    pub checkpoint_interval: u64,
    /// L: slots above the stable round.
    pub window: u64,
}

impl ExecutorSettings {
    /// The settings of replica `me` of a validated configuration.
    ///
    /// # Panics
    /// When there are more replicas or clients than ids: the configuration was not validated.
    #[must_use]
    pub fn new(cluster: &ClusterConfig, me: ReplicaId) -> Self {
        Self {
            me,
            replicas: u16::try_from(cluster.replicas.len()).expect("validated"),
            pillars: cluster.pillars,
            clients: u32::try_from(cluster.clients.len()).expect("validated"),
            client_window: cluster.client_window,
            client_result_bytes: cluster.client_result_bytes,
            reply_max: cluster.reply_max,
            replies: cluster.replies,
            checkpoint_interval: u64::from(cluster.checkpoint_interval),
            window: u64::from(cluster.window),
        }
    }

    pub(super) fn table_limits(&self) -> TableLimits {
        TableLimits { window: self.client_window, result_bytes: self.client_result_bytes }
    }

    /// A message fits [`ClusterConfig::frame_max_client`].
    pub(super) fn group_limits(&self) -> GroupLimits {
        let records = match self.replies {
            Replies::Merkle => u16::try_from(self.client_window).unwrap_or(u16::MAX),
            Replies::Each => 1,
        };
        GroupLimits { records, attached: self.client_result_bytes.max(1) }
    }
}
