//! Kinds of load, end to end: open loops, several generators, faults, stores, and a sweep that goes on.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const FAST: &str = "--auth ed25519 --client-auth mac --accept-marks --warmup 200ms --json";

fn bench(arguments: &str, out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hypostyle-bench"));
    command.args(arguments.split_whitespace()).args(FAST.split_whitespace()).arg("--out").arg(out);
    command.stdin(Stdio::null());
    command
}

fn report(output: &Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last().expect("a line")).expect("an object")
}

fn measured(arguments: &str, out: &Path) -> Vec<Value> {
    let output = bench(arguments, out).output().expect("the program starts");
    report(&output)["points"].as_array().expect("a list").clone()
}

fn rows(file: &Path) -> Vec<csv::StringRecord> {
    let mut reader = csv::Reader::from_path(file).expect("opens");
    reader.records().map(|row| row.expect("a row")).collect()
}

#[test]
fn an_open_loop_offers_its_rate_whatever_is_answered() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let points = measured("run --clients 3 --rate 400 --arrivals constant --duration 2s", directory.path());
    let point = &points[0];
    assert_eq!((&point["load"], &point["offered_ops_per_s"]), (&"constant".into(), &400.into()));
    let number = |field: &str| point[field].as_f64().expect("a number");
    let due = 400.0 * number("measured_s");
    assert!((0.9 * due..1.1 * due).contains(&number("operations")), "{point}");
}

#[test]
fn a_killed_primary_shows_in_the_timeline() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let arguments =
        "run --clients 4 --rate 500 --duration 3s --fault crash:0@500ms --fault slow:0@100ms+100ms";
    let point = &measured(arguments, directory.path())[0];
    assert_eq!(point["fault"], "crash:0@500ms slow:0@100ms+100ms");
    assert!(point["view_changes"].as_u64() >= Some(1), "{point}");
    let rows = rows(&directory.path().join("timeline.csv"));
    assert!(rows.len() >= 58, "3 s in steps of 50 ms, the last one perhaps cut: {}", rows.len());
    let events: String = rows.iter().map(|row| &row[8]).collect::<Vec<_>>().join(" ");
    for event in
        ["replica 0 made slow", "replica 0 as fast as before", "replica 0 killed", "view changes so far"]
    {
        assert!(events.contains(event), "{event} in {events}");
    }
    let operations = |row: &csv::StringRecord| row[2].parse::<u64>().expect("a count");
    assert!(rows.iter().rev().take(20).map(operations).sum::<u64>() > 0, "it goes on in the new view");
}

#[test]
fn several_generators_share_the_clients_and_none_stays_behind() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let own = measured("run --clients 5 --outstanding 4 --generators 2 --duration 1s", directory.path());
    assert_eq!(own[0]["generators"], 2);
    assert!(own[0]["client_cpu_us_per_op"].as_f64() > Some(0.0), "{}", own[0]);
    let latencies = rows(&directory.path().join("timeline.csv"));
    assert!(latencies.iter().any(|row| &row[4] != "0.0"), "both parts' latencies are in it");

    let mut workers: Vec<(Child, String)> = (0..2).map(|_| worker()).collect();
    let addresses: Vec<&str> = workers.iter().map(|(_, address)| address.as_str()).collect();
    let arguments = format!(
        "run --clients 5 --rate 300 --worker {} --address 127.0.0.2 --duration 1s",
        addresses.join(",")
    );
    let there = measured(&arguments, directory.path());
    assert_eq!((&there[0]["generators"], &there[0]["offered_ops_per_s"]), (&2.into(), &300.into()));
    for (worker, _) in &mut workers {
        assert!(worker.try_wait().expect("can be asked").is_none(), "a worker serves on");
        worker.kill().expect("it runs");
        worker.wait().expect("it ends");
    }
    let nobody = bench(&arguments, directory.path()).output().expect("the program starts");
    assert_eq!(nobody.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("hypostyle-bench worker --listen"));
}

/// A worker and where it listens.
fn worker() -> (Child, String) {
    use std::io::BufRead as _;
    let mut command = Command::new(env!("CARGO_BIN_EXE_hypostyle-bench"));
    command.args(["worker", "--listen", "127.0.0.1:0"]).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut worker = command.spawn().expect("the program starts");
    let mut lines = std::io::BufReader::new(worker.stderr.take().expect("piped")).lines();
    let first = lines.next().expect("a line").expect("text");
    // Its later lines must find a reader.
    std::thread::spawn(move || lines.for_each(drop));
    let address = first.strip_prefix("listening on ").and_then(|rest| rest.split(';').next());
    (worker, address.expect("where it listens").to_owned())
}

#[test]
fn stores_and_a_ledger_do_what_they_are_asked() {
    let directory = tempfile::tempdir().expect("temporary directory");
    for (mix, records) in [("ycsb-a", 500), ("ycsb-e", 500), ("ledger", 0)] {
        let arguments =
            format!("run --workload {mix} --records 500 --clients 2 --outstanding 5 --duration 500ms");
        let point = &measured(&arguments, directory.path())[0];
        assert_eq!((&point["workload"], &point["records"]), (&mix.into(), &records.into()));
    }
}

#[test]
fn a_sweep_goes_on_where_it_was_interrupted() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let arguments = "sweep --pillars 1,2 --clients 2 --outstanding 1,20 --duration 300ms --repeat 2";
    let mut interrupted = bench(arguments, directory.path());
    let mut interrupted =
        interrupted.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
    let journal = directory.path().join("points.jsonl");
    let deadline = Instant::now() + Duration::from_secs(60);
    let finished = loop {
        let finished = std::fs::read_to_string(&journal).unwrap_or_default();
        if finished.lines().count() >= 2 {
            break finished;
        }
        assert!(Instant::now() < deadline, "waited a minute for two points");
        std::thread::sleep(Duration::from_millis(20));
    };
    let pid = rustix::process::Pid::from_child(&interrupted);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    assert_eq!(interrupted.wait().expect("it ends").code(), Some(130));

    let output = bench(arguments, directory.path()).output().expect("the program starts");
    let whole = report(&output);
    assert_eq!(whole["points"].as_array().map(Vec::len), Some(8));
    let journal = std::fs::read_to_string(&journal).expect("there");
    assert!(journal.starts_with(&finished), "what was measured is not measured again");
    let curves = whole["curves"].as_array().expect("a list");
    assert_eq!(curves.len(), 2, "{whole}");

    let other = bench("sweep --pillars 1 --clients 3 --outstanding 1 --duration 300ms", directory.path());
    let output = { other }.output().expect("the program starts");
    assert_eq!(output.status.code(), Some(2), "another sweep's directory");
}
