//! What a replica tells about itself: the JSON of `hypostyle status` and of the admin listener.

use std::collections::BTreeMap;

use hypostyle_pillars::Evidence;
use serde::{Deserialize, Serialize};

/// A replica at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaStatus {
    /// Which replica.
    pub replica: u16,
    /// n.
    pub replicas: u16,
    /// The cluster's name.
    pub cluster_id: String,
    /// The configuration's hash, hexadecimal.
    pub configuration: String,
    /// How its threads are placed.
    pub mode: Mode,
    /// Its pillars, by number.
    pub pillars: Vec<PillarStatus>,
    /// While it recovers without its log and may not vote: what it waits for.
    #[serde(default)]
    pub recovering: Option<String>,
    /// How far it has executed.
    #[serde(flatten)]
    pub execution: ExecutionStatus,
    /// What was done how often.
    pub counters: BTreeMap<String, u64>,
    /// What was refused how often, by "peer 2: reason".
    pub refusals: BTreeMap<String, u64>,
    /// The first evidence that each pillar has against each replica; only where it was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<EvidenceStatus>,
}

/// A replica has contradicted itself under its signature: it is faulty, or was started again without its log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceStatus {
    /// Who has.
    pub replica: u16,
    /// In which pillar.
    pub pillar: u16,
    /// What the second message is, in words: kind, view, slot.
    pub what: String,
    /// What the two messages name, hexadecimal.
    pub digests: [String; 2],
    /// Both messages with their seals, type byte first as they travel, hexadecimal. Their signatures were verified when they
    /// came; whoever has the cluster's keys can do so again.
    pub messages: [String; 2],
}

/// One pillar of a replica.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PillarStatus {
    /// Which pillar.
    pub pillar: u16,
    /// Its view.
    pub view: u64,
    /// Who leads it.
    pub primary: u16,
    /// Its frontier: all slots up to this one are decided.
    pub decided: u64,
    /// The highest slot that is decided.
    pub decided_high: u64,
    /// Slots proposed beyond the frontier.
    pub in_flight: u64,
    /// Slots owed.
    pub owed: u64,
    /// Operations that wait for a batch.
    pub queued: u64,
    /// Replicas whose link for this pillar is up.
    pub peers: u16,
}

/// How far a replica has executed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionStatus {
    /// Executed positions of the global order.
    pub executed_position: u64,
    /// How often it lost its log and recovered.
    #[serde(default)]
    pub incarnation: u64,
    /// Executed operations.
    pub executed_operations: u64,
    /// h: the round of the latest stable checkpoint.
    pub stable_round: u64,
    /// Its digest, hexadecimal.
    pub stable_digest: String,
    /// Rounds executed whole. Where `executed_position` ends one, `state_digest` is that of its checkpoint.
    pub state_round: u64,
    /// The digest of the present state, at `executed_position`, hexadecimal.
    pub state_digest: String,
    /// Whether its state differs from what 2f+1 replicas vouch for: it executes, answers and votes no more until it has
    /// taken over another.
    #[serde(default)]
    pub diverged: bool,
    /// Whether it is taking over the state of other replicas.
    #[serde(default)]
    pub transferring: bool,
}

/// How a replica's threads are placed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mode {
    /// Worker threads.
    pub workers: u16,
    /// `inline` or `thread`.
    pub executor: String,
    /// Crypto threads.
    pub crypto_threads: u16,
    /// Whether workers and executor have cores of their own.
    pub pinned: bool,
}

/// What one thread knows of a replica's status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartialStatus {
    /// The pillars it owns.
    pub pillars: Vec<PillarStatus>,
    /// What a recovering replica waits for.
    pub recovering: Option<String>,
    /// Of the thread the executor runs on.
    pub execution: Option<ExecutionStatus>,
    /// Its counters.
    pub counters: BTreeMap<String, u64>,
    /// Its refusals.
    pub refusals: BTreeMap<String, u64>,
    /// Its evidence, if it was asked for.
    pub evidence: Vec<EvidenceStatus>,
}

impl ReplicaStatus {
    /// Adds what one thread knows.
    pub fn merge(&mut self, part: PartialStatus) {
        self.pillars.extend(part.pillars);
        self.pillars.sort_by_key(|pillar| pillar.pillar);
        if let Some(execution) = part.execution {
            self.execution = execution;
        }
        // Workers may learn of it one after the other.
        self.recovering = self.recovering.take().or(part.recovering);
        add(&mut self.counters, part.counters);
        add(&mut self.refusals, part.refusals);
        self.evidence.extend(part.evidence);
        self.evidence.sort_by_key(|evidence| (evidence.replica, evidence.pillar));
    }

    /// Whether every pillar has links to a quorum, this replica included, and it may vote: until then no other replica
    /// should be restarted.
    #[must_use]
    pub fn ready(&self) -> bool {
        let others = 2 * (self.replicas.saturating_sub(1) / 3);
        self.recovering.is_none()
            && !self.pillars.is_empty()
            && self.pillars.iter().all(|pillar| pillar.peers >= others)
    }
}

impl From<&Evidence> for EvidenceStatus {
    fn from(evidence: &Evidence) -> Self {
        Self {
            replica: evidence.signer().0,
            pillar: evidence.pillar().0,
            what: evidence.to_string(),
            digests: evidence.digests().map(|digest| digest.to_string()),
            messages: evidence.frames().map(|frame| frame.iter().map(|byte| format!("{byte:02x}")).collect()),
        }
    }
}

impl From<&crate::pinning::ThreadPlan> for Mode {
    fn from(plan: &crate::pinning::ThreadPlan) -> Self {
        let executor = match plan.executor {
            crate::pinning::ExecutorPlace::Inline => "inline",
            crate::pinning::ExecutorPlace::Thread => "thread",
        };
        Self {
            workers: plan.workers,
            executor: executor.to_owned(),
            crypto_threads: plan.crypto_threads,
            pinned: plan.pinned(),
        }
    }
}

fn add(total: &mut BTreeMap<String, u64>, part: BTreeMap<String, u64>) {
    for (name, count) in part {
        let sum = total.entry(name).or_default();
        *sum = sum.saturating_add(count);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn parts_merge_in_any_order() {
        let part = |pillar, count| PartialStatus {
            pillars: vec![PillarStatus { pillar, peers: 2, ..PillarStatus::default() }],
            counters: BTreeMap::from([("seals".to_owned(), count)]),
            ..PartialStatus::default()
        };
        let executor = PartialStatus {
            execution: Some(ExecutionStatus { executed_position: 7, ..ExecutionStatus::default() }),
            ..PartialStatus::default()
        };
        let merged = |parts: [PartialStatus; 3]| {
            let mut status = ReplicaStatus { replicas: 4, ..ReplicaStatus::default() };
            parts.into_iter().for_each(|part| status.merge(part));
            status
        };
        let status = merged([part(0, 2), part(1, 3), executor.clone()]);
        assert_eq!(status, merged([executor, part(1, 3), part(0, 2)]));
        assert_eq!(status.counters["seals"], 5);
        assert!(status.ready());
        let json = serde_json::to_value(&status).unwrap();
        assert_eq!(json["executed_position"], 7);
        assert_eq!(serde_json::from_value::<ReplicaStatus>(json).unwrap(), status);
    }

    #[test]
    fn while_it_recovers_it_is_not_ready() {
        let mut status = ReplicaStatus { replicas: 4, ..ReplicaStatus::default() };
        let pillar = PillarStatus { peers: 3, ..PillarStatus::default() };
        let recovering = Some("its checkpoint".to_owned());
        status.merge(PartialStatus { pillars: vec![pillar], recovering, ..PartialStatus::default() });
        status.merge(PartialStatus::default());
        assert!(!status.ready());
        status.recovering = None;
        assert!(status.ready());
    }

    #[test]
    fn without_a_quorum_of_links_it_is_not_ready() {
        let mut status = ReplicaStatus { replicas: 4, ..ReplicaStatus::default() };
        assert!(!status.ready());
        status.pillars.push(PillarStatus { peers: 1, ..PillarStatus::default() });
        assert!(!status.ready());
    }
}
