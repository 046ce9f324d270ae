//! Exactly once: no operation is executed twice, and every correct replica executes the same ones in the same order,
//! with the same results.

use std::collections::BTreeSet;

use hypostyle_app_api::{ClientId, Number, ReplicaId};

use super::replies::Replies;
use super::{Check, violated};
use crate::sim::service::{Executed, Service};

/// What was executed, and how far each replica was compared.
pub(super) struct Once {
    seen: BTreeSet<(ClientId, Number)>,
    compared: Vec<u64>,
    /// How many states each replica has taken over.
    restored: Vec<u64>,
}

impl Once {
    pub(super) fn new(replicas: usize) -> Self {
        Self { seen: BTreeSet::new(), compared: vec![0; replicas], restored: vec![0; replicas] }
    }

    /// The reference has gone on.
    pub(super) fn reference(&mut self, journal: &[Executed], replies: &mut Replies) -> Check {
        for (index, executed) in journal.iter().enumerate().skip(self.seen.len()) {
            if !self.seen.insert((executed.client, executed.number)) {
                let what =
                    format!("operation {} of client {} is executed again", executed.number, executed.client);
                return violated("exactly once", what);
            }
            replies.executed(index as u64, executed);
        }
        Ok(())
    }

    /// Whether a replica has taken over a state since it was last asked.
    pub(super) fn installed(&mut self, replica: ReplicaId, service: &Service) -> bool {
        let restored = std::mem::replace(&mut self.restored[replica.index()], service.restored());
        restored != service.restored()
    }

    /// A replica has started again: what it executes is compared anew.
    pub(super) fn restarted(&mut self, replica: ReplicaId) {
        (self.compared[replica.index()], self.restored[replica.index()]) = (0, 0);
    }

    /// What a replica has executed so far isn't looked at: its state was wrong.
    pub(super) fn skipped(&mut self, replica: ReplicaId, service: &Service) {
        self.installed(replica, service);
        self.compared[replica.index()] = service.first() + service.journal().len() as u64;
    }

    /// A correct replica has gone on.
    pub(super) fn executed(
        &mut self,
        replica: ReplicaId,
        service: &Service,
        reference: &[Executed],
    ) -> Check {
        let compared = &mut self.compared[replica.index()];
        let from = (*compared).max(service.first());
        let place = |number: u64| usize::try_from(number).expect("few operations");
        let own = &service.journal()[place(from - service.first())..];
        let theirs = reference.get(place(from)..place(from) + own.len());
        if theirs != Some(own) {
            let what = format!("replica {replica} executes {own:?} from {from} on, not {theirs:?}");
            return violated("execution", what);
        }
        *compared = from + own.len() as u64;
        Ok(())
    }
}
