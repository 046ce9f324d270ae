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
    /// A replica's threads have a turn.
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
#[derive(Debug)]
pub(super) struct Queue {
    heap: BinaryHeap<Reverse<Scheduled>>,
    /// The next turn of each replica, apart: nearly every one is moved to another time before it comes.
    turns: Vec<Option<Key>>,
    added: u64,
}

/// When, and how many were added before.
type Key = (Time, u64);

#[derive(Debug)]
struct Scheduled {
    key: Key,
    event: Event,
}

impl Queue {
    pub(super) fn new(replicas: usize) -> Self {
        Self { heap: BinaryHeap::new(), turns: vec![None; replicas], added: 0 }
    }

    pub(super) fn push(&mut self, at: Time, event: Event) {
        self.added += 1;
        self.heap.push(Reverse(Scheduled { key: (at, self.added), event }));
    }

    /// Has a replica take its next turn at this time, if it would sleep until then.
    pub(super) fn wake(&mut self, replica: usize, at: Time) {
        if self.turns[replica].is_none_or(|(planned, _)| at < planned) {
            self.added += 1;
            self.turns[replica] = Some((at, self.added));
        }
    }

    /// Has a replica sleep until something wakes it.
    pub(super) fn lay_to_rest(&mut self, replica: usize) {
        self.turns[replica] = None;
    }

    /// The next event, if it comes up to this time.
    pub(super) fn pop(&mut self, end: Time) -> Option<(Time, Event)> {
        let other = self.next_other();
        if let Some((key, replica)) = self.next_turn()
            && other.is_none_or(|other| key < other)
        {
            return (key.0 <= end).then(|| {
                self.turns[replica] = None;
                (key.0, Event::Turn(replica))
            });
        }
        let Reverse(scheduled) = if other?.0 <= end { self.heap.pop() } else { None }?;
        Some((scheduled.key.0, scheduled.event))
    }

    fn next_turn(&self) -> Option<(Key, usize)> {
        let turns = self.turns.iter().enumerate();
        turns.filter_map(|(replica, key)| key.map(|key| (key, replica))).min()
    }

    fn next_other(&self) -> Option<Key> {
        self.heap.peek().map(|Reverse(scheduled)| scheduled.key)
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
