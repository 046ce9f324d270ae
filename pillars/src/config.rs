use std::time::Duration;

use hypostyle_app_api::{ClientId, Number, PillarId, ReplicaId, View};

use crate::message::{FrameLimits, RequestLimits};
use crate::placement::{Assign, Leaders, assigned_pillar, primary};

/// What one pillar of one replica knows of the cluster configuration. The one place that knows n, f and thresholds.
#[derive(Clone, Debug)]
pub struct Config {
    /// This replica.
    pub me: ReplicaId,
    /// This pillar.
    pub pillar: PillarId,
    /// n = 3f+1.
    pub replicas: u16,
    /// P.
    pub pillars: u16,
    /// Registered clients.
    pub clients: u32,
    /// Who leads which view.
    pub leaders: Leaders,
    /// Which pillar orders a request.
    pub assign: Assign,
    /// W: how far above its floor a client's numbers may run.
    pub client_window: u32,
    /// Most operations in a request.
    pub request_operations: u16,
    /// Most bytes of a request.
    pub request_max: usize,
    /// Whether clients may put MAC tags on requests in place of a signature.
    pub client_tags: bool,
    /// Most operations in a batch.
    pub batch_max: u32,
    /// Most bytes of requests in a batch.
    pub batch_bytes: usize,
    /// How long the oldest request may wait for its batch to fill.
    pub batch_delay: Duration,
    /// Most slots proposed and not decided; at most `window`.
    pub pipeline: u64,
    /// K: rounds between checkpoints.
    pub checkpoint_interval: u64,
    /// L: slots above the stable round.
    pub window: u64,
    /// How long a pillar may owe a slot before its primary is blamed.
    pub view_timeout: Duration,
    /// How far ahead of this replica's clock a proposal's timestamp may be.
    pub max_clock_skew: Duration,
}

impl Config {
    /// Most Byzantine replicas.
    #[must_use]
    pub fn f(&self) -> usize {
        (usize::from(self.replicas) - 1) / 3
    }

    /// 2f+1: any two quorums share a correct replica.
    #[must_use]
    pub fn quorum(&self) -> usize {
        2 * self.f() + 1
    }

    /// f+1: holds a correct replica.
    #[must_use]
    pub fn weak_quorum(&self) -> usize {
        self.f() + 1
    }

    /// The primary of a view of this pillar.
    #[must_use]
    pub fn primary(&self, view: View) -> ReplicaId {
        primary(self.leaders, self.replicas, self.pillar, view)
    }

    /// Whether this pillar orders the request of `client` that begins at `first`.
    #[must_use]
    pub fn orders(&self, client: ClientId, first: Number) -> bool {
        assigned_pillar(self.assign, self.pillars, self.request_operations, client, first) == self.pillar
    }

    /// Whether this pillar orders the Recovers of `replica`.
    #[must_use]
    pub fn recovers(&self, replica: ReplicaId) -> bool {
        replica.0 % self.pillars == self.pillar.0
    }

    /// What decoders check.
    #[must_use]
    pub fn frame_limits(&self) -> FrameLimits {
        FrameLimits {
            request: RequestLimits {
                clients: self.clients,
                request_operations: self.request_operations,
                request_max: self.request_max,
                tags: self.client_tags.then_some(self.replicas),
            },
            batch_max: self.batch_max,
            batch_bytes: self.batch_bytes,
            replicas: self.replicas,
            leaders: self.leaders,
            checkpoint_interval: self.checkpoint_interval,
            window: self.window,
        }
    }
}
