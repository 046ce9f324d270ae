use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use hypostyle_app_api::{ClientId, Now, PillarId, ReplicaId};
use hypostyle_net::{ConnectionId, Event, Payload, Peer, Reject, Role, Wire};
use hypostyle_pillars::message::PeerFrame;
use hypostyle_pillars::{Declared, Source, Target};

use super::clock::Clock;
use super::mail::{Mail, Mailbox, Post};
use super::recovery::{report_recovery, waits_for};
use super::refused::RefusalLog;
use super::seat::Seat;
use crate::Application;
use crate::admin::{Detail, Query};
use crate::node::{ExecutorInput, Node, NodeOutput, PeerMessage};
use crate::status::{EvidenceStatus, PartialStatus, PillarStatus};

/// A worker's thread: it owns some pillars and their sockets. A turn: read each ready socket, verify, step, execute if
/// the executor is here, seal, one write per touched socket. It moves bytes and time and decides nothing.
pub(crate) struct Worker<A: Application, W> {
    pub(crate) me: ReplicaId,
    pub(crate) node: Node,
    pub(crate) transport: W,
    pub(crate) mailbox: Mailbox,
    pub(crate) executor: ExecutorLink<A>,
    /// The other workers, by number; `None` for this one.
    pub(crate) others: Vec<Option<Post>>,
    pub(crate) workers: usize,
    pub(crate) clock: Clock,
    pub(crate) links: Links,
    pub(crate) refused: RefusalLog,
}

/// Where the executor is.
pub(crate) enum ExecutorLink<A: Application> {
    Local(Box<Seat<A>>),
    Queue { post: Post, inputs: Vec<ExecutorInput> },
}

/// Which connection leads to whom, and which have something to read.
pub(crate) struct Links {
    replicas: u16,
    connections: BTreeMap<ConnectionId, (Peer, PillarId)>,
    peers: BTreeMap<(PillarId, ReplicaId), ConnectionId>,
    clients: BTreeMap<(PillarId, ClientId), ConnectionId>,
    ready: Vec<ConnectionId>,
}

/// What a turn left to the next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    Work,
    /// Mail that found no room.
    Mail,
    Nothing,
}

/// Bytes read from one connection in a turn before the others have theirs.
const READ_BUDGET: usize = 64 * 1024;
/// Bodies and large frames from this size on are written from where they lie.
const SHARED_MIN: usize = 4096;
/// Operations executed before somebody looks at the clock or the mail.
pub(crate) const EXECUTE_BUDGET: usize = 256;
/// Time spent executing in a turn before the sockets have theirs.
const EXECUTE_TIME: Duration = Duration::from_millis(1);
/// How soon a full mailbox of another thread is tried again.
pub(crate) const RETRY: Duration = Duration::from_millis(1);

impl<A: Application, W: Wire> Worker<A, W> {
    /// Turns until told to stop.
    ///
    /// # Errors
    /// When the event loop fails.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut left = Left::Work;
        loop {
            let timeout = self.timeout(left);
            self.transport.poll(self.clock.now().instant, timeout)?;
            self.mailbox.awake();
            if self.mailbox.is_stopped() {
                return Ok(());
            }
            left = self.turn(self.clock.now());
        }
    }

    /// How long to sleep: not at all while there is work.
    fn timeout(&self, left: Left) -> Option<Duration> {
        // Clients that wait are read when a crypto thread or a replica has ended this sleep.
        let readable = !self.links.ready.is_empty() && !self.node.is_congested();
        let work = left == Left::Work || readable || self.node.is_busy();
        if work || !self.mailbox.may_sleep() {
            return Some(Duration::ZERO);
        }
        let now = self.clock.now().instant;
        let retry = (left == Left::Mail).then(|| now + RETRY);
        let executor = match &self.executor {
            ExecutorLink::Local(seat) => seat.next_deadline(),
            ExecutorLink::Queue { .. } => None,
        };
        let deadlines = [self.node.next_deadline(), self.transport.next_deadline(), executor, retry];
        let next = deadlines.into_iter().flatten().min()?;
        Some(next.since(now))
    }

    fn turn(&mut self, now: Now) -> Left {
        while let Some(event) = self.transport.event() {
            self.on_event(now, event);
        }
        while let Some(mail) = self.mailbox.take() {
            self.on_mail(now, mail);
        }
        self.read(now);
        self.node.take_finished(now);
        self.node.tick(now);
        self.route(now);
        let more = self.execute(now);
        self.node.seal(now);
        // What sealing completed may be executed here: in the next turn.
        let more = self.route(now) || more;
        self.transport.flush();
        let delivered = self.deliver();
        match (more, delivered) {
            (true, _) => Left::Work,
            (false, false) => Left::Mail,
            (false, true) => Left::Nothing,
        }
    }

    fn on_event(&mut self, now: Now, event: Event) {
        match event {
            Event::Up { id, peer, pillar, session, .. } => {
                self.links.up(id, peer, pillar);
                if let Some(session) = session {
                    self.node.client_connected(now, pillar, ClientId(peer.id), session);
                }
                if let Some(replica) = as_replica(peer) {
                    self.node.connected(now, pillar, replica);
                }
            }
            Event::Readable(id) => self.links.readable(id),
            Event::Down { id, peer, pillar, reason } => {
                self.links.down(id);
                if peer.role == Role::Replica {
                    self.refused.note_lost(now.instant, peer, pillar, &reason);
                }
            }
            Event::Arrived(arrival) => {
                let owner = arrival.pillar().index() % self.workers;
                if let Some(Some(post)) = self.others.get_mut(owner) {
                    post.send(Mail::Arrived(arrival));
                }
            }
            Event::Refused { peer, address, reason } => {
                self.refused.note(now.instant, peer, address, &reason);
            }
        }
    }

    fn on_mail(&mut self, now: Now, mail: Mail) {
        match mail {
            Mail::Sibling(input) => self.node.sibling(now, input),
            Mail::Report(report) => self.node.executor_report(now, report),
            Mail::Execute(inputs) => {
                if let ExecutorLink::Local(seat) = &mut self.executor {
                    inputs.into_iter().for_each(|input| seat.take(now, input));
                }
            }
            Mail::Arrived(arrival) => self.transport.adopt(*arrival),
            Mail::Query(query) => self.answer(query),
        }
    }

    /// Reads every ready connection, each up to its budget.
    fn read(&mut self, now: Now) {
        let Self { transport, node, links, .. } = self;
        for id in std::mem::take(&mut links.ready) {
            let Some((peer, pillar)) = links.connections.get(&id).copied() else {
                continue;
            };
            // Replicas are read all the same: what they say is what ends the congestion.
            if peer.role == Role::Client && node.is_congested() {
                links.ready.push(id);
                continue;
            }
            // What is left after the budget is announced again.
            transport.read(id, READ_BUDGET, &mut |payload| {
                let step = match payload {
                    Payload::Peer(bytes) => node.peer_frame(now, pillar, replica_of(peer), &bytes),
                    Payload::Client(bytes) => node.client_frame(now, pillar, ClientId(peer.id), bytes),
                };
                step.map_break(Reject)
            });
        }
    }

    /// Hands on what the node wants done. Whether the executor here got anything.
    fn route(&mut self, now: Now) -> bool {
        let Self { node, transport, links, executor, others, me, .. } = self;
        let mut executable = false;
        for output in node.outputs() {
            tell_of_views(*me, &output);
            match output {
                NodeOutput::ToPeers { pillar, to, message } => links.send(transport, pillar, to, &message),
                NodeOutput::ToClient { pillar, client, frame } => {
                    if let Some(id) = links.clients.get(&(pillar, client)) {
                        transport.send(*id, &[&frame]);
                    }
                }
                NodeOutput::ToExecutor(input) => match executor {
                    ExecutorLink::Local(seat) => {
                        executable = true;
                        seat.take(now, input);
                    }
                    ExecutorLink::Queue { post, .. } if post.is_congested() && input.comes_again(*me) => {}
                    ExecutorLink::Queue { inputs, .. } => inputs.push(input),
                },
                NodeOutput::Close { pillar, source, reason } => {
                    if let Some(id) = links.connection(pillar, source) {
                        transport.close(id, reason);
                    }
                }
                NodeOutput::Recovery(news) => report_recovery(*me, news),
                NodeOutput::ToSiblings(input) => {
                    others.iter_mut().flatten().for_each(|post| post.send(Mail::Sibling(input)));
                }
            }
        }
        executable
    }

    /// Runs the executor if it is here. Whether it has more to do.
    fn execute(&mut self, now: Now) -> bool {
        let ExecutorLink::Local(seat) = &mut self.executor else {
            drop(self.node.spent_replies());
            return false;
        };
        let begun = self.clock.now().instant;
        self.node.spent_replies().for_each(|group| seat.recycle(group));
        let mut more = seat.run(now, EXECUTE_BUDGET);
        while more && self.clock.now().instant.since(begun) < EXECUTE_TIME {
            more = seat.run(now, EXECUTE_BUDGET);
        }
        for (worker, report) in seat.reports() {
            match self.others.get_mut(worker) {
                Some(Some(post)) => post.send(Mail::Report(report)),
                _ => self.node.executor_report(now, report),
            }
        }
        more
    }

    /// Flushes the mail of this turn. True when all of it found room.
    fn deliver(&mut self) -> bool {
        let mut delivered = true;
        if let ExecutorLink::Queue { post, inputs } = &mut self.executor {
            if !inputs.is_empty() {
                post.send(Mail::Execute(std::mem::take(inputs)));
            }
            delivered &= post.flush();
        }
        for post in self.others.iter_mut().flatten() {
            delivered &= post.flush();
        }
        delivered
    }

    fn answer(&mut self, query: Query) {
        match query {
            Query::Status(detail, answer) => {
                let mut status = self.status();
                if detail == Detail::Evidence {
                    status.evidence = self.node.evidence().map(EvidenceStatus::from).collect();
                }
                if let ExecutorLink::Local(seat) = &mut self.executor {
                    seat.add_status(detail, &mut status);
                }
                // Whoever asked may have gone.
                let _ = answer.send(status);
            }
            Query::OrderLog(answer) => {
                if let ExecutorLink::Local(seat) = &self.executor {
                    let _ = answer.send(seat.order());
                }
            }
        }
    }

    fn status(&self) -> PartialStatus {
        let mut status = PartialStatus::default();
        status.pillars.extend(self.node.progress().map(|p| PillarStatus {
            pillar: p.pillar.0,
            view: p.view.0,
            primary: p.primary.0,
            decided: p.decided.0,
            decided_high: p.decided_high.0,
            in_flight: p.in_flight,
            owed: p.owed,
            queued: p.queued,
            peers: self.links.peers_of(p.pillar),
        }));
        status.recovering = self.node.recovery().map(|(phase, incarnation)| waits_for(phase, incarnation));
        let (verifications, signatures, remembered) = self.node.crypto_counters();
        let crypto =
            [("verifications", verifications), ("signatures", signatures), ("remembered", remembered)];
        let net = self.transport.counters();
        let named = self.node.counters.named().into_iter().chain(crypto).chain(named(net));
        status.counters.extend(named.map(|(name, count)| (name.to_owned(), count)));
        let equivocations = (0..).zip(self.node.counters.equivocations());
        let named =
            equivocations.map(|(id, count): (u16, _)| (format!("equivocations of replica {id}"), *count));
        status.counters.extend(named);
        status.refusals.extend(self.node.counters.refusals());
        status
            .refusals
            .extend(net.refusals().map(|(reason, count)| (format!("connection: {reason}"), count)));
        status
    }
}

impl Links {
    pub(crate) fn new(replicas: u16) -> Self {
        Self {
            replicas,
            connections: BTreeMap::new(),
            peers: BTreeMap::new(),
            clients: BTreeMap::new(),
            ready: Vec::new(),
        }
    }

    fn up(&mut self, id: ConnectionId, peer: Peer, pillar: PillarId) {
        self.connections.insert(id, (peer, pillar));
        match as_replica(peer) {
            Some(replica) => self.peers.insert((pillar, replica), id),
            None => self.clients.insert((pillar, ClientId(peer.id)), id),
        };
    }

    fn down(&mut self, id: ConnectionId) {
        let Some((peer, pillar)) = self.connections.remove(&id) else {
            return;
        };
        // A newer connection may have taken the place.
        match as_replica(peer) {
            Some(replica) => remove_if(&mut self.peers, (pillar, replica), id),
            None => remove_if(&mut self.clients, (pillar, ClientId(peer.id)), id),
        }
    }

    fn readable(&mut self, id: ConnectionId) {
        // Announced once until it is read.
        self.ready.push(id);
    }

    fn connection(&self, pillar: PillarId, source: Source) -> Option<ConnectionId> {
        match source {
            Source::Peer(replica) => self.peers.get(&(pillar, replica)).copied(),
            Source::Client(client) => self.clients.get(&(pillar, client)).copied(),
        }
    }

    fn peers_of(&self, pillar: PillarId) -> u16 {
        let up = (0..self.replicas).filter(|id| self.peers.contains_key(&(pillar, ReplicaId(*id)))).count();
        u16::try_from(up).expect("at most n")
    }

    fn send(&self, transport: &mut impl Wire, pillar: PillarId, to: Target, message: &PeerMessage) {
        let everyone = match to {
            Target::Peers => (0..self.replicas).map(ReplicaId),
            Target::Peer(peer) => (peer.0..peer.0 + 1).map(ReplicaId),
        };
        for peer in everyone {
            if let Some(id) = self.peers.get(&(pillar, peer)) {
                send(transport, *id, message);
            }
        }
    }
}

/// Operators want to know who was deposed, and when.
fn tell_of_views(me: ReplicaId, output: &NodeOutput) {
    match output {
        NodeOutput::ToPeers {
            to: Target::Peers,
            message: PeerMessage::Declared(Declared::ViewChange(change)),
            ..
        } => {
            tracing::info!(
                replica = me.0,
                pillar = change.pillar().0,
                view = change.view().0,
                "leaving for a new view"
            );
        }
        NodeOutput::ToExecutor(ExecutorInput::Entered(pillar, view)) => {
            tracing::info!(replica = me.0, pillar = pillar.0, view = view.0, "entered a view");
        }
        _ => {}
    }
}

fn named(net: &hypostyle_net::Counters) -> [(&'static str, u64); 8] {
    [
        ("syscalls", net.syscalls()),
        ("frames_in", net.frames_in),
        ("frames_out", net.frames_out),
        ("frames_dropped", net.frames_dropped),
        ("bytes_in", net.bytes_in),
        ("bytes_out", net.bytes_out),
        ("handshakes_signed", net.handshakes_signed),
        ("handshakes_resumed", net.handshakes_resumed),
    ]
}

fn send(transport: &mut impl Wire, id: ConnectionId, message: &PeerMessage) {
    let (kind, bytes) = match message {
        PeerMessage::Body(body) => (PeerFrame::BODY, body.bytes()),
        PeerMessage::Bundle(bundle) => (PeerFrame::BUNDLE, bundle.bytes()),
        PeerMessage::Request(request) => (PeerFrame::REQUEST, request.bytes()),
        PeerMessage::Declared(declared) => declared.frame(),
        PeerMessage::Transfer(message) => {
            // A chunk is copied here once.
            transport.send_shared(id, &[PeerFrame::TRANSFER], &message.encode());
            return;
        }
        PeerMessage::Recover(recover) => (PeerFrame::RECOVER, recover.bytes()),
        PeerMessage::Status(status) => {
            let mut bytes = vec![PeerFrame::STATUS];
            status.encode(&mut bytes);
            transport.send(id, &[&bytes]);
            return;
        }
    };
    // What doesn't fit is dropped and counted there; the peer asks for it again.
    if bytes.len() >= SHARED_MIN {
        transport.send_shared(id, &[kind], bytes);
    } else {
        transport.send(id, &[&[kind], bytes]);
    }
}

fn remove_if<K: Ord>(map: &mut BTreeMap<K, ConnectionId>, key: K, id: ConnectionId) {
    if map.get(&key) == Some(&id) {
        map.remove(&key);
    }
}

fn as_replica(peer: Peer) -> Option<ReplicaId> {
    (peer.role == Role::Replica).then(|| replica_of(peer))
}

fn replica_of(peer: Peer) -> ReplicaId {
    ReplicaId(u16::try_from(peer.id).expect("registered replicas fit 16 bits"))
}
