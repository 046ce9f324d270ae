use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use hypostyle::ReplicaId;
use hypostyle::config::{ClusterConfig, Count, Executor, ReplicaConfig};
use hypostyle::crypto::read_key;
use hypostyle::replay::{Recording, State, Work, recordable};
use serde::Serialize;

use crate::bench::{Places, settings_alone};
use crate::children;
use crate::cli::ScalingArgs;
use crate::environment::{self, Environment};
use crate::error::{invalid, usage};
use crate::files::Manifest;
use crate::keys::Keys;
use crate::proc_fs::thread_cpu_ns;
use crate::progress::Progress;
use crate::sample::Sample;
use crate::setting::{client_auth, placeholders};
use crate::summary::Spread;
use crate::workload::null::{Null, REPLY_MIN};

/// One recording played once.
#[derive(Clone, Debug, Serialize)]
pub struct Played {
    /// Which of the ways below.
    pub threads: &'static str,
    /// P.
    pub pillars: u16,
    /// Cores used.
    pub cores: usize,
    /// Which repetition, from 0.
    pub repeat: u32,
    /// Operations executed.
    pub operations: u64,
    /// From the first frame to the last operation, s.
    pub measured_s: f64,
    /// Operations a second.
    pub throughput_ops_per_s: f64,
    /// CPU time of all threads an operation, ns.
    pub cpu_ns_per_op: f64,
    /// That of the executor's thread, where it has one, ns.
    pub executor_ns_per_op: Option<f64>,
    /// Signatures verified an operation; tags don't count.
    pub verifications_per_op: f64,
    /// Signatures made an operation.
    pub signatures_per_op: f64,
    /// Share of the machine's time that went to other processes.
    pub others_share: f64,
}

/// What `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct ScalingReport {
    /// Every measurement, in the order in which they were made.
    pub played: Vec<Played>,
    /// Throughput of two pillars on two cores over that of one pillar on one, by repetition; the better of the two ways
    /// to place the executor.
    pub scaling: Spread,
    /// The same over one pillar on two cores.
    pub over_one_pillar_on_two_cores: Spread,
    /// The executor's thread of one pillar on two cores, CPU-ns an operation.
    pub executor_ns_per_op: Spread,
    /// The exact command.
    pub command: Vec<String>,
    /// Commit of the sources.
    pub commit: String,
    /// The machine.
    pub environment: Environment,
    /// Where the files are.
    pub files: std::path::PathBuf,
}

/// A way to give the listener threads.
struct Way {
    threads: &'static str,
    pillars: u16,
    cores: usize,
    executor: Executor,
}

const ONE_ON_ONE: Way =
    Way { threads: "one worker does all", pillars: 1, cores: 1, executor: Executor::Inline };
const ONE_ON_TWO: Way =
    Way { threads: "worker | executor", pillars: 1, cores: 2, executor: Executor::Thread };
const TWO_ON_TWO: Way =
    Way { threads: "worker, executor | worker", pillars: 2, cores: 2, executor: Executor::Inline };
const TWO_APART: Way =
    Way { threads: "two workers, executor, not pinned", pillars: 2, cores: 2, executor: Executor::Thread };
const WAYS: [Way; 4] = [ONE_ON_ONE, ONE_ON_TWO, TWO_ON_TWO, TWO_APART];
/// Who waits longer than this for a recording's end has found a fault.
const PATIENCE: Duration = Duration::from_secs(300);

/// Records the work for one pillar and for two, then plays it to one replica in each of the ways, interleaved, once more
/// than is counted.
///
/// # Errors
/// When the machine has one core, the work can't be recorded, or a replica didn't do all of it and no more.
pub fn run(flags: &ScalingArgs, places: &Places, progress: &Progress) -> anyhow::Result<ScalingReport> {
    let cores = hypostyle::pinning::available_cores()?;
    if cores.len() < 2 {
        return usage("pillar-scaling compares one core with two, and this process may use one only");
    }
    for (flag, value) in [
        ("--repeat", u64::from(flags.repeat)),
        ("--operations", flags.operations),
        ("--bundle", flags.bundle.into()),
        ("--batch-max", flags.batch_max.into()),
    ] {
        if value == 0 {
            return usage(format!("{flag} 0: use 1 or more"));
        }
    }
    let wave = u64::from(flags.bundle) * u64::from(flags.batch_max);
    if wave > WAVE_MAX {
        return usage(format!(
            "--bundle {} times --batch-max {} is {wave} operations under way together; use at most {WAVE_MAX}",
            flags.bundle, flags.batch_max
        ));
    }
    let environment = Environment::now(children::raise_open_files());
    let keys = places.keys(flags.auth, REPLICAS, usize::from(flags.clients), progress)?;
    let files = places.files(&flags.output)?;
    let began = SystemTime::now();
    let record = |pillars| record(flags, &keys, pillars, progress);
    let recordings = [record(1)?, record(2)?];
    let mut played = Vec::new();
    // The first time is not counted: memory is touched, and buffers grow.
    for repeat in 0..=flags.repeat {
        for way in &WAYS {
            let spinner = progress
                .spinner(&format!("P = {}, {} of {}: {}", way.pillars, repeat, flags.repeat, way.threads));
            let recording = &recordings[usize::from(way.pillars) - 1];
            let one = play(recording, way, &cores, &keys)?;
            spinner.finish_and_clear();
            if let Some(repeat) = repeat.checked_sub(1) {
                played.push(Played { repeat, ..one });
            }
        }
    }
    files.write_rows("scaling.csv", &played)?;
    let report = ScalingReport {
        scaling: Spread::of(ratios(&played, &ONE_ON_ONE)),
        over_one_pillar_on_two_cores: Spread::of(ratios(&played, &ONE_ON_TWO)),
        executor_ns_per_op: Spread::of(
            of(&played, &ONE_ON_TWO).filter_map(|one| one.executor_ns_per_op).collect(),
        ),
        played,
        command: std::env::args().collect(),
        commit: environment::commit(),
        environment,
        files: files.directory().to_owned(),
    };
    files.write_manifest(&Manifest {
        command: &report.command,
        commit: &report.commit,
        program: &environment::program(),
        began,
        environment: &report.environment,
        configurations: &recordings.each_ref().map(|recording| settings_alone(recording.cluster())),
        points: report.played.len(),
        error: None,
    })?;
    Ok(report)
}

const REPLICAS: usize = 4;
/// Operations of a pillar that are under way together: they must fit the clients' windows.
const WAVE_MAX: u64 = 65_536;

fn record(flags: &ScalingArgs, keys: &Keys, pillars: u16, progress: &Progress) -> anyhow::Result<Recording> {
    let spinner = progress.spinner(&format!("recording P = {pillars}"));
    let cluster = cluster(flags, keys, pillars);
    if let Err(error) = cluster.validate() {
        return usage(error.to_string());
    }
    let replicas = (0..REPLICAS).map(|index| read_key(&keys.replica_path(index)));
    let clients = (0..usize::from(flags.clients)).map(|index| read_key(&keys.client_path(index)));
    let (replicas, clients) = (replicas.collect::<Result<_, _>>()?, clients.collect::<Result<_, _>>()?);
    let work = Work { operations: flags.operations, payload: flags.payload, wave: flags.bundle };
    let recording = Recording::make(&cluster, replicas, clients, work, || Null::new(REPLY_MIN))
        .with_context(|| format!("recording P = {pillars}"))?;
    spinner.finish_and_clear();
    Ok(recording)
}

fn cluster(flags: &ScalingArgs, keys: &Keys, pillars: u16) -> ClusterConfig {
    let mut config = ClusterConfig::local(&placeholders(REPLICAS), &keys.replicas(), &keys.clients());
    config.id = "hypostyle-bench".to_owned();
    config.pillars = pillars;
    config.auth = flags.auth;
    config.client_auth = client_auth(flags.client_auth);
    config.bundle = flags.bundle;
    config.batch_max = flags.batch_max;
    let wave = u32::from(flags.bundle) * flags.batch_max;
    config.client_window = config.client_window.max(wave.next_power_of_two());
    recordable(config)
}

fn play(recording: &Recording, way: &Way, cores: &[usize], keys: &Keys) -> anyhow::Result<Played> {
    let config = ReplicaConfig {
        // Of two cores one worker that does all is pinned to the first.
        cores: hypostyle::config::Cores::List(cores[..2].to_vec()),
        workers: Count::Fixed(way.pillars),
        executor: way.executor,
        crypto_threads: Count::Fixed(0),
        ..ReplicaConfig::new(ReplicaId(0))
    };
    let listening =
        recording.listen(config, read_key(&keys.replica_path(REPLICAS - 1))?, Null::new(REPLY_MIN))?;
    // Once it answers, its connections are up.
    let before = listening.status();
    let executor = || match way.executor {
        Executor::Thread => thread_cpu_ns("executor").map(Some),
        _ => Ok(None),
    };
    let (executor_before, sample) = (executor()?, Sample::take(&[], 0)?);
    let Some(measured) = listening.play(PATIENCE) else {
        return invalid(format!(
            "{}: the recording was not executed in {PATIENCE:?}: {:?}",
            way.threads,
            listening.status().execution
        ));
    };
    let spent = Sample::take(&[], recording.operations())?.since(&sample);
    let executor_ns = executor()?.zip(executor_before).map(|(after, before)| after - before);
    let status = listening.status();
    check(recording, &status.execution)?;
    let operations = count(recording.operations());
    let counted = |name: &str| {
        let of = |status: &hypostyle::status::ReplicaStatus| status.counters.get(name).copied().unwrap_or(0);
        count(of(&status) - of(&before)) / operations
    };
    Ok(Played {
        threads: way.threads,
        pillars: way.pillars,
        cores: way.cores,
        repeat: 0,
        operations: recording.operations(),
        measured_s: measured.as_secs_f64(),
        throughput_ops_per_s: operations / measured.as_secs_f64(),
        cpu_ns_per_op: spent.generator.total_us() * 1e3 / operations,
        executor_ns_per_op: executor_ns.map(|ns| count(ns) / operations),
        verifications_per_op: counted("verifications"),
        signatures_per_op: counted("signatures"),
        others_share: spent.others_share,
    })
}

fn check(recording: &Recording, execution: &hypostyle::status::ExecutionStatus) -> anyhow::Result<()> {
    let state = State { position: execution.executed_position, digest: execution.state_digest.clone() };
    if execution.executed_operations == recording.operations() && state == *recording.state() {
        return Ok(());
    }
    invalid(format!(
        "the listener executed {} of {} operations and is at {state:?}, the recorded replica at {:?}",
        execution.executed_operations,
        recording.operations(),
        recording.state()
    ))
}

fn of<'a>(played: &'a [Played], way: &Way) -> impl Iterator<Item = &'a Played> {
    let threads = way.threads;
    played.iter().filter(move |one| one.threads == threads)
}

/// Two pillars on two cores over another way, by repetition.
fn ratios(played: &[Played], base: &Way) -> Vec<f64> {
    let throughput = |way: &Way| of(played, way).map(|one| one.throughput_ops_per_s).collect::<Vec<_>>();
    let [inline, apart] = [throughput(&TWO_ON_TWO), throughput(&TWO_APART)];
    let best = inline.into_iter().zip(apart).map(|(inline, apart)| inline.max(apart));
    best.zip(throughput(base)).map(|(two, base)| two / base).collect()
}

/// The figures for a person: a line for each way, medians with extremes.
#[must_use]
pub fn table(report: &ScalingReport, flags: &ScalingArgs) -> String {
    let mut out = format!(
        "One replica alone, a backup in all pillars, between its sockets: no network, no handshake, no link MAC; what it says is \
         signed, counted and dropped.\nn = 4, {} between replicas, clients' {}; {} B operations in batches of {}, {} statements a \
         bundle, {} clients, crypto threads 0.\n\n",
        flags.auth,
        match flags.client_auth {
            crate::cli::ClientAuth::Signature => "signatures",
            crate::cli::ClientAuth::Mac => "tags",
        },
        flags.payload,
        flags.batch_max,
        flags.bundle,
        flags.clients,
    );
    let spread = |way: &Way, value: fn(&Played) -> f64| {
        let values: Vec<f64> = of(&report.played, way).map(value).collect();
        Spread::of(values)
    };
    for way in &WAYS {
        let ops = spread(way, |one| one.throughput_ops_per_s);
        let cpu = spread(way, |one| one.cpu_ns_per_op);
        let _ = writeln!(
            out,
            "P = {} on {} core{}  {:<34} {:>9.0} op/s ({:.0}-{:.0})  {:>6.0} CPU-ns/op  {:.3} verifications/op",
            way.pillars,
            way.cores,
            if way.cores == 1 { " " } else { "s" },
            way.threads,
            ops.median,
            ops.min,
            ops.max,
            cpu.median,
            spread(way, |one| one.verifications_per_op).median,
        );
    }
    let Spread { median, min, max } = report.scaling;
    let _ = writeln!(out, "\ntwo pillars on two cores : one on one          {median:.2} ({min:.2}-{max:.2})");
    let Spread { median, min, max } = report.over_one_pillar_on_two_cores;
    let _ = writeln!(out, "two pillars on two cores : one on two cores    {median:.2} ({min:.2}-{max:.2})");
    let Spread { median, min, max } = report.executor_ns_per_op;
    let _ = writeln!(
        out,
        "serial part: the executor's thread             {median:.0} ({min:.0}-{max:.0}) CPU-ns/op\n  merge, client table, a service that does nothing, reply \
         groups; tags and hashes of replies are the worker's"
    );
    out
}

#[allow(clippy::cast_precision_loss, reason = "below 2^53")]
fn count(value: u64) -> f64 {
    value as f64
}
