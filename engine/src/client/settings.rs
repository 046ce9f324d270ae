use std::time::Duration;

use hypostyle_app_api::{ClientId, Number, PillarId};
use hypostyle_crypto::{Suite, TAG_LEN};
use hypostyle_pillars::message::RequestLimits;
use hypostyle_pillars::{Assign, Leaders, assigned_pillar};

use super::tally::ReplicaSet;
use crate::config::{self, ClusterConfig};

/// What of the cluster's configuration a client goes by.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// Number of replicas, n.
    pub replicas: u16,
    /// Replicas that may be Byzantine, f.
    pub faults: u16,
    /// Number of pillars, P.
    pub pillars: u16,
    /// Registered clients: ids are below it.
    pub clients: u32,
    /// Which pillar orders a request.
    pub assign: Assign,
    /// Who leads which view of which pillar.
    pub leaders: Leaders,
    /// W: numbers a client may have in flight above what it has acknowledged.
    pub client_window: u64,
    /// Most operations in a request.
    pub request_operations: u16,
    /// Most bytes of a request, signature included.
    pub request_max: usize,
    /// Whether tags stand in place of signatures, on requests and replies.
    pub tags: bool,
    /// Most bytes of a result.
    pub reply_max: usize,
    /// How long to wait for an answer before a request goes to all replicas.
    pub client_timeout: Duration,
}

impl ClientSettings {
    /// Those of a cluster.
    #[must_use]
    pub fn of(cluster: &ClusterConfig) -> Self {
        let small = |count: usize| u16::try_from(count).expect("a valid configuration has few replicas");
        Self {
            replicas: small(cluster.n()),
            faults: small(cluster.f()),
            pillars: cluster.pillars,
            clients: u32::try_from(cluster.clients.len()).expect("a valid configuration has fewer clients"),
            assign: match cluster.assign {
                config::Assign::Request => Assign::Request,
                config::Assign::Client => Assign::Client,
            },
            leaders: match cluster.leaders {
                config::Leaders::Spread => Leaders::Spread,
                config::Leaders::Single => Leaders::Single,
            },
            client_window: u64::from(cluster.client_window),
            request_operations: cluster.request_operations,
            request_max: cluster.request_max,
            tags: cluster.client_auth == config::ClientAuth::Mac,
            reply_max: cluster.reply_max,
            client_timeout: cluster.client_timeout,
        }
    }

    /// The pillar of the request that begins with this number.
    #[must_use]
    pub fn pillar(&self, client: ClientId, first: Number) -> PillarId {
        assigned_pillar(self.assign, self.pillars, self.request_operations, client, first)
    }

    /// The pillars a client's requests can belong to: the ones it needs connections for.
    #[must_use]
    pub fn pillars_of(&self, client: ClientId) -> Vec<PillarId> {
        match self.assign {
            Assign::Request => (0..self.pillars).map(PillarId).collect(),
            Assign::Client => vec![self.pillar(client, Number(1))],
        }
    }

    /// How many operations a request may hold that begins with this number: it crosses no multiple of
    /// `request_operations`.
    #[must_use]
    pub fn operations_from(&self, first: Number) -> u16 {
        let most = self.request_operations;
        let into = u16::try_from(first.0 % u64::from(most)).expect("below a 16-bit number");
        most - into
    }

    /// The acknowledged floor of a request signed ahead of its time: what must be acknowledged before the window lets
    /// its last number go, hence right whenever it is sent. `start` is the client's first number.
    #[must_use]
    pub fn floor_ahead(&self, start: Number, last: Number) -> Number {
        Number(last.0.saturating_sub(self.client_window).max(start.0.saturating_sub(1)))
    }

    /// Most bytes of what authenticates a request of a client with keys of this suite.
    pub(super) fn authenticator_len(&self, suite: Suite) -> usize {
        let tags = if self.tags { usize::from(self.replicas) * TAG_LEN } else { 0 };
        suite.signature_len().max(tags)
    }

    pub(super) fn request_limits(&self) -> RequestLimits {
        RequestLimits {
            clients: self.clients,
            request_operations: self.request_operations,
            request_max: self.request_max,
            tags: self.tags.then_some(self.replicas),
        }
    }

    pub(super) fn check(&self) {
        assert!(usize::from(self.replicas) <= ReplicaSet::MAX, "{} replicas are too many", self.replicas);
        assert!(self.replicas > 2 * self.faults, "{} faults of {} replicas", self.faults, self.replicas);
        assert!(self.pillars > 0 && self.client_window > 0 && self.request_operations > 0, "a limit of 0");
    }
}
