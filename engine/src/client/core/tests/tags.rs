//! Tags in place of signatures: when they do, and what is signed instead.

use hypostyle_crypto::{MacKey, Session};
use zeroize::Zeroizing;

use super::*;
use crate::client::core::authenticators::SIGNS_FOR;

fn session(replica: u16, direction: u8) -> Session {
    let key = |direction| {
        MacKey::new(Zeroizing::new([direction, replica.to_le_bytes()[0]].repeat(16).try_into().unwrap()))
    };
    Session { requests: key(direction), replies: key(direction + 1) }
}

/// A client that is connected to these replicas.
fn scene(replicas: &[u16]) -> Scene {
    let mut scene = Scene::unconnected(ClientSettings { tags: true, ..settings(4) }, 1);
    for replica in replicas {
        scene.core.connected(ReplicaId(*replica), P0, Some(session(*replica, 0)), &mut scene.out);
    }
    scene
}

/// Whom requests went to since last asked, and whether they were signed.
fn sent(scene: &mut Scene) -> Vec<(u16, bool)> {
    let limits = scene.core.settings().request_limits();
    let sends = scene.out.sends.drain(..);
    sends.map(|s| (s.replica.0, Request::decode(s.request, &limits).unwrap().is_signed())).collect()
}

#[test]
fn a_request_has_a_tag_for_each_replica_and_its_retransmission_a_signature() {
    let mut scene = scene(&[0, 1, 2, 3]);
    scene.submit(b"add").unwrap();
    let bytes = scene.out.sends[0].request.clone();
    assert_eq!(sent(&mut scene), [(0, false)]);
    let digest = scene.core.digest(Number(1)).unwrap();
    for replica in 0..4 {
        let at = bytes.len() - (4 - usize::from(replica)) * 16;
        assert_eq!(bytes[at..at + 16], session(replica, 0).requests.tag(&digest));
    }
    scene.now = scene.core.next_deadline().unwrap();
    scene.core.tick(scene.now, &mut scene.out);
    assert_eq!(sent(&mut scene), [(0, true), (1, true), (2, true), (3, true)]);
    assert_eq!(scene.core.digest(Number(1)), Some(digest), "it is the same request");
}

#[test]
fn without_enough_sessions_or_the_primary_s_requests_are_signed() {
    for (replicas, signed) in [(&[0, 1, 3][..], false), (&[0, 1], true)] {
        let mut scene = scene(replicas);
        scene.submit(b"add").unwrap();
        assert_eq!(sent(&mut scene), [(0, signed)]);
    }
    let mut scene = scene(&[1, 2, 3]);
    scene.submit(b"add").unwrap();
    assert_eq!(sent(&mut scene), [(1, true), (2, true), (3, true)]);
}

#[test]
fn who_loses_the_primary_or_finds_it_again_signs() {
    let mut scene = scene(&[0, 1, 2, 3]);
    scene.submit(b"add").unwrap();
    sent(&mut scene);
    scene.core.disconnected(ReplicaId(0), P0, &mut scene.out);
    assert_eq!(sent(&mut scene), [(1, true), (2, true), (3, true)]);
    scene.core.connected(ReplicaId(0), P0, Some(session(0, 9)), &mut scene.out);
    assert_eq!(sent(&mut scene), [(0, true)]);
    scene.submit(b"add").unwrap();
    assert_eq!(sent(&mut scene), [(0, false)]);
}

#[test]
fn a_hint_has_the_request_signed_and_the_next_ones_for_a_while() {
    let mut scene = scene(&[0, 1, 2, 3]);
    scene.submit(b"add").unwrap();
    sent(&mut scene);
    scene.core.on_hint(scene.now, (ReplicaId(0), P0), Number(1), &mut scene.out);
    assert_eq!(sent(&mut scene), [(0, true)]);
    scene.submit(b"add").unwrap();
    assert_eq!(sent(&mut scene), [(0, true)]);
    scene.now = scene.now + SIGNS_FOR;
    scene.submit(b"add").unwrap();
    assert_eq!(sent(&mut scene), [(0, false)]);
    // Hints of nonsense.
    scene.core.on_hint(scene.now, (ReplicaId(9), P0), Number(3), &mut scene.out);
    scene.core.on_hint(scene.now, (ReplicaId(1), PillarId(7)), Number(3), &mut scene.out);
    scene.core.on_hint(scene.now, (ReplicaId(1), P0), Number(99), &mut scene.out);
    assert_eq!(sent(&mut scene), []);
    let mut signing = Scene::new(settings(4), 1);
    signing.submit(b"add").unwrap();
    sent(&mut signing);
    signing.core.on_hint(signing.now, (ReplicaId(0), P0), Number(1), &mut signing.out);
    assert_eq!(sent(&mut signing), [], "where all is signed anyway");
}

#[test]
fn a_reply_counts_under_the_tag_of_its_connection_alone() {
    let mut scene = scene(&[0, 1, 2, 3]);
    scene.submit(b"add").unwrap();
    let signed = reply(1, P0, 0, vec![scene.record(1, b"7", false)]);
    assert_eq!(scene.core.admit(ReplicaId(1), &signed), Err(Rejected::OtherProof));
    let tagged = |key: &MacKey| {
        let content = Digest([5; 32]);
        ReplyMessage { proof: ReplyProof::Tag(content, key.tag(&content)), ..signed.clone() }
    };
    let good = tagged(&session(1, 0).replies);
    assert_eq!(scene.core.admit(ReplicaId(1), &good), Ok(()));
    assert!(scene.core.verify_tag(good).is_ok());
    assert!(scene.core.verify_tag(tagged(&session(2, 0).replies)).is_err());
    assert!(scene.core.verify_tag(tagged(&session(1, 0).requests)).is_err());
    let strict = Scene::new(settings(4), 1);
    assert_eq!(strict.core.admit(ReplicaId(1), &tagged(&session(1, 0).replies)), Err(Rejected::OtherProof));
}
