//! One fault after another, and one replica that fails again and again.

use std::time::{Duration, Instant};

use hypostyle_tests::poll;
use rustix::process::Signal;

use crate::cluster::Shape;
use crate::load::Load;
use crate::machine::Spent;
use crate::{PATIENCE, VIEW_TIMEOUT};

/// The second primary dies as soon as it has taken over, or is about to.
#[test]
fn the_successor_of_a_killed_primary_is_killed_as_its_view_begins() {
    let mut cluster = Shape::new(7, 4).start();
    let load = Load::start(&cluster, 16);
    let killed = Instant::now();
    cluster.kill(1);
    let begun = poll::eventually(PATIENCE, || (cluster.views()[1] >= 1).then_some(()));
    assert!(begun.is_some(), "pillar 1 stays in its view\n{}", cluster.describe());
    cluster.kill(2);
    let spent = Spent::now(&cluster);
    load.run_for(Duration::from_secs(4));
    let (ended, views) = (Instant::now(), cluster.views());
    let seen = load.finish();
    let gap = seen.longest_gap(killed, ended);
    eprintln!("cascade: gap {gap:?}, views {views:?}");
    let limit = spent.limit(&cluster, Duration::from_secs(3));
    assert!(gap <= limit, "{gap:?}");
    cluster.check(&seen.acknowledged);
}

/// Each is away for longer than the others wait for it, and back before the next one goes.
#[test]
fn every_replica_is_paused_in_turn() {
    let mut cluster = Shape::new(4, 4).start();
    let load = Load::start(&cluster, 16);
    for victim in [2, 0, 3, 1] {
        cluster.signal(victim, Signal::STOP);
        load.run_for(2 * VIEW_TIMEOUT);
        cluster.signal(victim, Signal::CONT);
        let back = poll::eventually(PATIENCE, || cluster.is_at_the_head(victim).then_some(()));
        assert!(back.is_some(), "replica {victim} is not back\n{}", cluster.describe());
        load.wait_for(100);
    }
    let seen = load.finish();
    eprintln!("cascade of pauses: views {:?}", cluster.views());
    cluster.check(&seen.acknowledged);
}

/// It is started again whenever it has ended or has been up for a while, and then killed.
#[test]
fn a_replica_in_a_crash_loop_costs_the_others_little() {
    const CRASHES: usize = 5;
    const LIVES: Duration = Duration::from_secs(1);
    let mut cluster = Shape::new(4, 4).start();
    let load = Load::start(&cluster, 16);
    let begun = Instant::now();
    load.run_for(Duration::from_secs(3));
    let looping = Instant::now();
    for _ in 0..CRASHES {
        cluster.kill(3);
        cluster.start(3);
        load.run_for(LIVES);
    }
    cluster.kill(3);
    let ended = Instant::now();
    let seen = load.finish();
    let (before, meanwhile) = (seen.rate(begun, looping), seen.rate(looping, ended));
    eprintln!("loop: {before:.0} operations/s before, {meanwhile:.0} meanwhile, views {:?}", cluster.views());
    assert!(meanwhile >= before / 2.0, "{before:.0} operations/s before, {meanwhile:.0} meanwhile");
    cluster.check(&seen.acknowledged);
}
