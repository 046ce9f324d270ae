use serde::{Deserialize, Serialize};

use crate::columns::columns;
use crate::latency::Percentiles;
use crate::reference::Reference;

/// One measurement: what was run, under which load, and what it showed. The names of its fields are those of
/// `--json` and of the columns of `points.csv`; the unit stands last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Its setting and repetition: different for all points of a directory, and the stem of its files.
    pub name: String,
    /// 0 for the first measurement of its setting.
    pub repeat: u32,
    /// Replicas.
    pub n: u16,
    /// Faulty ones tolerated.
    pub f: u16,
    /// Pillars.
    pub pillars: u16,
    /// Worker threads of each replica.
    pub workers: u64,
    /// "inline" or "thread".
    pub executor: String,
    /// Crypto threads of each replica.
    pub crypto_threads: u64,
    /// Signature suite of replicas and clients.
    pub auth: String,
    /// How requests are authenticated.
    pub client_auth: String,
    /// "merkle" or "each".
    pub replies: String,
    /// Statements a bundle at most.
    pub bundle: u64,
    /// Operations a batch at most.
    pub batch_max: u64,
    /// Which pillar a request belongs to: by "request" or by "client".
    pub assign: String,
    /// "spread" or "single".
    pub leaders: String,
    /// How long an operation may wait for its batch to fill, µs.
    #[serde(default)]
    pub batch_delay_us: u64,
    /// Slots of a pillar in progress at most.
    pub pipeline: u64,
    /// Rounds between the low and the high watermark.
    pub window: u64,
    /// Rounds between checkpoints.
    pub checkpoint_interval: u64,
    /// Unacknowledged numbers of a client at most.
    pub client_window: u64,
    /// Hash of the cluster configuration.
    pub configuration: String,
    /// Load model: "closed", each client keeps its outstanding operations in flight; "constant" or "poisson": operations
    /// are due at such moments, whatever is answered.
    pub load: String,
    /// Operations that were due each second; 0 in a closed loop.
    pub offered_ops_per_s: u32,
    /// Clients.
    pub clients: u32,
    /// Operations each client keeps in flight.
    pub outstanding_per_client: u64,
    /// Connections between clients and replicas.
    pub connections: u64,
    /// What clients ask: "null", or a mix of YCSB.
    pub workload: String,
    /// Records that the service begins with; 0 where it stores none.
    pub records: u64,
    /// Bytes of an operation, or of a record.
    pub payload_bytes: u64,
    /// Bytes of a result.
    pub reply_bytes: u64,
    /// Requests signed before the run; 0: each is signed when it is sent.
    pub presign: u64,
    /// Processes or machines that generated the load.
    pub generators: u16,
    /// What was done to replicas in the window, as `--fault` says it; counters an operation are then those of the others.
    pub fault: String,
    /// Length of the warm-up, which counts for nothing.
    pub warmup_s: f64,
    /// Length of the window.
    pub measured_s: f64,
    /// What ended the window: "duration" or "presigned requests used up".
    pub ended_by: String,
    /// Operations acknowledged in the window, each by f+1 valid matching replies.
    pub operations: u64,
    /// The two before divided.
    pub throughput_ops_per_s: f64,
    /// From sending (open loop: from the moment it was due) to the (f+1)-th matching reply, µs.
    pub latency_us: Percentiles,
    /// CPU time of all replicas together, user and kernel, per operation: Σ, raw.
    pub replica_cpu_us_per_op: f64,
    /// The same in CPU-µs of the machine of the tables in `performance.md`.
    pub replica_cpu_us_per_op_scaled: f64,
    /// The part of the raw Σ that was spent in the kernel.
    pub replica_cpu_us_per_op_system: f64,
    /// The summands of the raw Σ, replica 0 first.
    pub replica_cpu_us_per_op_each: Vec<f64>,
    /// CPU time of the load generator, raw.
    pub client_cpu_us_per_op: f64,
    /// CPU time of the load generator, scaled.
    pub client_cpu_us_per_op_scaled: f64,
    /// The fixed reference timed before and after the window.
    pub reference: Reference,
    /// What raw CPU times in user mode are multiplied by to get scaled ones.
    pub scale_user: f64,
    /// What raw CPU times in the kernel are multiplied by to get scaled ones.
    pub scale_system: f64,
    /// Memory that each replica may have, MB of 10^6 bytes; 0: no limit.
    pub memory_limit_mb: f64,
    /// Peak resident memory of the largest replica, MB of 10^6 bytes.
    pub rss_mb_max: f64,
    /// Operations a proposed batch held on average.
    pub ops_per_batch: f64,
    /// Statements a bundle held on average.
    pub statements_per_bundle: f64,
    /// Signatures made by all replicas per operation.
    pub signatures_per_op: f64,
    /// Signatures verified by all replicas per operation. Of the whole run, since an operation is verified before it is
    /// executed: in a window alone those on the way would be missing.
    pub verifications_per_op: f64,
    /// System calls of all replicas' network threads per operation.
    pub syscalls_per_op: f64,
    /// Heap allocations of all replicas per operation.
    pub allocations_per_op: f64,
    /// CPU time of a replica's threads per operation, raw.
    #[serde(default)]
    pub threads_cpu_per_op: ThreadCosts,
    /// View changes from the start of the replicas on: the highest view reached, summed over the pillars.
    pub view_changes: u64,
    /// Whether all replicas ended in the same state. Always true: else there is no point.
    pub state_digests_agree: bool,
    /// That state's digest.
    pub state_digest: String,
    /// Operations acknowledged from start to end, warm-up included; every replica executed exactly these.
    pub acknowledged_operations: u64,
    /// Share of the machine's time in the window that went to processes other than replicas and generator.
    pub others_cpu_share: f64,
    /// Share of the machine's time in the window that the hypervisor took away.
    pub steal_share: f64,
    /// Share of a core that each generator used, on average.
    pub generator_core_share: f64,
    /// Why this is no result to be quoted, if so: a bottleneck in the generator, a noisy machine.
    pub marks: Vec<String>,
}

/// The name of a setting's measurement.
#[must_use]
pub(crate) fn point_name(setting: &str, repeat: u32) -> String {
    format!("{setting}-{repeat}")
}

/// CPU time of a replica's threads per operation that it executed, user and kernel, µs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ThreadCosts {
    /// The busiest worker of any replica.
    pub busiest_worker_us: f64,
    /// All workers of a replica; this and what follows is the mean over the replicas.
    pub workers_us: f64,
    /// The executor's thread; 0 where the first worker does its work.
    pub executor_us: f64,
    /// All threads that verify and sign.
    pub crypto_us: f64,
    /// All others.
    pub others_us: f64,
}

impl Point {
    /// Whether two points measure the same setting, so that their difference is noise.
    #[must_use]
    pub fn same_setting(&self, other: &Self) -> bool {
        self.configuration == other.configuration
            && (self.workers, &self.executor, self.crypto_threads)
                == (other.workers, &other.executor, other.crypto_threads)
            && (self.clients, self.outstanding_per_client, self.payload_bytes, self.reply_bytes)
                == (other.clients, other.outstanding_per_client, other.payload_bytes, other.reply_bytes)
            && (&self.load, self.offered_ops_per_s) == (&other.load, other.offered_ops_per_s)
            && (self.memory_limit_mb, self.generators) == (other.memory_limit_mb, other.generators)
            && (&self.workload, self.records, &self.fault) == (&other.workload, other.records, &other.fault)
            && (self.presign == 0) == (other.presign == 0)
    }

    /// The point as a row of a table: a name and a text for each leaf, nested names joined by `_`.
    #[must_use]
    pub fn columns(&self) -> Vec<(String, String)> {
        columns(self, LEADING)
    }
}

/// The columns that a reader looks for first; the others follow by alphabet.
const LEADING: &[&str] = &[
    "repeat",
    "n",
    "pillars",
    "auth",
    "replies",
    "bundle",
    "batch_max",
    "clients",
    "outstanding_per_client",
    "offered_ops_per_s",
    "throughput_ops_per_s",
    "latency_us_p50",
    "latency_us_p90",
    "latency_us_p99",
    "latency_us_p999",
    "latency_us_max",
    "latency_us_mean",
    "replica_cpu_us_per_op",
    "replica_cpu_us_per_op_scaled",
    "client_cpu_us_per_op",
    "rss_mb_max",
];

/// The columns that say what was measured: points that agree in them measure the same. The configuration's hash isn't
/// among them, since it covers the members' keys, and presigned requests only in whether there were any.
pub(crate) const SETTING: &[&str] = &[
    "n",
    "pillars",
    "workers",
    "executor",
    "crypto_threads",
    "auth",
    "client_auth",
    "replies",
    "bundle",
    "batch_max",
    "assign",
    "leaders",
    "batch_delay_us",
    "pipeline",
    "window",
    "checkpoint_interval",
    "client_window",
    "load",
    "clients",
    "outstanding_per_client",
    "offered_ops_per_s",
    "workload",
    "records",
    "payload_bytes",
    "reply_bytes",
    "generators",
    "memory_limit_mb",
    "fault",
];

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A point with a value in every field.
    pub(crate) fn example() -> Point {
        Point {
            name: "p2-00000000-c8x100-0".into(),
            repeat: 0,
            n: 4,
            f: 1,
            pillars: 2,
            workers: 1,
            executor: "inline".into(),
            crypto_threads: 0,
            auth: "rsa-2048".into(),
            client_auth: "signature".into(),
            replies: "merkle".into(),
            bundle: 64,
            batch_max: 100,
            assign: "request".into(),
            leaders: "spread".into(),
            batch_delay_us: 0,
            pipeline: 64,
            window: 128,
            checkpoint_interval: 32,
            client_window: 1024,
            configuration: "00".repeat(32),
            load: "closed".into(),
            offered_ops_per_s: 0,
            clients: 8,
            outstanding_per_client: 100,
            connections: 64,
            workload: "null".into(),
            records: 0,
            payload_bytes: 100,
            reply_bytes: 8,
            presign: 40_000,
            generators: 1,
            fault: String::new(),
            warmup_s: 1.0,
            measured_s: 2.0,
            ended_by: "duration".into(),
            operations: 20_000,
            throughput_ops_per_s: 10_000.0,
            latency_us: Percentiles { p50: 1.0, p90: 2.0, p99: 3.0, p999: 4.0, max: 5.0, mean: 1.5 },
            replica_cpu_us_per_op: 80.0,
            replica_cpu_us_per_op_scaled: 76.0,
            replica_cpu_us_per_op_system: 10.0,
            replica_cpu_us_per_op_each: vec![20.0; 4],
            client_cpu_us_per_op: 30.0,
            client_cpu_us_per_op_scaled: 28.0,
            reference: crate::reference::TABLE,
            scale_user: 0.95,
            scale_system: 0.5,
            memory_limit_mb: 0.0,
            rss_mb_max: 12.0,
            ops_per_batch: 99.5,
            statements_per_bundle: 3.5,
            signatures_per_op: 0.1,
            verifications_per_op: 4.2,
            syscalls_per_op: 0.5,
            allocations_per_op: 0.25,
            threads_cpu_per_op: ThreadCosts { busiest_worker_us: 21.0, ..ThreadCosts::default() },
            view_changes: 0,
            state_digests_agree: true,
            state_digest: "11".repeat(32),
            acknowledged_operations: 31_000,
            others_cpu_share: 0.01,
            steal_share: 0.0,
            generator_core_share: 0.4,
            marks: Vec::new(),
        }
    }

    #[test]
    fn json_has_the_fields_that_readers_rely_on() {
        let json = serde_json::to_value(example()).expect("serializes");
        for field in [
            "n",
            "f",
            "pillars",
            "workers",
            "auth",
            "client_auth",
            "replies",
            "bundle",
            "batch_max",
            "clients",
            "outstanding_per_client",
            "connections",
            "payload_bytes",
            "reply_bytes",
            "presign",
            "measured_s",
            "operations",
            "throughput_ops_per_s",
            "replica_cpu_us_per_op",
            "replica_cpu_us_per_op_scaled",
            "client_cpu_us_per_op",
            "rss_mb_max",
            "ops_per_batch",
            "statements_per_bundle",
            "signatures_per_op",
            "verifications_per_op",
            "view_changes",
            "state_digests_agree",
        ] {
            assert!(json.get(field).is_some(), "{field} is missing");
        }
        for field in ["p50", "p90", "p99", "p999", "max", "mean"] {
            assert!(json["latency_us"].get(field).is_some(), "latency_us.{field} is missing");
        }
    }

    #[test]
    fn a_point_reads_back_from_its_json() {
        let json = serde_json::to_string(&example()).expect("serializes");
        assert_eq!(serde_json::from_str::<Point>(&json).expect("reads back"), example());
    }

    #[test]
    fn columns_begin_with_what_readers_look_for() {
        let columns = example().columns();
        let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(&names[..LEADING.len()], LEADING);
        assert!(names.contains(&"reference_rsa_verify_us"));
        let each = columns.iter().find(|(name, _)| name == "replica_cpu_us_per_op_each").expect("a column");
        assert_eq!(each.1, "20.0; 20.0; 20.0; 20.0");
    }

    #[test]
    fn repeats_share_a_setting_and_other_pillars_do_not() {
        let repeat = Point { repeat: 1, operations: 7, presign: 39_000, ..example() };
        assert!(example().same_setting(&repeat));
        assert!(!example().same_setting(&Point { configuration: "22".repeat(32), ..example() }));
    }
}
