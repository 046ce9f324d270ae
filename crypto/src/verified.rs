use std::ops::Deref;

use hypostyle_app_api::Digest;

use crate::domain::{Signer, Tag};

/// One signature, or MAC, that a message stands on.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// What kind of thing is signed.
    pub tag: Tag,
    /// Who is said to have signed.
    pub signer: Signer,
    /// The digest of what is signed, computed by the receiver.
    pub content: Digest,
    /// What proves it.
    pub proof: Proof<'a>,
    /// Whether the same claim is likely to come again, so that remembering a success pays.
    pub remember: bool,
}

/// What proves a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof<'a> {
    /// The signer's signature: convinces everybody.
    Signature(&'a [u8]),
    /// The signer's MAC tags, one for each receiver: each convinces that one only.
    Tags(&'a [u8]),
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

/// A message all of whose signatures hold, but not all of its tags, as far as this replica can tell. Only this crate's
/// verifiers make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsure<T> {
    message: T,
    /// The claims that don't hold, ascending.
    doubtful: Vec<usize>,
}

impl<T> Unsure<T> {
    pub(crate) fn new(message: T, doubtful: Vec<usize>) -> Self {
        Self { message, doubtful }
    }

    /// The message, and the indices of the claims that don't hold, ascending: at least one.
    #[must_use]
    pub fn into_parts(self) -> (T, Vec<usize>) {
        (self.message, self.doubtful)
    }
}

/// What came of a verification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<T> {
    /// All claims hold.
    Verified(Verified<T>),
    /// All signatures hold, some tags don't.
    Unsure(Unsure<T>),
    /// A signature doesn't hold.
    Refused(Refused<T>),
}

impl<T> Verdict<T> {
    /// All signatures of `message` hold, and all tags but these.
    pub(crate) fn signed(message: T, doubtful: Vec<usize>) -> Self {
        match doubtful.is_empty() {
            true => Self::Verified(Verified::new(message)),
            false => Self::Unsure(Unsure::new(message, doubtful)),
        }
    }
}
