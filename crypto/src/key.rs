use std::fmt;
use std::str::FromStr;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hypostyle_app_api::Digest;
use zeroize::Zeroizing;

use crate::digest::sha256;
use crate::p256;
#[cfg(feature = "simulation")]
use crate::simulated::SimulatedKey;
use crate::suite::{Suite, UnknownSuite};

const PEM_TAG: &str = "PRIVATE KEY";
/// A 4096-bit key needs about 740 characters.
const PUBLIC_TEXT_MAX: usize = 2048;
const RSA_EXPONENT_MIN: u64 = 65_537;

/// Why a key is refused.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not of the form `suite:base64url`.
    #[error("not a public key: expected one line `suite:base64url`, as `hypostyle key` prints it")]
    Text,
    /// The suite's name is unknown.
    #[error(transparent)]
    Suite(#[from] UnknownSuite),
    /// The bytes are no key of the suite, or not encoded the one accepted way.
    #[error("not a well-formed {0} public key; print it again with `hypostyle key`")]
    Malformed(Suite),
    /// An RSA modulus of another size than the suite says.
    #[error("an RSA key of {bits} bits can't serve as {suite}; make a new key with `hypostyle key`")]
    ModulusSize {
        /// The suite named.
        suite: Suite,
        /// Bits of the modulus.
        bits: usize,
    },
    /// An RSA exponent that is even or under 65537.
    #[error("the public exponent of an RSA key must be odd and at least 65537")]
    Exponent,
    /// Not a private key of any suite.
    #[error(
        "not a private key in PKCS#8 PEM (`-----BEGIN PRIVATE KEY-----`) of RSA 2048, 3072 or 4096 bits, Ed25519 or P-256"
    )]
    Pem,
}

/// A public key as configurations hold it: the suite and the canonical bytes (SubjectPublicKeyInfo for RSA, the raw
/// point else). It was checked when made.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey {
    suite: Suite,
    bytes: Bytes,
}

impl PublicKey {
    /// Its suite.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// SHA-256 over the key's one-line text, for humans to compare.
    #[must_use]
    pub fn fingerprint(&self) -> Digest {
        sha256(&[self.to_string().as_bytes()])
    }

    fn new(suite: Suite, bytes: Bytes) -> Result<Self, KeyError> {
        match suite {
            Suite::Rsa2048 | Suite::Rsa3072 | Suite::Rsa4096 => check_rsa(suite, &bytes)?,
            Suite::Ed25519 => check_length(suite, &bytes, 32)?,
            Suite::EcdsaP256 => check_p256(&bytes)?,
            #[cfg(feature = "simulation")]
            Suite::Simulated => return Err(KeyError::Malformed(suite)),
        }
        let key = Self { suite, bytes };
        key.parse()?;
        Ok(key)
    }

    fn parse(&self) -> Result<ParsedPublicKey, KeyError> {
        let algorithm: &'static dyn VerificationAlgorithm = match self.suite {
            Suite::Rsa2048 | Suite::Rsa3072 | Suite::Rsa4096 => &RSA_PKCS1_2048_8192_SHA256,
            Suite::Ed25519 => &ED25519,
            Suite::EcdsaP256 => &ECDSA_P256_SHA256_FIXED,
            #[cfg(feature = "simulation")]
            Suite::Simulated => return Err(KeyError::Malformed(self.suite)),
        };
        ParsedPublicKey::new(algorithm, &self.bytes).map_err(|_| KeyError::Malformed(self.suite))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.suite, URL_SAFE_NO_PAD.encode(&self.bytes))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}, {:?})", self.suite, self.fingerprint())
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        if text.len() > PUBLIC_TEXT_MAX {
            return Err(KeyError::Text);
        }
        let (suite, encoded) = text.split_once(':').ok_or(KeyError::Text)?;
        let suite = suite.parse()?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| KeyError::Malformed(suite))?;
        Self::new(suite, bytes.into())
    }
}

/// A public key parsed for verifying.
#[derive(Clone)]
pub struct VerifyingKey {
    suite: Suite,
    key: Parsed,
}

#[derive(Clone)]
enum Parsed {
    Library(ParsedPublicKey),
    #[cfg(feature = "simulation")]
    Simulated(SimulatedKey),
}

impl VerifyingKey {
    /// Parses `key` once, so that each verification needn't.
    ///
    /// # Errors
    /// When the library refuses the key.
    pub fn new(key: &PublicKey) -> Result<Self, KeyError> {
        #[cfg(feature = "simulation")]
        if key.suite == Suite::Simulated {
            let simulated = SimulatedKey::of(&key.bytes).ok_or(KeyError::Malformed(key.suite))?;
            return Ok(Self { suite: key.suite, key: Parsed::Simulated(simulated) });
        }
        Ok(Self { suite: key.suite, key: Parsed::Library(key.parse()?) })
    }

    /// Whether `signature` is the key's over `message`. Strict: one length, canonical numbers.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        signature.len() == self.suite.signature_len()
            && (self.suite != Suite::EcdsaP256 || p256::has_low_s(signature))
            && match &self.key {
                Parsed::Library(key) => key.verify_sig(message, signature).is_ok(),
                #[cfg(feature = "simulation")]
                Parsed::Simulated(key) => key.sign(message) == *signature,
            }
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", self.suite)
    }
}

/// A private key, held ready for signing. Never printed.
pub struct SigningKey {
    pair: Pair,
    public: PublicKey,
}

enum Pair {
    Rsa(rsa::KeyPair),
    Ed25519(Ed25519KeyPair),
    EcdsaP256(EcdsaKeyPair),
    #[cfg(feature = "simulation")]
    Simulated(SimulatedKey),
}

impl SigningKey {
    /// Makes a new key from the system's randomness. RSA takes from a tenth of a second to some seconds.
    ///
    /// # Panics
    /// When the system has no randomness.
    #[must_use]
    pub fn generate(suite: Suite) -> Self {
        Pair::generate(suite).and_then(Self::new).expect("the system's randomness and memory don't fail")
    }

    /// A key of the simulator's suite: the same for the same secret.
    #[cfg(feature = "simulation")]
    #[must_use]
    pub fn simulated(secret: [u64; 2]) -> Self {
        Self::new(Pair::Simulated(SimulatedKey(secret))).expect("any secret is a key")
    }

    /// An Ed25519 key: the same for the same seed.
    ///
    /// # Errors
    /// When the library refuses the seed.
    #[cfg(feature = "simulation")]
    pub fn ed25519_from_seed(seed: &[u8; 32]) -> Result<Self, KeyError> {
        let pair =
            Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Malformed(Suite::Ed25519))?;
        Self::new(Pair::Ed25519(pair))
    }

    fn new(pair: Pair) -> Result<Self, KeyError> {
        let public = pair.public()?;
        Ok(Self { pair, public })
    }

    /// Its suite.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.public.suite
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.public.clone()
    }

    /// Signs `message` (its SHA-256 for RSA and ECDSA).
    ///
    /// # Panics
    /// When the library can't sign with a key it has checked (out of memory).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Bytes {
        self.pair.sign(message, self.suite()).expect("a checked key signs")
    }

    /// The key as PKCS#8 PEM, wiped from memory when dropped.
    ///
    /// # Panics
    /// When out of memory.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        let der = self.pair.to_pkcs8().expect("a checked key encodes");
        let pem = pem::Pem::new(PEM_TAG, der);
        let text = Zeroizing::new(pem::encode(&pem));
        drop(Zeroizing::new(pem.into_contents()));
        text
    }

    /// Reads PKCS#8 PEM; the suite is what the key is.
    ///
    /// # Errors
    /// [`KeyError::Pem`] when it is no private key of a suite, else why the key is refused.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let pem = pem::parse(text).map_err(|_| KeyError::Pem)?;
        let is_private_key = pem.tag() == PEM_TAG;
        let der = Zeroizing::new(pem.into_contents());
        if !is_private_key {
            return Err(KeyError::Pem);
        }
        Self::new(Pair::from_pkcs8(&der)?)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?})", self.public)
    }
}

impl Pair {
    fn generate(suite: Suite) -> Result<Self, KeyError> {
        let rsa = |size| rsa::KeyPair::generate(size).map(Self::Rsa);
        match suite {
            Suite::Rsa2048 => rsa(rsa::KeySize::Rsa2048),
            Suite::Rsa3072 => rsa(rsa::KeySize::Rsa3072),
            Suite::Rsa4096 => rsa(rsa::KeySize::Rsa4096),
            Suite::Ed25519 => Ed25519KeyPair::generate().map(Self::Ed25519),
            Suite::EcdsaP256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map(Self::EcdsaP256),
            #[cfg(feature = "simulation")]
            Suite::Simulated => Err(aws_lc_rs::error::Unspecified),
        }
        .map_err(|_| KeyError::Malformed(suite))
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        if let Ok(pair) = rsa::KeyPair::from_pkcs8(der) {
            return Ok(Self::Rsa(pair));
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8(der) {
            return Ok(Self::Ed25519(pair));
        }
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der)
            .map(Self::EcdsaP256)
            .map_err(|_| KeyError::Pem)
    }

    fn to_pkcs8(&self) -> Result<Vec<u8>, aws_lc_rs::error::Unspecified> {
        Ok(match self {
            Self::Rsa(pair) => AsDer::<Pkcs8V1Der<'_>>::as_der(pair)?.as_ref().to_vec(),
            Self::Ed25519(pair) => pair.to_pkcs8v1()?.as_ref().to_vec(),
            Self::EcdsaP256(pair) => pair.to_pkcs8v1()?.as_ref().to_vec(),
            #[cfg(feature = "simulation")]
            Self::Simulated(_) => return Err(aws_lc_rs::error::Unspecified),
        })
    }

    fn public(&self) -> Result<PublicKey, KeyError> {
        match self {
            Self::Rsa(pair) => {
                let suite = rsa_suite(pair.public_key())?;
                let der = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key())
                    .map_err(|_| KeyError::Malformed(suite))?;
                PublicKey::new(suite, Bytes::copy_from_slice(der.as_ref()))
            }
            Self::Ed25519(pair) => PublicKey::new(Suite::Ed25519, raw(pair.public_key())),
            Self::EcdsaP256(pair) => PublicKey::new(Suite::EcdsaP256, raw(pair.public_key())),
            #[cfg(feature = "simulation")]
            Self::Simulated(key) => Ok(PublicKey { suite: Suite::Simulated, bytes: key.bytes() }),
        }
    }

    fn sign(&self, message: &[u8], suite: Suite) -> Result<Bytes, aws_lc_rs::error::Unspecified> {
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; suite.signature_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)?;
                Ok(signature.into())
            }
            Self::Ed25519(pair) => Ok(Bytes::copy_from_slice(pair.try_sign(message)?.as_ref())),
            Self::EcdsaP256(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message)?;
                Ok(p256::with_low_s(signature.as_ref()))
            }
            #[cfg(feature = "simulation")]
            Self::Simulated(key) => Ok(Bytes::copy_from_slice(&key.sign(message))),
        }
    }
}

fn raw(point: &impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(point.as_ref())
}

fn check_length(suite: Suite, bytes: &[u8], expected: usize) -> Result<(), KeyError> {
    if bytes.len() == expected { Ok(()) } else { Err(KeyError::Malformed(suite)) }
}

/// Only the uncompressed encoding; the library would take the hybrid ones (SEC 1, section 2.3.3) as well.
fn check_p256(point: &[u8]) -> Result<(), KeyError> {
    check_length(Suite::EcdsaP256, point, 65)?;
    if point.first() == Some(&4) { Ok(()) } else { Err(KeyError::Malformed(Suite::EcdsaP256)) }
}

fn check_rsa(suite: Suite, spki: &[u8]) -> Result<(), KeyError> {
    let key = rsa::PublicKey::from_der(spki).map_err(|_| KeyError::Malformed(suite))?;
    let bits = modulus_bits(&key);
    if bits != suite.signature_len() * 8 {
        return Err(KeyError::ModulusSize { suite, bits });
    }
    let exponent = key.exponent();
    let exponent = exponent.big_endian_without_leading_zero();
    let value = exponent.iter().take(8).fold(0, |value, byte| value << 8 | u64::from(*byte));
    if exponent.len() > 8 || value < RSA_EXPONENT_MIN || value.is_multiple_of(2) {
        return Err(KeyError::Exponent);
    }
    let canonical = AsDer::<PublicKeyX509Der<'_>>::as_der(&key).map_err(|_| KeyError::Malformed(suite))?;
    if canonical.as_ref() == spki { Ok(()) } else { Err(KeyError::Malformed(suite)) }
}

fn rsa_suite(key: &rsa::PublicKey) -> Result<Suite, KeyError> {
    match modulus_bits(key) {
        2048 => Ok(Suite::Rsa2048),
        3072 => Ok(Suite::Rsa3072),
        4096 => Ok(Suite::Rsa4096),
        _ => Err(KeyError::Pem),
    }
}

fn modulus_bits(key: &rsa::PublicKey) -> usize {
    let modulus = key.modulus();
    let bytes = modulus.big_endian_without_leading_zero();
    bytes.first().map_or(0, |first| bytes.len() * 8 - first.leading_zeros() as usize)
}
