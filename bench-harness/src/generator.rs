use std::sync::mpsc::Sender;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use hypostyle::client::{Driver, Registration, Settled};
use hypostyle::config::ClusterConfig;
use hypostyle::crypto::{SigningKey, read_key};

use crate::cluster::Cluster;
use crate::error::invalid;
use crate::latency::Latencies;
use crate::load::{Milestone, Order, Outcome, Running};
use crate::measure::Task;
use crate::phases::{Phase, Phases};
use crate::presign::Presigned;
use crate::sample::Sample;
use crate::setting::Load;
use crate::signing::{FIRST, client_id, operation};

/// Nothing happens for this long: the cluster stands still.
const STALL: Duration = Duration::from_secs(15);
/// A turn of the driver waits this long at most, so that phases end in time.
const TURN_MAX: Duration = Duration::from_millis(5);

/// Starts the load of `task` on `cluster`, all clients in one thread.
pub(crate) fn start(cluster: &Cluster, task: Task<'_>) -> anyhow::Result<Running> {
    let config = cluster.config().clone();
    let load = task.setting.load;
    let keys = (0..load.clients as usize).map(|index| Ok(read_key(&task.keys.client_path(index))?));
    let keys = keys.collect::<anyhow::Result<Vec<_>>>()?;
    let (presigned, replicas) = (task.presigned.cloned(), cluster.pids());
    Running::start(move |order, milestones| {
        let mut generator = Generator::new(&config, keys, load, presigned, replicas)?;
        generator.connect(order)?;
        generator.run(order, milestones)
    })
}

/// The clients of a run and what they have seen.
struct Generator {
    driver: Driver,
    load: Load,
    presigned: Option<Presigned>,
    clients: Vec<Client>,
    sent: u64,
    acknowledged: u64,
    used_up: bool,
    replicas: Vec<u32>,
    latencies: Latencies,
}

#[derive(Clone, Copy, Debug)]
struct Client {
    /// The number of its next operation.
    next: u64,
    in_flight: u32,
}

/// The samples taken so far.
#[derive(Debug, Default)]
struct Window {
    began: Option<(Sample, SystemTime, Duration)>,
    ended: Option<Sample>,
}

impl Generator {
    fn new(
        config: &ClusterConfig,
        keys: Vec<SigningKey>,
        load: Load,
        presigned: Option<Presigned>,
        replicas: Vec<u32>,
    ) -> anyhow::Result<Self> {
        let clients = vec![Client { next: FIRST.0, in_flight: 0 }; keys.len()];
        let register = |(index, key)| Registration { client: client_id(index), key, first: FIRST };
        let driver = Driver::new(config, keys.into_iter().enumerate().map(register).collect())?;
        let latencies = Latencies::new();
        Ok(Self {
            driver,
            load,
            presigned,
            clients,
            sent: 0,
            acknowledged: 0,
            used_up: false,
            replicas,
            latencies,
        })
    }

    /// Waits until every connection is up: handshakes are no part of the load.
    fn connect(&mut self, order: &Order) -> anyhow::Result<()> {
        let (mut most, mut since) = (0, Instant::now());
        loop {
            let (up, wanted) = self.driver.connections();
            if up >= wanted {
                return Ok(());
            }
            if up > most {
                (most, since) = (up, Instant::now());
            }
            if since.elapsed() > STALL || order.is_stop() {
                return invalid(format!("only {up} of {wanted} connections came up{}", self.troubles()));
            }
            self.driver.turn(Some(TURN_MAX))?;
        }
    }

    fn run(&mut self, order: &Order, milestones: &Sender<Milestone>) -> anyhow::Result<Outcome> {
        let mut phases = Phases::begin(self.load.limits(), Instant::now());
        let mut window = Window::default();
        let mut progress = Instant::now();
        let start = progress;
        self.driver.refresh();
        loop {
            if !order.is_finish() {
                self.top_up()?;
            } else if self.acknowledged == self.sent {
                return self.outcome(window, &phases);
            }
            self.driver.turn(Some(TURN_MAX))?;
            let now = Instant::now();
            if self.take_settled(phases.phase() == Phase::Window)? {
                progress = now;
            } else if now - progress > STALL {
                return self.stalled();
            }
            if phases.turn(now, self.sent, self.used_up) {
                self.milestone(phases.phase(), now - start, &mut window, milestones)?;
            }
            if order.is_stop() {
                return invalid("the run was stopped");
            }
        }
    }

    /// Counts what was settled. Whether anything was.
    fn take_settled(&mut self, in_window: bool) -> anyhow::Result<bool> {
        let before = self.acknowledged;
        for Settled { client, completion } in self.driver.settled() {
            if let Err(error) = completion.result {
                return invalid(format!("client {client}, operation {}: {error}", completion.number));
            }
            self.acknowledged += 1;
            if in_window {
                self.latencies.record(completion.latency);
            }
            self.clients[client].in_flight -= 1;
        }
        Ok(self.acknowledged > before)
    }

    /// Sends until each client has as many operations in flight as it should, as far as window and presigned requests
    /// allow.
    fn top_up(&mut self) -> anyhow::Result<()> {
        for client in 0..self.clients.len() {
            while self.clients[client].in_flight < self.load.outstanding
                && self.driver.core(client).room() > 0
            {
                if !self.send(client)? {
                    self.used_up = true;
                    break;
                }
                self.clients[client].next += 1;
                self.clients[client].in_flight += 1;
                self.sent += 1;
            }
        }
        Ok(())
    }

    /// Sends the client's next operation; false when its presigned requests are used up.
    fn send(&mut self, client: usize) -> anyhow::Result<bool> {
        let number = self.clients[client].next;
        let sent = match &self.presigned {
            None => self.driver.submit(client, &[&operation(number, self.load.payload)]),
            Some(presigned) => match presigned.request(client, number) {
                Some(request) => self.driver.submit_signed(client, request),
                None => return Ok(false),
            },
        };
        match sent {
            Ok(_) => Ok(true),
            Err(error) => invalid(format!("client {client}, operation {number}: {error}")),
        }
    }

    fn milestone(
        &self,
        phase: Phase,
        elapsed: Duration,
        window: &mut Window,
        milestones: &Sender<Milestone>,
    ) -> anyhow::Result<()> {
        let sample = Sample::take(&self.replicas, self.acknowledged).context("a replica has ended")?;
        let milestone = if phase == Phase::Window {
            window.began = Some((sample, SystemTime::now(), elapsed));
            Milestone::WindowBegan
        } else {
            window.ended = Some(sample);
            Milestone::WindowEnded
        };
        // Who no longer listens has an error of its own to tell.
        let _ = milestones.send(milestone);
        Ok(())
    }

    fn outcome(&mut self, window: Window, phases: &Phases) -> anyhow::Result<Outcome> {
        let (Some((begin, began, warmup)), Some(end), Some(ended_by)) =
            (window.began, window.ended, phases.ended_by())
        else {
            return invalid("the load ended before its window");
        };
        let latencies = std::mem::take(&mut self.latencies);
        Ok(Outcome { begin, end, began, warmup, latencies, ended_by, acknowledged: self.acknowledged })
    }

    fn stalled<T>(&self) -> anyhow::Result<T> {
        let counters = self.driver.counters();
        invalid(format!(
            "no operation was acknowledged for {STALL:?}: {} of {} sent are; {} requests went out, retransmissions \
             included, {} reply messages counted{}",
            self.acknowledged,
            self.sent,
            counters.requests,
            counters.replies,
            self.troubles()
        ))
    }

    fn troubles(&self) -> String {
        self.driver.troubles().map(|(replica, why)| format!("\n  replica {replica}: {why}")).collect()
    }
}
