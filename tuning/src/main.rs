//! `hypostyle-tune`: finds the settings that suit a machine and a workload. See `hypostyle-tune --help`.
#![allow(clippy::print_stdout, reason = "a program's results belong there")]

use std::process::ExitCode;
use std::time::Instant;

use clap::{ArgMatches, FromArgMatches as _};
use hypostyle_bench::allocation::CountingAllocator;
use hypostyle_bench::bench::Places;
use hypostyle_bench::error::exit_code;
use hypostyle_bench::progress::Progress;
use hypostyle_bench::{children, replica};
use hypostyle_tuning::cli::{Cli, Command, ModelArgs, TuneArgs};
use hypostyle_tuning::{predict, tune};
use serde::Serialize;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let began = Instant::now();
    let matches = Cli::described().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let (json, done) = match cli.command {
        None => (cli.tune.run.output.json, tune(&cli.tune, &matches, began)),
        Some(Command::Model(arguments)) => (arguments.json, model(&arguments)),
        Some(Command::Replica(arguments)) => (false, replica::run(&arguments).map(|()| ExitCode::SUCCESS)),
    };
    done.unwrap_or_else(|error| {
        if json {
            println!("{}", serde_json::json!({ "error": format!("{error:#}") }));
        }
        eprintln!("hypostyle-tune: {error:#}");
        ExitCode::from(exit_code(&error))
    })
}

fn tune(arguments: &TuneArgs, matches: &ArgMatches, began: Instant) -> anyhow::Result<ExitCode> {
    let places = Places::of_this_program()?;
    let (report, by_person) = tune::run(arguments, matches, &places, &Progress::on_terminal(), began)?;
    print(arguments.run.output.json, &report.text(), &report)?;
    Ok(if by_person { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}

fn model(arguments: &ModelArgs) -> anyhow::Result<ExitCode> {
    children::clean_up_on_interrupt()?;
    let predicted = predict::run(arguments, &Places::of_this_program()?, &Progress::on_terminal())?;
    let text = format!("{}\nfiles: {}", predicted.text, predicted.files.display());
    print(arguments.json, &text, &predicted)?;
    Ok(ExitCode::SUCCESS)
}

/// With `--json` the text goes to standard error, so that standard output is one object.
fn print(json: bool, text: &str, object: &impl Serialize) -> anyhow::Result<()> {
    if json {
        eprintln!("{text}");
        println!("{}", serde_json::to_string(object)?);
    } else {
        println!("{text}");
    }
    Ok(())
}
