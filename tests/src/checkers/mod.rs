//! What must hold in every run, each invariant in a file of its own. They look at what correct replicas send, decide,
//! execute and answer, never at what replicas think of themselves.

mod agreement;
mod bounds;
mod certificates;
mod chain;
mod checkpoints;
pub(crate) mod diverged;
mod evidence;
mod history;
mod linearizability;
mod memory;
mod money;
mod new_views;
mod once;
mod order;
mod recovery;
mod reference;
mod replies;
mod traffic;
mod validity;
mod views;
mod votes;

use std::sync::Arc;

use hypostyle::client::Completion;
use hypostyle::config::ClusterConfig;
use hypostyle::simulation::Member;
use hypostyle_app_api::{ClientId, Digest, Number, Position, ReplicaId};
use hypostyle_crypto::Keyring;
use hypostyle_pillars::Decided;
use hypostyle_pillars::message::{Body, Kind, NewView, Nonce, SealedBundle, Statement, ViewChange};

use crate::sim::service::Service;

pub use traffic::Traffic;

/// An invariant that doesn't hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

/// What looking at something comes to.
pub type Check = Result<(), Violation>;

/// All checkers of a run.
pub struct Checkers {
    cluster: ClusterConfig,
    agreement: agreement::Agreement,
    history: history::History,
    votes: votes::Votes,
    new_views: new_views::NewViews,
    evidence: evidence::Evidence,
    views: views::Views,
    order: order::Order,
    chain: chain::Chain,
    validity: validity::Validity,
    once: once::Once,
    checkpoints: checkpoints::Checkpoints,
    recovery: recovery::Recovery,
    replies: replies::Replies,
    linearizability: linearizability::Linearizability,
    reference: reference::Reference,
    memory: memory::Memory,
    /// Whose state is wrong: its fault is known, and its checkpoints and results tell nothing.
    rotten: Vec<bool>,
    /// What was sent.
    pub traffic: Traffic,
}

impl Checkers {
    /// Checkers for a cluster that has done nothing yet, and whose application has snapshots of so many bytes.
    #[must_use]
    pub fn new(cluster: &ClusterConfig, keyring: &Arc<Keyring>, snapshot: usize) -> Self {
        let (replicas, pillars) = (cluster.n(), usize::from(cluster.pillars));
        Self {
            agreement: agreement::Agreement::new(pillars),
            history: history::History::new(pillars),
            votes: votes::Votes::default(),
            new_views: new_views::NewViews::default(),
            evidence: evidence::Evidence::new(replicas, Arc::clone(keyring)),
            views: views::Views::new(replicas, pillars),
            order: order::Order::new(replicas),
            chain: chain::Chain::new(replicas),
            validity: validity::Validity::default(),
            once: once::Once::new(replicas),
            checkpoints: checkpoints::Checkpoints::default(),
            recovery: recovery::Recovery::default(),
            replies: replies::Replies::default(),
            linearizability: linearizability::Linearizability::default(),
            reference: reference::Reference::new(cluster),
            memory: memory::Memory::new(cluster, snapshot),
            rotten: vec![false; replicas],
            traffic: Traffic::default(),
            cluster: cluster.clone(),
        }
    }

    /// A replica has sent a bundle of its own.
    ///
    /// # Errors
    /// When a correct replica must not have.
    pub fn said(&mut self, honest: bool, bundle: &SealedBundle) -> Check {
        for statement in bundle.statements() {
            if honest {
                self.recovery.said(bundle.signer(), statement, &self.reference)?;
            }
            if statement.kind == Kind::Checkpoint {
                if honest && !self.rotten[bundle.signer().index()] {
                    self.checkpoints.stated(bundle.signer(), statement, &mut self.reference)?;
                }
                continue;
            }
            if honest {
                self.views.said(&self.cluster, bundle.signer(), statement)?;
                certificates::said(&self.cluster, &self.history, bundle.signer(), statement)?;
            }
            self.history.add(bundle.signer(), statement);
            if honest {
                self.votes.said(&self.history, bundle.signer(), statement)?;
                self.new_views.said(bundle.signer(), statement)?;
            }
        }
        Ok(())
    }

    /// A replica has sent a VIEW-CHANGE of its own.
    ///
    /// # Errors
    /// When a correct replica must not have.
    pub fn left(&mut self, honest: bool, change: &ViewChange) -> Check {
        self.new_views.left(change);
        if honest {
            self.recovery.left(change, &self.reference)?;
            self.votes.leaves(change.signer(), change.pillar(), change.view());
            certificates::left(&self.cluster, &self.history, change)?;
        }
        Ok(())
    }

    /// A replica has sent a NEW-VIEW of its own.
    ///
    /// # Errors
    /// When what was decided before isn't proposed again.
    pub fn began(&mut self, honest: bool, new_view: &NewView) -> Check {
        if honest {
            self.recovery.began(new_view, &self.reference)?;
        }
        let executed = honest.then(|| self.order.next(new_view.signer()));
        self.new_views.began(new_view, &self.agreement, &self.reference, executed)
    }

    /// A correct replica has decided a slot.
    ///
    /// # Errors
    /// When it must not have.
    pub fn decided(&mut self, replica: ReplicaId, decided: &Decided) -> Check {
        certificates::decided(&self.cluster, &self.history, replica, decided)?;
        if self.agreement.is_new(replica, decided)? {
            // What checkers keep is nobody's.
            let body = Arc::new(Body::clone(&decided.body).compact());
            let decided = Decided { body, certificate: [].into(), ..*decided };
            self.agreement.decided(&decided);
            for executed in self.reference.decided(&decided) {
                self.validity.executed(&executed)?;
                self.chain.reference(&executed);
            }
            self.once.reference(self.reference.journal(), &mut self.replies)?;
            money::check("the reference", self.reference.service())?;
        }
        Ok(())
    }

    /// A correct replica has had a turn.
    ///
    /// # Errors
    /// When what it executed, or where it stands, can't be right.
    pub fn turned(&mut self, replica: ReplicaId, member: &Member<Service>) -> Check {
        let next = self.order.next(replica);
        let position = member.executor().position();
        if self.rotten[replica.index()] {
            self.once.skipped(replica, member.executor().application());
            self.installed(replica, position);
        } else if position != next {
            let mut installed = self.once.installed(replica, member.executor().application());
            for entry in member.order_from(next) {
                if installed && entry.position > self.order.next(replica).0 {
                    self.installed(replica, Position(entry.position));
                    installed = false;
                }
                self.order.executed(replica, entry, &self.agreement)?;
                self.chain.executed(replica, entry)?;
            }
            if installed && position > self.order.next(replica) {
                self.installed(replica, position);
            }
            self.order.stands_at(replica, position)?;
            self.once.executed(replica, member.executor().application(), self.reference.journal())?;
            money::check("a replica", member.executor().application())?;
        }
        self.checkpoints.stable(replica, member.stable(), &mut self.reference)?;
        let begins = self.recovery.turned(replica, member, &self.reference, self.cluster.pillars)?;
        self.evidence.turned(replica, member)?;
        let stable = self.checkpoints.highest();
        for progress in member.progress() {
            if self.views.stands(replica, &progress)? || (begins && progress.active) {
                let to = (progress.pillar, progress.view);
                let known = (&self.agreement, &self.reference);
                self.new_views.entered(replica, to, known, next)?;
            }
            bounds::check(&self.cluster, replica, &progress, stable)?;
        }
        Ok(())
    }

    /// A correct replica holds so many bytes after its turn.
    ///
    /// # Errors
    /// When they are more than it promises.
    pub fn holds(&mut self, replica: ReplicaId, bytes: u64) -> Check {
        self.memory.holds(replica, bytes)
    }

    /// The bytes that a correct replica has held at most, and what it promises.
    #[must_use]
    pub fn memory(&self) -> (u64, u64) {
        self.memory.most()
    }

    /// Whether the state of a correct replica was wrong before or after its turn.
    pub fn rots(&mut self, replica: ReplicaId, rotten: bool) {
        self.rotten[replica.index()] = rotten;
    }

    fn installed(&mut self, replica: ReplicaId, position: Position) {
        self.order.installed(replica, position);
        self.chain.installed(replica, position);
    }

    /// A correct replica starts again without its memory: it executes from the first position or a state on, and what it
    /// has left binds it no more. What it has said was said.
    pub fn restarted(&mut self, replica: ReplicaId, nonce: Nonce) {
        self.may_be_accused(replica);
        self.recovery.restarted(replica, nonce, self.history.last_of(replica));
        self.installed(replica, Position(0));
        self.views.restarted(replica);
        self.votes.restarted(replica);
        self.once.restarted(replica);
        self.checkpoints.restarted(replica);
    }

    /// A replica is an adversary, or has forgotten what it said.
    pub fn may_be_accused(&mut self, replica: ReplicaId) {
        self.evidence.may_be_accused(replica);
    }

    /// A client, correct or not, has signed a request.
    pub fn signed(&mut self, client: ClientId, first: Number, digest: Digest) {
        self.validity.signed(client, first, digest);
    }

    /// A correct client has begun operations.
    pub fn invoked(&mut self, client: ClientId, first: Number, count: u16) {
        self.linearizability.invoked(client, first, count);
    }

    /// A correct client believes a result.
    ///
    /// # Errors
    /// When it isn't the operation's.
    pub fn completed(&mut self, client: ClientId, completion: &Completion) -> Check {
        let place = self.replies.accepted(client, completion)?;
        self.linearizability.completed(client, completion.number, place)
    }

    /// How many slots are executed by the reference.
    #[must_use]
    pub fn slots(&self) -> u64 {
        self.reference.slots()
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

fn violated<T>(invariant: &'static str, what: String) -> Result<T, Violation> {
    Err(Violation { invariant, what })
}

fn name(statement: &Statement) -> String {
    let Statement { kind, pillar, view, seq, digest } = statement;
    format!("{kind:?} of pillar {pillar}, view {view}, slot {seq}, {digest:?}")
}
