//! Twins in small: some of the scenarios hold every invariant, and they would find something. `cargo sim twins` runs all.

use hypostyle_probe::Bug;
use hypostyle_tests::sim::{Batch, Scenario, run_scenario};

/// Every so-manieth scenario is run: a prime, so that all partitions and twins come up.
const STRIDE: usize = 3001;

#[test]
fn some_scenarios_hold_every_invariant() {
    let scenarios: Vec<_> = Scenario::all().into_iter().enumerate().step_by(STRIDE).collect();
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let batch = Batch { start: 0, seeds: scenarios.len() as u64, jobs, failures: 3 };
    let report = batch.run(|index| {
        let (number, scenario) = &scenarios[usize::try_from(index).expect("few")];
        run_scenario(*number as u64, scenario, false)
    });
    for outcome in &report.failed {
        let violation = outcome.violation.as_ref().expect("a failed run violates something");
        println!("cargo sim twins --from {} --count 1 --trace: {violation}", outcome.seed);
    }
    assert!(report.failed.is_empty());
    assert_eq!(report.seeds, scenarios.len() as u64);
    assert!(report.slots > 10 * report.seeds, "the runs do something: {} slots", report.slots);
}

#[test]
fn a_scenario_gives_the_same_run_twice() {
    let scenarios = Scenario::all();
    let run = |number: usize| run_scenario(number as u64, &scenarios[number], false);
    let (first, second) = (run(70_000), run(70_000));
    assert_eq!((first.trace, first.steps, first.time), (second.trace, second.steps, second.time));
    assert!(first.steps > 100 && first.trace != run(70_001).trace);
}

/// What counts, names or forgets votes wrongly: two copies of one voter show it.
#[test]
fn bugs_about_votes_are_found() {
    let scenarios = Scenario::all();
    let bugs = [
        Bug::VoteCountedTwice,
        Bug::PrimaryCountsAsPreparer,
        Bug::CommitQuorumShort,
        Bug::CommitUnprepared,
        Bug::CommitsOtherDigest,
        Bug::PreparedNotCarried,
        Bug::NewViewForgetsPrepared,
        Bug::DecidesWhatItHolds,
    ];
    for bug in bugs {
        hypostyle_probe::switch(Some(bug));
        let numbers = (0..scenarios.len()).step_by(STRIDE);
        let found = numbers
            .take(20)
            .any(|number| run_scenario(number as u64, &scenarios[number], false).violation.is_some());
        hypostyle_probe::switch(None);
        assert!(found, "{}", bug.name());
    }
}

/// What is refused while one may not ask again is asked for later (41,120): a laggard stayed behind for ever.
#[test]
fn scenarios_that_found_a_bug_hold_every_invariant() {
    let scenarios = Scenario::all();
    let outcome = run_scenario(41_120, &scenarios[41_120], false);
    assert!(outcome.violation.is_none(), "{}: {:?}", scenarios[41_120], outcome.violation);
}

/// A twin that leads may begin its view twice, with other VIEW-CHANGEs, and each is valid: the checker has to allow for it.
#[test]
fn twins_begin_one_view_in_two_ways() {
    let scenarios = Scenario::all();
    for number in [70_258, 140_298] {
        let outcome = run_scenario(number as u64, &scenarios[number], false);
        assert!(outcome.violation.is_none(), "{}: {:?}", scenarios[number], outcome.violation);
    }
}
