//! Leaving a view (OSDI'99, section 4.4): VIEW-CHANGEs are made, collected and joined here; what follows from them is in
//! `new_view`.

use std::collections::BTreeMap;
use std::sync::Arc;

use hypostyle_app_api::{ClientId, Digest, Now, ReplicaId, Round, Seq, View};
use hypostyle_probe::{Bug, bug, mark};

use super::Pillar;
use super::new_view::{Begun, Candidate};
use crate::Rejected;
use crate::evidence::{Evidence, view_changes_differ};
use crate::message::{Leave, Prepared, SealedBundle, Statement, ViewChange, ViewChangeContent, WantedBody};
use crate::outbox::{Declaration, Declared, Output, Stable};

/// What a pillar knows of the change of views.
#[derive(Clone, Debug)]
pub(super) struct Views {
    /// Whether the pillar is at work in its view; else it waits for the NEW-VIEW.
    pub(super) active: bool,
    /// The latest VIEW-CHANGE of each replica.
    pub(super) latest: Box<[Option<Arc<ViewChange>>]>,
    /// Of each replica the latest NEW-VIEW it made, until it is entered.
    pub(super) candidates: Box<[Option<Candidate>]>,
    /// How the present view began; `None` for view 0.
    pub(super) begun: Option<Begun>,
    /// As a new primary: bodies to be proposed again that this replica lacks.
    pub(super) wanted: Vec<WantedBody>,
}

impl Views {
    pub(super) fn new(replicas: u16) -> Self {
        Self {
            active: true,
            latest: vec![None; usize::from(replicas)].into(),
            candidates: (0..replicas).map(|_| None).collect(),
            begun: None,
            wanted: Vec::new(),
        }
    }

    /// The last slot that the present view's NEW-VIEW proposes.
    pub(super) fn chosen_to(&self) -> Seq {
        self.begun.as_ref().map_or(Seq(0), |begun| begun.choice.last())
    }

    /// Gives a VIEW-CHANGE to the NEW-VIEWs that name it.
    fn take(&mut self, change: &Arc<ViewChange>) {
        self.candidates.iter_mut().flatten().for_each(|candidate| candidate.take(change));
    }

    /// Replicas that left for `view` or a later one.
    pub(super) fn leavers(&self, view: View) -> usize {
        self.latest.iter().flatten().filter(|change| change.view() >= view).count()
    }

    pub(super) fn find(&self, digest: Digest) -> Option<&Arc<ViewChange>> {
        let begun = self.begun.iter().flat_map(|begun| &begun.changes);
        let candidates = self.candidates.iter().flatten().flat_map(Candidate::held);
        self.latest.iter().flatten().chain(begun).chain(candidates).find(|change| change.digest() == digest)
    }
}

impl Pillar {
    /// Leaves for `view`, which is higher than the present one.
    pub(super) fn leave_for(&mut self, view: View, out: &mut Vec<Output>) {
        if !self.voting {
            return;
        }
        debug_assert!(view > self.view, "left {} for {view}", self.view);
        mark!("left a view");
        let blocked = self.blocked_by();
        self.suspend(view, out);
        self.blame.left(&self.config);
        let content = self.view_change(blocked);
        out.push(Output::Declare(Declaration::ViewChange(content)));
    }

    /// Stops work in the present view and waits for that of `view` to begin.
    pub(super) fn suspend(&mut self, view: View, out: &mut Vec<Output>) {
        if self.views.active {
            let quorum = self.config.quorum();
            for seq in (self.log.first().0..=self.log.end().0).map(Seq) {
                self.log.get_mut(seq).into_iter().for_each(|slot| slot.keep_prepared(quorum));
            }
        }
        self.view = view;
        self.views.active = false;
        self.views.wanted.clear();
        self.early.clear();
        self.forget_doubts();
        self.pace.end_view();
        self.back(Seq(0), out);
        self.clock_allows = None;
        // What a primary has gathered waits for the next one like what a backup has.
        for request in self.passed.drain() {
            self.expect(request);
        }
        for request in self.batches.drain() {
            self.clients.leave_queue(request.client(), request.count());
            self.expect(request);
        }
    }

    fn view_change(&self, blocked: Option<ClientId>) -> ViewChangeContent {
        let (stable, stable_digest) =
            self.stable.as_ref().map_or((Round(0), Digest::ZERO), |stable| (stable.round, stable.digest));
        let leave = Leave {
            signer: self.config.me,
            incarnation: self.incarnations[self.config.me.index()],
            pillar: self.config.pillar,
            view: self.view,
            stable,
            stable_digest,
            blocked,
        };
        let mut bundles: Vec<Arc<SealedBundle>> = Vec::new();
        let mut add = |bundle: &Arc<SealedBundle>| {
            if !bundles.iter().any(|held| Arc::ptr_eq(held, bundle) || held.bytes() == bundle.bytes()) {
                bundles.push(Arc::clone(bundle));
            }
        };
        self.stable.iter().flat_map(|stable| stable.proof.iter()).for_each(&mut add);
        let mut prepared = Vec::new();
        for seq in (stable.0 + 1..=stable.0 + self.config.window).map(Seq) {
            let slot = self.log.get(seq).filter(|_| !bug!(Bug::PreparedNotCarried));
            if let Some(certificate) = slot.and_then(|slot| slot.prepared.as_ref()) {
                prepared.push(Prepared { seq, view: certificate.view, digest: certificate.digest });
                certificate.bundles.iter().for_each(&mut add);
            }
        }
        ViewChangeContent::new(&leave, prepared, bundles)
    }

    /// A verified VIEW-CHANGE, the own one included.
    pub(super) fn on_view_change(&mut self, now: Now, change: &Arc<ViewChange>, out: &mut Vec<Output>) {
        let signer = change.signer();
        if self.is_void(change) {
            return self.on_named_view_change(now, change, out);
        }
        self.views.take(change);
        let before =
            self.views.latest[signer.index()].as_ref().filter(|old| view_changes_differ(old, change));
        if let Some(before) = before.map(Arc::clone) {
            self.accuse(Evidence::ViewChanges([before, Arc::clone(change)]), out);
        }
        let latest = &mut self.views.latest[signer.index()];
        if latest.as_ref().is_none_or(|old| old.view() < change.view()) {
            *latest = Some(Arc::clone(change));
            self.learn_stable(now, change, out);
        }
        self.join(out);
        self.begin_view(now, out);
        self.enter_begun_view(now, out);
    }

    /// One that is void, or that this replica made before it started again: it serves a NEW-VIEW that names it, and nothing
    /// else.
    pub(super) fn on_named_view_change(&mut self, now: Now, change: &Arc<ViewChange>, out: &mut Vec<Output>) {
        self.views.take(change);
        self.enter_begun_view(now, out);
    }

    /// What a replica declared before it lost its memory binds nobody: it may have gone on where it had left. Of itself a
    /// replica knows whether it has; while it has said nothing, its former word is as good as ever.
    pub(super) fn is_void(&self, change: &ViewChange) -> bool {
        let kept = change.signer() == self.config.me && !self.has_voted;
        let known = self.incarnations[change.signer().index()];
        change.incarnation().saturating_add(u64::from(kept)) < known
    }

    /// Whether 2f+1 replicas have decided a slot in a view. Then it doesn't matter which VIEW-CHANGEs it began with: f+1
    /// correct replicas entered it before those were void, and the others, up to 2f, decide nothing without them.
    pub(super) fn has_decided_in(&self, view: View) -> bool {
        let slots = (self.log.first().0..=self.log.end().0).filter_map(|seq| self.log.get(Seq(seq)));
        slots.filter_map(|slot| slot.certificate.as_ref()).any(|certificate| certificate.view == view)
    }

    /// A replica that begins to vote leaves a view that it entered before it had executed the Recovers of those whose
    /// VIEW-CHANGEs began it: like everybody who has, it doesn't vote there, unless others are known to do so.
    pub(super) fn leave_void_view(&mut self, out: &mut Vec<Output>) {
        let is_new = self.views.active && !self.has_voted;
        let begun = self.views.begun.as_ref().filter(|_| is_new);
        let is_void = begun.is_some_and(|begun| {
            begun.changes.iter().any(|change| self.is_void(change)) && !self.has_decided_in(begun.view)
        });
        if is_void && let Some(next) = self.view.0.checked_add(1) {
            self.leave_for(View(next), out);
        }
    }

    /// The proof of a stable checkpoint moves the watermarks. Nobody sends it again then, so the executor gets it whole.
    pub(super) fn learn_stable(&mut self, now: Now, change: &ViewChange, out: &mut Vec<Output>) {
        let (round, digest) = change.stable();
        if round <= self.stable_round() {
            return;
        }
        let statement = Statement::checkpoint(round, digest);
        let mut proof: BTreeMap<ReplicaId, Arc<SealedBundle>> = BTreeMap::new();
        for bundle in change.bundles().iter().filter(|bundle| bundle.statements().contains(&statement)) {
            proof.entry(bundle.signer()).or_insert_with(|| Arc::new(SealedBundle::clone(bundle).compact()));
        }
        let proof = proof.into_values().take(self.config.quorum()).collect();
        let stable = Stable { round, digest, proof };
        out.push(Output::CheckpointProven(stable.clone()));
        self.on_stable(now, stable, out);
    }

    /// When f+1 replicas want higher views, a correct one is among them: this replica joins the smallest of those.
    pub(super) fn join(&mut self, out: &mut Vec<Output>) {
        let higher = self.views.latest.iter().flatten().map(|change| change.view());
        let mut higher: Vec<View> = higher.filter(|view| *view > self.view).collect();
        if !self.voting || higher.len() < self.config.weak_quorum() {
            return;
        }
        higher.sort_unstable();
        mark!("joined f+1 that left");
        self.leave_for(higher[0], out);
    }

    /// Own declarations count once they are sealed.
    pub(super) fn on_declared(&mut self, now: Now, declared: Declared, out: &mut Vec<Output>) {
        match declared {
            Declared::ViewChange(change) => self.on_view_change(now, &change, out),
            Declared::NewView(new_view) => {
                if let Some(begun) = &mut self.views.begun
                    && begun.view == new_view.view()
                {
                    begun.new_view = Some(new_view);
                }
            }
        }
    }

    /// Why a VIEW-CHANGE would change nothing: only the latest of each replica is kept, and what a NEW-VIEW names.
    pub(super) fn refuse_view_change(&self, from: ReplicaId, change: &ViewChange) -> Option<Rejected> {
        if change.pillar() != self.config.pillar {
            return Some(Rejected::WrongPillar);
        }
        if self.views.candidates.iter().flatten().any(|candidate| candidate.lacks(change)) {
            return None;
        }
        if self.is_void(change) {
            mark!("a VIEW-CHANGE of an earlier incarnation");
            return Some(Rejected::Redundant);
        }
        if change.signer() == self.config.me {
            return Some(Rejected::Redundant);
        }
        if change.signer() != from {
            return Some(Rejected::Unsolicited);
        }
        let latest = self.views.latest[change.signer().index()].as_ref();
        // Worth verifying once: it convicts its signer.
        if self.evidence[change.signer().index()].is_none()
            && latest.is_some_and(|old| view_changes_differ(old, change))
        {
            return None;
        }
        latest.is_some_and(|old| old.view() >= change.view()).then_some(Rejected::Redundant)
    }
}
