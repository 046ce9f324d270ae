use std::collections::{BTreeMap, VecDeque};

use hypostyle_app_api::{ClientId, Number};

use crate::Config;
use crate::clients::{Clients, Known};
use crate::message::{Request, RequestRef};
use crate::passed::share_has_room;

/// Requests a backup has verified and not yet seen ordered: it passes them to the primary and expects them to be served.
#[derive(Clone, Debug, Default)]
pub(crate) struct PendingRequests {
    requests: BTreeMap<Key, Waiting>,
    /// In order of arrival; those that are served stay until they come to the front.
    order: VecDeque<Key>,
    all: Held,
    of_client: BTreeMap<ClientId, Held>,
}

/// What waits, of one client or of all.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    requests: usize,
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Waiting {
    request: Request,
    /// Whether it was passed on to the primary, and need not be now.
    passed: bool,
}

/// A request's client and first number.
pub(crate) type Key = (ClientId, Number);

/// Pending requests are bounded to this many batches, in operations and in bytes.
const PENDING_BATCHES_MAX: usize = 4;
/// Served requests that may stay in the order of arrival.
const ORDER_SLACK: usize = 64;

impl PendingRequests {
    pub(crate) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(crate) fn contains(&self, request: &Request) -> bool {
        self.requests.contains_key(&(request.client(), request.first()))
    }

    /// Whether there is room for another request of `client`. Nobody takes more than is left to others: k clients, whatever
    /// they ask for, leave one part of k+1.
    pub(crate) fn has_room(&self, client: ClientId, length: usize, config: &Config) -> bool {
        let left_requests =
            (PENDING_BATCHES_MAX * config.batch_max as usize).saturating_sub(self.all.requests);
        let left_bytes = (PENDING_BATCHES_MAX * config.batch_bytes).saturating_sub(self.all.bytes);
        let own = self.of_client.get(&client).copied().unwrap_or_default();
        own.requests < left_requests && own.bytes + length <= left_bytes
    }

    pub(crate) fn insert(&mut self, request: Request) {
        let key = (request.client(), request.first());
        let is_new = !self.remove(key);
        let own = self.of_client.entry(key.0).or_default();
        for held in [&mut self.all, own] {
            held.requests += 1;
            held.bytes += request.bytes().len();
        }
        self.requests.insert(key, Waiting { request, passed: false });
        if is_new {
            self.order.push_back(key);
        }
        if self.order.len() > 2 * self.requests.len() + ORDER_SLACK {
            self.order.retain(|key| self.requests.contains_key(key));
        }
    }

    /// The one that has waited longest.
    pub(crate) fn oldest(&mut self) -> Option<Key> {
        while let Some(key) = self.order.front() {
            if self.requests.contains_key(key) {
                return Some(*key);
            }
            self.order.pop_front();
        }
        None
    }

    /// Takes out everything, oldest first.
    pub(crate) fn drain(&mut self) -> Vec<Request> {
        let mut all = std::mem::take(self);
        let order = all.order.into_iter();
        order.filter_map(|key| all.requests.remove(&key)).map(|waiting| waiting.request).collect()
    }

    /// A body was ordered: what it covers, under whatever content, is served.
    ///
    /// Not only by a request with the same numbers: a client that packs them otherwise for others must not have this
    /// one wait for ever. So the numbers count, and `clients` has marked those of `ordered`.
    pub(crate) fn discharge(&mut self, ordered: &[RequestRef], clients: &Clients, config: &Config) {
        let longest = u64::from(config.request_operations.max(1));
        for r in ordered {
            if self.requests.is_empty() {
                return;
            }
            let served = |(_, Waiting { request: q, .. }): &(&Key, &Waiting)| {
                q.first().0 + u64::from(q.count()) > r.first.0
                    && clients.known(q.client(), q.first(), q.count(), q.floor()) == Known::Seen
            };
            let first = Number((r.first.0 + 1).saturating_sub(longest));
            let range = (r.client, first)..(r.client, Number(r.first.0 + u64::from(r.count)));
            let keys: Vec<_> = self.requests.range(range).filter(served).map(|(key, _)| *key).collect();
            for key in keys {
                self.remove(key);
            }
        }
    }

    /// Everything of `client` up to `floor` is executed or void.
    pub(crate) fn raise(&mut self, client: ClientId, floor: Number) {
        if self.requests.is_empty() {
            return;
        }
        let range = (client, Number(0))..=(client, floor);
        let done = |(_, Waiting { request: q, .. }): &(&Key, &Waiting)| {
            q.first().0 + u64::from(q.count()) - 1 <= floor.0
        };
        let keys: Vec<_> = self.requests.range(range).filter(done).map(|(key, _)| *key).collect();
        for key in keys {
            self.remove(key);
        }
    }

    /// What is next to be passed on: the oldest that wait, as many as the primary takes of one backup, but for those
    /// that were passed on already. What came later has to wait its turn, else it takes the place of what came before.
    pub(crate) fn next_to_pass(&mut self, config: &Config) -> Vec<Request> {
        let (mut operations, mut bytes) = (0, 0);
        let mut next = Vec::new();
        for key in &self.order {
            let Some(Waiting { request, passed }) = self.requests.get_mut(key) else { continue };
            if !share_has_room((operations, bytes), request.bytes().len(), config) {
                break;
            }
            operations += usize::from(request.count());
            bytes += request.bytes().len();
            if !std::mem::replace(passed, true) {
                next.push(request.clone());
            }
        }
        next
    }

    /// What was passed on may be lost, or has another primary to go to.
    pub(crate) fn pass_again(&mut self) {
        self.requests.values_mut().for_each(|waiting| waiting.passed = false);
    }

    fn remove(&mut self, key: Key) -> bool {
        let Some(Waiting { request, .. }) = self.requests.remove(&key) else { return false };
        let own = self.of_client.get_mut(&key.0).expect("counted when it came");
        for held in [&mut self.all, &mut *own] {
            held.requests -= 1;
            held.bytes -= request.bytes().len();
        }
        if own.requests == 0 {
            self.of_client.remove(&key.0);
        }
        true
    }
}
