//! What a single replica that never fails would do: it executes what was decided as soon as any correct replica has, with
//! no bug switched on.

use std::collections::BTreeMap;

use hypostyle::config::ClusterConfig;
use hypostyle::executor::{Executor, ExecutorOutbox, ExecutorSettings, Incarnation, Output};
use hypostyle_app_api::{Digest, PillarId, Position, ReplicaId, Round, Seq};
use hypostyle_pillars::Decided;

use crate::sim::service::{Executed, Service};

/// The single-node execution.
pub(super) struct Reference {
    executor: Executor<Service>,
    outbox: ExecutorOutbox,
    digests: BTreeMap<Round, Digest>,
    /// Decided slots wait here: rings of the executor's size would overflow while one pillar is far behind.
    waiting: Vec<std::collections::VecDeque<Option<Decided>>>,
    pillars: u16,
    checkpoint_interval: u64,
    window: u64,
}

impl Reference {
    pub(super) fn new(cluster: &ClusterConfig) -> Self {
        Self {
            executor: Executor::new(ExecutorSettings::new(cluster, ReplicaId(0)), Service::new()),
            outbox: ExecutorOutbox::default(),
            digests: BTreeMap::new(),
            waiting: vec![std::collections::VecDeque::new(); usize::from(cluster.pillars)],
            pillars: cluster.pillars,
            checkpoint_interval: u64::from(cluster.checkpoint_interval),
            window: u64::from(cluster.window),
        }
    }

    /// Takes a slot that is decided for the first time; returns what could be executed with it.
    pub(super) fn decided(&mut self, decided: &Decided) -> Vec<Decided> {
        let next = self.executor.executed(decided.pillar).0 + 1;
        let waiting = &mut self.waiting[decided.pillar.index()];
        let place = usize::try_from(decided.seq.0 - next).expect("few slots");
        if waiting.len() <= place {
            waiting.resize(place + 1, None);
        }
        waiting[place] = Some(decided.clone());
        hypostyle_probe::suspended(|| self.execute())
    }

    pub(super) fn service(&self) -> &Service {
        self.executor.application()
    }

    pub(super) fn journal(&self) -> &[Executed] {
        self.service().journal()
    }

    pub(super) fn slots(&self) -> u64 {
        self.executor.position().0
    }

    /// The latest recovery of a replica, and from which round on that lets it vote.
    pub(super) fn recovery(&self, replica: ReplicaId) -> (&Incarnation, Round) {
        let record = self.executor.incarnations().of(replica);
        (record, record.votes_from(self.checkpoint_interval, self.window))
    }

    /// Whether what a replica declared as some incarnation binds nobody who has executed up to a position.
    pub(super) fn is_void(&self, (replica, incarnation): (ReplicaId, u64), executed: Position) -> bool {
        let record = self.executor.incarnations().of(replica);
        let pillar = PillarId(replica.0 % self.pillars);
        record.incarnation > incarnation && Position::of(pillar, Seq(record.round.0), self.pillars) < executed
    }

    pub(super) fn position(&self) -> Position {
        self.executor.position()
    }

    /// The digest of the state after a round.
    pub(super) fn digest_at(&self, round: Round) -> Option<Digest> {
        self.digests.get(&round).copied()
    }

    fn execute(&mut self) -> Vec<Decided> {
        let mut executed = Vec::new();
        loop {
            let (pillar, _) = self.executor.position().slot(self.pillars);
            let waiting = &mut self.waiting[pillar.index()];
            if !matches!(waiting.front(), Some(Some(_))) {
                return executed;
            }
            let Some(Some(slot)) = waiting.pop_front() else { return executed };
            executed.push(slot.clone());
            self.executor.decided(slot).expect("the next slot is taken");
            while self.executor.run(usize::MAX, &mut self.outbox) {}
            for output in self.outbox.outputs.drain(..) {
                if let Output::Checkpoint { round, digest } = output {
                    self.digests.insert(round, digest);
                }
            }
            let replies = std::mem::take(&mut self.outbox.replies);
            replies.into_iter().for_each(|group| self.executor.recycle(group));
            self.outbox.clear();
        }
    }
}
