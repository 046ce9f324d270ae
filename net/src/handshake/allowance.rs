use std::collections::BTreeMap;
use std::time::Duration;

use hypostyle_app_api::Instant;

use crate::peer::Peer;

/// Signed handshakes a peer may make at once.
const BURST: u32 = 32;
/// Handshakes with a ticket that a peer may make at once: twice the links of a worker that owns 256 pillars.
const RESUMED_BURST: u32 = 512;
/// And one more each time this has passed.
const REFILL: Duration = Duration::from_millis(125);

/// Bounds the responder's signatures per peer, and how often one may come back with a ticket, which costs it nearly
/// nothing. Spent only by who has already proved to be that peer, so nobody uses up another's, and the tables grow no
/// larger than the configuration.
#[derive(Default)]
pub(crate) struct Allowance {
    signed: BTreeMap<Peer, Spent>,
    resumed: BTreeMap<Peer, Spent>,
}

#[derive(Clone, Copy)]
struct Spent {
    handshakes: u32,
    since: Instant,
}

impl Allowance {
    /// Whether `peer` may have one more signature.
    pub(crate) fn spend(&mut self, peer: Peer, now: Instant) -> bool {
        let spent = self.signed.entry(peer).or_insert(Spent { handshakes: 0, since: now });
        *spent = spent.refilled(now);
        let allowed = spent.handshakes < BURST;
        spent.handshakes += u32::from(allowed);
        allowed
    }

    /// Whether a ticket of `peer` still serves; if not, it must sign again.
    pub(crate) fn may_resume(&self, peer: Peer, now: Instant) -> bool {
        self.resumed.get(&peer).is_none_or(|spent| spent.refilled(now).handshakes < RESUMED_BURST)
    }

    /// `peer` came back with a ticket and has proved that it is its own.
    pub(crate) fn resumed(&mut self, peer: Peer, now: Instant) {
        let spent = self.resumed.entry(peer).or_insert(Spent { handshakes: 0, since: now });
        *spent = spent.refilled(now);
        spent.handshakes = spent.handshakes.saturating_add(1);
    }
}

impl Spent {
    fn refilled(self, now: Instant) -> Self {
        let refilled = now.since(self.since).as_nanos() / REFILL.as_nanos();
        if refilled == 0 {
            return self;
        }
        let refilled = u32::try_from(refilled).unwrap_or(u32::MAX);
        Self { handshakes: self.handshakes.saturating_sub(refilled), since: now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::Role;

    #[test]
    fn a_burst_then_a_rate_for_each_peer_alone() {
        let (one, other) = (Peer { role: Role::Client, id: 1 }, Peer { role: Role::Client, id: 2 });
        let mut allowance = Allowance::default();
        let start = Instant(7);
        for _ in 0..BURST {
            assert!(allowance.spend(one, start));
        }
        assert!(!allowance.spend(one, start));
        assert!(allowance.spend(other, start));
        assert!(allowance.spend(one, start + REFILL));
        assert!(!allowance.spend(one, start + REFILL));
        for _ in 0..BURST {
            assert!(allowance.spend(one, start + REFILL * 1000));
        }
    }

    #[test]
    fn who_comes_back_too_often_with_a_ticket_must_sign() {
        let (one, other) = (Peer { role: Role::Client, id: 1 }, Peer { role: Role::Client, id: 2 });
        let mut allowance = Allowance::default();
        let start = Instant(7);
        for _ in 0..RESUMED_BURST {
            assert!(allowance.may_resume(one, start));
            allowance.resumed(one, start);
        }
        assert!(!allowance.may_resume(one, start));
        assert!(allowance.may_resume(other, start) && allowance.spend(one, start));
        assert!(allowance.may_resume(one, start + REFILL));
    }
}
