//! What is to happen, by virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use bytes::Bytes;

use super::network::Wire;

/// Virtual time: nanoseconds since the run began.
pub type Time = u64;

/// A microsecond of virtual time.
pub const MICROSECOND: Time = 1_000;
/// A millisecond of virtual time.
pub const MILLISECOND: Time = 1_000_000;
/// A second of virtual time.
pub const SECOND: Time = 1_000_000_000;

/// What happens at some time.
#[derive(Debug)]
pub(super) enum Event {
    /// A replica's threads have a turn, unless one was moved to another time.
    Turn(usize),
    /// A client looks at its clock, and sends when it may.
    Client(usize),
    /// A Byzantine client does something.
    Hostile(usize),
    /// A frame comes to its end of a connection, unless that was cut since.
    Frame { wire: Wire, epoch: u32, payload: Bytes },
    /// An adversary sends what it has kept back.
    Late { wire: Wire, payload: Bytes },
    /// A connection comes up, unless it is or can't.
    Up(Wire),
    /// A fault strikes.
    Fault,
    /// A partition heals.
    Heal,
    /// The state of a replica goes wrong.
    Rot(usize),
    /// A replica is cut off for long.
    Unplug(usize),
    /// It is no more.
    Plug(usize),
    /// A crashed replica starts again.
    Restart(usize),
}

/// Events in the order of their times; those of one time in the order in which they were added.
#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Reverse<Scheduled>>,
    added: u64,
}

#[derive(Debug)]
struct Scheduled {
    key: (Time, u64),
    event: Event,
}

impl Queue {
    pub(super) fn push(&mut self, at: Time, event: Event) {
        self.added += 1;
        self.heap.push(Reverse(Scheduled { key: (at, self.added), event }));
    }

    pub(super) fn pop(&mut self) -> Option<(Time, Event)> {
        self.heap.pop().map(|Reverse(scheduled)| (scheduled.key.0, scheduled.event))
    }

    pub(super) fn next_time(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse(scheduled)| scheduled.key.0)
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}
