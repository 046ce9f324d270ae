use std::thread::JoinHandle;

use crossbeam::channel::{Receiver, Sender, unbounded};

use super::mail::Wake;
use crate::Snapshot;
use crate::executor::Captured;
use crate::transfer::Image;

/// Writes and hashes snapshots: each on a thread of its own, so that the executor goes on, or at once.
pub(crate) struct SnapshotWriter {
    /// Ends the sleep of the executor's thread; `None`: everything is done at once.
    wake: Option<Wake>,
    written: Receiver<Written>,
    writes: Sender<Written>,
    /// At most one for each replica that asks.
    threads: Vec<JoinHandle<()>>,
}

/// A snapshot under its ticket; without image when it could not be written.
pub(crate) type Written = (u64, Option<Image>);

/// Tells that a snapshot failed unless it is told that it didn't: a panic of the application's ends the attempt only.
struct Promise {
    ticket: u64,
    image: Option<Image>,
    writes: Sender<Written>,
    wake: Option<Wake>,
}

impl Promise {
    fn keep<S: Snapshot>(mut self, captured: Captured<S>) {
        match captured.write() {
            Ok(image) => self.image = Some(image),
            Err(error) => tracing::error!(%error, "the application's snapshot can't be written"),
        }
    }
}

impl SnapshotWriter {
    pub(crate) fn new(wake: Option<Wake>) -> Self {
        let (writes, written) = unbounded();
        Self { wake, written, writes, threads: Vec::new() }
    }

    pub(crate) fn write<S: Snapshot>(&mut self, ticket: u64, captured: Captured<S>) {
        let promise = Promise { ticket, image: None, writes: self.writes.clone(), wake: self.wake.clone() };
        if self.wake.is_none() {
            return promise.keep(captured);
        }
        let background = move || promise.keep(captured);
        match std::thread::Builder::new().name("snapshot".to_owned()).spawn(background) {
            Ok(thread) => self.threads.push(thread),
            Err(error) => tracing::error!(%error, "no thread for a snapshot"),
        }
    }

    pub(crate) fn take(&mut self) -> Option<Written> {
        let written = self.written.try_recv().ok()?;
        self.threads.retain(|thread| !thread.is_finished());
        Some(written)
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        for thread in self.threads.drain(..) {
            // A panic there was printed when it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        // Whoever waits may have gone.
        let _ = self.writes.send((self.ticket, self.image.take()));
        self.wake.iter().for_each(|wake| wake());
    }
}
