use std::str::FromStr;
use std::time::Duration;

use hypostyle_bench::point::Point;

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The most operations a second.
    Throughput,
    /// The most operations a second whose 99th percentile of latency is at most this.
    P99(Duration),
}

impl Target {
    /// More is better. Under a limit, whatever keeps it is better than whatever doesn't, and of those that
    /// don't, the one with the least latency.
    #[must_use]
    pub fn score(self, point: &Point) -> f64 {
        match self {
            Self::P99(limit) if point.latency_us.p99 > limit.as_secs_f64() * 1e6 => -point.latency_us.p99,
            Self::Throughput | Self::P99(_) => point.throughput_ops_per_s,
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let limit = || humantime::parse_duration(text.strip_prefix("p99=")?).ok();
        match text {
            "throughput" => Ok(Self::Throughput),
            _ => limit()
                .filter(|limit| !limit.is_zero())
                .map(Self::P99)
                .ok_or_else(|| "expected \"throughput\", or a limit of latency such as \"p99=10ms\"".into()),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Throughput => f.write_str("throughput"),
            Self::P99(limit) => write!(f, "p99={}", humantime::format_duration(*limit)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::point;

    #[test]
    fn targets_read_what_they_show() {
        for text in ["throughput", "p99=10ms", "p99=1s 500ms"] {
            assert_eq!(text.parse::<Target>().expect("parses").to_string(), text);
        }
        for text in ["", "p99", "p99=", "p99=10", "p99=0s", "p50=1ms", "latency"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_limit_comes_before_throughput() {
        let with = |ops, p99_us| {
            let mut point = point();
            point.throughput_ops_per_s = ops;
            point.latency_us.p99 = p99_us;
            Target::P99(Duration::from_millis(10)).score(&point)
        };
        assert!(with(1000.0, 9_000.0) > with(900.0, 1_000.0), "both keep it");
        assert!(with(10.0, 10_000.0) > with(1000.0, 10_001.0), "one keeps it");
        assert!(with(10.0, 11_000.0) > with(1000.0, 12_000.0), "none keeps it");
    }
}
