use std::ffi::OsString;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use super::RunArgs;

const EXAMPLES: &str = "Examples:
  hypostyle-bench sweep --quick
  hypostyle-bench sweep --auth ed25519 --client-auth mac --pillars 1,2 --batch-max 100,400 --clients 24 \\
    --outstanding 1,10,100 --repeat 3 --latency-limit p99=10ms --out sweep-d

The same command with the same --out goes on where an interrupted one stopped.";

/// Flags of `sweep`: those of `run`, where lists are what is swept.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SweepArgs {
    /// Some minutes with one and two pillars, Ed25519 and tags; the flags given beside it win.
    #[arg(long)]
    pub quick: bool,
    /// Tell the most throughput below a latency, such as p99=10ms (p50, p90, p99, p999).
    #[arg(long, value_name = "PERCENTILE=LATENCY")]
    pub latency_limit: Option<LatencyLimit>,
    /// What is measured.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What `--quick` stands for.
const QUICK: &[(&str, &str)] = &[
    ("--auth", "ed25519"),
    ("--client-auth", "mac"),
    ("--pillars", "1,2"),
    ("--clients", "24"),
    ("--outstanding", "1,4,16,50,100"),
    ("--warmup", "500ms"),
    ("--duration", "1s"),
    ("--repeat", "3"),
    ("--out", "target/bench/sweep-quick"),
    ("--latency-limit", "p99=10ms"),
];

/// `arguments` of this program with what `--quick` stands for, where the flag itself isn't given.
#[must_use]
pub fn with_quick(arguments: Vec<OsString>) -> Vec<OsString> {
    let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    if words.get(1).is_none_or(|verb| verb != "sweep") || !words.iter().any(|word| word == "--quick") {
        return arguments;
    }
    let given = |flag: &str| words.iter().any(|word| word.split('=').next() == Some(flag));
    // An open loop has no operations outstanding.
    let missing = |flag: &str| !(given(flag) || flag == "--outstanding" && given("--rate"));
    let preset = QUICK.iter().filter(|(flag, _)| missing(flag));
    arguments
        .into_iter()
        .chain(preset.flat_map(|(flag, value)| [OsString::from(flag), value.into()]))
        .collect()
}

/// A latency that a percentile of the operations is to stay below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencyLimit {
    /// Which.
    pub percentile: Percentile,
    /// The latency.
    pub limit: Duration,
}

/// A percentile of latencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Percentile {
    /// Half of the operations.
    P50,
    /// 90 of 100.
    P90,
    /// 99 of 100.
    P99,
    /// 999 of 1,000.
    P999,
}

impl FromStr for LatencyLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected p50, p90, p99 or p999 with a latency, such as p99=10ms".to_owned();
        let (percentile, limit) = text.split_once('=').ok_or_else(wrong)?;
        let percentile = match percentile {
            "p50" => Percentile::P50,
            "p90" => Percentile::P90,
            "p99" => Percentile::P99,
            "p999" => Percentile::P999,
            _ => return Err(wrong()),
        };
        Ok(Self { percentile, limit: humantime::parse_duration(limit).map_err(|_| wrong())? })
    }
}

impl std::fmt::Display for LatencyLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let percentile = match self.percentile {
            Percentile::P50 => "p50",
            Percentile::P90 => "p90",
            Percentile::P99 => "p99",
            Percentile::P999 => "p999",
        };
        write!(f, "{percentile} of {}", humantime::format_duration(self.limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser as _;

    fn sweep(text: &str) -> SweepArgs {
        let words = ["hypostyle-bench", "sweep"].into_iter().chain(text.split_whitespace());
        match Cli::parse_from(with_quick(words.map(OsString::from).collect())).command {
            Command::Sweep(sweep) => *sweep,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn quick_is_a_preset_that_flags_override() {
        let preset = sweep("--quick");
        assert_eq!((preset.run.pillars, preset.run.clients), (vec![1, 2], 24));
        let own = sweep("--pillars=4 --quick --out elsewhere --rate 1000");
        assert_eq!((own.run.pillars, own.run.clients, own.run.rate), (vec![4], 24, vec![1000]));
        assert_eq!(own.run.output.out.expect("given").to_str(), Some("elsewhere"));
        assert_eq!(sweep("--clients 3").run.pillars, [1], "without it nothing is preset");
    }

    #[test]
    fn a_latency_limit_names_its_percentile() {
        let limit: LatencyLimit = "p99=10ms".parse().expect("as documented");
        assert_eq!((limit.percentile, limit.limit.as_millis()), (Percentile::P99, 10));
        assert_eq!(limit.to_string(), "p99 of 10ms");
        for text in ["p99", "p98=1ms", "p99=10", "=1ms"] {
            assert!(text.parse::<LatencyLimit>().is_err(), "{text}");
        }
    }
}
