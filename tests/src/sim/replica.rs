//! A simulated replica: the production cores, and what a machine would put around them.

use bytes::Bytes;
use hypostyle::simulation::Member;
use hypostyle_app_api::{Instant, Now, Timestamp};
use hypostyle_crypto::Session;

use super::network::Endpoint;
use super::queue::{self, Time};
use super::random::Random;
use super::service::Service;
use crate::byzantine::Byzantine;

/// What has come for a replica since its last turn.
#[derive(Clone, Debug)]
pub(super) enum Arrival {
    Frame { from: Endpoint, pillar: u16, payload: Bytes },
    Connected { peer: Endpoint, pillar: u16 },
    Client { client: Endpoint, pillar: u16, session: Session },
}

pub(super) struct SimReplica {
    /// `None` while it is down.
    pub(super) member: Option<Box<Member<Service>>>,
    /// Whether it is down and will be started again.
    pub(super) starts_again: bool,
    pub(super) clock: Clock,
    pub(super) inbox: Vec<Arrival>,
    pub(super) paused_until: Time,
    /// Who speaks in its place, if it is an adversary.
    pub(super) byzantine: Option<Byzantine>,
    pub(super) twin: Option<Twin>,
}

/// The copies of a replica: there is a second only where twins are.
pub(super) const FIRST: u8 = 1;
pub(super) const SECOND: u8 = 2;

/// A second copy of a replica, and who hears which of the two.
pub(super) struct Twin {
    pub(super) member: Box<Member<Service>>,
    /// For each endpoint one bit for each copy.
    pub(super) sides: Vec<u8>,
    /// Whether who hears whom changes by itself.
    pub(super) is_restless: bool,
}

impl Twin {
    /// Who hears whom changes now and then.
    pub(super) fn turn_round(&mut self, random: &mut Random) {
        const CHOICES: [u8; 5] = [FIRST, FIRST, SECOND, SECOND, FIRST | SECOND];
        if self.is_restless && random.chance(5) {
            self.sides.iter_mut().for_each(|sides| *sides = random.pick(&CHOICES));
        }
    }

    pub(super) fn hears(&self, copy: u8, from: Endpoint) -> bool {
        self.sides[from] & copy != 0
    }
}

impl SimReplica {
    pub(super) fn is_honest(&self) -> bool {
        self.byzantine.is_none()
    }

    /// Whether it runs and may not vote yet.
    pub(super) fn is_recovering(&self) -> bool {
        self.member.as_ref().is_some_and(|member| member.is_recovering())
    }

    /// Whether it is one of the f that may fail.
    pub(super) fn is_faulty(&self) -> bool {
        self.member.is_none() || self.is_recovering() || !self.is_honest()
    }
}

/// A clock that is off and goes wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// Local nanoseconds in a million true ones.
    pub(super) rate: u64,
    /// What the wall clock is ahead by.
    pub(super) ahead: Time,
}

const MILLION: u64 = 1_000_000;
/// The wall clock when a run begins.
const EPOCH: Time = 1_000_000 * queue::SECOND;

impl Clock {
    /// What it shows.
    pub(super) fn now(self, time: Time) -> Now {
        let local = scale(time, self.rate, MILLION);
        Now { instant: Instant(queue::SECOND + local), wall: Timestamp(EPOCH + self.ahead + local) }
    }

    /// When it shows this, at the earliest.
    pub(super) fn time_of(self, instant: Instant) -> Time {
        scale(instant.0.saturating_sub(queue::SECOND), MILLION, self.rate) + 1
    }
}

fn scale(time: Time, by: u64, of: u64) -> Time {
    let scaled = u128::from(time) * u128::from(by) / u128::from(of);
    Time::try_from(scaled).unwrap_or(Time::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_has_come_when_its_event_comes() {
        for rate in [500_000, 999_999, 1_000_000, 1_000_001, 1_500_000] {
            let clock = Clock { rate, ahead: 5 };
            for time in [0, 1, 999, 123_456_789] {
                let deadline = clock.now(time).instant;
                assert!(clock.now(clock.time_of(deadline)).instant >= deadline, "{rate} {time}");
            }
        }
    }
}
