use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal, pidfd_open};
use tempfile::TempDir;

/// A child process that does not outlive this value: killed and reaped when it is dropped, when the program is
/// interrupted (after [`clean_up_on_interrupt`]) and, if it called [`die_with_parent`], whenever its parent ends.
///
/// The last holds for the parent *thread*: start children from one that lives as long as they should.
#[derive(Debug)]
pub struct Process {
    child: Arc<Mutex<Child>>,
    pid: u32,
}

impl Process {
    /// Starts `command` without input; what it prints goes to the file `log`.
    ///
    /// # Errors
    /// When the log can't be created or the program not be started.
    pub fn start(command: &mut Command, log: &Path) -> io::Result<Self> {
        let output = File::create(log)?;
        let errors = output.try_clone()?;
        // The registry is held over the start, so that an interrupt finds every child that was started.
        let mut registry = lock(&REGISTRY);
        if registry.closed {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "this program is about to end"));
        }
        let child = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn()?;
        let pid = child.id();
        let child = Arc::new(Mutex::new(child));
        registry.children.push(Arc::clone(&child));
        Ok(Self { child, pid })
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends it a signal. It isn't reaped: who was killed can still be asked for the CPU time it used.
    ///
    /// # Errors
    /// When it has ended and was asked for that.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        // The lock keeps it from being reaped, and its id from passing to another process, meanwhile.
        let child = lock(&self.child);
        Ok(rustix::process::kill_process(Pid::from_child(&child), signal)?)
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    /// When the system won't tell.
    pub fn ended(&self) -> io::Result<Option<ExitStatus>> {
        lock(&self.child).try_wait()
    }
}

/// Waits until one of `processes` ends, at most for `timeout`.
///
/// # Errors
/// When the system refuses.
pub(crate) fn wait_for_end<'a>(
    processes: impl Iterator<Item = &'a Process>,
    timeout: Duration,
) -> io::Result<()> {
    let open = |process: &Process| {
        let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw).ok_or(rustix::io::Errno::SRCH)?;
        pidfd_open(pid, PidfdFlags::empty())
    };
    let ends = match processes.map(open).collect::<Result<Vec<OwnedFd>, _>>() {
        Ok(ends) => ends,
        // One has ended, and was reaped, before this began to wait.
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let mut ends: Vec<PollFd<'_>> = ends.iter().map(|end| PollFd::new(end, PollFlags::IN)).collect();
    let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
    match rustix::event::poll(&mut ends, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        kill(&self.child);
        lock(&REGISTRY).children.retain(|child| !Arc::ptr_eq(child, &self.child));
    }
}

/// A directory that is removed when this value is dropped or the program is interrupted; what a killed program
/// left behind is removed by the next one.
#[derive(Debug)]
pub struct Scratch(TempDir);

impl Scratch {
    /// Creates one inside `parent`, which is created when missing.
    ///
    /// # Errors
    /// When the directory can't be created.
    pub fn inside(parent: &Path) -> io::Result<Self> {
        fs::create_dir_all(parent)?;
        remove_orphans(parent);
        let mut registry = lock(&REGISTRY);
        let directory =
            tempfile::Builder::new().prefix(&format!("{}-", std::process::id())).tempdir_in(parent)?;
        registry.scratch.push(directory.path().to_owned());
        Ok(Self(directory))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        lock(&REGISTRY).scratch.retain(|path| path != self.0.path());
    }
}

/// From now on Ctrl-C, SIGTERM and SIGHUP kill all children, remove all scratch directories and end this program.
///
/// # Errors
/// When another handler is in place.
pub fn clean_up_on_interrupt() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        let registry = lock(&REGISTRY);
        registry.children.iter().for_each(|child| kill(child));
        for path in &registry.scratch {
            let _ = fs::remove_dir_all(path);
        }
        for group in &registry.groups {
            let _ = fs::remove_dir(group);
        }
        // The registry stays locked: no child is started any more.
        std::process::exit(130);
    })?;
    Ok(())
}

/// Kills all children and starts no others: a measurement that is under way fails, and its program can say what it has
/// found so far.
pub fn end_all() {
    let mut registry = lock(&REGISTRY);
    registry.closed = true;
    registry.children.iter().for_each(|child| kill(child));
}

/// Called by a child at its start: it is killed when the thread that started it ends, however that comes.
///
/// # Errors
/// When `parent` has ended already, or the kernel refuses.
pub fn die_with_parent(parent: u32) -> anyhow::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let now = rustix::process::getppid().and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok());
    anyhow::ensure!(now == Some(parent), "the program that started this replica (pid {parent}) has ended");
    Ok(())
}

/// Becomes `program`, which is not ours and so can't call [`die_with_parent`] itself: the promise outlasts the change.
///
/// # Errors
/// When `parent` has ended already, or `program` can't be started.
pub fn become_guarded(parent: u32, program: &Path, arguments: &[OsString]) -> anyhow::Result<()> {
    die_with_parent(parent)?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| program.display().to_string())
}

/// Raises the limit of open files to what the system allows, for this process and its children to come.
/// Returns the limit in force.
#[must_use]
pub fn raise_open_files() -> u64 {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = rustix::process::setrlimit(Resource::Nofile, raised);
    rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

struct Registry {
    children: Vec<Arc<Mutex<Child>>>,
    scratch: Vec<PathBuf>,
    /// Control groups of children: directories that can be removed once these have ended.
    groups: Vec<PathBuf>,
    closed: bool,
}

/// A control group is removed on an interrupt too.
pub(crate) fn register_group(group: &Path) {
    lock(&REGISTRY).groups.push(group.to_owned());
}

/// It is gone.
pub(crate) fn forget_group(group: &Path) {
    lock(&REGISTRY).groups.retain(|other| other != group);
}

static REGISTRY: Mutex<Registry> =
    Mutex::new(Registry { children: Vec::new(), scratch: Vec::new(), groups: Vec::new(), closed: false });

/// A panic elsewhere must not keep children alive: a poisoned lock is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn kill(child: &Mutex<Child>) {
    let mut child = lock(child);
    let _ = child.kill();
    let _ = child.wait();
}

fn remove_orphans(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner =
            name.to_str().and_then(|name| name.split_once('-')).and_then(|(pid, _)| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_process_is_gone() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let process = Process::start(Command::new("sleep").arg("600"), &directory.path().join("log"))
            .expect("sleep starts");
        let entry = PathBuf::from(format!("/proc/{}", process.pid()));
        assert!(entry.exists() && process.ended().expect("can be asked").is_none());
        drop(process);
        assert!(!entry.exists());
    }

    #[test]
    fn an_end_is_waited_for_no_longer_than_asked() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let start =
            |command: &mut Command| Process::start(command, &directory.path().join("log")).expect("starts");
        let long = start(Command::new("sleep").arg("600"));
        wait_for_end([&long].into_iter(), Duration::from_millis(1)).expect("waited");
        assert!(long.ended().expect("can be asked").is_none());
        let short = start(&mut Command::new("true"));
        wait_for_end([&long, &short].into_iter(), Duration::from_secs(600)).expect("waited");
        assert!(short.ended().expect("can be asked").is_some_and(|status| status.success()));
        wait_for_end([&long, &short].into_iter(), Duration::from_secs(600)).expect("it has ended before");
    }

    #[test]
    fn scratch_directories_go_and_orphans_with_them() {
        let parent = tempfile::tempdir().expect("temporary directory");
        // No process has this id: the kernel's largest is below 2^22.
        let orphan = parent.path().join("4194999-left");
        let foreign = parent.path().join("notes");
        fs::create_dir(&orphan).expect("created");
        fs::create_dir(&foreign).expect("created");
        let scratch = Scratch::inside(parent.path()).expect("created");
        let path = scratch.path().to_owned();
        assert!(path.exists() && !orphan.exists() && foreign.exists());
        drop(scratch);
        assert!(!path.exists());
    }
}
