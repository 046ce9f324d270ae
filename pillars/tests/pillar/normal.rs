//! The normal case without faults.

use hypostyle_app_api::{Digest, PillarId, ReplicaId, Seq};
use hypostyle_pillars::message::Kind;
use hypostyle_pillars::{Admission, Config, Input, Leaders, Output, Pillar, Source};
use proptest::prelude::*;
use std::sync::Arc;

use crate::cluster::Cluster;
use crate::fixture::{Keys, body_frame, bundle_frame, config, statement};
use crate::random::Random;
use hypostyle_app_api::Timestamp;

#[test]
fn one_request_at_the_primary_is_decided_everywhere_and_then_all_is_quiet() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.submit(0, cluster.keys.lone(0, 1));
    cluster.run();
    cluster.assert_executed(&[(0, 1)]);
    cluster.settle();
    let sent = cluster.sent;
    assert!(cluster.pillar(0, 0).next_deadline().is_none(), "idle");
    for _ in 0..100 {
        cluster.pass(std::time::Duration::from_secs(10));
        cluster.run();
    }
    assert_eq!(cluster.sent, sent, "an idle cluster is silent");
    assert_eq!(cluster.frontier(0, 0), 1);
}

#[test]
fn the_quiet_status_is_one_to_each_peer() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.submit(0, cluster.keys.lone(0, 1));
    cluster.run();
    let sent = cluster.sent;
    cluster.settle();
    assert_eq!(cluster.sent - sent, 12);
}

#[test]
fn a_new_pillar_waits_for_nothing() {
    let cluster = Cluster::new(config(4, 4));
    assert!((0..4).all(|p| cluster.pillar(0, p).next_deadline().is_none()));
}

#[test]
fn a_request_at_a_backup_reaches_the_primary() {
    let mut cluster = Cluster::new(config(4, 1));
    assert_eq!(cluster.submit(2, cluster.keys.lone(1, 1)), Admission::Verify);
    cluster.run();
    cluster.assert_executed(&[(1, 1)]);
    assert_eq!(cluster.pillar(2, 0).progress().queued, 0);
}

#[test]
fn the_primary_of_each_pillar_is_another_replica_and_all_orders_merge() {
    let mut cluster = Cluster::new(config(4, 4));
    let requests: Vec<_> = (0..4).flat_map(|client| (1..=20).map(move |number| (client, number))).collect();
    for (client, number) in &requests {
        let request = cluster.keys.lone(*client, *number);
        cluster.submit_to_all(&request);
    }
    cluster.run();
    cluster.assert_executed(&requests);
}

#[test]
fn many_windows_pass_as_checkpoints_become_stable() {
    let mut cluster = Cluster::new(Config { batch_max: 1, ..config(4, 1) });
    for number in 1..=200 {
        cluster.submit(0, cluster.keys.lone(0, number));
        cluster.run();
    }
    assert_eq!(cluster.frontier(3, 0), 200);
    assert_eq!(cluster.replicas[3].executor.stable.0, 200);
}

#[test]
fn seven_replicas_with_a_single_leader_agree() {
    let mut cluster = Cluster::new(Config { leaders: Leaders::Single, ..config(7, 2) });
    let requests: Vec<_> = (1..=20).map(|number| (3, number)).collect();
    for (client, number) in &requests {
        cluster.submit(0, cluster.keys.lone(*client, *number));
    }
    cluster.run();
    cluster.assert_executed(&requests);
}

#[test]
fn a_returning_answer_is_looked_up_and_not_ordered_again() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.submit(0, cluster.keys.lone(0, 1));
    cluster.run();
    for at in 0..4 {
        assert_eq!(cluster.submit(at, cluster.keys.lone(0, 1)), Admission::Lookup);
    }
    cluster.run();
    assert_eq!(cluster.frontier(0, 0), 1);
}

/// The frames of one slot that replica 3 receives, in every order: decided exactly once in each.
#[test]
fn any_order_of_the_frames_of_a_slot_decides_it() {
    let keys = Keys::new(4);
    let limits = config(4, 1);
    let me = Config { me: ReplicaId(3), ..limits.clone() };
    let body = keys.body(Timestamp(1), &[1]);
    let say = |replica, kind| {
        let statement = statement(kind, 0, 1, body.digest());
        (replica, bundle_frame(&keys.bundle(ReplicaId(replica), PillarId(0), &[statement])))
    };
    let frames = [
        (0, body_frame(&body)),
        say(0, Kind::Propose),
        say(1, Kind::Prepare),
        say(0, Kind::Commit),
        say(1, Kind::Commit),
        say(2, Kind::Commit),
    ];
    for order in permutations(frames.len()) {
        let mut pillar = Pillar::new(me.clone());
        let mut out = Vec::new();
        let now = Cluster::new(limits.clone()).now;
        for index in &order {
            let (from, frame) = &frames[*index];
            let decoded = hypostyle_pillars::message::PeerFrame::decode(frame, &limits.frame_limits());
            let Ok(hypostyle_pillars::message::PeerFrame::Message(message)) = decoded else {
                panic!("decodes");
            };
            if pillar.admit(Source::Peer(ReplicaId(*from)), &message) == Admission::Verify {
                pillar.step(now, Input::Message(keys.keyring.verify(message).unwrap()), &mut out);
            }
            pillar.step(now, Input::Tick, &mut out);
        }
        let decided: Vec<_> = out.iter().filter(|o| matches!(o, Output::Decided(_))).collect();
        assert_eq!(decided.len(), 1, "{order:?}");
        assert_eq!(pillar.progress().decided, Seq(1));
    }
}

fn permutations(n: usize) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for next in 0..n {
        all = all
            .into_iter()
            .flat_map(|order: Vec<usize>| {
                (0..=order.len()).map(move |at| {
                    let mut longer = order.clone();
                    longer.insert(at, next);
                    longer
                })
            })
            .collect();
    }
    all
}

#[test]
fn own_statements_count_only_once_they_are_sealed() {
    let keys = Keys::new(4);
    let now = Cluster::new(config(4, 1)).now;
    let mut pillar = Pillar::new(config(4, 1));
    let mut out = Vec::new();
    let request = keys.keyring.verify(hypostyle_pillars::message::Message::Request(keys.lone(0, 1))).unwrap();
    pillar.step(now, Input::Message(request), &mut out);
    pillar.step(now, Input::Tick, &mut out);
    let proposal = out.iter().find_map(|o| match o {
        Output::Statement(s) => Some(*s),
        _ => None,
    });
    let proposal = proposal.unwrap();
    let prepares = |digest: Digest, out: &mut Vec<Output>, pillar: &mut Pillar| {
        for replica in [1, 2] {
            let prepare = statement(Kind::Prepare, 0, 1, digest);
            let bundle = keys.bundle(ReplicaId(replica), PillarId(0), &[prepare]);
            let message = keys.keyring.verify(hypostyle_pillars::message::Message::Bundle(bundle)).unwrap();
            pillar.step(now, Input::Message(message), out);
        }
    };
    out.clear();
    prepares(proposal.digest, &mut out, &mut pillar);
    assert!(!out.iter().any(|o| matches!(o, Output::Statement(_))), "the own Propose is not sealed yet");
    let own = Arc::new(keys.bundle(ReplicaId(0), PillarId(0), &[proposal]));
    pillar.step(now, Input::Sealed(own), &mut out);
    let commits = out.iter().filter(|o| matches!(o, Output::Statement(s) if s.kind == Kind::Commit));
    assert_eq!(commits.count(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_order_with_duplicates_agrees_and_leaves_nothing_undecided(seed in any::<u64>(), pillars in 1u16..5) {
        let mut cluster = Cluster::new(config(4, pillars));
        cluster.random = Random(seed);
        let requests: Vec<_> = (0..3).flat_map(|c| (1..=10).map(move |n| (c, n))).collect();
        for (client, number) in &requests {
            let request = cluster.keys.lone(*client, *number);
            cluster.submit_to_all(&request);
        }
        cluster.shuffle();
        cluster.settle();
        cluster.assert_executed(&requests);
    }
}
