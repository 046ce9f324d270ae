//! n replicas with P pillars each over a wire of which a test chooses order, loss and duplicates. Checked at every step: no
//! two replicas decide differently, no certificate is short, nobody says two things about one slot.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hypostyle_app_api::{ClientId, Digest, Instant, Now, PillarId, ReplicaId, Seq, Timestamp, View};
use hypostyle_pillars::message::{Kind, Message, PeerFrame, Request, Statement};
use hypostyle_pillars::{
    Admission, Config, Decided, Declaration, Input, Output, Pillar, Rejected, Source, Target,
};

use crate::executor::{Executor, Turn};
use crate::fixture::{Keys, body_frame, bundle_frame, frame};
use crate::random::Random;

pub(crate) struct Cluster {
    pub(crate) keys: Keys,
    pub(crate) config: Config,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) wire: Vec<Envelope>,
    pub(crate) now: Now,
    /// Neither stepped nor reachable: crashed, or played by the test.
    pub(crate) down: BTreeSet<ReplicaId>,
    /// Stepped, but nothing reaches or leaves them.
    pub(crate) isolated: BTreeSet<ReplicaId>,
    /// Per cent of the frames that are lost.
    pub(crate) loss: u64,
    /// The frames, counted from 0, that are lost whatever `loss` says.
    pub(crate) lost: BTreeSet<usize>,
    pub(crate) random: Random,
    /// What admission dropped, and what had no effect after verification.
    pub(crate) dropped: Vec<Rejected>,
    pub(crate) rejected: Vec<Rejected>,
    pub(crate) sent: usize,
    /// What replicas that are down, or played by the test, were sent.
    pub(crate) heard: Vec<Envelope>,
    /// Most statements in a bundle.
    pub(crate) bundle: usize,
    agreed: BTreeMap<(PillarId, Seq), Digest>,
    said: BTreeMap<(ReplicaId, Kind, PillarId, View, Seq), Digest>,
}

pub(crate) struct Replica {
    pub(crate) pillars: Vec<Pillar>,
    pub(crate) executor: Executor,
    unsealed: Vec<VecDeque<Said>>,
}

enum Said {
    Statement(Statement),
    Declaration(Declaration),
}

#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    pub(crate) from: ReplicaId,
    pub(crate) to: ReplicaId,
    pub(crate) pillar: PillarId,
    pub(crate) frame: Bytes,
}

/// More turns than any scenario takes: what passes it doesn't come to rest.
const TURNS_MAX: usize = 200_000;

impl Cluster {
    pub(crate) fn new(config: Config) -> Self {
        let second = 1_000_000_000;
        let replica = |id| {
            let of = |p| Config { me: ReplicaId(id), pillar: PillarId(p), ..config.clone() };
            let pillars: Vec<_> = (0..config.pillars).map(|p| Pillar::new(of(p))).collect();
            Replica {
                unsealed: pillars.iter().map(|_| VecDeque::new()).collect(),
                pillars,
                executor: Executor::default(),
            }
        };
        Self {
            keys: Keys::new(config.replicas),
            replicas: (0..config.replicas).map(replica).collect(),
            wire: Vec::new(),
            now: Now { instant: Instant(second), wall: Timestamp(1_000 * second) },
            down: BTreeSet::new(),
            isolated: BTreeSet::new(),
            loss: 0,
            lost: BTreeSet::new(),
            random: Random(0),
            dropped: Vec::new(),
            rejected: Vec::new(),
            sent: 0,
            heard: Vec::new(),
            bundle: 64,
            agreed: BTreeMap::new(),
            said: BTreeMap::new(),
            config,
        }
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = ReplicaId> + use<> {
        (0..self.config.replicas).map(ReplicaId)
    }

    pub(crate) fn up(&self) -> Vec<ReplicaId> {
        self.ids().filter(|id| !self.down.contains(id)).collect()
    }

    pub(crate) fn pillar(&self, at: u16, pillar: u16) -> &Pillar {
        &self.replicas[usize::from(at)].pillars[usize::from(pillar)]
    }

    /// A client's request arrives at a replica.
    pub(crate) fn submit(&mut self, at: u16, request: Request) -> Admission {
        let pillar = self.pillar_of(&request);
        let source = Source::Client(request.client());
        self.arrive(ReplicaId(at), pillar, source, Message::Request(request))
    }

    /// Clients that get no answer ask everybody again; replicas that have no room for it now have it later.
    pub(crate) fn insist(&mut self, requests: &[(u32, u64)]) {
        for _ in 0..requests.len() {
            self.ask_again(requests);
            self.settle();
        }
    }

    /// The same, once, for as long as `time`.
    pub(crate) fn insist_for(&mut self, requests: &[(u32, u64)], time: Duration) {
        self.ask_again(requests);
        self.settle_for(time);
    }

    fn ask_again(&mut self, requests: &[(u32, u64)]) {
        for (client, number) in requests {
            if !self.up().iter().all(|at| self.has_executed(*at, *client, *number)) {
                self.submit_to_all(&self.keys.lone(*client, *number));
            }
        }
    }

    /// A client that got no answer sends its request to everybody.
    pub(crate) fn submit_to_all(&mut self, request: &Request) {
        for at in self.up() {
            self.submit(at.0, request.clone());
        }
    }

    fn pillar_of(&self, request: &Request) -> PillarId {
        let pillars = &self.replicas[0].pillars;
        let orders = |p: &&Pillar| p.config().orders(request.client(), request.first());
        pillars.iter().find(orders).map(|p| p.config().pillar).unwrap()
    }

    /// What admission says of a frame that a replica's link brings.
    pub(crate) fn admit(&self, from: u16, to: u16, pillar: u16, frame: &Bytes) -> Admission {
        match PeerFrame::decode(frame, &self.config.frame_limits()).unwrap() {
            PeerFrame::Message(message) => {
                self.pillar(to, pillar).admit(Source::Peer(ReplicaId(from)), &message)
            }
            PeerFrame::Status(_) | PeerFrame::Transfer(_) => Admission::Verify,
        }
    }

    /// Hands a frame over now.
    pub(crate) fn deliver(&mut self, envelope: &Envelope) {
        let Envelope { from, to, pillar, ref frame } = *envelope;
        if self.down.contains(&to) {
            return;
        }
        match PeerFrame::decode(frame, &self.config.frame_limits()) {
            Ok(PeerFrame::Message(message)) => {
                self.arrive(to, pillar, Source::Peer(from), message);
            }
            Ok(PeerFrame::Status(status)) => self.step(to, pillar, Input::Status(from, status)),
            Ok(PeerFrame::Transfer(_)) => panic!("no pillar sends one"),
            Err(malformed) => panic!("a correct replica sent: {malformed}"),
        }
        self.tick(to);
    }

    /// A frame that a Byzantine replica makes.
    pub(crate) fn inject(&mut self, from: u16, to: u16, pillar: u16, frame: Bytes) {
        let (from, to, pillar) = (ReplicaId(from), ReplicaId(to), PillarId(pillar));
        self.deliver(&Envelope { from, to, pillar, frame });
    }

    fn arrive(&mut self, at: ReplicaId, pillar: PillarId, source: Source, message: Message) -> Admission {
        let admission = self.replicas[at.index()].pillars[pillar.index()].admit(source, &message);
        match admission {
            Admission::Verify => match self.keys.keyring.verify(message) {
                Ok(message) => match source {
                    Source::Peer(by) if matches!(*message, Message::Request(_)) => {
                        self.step(at, pillar, Input::Passed(by, message));
                    }
                    _ => self.step(at, pillar, Input::Message(message)),
                },
                Err(_) => self.dropped.push(Rejected::BadSignature),
            },
            Admission::Drop(reason) => self.dropped.push(reason),
            Admission::Lookup => {}
        }
        self.tick(at);
        admission
    }

    pub(crate) fn tick(&mut self, at: ReplicaId) {
        for pillar in (0..self.config.pillars).map(PillarId) {
            self.step(at, pillar, Input::Tick);
        }
    }

    /// Signs what a replica has said so far: of each pillar a declaration, or else statements up to the next.
    pub(crate) fn seal(&mut self, at: ReplicaId) {
        for pillar in (0..self.config.pillars).map(PillarId) {
            let (statements, declaration) = self.next_said(at, pillar);
            if let Some(declaration) = declaration {
                let declared = self.keys.declared(at, declaration);
                let (kind, bytes) = declared.frame();
                self.send(at, Target::Peers, pillar, &frame(kind, bytes));
                self.step(at, pillar, Input::Declared(declared));
            }
            if !statements.is_empty() {
                let bundle = Arc::new(self.keys.bundle(at, pillar, &statements));
                self.send(at, Target::Peers, pillar, &bundle_frame(&bundle));
                self.step(at, pillar, Input::Sealed(bundle));
            }
        }
        self.tick(at);
    }

    fn next_said(&mut self, at: ReplicaId, pillar: PillarId) -> (Vec<Statement>, Option<Declaration>) {
        let unsealed = &mut self.replicas[at.index()].unsealed[pillar.index()];
        let mut statements = Vec::new();
        while statements.len() < self.bundle {
            match unsealed.pop_front() {
                Some(Said::Statement(statement)) => statements.push(statement),
                Some(Said::Declaration(declaration)) if statements.is_empty() => {
                    return (statements, Some(declaration));
                }
                Some(later) => {
                    unsealed.push_front(later);
                    break;
                }
                None => break,
            }
        }
        (statements, None)
    }

    pub(crate) fn has_unsealed(&self, at: ReplicaId) -> bool {
        self.replicas[at.index()].unsealed.iter().any(|statements| !statements.is_empty())
    }

    /// Delivers in order of sending until nothing is left to deliver or to seal.
    pub(crate) fn run(&mut self) {
        self.run_without(|_, _| false);
    }

    /// The same, but loses some frames.
    pub(crate) fn run_without(&mut self, lost: impl Fn(&Self, &Envelope) -> bool) {
        for _ in 0..TURNS_MAX {
            let unsealed = self.up().into_iter().find(|id| self.has_unsealed(*id));
            if !self.wire.is_empty() {
                let envelope = self.wire.remove(0);
                if !lost(self, &envelope) {
                    self.deliver(&envelope);
                }
            } else if let Some(id) = unsealed {
                self.seal(id);
            } else {
                return;
            }
        }
        panic!("does not come to rest");
    }

    /// Delivers and seals in an order that the seed chooses, some frames twice.
    pub(crate) fn shuffle(&mut self) {
        for _ in 0..TURNS_MAX {
            let unsealed: Vec<_> = self.up().into_iter().filter(|id| self.has_unsealed(*id)).collect();
            if self.wire.is_empty() && unsealed.is_empty() {
                return;
            }
            let choice = self.random.below(self.wire.len() + unsealed.len());
            match self.wire.len() {
                len if choice >= len => self.seal(unsealed[choice - len]),
                _ if self.random.percent(10) => self.deliver(&self.wire[choice].clone()),
                _ => {
                    let envelope = self.wire.swap_remove(choice);
                    self.deliver(&envelope);
                }
            }
        }
        panic!("does not come to rest");
    }

    /// Goes on, from deadline to deadline, until nobody waits for anything but up to f replicas for a view that nobody
    /// else wants.
    pub(crate) fn settle(&mut self) {
        for _ in 0..1000 {
            self.run();
            if self.is_at_rest() || !self.pass_deadline() {
                return;
            }
        }
        panic!("does not settle");
    }

    fn is_at_rest(&self) -> bool {
        let up = self.up();
        let at_rest = |pillar: usize| {
            let pillars = up.iter().map(|id| &self.replicas[id.index()].pillars[pillar]);
            let (active, left): (Vec<_>, Vec<_>) = pillars.partition(|pillar| pillar.progress().active);
            let reached = |pillar: &&Pillar| pillar.progress().decided;
            let head = active.iter().map(reached).max();
            left.len() <= self.config.f()
                && left.iter().all(|pillar| Some(reached(pillar)) >= head)
                && active.iter().all(|pillar| pillar.next_deadline().is_none())
        };
        (0..usize::from(self.config.pillars)).all(at_rest)
    }

    /// Goes on for some time, whatever is waited for at its end.
    pub(crate) fn settle_for(&mut self, time: Duration) {
        let end = self.now.instant + time;
        self.run();
        while self.now.instant < end && self.pass_deadline() {
            self.run();
        }
    }

    /// How many statements of a kind a replica has made.
    pub(crate) fn said(&self, replica: ReplicaId, kind: Kind) -> usize {
        self.said.keys().filter(|said| (said.0, said.1) == (replica, kind)).count()
    }

    /// Moves the clocks to the next deadline of any replica, if there is one.
    pub(crate) fn pass_deadline(&mut self) -> bool {
        let up = self.up();
        let pillars = up.iter().flat_map(|id| &self.replicas[id.index()].pillars);
        let Some(next) = pillars.filter_map(Pillar::next_deadline).min() else {
            return false;
        };
        self.pass(next.since(self.now.instant));
        true
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = Now { instant: self.now.instant + time, wall: self.now.wall + time };
        self.up().into_iter().for_each(|id| self.tick(id));
    }

    /// Every link comes up anew.
    pub(crate) fn reconnect(&mut self) {
        for at in self.up() {
            for peer in self.ids().filter(|peer| *peer != at) {
                for pillar in (0..self.config.pillars).map(PillarId) {
                    self.step(at, pillar, Input::Connected(peer));
                }
            }
        }
    }

    pub(crate) fn step(&mut self, at: ReplicaId, pillar: PillarId, input: Input) {
        let mut inputs = VecDeque::from([(pillar, input)]);
        loop {
            while let Some((pillar, input)) = inputs.pop_front() {
                let mut outputs = Vec::new();
                self.replicas[at.index()].pillars[pillar.index()].step(self.now, input, &mut outputs);
                outputs.into_iter().for_each(|output| self.carry_out(at, pillar, output, &mut inputs));
            }
            let executor = &mut self.replicas[at.index()].executor;
            let Some(Turn { pillar, executed, checkpoint }) = executor.execute(&self.config) else {
                return;
            };
            inputs.push_back((pillar, Input::Executed(executed)));
            inputs.extend(checkpoint.map(|(round, digest)| (PillarId(0), Input::Checkpoint(round, digest))));
        }
    }

    fn carry_out(
        &mut self,
        at: ReplicaId,
        pillar: PillarId,
        output: Output,
        inputs: &mut VecDeque<(PillarId, Input)>,
    ) {
        let pillars = (0..self.config.pillars).map(PillarId);
        match output {
            Output::Statement(statement) => self.say(at, pillar, statement),
            Output::SendBody(to, body) => self.send(at, to, pillar, &body_frame(&body)),
            Output::SendBundle(to, bundle) => {
                self.send(at, Target::Peer(to), pillar, &bundle_frame(&bundle));
            }
            Output::SendStatus(to, status) => {
                let mut bytes = Vec::new();
                status.encode(&mut bytes);
                self.send(at, to, pillar, &frame(PeerFrame::STATUS, &bytes));
            }
            Output::Forward(to, request) => {
                self.send(at, Target::Peer(to), pillar, &frame(PeerFrame::REQUEST, request.bytes()));
            }
            Output::SendRecover(to, recover) => {
                self.send(at, to, pillar, &frame(PeerFrame::RECOVER, recover.bytes()));
            }
            Output::Decided(decided) => self.decide(at, decided),
            Output::Demand(demand) => {
                inputs.extend(pillars.filter(|p| *p != pillar).map(|p| (p, Input::Demand(demand))));
            }
            Output::CheckpointVote(vote) => {
                if let Some(stable) = self.replicas[at.index()].executor.vote(vote, &self.config) {
                    inputs.extend(pillars.map(|p| (p, Input::Stable(stable.clone()))));
                }
            }
            Output::CheckpointProven(stable) => {
                inputs.extend(pillars.map(|p| (p, Input::Stable(stable.clone()))));
            }
            Output::Rejected(_, reason) => self.rejected.push(reason),
            Output::Declare(declaration) => {
                let unsealed = &mut self.replicas[at.index()].unsealed[pillar.index()];
                unsealed.push_back(Said::Declaration(declaration));
            }
            Output::SendDeclared(to, declared) => {
                let (kind, bytes) = declared.frame();
                self.send(at, Target::Peer(to), pillar, &frame(kind, bytes));
            }
            Output::Entered(_) | Output::Lag(_) | Output::Equivocated(..) | Output::Mark(_) => {}
        }
    }

    fn say(&mut self, at: ReplicaId, pillar: PillarId, statement: Statement) {
        let Statement { kind, pillar: about, view, seq, digest } = statement;
        let before = self.said.insert((at, kind, about, view, seq), digest);
        assert_eq!(before, None, "replica {at} speaks twice of {kind:?} {about}.{seq}");
        self.replicas[at.index()].unsealed[pillar.index()].push_back(Said::Statement(statement));
    }

    fn send(&mut self, from: ReplicaId, to: Target, pillar: PillarId, frame: &Bytes) {
        for peer in self.ids().filter(|peer| *peer != from) {
            if matches!(to, Target::Peer(only) if only != peer) {
                continue;
            }
            self.sent += 1;
            let lost = self.lost.contains(&(self.sent - 1)) || self.random.percent(self.loss);
            let cut = [from, peer].iter().any(|id| self.isolated.contains(id) || self.down.contains(id));
            let envelope = Envelope { from, to: peer, pillar, frame: frame.clone() };
            if !cut && !lost {
                self.wire.push(envelope);
            } else if self.down.contains(&peer) {
                self.heard.push(envelope);
            }
        }
    }

    fn decide(&mut self, at: ReplicaId, decided: Decided) {
        let (place, digest) = ((decided.pillar, decided.seq), decided.body.digest());
        assert_eq!(*self.agreed.entry(place).or_insert(digest), digest, "two decisions for {place:?}");
        self.check_certificate(&decided);
        let before = self.replicas[at.index()].executor.decided.insert(place, decided);
        assert!(before.is_none(), "replica {at} decides {place:?} twice");
    }

    fn check_certificate(&self, decided: &Decided) {
        let Decided { pillar, seq, view, .. } = *decided;
        let commit = Statement { kind: Kind::Commit, pillar, view, seq, digest: decided.body.digest() };
        let mut signers = BTreeSet::new();
        for bundle in decided.certificate.iter() {
            assert!(bundle.statements().contains(&commit), "no Commit in a certificate's bundle");
            assert!(self.keys.keyring.verify((**bundle).clone()).is_ok(), "a bad seal in a certificate");
            signers.insert(bundle.signer());
        }
        assert!(signers.len() >= self.config.quorum(), "a certificate of {signers:?}");
    }

    /// All slots of `pillar` up to here are decided at `at`.
    pub(crate) fn frontier(&self, at: u16, pillar: u16) -> u64 {
        self.pillar(at, pillar).progress().decided.0
    }

    pub(crate) fn has_executed(&self, at: ReplicaId, client: u32, number: u64) -> bool {
        let key = (ClientId(client), hypostyle_app_api::Number(number));
        self.replicas[at.index()].executor.executed.contains(&key)
    }

    /// Every replica that is up has executed these requests, and all have executed equally far.
    #[track_caller]
    pub(crate) fn assert_executed(&self, requests: &[(u32, u64)]) {
        for at in self.up() {
            for (client, number) in requests {
                let done = self.has_executed(at, *client, *number);
                assert!(done, "replica {at} has not executed {client}/{number}");
            }
        }
        let positions: BTreeSet<_> =
            self.up().iter().map(|id| self.replicas[id.index()].executor.position).collect();
        assert_eq!(positions.len(), 1, "executed up to {positions:?}");
    }
}
