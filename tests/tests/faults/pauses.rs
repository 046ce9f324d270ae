//! SIGSTOP under load: a replica that was paused is neither missed for long nor lost.

use std::time::{Duration, Instant};

use hypostyle_tests::poll;
use rustix::process::Signal;

use crate::cluster::Shape;
use crate::load::Load;
use crate::machine::Spent;
use crate::{PATIENCE, VIEW_TIMEOUT};

/// A pillar changes its view when its primary is paused, and perhaps once more while that is catching up.
const VIEW_CHANGES_MAX: u64 = 2;

/// Pauses a replica for so long, and tells how soon it is back.
#[track_caller]
fn pause(victim: usize, pause: Duration) {
    let mut cluster = Shape::new(4, 4).start();
    let load = Load::start(&cluster, 16);
    load.run_for(Duration::from_secs(1));
    cluster.signal(victim, Signal::STOP);
    load.run_for(pause);
    let resumed = Instant::now();
    let spent = Spent::now(&cluster);
    cluster.signal(victim, Signal::CONT);
    let back = poll::eventually(PATIENCE, || cluster.is_at_the_head(victim).then(|| resumed.elapsed()));
    load.run_for(Duration::from_secs(2));
    let (ended, views) = (Instant::now(), cluster.views());
    let seen = load.finish();
    eprintln!(
        "paused {victim} for {pause:?}: back after {back:?}, longest gap meanwhile {:?}, then {:?}, views {views:?}",
        seen.longest_gap(resumed - pause, resumed),
        seen.longest_gap(resumed, ended),
    );
    let back = back.unwrap_or_else(|| panic!("replica {victim} is not back\n{}", cluster.describe()));
    let limit = spent.limit(&cluster, Duration::from_secs(5));
    assert!(back <= limit, "{back:?}");
    assert!(views.iter().all(|view| *view <= VIEW_CHANGES_MAX), "a storm of view changes: {views:?}");
    cluster.check(&seen.acknowledged);
}

#[test]
fn a_replica_paused_for_four_timeouts_is_back_at_the_head() {
    pause(1, 4 * VIEW_TIMEOUT);
}

#[test]
fn a_replica_paused_for_half_a_timeout_keeps_its_views() {
    pause(2, VIEW_TIMEOUT / 2);
}

/// A machine that sleeps, or a host that is moved: nobody did anything wrong.
#[test]
fn a_pause_of_all_replicas_is_nobodys_fault() {
    let mut cluster = Shape::new(4, 4).start();
    let load = Load::start(&cluster, 16);
    (0..4).for_each(|replica| cluster.signal(replica, Signal::STOP));
    load.run_for(4 * VIEW_TIMEOUT);
    (0..4).for_each(|replica| cluster.signal(replica, Signal::CONT));
    load.wait_for(500);
    let seen = load.finish();
    let views = cluster.views();
    eprintln!("paused all: views {views:?}");
    assert_eq!(views, [0; 4], "{}", cluster.describe());
    cluster.check(&seen.acknowledged);
}

/// More than f: nothing can be ordered meanwhile, and everything goes on afterwards.
#[test]
fn two_of_four_are_paused_and_the_cluster_waits_for_them() {
    let mut cluster = Shape::new(4, 4).start();
    let load = Load::start(&cluster, 16);
    [1, 2].iter().for_each(|replica| cluster.signal(*replica, Signal::STOP));
    load.run_for(VIEW_TIMEOUT);
    let before = load.acknowledged();
    load.run_for(4 * VIEW_TIMEOUT);
    assert_eq!(load.acknowledged(), before, "two of four acknowledge nothing");
    let (resumed, spent) = (Instant::now(), Spent::now(&cluster));
    [1, 2].iter().for_each(|replica| cluster.signal(*replica, Signal::CONT));
    load.wait_for(200);
    let live = resumed.elapsed();
    let limit = spent.limit(&cluster, Duration::from_secs(5));
    let seen = load.finish();
    eprintln!("paused two: 200 answers after {live:?}, views {:?}", cluster.views());
    assert!(live <= limit, "{live:?}\n{}", cluster.describe());
    cluster.check(&seen.acknowledged);
}
