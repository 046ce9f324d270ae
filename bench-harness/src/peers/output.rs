//! What the peers' outputs have in common.

/// What a system says of one stretch of its run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Interval {
    /// Operations done in it.
    pub(crate) operations: f64,
    /// Its length, s.
    pub(crate) seconds: f64,
    /// The mean latency of these operations as the system tells it, µs.
    pub(crate) mean_us: Option<f64>,
    /// The greatest, µs.
    pub(crate) max_us: Option<f64>,
}

/// Latencies of a window, as far as a system tells them, µs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct PeerLatency {
    /// Half of the operations took no longer.
    pub(crate) p50_us: Option<f64>,
    /// 99 of 100 took no longer.
    pub(crate) p99_us: Option<f64>,
    /// The mean.
    pub(crate) mean_us: Option<f64>,
    /// The greatest.
    pub(crate) max_us: Option<f64>,
    /// Whose latencies these are, and how exact.
    pub(crate) of: &'static str,
}

/// Operations and seconds of several intervals together.
pub(crate) fn total(intervals: &[Interval]) -> (f64, f64) {
    intervals.iter().fold((0.0, 0.0), |(operations, seconds), interval| {
        (operations + interval.operations, seconds + interval.seconds)
    })
}

/// The latencies that follow from the intervals: means weighted by operations, and the greatest.
pub(crate) fn latency_of_intervals(intervals: &[Interval], of: &'static str) -> PeerLatency {
    let with_mean = intervals.iter().filter_map(|one| Some((one.operations, one.mean_us?)));
    let (operations, sum) = with_mean
        .fold((0.0, 0.0), |(all, sum), (operations, mean)| (all + operations, sum + operations * mean));
    PeerLatency {
        mean_us: (operations > 0.0).then(|| sum / operations),
        max_us: intervals.iter().filter_map(|one| one.max_us).reduce(f64::max),
        of,
        ..PeerLatency::default()
    }
}

/// What stands behind a failed start, where the output shows it; in words for a person.
#[must_use]
pub(crate) fn trouble(output: &str) -> Option<String> {
    fatal(output).map(str::to_owned).or_else(|| {
        let mut lines = output.lines();
        let line = lines.find(|line| SYMPTOMS.iter().any(|symptom| line.contains(symptom)))?;
        // A panic's message stands on the line after its place.
        let line = if line.contains("panicked at") { lines.next().unwrap_or(line) } else { line };
        Some(format!("it says: {}", line.trim().trim_start_matches("-- ")))
    })
}

/// What can't become well again: also while every process lives.
#[must_use]
pub(crate) fn fatal(output: &str) -> Option<&'static str> {
    if output.contains("Address already in use") {
        return Some("a port is taken (Address already in use)");
    }
    output
        .contains("Impossible to connect to servers!")
        .then_some("the clients found no replicas (Impossible to connect to servers)")
}

const SYMPTOMS: &[&str] = &[
    "FileNotFoundException",
    "NoSuchFileException",
    "ClassNotFoundException",
    "UnsupportedClassVersionError",
    "OutOfMemoryError",
    "panicked at",
    "Exception in thread",
];

/// The end of an output.
#[must_use]
pub(crate) fn last_lines(output: &str, count: usize) -> String {
    let lines: Vec<&str> = output.lines().collect();
    let last = &lines[lines.len().saturating_sub(count)..];
    if last.is_empty() {
        "it wrote nothing".to_owned()
    } else {
        format!("its last lines:\n  {}", last.join("\n  "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_weighted_by_operations() {
        let one = |operations, mean, max| Interval {
            operations,
            seconds: 1.0,
            mean_us: Some(mean),
            max_us: Some(max),
        };
        let latency = latency_of_intervals(&[one(100.0, 10.0, 70.0), one(300.0, 30.0, 50.0)], "all");
        assert_eq!((latency.mean_us, latency.max_us, latency.p50_us), (Some(25.0), Some(70.0), None));
        assert_eq!(latency_of_intervals(&[], "none").mean_us, None);
        assert_eq!(total(&[one(100.0, 1.0, 1.0), one(50.0, 1.0, 1.0)]), (150.0, 2.0));
    }

    #[test]
    fn the_last_lines_are_few() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "its last lines:\n  b\n  c");
        assert_eq!(last_lines("", 2), "it wrote nothing");
    }

    #[test]
    fn a_quiet_output_shows_no_trouble() {
        assert_eq!(trouble("-- Impossible to connect to client. (Connection reset by peer)\n"), None);
    }
}
