#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod merkle;

mod digest;
mod domain;
mod identity;
mod key;
mod key_file;
mod keyring;
mod mac;
mod p256;
mod pool;
mod random;
mod seal;
#[cfg(feature = "simulation")]
mod simulated;
mod suite;
mod verified;

pub use digest::{Hasher, sha256};
pub use domain::{Domain, SIGNED_LEN, Signer, Tag};
pub use identity::Identity;
pub use key::{KeyError, PublicKey, SigningKey, VerifyingKey};
pub use key_file::{KeyFileError, read_key, write_key};
pub use keyring::Keyring;
pub use mac::{MacKey, Session, Sessions, TAG_LEN};
pub use pool::{Class, DESK_MESSAGES_MAX, DESK_SIGNATURES_MAX, Desk, Finished, Pool};
pub use random::random;
pub use seal::{Entry, SEAL_ENTRIES_MAX, Seal};
pub use suite::{SIGNATURE_LEN_MAX, SUITES, Suite, UnknownSuite};
pub use verified::{Claim, Proof, Refused, Signed, Unsure, Verdict, Verified};
