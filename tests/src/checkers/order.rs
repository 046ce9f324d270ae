//! The global order: every correct replica executes what was decided, in the order of positions, without a gap.

use hypostyle::order_log::OrderEntry;
use hypostyle_app_api::{PillarId, Position, ReplicaId, Seq};

use super::agreement::Agreement;
use super::{Check, violated};

/// The position that each replica executes next.
pub(super) struct Order(Vec<Position>);

impl Order {
    pub(super) fn new(replicas: usize) -> Self {
        Self(vec![Position(0); replicas])
    }

    pub(super) fn next(&self, replica: ReplicaId) -> Position {
        self.0[replica.index()]
    }

    /// A replica has taken over a state and goes on from there.
    pub(super) fn installed(&mut self, replica: ReplicaId, position: Position) {
        self.0[replica.index()] = position;
    }

    pub(super) fn executed(&mut self, replica: ReplicaId, entry: &OrderEntry, agreed: &Agreement) -> Check {
        let next = &mut self.0[replica.index()];
        if entry.position != next.0 {
            return violated("order", format!("replica {replica} executes {} after {next}", entry.position));
        }
        next.0 += 1;
        let decided = agreed.of(PillarId(entry.pillar), Seq(entry.seq)).map(|(_, body)| body.digest());
        if decided != Some(entry.digest) {
            let slot = format!("slot {} of pillar {}", entry.seq, entry.pillar);
            let what =
                format!("replica {replica} executes {:?} as {slot}, decided {decided:?}", entry.digest);
            return violated("order", what);
        }
        Ok(())
    }

    /// Nothing was left out at the end.
    pub(super) fn stands_at(&self, replica: ReplicaId, position: Position) -> Check {
        if self.next(replica) == position {
            return Ok(());
        }
        violated("order", format!("replica {replica} stands at {position}, told {}", self.next(replica)))
    }
}
