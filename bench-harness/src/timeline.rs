use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::latency::Packed;

/// One row of `timeline.csv`: an interval of a window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Interval {
    /// The point it belongs to.
    pub(crate) name: String,
    /// Its end, since the window began.
    pub(crate) second: f64,
    /// Operations acknowledged in it.
    pub(crate) operations: u64,
    /// The same a second.
    pub(crate) throughput_ops_per_s: f64,
    /// Median latency of these operations, µs; 0 without any.
    pub(crate) latency_us_p50: f64,
    /// Latency of 99 of 100 of them, µs.
    pub(crate) latency_us_p99: f64,
    /// The slowest one's, µs.
    pub(crate) latency_us_max: f64,
    /// View changes up to its end, as far as they are watched: where a fault is made.
    pub(crate) view_changes: u64,
    /// What was done to the cluster in it, or seen of it.
    pub(crate) event: String,
}

/// Latencies of a window by intervals.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    each: Duration,
    current: Histogram<u64>,
    done: Vec<Histogram<u64>>,
}

/// Intervals of a window, about.
const INTERVALS: u32 = 100;
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST_LATENCY_US: u64 = 3_600_000_000;

impl Timeline {
    /// For a window of this length.
    #[must_use]
    pub(crate) fn of(window: Duration) -> Self {
        Self { each: (window / INTERVALS).max(SHORTEST), current: empty(), done: Vec::new() }
    }

    /// Of the same window's intervals, each seen by several generators: what each tells of its own.
    ///
    /// # Errors
    /// When a histogram isn't one.
    pub(crate) fn merged(window: Duration, parts: &[Vec<Packed>]) -> anyhow::Result<Self> {
        let mut merged = Self::of(window);
        // One generator's window may hold an interval less: what all have seen is whole.
        let intervals = parts.iter().map(Vec::len).min().unwrap_or(0);
        for interval in 0..intervals {
            let mut all = empty();
            for part in parts {
                all.add(part[interval].unpack()?)?;
            }
            merged.done.push(all);
        }
        Ok(merged)
    }

    /// An operation was acknowledged so long after the window began.
    pub(crate) fn record(&mut self, since: Duration, latency: Duration) {
        self.turn(since);
        let us = u64::try_from(latency.as_micros()).unwrap_or(LONGEST_LATENCY_US);
        self.current.saturating_record(us.max(1));
    }

    /// Ends the intervals that are over.
    pub(crate) fn turn(&mut self, since: Duration) {
        while since >= self.end(self.done.len()) {
            self.done.push(std::mem::replace(&mut self.current, empty()));
        }
    }

    /// The whole intervals of the window. What is left of the last one would be a rate over next to nothing.
    #[must_use]
    pub(crate) fn intervals(&self) -> Vec<Interval> {
        self.done.iter().enumerate().map(|(index, latencies)| self.interval(index, latencies)).collect()
    }

    /// The same, to be sent to who merges them.
    #[must_use]
    pub(crate) fn packed(&self) -> Vec<Packed> {
        self.done.iter().map(Packed::of).collect()
    }

    /// When the interval with this index ends.
    fn end(&self, index: usize) -> Duration {
        self.each * u32::try_from(index + 1).unwrap_or(u32::MAX)
    }

    #[allow(clippy::cast_precision_loss, reason = "µs of an hour at most, operations of a window")]
    fn interval(&self, index: usize, latencies: &Histogram<u64>) -> Interval {
        let at = |quantile| latencies.value_at_quantile(quantile) as f64;
        let operations = latencies.len();
        Interval {
            name: String::new(),
            second: self.end(index).as_secs_f64(),
            operations,
            throughput_ops_per_s: operations as f64 / self.each.as_secs_f64(),
            latency_us_p50: at(0.5),
            latency_us_p99: at(0.99),
            latency_us_max: latencies.max() as f64,
            view_changes: 0,
            event: String::new(),
        }
    }
}

/// Two digits: a percentile of an interval is off by 1 % at most.
fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_LATENCY_US, 2).expect("constant bounds are in order")
}

/// Something that happened to the cluster in a window, or was seen of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// Since the window began.
    pub(crate) at: Duration,
    /// In words.
    pub(crate) what: String,
    /// View changes up to now.
    pub(crate) view_changes: u64,
}

/// Writes `events`, in order of time, into the intervals in which they fall.
pub(crate) fn annotate(intervals: &mut [Interval], events: &[Event]) {
    let mut view_changes = 0;
    let mut events = events.iter().peekable();
    for interval in intervals {
        while let Some(event) = events.next_if(|event| event.at.as_secs_f64() < interval.second) {
            view_changes = event.view_changes;
            if !interval.event.is_empty() {
                interval.event.push_str("; ");
            }
            interval.event.push_str(&event.what);
        }
        interval.view_changes = view_changes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn timeline() -> Vec<Interval> {
        let mut timeline = Timeline::of(10_000 * MS);
        timeline.record(10 * MS, 2 * MS);
        timeline.record(99 * MS, 4 * MS);
        timeline.record(350 * MS, MS);
        timeline.turn(420 * MS);
        timeline.intervals()
    }

    #[test]
    fn intervals_hold_what_was_acknowledged_in_them() {
        let intervals = timeline();
        let counts: Vec<u64> = intervals.iter().map(|interval| interval.operations).collect();
        assert_eq!(counts, [2, 0, 0, 1], "a quiet interval is one too, an unfinished one none");
        assert!((intervals[0].second - 0.1).abs() < 1e-9 && intervals[0].throughput_ops_per_s == 20.0);
        assert!((intervals[0].latency_us_max / 4000.0 - 1.0).abs() < 0.01);
        assert_eq!(intervals[1].latency_us_p50, 0.0);
    }

    #[test]
    fn events_stand_in_their_interval_and_view_changes_go_on() {
        let mut intervals = timeline();
        let event =
            |at: u32, what: &str, view_changes| Event { at: at * MS, what: what.into(), view_changes };
        annotate(&mut intervals, &[event(100, "killed", 0), event(150, "view 1", 1), event(5000, "late", 2)]);
        let told: Vec<(&str, u64)> =
            intervals.iter().map(|interval| (interval.event.as_str(), interval.view_changes)).collect();
        assert_eq!(told, [("", 0), ("killed; view 1", 1), ("", 1), ("", 1)]);
    }
}
