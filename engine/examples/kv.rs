//! A replicated key-value map with many operations in flight. Its digest costs in proportion to what changed, and a
//! snapshot shares its entries with the map until they are written.
//!
//! `cargo run --example kv`
#![allow(clippy::print_stdout)]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Read, Write};
use std::sync::Arc;

use hypostyle::crypto::{Hasher, sha256};
use hypostyle::{Application, ApplicationError, Cluster, Context, Digest, Snapshot};

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// `set KEY VALUE` answers the former value, `get KEY` the present one; nothing when there is none.
#[derive(Default)]
struct Kv([Shard; 32]);

#[derive(Default)]
struct Shard {
    entries: Arc<Entries>,
    /// Of `entries`, unless they changed since it was last asked for.
    digest: Cell<Option<Digest>>,
}

struct KvSnapshot(Vec<Arc<Entries>>);

impl Kv {
    fn shard(&mut self, key: &[u8]) -> &mut Shard {
        &mut self.0[usize::from(sha256(&[key]).0[0]) % 32]
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Option<Vec<u8>> {
        let shard = self.shard(key);
        shard.digest.set(None);
        Arc::make_mut(&mut shard.entries).insert(key.to_vec(), value.to_vec())
    }
}

impl Application for Kv {
    type Snapshot = KvSnapshot;

    fn execute(&mut self, _context: &Context, operation: &[u8], reply: &mut Vec<u8>) {
        let mut words = operation.splitn(3, |byte| *byte == b' ');
        match (words.next(), words.next(), words.next()) {
            (Some(b"set"), Some(key), Some(value)) => {
                reply.extend(self.set(key, value).into_iter().flatten())
            }
            (Some(b"get"), Some(key), None) => {
                reply.extend(self.shard(key).entries.get(key).into_iter().flatten())
            }
            // Whatever else a client sends: the same answer on every replica.
            _ => reply.extend_from_slice(b"ERR set KEY VALUE | get KEY"),
        }
    }

    fn digest(&self) -> Digest {
        let mut hasher = Hasher::new();
        for shard in &self.0 {
            hasher.update(&shard.digest().0);
        }
        hasher.finish()
    }

    fn snapshot(&self) -> KvSnapshot {
        KvSnapshot(self.0.iter().map(|shard| Arc::clone(&shard.entries)).collect())
    }

    fn restore(&mut self, from: &mut dyn Read) -> Result<(), ApplicationError> {
        let mut restored = Self::default();
        while let Some(key) = read_part(from)? {
            let value = read_part(from)?.ok_or(ApplicationError::Malformed("a key without value".into()))?;
            restored.set(&key, &value);
        }
        *self = restored;
        Ok(())
    }
}

impl Snapshot for KvSnapshot {
    fn write_to(&mut self, to: &mut dyn Write) -> io::Result<()> {
        for part in self.0.iter().flat_map(|entries| parts(entries)) {
            to.write_all(&(part.len() as u64).to_le_bytes())?;
            to.write_all(part)?;
        }
        Ok(())
    }
}

impl Shard {
    fn digest(&self) -> Digest {
        let digest = self.digest.get().unwrap_or_else(|| {
            let mut hasher = Hasher::new();
            for part in parts(&self.entries) {
                hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
            }
            hasher.finish()
        });
        self.digest.set(Some(digest));
        digest
    }
}

/// Keys and values, in order.
fn parts(entries: &Entries) -> impl Iterator<Item = &Vec<u8>> {
    entries.iter().flat_map(|(key, value)| [key, value])
}

/// A length and as many bytes; `None` at the end.
fn read_part(from: &mut dyn Read) -> Result<Option<Vec<u8>>, ApplicationError> {
    let (mut length, mut bytes) = (Vec::new(), Vec::new());
    from.take(8).read_to_end(&mut length)?;
    if length.is_empty() {
        return Ok(None);
    }
    let truncated = || ApplicationError::Malformed("truncated".into());
    let length = u64::from_le_bytes(length.try_into().map_err(|_| truncated())?);
    // Grows as bytes come, not as the length says.
    let read = from.take(length).read_to_end(&mut bytes)?;
    if read as u64 == length { Ok(Some(bytes)) } else { Err(truncated()) }
}

fn main() -> Result<(), Box<dyn Error>> {
    let cluster = Cluster::local(4).pillars(2).start(Kv::default)?;
    let client = cluster.client(0)?;
    let sets: Vec<_> = (0..100).map(|i| client.send(format!("set key{i} value{i}"))).collect();
    for set in sets {
        set.wait()?;
    }
    let value = client.call_blocking("get key42")?;
    println!("{}", String::from_utf8_lossy(&value));
    Ok(())
}
