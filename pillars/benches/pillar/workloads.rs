//! What is measured, as plain functions: a tool that counts instructions can call them too.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a bench reads the clock; the core doesn't"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use bytes::Bytes;
use hypostyle_app_api::{
    ClientId, Digest, Instant, Now, Number, PillarId, ReplicaId, Round, Seq, Timestamp, View,
};
use hypostyle_crypto::{Domain, Identity, Keyring, Seal, Signer, SigningKey, Suite, Tag};
use hypostyle_pillars::message::{
    Body, BodyBuilder, Bundle, Kind, Message, PeerFrame, Request, SealedBundle, Statement, encode_request,
};
use hypostyle_pillars::{Assign, Config, Executed, Input, Leaders, Output, Pillar, Source, Stable};

const NOW: Now = Now { instant: Instant(1_000_000_000), wall: Timestamp(1_000_000_000) };
const CLIENT: ClientId = ClientId(0);

/// Everybody's keys, and as many requests as were asked for.
pub(crate) struct Fixture {
    replicas: Vec<Identity>,
    client: Identity,
    keyring: Keyring,
    body: Body,
}

impl Fixture {
    pub(crate) fn new(requests: u64) -> Self {
        let domain = Domain { configuration: Digest([1; 32]) };
        let keyed = |signer| {
            let key = SigningKey::generate(Suite::Ed25519);
            (key.public(), Identity::new(signer, key, domain))
        };
        let (keys, replicas): (Vec<_>, Vec<_>) =
            (0..4).map(|id| keyed(Signer::Replica(ReplicaId(id)))).unzip();
        let (client_key, client) = keyed(Signer::Client(CLIENT));
        let keyring = Keyring::new(domain, &keys, &[client_key]).expect("fresh keys parse");
        let mut fixture = Self { replicas, client, keyring, body: Body::empty() };
        let mut builder = BodyBuilder::new();
        (1..=requests).for_each(|number| builder.push(&fixture.request(number)));
        fixture.body = builder.finish(Timestamp(1));
        fixture
    }

    fn request(&self, number: u64) -> Request {
        let floor = Number(number.saturating_sub(512));
        let bytes = encode_request(&self.client, CLIENT, Number(number), floor, &[&[7; 100]]);
        Request::decode(bytes, &config(0).frame_limits().request).expect("well-formed")
    }

    /// A frame in memory of its own, as it comes from a connection.
    pub(crate) fn body_frame(&self) -> Bytes {
        Bytes::from([&[PeerFrame::BODY], self.body.bytes().as_ref()].concat())
    }

    pub(crate) fn bundle_frame(&self, statements: u64) -> Bytes {
        let bundle = self.sealed(ReplicaId(1), &commits(statements));
        Bytes::from([&[PeerFrame::BUNDLE], bundle.bytes().as_ref()].concat())
    }

    pub(crate) fn decode(&self, frame: &Bytes) -> PeerFrame {
        black_box(PeerFrame::decode(frame, &config(0).frame_limits()).expect("well-formed"))
    }

    pub(crate) fn seal(&self, statements: u64) -> Seal {
        self.seal_of(ReplicaId(1), &Bundle::new(ReplicaId(1), PillarId(0), &commits(statements)))
    }

    /// Bundle, digest and the wire form.
    pub(crate) fn encode(&self, statements: u64, seal: Seal) -> SealedBundle {
        black_box(Bundle::new(ReplicaId(1), PillarId(0), &commits(statements)).seal(seal))
    }

    fn seal_of(&self, signer: ReplicaId, bundle: &Bundle) -> Seal {
        let entries = vec![bundle.entry()];
        let signature = self.replicas[signer.index()].sign(Tag::Seal, &Seal::content(signer, &entries));
        Seal { signer, entries, signature }
    }

    fn sealed(&self, signer: ReplicaId, statements: &[Statement]) -> SealedBundle {
        let bundle = Bundle::new(signer, PillarId(0), statements);
        let seal = self.seal_of(signer, &bundle);
        bundle.seal(seal)
    }
}

/// How long each step took, in sum over all slots.
#[derive(Default)]
pub(crate) struct StepTimes(BTreeMap<&'static str, Duration>);

impl StepTimes {
    pub(crate) const STEPS: [&'static str; 8] = [
        "primary: requests",
        "primary: cut and propose",
        "primary: prepares and commits",
        "backup: body",
        "backup: proposal",
        "backup: prepares",
        "backup: commits",
        "both: executed",
    ];

    pub(crate) fn of(&self, step: &str) -> Duration {
        self.0.get(step).copied().unwrap_or_default()
    }

    fn measure(&mut self, step: &'static str, what: impl FnOnce()) {
        let start = Clock::now();
        what();
        *self.0.entry(step).or_default() += start.elapsed();
    }
}

/// Orders `slots` slots of `requests` requests each, on the cores of a primary and of a backup; the other two replicas'
/// votes are made here.
pub(crate) fn slots(requests: u64, slots: u64) -> StepTimes {
    let fixture = Fixture::new(0);
    let mut times = StepTimes::default();
    let (mut primary, mut backup) = (Pillar::new(config(0)), Pillar::new(config(1)));
    let mut out = Vec::new();
    for slot in 1..=slots {
        let numbers = (slot - 1) * requests + 1..=slot * requests;
        let requests: Vec<_> = numbers.map(|number| fixture.request(number)).collect();
        let last = requests.last().map_or(Number(0), Request::first);
        let requests: Vec<_> =
            requests.into_iter().map(|r| verified(&fixture, Message::Request(r))).collect();
        times.measure("primary: requests", || {
            for request in requests {
                black_box(primary.admit(Source::Client(CLIENT), &request));
                primary.step(NOW, Input::Message(request), &mut out);
            }
        });
        times.measure("primary: cut and propose", || primary.step(NOW, Input::Tick, &mut out));
        let (proposal, body) = proposed(&mut out);
        let say = |replica, kind| fixture.sealed(ReplicaId(replica), &[Statement { kind, ..proposal }]);
        let message = |bundle| verified(&fixture, Message::Bundle(bundle));
        let body = verified(&fixture, Message::Body(body));
        times.measure("backup: body", || receive(&mut backup, 0, body, &mut out));
        let propose = message(say(0, Kind::Propose));
        times.measure("backup: proposal", || receive(&mut backup, 0, propose, &mut out));
        let own = [Kind::Prepare, Kind::Commit].map(|kind| Arc::new(say(1, kind)));
        let [prepare, commit] = own.clone();
        let other = message(say(2, Kind::Prepare));
        times.measure("backup: prepares", || {
            backup.step(NOW, Input::Sealed(prepare), &mut out);
            receive(&mut backup, 2, other, &mut out);
        });
        let others = [0, 2].map(|replica| (replica, message(say(replica, Kind::Commit))));
        times.measure("backup: commits", || {
            backup.step(NOW, Input::Sealed(commit), &mut out);
            others.into_iter().for_each(|(replica, vote)| receive(&mut backup, replica, vote, &mut out));
        });
        let sealed = [Kind::Propose, Kind::Commit].map(|kind| Arc::new(say(0, kind)));
        let kinds = [Kind::Prepare, Kind::Commit].into_iter();
        let votes: Vec<_> =
            kinds.flat_map(|kind| [1, 2].map(|replica| (replica, message(say(replica, kind))))).collect();
        times.measure("primary: prepares and commits", || {
            sealed.into_iter().for_each(|own| primary.step(NOW, Input::Sealed(own), &mut out));
            votes.into_iter().for_each(|(replica, vote)| receive(&mut primary, replica, vote, &mut out));
        });
        let done = Executed { seq: Seq(slot), floors: [(CLIENT, last)].into(), past: vec![], far: vec![] };
        times.measure("both: executed", || {
            for pillar in [&mut primary, &mut backup] {
                pillar.step(NOW, Input::Executed(done.clone()), &mut out);
                if slot.is_multiple_of(32) {
                    pillar.step(NOW, Input::Stable(stable(slot)), &mut out);
                }
            }
        });
        let decided = out.drain(..).filter(|output| matches!(output, Output::Decided(_))).count();
        assert_eq!(decided, 2, "both cores decide slot {slot}");
    }
    times
}

fn receive(
    pillar: &mut Pillar,
    from: u16,
    message: hypostyle_crypto::Verified<Message>,
    out: &mut Vec<Output>,
) {
    black_box(pillar.admit(Source::Peer(ReplicaId(from)), &message));
    pillar.step(NOW, Input::Message(message), out);
}

fn proposed(out: &mut Vec<Output>) -> (Statement, Body) {
    let (mut statement, mut content) = (None, None);
    for output in out.drain(..) {
        match output {
            Output::Statement(said) => statement = Some(said),
            Output::SendBody(_, body) => content = Some((*body).clone()),
            _ => {}
        }
    }
    statement.zip(content).expect("the primary proposes")
}

fn verified(fixture: &Fixture, message: Message) -> hypostyle_crypto::Verified<Message> {
    fixture.keyring.verify(message).expect("signed here")
}

fn stable(round: u64) -> Stable {
    Stable { round: Round(round), digest: Digest([2; 32]), proof: Vec::new().into() }
}

fn commits(count: u64) -> Vec<Statement> {
    let commit = |seq| Statement {
        kind: Kind::Commit,
        pillar: PillarId(0),
        view: View(0),
        seq: Seq(seq),
        digest: Digest([3; 32]),
    };
    (1..=count).map(commit).collect()
}

/// The defaults of `cluster.toml`, for one pillar and one client.
fn config(me: u16) -> Config {
    Config {
        me: ReplicaId(me),
        pillar: PillarId(0),
        replicas: 4,
        pillars: 1,
        clients: 1,
        leaders: Leaders::Spread,
        assign: Assign::Request,
        client_window: 1024,
        request_operations: 1,
        request_max: 64 << 10,
        client_tags: false,
        batch_max: 400,
        batch_bytes: 256 << 10,
        batch_delay: Duration::ZERO,
        pipeline: 64,
        checkpoint_interval: 32,
        window: 128,
        view_timeout: Duration::from_millis(500),
        max_clock_skew: Duration::from_secs(5),
    }
}
