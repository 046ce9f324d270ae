use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use std::{io, mem};

use bytes::Bytes;
use hypostyle_app_api::{Instant, Number};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::driver::Driver;
use super::error::NotSent;
use super::mailbox::{Command, Mailbox};
use super::pending::{CallError, CallResult, Pending, Unresolved};

/// The thread behind [`Client`](super::Client): one [`Driver`] with one client, fed from the mailbox.
pub(super) struct Worker {
    driver: Driver,
    mailbox: Arc<Mailbox>,
    waiting: VecDeque<Waiting>,
    in_flight: BTreeMap<Number, InFlight>,
    /// No caller's deadline is before this moment.
    earliest: Option<Instant>,
}

struct Waiting {
    operation: Bytes,
    caller: Caller,
    permit: OwnedSemaphorePermit,
}

struct InFlight {
    caller: Caller,
    _permit: OwnedSemaphorePermit,
}

struct Caller {
    answer: oneshot::Sender<CallResult>,
    deadline: Option<Instant>,
    since: Instant,
}

/// The driver's only client.
const ME: usize = 0;

impl Worker {
    pub(super) fn new(driver: Driver, mailbox: Arc<Mailbox>) -> Self {
        Self { driver, mailbox, waiting: VecDeque::new(), in_flight: BTreeMap::new(), earliest: None }
    }

    /// Runs until the mailbox is closed or the event loop fails; then tells every caller.
    pub(super) fn run(mut self) {
        let end = loop {
            if self.mailbox.is_closed() {
                break "the client was closed".to_owned();
            }
            if let Err(error) = self.turn() {
                break format!("the client's event loop failed: {error}");
            }
        };
        self.give_up(&end);
    }

    fn turn(&mut self) -> io::Result<()> {
        self.driver.refresh();
        self.take_commands();
        self.submit();
        self.expire();
        let timeout = self.sleep_at_most();
        self.driver.turn(timeout)?;
        self.mailbox.awake();
        self.answer_settled();
        Ok(())
    }

    fn take_commands(&mut self) {
        let (clock, now) = (self.driver.clock(), self.driver.refresh());
        while let Some(Command { operation, deadline, answer, permit }) = self.mailbox.pop() {
            let deadline = deadline.map(|deadline| clock.at(deadline));
            self.earliest = self.earliest.into_iter().chain(deadline).min();
            self.waiting.push_back(Waiting {
                operation,
                caller: Caller { answer, deadline, since: now },
                permit,
            });
        }
    }

    /// As many operations a request as it may hold and are waiting: they share a signature.
    fn submit(&mut self) {
        while !self.waiting.is_empty() {
            let mut count = self.waiting.len().min(usize::from(self.driver.core(ME).room()));
            if count == 0 {
                return;
            }
            let first = loop {
                let operations: Vec<&[u8]> =
                    self.waiting.iter().take(count).map(|w| &w.operation[..]).collect();
                match self.driver.submit(ME, &operations) {
                    Err(NotSent::TooLarge { .. }) if count > 1 => count = count.div_ceil(2),
                    other => break other,
                }
            };
            match first {
                Ok(first) => self.launch(first, count),
                Err(reason) => self.refuse(reason),
            }
        }
    }

    fn launch(&mut self, first: Number, count: usize) {
        for (number, waiting) in (first.0..).map(Number).zip(self.waiting.drain(..count)) {
            self.in_flight.insert(number, InFlight { caller: waiting.caller, _permit: waiting.permit });
        }
    }

    fn refuse(&mut self, reason: NotSent) {
        if let Some(waiting) = self.waiting.pop_front() {
            waiting.caller.tell(Err(reason.into()));
        }
    }

    fn answer_settled(&mut self) {
        for settled in self.driver.settled() {
            let completion = settled.completion;
            if let Some(operation) = self.in_flight.remove(&completion.number) {
                operation.caller.tell(completion.result.map_err(CallError::Failed));
            }
        }
    }

    /// Tells the callers whose deadlines have passed.
    fn expire(&mut self) {
        let now = self.driver.refresh();
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return;
        }
        let before = self.in_flight.len() as u64;
        let due = |caller: &Caller| caller.deadline.is_some_and(|deadline| deadline <= now);
        for index in (0..self.waiting.len()).rev() {
            if due(&self.waiting[index].caller)
                && let Some(waiting) = self.waiting.remove(index)
            {
                waiting.caller.tell(Err(NotSent::Deadline(before).into()));
            }
        }
        let reason = self.troubles();
        for (number, operation) in self.in_flight.iter_mut().filter(|(_, operation)| due(&operation.caller)) {
            operation.caller.leave_open(*number, now, &reason);
        }
        let waiting = self.waiting.iter().map(|waiting| &waiting.caller);
        let callers = waiting.chain(self.in_flight.values().map(|operation| &operation.caller));
        self.earliest = callers.filter_map(|caller| caller.deadline).min();
    }

    fn sleep_at_most(&mut self) -> Option<Duration> {
        if !self.mailbox.may_sleep() {
            return Some(Duration::ZERO);
        }
        let now = self.driver.refresh();
        self.earliest.map(|earliest| earliest.since(now))
    }

    fn troubles(&self) -> String {
        let (up, wanted) = self.driver.connections();
        let mut text = format!("{up} of {wanted} connections are up");
        for (replica, trouble) in self.driver.troubles() {
            let _ = write!(text, "; replica {replica}: {trouble}");
        }
        text
    }

    fn give_up(&mut self, end: &str) {
        for waiting in self.waiting.drain(..) {
            waiting.caller.tell(Err(NotSent::Closed.into()));
        }
        for (number, operation) in mem::take(&mut self.in_flight) {
            let unresolved = Unresolved { number: Some(number), reason: end.to_owned(), pending: None };
            operation.caller.tell(Err(CallError::OutcomeUnknown(unresolved)));
        }
    }
}

impl Drop for Worker {
    /// After a panic too: nobody shall wait for a thread that is gone.
    fn drop(&mut self) {
        self.mailbox.close();
        self.mailbox.refuse_all();
    }
}

impl Caller {
    /// Whoever has stopped listening misses nothing.
    fn tell(self, result: CallResult) {
        drop(self.answer.send(result));
    }

    /// Tells that the deadline has passed and listens on for the same operation.
    fn leave_open(&mut self, number: Number, now: Instant, reason: &str) {
        self.deadline = None;
        let (answer, rest) = oneshot::channel();
        let answer = mem::replace(&mut self.answer, answer);
        let reason = format!("no f+1 equal replies within {:?}; {reason}", now.since(self.since));
        let pending = Some(Pending::new(rest));
        drop(answer.send(Err(CallError::OutcomeUnknown(Unresolved {
            number: Some(number),
            reason,
            pending,
        }))));
    }
}
