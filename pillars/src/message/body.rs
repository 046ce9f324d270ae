use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use hypostyle_app_api::{ClientId, Digest, Number, ReplicaId, Timestamp};
use hypostyle_crypto::{Claim, Hasher, Signed};

use super::{FrameLimits, Malformed, RECOVER_BYTES_MAX, Reader, Recover, Request, recover, request};

/// A batch's content: requests byte for byte as received, replicas' wishes to recover, and the proposal timestamp.
///
/// Bytes: timestamp u64 ‖ requests u32 ‖ recovers u16 ‖ requests × (length u32 ‖ request) ‖ recovers × [`Recover`], by
/// ascending replica, hence at most one of each. The digest covers the timestamp and, of each request and recover, digest
/// and authenticator, so that whether a body is valid is a function of its digest. Not signed.
#[derive(Clone)]
pub struct Body {
    bytes: Bytes,
    digest: Digest,
    timestamp: Timestamp,
    operations: u32,
    requests: Box<[RequestRef]>,
    recovers: Box<[Recover]>,
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
    /// Whether its client signed it, and didn't put tags on it.
    pub is_signed: bool,
    start: u32,
    signed: u32,
    end: u32,
}

impl RequestRef {
    /// Number of its last operation.
    #[must_use]
    pub fn last(&self) -> Number {
        Number(self.first.0 + u64::from(self.count) - 1)
    }

    /// Bytes of the request, authenticator included.
    #[must_use]
    pub fn length(&self) -> usize {
        (self.end - self.start) as usize
    }
}

const BODY_TAG: &[u8; 16] = b"hypostyle body 1";
const HEADER_BYTES: usize = 8 + 4 + 2;
/// The shortest request: one empty operation and an empty signature.
const REQUEST_BYTES_MIN: usize = request::HEADER_BYTES + 4 + request::AUTHENTICATOR_BYTES;

impl Body {
    /// The body of an empty slot: nothing in it, timestamp 0.
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
        let most = limits.batch_bytes + 4 * count as usize + RECOVER_BYTES_MAX * usize::from(limits.replicas);
        if reader.remaining() > most {
            return Err(malformed("longer than batch_bytes"));
        }
        let recovers = reader.u16().ok_or(malformed("truncated"))?;
        if recovers > limits.replicas {
            return Err(malformed("more recovers than replicas"));
        }
        if count == 0 && recovers == 0 && timestamp.0 != 0 {
            return Err(malformed("an empty body has timestamp 0"));
        }
        let mut requests = Vec::with_capacity(count as usize);
        for _ in 0..count {
            requests.push(read_request(&mut reader, limits)?);
        }
        if reader.position() - HEADER_BYTES - 4 * count as usize > limits.batch_bytes {
            return Err(malformed("longer than batch_bytes"));
        }
        let recovers = read_recovers(&mut reader, &bytes, recovers, limits)?;
        if !reader.is_empty() {
            return Err(malformed("trailing bytes"));
        }
        let operations =
            requests.iter().map(|r: &RequestRef| u32::from(r.count)).try_fold(0, u32::checked_add);
        let operations = operations.filter(|sum| *sum <= limits.batch_max);
        let operations = operations.ok_or(malformed("more operations than batch_max"))?;
        Ok(Self::assemble(bytes, timestamp, operations, requests, recovers))
    }

    fn assemble(
        bytes: Bytes,
        timestamp: Timestamp,
        operations: u32,
        requests: Vec<RequestRef>,
        recovers: Vec<Recover>,
    ) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(BODY_TAG).update(&timestamp.0.to_le_bytes());
        hasher.update(&u32::try_from(requests.len()).expect("checked against batch_max").to_le_bytes());
        for r in &requests {
            // The authenticator is prefixed by its own kind and length.
            hasher.update(&r.digest.0).update(&bytes[r.signed as usize..r.end as usize]);
        }
        hasher.update(&u16::try_from(recovers.len()).expect("one a replica").to_le_bytes());
        for recover in &recovers {
            // Fields of fixed length, then a signature prefixed by its length.
            hasher.update(recover.bytes());
        }
        let (requests, recovers) = (requests.into(), recovers.into());
        Self { digest: hasher.finish(), bytes, timestamp, operations, requests, recovers }
    }

    /// The body as it goes over the wire.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The same body in memory of its own, to be kept: as decoded it holds on to the whole buffer it was read into.
    #[must_use]
    pub fn compact(self) -> Self {
        let recovers = self.recovers.into_iter().map(Recover::compact).collect();
        Self { bytes: Bytes::copy_from_slice(&self.bytes), recovers, ..self }
    }

    /// Bytes that its content takes in memory.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.requests) + size_of_val(&*self.recovers)
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

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.recovers.is_empty()
    }

    /// The requests in order.
    #[must_use]
    pub fn requests(&self) -> &[RequestRef] {
        &self.requests
    }

    /// The replicas that recover, ascending.
    #[must_use]
    pub fn recovers(&self) -> &[Recover] {
        &self.recovers
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
        self.requests.len() + self.recovers.len()
    }

    fn claim(&self, index: usize) -> Claim<'_> {
        let Some(r) = self.requests.get(index) else {
            return self.recovers[index - self.requests.len()].claim(0);
        };
        let bytes = &self.bytes[r.start as usize..r.end as usize];
        request::claim(bytes, r.client, r.digest, ((r.signed - r.start) as usize, r.is_signed))
    }
}

/// The open batch of a primary: requests are copied in once, and cutting freezes them into a [`Body`].
#[derive(Clone, Debug)]
pub struct BodyBuilder {
    bytes: Vec<u8>,
    operations: u32,
    requests: Vec<RequestRef>,
    recovers: BTreeMap<ReplicaId, Recover>,
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
        let (requests, recovers) = (Vec::new(), BTreeMap::new());
        Self { bytes: vec![0; HEADER_BYTES], operations: 0, requests, recovers }
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
            is_signed: request.is_signed(),
            start: at(start),
            signed: at(start + request.signed_len()),
            end: at(self.bytes.len()),
        });
    }

    /// Puts in a replica's wish to recover, in place of an earlier one of the same replica.
    pub fn recover(&mut self, recover: Recover) {
        self.recovers.insert(recover.replica(), recover);
    }

    /// Cuts the batch.
    #[must_use]
    pub fn finish(mut self, timestamp: Timestamp) -> Body {
        let requests = u32::try_from(self.requests.len()).expect("bounded by batch_max");
        let recovers = u16::try_from(self.recovers.len()).expect("one a replica");
        self.bytes[..8].copy_from_slice(&timestamp.0.to_le_bytes());
        self.bytes[8..12].copy_from_slice(&requests.to_le_bytes());
        self.bytes[12..HEADER_BYTES].copy_from_slice(&recovers.to_le_bytes());
        let recovers: Vec<_> = self.recovers.into_values().collect();
        recovers.iter().for_each(|recover| self.bytes.extend_from_slice(recover.bytes()));
        Body::assemble(Bytes::from(self.bytes), timestamp, self.operations, self.requests, recovers)
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
        is_signed: header.is_signed,
        start: at(start)?,
        signed: at(start + header.signed)?,
        end: at(start + length)?,
    })
}

fn read_recovers(
    reader: &mut Reader<'_>,
    bytes: &Bytes,
    count: u16,
    limits: &FrameLimits,
) -> Result<Vec<Recover>, Malformed> {
    let mut recovers: Vec<Recover> = Vec::new();
    for _ in 0..count {
        let recover = recover::read(reader, bytes, limits.replicas)?;
        if recovers.last().is_some_and(|last| last.replica() >= recover.replica()) {
            return Err(malformed("recovers out of order"));
        }
        recovers.push(recover);
    }
    Ok(recovers)
}

fn malformed(what: &'static str) -> Malformed {
    Malformed { message: "body", what }
}
