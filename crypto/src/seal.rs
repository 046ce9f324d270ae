use bytes::Bytes;
use hypostyle_app_api::{Digest, PillarId, ReplicaId};

use crate::digest::Hasher;
use crate::domain::{Signer, Tag};
use crate::suite::SIGNATURE_LEN_MAX;
use crate::verified::{Claim, Proof, Signed};

/// The most entries one signature covers.
pub const SEAL_ENTRIES_MAX: usize = 64;

const BUNDLE: u8 = 0;
const REPLIES: u8 = 1;
const VIEW_CHANGE: u8 = 2;
const NEW_VIEW: u8 = 3;
const ENTRY_LEN_MAX: usize = 1 + 2 + 32;

/// What a seal covers: a digest serves only under its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A bundle of statements of one pillar.
    Bundle {
        /// The pillar.
        pillar: PillarId,
        /// The bundle's digest.
        digest: Digest,
    },
    /// A Merkle tree of reply groups.
    Replies {
        /// Its root.
        root: Digest,
    },
    /// A VIEW-CHANGE.
    ViewChange {
        /// Of which pillar.
        pillar: PillarId,
        /// Its digest.
        digest: Digest,
    },
    /// A NEW-VIEW.
    NewView {
        /// Of which pillar.
        pillar: PillarId,
        /// Its digest.
        digest: Digest,
    },
}

/// One signature of one replica over 1 to 64 entries, so that one RSA operation serves several pillars and the replies.
///
/// On the wire: signer u16 ‖ entries u8 ‖ entries ‖ signature's length u16 ‖ signature, little endian; an entry is
/// 0 ‖ pillar u16 ‖ digest for a bundle (2 for a VIEW-CHANGE, 3 for a NEW-VIEW), or 1 ‖ root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// Whose it is.
    pub signer: ReplicaId,
    /// What it covers.
    pub entries: Vec<Entry>,
    /// The signature over [`Seal::content`] under [`Tag::Seal`].
    pub signature: Bytes,
}

impl Seal {
    /// The digest to sign.
    #[must_use]
    pub fn content(signer: ReplicaId, entries: &[Entry]) -> Digest {
        let mut hasher = Hasher::new();
        hasher.update(&signer.0.to_le_bytes()).update(&(entries.len() as u64).to_le_bytes());
        for entry in entries {
            hasher.update(entry.encoded().as_slice());
        }
        hasher.finish()
    }

    /// Whether `entry` is covered.
    #[must_use]
    pub fn contains(&self, entry: &Entry) -> bool {
        self.entries.contains(entry)
    }

    /// Appends the wire form.
    ///
    /// # Panics
    /// When there are no entries or more than [`SEAL_ENTRIES_MAX`], or the signature is no suite's: not a seal.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let count = self.entries.len();
        assert!((1..=SEAL_ENTRIES_MAX).contains(&count), "a seal of {count} entries");
        assert!(self.signature.len() <= SIGNATURE_LEN_MAX, "a signature of {} bytes", self.signature.len());
        out.extend_from_slice(&self.signer.0.to_le_bytes());
        out.push(u8::try_from(count).expect("at most 64"));
        for entry in &self.entries {
            out.extend_from_slice(entry.encoded().as_slice());
        }
        out.extend_from_slice(&u16::try_from(self.signature.len()).expect("at most 512").to_le_bytes());
        out.extend_from_slice(&self.signature);
    }

    /// Reads a seal from the front of `bytes`; also returns how many bytes it took. `None` when there is none.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut reader = Reader(bytes);
        let signer = ReplicaId(reader.u16()?);
        let count = usize::from(reader.u8()?);
        if !(1..=SEAL_ENTRIES_MAX).contains(&count) {
            return None;
        }
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            entries.push(reader.entry()?);
        }
        let length = usize::from(reader.u16()?);
        if length > SIGNATURE_LEN_MAX {
            return None;
        }
        let signature = Bytes::copy_from_slice(reader.take(length)?);
        Some((Self { signer, entries, signature }, bytes.len() - reader.0.len()))
    }

    /// The length of the wire form.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let entries: usize = self.entries.iter().map(|entry| entry.encoded().length).sum();
        2 + 1 + entries + 2 + self.signature.len()
    }
}

impl Signed for Seal {
    fn claims(&self) -> usize {
        1
    }

    fn claim(&self, _index: usize) -> Claim<'_> {
        Claim {
            tag: Tag::Seal,
            signer: Signer::Replica(self.signer),
            content: Self::content(self.signer, &self.entries),
            proof: Proof::Signature(&self.signature),
            remember: true,
        }
    }
}

impl Entry {
    fn encoded(&self) -> EncodedEntry {
        let mut bytes = [0; ENTRY_LEN_MAX];
        let mut of_pillar = |kind: u8, pillar: &PillarId, digest: &Digest| {
            bytes[0] = kind;
            bytes[1..3].copy_from_slice(&pillar.0.to_le_bytes());
            bytes[3..].copy_from_slice(&digest.0);
            EncodedEntry { bytes, length: ENTRY_LEN_MAX }
        };
        match self {
            Self::Bundle { pillar, digest } => of_pillar(BUNDLE, pillar, digest),
            Self::ViewChange { pillar, digest } => of_pillar(VIEW_CHANGE, pillar, digest),
            Self::NewView { pillar, digest } => of_pillar(NEW_VIEW, pillar, digest),
            Self::Replies { root } => {
                bytes[0] = REPLIES;
                bytes[1..33].copy_from_slice(&root.0);
                EncodedEntry { bytes, length: 33 }
            }
        }
    }
}

struct EncodedEntry {
    bytes: [u8; ENTRY_LEN_MAX],
    length: usize,
}

impl EncodedEntry {
    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn entry(&mut self) -> Option<Entry> {
        let kind = self.u8()?;
        if kind == REPLIES {
            return Some(Entry::Replies { root: Digest(self.array()?) });
        }
        let (pillar, digest) = (PillarId(self.u16()?), Digest(self.array()?));
        match kind {
            BUNDLE => Some(Entry::Bundle { pillar, digest }),
            VIEW_CHANGE => Some(Entry::ViewChange { pillar, digest }),
            NEW_VIEW => Some(Entry::NewView { pillar, digest }),
            _ => None,
        }
    }
}
