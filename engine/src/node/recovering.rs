//! This replica's own recovery, when it was started without its log.

use bytes::Bytes;
use hypostyle_app_api::{Instant, Now, ReplicaId, Round, Seq};
use hypostyle_crypto::Tag;
use hypostyle_pillars::message::{Nonce, Recover};
use hypostyle_pillars::{Demand, Input, Pillar, Target};
use hypostyle_probe::{Bug, bug};

use super::{Node, NodeOutput, PeerMessage};
use crate::executor::Incarnation;
use crate::recovery::{Phase, Recovery, RecoverySettings, Step};

/// Every worker's node has one and judges by the same executed order when its pillars may speak; the one that owns the
/// pillar which orders this replica's Recovers asks.
pub(super) struct Recovering {
    core: Recovery,
    /// The latest Recover that was signed.
    signed: Option<Recover>,
    /// The incarnation of the one that is being signed.
    signing: Option<u64>,
}

/// What an operator should know of a recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecoveryNews {
    /// The Recover was executed; it votes from this checkpoint on.
    Until { incarnation: u64, round: Round },
    /// It votes.
    Recovered { incarnation: u64 },
    /// It has been waiting for so many seconds; so many replicas are known to recover, this one included.
    Waiting { seconds: u64, phase: Phase, recovering: usize },
}

impl Recovering {
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.core.next_deadline()
    }
}

/// The sealer's tickets count up from 0.
pub(super) const RECOVER_TICKET: u64 = u64::MAX;

impl Node {
    /// Begins without a memory of what this replica has said: its pillars keep silent until it has recovered. `nonce` is
    /// random and this start's own.
    pub(crate) fn recover(&mut self, now: Now, nonce: Nonce) {
        let config = self.pillars[0].config();
        let settings = RecoverySettings {
            nonce,
            interval: config.checkpoint_interval,
            window: config.window,
            ask_interval: config.view_timeout / 2,
        };
        let core = Recovery::new(now.instant, settings);
        self.recovering = Some(Recovering { core, signed: None, signing: None });
        self.vote(now);
    }

    /// What this replica waits for before it may vote, and as which incarnation.
    pub(crate) fn recovery(&self) -> Option<(Phase, u64)> {
        let core = &self.recovering.as_ref()?.core;
        (core.phase() != Phase::Recovered).then(|| (core.phase(), core.incarnation()))
    }

    /// A Recover took effect, this replica's or another's.
    pub(super) fn on_recovered(&mut self, now: Now, replica: ReplicaId, record: &Incarnation, until: Round) {
        for index in 0..self.pillars.len() {
            self.step(now, index, Input::Incarnation(replica, record.incarnation));
            if !bug!(Bug::RecoveryNotOwed) {
                self.step(now, index, Input::Demand(Demand::Owed(Seq(until.0))));
            }
        }
        self.ticks_again = true;
        let me = self.me();
        let Some(own) = self.recovering.as_mut().filter(|_| replica == me) else { return };
        let before = own.core.phase();
        own.core.recorded(now.instant, record);
        if let Phase::Until(round) = own.core.phase()
            && own.core.phase() != before
        {
            let incarnation = record.incarnation;
            self.tell(RecoveryNews::Until { incarnation, round });
        }
    }

    /// The executor holds the state of a stable round.
    pub(super) fn on_held(&mut self, round: Round) {
        if let Some(own) = &mut self.recovering {
            own.core.held(round);
        }
    }

    /// Does what the recovery wants done by now.
    pub(super) fn drive_recovery(&mut self, now: Now) {
        while let Some(step) = self.recovering.as_mut().and_then(|own| own.core.next(now.instant)) {
            match step {
                Step::Ask(incarnation) => {
                    self.ask(incarnation);
                    // Where signatures are made inline, it is there already.
                    self.take_finished(now);
                }
                Step::Vote => {
                    self.vote(now);
                    let incarnation = self.recovering.as_ref().map_or(0, |own| own.core.incarnation());
                    self.tell(RecoveryNews::Recovered { incarnation });
                }
                Step::Complain(waited) => {
                    let recovering = 1 + self.pillars.iter().map(Pillar::recovers_pending).sum::<usize>();
                    let phase = self.recovery().map_or(Phase::Recovered, |(phase, _)| phase);
                    self.tell(RecoveryNews::Waiting { seconds: waited.as_secs(), phase, recovering });
                }
            }
        }
    }

    /// A link of the `index`-th pillar came up: what was sent before isn't known there.
    pub(super) fn ask_peer(&mut self, index: usize, peer: ReplicaId) {
        if self.own_pillar() == Some(index)
            && let Some(own) = self.recovering.as_ref().filter(|own| own.core.is_asking())
            && let Some(recover) = own.signed.clone()
        {
            self.send_recover(Target::Peer(peer), recover);
        }
    }

    /// The own Recover is signed.
    pub(super) fn recover_signed(&mut self, signature: &Bytes) {
        let me = self.me();
        let Some(own) = &mut self.recovering else { return };
        let Some(incarnation) = own.signing.take() else { return };
        let recover = Recover::new(me, incarnation, own.core.nonce(), signature);
        own.signed = Some(recover.clone());
        self.send_recover(Target::Peers, recover);
    }

    fn ask(&mut self, incarnation: u64) {
        let (me, asks) = (self.me(), self.own_pillar().is_some());
        let Some(own) = self.recovering.as_mut().filter(|_| asks) else { return };
        match own.signed.clone() {
            Some(recover) if recover.incarnation() == incarnation => {
                self.send_recover(Target::Peers, recover);
            }
            _ if own.signing.is_none() => {
                own.signing = Some(incarnation);
                let content = Recover::content(me, incarnation, own.core.nonce());
                self.desk.sign(Tag::Recover, content, RECOVER_TICKET);
            }
            _ => {}
        }
    }

    fn send_recover(&mut self, to: Target, recover: Recover) {
        if let Some(index) = self.own_pillar() {
            let pillar = self.pillars[index].config().pillar;
            self.outputs.push(NodeOutput::ToPeers { pillar, to, message: PeerMessage::Recover(recover) });
        }
    }

    /// Has the pillars speak or not.
    fn vote(&mut self, now: Now) {
        let voting = (self.recovery().is_none() || bug!(Bug::RecoversUnasked)) && !self.diverged;
        (0..self.pillars.len()).for_each(|index| self.step(now, index, Input::Voting(voting)));
    }

    fn tell(&mut self, news: RecoveryNews) {
        // One worker of the replica tells.
        if self.own_pillar().is_some() {
            self.outputs.push(NodeOutput::Recovery(news));
        }
    }

    fn me(&self) -> ReplicaId {
        self.pillars[0].config().me
    }

    /// The pillar here that orders this replica's Recovers.
    fn own_pillar(&self) -> Option<usize> {
        let me = self.me();
        self.pillars.iter().position(|pillar| pillar.config().recovers(me))
    }
}
