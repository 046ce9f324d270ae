//! All orders of delivery of small cases, and the seeded bugs that they find.
#![allow(clippy::print_stdout)]

use hypostyle_probe::{Bug, switch};
use hypostyle_tests::explore::{Byzantine, Ends, Scenario, Stops, explore};

const CORRECT: Scenario = Scenario {
    views: 0,
    stops: None,
    byzantine: None,
    seals_at_once: true,
    bodies_apart: true,
    ends: Ends::Decided,
    limit: usize::MAX,
};

/// Replicas give up on view 0 at any time; its primary, at the latest then, is gone.
const VIEW_CHANGE: Scenario = Scenario {
    views: 1,
    stops: Some(Stops::InView0(0)),
    bodies_apart: false,
    ends: Ends::DecideInTime,
    ..CORRECT
};

#[track_caller]
fn holds(scenario: &Scenario) {
    let begin = std::time::Instant::now();
    match explore(scenario) {
        Ok(explored) => println!("{explored:?} in {:?}", begin.elapsed()),
        Err(violation) => panic!("{violation}"),
    }
}

#[track_caller]
fn finds(bug: Bug, scenario: &Scenario) {
    let begin = std::time::Instant::now();
    switch(Some(bug));
    let found = explore(scenario);
    switch(None);
    let violation = found.expect_err("a seeded bug");
    println!("{violation}in {:?}", begin.elapsed());
}

fn equivocates() -> Byzantine {
    Byzantine { id: 0, proposes: vec![(0, 1), (0, 2)], votes: true, ..Byzantine::default() }
}

#[test]
fn one_slot() {
    holds(&CORRECT);
}

#[test]
fn one_slot_signed_at_any_time() {
    holds(&Scenario { seals_at_once: false, ..CORRECT });
}

#[test]
fn one_slot_while_a_replica_dies() {
    for id in [0, 3] {
        holds(&Scenario { stops: Some(Stops::Anywhere(id)), ..CORRECT });
    }
}

#[test]
fn one_slot_of_a_primary_that_equivocates() {
    holds(&Scenario { byzantine: Some(equivocates()), ends: Ends::Anyhow, ..CORRECT });
}

#[test]
fn one_view_change() {
    holds(&VIEW_CHANGE);
}

/// With a Byzantine backup the space is too large for a test: its first states, or more if `EXPLORE_STATES` says so.
fn begins_well(byzantine: Byzantine, first: usize) {
    let limit = std::env::var("EXPLORE_STATES").ok().and_then(|states| states.parse().ok());
    let byzantine = Some(Byzantine { id: 3, ..byzantine });
    let limit = limit.unwrap_or(first);
    holds(&Scenario { byzantine, stops: None, ends: Ends::Anyhow, limit, ..VIEW_CHANGE });
}

#[test]
fn a_backup_that_leaves_without_what_it_prepared() {
    begins_well(Byzantine { votes: true, leaves_for: vec![1], ..Byzantine::default() }, 600);
}

#[test]
fn a_backup_that_leaves_for_a_view_too_far() {
    begins_well(Byzantine { leaves_for: vec![2], ..Byzantine::default() }, 2_000);
}

#[test]
fn a_backup_that_votes_for_what_nobody_proposed() {
    begins_well(Byzantine { wrong_votes: true, ..Byzantine::default() }, 2_000);
}

#[test]
fn finds_a_vote_counted_twice() {
    finds(Bug::VoteCountedTwice, &CORRECT);
}

#[test]
fn finds_a_commit_certificate_that_is_short() {
    finds(Bug::CommitQuorumShort, &CORRECT);
}

#[test]
fn finds_a_primary_that_counts_as_preparer() {
    finds(Bug::PrimaryCountsAsPreparer, &CORRECT);
}

#[test]
fn finds_prepared_slots_that_are_not_carried() {
    let byzantine = Byzantine { id: 3, votes: true, leaves_for: vec![1], ..Byzantine::default() };
    let ends = Ends::Anyhow;
    finds(
        Bug::PreparedNotCarried,
        &Scenario { byzantine: Some(byzantine), stops: None, ends, ..VIEW_CHANGE },
    );
}

#[test]
fn finds_a_new_view_that_is_not_recomputed() {
    let byzantine = Byzantine {
        id: 1,
        votes: true,
        proposes: vec![(1, 2)],
        leaves_for: vec![1],
        begins: true,
        ..Byzantine::default()
    };
    let ends = Ends::Anyhow;
    finds(
        Bug::NewViewNotRecomputed,
        &Scenario { byzantine: Some(byzantine), stops: None, ends, ..VIEW_CHANGE },
    );
}
