//! ECDSA accepts `s` and `n - s` alike, so anyone can turn a signature into a second one. We make and accept only
//! the smaller.

use bytes::Bytes;

/// The order n of P-256 (FIPS 186-5).
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
/// (n - 1) / 2
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xde, 0x73, 0x7d,
    0x56, 0xd3, 0x8b, 0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8,
];

/// Whether the second half of the signature `r ‖ s` is at most (n-1)/2.
pub(crate) fn has_low_s(signature: &[u8]) -> bool {
    signature.get(32..).is_some_and(|s| s <= &HALF_ORDER[..])
}

/// The one of `r ‖ s` and `r ‖ n-s` that [`has_low_s`].
pub(crate) fn with_low_s(signature: &[u8]) -> Bytes {
    if has_low_s(signature) { Bytes::copy_from_slice(signature) } else { negate(signature).into() }
}

fn negate(signature: &[u8]) -> Vec<u8> {
    let mut out = signature.to_vec();
    let mut borrow = false;
    for (byte, order) in out[32..].iter_mut().zip(ORDER).rev() {
        let (difference, first) = order.overflowing_sub(*byte);
        let (difference, second) = difference.overflowing_sub(u8::from(borrow));
        *byte = difference;
        borrow = first || second;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SigningKey, Suite, VerifyingKey};

    #[test]
    fn half_the_order_is_half_the_order() {
        let twice_and_one = HALF_ORDER.iter().rev().scan(1u16, |carry, byte| {
            let sum = u16::from(*byte) * 2 + *carry;
            *carry = sum >> 8;
            Some(sum.to_le_bytes()[0])
        });
        assert!(twice_and_one.eq(ORDER.into_iter().rev()));
    }

    #[test]
    fn only_the_lower_of_two_valid_signatures_is_made_and_accepted() {
        let key = SigningKey::generate(Suite::EcdsaP256);
        let verifying = VerifyingKey::new(&key.public()).expect("own key");
        for message in 0..20u8 {
            let signature = key.sign(&[message]);
            assert!(has_low_s(&signature) && verifying.verify(&[message], &signature));
            let other = negate(&signature);
            assert!(!has_low_s(&other) && !verifying.verify(&[message], &other));
            assert_eq!(with_low_s(&other), signature);
        }
    }
}
