//! What clients ask, and the service that answers.

use rand::{RngExt as _, SeedableRng as _};
use rand_distr::{Distribution as _, Zipf};
use rand_pcg::Pcg64Mcg;

use crate::cli::Mix;

pub(crate) mod null;
pub(crate) mod store;

use store::Operation;

/// What clients ask. An operation is a function of its client and number: presigned, sent again or sent by another
/// generator it is the same.
#[derive(Clone, Debug)]
pub(crate) enum Workload {
    /// Operations that the service only counts.
    Null {
        /// Bytes of an operation.
        payload: usize,
    },
    /// Reads and writes of records.
    KeyValue(KeyValue),
    /// Payments of 1 to the other clients in turn.
    Ledger {
        /// Clients of the run.
        clients: u64,
    },
}

/// The mixes of YCSB (Cooper et al., SoCC 2010, table 1 and section 4).
#[derive(Clone, Debug)]
pub(crate) struct KeyValue {
    mix: Mix,
    records: u64,
    clients: u64,
    value: usize,
    popular: Zipf<f64>,
}

/// YCSB's constant: the k-th most popular record is asked for in proportion to 1/k^0.99.
const EXPONENT: f64 = 0.99;
/// Records a scan reads at most.
const SCAN_MAX: u16 = 100;
/// One in so many operations of the mixes D and E inserts a record.
const INSERT_EACH: u64 = 20;

impl Workload {
    /// Bytes `payload` long where nothing is stored, `records` of as many bytes each where something is.
    ///
    /// # Panics
    /// When there are no records: flags are checked before.
    #[must_use]
    pub(crate) fn new(mix: Mix, records: u64, clients: u32, payload: usize) -> Self {
        match mix {
            Mix::Null => return Self::Null { payload },
            Mix::Ledger => return Self::Ledger { clients: clients.into() },
            Mix::YcsbA | Mix::YcsbB | Mix::YcsbC | Mix::YcsbD | Mix::YcsbE | Mix::YcsbF => {}
        }
        #[allow(clippy::cast_precision_loss, reason = "records fit a machine's memory")]
        let popular = Zipf::new(records as f64, EXPONENT).expect("at least one record");
        Self::KeyValue(KeyValue { mix, records, clients: clients.into(), value: payload, popular })
    }

    /// The operation with this number of the client with this index.
    #[must_use]
    pub(crate) fn operation(&self, client: usize, number: u64) -> Vec<u8> {
        match self {
            Self::Null { payload } => {
                let mut operation = number.to_le_bytes().to_vec();
                operation.resize(*payload, 0);
                operation
            }
            Self::KeyValue(workload) => workload.operation(client as u64, number).encode(),
            Self::Ledger { clients } => {
                format!("pay {} 1", (client as u64 + number) % clients.max(&1)).into_bytes()
            }
        }
    }
}

impl KeyValue {
    fn operation(&self, client: u64, number: u64) -> Operation {
        let mut random = Pcg64Mcg::seed_from_u64(scrambled(client.rotate_left(32) ^ number));
        let chance: f64 = random.random();
        let inserts = number.is_multiple_of(INSERT_EACH);
        match self.mix {
            Mix::Null | Mix::Ledger => unreachable!("they store no records"),
            Mix::YcsbA if chance < 0.5 => self.update(&mut random),
            Mix::YcsbB if chance < 0.05 => self.update(&mut random),
            Mix::YcsbA | Mix::YcsbB | Mix::YcsbC => Operation::Read { key: self.popular(&mut random) },
            Mix::YcsbD | Mix::YcsbE if inserts => {
                let key = self.inserted(client, number / INSERT_EACH);
                Operation::Insert { key, value: self.value(&mut random) }
            }
            Mix::YcsbD => Operation::Read { key: self.latest(client, number, &mut random) },
            Mix::YcsbE => {
                let count = random.random_range(1..=SCAN_MAX);
                Operation::Scan { key: self.popular(&mut random), count }
            }
            Mix::YcsbF if chance < 0.5 => {
                let key = self.popular(&mut random);
                Operation::ReadModifyWrite { key, value: self.value(&mut random) }
            }
            Mix::YcsbF => Operation::Read { key: self.popular(&mut random) },
        }
    }

    fn update(&self, random: &mut Pcg64Mcg) -> Operation {
        Operation::Update { key: self.popular(random), value: self.value(random) }
    }

    /// Popular records lie scattered over the keys.
    fn popular(&self, random: &mut Pcg64Mcg) -> u64 {
        scrambled(self.rank(random)) % self.records
    }

    /// The more recently the client inserted a record, the more popular it is; before its first one it reads any.
    fn latest(&self, client: u64, number: u64, random: &mut Pcg64Mcg) -> u64 {
        let (inserted, back) = (number / INSERT_EACH, self.rank(random) - 1);
        match inserted.checked_sub(back) {
            Some(which) if which > 0 => self.inserted(client, which),
            _ => back % self.records,
        }
    }

    /// The key of the record that this client inserts as its `which`-th, from 1.
    fn inserted(&self, client: u64, which: u64) -> u64 {
        self.records + (which - 1) * self.clients + client
    }

    /// 1 is the most popular.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank, from 1 to the records"
    )]
    fn rank(&self, random: &mut Pcg64Mcg) -> u64 {
        self.popular.sample(random) as u64
    }

    fn value(&self, random: &mut Pcg64Mcg) -> Vec<u8> {
        vec![random.random(); self.value]
    }
}

/// A bijection that leaves no pattern (the finalizer of `SplitMix64`).
fn scrambled(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn key_value(mix: Mix) -> KeyValue {
        match Workload::new(mix, 1000, 2, 100) {
            Workload::KeyValue(workload) => workload,
            Workload::Null { .. } | Workload::Ledger { .. } => panic!("it stores"),
        }
    }

    /// Shares of reads, updates, inserts, scans and read-modify-writes in percent.
    fn shares(mix: Mix) -> [u64; 5] {
        let workload = key_value(mix);
        let mut counts = [0; 5];
        for number in 1..=20_000 {
            counts[match workload.operation(0, number) {
                Operation::Read { .. } => 0,
                Operation::Update { .. } => 1,
                Operation::Insert { .. } => 2,
                Operation::Scan { .. } => 3,
                Operation::ReadModifyWrite { .. } => 4,
            }] += 1;
        }
        counts.map(|count: u64| (count + 100) / 200)
    }

    #[test]
    fn the_mixes_are_those_of_ycsb() {
        for (mix, expected) in [
            (Mix::YcsbA, [50, 50, 0, 0, 0]),
            (Mix::YcsbB, [95, 5, 0, 0, 0]),
            (Mix::YcsbC, [100, 0, 0, 0, 0]),
            (Mix::YcsbD, [95, 0, 5, 0, 0]),
            (Mix::YcsbE, [0, 0, 5, 95, 0]),
            (Mix::YcsbF, [50, 0, 0, 0, 50]),
        ] {
            let found = shares(mix);
            let near = found.iter().zip(expected).all(|(found, expected)| found.abs_diff(expected) <= 1);
            assert!(near, "{mix:?}: {found:?}");
        }
    }

    #[test]
    fn popularity_falls_as_zipf_says() {
        let workload = key_value(Mix::YcsbC);
        let mut asked: BTreeMap<u64, u64> = BTreeMap::new();
        for number in 0..100_000 {
            let Operation::Read { key } = workload.operation(1, number) else { panic!("only reads") };
            assert!(key < 1000);
            *asked.entry(key).or_default() += 1;
        }
        let mut counts: Vec<u64> = asked.into_values().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        // 1 / sum of k^-0.99 for k up to 1,000 is 0.129. Two ranks may share a key.
        assert!(counts[0] > 12_000 && counts[0] < 15_000, "{:?}", &counts[..5]);
        assert!(counts[9] * 5 < counts[0] && counts.len() > 500, "{:?}", &counts[..10]);
    }

    #[test]
    fn inserted_records_are_the_client_s_own_and_the_latest_are_read() {
        let workload = key_value(Mix::YcsbD);
        let mut inserted = Vec::new();
        let mut latest = 0;
        for number in 1..=2000 {
            match workload.operation(1, number) {
                Operation::Insert { key, .. } => {
                    assert!(key >= 1000 && key % 2 == 1 && !inserted.contains(&key));
                    inserted.push(key);
                }
                Operation::Read { key } if key >= 1000 => {
                    assert!(inserted.contains(&key), "it was inserted before");
                    latest += u64::from(inserted.last() == Some(&key));
                }
                Operation::Read { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(inserted.len() == 100 && latest > 100, "{latest}");
    }

    #[test]
    fn payments_go_to_each_client_in_turn() {
        let workload = Workload::new(Mix::Ledger, 0, 3, 100);
        let texts: Vec<_> = (1..=3).map(|number| workload.operation(1, number)).collect();
        assert_eq!(texts, [b"pay 2 1", b"pay 0 1", b"pay 1 1"]);
    }

    #[test]
    fn null_operations_have_the_length_that_was_asked_for() {
        let operation = |number, payload| Workload::new(Mix::Null, 0, 1, payload).operation(0, number);
        assert_eq!(operation(0x0201, 4), [1, 2, 0, 0]);
        assert_eq!(operation(7, 100).len(), 100);
        assert!(operation(7, 0).is_empty());
    }
}
