use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2Serializer};
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

/// A histogram on its way between programs: V2 of HdrHistogram's format, in base64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Packed(String);

impl Packed {
    #[must_use]
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(histogram, &mut bytes).expect("a vector takes all");
        Self(BASE64_STANDARD.encode(bytes))
    }

    /// # Errors
    /// When it isn't one.
    pub(crate) fn unpack(&self) -> anyhow::Result<Histogram<u64>> {
        let bytes = BASE64_STANDARD.decode(&self.0).context("latencies that aren't base64")?;
        Ok(Deserializer::new().deserialize(&mut bytes.as_slice())?)
    }
}

impl Latencies {
    /// To be sent to another program.
    #[must_use]
    pub(crate) fn packed(&self) -> Packed {
        Packed::of(&self.0)
    }

    /// Adds what another program recorded.
    ///
    /// # Errors
    /// When it isn't a histogram of latencies.
    pub(crate) fn add(&mut self, packed: &Packed) -> anyhow::Result<()> {
        Ok(self.0.add(packed.unpack()?)?)
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
    fn latencies_of_several_programs_are_added() {
        let mut all = sample();
        all.add(&sample().packed()).expect("as it was packed");
        assert_eq!((all.count(), all.percentiles().p50), (2000, sample().percentiles().p50));
        for nonsense in ["", "?", "AAAA"] {
            assert!(all.add(&Packed(nonsense.into())).is_err(), "{nonsense}");
        }
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
        let raw = BASE64_STANDARD.decode(encoded).expect("base64");
        let histogram: Histogram<u64> =
            Deserializer::new().deserialize(&mut raw.as_slice()).expect("decodes");
        assert_eq!(histogram.len(), 1000);
    }
}
