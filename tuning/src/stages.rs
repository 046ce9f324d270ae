//! Where an operation's time goes, and which stage is the bottleneck. Pure.

use std::fmt::Write as _;

use hypostyle_bench::point::Point;
use hypostyle_bench::reference::SuiteCost;
use serde::Serialize;

/// CPU time of one operation by stage, µs: sums over all replicas, and the generator.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Stages {
    /// Verifying: verifications counted, times the cost of one.
    pub verify_us: f64,
    /// Signing: signatures counted, times the cost of one.
    pub sign_us: f64,
    /// Merge, client table, application and reply groups: the executor's thread. `None` where it has none: then it is part
    /// of the pillars.
    pub merge_us: Option<f64>,
    /// In the kernel: sockets and wake-ups.
    pub kernel_us: f64,
    /// What remains: protocol, hashes, tags, frames.
    pub pillars_us: f64,
    /// The load generator.
    pub generator_us: f64,
}

/// A stage that bounds throughput.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Verifying signatures.
    Verify,
    /// Signing.
    Sign,
    /// The workers' own part.
    Pillar,
    /// The serial part.
    Merge,
    /// The kernel's.
    Network,
    /// The load generator, not the replicas.
    Generator,
    /// None: everybody waits, for the load or for each other.
    Waiting,
}

/// Why throughput is not higher.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bottleneck {
    /// The stage.
    pub stage: Stage,
    /// In words, with the figures.
    pub why: String,
    /// What it was concluded from.
    pub stages: Stages,
}

/// From this share on a thread, or all cores, are full.
const FULL: f64 = 0.85;

impl Stages {
    /// Of one measurement. Where a part is larger than the whole by the noise of its measurement, nothing remains.
    #[must_use]
    pub fn of(point: &Point, suite: SuiteCost) -> Self {
        let replicas_us = point.replica_cpu_us_per_op;
        let user_us = (replicas_us - point.replica_cpu_us_per_op_system).max(0.0);
        let verify_us = (point.verifications_per_op * suite.verify_us).min(user_us);
        let sign_us = (point.signatures_per_op * suite.sign_us).min(user_us - verify_us);
        let remains_us = user_us - verify_us - sign_us;
        let merge_us = point.threads_cpu_per_op.executor_us * f64::from(point.n);
        let merge_us = (point.executor == "thread").then_some(merge_us.min(remains_us));
        Self {
            verify_us,
            sign_us,
            merge_us,
            kernel_us: point.replica_cpu_us_per_op_system,
            pillars_us: remains_us - merge_us.unwrap_or(0.0),
            generator_us: point.client_cpu_us_per_op,
        }
    }

    /// The replicas' stage that costs most.
    fn largest(self) -> (Stage, f64) {
        let stages = [
            (Stage::Verify, self.verify_us),
            (Stage::Sign, self.sign_us),
            (Stage::Merge, self.merge_us.unwrap_or(0.0)),
            (Stage::Network, self.kernel_us),
            (Stage::Pillar, self.pillars_us),
        ];
        stages.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).expect("five")
    }
}

impl Bottleneck {
    /// What was fullest in a measurement on so many cores: a thread, or all cores together.
    #[must_use]
    pub fn of(point: &Point, suite: SuiteCost, cores: usize) -> Self {
        let stages = Stages::of(point, suite);
        let cores = f64::from(u32::try_from(cores.max(1)).unwrap_or(u32::MAX));
        let rate = point.throughput_ops_per_s / 1e6;
        let threads = point.threads_cpu_per_op;
        let ours = rate * (point.replica_cpu_us_per_op + point.client_cpu_us_per_op) / cores;
        let crypto_threads = f64::from(u32::try_from(point.crypto_threads).unwrap_or(u32::MAX)).max(1.0);
        let (largest, largest_us) = stages.largest();
        let crypto = if stages.verify_us > stages.sign_us { Stage::Verify } else { Stage::Sign };
        let on_worker = if largest == Stage::Merge { Stage::Pillar } else { largest };
        let resources = [
            (point.generator_core_share, Stage::Generator, "the load generator's one thread"),
            (rate * threads.busiest_worker_us, on_worker, "the busiest worker's core"),
            (rate * threads.executor_us, Stage::Merge, "the executor's core"),
            (rate * threads.crypto_us / crypto_threads, crypto, "each crypto thread's core"),
            (ours + point.others_cpu_share + point.steal_share, largest, "all cores together"),
        ];
        let fullest = resources.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).expect("five");
        let stage = if fullest.0 < FULL { Stage::Waiting } else { fullest.1 };
        let mut why = match stage {
            Stage::Waiting => format!(
                "waiting: nothing was full; {} came nearest, {:.0} % busy; more outstanding operations may bring more",
                fullest.2,
                fullest.0 * 100.0
            ),
            Stage::Generator => format!("the generator: {} was {:.0} % busy", fullest.2, fullest.0 * 100.0),
            _ => format!("{}: {} busy to {:.0} %", stage.name(), fullest.2, fullest.0.min(1.0) * 100.0),
        };
        let others = point.others_cpu_share + point.steal_share;
        if others > 0.05 {
            let _ = write!(why, ", {:.0} % by other programs", others * 100.0);
        }
        if !matches!(stage, Stage::Waiting | Stage::Generator) {
            let share = largest_us / point.replica_cpu_us_per_op.max(f64::MIN_POSITIVE);
            let _ = write!(
                why,
                "; most of the replicas' time is {}, {:.0} %",
                largest.name(),
                share.min(1.0) * 100.0
            );
        }
        let _ = write!(why, ". CPU-µs an operation: {stages}");
        Self { stage, why, stages }
    }
}

impl Stage {
    /// As texts name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Sign => "sign",
            Self::Pillar => "pillar",
            Self::Merge => "merge",
            Self::Network => "network",
            Self::Generator => "generator",
            Self::Waiting => "waiting",
        }
    }
}

impl std::fmt::Display for Stages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { verify_us, sign_us, merge_us, kernel_us, pillars_us, generator_us } = self;
        write!(f, "verify {verify_us:.2}, sign {sign_us:.2}, ")?;
        match merge_us {
            Some(merge_us) => write!(f, "pillar {pillars_us:.2}, merge {merge_us:.2}, ")?,
            None => write!(f, "pillar and merge {pillars_us:.2}, ")?,
        }
        write!(f, "network {kernel_us:.2} (all replicas); generator {generator_us:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::point;

    const SUITE: SuiteCost = SuiteCost { sign_us: 261.0, verify_us: 13.0 };

    /// RSA-2048 on two full cores: 4 verifications, 0.02 signatures, 77 µs in all, 9 in the kernel.
    fn rsa() -> Point {
        let mut point = point();
        point.throughput_ops_per_s = 24_000.0;
        point.replica_cpu_us_per_op = 77.0;
        point.replica_cpu_us_per_op_system = 9.0;
        point.client_cpu_us_per_op = 1.0;
        point.verifications_per_op = 4.0;
        point.signatures_per_op = 0.02;
        point.generator_core_share = 0.024;
        point.others_cpu_share = 0.0;
        point.threads_cpu_per_op.busiest_worker_us = 19.5;
        point
    }

    #[test]
    fn stages_add_up_to_what_the_replicas_took() {
        let stages = Stages::of(&rsa(), SUITE);
        assert!((stages.verify_us - 52.0).abs() < 1e-9 && (stages.sign_us - 5.22).abs() < 1e-9);
        assert!((stages.pillars_us - (77.0 - 9.0 - 52.0 - 5.22)).abs() < 1e-9);
        assert_eq!((stages.kernel_us, stages.merge_us), (9.0, None));
        let mut apart = rsa();
        apart.executor = "thread".into();
        apart.threads_cpu_per_op.executor_us = 0.5;
        let stages = Stages::of(&apart, SUITE);
        assert_eq!(stages.merge_us, Some(2.0));
        assert!((stages.pillars_us - 8.78).abs() < 1e-9);
    }

    #[test]
    fn full_cores_are_blamed_on_what_costs_most() {
        let found = Bottleneck::of(&rsa(), SUITE, 2);
        assert_eq!(found.stage, Stage::Verify);
        assert!(found.why.contains("all cores together busy to 94 %"), "{}", found.why);
        assert!(found.why.contains("verify 52.00"), "{}", found.why);
    }

    #[test]
    fn a_full_thread_is_found_on_a_machine_with_cores_to_spare() {
        let mut point = rsa();
        point.threads_cpu_per_op.busiest_worker_us = 41.0;
        assert!(Bottleneck::of(&point, SUITE, 64).why.contains("the busiest worker's core"));
        point.threads_cpu_per_op.busiest_worker_us = 10.0;
        point.threads_cpu_per_op.executor_us = 41.0;
        assert_eq!(Bottleneck::of(&point, SUITE, 64).stage, Stage::Merge);
        point.generator_core_share = 0.99;
        assert_eq!(Bottleneck::of(&point, SUITE, 64).stage, Stage::Generator);
    }

    #[test]
    fn where_nothing_is_full_everybody_waits() {
        let found = Bottleneck::of(&rsa(), SUITE, 64);
        assert_eq!(found.stage, Stage::Waiting);
        assert!(found.why.contains("outstanding"), "{}", found.why);
    }

    #[test]
    fn a_part_that_seems_larger_than_the_whole_leaves_nothing() {
        let mut point = rsa();
        point.verifications_per_op = 400.0;
        let stages = Stages::of(&point, SUITE);
        assert_eq!((stages.sign_us, stages.pillars_us), (0.0, 0.0));
    }
}
