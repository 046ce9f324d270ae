//! `hypostyle-bench`: measures Hypostyle. See `hypostyle-bench --help`.
#![allow(clippy::print_stdout, reason = "a program's results belong there")]

use std::process::ExitCode;

use clap::Parser as _;
use hypostyle_bench::allocation::CountingAllocator;
use hypostyle_bench::bench::{self, Places, Report};
use hypostyle_bench::cli::{Cli, Command, OutputArgs, ReportArgs, RunArgs, ScalingArgs};
use hypostyle_bench::error::exit_code;
use hypostyle_bench::progress::Progress;
use hypostyle_bench::table::table;
use hypostyle_bench::{children, demo, replica, report, scaling};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hypostyle-bench: {error:#}");
            ExitCode::from(exit_code(&error))
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Replica(arguments) => replica::run(&arguments),
        Command::Run(flags) => measure(&flags, |_| Ok(())),
        Command::Demo(arguments) => {
            let flags = demo::flags(&arguments);
            say(&flags.output, &format!("Demo: the same as {}\n", demo::command()));
            measure(&flags, demo::check)
        }
        Command::PillarScaling(flags) => scale(&flags),
        Command::Report(flags) => write_report(&flags),
    }
}

fn measure(flags: &RunArgs, check: impl FnOnce(&Report) -> anyhow::Result<()>) -> anyhow::Result<()> {
    children::clean_up_on_interrupt()?;
    let (mut report, mut ended) =
        match bench::run(flags, &Places::of_this_program()?, &Progress::on_terminal()) {
            Ok(done) => done,
            Err(error) => {
                print_failure(&flags.output, &error);
                return Err(error);
            }
        };
    if ended.is_none() {
        ended = check(&report).err();
        report.error = ended.as_ref().map(|error| format!("{error:#}"));
    }
    if !report.points.is_empty() {
        say(&flags.output, &table(&report.points));
    }
    say(&flags.output, &format!("files: {}", report.files.display()));
    if flags.output.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    ended.map_or(Ok(()), Err)
}

fn scale(flags: &ScalingArgs) -> anyhow::Result<()> {
    let report = scaling::run(flags, &Places::of_this_program()?, &Progress::on_terminal())
        .inspect_err(|error| print_failure(&flags.output, error))?;
    say(&flags.output, &scaling::table(&report, flags));
    say(&flags.output, &format!("files: {}", report.files.display()));
    if flags.output.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    Ok(())
}

fn write_report(flags: &ReportArgs) -> anyhow::Result<()> {
    let written = report::run(flags).inspect_err(|error| {
        if flags.json {
            println!("{}", serde_json::json!({ "files": [], "error": format!("{error:#}") }));
        }
    })?;
    if flags.json {
        println!("{}", serde_json::to_string(&written)?);
    } else {
        written.files.iter().for_each(|file| println!("{}", file.display()));
    }
    Ok(())
}

/// For a person: beside `--json` on standard error, so that standard output is one object.
fn say(output: &OutputArgs, text: &str) {
    if output.json {
        eprintln!("{text}");
    } else {
        println!("{text}");
    }
}

/// `--json` always ends with an object.
fn print_failure(output: &OutputArgs, error: &anyhow::Error) {
    if output.json {
        println!("{}", serde_json::json!({ "points": [], "error": format!("{error:#}") }));
    }
}
