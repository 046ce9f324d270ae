//! What a replica may come to hold, whatever its peers and clients do: A + B·P·L·n + C·clients bytes. The simulator counts
//! what replicas allocate and holds them to it.

use hypostyle_crypto::{Entry, SEAL_ENTRIES_MAX};
use hypostyle_pillars::message::{BUNDLE_MAX, RequestRef, SealedBundle, Statement};

use super::cluster::ClusterConfig;
use super::limits::{MESSAGE_HEADER, PREPARED, SEAL_ENTRY, STATEMENT};
use crate::order_log::{OrderEntry, OrderedRequest};
use crate::replica::{ORDER_ENTRIES_MAX, ORDER_REQUESTS_MAX};
use crate::reply::Answer;

/// What a block or a map's entry takes beside its content.
const PLACE: usize = 64;
/// A worker's verified claims and read buffer, and what a pillar has once: a pillar may have a worker to itself.
const WORKER: usize = 1 << 20;
/// What a replica has once.
const REPLICA: usize = 256 << 10;
/// A slot without votes and bodies.
const SLOT: usize = 512;
/// Windows of slots that a pillar keeps: one below what is stable and executed, and where the merge lies behind, four above.
const WINDOWS: usize = 5;
/// Bundles that a slot keeps of a replica: two votes of each kind, and one in each of two certificates of other views.
const BUNDLES: usize = 6;
/// A correct replica's bundle serves as many slots as it has statements, but for the few whose slots are gone.
const STATEMENTS: usize = 4;
/// Batches that line up at a primary, and at a backup.
const QUEUED: usize = 64;
const PENDING: usize = 4;
/// The shortest request.
const REQUEST: usize = 64;

impl ClusterConfig {
    /// What a replica may come to hold beside the application's state and its snapshots (one for each peer that asks, and
    /// one it fetches) and what is only passing through: the connections' buffers and what is being verified.
    #[must_use]
    pub fn memory_bound(&self) -> u64 {
        let pillar = self.slots_memory() + self.view_changes_memory() + self.queues_memory() + WORKER;
        let order = ORDER_ENTRIES_MAX * (size_of::<OrderEntry>() + PLACE)
            + (ORDER_REQUESTS_MAX + self.batch_max as usize) * size_of::<OrderedRequest>();
        let checkpoints = (2 * self.window / self.checkpoint_interval) as usize + 3;
        let fixed = REPLICA + order + checkpoints * self.bundles_memory() + self.catch_up_bytes;
        let clients = self.clients.len() * self.client_memory();
        let all = fixed + usize::from(self.pillars) * pillar + clients;
        u64::try_from(all).expect("64 bits hold a size")
    }

    /// Slots with their votes and bodies, and bodies that have no slot yet. Of slots that are open faulty primaries may
    /// leave a body each beside the one that counts.
    fn slots_memory(&self) -> usize {
        let (window, pipeline) = (self.window as usize, self.pipeline.min(self.window) as usize);
        let slot =
            SLOT + self.n() * 4 * PLACE + BUNDLES * self.bundles_memory() + self.largest_bundle_memory();
        let bodies = (WINDOWS + self.f()) * window + pipeline;
        WINDOWS * window * slot + bodies * self.body_memory()
    }

    /// A primary's own body may have room for as much again, and a long one pins the buffer it was read into. Each of its
    /// requests may be doubted.
    fn body_memory(&self) -> usize {
        let request = size_of::<RequestRef>() + PLACE;
        2 * self.body_max() + self.batch_max as usize * request + 2 * PLACE
    }

    /// VIEW-CHANGEs: the latest of each replica, those that each replica's NEW-VIEW names and those of the present view;
    /// two in each evidence, and the own ones being signed. NEW-VIEWs: of each replica, of the present view and in evidence.
    fn view_changes_memory(&self) -> usize {
        let (n, quorum) = (self.n(), self.quorum());
        let changes = n + n * quorum + quorum + 2 * n + 2;
        let new_view = 2 * (MESSAGE_HEADER + quorum * (2 + 32)) + self.largest_bundle_memory();
        changes * self.view_change_memory() + (3 * n + 1) * new_view
    }

    /// For each slot of the window a bundle of each of 2f+1 replicas, f of which make theirs as long as they may.
    fn view_change_memory(&self) -> usize {
        let faulty = self.f() * self.largest_bundle_memory();
        let correct = (self.f() + 1) * self.correct_bundle_memory();
        let window = self.window as usize;
        self.largest_bundle_memory() + window * 2 * PREPARED + (window + 1) * (faulty + correct)
    }

    /// Requests that line up: those from clients, those that backups have passed on, and those that this replica expects
    /// others to serve.
    fn queues_memory(&self) -> usize {
        let operations = self.clients.len() * 2 * self.client_window as usize;
        let bytes = (QUEUED * self.batch_bytes).min(operations.saturating_mul(self.request_max));
        let requests = operations.min(QUEUED * self.batch_bytes / REQUEST);
        let passed = self.batch_bytes + self.n() * self.request_max;
        let pending = PENDING * (self.batch_bytes + self.batch_max as usize * 8 * PLACE);
        // Growing buffers are up to twice as long as what is in them.
        2 * (bytes + requests * (size_of::<RequestRef>() + PLACE) + passed + pending)
    }

    /// Its answers and results, the numbers that each pillar has taken up, and the replies being made.
    fn client_memory(&self) -> usize {
        let window = (self.client_window as usize).next_power_of_two();
        let ring = window * 2 * size_of::<Answer>();
        let results = self.client_result_bytes + window * 2 * PLACE;
        let bits = usize::from(self.pillars) * (2 * PLACE + window / 2);
        // With tags: two sessions, and when the former ends.
        let sessions = usize::from(self.pillars) * 4 * PLACE;
        let replies = 2 * (window * 2 * size_of::<Answer>() + self.client_result_bytes + self.reply_max);
        16 * PLACE + ring + results + bits + sessions + replies
    }

    /// A bundle of every replica, f of which make theirs as long as they may.
    fn bundles_memory(&self) -> usize {
        (self.n() - self.f()) * self.correct_bundle_memory() + self.f() * self.largest_bundle_memory()
    }

    fn largest_bundle_memory(&self) -> usize {
        self.bundle_memory(BUNDLE_MAX, SEAL_ENTRIES_MAX)
    }

    fn correct_bundle_memory(&self) -> usize {
        let entries = (2 * usize::from(self.pillars) + 1).min(SEAL_ENTRIES_MAX);
        self.bundle_memory(usize::from(self.bundle).min(STATEMENTS), entries)
    }

    /// As it travels and as it was decoded.
    fn bundle_memory(&self, statements: usize, entries: usize) -> usize {
        let statements = statements * (STATEMENT + size_of::<Statement>());
        let entries = entries * (SEAL_ENTRY + size_of::<Entry>());
        size_of::<SealedBundle>() + 4 * PLACE + statements + entries + 2 * self.auth.signature_len()
    }
}
