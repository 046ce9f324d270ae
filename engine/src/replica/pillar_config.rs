use hypostyle_app_api::{PillarId, ReplicaId};
use hypostyle_pillars::Config;

use crate::config::{ClientAuth, ClusterConfig};

impl ClusterConfig {
    /// What one pillar of replica `me` knows of the configuration.
    pub(crate) fn pillar_config(&self, me: ReplicaId, pillar: PillarId) -> Config {
        Config {
            me,
            pillar,
            replicas: u16::try_from(self.n()).expect("n fits 16 bits"),
            pillars: self.pillars,
            clients: u32::try_from(self.clients.len()).expect("clients fit 32 bits"),
            leaders: self.leaders,
            assign: self.assign,
            client_window: self.client_window,
            request_operations: self.request_operations,
            request_max: self.request_max,
            client_tags: self.client_auth == ClientAuth::Mac,
            batch_max: self.batch_max,
            batch_bytes: self.batch_bytes,
            batch_delay: self.batch_delay,
            pipeline: u64::from(self.pipeline.min(self.window)),
            checkpoint_interval: u64::from(self.checkpoint_interval),
            window: u64::from(self.window),
            view_timeout: self.view_timeout,
            max_clock_skew: self.max_clock_skew,
        }
    }
}
