//! State transfer (TOCS'02, section 5.3, over snapshots): a replica that is behind, or whose state differs, takes over the
//! state of f+1 others. Sans I/O, both sides. Nothing of it is ordered, so that a laggard is rescued even when its vote is
//! the one that is missing.
//!
//! The *asker* names a round c some margin above what peers have executed. Each *donor* takes a snapshot when it executes
//! c, or where it stands when it doesn't move, and tells position, state digest, chunk root and length. f+1 equal tellings
//! are one of a correct replica. Chunks come from all who told so, and prove themselves against the root.

mod asker;
mod donor;
mod fetching;
mod image;
mod kept;
mod message;

use std::time::Duration;

use bytes::Bytes;
use hypostyle_app_api::{Digest, Instant, Now, Position, ReplicaId, Round};

use crate::config::ClusterConfig;
use asker::Asker;
pub use asker::AskerCounters;
use donor::Donor;
pub use donor::DonorCounters;
use fetching::Piece;
pub use image::{CHUNK_BYTES, Image, ImageReader, ImageWriter, NotZero};
pub use kept::KeptSlots;
pub use message::{FETCH_MAX, MESSAGE_MAX, Telling, TransferMessage, Wanted};

/// Both sides of one replica.
#[derive(Debug)]
pub struct Transfer {
    asker: Asker,
    donor: Donor,
    settings: TransferSettings,
    out: Vec<(ReplicaId, TransferMessage)>,
}

/// What a transfer knows of the cluster configuration.
#[derive(Clone, Debug)]
pub struct TransferSettings {
    /// This replica.
    pub me: ReplicaId,
    /// n.
    pub replicas: u16,
    /// P.
    pub pillars: u16,
    /// K: rounds between checkpoints.
    pub checkpoint_interval: u64,
    /// L: slots above the stable round.
    pub window: u64,
    /// How long to wait for an answer, and how long a donor stands still before it takes a snapshot there: `view_timeout`.
    pub patience: Duration,
}

/// Chunks asked of one donor at a time.
const IN_FLIGHT: usize = FETCH_MAX;

impl TransferSettings {
    /// The settings of replica `me` of a validated configuration.
    ///
    /// # Panics
    /// When there are more replicas than ids: the configuration was not validated.
    #[must_use]
    pub fn new(cluster: &ClusterConfig, me: ReplicaId) -> Self {
        Self {
            me,
            replicas: u16::try_from(cluster.replicas.len()).expect("validated"),
            pillars: cluster.pillars,
            checkpoint_interval: u64::from(cluster.checkpoint_interval),
            window: u64::from(cluster.window),
            patience: cluster.view_timeout,
        }
    }

    fn faults(&self) -> usize {
        usize::from(self.replicas / 3)
    }

    fn peers(&self) -> impl Iterator<Item = ReplicaId> + use<> {
        let me = self.me;
        (0..self.replicas).map(ReplicaId).filter(move |peer| *peer != me)
    }
}

impl Transfer {
    /// Nothing is asked for.
    #[must_use]
    pub fn new(settings: TransferSettings) -> Self {
        let (asker, donor) = (Asker::new(settings.clone()), Donor::new(settings.clone()));
        Self { asker, donor, settings, out: Vec::new() }
    }

    /// Whether this replica is taking over a state.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.asker.is_open()
    }

    /// Begins to take over a state at position `least` or above, whatever was begun before. `told` are the rounds that the
    /// replicas are known to have executed.
    pub fn begin(&mut self, now: Now, told: &[Round], least: Position) {
        self.donor.refuse();
        self.asker.knows(told);
        // The wall clock tells the questions of this process from those of one before it.
        self.asker.begin(now.instant, now.wall.0, least, &mut self.out);
    }

    /// Whether another snapshot was asked for since the last call.
    pub fn asked_anew(&mut self) -> bool {
        std::mem::take(&mut self.asker.asked_anew)
    }

    /// A peer says something.
    pub fn message(&mut self, now: Instant, from: ReplicaId, message: TransferMessage) {
        if from == self.settings.me || from.0 >= self.settings.replicas {
            return;
        }
        let out = &mut self.out;
        match message {
            // Whose own state is in doubt, or old, gives none.
            TransferMessage::Ask { .. } if self.asker.is_open() => {}
            TransferMessage::Ask { id, round } => {
                self.donor.ask(now, from, id, round);
                out.extend(self.donor.answer(from).map(|answer| (from, answer)));
            }
            TransferMessage::Fetch { root, wanted } => {
                out.extend(self.donor.fetch(now, from, root, wanted).map(|answer| (from, answer)));
                self.donor.serve(now, out);
            }
            TransferMessage::Close { id } => self.donor.close(from, id),
            TransferMessage::Standing { id, position, writing } => {
                self.asker.standing(now, from, (id, position, writing), out);
            }
            TransferMessage::Tell { id, telling } => self.asker.told(now, from, (id, telling), out),
            TransferMessage::Chunk { root, index, path, data } => {
                self.asker.chunk(now, from, &Piece { root, index, path, data }, out);
            }
            TransferMessage::Gone { root } => self.asker.gone(now, from, root, out),
        }
    }

    /// The executor stands here.
    pub fn stands(&mut self, now: Instant, position: Position) {
        self.donor.stands(now, position);
    }

    /// The round after which the executor is to stop and look at [`Transfer::due`].
    #[must_use]
    pub fn next_round(&self) -> Option<Round> {
        self.donor.next_round()
    }

    /// Who is to have a snapshot of the present state.
    #[must_use]
    pub fn due(&self, now: Instant) -> Vec<ReplicaId> {
        self.donor.due(now)
    }

    /// The present state, with this digest, is for them. The ticket under which it is to be written, unless it is already.
    pub fn take(&mut self, now: Instant, digest: Digest, to: Vec<ReplicaId>) -> Option<u64> {
        self.donor.take(now, digest, to)
    }

    /// A snapshot is written; `None` when that failed.
    pub fn written(&mut self, now: Instant, ticket: u64, image: Option<Image>) {
        for replica in self.donor.written(now, ticket, image) {
            self.out.extend(self.donor.answer(replica).map(|answer| (replica, answer)));
        }
    }

    /// The state to take over, once it is there whole. To be followed by [`Transfer::close`] or [`Transfer::failed`].
    #[must_use]
    pub fn complete(&self) -> Option<(Telling, Vec<Bytes>)> {
        self.asker.complete()
    }

    /// The state was taken over, or is not needed.
    pub fn close(&mut self, installed: bool) {
        self.asker.close(installed, &mut self.out);
    }

    /// The state could not be taken over: another is asked for after a while.
    pub fn failed(&mut self, now: Instant) {
        self.asker.failed(now, &mut self.out);
    }

    /// The snapshot is too old by now: asks for a newer one.
    pub fn retarget(&mut self, now: Instant, told: &[Round]) {
        self.asker.knows(told);
        self.asker.retarget(now, &mut self.out);
    }

    /// The time of [`Transfer::next_deadline`], or any other.
    pub fn tick(&mut self, now: Instant) {
        self.asker.tick(now, &mut self.out);
        self.donor.expire(now);
        self.donor.serve(now, &mut self.out);
    }

    /// When [`Transfer::tick`] and [`Transfer::due`] are to be called next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.asker.next_deadline().into_iter().chain(self.donor.next_deadline()).min()
    }

    /// What is to be sent.
    pub fn outputs(&mut self) -> std::vec::Drain<'_, (ReplicaId, TransferMessage)> {
        self.out.drain(..)
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> (AskerCounters, DonorCounters) {
        (self.asker.counters, self.donor.counters)
    }
}

#[cfg(test)]
mod tests;
