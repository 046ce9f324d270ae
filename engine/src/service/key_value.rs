use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::Arc;

use hypostyle_crypto::{Hasher, sha256};

use crate::{Application, ApplicationError, Context, Digest, Snapshot};

/// A map from keys to values. Operations are text: `set KEY VALUE`, `get KEY`, `del KEY`; a key has no space, a value may.
/// Replies are `OK`, the value, `(nil)`, or a line that begins with `ERR`.
///
/// The entries lie in buckets by the hash of their key: a checkpoint hashes only buckets that changed, and a snapshot
/// shares all buckets until one is written.
#[derive(Clone, Debug)]
pub struct KeyValue {
    buckets: Vec<Bucket>,
}

/// A [`KeyValue`] at one moment.
#[derive(Clone, Debug)]
pub struct KeyValueSnapshot(Vec<Arc<Entries>>);

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Debug, Default)]
struct Bucket {
    entries: Arc<Entries>,
    /// Of `entries`, unless they changed since it was last asked for.
    digest: std::cell::Cell<Option<Digest>>,
}

const BUCKETS: usize = 256;

impl Default for KeyValue {
    fn default() -> Self {
        Self { buckets: vec![Bucket::default(); BUCKETS] }
    }
}

impl KeyValue {
    fn bucket(&mut self, key: &[u8]) -> &mut Bucket {
        &mut self.buckets[usize::from(sha256(&[key]).0[0])]
    }

    fn set(&mut self, key: &[u8], value: &[u8]) {
        self.bucket(key).change().insert(key.to_vec(), value.to_vec());
    }
}

impl Application for KeyValue {
    type Snapshot = KeyValueSnapshot;

    fn execute(&mut self, _context: &Context, operation: &[u8], reply: &mut Vec<u8>) {
        let (verb, rest) = split(operation);
        let (key, value) = split(rest);
        match verb {
            b"set" if !key.is_empty() => {
                self.set(key, value);
                reply.extend_from_slice(b"OK");
            }
            b"get" => {
                let value = self.bucket(key).entries.get(key);
                reply.extend_from_slice(value.map_or(b"(nil)", Vec::as_slice));
            }
            b"del" => {
                let removed = self.bucket(key).change().remove(key).is_some();
                reply.extend_from_slice(if removed { b"OK" } else { b"(nil)" });
            }
            _ => reply.extend_from_slice(b"ERR expected: set KEY VALUE | get KEY | del KEY"),
        }
    }

    fn digest(&self) -> Digest {
        let mut hasher = Hasher::new();
        self.buckets.iter().for_each(|bucket| {
            hasher.update(&bucket.digest().0);
        });
        hasher.finish()
    }

    fn snapshot(&self) -> KeyValueSnapshot {
        KeyValueSnapshot(self.buckets.iter().map(|bucket| Arc::clone(&bucket.entries)).collect())
    }

    fn restore(&mut self, from: &mut dyn Read) -> Result<(), ApplicationError> {
        let mut restored = Self::default();
        while let Some(key) = read(from)? {
            let value =
                read(from)?.ok_or_else(|| ApplicationError::Malformed("a key without value".to_owned()))?;
            restored.set(&key, &value);
        }
        *self = restored;
        Ok(())
    }
}

impl Snapshot for KeyValueSnapshot {
    fn write_to(&mut self, to: &mut dyn Write) -> io::Result<()> {
        for part in self.0.iter().flat_map(|entries| entries.iter()).flat_map(|(key, value)| [key, value]) {
            to.write_all(&(part.len() as u64).to_le_bytes())?;
            to.write_all(part)?;
        }
        Ok(())
    }
}

impl Bucket {
    fn change(&mut self) -> &mut Entries {
        self.digest.set(None);
        Arc::make_mut(&mut self.entries)
    }

    fn digest(&self) -> Digest {
        if let Some(digest) = self.digest.get() {
            return digest;
        }
        let mut hasher = Hasher::new();
        for part in self.entries.iter().flat_map(|(key, value)| [key, value]) {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        let digest = hasher.finish();
        self.digest.set(Some(digest));
        digest
    }
}

/// The part before the first space, and the part after it.
fn split(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| *byte == b' ') {
        Some(space) => (&text[..space], &text[space + 1..]),
        None => (text, b""),
    }
}

/// A length-prefixed string; `None` at the end. Grows as bytes come, not as the length says.
fn read(from: &mut dyn Read) -> Result<Option<Vec<u8>>, ApplicationError> {
    let mut length = Vec::new();
    from.take(8).read_to_end(&mut length)?;
    if length.is_empty() {
        return Ok(None);
    }
    let malformed = || ApplicationError::Malformed("truncated".to_owned());
    let length = u64::from_le_bytes(length.try_into().map_err(|_| malformed())?);
    let mut bytes = Vec::new();
    let read = from.take(length).read_to_end(&mut bytes)?;
    if read as u64 == length { Ok(Some(bytes)) } else { Err(malformed()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use hypostyle_app_api::{ClientId, Number, Position, Timestamp};

    use super::*;

    fn run(service: &mut KeyValue, operation: &str) -> String {
        let (position, timestamp) = (Position(0), Timestamp(1));
        let context = Context { position, client: ClientId(0), number: Number(1), timestamp };
        let mut reply = Vec::new();
        service.execute(&context, operation.as_bytes(), &mut reply);
        String::from_utf8(reply).unwrap()
    }

    #[test]
    fn sets_gets_and_deletes() {
        let mut service = KeyValue::default();
        assert_eq!(run(&mut service, "get a"), "(nil)");
        assert_eq!(run(&mut service, "set a one two"), "OK");
        assert_eq!(run(&mut service, "get a"), "one two");
        assert_eq!(run(&mut service, "del a"), "OK");
        assert_eq!(run(&mut service, "del a"), "(nil)");
        for wrong in ["", "set", "set  x", "put a b"] {
            assert!(run(&mut service, wrong).starts_with("ERR"), "{wrong}");
        }
    }

    #[test]
    fn the_digest_is_the_states_alone() {
        let (mut one, mut other) = (KeyValue::default(), KeyValue::default());
        for key in 0..1000 {
            run(&mut one, &format!("set {key} v"));
        }
        for key in (0..1000).rev() {
            one.digest();
            run(&mut other, &format!("set {key} v"));
        }
        assert_eq!(one.digest(), other.digest());
        run(&mut other, "set 7 w");
        assert_ne!(one.digest(), other.digest());
    }

    #[test]
    fn a_snapshot_is_of_its_moment_and_restores() {
        let mut service = KeyValue::default();
        run(&mut service, "set a 1");
        let (mut snapshot, digest) = (service.snapshot(), service.digest());
        run(&mut service, "set a 2");
        let mut bytes = Vec::new();
        snapshot.write_to(&mut bytes).unwrap();
        service.restore(&mut bytes.as_slice()).unwrap();
        assert_eq!((run(&mut service, "get a").as_str(), service.digest()), ("1", digest));
        for end in 1..bytes.len() {
            assert!(service.restore(&mut &bytes[..end]).is_err(), "{end}");
        }
        assert_eq!(service.digest(), digest);
        assert!(service.restore(&mut [255; 64].as_slice()).is_err());
    }
}
