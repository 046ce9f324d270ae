use std::collections::HashSet;
use std::mem;

use hypostyle_app_api::Digest;

use crate::digest::sha256;
use crate::domain::Domain;
use crate::verified::{Claim, Proof, Signed};

/// Claims in each of the two generations.
const GENERATION: usize = 4096;

/// The claims that were verified lately, by the digest of tag, configuration, signer, content and signature.
/// Failures are never remembered: whoever sends garbage could fill the memory with it.
pub(super) struct Remembered {
    domain: Domain,
    young: HashSet<Digest>,
    old: HashSet<Digest>,
}

/// What is left to do for a message.
pub(super) struct Plan {
    pub(super) todo: Todo,
    /// The keys of those claims of `todo` to be remembered.
    pub(super) keys: Vec<Digest>,
    pub(super) hits: u64,
    /// Claims whose tags don't hold.
    pub(super) doubtful: Vec<usize>,
}

/// The indices of the claims to check.
pub(super) enum Todo {
    All(usize),
    Only(Vec<usize>),
}

impl Remembered {
    pub(super) fn new(domain: Domain) -> Self {
        Self { domain, young: HashSet::new(), old: HashSet::new() }
    }

    /// Finds which claims of `message` still have to be checked. Tags cost no more than finding that out: `tags` checks them
    /// at once, and a verdict on them is never remembered, as it holds for these tags and this moment only.
    pub(super) fn plan(&self, message: &impl Signed, tags: impl Fn(&Claim<'_>) -> bool) -> Plan {
        let todo = Todo::All(message.claims());
        let mut plan = Plan { todo, keys: Vec::new(), hits: 0, doubtful: Vec::new() };
        for index in 0..message.claims() {
            let claim = message.claim(index);
            if let Proof::Tags(_) = claim.proof {
                plan.todo.leave_out(index);
                if !tags(&claim) {
                    plan.doubtful.push(index);
                }
                continue;
            }
            let key = claim.remember.then(|| self.key(&claim));
            if key.is_some_and(|key| self.contains(&key)) {
                plan.hits += 1;
                plan.todo.leave_out(index);
            } else {
                plan.todo.keep(index);
                plan.keys.extend(key);
            }
        }
        plan
    }

    /// Remembers a claim that was verified.
    pub(super) fn insert(&mut self, key: Digest) {
        if self.young.len() == GENERATION {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(key);
    }

    fn contains(&self, key: &Digest) -> bool {
        self.young.contains(key) || self.old.contains(key)
    }

    fn key(&self, claim: &Claim<'_>) -> Digest {
        let (Proof::Signature(proof) | Proof::Tags(proof)) = claim.proof;
        sha256(&[&self.domain.message(claim.tag, claim.signer, &claim.content), proof])
    }
}

impl Todo {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::All(claims) => *claims,
            Self::Only(indices) => indices.len(),
        }
    }

    /// The index of the claim at `position` of this list.
    pub(super) fn index(&self, position: usize) -> usize {
        match self {
            Self::All(_) => position,
            Self::Only(indices) => indices[position],
        }
    }

    /// Called for each index in order, this or [`Todo::keep`].
    fn leave_out(&mut self, index: usize) {
        if let Self::All(_) = self {
            *self = Self::Only((0..index).collect());
        }
    }

    fn keep(&mut self, index: usize) {
        if let Self::Only(indices) = self {
            indices.push(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_the_oldest_and_stays_bounded() {
        let mut remembered = Remembered::new(Domain { configuration: Digest::ZERO });
        let keys: Vec<Digest> = (0..3 * GENERATION as u64).map(|i| sha256(&[&i.to_le_bytes()])).collect();
        for (index, key) in keys.iter().enumerate() {
            remembered.insert(*key);
            assert!(remembered.contains(&keys[index.saturating_sub(GENERATION - 1)]));
            assert!(remembered.young.len() + remembered.old.len() <= 2 * GENERATION);
        }
        assert!(!remembered.contains(&keys[0]));
    }
}
