//! Profiles: what they say, what they set, and what is refused.

use std::path::Path;

use hypostyle_app_api::ReplicaId;

use super::cluster;
use crate::config::{
    ClusterConfig, Count, Executor, Figures, Measured, Overrides, Profile, ReplicaConfig, Threads,
    TunedCluster, Workload,
};

fn profile() -> Profile {
    Profile {
        why: Some("verify: 53 of 77 CPU-µs\nboth cores were full".to_owned()),
        workload: Workload { n: Some(4), clients: Some(24), ..Workload::default() },
        cluster: TunedCluster { pillars: Some(2), batch_max: Some(200), ..TunedCluster::default() },
        threads: Threads { workers: Count::Fixed(2), ..Threads::default() },
        measured: Measured {
            target: Some("p99=10ms".to_owned()),
            chosen: Figures { ops_per_s: Some(22_821), ..Figures::default() },
            ..Measured::default()
        },
        ..Profile::default()
    }
}

fn fault(text: &str) -> String {
    Profile::parse(text, "t.toml").unwrap_err().to_string()
}

#[test]
fn a_profile_reads_what_it_writes() {
    for profile in [profile(), Profile::default()] {
        assert_eq!(Profile::parse(&profile.to_toml(), "t.toml").unwrap(), profile);
    }
}

#[test]
fn each_wrong_line_of_a_profile_is_refused() {
    let table = [
        ("reason = \"x\"", "t.toml:1:1: unknown section \"reason\""),
        ("[cluster]\npilars = 2", "t.toml:2:1: unknown key \"pilars\" in [cluster] of a profile"),
        ("[cluster]\nauth = \"ed25519\"", "t.toml:2:1: unknown key \"auth\" in [cluster] of a profile"),
        ("[cluster]\npillars = 0", "t.toml:2:11: pillars: 0 is out of range"),
        ("[cluster]\nbatch_max = 65536", "t.toml:2:13: batch_max: 65536 is out of range"),
        ("[cluster]\nbundle = 65", "t.toml:2:10: bundle: 65 is out of range"),
        ("[replica]\nworkers = 0", "t.toml:2:11: workers: 0 is out of range"),
        ("[replica]\nhome = \"/\"", "t.toml:2:1: unknown key \"home\" in [replica] of a profile"),
        ("[measured.default]\nspeed = 1", "t.toml:2:1: unknown key \"speed\" in [measured.default]"),
        ("cluster = 3", "t.toml:1:1: \"cluster\" is no table"),
        ("[workload]\nclients = 1.5", "t.toml:2:11: clients: float is no value for a setting"),
    ];
    for (text, what) in table {
        assert!(fault(text).starts_with(what), "for {text}: {}", fault(text));
    }
}

#[test]
fn a_profile_stands_over_the_defaults_and_below_flags() {
    let mut settings = ClusterConfig::default();
    profile().apply(&mut settings);
    assert_eq!((settings.pillars, settings.batch_max, settings.bundle), (2, 200, 64));
    let mut flags = Overrides::none();
    flags.flag("pillars=4").unwrap();
    let settings = settings.overridden(&flags).unwrap();
    assert_eq!((settings.pillars, settings.batch_max), (4, 200));
}

#[test]
fn a_replica_takes_threads_where_its_own_are_auto() {
    let own = ReplicaConfig {
        crypto_threads: Count::Fixed(1),
        executor: Executor::Inline,
        ..ReplicaConfig::new(ReplicaId(0))
    };
    let tuned =
        Threads { workers: Count::Fixed(2), executor: Executor::Thread, crypto_threads: Count::Fixed(3) };
    let mut overrides = Overrides::none();
    Profile { threads: tuned, ..Profile::default() }.complete(&own, &mut overrides).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("replica.toml");
    std::fs::write(&file, own.to_toml()).unwrap();
    let merged = ReplicaConfig::load_with(&file, &overrides).unwrap();
    assert_eq!((merged.workers, merged.executor), (Count::Fixed(2), Executor::Inline));
    assert_eq!(merged.crypto_threads, Count::Fixed(1));
}

#[test]
fn a_profile_for_another_cluster_is_refused() {
    let mut agreed = cluster();
    let refused = profile().check_cluster(Path::new("t.toml"), &agreed).unwrap_err().to_string();
    assert!(refused.starts_with("t.toml: it sets pillars = 2, but this cluster has 1"), "{refused}");
    assert!(refused.contains("init --profile"), "{refused}");
    profile().apply(&mut agreed);
    profile().check_cluster(Path::new("t.toml"), &agreed).unwrap();
}
