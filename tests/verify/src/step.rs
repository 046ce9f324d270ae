//! The steps of `cargo verify` and the commands each runs.

use crate::closing::Closing;
use crate::tools;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

/// One check. [`STEPS`] is their order: the quick ones first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Step {
    Format,
    Clippy,
    Tests,
    Doctests,
    Docs,
    Simulator,
}

pub(crate) const STEPS: &[Step] =
    &[Step::Format, Step::Clippy, Step::Tests, Step::Doctests, Step::Docs, Step::Simulator];

/// Simulated runs: some minutes of two cores.
const SEEDS: &str = "4000";

/// Why a step failed.
pub(crate) struct Failure {
    pub(crate) what: String,
    pub(crate) closing: Vec<String>,
}

impl Step {
    /// As the command line takes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Format => "fmt",
            Self::Clippy => "clippy",
            Self::Tests => "tests",
            Self::Doctests => "doctests",
            Self::Docs => "docs",
            Self::Simulator => "sim",
        }
    }

    /// What it checks, in a line.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Format => "the code is formatted (cargo fmt --check)",
            Self::Clippy => "no warning of rustc or clippy in any target",
            Self::Tests => "unit, property, scenario and process tests (cargo-nextest where it is installed)",
            Self::Doctests => "the examples in the documentation",
            Self::Docs => "the documentation builds without a warning",
            Self::Simulator => {
                "simulated clusters with every fault, one a seed, break no invariant and miss no mark"
            }
        }
    }

    /// Runs its commands; returns what the test runners said at their end.
    pub(crate) fn run(self) -> Result<Vec<String>, Failure> {
        let mut closing = Closing::default();
        for mut command in self.commands() {
            println!("    {}", shown(&command));
            let status =
                if self.is_tests() { run_tests(&mut command, &mut closing) } else { command.status() };
            if let Some(what) = complaint(&command, status) {
                return Err(Failure { what, closing: closing.lines() });
            }
        }
        Ok(closing.lines())
    }

    fn is_tests(self) -> bool {
        matches!(self, Self::Tests | Self::Doctests)
    }

    fn commands(self) -> Vec<Command> {
        match self {
            Self::Format => vec![cargo(&["fmt", "--all", "--check"])],
            Self::Clippy => {
                vec![cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])]
            }
            Self::Tests if tools::has_nextest() => {
                vec![cargo(&["nextest", "run", "--workspace", "--locked"])]
            }
            Self::Tests => plain_tests(),
            Self::Doctests => vec![cargo(&["test", "--doc", "--workspace", "--locked", "--no-fail-fast"])],
            Self::Docs => {
                let mut command = cargo(&["doc", "--workspace", "--no-deps", "--locked"]);
                command.env("RUSTDOCFLAGS", "-D warnings");
                vec![command]
            }
            Self::Simulator => {
                let sim =
                    ["run", "--locked", "--profile", "sim", "--package", "hypostyle-tests", "--bin", "sim"];
                // A seed is the same run in every build: what that has just built is compared with one for development.
                let mut same = cargo(&["run", "--locked", "--package", "hypostyle-tests", "--bin", "sim"]);
                same.args(["--", "same-as"]).arg(tools::built("sim", "sim"));
                vec![cargo(&[&sim[..], &["--", "run", "--all-marks", "--seeds", SEEDS]].concat()), same]
            }
        }
    }
}

/// Without nextest: integration tests one at a time, since some start whole clusters (`.config/nextest.toml` says
/// which; libtest can't tell them apart).
fn plain_tests() -> Vec<Command> {
    let units =
        cargo(&["test", "--workspace", "--locked", "--no-fail-fast", "--lib", "--bins", "--examples"]);
    let mut integration = cargo(&["test", "--workspace", "--locked", "--no-fail-fast", "--test", "*"]);
    integration.env("RUST_TEST_THREADS", "1");
    vec![units, integration]
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = tools::cargo();
    command.args(arguments);
    command
}

/// The command as one would type it.
fn shown(command: &Command) -> String {
    let settings = command.get_envs().filter_map(|(name, value)| {
        value.map(|value| format!("{}=\"{}\"", name.to_string_lossy(), value.to_string_lossy()))
    });
    let words = command.get_args().map(|word| match word.to_string_lossy() {
        word if word == "*" => "'*'".to_string(),
        word => word.into_owned(),
    });
    settings.chain(["cargo".to_string()]).chain(words).collect::<Vec<_>>().join(" ")
}

fn complaint(command: &Command, status: io::Result<ExitStatus>) -> Option<String> {
    match status {
        Ok(status) if status.success() => None,
        Ok(status) => Some(format!("`{}` failed: {status}", shown(command))),
        Err(error) => Some(format!("`{}` could not be started: {error}", shown(command))),
    }
}

/// Runs a test runner with its output passed on line by line, and keeps the lines it closes with.
fn run_tests(command: &mut Command, closing: &mut Closing) -> io::Result<ExitStatus> {
    if io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let errors = child.stderr.take();
    let reader = thread::spawn(move || pass_on(errors, io::stderr()));
    let of_output = pass_on(child.stdout.take(), io::stdout());
    let of_errors = reader.join().unwrap_or_default();
    closing.add(of_output);
    closing.add(of_errors);
    child.wait()
}

fn pass_on(from: Option<impl Read>, mut to: impl Write) -> Closing {
    let mut closing = Closing::default();
    let Some(from) = from else { return closing };
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while matches!(from.read_until(b'\n', &mut line), Ok(read) if read > 0) {
        // A reader of ours that has gone away must not stop the tests.
        let _ = to.write_all(&line);
        closing.line(&String::from_utf8_lossy(&line));
        line.clear();
    }
    closing
}
