//! The genesis token and the lock of a replica's home.
//!
//! A replica that restarts without its log has forgotten its votes, and may contradict them. So `init` writes a token,
//! the first start consumes it before any statement leaves, and a replica that starts without it recovers.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const TOKEN: &str = "genesis";
const LOCK: &str = "lock";
const TEXT: &str =
    "This replica has never run. Its first start removes this file; do not copy or restore it.\n";

/// Why a genesis token cannot be written or consumed.
#[derive(Debug, thiserror::Error)]
pub enum GenesisError {
    /// The token is there already.
    #[error("{}: the token exists already\n  remedy: keep it; the replica has not been started", .0.display())]
    Exists(PathBuf),
    /// The operating system's word.
    #[error("{}: {error}\n  remedy: let this user write in that directory", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
}

/// Why a home cannot be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error(
        "{}: another process runs this replica\n  remedy: stop it first; two at once would contradict each other", .0.display()
    )]
    Held(PathBuf),
    /// The operating system's word.
    #[error("{}: {error}\n  remedy: let this user write in that directory", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
}

/// A home that no other process can lock while this lives.
#[derive(Debug)]
pub struct HomeLock {
    _file: File,
}

/// Writes the token of a replica that has never run.
///
/// # Errors
/// When there is one already, or the file cannot be written.
pub fn write(home: &Path) -> Result<(), GenesisError> {
    let path = home.join(TOKEN);
    let file = OpenOptions::new().write(true).create_new(true).open(&path);
    let mut file = file.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => GenesisError::Exists(path.clone()),
        _ => GenesisError::Io { path: path.clone(), error },
    })?;
    let written = file.write_all(TEXT.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| sync(home));
    written.map_err(|error| GenesisError::Io { path, error })
}

/// Whether the replica has never been started: looks for the token and leaves it.
///
/// # Errors
/// When the directory can't be read.
pub fn is_first_start(home: &Path) -> Result<bool, GenesisError> {
    let path = home.join(TOKEN);
    path.try_exists().map_err(|error| GenesisError::Io { path, error })
}

/// Removes the token, on disk too when this returns: call it before any statement leaves.
///
/// # Errors
/// When the token isn't there or cannot be removed.
pub fn consume(home: &Path) -> Result<(), GenesisError> {
    let path = home.join(TOKEN);
    let removed = std::fs::remove_file(&path).and_then(|()| sync(home));
    removed.map_err(|error| GenesisError::Io { path, error })
}

/// Locks a home until the lock is dropped or the process ends.
///
/// # Errors
/// When another process holds it, or the lock file cannot be made.
pub fn lock(home: &Path) -> Result<HomeLock, LockError> {
    let path = home.join(LOCK);
    let io = |error| LockError::Io { path: path.clone(), error };
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(HomeLock { _file: file }),
        Err(TryLockError::WouldBlock) => Err(LockError::Held(home.to_owned())),
        Err(TryLockError::Error(error)) => Err(io(error)),
    }
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_token_serves_one_start() {
        let home = tempfile::tempdir().unwrap();
        write(home.path()).unwrap();
        assert!(matches!(write(home.path()), Err(GenesisError::Exists(_))));
        assert!(is_first_start(home.path()).unwrap());
        consume(home.path()).unwrap();
        assert!(!is_first_start(home.path()).unwrap());
        assert!(matches!(consume(home.path()), Err(GenesisError::Io { .. })));
    }

    #[test]
    fn a_home_has_one_process() {
        let home = tempfile::tempdir().unwrap();
        let held = lock(home.path()).unwrap();
        assert!(matches!(lock(home.path()), Err(LockError::Held(_))));
        drop(held);
        lock(home.path()).unwrap();
    }
}
