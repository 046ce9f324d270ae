//! Where each field of each message lies in its bytes: what mutators change, one field at a time.

use std::ops::Range;

use hypostyle::transfer::TransferMessage;
use hypostyle_pillars::message::{PeerFrame, STATEMENT_BYTES};

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

    /// Whether it is about a state transfer.
    #[must_use]
    pub fn is_about_transfer(self) -> bool {
        use Type::{Ask, Chunk, Close, Fetch, Gone, Standing, Tell};
        matches!(self, Ask | Standing | Tell | Fetch | Chunk | Gone | Close)
    }

    /// The fields of a well-formed message, in order, without a gap.
    #[must_use]
    pub fn fields(self, payload: &[u8]) -> Option<Vec<Field>> {
        let mut layout = Layout { bytes: payload, at: 0, fields: Vec::new() };
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
        }?;
        (layout.at == payload.len()).then_some(layout.fields)
    }
}

struct Layout<'a> {
    bytes: &'a [u8],
    at: usize,
    fields: Vec<Field>,
}

impl Layout<'_> {
    /// A field of so many bytes; returns its value as far as 64 bits hold it.
    fn take(&mut self, name: &'static str, length: usize) -> Option<usize> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len())?;
        let bytes = &self.bytes[self.at..end];
        if length > 0 {
            self.fields.push(Field { name, at: self.at..end });
        }
        self.at = end;
        let value = bytes.iter().take(8).rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
        usize::try_from(value).ok()
    }

    fn body(&mut self) -> Option<()> {
        self.take("timestamp", 8)?;
        let requests = self.take("count", 4)?;
        let recovers = self.take("recovers", 2)?;
        for _ in 0..requests {
            self.take("length", 4)?;
            self.request()?;
        }
        for _ in 0..recovers {
            self.recover()?;
        }
        Some(())
    }

    fn request(&mut self) -> Option<()> {
        self.take("client", 4)?;
        self.take("first", 8)?;
        self.take("floor", 8)?;
        self.take("flags", 1)?;
        for _ in 0..self.take("operations", 2)? {
            let length = self.take("operation length", 4)?;
            self.take("operation", length)?;
        }
        self.take("authenticator", 1)?;
        let length = self.take("signature length", 2)?;
        self.take("signature", length)?;
        Some(())
    }

    fn bundle(&mut self) -> Option<()> {
        self.take("signer", 2)?;
        self.take("pillar", 2)?;
        for _ in 0..self.take("count", 1)? {
            let end = self.at + STATEMENT_BYTES;
            self.take("statement kind", 1)?;
            self.take("statement pillar", 2)?;
            self.take("statement view", 8)?;
            self.take("statement seq", 8)?;
            self.take("statement digest", end.checked_sub(self.at)?)?;
        }
        self.seal()
    }

    fn seal(&mut self) -> Option<()> {
        self.take("seal signer", 2)?;
        for _ in 0..self.take("seal entries", 1)? {
            let kind = self.take("entry kind", 1)?;
            if kind != 1 {
                self.take("entry pillar", 2)?;
            }
            self.take("entry digest", 32)?;
        }
        let length = self.take("signature length", 2)?;
        self.take("signature", length)?;
        Some(())
    }

    fn status(&mut self) -> Option<()> {
        self.take("view", 8)?;
        self.take("active", 1)?;
        self.take("stable", 8)?;
        self.take("frontier", 8)?;
        self.take("accepted", 8)?;
        for _ in 0..self.take("wanted", 1)? {
            self.take("wanted seq", 8)?;
            self.take("wanted digest", 32)?;
        }
        for _ in 0..self.take("wanted changes", 1)? {
            self.take("wanted change", 32)?;
        }
        Some(())
    }

    fn view_change(&mut self) -> Option<()> {
        self.take("signer", 2)?;
        self.take("pillar", 2)?;
        for name in ["incarnation", "view", "stable"] {
            self.take(name, 8)?;
        }
        self.take("stable digest", 32)?;
        for _ in 0..self.take("prepared", 2)? {
            self.take("prepared seq", 8)?;
            self.take("prepared view", 8)?;
            self.take("prepared digest", 32)?;
        }
        for _ in 0..self.take("bundles", 4)? {
            let length = self.take("bundle length", 4)?;
            self.take("bundle", length)?;
        }
        self.seal()
    }

    fn new_view(&mut self) -> Option<()> {
        self.take("signer", 2)?;
        self.take("pillar", 2)?;
        self.take("view", 8)?;
        for _ in 0..self.take("count", 2)? {
            self.take("replica", 2)?;
            self.take("digest", 32)?;
        }
        self.seal()
    }

    fn recover(&mut self) -> Option<()> {
        self.take("recover replica", 2)?;
        self.take("recover incarnation", 8)?;
        self.take("recover nonce", 16)?;
        let length = self.take("recover signature length", 2)?;
        self.take("recover signature", length)?;
        Some(())
    }

    /// What concerns a transfer and has fields of fixed lengths.
    fn transfer(&mut self, fields: &[(&'static str, usize)]) -> Option<()> {
        self.take("kind", 1)?;
        fields.iter().try_for_each(|(name, length)| self.take(name, *length).map(|_| ()))
    }

    fn fetch(&mut self) -> Option<()> {
        self.transfer(&[("root", 32)])?;
        for _ in 0..self.take("wanted", 1)? {
            self.take("wanted index", 4)?;
            self.take("wanted have", 32)?;
        }
        Some(())
    }

    fn chunk(&mut self) -> Option<()> {
        self.transfer(&[("root", 32), ("index", 4)])?;
        let steps = self.take("path length", 1)?;
        self.take("path", steps.checked_mul(32)?)?;
        self.take("data", self.bytes.len() - self.at)?;
        Some(())
    }

    fn reply(&mut self) -> Option<()> {
        self.take("group length", 4)?;
        self.take("signer", 2)?;
        self.take("pillar", 2)?;
        self.take("view", 8)?;
        self.take("client", 4)?;
        for _ in 0..self.take("count", 2)? {
            self.take("number", 8)?;
            self.take("request", 16)?;
            self.take("kind", 1)?;
            let length = self.take("length", 4)?;
            self.take("value", length.min(hypostyle::reply::INLINE_MAX))?;
        }
        self.take("index", 4)?;
        self.take("leaves", 4)?;
        let steps = self.take("path length", 1)?;
        self.take("path", steps.checked_mul(32)?)?;
        self.seal()?;
        for _ in 0..self.take("attachments", 2)? {
            self.take("attachment index", 2)?;
            let length = self.take("attachment length", 4)?;
            self.take("attachment", length)?;
        }
        Some(())
    }
}
