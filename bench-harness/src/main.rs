//! `hypostyle-bench`: measures Hypostyle. See `hypostyle-bench --help`.
#![allow(clippy::print_stdout, reason = "a program's results belong there")]

use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};
use hypostyle_bench::allocation::CountingAllocator;
use hypostyle_bench::bench::{self, Places, Report};
use hypostyle_bench::cli::{Cli, Command, OutputArgs, RunArgs, ScalingArgs};
use hypostyle_bench::error::exit_code;
use hypostyle_bench::progress::Progress;
use hypostyle_bench::table::table;
use hypostyle_bench::{children, demo, profile, replica, scaling};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match dispatch(cli.command, &matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hypostyle-bench: {error:#}");
            ExitCode::from(exit_code(&error))
        }
    }
}

fn dispatch(command: Command, matches: &ArgMatches) -> anyhow::Result<()> {
    match command {
        Command::Replica(arguments) => replica::run(&arguments),
        Command::Run(mut flags) => {
            let given = matches.subcommand_matches("run").expect("it is run's");
            profile::take_over(&mut flags, given).inspect_err(|error| print_failure(&flags.output, error))?;
            measure(&flags, |_| Ok(()))
        }
        Command::Demo(arguments) => {
            let flags = demo::flags(&arguments);
            say(&flags.output, &format!("Demo: the same as {}\n", demo::command()));
            measure(&flags, demo::check)
        }
        Command::PillarScaling(flags) => scale(&flags),
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
