use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};

use bytes::{Buf, Bytes};

/// Slices handed to one `writev`; the kernel's own limit is 1024.
const SLICES_MAX: usize = 64;

/// Memory that an emptied buffer keeps for its next use.
const KEPT_CAPACITY: usize = 256 * 1024;

/// What a connection has still to send: small things accumulate in one reused vector, large bodies stay where they
/// are and are written from there.
#[derive(Debug, Default)]
pub(crate) struct WriteBuffer {
    small: Vec<u8>,
    /// Bytes of `small` already written.
    written: usize,
    pieces: VecDeque<Piece>,
    len: usize,
}

#[derive(Debug)]
enum Piece {
    /// The next so many bytes of `small`.
    Small(usize),
    Shared(Bytes),
}

impl WriteBuffer {
    /// Bytes not yet written.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a copy of `bytes`.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.small.extend_from_slice(bytes);
        self.len += bytes.len();
        match self.pieces.back_mut() {
            Some(Piece::Small(len)) => *len += bytes.len(),
            _ => self.pieces.push_back(Piece::Small(bytes.len())),
        }
    }

    /// Appends `bytes` without copying them.
    pub(crate) fn push_shared(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.len += bytes.len();
        self.pieces.push_back(Piece::Shared(bytes));
    }

    /// The last `len` bytes, which were copied here.
    pub(crate) fn tail(&self, len: usize) -> &[u8] {
        &self.small[self.small.len() - len..]
    }

    /// Makes room before copying, so that a frame is appended without growing in steps.
    pub(crate) fn reserve(&mut self, len: usize) {
        if self.written > self.small.len() / 2 {
            self.small.drain(..self.written);
            self.written = 0;
        }
        self.small.reserve(len);
    }

    /// One write, of as much as one takes but at most `most`. Returns how much it was: not 0 when there is something
    /// to write.
    pub(crate) fn write_to(&mut self, socket: &mut impl Write, most: usize) -> io::Result<usize> {
        let mut left = most;
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut small = &self.small[self.written..];
        let count = self.pieces.len().min(SLICES_MAX);
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            let bytes = match piece {
                Piece::Small(len) => {
                    let (bytes, rest) = small.split_at(*len);
                    small = rest;
                    bytes
                }
                Piece::Shared(bytes) => bytes,
            };
            *slice = IoSlice::new(&bytes[..bytes.len().min(left)]);
            left -= slice.len();
        }
        let written = match count {
            1 => socket.write(&slices[0])?,
            _ => socket.write_vectored(&slices[..count])?,
        };
        if written == 0 && !self.is_empty() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.advance(written);
        Ok(written)
    }

    fn advance(&mut self, mut written: usize) {
        self.len -= written;
        while written > 0 {
            let piece = self.pieces.front_mut().expect("no more was written than offered");
            let (taken, finished) = match piece {
                Piece::Small(len) => {
                    let taken = written.min(*len);
                    self.written += taken;
                    *len -= taken;
                    (taken, *len == 0)
                }
                Piece::Shared(bytes) => {
                    let taken = written.min(bytes.len());
                    bytes.advance(taken);
                    (taken, bytes.is_empty())
                }
            };
            if finished {
                self.pieces.pop_front();
            }
            written -= taken;
        }
        if self.len == 0 {
            self.clear();
        }
    }

    fn clear(&mut self) {
        self.pieces.clear();
        self.small.clear();
        self.small.shrink_to(KEPT_CAPACITY);
        self.written = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A socket that takes at most `step` bytes a call.
    struct Slow {
        step: usize,
        out: Vec<u8>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.step);
            self.out.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let mut left = self.step;
            for slice in slices {
                let taken = slice.len().min(left);
                self.out.extend_from_slice(&slice[..taken]);
                left -= taken;
            }
            Ok(self.step - left)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn bytes_leave_in_order_whatever_a_write_takes(
            pushes in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 1..200), any::<bool>()), 1..100),
            step in 1usize..500,
            most in 1usize..500,
        ) {
            let mut buffer = WriteBuffer::default();
            let mut socket = Slow { step, out: Vec::new() };
            let mut expected = Vec::new();
            for (shared, bytes, write) in pushes {
                expected.extend_from_slice(&bytes);
                if shared {
                    buffer.push_shared(bytes.into());
                } else {
                    buffer.reserve(bytes.len());
                    buffer.push(&bytes);
                }
                if write {
                    buffer.write_to(&mut socket, most).expect("never fails");
                }
                prop_assert_eq!(buffer.len() + socket.out.len(), expected.len());
            }
            while !buffer.is_empty() {
                buffer.write_to(&mut socket, most).expect("never fails");
            }
            prop_assert_eq!(socket.out, expected);
            prop_assert!(buffer.pieces.is_empty() && buffer.small.is_empty());
        }
    }

    #[test]
    fn one_write_takes_what_has_accumulated() {
        let mut buffer = WriteBuffer::default();
        for _ in 0..50 {
            buffer.push(b"small");
        }
        buffer.push_shared(Bytes::from_static(&[7; 10_000]));
        buffer.push(b"tail");
        assert_eq!(buffer.tail(4), b"tail");
        let mut socket = Slow { step: usize::MAX / 2, out: Vec::new() };
        assert_eq!(buffer.write_to(&mut socket, usize::MAX).expect("never fails"), 10_254);
        assert!(buffer.is_empty());
    }
}
