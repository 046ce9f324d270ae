//! Several pillars: what one owes because of the others, and empty slots.

use hypostyle_app_api::{Digest, PillarId, ReplicaId, Seq, Timestamp};
use hypostyle_pillars::message::{Body, Kind};
use hypostyle_pillars::{Config, Demand, Input};
use proptest::prelude::*;

use crate::cluster::Cluster;
use crate::fixture::{MS, body_frame, bundle_frame, config, numbers_of, statement};
use crate::random::Random;

/// A lone request of `client` that `pillar` orders.
fn submit(cluster: &mut Cluster, pillar: u16, nth: usize) -> (u32, u64) {
    let number = numbers_of(&cluster.config, 0, pillar).nth(nth).unwrap();
    cluster.submit(pillar % 4, cluster.keys.lone(0, number));
    (0, number)
}

fn empties(cluster: &Cluster) -> usize {
    cluster.replicas[0].executor.decided.values().filter(|decided| decided.body.is_empty()).count()
}

#[test]
fn a_lone_request_makes_the_other_pillars_propose_one_empty_slot_each() {
    for pillar in 0..4 {
        let mut cluster = Cluster::new(config(4, 4));
        let request = submit(&mut cluster, pillar, 0);
        cluster.run();
        cluster.assert_executed(&[request]);
        assert_eq!(empties(&cluster), 3);
        assert_eq!(cluster.replicas[0].executor.position, 4);
        cluster.settle();
        assert_eq!(empties(&cluster), 3, "empty slots call for no others");
    }
}

#[test]
fn five_slots_of_one_pillar_make_the_others_follow_to_the_same_round() {
    let mut cluster = Cluster::new(config(4, 4));
    let requests: Vec<_> = (0..5).map(|nth| submit(&mut cluster, 2, nth)).collect();
    cluster.run();
    cluster.assert_executed(&requests);
    let rounds: Vec<_> = (0..4).map(|p| cluster.frontier(1, p)).collect();
    assert!(rounds.iter().all(|round| *round == rounds[2]), "{rounds:?}");
}

/// The primary of pillar 1 proposes an empty body for `seq`.
fn propose_empty(cluster: &mut Cluster, seq: u64) {
    let proposal = statement(Kind::Propose, 1, seq, Body::empty().digest());
    let bundle = bundle_frame(&cluster.keys.bundle(ReplicaId(1), PillarId(1), &[proposal]));
    [0, 2, 3].into_iter().for_each(|to| cluster.inject(1, to, 1, bundle.clone()));
}

fn prepared(cluster: &Cluster) -> usize {
    cluster.said(ReplicaId(2), Kind::Prepare)
}

#[test]
fn a_wasteful_primarys_empty_slot_is_not_prepared_until_a_request_calls_for_it() {
    let mut cluster = Cluster::new(config(4, 4));
    cluster.down.insert(ReplicaId(1));
    propose_empty(&mut cluster, 1);
    propose_empty(&mut cluster, 2);
    cluster.run();
    assert_eq!(prepared(&cluster), 0);
    let request = submit(&mut cluster, 0, 0);
    cluster.run();
    assert!(cluster.has_executed(ReplicaId(2), request.0, request.1), "slot 1 was owed now");
    assert_eq!(cluster.frontier(2, 1), 1, "slot 2 still is not");
}

#[test]
fn two_wasteful_primaries_do_not_justify_each_other() {
    let mut cluster = Cluster::new(config(4, 4));
    cluster.down.insert(ReplicaId(1));
    propose_empty(&mut cluster, 1);
    let proposal = statement(Kind::Propose, 2, 1, Body::empty().digest());
    let bundle = bundle_frame(&cluster.keys.bundle(ReplicaId(2), PillarId(2), &[proposal]));
    [0, 3].into_iter().for_each(|to| cluster.inject(2, to, 2, bundle.clone()));
    cluster.settle_for(3000 * MS);
    assert_eq!(prepared(&cluster) + cluster.said(ReplicaId(0), Kind::Prepare), 0);
}

/// The primary of pillar 0 shows its proposals to the primary of pillar 1 alone, which fills its pipeline with empties
/// that no backup has a reason to prepare.
#[test]
fn a_pipeline_full_of_empties_gives_way_to_a_pending_request() {
    let mut cluster = Cluster::new(config(4, 2));
    cluster.down.insert(ReplicaId(0));
    for seq in 1..=4 {
        let nth = usize::try_from(seq).unwrap() - 1;
        let number = numbers_of(&cluster.config, 0, 0).nth(nth).unwrap();
        let body = cluster.keys.body(Timestamp(seq), &[number]);
        let proposal = statement(Kind::Propose, 0, seq, body.digest());
        let bundle = bundle_frame(&cluster.keys.bundle(ReplicaId(0), PillarId(0), &[proposal]));
        cluster.inject(0, 1, 0, body_frame(&body));
        cluster.inject(0, 1, 0, bundle);
    }
    assert_eq!(cluster.pillar(1, 1).progress().in_flight, 4);
    let number = numbers_of(&cluster.config, 3, 1).next().unwrap();
    let request = cluster.keys.lone(3, number);
    cluster.submit_to_all(&request);
    for _ in 0..6 {
        cluster.run_without(|_, envelope| envelope.pillar == PillarId(0));
        cluster.pass_deadline();
    }
    for at in 1..4 {
        let decided = &cluster.replicas[at].executor.decided;
        let served = decided.values().any(|d| d.pillar == PillarId(1) && !d.body.is_empty());
        assert!(served, "replica {at}: {:?}", cluster.replicas[at].pillars[1].progress());
    }
}

#[test]
fn a_request_that_waits_for_its_batch_fills_an_owed_slot() {
    let mut cluster = Cluster::new(Config { batch_delay: 1000 * MS, ..config(4, 2) });
    submit(&mut cluster, 1, 0);
    cluster.run();
    assert_eq!(cluster.pillar(1, 1).progress().in_flight, 0);
    cluster.step(ReplicaId(1), PillarId(1), Input::Demand(Demand::Accepted(Seq(1))));
    cluster.tick(ReplicaId(1));
    cluster.run();
    let decided = &cluster.replicas[0].executor.decided;
    assert!(!decided[&(PillarId(1), Seq(1))].body.is_empty());
}

#[test]
fn one_liar_makes_nobody_owe_anything() {
    let mut cluster = Cluster::new(config(4, 4));
    for seq in 1..=16 {
        for kind in [Kind::Prepare, Kind::Commit] {
            let vote = statement(kind, 0, seq, Digest([1; 32]));
            let bundle = bundle_frame(&cluster.keys.bundle(ReplicaId(3), PillarId(0), &[vote]));
            (1..3).for_each(|to| cluster.inject(3, to, 0, bundle.clone()));
        }
    }
    cluster.run();
    assert!((0..4).all(|p| cluster.pillar(1, p).progress().owed == 0));
    assert_eq!(cluster.pillar(1, 0).next_deadline(), None);
}

/// f+1 replicas speak for a slot above the watermark; when it has risen, the slot is owed.
#[test]
fn what_was_above_the_watermark_is_owed_once_it_is_below() {
    let mut cluster = Cluster::new(Config { batch_max: 1, ..config(4, 2) });
    let vote = statement(Kind::Prepare, 0, 17, Digest([1; 32]));
    for signer in [2, 3] {
        let bundle = bundle_frame(&cluster.keys.bundle(ReplicaId(signer), PillarId(0), &[vote]));
        cluster.inject(signer, 1, 0, bundle);
    }
    assert_eq!(cluster.pillar(1, 1).progress().owed, 0);
    for nth in 0..4 {
        submit(&mut cluster, 0, nth);
        cluster.run();
    }
    assert_eq!(cluster.replicas[1].executor.stable.0, 4);
    assert_eq!(cluster.pillar(1, 0).progress().owed, 17 - cluster.frontier(1, 0));
    assert_eq!(cluster.pillar(1, 1).progress().owed, 17 - cluster.frontier(1, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn few_requests_in_few_of_the_pillars_are_all_executed(
        seed in any::<u64>(), targets in prop::collection::vec((0u32..6, 1u64..40), 1..12)
    ) {
        let mut cluster = Cluster::new(config(4, 4));
        cluster.random = Random(seed);
        for (client, number) in &targets {
            let request = cluster.keys.lone(*client, *number);
            cluster.submit_to_all(&request);
            if cluster.random.percent(30) {
                cluster.shuffle();
            }
        }
        cluster.shuffle();
        cluster.settle();
        cluster.assert_executed(&targets);
    }
}
