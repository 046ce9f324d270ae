//! Nobody is accused who is correct, and every accusation convinces a third party that has the keys alone.

use std::sync::Arc;

use hypostyle::simulation::Member;
use hypostyle_app_api::ReplicaId;
use hypostyle_crypto::Keyring;

use super::{Check, violated};
use crate::sim::service::Service;

/// Who may be accused, and what was looked at.
pub(super) struct Evidence {
    keyring: Arc<Keyring>,
    accusable: Vec<bool>,
    seen: Vec<u64>,
}

impl Evidence {
    pub(super) fn new(replicas: usize, keyring: Arc<Keyring>) -> Self {
        Self { keyring, accusable: vec![false; replicas], seen: vec![0; replicas] }
    }

    /// An adversary; or a replica that has forgotten what it said.
    pub(super) fn may_be_accused(&mut self, replica: ReplicaId) {
        self.accusable[replica.index()] = true;
    }

    pub(super) fn turned(&mut self, replica: ReplicaId, member: &Member<Service>) -> Check {
        let equivocations = member.equivocations();
        let seen = std::mem::replace(&mut self.seen[replica.index()], equivocations);
        if seen == equivocations {
            return Ok(());
        }
        for evidence in member.evidence() {
            let sound = evidence.contradicts_itself()
                && evidence.messages().into_iter().all(|message| self.keyring.verify(message).is_ok());
            if !sound || !self.accusable[evidence.signer().index()] {
                let what = format!(
                    "replica {replica} accuses {} in pillar {} of {evidence}",
                    evidence.signer(),
                    evidence.pillar()
                );
                return violated("no correct replica is accused", what);
            }
        }
        Ok(())
    }
}
