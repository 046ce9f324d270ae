use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use hypostyle_app_api::{ClientId, Digest, PillarId, ReplicaId, Round, Seq, View};
use hypostyle_crypto::{Claim, Entry, Seal, Signed, sha256};

use super::{FrameLimits, Kind, Malformed, Reader, SealedBundle, Statement, sealed};
use crate::primary;

/// A replica leaves for a view (OSDI'99, section 4.4): the stable checkpoint it knows with its proof, and for every slot
/// above that the prepared certificate of the highest view in which it was prepared here.
///
/// Bytes: signer u16 ‖ pillar u16 ‖ incarnation u64 ‖ view u64 ‖ blocking client u32 (2^32-1 = none) ‖ stable round u64 ‖
/// stable digest ‖ count u16 ‖ count × (seq u64 ‖ view u64 ‖ digest) ‖ count u32 ‖ count × (length u32 ‖ sealed bundle) ‖
/// seal. Each bundle is listed once, whatever it proves.
#[derive(Clone)]
pub struct ViewChange {
    content: ViewChangeContent,
    seal: Seal,
    bytes: Bytes,
}

/// A VIEW-CHANGE that is not sealed yet.
#[derive(Clone, Debug)]
pub struct ViewChangeContent {
    signer: ReplicaId,
    pillar: PillarId,
    incarnation: u64,
    view: View,
    blocked: Option<ClientId>,
    stable: Round,
    stable_digest: Digest,
    prepared: Box<[Prepared]>,
    bundles: Box<[Arc<SealedBundle>]>,
    digest: Digest,
    bytes: Vec<u8>,
}

/// A slot that was prepared: a digest that may have been decided there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The slot.
    pub seq: Seq,
    /// In which view.
    pub view: View,
    /// What.
    pub digest: Digest,
}

/// Who leaves, from what, for what.
#[derive(Clone, Copy, Debug)]
pub struct Leave {
    /// Who.
    pub signer: ReplicaId,
    /// How often it has recovered.
    pub incarnation: u64,
    /// The pillar it changes the view of.
    pub pillar: PillarId,
    /// The view it wants.
    pub view: View,
    /// The stable round it knows.
    pub stable: Round,
    /// That checkpoint's digest; zero for round 0.
    pub stable_digest: Digest,
    /// The client whose tags the signer couldn't check and that so kept it from accepting a proposal.
    pub blocked: Option<ClientId>,
}

const TAG: &[u8; 16] = b"hypo/view-change";
/// In place of a client's id.
const NOBODY: u32 = u32::MAX;
const PREPARED_BYTES: usize = 8 + 8 + 32;

impl ViewChangeContent {
    /// Puts together what is to be sealed. `bundles` hold the statements that prove `leave.stable` and each of
    /// `prepared`, which are in ascending order.
    #[must_use]
    pub fn new(leave: &Leave, prepared: Vec<Prepared>, bundles: Vec<Arc<SealedBundle>>) -> Self {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&leave.signer.0.to_le_bytes());
        bytes.extend_from_slice(&leave.pillar.0.to_le_bytes());
        bytes.extend_from_slice(&leave.incarnation.to_le_bytes());
        bytes.extend_from_slice(&leave.view.0.to_le_bytes());
        bytes.extend_from_slice(&leave.blocked.map_or(NOBODY, |client| client.0).to_le_bytes());
        bytes.extend_from_slice(&leave.stable.0.to_le_bytes());
        bytes.extend_from_slice(&leave.stable_digest.0);
        bytes.extend_from_slice(&u16::try_from(prepared.len()).expect("at most L").to_le_bytes());
        for slot in &prepared {
            bytes.extend_from_slice(&slot.seq.0.to_le_bytes());
            bytes.extend_from_slice(&slot.view.0.to_le_bytes());
            bytes.extend_from_slice(&slot.digest.0);
        }
        let length = |length: usize| u32::try_from(length).expect("below the frame limit").to_le_bytes();
        bytes.extend_from_slice(&length(bundles.len()));
        for bundle in &bundles {
            bytes.extend_from_slice(&length(bundle.bytes().len()));
            bytes.extend_from_slice(bundle.bytes());
        }
        Self {
            signer: leave.signer,
            pillar: leave.pillar,
            incarnation: leave.incarnation,
            view: leave.view,
            blocked: leave.blocked,
            stable: leave.stable,
            stable_digest: leave.stable_digest,
            prepared: prepared.into(),
            bundles: bundles.into(),
            digest: digest(&bytes),
            bytes,
        }
    }

    /// Its entry in a seal.
    #[must_use]
    pub fn entry(&self) -> Entry {
        Entry::ViewChange { pillar: self.pillar, digest: self.digest }
    }

    /// Puts it under a seal that has its entry.
    ///
    /// # Panics
    /// When the seal doesn't cover it: our own mistake.
    #[must_use]
    pub fn seal(mut self, seal: Seal) -> ViewChange {
        let bytes = std::mem::take(&mut self.bytes);
        let bytes = sealed::append(bytes, self.signer, &self.entry(), &seal);
        ViewChange { content: self, seal, bytes }
    }

    /// Whether the bundles prove all that is claimed, and none is there for nothing. Structure only: their seals are
    /// claims of the message.
    fn check(&self, limits: &FrameLimits) -> Result<(), &'static str> {
        let quorum = limits.quorum();
        let mut statements: Vec<(Statement, ReplicaId)> = Vec::new();
        let mut needed: Vec<Statement> = Vec::with_capacity(2 * self.prepared.len() + 1);
        if self.stable != Round(0) {
            needed.push(Statement::checkpoint(self.stable, self.stable_digest));
        }
        for slot in &self.prepared {
            needed.push(self.statement(Kind::Propose, slot));
            needed.push(self.statement(Kind::Prepare, slot));
        }
        needed.sort_unstable();
        let mut listed: Vec<_> = self.bundles.iter().map(|bundle| bundle.bytes()).collect();
        listed.sort_unstable();
        if listed.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("a bundle listed twice");
        }
        for bundle in &self.bundles {
            let before = statements.len();
            let proves = |statement: &&Statement| needed.binary_search(statement).is_ok();
            statements.extend(bundle.statements().iter().filter(proves).map(|s| (*s, bundle.signer())));
            if statements.len() == before {
                return Err("a bundle that proves nothing");
            }
        }
        // Who says the same twice counts once.
        statements.sort_unstable();
        statements.dedup();
        let sayers = |statement: Statement| {
            let first = statements.partition_point(|(other, _)| *other < statement);
            statements[first..].iter().take_while(move |(other, _)| *other == statement)
        };
        if self.stable != Round(0)
            && sayers(Statement::checkpoint(self.stable, self.stable_digest)).count() < quorum
        {
            return Err("a stable checkpoint without proof");
        }
        for slot in &self.prepared {
            let leader = primary(limits.leaders, limits.replicas, self.pillar, slot.view);
            let proposed = sayers(self.statement(Kind::Propose, slot)).any(|(_, signer)| *signer == leader);
            let prepares =
                sayers(self.statement(Kind::Prepare, slot)).filter(|(_, signer)| *signer != leader);
            if !proposed || 1 + prepares.count() < quorum {
                return Err("a prepared slot without certificate");
            }
        }
        Ok(())
    }

    fn statement(&self, kind: Kind, slot: &Prepared) -> Statement {
        Statement { kind, pillar: self.pillar, view: slot.view, seq: slot.seq, digest: slot.digest }
    }
}

impl ViewChange {
    /// Decodes a VIEW-CHANGE and checks all that doesn't need a signature: every certificate in full.
    ///
    /// # Errors
    /// When the bytes are not exactly one, or something claimed is not proved by the bundles.
    pub fn decode(bytes: Bytes, limits: &FrameLimits) -> Result<Self, Malformed> {
        let mut reader = Reader::new(&bytes);
        let content = read(&mut reader, &bytes, limits)?;
        let seal = sealed::read(reader.rest(), content.signer, &content.entry()).map_err(malformed)?;
        content.check(limits).map_err(malformed)?;
        Ok(Self { content, seal, bytes })
    }

    /// Who leaves.
    #[must_use]
    pub fn signer(&self) -> ReplicaId {
        self.content.signer
    }

    /// How often the signer had recovered.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.content.incarnation
    }

    /// The pillar.
    #[must_use]
    pub fn pillar(&self) -> PillarId {
        self.content.pillar
    }

    /// The view it wants.
    #[must_use]
    pub fn view(&self) -> View {
        self.content.view
    }

    /// The client that kept the signer from accepting a proposal, if it says so.
    #[must_use]
    pub fn blocked(&self) -> Option<ClientId> {
        self.content.blocked
    }

    /// The stable round it proves, and its digest.
    #[must_use]
    pub fn stable(&self) -> (Round, Digest) {
        (self.content.stable, self.content.stable_digest)
    }

    /// What it proves to have been prepared, in ascending order of slots.
    #[must_use]
    pub fn prepared(&self) -> &[Prepared] {
        &self.content.prepared
    }

    /// The bundles that prove it.
    #[must_use]
    pub fn bundles(&self) -> &[Arc<SealedBundle>] {
        &self.content.bundles
    }

    /// What a NEW-VIEW names it by.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.content.digest
    }

    /// As it travels.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl fmt::Debug for ViewChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ViewChangeContent { signer, view, stable, prepared, digest, .. } = &self.content;
        write!(f, "VIEW-CHANGE {digest:?} of {signer} for {view}: stable {stable}, {prepared:?}")
    }
}

impl Signed for ViewChange {
    fn claims(&self) -> usize {
        1 + self.content.bundles.len()
    }

    fn claim(&self, index: usize) -> Claim<'_> {
        match index.checked_sub(1) {
            None => self.seal.claim(0),
            Some(bundle) => self.content.bundles[bundle].claim(0),
        }
    }
}

fn read(
    reader: &mut Reader<'_>,
    bytes: &Bytes,
    limits: &FrameLimits,
) -> Result<ViewChangeContent, Malformed> {
    let truncated = || malformed("truncated");
    let signer = ReplicaId(reader.u16().ok_or_else(truncated)?);
    let pillar = PillarId(reader.u16().ok_or_else(truncated)?);
    let incarnation = reader.u64().ok_or_else(truncated)?;
    let view = View(reader.u64().ok_or_else(truncated)?);
    let blocked = Some(reader.u32().ok_or_else(truncated)?).filter(|id| *id != NOBODY).map(ClientId);
    let stable = Round(reader.u64().ok_or_else(truncated)?);
    let stable_digest = Digest(reader.array().ok_or_else(truncated)?);
    if signer.0 >= limits.replicas || view == View(0) {
        return Err(malformed("unknown signer, or view 0"));
    }
    if blocked.is_some_and(|client| limits.request.tags.is_none() || client.0 >= limits.request.clients) {
        return Err(malformed("blocked by a client that can't"));
    }
    if !stable.0.is_multiple_of(limits.checkpoint_interval)
        || (stable.0 == 0) != (stable_digest == Digest::ZERO)
    {
        return Err(malformed("no checkpoint after such a round"));
    }
    let prepared = read_prepared(reader, stable, view, limits)?;
    let count = reader.u32().ok_or_else(truncated)? as usize;
    if count > limits.view_change_bundles_max() {
        return Err(malformed("more bundles than it can need"));
    }
    let mut bundles = Vec::new();
    for _ in 0..count {
        let length = reader.u32().ok_or_else(truncated)? as usize;
        let start = reader.position();
        reader.take(length).ok_or_else(truncated)?;
        bundles.push(Arc::new(SealedBundle::decode(bytes.slice(start..start + length), limits)?));
    }
    let content = &bytes[..reader.position()];
    Ok(ViewChangeContent {
        signer,
        pillar,
        incarnation,
        view,
        blocked,
        stable,
        stable_digest,
        prepared,
        bundles: bundles.into(),
        digest: digest(content),
        bytes: Vec::new(),
    })
}

fn read_prepared(
    reader: &mut Reader<'_>,
    stable: Round,
    view: View,
    limits: &FrameLimits,
) -> Result<Box<[Prepared]>, Malformed> {
    let truncated = || malformed("truncated");
    let count = usize::from(reader.u16().ok_or_else(truncated)?);
    if count as u64 > limits.window || count > reader.remaining() / PREPARED_BYTES {
        return Err(malformed("more prepared slots than the window"));
    }
    let mut prepared = Vec::with_capacity(count);
    let mut last = Seq(stable.0);
    for _ in 0..count {
        let slot = Prepared {
            seq: Seq(reader.u64().ok_or_else(truncated)?),
            view: View(reader.u64().ok_or_else(truncated)?),
            digest: Digest(reader.array().ok_or_else(truncated)?),
        };
        if slot.seq <= last || slot.seq.0 - stable.0 > limits.window || slot.view >= view {
            return Err(malformed("a prepared slot out of order, window or view"));
        }
        last = slot.seq;
        prepared.push(slot);
    }
    Ok(prepared.into())
}

fn digest(content: &[u8]) -> Digest {
    sha256(&[TAG, content])
}

fn malformed(what: &'static str) -> Malformed {
    Malformed { message: "VIEW-CHANGE", what }
}
