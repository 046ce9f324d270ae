use serde::{Deserialize, Serialize};

use crate::point::Point;

/// The repetitions of one setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Pillars of the setting; the points beside it hold the rest.
    pub pillars: u16,
    /// Hash of the setting's cluster configuration, as in its points.
    pub configuration: String,
    /// Measurements made.
    pub repeats: usize,
    /// Operations per second.
    pub throughput_ops_per_s: Spread,
    /// Median latency, µs.
    pub latency_us_p50: Spread,
    /// Latency of 99 of 100 operations, µs.
    pub latency_us_p99: Spread,
    /// Σ over the replicas, raw, CPU-µs.
    pub replica_cpu_us_per_op: Spread,
    /// Σ over the replicas, scaled.
    pub replica_cpu_us_per_op_scaled: Spread,
    /// The generator, raw, CPU-µs.
    pub client_cpu_us_per_op: Spread,
    /// Measurements that are marked as no result.
    pub marked: usize,
}

/// Median and extremes of repetitions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The middle value, or the mean of the two middle ones.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Summary {
    /// One for each setting, in the order in which they first occur.
    #[must_use]
    pub fn of(points: &[Point]) -> Vec<Self> {
        settings(points).iter().map(|repeats| Self::of_setting(repeats)).collect()
    }

    fn of_setting(points: &[&Point]) -> Self {
        let spread = |value: fn(&Point) -> f64| Spread::of(points.iter().map(|point| value(point)).collect());
        Self {
            pillars: points[0].pillars,
            configuration: points[0].configuration.clone(),
            repeats: points.len(),
            throughput_ops_per_s: spread(|point| point.throughput_ops_per_s),
            latency_us_p50: spread(|point| point.latency_us.p50),
            latency_us_p99: spread(|point| point.latency_us.p99),
            replica_cpu_us_per_op: spread(|point| point.replica_cpu_us_per_op),
            replica_cpu_us_per_op_scaled: spread(|point| point.replica_cpu_us_per_op_scaled),
            client_cpu_us_per_op: spread(|point| point.client_cpu_us_per_op),
            marked: points.iter().filter(|point| !point.marks.is_empty()).count(),
        }
    }
}

impl Spread {
    /// # Panics
    /// When there are no values.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Self {
        assert!(!values.is_empty(), "a spread of nothing");
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Self { median, min: values[0], max: values[values.len() - 1] }
    }
}

/// The points grouped by setting, in the order in which settings first occur.
pub(crate) fn settings(points: &[Point]) -> Vec<Vec<&Point>> {
    let mut groups: Vec<Vec<&Point>> = Vec::new();
    for point in points {
        match groups.iter_mut().find(|group| group[0].same_setting(point)) {
            Some(group) => group.push(point),
            None => groups.push(vec![point]),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::tests::example;

    #[test]
    fn medians_of_odd_and_even_counts() {
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 3.0]).median, 2.5);
    }

    #[test]
    fn interleaved_repeats_are_put_together() {
        let a = |rate| Point { throughput_ops_per_s: rate, ..example() };
        let b =
            |rate| Point { pillars: 4, configuration: "4".into(), throughput_ops_per_s: rate, ..example() };
        let summaries = Summary::of(&[a(10.0), b(100.0), a(20.0), b(200.0), a(30.0), b(300.0)]);
        let medians: Vec<_> =
            summaries.iter().map(|s| (s.pillars, s.repeats, s.throughput_ops_per_s.median)).collect();
        assert_eq!(medians, [(2, 3, 20.0), (4, 3, 200.0)]);
    }
}
