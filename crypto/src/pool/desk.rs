use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use hypostyle_app_api::Digest;

use super::inbox::{Inbox, Outlet, channel};
use super::job::{Done, Origin, Signing, Verification, check_inline};
use super::quota::Quota;
use super::remembered::{Plan, Remembered};
use super::{Class, DESK_MESSAGES_MAX, DESK_SIGNATURES_MAX, Pool};
use crate::domain::{Signer, Tag};
use crate::verified::{Claim, Refused, Signed, Verdict};

/// What came of a call to [`Desk::verify`] or [`Desk::sign`].
#[derive(Debug)]
pub enum Finished<T, C> {
    /// A message was judged.
    Verified {
        /// As given to [`Desk::verify`].
        context: C,
        /// The message, with the proof or without.
        verdict: Verdict<T>,
    },
    /// A signature was made.
    Signed {
        /// As given to [`Desk::sign`].
        ticket: u64,
        /// The signature.
        signature: Bytes,
    },
}

/// One worker's place at the [`Pool`]: messages go in, verified ones come out, in any order.
///
/// A worker drains [`Desk::finished`] in each turn, before it sleeps: what was done on its own thread wakes nobody.
pub struct Desk<T, C> {
    pool: Pool,
    threads: Option<Threads<T, C>>,
    done: VecDeque<Finished<T, C>>,
    remembered: Remembered,
    verifications: u64,
    signatures: u64,
    hits: u64,
}

/// What a desk needs only when work leaves the worker's thread.
struct Threads<T, C> {
    outlet: Arc<Outlet<Box<Done<T, C>>>>,
    inbox: Inbox<Box<Done<T, C>>>,
    seals: Quota,
    clients: Quota,
    signing: usize,
    /// Messages of a source with the same one claim as another of its messages, which is being checked: bundles of
    /// several pillars come under one seal, often in one turn.
    waiting: BTreeMap<(u32, Class, Digest), Vec<(T, C)>>,
}

impl<T, C> Desk<T, C>
where
    T: Signed + Send + Sync + 'static,
    C: Send + 'static,
{
    pub(super) fn new(pool: Pool, wake: Arc<dyn Fn() + Send + Sync>) -> Self {
        let threads = (pool.threads() > 0).then(|| Threads::new(wake));
        let remembered = Remembered::new(pool.keyring().domain());
        let done = VecDeque::new();
        Self { pool, threads, done, remembered, verifications: 0, signatures: 0, hits: 0 }
    }

    /// Has all claims of `message` checked; [`Desk::finished`] returns the verdict with `context`. `source` is whose
    /// account it goes to: who sent it, not who signed it.
    ///
    /// False when the source has too many messages under way (as many as it leaves free of
    /// [`DESK_MESSAGES_MAX`]): the message is dropped, nothing will be heard of it.
    #[must_use = "a refused message is gone: count it"]
    pub fn verify(&mut self, source: u32, class: Class, message: T, context: C) -> bool {
        self.verify_with(source, class, message, context, |_| false)
    }

    /// [`Desk::verify`] of a message that may stand on tags too: `tags` judges those, here and now.
    #[must_use = "a refused message is gone: count it"]
    pub fn verify_with(
        &mut self,
        source: u32,
        class: Class,
        message: T,
        context: C,
        tags: impl Fn(&Claim<'_>) -> bool,
    ) -> bool {
        if self.done.len() >= DESK_MESSAGES_MAX {
            return false;
        }
        let plan = self.remembered.plan(&message, tags);
        self.hits += plan.hits;
        if plan.todo.len() == 0 {
            let verdict = Verdict::signed(message, plan.doubtful);
            self.done.push_back(Finished::Verified { context, verdict });
            return true;
        }
        match &mut self.threads {
            Some(threads) => threads.submit(&self.pool, source, class, message, context, plan),
            None => {
                self.verify_here(message, context, plan);
                true
            }
        }
    }

    /// Has `content` signed in our name; [`Desk::finished`] returns the signature with `ticket`.
    pub fn sign(&mut self, tag: Tag, content: Digest, ticket: u64) {
        self.signatures += 1;
        // For the other suites a hand-off costs more than the signature.
        let elsewhere = self.pool.identity().suite().is_rsa();
        match &mut self.threads {
            Some(threads) if elsewhere && threads.signing < DESK_SIGNATURES_MAX => {
                threads.sign(&self.pool, tag, content, ticket);
            }
            _ => {
                let signature = self.pool.identity().sign(tag, &content);
                self.done.push_back(Finished::Signed { ticket, signature });
            }
        }
    }

    /// The next result, if any. After `None` the next result from another thread wakes.
    pub fn finished(&mut self) -> Option<Finished<T, C>> {
        if let Some(finished) = self.done.pop_front() {
            return Some(finished);
        }
        let done = self.threads.as_ref()?.inbox.take()?;
        self.take_back(*done)
    }

    /// How much was handed in and not yet returned by [`Desk::finished`].
    #[must_use]
    pub fn pending(&self) -> usize {
        let elsewhere = self.threads.as_ref().map_or(0, Threads::pending);
        self.done.len() + elsewhere
    }

    /// Verifications done, signatures ordered, and claims that needed no verification because the same one was done
    /// lately or under way. A verification counts when its message comes back.
    #[must_use]
    pub fn counters(&self) -> (u64, u64, u64) {
        (self.verifications, self.signatures, self.hits)
    }

    fn verify_here(&mut self, message: T, context: C, plan: Plan) {
        let (checked, bad) = check_inline(self.pool.keyring(), &message, &plan.todo);
        self.verifications += checked;
        let verdict = match bad {
            None => Verdict::signed(message, plan.doubtful),
            Some(index) => Verdict::Refused(Refused { signer: message.claim(index).signer, message }),
        };
        if bad.is_none() {
            plan.keys.into_iter().for_each(|key| self.remembered.insert(key));
        }
        self.done.push_back(Finished::Verified { context, verdict });
    }

    fn take_back(&mut self, done: Done<T, C>) -> Option<Finished<T, C>> {
        let threads = self.threads.as_mut()?;
        match done {
            Done::Signed { ticket, signature } => {
                threads.signing -= 1;
                Some(Finished::Signed { ticket, signature })
            }
            Done::Verified { origin, checked, context, verdict } => {
                self.verifications += checked;
                let failed = match &verdict {
                    Verdict::Refused(refused) => Some(refused.signer),
                    Verdict::Verified(_) | Verdict::Unsure(_) => None,
                };
                self.hits += threads.settle(&origin, failed, &mut self.done);
                if failed.is_none() {
                    origin.keys.into_iter().for_each(|key| self.remembered.insert(key));
                }
                Some(Finished::Verified { context, verdict })
            }
        }
    }
}

impl<T, C> Threads<T, C>
where
    T: Signed + Send + Sync + 'static,
    C: Send + 'static,
{
    fn new(wake: Arc<dyn Fn() + Send + Sync>) -> Self {
        let (outlet, inbox) = channel(2 * DESK_MESSAGES_MAX + DESK_SIGNATURES_MAX, wake);
        let (seals, clients) = (Quota::new(DESK_MESSAGES_MAX), Quota::new(DESK_MESSAGES_MAX));
        Self { outlet: Arc::new(outlet), inbox, seals, clients, signing: 0, waiting: BTreeMap::new() }
    }

    fn pending(&self) -> usize {
        self.seals.taken() + self.clients.taken() + self.signing
    }

    fn quota(&mut self, class: Class) -> &mut Quota {
        match class {
            Class::Seal => &mut self.seals,
            Class::Client => &mut self.clients,
        }
    }

    fn submit(&mut self, pool: &Pool, source: u32, class: Class, message: T, context: C, plan: Plan) -> bool {
        if !self.quota(class).take(source) {
            return false;
        }
        let shared = plan.keys.first().copied().filter(|_| plan.todo.len() == 1 && plan.doubtful.is_empty());
        if let Some(key) = shared {
            if let Some(waiting) = self.waiting.get_mut(&(source, class, key)) {
                waiting.push((message, context));
                return true;
            }
            self.waiting.insert((source, class, key), Vec::new());
        }
        let origin = Origin { source, class, keys: plan.keys, shared };
        let (keyring, outlet) = (Arc::clone(pool.keyring()), Arc::clone(&self.outlet));
        let (todo, doubtful) = (plan.todo, plan.doubtful);
        let job =
            Verification::new(message, context, (todo, doubtful), origin, pool.threads(), keyring, outlet);
        pool.submit(|queue| queue.push(source, class, Arc::new(job)));
        true
    }

    fn sign(&mut self, pool: &Pool, tag: Tag, content: Digest, ticket: u64) {
        self.signing += 1;
        let (identity, outlet) = (Arc::clone(pool.identity()), Arc::clone(&self.outlet));
        let job = Signing { tag, content, ticket, identity, outlet };
        pool.submit(|queue| queue.push_signature(Arc::new(job)));
    }

    /// Gives places back and passes the verdict to those who wait for the same; returns how many those are.
    fn settle(
        &mut self,
        origin: &Origin,
        failed: Option<Signer>,
        done: &mut VecDeque<Finished<T, C>>,
    ) -> u64 {
        self.quota(origin.class).release(origin.source);
        let waiting = origin.shared.and_then(|key| self.waiting.remove(&(origin.source, origin.class, key)));
        let mut shared = 0;
        for (message, context) in waiting.into_iter().flatten() {
            self.quota(origin.class).release(origin.source);
            shared += 1;
            let verdict = match failed {
                None => Verdict::signed(message, Vec::new()),
                Some(signer) => Verdict::Refused(Refused { message, signer }),
            };
            done.push_back(Finished::Verified { context, verdict });
        }
        shared
    }
}
