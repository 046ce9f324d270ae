//! What a pillar owes to the others, and when it is stalled. The merge can't pass an undecided slot.

use hypostyle_app_api::{Instant, Now, Seq};

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

    /// Up to here an empty slot may be proposed and prepared.
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
        if seq <= self.pace.owed || seq > self.high_watermark() {
            return;
        }
        let Some(slot) = self.log.get(seq) else {
            return;
        };
        let backed = slot.backed_digest(view, self.primary(), self.empty.digest(), self.config.weak_quorum());
        if backed.is_some() {
            self.pace.demand(Demand::Owed(seq));
            out.push(Output::Demand(Demand::Owed(seq)));
        }
    }

    /// Starts, restarts or stops the progress timer after a step.
    pub(super) fn watch(&mut self, now: Now, frontier_before: Seq) {
        let suspended = self.frontier >= self.high_watermark();
        let owes = self.owed_to() > self.frontier && !suspended;
        if !owes {
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
