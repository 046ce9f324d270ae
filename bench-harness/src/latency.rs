use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2Serializer;
use hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder;
use serde::{Deserialize, Serialize};

/// Above this a latency is recorded as this: an hour, µs.
const LATENCY_MAX_US: u64 = 3_600_000_000;
/// Three significant digits: a recorded value is off by 0.1 % at most.
const DIGITS: u8 = 3;

/// Latencies of a window, one recording an operation.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

/// What is told of [`Latencies`], µs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Half of the operations took no longer.
    pub p50: f64,
    /// 90 of 100 took no longer.
    pub p90: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1,000.
    pub p999: f64,
    /// The slowest one.
    pub max: f64,
    /// The arithmetic mean.
    pub mean: f64,
}

impl Latencies {
    /// Holds nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Histogram::new_with_bounds(1, LATENCY_MAX_US, DIGITS).expect("constant bounds are in order"))
    }

    /// Adds one operation.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LATENCY_MAX_US).max(1));
    }

    /// Operations recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The figures of the table.
    #[must_use]
    pub fn percentiles(&self) -> Percentiles {
        let at = |quantile| micros(self.0.value_at_quantile(quantile));
        Percentiles {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: micros(self.0.max()),
            mean: self.0.mean(),
        }
    }

    /// Writes an interval log (`.hlog`) with one interval, as the tools around HdrHistogram read it.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write_hlog(&self, to: &mut impl Write, started: SystemTime, measured: Duration) -> io::Result<()> {
        let mut serializer = V2Serializer::new();
        let mut log = IntervalLogWriterBuilder::new()
            .add_comment("latencies in microseconds")
            .with_start_time(started)
            .with_base_time(started)
            .begin_log_with(to, &mut serializer)?;
        log.write_histogram(&self.0, Duration::ZERO, measured, None)
            .map_err(|error| io::Error::other(format!("{error:?}")))
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

#[allow(clippy::cast_precision_loss, reason = "below 2^53: at most an hour of microseconds")]
fn micros(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    fn sample() -> Latencies {
        let mut latencies = Latencies::new();
        (1..=1000).for_each(|us| latencies.record(Duration::from_micros(us)));
        latencies
    }

    #[test]
    fn percentiles_are_those_of_the_operations() {
        let told = sample().percentiles();
        for (value, expected) in [(told.p50, 500.0), (told.p90, 900.0), (told.p99, 990.0), (told.p999, 999.0)]
        {
            assert!((value - expected).abs() <= 1.0, "{value} for {expected}");
        }
        assert!((told.max - 1000.0).abs() <= 1.0 && (told.mean - 500.5).abs() <= 1.0);
    }

    #[test]
    fn latencies_out_of_range_are_kept_at_its_ends() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::ZERO);
        latencies.record(Duration::from_secs(1_000_000));
        assert_eq!(latencies.count(), 2);
    }

    #[test]
    fn an_hlog_holds_what_was_recorded() {
        let mut bytes = Vec::new();
        sample().write_hlog(&mut bytes, SystemTime::now(), Duration::from_secs(5)).expect("written");
        let mut entries = IntervalLogIterator::new(&bytes);
        let encoded = entries
            .find_map(|entry| match entry.expect("parses") {
                LogEntry::Interval(interval) => Some(interval.encoded_histogram().to_owned()),
                _ => None,
            })
            .expect("one interval");
        let raw = decode_base64(&encoded);
        let histogram: Histogram<u64> =
            Deserializer::new().deserialize(&mut raw.as_slice()).expect("decodes");
        assert_eq!(histogram.len(), 1000);
    }

    fn decode_base64(text: &str) -> Vec<u8> {
        let value = |c: u8| match c {
            b'A'..=b'Z' => u32::from(c - b'A'),
            b'a'..=b'z' => u32::from(c - b'a') + 26,
            b'0'..=b'9' => u32::from(c - b'0') + 52,
            b'+' => 62,
            _ => 63,
        };
        let mut out = Vec::new();
        for chunk in text.trim_end_matches('=').as_bytes().chunks(4) {
            let bits = chunk.iter().fold(0, |bits, &c| bits << 6 | value(c)) << (6 * (4 - chunk.len()));
            out.extend_from_slice(&bits.to_be_bytes()[1..chunk.len()]);
        }
        out
    }
}
