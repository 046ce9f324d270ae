use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hypostyle_app_api::{Instant, PillarId};
use hypostyle_crypto::Identity;

use crate::event::ConnectionId;
use crate::peer::Peer;

/// The first pause; each failure doubles it.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// The longest pause, so that recovery takes about a second.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// A connection that lived shorter than this counts as a failure.
const LIVED: Duration = Duration::from_secs(1);
/// Connections to one peer that may be in their handshake at once: one that doesn't answer delays no other.
const LANE_MAX: usize = 16;

/// A link by its ends and pillar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct DialKey {
    pub(crate) me: Peer,
    pub(crate) peer: Peer,
    pub(crate) pillar: PillarId,
}

/// Decides when to dial whom: with back-off after failures, and of several links to one peer the first alone, so
/// that the others can use its ticket.
#[derive(Default)]
pub(crate) struct Dialer {
    dials: BTreeMap<DialKey, Dial>,
    due: BTreeSet<(Instant, DialKey)>,
    lanes: BTreeMap<Peer, Lane>,
}

struct Dial {
    identity: Arc<Identity>,
    address: SocketAddr,
    failures: u32,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting(Instant),
    /// Until another dial of its lane is over.
    Parked,
    /// `signs`: without a ticket.
    Dialling {
        id: Option<ConnectionId>,
        signs: bool,
    },
    Up {
        id: ConnectionId,
        since: Instant,
    },
}

#[derive(Default)]
struct Lane {
    running: usize,
    signing: BTreeSet<Peer>,
    parked: VecDeque<DialKey>,
}

/// A connection to make now.
pub(crate) struct Start {
    pub(crate) key: DialKey,
    pub(crate) address: SocketAddr,
}

impl Dialer {
    /// Keeps a link up from now on. Known already, only its address changes.
    pub(crate) fn add(&mut self, key: DialKey, identity: Arc<Identity>, address: SocketAddr, now: Instant) {
        if let Some(dial) = self.dials.get_mut(&key) {
            dial.address = address;
            return;
        }
        let dial = Dial { identity, address, failures: 0, state: State::Waiting(now) };
        self.dials.insert(key, dial);
        self.due.insert((now, key));
    }

    /// Forgets a link; returns the connection to close.
    pub(crate) fn remove(&mut self, key: DialKey, now: Instant) -> Option<ConnectionId> {
        let dial = self.dials.remove(&key)?;
        match dial.state {
            State::Waiting(at) => {
                self.due.remove(&(at, key));
                None
            }
            State::Parked => {
                self.lanes.entry(key.peer).or_default().parked.retain(|other| *other != key);
                None
            }
            State::Dialling { id, signs } => {
                self.release(key, signs, now);
                id
            }
            State::Up { id, .. } => Some(id),
        }
    }

    pub(crate) fn identity(&self, key: DialKey) -> Option<&Arc<Identity>> {
        self.dials.get(&key).map(|dial| &dial.identity)
    }

    /// The next link to dial.
    pub(crate) fn next(&mut self, now: Instant, has_ticket: impl Fn(DialKey) -> bool) -> Option<Start> {
        while let Some(&(at, key)) = self.due.first().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, key));
            let dial = self.dials.get_mut(&key).expect("what is due is dialled");
            let lane = self.lanes.entry(key.peer).or_default();
            let signs = !has_ticket(key);
            if lane.running >= LANE_MAX || (signs && lane.signing.contains(&key.me)) {
                dial.state = State::Parked;
                lane.parked.push_back(key);
                continue;
            }
            lane.running += 1;
            if signs {
                lane.signing.insert(key.me);
            }
            dial.state = State::Dialling { id: None, signs };
            return Some(Start { key, address: dial.address });
        }
        None
    }

    /// What [`Dialer::next`] asked for is under way.
    pub(crate) fn started(&mut self, key: DialKey, connection: ConnectionId) {
        if let Some(Dial { state: State::Dialling { id, .. }, .. }) = self.dials.get_mut(&key) {
            *id = Some(connection);
        }
    }

    /// It came to nothing.
    pub(crate) fn failed(&mut self, key: DialKey, connection: Option<ConnectionId>, now: Instant) {
        let Some(dial) = self.dials.get_mut(&key) else { return };
        let State::Dialling { id, signs } = dial.state else { return };
        if id == connection {
            self.pause(key, now);
            self.release(key, signs, now);
        }
    }

    /// The link is up: by our dialling or by the other side's.
    pub(crate) fn up(&mut self, key: DialKey, connection: ConnectionId, now: Instant) {
        let Some(dial) = self.dials.get_mut(&key) else { return };
        let before = std::mem::replace(&mut dial.state, State::Up { id: connection, since: now });
        match before {
            State::Waiting(at) => {
                self.due.remove(&(at, key));
            }
            State::Parked => {
                self.lanes.entry(key.peer).or_default().parked.retain(|other| *other != key);
            }
            State::Dialling { id, signs } if id == Some(connection) => self.release(key, signs, now),
            // Our own dial goes on and will replace what came in meanwhile.
            State::Dialling { .. } => dial.state = before,
            State::Up { .. } => {}
        }
    }

    /// A link went down.
    pub(crate) fn down(&mut self, key: DialKey, connection: ConnectionId, now: Instant) {
        let Some(dial) = self.dials.get_mut(&key) else { return };
        let State::Up { id, since } = dial.state else { return };
        if id != connection {
            return;
        }
        if now.since(since) >= LIVED {
            dial.failures = 0;
        }
        self.pause(key, now);
    }

    /// When to call [`Dialer::next`] again.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    fn pause(&mut self, key: DialKey, now: Instant) {
        let dial = self.dials.get_mut(&key).expect("the caller has it");
        let at = now + pause(key, dial.failures);
        dial.failures = dial.failures.saturating_add(1);
        dial.state = State::Waiting(at);
        self.due.insert((at, key));
    }

    /// A dial is over: some of those who waited for that may try.
    fn release(&mut self, key: DialKey, signs: bool, now: Instant) {
        let lane = self.lanes.entry(key.peer).or_default();
        lane.running -= 1;
        if signs {
            lane.signing.remove(&key.me);
        }
        for parked in lane.parked.drain(..lane.parked.len().min(LANE_MAX)) {
            let dial = self.dials.get_mut(&parked).expect("what is parked is dialled");
            dial.state = State::Waiting(now);
            self.due.insert((now, parked));
        }
    }
}

/// Exponential, with jitter of a quarter so that those who lost a peer together don't come back together.
fn pause(key: DialKey, failures: u32) -> Duration {
    let full = PAUSE_MIN.saturating_mul(1 << failures.min(10)).min(PAUSE_MAX);
    let seed = [key.me, key.peer].map(|peer| u64::from(peer.id) << 1 | u64::from(peer.role.byte()));
    let seed = seed[0] << 40 ^ seed[1] << 20 ^ u64::from(key.pillar.0) << 8 ^ u64::from(failures);
    let jitter = u32::try_from(mix(seed) % 256).expect("below 256");
    full - full / 4 * jitter / 256
}

/// SplitMix64's finisher.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests;
