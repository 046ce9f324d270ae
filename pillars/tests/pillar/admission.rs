//! What costs no RSA.

use hypostyle_app_api::{ClientId, Digest, Number, PillarId, ReplicaId, Round, Seq, Timestamp, View};
use hypostyle_pillars::message::{Kind, Message, PeerFrame, Statement};
use hypostyle_pillars::{Admission, Config, Executed, Input, Rejected, Source};

use crate::cluster::Cluster;
use crate::fixture::{body_frame, bundle_frame, config, numbers_of, statement};

const DIGEST: Digest = Digest([5; 32]);

#[track_caller]
fn assert_dropped(cluster: &Cluster, signer: u16, statements: &[Statement], reason: Rejected) {
    let bundle = cluster.keys.bundle(ReplicaId(signer), PillarId(0), statements);
    assert_eq!(cluster.admit(signer, 1, 0, &bundle_frame(&bundle)), Admission::Drop(reason));
}

#[track_caller]
fn assert_verified(cluster: &Cluster, signer: u16, statements: &[Statement]) {
    let bundle = cluster.keys.bundle(ReplicaId(signer), PillarId(0), statements);
    assert_eq!(cluster.admit(signer, 1, 0, &bundle_frame(&bundle)), Admission::Verify);
}

fn vote(seq: u64) -> Statement {
    statement(Kind::Commit, 0, seq, DIGEST)
}

#[test]
fn statements_for_other_pillars_views_and_far_slots() {
    let cluster = Cluster::new(config(4, 2));
    let other = cluster.keys.bundle(ReplicaId(2), PillarId(1), &[statement(Kind::Commit, 1, 1, DIGEST)]);
    let verdict = cluster.admit(2, 1, 0, &bundle_frame(&other));
    assert_eq!(verdict, Admission::Drop(Rejected::WrongPillar));
    let other = Statement { view: View(1), ..statement(Kind::Prepare, 0, 1, DIGEST) };
    assert_dropped(&cluster, 2, &[other], Rejected::OtherView);
    assert_dropped(&cluster, 2, &[vote(33)], Rejected::OutsideWindow);
    assert_dropped(&cluster, 2, &[vote(u64::MAX)], Rejected::OutsideWindow);
    assert_verified(&cluster, 2, &[vote(32)]);
    assert_verified(&cluster, 2, &[vote(33), vote(32)]);
}

#[test]
fn a_vote_that_is_held_and_votes_for_what_is_decided() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.isolated.insert(ReplicaId(1));
    let bundle = cluster.keys.bundle(ReplicaId(2), PillarId(0), &[vote(1)]);
    cluster.inject(2, 1, 0, bundle_frame(&bundle));
    assert_dropped(&cluster, 2, &[vote(1)], Rejected::Redundant);
    assert_verified(&cluster, 3, &[vote(1)]);
    let mut cluster = Cluster::new(config(4, 1));
    cluster.submit(0, cluster.keys.lone(0, 1));
    cluster.run();
    for kind in [Kind::Prepare, Kind::Commit] {
        assert_dropped(&cluster, 3, &[statement(kind, 0, 1, DIGEST)], Rejected::Redundant);
    }
    assert_dropped(&cluster, 0, &[statement(Kind::Propose, 0, 1, DIGEST)], Rejected::Redundant);
}

#[test]
fn commits_beyond_a_full_quorum_without_its_body() {
    let mut cluster = Cluster::new(config(7, 1));
    for signer in [0, 2, 3, 4, 5] {
        let bundle = cluster.keys.bundle(ReplicaId(signer), PillarId(0), &[vote(1)]);
        cluster.inject(signer, 1, 0, bundle_frame(&bundle));
    }
    assert_eq!(cluster.frontier(1, 0), 0);
    assert_dropped(&cluster, 6, &[vote(1)], Rejected::Redundant);
}

#[test]
fn own_statements_that_come_back() {
    let cluster = Cluster::new(config(4, 1));
    assert_dropped(&cluster, 1, &[vote(1)], Rejected::Redundant);
}

#[test]
fn checkpoints_of_rounds_that_have_none_or_are_stable() {
    let mut cluster = Cluster::new(config(4, 1));
    let checkpoint = |round| [Statement::checkpoint(Round(round), DIGEST)];
    assert_dropped(&cluster, 2, &checkpoint(3), Rejected::Redundant);
    assert_verified(&cluster, 2, &checkpoint(4));
    assert_verified(&cluster, 2, &checkpoint(4 << 40));
    for number in 1..=4 {
        cluster.submit(0, cluster.keys.lone(0, number));
        cluster.run();
    }
    assert_dropped(&cluster, 2, &checkpoint(4), Rejected::Redundant);
}

#[test]
fn requests_of_others_of_other_pillars_and_far_above_the_floor() {
    let cluster = Cluster::new(config(4, 2));
    let admit = |source, request| cluster.pillar(0, 0).admit(source, &Message::Request(request));
    let mine = |client| numbers_of(&cluster.config, client, 0).next().unwrap();
    let request = cluster.keys.lone(1, mine(1));
    let source = Source::Client(ClientId(1));
    assert_eq!(admit(source, request.clone()), Admission::Verify);
    let other = Source::Client(ClientId(2));
    assert_eq!(admit(other, request.clone()), Admission::Drop(Rejected::Unsolicited));
    assert_eq!(admit(Source::Peer(ReplicaId(3)), request), Admission::Verify);
    let alien = numbers_of(&cluster.config, 1, 1).next().unwrap();
    assert_eq!(admit(source, cluster.keys.lone(1, alien)), Admission::Drop(Rejected::WrongPillar));
    let far = numbers_of(&cluster.config, 1, 0).find(|number| *number > 128).unwrap();
    let beyond = Admission::Drop(Rejected::BeyondClientWindow);
    assert_eq!(admit(source, cluster.keys.lone(1, far)), beyond);
    let restarted = cluster.keys.decoded(&cluster.keys.request(1, far, far - 1, &[b"x"]));
    assert_eq!(admit(source, restarted), Admission::Verify);
    let last = numbers_of(&cluster.config, 1, 0).take_while(|number| *number <= 128).last().unwrap();
    assert_eq!(admit(source, cluster.keys.lone(1, last)), Admission::Verify);
}

#[test]
fn clients_send_requests_only() {
    let cluster = Cluster::new(config(4, 1));
    let bundle = cluster.keys.bundle(ReplicaId(2), PillarId(0), &[vote(1)]);
    let body = cluster.keys.body(Timestamp(1), &[1]);
    for message in [Message::Bundle(bundle), Message::Body(body)] {
        let verdict = cluster.pillar(1, 0).admit(Source::Client(ClientId(0)), &message);
        assert_eq!(verdict, Admission::Drop(Rejected::Unsolicited));
    }
}

#[test]
fn the_primary_takes_no_bodies_from_others() {
    let cluster = Cluster::new(config(4, 1));
    let body = body_frame(&cluster.keys.body(Timestamp(1), &[1]));
    assert_eq!(cluster.admit(1, 0, 0, &body), Admission::Drop(Rejected::Unsolicited));
}

#[test]
fn a_forwarded_request_that_is_known_is_not_verified_again() {
    let mut cluster = Cluster::new(config(4, 1));
    let request = cluster.keys.lone(0, 1);
    cluster.submit(2, request.clone());
    assert_eq!(cluster.submit(2, request.clone()), Admission::Drop(Rejected::Redundant));
    cluster.run();
    let verdict = cluster.pillar(0, 0).admit(Source::Peer(ReplicaId(3)), &Message::Request(request));
    assert_eq!(verdict, Admission::Drop(Rejected::Redundant));
}

#[test]
fn a_client_that_acknowledges_what_was_not_executed_lines_up_no_more_than_others() {
    let mut cluster = Cluster::new(config(4, 1));
    // Besides, a batch each is under way in the pipeline.
    let most = 2 * u64::from(cluster.config.client_window) + cluster.config.pipeline;
    let mut submit = |number: u64| {
        let request = cluster.keys.decoded(&cluster.keys.request(1, number, number - 1, &[b"x"]));
        let verdict = cluster.submit(0, request);
        cluster.seal(ReplicaId(0));
        verdict
    };
    assert!((1..=most).all(|number| submit(number) == Admission::Verify));
    assert_eq!(submit(most + 1), Admission::Drop(Rejected::Full));
    cluster.run();
    let next = cluster.keys.decoded(&cluster.keys.request(1, most + 2, most, &[b"x"]));
    assert_eq!(cluster.submit(0, next), Admission::Verify);
}

/// Found by the simulator (285): while newer ones took its place at the primary, the oldest ran out of time.
#[test]
fn a_backup_passes_on_as_much_as_the_primary_takes_and_the_oldest_first() {
    let mut cluster = Cluster::new(Config { batch_max: 4, ..config(4, 1) });
    let passed_on = |cluster: &Cluster| {
        cluster.wire.iter().filter(|envelope| envelope.frame.first() == Some(&PeerFrame::REQUEST)).count()
    };
    for number in 1..=3 {
        cluster.submit(2, cluster.keys.lone(0, number));
    }
    assert_eq!(passed_on(&cluster), 1, "the primary keeps a fourth of a batch for each");
    let before = cluster.now;
    cluster.run();
    assert_eq!(cluster.now, before, "no timer had to run out");
    assert_eq!(cluster.pillar(2, 0).progress().queued, 0);
    assert_eq!(cluster.pillar(2, 0).progress().view, View(0));
}

/// Otherwise it would be asked for in vain, except at a replica that has installed a state since, which would then blame.
#[test]
fn what_was_ordered_beyond_its_clients_window_can_be_ordered_again() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.submit(0, cluster.keys.lone(0, 5));
    cluster.run();
    assert_eq!(cluster.submit(1, cluster.keys.lone(0, 5)), Admission::Lookup);
    let far = vec![(ClientId(0), Number(5), 1)];
    let executed = Executed { seq: Seq(1), far, ..Executed::default() };
    cluster.step(ReplicaId(1), PillarId(0), Input::Executed(executed));
    assert_eq!(cluster.submit(1, cluster.keys.lone(0, 5)), Admission::Verify);
}
