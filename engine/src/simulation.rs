//! A replica without sockets, threads and clocks, for the simulator: the very `Node`s and `Seat` that run in production,
//! bytes in and bytes out. What its threads would race for, the simulator picks.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use hypostyle_app_api::{Application, ClientId, Digest, Instant, Now, PillarId, Position, ReplicaId, Round};
use hypostyle_crypto::{Identity, Keyring, Pool, Session};
use hypostyle_pillars::message::{FrameLimits, Nonce, PeerFrame};
use hypostyle_pillars::{Decided, Evidence, Progress, Source, Target};

use crate::config::{ClusterConfig, Replies};
use crate::executor::Executor;
use crate::node::{ExecutorInput, ExecutorReport, Node, NodeOutput, PeerMessage, SiblingInput};
use crate::order_log::OrderEntry;
use crate::replica::Seat;

pub use crate::reply::CLIENT_FRAME;

/// All of a replica that decides.
pub struct Member<A: Application> {
    workers: Vec<Worker>,
    seat: Seat<A>,
    /// Whether the executor has a thread and mailbox of its own; else the first worker executes.
    apart: bool,
    mail: VecDeque<ExecutorInput>,
    /// Whether the executor left something to do.
    executes: bool,
    outputs: Vec<MemberOutput>,
}

/// What a member wants done or has done, in order.
#[derive(Clone, Debug)]
pub enum MemberOutput {
    /// The payload of a frame on a pillar's links.
    ToPeers {
        /// Whose links.
        pillar: PillarId,
        /// To whom.
        to: Target,
        /// Type byte and message.
        payload: Bytes,
    },
    /// The payload of a frame on a client's connection to a pillar.
    ToClient {
        /// Whose connection.
        pillar: PillarId,
        /// To whom.
        client: ClientId,
        /// Type byte and reply.
        payload: Bytes,
    },
    /// A connection is to be closed: its other end has proved to be faulty.
    Close {
        /// On which pillar.
        pillar: PillarId,
        /// The other end.
        source: Source,
        /// Why.
        reason: &'static str,
    },
    /// A pillar has decided a slot.
    Decided(Decided),
}

struct Worker {
    node: Node,
    mail: VecDeque<Mail>,
    /// Whether its last turn left something to do, or something has come since.
    ready: bool,
}

enum Mail {
    Sibling(SiblingInput),
    Report(ExecutorReport),
}

/// Operations executed in a turn.
const BUDGET: usize = 256;

impl<A: Application> Member<A> {
    /// A replica at its start: pillar p belongs to worker p mod `workers`.
    ///
    /// # Panics
    /// When the configuration is not valid.
    #[must_use]
    pub fn new(
        cluster: &ClusterConfig,
        me: ReplicaId,
        identity: &Arc<Identity>,
        keyring: &Arc<Keyring>,
        application: A,
        (workers, apart): (usize, bool),
    ) -> Self {
        let pool = Pool::new(0, Arc::clone(keyring), Arc::clone(identity));
        let singly = cluster.replies == Replies::Each;
        let worker = |worker: usize| {
            let own = (0..cluster.pillars).filter(|pillar| usize::from(*pillar) % workers == worker);
            let configs = own.map(|pillar| cluster.pillar_config(me, PillarId(pillar))).collect();
            let node = Node::new(configs, &pool, usize::from(cluster.bundle), singly, Arc::new(|| {}));
            Worker { node, mail: VecDeque::new(), ready: true }
        };
        Self {
            workers: (0..workers).map(worker).collect(),
            seat: Seat::new(cluster, me, application, workers, None),
            apart,
            mail: VecDeque::new(),
            executes: false,
            outputs: Vec::new(),
        }
    }

    /// Begins as a replica that was started before and has forgotten all of it; the nonce is this start's own.
    pub fn recover(&mut self, now: Now, nonce: Nonce) {
        self.seat.recovers();
        self.workers.iter_mut().for_each(|worker| worker.node.recover(now, nonce));
    }

    /// Whether it may not vote yet.
    #[must_use]
    pub fn is_recovering(&self) -> bool {
        self.workers.iter().any(|worker| worker.node.recovery().is_some())
    }

    /// The payload of a frame from a peer.
    ///
    /// # Errors
    /// Why the connection is to be closed.
    pub fn peer_frame(
        &mut self,
        now: Now,
        pillar: PillarId,
        from: ReplicaId,
        payload: &Bytes,
    ) -> Result<(), &'static str> {
        into_result(self.wake(pillar).node.peer_frame(now, pillar, from, payload))
    }

    /// The payload of a frame from a client.
    ///
    /// # Errors
    /// Why the connection is to be closed.
    pub fn client_frame(
        &mut self,
        now: Now,
        pillar: PillarId,
        client: ClientId,
        payload: &[u8],
    ) -> Result<(), &'static str> {
        into_result(self.wake(pillar).node.client_frame(now, pillar, client, payload))
    }

    /// The link to a peer came up.
    pub fn connected(&mut self, now: Now, pillar: PillarId, peer: ReplicaId) {
        self.wake(pillar).node.connected(now, pillar, peer);
    }

    /// A client's connection came up; both ends have derived these keys.
    pub fn client_connected(&mut self, now: Now, pillar: PillarId, client: ClientId, session: Session) {
        self.wake(pillar).node.client_connected(now, pillar, client, session);
    }

    /// Whether clients are to wait.
    #[must_use]
    pub fn is_congested(&self, pillar: PillarId) -> bool {
        self.workers[pillar.index() % self.workers.len()].node.is_congested()
    }

    /// The turns of all threads, in an order that `pick` chooses (one of so many), until all would sleep.
    pub fn turn(&mut self, now: Now, pick: &mut dyn FnMut(usize) -> usize) {
        self.workers.iter_mut().for_each(|worker| worker.ready = true);
        self.executes = true;
        loop {
            let executor = self.apart && (self.executes || !self.mail.is_empty());
            let ready = self.workers.iter().filter(|worker| worker.ready).count();
            let choices = ready + usize::from(executor);
            let picked = match choices {
                0 => return,
                1 => 0,
                _ => pick(choices),
            };
            let mut ready = self.workers.iter().enumerate().filter(|(_, worker)| worker.ready);
            match ready.nth(picked).map(|(index, _)| index) {
                Some(index) => self.worker_turn(now, index),
                None => self.execute(now),
            }
        }
    }

    /// When a turn is due without any input.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let workers = self.workers.iter().filter_map(|worker| worker.node.next_deadline());
        workers.chain(self.seat.next_deadline()).min()
    }

    /// Takes what it wants done.
    pub fn outputs(&mut self) -> std::vec::Drain<'_, MemberOutput> {
        self.outputs.drain(..)
    }

    /// Where each pillar stands.
    pub fn progress(&self) -> impl Iterator<Item = Progress> {
        self.workers.iter().flat_map(|worker| worker.node.progress())
    }

    /// The executor.
    #[must_use]
    pub fn executor(&self) -> &Executor<A> {
        self.seat.executor()
    }

    /// Position, and the state's digest there.
    pub fn state(&mut self) -> (Position, Digest) {
        self.seat.state()
    }

    /// The stable round and its digest.
    #[must_use]
    pub fn stable(&self) -> (Round, Digest) {
        self.seat.executor().stable()
    }

    /// What was executed from this position on, as far as it is remembered.
    pub fn order_from(&self, position: Position) -> impl Iterator<Item = &OrderEntry> {
        self.seat.order_from(position)
    }

    /// How often replicas have contradicted themselves under their signatures.
    #[must_use]
    pub fn equivocations(&self) -> u64 {
        self.workers.iter().flat_map(|worker| worker.node.counters.equivocations()).sum()
    }

    /// The first evidence that each pillar has against each replica.
    pub fn evidence(&self) -> impl Iterator<Item = &Evidence> {
        self.workers.iter().flat_map(|worker| worker.node.evidence())
    }

    /// What was refused, by "replica 2: reason".
    pub fn refusals(&self) -> impl Iterator<Item = (String, u64)> {
        self.workers.iter().flat_map(|worker| worker.node.counters.refusals())
    }

    fn wake(&mut self, pillar: PillarId) -> &mut Worker {
        let index = pillar.index() % self.workers.len();
        &mut self.workers[index]
    }

    fn worker_turn(&mut self, now: Now, index: usize) {
        let worker = &mut self.workers[index];
        while let Some(mail) = worker.mail.pop_front() {
            worker.take(now, mail);
        }
        worker.node.take_finished(now);
        worker.node.tick(now);
        self.route(index);
        let mut more = false;
        if !self.apart && index == 0 {
            while let Some(input) = self.mail.pop_front() {
                self.seat.take(now, input);
            }
            self.execute(now);
            more = self.executes;
            // What concerns this worker itself takes no mail.
            while let Some(mail) = self.workers[0].mail.pop_front() {
                self.workers[0].take(now, mail);
            }
        }
        self.workers[index].node.seal(now);
        self.route(index);
        let worker = &mut self.workers[index];
        drop(worker.node.spent_replies());
        let executable = !self.apart && !self.mail.is_empty();
        worker.ready = more || worker.node.is_busy() || !worker.mail.is_empty();
        self.workers[0].ready |= executable;
    }

    fn execute(&mut self, now: Now) {
        while let Some(input) = self.mail.pop_front() {
            self.seat.take(now, input);
        }
        self.executes = self.seat.run(now, BUDGET);
        for (index, report) in self.seat.reports() {
            self.workers[index].post(Mail::Report(report));
        }
    }

    fn route(&mut self, index: usize) {
        let (before, rest) = self.workers.split_at_mut(index);
        let Some((worker, after)) = rest.split_first_mut() else { return };
        for output in worker.node.outputs() {
            self.outputs.push(match output {
                NodeOutput::ToPeers { pillar, to, message } => {
                    MemberOutput::ToPeers { pillar, to, payload: encode(&message) }
                }
                NodeOutput::ToClient { pillar, client, frame } => {
                    MemberOutput::ToClient { pillar, client, payload: frame.into() }
                }
                NodeOutput::Close { pillar, source, reason } => {
                    MemberOutput::Close { pillar, source, reason }
                }
                NodeOutput::ToExecutor(input) => {
                    let decided = match &input {
                        ExecutorInput::Decided(decided) => Some(MemberOutput::Decided(decided.clone())),
                        _ => None,
                    };
                    self.mail.push_back(input);
                    match decided {
                        Some(decided) => decided,
                        None => continue,
                    }
                }
                // For a log.
                NodeOutput::Recovery(_) => continue,
                NodeOutput::ToSiblings(input) => {
                    let others = before.iter_mut().chain(after.iter_mut());
                    others.for_each(|other| other.post(Mail::Sibling(input)));
                    continue;
                }
            });
        }
    }
}

impl Worker {
    fn take(&mut self, now: Now, mail: Mail) {
        match mail {
            Mail::Sibling(input) => self.node.sibling(now, input),
            Mail::Report(report) => self.node.executor_report(now, report),
        }
    }

    fn post(&mut self, mail: Mail) {
        self.mail.push_back(mail);
        self.ready = true;
    }
}

/// What a frame between the replicas of a cluster may hold.
#[must_use]
pub fn frame_limits(cluster: &ClusterConfig) -> FrameLimits {
    cluster.pillar_config(ReplicaId(0), PillarId(0)).frame_limits()
}

fn into_result(flow: ControlFlow<&'static str>) -> Result<(), &'static str> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(reason) => Err(reason),
    }
}

fn encode(message: &PeerMessage) -> Bytes {
    let (kind, bytes) = match message {
        PeerMessage::Body(body) => (PeerFrame::BODY, body.bytes()),
        PeerMessage::Bundle(bundle) => (PeerFrame::BUNDLE, bundle.bytes()),
        PeerMessage::Request(request) => (PeerFrame::REQUEST, request.bytes()),
        PeerMessage::Recover(recover) => (PeerFrame::RECOVER, recover.bytes()),
        PeerMessage::Declared(declared) => declared.frame(),
        PeerMessage::Transfer(message) => {
            return [&[PeerFrame::TRANSFER], &message.encode()[..]].concat().into();
        }
        PeerMessage::Status(status) => {
            let mut bytes = vec![PeerFrame::STATUS];
            status.encode(&mut bytes);
            return bytes.into();
        }
    };
    [&[kind], &bytes[..]].concat().into()
}
