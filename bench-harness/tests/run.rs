//! The program as its users run it: figures, files, exit codes, and no process left behind.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

fn bench(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hypostyle-bench"));
    command.args(arguments.split_whitespace());
    command
}

fn finish(mut command: Command) -> Output {
    command.stdin(Stdio::null()).output().expect("the program starts")
}

fn last_object(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().expect("a line of output");
    serde_json::from_str(line).expect("the last line is a JSON object")
}

#[test]
fn a_run_prints_and_leaves_its_figures() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let out = directory.path().join("out");
    let mut command = bench(
        "run --n 4 --pillars 1,2 --auth ed25519 --batch-max 50 --clients 2 --outstanding 10 --presign=4000 --accept-marks --warmup 200ms \
         --duration 1s --json --out",
    );
    command.arg(&out);
    let output = finish(command);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let report = last_object(&output);
    let points = report["points"].as_array().expect("a list");
    assert_eq!(points.len(), 2, "{report}");
    for (point, pillars) in points.iter().zip([1, 2]) {
        check_point(point, pillars);
    }
    assert!(errors.contains("throughput"), "the table is for a person: {errors}");
    check_files(&out, 2);
}

fn check_point(point: &Value, pillars: u64) {
    assert_eq!(point["pillars"], pillars);
    assert_eq!((&point["n"], &point["f"], &point["auth"]), (&4.into(), &1.into(), &"ed25519".into()));
    assert_eq!(point["state_digests_agree"], true);
    let number = |field: &str| point[field].as_f64().unwrap_or_else(|| panic!("{field} in {point}"));
    for field in [
        "measured_s",
        "operations",
        "throughput_ops_per_s",
        "replica_cpu_us_per_op",
        "replica_cpu_us_per_op_scaled",
        "client_cpu_us_per_op",
        "rss_mb_max",
        "ops_per_batch",
        "statements_per_bundle",
        "signatures_per_op",
        "syscalls_per_op",
        "allocations_per_op",
    ] {
        assert!(number(field) > 0.0, "{field} in {point}");
    }
    assert!(
        number("verifications_per_op") >= 4.0,
        "every replica verifies every client's signature: {point}"
    );
    assert!(point["latency_us"]["p50"].as_f64() <= point["latency_us"]["p99"].as_f64(), "{point}");
    assert!(point["acknowledged_operations"].as_u64() >= point["operations"].as_u64(), "{point}");
}

fn check_files(out: &Path, points: usize) {
    let csv = std::fs::read_to_string(out.join("points.csv")).expect("points.csv");
    assert_eq!(csv.lines().count(), points + 1, "{csv}");
    let manifest = std::fs::read_to_string(out.join("manifest.json")).expect("manifest.json");
    let manifest: Value = serde_json::from_str(&manifest).expect("JSON");
    assert_eq!((&manifest["points"], &manifest["error"]), (&points.into(), &Value::Null));
    assert_eq!(manifest["configurations"].as_array().map(Vec::len), Some(points));
    let files = std::fs::read_dir(out).expect("the directory");
    let logs = files
        .filter(|file| file.as_ref().is_ok_and(|file| file.path().extension().is_some_and(|e| e == "hlog")));
    assert_eq!(logs.count(), points);
}

#[test]
fn wrong_usage_is_told_with_a_remedy_and_exit_code_2() {
    let output = finish(bench("run --n 5 --json"));
    assert_eq!(output.status.code(), Some(2));
    assert!(last_object(&output)["error"].as_str().expect("a reason").contains("4, 7, 10"));
    assert_eq!(finish(bench("run --duration never")).status.code(), Some(2));
}

#[test]
fn replicas_end_with_an_interrupted_and_with_a_killed_parent() {
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::KILL] {
        let mut parent =
            bench("run --auth ed25519 --clients 1 --outstanding 2 --warmup 100s --duration 100s");
        let mut parent =
            parent.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
        let replicas = wait_for("four replicas", || children(&parent).filter(|children| children.len() == 4));
        let pid = rustix::process::Pid::from_child(&parent);
        rustix::process::kill_process(pid, signal).expect("the program runs");
        parent.wait().expect("it ends");
        wait_for("the replicas to end", || replicas.iter().all(|pid| !runs(*pid)).then_some(()));
    }
}

fn children(parent: &Child) -> Option<Vec<u32>> {
    let pid = parent.id();
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    list.split_whitespace().map(|pid| pid.parse().ok()).collect()
}

/// A zombie whose new parent doesn't reap it has ended as well.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, fields)| !matches!(fields.trim_start().chars().next(), Some('Z' | 'X')))
}

fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited a minute for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn one_replica_alone_does_all_that_was_recorded_in_each_way() {
    if std::thread::available_parallelism().is_ok_and(|cores| cores.get() < 2) {
        let output = finish(bench("pillar-scaling"));
        assert_eq!(output.status.code(), Some(2), "it says that one core is too few");
        return;
    }
    let directory = tempfile::tempdir().expect("temporary directory");
    let mut command = bench(
        "pillar-scaling --operations 4000 --batch-max 20 --bundle 4 --clients 6 --repeat 2 --json --out",
    );
    command.arg(directory.path());
    let output = finish(command);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let report = last_object(&output);
    let played = report["played"].as_array().expect("a list");
    assert_eq!(played.len(), 8, "four ways, twice: {report}");
    for one in played {
        assert!(one["operations"].as_u64() >= Some(4000), "{one}");
        assert!(
            one["cpu_ns_per_op"].as_f64() > Some(0.0) && one["verifications_per_op"].as_f64() > Some(0.0)
        );
        let apart = one["threads"].as_str().is_some_and(|threads| threads.contains("worker | executor"));
        assert!(!apart || one["executor_ns_per_op"].as_f64() > Some(0.0), "{one}");
    }
    assert!(report["scaling"]["median"].as_f64() > Some(0.0) && errors.contains("serial part"), "{errors}");
    let rows = std::fs::read_to_string(directory.path().join("scaling.csv")).expect("there");
    assert_eq!(rows.lines().count(), 9, "{rows}");
    assert!(directory.path().join("manifest.json").exists());
}
