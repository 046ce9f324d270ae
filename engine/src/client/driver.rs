use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hypostyle_app_api::{ClientId, Instant, Number, PillarId, ReplicaId};
use hypostyle_crypto::{
    Class, Desk, Domain, Finished, Identity, KeyError, Pool, Session, Signer, SigningKey, Verdict, Verified,
};
use hypostyle_net::{ConnectionId, Event, Peer, Transport};

use super::clock::Clock;
use super::core::ClientCore;
use super::counters::DriverCounters;
use super::error::{NotSent, Rejected};
use super::intake::{self, Intake};
use super::output::{ClientOutput, Completion};
use super::settings::ClientSettings;
use crate::config::ClusterConfig;
use crate::reply::{CLIENT_FRAME, Incoming, ReplyMessage};

/// Runs one or many clients on one thread over one mio loop: the shell of [`ClientCore`]. It moves bytes and time.
///
/// The thread's owner calls [`Driver::turn`] again and again, takes what was settled from [`Driver::settled`], and
/// submits more. What is submitted goes out when the next turn begins, with one write for each touched socket.
/// Clients are named by their index, in the order in which they were added.
pub struct Driver {
    transport: Transport,
    clock: Clock,
    now: Instant,
    settings: ClientSettings,
    domain: Domain,
    addresses: Vec<SocketAddr>,
    members: Vec<Member>,
    by_id: HashMap<ClientId, usize>,
    links: HashMap<ConnectionId, Link>,
    desk: Desk<ReplyMessage, Link>,
    intake: Intake,
    out: ClientOutput,
    settled: Vec<Settled>,
    /// No client's deadline is before this moment.
    earliest: Option<Instant>,
    troubles: Vec<Option<String>>,
    counters: DriverCounters,
}

/// A client to be driven.
#[derive(Debug)]
pub struct Registration {
    /// Its index in the configuration.
    pub client: ClientId,
    /// Its private key.
    pub key: SigningKey,
    /// Its first number, above all it ever used.
    pub first: Number,
}

/// An operation of one of the clients is settled.
#[derive(Debug)]
pub struct Settled {
    /// The client's index in this driver.
    pub client: usize,
    /// What came of it.
    pub completion: Completion,
}

/// Why a driver can't be made.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// There must be at least one client.
    #[error("no client to drive")]
    NoClients,
    /// The configuration doesn't know the client.
    #[error("client {0} isn't in the cluster's configuration, which has {1} clients")]
    NotRegistered(ClientId, usize),
    /// Another key is registered for the client.
    #[error("the private key isn't that of client {0} in the cluster's configuration")]
    WrongKey(ClientId),
    /// A client can be added once.
    #[error("client {0} is driven already")]
    Twice(ClientId),
    /// A public key of the configuration is no good.
    #[error("the cluster's configuration: {0}")]
    Key(#[from] KeyError),
    /// The system refuses an event loop.
    #[error("no event loop: {0}")]
    Io(#[from] io::Error),
}

struct Member {
    core: ClientCore,
    /// By replica and pillar.
    connections: Vec<Option<ConnectionId>>,
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug)]
struct Link {
    id: ConnectionId,
    member: usize,
    replica: ReplicaId,
    pillar: PillarId,
}

/// Type byte of a request in a frame to a replica.
const REQUEST: &[u8] = &[CLIENT_FRAME];
const WRONG_SIGNATURE: &str = "a reply with a wrong signature";
const WRONG_TAG: &str = "a reply with a wrong tag";
/// Requests from this length on aren't copied into the connection's write buffer.
const SHARED_MIN: usize = 4096;
/// Bytes read from one connection before the next has its turn.
const READ_BUDGET: usize = 64 << 10;

impl Driver {
    /// A driver of these clients; it dials the replicas at once.
    ///
    /// # Errors
    /// See [`DriverError`].
    pub fn new(cluster: &ClusterConfig, clients: Vec<Registration>) -> Result<Self, DriverError> {
        let mut clients = clients.into_iter();
        let first = clients.next().ok_or(DriverError::NoClients)?;
        let domain = cluster.domain();
        let keyring = Arc::new(cluster.keyring()?);
        let (id, number) = (first.client, first.first);
        let identity = identity(cluster, domain, first)?;
        let pool = Pool::new(0, Arc::clone(&keyring), Arc::clone(&identity));
        let transport = Transport::new(intake::transport_settings(cluster, keyring, &identity, id))?;
        let clock = Clock::start();
        let mut driver = Self {
            transport,
            clock,
            now: clock.now(),
            settings: ClientSettings::of(cluster),
            domain,
            addresses: cluster.replicas.iter().map(|replica| replica.client).collect(),
            members: Vec::new(),
            by_id: HashMap::new(),
            links: HashMap::new(),
            desk: pool.desk(Arc::new(|| {})),
            intake: Intake::default(),
            out: ClientOutput::default(),
            settled: Vec::new(),
            earliest: None,
            troubles: vec![None; cluster.n()],
            counters: DriverCounters::default(),
        };
        driver.add(id, identity, number)?;
        for registration in clients {
            driver.add_client(cluster, registration)?;
        }
        Ok(driver)
    }

    /// Adds a client and returns its index.
    ///
    /// # Errors
    /// See [`DriverError`].
    pub fn add_client(
        &mut self,
        cluster: &ClusterConfig,
        registration: Registration,
    ) -> Result<usize, DriverError> {
        let (client, first) = (registration.client, registration.first);
        let identity = identity(cluster, self.domain, registration)?;
        self.add(client, identity, first)
    }

    /// How many clients there are.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.members.len()
    }

    /// A client's core: its window, floor and numbers.
    ///
    /// # Panics
    /// When there is no client with this index.
    #[must_use]
    pub fn core(&self, client: usize) -> &ClientCore {
        &self.members[client].core
    }

    /// Signs and submits a request of these operations; see [`ClientCore::submit`].
    ///
    /// The time that counts as its start is the end of the last turn's wait, or the last [`Driver::refresh`].
    ///
    /// # Errors
    /// When it can't be sent; nothing has changed then.
    ///
    /// # Panics
    /// When there is no client with this index.
    pub fn submit(&mut self, client: usize, operations: &[&[u8]]) -> Result<Number, NotSent> {
        let member = &mut self.members[client];
        let first = member.core.submit(self.now, operations, &mut self.out)?;
        self.counters.authenticated += 1;
        self.after_submit(client);
        Ok(first)
    }

    /// Submits a request that was signed before; see [`ClientCore::submit_signed`].
    ///
    /// # Errors
    /// When it can't be sent, now or ever; nothing has changed then.
    ///
    /// # Panics
    /// When there is no client with this index.
    pub fn submit_signed(&mut self, client: usize, request: Bytes) -> Result<Number, NotSent> {
        let first = self.members[client].core.submit_signed(self.now, request, &mut self.out)?;
        self.after_submit(client);
        Ok(first)
    }

    /// Reads the clock: for who submits a while after the last turn.
    pub fn refresh(&mut self) -> Instant {
        self.now = self.clock.now();
        self.now
    }

    /// One turn: writes what is waiting, waits for the network at most `timeout` (for ever when `None`), reads,
    /// counts, and sends again what is late.
    ///
    /// # Errors
    /// Those of the event loop itself; a connection's are its own affair.
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.counters.turns += 1;
        self.transport.flush();
        let now = self.refresh();
        let due = self.earliest.map(|earliest| earliest.since(now));
        self.transport.poll(now, due.into_iter().chain(timeout).min())?;
        self.refresh();
        while let Some(event) = self.transport.event() {
            self.on_event(event);
        }
        if self.earliest.is_some_and(|earliest| earliest <= self.now) {
            self.tick();
        }
        Ok(())
    }

    /// What was settled since this was last called. The caller drains it.
    pub fn settled(&mut self) -> std::vec::Drain<'_, Settled> {
        self.settled.drain(..)
    }

    /// Wakes a turn that waits, from any thread.
    #[must_use]
    pub fn wake_handle(&self) -> Box<dyn Fn() + Send + Sync> {
        let waker = self.transport.wake_handle();
        // A wake that fails is a closed event loop: nobody sleeps there.
        Box::new(move || drop(waker.wake()))
    }

    /// Connections that are up, and how many there should be.
    #[must_use]
    pub fn connections(&self) -> (usize, usize) {
        let wanted = self.members.iter().map(|member| member.core.connections().count()).sum();
        (self.links.len(), wanted)
    }

    /// Why each replica without a connection can't be reached, as far as known.
    pub fn troubles(&self) -> impl Iterator<Item = (ReplicaId, &str)> {
        (0..).map(ReplicaId).zip(&self.troubles).filter_map(|(id, trouble)| Some((id, trouble.as_deref()?)))
    }

    /// What it did so far.
    #[must_use]
    pub fn counters(&self) -> DriverCounters {
        let (verifications, _, remembered) = self.desk.counters();
        let syscalls = self.transport.counters().syscalls();
        DriverCounters { verifications, remembered, syscalls, ..self.counters.clone() }
    }

    /// The driver's clock.
    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    fn add(
        &mut self,
        client: ClientId,
        identity: Arc<Identity>,
        first: Number,
    ) -> Result<usize, DriverError> {
        let index = self.members.len();
        if self.by_id.contains_key(&client) {
            return Err(DriverError::Twice(client));
        }
        let core = ClientCore::new(self.settings.clone(), Arc::clone(&identity), first);
        for (replica, pillar) in core.connections() {
            let address = self.addresses[replica.index()];
            self.transport.dial_as(Arc::clone(&identity), Peer::replica(replica), pillar, address);
        }
        let links = usize::from(self.settings.replicas) * usize::from(self.settings.pillars);
        self.members.push(Member { core, connections: vec![None; links] });
        self.by_id.insert(client, index);
        Ok(index)
    }

    fn after_submit(&mut self, client: usize) {
        self.note_deadline(client);
        self.transmit(client);
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Up { id, peer, pillar, session, .. } => self.on_up(id, (peer, pillar), session),
            Event::Down { id, reason, .. } => self.on_down(id, reason),
            Event::Readable(id) => self.read(id),
            Event::Refused { peer, reason, .. } => self.on_refused(peer, reason),
            // Nobody connects to a client.
            Event::Arrived(_) => {}
        }
    }

    fn on_up(&mut self, id: ConnectionId, (peer, pillar): (Peer, PillarId), session: Option<Session>) {
        // None when it is down again already.
        let me = self.transport.local(id);
        let member = me.and_then(|me| self.by_id.get(&ClientId(me.id)).copied());
        let replica = u16::try_from(peer.id).ok().map(ReplicaId).filter(|id| id.0 < self.settings.replicas);
        let (Some(member), Some(replica)) = (member, replica) else { return };
        let place = self.place(replica, pillar);
        if let Some(former) = self.members[member].connections[place].replace(id) {
            self.links.remove(&former);
        }
        self.links.insert(id, Link { id, member, replica, pillar });
        self.troubles[replica.index()] = None;
        self.members[member].core.connected(replica, pillar, session, &mut self.out);
        self.transmit(member);
    }

    fn on_down(&mut self, id: ConnectionId, reason: String) {
        if let Some(link) = self.unlink(id) {
            self.troubles[link.replica.index()] = Some(reason);
        }
    }

    fn on_refused(&mut self, peer: Option<Peer>, reason: String) {
        let replica = peer.and_then(|peer| usize::try_from(peer.id).ok());
        if let Some(trouble) = replica.and_then(|replica| self.troubles.get_mut(replica)) {
            *trouble = Some(reason);
        }
    }

    fn unlink(&mut self, id: ConnectionId) -> Option<Link> {
        let link = self.links.remove(&id)?;
        let place = self.place(link.replica, link.pillar);
        let member = &mut self.members[link.member];
        member.connections[place] = None;
        member.core.disconnected(link.replica, link.pillar, &mut self.out);
        self.transmit(link.member);
        Some(link)
    }

    fn read(&mut self, id: ConnectionId) {
        let Some(link) = self.links.get(&id).copied() else { return };
        self.intake.read(&mut self.transport, id, READ_BUDGET);
        if let Some(what) = self.intake.malformed() {
            self.refuse(link, what);
        }
        while let Some(frame) = self.intake.pop() {
            match frame {
                Incoming::Reply(reply) => self.on_reply(link, reply),
                Incoming::Hint(first) => {
                    let core = &mut self.members[link.member].core;
                    core.on_hint(self.now, (link.replica, link.pillar), first, &mut self.out);
                    self.transmit(link.member);
                }
            }
        }
    }

    fn on_reply(&mut self, link: Link, reply: ReplyMessage) {
        if let Err(rejected) = self.members[link.member].core.admit(link.replica, &reply) {
            return self.on_rejected(link, rejected);
        }
        if self.settings.tags {
            return match self.members[link.member].core.verify_tag(reply) {
                Ok(reply) => self.count(link, &reply),
                Err(_) => self.refuse(link, WRONG_TAG),
            };
        }
        // Never refused: what is verified on this thread is taken back below, before the next.
        let taken = self.desk.verify(u32::from(link.replica.0), Class::Seal, reply, link);
        debug_assert!(taken, "the desk is empty");
        while let Some(Finished::Verified { context, verdict }) = self.desk.finished() {
            match verdict {
                Verdict::Verified(reply) => self.count(context, &reply),
                Verdict::Unsure(_) | Verdict::Refused(_) => self.refuse(context, WRONG_SIGNATURE),
            }
        }
    }

    fn count(&mut self, link: Link, reply: &Verified<ReplyMessage>) {
        self.counters.replies += 1;
        self.members[link.member].core.on_verified(self.now, reply, &mut self.out);
        self.transmit(link.member);
    }

    fn on_rejected(&mut self, link: Link, rejected: Rejected) {
        match rejected {
            Rejected::Late => self.counters.late += 1,
            _ => self.refuse(link, rejected.reason()),
        }
    }

    /// A replica that sends what no correct one does loses its connection: the back-off before the next bounds what
    /// it can cost.
    fn refuse(&mut self, link: Link, what: &'static str) {
        *self.counters.refusals.entry((link.replica.0, what)).or_default() += 1;
        self.transport.close(link.id, what);
        if self.unlink(link.id).is_some() {
            self.troubles[link.replica.index()] = Some(what.to_owned());
        }
    }

    fn tick(&mut self) {
        self.earliest = None;
        for member in 0..self.members.len() {
            let core = &mut self.members[member].core;
            if core.next_deadline().is_some_and(|deadline| deadline <= self.now) {
                core.tick(self.now, &mut self.out);
                self.transmit(member);
            }
            self.note_deadline(member);
        }
    }

    fn note_deadline(&mut self, member: usize) {
        let deadline = self.members[member].core.next_deadline();
        self.earliest = self.earliest.into_iter().chain(deadline).min();
    }

    /// Puts on connections what a client's core wants sent, and collects what it settled.
    fn transmit(&mut self, member: usize) {
        for send in self.out.sends.drain(..) {
            let place = send.replica.index() * usize::from(self.settings.pillars) + send.pillar.index();
            let Some(id) = self.members[member].connections[place] else { continue };
            let sent = if send.request.len() < SHARED_MIN {
                self.transport.send(id, &[REQUEST, &send.request])
            } else {
                self.transport.send_shared(id, REQUEST, &send.request)
            };
            self.counters.requests += u64::from(sent);
            self.counters.dropped += u64::from(!sent);
        }
        let settled = |completion| Settled { client: member, completion };
        self.settled.extend(self.out.completions.drain(..).map(settled));
    }

    fn place(&self, replica: ReplicaId, pillar: PillarId) -> usize {
        replica.index() * usize::from(self.settings.pillars) + pillar.index()
    }
}

fn identity(
    cluster: &ClusterConfig,
    domain: Domain,
    registration: Registration,
) -> Result<Arc<Identity>, DriverError> {
    let client = registration.client;
    let known = cluster.clients.len();
    let entry = cluster.clients.get(client.index()).ok_or(DriverError::NotRegistered(client, known))?;
    if entry.key != registration.key.public() {
        return Err(DriverError::WrongKey(client));
    }
    Ok(Arc::new(Identity::new(Signer::Client(client), registration.key, domain)))
}
