#![allow(clippy::unwrap_used)]

mod order;
mod recoveries;
mod replays;

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use hypostyle_app_api::{
    Application, ApplicationError, ClientId, Context, Digest, Number, PillarId, Position, ReplicaId, Round,
    Seq, Snapshot, Timestamp, View,
};
use hypostyle_crypto::{Domain, Entry, Identity, Seal, Signer, SigningKey, Suite, merkle::Tree, sha256};
use hypostyle_pillars::message::{
    Body, BodyBuilder, Bundle, Request, RequestLimits, Statement, encode_request,
};
use hypostyle_pillars::{CheckpointVote, Decided};

use super::*;
use crate::config::Replies;
use crate::reply::{Failure, ReplyGroup, ReplyMessage, Value, encode_reply, seal_tree};

/// Keeps all it is called with. "panic" panics, "long" answers 40 bytes, "huge" 101, anything else its own length.
#[derive(Debug, Default)]
struct Recorder(Vec<(Context, Vec<u8>)>);

impl Application for Recorder {
    type Snapshot = Nothing;

    fn execute(&mut self, context: &Context, operation: &[u8], reply: &mut Vec<u8>) {
        self.0.push((*context, operation.to_vec()));
        match operation {
            b"panic" => {
                reply.push(1);
                panic!("asked to");
            }
            b"long" => reply.extend_from_slice(&LONG),
            b"huge" => reply.extend_from_slice(&[3; 101]),
            other => reply.push(u8::try_from(other.len()).unwrap()),
        }
    }

    fn digest(&self) -> Digest {
        sha256(&[format!("{:?}", self.0).as_bytes()])
    }

    fn snapshot(&self) -> Nothing {
        Nothing
    }

    fn restore(&mut self, _from: &mut dyn Read) -> Result<(), ApplicationError> {
        Ok(())
    }
}

const LONG: [u8; 40] = [8; 40];

struct Nothing;

impl Snapshot for Nothing {
    fn write_to(&mut self, _to: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}

/// Makes bodies of requests: (client, first number, floor, operations).
struct Clients(Identity);

impl Clients {
    fn new() -> Self {
        let domain = Domain { configuration: Digest::ZERO };
        Self(Identity::new(Signer::Client(ClientId(0)), SigningKey::generate(Suite::Ed25519), domain))
    }

    fn body(&self, timestamp: u64, requests: &[(u32, u64, u64, &[&[u8]])]) -> Arc<Body> {
        let limits = RequestLimits { clients: 8, request_operations: 4, request_max: 1000, tags: None };
        let mut builder = BodyBuilder::new();
        for (client, first, floor, operations) in requests {
            let bytes =
                encode_request(&self.0, ClientId(*client), Number(*first), Number(*floor), operations);
            builder.push(&Request::decode(bytes, &limits).unwrap());
        }
        Arc::new(builder.finish(Timestamp(timestamp)))
    }
}

fn slot(pillar: u16, seq: u64, body: &Arc<Body>) -> Decided {
    let certificate = Arc::from([]);
    Decided { pillar: PillarId(pillar), seq: Seq(seq), view: View(0), body: Arc::clone(body), certificate }
}

/// n = 4, W = 8, K = 2, L = 4.
fn settings(me: u16, pillars: u16) -> ExecutorSettings {
    ExecutorSettings {
        me: ReplicaId(me),
        replicas: 4,
        pillars,
        clients: 8,
        client_window: 8,
        client_result_bytes: 100,
        reply_max: 100,
        replies: Replies::Merkle,
        checkpoint_interval: 2,
        window: 4,
    }
}

struct Scene {
    clients: Clients,
    executor: Executor<Recorder>,
    out: ExecutorOutbox,
}

impl Scene {
    fn new(settings: ExecutorSettings) -> Self {
        let executor = Executor::new(settings, Recorder::default());
        Self { clients: Clients::new(), executor, out: ExecutorOutbox::default() }
    }

    /// Decides a slot with these requests and executes all there is.
    fn execute(&mut self, pillar: u16, seq: u64, requests: &[(u32, u64, u64, &[&[u8]])]) {
        self.decide(pillar, seq, requests);
        self.run();
    }

    fn decide(&mut self, pillar: u16, seq: u64, requests: &[(u32, u64, u64, &[&[u8]])]) {
        let body = self.clients.body(if requests.is_empty() { 0 } else { 5 }, requests);
        self.executor.decided(slot(pillar, seq, &body)).unwrap();
    }

    fn run(&mut self) {
        self.out.clear();
        assert!(!self.executor.run(usize::MAX, &mut self.out));
    }

    fn lookup(&mut self, client: u32, first: u64, count: u16) -> Vec<(u64, Told)> {
        let (client, first) = (ClientId(client), Number(first));
        let lookup = Lookup { client, pillar: PillarId(0), first, count, digest: Digest([1; 32]) };
        self.executor.lookup(&lookup);
        self.run();
        self.told()
    }

    /// Numbers and what they came to, over all groups of the turn.
    fn told(&self) -> Vec<(u64, Told)> {
        let records = messages(&self.out.replies).into_iter().flat_map(|message| message.records);
        records.map(|record| (record.number.0, Told::of(&record))).collect()
    }

    fn executed(&self) -> Vec<(u64, u32, u64)> {
        let calls = self.executor.application().0.iter();
        calls.map(|(c, _)| (c.position.0, c.client.0, c.number.0)).collect()
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Told {
    Result(u8),
    LongWhole,
    LongDigest,
    Error(Failure),
}

impl Told {
    fn of(record: &crate::reply::Record) -> Self {
        match &record.value {
            Value::Inline(code) if record.error => {
                Self::Error(Failure::from_code(std::str::from_utf8(code).unwrap()).unwrap())
            }
            Value::Inline(bytes) => Self::Result(bytes[0]),
            Value::Digest(digest) => {
                assert_eq!((*digest, record.len), (sha256(&[&LONG]), 40));
                match &record.whole {
                    Some(whole) => {
                        assert_eq!(whole[..], LONG);
                        Self::LongWhole
                    }
                    None => Self::LongDigest,
                }
            }
        }
    }
}

/// The groups as their clients decode them.
fn messages(groups: &[ReplyGroup]) -> Vec<ReplyMessage> {
    if groups.is_empty() {
        return Vec::new();
    }
    let tree = seal_tree(groups);
    let decode = |(index, group)| decode(group, index, &tree);
    groups.iter().enumerate().map(decode).collect()
}

fn decode(group: &ReplyGroup, index: usize, tree: &Tree) -> ReplyMessage {
    let mut bytes = Vec::new();
    // The signer of the group is in its first bytes.
    for signer in 0..4 {
        let entries = vec![Entry::Replies { root: tree.root() }];
        let seal = Seal { signer: ReplicaId(signer), entries, signature: Bytes::new() };
        bytes.clear();
        encode_reply(group, index, tree, &seal, &mut bytes);
        if let Ok(message) = ReplyMessage::decode(Bytes::copy_from_slice(&bytes)) {
            return message;
        }
    }
    panic!("no replica's")
}

#[test]
fn an_operation_executes_once_whatever_is_ordered_twice() {
    let mut scene = Scene::new(settings(0, 2));
    scene.execute(0, 1, &[(3, 1, 0, &[b"a"]), (3, 1, 0, &[b"a"]), (3, 2, 0, &[b"bb"])]);
    assert_eq!(scene.told(), [(1, Told::Result(1)), (2, Told::Result(2))]);
    assert_eq!(scene.out.replayed, []);
    scene.execute(1, 1, &[(3, 2, 0, &[b"other"]), (3, 1, 0, &[b"a"])]);
    assert_eq!(scene.told(), []);
    assert_eq!(scene.out.replayed, [PillarId(1)]);
    scene.execute(0, 2, &[(3, 2, 0, &[b"bb"]), (3, 3, 2, &[b"ccc"])]);
    assert_eq!(scene.out.replayed, [], "one operation was new");
    assert_eq!(scene.executed(), [(0, 3, 1), (0, 3, 2), (2, 3, 3)]);
    assert_eq!(scene.executor.counters().skipped_past, 4);
    assert_eq!(scene.executor.counters().replayed_batches, 1);
}

#[test]
fn the_floor_is_applied_first_and_far_numbers_are_skipped() {
    let mut scene = Scene::new(settings(0, 1));
    scene.execute(0, 1, &[(1, 9, 0, &[b"far"]), (1, 8, 0, &[b"in"])]);
    assert_eq!(scene.executed(), [(0, 1, 8)]);
    assert_eq!(scene.executor.counters().skipped_far, 1);
    assert_eq!((&scene.out.replayed[..], &scene.out.floors[..]), (&[][..], &[][..]));
    scene.execute(0, 2, &[(1, 17, 9, &[b"x"]), (1, 5, 0, &[b"void"])]);
    assert_eq!(scene.executed(), [(0, 1, 8), (1, 1, 17)]);
    assert_eq!(scene.out.floors, [(ClientId(1), Number(9))]);
}

#[test]
fn the_highest_numbers_there_are_do_no_harm() {
    let mut scene = Scene::new(settings(0, 1));
    scene.execute(0, 1, &[(1, u64::MAX - 1, u64::MAX - 2, &[b"x"]), (2, u64::MAX - 1, 0, &[b"x"])]);
    assert_eq!(scene.executed(), [(0, 1, u64::MAX - 1)]);
    assert_eq!(scene.lookup(1, u64::MAX - 1, 3), [(u64::MAX - 1, Told::Result(1))]);
}

#[test]
fn time_never_runs_backwards_and_empty_slots_have_none() {
    let mut scene = Scene::new(settings(0, 1));
    let times = [7, 3, 0, 9];
    for (seq, time) in (1..).zip(times) {
        let request: &[&[u8]] = &[b"x"];
        let requests = [(0, seq, 0, request)];
        let body = scene.clients.body(time, if time == 0 { &[] } else { &requests });
        scene.executor.decided(slot(0, seq, &body)).unwrap();
    }
    scene.run();
    let told: Vec<_> =
        scene.executor.application().0.iter().map(|(context, _)| context.timestamp.0).collect();
    assert_eq!(told, [7, 7, 9]);
    assert_eq!((scene.executor.counters().slots, scene.executor.counters().empty_slots), (4, 1));
}

#[test]
fn a_panic_is_answered_with_an_error_and_execution_goes_on() {
    let mut scene = Scene::new(settings(0, 1));
    scene.execute(0, 1, &[(0, 1, 0, &[b"panic", b"after"])]);
    assert_eq!(scene.told(), [(1, Told::Error(Failure::Panicked)), (2, Told::Result(5))]);
    assert_eq!(scene.lookup(0, 1, 1), [(1, Told::Error(Failure::Panicked))]);
    assert_eq!(scene.executor.counters().panics, 1);
}

#[test]
fn a_result_over_reply_max_is_an_error() {
    let mut scene = Scene::new(settings(0, 1));
    scene.execute(0, 1, &[(0, 1, 0, &[b"huge"])]);
    assert_eq!(scene.told(), [(1, Told::Error(Failure::ResultTooLarge))]);
}

#[test]
fn one_replica_in_turn_sends_a_large_result_whole_and_all_do_when_asked_again() {
    let mut scene = Scene::new(settings(2, 1));
    scene.execute(0, 1, &[(0, 1, 0, &[b"long", b"long", b"long"])]);
    assert_eq!(scene.told(), [(1, Told::LongDigest), (2, Told::LongWhole), (3, Told::LongDigest)]);
    // Two of 40 bytes fit the 100 that are kept for a client.
    assert_eq!(
        scene.lookup(0, 1, 4),
        [(1, Told::LongWhole), (2, Told::LongWhole), (3, Told::Error(Failure::ResultNotKept))]
    );
}

#[test]
fn a_client_that_asks_without_end_is_answered_up_to_a_bound_each_turn() {
    let mut scene = Scene::new(settings(0, 1));
    scene.execute(0, 1, &[(0, 1, 0, &[b"a"]), (1, 1, 0, &[b"b"])]);
    let lookup = |client| {
        let (client, pillar, first) = (ClientId(client), PillarId(0), Number(1));
        Lookup { client, pillar, first, count: 1, digest: Digest([1; 32]) }
    };
    for _ in 0..2 {
        (0..1000).for_each(|_| scene.executor.lookup(&lookup(0)));
        scene.executor.lookup(&lookup(1));
        scene.run();
        assert_eq!(scene.told().len(), 8 + 1, "a window's worth; the other client has its own");
    }
    assert_eq!(scene.executor.counters().lookups_refused, 2 * (1000 - 8));
}

#[test]
fn lookups_tell_what_is_known() {
    let mut scene = Scene::new(settings(0, 1));
    scene.execute(0, 1, &[(0, 1, 0, &[b"a"]), (0, 2, 1, &[b"bb"])]);
    assert_eq!(scene.lookup(0, 1, 3), [(1, Told::Error(Failure::Acknowledged)), (2, Told::Result(2))]);
    assert_eq!(scene.lookup(0, 3, 1), [], "not executed yet");
    assert_eq!(scene.executor.counters().lookups, 2);
    for number in 3..=11 {
        scene.execute(0, number - 1, &[(0, number, 1, &[b"x"])]);
    }
    assert_eq!(scene.lookup(0, 2, 1), [(2, Told::Error(Failure::ResultNotKept))]);
}

#[test]
fn replies_are_grouped_by_pillar_and_client_and_tell_the_view() {
    let mut scene = Scene::new(settings(1, 2));
    scene.executor.set_view(PillarId(1), View(6));
    scene.decide(0, 1, &[(4, 1, 0, &[b"a"]), (5, 1, 0, &[b"a"]), (4, 2, 0, &[b"a"])]);
    scene.decide(1, 1, &[(4, 3, 0, &[b"a"])]);
    scene.decide(0, 2, &[(4, 4, 0, &[b"a"])]);
    scene.run();
    let told: Vec<_> = messages(&scene.out.replies)
        .into_iter()
        .map(|m| {
            (m.signer.0, m.pillar.0, m.view.0, m.client.0, m.records.iter().map(|r| r.number.0).collect())
        })
        .collect();
    let expected: [(u16, u16, u64, u32, Vec<u64>); 3] =
        [(1, 0, 0, 4, vec![1, 2, 4]), (1, 0, 0, 5, vec![1]), (1, 1, 6, 4, vec![3])];
    assert_eq!(told, expected);
    assert_eq!(scene.out.floors, [(ClientId(4), Number(4)), (ClientId(5), Number(1))]);
}

#[test]
fn each_reply_may_be_a_group_of_its_own() {
    let mut scene = Scene::new(ExecutorSettings { replies: Replies::Each, ..settings(0, 1) });
    scene.execute(0, 1, &[(0, 1, 0, &[b"a", b"b"]), (1, 1, 0, &[b"c"])]);
    assert_eq!(scene.out.replies.iter().map(ReplyGroup::count).collect::<Vec<_>>(), [1, 1, 1]);
}

#[test]
fn a_turn_ends_with_its_budget() {
    let mut scene = Scene::new(settings(0, 1));
    scene.decide(0, 1, &[(0, 1, 0, &[b"a", b"b", b"c"])]);
    scene.decide(0, 2, &[]);
    scene.decide(0, 3, &[]);
    scene.decide(0, 4, &[(0, 4, 0, &[b"d"])]);
    let turns: Vec<_> = std::iter::from_fn(|| {
        scene.out.clear();
        let more = scene.executor.run(2, &mut scene.out);
        (!scene.out.is_empty()).then_some((scene.out.executed.len(), more))
    })
    .collect();
    assert_eq!(turns, [(1, true), (2, true), (1, false)]);
    assert!(!scene.executor.run(0, &mut scene.out));
}

/// The round to stop after is a peer's word.
#[test]
fn a_pause_after_a_round_that_never_comes_stops_nothing() {
    let mut scene = Scene::new(settings(0, 3));
    scene.executor.pause_after(Some(Round(u64::MAX)));
    scene.execute(0, 1, &[(0, 1, 0, &[b"a"])]);
    assert_eq!(scene.executor.position(), Position(1));
}

#[test]
fn progress_is_told_for_each_pillar() {
    let mut scene = Scene::new(settings(0, 3));
    let executed = |scene: &Scene| [0, 1, 2].map(|pillar| scene.executor.executed(PillarId(pillar)).0);
    assert_eq!(executed(&scene), [0, 0, 0]);
    scene.execute(0, 1, &[]);
    scene.execute(1, 1, &[]);
    assert_eq!((executed(&scene), scene.executor.position()), ([1, 1, 0], Position(2)));
    scene.execute(2, 1, &[]);
    scene.execute(0, 2, &[]);
    assert_eq!(executed(&scene), [2, 1, 1]);
    let again = slot(0, 2, &Arc::new(Body::empty()));
    assert_eq!(scene.executor.decided(again), Err(Refusal::Executed));
    assert_eq!(scene.executor.counters().refused_slots, 1);
}

fn checkpoint_vote(replica: u16, round: u64, digest: Digest) -> CheckpointVote {
    let (replica, round) = (ReplicaId(replica), Round(round));
    let bundle = Bundle::new(replica, PillarId(0), &[Statement::checkpoint(round, digest)]);
    let seal = Seal { signer: replica, entries: vec![bundle.entry()], signature: Bytes::new() };
    CheckpointVote { replica, round, digest, bundle: Arc::new(bundle.seal(seal)) }
}

/// The checkpoint that the turn took.
fn checkpoint(scene: &Scene) -> Option<(Round, Digest)> {
    scene.out.outputs.iter().find_map(|output| match output {
        Output::Checkpoint { round, digest } => Some((*round, *digest)),
        _ => None,
    })
}

#[test]
fn a_checkpoint_is_taken_after_every_kth_round() {
    let mut scene = Scene::new(settings(0, 2));
    let mut taken = Vec::new();
    for seq in 1..=4 {
        for pillar in 0..2 {
            scene.execute(pillar, seq, &[]);
            taken.extend(checkpoint(&scene).map(|(round, _)| (round.0, pillar, seq)));
        }
    }
    assert_eq!(taken, [(2, 1, 2), (4, 1, 4)]);
    assert_eq!(scene.executor.last_checkpoint().unwrap().0, Round(4));
}

#[test]
fn equal_checkpoints_become_stable_and_a_different_state_stops() {
    let mut scene = Scene::new(settings(0, 1));
    scene.execute(0, 1, &[(0, 1, 0, &[b"a"])]);
    scene.execute(0, 2, &[]);
    let (round, digest) = checkpoint(&scene).unwrap();
    assert_eq!(digest, scene.executor.state_digest());
    for replica in [0, 3, 1] {
        scene.executor.checkpoint_vote(checkpoint_vote(replica, 2, digest), &mut scene.out);
    }
    assert!(matches!(scene.out.outputs.last(), Some(Output::Stable(stable)) if stable.round == round));
    assert_eq!(scene.executor.stable(), (round, digest));

    scene.execute(0, 3, &[(0, 2, 0, &[b"b"])]);
    scene.decide(0, 4, &[]);
    scene.decide(0, 5, &[(0, 3, 0, &[b"c"])]);
    for replica in [3, 1, 2] {
        scene.executor.checkpoint_vote(checkpoint_vote(replica, 4, Digest([1; 32])), &mut scene.out);
    }
    assert!(!scene.executor.diverged(), "its own checkpoint isn't taken yet");
    scene.run();
    assert!(scene.executor.diverged());
    assert!(matches!(scene.out.outputs.last(), Some(Output::Diverged { round: Round(4), .. })));
    assert_eq!(scene.executor.position(), Position(4), "slot 5 waits for ever");
    assert_eq!(scene.lookup(0, 1, 1), []);
}

#[test]
fn the_state_digest_covers_table_time_position_and_application() {
    let digest = |steps: &dyn Fn(&mut Scene)| {
        let mut scene = Scene::new(settings(0, 1));
        steps(&mut scene);
        scene.executor.state_digest()
    };
    let digests = [
        digest(&|_| {}),
        digest(&|s| s.execute(0, 1, &[])),
        digest(&|s| s.execute(0, 1, &[(0, 1, 0, &[b"a"])])),
        digest(&|s| s.execute(0, 1, &[(0, 1, 0, &[b"b"])])),
        // Executes nothing, and moves the client table and the time.
        digest(&|s| s.execute(0, 1, &[(0, 50, 1, &[b"far"])])),
        digest(&|s| s.execute(0, 1, &[(0, 50, 2, &[b"far"])])),
    ];
    for (index, digest) in digests.iter().enumerate() {
        assert!(!digests[..index].contains(digest), "{index}");
    }
    let other_replica = |me| {
        let mut scene = Scene::new(settings(me, 1));
        scene.execute(0, 1, &[(0, 1, 0, &[b"long"])]);
        scene.executor.state_digest()
    };
    assert_eq!(other_replica(0), other_replica(1));
}
