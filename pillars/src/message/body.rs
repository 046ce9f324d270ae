use std::fmt;

use bytes::Bytes;
use hypostyle_app_api::{ClientId, Digest, Number, Timestamp};
use hypostyle_crypto::{Claim, Hasher, Signed};

use super::{FrameLimits, Malformed, Reader, Request, request};

/// A batch's content: requests byte for byte as received, and the proposal timestamp.
///
/// Bytes: timestamp u64 ‖ count u32 ‖ count × (length u32 ‖ request). The digest covers the timestamp and, of each
/// request, digest and authenticator, so that whether a body is valid is a function of its digest. Not signed.
#[derive(Clone)]
pub struct Body {
    bytes: Bytes,
    digest: Digest,
    timestamp: Timestamp,
    operations: u32,
    requests: Box<[RequestRef]>,
}

/// A request inside a [`Body`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRef {
    /// Who sent it.
    pub client: ClientId,
    /// Number of its first operation.
    pub first: Number,
    /// What the client acknowledges.
    pub floor: Number,
    /// How many operations it holds.
    pub count: u16,
    /// SHA-256 over header and operations.
    pub digest: Digest,
    start: u32,
    signed: u32,
    end: u32,
}

impl RequestRef {
    /// Bytes of the request, authenticator included.
    #[must_use]
    pub fn length(&self) -> usize {
        (self.end - self.start) as usize
    }
}

const BODY_TAG: &[u8; 16] = b"hypostyle body 1";
const HEADER_BYTES: usize = 8 + 4;
/// The shortest request: one empty operation and an empty signature.
const REQUEST_BYTES_MIN: usize = request::HEADER_BYTES + 4 + request::AUTHENTICATOR_BYTES;

impl Body {
    /// The body of an empty slot: no request, timestamp 0.
    #[must_use]
    pub fn empty() -> Self {
        BodyBuilder::new().finish(Timestamp(0))
    }

    /// Decodes a body, each of its requests, and computes all digests.
    ///
    /// # Errors
    /// When the bytes are not exactly one body, a request in it is malformed, or a limit is broken.
    pub fn decode(bytes: Bytes, limits: &FrameLimits) -> Result<Self, Malformed> {
        let mut reader = Reader::new(&bytes);
        let timestamp = Timestamp(reader.u64().ok_or(malformed("truncated"))?);
        let count = reader.u32().ok_or(malformed("truncated"))?;
        if count > limits.batch_max || count as usize > reader.remaining() / (4 + REQUEST_BYTES_MIN) {
            return Err(malformed("more requests than it can hold"));
        }
        if bytes.len() - HEADER_BYTES - 4 * count as usize > limits.batch_bytes {
            return Err(malformed("longer than batch_bytes"));
        }
        if count == 0 && timestamp.0 != 0 {
            return Err(malformed("an empty body has timestamp 0"));
        }
        let mut requests = Vec::with_capacity(count as usize);
        for _ in 0..count {
            requests.push(read_request(&mut reader, limits)?);
        }
        if !reader.is_empty() {
            return Err(malformed("trailing bytes"));
        }
        let operations =
            requests.iter().map(|r: &RequestRef| u32::from(r.count)).try_fold(0, u32::checked_add);
        let operations = operations.filter(|sum| *sum <= limits.batch_max);
        let operations = operations.ok_or(malformed("more operations than batch_max"))?;
        Ok(Self::assemble(bytes, timestamp, operations, requests))
    }

    fn assemble(bytes: Bytes, timestamp: Timestamp, operations: u32, requests: Vec<RequestRef>) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(BODY_TAG).update(&timestamp.0.to_le_bytes());
        hasher.update(&u32::try_from(requests.len()).expect("checked against batch_max").to_le_bytes());
        for r in &requests {
            // The authenticator is prefixed by its own kind and length.
            hasher.update(&r.digest.0).update(&bytes[r.signed as usize..r.end as usize]);
        }
        Self { digest: hasher.finish(), bytes, timestamp, operations, requests: requests.into() }
    }

    /// The body as it goes over the wire.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What a proposal names.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// When the primary cut the batch, by its own clock.
    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    /// Number of operations in all requests.
    #[must_use]
    pub fn operation_count(&self) -> u32 {
        self.operations
    }

    /// Whether it holds no request.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// The requests in order.
    #[must_use]
    pub fn requests(&self) -> &[RequestRef] {
        &self.requests
    }

    /// The operations of one of [`Body::requests`].
    pub fn operations(&self, request: &RequestRef) -> impl Iterator<Item = &[u8]> {
        request::operations(&self.bytes[request.start as usize..request.signed as usize])
    }

    /// One of [`Body::requests`], in memory of its own.
    #[must_use]
    pub fn request(&self, request: &RequestRef) -> Request {
        let bytes = Bytes::copy_from_slice(&self.bytes[request.start as usize..request.end as usize]);
        Request::assemble(bytes, request, (request.signed - request.start) as usize)
    }

    /// One of [`Body::requests`] as its client sent it.
    #[must_use]
    pub fn request_bytes(&self, request: &RequestRef) -> Bytes {
        self.bytes.slice(request.start as usize..request.end as usize)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "body {:?} of {} operations", self.digest, self.operations)
    }
}

impl Signed for Body {
    fn claims(&self) -> usize {
        self.requests.len()
    }

    fn claim(&self, index: usize) -> Claim<'_> {
        let r = &self.requests[index];
        let bytes = &self.bytes[r.start as usize..r.end as usize];
        request::claim(bytes, r.client, r.digest, (r.signed - r.start) as usize)
    }
}

/// The open batch of a primary: requests are copied in once, and cutting freezes them into a [`Body`].
#[derive(Clone, Debug)]
pub struct BodyBuilder {
    bytes: Vec<u8>,
    operations: u32,
    requests: Vec<RequestRef>,
}

impl Default for BodyBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BodyBuilder {
    /// An open batch without requests.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: vec![0; HEADER_BYTES], operations: 0, requests: Vec::new() }
    }

    /// Number of operations so far.
    #[must_use]
    pub fn operation_count(&self) -> u32 {
        self.operations
    }

    /// Whether a request of `operations` operations and `length` bytes still fits.
    #[must_use]
    pub fn fits(&self, operations: u16, length: usize, batch_max: u32, batch_bytes: usize) -> bool {
        self.operations.saturating_add(u32::from(operations)) <= batch_max
            && self.bytes.len() - HEADER_BYTES - 4 * self.requests.len() + length <= batch_bytes
    }

    /// Appends a request.
    ///
    /// # Panics
    /// When the batch passes 4 GiB: callers ask [`BodyBuilder::fits`] first.
    pub fn push(&mut self, request: &Request) {
        let bytes = request.bytes();
        let at = |offset: usize| u32::try_from(offset).expect("a body is below 4 GiB");
        self.bytes.extend_from_slice(&at(bytes.len()).to_le_bytes());
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.operations += u32::from(request.count());
        self.requests.push(RequestRef {
            client: request.client(),
            first: request.first(),
            floor: request.floor(),
            count: request.count(),
            digest: request.digest(),
            start: at(start),
            signed: at(start + request.signed_len()),
            end: at(self.bytes.len()),
        });
    }

    /// Cuts the batch.
    #[must_use]
    pub fn finish(mut self, timestamp: Timestamp) -> Body {
        let count = u32::try_from(self.requests.len()).expect("bounded by batch_max");
        self.bytes[..8].copy_from_slice(&timestamp.0.to_le_bytes());
        self.bytes[8..HEADER_BYTES].copy_from_slice(&count.to_le_bytes());
        Body::assemble(Bytes::from(self.bytes), timestamp, self.operations, self.requests)
    }
}

fn read_request(reader: &mut Reader<'_>, limits: &FrameLimits) -> Result<RequestRef, Malformed> {
    let length = reader.u32().ok_or(malformed("truncated"))? as usize;
    let start = reader.position();
    let bytes = reader.take(length).ok_or(malformed("truncated"))?;
    let header = request::decode_header(bytes, &limits.request)?;
    let at = |offset: usize| u32::try_from(offset).map_err(|_| malformed("longer than 4 GiB"));
    Ok(RequestRef {
        client: header.client,
        first: header.first,
        floor: header.floor,
        count: header.count,
        digest: header.digest,
        start: at(start)?,
        signed: at(start + header.signed)?,
        end: at(start + length)?,
    })
}

fn malformed(what: &'static str) -> Malformed {
    Malformed { message: "body", what }
}
