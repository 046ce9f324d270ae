use std::net::SocketAddr;

use bytes::Bytes;
use hypostyle_app_api::{Instant, PillarId};
use hypostyle_crypto::Session;
use mio::net::TcpStream;

use crate::peer::{Peer, Role};

/// A connection of one [`Transport`](crate::Transport): never used again for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    /// Counts the connections of a transport.
    pub(crate) serial: u64,
    /// Its place in the table.
    pub(crate) index: usize,
}

/// What happened, in order. Each `Up` is followed by exactly one `Down` of the same connection, later.
#[derive(Debug)]
pub enum Event {
    /// The handshake is complete: both sides are who they say they are.
    Up {
        /// The connection.
        id: ConnectionId,
        /// Who is at the other end.
        peer: Peer,
        /// The pillar that the connection is for.
        pillar: PillarId,
        /// Whether we dialled.
        initiated: bool,
        /// Between a client and a replica: keys that both sides have derived for this connection.
        session: Option<Session>,
    },
    /// There may be frames to [`read`](crate::Transport::read). Comes once; after a `read` that left some, again.
    Readable(ConnectionId),
    /// The connection is gone. A dialled one is dialled again.
    Down {
        /// The connection.
        id: ConnectionId,
        /// Who was at the other end.
        peer: Peer,
        /// The pillar that the connection was for.
        pillar: PillarId,
        /// Why, for the log.
        reason: String,
    },
    /// A connection was accepted here but names a pillar of another worker, who should
    /// [`adopt`](crate::Transport::adopt) it.
    Arrived(Box<Arrival>),
    /// A connection failed before it was up. For the log; whoever logs limits the rate.
    Refused {
        /// Who was dialled, or who the other side says it is.
        peer: Option<Peer>,
        /// The other side's address.
        address: SocketAddr,
        /// Why.
        reason: String,
    },
}

/// A connection on its way to the worker whose pillar it names.
#[derive(Debug)]
pub struct Arrival {
    pub(crate) stream: TcpStream,
    pub(crate) address: SocketAddr,
    pub(crate) admits: Role,
    pub(crate) hello: Vec<u8>,
    pub(crate) since: Instant,
    pub(crate) peer: Peer,
    pub(crate) pillar: PillarId,
}

impl Arrival {
    /// The pillar it names.
    #[must_use]
    pub fn pillar(&self) -> PillarId {
        self.pillar
    }

    /// Who the other side says it is: not yet proved.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }
}

/// The payload of a frame.
#[derive(Debug)]
pub enum Payload<'a> {
    /// Between replicas: a slice of the connection's read buffer, not a copy. It pins up to 64 KiB, or the whole of
    /// a larger frame, for as long as it lives.
    Peer(Bytes),
    /// Between replica and client: lies in a buffer that is used again.
    Client(&'a [u8]),
}

impl Payload<'_> {
    /// The bytes, for as long as the frame is being handled.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Peer(bytes) => bytes,
            Self::Client(bytes) => bytes,
        }
    }

    /// The bytes to keep: copied when they are borrowed.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Peer(bytes) => bytes,
            Self::Client(bytes) => Bytes::copy_from_slice(bytes),
        }
    }
}

/// The caller's refusal of a frame: the connection is closed for this reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject(pub &'static str);

/// What a [`read`](crate::Transport::read) left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// Nothing.
    Drained,
    /// More, perhaps: the transport has it on its ready list and says [`Event::Readable`] again.
    More,
    /// The connection is gone; its `Down` is among the events.
    Closed,
}
