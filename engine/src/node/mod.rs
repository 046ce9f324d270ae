//! What one worker decides: frames in, frames out, without socket, thread or clock. The same value runs in a worker's
//! thread in production and is stepped by hand in tests.

mod clients;
mod counters;
mod exchange;
mod recovering;
mod sealer;
mod under_way;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use hypostyle_app_api::{Instant, Now, PillarId, ReplicaId};
use hypostyle_crypto::{Claim, Class, Desk, Finished, Pool, Tag, Verdict};
use hypostyle_pillars::message::{FrameLimits, Malformed, Message, PeerFrame, SealedBundle};
use hypostyle_pillars::{
    Admission, Config, Decided, Declared, Evidence, Input, Output, Pillar, Progress, Rejected, Source, Target,
};

use crate::executor::Lookup;
use crate::reply::{CLIENT_FRAME, ReplyGroup, encode_reply};
use crate::transfer::TransferMessage;
use clients::ClientSide;
pub(crate) use counters::Counters;
pub(crate) use exchange::{
    ExecutorInput, ExecutorReport, NodeOutput, PeerMessage, SiblingInput, StateNotice,
};
pub(crate) use recovering::RecoveryNews;
use recovering::{RECOVER_TICKET, Recovering};
use sealer::{SealedReplies, Sealer, SealerSettings};
use under_way::{Account, UnderWay};

/// The pillars of one worker, what they sign, and whom they answer.
pub(crate) struct Node {
    pillars: Vec<Pillar>,
    limits: FrameLimits,
    desk: Desk<Message, Context>,
    clients: ClientSide,
    under_way: UnderWay,
    sealer: Sealer,
    /// When this replica was started without its log.
    recovering: Option<Recovering>,
    /// Whether the state here was found to be wrong.
    diverged: bool,
    /// Inputs the pillars of this node have for each other.
    inputs: VecDeque<(usize, Input)>,
    outputs: Vec<NodeOutput>,
    scratch: Vec<Output>,
    /// Reply groups that were sent: the executor uses their memory again.
    spent: Vec<ReplyGroup>,
    /// Whether something happened since the last tick that may let a pillar propose: a slot was decided or is demanded,
    /// the window moved. No deadline announces it.
    ticks_again: bool,
    /// Whose signature was found not to verify while a frame was admitted.
    faulty: Option<Source>,
    pub(crate) counters: Counters,
}

/// Why a connection is to be closed.
pub(crate) type Refusal = &'static str;

const FAULTY: Refusal = "a signature does not verify";

/// Where a message that is being verified came from.
struct Context {
    pillar: usize,
    source: Source,
    account: Option<Account>,
}

/// Messages on the crypto threads beyond which clients wait.
const CRYPTO_PENDING_MAX: usize = hypostyle_crypto::DESK_MESSAGES_MAX / 2;

impl Node {
    /// A node for the pillars that `configs` describe, at their start.
    pub(crate) fn new(
        configs: Vec<Config>,
        pool: &Pool,
        bundle: usize,
        replies_singly: bool,
        wake: Arc<dyn Fn() + Send + Sync>,
    ) -> Self {
        let first = configs.first().expect("a worker has at least one pillar");
        let settings =
            SealerSettings { me: first.me, bundle, replies_singly, flights_max: pool.threads().max(1) };
        let ids: Vec<_> = configs.iter().map(|config| config.pillar).collect();
        Self {
            under_way: UnderWay::new(&first.frame_limits()),
            limits: first.frame_limits(),
            counters: Counters::new(first.replicas),
            desk: pool.desk(wake),
            clients: ClientSide::new(&configs),
            sealer: Sealer::new(settings, &ids),
            recovering: None,
            diverged: false,
            pillars: configs.into_iter().map(Pillar::new).collect(),
            inputs: VecDeque::new(),
            outputs: Vec::new(),
            scratch: Vec::new(),
            spent: Vec::new(),
            ticks_again: false,
            faulty: None,
        }
    }

    /// The payload of a frame that came over a replica's link. `Break` says why the link is to be closed.
    pub(crate) fn peer_frame(
        &mut self,
        now: Now,
        pillar: PillarId,
        from: ReplicaId,
        payload: &Bytes,
    ) -> ControlFlow<Refusal> {
        let source = Source::Peer(from);
        let Some(pillar) = self.index(pillar) else {
            return ControlFlow::Break("no such pillar here");
        };
        match PeerFrame::decode(payload, &self.limits) {
            Ok(PeerFrame::Message(message)) => self.admit(now, pillar, source, message),
            Ok(PeerFrame::Status(status)) => {
                self.step(now, pillar, Input::Status(from, status));
                ControlFlow::Continue(())
            }
            Ok(PeerFrame::Transfer(bytes)) => match TransferMessage::decode(&bytes) {
                Ok(message) => {
                    self.outputs.push(NodeOutput::ToExecutor(ExecutorInput::Transfer(from, message)));
                    ControlFlow::Continue(())
                }
                Err(malformed) => self.malformed(source, malformed),
            },
            Err(malformed) => self.malformed(source, malformed),
        }
    }

    fn malformed(&mut self, source: Source, malformed: Malformed) -> ControlFlow<Refusal> {
        self.counters.refuse(source, Rejected::Malformed);
        ControlFlow::Break(malformed.what)
    }

    /// The link to a peer came up.
    pub(crate) fn connected(&mut self, now: Now, pillar: PillarId, peer: ReplicaId) {
        if let Some(index) = self.index(pillar) {
            self.step(now, index, Input::Connected(peer));
            self.ask_peer(index, peer);
        }
    }

    /// A pillar of another worker tells all pillars.
    pub(crate) fn sibling(&mut self, now: Now, input: SiblingInput) {
        for index in 0..self.pillars.len() {
            self.step(now, index, input.into());
        }
    }

    /// What the executor has done.
    pub(crate) fn executor_report(&mut self, now: Now, report: ExecutorReport) {
        self.reply(report.replies);
        for (pillar, executed) in report.executed {
            if let Some(index) = self.index(pillar) {
                self.step(now, index, Input::Executed(executed));
            }
        }
        for notice in report.notices {
            if let StateNotice::Voting(voting) = notice {
                self.diverged = !voting;
            }
            for index in 0..self.pillars.len() {
                let input = match &notice {
                    StateNotice::Transferring => Input::Transferring,
                    StateNotice::Installed(seqs) => {
                        Input::Installed(seqs[self.pillars[index].config().pillar.index()])
                    }
                    StateNotice::Voting(voting) => Input::Voting(*voting && self.recovery().is_none()),
                };
                self.step(now, index, input);
            }
            self.ticks_again = true;
        }
        for (pillar, to, message) in report.transfer {
            let message = PeerMessage::Transfer(message);
            self.outputs.push(NodeOutput::ToPeers { pillar, to: Target::Peer(to), message });
        }
        for (pillar, round, digest) in report.checkpoints {
            if let Some(index) = self.index(pillar) {
                self.step(now, index, Input::Checkpoint(round, digest));
            }
        }
        for pillar in report.slow {
            if let Some(index) = self.index(pillar) {
                self.step(now, index, Input::Slow);
            }
        }
        for stable in report.stable {
            for index in 0..self.pillars.len() {
                self.step(now, index, Input::Stable(stable.clone()));
            }
        }
        for (replica, record, until) in report.recovered {
            self.on_recovered(now, replica, &record, until);
        }
        report.held.into_iter().for_each(|round| self.on_held(round));
    }

    /// Takes back what was verified and signed, by other threads too.
    pub(crate) fn take_finished(&mut self, now: Now) {
        while let Some(finished) = self.desk.finished() {
            match finished {
                Finished::Verified { context, verdict } => {
                    self.under_way.end(context.account);
                    self.judged(now, context, verdict);
                }
                Finished::Signed { ticket: RECOVER_TICKET, signature } => self.recover_signed(&signature),
                Finished::Signed { ticket, signature } => self.signed(now, ticket, signature),
            }
        }
    }

    fn judged(&mut self, now: Now, context: Context, verdict: Verdict<Message>) {
        let Context { pillar, source, .. } = context;
        let input = match (verdict, source) {
            (Verdict::Verified(message), Source::Peer(by)) if matches!(*message, Message::Request(_)) => {
                Input::Passed(by, message)
            }
            (Verdict::Verified(message), _) => Input::Message(message),
            (Verdict::Unsure(message), Source::Peer(_)) => Input::Unsure(message),
            (Verdict::Unsure(message), Source::Client(client)) => {
                if let (Message::Request(request), _) = message.into_parts() {
                    self.refuse_tags(pillar, client, request.first());
                }
                return;
            }
            (Verdict::Refused(_), _) => {
                // Replicas pass on only what they have verified, and connections are authenticated: whoever sent this
                // is faulty.
                self.counters.refuse(source, Rejected::BadSignature);
                let pillar = self.pillars[pillar].config().pillar;
                self.outputs.push(NodeOutput::Close { pillar, source, reason: FAULTY });
                self.faulty = Some(source);
                return;
            }
        };
        self.step(now, pillar, input);
    }

    /// The end of a turn: batches are cut, owed slots proposed.
    pub(crate) fn tick(&mut self, now: Now) {
        self.ticks_again = false;
        self.drive_recovery(now);
        for index in 0..self.pillars.len() {
            if let Some(progress) = self.sealer.progress() {
                self.step(now, index, Input::Signer(progress));
            }
            self.step(now, index, Input::Tick);
        }
    }

    /// Puts what waits under seals, if the signer is free.
    pub(crate) fn seal(&mut self, now: Now) {
        // Once a turn: what this completes gathers with what the next turn reads.
        if let Some((ticket, content)) = self.sealer.next() {
            self.desk.sign(Tag::Seal, content, ticket);
            self.take_finished(now);
        }
    }

    /// Whether a turn would find something to do without any new input.
    pub(crate) fn is_busy(&self) -> bool {
        self.sealer.is_ready() || self.ticks_again
    }

    /// Reply groups that were sent.
    pub(crate) fn spent_replies(&mut self) -> std::vec::Drain<'_, ReplyGroup> {
        self.spent.drain(..)
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let recovery = self.recovering.as_ref().and_then(Recovering::next_deadline);
        self.pillars.iter().filter_map(Pillar::next_deadline).chain(recovery).min()
    }

    /// Takes what is to be done.
    pub(crate) fn outputs(&mut self) -> std::vec::Drain<'_, NodeOutput> {
        self.outputs.drain(..)
    }

    pub(crate) fn progress(&self) -> impl Iterator<Item = Progress> {
        self.pillars.iter().map(Pillar::progress)
    }

    /// Verifications, signatures, and verifications saved because the same claim had been verified.
    pub(crate) fn crypto_counters(&self) -> (u64, u64, u64) {
        self.desk.counters()
    }

    /// Whether clients should wait: requests gather faster than they are verified or ordered.
    pub(crate) fn is_congested(&self) -> bool {
        self.desk.pending() > CRYPTO_PENDING_MAX || self.pillars.iter().any(Pillar::is_congested)
    }

    fn index(&self, pillar: PillarId) -> Option<usize> {
        self.pillars.iter().position(|p| p.config().pillar == pillar)
    }

    /// Breaks when the message proves its sender faulty: nothing more is read from it.
    fn admit(&mut self, now: Now, pillar: usize, source: Source, message: Message) -> ControlFlow<Refusal> {
        // What crypto threads found ended a connection that may be a new one by now.
        self.faulty = None;
        match self.pillars[pillar].admit(source, &message) {
            Admission::Verify => self.verify(now, pillar, source, message),
            Admission::Drop(reason) => match (reason, source, &message) {
                (Rejected::Unsigned, Source::Client(client), Message::Request(request)) => {
                    self.refuse_tags(pillar, client, request.first());
                }
                _ => self.counters.refuse(source, reason),
            },
            Admission::Lookup => {
                if let Message::Request(request) = &message {
                    let lookup = Lookup::of(request, self.pillars[pillar].config().pillar);
                    self.outputs.push(NodeOutput::ToExecutor(ExecutorInput::Lookup(lookup)));
                }
            }
        }
        match self.faulty.take() {
            Some(faulty) if faulty == source => ControlFlow::Break(FAULTY),
            _ => ControlFlow::Continue(()),
        }
    }

    fn verify(&mut self, now: Now, pillar: usize, source: Source, message: Message) {
        let replicas = u32::try_from(self.counters.replicas()).expect("n fits 16 bits");
        let account = match source {
            Source::Peer(replica) => u32::from(replica.0),
            Source::Client(client) => replicas.saturating_add(client.0),
        };
        let class = match message {
            Message::Bundle(_) | Message::ViewChange(_) | Message::NewView(_) | Message::Recover(_) => {
                Class::Seal
            }
            Message::Request(_) | Message::Body(_) => Class::Client,
        };
        let Ok(large) = self.under_way.begin(pillar, source, &message) else {
            return self.counters.refuse(source, Rejected::Full);
        };
        let clients = &self.clients;
        let tags = |claim: &Claim<'_>| clients.holds(now, pillar, claim);
        let context = Context { pillar, source, account: large };
        if self.desk.verify_with(account, class, message, context, tags) {
            self.take_finished(now);
        } else {
            self.under_way.end(large);
            self.counters.refuse(source, Rejected::Full);
        }
    }

    /// Steps a pillar, and those of its siblings that this concerns, until nothing is left.
    fn step(&mut self, now: Now, pillar: usize, input: Input) {
        let mut next = Some((pillar, input));
        while let Some((index, input)) = next {
            self.ticks_again |= matches!(input, Input::Stable(_));
            let mut outputs = std::mem::take(&mut self.scratch);
            self.pillars[index].step(now, input, &mut outputs);
            outputs.drain(..).for_each(|output| self.dispatch(index, output));
            self.scratch = outputs;
            next = self.inputs.pop_front();
        }
    }

    fn dispatch(&mut self, index: usize, output: Output) {
        let pillar = self.pillars[index].config().pillar;
        let to_peers = |to, message| NodeOutput::ToPeers { pillar, to, message };
        let output = match output {
            Output::Statement(statement) => return self.sealer.statement(index, statement),
            Output::Declare(declaration) => {
                self.counters.declarations += 1;
                return self.sealer.declare(index, declaration);
            }
            Output::SendDeclared(to, declared) => to_peers(Target::Peer(to), PeerMessage::Declared(declared)),
            Output::Entered(view) => {
                self.ticks_again = true;
                self.counters.views_entered += 1;
                NodeOutput::ToExecutor(ExecutorInput::Entered(pillar, view))
            }
            Output::Mark(client) => self.tell_siblings(index, SiblingInput::Mark(client)),
            Output::Equivocated(replica) => return self.equivocated(index, replica),
            Output::Rejected(replica, reason) => return self.counters.refuse(Source::Peer(replica), reason),
            Output::SendBody(to, body) => to_peers(to, PeerMessage::Body(body)),
            Output::SendBundle(to, bundle) => to_peers(Target::Peer(to), PeerMessage::Bundle(bundle)),
            Output::SendStatus(to, status) => to_peers(to, PeerMessage::Status(status)),
            Output::SendRecover(to, recover) => to_peers(to, PeerMessage::Recover(recover)),
            Output::Forward(to, request) => {
                let awaited = ExecutorInput::Awaited(Lookup::of(&request, pillar));
                self.outputs.push(NodeOutput::ToExecutor(awaited));
                to_peers(Target::Peer(to), PeerMessage::Request(request))
            }
            Output::Lag(lag) => NodeOutput::ToExecutor(ExecutorInput::Lag(pillar, lag)),
            Output::CheckpointVote(vote) => NodeOutput::ToExecutor(ExecutorInput::CheckpointVote(vote)),
            Output::CheckpointProven(proven) => {
                NodeOutput::ToExecutor(ExecutorInput::CheckpointProven(proven))
            }
            Output::Decided(decided) => {
                self.ticks_again = true;
                self.count_decided(&decided);
                NodeOutput::ToExecutor(ExecutorInput::Decided(decided))
            }
            Output::Demand(demand) => {
                self.ticks_again = true;
                self.tell_siblings(index, SiblingInput::Demand(demand))
            }
        };
        self.outputs.push(output);
    }

    /// The siblings here hear it at once; the rest is for the other workers.
    fn tell_siblings(&mut self, index: usize, input: SiblingInput) -> NodeOutput {
        let siblings = (0..self.pillars.len()).filter(|sibling| *sibling != index);
        self.inputs.extend(siblings.map(|sibling| (sibling, input.into())));
        NodeOutput::ToSiblings(input)
    }

    fn equivocated(&mut self, index: usize, replica: ReplicaId) {
        let is_first = self.counters.equivocated(replica);
        let evidence = self.pillars[index].evidence().find(|evidence| evidence.signer() == replica);
        if let Some(evidence) = evidence.filter(|_| is_first) {
            tracing::error!(%replica, pillar = %evidence.pillar(), %evidence, "a replica contradicts itself under its signature: it is faulty, or was started again without its log");
        }
    }

    /// The first evidence that each pillar has against each replica.
    pub(crate) fn evidence(&self) -> impl Iterator<Item = &Evidence> {
        self.pillars.iter().flat_map(Pillar::evidence)
    }

    fn count_decided(&mut self, decided: &Decided) {
        if decided.body.is_empty() {
            self.counters.empty_slots += 1;
        } else {
            self.counters.batches += 1;
            self.counters.batched_operations += u64::from(decided.body.operation_count());
        }
    }

    fn signed(&mut self, now: Now, ticket: u64, signature: Bytes) {
        // A batch may have waited for just this.
        self.ticks_again |= self.sealer.progress().is_some();
        for sealed in self.sealer.signed(ticket, signature) {
            self.counters.seals += 1;
            for (pillar, declared) in sealed.declared {
                self.send_declared(now, pillar, declared);
            }
            for bundle in sealed.bundles {
                self.send_bundle(now, bundle);
            }
            if let Some(replies) = sealed.replies {
                self.send_replies(&replies);
                self.spent.extend(replies.groups);
            }
        }
    }

    fn send_declared(&mut self, now: Now, pillar: PillarId, declared: Declared) {
        self.counters.seal_entries += 1;
        let message = PeerMessage::Declared(declared.clone());
        self.outputs.push(NodeOutput::ToPeers { pillar, to: Target::Peers, message });
        let index = self.index(pillar).expect("own declarations are of own pillars");
        self.step(now, index, Input::Declared(declared));
    }

    fn send_bundle(&mut self, now: Now, bundle: SealedBundle) {
        self.counters.bundles += 1;
        self.counters.seal_entries += 1;
        self.counters.statements += bundle.statements().len() as u64;
        let (pillar, bundle) = (bundle.pillar(), Arc::new(bundle));
        let message = PeerMessage::Bundle(Arc::clone(&bundle));
        self.outputs.push(NodeOutput::ToPeers { pillar, to: Target::Peers, message });
        let index = self.index(pillar).expect("own bundles are of own pillars");
        self.step(now, index, Input::Sealed(bundle));
    }

    fn send_replies(&mut self, replies: &SealedReplies) {
        self.counters.seal_entries += 1;
        self.counters.reply_groups += replies.groups.len() as u64;
        for (index, group) in replies.groups.iter().enumerate() {
            let mut frame = vec![CLIENT_FRAME];
            encode_reply(group, index, &replies.tree, &replies.seal, &mut frame);
            self.outputs.push(NodeOutput::ToClient { pillar: group.pillar(), client: group.client(), frame });
        }
    }
}

#[cfg(test)]
mod tests;
