use std::collections::VecDeque;
use std::time::Duration;

use hypostyle_app_api::{ClientId, Instant, Number};

/// Steps of the exponential back-off: a request waits 1, 2, 4 … 2^(LEVELS-1) timeouts, then always the last.
pub(super) const LEVELS: usize = 6;
/// A timeout raised by measured latency stays below this many times the configured one.
const RAISE_MAX: u32 = 32;
/// An operation is late when it has taken this many times what nearly all take.
const LATE_FACTOR: u64 = 4;
/// Whoever waits for a large result only, all votes being there, waits no less than this.
const WHOLE_WAIT_MIN: Duration = Duration::from_millis(2);

/// What the client measures of the cluster's latency, and the timeout that follows: the configured one, raised so
/// that a loaded cluster sees no storm of retransmissions.
#[derive(Debug)]
pub(super) struct Patience {
    timeout: u64,
    jitter: u64,
    high: u64,
    usual: u64,
}

impl Patience {
    pub(super) fn new(timeout: Duration, client: ClientId) -> Self {
        let timeout = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX / 2).max(1);
        Self { timeout, jitter: spread(client), high: 0, usual: 0 }
    }

    /// Takes in an operation's latency. That of a request sent more than once counts less: one outage shall not
    /// slow the reaction to the next, while lasting slowness still raises the timeout.
    pub(super) fn sample(&mut self, latency: Duration, resent: bool) {
        let sample = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX / 2);
        if sample > self.high {
            self.high += (sample - self.high) >> if resent { 5 } else { 2 };
        } else {
            self.high -= (self.high - sample) >> 8;
        }
        self.usual = self.usual - self.usual / 8 + sample / 8;
    }

    /// How long after its last transmission a request of this level is sent again.
    pub(super) fn wait(&self, level: usize) -> Duration {
        let cap = self.timeout.saturating_mul(u64::from(RAISE_MAX));
        let once = self.high.saturating_mul(LATE_FACTOR).max(self.timeout).min(cap);
        // Spread over clients, so that they don't all return in the same instant after an outage.
        let once = once.saturating_add(once / 2048 * self.jitter);
        Duration::from_nanos(once.saturating_mul(1 << level.min(LEVELS - 1)).min(cap.saturating_mul(2)))
    }

    /// How long to wait for the one replica that sends a large result whole.
    pub(super) fn wait_for_whole(&self) -> Duration {
        Duration::from_nanos(self.usual.saturating_mul(2)).max(WHOLE_WAIT_MIN).min(self.wait(0))
    }
}

/// 0..256, evenly over clients: the part of an eighth that is added to this client's timeouts.
fn spread(client: ClientId) -> u64 {
    u64::from(client.0.wrapping_mul(0x9E37_79B1) >> 24)
}

/// When a request was last sent, kept in order of time. An entry whose request has moved on since is *stale* and
/// dropped when it comes to the front, so that completing a request costs nothing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) first: Number,
    pub(super) at: Instant,
}

/// Requests by the time of their last transmission: one queue a back-off level, all of a queue with the same wait,
/// hence each in order of its deadlines, even though the wait changes with measured latency.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    levels: [VecDeque<Entry>; LEVELS],
}

impl Schedule {
    pub(super) fn push(&mut self, level: usize, entry: Entry) {
        self.levels[level].push_back(entry);
    }

    /// Drops stale entries from the fronts. Behind a live front there are no more entries than requests in flight.
    pub(super) fn prune(&mut self, is_stale: impl Fn(usize, &Entry) -> bool) {
        for (level, queue) in self.levels.iter_mut().enumerate() {
            while queue.front().is_some_and(|entry| is_stale(level, entry)) {
                queue.pop_front();
            }
        }
    }

    /// Takes an entry whose wait is over.
    pub(super) fn take_due(&mut self, now: Instant, patience: &Patience) -> Option<(usize, Entry)> {
        let due = |queue: &VecDeque<Entry>, level| {
            queue.front().is_some_and(|entry| entry.at + patience.wait(level) <= now)
        };
        let level = (0..LEVELS).find(|level| due(&self.levels[*level], *level))?;
        Some((level, self.levels[level].pop_front()?))
    }

    pub(super) fn next_deadline(&self, patience: &Patience) -> Option<Instant> {
        let deadline = |(level, queue): (usize, &VecDeque<Entry>)| {
            queue.front().map(|entry| entry.at + patience.wait(level))
        };
        self.levels.iter().enumerate().filter_map(deadline).min()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.levels.iter().map(VecDeque::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn patience() -> Patience {
        Patience::new(300 * MS, ClientId(0))
    }

    #[test]
    fn waits_double_and_are_capped() {
        let waits: Vec<_> = (0..LEVELS + 2).map(|level| patience().wait(level) / 300).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 32, 32].map(|factor| factor * MS));
    }

    #[test]
    fn latency_raises_the_timeout_and_quiet_lowers_it() {
        let mut patience = patience();
        (0..50).for_each(|_| patience.sample(500 * MS, false));
        assert!(patience.wait(0) > 1_900 * MS, "{:?}", patience.wait(0));
        (0..2_000).for_each(|_| patience.sample(5 * MS, false));
        assert_eq!(patience.wait(0), 300 * MS);
        (0..200).for_each(|_| patience.sample(Duration::MAX, false));
        assert_eq!(patience.wait(0), 300 * 32 * MS);
        assert!(patience.wait(LEVELS) <= 300 * 64 * MS);
    }

    #[test]
    fn one_outage_hardly_counts() {
        let mut patience = patience();
        patience.sample(2_000 * MS, true);
        assert_eq!(patience.wait(0), 300 * MS);
    }

    #[test]
    fn clients_differ_by_at_most_an_eighth() {
        let waits: Vec<_> = (0..100).map(|id| Patience::new(300 * MS, ClientId(id)).wait(0)).collect();
        assert!(waits.iter().all(|wait| *wait >= 300 * MS && *wait <= 338 * MS));
        assert!(waits.iter().collect::<std::collections::BTreeSet<_>>().len() > 50);
    }

    #[test]
    fn deadlines_follow_the_wait_in_force() {
        let (mut schedule, mut patience) = (Schedule::default(), patience());
        schedule.push(0, Entry { first: Number(1), at: Instant(0) });
        schedule.push(1, Entry { first: Number(2), at: Instant(0) });
        assert_eq!(schedule.next_deadline(&patience), Some(Instant(0) + 300 * MS));
        assert_eq!(schedule.take_due(Instant(0) + 299 * MS, &patience), None);
        (0..50).for_each(|_| patience.sample(500 * MS, false));
        assert_eq!(schedule.take_due(Instant(0) + 300 * MS, &patience), None, "the cluster is slow");
        let taken = schedule.take_due(Instant(0) + 5_000 * MS, &patience);
        assert_eq!(taken.map(|(level, entry)| (level, entry.first)), Some((0, Number(1))));
        schedule.prune(|level, _| level == 1);
        assert_eq!((schedule.next_deadline(&patience), schedule.len()), (None, 0));
    }
}
