use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use hypostyle::status::ReplicaStatus;

use crate::agreement::{Verdict, judge};
use crate::cluster::Cluster;
use crate::counters::Counters;
use crate::error::{Failure, invalid};
use crate::evaluate::Observed;
use crate::faults::{Director, Fault};
use crate::keys::Keys;
use crate::latency::Latencies;
use crate::load::{Milestone, Outcome};
use crate::point::Point;
use crate::presign::Presigned;
use crate::proc_fs::{peak_rss, threads_cpu_ns};
use crate::reference::{Gauge, Reference};
use crate::setting::Setting;
use crate::status;
use crate::team::Team;
use crate::timeline::{Event, Interval, annotate};

/// Measures settings one at a time: what all measurements on this machine share.
pub(crate) struct Meter {
    program: PathBuf,
    scratch: PathBuf,
    gauge: Gauge,
}

/// One valid measurement.
#[derive(Debug)]
pub(crate) struct Measured {
    /// The figures.
    pub(crate) point: Point,
    /// The latencies behind them.
    pub(crate) latencies: Latencies,
    /// The window by intervals.
    pub(crate) timeline: Vec<Interval>,
    /// When the window began.
    pub(crate) began: SystemTime,
    /// How long it was.
    pub(crate) measured: Duration,
}

/// One measurement to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task<'a> {
    /// The cluster and the load.
    pub(crate) setting: &'a Setting,
    /// The keys of its members.
    pub(crate) keys: &'a Keys,
    /// Requests signed before, if the setting asks for them.
    pub(crate) presigned: Option<&'a Presigned>,
    /// 0 for the setting's first measurement.
    pub(crate) repeat: u32,
}

/// Replicas that don't agree within this time after the last acknowledgement never will.
const AGREEMENT_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
/// What the phases of a load may take beyond their own length.
const GRACE: Duration = Duration::from_secs(60);

impl Meter {
    /// Runs replicas by re-executing `program`, in directories inside `scratch`.
    ///
    /// # Errors
    /// When loopback can't be used.
    pub(crate) fn new(program: &Path, scratch: &Path) -> anyhow::Result<Self> {
        Ok(Self { program: program.to_owned(), scratch: scratch.to_owned(), gauge: Gauge::new()? })
    }

    /// Starts the replicas, loads them, checks what they did, ends them.
    ///
    /// # Errors
    /// When the run is invalid: no figure comes of it.
    pub(crate) fn measure(&mut self, task: Task<'_>) -> anyhow::Result<Measured> {
        let setting = task.setting;
        let mut cluster = Cluster::start(&self.program, setting, task.keys, &self.scratch)?;
        let first = self.gauge.measure()?;
        let faulty: Vec<usize> = setting.faults.iter().map(Fault::replica).collect();
        let idle = counters(&cluster, &faulty)?;
        let Loaded { outcome, begin, end, events } = load(&mut cluster, task, &faulty)?;
        let statuses = agreement(&cluster, outcome.acknowledged)?;
        let finished = counters(&cluster, &faulty)?;
        let peak_rss = cluster.living().into_iter().map(peak_rss).collect::<std::io::Result<Vec<u64>>>()?;
        let second = self.gauge.measure()?;
        drop(cluster);
        let observed = Observed {
            setting,
            repeat: task.repeat,
            mode: status::mode(&statuses),
            outcome: &outcome,
            window: (&begin, &end),
            whole: (&idle, &finished),
            reference: Reference::mean(first, second),
            peak_rss: &peak_rss,
            view_changes: status::view_changes(&statuses),
            state_digest: statuses[0].execution.state_digest.clone(),
        };
        let point = observed.point().map_err(Failure::Invalid)?;
        let measured = outcome.end.at.duration_since(outcome.begin.at);
        let mut timeline = outcome.timeline.intervals();
        annotate(&mut timeline, &events);
        timeline.iter_mut().for_each(|interval| interval.name.clone_from(&point.name));
        Ok(Measured { point, latencies: outcome.latencies, timeline, began: outcome.began, measured })
    }
}

/// What a load leaves.
struct Loaded {
    outcome: Outcome,
    /// Counters of the replicas without a fault when the window began.
    begin: Vec<Counters>,
    /// The same when it ended.
    end: Vec<Counters>,
    /// What was done to the others, and what came of it.
    events: Vec<Event>,
}

/// Runs the load and makes the faults; reads counters at both ends of the window.
fn load(cluster: &mut Cluster, task: Task<'_>, faulty: &[usize]) -> anyhow::Result<Loaded> {
    let load = &task.setting.load;
    let mut running = Team::start(cluster, task)?;
    running.wait_for(Milestone::WindowBegan, load.warmup + GRACE)?;
    let mut director = Director::begin(&task.setting.faults);
    let begin = counters(cluster, faulty)?;
    let deadline = Instant::now() + load.duration + GRACE;
    loop {
        let until = director.next().map_or(deadline, |next| next.min(deadline));
        let timeout = until.saturating_duration_since(Instant::now());
        if until == deadline {
            running.wait_for(Milestone::WindowEnded, timeout)?;
            break;
        }
        if running.came(Milestone::WindowEnded, timeout)? {
            break;
        }
        director.act(cluster)?;
    }
    if !director.is_done() {
        return invalid("the window ended before its faults were over: make it longer");
    }
    let end = counters(cluster, faulty)?;
    Ok(Loaded { outcome: running.finish()?, begin, end, events: director.events() })
}

fn counters(cluster: &Cluster, faulty: &[usize]) -> anyhow::Result<Vec<Counters>> {
    let pids = cluster.pids();
    let read = |status: &ReplicaStatus| {
        let threads = threads_cpu_ns(pids[usize::from(status.replica)])?;
        Ok(Counters { threads, ..status::counters(status) })
    };
    cluster.statuses_but(faulty)?.iter().map(read).collect()
}

/// Waits until every replica has executed what was acknowledged and shows the same state.
fn agreement(cluster: &Cluster, acknowledged: u64) -> anyhow::Result<Vec<ReplicaStatus>> {
    let deadline = Instant::now() + AGREEMENT_TIMEOUT;
    loop {
        let statuses = cluster.statuses()?;
        let executed: Vec<_> = statuses.iter().map(status::executed).collect();
        match judge(&executed, acknowledged) {
            Verdict::Agree { .. } => return Ok(statuses),
            Verdict::NotYet(_) if Instant::now() < deadline => std::thread::sleep(POLL),
            Verdict::NotYet(missing) => {
                let refusals = status::refusals(&statuses);
                return invalid(format!(
                    "{missing}, {AGREEMENT_TIMEOUT:?} after the last acknowledgement{refusals}"
                ));
            }
            Verdict::Never(why) => return invalid(format!("{why}{}", status::refusals(&statuses))),
        }
    }
}
