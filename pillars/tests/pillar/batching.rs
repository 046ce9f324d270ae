//! When batches are cut, and how large they get.

use hypostyle_app_api::{PillarId, ReplicaId, Seq, Timestamp};
use hypostyle_pillars::message::Kind;
use hypostyle_pillars::{Config, Input, SignerProgress};

use crate::cluster::Cluster;
use crate::fixture::{MS, body_frame, bundle_frame, config, statement};
use crate::forge::submit_apart;

/// Operations in each of the slots that replica 0 decided.
fn batches(cluster: &Cluster) -> Vec<u32> {
    cluster.replicas[0].executor.decided.values().map(|decided| decided.body.operation_count()).collect()
}

#[test]
fn without_delay_a_batch_is_cut_at_the_end_of_a_turn_that_finds_the_signer_free() {
    let mut cluster = Cluster::new(config(4, 1));
    for number in 1..=3 {
        cluster.submit(0, cluster.keys.lone(0, number));
    }
    cluster.run();
    assert_eq!(batches(&cluster), [1, 2], "the second turn found the signer busy");
    submit_apart(&mut cluster, 4..=6);
    cluster.run();
    assert_eq!(batches(&cluster), [1, 2, 1, 1, 1]);
}

#[test]
fn while_the_pipeline_is_full_batches_grow() {
    let mut cluster = Cluster::new(config(4, 1));
    submit_apart(&mut cluster, 1..=30);
    assert_eq!(cluster.pillar(0, 0).progress().in_flight, 4);
    assert_eq!(cluster.pillar(0, 0).progress().queued, 26);
    cluster.run();
    assert_eq!(batches(&cluster), [1, 1, 1, 1, 8, 8, 8, 2]);
}

/// Where each reply has a signature, a proposal comes after those that were asked for before it: meanwhile it gathers.
#[test]
fn what_does_not_fill_a_batch_gathers_until_the_signer_has_what_it_was_given_before() {
    let mut cluster = Cluster::new(config(4, 1));
    let signer = |given, signed| Input::Signer(SignerProgress { given, signed });
    let step = |cluster: &mut Cluster, input| {
        cluster.step(ReplicaId(0), PillarId(0), input);
        cluster.tick(ReplicaId(0));
    };
    step(&mut cluster, signer(7, 5));
    cluster.submit(0, cluster.keys.lone(0, 1));
    cluster.run();
    assert_eq!(batches(&cluster), [0; 0], "two signatures are under way");
    step(&mut cluster, signer(9, 6));
    cluster.submit(0, cluster.keys.lone(0, 2));
    cluster.run();
    assert_eq!(batches(&cluster), [0; 0]);
    step(&mut cluster, signer(9, 7));
    cluster.run();
    assert_eq!(batches(&cluster), [2], "what was given to the signer later doesn't matter");
    for number in 3..=11 {
        cluster.submit(0, cluster.keys.lone(0, number));
    }
    cluster.run();
    assert_eq!(batches(&cluster), [2, 8], "a full one doesn't wait, what is left does");
    step(&mut cluster, signer(9, 9));
    cluster.run();
    assert_eq!(batches(&cluster), [2, 8, 1]);
}

#[test]
fn a_batch_that_its_clients_made_void_is_not_proposed() {
    let mut cluster = Cluster::new(config(4, 1));
    submit_apart(&mut cluster, 1..=12);
    let beyond = cluster.keys.decoded(&cluster.keys.request(0, 13, 12, &[b"x"]));
    cluster.submit(0, beyond);
    cluster.run();
    assert_eq!(batches(&cluster), [1, 1, 1, 1, 1]);
}

#[test]
fn a_delayed_batch_is_cut_when_it_is_full_or_old() {
    let mut cluster = Cluster::new(Config { batch_delay: 10 * MS, ..config(4, 1) });
    for number in 1..=8 {
        assert_eq!(cluster.pillar(0, 0).progress().in_flight, 0);
        cluster.submit(0, cluster.keys.lone(0, number));
    }
    assert_eq!(cluster.pillar(0, 0).progress().in_flight, 1, "full");
    cluster.run();
    cluster.submit(0, cluster.keys.lone(0, 9));
    cluster.run();
    cluster.pass(4 * MS);
    cluster.submit(0, cluster.keys.lone(0, 10));
    let due = cluster.pillar(0, 0).next_deadline().unwrap();
    assert_eq!(due.since(cluster.now.instant), 6 * MS, "since the oldest");
    cluster.pass(6 * MS);
    cluster.run();
    assert_eq!(batches(&cluster), [8, 2]);
}

#[test]
fn a_batch_is_bounded_in_bytes() {
    let mut cluster = Cluster::new(config(4, 1));
    for number in 1..=16 {
        let bytes = cluster.keys.request(0, number, 0, &[&[1; 3000]]);
        cluster.submit(0, cluster.keys.decoded(&bytes));
    }
    cluster.run();
    let decided = cluster.replicas[0].executor.decided.values();
    assert!(decided.clone().all(|d| d.body.bytes().len() <= 8 << 10));
    assert_eq!(batches(&cluster), [1, 2, 2, 2, 2, 2, 2, 2, 1]);
}

#[test]
fn a_proposal_from_the_future_waits_for_the_clock_and_an_old_one_does_not() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.down.insert(ReplicaId(0));
    let skew = cluster.config.max_clock_skew;
    let early = cluster.keys.body(Timestamp(1), &[1]);
    let late = cluster.keys.body(cluster.now.wall + skew + 70 * MS, &[2]);
    for (seq, body) in [(1, &early), (2, &late)] {
        for to in 1..4 {
            cluster.inject(0, to, 0, body_frame(body));
            let proposal = statement(Kind::Propose, 0, seq, body.digest());
            let bundle = cluster.keys.bundle(ReplicaId(0), PillarId(0), &[proposal]);
            cluster.inject(0, to, 0, bundle_frame(&bundle));
        }
    }
    let prepared = |cluster: &Cluster| cluster.said(ReplicaId(1), Kind::Prepare);
    assert_eq!(prepared(&cluster), 1);
    assert_eq!(cluster.pillar(1, 0).next_deadline(), Some(cluster.now.instant + 70 * MS));
    cluster.pass(69 * MS);
    assert_eq!(prepared(&cluster), 1);
    cluster.pass(MS);
    assert_eq!(prepared(&cluster), 2);
    cluster.run();
    assert_eq!(cluster.pillar(1, 0).progress().decided, Seq(2));
}

#[test]
fn a_timestamp_at_the_end_of_time_is_never_accepted() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.down.insert(ReplicaId(0));
    let body = cluster.keys.body(Timestamp(u64::MAX), &[1]);
    cluster.inject(0, 1, 0, body_frame(&body));
    let proposal = statement(Kind::Propose, 0, 1, body.digest());
    let bundle = cluster.keys.bundle(ReplicaId(0), PillarId(0), &[proposal]);
    cluster.inject(0, 1, 0, bundle_frame(&bundle));
    cluster.settle_for(std::time::Duration::from_secs(20));
    assert_eq!(cluster.said(ReplicaId(1), Kind::Prepare), 0);
}
