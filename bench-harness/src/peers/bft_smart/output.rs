use crate::latency::Latencies;
use crate::peers::output::{Interval, PeerLatency};
use std::time::Duration;

pub(in crate::peers) fn is_ready(output: &str) -> bool {
    output.contains("Ready to process operations")
}

/// All clients were started. It says so without a single replica, too.
pub(in crate::peers) fn load_has_begun(output: &str) -> bool {
    output.contains("Executing experiment")
}

/// A line about every two seconds, as long as requests arrive:
/// `(clients[#]|requests[#]|…)>(60|4017|2006778452|2001.7|2004.7)`. The first counts its time from the boot of the
/// machine: it is no interval.
pub(in crate::peers) fn intervals(output: &str) -> Vec<Interval> {
    output.lines().filter_map(interval).skip(1).collect()
}

fn interval(line: &str) -> Option<Interval> {
    let (_, figures) = line.split_once("(clients[#]|requests[#]|")?;
    let figures = figures.split_once(")>(")?.1.strip_suffix(')')?;
    let mut fields = figures.split('|');
    let operations = fields.nth(1)?.parse::<u32>().ok()?;
    let nanoseconds = fields.next()?.parse::<f64>().ok().filter(|time| time.is_finite() && *time > 0.0)?;
    Some(Interval { operations: operations.into(), seconds: nanoseconds / 1e9, mean_us: None, max_us: None })
}

/// One client tells the latency of each of its operations, in ns.
pub(in crate::peers) fn latency(client: &str) -> PeerLatency {
    let mut latencies = Latencies::new();
    let figures =
        client.lines().filter_map(|line| line.split_once("M-global: ")?.1.trim().parse::<u64>().ok());
    figures.for_each(|nanoseconds| latencies.record(Duration::from_nanos(nanoseconds)));
    let of = "the operations of one client of them all";
    if latencies.count() == 0 {
        return PeerLatency { of, ..PeerLatency::default() };
    }
    let told = latencies.percentiles();
    PeerLatency {
        p50_us: Some(told.p50),
        p99_us: Some(told.p99),
        mean_us: Some(told.mean),
        max_us: Some(told.max),
        of,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::output::{total, trouble};

    const REPLICA: &str = include_str!("../../../tests/fixtures/peers/bft-smart/replica.txt");
    const CLIENT: &str = include_str!("../../../tests/fixtures/peers/bft-smart/client.txt");
    const PORT_IN_USE: &str = include_str!("../../../tests/fixtures/peers/bft-smart/fail-port-in-use.txt");
    const NO_HOSTS: &str = include_str!("../../../tests/fixtures/peers/bft-smart/fail-no-hosts.txt");
    const NO_REPLICAS: &str = include_str!("../../../tests/fixtures/peers/bft-smart/fail-no-replicas.txt");

    #[test]
    fn a_replica_s_report_lines_are_intervals() {
        assert!(is_ready(REPLICA));
        let intervals = intervals(REPLICA);
        assert_eq!(intervals.len(), 9, "ten lines, the first of which counts from the boot");
        assert_eq!((intervals[2].operations, intervals[2].seconds), (3204.0, 2.017_514_182));
        let (operations, seconds) = total(&intervals[2..]);
        assert!((operations / seconds - 2413.0).abs() < 1.0, "{operations} in {seconds} s");
    }

    #[test]
    fn one_client_tells_its_latencies() {
        let told = latency(CLIENT);
        assert!(told.p50_us > Some(10_000.0) && told.p50_us <= told.p99_us && told.p99_us <= told.max_us);
        assert_eq!(latency("Executing experiment\n").p50_us, None);
    }

    #[test]
    fn failing_starts_say_why() {
        assert!(trouble(PORT_IN_USE).expect("trouble").contains("port is taken"));
        assert!(trouble(NO_HOSTS).expect("trouble").contains("hosts.config"));
        assert!(trouble(NO_REPLICAS).expect("trouble").contains("found no replicas"));
        assert!(load_has_begun(NO_REPLICAS), "which is no sign of success");
        assert!(!is_ready(PORT_IN_USE) && intervals(PORT_IN_USE).is_empty());
        assert_eq!(trouble(REPLICA), None);
    }

    #[test]
    fn lines_that_are_cut_or_strange_count_for_nothing() {
        let whole =
            "-- (clients[#]|requests[#]|delta[ns]|throughput[ops/s], max[ops/s])>(1|5|2000000000|2.5|2.5)";
        assert!(interval(whole).is_some());
        for end in 0..whole.len() {
            assert!(interval(&whole[..end]).is_none(), "{end}");
        }
        for strange in ["(1|-5|2|3|4)", "(1|5|NaN|3|4)", "(1|5|0|3|4)", "(|||)", ")"] {
            let line = format!("(clients[#]|requests[#]|delta[ns])>{strange}");
            assert!(interval(&line).is_none(), "{line}");
        }
    }
}
