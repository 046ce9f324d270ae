use serde::Serialize;

use crate::cli::{LatencyLimit, Percentile};
use crate::label::{labels_without_load, load};
use crate::point::Point;
use crate::summary::{Spread, settings};

/// Settings that differ in nothing but their load.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Curve {
    /// What tells this curve from the others of its command.
    pub label: String,
    /// Its loads, as the command lists them.
    pub loads: Vec<Loaded>,
    /// Where its throughput is highest, of the loads that count.
    pub best: Option<usize>,
    /// Where throughput divided by mean latency is highest, Kleinrock's *power* (ICC 1979): beyond it latency grows faster
    /// than throughput.
    pub knee: Option<usize>,
    /// Where throughput is highest below the latency limit, if one was given and met.
    pub best_within_limit: Option<usize>,
}

/// One load of a curve: medians of its measurements without a mark, if there are any, else of all.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Loaded {
    /// The first of its points.
    pub name: String,
    /// Clients x outstanding, or operations a second.
    pub load: String,
    /// Operations a second.
    pub throughput_ops_per_s: Spread,
    /// Mean latency, µs.
    pub latency_us_mean: f64,
    /// Median latency, µs.
    pub latency_us_p50: f64,
    /// Latency of 90 of 100, µs.
    pub latency_us_p90: f64,
    /// Latency of 99 of 100, µs.
    pub latency_us_p99: f64,
    /// Latency of 999 of 1,000, µs.
    pub latency_us_p999: f64,
    /// Σ over the replicas, scaled, CPU-µs.
    pub replica_cpu_us_per_op_scaled: f64,
    /// Measurements.
    pub repeats: usize,
    /// Those that are marked as no result.
    pub marked: usize,
}

/// The curves of a command, in the order in which they first occur.
#[must_use]
pub fn curves(points: &[Point], limit: Option<LatencyLimit>) -> Vec<Curve> {
    let groups = settings(points);
    let firsts: Vec<&Point> = groups.iter().map(|group| group[0]).collect();
    let mut curves: Vec<Curve> = Vec::new();
    for (label, group) in labels_without_load(&firsts).into_iter().zip(&groups) {
        let loaded = Loaded::of(group);
        match curves.iter_mut().find(|curve| curve.label == label) {
            Some(curve) => curve.loads.push(loaded),
            None => curves.push(Curve {
                label,
                loads: vec![loaded],
                best: None,
                knee: None,
                best_within_limit: None,
            }),
        }
    }
    curves.iter_mut().for_each(|curve| curve.find(limit));
    curves
}

impl Curve {
    fn find(&mut self, limit: Option<LatencyLimit>) {
        self.best = self.highest(|_| true, Loaded::throughput);
        self.knee = self.highest(|_| true, Loaded::power);
        self.best_within_limit = limit.and_then(|limit| {
            let limit_us = limit.limit.as_secs_f64() * 1e6;
            self.highest(|loaded| loaded.percentile(limit.percentile) <= limit_us, Loaded::throughput)
        });
    }

    /// Of the loads that have a result.
    fn highest(&self, of: impl Fn(&Loaded) -> bool, value: fn(&Loaded) -> f64) -> Option<usize> {
        let loads = self.loads.iter().enumerate();
        let of = loads.filter(|(_, loaded)| loaded.marked < loaded.repeats && of(loaded));
        of.max_by(|(_, a), (_, b)| value(a).total_cmp(&value(b))).map(|(index, _)| index)
    }
}

impl Loaded {
    fn of(group: &[&Point]) -> Self {
        let good: Vec<&Point> = group.iter().filter(|point| point.marks.is_empty()).copied().collect();
        let used = if good.is_empty() { group } else { &good };
        let spread = |value: fn(&Point) -> f64| Spread::of(used.iter().map(|point| value(point)).collect());
        Self {
            name: group[0].name.clone(),
            load: load(group[0]),
            throughput_ops_per_s: spread(|point| point.throughput_ops_per_s),
            latency_us_mean: spread(|point| point.latency_us.mean).median,
            latency_us_p50: spread(|point| point.latency_us.p50).median,
            latency_us_p90: spread(|point| point.latency_us.p90).median,
            latency_us_p99: spread(|point| point.latency_us.p99).median,
            latency_us_p999: spread(|point| point.latency_us.p999).median,
            replica_cpu_us_per_op_scaled: spread(|point| point.replica_cpu_us_per_op_scaled).median,
            repeats: group.len(),
            marked: group.len() - good.len(),
        }
    }

    fn throughput(&self) -> f64 {
        self.throughput_ops_per_s.median
    }

    fn power(&self) -> f64 {
        self.throughput() / self.latency_us_mean.max(1.0)
    }

    fn percentile(&self, percentile: Percentile) -> f64 {
        match percentile {
            Percentile::P50 => self.latency_us_p50,
            Percentile::P90 => self.latency_us_p90,
            Percentile::P99 => self.latency_us_p99,
            Percentile::P999 => self.latency_us_p999,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Percentiles;
    use crate::point::tests::example;

    fn point(pillars: u16, outstanding: u64, throughput: f64, ms: f64) -> Point {
        let us = ms * 1000.0;
        Point {
            pillars,
            configuration: pillars.to_string(),
            outstanding_per_client: outstanding,
            throughput_ops_per_s: throughput,
            latency_us: Percentiles { p50: us, p90: us, p99: 2.0 * us, p999: 3.0 * us, max: us, mean: us },
            ..example()
        }
    }

    fn two() -> Vec<Point> {
        vec![
            point(1, 1, 1000.0, 1.0),
            point(1, 10, 8000.0, 1.5),
            point(1, 100, 10_000.0, 10.0),
            point(2, 1, 900.0, 1.0),
        ]
    }

    #[test]
    fn a_curve_has_its_best_its_knee_and_its_best_below_a_limit() {
        let curves = curves(&two(), Some("p99=3ms".parse().expect("a limit")));
        assert_eq!(curves.iter().map(|curve| curve.loads.len()).collect::<Vec<_>>(), [3, 1]);
        assert_eq!(
            (curves[0].best, curves[0].knee, curves[0].best_within_limit),
            (Some(2), Some(1), Some(1))
        );
        assert_eq!((curves[1].label.as_str(), curves[1].best), ("P = 2", Some(0)));
    }

    #[test]
    fn a_limit_that_nothing_meets_has_no_best() {
        assert_eq!(curves(&two(), Some("p99=1ms".parse().expect("a limit")))[0].best_within_limit, None);
        assert_eq!(curves(&two(), None)[0].best_within_limit, None);
    }

    #[test]
    fn marked_measurements_count_for_nothing_beside_others() {
        let mut points = two();
        points[2].marks.push("noisy".into());
        assert_eq!(curves(&points, None)[0].best, Some(1), "all of the load's measurements are marked");
        points.push(Point { repeat: 1, ..point(1, 100, 9000.0, 10.0) });
        let loaded = &curves(&points, None)[0].loads[2];
        assert_eq!((loaded.throughput_ops_per_s.median, loaded.marked, loaded.repeats), (9000.0, 1, 2));
        assert_eq!(curves(&points, None)[0].best, Some(2));
    }
}
