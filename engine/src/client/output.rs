use std::time::Duration;

use bytes::Bytes;
use hypostyle_app_api::{Number, PillarId, ReplicaId};

use super::error::OperationError;

/// What a [`ClientCore`](super::ClientCore) wants done: a buffer its owner reuses and empties.
#[derive(Debug, Default)]
pub struct ClientOutput {
    /// Requests to put on the connections to these replicas and pillars, in this order. Each is up.
    pub sends: Vec<Transmission>,
    /// Operations that are settled.
    pub completions: Vec<Completion>,
}

/// A request on its way to one replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmission {
    /// To whom.
    pub replica: ReplicaId,
    /// On the connection of which pillar.
    pub pillar: PillarId,
    /// The signed request.
    pub request: Bytes,
}

/// A settled operation: f+1 replicas told the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Which one.
    pub number: Number,
    /// Its result.
    pub result: Result<Bytes, OperationError>,
    /// Time since it was submitted.
    pub latency: Duration,
    /// Whether its request was sent again after a timeout.
    pub resent: bool,
}
