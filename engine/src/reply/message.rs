use bytes::Bytes;
use hypostyle_app_api::{ClientId, Digest, Number, PillarId, ReplicaId, View};
use hypostyle_crypto::merkle::{leaf, root_from_path};
use hypostyle_crypto::{Claim, Entry, Proof, Seal, Signed, Signer, TAG_LEN, Tag};
use hypostyle_pillars::message::Reader;

use super::INLINE_MAX;
use super::answer::{ERROR, RECORD_BYTES_MIN, RESULT};

/// A reply as a client receives it: one replica's answers and the seal that covers them.
#[derive(Clone, Debug)]
pub struct ReplyMessage {
    /// The replica that answers.
    pub signer: ReplicaId,
    /// The pillar it answers for.
    pub pillar: PillarId,
    /// That pillar's current view at the replica.
    pub view: View,
    /// Whom it answers.
    pub client: ClientId,
    /// The answers.
    pub records: Vec<Record>,
    /// What proves that the replica says so.
    pub proof: ReplyProof,
}

/// What stands under the answers.
#[derive(Clone, Debug)]
pub enum ReplyProof {
    /// The signature that covers them, through the Merkle path.
    Seal(Seal),
    /// A tag of this digest of theirs, under the key of the client's session.
    Tag(Digest, [u8; TAG_LEN]),
}

/// What a replica says one operation came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The client's number for the operation.
    pub number: Number,
    /// First half of the digest of the request that the operation came in.
    pub digest16: [u8; 16],
    /// Whether the result is the text code of a deterministic error ([`super::Failure`]).
    pub error: bool,
    /// Length of the result.
    pub len: u32,
    /// The result, or its digest.
    pub value: Value,
    /// A large result sent whole: `len` bytes that nobody has compared with the digest yet.
    pub whole: Option<Bytes>,
}

/// A result of at most [`INLINE_MAX`] bytes, or the SHA-256 of a longer one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// The result itself.
    Inline(Bytes),
    /// Its digest.
    Digest(Digest),
}

/// Why bytes are not a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed reply: {0}")]
pub struct Malformed(pub &'static str);

/// A path longer than this leads to no tree whose leaves fit 32 bits.
const PATH_MAX: u8 = 32;

impl ReplyMessage {
    /// Decodes a reply and checks all that needs no signature: every length, and that the group is a leaf of a tree
    /// whose root the seal covers.
    ///
    /// # Errors
    /// When the bytes are not exactly one such reply.
    #[allow(clippy::needless_pass_by_value)] // records are slices of these bytes
    pub fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(&bytes);
        let group = read_group(&mut reader, &bytes)?;
        let root = read_root(&mut reader, &group).ok_or(Malformed("the path leads nowhere"))?;
        let (seal, used) = Seal::decode(reader.rest()).ok_or(Malformed("no seal"))?;
        reader.take(used).ok_or(Malformed("no seal"))?;
        if !seal.contains(&Entry::Replies { root }) {
            return Err(Malformed("the seal covers another tree"));
        }
        let signer = seal.signer;
        let message = Self::read(&mut reader, &bytes, &group, ReplyProof::Seal(seal))?;
        if message.signer == signer { Ok(message) } else { Err(Malformed("sealed by another replica")) }
    }

    /// Decodes a tagged reply and checks all but the tag.
    ///
    /// # Errors
    /// When the bytes are not exactly one such reply.
    #[allow(clippy::needless_pass_by_value)] // records are slices of these bytes
    pub fn decode_tagged(bytes: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(&bytes);
        let group = read_group(&mut reader, &bytes)?;
        let tag = reader.array().ok_or(TRUNCATED)?;
        let proof = ReplyProof::Tag(leaf(&group), tag);
        Self::read(&mut reader, &bytes, &group, proof)
    }

    fn read(
        reader: &mut Reader<'_>,
        bytes: &Bytes,
        group: &Bytes,
        proof: ReplyProof,
    ) -> Result<Self, Malformed> {
        let mut message = read_records(group, proof)?;
        attach(reader, bytes, &mut message.records)?;
        if reader.is_empty() { Ok(message) } else { Err(Malformed("trailing bytes")) }
    }
}

impl Signed for ReplyMessage {
    fn claims(&self) -> usize {
        1
    }

    fn claim(&self, index: usize) -> Claim<'_> {
        match &self.proof {
            ReplyProof::Seal(seal) => seal.claim(index),
            ReplyProof::Tag(content, tag) => Claim {
                tag: Tag::Seal,
                signer: Signer::Replica(self.signer),
                content: *content,
                proof: Proof::Tags(tag),
                remember: false,
            },
        }
    }
}

const TRUNCATED: Malformed = Malformed("truncated");

/// The next `length` bytes as a slice that shares the message's memory.
fn share(reader: &mut Reader<'_>, bytes: &Bytes, length: usize) -> Option<Bytes> {
    let start = reader.position();
    reader.take(length)?;
    Some(bytes.slice(start..start + length))
}

fn read_group(reader: &mut Reader<'_>, bytes: &Bytes) -> Result<Bytes, Malformed> {
    let length = reader.u32().ok_or(TRUNCATED)? as usize;
    share(reader, bytes, length).ok_or(TRUNCATED)
}

/// Where the path leads from the group's leaf.
fn read_root(reader: &mut Reader<'_>, group: &[u8]) -> Option<Digest> {
    let (index, leaves) = (reader.u32()? as usize, reader.u32()? as usize);
    let length = reader.u8().filter(|length| *length <= PATH_MAX)?;
    let mut path = [Digest::ZERO; PATH_MAX as usize];
    let path = &mut path[..usize::from(length)];
    for digest in &mut *path {
        *digest = Digest(reader.array()?);
    }
    root_from_path(leaf(group), index, leaves, path)
}

fn read_records(group: &Bytes, proof: ReplyProof) -> Result<ReplyMessage, Malformed> {
    let mut reader = Reader::new(group);
    let (mut message, count) = read_header(&mut reader, proof).ok_or(TRUNCATED)?;
    if count > reader.remaining() / RECORD_BYTES_MIN {
        return Err(Malformed("more records than it can hold"));
    }
    message.records.reserve_exact(count);
    for _ in 0..count {
        message.records.push(read_record(&mut reader, group).ok_or(Malformed("no record"))?);
    }
    if reader.is_empty() { Ok(message) } else { Err(Malformed("trailing bytes in the group")) }
}

fn read_header(reader: &mut Reader<'_>, proof: ReplyProof) -> Option<(ReplyMessage, usize)> {
    let message = ReplyMessage {
        signer: ReplicaId(reader.u16()?),
        pillar: PillarId(reader.u16()?),
        view: View(reader.u64()?),
        client: ClientId(reader.u32()?),
        records: Vec::new(),
        proof,
    };
    Some((message, usize::from(reader.u16()?)))
}

fn read_record(reader: &mut Reader<'_>, group: &Bytes) -> Option<Record> {
    let number = Number(reader.u64()?);
    let digest16 = reader.array()?;
    let error = match reader.u8()? {
        RESULT => false,
        ERROR => true,
        _ => return None,
    };
    let len = reader.u32()?;
    let value = if len as usize <= INLINE_MAX {
        Value::Inline(share(reader, group, len as usize)?)
    } else {
        Value::Digest(Digest(reader.array()?))
    };
    Some(Record { number, digest16, error, len, value, whole: None })
}

/// Reads the attachments, in the order of their records and at most one each.
fn attach(reader: &mut Reader<'_>, bytes: &Bytes, records: &mut [Record]) -> Result<(), Malformed> {
    let count = reader.u16().ok_or(TRUNCATED)?;
    let mut next = 0;
    for _ in 0..count {
        let index = usize::from(reader.u16().ok_or(TRUNCATED)?);
        let length = reader.u32().ok_or(TRUNCATED)?;
        let whole = share(reader, bytes, length as usize).ok_or(TRUNCATED)?;
        let record = records.get_mut(index).filter(|_| index >= next);
        let record = record.ok_or(Malformed("an attachment out of order"))?;
        if length as usize <= INLINE_MAX || length != record.len {
            return Err(Malformed("an attachment of another length"));
        }
        record.whole = Some(whole);
        next = index + 1;
    }
    Ok(())
}
