use hypostyle_app_api::{Application, ReplicaId, Round, Timestamp};
use hypostyle_pillars::Decided;
use hypostyle_pillars::message::{Nonce, RECOVER_SPACING, Reader, Recover};
use hypostyle_probe::mark;

use super::{Executor, ExecutorOutbox, Output};

/// How often each replica has lost its log and recovered: part of the replicated state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incarnations {
    records: Box<[Incarnation]>,
}

/// A replica's latest recovery; all zero before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Incarnation {
    /// How many there were.
    pub incarnation: u64,
    /// In which round it was executed.
    pub round: Round,
    /// Of the start that asked.
    pub nonce: Nonce,
    /// The agreed time of its execution.
    pub timestamp: Timestamp,
}

const RECORD_BYTES: usize = 8 + 8 + 16 + 8;

impl Incarnation {
    /// The checkpoint from which on the replica may vote again: whatever it said before lies below.
    #[must_use]
    pub fn votes_from(&self, interval: u64, window: u64) -> Round {
        let above = self.round.0.saturating_add(window);
        Round(above.checked_next_multiple_of(interval).unwrap_or(u64::MAX))
    }
}

impl Incarnations {
    /// Nobody has recovered.
    #[must_use]
    pub fn new(replicas: u16) -> Self {
        Self { records: vec![Incarnation::default(); usize::from(replicas)].into() }
    }

    /// Executes a Recover: it takes effect as the successor of the replica's latest alone, and not too soon after it.
    /// Returns whether it did.
    pub fn recover(&mut self, recover: &Recover, round: Round, timestamp: Timestamp) -> bool {
        let Some(record) = self.records.get_mut(recover.replica().index()) else { return false };
        let is_next = record.incarnation.checked_add(1) == Some(recover.incarnation());
        let is_spaced = record.incarnation == 0 || timestamp >= record.timestamp + RECOVER_SPACING;
        if is_next && is_spaced {
            let (incarnation, nonce) = (recover.incarnation(), recover.nonce());
            *record = Incarnation { incarnation, round, nonce, timestamp };
        }
        is_next && is_spaced
    }

    /// A replica's latest recovery.
    ///
    /// # Panics
    /// When there is no such replica.
    #[must_use]
    pub fn of(&self, replica: ReplicaId) -> &Incarnation {
        &self.records[replica.index()]
    }

    /// The replicas that have ever recovered.
    pub fn recovered(&self) -> impl Iterator<Item = (ReplicaId, &Incarnation)> {
        (0..).map(ReplicaId).zip(&self.records).filter(|(_, record)| record.incarnation > 0)
    }

    /// Appends the table: for each replica incarnation u64 ‖ round u64 ‖ nonce 16 ‖ timestamp u64. What is hashed and what
    /// a snapshot holds.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for record in &self.records {
            out.extend_from_slice(&record.incarnation.to_le_bytes());
            out.extend_from_slice(&record.round.0.to_le_bytes());
            out.extend_from_slice(&record.nonce.0);
            out.extend_from_slice(&record.timestamp.0.to_le_bytes());
        }
    }

    /// Bytes of the encoding.
    #[must_use]
    pub fn encoded_len(replicas: u16) -> usize {
        RECORD_BYTES * usize::from(replicas)
    }

    /// Reads the table of `replicas` off the front of `reader`; `None` when it is cut short.
    #[must_use]
    pub fn decode(reader: &mut Reader<'_>, replicas: u16) -> Option<Self> {
        let records = (0..replicas).map(|_| read(reader)).collect::<Option<_>>()?;
        Some(Self { records })
    }
}

impl<A: Application> Executor<A> {
    /// The replicas' recoveries.
    #[must_use]
    pub fn incarnations(&self) -> &Incarnations {
        &self.incarnations
    }

    /// Executes the Recovers of a slot; returns whether one took effect.
    pub(super) fn recover(&mut self, slot: &Decided, out: &mut ExecutorOutbox) -> bool {
        let mut effective = false;
        for recover in slot.body.recovers() {
            if self.incarnations.recover(recover, Round(slot.seq.0), self.timestamp) {
                effective = true;
                self.counters.recoveries += 1;
                out.outputs.push(self.recovered(recover.replica()));
            } else {
                mark!("a Recover without effect");
            }
        }
        effective
    }

    /// Takes over the recoveries of a state that was transferred, and tells of them as if they had been executed here.
    pub(super) fn set_incarnations(&mut self, incarnations: Incarnations, out: &mut ExecutorOutbox) {
        self.incarnations = incarnations;
        let told = self.incarnations.recovered().map(|(replica, _)| self.recovered(replica));
        out.outputs.extend(told);
    }

    fn recovered(&self, replica: ReplicaId) -> Output {
        let record = *self.incarnations.of(replica);
        let until = record.votes_from(self.settings.checkpoint_interval, self.settings.window);
        Output::Recovered { replica, record, until }
    }
}

fn read(reader: &mut Reader<'_>) -> Option<Incarnation> {
    Some(Incarnation {
        incarnation: reader.u64()?,
        round: Round(reader.u64()?),
        nonce: Nonce(reader.array()?),
        timestamp: Timestamp(reader.u64()?),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn recover(replica: u16, incarnation: u64, nonce: u8) -> Recover {
        Recover::new(ReplicaId(replica), incarnation, Nonce([nonce; 16]), b"any")
    }

    const T0: Timestamp = Timestamp(1_000_000_000);

    #[test]
    fn only_the_successor_takes_effect() {
        let mut table = Incarnations::new(4);
        let later = |table: &Incarnations| table.of(ReplicaId(1)).timestamp + RECOVER_SPACING;
        assert!(!table.recover(&recover(1, 2, 1), Round(3), T0), "it skips one");
        assert!(table.recover(&recover(1, 1, 1), Round(3), T0));
        let at = later(&table);
        assert!(!table.recover(&recover(1, 1, 2), Round(4), at), "another start's, too late");
        assert!(!table.recover(&recover(1, 3, 2), Round(4), at));
        assert!(table.recover(&recover(1, 2, 2), Round(4), at));
        let expected = Incarnation { incarnation: 2, round: Round(4), nonce: Nonce([2; 16]), timestamp: at };
        assert_eq!(table.recovered().collect::<Vec<_>>(), [(ReplicaId(1), &expected)]);
        assert!(!table.recover(&recover(1, u64::MAX, 2), Round(5), at));
        assert!(!table.recover(&recover(4, 1, 2), Round(5), at), "no such replica");
    }

    #[test]
    fn recoveries_of_one_replica_are_spaced_by_agreed_time() {
        let mut table = Incarnations::new(4);
        assert!(table.recover(&recover(2, 1, 1), Round(1), Timestamp(0)), "the first at any time");
        let soon = Timestamp(0) + RECOVER_SPACING - std::time::Duration::from_nanos(1);
        assert!(!table.recover(&recover(2, 2, 1), Round(900), soon));
        assert!(table.recover(&recover(3, 1, 1), Round(900), soon), "another replica's is its own");
        assert!(table.recover(&recover(2, 2, 1), Round(901), Timestamp(0) + RECOVER_SPACING));
    }

    #[test]
    fn votes_begin_at_the_first_checkpoint_a_window_above() {
        let from = |round| Incarnation { round: Round(round), ..Incarnation::default() }.votes_from(4, 16).0;
        assert_eq!([1, 4, 5, 16].map(from), [20, 20, 24, 32]);
        assert_eq!(from(u64::MAX), u64::MAX);
    }

    proptest! {
        #[test]
        fn encoded_and_decoded_it_is_the_same(
            records in prop::collection::vec(any::<(u64, u64, [u8; 16], u64)>(), 1..9), cut in any::<prop::sample::Index>()
        ) {
            let record = |(incarnation, round, nonce, timestamp)| {
                let (round, nonce, timestamp) = (Round(round), Nonce(nonce), Timestamp(timestamp));
                Incarnation { incarnation, round, nonce, timestamp }
            };
            let table = Incarnations { records: records.into_iter().map(record).collect() };
            let replicas = u16::try_from(table.records.len()).unwrap();
            let mut bytes = Vec::new();
            table.encode(&mut bytes);
            prop_assert_eq!(bytes.len(), Incarnations::encoded_len(replicas));
            prop_assert_eq!(Incarnations::decode(&mut Reader::new(&bytes), replicas), Some(table));
            let shorter = &bytes[..cut.index(bytes.len())];
            prop_assert_eq!(Incarnations::decode(&mut Reader::new(shorter), replicas), None);
        }
    }
}
