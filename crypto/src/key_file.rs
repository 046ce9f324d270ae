use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::key::{KeyError, SigningKey};

/// A 4096-bit key needs about 3,300 bytes.
const KEY_FILE_MAX: usize = 16 * 1024;

/// Why a key file can't be written or read.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Nothing is overwritten: a lost private key can't be made again.
    #[error("{} exists already; move it away first, or choose another path", .0.display())]
    Exists(PathBuf),
    /// There is no such file.
    #[error("no private key at {}; make one with `hypostyle key`, or correct the path", .0.display())]
    Missing(PathBuf),
    /// Others than the owner could read it.
    #[error("{} may be read by others (mode {mode:04o}); run: chmod 600 {}", path.display(), path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The operating system's word.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// It holds no key of ours.
    #[error("{}: {error}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: KeyError,
    },
}

/// Writes `key` as PKCS#8 PEM to a new file that only its owner may read, from the first byte on, and syncs it.
///
/// # Errors
/// When the file exists or can't be written; what was begun is removed.
pub fn write_key(path: &Path, key: &SigningKey) -> Result<(), KeyFileError> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeyFileError::Exists(path.into()),
        _ => io_error(path, error),
    })?;
    let written = file.write_all(key.to_pem().as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| {
        // Best effort: the error that counts is the first one.
        let _ = fs::remove_file(path);
        io_error(path, error)
    })
}

/// Reads what [`write_key`] wrote.
///
/// # Errors
/// When the file is missing, may be read by group or others, or holds no key.
pub fn read_key(path: &Path) -> Result<SigningKey, KeyFileError> {
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => KeyFileError::Missing(path.into()),
        _ => io_error(path, error),
    })?;
    let mode = file.metadata().map_err(|error| io_error(path, error))?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Mode { path: path.into(), mode });
    }
    // The capacity keeps the buffer from growing, which would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_FILE_MAX));
    file.take(KEY_FILE_MAX as u64).read_to_end(&mut bytes).map_err(|error| io_error(path, error))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| KeyError::Pem);
    text.and_then(SigningKey::from_pem).map_err(|error| KeyFileError::Key { path: path.into(), error })
}

fn io_error(path: &Path, error: io::Error) -> KeyFileError {
    KeyFileError::Io { path: path.into(), error }
}
