use std::collections::BTreeMap;

use hypostyle_app_api::{ClientId, ReplicaId};
use hypostyle_pillars::{Rejected, Source};

/// What one worker counts: plain numbers of its own thread, summed over the workers when somebody asks.
#[derive(Debug)]
pub(crate) struct Counters {
    /// Sealed bundles that left, and statements in them.
    pub(crate) bundles: u64,
    pub(crate) statements: u64,
    /// Own signatures over statements or replies, and entries under them.
    pub(crate) seals: u64,
    pub(crate) seal_entries: u64,
    /// Decided slots: with requests, their operations, and without.
    pub(crate) batches: u64,
    pub(crate) batched_operations: u64,
    pub(crate) empty_slots: u64,
    /// VIEW-CHANGEs and NEW-VIEWs made here, and views entered.
    pub(crate) declarations: u64,
    pub(crate) views_entered: u64,
    /// Replies sent.
    pub(crate) reply_groups: u64,
    /// Of each replica: how often it has contradicted itself under its signature.
    equivocations: Vec<u64>,
    replicas: Vec<[u64; Rejected::ALL.len()]>,
    clients: BTreeMap<ClientId, [u64; Rejected::ALL.len()]>,
}

impl Counters {
    pub(crate) fn new(replicas: u16) -> Self {
        Self {
            bundles: 0,
            statements: 0,
            seals: 0,
            seal_entries: 0,
            batches: 0,
            batched_operations: 0,
            empty_slots: 0,
            declarations: 0,
            views_entered: 0,
            reply_groups: 0,
            equivocations: vec![0; usize::from(replicas)],
            replicas: vec![[0; Rejected::ALL.len()]; usize::from(replicas)],
            clients: BTreeMap::new(),
        }
    }

    pub(crate) fn refuse(&mut self, source: Source, reason: Rejected) {
        let counts = match source {
            Source::Peer(replica) => self.replicas.get_mut(replica.index()),
            // Registered clients only, so the map is bounded by the configuration.
            Source::Client(client) => Some(self.clients.entry(client).or_default()),
        };
        if let Some(counts) = counts {
            counts[reason.index()] += 1;
        }
    }

    /// Counts an equivocation; whether it is the first of its replica.
    pub(crate) fn equivocated(&mut self, replica: ReplicaId) -> bool {
        let count = &mut self.equivocations[replica.index()];
        *count += 1;
        *count == 1
    }

    /// Of each replica: how often it has contradicted itself under its signature.
    pub(crate) fn equivocations(&self) -> &[u64] {
        &self.equivocations
    }

    /// n: accounts of the clients follow those of the replicas.
    pub(crate) fn replicas(&self) -> usize {
        self.replicas.len()
    }

    /// Counts by name.
    pub(crate) fn named(&self) -> [(&'static str, u64); 10] {
        [
            ("bundles", self.bundles),
            ("statements", self.statements),
            ("seals", self.seals),
            ("seal_entries", self.seal_entries),
            ("batches", self.batches),
            ("batched_operations", self.batched_operations),
            ("empty_slots", self.empty_slots),
            ("declarations", self.declarations),
            ("views_entered", self.views_entered),
            ("reply_groups", self.reply_groups),
        ]
    }

    /// Refusals by "peer: reason": every one of the replicas, and the clients that had any.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (String, u64)> {
        let replicas =
            (0..).map(ReplicaId).zip(&self.replicas).map(|(id, counts)| (format!("replica {id}"), counts));
        let clients = self.clients.iter().map(|(id, counts)| (format!("client {id}"), counts));
        replicas.chain(clients).flat_map(|(peer, counts)| {
            let named = Rejected::ALL.into_iter().zip(counts);
            named.map(move |(reason, count)| (format!("{peer}: {reason}"), *count)).collect::<Vec<_>>()
        })
    }
}
