use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::Context as _;
use bytes::Bytes;
use hypostyle::Digest;
use hypostyle::crypto::sha256;
use serde::{Deserialize, Serialize};

/// Everything that presigned requests are a function of: equal descriptions have equal requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Description {
    /// Hash of the cluster configuration, in hexadecimal: part of every signed byte string.
    pub(crate) configuration: String,
    /// Fingerprints of the clients' keys, in order, in hexadecimal.
    pub(crate) clients: Vec<String>,
    /// Requests of each client, numbered from 1.
    pub(crate) requests_per_client: u64,
    /// What the clients ask.
    pub(crate) workload: String,
    /// Records of the service.
    pub(crate) records: u64,
    /// Bytes of each operation, or of a record.
    pub(crate) payload: usize,
    /// Request k acknowledges all numbers up to k - W.
    pub(crate) client_window: u64,
}

/// Requests signed before a run, so that the generator's signatures aren't part of the measurement.
#[derive(Clone, Debug)]
pub(crate) struct Presigned {
    requests_per_client: u64,
    /// End of each request in `bodies`, client by client.
    ends: Vec<usize>,
    bodies: Bytes,
}

impl Description {
    /// The file inside `directory` that holds the requests of this description.
    #[must_use]
    pub(crate) fn path(&self, directory: &Path) -> PathBuf {
        directory.join(format!("{}.bin", sha256(&[&self.header()])))
    }

    /// Number of requests.
    #[must_use]
    pub(crate) fn requests(&self) -> u64 {
        self.clients.len() as u64 * self.requests_per_client
    }

    fn header(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a description has no unserializable part")
    }
}

impl Presigned {
    /// Signs all requests of `description` on all cores: `sign` gets a client's index and the request's number;
    /// `progress` is counted up, one a request.
    pub(crate) fn sign(
        description: &Description,
        progress: &AtomicU64,
        sign: &(impl Fn(usize, u64) -> Bytes + Sync),
    ) -> Self {
        let per_client = description.requests_per_client;
        let total = description.requests();
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
        let one = |index: u64| {
            let client = usize::try_from(index / per_client).expect("below the number of clients");
            let request = sign(client, index % per_client + 1);
            progress.fetch_add(1, Relaxed);
            request
        };
        let parts: Vec<Vec<Bytes>> = std::thread::scope(|scope| {
            let share = |core: u64| core * total / cores..(core + 1) * total / cores;
            let threads: Vec<_> =
                (0..cores).map(|core| scope.spawn(move || share(core).map(one).collect())).collect();
            threads.into_iter().map(|thread| thread.join().expect("signing does not panic")).collect()
        });
        Self::from_requests(per_client, parts.iter().flatten())
    }

    /// Reads what [`Self::store`] wrote for the same description.
    ///
    /// # Errors
    /// When there is no such file, it was written for something else, or is not whole.
    pub(crate) fn load(description: &Description, directory: &Path) -> anyhow::Result<Self> {
        let path = description.path(directory);
        let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
        Self::decode(description, bytes.into()).with_context(|| path.display().to_string())
    }

    /// Keeps the requests for later runs: written beside its place, then renamed, so that a reader finds a
    /// whole file or none.
    ///
    /// # Errors
    /// When the directory or file can't be written.
    pub(crate) fn store(&self, description: &Description, directory: &Path) -> anyhow::Result<PathBuf> {
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        let path = description.path(directory);
        let partial = path.with_extension(format!("partial-{}", std::process::id()));
        let written =
            write_whole(&partial, &self.encode(description)).and_then(|()| fs::rename(&partial, &path));
        if let Err(error) = written {
            let _ = fs::remove_file(&partial);
            return Err(error).with_context(|| path.display().to_string());
        }
        Ok(path)
    }

    /// Request `number` (from 1) of the client with this index, `None` when they are used up.
    #[must_use]
    pub(crate) fn request(&self, client: usize, number: u64) -> Option<Bytes> {
        if number == 0 || number > self.requests_per_client {
            return None;
        }
        let index = client.checked_mul(usize::try_from(self.requests_per_client).ok()?)?;
        let index = index.checked_add(usize::try_from(number - 1).ok()?)?;
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(self.bodies.slice(start..end))
    }

    fn from_requests<'a>(requests_per_client: u64, requests: impl Iterator<Item = &'a Bytes>) -> Self {
        let mut bodies = Vec::new();
        let ends = requests
            .map(|request| {
                bodies.extend_from_slice(request);
                bodies.len()
            })
            .collect();
        Self { requests_per_client, ends, bodies: bodies.into() }
    }

    /// Magic, header, the requests' ends and bytes, and a digest of all of that.
    fn encode(&self, description: &Description) -> Vec<u8> {
        let header = description.header();
        let mut out = Vec::with_capacity(self.bodies.len() + 8 * self.ends.len() + header.len() + 64);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&(header.len() as u64).to_le_bytes());
        out.extend_from_slice(&header);
        for end in &self.ends {
            out.extend_from_slice(&(*end as u64).to_le_bytes());
        }
        out.extend_from_slice(&self.bodies);
        let digest = sha256(&[&out]);
        out.extend_from_slice(&digest.0);
        out
    }

    fn decode(description: &Description, bytes: Bytes) -> anyhow::Result<Self> {
        let (content, digest) = bytes.split_last_chunk::<32>().context("cut short")?;
        anyhow::ensure!(sha256(&[content]) == Digest(*digest), "its digest is wrong: damaged or cut short");
        let rest = content.strip_prefix(MAGIC).context("not a file of presigned requests")?;
        let (length, rest) = rest.split_first_chunk::<8>().context("cut short")?;
        let (header, rest) = usize::try_from(u64::from_le_bytes(*length))
            .ok()
            .and_then(|length| rest.split_at_checked(length))
            .context("cut short")?;
        anyhow::ensure!(header == description.header(), "it was signed for another configuration");
        let count = usize::try_from(description.requests())?;
        let (ends, bodies) =
            count.checked_mul(8).and_then(|length| rest.split_at_checked(length)).context("cut short")?;
        let ends = decode_ends(ends)?;
        anyhow::ensure!(
            ends.is_sorted() && ends.last().copied().unwrap_or(0) == bodies.len(),
            "lengths do not add up"
        );
        let requests_per_client = description.requests_per_client;
        Ok(Self { requests_per_client, ends, bodies: bytes.slice_ref(bodies) })
    }
}

const MAGIC: &[u8] = b"hypostyle presigned requests 1\n";

fn decode_ends(bytes: &[u8]) -> anyhow::Result<Vec<usize>> {
    let (chunks, _) = bytes.as_chunks::<8>();
    chunks.iter().map(|chunk| Ok(usize::try_from(u64::from_le_bytes(*chunk))?)).collect()
}

fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description() -> Description {
        Description {
            configuration: "ab".repeat(32),
            clients: vec!["first".into(), "second".into(), "third".into()],
            requests_per_client: 5,
            workload: "null".into(),
            records: 0,
            payload: 100,
            client_window: 1024,
        }
    }

    /// Of different lengths, as ECDSA signatures are.
    fn request(client: usize, number: u64) -> Bytes {
        format!("request {number} of {client}{}", "!".repeat(client)).into()
    }

    fn signed() -> Presigned {
        Presigned::sign(&description(), &AtomicU64::new(0), &request)
    }

    #[test]
    fn every_request_is_found_under_its_client_and_number() {
        let progress = AtomicU64::new(0);
        let presigned = Presigned::sign(&description(), &progress, &request);
        assert_eq!(progress.into_inner(), 15);
        for client in 0..3 {
            for number in 1..=5 {
                assert_eq!(presigned.request(client, number), Some(request(client, number)));
            }
            assert_eq!(presigned.request(client, 0), None);
            assert_eq!(presigned.request(client, 6), None);
        }
        assert_eq!(presigned.request(3, 1), None);
    }

    #[test]
    fn a_stored_file_reads_back() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let inside = directory.path().join("presign");
        signed().store(&description(), &inside).expect("stored");
        let loaded = Presigned::load(&description(), &inside).expect("loaded");
        assert_eq!(loaded.request(2, 5), Some(request(2, 5)));
        assert_eq!(fs::read_dir(&inside).expect("listed").count(), 1, "nothing partial is left");
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_refused() {
        let whole = signed().encode(&description());
        for index in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[index] ^= 1;
            assert!(Presigned::decode(&description(), bytes.into()).is_err(), "byte {index} flipped");
            let cut = Bytes::copy_from_slice(&whole[..index]);
            assert!(Presigned::decode(&description(), cut).is_err(), "cut at {index}");
        }
    }

    #[test]
    fn requests_of_another_configuration_are_refused() {
        let bytes: Bytes = signed().encode(&description()).into();
        let other = Description { payload: 101, ..description() };
        assert_ne!(other.path(Path::new("")), description().path(Path::new("")));
        let refused = Presigned::decode(&other, bytes).expect_err("refused");
        assert!(refused.to_string().contains("another configuration"), "{refused}");
    }

    #[test]
    fn a_length_bomb_with_a_right_digest_is_refused() {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&u64::MAX.to_le_bytes());
        let digest = sha256(&[&bytes]);
        bytes.extend_from_slice(&digest.0);
        assert!(Presigned::decode(&description(), bytes.into()).is_err());
        let huge =
            Description { requests_per_client: u64::MAX / 8, clients: vec!["one".into()], ..description() };
        assert!(Presigned::decode(&huge, signed().encode(&huge).into()).is_err());
    }
}
