//! SIGKILL under load.

use std::time::{Duration, Instant};

use hypostyle::crypto::Suite;

use crate::cluster::Shape;
use crate::load::Load;
use crate::machine::Spent;

/// Kills these, one after the other, and looks for the longest gap in what is acknowledged from then on.
#[track_caller]
fn outage(shape: &Shape, victims: &[usize], limit: Duration) {
    let mut cluster = shape.start();
    let load = Load::start(&cluster, 16);
    load.run_for(Duration::from_secs(1));
    let killed = Instant::now();
    victims.iter().for_each(|victim| cluster.kill(*victim));
    let spent = Spent::now(&cluster);
    load.run_for(Duration::from_secs(4));
    let ended = Instant::now();
    let views = cluster.views();
    let seen = load.finish();
    let (gap, before, after) = (
        seen.longest_gap(killed, ended),
        seen.rate(killed - Duration::from_secs(1), killed),
        seen.rate(ended - Duration::from_secs(1), ended),
    );
    eprintln!(
        "killed {victims:?} of {}: gap {} ms, {before:.0} operations/s before, {after:.0} after, {} sent again, views {views:?}",
        shape.replicas,
        gap.as_millis(),
        seen.resent
    );
    let limit = spent.limit(&cluster, limit);
    assert!(gap <= limit, "{gap:?}\n{}", cluster.describe());
    cluster.check(&seen.acknowledged);
}

fn one_of_four(victim: usize) {
    outage(&Shape::new(4, 4), &[victim], Duration::from_millis(1500));
}

#[test]
fn replica_0_of_four_is_killed_under_load() {
    one_of_four(0);
}

#[test]
fn replica_1_of_four_is_killed_under_load() {
    one_of_four(1);
}

#[test]
fn replica_2_of_four_is_killed_under_load() {
    one_of_four(2);
}

#[test]
fn replica_3_of_four_is_killed_under_load() {
    one_of_four(3);
}

/// No other pillar shows that its slots are missing: only the clients do.
#[test]
fn the_only_primary_is_killed_under_load() {
    outage(&Shape::new(4, 1), &[0], Duration::from_millis(1500));
}

/// Whoever takes over in the first one's pillars is dead too.
#[test]
fn two_primaries_in_a_row_of_seven_are_killed_under_load() {
    outage(&Shape::new(7, 4), &[1, 2], Duration::from_secs(3));
}

#[test]
fn three_primaries_in_a_row_of_ten_are_killed_under_load() {
    let shape = Shape { suite: Suite::Ed25519, ..Shape::new(10, 2) };
    outage(&shape, &[1, 2, 3], Duration::from_secs(5));
}
