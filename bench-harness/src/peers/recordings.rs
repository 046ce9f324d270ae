//! All recorded runs, where their folder is at hand: what the parsers find is what was seen beside each run.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::output::{Interval, total, trouble};
use super::{Auth, Reporter, System};

const SYSTEMS: [System; 3] = [System::BftSmart, System::Reptor, System::Themis];

fn recordings() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/peer-recordings");
    folder.is_dir().then_some(folder)
}

struct Recording {
    folder: PathBuf,
    name: String,
    told: Value,
}

impl Recording {
    fn all_of(system: System, folder: &Path) -> Vec<Self> {
        let runs = fs::read_dir(folder.join(system.flag())).expect("a folder for each system");
        let runs = runs.flatten().map(|run| run.path()).map(|folder| {
            let told = fs::read_to_string(folder.join("run.json")).expect("each run has one");
            let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
            Self { told: serde_json::from_str(&told).expect("JSON"), name, folder }
        });
        runs.collect()
    }

    /// What a process printed, as the launcher's log has it: both its outputs.
    fn output(&self, process: &str) -> String {
        let read =
            |kind| fs::read_to_string(self.folder.join(format!("{process}.{kind}"))).unwrap_or_default();
        read("stdout") + &read("stderr")
    }

    fn reporter(&self, system: System) -> String {
        match system.reporter() {
            Reporter::Client => self.output("client"),
            Reporter::Replica => self.output("replica0"),
        }
    }

    fn replicas(&self) -> Vec<String> {
        (0..4).map(|id| self.output(&format!("replica{id}"))).collect()
    }

    fn window(&self, field: &str) -> f64 {
        self.told["window"][field].as_f64().unwrap_or_else(|| panic!("{field} of {}", self.name))
    }
}

/// The intervals in a row that hold these operations.
fn in_a_row(intervals: &[Interval], operations: f64) -> Option<&[Interval]> {
    let runs = (0..intervals.len()).flat_map(|from| (from + 1..=intervals.len()).map(move |to| from..to));
    runs.map(|run| &intervals[run]).find(|run| (total(run).0 - operations).abs() < 0.5)
}

#[test]
fn every_run_shows_the_figures_that_were_seen_beside_it() {
    let Some(folder) = recordings() else { return };
    for (system, expected) in SYSTEMS.into_iter().zip([2, 5, 2]) {
        let runs = Recording::all_of(system, &folder);
        let whole = runs
            .iter()
            .filter(|run| !["fail", "stall", "demo"].iter().any(|word| run.name.starts_with(word)));
        let checked = whole.map(|run| {
            let intervals = system.intervals(&run.reporter(system));
            let window = in_a_row(&intervals, run.window("ops"));
            let (operations, seconds) =
                total(window.unwrap_or_else(|| panic!("{}: {intervals:?}", run.name)));
            let difference = operations / seconds / run.window("ops_per_s") - 1.0;
            assert!(difference.abs() < 0.005, "{}: {difference}", run.name);
            assert!(run.replicas().iter().all(|output| system.replica_is_ready(output)), "{}", run.name);
            let client = run.output("client");
            assert!(system.load_has_begun(&client) && system.client_is_ready(&client), "{}", run.name);
            assert_eq!(run.replicas().iter().find_map(|output| trouble(output)), None, "{}", run.name);
        });
        assert_eq!(checked.count(), expected, "{system:?}");
    }
}

#[test]
fn latencies_are_told_as_far_as_a_system_tells_them() {
    let Some(folder) = recordings() else { return };
    for system in SYSTEMS {
        for run in
            Recording::all_of(system, &folder).iter().filter(|run| run.told["window"]["ops"].is_number())
        {
            let intervals = system.intervals(&run.reporter(system));
            let told = system.latency(&intervals, &run.output("client"));
            let has_percentiles = system == System::BftSmart && !run.name.starts_with("demo");
            assert_eq!(told.p50_us.is_some(), has_percentiles, "{}", run.name);
            assert!(told.mean_us.is_some() || run.name.starts_with("demo"), "{}", run.name);
        }
    }
}

#[test]
fn every_failing_start_is_told() {
    let Some(folder) = recordings() else { return };
    for (system, expected) in SYSTEMS.into_iter().zip([3, 2, 3]) {
        let runs = Recording::all_of(system, &folder);
        let failing = runs.iter().filter(|run| run.name.starts_with("fail"));
        let checked = failing.map(|run| {
            let mut outputs = run.replicas();
            assert!(!outputs.iter().all(|output| system.replica_is_ready(output)), "{}", run.name);
            outputs.push(run.output("client"));
            assert!(outputs.iter().all(|output| system.intervals(output).is_empty()), "{}", run.name);
            let cause = outputs.iter().find_map(|output| trouble(output));
            // Its clients wait for replicas for ever and say nothing.
            let silent = system == System::Themis && run.name == "fail-client-no-replicas";
            assert_eq!(cause.is_none(), silent, "{}", run.name);
            if run.name.contains("port-in-use") {
                assert!(cause.is_some_and(|cause| cause.contains("port")), "{}", run.name);
            }
        });
        assert_eq!(checked.count(), expected, "{system:?}");
    }
}

#[test]
fn a_stall_is_intervals_without_operations() {
    let Some(folder) = recordings() else { return };
    for run in Recording::all_of(System::Reptor, &folder).iter().filter(|run| run.name.starts_with("stall")) {
        let intervals = System::Reptor.intervals(&run.output("client"));
        assert!(!intervals.is_empty() && total(&intervals).0 == 0.0, "{}", run.name);
    }
}

#[test]
fn what_reptor_says_is_in_force_is_what_was_seen() {
    let Some(folder) = recordings() else { return };
    for run in Recording::all_of(System::Reptor, &folder) {
        let auth = if run.name.contains("rsa") { Auth::R } else { Auth::D };
        for output in run
            .replicas()
            .iter()
            .filter(|output| !output.is_empty() && System::Reptor.replica_is_ready(output))
        {
            assert_eq!(System::Reptor.check_authentication(auth, output), Ok(()), "{}", run.name);
            assert!(System::Reptor.check_authentication(Auth::T, output).is_err(), "{}", run.name);
        }
    }
}
