use hypostyle_app_api::{ClientId, ReplicaId, Seq};
use hypostyle_probe::{Bug, bug};

use super::Pillar;
use crate::clients::Known;
use crate::message::{Body, Kind, Message, Request, SealedBundle, Statement};
use crate::slot::Stage;
use crate::{Config, Rejected};

/// Whose authenticated connection a message came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A replica's link.
    Peer(ReplicaId),
    /// A client's connection.
    Client(ClientId),
}

/// What to do with a message whose signatures nobody has checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Check them, then step.
    Verify,
    /// A number seen before: the executor may answer from the client table. The connection is the client's own, so there
    /// is nothing to verify.
    Lookup,
    /// Refuse it, without any RSA.
    Drop(Rejected),
}

impl Pillar {
    /// Cheap checks before any RSA: window, view, duplicates, whether anybody asked.
    #[must_use]
    pub fn admit(&self, source: Source, message: &Message) -> Admission {
        let refusal = match (message, source) {
            (Message::Request(request), _) => return self.admit_request(source, request),
            (_, Source::Client(_)) => Some(Rejected::Unsolicited),
            (Message::Body(body), Source::Peer(from)) => self.refuse_body(from, body),
            (Message::Bundle(bundle), Source::Peer(_)) => self.refuse_bundle(bundle),
            (Message::ViewChange(change), Source::Peer(from)) => self.refuse_view_change(from, change),
            (Message::NewView(new_view), Source::Peer(_)) => self.refuse_new_view(new_view),
            (Message::Recover(recover), Source::Peer(_)) => self.refuse_recover(recover),
        };
        refusal.map_or(Admission::Verify, Admission::Drop)
    }

    fn admit_request(&self, source: Source, request: &Request) -> Admission {
        if matches!(source, Source::Client(client) if client != request.client()) {
            return Admission::Drop(Rejected::Unsolicited);
        }
        if !self.config.orders(request.client(), request.first()) {
            return Admission::Drop(Rejected::WrongPillar);
        }
        match self.clients.known(request.client(), request.first(), request.count(), request.floor()) {
            Known::Beyond => return Admission::Drop(Rejected::BeyondClientWindow),
            Known::Seen if matches!(source, Source::Client(_)) => return Admission::Lookup,
            Known::Seen => return Admission::Drop(Rejected::Redundant),
            Known::New => {}
        }
        // Only what is signed is passed on, or waited for: tags convince nobody else.
        let gathers = self.leads() && self.views.active && matches!(source, Source::Client(_));
        if !(request.is_signed() || gathers && self.takes(request)) {
            return Admission::Drop(Rejected::Unsigned);
        }
        let (client, first, count, floor) =
            (request.client(), request.first(), request.count(), request.floor());
        if !self.leads() && !self.clients.is_near(client, first, count, floor) {
            return Admission::Drop(Rejected::BeyondClientWindow);
        }
        if self.pending.contains(request) {
            return Admission::Drop(Rejected::Redundant);
        }
        let by = match source {
            Source::Peer(backup) => Some(backup),
            Source::Client(_) => None,
        };
        match self.has_room(by, request) {
            true => Admission::Verify,
            false => Admission::Drop(Rejected::Full),
        }
    }

    /// Whether there is room for a request, passed on by a backup or from its client.
    pub(super) fn has_room(&self, by: Option<ReplicaId>, request: &Request) -> bool {
        let length = request.bytes().len();
        match (self.leads() && self.views.active, by) {
            (true, Some(backup)) => self.passed.has_room(backup, length, &self.config),
            (true, None) => {
                self.batches.has_room(length, &self.config)
                    && self.clients.may_queue(request.client(), request.count())
            }
            (false, _) => self.pending.has_room(request.client(), length, &self.config),
        }
    }

    fn refuse_body(&self, from: ReplicaId, body: &Body) -> Option<Rejected> {
        if !requests_belong(body, &self.config) {
            return Some(Rejected::WrongPillar);
        }
        if self.is_wanted(body) {
            return None;
        }
        if from != self.primary() || self.leads() {
            return Some(Rejected::Unsolicited);
        }
        if self.holds(body) {
            return Some(Rejected::Redundant);
        }
        (!self.has_room_for_early(body)).then_some(Rejected::Full)
    }

    /// Bodies ahead of their proposals: as many as the pipeline, each once. Those that are never proposed make room in time.
    pub(super) fn has_room_for_early(&self, body: &Body) -> bool {
        let known = self.early.iter().any(|(_, early)| early.digest() == body.digest());
        !known && ((self.early.len() as u64) < self.config.pipeline || bug!(Bug::EarlyBodiesKept))
    }

    /// Whether a slot lacks just this body.
    pub(super) fn is_wanted(&self, body: &Body) -> bool {
        let open = self.frontier.0 + 1..=self.log.end().0;
        let quorum = self.config.quorum();
        let mut slots = open.filter_map(|s| self.log.get(Seq(s)));
        slots.any(|slot| slot.needs_body(quorum) == Some(body.digest()))
            || self.views.wanted.iter().any(|wanted| wanted.digest == body.digest())
    }

    fn holds(&self, body: &Body) -> bool {
        let kept = self.log.first().0..=self.log.end().0;
        let bodies = kept.filter_map(|s| self.log.get(Seq(s))?.body.as_ref());
        bodies.into_iter().any(|held| held.digest() == body.digest())
    }

    fn refuse_bundle(&self, bundle: &SealedBundle) -> Option<Rejected> {
        if bundle.signer() == self.config.me {
            return Some(Rejected::Redundant);
        }
        let mut refusal = None;
        for statement in bundle.statements() {
            match self.refuse_statement(bundle.signer(), statement) {
                None => return None,
                reason => refusal = reason,
            }
        }
        refusal
    }

    /// Why a statement would change nothing.
    pub(super) fn refuse_statement(&self, signer: ReplicaId, statement: &Statement) -> Option<Rejected> {
        if statement.kind == Kind::Checkpoint {
            let no_checkpoint = !statement.seq.0.is_multiple_of(self.config.checkpoint_interval);
            let redundant = statement.seq.0 <= self.stable_round().0;
            return (no_checkpoint || redundant).then_some(Rejected::Redundant);
        }
        if statement.pillar != self.config.pillar {
            return Some(Rejected::WrongPillar);
        }
        // A commit certificate counts whatever its view, during a view change too.
        if statement.view != self.view && statement.kind != Kind::Commit {
            return Some(Rejected::OtherView);
        }
        if !self.log.keeps(statement.seq) {
            return Some(Rejected::OutsideWindow);
        }
        let slot = self.log.get(statement.seq)?;
        let (quorum, view, digest) = (self.config.quorum(), statement.view, statement.digest);
        // A slot decided in an earlier view may have to be prepared again for the others.
        let over = slot.certificate.as_ref().is_some_and(|certificate| certificate.view >= view);
        let redundant = over
            || match statement.kind {
                Kind::Propose => slot
                    .proposal
                    .as_ref()
                    .is_some_and(|p| (p.view, p.digest) == (view, digest) && p.bundle.is_some()),
                Kind::Prepare => {
                    (self.views.active && slot.stage >= Stage::Prepared)
                        || slot.prepares.holds(signer, view, digest)
                }
                Kind::Commit => {
                    slot.is_decided()
                        || slot.commits.count(view, digest) >= quorum
                        || slot.commits.holds(signer, view, digest)
                }
                Kind::Checkpoint => false,
            };
        redundant.then_some(Rejected::Redundant)
    }
}

/// Whether this pillar orders all that is in a body: part of its validity, a function of bytes and configuration.
pub(super) fn requests_belong(body: &Body, config: &Config) -> bool {
    body.requests().iter().all(|r| config.orders(r.client, r.first))
        && body.recovers().iter().all(|r| config.recovers(r.replica()))
}
