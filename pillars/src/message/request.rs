use std::fmt;

use bytes::Bytes;
use hypostyle_app_api::{ClientId, Digest, Number};
use hypostyle_crypto::{Claim, Identity, Proof, Session, Signed, Signer, TAG_LEN, Tag, sha256};

use super::{Malformed, Reader, RequestRef};
use crate::placement::crosses_run;

/// One or more operations of one client under one signature, or under a MAC tag for each replica.
///
/// Bytes: client u32 ‖ first number u64 ‖ acknowledged floor u64 ‖ flags u8 (0) ‖ count u16 ‖ count × (length u32 ‖
/// operation) ‖ authenticator: kind u8 (0 = signature, 1 = tags) ‖ length u16 ‖ signature or n × 16 bytes. The digest
/// covers all before the authenticator, so that a request keeps its identity whatever authenticates it.
#[derive(Clone)]
pub struct Request {
    bytes: Bytes,
    header: Header,
}

/// What of a request depends on the configuration.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// Registered clients: ids are below it.
    pub clients: u32,
    /// Most operations in a request.
    pub request_operations: u16,
    /// Most bytes of a request, authenticator included.
    pub request_max: usize,
    /// With `client_auth = "mac"`, n: requests may have tags in place of a signature, one for each replica.
    pub tags: Option<u16>,
}

/// The fixed part, and where the variable parts lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) client: ClientId,
    pub(super) first: Number,
    pub(super) floor: Number,
    pub(super) count: u16,
    pub(super) digest: Digest,
    /// Where the operations end and the authenticator begins.
    pub(super) signed: usize,
    /// Whether that is a signature.
    pub(super) is_signed: bool,
}

/// Bytes before the operations.
pub(super) const HEADER_BYTES: usize = 4 + 8 + 8 + 1 + 2;
/// Bytes of the authenticator before the signature.
pub(super) const AUTHENTICATOR_BYTES: usize = 1 + 2;
const SIGNATURE: u8 = 0;
const TAGS: u8 = 1;

impl Request {
    /// Decodes a request and computes its digest.
    ///
    /// # Errors
    /// When the bytes are not exactly one request, or break a limit.
    pub fn decode(bytes: Bytes, limits: &RequestLimits) -> Result<Self, Malformed> {
        let header = decode_header(&bytes, limits)?;
        Ok(Self { bytes, header })
    }

    /// The request that a body holds.
    pub(super) fn assemble(bytes: Bytes, of: &RequestRef, signed: usize) -> Self {
        let RequestRef { client, first, floor, count, digest, is_signed, .. } = *of;
        Self { bytes, header: Header { client, first, floor, count, digest, signed, is_signed } }
    }

    /// The request as received.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Who sent it.
    #[must_use]
    pub fn client(&self) -> ClientId {
        self.header.client
    }

    /// Number of its first operation; the others follow consecutively.
    #[must_use]
    pub fn first(&self) -> Number {
        self.header.first
    }

    /// Number of its last operation.
    #[must_use]
    pub fn last(&self) -> Number {
        Number(self.header.first.0 + u64::from(self.header.count) - 1)
    }

    /// All numbers up to this one are acknowledged: their results may be forgotten, and those never executed are void.
    #[must_use]
    pub fn floor(&self) -> Number {
        self.header.floor
    }

    /// How many operations it holds.
    #[must_use]
    pub fn count(&self) -> u16 {
        self.header.count
    }

    /// Identity of the request: SHA-256 over header and operations.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.header.digest
    }

    /// Whether its client signed it: then it convinces everybody.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.header.is_signed
    }

    /// The same request with a signature as its authenticator.
    #[must_use]
    pub fn sign(&self, identity: &Identity) -> Self {
        let content = self.bytes[..self.header.signed].to_vec();
        let bytes = signed(content, &self.header.digest, identity);
        Self { bytes, header: Header { is_signed: true, ..self.header } }
    }

    /// Where the operations end and the authenticator begins.
    pub(super) fn signed_len(&self) -> usize {
        self.header.signed
    }

    /// The same request in memory of its own, to be kept: as decoded it holds on to the whole buffer it was read into.
    #[must_use]
    pub fn compact(self) -> Self {
        Self { bytes: Bytes::copy_from_slice(&self.bytes), ..self }
    }

    /// Its operations in order.
    pub fn operations(&self) -> impl Iterator<Item = &[u8]> {
        operations(&self.bytes[..self.header.signed])
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request {}/{} {:?}", self.header.client, self.header.first, self.header.digest)
    }
}

impl Signed for Request {
    fn claims(&self) -> usize {
        1
    }

    fn claim(&self, _index: usize) -> Claim<'_> {
        let Header { client, digest, signed, is_signed, .. } = self.header;
        claim(&self.bytes, client, digest, (signed, is_signed))
    }
}

/// What a client asks for, and under which numbers.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// Who asks.
    pub client: ClientId,
    /// The first operation's number.
    pub first: Number,
    /// What is acknowledged.
    pub floor: Number,
    /// The operations.
    pub operations: &'a [&'a [u8]],
}

impl Wish<'_> {
    /// The request, signed.
    ///
    /// # Panics
    /// When there are more than 65,535 operations or one is longer than 4 GiB: callers check against the configuration.
    #[must_use]
    pub fn sign(&self, identity: &Identity) -> Request {
        let content = self.encode(identity.suite().signature_len());
        let header = self.header(&content, true);
        Request { bytes: signed(content, &header.digest, identity), header }
    }

    /// The request with a tag for each of the `sessions` with the replicas, in their order; where there is none, that
    /// replica has to take others' word.
    ///
    /// # Panics
    /// As [`Wish::sign`]; and when there are more than 4,095 sessions.
    #[must_use]
    pub fn tag<'a>(&self, sessions: impl ExactSizeIterator<Item = Option<&'a Session>>) -> Request {
        let length = sessions.len() * TAG_LEN;
        let mut bytes = self.encode(length);
        let header = self.header(&bytes, false);
        begin_authenticator(&mut bytes, TAGS, length);
        for session in sessions {
            let tag = session.map_or([0; TAG_LEN], |session| session.requests.tag(&header.digest));
            bytes.extend_from_slice(&tag);
        }
        Request { bytes: bytes.into(), header }
    }

    /// All before the authenticator, in memory that also holds one of this length.
    fn encode(&self, authenticator: usize) -> Vec<u8> {
        let length: usize = self.operations.iter().map(|o| 4 + o.len()).sum();
        let mut bytes = Vec::with_capacity(HEADER_BYTES + length + AUTHENTICATOR_BYTES + authenticator);
        bytes.extend_from_slice(&self.client.0.to_le_bytes());
        bytes.extend_from_slice(&self.first.0.to_le_bytes());
        bytes.extend_from_slice(&self.floor.0.to_le_bytes());
        bytes.push(0);
        bytes.extend_from_slice(&self.count().to_le_bytes());
        for operation in self.operations {
            let length = u32::try_from(operation.len()).expect("operation fits 32 bits");
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(operation);
        }
        bytes
    }

    fn count(&self) -> u16 {
        u16::try_from(self.operations.len()).expect("operations fit 16 bits")
    }

    fn header(&self, content: &[u8], is_signed: bool) -> Header {
        let Self { client, first, floor, .. } = *self;
        let (count, digest, signed) = (self.count(), sha256(&[content]), content.len());
        Header { client, first, floor, count, digest, signed, is_signed }
    }
}

/// [`Wish::sign`], as bytes.
///
/// # Panics
/// As [`Wish::sign`].
#[must_use]
pub fn encode_request(
    identity: &Identity,
    client: ClientId,
    first: Number,
    floor: Number,
    operations: &[&[u8]],
) -> Bytes {
    Wish { client, first, floor, operations }.sign(identity).bytes
}

fn signed(mut content: Vec<u8>, digest: &Digest, identity: &Identity) -> Bytes {
    let signature = identity.sign(Tag::Request, digest);
    begin_authenticator(&mut content, SIGNATURE, signature.len());
    content.extend_from_slice(&signature);
    Bytes::from(content)
}

fn begin_authenticator(bytes: &mut Vec<u8>, kind: u8, length: usize) {
    bytes.push(kind);
    bytes.extend_from_slice(&u16::try_from(length).expect("an authenticator fits 16 bits").to_le_bytes());
}

/// Decodes the request that `bytes` are, wholly.
pub(super) fn decode_header(bytes: &[u8], limits: &RequestLimits) -> Result<Header, Malformed> {
    if bytes.len() > limits.request_max {
        return Err(malformed("longer than request_max"));
    }
    let mut reader = Reader::new(bytes);
    let header = read_header(&mut reader).ok_or(malformed("truncated"))??;
    if header.client.0 >= limits.clients {
        return Err(malformed("unregistered client"));
    }
    if header.count > limits.request_operations {
        return Err(malformed("more operations than request_operations"));
    }
    if crosses_run(limits.request_operations, header.first, header.count) {
        return Err(malformed("crosses a multiple of request_operations"));
    }
    if !reader.is_empty() {
        return Err(malformed("trailing bytes"));
    }
    let tags = limits.tags.map(|replicas| usize::from(replicas) * TAG_LEN);
    if !header.is_signed && Some(bytes.len() - header.signed - AUTHENTICATOR_BYTES) != tags {
        return Err(malformed("tags where there must be none, or not one for each replica"));
    }
    Ok(Header { digest: sha256(&[&bytes[..header.signed]]), ..header })
}

/// The outer option is a truncation. The digest is left to the caller, who has checked the limits by then.
fn read_header(reader: &mut Reader<'_>) -> Option<Result<Header, Malformed>> {
    let client = ClientId(reader.u32()?);
    let first = Number(reader.u64()?);
    let floor = Number(reader.u64()?);
    let flags = reader.u8()?;
    let count = reader.u16()?;
    if flags != 0 {
        return Some(Err(malformed("unknown flags")));
    }
    if count == 0 {
        return Some(Err(malformed("no operation")));
    }
    if first.0 == 0 || first.0.checked_add(u64::from(count)).is_none() {
        return Some(Err(malformed("number out of range")));
    }
    if floor.0 >= first.0 {
        return Some(Err(malformed("acknowledges itself")));
    }
    for _ in 0..count {
        let length = reader.u32()?;
        reader.take(usize::try_from(length).ok()?)?;
    }
    let signed = reader.position();
    let is_signed = match reader.u8()? {
        SIGNATURE => true,
        TAGS => false,
        _ => return Some(Err(malformed("unknown authenticator"))),
    };
    let length = reader.u16()?;
    reader.take(usize::from(length))?;
    Some(Ok(Header { client, first, floor, count, digest: Digest::ZERO, signed, is_signed }))
}

/// The operations of an encoded request cut at its authenticator.
pub(super) fn operations(signed: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut reader = Reader::new(signed.get(HEADER_BYTES..).unwrap_or_default());
    std::iter::from_fn(move || {
        let length = usize::try_from(reader.u32()?).ok()?;
        reader.take(length)
    })
}

pub(super) fn claim(
    bytes: &[u8],
    client: ClientId,
    content: Digest,
    (signed, is_signed): (usize, bool),
) -> Claim<'_> {
    let authenticator = &bytes[signed + AUTHENTICATOR_BYTES..];
    let proof = match is_signed {
        true => Proof::Signature(authenticator),
        false => Proof::Tags(authenticator),
    };
    Claim { tag: Tag::Request, signer: Signer::Client(client), content, proof, remember: false }
}

fn malformed(what: &'static str) -> Malformed {
    Malformed { message: "request", what }
}
