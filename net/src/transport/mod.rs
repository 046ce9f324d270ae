//! The event loop of one worker, in parts: this one holds the state and the turn, the others what a turn consists of.

mod accepting;
mod dialling;
mod handshaking;
mod links;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hypostyle_app_api::{Instant, PillarId};
use hypostyle_crypto::Identity;
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;

use crate::connection::{Connection, Phase};
use crate::counters::Counters;
use crate::dialer::{DialKey, Dialer};
use crate::event::{ConnectionId, Event};
use crate::handshake::{Allowance, Local, Resumption};
use crate::peer::Peer;
use crate::read_buffer::ClientReader;
use crate::settings::Settings;
use crate::transport::accepting::Listener;

const WAKER: Token = Token(usize::MAX);
const FIRST_LISTENER: usize = usize::MAX / 2;
const EVENTS: usize = 1024;
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// All connections of one worker thread, and the `epoll` they hang on. No locks; nothing is allocated per frame.
pub struct Transport {
    settings: Settings,
    local: Local,
    poll: Poll,
    ready: Events,
    waker: Arc<Waker>,
    /// The latest time known.
    now: Instant,
    /// The pillars this worker owns; none: all.
    serves: Option<BTreeSet<PillarId>>,
    listeners: Vec<Listener>,
    last_listener: usize,
    /// Nothing is accepted before.
    accept_at: Option<Instant>,
    connections: Slab<Connection>,
    next_serial: u64,
    /// Accepted connections in their handshake, oldest first.
    responders: BTreeSet<(Instant, ConnectionId)>,
    /// Dialled ones.
    initiators: BTreeSet<(Instant, ConnectionId)>,
    /// Half-open connections that may have a message.
    handshakes: VecDeque<ConnectionId>,
    allowance: Allowance,
    dialer: Dialer,
    resumptions: BTreeMap<(Peer, Peer), Resumption>,
    links: BTreeMap<DialKey, ConnectionId>,
    /// Links between replicas, which have a heartbeat.
    beating: Vec<ConnectionId>,
    beat_at: Option<Instant>,
    /// To flush.
    touched: Vec<ConnectionId>,
    /// Of some of them a part was written and the next can be at once.
    unwritten: bool,
    /// Links of which a `read` left some.
    unfinished: Vec<ConnectionId>,
    scratch: Vec<u8>,
    events: VecDeque<Event>,
    counters: Counters,
}

impl Transport {
    /// A transport without connections.
    ///
    /// # Errors
    /// When the settings contradict themselves or `epoll` can't be had.
    pub fn new(settings: Settings) -> io::Result<Self> {
        settings.check()?;
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let local = Local {
            keyring: Arc::clone(&settings.keyring),
            pillars: settings.pillars,
            summary: settings.summary.clone(),
            tickets: Arc::clone(&settings.tickets),
        };
        Ok(Self {
            scratch: vec![0; ClientReader::SCRATCH_LEN],
            settings,
            local,
            poll,
            ready: Events::with_capacity(EVENTS),
            waker,
            now: Instant::default(),
            serves: None,
            listeners: Vec::new(),
            last_listener: 0,
            accept_at: None,
            connections: Slab::new(),
            next_serial: 0,
            responders: BTreeSet::new(),
            initiators: BTreeSet::new(),
            handshakes: VecDeque::new(),
            allowance: Allowance::default(),
            dialer: Dialer::default(),
            resumptions: BTreeMap::new(),
            links: BTreeMap::new(),
            beating: Vec::new(),
            beat_at: None,
            touched: Vec::new(),
            unwritten: false,
            unfinished: Vec::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
        })
    }

    /// Ends a [`poll`](Self::poll) that waits, from any thread.
    #[must_use]
    pub fn wake_handle(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Which pillars this worker owns: connections for others come out as [`Event::Arrived`]. All, until told.
    pub fn serves(&mut self, pillars: &[PillarId]) {
        self.serves = Some(pillars.iter().copied().collect());
    }

    /// Keeps a link to `peer` for `pillar` up from now on: dials, and dials again with back-off and jitter. Who dials
    /// whom is the caller's rule; a pair that dials both ways keeps the newer link.
    pub fn dial(&mut self, peer: Peer, pillar: PillarId, address: SocketAddr) {
        self.dial_as(Arc::clone(&self.settings.identity), peer, pillar, address);
    }

    /// [`dial`](Self::dial) in another name than our own: a load generator has many clients in one transport.
    /// [`local`](Self::local) tells which of them a connection belongs to.
    pub fn dial_as(&mut self, identity: Arc<Identity>, peer: Peer, pillar: PillarId, address: SocketAddr) {
        let key = DialKey { me: identity.signer().into(), peer, pillar };
        self.dialer.add(key, identity, address, self.now);
    }

    /// Stops dialling `peer` for `pillar` and closes the link, whoever made it.
    pub fn hang_up(&mut self, peer: Peer, pillar: PillarId) {
        self.hang_up_as(self.settings.me, peer, pillar);
    }

    /// [`hang_up`](Self::hang_up) of what was dialled with [`dial_as`](Self::dial_as).
    pub fn hang_up_as(&mut self, me: Peer, peer: Peer, pillar: PillarId) {
        let key = DialKey { me, peer, pillar };
        let dialled = self.dialer.remove(key, self.now);
        let link = self.links.get(&key).copied();
        for id in dialled.into_iter().chain(link) {
            self.close(id, "hung up");
        }
    }

    /// One turn: one `epoll_wait` of at most `timeout` (none: until something happens), a bounded share of accepting
    /// and of handshakes, then what time demands. Doesn't wait while there are events to drain or work was left over,
    /// and wakes for its own deadlines.
    ///
    /// # Errors
    /// When `epoll` fails: nothing a peer could cause.
    pub fn poll(&mut self, now: Instant, timeout: Option<Duration>) -> io::Result<()> {
        self.now = now;
        self.announce_unfinished();
        self.dial_due();
        self.wait(timeout)?;
        self.accept();
        self.shake_hands();
        // After the sockets: whoever spoke while we were away for long is neither silent nor late.
        self.expire();
        self.beat();
        Ok(())
    }

    /// The next thing that happened. Drain after each [`poll`](Self::poll).
    pub fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`poll`](Self::poll) has something to do though nothing arrives: reaping, dialling, heartbeats. `poll`
    /// minds it by itself.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let timeout = self.settings.handshake_timeout;
        let oldest = [&self.responders, &self.initiators].map(|set| set.first());
        let reaping = oldest.map(|first| first.map(|(since, _)| *since + timeout));
        let accepting = self.accept_at.filter(|_| self.listeners.iter().any(|listener| listener.ready));
        let others = [self.dialer.next_deadline(), self.beat_at, accepting];
        reaping.into_iter().chain(others).flatten().min()
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Bytes waiting to be written on a connection; 0 when it is gone.
    #[must_use]
    pub fn buffered(&self, id: ConnectionId) -> usize {
        self.get(id).map_or(0, |connection| connection.out.len())
    }

    /// The other end's address.
    #[must_use]
    pub fn address(&self, id: ConnectionId) -> Option<SocketAddr> {
        self.get(id).map(|connection| connection.address)
    }

    /// Who we are on a connection that is up.
    #[must_use]
    pub fn local(&self, id: ConnectionId) -> Option<Peer> {
        match &self.get(id)?.phase {
            Phase::Up(link) => Some(link.key.me),
            _ => None,
        }
    }

    /// Closes a connection; a dialled one is dialled again. Its `Down` comes out as an event.
    pub fn close(&mut self, id: ConnectionId, reason: &'static str) {
        self.drop_connection(id, reason);
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let until = self.next_deadline().map(|at| at.since(self.now));
        let timeout =
            if self.has_work() { Some(Duration::ZERO) } else { until.into_iter().chain(timeout).min() };
        let before = std::time::Instant::now();
        self.look_at_sockets(timeout)?;
        if timeout != Some(Duration::ZERO) {
            self.now = self.now + before.elapsed();
        }
        let ready = std::mem::replace(&mut self.ready, Events::with_capacity(0));
        for event in &ready {
            self.on_ready(event);
        }
        self.ready = ready;
        Ok(())
    }

    /// One `epoll_wait`; one more, which doesn't wait, when a stop of the process interrupts it: time may have passed.
    fn look_at_sockets(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.counters.waits += 1;
        match self.poll.poll(&mut self.ready, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.counters.waits += 1;
                self.poll.poll(&mut self.ready, Some(Duration::ZERO))
            }
            other => other,
        }
    }

    fn has_work(&self) -> bool {
        let accepting = || self.accept_at.is_none() && self.listeners.iter().any(|listener| listener.ready);
        self.unwritten || !self.events.is_empty() || !self.handshakes.is_empty() || accepting()
    }

    fn on_ready(&mut self, event: &mio::event::Event) {
        let Token(token) = event.token();
        if event.token() == WAKER {
            return;
        }
        if let Some(listener) = token.checked_sub(FIRST_LISTENER) {
            self.listeners[listener].ready = true;
            return;
        }
        // A connection closed earlier in this turn may have left an event behind.
        let Some(connection) = self.connections.get_mut(token) else { return };
        let id = ConnectionId { serial: connection.serial, index: token };
        connection.read_closed |= event.is_read_closed() || event.is_error();
        if let Phase::Connecting { .. } = connection.phase {
            self.connected(id);
            return;
        }
        if event.is_writable() && connection.blocked {
            connection.blocked = false;
            self.write_out(id);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.on_readable(id);
        }
    }

    fn on_readable(&mut self, id: ConnectionId) {
        let Some(connection) = get_mut(&mut self.connections, id) else { return };
        match &mut connection.phase {
            Phase::Connecting { .. } => {}
            Phase::HalfOpen(half) if half.queued => {}
            Phase::HalfOpen(half) => {
                half.queued = true;
                self.handshakes.push_back(id);
            }
            Phase::Up(link) => {
                link.readable = true;
                if !link.announced {
                    link.announced = true;
                    self.events.push_back(Event::Readable(id));
                }
            }
        }
    }

    fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections.get(id.index).filter(|connection| connection.serial == id.serial)
    }

    /// Enters a socket into the table; none when the kernel refuses to watch it.
    fn insert(
        &mut self,
        mut stream: mio::net::TcpStream,
        address: SocketAddr,
        phase: Phase,
    ) -> io::Result<ConnectionId> {
        let entry = self.connections.vacant_entry();
        let id = ConnectionId { serial: self.next_serial, index: entry.key() };
        self.poll.registry().register(&mut stream, Token(id.index), BOTH)?;
        self.next_serial += 1;
        entry.insert(Connection {
            stream,
            address,
            serial: id.serial,
            out: Default::default(),
            blocked: false,
            touched: false,
            read_closed: false,
            phase,
        });
        Ok(id)
    }
}

/// The connection `id`, unless it is gone. Borrows the table alone.
fn get_mut(connections: &mut Slab<Connection>, id: ConnectionId) -> Option<&mut Connection> {
    connections.get_mut(id.index).filter(|connection| connection.serial == id.serial)
}
