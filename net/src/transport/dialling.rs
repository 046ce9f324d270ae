use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mio::net::TcpStream;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::connection::{HalfOpen, Inbox, Phase, Side};
use crate::counters::Refusal;
use crate::dialer::{DialKey, Start};
use crate::event::{ConnectionId, Event};
use crate::handshake::{Failure, Initiator};
use crate::peer::Peer;
use crate::transport::{Transport, get_mut};

/// "Under way", which the standard library has no name for: Linux's number, and that of the BSDs.
const EINPROGRESS: i32 = if cfg!(any(target_os = "linux", target_os = "android")) { 115 } else { 36 };

impl Transport {
    pub(super) fn dial_due(&mut self) {
        loop {
            let resumptions = &self.resumptions;
            let has_ticket = |key: DialKey| resumptions.contains_key(&(key.me, key.peer));
            let Some(Start { key, address }) = self.dialer.next(self.now, has_ticket) else { return };
            match self.connect(key, address) {
                Ok(id) => self.dialer.started(key, id),
                Err(error) => {
                    self.dialer.failed(key, None, self.now);
                    self.report(key, address, error);
                }
            }
        }
    }

    fn connect(&mut self, key: DialKey, address: SocketAddr) -> io::Result<ConnectionId> {
        if self.connections.len() >= self.settings.connections_max {
            self.counters.refuse(Refusal::Full);
            return Err(io::Error::other(Refusal::Full.to_string()));
        }
        self.counters.connects += 1;
        let stream = connect(address, self.settings.source)?;
        let id = self.insert(stream, address, Phase::Connecting { dial: key, since: self.now })?;
        self.initiators.insert((self.now, id));
        Ok(id)
    }

    /// `connect` may be over: if it succeeded, opens the handshake.
    pub(super) fn connected(&mut self, id: ConnectionId) {
        let Some(connection) = get_mut(&mut self.connections, id) else { return };
        let Phase::Connecting { dial, since } = connection.phase else { return };
        match outcome(&connection.stream) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                let address = connection.address;
                self.drop_connection(id, "not connected");
                self.report(dial, address, error);
                return;
            }
        }
        let _ = connection.stream.set_nodelay(true);
        let Some(identity) = self.dialer.identity(dial).map(Arc::clone) else { return };
        let resumption = self.resumptions.get(&(dial.me, dial.peer)).cloned();
        let out = &mut connection.out;
        let initiator = Initiator::start(&self.local, identity, dial.peer, dial.pillar, resumption, out);
        let side = Side::Initiator { dial, initiator: Box::new(initiator) };
        let half = HalfOpen { side, inbox: Inbox::default(), since, queued: false };
        connection.phase = Phase::HalfOpen(Box::new(half));
        self.write_out(id);
        self.on_readable(id);
    }

    fn report(&mut self, key: DialKey, address: SocketAddr, error: io::Error) {
        let reason = format!("can't connect: {error}");
        self.events.push_back(Event::Refused { peer: Some(key.peer), address, reason });
    }

    /// Counts and tells a refusal.
    pub(super) fn refuse(&mut self, failure: Failure, peer: Option<Peer>, address: SocketAddr) {
        self.counters.refuse(failure.refusal);
        self.events.push_back(Event::Refused { peer, address, reason: failure.to_string() });
    }
}

/// Begins to connect, from `source` if given.
fn connect(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if let Some(source) = source {
        if source.is_ipv4() != address.is_ipv4() {
            return Err(io::Error::other(format!("the source address {source} is of another family")));
        }
        let named = |error: io::Error| io::Error::new(error.kind(), format!("from {source}: {error}"));
        socket.bind(&SockAddr::from(SocketAddr::new(source, 0))).map_err(named)?;
    }
    match socket.connect(&SockAddr::from(address)) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

/// Whether a `connect` has succeeded; `false` while it is still under way.
fn outcome(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        // Dialling a free port of our own host from that very port: TCP connects it to itself.
        Ok(peer) if stream.local_addr().is_ok_and(|own| own == peer) => {
            Err(io::Error::other("the port is free and was connected to itself"))
        }
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}
