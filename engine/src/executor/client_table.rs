use std::collections::BTreeMap;

use bytes::Bytes;
use hypostyle_app_api::{ClientId, Digest, Number};
use hypostyle_crypto::{Hasher, sha256};
use hypostyle_probe::{Bug, bug};

use crate::reply::Answer;

mod image;

pub use image::{TableError, TableImage};

/// What the replicas remember of each client: which numbers are executed, and the results not yet acknowledged.
///
/// Part of the replicated state: all that is answered here is a function of the executed order and the configuration.
/// A number executes at most once: it is *due* when it is above the floor, within the window and not executed.
#[derive(Debug)]
pub struct ClientTable {
    limits: TableLimits,
    clients: Vec<Client>,
    /// To be hashed again, each once.
    changed: Vec<ClientId>,
    digests: Digests,
    scratch: Vec<u8>,
}

/// Bounds of a [`ClientTable`].
#[derive(Clone, Copy, Debug)]
pub struct TableLimits {
    /// W: how many numbers above a client's floor may execute.
    pub window: u32,
    /// Bytes of large results kept for a client.
    pub result_bytes: usize,
}

/// What is to be done with a number that was ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Execute it.
    Now,
    /// It is executed, acknowledged or void.
    Past,
    /// It is beyond the window.
    Far,
}

/// What is known of a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known<'a> {
    /// It is executed; a large result lies beside its answer when it is kept.
    Executed(&'a Answer, Option<&'a Bytes>),
    /// It is executed, but so much was executed since that its answer is forgotten.
    Forgotten,
    /// The client acknowledged it, or one above it: its result is gone, and if it wasn't executed it never will be.
    Acknowledged,
    /// It isn't executed.
    NotYet,
}

#[derive(Clone, Debug, Default)]
struct Client {
    /// All up to this number are acknowledged by the client.
    acknowledged: u64,
    /// All up to this number are executed or void.
    floor: u64,
    /// The highest number executed.
    highest: u64,
    /// No answer up to this number is kept: it is acknowledged, or as many as the ring holds were executed since.
    forgotten: u64,
    /// The answer of number x lies at x mod length, a power of two, at most the next from W on. The ring grows with
    /// what the client keeps unacknowledged; an answer up to `forgotten` counts as none.
    answers: Box<[Answer]>,
    /// Large results by number, `large_bytes` in all.
    large: BTreeMap<u64, Bytes>,
    large_bytes: usize,
    changed: bool,
}

impl ClientTable {
    /// A table of `clients` clients that have executed nothing.
    #[must_use]
    pub fn new(clients: u32, limits: TableLimits) -> Self {
        let states = std::iter::repeat_with(|| Client { changed: true, ..Client::default() });
        Self {
            limits,
            clients: states.take(clients as usize).collect(),
            changed: (0..clients).map(ClientId).collect(),
            digests: Digests::new(clients as usize),
            scratch: Vec::new(),
        }
    }

    /// The client has all results up to `floor`: they are forgotten, and what wasn't executed there never will be.
    /// True when there was any such number.
    pub fn acknowledge(&mut self, client: ClientId, floor: Number) -> bool {
        let state = &mut self.clients[client.index()];
        let voids = floor.0 > state.floor;
        if floor.0 > state.acknowledged {
            state.acknowledge(floor.0);
            self.change(client);
        }
        voids
    }

    /// Whether `number` is to be executed.
    #[must_use]
    pub fn due(&self, client: ClientId, number: Number) -> Due {
        let state = &self.clients[client.index()];
        if bug!(Bug::ExecutedAgain) && number.0 > state.acknowledged {
            Due::Now
        } else if number.0 <= state.floor || state.answer(number.0).is_some() {
            Due::Past
        } else if number.0 - state.floor > u64::from(self.limits.window) {
            Due::Far
        } else {
            Due::Now
        }
    }

    /// Remembers what a number that was [`Due::Now`] came to; `large` is the result whole when the answer holds its
    /// digest only.
    ///
    /// # Panics
    /// When the number is not due: it would execute twice.
    pub fn record(&mut self, client: ClientId, answer: Answer, large: Option<Bytes>) {
        let number = answer.number();
        assert_eq!(self.due(client, number), Due::Now, "client {client}, number {number}");
        let state = &mut self.clients[client.index()];
        state.record(answer, self.limits.window.next_power_of_two() as usize);
        if let Some(large) = large {
            state.keep_large(number.0, large, self.limits.result_bytes);
        }
        self.change(client);
    }

    /// What is known of a number.
    #[must_use]
    pub fn lookup(&self, client: ClientId, number: Number) -> Known<'_> {
        let state = &self.clients[client.index()];
        if number.0 <= state.acknowledged {
            Known::Acknowledged
        } else if let Some(answer) = state.answer(number.0) {
            Known::Executed(answer, state.large.get(&number.0))
        } else if number.0 <= state.floor {
            Known::Forgotten
        } else {
            Known::NotYet
        }
    }

    /// All numbers up to this one are executed or void.
    #[must_use]
    pub fn floor(&self, client: ClientId) -> Number {
        Number(self.clients[client.index()].floor)
    }

    /// The digest of the whole table. Only clients that changed since the last call are hashed again.
    pub fn digest(&mut self) -> Digest {
        for client in self.changed.drain(..) {
            let state = &mut self.clients[client.index()];
            state.changed = false;
            self.scratch.clear();
            state.encode(&mut self.scratch);
            self.digests.set(client.index(), sha256(&[&self.scratch]));
        }
        self.digests.combine()
    }

    fn change(&mut self, client: ClientId) {
        let state = &mut self.clients[client.index()];
        if !std::mem::replace(&mut state.changed, true) {
            self.changed.push(client);
        }
    }
}

/// Rings grow from here: most clients have few numbers outstanding.
const RING_MIN: usize = 4;

impl Client {
    fn acknowledge(&mut self, floor: u64) {
        self.acknowledged = floor;
        self.forget(floor);
        if floor > self.floor {
            self.floor = floor;
            self.advance();
        }
    }

    /// Puts in an answer; the ring may grow to `ring` places.
    fn record(&mut self, answer: Answer, ring: usize) {
        let number = answer.number().0;
        self.highest = self.highest.max(number);
        self.forget(self.highest.saturating_sub(ring as u64));
        self.make_room(number, ring);
        let place = self.place(number);
        self.answers[place] = answer;
        self.advance();
    }

    fn keep_large(&mut self, number: u64, large: Bytes, result_bytes: usize) {
        if large.len() <= result_bytes - self.large_bytes {
            self.large_bytes += large.len();
            self.large.insert(number, large);
        }
    }

    fn answer(&self, number: u64) -> Option<&Answer> {
        let answer = self.answers.get(self.place(number))?;
        (answer.number().0 == number && number > self.forgotten).then_some(answer)
    }

    fn place(&self, number: u64) -> usize {
        // The length is a power of two, or 0: then there is no such place.
        let mask = (self.answers.len() as u64).wrapping_sub(1);
        usize::try_from(number & mask).unwrap_or(usize::MAX)
    }

    /// Doubles the ring until `number` takes the place of no answer that is kept. With `ring` places it never does:
    /// what lay there is at least `ring` below the highest.
    fn make_room(&mut self, number: u64, ring: usize) {
        if self.answers.is_empty() {
            self.answers = vec![Answer::NONE; RING_MIN.min(ring)].into();
        }
        while self.answers.len() < ring && self.answers[self.place(number)].number().0 > self.forgotten {
            let larger = vec![Answer::NONE; 2 * self.answers.len()].into();
            for answer in std::mem::replace(&mut self.answers, larger) {
                let place = self.place(answer.number().0);
                if answer.number().0 > self.forgotten {
                    self.answers[place] = answer;
                }
            }
        }
    }

    /// Moves the floor over what is executed.
    fn advance(&mut self) {
        while self.floor.checked_add(1).is_some_and(|next| self.answer(next).is_some()) {
            self.floor += 1;
        }
    }

    fn forget(&mut self, up_to: u64) {
        self.forgotten = self.forgotten.max(up_to);
        while let Some(entry) = self.large.first_entry().filter(|entry| *entry.key() <= self.forgotten) {
            self.large_bytes -= entry.remove().len();
        }
    }

    /// The state as it is hashed: equal bytes, equal behaviour from here on. `highest` is that of the answers, or of
    /// no importance when none is kept.
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.acknowledged.to_le_bytes());
        out.extend_from_slice(&self.floor.to_le_bytes());
        for number in self.forgotten.saturating_add(1)..=self.highest {
            if let Some(answer) = self.answer(number) {
                answer.encode(out);
                out.push(u8::from(self.large.contains_key(&number)));
            }
        }
    }
}

/// The digests of clients, in groups, so that few changes among many clients cost little.
#[derive(Debug)]
struct Digests {
    clients: Vec<Digest>,
    groups: Vec<Group>,
}

#[derive(Clone, Debug)]
struct Group {
    digest: Digest,
    changed: bool,
}

const GROUP: usize = 64;

impl Digests {
    fn new(clients: usize) -> Self {
        let group = Group { digest: Digest::ZERO, changed: true };
        let groups = vec![group; clients.div_ceil(GROUP)];
        Self { clients: vec![Digest::ZERO; clients], groups }
    }

    fn set(&mut self, client: usize, digest: Digest) {
        self.clients[client] = digest;
        self.groups[client / GROUP].changed = true;
    }

    fn combine(&mut self) -> Digest {
        let mut whole = Hasher::new();
        for (group, clients) in self.groups.iter_mut().zip(self.clients.chunks(GROUP)) {
            if std::mem::take(&mut group.changed) {
                let mut hasher = Hasher::new();
                for digest in clients {
                    hasher.update(&digest.0);
                }
                group.digest = hasher.finish();
            }
            whole.update(&group.digest.0);
        }
        whole.finish()
    }
}

#[cfg(test)]
mod tests;
