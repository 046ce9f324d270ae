use std::sync::mpsc::Sender;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use hypostyle::client::{Driver, Registration, Settled};
use hypostyle::config::ClusterConfig;
use hypostyle::crypto::SigningKey;

use crate::arrivals::{Alarm, Schedule};
use crate::choice::Pace;
use crate::error::invalid;
use crate::latency::Latencies;
use crate::load::{Milestone, Order, Outcome, Running};
use crate::phases::{Phase, Phases};
use crate::presign::Presigned;
use crate::sample::Sample;
use crate::setting::Load;
use crate::signing::{FIRST, client_id};
use crate::timeline::Timeline;
use crate::workload::Workload;

/// Nothing happens for this long: the cluster stands still.
const STALL: Duration = Duration::from_secs(15);
/// A turn of the driver waits this long at most, so that phases end in time.
const TURN_MAX: Duration = Duration::from_millis(5);

/// A part of a load: some of its clients.
#[derive(Debug)]
pub(crate) struct Part {
    /// The cluster to be loaded.
    pub(crate) cluster: ClusterConfig,
    /// The clients' keys.
    pub(crate) keys: Vec<SigningKey>,
    /// The first client's index; the others follow.
    pub(crate) first: usize,
    /// Clients of all parts.
    pub(crate) all_clients: u32,
    /// What these clients do.
    pub(crate) load: Load,
    /// Requests signed before.
    pub(crate) presigned: Option<Presigned>,
    /// Processes to be sampled with the load.
    pub(crate) replicas: Vec<u32>,
    /// Equal seeds give equal arrivals.
    pub(crate) seed: u64,
}

/// Starts a part of a load in a thread.
///
/// # Errors
/// When there is none to be had.
pub(crate) fn start(part: Part) -> anyhow::Result<Running> {
    Running::start(move |order, milestones| {
        let mut generator = Generator::new(part)?;
        generator.connect(order)?;
        // Who no longer listens has an error of its own to tell.
        let _ = milestones.send(Milestone::Connected);
        generator.wait_for_others(order)?;
        generator.run(order, milestones)
    })
}

/// The clients of a run and what they have seen.
struct Generator {
    driver: Driver,
    load: Load,
    workload: Workload,
    /// Index of the first client among those of all generators.
    first: usize,
    presigned: Option<Presigned>,
    clients: Vec<Client>,
    pace: Sending,
    sent: u64,
    acknowledged: u64,
    used_up: bool,
    replicas: Vec<u32>,
    latencies: Latencies,
}

#[derive(Clone, Debug)]
struct Client {
    /// The number of its next operation.
    next: u64,
    in_flight: u32,
    /// How late each operation of its window was sent, in an open loop, at number mod window.
    lateness: Vec<Duration>,
}

/// When the clients send.
enum Sending {
    /// As soon as they have fewer than so many in flight.
    Closed { outstanding: u32 },
    /// By the clock.
    Open { schedule: Schedule, alarm: Alarm, turn: usize },
}

/// The samples taken so far.
#[derive(Debug, Default)]
struct Window {
    began: Option<(Sample, SystemTime, Duration)>,
    ended: Option<(Sample, Duration)>,
    timeline: Option<Timeline>,
}

impl Generator {
    fn new(part: Part) -> anyhow::Result<Self> {
        let Part { cluster, keys, first, all_clients, load, presigned, replicas, seed } = part;
        let window = match load.pace {
            Pace::Closed { .. } => 0,
            Pace::Open { .. } => usize::try_from(cluster.client_window)?,
        };
        let client = Client { next: FIRST.0, in_flight: 0, lateness: vec![Duration::ZERO; window] };
        let clients = vec![client; keys.len()];
        let register = |(index, key)| Registration { client: client_id(first + index), key, first: FIRST };
        let driver = Driver::new(&cluster, keys.into_iter().enumerate().map(register).collect())?;
        let pace = match load.pace {
            Pace::Closed { outstanding } => Sending::Closed { outstanding },
            Pace::Open { rate, arrivals } => Sending::Open {
                schedule: Schedule::new(rate.into(), arrivals, seed),
                alarm: Alarm::start(driver.wake_handle())?,
                turn: 0,
            },
        };
        let latencies = Latencies::new();
        Ok(Self {
            driver,
            load,
            workload: load.workload(all_clients),
            first,
            presigned,
            clients,
            pace,
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

    /// Keeps the connections until every generator has its own.
    fn wait_for_others(&mut self, order: &Order) -> anyhow::Result<()> {
        while !order.is_begun() {
            self.driver.turn(Some(TURN_MAX))?;
        }
        Ok(())
    }

    fn run(&mut self, order: &Order, milestones: &Sender<Milestone>) -> anyhow::Result<Outcome> {
        let mut phases = Phases::begin(self.load.limits(), Instant::now());
        let mut window = Window::default();
        let mut progress = Instant::now();
        let start = progress;
        self.driver.refresh();
        loop {
            if !order.is_finish() {
                self.send_what_is_due(start)?;
            } else if self.acknowledged == self.sent {
                return self.outcome(window, &phases);
            }
            self.driver.turn(Some(TURN_MAX))?;
            let now = Instant::now();
            if self.take_settled(now, &phases, &mut window)? {
                progress = now;
            } else if self.acknowledged == self.sent {
                // Nothing to wait for: an open loop may be that slow.
                progress = now;
            } else if now - progress > STALL {
                return self.stalled();
            }
            if phases.turn(now, self.sent, self.used_up) {
                self.milestone(phases.phase(), start, now, &mut window, milestones)?;
            }
            if order.is_stop() {
                return invalid("the run was stopped");
            }
        }
    }

    /// Counts what was settled. Whether anything was.
    fn take_settled(&mut self, now: Instant, phases: &Phases, window: &mut Window) -> anyhow::Result<bool> {
        let before = self.acknowledged;
        let since = now.saturating_duration_since(phases.since());
        let mut timeline = window.timeline.as_mut().filter(|_| phases.phase() == Phase::Window);
        for Settled { client, completion } in self.driver.settled() {
            if let Err(error) = completion.result {
                return invalid(format!("client {client}, operation {}: {error}", completion.number));
            }
            self.acknowledged += 1;
            let client = &mut self.clients[client];
            let latency = completion.latency + client.lateness_of(completion.number.0);
            if let Some(timeline) = timeline.as_mut() {
                self.latencies.record(latency);
                timeline.record(since, latency);
            }
            client.in_flight -= 1;
        }
        Ok(self.acknowledged > before)
    }

    /// Sends what should be on its way by now, as far as windows and presigned requests allow.
    fn send_what_is_due(&mut self, start: Instant) -> anyhow::Result<()> {
        match self.pace {
            Sending::Closed { outstanding } => self.top_up(outstanding),
            Sending::Open { .. } => self.keep_schedule(start),
        }
    }

    /// Sends until each client has as many operations in flight as it should.
    fn top_up(&mut self, outstanding: u32) -> anyhow::Result<()> {
        for client in 0..self.clients.len() {
            while self.clients[client].in_flight < outstanding && self.driver.core(client).room() > 0 {
                if !self.send(client, Duration::ZERO)? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Sends what is due, each operation by the next client that has room, and sets the alarm for the next one.
    fn keep_schedule(&mut self, start: Instant) -> anyhow::Result<()> {
        loop {
            let Sending::Open { schedule, alarm, turn } = &mut self.pace else { return Ok(()) };
            let due = start + schedule.next();
            if due > Instant::now() {
                alarm.set(due);
                return Ok(());
            }
            let clients = self.clients.len();
            let next = (0..clients).map(|step| (*turn + step) % clients);
            let Some(client) = next.into_iter().find(|&client| self.driver.core(client).room() > 0) else {
                return Ok(());
            };
            *turn = client + 1;
            schedule.advance();
            self.driver.refresh();
            if !self.send(client, due.elapsed())? {
                return Ok(());
            }
        }
    }

    /// Sends the client's next operation, so late; false when its presigned requests are used up.
    fn send(&mut self, client: usize, lateness: Duration) -> anyhow::Result<bool> {
        let number = self.clients[client].next;
        let sent = match &self.presigned {
            None => self.driver.submit(client, &[&self.workload.operation(self.first + client, number)]),
            Some(presigned) => match presigned.request(client, number) {
                Some(request) => self.driver.submit_signed(client, request),
                None => {
                    self.used_up = true;
                    return Ok(false);
                }
            },
        };
        if let Err(error) = sent {
            return invalid(format!("client {client}, operation {number}: {error}"));
        }
        self.clients[client].sent(lateness);
        self.sent += 1;
        Ok(true)
    }

    fn milestone(
        &self,
        phase: Phase,
        start: Instant,
        now: Instant,
        window: &mut Window,
        milestones: &Sender<Milestone>,
    ) -> anyhow::Result<()> {
        let sample = Sample::take(&self.replicas, self.acknowledged).context("a replica has ended")?;
        let milestone = if phase == Phase::Window {
            window.began = Some((sample, SystemTime::now(), now - start));
            window.timeline = Some(Timeline::of(self.load.duration));
            Milestone::WindowBegan
        } else {
            let overdue = match &self.pace {
                Sending::Closed { .. } => Duration::ZERO,
                Sending::Open { schedule, .. } => (now - start).saturating_sub(schedule.next()),
            };
            window.ended = Some((sample, overdue));
            Milestone::WindowEnded
        };
        // Who no longer listens has an error of its own to tell.
        let _ = milestones.send(milestone);
        Ok(())
    }

    fn outcome(&mut self, window: Window, phases: &Phases) -> anyhow::Result<Outcome> {
        let (Some((begin, began, warmup)), Some((end, overdue)), Some(mut timeline), Some(ended_by)) =
            (window.began, window.ended, window.timeline, phases.ended_by())
        else {
            return invalid("the load ended before its window");
        };
        timeline.turn(end.at - begin.at);
        let latencies = std::mem::take(&mut self.latencies);
        let acknowledged = self.acknowledged;
        Ok(Outcome { begin, end, began, warmup, latencies, timeline, overdue, ended_by, acknowledged })
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

impl Client {
    fn sent(&mut self, lateness: Duration) {
        if let Some(place) = place(self.next, self.lateness.len()) {
            self.lateness[place] = lateness;
        }
        self.next += 1;
        self.in_flight += 1;
    }

    fn lateness_of(&self, number: u64) -> Duration {
        place(number, self.lateness.len()).map_or(Duration::ZERO, |place| self.lateness[place])
    }
}

/// Numbers in flight lie within a window, so that each has a place of its own.
fn place(number: u64, window: usize) -> Option<usize> {
    usize::try_from(number.checked_rem(window as u64)?).ok()
}
