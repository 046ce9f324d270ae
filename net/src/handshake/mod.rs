//! The handshake as pure steps: messages in, messages out. Nobody here reads a socket or a clock.
//!
//! ```text
//! initiator                                              responder
//!   Hello(who, pillar, nonce, share, configuration) ──>
//!                                                    <── Answer(who, nonce, share, configuration)
//!   Proof(signature over both)                      ──>  verifies before it signs
//!                                                    <── Welcome(signature over both and the ticket, ticket)
//! with a ticket:
//!   Hello(…, ticket)                                ──>
//!                                                    <── Answer(…, key confirmation)   or, ticket unknown, as above
//!   Proof(key confirmation)                         ──>
//! ```

mod allowance;
mod initiator;
mod keys;
mod messages;
mod responder;
mod summary;
mod ticket;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hypostyle_app_api::{Digest, PillarId};
use hypostyle_crypto::{Claim, Keyring, Proof, Session, Tag};

pub(crate) use allowance::Allowance;
pub(crate) use initiator::{Initiator, Resumption};
pub(crate) use messages::{REFUSAL_MAX, SUMMARY_MAX};
pub(crate) use responder::{Gate, Responder};
pub use ticket::TicketKey;

use crate::counters::Refusal;
use crate::frame;
use crate::handshake::keys::{Direction, Keys};
use crate::link_mac::LinkMac;
use crate::peer::{Peer, Role};
use crate::write_buffer::WriteBuffer;

/// How long a ticket serves.
pub(crate) const TICKET_LIFETIME: Duration = Duration::from_secs(3600);

/// What all handshakes of a process have in common.
pub(crate) struct Local {
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) pillars: u16,
    pub(crate) summary: Bytes,
    pub(crate) tickets: Arc<TicketKey>,
}

impl Local {
    fn configuration(&self) -> Digest {
        self.keyring.domain().configuration
    }

    fn holds(&self, peer: Peer, content: Digest, signature: &[u8]) -> bool {
        peer.signer().is_some_and(|signer| {
            let claim = Claim {
                tag: Tag::Handshake,
                signer,
                content,
                proof: Proof::Signature(signature),
                remember: false,
            };
            self.keyring.holds(&claim)
        })
    }
}

/// What came of a message.
pub(crate) enum Step {
    /// The other side speaks next.
    Continue,
    /// A valid Hello for a pillar that another worker serves.
    Elsewhere { peer: Peer, pillar: PillarId },
    /// Both sides are who they say they are.
    Agreed(Box<Agreed>),
}

/// A completed handshake.
pub(crate) struct Agreed {
    pub(crate) me: Peer,
    pub(crate) peer: Peer,
    pub(crate) pillar: PillarId,
    /// Whether a ticket was used in place of signatures.
    pub(crate) resumed: bool,
    /// For the initiator's next connections.
    pub(crate) resumption: Option<Resumption>,
    /// Between replicas.
    pub(crate) macs: Option<Macs>,
    /// Between a client and a replica.
    pub(crate) session: Option<Session>,
}

/// The MACs of a link, one a direction.
pub(crate) struct Macs {
    pub(crate) send: LinkMac,
    pub(crate) receive: LinkMac,
}

impl Macs {
    /// Those of the side that speaks in direction `sending`; clients' links have none.
    fn derive(keys: &Keys, me: Peer, peer: Peer, sending: Direction) -> Option<Self> {
        if me.role != Role::Replica || peer.role != Role::Replica {
            return None;
        }
        let receiving = match sending {
            Direction::FromInitiator => Direction::FromResponder,
            Direction::FromResponder => Direction::FromInitiator,
        };
        let mac = |direction| LinkMac::new(&keys.link(direction));
        Some(Self { send: mac(sending), receive: mac(receiving) })
    }
}

/// The keys that a client's requests and the replies to it may be authenticated with.
fn session(keys: &Keys, me: Peer, peer: Peer) -> Option<Session> {
    (me.role != peer.role).then(|| keys.session())
}

/// A handshake that came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) refusal: Refusal,
    pub(crate) detail: Option<String>,
}

impl Failure {
    /// The other side closed the connection without a word.
    pub(crate) fn closed() -> Self {
        Self::with(Refusal::ByPeer, "connection closed during the handshake")
    }

    fn with(refusal: Refusal, detail: impl fmt::Display) -> Self {
        Self { refusal, detail: Some(detail.to_string()) }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, detail: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.detail {
            Some(detail) => write!(f, "{}: {detail}", self.refusal),
            None => self.refusal.fmt(f),
        }
    }
}

/// Appends one handshake message as a frame.
fn post(out: &mut WriteBuffer, message: &[u8]) {
    out.push(&frame::header(message.len()).expect("handshake messages are short"));
    out.push(message);
}

#[cfg(test)]
mod tests;
