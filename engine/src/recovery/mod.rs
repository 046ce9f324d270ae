//! How a replica that lost its log comes back: it keeps silent, has its Recover ordered, and speaks again above all that
//! it may have said before. A pure state machine: no clock, random source or socket.

use std::time::Duration;

use hypostyle_app_api::{Instant, Round};
use hypostyle_pillars::message::Nonce;
use hypostyle_probe::{Bug, bug};

use crate::executor::Incarnation;

/// A replica that recovers, from its start to its first vote.
#[derive(Clone, Debug)]
pub(crate) struct Recovery {
    settings: RecoverySettings,
    phase: Phase,
    /// Which incarnation it asks for.
    incarnation: u64,
    /// The latest round that is stable and whose state it holds.
    held: Round,
    ask_at: Instant,
    /// When it says that it is still waiting, and how long it has been by then.
    complain_at: Instant,
    waited: Duration,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct RecoverySettings {
    /// Of this start.
    pub(crate) nonce: Nonce,
    /// K.
    pub(crate) interval: u64,
    /// L.
    pub(crate) window: u64,
    /// How often it asks.
    pub(crate) ask_interval: Duration,
}

/// What a recovering replica waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// That its Recover is executed.
    Asking,
    /// That this checkpoint is stable and it holds its state.
    Until(Round),
    /// Nothing: it votes.
    Recovered,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send a Recover for this incarnation to all replicas.
    Ask(u64),
    /// Speak again.
    Vote,
    /// Tell the operator that it has been waiting for so long.
    Complain(Duration),
}

/// The first complaint; each later one takes twice as long.
const PATIENCE: Duration = Duration::from_secs(10);

impl Recovery {
    /// It knows nothing, so it asks for the first incarnation: a later one it can name only when it has seen in the
    /// ordered state that its predecessor is taken. Else an old Recover could take effect after a newer one.
    pub(crate) fn new(now: Instant, settings: RecoverySettings) -> Self {
        Self {
            settings,
            phase: Phase::Asking,
            incarnation: 1,
            held: Round(0),
            ask_at: now,
            complain_at: now + PATIENCE,
            waited: PATIENCE,
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// The incarnation that it asks for, or is.
    pub(crate) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    pub(crate) fn nonce(&self) -> Nonce {
        self.settings.nonce
    }

    /// The ordered state says this of this replica.
    pub(crate) fn recorded(&mut self, now: Instant, record: &Incarnation) {
        if record.incarnation < self.incarnation || self.phase == Phase::Recovered {
            return;
        }
        if record.nonce == self.settings.nonce {
            self.incarnation = record.incarnation;
            let until = record.votes_from(self.settings.interval, self.settings.window);
            self.enter(now, Phase::Until(until));
        } else {
            // An earlier start's.
            self.incarnation = record.incarnation.saturating_add(1);
            self.enter(now, Phase::Asking);
            self.ask_at = now;
        }
    }

    /// `round` is stable and this replica holds its state.
    pub(crate) fn held(&mut self, round: Round) {
        self.held = self.held.max(round);
    }

    /// Whether its Recover isn't executed yet.
    pub(crate) fn is_asking(&self) -> bool {
        self.phase == Phase::Asking
    }

    /// What is to be done by now, one step a call.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Step> {
        if let Phase::Until(round) = self.phase
            && (self.held >= round || bug!(Bug::RecoversTooSoon))
        {
            self.phase = Phase::Recovered;
            return Some(Step::Vote);
        }
        if self.is_asking() && self.ask_at <= now {
            self.ask_at = now + self.settings.ask_interval;
            return Some(Step::Ask(self.incarnation));
        }
        if self.phase != Phase::Recovered && self.complain_at <= now {
            let waited = self.waited;
            self.waited *= 2;
            self.complain_at = now + waited;
            return Some(Step::Complain(waited));
        }
        None
    }

    /// When [`Recovery::next`] has something to do again, if nothing else happens.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Asking => Some(self.ask_at.min(self.complain_at)),
            Phase::Until(_) => Some(self.complain_at),
            Phase::Recovered => None,
        }
    }

    fn enter(&mut self, now: Instant, phase: Phase) {
        if self.phase != phase {
            self.phase = phase;
            self.waited = PATIENCE;
            self.complain_at = now + PATIENCE;
        }
    }
}

#[cfg(test)]
mod tests;
