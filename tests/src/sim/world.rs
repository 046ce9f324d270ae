//! A whole cluster with its clients and its network in one thread and virtual time.

use std::sync::Arc;

use bytes::Bytes;
use hypostyle::simulation::{Member, MemberOutput, frame_limits};
use hypostyle_app_api::{ClientId, PillarId, ReplicaId};
use hypostyle_crypto::Identity;
use hypostyle_pillars::message::{FrameLimits, Message, PeerFrame};
use hypostyle_pillars::{Source, Target};

use super::client::SimClient;
use super::cluster::Cluster;
use super::describe::describe;
use super::network::{Endpoint, Network, Wire};
use super::options::Options;
use super::queue::{Event, Queue, Time};
use super::random::Random;
use super::replica::{Arrival, Clock, SimReplica};
use super::service::Service;
use super::trace::Trace;
use crate::checkers::{Check, Checkers};

pub(super) struct World {
    pub(super) options: Options,
    pub(super) cluster: Cluster,
    pub(super) limits: FrameLimits,
    pub(super) random: Random,
    pub(super) now: Time,
    pub(super) queue: Queue,
    pub(super) network: Network,
    pub(super) replicas: Vec<SimReplica>,
    pub(super) clients: Vec<SimClient>,
    pub(super) checkers: Checkers,
    pub(super) trace: Trace,
    /// Whether faults still strike.
    pub(super) safety: bool,
}

/// What a turn takes at least.
const TURN_MIN: Time = 1_000;

impl World {
    pub(super) fn new(options: Options, random: Random, prints: bool) -> Self {
        let cluster = Cluster::new(&options);
        let n = usize::from(options.replicas);
        let mut world = Self {
            limits: frame_limits(&cluster.config),
            network: Network::new(options.network.clone(), n, options.clients, options.pillars),
            checkers: Checkers::new(&cluster.config),
            replicas: Vec::new(),
            clients: Vec::new(),
            queue: Queue::default(),
            trace: Trace::new(prints),
            now: 0,
            safety: true,
            cluster,
            random,
            options,
        };
        world.replicas = (0..n).map(|id| world.new_replica(id)).collect();
        world.clients = (0..world.options.clients).map(|index| world.new_client(index)).collect();
        let World { network, random, queue, .. } = &mut world;
        network.reconnect(0, random, queue);
        // Where nothing goes wrong, nobody comes late either.
        let start = if world.options.is_fault_free() { 2 * world.options.network.reconnect } else { 0 };
        for client in 0..world.options.clients {
            world.clients[client].rest(start);
            world.queue.push(start, Event::Client(client));
        }
        if !world.options.faults.is_none() {
            world.queue.push(world.options.faults.every, Event::Fault);
        }
        world
    }

    pub(super) fn n(&self) -> usize {
        self.replicas.len()
    }

    /// Handles all events up to this time, unless `done` says that it's enough.
    pub(super) fn run_until(&mut self, end: Time, done: impl Fn(&Self) -> bool) -> Check {
        while !done(self) && self.queue.next_time().is_some_and(|at| at <= end) {
            let Some((at, event)) = self.queue.pop() else { break };
            self.now = at;
            self.handle(event)?;
        }
        if self.queue.next_time().is_none_or(|at| at > end) {
            self.now = self.now.max(end);
        }
        Ok(())
    }

    fn handle(&mut self, event: Event) -> Check {
        match event {
            Event::Turn(replica) => self.turn(replica),
            Event::Client(client) => {
                if self.clients[client].wake_at.is_none_or(|at| at == self.now) {
                    self.clients[client].wake_at = None;
                    self.clients[client].tick(self.now);
                    return self.client_acts(client);
                }
                Ok(())
            }
            Event::Frame { wire, epoch, payload } => self.deliver(wire, epoch, payload),
            Event::Up(wire) => self.connect(wire),
            Event::Fault => self.strike(),
            Event::Heal => {
                self.heal();
                Ok(())
            }
            Event::Restart(replica) => {
                self.restart(replica);
                Ok(())
            }
        }
    }

    fn deliver(&mut self, wire: Wire, epoch: u32, payload: Bytes) -> Check {
        if !self.network.arrives(wire, epoch) {
            return Ok(());
        }
        let Wire { from, to, pillar } = wire;
        self.trace.step(self.now, [from as u64, to as u64, u64::from(pillar)], &payload);
        if self.trace.prints() {
            let text = describe(&payload, from, to, self.n(), &self.limits);
            self.trace
                .tell(self.now, format_args!("{} → {} p{pillar}  {text}", self.name(from), self.name(to)));
        }
        if to < self.n() {
            self.replicas[to].inbox.push(Arrival::Frame { from, pillar, payload });
            self.wake(to, self.now + TURN_MIN);
            return Ok(());
        }
        let client = to - self.n();
        self.clients[client].frame(self.now, replica_id(from), &payload);
        self.client_acts(client)
    }

    fn connect(&mut self, wire: Wire) -> Check {
        if !self.network.connect(wire) {
            return Ok(());
        }
        for Wire { from, to, pillar } in [wire, wire.back()] {
            if let Some(client) = to.checked_sub(self.n()) {
                self.clients[client].connected(replica_id(from), PillarId(pillar));
                self.client_acts(client)?;
            } else if from < self.n() {
                self.replicas[to].inbox.push(Arrival::Connected { peer: from, pillar });
                self.wake(to, self.now + TURN_MIN);
            }
        }
        Ok(())
    }

    /// Ends a connection; it comes up again by itself.
    pub(super) fn cut(&mut self, wire: Wire) {
        let World { network, random, queue, now, .. } = self;
        network.cut(*now, random, wire, queue);
        self.disconnected(wire);
    }

    pub(super) fn disconnected(&mut self, wire: Wire) {
        let n = self.n();
        for Wire { from, to, pillar } in [wire, wire.back()] {
            if to >= n && from < n {
                self.clients[to - n].disconnected(replica_id(from), PillarId(pillar));
            }
        }
    }

    /// Has a replica take a turn at this time, if it would sleep until then.
    pub(super) fn wake(&mut self, replica: usize, at: Time) {
        let state = &mut self.replicas[replica];
        let at = at.max(state.paused_until).max(self.now);
        if state.turn_at.is_none_or(|planned| at < planned) {
            state.turn_at = Some(at);
            self.queue.push(at, Event::Turn(replica));
        }
    }

    fn turn(&mut self, replica: usize) -> Check {
        let now = self.now;
        let state = &mut self.replicas[replica];
        if state.turn_at != Some(now) {
            return Ok(());
        }
        state.turn_at = None;
        if state.paused_until > now {
            self.wake(replica, now);
            return Ok(());
        }
        let Some(mut member) = state.member.take() else { return Ok(()) };
        let clock = state.clock.now(now);
        let arrivals = std::mem::take(&mut state.inbox);
        let mut waiting = Vec::new();
        let mut refused = Vec::new();
        for arrival in arrivals {
            match arrival {
                Arrival::Connected { peer, pillar } => {
                    member.connected(clock, PillarId(pillar), replica_id(peer))
                }
                Arrival::Frame { from, pillar, payload } if from < self.replicas.len() => {
                    if let Err(reason) =
                        member.peer_frame(clock, PillarId(pillar), replica_id(from), &payload)
                    {
                        refused.push((from, pillar, reason));
                    }
                }
                // As the shell does: while requests gather faster than they are ordered, clients wait.
                Arrival::Frame { pillar, .. } if member.is_congested(PillarId(pillar)) => {
                    waiting.push(arrival)
                }
                Arrival::Frame { from, pillar, payload } => {
                    let client = client_id(from - self.replicas.len());
                    if let Err(reason) = member.client_frame(clock, PillarId(pillar), client, &payload) {
                        refused.push((from, pillar, reason));
                    }
                }
            }
        }
        let random = &mut self.random;
        member.turn(clock, &mut |choices| random.index(choices));
        let outputs: Vec<_> = member.outputs().collect();
        self.replicas[replica].inbox = waiting;
        for (from, pillar, reason) in refused {
            self.trace
                .tell(now, format_args!("{} refuses {}: {reason}", self.name(replica), self.name(from)));
            self.cut(Wire { from, to: replica, pillar });
        }
        for output in outputs {
            self.perform(replica, output)?;
        }
        self.checkers.turned(replica_id(replica), &member)?;
        let next = member.next_deadline();
        self.replicas[replica].member = Some(member);
        if let Some(deadline) = next {
            let pause = TURN_MIN + self.random.below(self.options.turn);
            let at = self.replicas[replica].clock.time_of(deadline).max(now + pause);
            self.wake(replica, at);
        }
        Ok(())
    }

    fn perform(&mut self, replica: usize, output: MemberOutput) -> Check {
        match output {
            MemberOutput::Decided(decided) => {
                self.trace.tell(
                    self.now,
                    format_args!(
                        "r{replica} decides p{} s{} {:?}",
                        decided.pillar,
                        decided.seq,
                        decided.body.digest()
                    ),
                );
                self.checkers.decided(replica_id(replica), &decided)
            }
            MemberOutput::ToPeers { pillar, to: Target::Peer(peer), payload } => {
                self.send_peer(replica, peer.index(), pillar, payload);
                Ok(())
            }
            MemberOutput::ToPeers { pillar, to: Target::Peers, payload } => {
                self.heard(true, &payload)?;
                for peer in (0..self.n()).filter(|peer| *peer != replica) {
                    self.send_peer(replica, peer, pillar, payload.clone());
                }
                Ok(())
            }
            MemberOutput::ToClient { pillar, client, payload } => {
                self.send(replica, self.n() + client.index(), pillar, payload);
                Ok(())
            }
            MemberOutput::Close { pillar, source, .. } => {
                let from = match source {
                    Source::Peer(peer) => peer.index(),
                    Source::Client(client) => self.n() + client.index(),
                };
                self.cut(Wire { from, to: replica, pillar: pillar.0 });
                Ok(())
            }
        }
    }

    /// A replica has said something of its own.
    fn heard(&mut self, honest: bool, payload: &Bytes) -> Check {
        let signed = [PeerFrame::BUNDLE, PeerFrame::VIEW_CHANGE, PeerFrame::NEW_VIEW];
        if !payload.first().is_some_and(|kind| signed.contains(kind)) {
            return Ok(());
        }
        match PeerFrame::decode(payload, &self.limits) {
            Ok(PeerFrame::Message(Message::Bundle(bundle))) => self.checkers.said(honest, &bundle),
            Ok(PeerFrame::Message(Message::ViewChange(change))) => self.checkers.left(honest, &change),
            Ok(PeerFrame::Message(Message::NewView(new_view))) => self.checkers.began(&new_view),
            _ => Ok(()),
        }
    }

    fn send_peer(&mut self, from: usize, to: usize, pillar: PillarId, payload: Bytes) {
        self.checkers.traffic.frames += 1;
        self.send(from, to, pillar, payload);
    }

    fn send(&mut self, from: Endpoint, to: Endpoint, pillar: PillarId, payload: Bytes) {
        let World { network, random, queue, now, .. } = self;
        network.send(*now, random, Wire { from, to, pillar: pillar.0 }, payload, queue);
    }

    /// A client takes its results, submits what it may, and is woken when it has to be.
    pub(super) fn client_acts(&mut self, index: usize) -> Check {
        let now = self.now;
        for completion in self.clients[index].completions() {
            self.trace.tell(
                now,
                format_args!(
                    "c{index} has {}: {:?}",
                    completion.number,
                    completion.result.as_ref().map(|r| r.len())
                ),
            );
            self.checkers.completed(self.clients[index].id, &completion)?;
        }
        let World { clients, cluster, random, checkers, .. } = self;
        let client = &mut clients[index];
        while let Some(submitted) = client.submit(now, &cluster.clients[index], random) {
            checkers.signed(client.id, submitted.first, submitted.digest);
            checkers.invoked(client.id, submitted.first, submitted.count);
        }
        for (replica, pillar, payload) in self.clients[index].sends() {
            self.send(self.n() + index, replica.index(), pillar, payload);
        }
        let client = &mut self.clients[index];
        if let Some(at) = client.next_time(now).map(|at| at.max(now + TURN_MIN))
            && client.wake_at.is_none_or(|planned| at < planned)
        {
            client.wake_at = Some(at);
            self.queue.push(at, Event::Client(index));
        }
        Ok(())
    }

    pub(super) fn name(&self, endpoint: Endpoint) -> String {
        match endpoint.checked_sub(self.n()) {
            Some(client) => format!("c{client}"),
            None => format!("r{endpoint}"),
        }
    }

    pub(super) fn new_replica(&mut self, id: usize) -> SimReplica {
        let faults = &self.options.faults;
        let drift = faults.drift.min(900_000);
        let rate = 1_000_000 - drift / 2 + self.random.below(drift + 1);
        let clock = Clock { rate, ahead: self.random.below(faults.skew + 1) };
        let member = self.new_member(id);
        SimReplica { member: Some(member), clock, inbox: Vec::new(), turn_at: None, paused_until: 0 }
    }

    pub(super) fn new_member(&self, id: usize) -> Member<Service> {
        let identity: &Arc<Identity> = &self.cluster.replicas[id];
        let (config, keyring) = (&self.cluster.config, &self.cluster.keyring);
        Member::new(config, replica_id(id), identity, keyring, Service::new(), self.options.threads)
    }

    fn new_client(&self, index: usize) -> SimClient {
        let habits = (self.options.outstanding, self.options.think);
        let mut client =
            SimClient::new(&self.cluster.config, client_id(index), &self.cluster.keyring, habits);
        client.wants = self.options.operations;
        client
    }
}

pub(super) fn replica_id(index: usize) -> ReplicaId {
    ReplicaId(u16::try_from(index).expect("few replicas"))
}

pub(super) fn client_id(index: usize) -> ClientId {
    ClientId(u32::try_from(index).expect("few clients"))
}
