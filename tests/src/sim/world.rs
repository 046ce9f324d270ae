//! A whole cluster with its clients and its network in one thread and virtual time.

use std::sync::Arc;

use bytes::Bytes;
use hypostyle::simulation::{Member, frame_limits};
use hypostyle_app_api::{ClientId, PillarId, ReplicaId};
use hypostyle_crypto::Identity;
use hypostyle_pillars::message::FrameLimits;

use super::client::SimClient;
use super::cluster::{Cluster, session};
use super::describe::describe;
use super::hostile::Hostile;
use super::network::{Endpoint, Network, Wire};
use super::options::Options;
use super::queue::{Event, Queue, Time};
use super::random::Random;
use super::replica::{Arrival, Clock, FIRST, SECOND, SimReplica, Twin};
use super::service::{Service, ServiceFaults};
use super::trace::Trace;
use crate::byzantine::{Behaviour, Byzantine, Casting};
use crate::checkers::{Check, Checkers};
use crate::memory::{self, owned_by};

pub(super) struct World {
    pub(super) options: Options,
    pub(super) cluster: Cluster,
    pub(super) limits: FrameLimits,
    pub(super) random: Random,
    pub(super) now: Time,
    /// Handled so far.
    pub(super) events: u64,
    pub(super) queue: Queue,
    pub(super) network: Network,
    pub(super) replicas: Vec<SimReplica>,
    pub(super) clients: Vec<SimClient>,
    pub(super) hostile: Hostile,
    pub(super) checkers: Checkers,
    pub(super) trace: Trace,
    /// What goes wrong with each replica's application.
    pub(super) service_faults: Vec<Arc<ServiceFaults>>,
    /// Whether faults still strike.
    pub(super) safety: bool,
    /// Client connections that came up.
    sessions: u64,
}

/// What a turn takes at least.
pub(super) const TURN_MIN: Time = 1_000;

/// In every so many runs what replicas hold is counted: it costs a fifth of their speed.
const COUNTED: u64 = 16;

impl World {
    pub(super) fn new(options: Options, mut random: Random, prints: bool) -> Self {
        // Of chance of its own.
        memory::count(options.lean.is_some() || random.clone().number().is_multiple_of(COUNTED));
        let cluster = Cluster::new(&options);
        let n = usize::from(options.replicas);
        let mut world = Self {
            limits: frame_limits(&cluster.config),
            network: Network::new(options.network.clone(), n, options.all_clients(), options.pillars),
            checkers: Checkers::new(&cluster.config, &cluster.keyring, options.snapshot_bytes()),
            service_faults: (0..n).map(|_| Arc::default()).collect(),
            replicas: Vec::new(),
            clients: Vec::new(),
            hostile: Hostile::new(&options, &cluster.config, &mut random),
            sessions: 0,
            queue: Queue::new(n),
            trace: Trace::new(prints),
            now: 0,
            events: 0,
            safety: true,
            cluster,
            random,
            options,
        };
        world.replicas = (0..n).map(|id| world.new_replica(id)).collect();
        world.clients = (0..world.options.clients).map(|index| world.new_client(index)).collect();
        for (adversary, _) in &world.options.byzantine {
            world.checkers.may_be_accused(replica_id(*adversary));
        }
        world.plan_rescue();
        let World { network, random, queue, .. } = &mut world;
        network.reconnect(0, random, queue);
        // Where nothing goes wrong, nobody comes late either.
        let start = if world.options.is_fault_free() { 2 * world.options.network.reconnect } else { 0 };
        for client in 0..world.options.clients {
            world.clients[client].rest(start);
            world.queue.push(start, Event::Client(client));
        }
        world.unleash(start);
        if !world.options.faults.is_none() {
            world.queue.push(world.options.faults.every, Event::Fault);
        }
        world
    }

    pub(super) fn n(&self) -> usize {
        self.replicas.len()
    }

    /// Whether every correct client has all it wanted.
    pub(super) fn clients_are_done(&self) -> bool {
        self.clients.iter().all(SimClient::is_done)
    }

    /// Handles all events up to this time, unless `done` says that it's enough.
    pub(super) fn run_until(&mut self, end: Time, done: impl Fn(&Self) -> bool) -> Check {
        while !done(self) {
            let Some((at, event)) = self.queue.pop(end) else {
                self.now = self.now.max(end);
                return Ok(());
            };
            (self.now, self.events) = (at, self.events + 1);
            self.handle(event)?;
        }
        Ok(())
    }

    fn handle(&mut self, event: Event) -> Check {
        match event {
            Event::Turn(replica) => return self.turn(replica),
            Event::Client(client) => {
                if self.clients[client].wake_at.is_none_or(|at| at == self.now) {
                    self.clients[client].wake_at = None;
                    self.clients[client].tick(self.now);
                    return self.client_acts(client);
                }
            }
            Event::Frame { wire, epoch, payload } => return self.deliver(wire, epoch, payload),
            Event::Up(wire) => return self.connect(wire),
            Event::Hostile(client) => self.hostile_acts(client),
            Event::Late { wire, payload } => self.send(wire.from, wire.to, PillarId(wire.pillar), payload),
            Event::Fault => self.strike(),
            Event::Heal => self.heal(),
            Event::Rot(replica) => self.rot(replica),
            Event::Unplug(replica) => self.unplug(replica),
            Event::Plug(replica) => self.plug(replica),
            Event::Restart(replica) => self.restart(replica),
        }
        Ok(())
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
            if from < self.n() {
                self.hostile.overhear(PillarId(pillar), &payload);
            }
            self.replicas[to].inbox.push(Arrival::Frame { from, pillar, payload });
            self.wake(to, self.now + TURN_MIN);
            return Ok(());
        }
        let client = to - self.n();
        if client >= self.clients.len() {
            self.hostile.hear(client - self.clients.len(), PillarId(pillar), &payload);
            return Ok(());
        }
        self.clients[client].frame(self.now, (replica_id(from), PillarId(pillar)), &payload);
        self.client_acts(client)
    }

    fn connect(&mut self, wire: Wire) -> Check {
        if !self.network.connect(wire) {
            return Ok(());
        }
        for Wire { from, to, pillar } in [wire, wire.back()] {
            if to < self.n() && from < self.n() {
                self.replicas[to].inbox.push(Arrival::Connected { peer: from, pillar });
                self.wake(to, self.now + TURN_MIN);
            } else if to >= self.n() {
                self.connect_client(to, from, pillar)?;
            }
        }
        Ok(())
    }

    /// Both ends derive the same keys.
    fn connect_client(&mut self, endpoint: Endpoint, replica: usize, pillar: u16) -> Check {
        let client = endpoint - self.n();
        self.sessions += 1;
        let session = session(client, replica, pillar, self.sessions);
        if self.options.tags {
            let arrival = Arrival::Client { client: endpoint, pillar, session: session.clone() };
            self.replicas[replica].inbox.push(arrival);
            if let Some(byzantine) = &mut self.replicas[replica].byzantine {
                byzantine.client_connected((PillarId(pillar), client_id(client)), session.clone());
            }
        }
        let (replica, pillar) = (replica_id(replica), PillarId(pillar));
        match client.checked_sub(self.clients.len()) {
            Some(hostile) => self.hostile.connected(hostile, replica, pillar, session),
            None => {
                self.clients[client].connected(replica, pillar, session);
                self.client_acts(client)?;
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
            if from < n
                && let Some(client) = to.checked_sub(n).and_then(|client| self.clients.get_mut(client))
            {
                client.disconnected(replica_id(from), PillarId(pillar));
            }
        }
    }

    /// Has a replica take a turn at this time, if it would sleep until then.
    pub(super) fn wake(&mut self, replica: usize, at: Time) {
        self.queue.wake(replica, at.max(self.replicas[replica].paused_until).max(self.now));
    }

    pub(super) fn send(&mut self, from: Endpoint, to: Endpoint, pillar: PillarId, payload: Bytes) {
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
        let World { clients, random, checkers, .. } = self;
        let client = &mut clients[index];
        while let Some(submitted) = client.submit(now, random) {
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
            Some(client) if client < self.options.clients => format!("c{client}"),
            Some(client) => format!("h{client}"),
            None => format!("r{endpoint}"),
        }
    }

    pub(super) fn new_replica(&mut self, id: usize) -> SimReplica {
        let faults = &self.options.faults;
        let drift = faults.drift.min(900_000);
        let rate = 1_000_000 - drift / 2 + self.random.below(drift + 1);
        let clock = Clock { rate, ahead: self.random.below(faults.skew + 1) };
        let member = self.new_member(id);
        let behaviour = self.options.byzantine.iter().find(|(replica, _)| *replica == id);
        let behaviour = behaviour.map(|(_, behaviour)| *behaviour);
        let casting = Casting {
            me: replica_id(id),
            identity: Arc::clone(&self.cluster.replicas[id]),
            limits: self.limits.clone(),
            clients: self.options.clients,
            view_timeout: self.options.view_timeout,
            pillars: self.options.pillars,
        };
        let byzantine = behaviour.map(|behaviour| Byzantine::new(casting, behaviour, &mut self.random));
        let everybody = usize::from(self.options.replicas) + self.options.all_clients();
        let twin = (behaviour == Some(Behaviour::Twins)).then(|| Twin {
            member: self.new_member(id),
            sides: vec![FIRST | SECOND; everybody],
            is_restless: true,
        });
        let (inbox, paused_until, starts_again) = (Vec::new(), 0, false);
        SimReplica { member: Some(member), starts_again, clock, inbox, paused_until, byzantine, twin }
    }

    pub(super) fn new_member(&self, id: usize) -> Box<Member<Service>> {
        let identity: &Arc<Identity> = &self.cluster.replicas[id];
        let (config, keyring) = (&self.cluster.config, &self.cluster.keyring);
        let threads = self.options.threads;
        let ballast = self.options.rescue.as_ref().map_or(0, |rescue| rescue.ballast);
        let service = Service::with(ballast, &self.service_faults[id]);
        owned_by(id, || Box::new(Member::new(config, replica_id(id), identity, keyring, service, threads)))
    }

    fn new_client(&self, index: usize) -> SimClient {
        let habits = (self.options.outstanding, self.options.think);
        let mut client =
            SimClient::new(&self.cluster.config, &self.cluster.clients[index], &self.cluster.keyring, habits);
        client.wants = self.options.operations;
        client.operation_bytes = self.options.operation_bytes();
        client
    }
}

pub(super) fn replica_id(index: usize) -> ReplicaId {
    ReplicaId(u16::try_from(index).expect("few replicas"))
}

pub(super) fn client_id(index: usize) -> ClientId {
    ClientId(u32::try_from(index).expect("few clients"))
}
