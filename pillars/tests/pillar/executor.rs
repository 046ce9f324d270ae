//! A stand-in for the engine's executor: global order, exactly once, floors, checkpoints.

use std::collections::{BTreeMap, BTreeSet};

use hypostyle_app_api::{ClientId, Digest, Number, PillarId, Position, ReplicaId, Round, Seq};
use hypostyle_crypto::sha256;
use hypostyle_pillars::{CheckpointVote, Config, Decided, Executed, Stable};

/// What one replica executed.
#[derive(Default)]
pub(crate) struct Executor {
    /// Whether it executes at all.
    pub(crate) asleep: bool,
    pub(crate) decided: BTreeMap<(PillarId, Seq), Decided>,
    pub(crate) executed: BTreeSet<(ClientId, Number)>,
    pub(crate) position: u64,
    pub(crate) stable: Round,
    chain: Digest,
    votes: BTreeMap<Round, BTreeMap<ReplicaId, CheckpointVote>>,
}

/// What the execution of a slot tells the pillars.
pub(crate) struct Turn {
    pub(crate) pillar: PillarId,
    pub(crate) executed: Executed,
    pub(crate) checkpoint: Option<(Round, Digest)>,
}

impl Executor {
    /// Takes the next slot of the global order; tells its pillar, and the checkpoint if a K-th round is complete.
    pub(crate) fn execute(&mut self, config: &Config) -> Option<Turn> {
        let (pillar, seq) = Position(self.position).slot(config.pillars);
        let decided = self.decided.get(&(pillar, seq)).filter(|_| !self.asleep)?;
        let mut clients = BTreeSet::new();
        for request in decided.body.requests() {
            clients.insert(request.client);
            let numbers = request.first.0..request.first.0 + u64::from(request.count);
            self.executed.extend(numbers.map(|number| (request.client, Number(number))));
        }
        self.chain = sha256(&[&self.chain.0, &decided.body.digest().0]);
        self.position += 1;
        let floors = clients.into_iter().map(|client| (client, self.floor(client))).collect();
        let last_of_round = pillar.0 + 1 == config.pillars;
        let due = last_of_round && seq.0.is_multiple_of(config.checkpoint_interval);
        let checkpoint = due.then_some((Round(seq.0), self.chain));
        Some(Turn { pillar, executed: Executed { seq, floors, past: vec![], far: vec![] }, checkpoint })
    }

    /// Counts a vote; 2f+1 equal ones are stable, once.
    pub(crate) fn vote(&mut self, vote: CheckpointVote, config: &Config) -> Option<Stable> {
        let (round, digest) = (vote.round, vote.digest);
        if round <= self.stable {
            return None;
        }
        let votes = self.votes.entry(round).or_default();
        votes.entry(vote.replica).or_insert(vote);
        let equal = votes.values().filter(|other| other.digest == digest);
        let proof: Vec<_> = equal.map(|vote| vote.bundle.clone()).collect();
        if proof.len() < config.quorum() {
            return None;
        }
        self.stable = round;
        Some(Stable { round, digest, proof: proof.into() })
    }

    fn floor(&self, client: ClientId) -> Number {
        let missing = (1..).find(|number| !self.executed.contains(&(client, Number(*number))));
        Number(missing.unwrap() - 1)
    }
}
