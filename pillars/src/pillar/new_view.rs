//! Beginning a view (OSDI'99, section 4.4). The VIEW-CHANGEs of 2f+1 replicas determine what is proposed again; primary and
//! backups work it out alike, so a NEW-VIEW only names them.

use std::sync::Arc;

use hypostyle_app_api::{Digest, Now, Round, Seq, View};
use hypostyle_probe::{Bug, bug, mark};

use super::Pillar;
use crate::Rejected;
use crate::evidence::{Evidence, new_views_differ};
use crate::message::{Body, Kind, NewView, NewViewContent, ViewChange, WantedBody};
use crate::outbox::{Declaration, Output, Target};

/// How the present view began.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    pub(super) view: View,
    /// `None` while this replica's own is being signed.
    pub(super) new_view: Option<Arc<NewView>>,
    /// The VIEW-CHANGEs it names, for those who enter later.
    pub(super) changes: Vec<Arc<ViewChange>>,
    pub(super) choice: Choice,
}

/// What a view proposes again: for every slot above `base` up to the highest that was prepared, one digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) base: Round,
    pub(super) digests: Vec<Digest>,
}

/// A verified NEW-VIEW some of whose VIEW-CHANGEs may be missing.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    new_view: Arc<NewView>,
    /// In the order in which it names them.
    changes: Vec<Option<Arc<ViewChange>>>,
}

impl Choice {
    /// The highest view in which a slot was prepared wins; a slot that nobody prepared gets the empty body.
    fn of(changes: &[Arc<ViewChange>], empty: Digest) -> Self {
        let base = changes.iter().map(|change| change.stable().0).max().unwrap_or(Round(0));
        let prepared = || changes.iter().flat_map(|change| change.prepared());
        let last = prepared().map(|slot| slot.seq.0).max().unwrap_or(0).max(base.0);
        let mut best = vec![(View(0), empty, false); usize::try_from(last - base.0).unwrap_or(0)];
        for slot in prepared().filter(|slot| slot.seq.0 > base.0) {
            let place = &mut best[usize::try_from(slot.seq.0 - base.0 - 1).expect("at most L")];
            // Two digests can't both be prepared in a view; the order of digests only makes this a function.
            let wins = (slot.view, slot.digest) > (place.0, place.1);
            if !place.2 || wins != bug!(Bug::LowestViewWins) {
                *place = (slot.view, slot.digest, true);
            }
        }
        let chosen = |digest| if bug!(Bug::NewViewForgetsPrepared) { empty } else { digest };
        Self { base, digests: best.into_iter().map(|(_, digest, _)| chosen(digest)).collect() }
    }

    pub(super) fn last(&self) -> Seq {
        Seq(self.base.0 + self.digests.len() as u64)
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = (Seq, Digest)> {
        (self.base.0 + 1..).map(Seq).zip(self.digests.iter().copied())
    }

    pub(super) fn digest(&self, seq: Seq) -> Option<Digest> {
        let index = usize::try_from(seq.0.checked_sub(self.base.0 + 1)?).ok()?;
        self.digests.get(index).copied()
    }
}

impl Candidate {
    /// Takes a VIEW-CHANGE that it names.
    pub(super) fn take(&mut self, change: &Arc<ViewChange>) {
        if let Some(place) = self.place(change).filter(|place| self.changes[*place].is_none()) {
            self.changes[place] = Some(Arc::clone(change));
        }
    }

    /// Whether it names a VIEW-CHANGE that it lacks.
    pub(super) fn lacks(&self, change: &ViewChange) -> bool {
        self.place(change).is_some_and(|place| self.changes[place].is_none())
    }

    fn place(&self, change: &ViewChange) -> Option<usize> {
        let name = (change.signer(), change.digest());
        let place = self.new_view.changes().iter().position(|named| *named == name);
        place.filter(|_| change.view() == self.new_view.view())
    }

    pub(super) fn view(&self) -> View {
        self.new_view.view()
    }

    pub(super) fn held(&self) -> impl Iterator<Item = &Arc<ViewChange>> {
        self.changes.iter().flatten()
    }

    pub(super) fn missing(&self) -> impl Iterator<Item = Digest> {
        let named = self.new_view.changes().iter().zip(&self.changes);
        named.filter(|(_, held)| held.is_none()).map(|((_, digest), _)| *digest)
    }

    fn is_complete(&self) -> bool {
        self.changes.iter().all(Option::is_some)
    }
}

impl Pillar {
    /// As the primary of the view that 2f+1 replicas have left for: begins it, once it holds the bodies it needs.
    pub(super) fn begin_view(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.views.active || !self.leads() || !self.voting {
            return;
        }
        let fits = |change: &&Arc<ViewChange>| change.view() == self.view && !self.is_void(change);
        let mut changes: Vec<_> = self.views.latest.iter().flatten().filter(fits).map(Arc::clone).collect();
        // The own one is among them: it has this replica's own prepared slots.
        changes.sort_by_key(|change| (change.signer() != self.config.me, change.signer()));
        if changes.len() < self.config.quorum() || changes[0].signer() != self.config.me {
            return;
        }
        changes.truncate(self.config.quorum());
        changes.sort_by_key(|change| change.signer());
        changes.iter().for_each(|change| self.learn_stable(now, change, out));
        let choice = Choice::of(&changes, self.empty.digest());
        self.views.wanted = self.lacking(&choice);
        if !self.views.wanted.is_empty() {
            mark!("a new primary fetches bodies before it begins");
            return self.resend.expect_body(now.instant);
        }
        let names = changes.iter().map(|change| (change.signer(), change.digest())).collect();
        let content = NewViewContent::new(self.config.me, self.config.pillar, self.view, names);
        out.push(Output::Declare(Declaration::NewView(content)));
        mark!("began a view");
        self.enter(now, Begun { view: self.view, new_view: None, changes, choice }, out);
    }

    /// Bodies that a choice needs and this replica doesn't hold.
    fn lacking(&self, choice: &Choice) -> Vec<WantedBody> {
        let held =
            |seq: Seq, digest: Digest| self.log.get(seq).is_some_and(|slot| slot.held(digest).is_some());
        let lacking =
            choice.slots().filter(|(seq, digest)| !self.is_empty_digest(*digest) && !held(*seq, *digest));
        // What is behind a checkpoint comes with the state, if it is lacking.
        let open = lacking.filter(|(seq, _)| *seq > self.settled() && self.log.keeps(*seq));
        open.map(|(seq, digest)| WantedBody { seq, digest }).collect()
    }

    /// Takes a body that a new primary needs to begin its view.
    pub(super) fn take_wanted(&mut self, now: Now, body: &Arc<Body>, out: &mut Vec<Output>) -> bool {
        let wanted: Vec<Seq> =
            self.views.wanted.iter().filter(|w| w.digest == body.digest()).map(|w| w.seq).collect();
        for seq in &wanted {
            if let Some(slot) = self.log.entry(*seq) {
                slot.keep(body);
            }
        }
        if !wanted.is_empty() {
            self.begin_view(now, out);
        }
        !wanted.is_empty()
    }

    /// A verified NEW-VIEW.
    pub(super) fn on_new_view(&mut self, now: Now, new_view: &Arc<NewView>, out: &mut Vec<Output>) {
        if let Some(reason) = self.refuse_new_view(new_view) {
            // What changed between admission and now.
            return self.reject(new_view.signer(), reason, out);
        }
        if let Some(entered) = self.entered_otherwise(new_view).map(Arc::clone) {
            return self.accuse(Evidence::NewViews([entered, Arc::clone(new_view)]), out);
        }
        let mut candidate =
            Candidate { changes: vec![None; new_view.changes().len()], new_view: Arc::clone(new_view) };
        for (_, digest) in new_view.changes() {
            if let Some(change) = self.views.find(*digest).cloned() {
                candidate.take(&change);
            }
        }
        let complete = candidate.is_complete();
        let before = self.views.candidates[new_view.signer().index()].as_ref().map(|held| &held.new_view);
        if let Some(before) = before.filter(|before| new_views_differ(before, new_view)).map(Arc::clone) {
            self.accuse(Evidence::NewViews([before, Arc::clone(new_view)]), out);
        }
        self.views.candidates[new_view.signer().index()] = Some(candidate);
        if !complete && self.resend.may_ask(new_view.signer(), now.instant) {
            mark!("a NEW-VIEW names VIEW-CHANGEs that are missing");
            out.push(Output::SendStatus(Target::Peers, self.status()));
        }
        self.enter_begun_view(now, out);
    }

    /// Enters the highest view whose NEW-VIEW and VIEW-CHANGEs are all there.
    pub(super) fn enter_begun_view(&mut self, now: Now, out: &mut Vec<Output>) {
        let enterable = |candidate: &&Candidate| {
            let view = candidate.new_view.view();
            candidate.is_complete()
                && (view > self.view || (view == self.view && !self.views.active))
                && (!candidate.held().any(|change| self.is_void(change)) || self.has_decided_in(view))
        };
        let highest =
            self.views.candidates.iter().flatten().filter(enterable).max_by_key(|c| c.new_view.view());
        let Some(signer) = highest.map(|candidate| candidate.new_view.signer()) else {
            return;
        };
        let candidate = self.views.candidates[signer.index()].take().expect("just found");
        let changes: Vec<_> = candidate.held().cloned().collect();
        if changes.iter().any(|change| self.is_void(change)) {
            mark!("entered a view that began with void VIEW-CHANGEs and is at work");
        }
        changes.iter().for_each(|change| self.learn_stable(now, change, out));
        let mut choice = Choice::of(&changes, self.empty.digest());
        if bug!(Bug::NewViewNotRecomputed) {
            choice.digests.clear();
        }
        let view = candidate.new_view.view();
        if self.view < view {
            mark!("entered a view without having left for it");
            self.suspend(view, out);
        }
        self.enter(now, Begun { view, new_view: Some(candidate.new_view), changes, choice }, out);
    }

    /// Takes up work in a view: what it chose is proposed again, everything else of earlier views is put aside.
    fn enter(&mut self, now: Now, begun: Begun, out: &mut Vec<Output>) {
        self.view = begun.view;
        self.views.active = true;
        self.views.wanted.clear();
        let mut lost: Vec<Arc<Body>> = Vec::new();
        for (seq, digest) in begun.choice.slots() {
            if self.is_empty_digest(digest) {
                mark!("a gap is filled with the empty body");
            } else {
                mark!("a prepared slot is proposed again");
            }
            self.log.entry(seq);
        }
        for seq in (self.log.first().0..=self.log.end().0).map(Seq) {
            let Some(slot) = self.log.get_mut(seq) else { continue };
            let chosen = begun.choice.digest(seq);
            lost.extend(slot.enter(begun.view, chosen));
            // Only the NEW-VIEW proposes up to there.
            if chosen.is_none() && seq <= begun.choice.last() {
                slot.proposal = None;
            }
            self.find_body(seq);
        }
        // Named by whoever; only what begins a view counts, so that f liars alone can't.
        for client in begun.changes.iter().filter_map(|change| change.blocked()) {
            if self.on_mark(now, client) {
                out.push(Output::Mark(client));
            }
        }
        self.pace.end_view();
        self.recovers.view_changed();
        for seq in (begun.choice.last().0 + 1..=self.log.end().0).map(Seq) {
            if let Some(digest) = self.log.get(seq).and_then(|slot| slot.proposal.as_ref()).map(|p| p.digest)
            {
                self.note_proposal(seq, digest);
            }
        }
        self.accepted = self.settled();
        self.proposed = begun.choice.last().max(Seq(begun.choice.base.0));
        self.blame.stop();
        let base = Seq(begun.choice.base.0);
        let again: Vec<(Seq, Digest)> = begun.choice.slots().collect();
        self.views.begun = Some(begun);
        out.push(Output::Entered(self.view));
        self.queue_again(now, &lost, out);
        for (seq, digest) in again {
            if self.leads() {
                self.say(self.statement(Kind::Propose, seq, digest), out);
            }
            self.note_proposal(seq, digest);
            if self.log.get(seq).is_some_and(|slot| slot.is_decided() || slot.body.is_none()) {
                self.accept_again(now, seq, out);
            }
        }
        if self.frontier < base {
            out.push(Output::SendStatus(Target::Peers, self.status()));
        }
        self.accept_ready(now, out);
    }

    /// A slot that is decided here takes part again, for those who need its certificate in this view; one whose body is
    /// missing gets it fetched.
    fn accept_again(&mut self, now: Now, seq: Seq, out: &mut Vec<Output>) {
        let Some(slot) = self.log.get(seq) else { return };
        let proposed = slot.proposal.as_ref().map(|p| p.digest);
        match &slot.certificate {
            Some(certificate) if Some(certificate.digest) == proposed => self.accept(now, seq, out),
            Some(_) => {}
            None => self.resend.expect_body(now.instant),
        }
    }

    /// Requests that wait, and those whose proposal came to nothing, go to the new primary.
    fn queue_again(&mut self, now: Now, lost: &[Arc<Body>], out: &mut Vec<Output>) {
        self.clients.forget();
        self.take_all_held();
        for body in lost {
            // Its tags convince this replica, if it could check them, and nobody else.
            let gathers = self.leads() && !self.doubts.contains_key(&body.digest());
            for request in body.requests() {
                let request = body.request(request);
                if gathers && !request.is_signed() && self.takes(&request) && self.has_room(None, &request) {
                    self.gather(now, None, &request);
                } else {
                    self.expect(request);
                }
            }
        }
        if self.leads() {
            for request in self.pending.drain() {
                self.gather(now, None, &request);
            }
        } else {
            self.remind_primary(out);
        }
    }

    /// Why a NEW-VIEW would change nothing.
    pub(super) fn refuse_new_view(&self, new_view: &NewView) -> Option<Rejected> {
        if new_view.pillar() != self.config.pillar {
            return Some(Rejected::WrongPillar);
        }
        let signer = new_view.signer();
        // Worth verifying once: it convicts its signer.
        if self.evidence[signer.index()].is_none() && self.entered_otherwise(new_view).is_some() {
            return None;
        }
        let view = new_view.view();
        if view < self.view || (view == self.view && self.views.active) {
            return Some(Rejected::OtherView);
        }
        let candidate = self.views.candidates[signer.index()].as_ref();
        // Of two for one view the later one counts: the first may name what nobody has.
        let known = candidate
            .is_some_and(|held| held.new_view.view() > view || held.new_view.digest() == new_view.digest());
        (known || signer == self.config.me).then_some(Rejected::Redundant)
    }

    /// The NEW-VIEW by which this replica entered the view that this one would begin in another way.
    fn entered_otherwise(&self, new_view: &NewView) -> Option<&Arc<NewView>> {
        let entered = self.views.begun.as_ref()?.new_view.as_ref()?;
        (entered.signer() != self.config.me && new_views_differ(entered, new_view)).then_some(entered)
    }

    /// What the view's NEW-VIEW leaves open to its primary: slots above those it chose.
    pub(super) fn may_be_proposed(&self, seq: Seq, digest: Digest) -> bool {
        match &self.views.begun {
            Some(begun) if self.views.active => {
                let free = seq > begun.choice.last() && seq.0 > begun.choice.base.0;
                free || begun.choice.digest(seq) == Some(digest)
            }
            _ => true,
        }
    }

    /// The present view's NEW-VIEW, for a replica that is not in it.
    pub(super) fn present_new_view(&self) -> Option<&Arc<NewView>> {
        self.views.begun.as_ref().filter(|_| self.views.active)?.new_view.as_ref()
    }
}
