//! Where nothing fails, no view changes, however loaded the cluster is.

use std::time::{Duration, Instant};

use crate::cluster::Shape;
use crate::load::Load;
use crate::machine::Spent;

/// How long each of these loads lasts, in seconds; a few unless this says otherwise.
const SECONDS: &str = "HYPOSTYLE_TEST_SECONDS";

fn duration() -> Duration {
    let seconds = std::env::var(SECONDS).map_or(5, |text| text.parse().expect(SECONDS));
    Duration::from_secs(seconds)
}

#[track_caller]
fn saturated(shape: &Shape) {
    let mut cluster = shape.start();
    let spent = Spent::now(&cluster);
    let load = Load::start(&cluster, 100);
    let begun = Instant::now();
    load.run_for(duration());
    let (ended, starved) = (Instant::now(), spent.starved(&cluster));
    let seen = load.finish();
    let views = cluster.views();
    eprintln!(
        "P = {}, L = {}: {:.0} operations/s, longest gap {:?}, {} sent again, views {views:?}",
        shape.settings.pillars,
        shape.settings.window,
        seen.rate(begun, ended),
        seen.longest_gap(begun, ended),
        seen.resent
    );
    let quiet = views.iter().all(|view| *view == 0);
    assert!(quiet || starved, "{views:?}\n{}", cluster.describe());
    cluster.check(&seen.acknowledged);
}

fn with_small_windows(pillars: u16) -> Shape {
    let mut shape = Shape::new(4, pillars);
    (shape.settings.checkpoint_interval, shape.settings.window) = (4, 8);
    shape
}

#[test]
fn no_view_changes_with_one_pillar_at_saturation() {
    saturated(&Shape::new(4, 1));
}

#[test]
fn no_view_changes_with_three_pillars_at_saturation() {
    saturated(&Shape::new(4, 3));
}

#[test]
fn no_view_changes_with_eight_pillars_at_saturation() {
    saturated(&Shape::new(4, 8));
}

#[test]
fn no_view_changes_with_small_windows_and_one_pillar_at_saturation() {
    saturated(&with_small_windows(1));
}

#[test]
fn no_view_changes_with_small_windows_and_three_pillars_at_saturation() {
    saturated(&with_small_windows(3));
}

#[test]
fn no_view_changes_with_small_windows_and_eight_pillars_at_saturation() {
    saturated(&with_small_windows(8));
}
