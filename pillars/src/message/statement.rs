use hypostyle_app_api::{Digest, PillarId, Seq, View};

use super::Reader;

/// What a statement says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The primary's pre-prepare (OSDI'99, section 4.2): the body with this digest takes the slot.
    Propose,
    /// A backup accepts the proposal.
    Prepare,
    /// The replica holds a prepared certificate.
    Commit,
    /// The replica executed all slots up to a round and has this digest (section 4.3).
    Checkpoint,
}

/// A small fixed-size record of one replica, signed as part of a bundle under a seal.
///
/// Bytes: kind u8 ‖ pillar u16 ‖ view u64 ‖ seq u64 ‖ digest. A `Checkpoint` has [`Statement::NO_PILLAR`], view 0, and
/// the round in `seq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Statement {
    /// What it says.
    pub kind: Kind,
    /// About which pillar.
    pub pillar: PillarId,
    /// In which view.
    pub view: View,
    /// About which slot.
    pub seq: Seq,
    /// About which body or state.
    pub digest: Digest,
}

/// Encoded length of a [`Statement`].
pub const STATEMENT_BYTES: usize = 1 + 2 + 8 + 8 + 32;
/// Most statements in a bundle.
pub const BUNDLE_MAX: usize = 64;

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Propose => 0,
            Self::Prepare => 1,
            Self::Commit => 2,
            Self::Checkpoint => 3,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Propose, Self::Prepare, Self::Commit, Self::Checkpoint].get(usize::from(code)).copied()
    }
}

impl Statement {
    /// The pillar of a statement that is about all of them.
    pub const NO_PILLAR: PillarId = PillarId(u16::MAX);

    /// A checkpoint statement for `round`.
    #[must_use]
    pub fn checkpoint(round: hypostyle_app_api::Round, digest: Digest) -> Self {
        Self { kind: Kind::Checkpoint, pillar: Self::NO_PILLAR, view: View(0), seq: Seq(round.0), digest }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.kind.code());
        out.extend_from_slice(&self.pillar.0.to_le_bytes());
        out.extend_from_slice(&self.view.0.to_le_bytes());
        out.extend_from_slice(&self.seq.0.to_le_bytes());
        out.extend_from_slice(&self.digest.0);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            kind: Kind::from_code(reader.u8()?)?,
            pillar: PillarId(reader.u16()?),
            view: View(reader.u64()?),
            seq: Seq(reader.u64()?),
            digest: Digest(reader.array()?),
        })
    }
}
