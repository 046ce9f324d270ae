//! What replicas and clients say: byte formats, and the structural checks a decoder makes.
//!
//! All integers are little-endian. A decoder checks every length and refuses trailing bytes, so that
//! `encode(decode(b)) == b` for every `b` it accepts.

mod body;
mod bundle;
mod new_view;
mod reader;
mod recover;
mod request;
mod sealed;
mod statement;
mod status;
mod view_change;

use std::sync::Arc;

use bytes::Bytes;
use hypostyle_crypto::{Claim, Signed};

pub use body::{Body, BodyBuilder, RequestRef};
pub use bundle::{Bundle, SealedBundle};
pub use new_view::{NewView, NewViewContent};
pub use reader::Reader;
pub use recover::{Nonce, RECOVER_BYTES_MAX, RECOVER_SPACING, Recover};
pub use request::{Request, RequestLimits, Wish, encode_request};
pub use statement::{BUNDLE_MAX, Kind, STATEMENT_BYTES, Statement};
pub use status::{STATUS_WANTED_MAX, Status, WantedBody};
pub use view_change::{Leave, Prepared, ViewChange, ViewChangeContent};

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {message}: {what}")]
pub struct Malformed {
    /// Which message it claimed to be.
    pub message: &'static str,
    /// What is wrong with it.
    pub what: &'static str,
}

/// A decoded message whose signatures nobody has checked yet. After [`hypostyle_crypto::Keyring::verify`] it is what
/// [`crate::Pillar::step`] accepts.
#[derive(Clone, Debug)]
pub enum Message {
    /// A client's request, from itself or passed on by a backup.
    Request(Request),
    /// A batch's content.
    Body(Body),
    /// Statements of one replica with their seal.
    Bundle(SealedBundle),
    /// A replica leaves for a view.
    ViewChange(Arc<ViewChange>),
    /// A primary begins a view.
    NewView(Arc<NewView>),
    /// A replica's wish to recover, from itself or passed on by a backup.
    Recover(Recover),
}

impl Signed for Message {
    fn claims(&self) -> usize {
        match self {
            Self::Request(_) | Self::Bundle(_) | Self::NewView(_) | Self::Recover(_) => 1,
            Self::Body(body) => body.claims(),
            Self::ViewChange(change) => change.claims(),
        }
    }

    fn claim(&self, index: usize) -> Claim<'_> {
        match self {
            Self::Request(request) => request.claim(index),
            Self::Body(body) => body.claim(index),
            Self::Bundle(bundle) => bundle.claim(index),
            Self::ViewChange(change) => change.claim(index),
            Self::NewView(new_view) => new_view.claim(index),
            Self::Recover(recover) => recover.claim(index),
        }
    }
}

/// A payload of a link between replicas: one type byte, then the message.
#[derive(Clone, Debug)]
pub enum PeerFrame {
    /// Something signed.
    Message(Message),
    /// Where a replica stands: a hint, changes no vote.
    Status(Status),
    /// About a state transfer: no concern of a pillar, its links carry it.
    Transfer(Bytes),
}

impl PeerFrame {
    /// Type byte of a [`Body`].
    pub const BODY: u8 = 1;
    /// Type byte of a [`SealedBundle`].
    pub const BUNDLE: u8 = 2;
    /// Type byte of a [`Status`].
    pub const STATUS: u8 = 3;
    /// Type byte of a [`Request`] passed on by a backup.
    pub const REQUEST: u8 = 4;
    /// Type byte of a [`ViewChange`].
    pub const VIEW_CHANGE: u8 = 5;
    /// Type byte of a [`NewView`].
    pub const NEW_VIEW: u8 = 6;
    /// Type byte of what concerns a state transfer.
    pub const TRANSFER: u8 = 8;
    /// Type byte of a [`Recover`].
    pub const RECOVER: u8 = 7;

    /// Decodes the payload of a frame.
    ///
    /// # Errors
    /// When it is not exactly one well-formed message within `limits`.
    pub fn decode(payload: &Bytes, limits: &FrameLimits) -> Result<Self, Malformed> {
        let Some(&kind) = payload.first() else {
            return Err(Malformed { message: "frame", what: "empty" });
        };
        let rest = payload.slice(1..);
        Ok(match kind {
            Self::BODY => Self::Message(Message::Body(Body::decode(rest, limits)?)),
            Self::BUNDLE => Self::Message(Message::Bundle(SealedBundle::decode(rest, limits)?)),
            Self::STATUS => Self::Status(Status::decode(&rest)?),
            Self::REQUEST => Self::Message(Message::Request(Request::decode(rest, &limits.request)?)),
            Self::VIEW_CHANGE => {
                Self::Message(Message::ViewChange(Arc::new(ViewChange::decode(rest, limits)?)))
            }
            Self::NEW_VIEW => Self::Message(Message::NewView(Arc::new(NewView::decode(rest, limits)?))),
            Self::TRANSFER => Self::Transfer(rest),
            Self::RECOVER => Self::Message(Message::Recover(Recover::decode(rest, limits.replicas)?)),
            _ => return Err(Malformed { message: "frame", what: "unknown type byte" }),
        })
    }
}

/// What the configuration allows a frame to hold: with the bytes, all that validity depends on.
#[derive(Clone, Debug)]
pub struct FrameLimits {
    /// For each request, inside a body too.
    pub request: RequestLimits,
    /// Most operations in a body.
    pub batch_max: u32,
    /// Most bytes of requests in a body.
    pub batch_bytes: usize,
    /// Number of replicas.
    pub replicas: u16,
    /// Who leads which view of which pillar.
    pub leaders: crate::Leaders,
    /// K: rounds between checkpoints.
    pub checkpoint_interval: u64,
    /// L: slots above the stable round.
    pub window: u64,
}

impl FrameLimits {
    /// 2f+1.
    #[must_use]
    pub fn quorum(&self) -> usize {
        2 * ((usize::from(self.replicas) - 1) / 3) + 1
    }

    /// The bundles of a VIEW-CHANGE that shares none between its certificates.
    fn view_change_bundles_max(&self) -> usize {
        self.quorum().saturating_mul(usize::try_from(self.window).unwrap_or(usize::MAX).saturating_add(1))
    }
}
