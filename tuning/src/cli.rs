use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use hypostyle_bench::cli::{ReplicaArgs, RunArgs};

use crate::target::Target;

/// Finds the settings that suit this machine and a workload: measures candidates beside the default, writes a profile,
/// says which stage is the bottleneck. A setting that is given by its flag is kept; the others are searched.
#[derive(Debug, Parser)]
#[command(name = "hypostyle-tune", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What else it does.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Tuning.
    #[command(flatten)]
    pub tune: TuneArgs,
}

/// The verbs beside tuning.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Predicts throughput over cores and pillars from measured costs, and says how far it is off where both exist.
    Model(ModelArgs),
    /// A replica for measuring; started by this program itself.
    #[command(hide = true)]
    Replica(ReplicaArgs),
}

/// Flags of tuning.
#[derive(Clone, Debug, Args)]
pub struct TuneArgs {
    /// All the time it may take.
    #[arg(long, default_value = "2m", value_name = "TIME", value_parser = budget)]
    pub budget: Duration,
    /// What is looked for: "throughput", or the most of it under a limit of latency, such as "p99=10ms".
    #[arg(long, default_value = "throughput", value_name = "TARGET")]
    pub target: Target,
    /// Where to write the profile [default: profile.toml among the other files].
    #[arg(long, value_name = "FILE")]
    pub profile_out: Option<PathBuf>,
    /// The workload, and settings to keep: the flags of `hypostyle-bench run`.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Flags of `model`.
#[derive(Clone, Debug, Args)]
#[command(after_help = MODEL_EXAMPLE)]
pub struct ModelArgs {
    /// Cores that are predicted: of the machine of one replica, or of all of them, as in the results.
    #[arg(long, default_value = "1..64", value_name = "FIRST..LAST", value_parser = cores)]
    pub cores: (u32, u32),
    /// Results of `hypostyle-bench pillar-scaling`, or of `run` with several pillar counts; without it `pillar-scaling` is
    /// measured first.
    #[arg(long, value_name = "DIR")]
    pub from: Option<PathBuf>,
    /// Where to write model.csv and model.svg [default: target/bench/TIME, where `pillar-scaling` leaves its files].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print one JSON object as the last line; the table goes to standard error.
    #[arg(long)]
    pub json: bool,
}

const EXAMPLE: &str = "Examples:
  hypostyle-tune --auth ed25519 --client-auth mac --clients 24 --outstanding 100 --profile-out tuned.toml
  hypostyle-tune --budget 5m --target p99=50ms --presign --batch-max 100
  hypostyle-bench run --profile tuned.toml        # measures it again
  hypostyle init demo --profile tuned.toml        # a cluster with these settings

Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 run invalid, 130 interrupted (what was found is written)";

const MODEL_EXAMPLE: &str = "Examples:
  hypostyle-tune model
  hypostyle-tune model --cores 1..16 --from results/2026-11-21-f61fa28-scaling/d";

impl Cli {
    /// The command line: flags of `run` that mean nothing here aren't shown.
    #[must_use]
    pub fn described() -> clap::Command {
        let hidden = ["repeat", "profile"];
        let command = Self::command().after_help(EXAMPLE);
        hidden.into_iter().fold(command, |command, flag| command.mut_arg(flag, |arg| arg.hide(true)))
    }
}

fn budget(text: &str) -> Result<Duration, String> {
    let read = humantime::parse_duration(text).ok().filter(|budget| *budget >= BUDGET_MIN);
    read.ok_or_else(|| {
        format!("expected a time of at least {}s with its unit, such as 2m", BUDGET_MIN.as_secs())
    })
}

/// The default alone takes some seconds.
const BUDGET_MIN: Duration = Duration::from_secs(5);
/// More cores than this nobody has.
const CORES_MAX: u32 = 4096;

fn cores(text: &str) -> Result<(u32, u32), String> {
    let range = text.split_once("..").unwrap_or((text, text));
    let read = |text: &str| text.parse::<u32>().ok().filter(|cores| (1..=CORES_MAX).contains(cores));
    match (read(range.0), read(range.1)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => Err(format!("expected a range from 1 to {CORES_MAX}, such as 1..64")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::FromArgMatches as _;

    fn parse(arguments: &str) -> Result<Cli, clap::Error> {
        let words = ["hypostyle-tune"].into_iter().chain(arguments.split_whitespace());
        Cli::from_arg_matches(&Cli::described().try_get_matches_from(words)?)
    }

    #[test]
    fn the_command_is_consistent() {
        Cli::described().debug_assert();
    }

    #[test]
    fn tuning_is_what_it_does_without_a_verb() {
        let cli = parse("--budget 20s --auth ed25519 --client-auth mac --clients 4 --target p99=10ms")
            .expect("parses");
        assert!(cli.command.is_none());
        assert_eq!((cli.tune.budget, cli.tune.run.clients), (Duration::from_secs(20), 4));
    }

    #[test]
    fn the_model_has_a_range_of_cores() {
        let Some(Command::Model(model)) = parse("model --cores 2..8 --from results").expect("parses").command
        else {
            panic!("it is the model");
        };
        assert_eq!(model.cores, (2, 8));
        for wrong in ["0..4", "8..2", "1..5000", "x", "1.."] {
            assert!(parse(&format!("model --cores {wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for wrong in ["--budget 1s", "--budget 20", "--target fast", "--budget 20s model"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
