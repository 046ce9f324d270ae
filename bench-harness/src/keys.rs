use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use anyhow::Context as _;
use hypostyle::crypto::{PublicKey, SigningKey, Suite, read_key, write_key};

/// The private keys of a cluster on this machine. They are made once a suite and kept, since equal keys give equal
/// configurations and those share presigned requests. Good for nothing but measuring.
#[derive(Debug)]
pub(crate) struct Keys {
    directory: PathBuf,
    replicas: Vec<SigningKey>,
    clients: Vec<SigningKey>,
}

/// The keys of every suite that a command measures.
#[derive(Debug)]
pub(crate) struct KeyRing(Vec<(Suite, Keys)>);

impl KeyRing {
    /// `open` makes the keys of one suite.
    ///
    /// # Errors
    /// Its errors.
    pub(crate) fn open(
        suites: &[Suite],
        open: impl Fn(Suite) -> anyhow::Result<Keys>,
    ) -> anyhow::Result<Self> {
        suites.iter().map(|&suite| Ok((suite, open(suite)?))).collect::<anyhow::Result<_>>().map(Self)
    }

    /// The keys of `suite`, one of those that were opened.
    #[must_use]
    pub(crate) fn of(&self, suite: Suite) -> &Keys {
        let found = self.0.iter().find(|(its, _)| *its == suite);
        &found.expect("a setting's suite is one of the command's").1
    }
}

impl Keys {
    /// Reads the keys of `n` replicas and `clients` clients from `directory`/SUITE and makes those that are missing, on
    /// all cores. `progress` is counted up, one a key.
    ///
    /// # Errors
    /// When a key file can't be read or written.
    pub(crate) fn open(
        directory: &Path,
        suite: Suite,
        n: usize,
        clients: usize,
        progress: &AtomicU64,
    ) -> anyhow::Result<Self> {
        let directory = directory.join(suite.to_string());
        std::fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        let replicas = (0..n).map(|index| path(&directory, "replica", index));
        let clients = (0..clients).map(|index| path(&directory, "client", index));
        let mut keys = open_all(&replicas.chain(clients).collect::<Vec<_>>(), suite, progress)?;
        let clients = keys.split_off(n);
        Ok(Self { directory, replicas: keys, clients })
    }

    /// The file that holds the key of the replica with this index.
    #[must_use]
    pub(crate) fn replica_path(&self, index: usize) -> PathBuf {
        path(&self.directory, "replica", index)
    }

    /// The file that holds the key of the client with this index.
    #[must_use]
    pub(crate) fn client_path(&self, index: usize) -> PathBuf {
        path(&self.directory, "client", index)
    }

    /// The replicas' public keys.
    #[must_use]
    pub(crate) fn replicas(&self) -> Vec<PublicKey> {
        self.replicas.iter().map(SigningKey::public).collect()
    }

    /// The clients' public keys.
    #[must_use]
    pub(crate) fn clients(&self) -> Vec<PublicKey> {
        self.clients.iter().map(SigningKey::public).collect()
    }
}

fn path(directory: &Path, role: &str, index: usize) -> PathBuf {
    directory.join(format!("{role}-{index}.pem"))
}

/// Keys are taken from a common list, since the time to make an RSA key varies by a factor of ten.
fn open_all(paths: &[PathBuf], suite: Suite, progress: &AtomicU64) -> anyhow::Result<Vec<SigningKey>> {
    let next = AtomicUsize::new(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let open_some = || {
        let mut opened = Vec::new();
        while let Some((index, path)) = nth(paths, next.fetch_add(1, Relaxed)) {
            opened.push((index, open(path, suite)?));
            progress.fetch_add(1, Relaxed);
        }
        anyhow::Ok(opened)
    };
    let mut keys = Vec::with_capacity(paths.len());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(open_some)).collect();
        for thread in threads {
            keys.extend(thread.join().expect("making keys does not panic")?);
        }
        anyhow::Ok(())
    })?;
    keys.sort_by_key(|(index, _)| *index);
    Ok(keys.into_iter().map(|(_, key)| key).collect())
}

fn nth(paths: &[PathBuf], index: usize) -> Option<(usize, &PathBuf)> {
    paths.get(index).map(|path| (index, path))
}

fn open(path: &Path, suite: Suite) -> anyhow::Result<SigningKey> {
    if !path.exists() {
        create(path, suite)?;
    }
    let key = read_key(path).with_context(|| remedy(path))?;
    anyhow::ensure!(
        key.suite() == suite,
        "{}: a key of {}, not {suite}; {}",
        path.display(),
        key.suite(),
        remedy(path)
    );
    Ok(key)
}

/// Written beside its place and linked there, so that of two programs that make the same key one wins whole.
fn create(path: &Path, suite: Suite) -> anyhow::Result<()> {
    let partial = path.with_extension(format!("partial-{}", std::process::id()));
    let _ = std::fs::remove_file(&partial);
    write_key(&partial, &SigningKey::generate(suite))?;
    let linked = std::fs::hard_link(&partial, path);
    let _ = std::fs::remove_file(&partial);
    match linked {
        Err(error) if !path.exists() => Err(error).with_context(|| path.display().to_string()),
        _ => Ok(()),
    }
}

fn remedy(path: &Path) -> String {
    let directory = path.parent().unwrap_or(path);
    format!("remove {} and run again: its keys are made anew", directory.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn keys_are_made_once_and_kept_private() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let made = AtomicU64::new(0);
        let open =
            |n, clients| Keys::open(directory.path(), Suite::Ed25519, n, clients, &made).expect("keys");
        let first = open(4, 3);
        assert_eq!(made.load(Relaxed), 7);
        let again = open(7, 2);
        assert_eq!(first.replicas()[..], again.replicas()[..4]);
        assert_eq!(first.clients()[..2], again.clients()[..]);
        let mode = std::fs::metadata(first.client_path(2)).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_key_of_another_suite_is_refused_with_a_remedy() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let keys = Keys::open(directory.path(), Suite::Ed25519, 1, 0, &AtomicU64::new(0)).expect("keys");
        let wrong = directory.path().join("ecdsa-p256");
        std::fs::create_dir(&wrong).expect("created");
        std::fs::copy(keys.replica_path(0), wrong.join("replica-0.pem")).expect("copied");
        let refused =
            Keys::open(directory.path(), Suite::EcdsaP256, 1, 0, &AtomicU64::new(0)).expect_err("refused");
        assert!(refused.to_string().contains("remove"), "{refused}");
    }
}
