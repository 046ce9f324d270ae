use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::error::invalid;
use crate::latency::Latencies;
use crate::phases::EndedBy;
use crate::sample::Sample;
use crate::timeline::Timeline;

/// A moment of the load that others act upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Milestone {
    /// Every connection is up. Nothing is sent before [`Running::begin`].
    Connected,
    /// The warm-up is over.
    WindowBegan,
    /// The window is over. The load goes on until [`Running::finish`], so that counters can be read under it.
    WindowEnded,
}

/// What the load saw.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// At the beginning of the window.
    pub(crate) begin: Sample,
    /// At its end.
    pub(crate) end: Sample,
    /// When the window began, by the wall clock.
    pub(crate) began: SystemTime,
    /// How long the load had run before.
    pub(crate) warmup: Duration,
    /// Latencies of the operations that were acknowledged in the window.
    pub(crate) latencies: Latencies,
    /// The window by intervals.
    pub(crate) timeline: Timeline,
    /// How long the next operation of an open loop had been due at the end of the window.
    pub(crate) overdue: Duration,
    /// What ended the window.
    pub(crate) ended_by: EndedBy,
    /// Operations sent, from the first to the last; each was acknowledged.
    pub(crate) acknowledged: u64,
}

/// A load that runs on a thread of its own; dropping it stops it.
#[derive(Debug)]
pub(crate) struct Running {
    milestones: Receiver<Milestone>,
    order: Order,
    thread: Option<JoinHandle<anyhow::Result<Outcome>>>,
}

/// What the load's thread is asked to do.
#[derive(Clone, Debug)]
pub(crate) struct Order(Arc<AtomicU8>);

const WAIT: u8 = 0;
const GO_ON: u8 = 1;
const FINISH: u8 = 2;
const STOP: u8 = 3;

impl Order {
    /// Whether the load may begin.
    pub(crate) fn is_begun(&self) -> bool {
        self.0.load(Relaxed) >= GO_ON
    }

    /// Whether nothing new is to be sent.
    pub(crate) fn is_finish(&self) -> bool {
        self.0.load(Relaxed) >= FINISH
    }

    /// Whether the run is over, whatever is in flight.
    pub(crate) fn is_stop(&self) -> bool {
        self.0.load(Relaxed) == STOP
    }
}

impl Running {
    /// Runs `work` on a thread of its own.
    pub(crate) fn start(
        work: impl FnOnce(&Order, &Sender<Milestone>) -> anyhow::Result<Outcome> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let (sender, milestones) = channel();
        let order = Order(Arc::new(AtomicU8::new(WAIT)));
        let theirs = order.clone();
        let thread = std::thread::Builder::new()
            .name("load".into())
            .spawn(move || work(&theirs, &sender))
            .context("no thread for the load")?;
        Ok(Self { milestones, order, thread: Some(thread) })
    }

    /// Lets a load begin that is connected.
    pub(crate) fn begin(&self) {
        self.order.0.store(GO_ON, Relaxed);
    }

    /// Waits for `expected`, at most for `timeout`.
    ///
    /// # Errors
    /// When the load ended before it, with its reason; or when it doesn't come.
    pub(crate) fn wait_for(&mut self, expected: Milestone, timeout: Duration) -> anyhow::Result<()> {
        if self.came(expected, timeout)? {
            return Ok(());
        }
        invalid(format!("the load did not come to {expected:?} within {timeout:?}"))
    }

    /// Waits for `expected` at most for `timeout`. Whether it came.
    ///
    /// # Errors
    /// When the load ended before it, with its reason.
    pub(crate) fn came(&mut self, expected: Milestone, timeout: Duration) -> anyhow::Result<bool> {
        match self.milestones.recv_timeout(timeout) {
            Ok(milestone) if milestone == expected => Ok(true),
            Ok(milestone) => invalid(format!("the load came to {milestone:?} before {expected:?}")),
            Err(RecvTimeoutError::Timeout) => Ok(false),
            Err(RecvTimeoutError::Disconnected) => {
                self.join()?;
                invalid(format!("the load ended before {expected:?}"))
            }
        }
    }

    /// Sends nothing new, waits until everything sent is acknowledged, and returns what was seen.
    ///
    /// # Errors
    /// When something stays unacknowledged, or the load failed before.
    pub(crate) fn finish(mut self) -> anyhow::Result<Outcome> {
        self.order.0.store(FINISH, Relaxed);
        self.join()
    }

    fn join(&mut self) -> anyhow::Result<Outcome> {
        let thread = self.thread.take().context("the load ended before")?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.order.0.store(STOP, Relaxed);
        if let Some(thread) = self.thread.take() {
            // What it has to say no longer matters: an earlier error is on its way.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::exit_code;

    #[test]
    fn a_load_that_fails_says_why_to_who_waits() {
        let mut running = Running::start(|_, _| invalid("no replica answers")).expect("a thread");
        let error = running.wait_for(Milestone::WindowBegan, Duration::from_secs(60)).expect_err("failed");
        assert_eq!((exit_code(&error), error.to_string().contains("no replica answers")), (3, true));
    }

    #[test]
    fn dropping_it_stops_the_thread() {
        let running = Running::start(|order, _| {
            while !order.is_stop() {
                std::thread::yield_now();
            }
            invalid("stopped")
        });
        drop(running.expect("a thread"));
    }

    #[test]
    fn milestones_arrive_in_order() {
        let mut running = Running::start(|order, milestones| {
            milestones.send(Milestone::WindowBegan)?;
            while !order.is_finish() {
                std::thread::yield_now();
            }
            invalid("finished")
        })
        .expect("a thread");
        running.wait_for(Milestone::WindowBegan, Duration::from_secs(60)).expect("it came");
        assert!(running.finish().expect_err("as it said").to_string().contains("finished"));
    }
}
