//! What a pillar owes to the others, and when it is stalled. The merge can't pass an undecided slot.

use hypostyle_app_api::{Digest, Instant, Now, Seq, View};

use super::Pillar;
use crate::message::{Kind, Statement};
use crate::outbox::{Demand, Output, Target};

/// How far the pillars have to come, and since when this one doesn't move.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// A non-empty proposal of some pillar was accepted up to here.
    accepted: Seq,
    /// A non-empty slot is decided, or f+1 replicas speak for one, up to here.
    owed: Seq,
    /// The highest non-empty proposal of the own current primary.
    proposed: Seq,
    /// While something is owed: when to ask the peers for what is missing.
    ask_at: Option<Instant>,
}

impl Pace {
    pub(super) fn demand(&mut self, demand: Demand) {
        match demand {
            Demand::Accepted(seq) => self.accepted = self.accepted.max(seq),
            Demand::Owed(seq) => self.owed = self.owed.max(seq),
        }
    }

    /// Up to here an empty slot may be proposed.
    pub(super) fn justified(&self) -> Seq {
        self.accepted.max(self.owed).max(Seq(self.proposed.0.saturating_sub(1)))
    }

    pub(super) fn next_ask(&self) -> Option<Instant> {
        self.ask_at
    }
}

impl Pillar {
    /// All slots up to this one are owed. Empty slots justify nothing, else two pillars of one adversary would
    /// justify each other.
    pub(super) fn owed_to(&self) -> Seq {
        let served = self.batches.is_empty() && self.pending.is_empty();
        let pending = if served { Seq(0) } else { Seq(self.frontier.0 + 1) };
        self.pace.owed.max(self.pace.proposed).max(pending)
    }

    /// Looks whether a statement makes a non-empty slot owed, by this pillar and by the others.
    pub(super) fn note_demand(&mut self, statement: &Statement, out: &mut Vec<Output>) {
        let Statement { kind, seq, digest, view, .. } = *statement;
        if kind == Kind::Propose && !self.is_empty_digest(digest) {
            self.pace.proposed = self.pace.proposed.max(seq);
        }
        if self.is_backed(seq, view, digest) {
            self.owe(seq, out);
        }
    }

    /// Slots that lay above the watermark until now may be owed already.
    pub(super) fn note_demand_above(&mut self, before: Seq, out: &mut Vec<Output>) {
        for seq in (before.0 + 1..=self.log.end().0.min(self.high_watermark().0)).map(Seq) {
            let backed = self.log.get(seq).is_some_and(|slot| {
                let mut votes = slot.prepares.votes().chain(slot.commits.votes());
                votes.any(|(_, vote)| self.is_backed(seq, vote.view, vote.digest))
            });
            if backed {
                self.owe(seq, out);
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
        seq > self.pace.owed
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
        let waits = self.owed_to() > self.frontier || self.frontier >= self.high_watermark();
        if !waits {
            self.pace.ask_at = None;
        } else if self.pace.ask_at.is_none() || self.frontier > frontier_before {
            self.pace.ask_at = Some(now.instant + self.config.view_timeout / 2);
        }
    }

    /// At half the timer: asks all peers for what is lacking, and reminds the primary of what waits.
    pub(super) fn ask_when_stalled(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.pace.ask_at.is_none_or(|at| at > now.instant) {
            return;
        }
        self.pace.ask_at = Some(now.instant + self.config.view_timeout / 2);
        out.push(Output::SendStatus(Target::Peers, self.status()));
        if !self.leads() {
            let waiting = self.pending.oldest_first().into_iter().take(self.config.batch_max as usize);
            let primary = self.primary();
            out.extend(waiting.map(|request| Output::Forward(primary, request.clone())));
        }
    }
}
