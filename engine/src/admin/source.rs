use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use crate::order_log::OrderEntry;
use crate::status::{PartialStatus, ReplicaStatus};

/// A question to a thread, which answers at the next turn of its loop. Whoever cannot answer drops it.
#[derive(Debug)]
pub enum Query {
    /// What it knows of the replica's status.
    Status(oneshot::Sender<PartialStatus>),
    /// The recent order; to the thread the executor runs on.
    OrderLog(oneshot::Sender<Vec<Arc<OrderEntry>>>),
}

/// Mails a query to a thread, without waiting for room.
pub type Ask = Box<dyn Fn(Query) + Send + Sync>;

/// Where a replica's status comes from.
pub struct Source {
    base: ReplicaStatus,
    threads: Vec<Ask>,
    executor: usize,
    asking: Semaphore,
}

/// A thread did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a thread of the replica did not answer within {} s", ANSWER.as_secs())]
pub struct Unanswered;

const ANSWER: Duration = Duration::from_secs(2);
/// Questions in flight: a scraper must not slow the workers down.
const ASKING: usize = 4;

impl Source {
    /// A replica that is `base` as far as its configuration tells, and whose `threads` know the rest; the executor
    /// runs on that of index `executor`.
    ///
    /// # Panics
    /// When there is no such thread.
    #[must_use]
    pub fn new(base: ReplicaStatus, threads: Vec<Ask>, executor: usize) -> Self {
        assert!(executor < threads.len(), "the executor runs on thread {executor} of {}", threads.len());
        Self { base, threads, executor, asking: Semaphore::new(ASKING) }
    }

    /// Asks every thread.
    ///
    /// # Errors
    /// When one does not answer in time.
    pub async fn status(&self) -> Result<ReplicaStatus, Unanswered> {
        let _asking = self.asking.acquire().await.map_err(|_| Unanswered)?;
        let answers: Vec<_> = self.threads.iter().map(|ask| put(ask, Query::Status)).collect();
        let mut status = self.base.clone();
        for answer in answers {
            status.merge(wait(answer).await?);
        }
        Ok(status)
    }

    /// Asks the executor for the order it remembers.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub async fn order_log(&self) -> Result<Vec<Arc<OrderEntry>>, Unanswered> {
        let _asking = self.asking.acquire().await.map_err(|_| Unanswered)?;
        wait(put(&self.threads[self.executor], Query::OrderLog)).await
    }
}

fn put<T>(ask: &Ask, query: impl FnOnce(oneshot::Sender<T>) -> Query) -> oneshot::Receiver<T> {
    let (answer, waiting) = oneshot::channel();
    ask(query(answer));
    waiting
}

async fn wait<T>(answer: oneshot::Receiver<T>) -> Result<T, Unanswered> {
    timeout(ANSWER, answer).await.map_err(|_| Unanswered)?.map_err(|_| Unanswered)
}
