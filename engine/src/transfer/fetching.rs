use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use hypostyle_app_api::{Digest, Instant, ReplicaId};
use hypostyle_crypto::merkle::{leaf, root_from_path};
use hypostyle_probe::mark;

use super::asker::Outgoing;
use super::image::{chunk_len, chunks_in};
use super::message::{FETCH_MAX, Telling, TransferMessage, Wanted};
use super::{IN_FLIGHT, TransferSettings};

/// Fetches the chunks of one snapshot from several donors at once; each proves itself against the root when it comes.
#[derive(Debug)]
pub(super) struct Fetching {
    telling: Telling,
    /// A chunk that isn't there for so long is asked of another.
    patience: Duration,
    chunks: Vec<Option<(Digest, Bytes)>>,
    left: usize,
    /// Those that no donor was asked for.
    unasked: VecDeque<u32>,
    donors: Vec<Donor>,
}

#[derive(Debug)]
struct Donor {
    replica: ReplicaId,
    /// Chunks asked for, and when.
    asked: Vec<(u32, Instant)>,
    /// How often it let the time pass since it last sent a chunk.
    strikes: u32,
}

/// A chunk as it comes.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) root: Digest,
    pub(super) index: u32,
    pub(super) path: Vec<Digest>,
    /// None: it is the one an older snapshot has there.
    pub(super) data: Bytes,
}

/// What came of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Taken,
    /// It is the one an older snapshot has there.
    Reused,
    /// It is there already, or its sender is no donor.
    Unasked,
    /// It isn't the snapshot's: its sender is faulty.
    Lie,
}

/// Chunks of snapshots that were given up, by index.
type Older = [Option<(Digest, Bytes)>];

/// A chunk is asked of another donor after the 4th part of `view_timeout`: a full queue may have lost it.
const OVERDUE: u32 = 4;
/// A donor that lets that time pass so often, and sends nothing meanwhile, is given up.
const STRIKES: u32 = 6;

impl Fetching {
    pub(super) fn new(settings: &TransferSettings, telling: Telling) -> Self {
        let count = chunks_in(telling.length).expect("a telling is checked when it is decoded");
        Self {
            telling,
            patience: settings.patience / OVERDUE,
            chunks: vec![None; count as usize],
            left: count as usize,
            unasked: (0..count).collect(),
            donors: Vec::new(),
        }
    }

    pub(super) fn telling(&self) -> &Telling {
        &self.telling
    }

    pub(super) fn has_donors(&self) -> bool {
        !self.donors.is_empty()
    }

    /// One more replica has the snapshot.
    pub(super) fn join(&mut self, now: Instant, replica: ReplicaId, older: &Older, out: &mut Outgoing) {
        self.donors.push(Donor { replica, asked: Vec::new(), strikes: 0 });
        self.ask(now, older, out);
    }

    /// A donor is one no more. Whether it was.
    pub(super) fn leave(
        &mut self,
        now: Instant,
        replica: ReplicaId,
        older: &Older,
        out: &mut Outgoing,
    ) -> bool {
        let Some(index) = self.donors.iter().position(|donor| donor.replica == replica) else { return false };
        mark!("transfer: donor switched");
        let donor = self.donors.swap_remove(index);
        self.ask_others(donor.asked);
        self.ask(now, older, out);
        true
    }

    pub(super) fn chunk(
        &mut self,
        now: Instant,
        from: ReplicaId,
        piece: &Piece,
        older: &Older,
        out: &mut Outgoing,
    ) -> Outcome {
        let Piece { root, index, path, data } = piece;
        let place = *index as usize;
        let wanted = *root == self.telling.root && self.chunks.get(place).is_some_and(Option::is_none);
        if !wanted || !self.donors.iter().any(|donor| donor.replica == from) {
            return Outcome::Unasked;
        }
        let reused = data.is_empty();
        let chunk = match older.get(place) {
            Some(Some(chunk)) if reused => chunk.clone(),
            _ => (leaf(data), data.clone()),
        };
        let proved = root_from_path(chunk.0, place, self.chunks.len(), path) == Some(self.telling.root);
        if !proved || chunk.1.len() != chunk_len(self.telling.length, *index) {
            self.leave(now, from, older, out);
            return Outcome::Lie;
        }
        self.chunks[place] = Some(chunk);
        self.left -= 1;
        for donor in &mut self.donors {
            donor.asked.retain(|(asked, _)| asked != index);
            donor.strikes *= u32::from(donor.replica != from);
        }
        self.ask(now, older, out);
        if reused {
            mark!("transfer: chunk reused");
            return Outcome::Reused;
        }
        Outcome::Taken
    }

    /// Chunks that are overdue are asked of others; how many donors were given up.
    pub(super) fn expire(&mut self, now: Instant, older: &Older, out: &mut Outgoing) -> u64 {
        let patience = self.patience;
        let mut overdue = Vec::new();
        for donor in &mut self.donors {
            if donor.asked.iter().any(|(_, at)| *at + patience <= now) {
                donor.strikes += 1;
                overdue.append(&mut donor.asked);
            }
        }
        if overdue.is_empty() {
            return 0;
        }
        mark!("transfer: chunk overdue");
        self.ask_others(overdue);
        let before = self.donors.len();
        self.donors.retain(|donor| donor.strikes < STRIKES);
        let switched = before - self.donors.len();
        if switched > 0 {
            mark!("transfer: donor switched");
        }
        // Those that kept their word come first.
        self.donors.sort_by_key(|donor| donor.strikes);
        self.ask(now, older, out);
        switched as u64
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let asked = self.donors.iter().flat_map(|donor| &donor.asked);
        asked.map(|(_, at)| *at + self.patience).min()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.left == 0
    }

    /// All chunks, once they are there.
    pub(super) fn complete(&self) -> Option<(Telling, Vec<Bytes>)> {
        let bytes = |chunk: &Option<(Digest, Bytes)>| chunk.as_ref().map(|(_, bytes)| bytes.clone());
        self.is_complete().then(|| (self.telling, self.chunks.iter().filter_map(bytes).collect()))
    }

    /// Leaves what has come to another snapshot.
    pub(super) fn give_up(self, older: &mut Vec<Option<(Digest, Bytes)>>) {
        older.resize(self.chunks.len().max(older.len()), None);
        for (place, chunk) in older.iter_mut().zip(self.chunks) {
            if chunk.is_some() {
                *place = chunk;
            }
        }
    }

    fn ask_others(&mut self, asked: Vec<(u32, Instant)>) {
        for (index, _) in asked.into_iter().rev() {
            self.unasked.push_front(index);
        }
    }

    fn ask(&mut self, now: Instant, older: &Older, out: &mut Outgoing) {
        let Self { donors, unasked, chunks, telling, .. } = self;
        for donor in donors {
            let mut wanted = Vec::new();
            while donor.asked.len() < IN_FLIGHT && wanted.len() < FETCH_MAX {
                let Some(index) = unasked.pop_front() else { break };
                if chunks[index as usize].is_some() {
                    continue;
                }
                let have = older.get(index as usize).and_then(Option::as_ref);
                let have = have.map_or(Digest::ZERO, |(leaf, _)| *leaf);
                donor.asked.push((index, now));
                wanted.push(Wanted { index, have });
            }
            if !wanted.is_empty() {
                out.push((donor.replica, TransferMessage::Fetch { root: telling.root, wanted }));
            }
        }
    }
}
