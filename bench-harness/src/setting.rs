use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hypostyle::ReplicaId;
use hypostyle::config::{self, ClusterConfig, Cores, Count, ReplicaConfig, Threads};
use hypostyle::crypto::{PublicKey, sha256};
use serde::{Deserialize, Serialize};

use crate::choice::{CLIENT_WINDOW_MAX, Choice, Pace, share};
use crate::cli::{Assign, Auto, ClientAuth, Executor, Leaders, Mix, Replies, RunArgs};
use crate::error::usage;
use crate::faults::Fault;
use crate::phases::Limits;
use crate::workload::Workload;
use crate::workload::null::REPLY_MIN;
use crate::workload::store::SCAN_BYTES;

/// One setting to be measured: a cluster and the load on it.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// The cluster. Its addresses are placeholders until it is started; they don't count for its hash.
    pub(crate) cluster: ClusterConfig,
    /// Threads of each replica.
    pub(crate) threads: Threads,
    /// The load.
    pub(crate) load: Load,
    /// Who generates it.
    pub(crate) generators: Generators,
    /// Where replicas listen.
    pub(crate) address: IpAddr,
    /// Bytes of memory that each replica may have.
    pub(crate) memory_limit: Option<u64>,
    /// What is done to replicas in the window.
    pub(crate) faults: Vec<Fault>,
}

/// Who generates the load.
#[derive(Clone, Debug)]
pub(crate) enum Generators {
    /// A thread of this process.
    Inside,
    /// So many processes.
    Processes(u16),
    /// Workers that run already.
    Workers(Vec<SocketAddr>),
}

/// What clients do.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Load {
    /// Clients.
    pub(crate) clients: u32,
    /// When they send.
    pub(crate) pace: Pace,
    /// What they ask.
    pub(crate) mix: Mix,
    records: u64,
    /// Bytes of an operation, or of a record.
    pub(crate) payload: usize,
    /// Bytes of a result.
    pub(crate) reply_bytes: usize,
    /// Requests of each client that are signed before the run.
    pub(crate) presigned_each: Option<u64>,
    /// Warm-up, and window at most.
    pub(crate) warmup: Duration,
    /// The window.
    pub(crate) duration: Duration,
}

/// An operation that a worker makes for others has no more bytes.
const PAYLOAD_MAX: usize = 64 << 20;
/// Bytes of a request beside payload and signature, generously.
const REQUEST_OVERHEAD: usize = 256;

impl Setting {
    /// The setting of one choice that these flags leave open, for members with these keys (more replicas than it has
    /// may be given).
    ///
    /// # Errors
    /// A usage error when a flag or a combination makes no sense.
    pub(crate) fn new(
        flags: &RunArgs,
        choice: &Choice,
        replicas: &[PublicKey],
        clients: &[PublicKey],
    ) -> anyhow::Result<Self> {
        let cluster = cluster(flags, choice, &replicas[..usize::from(choice.n)], clients)?;
        Ok(Self {
            cluster,
            threads: threads(flags),
            load: Load::of(flags, choice),
            generators: Generators::of(flags),
            address: flags.address,
            memory_limit: flags.memory_limit.map(|limit| limit.as_u64()),
            faults: flags.fault.clone(),
        })
    }

    /// A name for it, different wherever anything in it differs.
    #[must_use]
    pub(crate) fn name(&self) -> String {
        let Self { cluster, threads, load, generators, address, memory_limit, faults } = self;
        let hash = cluster.hash();
        let rest = format!("{threads:?}{load:?}{generators:?}{address}{memory_limit:?}{faults:?}");
        let whole = sha256(&[&hash.0, rest.as_bytes()]).to_string();
        let Load { clients, pace, payload, .. } = load;
        format!("p{}-{}-c{clients}{}-b{payload}", cluster.pillars, &whole[..8], pace.name())
    }

    /// The `replica.toml` of one replica, which shares the machine with the others: it gets its share of the cores
    /// this process may use, none of its own when there are fewer than replicas.
    #[must_use]
    pub(crate) fn replica_config(&self, index: usize, cores: &[usize]) -> ReplicaConfig {
        let mut config = ReplicaConfig::new(ReplicaId(u16::try_from(index).expect("replicas fit 16 bits")));
        let each = cores.len() / self.cluster.n();
        config.cores = match cores.get(index * each..(index + 1) * each) {
            Some(own) if each > 0 => Cores::List(own.to_vec()),
            _ => Cores::Shared,
        };
        config.workers = self.threads.workers;
        config.executor = self.threads.executor;
        config.crypto_threads = self.threads.crypto_threads;
        let connections = self.connections_of_a_replica();
        config.limits.connections = config.limits.connections.max(connections.saturating_mul(2));
        config.limits.handshakes = config.limits.handshakes.max(connections.saturating_mul(2)).min(65_536);
        config.log = "warn".to_owned();
        config
    }

    /// Connections between clients and replicas: one for each client, replica and pillar that the client uses.
    #[must_use]
    pub(crate) fn connections(&self) -> u64 {
        let pillars = match self.cluster.assign {
            config::Assign::Request => self.cluster.pillars,
            config::Assign::Client => 1,
        };
        u64::from(self.load.clients) * self.cluster.n() as u64 * u64::from(pillars)
    }

    fn connections_of_a_replica(&self) -> u32 {
        let members = self.load.clients.saturating_add(u32::try_from(self.cluster.n()).unwrap_or(u32::MAX));
        members.saturating_mul(self.cluster.pillars.into())
    }
}

fn threads(flags: &RunArgs) -> Threads {
    let count = |auto| match auto {
        Auto::Auto => Count::Auto,
        Auto::Fixed(threads) => Count::Fixed(threads),
    };
    let executor = match flags.executor {
        Executor::Auto => config::Executor::Auto,
        Executor::Inline => config::Executor::Inline,
        Executor::Thread => config::Executor::Thread,
    };
    Threads { workers: count(flags.workers), executor, crypto_threads: count(flags.crypto_threads) }
}

impl Generators {
    fn of(flags: &RunArgs) -> Self {
        match (flags.worker.as_slice(), flags.generators) {
            ([], 1) => Self::Inside,
            ([], count) => Self::Processes(count),
            (workers, _) => Self::Workers(workers.to_vec()),
        }
    }

    /// How many.
    #[must_use]
    pub(crate) fn count(&self) -> u16 {
        match self {
            Self::Inside => 1,
            Self::Processes(count) => *count,
            Self::Workers(workers) => u16::try_from(workers.len()).unwrap_or(u16::MAX),
        }
    }
}

impl Load {
    fn of(flags: &RunArgs, choice: &Choice) -> Self {
        Self {
            clients: flags.clients,
            pace: choice.pace,
            mix: flags.workload,
            records: flags.records,
            payload: choice.payload,
            reply_bytes: flags.reply_bytes.max(REPLY_MIN),
            presigned_each: flags.presign.map(|all| all.div_ceil(u64::from(flags.clients))),
            warmup: flags.warmup,
            duration: flags.duration,
        }
    }

    /// What clients ask, in full.
    #[must_use]
    pub(crate) fn workload(&self, all_clients: u32) -> Workload {
        Workload::new(self.mix, self.records, all_clients, self.payload)
    }

    /// What flags can't ask for, but who sends a job can.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn check(&self, keys: usize) -> anyhow::Result<()> {
        let sends = match self.pace {
            Pace::Closed { outstanding } => outstanding > 0,
            Pace::Open { rate, .. } => rate > 0,
        };
        anyhow::ensure!(
            sends && keys > 0 && keys == self.clients as usize,
            "a job of {} clients with {keys} keys and nothing to send is none",
            self.clients
        );
        anyhow::ensure!(self.records > 0 && self.payload <= PAYLOAD_MAX, "a job with an impossible workload");
        Ok(())
    }

    /// The part of generator `index` of `count`.
    #[must_use]
    pub(crate) fn share(&self, index: usize, count: usize) -> Self {
        let narrow = |value: usize| u32::try_from(value).expect("generators are fewer than clients");
        let (index, count) = (narrow(index), narrow(count));
        Self { clients: share(self.clients, index, count), pace: self.pace.share(index, count), ..*self }
    }

    /// Records that the service begins with; 0 where it stores none.
    #[must_use]
    pub(crate) fn records(&self) -> u64 {
        if matches!(self.mix, Mix::Null | Mix::Ledger) { 0 } else { self.records }
    }

    /// Accounts of the service's ledger; 0 where it has none.
    #[must_use]
    pub(crate) fn accounts(&self) -> u32 {
        if self.mix == Mix::Ledger { self.clients } else { 0 }
    }

    /// When the phases of a run end.
    #[must_use]
    pub(crate) fn limits(&self) -> Limits {
        Limits { warmup: self.warmup, duration: self.duration, presigned: self.presigned() }
    }

    /// Requests signed before the run, of all clients.
    #[must_use]
    pub(crate) fn presigned(&self) -> Option<u64> {
        self.presigned_each.map(|each| each * u64::from(self.clients))
    }
}

/// The names that settings have in files and flags.
pub(crate) mod name {
    use hypostyle::config::{Assign, ClientAuth, Leaders, Replies};

    pub(crate) fn client_auth(value: ClientAuth) -> &'static str {
        match value {
            ClientAuth::Signature => "signature",
            ClientAuth::Mac => "mac",
        }
    }

    pub(crate) fn replies(value: Replies) -> &'static str {
        match value {
            Replies::Merkle => "merkle",
            Replies::Each => "each",
        }
    }

    pub(crate) fn assign(value: Assign) -> &'static str {
        match value {
            Assign::Request => "request",
            Assign::Client => "client",
        }
    }

    pub(crate) fn leaders(value: Leaders) -> &'static str {
        match value {
            Leaders::Spread => "spread",
            Leaders::Single => "single",
        }
    }
}

fn cluster(
    flags: &RunArgs,
    choice: &Choice,
    replicas: &[PublicKey],
    clients: &[PublicKey],
) -> anyhow::Result<ClusterConfig> {
    if flags.client_auth == ClientAuth::Mac && flags.presign.is_some() {
        usage::<()>(
            "--presign with --client-auth mac: tags are made with the keys of connections, so nothing can be \
             authenticated before the replicas run; leave out --presign",
        )?;
    }
    let mut config = ClusterConfig::local(&placeholders(replicas.len()), replicas, clients);
    config.id = "hypostyle-bench".to_owned();
    config.pillars = choice.pillars;
    config.auth = choice.auth;
    config.client_auth = client_auth(flags.client_auth);
    config.replies = match flags.replies {
        Replies::Merkle => config::Replies::Merkle,
        Replies::Each => config::Replies::Each,
    };
    config.assign = match flags.assign {
        Assign::Request => config::Assign::Request,
        Assign::Client => config::Assign::Client,
    };
    config.leaders = match choice.leaders {
        Leaders::Spread => config::Leaders::Spread,
        Leaders::Single => config::Leaders::Single,
    };
    config.bundle = choice.bundle;
    config.batch_max = choice.batch_max;
    config.batch_delay = flags.batch_delay;
    config.pipeline = flags.pipeline;
    config.checkpoint_interval = flags.checkpoint_interval;
    config.window = flags.window;
    config.client_window = client_window(flags, choice);
    let request = choice.payload + choice.auth.signature_len() + REQUEST_OVERHEAD;
    config.request_max = config.request_max.max(request.next_multiple_of(1024));
    config.batch_bytes = config.batch_bytes.max(config.request_max);
    let reply = match flags.workload {
        Mix::Null => flags.reply_bytes,
        Mix::YcsbE => SCAN_BYTES + choice.payload,
        _ => choice.payload,
    };
    config.reply_max = config.reply_max.max(reply.next_multiple_of(1024));
    match config.validate() {
        Ok(()) => Ok(config),
        Err(error) => usage(error.to_string()),
    }
}

/// Twice the load, so that one late operation doesn't hold up its client.
pub(crate) fn client_window(flags: &RunArgs, choice: &Choice) -> u32 {
    let outstanding = match choice.pace {
        Pace::Closed { outstanding } => outstanding,
        Pace::Open { .. } => 0,
    };
    let needed = outstanding.saturating_mul(2).min(CLIENT_WINDOW_MAX);
    flags.client_window.unwrap_or_else(|| needed.next_power_of_two().clamp(1024, CLIENT_WINDOW_MAX))
}

pub(crate) fn client_auth(flag: ClientAuth) -> config::ClientAuth {
    match flag {
        ClientAuth::Signature => config::ClientAuth::Signature,
        ClientAuth::Mac => config::ClientAuth::Mac,
    }
}

/// Addresses in a configuration that nobody dials yet.
pub(crate) fn placeholders(n: usize) -> Vec<(SocketAddr, SocketAddr)> {
    let address = |port: usize| {
        let port = u16::try_from(port).expect("a few replicas");
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    };
    (0..n).map(|index| (address(2 * index + 1), address(2 * index + 2))).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::choice::check_usage;
    use crate::cli::{Cli, Command};
    use crate::error::exit_code;
    use clap::Parser as _;
    use hypostyle::crypto::{SigningKey, Suite};

    /// The flags of `hypostyle-bench run ...`.
    pub(crate) fn flags(text: &str) -> RunArgs {
        let words = ["hypostyle-bench", "run"].into_iter().chain(text.split_whitespace());
        match Cli::parse_from(words).command {
            Command::Run(run) => *run,
            other => panic!("{other:?}"),
        }
    }

    fn keys(count: usize) -> Vec<PublicKey> {
        (0..count).map(|_| SigningKey::generate(Suite::Ed25519).public()).collect()
    }

    /// The settings of `hypostyle-bench run ...`, with fresh Ed25519 keys.
    pub(crate) fn settings(text: &str) -> Vec<Setting> {
        let flags = flags(text);
        check_usage(&flags).expect("sensible");
        let (replicas, clients) = (keys(13), keys(flags.clients as usize));
        Choice::all(&flags)
            .iter()
            .map(|choice| Setting::new(&flags, choice, &replicas, &clients).expect("valid"))
            .collect()
    }

    #[test]
    fn a_setting_for_each_pillar_count() {
        let settings = settings("--auth ed25519 --pillars 1,2,8 --clients 2 --presign=1001 --batch-max 100");
        let pillars: Vec<u16> = settings.iter().map(|setting| setting.cluster.pillars).collect();
        assert_eq!(pillars, [1, 2, 8]);
        assert_eq!(settings[0].load.presigned(), Some(1002));
        assert_eq!(settings[0].cluster.batch_max, 100);
        assert_ne!(settings[0].cluster.hash(), settings[1].cluster.hash());
    }

    #[test]
    fn the_hash_survives_a_move_to_other_ports() {
        let setting = &settings("--auth ed25519")[0];
        let mut moved = setting.cluster.clone();
        moved.replicas[0].peer.set_port(9);
        assert_eq!(moved.hash(), setting.cluster.hash());
    }

    #[test]
    fn windows_and_limits_hold_the_load() {
        let setting = &settings("--auth ed25519 --clients 1 --outstanding 2400 --payload 100000")[0];
        assert_eq!(setting.cluster.client_window, 8192);
        assert!(
            setting.cluster.request_max > 100_000
                && setting.cluster.batch_bytes >= setting.cluster.request_max
        );
        let many = &settings("--auth ed25519 --clients 3000 --outstanding 1 --pillars 4")[0];
        assert!(many.replica_config(0, &[0, 1]).limits.connections > 12_000);
    }

    #[test]
    fn replicas_share_the_cores() {
        let setting = &settings("--auth ed25519 --workers 2 --executor thread --crypto-threads 0")[0];
        let config = setting.replica_config(1, &[0, 1]);
        assert_eq!((config.cores, config.workers), (Cores::Shared, Count::Fixed(2)));
        assert_eq!((config.executor, config.crypto_threads), (config::Executor::Thread, Count::Fixed(0)));
        let cores: Vec<usize> = (0..9).collect();
        assert_eq!(setting.replica_config(1, &cores).cores, Cores::List(vec![2, 3]));
    }

    #[test]
    fn a_configuration_that_makes_no_sense_is_a_usage_error() {
        let flags = flags("--auth ed25519 --window 100 --checkpoint-interval 32");
        let error = Setting::new(&flags, &Choice::all(&flags)[0], &keys(4), &keys(8)).expect_err("K | L");
        assert_eq!(exit_code(&error), 2);
    }

    #[test]
    fn names_tell_settings_of_a_command_apart() {
        let settings = settings("--auth ed25519 --pillars 1,2 --outstanding 1,10 --bundle 1,8");
        let mut names: std::collections::BTreeSet<String> = settings.iter().map(Setting::name).collect();
        assert_eq!(names.len(), 8);
        let flags = "--auth ed25519 --pillars 1 --outstanding 1 --bundle 1";
        let others =
            ["--workers 2", "--fault crash:0@1s", "--workload ycsb-a", "--memory-limit 32MiB", "--warmup 2s"];
        for other in others {
            assert!(names.insert(self::settings(&format!("{flags} {other}"))[0].name()), "{other}");
        }
    }
}
