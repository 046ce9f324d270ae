//! `hypostyle-bench`: measures Hypostyle. See `hypostyle-bench --help`.
#![allow(clippy::print_stdout, reason = "a program's results belong there")]

use std::path::Path;
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};
use hypostyle_bench::allocation::CountingAllocator;
use hypostyle_bench::bench::{self, Before, Places, Report};
use hypostyle_bench::cli::{
    Cli, Command, CompareArgs, OutputArgs, ReportArgs, RunArgs, ScalingArgs, SweepArgs, with_quick,
};
use hypostyle_bench::error::exit_code;
use hypostyle_bench::progress::Progress;
use hypostyle_bench::table::table;
use hypostyle_bench::{children, compare, demo, profile, replica, report, scaling, sweep, worker};
use serde::Serialize;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() -> ExitCode {
    let matches = Cli::command().get_matches_from(with_quick(std::env::args_os().collect()));
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
        Command::Worker(arguments) => worker::run(&arguments),
        Command::Run(mut flags) => {
            take_profile(&mut flags, matches, "run")?;
            measure(&flags, |_| Ok(()))
        }
        Command::Sweep(mut flags) => {
            take_profile(&mut flags.run, matches, "sweep")?;
            sweep(&flags)
        }
        Command::Demo(arguments) => {
            let flags = demo::flags(&arguments);
            say(&flags.output, &format!("Demo: the same as {}\n", demo::command()));
            measure(&flags, demo::check)
        }
        Command::PillarScaling(flags) => scale(&flags),
        Command::Compare(flags) => compare(&flags),
        Command::Guard(arguments) => {
            children::become_guarded(arguments.parent, &arguments.program, &arguments.arguments)
        }
        Command::Report(flags) => write_report(&flags),
    }
}

fn take_profile(flags: &mut RunArgs, matches: &ArgMatches, verb: &str) -> anyhow::Result<()> {
    let given = matches.subcommand_matches(verb).expect("it is this verb's");
    profile::take_over(flags, given).inspect_err(|error| print_failure(&flags.output, error))
}

fn measure(flags: &RunArgs, check: impl FnOnce(&Report) -> anyhow::Result<()>) -> anyhow::Result<()> {
    children::clean_up_on_interrupt()?;
    let (mut report, mut ended) =
        bench::run(flags, Before::Replaced, &Places::of_this_program()?, &Progress::on_terminal())
            .inspect_err(|error| print_failure(&flags.output, error))?;
    if ended.is_none() {
        ended = check(&report).and_then(|()| check_marks(flags, &report)).err();
        report.error = ended.as_ref().map(|error| format!("{error:#}"));
    }
    if !report.points.is_empty() {
        say(&flags.output, &table(&report.points));
        leave_page(&flags.output, &report.files);
    }
    finish(&flags.output, &report.files, &report)?;
    ended.map_or(Ok(()), Err)
}

fn sweep(flags: &SweepArgs) -> anyhow::Result<()> {
    children::clean_up_on_interrupt()?;
    let output = &flags.run.output;
    let (mut report, mut ended) = sweep::run(flags, &Places::of_this_program()?, &Progress::on_terminal())
        .inspect_err(|error| print_failure(output, error))?;
    if ended.is_none() {
        ended = check_marks(&flags.run, &report.report).err();
        report.report.error = ended.as_ref().map(|error| format!("{error:#}"));
    }
    say(output, &sweep::table(&report, flags.latency_limit));
    if !report.report.points.is_empty() {
        leave_page(output, &report.report.files);
    }
    finish(output, &report.report.files, &report)?;
    ended.map_or(Ok(()), Err)
}

fn scale(flags: &ScalingArgs) -> anyhow::Result<()> {
    let report = scaling::run(flags, &Places::of_this_program()?, &Progress::on_terminal())
        .inspect_err(|error| print_failure(&flags.output, error))?;
    say(&flags.output, &scaling::table(&report, flags));
    leave_page(&flags.output, &report.files);
    finish(&flags.output, &report.files, &report)
}

fn compare(flags: &CompareArgs) -> anyhow::Result<()> {
    if let [a, b] = &flags.results[..] {
        let comparison =
            compare::compare_results(a, b).inspect_err(|error| print_failure(&flags.output, error))?;
        say(&flags.output, &compare::results_table(&comparison));
        print_object(&flags.output, &comparison)?;
        return comparison.judge(&flags.fail_if);
    }
    children::clean_up_on_interrupt()?;
    let (report, ended) = compare::peers(flags, &Places::of_this_program()?, &Progress::on_terminal())
        .inspect_err(|error| print_failure(&flags.output, error))?;
    say(&flags.output, &compare::table(&report));
    finish(&flags.output, &report.files, &report)?;
    ended.map_or(Ok(()), Err)
}

fn check_marks(flags: &RunArgs, report: &Report) -> anyhow::Result<()> {
    if flags.accept_marks { Ok(()) } else { report.check_marks() }
}

/// Figures and a page beside the tables; without them the tables are worth no less.
fn leave_page(output: &OutputArgs, files: &Path) {
    match report::write(files) {
        Ok(_) => say(output, &format!("page: {}", files.join("report.html").display())),
        Err(error) => eprintln!("no page: {error:#}"),
    }
}

/// Says where the files are, and prints the object of `--json`.
fn finish(output: &OutputArgs, files: &Path, report: &impl Serialize) -> anyhow::Result<()> {
    say(output, &format!("files: {}", files.display()));
    print_object(output, report)
}

fn print_object(output: &OutputArgs, object: &impl Serialize) -> anyhow::Result<()> {
    if output.json {
        println!("{}", serde_json::to_string(object)?);
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
