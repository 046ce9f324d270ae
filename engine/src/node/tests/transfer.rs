//! Replicas that lag by more than the window, or whose state is wrong, take over the state of others.

#[path = "../../../examples/bank/bank.rs"]
mod bank;

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hypostyle_app_api::{Application, ApplicationError, ClientId, Context, Digest, Number, ReplicaId, View};
use hypostyle_pillars::message::PeerFrame;
use hypostyle_pillars::{Assign, assigned_pillar};

use super::harness::{Frame, Stepped};
use crate::reply::{CLIENT_FRAME, Value};
use crate::transfer::TransferMessage;
use bank::{Bank, BankSnapshot};

const LAGGARD: u16 = 3;
const ALL: [u16; 4] = [0, 1, 2, 3];
/// K, L and P of these clusters.
const INTERVAL: u32 = 4;
const WINDOW: u32 = 8;
const PILLARS: u16 = 2;
/// 800 KiB, 13 chunks.
const PAGES: usize = 200;

/// A bank whose memory fails when told to.
struct Fragile {
    bank: Bank,
    fails: Arc<AtomicBool>,
}

impl Application for Fragile {
    type Snapshot = BankSnapshot;

    fn execute(&mut self, context: &Context, operation: &[u8], reply: &mut Vec<u8>) {
        if self.fails.swap(false, Ordering::Relaxed) {
            self.bank.set(9, self.bank.balance(9).unwrap() ^ 4);
        }
        self.bank.execute(context, operation, reply);
    }

    fn digest(&self) -> Digest {
        self.bank.digest()
    }

    fn snapshot(&self) -> BankSnapshot {
        self.bank.snapshot()
    }

    fn restore(&mut self, from: &mut dyn Read) -> Result<(), ApplicationError> {
        self.bank.restore(from)
    }
}

/// Four replicas of a bank, and a client that moves money.
struct Scene {
    cluster: Stepped<Fragile>,
    number: u64,
    /// Unreachable.
    out: BTreeSet<u16>,
    /// One for each replica.
    failures: Vec<Arc<AtomicBool>>,
}

impl Scene {
    fn new() -> Self {
        let failures: Vec<_> = (0..4).map(|_| Arc::new(AtomicBool::new(false))).collect();
        let mut each = failures.clone().into_iter();
        let configure = |config: &mut crate::config::ClusterConfig| {
            (config.checkpoint_interval, config.window, config.pillars) = (INTERVAL, WINDOW, PILLARS);
            (config.batch_max, config.catch_up_bytes) = (8, 1 << 20);
        };
        let make = || Fragile { bank: Bank::new(PAGES), fails: each.next().unwrap() };
        Self { cluster: Stepped::new(4, configure, make), number: 0, out: BTreeSet::new(), failures }
    }

    /// One operation for each slot; the client acknowledges all but the last ten.
    fn submit(&mut self) {
        self.number += 1;
        let (number, accounts) = (self.number, (PAGES * 512) as u64);
        let operation = format!("move {} {} 1", number * 31 % accounts, number * 17 % accounts);
        self.submit_as(number, number.saturating_sub(10), &operation);
    }

    fn submit_as(&mut self, number: u64, floor: u64, operation: &str) {
        let operations = self.cluster.config.request_operations;
        let pillar = assigned_pillar(Assign::Request, PILLARS, operations, ClientId(0), Number(number));
        let request = self.cluster.request(0, number, floor, operation);
        let frame = [&[CLIENT_FRAME], &request[..]].concat();
        // In view 0.
        let primary = pillar.0;
        assert!(self.cluster.pillar_frame(pillar, 0, primary, &frame).is_continue());
    }

    fn order(&mut self, operations: u64) {
        for _ in 0..operations {
            self.submit();
            self.run();
        }
    }

    fn run(&mut self) {
        let out = self.out.clone();
        self.cluster.run_without(|frame| is_lost(&out, frame));
    }

    fn pass(&mut self, milliseconds: u64) {
        let out = self.out.clone();
        self.cluster.pass(Duration::from_millis(milliseconds), |frame| is_lost(&out, frame));
    }

    /// As time passes, 5 ms a step: what becomes of every frame is up to `change`.
    fn pass_changing(&mut self, steps: usize, mut change: impl FnMut(Frame) -> Option<Frame>) {
        let out = self.out.clone();
        for _ in 0..steps {
            self.cluster.wait(Duration::from_millis(5));
            self.cluster.run_changing(|frame| if is_lost(&out, &frame) { None } else { change(frame) });
        }
    }

    /// The laggard hears nothing for 20·L slots of each pillar.
    fn isolate_and_heal(&mut self) {
        self.isolate();
        self.heal(LAGGARD);
    }

    fn isolate(&mut self) {
        self.out.insert(LAGGARD);
        self.order(20 * u64::from(WINDOW) * u64::from(PILLARS));
        assert!(self.cluster.executed(ReplicaId(LAGGARD)).1.0 < 20);
    }

    fn heal(&mut self, replica: u16) {
        self.out.remove(&replica);
        self.cluster.reconnect(replica);
    }

    fn counter(&mut self, replica: u16, name: &str) -> u64 {
        self.cluster.counter(ReplicaId(replica), name)
    }

    fn installed(&mut self) -> u64 {
        self.counter(LAGGARD, "transfers_installed")
    }

    #[track_caller]
    fn eventually(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        for _ in 0..400 {
            if done(self) {
                return;
            }
            self.pass(20);
        }
        self.show();
        panic!("not in 8 seconds");
    }

    fn show(&mut self) {
        for replica in ALL.map(ReplicaId) {
            let (_, position, digest) = self.cluster.executed(replica);
            let (condition, progress) = (self.cluster.condition(replica), self.cluster.progress(replica));
            println!("{replica}: {position} {digest:?} {condition:?} {progress:?}");
            println!("{:?}", self.cluster.counters(replica));
        }
    }

    fn at_the_same_place(&mut self, replicas: &[u16]) -> bool {
        let places: Vec<_> = replicas
            .iter()
            .map(|replica| {
                let (_, position, digest) = self.cluster.executed(ReplicaId(*replica));
                (position, digest)
            })
            .collect();
        places.windows(2).all(|pair| pair[0] == pair[1])
    }

    /// All go on together, and nothing is executed twice.
    #[track_caller]
    fn assert_all_go_on(&mut self) {
        self.order(3 * u64::from(WINDOW));
        self.eventually(|scene| scene.at_the_same_place(&ALL));
        for replica in ALL {
            assert_eq!(self.cluster.condition(ReplicaId(replica)), (false, false), "replica {replica}");
        }
        self.cluster.replies();
        let number = self.number + 1;
        self.number = number;
        self.submit_as(number, number - 1, "sum");
        self.run();
        let sums: Vec<_> = self.cluster.replies().into_iter().flat_map(|reply| reply.records).collect();
        assert_eq!(sums.len(), 4, "every replica answers");
        let sum = (PAGES as u64 * 512 * bank::DEPOSIT).to_string();
        assert!(
            sums.iter().all(|record| record.value == Value::Inline(Bytes::from(sum.clone()))),
            "{sums:?}"
        );
    }
}

fn is_lost(out: &BTreeSet<u16>, frame: &Frame) -> bool {
    out.contains(&frame.from.0) || out.contains(&frame.to.0)
}

fn message(frame: &Frame) -> Option<TransferMessage> {
    let transfer = frame.payload[0] == PeerFrame::TRANSFER;
    transfer.then(|| TransferMessage::decode(&frame.payload.slice(1..)).unwrap())
}

fn with(frame: &Frame, message: &TransferMessage) -> Frame {
    let payload = [&[PeerFrame::TRANSFER], &message.encode()[..]].concat().into();
    Frame { payload, ..frame.clone() }
}

#[test]
fn a_replica_isolated_for_twenty_windows_catches_up_in_an_idle_cluster() {
    let mut scene = Scene::new();
    scene.order(5);
    scene.isolate_and_heal();
    scene.eventually(|scene| scene.at_the_same_place(&ALL));
    assert_eq!(scene.installed(), 1);
    let donors: u64 = (0..3).map(|replica| scene.counter(replica, "snapshots_taken")).sum();
    assert!((2..=3).contains(&donors), "{donors}");
    scene.assert_all_go_on();
}

#[test]
fn it_catches_up_while_the_others_go_on() {
    let mut scene = Scene::new();
    scene.isolate_and_heal();
    scene.eventually(|scene| {
        scene.order(3);
        scene.installed() == 1 && scene.at_the_same_place(&ALL)
    });
    assert_eq!(scene.counter(LAGGARD, "transfers_started"), 1);
    scene.assert_all_go_on();
}

/// The cluster can order nothing without the laggard, and the laggard can't vote for checkpoints without the state.
#[test]
fn a_laggard_is_rescued_when_its_vote_is_the_one_that_is_missing() {
    let mut scene = Scene::new();
    scene.isolate();
    scene.out.insert(2);
    (0..30).for_each(|_| scene.submit());
    scene.run();
    let stuck = scene.cluster.executed(ReplicaId(0)).1;
    scene.pass(600);
    assert_eq!(scene.cluster.executed(ReplicaId(0)).1, stuck, "two of four order nothing");
    scene.heal(LAGGARD);
    scene.eventually(|scene| scene.at_the_same_place(&[0, 1, LAGGARD]) && scene.installed() == 1);
    scene.order(6 * u64::from(WINDOW));
    scene.eventually(|scene| scene.cluster.executed(ReplicaId(LAGGARD)).1 > stuck);
    scene.eventually(|scene| scene.at_the_same_place(&[0, 1, LAGGARD]));
}

#[test]
fn a_donor_that_lies_in_a_chunk_is_found_out_and_done_without() {
    let mut scene = Scene::new();
    scene.isolate_and_heal();
    let mut lies = 0;
    scene.pass_changing(300, |frame| match message(&frame) {
        Some(TransferMessage::Chunk { root, index, path, data }) if frame.from.0 == 1 => {
            lies += 1;
            let mut data = data.to_vec();
            data[7] ^= 1;
            Some(with(&frame, &TransferMessage::Chunk { root, index, path, data: data.into() }))
        }
        _ => Some(frame),
    });
    assert!(lies > 0);
    assert_eq!(scene.counter(LAGGARD, "transfer_chunks_refused"), 1, "nobody asks it again");
    assert_eq!(scene.installed(), 1);
    scene.assert_all_go_on();
}

#[test]
fn a_root_that_one_replica_tells_is_not_believed() {
    let mut scene = Scene::new();
    scene.isolate_and_heal();
    scene.pass_changing(300, |frame| match message(&frame) {
        Some(TransferMessage::Tell { id, mut telling }) if frame.from.0 == 1 => {
            telling.root = Digest([7; 32]);
            (telling.length, telling.position.0) = (1 << 40, 1 << 40);
            Some(with(&frame, &TransferMessage::Tell { id, telling }))
        }
        _ => Some(frame),
    });
    assert_eq!(scene.installed(), 1);
    assert_eq!(scene.counter(1, "transfer_chunks_sent"), 0);
    scene.assert_all_go_on();
}

#[test]
fn a_donor_that_never_answers_is_done_without() {
    let mut scene = Scene::new();
    scene.isolate_and_heal();
    scene.pass_changing(300, |frame| Some(frame).filter(|f| f.from.0 != 1 || message(f).is_none()));
    assert_eq!(scene.installed(), 1);
    scene.assert_all_go_on();
}

#[test]
fn a_donor_that_goes_away_in_the_middle_is_replaced() {
    let mut scene = Scene::new();
    scene.isolate_and_heal();
    let mut chunks = 0;
    scene.pass_changing(600, |frame| {
        let chunk = matches!(message(&frame), Some(TransferMessage::Chunk { .. })) && frame.from.0 == 1;
        chunks += u64::from(chunk);
        Some(frame).filter(|_| !chunk || chunks <= 2)
    });
    assert!(chunks > 2);
    assert_eq!(scene.installed(), 1);
    scene.assert_all_go_on();
}

/// Chunks take their time, and the others go on by far more than the window.
#[test]
fn what_is_decided_meanwhile_is_kept_and_executed_from_the_snapshot_on() {
    let mut scene = Scene::new();
    scene.isolate_and_heal();
    for _ in 0..200 {
        scene.submit();
        scene.pass_changing(1, |frame| {
            Some(frame).filter(|f| !matches!(message(f), Some(TransferMessage::Chunk { .. })))
        });
    }
    assert_eq!(scene.installed(), 0);
    assert!(scene.cluster.condition(ReplicaId(LAGGARD)).1);
    scene.eventually(|scene| scene.at_the_same_place(&ALL));
    assert_eq!(scene.installed(), 1);
    scene.assert_all_go_on();
}

/// So much is decided meanwhile that it can't be kept: a newer snapshot is needed. Its equal chunks aren't sent again.
#[test]
fn a_snapshot_that_grew_too_old_is_given_up_and_its_chunks_serve_the_next() {
    let mut scene = Scene::new();
    scene.isolate_and_heal();
    let mut chunks = 0;
    for step in 0..40 {
        scene.number += 1;
        scene.submit_as(scene.number, scene.number - 1, &"?".repeat(32 * 1024));
        scene.pass_changing(1, |frame| {
            let chunk = matches!(message(&frame), Some(TransferMessage::Chunk { .. }));
            chunks += u64::from(chunk);
            // The first come through; then none for long.
            Some(frame).filter(|_| !chunk || step < 8 && chunks < 8)
        });
    }
    scene.eventually(|scene| scene.at_the_same_place(&ALL));
    assert!(scene.counter(LAGGARD, "transfers_retargeted") >= 1);
    assert!(scene.counter(LAGGARD, "transfer_chunks_reused") >= 1);
    assert_eq!(scene.installed(), 1);
    scene.assert_all_go_on();
}

#[test]
fn a_state_that_differs_is_found_at_the_next_checkpoint_and_replaced() {
    let mut scene = Scene::new();
    scene.order(10);
    scene.failures[usize::from(LAGGARD)].store(true, Ordering::Relaxed);
    let mut diverged = false;
    for _ in 0..4 * INTERVAL {
        scene.order(1);
        diverged |= scene.cluster.condition(ReplicaId(LAGGARD)).0;
    }
    assert!(diverged);
    assert_eq!(scene.counter(LAGGARD, "divergences"), 1);
    scene.eventually(|scene| scene.at_the_same_place(&ALL));
    assert_eq!(scene.installed(), 1);
    scene.assert_all_go_on();
}

/// A replica whose state was replaced knows what its clients had executed.
#[test]
fn what_was_executed_before_the_transfer_is_answered_and_not_executed_again() {
    let mut scene = Scene::new();
    scene.isolate_and_heal();
    scene.eventually(|scene| scene.at_the_same_place(&ALL));
    let before = scene.cluster.executed(ReplicaId(LAGGARD));
    scene.cluster.replies();
    // The last operation is in every client table; it is asked for again everywhere.
    let number = scene.number;
    let operations = scene.cluster.config.request_operations;
    let pillar = assigned_pillar(Assign::Request, PILLARS, operations, ClientId(0), Number(number));
    let accounts = (PAGES * 512) as u64;
    let operation = format!("move {} {} 1", number * 31 % accounts, number * 17 % accounts);
    let request = scene.cluster.request(0, number, number - 10, &operation);
    let frame = [&[CLIENT_FRAME], &request[..]].concat();
    for replica in ALL {
        assert!(scene.cluster.pillar_frame(pillar, 0, replica, &frame).is_continue());
    }
    scene.run();
    let records: Vec<_> = scene.cluster.replies().into_iter().flat_map(|reply| reply.records).collect();
    assert_eq!(records.len(), 4);
    assert!(records.iter().all(|record| record.value == Value::Inline("OK".into())), "{records:?}");
    assert_eq!(scene.cluster.executed(ReplicaId(LAGGARD)), before);
}

/// Client 1 never asks for its first number, so what it has executed lies above its floor. It asks the laggard for some of
/// it while the state is on its way, and for the rest afterwards: nobody orders that again, and the primary isn't to blame.
#[test]
fn what_was_executed_above_a_floor_before_the_transfer_deposes_nobody() {
    let mut scene = Scene::new();
    let home = |number| assigned_pillar(Assign::Request, PILLARS, 1, ClientId(1), Number(number));
    let numbers: Vec<u64> = (2..40).filter(|number| home(*number).0 == 0).take(8).collect();
    let ask = |scene: &mut Scene, to: u16, numbers: &[u64]| {
        for number in numbers {
            let request = scene.cluster.request(1, *number, 0, "move 1 2 1");
            scene.cluster.submit(1, to, &request);
        }
    };
    scene.isolate();
    ask(&mut scene, 0, &numbers);
    scene.order(20 * u64::from(WINDOW));
    let (before, after) = numbers.split_at(4);
    scene.heal(LAGGARD);
    ask(&mut scene, LAGGARD, before);
    let is_chunk = |frame: &Frame| matches!(message(frame), Some(TransferMessage::Chunk { .. }));
    scene.pass_changing(200, |frame| Some(frame).filter(|frame| !is_chunk(frame)));
    assert_eq!(scene.installed(), 0);
    scene.eventually(|scene| scene.at_the_same_place(&ALL));
    assert_eq!(scene.installed(), 1);
    ask(&mut scene, LAGGARD, after);
    scene.cluster.replies();
    scene.eventually(|scene| scene.cluster.progress(ReplicaId(LAGGARD)).queued == 0);
    for replica in ALL {
        let progress = scene.cluster.progress(ReplicaId(replica));
        assert_eq!((progress.view, progress.active), (View(0), true), "replica {replica}");
    }
    // Asked once more, it answers.
    ask(&mut scene, LAGGARD, &numbers);
    let records: Vec<_> = scene.cluster.replies().into_iter().flat_map(|reply| reply.records).collect();
    assert!(numbers.iter().all(|number| records.iter().any(|record| record.number.0 == *number)));
}

/// Whoever asks for snapshots all the time gets few.
#[test]
fn a_replica_that_asks_without_end_is_served_now_and_then() {
    let mut scene = Scene::new();
    scene.order(20);
    scene.pass(600);
    let ask = |id| TransferMessage::Ask { id, round: hypostyle_app_api::Round(1 << 40) };
    let frame = Frame {
        from: ReplicaId(3),
        to: ReplicaId(0),
        pillar: hypostyle_app_api::PillarId(0),
        payload: Bytes::new(),
    };
    for id in 0..1000 {
        assert!(scene.cluster.deliver(&with(&frame, &ask(id))).is_continue());
        scene.pass(1);
    }
    let taken = scene.counter(0, "snapshots_taken");
    assert!((1..=4).contains(&taken), "{taken} snapshots in a second, with a timeout of 500 ms");
}
