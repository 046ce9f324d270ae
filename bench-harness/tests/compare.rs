//! `compare` as its users run it, with stand-ins for their installs that behave as documented: figures, failures, and no
//! process left behind.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags};
use serde_json::Value;

/// BFT-SMaRt and Reptor as one `java`; `$BFT` and `$REPTOR` say how each behaves.
const JAVA: &str = r#"
for word in "$@"; do case $word in bftsmart.*|reptor.start.*) main=$word ;; esac; done
while [ "$1" != "$main" ]; do shift; done
shift
case $main in
bftsmart.benchmark.ThroughputLatencyServer)
    grep -q '^3 127.0.0.1 ' config/hosts.config && [ -e config/keysSSL_TLS/EC_KeyPair_256.pkcs12 ] || exit 7
    if [ $BFT = port ] && [ $1 = 0 ]; then
        echo 'java.net.BindException: Address already in use' >&2
        exit 1
    fi
    [ $BFT = port ] && exec sleep 600
    echo '-- Ready to process operations'
    [ $1 = 0 ] || exec sleep 600
    while :; do
        sleep 0.1
        echo '-- (clients[#]|requests[#]|delta[ns]|throughput[ops/s], max[ops/s])>(8|500|100000000|5000|5000)'
    done ;;
bftsmart.benchmark.ThroughputLatencyClient)
    echo 'Executing experiment'
    if [ $BFT = no-results ]; then
        echo 'Exception in thread "Thread-1" java.lang.RuntimeException: Impossible to connect to servers!' >&2
        exit 0
    fi
    while :; do echo '-- M-global: 2000000'; sleep 0.02; done ;;
reptor.start.Configurator)
    mkdir -p "$1/keys" && echo "Generate $2 $3 keys" ;;
reptor.start.ReplicaHost)
    tag=HMAC_SHA256
    grep -q '^crypto.clients.cert_algo = RSA' "$2" && tag=RSA_2048_SHA256
    [ $tag = HMAC_SHA256 ] || [ -d "$(dirname "$2")/../../config/keys" ] || exit 7
    [ $REPTOR = ignores ] && tag=MD5
    echo "[main] INFO  reptor.start.ReplicaHost - Certification:"
    for who in 'client  (replica) ' 'replica (client)  ' 'replica (standard)' 'replica (strong)  '; do
        echo "[main] INFO  reptor.start.ReplicaHost -   $who: [$tag]"
    done
    if [ $REPTOR = port ] && [ $1 = 2 ]; then
        echo 'Exception in thread "main" java.net.BindException: Address already in use' >&2
    else
        echo '<<READY>>'
    fi
    exec sleep 600 ;;
reptor.start.BenchmarkerHost)
    echo '<<READY>>'
    echo 'Start at now'
    second=0
    while :; do
        sleep 0.1
        if [ $REPTOR = stall ]; then
            printf '%4d %6d rps (avg      0 min 9223372036854775807 max -9223372036854775808)\n' $second 0
        else
            printf '%4d %6d rps (avg   1500 min    100 max   9000)\n' $second 5000
        fi
        second=$((second + 1))
    done ;;
esac
"#;

const THEMIS_REPLICA: &str = r#"
[ "$RUST_LOG" = info ] && grep -q "bind = '127.0.0.1'" "$3/config.toml" && [ -s "$3/../keys/private-3" ] || exit 7
if [ $THEMIS = panics ] && [ $1 = 1 ]; then
    echo "thread 'main' (7) panicked at themis-core/src/authentication/rsa.rs:107:36:" >&2
    echo "Unable to load Public Keys: NotFound" >&2
    exit 101
fi
[ $THEMIS = never-ready ] && exec sleep 600
for peer in 0 1 2 3; do
    [ $peer = $1 ] || echo "x  INFO themis_core::net::tcp::group: Connected $peer from 127.0.0.1:1"
done
exec sleep 600
"#;

const THEMIS_CLIENT: &str = r#"
say() { echo "$(date -u +%Y-%m-%dT%H:%M:%S.%6NZ)  INFO bench_client: $1"; }
[ -e "$STARTED" ] && echo $$ > "$STARTED"
say go
while :; do sleep 0.1; say 'RPS: 300'; say 'LAG: 3'; done
"#;

/// Where the stand-ins are, and how they behave.
struct Installs {
    directory: tempfile::TempDir,
    environment: [(&'static str, &'static str); 3],
}

impl Installs {
    fn behaving(bft: &'static str, reptor: &'static str, themis: &'static str) -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().expect("inside")).expect("created");
            fs::write(&path, text).expect("written");
            path
        };
        let program = |name: &str, text: &str| {
            let path = file(name, &format!("#!/bin/sh\n{text}"));
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("made executable");
        };
        program("java", JAVA);
        file("bft-smart/lib/x.jar", "");
        file("bft-smart/config/keysSSL_TLS/EC_KeyPair_256.pkcs12", "");
        file("reptor/build/classes/reptor/start/reptor/start/ReplicaHost.class", "");
        for name in ["base", "pbftx", "rep-sched-SCOP1I4"] {
            file(&format!("reptor/config/{name}.cfg"), "");
        }
        program("themis/themis-bench-app", THEMIS_REPLICA);
        program("themis/bench-client", THEMIS_CLIENT);
        Self { directory, environment: [("BFT", bft), ("REPTOR", reptor), ("THEMIS", themis)] }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `compare` with these peers, loads and windows as short as can be.
    fn compare(&self, peers: &[&str], more: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hypostyle-bench"));
        command
            .args("compare --clients 2 --outstanding 10 --warmup 100ms --duration 300ms --json".split(' '));
        command.args(more.split_whitespace()).arg("--java").arg(self.path("java"));
        for peer in peers {
            command.arg("--peer").arg(format!("{peer}={}", self.path(peer).display()));
        }
        command.arg("--out").arg(self.path("out")).envs(self.environment).stdin(Stdio::null());
        command
    }

    fn finish(&self, peers: &[&str], more: &str) -> (Output, Value) {
        let output = self.compare(peers, more).output().expect("the program starts");
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        let report = text.lines().last().and_then(|line| serde_json::from_str(line).ok());
        let report = report.unwrap_or_else(|| panic!("no object: {text}\n{errors}"));
        assert_eq!(self.left_behind(), Vec::<String>::new());
        (output, report)
    }

    /// Processes that were started from here and still run.
    fn left_behind(&self) -> Vec<String> {
        let here = self.directory.path().to_str().expect("UTF-8");
        let processes = fs::read_dir("/proc").expect("/proc").flatten();
        let commands =
            processes.filter_map(|process| fs::read_to_string(process.path().join("cmdline")).ok());
        commands.filter(|command| command.contains(here)).collect()
    }
}

fn error_of<'a>(report: &'a Value, system: &str) -> &'a str {
    let failed = report["failed"].as_array().expect("a list");
    let own = failed.iter().find(|failed| failed["system"] == system);
    own.and_then(|failed| failed["error"].as_str()).unwrap_or_else(|| panic!("{system} failed: {report}"))
}

const ALL: [&str; 3] = ["bft-smart", "reptor", "themis"];

#[test]
fn ours_and_the_peers_are_measured_in_turn() {
    let installs = Installs::behaving("well", "well", "well");
    let (output, report) = installs.finish(&ALL, "--repeat 2");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(report["failed"].as_array().map(Vec::len), Some(0), "{report}");
    assert_eq!(report["points"].as_array().map(Vec::len), Some(2));
    let peers = report["peers"].as_array().expect("a list");
    let order: Vec<_> = peers.iter().map(|point| point["system"].as_str().expect("a name")).collect();
    assert_eq!(order, [ALL, ALL].concat());
    for point in peers {
        let rate = point["throughput_ops_per_s"].as_f64().expect("a rate");
        // Themis's stand-in says 300 every 0.1 s and what it takes besides.
        let expected = if point["system"] == "themis" { 1500.0..3000.5 } else { 4999.0..5001.0 };
        assert!(expected.contains(&rate), "{point}");
        assert!(
            point["rss_mb_max"].as_f64() > Some(0.0) && point["measured_s"].as_f64() > Some(0.2),
            "{point}"
        );
        assert!(
            point["signed"]
                .as_str()
                .is_some_and(|sentence| sentence.contains("replicas") || sentence.contains("HMAC"))
        );
    }
    assert_eq!(peers[0]["latency_us_p50"].as_f64().map(f64::round), Some(2000.0));
    assert_eq!((&peers[1]["latency_us_p50"], &peers[1]["latency_us_mean"]), (&Value::Null, &1500.0.into()));
    assert!(errors.contains("throughput, ours / theirs") && errors.contains("BFT-SMaRt (2x)"), "{errors}");
    let csv = fs::read_to_string(installs.path("out/peers.csv")).expect("peers.csv");
    assert!(csv.lines().count() == 7 && csv.starts_with("repeat,system,setting,"), "{csv}");
    assert!(installs.path("out/points.csv").exists() && installs.path("out/manifest.json").exists());
}

#[test]
fn what_each_signs_is_said_and_what_one_cannot_do_is_refused() {
    let installs = Installs::behaving("well", "well", "well");
    let (output, report) = installs.finish(&ALL, "--repeat 1 --setting R");
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(error_of(&report, "Themis").contains("panics"), "{report}");
    let signed: Vec<_> =
        report["peers"].as_array().expect("a list").iter().map(|point| &point["signed"]).collect();
    assert_eq!(signed.len(), 2, "{report}");
    assert!(signed[0].as_str().expect("a sentence").contains("not the requests inside a proposal"));
    assert!(signed[1].as_str().expect("a sentence").contains("RSA-2048 on everything"));
    assert_eq!(report["points"][0]["auth"], "rsa-2048");
}

#[test]
fn whoever_cannot_start_is_told_and_the_rest_goes_on() {
    let installs = Installs::behaving("port", "stall", "never-ready");
    let (output, report) = installs.finish(&ALL, "--repeat 2 --start-timeout 4s --stall-timeout 1s");
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert_eq!(report["points"].as_array().map(Vec::len), Some(2), "ours goes on: {report}");
    let taken = error_of(&report, "BFT-SMaRt");
    assert!(taken.contains("a port is taken") && taken.contains("replica 0 ended too early"), "{taken}");
    let stalled = error_of(&report, "Reptor");
    assert!(stalled.contains("Reptor has stalled") && stalled.contains("0 rps"), "{stalled}");
    let waiting = error_of(&report, "Themis");
    assert!(waiting.contains("replica 0 is not ready after 4s"), "{waiting}");
}

#[test]
fn whoever_dies_or_leaves_no_results_is_told() {
    let installs = Installs::behaving("no-results", "port", "panics");
    let (output, report) = installs.finish(&ALL, "--repeat 1 --start-timeout 30s");
    assert_eq!(output.status.code(), Some(1), "{report}");
    let nothing = error_of(&report, "BFT-SMaRt");
    assert!(nothing.contains("the load generator ended too early (exit status: 0)"), "{nothing}");
    assert!(nothing.contains("the clients found no replicas"), "{nothing}");
    let taken = error_of(&report, "Reptor");
    assert!(
        taken.contains("replica 2 can't go on: a port is taken"),
        "it lives, but is never ready: {taken}"
    );
    let dead = error_of(&report, "Themis");
    assert!(dead.contains("replica 1 ended too early (exit status: 101)"), "{dead}");
    assert!(dead.contains("Unable to load Public Keys"), "{dead}");
}

#[test]
fn a_missing_install_and_settings_that_are_not_taken_are_told() {
    let installs = Installs::behaving("well", "ignores", "well");
    fs::remove_file(installs.path("themis/bench-client")).expect("removed");
    let (output, report) = installs.finish(&["themis", "reptor"], "--repeat 1");
    assert_eq!(output.status.code(), Some(1), "{report}");
    let missing = error_of(&report, "Themis");
    assert!(missing.contains("themis/bench-client") && missing.contains("its load generator"), "{missing}");
    let ignored = error_of(&report, "Reptor");
    assert!(ignored.contains("MD5") && ignored.contains("not taken"), "{ignored}");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let installs = Installs::behaving("well", "well", "well");
    for (peers, more) in [(&[][..], ""), (&["themis", "themis"], ""), (&["themis"], "--repeat 0")] {
        let (output, report) = installs.finish(peers, more);
        assert_eq!(output.status.code(), Some(2), "{report}");
    }
}

#[test]
fn peers_end_with_a_killed_parent() {
    let installs = Installs::behaving("well", "well", "well");
    let started = installs.path("started");
    rustix::fs::mkfifoat(rustix::fs::CWD, &started, Mode::RUSR | Mode::WUSR).expect("a pipe");
    let pipe = rustix::fs::open(&started, OFlags::RDWR, Mode::empty()).expect("opens");
    let mut command = installs.compare(&["themis"], "--repeat 1000");
    command.env("STARTED", &started).stdout(Stdio::null()).stderr(Stdio::null());
    let mut parent = command.spawn().expect("the program starts");
    wait_for("the load generator", &pipe);
    let mut text = [0; 32];
    let length = rustix::io::read(&pipe, &mut text).expect("its id");
    let id = std::str::from_utf8(&text[..length]).expect("a number").trim().parse().expect("a number");
    let client =
        rustix::process::pidfd_open(Pid::from_raw(id).expect("an id"), PidfdFlags::empty()).expect("it runs");
    parent.kill().expect("it runs");
    parent.wait().expect("it ends");
    wait_for("the load generator's end", &client);
}

/// Waits until there is something to read: from a pipe, or of a process's end.
fn wait_for(what: &str, source: &OwnedFd) {
    let minute = Timespec { tv_sec: 60, tv_nsec: 0 };
    let ready = rustix::event::poll(&mut [PollFd::new(source, PollFlags::IN)], Some(&minute));
    assert_eq!(ready, Ok(1), "waited a minute for {what}");
}

#[test]
fn two_results_of_ours_are_compared() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let measure = |name: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hypostyle-bench"));
        let flags = "run --auth ed25519 --clients 1 --outstanding 5 --warmup 20ms --duration 100ms --repeat 5 --accept-marks --out";
        let output =
            command.args(flags.split(' ')).arg(directory.path().join(name)).output().expect("starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    measure("a");
    let compare = |a: &str, b: &Path, more: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hypostyle-bench"));
        command.arg("compare").arg(directory.path().join(a)).arg(b).args(more.split_whitespace());
        command.output().expect("starts")
    };
    let same = compare("a", &directory.path().join("a"), "--fail-if slower=3% --fail-if cpu=5%");
    let text = String::from_utf8_lossy(&same.stdout);
    assert!(same.status.success() && text.contains("no difference shown"), "{text}");
    // What was a tenth as fast, by the file.
    let slow = directory.path().join("b");
    fs::create_dir(&slow).expect("created");
    let mut rows = csv::Reader::from_path(directory.path().join("a/points.csv")).expect("there");
    let headers = rows.headers().expect("headers").clone();
    let mut out = csv::Writer::from_path(slow.join("points.csv")).expect("created");
    out.write_record(&headers).expect("written");
    for row in rows.records() {
        let row = row.expect("a row");
        let tenth = |(name, text): (&str, &str)| match name {
            "throughput_ops_per_s" => (text.parse::<f64>().expect("a number") / 10.0).to_string(),
            _ => text.to_owned(),
        };
        out.write_record(headers.iter().zip(&row).map(tenth)).expect("written");
    }
    out.flush().expect("written");
    let slower = compare("a", &slow, "--fail-if slower=3%");
    assert_eq!(slower.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&slower.stdout).contains("slower"));
    assert!(String::from_utf8_lossy(&slower.stderr).contains("beyond the 3.0 % allowed"));
    assert_eq!(compare("a", Path::new("/nowhere"), "").status.code(), Some(1));
}
