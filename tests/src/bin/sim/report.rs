//! What is printed.

use std::time::Duration;

use hypostyle_tests::sim::{Outcome, Report};
use serde_json::json;

/// Processor time that this process has used.
pub(crate) struct Cpu(Duration);

impl Cpu {
    pub(crate) fn now() -> Self {
        Self(used())
    }

    pub(crate) fn since(&self) -> Duration {
        used().saturating_sub(self.0)
    }
}

/// Of all threads, user and system.
fn used() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0))
}

pub(crate) fn print_failure(outcome: &Outcome, commit: &str) {
    let Some(violation) = &outcome.violation else { return };
    println!("seed {} violates {} at {} ms", outcome.seed, violation.invariant, outcome.time / 1_000_000);
    println!("  {}", violation.what);
    println!("  commit {commit}; again: cargo sim seed {} --trace", outcome.seed);
}

pub(crate) fn print_text(report: &Report, cpu: Duration) {
    let rate = report.seeds as f64 / cpu.as_secs_f64();
    println!(
        "{} seeds, {} steps, {} slots, {:.1} CPU-seconds, {rate:.1} seeds a CPU-second, {} violations",
        report.seeds,
        report.steps,
        report.slots,
        cpu.as_secs_f64(),
        report.failed.len()
    );
}

pub(crate) fn print_json(report: &Report, cpu: Duration) {
    let object = json!({
        "seeds": report.seeds,
        "steps": report.steps,
        "slots": report.slots,
        "cpu_seconds": cpu.as_secs_f64(),
        "seeds_per_cpu_second": report.seeds as f64 / cpu.as_secs_f64(),
        "violations": report.failed.len(),
        "marks": report.marks,
        "unhit_marks": report.unhit_marks(),
    });
    println!("{object}");
}
