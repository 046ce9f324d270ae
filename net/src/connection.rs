use std::io::{self, Read};
use std::net::SocketAddr;

use hypostyle_app_api::{Instant, PillarId};
use mio::net::TcpStream;

use crate::dialer::DialKey;
use crate::frame::{self, HEADER_LEN};
use crate::handshake::{Initiator, REFUSAL_MAX, Responder};
use crate::link_mac::LinkMac;
use crate::peer::Peer;
use crate::read_buffer::{ClientReader, PeerReader};
use crate::settings::Limits;
use crate::write_buffer::WriteBuffer;

/// One socket and what it is at.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) address: SocketAddr,
    pub(crate) serial: u64,
    pub(crate) out: WriteBuffer,
    /// The socket took not all that was offered: wait until it is writable.
    pub(crate) blocked: bool,
    /// On the list of those to flush.
    pub(crate) touched: bool,
    /// The other side has closed its direction.
    pub(crate) read_closed: bool,
    pub(crate) phase: Phase,
}

/// The life of a connection.
pub(crate) enum Phase {
    /// `connect` is under way.
    Connecting { dial: DialKey, since: Instant },
    /// Nobody is authenticated.
    HalfOpen(Box<HalfOpen>),
    /// Both sides are.
    Up(Box<Link>),
}

/// A connection in its handshake.
pub(crate) struct HalfOpen {
    pub(crate) side: Side,
    pub(crate) inbox: Inbox,
    pub(crate) since: Instant,
    /// On the list of those to look at.
    pub(crate) queued: bool,
}

/// Which side of a handshake we are.
pub(crate) enum Side {
    Initiator { dial: DialKey, initiator: Box<Initiator> },
    Responder(Responder),
}

impl Side {
    pub(crate) fn message_max(&self) -> usize {
        match self {
            Self::Initiator { .. } => REFUSAL_MAX,
            Self::Responder(responder) => responder.message_max(),
        }
    }

    /// What the next message costs, in units of an X25519 operation or so.
    pub(crate) fn cost(&self) -> u32 {
        match self {
            Self::Initiator { .. } => 8,
            Self::Responder(responder) => responder.cost(),
        }
    }
}

/// An authenticated connection.
pub(crate) struct Link {
    pub(crate) key: DialKey,
    pub(crate) limits: Limits,
    pub(crate) reader: Reader,
    /// Between replicas.
    pub(crate) sealer: Option<LinkMac>,
    pub(crate) last_sent: Instant,
    pub(crate) last_heard: Instant,
    /// There may be something to read.
    pub(crate) readable: bool,
    /// A `Readable` is among the events.
    pub(crate) announced: bool,
}

impl Link {
    pub(crate) fn peer(&self) -> Peer {
        self.key.peer
    }

    pub(crate) fn pillar(&self) -> PillarId {
        self.key.pillar
    }
}

/// How a link's bytes become frames.
pub(crate) enum Reader {
    Peer(PeerReader),
    Client(ClientReader),
}

/// Gathers one handshake message, never a byte more: what follows the handshake stays in the socket.
#[derive(Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    filled: usize,
}

/// What a look into the socket found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Message(Vec<u8>),
    Pending,
    TooLong,
    Closed,
}

impl Inbox {
    /// An inbox that has received `message` already.
    pub(crate) fn holding(message: &[u8]) -> Self {
        let mut bytes = frame::header(message.len()).expect("handshake messages are short").to_vec();
        bytes.extend_from_slice(message);
        Self { filled: bytes.len(), bytes }
    }

    /// Reads on towards a message of at most `max` bytes; `reads` counts the system calls.
    pub(crate) fn receive(
        &mut self,
        socket: &mut impl Read,
        max: usize,
        reads: &mut u64,
    ) -> io::Result<Received> {
        loop {
            let total = match frame::front(&self.bytes[..self.filled], max, 0) {
                frame::Front::Whole(extent) => {
                    self.filled = 0;
                    let mut bytes = std::mem::take(&mut self.bytes);
                    bytes.truncate(extent.end);
                    bytes.drain(..HEADER_LEN);
                    return Ok(Received::Message(bytes));
                }
                frame::Front::TooLong => return Ok(Received::TooLong),
                frame::Front::Incomplete { total } => total.unwrap_or(HEADER_LEN),
            };
            self.bytes.resize(total, 0);
            *reads += 1;
            match socket.read(&mut self.bytes[self.filled..]) {
                Ok(0) => return Ok(Received::Closed),
                Ok(n) => self.filled += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Received::Pending),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket that gives one byte at a time, then blocks.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else {
                return Err(io::ErrorKind::WouldBlock.into());
            };
            buffer[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    #[test]
    fn a_message_is_taken_and_what_follows_left() {
        let mut socket = Drip(b"\x03\0\0\0abcFRAME");
        let mut inbox = Inbox::default();
        let received = inbox.receive(&mut socket, 10, &mut 0).expect("no error");
        assert_eq!(received, Received::Message(b"abc".to_vec()));
        assert_eq!(socket.0, b"FRAME");
    }

    #[test]
    fn a_message_waits_for_its_last_byte_and_stays_within_its_limit() {
        let mut inbox = Inbox::default();
        assert_eq!(inbox.receive(&mut Drip(b"\x03\0\0\0ab"), 10, &mut 0).ok(), Some(Received::Pending));
        let message = Received::Message(b"abc".to_vec());
        assert_eq!(inbox.receive(&mut Drip(b"c"), 10, &mut 0).ok(), Some(message));
        assert_eq!(inbox.receive(&mut Drip(b"\x0b\0\0\0"), 10, &mut 0).ok(), Some(Received::TooLong));
        assert_eq!(Inbox::default().receive(&mut io::empty(), 10, &mut 0).ok(), Some(Received::Closed));
    }

    #[test]
    fn an_unauthenticated_connection_costs_at_most_a_few_kib() {
        let accepted = size_of::<Connection>() + size_of::<HalfOpen>();
        assert!(accepted < 2048, "{accepted}");
        let message = HEADER_LEN + Responder::new(crate::peer::Role::Client).message_max();
        assert!(accepted + message < 3072, "{message}");
    }
}
