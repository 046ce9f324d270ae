use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use hypostyle::config::{ClusterConfig, replica_home};
use hypostyle::pinning::available_cores;
use rustix::process::{Pid, Signal, kill_process};

use super::admin;
use super::init::Shape;

/// Run a whole cluster on this machine: writes its files, starts a process for each replica, cleans up on Ctrl-C.
#[derive(Args)]
#[command(after_help = "Example:
  hypostyle local --pillars 2
  hypostyle local demo --replicas 7 --auth ed25519

Without a directory the files are temporary. It runs a key-value map; try it with `hypostyle call`.")]
pub(super) struct Local {
    /// The directory to write to; it stays.
    directory: Option<PathBuf>,
    #[command(flatten)]
    shape: Shape,
}

/// How often children are looked after: the system tells of an end to whoever asks only.
const LOOK: Duration = Duration::from_millis(50);
const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(5);
/// Lines shown of the log of a replica that ended.
const LOG_LINES: usize = 10;

impl Local {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let (tell, stop) = channel();
        ctrlc::set_handler(move || {
            // Told twice is told once.
            let _ = tell.send(());
        })?;
        let scratch = if self.directory.is_none() { Some(Scratch::new()?) } else { None };
        let directory = self.directory.as_deref().or(scratch.as_ref().map(|scratch| scratch.0.as_path()));
        let directory = directory.expect("one of both");

        let cluster = self.shape.write(directory, self.shape.hosts())?;
        let mut replicas = Replicas::start(directory, &cluster)?;
        if !replicas.wait_until_ready(&stop)? {
            return Ok(());
        }
        let name = directory.display();
        println!(
            "{} replicas run, pillars = {}, {}; Ctrl-C ends them",
            cluster.n(),
            cluster.pillars,
            cluster.auth
        );
        println!("  hypostyle call --cluster {name}/cluster.toml 'set greeting hello'");
        println!("  hypostyle status {name}");
        replicas.wait(&stop)
    }
}

/// The processes; they end with this value, and with this process.
struct Replicas(Vec<Replica>);

struct Replica {
    home: PathBuf,
    child: Child,
    ready: bool,
}

impl Replicas {
    fn start(directory: &Path, cluster: &ClusterConfig) -> anyhow::Result<Self> {
        let cores = available_cores().unwrap_or_default();
        let share = cores.len() / cluster.n();
        let mut replicas = Self(Vec::new());
        for replica in &cluster.replicas {
            // Less than two cores are none of its own.
            let own = cores.get(replica.id.index() * share..).filter(|_| share >= 2).map(|own| &own[..share]);
            replicas.0.push(Replica::start(replica_home(directory, replica.id), own)?);
        }
        Ok(replicas)
    }

    /// Whether they became ready before Ctrl-C.
    fn wait_until_ready(&mut self, stop: &Receiver<()>) -> anyhow::Result<bool> {
        let deadline = Instant::now() + START;
        while !self.0.iter_mut().all(Replica::is_ready) {
            self.check()?;
            if Instant::now() > deadline {
                bail!(
                    "the replicas are not ready after {} s\n  remedy: see replica.log in their homes",
                    START.as_secs()
                );
            }
            if told(stop) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn wait(&mut self, stop: &Receiver<()>) -> anyhow::Result<()> {
        while !told(stop) {
            self.check()?;
        }
        Ok(())
    }

    /// None has ended.
    fn check(&mut self) -> anyhow::Result<()> {
        for replica in &mut self.0 {
            if let Some(status) = replica.child.try_wait()? {
                let log = fs::read_to_string(replica.home.join(LOG)).unwrap_or_default();
                let lines: Vec<_> = log.lines().collect();
                let last = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n  ");
                bail!("{} ended ({status}):\n  {last}", replica.home.display());
            }
        }
        Ok(())
    }
}

impl Drop for Replicas {
    fn drop(&mut self) {
        // Not reaped yet, so its id is still its own.
        let running = |replica: &mut Replica| matches!(replica.child.try_wait(), Ok(None));
        self.0.retain_mut(running);
        for replica in &self.0 {
            let pid = i32::try_from(replica.child.id()).ok().and_then(Pid::from_raw);
            let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        }
        let deadline = Instant::now() + STOP;
        while !self.0.is_empty() && Instant::now() < deadline {
            std::thread::park_timeout(LOOK);
            self.0.retain_mut(running);
        }
        for replica in &mut self.0 {
            let _ = replica.child.kill();
            let _ = replica.child.wait();
        }
    }
}

const LOG: &str = "replica.log";

impl Replica {
    fn start(home: PathBuf, cores: Option<&[usize]>) -> anyhow::Result<Self> {
        let cores = cores.map(|cores| cores.iter().map(usize::to_string).collect::<Vec<_>>().join(","));
        let log = File::create(home.join(LOG)).with_context(|| home.display().to_string())?;
        let child = Command::new(std::env::current_exe()?)
            .arg("replica")
            .arg(&home)
            .args(["--parent", &std::process::id().to_string()])
            .args(cores.map(|cores| format!("--set=cores={cores}")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        Ok(Self { home, child, ready: false })
    }

    fn is_ready(&mut self) -> bool {
        let address = || admin::addresses(&self.home.to_string_lossy()).ok()?.first().copied();
        self.ready = self.ready || address().is_some_and(|address| admin::get(address, "/readyz").is_ok());
        self.ready
    }
}

/// Whether Ctrl-C was pressed, now or until the next look.
fn told(stop: &Receiver<()>) -> bool {
    stop.recv_timeout(LOOK) != Err(RecvTimeoutError::Timeout)
}

/// A directory for private keys that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let path = std::env::temp_dir().join(format!("hypostyle-local-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&path).with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} is not removed: {error}", self.0.display());
        }
    }
}
