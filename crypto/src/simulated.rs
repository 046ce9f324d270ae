//! Signatures of the simulator: a keyed hash, a hundred times faster than the fastest suite. Whoever verifies could
//! sign as well, but a simulated adversary is handed its own key only.

use bytes::Bytes;

/// Both halves of a key.
#[derive(Clone, Copy)]
pub(crate) struct SimulatedKey(pub(crate) [u64; 2]);

impl SimulatedKey {
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let (low, high) = (bytes.first_chunk()?, bytes.last_chunk()?);
        Some(Self([u64::from_le_bytes(*low), u64::from_le_bytes(*high)])).filter(|_| bytes.len() == 16)
    }

    pub(crate) fn bytes(self) -> Bytes {
        Bytes::copy_from_slice(&self.0.map(u64::to_le_bytes).concat())
    }

    pub(crate) fn sign(self, message: &[u8]) -> [u8; 16] {
        let [mut a, mut b] = self.0;
        for chunk in message.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            let word = u64::from_le_bytes(word);
            a = mix(a ^ word, 0x9e37_79b9_7f4a_7c15 ^ self.0[1]);
            b = mix(b ^ word ^ a, 0xd6e8_feb8_6659_fd93 ^ self.0[0]);
        }
        a = mix(a ^ message.len() as u64, b | 1);
        b = mix(b ^ a, 0xa076_1d64_78bd_642f);
        let mut signature = [0; 16];
        signature[..8].copy_from_slice(&a.to_le_bytes());
        signature[8..].copy_from_slice(&b.to_le_bytes());
        signature
    }
}

/// Both halves of the product, folded (wyhash).
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    let folded = (product >> 64) as u64 ^ product as u64;
    folded ^ a.rotate_left(29)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_and_message_both_matter() {
        let key = SimulatedKey([1, 2]);
        let signature = key.sign(b"a message of some length");
        assert_eq!(
            signature,
            SimulatedKey::of(&key.bytes()).expect("16 bytes").sign(b"a message of some length")
        );
        assert_ne!(signature, SimulatedKey([1, 3]).sign(b"a message of some length"));
        assert_ne!(signature, key.sign(b"a message of some lengti"));
        assert_ne!(key.sign(b"a"), key.sign(b"a\0"));
    }
}
