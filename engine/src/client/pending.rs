use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hypostyle_app_api::Number;
use tokio::sync::oneshot;

use super::error::{NotSent, OperationError};

/// An operation's result, or why there is none.
pub type CallResult = Result<Bytes, CallError>;

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nothing was sent: the operation was not and will not be executed. Call again as you like.
    #[error(transparent)]
    NotSent(#[from] NotSent),
    /// It was sent, and whether it was or will be executed isn't known yet. Waiting on with [`Unresolved::resume`]
    /// is safe: it is the same operation, executed at most once. Calling anew would be another operation.
    #[error(transparent)]
    OutcomeUnknown(Unresolved),
    /// f+1 replicas agree on this error. It is final.
    #[error(transparent)]
    Failed(#[from] OperationError),
}

/// An operation that was sent and isn't settled.
#[derive(Debug, thiserror::Error)]
#[error("outcome of the operation unknown, safe to retry by waiting on: {reason}")]
pub struct Unresolved {
    /// The operation's number, unless the client's thread ended without a word.
    pub number: Option<Number>,
    /// What the client knows: how long it waited, which replicas it can't reach and why.
    pub reason: String,
    /// The rest of the wait; `None` when the client was closed.
    pub(super) pending: Option<Pending>,
}

impl Unresolved {
    /// Goes on waiting for the same operation, which the client has been retransmitting all along. `None` when the
    /// client was closed.
    #[must_use]
    pub fn resume(self) -> Option<Pending> {
        self.pending
    }
}

/// An operation under way: await it under any executor, or [`Pending::wait`] for it without one.
///
/// Dropping it withdraws nothing: the operation goes on.
#[derive(Debug)]
#[must_use = "the result is lost, though the operation goes on"]
pub struct Pending(State);

#[derive(Debug)]
enum State {
    Sent(oneshot::Receiver<CallResult>),
    Refused(Option<NotSent>),
}

impl Pending {
    pub(super) fn new(answer: oneshot::Receiver<CallResult>) -> Self {
        Self(State::Sent(answer))
    }

    pub(super) fn refused(reason: NotSent) -> Self {
        Self(State::Refused(Some(reason)))
    }

    /// Waits for the result, blocking the thread.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn wait(self) -> CallResult {
        block_on(self, None).unwrap_or_else(|_| unreachable!("there is no deadline"))
    }

    /// Waits for the result for at most this long, blocking the thread.
    ///
    /// # Errors
    /// `self`, when it takes longer: the operation goes on, and so may the wait.
    pub fn wait_timeout(self, timeout: Duration) -> Result<CallResult, Self> {
        block_on(self, Instant::now().checked_add(timeout))
    }
}

impl Future for Pending {
    type Output = CallResult;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<CallResult> {
        match &mut self.0 {
            State::Sent(answer) => {
                Pin::new(answer).poll(context).map(|answer| answer.unwrap_or_else(|_| closed()))
            }
            State::Refused(reason) => Poll::Ready(Err(reason.take().unwrap_or(NotSent::Closed).into())),
        }
    }
}

/// Polls a future on this thread, asleep in between. `Err` gives it back when the deadline has passed.
pub(super) fn block_on<F: Future + Unpin>(mut future: F, deadline: Option<Instant>) -> Result<F::Output, F> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = pin!(&mut future).poll(&mut context) {
            return Ok(output);
        }
        match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            Some(Duration::ZERO) => return Err(future),
            Some(left) => thread::park_timeout(left),
            None => thread::park(),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The client's thread is gone without a word.
fn closed() -> CallResult {
    let reason = "the client's thread ended".to_owned();
    Err(CallError::OutcomeUnknown(Unresolved { number: None, reason, pending: None }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_wait_ends_with_the_answer_the_deadline_or_the_thread() {
        let (answer, rest) = oneshot::channel();
        let pending = Pending::new(rest).wait_timeout(Duration::from_millis(1)).unwrap_err();
        thread::spawn(move || answer.send(Ok(Bytes::from_static(b"7"))).unwrap());
        assert_eq!(pending.wait().unwrap(), "7");
        let (answer, rest) = oneshot::channel();
        drop(answer);
        let Err(CallError::OutcomeUnknown(unresolved)) = Pending::new(rest).wait() else {
            panic!("an outcome?")
        };
        assert!(unresolved.resume().is_none());
    }

    #[test]
    fn what_was_refused_says_so_at_once() {
        let error = Pending::refused(NotSent::Busy(8)).wait().unwrap_err();
        assert!(error.to_string().starts_with("not sent: "), "{error}");
    }
}
