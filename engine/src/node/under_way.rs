use std::collections::BTreeMap;

use hypostyle_app_api::ReplicaId;
use hypostyle_pillars::Source;
use hypostyle_pillars::message::{FrameLimits, Message};

/// How many large messages of each peer are being verified for each pillar. The crypto desk counts messages; of these a few
/// thousand would fill the memory.
pub(super) struct UnderWay {
    held: BTreeMap<Account, usize>,
    changes_max: usize,
    bodies_max: usize,
}

/// What a large message is counted under until it is verified: pillar, peer, kind.
pub(super) type Account = (usize, ReplicaId, Large);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Large {
    ViewChange,
    Body,
}

impl UnderWay {
    pub(super) fn new(limits: &FrameLimits) -> Self {
        // As many as a NEW-VIEW names, and as many as the window holds.
        let window = usize::try_from(limits.window).unwrap_or(usize::MAX);
        Self { held: BTreeMap::new(), changes_max: limits.quorum(), bodies_max: window }
    }

    /// Counts a message, if it is large. `Err` when its sender has too many under way.
    pub(super) fn begin(
        &mut self,
        pillar: usize,
        source: Source,
        message: &Message,
    ) -> Result<Option<Account>, ()> {
        let (Source::Peer(replica), Some(large)) = (source, large(message)) else {
            return Ok(None);
        };
        let most = match large {
            Large::ViewChange => self.changes_max,
            Large::Body => self.bodies_max,
        };
        let account = (pillar, replica, large);
        let held = self.held.entry(account).or_default();
        if *held >= most {
            return Err(());
        }
        *held += 1;
        Ok(Some(account))
    }

    /// It was verified, or is gone.
    pub(super) fn end(&mut self, account: Option<Account>) {
        if let Some(held) = account.and_then(|account| self.held.get_mut(&account)) {
            *held -= 1;
        }
    }
}

fn large(message: &Message) -> Option<Large> {
    match message {
        Message::ViewChange(_) => Some(Large::ViewChange),
        Message::Body(_) => Some(Large::Body),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use hypostyle_app_api::ClientId;
    use hypostyle_pillars::message::{Body, RequestLimits};

    use super::*;

    #[test]
    fn a_peer_has_a_window_of_bodies_under_way_and_others_have_theirs() {
        let limits = FrameLimits {
            request: RequestLimits { clients: 1, request_operations: 1, request_max: 64, tags: None },
            batch_max: 1,
            batch_bytes: 64,
            replicas: 4,
            leaders: hypostyle_pillars::Leaders::Spread,
            checkpoint_interval: 4,
            window: 8,
        };
        let mut under_way = UnderWay::new(&limits);
        let body = Message::Body(Body::empty());
        let mut begin = |pillar, replica| under_way.begin(pillar, Source::Peer(ReplicaId(replica)), &body);
        let accounts: Vec<_> = (0..20).filter_map(|_| begin(0, 1).ok()).collect();
        assert_eq!(accounts.len(), 8);
        assert!(begin(0, 2).is_ok() && begin(1, 1).is_ok() && begin(0, 1).is_err());
        under_way.end(accounts[0]);
        assert!(under_way.begin(0, Source::Peer(ReplicaId(1)), &body).is_ok());
        assert_eq!(under_way.begin(0, Source::Client(ClientId(0)), &body), Ok(None));
    }
}
