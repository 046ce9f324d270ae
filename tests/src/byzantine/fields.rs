//! Where each field of each message lies in its bytes: what mutators change, one field at a time.

use std::ops::Range;

use hypostyle::reply::{CLIENT_FRAME, HINT_FRAME, TAGGED_FRAME};
use hypostyle::transfer::TransferMessage;
use hypostyle_pillars::message::PeerFrame;

use super::layout::Layout;

/// A field of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its bytes, little-endian where it is a number.
    pub at: Range<usize>,
}

/// A kind of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Type {
    /// A batch's content.
    Body,
    /// Statements and their seal.
    Bundle,
    /// Where a replica stands.
    Status,
    /// A request that is passed on.
    Request,
    /// A replica leaves a view.
    ViewChange,
    /// A primary begins a view.
    NewView,
    /// A replica wishes to recover.
    Recover,
    /// A snapshot is asked for.
    Ask,
    /// How far a donor has come.
    Standing,
    /// What a donor's snapshot is.
    Tell,
    /// Chunks are asked for.
    Fetch,
    /// A chunk.
    Chunk,
    /// There is no such snapshot.
    Gone,
    /// The snapshot is needed no more.
    Close,
    /// An answer to a client.
    Reply,
    /// An answer to a client under a tag.
    TaggedReply,
    /// What tells a client to sign.
    Hint,
}

/// Every field of every message: a mutator is one of these with one of [`super::mutate::Mutation::ALL`].
pub const FIELDS: &[(Type, &[&str])] = &[
    (
        Type::Body,
        &[
            "type",
            "timestamp",
            "count",
            "recovers",
            "length",
            "client",
            "first",
            "floor",
            "flags",
            "operations",
            "operation length",
            "operation",
            "authenticator",
            "signature length",
            "signature",
            "recover replica",
            "recover incarnation",
            "recover nonce",
            "recover signature length",
            "recover signature",
        ],
    ),
    (
        Type::Bundle,
        &[
            "type",
            "signer",
            "pillar",
            "count",
            "statement kind",
            "statement pillar",
            "statement view",
            "statement seq",
            "statement digest",
            "seal signer",
            "seal entries",
            "entry kind",
            "entry pillar",
            "entry digest",
            "signature length",
            "signature",
        ],
    ),
    (
        Type::Status,
        &[
            "type",
            "view",
            "active",
            "stable",
            "frontier",
            "accepted",
            "wanted",
            "wanted seq",
            "wanted digest",
            "wanted changes",
            "wanted change",
        ],
    ),
    (
        Type::Request,
        &[
            "type",
            "client",
            "first",
            "floor",
            "flags",
            "operations",
            "operation length",
            "operation",
            "authenticator",
            "signature length",
            "signature",
        ],
    ),
    (
        Type::ViewChange,
        &[
            "type",
            "signer",
            "pillar",
            "incarnation",
            "view",
            "blocked",
            "stable",
            "stable digest",
            "prepared",
            "prepared seq",
            "prepared view",
            "prepared digest",
            "bundles",
            "bundle length",
            "bundle",
            "seal signer",
            "seal entries",
            "entry kind",
            "entry pillar",
            "entry digest",
            "signature length",
            "signature",
        ],
    ),
    (
        Type::NewView,
        &[
            "type",
            "signer",
            "pillar",
            "view",
            "count",
            "replica",
            "digest",
            "seal signer",
            "seal entries",
            "entry kind",
            "entry pillar",
            "entry digest",
            "signature length",
            "signature",
        ],
    ),
    (
        Type::Recover,
        &[
            "type",
            "recover replica",
            "recover incarnation",
            "recover nonce",
            "recover signature length",
            "recover signature",
        ],
    ),
    (Type::Ask, &["type", "kind", "id", "round"]),
    (Type::Standing, &["type", "kind", "id", "position", "writing"]),
    (Type::Tell, &["type", "kind", "id", "position", "digest", "root", "length"]),
    (Type::Fetch, &["type", "kind", "root", "wanted", "wanted index", "wanted have"]),
    (Type::Chunk, &["type", "kind", "root", "index", "path length", "path", "data"]),
    (Type::Gone, &["type", "kind", "root"]),
    (Type::Close, &["type", "kind", "id"]),
    (
        Type::Reply,
        &[
            "type",
            "group length",
            "signer",
            "pillar",
            "view",
            "client",
            "count",
            "number",
            "request",
            "kind",
            "length",
            "value",
            "index",
            "leaves",
            "path length",
            "path",
            "seal signer",
            "seal entries",
            "entry kind",
            "entry pillar",
            "entry digest",
            "signature length",
            "signature",
            "attachments",
            "attachment index",
            "attachment length",
            "attachment",
        ],
    ),
    (
        Type::TaggedReply,
        &[
            "type",
            "group length",
            "signer",
            "pillar",
            "view",
            "client",
            "count",
            "number",
            "request",
            "kind",
            "length",
            "value",
            "tag",
            "attachments",
            "attachment index",
            "attachment length",
            "attachment",
        ],
    ),
    (Type::Hint, &["type", "first"]),
];

impl Type {
    /// What a payload between replicas is, by its first byte, and its second where it is about a transfer.
    #[must_use]
    pub fn between_replicas(payload: &[u8]) -> Option<Self> {
        Some(match *payload.first()? {
            PeerFrame::BODY => Self::Body,
            PeerFrame::BUNDLE => Self::Bundle,
            PeerFrame::STATUS => Self::Status,
            PeerFrame::REQUEST => Self::Request,
            PeerFrame::VIEW_CHANGE => Self::ViewChange,
            PeerFrame::NEW_VIEW => Self::NewView,
            PeerFrame::RECOVER => Self::Recover,
            PeerFrame::TRANSFER => match *payload.get(1)? {
                TransferMessage::ASK => Self::Ask,
                TransferMessage::STANDING => Self::Standing,
                TransferMessage::TELL => Self::Tell,
                TransferMessage::FETCH => Self::Fetch,
                TransferMessage::CHUNK => Self::Chunk,
                TransferMessage::GONE => Self::Gone,
                TransferMessage::CLOSE => Self::Close,
                _ => return None,
            },
            _ => return None,
        })
    }

    /// What a payload to a client is.
    #[must_use]
    pub fn to_client(payload: &[u8]) -> Option<Self> {
        match *payload.first()? {
            CLIENT_FRAME => Some(Self::Reply),
            TAGGED_FRAME => Some(Self::TaggedReply),
            HINT_FRAME => Some(Self::Hint),
            _ => None,
        }
    }

    /// Whether it is about a state transfer.
    #[must_use]
    pub fn is_about_transfer(self) -> bool {
        use Type::{Ask, Chunk, Close, Fetch, Gone, Standing, Tell};
        matches!(self, Ask | Standing | Tell | Fetch | Chunk | Gone | Close)
    }

    /// The fields of a well-formed message, in order, without a gap.
    #[must_use]
    pub fn fields(self, payload: &[u8]) -> Option<Vec<Field>> {
        let mut layout = Layout::new(payload);
        layout.take("type", 1)?;
        match self {
            Self::Body => layout.body(),
            Self::Bundle => layout.bundle(),
            Self::Status => layout.status(),
            Self::Request => layout.request(),
            Self::ViewChange => layout.view_change(),
            Self::NewView => layout.new_view(),
            Self::Recover => layout.recover(),
            Self::Ask => layout.transfer(&[("id", 8), ("round", 8)]),
            Self::Standing => layout.transfer(&[("id", 8), ("position", 8), ("writing", 1)]),
            Self::Tell => {
                layout.transfer(&[("id", 8), ("position", 8), ("digest", 32), ("root", 32), ("length", 8)])
            }
            Self::Fetch => layout.fetch(),
            Self::Chunk => layout.chunk(),
            Self::Gone => layout.transfer(&[("root", 32)]),
            Self::Close => layout.transfer(&[("id", 8)]),
            Self::Reply => layout.reply(),
            Self::TaggedReply => layout.tagged_reply(),
            Self::Hint => layout.take("first", 8).map(|_| ()),
        }?;
        layout.whole()
    }
}
