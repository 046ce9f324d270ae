//! The verbs, one a file. Each says on success what it did, and else what is wrong, where, and the remedy.

mod admin;
mod call;
mod init;
mod key;
mod local;
mod order_log;
mod replica;
mod status;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A pillar-parallel, Byzantine-fault-tolerant replication engine.
#[derive(Parser)]
#[command(name = "hypostyle", version, about, after_help = EXIT)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const EXIT: &str = "Exit status: 0 done, 1 failed, 2 wrong usage.";

#[derive(Subcommand)]
enum Verb {
    Init(init::Init),
    Local(local::Local),
    Replica(replica::Replica),
    #[command(subcommand)]
    Key(key::Key),
    Call(call::Call),
    Status(status::Status),
    OrderLog(order_log::OrderLog),
}

/// The arguments were wrong: exit status 2.
#[derive(Debug)]
struct Usage(anyhow::Error);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

impl std::error::Error for Usage {}

fn usage(error: impl Into<anyhow::Error>) -> anyhow::Error {
    Usage(error.into()).into()
}

pub(crate) fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Init(arguments) => arguments.run(),
        Verb::Local(arguments) => arguments.run(),
        Verb::Replica(arguments) => arguments.run(),
        Verb::Key(arguments) => arguments.run(),
        Verb::Call(arguments) => arguments.run(),
        Verb::Status(arguments) => arguments.run(),
        Verb::OrderLog(arguments) => arguments.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if closed(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

/// Whoever read our output has seen enough, as `head` has.
fn closed(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
