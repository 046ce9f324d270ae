//! All orders of delivery of small cases.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use hypostyle_tests::explore::{Byzantine, Ends, Scenario, explore};

const CORRECT: Scenario = Scenario {
    views: 0,
    mortal: None,
    byzantine: None,
    seals_at_once: true,
    ends: Ends::Decided,
    limit: 1_000_000,
};

#[track_caller]
fn holds(scenario: &Scenario) {
    let begin = std::time::Instant::now();
    match explore(scenario) {
        Ok(explored) => println!("{explored:?} in {:?}", begin.elapsed()),
        Err(violation) => panic!("{violation}"),
    }
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
fn one_slot_whose_primary_dies_after_its_proposal() {
    holds(&Scenario { mortal: Some(0), ..CORRECT });
}

#[test]
fn one_slot_of_a_primary_that_equivocates() {
    let byzantine = Byzantine { id: 0, bodies: 2, votes: true, ..Byzantine::default() };
    holds(&Scenario { byzantine: Some(byzantine), ends: Ends::Anyhow, ..CORRECT });
}
