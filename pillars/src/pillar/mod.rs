//! The core of one pillar: state, dispatch and deadlines. What it does in the normal case is in `ordering`, what it
//! lets in is in `admit`, how it keeps pace with the others in `pace`, how it repairs what the network lost in `resend`.
//! When it blames its primary is in `blame`, how it then leaves its view in `view_change`, how it enters one in `new_view`.

mod admit;
mod blame;
mod new_view;
mod ordering;
mod outline;
mod pace;
mod recovering;
mod resend;
mod tags;
mod view_change;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hypostyle_app_api::{Digest, Instant, Now, Number, PillarId, ReplicaId, Round, Seq, View};
use hypostyle_probe::{Bug, bug, mark};

pub use admit::{Admission, Source};

use crate::batches::Batches;
use crate::clients::Clients;
use crate::evidence::Evidence;
use crate::log::Log;
use crate::marks::Marks;
use crate::message::{Body, Kind, Message, NewView, SealedBundle, Statement};
use crate::outbox::{CheckpointVote, Executed, Input, Output, SignerProgress, Stable, Target};
use crate::passed::PassedOn;
use crate::recovers::PendingRecovers;
use crate::requests::PendingRequests;
use crate::slot::Slot;
use crate::{Config, Rejected};
use blame::Blame;
use pace::Pace;
use resend::Resend;
use tags::Doubt;
use view_change::Views;

/// One independent PBFT instance of one replica: a value that is stepped. It reads no clock and knows no socket.
#[derive(Clone, Debug)]
pub struct Pillar {
    config: Config,
    view: View,
    log: Log,
    /// All slots up to this one are decided.
    frontier: Seq,
    /// All slots up to this one are accepted in this view, or decided.
    accepted: Seq,
    /// The highest slot this replica proposed as primary.
    proposed: Seq,
    /// h: the stable round, and 2f+1 checkpoint statements for it.
    stable: Option<Stable>,
    /// All own slots up to this one are executed.
    executed: Seq,
    /// The own latest checkpoint statement, sealed.
    checkpoint: Option<(Round, Arc<SealedBundle>)>,
    clients: Clients,
    batches: Batches,
    passed: PassedOn,
    signer: SignerProgress,
    /// What the signer had been given when the next batch began to gather.
    gathers_from: Option<u64>,
    pending: PendingRequests,
    recovers: PendingRecovers,
    /// Bodies of the primary that came before their proposals.
    early: VecDeque<(Instant, Arc<Body>)>,
    /// What can't be checked here of bodies that are kept, by digest.
    doubts: BTreeMap<Digest, Vec<Doubt>>,
    marks: Marks,
    empty: Arc<Body>,
    pace: Pace,
    resend: Resend,
    views: Views,
    blame: Blame,
    /// When a proposal that lies in this replica's future may be accepted.
    clock_allows: Option<Instant>,
    /// Whether the executor takes its state from peers.
    transferring: bool,
    /// Whether this replica may say anything.
    voting: bool,
    /// While it may not: the latest checkpoint that it would have stated.
    unsaid_checkpoint: Option<(Round, Digest)>,
    /// Of slots up to this one it may have said what it has forgotten.
    forgotten_to: Seq,
    /// Whether it has voted or proposed since it started.
    has_voted: bool,
    /// The first evidence against each replica.
    evidence: Box<[Option<Evidence>]>,
    /// How often each replica has recovered.
    incarnations: Box<[u64]>,
}

/// Where a pillar stands, for `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The pillar.
    pub pillar: PillarId,
    /// Its view.
    pub view: View,
    /// Whether it is at work in that view; else it waits for the view to begin.
    pub active: bool,
    /// The primary of that view.
    pub primary: ReplicaId,
    /// All slots up to this one are decided.
    pub decided: Seq,
    /// The highest slot that is decided.
    pub decided_high: Seq,
    /// Slots accepted and not decided.
    pub in_flight: u64,
    /// Slots owed above `decided`.
    pub owed: u64,
    /// Operations waiting for a batch, or for the primary to serve them.
    pub queued: u64,
}

impl Pillar {
    /// A pillar at its start: view 0, nothing ordered.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            view: View(0),
            log: Log::new(config.replicas, config.window),
            frontier: Seq(0),
            accepted: Seq(0),
            proposed: Seq(0),
            stable: None,
            executed: Seq(0),
            checkpoint: None,
            clients: Clients::new(config.clients, config.client_window),
            batches: Batches::default(),
            passed: PassedOn::new(config.replicas),
            signer: SignerProgress::default(),
            gathers_from: None,
            pending: PendingRequests::default(),
            recovers: PendingRecovers::new(config.replicas),
            early: VecDeque::new(),
            doubts: BTreeMap::new(),
            marks: Marks::new(config.view_timeout),
            empty: Arc::new(Body::empty()),
            pace: Pace::default(),
            resend: Resend::new(&config),
            views: Views::new(config.replicas),
            blame: Blame::default(),
            clock_allows: None,
            transferring: false,
            voting: true,
            unsaid_checkpoint: None,
            forgotten_to: Seq(0),
            has_voted: false,
            evidence: vec![None; usize::from(config.replicas)].into(),
            incarnations: vec![0; usize::from(config.replicas)].into(),
            config,
        }
    }

    /// Takes one input and appends to `out` what is to be done.
    pub fn step(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        let frontier = self.frontier;
        self.marks.expire(now.instant);
        match input {
            Input::Message(message) => match message.into_inner() {
                Message::Request(request) => self.on_request(now, None, request, out),
                Message::Body(body) => {
                    self.doubts.remove(&body.digest());
                    self.on_body(now, body, out);
                }
                Message::Recover(recover) => self.on_recover(now, recover, out),
                // What this replica has said it learns from its signer only.
                Message::Bundle(bundle) if bundle.signer() == self.config.me => {}
                Message::Bundle(bundle) => self.on_bundle(now, &Arc::new(bundle.compact()), out),
                Message::ViewChange(change) if change.signer() == self.config.me => {
                    self.on_named_view_change(now, &change, out);
                }
                Message::ViewChange(change) => self.on_view_change(now, &change, out),
                Message::NewView(new_view) => {
                    self.on_new_view(now, &Arc::new(NewView::clone(&new_view).compact()), out)
                }
            },
            Input::Passed(by, message) => {
                if let Message::Request(request) = message.into_inner() {
                    self.on_request(now, Some(by), request, out);
                }
            }
            Input::Unsure(message) => self.on_unsure(now, message, out),
            Input::Mark(client) => _ = self.on_mark(now, client),
            Input::Slow => self.on_slow(out),
            Input::Declared(declared) => self.on_declared(now, declared, out),
            Input::Sealed(bundle) => self.on_bundle(now, &bundle, out),
            Input::Status(from, status) => self.on_status(now, from, &status, out),
            Input::Connected(peer) => {
                self.resend.connected(peer);
                out.push(Output::SendStatus(Target::Peer(peer), self.status()));
            }
            Input::Demand(demand) => {
                if self.pace.demand(demand) {
                    self.note_demand_above(self.frontier, out);
                }
                self.accept_ready(now, out);
            }
            Input::Checkpoint(round, digest) => self.on_own_checkpoint(round, digest, out),
            Input::Stable(stable) => self.on_stable(now, stable, out),
            Input::Executed(executed) => self.on_executed(now, &executed, out),
            Input::Transferring => self.on_transferring(out),
            Input::Installed(seq) => self.on_installed(now, seq, out),
            Input::Voting(voting) => self.on_voting(voting, out),
            Input::Incarnation(replica, incarnation) => self.on_incarnation(now, replica, incarnation),
            Input::Signer(signer) => self.signer = signer,
            Input::Tick => self.on_tick(now, out),
        }
        self.watch(now, frontier);
        self.watch_primary(now, frontier, out);
    }

    /// When [`Input::Tick`] is due next, if at all: there are no periodic ticks.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let batch = self.next_proposal().and_then(|_| self.batch_due());
        [
            batch,
            self.clock_allows,
            self.pace.next_ask(),
            self.resend.next_deadline(),
            self.blame.next_deadline(),
            self.recovers.next_ripe(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Where the pillar stands.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            pillar: self.config.pillar,
            view: self.view,
            active: self.views.active,
            primary: self.primary(),
            decided: self.frontier,
            decided_high: self.decided_high(),
            in_flight: self.accepted.0.max(self.proposed.0).saturating_sub(self.frontier.0),
            owed: self.owed_to().0.saturating_sub(self.frontier.0),
            queued: self.batches.operations() + self.passed.operations() + self.pending.len() as u64,
        }
    }

    /// Whether requests gather faster than they are ordered: time to let clients wait.
    #[must_use]
    pub fn is_congested(&self) -> bool {
        self.leads() && self.views.active && self.batches.is_half_full(&self.config)
    }

    /// The current view.
    #[must_use]
    pub fn view(&self) -> View {
        self.view
    }

    /// The pillar's share of the configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    fn decided_high(&self) -> Seq {
        let above = (self.frontier.0 + 1..=self.log.end().0).rev().map(Seq);
        let mut decided = above.filter(|seq| self.log.get(*seq).is_some_and(Slot::is_decided));
        decided.next().unwrap_or(self.frontier)
    }

    /// Says something, unless this replica has forgotten what it said before.
    fn say(&mut self, statement: Statement, out: &mut Vec<Output>) {
        let votes = statement.kind != Kind::Checkpoint;
        let forgotten = votes && statement.seq <= self.forgotten_to;
        if self.voting && !forgotten {
            self.has_voted |= votes;
            out.push(Output::Statement(statement));
        }
    }

    fn primary(&self) -> ReplicaId {
        self.config.primary(self.view)
    }

    fn leads(&self) -> bool {
        self.primary() == self.config.me
    }

    fn stable_round(&self) -> Round {
        self.stable.as_ref().map_or(Round(0), |stable| stable.round)
    }

    /// All slots up to this one need no vote any more: they are decided here, or stable. Votes need no state, so a replica
    /// that lags votes all the same.
    fn settled(&self) -> Seq {
        self.frontier.max(Seq(self.stable_round().0))
    }

    /// The highest slot that is acted on: h + L.
    fn high_watermark(&self) -> Seq {
        let window = if bug!(Bug::WindowNotEnforced) { 2 * self.config.window } else { self.config.window };
        Seq(self.stable_round().0 + window)
    }

    fn on_stable(&mut self, now: Now, stable: Stable, out: &mut Vec<Output>) {
        if stable.round <= self.stable_round() {
            return;
        }
        let (before, watermark) = (self.last_acted_on(), self.high_watermark());
        self.stable = Some(stable);
        self.pace.forget_lag();
        self.collect_garbage();
        self.note_demand_above(watermark, out);
        self.act_above(now, before, out);
        if !self.views.wanted.is_empty() {
            self.begin_view(now, out);
        }
    }

    fn on_executed(&mut self, now: Now, executed: &Executed, out: &mut Vec<Output>) {
        let before = self.last_acted_on();
        self.executed = self.executed.max(executed.seq);
        for (client, floor) in executed.floors.iter() {
            self.clients.raise(*client, *floor);
            self.pending.raise(*client, *floor);
        }
        for (client, first, count) in executed.far.iter().copied() {
            self.clients.release(client, first, count);
        }
        // Above their floors, and this pillar forgot or never saw that they were ordered.
        for (client, first, count) in executed.past.iter().copied() {
            mark!("what waited was executed");
            self.clients.take(client, first, count, Number(0));
            self.pending.discharge((client, first, count), &self.clients, &self.config);
        }
        self.pass_on_next(out);
        self.collect_garbage();
        self.act_above(now, before, out);
    }

    /// The highest slot that is decided here: within the watermark, and not more than the merge holds above what is
    /// executed.
    fn last_acted_on(&self) -> Seq {
        match self.transferring {
            true => self.high_watermark(),
            false => self.high_watermark().min(Seq(self.executed.0 + 2 * self.config.window)),
        }
    }

    fn on_transferring(&mut self, out: &mut Vec<Output>) {
        self.transferring = true;
        self.early.clear();
        self.collect_garbage();
        out.push(Output::SendStatus(Target::Peers, self.status()));
    }

    fn on_installed(&mut self, now: Now, seq: Seq, out: &mut Vec<Output>) {
        self.transferring = false;
        self.unsaid_checkpoint = None;
        // What it has stated above may have been of a state that was wrong: it will state that again.
        self.checkpoint.take_if(|(round, _)| round.0 > seq.0);
        // It may lie below what was executed, when that was found to be wrong.
        self.executed = seq;
        self.frontier = self.frontier.max(seq);
        self.collect_garbage();
        self.move_frontier();
        for seq in (self.executed.0 + 1..=self.log.end().0).map(Seq) {
            if let Some(decided) = self.log.get(seq).and_then(|slot| slot.decided(self.config.pillar, seq)) {
                out.push(Output::Decided(decided));
            }
        }
        self.act_above(now, self.executed, out);
        // What peers said above it while it lay beyond the window here.
        out.push(Output::SendStatus(Target::Peers, self.status()));
    }

    fn move_frontier(&mut self) {
        while self.log.get(Seq(self.frontier.0 + 1)).is_some_and(Slot::is_decided) {
            self.frontier.0 += 1;
        }
    }

    /// Slots that lay too high until now may be complete already.
    fn act_above(&mut self, now: Now, before: Seq, out: &mut Vec<Output>) {
        for seq in before.0 + 1..=self.log.end().0.min(self.last_acted_on().0) {
            self.advance_slot(now, Seq(seq), out);
        }
        self.accept_ready(now, out);
    }

    /// Discards up to min(stable, own executed), one window kept for laggards. The watermark moves at once; but a replica
    /// that can't execute keeps no more of what goes on above it than it will be able to decide.
    fn collect_garbage(&mut self) {
        let (stable, window) = (self.stable_round().0, self.config.window);
        let done = if self.transferring { stable } else { stable.min(self.executed.0) };
        let last = (stable + 2 * window).min(done + 4 * window);
        let first = if bug!(Bug::SlotsNeverForgotten) { 1 } else { done.saturating_sub(window) + 1 };
        self.log.slide(Seq(first), Seq(last));
        // Slots that are gone are never decided here: their outcome comes with the state.
        self.frontier = self.frontier.max(Seq(self.log.first().0 - 1));
        self.move_frontier();
        self.forget_doubts();
    }

    fn on_tick(&mut self, now: Now, out: &mut Vec<Output>) {
        let (keeps, timeout) = (bug!(Bug::EarlyBodiesKept), self.config.view_timeout);
        let past = |came: Instant| came + timeout <= now.instant && !keeps;
        while self.early.front().is_some_and(|(came, _)| past(*came)) {
            self.early.pop_front();
            self.forget_doubts();
        }
        if self.clock_allows.is_some_and(|at| at <= now.instant) {
            self.clock_allows = None;
            self.accept_ready(now, out);
        }
        self.enter_begun_view(now, out);
        self.ripen_recovers(now, out);
        self.propose(now, out);
        self.blame_primary(now, out);
        self.ask_when_stalled(now, out);
        self.remind_when_due(now, out);
        self.fetch_bodies(now, out);
        self.tell_when_quiet(now, out);
    }

    /// Checkpoint statements concern the executor; whoever signed them, any pillar passes them on.
    fn on_checkpoint(
        &mut self,
        now: Now,
        replica: ReplicaId,
        statement: &Statement,
        bundle: &Arc<SealedBundle>,
        out: &mut Vec<Output>,
    ) {
        let round = Round(statement.seq.0);
        if replica == self.config.me && self.checkpoint.as_ref().is_none_or(|(last, _)| *last < round) {
            self.checkpoint = Some((round, Arc::clone(bundle)));
            self.resend.note_activity(now.instant, &self.config);
        }
        if round > self.stable_round() {
            let vote =
                CheckpointVote { replica, round, digest: statement.digest, bundle: Arc::clone(bundle) };
            out.push(Output::CheckpointVote(vote));
        }
    }

    /// A replica has contradicted itself under its signature.
    fn accuse(&mut self, evidence: Evidence, out: &mut Vec<Output>) {
        mark!("evidence of equivocation was taken");
        let signer = evidence.signer();
        self.evidence[signer.index()].get_or_insert(evidence);
        out.push(Output::Equivocated(signer));
    }

    /// The first evidence against each replica that has contradicted itself.
    pub fn evidence(&self) -> impl Iterator<Item = &Evidence> {
        self.evidence.iter().flatten()
    }

    fn reject(&self, from: ReplicaId, reason: Rejected, out: &mut Vec<Output>) {
        out.push(Output::Rejected(from, reason));
    }

    fn is_empty_digest(&self, digest: Digest) -> bool {
        digest == self.empty.digest()
    }
}
