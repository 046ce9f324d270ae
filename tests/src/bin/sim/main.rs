//! `cargo sim`: runs seeds of the simulator, shows one, measures its speed.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod report;
mod selftest;

use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::{Parser, Subcommand};
use hypostyle_probe::Bug;
use hypostyle_tests::sim::{self, Batch, Options, Outcome, Random, Report};

use report::{Cpu, print_failure, print_json, print_text};

#[derive(Parser)]
#[command(name = "cargo sim", about = "The deterministic simulator of Hypostyle")]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Runs many seeds, each with options of its own.
    Run {
        /// How many.
        #[arg(long, default_value_t = 1000)]
        seeds: u64,
        /// The first.
        #[arg(long, default_value_t = 0)]
        start: u64,
        /// Ends with one JSON object.
        #[arg(long)]
        json: bool,
        /// Threads; by default one a core.
        #[arg(long)]
        jobs: Option<usize>,
        /// Fails when a mark was never hit.
        #[arg(long)]
        all_marks: bool,
        /// Failures after which no further seed is begun.
        #[arg(long, default_value_t = 10)]
        failures: usize,
    },
    /// Runs one seed.
    Seed {
        /// Which.
        seed: u64,
        /// Shows every event.
        #[arg(long)]
        trace: bool,
        /// With this seeded bug.
        #[arg(long)]
        bug: Option<String>,
    },
    /// Switches on one seeded bug after the other and shows how soon each is found.
    Selftest {
        /// Seconds for each.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// This one alone.
        #[arg(long)]
        bug: Option<String>,
    },
    /// Measures seeds a second of n = 4, P = 4 and 200 operations on one core, all checks on.
    Bench {
        /// How many seeds.
        #[arg(long, default_value_t = 200)]
        seeds: u64,
    },
}

fn main() -> ExitCode {
    sim::keep_panics();
    let passed = match Arguments::parse().action {
        Action::Run { seeds, start, json, jobs, all_marks, failures } => {
            let jobs = jobs.unwrap_or_else(cores);
            run(Batch { start, seeds, jobs, failures }, json, all_marks)
        }
        Action::Seed { seed, trace, bug } => {
            hypostyle_probe::switch(Bug::ALL.into_iter().find(|known| bug.as_deref() == Some(known.name())));
            one(seed, trace)
        }
        Action::Selftest { seconds, bug } => selftest::run(Duration::from_secs(seconds), bug.as_deref()),
        Action::Bench { seeds } => bench(seeds),
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn misses_nothing(report: &Report) -> bool {
    let unhit = report.unhit_marks();
    if !unhit.is_empty() {
        eprintln!("no seed hit these marks: {}", unhit.join(", "));
    }
    unhit.is_empty()
}

fn run(batch: Batch, json: bool, all_marks: bool) -> bool {
    let cpu = Cpu::now();
    let report = batch.run(|seed| sim::run(seed, false));
    let cpu = cpu.since();
    let commit = commit();
    report.failed.iter().for_each(|outcome| print_failure(outcome, &commit));
    if json {
        print_json(&report, cpu);
    } else {
        print_text(&report, cpu);
    }
    report.failed.is_empty() && (misses_nothing(&report) || !all_marks)
}

fn one(seed: u64, trace: bool) -> bool {
    let outcome = sim::run(seed, trace);
    let Outcome { steps, slots, trace, time, .. } = &outcome;
    println!("seed {seed}: {steps} steps, {slots} slots, {} ms, trace {trace:016x}", time / sim::MILLISECOND);
    if outcome.violation.is_some() {
        print_failure(&outcome, &commit());
    }
    outcome.violation.is_none()
}

fn bench(seeds: u64) -> bool {
    let cpu = Cpu::now();
    let batch = Batch { start: 0, seeds, jobs: 1, failures: 1 };
    let report = batch.run(|seed| sim::run_with(seed, Options::bench(), Random::new(seed), false));
    let cpu = cpu.since();
    report.failed.iter().for_each(|outcome| print_failure(outcome, &commit()));
    print_text(&report, cpu);
    report.failed.is_empty()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]).output();
    let text = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    text.map_or_else(|| "unknown".to_owned(), |text| String::from_utf8_lossy(&text).trim().to_owned())
}
