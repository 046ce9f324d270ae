use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

mod compare;
mod report;
mod run;
mod scaling;
mod sweep;

pub use compare::{CompareArgs, FailIf, Gate, PeerArg};
pub use report::ReportArgs;
pub use run::{Arrivals, Assign, Auto, ClientAuth, Executor, Leaders, Mix, Replies, RunArgs};
pub use scaling::ScalingArgs;
pub use sweep::{LatencyLimit, Percentile, SweepArgs, with_quick};

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
    /// Measures one setting, or some side by side.
    Run(Box<RunArgs>),
    /// Measures every combination of lists of settings and loads: curves, their knees, figures; goes on when interrupted.
    Sweep(Box<SweepArgs>),
    /// Shows in under a minute that it works and how fast: four replicas, one pillar beside two.
    Demo(DemoArgs),
    /// Measures one replica alone, between its sockets: two pillars on two cores against one on one.
    PillarScaling(ScalingArgs),
    /// Compares with other systems that you have installed, or two of our own results.
    Compare(Box<CompareArgs>),
    /// Generates load for `run --worker` on another machine, until it is killed.
    Worker(WorkerArgs),
    /// Makes figures, a page and a summary from results folders, or the index of all results.
    Report(ReportArgs),
    /// A replica for measuring; started by `run`, `demo` and `compare`.
    #[command(hide = true)]
    Replica(ReplicaArgs),
    /// Runs another program, which ends with the one that started this; used by `compare`.
    #[command(hide = true)]
    Guard(GuardArgs),
}

const EXIT_CODES: &str = "Exit codes: 0 ok, 1 failed check, 2 wrong usage, 3 run invalid (no figure is printed, or only marked ones)";

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

/// Flags of `worker`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  hypostyle-bench worker --listen 10.0.0.2:7400\n  \
    there: hypostyle-bench run --address 10.0.0.1 --worker 10.0.0.2:7400,10.0.0.3:7400\n\n\
    Who reaches this address can let it send requests to whom they like: use it in networks that you trust.")]
pub struct WorkerArgs {
    /// Where it waits for who wants a load.
    #[arg(long, default_value = "127.0.0.1:7400", value_name = "IP:PORT")]
    pub listen: SocketAddr,
    /// The process it must not outlive.
    #[arg(long, hide = true)]
    pub parent: Option<u32>,
}

/// Flags of the hidden `replica`.
#[derive(Clone, Debug, Args)]
pub struct ReplicaArgs {
    /// The replica's directory.
    pub home: PathBuf,
    /// Bytes of each result.
    #[arg(long)]
    pub reply_bytes: usize,
    /// Accounts of a ledger that it runs; 0: it runs another service.
    #[arg(long)]
    pub accounts: u32,
    /// Records of a store that it runs; 0: it runs the service that only counts.
    #[arg(long)]
    pub records: u64,
    /// Bytes of a record.
    #[arg(long)]
    pub record_bytes: usize,
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
