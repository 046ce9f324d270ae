//! Signatures and tags: what stands under requests, and under replies.

use std::time::Duration;

use hypostyle_app_api::{Digest, Instant, Number, PillarId, ReplicaId};
use hypostyle_crypto::{Refused, Session, Signer, Verified};
use hypostyle_pillars::message::Wish;

use super::{ClientCore, InFlight};
use crate::client::error::NotSent;
use crate::client::output::ClientOutput;
use crate::reply::ReplyMessage;

/// A connection to a replica for a pillar.
#[derive(Clone, Debug, Default)]
pub(super) struct Link {
    pub(super) is_up: bool,
    /// The keys of this connection, or of the last one.
    pub(super) session: Option<Session>,
    /// The replica wants requests signed, for so long.
    pub(super) signs_until: Option<Instant>,
}

/// How long requests to a replica that has asked for it are signed at once.
pub(super) const SIGNS_FOR: Duration = Duration::from_secs(1);

/// Bytes of a request beside its operations' own, each operation's length, and the signature.
const REQUEST_OVERHEAD: usize = 26;

impl ClientCore {
    /// Authenticates a request of these operations and sends it. Returns the first one's number; the others follow it.
    ///
    /// # Errors
    /// When it can't be sent; nothing has changed then.
    pub fn submit(
        &mut self,
        now: Instant,
        operations: &[&[u8]],
        out: &mut ClientOutput,
    ) -> Result<Number, NotSent> {
        self.check_room(operations.len())?;
        let (first, floor) = (self.next_number(), self.floor());
        let payload: usize = operations.iter().map(|operation| 4 + operation.len()).sum();
        // With tags too: it may have to be signed later.
        let size = REQUEST_OVERHEAD + payload + self.settings.authenticator_len(self.identity.suite());
        if size > self.settings.request_max {
            return Err(NotSent::TooLarge { size, max: self.settings.request_max });
        }
        let pillar = self.settings.pillar(self.client, first);
        let wish = Wish { client: self.client, first, floor, operations };
        let request = match self.sessions(now, pillar) {
            Some(sessions) => wish.tag(sessions),
            None => wish.sign(&self.identity),
        };
        self.launch(now, request);
        self.transmit_first(first, out);
        Ok(first)
    }

    /// The sessions with all replicas for a pillar, if tags will do: the primary takes them, and enough others can check
    /// theirs that the rest takes their word for it.
    fn sessions(
        &self,
        now: Instant,
        pillar: PillarId,
    ) -> Option<impl ExactSizeIterator<Item = Option<&Session>>> {
        if !self.settings.tags {
            return None;
        }
        let primary = &self.links[self.link(self.primary(pillar), pillar)?];
        let takes = primary.session.is_some() && primary.signs_until.is_none_or(|until| until <= now);
        let pillars = usize::from(self.settings.pillars);
        let sessions = self.links[pillar.index()..].iter().step_by(pillars).map(|link| link.session.as_ref());
        let known = sessions.clone().flatten().count();
        (takes && known > 2 * usize::from(self.settings.faults)).then_some(sessions)
    }

    /// What identifies a request in flight, by its first number.
    #[must_use]
    pub fn digest(&self, first: Number) -> Option<Digest> {
        self.request(first).map(|request| request.request.digest())
    }

    /// Checks the tag of an admitted reply.
    ///
    /// # Errors
    /// The reply, when it isn't under the key of the connection it came over.
    pub fn verify_tag(&self, reply: ReplyMessage) -> Result<Verified<ReplyMessage>, Refused<ReplyMessage>> {
        let link = self.link(reply.signer, reply.pillar).map(|link| &self.links[link]);
        match link.and_then(|link| link.session.as_ref()) {
            Some(session) => session.verify_reply(reply),
            None => Err(Refused { signer: Signer::Replica(reply.signer), message: reply }),
        }
    }

    /// A replica wants a request signed: nobody vouches for that, so it costs no more than a signature.
    pub fn on_hint(
        &mut self,
        now: Instant,
        (replica, pillar): (ReplicaId, PillarId),
        first: Number,
        out: &mut ClientOutput,
    ) {
        let Some(link) = self.link(replica, pillar).filter(|_| self.settings.tags) else { return };
        self.links[link].signs_until = Some(now + SIGNS_FOR);
        // What is signed was sent so, and is sent again in its time.
        let tagged = |request: &&InFlight| request.pillar == pillar && !request.request.is_signed();
        if self.request(first).filter(tagged).is_some() {
            self.sign(first);
            self.request(first).into_iter().for_each(|request| self.transmit(request, replica, out));
        }
    }

    /// From now on a request in flight is signed: so it convinces replicas who can't check its tags.
    pub(super) fn sign(&mut self, first: Number) {
        let operation = self.operations.get_mut(first);
        if let Some(in_flight) = operation.and_then(|operation| operation.request.as_mut())
            && !in_flight.request.is_signed()
        {
            in_flight.request = in_flight.request.sign(&self.identity);
        }
    }
}
