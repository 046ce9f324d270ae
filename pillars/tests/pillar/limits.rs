//! What is held is bounded.

use hypostyle_app_api::{PillarId, ReplicaId, Seq, View};
use hypostyle_pillars::message::{Kind, Request};
use hypostyle_pillars::{Admission, Config, Rejected};

use crate::cluster::Cluster;
use crate::fixture::{bundle_frame, config, statement};

/// 32 are four batches: half for the first that asks for all, then half of the rest.
#[test]
fn a_backup_holds_four_batches_of_pending_requests_and_one_client_leaves_half_to_others() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.down.insert(ReplicaId(0));
    for (client, most) in [(0, 16), (1, 8), (2, 4)] {
        for number in 1..=most {
            assert_eq!(cluster.submit(1, cluster.keys.lone(client, number)), Admission::Verify);
        }
        let more = cluster.keys.lone(client, most + 1);
        assert_eq!(cluster.submit(1, more), Admission::Drop(Rejected::Full), "of client {client}");
    }
    assert_eq!(cluster.pillar(1, 0).progress().queued, 28);
}

#[test]
fn a_backup_holds_four_batches_of_pending_bytes_and_one_client_leaves_half_to_others() {
    let mut cluster = Cluster::new(Config { batch_max: 1000, ..config(4, 1) });
    cluster.down.insert(ReplicaId(0));
    let request = |cluster: &Cluster, client, number| {
        cluster.keys.decoded(&cluster.keys.request(client, number, 0, &[&[1; 3000]]))
    };
    for (client, first_refused) in [(0, 6), (1, 4)] {
        let mut numbers = 1..100;
        let refused =
            numbers.find(|number| cluster.submit(1, request(&cluster, client, *number)) != Admission::Verify);
        assert_eq!(refused, Some(first_refused), "of 3.1 KB in 32 KiB, client {client}");
    }
}

#[test]
fn a_primary_whose_pipeline_is_stuck_holds_a_bounded_queue() {
    let config =
        Config { client_window: 1 << 16, batch_bytes: 1 << 10, request_max: 1 << 10, ..config(4, 1) };
    let mut cluster = Cluster::new(config);
    let request = |cluster: &Cluster, number| -> Request {
        cluster.keys.decoded(&cluster.keys.request(0, number, 0, &[&[1; 500]]))
    };
    let refused =
        (1..10_000).find(|number| cluster.submit(0, request(&cluster, *number)) != Admission::Verify);
    let (refused, held) = (refused.unwrap(), 64 * 1024 / 590);
    assert!((held..held + 10).contains(&refused), "{refused} refused");
    assert_eq!(cluster.pillar(0, 0).progress().in_flight, 4);
    cluster.run();
    cluster.assert_executed(&(1..refused).map(|number| (0, number)).collect::<Vec<_>>());
}

#[test]
fn a_client_gets_no_further_than_twice_its_window_above_its_floor() {
    let mut cluster = Cluster::new(config(4, 1));
    for at in 0..4 {
        cluster.replicas[at].executor.asleep = true;
    }
    let mut taken = 0;
    for number in 1..=200 {
        taken += u64::from(cluster.submit(0, cluster.keys.lone(0, number)) == Admission::Verify);
        cluster.run();
    }
    assert_eq!(taken, 128);
    assert_eq!(cluster.dropped.iter().filter(|r| **r == Rejected::BeyondClientWindow).count(), 72);
}

#[test]
fn nothing_is_proposed_above_the_high_watermark() {
    let mut cluster = Cluster::new(Config { batch_max: 1, ..config(4, 1) });
    cluster.replicas.iter_mut().for_each(|replica| replica.executor.asleep = true);
    for number in 1..=40 {
        cluster.submit(0, cluster.keys.lone(0, number));
        cluster.run();
    }
    assert!((0..4).all(|at| cluster.frontier(at, 0) == 16));
    cluster.replicas.iter_mut().for_each(|replica| replica.executor.asleep = false);
    cluster.settle_for(std::time::Duration::from_secs(3));
    cluster.assert_executed(&(1..=40).map(|number| (0, number)).collect::<Vec<_>>());
}

/// The others go on; the slots it can't decide any more by itself are not kept.
#[test]
fn a_replica_that_does_not_execute_keeps_four_windows_above_it() {
    let mut cluster = Cluster::new(Config { batch_max: 1, ..config(4, 1) });
    cluster.replicas[3].executor.asleep = true;
    for number in 1..=150 {
        cluster.submit(0, cluster.keys.lone(0, number));
        cluster.run();
    }
    assert_eq!((cluster.frontier(0, 0), cluster.frontier(3, 0)), (150, 32));
    let digest = hypostyle_app_api::Digest([1; 32]);
    let admit = |seq| {
        let bundle =
            cluster.keys.bundle(ReplicaId(2), PillarId(0), &[statement(Kind::Commit, 0, seq, digest)]);
        cluster.admit(2, 3, 0, &bundle_frame(&bundle))
    };
    assert_eq!(admit(65), Admission::Drop(Rejected::OutsideWindow));
    assert_eq!(cluster.pillar(3, 0).progress().decided_high, Seq(32));
    assert_eq!(cluster.pillar(3, 0).view(), View(0));
}

#[test]
fn a_request_ordered_in_other_pieces_does_not_wait_for_ever() {
    let config = Config { request_operations: 8, client_window: 64, ..config(4, 1) };
    let mut cluster = Cluster::new(config);
    let pieces: [&[&[u8]]; 3] = [&[b"a", b"b", b"c", b"d"], &[b"a", b"b"], &[b"c", b"d"]];
    let request =
        |first, floor, operations| cluster.keys.decoded(&cluster.keys.request(0, first, floor, operations));
    // Numbers from 8: those below are never used, so that the client's executed floor stays at 0.
    let [whole, head, tail] = [request(8, 0, pieces[0]), request(8, 0, pieces[1]), request(10, 0, pieces[2])];
    cluster.isolated.insert(ReplicaId(2));
    cluster.submit(2, whole);
    cluster.isolated.clear();
    cluster.submit(0, head);
    cluster.submit(0, tail);
    cluster.run();
    cluster.assert_executed(&[(0, 8), (0, 9), (0, 10), (0, 11)]);
    assert_eq!(cluster.pillar(2, 0).progress().queued, 0);
    assert_eq!(cluster.pillar(2, 0).progress().owed, 0);
    cluster.settle();
}
