//! The chain: a running hash over what was executed is equal wherever as much was executed.

use hypostyle::order_log::OrderEntry;
use hypostyle_app_api::{Position, ReplicaId};
use hypostyle_pillars::Decided;

use super::{Check, violated};
use crate::sim::trace::{fold, hash};

/// The reference's hashes, and each replica's last.
pub(super) struct Chain {
    reference: Vec<u64>,
    replicas: Vec<u64>,
}

impl Chain {
    pub(super) fn new(replicas: usize) -> Self {
        Self { reference: Vec::new(), replicas: vec![0; replicas] }
    }

    pub(super) fn reference(&mut self, executed: &Decided) {
        let last = self.reference.last().copied().unwrap_or(0);
        self.reference.push(link(last, executed.pillar.0, executed.seq.0, &executed.body.digest().0));
    }

    /// A replica has taken over the state at a position.
    pub(super) fn installed(&mut self, replica: ReplicaId, position: Position) {
        let before = usize::try_from(position.0).expect("few slots").checked_sub(1);
        let chain = before.and_then(|before| self.reference.get(before).copied());
        self.replicas[replica.index()] = chain.unwrap_or(0);
    }

    pub(super) fn executed(&mut self, replica: ReplicaId, entry: &OrderEntry) -> Check {
        let last = &mut self.replicas[replica.index()];
        *last = link(*last, entry.pillar, entry.seq, &entry.digest.0);
        let place = usize::try_from(entry.position).expect("few slots");
        if self.reference.get(place) == Some(last) {
            return Ok(());
        }
        violated("chain", format!("replica {replica} has another chain at position {}", entry.position))
    }
}

fn link(last: u64, pillar: u16, seq: u64, digest: &[u8]) -> u64 {
    [u64::from(pillar), seq, hash(digest)].into_iter().fold(last, fold)
}
