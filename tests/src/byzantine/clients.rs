//! Byzantine clients: registered, with a key of their own and connections to every pillar of every replica, but what they
//! send is not what a client should. They learn from replies who leads.

use std::collections::BTreeMap;

use bytes::Bytes;
use hypostyle::client::{ClientSettings, encode_request};
use hypostyle::reply::{CLIENT_FRAME, Incoming};
use hypostyle_app_api::{ClientId, Digest, Number, PillarId, ReplicaId, View};
use hypostyle_crypto::{Identity, Session};
use hypostyle_pillars::message::{Request, Wish};
use hypostyle_pillars::primary;

use crate::sim::Random;
use crate::sim::service::Service;

/// A way for a client to be Byzantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClientStrategy {
    /// Signs other operations under the same numbers for each replica.
    Equivocates,
    /// Packs the same numbers into other requests for each replica.
    Repacks,
    /// Acknowledges another floor before each replica.
    SplitsFloors,
    /// Its signature verifies everywhere but at the primary.
    WrongAtPrimary,
    /// Its signature verifies at the primary alone.
    WrongAtBackups,
    /// Its signature verifies at one replica, whichever.
    RightAtOne,
    /// Numbers that are zero, highest, too far, backward, with gaps, and floors to match.
    StrangeNumbers,
    /// Speaks for another client, or for one that nobody knows.
    Impersonates,
    /// Sends all it ever sent to everybody, again and again.
    ResendStorm,
    /// Sends what replicas say to each other and to clients.
    SpeaksAsReplica,
    /// Sends bytes that are nothing, and requests that end early.
    Garbage,
    /// Sends requests of the longest length, and longer ones.
    Oversized,
    /// Leaves out the primary.
    BackupsOnly,
    /// Knows one replica only.
    OneReplicaOnly,
    /// Sends the same request to all pillars.
    AllPillars,
    /// Never hears a reply: acknowledges nothing, and asks again.
    NeverAcknowledges,
    /// Sends a whole window at once.
    Floods,
    /// Its tags hold at the primary alone.
    TagsAtPrimary,
    /// Its tags hold at some replicas, others each time.
    TagsAtSome,
    /// Its tags are those of the connections before.
    StaleTags,
}

impl ClientStrategy {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Equivocates,
        Self::Repacks,
        Self::SplitsFloors,
        Self::WrongAtPrimary,
        Self::WrongAtBackups,
        Self::RightAtOne,
        Self::StrangeNumbers,
        Self::Impersonates,
        Self::ResendStorm,
        Self::SpeaksAsReplica,
        Self::Garbage,
        Self::Oversized,
        Self::BackupsOnly,
        Self::OneReplicaOnly,
        Self::AllPillars,
        Self::NeverAcknowledges,
        Self::Floods,
        Self::TagsAtPrimary,
        Self::TagsAtSome,
        Self::StaleTags,
    ];
}

/// A Byzantine client.
pub struct HostileClient {
    id: ClientId,
    settings: ClientSettings,
    strategy: ClientStrategy,
    /// Whom it picks where it picks one.
    favourite: ReplicaId,
    random: Random,
    /// Its next number.
    next: u64,
    /// The view of each pillar, as it was told last.
    views: Vec<View>,
    /// Its sessions, each with the one before.
    sessions: BTreeMap<(ReplicaId, PillarId), [Session; 2]>,
    /// Frames it sent or overheard.
    old: Vec<(PillarId, Bytes)>,
    act: ClientAct,
}

/// What a Byzantine client does at a time.
#[derive(Clone, Debug, Default)]
pub struct ClientAct {
    /// Payloads of frames, to whom and on which pillar's connection.
    pub sends: Vec<(ReplicaId, PillarId, Bytes)>,
    /// First number and digest of every request that it has signed.
    pub signed: Vec<(Number, Digest)>,
}

/// Frames it remembers.
const OLD_MAX: usize = 64;

impl HostileClient {
    /// A client that has sent nothing yet.
    #[must_use]
    pub fn new(
        settings: ClientSettings,
        id: ClientId,
        strategy: ClientStrategy,
        favourite: ReplicaId,
        random: Random,
    ) -> Self {
        let views = vec![View(0); usize::from(settings.pillars)];
        let (sessions, old, act) = (BTreeMap::new(), Vec::new(), ClientAct::default());
        Self { id, settings, strategy, favourite, random, next: 1, views, sessions, old, act }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> ClientId {
        self.id
    }

    /// A connection has come up.
    pub fn connected(&mut self, replica: ReplicaId, pillar: PillarId, session: Session) {
        let place = (replica, pillar);
        let former = self.sessions.get(&place).map_or(&session, |[latest, _]| latest).clone();
        self.sessions.insert(place, [session, former]);
    }

    /// A frame has come from a replica.
    pub fn hears(&mut self, pillar: PillarId, payload: &Bytes) {
        self.remember(pillar, payload);
        if let Ok(Incoming::Reply(reply)) = Incoming::decode(payload) {
            self.views[pillar.index()] = reply.view;
        }
    }

    /// A frame has gone from one replica to another.
    pub fn overhears(&mut self, pillar: PillarId, payload: &Bytes) {
        if self.strategy == ClientStrategy::SpeaksAsReplica && self.random.chance(50) {
            self.remember(pillar, payload);
        }
    }

    /// What it does next.
    pub fn act(&mut self, identity: &Identity) -> ClientAct {
        match self.strategy {
            ClientStrategy::Equivocates => self.equivocate(identity),
            ClientStrategy::Repacks => self.repack(identity),
            ClientStrategy::SplitsFloors => self.split_floors(identity),
            ClientStrategy::WrongAtPrimary => self.spoil(identity, |replica, primary| replica == primary),
            ClientStrategy::WrongAtBackups => self.spoil(identity, |replica, primary| replica != primary),
            ClientStrategy::RightAtOne => {
                let one = self.any_replica();
                self.spoil(identity, |replica, _| replica != one);
            }
            ClientStrategy::StrangeNumbers => self.number_strangely(identity),
            ClientStrategy::Impersonates => self.impersonate(identity),
            ClientStrategy::ResendStorm => {
                self.send_new(identity, |_, _| true);
                (0..8).for_each(|_| self.send_old());
            }
            ClientStrategy::SpeaksAsReplica => self.speak_as_replica(),
            ClientStrategy::Garbage => self.send_garbage(identity),
            ClientStrategy::Oversized => self.exceed(identity),
            ClientStrategy::BackupsOnly => self.send_new(identity, |replica, primary| replica != primary),
            ClientStrategy::OneReplicaOnly => {
                let one = self.favourite;
                self.send_new(identity, |replica, _| replica == one);
            }
            ClientStrategy::AllPillars => {
                let (first, count) = self.numbers();
                let request = self.request(identity, first, count, self.floor(first, count));
                (0..self.settings.pillars).for_each(|p| self.send_all(PillarId(p), &request));
            }
            ClientStrategy::NeverAcknowledges => self.ask_again(identity),
            ClientStrategy::Floods => {
                (0..self.settings.client_window.min(100)).for_each(|_| self.send_new(identity, |_, _| true));
            }
            ClientStrategy::TagsAtPrimary => self.send_tagged(identity, |_, leads| leads),
            ClientStrategy::TagsAtSome => {
                self.send_tagged(identity, |random, leads| leads || random.chance(300));
            }
            ClientStrategy::StaleTags => self.send_tagged(identity, |_, _| true),
        }
        std::mem::take(&mut self.act)
    }

    fn equivocate(&mut self, identity: &Identity) {
        let (first, count) = self.numbers();
        for replica in self.replicas() {
            let request = self.request(identity, first, count, self.floor(first, count));
            self.send(replica, self.pillar(first), &request);
        }
    }

    fn repack(&mut self, identity: &Identity) {
        let (first, count) = self.numbers();
        let floor = self.floor(first, count);
        for replica in self.replicas() {
            let mut from = first;
            while from < first + u64::from(count) {
                let left = u16::try_from(first + u64::from(count) - from).expect("at most a request's");
                let part = u16::try_from(self.random.within(1..=u64::from(left))).expect("at most that");
                let request = self.request(identity, from, part, floor);
                self.send(replica, self.pillar(first), &request);
                from += u64::from(part);
            }
        }
    }

    fn split_floors(&mut self, identity: &Identity) {
        let (first, count) = self.numbers();
        for replica in self.replicas() {
            let floor = self.random.pick(&[0, first - 1, first / 2, self.floor(first, count)]);
            let request = self.request(identity, first, count, floor);
            self.send(replica, self.pillar(first), &request);
        }
    }

    fn spoil(&mut self, identity: &Identity, is_spoiled: impl Fn(ReplicaId, ReplicaId) -> bool) {
        let (first, count) = self.numbers();
        let pillar = self.pillar(first);
        let request = self.request(identity, first, count, self.floor(first, count));
        let mut spoiled = request.to_vec();
        *spoiled.last_mut().expect("a request ends with its signature") ^= 1;
        let (primary, spoiled) = (self.primary(pillar), Bytes::from(spoiled));
        for replica in self.replicas() {
            self.send(replica, pillar, if is_spoiled(replica, primary) { &spoiled } else { &request });
        }
    }

    fn number_strangely(&mut self, identity: &Identity) {
        let window = self.settings.client_window;
        let ahead = self.next.saturating_add(self.random.below(4 * window + 2));
        let behind = 1 + self.random.below(self.next);
        let edge = self.next.saturating_add(2 * window + self.random.below(3));
        let far = 1 << self.random.below(64);
        let extreme = self.random.pick(&[0, u64::MAX, u64::MAX - 1, far]);
        let first = self.random.pick(&[self.next, self.next, ahead, ahead, behind, behind, edge, extreme]);
        // A floor that high is one that nothing ever gets over again.
        let own = if self.random.chance(100) { first.saturating_sub(1) } else { 0 };
        let floor = self.random.pick(&[0, 0, own, first.saturating_sub(window), first, u64::MAX]);
        let request = self.request(identity, first, 1, floor);
        let pillar = self.pillar(first);
        let only = self.any_replica();
        let all = self.random.chance(700);
        for replica in self.replicas().filter(|replica| all || *replica == only) {
            self.send(replica, pillar, &request);
        }
        if first == self.next || (first < 1 << 62 && self.random.chance(200)) {
            self.next = first.max(1).saturating_add(1);
        }
    }

    /// Under another's id, with its own key: nobody has signed this.
    fn impersonate(&mut self, identity: &Identity) {
        let others = u64::from(self.settings.clients) + 2;
        let id = self.random.below(others);
        let id = if self.random.chance(100) { u32::MAX } else { u32::try_from(id).expect("few clients") };
        let id = ClientId(id);
        if id == self.id {
            return self.send_new(identity, |_, _| true);
        }
        let first = Number(1 + self.random.skewed(100));
        let request = encode_request(identity, id, first, Number(0), &[&[1]]);
        self.send_all(self.settings.pillar(id, first), &framed(&request));
    }

    fn speak_as_replica(&mut self) {
        for _ in 0..4 {
            let Some((pillar, frame)) = self.any_old() else { return };
            let mut frame = frame.to_vec();
            if let Some(kind) = frame.first_mut().filter(|_| self.random.chance(300)) {
                *kind = CLIENT_FRAME;
            }
            let to = self.any_replica();
            self.act.sends.push((to, pillar, frame.into()));
        }
    }

    fn send_garbage(&mut self, identity: &Identity) {
        let length = self.random.index(200);
        let mut bytes: Vec<u8> = (0..length).map(|_| self.random.number().to_le_bytes()[0]).collect();
        match self.random.below(3) {
            0 => {}
            1 => bytes.insert(0, CLIENT_FRAME),
            _ => {
                let (first, count) = self.numbers();
                bytes = self.request(identity, first, count, 0).to_vec();
                bytes.truncate(self.random.index(bytes.len()));
            }
        }
        let pillar = self.random.below(u64::from(self.settings.pillars));
        self.send_all(PillarId(u16::try_from(pillar).expect("few pillars")), &bytes.into());
    }

    /// As long as may be, a byte longer, much longer; or one operation too many.
    fn exceed(&mut self, identity: &Identity) {
        let (first, _) = self.numbers();
        let (signed, most) = (self.act.signed.len(), self.settings.request_max);
        let empty = self.request(identity, first, 0, 0).len() - 1;
        self.act.signed.truncate(signed);
        // Beside the operation its length stands.
        let fits = most - empty - 4;
        let length = self.random.pick(&[fits, fits + 1, 16 * most]);
        let long = vec![7; length];
        let floor = Number(self.floor(first, 1));
        let too_many = vec![&[1][..]; usize::from(self.settings.request_operations) + 1];
        let operations = if self.random.chance(300) { too_many } else { vec![&long[..]] };
        let wish = Wish { client: self.id, first: Number(first), floor, operations: &operations };
        let request = self.made(wish.sign(identity));
        self.send_all(self.pillar(first), &request);
    }

    fn ask_again(&mut self, identity: &Identity) {
        if self.next <= self.settings.client_window {
            let (first, count) = self.numbers();
            let request = self.request(identity, first, count, 0);
            self.send_all(self.pillar(first), &request);
        }
        self.send_old();
    }

    /// A new request to those of the replicas that `is_told` picks, given who leads its pillar.
    fn send_new(&mut self, identity: &Identity, is_told: impl Fn(ReplicaId, ReplicaId) -> bool) {
        let (first, count) = self.numbers();
        let pillar = self.pillar(first);
        let request = self.request(identity, first, count, self.floor(first, count));
        let primary = self.primary(pillar);
        for replica in self.replicas().filter(|replica| is_told(*replica, primary)) {
            self.send(replica, pillar, &request);
        }
        self.remember(pillar, &request);
    }

    fn send_old(&mut self) {
        if let Some((pillar, frame)) = self.any_old() {
            self.send_all(pillar, &frame);
        }
    }

    fn send_all(&mut self, pillar: PillarId, frame: &Bytes) {
        self.remember(pillar, frame);
        self.replicas().for_each(|replica| self.send(replica, pillar, frame));
    }

    fn send(&mut self, to: ReplicaId, pillar: PillarId, frame: &Bytes) {
        self.act.sends.push((to, pillar, frame.clone()));
    }

    /// The numbers of its next request: the first, and how many.
    fn numbers(&mut self) -> (u64, u16) {
        let first = self.next;
        let most = self.settings.operations_from(Number(first));
        let count = u16::try_from(self.random.within(1..=u64::from(most))).expect("at most that");
        self.next += u64::from(count);
        (first, count)
    }

    /// What a client would have acknowledged that has a window under way.
    fn floor(&self, first: u64, count: u16) -> u64 {
        self.settings.floor_ahead(Number(1), Number(first + u64::from(count) - 1)).0
    }

    /// A frame with a request, signed, or under tags where there are such.
    fn request(&mut self, identity: &Identity, first: u64, count: u16, floor: u64) -> Bytes {
        if self.settings.tags && self.random.chance(500) {
            return self.tagged(first, count, floor, |_| true);
        }
        let request = self.wish(first, count, floor, |wish| wish.sign(identity));
        self.made(request)
    }

    /// A request for operations by chance.
    fn wish(
        &mut self,
        first: u64,
        count: u16,
        floor: u64,
        make: impl FnOnce(&Wish<'_>) -> Request,
    ) -> Request {
        let operations: Vec<_> = (0..count).map(|_| Service::operation(&mut self.random)).collect();
        let operations: Vec<&[u8]> = operations.iter().map(Vec::as_slice).collect();
        make(&Wish { client: self.id, first: Number(first), floor: Number(floor), operations: &operations })
    }

    /// The frame with a request, which it may be answered for from now on.
    fn made(&mut self, request: Request) -> Bytes {
        self.act.signed.push((request.first(), request.digest()));
        framed(request.bytes())
    }

    /// A frame with a request whose tags hold at the replicas that `holds` picks.
    fn tagged(
        &mut self,
        first: u64,
        count: u16,
        floor: u64,
        mut holds: impl FnMut(ReplicaId) -> bool,
    ) -> Bytes {
        let pillar = self.pillar(first);
        let age = usize::from(self.strategy == ClientStrategy::StaleTags);
        let session = |replica| self.sessions.get(&(replica, pillar)).map(|sessions| &sessions[age]);
        let sessions = self.replicas().map(|replica| session(replica).filter(|_| holds(replica)).cloned());
        let sessions: Vec<_> = sessions.collect();
        let request = self.wish(first, count, floor, |wish| wish.tag(sessions.iter().map(Option::as_ref)));
        self.made(request)
    }

    /// A new request with tags, if there are any here, to its primary.
    fn send_tagged(&mut self, identity: &Identity, at: impl Fn(&mut Random, bool) -> bool) {
        if !self.settings.tags {
            return self.send_new(identity, |_, _| true);
        }
        let (first, count) = self.numbers();
        let (pillar, mut random) = (self.pillar(first), Random::new(self.random.number()));
        let primary = self.primary(pillar);
        let floor = self.floor(first, count);
        let request = self.tagged(first, count, floor, |replica| at(&mut random, replica == primary));
        self.send(primary, pillar, &request);
    }

    fn pillar(&self, first: u64) -> PillarId {
        self.settings.pillar(self.id, Number(first))
    }

    fn primary(&self, pillar: PillarId) -> ReplicaId {
        primary(self.settings.leaders, self.settings.replicas, pillar, self.views[pillar.index()])
    }

    fn replicas(&self) -> impl Iterator<Item = ReplicaId> + use<> {
        (0..self.settings.replicas).map(ReplicaId)
    }

    fn any_replica(&mut self) -> ReplicaId {
        let replica = self.random.below(u64::from(self.settings.replicas));
        ReplicaId(u16::try_from(replica).expect("few replicas"))
    }

    fn remember(&mut self, pillar: PillarId, frame: &Bytes) {
        match self.old.len() {
            OLD_MAX => {
                let place = self.random.index(OLD_MAX);
                self.old[place] = (pillar, frame.clone());
            }
            _ => self.old.push((pillar, frame.clone())),
        }
    }

    fn any_old(&mut self) -> Option<(PillarId, Bytes)> {
        let place = self.random.index(self.old.len());
        self.old.get(place).cloned()
    }
}

fn framed(request: &[u8]) -> Bytes {
    [&[CLIENT_FRAME], request].concat().into()
}
