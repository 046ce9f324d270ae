#![allow(clippy::unwrap_used)]

mod liars;
mod tags;

use hypostyle_app_api::Digest;
use hypostyle_crypto::{Domain, Keyring, Seal, Signer, SigningKey, Suite, sha256};
use hypostyle_pillars::message::encode_request;
use hypostyle_pillars::{Assign, Leaders};

use super::*;
use crate::reply::{Failure, Value};

const MS: Duration = Duration::from_millis(1);
const CLIENT: ClientId = ClientId(0);
const P0: PillarId = PillarId(0);
const NOBODY: [u16; 0] = [];

fn settings(replicas: u16) -> ClientSettings {
    ClientSettings {
        replicas,
        faults: (replicas - 1) / 3,
        pillars: 1,
        clients: 2,
        assign: Assign::Request,
        leaders: Leaders::Spread,
        client_window: 8,
        request_operations: 1,
        request_max: 4096,
        tags: false,
        reply_max: 4096,
        client_timeout: 300 * MS,
    }
}

fn domain() -> Domain {
    Domain { configuration: sha256(&[b"a cluster"]) }
}

fn identity() -> Arc<Identity> {
    Arc::new(Identity::new(Signer::Client(CLIENT), SigningKey::generate(Suite::Ed25519), domain()))
}

/// A client with all its connections up, and a pen for the replicas' replies.
struct Scene {
    core: ClientCore,
    identity: Arc<Identity>,
    now: Instant,
    out: ClientOutput,
}

impl Scene {
    fn new(settings: ClientSettings, first: u64) -> Self {
        let mut scene = Self::unconnected(settings, first);
        for (replica, pillar) in scene.core.connections() {
            scene.core.connected(replica, pillar, None, &mut scene.out);
        }
        scene
    }

    fn unconnected(settings: ClientSettings, first: u64) -> Self {
        let identity = identity();
        let core = ClientCore::new(settings, Arc::clone(&identity), Number(first));
        Self { core, identity, now: Instant(1), out: ClientOutput::default() }
    }

    fn submit(&mut self, operation: &[u8]) -> Result<Number, NotSent> {
        self.core.submit(self.now, &[operation], &mut self.out)
    }

    /// To whom requests went since last asked, in order.
    fn sent(&mut self) -> Vec<u16> {
        self.out.sends.drain(..).map(|send| send.replica.0).collect()
    }

    fn completed(&mut self) -> Vec<(u64, Result<Bytes, OperationError>)> {
        self.out.completions.drain(..).map(|done| (done.number.0, done.result)).collect()
    }

    fn tick_after(&mut self, duration: Duration) -> Vec<u16> {
        self.now = self.now + duration;
        self.core.tick(self.now, &mut self.out);
        self.sent()
    }

    /// The record a correct replica would make of this result.
    fn record(&self, number: u64, result: &'static [u8], whole: bool) -> Record {
        let request = self.core.request(Number(number)).map(InFlight::short_digest);
        record(number, request.unwrap_or_default(), result, whole)
    }

    fn told(&mut self, replica: u16, view: u64, records: Vec<Record>) {
        let reply = reply(replica, P0, view, records);
        if self.core.admit(ReplicaId(replica), &reply).is_ok() {
            self.core.count_all(self.now, &reply, &mut self.out);
        }
    }

    fn answer(&mut self, replica: u16, number: u64, result: &'static [u8]) {
        let record = self.record(number, result, false);
        self.told(replica, 0, vec![record]);
    }
}

fn record(number: u64, digest16: [u8; 16], result: &'static [u8], whole: bool) -> Record {
    let bytes = Bytes::from_static(result);
    let inline = result.len() <= 32;
    Record {
        number: Number(number),
        digest16,
        error: false,
        len: u32::try_from(result.len()).unwrap(),
        value: if inline { Value::Inline(bytes.clone()) } else { Value::Digest(sha256(&[result])) },
        whole: (whole && !inline).then_some(bytes),
    }
}

fn reply(signer: u16, pillar: PillarId, view: u64, records: Vec<Record>) -> ReplyMessage {
    let signer = ReplicaId(signer);
    let seal = Seal { signer, entries: vec![], signature: Bytes::new() };
    ReplyMessage { signer, pillar, view: View(view), client: CLIENT, records, proof: ReplyProof::Seal(seal) }
}

fn ok(result: &'static [u8]) -> Result<Bytes, OperationError> {
    Ok(Bytes::from_static(result))
}

#[test]
fn f_plus_1_equal_replies_settle_an_operation_once() {
    let mut scene = Scene::new(settings(4), 1);
    assert_eq!(scene.submit(b"add"), Ok(Number(1)));
    assert_eq!(scene.sent(), [0], "to the primary of view 0");
    scene.answer(2, 1, b"7");
    assert_eq!(scene.completed(), []);
    scene.now = scene.now + 3 * MS;
    scene.answer(3, 1, b"7");
    let done = scene.out.completions.pop().unwrap();
    assert_eq!((done.number, done.result, done.latency, done.resent), (Number(1), ok(b"7"), 3 * MS, false));
    scene.answer(0, 1, b"7");
    assert_eq!(scene.completed(), []);
    assert_eq!(
        (scene.core.floor(), scene.core.in_flight(), scene.core.next_deadline()),
        (Number(1), 0, None)
    );
}

#[test]
fn late_replies_are_dropped_before_any_signature_is_checked() {
    let mut scene = Scene::new(settings(4), 1);
    scene.submit(b"add").unwrap();
    let record = scene.record(1, b"7", false);
    let late = |scene: &Scene, replica| {
        scene.core.admit(ReplicaId(replica), &reply(replica, P0, 0, vec![record.clone()]))
    };
    assert_eq!(late(&scene, 1), Ok(()));
    scene.answer(1, 1, b"7");
    assert_eq!(late(&scene, 1), Err(Rejected::Late), "said that before");
    scene.answer(2, 1, b"7");
    assert_eq!(late(&scene, 3), Err(Rejected::Late), "settled");
}

#[test]
fn replies_of_others_for_others_and_of_unknown_pillars_are_dropped() {
    let mut scene = Scene::new(settings(4), 1);
    scene.submit(b"add").unwrap();
    let record = scene.record(1, b"7", false);
    let honest = reply(1, P0, 0, vec![record.clone()]);
    assert_eq!(scene.core.admit(ReplicaId(2), &honest), Err(Rejected::OtherReplica));
    let other = ReplyMessage { client: ClientId(1), ..honest.clone() };
    assert_eq!(scene.core.admit(ReplicaId(1), &other), Err(Rejected::OtherClient));
    let other = ReplyMessage { pillar: PillarId(1), ..honest };
    assert_eq!(scene.core.admit(ReplicaId(1), &other), Err(Rejected::UnknownPillar));
    let stranger = reply(4, P0, 0, vec![record]);
    assert_eq!(scene.core.admit(ReplicaId(4), &stranger), Err(Rejected::UnknownPillar));
    let unknown = reply(1, P0, 0, vec![self::record(u64::MAX, [0; 16], b"7", false)]);
    assert_eq!(scene.core.admit(ReplicaId(1), &unknown), Err(Rejected::Late));
}

#[test]
fn one_replica_in_many_connections_and_pillars_counts_once() {
    let mut scene = Scene::new(ClientSettings { pillars: 4, ..settings(4) }, 1);
    scene.submit(b"add").unwrap();
    for pillar in [0, 1, 2, 3, 0] {
        let record = scene.record(1, b"lie", false);
        scene.core.count_all(scene.now, &reply(3, PillarId(pillar), 0, vec![record]), &mut scene.out);
    }
    assert_eq!(scene.completed(), []);
}

#[test]
fn a_verified_reply_counts() {
    let mut scene = Scene::new(settings(4), 1);
    scene.submit(b"add").unwrap();
    let keys: Vec<_> = (0..4).map(|_| SigningKey::generate(Suite::Ed25519)).collect();
    let public: Vec<_> = keys.iter().map(SigningKey::public).collect();
    let keyring = Keyring::new(domain(), &public, &[]).unwrap();
    for (id, key) in (0..4).zip(keys).skip(2) {
        let entries = vec![hypostyle_crypto::Entry::Replies { root: Digest::ZERO }];
        let identity = Identity::new(Signer::Replica(ReplicaId(id)), key, domain());
        let content = Seal::content(ReplicaId(id), &entries);
        let signature = identity.sign(hypostyle_crypto::Tag::Seal, &content);
        let mut reply = reply(id, P0, 0, vec![scene.record(1, b"7", false)]);
        reply.proof = ReplyProof::Seal(Seal { signer: ReplicaId(id), entries, signature });
        let verified = keyring.verify(reply).unwrap();
        scene.core.on_verified(scene.now, &verified, &mut scene.out);
    }
    assert_eq!(scene.completed(), [(1, ok(b"7"))]);
}

#[test]
fn operations_settle_out_of_order_and_the_floor_follows() {
    let mut scene = Scene::new(settings(4), 1);
    for number in 1..=3 {
        assert_eq!(scene.submit(b"add"), Ok(Number(number)));
    }
    for number in [3, 2, 1] {
        scene.answer(0, number, b"");
        scene.answer(1, number, b"");
        assert_eq!(scene.completed(), [(number, ok(b""))]);
        assert_eq!(scene.core.floor().0, if number == 1 { 3 } else { 0 });
    }
}

#[test]
fn numbers_stay_within_the_window_above_the_floor() {
    let mut scene = Scene::new(settings(4), 100);
    (100..108).for_each(|number| assert_eq!(scene.submit(b""), Ok(Number(number))));
    assert_eq!((scene.submit(b""), scene.core.room()), (Err(NotSent::WindowFull { window: 8 }), 0));
    scene.answer(0, 101, b"");
    scene.answer(1, 101, b"");
    assert_eq!(scene.core.room(), 0, "100 is still open");
    scene.answer(0, 100, b"");
    scene.answer(1, 100, b"");
    assert_eq!((scene.core.floor(), scene.submit(b"")), (Number(101), Ok(Number(108))));
    let request = scene.out.sends.last().unwrap().request.clone();
    let request = Request::decode(request, &scene.core.settings.request_limits()).unwrap();
    assert_eq!((request.first(), request.floor()), (Number(108), Number(101)), "carries the floor");
}

#[test]
fn what_is_refused_changes_nothing() {
    let mut scene = Scene::new(settings(4), 1);
    let large = vec![0; 4096];
    assert!(matches!(scene.submit(&large), Err(NotSent::TooLarge { max: 4096, .. })));
    let two = scene.core.submit(scene.now, &[b"a", b"b"], &mut scene.out);
    assert_eq!(two, Err(NotSent::Operations { first: Number(1), count: 2, max: 1 }));
    assert!(scene.core.submit(scene.now, &[], &mut scene.out).is_err());
    assert_eq!((scene.sent(), scene.core.next_number(), scene.core.in_flight()), (vec![], Number(1), 0));
    let mut scene = Scene::new(settings(4), u64::MAX - 10);
    assert_eq!(scene.submit(b""), Err(NotSent::NumbersExhausted));
}

#[test]
fn several_operations_of_a_request_settle_one_by_one() {
    let mut scene = Scene::new(ClientSettings { request_operations: 4, ..settings(4) }, 1);
    assert_eq!(scene.core.room(), 3, "a request crosses no multiple of 4");
    scene.core.submit(scene.now, &[b"a", b"b", b"c"], &mut scene.out).unwrap();
    assert_eq!((scene.sent().len(), scene.core.room()), (1, 4));
    let digest = scene.core.request(Number(1)).unwrap().short_digest();
    for number in [1, 3] {
        for replica in [0, 1] {
            scene.told(replica, 0, vec![record(number, digest, b"", false)]);
        }
    }
    assert_eq!(scene.completed().len(), 2);
    assert_eq!(scene.core.floor(), Number(0), "the request is kept until its last operation is settled");
    assert_eq!(scene.tick_after(400 * MS).len(), 4);
    for replica in [0, 1] {
        scene.told(replica, 0, vec![record(2, digest, b"", false)]);
    }
    assert_eq!((scene.completed(), scene.core.floor()), (vec![(2, ok(b""))], Number(3)));
}

#[test]
fn after_the_timeout_to_all_with_back_off() {
    let mut scene = Scene::new(settings(4), 1);
    scene.submit(b"add").unwrap();
    assert_eq!(scene.sent(), [0]);
    assert_eq!(scene.tick_after(299 * MS), NOBODY);
    assert_eq!(scene.tick_after(MS), [0, 1, 2, 3]);
    assert_eq!(scene.core.next_deadline(), Some(scene.now + 600 * MS));
    assert_eq!(scene.tick_after(599 * MS), NOBODY);
    assert_eq!(scene.tick_after(MS), [0, 1, 2, 3]);
    for wait in [1_200, 2_400, 4_800, 9_600, 9_600, 9_600] {
        assert_eq!(scene.core.next_deadline(), Some(scene.now + wait * MS));
        assert_eq!(scene.tick_after(wait * MS).len(), 4);
    }
    scene.answer(0, 1, b"7");
    scene.answer(1, 1, b"7");
    assert!(scene.out.completions.pop().unwrap().resent);
    assert_eq!((scene.core.next_deadline(), scene.core.schedule.len()), (None, 0));
}

#[test]
fn a_slow_cluster_raises_the_timeout_of_requests_already_sent() {
    let mut scene = Scene::new(settings(4), 1);
    (1..=4).for_each(|number| assert_eq!(scene.submit(b""), Ok(Number(number))));
    scene.sent();
    scene.now = scene.now + 290 * MS;
    for number in 1..=3 {
        scene.answer(0, number, b"");
        scene.answer(1, number, b"");
    }
    assert_eq!(scene.tick_after(100 * MS), NOBODY, "where all take 290 ms, 390 ms are not late");
    assert_eq!(scene.tick_after(500 * MS), [0, 1, 2, 3]);
}

#[test]
fn many_late_requests_go_out_in_paced_portions() {
    let mut scene = Scene::new(ClientSettings { client_window: 200, ..settings(4) }, 1);
    (1..=200).for_each(|number| assert_eq!(scene.submit(b""), Ok(Number(number))));
    scene.sent();
    assert_eq!(scene.tick_after(300 * MS).len(), 4 * RESENDS_PER_TICK);
    assert_eq!(scene.core.next_deadline(), Some(scene.now + RESEND_PAUSE));
    assert_eq!(scene.tick_after(RESEND_PAUSE / 2), NOBODY);
    let portions =
        [RESEND_PAUSE / 2, RESEND_PAUSE, RESEND_PAUSE].map(|pause| scene.tick_after(pause).len() / 4);
    assert_eq!(portions, [64, 64, 8]);
}

#[test]
fn what_is_due_goes_out_when_its_connection_comes_up() {
    let mut scene = Scene::unconnected(settings(4), 1);
    scene.submit(b"").unwrap();
    assert_eq!(scene.sent(), NOBODY);
    scene.core.connected(ReplicaId(1), P0, None, &mut scene.out);
    assert_eq!(scene.sent(), NOBODY, "a backup gets nothing before the timeout");
    scene.core.connected(ReplicaId(0), P0, None, &mut scene.out);
    assert_eq!(scene.sent(), [0]);
    scene.core.disconnected(ReplicaId(0), P0, &mut scene.out);
    assert_eq!(scene.sent(), [1], "the primary is gone, and what it was sent may be lost");
    scene.submit(b"").unwrap();
    assert_eq!(scene.sent(), [1], "no use in waiting for it");
    assert_eq!(scene.tick_after(300 * MS), [1, 1], "only whom it can reach");
    scene.core.connected(ReplicaId(0), P0, None, &mut scene.out);
    scene.core.connected(ReplicaId(3), P0, None, &mut scene.out);
    assert_eq!(scene.sent(), [0, 0, 3, 3]);
    scene.core.connected(ReplicaId(9), P0, None, &mut scene.out);
    scene.core.connected(ReplicaId(1), PillarId(9), None, &mut scene.out);
    assert_eq!(scene.sent(), NOBODY);
}

#[test]
fn the_primary_follows_the_view_that_f_plus_1_replicas_tell() {
    let mut scene = Scene::new(settings(4), 1);
    let tell = |scene: &mut Scene, replica: u16, view| {
        scene.core.count_all(scene.now, &reply(replica, P0, view, vec![]), &mut scene.out);
    };
    tell(&mut scene, 3, u64::MAX);
    scene.submit(b"").unwrap();
    assert_eq!(scene.sent(), [0], "a liar alone moves nothing");
    tell(&mut scene, 1, 2);
    assert_eq!(
        (scene.sent(), scene.core.believed_view(P0)),
        (vec![2], View(2)),
        "what the old one hasn't served"
    );
    scene.submit(b"").unwrap();
    assert_eq!(scene.sent(), [2]);
}

/// A client that can't reach a primary waits its timeout each time. Were that taken for the cluster's latency, each wait
/// would raise the next.
#[test]
fn waiting_for_a_primary_that_does_not_answer_makes_no_wait_longer() {
    let mut scene = Scene::new(settings(4), 1);
    for number in 1..=100 {
        scene.submit(b"").unwrap();
        assert_eq!(scene.sent(), [0]);
        assert_eq!(scene.tick_after(300 * MS), [0, 1, 2, 3]);
        scene.now = scene.now + 20 * MS;
        [1, 2].iter().for_each(|replica| scene.answer(*replica, number, b""));
        assert_eq!(scene.completed().len(), 1);
    }
}

#[test]
fn each_pillar_has_its_own_primary_and_connections() {
    let settings = ClientSettings { pillars: 4, ..settings(4) };
    let mut scene = Scene::new(settings.clone(), 1);
    assert_eq!(scene.core.connections().count(), 16);
    for number in 1..=8 {
        scene.submit(b"").unwrap();
        let send = scene.out.sends.pop().unwrap();
        assert_eq!(send.pillar, settings.pillar(CLIENT, Number(number)));
        assert_eq!(send.replica.0, send.pillar.0, "leaders are spread");
    }
    let by_client = ClientSettings { assign: Assign::Client, ..settings };
    let core = ClientCore::new(by_client, identity(), Number(1));
    assert_eq!(core.connections().count(), 4, "one pillar orders all its requests");
}

const LARGE: &[u8] = &[7; 100];

#[test]
fn a_large_result_is_whole_or_not_at_all() {
    let mut scene = Scene::new(settings(4), 1);
    scene.submit(b"").unwrap();
    scene.sent();
    let mut forged = scene.record(1, LARGE, true);
    forged.whole = Some(Bytes::from_static(b"not what the digest says"));
    scene.told(3, 0, vec![forged]);
    scene.answer(0, 1, LARGE);
    assert_eq!(scene.completed(), [], "two agree on the digest, nobody sent the bytes");
    assert_eq!(scene.core.next_deadline(), Some(scene.now + 2 * MS));
    assert_eq!(scene.tick_after(2 * MS), [0, 3], "asks those who agree");
    let whole = scene.record(1, LARGE, true);
    scene.told(0, 0, vec![whole]);
    assert_eq!(scene.completed(), [(1, ok(LARGE))]);
    assert_eq!(scene.core.next_deadline(), None);
}

#[test]
fn errors_are_agreed_upon_like_results() {
    let mut scene = Scene::new(settings(4), 1);
    scene.submit(b"").unwrap();
    let mut refused = scene.record(1, b"application-panicked", false);
    scene.told(0, 0, vec![refused.clone()]);
    refused.error = true;
    scene.told(1, 0, vec![refused.clone()]);
    assert_eq!(scene.completed(), [], "a result and an error differ");
    scene.told(2, 0, vec![refused]);
    assert_eq!(scene.completed(), [(1, Err(OperationError::Failure(Failure::Panicked)))]);
}

#[test]
fn a_number_that_was_used_before_is_told() {
    let mut scene = Scene::new(settings(4), 1);
    scene.submit(b"new").unwrap();
    scene.told(0, 0, vec![record(1, [9; 16], b"7", false)]);
    scene.answer(1, 1, b"7");
    assert_eq!(scene.completed(), []);
    scene.told(2, 0, vec![record(1, [9; 16], b"7", false)]);
    assert_eq!(scene.completed(), [(1, Err(OperationError::NumberUsed(Number(1))))]);
}

#[test]
fn an_abandoned_number_lets_the_floor_pass() {
    let mut scene = Scene::new(settings(4), 1);
    scene.submit(b"").unwrap();
    scene.core.abandon(Number(1));
    scene.core.abandon(Number(1));
    scene.core.abandon(Number(7));
    assert_eq!(
        (scene.core.floor(), scene.core.in_flight(), scene.core.next_deadline()),
        (Number(1), 0, None)
    );
    scene.told(0, 0, vec![record(1, [0; 16], b"", false)]);
    scene.told(1, 0, vec![record(1, [0; 16], b"", false)]);
    assert_eq!(scene.completed(), []);
}

#[test]
fn requests_signed_ahead_go_in_order_and_within_the_window() {
    let mut scene = Scene::new(settings(4), 1);
    let signed = |scene: &Scene, number: u64| {
        let floor = scene.core.settings.floor_ahead(Number(1), Number(number));
        encode_request(&scene.identity, CLIENT, Number(number), floor, &[b"op"])
    };
    let submit = |scene: &mut Scene, request| scene.core.submit_signed(scene.now, request, &mut scene.out);
    for number in 1..=8 {
        let request = signed(&scene, number);
        assert_eq!(submit(&mut scene, request), Ok(Number(number)));
    }
    let ninth = signed(&scene, 9);
    assert_eq!(submit(&mut scene, ninth.clone()), Err(NotSent::WindowFull { window: 8 }));
    scene.answer(0, 1, b"");
    scene.answer(1, 1, b"");
    let tenth = signed(&scene, 10);
    let skipped = NotSent::OutOfTurn { first: Number(10), expected: Number(9) };
    assert_eq!(submit(&mut scene, tenth), Err(skipped));
    assert_eq!(submit(&mut scene, ninth.clone()), Ok(Number(9)));
    assert_eq!(scene.out.sends.pop().unwrap().request, ninth, "byte for byte");
    assert_eq!(submit(&mut scene, Bytes::from_static(b"garbage")), Err(NotSent::NotOurs("truncated")));
    let others = encode_request(&scene.identity, ClientId(1), Number(10), Number(0), &[b"op"]);
    assert!(matches!(submit(&mut scene, others), Err(NotSent::NotOurs(_))));
    scene.answer(0, 2, b"");
    scene.answer(1, 2, b"");
    let greedy = encode_request(&scene.identity, CLIENT, Number(10), Number(9), &[b"op"]);
    assert!(
        matches!(submit(&mut scene, greedy), Err(NotSent::WindowFull { .. })),
        "acknowledges what is open"
    );
}
