use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// When warm-up and window of a run end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Load before the window.
    pub(crate) warmup: Duration,
    /// The window.
    pub(crate) duration: Duration,
    /// Requests signed before the run, of all clients; `None`: each is signed when it is sent.
    pub(crate) presigned: Option<u64>,
}

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Operations count for nothing yet.
    Warmup,
    /// Operations count.
    Window,
    /// The window is over; the load goes on until the counters have been read.
    After,
}

/// What ended a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum EndedBy {
    /// It was as long as asked for.
    Duration,
    /// A client sent its last presigned request.
    PresignedUsedUp,
}

/// The state machine that walks through the phases of a run.
#[derive(Debug)]
pub(crate) struct Phases {
    limits: Limits,
    phase: Phase,
    since: Instant,
    ended_by: Option<EndedBy>,
}

/// Warm-up uses at most one in this many of the presigned requests.
const WARMUP_SHARE: u64 = 4;

impl Phases {
    /// Begins with the warm-up.
    #[must_use]
    pub(crate) fn begin(limits: Limits, now: Instant) -> Self {
        Self { limits, phase: Phase::Warmup, since: now, ended_by: None }
    }

    /// Where the run is.
    #[must_use]
    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// When that began.
    #[must_use]
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// What ended the window, once it is over.
    #[must_use]
    pub(crate) fn ended_by(&self) -> Option<EndedBy> {
        self.ended_by
    }

    /// Called every turn of the load: `sent` requests so far, `used_up` when a client has none left. Returns
    /// whether a phase ended now.
    pub(crate) fn turn(&mut self, now: Instant, sent: u64, used_up: bool) -> bool {
        let elapsed = now.saturating_duration_since(self.since);
        let next = match self.phase {
            Phase::Warmup if elapsed >= self.limits.warmup || self.warm(sent) => Phase::Window,
            Phase::Window if used_up => self.end(EndedBy::PresignedUsedUp),
            Phase::Window if elapsed >= self.limits.duration => self.end(EndedBy::Duration),
            Phase::Warmup | Phase::Window | Phase::After => return false,
        };
        self.phase = next;
        self.since = now;
        true
    }

    fn warm(&self, sent: u64) -> bool {
        self.limits.presigned.is_some_and(|all| sent >= all / WARMUP_SHARE)
    }

    fn end(&mut self, by: EndedBy) -> Phase {
        self.ended_by = Some(by);
        Phase::After
    }
}

impl EndedBy {
    /// As results tell it.
    #[must_use]
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Duration => "duration",
            Self::PresignedUsedUp => "presigned requests used up",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn phases(presigned: Option<u64>) -> (Phases, Instant) {
        let start = Instant::now();
        (Phases::begin(Limits { warmup: SECOND, duration: 5 * SECOND, presigned }, start), start)
    }

    #[test]
    fn time_ends_the_phases() {
        let (mut phases, start) = phases(None);
        assert!(!phases.turn(start + SECOND / 2, 1_000_000, false));
        assert!(phases.turn(start + SECOND, 0, false));
        assert_eq!(phases.phase(), Phase::Window);
        assert!(!phases.turn(start + 5 * SECOND, 0, false));
        assert!(phases.turn(start + 6 * SECOND, 0, false));
        assert_eq!((phases.phase(), phases.ended_by()), (Phase::After, Some(EndedBy::Duration)));
        assert!(!phases.turn(start + 60 * SECOND, 0, true));
    }

    #[test]
    fn presigned_requests_shorten_warm_up_and_window() {
        let (mut phases, start) = phases(Some(400));
        assert!(!phases.turn(start, 99, false));
        assert!(phases.turn(start, 100, false));
        assert!(phases.turn(start + SECOND, 400, true));
        assert_eq!(phases.ended_by(), Some(EndedBy::PresignedUsedUp));
    }
}
