//! The programs this one calls.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    // Where `cargo run` found us now; the path we were compiled at may have moved.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&here).ancestors().nth(2).map_or_else(PathBuf::new, Path::to_path_buf)
}

/// cargo, in the root, without input.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// A program that cargo has built in a profile: beside the folder that this one lies in.
pub(crate) fn built(profile: &str, program: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let target = own.ancestors().nth(2).unwrap_or(Path::new("target"));
    target.join(profile).join(program)
}

pub(crate) fn has_nextest() -> bool {
    works(cargo().args(["nextest", "--version"]))
}

pub(crate) fn has_valgrind() -> bool {
    works(Command::new("valgrind").arg("--version").stdin(Stdio::null()))
}

/// What a program printed. A failure shows that and its errors.
pub(crate) fn output_of(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(printed);
    }
    Err(format!("{command:?}: {}\n{printed}{}", output.status, String::from_utf8_lossy(&output.stderr)))
}

fn works(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
