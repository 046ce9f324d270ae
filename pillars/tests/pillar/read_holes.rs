//! Holes read in another Rust PBFT (reliability.md, 2.14), each with its number there. Those of other files: T4
//! `byzantine::the_primary_is_not_counted_twice`, T7 `codecs` and `view_codecs`, T8 `digests`, T10 `forged_views`.

use hypostyle_app_api::{Digest, PillarId, ReplicaId, Round, Timestamp, View};
use hypostyle_crypto::Seal;
use hypostyle_pillars::message::{Kind, Leave, PeerFrame, SealedBundle, Statement};
use hypostyle_pillars::{Admission, Rejected, Source};

use crate::cluster::Cluster;
use crate::fixture::{MS, body_frame, bundle_frame, config, statement};
use crate::forge::{bare, certificate, change_frame, frames_to, leave, prepared, said, says, view_change};

const D: Digest = Digest([7; 32]);

/// T1: a signed Prepare is no Commit, nor anything else.
#[test]
fn t1_a_signature_serves_for_its_own_statement_only() {
    let cluster = Cluster::new(config(4, 1));
    let sealed = cluster.keys.bundle(ReplicaId(2), PillarId(0), &[statement(Kind::Prepare, 0, 1, D)]);
    for kind in [0, 2, 3] {
        let mut bytes = sealed.bytes().to_vec();
        bytes[5] = kind;
        let verdict = SealedBundle::decode(bytes.clone().into(), &cluster.config.frame_limits());
        assert_eq!(verdict.unwrap_err().what, "the seal covers something else");
        // With an entry for what it says now, the signature doesn't hold.
        let content = 5 + hypostyle_pillars::message::STATEMENT_BYTES;
        let (old, _) = Seal::decode(&bytes[content..]).unwrap();
        let other = [Kind::Propose, Kind::Prepare, Kind::Commit, Kind::Checkpoint][usize::from(kind)];
        let said = statement(other, 0, 1, D);
        let entry = hypostyle_pillars::message::Bundle::new(ReplicaId(2), PillarId(0), &[said]).entry();
        bytes.truncate(content);
        Seal { entries: vec![entry], ..old }.encode(&mut bytes);
        if let Ok(bundle) = SealedBundle::decode(bytes.into(), &cluster.config.frame_limits()) {
            assert!(cluster.keys.keyring.verify(bundle).is_err());
        }
    }
}

/// T2: a quorum of VIEW-CHANGEs is one of replicas.
#[test]
fn t2_one_replica_is_no_quorum_of_view_changes() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.inject(3, 1, 0, change_frame(&bare(&cluster.keys, 3, 1)));
    for incarnation in 1..9 {
        let leave = Leave { incarnation, ..leave(3, 1) };
        let change = change_frame(&view_change(&cluster.keys, &leave, &[], &[]));
        assert_eq!(cluster.admit(3, 1, 0, &change), Admission::Drop(Rejected::Redundant));
    }
    assert_eq!(cluster.pillar(1, 0).view(), View(0), "f+1 replicas, not messages");
    cluster.inject(2, 1, 0, change_frame(&bare(&cluster.keys, 2, 1)));
    assert_eq!(cluster.pillar(1, 0).view(), View(1));
    cluster.run();
    assert!(cluster.pillar(1, 0).progress().active, "two others and itself");
}

/// T3: a NEW-VIEW by another than the primary, of a view that is over, or again.
#[test]
fn t3_a_new_view_of_a_view_that_has_begun_or_is_over_changes_nothing() {
    let mut cluster = Cluster::new(config(4, 1));
    let mut frames = Vec::new();
    for view in [1, 5, 9] {
        let changes = [0, 1, 2].map(|id| bare(&cluster.keys, id, view));
        let new_view = crate::forge::new_view(&cluster.keys, 1, view, &changes);
        frames.push(crate::forge::new_view_frame(&new_view));
        if view == 5 {
            cluster.inject(1, 3, 0, frames[1].clone());
            changes.iter().for_each(|change| cluster.inject(2, 3, 0, change_frame(change)));
        }
    }
    assert_eq!(cluster.pillar(3, 0).view(), View(5));
    let verdicts = [0, 1, 2].map(|index: usize| cluster.admit(1, 3, 0, &frames[index]));
    let other_view = Admission::Drop(Rejected::OtherView);
    assert_eq!(verdicts, [other_view, other_view, Admission::Verify]);
}

/// T5: who says something in a client's name over its own connection, or a VIEW-CHANGE in a replica's.
#[test]
fn t5_a_connection_speaks_for_its_own_peer() {
    let cluster = Cluster::new(config(4, 1));
    let request = hypostyle_pillars::message::Message::Request(cluster.keys.lone(0, 1));
    let admit = |source| cluster.pillar(0, 0).admit(source, &request);
    assert_eq!(admit(Source::Client(hypostyle_app_api::ClientId(1))), Admission::Drop(Rejected::Unsolicited));
    assert_eq!(admit(Source::Client(hypostyle_app_api::ClientId(0))), Admission::Verify);
    let change = change_frame(&bare(&cluster.keys, 2, 1));
    assert_eq!(cluster.admit(3, 0, 0, &change), Admission::Drop(Rejected::Unsolicited));
}

/// T6: a primary that serves all but one client is replaced, whatever else it gets done.
#[test]
fn t6_serving_others_excuses_no_censorship() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.down.insert(ReplicaId(0));
    cluster.submit_to_all(&cluster.keys.lone(5, 1));
    let begin = cluster.now.instant;
    let mut seq = 0;
    while cluster.up().iter().any(|id| cluster.pillar(id.0, 0).view() == View(0)) {
        seq += 1;
        assert!(seq < 60, "client 5 waits for ever");
        let body = cluster.keys.body(Timestamp(seq), &[seq]);
        for to in 1..4 {
            cluster.inject(0, to, 0, body_frame(&body));
            let proposal = said(&cluster.keys, 0, Kind::Propose, 0, seq, body.digest());
            cluster.inject(0, to, 0, bundle_frame(&proposal));
        }
        cluster.run();
        cluster.pass(50 * MS);
        cluster.run();
    }
    assert!(seq > 3, "it did serve others");
    assert!(cluster.now.instant.since(begin) <= 600 * MS);
    cluster.settle();
    assert!((1..4).all(|at| cluster.has_executed(ReplicaId(at), 5, 1)));
}

/// T13: f+1 suffice to join, f don't; each view that doesn't begin has twice the time of the one before, up to a limit.
#[test]
fn t13_f_plus_1_join_and_timeouts_double_up_to_a_limit() {
    let mut cluster = Cluster::new(config(7, 1));
    for signer in [3, 4] {
        cluster.inject(signer, 0, 0, change_frame(&bare(&cluster.keys, signer, 1)));
    }
    assert_eq!(cluster.pillar(0, 0).view(), View(0));
    cluster.inject(5, 0, 0, change_frame(&bare(&cluster.keys, 5, 2)));
    assert_eq!(cluster.pillar(0, 0).view(), View(1), "the smallest of three");
    // Replica 0 leads none of the views up to 6. All leave for each, and none begins.
    let mut waits = Vec::new();
    for view in 1..=6 {
        for signer in 1..=6 {
            let change = change_frame(&bare(&cluster.keys, signer, view));
            if cluster.admit(signer, 0, 0, &change) == Admission::Verify {
                cluster.inject(signer, 0, 0, change);
            }
        }
        while cluster.has_unsealed(ReplicaId(0)) {
            cluster.seal(ReplicaId(0));
        }
        let begin = cluster.now.instant;
        while cluster.pillar(0, 0).view() == View(view) {
            let next = cluster.pillar(0, 0).next_deadline().expect("it waits for the view");
            cluster.pass(next.since(cluster.now.instant));
            cluster.wire.clear();
        }
        waits.push(cluster.now.instant.since(begin).as_millis());
    }
    assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 8000]);
}

/// T14: what a new primary lacks it fetches; nothing panics for want of it.
#[test]
fn t14_a_new_primary_that_lacks_bodies_fetches_them() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.submit(0, cluster.keys.lone(0, 1));
    // The body never reaches replica 1, which leads view 1; nobody hears a Commit.
    for _ in 0..4 {
        cluster.run_without(|cluster, e| {
            let to_1 = e.to == ReplicaId(1) && matches!(e.frame[0], PeerFrame::BODY | PeerFrame::STATUS);
            to_1 || says(cluster, e, Kind::Commit)
        });
    }
    // It is prepared by the word of 2 and 3.
    let said = [(2, Kind::Commit), (1, Kind::Prepare)].map(|(at, kind)| cluster.said(ReplicaId(at), kind));
    assert_eq!(said, [1, 0]);
    cluster.down.insert(ReplicaId(0));
    cluster.settle();
    cluster.insist(&[(0, 1)]);
    cluster.assert_executed(&[(0, 1)]);
}

/// T14: any declaration may come while bodies, slots and certificates are missing.
#[test]
fn t14_a_view_that_chose_bodies_nobody_sends_ends_with_the_next() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.down.insert(ReplicaId(1));
    let slot = prepared(2, 0, D);
    let bundles = certificate(&cluster.keys, &cluster.config, &[1, 2], slot);
    let changes = [
        bare(&cluster.keys, 0, 1),
        view_change(&cluster.keys, &leave(1, 1), &[slot], &bundles),
        bare(&cluster.keys, 2, 1),
    ];
    let new_view = crate::forge::new_view(&cluster.keys, 1, 1, &changes);
    for to in [0, 2, 3] {
        cluster.inject(1, to, 0, crate::forge::new_view_frame(&new_view));
        for change in changes.iter().filter(|change| change.signer().0 != to) {
            cluster.inject(1, to, 0, change_frame(change));
        }
    }
    assert_eq!(cluster.pillar(3, 0).view(), View(1));
    cluster.settle_for(100 * MS);
    assert!(frames_to(&cluster, 3, PeerFrame::BODY).is_empty());
    cluster.submit_to_all(&cluster.keys.lone(0, 1));
    // The certificate was signed by replica 2, which never said that: more than f lie. Still nothing panics.
    cluster.settle_for(5000 * MS);
    assert!(cluster.pillar(3, 0).view() > View(1));
}

/// T15: checkpoints far beyond the own window tell a replica that it is behind.
#[test]
fn t15_checkpoints_far_beyond_the_window_are_heard() {
    let mut cluster = Cluster::new(config(4, 1));
    let far = Statement::checkpoint(Round(4000), D);
    for signer in [0, 1, 2] {
        let bundle = bundle_frame(&cluster.keys.bundle(ReplicaId(signer), PillarId(0), &[far]));
        assert_eq!(cluster.admit(signer, 3, 0, &bundle), Admission::Verify);
        cluster.inject(signer, 3, 0, bundle);
    }
    assert_eq!(cluster.replicas[3].executor.stable, Round(4000));
}

/// T16: what was executed is not taken up again, nor is what came out of order lost, whatever views changed meanwhile.
#[test]
fn t16_numbers_out_of_order_are_served_once_over_a_view_change() {
    let mut cluster = Cluster::new(config(4, 1));
    for number in [7, 3, 12] {
        cluster.submit(0, cluster.keys.lone(0, number));
        cluster.run();
    }
    cluster.down.insert(ReplicaId(0));
    cluster.submit_to_all(&cluster.keys.lone(0, 1));
    cluster.settle();
    assert_eq!(cluster.pillar(2, 0).view(), View(1));
    for number in [7, 3, 12, 1] {
        for at in 1..4 {
            assert_eq!(cluster.submit(at, cluster.keys.lone(0, number)), Admission::Lookup, "{number}");
        }
    }
    cluster.submit_to_all(&cluster.keys.lone(0, 2));
    cluster.settle();
    cluster.assert_executed(&[(0, 7), (0, 3), (0, 12), (0, 1), (0, 2)]);
}
