//! Clients that do what no correct client does: they harm nobody but themselves, and the replicas stay of one mind.

use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use hypostyle_app_api::{Application, ApplicationError, Context, Digest, Number, ReplicaId, Snapshot};
use hypostyle_crypto::sha256;
use hypostyle_pillars::Rejected;
use hypostyle_pillars::message::PeerFrame;

use super::forge::{body, proposal};
use super::harness::{Frame, Stepped};
use crate::config::Replies;
use crate::reply::CLIENT_FRAME;
use crate::reply::{Record, Value};

/// Remembers every operation, answers how many there were, and panics when asked to.
#[derive(Default)]
pub(super) struct Journal(Vec<Vec<u8>>);

pub(super) struct Nothing;

impl Application for Journal {
    type Snapshot = Nothing;

    fn execute(&mut self, _context: &Context, operation: &[u8], reply: &mut Vec<u8>) {
        self.0.push(operation.to_vec());
        assert_ne!(operation, b"panic", "as the client wishes");
        reply.extend_from_slice(operation);
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

impl Snapshot for Nothing {
    fn write_to(&mut self, _to: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}

const ALL: [u16; 4] = [0, 1, 2, 3];
const PRIMARY: ReplicaId = ReplicaId(0);
/// W of these clusters: admission goes to 2W above the floor.
const WINDOW: u64 = 64;

fn four() -> Stepped<Journal> {
    Stepped::new(4, |config| config.client_window = 64, Journal::default)
}

fn client_frame(request: &[u8]) -> Vec<u8> {
    [&[CLIENT_FRAME], request].concat()
}

/// The records that replicas told about a number, one a replica.
fn told(cluster: &mut Stepped<Journal>, number: u64) -> Vec<Record> {
    let replies = cluster.replies();
    let records = replies.into_iter().flat_map(|reply| reply.records);
    records.filter(|record| record.number == Number(number)).collect()
}

/// The one result that all four replicas told about a number.
#[track_caller]
fn result(cluster: &mut Stepped<Journal>, number: u64) -> (bool, String) {
    let told = told(cluster, number);
    assert_eq!(told.len(), 4, "every replica answers");
    let text = |record: &Record| match &record.value {
        Value::Inline(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        Value::Digest(digest) => digest.to_string(),
    };
    assert!(told.iter().all(|record| text(record) == text(&told[0]) && record.error == told[0].error));
    (told[0].error, text(&told[0]))
}

/// Whatever was tried before, an honest client is served.
#[track_caller]
fn assert_serves(cluster: &mut Stepped<Journal>, number: u64, executed_before: u64) {
    cluster.replies();
    let request = cluster.request(1, number, number - 1, "honest");
    cluster.submit(1, 0, &request);
    cluster.run();
    assert_eq!(result(cluster, number), (false, "honest".to_owned()));
    cluster.assert_executed(&ALL, executed_before + 1);
}

/// With a signature for each reply a batch that isn't full waits for the signer, and for nothing else.
#[test]
fn what_waits_for_the_signer_goes_on_when_that_is_done() {
    let mut cluster = Stepped::new(4, |config| config.replies = Replies::Each, Journal::default);
    let [first, second] = [0, 1].map(|client| cluster.request(client, 1, 0, "one of two"));
    cluster.submit(0, 0, &first);
    let held = cluster.run_without(|frame| frame.to == PRIMARY && frame.is_bundle());
    // Prepares of two and a Commit; with the next it is decided.
    let [prepares @ .., _, decides, _] = &held[..] else { panic!("{held:?}") };
    for frame in prepares.iter().chain([&held[held.len() - 3]]) {
        assert_eq!(cluster.deliver(frame), ControlFlow::Continue(()));
    }
    cluster.run();
    assert_eq!(cluster.executed(PRIMARY).0, 0);
    cluster.deliver_with(decides, 1, &second);
    assert_eq!(cluster.executed(PRIMARY).0, 1);
    cluster.run();
    cluster.assert_executed(&ALL, 2);
}

#[test]
fn another_clients_id_over_ones_own_connection() {
    let mut cluster = four();
    let others = cluster.request(1, 1, 0, "in another's name");
    for to in ALL {
        assert_eq!(cluster.client_frame(0, to, &client_frame(&others)), ControlFlow::Continue(()));
        assert_eq!(cluster.refused(ReplicaId(to), "client 0", Rejected::Unsolicited), 1);
    }
    // Its own id with another's signature.
    let own = cluster.request(0, 1, 0, "in my own");
    let forged = Bytes::from([&own[..own.len() - 64], &others[others.len() - 64..]].concat());
    for to in ALL {
        assert!(cluster.client_frame(0, to, &client_frame(&forged)).is_break(), "its connection ends");
        assert_eq!(cluster.refused(ReplicaId(to), "client 0", Rejected::BadSignature), 1);
    }
    cluster.run();
    cluster.assert_executed(&ALL, 0);
    assert_serves(&mut cluster, 1, 0);
}

/// A request with one bit flipped on its way: refused in this client's name, and the number is as good as new.
#[test]
fn any_bit_of_a_request() {
    let mut cluster = four();
    let request = cluster.request(0, 1, 0, "once");
    for bit in 0..8 * request.len() {
        let mut flipped = request.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let before = cluster.refused_in_all(PRIMARY, "client 0");
        let _ = cluster.client_frame(0, 0, &client_frame(&flipped));
        assert_eq!(cluster.refused_in_all(PRIMARY, "client 0"), before + 1, "bit {bit}");
    }
    assert!(cluster.refused(PRIMARY, "client 0", Rejected::BadSignature) >= 8 * 64);
    cluster.run();
    cluster.assert_executed(&ALL, 0);
    for _ in 0..3 {
        ALL.iter().for_each(|to| cluster.submit(0, *to, &request));
        cluster.run();
        cluster.assert_executed(&ALL, 1);
    }
}

#[test]
fn messages_of_replicas_from_a_client() {
    let mut cluster = four();
    let request = cluster.request(0, 1, 0, "a");
    cluster.submit(0, 2, &request);
    let mut frames = cluster.run_without(|_| true);
    frames.extend(frames.first().map(|frame| {
        assert!(cluster.deliver(frame).is_continue());
        frame.clone()
    }));
    frames.extend(cluster.run_without(|_| true));
    let kinds: std::collections::BTreeSet<u8> = frames.iter().map(|frame| frame.payload[0]).collect();
    for kind in [PeerFrame::BODY, PeerFrame::BUNDLE, PeerFrame::REQUEST] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    let mut tried = 0;
    for frame in &frames {
        assert!(cluster.client_frame(0, 1, &frame.payload).is_break(), "{frame:?}");
        tried += 1;
        assert_eq!(cluster.refused(ReplicaId(1), "client 0", Rejected::Malformed), tried);
    }
    for empty in [&[][..], &[CLIENT_FRAME], &[PeerFrame::STATUS], &[255; 40]] {
        assert!(cluster.client_frame(0, 1, empty).is_break(), "{empty:?}");
    }
    assert!(tried >= 2 && cluster.progress(ReplicaId(1)).in_flight == 0);
    assert_eq!(cluster.statements(ReplicaId(1)), 0);
    for frame in &frames[1..] {
        assert!(cluster.deliver(frame).is_continue());
    }
    cluster.run();
    cluster.assert_executed(&ALL, 1);
}

#[test]
fn two_payloads_under_one_number_to_two_replicas() {
    for first_at in ALL {
        let mut cluster = four();
        let payloads = ["a", "b"].map(|payload| cluster.request(0, 1, 0, payload));
        cluster.submit(0, first_at, &payloads[0]);
        cluster.submit(0, (first_at + 1) % 4, &payloads[1]);
        cluster.run();
        cluster.assert_executed(&ALL, 1);
        let (error, winner) = result(&mut cluster, 1);
        assert!(!error && ["a", "b"].contains(&winner.as_str()), "{winner}");
        // And again, to everyone, long after.
        for payload in &payloads {
            ALL.iter().for_each(|to| cluster.submit(0, *to, payload));
        }
        cluster.run();
        cluster.assert_executed(&ALL, 1);
        assert!(told(&mut cluster, 1).iter().all(|record| match &record.value {
            Value::Inline(bytes) => *bytes == winner.as_bytes(),
            Value::Digest(_) => false,
        }));
        assert_serves(&mut cluster, 1, 1);
    }
}

/// A primary that takes part: both payloads are ordered, in two slots. The client table executes one.
#[test]
fn one_number_ordered_twice_executes_once() {
    let mut cluster = four();
    let payloads = ["a", "b"].map(|payload| cluster.request(0, 1, 0, payload));
    cluster.submit(0, 0, &payloads[0]);
    cluster.run();
    let again = body(&payloads[1..]);
    for to in 1..4 {
        for part in proposal(cluster.replica(0), to, 2, &again) {
            assert_eq!(cluster.deliver(&part), ControlFlow::Continue(()));
        }
    }
    cluster.run_without(|frame| frame.to == PRIMARY);
    for id in [1, 2, 3] {
        assert_eq!(cluster.order(ReplicaId(id)).len(), 2, "both are in the order of replica {id}");
        assert_eq!(cluster.counter(ReplicaId(id), "operations_skipped_past"), 1);
    }
    cluster.assert_executed(&[1, 2, 3], 1);
}

#[test]
fn numbers_far_beyond_the_window() {
    let mut cluster = four();
    for far in [2 * WINDOW + 1, 1 << 40, u64::MAX - 1] {
        let request = cluster.request(0, far, 0, "far");
        for to in ALL {
            let before = cluster.refused(ReplicaId(to), "client 0", Rejected::BeyondClientWindow);
            cluster.submit(0, to, &request);
            let after = cluster.refused(ReplicaId(to), "client 0", Rejected::BeyondClientWindow);
            assert_eq!(after, before + 1, "{far}");
        }
    }
    cluster.run();
    cluster.assert_executed(&ALL, 0);
    // A primary may be behind, so it admits up to 2W; execution goes by W, everywhere alike.
    let request = cluster.request(0, WINDOW + 1, 0, "far");
    cluster.submit(0, 0, &request);
    cluster.run();
    cluster.assert_executed(&ALL, 0);
    for id in ALL {
        assert_eq!(cluster.counter(ReplicaId(id), "operations_skipped_far"), 1, "replica {id}");
    }
    let request = cluster.request(0, WINDOW, 0, "just within");
    cluster.submit(0, 0, &request);
    cluster.run();
    cluster.assert_executed(&ALL, 1);
    assert_serves(&mut cluster, 1, 1);
}

#[test]
fn the_last_numbers_there_are() {
    let mut cluster = four();
    for (first, floor) in
        [(u64::MAX, u64::MAX - 1), (u64::MAX, 0), (u64::MAX, u64::MAX), (0, 0), (1, u64::MAX)]
    {
        let request = cluster.request(0, first, floor, "no such number");
        for to in ALL {
            assert!(cluster.client_frame(0, to, &client_frame(&request)).is_break(), "{first} {floor}");
        }
    }
    assert_eq!(cluster.refused(PRIMARY, "client 0", Rejected::Malformed), 5);
    cluster.run();
    cluster.assert_executed(&ALL, 0);

    let last = u64::MAX - 1;
    let request = cluster.request(0, last, last - 1, "last");
    cluster.submit(0, 0, &request);
    cluster.run();
    assert_eq!(result(&mut cluster, last), (false, "last".to_owned()));
    cluster.assert_executed(&ALL, 1);
    // Its client has used up its numbers; it may ask again, and go back to none.
    ALL.iter().for_each(|to| cluster.submit(0, *to, &request));
    let early = cluster.request(0, 1, 0, "early");
    ALL.iter().for_each(|to| cluster.submit(0, *to, &early));
    cluster.run();
    cluster.assert_executed(&ALL, 1);
    assert_serves(&mut cluster, 1, 1);
}

#[test]
fn floors_that_acknowledge_the_future() {
    let mut cluster = four();
    let itself = cluster.request(0, 5, 5, "acknowledges itself");
    assert!(cluster.client_frame(0, 0, &client_frame(&itself)).is_break());
    // Numbers 1 to 999 are void; two of them are under way at that moment.
    let early = [1, 2].map(|number| cluster.request(0, number, 0, "early"));
    let jump = cluster.request(0, 1000, 999, "jump");
    cluster.submit(0, 1, &early[0]);
    cluster.submit(0, 0, &jump);
    cluster.submit(0, 2, &early[1]);
    cluster.run();
    cluster.assert_executed(&ALL, 1);
    assert_eq!(result(&mut cluster, 1000), (false, "jump".to_owned()));
    ALL.iter().for_each(|to| cluster.submit(0, *to, &early[0]));
    cluster.run();
    cluster.assert_executed(&ALL, 1);
    let (error, text) = result(&mut cluster, 1);
    assert!(error, "a void number is answered with an error: {text}");
    let next = cluster.request(0, 1001, 1000, "next");
    cluster.submit(0, 0, &next);
    cluster.run();
    cluster.assert_executed(&ALL, 2);
    assert_serves(&mut cluster, 1, 2);
}

#[test]
fn an_operation_on_which_the_application_panics() {
    let mut cluster = four();
    let poison = cluster.request(0, 1, 0, "panic");
    let (after, other) = (cluster.request(0, 2, 0, "after"), cluster.request(1, 1, 0, "other"));
    for (client, request) in [(0, &poison), (0, &after), (1, &other)] {
        cluster.submit(client, 0, request);
    }
    cluster.run();
    cluster.assert_executed(&ALL, 3);
    for id in ALL {
        assert_eq!(cluster.counter(ReplicaId(id), "application_panics"), 1);
    }
    let replies = cluster.replies();
    let failed = replies.iter().flat_map(|reply| &reply.records).filter(|record| record.error);
    assert_eq!(failed.count(), 4, "the same error from every replica, for that operation alone");
    // Sent again it isn't tried again.
    ALL.iter().for_each(|to| cluster.submit(0, *to, &poison));
    cluster.run();
    assert!(result(&mut cluster, 1).0);
    assert_eq!(cluster.counter(PRIMARY, "application_panics"), 1);
    assert_serves(&mut cluster, 2, 3);
}

/// What is refused costs no timer: the cluster falls silent again.
#[test]
fn after_refusals_nothing_goes_on_by_itself() {
    let mut cluster = four();
    let far = cluster.request(0, 1 << 50, 0, "far");
    ALL.iter().for_each(|to| cluster.submit(0, *to, &far));
    cluster.run();
    let statements: Vec<_> = cluster.ids().map(|id| cluster.statements(id)).collect();
    for _ in 0..20 {
        cluster.pass(Duration::from_secs(1), |_| false);
    }
    assert_eq!(statements, cluster.ids().map(|id| cluster.statements(id)).collect::<Vec<_>>());
    assert_serves(&mut cluster, 1, 0);
}

/// Replica 3 enters view 1 later than the others: by then the slot in which number 2 was ordered is gone, and as number 1
/// was never asked for, no floor tells that it is executed. The primary refuses it, and isn't to blame.
#[test]
fn what_was_executed_above_a_floor_before_a_view_deposes_nobody() {
    let configure = |config: &mut crate::config::ClusterConfig| {
        (config.checkpoint_interval, config.window, config.client_window) = (4, 8, 64);
    };
    let mut cluster = Stepped::new(4, configure, Journal::default);
    let old = cluster.request(1, 2, 0, "old");
    cluster.submit(1, 0, &old);
    cluster.run();
    // The others blame the primary of view 0, and enter view 1 without telling replica 3.
    let request = cluster.request(0, 1, 0, "1");
    (1..4).for_each(|replica| cluster.submit(0, replica, &request));
    let is_late = |frame: &Frame| frame.to == ReplicaId(3) && frame.payload[0] == PeerFrame::NEW_VIEW;
    let of_primary = |frame: &Frame| frame.from == PRIMARY || frame.to == PRIMARY;
    let mut late = cluster.run_without(of_primary);
    for _ in 0..5 {
        cluster.wait(Duration::from_millis(100));
        late.extend(cluster.run_without(|frame| of_primary(frame) || is_late(frame)));
    }
    cluster.connect(PRIMARY);
    for number in 2..=40 {
        cluster.wait(Duration::from_millis(5));
        let request = cluster.request(0, number, 0, "more");
        cluster.submit(0, 1, &request);
        late.extend(cluster.run_without(is_late));
    }
    let views = |cluster: &Stepped<Journal>| {
        ALL.map(|replica| cluster.progress(ReplicaId(replica))).map(|now| (now.view.0, now.active))
    };
    assert_eq!(views(&cluster), [(1, true), (1, true), (1, true), (1, false)]);
    cluster.assert_executed(&ALL, 41);
    for frame in late.iter().filter(|frame| is_late(frame)) {
        assert_eq!(cluster.deliver(frame), ControlFlow::Continue(()));
    }
    cluster.run();
    assert_eq!(views(&cluster), [(1, true); 4]);
    cluster.submit(1, 3, &old);
    (0..20).for_each(|_| cluster.pass(Duration::from_millis(100), |_| false));
    assert_eq!(views(&cluster), [(1, true); 4]);
}
