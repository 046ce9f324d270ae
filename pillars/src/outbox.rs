use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hypostyle_app_api::{ClientId, Digest, Number, PillarId, ReplicaId, Round, Seq, View};
use hypostyle_crypto::{Entry, Seal, Unsure, Verified};

use crate::Rejected;
use crate::message::{
    Body, Message, NewView, NewViewContent, PeerFrame, Recover, Request, SealedBundle, Statement, Status,
    ViewChange, ViewChangeContent,
};

/// What happens to a pillar.
#[derive(Debug)]
pub enum Input {
    /// A message whose signatures hold.
    Message(Verified<Message>),
    /// A body all of whose signatures hold, but not all of its tags, as far as this replica can tell.
    Unsure(Unsure<Message>),
    /// A client's tags have stopped a slot of another pillar of this replica.
    Mark(ClientId),
    /// A client's request that a backup has passed on, verified here too.
    Passed(ReplicaId, Verified<Message>),
    /// Own statements are signed (and, with `durability = "sync"`, what they stand on is on disk): from now on they count.
    Sealed(Arc<SealedBundle>),
    /// An own VIEW-CHANGE or NEW-VIEW is signed.
    Declared(Declared),
    /// A peer tells where it stands.
    Status(ReplicaId, Status),
    /// The link to a peer came up: what was in flight may be lost.
    Connected(ReplicaId),
    /// Another pillar of this replica needs this one to keep pace.
    Demand(Demand),
    /// The executor took a checkpoint.
    Checkpoint(Round, Digest),
    /// 2f+1 replicas vouch for a checkpoint.
    Stable(Stable),
    /// The executor went on.
    Executed(Executed),
    /// The primary has been found slow or wasteful, as far as this replica can tell.
    Slow,
    /// The executor has begun to take its state from peers: slots up to the stable round are of no use here any more.
    Transferring,
    /// The executor has taken over a state: all slots of this pillar up to this one are part of it. What is decided above
    /// is told once more.
    Installed(Seq),
    /// Whether this replica may say anything: one that has forgotten what it said must not, until it has recovered.
    Voting(bool),
    /// A replica, this one or another, has recovered so many times: what it declared in earlier incarnations is void.
    Incarnation(ReplicaId, u64),
    /// How far the signer has come, where it signs one thing at a time.
    Signer(SignerProgress),
    /// The end of a turn, or the time of [`crate::Pillar::next_deadline`].
    Tick,
}

/// What a replica's signer was ever given, statements and replies, and how much of it is signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignerProgress {
    /// Given.
    pub given: u64,
    /// Signed.
    pub signed: u64,
}

/// What a pillar wants done, in order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Seal this statement and send it to all peers. With `durability = "sync"` what it stands on (body and slot; body;
    /// prepared certificate) must be on disk before it leaves.
    Statement(Statement),
    /// Seal this and send it to all peers, after all that was said before and before what is said afterwards. With
    /// `durability = "sync"` it must be on disk before it leaves.
    Declare(Declaration),
    /// This pillar is at work in a view from now on.
    Entered(View),
    /// Send a VIEW-CHANGE or NEW-VIEW again, one's own or another's.
    SendDeclared(ReplicaId, Declared),
    /// Send a body.
    SendBody(Target, Arc<Body>),
    /// Send a bundle again, one's own or another's.
    SendBundle(ReplicaId, Arc<SealedBundle>),
    /// Tell where this pillar stands.
    SendStatus(Target, Status),
    /// Pass a replica's wish to recover on to the primary.
    SendRecover(Target, Recover),
    /// Pass a client's request on to the primary, and look whether it is executed: [`Executed::past`].
    Forward(ReplicaId, Request),
    /// A slot is decided; they come in any order of their numbers.
    Decided(Decided),
    /// The other pillars of this replica must keep pace.
    Demand(Demand),
    /// For how long, since the last stable checkpoint, this pillar has kept other pillars' decided slots waiting.
    Lag(Duration),
    /// A replica's verified checkpoint statement, for the executor.
    CheckpointVote(CheckpointVote),
    /// The whole proof of a stable checkpoint, for the executor: it comes once.
    CheckpointProven(Stable),
    /// A replica has signed what contradicts what it signed before. [`crate::Pillar::evidence`] holds the first such pair.
    Equivocated(ReplicaId),
    /// A client's tags held at some replicas only and stopped a slot: no pillar takes them for a while.
    Mark(ClientId),
    /// A verified message, or part of one, had no effect.
    Rejected(ReplicaId, Rejected),
}

/// What a replica says of a view, not yet sealed.
#[derive(Clone, Debug)]
pub enum Declaration {
    /// It leaves for a view.
    ViewChange(ViewChangeContent),
    /// It begins a view as its primary.
    NewView(NewViewContent),
}

/// A sealed [`Declaration`].
#[derive(Clone, Debug)]
pub enum Declared {
    /// A replica leaves for a view.
    ViewChange(Arc<ViewChange>),
    /// A primary begins a view.
    NewView(Arc<NewView>),
}

/// To whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every other replica.
    Peers,
    /// One of them.
    Peer(ReplicaId),
}

/// How far a pillar has to come because others are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// A non-empty proposal for this slot was accepted somewhere: an empty slot up to it is justified.
    Accepted(Seq),
    /// A non-empty slot is decided, or a recovery needs it: all slots up to it are owed.
    Owed(Seq),
    /// In this pillar f+1 replicas speak for a non-empty slot: all slots up to it are owed, until the pillar takes that
    /// back by telling a lower one, because its view ended without a decision.
    Backed(PillarId, Seq),
}

/// A decided slot.
#[derive(Clone, Debug)]
pub struct Decided {
    /// The pillar.
    pub pillar: PillarId,
    /// The slot.
    pub seq: Seq,
    /// In which view it was decided.
    pub view: View,
    /// Its content.
    pub body: Arc<Body>,
    /// Commits of 2f+1 replicas for it.
    pub certificate: Arc<[Arc<SealedBundle>]>,
}

/// 2f+1 equal checkpoint statements.
#[derive(Clone, Debug)]
pub struct Stable {
    /// After which round.
    pub round: Round,
    /// The state's digest.
    pub digest: Digest,
    /// The bundles that hold the statements.
    pub proof: Arc<[Arc<SealedBundle>]>,
}

/// What the executor tells a pillar.
#[derive(Clone, Debug, Default)]
pub struct Executed {
    /// All slots of this pillar up to this one are executed.
    pub seq: Seq,
    /// Clients whose executed floor moved, and where to.
    pub floors: Arc<[(ClientId, Number)]>,
    /// Of requests that were to be passed on and are executed or void: the client, the first number and how many. Nobody
    /// will order them again.
    pub past: Vec<(ClientId, Number, u16)>,
    /// Requests that this pillar ordered beyond their clients' windows, in the same form: they count as if they had never
    /// been asked for.
    pub far: Vec<(ClientId, Number, u16)>,
}

/// A verified checkpoint statement.
#[derive(Clone, Debug)]
pub struct CheckpointVote {
    /// Who says it.
    pub replica: ReplicaId,
    /// After which round.
    pub round: Round,
    /// The state's digest.
    pub digest: Digest,
    /// The bundle that holds the statement.
    pub bundle: Arc<SealedBundle>,
}

impl Declaration {
    /// Its entry in a seal.
    #[must_use]
    pub fn entry(&self) -> Entry {
        match self {
            Self::ViewChange(content) => content.entry(),
            Self::NewView(content) => content.entry(),
        }
    }

    /// Puts it under a seal that has its entry.
    ///
    /// # Panics
    /// When the seal doesn't cover it: our own mistake.
    #[must_use]
    pub fn seal(self, seal: Seal) -> Declared {
        match self {
            Self::ViewChange(content) => Declared::ViewChange(Arc::new(content.seal(seal))),
            Self::NewView(content) => Declared::NewView(Arc::new(content.seal(seal))),
        }
    }
}

impl Declared {
    /// The type byte of its frame, and its bytes.
    #[must_use]
    pub fn frame(&self) -> (u8, &Bytes) {
        match self {
            Self::ViewChange(change) => (PeerFrame::VIEW_CHANGE, change.bytes()),
            Self::NewView(new_view) => (PeerFrame::NEW_VIEW, new_view.bytes()),
        }
    }
}
