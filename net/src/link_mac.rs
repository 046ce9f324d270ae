//! The MAC on every frame between replicas: AES-128-GMAC with a key for one direction of one connection and a
//! counter as nonce, so that frames can't be altered, dropped, repeated, reordered or reflected unnoticed.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::frame::HEADER_LEN;

/// Bytes of a tag.
pub(crate) const TAG_LEN: usize = 16;
/// Bytes of a key.
pub(crate) const KEY_LEN: usize = 16;

/// Payload bytes under the tag's own nonce. What lies beyond them is authenticated first, under a nonce of its own,
/// and that inner tag, which is never sent, is put into the outer one: so a large body needs not be copied behind
/// its header to be authenticated, wherever the sender keeps it.
pub(crate) const FRONT_MAX: usize = 512;

/// One direction of a link.
pub(crate) struct LinkMac {
    key: LessSafeKey,
    counter: u64,
}

impl LinkMac {
    pub(crate) fn new(key: &[u8; KEY_LEN]) -> Self {
        let key = UnboundKey::new(&AES_128_GCM, key).expect("a key of 16 bytes fits AES-128");
        Self { key: LessSafeKey::new(key), counter: 0 }
    }

    /// The tag of the next frame, given from its header to the payload's end.
    pub(crate) fn seal(&mut self, frame: &[u8]) -> [u8; TAG_LEN] {
        let (front, rest) = split(frame);
        self.seal_split(front, rest)
    }

    /// [`LinkMac::seal`] of a frame whose header and first [`FRONT_MAX`] payload bytes lie apart from the rest.
    pub(crate) fn seal_split(&mut self, front: &[u8], rest: &[u8]) -> [u8; TAG_LEN] {
        debug_assert!(rest.is_empty() || front.len() == HEADER_LEN + FRONT_MAX);
        let counter = self.next();
        self.tag(counter, front, rest)
    }

    /// Whether `tag` is that of the next frame.
    pub(crate) fn verify(&mut self, frame: &[u8], tag: &[u8]) -> bool {
        let counter = self.next();
        let (front, rest) = split(frame);
        if rest.is_empty() {
            return self
                .key
                .open_in_place_separate_tag(nonce(counter, 0), Aad::from(front), tag, &mut [])
                .is_ok();
        }
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.tag(counter, front, rest), tag).is_ok()
    }

    fn next(&mut self) -> u64 {
        let counter = self.counter;
        self.counter = counter.checked_add(1).expect("a connection does not live for 2^64 frames");
        counter
    }

    fn tag(&self, counter: u64, front: &[u8], rest: &[u8]) -> [u8; TAG_LEN] {
        if rest.is_empty() {
            return self.gmac(nonce(counter, 0), front);
        }
        let inner = self.gmac(nonce(counter, 1), rest);
        let mut outer = [0; HEADER_LEN + FRONT_MAX + TAG_LEN];
        let (head, tail) = outer.split_at_mut(HEADER_LEN + FRONT_MAX);
        head.copy_from_slice(front);
        tail.copy_from_slice(&inner);
        self.gmac(nonce(counter, 0), &outer)
    }

    fn gmac(&self, nonce: Nonce, bytes: &[u8]) -> [u8; TAG_LEN] {
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(bytes), &mut []);
        let tag = tag.expect("sealing nothing has nothing to fail on");
        *tag.as_ref().first_chunk().expect("a GCM tag has 16 bytes")
    }
}

fn split(frame: &[u8]) -> (&[u8], &[u8]) {
    frame.split_at(frame.len().min(HEADER_LEN + FRONT_MAX))
}

fn nonce(counter: u64, part: u8) -> Nonce {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&counter.to_le_bytes());
    bytes[8] = part;
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(payload: usize) -> Vec<u8> {
        let mut frame = crate::frame::header(payload).expect("short").to_vec();
        frame.extend((0..payload).map(|i| u8::try_from(i % 251).expect("below 251")));
        frame
    }

    #[test]
    fn frames_of_every_size_verify_in_order_and_only_so() {
        let (mut sender, mut receiver) = (LinkMac::new(&[7; 16]), LinkMac::new(&[7; 16]));
        for payload in [0, 1, 16, FRONT_MAX - 1, FRONT_MAX, FRONT_MAX + 1, 5000] {
            let frame = frame(payload);
            let tag = sender.seal(&frame);
            assert!(receiver.verify(&frame, &tag), "{payload}");
            assert!(!receiver.verify(&frame, &tag), "repeated, {payload}");
            sender.next();
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed() {
        for payload in [0, 3, FRONT_MAX, FRONT_MAX + 40] {
            let good = frame(payload);
            let tag = LinkMac::new(&[7; 16]).seal(&good);
            for bit in 0..good.len() * 8 {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(!LinkMac::new(&[7; 16]).verify(&bad, &tag), "bit {bit} of {payload}");
            }
            for bit in 0..TAG_LEN * 8 {
                let mut bad = tag;
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(!LinkMac::new(&[7; 16]).verify(&good, &bad), "tag bit {bit} of {payload}");
            }
            assert!(!LinkMac::new(&[8; 16]).verify(&good, &tag));
            assert!(!LinkMac::new(&[7; 16]).verify(&good, &tag[..15]));
        }
    }
}
