use std::fmt;

use bytes::Bytes;
use hypostyle_app_api::{Digest, PillarId, ReplicaId, View};
use hypostyle_crypto::{Claim, Entry, Seal, Signed, sha256};

use super::{FrameLimits, Malformed, Reader, sealed};
use crate::primary;

/// A view's primary begins it (OSDI'99, section 4.4): it names the VIEW-CHANGEs of 2f+1 replicas, by digest; who lacks
/// one fetches it. They determine what is proposed again, so everybody works that out for himself.
///
/// Bytes: signer u16 ‖ pillar u16 ‖ view u64 ‖ count u16 ‖ count × (replica u16 ‖ digest) ‖ seal.
#[derive(Clone)]
pub struct NewView {
    content: NewViewContent,
    seal: Seal,
    bytes: Bytes,
}

/// A NEW-VIEW that is not sealed yet.
#[derive(Clone, Debug)]
pub struct NewViewContent {
    signer: ReplicaId,
    pillar: PillarId,
    view: View,
    changes: Box<[(ReplicaId, Digest)]>,
    digest: Digest,
    bytes: Vec<u8>,
}

const TAG: &[u8; 16] = b"hypo/new-view\0\0\0";

impl NewViewContent {
    /// What `signer` is to seal; `changes` in ascending order of replicas.
    #[must_use]
    pub fn new(signer: ReplicaId, pillar: PillarId, view: View, changes: Vec<(ReplicaId, Digest)>) -> Self {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&signer.0.to_le_bytes());
        bytes.extend_from_slice(&pillar.0.to_le_bytes());
        bytes.extend_from_slice(&view.0.to_le_bytes());
        bytes.extend_from_slice(&u16::try_from(changes.len()).expect("at most n").to_le_bytes());
        for (replica, digest) in &changes {
            bytes.extend_from_slice(&replica.0.to_le_bytes());
            bytes.extend_from_slice(&digest.0);
        }
        Self { signer, pillar, view, changes: changes.into(), digest: digest(&bytes), bytes }
    }

    /// Its entry in a seal.
    #[must_use]
    pub fn entry(&self) -> Entry {
        Entry::NewView { pillar: self.pillar, digest: self.digest }
    }

    /// Puts it under a seal that has its entry.
    ///
    /// # Panics
    /// When the seal doesn't cover it: our own mistake.
    #[must_use]
    pub fn seal(mut self, seal: Seal) -> NewView {
        let bytes = std::mem::take(&mut self.bytes);
        let bytes = sealed::append(bytes, self.signer, &self.entry(), &seal);
        NewView { content: self, seal, bytes }
    }
}

impl NewView {
    /// Decodes a NEW-VIEW and checks all that doesn't need a signature.
    ///
    /// # Errors
    /// When the bytes are not exactly one, or not of the view's primary, or don't name 2f+1 different replicas.
    pub fn decode(bytes: Bytes, limits: &FrameLimits) -> Result<Self, Malformed> {
        let mut reader = Reader::new(&bytes);
        let mut content = read(&mut reader, limits).ok_or(malformed("truncated"))?;
        content.digest = digest(&bytes[..reader.position()]);
        let seal = sealed::read(reader.rest(), content.signer, &content.entry()).map_err(malformed)?;
        let leader = primary(limits.leaders, limits.replicas, content.pillar, content.view);
        if content.view == View(0) || content.signer != leader {
            return Err(malformed("not of the view's primary"));
        }
        let ascending = content.changes.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let known = content.changes.iter().all(|(replica, _)| replica.0 < limits.replicas);
        if content.changes.len() != limits.quorum() || !ascending || !known {
            return Err(malformed("not the VIEW-CHANGEs of 2f+1 replicas"));
        }
        Ok(Self { content, seal, bytes })
    }

    /// The primary that begins the view.
    #[must_use]
    pub fn signer(&self) -> ReplicaId {
        self.content.signer
    }

    /// The pillar.
    #[must_use]
    pub fn pillar(&self) -> PillarId {
        self.content.pillar
    }

    /// The view.
    #[must_use]
    pub fn view(&self) -> View {
        self.content.view
    }

    /// The VIEW-CHANGEs that the view stands on: of whom, and their digests; ascending, 2f+1.
    #[must_use]
    pub fn changes(&self) -> &[(ReplicaId, Digest)] {
        &self.content.changes
    }

    /// Digest of the content.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.content.digest
    }

    /// The same message in memory of its own, to be kept: as decoded it holds on to the whole buffer it was read into.
    #[must_use]
    pub fn compact(self) -> Self {
        Self { bytes: Bytes::copy_from_slice(&self.bytes), ..self }
    }

    /// As it travels.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl fmt::Debug for NewView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NewViewContent { signer, view, changes, digest, .. } = &self.content;
        write!(f, "NEW-VIEW {digest:?} of {signer} for {view}: {changes:?}")
    }
}

impl Signed for NewView {
    fn claims(&self) -> usize {
        1
    }

    fn claim(&self, _index: usize) -> Claim<'_> {
        self.seal.claim(0)
    }
}

fn read(reader: &mut Reader<'_>, limits: &FrameLimits) -> Option<NewViewContent> {
    let signer = ReplicaId(reader.u16()?);
    let pillar = PillarId(reader.u16()?);
    let view = View(reader.u64()?);
    let count = reader.u16()?.min(limits.replicas);
    let change = |_| Some((ReplicaId(reader.u16()?), Digest(reader.array()?)));
    let changes = (0..count).map(change).collect::<Option<_>>()?;
    Some(NewViewContent { signer, pillar, view, changes, digest: Digest::ZERO, bytes: Vec::new() })
}

fn digest(content: &[u8]) -> Digest {
    sha256(&[TAG, content])
}

fn malformed(what: &'static str) -> Malformed {
    Malformed { message: "NEW-VIEW", what }
}
