use std::sync::Arc;

use hypostyle_app_api::{Digest, ReplicaId, View};

use crate::message::SealedBundle;

/// The statements of one kind for one slot: at most one a replica, so that nobody is counted twice.
#[derive(Debug)]
pub(crate) struct Votes {
    places: Box<[Option<Vote>]>,
    len: usize,
}

#[derive(Debug)]
pub(crate) struct Vote {
    pub(crate) view: View,
    pub(crate) digest: Digest,
    pub(crate) bundle: Arc<SealedBundle>,
}

/// What became of a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cast {
    Counted,
    Repeated,
    Contradicts,
}

impl Votes {
    pub(crate) fn new(replicas: u16) -> Self {
        Self { places: (0..replicas).map(|_| None).collect(), len: 0 }
    }

    /// How many replicas voted, for whatever.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many replicas there are.
    pub(crate) fn places(&self) -> u16 {
        u16::try_from(self.places.len()).expect("one place a replica")
    }

    pub(crate) fn of(&self, replica: ReplicaId) -> Option<&Vote> {
        self.places.get(replica.index())?.as_ref()
    }

    /// Takes a vote; the first of a view stays, one of a higher view replaces it.
    pub(crate) fn cast(&mut self, replica: ReplicaId, vote: Vote) -> Cast {
        let Some(place) = self.places.get_mut(replica.index()) else {
            return Cast::Repeated;
        };
        match place {
            Some(old) if old.view == vote.view && old.digest != vote.digest => Cast::Contradicts,
            Some(old) if old.view >= vote.view => Cast::Repeated,
            _ => {
                self.len += usize::from(place.is_none());
                *place = Some(vote);
                Cast::Counted
            }
        }
    }

    /// How many replicas voted for `digest` in `view`.
    pub(crate) fn count(&self, view: View, digest: Digest) -> usize {
        self.for_digest(view, digest).count()
    }

    /// The replicas that voted for `digest` in `view`.
    pub(crate) fn for_digest(&self, view: View, digest: Digest) -> impl Iterator<Item = (ReplicaId, &Vote)> {
        self.votes().filter(move |(_, vote)| vote.view == view && vote.digest == digest)
    }

    pub(crate) fn votes(&self) -> impl Iterator<Item = (ReplicaId, &Vote)> {
        (0..).zip(self.places.iter()).filter_map(|(id, vote)| Some((ReplicaId(id), vote.as_ref()?)))
    }
}
