use bytes::Bytes;
use hypostyle_app_api::Digest;
use hypostyle_crypto::sha256;

use super::error::OperationError;
use super::tally::Candidate;
use crate::reply::{INLINE_MAX, Record, Value};

/// What replies must agree on, byte for byte, to be counted together. `value` is the result itself, zero-padded,
/// when `len` is at most 32, else its SHA-256: with `len` beside it the two can't be taken for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) request: [u8; 16],
    pub(super) error: bool,
    pub(super) len: u32,
    pub(super) value: [u8; INLINE_MAX],
}

impl Outcome {
    /// What a record tells.
    pub(super) fn of(record: &Record) -> Self {
        let mut value = [0; INLINE_MAX];
        match &record.value {
            Value::Inline(bytes) => {
                let len = bytes.len().min(value.len());
                value[..len].copy_from_slice(&bytes[..len]);
            }
            Value::Digest(digest) => value = digest.0,
        }
        Self { request: record.digest16, error: record.error, len: record.len, value }
    }
}

impl Candidate {
    /// The operation's result, unless it is a large one that nobody sent whole yet.
    pub(super) fn result(&self) -> Option<Result<Bytes, OperationError>> {
        let Outcome { error, len, value, .. } = &self.outcome;
        let bytes = match value.get(..*len as usize) {
            Some(inline) => Bytes::copy_from_slice(inline),
            None => self.whole.clone()?,
        };
        if *error {
            return Some(Err(OperationError::from_code(&bytes)));
        }
        Some(Ok(bytes))
    }
}

/// How replies name a request.
pub(super) fn short_digest(digest: &Digest) -> [u8; 16] {
    *digest.0.first_chunk().expect("32 bytes begin with 16")
}

/// A whole result that came with a record, if it is the one whose digest the record tells.
pub(super) fn checked_whole(record: &Record) -> Option<Bytes> {
    let (whole, Value::Digest(digest)) = (record.whole.as_ref()?, &record.value) else { return None };
    let is_right = u32::try_from(whole.len()) == Ok(record.len) && sha256(&[whole]) == *digest;
    is_right.then(|| whole.clone())
}
