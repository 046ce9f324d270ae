//! Repairing what the network lost: TCP drops everything in flight when a connection ends, and a full queue drops frames.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hypostyle_app_api::{Instant, Now, ReplicaId, Round, Seq};
use hypostyle_probe::{Bug, bug};

use super::Pillar;
use crate::Config;
use crate::message::{STATUS_WANTED_MAX, SealedBundle, Status, WantedBody};
use crate::outbox::{Declared, Output, Target};
use crate::slot::Slot;

/// When whom was answered, and when to tell that a burst is over.
#[derive(Clone, Debug)]
pub(super) struct Resend {
    /// At most one answer and one question to a peer in this time. Less than it takes until a pillar is quiet: what is
    /// asked then must not be refused for what was asked before, for nothing may follow.
    interval: Duration,
    answered: Box<[Option<Instant>]>,
    /// The slots that each peer was last sent.
    told: Box<[Option<Told>]>,
    asked: Box<[Option<Instant>]>,
    /// While a certified slot lacks its body: when to ask for it, and whom.
    fetch_at: Option<Instant>,
    /// Doubles while nobody has it: a body that no peer keeps comes with state transfer only.
    fetch_interval: Duration,
    fetch_from: ReplicaId,
    quiet_status_due: Option<Instant>,
}

/// Slots that a peer was sent, because its frontier was `from`.
#[derive(Clone, Copy, Debug)]
struct Told {
    at: Instant,
    from: Seq,
    to: Seq,
    /// How long they take at [`REPEATED_BYTES_PER_SECOND`].
    takes: Duration,
    /// How often they were sent before.
    repeats: u32,
}

/// What a peer was sent and doesn't show yet is sent again at this pace, and then at half of it, and so on: a peer that
/// can't hear, or is slow to take in what it has been sent, would have a mountain of repetitions to work through.
const REPEATED_BYTES_PER_SECOND: u32 = 1 << 20;
/// The slowest pace is the first over 2 to the power of this.
const REPEATS_MAX: u32 = 3;
/// Time between two answers to a peer, where views have time enough.
const ANSWER_INTERVAL: Duration = Duration::from_millis(20);
/// Bytes in one answer, the last body or bundle not counted: there is always room for one.
const ANSWER_BYTES_MAX: usize = 1 << 20;

impl Resend {
    pub(super) fn new(config: &Config) -> Self {
        let nobody = vec![None; usize::from(config.replicas)];
        Self {
            interval: ANSWER_INTERVAL.min(config.view_timeout / 4),
            answered: nobody.clone().into(),
            told: vec![None; usize::from(config.replicas)].into(),
            asked: nobody.into(),
            fetch_at: None,
            fetch_interval: ANSWER_INTERVAL,
            fetch_from: ReplicaId(0),
            quiet_status_due: None,
        }
    }

    /// A new link to a peer: what was sent over the former one may be lost, and counts for nothing.
    pub(super) fn connected(&mut self, peer: ReplicaId) {
        self.answered[peer.index()] = None;
        self.asked[peer.index()] = None;
        self.told[peer.index()] = None;
    }

    /// A slot is decided but for its body, which should be on its way.
    pub(super) fn expect_body(&mut self, now: Instant) {
        self.fetch_at.get_or_insert(now + self.fetch_interval);
    }

    /// A body that was asked for has come.
    pub(super) fn body_came(&mut self) {
        self.fetch_interval = ANSWER_INTERVAL;
    }

    /// A slot was decided, or a checkpoint taken: when nothing follows for a while, the peers are told once where this pillar stands, so that one
    /// who lost the last frames of a burst learns of it.
    pub(super) fn note_activity(&mut self, now: Instant, config: &Config) {
        self.quiet_status_due = Some(now + config.view_timeout / 2);
    }

    /// Whether a peer may be asked something now.
    pub(super) fn may_ask(&mut self, peer: ReplicaId, now: Instant) -> bool {
        let may = self.is_due(&self.asked, peer, now);
        if may {
            self.asked[peer.index()] = Some(now);
        }
        may
    }

    /// Whether a peer may be answered now.
    fn may_answer(&self, peer: ReplicaId, now: Instant) -> bool {
        self.is_due(&self.answered, peer, now)
    }

    fn is_due(&self, times: &[Option<Instant>], peer: ReplicaId, now: Instant) -> bool {
        times.get(peer.index()).is_some_and(|last| last.is_none_or(|at| now.since(at) >= self.interval))
    }

    /// Whether a peer with this frontier may be sent the slots above it: not if it was, and had no time to show it.
    fn may_tell(&self, peer: ReplicaId, frontier: Seq, now: Instant) -> bool {
        let told = self.told.get(peer.index()).copied().flatten();
        told.is_none_or(|told| {
            let shown = frontier < told.from || frontier >= told.to;
            let repeats = if frontier > told.from { 0 } else { told.repeats };
            shown || now.since(told.at) >= told.takes * (1 << repeats)
        })
    }

    fn note_told(&mut self, peer: ReplicaId, from: Seq, to: Seq, bytes: usize, now: Instant) {
        let Some(place) = self.told.get_mut(peer.index()) else { return };
        let again = place.filter(|told| told.from == from);
        let repeats = again.map_or(0, |told| (told.repeats + 1).min(REPEATS_MAX));
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let takes = Duration::from_secs(1) / REPEATED_BYTES_PER_SECOND * bytes;
        *place = Some(Told { at: now, from, to, takes, repeats });
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.fetch_at.into_iter().chain(self.quiet_status_due).min()
    }

    /// Another peer than `me` each time: one that is down or lies costs one interval.
    fn next_peer(&mut self, me: ReplicaId) -> ReplicaId {
        let replicas = u16::try_from(self.asked.len()).expect("one place a replica");
        let next = |id: ReplicaId| ReplicaId((id.0 + 1) % replicas);
        self.fetch_from = next(self.fetch_from);
        if self.fetch_from == me {
            self.fetch_from = next(me);
        }
        self.fetch_from
    }
}

impl Pillar {
    /// Where this pillar stands and what it lacks.
    pub(super) fn status(&self) -> Status {
        let quorum = self.config.quorum();
        let open = (self.frontier.0 + 1..=self.log.end().0).map(Seq);
        let wanted =
            open.filter_map(|seq| Some(WantedBody { seq, digest: self.log.get(seq)?.needs_body(quorum)? }));
        let wanted = self.views.wanted.iter().copied().chain(wanted);
        // Of each NEW-VIEW in turn: those of f liars must not crowd out the right one.
        let candidates = || self.views.candidates.iter().flatten();
        let missing = (0..quorum).flat_map(|nth| candidates().filter_map(move |c| c.missing().nth(nth)));
        Status {
            view: self.view,
            active: self.views.active,
            stable: self.stable_round(),
            frontier: self.frontier,
            accepted: self.accepted,
            wanted: wanted.take(STATUS_WANTED_MAX).collect(),
            wanted_changes: missing.take(STATUS_WANTED_MAX).collect(),
        }
    }

    pub(super) fn tell_when_quiet(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.resend.quiet_status_due.is_some_and(|at| at <= now.instant) {
            self.resend.quiet_status_due = None;
            out.push(Output::SendStatus(Target::Peers, self.status()));
        }
    }

    /// Asks one peer at a time for the bodies of certified slots, as long as there are any without.
    pub(super) fn fetch_bodies(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.resend.fetch_at.is_none_or(|at| at > now.instant) {
            return;
        }
        let quorum = self.config.quorum();
        let mut open = (self.frontier.0 + 1..=self.log.end().0).filter_map(|s| self.log.get(Seq(s)));
        self.resend.fetch_at = None;
        let chosen = Seq(self.frontier.0 + 1)..=self.views.chosen_to();
        let lacks_chosen = |seq: u64| self.log.get(Seq(seq)).is_some_and(|s| s.needs_body(quorum).is_some());
        if open.any(|slot| slot.lacks_certified_body(quorum))
            || !self.views.wanted.is_empty()
            || (chosen.start().0..=chosen.end().0).any(lacks_chosen)
        {
            let peer = self.resend.next_peer(self.config.me);
            out.push(Output::SendStatus(Target::Peer(peer), self.status()));
            self.resend.expect_body(now.instant);
            let longest = self.config.view_timeout / 2;
            self.resend.fetch_interval = (self.resend.fetch_interval * 2).min(longest);
        }
    }

    /// Resends to a peer what its status lacks; asks it, when it is the one ahead.
    pub(super) fn on_status(&mut self, now: Now, from: ReplicaId, status: &Status, out: &mut Vec<Output>) {
        let ahead = status.view > self.view
            || status.frontier > self.frontier
            || status.accepted > self.accepted
            || status.stable > self.stable_round();
        if ahead && self.resend.may_ask(from, now.instant) {
            out.push(Output::SendStatus(Target::Peer(from), self.status()));
        }
        if !self.resend.may_answer(from, now.instant) {
            return;
        }
        let declared = self.declarations_for(status);
        let behind = status.frontier < self.log.end()
            || status.stable < self.stable_round()
            || self.checkpoint.as_ref().is_some_and(|(round, _)| *round > status.stable)
            || !status.wanted.is_empty()
            || !status.wanted_changes.is_empty()
            || !declared.is_empty();
        if behind {
            self.resend.answered[from.index()] = Some(now.instant);
            out.extend(declared.into_iter().map(|declared| Output::SendDeclared(from, declared)));
            self.answer(now.instant, from, status, out);
        }
    }

    fn answer(&mut self, now: Instant, to: ReplicaId, status: &Status, out: &mut Vec<Output>) {
        if bug!(Bug::NothingSentAgain) {
            return;
        }
        let mut bundles = Bundles::default();
        self.add_checkpoints(status.stable, &mut bundles);
        let first = self.log.first().max(Seq(status.frontier.0.saturating_add(1)));
        let last = self.log.end().min(Seq(first.0.saturating_add(self.config.window - 1)));
        let may_tell = self.resend.may_tell(to, status.frontier, now);
        let mut told = status.frontier;
        let mut bodies = 0;
        for seq in (first.0..=last.0).map(Seq).take_while(|_| may_tell) {
            if bodies + bundles.bytes >= ANSWER_BYTES_MAX {
                break;
            }
            told = seq;
            let Some(slot) = self.log.get(seq) else {
                continue;
            };
            self.add_slot(slot, &mut bundles);
            if let Some(body) = slot.body.as_ref().filter(|body| !body.is_empty())
                && self.leads()
                && !slot.is_decided()
            {
                bodies += body.bytes().len();
                out.push(Output::SendBody(Target::Peer(to), Arc::clone(body)));
            }
        }
        if may_tell {
            self.resend.note_told(to, status.frontier, told, bodies + bundles.bytes, now);
        }
        for wanted in &status.wanted {
            if bodies + bundles.bytes < ANSWER_BYTES_MAX
                && let Some(body) = self.log.get(wanted.seq).and_then(|slot| slot.held(wanted.digest))
                && !body.is_empty()
            {
                bodies += body.bytes().len();
                out.push(Output::SendBody(Target::Peer(to), Arc::clone(body)));
            }
        }
        out.extend(bundles.list.into_iter().map(|bundle| Output::SendBundle(to, bundle)));
    }

    /// What lets a peer join this replica's view: the NEW-VIEW and what it lacks of it, or the own VIEW-CHANGE.
    fn declarations_for(&self, status: &Status) -> Vec<Declared> {
        let mut declared = Vec::new();
        let mut bytes = 0;
        for digest in BTreeSet::from_iter(&status.wanted_changes) {
            if bytes < ANSWER_BYTES_MAX
                && let Some(change) = self.views.find(*digest)
            {
                bytes += change.bytes().len();
                declared.push(Declared::ViewChange(Arc::clone(change)));
            }
        }
        let outside = status.view < self.view || (status.view == self.view && !status.active);
        if outside {
            let own =
                self.views.latest[self.config.me.index()].as_ref().filter(|own| own.view() == self.view);
            let own = own.filter(|_| !self.views.active).cloned().map(Declared::ViewChange);
            declared.extend(own);
            declared.extend(self.present_new_view().cloned().map(Declared::NewView));
        }
        declared
    }

    fn add_checkpoints(&self, stable: Round, bundles: &mut Bundles) {
        if let Some(proof) = self.stable.as_ref().filter(|own| own.round > stable) {
            proof.proof.iter().for_each(|bundle| bundles.add(bundle));
        }
        if let Some((_, bundle)) = self.checkpoint.as_ref().filter(|(round, _)| *round > stable) {
            bundles.add(bundle);
        }
    }

    /// Of a decided slot the commit certificate, of another the proposal and the own statements.
    fn add_slot(&self, slot: &Slot, bundles: &mut Bundles) {
        if let Some(certificate) = &slot.certificate {
            return certificate.bundles.iter().for_each(|bundle| bundles.add(bundle));
        }
        let proposal = slot.proposal.as_ref().and_then(|p| p.bundle.as_ref());
        proposal.into_iter().for_each(|bundle| bundles.add(bundle));
        for votes in [&slot.prepares, &slot.commits] {
            votes.of(self.config.me).into_iter().for_each(|vote| bundles.add(&vote.bundle));
        }
    }
}

/// Bundles to send, each once: one holds statements for many slots.
#[derive(Default)]
struct Bundles {
    list: Vec<Arc<SealedBundle>>,
    held: BTreeSet<*const SealedBundle>,
    bytes: usize,
}

impl Bundles {
    fn add(&mut self, bundle: &Arc<SealedBundle>) {
        if self.held.insert(Arc::as_ptr(bundle)) {
            self.bytes += bundle.bytes().len();
            self.list.push(Arc::clone(bundle));
        }
    }
}
