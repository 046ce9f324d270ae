//! `cargo verify`: every check of the repository, in order, stopping at the first that fails.
//!
//! Standard library only, so that it is running a second after a fresh clone.
#![allow(clippy::print_stdout)]

mod arguments;
mod baseline;
mod callgrind;
mod closing;
mod instructions;
mod step;
mod tools;

use arguments::Order;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use step::Step;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments::parse(&arguments) {
        Ok(Order::Help) => {
            print!("{}", arguments::HELP);
            ExitCode::SUCCESS
        }
        Ok(Order::List) => list(),
        Ok(Order::Check(steps)) => check(&steps),
        Ok(Order::Instructions { bless }) => instructions::run(bless),
        Err(message) => {
            eprintln!("cargo verify: {message}\n\n{}", arguments::HELP);
            ExitCode::from(2)
        }
    }
}

fn list() -> ExitCode {
    for step in step::STEPS {
        println!("{:<10}{}", step.name(), step.about());
    }
    ExitCode::SUCCESS
}

/// A step that passed, for the table at the end.
struct Passed {
    step: Step,
    took: Duration,
    closing: Vec<String>,
}

fn check(steps: &[Step]) -> ExitCode {
    let started = Instant::now();
    let mut passed = Vec::new();
    for &step in steps {
        println!("\n==> {}: {}", step.name(), step.about());
        let step_started = Instant::now();
        let outcome = step.run();
        let took = step_started.elapsed();
        match outcome {
            Ok(closing) => passed.push(Passed { step, took, closing }),
            Err(failure) => {
                print_passed(&passed);
                println!("    {:<10}{:>7.1} s  FAILED", step.name(), took.as_secs_f64());
                print_closing(&failure.closing);
                println!("\ncargo verify: {}", failure.what);
                println!("this step alone: cargo verify {}", step.name());
                return ExitCode::FAILURE;
            }
        }
    }
    print_passed(&passed);
    println!("\ncargo verify: all passed in {:.1} s", started.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}

fn print_passed(passed: &[Passed]) {
    println!("\n==> summary");
    for Passed { step, took, closing } in passed {
        println!("    {:<10}{:>7.1} s", step.name(), took.as_secs_f64());
        print_closing(closing);
    }
}

fn print_closing(lines: &[String]) {
    for line in lines {
        println!("        {line}");
    }
}
