//! What several tests need.

use hypostyle_bench::point::Point;

/// A point of four replicas and one pillar, on a quiet machine.
pub(crate) fn point() -> Point {
    Point { n: 4, f: 1, pillars: 1, workers: 1, executor: "inline".into(), ..Point::default() }
}
