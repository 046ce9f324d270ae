//! Transports in one thread on the loopback, polled until a condition holds.

#![allow(dead_code, clippy::unwrap_used)]

mod proxy;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hypostyle_app_api::{ClientId, Digest, Instant, PillarId, ReplicaId};
use hypostyle_crypto::{Domain, Identity, Keyring, Signer, SigningKey, Suite};
use hypostyle_net::{Arrival, ConnectionId, Event, Peer, Reject, Role, Settings, TicketKey, Transport};

pub(crate) use proxy::Proxy;

pub(crate) const PILLARS: u16 = 4;
pub(crate) const FRAME_MAX: usize = 1 << 20;
pub(crate) const WRITE_MAX: usize = 2 << 20;

/// Keys of four replicas and four clients.
pub(crate) struct Keys {
    pub(crate) keyring: Arc<Keyring>,
    pem: BTreeMap<Peer, String>,
}

impl Keys {
    pub(crate) fn new() -> Self {
        Self::of_configuration(Digest([7; 32]))
    }

    pub(crate) fn of_configuration(configuration: Digest) -> Self {
        let keys: Vec<_> = (0..8).map(|_| SigningKey::generate(Suite::Ed25519)).collect();
        let public: Vec<_> = keys.iter().map(SigningKey::public).collect();
        let keyring = Keyring::new(Domain { configuration }, &public[..4], &public[4..]).unwrap();
        let peers = (0..4).map(replica).chain((0..4).map(client));
        let pem = peers.zip(&keys).map(|(peer, key)| (peer, key.to_pem().to_string())).collect();
        Self { keyring: Arc::new(keyring), pem }
    }

    pub(crate) fn identity(&self, me: Peer) -> Arc<Identity> {
        let key = SigningKey::from_pem(&self.pem[&me]).unwrap();
        let id = u16::try_from(me.id).unwrap();
        let signer = match me.role {
            Role::Replica => Signer::Replica(ReplicaId(id)),
            Role::Client => Signer::Client(ClientId(me.id)),
        };
        Arc::new(Identity::new(signer, key, self.keyring.domain()))
    }

    pub(crate) fn settings(&self, me: Peer) -> Settings {
        Settings {
            keyring: Arc::clone(&self.keyring),
            identity: self.identity(me),
            me,
            pillars: PILLARS,
            summary: Bytes::from_static(b"pillars=4\n"),
            frame_max_replica: FRAME_MAX,
            frame_max_request: FRAME_MAX,
            frame_max_reply: FRAME_MAX,
            write_buffer_max: WRITE_MAX,
            handshakes_max: 64,
            connections_max: 1024,
            handshake_timeout: Duration::from_secs(2),
            source: None,
            tickets: Arc::new(TicketKey::generate()),
        }
    }
}

pub(crate) fn replica(id: u32) -> Peer {
    Peer { role: Role::Replica, id }
}

pub(crate) fn client(id: u32) -> Peer {
    Peer { role: Role::Client, id }
}

pub(crate) fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// A transport and what it has seen.
pub(crate) struct Node {
    pub(crate) transport: Transport,
    pub(crate) up: BTreeMap<ConnectionId, (Peer, PillarId)>,
    pub(crate) ups: usize,
    pub(crate) downs: Vec<String>,
    pub(crate) refused: Vec<(Option<Peer>, String)>,
    pub(crate) arrived: Vec<Arrival>,
    pub(crate) frames: Vec<(ConnectionId, Bytes)>,
    pub(crate) budget: usize,
    /// Off: leaves everything unread.
    pub(crate) reads: bool,
    /// Refuses frames of this content.
    pub(crate) dislikes: Option<Bytes>,
    unread: Vec<ConnectionId>,
}

impl Node {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            transport: Transport::new(settings).unwrap(),
            up: BTreeMap::new(),
            ups: 0,
            downs: Vec::new(),
            refused: Vec::new(),
            arrived: Vec::new(),
            frames: Vec::new(),
            budget: 1 << 16,
            reads: true,
            dislikes: None,
            unread: Vec::new(),
        }
    }

    /// The link with `peer` for `pillar`.
    pub(crate) fn link(&self, peer: Peer, pillar: u16) -> ConnectionId {
        let wanted = (peer, PillarId(pillar));
        *self.up.iter().find(|(_, link)| **link == wanted).expect("the link is up").0
    }

    pub(crate) fn has_link(&self, peer: Peer, pillar: u16) -> bool {
        self.up.values().any(|link| *link == (peer, PillarId(pillar)))
    }

    pub(crate) fn was_refused(&self, text: &str) -> bool {
        self.refused.iter().any(|(_, reason)| reason.contains(text))
    }

    pub(crate) fn turn(&mut self, now: Instant) {
        self.transport.poll(now, Some(Duration::from_millis(1))).unwrap();
        while let Some(event) = self.transport.event() {
            match event {
                Event::Up { id, peer, pillar, .. } => {
                    self.ups += 1;
                    assert_eq!(self.up.insert(id, (peer, pillar)), None);
                }
                Event::Readable(id) => self.unread.push(id),
                Event::Down { id, peer, pillar, reason } => {
                    assert_eq!(self.up.remove(&id), Some((peer, pillar)), "one Down for each Up");
                    self.downs.push(reason);
                }
                Event::Arrived(arrival) => self.arrived.push(*arrival),
                Event::Refused { peer, reason, .. } => self.refused.push((peer, reason)),
            }
        }
        if self.reads {
            for id in std::mem::take(&mut self.unread) {
                self.read(id);
            }
        }
        self.transport.flush();
    }

    fn read(&mut self, id: ConnectionId) {
        let (frames, dislikes) = (&mut self.frames, &self.dislikes);
        self.transport.read(id, self.budget, &mut |payload| {
            if dislikes.as_deref() == Some(payload.as_slice()) {
                return ControlFlow::Break(Reject("not to my taste"));
            }
            frames.push((id, payload.into_bytes()));
            ControlFlow::Continue(())
        });
    }
}

/// Nodes, proxies and their common clock, which tests may put forward.
pub(crate) struct World {
    pub(crate) nodes: Vec<Node>,
    pub(crate) proxies: Vec<Proxy>,
    started: std::time::Instant,
    ahead: Duration,
}

impl World {
    pub(crate) fn new(nodes: Vec<Node>) -> Self {
        Self { nodes, proxies: Vec::new(), started: std::time::Instant::now(), ahead: Duration::ZERO }
    }

    /// A replica 0 that listens for replicas, and a replica 1 that dials it for pillar 0, both up.
    pub(crate) fn pair(keys: &Keys) -> (Self, SocketAddr) {
        let mut world =
            Self::new(vec![Node::new(keys.settings(replica(0))), Node::new(keys.settings(replica(1)))]);
        let address = world.nodes[0].transport.listen(loopback(), Role::Replica).unwrap();
        world.nodes[1].transport.dial(replica(0), PillarId(0), address);
        world.until("both up", |w| w.nodes.iter().all(|node| node.up.len() == 1));
        (world, address)
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::default() + self.started.elapsed() + self.ahead
    }

    /// Puts the clock forward and lets everybody notice.
    pub(crate) fn skip(&mut self, time: Duration) {
        self.ahead += time;
        self.turn();
    }

    pub(crate) fn turn(&mut self) {
        for index in 0..self.nodes.len() {
            let now = self.now();
            self.nodes[index].turn(now);
            self.proxies.iter_mut().for_each(Proxy::turn);
        }
    }

    pub(crate) fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while !holds(self) {
            assert!(std::time::Instant::now() < deadline, "not in 20 s: {what}");
            self.turn();
        }
    }
}
