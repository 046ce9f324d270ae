use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::Reporter;
use super::output::{Interval, PeerLatency, fatal, last_lines, total, trouble};
use super::plan::{Plan, Program, Site};
use super::work::{Auth, Install, PeerWork, System};
use crate::children::{Process, Scratch, wait_for_end};
use crate::cluster::is_port_taken;
use crate::error::invalid;
use crate::ports;
use crate::proc_fs::peak_rss;
use crate::reference::{Gauge, Reference};
use crate::sample::{Sample, Spent};

/// Runs peers, one at a time.
pub(crate) struct Launcher {
    /// This program, which guards what it starts.
    program: PathBuf,
    scratch: PathBuf,
    limits: Limits,
    gauge: Gauge,
}

/// How long a peer is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Until its replicas, and then its clients, are up.
    pub(crate) start: Duration,
    /// Without an operation, before it counts as stalled.
    pub(crate) stall: Duration,
}

/// What was seen of one run.
#[derive(Debug)]
pub(crate) struct Window {
    /// What the system told of the window.
    pub(crate) intervals: Vec<Interval>,
    /// Its latencies in the window.
    pub(crate) latency: PeerLatency,
    /// CPU time from the beginning of the first of these intervals to the end of the last.
    pub(crate) spent: Spent,
    /// How long the load had run before.
    pub(crate) warmup: Duration,
    /// Peak memory of each replica, bytes.
    pub(crate) peak_rss: Vec<u64>,
    /// Peak memory of the load generator, bytes.
    pub(crate) client_peak_rss: u64,
}

/// One end of a window.
struct Edge {
    /// Intervals told up to it.
    told: usize,
    /// How long the load had run.
    warmup: Duration,
    sample: Sample,
    /// Bytes that the load generator had printed.
    printed: u64,
}

/// Starts tried before giving up: another program may take a port between its choice and its use.
const STARTS: usize = 3;
const POLL: Duration = Duration::from_millis(20);
/// More than this of one process's output isn't read: it writes a few lines a second.
const OUTPUT_MAX: u64 = 64 << 20;
const LAST_LINES: usize = 12;

impl Launcher {
    /// Starts programs under the guard of `program`, in directories inside `scratch`.
    ///
    /// # Errors
    /// When loopback can't be used.
    pub(crate) fn new(program: &Path, scratch: &Path, limits: Limits) -> anyhow::Result<Self> {
        Ok(Self { program: program.to_owned(), scratch: scratch.to_owned(), limits, gauge: Gauge::new()? })
    }

    /// Starts the system, loads it for the window, ends it. Beside the window: the reference, timed before and after.
    ///
    /// # Errors
    /// Why there are no figures: with the last lines of who failed.
    pub(crate) fn run(
        &mut self,
        system: System,
        install: &Install,
        work: &PeerWork,
    ) -> anyhow::Result<(Window, Reference)> {
        let mut taken = None;
        for _ in 0..STARTS {
            match self.try_run(system, install, work) {
                Err(error) if is_port_taken(&error) => taken = Some(error),
                other => return other,
            }
        }
        Err(taken.expect("at least one try")).context("no free ports after several tries")
    }

    fn try_run(
        &mut self,
        system: System,
        install: &Install,
        work: &PeerWork,
    ) -> anyhow::Result<(Window, Reference)> {
        let scratch = Scratch::inside(&self.scratch).context("no directory for the run")?;
        let addresses =
            ports::free(Ipv4Addr::LOCALHOST.into(), system.addresses()).context("no free loopback ports")?;
        let site = Site { install, scratch: scratch.path(), addresses: &addresses };
        let plan = system.plan(work, site)?;
        write(&plan, scratch.path())?;
        // Free for TCP, but that is another protocol's.
        plan.go
            .iter()
            .try_for_each(|address| UdpSocket::bind(address).map(drop))
            .context("a control address")?;
        let first = self.gauge.measure()?;
        let mut run = Running::start(self, system, &plan, scratch.path())?;
        run.check_authentication(work.auth)?;
        run.load(self, &plan, scratch.path())?;
        let window = run.window(work)?;
        // Its replicas go with it, and the machine is quiet again.
        drop(run);
        let second = self.gauge.measure()?;
        Ok((window, Reference::mean(first, second)))
    }

    fn start(&self, program: &Program, scratch: &Path) -> anyhow::Result<Started> {
        let log = scratch.join(format!("{}.log", program.name.replace(' ', "-")));
        let mut command = Command::new(&self.program);
        command
            .arg("guard")
            .args(["--parent", &std::process::id().to_string()])
            .arg("--")
            .arg(&program.executable);
        command.args(&program.arguments).current_dir(scratch.join(&program.directory));
        command.envs(program.environment.iter().map(|(name, value)| (name, value)));
        let process = Process::start(&mut command, &log)
            .with_context(|| format!("{}: doesn't start", program.executable.display()))?;
        Ok(Started { name: program.name.clone(), process, log })
    }
}

fn write(plan: &Plan, scratch: &Path) -> anyhow::Result<()> {
    let place = |path: &Path| {
        let path = scratch.join(path);
        path.parent().map_or(Ok(()), fs::create_dir_all).map(|()| path)
    };
    for (path, content) in &plan.files {
        let written = place(path).and_then(|path| fs::write(path, content));
        written.with_context(|| scratch.join(path).display().to_string())?;
    }
    for (path, target) in &plan.links {
        let linked = place(path).and_then(|path| symlink(target, path));
        linked.with_context(|| scratch.join(path).display().to_string())?;
    }
    Ok(())
}

/// A process and where its output goes.
#[derive(Debug)]
struct Started {
    name: String,
    process: Process,
    log: PathBuf,
}

impl Started {
    /// What it has printed: whole lines, from byte `from` on.
    fn output(&self, from: u64) -> anyhow::Result<String> {
        let read = || {
            let mut file = fs::File::open(&self.log)?;
            file.seek(SeekFrom::Start(from))?;
            let mut bytes = Vec::new();
            file.take(OUTPUT_MAX).read_to_end(&mut bytes)?;
            io::Result::Ok(bytes)
        };
        let mut bytes = read().with_context(|| self.log.display().to_string())?;
        if bytes.len() as u64 >= OUTPUT_MAX {
            return invalid(format!("{} printed more than {} MiB", self.name, OUTPUT_MAX >> 20));
        }
        bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1));
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(fs::metadata(&self.log)?.len())
    }

    /// What it says of `why`, for a person: the cause where it shows, and its last lines.
    fn failed<T>(&self, why: &str) -> anyhow::Result<T> {
        let output = self.output(0)?;
        let cause = trouble(&output).map(|cause| format!(": {cause}")).unwrap_or_default();
        invalid(format!("{} {why}{cause}; {}", self.name, last_lines(&output, LAST_LINES)))
    }

    fn check_alive(&self) -> anyhow::Result<()> {
        match self.process.ended()? {
            Some(status) => self.failed(&format!("ended too early ({status})")),
            None => Ok(()),
        }
    }
}

/// A system that runs. Dropping it ends its processes.
struct Running {
    system: System,
    limits: Limits,
    client: Option<Started>,
    replicas: Vec<Started>,
}

impl Running {
    /// Prepares what must be, starts the replicas, waits until they are ready.
    fn start(launcher: &Launcher, system: System, plan: &Plan, scratch: &Path) -> anyhow::Result<Self> {
        let limits = launcher.limits;
        for program in &plan.prepare {
            finish(&launcher.start(program, scratch)?, limits.start)?;
        }
        let replicas = plan.replicas.iter().map(|program| launcher.start(program, scratch));
        let running =
            Self { system, limits, client: None, replicas: replicas.collect::<anyhow::Result<_>>()? };
        for replica in &running.replicas {
            running.wait_for(replica, "is not ready", |output| system.replica_is_ready(output))?;
        }
        Ok(running)
    }

    fn check_authentication(&self, auth: Auth) -> anyhow::Result<()> {
        for replica in &self.replicas {
            if let Err(why) = self.system.check_authentication(auth, &replica.output(0)?) {
                return invalid(format!("{}: {why}", replica.name));
            }
        }
        Ok(())
    }

    /// Starts the load; returns when every client is at work.
    fn load(&mut self, launcher: &Launcher, plan: &Plan, scratch: &Path) -> anyhow::Result<()> {
        let system = self.system;
        self.client = Some(launcher.start(&plan.client, scratch)?);
        let client = self.client()?;
        self.wait_for(client, "is not ready", |output| system.client_is_ready(output))?;
        go(&plan.go).context("the datagram that begins the run can't be sent")?;
        self.wait_for(client, "has not brought all clients to work", |output| system.load_has_begun(output))
    }

    fn client(&self) -> anyhow::Result<&Started> {
        self.client.as_ref().context("the load has not begun")
    }

    fn wait_for(&self, one: &Started, why: &str, condition: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + self.limits.start;
        loop {
            let output = one.output(0)?;
            if condition(&output) {
                return Ok(());
            }
            self.check_alive()?;
            if fatal(&output).is_some() {
                return one.failed("can't go on");
            }
            if Instant::now() > deadline {
                return one.failed(&format!("{why} after {:?} (see --start-timeout)", self.limits.start));
            }
            self.pause()?;
        }
    }

    fn processes(&self) -> impl Iterator<Item = &Started> {
        self.replicas.iter().chain(&self.client)
    }

    fn check_alive(&self) -> anyhow::Result<()> {
        self.processes().try_for_each(Started::check_alive)
    }

    /// Waits a little, less when a process ends.
    fn pause(&self) -> anyhow::Result<()> {
        Ok(wait_for_end(self.processes().map(|one| &one.process), POLL)?)
    }

    /// Warms up and watches the window. Both its ends are moments at which the system told of an interval.
    fn window(&self, work: &PeerWork) -> anyhow::Result<Window> {
        let client = self.client()?;
        let reporter = match self.system.reporter() {
            Reporter::Client => client,
            Reporter::Replica => &self.replicas[0],
        };
        let start = Instant::now();
        let (mut told, mut progress) = (self.intervals(reporter)?.len(), start);
        let mut begin: Option<Edge> = None;
        loop {
            self.check_alive()?;
            let intervals = self.intervals(reporter)?;
            let now = Instant::now();
            if intervals.len() > told {
                if total(&intervals[told..]).0 > 0.0 {
                    progress = now;
                }
                told = intervals.len();
                match &begin {
                    None if now - start >= work.warmup => begin = Some(self.edge(told, now - start)?),
                    Some(begin) if now - begin.sample.at >= work.duration => {
                        if total(&intervals[begin.told..]).0 > 0.0 {
                            return self.close(begin, &intervals);
                        }
                        return self.stalled(now - progress);
                    }
                    _ => {}
                }
            }
            if now - progress > self.limits.stall {
                return self.stalled(now - progress);
            }
            self.pause()?;
        }
    }

    fn stalled<T>(&self, without: Duration) -> anyhow::Result<T> {
        let (name, seconds) = (self.system.name(), without.as_secs_f64());
        self.client()?.failed(&format!("brought no operation through for {seconds:.1} s: {name} has stalled"))
    }

    fn intervals(&self, reporter: &Started) -> anyhow::Result<Vec<Interval>> {
        Ok(self.system.intervals(&reporter.output(0)?))
    }

    fn edge(&self, told: usize, warmup: Duration) -> anyhow::Result<Edge> {
        let replicas: Vec<u32> = self.replicas.iter().map(|one| one.process.pid()).collect();
        let client = self.client()?;
        let sample = Sample::of_processes(&replicas, client.process.pid()).context("a process has ended")?;
        Ok(Edge { told, warmup, sample, printed: client.length()? })
    }

    fn close(&self, begin: &Edge, intervals: &[Interval]) -> anyhow::Result<Window> {
        let end = self.edge(intervals.len(), begin.warmup)?;
        let window = intervals[begin.told..].to_vec();
        let client = self.client()?;
        let replicas = self.replicas.iter().map(|one| peak_rss(one.process.pid()));
        Ok(Window {
            latency: self.system.latency(&window, &client.output(begin.printed)?),
            intervals: window,
            spent: end.sample.since(&begin.sample),
            warmup: begin.warmup,
            peak_rss: replicas.collect::<io::Result<_>>()?,
            client_peak_rss: peak_rss(client.process.pid())?,
        })
    }
}

/// Waits until a program has done its work.
fn finish(one: &Started, limit: Duration) -> anyhow::Result<()> {
    let deadline = Instant::now() + limit;
    loop {
        match one.process.ended()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return one.failed(&format!("failed ({status})")),
            None if Instant::now() > deadline => return one.failed(&format!("is not done after {limit:?}")),
            None => wait_for_end(std::iter::once(&one.process), POLL)?,
        }
    }
}

fn go(addresses: &[SocketAddr]) -> io::Result<()> {
    let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    addresses.iter().try_for_each(|address| socket.send_to(b"GO", address).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_gets_the_datagram_that_begins_a_run() {
        let sockets = [(); 5].map(|()| UdpSocket::bind(("127.0.0.1", 0)).expect("a free port"));
        let addresses: Vec<SocketAddr> = sockets.iter().map(|one| one.local_addr().expect("bound")).collect();
        go(&addresses).expect("sent");
        for socket in sockets {
            socket.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
            let mut text = [0; 8];
            let (length, _) = socket.recv_from(&mut text).expect("it came");
            assert_eq!(&text[..length], b"GO");
        }
    }

    #[test]
    fn a_line_that_is_being_written_is_not_read_yet() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let log = directory.path().join("log");
        let process = Process::start(&mut Command::new("true"), &log).expect("starts");
        let one = Started { name: "replica 0".to_owned(), process, log };
        let read = |written: &[u8], from| {
            fs::write(&one.log, written).expect("written");
            one.output(from).expect("readable")
        };
        assert_eq!(read(b"RPS: 1\nRPS: 23", 0), "RPS: 1\n");
        assert_eq!(read(b"RPS: 1\nRPS: 23\n", 7), "RPS: 23\n");
        assert_eq!(read(b"RPS", 0), "");
        assert_eq!(read(b"\xff\n", 0), "\u{fffd}\n", "whatever it is");
    }
}
