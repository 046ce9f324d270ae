//! Connections come and go, and with them, or with the views, the replica that a request is to be sent to.

use hypostyle_app_api::{Number, PillarId, ReplicaId};
use hypostyle_crypto::Session;

use super::{ClientCore, InFlight, Link};
use crate::client::output::{ClientOutput, Transmission};

impl ClientCore {
    /// A connection is up, with its keys: what waits for it, or may have been lost with the one before, is sent.
    pub fn connected(
        &mut self,
        replica: ReplicaId,
        pillar: PillarId,
        session: Option<Session>,
        out: &mut ClientOutput,
    ) {
        let Some(link) = self.link(replica, pillar) else { return };
        let session = session.filter(|_| self.settings.tags);
        self.links[link] = Link { is_up: true, session, signs_until: None };
        let leads = self.primary(pillar) == replica;
        for first in self.requests_of(pillar, |request| leads || request.level > 0) {
            self.sign(first);
            if let Some(request) = self.request(first) {
                out.sends.push(Transmission { replica, pillar, request: request.request.bytes().clone() });
            }
        }
    }

    /// A connection is down. With that to the primary the requests are lost that it was to serve: they go to the others,
    /// who pass them on and expect them to be served.
    pub fn disconnected(&mut self, replica: ReplicaId, pillar: PillarId, out: &mut ClientOutput) {
        let Some(link) = self.link(replica, pillar) else { return };
        let was_up = std::mem::replace(&mut self.links[link].is_up, false);
        if was_up && self.primary(pillar) == replica {
            // Those of a higher level went to all already.
            for first in self.requests_of(pillar, |request| request.level == 0) {
                self.transmit_to_all(first, out);
            }
        }
    }

    /// A pillar is in another view than was believed: the new primary gets what the old one didn't serve.
    pub(super) fn follow(&self, pillar: PillarId, out: &mut ClientOutput) {
        let primary = self.primary(pillar);
        for first in self.requests_of(pillar, |request| request.level == 0) {
            self.request(first).into_iter().for_each(|request| self.transmit(request, primary, out));
        }
    }

    pub(super) fn is_up(&self, replica: ReplicaId, pillar: PillarId) -> bool {
        self.link(replica, pillar).is_some_and(|link| self.links[link].is_up)
    }

    /// To all that can be reached; it is signed, for most can't order it themselves but pass it on.
    pub(super) fn transmit_to_all(&mut self, first: Number, out: &mut ClientOutput) {
        let replicas = self.settings.replicas;
        self.sign(first);
        if let Some(request) = self.request(first) {
            (0..replicas).for_each(|replica| self.transmit(request, ReplicaId(replica), out));
        }
    }

    fn requests_of(&self, pillar: PillarId, picks: impl Fn(&InFlight) -> bool) -> Vec<Number> {
        let requests = self.operations.iter().filter_map(|(number, op)| Some((number, op.request.as_ref()?)));
        let picked = requests.filter(|(_, request)| request.pillar == pillar && picks(request));
        picked.map(|(number, _)| number).collect()
    }
}
