use std::io::{IsTerminal, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;
use hypostyle::config::{self, ClusterConfig, InitError, Overrides, Plan, Profile};
use hypostyle_crypto::Suite;

use super::usage;

/// Write the files of a new cluster: configuration, keys, and a home for each replica.
#[derive(Args)]
#[command(after_help = "Examples:
  hypostyle init demo --replicas 4 --clients 8
  hypostyle init demo --hosts hosts.txt --pillars 4 --auth ed25519 --set batch_max=100
  hypostyle init demo --auth ed25519 --profile tuned.toml

hosts.txt has one IP address a line, one line a replica; a host may stand there several times.
Copy cluster.toml and replica-i to host i, cluster.toml and a client's key to its user.")]
pub(super) struct Init {
    /// The directory to write to.
    directory: PathBuf,
    #[command(flatten)]
    shape: Shape,
    /// A file with the IP address of every replica, one a line.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["replicas", "host"])]
    hosts: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What a cluster is like.
#[derive(Args)]
pub(super) struct Shape {
    /// How many replicas: 3f+1.
    #[arg(long, default_value_t = 4, value_name = "N")]
    replicas: u16,
    /// How many clients get a key.
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    clients: u32,
    /// How many pillars order requests side by side [default: 1].
    #[arg(long, value_name = "P")]
    pillars: Option<u16>,
    /// The signature suite of replicas and clients: rsa-2048, rsa-3072, rsa-4096, ed25519, ecdsa-p256.
    #[arg(long, default_value_t = Suite::default())]
    auth: Suite,
    /// The IP address of all replicas.
    #[arg(long, default_value = "127.0.0.1", value_name = "IP")]
    host: IpAddr,
    /// The first port on a host; a replica takes three: peers, clients, admin.
    #[arg(long, default_value_t = 7400, value_name = "PORT")]
    base_port: u16,
    /// A profile that `hypostyle-tune` wrote: its settings of cluster.toml and replica.toml; flags beside it win.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Any other setting of cluster.toml; may be repeated.
    #[arg(long, value_name = "SETTING=VALUE")]
    set: Vec<String>,
}

impl Init {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let hosts = match &self.hosts {
            Some(file) => read_hosts(file)?,
            None => self.shape.hosts(),
        };
        let cluster = self.shape.write(&self.directory, hosts)?;
        if self.json {
            return self.print_json(&cluster);
        }
        self.print(&cluster);
        Ok(())
    }

    fn print(&self, cluster: &ClusterConfig) {
        let directory = self.directory.display();
        let ClusterConfig { pillars, auth, .. } = cluster;
        let clients = cluster.clients.len();
        println!(
            "{} replicas (f = {}), {clients} clients, pillars = {pillars}, {auth}",
            cluster.n(),
            cluster.f()
        );
        println!("  {directory}/cluster.toml            the same for every replica and client");
        println!(
            "  {directory}/replica-0..{}            one for each replica's machine, private",
            cluster.n() - 1
        );
        println!(
            "  {directory}/clients/client-0..{}.pem  private keys of the clients",
            clients.saturating_sub(1)
        );
        println!("next: hypostyle replica {directory}/replica-0   (and so on: all {} of them)", cluster.n());
    }

    fn print_json(&self, cluster: &ClusterConfig) -> anyhow::Result<()> {
        let homes = cluster.replicas.iter().map(|replica| config::replica_home(&self.directory, replica.id));
        let keys = cluster.clients.iter().map(|client| config::client_key(&self.directory, client.id.0));
        let written = serde_json::json!({
            "cluster": self.directory.join("cluster.toml"),
            "configuration": cluster.hash().to_string(),
            "replicas": homes.collect::<Vec<_>>(),
            "clients": keys.collect::<Vec<_>>(),
        });
        writeln!(std::io::stdout(), "{written}")?;
        Ok(())
    }
}

impl Shape {
    /// The one host, as often as there are replicas.
    pub(super) fn hosts(&self) -> Vec<IpAddr> {
        vec![self.host; usize::from(self.replicas)]
    }

    /// Writes a cluster on these hosts.
    pub(super) fn write(&self, directory: &Path, hosts: Vec<IpAddr>) -> anyhow::Result<ClusterConfig> {
        let profile = self.profile.as_ref().map_or_else(|| Ok(Profile::default()), Profile::load)?;
        let mut settings = ClusterConfig::default();
        profile.apply(&mut settings);
        let mut overrides = Overrides::none();
        let pillars = self.pillars.map(|pillars| format!("pillars={pillars}"));
        pillars.iter().try_for_each(|assignment| overrides.flag(assignment)).map_err(usage)?;
        self.set.iter().try_for_each(|assignment| overrides.flag(assignment)).map_err(usage)?;
        let settings = settings.overridden(&overrides).map_err(usage)?;
        if settings.auth != Suite::default() {
            return Err(usage(anyhow!(
                "--set auth: the keys are made for --auth\n  remedy: write --auth {}",
                settings.auth
            )));
        }
        let keys = hosts.len() + self.clients as usize;
        let plan = Plan {
            hosts,
            base_port: self.base_port,
            clients: self.clients,
            auth: self.auth,
            settings,
            threads: profile.threads,
        };
        let mut progress = Progress::new("keys", keys);
        config::init(directory, &plan, &mut || progress.step()).map_err(|error| match error {
            InitError::Config(_) | InitError::Ports { .. } => usage(error),
            other => other.into(),
        })
    }
}

fn read_hosts(file: &Path) -> anyhow::Result<Vec<IpAddr>> {
    let name = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| {
        anyhow!("{name} cannot be read: {error}\n  remedy: name a file with one IP address a line")
    })?;
    let lines = text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.split('#').next().unwrap_or("").trim()));
    lines
        .filter(|(_, host)| !host.is_empty())
        .map(|(line, host)| {
            host.parse().map_err(|_| {
                anyhow!(
                    "{name}:{line}:1: \"{}\" is no IP address\n  remedy: write one, such as 192.0.2.7",
                    host.escape_debug()
                )
            })
        })
        .collect()
}

/// Shows how far a long work is, on a terminal only.
struct Progress {
    what: &'static str,
    done: usize,
    all: usize,
    shown: bool,
}

impl Progress {
    fn new(what: &'static str, all: usize) -> Self {
        Self { what, done: 0, all, shown: std::io::stderr().is_terminal() }
    }

    fn step(&mut self) {
        self.done += 1;
        if self.shown {
            let end = if self.done == self.all { "\n" } else { "" };
            eprint!("\r{} {}/{}{end}", self.what, self.done, self.all);
        }
    }
}
