use std::sync::Arc;

use hypostyle_app_api::{Digest, ReplicaId, View};
use hypostyle_probe::{Bug, bug};

use crate::message::SealedBundle;

/// The statements of one kind for one slot: at most one a replica and view, so that nobody is counted twice.
#[derive(Clone, Debug)]
pub(crate) struct Votes {
    places: Box<[Place]>,
    len: usize,
}

/// Of each replica its vote of the highest view, and the one that came last of a lower view or against the first: a
/// certificate must count though some of its voters have gone on, and though a faulty one has told others otherwise.
#[derive(Clone, Debug, Default)]
struct Place {
    newest: Option<Vote>,
    older: Option<Box<Vote>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Vote {
    pub(crate) view: View,
    pub(crate) digest: Digest,
    pub(crate) bundle: Arc<SealedBundle>,
}

/// What became of a vote.
#[derive(Clone, Debug)]
pub(crate) enum Cast {
    Counted,
    Repeated,
    /// With what its signer said before, unless a NEW-VIEW says it in its place.
    Contradicts(Option<Arc<SealedBundle>>),
}

impl Votes {
    pub(crate) fn new(replicas: u16) -> Self {
        Self { places: (0..replicas).map(|_| Place::default()).collect(), len: 0 }
    }

    /// How many replicas voted, for whatever.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many replicas there are.
    pub(crate) fn places(&self) -> u16 {
        u16::try_from(self.places.len()).expect("one place a replica")
    }

    /// The vote of the highest view.
    pub(crate) fn of(&self, replica: ReplicaId) -> Option<&Vote> {
        self.places.get(replica.index())?.newest.as_ref()
    }

    pub(crate) fn holds(&self, replica: ReplicaId, view: View, digest: Digest) -> bool {
        let place = self.places.get(replica.index());
        let place = place.filter(|_| !bug!(Bug::VoteCountedTwice));
        place.is_some_and(|place| place.votes().any(|vote| (vote.view, vote.digest) == (view, digest)))
    }

    /// Takes a vote; the first of a view stays.
    pub(crate) fn cast(&mut self, replica: ReplicaId, vote: Vote) -> Cast {
        let Some(place) = self.places.get_mut(replica.index()) else {
            return Cast::Repeated;
        };
        if bug!(Bug::VoteCountedTwice) && place.newest.is_some() && place.older.is_none() {
            place.older = Some(Box::new(vote));
            return Cast::Counted;
        }
        if place.votes().any(|old| (old.view, old.digest) == (vote.view, vote.digest)) {
            return Cast::Repeated;
        }
        let first = place.votes().find(|old| old.view == vote.view).map(|old| Arc::clone(&old.bundle));
        if first.is_some() {
            // Others may have counted this one: kept too, or the first would shut out their certificate.
            place.older = Some(Box::new(vote));
            return Cast::Contradicts(first);
        }
        if place.newest.as_ref().is_some_and(|newest| newest.view > vote.view) {
            place.older = Some(Box::new(vote));
        } else {
            self.len += usize::from(place.newest.is_none());
            place.older = place.newest.replace(vote).map(Box::new);
        }
        Cast::Counted
    }

    /// How many replicas voted for `digest` in `view`.
    pub(crate) fn count(&self, view: View, digest: Digest) -> usize {
        self.for_digest(view, digest).count()
    }

    /// The votes for `digest` in `view`, one a replica.
    pub(crate) fn for_digest(&self, view: View, digest: Digest) -> impl Iterator<Item = &Vote> {
        self.votes().filter(move |vote| vote.view == view && vote.digest == digest)
    }

    /// Forgets the votes that `keep` doesn't want.
    pub(crate) fn retain(&mut self, keep: impl Fn(ReplicaId, &Vote) -> bool) {
        for (place, id) in self.places.iter_mut().zip(0..) {
            place.newest.take_if(|vote| !keep(ReplicaId(id), vote));
            place.older.take_if(|vote| !keep(ReplicaId(id), vote));
            if place.newest.is_none() {
                place.newest = place.older.take().map(|vote| *vote);
            }
        }
        self.len = self.places.iter().filter(|place| place.newest.is_some()).count();
    }

    pub(crate) fn votes(&self) -> impl Iterator<Item = &Vote> {
        self.places.iter().flat_map(Place::votes)
    }
}

impl Place {
    fn votes(&self) -> impl Iterator<Item = &Vote> {
        self.newest.iter().chain(self.older.as_deref())
    }
}
