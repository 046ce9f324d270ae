use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hypostyle_app_api::{Digest, Instant, Position, ReplicaId, Round};
use hypostyle_probe::mark;

use super::TransferSettings;
use super::image::Image;
use super::message::{Telling, TransferMessage, Wanted};

/// Takes snapshots for replicas that ask, tells of them and sends their chunks. One for each asking replica: a new
/// question cancels the old one. What a replica can make this one do is bounded: snapshots by what they cost, chunks by a
/// rate.
#[derive(Debug)]
pub(super) struct Donor {
    settings: TransferSettings,
    /// By asking replica.
    requests: Box<[Option<Request>]>,
    /// When the replica may have the next snapshot taken; `None` while one is written for it.
    allowed_at: Box<[Option<Instant>]>,
    /// Those that requests are served from; replicas that ask at the same position share one.
    held: Vec<Held>,
    writing: Vec<Writing>,
    next_ticket: u64,
    position: Position,
    /// Since when the executor stands there.
    moved_at: Instant,
    pub(super) counters: DonorCounters,
}

/// What a donor has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DonorCounters {
    /// Snapshots taken.
    pub snapshots: u64,
    /// Chunks sent.
    pub chunks: u64,
}

#[derive(Debug)]
struct Request {
    id: u64,
    round: Round,
    /// The snapshot, once taken.
    ticket: Option<u64>,
    heard_at: Instant,
    queue: VecDeque<Wanted>,
    /// When the next chunk may leave.
    serve_at: Instant,
}

#[derive(Debug)]
struct Held {
    ticket: u64,
    position: Position,
    digest: Digest,
    image: Option<Arc<Image>>,
}

/// What is being written, since when, and for whom: it is put to their account even when they want it no more.
#[derive(Debug)]
struct Writing {
    ticket: u64,
    ordered_at: Instant,
    replicas: Vec<ReplicaId>,
}

/// Chunks that may wait for one asker.
const QUEUE_MAX: usize = 2 * super::IN_FLIGHT;
/// Between two chunks to one asker, in the long run: 32 MiB/s.
const PACE: Duration = Duration::from_millis(2);
/// How far ahead of its pace an asker may be.
const BURST: Duration = Duration::from_millis(16);
/// Writing snapshots for one replica takes at most the 8th part of a thread.
const REST: u32 = 8;
/// A request that hears nothing for so many timeouts is forgotten.
const FORGET: u32 = 20;

impl Donor {
    pub(super) fn new(settings: TransferSettings) -> Self {
        let replicas = usize::from(settings.replicas);
        Self {
            settings,
            requests: std::iter::repeat_with(|| None).take(replicas).collect(),
            allowed_at: vec![Some(Instant(0)); replicas].into(),
            held: Vec::new(),
            writing: Vec::new(),
            next_ticket: 0,
            position: Position(0),
            moved_at: Instant(0),
            counters: DonorCounters::default(),
        }
    }

    /// The executor stands here.
    pub(super) fn stands(&mut self, now: Instant, position: Position) {
        if position != self.position {
            (self.position, self.moved_at) = (position, now);
        }
    }

    /// The round after which the executor is to stop for a snapshot.
    pub(super) fn next_round(&self) -> Option<Round> {
        let open = self.requests.iter().flatten().filter(|request| request.ticket.is_none());
        open.map(|request| request.round).filter(|round| end_of(&self.settings, *round) > self.position).min()
    }

    /// Takes no more snapshots for now: this replica's own state is in doubt, or about to be replaced.
    pub(super) fn refuse(&mut self) {
        for request in &mut self.requests {
            request.take_if(|request| request.ticket.is_none());
        }
    }

    pub(super) fn ask(&mut self, now: Instant, from: ReplicaId, id: u64, round: Round) {
        let request = &mut self.requests[from.index()];
        if request.as_ref().is_none_or(|request| request.id != id) {
            let (queue, serve_at) = (VecDeque::new(), now);
            *request = Some(Request { id, round, ticket: None, heard_at: now, queue, serve_at });
            self.drop_unused();
        }
        let Some(request) = &mut self.requests[from.index()] else { return };
        request.heard_at = now;
    }

    pub(super) fn close(&mut self, from: ReplicaId, id: u64) {
        let request = &mut self.requests[from.index()];
        if request.as_ref().is_some_and(|request| request.id == id) {
            *request = None;
            self.drop_unused();
        }
    }

    /// How the request of `to` stands.
    pub(super) fn answer(&self, to: ReplicaId) -> Option<TransferMessage> {
        let request = self.requests[to.index()].as_ref()?;
        let held = request.ticket.and_then(|ticket| self.held.iter().find(|held| held.ticket == ticket));
        let id = request.id;
        Some(match held.and_then(Held::telling) {
            Some(telling) => TransferMessage::Tell { id, telling },
            None => TransferMessage::Standing { id, position: self.position, writing: held.is_some() },
        })
    }

    /// Whose snapshot is due now, because the executor stands after the round it named, or has stood still below it.
    pub(super) fn due(&self, now: Instant) -> Vec<ReplicaId> {
        let replicas = (0..self.settings.replicas).map(ReplicaId);
        replicas.filter(|replica| self.due_at(*replica).is_some_and(|at| at <= now)).collect()
    }

    /// Gives the replicas the snapshot of the present state. `Some` when it is to be written: it may be there already.
    pub(super) fn take(&mut self, now: Instant, digest: Digest, to: Vec<ReplicaId>) -> Option<u64> {
        let there = self.held.iter().find(|held| held.position == self.position && held.digest == digest);
        let there = there.map(|held| (held.ticket, held.image.is_some()));
        let ticket = there.map_or(self.next_ticket, |(ticket, _)| ticket);
        for replica in &to {
            let request = self.requests[replica.index()].as_mut().expect("a snapshot is due for it");
            if self.position < end_of(&self.settings, request.round) {
                mark!("transfer: snapshot taken standing still");
            }
            request.ticket = Some(ticket);
            let rested = now + self.settings.patience;
            self.allowed_at[replica.index()] = matches!(there, Some((_, true))).then_some(rested);
        }
        if there.is_some() {
            mark!("transfer: two askers share a snapshot");
            let writing = self.writing.iter_mut().find(|writing| writing.ticket == ticket);
            writing.into_iter().for_each(|writing| writing.replicas.extend(&to));
            return None;
        }
        self.next_ticket += 1;
        self.counters.snapshots += 1;
        self.held.push(Held { ticket, position: self.position, digest, image: None });
        self.writing.push(Writing { ticket, ordered_at: now, replicas: to });
        Some(ticket)
    }

    /// A snapshot is written; `None` when that failed. Returns who waits for it.
    pub(super) fn written(&mut self, now: Instant, ticket: u64, image: Option<Image>) -> Vec<ReplicaId> {
        let Some(index) = self.writing.iter().position(|writing| writing.ticket == ticket) else {
            return Vec::new();
        };
        let Writing { ordered_at, replicas, .. } = self.writing.swap_remove(index);
        let rested = now + self.settings.patience.max(REST * now.since(ordered_at));
        replicas.iter().for_each(|replica| self.allowed_at[replica.index()] = Some(rested));
        let Some(held) = self.held.iter_mut().find(|held| held.ticket == ticket) else { return Vec::new() };
        match image {
            Some(image) => held.image = Some(Arc::new(image)),
            None => self.held.retain(|held| held.ticket != ticket),
        }
        let requests = (0..).map(ReplicaId).zip(&self.requests);
        let waiting =
            requests.filter(|(_, request)| request.as_ref().is_some_and(|r| r.ticket == Some(ticket)));
        waiting.map(|(replica, _)| replica).collect()
    }

    /// Chunks are asked for; they leave at their pace. `Some` says that there are none.
    pub(super) fn fetch(
        &mut self,
        now: Instant,
        from: ReplicaId,
        root: Digest,
        wanted: Vec<Wanted>,
    ) -> Option<TransferMessage> {
        let image = self.image_of(from).filter(|image| image.root() == root);
        let Some(request) = self.requests[from.index()].as_mut().filter(|_| image.is_some()) else {
            return Some(TransferMessage::Gone { root });
        };
        request.heard_at = now;
        let room = QUEUE_MAX.saturating_sub(request.queue.len());
        request.queue.extend(wanted.into_iter().take(room));
        None
    }

    /// The chunks that may leave now.
    pub(super) fn serve(&mut self, now: Instant, out: &mut Vec<(ReplicaId, TransferMessage)>) {
        for index in 0..self.requests.len() {
            let replica = ReplicaId(u16::try_from(index).expect("n fits 16 bits"));
            let image = self.image_of(replica);
            let (Some(request), Some(image)) = (&mut self.requests[index], image) else { continue };
            while request.serve_at <= now {
                let Some(wanted) = request.queue.pop_front() else { break };
                // An idle asker saves up a burst and no more.
                request.serve_at = request.serve_at.max(Instant(now.0.saturating_sub(nanos(BURST)))) + PACE;
                if let Some(chunk) = chunk(&image, wanted) {
                    self.counters.chunks += 1;
                    out.push((replica, chunk));
                }
            }
        }
    }

    /// Forgets requests of replicas that went silent.
    pub(super) fn expire(&mut self, now: Instant) {
        let lifetime = FORGET * self.settings.patience;
        for request in &mut self.requests {
            if request.as_ref().is_some_and(|request| request.heard_at + lifetime <= now) {
                *request = None;
            }
        }
        self.drop_unused();
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let each = (0..).map(ReplicaId).zip(&self.requests).filter_map(|(replica, request)| {
            let request = request.as_ref()?;
            let serve = (!request.queue.is_empty()).then_some(request.serve_at);
            let forget = request.heard_at + FORGET * self.settings.patience;
            [self.due_at(replica), serve, Some(forget)].into_iter().flatten().min()
        });
        each.min()
    }

    /// When the replica's snapshot is to be taken, if the executor goes no further until then.
    fn due_at(&self, replica: ReplicaId) -> Option<Instant> {
        let request = self.requests[replica.index()].as_ref()?;
        let end = end_of(&self.settings, request.round);
        let open = request.ticket.is_none() && self.position.0 > 0 && self.position <= end;
        let allowed = self.allowed_at[replica.index()].filter(|_| open)?;
        Some(if self.position == end { allowed } else { allowed.max(self.moved_at + self.settings.patience) })
    }

    fn image_of(&self, replica: ReplicaId) -> Option<Arc<Image>> {
        let ticket = self.requests[replica.index()].as_ref()?.ticket?;
        self.held.iter().find(|held| held.ticket == ticket)?.image.clone()
    }

    fn drop_unused(&mut self) {
        let requests = &self.requests;
        self.held.retain(|held| requests.iter().flatten().any(|request| request.ticket == Some(held.ticket)));
    }
}

impl Held {
    fn telling(&self) -> Option<Telling> {
        let image = self.image.as_ref()?;
        let (position, digest) = (self.position, self.digest);
        Some(Telling { position, digest, root: image.root(), length: image.length() })
    }
}

fn end_of(settings: &TransferSettings, round: Round) -> Position {
    Position(round.0.saturating_mul(u64::from(settings.pillars)))
}

/// Without its bytes when the asker has them from an older snapshot.
fn chunk(image: &Image, wanted: Wanted) -> Option<TransferMessage> {
    let (data, leaf, path) = image.chunk(wanted.index)?;
    let data = if leaf == wanted.have { Bytes::new() } else { data.clone() };
    Some(TransferMessage::Chunk { root: image.root(), index: wanted.index, path, data })
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
