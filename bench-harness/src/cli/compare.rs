use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{OutputArgs, duration};
use crate::peers::{Auth, System};

const COMPARE_EXAMPLE: &str = "Examples:
  hypostyle-bench compare --peer bft-smart=/opt/bft-smart --peer themis=/opt/themis --setting D --repeat 5
  hypostyle-bench compare results/before results/after --fail-if slower=3% --fail-if cpu=5%";

/// Flags of `compare`.
#[derive(Clone, Debug, Args)]
#[command(after_help = COMPARE_EXAMPLE)]
pub struct CompareArgs {
    /// Two directories with a points.csv each: what `run` left of two versions of our own, the older first.
    #[arg(value_name = "RESULTS", num_args = 2, conflicts_with = "peer")]
    pub results: Vec<PathBuf>,
    /// A system and the directory that you installed it in: bft-smart=DIR, reptor=DIR, themis=DIR. It is measured
    /// beside ours, interleaved.
    #[arg(long, value_name = "NAME=DIR")]
    pub peer: Vec<PeerArg>,
    /// The program that runs Java.
    #[arg(long, default_value = "java", value_name = "PATH")]
    pub java: PathBuf,
    /// What authenticates messages: R, RSA-2048 everywhere; T, RSA-2048 between replicas and MACs for clients; D, the
    /// fastest that each system has.
    #[arg(long, value_enum, ignore_case = true, default_value_t = Auth::D)]
    pub setting: Auth,
    /// Clients.
    #[arg(long, default_value_t = 8)]
    pub clients: u32,
    /// Operations each client keeps in flight.
    #[arg(long, default_value_t = 100)]
    pub outstanding: u32,
    /// Bytes of an operation.
    #[arg(long, default_value_t = 100, value_name = "BYTES")]
    pub payload: usize,
    /// Operations a batch at most.
    #[arg(long, default_value_t = 100)]
    pub batch_max: u32,
    /// Pillars, ours and Reptor's.
    #[arg(long, default_value_t = 1)]
    pub pillars: u16,
    /// Load before the window. Java needs some seconds to compile what it runs.
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub warmup: Duration,
    /// The window that is measured; a peer's ends with the first of its own reports behind it.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub duration: Duration,
    /// Measurements of each system.
    #[arg(long, default_value_t = 3)]
    pub repeat: u32,
    /// How long a peer's replicas, and then its clients, may take to be up.
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub start_timeout: Duration,
    /// How long a peer may bring no operation through.
    #[arg(long, default_value = "15s", value_parser = duration)]
    pub stall_timeout: Duration,
    /// Fail (exit code 1) when the second of two results is worse by so much beyond doubt: slower=3% (throughput) or
    /// cpu=5% (scaled CPU time of the replicas for each operation).
    #[arg(long, value_name = "WHAT=PERCENT", requires = "results")]
    pub fail_if: Vec<FailIf>,
    /// What to print and where to leave files.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A system and where it is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerArg {
    /// The system.
    pub system: System,
    /// The directory of the install.
    pub directory: PathBuf,
}

/// What must not become worse, and by how much.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FailIf {
    /// The figure.
    pub gate: Gate,
    /// The share, 0.03 for 3 %.
    pub by: f64,
}

/// A figure that can be guarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Throughput.
    Slower,
    /// Scaled CPU time of the replicas for each operation.
    Cpu,
}

impl FromStr for PeerArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, directory) =
            text.split_once('=').ok_or("expected NAME=DIR, such as themis=/opt/themis")?;
        let system = System::from_str(name, true).map_err(|_| {
            format!("{name} is no system that can be driven: use bft-smart, reptor or themis")
        })?;
        if directory.is_empty() {
            return Err(format!("{name}= names no directory"));
        }
        Ok(Self { system, directory: directory.into() })
    }
}

impl FromStr for FailIf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected slower=3% or cpu=5%".to_owned();
        let (what, by) = text.split_once('=').ok_or_else(wrong)?;
        let gate = match what {
            "slower" => Gate::Slower,
            "cpu" => Gate::Cpu,
            _ => return Err(wrong()),
        };
        let percent = by.strip_suffix('%').and_then(|number| number.parse::<f64>().ok()).ok_or_else(wrong)?;
        if !(0.0..100.0).contains(&percent) {
            return Err(format!("{by}: expected from 0% to below 100%"));
        }
        Ok(Self { gate, by: percent / 100.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser as _;

    fn compare(arguments: &str) -> Result<CompareArgs, clap::Error> {
        let words = ["hypostyle-bench", "compare"].into_iter().chain(arguments.split_whitespace());
        match Cli::try_parse_from(words)?.command {
            Command::Compare(compare) => Ok(*compare),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn peers_and_results_are_read() {
        let peers = compare("--peer bft-smart=/a --peer themis=b=c --setting t").expect("parses");
        assert_eq!(peers.peer[1], PeerArg { system: System::Themis, directory: "b=c".into() });
        assert_eq!((peers.peer[0].system, peers.setting), (System::BftSmart, Auth::T));
        let results = compare("a b --fail-if slower=3% --fail-if cpu=0.5%").expect("parses");
        assert_eq!(results.results.len(), 2);
        assert_eq!(results.fail_if[1], FailIf { gate: Gate::Cpu, by: 0.005 });
    }

    #[test]
    fn nonsense_is_refused() {
        for flags in [
            "a",
            "a b c",
            "a b --peer themis=x",
            "--peer themis",
            "--peer themis=",
            "--peer raft=x",
            "--fail-if slower=3%",
            "a b --fail-if slower=3",
            "a b --fail-if slower=NaN%",
            "a b --fail-if faster=3%",
        ] {
            assert!(compare(flags).is_err(), "{flags}");
        }
    }
}
