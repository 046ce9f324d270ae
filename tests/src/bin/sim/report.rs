//! What is printed.

use std::process::Command;
use std::time::{Duration, Instant};

use hypostyle_tests::sim::{Outcome, Report};
use serde_json::json;

/// When this process began something.
pub(crate) struct Begun {
    cpu: Duration,
    at: Instant,
}

/// What it took.
pub(crate) struct Spent {
    cpu: Duration,
    time: Duration,
}

impl Begun {
    pub(crate) fn now() -> Self {
        Self { cpu: used(), at: Instant::now() }
    }

    pub(crate) fn spent(&self) -> Spent {
        Spent { cpu: used().saturating_sub(self.cpu), time: self.at.elapsed() }
    }
}

/// Of all threads, user and system.
fn used() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0))
}

/// `again` repeats the run.
pub(crate) fn print_failure(outcome: &Outcome, noun: &str, again: &str) {
    let Some(violation) = &outcome.violation else { return };
    println!("{noun} {} violates {} at {} ms", outcome.seed, violation.invariant, outcome.time / 1_000_000);
    println!("  {}", violation.what);
    println!("  commit {}; again: {again}", commit());
}

/// In words, or as a JSON object.
pub(crate) fn print(report: &Report, noun: &str, spent: &Spent, json: bool) {
    if json { print_json(report, noun, spent) } else { print_text(report, noun, spent) }
}

fn print_text(report: &Report, noun: &str, spent: &Spent) {
    let (cpu, time) = (spent.cpu.as_secs_f64(), spent.time.as_secs_f64());
    let (rate, pace) = (report.seeds as f64 / cpu, report.seeds as f64 / time);
    println!(
        "{} {noun}, {} steps, {} slots, {:.1} CPU-seconds, {rate:.1} {noun} a CPU-second, {pace:.1} a second, {} violations",
        report.seeds,
        report.steps,
        report.slots,
        cpu,
        report.failed.len()
    );
}

fn print_json(report: &Report, noun: &str, spent: &Spent) {
    let object = json!({
        noun: report.seeds,
        "steps": report.steps,
        "slots": report.slots,
        "seconds": spent.time.as_secs_f64(),
        "cpu_seconds": spent.cpu.as_secs_f64(),
        format!("{noun}_per_cpu_second"): report.seeds as f64 / spent.cpu.as_secs_f64(),
        "violations": report.failed.len(),
        "memory_held_of_bound": report.memory.0 as f64 / 1e6,
        "memory_held_of_bound_in": report.memory.1,
        "marks": report.marks,
        "unhit_marks": report.unhit_marks(),
    });
    println!("{object}");
}

fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]).output();
    let text = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    text.map_or_else(|| "unknown".to_owned(), |text| String::from_utf8_lossy(&text).trim().to_owned())
}
