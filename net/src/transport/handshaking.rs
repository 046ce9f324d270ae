use hypostyle_app_api::{Instant, PillarId};

use crate::connection::{Connection, HalfOpen, Link, Phase, Reader, Received, Side};
use crate::counters::Refusal;
use crate::event::{Arrival, ConnectionId, Event};
use crate::handshake::{Agreed, Failure, Gate, Step};
use crate::peer::Peer;
use crate::read_buffer::{ClientReader, PeerReader};
use crate::transport::{DialKey, Transport, get_mut};

/// What handshakes may cost in a turn, in units of an X25519 operation or so, about 30 µs: a flood of them delays
/// established links by no more than this.
const COST_PER_TURN: u32 = 16;

/// What a look at a half-open connection came to.
enum Looked {
    /// Nothing has arrived, or not all of a message.
    Nothing,
    /// A message was taken.
    Stepped(Step, Vec<u8>),
    Failed(Failure),
}

impl Transport {
    /// Goes through the half-open connections that may have a message, as far as the turn's budget allows.
    pub(super) fn shake_hands(&mut self) {
        let mut cost = 0;
        for _ in 0..self.handshakes.len() {
            if cost >= COST_PER_TURN {
                return;
            }
            let Some(id) = self.handshakes.pop_front() else { return };
            cost += self.shake(id);
        }
    }

    /// Drops the handshakes that took too long.
    pub(super) fn expire(&mut self) {
        let timeout = self.settings.handshake_timeout;
        let is_late = |first: Option<&(Instant, ConnectionId)>, now| {
            first.filter(|(since, _)| *since + timeout <= now).map(|(_, id)| *id)
        };
        while let Some(id) = is_late(self.responders.first(), self.now) {
            self.fail_handshake(id, Refusal::Timeout.into());
        }
        while let Some(id) = is_late(self.initiators.first(), self.now) {
            self.fail_handshake(id, Refusal::Timeout.into());
        }
    }

    /// Ends a handshake: counted, told, and dialled again if we dialled.
    pub(super) fn fail_handshake(&mut self, id: ConnectionId, failure: Failure) {
        let Some(connection) = get_mut(&mut self.connections, id) else { return };
        let address = connection.address;
        let (peer, failure) = match &connection.phase {
            Phase::Connecting { dial, .. } => (Some(dial.peer), failure),
            Phase::HalfOpen(half) => match &half.side {
                Side::Initiator { dial, .. } => {
                    // Whatever was wrong, a signature will tell.
                    self.resumptions.remove(&(dial.me, dial.peer));
                    (Some(dial.peer), failure)
                }
                Side::Responder(responder) => {
                    let gave_up = failure.detail.is_none();
                    let failure = if gave_up { responder.failure(failure.refusal) } else { failure };
                    (responder.claimed(), failure)
                }
            },
            Phase::Up(link) => (Some(link.peer()), failure),
        };
        self.refuse(failure, peer, address);
        self.drop_connection(id, "handshake failed");
    }

    fn shake(&mut self, id: ConnectionId) -> u32 {
        let Some(connection) = get_mut(&mut self.connections, id) else { return 0 };
        let Connection { phase: Phase::HalfOpen(half), .. } = connection else { return 0 };
        let cost = half.side.cost();
        half.queued = false;
        match self.look(id) {
            Looked::Nothing => return 1,
            Looked::Stepped(Step::Continue, _) => {
                self.write_out(id);
                self.on_readable(id);
            }
            Looked::Stepped(Step::Elsewhere { peer, pillar }, hello) => {
                self.send_on(id, peer, pillar, hello);
            }
            Looked::Stepped(Step::Agreed(agreed), _) => self.agreed(id, *agreed),
            Looked::Failed(failure) => {
                // Told as far as the socket takes it at once.
                self.write_out(id);
                self.fail_handshake(id, failure);
            }
        }
        cost
    }

    /// Reads and handles one message of a half-open connection.
    fn look(&mut self, id: ConnectionId) -> Looked {
        let Some(connection) = get_mut(&mut self.connections, id) else { return Looked::Nothing };
        let Connection { stream, out, phase: Phase::HalfOpen(half), .. } = connection else {
            return Looked::Nothing;
        };
        let HalfOpen { side, inbox, .. } = half.as_mut();
        let closed = |side: &Side| match side {
            Side::Initiator { .. } => Failure::closed(),
            Side::Responder(responder) => match responder.failure(Refusal::ByPeer) {
                Failure { refusal: Refusal::ByPeer, .. } => Failure::closed(),
                failure => failure,
            },
        };
        let message = match inbox.receive(stream, side.message_max(), &mut self.counters.reads) {
            Ok(Received::Message(message)) => message,
            Ok(Received::Pending) => return Looked::Nothing,
            Ok(Received::TooLong) => return Looked::Failed(too_long(side).into()),
            Ok(Received::Closed) | Err(_) => return Looked::Failed(closed(side)),
        };
        let stepped = match side {
            Side::Initiator { initiator, .. } => initiator.step(&self.local, &message, out),
            Side::Responder(responder) => {
                let serves = &self.serves;
                let mut gate = Gate {
                    local: &self.local,
                    identity: &self.settings.identity,
                    now: self.now,
                    serves: &|pillar| serves.as_ref().is_none_or(|served| served.contains(&pillar)),
                    allowance: &mut self.allowance,
                };
                responder.step(&mut gate, &message, out)
            }
        };
        match stepped {
            Ok(step) => Looked::Stepped(step, message),
            Err(failure) => Looked::Failed(failure),
        }
    }

    /// Takes a connection out of this worker for the one that serves its pillar.
    fn send_on(&mut self, id: ConnectionId, peer: Peer, pillar: PillarId, hello: Vec<u8>) {
        let Some(connection) = get_mut(&mut self.connections, id) else { return };
        let Phase::HalfOpen(half) = &connection.phase else { return };
        let Side::Responder(responder) = &half.side else { return };
        let (admits, since) = (responder.admits(), half.since);
        self.responders.remove(&(since, id));
        let Connection { mut stream, address, .. } = self.connections.remove(id.index);
        if self.poll.registry().deregister(&mut stream).is_err() {
            self.refuse(Refusal::Full.into(), Some(peer), address);
            return;
        }
        let arrival = Arrival { stream, address, admits, hello, since, peer, pillar };
        self.events.push_back(Event::Arrived(Box::new(arrival)));
    }

    /// The handshake is complete: only now does a connection take the place of an older one.
    fn agreed(&mut self, id: ConnectionId, agreed: Agreed) {
        let Agreed { me, peer, pillar, resumed, resumption, macs, session } = agreed;
        let key = DialKey { me, peer, pillar };
        self.write_out(id);
        let Some(connection) = get_mut(&mut self.connections, id) else { return };
        let Phase::HalfOpen(half) = &connection.phase else { return };
        let initiated = matches!(half.side, Side::Initiator { .. });
        let half_open = if initiated { &mut self.initiators } else { &mut self.responders };
        half_open.remove(&(half.since, id));
        let limits = self.settings.limits(me, peer);
        let (reader, sealer) = match macs {
            Some(macs) => {
                let reader = PeerReader::new(macs.receive, limits.receive_max);
                (Reader::Peer(reader), Some(macs.send))
            }
            None => (Reader::Client(ClientReader::new(limits.receive_max)), None),
        };
        if sealer.is_some() {
            self.beating.push(id);
            self.beat_at.get_or_insert(self.now);
        }
        connection.phase = Phase::Up(Box::new(Link {
            key,
            limits,
            reader,
            sealer,
            last_sent: self.now,
            last_heard: self.now,
            readable: true,
            announced: false,
        }));
        self.count(resumed);
        if let Some(resumption) = resumption {
            self.resumptions.insert((me, peer), resumption);
        }
        self.supersede(key, id);
        self.events.push_back(Event::Up { id, peer, pillar, initiated, session });
        // What followed the handshake may already be in the socket, and will make no event.
        self.on_readable(id);
    }

    fn count(&mut self, resumed: bool) {
        match resumed {
            true => self.counters.handshakes_resumed += 1,
            false => self.counters.handshakes_signed += 1,
        }
    }

    /// Makes `id` the link of `key`, in place of an older one.
    fn supersede(&mut self, key: DialKey, id: ConnectionId) {
        if let Some(older) = self.links.insert(key, id) {
            self.drop_connection(older, "replaced by a newer connection");
        }
        self.dialer.up(key, id, self.now);
    }
}

/// Bytes of another protocol look like a length that can't be.
fn too_long(side: &Side) -> Refusal {
    match side {
        Side::Responder(responder) if responder.claimed().is_none() => Refusal::NotHypostyle,
        _ => Refusal::Malformed,
    }
}
