use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use hypostyle::crypto::Suite;
use serde::{Deserialize, Serialize};

use super::{OutputArgs, duration};
use crate::faults::Fault;

const RUN_EXAMPLE: &str = "Example:
  hypostyle-bench run --pillars 1,2,4 --auth rsa-2048 --batch-max 100 --clients 8 --outstanding 100 \\
    --presign --duration 5s --repeat 5 --json";

/// Flags of `run`.
#[derive(Clone, Debug, Args)]
#[command(after_help = RUN_EXAMPLE)]
pub struct RunArgs {
    /// Replicas: 3f+1. Here and below a list is measured side by side, each value with each of the others, interleaved
    /// over the repeats.
    #[arg(long, default_value = "4", value_delimiter = ',', value_name = "N[,N...]")]
    pub n: Vec<u16>,
    /// Pillars.
    #[arg(long, default_value = "1", value_delimiter = ',', value_name = "P[,P...]")]
    pub pillars: Vec<u16>,
    /// Signatures of replicas and clients: rsa-2048, rsa-3072, rsa-4096, ed25519, ecdsa-p256.
    #[arg(long, default_value = "rsa-2048", value_delimiter = ',', value_name = "SUITE[,SUITE...]")]
    pub auth: Vec<Suite>,
    /// How clients authenticate requests, and replicas replies: with signatures, or with MAC tags (settings T and D).
    #[arg(long, value_enum, default_value_t = ClientAuth::Signature)]
    pub client_auth: ClientAuth,
    /// How replies are signed: groups under one root, or each singly (as in the paper).
    #[arg(long, value_enum, default_value_t = Replies::Merkle)]
    pub replies: Replies,
    /// Statements under one signature at most; 1: each singly (as in the paper).
    #[arg(long, default_value = "64", value_delimiter = ',', value_name = "B[,B...]")]
    pub bundle: Vec<u16>,
    /// Operations a batch at most.
    #[arg(long, default_value = "400", value_delimiter = ',', value_name = "B[,B...]")]
    pub batch_max: Vec<u32>,
    /// How long an operation may wait for its batch to fill.
    #[arg(long, default_value = "0s", value_parser = duration)]
    pub batch_delay: Duration,
    /// Slots of a pillar in progress at most.
    #[arg(long, default_value_t = 64)]
    pub pipeline: u32,
    /// Rounds between the low and the high watermark (L).
    #[arg(long, default_value_t = 128)]
    pub window: u32,
    /// Rounds between checkpoints (K).
    #[arg(long, default_value_t = 32)]
    pub checkpoint_interval: u32,
    /// Unacknowledged numbers of a client at most (W); unless given, 1024 or what the load needs.
    #[arg(long)]
    pub client_window: Option<u32>,
    /// Which pillar a request goes to: by client and number, or by client.
    #[arg(long, value_enum, default_value_t = Assign::Request)]
    pub assign: Assign,
    /// Who leads the pillars at first: different replicas, or one for all.
    #[arg(long, value_enum, default_value = "spread", value_delimiter = ',')]
    pub leaders: Vec<Leaders>,
    /// Worker threads of each replica: a number or "auto".
    #[arg(long, default_value = "auto")]
    pub workers: Auto,
    /// Where operations are executed.
    #[arg(long, value_enum, default_value_t = Executor::Auto)]
    pub executor: Executor,
    /// Threads of each replica that sign and verify: a number or "auto"; 0: the workers do it.
    #[arg(long, default_value = "auto")]
    pub crypto_threads: Auto,
    /// Clients.
    #[arg(long, default_value_t = 8)]
    pub clients: u32,
    /// Operations each client keeps in flight: a closed loop.
    #[arg(long, default_value = "100", value_delimiter = ',', value_name = "O[,O...]")]
    pub outstanding: Vec<u32>,
    /// Operations a second of all clients together, whatever is answered: an open loop, in which latency counts from the
    /// moment an operation was due.
    #[arg(long, value_delimiter = ',', value_name = "R[,R...]", conflicts_with = "outstanding")]
    pub rate: Vec<u32>,
    /// When operations of an open loop are due.
    #[arg(long, value_enum, default_value_t = Arrivals::Poisson, requires = "rate")]
    pub arrivals: Arrivals,
    /// Processes that generate the load, each with its part of the clients; 1: a thread of this one does.
    #[arg(long, default_value_t = 1)]
    pub generators: u16,
    /// Workers that generate it instead, each started by `hypostyle-bench worker` there.
    #[arg(long, value_delimiter = ',', value_name = "IP:PORT[,IP:PORT...]", conflicts_with = "generators")]
    pub worker: Vec<SocketAddr>,
    /// Address of the replicas, which are on this machine; workers elsewhere must reach it.
    #[arg(long, default_value = "127.0.0.1", value_name = "IP")]
    pub address: IpAddr,
    /// What clients ask: null, counted by the service and nothing else; the mixes of YCSB on a store of records, popular
    /// ones by a zipfian distribution; or payments in a ledger.
    #[arg(long, value_enum, default_value_t = Mix::Null)]
    pub workload: Mix,
    /// Records that the store begins with.
    #[arg(long, default_value_t = 10_000)]
    pub records: u64,
    /// Bytes of an operation; of a record, where there are records.
    #[arg(long, default_value = "100", value_delimiter = ',', value_name = "BYTES[,BYTES...]")]
    pub payload: Vec<usize>,
    /// Bytes of a result; 0: the smallest, which is 8. A store answers with records.
    #[arg(long, default_value_t = 0, value_name = "BYTES")]
    pub reply_bytes: usize,
    /// Sign this many requests before the replicas start, so that the clients' signatures are not measured. The window
    /// ends when they are used up.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "40000", value_name = "COUNT")]
    pub presign: Option<u64>,
    /// Load before the window; with presigned requests it uses a quarter of them at most.
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub warmup: Duration,
    /// The window that is measured.
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub duration: Duration,
    /// Measurements of each setting.
    #[arg(long, default_value_t = 1)]
    pub repeat: u32,
    /// Memory that each replica may have, such as 32MiB; the kernel kills one that takes more. Needs root.
    #[arg(long, value_name = "SIZE")]
    pub memory_limit: Option<ByteSize>,
    /// Exit with 0 though figures are marked as no result: a noisy machine, a generator that was the bottleneck.
    #[arg(long)]
    pub accept_marks: bool,
    /// A fault in the window, such as crash:0@2s, pause:0@2s+1s, slow:0@2s+3s (it then runs a tenth of the time); several
    /// times for several. Replica 0 leads pillar 0 at first.
    #[arg(long, value_name = "KIND:REPLICA@WHEN[+LENGTH]")]
    pub fault: Vec<Fault>,
    /// A profile that `hypostyle-tune` wrote: its workload and settings, where no flag beside it says otherwise.
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// What to print and where to leave files.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// How clients authenticate requests, and replicas replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ClientAuth {
    /// With signatures.
    Signature,
    /// With a MAC tag for each replica, and one on each reply.
    Mac,
}

/// How replies are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Replies {
    /// Groups, as leaves of a Merkle tree under one signature.
    Merkle,
    /// Each reply singly.
    Each,
}

/// Which pillar a request goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Assign {
    /// By client and number.
    Request,
    /// By client.
    Client,
}

/// Who leads the pillars in view 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Leaders {
    /// A different replica for each pillar.
    Spread,
    /// One replica for all.
    Single,
}

/// What clients ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Mix {
    /// Operations that the service only counts.
    Null,
    /// Half reads, half updates.
    YcsbA,
    /// 95 % reads, 5 % updates.
    YcsbB,
    /// Reads.
    YcsbC,
    /// 95 % reads of the latest records, 5 % inserts.
    YcsbD,
    /// 95 % scans of up to 100 records, 5 % inserts.
    YcsbE,
    /// Half reads, half read-modify-writes.
    YcsbF,
    /// Payments between the clients, in a ledger of hash-chained blocks.
    Ledger,
}

impl Mix {
    /// Its name in flags and files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::YcsbA => "ycsb-a",
            Self::YcsbB => "ycsb-b",
            Self::YcsbC => "ycsb-c",
            Self::YcsbD => "ycsb-d",
            Self::YcsbE => "ycsb-e",
            Self::YcsbF => "ycsb-f",
            Self::Ledger => "ledger",
        }
    }
}

/// When operations of an open loop are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Arrivals {
    /// At equal distances.
    Constant,
    /// As a Poisson process: at random, independent of each other.
    Poisson,
}

/// Where operations are executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Executor {
    /// As the machine suggests.
    Auto,
    /// On the one worker.
    Inline,
    /// On a thread of its own.
    Thread,
}

/// A number of threads, or the replica's own choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auto {
    /// As the machine suggests.
    Auto,
    /// This many.
    Fixed(u16),
}

impl std::str::FromStr for Auto {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            _ => text.parse().map(Self::Fixed).map_err(|_| "expected \"auto\" or a number of threads".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser as _;

    fn run(arguments: &str) -> Result<RunArgs, clap::Error> {
        let words = ["hypostyle-bench", "run"].into_iter().chain(arguments.split_whitespace());
        match Cli::try_parse_from(words)?.command {
            Command::Run(run) => Ok(*run),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_flag_has_a_default() {
        let run = run("").expect("no flag is needed");
        assert_eq!((run.n, run.pillars, run.clients, run.outstanding), (vec![4], vec![1], 8, vec![100]));
        assert_eq!((run.presign, run.duration), (None, Duration::from_secs(5)));
    }

    #[test]
    fn presign_counts_with_and_without_a_number() {
        assert_eq!(run("--presign").expect("parses").presign, Some(40_000));
        assert_eq!(run("--presign=500 --json").expect("parses").presign, Some(500));
        assert_eq!(run("--presign --warmup 1s").expect("parses").presign, Some(40_000));
    }

    #[test]
    fn the_issue_s_command_parses() {
        let flags = "--n 4 --pillars 1,2,4 --auth rsa-2048 --batch-max 100 --bundle 64 --replies merkle --clients 8 \
                     --outstanding 100 --presign --warmup 1s --duration 5s --repeat 1 --json";
        let run = run(flags).expect("parses");
        assert_eq!(run.pillars, [1, 2, 4]);
        assert!(run.output.json);
    }

    #[test]
    fn nonsense_is_refused() {
        for flags in [
            "--duration 5",
            "--auth rsa-1024",
            "--workers many",
            "--pillars x",
            "--replies some",
            "--rate 5 --outstanding 5",
        ] {
            assert!(run(flags).is_err(), "{flags}");
        }
    }
}
