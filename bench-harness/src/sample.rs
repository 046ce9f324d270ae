use std::io;
use std::time::{Duration, Instant};

use crate::proc_fs::{CpuTime, MachineTime, stalled_us};
use crate::reference::Cost;

/// What is read at both ends of a window, at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// The moment.
    pub(crate) at: Instant,
    /// Operations acknowledged so far.
    pub(crate) acknowledged: u64,
    /// CPU time of each replica.
    pub(crate) replicas: Vec<CpuTime>,
    /// CPU time of the processes that generate the load; this one, unless others do.
    pub(crate) generator: CpuTime,
    /// Whether these are on this machine.
    pub(crate) generator_here: bool,
    /// CPU time of the machine.
    pub(crate) machine: MachineTime,
    /// Time in which something on the machine waited for memory or a disk, µs.
    pub(crate) stalled_us: u64,
}

/// What happened between two samples.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spent {
    /// Time between them.
    pub(crate) elapsed: Duration,
    /// Operations acknowledged between them.
    pub(crate) operations: u64,
    /// CPU time of each replica.
    pub(crate) replicas: Vec<Cost>,
    /// CPU time of the load generator.
    pub(crate) generator: Cost,
    /// Share of the machine's time that went to other processes.
    pub(crate) others_share: f64,
    /// Share of the machine's time that the hypervisor took.
    pub(crate) steal_share: f64,
    /// Share of the time in which something waited for memory or a disk.
    pub(crate) stalled_share: f64,
}

impl Sample {
    /// Reads the clocks of the processes `replicas` and of this one.
    ///
    /// # Errors
    /// When a replica has ended.
    pub(crate) fn take(replicas: &[u32], acknowledged: u64) -> io::Result<Self> {
        Self::with_generator(replicas, CpuTime::of_this_process()?, acknowledged)
    }

    /// Reads the clocks of the processes `replicas` and of one that generates their load, whose operations are
    /// counted elsewhere.
    ///
    /// # Errors
    /// When a process has ended.
    pub(crate) fn of_processes(replicas: &[u32], generator: u32) -> io::Result<Self> {
        Self::with_generator(replicas, CpuTime::of(generator)?, 0)
    }

    fn with_generator(replicas: &[u32], generator: CpuTime, acknowledged: u64) -> io::Result<Self> {
        Ok(Self {
            at: Instant::now(),
            acknowledged,
            replicas: replicas.iter().map(|pid| CpuTime::of(*pid)).collect::<io::Result<_>>()?,
            generator,
            generator_here: true,
            machine: MachineTime::now()?,
            stalled_us: stalled_us(),
        })
    }

    /// What was spent from `earlier` to this one.
    #[must_use]
    pub(crate) fn since(&self, earlier: &Self) -> Spent {
        let spent = |now: &CpuTime, before: &CpuTime| Cost {
            user_us: micros(now.user_us.saturating_sub(before.user_us)),
            system_us: micros(now.system_us.saturating_sub(before.system_us)),
        };
        let replicas: Vec<Cost> =
            self.replicas.iter().zip(&earlier.replicas).map(|(now, before)| spent(now, before)).collect();
        let generator = spent(&self.generator, &earlier.generator);
        let ticks = |part: fn(&MachineTime) -> u64| {
            micros(part(&self.machine).saturating_sub(part(&earlier.machine)))
        };
        let total = ticks(|machine| machine.total).max(1.0);
        let tick_us = 1e6 / micros(rustix::param::clock_ticks_per_second().max(1));
        let here = if self.generator_here { generator.total_us() } else { 0.0 };
        let ours = (replicas.iter().copied().sum::<Cost>().total_us() + here) / tick_us;
        Spent {
            elapsed: self.at.duration_since(earlier.at),
            operations: self.acknowledged - earlier.acknowledged,
            replicas,
            generator,
            others_share: ((ticks(|machine| machine.busy) - ours) / total).max(0.0),
            steal_share: ticks(|machine| machine.steal) / total,
            stalled_share: micros(self.stalled_us.saturating_sub(earlier.stalled_us))
                / micros(u64::try_from((self.at - earlier.at).as_micros()).unwrap_or(u64::MAX).max(1)),
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "below 2^53: 285 years of microseconds")]
fn micros(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: Instant, acknowledged: u64, cpu_us: u64, busy: u64) -> Sample {
        let cpu = |user_us| CpuTime { user_us, system_us: 0 };
        Sample {
            at,
            acknowledged,
            replicas: vec![cpu(cpu_us), cpu(2 * cpu_us)],
            generator: cpu(cpu_us),
            generator_here: true,
            machine: MachineTime { busy, steal: busy / 100, total: 2 * busy },
            stalled_us: busy * 250,
        }
    }

    #[test]
    fn differences_are_per_process_and_machine() {
        let start = Instant::now();
        let tick_us = 1_000_000 / rustix::param::clock_ticks_per_second();
        let first = sample(start, 100, 0, 0);
        let second = sample(start + Duration::from_secs(1), 600, 100 * tick_us, 1000);
        let spent = second.since(&first);
        assert_eq!((spent.elapsed, spent.operations), (Duration::from_secs(1), 500));
        let user = |ticks: u64| Cost { user_us: micros(ticks * tick_us), system_us: 0.0 };
        assert_eq!(spent.replicas, [user(100), user(200)]);
        // 400 of the 1,000 busy ticks were ours, the machine had 2,000.
        assert!(
            (spent.others_share - 0.3).abs() < 1e-9
                && (spent.steal_share - 0.005).abs() < 1e-9
                && (spent.stalled_share - 0.25).abs() < 1e-9,
            "{spent:?}"
        );
    }

    #[test]
    fn this_process_can_be_sampled_and_a_dead_one_not() {
        let sample = Sample::take(&[std::process::id()], 0).expect("this process lives");
        assert_eq!(sample.replicas.len(), 1);
        assert!(Sample::take(&[4_194_999], 0).is_err());
    }
}
