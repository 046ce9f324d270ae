//! README's commands run as tests, in the order in which a reader types them; those of CONTRIBUTING exist. A command that
//! isn't known here fails.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use hypostyle::status::ReplicaStatus;
use hypostyle_tests::{poll, source};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);
/// What `init` takes unless it is told otherwise, and how many ports a cluster of four has from there on.
const BASE_PORT: u16 = 7400;
const PORTS: u16 = 12;

#[test]
fn the_commands_of_the_readme_run() {
    let programs = Programs::build();
    for block in shell_blocks("README.md") {
        let mut terminal = Terminal::new(&programs);
        block.iter().for_each(|line| terminal.type_in(line));
    }
}

#[test]
fn the_commands_of_contributing_exist() {
    let blocks = shell_blocks("CONTRIBUTING.md");
    for line in blocks.iter().flatten() {
        let words = words(line);
        assert_eq!(words[0], "cargo", "{line}");
        check_cargo(&words[1..]);
    }
}

#[test]
fn links_between_pages_lead_somewhere() {
    for page in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        let (text, folder) = (read(page), source::root().join(page));
        let targets = text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
        for target in targets.filter(|target| !target.starts_with("http")) {
            let (file, _) = target.split_once('#').unwrap_or((target, ""));
            assert!(folder.with_file_name(file).exists(), "{page} links to {target}");
        }
    }
}

#[test]
fn a_line_is_read_as_a_shell_reads_it() {
    assert_eq!(words("a 'b c'  --d=\"e f\" # g"), ["a", "b c", "--d=e f"]);
    assert_eq!(words("a#b ''"), ["a#b", ""]);
}

/// Where a reader types the lines of a block. What was started there ends with it.
struct Terminal<'a> {
    programs: &'a Programs,
    directory: TempDir,
    base_port: u16,
    running: Vec<Child>,
}

impl<'a> Terminal<'a> {
    fn new(programs: &'a Programs) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { programs, directory, base_port: free_ports(), running: Vec::new() }
    }

    fn type_in(&mut self, line: &str) {
        let words = words(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words[..] {
            ["export", "PATH=$PWD/target/release:$PATH"] => {}
            ["cargo", "demo", ..] => {
                check_cargo(&words[1..]);
                self.demo();
            }
            ["cargo", ..] => check_cargo(&words[1..]),
            ["hypostyle", "init", ..] => drop(self.finish(&self.with_base_port(&words))),
            ["hypostyle", "replica", home] => self.replicas(Path::new(home).parent().unwrap()),
            ["hypostyle", "local", ..] => self.local(&self.with_base_port(&words)),
            ["hypostyle", "call" | "status" | "order-log", ..] => {
                let printed = self.finish(&words).stdout;
                assert!(!printed.is_empty(), "{line}");
            }
            ["hypostyle-bench", "run", ..] => self.bench(&words),
            ["hypostyle-bench", "pillar-scaling", ..] => self.scaling(&words),
            ["hypostyle-bench", "sweep", ..] => self.sweep(&words),
            ["hypostyle-bench", "compare", ..] => self.compare(&words),
            ["hypostyle-tune", ..] => self.tune(&words),
            _ => panic!("README has a command that this test doesn't know: {line}"),
        }
    }

    fn command(&self, words: &[impl AsRef<str>]) -> Command {
        let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        let mut command = Command::new(self.programs.path(words[0]));
        let settings = std::env::vars_os().map(|(name, _)| name);
        for name in settings.filter(|name| name.to_string_lossy().starts_with("HYPOSTYLE_")) {
            command.env_remove(name);
        }
        command.args(&words[1..]).current_dir(&self.directory).stdin(Stdio::null());
        command
    }

    fn finish(&self, words: &[impl AsRef<str> + Debug]) -> Output {
        let output = self.command(words).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {errors}");
        output
    }

    /// The command as it is written, unless something else on this machine has its ports.
    fn with_base_port(&self, words: &[&str]) -> Vec<String> {
        let moved = (self.base_port != BASE_PORT).then(|| format!("--base-port={}", self.base_port));
        words.iter().copied().map(str::to_owned).chain(moved).collect()
    }

    /// All replicas of a cluster, as the line's comment asks for.
    fn replicas(&mut self, cluster: &Path) {
        let homes = fs::read_dir(self.directory.path().join(cluster)).unwrap().map(|entry| entry.unwrap());
        let homes: Vec<PathBuf> =
            homes.map(|entry| entry.path()).filter(|path| path.join("replica.toml").exists()).collect();
        for home in &homes {
            let mut command = self.command(&["hypostyle", "replica", home.to_str().unwrap()]);
            self.running.push(command.spawn().unwrap());
        }
        let cluster = cluster.to_str().unwrap();
        let ready = poll::eventually(PATIENCE, || {
            let ended = self.running.iter_mut().find_map(|child| child.try_wait().unwrap());
            assert_eq!(ended, None, "a replica ended");
            (self.ready(cluster) == homes.len()).then_some(())
        });
        ready.expect("the replicas become ready");
    }

    fn ready(&self, cluster: &str) -> usize {
        let output = self.command(&["hypostyle", "status", cluster, "--json"]).output().unwrap();
        let lines = output.stdout.lines().map(Result::unwrap);
        lines.filter(|line| serde_json::from_str::<ReplicaStatus>(line).unwrap().ready()).count()
    }

    /// Until it says that it runs; then Ctrl-C.
    fn local(&mut self, words: &[String]) {
        let child = self.command(words).stdout(Stdio::piped()).spawn().unwrap();
        self.running.push(child);
        let child = self.running.last_mut().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next().expect("it says that it runs").unwrap();
        assert!(first.ends_with("Ctrl-C ends them"), "{first}");
        kill_process(Pid::from_child(child), Signal::INT).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// With less work than the line asks for: it is about the command, not about its figures.
    fn bench(&self, words: &[&str]) {
        let value = |name| words.iter().position(|word| *word == name).map(|at| words[at + 1]);
        let mut less: Vec<&str> = Vec::new();
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            match *word {
                "--warmup" | "--duration" | "--repeat" | "--out" => drop(rest.next()),
                "--json" => {}
                word if word.starts_with("--presign") => less.push("--presign=4000"),
                word => less.push(word),
            }
        }
        less.extend([
            "--warmup",
            "200ms",
            "--duration",
            "1s",
            "--json",
            "--accept-marks",
            "--out",
            "figures",
        ]);
        assert_eq!(pillars_measured(&self.finish(&less)), value("--pillars").unwrap_or("1"));
        assert!(self.directory.path().join("figures/points.csv").exists());
    }

    /// The same, with the numbers after its flags replaced.
    fn scaling(&self, words: &[&str]) {
        let mut less = words.to_vec();
        for (index, word) in words.iter().enumerate() {
            match *word {
                "--operations" => less[index + 1] = "5000",
                "--repeat" => less[index + 1] = "1",
                _ => {}
            }
        }
        less.extend(["--out", "scaling"]);
        let printed = String::from_utf8(self.finish(&less).stdout).unwrap();
        assert!(printed.contains("two pillars on two cores : one on one"), "{printed}");
        assert!(self.directory.path().join("scaling/scaling.csv").exists());
    }

    /// The same over fewer loads.
    fn sweep(&self, words: &[&str]) {
        let mut less = words.to_vec();
        less.extend(["--outstanding", "1,10", "--warmup", "100ms", "--duration", "300ms", "--repeat", "1"]);
        less.extend(["--accept-marks", "--json", "--out", "sweep"]);
        assert_eq!(pillars_measured(&self.finish(&less)), "1,1,2,2");
        let page = fs::read_to_string(self.directory.path().join("sweep/report.html")).unwrap();
        assert!(page.contains("<svg"), "the page has figures");
    }

    /// Where the systems that it names aren't installed: ours is measured, and each of them is told with its directory.
    fn compare(&self, words: &[&str]) {
        let mut less = words.to_vec();
        less.extend([
            "--warmup",
            "100ms",
            "--duration",
            "300ms",
            "--repeat",
            "1",
            "--json",
            "--out",
            "compare",
        ]);
        let output = self.command(&less).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{errors}");
        for install in words.iter().filter_map(|word| word.split_once('=')) {
            assert!(errors.contains(install.1), "{install:?} in {errors}");
        }
        assert_eq!(pillars_measured(&output), "1");
    }

    /// With less time.
    fn tune(&self, words: &[&str]) {
        let mut less = words.to_vec();
        let budget = words.iter().position(|word| *word == "--budget").unwrap();
        less[budget + 1] = "12s";
        less.extend(["--out", "tune", "--profile-out", "profile.toml"]);
        self.finish(&less);
        assert!(self.directory.path().join("profile.toml").exists());
    }

    /// What `cargo demo` runs, as a debug build.
    fn demo(&self) {
        let output = self.finish(&["hypostyle-bench", "demo", "--json", "--out", "figures"]);
        assert_eq!(pillars_measured(&output), "1,2");
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        for child in &mut self.running {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The pillar counts of a measurement that ended well.
fn pillars_measured(output: &Output) -> String {
    let last = output.stdout.lines().last().unwrap().unwrap();
    let report: Value = serde_json::from_str(&last).unwrap();
    let points = report["points"].as_array().unwrap();
    assert!(points.iter().all(|point| point["state_digests_agree"] == true), "{report}");
    points.iter().map(|point| point["pillars"].to_string()).collect::<Vec<_>>().join(",")
}

/// This workspace's programs, as fresh as its sources.
struct Programs(BTreeMap<String, PathBuf>);

impl Programs {
    fn build() -> Self {
        let mut command = cargo(&["build", "--quiet", "--locked", "--workspace", "--bins"]);
        command.args(["--message-format", "json"]).args((!cfg!(debug_assertions)).then_some("--release"));
        let output = command.stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "the programs are not built");
        let messages =
            output.stdout.lines().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        let executables = messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
        let named = |path: PathBuf| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path);
        Self(executables.map(named).collect())
    }

    fn path(&self, name: &str) -> &Path {
        self.0.get(name).unwrap_or_else(|| panic!("no program {name} among {:?}", self.0))
    }
}

/// A cargo command is an alias of this repository or one of cargo's own, and every package it names exists.
fn check_cargo(arguments: &[impl AsRef<str>]) {
    let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
    let config: toml::Table = read(".cargo/config.toml").parse().unwrap();
    let alias = config["alias"].get(arguments[0]).map(|alias| alias.as_str().unwrap());
    let expanded: Vec<&str> = alias
        .iter()
        .flat_map(|alias| alias.split(' '))
        .chain(arguments[usize::from(alias.is_some())..].iter().copied())
        .collect();
    assert!(["build", "run", "test"].contains(&expanded[0]), "no such cargo command: {arguments:?}");
    for pair in expanded.windows(2).filter(|pair| ["-p", "--package"].contains(&pair[0])) {
        assert!(cargo(&["pkgid", "--locked", pair[1]]).output().unwrap().status.success(), "{arguments:?}");
    }
    if arguments[0] == "verify" {
        check_verify(&arguments[1..]);
    }
}

fn check_verify(steps: &[&str]) {
    let list = cargo(&["verify", "list"]).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let known: Vec<&str> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(known.contains(&"clippy"), "{list}");
    let fine = |step: &&str| known.contains(step) || ["instructions", "--bless", "list"].contains(step);
    assert!(steps.iter().all(fine), "cargo verify {steps:?}");
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(source::root()).stdin(Stdio::null());
    command
}

fn read(page: &str) -> String {
    fs::read_to_string(source::root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// The lines of every block that is marked as shell, without empty ones.
fn shell_blocks(page: &str) -> Vec<Vec<String>> {
    let text = read(page).replace("\\\n", "");
    let blocks: Vec<Vec<String>> = text
        .split("```sh\n")
        .skip(1)
        .map(|rest| rest.split_once("```").expect("a block that ends").0)
        .map(|block| block.lines().filter(|line| !words(line).is_empty()).map(str::to_owned).collect())
        .collect();
    assert!(!blocks.is_empty(), "{page} has commands");
    blocks
}

/// Words with quotes taken off and without the comment; nothing is expanded.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (None, '#') if word.is_none() => break,
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// A base port from README's on whose ports nobody has.
fn free_ports() -> u16 {
    let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    // Below those that the system hands out by itself.
    (BASE_PORT..30_000).step_by(20).find(|base| (*base..base + PORTS).all(free)).expect("free ports")
}
