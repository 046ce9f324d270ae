//! `client_auth = "mac"`: tags in place of signatures, true ones and such as hold at some replicas only.

use std::time::Duration;

use bytes::Bytes;
use hypostyle_app_api::{ClientId, Number, PillarId, ReplicaId, View};
use hypostyle_crypto::{MacKey, Session};
use hypostyle_pillars::Rejected;
use hypostyle_pillars::message::{Kind, PeerFrame, Statement, Wish};
use zeroize::Zeroizing;

use super::clients::Journal;
use super::forge::{body, bundle, frame, statement};
use super::harness::{Frame, Stepped};
use crate::config::{ClientAuth, ClusterConfig};

const T: Duration = Duration::from_millis(500);

/// The keys of a client's n-th connection to a replica.
fn session(client: u32, replica: u16, n: u8) -> Session {
    let key = |direction| {
        let mut bytes = Zeroizing::new([n; 32]);
        bytes[0] = direction;
        bytes[1..5].copy_from_slice(&client.to_le_bytes());
        bytes[5..7].copy_from_slice(&replica.to_le_bytes());
        MacKey::new(bytes)
    };
    Session { requests: key(0), replies: key(1) }
}

/// A cluster whose clients are connected to everybody.
fn cluster() -> Stepped<Journal> {
    let configure = |config: &mut ClusterConfig| {
        config.client_auth = ClientAuth::Mac;
        config.view_timeout = T;
    };
    let mut cluster = Stepped::new(4, configure, Journal::default);
    for client in 0..2 {
        (0..4).for_each(|replica| cluster.connect_client(client, replica, session(client, replica, 1)));
    }
    cluster
}

fn wish(client: u32, first: u64) -> Wish<'static> {
    Wish { client: ClientId(client), first: Number(first), floor: Number(0), operations: &[b"op"] }
}

/// A request with tags that hold at these replicas.
fn tagged(client: u32, number: u64, at: &[u16]) -> Bytes {
    let sessions: Vec<_> =
        (0..4).map(|replica| at.contains(&replica).then(|| session(client, replica, 1))).collect();
    let sessions = sessions.iter().map(Option::as_ref);
    wish(client, number).tag(sessions).bytes().clone()
}

const ALL: [u16; 4] = [0, 1, 2, 3];

const NOTHING: fn(&Frame) -> bool = |_| false;

/// The view's timers run out, in steps: who isn't stepped for long blames nobody.
fn time_out(cluster: &mut Stepped<Journal>, lost: impl Fn(&Frame) -> bool) {
    (0..5).for_each(|_| cluster.pass(T / 4, &lost));
}

/// In which view a replica works; `None` between views.
fn view(cluster: &Stepped<Journal>, replica: u16) -> Option<View> {
    let progress = cluster.progress(ReplicaId(replica));
    progress.active.then_some(progress.view)
}

/// Who asks for a signature when a client sends this to `to`.
fn hints(cluster: &mut Stepped<Journal>, to: u16, request: &Bytes) -> Vec<u16> {
    cluster.submit(0, to, request);
    cluster.hints().into_iter().map(|(replica, _, _)| replica.0).collect()
}

#[test]
fn replicas_sign_and_verify_for_no_client() {
    let (mut cluster, mut signing) = (cluster(), Stepped::new(4, |_| {}, Journal::default));
    for number in 1..=20 {
        cluster.submit(0, 0, &tagged(0, number, &ALL));
        let request = signing.request(0, number, 0, "op");
        signing.submit(0, 0, &request);
    }
    cluster.run();
    signing.run();
    cluster.assert_executed(&ALL, 20);
    let replies = cluster.replies();
    assert_eq!(replies.iter().map(|reply| reply.records.len()).sum::<usize>(), 4 * 20);
    for reply in replies {
        let (right, wrong) = (session(0, reply.signer.0, 1), session(1, reply.signer.0, 1));
        assert!(wrong.verify_reply(reply.clone()).is_err());
        assert!(right.verify_reply(reply).is_ok());
    }
    let (tags, signatures) = (cluster.crypto(1), signing.crypto(1));
    assert_eq!(tags.0 + 20, signatures.0, "verifications of another's statements are the same");
    assert!(tags.1 <= signatures.1);
}

#[test]
fn who_cannot_check_takes_the_word_of_f_plus_one() {
    for at in [&[0, 1, 2][..], &[0, 1], &[0, 3]] {
        let mut cluster = cluster();
        cluster.submit(0, 0, &tagged(0, 1, at));
        cluster.run();
        cluster.assert_executed(&ALL, 1);
    }
}

#[test]
fn the_clients_signed_copy_stands_for_the_tagged_one() {
    let mut cluster = cluster();
    cluster.submit(0, 0, &tagged(0, 1, &[0]));
    cluster.run();
    cluster.assert_executed(&ALL, 0);
    let signed = cluster.request(0, 1, 0, "op");
    (1..4).for_each(|to| cluster.submit(0, to, &signed));
    cluster.run();
    cluster.assert_executed(&ALL, 1);
    assert!(ALL.iter().all(|replica| view(&cluster, *replica) == Some(View(0))));
}

#[test]
fn another_signed_request_under_the_same_number_does_not_stand_for_it() {
    let mut cluster = cluster();
    cluster.submit(0, 0, &tagged(0, 1, &[0]));
    cluster.run();
    let other = cluster.request(0, 1, 0, "another");
    (1..4).for_each(|to| cluster.submit(0, to, &other));
    cluster.run();
    cluster.assert_executed(&ALL, 0);
}

/// Clement et al., NSDI'09: a client whose tags hold at the primary only.
#[test]
fn a_client_that_stops_a_slot_has_to_sign_from_then_on() {
    let mut cluster = cluster();
    cluster.submit(0, 0, &tagged(0, 1, &[0]));
    cluster.submit(1, 0, &tagged(1, 1, &ALL));
    cluster.run();
    cluster.assert_executed(&ALL, 0);
    time_out(&mut cluster, NOTHING);
    assert!(ALL.iter().all(|replica| view(&cluster, *replica) == Some(View(1))));
    assert_eq!(hints(&mut cluster, 1, &tagged(0, 2, &ALL)), [1]);
    let signed = cluster.request(0, 2, 0, "op");
    cluster.submit(0, 1, &signed);
    cluster.submit(1, 1, &tagged(1, 2, &ALL));
    cluster.run();
    assert_eq!(cluster.hints(), [], "other clients' tags are taken");
    // Its first one too, which waited behind the other's: the new primary has checked it.
    assert_eq!(cluster.executed(ReplicaId(2)).0, 3);
    // For a while only.
    cluster.pass(200 * T, NOTHING);
    assert_eq!(hints(&mut cluster, 1, &tagged(0, 3, &ALL)), [0u16; 0]);
}

#[test]
fn a_name_in_a_view_change_that_begins_no_view_counts_for_nothing() {
    let mut cluster = cluster();
    cluster.submit(0, 0, &tagged(0, 1, &[0]));
    // Replica 3 alone has heard of it, and leaves.
    cluster.run_without(|frame| frame.to != ReplicaId(3));
    time_out(&mut cluster, |frame| frame.from != ReplicaId(3));
    assert_eq!((view(&cluster, 3), view(&cluster, 0)), (None, Some(View(0))));
    assert_eq!(hints(&mut cluster, 0, &tagged(0, 2, &ALL)), [0u16; 0]);
}

#[test]
fn backups_and_peers_take_no_tagged_request() {
    let mut cluster = cluster();
    let request = tagged(0, 1, &ALL);
    assert_eq!(hints(&mut cluster, 2, &request), [2]);
    let payload = [&[PeerFrame::REQUEST], &request[..]].concat().into();
    let frame = Frame { from: ReplicaId(2), to: ReplicaId(0), pillar: PillarId(0), payload };
    assert!(cluster.deliver(&frame).is_continue());
    assert_eq!(cluster.refused(ReplicaId(0), "replica 2", Rejected::Unsigned), 1);
    cluster.run();
    time_out(&mut cluster, NOTHING);
    cluster.assert_executed(&ALL, 0);
    assert!(ALL.iter().all(|replica| view(&cluster, *replica) == Some(View(0))), "nobody waits for it");
}

#[test]
fn a_tag_that_does_not_hold_at_the_primary_is_answered_with_a_hint() {
    let mut cluster = cluster();
    assert_eq!(hints(&mut cluster, 0, &tagged(0, 1, &[1, 2, 3])), [0]);
    let anothers = wish(1, 1).tag([None; 4].into_iter()).bytes().clone();
    assert_eq!(hints(&mut cluster, 0, &anothers), [0u16; 0], "whose connection it isn't");
    cluster.run();
    cluster.assert_executed(&ALL, 0);
}

#[test]
fn tags_of_the_connection_before_hold_for_a_while() {
    let mut cluster = cluster();
    cluster.submit(0, 0, &tagged(0, 1, &ALL));
    (0..4).for_each(|replica| cluster.connect_client(0, replica, session(0, replica, 2)));
    cluster.run();
    cluster.assert_executed(&ALL, 1);
    cluster.wait(30 * T);
    assert_eq!(hints(&mut cluster, 0, &tagged(0, 2, &ALL)), [0]);
}

#[test]
fn a_cluster_that_wants_signatures_closes_a_connection_that_brings_tags() {
    let mut cluster = Stepped::new(4, |_| {}, Journal::default);
    let frame = [&[crate::reply::CLIENT_FRAME], &tagged(0, 1, &ALL)[..]].concat();
    assert!(cluster.client_frame(0, 0, &frame).is_break());
}

/// The new primary had the body too: what it could check itself it proposes again, though nobody signed it.
#[test]
fn a_new_primary_proposes_again_what_it_checked() {
    let mut cluster = cluster();
    cluster.submit(0, 0, &tagged(0, 1, &ALL));
    // Everybody has the body and its proposal, and hears no statement from then on.
    let first = ReplicaId(0);
    cluster.run_without(|frame| frame.from != first);
    time_out(&mut cluster, |frame| frame.is_bundle() || frame.from == first || frame.to == first);
    time_out(&mut cluster, |frame| frame.from == first || frame.to == first);
    assert_eq!(view(&cluster, 1), Some(View(1)));
    cluster.assert_executed(&[1, 2, 3], 1);
}

/// Found by a reviewer: what a Byzantine primary made up, floors and all, was taken for a client's word by whoever entered its
/// view, and the client was never heard again.
#[test]
fn what_nobody_asked_for_says_nothing_about_a_client() {
    let mut cluster = cluster();
    let first = ReplicaId(0);
    let is_new_view = |frame: &Frame| frame.payload[0] == PeerFrame::NEW_VIEW;
    (1..4).for_each(|to| {
        let request = cluster.request(0, 1, 0, "op");
        cluster.submit(0, to, &request);
    });
    time_out(&mut cluster, |frame| frame.from == first || is_new_view(frame));
    assert_eq!((view(&cluster, 1), view(&cluster, 2)), (Some(View(1)), None));
    // Replica 1 leads view 1, and proposes there in advance what client 1 never said.
    let wish =
        Wish { client: ClientId(1), first: Number(1 << 63), floor: Number(1 << 62), operations: &[b"x"] };
    let forged = body(&[wish.tag([None; 4].into_iter()).bytes().clone()]);
    let statement = Statement { view: View(1), ..statement(Kind::Propose, 3, forged.digest()) };
    let proposal = bundle(1, cluster.replica(1), &[statement], |_| {});
    for to in [2, 3] {
        assert!(cluster.deliver(&frame(1, to, PeerFrame::BUNDLE, &proposal)).is_continue());
        assert!(cluster.deliver(&frame(1, to, PeerFrame::BODY, forged.bytes())).is_continue());
    }
    (0..20).for_each(|_| cluster.pass(T / 4, |frame| frame.from == first));
    assert!(view(&cluster, 2).is_some());
    let request = cluster.request(1, 1, 0, "op");
    for _ in 0..20 {
        (1..4).for_each(|to| cluster.submit(1, to, &request));
        cluster.pass(T / 4, |frame| frame.from == first);
    }
    assert_eq!(cluster.executed(ReplicaId(2)).0, 2);
}
