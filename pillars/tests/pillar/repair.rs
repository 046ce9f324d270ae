//! Replicas that are away and come back, bodies that reach only some, checkpoints that get lost.

use hypostyle_app_api::{PillarId, ReplicaId};
use hypostyle_pillars::Config;
use hypostyle_pillars::message::{Kind, PeerFrame};

use crate::cluster::Cluster;
use crate::fixture::{MS, config};
use crate::forge::status;

/// A cluster in which replica 3 hears and says nothing while `slots` slots are ordered.
fn without_replica_3(slots: u64, config: Config) -> Cluster {
    let mut cluster = Cluster::new(Config { batch_max: 1, ..config });
    cluster.isolated.insert(ReplicaId(3));
    for number in 1..=slots {
        cluster.submit(0, cluster.keys.lone(0, number));
        cluster.run();
    }
    assert_eq!((cluster.frontier(0, 0), cluster.frontier(3, 0)), (slots, 0));
    cluster
}

#[test]
fn a_crashed_backup_delays_nobody() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.down.insert(ReplicaId(2));
    let requests: Vec<_> = (1..=30).map(|number| (0, number)).collect();
    for (client, number) in &requests {
        cluster.submit(0, cluster.keys.lone(*client, *number));
        cluster.run();
    }
    cluster.assert_executed(&requests);
}

#[test]
fn a_replica_that_was_cut_off_returns_within_the_window() {
    for slots in [1, 5, 16] {
        let mut cluster = without_replica_3(slots, config(4, 1));
        cluster.isolated.clear();
        cluster.reconnect();
        cluster.settle();
        let requests: Vec<_> = (1..=slots).map(|number| (0, number)).collect();
        cluster.assert_executed(&requests);
    }
}

#[test]
fn a_returning_replica_has_caught_up_before_half_a_view_timeout() {
    let mut cluster = without_replica_3(16, config(4, 1));
    cluster.isolated.clear();
    cluster.reconnect();
    cluster.run();
    for _ in 0..10 {
        cluster.pass(20 * MS);
        cluster.run();
    }
    assert_eq!(cluster.frontier(3, 0), 16);
}

#[test]
fn a_replica_returns_while_others_go_on() {
    let mut cluster = without_replica_3(10, config(4, 1));
    cluster.isolated.clear();
    cluster.reconnect();
    for number in 11..=60 {
        cluster.submit(0, cluster.keys.lone(0, number));
        cluster.run();
        cluster.pass(25 * MS);
    }
    cluster.settle();
    cluster.assert_executed(&(1..=60).map(|number| (0, number)).collect::<Vec<_>>());
}

#[test]
fn a_returning_replica_needs_no_event_of_a_connection() {
    let mut cluster = without_replica_3(3, config(4, 1));
    cluster.isolated.clear();
    cluster.settle();
    assert_eq!(cluster.frontier(3, 0), 3, "the quiet status tells it");
}

#[test]
fn two_cut_off_in_turn_are_both_served_by_the_others() {
    let mut cluster = Cluster::new(Config { batch_max: 1, ..config(4, 1) });
    for (away, numbers) in [(3, 1..=5), (2, 6..=10), (1, 11..=15)] {
        cluster.isolated = [ReplicaId(away)].into();
        for number in numbers {
            cluster.submit(0, cluster.keys.lone(0, number));
            cluster.run();
        }
        cluster.isolated.clear();
        cluster.reconnect();
        cluster.settle();
    }
    cluster.assert_executed(&(1..=15).map(|number| (0, number)).collect::<Vec<_>>());
}

#[test]
fn a_body_that_misses_one_backup_is_fetched_from_whoever_has_it() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.submit(0, cluster.keys.lone(0, 1));
    let is_body = |frame: &[u8]| frame[0] == PeerFrame::BODY;
    cluster.wire.retain(|e| !(is_body(&e.frame) && e.to == ReplicaId(3)));
    cluster.run();
    assert_eq!((cluster.frontier(1, 0), cluster.frontier(3, 0)), (1, 0));
    cluster.down.insert(ReplicaId(0));
    cluster.settle();
    assert_eq!(cluster.frontier(3, 0), 1, "without the primary");
}

#[test]
fn a_body_above_a_mebibyte_is_sent_again() {
    let large = Config { request_max: 2 << 20, batch_bytes: 4 << 20, ..config(4, 1) };
    let mut cluster = Cluster::new(large.clone());
    cluster.isolated.insert(ReplicaId(3));
    let operation = vec![7; 3 << 19];
    let bytes = cluster.keys.request(0, 1, 0, &[&operation]);
    let limits = large.frame_limits().request;
    cluster.submit(0, hypostyle_pillars::message::Request::decode(bytes, &limits).unwrap());
    cluster.run();
    cluster.isolated.clear();
    cluster.reconnect();
    cluster.settle();
    cluster.assert_executed(&[(0, 1)]);
}

#[test]
fn checkpoints_lost_at_the_high_watermark_are_told_again_and_again() {
    for requests in [16, 20] {
        let mut cluster = Cluster::new(Config { batch_max: 1, ..config(4, 1) });
        cluster.bundle = 1;
        for number in 1..=requests {
            cluster.submit(0, cluster.keys.lone(0, number));
        }
        for _ in 0..20 {
            cluster.run_without(|cluster, envelope| holds_checkpoint(&cluster.config, &envelope.frame));
            cluster.pass_deadline();
        }
        assert_eq!(cluster.frontier(0, 0), 16, "the high watermark");
        cluster.settle();
        cluster.assert_executed(&(1..=requests).map(|number| (0, number)).collect::<Vec<_>>());
        assert!(cluster.replicas.iter().all(|replica| replica.executor.stable.0 >= 16));
    }
}

#[test]
fn a_proposal_that_misses_a_backup_without_which_there_is_no_quorum() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.down.insert(ReplicaId(3));
    cluster.submit(0, cluster.keys.lone(0, 1));
    let is_bundle = |frame: &[u8]| frame[0] == PeerFrame::BUNDLE;
    cluster.seal(ReplicaId(0));
    cluster.wire.retain(|e| !(is_bundle(&e.frame) && e.to == ReplicaId(2)));
    cluster.run();
    assert_eq!(cluster.said(ReplicaId(2), Kind::Prepare), 0);
    cluster.settle();
    cluster.assert_executed(&[(0, 1)]);
}

#[test]
fn a_late_checkpoint_that_is_lost_is_told_again() {
    let mut cluster = Cluster::new(Config { batch_max: 1, ..config(4, 1) });
    cluster.replicas.iter_mut().for_each(|replica| replica.executor.asleep = true);
    for number in 1..=4 {
        cluster.submit(0, cluster.keys.lone(0, number));
        cluster.run();
    }
    cluster.settle();
    cluster.replicas.iter_mut().for_each(|replica| replica.executor.asleep = false);
    cluster.ids().for_each(|id| cluster.tick(id));
    cluster.run_without(|cluster, envelope| holds_checkpoint(&cluster.config, &envelope.frame));
    assert!(cluster.replicas.iter().all(|replica| replica.executor.stable.0 == 0));
    cluster.settle();
    assert!(cluster.replicas.iter().all(|replica| replica.executor.stable.0 == 4));
}

fn holds_checkpoint(config: &Config, frame: &bytes::Bytes) -> bool {
    use hypostyle_pillars::message::Message;
    match PeerFrame::decode(frame, &config.frame_limits()).unwrap() {
        PeerFrame::Message(Message::Bundle(b)) => b.statements().iter().any(|s| s.kind == Kind::Checkpoint),
        _ => false,
    }
}

#[test]
fn a_status_with_numbers_at_their_end_is_answered_or_ignored() {
    use hypostyle_app_api::{Round, Seq, View};
    use hypostyle_pillars::Input;
    use hypostyle_pillars::message::{Status, WantedBody};
    let mut cluster = without_replica_3(16, config(4, 1));
    for number in [0, 1, 17, u64::MAX - 1, u64::MAX] {
        for other in [0, u64::MAX] {
            let wanted = WantedBody { seq: Seq(number), digest: hypostyle_app_api::Digest::ZERO };
            let status = Status {
                view: View(number),
                stable: Round(other),
                frontier: Seq(number),
                accepted: Seq(other),
                wanted: vec![wanted; 64],
                wanted_changes: vec![wanted.digest; 64],
                active: number % 2 == 0,
            };
            cluster.step(ReplicaId(1), PillarId(0), Input::Status(ReplicaId(2), status));
            cluster.pass(30 * MS);
        }
    }
    cluster.settle();
}

#[test]
fn a_peer_that_asks_all_the_time_is_answered_fifty_times_a_second() {
    use hypostyle_pillars::Input;
    let mut cluster = without_replica_3(16, config(4, 1));
    let status = status(0);
    let sent = cluster.sent;
    cluster.step(ReplicaId(1), PillarId(0), Input::Status(ReplicaId(2), status.clone()));
    let answer = cluster.sent - sent;
    assert!(answer > 0);
    for _ in 0..1000 {
        cluster.step(ReplicaId(1), PillarId(0), Input::Status(ReplicaId(2), status.clone()));
    }
    assert_eq!(cluster.sent - sent, answer);
    cluster.pass(20 * MS);
    let sent = cluster.sent;
    cluster.step(ReplicaId(1), PillarId(0), Input::Status(ReplicaId(2), status));
    assert_eq!(cluster.sent - sent, answer);
}

/// Two links in a row that end at once: the answers over the first are lost, and nothing else reminds of them.
#[test]
fn a_link_that_comes_up_again_at_once_is_answered_again() {
    let mut cluster = Cluster::new(config(4, 1));
    cluster.isolated.insert(ReplicaId(3));
    cluster.submit(0, cluster.keys.lone(0, 1));
    cluster.settle();
    cluster.isolated.clear();
    cluster.reconnect();
    cluster.run_without(|_, envelope| envelope.to == ReplicaId(3) && envelope.frame[0] != PeerFrame::STATUS);
    assert_eq!(cluster.frontier(3, 0), 0);
    cluster.reconnect();
    cluster.settle();
    assert_eq!(cluster.frontier(3, 0), 1);
}

/// Found by processes: a replica that heard nobody for three seconds, and asked all the while, had ten times the traffic of
/// the others to work through afterwards, fell behind over it, and asked again.
#[test]
fn what_a_peer_was_sent_and_does_not_show_is_sent_less_and_less_often() {
    use hypostyle_app_api::Seq;
    use hypostyle_pillars::Input;
    use hypostyle_pillars::message::Status;
    let mut cluster = without_replica_3(16, config(4, 1));
    let asks = |cluster: &mut Cluster, frontier| {
        cluster.pass(20 * MS);
        let before = cluster.sent;
        let status = Status { frontier: Seq(frontier), accepted: Seq(frontier), ..status(0) };
        cluster.step(ReplicaId(1), PillarId(0), Input::Status(ReplicaId(2), status));
        cluster.sent - before
    };
    let whole = asks(&mut cluster, 0);
    let again = (0..500).filter(|_| asks(&mut cluster, 0) == whole).count();
    assert!((10..250).contains(&again), "{again} times in ten seconds");
    cluster.step(ReplicaId(1), PillarId(0), Input::Connected(ReplicaId(2)));
    assert_eq!(asks(&mut cluster, 0), whole, "what was under way is lost");
    assert!(asks(&mut cluster, 15) > 0, "it shows nearly all, and may have lost the rest");
}

/// A reviewer's find: a replica whose state was wrong went on resending what it had stated of it, over what it states now.
#[test]
fn a_replica_that_took_over_another_state_resends_no_checkpoint_of_the_former() {
    use hypostyle_app_api::{Digest, Round, Seq};
    use hypostyle_pillars::message::Statement;
    use hypostyle_pillars::{Input, Output, Pillar};
    let mut cluster = Cluster::new(config(4, 1));
    let me = ReplicaId(3);
    let mut pillar = Pillar::new(Config { me, ..config(4, 1) });
    let mut resent = |cluster: &mut Cluster, inputs: Vec<Input>| {
        cluster.now.instant = cluster.now.instant + 1000 * MS;
        let inputs = inputs.into_iter().chain([Input::Status(ReplicaId(1), status(0))]);
        let mut out = Vec::new();
        inputs.for_each(|input| pillar.step(cluster.now, input, &mut out));
        let bundles = out.into_iter().filter_map(|output| match output {
            Output::SendBundle(_, bundle) => Some(bundle.statements().to_vec()),
            _ => None,
        });
        bundles.flatten().map(|statement| (statement.seq, statement.digest)).collect::<Vec<_>>()
    };
    let stated = |cluster: &Cluster, digest| {
        let statement = Statement::checkpoint(Round(8), Digest([digest; 32]));
        Input::Sealed(std::sync::Arc::new(cluster.keys.bundle(me, PillarId(0), &[statement])))
    };
    let (wrong, right) = (stated(&cluster, 1), stated(&cluster, 2));
    assert_eq!(resent(&mut cluster, vec![wrong]), [(Seq(8), Digest([1; 32]))]);
    assert_eq!(resent(&mut cluster, vec![Input::Installed(Seq(4))]), []);
    assert_eq!(resent(&mut cluster, vec![right]), [(Seq(8), Digest([2; 32]))]);
}
