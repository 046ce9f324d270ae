use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use hypostyle_net::Arrival;

use crate::admin::Query;
use crate::node::{ExecutorInput, ExecutorReport, SiblingInput};

/// What one thread of a replica tells another.
pub(crate) enum Mail {
    /// For every pillar of a worker.
    Sibling(SiblingInput),
    /// From the executor to a worker.
    Report(ExecutorReport),
    /// From a worker to the thread the executor runs on.
    Execute(Vec<ExecutorInput>),
    /// A connection that another worker accepted.
    Arrived(Box<Arrival>),
    /// From the control thread.
    Query(Query),
}

/// Ends a thread's sleep.
pub(crate) type Wake = Arc<dyn Fn() + Send + Sync>;

/// Mails a mailbox holds; senders keep what doesn't fit and go on.
const CAPACITY: usize = 4096;

/// The receiving end of a thread's mailbox.
pub(crate) struct Mailbox {
    mails: Receiver<Mail>,
    sleeping: Arc<AtomicBool>,
    stopped: Arc<AtomicBool>,
}

/// A sending end. It never blocks: what finds no room waits here and goes first the next time.
#[derive(Clone)]
pub(crate) struct Postbox {
    mails: Sender<Mail>,
    sleeping: Arc<AtomicBool>,
    stopped: Arc<AtomicBool>,
    wake: Wake,
}

/// A thread's own sending end with what found no room yet.
pub(crate) struct Post {
    to: Postbox,
    backlog: VecDeque<Mail>,
    sent: bool,
}

/// A mailbox whose owner sleeps in something that `wake` ends.
pub(crate) fn mailbox(wake: Wake) -> (Postbox, Mailbox) {
    let (sender, receiver) = bounded(CAPACITY);
    let sleeping = Arc::new(AtomicBool::new(false));
    let stopped = Arc::new(AtomicBool::new(false));
    let mailbox = Mailbox { mails: receiver, sleeping: Arc::clone(&sleeping), stopped: Arc::clone(&stopped) };
    (Postbox { mails: sender, sleeping, stopped, wake }, mailbox)
}

impl Mailbox {
    pub(crate) fn take(&self) -> Option<Mail> {
        self.mails.try_recv().ok()
    }

    /// Announces that the owner is about to sleep. False when mail has come: then it must not.
    pub(crate) fn may_sleep(&self) -> bool {
        self.sleeping.store(true, Ordering::SeqCst);
        if self.mails.is_empty() && !self.is_stopped() {
            return true;
        }
        self.awake();
        false
    }

    pub(crate) fn awake(&self) {
        self.sleeping.store(false, Ordering::SeqCst);
    }

    /// Whether the owner is to end.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
}

impl Postbox {
    /// For threads that may do without: a mail that finds no room is dropped.
    pub(crate) fn offer(&self, mail: Mail) {
        if self.mails.try_send(mail).is_ok() {
            self.wake();
        }
    }

    /// Has the owner end, whatever lies in its mailbox.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.wake();
    }

    pub(crate) fn post(&self) -> Post {
        Post { to: self.clone(), backlog: VecDeque::new(), sent: false }
    }

    fn wake(&self) {
        if self.sleeping.swap(false, Ordering::SeqCst) {
            (self.wake)();
        }
    }
}

impl Post {
    pub(crate) fn send(&mut self, mail: Mail) {
        self.backlog.push_back(mail);
        self.push();
    }

    /// Whether something found no room yet: what can be left out should be.
    pub(crate) fn is_congested(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Once a turn: tries again what found no room, and wakes the receiver if it sleeps. False while something waits.
    pub(crate) fn flush(&mut self) -> bool {
        self.push();
        if std::mem::take(&mut self.sent) {
            self.to.wake();
        }
        self.backlog.is_empty()
    }

    fn push(&mut self) {
        while let Some(mail) = self.backlog.pop_front() {
            match self.to.mails.try_send(mail) {
                Ok(()) => self.sent = true,
                Err(TrySendError::Full(mail)) => return self.backlog.push_front(mail),
                // The receiver is gone: the replica is stopping.
                Err(TrySendError::Disconnected(_)) => self.backlog.clear(),
            }
        }
    }
}
