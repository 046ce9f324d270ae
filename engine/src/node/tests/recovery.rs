//! Replicas that are killed and come back without any memory.

use std::time::Duration;

use hypostyle_app_api::{ClientId, Number, PillarId, ReplicaId, Round};

use super::super::RecoveryNews;
use super::harness::{Frame, Stepped};
use crate::recovery::Phase;
use crate::service::KeyValue;

const STEP: Duration = Duration::from_millis(250);

/// n = 4, K = 4, L = 16.
fn four(pillars: u16) -> Stepped<KeyValue> {
    let configure = |config: &mut crate::config::ClusterConfig| {
        config.pillars = pillars;
        config.checkpoint_interval = 4;
        config.window = 16;
    };
    Stepped::new(4, configure, KeyValue::default)
}

/// Client 0's requests to pillar 0.
struct Load {
    numbers: Box<dyn Iterator<Item = u64>>,
    executed: u64,
}

impl Load {
    fn new(cluster: &Stepped<KeyValue>) -> Self {
        let config = cluster.config.pillar_config(ReplicaId(0), PillarId(0));
        let numbers = (1..).filter(move |number| config.orders(ClientId(0), Number(*number)));
        Self { numbers: Box::new(numbers), executed: 0 }
    }

    fn submit(&mut self, cluster: &mut Stepped<KeyValue>, count: usize) {
        for number in self.numbers.by_ref().take(count) {
            let request = cluster.request(0, number, 0, &format!("set k{number} {number}"));
            cluster.submit(0, 0, &request);
            self.executed += 1;
        }
    }
}

/// These replicas stand at one place with one state.
#[track_caller]
fn assert_agreement(cluster: &mut Stepped<KeyValue>, replicas: &[u16]) {
    let states: Vec<_> = replicas.iter().map(|id| cluster.executed(ReplicaId(*id))).collect();
    assert!(states.windows(2).all(|pair| (pair[0].1, pair[0].2) == (pair[1].1, pair[1].2)), "{states:?}");
}

fn lossless(_: &Frame) -> bool {
    false
}

fn without(replica: u16) -> impl Fn(&Frame) -> bool {
    move |frame| frame.from == ReplicaId(replica) || frame.to == ReplicaId(replica)
}

/// Goes on until a replica votes again.
#[track_caller]
fn until_it_votes(cluster: &mut Stepped<KeyValue>, replica: u16) {
    for _ in 0..40 {
        if cluster.recovery(replica).is_none() {
            return;
        }
        cluster.pass(STEP, lossless);
    }
    panic!("it still waits: {:?}", cluster.news(replica));
}

#[test]
fn in_an_idle_cluster_it_votes_again_and_is_needed() {
    for pillars in [1, 2] {
        let mut cluster = four(pillars);
        let mut load = Load::new(&cluster);
        load.submit(&mut cluster, 3);
        cluster.run();
        cluster.restart(3, 1, KeyValue::default());
        assert_eq!(cluster.recovery(3), Some((Phase::Asking, 1)));
        until_it_votes(&mut cluster, 3);
        let round = Round(20);
        assert_eq!(
            cluster.news(3),
            [RecoveryNews::Until { incarnation: 1, round }, RecoveryNews::Recovered { incarnation: 1 }]
        );
        assert_agreement(&mut cluster, &[0, 1, 2, 3]);

        load.submit(&mut cluster, 30);
        cluster.run_without(without(2));
        cluster.pass(STEP, without(2));
        assert_agreement(&mut cluster, &[0, 1, 3]);
        assert_eq!(cluster.executed(ReplicaId(0)).0, load.executed);
    }
}

#[test]
fn until_then_it_says_nothing_and_under_load_it_follows() {
    let mut cluster = four(1);
    let mut load = Load::new(&cluster);
    load.submit(&mut cluster, 10);
    cluster.run();
    cluster.restart(3, 1, KeyValue::default());
    while cluster.recovery(3).is_some() {
        assert_eq!(cluster.statements(ReplicaId(3)), 0);
        load.submit(&mut cluster, 1);
        cluster.run();
        cluster.pass(Duration::from_millis(20), lossless);
        assert!(load.executed < 200, "it still waits: {:?}", cluster.recovery(3));
    }
    load.submit(&mut cluster, 5);
    cluster.run();
    assert_agreement(&mut cluster, &[0, 1, 2, 3]);
    assert!(cluster.statements(ReplicaId(3)) > 0);
}

#[test]
fn each_start_is_an_incarnation_and_old_recovers_change_nothing() {
    let mut cluster = four(2);
    let mut load = Load::new(&cluster);
    load.submit(&mut cluster, 2);
    cluster.run();
    let mut old: Vec<Frame> = Vec::new();
    for start in 1..=3 {
        cluster.restart(3, start, KeyValue::default());
        old.extend(cluster.run_without(Frame::is_recover));
        until_it_votes(&mut cluster, 3);
        assert_eq!(cluster.news(3).last(), Some(&RecoveryNews::Recovered { incarnation: start.into() }));
        for frame in &old {
            assert!(cluster.deliver(frame).is_continue(), "no reason to cut anybody off");
        }
        cluster.pass(2 * STEP, lossless);
    }
    assert_eq!(cluster.counter(ReplicaId(0), "recoveries"), 3);
    assert_agreement(&mut cluster, &[0, 1, 2, 3]);
}

/// It crashes again before its Recover takes effect; that one is ordered all the same, and the next start takes the
/// incarnation after it.
#[test]
fn a_start_that_ends_early_leaves_its_incarnation_to_nobody() {
    let mut cluster = four(1);
    let mut load = Load::new(&cluster);
    load.submit(&mut cluster, 2);
    cluster.run();
    cluster.restart(3, 1, KeyValue::default());
    let held = cluster.run_without(|frame| frame.is_recover());
    cluster.restart(3, 2, KeyValue::default());
    assert!(cluster.deliver(&held[0]).is_continue());
    cluster.run();
    until_it_votes(&mut cluster, 3);
    assert_eq!(cluster.news(3).last(), Some(&RecoveryNews::Recovered { incarnation: 2 }));
}

#[test]
fn with_more_than_f_recovering_the_cluster_stops_and_says_so() {
    let mut cluster = four(1);
    let mut load = Load::new(&cluster);
    load.submit(&mut cluster, 2);
    cluster.run();
    cluster.restart(2, 1, KeyValue::default());
    cluster.restart(3, 2, KeyValue::default());
    load.submit(&mut cluster, 1);
    for _ in 0..44 {
        cluster.pass(STEP, lossless);
    }
    for replica in [2, 3] {
        let phase = Phase::Asking;
        assert_eq!(cluster.news(replica), [RecoveryNews::Waiting { seconds: 10, phase, recovering: 2 }]);
        assert_eq!(cluster.statements(ReplicaId(replica)), 0);
    }
    assert_eq!(cluster.executed(ReplicaId(0)).0, 2);
}
