//! Connections come and go, and with them, or with the views, the replica that a request is to be sent to.

use hypostyle_app_api::{PillarId, ReplicaId};

use super::{ClientCore, InFlight};
use crate::client::output::{ClientOutput, Transmission};

impl ClientCore {
    /// A connection is up: what waits for it, or may have been lost with the one before, is sent.
    pub fn connected(&mut self, replica: ReplicaId, pillar: PillarId, out: &mut ClientOutput) {
        let Some(link) = self.link(replica, pillar) else { return };
        self.links[link] = true;
        let leads = self.primary(pillar) == replica;
        for request in self.requests_of(pillar).filter(|request| leads || request.level > 0) {
            out.sends.push(Transmission { replica, pillar, request: request.bytes.clone() });
        }
    }

    /// A connection is down. With that to the primary the requests are lost that it was to serve: they go to the others,
    /// who pass them on and expect them to be served.
    pub fn disconnected(&mut self, replica: ReplicaId, pillar: PillarId, out: &mut ClientOutput) {
        let Some(link) = self.link(replica, pillar) else { return };
        let was_up = std::mem::replace(&mut self.links[link], false);
        if was_up && self.primary(pillar) == replica {
            // Those of a higher level went to all already.
            for request in self.requests_of(pillar).filter(|request| request.level == 0) {
                self.transmit_to_all(request, out);
            }
        }
    }

    /// A pillar is in another view than was believed: the new primary gets what the old one didn't serve.
    pub(super) fn follow(&self, pillar: PillarId, out: &mut ClientOutput) {
        let primary = self.primary(pillar);
        for request in self.requests_of(pillar).filter(|request| request.level == 0) {
            self.transmit(request, primary, out);
        }
    }

    pub(super) fn is_up(&self, replica: ReplicaId, pillar: PillarId) -> bool {
        self.link(replica, pillar).is_some_and(|link| self.links[link])
    }

    /// To all that can be reached.
    pub(super) fn transmit_to_all(&self, request: &InFlight, out: &mut ClientOutput) {
        (0..self.settings.replicas).for_each(|replica| self.transmit(request, ReplicaId(replica), out));
    }

    fn requests_of(&self, pillar: PillarId) -> impl Iterator<Item = &InFlight> {
        let requests = self.operations.iter().filter_map(|(_, operation)| operation.request.as_ref());
        requests.filter(move |request| request.pillar == pillar)
    }
}
