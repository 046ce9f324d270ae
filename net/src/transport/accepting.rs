use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hypostyle_app_api::Instant;
use mio::Token;
use mio::net::{TcpListener, TcpStream};
use socket2::{SockRef, TcpKeepalive};

use crate::connection::{HalfOpen, Inbox, Phase, Side};
use crate::counters::Refusal;
use crate::event::{Arrival, ConnectionId};
use crate::handshake::Responder;
use crate::peer::Role;
use crate::transport::{FIRST_LISTENER, Transport};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 1024;
/// Connections accepted in a turn.
const ACCEPTS: usize = 32;
/// How long to leave new connections to the kernel when the process is out of files or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a newcomer is safe from being displaced, at most.
const GRACE: Duration = Duration::from_millis(100);
/// When the kernel starts to probe a silent client, and how often then.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A port we listen at.
pub(crate) struct Listener {
    socket: TcpListener,
    /// Who may connect here.
    admits: Role,
    /// There may be connections to accept.
    pub(crate) ready: bool,
}

/// What came of one `accept`.
enum Accepted {
    One,
    None,
    /// Not before the given time.
    Later(Instant),
}

impl Transport {
    /// Accepts connections of `role` at `address`; returns the address in use, where port 0 was asked for.
    ///
    /// # Errors
    /// When the address can't be used; the message names it.
    pub fn listen(&mut self, address: SocketAddr, role: Role) -> io::Result<SocketAddr> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{address}: {error}"));
        self.listen_on(std::net::TcpListener::bind(address).map_err(named)?, role)
    }

    /// Accepts connections of `role` on a socket that listens already; returns its address.
    ///
    /// # Errors
    /// When the socket can't be put into the event loop.
    pub fn listen_on(&mut self, socket: std::net::TcpListener, role: Role) -> io::Result<SocketAddr> {
        socket.set_nonblocking(true)?;
        // The standard library's 128 would make a burst of clients wait for a second.
        SockRef::from(&socket).listen(BACKLOG)?;
        let mut socket = TcpListener::from_std(socket);
        let token = Token(FIRST_LISTENER + self.listeners.len());
        self.poll.registry().register(&mut socket, token, mio::Interest::READABLE)?;
        let bound = socket.local_addr()?;
        self.listeners.push(Listener { socket, admits: role, ready: true });
        Ok(bound)
    }

    /// Goes on with a connection that another worker accepted and whose Hello names a pillar of ours.
    pub fn adopt(&mut self, arrival: Arrival) {
        if self.responders.len() >= self.settings.handshakes_max {
            self.displace_oldest();
        }
        let Arrival { stream, address, admits, hello, since, peer, .. } = arrival;
        if self.connections.len() >= self.settings.connections_max {
            self.refuse(Refusal::Full.into(), Some(peer), address);
            return;
        }
        match self.open(stream, address, admits, Inbox::holding(&hello), since) {
            Ok(id) => self.on_readable(id),
            Err(_) => self.refuse(Refusal::Full.into(), Some(peer), address),
        }
    }

    pub(super) fn accept(&mut self) {
        if self.accept_at.is_some_and(|at| at > self.now) {
            return;
        }
        self.accept_at = None;
        for _ in 0..ACCEPTS {
            let Some(index) = self.ready_listener() else { return };
            match self.accept_one(index) {
                Accepted::One => {}
                Accepted::None => self.listeners[index].ready = false,
                Accepted::Later(at) => {
                    self.accept_at = Some(at);
                    break;
                }
            }
        }
    }

    /// The next port with something to accept, each in its turn.
    fn ready_listener(&mut self) -> Option<usize> {
        let count = self.listeners.len();
        let after = self.last_listener + 1;
        let index = (after..after + count).map(|i| i % count).find(|i| self.listeners[*i].ready)?;
        self.last_listener = index;
        Some(index)
    }

    fn accept_one(&mut self, index: usize) -> Accepted {
        if let Some(at) = self.make_room() {
            return Accepted::Later(at);
        }
        self.counters.accepts += 1;
        let listener = &self.listeners[index];
        let admits = listener.admits;
        match listener.socket.accept() {
            Ok((stream, address)) => {
                self.accepted(stream, address, admits);
                Accepted::One
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => Accepted::None,
                io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => Accepted::One,
                // Out of files or memory: the connection stays with the kernel, and spinning would not free any.
                _ => {
                    self.counters.refuse(Refusal::Full);
                    self.displace_oldest();
                    Accepted::Later(self.now + ACCEPT_PAUSE)
                }
            },
        }
    }

    /// Makes room for another handshake; when the oldest deserves a little longer, says when to come back.
    fn make_room(&mut self) -> Option<Instant> {
        if self.responders.len() < self.settings.handshakes_max {
            return None;
        }
        let (since, _) = *self.responders.first()?;
        let spared_until = since + GRACE.min(self.settings.handshake_timeout / 4);
        if spared_until > self.now {
            return Some(spared_until);
        }
        self.displace_oldest();
        None
    }

    fn displace_oldest(&mut self) {
        if let Some((_, id)) = self.responders.first().copied() {
            self.fail_handshake(id, Refusal::Displaced.into());
        }
    }

    fn accepted(&mut self, stream: TcpStream, address: SocketAddr, admits: Role) {
        if self.connections.len() >= self.settings.connections_max {
            self.refuse(Refusal::Full.into(), None, address);
            return;
        }
        prepare(&stream, admits);
        if self.open(stream, address, admits, Inbox::default(), self.now).is_err() {
            self.refuse(Refusal::Full.into(), None, address);
        }
    }

    fn open(
        &mut self,
        stream: TcpStream,
        address: SocketAddr,
        admits: Role,
        inbox: Inbox,
        since: Instant,
    ) -> io::Result<ConnectionId> {
        let side = Side::Responder(Responder::new(admits));
        let half = HalfOpen { side, inbox, since, queued: false };
        let id = self.insert(stream, address, Phase::HalfOpen(Box::new(half)))?;
        self.responders.insert((since, id));
        Ok(id)
    }
}

/// Small frames leave at once; a client that vanished without a word is found by the kernel. Neither is worth
/// refusing a connection for.
fn prepare(stream: &TcpStream, admits: Role) {
    let _ = stream.set_nodelay(true);
    if admits == Role::Client {
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3);
        let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
    }
}
