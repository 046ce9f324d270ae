//! The normal case (OSDI'99, section 4.2): propose, prepare, commit.

use std::sync::Arc;

use hypostyle_app_api::{Digest, Instant, Now, ReplicaId, Seq};

use super::Pillar;
use super::admit::requests_belong;
use hypostyle_probe::{Bug, bug, mark};

use crate::evidence::Evidence;
use crate::message::{Body, Kind, Request, SealedBundle, Statement};
use crate::outbox::{Demand, Output, Target};
use crate::slot::{Proposal, Slot, Stage};
use crate::votes::{Cast, Vote};
use crate::{Rejected, clients::Known};

/// Bodies up to this many bytes are copied: a quarter of the buffer that they are read into.
const SHORT_BODY: usize = 16 << 10;

impl Pillar {
    /// A client's verified request, from itself or passed on by a backup: the primary gathers it, a backup passes it on and
    /// expects it to be served.
    pub(super) fn on_request(
        &mut self,
        now: Now,
        by: Option<ReplicaId>,
        request: Request,
        out: &mut Vec<Output>,
    ) {
        let (client, first, count) = (request.client(), request.first(), request.count());
        let known = self.clients.known(client, first, count, request.floor());
        if known != Known::New || !self.has_room(by, &request) || self.pending.contains(&request) {
            // What changed between admission and now; the client tries again if it must.
            return;
        }
        if self.leads() && self.views.active {
            if self.takes(&request) {
                self.gather(now, by, &request);
            }
        } else {
            if bug!(Bug::RequestsNotExpected) {
                return out.push(Output::Forward(self.primary(), request));
            }
            self.expect(request.compact());
            self.pass_on_next(out);
            if !self.doubts.is_empty() {
                self.accept_ready(now, out);
            }
        }
    }

    /// Puts a request into a batch to come.
    pub(super) fn gather(&mut self, now: Now, by: Option<ReplicaId>, request: &Request) {
        let (client, first, count, floor) =
            (request.client(), request.first(), request.count(), request.floor());
        if self.clients.known(client, first, count, floor) == Known::New {
            self.clients.take(client, first, count, floor);
            match by {
                None => {
                    self.clients.queue(client, count);
                    self.batches.push(now.instant, request, &self.config);
                }
                Some(backup) => self.passed.push(now.instant, backup, request.clone().compact()),
            }
        }
    }

    /// When the next batch may be cut. While its proposal would have to wait for the signer only a full one is: what isn't
    /// full gathers meanwhile.
    pub(super) fn batch_due(&self) -> Option<Instant> {
        let waits = self.gathers_from.is_some_and(|given| self.signer.signed < given);
        if (waits || self.is_proposing()) && !self.batches.is_full(&self.config) {
            return None;
        }
        let passed = self.passed.since().map(|since| since + self.config.batch_delay);
        passed.into_iter().chain(self.batches.due(&self.config)).min()
    }

    /// Whether there are requests to be proposed.
    fn waits_for_batch(&self) -> bool {
        !(self.batches.is_empty() && self.passed.is_empty())
    }

    /// Whether the own last proposal is still being signed.
    fn is_proposing(&self) -> bool {
        let slot = self.log.get(self.proposed).filter(|slot| !slot.is_decided());
        let proposal = slot.and_then(|slot| slot.proposal.as_ref()).filter(|p| p.view == self.view);
        self.proposed > self.forgotten_to && proposal.is_some_and(|proposal| proposal.bundle.is_none())
    }

    /// The next batch. One whose clients have all acknowledged beyond it since would execute nothing.
    fn cut(&mut self, now: Now) -> Option<Body> {
        self.gathers_from = None;
        loop {
            let body = match self.passed.is_next(!self.batches.is_empty()) {
                true => self.passed.cut(now.wall, &self.config),
                false => {
                    let body = self.batches.cut(now.wall)?;
                    body.requests().iter().for_each(|r| self.clients.leave_queue(r.client, r.count));
                    body
                }
            };
            if !body.requests().iter().all(|r| self.clients.is_past(r)) {
                return Some(body);
            }
        }
    }

    /// Expects the primary to serve a request, if it is signed: tags prove to nobody else that the client asked.
    pub(super) fn expect(&mut self, request: Request) {
        if !request.is_signed() {
            return;
        }
        let (client, first, count, floor) =
            (request.client(), request.first(), request.count(), request.floor());
        let new = self.clients.known(client, first, count, floor) == Known::New || !self.views.active;
        if new && self.pending.has_room(client, request.bytes().len(), &self.config) {
            self.pending.insert(request);
        }
    }

    /// An adversary's proposal came to nothing, as another one of it was decided: what is in it isn't taken up any more.
    fn expect_again(&mut self, body: &Body) {
        mark!("another proposal than the accepted one is decided");
        body.requests().iter().for_each(|r| self.clients.release(r.client, r.first, r.count));
        self.take_all_held();
        body.requests().iter().for_each(|r| self.expect(body.request(r)));
    }

    /// Whatever is decided or proposed in a slot that is kept is taken up: but nothing of a body that is in doubt, for
    /// nobody may have asked for what is in it.
    pub(super) fn take_all_held(&mut self) {
        for seq in (self.log.first().0..=self.log.end().0).map(Seq) {
            let Some(slot) = self.log.get(seq) else { continue };
            let Some(body) = &slot.body else { continue };
            let certain = slot.is_decided() || seq <= self.views.chosen_to();
            let proposed = slot.proposal.is_some() && !self.doubts.contains_key(&body.digest());
            if certain || proposed {
                self.clients.take_all(body.requests());
            }
        }
    }

    /// A valid body, asked for or sent ahead of its proposal.
    pub(super) fn on_body(&mut self, now: Now, body: Body, out: &mut Vec<Output>) {
        // A long one stays in the buffer it was read into; hundreds of short ones would each pin one.
        let short = body.bytes().len() <= SHORT_BODY;
        let body = Arc::new(if short { body.compact() } else { body });
        if !requests_belong(&body, &self.config) {
            return;
        }
        let quorum = self.config.quorum();
        let mut placed = false;
        for seq in self.frontier.0 + 1..=self.log.end().0 {
            let Some(slot) = self.log.get_mut(Seq(seq)) else {
                continue;
            };
            if slot.needs_body(quorum) == Some(body.digest()) {
                let displaced = slot.place(Arc::clone(&body));
                displaced.iter().for_each(|other| self.expect_again(other));
                placed = true;
                self.advance_slot(now, Seq(seq), out);
            }
        }
        placed |= self.take_wanted(now, &body, out);
        if placed {
            self.resend.body_came();
            self.accept_ready(now, out);
        } else if !self.leads() && self.has_room_for_early(&body) {
            self.early.push_back((now.instant, body));
        }
    }

    /// A sealed bundle, a peer's or the own.
    pub(super) fn on_bundle(&mut self, now: Now, bundle: &Arc<SealedBundle>, out: &mut Vec<Output>) {
        let signer = bundle.signer();
        for statement in bundle.statements() {
            match (statement.kind, self.refuse_statement(signer, statement)) {
                (Kind::Checkpoint, _) => self.on_checkpoint(now, signer, statement, bundle, out),
                _ if signer == self.config.me => self.on_own_statement(now, statement, bundle, out),
                (_, Some(reason)) => self.reject(signer, reason, out),
                (_, None) => self.on_statement(now, signer, statement, bundle, out),
            }
        }
        self.accept_ready(now, out);
    }

    /// Own statements count once they are sealed. They are kept even where they aren't needed, to be resent.
    fn on_own_statement(
        &mut self,
        now: Now,
        own: &Statement,
        bundle: &Arc<SealedBundle>,
        out: &mut Vec<Output>,
    ) {
        let Some(slot) = self.log.get_mut(own.seq) else {
            return;
        };
        let vote = Vote { view: own.view, digest: own.digest, bundle: Arc::clone(bundle) };
        let cast = match own.kind {
            Kind::Prepare => slot.prepares.cast(self.config.me, vote),
            Kind::Commit => slot.commits.cast(self.config.me, vote),
            Kind::Propose | Kind::Checkpoint => slot.propose(own.view, own.digest, bundle),
        };
        assert!(!matches!(cast, Cast::Contradicts(_)), "two own statements for one slot: {own:?}");
        self.advance_slot(now, own.seq, out);
    }

    fn on_statement(
        &mut self,
        now: Now,
        signer: ReplicaId,
        statement: &Statement,
        bundle: &Arc<SealedBundle>,
        out: &mut Vec<Output>,
    ) {
        if statement.kind == Kind::Propose && !self.may_be_proposed(statement.seq, statement.digest) {
            mark!("a primary departs from its NEW-VIEW");
            return self.reject(signer, Rejected::Equivocation, out);
        }
        let Some(slot) = self.log.entry(statement.seq) else {
            return self.reject(signer, Rejected::OutsideWindow, out);
        };
        let vote = Vote { view: statement.view, digest: statement.digest, bundle: Arc::clone(bundle) };
        let cast = match statement.kind {
            Kind::Prepare => slot.prepares.cast(signer, vote),
            Kind::Commit => slot.commits.cast(signer, vote),
            _ => slot.propose(vote.view, vote.digest, bundle),
        };
        match cast {
            Cast::Repeated => return,
            Cast::Contradicts(first) => {
                if let Some(first) = first {
                    self.accuse(Evidence::Statements(*statement, [first, Arc::clone(bundle)]), out);
                }
                self.reject(signer, Rejected::Equivocation, out);
            }
            Cast::Counted => {}
        }
        // A vote may complete a certificate whose body is at hand: it needn't be asked for.
        if statement.kind == Kind::Propose
            || self.log.get(statement.seq).is_some_and(|slot| slot.body.is_none())
        {
            self.find_body(statement.seq);
        }
        self.note_demand(statement, out);
        self.advance_slot(now, statement.seq, out);
    }

    /// Gives a slot the body that is named there, if this replica has it.
    pub(super) fn find_body(&mut self, seq: Seq) {
        let quorum = self.config.quorum();
        let Some(slot) = self.log.get(seq) else { return };
        let Some(digest) = slot.named(quorum) else { return };
        if slot.body.as_ref().is_some_and(|body| body.digest() == digest) {
            return;
        }
        let body = if self.is_empty_digest(digest) {
            Some(Arc::clone(&self.empty))
        } else if let Some(held) = slot.held(digest) {
            Some(Arc::clone(held))
        } else {
            let place = self.early.iter().position(|(_, body)| body.digest() == digest);
            place.and_then(|index| self.early.remove(index)).map(|(_, body)| body)
        };
        let slot = self.log.get_mut(seq);
        let displaced = slot.zip(body).and_then(|(slot, body)| slot.place(body));
        displaced.iter().for_each(|other| self.expect_again(other));
    }

    /// Accepts held proposals in order, as far as they may be: a backup prepares s only after s-1.
    pub(super) fn accept_ready(&mut self, now: Now, out: &mut Vec<Output>) {
        self.accepted = self.accepted.max(self.settled());
        self.clock_allows = None;
        loop {
            let seq = Seq(self.accepted.0 + 1);
            let decided = self.log.get(seq).is_some_and(Slot::is_decided);
            if !decided && !self.accepts(now, seq) {
                return;
            }
            self.accepted = seq;
            if !decided {
                self.accept(now, seq, out);
            }
        }
    }

    fn accepts(&mut self, now: Now, seq: Seq) -> bool {
        if !self.views.active || seq > self.pipeline_end() || seq > self.high_watermark() {
            return false;
        }
        let Some(body) = self.proposed_body(seq) else {
            return false;
        };
        if body.is_empty() {
            let owed = self.pace.justified().max(self.owed_to());
            return self.leads() || seq <= owed.max(self.views.chosen_to());
        }
        if seq <= self.views.chosen_to() {
            // Whatever its time: it may have been decided.
            return true;
        }
        let earliest = body.timestamp() - self.config.max_clock_skew;
        if now.wall < earliest {
            let wait = std::time::Duration::from_nanos(earliest.0 - now.wall.0);
            self.clock_allows = Some(now.instant + wait);
            return false;
        }
        self.leads() || self.doubted(seq, body).is_none()
    }

    /// What is proposed for a slot in this view, once it is here.
    pub(super) fn proposed_body(&self, seq: Seq) -> Option<&Arc<Body>> {
        let slot = self.log.get(seq)?;
        let (proposal, body) = (slot.proposal.as_ref()?, slot.body.as_ref()?);
        (proposal.view == self.view && proposal.digest == body.digest()).then_some(body)
    }

    pub(super) fn accept(&mut self, now: Now, seq: Seq, out: &mut Vec<Output>) {
        let leads = self.leads();
        let slot = self.log.get_mut(seq).expect("an accepted slot is kept");
        let body = Arc::clone(slot.body.as_ref().expect("an accepted slot has its body"));
        debug_assert_eq!(slot.proposal.as_ref().map(|p| p.digest), Some(body.digest()));
        slot.stage = slot.stage.max(Stage::Proposed);
        self.clients.take_all(body.requests());
        if !body.is_empty() {
            out.push(Output::Demand(Demand::Accepted(seq)));
        }
        if !leads {
            self.say(self.statement(Kind::Prepare, seq, body.digest()), out);
        }
        self.advance_slot(now, seq, out);
    }

    /// Proposed → Prepared → Committed, as far as the votes carry.
    pub(super) fn advance_slot(&mut self, now: Now, seq: Seq, out: &mut Vec<Output>) {
        if seq > self.last_acted_on() {
            return;
        }
        let quorum = self.config.quorum();
        let Some(slot) = self.log.get_mut(seq) else {
            return;
        };
        let needed = if bug!(Bug::CommitUnprepared) { 1 } else { quorum };
        if (self.views.active || bug!(Bug::CommitAfterLeaving))
            && slot.stage == Stage::Proposed
            && let Some(digest) = slot.prepared_digest(needed)
        {
            slot.stage = Stage::Prepared;
            let digest = if bug!(Bug::CommitsOtherDigest) { Digest::ZERO } else { digest };
            self.say(self.statement(Kind::Commit, seq, digest), out);
        }
        self.decide(now, seq, out);
    }

    /// 2f+1 Commits and the body decide a slot, whatever else this replica holds.
    fn decide(&mut self, now: Now, seq: Seq, out: &mut Vec<Output>) {
        let quorum = self.config.quorum();
        let Some(slot) = self.log.get_mut(seq).filter(|slot| !slot.is_decided()) else {
            return;
        };
        let Some(certificate) = slot.commit_certificate(quorum) else {
            return;
        };
        if slot.held(certificate.digest).is_none() {
            self.find_body(seq);
        }
        let slot = self.log.get_mut(seq).expect("just found");
        let proposed = slot.body.clone().filter(|_| bug!(Bug::DecidesWhatItHolds));
        let Some(body) = proposed.or_else(|| slot.held(certificate.digest).cloned()) else {
            return self.resend.expect_body(now.instant);
        };
        let displaced = slot.place(Arc::clone(&body));
        slot.certificate = Some(certificate);
        out.extend(slot.decided(self.config.pillar, seq).map(Output::Decided));
        self.clients.take_all(body.requests());
        for r in body.requests() {
            self.pending.discharge((r.client, r.first, r.count), &self.clients, &self.config);
        }
        displaced.iter().for_each(|other| self.expect_again(other));
        self.pass_on_next(out);
        self.recovers.discharge(now.instant, body.recovers());
        if !body.is_empty() {
            self.owe(seq, out);
        }
        self.move_frontier();
        self.resend.note_activity(now.instant, &self.config);
    }

    /// Proposes what waits and what is owed, while the pipeline has room.
    pub(super) fn propose(&mut self, now: Now, out: &mut Vec<Output>) {
        if !self.waits_for_batch() {
            self.gathers_from = None;
        } else if self.gathers_from.is_none() {
            self.gathers_from = Some(self.signer.given);
        }
        while let Some(seq) = self.next_proposal() {
            let owed = self.may_be_empty(seq) && !bug!(Bug::EmptySlotsNotProposed);
            // What waits fills an owed slot before an empty body does, even if the batch isn't due.
            let due =
                self.waits_for_batch() && (owed || self.batch_due().is_some_and(|due| due <= now.instant));
            let body = match self.cut_recovers(now).or_else(|| due.then(|| self.cut(now)).flatten()) {
                Some(body) => Arc::new(body),
                None if owed => Arc::clone(&self.empty),
                None => return,
            };
            self.propose_body(now, seq, body, out);
        }
    }

    /// The next slot to propose, when this replica is primary and its pipeline has room.
    pub(super) fn next_proposal(&self) -> Option<Seq> {
        if !self.leads() || !self.views.active || !self.voting {
            return None;
        }
        let settled = self.settled();
        // Empty slots in flight may be such as nobody else has a reason for: a batch above them is one.
        let above = u64::from(self.pace.proposed() <= settled);
        let last = Seq(self.pipeline_end().0 + above).min(self.high_watermark());
        // A primary that lags may have decided slots in later views than its own: they are not its to propose.
        let mut open = (self.proposed.max(settled).0 + 1..=last.0).map(Seq);
        let next = open.find(|seq| !self.log.get(*seq).is_some_and(Slot::is_decided))?;
        // Who can't execute keeps less than a window: it lets the others go on without it.
        self.log.keeps(next).then_some(next)
    }

    /// Whether a slot may be proposed without a batch. The last one of the window isn't while that is up to this replica:
    /// see [`Self::next_proposal`].
    fn may_be_empty(&self, seq: Seq) -> bool {
        let demanded = seq <= self.pace.demanded();
        seq <= self.pace.justified()
            && seq <= self.pipeline_end()
            && (demanded || seq < self.high_watermark())
    }

    /// The last slot that may be in flight.
    fn pipeline_end(&self) -> Seq {
        Seq(self.settled().0 + self.config.pipeline)
    }

    fn propose_body(&mut self, now: Now, seq: Seq, body: Arc<Body>, out: &mut Vec<Output>) {
        self.proposed = seq;
        let digest = body.digest();
        let slot = self.log.entry(seq).expect("below the high watermark");
        assert!(!slot.is_decided(), "proposed over a decision");
        slot.proposal = Some(Proposal { view: self.view, digest, bundle: None });
        slot.body = Some(Arc::clone(&body));
        if !body.is_empty() {
            // Ahead of its proposal, so that backups verify clients while this replica signs.
            out.push(Output::SendBody(Target::Peers, body));
        }
        let statement = self.statement(Kind::Propose, seq, digest);
        self.say(statement, out);
        self.note_demand(&statement, out);
        self.accept_ready(now, out);
    }

    pub(super) fn statement(&self, kind: Kind, seq: Seq, digest: Digest) -> Statement {
        Statement { kind, pillar: self.config.pillar, view: self.view, seq, digest }
    }
}
