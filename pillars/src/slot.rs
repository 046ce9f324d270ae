use std::sync::Arc;

use hypostyle_app_api::{Digest, PillarId, ReplicaId, Seq, View};

use crate::message::{Body, SealedBundle};
use crate::outbox::Decided;
use crate::votes::Votes;

/// One sequence number of a pillar (OSDI'99, section 4.2): Empty → Proposed → Prepared → Committed.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) stage: Stage,
    /// The current primary's proposal, accepted or held back.
    pub(crate) proposal: Option<Proposal>,
    /// The body that `proposal`, or else a commit certificate, names.
    pub(crate) body: Option<Arc<Body>>,
    pub(crate) prepares: Votes,
    pub(crate) commits: Votes,
    /// Filled on reaching [`Stage::Committed`].
    pub(crate) certificate: Option<Certificate>,
}

/// How far a slot has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Nothing is accepted.
    Empty,
    /// The proposal and its body are accepted; a backup has said Prepare.
    Proposed,
    /// There is a prepared certificate; this replica has said Commit.
    Prepared,
    /// There are a commit certificate and the body: decided.
    Committed,
}

#[derive(Debug)]
pub(crate) struct Proposal {
    pub(crate) view: View,
    pub(crate) digest: Digest,
    /// `None` while the own proposal is being signed.
    pub(crate) bundle: Option<Arc<SealedBundle>>,
}

/// Commits of 2f+1 replicas for the same view and digest.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) view: View,
    pub(crate) digest: Digest,
    pub(crate) bundles: Arc<[Arc<SealedBundle>]>,
}

impl Slot {
    pub(crate) fn new(replicas: u16) -> Self {
        Self {
            stage: Stage::Empty,
            proposal: None,
            body: None,
            prepares: Votes::new(replicas),
            commits: Votes::new(replicas),
            certificate: None,
        }
    }

    pub(crate) fn is_decided(&self) -> bool {
        self.stage == Stage::Committed
    }

    /// The decision, once there is one.
    pub(crate) fn decided(&self, pillar: PillarId, seq: Seq) -> Option<Decided> {
        let certificate = self.certificate.as_ref()?;
        Some(Decided {
            pillar,
            seq,
            view: certificate.view,
            body: Arc::clone(self.body.as_ref()?),
            certificate: Arc::clone(&certificate.bundles),
        })
    }

    /// Whether Propose and 2f Prepares of others than the primary are there (`prepares` never holds the primary's:
    /// the decoder refuses it).
    pub(crate) fn has_prepared_certificate(&self, quorum: usize) -> bool {
        self.proposal
            .as_ref()
            .is_some_and(|p| p.bundle.is_some() && 1 + self.prepares.count(p.view, p.digest) >= quorum)
    }

    /// The commit certificate, if 2f+1 Commits agree.
    pub(crate) fn commit_certificate(&self, quorum: usize) -> Option<Certificate> {
        if self.commits.len() < quorum {
            return None;
        }
        let (_, vote) = self.commits.votes().find(|(_, v)| self.commits.count(v.view, v.digest) >= quorum)?;
        let agreeing = self.commits.for_digest(vote.view, vote.digest);
        Some(Certificate {
            view: vote.view,
            digest: vote.digest,
            bundles: agreeing.take(quorum).map(|(_, v)| Arc::clone(&v.bundle)).collect(),
        })
    }

    /// The digest this slot needs a body for: a certified one before a proposed one.
    pub(crate) fn needs_body(&self, quorum: usize) -> Option<Digest> {
        if self.is_decided() {
            return None;
        }
        let digest = match self.commit_certificate(quorum) {
            Some(certificate) => certificate.digest,
            None => self.proposal.as_ref()?.digest,
        };
        let held = self.body.as_ref().is_some_and(|body| body.digest() == digest);
        (!held).then_some(digest)
    }

    /// Whether only the body is missing to decide this slot.
    pub(crate) fn lacks_certified_body(&self, quorum: usize) -> bool {
        !self.is_decided() && self.commits.len() >= quorum && self.commit_certificate(quorum).is_some()
    }

    /// How many replicas speak for `digest` in `view`, by whatever kind.
    pub(crate) fn backers(&self, view: View, primary: ReplicaId, digest: Digest) -> usize {
        let sealed = self.proposal.as_ref().filter(|p| p.bundle.is_some());
        let proposed = sealed.is_some_and(|p| (p.view, p.digest) == (view, digest));
        let speaks = |replica: &ReplicaId| {
            let votes = [self.prepares.of(*replica), self.commits.of(*replica)];
            votes.iter().flatten().any(|vote| (vote.view, vote.digest) == (view, digest))
                || (proposed && *replica == primary)
        };
        self.replicas().filter(speaks).count()
    }

    fn replicas(&self) -> impl Iterator<Item = ReplicaId> + use<> {
        (0..self.prepares.places()).map(ReplicaId)
    }
}
