//! After agreement: merge, client table, an application that does next to nothing, replies as leaves of a signed tree.

use crate::fixture::{Fixture, REPLICAS, config};
use crate::measured;
use bytes::Bytes;
use hypostyle::config::Replies;
use hypostyle::executor::{Executor, ExecutorOutbox, ExecutorSettings};
use hypostyle::reply::{ReplyMessage, encode_reply, seal_tree};
use hypostyle_app_api::{
    Application, ApplicationError, Context, Digest, PillarId, ReplicaId, Seq, Snapshot, Timestamp, View,
};
use hypostyle_crypto::Entry;
use hypostyle_pillars::Decided;
use hypostyle_pillars::message::BodyBuilder;
use std::io::{self, Read, Write};
use std::sync::Arc;

const PILLARS: u16 = 4;
const ROUNDS: u64 = 16;
const REQUESTS: u64 = 100;
const ME: ReplicaId = ReplicaId(0);

/// Answers 8 bytes; has no state.
struct Nothing;

impl Application for Nothing {
    type Snapshot = Self;

    fn execute(&mut self, context: &Context, _operation: &[u8], reply: &mut Vec<u8>) {
        reply.extend_from_slice(&context.number.0.to_le_bytes());
    }

    fn digest(&self) -> Digest {
        Digest::ZERO
    }

    fn snapshot(&self) -> Self {
        Self
    }

    fn restore(&mut self, _from: &mut dyn Read) -> Result<(), ApplicationError> {
        Ok(())
    }
}

impl Snapshot for Nothing {
    fn write_to(&mut self, _to: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}

struct Run {
    fixture: Fixture,
    executor: Executor<Nothing>,
    out: ExecutorOutbox,
}

/// An operation is one that is executed and answered; four pillars' bodies of 100 a round.
pub(crate) fn execute_and_answer() -> u64 {
    let mut run = Run::new();
    for round in 1..=ROUNDS {
        run.execute(round);
        let replies = run.answer();
        assert!(!replies.is_empty());
    }
    assert_eq!(run.executor.counters().operations, operations());
    operations()
}

/// What the client decodes of it; an operation is one answer.
pub(crate) fn decode_replies() -> u64 {
    let mut run = Run::new();
    let mut records = 0;
    for round in 1..=ROUNDS {
        run.execute(round);
        for bytes in run.answer() {
            records += measured(|| ReplyMessage::decode(bytes)).expect("well-formed").records.len();
        }
    }
    assert_eq!(records as u64, operations());
    operations()
}

fn operations() -> u64 {
    ROUNDS * u64::from(PILLARS) * REQUESTS
}

impl Run {
    fn new() -> Self {
        let executor = Executor::new(settings(), Nothing);
        Self { fixture: Fixture::new(), executor, out: ExecutorOutbox::default() }
    }

    /// A round, its slots decided in the reverse of their order.
    fn execute(&mut self, round: u64) {
        let mut slots: Vec<_> =
            (0..PILLARS).map(|pillar| self.decided(PillarId(pillar), Seq(round))).collect();
        slots.reverse();
        let (executor, out) = (&mut self.executor, &mut self.out);
        measured(|| {
            for slot in slots {
                executor.decided(slot).expect("within the window");
            }
            executor.run(usize::MAX, out);
        });
    }

    fn decided(&mut self, pillar: PillarId, seq: Seq) -> Decided {
        let mut builder = BodyBuilder::new();
        (0..REQUESTS).for_each(|_| builder.push(&self.fixture.decoded_request()));
        let body = Arc::new(builder.finish(Timestamp(seq.0)));
        Decided { pillar, seq, view: View(0), body, certificate: Arc::new([]) }
    }

    /// The turn's replies as they go out.
    fn answer(&mut self) -> Vec<Bytes> {
        let groups = &self.out.replies;
        let tree = measured(|| seal_tree(groups));
        let seal = self.fixture.seal(ME, vec![Entry::Replies { root: tree.root() }]);
        let mut messages = Vec::new();
        for (index, group) in groups.iter().enumerate() {
            let mut bytes = Vec::with_capacity(4096);
            measured(|| encode_reply(group, index, &tree, &seal, &mut bytes));
            messages.push(Bytes::from(bytes));
        }
        self.out.replies.drain(..).for_each(|group| self.executor.recycle(group));
        self.out.clear();
        messages
    }
}

fn settings() -> ExecutorSettings {
    let of_pillars = config(ME);
    ExecutorSettings {
        me: ME,
        replicas: REPLICAS,
        pillars: PILLARS,
        clients: of_pillars.clients,
        client_window: of_pillars.client_window,
        client_result_bytes: 256 << 10,
        reply_max: 64 << 10,
        replies: Replies::Merkle,
        checkpoint_interval: of_pillars.checkpoint_interval,
        window: of_pillars.window,
    }
}
