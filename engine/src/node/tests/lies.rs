//! Replicas that sign what isn't so, with their own keys: well-formed, and refused all the same.

use std::ops::ControlFlow;

use bytes::Bytes;
use hypostyle_app_api::{Digest, ReplicaId, Seq};
use hypostyle_crypto::Entry;
use hypostyle_pillars::Rejected;
use hypostyle_pillars::message::{Body, Kind, PeerFrame};

use super::forge::{PILLAR, body, bundle, frame, proposal, statement, swap_statements};
use super::harness::{Frame, Stepped};
use crate::service::KeyValue;

fn four() -> Stepped<KeyValue> {
    Stepped::new(4, |_| {}, KeyValue::default)
}

/// The request as it would be with another operation under the same signature.
fn forged(request: &Bytes) -> Bytes {
    let mut bytes = request.to_vec();
    let operation = bytes.windows(7).position(|window| window == b"set k v").unwrap();
    bytes[operation + 6] = b'w';
    bytes.into()
}

/// The primary proposes it in due form, so that nothing but the clients' signatures stands between it and execution.
#[track_caller]
fn assert_never_prepared(cluster: &mut Stepped<KeyValue>, body: &Body) {
    for to in 1..4 {
        let broken = proposal(cluster.replica(0), to, 1, body)
            .iter()
            .filter(|part| cluster.deliver(part).is_break())
            .count();
        assert_eq!(broken, 1, "the body ends the link");
        assert_eq!(cluster.refused(ReplicaId(to), "replica 0", Rejected::BadSignature), 1);
    }
    cluster.run();
    for id in 1..4 {
        assert_eq!(cluster.statements(ReplicaId(id)), 0, "replica {id} prepares nothing");
    }
    cluster.assert_executed(&[0, 1, 2, 3], 0);
}

#[test]
fn a_primary_proposes_an_operation_that_its_client_never_signed() {
    let mut cluster = four();
    let request = cluster.request(0, 1, 0, "set k v");
    assert_never_prepared(&mut cluster, &body(&[forged(&request)]));
}

#[test]
fn a_primary_hides_a_forged_request_between_honest_ones() {
    let mut cluster = four();
    let requests = [1, 2, 3].map(|number| cluster.request(0, number, 0, "set k v"));
    let [first, second, third] = requests;
    assert_never_prepared(&mut cluster, &body(&[first, forged(&second), third]));
}

#[test]
fn the_same_proposal_with_honest_requests_is_executed() {
    let mut cluster = four();
    let request = cluster.request(0, 1, 0, "set k v");
    let body = body(&[request]);
    for to in 1..4 {
        for part in proposal(cluster.replica(0), to, 1, &body) {
            assert_eq!(cluster.deliver(&part), ControlFlow::Continue(()));
        }
    }
    cluster.run_without(|frame| frame.to == ReplicaId(0));
    cluster.assert_executed(&[1, 2, 3], 1);
}

/// Replica 3 is unreachable, so that the word of replica 1 would decide.
#[test]
fn votes_in_another_replicas_name_and_under_a_changed_seal_count_for_nothing() {
    let mut cluster = four();
    let request = cluster.request(0, 1, 0, "set k v");
    cluster.submit(0, 0, &request);
    let lost = |frame: &Frame| {
        [frame.from, frame.to].contains(&ReplicaId(3)) || [frame.from, frame.to].contains(&ReplicaId(1))
    };
    let held = cluster.run_without(lost);
    let proposed = held.iter().find(|frame| frame.is_body()).unwrap().payload.slice(1..);
    let limits = cluster.config.pillar_config(ReplicaId(0), PILLAR).frame_limits();
    let digest = Body::decode(proposed, &limits).unwrap().digest();

    for kind in [Kind::Prepare, Kind::Commit] {
        let votes = [statement(kind, 1, digest)];
        let in_its_name = bundle(1, cluster.replica(3), &votes, |_| {});
        let other_root = |entries: &mut Vec<Entry>| entries[1] = Entry::Replies { root: Digest([8; 32]) };
        let changed = bundle(1, cluster.replica(1), &votes, other_root);
        let shortened = bundle(1, cluster.replica(1), &votes, |entries| entries.truncate(1));
        let for_another = bundle(1, cluster.replica(1), &[statement(kind, 1, Digest([9; 32]))], |_| {});
        let swapped = swap_statements(&for_another, &votes);
        for (index, lie) in [&in_its_name, &changed, &shortened, &swapped].into_iter().enumerate() {
            // Whoever brings it is held to account, not whose name is on it.
            let lie = frame(3, 2, PeerFrame::BUNDLE, lie);
            let before = cluster.refused(ReplicaId(2), "replica 3", Rejected::BadSignature);
            assert!(cluster.deliver(&lie).is_break());
            let after = cluster.refused(ReplicaId(2), "replica 3", Rejected::BadSignature);
            assert_eq!(after, before + 1, "{kind:?}, lie {index}");
        }
        assert_eq!(cluster.refused_in_all(ReplicaId(2), "replica 1"), 0);
        cluster.run_without(lost);
        cluster.assert_executed(&[0, 2], 0);
        let honest = bundle(1, cluster.replica(1), &votes, |_| {});
        for to in [0, 2] {
            let honest = frame(3, to, PeerFrame::BUNDLE, &honest);
            assert_eq!(cluster.deliver(&honest), ControlFlow::Continue(()), "{kind:?}");
        }
        cluster.run_without(lost);
    }
    cluster.assert_executed(&[0, 2], 1);
}

/// A second proposal for a slot: the first is kept, the second counted, and the replicas don't part.
#[test]
fn a_primary_proposes_two_bodies_for_one_slot() {
    let mut cluster = four();
    let bodies = ["a", "b"].map(|value| body(&[cluster.request(0, 1, 0, &format!("set k {value}"))]));
    let send = |cluster: &mut Stepped<KeyValue>, to: u16, index: usize| {
        for part in proposal(cluster.replica(0), to, 1, &bodies[index]) {
            assert_eq!(cluster.deliver(&part), ControlFlow::Continue(()));
        }
    };
    send(&mut cluster, 1, 0);
    send(&mut cluster, 2, 0);
    send(&mut cluster, 3, 1);
    cluster.run_without(|frame| frame.to == ReplicaId(0));
    (1..4).for_each(|to| (0..2).for_each(|index| send(&mut cluster, to, index)));
    cluster.run_without(|frame| frame.to == ReplicaId(0));
    for id in 1..4 {
        assert!(cluster.refused(ReplicaId(id), "replica 0", Rejected::Equivocation) >= 1, "replica {id}");
        assert_eq!(cluster.progress(ReplicaId(id)).decided, Seq(0), "neither has a quorum");
    }
    cluster.assert_executed(&[1, 2, 3], 0);
}
