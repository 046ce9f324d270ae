//! Primaries and backups that lie. Replica 0 is primary of pillar 0 in view 0 and is played by the test.

use hypostyle_app_api::{Digest, PillarId, ReplicaId, Seq, Timestamp, View};
use hypostyle_pillars::message::{Body, Kind, Message, PeerFrame, SealedBundle, Statement};
use hypostyle_pillars::{Admission, Config, Input, Output, Pillar, Rejected};
use proptest::prelude::*;

use crate::cluster::Cluster;
use crate::fixture::{MS, body_frame, bundle_frame, config, frame, numbers_of, statement};
use crate::random::Random;

fn played() -> Cluster {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.down.insert(ReplicaId(0));
    cluster
}

fn say(cluster: &Cluster, signer: u16, kind: Kind, seq: u64, digest: Digest) -> bytes::Bytes {
    let statement = statement(kind, 0, seq, digest);
    bundle_frame(&cluster.keys.bundle(ReplicaId(signer), PillarId(0), &[statement]))
}

/// The primary proposes `body` for `seq` to one backup.
fn propose(cluster: &mut Cluster, to: u16, seq: u64, body: &Body) {
    cluster.inject(0, to, 0, body_frame(body));
    let proposal = say(cluster, 0, Kind::Propose, seq, body.digest());
    cluster.inject(0, to, 0, proposal);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    /// The cluster checks that no two replicas decide differently.
    #[test]
    fn an_equivocating_primary_never_gets_two_decisions(seed in any::<u64>(), sides in prop::array::uniform3(any::<bool>())) {
        let mut cluster = played();
        cluster.random = Random(seed);
        let bodies = [cluster.keys.body(Timestamp(1), &[1]), cluster.keys.body(Timestamp(2), &[1])];
        let mut frames = Vec::new();
        for (to, side) in (1..4).zip(sides) {
            frames.push((to, body_frame(&bodies[usize::from(side)])));
            for body in [&bodies[usize::from(side)], &bodies[usize::from(!side)]] {
                frames.push((to, say(&cluster, 0, Kind::Propose, 1, body.digest())));
                frames.push((to, say(&cluster, 0, Kind::Commit, 1, body.digest())));
                frames.push((to, body_frame(body)));
            }
        }
        for (to, frame) in frames {
            cluster.inject(0, to, 0, frame);
            if cluster.random.percent(40) {
                cluster.shuffle();
            }
        }
        for _ in 0..10 {
            cluster.shuffle();
            cluster.pass_deadline();
        }
        let first: Vec<_> = cluster.rejected.iter().filter(|r| **r == Rejected::Equivocation).collect();
        prop_assert!(!first.is_empty(), "it is noticed");
    }
}

#[test]
fn what_two_saw_and_the_primary_commits_is_decided_and_the_victim_fetches_it() {
    let mut cluster = played();
    let bodies = [cluster.keys.body(Timestamp(1), &[1]), cluster.keys.body(Timestamp(2), &[2])];
    propose(&mut cluster, 1, 1, &bodies[0]);
    propose(&mut cluster, 2, 1, &bodies[0]);
    propose(&mut cluster, 3, 1, &bodies[1]);
    cluster.run();
    assert_eq!(cluster.frontier(1, 0), 0, "two Commits of three");
    let commit = say(&cluster, 0, Kind::Commit, 1, bodies[0].digest());
    cluster.inject(0, 1, 0, commit);
    cluster.settle_for(2000 * MS);
    assert!((1..4).all(|at| cluster.frontier(at, 0) == 1));
    cluster.assert_executed(&[(0, 1)]);
}

#[test]
fn a_replica_that_was_shown_another_proposal_decides_what_the_quorum_certified() {
    let mut cluster = Cluster::new(config(7, 1));
    cluster.down.insert(ReplicaId(0));
    let bodies = [cluster.keys.body(Timestamp(1), &[1]), cluster.keys.body(Timestamp(2), &[2])];
    (1..6).for_each(|to| propose(&mut cluster, to, 1, &bodies[0]));
    propose(&mut cluster, 6, 1, &bodies[1]);
    cluster.run();
    cluster.settle_for(2000 * MS);
    assert!((1..7).all(|at| cluster.frontier(at, 0) == 1));
    cluster.assert_executed(&[(0, 1)]);
}

/// Simulator seed 5937: a client whose request stood in the other of two proposals was never heard again by who had accepted
/// that one.
#[test]
fn a_request_of_a_proposal_that_came_to_nothing_waits_again() {
    let mut cluster = played();
    let [one, other] = [1, 2].map(|number| cluster.keys.body(Timestamp(1), &[number]));
    propose(&mut cluster, 3, 1, &one);
    propose(&mut cluster, 1, 1, &other);
    propose(&mut cluster, 2, 1, &other);
    let commit = say(&cluster, 0, Kind::Commit, 1, other.digest());
    cluster.inject(0, 3, 0, commit.clone());
    cluster.inject(0, 1, 0, commit);
    cluster.run();
    cluster.settle_for(100 * MS);
    assert_eq!(cluster.frontier(3, 0), 1);
    assert_eq!(cluster.pillar(3, 0).progress().queued, 1);
    cluster.insist(&[(0, 1)]);
    cluster.assert_executed(&[(0, 1), (0, 2)]);
}

#[test]
fn the_primary_is_not_counted_twice() {
    let cluster = played();
    let body = cluster.keys.body(Timestamp(1), &[1]);
    let limits = cluster.config.frame_limits();
    let own = say(&cluster, 0, Kind::Prepare, 1, body.digest());
    assert!(PeerFrame::decode(&own, &limits).is_err(), "a Prepare of the view's primary");
    let alien = say(&cluster, 1, Kind::Propose, 1, body.digest());
    assert!(PeerFrame::decode(&alien, &limits).is_err(), "a Propose of a backup");
}

#[test]
fn propose_and_one_prepare_do_not_make_a_prepared_slot() {
    let mut cluster = played();
    cluster.isolated = [ReplicaId(2), ReplicaId(3)].into();
    let body = cluster.keys.body(Timestamp(1), &[1]);
    propose(&mut cluster, 1, 1, &body);
    cluster.run();
    let commits = |cluster: &Cluster| cluster.said(ReplicaId(1), Kind::Commit);
    assert_eq!(commits(&cluster), 0, "Propose and the own Prepare: 2 of 3");
    let prepare = say(&cluster, 2, Kind::Prepare, 1, body.digest());
    cluster.inject(2, 1, 0, prepare.clone());
    cluster.inject(2, 1, 0, prepare);
    cluster.run();
    assert_eq!(commits(&cluster), 1);
}

#[test]
fn commits_of_two_replicas_sent_again_and_again_decide_nothing() {
    let mut cluster = played();
    let body = cluster.keys.body(Timestamp(1), &[1]);
    cluster.isolated = [ReplicaId(2), ReplicaId(3)].into();
    propose(&mut cluster, 1, 1, &body);
    for _ in 0..5 {
        for signer in [0, 2] {
            let commit = say(&cluster, signer, Kind::Commit, 1, body.digest());
            cluster.inject(signer, 1, 0, commit);
        }
    }
    cluster.run();
    assert_eq!(cluster.frontier(1, 0), 0);
}

/// Found by the simulator: the first of two Commits stayed, and shut out the certificate that the others had.
#[test]
fn a_certificate_counts_though_one_of_its_voters_told_this_replica_otherwise_first() {
    let mut cluster = played();
    let bodies = [cluster.keys.body(Timestamp(1), &[1]), cluster.keys.body(Timestamp(2), &[2])];
    cluster.isolated = [ReplicaId(2), ReplicaId(3)].into();
    let lie = say(&cluster, 0, Kind::Commit, 1, bodies[1].digest());
    cluster.inject(0, 1, 0, lie);
    cluster.run();
    cluster.inject(0, 1, 0, body_frame(&bodies[0]));
    let proposal = say(&cluster, 0, Kind::Propose, 1, bodies[0].digest());
    cluster.inject(0, 1, 0, proposal);
    for signer in [2, 3, 0] {
        let commit = say(&cluster, signer, Kind::Commit, 1, bodies[0].digest());
        cluster.inject(signer, 1, 0, commit);
    }
    cluster.run();
    assert_eq!(cluster.frontier(1, 0), 1);
}

#[test]
fn a_gap_in_the_proposals_is_not_prepared_until_it_is_filled() {
    let mut cluster = played();
    let bodies = [cluster.keys.body(Timestamp(1), &[1]), cluster.keys.body(Timestamp(2), &[2])];
    (1..4).for_each(|to| propose(&mut cluster, to, 2, &bodies[1]));
    cluster.run();
    assert_eq!(cluster.said(ReplicaId(1), Kind::Prepare), 0);
    (1..4).for_each(|to| propose(&mut cluster, to, 1, &bodies[0]));
    cluster.run();
    assert!((1..4).all(|at| cluster.frontier(at, 0) == 2));
}

#[test]
fn a_proposal_beyond_the_pipeline_is_kept_until_its_turn() {
    let mut cluster = played();
    let bodies: Vec<_> = (1..=6).map(|n| cluster.keys.body(Timestamp(n), &[n])).collect();
    cluster.isolated = [ReplicaId(1), ReplicaId(2), ReplicaId(3)].into();
    for (seq, body) in (1..).zip(&bodies) {
        (1..4).for_each(|to| propose(&mut cluster, to, seq, body));
    }
    cluster.run();
    assert_eq!(cluster.said(ReplicaId(1), Kind::Prepare), 4, "the pipeline");
    cluster.isolated.clear();
    cluster.reconnect();
    cluster.settle();
    assert!((1..4).all(|at| cluster.frontier(at, 0) == 6));
}

#[test]
fn a_body_with_a_forged_request_or_of_another_pillar_is_not_prepared() {
    let mut cluster = Cluster::new(config(4, 2));
    cluster.down.insert(ReplicaId(0));
    let number = numbers_of(&cluster.config, 0, 1).next().unwrap();
    let alien = cluster.keys.body(Timestamp(1), &[number]);
    propose(&mut cluster, 1, 1, &alien);
    assert_eq!(cluster.dropped, [Rejected::WrongPillar]);
    let body = cluster.keys.body(Timestamp(1), &[numbers_of(&cluster.config, 0, 0).next().unwrap()]);
    let mut bytes = body.bytes().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    let forged = Body::decode(bytes.into(), &cluster.config.frame_limits()).unwrap();
    propose(&mut cluster, 2, 1, &forged);
    assert_eq!(cluster.dropped, [Rejected::WrongPillar, Rejected::BadSignature]);
    cluster.run();
    assert_eq!(cluster.said(ReplicaId(1), Kind::Prepare) + cluster.said(ReplicaId(2), Kind::Prepare), 0);
}

#[test]
fn a_body_of_another_pillar_that_passed_admission_elsewhere_is_not_taken_up() {
    let mut cluster = Cluster::new(config(4, 2));
    let number = numbers_of(&cluster.config, 0, 1).next().unwrap();
    let alien = cluster.keys.body(Timestamp(1), &[number]);
    let proposal =
        cluster.keys.bundle(ReplicaId(0), PillarId(0), &[statement(Kind::Propose, 0, 1, alien.digest())]);
    for message in [Message::Bundle(proposal), Message::Body(alien)] {
        let message = cluster.keys.keyring.verify(message).unwrap();
        cluster.step(ReplicaId(1), PillarId(0), Input::Message(message));
    }
    assert_eq!(cluster.said(ReplicaId(1), Kind::Prepare), 0);
}

/// What a backup asks for in its next Status.
fn wanted(cluster: &mut Cluster, at: u16) -> Vec<Digest> {
    let now = cluster.now;
    let pillar = &mut cluster.replicas[usize::from(at)].pillars[0];
    let mut out = Vec::new();
    pillar.step(now, Input::Connected(ReplicaId(2)), &mut out);
    let Some(Output::SendStatus(_, status)) = out.pop() else { panic!("a status on connecting") };
    status.wanted.iter().map(|body| body.digest).collect()
}

#[test]
fn bodies_ahead_of_their_proposals_are_kept_up_to_the_pipeline() {
    let mut cluster = played();
    let bodies: Vec<_> = (1..=20).map(|n| cluster.keys.body(Timestamp(n), &[n])).collect();
    let pipeline = usize::try_from(cluster.config.pipeline).unwrap();
    for body in &bodies[..pipeline] {
        cluster.inject(0, 1, 0, body_frame(body));
    }
    let one_more = body_frame(&bodies[pipeline]);
    assert_eq!(cluster.admit(0, 1, 0, &one_more), Admission::Drop(Rejected::Full), "before any RSA");
    for (seq, body) in (1..).zip([&bodies[0], &bodies[19], &bodies[pipeline - 1]]) {
        let proposal = say(&cluster, 0, Kind::Propose, seq, body.digest());
        cluster.inject(0, 1, 0, proposal);
    }
    assert_eq!(wanted(&mut cluster, 1), [bodies[19].digest()]);
}

#[test]
fn bodies_that_are_never_proposed_make_room_in_time() {
    let mut cluster = played();
    let bodies: Vec<_> = (1..=20).map(|n| cluster.keys.body(Timestamp(n), &[n])).collect();
    let pipeline = usize::try_from(cluster.config.pipeline).unwrap();
    for body in &bodies[..pipeline] {
        cluster.inject(0, 1, 0, body_frame(body));
    }
    cluster.now.instant = cluster.now.instant + cluster.config.view_timeout;
    cluster.step(ReplicaId(1), PillarId(0), Input::Tick);
    assert_eq!(cluster.admit(0, 1, 0, &body_frame(&bodies[pipeline])), Admission::Verify);
}

#[test]
fn unsolicited_bodies_of_backups_are_refused_and_asked_ones_taken() {
    let mut cluster = played();
    let body = cluster.keys.body(Timestamp(1), &[1]);
    let unsolicited = Admission::Drop(Rejected::Unsolicited);
    assert_eq!(cluster.admit(2, 1, 0, &body_frame(&body)), unsolicited);
    let proposal = say(&cluster, 0, Kind::Propose, 1, body.digest());
    cluster.inject(0, 1, 0, proposal);
    assert_eq!(cluster.admit(2, 1, 0, &body_frame(&body)), Admission::Verify);
    cluster.inject(2, 1, 0, body_frame(&body));
    assert_eq!(cluster.admit(2, 1, 0, &body_frame(&body)), unsolicited);
    let redundant = Admission::Drop(Rejected::Redundant);
    assert_eq!(cluster.admit(0, 1, 0, &body_frame(&body)), redundant);
}

#[test]
fn votes_for_what_nobody_proposed_in_all_slots_change_nothing() {
    let mut cluster = Cluster::new(config(4, 1));
    for seq in 1..=40 {
        for kind in [Kind::Prepare, Kind::Commit] {
            for to in 0..3 {
                let vote = say(&cluster, 3, kind, seq, Digest([9; 32]));
                cluster.inject(3, to, 0, vote);
            }
        }
    }
    cluster.down.insert(ReplicaId(3));
    cluster.submit(0, cluster.keys.lone(0, 1));
    cluster.settle();
    cluster.assert_executed(&[(0, 1)]);
    assert_eq!(cluster.frontier(0, 0), 1, "nothing is owed because of one replica");
}

#[test]
fn own_statements_from_others_are_not_taken() {
    let keys = crate::fixture::Keys::new(4);
    let now = played().now;
    let mut pillar = Pillar::new(Config { me: ReplicaId(1), ..config(4, 1) });
    let mut out = Vec::new();
    for digest in [Digest([1; 32]), Digest([2; 32])] {
        let own: SealedBundle =
            keys.bundle(ReplicaId(1), PillarId(0), &[statement(Kind::Commit, 0, 1, digest)]);
        let message = keys.keyring.verify(Message::Bundle(own)).unwrap();
        pillar.step(now, Input::Message(message), &mut out);
    }
    assert!(out.is_empty());
}

#[test]
fn statements_of_any_numbers_do_no_harm() {
    let mut cluster = Cluster::new(config(4, 1));
    let numbers = [1, 16, 17, 32, 33, 1 << 32, u64::MAX - 1, u64::MAX];
    for seq in numbers.map(Seq) {
        for view in [0, 1, 3, u64::MAX].map(View) {
            for kind in [Kind::Propose, Kind::Prepare, Kind::Commit, Kind::Checkpoint] {
                for signer in 1..4 {
                    let pillar = if kind == Kind::Checkpoint { Statement::NO_PILLAR } else { PillarId(0) };
                    let said = Statement { kind, pillar, view, seq, digest: Digest([3; 32]) };
                    let bundle = cluster.keys.bundle(ReplicaId(signer), PillarId(0), &[said]);
                    let bytes = frame(PeerFrame::BUNDLE, bundle.bytes());
                    if PeerFrame::decode(&bytes, &cluster.config.frame_limits()).is_ok() && signer == 1 {
                        (2..4).for_each(|to| cluster.inject(signer, to, 0, bytes.clone()));
                    }
                }
            }
        }
    }
    cluster.submit(0, cluster.keys.lone(0, 1));
    cluster.run();
    cluster.assert_executed(&[(0, 1)]);
}
