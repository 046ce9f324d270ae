use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::Arc;

use hypostyle::crypto::sha256;
use hypostyle::{Application, ApplicationError, Context, Digest, Snapshot};

/// The service of the key-value workloads: records under numbers, in order. Every replica begins with the same ones, so
/// that nothing has to be loaded.
///
/// Records lie in buckets of neighbours, which a snapshot shares until one is written. The digest is the sum of the
/// records' hashes, kept up to date with each write; it finds faults of the engine, not attacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Store {
    buckets: BTreeMap<u64, Arc<Bucket>>,
    sum: [u64; 4],
}

type Bucket = BTreeMap<u64, Arc<[u8]>>;

/// [`Store`] at one moment.
#[derive(Clone, Debug)]
pub(crate) struct StoreSnapshot(BTreeMap<u64, Arc<Bucket>>);

/// What a client may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// The record's value; nothing if there is none.
    Read {
        /// The record.
        key: u64,
    },
    /// Gives a record a value.
    Update {
        /// The record.
        key: u64,
        /// Its new value.
        value: Vec<u8>,
    },
    /// Adds a record.
    Insert {
        /// The record.
        key: u64,
        /// Its value.
        value: Vec<u8>,
    },
    /// The values of records in order, as far as they fit a reply.
    Scan {
        /// The first record, or the one behind it.
        key: u64,
        /// Records at most.
        count: u16,
    },
    /// Gives a record a value and answers with the one before.
    ReadModifyWrite {
        /// The record.
        key: u64,
        /// Its new value.
        value: Vec<u8>,
    },
}

/// Neighbours a bucket.
const BUCKET: u64 = 64;
/// Bytes of a scan's reply at most, beyond its first record.
pub(crate) const SCAN_BYTES: usize = 16 << 10;

impl Operation {
    /// A byte for what it is, the key, and value or count.
    #[must_use]
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (kind, key, rest): (u8, u64, &[u8]) = match self {
            Self::Read { key } => (0, *key, &[]),
            Self::Update { key, value } => (1, *key, value),
            Self::Insert { key, value } => (2, *key, value),
            Self::Scan { key, count } => (3, *key, &count.to_le_bytes()),
            Self::ReadModifyWrite { key, value } => (4, *key, value),
        };
        [&[kind], key.to_le_bytes().as_slice(), rest].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let (key, rest) = rest.split_first_chunk()?;
        let (key, value) = (u64::from_le_bytes(*key), rest.to_vec());
        Some(match kind {
            0 if rest.is_empty() => Self::Read { key },
            1 => Self::Update { key, value },
            2 => Self::Insert { key, value },
            3 => Self::Scan { key, count: u16::from_le_bytes(rest.try_into().ok()?) },
            4 => Self::ReadModifyWrite { key, value },
            _ => return None,
        })
    }
}

impl Store {
    /// `records` of `bytes` each, numbered from 0.
    #[must_use]
    pub(crate) fn new(records: u64, bytes: usize) -> Self {
        let mut store = Self::default();
        let value: Arc<[u8]> = vec![0; bytes].into();
        (0..records).for_each(|key| drop(store.put(key, Arc::clone(&value))));
        store
    }

    fn get(&self, key: u64) -> Option<&[u8]> {
        self.buckets.get(&(key / BUCKET))?.get(&key).map(AsRef::as_ref)
    }

    fn put(&mut self, key: u64, value: Arc<[u8]>) -> Option<Arc<[u8]>> {
        self.count(key, &value, u64::wrapping_add);
        let before = Arc::make_mut(self.buckets.entry(key / BUCKET).or_default()).insert(key, value);
        if let Some(before) = &before {
            self.count(key, before, u64::wrapping_sub);
        }
        before
    }

    fn count(&mut self, key: u64, value: &[u8], how: fn(u64, u64) -> u64) {
        let hash = sha256(&[&key.to_le_bytes(), value]).0;
        for (sum, word) in self.sum.iter_mut().zip(hash.as_chunks::<8>().0) {
            *sum = how(*sum, u64::from_le_bytes(*word));
        }
    }

    fn scan(&self, key: u64, count: u16, reply: &mut Vec<u8>) {
        let buckets = self.buckets.range(key / BUCKET..).flat_map(|(_, bucket)| bucket.range(key..));
        for (_, value) in buckets.take(count.into()) {
            reply.extend_from_slice(value);
            if reply.len() > SCAN_BYTES {
                return;
            }
        }
    }
}

impl Application for Store {
    type Snapshot = StoreSnapshot;

    fn execute(&mut self, _context: &Context, operation: &[u8], reply: &mut Vec<u8>) {
        match Operation::decode(operation) {
            Some(Operation::Read { key }) => reply.extend_from_slice(self.get(key).unwrap_or_default()),
            Some(Operation::Update { key, value } | Operation::Insert { key, value }) => {
                self.put(key, value.into());
            }
            Some(Operation::Scan { key, count }) => self.scan(key, count, reply),
            Some(Operation::ReadModifyWrite { key, value }) => {
                let before = self.put(key, value.into());
                reply.extend_from_slice(before.as_deref().unwrap_or_default());
            }
            None => reply.extend_from_slice(b"not an operation"),
        }
    }

    fn digest(&self) -> Digest {
        let words = self.sum.map(u64::to_le_bytes);
        sha256(&[b"hypostyle-bench store", words.as_flattened()])
    }

    fn snapshot(&self) -> StoreSnapshot {
        StoreSnapshot(self.buckets.clone())
    }

    fn restore(&mut self, from: &mut dyn Read) -> Result<(), ApplicationError> {
        let mut restored = Self::default();
        loop {
            let mut head = Vec::new();
            from.take(16).read_to_end(&mut head)?;
            if head.is_empty() {
                break;
            }
            let words = head.as_chunks::<8>().0;
            let &[key, length] = words else {
                return Err(ApplicationError::Malformed("a record is cut short".to_owned()));
            };
            let (key, length) = (u64::from_le_bytes(key), u64::from_le_bytes(length));
            let mut value = Vec::new();
            from.take(length).read_to_end(&mut value)?;
            if value.len() as u64 != length {
                return Err(ApplicationError::Malformed(format!("the value of record {key} is cut short")));
            }
            restored.put(key, value.into());
        }
        *self = restored;
        Ok(())
    }
}

impl Snapshot for StoreSnapshot {
    fn write_to(&mut self, to: &mut dyn Write) -> io::Result<()> {
        for (key, value) in self.0.values().flat_map(|bucket| bucket.iter()) {
            to.write_all(&key.to_le_bytes())?;
            to.write_all(&(value.len() as u64).to_le_bytes())?;
            to.write_all(value)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypostyle::{ClientId, Number, Position, Timestamp};

    fn ask(store: &mut Store, operation: &[u8]) -> Vec<u8> {
        let context = Context {
            position: Position(0),
            client: ClientId(0),
            number: Number(1),
            timestamp: Timestamp(0),
        };
        let mut reply = Vec::new();
        store.execute(&context, operation, &mut reply);
        reply
    }

    fn operations() -> Vec<Operation> {
        let value = b"value".to_vec();
        vec![
            Operation::Read { key: 3 },
            Operation::Update { key: 3, value: value.clone() },
            Operation::Insert { key: 1000, value: value.clone() },
            Operation::Scan { key: 62, count: 5 },
            Operation::ReadModifyWrite { key: 3, value },
        ]
    }

    #[test]
    fn operations_read_back_and_nonsense_is_answered() {
        for operation in operations() {
            let bytes = operation.encode();
            assert_eq!(Operation::decode(&bytes), Some(operation));
            assert_eq!(Operation::decode(&bytes[..8]), None);
        }
        assert_eq!(ask(&mut Store::default(), b""), b"not an operation");
        assert_eq!(ask(&mut Store::default(), &[9; 20]), b"not an operation");
    }

    #[test]
    fn records_are_read_written_and_scanned_in_order() {
        let mut store = Store::new(130, 2);
        assert_eq!(ask(&mut store, &Operation::Read { key: 129 }.encode()), [0, 0]);
        assert!(ask(&mut store, &Operation::Read { key: 130 }.encode()).is_empty());
        for key in [63_u8, 64, 128] {
            ask(&mut store, &Operation::Update { key: key.into(), value: vec![key] }.encode());
        }
        let before = Operation::ReadModifyWrite { key: 64, value: vec![7] };
        assert_eq!(ask(&mut store, &before.encode()), [64]);
        assert_eq!(ask(&mut store, &Operation::Scan { key: 62, count: 3 }.encode()), [0, 0, 63, 7]);
        assert_eq!(ask(&mut store, &Operation::Scan { key: 128, count: 9 }.encode()), [128, 0, 0]);
        let mut large = Store::new(100, 1000);
        assert_eq!(ask(&mut large, &Operation::Scan { key: 0, count: 100 }.encode()).len(), 17_000);
    }

    #[test]
    fn the_digest_is_that_of_the_records_however_they_came() {
        let mut store = Store::new(10, 4);
        let first = store.digest();
        ask(&mut store, &Operation::Update { key: 3, value: vec![1] }.encode());
        assert_ne!(store.digest(), first);
        ask(&mut store, &Operation::Update { key: 3, value: vec![0; 4] }.encode());
        assert_eq!(store.digest(), first);
    }

    #[test]
    fn a_snapshot_restores_and_keeps_its_moment() {
        let mut store = Store::new(100, 3);
        operations().iter().for_each(|operation| drop(ask(&mut store, &operation.encode())));
        let (mut snapshot, digest) = (store.snapshot(), store.digest());
        ask(&mut store, &Operation::Update { key: 5, value: vec![] }.encode());
        let mut bytes = Vec::new();
        snapshot.write_to(&mut bytes).expect("written");
        let mut other = Store::new(7, 7);
        other.restore(&mut bytes.as_slice()).expect("restored");
        assert_eq!(other.digest(), digest);
        for cut in [bytes.len() - 1, 5] {
            assert!(other.restore(&mut &bytes[..cut]).is_err());
        }
        assert_eq!(other.digest(), digest, "a refused restore changes nothing");
    }
}
