use bytes::Bytes;
use hypostyle_app_api::ReplicaId;

use super::outcome::Outcome;

/// A set of replicas, at most [`ReplicaSet::MAX`] of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ReplicaSet(u128);

impl ReplicaSet {
    pub(super) const MAX: usize = 128;

    pub(super) fn contains(self, replica: ReplicaId) -> bool {
        self.0 & bit(replica) != 0
    }

    pub(super) fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    fn insert(&mut self, replica: ReplicaId) {
        self.0 |= bit(replica);
    }

    fn remove(&mut self, replica: ReplicaId) {
        self.0 &= !bit(replica);
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }
}

fn bit(replica: ReplicaId) -> u128 {
    1u128.checked_shl(u32::from(replica.0)).unwrap_or(0)
}

/// An outcome, the replicas that told it, and the whole result once somebody sent it.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) outcome: Outcome,
    pub(super) voters: ReplicaSet,
    pub(super) whole: Option<Bytes>,
}

/// The votes on one operation: one a replica, its latest. So f liars never bring f+1 votes together, however many
/// different replies they send, and there are never more candidates than replicas.
#[derive(Debug, Default)]
pub(super) struct Tally {
    // The first candidate lies inline: without liars there is no other, and nothing is allocated.
    first: Option<Candidate>,
    others: Vec<Candidate>,
}

impl Tally {
    /// Whether a vote would change anything: a new vote, a changed one, or a whole result not held yet.
    pub(super) fn is_news(&self, replica: ReplicaId, outcome: &Outcome, whole: bool) -> bool {
        match self.candidates().find(|candidate| candidate.outcome == *outcome) {
            Some(candidate) => !candidate.voters.contains(replica) || (whole && candidate.whole.is_none()),
            None => true,
        }
    }

    /// Counts a vote in place of the replica's former one and returns the candidate it went to.
    pub(super) fn vote(&mut self, replica: ReplicaId, outcome: Outcome, whole: Option<Bytes>) -> &Candidate {
        self.withdraw(replica, &outcome);
        let candidate = self.entry(outcome);
        candidate.voters.insert(replica);
        if candidate.whole.is_none() {
            candidate.whole = whole;
        }
        candidate
    }

    /// The candidate that at least `votes` replicas told.
    pub(super) fn agreed(&self, votes: usize) -> Option<&Candidate> {
        self.candidates().find(|candidate| candidate.voters.len() >= votes)
    }

    fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.first.iter().chain(&self.others)
    }

    fn withdraw(&mut self, replica: ReplicaId, unless: &Outcome) {
        let voted = |candidate: &mut Candidate| {
            if candidate.outcome != *unless {
                candidate.voters.remove(replica);
            }
            !candidate.voters.is_empty() || candidate.outcome == *unless
        };
        if self.first.as_mut().is_some_and(|first| !voted(first)) {
            self.first = None;
        }
        self.others.retain_mut(voted);
    }

    fn entry(&mut self, outcome: Outcome) -> &mut Candidate {
        let new = || Candidate { outcome, voters: ReplicaSet::default(), whole: None };
        if let Some(index) = self.others.iter().position(|candidate| candidate.outcome == outcome) {
            return &mut self.others[index];
        }
        if self.first.as_ref().is_none_or(|first| first.outcome == outcome) {
            return self.first.get_or_insert_with(new);
        }
        self.others.push(new());
        self.others.last_mut().expect("just pushed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn outcome(value: u8) -> Outcome {
        Outcome { request: [0; 16], error: false, len: 1, value: [value; 32] }
    }

    #[test]
    fn one_replica_counts_once_whatever_it_sends() {
        let mut tally = Tally::default();
        for value in [1, 1, 2, 3, 1] {
            assert_eq!(tally.vote(ReplicaId(0), outcome(value), None).voters.len(), 1);
        }
        assert_eq!(tally.candidates().count(), 1);
        assert_eq!(tally.vote(ReplicaId(1), outcome(1), None).voters.len(), 2);
    }

    #[test]
    fn a_repeated_vote_is_no_news_but_its_whole_result_is() {
        let mut tally = Tally::default();
        tally.vote(ReplicaId(2), outcome(1), None);
        assert!(!tally.is_news(ReplicaId(2), &outcome(1), false));
        assert!(tally.is_news(ReplicaId(2), &outcome(1), true));
        assert!(tally.is_news(ReplicaId(2), &outcome(2), false));
        assert!(tally.is_news(ReplicaId(1), &outcome(1), false));
        tally.vote(ReplicaId(2), outcome(1), Some(Bytes::from_static(b"whole")));
        assert!(!tally.is_news(ReplicaId(2), &outcome(1), true));
    }

    #[test]
    fn replicas_beyond_the_set_are_never_members() {
        let mut set = ReplicaSet::default();
        set.insert(ReplicaId(127));
        set.insert(ReplicaId(128));
        assert_eq!((set.len(), set.contains(ReplicaId(128))), (1, false));
    }

    proptest! {
        /// Against the plain model: a map from replica to its latest vote.
        #[test]
        fn counts_the_latest_vote_of_each_replica(votes in prop::collection::vec((0u16..7, 0u8..5), 0..60)) {
            let mut tally = Tally::default();
            let mut model = std::collections::BTreeMap::new();
            for (replica, value) in votes {
                model.insert(replica, value);
                let expected = model.values().filter(|v| **v == value).count();
                prop_assert_eq!(tally.vote(ReplicaId(replica), outcome(value), None).voters.len(), expected);
                prop_assert!(tally.candidates().count() <= model.len());
                for votes in 1..8 {
                    let most = (0..5u8).map(|v| model.values().filter(|m| **m == v).count()).max();
                    prop_assert_eq!(tally.agreed(votes).is_some(), most >= Some(votes));
                }
            }
        }
    }
}
