use std::io::{self, Read, Write};

use bytes::Bytes;
use hypostyle_app_api::Digest;
use hypostyle_crypto::merkle::{Tree, leaf};

/// Bytes of every chunk but the last.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// A path is no longer: chunks are numbered with 32 bits.
pub(super) const PATH_MAX: usize = 32;

/// A snapshot's bytes in chunks, and the Merkle tree over them.
#[derive(Clone, Debug)]
pub struct Image {
    chunks: Vec<Bytes>,
    tree: Tree,
    length: u64,
}

/// How many chunks a snapshot of `length` bytes has; `None` when there is no such snapshot.
pub(super) fn chunks_in(length: u64) -> Option<u32> {
    u32::try_from(length.div_ceil(CHUNK_BYTES as u64)).ok().filter(|chunks| *chunks > 0)
}

/// How many bytes the chunk at `index` has.
pub(super) fn chunk_len(length: u64, index: u32) -> usize {
    let before = u64::from(index) * CHUNK_BYTES as u64;
    usize::try_from(length.saturating_sub(before).min(CHUNK_BYTES as u64)).expect("at most a chunk")
}

impl Image {
    /// The chunks' root.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.tree.root()
    }

    /// Bytes in all.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// A chunk with its leaf hash and the path from there.
    #[must_use]
    pub fn chunk(&self, index: u32) -> Option<(&Bytes, Digest, Vec<Digest>)> {
        let index = usize::try_from(index).ok()?;
        Some((self.chunks.get(index)?, self.tree.leaf(index), self.tree.path(index)))
    }
}

/// Cuts what is written into chunks and hashes them.
#[derive(Debug, Default)]
pub struct ImageWriter {
    chunks: Vec<Bytes>,
    leaves: Vec<Digest>,
    open: Vec<u8>,
    length: u64,
}

impl ImageWriter {
    /// Fills the chunk with zeros: what follows begins a chunk, whatever the length of what came before.
    pub fn align(&mut self) {
        if !self.open.is_empty() {
            self.length += (CHUNK_BYTES - self.open.len()) as u64;
            self.open.resize(CHUNK_BYTES, 0);
            self.close();
        }
    }

    /// The image of all that was written.
    ///
    /// # Panics
    /// When nothing was.
    #[must_use]
    pub fn finish(mut self) -> Image {
        if !self.open.is_empty() {
            self.close();
        }
        Image { chunks: self.chunks, tree: Tree::new(self.leaves), length: self.length }
    }

    fn close(&mut self) {
        let chunk = Bytes::from(std::mem::take(&mut self.open));
        self.leaves.push(leaf(&chunk));
        self.chunks.push(chunk);
    }
}

impl Write for ImageWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.open.capacity() == 0 {
            self.open.reserve_exact(CHUNK_BYTES);
        }
        let taken = bytes.len().min(CHUNK_BYTES - self.open.len());
        self.open.extend_from_slice(&bytes[..taken]);
        self.length += taken as u64;
        if self.open.len() == CHUNK_BYTES {
            self.close();
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads what chunks hold.
#[derive(Debug)]
pub struct ImageReader<'a> {
    chunks: std::slice::Iter<'a, Bytes>,
    rest: &'a [u8],
}

impl<'a> ImageReader<'a> {
    /// From the first byte on.
    #[must_use]
    pub fn new(chunks: &'a [Bytes]) -> Self {
        Self { chunks: chunks.iter(), rest: &[] }
    }

    /// Goes on with the next chunk.
    ///
    /// # Errors
    /// When what is left of this one isn't all zeros.
    pub fn align(&mut self) -> Result<(), NotZero> {
        let padding = std::mem::take(&mut self.rest);
        if padding.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(NotZero) }
    }
}

/// There is something where zeros should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotZero;

impl Read for ImageReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.chunks.next() {
                Some(chunk) => self.rest = chunk,
                None => return Ok(0),
            }
        }
        let taken = into.len().min(self.rest.len());
        into[..taken].copy_from_slice(&self.rest[..taken]);
        self.rest = &self.rest[taken..];
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use hypostyle_crypto::merkle::root_from_path;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn chunks_prove_themselves_and_read_back(
            head in 1usize..200_000, rest in prop::collection::vec(0usize..150_000, 0..4)
        ) {
            let byte = |at: usize| u8::try_from(at % 251).unwrap();
            let mut writer = ImageWriter::default();
            let bytes: Vec<_> = (0..head).map(byte).collect();
            writer.write_all(&bytes).unwrap();
            writer.align();
            let mut whole = Vec::new();
            for part in rest {
                let bytes: Vec<_> = (0..part).map(byte).collect();
                writer.write_all(&bytes).unwrap();
                whole.extend(bytes);
            }
            let image = writer.finish();
            let count = chunks_in(image.length()).unwrap();
            let chunks: Vec<_> = (0..count).map(|index| image.chunk(index).unwrap().0.clone()).collect();
            for (index, chunk) in (0..count).zip(&chunks) {
                let (_, hash, path) = image.chunk(index).unwrap();
                prop_assert_eq!(hash, leaf(chunk));
                prop_assert_eq!(chunk.len(), chunk_len(image.length(), index));
                let root = root_from_path(leaf(chunk), index as usize, count as usize, &path);
                prop_assert_eq!(root, Some(image.root()));
            }
            prop_assert!(image.chunk(count).is_none());
            let mut reader = ImageReader::new(&chunks);
            let mut read = vec![0; head];
            reader.read_exact(&mut read).unwrap();
            prop_assert_eq!(read, bytes);
            prop_assert_eq!(reader.align(), Ok(()));
            let mut read = Vec::new();
            reader.read_to_end(&mut read).unwrap();
            prop_assert_eq!(read, whole);
        }
    }
}
