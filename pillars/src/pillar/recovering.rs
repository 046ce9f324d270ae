//! Replicas that restarted without their log: their Recovers on the way into a batch, and this replica's silence while it
//! is one of them.

use hypostyle_app_api::{Digest, Now, ReplicaId, Round, Seq};
use hypostyle_probe::mark;

use super::Pillar;
use crate::Rejected;
use crate::message::{Body, BodyBuilder, Kind, Recover, Statement};
use crate::outbox::{Output, Target};
use crate::slot::Stage;

impl Pillar {
    /// Replicas known to ask for their recovery.
    #[must_use]
    pub fn recovers_pending(&self) -> usize {
        self.recovers.len()
    }

    /// Why a Recover would change nothing. One that skips an incarnation is no correct replica's, or this one is behind;
    /// the sender repeats it.
    pub(super) fn refuse_recover(&self, recover: &Recover) -> Option<Rejected> {
        let replica = recover.replica();
        let known = self.incarnations[replica.index()];
        if !self.config.recovers(replica) {
            Some(Rejected::WrongPillar)
        } else if replica == self.config.me || recover.incarnation() <= known || self.recovers.has(recover) {
            Some(Rejected::Redundant)
        } else {
            (recover.incarnation() > known + 1).then_some(Rejected::OutsideWindow)
        }
    }

    /// A verified Recover: the primary orders it, a backup passes it on and expects it to be ordered.
    pub(super) fn on_recover(&mut self, now: Now, recover: Recover, out: &mut Vec<Output>) {
        if self.refuse_recover(&recover).is_some() {
            return;
        }
        let recover = recover.compact();
        if self.recovers.insert(now.instant, recover.clone()) {
            self.pass_on(recover, out);
        } else {
            mark!("recover held back until its time");
        }
    }

    /// Recovers whose time has come.
    pub(super) fn ripen_recovers(&mut self, now: Now, out: &mut Vec<Output>) {
        self.recovers.ripen(now.instant).into_iter().for_each(|recover| self.pass_on(recover, out));
    }

    fn pass_on(&self, recover: Recover, out: &mut Vec<Output>) {
        let primary = self.primary();
        if !self.leads() && self.views.active && primary != recover.replica() {
            out.push(Output::SendRecover(Target::Peer(primary), recover));
        }
    }

    /// As primary: a body for the Recovers that wait.
    pub(super) fn cut_recovers(&mut self, now: Now) -> Option<Body> {
        let recovers = self.recovers.cut();
        let mut body = (!recovers.is_empty()).then(BodyBuilder::new)?;
        recovers.into_iter().for_each(|recover| body.recover(recover));
        Some(body.finish(now.wall))
    }

    /// Reminds the primary of the Recovers that wait.
    pub(super) fn pass_recovers_on(&self, out: &mut Vec<Output>) {
        self.recovers.ripe().for_each(|recover| self.pass_on(recover.clone(), out));
    }

    pub(super) fn on_incarnation(&mut self, now: Now, replica: ReplicaId, incarnation: u64) {
        let known = &mut self.incarnations[replica.index()];
        if incarnation > *known {
            *known = incarnation;
            self.recovers.recovered(now.instant, replica, incarnation);
            self.views.latest[replica.index()].take_if(|change| change.incarnation() < incarnation);
        }
    }

    /// The executor took a checkpoint.
    pub(super) fn on_own_checkpoint(&mut self, round: Round, digest: Digest, out: &mut Vec<Output>) {
        self.unsaid_checkpoint = (!self.voting).then_some((round, digest));
        self.say(Statement::checkpoint(round, digest), out);
    }

    /// Whether this replica may speak. What it has accepted meanwhile it says now: the others may be waiting for it.
    pub(super) fn on_voting(&mut self, voting: bool, out: &mut Vec<Output>) {
        let begins = voting && !self.voting;
        self.voting = voting;
        self.blame.stop();
        self.join(out);
        if !begins {
            return;
        }
        // All of it is decided, though a later view may propose it again.
        self.forgotten_to = Seq(self.stable_round().0);
        self.leave_void_view(out);
        if let Some((round, digest)) = self.unsaid_checkpoint.take().filter(|(r, _)| *r > self.stable_round())
        {
            self.say(Statement::checkpoint(round, digest), out);
        }
        for seq in (self.settled().0 + 1..=self.accepted.0).map(Seq) {
            let open = self.log.get(seq).filter(|slot| self.views.active && !slot.is_decided());
            let Some(slot) = open else { continue };
            let Some(proposal) = slot.proposal.as_ref().filter(|p| p.view == self.view) else { continue };
            let digest = proposal.digest;
            let said = |votes: &crate::votes::Votes| {
                votes.of(self.config.me).is_some_and(|vote| vote.view == self.view)
            };
            let (stage, prepared, committed) = (slot.stage, said(&slot.prepares), said(&slot.commits));
            if stage >= Stage::Proposed && !prepared && !self.leads() {
                self.say(self.statement(Kind::Prepare, seq, digest), out);
            }
            if stage == Stage::Prepared && !committed {
                mark!("a recovered replica says what it held back");
                self.say(self.statement(Kind::Commit, seq, digest), out);
            }
        }
    }
}
