//! One bit differs from what was sent: refused, counted by sender and reason, and nothing comes of it.

use std::ops::ControlFlow;

use hypostyle_app_api::{ClientId, ReplicaId};
use hypostyle_pillars::Rejected;
use hypostyle_pillars::message::PeerFrame;

use super::harness::{Frame, Stepped};
use crate::service::KeyValue;

const PRIMARY: ReplicaId = ReplicaId(0);

fn four() -> Stepped<KeyValue> {
    Stepped::new(4, |_| {}, KeyValue::default)
}

/// Delivers `frame` with each of `bits` flipped, one at a time, and asserts that the receiver counts each once. Returns how
/// many it found malformed, which ends a link, and how many to have a wrong signature, which may be another's doing.
#[track_caller]
fn flip_each(
    cluster: &mut Stepped<KeyValue>,
    frame: &Frame,
    bits: impl Iterator<Item = usize>,
) -> (u64, u64) {
    let whom = format!("replica {}", frame.from);
    let (mut malformed, mut bad_signature) = (0, 0);
    for bit in bits {
        let before = cluster.refused_in_all(frame.to, &whom);
        let bad_before = cluster.refused(frame.to, &whom, Rejected::BadSignature);
        let flow = cluster.deliver(&frame.flipped(bit));
        assert_eq!(cluster.refused_in_all(frame.to, &whom), before + 1, "bit {bit}");
        let bad = cluster.refused(frame.to, &whom, Rejected::BadSignature) - bad_before;
        assert!(flow.is_break(), "bit {bit}: nothing more is read from whoever sent it");
        bad_signature += bad;
        malformed += 1 - bad;
    }
    (malformed, bad_signature)
}

#[test]
fn a_bit_of_a_clients_signature_inside_a_body() {
    let mut cluster = four();
    let request = cluster.request(0, 1, 0, "set k v");
    cluster.submit(0, 0, &request);
    let bodies = cluster.run_without(Frame::is_body);
    assert_eq!(bodies.len(), 3, "one to each backup");
    for body in &bodies {
        // The signature is the last thing in a body of one request.
        let signature = body.bits() - 8 * 64..body.bits();
        assert_eq!(flip_each(&mut cluster, body, signature), (0, 8 * 64));
    }
    cluster.run();
    for id in cluster.ids() {
        assert_eq!((cluster.progress(id).decided.0, cluster.executed(id).0), (0, 0), "replica {id}");
    }
    for id in 1..4 {
        assert_eq!(cluster.statements(ReplicaId(id)), 0, "replica {id} prepares nothing");
    }
    for body in &bodies {
        assert_eq!(cluster.deliver(body), ControlFlow::Continue(()));
    }
    cluster.run();
    cluster.assert_executed(&[0, 1, 2, 3], 1);
    assert_eq!(cluster.order(PRIMARY)[0].requests[0].client, ClientId(0).0);
}

/// Replica 3 is unreachable, so that the vote of replica 1 decides.
#[test]
fn any_bit_of_a_bundle_with_its_seal() {
    let mut cluster = four();
    let request = cluster.request(0, 1, 0, "set k v");
    cluster.submit(0, 0, &request);
    let away = |frame: &Frame| frame.from == ReplicaId(3) || frame.to == ReplicaId(3);
    let from_one = |frame: &Frame| frame.from == ReplicaId(1) && frame.is_bundle();
    let mut held = cluster.run_without(|frame| away(frame) || from_one(frame));
    held.retain(|frame| !away(frame));
    assert_eq!(held.len(), 4, "its Prepare and its Commit, to the replicas 0 and 2");
    for bundle in &held {
        // Type, header, statement and entry hang together; only the signature can be wrong by itself.
        let malformed = bundle.bits() as u64 - 8 * 64;
        assert_eq!(flip_each(&mut cluster, bundle, 0..bundle.bits()), (malformed, 8 * 64));
    }
    cluster.run_without(away);
    for id in [0, 2].map(ReplicaId) {
        assert_eq!((cluster.progress(id).decided.0, cluster.executed(id).0), (0, 0), "replica {id}");
    }
    for bundle in &held {
        assert_eq!(cluster.deliver(bundle), ControlFlow::Continue(()));
    }
    cluster.run_without(away);
    cluster.assert_executed(&[0, 1, 2], 1);
}

#[test]
fn any_bit_of_a_request_that_a_backup_passes_on() {
    let mut cluster = four();
    let request = cluster.request(0, 1, 0, "set k v");
    cluster.submit(0, 2, &request);
    let passed = cluster.run_without(|frame| frame.payload[0] == PeerFrame::REQUEST);
    assert_eq!(passed.len(), 1, "to the primary");
    let whom = "replica 2";
    for bit in 8..passed[0].bits() {
        let before = cluster.refused_in_all(PRIMARY, whom);
        let _ = cluster.deliver(&passed[0].flipped(bit));
        assert_eq!(cluster.refused_in_all(PRIMARY, whom), before + 1, "bit {bit}");
    }
    assert!(cluster.refused(PRIMARY, whom, Rejected::BadSignature) >= 8 * 64);
    cluster.run();
    cluster.assert_executed(&[0, 1, 2, 3], 0);
    assert_eq!(cluster.deliver(&passed[0]), ControlFlow::Continue(()));
    cluster.run();
    cluster.assert_executed(&[0, 1, 2, 3], 1);
}
