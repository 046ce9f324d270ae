use std::io::{self, Read, Write};

use crate::{ClientId, Digest, Number, Position, Timestamp};

/// A deterministic service: the same operations in the same order give the same replies, digest and snapshot on
/// every replica. Nothing that differs between replicas (clock, randomness, hash-map order, addresses) may
/// reach its state; the agreed time is in [`Context::timestamp`].
pub trait Application: Send + 'static {
    /// A handle on the state at one moment; see [`Application::snapshot`].
    type Snapshot: Snapshot;

    /// Executes one operation and appends the result to `reply`, which is empty when called.
    ///
    /// Called once for every operation, in the global order. The bytes come from a client and may be anything:
    /// what they mean, and what an error looks like, is the application's own.
    fn execute(&mut self, context: &Context, operation: &[u8], reply: &mut Vec<u8>);

    /// A collision-resistant digest of the whole state. Called at every checkpoint on the executing thread, so
    /// it should cost in proportion to what changed.
    fn digest(&self) -> Digest;

    /// A cheap handle on the present state (copy on write, or a small clone): the executor waits for this call,
    /// while the handle is written out on another thread.
    fn snapshot(&self) -> Self::Snapshot;

    /// Replaces the state by what a [`Snapshot`] wrote. The bytes were checked against a certified digest.
    ///
    /// # Errors
    /// When the bytes can't be read or don't decode; the replica then tries another snapshot, whatever state is left here.
    fn restore(&mut self, from: &mut dyn Read) -> Result<(), ApplicationError>;
}

/// The state of an [`Application`] at one moment.
pub trait Snapshot: Send + 'static {
    /// Writes the state. The bytes must be a function of the state alone, equal on every replica.
    ///
    /// # Errors
    /// Those of `to`.
    fn write_to(&mut self, to: &mut dyn Write) -> io::Result<()>;
}

/// What an operation may know of its place in the order: agreed, hence equal on every replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// Place of the operation's slot in the global order.
    pub position: Position,
    /// Who sent the operation.
    pub client: ClientId,
    /// The client's number for it.
    pub number: Number,
    /// Agreed time: proposed by a primary, monotonic over the order.
    pub timestamp: Timestamp,
}

/// Why an application could not take over a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum ApplicationError {
    /// The snapshot could not be read.
    #[error("the snapshot can't be read: {0}")]
    Io(#[from] io::Error),
    /// The snapshot was read but makes no sense.
    #[error("the snapshot is malformed: {0}")]
    Malformed(String),
}
