//! `cargo verify instructions`: how many instructions an operation costs. Unlike seconds, they repeat on a busy machine.
//!
//! The workloads are the binary `instructions` of `hypostyle-tests`. callgrind counts only inside its function
//! `measured`, so that making keys and verifying signatures beforehand cost nothing; SHA-256's compression is told apart.

use crate::baseline::{Baseline, Counts, TOLERANCE_PERCENT, Verdict};
use crate::callgrind::{self, Count};
use crate::tools;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

const MACHINE: &str =
    if cfg!(all(target_arch = "x86_64", target_os = "linux")) { "x86_64-linux" } else { "another" };

/// Counts, then compares with the committed counts or replaces them.
pub(crate) fn run(bless: bool) -> ExitCode {
    if !tools::has_valgrind() {
        println!("valgrind is not installed: instruction counts skipped (apt-get install valgrind)");
        return ExitCode::SUCCESS;
    }
    match count_all().and_then(|counts| if bless { write(counts) } else { compare(&counts) }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            println!("\ncargo verify instructions: {message}");
            ExitCode::FAILURE
        }
    }
}

fn count_all() -> Result<Counts, String> {
    println!("==> instructions: building the workloads in release");
    let started = Instant::now();
    let binary = build()?;
    println!("    {:.1} s\n==> instructions: counting", started.elapsed().as_secs_f64());
    let names = tools::output_of(Command::new(&binary).arg("--list"))?;
    names.lines().map(|name| Ok((name.to_string(), count(&binary, name)?))).collect()
}

/// Builds the workloads and returns where cargo put them.
fn build() -> Result<PathBuf, String> {
    let mut command = tools::cargo();
    command.args(["build", "--release", "--locked", "--package", "hypostyle-tests", "--bin", "instructions"]);
    command.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let output = command.output().map_err(|error| format!("cargo could not be started: {error}"))?;
    if !output.status.success() {
        return Err("the workloads don't build".into());
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let found = messages.lines().rev().find_map(|line| Some(line.split_once("\"executable\":\"")?.1));
    let path = found.and_then(|rest| Some(rest.split_once('"')?.0));
    path.map(PathBuf::from).ok_or_else(|| "cargo named no executable".into())
}

/// Instructions per operation of one workload.
fn count(binary: &Path, name: &str) -> Result<f64, String> {
    let (Count { own, hashing }, printed) = callgrind::count(binary, name)?;
    let operations = printed.trim().strip_prefix("operations ").and_then(|number| number.parse().ok());
    match operations {
        Some(operations) if own > 0 && operations > 0 => {
            let (own, hashing) = (per(own, operations), per(hashing, operations));
            println!("    {name:<32}{own:>10.1}   and {hashing:>8.1} in SHA-256's compression");
            Ok(own)
        }
        _ => Err(format!("{name}: nothing was counted; it printed `{}`", printed.trim())),
    }
}

fn per(instructions: u64, operations: u64) -> f64 {
    instructions as f64 / operations as f64
}

fn baseline_path() -> PathBuf {
    tools::root().join("tests/instructions.toml")
}

fn compiler() -> String {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    tools::output_of(Command::new(compiler).arg("--version"))
        .unwrap_or_default()
        .split(" (")
        .next()
        .unwrap_or_default()
        .trim()
        .to_string()
}

fn write(counts: Counts) -> Result<(), String> {
    let path = baseline_path();
    let baseline = Baseline { machine: MACHINE.into(), compiler: compiler(), counts };
    fs::write(&path, baseline.to_toml()).map_err(|error| format!("{}: {error}", path.display()))?;
    println!("\nwritten to tests/instructions.toml");
    Ok(())
}

fn compare(counts: &Counts) -> Result<(), String> {
    let path = baseline_path();
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let baseline = Baseline::parse(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    if baseline.machine != MACHINE {
        println!("\nthe baseline is of {}, this is {MACHINE}: not compared", baseline.machine);
        return Ok(());
    }
    let verdicts = baseline.compare(counts);
    println!("\n==> against tests/instructions.toml ({})", baseline.compiler);
    for (name, verdict) in &verdicts {
        println!("    {name:<32}{}", worded(verdict));
    }
    if verdicts.values().all(Verdict::holds) {
        return Ok(());
    }
    Err(format!(
        "counts moved by more than {TOLERANCE_PERCENT} %. If that is meant: cargo verify instructions --bless, \
         and say why in the commit"
    ))
}

fn worded(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Same { percent } => format!("{percent:>+11.1} %"),
        Verdict::Differs { percent } => format!("{percent:>+11.1} %  FAILED"),
        Verdict::New => "not in the baseline  FAILED".into(),
        Verdict::Gone => "in the baseline, but no such workload  FAILED".into(),
    }
}
