use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hypostyle_app_api::{Instant, PillarId};
use hypostyle_crypto::Session;
use mio::{Events, Poll, Token, Waker};

use crate::counters::Counters;
use crate::event::{Arrival, ConnectionId, Event, Payload, ReadOutcome, Reject};
use crate::peer::Peer;
use crate::wire::Wire;

/// Plays a replica what others once sent it, in place of a [`Transport`](crate::Transport): for measuring what a replica
/// does between its sockets. What is sent is counted and dropped. There is no handshake, no link MAC and no kernel in it.
pub struct Replay {
    poll: Poll,
    ready: Events,
    waker: Arc<Waker>,
    events: VecDeque<Event>,
    connections: Vec<Playing>,
    gate: Arc<Gate>,
    counters: Counters,
}

/// What came over one connection.
#[derive(Clone, Debug)]
pub struct Track {
    /// Who was at the other end.
    pub peer: Peer,
    /// The pillar that the connection was for.
    pub pillar: PillarId,
    /// Of a client's connection with tags: its keys.
    pub session: Option<Session>,
    /// In the order in which they came.
    pub frames: Arc<[RecordedFrame]>,
}

/// The payload of a frame, and when it may be read.
#[derive(Clone, Debug)]
pub struct RecordedFrame {
    /// The payload.
    pub payload: Bytes,
    /// What the [`Gate`] has to have got to.
    pub from: u64,
}

/// How far what is played has got, as its listener tells: it is handed no more than it can take.
#[derive(Debug, Default)]
pub struct Gate(AtomicU64);

struct Playing {
    track: Track,
    next: usize,
    announced: bool,
    ended: bool,
}

const WAKER: Token = Token(0);
/// How soon a gate is tried again that was shut, unless somebody wakes the listener before.
const RETRY: Duration = Duration::from_millis(1);

impl Gate {
    /// Frames up to this value may be read. 0, the value at first, lets none through whose own is higher.
    pub fn open(&self, to: u64) {
        self.0.store(to, Ordering::Release);
    }

    fn lets(&self, frame: &RecordedFrame) -> bool {
        frame.from <= self.0.load(Ordering::Acquire)
    }
}

impl Replay {
    /// Connections that are up from the first [`poll`](Wire::poll) on.
    ///
    /// # Errors
    /// When `epoll` can't be had.
    pub fn new(tracks: Vec<Track>, gate: Arc<Gate>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let up = |(index, track): (usize, &Track)| Event::Up {
            id: connection_id(index),
            peer: track.peer,
            pillar: track.pillar,
            initiated: false,
            session: track.session.clone(),
        };
        let events = tracks.iter().enumerate().map(up).collect();
        let connections =
            tracks.into_iter().map(|track| Playing { track, next: 0, announced: false, ended: false });
        Ok(Self {
            poll,
            ready: Events::with_capacity(1),
            waker,
            events,
            connections: connections.collect(),
            gate,
            counters: Counters::default(),
        })
    }

    fn end(&mut self, id: ConnectionId, reason: &'static str) {
        let Some(playing) = self.connections.get_mut(id.index).filter(|playing| !playing.ended) else {
            return;
        };
        (playing.ended, playing.next) = (true, playing.track.frames.len());
        let Track { peer, pillar, .. } = playing.track;
        self.events.push_back(Event::Down { id, peer, pillar, reason: reason.to_owned() });
    }

    fn count_sent(&mut self, length: usize) {
        self.counters.frames_out += 1;
        self.counters.bytes_out += length as u64;
    }
}

impl Playing {
    fn following(&self) -> Option<&RecordedFrame> {
        self.track.frames.get(self.next)
    }
}

impl Wire for Replay {
    fn wake_handle(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    fn poll(&mut self, _now: Instant, timeout: Option<Duration>) -> io::Result<()> {
        let mut shut = false;
        for (index, playing) in self.connections.iter_mut().enumerate().filter(|(_, one)| !one.announced) {
            let Some(frame) = playing.following() else { continue };
            if self.gate.lets(frame) {
                playing.announced = true;
                self.events.push_back(Event::Readable(connection_id(index)));
            } else {
                shut = true;
            }
        }
        let timeout = match self.events.is_empty() {
            false => Some(Duration::ZERO),
            true => timeout.into_iter().chain(shut.then_some(RETRY)).min(),
        };
        self.counters.waits += 1;
        match self.poll.poll(&mut self.ready, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            other => other,
        }
    }

    fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn next_deadline(&self) -> Option<Instant> {
        None
    }

    fn read(
        &mut self,
        id: ConnectionId,
        budget: usize,
        on_frame: &mut dyn FnMut(Payload<'_>) -> ControlFlow<Reject>,
    ) -> ReadOutcome {
        let Some(playing) = self.connections.get_mut(id.index) else { return ReadOutcome::Closed };
        playing.announced = false;
        let mut left = budget;
        while let Some(frame) = playing.following() {
            if left == 0 || !self.gate.lets(frame) {
                return ReadOutcome::More;
            }
            let payload = frame.payload.clone();
            playing.next += 1;
            left = left.saturating_sub(payload.len());
            self.counters.frames_in += 1;
            self.counters.bytes_in += payload.len() as u64;
            if let ControlFlow::Break(Reject(reason)) = on_frame(Payload::Peer(payload)) {
                self.end(id, reason);
                return ReadOutcome::Closed;
            }
        }
        ReadOutcome::Drained
    }

    fn send(&mut self, _id: ConnectionId, parts: &[&[u8]]) -> bool {
        self.count_sent(parts.iter().map(|part| part.len()).sum());
        true
    }

    fn send_shared(&mut self, _id: ConnectionId, head: &[u8], body: &Bytes) -> bool {
        self.count_sent(head.len() + body.len());
        true
    }

    fn flush(&mut self) {}

    fn close(&mut self, id: ConnectionId, reason: &'static str) {
        self.end(id, reason);
    }

    /// Nobody arrives.
    fn adopt(&mut self, _arrival: Arrival) {}

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

fn connection_id(index: usize) -> ConnectionId {
    ConnectionId { serial: index as u64, index }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::peer::Role;

    fn replay(frames: &[(&'static [u8], u64)]) -> (Replay, Arc<Gate>) {
        let gate = Arc::new(Gate::default());
        let frame = |(payload, from): &(&'static [u8], u64)| RecordedFrame {
            payload: Bytes::from_static(payload),
            from: *from,
        };
        let track = Track {
            peer: Peer { role: Role::Replica, id: 1 },
            pillar: PillarId(0),
            session: None,
            frames: frames.iter().map(frame).collect(),
        };
        (Replay::new(vec![track], Arc::clone(&gate)).unwrap(), gate)
    }

    /// What one turn finds, and how its reads end.
    fn turn(replay: &mut Replay, budget: usize) -> (Vec<Bytes>, Vec<ReadOutcome>) {
        replay.poll(Instant(0), Some(Duration::ZERO)).unwrap();
        let (mut read, mut outcomes) = (Vec::new(), Vec::new());
        while let Some(event) = replay.event() {
            if let Event::Readable(id) = event {
                outcomes.push(replay.read(id, budget, &mut |payload| {
                    read.push(payload.into_bytes());
                    ControlFlow::Continue(())
                }));
            }
        }
        (read, outcomes)
    }

    #[test]
    fn frames_come_in_order_within_budget_and_gate() {
        let (mut replay, gate) = replay(&[(b"one", 1), (b"two", 1), (b"three", 2)]);
        assert_eq!(turn(&mut replay, 100), (vec![], vec![]));
        gate.open(1);
        assert_eq!(turn(&mut replay, 2), (vec![Bytes::from("one")], vec![ReadOutcome::More]));
        assert_eq!(turn(&mut replay, 100), (vec![Bytes::from("two")], vec![ReadOutcome::More]));
        gate.open(2);
        assert_eq!(turn(&mut replay, 100), (vec![Bytes::from("three")], vec![ReadOutcome::Drained]));
        assert_eq!(turn(&mut replay, 100), (vec![], vec![]));
    }

    #[test]
    fn a_connection_that_is_refused_is_played_no_further() {
        let (mut replay, gate) = replay(&[(b"one", 1), (b"two", 1)]);
        gate.open(1);
        replay.poll(Instant(0), Some(Duration::ZERO)).unwrap();
        let read = replay.read(connection_id(0), 100, &mut |_| ControlFlow::Break(Reject("no")));
        assert_eq!(read, ReadOutcome::Closed);
        assert!(replay.events.iter().any(|event| matches!(event, Event::Down { .. })));
        assert_eq!(turn(&mut replay, 100).0, Vec::<Bytes>::new());
    }

    #[test]
    fn a_waiting_poll_ends_when_it_is_woken() {
        let (mut replay, _gate) = replay(&[]);
        replay.wake_handle().wake().unwrap();
        replay.poll(Instant(0), None).unwrap();
    }
}
