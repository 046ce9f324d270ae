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
/// Where others take more than this, a replica may wait longer for its turns than the others wait for it.
const STARVED: f64 = 0.6;
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
        let others = self.others(cluster);
        if others <= OTHERS_MAX {
            return limit;
        }
        eprintln!(
            "others had {:.0} % of the processors: {limit:?} is not held against the cluster",
            others * 100.0
        );
        limit * SHARED
    }

    /// Whether the cluster had so little of the machine since that a timer tells nothing: view changes are needless then,
    /// but right.
    pub(crate) fn starved(&self, cluster: &Cluster) -> bool {
        let others = self.others(cluster);
        let starved = others > STARVED;
        if starved {
            eprintln!(
                "others had {:.0} % of the processors: view changes are not held against the cluster",
                others * 100.0
            );
        }
        starved
    }

    /// The share of the processors that others had since.
    fn others(&self, cluster: &Cluster) -> f64 {
        let now = Self::now(cluster);
        let others = (now.everyone - self.everyone).saturating_sub(now.own.saturating_sub(self.own));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let ticks = rustix::param::clock_ticks_per_second() as f64 * cores as f64;
        others as f64 / (ticks * (now.at - self.at).as_secs_f64())
    }
}

/// User and system time; of a process that has ended, none.
fn of_process(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Behind the name, which may hold anything.
    let after = text.rsplit(')').next().unwrap_or_default();
    after.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum()
}
