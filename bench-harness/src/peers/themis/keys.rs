use anyhow::anyhow;
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

use crate::peers::work::{Auth, REPLICAS};

/// A replica's keys as its files hold them; good for nothing but measuring.
pub(super) struct Pair {
    /// PKCS#8, DER.
    pub(super) private: Vec<u8>,
    /// RSA: PKCS#1, DER. Ed25519: the 32 bytes.
    pub(super) public: Vec<u8>,
}

/// New keys of all replicas: its own key generator makes none of RSA.
pub(super) fn pairs(auth: Auth) -> anyhow::Result<Vec<Pair>> {
    let make = match auth {
        Auth::R | Auth::T => rsa_2048,
        Auth::D => ed25519,
    };
    (0..REPLICAS)
        .map(|_| make().map_err(|_| anyhow!("no key could be made: is the system out of memory?")))
        .collect()
}

fn rsa_2048() -> Result<Pair, aws_lc_rs::error::Unspecified> {
    let pair = KeyPair::generate(KeySize::Rsa2048)?;
    Ok(Pair { private: pair.as_der()?.as_ref().to_vec(), public: pair.public_key().as_ref().to_vec() })
}

fn ed25519() -> Result<Pair, aws_lc_rs::error::Unspecified> {
    let private = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())?;
    let pair = Ed25519KeyPair::from_pkcs8(private.as_ref()).map_err(|_| aws_lc_rs::error::Unspecified)?;
    Ok(Pair { private: private.as_ref().to_vec(), public: pair.public_key().as_ref().to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey};

    #[test]
    fn files_hold_pairs_in_the_forms_that_it_reads() {
        let pair = rsa_2048().expect("made");
        let key = KeyPair::from_pkcs8(&pair.private).expect("PKCS#8");
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), b"m", &mut signature).expect("signed");
        // Two numbers in a sequence are PKCS#1; SubjectPublicKeyInfo would hold another sequence first.
        assert_eq!(pair.public[4], 2, "an INTEGER");
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &pair.public)
            .verify(b"m", &signature)
            .expect("a pair");
        let pairs = pairs(Auth::D).expect("made");
        assert!(pairs.len() == 4 && pairs.iter().all(|pair| pair.public.len() == 32));
    }
}
