//! Checkpoints: what a correct replica states, and what becomes stable, is the state of the reference at that round; a
//! stable round never falls.

use std::collections::BTreeMap;

use hypostyle_app_api::{Digest, ReplicaId, Round};
use hypostyle_pillars::message::Statement;

use super::reference::Reference;
use super::{Check, violated};

/// The stable round of each replica.
#[derive(Default)]
pub(super) struct Checkpoints(BTreeMap<ReplicaId, Round>);

impl Checkpoints {
    pub(super) fn stated(&self, signer: ReplicaId, own: &Statement, reference: &mut Reference) -> Check {
        compare(&format!("replica {signer} states"), Round(own.seq.0), own.digest, reference)
    }

    /// The highest stable round anywhere.
    pub(super) fn highest(&self) -> Round {
        self.0.values().copied().max().unwrap_or_default()
    }

    /// A replica has started again.
    pub(super) fn restarted(&mut self, replica: ReplicaId) {
        self.0.remove(&replica);
    }

    pub(super) fn stable(
        &mut self,
        replica: ReplicaId,
        (round, digest): (Round, Digest),
        reference: &mut Reference,
    ) -> Check {
        let last = self.0.entry(replica).or_default();
        if round == *last {
            return Ok(());
        }
        if round < *last {
            return violated("checkpoints", format!("replica {replica} falls back from {last} to {round}"));
        }
        *last = round;
        compare(&format!("replica {replica} holds stable"), round, digest, reference)
    }
}

fn compare(who: &str, round: Round, digest: Digest, reference: &mut Reference) -> Check {
    let right = reference.digest_at(round);
    if right == Some(digest) {
        return Ok(());
    }
    violated("checkpoints", format!("{who} {digest:?} after round {round}; the reference has {right:?}"))
}
