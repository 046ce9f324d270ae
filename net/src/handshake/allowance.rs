use std::collections::BTreeMap;
use std::time::Duration;

use hypostyle_app_api::Instant;

use crate::peer::Peer;

/// Signed handshakes a peer may make at once.
const BURST: u32 = 32;
/// And one more each time this has passed.
const REFILL: Duration = Duration::from_millis(125);

/// Bounds the responder's signatures per peer. Spent only by who has already proved to be that peer, so nobody uses
/// up another's, and the table grows no larger than the configuration.
#[derive(Default)]
pub(crate) struct Allowance {
    spent: BTreeMap<Peer, Spent>,
}

struct Spent {
    handshakes: u32,
    since: Instant,
}

impl Allowance {
    /// Whether `peer` may have one more.
    pub(crate) fn spend(&mut self, peer: Peer, now: Instant) -> bool {
        let spent = self.spent.entry(peer).or_insert(Spent { handshakes: 0, since: now });
        let refilled = now.since(spent.since).as_nanos() / REFILL.as_nanos();
        if refilled > 0 {
            spent.handshakes = spent.handshakes.saturating_sub(u32::try_from(refilled).unwrap_or(u32::MAX));
            spent.since = now;
        }
        let allowed = spent.handshakes < BURST;
        spent.handshakes += u32::from(allowed);
        allowed
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
}
