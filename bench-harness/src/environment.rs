use std::fs;
use std::path::Path;
use std::process::Command;

use hypostyle::crypto::sha256;
use serde::{Deserialize, Serialize};

/// The machine and its state when a measurement began: what a reader needs to judge it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// The processor's own name.
    pub cpu_model: String,
    /// Cores this process may use.
    pub cores: usize,
    /// Threads a core, as far as the kernel tells.
    pub threads_per_core: Option<usize>,
    /// Frequency governor of the first core.
    pub governor: Option<String>,
    /// Kernel release.
    pub kernel: String,
    /// Memory of the machine, MB of 10^6 bytes.
    pub memory_mb: u64,
    /// Load averages over 1, 5 and 15 minutes.
    pub load: String,
    /// Share of the last 10 s in which something waited for a processor, %.
    pub cpu_pressure_avg10: Option<f64>,
    /// Limit of open files.
    pub open_files: u64,
    /// Profile this program was built with.
    pub build: String,
}

impl Environment {
    /// Asks the system. What it doesn't tell is "unknown".
    #[must_use]
    pub fn now(open_files: u64) -> Self {
        let cpuinfo = read("/proc/cpuinfo");
        let meminfo = read("/proc/meminfo");
        Self {
            cpu_model: field(&cpuinfo, "model name").unwrap_or("unknown").to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            threads_per_core: threads_per_core(&cpuinfo),
            governor: non_empty(read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
            kernel: non_empty(read("/proc/sys/kernel/osrelease")).unwrap_or_else(|| "unknown".into()),
            memory_mb: field(&meminfo, "MemTotal").and_then(kib).unwrap_or(0) * 1024 / 1_000_000,
            load: read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
            cpu_pressure_avg10: pressure(&read("/proc/pressure/cpu")),
            open_files,
            build: if cfg!(debug_assertions) { "dev" } else { "release" }.into(),
        }
    }
}

/// The commit of the sources this program was built from, "-dirty" when files differ from it.
#[must_use]
pub fn commit() -> String {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(sources).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "HEAD"]) else { return "unknown".into() };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if changes.is_empty() => commit,
        _ => format!("{commit}-dirty"),
    }
}

/// Digest of this program's file: another build measures something else, whatever its commit says.
#[must_use]
pub fn program() -> String {
    fs::read("/proc/self/exe").map_or_else(|_| "unknown".into(), |bytes| sha256(&[&bytes]).to_string())
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn non_empty(text: String) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':')).map(str::trim)
}

fn kib(text: &str) -> Option<u64> {
    text.strip_suffix("kB")?.trim().parse().ok()
}

fn threads_per_core(cpuinfo: &str) -> Option<usize> {
    let siblings = field(cpuinfo, "siblings")?.parse::<usize>().ok()?;
    siblings.checked_div(field(cpuinfo, "cpu cores")?.parse().ok()?)
}

fn pressure(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with("some"))?;
    line.split(' ').find_map(|word| word.strip_prefix("avg10="))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_tables_are_read() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nsiblings\t: 4\ncpu cores\t: 2\n";
        assert_eq!(field(cpuinfo, "model name"), Some("Some CPU @ 2 GHz"));
        assert_eq!(threads_per_core(cpuinfo), Some(2));
        assert_eq!(field("MemTotal:       1024 kB\n", "MemTotal").and_then(kib), Some(1024));
        assert_eq!(pressure("some avg10=1.50 avg60=0.00 avg300=0.00 total=1\n"), Some(1.5));
        assert_eq!(pressure(""), None);
    }

    #[test]
    fn this_machine_tells_its_cores() {
        assert!(Environment::now(1024).cores >= 1);
    }
}
