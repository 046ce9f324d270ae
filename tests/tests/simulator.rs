//! The simulator in small: some seeds hold every invariant, and a seed is a run.

use hypostyle_tests::sim::{self, Batch, Options, Random};

/// Seeds of one budget. `cargo sim run` runs more, faster.
const SEEDS: u64 = 20;

#[test]
fn some_seeds_hold_every_invariant() {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let batch = Batch { start: 0, seeds: SEEDS, jobs, failures: 3 };
    let report = batch.run(|seed| sim::run(seed, false));
    for outcome in &report.failed {
        let violation = outcome.violation.as_ref().expect("a failed run violates something");
        println!("cargo sim seed {} --trace: {violation}", outcome.seed);
    }
    assert!(report.failed.is_empty());
    assert_eq!(report.seeds, SEEDS);
    assert!(report.slots > 20 * SEEDS, "the runs do something: {} slots", report.slots);
}

#[test]
fn a_seed_gives_the_same_run_twice() {
    for seed in [1, 2, 3, 42] {
        let (first, second) = (sim::run(seed, false), sim::run(seed, false));
        assert_eq!((first.trace, first.steps, first.time), (second.trace, second.steps, second.time));
        assert!(first.steps > 100 && first.trace != sim::run(seed + 1000, false).trace);
    }
}

/// The same in debug and release: a number of each build would do, and this one is compared in both.
#[test]
fn options_follow_from_the_seed() {
    let draw = |seed| format!("{:?}", Options::draw(&mut Random::new(seed)));
    assert_eq!(draw(42), draw(42));
    assert_ne!(draw(42), draw(43));
}
