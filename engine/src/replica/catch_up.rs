use std::time::Duration;

use hypostyle_app_api::{Instant, Now, PillarId, Position, ReplicaId, Round, Seq};
use hypostyle_pillars::Decided;
use hypostyle_probe::mark;

use super::mail::Wake;
use super::snapshot_writer::SnapshotWriter;
use crate::Application;
use crate::config::ClusterConfig;
use crate::executor::{Executor, ExecutorOutbox, Refusal};
use crate::node::StateNotice;
use crate::transfer::{KeptSlots, Transfer, TransferMessage, TransferSettings};

/// State transfer as the executor's seat sees it: when one begins, what is kept meanwhile, and what is taken over.
pub(crate) struct CatchUp {
    transfer: Transfer,
    kept: KeptSlots,
    writer: SnapshotWriter,
    pillars: u16,
    /// Whether the pillars were told to say nothing.
    silenced: bool,
    notices: Vec<StateNotice>,
    /// Messages go out over the pillars' links in turn, so that one that is down stops nothing.
    links: u16,
    divergences: u64,
    /// f+1 replicas are further ahead than the window; since when nothing can be executed here.
    behind: Option<Option<Instant>>,
    window: u64,
    patience: Duration,
}

/// A replica that lags and can't execute waits for the fourth part of `view_timeout`: its peers may have what it lacks.
const STUCK: u32 = 4;

impl CatchUp {
    pub(crate) fn new(cluster: &ClusterConfig, me: ReplicaId) -> Self {
        Self {
            transfer: Transfer::new(TransferSettings::new(cluster, me)),
            kept: KeptSlots::new(cluster.pillars, cluster.catch_up_bytes),
            writer: SnapshotWriter::new(None),
            pillars: cluster.pillars,
            silenced: false,
            notices: Vec::new(),
            links: 0,
            divergences: 0,
            behind: None,
            window: u64::from(cluster.window),
            patience: cluster.view_timeout / STUCK,
        }
    }

    /// Snapshots are written in the background; `wake` ends the sleep of the executor's thread.
    pub(crate) fn in_background(&mut self, wake: Wake) {
        self.writer = SnapshotWriter::new(Some(wake));
    }

    pub(crate) fn is_open(&self) -> bool {
        self.transfer.is_open()
    }

    pub(crate) fn message(&mut self, now: Now, from: ReplicaId, message: TransferMessage) {
        self.transfer.message(now.instant, from, message);
    }

    /// Hands a decided slot on. While a state is on its way, what lies beyond the merge is kept.
    pub(crate) fn decided<A: Application>(&mut self, now: Now, executor: &mut Executor<A>, slot: Decided) {
        if !self.is_open() && self.kept.is_empty() {
            // A slot decided twice is counted there and changes nothing.
            let _ = executor.decided(slot);
            return;
        }
        if executor.decided(slot.clone()) == Err(Refusal::BeyondWindow) && !self.kept.insert(slot) {
            mark!("transfer: more decided than is kept");
            self.transfer.retarget(now.instant, executor.told());
        }
    }

    /// Gives the merge what it has room for by now, and says where to stop for a snapshot.
    pub(crate) fn prepare<A: Application>(&mut self, executor: &mut Executor<A>) {
        while let Some(slot) = self.kept.first() {
            if executor.decided(slot.clone()) == Err(Refusal::BeyondWindow) {
                break;
            }
            self.kept.pop();
        }
        executor.pause_after(self.transfer.next_round());
    }

    /// f+1 replicas are further ahead than the window.
    pub(crate) fn behind(&mut self) {
        self.behind.get_or_insert(None);
    }

    /// Begins a transfer when this replica lags by more than the window and has nothing to execute: at once when its peers
    /// keep no more what comes next.
    fn look_behind<A: Application>(&mut self, now: Now, executor: &Executor<A>) {
        let Some(stuck) = &mut self.behind else { return };
        let reach = Round(executor.position().0 / u64::from(self.pillars) + self.window);
        if executor.told_by_some_correct() <= reach {
            self.behind = None;
        } else if executor.is_ready() {
            *stuck = None;
        } else if executor.stable().0 > reach
            || *stuck.get_or_insert(now.instant) + self.patience <= now.instant
        {
            self.begin(now, executor);
        }
    }

    /// The state differs from a stable one: says nothing until it has another.
    pub(crate) fn diverged<A: Application>(&mut self, now: Now, executor: &Executor<A>) {
        mark!("transfer: own state has diverged");
        self.divergences += 1;
        self.silenced = true;
        self.notices.push(StateNotice::Voting(false));
        self.begin(now, executor);
    }

    fn begin<A: Application>(&mut self, now: Now, executor: &Executor<A>) {
        self.behind = None;
        self.transfer.begin(now, executor.told(), self.least(executor));
    }

    /// The lowest position at which a state is of use.
    fn least<A: Application>(&self, executor: &Executor<A>) -> Position {
        let stable = Position(executor.stable().0.0 * u64::from(self.pillars));
        if executor.is_halted() { stable } else { stable.max(Position(executor.position().0 + 1)) }
    }

    /// What is due after the executor has run. True when it has something new to do.
    pub(crate) fn step<A: Application>(
        &mut self,
        now: Now,
        executor: &mut Executor<A>,
        out: &mut ExecutorOutbox,
    ) -> bool {
        let instant = now.instant;
        self.transfer.stands(instant, executor.position());
        let due = if executor.is_halted() { Vec::new() } else { self.transfer.due(instant) };
        if !due.is_empty() {
            let digest = executor.state_digest();
            if let Some(ticket) = self.transfer.take(instant, digest, due) {
                self.writer.write(ticket, executor.capture());
            }
        }
        while let Some((ticket, image)) = self.writer.take() {
            self.transfer.written(instant, ticket, image);
        }
        self.transfer.tick(instant);
        let installed = if self.has_caught_up(executor) {
            self.end(executor, false);
            true
        } else {
            self.install(now, executor, out)
        };
        if installed {
            // The others may have gone on by more than the window, and then come to rest: nobody would tell again.
            self.behind();
        } else if !self.is_open() {
            self.look_behind(now, executor);
        }
        self.notices.extend(self.transfer.asked_anew().then_some(StateNotice::Transferring));
        installed
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let stuck = self.behind.flatten().filter(|_| !self.is_open()).map(|since| since + self.patience);
        stuck.into_iter().chain(self.transfer.next_deadline()).min()
    }

    pub(crate) fn notices(&mut self) -> std::vec::Drain<'_, StateNotice> {
        self.notices.drain(..)
    }

    /// What is to be sent, and over which pillar's link.
    pub(crate) fn outputs(&mut self) -> impl Iterator<Item = (PillarId, ReplicaId, TransferMessage)> {
        let Self { transfer, links, pillars, .. } = self;
        transfer.outputs().map(|(to, message)| {
            *links = (*links + 1) % *pillars;
            (PillarId(*links), to, message)
        })
    }

    pub(crate) fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let (asker, donor) = self.transfer.counters();
        [
            ("divergences", self.divergences),
            ("transfers_started", asker.started),
            ("transfers_installed", asker.installed),
            ("transfers_failed", asker.failed),
            ("transfers_retargeted", asker.retargeted),
            ("transfer_chunks_taken", asker.chunks),
            ("transfer_chunks_reused", asker.reused),
            ("transfer_chunks_refused", asker.refused),
            ("transfer_donors_switched", asker.switched),
            ("snapshots_taken", donor.snapshots),
            ("transfer_chunks_sent", donor.chunks),
        ]
        .into_iter()
    }

    /// Takes over the state that has come: for merge, client table, application and all pillars, or not at all.
    fn install<A: Application>(
        &mut self,
        now: Now,
        executor: &mut Executor<A>,
        out: &mut ExecutorOutbox,
    ) -> bool {
        let Some((told, chunks)) = self.transfer.complete() else { return false };
        // The stable round has moved on since, but this is what the others' further slots continue from.
        let needed = executor.is_halted() || told.position > executor.position();
        if needed && let Err(error) = executor.install((told.position, told.digest), &chunks, out) {
            tracing::error!(%error, position = %told.position, "a transferred state can't be taken over");
            self.transfer.failed(now.instant);
            return false;
        }
        if needed {
            tracing::warn!(position = %told.position, "took over the state of other replicas");
            out.floors.extend(executor.floors());
        }
        self.end(executor, needed);
        true
    }

    /// Whether this replica has come, without the transfer, to where f+1 replicas are known to be.
    fn has_caught_up<A: Application>(&self, executor: &Executor<A>) -> bool {
        if !self.is_open() || executor.is_halted() {
            return false;
        }
        let told = executor.told_by_some_correct().0 * u64::from(self.pillars);
        told > 0 && executor.position().0 >= told
    }

    fn end<A: Application>(&mut self, executor: &Executor<A>, installed: bool) {
        self.transfer.close(installed);
        if installed {
            mark!("transfer: installed");
        } else {
            mark!("transfer: caught up without it");
        }
        let executed: Vec<Seq> =
            (0..self.pillars).map(|pillar| executor.executed(PillarId(pillar))).collect();
        self.notices.push(StateNotice::Installed(executed.into()));
        if std::mem::take(&mut self.silenced) {
            self.notices.push(StateNotice::Voting(true));
        }
    }
}
