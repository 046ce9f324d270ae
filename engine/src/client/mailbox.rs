use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Instant;

use bytes::Bytes;
use crossbeam::queue::ArrayQueue;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::error::NotSent;
use super::pending::CallResult;

/// An operation handed to the client's thread. The permit bounds how many there are, until it is settled.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) operation: Bytes,
    pub(super) deadline: Option<Instant>,
    pub(super) answer: oneshot::Sender<CallResult>,
    pub(super) permit: OwnedSemaphorePermit,
}

/// What lies between callers and the client's thread. A sleeping thread is woken once, an awake one never.
pub(super) struct Mailbox {
    commands: ArrayQueue<Command>,
    asleep: AtomicBool,
    closed: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Mailbox {
    pub(super) fn new(capacity: usize, wake: Box<dyn Fn() + Send + Sync>) -> Self {
        let commands = ArrayQueue::new(capacity);
        Self { commands, asleep: AtomicBool::new(false), closed: AtomicBool::new(false), wake }
    }

    /// Hands a command over; gives it back when the mailbox is full.
    pub(super) fn push(&self, command: Command) -> Result<(), Command> {
        self.commands.push(command)?;
        if self.is_closed() {
            // The thread may have looked for the last time.
            self.refuse_all();
        }
        self.wake_if_asleep();
        Ok(())
    }

    pub(super) fn pop(&self) -> Option<Command> {
        self.commands.pop()
    }

    /// Tells whoever is still in the mailbox that nobody will come for them.
    pub(super) fn refuse_all(&self) {
        while let Some(command) = self.pop() {
            drop(command.answer.send(Err(NotSent::Closed.into())));
        }
    }

    pub(super) fn close(&self) {
        self.closed.store(true, SeqCst);
        self.wake_if_asleep();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(SeqCst)
    }

    /// The thread is about to sleep. False when something came in meanwhile and it must not.
    pub(super) fn may_sleep(&self) -> bool {
        self.asleep.store(true, SeqCst);
        self.commands.is_empty() && !self.is_closed()
    }

    pub(super) fn awake(&self) {
        self.asleep.store(false, SeqCst);
    }

    fn wake_if_asleep(&self) {
        if self.asleep.swap(false, SeqCst) {
            (self.wake)();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::Semaphore;

    use super::*;
    use crate::client::pending::{CallError, Pending};

    fn mailbox() -> (Mailbox, Arc<AtomicUsize>) {
        let wakes = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&wakes);
        let wake = move || {
            counted.fetch_add(1, SeqCst);
        };
        (Mailbox::new(4, Box::new(wake)), wakes)
    }

    fn command() -> (Command, Pending) {
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let (answer, rest) = oneshot::channel();
        (Command { operation: Bytes::new(), deadline: None, answer, permit }, Pending::new(rest))
    }

    #[test]
    fn only_a_sleeper_is_woken_and_only_once() {
        let (mailbox, wakes) = mailbox();
        assert!(mailbox.push(command().0).is_ok());
        assert_eq!(wakes.load(SeqCst), 0);
        assert!(!mailbox.may_sleep(), "a command is waiting");
        mailbox.awake();
        assert!(mailbox.pop().is_some() && mailbox.may_sleep());
        assert!(mailbox.push(command().0).is_ok() && mailbox.push(command().0).is_ok());
        assert_eq!(wakes.load(SeqCst), 1);
    }

    #[test]
    fn nobody_waits_in_a_closed_mailbox() {
        let (mailbox, _) = mailbox();
        let (before, before_waits) = command();
        assert!(mailbox.push(before).is_ok());
        mailbox.close();
        mailbox.refuse_all();
        let (after, after_waits) = command();
        assert!(mailbox.push(after).is_ok());
        for pending in [before_waits, after_waits] {
            assert!(matches!(pending.wait(), Err(CallError::NotSent(NotSent::Closed))));
        }
        assert!(!mailbox.may_sleep());
    }
}
