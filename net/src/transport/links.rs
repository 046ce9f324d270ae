use std::io::{self, Read};
use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;

use crate::connection::{Connection, Link, Phase, Reader, Side};
use crate::counters::{Counters, Refusal};
use crate::event::{ConnectionId, Event, Payload, ReadOutcome, Reject};
use crate::frame::{self, HEADER_LEN};
use crate::link_mac::{FRONT_MAX, TAG_LEN};
use crate::read_buffer::Stop;
use crate::transport::{Transport, get_mut};
use crate::write_buffer::WriteBuffer;

/// Nothing sent for this long: a heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// When one link needs its heartbeat, those that have been idle for this long get theirs too: fewer wake-ups.
const NEARLY: Duration = Duration::from_millis(750);
/// Nothing heard for this long: the peer is dead, or as good as that.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// Written to one socket at a time: one that is quick with a long backlog takes its turns with the others.
const WRITE_BUDGET: usize = 256 * 1024;
/// Bodies below this are cheaper to copy than to write apart.
const SHARED_MIN: usize = 4096;

/// Why reading ended for good.
enum End {
    Stop(Stop),
    Eof,
    Error(io::Error),
}

impl Transport {
    /// Reads up to `budget` bytes from a connection that is up (a frame may exceed it by one read) and hands the
    /// payload of each whole frame to `on_frame`; if that breaks, the connection is closed for the reason it gives.
    /// Heartbeats are not handed on.
    pub fn read(
        &mut self,
        id: ConnectionId,
        budget: usize,
        on_frame: &mut dyn FnMut(Payload<'_>) -> ControlFlow<Reject>,
    ) -> ReadOutcome {
        let Some(connection) = get_mut(&mut self.connections, id) else { return ReadOutcome::Closed };
        let read_closed = connection.read_closed;
        let Connection { stream, phase: Phase::Up(link), .. } = connection else {
            return ReadOutcome::Closed;
        };
        link.announced = false;
        let before = self.counters.bytes_in;
        let mut reading =
            Reading { stream, link, read_closed, scratch: &mut self.scratch, counters: &mut self.counters };
        let end = reading.run(budget, on_frame);
        if self.counters.bytes_in > before {
            link.last_heard = self.now;
        }
        match end {
            Ok(ReadOutcome::More) => {
                self.unfinished.push(id);
                ReadOutcome::More
            }
            Ok(outcome) => {
                link.readable = false;
                outcome
            }
            Err(end) => {
                self.end(id, &end);
                ReadOutcome::Closed
            }
        }
    }

    /// Sends one frame made of `parts`, which are copied into the connection's write buffer. `false`: the buffer is
    /// full, the frame too long or the connection gone; the frame is dropped and counted.
    pub fn send(&mut self, id: ConnectionId, parts: &[&[u8]]) -> bool {
        let len = parts.iter().map(|part| part.len()).sum();
        self.enqueue(id, len, |out, link| {
            let total = HEADER_LEN + len;
            out.reserve(total + TAG_LEN);
            out.push(&frame::header(len).expect("checked against the limit"));
            parts.iter().for_each(|part| out.push(part));
            if let Some(sealer) = &mut link.sealer {
                let tag = sealer.seal(out.tail(total));
                out.push(&tag);
            }
        })
    }

    /// Sends one frame, `head` followed by `body`; a large body is not copied but written from where it is.
    pub fn send_shared(&mut self, id: ConnectionId, head: &[u8], body: &Bytes) -> bool {
        if body.len() < SHARED_MIN || head.len() > FRONT_MAX {
            return self.send(id, &[head, body]);
        }
        let len = head.len() + body.len();
        self.enqueue(id, len, |out, link| {
            let header = frame::header(len).expect("checked against the limit");
            let Some(sealer) = &mut link.sealer else {
                out.push(&header);
                out.push(head);
                out.push_shared(body.clone());
                return;
            };
            let (front, rest) = (&body[..FRONT_MAX - head.len()], body.slice(FRONT_MAX - head.len()..));
            out.reserve(HEADER_LEN + FRONT_MAX + TAG_LEN);
            out.push(&header);
            out.push(head);
            out.push(front);
            let tag = sealer.seal_split(out.tail(HEADER_LEN + FRONT_MAX), &rest);
            out.push_shared(rest);
            out.push(&tag);
        })
    }

    /// Writes what was sent since the last flush: one system call per touched socket. What a socket doesn't take
    /// goes on as soon as it does; of a long backlog a part is written in each turn, which therefore ends with this.
    pub fn flush(&mut self) {
        self.unwritten = false;
        let mut touched = std::mem::take(&mut self.touched);
        for id in touched.drain(..) {
            if let Some(connection) = get_mut(&mut self.connections, id) {
                connection.touched = false;
                if !connection.blocked {
                    self.write_out(id);
                }
            }
        }
        touched.append(&mut self.touched);
        self.touched = touched;
    }

    /// Appends a frame of `len` payload bytes by `write`, if there is room.
    fn enqueue(
        &mut self,
        id: ConnectionId,
        len: usize,
        write: impl FnOnce(&mut WriteBuffer, &mut Link),
    ) -> bool {
        let connection = get_mut(&mut self.connections, id);
        let Some(Connection { out, phase: Phase::Up(link), touched, .. }) = connection else {
            self.counters.frames_dropped += 1;
            return false;
        };
        let trailer = if link.sealer.is_some() { TAG_LEN } else { 0 };
        let fits =
            len <= link.limits.send_max && out.len() + HEADER_LEN + len + trailer <= link.limits.write_max;
        if !fits {
            self.counters.frames_dropped += 1;
            return false;
        }
        write(out, link);
        self.counters.frames_out += 1;
        if !*touched {
            *touched = true;
            self.touched.push(id);
        }
        true
    }

    /// Writes until all is written, the socket takes no more or has had its share: the next flush goes on then.
    pub(super) fn write_out(&mut self, id: ConnectionId) {
        let Some(connection) = get_mut(&mut self.connections, id) else { return };
        let mut share = WRITE_BUDGET;
        while !connection.out.is_empty() {
            if share == 0 {
                self.unwritten = true;
                if !std::mem::replace(&mut connection.touched, true) {
                    self.touched.push(id);
                }
                return;
            }
            self.counters.writes += 1;
            match connection.out.write_to(&mut connection.stream, share) {
                Ok(written) => {
                    self.counters.bytes_out += written as u64;
                    share -= written;
                    if let Phase::Up(link) = &mut connection.phase {
                        link.last_sent = self.now;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    connection.blocked = true;
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // A connection that isn't up yet is read once more: it may have been told why.
                    if let Phase::Up(_) = connection.phase {
                        self.end(id, &End::Error(error));
                    }
                    return;
                }
            }
        }
    }

    pub(super) fn announce_unfinished(&mut self) {
        let mut unfinished = std::mem::take(&mut self.unfinished);
        for id in unfinished.drain(..) {
            self.on_readable(id);
        }
        self.unfinished = unfinished;
    }

    /// Heartbeats on links where nothing else was sent; the end of links where nothing was heard.
    pub(super) fn beat(&mut self) {
        if self.beat_at.is_none_or(|at| at > self.now) {
            return;
        }
        let mut next = self.now + HEARTBEAT;
        let beating = std::mem::take(&mut self.beating);
        let (mut idle, mut dead) = (Vec::new(), Vec::new());
        for id in &beating {
            let Some(Connection { phase: Phase::Up(link), out, .. }) = get_mut(&mut self.connections, *id)
            else {
                continue;
            };
            if !link.readable && self.now.since(link.last_heard) >= SILENCE_MAX {
                dead.push(*id);
            } else if self.now.since(link.last_sent) >= NEARLY && out.is_empty() {
                idle.push(*id);
            } else {
                next = next.min(link.last_sent + HEARTBEAT);
            }
        }
        self.beating = beating;
        for id in idle {
            self.counters.heartbeats += u64::from(self.send(id, &[]));
            self.write_out(id);
        }
        for id in dead {
            self.counters.refuse(Refusal::Silent);
            self.drop_connection(id, &Refusal::Silent.to_string());
        }
        // At the latest in a second, at the earliest when another link can be due.
        self.beat_at = (!self.beating.is_empty()).then(|| next.max(self.now + (HEARTBEAT - NEARLY)));
    }

    fn end(&mut self, id: ConnectionId, end: &End) {
        match end {
            End::Eof => self.drop_connection(id, "closed by the peer"),
            End::Error(error) => self.drop_connection(id, &error.to_string()),
            End::Stop(Stop::Refused(refusal)) => {
                self.counters.refuse(*refusal);
                self.drop_connection(id, &refusal.to_string());
            }
            End::Stop(Stop::Rejected(reason)) => {
                self.counters.refuse(Refusal::Frame);
                self.drop_connection(id, reason);
            }
        }
    }

    /// Takes a connection out of every table, which closes its socket.
    pub(super) fn drop_connection(&mut self, id: ConnectionId, reason: &str) {
        if get_mut(&mut self.connections, id).is_none() {
            return;
        }
        match self.connections.remove(id.index).phase {
            Phase::Connecting { dial, since } => {
                self.initiators.remove(&(since, id));
                self.dialer.failed(dial, Some(id), self.now);
            }
            Phase::HalfOpen(half) => match half.side {
                Side::Initiator { dial, .. } => {
                    self.initiators.remove(&(half.since, id));
                    self.dialer.failed(dial, Some(id), self.now);
                }
                Side::Responder(_) => {
                    self.responders.remove(&(half.since, id));
                }
            },
            Phase::Up(link) => self.link_down(id, &link, reason),
        }
    }

    fn link_down(&mut self, id: ConnectionId, link: &Link, reason: &str) {
        if self.links.get(&link.key) == Some(&id) {
            self.links.remove(&link.key);
        }
        if link.sealer.is_some() {
            self.beating.retain(|other| *other != id);
        }
        self.dialer.down(link.key, id, self.now);
        self.events.push_back(Event::Down {
            id,
            peer: link.peer(),
            pillar: link.pillar(),
            reason: reason.to_owned(),
        });
    }
}

/// The parts of a transport that a read uses.
struct Reading<'a> {
    stream: &'a mut mio::net::TcpStream,
    link: &'a mut Link,
    read_closed: bool,
    scratch: &'a mut [u8],
    counters: &'a mut Counters,
}

impl Reading<'_> {
    fn run(
        &mut self,
        budget: usize,
        on_frame: &mut dyn FnMut(Payload<'_>) -> ControlFlow<Reject>,
    ) -> Result<ReadOutcome, End> {
        let mut left = budget;
        while left > 0 {
            let room = match &mut self.link.reader {
                Reader::Peer(reader) => reader.room(),
                Reader::Client(reader) => reader.room(self.scratch),
            };
            let asked = room.len().min(left);
            self.counters.reads += 1;
            let received = match self.stream.read(&mut room[..asked]) {
                Ok(0) => return Err(End::Eof),
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(ReadOutcome::Drained),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(End::Error(error)),
            };
            self.counters.bytes_in += received as u64;
            self.take(received, on_frame)?;
            left -= received;
            // A short read has emptied the socket; the end of the stream, if it has come, is yet to be read.
            if received < asked && !self.read_closed {
                return Ok(ReadOutcome::Drained);
            }
        }
        Ok(ReadOutcome::More)
    }

    fn take(
        &mut self,
        received: usize,
        on_frame: &mut dyn FnMut(Payload<'_>) -> ControlFlow<Reject>,
    ) -> Result<(), End> {
        let reason = |flow: ControlFlow<Reject>| flow.map_break(|Reject(reason)| reason);
        let (frames, taken) = match &mut self.link.reader {
            Reader::Peer(reader) => {
                reader.take(received, &mut |bytes| reason(on_frame(Payload::Peer(bytes))))
            }
            Reader::Client(reader) => {
                reader.take(self.scratch, received, &mut |bytes| reason(on_frame(Payload::Client(bytes))))
            }
        };
        self.counters.frames_in += frames;
        taken.map_err(End::Stop)
    }
}
