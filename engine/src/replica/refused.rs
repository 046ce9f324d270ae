use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use hypostyle_app_api::{Instant, PillarId};
use hypostyle_net::{Peer, Refusal, Role};

/// Says why connections don't come about: whoever is refused tries again at once and for ever, so each peer is told of
/// at most once in a while.
#[derive(Debug)]
pub(crate) struct RefusalLog {
    replicas: u16,
    /// When which replica; all others count as one, since a name proves nothing yet.
    said: BTreeMap<Option<Peer>, Instant>,
    /// The same of links that went down.
    lost: BTreeMap<Option<Peer>, Instant>,
    unsaid: u64,
}

/// How long the log is silent about a peer.
const INTERVAL: Duration = Duration::from_secs(10);

impl RefusalLog {
    pub(crate) fn new(replicas: u16) -> Self {
        Self { replicas, said: BTreeMap::new(), lost: BTreeMap::new(), unsaid: 0 }
    }

    pub(crate) fn note(&mut self, now: Instant, peer: Option<Peer>, address: SocketAddr, reason: &str) {
        if !self.is_due(now, peer) {
            self.unsaid += 1;
            return;
        }
        let unsaid = std::mem::take(&mut self.unsaid);
        let peer = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string());
        match remedy(reason) {
            Some(remedy) => tracing::warn!(peer, %address, reason, remedy, unsaid, "no connection"),
            // It may not have started yet.
            None => tracing::info!(peer, %address, reason, unsaid, "no connection yet"),
        }
    }

    fn is_due(&mut self, now: Instant, peer: Option<Peer>) -> bool {
        let known = |peer: &Peer| peer.role == Role::Replica && peer.id < u32::from(self.replicas);
        is_due(&mut self.said, now, peer.filter(known))
    }

    /// A link that was up went down.
    pub(crate) fn note_lost(&mut self, now: Instant, peer: Peer, pillar: PillarId, reason: &str) {
        if is_due(&mut self.lost, now, Some(peer)) {
            tracing::info!(%peer, %pillar, reason, "link down");
        }
    }
}

fn is_due(said: &mut BTreeMap<Option<Peer>, Instant>, now: Instant, peer: Option<Peer>) -> bool {
    said.retain(|_, at| *at + INTERVAL > now);
    let due = !said.contains_key(&peer);
    if due {
        said.insert(peer, now);
    }
    due
}

fn remedy(reason: &str) -> Option<&'static str> {
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
    known.map(|(_, remedy)| remedy)
}

#[cfg(test)]
mod tests {
    use hypostyle_app_api::ReplicaId;

    use super::*;

    #[test]
    fn a_peer_is_told_of_once_in_a_while_and_strangers_cannot_silence_it() {
        let mut log = RefusalLog::new(4);
        let (start, peer) = (Instant(1), Some(Peer::replica(ReplicaId(3))));
        let stranger = |id| Some(Peer::replica(ReplicaId(id)));
        assert!(log.is_due(start, peer) && log.is_due(start, None));
        assert!(!log.is_due(start + INTERVAL / 2, peer) && !log.is_due(start + INTERVAL / 2, None));
        let told = (4..10_000).filter(|id| log.is_due(start + INTERVAL, stranger(*id))).count();
        assert_eq!(told, 1, "all whom the configuration doesn't name as replicas count as one");
        assert!(log.is_due(start + INTERVAL, peer));
    }

    #[test]
    fn a_remedy_fits_the_reason() {
        let reason = format!("{}: pillars is 1 here and 2 at replica 3", Refusal::Configuration);
        assert!(remedy(&reason).is_some_and(|remedy| remedy.contains("same cluster.toml")));
        assert_eq!(remedy("can't connect: Connection refused"), None);
    }
}
