use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hypostyle_app_api::Digest;

use super::Class;
use super::fair::Work;
use super::inbox::Outlet;
use super::remembered::Todo;
use crate::domain::Tag;
use crate::identity::Identity;
use crate::keyring::Keyring;
use crate::verified::{Refused, Signed, Verdict};

/// Fewer claims in a chunk cost more in hand-off than a second thread gains.
const CHUNK_CLAIMS_MIN: usize = 4;
/// More let others wait too long.
const CHUNK_CLAIMS_MAX: usize = 16;

/// What crypto threads hand back.
pub(super) enum Done<T, C> {
    Verified { origin: Origin, checked: u64, context: C, verdict: Verdict<T> },
    Signed { ticket: u64, signature: Bytes },
}

/// What a desk wants to know of a verification when it comes back.
pub(super) struct Origin {
    pub(super) source: u32,
    pub(super) class: Class,
    /// To be remembered if all claims hold.
    pub(super) keys: Vec<Digest>,
    /// Under which key others wait for the same verdict.
    pub(super) shared: Option<Digest>,
}

/// A message on its way through the crypto threads.
pub(super) struct Verification<T, C> {
    message: T,
    /// In a mutex only to be `Sync`; never locked.
    context: Mutex<C>,
    todo: Todo,
    doubtful: Vec<usize>,
    chunk_claims: usize,
    origin: Origin,
    /// The lowest position in `todo` known to fail.
    first_bad: AtomicUsize,
    checked: AtomicU64,
    keyring: Arc<Keyring>,
    outlet: Arc<Outlet<Box<Done<T, C>>>>,
}

impl<T: Signed, C> Verification<T, C> {
    pub(super) fn new(
        message: T,
        context: C,
        (todo, doubtful): (Todo, Vec<usize>),
        origin: Origin,
        threads: usize,
        keyring: Arc<Keyring>,
        outlet: Arc<Outlet<Box<Done<T, C>>>>,
    ) -> Self {
        let chunk_claims = todo.len().div_ceil(2 * threads).clamp(CHUNK_CLAIMS_MIN, CHUNK_CLAIMS_MAX);
        let first_bad = AtomicUsize::new(usize::MAX);
        let context = Mutex::new(context);
        let checked = AtomicU64::new(0);
        Self { message, context, todo, doubtful, chunk_claims, origin, first_bad, checked, keyring, outlet }
    }

    /// Checks a chunk, up to its first failure or one before it. Chunks before a failure go on, so that the blame
    /// falls as it would if all claims were checked in order.
    fn check(&self, chunk: usize) {
        let start = chunk * self.chunk_claims;
        let end = self.todo.len().min(start + self.chunk_claims);
        for position in start..end {
            if self.first_bad.load(Ordering::Relaxed) < position {
                return;
            }
            self.checked.fetch_add(1, Ordering::Relaxed);
            if !self.keyring.holds(&self.message.claim(self.todo.index(position))) {
                self.first_bad.fetch_min(position, Ordering::Relaxed);
                return;
            }
        }
    }

    fn deliver(self) {
        let first_bad = self.first_bad.into_inner();
        let verdict = if first_bad == usize::MAX {
            Verdict::signed(self.message, self.doubtful)
        } else {
            let signer = self.message.claim(self.todo.index(first_bad)).signer;
            Verdict::Refused(Refused { message: self.message, signer })
        };
        let context = self.context.into_inner().unwrap_or_else(PoisonError::into_inner);
        let checked = self.checked.into_inner();
        self.outlet.send(Box::new(Done::Verified { origin: self.origin, checked, context, verdict }));
    }
}

impl<T: Signed + Send + Sync, C: Send> Work for Verification<T, C> {
    fn chunks(&self) -> usize {
        self.todo.len().div_ceil(self.chunk_claims)
    }

    fn is_settled(&self) -> bool {
        self.first_bad.load(Ordering::Relaxed) != usize::MAX
    }

    fn run(self: Arc<Self>, chunk: usize) {
        self.check(chunk);
        // The queue and every chunk hold a reference: who drops the last one delivers.
        if let Some(whole) = Arc::into_inner(self) {
            whole.deliver();
        }
    }
}

/// A signature to be made.
pub(super) struct Signing<T, C> {
    pub(super) tag: Tag,
    pub(super) content: Digest,
    pub(super) ticket: u64,
    pub(super) identity: Arc<Identity>,
    pub(super) outlet: Arc<Outlet<Box<Done<T, C>>>>,
}

impl<T: Send, C: Send> Work for Signing<T, C> {
    fn chunks(&self) -> usize {
        1
    }

    fn is_settled(&self) -> bool {
        false
    }

    fn run(self: Arc<Self>, _chunk: usize) {
        let signature = self.identity.sign(self.tag, &self.content);
        self.outlet.send(Box::new(Done::Signed { ticket: self.ticket, signature }));
    }
}

/// Checks the claims of `todo` in order on this thread: how many were checked, and the index of the one that failed.
pub(super) fn check_inline(keyring: &Keyring, message: &impl Signed, todo: &Todo) -> (u64, Option<usize>) {
    let mut checked = 0;
    for index in (0..todo.len()).map(|position| todo.index(position)) {
        checked += 1;
        if !keyring.holds(&message.claim(index)) {
            return (checked, Some(index));
        }
    }
    (checked, None)
}
