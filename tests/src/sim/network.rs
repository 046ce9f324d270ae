//! Connections between replicas, and between clients and replicas, one for each pillar. A connection keeps its order, as
//! TCP does, until it is cut: then what was in flight is gone, and it comes up again. Frames may be lost where a queue is
//! full, come late, twice, or again after a long time.

use std::collections::VecDeque;

use bytes::Bytes;

use super::queue::{Event, Queue, Time};
use super::random::Random;

/// Replicas have the indices 0..n, clients those from n on, the Byzantine ones last.
pub(super) type Endpoint = usize;

/// One direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wire {
    pub(super) from: Endpoint,
    pub(super) to: Endpoint,
    pub(super) pillar: u16,
}

/// How bad the network is.
#[derive(Clone, Debug)]
pub struct NetworkOptions {
    /// The shortest a frame takes.
    pub delay_min: Time,
    /// How much longer it may take.
    pub delay_spread: Time,
    /// Frames lost, of a thousand.
    pub loss: u64,
    /// Frames that come twice, of a thousand.
    pub duplicates: u64,
    /// Frames after which an old one comes again, of a thousand.
    pub replays: u64,
    /// Whether a connection keeps its order.
    pub in_order: bool,
    /// How long until a connection that was cut is up again.
    pub reconnect: Time,
}

#[derive(Clone, Debug, Default)]
struct Link {
    up: bool,
    epoch: u32,
    last: Time,
    clogged_until: Time,
}

pub(super) struct Network {
    options: NetworkOptions,
    replicas: usize,
    endpoints: usize,
    pillars: usize,
    links: Vec<Link>,
    /// Whether nothing gets from one endpoint to another.
    blocked: Vec<bool>,
    gone: Vec<bool>,
    /// Frames that may come again.
    old: VecDeque<(Wire, Bytes)>,
    pub(super) frames: u64,
    pub(super) bytes: u64,
}

/// Frames remembered to be replayed.
const OLD_MAX: usize = 64;

impl Link {
    fn end(&mut self) {
        *self = Self { epoch: self.epoch + 1, ..Self::default() };
    }
}

impl Wire {
    pub(super) fn back(self) -> Self {
        Self { from: self.to, to: self.from, ..self }
    }
}

impl Network {
    pub(super) fn new(options: NetworkOptions, replicas: usize, clients: usize, pillars: u16) -> Self {
        let endpoints = replicas + clients;
        let pillars = usize::from(pillars);
        Self {
            options,
            replicas,
            endpoints,
            pillars,
            links: vec![Link::default(); endpoints * endpoints * pillars],
            blocked: vec![false; endpoints * endpoints],
            gone: vec![false; endpoints],
            old: VecDeque::new(),
            frames: 0,
            bytes: 0,
        }
    }

    /// From now on no frame is lost, doubled or replayed, and every one comes soon. Connections that stood still end.
    pub(super) fn calm(&mut self, now: Time, random: &mut Random, queue: &mut Queue) {
        self.options.loss = 0;
        self.options.duplicates = 0;
        self.options.replays = 0;
        let late = now + self.options.delay_min + self.options.delay_spread;
        for from in 0..self.endpoints {
            for wire in self.wires_of(from) {
                let link = &self.links[self.link(wire)];
                if link.last > late || link.clogged_until > now {
                    self.cut(now, random, wire, queue);
                }
            }
        }
        self.options.delay_spread = self.options.delay_spread.min(self.options.delay_min);
    }

    pub(super) fn send(
        &mut self,
        now: Time,
        random: &mut Random,
        wire: Wire,
        payload: Bytes,
        queue: &mut Queue,
    ) {
        self.frames += 1;
        self.bytes += payload.len() as u64;
        if !self.carries(wire) || random.chance(self.options.loss) {
            return;
        }
        if self.options.replays > 0 {
            self.replay(now, random, queue);
            self.remember(wire, &payload, random);
        }
        if random.chance(self.options.duplicates) {
            self.transmit(now, random, wire, payload.clone(), queue);
        }
        self.transmit(now, random, wire, payload, queue);
    }

    /// Whether a frame that left in this epoch of its connection arrives.
    pub(super) fn arrives(&self, wire: Wire, epoch: u32) -> bool {
        let link = &self.links[self.link(wire)];
        link.up && link.epoch == epoch && !self.gone[wire.to]
    }

    /// Whether a connection is up.
    pub(super) fn is_up(&self, wire: Wire) -> bool {
        self.links[self.link(wire)].up
    }

    /// Brings a connection up, both ways. False when it is up already, or can't come up now.
    pub(super) fn connect(&mut self, wire: Wire) -> bool {
        let stopped = |a: Endpoint, b: Endpoint| self.blocked[a * self.endpoints + b] || self.gone[a];
        if self.is_up(wire) || stopped(wire.from, wire.to) || stopped(wire.to, wire.from) {
            return false;
        }
        for wire in [wire, wire.back()] {
            let link = self.link(wire);
            self.links[link].up = true;
        }
        true
    }

    /// Ends a connection with all that is in flight on it; it is up again some time later, if it can be.
    pub(super) fn cut(&mut self, now: Time, random: &mut Random, wire: Wire, queue: &mut Queue) {
        for wire in [wire, wire.back()] {
            let link = self.link(wire);
            self.links[link].end();
        }
        queue.push(now + 1 + random.below(self.options.reconnect), Event::Up(wire));
    }

    /// Ends all connections of an endpoint.
    pub(super) fn leave(&mut self, endpoint: Endpoint) {
        self.gone[endpoint] = true;
        for wire in self.wires_of(endpoint) {
            let link = self.link(wire);
            self.links[link].end();
        }
    }

    /// An endpoint is back, and its connections will be.
    pub(super) fn come_back(
        &mut self,
        now: Time,
        random: &mut Random,
        endpoint: Endpoint,
        queue: &mut Queue,
    ) {
        self.gone[endpoint] = false;
        self.reconnect(now, random, queue);
    }

    /// Nothing gets from `from` to `to` until [`Network::unblock`].
    pub(super) fn block(&mut self, from: Endpoint, to: Endpoint) {
        self.blocked[from * self.endpoints + to] = true;
    }

    /// Ends all blocks. Connections that were blocked have lost what was sent: they end, and come up anew.
    pub(super) fn unblock(&mut self, now: Time, random: &mut Random, queue: &mut Queue) {
        for from in 0..self.endpoints {
            for to in 0..self.endpoints {
                if std::mem::take(&mut self.blocked[from * self.endpoints + to]) {
                    for pillar in (0u16..).take(self.pillars) {
                        let wire = Wire { from, to, pillar };
                        if self.is_up(wire) {
                            self.cut(now, random, wire, queue);
                        }
                    }
                }
            }
        }
        self.reconnect(now, random, queue);
    }

    /// What is sent until then from one endpoint to another comes later than this.
    pub(super) fn clog(&mut self, from: Endpoint, to: Endpoint, until: Time) {
        for pillar in (0u16..).take(self.pillars) {
            let link = self.link(Wire { from, to, pillar });
            self.links[link].clogged_until = until;
        }
    }

    /// Every connection that is down comes up some time.
    pub(super) fn reconnect(&mut self, now: Time, random: &mut Random, queue: &mut Queue) {
        for from in 0..self.replicas {
            for to in from + 1..self.endpoints {
                for pillar in (0u16..).take(self.pillars) {
                    let wire = Wire { from, to, pillar };
                    if !self.is_up(wire) {
                        queue.push(now + 1 + random.below(self.options.reconnect), Event::Up(wire));
                    }
                }
            }
        }
    }

    fn carries(&self, wire: Wire) -> bool {
        self.is_up(wire) && !self.blocked[wire.from * self.endpoints + wire.to]
    }

    fn transmit(&mut self, now: Time, random: &mut Random, wire: Wire, payload: Bytes, queue: &mut Queue) {
        let index = self.link(wire);
        let link = &mut self.links[index];
        let delay = self.options.delay_min + random.skewed(self.options.delay_spread);
        let mut at = link.clogged_until.max(now) + delay;
        if self.options.in_order {
            at = at.max(link.last);
            link.last = at;
        }
        queue.push(at, Event::Frame { wire, epoch: link.epoch, payload });
    }

    fn remember(&mut self, wire: Wire, payload: &Bytes, random: &mut Random) {
        if self.old.len() < OLD_MAX {
            self.old.push_back((wire, payload.clone()));
        } else if random.chance(20) {
            let place = random.index(OLD_MAX);
            self.old[place] = (wire, payload.clone());
        }
    }

    fn replay(&mut self, now: Time, random: &mut Random, queue: &mut Queue) {
        if !self.old.is_empty() && random.chance(self.options.replays) {
            let (wire, payload) = self.old[random.index(self.old.len())].clone();
            if self.carries(wire) {
                self.transmit(now, random, wire, payload, queue);
            }
        }
    }

    fn wires_of(&self, endpoint: Endpoint) -> Vec<Wire> {
        let others = (0..self.endpoints).filter(|other| *other != endpoint);
        let pillars = u16::try_from(self.pillars).expect("made of 16 bits");
        others
            .flat_map(|other| (0..pillars).map(move |pillar| Wire { from: endpoint, to: other, pillar }))
            .flat_map(|wire| [wire, wire.back()])
            .collect()
    }

    fn link(&self, wire: Wire) -> usize {
        (wire.from * self.endpoints + wire.to) * self.pillars + usize::from(wire.pillar)
    }
}
