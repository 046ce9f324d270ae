use std::fmt;

use bytes::Bytes;
use hypostyle_app_api::{Digest, PillarId, ReplicaId, View};
use hypostyle_crypto::{Claim, Entry, Seal, Signed, sha256};

use super::{BUNDLE_MAX, FrameLimits, Kind, Malformed, Reader, STATEMENT_BYTES, Statement, sealed};
use crate::primary;

/// Up to [`BUNDLE_MAX`] statements of one replica and one pillar, not yet sealed.
///
/// Bytes: signer u16 ‖ pillar u16 ‖ count u8 ‖ statements. Its digest is an entry of a seal.
#[derive(Clone, Debug)]
pub struct Bundle {
    signer: ReplicaId,
    pillar: PillarId,
    statements: Box<[Statement]>,
    digest: Digest,
    bytes: Vec<u8>,
}

/// A bundle with the seal that covers it, as it travels: bundle ‖ seal. Certificates hold these, so they convince a
/// third party. Valid or invalid as a whole by its bytes and the configuration alone.
#[derive(Clone)]
pub struct SealedBundle {
    signer: ReplicaId,
    pillar: PillarId,
    statements: Box<[Statement]>,
    seal: Seal,
    bytes: Bytes,
}

const BUNDLE_TAG: &[u8; 16] = b"hypostyle bundle";
const HEADER_BYTES: usize = 2 + 2 + 1;

impl Bundle {
    /// Gathers statements of `signer` that go over `pillar`'s links.
    ///
    /// # Panics
    /// When there are none or more than [`BUNDLE_MAX`]: our own mistake.
    #[must_use]
    pub fn new(signer: ReplicaId, pillar: PillarId, statements: &[Statement]) -> Self {
        assert!((1..=BUNDLE_MAX).contains(&statements.len()), "a bundle of {} statements", statements.len());
        let mut bytes = Vec::with_capacity(HEADER_BYTES + statements.len() * STATEMENT_BYTES);
        bytes.extend_from_slice(&signer.0.to_le_bytes());
        bytes.extend_from_slice(&pillar.0.to_le_bytes());
        bytes.push(u8::try_from(statements.len()).expect("at most 64"));
        statements.iter().for_each(|statement| statement.encode(&mut bytes));
        Self { signer, pillar, statements: statements.into(), digest: digest(&bytes), bytes }
    }

    /// What it says.
    #[must_use]
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// Its entry in a seal.
    #[must_use]
    pub fn entry(&self) -> Entry {
        Entry::Bundle { pillar: self.pillar, digest: self.digest }
    }

    /// Puts it under a seal that has its entry.
    ///
    /// # Panics
    /// When the seal doesn't cover it: our own mistake.
    #[must_use]
    pub fn seal(self, seal: Seal) -> SealedBundle {
        let entry = self.entry();
        let Self { signer, pillar, statements, bytes, .. } = self;
        let bytes = sealed::append(bytes, signer, &entry, &seal);
        SealedBundle { signer, pillar, statements, seal, bytes }
    }
}

impl SealedBundle {
    /// Decodes a bundle and its seal and checks all that doesn't need RSA.
    ///
    /// # Errors
    /// When the bytes are not exactly one bundle and seal, the seal doesn't cover the bundle, or a statement can't be
    /// the signer's: of another pillar, or a proposal of one who isn't the primary of its view.
    pub fn decode(bytes: Bytes, limits: &FrameLimits) -> Result<Self, Malformed> {
        let mut reader = Reader::new(&bytes);
        let (signer, pillar, statements) = read_statements(&mut reader).ok_or(malformed("truncated"))?;
        if statements.is_empty() || statements.len() > BUNDLE_MAX {
            return Err(malformed("wrong number of statements"));
        }
        if signer.0 >= limits.replicas {
            return Err(malformed("unknown signer"));
        }
        let entry = Entry::Bundle { pillar, digest: digest(&bytes[..reader.position()]) };
        let seal = sealed::read(reader.rest(), signer, &entry).map_err(malformed)?;
        for statement in &statements {
            check_statement(statement, signer, pillar, limits)?;
        }
        Ok(Self { signer, pillar, statements: statements.into(), seal, bytes })
    }

    /// Whose statements these are.
    #[must_use]
    pub fn signer(&self) -> ReplicaId {
        self.signer
    }

    /// On which pillar's links they travel.
    #[must_use]
    pub fn pillar(&self) -> PillarId {
        self.pillar
    }

    /// The statements in the order in which they were made.
    #[must_use]
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// The same bundle in memory of its own, to be kept: as decoded it holds on to the whole buffer it was read into.
    #[must_use]
    pub fn compact(self) -> Self {
        Self { bytes: Bytes::copy_from_slice(&self.bytes), ..self }
    }

    /// Bundle and seal as they travel.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl fmt::Debug for SealedBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} says {:?}", self.signer, self.statements)
    }
}

impl Signed for SealedBundle {
    fn claims(&self) -> usize {
        self.seal.claims()
    }

    fn claim(&self, index: usize) -> Claim<'_> {
        self.seal.claim(index)
    }
}

fn read_statements(reader: &mut Reader<'_>) -> Option<(ReplicaId, PillarId, Vec<Statement>)> {
    let signer = ReplicaId(reader.u16()?);
    let pillar = PillarId(reader.u16()?);
    let count = reader.u8()?;
    let mut statements = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        statements.push(Statement::read(reader)?);
    }
    Some((signer, pillar, statements))
}

fn check_statement(
    statement: &Statement,
    signer: ReplicaId,
    pillar: PillarId,
    limits: &FrameLimits,
) -> Result<(), Malformed> {
    if statement.seq.0 == 0 {
        return Err(malformed("sequence number 0"));
    }
    match statement.kind {
        Kind::Checkpoint if statement.pillar == Statement::NO_PILLAR && statement.view == View(0) => Ok(()),
        Kind::Checkpoint => Err(malformed("a checkpoint with pillar or view")),
        _ if statement.pillar != pillar => Err(malformed("statement of another pillar")),
        kind => {
            let leads = primary(limits.leaders, limits.replicas, pillar, statement.view) == signer;
            match kind {
                Kind::Propose if !leads => Err(malformed("proposal of a replica that isn't primary")),
                Kind::Prepare if leads => Err(malformed("the primary doesn't prepare")),
                _ => Ok(()),
            }
        }
    }
}

fn digest(bundle: &[u8]) -> Digest {
    sha256(&[BUNDLE_TAG, bundle])
}

fn malformed(what: &'static str) -> Malformed {
    Malformed { message: "bundle", what }
}
