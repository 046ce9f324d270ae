//! Whose the processors are. A time that a test promises holds on a machine that the cluster has to itself.

use std::fs;
use std::time::{Duration, Instant};

use crate::cluster::Cluster;

/// Processor time spent up to some moment.
pub(crate) struct Spent {
    at: Instant,
    everyone: u64,
    own: u64,
}

/// A share of the processors that the system itself may take.
const OTHERS_MAX: f64 = 0.1;
/// What times are multiplied by when others take more.
const SHARED: u32 = 5;

impl Spent {
    /// That of the whole machine, and that of this process and the replicas that run.
    pub(crate) fn now(cluster: &Cluster) -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap();
        let all: Vec<u64> =
            text.lines().next().unwrap().split(' ').filter_map(|word| word.parse().ok()).collect();
        // user nice system idle iowait irq softirq steal; what guests spend is part of user.
        let everyone = all[..8].iter().sum::<u64>() - all[3] - all[4];
        let own = cluster.pids().chain([std::process::id()]).map(of_process).sum();
        Self { at: Instant::now(), everyone, own }
    }

    /// A limit for what happened since: `limit`, unless others had much of the machine meanwhile.
    pub(crate) fn limit(&self, cluster: &Cluster, limit: Duration) -> Duration {
        let now = Self::now(cluster);
        let others = (now.everyone - self.everyone).saturating_sub(now.own.saturating_sub(self.own));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let ticks =
            rustix::param::clock_ticks_per_second() as f64 * cores as f64 * (now.at - self.at).as_secs_f64();
        let share = others as f64 / ticks;
        if share <= OTHERS_MAX {
            return limit;
        }
        eprintln!(
            "others had {:.0} % of the processors: {limit:?} is not held against the cluster",
            share * 100.0
        );
        limit * SHARED
    }
}

/// User and system time; of a process that has ended, none.
fn of_process(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Behind the name, which may hold anything.
    let after = text.rsplit(')').next().unwrap_or_default();
    after.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum()
}
