//! A cluster of nodes and executors in one thread: no socket and no clock. What replicas send lies in flight until the
//! test delivers it, changes it, or loses it.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hypostyle_app_api::{
    Application, ClientId, Digest, Instant, Now, Number, PillarId, Position, ReplicaId, Timestamp,
};
use hypostyle_crypto::{Identity, Keyring, Pool, Session, Signer, SigningKey, Suite};
use hypostyle_pillars::message::{Nonce, PeerFrame, encode_request};
use hypostyle_pillars::{Progress, Rejected, Target};

use super::super::{Node, NodeOutput, PeerMessage, RecoveryNews, Refusal};
use crate::config::{ClusterConfig, Replies};
use crate::order_log::OrderEntry;
use crate::recovery::Phase;
use crate::replica::Seat;
use crate::reply::{CLIENT_FRAME, HINT_FRAME, ReplyMessage, TAGGED_FRAME};
use crate::status::PartialStatus;

/// n replicas with real keys, each with one worker that does everything inline.
pub(super) struct Stepped<A: Application> {
    pub(super) config: ClusterConfig,
    now: Now,
    members: Vec<Member<A>>,
    keyring: Arc<Keyring>,
    replicas: Vec<Arc<Identity>>,
    clients: Vec<Identity>,
    flight: VecDeque<Frame>,
    told: Told,
}

/// What left for clients and the log, by whom.
#[derive(Default)]
struct Told {
    replies: Vec<ReplyMessage>,
    /// Requests whose clients were asked to sign them.
    hints: Vec<(ReplicaId, ClientId, Number)>,
    news: Vec<(ReplicaId, RecoveryNews)>,
}

struct Member<A: Application> {
    node: Node,
    seat: Seat<A>,
}

/// The payload of a frame between replicas.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) from: ReplicaId,
    pub(super) to: ReplicaId,
    pub(super) pillar: PillarId,
    pub(super) payload: Bytes,
}

impl Frame {
    pub(super) fn is_body(&self) -> bool {
        self.payload[0] == PeerFrame::BODY
    }

    pub(super) fn is_recover(&self) -> bool {
        self.payload[0] == PeerFrame::RECOVER
    }

    pub(super) fn is_bundle(&self) -> bool {
        self.payload[0] == PeerFrame::BUNDLE
    }

    /// The same with one bit changed, counted from the first of the first byte.
    pub(super) fn flipped(&self, bit: usize) -> Self {
        let mut payload = self.payload.to_vec();
        payload[bit / 8] ^= 1 << (bit % 8);
        Self { payload: payload.into(), ..self.clone() }
    }

    pub(super) fn bits(&self) -> usize {
        8 * self.payload.len()
    }
}

/// Operations executed in a turn.
const BUDGET: usize = 1024;

impl<A: Application> Stepped<A> {
    /// A cluster of `replicas` with two clients and Ed25519 keys, all links up, nothing in flight.
    pub(super) fn new(
        replicas: u16,
        configure: impl FnOnce(&mut ClusterConfig),
        mut make: impl FnMut() -> A,
    ) -> Self {
        let keys = |count: u16| (0..count).map(|_| SigningKey::generate(Suite::Ed25519)).collect::<Vec<_>>();
        let (replica_keys, client_keys) = (keys(replicas), keys(2));
        let public = |keys: &[SigningKey]| keys.iter().map(SigningKey::public).collect::<Vec<_>>();
        let address = |port: u16| ([127, 0, 0, 1], port).into();
        let addresses: Vec<_> =
            (1..=replicas).map(|port| (address(port), address(port + replicas))).collect();
        let mut config = ClusterConfig::local(&addresses, &public(&replica_keys), &public(&client_keys));
        configure(&mut config);
        config.validate().unwrap();
        let identities = (0..).map(ReplicaId).zip(replica_keys).map(|(id, key)| {
            let signer = Signer::Replica(id);
            Arc::new(Identity::new(signer, key, config.domain()))
        });
        let replicas: Vec<_> = identities.collect();
        let clients = (0..).map(ClientId).zip(client_keys);
        let clients =
            clients.map(|(id, key)| Identity::new(Signer::Client(id), key, config.domain())).collect();
        let keyring = Arc::new(config.keyring().unwrap());
        let member = |(id, identity)| Member::new(&config, &keyring, identity, id, make());
        let members = (0..).map(ReplicaId).zip(&replicas).map(member).collect();
        let now = Now { instant: Instant(1_000_000_000), wall: Timestamp(1_000_000_000) };
        let (flight, told) = (VecDeque::new(), Told::default());
        Self { config, now, members, keyring, replicas, clients, flight, told }
    }

    /// A replica's process ends and starts again without any memory; what was on its way to and from it is lost.
    pub(super) fn restart(&mut self, replica: u16, nonce: u8, application: A) {
        let id = ReplicaId(replica);
        self.flight.retain(|frame| frame.from != id && frame.to != id);
        let identity = &self.replicas[id.index()];
        let mut member = Member::new(&self.config, &self.keyring, identity, id, application);
        member.seat.recovers();
        member.node.recover(self.now, Nonce([nonce; 16]));
        self.members[id.index()] = member;
        self.connect(id);
    }

    /// All links of a replica come up.
    pub(super) fn connect(&mut self, id: ReplicaId) {
        let now = self.now;
        for pillar in (0..self.config.pillars).map(PillarId) {
            for peer in self.ids().filter(|peer| *peer != id) {
                self.members[peer.index()].node.connected(now, pillar, id);
                self.members[id.index()].node.connected(now, pillar, peer);
            }
        }
        self.ids().for_each(|id| self.turn(id));
    }

    /// What a replica told of its recovery.
    pub(super) fn news(&self, replica: u16) -> Vec<RecoveryNews> {
        self.told.news.iter().filter(|(id, _)| id.0 == replica).map(|(_, news)| *news).collect()
    }

    /// What a replica waits for before it votes.
    pub(super) fn recovery(&self, replica: u16) -> Option<(Phase, u64)> {
        self.members[usize::from(replica)].node.recovery()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = ReplicaId> + use<A> {
        (0..u16::try_from(self.members.len()).unwrap()).map(ReplicaId)
    }

    /// Whoever has this replica's key.
    pub(super) fn replica(&self, replica: u16) -> &Identity {
        &self.replicas[usize::from(replica)]
    }

    /// A request as `client` signs it.
    pub(super) fn request(&self, client: u32, first: u64, floor: u64, operation: &str) -> Bytes {
        let identity = &self.clients[client as usize];
        encode_request(identity, ClientId(client), Number(first), Number(floor), &[operation.as_bytes()])
    }

    /// A client's connection to a replica for pillar 0 comes up.
    pub(super) fn connect_client(&mut self, client: u32, to: u16, session: Session) {
        let node = &mut self.members[usize::from(to)].node;
        node.client_connected(self.now, PillarId(0), ClientId(client), session);
    }

    /// Takes what clients were asked to sign.
    pub(super) fn hints(&mut self) -> Vec<(ReplicaId, ClientId, Number)> {
        std::mem::take(&mut self.told.hints)
    }

    /// Verifications and signatures of a replica.
    pub(super) fn crypto(&self, replica: u16) -> (u64, u64) {
        let (verifications, signatures, _) = self.members[usize::from(replica)].node.crypto_counters();
        (verifications, signatures)
    }

    /// A frame on `client`'s connection to a replica for pillar 0.
    pub(super) fn client_frame(&mut self, client: u32, to: u16, payload: &[u8]) -> ControlFlow<Refusal> {
        self.pillar_frame(PillarId(0), client, to, payload)
    }

    /// A frame on `client`'s connection to a replica for a pillar.
    pub(super) fn pillar_frame(
        &mut self,
        pillar: PillarId,
        client: u32,
        to: u16,
        payload: &[u8],
    ) -> ControlFlow<Refusal> {
        let now = self.now;
        let node = &mut self.members[usize::from(to)].node;
        let flow = node.client_frame(now, pillar, ClientId(client), payload);
        self.turn(ReplicaId(to));
        flow
    }

    /// The links between a replica and all others come up again.
    pub(super) fn reconnect(&mut self, replica: u16) {
        let now = self.now;
        for peer in self.ids().filter(|id| id.0 != replica) {
            for pillar in (0..self.config.pillars).map(PillarId) {
                self.members[peer.index()].node.connected(now, pillar, ReplicaId(replica));
                self.members[usize::from(replica)].node.connected(now, pillar, peer);
            }
            self.turn(peer);
        }
        self.turn(ReplicaId(replica));
    }

    /// A request on its own client's connection to a replica.
    pub(super) fn submit(&mut self, client: u32, to: u16, request: &Bytes) {
        let frame = [&[CLIENT_FRAME], &request[..]].concat();
        assert_eq!(self.client_frame(client, to, &frame), ControlFlow::Continue(()));
    }

    /// Delivers a frame; `Break` says why a real link would end there.
    pub(super) fn deliver(&mut self, frame: &Frame) -> ControlFlow<Refusal> {
        let now = self.now;
        let node = &mut self.members[frame.to.index()].node;
        let flow = node.peer_frame(now, frame.pillar, frame.from, &frame.payload);
        self.turn(frame.to);
        flow
    }

    /// Delivers a frame and, once what it decides is executed and before anything is signed, a client's request.
    pub(super) fn deliver_with(&mut self, frame: &Frame, client: u32, request: &Bytes) {
        let (now, id) = (self.now, frame.to);
        let member = &mut self.members[id.index()];
        let flow = member.node.peer_frame(now, frame.pillar, frame.from, &frame.payload);
        assert_eq!(flow, ControlFlow::Continue(()));
        member.route(now, id, &mut self.flight, &mut self.told);
        member.seat.run(now, BUDGET);
        for (_, report) in member.seat.reports() {
            member.node.executor_report(now, report);
        }
        self.submit(client, id.0, request);
    }

    /// Delivers everything, in the order in which it was sent, until nothing is in flight.
    pub(super) fn run(&mut self) {
        assert!(self.run_without(|_| false).is_empty());
    }

    /// As [`Stepped::run`], but holds back what `held` picks, and returns it.
    pub(super) fn run_without(&mut self, held: impl Fn(&Frame) -> bool) -> Vec<Frame> {
        let mut back = Vec::new();
        self.run_changing(|frame| {
            if held(&frame) {
                back.push(frame);
                return None;
            }
            Some(frame)
        });
        back
    }

    /// As [`Stepped::run`], but delivers what `change` makes of each frame, or nothing.
    pub(super) fn run_changing(&mut self, mut change: impl FnMut(Frame) -> Option<Frame>) {
        while let Some(frame) = self.flight.pop_front() {
            let Some(frame) = change(frame) else { continue };
            let flow = self.deliver(&frame);
            assert_eq!(flow, ControlFlow::Continue(()), "an honest frame is refused: {frame:?}");
        }
    }

    /// Time goes on, and with it whatever was waiting for it; then everything is delivered but what `lost` picks.
    pub(super) fn pass(&mut self, time: Duration, lost: impl Fn(&Frame) -> bool) {
        self.wait(time);
        self.run_without(lost);
    }

    /// Time goes on, and with it whatever was waiting for it.
    pub(super) fn wait(&mut self, time: Duration) {
        self.now.instant = self.now.instant + time;
        self.now.wall = self.now.wall + time;
        self.ids().for_each(|id| self.turn(id));
    }

    /// What a replica counted under a name such as "replica 2" or "client 0".
    pub(super) fn refused(&self, replica: ReplicaId, whom: &str, reason: Rejected) -> u64 {
        let label = format!("{whom}: {reason}");
        let refusals = self.members[replica.index()].node.counters.refusals();
        refusals.filter(|(name, _)| *name == label).map(|(_, count)| count).sum()
    }

    /// All that a replica counted under a name.
    pub(super) fn refused_in_all(&self, replica: ReplicaId, whom: &str) -> u64 {
        Rejected::ALL.iter().map(|reason| self.refused(replica, whom, *reason)).sum()
    }

    /// Statements that left a replica.
    pub(super) fn statements(&self, replica: ReplicaId) -> u64 {
        self.members[replica.index()].node.counters.statements
    }

    pub(super) fn progress(&self, replica: ReplicaId) -> Progress {
        self.members[replica.index()].node.progress().next().unwrap()
    }

    /// The replica's order.
    pub(super) fn order(&self, replica: ReplicaId) -> Vec<OrderEntry> {
        self.members[replica.index()].seat.order()
    }

    /// How many operations a replica has executed, up to where, and to what state.
    pub(super) fn executed(&mut self, replica: ReplicaId) -> (u64, Position, Digest) {
        let mut status = PartialStatus::default();
        self.members[replica.index()].seat.add_status(crate::admin::Detail::State, &mut status);
        let execution = status.execution.unwrap();
        let digest = Digest::from_hex(&execution.state_digest).unwrap();
        (execution.executed_operations, Position(execution.executed_position), digest)
    }

    /// A counter of a replica's executor.
    pub(super) fn counter(&mut self, replica: ReplicaId, name: &str) -> u64 {
        self.counters(replica)[name]
    }

    /// All counters of a replica's executor.
    pub(super) fn counters(&mut self, replica: ReplicaId) -> BTreeMap<String, u64> {
        let mut status = PartialStatus::default();
        self.members[replica.index()].seat.add_status(crate::admin::Detail::Counters, &mut status);
        status.counters
    }

    /// Whether a replica has found its state to be wrong, and whether it is taking over another.
    pub(super) fn condition(&mut self, replica: ReplicaId) -> (bool, bool) {
        let mut status = PartialStatus::default();
        self.members[replica.index()].seat.add_status(crate::admin::Detail::Counters, &mut status);
        let execution = status.execution.unwrap();
        (execution.diverged, execution.transferring)
    }

    /// Asserts that these replicas executed so many operations and have the same order and state.
    #[track_caller]
    pub(super) fn assert_executed(&mut self, replicas: &[u16], operations: u64) {
        let first = ReplicaId(replicas[0]);
        let (order, state) = (self.order(first), self.executed(first));
        assert_eq!(state.0, operations);
        for replica in replicas.iter().copied().map(ReplicaId) {
            assert_eq!(self.order(replica), order, "order of replica {replica}");
            assert_eq!(self.executed(replica), state, "state of replica {replica}");
        }
    }

    /// Takes the replies that reached clients.
    pub(super) fn replies(&mut self) -> Vec<ReplyMessage> {
        std::mem::take(&mut self.told.replies)
    }

    /// A worker's turns until it would sleep.
    fn turn(&mut self, id: ReplicaId) {
        let (now, member) = (self.now, &mut self.members[id.index()]);
        loop {
            member.node.take_finished(now);
            member.node.tick(now);
            member.route(now, id, &mut self.flight, &mut self.told);
            let more = member.seat.run(now, BUDGET);
            for (_, report) in member.seat.reports() {
                member.node.executor_report(now, report);
            }
            member.node.seal(now);
            member.route(now, id, &mut self.flight, &mut self.told);
            if !more && !member.node.is_busy() {
                return;
            }
        }
    }
}

impl<A: Application> Member<A> {
    fn new(
        config: &ClusterConfig,
        keyring: &Arc<Keyring>,
        identity: &Arc<Identity>,
        id: ReplicaId,
        application: A,
    ) -> Self {
        let pool = Pool::new(0, Arc::clone(keyring), Arc::clone(identity));
        let pillars = (0..config.pillars).map(|pillar| config.pillar_config(id, PillarId(pillar)));
        let singly = config.replies == Replies::Each;
        let node = Node::new(pillars.collect(), &pool, usize::from(config.bundle), singly, Arc::new(|| {}));
        Self { node, seat: Seat::new(config, id, application, 1, None) }
    }

    fn route(&mut self, now: Now, me: ReplicaId, flight: &mut VecDeque<Frame>, told: &mut Told) {
        let replicas = self.node.counters.replicas();
        for output in self.node.outputs() {
            match output {
                NodeOutput::ToPeers { pillar, to, message } => {
                    let payload = encode(&message);
                    let everyone = (0..u16::try_from(replicas).unwrap()).map(ReplicaId);
                    let to = everyone.filter(|peer| match to {
                        Target::Peers => *peer != me,
                        Target::Peer(one) => *peer == one,
                    });
                    flight.extend(to.map(|to| Frame { from: me, to, pillar, payload: payload.clone() }));
                }
                NodeOutput::ToClient { client, frame, .. } => {
                    let (kind, rest) = (frame[0], Bytes::from(frame).slice(1..));
                    match kind {
                        HINT_FRAME => {
                            let first = Number(u64::from_le_bytes(rest[..].try_into().unwrap()));
                            told.hints.push((me, client, first));
                        }
                        TAGGED_FRAME => told.replies.push(ReplyMessage::decode_tagged(rest).unwrap()),
                        _ => told.replies.push(ReplyMessage::decode(rest).unwrap()),
                    }
                }
                NodeOutput::ToExecutor(input) => self.seat.take(now, input),
                NodeOutput::Recovery(news) => told.news.push((me, news)),
                // There is no connection to close and no other worker.
                NodeOutput::Close { .. } | NodeOutput::ToSiblings(_) => {}
            }
        }
    }
}

fn encode(message: &PeerMessage) -> Bytes {
    let (kind, bytes) = match message {
        PeerMessage::Body(body) => (PeerFrame::BODY, body.bytes().clone()),
        PeerMessage::Bundle(bundle) => (PeerFrame::BUNDLE, bundle.bytes().clone()),
        PeerMessage::Request(request) => (PeerFrame::REQUEST, request.bytes().clone()),
        PeerMessage::Declared(declared) => {
            let (kind, bytes) = declared.frame();
            (kind, bytes.clone())
        }
        PeerMessage::Transfer(message) => (PeerFrame::TRANSFER, message.encode()),
        PeerMessage::Recover(recover) => (PeerFrame::RECOVER, recover.bytes().clone()),
        PeerMessage::Status(status) => {
            let mut bytes = Vec::new();
            status.encode(&mut bytes);
            (PeerFrame::STATUS, bytes.into())
        }
    };
    [&[kind], &bytes[..]].concat().into()
}
