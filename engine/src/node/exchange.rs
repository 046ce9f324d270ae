//! What a node exchanges with its worker, the executor and other replicas.

use std::sync::Arc;
use std::time::Duration;

use hypostyle_app_api::{ClientId, Digest, PillarId, ReplicaId, Round, Seq, View};
use hypostyle_pillars::message::{Body, Recover, Request, SealedBundle, Status};
use hypostyle_pillars::{CheckpointVote, Decided, Declared, Demand, Executed, Input, Source, Stable, Target};

use super::{RecoveryNews, Refusal};
use crate::executor::{Incarnation, Lookup};
use crate::reply::ReplyGroup;
use crate::transfer::TransferMessage;

/// What a node wants done, in order.
pub(crate) enum NodeOutput {
    /// A frame on a pillar's links.
    ToPeers { pillar: PillarId, to: Target, message: PeerMessage },
    /// A frame on a client's connection to a pillar.
    ToClient { pillar: PillarId, client: ClientId, frame: Vec<u8> },
    /// Close the connection to a peer that has proved to be faulty.
    Close { pillar: PillarId, source: Source, reason: Refusal },
    /// For the executor.
    ToExecutor(ExecutorInput),
    /// Something for the log: how this replica's recovery goes.
    Recovery(RecoveryNews),
    /// For the pillars of the other workers.
    ToSiblings(SiblingInput),
}

/// What a pillar tells all others of its replica.
#[derive(Clone, Copy)]
pub(crate) enum SiblingInput {
    /// They must keep pace.
    Demand(Demand),
    /// A client's tags are taken no more.
    Mark(ClientId),
}

impl From<SiblingInput> for Input {
    fn from(input: SiblingInput) -> Self {
        match input {
            SiblingInput::Demand(demand) => Input::Demand(demand),
            SiblingInput::Mark(client) => Input::Mark(client),
        }
    }
}

/// What the executor tells all pillars about the state below them.
#[derive(Clone)]
pub(crate) enum StateNotice {
    /// It is being taken from peers.
    Transferring,
    /// It was replaced: all slots of each pillar up to its number are part of it.
    Installed(Arc<[Seq]>),
    /// Whether this replica may say anything.
    Voting(bool),
}

/// What goes from a pillar to other replicas.
pub(crate) enum PeerMessage {
    Body(Arc<Body>),
    Bundle(Arc<SealedBundle>),
    Status(Status),
    Request(Request),
    Declared(Declared),
    Transfer(TransferMessage),
    Recover(Recover),
}

/// What the pillars tell the executor.
pub(crate) enum ExecutorInput {
    Decided(Decided),
    Lookup(Lookup),
    /// The same, of a request that a pillar expects its primary to order.
    Awaited(Lookup),
    CheckpointVote(CheckpointVote),
    CheckpointProven(Stable),
    /// A pillar entered a view: replies tell it.
    Entered(PillarId, View),
    /// A peer says something about a state transfer.
    Transfer(ReplicaId, TransferMessage),
    /// For how long a pillar has kept the others waiting.
    Lag(PillarId, Duration),
}

/// What the executor tells a worker.
#[derive(Default)]
pub(crate) struct ExecutorReport {
    pub(crate) replies: Vec<ReplyGroup>,
    pub(crate) executed: Vec<(PillarId, Executed)>,
    /// Own checkpoints, each for the pillar that is to state it.
    pub(crate) checkpoints: Vec<(PillarId, Round, Digest)>,
    pub(crate) stable: Vec<Stable>,
    /// Pillars whose primary was found slow or wasteful.
    pub(crate) slow: Vec<PillarId>,
    /// Replicas that have recovered, how often, and up to where all slots are owed for it.
    pub(crate) recovered: Vec<(ReplicaId, Incarnation, Round)>,
    /// A round that is stable and whose state the executor holds; told to a replica that recovers.
    pub(crate) held: Option<Round>,
    pub(crate) notices: Vec<StateNotice>,
    /// About state transfers, over a pillar's links.
    pub(crate) transfer: Vec<(PillarId, ReplicaId, TransferMessage)>,
}

impl ExecutorInput {
    /// Whether whoever caused it will cause it again if need be. These inputs alone aren't bounded by the window: a client
    /// may ask, and a replica repeat itself, without end.
    pub(crate) fn comes_again(&self, me: ReplicaId) -> bool {
        match self {
            Self::Decided(_) | Self::Entered(..) | Self::CheckpointProven(_) => false,
            Self::Lookup(_) | Self::Awaited(_) | Self::Transfer(..) | Self::Lag(..) => true,
            Self::CheckpointVote(vote) => vote.replica != me,
        }
    }
}

impl ExecutorReport {
    pub(crate) fn is_empty(&self) -> bool {
        self.replies.is_empty()
            && self.executed.is_empty()
            && self.checkpoints.is_empty()
            && self.stable.is_empty()
            && self.slow.is_empty()
            && self.recovered.is_empty()
            && self.held.is_none()
            && self.notices.is_empty()
            && self.transfer.is_empty()
    }
}
