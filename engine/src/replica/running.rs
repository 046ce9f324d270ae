use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam::channel::{Receiver, Sender};
use tokio::sync::oneshot;

use super::ExtraCounters;
use super::mail::{Mail, Postbox};
use crate::admin::{AdminServer, Detail, Query, StatusSource};
use crate::config::genesis::HomeLock;
use crate::order_log::OrderEntry;
use crate::status::{PartialStatus, ReplicaStatus};

/// A replica at work. Dropping it stops it.
pub struct RunningReplica {
    pub(super) inquiry: Arc<Inquiry>,
    pub(super) threads: Vec<JoinHandle<()>>,
    /// How each of the threads ended.
    pub(super) ended: Receiver<Result<(), ReplicaFailed>>,
    pub(super) admin: Option<AdminServer>,
    pub(super) addresses: (SocketAddr, SocketAddr),
    /// Held while the replica lives.
    pub(super) _lock: Option<HomeLock>,
}

/// A replica's thread ended by itself. The replica has stopped as a whole: it doesn't limp.
#[derive(Clone, Debug, thiserror::Error)]
#[error("replica {replica} stopped: thread {thread} {what}")]
pub struct ReplicaFailed {
    /// Which replica.
    pub replica: hypostyle_app_api::ReplicaId,
    /// Which of its threads.
    pub thread: String,
    /// What happened to it.
    pub what: String,
}

/// Asks a replica's threads what they know.
pub(super) struct Inquiry {
    /// What is known before asking.
    pub(super) blank: ReplicaStatus,
    pub(super) workers: Vec<Postbox>,
    /// The thread of the executor, when it has one of its own.
    pub(super) executor: Option<Postbox>,
    pub(super) extra_counters: Option<ExtraCounters>,
}

impl RunningReplica {
    /// Where the replica stands. Waits for its threads' next turn.
    ///
    /// # Panics
    /// On a thread of a tokio runtime that runs async code: call it in `spawn_blocking` there.
    #[must_use]
    pub fn status(&self) -> ReplicaStatus {
        let answers = self.inquiry.ask_status(Detail::State);
        let parts = answers.into_iter().filter_map(|answer| answer.blocking_recv().ok()).collect();
        self.inquiry.assemble(parts)
    }

    /// The recent part of the executed order. Waits for the executor's next turn.
    ///
    /// # Panics
    /// As [`RunningReplica::status`].
    #[must_use]
    pub fn order(&self) -> Vec<OrderEntry> {
        let answers = self.inquiry.ask_order();
        answers.into_iter().find_map(|answer| answer.blocking_recv().ok()).unwrap_or_default()
    }

    /// Where it listens for replicas and for clients.
    #[must_use]
    pub fn addresses(&self) -> (SocketAddr, SocketAddr) {
        self.addresses
    }

    /// Waits until the replica ends by itself or by [`RunningReplica::stopper`].
    ///
    /// # Errors
    /// When a thread failed.
    pub fn wait(mut self) -> Result<(), ReplicaFailed> {
        let mut result = Ok(());
        for _ in 0..self.threads.len() {
            // A thread that can't even report has taken the process down with it.
            if let Ok(Err(failed)) = self.ended.recv()
                && result.is_ok()
            {
                result = Err(failed);
            }
        }
        self.join();
        result
    }

    /// Something that ends the replica, from any thread.
    pub fn stopper(&self) -> impl Fn() + Send + Sync + 'static {
        let inquiry = Arc::clone(&self.inquiry);
        move || inquiry.stop()
    }

    /// Ends the replica and waits until it has.
    ///
    /// # Errors
    /// When a thread had failed.
    pub fn stop(self) -> Result<(), ReplicaFailed> {
        self.inquiry.stop();
        self.wait()
    }

    fn join(&mut self) {
        self.admin = None;
        for thread in self.threads.drain(..) {
            // How it ended was told through `ended`.
            let _ = thread.join();
        }
    }
}

impl Drop for RunningReplica {
    fn drop(&mut self) {
        self.inquiry.stop();
        self.join();
    }
}

impl Inquiry {
    pub(super) fn stop(&self) {
        self.everyone().for_each(Postbox::stop);
    }

    fn everyone(&self) -> impl Iterator<Item = &Postbox> {
        self.workers.iter().chain(&self.executor)
    }
}

impl StatusSource for Inquiry {
    fn ask_status(&self, detail: Detail) -> Vec<oneshot::Receiver<PartialStatus>> {
        self.everyone().map(|thread| ask(thread, |answer| Query::Status(detail, answer))).collect()
    }

    fn ask_order(&self) -> Vec<oneshot::Receiver<Vec<OrderEntry>>> {
        self.everyone().map(|thread| ask(thread, Query::OrderLog)).collect()
    }

    fn assemble(&self, parts: Vec<PartialStatus>) -> ReplicaStatus {
        let mut status = self.blank.clone();
        parts.into_iter().for_each(|part| status.merge(part));
        if let Some(extra) = &self.extra_counters {
            status.counters.extend(extra());
        }
        status
    }
}

fn ask<T>(thread: &Postbox, query: impl FnOnce(oneshot::Sender<T>) -> Query) -> oneshot::Receiver<T> {
    let (sender, receiver) = oneshot::channel();
    thread.offer(Mail::Query(query(sender)));
    receiver
}

/// Runs a thread's body and tells how it ended, even by a panic; a failure ends the replica's other threads too.
pub(super) fn report_end(
    inquiry: &Inquiry,
    ended: &Sender<Result<(), ReplicaFailed>>,
    body: impl FnOnce() -> std::io::Result<()>,
) {
    let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
    let replica = hypostyle_app_api::ReplicaId(inquiry.blank.replica);
    let failed = |what| ReplicaFailed { replica, thread: thread.clone(), what };
    // The thread's state is dropped with the panic, nothing of it is used again.
    let result = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(failed(format!("failed: {error}"))),
        Err(_) => Err(failed("panicked".to_owned())),
    };
    if let Err(failed) = &result {
        tracing::error!(%failed);
        inquiry.stop();
    }
    // Whoever waits may have gone.
    let _ = ended.send(result);
}
