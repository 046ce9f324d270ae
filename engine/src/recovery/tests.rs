#![allow(clippy::unwrap_used)]

use hypostyle_app_api::Timestamp;
use proptest::prelude::*;

use super::*;

const MINE: Nonce = Nonce([1; 16]);
const OTHER: Nonce = Nonce([2; 16]);
const SECOND: Duration = Duration::from_secs(1);
const BEGIN: Instant = Instant(7_000_000_000);

fn begun() -> Recovery {
    Recovery::new(BEGIN, RecoverySettings { nonce: MINE, interval: 4, window: 16, ask_interval: SECOND })
}

fn record(incarnation: u64, round: u64, nonce: Nonce) -> Incarnation {
    Incarnation { incarnation, round: Round(round), nonce, timestamp: Timestamp(0) }
}

fn steps(recovery: &mut Recovery, now: Instant) -> Vec<Step> {
    std::iter::from_fn(|| recovery.next(now)).collect()
}

#[test]
fn it_asks_until_its_recover_is_executed_and_votes_a_window_later() {
    let mut recovery = begun();
    assert_eq!(steps(&mut recovery, BEGIN), [Step::Ask(1)]);
    assert_eq!(steps(&mut recovery, BEGIN), [], "once an interval");
    assert_eq!(recovery.next_deadline(), Some(BEGIN + SECOND));
    assert_eq!(steps(&mut recovery, BEGIN + SECOND), [Step::Ask(1)]);
    recovery.held(Round(4));
    recovery.recorded(BEGIN + SECOND, &record(1, 7, MINE));
    assert_eq!(recovery.phase(), Phase::Until(Round(24)));
    recovery.held(Round(20));
    assert_eq!(steps(&mut recovery, BEGIN + 3 * SECOND), []);
    recovery.held(Round(24));
    assert_eq!(steps(&mut recovery, BEGIN + 3 * SECOND), [Step::Vote]);
    assert_eq!((recovery.phase(), recovery.next_deadline()), (Phase::Recovered, None));
    assert_eq!(steps(&mut recovery, BEGIN + 900 * SECOND), []);
}

/// The records of earlier starts come up one after the other while it executes the order.
#[test]
fn it_names_an_incarnation_only_when_its_predecessor_is_taken() {
    let mut recovery = begun();
    steps(&mut recovery, BEGIN);
    recovery.recorded(BEGIN, &record(1, 3, OTHER));
    assert_eq!(steps(&mut recovery, BEGIN), [Step::Ask(2)], "at once");
    recovery.recorded(BEGIN, &record(5, 90, OTHER));
    assert_eq!(steps(&mut recovery, BEGIN), [Step::Ask(6)]);
    recovery.recorded(BEGIN, &record(3, 50, OTHER));
    assert_eq!(recovery.incarnation(), 6, "an older record is none");
    recovery.recorded(BEGIN, &record(6, 91, MINE));
    assert_eq!(recovery.phase(), Phase::Until(Round(108)));
}

#[test]
fn another_process_with_its_key_makes_it_ask_again_before_it_votes_and_not_after() {
    let mut recovery = begun();
    recovery.recorded(BEGIN, &record(1, 1, MINE));
    recovery.held(Round(16));
    recovery.recorded(BEGIN, &record(2, 2, OTHER));
    assert_eq!(steps(&mut recovery, BEGIN), [Step::Ask(3)]);
    recovery.recorded(BEGIN, &record(3, 3, MINE));
    recovery.held(Round(20));
    assert_eq!(steps(&mut recovery, BEGIN), [Step::Vote]);
    recovery.recorded(BEGIN, &record(4, 4, OTHER));
    assert_eq!((recovery.phase(), steps(&mut recovery, BEGIN)), (Phase::Recovered, vec![]));
}

#[test]
fn a_state_that_holds_its_record_and_the_checkpoint_ends_it_at_once() {
    let mut recovery = begun();
    recovery.held(Round(40));
    recovery.recorded(BEGIN, &record(1, 9, MINE));
    assert_eq!(steps(&mut recovery, BEGIN), [Step::Vote]);
}

#[test]
fn it_says_that_it_waits_less_and_less_often() {
    let mut recovery = begun();
    recovery.recorded(BEGIN, &record(1, 1, MINE));
    let mut said = Vec::new();
    for _ in 0..3 {
        let at = recovery.next_deadline().unwrap();
        said.extend(steps(&mut recovery, at).into_iter().map(|step| (at.since(BEGIN).as_secs(), step)));
    }
    let complaint = |seconds| (seconds, Step::Complain(Duration::from_secs(seconds)));
    assert_eq!(said, [complaint(10), complaint(20), complaint(40)]);
}

proptest! {
    /// Whatever it is told: it votes once, never before it holds a checkpoint a window above a record of its own, and
    /// never names an incarnation whose predecessor it hasn't seen.
    #[test]
    fn it_never_speaks_too_early(inputs in prop::collection::vec((0..3u8, 0..9u64, 0..60u64, any::<bool>()), 0..40)) {
        let mut recovery = begun();
        let (mut now, mut held, mut highest, mut mine, mut votes) = (BEGIN, 0, 0, None, 0);
        for (kind, incarnation, round, own) in inputs {
            match kind {
                0 => {
                    let nonce = if own { MINE } else { OTHER };
                    recovery.recorded(now, &record(incarnation, round, nonce));
                    highest = highest.max(incarnation);
                    if own {
                        mine = Some(mine.map_or(round, |least: u64| least.min(round)));
                    }
                }
                1 => {
                    recovery.held(Round(round));
                    held = held.max(round);
                }
                _ => now = now + SECOND,
            }
            for step in steps(&mut recovery, now) {
                match step {
                    Step::Ask(asked) => prop_assert!(asked <= highest + 1),
                    Step::Vote => {
                        votes += 1;
                        prop_assert!(mine.is_some_and(|executed| held >= executed + 16));
                    }
                    Step::Complain(_) => {}
                }
            }
        }
        prop_assert!(votes <= 1);
    }
}
