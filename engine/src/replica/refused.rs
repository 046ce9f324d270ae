use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use hypostyle_app_api::Instant;
use hypostyle_net::{Peer, Refusal};

/// Says why connections don't come about: whoever is refused tries again at once and for ever, so each peer is told of
/// at most once in a while.
#[derive(Debug, Default)]
pub(crate) struct RefusalLog {
    /// When whom; all that don't say who they are count as one.
    said: BTreeMap<Option<Peer>, Instant>,
    unsaid: u64,
}

/// How long the log is silent about a peer.
const INTERVAL: Duration = Duration::from_secs(10);
/// Who a peer says it is proves nothing, so the names are not without number.
const PEERS_MAX: usize = 256;

impl RefusalLog {
    pub(crate) fn note(&mut self, now: Instant, peer: Option<Peer>, address: SocketAddr, reason: &str) {
        if !self.is_due(now, peer) {
            self.unsaid += 1;
            return;
        }
        let unsaid = std::mem::take(&mut self.unsaid);
        let peer = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string());
        let remedy = remedy(reason);
        tracing::warn!(peer, %address, reason, remedy, unsaid, "no connection");
    }

    fn is_due(&mut self, now: Instant, peer: Option<Peer>) -> bool {
        self.said.retain(|_, at| *at + INTERVAL > now);
        let due = !self.said.contains_key(&peer) && self.said.len() < PEERS_MAX;
        if due {
            self.said.insert(peer, now);
        }
        due
    }
}

fn remedy(reason: &str) -> &'static str {
    let remedies = [
        (Refusal::Configuration, "give all replicas and clients the same cluster.toml"),
        (Refusal::UnknownIdentity, "add it to cluster.toml, everywhere"),
        (Refusal::UnexpectedIdentity, "correct the address in cluster.toml or [dial]"),
        (Refusal::Role, "replicas connect to the peer address, clients to the client address"),
        (Refusal::Signature, "check that its private key is the one of its entry in cluster.toml"),
        (Refusal::Full, "raise [limits] connections in replica.toml, or the limit of open files"),
        (Refusal::NotHypostyle, "find out who sends this, and keep it away from this port"),
    ];
    let known = remedies.into_iter().find(|(refusal, _)| reason.starts_with(&refusal.to_string()));
    known.map_or("see that the other side runs and is reachable", |(_, remedy)| remedy)
}

#[cfg(test)]
mod tests {
    use hypostyle_app_api::ReplicaId;

    use super::*;

    #[test]
    fn a_peer_is_told_of_once_in_a_while_and_names_are_bounded() {
        let mut log = RefusalLog::default();
        let (start, peer) = (Instant(1), Some(Peer::replica(ReplicaId(3))));
        assert!(log.is_due(start, peer) && log.is_due(start, None));
        assert!(!log.is_due(start + INTERVAL / 2, peer) && !log.is_due(start + INTERVAL / 2, None));
        assert!(log.is_due(start + INTERVAL, peer));
        let names = (0..10_000).map(|id| Some(Peer::replica(ReplicaId(id))));
        assert!(names.filter(|name| log.is_due(start + INTERVAL, *name)).count() < PEERS_MAX);
        assert!(log.is_due(start + INTERVAL * 2, peer), "those of before are forgotten");
    }

    #[test]
    fn a_remedy_fits_the_reason() {
        let reason = format!("{}: pillars is 1 here and 2 at replica 3", Refusal::Configuration);
        assert!(remedy(&reason).contains("same cluster.toml"));
        assert!(remedy("can't connect: Connection refused").contains("runs"));
    }
}
