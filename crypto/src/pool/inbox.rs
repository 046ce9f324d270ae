use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam::channel::{Receiver, Sender, bounded};

/// The crypto threads' end of a desk's channel.
pub(super) struct Outlet<M> {
    sender: Sender<M>,
    woken: Arc<AtomicBool>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

/// The worker's end.
pub(super) struct Inbox<M> {
    receiver: Receiver<M>,
    woken: Arc<AtomicBool>,
}

/// A channel for at most `capacity` messages under way: senders never wait if that is kept.
pub(super) fn channel<M>(capacity: usize, wake: Arc<dyn Fn() + Send + Sync>) -> (Outlet<M>, Inbox<M>) {
    let (sender, receiver) = bounded(capacity);
    let woken = Arc::new(AtomicBool::new(false));
    (Outlet { sender, woken: Arc::clone(&woken), wake }, Inbox { receiver, woken })
}

impl<M> Outlet<M> {
    /// Wakes the worker unless that was done since it last found nothing. A worker that is gone is no error.
    pub(super) fn send(&self, message: M) {
        if self.sender.send(message).is_ok() && !self.woken.swap(true, Ordering::AcqRel) {
            (self.wake)();
        }
    }
}

impl<M> Inbox<M> {
    /// The next message. After `None` the next one sent wakes.
    pub(super) fn take(&self) -> Option<M> {
        if let Ok(message) = self.receiver.try_recv() {
            return Some(message);
        }
        if !self.woken.load(Ordering::Relaxed) {
            return None;
        }
        // What was sent without waking, because this flag was still set, is seen after clearing it.
        self.woken.swap(false, Ordering::AcqRel);
        self.receiver.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn wakes_once_a_burst() {
        let wakes = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&wakes);
        let wake = move || {
            count.fetch_add(1, Ordering::SeqCst);
        };
        let (outlet, inbox) = channel(16, Arc::new(wake));
        for burst in 1..=3 {
            (0..5).for_each(|message| outlet.send(message));
            assert_eq!(wakes.load(Ordering::SeqCst), burst);
            assert!(std::iter::from_fn(|| inbox.take()).eq(0..5));
        }
        drop(inbox);
        outlet.send(0);
        assert_eq!(wakes.load(Ordering::SeqCst), 3);
    }
}
