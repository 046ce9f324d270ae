//! Replicas that agree on nothing: the first to hear of a request tells the others, and each answers at once. Enough
//! to see a client at work on real sockets.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam::channel::{Receiver, Sender, unbounded};
use hypostyle_app_api::{ClientId, Number, PillarId, ReplicaId, View};
use hypostyle_crypto::{Entry, Identity, Seal, Signer, SigningKey, Suite, Tag};
use hypostyle_net::{ConnectionId, Event, Payload, Peer, Reject, Role, Transport};
use hypostyle_pillars::message::{Request, RequestLimits};

use crate::client::clock::Clock;
use crate::client::intake::transport_settings;
use crate::client::settings::ClientSettings;
use crate::config::ClusterConfig;
use crate::reply::{Answer, ReplyGroup, encode_reply, seal_tree};

type Wake = Arc<dyn Fn() + Send + Sync>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behaviour {
    Honest,
    /// Answers with a result of its own invention.
    Liar,
    /// Answers rightly, with a signature that isn't one.
    Forger,
    /// Tells nobody anything.
    Silent,
    /// Answers only when a request comes a second time from its client.
    AnswersLate,
}

pub(super) struct FakeCluster {
    pub(super) config: ClusterConfig,
    pub(super) client_keys: Vec<SigningKey>,
    stop: Arc<AtomicBool>,
    tallies: Vec<Arc<Tally>>,
    wakers: Vec<Wake>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Tally {
    received: AtomicUsize,
    executed: AtomicUsize,
}

struct Fake {
    id: ReplicaId,
    behaviour: Behaviour,
    transport: Transport,
    identity: Identity,
    settings: ClientSettings,
    clock: Clock,
    links: HashMap<(ClientId, PillarId), ConnectionId>,
    others: Vec<(Sender<Request>, Wake)>,
    told: Receiver<Request>,
    heard: BTreeSet<(ClientId, Number)>,
    tally: Arc<Tally>,
}

/// Private keys aren't cloned, except in tests.
pub(super) fn copy(key: &SigningKey) -> SigningKey {
    SigningKey::from_pem(&key.to_pem()).unwrap()
}

impl FakeCluster {
    pub(super) fn start(n: usize, pillars: u16, behaviours: &[Behaviour]) -> Self {
        let keys: Vec<_> = (0..n).map(|_| SigningKey::generate(Suite::Ed25519)).collect();
        let client_keys: Vec<_> = (0..6).map(|_| SigningKey::generate(Suite::Ed25519)).collect();
        let public = |keys: &[SigningKey]| keys.iter().map(SigningKey::public).collect::<Vec<_>>();
        let nowhere: SocketAddr = ([127, 0, 0, 1], 0).into();
        let mut config =
            ClusterConfig::local(&vec![(nowhere, nowhere); n], &public(&keys), &public(&client_keys));
        config.pillars = pillars;
        config.client_timeout = Duration::from_millis(60);
        let mut transports = Vec::new();
        for (id, key) in keys.iter().enumerate() {
            let replica = ReplicaId(u16::try_from(id).unwrap());
            let identity = Identity::new(Signer::Replica(replica), copy(key), config.domain());
            let keyring = Arc::new(config.keyring().unwrap());
            let mut settings = transport_settings(&config, keyring, &Arc::new(identity), ClientId(0));
            settings.me = Peer::replica(replica);
            let mut transport = Transport::new(settings).unwrap();
            let pillars: Vec<_> = (0..pillars).map(PillarId).collect();
            transport.serves(&pillars);
            config.replicas[id].client = transport.listen(nowhere, Role::Client).unwrap();
            transports.push(transport);
        }
        Self::launch(config, client_keys, &keys, transports, behaviours)
    }

    fn launch(
        config: ClusterConfig,
        client_keys: Vec<SigningKey>,
        keys: &[SigningKey],
        transports: Vec<Transport>,
        behaviours: &[Behaviour],
    ) -> Self {
        let (senders, receivers): (Vec<_>, Vec<_>) = keys.iter().map(|_| unbounded()).unzip();
        let wakers: Vec<Wake> = transports
            .iter()
            .map(|transport| {
                let waker = transport.wake_handle();
                Arc::new(move || drop(waker.wake())) as _
            })
            .collect();
        let others: Vec<_> = senders.into_iter().zip(wakers.clone()).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let tallies: Vec<Arc<Tally>> = keys.iter().map(|_| Arc::default()).collect();
        let mut threads = Vec::new();
        for ((id, transport), told) in (0u16..).zip(transports).zip(receivers) {
            let (index, id) = (usize::from(id), ReplicaId(id));
            let fake = Fake {
                id,
                behaviour: behaviours[index],
                transport,
                identity: Identity::new(Signer::Replica(id), copy(&keys[index]), config.domain()),
                settings: ClientSettings::of(&config),
                clock: Clock::start(),
                links: HashMap::new(),
                others: others.clone(),
                told,
                heard: BTreeSet::new(),
                tally: Arc::clone(&tallies[index]),
            };
            let stop = Arc::clone(&stop);
            threads.push(thread::spawn(move || fake.run(&stop)));
        }
        Self { config, client_keys, stop, tallies, wakers, threads }
    }

    /// Requests that came from clients, to all replicas together.
    pub(super) fn received(&self) -> usize {
        self.tallies.iter().map(|tally| tally.received.load(SeqCst)).sum()
    }

    /// Operations executed by each replica. Waits for those behind: f+1 answers are enough for a client.
    pub(super) fn executed(&self) -> Vec<usize> {
        let begin = Instant::now();
        loop {
            let executed: Vec<_> = self.tallies.iter().map(|tally| tally.executed.load(SeqCst)).collect();
            if executed.iter().all(|count| *count == executed[0]) || begin.elapsed() > Duration::from_secs(5)
            {
                return executed;
            }
            thread::yield_now();
        }
    }
}

impl Drop for FakeCluster {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        self.wakers.iter().for_each(|wake| wake());
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

impl Fake {
    fn run(mut self, stop: &AtomicBool) {
        while !stop.load(SeqCst) {
            self.transport.flush();
            let now = self.clock.now();
            let wait = self.transport.next_deadline().map(|deadline| deadline.since(now));
            self.transport.poll(now, wait).unwrap();
            while let Some(event) = self.transport.event() {
                self.on_event(event);
            }
            while let Ok(request) = self.told.try_recv() {
                self.execute(&request);
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Up { id, peer, pillar, .. } => {
                self.links.insert((ClientId(peer.id), pillar), id);
            }
            Event::Readable(id) => {
                for request in self.read(id) {
                    self.on_request(&request);
                }
            }
            _ => {}
        }
    }

    fn read(&mut self, id: ConnectionId) -> Vec<Request> {
        let mut requests = Vec::new();
        let limits: RequestLimits = self.settings.request_limits();
        self.transport.read(id, usize::MAX, &mut |payload: Payload<'_>| {
            let bytes = payload.into_bytes();
            assert_eq!(bytes[0], 1);
            requests.push(Request::decode(bytes.slice(1..), &limits).unwrap());
            ControlFlow::<Reject>::Continue(())
        });
        requests
    }

    fn on_request(&mut self, request: &Request) {
        self.tally.received.fetch_add(1, SeqCst);
        if self.behaviour == Behaviour::Silent {
            return;
        }
        if self.heard.contains(&(request.client(), request.first())) {
            return self.answer(request);
        }
        for (index, (sender, wake)) in self.others.iter().enumerate() {
            if index != self.id.index() {
                // At the end of a test some are gone before others.
                drop(sender.send(request.clone()));
                wake();
            }
        }
        self.execute(request);
    }

    fn execute(&mut self, request: &Request) {
        if self.behaviour == Behaviour::Silent {
            return;
        }
        if self.heard.insert((request.client(), request.first())) {
            self.tally.executed.fetch_add(1, SeqCst);
            if self.behaviour != Behaviour::AnswersLate {
                self.answer(request);
            }
        }
    }

    fn answer(&mut self, request: &Request) {
        let (client, number) = (request.client(), request.first());
        let pillar = self.settings.pillar(client, number);
        let operation = Bytes::copy_from_slice(request.operations().next().unwrap());
        let result = if self.behaviour == Behaviour::Liar { Bytes::from_static(b"lie") } else { operation };
        let mut group = ReplyGroup::new(self.id, pillar, View(0), client);
        let answer = Answer::result(number, &request.digest(), &result);
        let whole = answer.is_large() && number.0 % u64::from(self.settings.replicas) == u64::from(self.id.0);
        group.push(&answer, whole.then_some(result));
        let groups = [group];
        let tree = seal_tree(&groups);
        let entries = vec![Entry::Replies { root: tree.root() }];
        let content = Seal::content(self.id, &entries);
        let tag = if self.behaviour == Behaviour::Forger { Tag::Request } else { Tag::Seal };
        let seal = Seal { signer: self.id, signature: self.identity.sign(tag, &content), entries };
        let mut frame = vec![1];
        encode_reply(&groups[0], 0, &tree, &seal, &mut frame);
        if let Some(link) = self.links.get(&(client, pillar)) {
            self.transport.send(*link, &[&frame]);
        }
    }
}
