//! What a message under a seal ends with.

use bytes::Bytes;
use hypostyle_app_api::ReplicaId;
use hypostyle_crypto::{Entry, Seal};

/// Ends a message's bytes with the seal.
///
/// # Panics
/// When the seal isn't the signer's or doesn't cover the entry: our own mistake.
pub(super) fn append(mut bytes: Vec<u8>, signer: ReplicaId, entry: &Entry, seal: &Seal) -> Bytes {
    assert!(seal.signer == signer && seal.contains(entry), "the seal covers something else");
    seal.encode(&mut bytes);
    Bytes::from(bytes)
}

/// The seal that these bytes are, the signer's over the entry. Whether its signature is good is a claim still.
pub(super) fn read(bytes: &[u8], signer: ReplicaId, entry: &Entry) -> Result<Seal, &'static str> {
    let (seal, used) = Seal::decode(bytes).ok_or("no seal")?;
    if used != bytes.len() {
        return Err("trailing bytes");
    }
    if seal.signer != signer || !seal.contains(entry) {
        return Err("the seal covers something else");
    }
    Ok(seal)
}
