use std::io;
use std::sync::Arc;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use hypostyle_app_api::{PillarId, ReplicaId, Seq};
use hypostyle_pillars::Executed;

use super::mail::{Mail, Mailbox, Post, Postbox};
use super::worker::{EXECUTE_BUDGET, RETRY};
use crate::Application;
use crate::admin::{Detail, Query};
use crate::config::ClusterConfig;
use crate::executor::{ExecutedSlot, Executor, ExecutorCounters, ExecutorOutbox, ExecutorSettings, Output};
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
    reports: Vec<ExecutorReport>,
}

/// Slots and requests of the order that are remembered.
const ORDER_ENTRIES_MAX: usize = 4096;
const ORDER_REQUESTS_MAX: usize = 65_536;

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
            reports: (0..workers).map(|_| ExecutorReport::default()).collect(),
        }
    }

    pub(crate) fn take(&mut self, input: ExecutorInput) {
        match input {
            // A slot decided twice is counted there and changes nothing.
            ExecutorInput::Decided(decided) => drop(self.executor.decided(decided)),
            ExecutorInput::Lookup(lookup) => self.executor.lookup(&lookup),
            ExecutorInput::CheckpointVote(vote) => self.executor.checkpoint_vote(vote, &mut self.outbox),
            ExecutorInput::Entered(pillar, view) => self.executor.set_view(pillar, view),
        }
    }

    /// Executes up to `budget` operations. Whether there is more to do.
    pub(crate) fn run(&mut self, budget: usize) -> bool {
        let more = self.executor.run(budget, &mut self.outbox);
        let mut outbox = std::mem::take(&mut self.outbox);
        outbox.executed.drain(..).for_each(|slot| self.order.push(entry(slot)));
        for group in outbox.replies.drain(..) {
            let worker = self.worker(group.pillar());
            self.reports[worker].replies.push(group);
        }
        self.tell_progress(&outbox);
        outbox.outputs.drain(..).for_each(|output| self.tell(output));
        outbox.clear();
        self.outbox = outbox;
        more
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

    pub(crate) fn add_status(&mut self, detail: Detail, status: &mut PartialStatus) {
        let position = self.executor.position().0;
        let (stable_round, stable_digest) = self.executor.stable();
        let counters = self.executor.counters();
        status.counters.extend(named(counters).map(|(name, count)| (name.to_owned(), count)));
        status.execution = Some(ExecutionStatus {
            executed_position: position,
            executed_operations: counters.operations,
            stable_round: stable_round.0,
            stable_digest: stable_digest.to_string(),
            state_round: position / u64::from(self.pillars),
            state_digest: match detail {
                Detail::State => self.executor.state_digest().to_string(),
                Detail::Counters => String::new(),
            },
        });
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
            if moved || !outbox.floors.is_empty() {
                let worker = self.worker(pillar);
                let floors = floors.get_or_insert_with(|| outbox.floors.as_slice().into());
                let executed = Executed { seq, floors: Arc::clone(floors) };
                self.reports[worker].executed.push((pillar, executed));
            }
        }
    }

    fn tell(&mut self, output: Output) {
        match output {
            Output::Checkpoint { round, digest } => {
                // Any pillar's links carry it; each in turn.
                let turn = (round.0 / self.checkpoint_interval) % u64::from(self.pillars);
                let pillar = PillarId(u16::try_from(turn).expect("below P"));
                let worker = self.worker(pillar);
                self.reports[worker].checkpoints.push((pillar, round, digest));
            }
            Output::Stable(stable) => {
                self.reports.iter_mut().for_each(|report| report.stable.push(stable.clone()));
            }
            Output::Diverged { round, own, stable } => {
                tracing::error!(%round, %own, %stable, "this replica's state differs from 2f+1 others': it executes no more");
            }
            Output::Split { round } => {
                tracing::error!(%round, "the replicas' states differ so that no checkpoint can become stable");
            }
            Output::Behind { round } => {
                tracing::warn!(%round, "this replica is behind by more than the window");
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
}

impl<A: Application> ExecutorThread<A> {
    /// The mailbox of an executor's thread: it sleeps on a doorbell.
    pub(crate) fn mailbox() -> (Postbox, (Mailbox, Receiver<()>)) {
        let (bell, doorbell): (Sender<()>, _) = bounded(1);
        let (postbox, mailbox) = super::mail::mailbox(Arc::new(move || {
            // A full bell rings already.
            let _ = bell.try_send(());
        }));
        (postbox, (mailbox, doorbell))
    }

    pub(crate) fn new(seat: Box<Seat<A>>, mailbox: (Mailbox, Receiver<()>), workers: Vec<Post>) -> Self {
        Self { seat, mailbox: mailbox.0, doorbell: mailbox.1, workers }
    }

    /// Executes until told to stop.
    pub(crate) fn run(mut self) -> io::Result<()> {
        while !self.mailbox.is_stopped() {
            while let Some(mail) = self.mailbox.take() {
                match mail {
                    Mail::Execute(inputs) => inputs.into_iter().for_each(|input| self.seat.take(input)),
                    Mail::Query(query) => answer(&mut self.seat, query),
                    Mail::Demand(_) | Mail::Report(_) | Mail::Arrived(_) => {}
                }
            }
            let more = self.seat.run(EXECUTE_BUDGET);
            for (worker, report) in self.seat.reports() {
                self.workers[worker].send(Mail::Report(report));
            }
            let mut delivered = true;
            for post in &mut self.workers {
                delivered &= post.flush();
            }
            if !more && self.mailbox.may_sleep() {
                let rung = if delivered {
                    self.doorbell.recv().map_err(|_| RecvTimeoutError::Disconnected)
                } else {
                    self.doorbell.recv_timeout(RETRY)
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
