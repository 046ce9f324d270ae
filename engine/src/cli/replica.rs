use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::{Context, anyhow, ensure};
use clap::Args;
use hypostyle::config::{ClusterConfig, Overrides, Profile, ReplicaConfig};
use hypostyle::service::KeyValue;
use tracing_subscriber::EnvFilter;

use super::usage;

/// Run one replica until it is told to stop (SIGINT, SIGTERM).
#[derive(Args)]
#[command(after_help = "Examples:
  hypostyle replica demo/replica-0
  HYPOSTYLE_LOG=debug hypostyle replica demo/replica-0 --set workers=2 --set executor=thread

Settings: defaults < --profile < replica.toml and cluster.toml < HYPOSTYLE_* < --set. It runs a key-value map;
your own service runs in your own program: see `Replica` in the documentation.")]
pub(super) struct Replica {
    /// The home that `init` wrote.
    home: PathBuf,
    /// A profile that `hypostyle-tune` wrote: its [replica] where replica.toml says "auto". Its [cluster] must be the
    /// cluster's.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// A setting of replica.toml or cluster.toml; may be repeated.
    #[arg(long, value_name = "SETTING=VALUE")]
    set: Vec<String>,
    /// End when the process of this id, which must be the parent, ends.
    #[arg(long, value_name = "PID", hide = true)]
    parent: Option<u32>,
}

impl Replica {
    pub(super) fn run(self) -> anyhow::Result<()> {
        if let Some(parent) = self.parent {
            end_with_parent(parent)?;
        }
        let mut overrides = Overrides::from_environment()?;
        self.set.iter().try_for_each(|assignment| overrides.flag(assignment)).map_err(usage)?;
        let config = ReplicaConfig::load_with(self.home.join("replica.toml"), &overrides)?;
        if let Some(file) = &self.profile {
            let profile = Profile::load(file)?;
            profile.check_cluster(file, &ClusterConfig::load_with(&config.cluster, &overrides)?)?;
            profile.complete(&config, &mut overrides)?;
        }
        log(&config.log)?;

        let replica = hypostyle::Replica::open_with(&self.home, &overrides)?.start(KeyValue::default())?;
        let (peer, client) = replica.addresses();
        tracing::info!(replica = config.id.0, %peer, %client, admin = ?config.admin, "started");
        ctrlc::set_handler(replica.stopper()).context("no signal handler")?;
        replica.wait()?;
        tracing::info!(replica = config.id.0, "stopped");
        Ok(())
    }
}

fn log(filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        let remedy = "write a level, such as \"info\", or directives of tracing's EnvFilter";
        anyhow!("log = \"{filter}\": {error}\n  remedy: {remedy}")
    })?;
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour).init();
    Ok(())
}

/// The parent may have ended before this could ask to be told.
fn end_with_parent(parent: u32) -> anyhow::Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::TERM))?;
    let now = getppid().and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok());
    ensure!(now == Some(parent), "process {parent}, which started this replica, has ended");
    Ok(())
}
