//! View changes at awkward moments (reliability.md, 2.7): at the edges of windows, with nothing to carry over, in all
//! pillars at once, with primaries that are gone one after another, with somebody who left alone.

use hypostyle_app_api::{PillarId, ReplicaId, View};
use hypostyle_pillars::message::{Kind, PeerFrame};
use hypostyle_pillars::{Config, Input, Leaders};

use crate::cluster::Cluster;
use crate::fixture::{MS, config, numbers_of};
use crate::forge::says;

#[track_caller]
fn assert_view(cluster: &Cluster, replicas: &[u16], pillar: u16, view: u64) {
    for at in replicas {
        let progress = cluster.pillar(*at, pillar).progress();
        assert_eq!((progress.view, progress.active), (View(view), true), "replica {at}");
    }
}

#[test]
fn three_dead_primaries_in_a_row_of_ten() {
    let mut cluster = Cluster::new(config(10, 1));
    cluster.down.extend([0, 1, 2].map(ReplicaId));
    cluster.submit_to_all(&cluster.keys.lone(0, 1));
    let begin = cluster.now.instant;
    cluster.settle();
    assert_view(&cluster, &[3, 4, 5, 6, 7, 8, 9], 0, 3);
    cluster.assert_executed(&[(0, 1)]);
    // T0 for the first, then T0, 2·T0 for those that don't begin.
    assert!(cluster.now.instant.since(begin) <= 2500 * MS);
}

/// The primary is gone after so many slots; what follows is ordered by the next.
fn primary_gone_after(slots: u64, without_checkpoints: bool) {
    let mut cluster = Cluster::new(Config { batch_max: 1, ..config(4, 1) });
    let mut requests = Vec::new();
    for number in 1..=slots {
        requests.push((0, number));
        cluster.submit(0, cluster.keys.lone(0, number));
        cluster.run_without(|cluster, e| without_checkpoints && says(cluster, e, Kind::Checkpoint));
    }
    cluster.down.insert(ReplicaId(0));
    for number in slots + 1..=slots + 3 {
        requests.push((0, number));
        cluster.submit_to_all(&cluster.keys.lone(0, number));
    }
    cluster.settle();
    cluster.insist(&requests);
    assert_view(&cluster, &[1, 2, 3], 0, 1);
    cluster.assert_executed(&requests);
}

#[test]
fn a_view_change_at_a_checkpoint_and_around_it() {
    (3..=5).for_each(|slots| primary_gone_after(slots, false));
}

#[test]
fn a_view_change_at_the_high_watermark_and_around_it() {
    (15..=17).for_each(|slots| primary_gone_after(slots, false));
    (15..=16).for_each(|slots| primary_gone_after(slots, true));
}

/// A checkpoint becomes stable after the VIEW-CHANGEs that don't know it were made.
#[test]
fn a_checkpoint_that_becomes_stable_during_the_view_change() {
    let mut cluster = Cluster::new(Config { batch_max: 1, ..config(4, 1) });
    let mut requests = Vec::new();
    for number in 1..=8 {
        requests.push((0, number));
        cluster.submit(0, cluster.keys.lone(0, number));
        cluster.run_without(|cluster, e| says(cluster, e, Kind::Checkpoint));
    }
    cluster.down.insert(ReplicaId(0));
    requests.push((0, 9));
    cluster.submit_to_all(&cluster.keys.lone(0, 9));
    let mut held = Vec::new();
    while cluster.up().iter().any(|id| cluster.pillar(id.0, 0).view() == View(0)) {
        assert!(cluster.pass_deadline());
        // Statuses would have the checkpoints told again.
        cluster.wire.retain(|e| e.frame[0] != PeerFrame::STATUS);
        cluster.up().into_iter().for_each(|id| cluster.seal(id));
        held.extend(cluster.wire.extract_if(.., |e| e.frame[0] == PeerFrame::VIEW_CHANGE));
        cluster.run_without(|_, e| e.frame[0] == PeerFrame::STATUS);
    }
    assert_eq!(cluster.replicas[1].executor.stable.0, 0);
    cluster.reconnect();
    cluster.run_without(|_, e| e.frame[0] >= PeerFrame::VIEW_CHANGE);
    assert_eq!(cluster.replicas[1].executor.stable.0, 8);
    cluster.wire.extend(held);
    cluster.settle();
    cluster.insist(&requests);
    cluster.assert_executed(&requests);
}

#[test]
fn a_view_begins_with_nothing_ordered_yet_and_nothing_asked_for() {
    let mut cluster = Cluster::new(config(4, 1));
    for at in 1..4 {
        cluster.step(ReplicaId(at), PillarId(0), Input::Slow);
    }
    cluster.settle();
    assert_view(&cluster, &[0, 1, 2, 3], 0, 1);
    assert!((0..4).all(|at| cluster.frontier(at, 0) == 0));
    cluster.submit_to_all(&cluster.keys.lone(0, 1));
    cluster.settle();
    cluster.assert_executed(&[(0, 1)]);
    assert_view(&cluster, &[0, 1, 2, 3], 0, 1);
}

/// One replica leads all pillars and is gone: they recover side by side, not one after another.
#[test]
fn all_pillars_change_their_views_at_once() {
    for (replicas, dead) in [(4, vec![0]), (7, vec![0, 1])] {
        let mut cluster = Cluster::new(Config { leaders: Leaders::Single, ..config(replicas, 4) });
        let before: Vec<_> = (0..4).map(|p| (0, numbers_of(&cluster.config, 0, p).next().unwrap())).collect();
        for (client, number) in &before {
            cluster.submit(0, cluster.keys.lone(*client, *number));
        }
        cluster.run();
        cluster.down = dead.iter().map(|id| ReplicaId(*id)).collect();
        let after: Vec<_> = (0..4).map(|p| (0, numbers_of(&cluster.config, 0, p).nth(1).unwrap())).collect();
        for (client, number) in &after {
            cluster.submit_to_all(&cluster.keys.lone(*client, *number));
        }
        let begin = cluster.now.instant;
        while !after.iter().all(|(client, number)| cluster.has_executed(ReplicaId(3), *client, *number)) {
            assert!(cluster.pass_deadline());
            cluster.run();
        }
        let views = u32::try_from(dead.len()).unwrap();
        assert!(cluster.now.instant.since(begin) <= 500 * MS * views + 100 * MS);
        cluster.settle();
        cluster.assert_executed(&after);
    }
}

/// Who left alone does without a view, follows what is decided, and is there when others leave too.
#[test]
fn one_who_left_alone_is_there_when_it_is_needed() {
    let mut cluster = Cluster::new(Config { batch_max: 1, ..config(4, 1) });
    cluster.isolated.insert(ReplicaId(3));
    cluster.submit(3, cluster.keys.lone(5, 1));
    cluster.settle_for(2000 * MS);
    cluster.isolated.clear();
    assert_eq!(cluster.pillar(3, 0).view(), View(1));
    let mut requests = Vec::new();
    for number in 1..=50 {
        requests.push((0, number));
        cluster.submit(0, cluster.keys.lone(0, number));
        cluster.settle_for(10 * MS);
    }
    cluster.settle_for(1000 * MS);
    assert_eq!(cluster.frontier(3, 0), 50, "it follows");
    assert_view(&cluster, &[0, 1, 2], 0, 0);
    cluster.down.insert(ReplicaId(0));
    requests.push((0, 51));
    cluster.submit_to_all(&cluster.keys.lone(0, 51));
    cluster.settle();
    cluster.insist(&requests);
    cluster.assert_executed(&requests);
    assert_view(&cluster, &[1, 2, 3], 0, 1);
}

/// Every first frame of a type is lost at everybody: what matters is said again.
#[test]
fn each_type_of_declaration_may_be_lost_at_first() {
    for kind in [PeerFrame::VIEW_CHANGE, PeerFrame::NEW_VIEW] {
        let mut cluster = Cluster::new(config(4, 1));
        cluster.down.insert(ReplicaId(0));
        cluster.submit_to_all(&cluster.keys.lone(0, 1));
        let lost = std::cell::Cell::new(0);
        for _ in 0..4 {
            cluster.run_without(|_, e| {
                let lose = e.frame[0] == kind && lost.get() < 6;
                lost.set(lost.get() + u32::from(lose));
                lose
            });
            cluster.pass_deadline();
        }
        assert!(lost.get() >= 2, "{kind}");
        cluster.settle();
        cluster.assert_executed(&[(0, 1)]);
    }
}

/// A primary that begins its view at one other replica only: the rest goes on to the next.
#[test]
fn a_new_view_that_reaches_only_one() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.isolated.insert(ReplicaId(0));
    cluster.submit_to_all(&cluster.keys.lone(0, 1));
    for _ in 0..4 {
        cluster.run_without(|_, e| e.from == ReplicaId(1) && e.to != ReplicaId(2) && e.frame[0] >= 5);
        cluster.pass_deadline();
    }
    cluster.isolated.clear();
    cluster.down.insert(ReplicaId(1));
    cluster.reconnect();
    cluster.settle_for(5000 * MS);
    cluster.insist(&[(0, 1)]);
    cluster.assert_executed(&[(0, 1)]);
}
