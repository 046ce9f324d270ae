use std::io::{self, Read, Write};

use hypostyle::crypto::sha256;
use hypostyle::{Application, ApplicationError, Context, Digest, Snapshot};

/// The smallest reply: the operation's place among all executed ones.
pub(crate) const REPLY_MIN: usize = 8;

/// The service that figures are measured with: it does nothing but answer with a reply of fixed length. Its state
/// is a count of operations and a running mix of (client, number, length), so that replicas which executed different
/// operations, or the same in another order, show different digests. The mix is no cryptographic hash: it finds
/// faults of the engine, not attacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Null {
    reply_bytes: usize,
    state: State,
}

/// [`Null`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    operations: u64,
    mix: [u64; 2],
}

impl Null {
    /// Answers every operation with `reply_bytes` bytes, [`REPLY_MIN`] at least.
    #[must_use]
    pub(crate) fn new(reply_bytes: usize) -> Self {
        Self { reply_bytes: reply_bytes.max(REPLY_MIN), state: State::default() }
    }
}

impl Application for Null {
    type Snapshot = State;

    fn execute(&mut self, context: &Context, operation: &[u8], reply: &mut Vec<u8>) {
        self.state.operations += 1;
        let who = u64::from(context.client.0) << 32 ^ operation.len() as u64;
        self.state.mix[0] = mixed(self.state.mix[0], who);
        self.state.mix[1] = mixed(self.state.mix[1] ^ self.state.mix[0], context.number.0);
        reply.extend_from_slice(&self.state.operations.to_le_bytes());
        reply.resize(self.reply_bytes, 0);
    }

    fn digest(&self) -> Digest {
        sha256(&[b"hypostyle-bench null", &self.state.encode()])
    }

    fn snapshot(&self) -> State {
        self.state
    }

    fn restore(&mut self, from: &mut dyn Read) -> Result<(), ApplicationError> {
        let mut bytes = [0; STATE_BYTES];
        from.read_exact(&mut bytes)?;
        self.state = State::decode(bytes);
        Ok(())
    }
}

impl Snapshot for State {
    fn write_to(&mut self, to: &mut dyn Write) -> io::Result<()> {
        to.write_all(&self.encode())
    }
}

const STATE_BYTES: usize = 24;

impl State {
    fn encode(self) -> [u8; STATE_BYTES] {
        let mut bytes = [0; STATE_BYTES];
        let words = [self.operations, self.mix[0], self.mix[1]];
        for (place, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *place = word.to_le_bytes();
        }
        bytes
    }

    fn decode(bytes: [u8; STATE_BYTES]) -> Self {
        let words = bytes.as_chunks::<8>().0;
        let word = |index: usize| u64::from_le_bytes(words[index]);
        Self { operations: word(0), mix: [word(1), word(2)] }
    }
}

/// One step of a multiplicative hash: depends on the order in which values come.
fn mixed(state: u64, value: u64) -> u64 {
    (state.rotate_left(23) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypostyle::{ClientId, Number, Position, Timestamp};

    fn run(operations: &[(u32, u64)]) -> Null {
        let mut null = Null::new(0);
        for &(client, number) in operations {
            let context = Context {
                position: Position(0),
                client: ClientId(client),
                number: Number(number),
                timestamp: Timestamp(0),
            };
            let mut reply = Vec::new();
            null.execute(&context, b"operation", &mut reply);
            assert_eq!(reply.len(), REPLY_MIN);
        }
        null
    }

    #[test]
    fn order_and_content_show_in_the_digest() {
        let digest = run(&[(1, 1), (2, 1)]).digest();
        assert_eq!(digest, run(&[(1, 1), (2, 1)]).digest());
        assert_ne!(digest, run(&[(2, 1), (1, 1)]).digest());
        assert_ne!(digest, run(&[(1, 1)]).digest());
        assert_ne!(digest, run(&[(1, 1), (1, 1)]).digest());
    }

    #[test]
    fn a_snapshot_restores() {
        let null = run(&[(1, 1), (2, 1), (1, 2)]);
        let mut bytes = Vec::new();
        null.snapshot().write_to(&mut bytes).expect("written");
        let mut other = Null::new(0);
        other.restore(&mut bytes.as_slice()).expect("restored");
        assert_eq!(other, null);
        assert!(other.restore(&mut &bytes[..5]).is_err());
    }
}
