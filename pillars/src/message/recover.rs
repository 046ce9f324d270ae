use std::time::Duration;

use bytes::Bytes;
use hypostyle_app_api::{Digest, ReplicaId};
use hypostyle_crypto::{Claim, Proof, SIGNATURE_LEN_MAX, Signed, Signer, Tag, sha256};

use super::{Malformed, Reader};

/// A replica that has lost its log asks to be counted from a later round on: it has forgotten what it said.
///
/// It is ordered like a request. Bytes: replica u16 ‖ incarnation u64 ‖ nonce 16 ‖ signature's length u16 ‖ signature,
/// which is the replica's own, under a tag of its own, over the digest of the fields before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recover {
    bytes: Bytes,
    replica: ReplicaId,
    incarnation: u64,
    nonce: Nonce,
}

/// Tells one start of a replica from all others: random, and fresh at each start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nonce(pub [u8; 16]);

/// Agreed time that lies between two recoveries of a replica: each makes all pillars work for a window.
pub const RECOVER_SPACING: Duration = Duration::from_secs(1);

const SIGNED_BYTES: usize = 2 + 8 + 16;
const HEADER_BYTES: usize = SIGNED_BYTES + 2;
/// The longest encoding.
pub const RECOVER_BYTES_MAX: usize = HEADER_BYTES + SIGNATURE_LEN_MAX;

impl Recover {
    /// What `replica` signs under [`Tag::Recover`].
    #[must_use]
    pub fn content(replica: ReplicaId, incarnation: u64, nonce: Nonce) -> Digest {
        sha256(&[&fields(replica, incarnation, nonce)])
    }

    /// The message with its signature over [`Recover::content`].
    ///
    /// # Panics
    /// When the signature is no suite's.
    #[must_use]
    pub fn new(replica: ReplicaId, incarnation: u64, nonce: Nonce, signature: &[u8]) -> Self {
        assert!(signature.len() <= SIGNATURE_LEN_MAX, "a signature of {} bytes", signature.len());
        let length = u16::try_from(signature.len()).expect("at most 512");
        let fields = fields(replica, incarnation, nonce);
        let bytes = Bytes::from([&fields[..], &length.to_le_bytes(), signature].concat());
        Self { bytes, replica, incarnation, nonce }
    }

    /// Decodes a message of one of `replicas`.
    ///
    /// # Errors
    /// When the bytes are not exactly one.
    pub fn decode(bytes: Bytes, replicas: u16) -> Result<Self, Malformed> {
        let mut reader = Reader::new(&bytes);
        let recover = read(&mut reader, &bytes, replicas)?;
        match reader.is_empty() {
            true => Ok(recover),
            false => Err(malformed("trailing bytes")),
        }
    }

    /// Who asks.
    #[must_use]
    pub fn replica(&self) -> ReplicaId {
        self.replica
    }

    /// How many times it has recovered, this one included.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Of the start that asks.
    #[must_use]
    pub fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// As it goes over the wire.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The same message in memory of its own, to be kept.
    #[must_use]
    pub fn compact(self) -> Self {
        Self { bytes: Bytes::copy_from_slice(&self.bytes), ..self }
    }
}

impl Signed for Recover {
    fn claims(&self) -> usize {
        1
    }

    fn claim(&self, _index: usize) -> Claim<'_> {
        Claim {
            tag: Tag::Recover,
            signer: Signer::Replica(self.replica),
            content: Self::content(self.replica, self.incarnation, self.nonce),
            proof: Proof::Signature(&self.bytes[HEADER_BYTES..]),
            // Once by itself, once inside a body.
            remember: true,
        }
    }
}

/// Reads the message that `reader` of `whole` stands before.
pub(super) fn read(reader: &mut Reader<'_>, whole: &Bytes, replicas: u16) -> Result<Recover, Malformed> {
    let start = reader.position();
    let (replica, incarnation, nonce) = read_fields(reader).ok_or(malformed("truncated"))?;
    if replica.0 >= replicas {
        return Err(malformed("unknown replica"));
    }
    if incarnation == 0 {
        return Err(malformed("incarnation 0 is the first, which nobody asks for"));
    }
    Ok(Recover { bytes: whole.slice(start..reader.position()), replica, incarnation, nonce })
}

fn read_fields(reader: &mut Reader<'_>) -> Option<(ReplicaId, u64, Nonce)> {
    let (replica, incarnation) = (ReplicaId(reader.u16()?), reader.u64()?);
    let nonce = Nonce(reader.array()?);
    let length = usize::from(reader.u16()?);
    reader.take(length).filter(|signature| signature.len() <= SIGNATURE_LEN_MAX)?;
    Some((replica, incarnation, nonce))
}

fn fields(replica: ReplicaId, incarnation: u64, nonce: Nonce) -> [u8; SIGNED_BYTES] {
    let mut bytes = [0; SIGNED_BYTES];
    bytes[..2].copy_from_slice(&replica.0.to_le_bytes());
    bytes[2..10].copy_from_slice(&incarnation.to_le_bytes());
    bytes[10..].copy_from_slice(&nonce.0);
    bytes
}

fn malformed(what: &'static str) -> Malformed {
    Malformed { message: "recover", what }
}
