use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::AddAssign;
use std::path::Path;

use serde::{Deserialize, Serialize};

use rustix::time::{ClockId, clock_gettime};

/// CPU time of a process since its start, threads that ended included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CpuTime {
    /// In user mode, µs.
    pub(crate) user_us: u64,
    /// In the kernel, µs.
    pub(crate) system_us: u64,
}

/// CPU time of the whole machine since boot, in clock ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MachineTime {
    /// Not idle, steal apart.
    pub(crate) busy: u64,
    /// Taken by the hypervisor.
    pub(crate) steal: u64,
    /// All of it.
    pub(crate) total: u64,
}

impl CpuTime {
    /// That of `pid`, from `/proc/PID/stat`.
    ///
    /// # Errors
    /// When there is no such process, or the kernel's answer can't be read.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        read_stat(Path::new(&format!("/proc/{pid}/stat")))
    }

    /// That of this process. The sum is exact, where `/proc` tells whole clock ticks: a generator may use only a few
    /// of them in a window.
    ///
    /// # Errors
    /// When the kernel's answer can't be read.
    pub(crate) fn of_this_process() -> io::Result<Self> {
        let split = Self::of(std::process::id())?;
        let sum = clock_gettime(ClockId::ProcessCPUTime);
        let seconds = u64::try_from(sum.tv_sec).unwrap_or(0);
        let total_us = seconds * 1_000_000 + u64::try_from(sum.tv_nsec).unwrap_or(0) / 1000;
        Ok(Self { user_us: total_us.saturating_sub(split.system_us), ..split })
    }
}

impl AddAssign for CpuTime {
    fn add_assign(&mut self, other: Self) {
        self.user_us += other.user_us;
        self.system_us += other.system_us;
    }
}

impl MachineTime {
    /// Up to now, from `/proc/stat`.
    ///
    /// # Errors
    /// When the kernel's answer can't be read.
    pub(crate) fn now() -> io::Result<Self> {
        parse_machine(&fs::read_to_string("/proc/stat")?).ok_or_else(|| unreadable("/proc/stat"))
    }
}

/// Time in which something on the machine waited for memory or a disk since boot, µs, from `/proc/pressure`; 0 where the
/// kernel doesn't tell.
#[must_use]
pub(crate) fn stalled_us() -> u64 {
    let of = |what| fs::read_to_string(format!("/proc/pressure/{what}")).ok();
    ["memory", "io"].into_iter().filter_map(of).filter_map(|text| parse_stalled(&text)).sum()
}

/// CPU time of the threads of `pid` that live, ns, by name: equal names together.
///
/// # Errors
/// When there is no such process, or the kernel's answer can't be read.
pub(crate) fn threads_cpu_ns(pid: u32) -> io::Result<BTreeMap<String, u64>> {
    let mut threads = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = task?.path();
        // A thread may end meanwhile.
        let Ok(name) = fs::read_to_string(path.join("comm")) else { continue };
        let Ok(cpu_ns) = task_cpu_ns(&path) else { continue };
        *threads.entry(name.trim_end().to_owned()).or_default() += cpu_ns;
    }
    Ok(threads)
}

/// That of this process's threads of this name.
///
/// # Errors
/// When the kernel's answer can't be read, or there is no such thread.
pub(crate) fn thread_cpu_ns(name: &str) -> io::Result<u64> {
    let none = || io::Error::new(io::ErrorKind::NotFound, format!("no thread is named {name}"));
    threads_cpu_ns(std::process::id())?.get(name).copied().ok_or_else(none)
}

/// From `schedstat`, which is exact; where the kernel doesn't keep it, from `stat`, in clock ticks.
fn task_cpu_ns(task: &Path) -> io::Result<u64> {
    let exact = fs::read_to_string(task.join("schedstat")).ok();
    if let Some(on_cpu) = exact.and_then(|text| text.split(' ').next()?.parse().ok()) {
        return Ok(on_cpu);
    }
    let CpuTime { user_us, system_us } = read_stat(&task.join("stat"))?;
    Ok((user_us + system_us) * 1000)
}

fn read_stat(path: &Path) -> io::Result<CpuTime> {
    let tick_us = 1_000_000 / rustix::param::clock_ticks_per_second().max(1);
    parse_stat(&fs::read_to_string(path)?, tick_us).ok_or_else(|| unreadable(&path.display().to_string()))
}

/// Peak resident memory of `pid` in bytes, from `/proc/PID/status`.
///
/// # Errors
/// When there is no such process, or the kernel's answer can't be read.
pub(crate) fn peak_rss(pid: u32) -> io::Result<u64> {
    let path = format!("/proc/{pid}/status");
    parse_peak_rss(&fs::read_to_string(&path)?).ok_or_else(|| unreadable(&path))
}

fn unreadable(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{path} is not as proc(5) describes it"))
}

/// The command's name may hold blanks and parentheses: fields are counted behind the last one.
fn parse_stat(text: &str, tick_us: u64) -> Option<CpuTime> {
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(CpuTime { user_us: ticks()? * tick_us, system_us: ticks()? * tick_us })
}

fn parse_machine(text: &str) -> Option<MachineTime> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_ascii_whitespace().map_while(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guest time is in user time already.
    let counted = ticks.get(..8)?;
    let total = counted.iter().sum::<u64>();
    Some(MachineTime { busy: total - counted[3] - counted[4] - counted[7], steal: counted[7], total })
}

fn parse_stalled(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with("some "))?;
    line.split(' ').find_map(|word| word.strip_prefix("total="))?.parse().ok()
}

fn parse_peak_rss(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_behind_a_hostile_command_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 250 125 0 0 20 0 4 0 12345 0 0";
        assert_eq!(parse_stat(stat, 10_000), Some(CpuTime { user_us: 2_500_000, system_us: 1_250_000 }));
        assert_eq!(parse_stat("42 (a) S 1", 10_000), None);
        assert_eq!(parse_stat("", 10_000), None);
    }

    #[test]
    fn machine_time_counts_guest_time_once() {
        let stat = "cpu  100 5 50 800 20 3 2 20 99 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(parse_machine(stat), Some(MachineTime { busy: 160, steal: 20, total: 1000 }));
        assert_eq!(parse_machine("cpu0 1 2 3\n"), None);
    }

    #[test]
    fn peak_memory_is_in_bytes() {
        assert_eq!(parse_peak_rss("Name:\tx\nVmHWM:\t   12 kB\nVmRSS:\t 8 kB\n"), Some(12 * 1024));
        assert_eq!(parse_peak_rss("Name:\tx\n"), None);
    }

    #[test]
    fn pressure_is_a_total() {
        let text = "some avg10=0.00 avg60=0.00 avg300=0.00 total=1234\nfull avg10=0.00 total=1\n";
        assert_eq!((parse_stalled(text), parse_stalled("")), (Some(1234), None));
    }

    #[test]
    fn this_process_is_found() {
        let pid = std::process::id();
        assert!(CpuTime::of(pid).is_ok() && CpuTime::of_this_process().is_ok());
        assert!(peak_rss(pid).expect("VmHWM of this process") > 0);
        assert!(MachineTime::now().expect("/proc/stat").total > 0);
    }

    #[test]
    fn threads_are_found_by_name() {
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let work = move || {
            while wait.try_recv().is_err_and(|error| error == std::sync::mpsc::TryRecvError::Empty) {}
        };
        let thread = std::thread::Builder::new().name("busy-1".into()).spawn(work).expect("starts");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while thread_cpu_ns("busy-1").map_or(true, |cpu_ns| cpu_ns == 0) {
            assert!(std::time::Instant::now() < deadline, "a busy thread costs nothing");
        }
        drop(done);
        thread.join().expect("ends");
        assert!(thread_cpu_ns("no such name").is_err());
    }
}
