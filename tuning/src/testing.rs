//! What several tests need.

use hypostyle_bench::point::Point;

/// A point of four replicas and one pillar, on a quiet machine.
pub(crate) fn point() -> Point {
    let zeros = r#"{"repeat":0,"n":4,"f":1,"pillars":1,"workers":1,"executor":"inline","crypto_threads":0,
        "auth":"ed25519","client_auth":"mac","replies":"merkle","bundle":64,"batch_max":400,"assign":"request",
        "leaders":"spread","pipeline":64,"window":128,"checkpoint_interval":32,"client_window":1024,
        "configuration":"","load":"closed","clients":8,"outstanding_per_client":100,"connections":32,
        "payload_bytes":100,"reply_bytes":8,"presign":0,"warmup_s":1,"measured_s":1,"ended_by":"duration",
        "operations":1000,"throughput_ops_per_s":1000,
        "latency_us":{"p50":1,"p90":1,"p99":1,"p999":1,"max":1,"mean":1},
        "replica_cpu_us_per_op":4,"replica_cpu_us_per_op_scaled":4,"replica_cpu_us_per_op_system":1,
        "replica_cpu_us_per_op_each":[1,1,1,1],"client_cpu_us_per_op":1,"client_cpu_us_per_op_scaled":1,
        "reference":{"rsa_verify_us":13,"sha256_4k_us":2,"loopback_us":2},"scale_user":1,"scale_system":1,
        "rss_mb_max":10,"ops_per_batch":100,"statements_per_bundle":1,"signatures_per_op":0.01,
        "verifications_per_op":0.04,"syscalls_per_op":1,"allocations_per_op":1,"view_changes":0,
        "state_digests_agree":true,"state_digest":"","acknowledged_operations":1000,"others_cpu_share":0,
        "steal_share":0,"generator_core_share":0,"marks":[]}"#;
    serde_json::from_str(zeros).expect("a point")
}
