use std::ops::Deref;

use hypostyle_app_api::Digest;

use crate::domain::{Signer, Tag};

/// One signature that a message stands on.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// What kind of thing is signed.
    pub tag: Tag,
    /// Who is said to have signed.
    pub signer: Signer,
    /// The digest of what is signed, computed by the receiver.
    pub content: Digest,
    /// The signature.
    pub signature: &'a [u8],
    /// Whether the same claim is likely to come again, so that remembering a success pays.
    pub remember: bool,
}

/// A message that stands on signatures: all of its claims must hold.
pub trait Signed {
    /// How many there are.
    fn claims(&self) -> usize;

    /// The claim at `index`, below [`Signed::claims`].
    fn claim(&self, index: usize) -> Claim<'_>;
}

/// A message all of whose claims hold: only this crate's verifiers make one.
///
/// ```compile_fail,E0423
/// let forged = hypostyle_crypto::Verified("not verified");
/// ```
/// ```compile_fail,E0451
/// # use hypostyle_crypto::Verified;
/// fn forge(other: Verified<u8>) -> Verified<u8> {
///     Verified { 0: 7, ..other }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    pub(crate) fn new(message: T) -> Self {
        Self(message)
    }

    /// The message, without the proof.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// A message with a claim that doesn't hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused<T> {
    /// The message.
    pub message: T,
    /// Whose signature failed: of several, that of the lowest index.
    pub signer: Signer,
}
