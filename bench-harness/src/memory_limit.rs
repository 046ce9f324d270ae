use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::children;

/// A control group that lets a process have so much memory and no more: the kernel kills it beyond that.
///
/// Dropping it removes it; its process must have ended by then.
#[derive(Debug)]
pub(crate) struct MemoryLimit {
    group: PathBuf,
}

/// Where control groups are mounted, and how this version of them says it.
struct Version {
    /// Groups are made in here.
    root: PathBuf,
    /// File that takes the limit.
    limit: &'static str,
    /// File that keeps swap from being used instead, and what it takes, unless that is the limit again.
    swap: (&'static str, Option<&'static str>),
}

impl MemoryLimit {
    /// Puts the process `pid` under a limit of `bytes`.
    ///
    /// # Errors
    /// When this machine or this user can't have it, with what would help.
    pub(crate) fn new(pid: u32, bytes: u64) -> anyhow::Result<Self> {
        let version = Version::of(Path::new("/sys/fs/cgroup"))?;
        let group = version.root.join(format!("{PREFIX}{pid}"));
        remove_orphans(&version.root);
        fs::create_dir(&group).with_context(|| format!("{}: --memory-limit needs root", group.display()))?;
        children::register_group(&group);
        let limit = Self { group };
        let write = |file: &str, text: &str| {
            let path = limit.group.join(file);
            fs::write(&path, text).with_context(|| path.display().to_string())
        };
        write(version.limit, &bytes.to_string())?;
        let (file, text) = version.swap;
        // Where the kernel doesn't count swap, there is no such file.
        if limit.group.join(file).exists() {
            write(file, text.unwrap_or(&bytes.to_string()))?;
        }
        write("cgroup.procs", &pid.to_string())?;
        Ok(limit)
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.group);
        children::forget_group(&self.group);
    }
}

const PREFIX: &str = "hypostyle-bench-";

/// What a killed program left behind: groups of processes that are gone.
fn remove_orphans(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

impl Version {
    fn of(mount: &Path) -> anyhow::Result<Self> {
        let first = mount.join("memory");
        if first.join("memory.limit_in_bytes").exists() {
            let swap = ("memory.memsw.limit_in_bytes", None);
            return Ok(Self { root: first, limit: "memory.limit_in_bytes", swap });
        }
        let controllers = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
        anyhow::ensure!(
            controllers.split_whitespace().any(|controller| controller == "memory"),
            "{}: no control groups for memory here, so --memory-limit can't be kept",
            mount.display()
        );
        let children = mount.join("cgroup.subtree_control");
        fs::write(&children, "+memory")
            .with_context(|| format!("{}: --memory-limit needs root", children.display()))?;
        Ok(Self { root: mount.to_owned(), limit: "memory.max", swap: ("memory.swap.max", Some("0")) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_control_groups_are_known() {
        let mount = tempfile::tempdir().expect("temporary directory");
        assert!(Version::of(mount.path()).is_err_and(|error| error.to_string().contains("--memory-limit")));
        fs::write(mount.path().join("cgroup.controllers"), "cpu memory pids\n").expect("written");
        assert_eq!(Version::of(mount.path()).expect("second").limit, "memory.max");
        let enabled = fs::read_to_string(mount.path().join("cgroup.subtree_control")).expect("written");
        assert_eq!(enabled, "+memory");
        fs::create_dir(mount.path().join("memory")).expect("created");
        fs::write(mount.path().join("memory/memory.limit_in_bytes"), "").expect("written");
        let first = Version::of(mount.path()).expect("first");
        assert_eq!((first.limit, first.swap.1), ("memory.limit_in_bytes", None));
    }
}
