//! Throughput over cores and pillars, predicted from the costs of stages. Pure.
//!
//! A replica is a set of threads; each operation costs each of them so much. The slowest of them bounds throughput, and so
//! do the cores, which must carry what all threads cost together. The model assumes that
//! - a pillar's operations cost the same however many pillars there are: batches and bundles stay as full as they were where
//!   it was calibrated, so load grows with the pillars;
//! - the pillars get equal shares, and leaders are spread, so that all replicas cost the same;
//! - a thread with a core of its own runs all the time; more threads than cores share these without loss;
//! - cores are alike: no caches, memory or clock rates that suffer from their neighbours, no second thread a core;
//! - the network carries everything.
//!
//! It knows nothing of latency. RSA on crypto threads costs what it costs on a worker; with other suites no placement has
//! such threads.

use serde::Serialize;

pub mod calibration;
pub mod figure;
pub mod table;

/// CPU time of one operation, µs, by stage. All but the generator's are of one replica.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Costs {
    /// A pillar's worker: sockets, protocol, hashes and tags, without what follows.
    pub worker_us: f64,
    /// Verifying and signing.
    pub crypto_us: f64,
    /// The serial part, which no pillar divides: merge, client table, application, reply groups.
    pub executor_us: f64,
    /// What workers pay beside that when the executor is a thread of its own.
    pub hand_off_us: f64,
    /// The load generator; 0 where it isn't on the replicas' machine.
    pub generator_us: f64,
    /// Share of the cores that could be used: what was busy where it was calibrated.
    pub usable: f64,
    /// Whether crypto threads are worth what handing work to them costs: with RSA. An Ed25519 signature was measured to
    /// cost two to three times as much on them.
    pub crypto_threads_pay: bool,
}

/// Threads and cores of replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Deployment {
    /// Cores of a machine.
    pub cores: u32,
    /// Replicas on that machine.
    pub replicas: u32,
    /// P.
    pub pillars: u32,
    /// Workers of each replica.
    pub workers: u32,
    /// Whether the executor has a thread of its own; else the first worker does its work.
    pub executor_thread: bool,
    /// Crypto threads of each replica; with none the workers verify and sign.
    pub crypto_threads: u32,
}

/// What bounds throughput.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// A worker.
    Worker,
    /// The executor.
    Executor,
    /// The crypto threads.
    Crypto,
    /// The load generator.
    Generator,
    /// The machine's cores: every thread would be faster with more of them.
    Cores,
}

/// What the model says of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// Operations a second.
    pub ops_per_s: f64,
    /// Why not more.
    pub bound: Bound,
}

impl Costs {
    /// Throughput is that of the slowest stage.
    #[must_use]
    pub fn predict(&self, on: Deployment) -> Prediction {
        let inline_crypto = if on.crypto_threads == 0 { self.crypto_us } else { 0.0 };
        let hand_off = if on.executor_thread { self.hand_off_us } else { 0.0 };
        let workers = on.workers.clamp(1, on.pillars.max(1));
        // The first worker owns at least as many pillars as any other.
        let share = f64::from(on.pillars.max(1).div_ceil(workers)) / f64::from(on.pillars.max(1));
        let on_worker = (self.worker_us + hand_off + inline_crypto) * share;
        let executor = if on.executor_thread { 0.0 } else { self.executor_us };
        let whole = self.worker_us + self.crypto_us + self.executor_us + hand_off;
        let cores = f64::from(on.cores) * self.usable;
        let threads = [
            (Bound::Worker, on_worker + executor),
            (Bound::Executor, if on.executor_thread { self.executor_us } else { 0.0 }),
            (Bound::Crypto, self.crypto_us / f64::from(on.crypto_threads.max(1)) * on_crypto(on)),
            (Bound::Generator, self.generator_us),
            (Bound::Cores, (whole * f64::from(on.replicas) + self.generator_us) / cores),
        ];
        let slowest = threads.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).expect("five");
        Prediction { ops_per_s: 1e6 / slowest.1, bound: slowest.0 }
    }

    /// The best placement of threads for this many pillars on these cores: of equal ones the first found, which has the
    /// fewest threads.
    #[must_use]
    pub fn best(&self, cores: u32, replicas: u32, pillars: u32) -> (Deployment, Prediction) {
        let mut best: Option<(Deployment, Prediction)> = None;
        for workers in 1..=pillars.max(1) {
            for executor_thread in [false, true] {
                let spare = cores.saturating_sub(workers + u32::from(executor_thread));
                for crypto_threads in 0..=if self.crypto_threads_pay { spare } else { 0 } {
                    let on =
                        Deployment { cores, replicas, pillars, workers, executor_thread, crypto_threads };
                    let prediction = self.predict(on);
                    // Less than a thousandth more is no reason for another thread.
                    if best.is_none_or(|(_, best)| prediction.ops_per_s > best.ops_per_s * 1.001) {
                        best = Some((on, prediction));
                    }
                }
            }
        }
        best.expect("one worker is a placement")
    }
}

impl std::fmt::Display for Deployment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let workers = self.workers;
        write!(f, "{workers} worker{}", if workers == 1 { "" } else { "s" })?;
        f.write_str(if self.executor_thread { ", executor apart" } else { ", executor with the first" })?;
        match self.crypto_threads {
            0 => Ok(()),
            threads => write!(f, ", {threads} crypto"),
        }
    }
}

fn on_crypto(on: Deployment) -> f64 {
    f64::from(u8::from(on.crypto_threads > 0))
}

#[cfg(test)]
mod tests;
