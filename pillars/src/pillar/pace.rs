//! What a pillar owes to the others, and when it is stalled. The merge can't pass an undecided slot.

use std::collections::BTreeMap;
use std::time::Duration;

use hypostyle_app_api::{Digest, Instant, Now, PillarId, Seq, View};
use hypostyle_probe::{Bug, bug};

use super::Pillar;
use crate::message::{Kind, Statement};
use crate::outbox::{Demand, Output, Target};

/// How far the pillars have to come, and since when this one doesn't move.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    /// A non-empty proposal of some pillar was accepted up to here.
    accepted: Seq,
    /// A non-empty slot is decided, or a recovery needs one, up to here.
    owed: Seq,
    /// By pillar: in its present view f+1 replicas speak for a non-empty slot up to here.
    backed: BTreeMap<PillarId, Seq>,
    /// The highest of both: up to here slots are owed because of what happened in this or another pillar.
    demanded: Seq,
    /// The highest non-empty proposal of the own current primary.
    proposed: Seq,
    /// Since the last stable checkpoint: for how long other pillars' decided slots have waited for this one.
    lag: Duration,
    /// The part of that which was told.
    lag_told: Duration,
    /// While something is owed: when to ask the peers for what is missing.
    ask_at: Option<Instant>,
    /// While anything waits for the primary: when to remind it. That others are served is no reason to put it off.
    remind_at: Option<Instant>,
}

impl Pace {
    /// Whether a pillar took something back.
    pub(super) fn demand(&mut self, demand: Demand) -> bool {
        let before = self.demanded;
        match demand {
            Demand::Accepted(seq) => self.accepted = self.accepted.max(seq),
            Demand::Owed(seq) => self.owed = self.owed.max(seq),
            Demand::Backed(pillar, seq) => drop(self.backed.insert(pillar, seq)),
        }
        self.demanded = self.backed.values().copied().max().unwrap_or(Seq(0)).max(self.owed);
        self.demanded < before
    }

    /// Up to here an empty slot may be proposed.
    pub(super) fn justified(&self) -> Seq {
        self.accepted.max(self.demanded).max(Seq(self.proposed.0.saturating_sub(1)))
    }

    /// Up to here slots are owed whatever happens in this pillar.
    pub(super) fn demanded(&self) -> Seq {
        self.demanded
    }

    /// The highest non-empty proposal of the present primary.
    pub(super) fn proposed(&self) -> Seq {
        self.proposed
    }

    /// A view ended: what its primary proposed is of no account.
    pub(super) fn end_view(&mut self) {
        self.proposed = Seq(0);
    }

    pub(super) fn forget_lag(&mut self) {
        (self.lag, self.lag_told) = (Duration::ZERO, Duration::ZERO);
    }

    /// Adds to the lag; what is to be told of it, in steps.
    pub(super) fn lags(&mut self, time: Duration, step: Duration) -> Option<Duration> {
        self.lag += time;
        (self.lag >= self.lag_told + step).then(|| {
            self.lag_told = self.lag;
            self.lag
        })
    }

    /// Up to here other pillars have decided non-empty slots, or something else needs slots.
    pub(super) fn waited_for(&self) -> Seq {
        self.owed
    }

    /// Leaves out when to ask.
    pub(super) fn forget_when(&mut self) {
        (self.ask_at, self.remind_at) = (None, None);
    }

    pub(super) fn next_ask(&self) -> Option<Instant> {
        self.ask_at.into_iter().chain(self.remind_at).min()
    }
}

impl Pillar {
    /// All slots up to this one are owed. Empty slots justify nothing, else two pillars of one adversary would
    /// justify each other.
    pub(super) fn owed_to(&self) -> Seq {
        let served = self.batches.is_empty()
            && self.passed.is_empty()
            && self.pending.is_empty()
            && self.recovers.oldest().is_none();
        let pending = if served { Seq(0) } else { Seq(self.frontier.0 + 1) };
        self.pace.demanded.max(self.pace.proposed).max(pending)
    }

    /// Looks whether a statement makes a non-empty slot owed, by this pillar and by the others.
    pub(super) fn note_demand(&mut self, statement: &Statement, out: &mut Vec<Output>) {
        let Statement { kind, seq, digest, view, .. } = *statement;
        if kind == Kind::Propose && view == self.view {
            self.note_proposal(seq, digest);
        }
        if self.is_backed(seq, view, digest) {
            self.back(seq, out);
        }
    }

    /// Tells all pillars of this replica up to where f+1 replicas speak for non-empty slots of this one.
    pub(super) fn back(&mut self, seq: Seq, out: &mut Vec<Output>) {
        let demand = Demand::Backed(self.config.pillar, seq);
        self.pace.demand(demand);
        out.push(Output::Demand(demand));
    }

    pub(super) fn note_proposal(&mut self, seq: Seq, digest: Digest) {
        if !self.is_empty_digest(digest) {
            self.pace.proposed = self.pace.proposed.max(seq);
        }
    }

    /// Slots that lay above the watermark until now may be owed already.
    pub(super) fn note_demand_above(&mut self, before: Seq, out: &mut Vec<Output>) {
        for seq in (before.0 + 1..=self.log.end().0.min(self.high_watermark().0)).map(Seq) {
            let backed = self.log.get(seq).is_some_and(|slot| {
                let mut votes = slot.prepares.votes().chain(slot.commits.votes());
                votes.any(|vote| self.is_backed(seq, vote.view, vote.digest))
            });
            if backed {
                self.back(seq, out);
            }
        }
    }

    /// All pillars of this replica have to come up to this non-empty slot.
    pub(super) fn owe(&mut self, seq: Seq, out: &mut Vec<Output>) {
        if seq > self.pace.owed {
            self.pace.demand(Demand::Owed(seq));
            out.push(Output::Demand(Demand::Owed(seq)));
        }
    }

    /// Whether f+1 replicas speak for a non-empty digest, of whom one is correct.
    fn is_backed(&self, seq: Seq, view: View, digest: Digest) -> bool {
        view == self.view
            && seq > self.pace.demanded
            && seq <= self.high_watermark()
            && !self.is_empty_digest(digest)
            && self
                .log
                .get(seq)
                .is_some_and(|slot| slot.backers(view, self.primary(), digest) >= self.config.weak_quorum())
    }

    /// Starts, restarts or stops the progress timer after a step. At the high watermark nobody is to blame, but what is
    /// lacking is asked for all the same: it may be the Checkpoints that would move the watermark.
    pub(super) fn watch(&mut self, now: Now, frontier_before: Seq) {
        let waits =
            self.owed_to() > self.frontier || self.frontier >= self.high_watermark() || !self.views.active;
        if !waits {
            self.pace.ask_at = None;
        } else if self.pace.ask_at.is_none() || self.frontier > frontier_before {
            self.pace.ask_at = Some(now.instant + self.config.view_timeout / 2);
        }
        let expects = !self.pending.is_empty() || self.recovers.oldest().is_some();
        self.pace.remind_at = match expects && !self.leads() && self.views.active {
            true => self.pace.remind_at.or(Some(now.instant + self.config.view_timeout / 2)),
            false => None,
        };
    }

    /// At half the timer: asks all peers for what is lacking.
    pub(super) fn ask_when_stalled(&mut self, now: Now, out: &mut Vec<Output>) {
        if bug!(Bug::StalledTellsNobody) || self.pace.ask_at.is_none_or(|at| at > now.instant) {
            return;
        }
        self.pace.ask_at = Some(now.instant + self.config.view_timeout / 2);
        out.push(Output::SendStatus(Target::Peers, self.status()));
    }

    /// At half the timer of what waits longest, and again and again: reminds the primary.
    pub(super) fn remind_when_due(&mut self, now: Now, out: &mut Vec<Output>) {
        if !bug!(Bug::StalledTellsNobody) && self.pace.remind_at.is_some_and(|at| at <= now.instant) {
            self.pace.remind_at = None;
            self.remind_primary(out);
        }
    }

    /// Passes on what waits, oldest first, as much as the primary takes of one backup.
    pub(super) fn remind_primary(&mut self, out: &mut Vec<Output>) {
        if !self.leads() && self.views.active {
            self.pending.pass_again();
            self.pass_on_next(out);
            self.pass_recovers_on(out);
        }
    }

    /// Passes on what is next to be, now that something has come or was served.
    pub(super) fn pass_on_next(&mut self, out: &mut Vec<Output>) {
        if !self.pending.is_empty() && !self.leads() && self.views.active {
            let primary = self.primary();
            let next = self.pending.next_to_pass(&self.config).into_iter();
            out.extend(next.map(|request| Output::Forward(primary, request)));
        }
    }
}
