use aws_lc_rs::digest::{self, Context, SHA256};
use hypostyle_app_api::Digest;

/// Bytes that a [`Hasher`] gathers before it needs a context of the library's, which costs an allocation.
const BUFFER: usize = 256;

/// SHA-256 over the concatenation of `parts`. Whoever concatenates fields of variable length has to hash their
/// lengths too, or two different lists share a digest.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> Digest {
    if let [whole] = parts {
        return one_shot(whole);
    }
    let mut hasher = Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finish()
}

/// SHA-256 over bytes that come in pieces. Short inputs (up to 256 bytes) need no allocation.
pub struct Hasher {
    buffer: [u8; BUFFER],
    buffered: usize,
    context: Option<Context>,
}

impl Hasher {
    /// A hasher that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { buffer: [0; BUFFER], buffered: 0, context: None }
    }

    /// Appends `bytes`.
    pub fn update(&mut self, bytes: &[u8]) -> &mut Self {
        if bytes.len() > BUFFER - self.buffered {
            self.spill();
        }
        if bytes.len() > BUFFER {
            self.context().update(bytes);
        } else {
            self.buffer[self.buffered..self.buffered + bytes.len()].copy_from_slice(bytes);
            self.buffered += bytes.len();
        }
        self
    }

    /// The digest of everything appended.
    #[must_use]
    pub fn finish(mut self) -> Digest {
        if self.context.is_none() {
            return one_shot(&self.buffer[..self.buffered]);
        }
        self.spill();
        self.context.map_or(Digest::ZERO, |context| to_digest(&context.finish()))
    }

    fn spill(&mut self) {
        let context = self.context.get_or_insert_with(|| Context::new(&SHA256));
        context.update(&self.buffer[..self.buffered]);
        self.buffered = 0;
    }

    fn context(&mut self) -> &mut Context {
        self.context.get_or_insert_with(|| Context::new(&SHA256))
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

fn one_shot(bytes: &[u8]) -> Digest {
    to_digest(&digest::digest(&SHA256, bytes))
}

fn to_digest(digest: &digest::Digest) -> Digest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    Digest(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_digests() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(&[]).to_string(), empty);
        assert_eq!(Hasher::new().finish().to_string(), empty);
        assert_eq!(sha256(&[b"abc"]).to_string(), abc);
        assert_eq!(sha256(&[b"a", b"", b"bc"]).to_string(), abc);
    }

    proptest! {
        #[test]
        fn pieces_hash_like_the_whole(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 0..8)) {
            let parts: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(sha256(&parts), sha256(&[&pieces.concat()]));
        }
    }
}
