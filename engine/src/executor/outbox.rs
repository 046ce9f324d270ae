use hypostyle_app_api::{ClientId, Digest, Number, PillarId, Position, ReplicaId, Round};
use hypostyle_pillars::{Decided, Stable};

use super::Incarnation;
use crate::reply::ReplyGroup;

/// What the executor wants done. Owned by the caller, who empties it after each call and uses it again.
#[derive(Debug, Default)]
pub struct ExecutorOutbox {
    /// Answers to clients, to be sealed and sent: one group for each pillar and client of the turn.
    pub replies: Vec<ReplyGroup>,
    /// What was executed, in order: the order log.
    pub executed: Vec<ExecutedSlot>,
    /// Clients whose executed floor moved, and where to, for all pillars.
    pub floors: Vec<(ClientId, Number)>,
    /// Requests that were ordered beyond their clients' windows, and by which pillar: they may be ordered again.
    pub far: Vec<(PillarId, ClientId, Number, u16)>,
    /// For each non-empty batch whose operations all lay below their clients' floors, the pillar that ordered it.
    pub replayed: Vec<PillarId>,
    /// Checkpoints and what became of them, in order.
    pub outputs: Vec<Output>,
}

/// A slot in its place in the global order.
#[derive(Clone, Debug)]
pub struct ExecutedSlot {
    /// The place.
    pub position: Position,
    /// The slot.
    pub slot: Decided,
}

/// What the executor tells beside replies.
#[derive(Clone, Debug)]
pub enum Output {
    /// All slots up to `round` are executed: to be said by this replica in a Checkpoint statement.
    Checkpoint {
        /// The round.
        round: Round,
        /// The state's digest.
        digest: Digest,
    },
    /// 2f+1 replicas said the same Checkpoint: the low watermark of every pillar (OSDI'99, section 4.3).
    Stable(Stable),
    /// A replica has recovered: what it declared before is void, and every pillar owes its slots up to `until`, so that
    /// it may vote again.
    Recovered {
        /// Which.
        replica: ReplicaId,
        /// Its record in the state.
        record: Incarnation,
        /// The first checkpoint that lies a window above.
        until: Round,
    },
    /// This replica's state is not what 2f+1 replicas have. It executes and answers no more.
    Diverged {
        /// After which round.
        round: Round,
        /// Its digest.
        own: Digest,
        /// Theirs.
        stable: Digest,
    },
    /// The replicas' states differ so that no digest can reach 2f+1 any more.
    Split {
        /// After which round.
        round: Round,
    },
    /// f+1 replicas have checkpoints more than L above what this one has executed: only a state transfer helps.
    Behind {
        /// The highest round that f+1 replicas told.
        round: Round,
    },
}

impl ExecutorOutbox {
    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.replies.clear();
        self.executed.clear();
        self.floors.clear();
        self.far.clear();
        self.replayed.clear();
        self.outputs.clear();
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.replies.is_empty()
            && self.executed.is_empty()
            && self.floors.is_empty()
            && self.far.is_empty()
            && self.replayed.is_empty()
            && self.outputs.is_empty()
    }
}
