use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

mod compare;
mod run;
mod scaling;

pub use compare::{CompareArgs, FailIf, Gate, PeerArg};
pub use run::{Assign, Auto, ClientAuth, Executor, Leaders, Replies, RunArgs};
pub use scaling::ScalingArgs;

/// Measures Hypostyle: starts local replica processes, loads them, checks what they did, prints figures.
#[derive(Debug, Parser)]
#[command(name = "hypostyle-bench", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measures one setting, or one for each pillar count of a list.
    Run(Box<RunArgs>),
    /// Shows in under a minute that it works and how fast: four replicas, one pillar beside two.
    Demo(DemoArgs),
    /// Measures one replica alone, between its sockets: two pillars on two cores against one on one.
    PillarScaling(ScalingArgs),
    /// Compares with other systems that you have installed, or two of our own results.
    Compare(Box<CompareArgs>),
    /// A replica for measuring; started by `run`, `demo` and `compare`.
    #[command(hide = true)]
    Replica(ReplicaArgs),
    /// Runs another program, which ends with the one that started this; used by `compare`.
    #[command(hide = true)]
    Guard(GuardArgs),
}

const EXIT_CODES: &str =
    "Exit codes: 0 ok, 1 failed check, 2 wrong usage, 3 run invalid (no figure is printed)";

/// Flags of `demo`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  cargo demo --json")]
pub struct DemoArgs {
    /// What to print and where to leave files.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Flags about results.
#[derive(Clone, Debug, Args)]
pub struct OutputArgs {
    /// Print one JSON object as the last line; the table goes to standard error.
    #[arg(long)]
    pub json: bool,
    /// Directory for the figures (.csv), latencies (.hlog) and manifest.json [default: target/bench/TIME].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Flags of the hidden `replica`.
#[derive(Clone, Debug, Args)]
pub struct ReplicaArgs {
    /// The replica's directory.
    pub home: PathBuf,
    /// Bytes of each result.
    #[arg(long)]
    pub reply_bytes: usize,
    /// The process it must not outlive.
    #[arg(long)]
    pub parent: u32,
}

/// Flags of the hidden `guard`.
#[derive(Clone, Debug, Args)]
pub struct GuardArgs {
    /// The process that it must not outlive.
    #[arg(long)]
    pub parent: u32,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<OsString>,
}

fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text).map_err(|_| "expected a number with its unit, such as 500ms or 5s".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
