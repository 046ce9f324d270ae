use std::io::{self, Read};

use hypostyle_app_api::{Digest, Number};
use hypostyle_crypto::sha256;
use hypostyle_pillars::message::Reader;

/// Results up to this many bytes lie in the record itself; of longer ones their SHA-256 does.
pub const INLINE_MAX: usize = 32;

pub(super) const RESULT: u8 = 0;
pub(super) const ERROR: u8 = 1;
/// A record without its value.
pub(super) const RECORD_BYTES_MIN: usize = 8 + 16 + 1 + 4;

/// What one operation came to: as it lies in the client table and goes into a reply. 64 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    number: Number,
    digest16: [u8; 16],
    value: [u8; INLINE_MAX],
    len: u32,
    error: bool,
}

/// An error that every correct replica answers alike; its text code is what the client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The application panicked on the operation.
    Panicked,
    /// The result is longer than `reply_max`.
    ResultTooLarge,
    /// The operation was executed, but its result was beyond `client_result_bytes` or is no longer kept.
    ResultNotKept,
    /// The client acknowledged the number, or one above it: it is used up.
    Acknowledged,
}

impl Failure {
    /// The text code that a reply carries.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Panicked => "application-panicked",
            Self::ResultTooLarge => "result-too-large",
            Self::ResultNotKept => "result-not-kept",
            Self::Acknowledged => "number-acknowledged",
        }
    }

    /// The failure with this text code.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        let all = [Self::Panicked, Self::ResultTooLarge, Self::ResultNotKept, Self::Acknowledged];
        all.into_iter().find(|failure| failure.code() == code)
    }
}

impl Answer {
    /// Stands for "none" in the client table: no operation has number 0.
    pub(crate) const NONE: Self =
        Self { number: Number(0), digest16: [0; 16], value: [0; INLINE_MAX], len: 0, error: false };

    /// The application's result.
    ///
    /// # Panics
    /// When it is longer than 4 GiB: the caller checks it against `reply_max`.
    #[must_use]
    pub fn result(number: Number, request: &Digest, result: &[u8]) -> Self {
        let len = u32::try_from(result.len()).expect("checked against reply_max");
        Self { number, digest16: short(request), value: value(result), len, error: false }
    }

    /// A deterministic error.
    #[must_use]
    pub fn failure(number: Number, request: &Digest, failure: Failure) -> Self {
        let answer = Self { number, digest16: short(request), ..Self::NONE };
        answer.into_failure(failure)
    }

    /// The same operation, answered with an error.
    pub(crate) fn into_failure(self, failure: Failure) -> Self {
        let code = failure.code().as_bytes();
        let len = u32::try_from(code.len()).expect("codes are short");
        Self { value: value(code), len, error: true, ..self }
    }

    /// The operation's number.
    #[must_use]
    pub fn number(&self) -> Number {
        self.number
    }

    /// Whether the value is a digest, and the result itself lies elsewhere.
    #[must_use]
    pub fn is_large(&self) -> bool {
        self.len as usize > INLINE_MAX
    }

    /// Length of the result.
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether the value stands for this result.
    pub(crate) fn is_of(&self, result: &[u8]) -> bool {
        !self.error && self.len() == result.len() && self.value == value(result)
    }

    /// Reads a record; `None` when there is none like it.
    pub(crate) fn read(from: &mut dyn Read) -> io::Result<Option<Self>> {
        let mut head = [0; RECORD_BYTES_MIN];
        from.read_exact(&mut head)?;
        let mut reader = Reader::new(&head);
        let (number, digest16, kind, len) = (reader.u64(), reader.array(), reader.u8(), reader.u32());
        let (Some(number), Some(digest16), Some(kind @ (RESULT | ERROR)), Some(len)) =
            (number, digest16, kind, len)
        else {
            return Ok(None);
        };
        let mut answer =
            Self { number: Number(number), digest16, value: [0; INLINE_MAX], len, error: kind == ERROR };
        let inline = answer.len().min(INLINE_MAX);
        from.read_exact(&mut answer.value[..inline])?;
        Ok(Some(answer).filter(|answer| !(answer.error && answer.is_large())))
    }

    /// Appends the record.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut head = [0; RECORD_BYTES_MIN];
        head[..8].copy_from_slice(&self.number.0.to_le_bytes());
        head[8..24].copy_from_slice(&self.digest16);
        head[24] = if self.error { ERROR } else { RESULT };
        head[25..].copy_from_slice(&self.len.to_le_bytes());
        out.extend_from_slice(&head);
        out.extend_from_slice(&self.value[..self.len().min(INLINE_MAX)]);
    }
}

fn short(request: &Digest) -> [u8; 16] {
    *request.0.first_chunk().expect("32 bytes begin with 16")
}

fn value(result: &[u8]) -> [u8; INLINE_MAX] {
    if result.len() > INLINE_MAX {
        return sha256(&[result]).0;
    }
    let mut value = [0; INLINE_MAX];
    value[..result.len()].copy_from_slice(result);
    value
}

const _: () = assert!(size_of::<Answer>() == 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_fit_a_record_and_read_back() {
        for failure in
            [Failure::Panicked, Failure::ResultTooLarge, Failure::ResultNotKept, Failure::Acknowledged]
        {
            assert!(failure.code().len() <= INLINE_MAX);
            assert_eq!(Failure::from_code(failure.code()), Some(failure));
        }
        assert_eq!(Failure::from_code("other"), None);
    }

    #[test]
    fn a_result_of_33_bytes_is_told_by_its_digest() {
        let large = Answer::result(Number(1), &Digest::ZERO, &[7; 33]);
        assert!(large.is_large());
        assert_eq!((large.len(), large.value), (33, sha256(&[&[7; 33]]).0));
        assert!(!Answer::result(Number(1), &Digest::ZERO, &[7; 32]).is_large());
    }
}
