use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::children::{Process, die_with_parent};
use crate::cli::WorkerArgs;
use crate::generator;
use crate::load::Milestone;
use crate::remote::{Answer, Line, Seen, Tell};

/// Makes the loads that others ask for, one after the other, until it is killed.
///
/// # Errors
/// When it can't listen.
pub fn run(arguments: &WorkerArgs) -> anyhow::Result<()> {
    if let Some(parent) = arguments.parent {
        die_with_parent(parent)?;
    }
    let listener = TcpListener::bind(arguments.listen)
        .with_context(|| format!("{}: choose another address with --listen", arguments.listen))?;
    eprintln!("listening on {}; Ctrl-C ends it", listener.local_addr()?);
    loop {
        let (stream, from) = listener.accept()?;
        match serve(stream) {
            Ok(()) => eprintln!("a load for {from} is done"),
            Err(error) => eprintln!("a load for {from} failed: {error:#}"),
        }
    }
}

/// A worker on this machine that ends with this process; what it says goes to `log`.
///
/// # Errors
/// When it can't be started.
pub(crate) fn spawn(program: &Path, listen: SocketAddr, log: &Path) -> anyhow::Result<Process> {
    let mut command = Command::new(program);
    command.arg0("hypostyle-bench").args(["worker", "--listen", &listen.to_string()]);
    command.args(["--parent", &std::process::id().to_string()]);
    Process::start(&mut command, log).with_context(|| format!("{}: doesn't start", program.display()))
}

/// An order waits this long at most before it is looked at.
const POLL: Duration = Duration::from_millis(1);
/// Who connects says within this time what for: others wait.
const JOB_TIMEOUT: Duration = Duration::from_secs(30);

fn serve(stream: TcpStream) -> anyhow::Result<()> {
    let mut line = Line::new(stream)?;
    let result = load(&mut line);
    if let Err(error) = &result {
        // Who is gone can't be told.
        let _ = line.tell(&Answer::Failed(format!("{error:#}")));
    }
    result
}

fn load(line: &mut Line) -> anyhow::Result<()> {
    let deadline = Instant::now() + JOB_TIMEOUT;
    let job = loop {
        match line.hear()? {
            None => anyhow::ensure!(Instant::now() < deadline, "no job within {JOB_TIMEOUT:?}"),
            Some(Tell::Job(job)) => break job,
            Some(other) => anyhow::bail!("{other:?} before a job"),
        }
    };
    let mut running = generator::start(job.part()?)?;
    let mut milestones = [Milestone::Connected, Milestone::WindowBegan, Milestone::WindowEnded].into_iter();
    let mut awaited = milestones.next();
    loop {
        if let Some(milestone) = awaited
            && running.came(milestone, POLL)?
        {
            line.tell(&Answer::Came(milestone))?;
            awaited = milestones.next();
        }
        match line.hear()? {
            None => {}
            Some(Tell::Begin) => running.begin(),
            Some(Tell::Finish) => {
                let outcome = running.finish()?;
                return line.tell(&Answer::Done(Box::new(Seen::of(&outcome))));
            }
            Some(Tell::Job(_)) => anyhow::bail!("a second job"),
        }
    }
}
