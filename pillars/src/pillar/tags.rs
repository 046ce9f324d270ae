//! Requests with tags instead of signatures: each replica can check its own tag only, so a backup may have to take the word
//! of f+1 others for a body, and a client can stop a slot whose tags hold at its primary alone.

use hypostyle_app_api::{ClientId, Digest, Now, Number, Seq};
use hypostyle_crypto::Unsure;
use hypostyle_probe::{Bug, bug, mark};

use super::Pillar;
use crate::message::{Body, Message, Request};
use crate::outbox::Output;

/// A request of a body whose tag for this replica doesn't hold: there is no session with the client, or another one, or the
/// client or the primary is faulty.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doubt {
    client: ClientId,
    first: Number,
    digest: Digest,
}

impl Pillar {
    /// A body that this replica can't check alone.
    pub(super) fn on_unsure(&mut self, now: Now, message: Unsure<Message>, out: &mut Vec<Output>) {
        let (Message::Body(body), doubtful) = message.into_parts() else { return };
        let refs = doubtful.iter().filter_map(|index| body.requests().get(*index));
        let doubts = refs.map(|r| Doubt { client: r.client, first: r.first, digest: r.digest }).collect();
        mark!("a body whose tags this replica can't check");
        self.doubts.insert(body.digest(), doubts);
        self.on_body(now, body, out);
        self.forget_doubts();
    }

    /// Forgets the doubts about bodies that aren't kept any more.
    pub(super) fn forget_doubts(&mut self) {
        if self.doubts.is_empty() {
            return;
        }
        let (log, early) = (&self.log, &self.early);
        let kept = |digest: &Digest| {
            let mut slots = (log.first().0..=log.end().0).filter_map(|seq| log.get(Seq(seq)));
            slots.any(|slot| slot.held(*digest).is_some())
                || early.iter().any(|(_, body)| body.digest() == *digest)
        };
        self.doubts.retain(|digest, _| kept(digest));
    }

    /// The client whose request keeps this replica from accepting what is proposed for a slot, until f+1 replicas stand for
    /// it, of whom one correct one has checked it; or until the client's own signed copy has come.
    pub(super) fn doubted(&self, seq: Seq, body: &Body) -> Option<ClientId> {
        let doubts = self.doubts.get(&body.digest()).filter(|_| !bug!(Bug::DoubtsIgnored))?;
        let slot = self.log.get(seq)?;
        if slot.backers(self.view, self.primary(), body.digest()) >= self.config.weak_quorum() {
            return None;
        }
        let is_open = |doubt: &&Doubt| !self.pending.holds((doubt.client, doubt.first), doubt.digest);
        doubts.iter().find(is_open).map(|doubt| doubt.client)
    }

    /// The client that blocks the lowest slot.
    pub(super) fn blocked_by(&self) -> Option<ClientId> {
        let lowest = Seq(self.accepted.0 + 1);
        let is_open = self.views.active && !self.leads() && lowest > self.views.chosen_to();
        let body = self.proposed_body(lowest).filter(|_| is_open)?;
        self.doubted(lowest, body)
    }

    /// Requests of this client must be signed for a while. Those with tags that line up here are dropped: the client sends
    /// them again.
    pub(super) fn on_mark(&mut self, now: Now, client: ClientId) -> bool {
        if !self.marks.mark(now.instant, client) {
            return false;
        }
        mark!("a client's tags are taken no more");
        for request in self.batches.drain() {
            self.clients.leave_queue(request.client(), request.count());
            if self.takes(&request) {
                self.clients.queue(request.client(), request.count());
                self.batches.push(now.instant, &request, &self.config);
            } else {
                self.clients.release(request.client(), request.first(), request.count());
            }
        }
        true
    }

    /// Whether a request's authenticator is of a kind that is taken here.
    pub(super) fn takes(&self, request: &Request) -> bool {
        request.is_signed() || !self.marks.wants_signature(request.client())
    }
}
