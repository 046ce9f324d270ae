//! View changes: who leaves, what is carried over, who comes along later.

use hypostyle_app_api::{ReplicaId, View};
use hypostyle_pillars::Config;
use hypostyle_pillars::message::{Kind, PeerFrame};
use proptest::prelude::*;

use crate::cluster::{Cluster, Envelope};
use crate::fixture::{MS, config, numbers_of};
use crate::random::Random;

fn kind_of(cluster: &Cluster, envelope: &Envelope) -> Option<Kind> {
    use hypostyle_pillars::message::Message;
    match PeerFrame::decode(&envelope.frame, &cluster.config.frame_limits()) {
        Ok(PeerFrame::Message(Message::Bundle(bundle))) => Some(bundle.statements()[0].kind),
        _ => None,
    }
}

#[track_caller]
fn assert_view(cluster: &Cluster, replicas: &[u16], pillar: u16, view: u64) {
    for at in replicas {
        let progress = cluster.pillar(*at, pillar).progress();
        assert_eq!((progress.view, progress.active), (View(view), true), "replica {at}");
    }
}

#[test]
fn a_primary_that_is_down_is_replaced_and_the_request_served() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.down.insert(ReplicaId(0));
    cluster.submit_to_all(&cluster.keys.lone(0, 1));
    cluster.settle();
    assert_view(&cluster, &[1, 2, 3], 0, 1);
    cluster.assert_executed(&[(0, 1)]);
}

#[test]
fn one_replica_alone_changes_no_view() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.isolated.insert(ReplicaId(3));
    cluster.submit(3, cluster.keys.lone(0, 1));
    cluster.settle_for(3000 * MS);
    cluster.isolated.clear();
    cluster.reconnect();
    cluster.submit_to_all(&cluster.keys.lone(0, 1));
    cluster.settle();
    assert_view(&cluster, &[0, 1, 2], 0, 0);
    cluster.assert_executed(&[(0, 1)]);
}

/// The † rule: what was prepared may have been decided somewhere.
#[test]
fn a_prepared_slot_is_carried_into_the_next_view() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.submit(0, cluster.keys.lone(0, 1));
    cluster.run_without(|cluster, envelope| kind_of(cluster, envelope) == Some(Kind::Commit));
    assert_eq!(cluster.said(ReplicaId(2), Kind::Commit), 1);
    cluster.down.insert(ReplicaId(0));
    while cluster.pillar(2, 0).view() == View(0) {
        assert!(cluster.pass_deadline());
        cluster.run_without(|cluster, envelope| kind_of(cluster, envelope) == Some(Kind::Commit));
    }
    // Nobody has the request but in the body that was prepared.
    cluster.settle();
    assert_view(&cluster, &[1, 2, 3], 0, 1);
    cluster.assert_executed(&[(0, 1)]);
}

#[test]
fn a_gap_below_a_prepared_slot_gets_the_empty_body() {
    let mut cluster = Cluster::new(Config { batch_max: 1, ..config(4, 1) });
    cluster.submit(0, cluster.keys.lone(0, 1));
    cluster.submit(0, cluster.keys.lone(0, 2));
    // The backups never hear of slot 1's Prepares, but of slot 2's.
    let mut prepares = std::cell::Cell::new(0);
    cluster.bundle = 1;
    cluster.run_without(|cluster, envelope| match kind_of(cluster, envelope) {
        Some(Kind::Commit) => true,
        Some(Kind::Prepare) => {
            let PeerFrame::Message(hypostyle_pillars::message::Message::Bundle(bundle)) =
                PeerFrame::decode(&envelope.frame, &cluster.config.frame_limits()).unwrap()
            else {
                return false;
            };
            prepares.set(prepares.get() + 1);
            bundle.statements()[0].seq.0 == 1
        }
        _ => false,
    });
    assert!(prepares.get_mut() > &mut 0);
    cluster.down.insert(ReplicaId(0));
    cluster.settle();
    cluster.insist(&[(0, 1), (0, 2)]);
    cluster.assert_executed(&[(0, 1), (0, 2)]);
}

#[test]
fn two_dead_primaries_in_a_row() {
    let mut cluster = Cluster::new(config(7, 1));
    cluster.down.extend([ReplicaId(0), ReplicaId(1)]);
    cluster.submit_to_all(&cluster.keys.lone(0, 1));
    let begin = cluster.now.instant;
    cluster.settle();
    assert_view(&cluster, &[2, 3, 4, 5, 6], 0, 2);
    cluster.assert_executed(&[(0, 1)]);
    assert!(cluster.now.instant.since(begin) <= 2500 * MS);
}

#[test]
fn pillars_change_their_views_apart() {
    let mut cluster = Cluster::new(config(4, 4));
    cluster.down.insert(ReplicaId(1));
    let mut requests = Vec::new();
    for pillar in 0..4 {
        let number = numbers_of(&cluster.config, 0, pillar).next().unwrap();
        requests.push((0, number));
        cluster.submit_to_all(&cluster.keys.lone(0, number));
    }
    cluster.settle();
    cluster.assert_executed(&requests);
    for pillar in 0..4 {
        assert_view(&cluster, &[0, 2, 3], pillar, u64::from(pillar == 1));
    }
}

#[test]
fn a_replica_that_was_away_enters_the_view_by_its_new_view() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.down.insert(ReplicaId(3));
    // View 0's primary is cut off; three are needed, so the one that was away has to come along.
    cluster.submit_to_all(&cluster.keys.lone(0, 1));
    cluster.settle();
    cluster.isolated.insert(ReplicaId(0));
    cluster.down.clear();
    cluster.submit_to_all(&cluster.keys.lone(0, 2));
    cluster.settle_for(5000 * MS);
    cluster.down.insert(ReplicaId(0));
    cluster.insist(&[(0, 2)]);
    assert_view(&cluster, &[1, 2, 3], 0, 1);
    cluster.assert_executed(&[(0, 1), (0, 2)]);
}

#[test]
fn a_laggard_enters_without_having_left() {
    let mut cluster = Cluster::new(config(7, 1));
    cluster.down.insert(ReplicaId(0));
    cluster.isolated.insert(ReplicaId(6));
    cluster.submit_to_all(&cluster.keys.lone(0, 1));
    cluster.settle_for(2000 * MS);
    assert_view(&cluster, &[1, 2, 3, 4, 5], 0, 1);
    cluster.isolated.clear();
    cluster.reconnect();
    cluster.settle();
    assert_view(&cluster, &[1, 2, 3, 4, 5], 0, 1);
    cluster.submit_to_all(&cluster.keys.lone(0, 2));
    cluster.settle();
    cluster.assert_executed(&[(0, 1), (0, 2)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever the order and the losses until then: once frames arrive, everything asked for is executed, alike.
    #[test]
    fn any_order_any_loss_and_a_dead_primary(
        seed in any::<u64>(), loss in 0u64..40, pillars in 1u16..4, dead in 0u16..4, bundle in 1usize..5,
    ) {
        let mut cluster = Cluster::new(Config { batch_max: 2, ..config(4, pillars) });
        cluster.random = Random(seed);
        cluster.loss = loss;
        cluster.bundle = bundle;
        let requests: Vec<_> = (0..3).flat_map(|c| (1..=4).map(move |n| (c, n))).collect();
        for (index, (client, number)) in requests.iter().enumerate() {
            if index == 5 {
                cluster.down.insert(ReplicaId(dead));
            }
            let request = cluster.keys.lone(*client, *number);
            cluster.submit_to_all(&request);
            if cluster.random.percent(30) {
                cluster.shuffle();
            }
            if cluster.random.percent(30) {
                cluster.pass_deadline();
            }
        }
        for _ in 0..12 {
            cluster.shuffle();
            cluster.pass_deadline();
        }
        cluster.loss = 0;
        cluster.reconnect();
        cluster.settle_for(30_000 * MS);
        for _ in 0..4 {
            cluster.insist_for(&requests, 20_000 * MS);
        }
        cluster.assert_executed(&requests);
    }
}
