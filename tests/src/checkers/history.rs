//! Every statement that ever left a replica: what certificates are derived from, whatever replicas believe.

use hypostyle_app_api::{Digest, PillarId, ReplicaId, Seq, View};
use hypostyle_pillars::message::{Kind, Statement};

/// Who said what of a slot in a view, one bit a replica.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) view: View,
    pub(super) digest: Digest,
    pub(super) proposes: u32,
    pub(super) prepares: u32,
    pub(super) commits: u32,
}

impl Said {
    pub(super) fn by_kind(&self, kind: Kind) -> u32 {
        match kind {
            Kind::Propose => self.proposes,
            Kind::Prepare => self.prepares,
            Kind::Commit => self.commits,
            Kind::Checkpoint => 0,
        }
    }
}

/// By pillar and slot.
pub(super) struct History(Vec<Vec<Vec<Said>>>);

/// Slots beyond those known that are kept: an adversary may speak of any.
const AHEAD_MAX: usize = 4096;

impl History {
    pub(super) fn new(pillars: usize) -> Self {
        Self(vec![Vec::new(); pillars])
    }

    pub(super) fn add(&mut self, signer: ReplicaId, statement: &Statement) {
        let Some(slots) = self.0.get_mut(statement.pillar.index()) else { return };
        let index = usize::try_from(statement.seq.0).unwrap_or(usize::MAX);
        if index > slots.len() + AHEAD_MAX {
            return;
        }
        if slots.len() <= index {
            slots.resize(index + 1, Vec::new());
        }
        let (view, digest) = (statement.view, statement.digest);
        let slot = &mut slots[index];
        let place = slot.iter().position(|said| (said.view, said.digest) == (view, digest));
        let place = place.unwrap_or_else(|| {
            slot.push(Said { view, digest, proposes: 0, prepares: 0, commits: 0 });
            slot.len() - 1
        });
        let said = &mut slot[place];
        let voters = match statement.kind {
            Kind::Propose => &mut said.proposes,
            Kind::Prepare => &mut said.prepares,
            Kind::Commit => &mut said.commits,
            Kind::Checkpoint => return,
        };
        *voters |= bit(signer);
    }

    /// All that was said of a slot.
    pub(super) fn of(&self, pillar: PillarId, seq: Seq) -> &[Said] {
        let index = usize::try_from(seq.0).unwrap_or(usize::MAX);
        self.0.get(pillar.index()).and_then(|slots| slots.get(index)).map_or(&[], Vec::as_slice)
    }

    /// The highest slot of any pillar that a replica has spoken of.
    pub(super) fn last_of(&self, replica: ReplicaId) -> Seq {
        let by = |said: &Said| (said.proposes | said.prepares | said.commits) & bit(replica) != 0;
        let last = self.0.iter().filter_map(|slots| slots.iter().rposition(|slot| slot.iter().any(by)));
        Seq(last.max().unwrap_or(0) as u64)
    }

    /// What was said of a slot in a view for a digest.
    pub(super) fn about(&self, pillar: PillarId, seq: Seq, view: View, digest: Digest) -> Option<&Said> {
        self.of(pillar, seq).iter().find(|said| (said.view, said.digest) == (view, digest))
    }
}

pub(super) fn bit(replica: ReplicaId) -> u32 {
    1 << replica.0
}
