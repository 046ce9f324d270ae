use serde::{Deserialize, Serialize};

use super::launch::Window;
use super::output::total;
use super::work::{Auth, PeerWork, REPLICAS, REPLY_BYTES, System};
use crate::columns::columns;
use crate::evaluate::{exact, noise, rounded};
use crate::reference::{Cost, Reference};

/// One measurement of another system. The names of its fields are those of `--json` and of the columns of `peers.csv`; the
/// unit stands last, and what the system doesn't tell is empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerPoint {
    /// 0 for the system's first measurement.
    pub repeat: u32,
    /// The system.
    pub system: System,
    /// R, T or D.
    pub setting: Auth,
    /// Who signs and verifies what.
    pub signed: String,
    /// Replicas.
    pub n: usize,
    /// Pillars, where it has them.
    pub pillars: u16,
    /// Operations a batch at most.
    pub batch_max: u32,
    /// Clients.
    pub clients: u32,
    /// Operations each client keeps in flight.
    pub outstanding_per_client: u32,
    /// How its load generator keeps them in flight.
    pub load: String,
    /// Bytes of an operation.
    pub payload_bytes: usize,
    /// Bytes of a result.
    pub reply_bytes: usize,
    /// Length of the warm-up, which counts for nothing.
    pub warmup_s: f64,
    /// Length of the window, as the system tells it.
    pub measured_s: f64,
    /// Operations in the window, as the system tells them.
    pub operations: f64,
    /// The two before divided.
    pub throughput_ops_per_s: f64,
    /// Half of the operations took no longer, µs.
    pub latency_us_p50: Option<f64>,
    /// 99 of 100 took no longer, µs.
    pub latency_us_p99: Option<f64>,
    /// The mean, µs.
    pub latency_us_mean: Option<f64>,
    /// The greatest, µs.
    pub latency_us_max: Option<f64>,
    /// Whose latencies these are, and how exact.
    pub latency_of: String,
    /// CPU time of all replicas together, user and kernel, per operation: Σ, raw.
    pub replica_cpu_us_per_op: f64,
    /// The same in CPU-µs of the machine of the tables in `performance.md`.
    pub replica_cpu_us_per_op_scaled: f64,
    /// The summands of the raw Σ, replica 0 first.
    pub replica_cpu_us_per_op_each: Vec<f64>,
    /// CPU time of the load generator, raw.
    pub client_cpu_us_per_op: f64,
    /// CPU time of the load generator, scaled.
    pub client_cpu_us_per_op_scaled: f64,
    /// Peak resident memory of the largest replica, MB of 10^6 bytes.
    pub rss_mb_max: f64,
    /// Peak resident memory of the load generator, MB.
    pub client_rss_mb: f64,
    /// The fixed reference timed before and after the run.
    pub reference: Reference,
    /// Share of the machine's time in the window that went to other processes.
    pub others_cpu_share: f64,
    /// Share of the machine's time in the window that the hypervisor took away.
    pub steal_share: f64,
    /// Why this is no result to be quoted, if so.
    pub marks: Vec<String>,
}

impl PeerPoint {
    /// The figures of a run.
    ///
    /// # Errors
    /// When the system did no operation in the window.
    pub(crate) fn of(
        system: System,
        work: &PeerWork,
        repeat: u32,
        window: &Window,
        reference: Reference,
    ) -> Result<Self, String> {
        let (operations, seconds) = total(&window.intervals);
        if operations <= 0.0 || seconds <= 0.0 {
            return Err("no operation was done in the window".into());
        }
        let rate = operations / seconds;
        // What the system counts and what the kernel counts may begin some ms apart: both are taken as rates.
        let counted = rate * window.spent.elapsed.as_secs_f64();
        let each: Vec<Cost> = window.spent.replicas.iter().map(|cost| cost.per(counted)).collect();
        let replicas: Cost = each.iter().copied().sum();
        let client = window.spent.generator.per(counted);
        let largest = window.peak_rss.iter().copied().max().unwrap_or(0);
        let latency = window.latency;
        Ok(Self {
            repeat,
            system,
            setting: work.auth,
            signed: system.signed(work.auth)?.to_owned(),
            n: REPLICAS,
            pillars: system.pillars(work),
            batch_max: work.batch_max,
            clients: work.clients,
            outstanding_per_client: work.outstanding,
            load: system.load_note(work),
            payload_bytes: work.payload,
            reply_bytes: REPLY_BYTES,
            warmup_s: rounded(window.warmup.as_secs_f64()),
            measured_s: rounded(seconds),
            operations: rounded(operations),
            throughput_ops_per_s: rounded(rate),
            latency_us_p50: latency.p50_us.map(rounded),
            latency_us_p99: latency.p99_us.map(rounded),
            latency_us_mean: latency.mean_us.map(rounded),
            latency_us_max: latency.max_us.map(rounded),
            latency_of: latency.of.to_owned(),
            replica_cpu_us_per_op: rounded(replicas.total_us()),
            replica_cpu_us_per_op_scaled: rounded(reference.scaled(replicas)),
            replica_cpu_us_per_op_each: each.iter().map(|cost| rounded(cost.total_us())).collect(),
            client_cpu_us_per_op: rounded(client.total_us()),
            client_cpu_us_per_op_scaled: rounded(reference.scaled(client)),
            rss_mb_max: rounded(exact(largest) / 1e6),
            client_rss_mb: rounded(exact(window.client_peak_rss) / 1e6),
            reference,
            others_cpu_share: rounded(window.spent.others_share),
            steal_share: rounded(window.spent.steal_share),
            marks: noise(&window.spent),
        })
    }

    /// The point as a row of a table.
    #[must_use]
    pub fn columns(&self) -> Vec<(String, String)> {
        columns(self, LEADING)
    }
}

/// The columns that a reader looks for first.
const LEADING: &[&str] = &[
    "repeat",
    "system",
    "setting",
    "clients",
    "outstanding_per_client",
    "batch_max",
    "throughput_ops_per_s",
    "latency_us_p50",
    "latency_us_p99",
    "latency_us_mean",
    "replica_cpu_us_per_op",
    "replica_cpu_us_per_op_scaled",
    "client_cpu_us_per_op",
    "rss_mb_max",
];

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::peers::output::{Interval, PeerLatency};
    use crate::peers::work::tests::work;
    use crate::reference::TABLE;
    use crate::sample::Spent;
    use std::time::Duration;

    fn window() -> Window {
        let interval = Interval { operations: 500.0, seconds: 1.0, mean_us: Some(2000.0), max_us: None };
        let cost = |user_us| Cost { user_us, system_us: 0.0 };
        Window {
            intervals: vec![interval; 4],
            latency: PeerLatency { mean_us: Some(2000.0), of: "all", ..PeerLatency::default() },
            spent: Spent {
                // 10 % longer than what the system counted.
                elapsed: Duration::from_millis(4400),
                operations: 0,
                replicas: vec![cost(220_000.0); 4],
                generator: cost(22_000.0),
                others_share: 0.5,
                steal_share: 0.0,
                stalled_share: 0.0,
            },
            warmup: Duration::from_secs(3),
            peak_rss: vec![1_000_000, 5_000_000, 2_000_000, 1],
            client_peak_rss: 3_000_000,
        }
    }

    /// A point of a system.
    pub(crate) fn example(system: System) -> PeerPoint {
        PeerPoint::of(system, &work(Auth::D), 0, &window(), TABLE).expect("a point")
    }

    #[test]
    fn cpu_is_counted_over_its_own_time() {
        let point = example(System::Reptor);
        assert_eq!((point.throughput_ops_per_s, point.measured_s), (500.0, 4.0));
        assert_eq!((point.replica_cpu_us_per_op, point.client_cpu_us_per_op), (400.0, 10.0));
        assert_eq!(point.replica_cpu_us_per_op_each, [100.0; 4]);
        assert_eq!((point.rss_mb_max, point.client_rss_mb), (5.0, 3.0));
        assert!(point.marks[0].contains("noisy"));
    }

    #[test]
    fn a_window_without_operations_is_no_point() {
        let mut empty = window();
        empty.intervals.iter_mut().for_each(|interval| interval.operations = 0.0);
        assert!(PeerPoint::of(System::Themis, &work(Auth::D), 0, &empty, TABLE).is_err());
    }

    #[test]
    fn what_a_system_does_not_tell_is_an_empty_column() {
        let columns = example(System::Themis).columns();
        let text =
            |name: &str| columns.iter().find(|(column, _)| column == name).map(|(_, text)| text.as_str());
        assert_eq!((text("latency_us_p50"), text("latency_us_mean")), (Some(""), Some("2000.0")));
        assert_eq!((text("system"), text("setting")), (Some("themis"), Some("D")));
    }
}
