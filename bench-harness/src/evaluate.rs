use crate::counters::{Averages, Counters};
use crate::faults::Fault;
use crate::latency::Latencies;
use crate::load::Outcome;
use crate::point::{Point, point_name};
use crate::reference::{Cost, Reference};
use crate::sample::Spent;
use crate::setting::{Setting, name};

/// Everything seen of one run that was found valid.
#[derive(Debug)]
pub(crate) struct Observed<'a> {
    /// What was asked for.
    pub(crate) setting: &'a Setting,
    /// 0 for the setting's first run.
    pub(crate) repeat: u32,
    /// The threads that the replicas chose.
    pub(crate) mode: Mode,
    /// What the load saw.
    pub(crate) outcome: &'a Outcome,
    /// Counters when the window began and when it ended, of each replica without a fault.
    pub(crate) window: (&'a [Counters], &'a [Counters]),
    /// The same before the first operation and after the last.
    pub(crate) whole: (&'a [Counters], &'a [Counters]),
    /// The reference before and after the run.
    pub(crate) reference: Reference,
    /// Peak memory of each replica, bytes.
    pub(crate) peak_rss: &'a [u64],
    /// The highest view reached, summed over the pillars.
    pub(crate) view_changes: u64,
    /// The state digest on which all replicas agree.
    pub(crate) state_digest: String,
}

/// How replicas spread their work over threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mode {
    /// Worker threads.
    pub(crate) workers: u64,
    /// "inline" or "thread".
    pub(crate) executor: String,
    /// Crypto threads.
    pub(crate) crypto_threads: u64,
}

/// More than this share of the machine for other processes makes a run noisy.
const NOISE: f64 = 0.05;
/// A generator that uses more than this share of a core limits what is measured.
const GENERATOR_BOUND: f64 = 0.95;
/// A window shorter than this, in seconds, says little.
const SHORT_WINDOW_S: f64 = 0.25;

impl Observed<'_> {
    /// The figures.
    ///
    /// # Errors
    /// Why there are none: nothing was acknowledged in the window, or counters are missing.
    pub(crate) fn point(&self) -> Result<Point, String> {
        let spent = self.outcome.end.since(&self.outcome.begin);
        if spent.operations == 0 {
            return Err("no operation was acknowledged in the window".into());
        }
        let averages = Averages::between(self.window.0, self.window.1)?;
        let whole = Averages::between(self.whole.0, self.whole.1)?;
        let operations = exact(spent.operations);
        let measured_s = spent.elapsed.as_secs_f64();
        let each: Vec<Cost> = spent.replicas.iter().map(|cost| cost.per(operations)).collect();
        let replicas: Cost = each.iter().copied().sum();
        let client = spent.generator.per(operations);
        let cluster = &self.setting.cluster;
        let load = &self.setting.load;
        let largest = self.peak_rss.iter().copied().max().unwrap_or(0);
        Ok(Point {
            name: point_name(&self.setting.name(), self.repeat),
            repeat: self.repeat,
            n: narrow(cluster.n()),
            f: narrow(cluster.f()),
            pillars: cluster.pillars,
            workers: self.mode.workers,
            executor: self.mode.executor.clone(),
            crypto_threads: self.mode.crypto_threads,
            auth: cluster.auth.to_string(),
            client_auth: name::client_auth(cluster.client_auth).into(),
            replies: name::replies(cluster.replies).into(),
            bundle: cluster.bundle.into(),
            batch_max: cluster.batch_max.into(),
            assign: name::assign(cluster.assign).into(),
            leaders: name::leaders(cluster.leaders).into(),
            batch_delay_us: u64::try_from(cluster.batch_delay.as_micros()).unwrap_or(u64::MAX),
            pipeline: cluster.pipeline.into(),
            window: cluster.window.into(),
            checkpoint_interval: cluster.checkpoint_interval.into(),
            client_window: cluster.client_window.into(),
            configuration: cluster.hash().to_string(),
            load: load.pace.model().into(),
            offered_ops_per_s: load.pace.rate(),
            clients: load.clients,
            outstanding_per_client: load.pace.outstanding().into(),
            connections: self.setting.connections(),
            workload: load.mix.name().into(),
            records: load.records(),
            payload_bytes: load.payload as u64,
            reply_bytes: load.reply_bytes as u64,
            presign: load.presigned().unwrap_or(0),
            generators: self.setting.generators.count(),
            fault: faults(&self.setting.faults),
            warmup_s: rounded(self.outcome.warmup.as_secs_f64()),
            measured_s: rounded(measured_s),
            ended_by: self.outcome.ended_by.text().into(),
            operations: spent.operations,
            throughput_ops_per_s: rounded(operations / measured_s),
            latency_us: self.outcome.latencies.percentiles(),
            replica_cpu_us_per_op: rounded(replicas.total_us()),
            replica_cpu_us_per_op_scaled: rounded(self.reference.scaled(replicas)),
            replica_cpu_us_per_op_system: rounded(replicas.system_us),
            replica_cpu_us_per_op_each: each.iter().map(|cost| rounded(cost.total_us())).collect(),
            client_cpu_us_per_op: rounded(client.total_us()),
            client_cpu_us_per_op_scaled: rounded(self.reference.scaled(client)),
            reference: self.reference,
            scale_user: rounded(self.reference.user_scale()),
            scale_system: rounded(self.reference.system_scale()),
            memory_limit_mb: rounded(exact(self.setting.memory_limit.unwrap_or(0)) / 1e6),
            rss_mb_max: rounded(exact(largest) / 1e6),
            ops_per_batch: rounded(averages.ops_per_batch),
            statements_per_bundle: rounded(averages.statements_per_bundle),
            signatures_per_op: rounded(averages.signatures_per_op),
            verifications_per_op: rounded(whole.verifications_per_op),
            syscalls_per_op: rounded(averages.syscalls_per_op),
            allocations_per_op: rounded(averages.allocations_per_op),
            threads_cpu_per_op: averages.threads,
            view_changes: self.view_changes,
            state_digests_agree: true,
            state_digest: self.state_digest.clone(),
            acknowledged_operations: self.outcome.acknowledged,
            others_cpu_share: rounded(spent.others_share),
            steal_share: rounded(spent.steal_share),
            generator_core_share: rounded(generator_share(&spent, self.setting.generators.count())),
            marks: self.marks(&spent),
        })
    }
}

fn faults(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join(" ")
}

/// Of each, on average.
fn generator_share(spent: &Spent, generators: u16) -> f64 {
    spent.generator.total_us() / 1e6 / spent.elapsed.as_secs_f64().max(1e-9) / f64::from(generators)
}

/// An open loop that acknowledges less than this share of what is offered isn't kept up with.
const SUSTAINED: f64 = 0.98;
/// An operation that is due for longer than this share of the window at its end wasn't sent for want of room.
const OVERDUE: f64 = 0.02;

impl Observed<'_> {
    fn marks(&self, spent: &Spent) -> Vec<String> {
        let mut marks = marks(spent, &self.outcome.latencies, self.setting.generators.count());
        marks.extend(self.not_sustained(spent));
        marks
    }

    /// What can't be kept up with has latencies that grow with the length of the window.
    fn not_sustained(&self, spent: &Spent) -> Option<String> {
        let rate = f64::from(self.setting.load.pace.rate());
        let seconds = spent.elapsed.as_secs_f64();
        let achieved = exact(spent.operations) / seconds;
        let overdue = self.outcome.overdue.as_secs_f64();
        // So many are due at random: three deviations of a Poisson count.
        let chance = 3.0 * (rate / seconds).sqrt();
        (achieved < rate * SUSTAINED - chance || overdue > seconds * OVERDUE).then(|| {
            format!(
                "the offered load was not sustained: {achieved:.0} of {rate} operations a second; at the end an operation \
                 was {overdue:.3} s overdue. Its latencies grow with the window"
            )
        })
    }
}

fn marks(spent: &Spent, latencies: &Latencies, generators: u16) -> Vec<String> {
    let mut marks = Vec::new();
    if generator_share(spent, generators) > GENERATOR_BOUND {
        marks.push(format!(
            "the load generator used {} of a core: it, not the replicas, may be what limits throughput",
            percent(generator_share(spent, generators))
        ));
    }
    marks.extend(noise(spent));
    if spent.elapsed.as_secs_f64() < SHORT_WINDOW_S {
        marks.push(format!(
            "a window of {:.3} s with {} operations is too short: presign more requests, or measure longer",
            spent.elapsed.as_secs_f64(),
            latencies.count()
        ));
    }
    marks
}

/// What of a window's marks is the machine's, whatever ran.
pub(crate) fn noise(spent: &Spent) -> Vec<String> {
    let mut marks = Vec::new();
    if spent.others_share > NOISE {
        marks.push(format!(
            "a noisy machine: {} of its time went to other processes",
            percent(spent.others_share)
        ));
    }
    if spent.steal_share > NOISE {
        marks
            .push(format!("a noisy machine: the hypervisor took {} of its time", percent(spent.steal_share)));
    }
    if spent.stalled_share > NOISE {
        marks.push(format!(
            "a noisy machine: for {} of the time something waited for memory or a disk",
            percent(spent.stalled_share)
        ));
    }
    marks
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

#[allow(clippy::cast_precision_loss, reason = "counts of a run are below 2^53")]
pub(crate) fn exact(value: u64) -> f64 {
    value as f64
}

fn narrow(replicas: usize) -> u16 {
    u16::try_from(replicas).expect("replicas fit 16 bits")
}

/// To four decimals: what is beyond is noise, and tables and files stay readable.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phases::EndedBy;
    use crate::proc_fs::{CpuTime, MachineTime};
    use crate::reference::TABLE;
    use crate::sample::Sample;
    use crate::setting::tests::settings;
    use crate::timeline::Timeline;
    use std::time::{Duration, Instant, SystemTime};

    fn outcome(operations: u64, others: u64) -> Outcome {
        let at = Instant::now();
        let cpu = |user_us| CpuTime { user_us, system_us: 0 };
        let sample = |at, acknowledged, us: u64, busy| Sample {
            at,
            acknowledged,
            replicas: vec![cpu(us); 4],
            generator: cpu(us / 2),
            generator_here: true,
            machine: MachineTime { busy, steal: 0, total: 2 * busy.max(1) },
            stalled_us: 0,
        };
        let tick_us = 1_000_000 / rustix::param::clock_ticks_per_second();
        let mut latencies = Latencies::new();
        latencies.record(Duration::from_millis(2));
        Outcome {
            begin: sample(at, 1000, 0, 0),
            end: sample(at + Duration::from_secs(1), 1000 + operations, 200_000, 900_000 / tick_us + others),
            began: SystemTime::now(),
            warmup: Duration::from_secs(1),
            latencies,
            timeline: Timeline::of(Duration::from_secs(1)),
            overdue: Duration::ZERO,
            ended_by: EndedBy::Duration,
            acknowledged: 1000 + operations,
        }
    }

    fn counters(executed: u64, each: u64) -> Vec<Counters> {
        let values = crate::counters::NEEDED.iter().map(|name| ((*name).to_owned(), each)).collect();
        vec![Counters { executed, values, ..Counters::default() }; 4]
    }

    fn point(outcome: &Outcome) -> Result<Point, String> {
        let setting = &settings("--auth ed25519 --pillars 2 --clients 3 --presign=2000")[0];
        let reference = Reference { rsa_verify_us: 2.0 * TABLE.rsa_verify_us, ..TABLE };
        Observed {
            setting,
            repeat: 1,
            mode: Mode { workers: 1, executor: "inline".into(), crypto_threads: 0 },
            outcome,
            window: (&counters(0, 0), &counters(100, 100)),
            whole: (&counters(0, 0), &counters(200, 400)),
            reference,
            peak_rss: &[1_000_000, 3_000_000, 2_000_000, 0],
            view_changes: 0,
            state_digest: "d".into(),
        }
        .point()
    }

    #[test]
    fn costs_are_per_acknowledged_operation() {
        let point = point(&outcome(10_000, 0)).expect("valid");
        assert_eq!((point.throughput_ops_per_s, point.measured_s), (10_000.0, 1.0));
        assert_eq!((point.replica_cpu_us_per_op, point.client_cpu_us_per_op), (80.0, 10.0));
        assert_eq!(point.replica_cpu_us_per_op_each, [20.0; 4]);
        assert!((point.replica_cpu_us_per_op_scaled - 80.0 / 2_f64.sqrt()).abs() < 0.01);
        assert_eq!((point.signatures_per_op, point.verifications_per_op, point.rss_mb_max), (4.0, 8.0, 3.0));
        assert_eq!((point.connections, point.presign), (3 * 4 * 2, 2001));
        assert!(point.marks.is_empty(), "{:?}", point.marks);
    }

    #[test]
    fn a_noisy_machine_is_marked() {
        let marks = point(&outcome(10_000, 20)).expect("valid").marks;
        assert!(marks.len() == 1 && marks[0].contains("other processes"), "{marks:?}");
    }

    #[test]
    fn nothing_acknowledged_is_no_figure() {
        assert!(point(&outcome(0, 0)).is_err());
    }
}
