//! The program as its users run it: it ends in time, leaves a profile that measures, and no process behind.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::{CommandFactory as _, FromArgMatches as _};
use hypostyle::config::Profile;
use hypostyle_bench::bench::{self, Before, Places};
use hypostyle_bench::cli::{Cli, Command as Verb, RunArgs};
use hypostyle_bench::profile::take_over;
use hypostyle_bench::progress::Progress;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_hypostyle-tune");
const WORKLOAD: &str = "--auth ed25519 --client-auth mac --clients 2 --outstanding 20";

fn tune(arguments: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .args(arguments.split_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn last_object(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    serde_json::from_str(line).expect("the last line is a JSON object")
}

fn children(parent: &Child) -> Vec<u32> {
    let pid = parent.id();
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Whether a replica has this id: another program may have it by now, and git was a child too. A zombie has no command line.
fn runs(pid: u32) -> bool {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<&[u8]> = words.split(|byte| *byte == 0).collect();
    words.contains(&&b"replica"[..]) && words.contains(&&b"--parent"[..])
}

fn wait_for<T>(what: &str, patience: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} for {what}");
        thread::park_timeout(Duration::from_millis(10));
    }
}

/// Waits for the end and returns every child that was ever seen.
fn watch(child: &mut Child, patience: Duration) -> BTreeSet<u32> {
    let mut seen = BTreeSet::new();
    wait_for("the program to end", patience, || {
        seen.extend(children(child));
        child.try_wait().expect("it can be asked")
    });
    seen
}

/// The flags of `hypostyle-bench run` with this profile.
fn run_with(profile: &Path, out: &Path) -> RunArgs {
    let words = ["hypostyle-bench", "run", "--warmup", "200ms", "--duration", "500ms", "--profile"];
    let words = words.into_iter().map(PathBuf::from).chain([profile.into(), "--out".into(), out.into()]);
    let matches = Cli::command().try_get_matches_from(words).expect("parses");
    let Verb::Run(mut flags) = Cli::from_arg_matches(&matches).expect("parses").command else {
        panic!("it is run")
    };
    take_over(&mut flags, matches.subcommand_matches("run").expect("run")).expect("the profile is accepted");
    *flags
}

#[test]
fn it_ends_in_time_with_a_profile_that_runs_and_no_process_behind() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let (out, profile) = (directory.path().join("out"), directory.path().join("tuned.toml"));
    let mut command = tune(&format!("--budget 20s {WORKLOAD} --json"));
    command.arg("--out").arg(&out).arg("--profile-out").arg(&profile);
    let start = Instant::now();
    let mut child = command.spawn().expect("the program starts");
    let seen = watch(&mut child, Duration::from_secs(60));
    let took = start.elapsed();
    let output = child.wait_with_output().expect("it has ended");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // A second for the system to start it and to tell of its end.
    assert!(took < Duration::from_secs(21), "{took:?}");
    assert!(seen.len() >= 4, "there were replicas: {seen:?}");
    assert!(!seen.iter().any(|pid| runs(*pid)));

    let report = last_object(&output);
    let median = |which: &str| {
        report[which]["throughput_ops_per_s"]["median"]
            .as_f64()
            .unwrap_or_else(|| panic!("{which} in {report}"))
    };
    assert!(median("default") > 0.0 && median("chosen") > 0.0);
    assert!(median("chosen") >= median("default"), "no worse than the default: {report}");
    assert_eq!(report["trials"][0]["settings"]["pillars"], 1, "the default comes first");
    for file in ["points.csv", "manifest.json", "tune.json"] {
        assert!(out.join(file).exists(), "{file}");
    }

    let read = Profile::load(&profile).expect("it reads back");
    assert_eq!((read.workload.clients, read.workload.outstanding), (Some(2), Some(20)));
    assert!(read.why.is_some_and(|why| why.contains("CPU-µs an operation")));
    let flags = run_with(&profile, &directory.path().join("again"));
    assert_eq!((flags.pillars.first().copied(), flags.clients), (read.cluster.pillars, 2));
    let places = Places { program: PROGRAM.into(), cache: directory.path().to_owned() };
    let (again, ended) =
        bench::run(&flags, Before::Replaced, &places, &Progress::on_terminal()).expect("it runs");
    assert!(ended.is_none() && again.points.len() == 1, "{ended:?}");
    assert_eq!(Some(again.points[0].batch_max), read.cluster.batch_max.map(u64::from));
}

#[test]
fn an_interrupt_leaves_what_was_found() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let out = directory.path().join("out");
    let mut command = tune(&format!("--budget 10m --duration 300ms --warmup 100ms {WORKLOAD}"));
    let mut child = command.arg("--out").arg(&out).spawn().expect("the program starts");
    let rows = || fs::read_to_string(out.join("points.csv")).map_or(0, |text| text.lines().count());
    let patience = Duration::from_secs(60);
    wait_for("two points", patience, || (rows() > 2).then_some(()));
    let replicas = wait_for("replicas", patience, || {
        Some(children(&child)).filter(|seen| seen.len() == 4 && seen.iter().all(|pid| runs(*pid)))
    });
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT)
        .expect("the program runs");
    watch(&mut child, Duration::from_secs(20));
    let output = child.wait_with_output().expect("it has ended");
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    wait_for("the replicas to end", patience, || (!replicas.iter().any(|pid| runs(*pid))).then_some(()));
    let profile = Profile::load(out.join("profile.toml")).expect("it reads back");
    assert!(profile.why.is_some_and(|why| why.contains("ended early")));
    assert!(profile.measured.default.ops_per_s.is_some_and(|ops| ops > 0));
    let manifest = fs::read_to_string(out.join("manifest.json")).expect("written");
    assert!(manifest.contains("interrupted"), "{manifest}");
}

#[test]
fn wrong_usage_is_told_with_a_remedy_and_exit_code_2() {
    for (arguments, words) in [
        ("--n 5 --json", "4, 7, 10"),
        ("--pillars 1,2 --json", "--pillars"),
        ("--repeat 3 --json", "--repeat"),
        ("model --from /nowhere --json", "/nowhere/manifest.json"),
    ] {
        let output = tune(arguments).output().expect("the program starts");
        assert_eq!(output.status.code(), Some(2), "{arguments}");
        let told = last_object(&output)["error"].as_str().expect("a reason").to_owned();
        assert!(told.contains(words), "{arguments}: {told}");
    }
    assert_eq!(tune("--budget soon").output().expect("the program starts").status.code(), Some(2));
}

#[test]
fn every_committed_profile_can_be_read() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/profiles");
    let files: Vec<_> =
        std::fs::read_dir(directory).expect("profiles").map(|entry| entry.expect("a file").path()).collect();
    assert!(!files.is_empty());
    for file in files {
        let profile = hypostyle::config::Profile::load(&file).expect("as hypostyle-tune wrote it");
        assert!(profile.cluster.pillars.is_some(), "{}", file.display());
    }
}
