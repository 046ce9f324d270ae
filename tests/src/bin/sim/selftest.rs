//! Each seeded bug is switched on, and seeds are run until one shows it.

use std::time::{Duration, Instant};

use hypostyle_probe::Bug;
use hypostyle_tests::sim;

/// Whether every bug, or the one that is named, is found in time.
pub(crate) fn run(limit: Duration, only: Option<Bug>) -> bool {
    let bugs = only.map_or(Bug::ALL.to_vec(), |bug| vec![bug]);
    let found = bugs.iter().filter(|bug| find(**bug, limit)).count();
    println!("{found} of {} seeded bugs found", bugs.len());
    found == bugs.len()
}

fn find(bug: Bug, limit: Duration) -> bool {
    let begin = Instant::now();
    hypostyle_probe::switch(Some(bug));
    let mut seeds = 0..;
    let found = std::iter::from_fn(|| (begin.elapsed() < limit).then(|| seeds.next()).flatten())
        .find_map(|seed| sim::run(seed, false).violation.map(|violation| (seed, violation)));
    hypostyle_probe::switch(None);
    let seconds = begin.elapsed().as_secs_f64();
    match &found {
        Some((seed, violation)) => {
            println!("{:32} found in {seconds:5.1} s by seed {seed}: {}", bug.name(), violation.invariant);
        }
        None => println!("{:32} NOT FOUND in {seconds:5.1} s", bug.name()),
    }
    found.is_some()
}
