//! The programs this one calls.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    // Where `cargo run` found us now; the path we were compiled at may have moved.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    PathBuf::from(here).join("../..")
}

/// cargo, in the root, without input.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).stdin(Stdio::null());
    command
}

pub(crate) fn has_nextest() -> bool {
    works(cargo().args(["nextest", "--version"]))
}

pub(crate) fn has_valgrind() -> bool {
    works(Command::new("valgrind").arg("--version").stdin(Stdio::null()))
}

fn works(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
