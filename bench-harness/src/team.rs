use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use hypostyle::crypto::{SigningKey, read_key};

use crate::children::{Process, Scratch};
use crate::cluster::Cluster;
use crate::generator::{self, Part};
use crate::load::{Milestone, Outcome, Running};
use crate::measure::Task;
use crate::remote::{self, Place};
use crate::setting::Generators;
use crate::timeline::Timeline;
use crate::{ports, worker};

/// All generators of a run: one in a thread of this process, or some in others, each with its part of the clients.
#[derive(Debug)]
pub(crate) struct Team {
    members: Vec<Running>,
    /// Members that came to the milestone that is waited for.
    arrived: usize,
    window: Duration,
    // Ended after the members, which talk to them.
    _workers: Vec<Process>,
    _scratch: Option<Scratch>,
}

impl Team {
    /// Connects all clients to `cluster`; they send once all are connected.
    ///
    /// # Errors
    /// When a generator can't be started.
    pub(crate) fn start(cluster: &Cluster, task: Task<'_>) -> anyhow::Result<Self> {
        let (mut workers, mut scratch) = (Vec::new(), None);
        let parts = |count| parts(cluster, task, count);
        let members = match &task.setting.generators {
            Generators::Inside => {
                let part = parts(1)?.remove(0);
                vec![generator::start(Part { presigned: task.presigned.cloned(), ..part })?]
            }
            Generators::Processes(count) => {
                let directory = Scratch::inside(cluster.scratch())?;
                let addresses = ports::free(Ipv4Addr::LOCALHOST.into(), usize::from(*count))?;
                for address in &addresses {
                    let log = directory.path().join(format!("worker-{}.log", address.port()));
                    workers.push(worker::spawn(cluster.program(), *address, &log)?);
                }
                scratch = Some(directory);
                remote_members(&addresses, Place::Here, parts(addresses.len())?)?
            }
            Generators::Workers(addresses) => {
                remote_members(addresses, Place::Elsewhere, parts(addresses.len())?)?
            }
        };
        let window = task.setting.load.duration;
        let mut team = Self { members, arrived: 0, window, _workers: workers, _scratch: scratch };
        team.wait_for(Milestone::Connected, CONNECT_TIMEOUT)?;
        team.members.iter().for_each(Running::begin);
        Ok(team)
    }

    /// Waits until all have come to `expected`, at most for `timeout`.
    ///
    /// # Errors
    /// When one ended before it, with its reason; or when it doesn't come.
    pub(crate) fn wait_for(&mut self, expected: Milestone, timeout: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + timeout;
        while let Some(member) = self.members.get_mut(self.arrived) {
            member.wait_for(expected, deadline.saturating_duration_since(Instant::now()))?;
            self.arrived += 1;
        }
        self.arrived = 0;
        Ok(())
    }

    /// Waits until all have come to `expected`, at most for `timeout`. Whether they have.
    ///
    /// # Errors
    /// When one ended before it, with its reason.
    pub(crate) fn came(&mut self, expected: Milestone, timeout: Duration) -> anyhow::Result<bool> {
        let deadline = Instant::now() + timeout;
        while let Some(member) = self.members.get_mut(self.arrived) {
            if !member.came(expected, deadline.saturating_duration_since(Instant::now()))? {
                return Ok(false);
            }
            self.arrived += 1;
        }
        self.arrived = 0;
        Ok(true)
    }

    /// Sends nothing new, waits until everything sent is acknowledged, and returns what all have seen together.
    ///
    /// # Errors
    /// When something stays unacknowledged, or a generator failed before.
    pub(crate) fn finish(self) -> anyhow::Result<Outcome> {
        let outcomes = self.members.into_iter().map(Running::finish).collect::<anyhow::Result<Vec<_>>>()?;
        merged(outcomes, self.window)
    }
}

/// Handshakes of thousands of clients with RSA take a while.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(300);

fn remote_members(addresses: &[SocketAddr], place: Place, parts: Vec<Part>) -> anyhow::Result<Vec<Running>> {
    addresses.iter().zip(parts).map(|(address, part)| remote::start(*address, place, part)).collect()
}

/// The clients and their load, divided among so many generators as evenly as can be.
fn parts(cluster: &Cluster, task: Task<'_>, count: usize) -> anyhow::Result<Vec<Part>> {
    let load = task.setting.load;
    let mut first = 0;
    let part = |index: usize| {
        let own = load.share(index, count);
        let range = first..first + own.clients as usize;
        first = range.end;
        let key = |index| Ok(read_key(&task.keys.client_path(index))?);
        let keys = range.clone().map(key).collect::<anyhow::Result<Vec<SigningKey>>>()?;
        Ok(Part {
            cluster: cluster.config().clone(),
            keys,
            first: range.start,
            all_clients: load.clients,
            load: own,
            presigned: None,
            replicas: cluster.pids(),
            seed: u64::from(task.repeat) << 32 | index as u64,
        })
    };
    (0..count).map(part).collect()
}

/// The machine and the replicas as the first has seen them, the operations and latencies of all.
fn merged(outcomes: Vec<Outcome>, window: Duration) -> anyhow::Result<Outcome> {
    let mut outcomes = outcomes.into_iter();
    let Some(mut all) = outcomes.next() else { anyhow::bail!("no generator") };
    let mut timelines = vec![all.timeline.packed()];
    for other in outcomes {
        for (sum, part) in [(&mut all.begin, &other.begin), (&mut all.end, &other.end)] {
            sum.acknowledged += part.acknowledged;
            sum.generator += part.generator;
        }
        all.latencies.add(&other.latencies.packed())?;
        timelines.push(other.timeline.packed());
        all.overdue = all.overdue.max(other.overdue);
        all.acknowledged += other.acknowledged;
    }
    if timelines.len() > 1 {
        all.timeline = Timeline::merged(window, &timelines)?;
    }
    Ok(all)
}
