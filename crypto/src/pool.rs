use std::sync::{Arc, Mutex, MutexGuard};

use crate::identity::Identity;
use crate::keyring::Keyring;
use crate::verified::Signed;

mod desk;
mod fair;
mod inbox;
mod job;
mod quota;
mod remembered;

pub use desk::{Desk, Finished};

use fair::{FairQueue, Task};

/// The most messages of one [`Class`] that a [`Desk`] holds. A source gets at most as many as are left free.
pub const DESK_MESSAGES_MAX: usize = 8192;
/// The most signatures a [`Desk`] has made elsewhere at one time; beyond it the caller makes them itself.
pub const DESK_SIGNATURES_MAX: usize = 256;

/// How urgent a verification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Statements of replicas: first.
    Seal,
    /// Requests of clients, and bodies full of them.
    Client,
}

/// The crypto threads of one replica and the fair queue before them. With no threads everything runs on the
/// caller's. Clones are the same pool.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    keyring: Arc<Keyring>,
    identity: Arc<Identity>,
    threads: usize,
    rayon: Option<rayon::ThreadPool>,
    dispatch: Mutex<Dispatch>,
}

/// What callers and crypto threads share. The lock is held for a push or a pop, never for crypto.
struct Dispatch {
    queue: FairQueue,
    busy: usize,
}

impl Pool {
    /// Starts `threads` threads, named `crypto-0` and on.
    ///
    /// # Panics
    /// When the system refuses a thread.
    #[must_use]
    pub fn new(threads: usize, keyring: Arc<Keyring>, identity: Arc<Identity>) -> Self {
        let rayon = (threads > 0).then(|| {
            let builder = rayon::ThreadPoolBuilder::new().num_threads(threads);
            builder.thread_name(|index| format!("crypto-{index}")).build().expect("the system grants threads")
        });
        let dispatch = Mutex::new(Dispatch { queue: FairQueue::default(), busy: 0 });
        Self(Arc::new(Inner { keyring, identity, threads, rayon, dispatch }))
    }

    /// How many threads it has.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.0.threads
    }

    /// A place for one worker to hand in work and get it back. `wake` is called from a crypto thread when results
    /// are there and the worker may be asleep: once, until [`Desk::finished`] has returned `None` again.
    #[must_use]
    pub fn desk<T, C>(&self, wake: Arc<dyn Fn() + Send + Sync>) -> Desk<T, C>
    where
        T: Signed + Send + Sync + 'static,
        C: Send + 'static,
    {
        Desk::new(self.clone(), wake)
    }

    fn keyring(&self) -> &Arc<Keyring> {
        &self.0.keyring
    }

    fn identity(&self) -> &Arc<Identity> {
        &self.0.identity
    }

    /// Queues work by `push` and sees to it that a thread takes it.
    fn submit(&self, push: impl FnOnce(&mut FairQueue)) {
        let mut dispatch = self.0.dispatch();
        push(&mut dispatch.queue);
        if dispatch.busy == self.0.threads {
            return;
        }
        dispatch.busy += 1;
        drop(dispatch);
        if let Some(rayon) = &self.0.rayon {
            let inner = Arc::clone(&self.0);
            rayon.spawn(move || inner.drain());
        }
    }
}

impl Inner {
    fn dispatch(&self) -> MutexGuard<'_, Dispatch> {
        self.dispatch.lock().expect("nothing panics while the queue is locked")
    }

    /// A thread takes one task after the other itself. (Were each a rayon task, those spawned from a crypto thread
    /// would overtake those spawned from outside, for ever if there are enough of them.)
    fn drain(&self) {
        while let Some(task) = self.next() {
            task.run();
        }
    }

    fn next(&self) -> Option<Task> {
        let mut dispatch = self.dispatch();
        let task = dispatch.queue.pop();
        if task.is_none() {
            dispatch.busy -= 1;
        }
        task
    }
}
