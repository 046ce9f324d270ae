//! `cargo sim`: runs seeds of the simulator, shows one, measures its speed.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod report;
mod selftest;

use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::{Parser, Subcommand};
use hypostyle_probe::Bug;
use hypostyle_tests::memory::Attributing;
use hypostyle_tests::sim::{self, Batch, Options, Outcome, Random, Report, Scenario};

use report::{Begun, print, print_failure};

#[global_allocator]
static ALLOCATOR: Attributing = Attributing;

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
        #[arg(long, value_parser = known_bug)]
        bug: Option<Bug>,
    },
    /// Runs the scenarios of Twins: n = 4, two pillars, a replica that is two, three rounds of any partition.
    Twins {
        /// The first.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// How many; by default all.
        #[arg(long)]
        count: Option<u64>,
        /// Ends with one JSON object.
        #[arg(long)]
        json: bool,
        /// Threads; by default one a core.
        #[arg(long)]
        jobs: Option<usize>,
        /// Shows every event.
        #[arg(long)]
        trace: bool,
        /// With this seeded bug.
        #[arg(long, value_parser = known_bug)]
        bug: Option<Bug>,
        /// Failures after which no further scenario is begun.
        #[arg(long, default_value_t = 10)]
        failures: usize,
    },
    /// Switches on one seeded bug after the other and shows how soon each is found.
    Selftest {
        /// Seconds for each.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// This one alone.
        #[arg(long, value_parser = known_bug)]
        bug: Option<Bug>,
    },
    /// Runs seeds here and with this program of another build profile: each must give the same trace.
    SameAs {
        /// The other build.
        program: std::path::PathBuf,
        /// How many seeds.
        #[arg(long, default_value_t = 8)]
        seeds: u64,
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
            hypostyle_probe::switch(bug);
            one(seed, trace)
        }
        Action::Twins { from, count, json, jobs, trace, bug, failures } => {
            // A bug is switched on in this thread.
            let jobs = if trace || bug.is_some() { 1 } else { jobs.unwrap_or_else(cores) };
            hypostyle_probe::switch(bug);
            let batch = Batch { start: from, seeds: count.unwrap_or(u64::MAX), jobs, failures };
            twins(batch, json, trace)
        }
        Action::Selftest { seconds, bug } => selftest::run(Duration::from_secs(seconds), bug),
        Action::SameAs { program, seeds } => (0..seeds).all(|seed| is_same(&program, seed)),
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
    let begun = Begun::now();
    let report = batch.run(|seed| sim::run(seed, false));
    let spent = begun.spent();
    report.failed.iter().for_each(print_seed);
    print(&report, SEEDS, &spent, json);
    report.failed.is_empty() && (misses_nothing(&report) || !all_marks)
}

fn in_a_line(outcome: &Outcome) -> String {
    let Outcome { seed, steps, slots, trace, time, .. } = outcome;
    format!("seed {seed}: {steps} steps, {slots} slots, {} ms, trace {trace:016x}", time / sim::MILLISECOND)
}

/// Whether another build runs a seed as this one does.
fn is_same(program: &std::path::Path, seed: u64) -> bool {
    let own = in_a_line(&sim::run(seed, false));
    let other = match Command::new(program).args(["seed", &seed.to_string()]).output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => error.to_string(),
    };
    let same = other.lines().next() == Some(&own);
    println!("{own}: {}", if same { "the same" } else { "NOT the same" });
    if !same {
        println!("{}: {other}", program.display());
    }
    same
}

fn one(seed: u64, trace: bool) -> bool {
    let outcome = sim::run(seed, trace);
    println!("{}", in_a_line(&outcome));
    if let (held @ 1.., bound) = outcome.memory {
        println!("a replica has held {held} bytes of {bound} at most");
    }
    if outcome.violation.is_some() {
        print_seed(&outcome);
    }
    outcome.violation.is_none()
}

fn bench(seeds: u64) -> bool {
    let begun = Begun::now();
    let batch = Batch { start: 0, seeds, jobs: 1, failures: 1 };
    let report = batch.run(|seed| sim::run_with(seed, Options::bench(), Random::new(seed), false));
    let spent = begun.spent();
    report.failed.iter().for_each(print_seed);
    print(&report, SEEDS, &spent, false);
    report.failed.is_empty()
}

fn twins(batch: Batch, json: bool, trace: bool) -> bool {
    let scenarios = Scenario::all();
    let scenario = |number: u64| &scenarios[usize::try_from(number).expect("one of them")];
    let left = (scenarios.len() as u64).saturating_sub(batch.start);
    let batch = Batch { seeds: batch.seeds.min(left), ..batch };
    let begun = Begun::now();
    let report = batch.run(|number| sim::run_scenario(number, scenario(number), trace));
    let spent = begun.spent();
    for outcome in &report.failed {
        let number = outcome.seed;
        println!("{}", scenario(number));
        print_failure(outcome, "scenario", &format!("cargo sim twins --from {number} --count 1 --trace"));
    }
    print(&report, "scenarios", &spent, json);
    report.failed.is_empty() && report.seeds > 0
}

fn print_seed(outcome: &Outcome) {
    print_failure(outcome, "seed", &format!("cargo sim seed {} --trace", outcome.seed));
}

/// What a report of seeds counts.
const SEEDS: &str = "seeds";

fn known_bug(name: &str) -> Result<Bug, String> {
    let names = || Bug::ALL.map(Bug::name).join("\n  ");
    let known = Bug::ALL.into_iter().find(|bug| bug.name() == name);
    known.ok_or_else(|| format!("there is no such bug; there are\n  {}", names()))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_that_nobody_knows_is_an_error_that_names_those_there_are() {
        for action in [&["seed", "1"][..], &["twins"], &["selftest"]] {
            let parse =
                |bug| Arguments::try_parse_from([&["sim"], action, &["--bug", bug]].concat()).map(|_| ());
            assert!(parse(Bug::NobodyBlamed.name()).is_ok());
            let error = parse("nobody-blame").expect_err("there is none");
            assert_eq!(error.exit_code(), 2);
            let text = error.to_string();
            assert!(text.contains("nobody-blame'") && Bug::ALL.iter().all(|bug| text.contains(bug.name())));
        }
    }
}
