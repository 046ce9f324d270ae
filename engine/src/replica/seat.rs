use std::io;
use std::sync::Arc;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use hypostyle_app_api::{ClientId, Instant, Now, Number, PillarId, ReplicaId, Round, Seq};
#[cfg(feature = "simulation")]
use hypostyle_app_api::{Digest, Position};
use hypostyle_pillars::Executed;

use super::catch_up::CatchUp;
use super::clock::Clock;
use super::mail::{Mail, Mailbox, Post, Postbox, Wake};
use super::worker::{EXECUTE_BUDGET, RETRY};
use crate::Application;
use crate::admin::{Detail, Query};
use crate::config::ClusterConfig;
use crate::executor::{
    ExecutedSlot, Executor, ExecutorCounters, ExecutorOutbox, ExecutorSettings, Incarnation, Lookup, Monitor,
    Output,
};
use crate::node::{ExecutorInput, ExecutorReport};
use crate::order_log::{OrderEntry, OrderFile, OrderLog, OrderedRequest};
use crate::reply::ReplyGroup;
use crate::status::{ExecutionStatus, PartialStatus};

/// The executor with what surrounds it on whatever thread it runs: the order log, and whom to tell what.
pub(crate) struct Seat<A: Application> {
    executor: Executor<A>,
    order: OrderLog,
    outbox: ExecutorOutbox,
    workers: usize,
    pillars: u16,
    checkpoint_interval: u64,
    /// What each pillar was told last.
    told: Vec<Seq>,
    /// What each pillar waits for and is executed.
    past: Vec<Vec<(ClientId, Number, u16)>>,
    me: ReplicaId,
    /// While this replica recovers, the latest round that is stable and whose state is held here.
    held: Option<Round>,
    reports: Vec<ExecutorReport>,
    catch_up: CatchUp,
    monitor: Monitor,
}

/// Slots and requests of the order that are remembered.
pub(crate) const ORDER_ENTRIES_MAX: usize = 4096;
pub(crate) const ORDER_REQUESTS_MAX: usize = 65_536;

impl<A: Application> Seat<A> {
    pub(crate) fn new(
        cluster: &ClusterConfig,
        me: ReplicaId,
        application: A,
        workers: usize,
        file: Option<OrderFile>,
    ) -> Self {
        Self {
            executor: Executor::new(ExecutorSettings::new(cluster, me), application),
            order: OrderLog::new(ORDER_ENTRIES_MAX, ORDER_REQUESTS_MAX, file),
            outbox: ExecutorOutbox::default(),
            workers,
            pillars: cluster.pillars,
            checkpoint_interval: u64::from(cluster.checkpoint_interval),
            told: vec![Seq(0); usize::from(cluster.pillars)],
            past: vec![Vec::new(); usize::from(cluster.pillars)],
            me,
            held: None,
            reports: (0..workers).map(|_| ExecutorReport::default()).collect(),
            catch_up: CatchUp::new(cluster, me),
            monitor: Monitor::new(
                cluster.pillars,
                u64::from(cluster.checkpoint_interval),
                cluster.view_timeout,
            ),
        }
    }

    /// Snapshots are written in the background; `wake` ends the sleep of the thread this is on.
    pub(crate) fn in_background(mut self, wake: Wake) -> Self {
        self.catch_up.in_background(wake);
        self
    }

    /// Has the workers told from which stable rounds on the state is held here.
    pub(crate) fn recovers(&mut self) {
        self.held = Some(Round(0));
    }

    pub(crate) fn take(&mut self, now: Now, input: ExecutorInput) {
        match input {
            ExecutorInput::Decided(slot) => self.catch_up.decided(now, &mut self.executor, slot),
            ExecutorInput::Transfer(from, message) => self.catch_up.message(now, from, message),
            ExecutorInput::Lookup(lookup) => self.executor.lookup(&lookup),
            ExecutorInput::Awaited(lookup) => {
                if self.executor.is_past(&lookup) {
                    let Lookup { pillar, client, first, count, .. } = lookup;
                    self.past[pillar.index()].push((client, first, count));
                }
                self.executor.lookup(&lookup);
            }
            ExecutorInput::CheckpointVote(vote) => self.executor.checkpoint_vote(vote, &mut self.outbox),
            ExecutorInput::CheckpointProven(proven) => {
                self.executor.checkpoint_proven(proven, &mut self.outbox);
            }
            ExecutorInput::Entered(pillar, view) => self.executor.set_view(pillar, view),
            ExecutorInput::Lag(pillar, lag) => {
                if self.monitor.lags(pillar, lag) {
                    self.find_slow(pillar);
                }
            }
        }
    }

    /// Executes up to `budget` operations. Whether there is more to do.
    pub(crate) fn run(&mut self, now: Now, budget: usize) -> bool {
        self.catch_up.prepare(&mut self.executor);
        let mut more = self.executor.run(budget, &mut self.outbox);
        more |= self.catch_up.step(now, &mut self.executor, &mut self.outbox);
        let mut outbox = std::mem::take(&mut self.outbox);
        outbox.executed.drain(..).for_each(|slot| self.order.push(entry(slot)));
        for group in outbox.replies.drain(..) {
            let worker = self.worker(group.pillar());
            self.reports[worker].replies.push(group);
        }
        self.tell_progress(&outbox);
        outbox.outputs.drain(..).for_each(|output| self.tell(now, output));
        for pillar in outbox.replayed.drain(..) {
            if self.monitor.replayed(pillar) {
                self.find_slow(pillar);
            }
        }
        self.tell_held();
        outbox.clear();
        self.outbox = outbox;
        for notice in self.catch_up.notices() {
            self.reports.iter_mut().for_each(|report| report.notices.push(notice.clone()));
        }
        for (pillar, to, message) in self.catch_up.outputs() {
            self.reports[pillar.index() % self.workers].transfer.push((pillar, to, message));
        }
        more
    }

    /// When to run again, whatever else happens.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.catch_up.next_deadline()
    }

    /// What each worker is to be told, by its number.
    pub(crate) fn reports(&mut self) -> impl Iterator<Item = (usize, ExecutorReport)> {
        let told = self.reports.iter_mut().enumerate().filter(|(_, report)| !report.is_empty());
        told.map(|(worker, report)| (worker, std::mem::take(report)))
    }

    /// Takes back a group of replies that was sent.
    pub(crate) fn recycle(&mut self, group: ReplyGroup) {
        self.executor.recycle(group);
    }

    pub(crate) fn order(&self) -> Vec<OrderEntry> {
        self.order.recent()
    }

    #[cfg(feature = "simulation")]
    pub(crate) fn order_from(&self, position: Position) -> impl Iterator<Item = &OrderEntry> {
        self.order.from(position)
    }

    #[cfg(feature = "simulation")]
    pub(crate) fn executor(&self) -> &Executor<A> {
        &self.executor
    }

    #[cfg(feature = "simulation")]
    pub(crate) fn state(&mut self) -> (Position, Digest) {
        (self.executor.position(), self.executor.state_digest())
    }

    pub(crate) fn add_status(&mut self, detail: Detail, status: &mut PartialStatus) {
        let position = self.executor.position().0;
        let (stable_round, stable_digest) = self.executor.stable();
        let counters = self.executor.counters();
        let named = named(counters).chain(self.catch_up.counters());
        status.counters.extend(named.map(|(name, count)| (name.to_owned(), count)));
        status.execution = Some(ExecutionStatus {
            executed_position: position,
            executed_operations: counters.operations,
            incarnation: self.executor.incarnations().of(self.me).incarnation,
            stable_round: stable_round.0,
            stable_digest: stable_digest.to_string(),
            state_round: position / u64::from(self.pillars),
            state_digest: match detail {
                Detail::State => self.executor.state_digest().to_string(),
                Detail::Counters | Detail::Evidence => String::new(),
            },
            diverged: self.executor.diverged(),
            transferring: self.catch_up.is_open(),
        });
    }

    fn find_slow(&mut self, pillar: PillarId) {
        tracing::warn!(%pillar, "the primary is slow or wasteful compared with the others: leaving its view");
        let worker = self.worker(pillar);
        self.reports[worker].slow.push(pillar);
    }

    fn worker(&self, pillar: PillarId) -> usize {
        pillar.index() % self.workers
    }

    fn tell_progress(&mut self, outbox: &ExecutorOutbox) {
        // One list for all pillars, made when there is something to tell.
        let mut floors: Option<Arc<[_]>> = None;
        for pillar in (0..self.pillars).map(PillarId) {
            let seq = self.executor.executed(pillar);
            let moved = std::mem::replace(&mut self.told[pillar.index()], seq) < seq;
            let past = std::mem::take(&mut self.past[pillar.index()]);
            let far = outbox.far.iter().filter(|(at, ..)| *at == pillar);
            let far: Vec<_> = far.map(|(_, client, first, count)| (*client, *first, *count)).collect();
            if moved || !outbox.floors.is_empty() || !past.is_empty() {
                let worker = self.worker(pillar);
                let floors = floors.get_or_insert_with(|| outbox.floors.as_slice().into());
                let executed = Executed { seq, floors: Arc::clone(floors), past, far };
                self.reports[worker].executed.push((pillar, executed));
            }
        }
    }

    fn tell_held(&mut self) {
        let Some(before) = self.held.filter(|_| !self.executor.is_halted()) else { return };
        let executed = self.executor.position().0 / u64::from(self.pillars);
        let held =
            self.executor.stable().0.0.min(executed / self.checkpoint_interval * self.checkpoint_interval);
        if held > before.0 {
            self.held = Some(Round(held));
            self.reports.iter_mut().for_each(|report| report.held = self.held);
        }
    }

    fn tell(&mut self, now: Now, output: Output) {
        match output {
            Output::Checkpoint { round, digest } => {
                // Any pillar's links carry it; each in turn.
                let turn = (round.0 / self.checkpoint_interval) % u64::from(self.pillars);
                let pillar = PillarId(u16::try_from(turn).expect("below P"));
                let worker = self.worker(pillar);
                self.reports[worker].checkpoints.push((pillar, round, digest));
            }
            Output::Stable(stable) => {
                self.monitor.stable();
                self.reports.iter_mut().for_each(|report| report.stable.push(stable.clone()));
            }
            Output::Recovered { replica, record, until } => {
                let Incarnation { incarnation, round, .. } = record;
                tracing::info!(%replica, incarnation, %round, %until, "a replica recovers without its log");
                self.reports.iter_mut().for_each(|report| report.recovered.push((replica, record, until)));
            }
            Output::Diverged { round, own, stable } => {
                tracing::error!(%round, %own, %stable, "this replica's state differs from 2f+1 others': it executes no more until it has another");
                self.catch_up.diverged(now, &self.executor);
            }
            Output::Split { round } => {
                tracing::error!(%round, "the replicas' states differ so that no checkpoint can become stable");
            }
            Output::Behind { round } => {
                tracing::warn!(%round, "this replica is behind by more than the window");
                self.catch_up.behind();
            }
        }
    }
}

/// The executor's own thread.
pub(crate) struct ExecutorThread<A: Application> {
    seat: Box<Seat<A>>,
    mailbox: Mailbox,
    doorbell: Receiver<()>,
    workers: Vec<Post>,
    clock: Clock,
}

impl<A: Application> ExecutorThread<A> {
    /// The mailbox of an executor's thread: it sleeps on a doorbell. What rings it comes along.
    pub(crate) fn mailbox() -> (Postbox, (Mailbox, Receiver<()>), Wake) {
        let (bell, doorbell): (Sender<()>, _) = bounded(1);
        let ring: Wake = Arc::new(move || {
            // A full bell rings already.
            let _ = bell.try_send(());
        });
        let (postbox, mailbox) = super::mail::mailbox(Arc::clone(&ring));
        (postbox, (mailbox, doorbell), ring)
    }

    pub(crate) fn new(
        seat: Box<Seat<A>>,
        mailbox: (Mailbox, Receiver<()>),
        workers: Vec<Post>,
        clock: Clock,
    ) -> Self {
        Self { seat, mailbox: mailbox.0, doorbell: mailbox.1, workers, clock }
    }

    /// Executes until told to stop.
    pub(crate) fn run(mut self) -> io::Result<()> {
        while !self.mailbox.is_stopped() {
            let now = self.clock.now();
            while let Some(mail) = self.mailbox.take() {
                match mail {
                    Mail::Execute(inputs) => inputs.into_iter().for_each(|input| self.seat.take(now, input)),
                    Mail::Query(query) => answer(&mut self.seat, query),
                    Mail::Sibling(_) | Mail::Report(_) | Mail::Arrived(_) => {}
                }
            }
            let more = self.seat.run(now, EXECUTE_BUDGET);
            for (worker, report) in self.seat.reports() {
                self.workers[worker].send(Mail::Report(report));
            }
            let mut delivered = true;
            for post in &mut self.workers {
                delivered &= post.flush();
            }
            if !more && self.mailbox.may_sleep() {
                let now = self.clock.now().instant;
                let due = self.seat.next_deadline().map(|at| at.since(now));
                let rung = match due.into_iter().chain((!delivered).then_some(RETRY)).min() {
                    Some(timeout) => self.doorbell.recv_timeout(timeout),
                    None => self.doorbell.recv().map_err(|_| RecvTimeoutError::Disconnected),
                };
                self.mailbox.awake();
                if rung == Err(RecvTimeoutError::Disconnected) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

fn answer<A: Application>(seat: &mut Seat<A>, query: Query) {
    // Whoever asked may have gone.
    match query {
        Query::Status(detail, answer) => {
            let mut status = PartialStatus::default();
            seat.add_status(detail, &mut status);
            let _ = answer.send(status);
        }
        Query::OrderLog(answer) => {
            let _ = answer.send(seat.order());
        }
    }
}

fn named(counters: &ExecutorCounters) -> impl Iterator<Item = (&'static str, u64)> {
    [
        ("operations", counters.operations),
        ("operations_skipped_past", counters.skipped_past),
        ("operations_skipped_far", counters.skipped_far),
        ("application_panics", counters.panics),
        ("results_too_large", counters.results_too_large),
        ("slots_executed", counters.slots),
        ("replayed_batches", counters.replayed_batches),
        ("lookups_answered", counters.lookups),
        ("lookups_refused", counters.lookups_refused),
        ("slots_refused", counters.refused_slots),
        ("checkpoint_votes_ignored", counters.ignored_votes),
        ("recoveries", counters.recoveries),
        ("checkpoints", counters.checkpoints),
    ]
    .into_iter()
}

fn entry(executed: ExecutedSlot) -> OrderEntry {
    let ExecutedSlot { position, slot } = executed;
    let request = |r: &hypostyle_pillars::message::RequestRef| OrderedRequest {
        client: r.client.0,
        number: r.first.0,
        count: r.count,
        digest: r.digest,
    };
    OrderEntry {
        position: position.0,
        pillar: slot.pillar.0,
        view: slot.view.0,
        seq: slot.seq.0,
        digest: slot.body.digest(),
        requests: slot.body.requests().iter().map(request).collect(),
    }
}
