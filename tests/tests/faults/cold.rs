//! Replicas that start one after another, in any order: once 2f+1 are up, the cluster is live.

use std::time::{Duration, Instant};

use hypostyle::crypto::Suite;
use hypostyle_tests::poll;

use crate::cluster::{Cluster, Shape};
use crate::load::Load;
use crate::machine::Spent;
use crate::{PATIENCE, VIEW_TIMEOUT};

fn shape() -> Shape {
    Shape { suite: Suite::Ed25519, ..Shape::new(4, 4) }
}

/// Starts a replica and waits until it tells its status.
fn up(cluster: &mut Cluster, replica: usize) {
    cluster.start(replica);
    let told = poll::eventually(PATIENCE, || cluster.status_of(replica));
    assert!(told.is_some(), "replica {replica} doesn't start\n{}", cluster.describe());
}

/// Each is up before the next one starts; clients come when three are.
#[test]
fn three_of_four_are_live_whichever_is_last_and_the_last_catches_up() {
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1], [0, 2, 3, 1], [3, 1, 2, 0]] {
        let mut cluster = shape().make();
        order[..3].iter().for_each(|replica| up(&mut cluster, *replica));
        let (begun, spent) = (Instant::now(), Spent::now(&cluster));
        let load = Load::start(&cluster, 4);
        let live = begun.elapsed();
        up(&mut cluster, order[3]);
        let back = poll::eventually(PATIENCE, || cluster.is_at_the_head(order[3]).then_some(()));
        assert!(back.is_some(), "{order:?}: the last is not at the head\n{}", cluster.describe());
        let seen = load.finish();
        eprintln!("cold {order:?}: the first answers after {live:?}, views {:?}", cluster.views());
        let limit = spent.limit(&cluster, Duration::from_secs(5));
        assert!(live <= limit, "{order:?}: {live:?}");
        cluster.check(&seen.acknowledged);
    }
}

/// Two replicas have clients' requests for long enough to blame every primary; nothing can come of it before the third.
#[test]
fn clients_that_wait_for_a_quorum_are_served_once_it_is_up() {
    for order in [[2, 3, 0], [0, 1, 3]] {
        let mut cluster = shape().make();
        up(&mut cluster, order[0]);
        up(&mut cluster, order[1]);
        let load = Load::begin(&cluster, 4);
        load.run_for(6 * VIEW_TIMEOUT);
        assert_eq!(load.acknowledged(), 0, "two of four can't acknowledge anything");
        up(&mut cluster, order[2]);
        let (begun, spent) = (Instant::now(), Spent::now(&cluster));
        load.wait_for(100);
        let live = begun.elapsed();
        let seen = load.finish();
        eprintln!("cold {order:?} with clients: 100 answers after {live:?}, views {:?}", cluster.views());
        let limit = spent.limit(&cluster, Duration::from_secs(5));
        assert!(live <= limit, "{order:?}: {live:?}");
        cluster.check(&seen.acknowledged);
    }
}
