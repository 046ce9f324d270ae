use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hypostyle::config::{ClusterConfig, ReplicaConfig, genesis};
use hypostyle::pinning::available_cores;
use hypostyle::status::ReplicaStatus;

use crate::children::{Process, Scratch};
use crate::error::invalid;
use crate::keys::Keys;
use crate::ports;
use crate::setting::Setting;
use crate::status;

/// Replica processes on this machine. Dropping it ends them and removes their directories.
#[derive(Debug)]
pub(crate) struct Cluster {
    // Processes are ended before their directories go.
    replicas: Vec<Replica>,
    config: ClusterConfig,
    _scratch: Scratch,
}

#[derive(Debug)]
struct Replica {
    process: Process,
    home: PathBuf,
    admin: SocketAddr,
}

/// Starts tried before giving up: another program may take a port between its choice and its use.
const STARTS: usize = 5;
/// A replica answers within this time of its start.
const START_TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
const STATUS_TIMEOUT: Duration = Duration::from_secs(10);

impl Cluster {
    /// Starts the replicas of `setting`: `program` re-executed as `replica HOME`, in directories inside `scratch`.
    /// Returns once every one answers on its admin listener.
    ///
    /// # Errors
    /// When a replica ends or doesn't answer: with the last lines it wrote.
    pub(crate) fn start(
        program: &Path,
        setting: &Setting,
        keys: &Keys,
        scratch: &Path,
    ) -> anyhow::Result<Self> {
        let mut last = None;
        for _ in 0..STARTS {
            match Self::try_start(program, setting, keys, scratch) {
                Err(error) if is_port_taken(&error) => last = Some(error),
                other => return other,
            }
        }
        Err(last.expect("at least one try"))
            .context("no free ports after several tries: run again, or close programs that use many")
    }

    /// The configuration with the addresses in use.
    #[must_use]
    pub(crate) fn config(&self) -> &ClusterConfig {
        &self.config
    }

    /// Process ids, replica 0 first.
    #[must_use]
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.replicas.iter().map(|replica| replica.process.pid()).collect()
    }

    /// What each replica tells of itself.
    ///
    /// # Errors
    /// When one has ended or doesn't answer.
    pub(crate) fn statuses(&self) -> anyhow::Result<Vec<ReplicaStatus>> {
        (0..self.replicas.len()).map(|id| self.status(id)).collect()
    }

    /// What one replica tells of itself.
    ///
    /// # Errors
    /// When it has ended or doesn't answer.
    pub(crate) fn status(&self, id: usize) -> anyhow::Result<ReplicaStatus> {
        self.replicas[id].status(id)
    }

    fn try_start(program: &Path, setting: &Setting, keys: &Keys, scratch: &Path) -> anyhow::Result<Self> {
        let scratch = Scratch::inside(scratch).context("no directory for the replicas")?;
        let n = setting.cluster.n();
        let addresses = ports::free(3 * n).context("no free loopback ports")?;
        let mut config = setting.cluster.clone();
        for (entry, own) in config.replicas.iter_mut().zip(addresses.chunks_exact(3)) {
            (entry.peer, entry.client) = (own[0], own[1]);
        }
        let file = scratch.path().join("cluster.toml");
        fs::write(&file, config.to_toml()).with_context(|| file.display().to_string())?;
        // None, so that none is pinned to, where the system doesn't tell.
        let cores = available_cores().unwrap_or_default();
        let mut replicas = Vec::with_capacity(n);
        for (index, own) in addresses.chunks_exact(3).enumerate() {
            let mut own_config = setting.replica_config(index, &cores);
            own_config.cluster.clone_from(&file);
            own_config.private_key = keys.replica_path(index);
            own_config.admin = Some(own[2]);
            let home = scratch.path().join(format!("replica-{index}"));
            prepare_home(&home, &own_config)?;
            let process = start_replica(program, &home, setting.load.reply_bytes)?;
            replicas.push(Replica { process, home, admin: own[2] });
        }
        let cluster = Self { replicas, config, _scratch: scratch };
        cluster.wait_until_up()?;
        Ok(cluster)
    }

    fn wait_until_up(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        for (id, replica) in self.replicas.iter().enumerate() {
            loop {
                replica.check_alive(id)?;
                let missing = match status::fetch(replica.admin, STATUS_TIMEOUT) {
                    Ok(status) if status.ready() => break,
                    Ok(_) => "it has no links to a quorum".to_owned(),
                    Err(error) => format!("no answer on {}: {error}", replica.admin),
                };
                if Instant::now() > deadline {
                    let log = replica.last_words();
                    return invalid(format!(
                        "replica {id} is not up {START_TIMEOUT:?} after its start: {missing}{log}"
                    ));
                }
                std::thread::sleep(POLL);
            }
        }
        Ok(())
    }
}

impl Replica {
    fn status(&self, id: usize) -> anyhow::Result<ReplicaStatus> {
        self.check_alive(id)?;
        match status::fetch(self.admin, STATUS_TIMEOUT) {
            Ok(status) => Ok(status),
            Err(error) => {
                self.check_alive(id)?;
                invalid(format!("replica {id} doesn't tell its status: {error}{}", self.last_words()))
            }
        }
    }

    fn check_alive(&self, id: usize) -> anyhow::Result<()> {
        match self.process.ended()? {
            None => Ok(()),
            Some(status) => invalid(format!("replica {id} ended ({status}){}", self.last_words())),
        }
    }

    /// The end of what the replica wrote.
    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.home.join(LOG)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(10)..];
        if last.is_empty() { ", and wrote nothing".into() } else { format!(":\n  {}", last.join("\n  ")) }
    }
}

const LOG: &str = "replica.log";

fn prepare_home(home: &Path, config: &ReplicaConfig) -> anyhow::Result<()> {
    fs::create_dir(home).with_context(|| home.display().to_string())?;
    let file = home.join("replica.toml");
    fs::write(&file, config.to_toml()).with_context(|| file.display().to_string())?;
    Ok(genesis::write(home)?)
}

fn start_replica(program: &Path, home: &Path, reply_bytes: usize) -> anyhow::Result<Process> {
    let mut command = Command::new(program);
    command.arg0("hypostyle-bench").arg("replica").arg(home);
    command.args(["--reply-bytes", &reply_bytes.to_string(), "--parent", &std::process::id().to_string()]);
    // The settings measured are those of the flags, not of whatever this shell has set.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HYPOSTYLE_") {
            command.env_remove(name);
        }
    }
    Process::start(&mut command, &home.join(LOG))
        .with_context(|| format!("{}: doesn't start", program.display()))
}

/// Another program took a port between its choice and its use.
fn is_port_taken(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}").to_lowercase();
    text.contains("address already in use") || text.contains("address in use") || text.contains("port in use")
}
