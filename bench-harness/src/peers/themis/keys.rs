use anyhow::anyhow;
use aws_lc_rs::encoding::{AsBigEndian as _, AsDer as _};
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

/// PKCS#8 with the public key as the version of *ring* that it uses wrote it: tagged explicitly, where today's libraries
/// tag it implicitly and it refuses that.
fn ed25519() -> Result<Pair, aws_lc_rs::error::Unspecified> {
    const HEAD: [u8; 16] = [0x30, 0x53, 2, 1, 1, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    const BETWEEN: [u8; 5] = [0xa1, 0x23, 3, 0x21, 0];
    let pair = Ed25519KeyPair::generate()?;
    let seed = pair.seed()?.as_be_bytes()?;
    let public = pair.public_key().as_ref();
    Ok(Pair { private: [&HEAD, seed.as_ref(), &BETWEEN, public].concat(), public: public.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::rand::SystemRandom;
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
        assert_eq!(pairs.len(), 4);
        for Pair { private, public } in pairs {
            assert_eq!((private.len(), usize::from(private[1])), (85, 83), "the length that it states");
            Ed25519KeyPair::from_seed_and_public_key(&private[16..48], &private[53..]).expect("a pair");
            assert_eq!(private[53..], public);
        }
    }
}
