//! Many seeds on several threads.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::marks::MARKS;
use super::run::Outcome;

/// Seeds to run.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// The first.
    pub start: u64,
    /// How many.
    pub seeds: u64,
    /// On how many threads.
    pub jobs: usize,
    /// Failures after which no further seed is begun.
    pub failures: usize,
}

/// What came of a batch.
#[derive(Debug, Default)]
pub struct Report {
    /// Seeds that were run.
    pub seeds: u64,
    /// Events of all runs.
    pub steps: u64,
    /// Slots of all runs.
    pub slots: u64,
    /// Runs that violate an invariant, by seed.
    pub failed: Vec<Outcome>,
    /// What a replica has held at most, of a million parts of what it promises, and in which run.
    pub memory: (u64, u64),
    /// How often each coverage mark was hit.
    pub marks: BTreeMap<&'static str, u64>,
}

impl Batch {
    /// Runs each seed; the outcome depends on the seeds alone, whatever thread runs them.
    ///
    /// # Panics
    /// When a thread can't be started.
    pub fn run(&self, run: impl Fn(u64) -> Outcome + Sync) -> Report {
        let next = AtomicU64::new(0);
        let report = Mutex::new(Report::default());
        let work = || {
            drop(hypostyle_probe::take_marks());
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let failed = report.lock().expect("no run panics").failed.len();
                if index >= self.seeds || failed >= self.failures {
                    return;
                }
                let outcome = run(self.start + index);
                report.lock().expect("no run panics").add(outcome, hypostyle_probe::take_marks());
            }
        };
        thread::scope(|scope| {
            (1..self.jobs).for_each(|_| drop(scope.spawn(work)));
            work();
        });
        let mut report = report.into_inner().expect("no run panics");
        report.failed.sort_by_key(|outcome| outcome.seed);
        report
    }
}

impl Report {
    /// Marks that no run came by.
    #[must_use]
    pub fn unhit_marks(&self) -> Vec<&'static str> {
        MARKS.iter().copied().filter(|name| !self.marks.contains_key(name)).collect()
    }

    fn add(&mut self, outcome: Outcome, marks: BTreeMap<&'static str, u64>) {
        self.seeds += 1;
        self.steps += outcome.steps;
        self.slots += outcome.slots;
        self.memory = self.memory.max((outcome.memory.0 * 1_000_000 / outcome.memory.1.max(1), outcome.seed));
        for (name, hits) in marks {
            *self.marks.entry(name).or_default() += hits;
        }
        if outcome.violation.is_some() {
            self.failed.push(outcome);
        }
    }
}
