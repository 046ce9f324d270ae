//! The serial part of a replica, as criterion times it and callgrind counts it: what one executor thread does for each
//! operation, whatever the number of pillars. Merge, client table, a no-op application, and encoding the answers.

use std::io::{self, Read, Write};
use std::sync::Arc;

use hypostyle::config::Replies;
use hypostyle::executor::{Executor, ExecutorOutbox, ExecutorSettings};
use hypostyle_app_api::{
    Application, ApplicationError, ClientId, Context, Digest, Number, Position, ReplicaId, Snapshot,
    Timestamp, View,
};
use hypostyle_crypto::{Domain, Identity, Signer, SigningKey, Suite};
use hypostyle_pillars::Decided;
use hypostyle_pillars::message::{BodyBuilder, Request, RequestLimits, encode_request};

/// Operations of a batch.
pub(crate) const BATCH: u64 = 100;
/// Slots executed before the measured ones, so that the client table has its size, and measured ones: three checkpoint
/// intervals each.
const SLOTS: u64 = 96;
/// Operations of [`Serial::run`].
pub(crate) const OPERATIONS: u64 = SLOTS * BATCH;

/// How load is offered: it decides what lies in caches, and how many answers share a group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// P.
    pub(crate) pillars: u16,
    /// Clients.
    pub(crate) clients: u32,
    /// Operations each has outstanding.
    pub(crate) outstanding: u64,
}

/// Decided slots of one load shape.
pub(crate) struct Load {
    shape: Shape,
    slots: Vec<Decided>,
}

/// An executor that has executed the first half of a load.
pub(crate) struct Serial {
    executor: Executor<Noop>,
    out: ExecutorOutbox,
}

impl Load {
    /// Signs the requests and cuts the batches.
    pub(crate) fn new(shape: Shape) -> Self {
        let domain = Domain { configuration: Digest::ZERO };
        let identity =
            Identity::new(Signer::Client(ClientId(0)), SigningKey::generate(Suite::Ed25519), domain);
        let slots = (0..2 * SLOTS).map(|position| slot(&identity, shape, Position(position))).collect();
        Self { shape, slots }
    }

    /// An executor in the middle of the load.
    pub(crate) fn serial(&self) -> Serial {
        let executor = Executor::new(settings(self.shape), Noop::default());
        let mut serial = Serial { executor, out: ExecutorOutbox::default() };
        self.slots[..half()].iter().cloned().for_each(|slot| serial.execute(slot));
        serial
    }

    /// What it has not executed yet.
    pub(crate) fn rest(&self) -> Vec<Decided> {
        self.slots[half()..].to_vec()
    }
}

impl Serial {
    /// The measured part: [`OPERATIONS`] operations. Returns how many were executed.
    pub(crate) fn run(&mut self, slots: Vec<Decided>) -> u64 {
        let before = self.executor.counters().operations;
        slots.into_iter().for_each(|slot| self.execute(slot));
        self.executor.counters().operations - before
    }

    fn execute(&mut self, slot: Decided) {
        self.executor.decided(slot).expect("slots come in order");
        self.executor.run(usize::MAX, &mut self.out);
        for group in self.out.replies.drain(..) {
            self.executor.recycle(group);
        }
        self.out.clear();
    }
}

/// Counts operations.
#[derive(Debug, Default)]
struct Noop(u64);

struct State(u64);

impl Application for Noop {
    type Snapshot = State;

    fn execute(&mut self, _context: &Context, _operation: &[u8], reply: &mut Vec<u8>) {
        self.0 += 1;
        reply.extend_from_slice(&self.0.to_le_bytes());
    }

    fn digest(&self) -> Digest {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&self.0.to_le_bytes());
        Digest(digest)
    }

    fn snapshot(&self) -> State {
        State(self.0)
    }

    fn restore(&mut self, from: &mut dyn Read) -> Result<(), ApplicationError> {
        let mut bytes = [0; 8];
        from.read_exact(&mut bytes)?;
        self.0 = u64::from_le_bytes(bytes);
        Ok(())
    }
}

impl Snapshot for State {
    fn write_to(&mut self, to: &mut dyn Write) -> io::Result<()> {
        to.write_all(&self.0.to_le_bytes())
    }
}

fn half() -> usize {
    usize::try_from(SLOTS).expect("small")
}

fn settings(shape: Shape) -> ExecutorSettings {
    ExecutorSettings {
        me: ReplicaId(0),
        replicas: 4,
        pillars: shape.pillars,
        clients: shape.clients,
        client_window: 4096,
        client_result_bytes: 256 << 10,
        reply_max: 64 << 10,
        replies: Replies::Merkle,
        checkpoint_interval: 32,
        window: 128,
    }
}

/// The slot at `position`: the clients in turn, each with its next number.
fn slot(identity: &Identity, shape: Shape, position: Position) -> Decided {
    let limits =
        RequestLimits { clients: shape.clients, request_operations: 1, request_max: 64 << 10, tags: None };
    let mut builder = BodyBuilder::new();
    for operation in position.0 * BATCH..(position.0 + 1) * BATCH {
        let clients = u64::from(shape.clients);
        let client = ClientId(u32::try_from(operation % clients).expect("below the number of clients"));
        let number = operation / clients + 1;
        let floor = Number(number.saturating_sub(shape.outstanding));
        let bytes = encode_request(identity, client, Number(number), floor, &[&[7; 100]]);
        builder.push(&Request::decode(bytes, &limits).expect("encoded above"));
    }
    let body = Arc::new(builder.finish(Timestamp(position.0)));
    let (pillar, seq) = position.slot(shape.pillars);
    Decided { pillar, seq, view: View(0), body, certificate: Arc::from([]) }
}
