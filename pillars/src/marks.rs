use std::collections::BTreeMap;
use std::time::Duration;

use hypostyle_app_api::{ClientId, Instant};

/// Clients whose tags held at some replicas only and so stopped a slot (Clement et al., NSDI'09, "big MAC attack"): for a
/// while their requests are taken only with a signature. Three such clients, and everyone's are: so the damage is bounded
/// whatever the number of faulty clients.
#[derive(Clone, Debug)]
pub(crate) struct Marks {
    until: BTreeMap<ClientId, Instant>,
    period: Duration,
}

/// From so many marked clients on, nobody's tags are taken.
const CLIENTS_MAX: usize = 3;
/// How long a mark stays, in multiples of the view timeout.
const PERIOD: u32 = 128;

impl Marks {
    pub(crate) fn new(view_timeout: Duration) -> Self {
        Self { until: BTreeMap::new(), period: PERIOD * view_timeout }
    }

    /// Marks a client. False when it was marked, or everyone is.
    pub(crate) fn mark(&mut self, now: Instant, client: ClientId) -> bool {
        let full = self.until.len() >= CLIENTS_MAX;
        !full && self.until.insert(client, now + self.period).is_none()
    }

    /// Whether requests of `client` must be signed.
    pub(crate) fn wants_signature(&self, client: ClientId) -> bool {
        self.until.len() >= CLIENTS_MAX || self.until.contains_key(&client)
    }

    /// Ends what is over.
    pub(crate) fn expire(&mut self, now: Instant) {
        if !self.until.is_empty() {
            self.until.retain(|_, until| now < *until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_clients_stand_for_all_until_their_marks_end() {
        let mut marks = Marks::new(Duration::from_millis(1));
        let wanted = |marks: &Marks| (0..9).filter(|id| marks.wants_signature(ClientId(*id))).count();
        assert_eq!(wanted(&marks), 0);
        for (client, expected) in [(0, 1), (1, 2), (2, 9), (3, 9)] {
            let marked = marks.mark(Instant(u64::from(client)), ClientId(client));
            assert_eq!((marked, wanted(&marks)), (client < 3, expected));
        }
        let end = Instant(0) + Duration::from_millis(128);
        marks.expire(end);
        assert_eq!(wanted(&marks), 2);
        marks.expire(end + Duration::from_millis(1));
        assert_eq!(wanted(&marks), 0);
    }
}
