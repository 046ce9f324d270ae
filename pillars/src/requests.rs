use std::collections::BTreeMap;

use hypostyle_app_api::{ClientId, Digest, Number};

use crate::Config;
use crate::clients::{Clients, Known};
use crate::message::Request;
use crate::passed::share_has_room;

/// Requests a backup has verified and not yet seen ordered: it passes them to the primary and expects them to be served.
#[derive(Clone, Debug, Default)]
pub(crate) struct PendingRequests {
    requests: BTreeMap<Key, Waiting>,
    /// By when they came.
    order: BTreeMap<u64, Key>,
    /// How many ever came.
    came: u64,
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
    /// Its place in the order.
    came: u64,
    /// Whether it was passed on to the primary, and need not be now.
    passed: bool,
}

/// A request's client and first number.
pub(crate) type Key = (ClientId, Number);

/// Pending requests are bounded to this many batches, in operations and in bytes.
const PENDING_BATCHES_MAX: usize = 4;

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

    /// Whether a request with this digest waits.
    pub(crate) fn holds(&self, key: Key, digest: Digest) -> bool {
        self.requests.get(&key).is_some_and(|waiting| waiting.request.digest() == digest)
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

    /// Takes one in; where there was one with its key it takes its place.
    pub(crate) fn insert(&mut self, request: Request) {
        let key = (request.client(), request.first());
        let came = self.remove(key).unwrap_or_else(|| {
            self.came += 1;
            self.came
        });
        let own = self.of_client.entry(key.0).or_default();
        for held in [&mut self.all, own] {
            held.requests += 1;
            held.bytes += request.bytes().len();
        }
        self.order.insert(came, key);
        self.requests.insert(key, Waiting { request, came, passed: false });
    }

    /// The one that has waited longest.
    pub(crate) fn oldest(&self) -> Option<Key> {
        self.order.first_key_value().map(|(_, key)| *key)
    }

    /// Takes out everything, oldest first.
    pub(crate) fn drain(&mut self) -> Vec<Request> {
        let mut all = std::mem::take(self);
        let order = all.order.into_values();
        order.filter_map(|key| all.requests.remove(&key)).map(|waiting| waiting.request).collect()
    }

    /// Numbers are ordered or executed, and `clients` has marked them: what they cover is served.
    ///
    /// Not only a request with the same numbers: a client that packs them otherwise for others must not have this one wait
    /// for ever.
    pub(crate) fn discharge(
        &mut self,
        (client, first, count): (ClientId, Number, u16),
        clients: &Clients,
        config: &Config,
    ) {
        if self.requests.is_empty() {
            return;
        }
        let longest = u64::from(config.request_operations.max(1));
        let served = |(_, Waiting { request: q, .. }): &(&Key, &Waiting)| {
            q.first().0 + u64::from(q.count()) > first.0
                && clients.known(q.client(), q.first(), q.count(), q.floor()) == Known::Seen
        };
        let from = Number((first.0 + 1).saturating_sub(longest));
        let range = (client, from)..(client, Number(first.0 + u64::from(count)));
        let keys: Vec<_> = self.requests.range(range).filter(served).map(|(key, _)| *key).collect();
        for key in keys {
            self.remove(key);
        }
    }

    /// Everything of `client` up to `floor` is executed or void.
    pub(crate) fn raise(&mut self, client: ClientId, floor: Number) {
        if self.requests.is_empty() {
            return;
        }
        let range = (client, Number(0))..=(client, floor);
        let done = |(_, Waiting { request: q, .. }): &(&Key, &Waiting)| q.last() <= floor;
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
        for key in self.order.values() {
            let Some(Waiting { request, passed, .. }) = self.requests.get_mut(key) else { continue };
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

    /// Takes one out, and tells its place in the order.
    fn remove(&mut self, key: Key) -> Option<u64> {
        let Waiting { request, came, .. } = self.requests.remove(&key)?;
        self.order.remove(&came);
        let own = self.of_client.get_mut(&key.0).expect("counted when it came");
        for held in [&mut self.all, &mut *own] {
            held.requests -= 1;
            held.bytes -= request.bytes().len();
        }
        if own.requests == 0 {
            self.of_client.remove(&key.0);
        }
        Some(came)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use hypostyle_app_api::Digest;
    use hypostyle_crypto::{Domain, Identity, Signer, SigningKey, Suite};

    use super::*;
    use crate::message::{RequestLimits, encode_request};

    /// One operation of a client.
    fn request(client: u32, number: u64) -> Request {
        let domain = Domain { configuration: Digest([1; 32]) };
        let client = ClientId(client);
        let identity = Identity::new(Signer::Client(client), SigningKey::generate(Suite::Ed25519), domain);
        let bytes = encode_request(&identity, client, Number(number), Number(0), &[b"operation"]);
        let limits = RequestLimits { clients: 9, request_operations: 1, request_max: 4096, tags: None };
        Request::decode(bytes, &limits).unwrap()
    }

    #[test]
    fn who_comes_again_after_it_was_served_stands_behind_those_who_wait() {
        let mut pending = PendingRequests::default();
        for client in 0..3 {
            pending.insert(request(client, 1));
        }
        pending.raise(ClientId(0), Number(1));
        pending.insert(request(0, 1));
        pending.insert(request(2, 1));
        assert_eq!(pending.oldest(), Some((ClientId(1), Number(1))));
        let clients: Vec<_> = pending.drain().iter().map(|request| request.client().0).collect();
        assert_eq!(clients, [1, 2, 0], "one that is replaced keeps its place");
        assert!(pending.is_empty() && pending.oldest().is_none());
    }
}
