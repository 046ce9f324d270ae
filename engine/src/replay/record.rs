use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Arc;

use bytes::Bytes;
use hypostyle_app_api::{Application, ClientId, Instant, Now, Number, PillarId, ReplicaId, Timestamp};
use hypostyle_crypto::{Identity, MacKey, Session, Signer, SigningKey};
use hypostyle_net::{Peer, RecordedFrame, Role, Track};
use hypostyle_pillars::message::{PeerFrame, Request, Wish};
use hypostyle_pillars::{Target, primary};
use zeroize::Zeroizing;

use super::{RECORDING_MAX, RecordError, Recording, State, Work, listener_of};
use crate::client::ClientSettings;
use crate::config::{Assign, ClientAuth, ClusterConfig};
use crate::reply::CLIENT_FRAME;
use crate::simulation::{Member, MemberOutput};

impl Recording {
    /// Has a cluster with these keys order operations and records what its last replica hears. Requests are authenticated
    /// as the configuration says.
    ///
    /// # Errors
    /// When it can't be recorded as asked, or the replicas stop.
    ///
    /// # Panics
    /// When the configuration is not valid, or not [`recordable`](super::recordable).
    pub fn make<A: Application>(
        cluster: &ClusterConfig,
        replicas: Vec<SigningKey>,
        clients: Vec<SigningKey>,
        work: Work,
        application: impl FnMut() -> A,
    ) -> Result<Self, RecordError> {
        let mut clients = Clients::new(cluster, clients, work)?;
        let mut stage = Stage::new(cluster, replicas, &clients, application)?;
        // Who says where it stands while others propose is sent again what is under way.
        stage.perform(&[])?;
        while clients.given < work.operations {
            stage.from = clients.given;
            let requests = clients.wave();
            stage.perform(&requests)?;
            stage.check(clients.given)?;
        }
        let (position, digest) = stage.members[listener_of(cluster).index()].state();
        let mut tracks = clients.tracks(listener_of(cluster));
        tracks.extend(stage.tracks.into_iter().map(|((pillar, peer), frames)| Track {
            peer: Peer { role: Role::Replica, id: u32::from(peer.0) },
            pillar,
            session: None,
            frames: frames.into(),
        }));
        let state = State { position: position.0, digest: digest.to_string() };
        let (operations, sent) = (clients.given, stage.sent);
        Ok(Self { cluster: cluster.clone(), tracks, operations, state, sent })
    }
}

/// The replicas, between whom every message takes a step.
struct Stage<A: Application> {
    members: Vec<Member<A>>,
    listener: ReplicaId,
    primaries: Vec<ReplicaId>,
    now: Now,
    tracks: BTreeMap<(PillarId, ReplicaId), Vec<RecordedFrame>>,
    sent: BTreeMap<&'static str, u64>,
    bytes: usize,
    /// Operations that were executed when what is said now could be.
    from: u64,
    /// What the listener may be told ahead of what it has executed, in operations.
    ahead: u64,
}

type Frame = (ReplicaId, PillarId, Target, Bytes);

/// Between two steps.
const STEP_NS: u64 = 1_000;

impl<A: Application> Stage<A> {
    fn new(
        cluster: &ClusterConfig,
        keys: Vec<SigningKey>,
        clients: &Clients<'_>,
        mut application: impl FnMut() -> A,
    ) -> Result<Self, RecordError> {
        let n = u16::try_from(cluster.n()).expect("n fits 16 bits");
        let (keyring, domain) = (Arc::new(cluster.keyring()?), cluster.domain());
        let members = (0..n).map(ReplicaId).zip(keys).map(|(id, key)| {
            let identity = Arc::new(Identity::new(Signer::Replica(id), key, domain));
            Member::new(cluster, id, &identity, &keyring, application(), (1, false))
        });
        let wall = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let wall = Timestamp(u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX));
        let view = hypostyle_app_api::View(0);
        let led = |pillar| primary(cluster.leaders, n, PillarId(pillar), view);
        let round = u64::from(cluster.pillars) * u64::from(cluster.batch_max);
        let mut stage = Self {
            members: members.collect(),
            listener: listener_of(cluster),
            primaries: (0..cluster.pillars).map(led).collect(),
            now: Now { instant: Instant(0), wall },
            tracks: BTreeMap::new(),
            sent: BTreeMap::new(),
            bytes: 0,
            from: 0,
            ahead: u64::from(cluster.window) / 2 * round,
        };
        if stage.primaries.contains(&stage.listener) {
            return Err(RecordError::Leads { pillars: cluster.pillars, replicas: cluster.n() });
        }
        for (id, member) in (0..n).map(ReplicaId).zip(&mut stage.members) {
            for pillar in (0..cluster.pillars).map(PillarId) {
                let peers = (0..n).map(ReplicaId).filter(|peer| *peer != id);
                peers.for_each(|peer| member.connected(stage.now, pillar, peer));
                for (client, session) in clients.sessions(id, pillar) {
                    member.client_connected(stage.now, pillar, client, session.clone());
                }
            }
        }
        Ok(stage)
    }

    /// Gives requests to the primaries and lets the replicas talk until nobody says anything.
    fn perform(&mut self, requests: &[Vec<Request>]) -> Result<(), RecordError> {
        for (pillar, requests) in (0..).map(PillarId).zip(requests) {
            let member = &mut self.members[self.primaries[pillar.index()].index()];
            for request in requests {
                let frame = [&[CLIENT_FRAME], &request.bytes()[..]].concat();
                // What is refused is missing in the end.
                let _ = member.client_frame(self.now, pillar, request.client(), &frame);
            }
        }
        loop {
            let frames = self.turn();
            if frames.is_empty() {
                return Ok(());
            }
            frames.iter().for_each(|frame| self.deliver(frame));
            if self.bytes > RECORDING_MAX {
                return Err(RecordError::TooLong { bytes: self.bytes, max: RECORDING_MAX });
            }
        }
    }

    fn turn(&mut self) -> Vec<Frame> {
        self.now.instant.0 += STEP_NS;
        self.now.wall.0 += STEP_NS;
        let mut frames = Vec::new();
        for (id, member) in (0..).map(ReplicaId).zip(&mut self.members) {
            member.turn(self.now, &mut |_| 0);
            frames.extend(member.outputs().filter_map(|output| match output {
                MemberOutput::ToPeers { pillar, to, payload } => Some((id, pillar, to, payload)),
                _ => None,
            }));
        }
        frames
    }

    fn deliver(&mut self, (by, pillar, to, payload): &Frame) {
        let from = 1 + self.from.saturating_sub(self.ahead);
        for (id, member) in (0..).map(ReplicaId).zip(&mut self.members) {
            if id == *by || matches!(to, Target::Peer(peer) if *peer != id) {
                continue;
            }
            if id == self.listener {
                self.bytes += payload.len();
                *self.sent.entry(kind(payload)).or_default() += 1;
                let track = self.tracks.entry((*pillar, *by)).or_default();
                track.push(RecordedFrame { payload: payload.clone(), from });
            }
            // Nobody refuses what correct replicas say; if so, operations are missing in the end.
            let _ = member.peer_frame(self.now, *pillar, *by, payload);
        }
    }

    fn check(&self, given: u64) -> Result<(), RecordError> {
        for (replica, member) in (0..).zip(&self.members) {
            let executed = member.executor().counters().operations;
            if executed != given {
                return Err(RecordError::Stuck { replica, executed, given });
            }
        }
        Ok(())
    }
}

fn kind(payload: &[u8]) -> &'static str {
    match payload.first() {
        Some(&PeerFrame::BODY) => "bodies",
        Some(&PeerFrame::BUNDLE) => "bundles",
        _ => "others",
    }
}

/// Each is of one pillar and asks for its share of a wave.
struct Clients<'a> {
    work: Work,
    identities: Vec<Identity>,
    /// Those of each pillar.
    of: Vec<Vec<ClientId>>,
    /// What each has asked for.
    numbers: Vec<u64>,
    /// Sessions by replica, pillar and client; none where clients sign.
    sessions: BTreeMap<(ReplicaId, PillarId, ClientId), Session>,
    cluster: &'a ClusterConfig,
    given: u64,
}

impl<'a> Clients<'a> {
    fn new(cluster: &'a ClusterConfig, keys: Vec<SigningKey>, work: Work) -> Result<Self, RecordError> {
        assert_eq!(cluster.assign, Assign::Client, "a recordable configuration");
        let domain = cluster.domain();
        let identities = (0..).map(ClientId).zip(keys);
        let identities: Vec<_> =
            identities.map(|(id, key)| Identity::new(Signer::Client(id), key, domain)).collect();
        let settings = ClientSettings::of(cluster);
        let mut of = vec![Vec::new(); usize::from(cluster.pillars)];
        for client in (0..).map(ClientId).take(identities.len()) {
            of[settings.pillar(client, Number(1)).index()].push(client);
        }
        let idle = (0..).zip(&of).find(|(_, clients): &(u16, _)| clients.is_empty());
        if let Some((pillar, _)) = idle {
            return Err(RecordError::Idle { pillar });
        }
        let mut sessions = BTreeMap::new();
        if cluster.client_auth == ClientAuth::Mac {
            for (pillar, clients) in (0..).map(PillarId).zip(&of) {
                for replica in cluster.replicas.iter().map(|replica| replica.id) {
                    sessions.extend(clients.iter().map(|client| ((replica, pillar, *client), session())));
                }
            }
        }
        let numbers = vec![0; identities.len()];
        let clients = Self { work, identities, of, numbers, sessions, cluster, given: 0 };
        clients.check_wave()?;
        Ok(clients)
    }

    fn check_wave(&self) -> Result<(), RecordError> {
        let fewest = self.of.iter().map(Vec::len).min().unwrap_or(1);
        let most = self.operations_of_a_wave().div_ceil(fewest);
        let wave = self.work.wave;
        let refuse = |what| Err(RecordError::Wave { wave, what });
        match () {
            () if wave == 0 => refuse("there is nothing in it"),
            () if most > self.cluster.client_window as usize => refuse("client_window is less"),
            () if wave > u16::try_from(self.cluster.window / 2).unwrap_or(u16::MAX) => {
                refuse("it is more than half the window")
            }
            () if u32::from(wave) > self.cluster.pipeline => refuse("pipeline is less"),
            () => Ok(()),
        }
    }

    /// Of one pillar.
    fn operations_of_a_wave(&self) -> usize {
        self.cluster.batch_max as usize * usize::from(self.work.wave)
    }

    fn sessions(&self, replica: ReplicaId, pillar: PillarId) -> impl Iterator<Item = (ClientId, &Session)> {
        let own = (replica, pillar, ClientId(0))..=(replica, pillar, ClientId(u32::MAX));
        self.sessions.range(own).map(|((_, _, client), session)| (*client, session))
    }

    /// The requests of a wave, by pillar. All before are acknowledged.
    fn wave(&mut self) -> Vec<Vec<Request>> {
        let floors = self.numbers.clone();
        let mut asked = Vec::new();
        for (pillar, clients) in (0..).map(PillarId).zip(&self.of) {
            for client in clients.iter().copied().cycle().take(self.operations_of_a_wave()) {
                self.numbers[client.index()] += 1;
                asked.push((pillar, client, Number(self.numbers[client.index()])));
            }
        }
        self.given += asked.len() as u64;
        let mut requests = vec![Vec::new(); self.of.len()];
        for (request, (pillar, ..)) in self.authenticated(&asked, &floors).into_iter().zip(&asked) {
            requests[pillar.index()].push(request);
        }
        requests
    }

    /// On all cores: an RSA signature takes a client longer than all else takes the replicas.
    fn authenticated(&self, asked: &[(PillarId, ClientId, Number)], floors: &[u64]) -> Vec<Request> {
        let operation = vec![0x5a; self.work.payload];
        let operations: &[&[u8]] = &[&operation];
        let one = |(pillar, client, first): &(PillarId, ClientId, Number)| {
            let floor = Number(floors[client.index()]);
            let wish = Wish { client: *client, first: *first, floor, operations };
            let n = u16::try_from(self.cluster.n()).expect("n fits 16 bits");
            let session = |replica| self.sessions.get(&(ReplicaId(replica), *pillar, *client));
            match self.cluster.client_auth {
                ClientAuth::Mac => wish.tag((0..n).map(session)),
                ClientAuth::Signature => wish.sign(&self.identities[client.index()]),
            }
        };
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let share = asked.len().div_ceil(cores).max(1);
        std::thread::scope(|scope| {
            let some = |asked: &'_ [_]| asked.iter().map(one).collect::<Vec<_>>();
            let threads: Vec<_> = asked.chunks(share).map(|asked| scope.spawn(move || some(asked))).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("signing doesn't panic")).collect()
        })
    }

    /// The clients' connections to a replica, over which nothing comes.
    fn tracks(&self, replica: ReplicaId) -> Vec<Track> {
        let of = |(pillar, clients): (u16, &Vec<ClientId>)| {
            let pillar = PillarId(pillar);
            let track = move |client: &ClientId| Track {
                peer: Peer { role: Role::Client, id: client.0 },
                pillar,
                session: self.sessions.get(&(replica, pillar, *client)).cloned(),
                frames: [].into(),
            };
            clients.iter().map(track).collect::<Vec<_>>()
        };
        (0..).zip(&self.of).flat_map(of).collect()
    }
}

fn session() -> Session {
    let key = || MacKey::new(Zeroizing::new(hypostyle_crypto::random()));
    Session { requests: key(), replies: key() }
}
