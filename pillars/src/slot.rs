use std::fmt;
use std::sync::Arc;

use hypostyle_app_api::{Digest, PillarId, ReplicaId, Seq, View};
use hypostyle_probe::{Bug, bug};

use crate::message::{Body, SealedBundle};
use crate::outbox::Decided;
use crate::votes::{Cast, Votes};

/// One sequence number of a pillar (OSDI'99, section 4.2). In each view: Empty → Proposed → Prepared; once decided it
/// stays so.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// In the view of `proposal`.
    pub(crate) stage: Stage,
    /// The current primary's proposal, accepted or held back.
    pub(crate) proposal: Option<Proposal>,
    /// The body that `proposal`, or else a commit certificate, names.
    pub(crate) body: Option<Arc<Body>>,
    /// Bodies of earlier views: what this replica has prepared once may be chosen again by any later view.
    pub(crate) former: Vec<Arc<Body>>,
    pub(crate) prepares: Votes,
    pub(crate) commits: Votes,
    /// The prepared certificate of the highest view that has ended here.
    pub(crate) prepared: Option<Certificate>,
    /// The commit certificate; there is one only with its body.
    pub(crate) certificate: Option<Certificate>,
}

/// How far a slot has come in a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Nothing is accepted.
    Empty,
    /// The proposal and its body are accepted; a backup has said Prepare.
    Proposed,
    /// There is a prepared certificate; this replica has said Commit.
    Prepared,
}

#[derive(Clone, Debug)]
pub(crate) struct Proposal {
    pub(crate) view: View,
    pub(crate) digest: Digest,
    /// `None` while the own proposal is being signed, or when a NEW-VIEW implies it and it hasn't come yet.
    pub(crate) bundle: Option<Arc<SealedBundle>>,
}

/// Statements of 2f+1 replicas for the same view and digest: Commits, or a Propose and Prepares.
#[derive(Clone)]
pub(crate) struct Certificate {
    pub(crate) view: View,
    pub(crate) digest: Digest,
    pub(crate) bundles: Arc<[Arc<SealedBundle>]>,
}

/// What it certifies: which statements do so makes no difference to anything.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "certificate of {} {:?}", self.view, self.digest)
    }
}

impl Slot {
    pub(crate) fn new(replicas: u16) -> Self {
        Self {
            stage: Stage::Empty,
            proposal: None,
            body: None,
            former: Vec::new(),
            prepares: Votes::new(replicas),
            commits: Votes::new(replicas),
            prepared: None,
            certificate: None,
        }
    }

    pub(crate) fn is_decided(&self) -> bool {
        self.certificate.is_some()
    }

    /// Begins a view in which `chosen` is proposed here, or nothing. What other views left is put aside. Returns the bodies
    /// whose requests may be lost by that.
    pub(crate) fn enter(&mut self, view: View, chosen: Option<Digest>) -> Vec<Arc<Body>> {
        let early = self.proposal.take().filter(|p| p.view == view);
        self.proposal = match chosen {
            Some(digest) => {
                let bundle = early.filter(|p| p.digest == digest).and_then(|p| p.bundle);
                Some(Proposal { view, digest, bundle })
            }
            None => early,
        };
        if self.is_decided() {
            self.stage = Stage::Empty;
            return std::mem::take(&mut self.former);
        }
        let proposed = self.proposal.as_ref().map(|p| p.digest);
        let stays = |body: &Arc<Body>| Some(body.digest()) == proposed;
        let given_up = self.body.take_if(|body| !stays(body));
        given_up.iter().for_each(|body| self.put_aside(body));
        self.stage = Stage::Empty;
        let former = self.former.iter().filter(|body| !stays(body)).map(Arc::clone);
        given_up.into_iter().chain(former).collect()
    }

    /// Puts in the body that is needed now. Returns the one that this replica has accepted in its place.
    pub(crate) fn place(&mut self, body: Arc<Body>) -> Option<Arc<Body>> {
        let digest = body.digest();
        let other = self.body.replace(body).filter(|other| other.digest() != digest)?;
        let accepted = self.stage >= Stage::Proposed;
        self.put_aside(&other);
        accepted.then_some(other)
    }

    /// Another body takes this one's place: if this replica has said Prepare for it, it may be chosen again. What it hasn't
    /// accepted isn't kept, else every view could leave a window of bodies.
    fn put_aside(&mut self, body: &Arc<Body>) {
        if self.stage >= Stage::Proposed {
            self.keep(body);
        }
        self.stage = Stage::Empty;
    }

    /// Keeps a body that may be chosen again.
    pub(crate) fn keep(&mut self, body: &Arc<Body>) {
        if !body.is_empty() && !self.former.iter().any(|held| held.digest() == body.digest()) {
            self.former.push(Arc::clone(body));
        }
    }

    /// Takes the proposal of a view's primary; the first of a view stays.
    pub(crate) fn propose(&mut self, view: View, digest: Digest, bundle: &Arc<SealedBundle>) -> Cast {
        match &mut self.proposal {
            Some(held) if held.view > view => return Cast::Repeated,
            Some(held) if held.view == view && held.digest != digest => {
                return Cast::Contradicts(held.bundle.clone());
            }
            Some(held) if held.view == view && held.bundle.is_some() => return Cast::Repeated,
            Some(held) if held.view == view => held.bundle = Some(Arc::clone(bundle)),
            _ => self.proposal = Some(Proposal { view, digest, bundle: Some(Arc::clone(bundle)) }),
        }
        Cast::Counted
    }

    /// A body that is kept here, under whatever view.
    pub(crate) fn held(&self, digest: Digest) -> Option<&Arc<Body>> {
        self.body.iter().chain(&self.former).find(|body| body.digest() == digest)
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

    /// What is prepared: there are a Propose and 2f Prepares of others than the primary (`prepares` never holds the
    /// primary's: the decoder refuses it).
    pub(crate) fn prepared_digest(&self, quorum: usize) -> Option<Digest> {
        let proposal = self.proposal.as_ref().filter(|p| p.bundle.is_some())?;
        let primary = 1 + usize::from(bug!(Bug::PrimaryCountsAsPreparer));
        let count = primary + self.prepares.count(proposal.view, proposal.digest);
        (count >= quorum).then_some(proposal.digest)
    }

    /// Before the view ends: the certificate of what is prepared in it is kept.
    pub(crate) fn keep_prepared(&mut self, quorum: usize) {
        if self.stage < Stage::Prepared || self.prepared_digest(quorum).is_none() {
            return;
        }
        let Some(Proposal { view, digest, bundle: Some(propose) }) = &self.proposal else { return };
        let prepares = self.prepares.for_digest(*view, *digest).map(|vote| &vote.bundle);
        let bundles = std::iter::once(propose).chain(prepares).take(quorum).map(Arc::clone).collect();
        self.prepared = Some(Certificate { view: *view, digest: *digest, bundles });
    }

    /// The commit certificate, if 2f+1 Commits agree.
    pub(crate) fn commit_certificate(&self, quorum: usize) -> Option<Certificate> {
        let quorum = quorum - usize::from(bug!(Bug::CommitQuorumShort));
        if self.commits.len() < quorum {
            return None;
        }
        let vote = self.commits.votes().find(|v| self.commits.count(v.view, v.digest) >= quorum)?;
        let agreeing = self.commits.for_digest(vote.view, vote.digest);
        Some(Certificate {
            view: vote.view,
            digest: vote.digest,
            bundles: agreeing.take(quorum).map(|v| Arc::clone(&v.bundle)).collect(),
        })
    }

    /// The digest whose body this slot works with: a certified one before a proposed one.
    pub(crate) fn named(&self, quorum: usize) -> Option<Digest> {
        if self.is_decided() {
            return None;
        }
        match self.commit_certificate(quorum) {
            Some(certificate) => Some(certificate.digest),
            None => self.proposal.as_ref().map(|proposal| proposal.digest),
        }
    }

    /// The digest this slot needs a body for and has none.
    pub(crate) fn needs_body(&self, quorum: usize) -> Option<Digest> {
        self.named(quorum).filter(|digest| self.held(*digest).is_none())
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
            [&self.prepares, &self.commits].iter().any(|votes| votes.holds(*replica, view, digest))
                || (proposed && *replica == primary)
        };
        self.replicas().filter(speaks).count()
    }

    fn replicas(&self) -> impl Iterator<Item = ReplicaId> + use<> {
        (0..self.prepares.places()).map(ReplicaId)
    }
}
