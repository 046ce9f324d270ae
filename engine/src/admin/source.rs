use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::order_log::OrderEntry;
use crate::status::{PartialStatus, ReplicaStatus};

/// A question to a thread, which answers at the next turn of its loop. Whoever cannot answer drops it.
#[derive(Debug)]
pub enum Query {
    /// What it knows of the replica's status.
    Status(Detail, oneshot::Sender<PartialStatus>),
    /// The recent order; the thread the executor runs on knows it.
    OrderLog(oneshot::Sender<Vec<OrderEntry>>),
}

/// How much to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Counters and progress: what probes and scrapers ask for, again and again.
    Counters,
    /// The digest of the present state too, which the application may have to compute.
    State,
    /// The evidence against replicas: whole messages.
    Evidence,
}

/// A replica's threads, as the admin listener asks them. Nothing here may wait.
pub trait StatusSource: Send + Sync + 'static {
    /// Asks every thread for its part.
    fn ask_status(&self, detail: Detail) -> Vec<oneshot::Receiver<PartialStatus>>;
    /// Asks for the order; one of those asked answers.
    fn ask_order(&self) -> Vec<oneshot::Receiver<Vec<OrderEntry>>>;
    /// The whole of the parts.
    fn assemble(&self, parts: Vec<PartialStatus>) -> ReplicaStatus;
}

/// A thread did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a thread of the replica does not answer")]
pub struct Unanswered;

const ANSWER: Duration = Duration::from_secs(2);

/// What every thread tells, put together.
pub(super) async fn status(source: &dyn StatusSource, detail: Detail) -> Result<ReplicaStatus, Unanswered> {
    let deadline = Instant::now() + ANSWER;
    let mut parts = Vec::new();
    for answer in source.ask_status(detail) {
        parts.push(timeout_at(deadline, answer).await.map_err(|_| Unanswered)?.map_err(|_| Unanswered)?);
    }
    Ok(source.assemble(parts))
}

/// The order that the executor remembers.
pub(super) async fn order(source: &dyn StatusSource) -> Result<Vec<OrderEntry>, Unanswered> {
    let deadline = Instant::now() + ANSWER;
    for answer in source.ask_order() {
        if let Ok(entries) = timeout_at(deadline, answer).await.map_err(|_| Unanswered)? {
            return Ok(entries);
        }
    }
    Err(Unanswered)
}
