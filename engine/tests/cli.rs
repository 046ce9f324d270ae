//! The `hypostyle` command as a person meets it: what it writes, what it refuses, and what it says.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use assert_cmd::Command;
use hypostyle::config::ClusterConfig;
use tempfile::TempDir;

struct Outcome {
    code: i32,
    out: String,
    error: String,
}

fn run(directory: &Path, arguments: &[&str]) -> Outcome {
    run_with(directory, arguments, &[])
}

fn run_with(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
    let mut command = Command::cargo_bin("hypostyle").unwrap();
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HYPOSTYLE_")) {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied());
    let output = command.current_dir(directory).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Outcome { code: output.status.code().unwrap(), out: text(output.stdout), error: text(output.stderr) }
}

/// A directory with a cluster of four in `demo`.
fn demo() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let made = run(directory.path(), &["init", "demo", "--auth", "ed25519", "--clients", "2"]);
    assert_eq!((made.code, made.error.as_str()), (0, ""));
    assert!(made.out.starts_with("4 replicas (f = 1), 2 clients, pillars = 1, ed25519\n"), "{}", made.out);
    directory
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn init_writes_everything_with_private_keys_private() {
    let directory = demo();
    let demo = directory.path().join("demo");
    let cluster = ClusterConfig::load(demo.join("cluster.toml")).unwrap();
    assert_eq!((cluster.n(), cluster.clients.len()), (4, 2));
    for replica in 0..4 {
        let home = demo.join(format!("replica-{replica}"));
        assert_eq!(mode(&home.join("key.pem")), 0o600);
        assert!(home.join("replica.toml").exists() && home.join("genesis").exists());
    }
    for client in 0..2 {
        assert_eq!(mode(&demo.join(format!("clients/client-{client}.pem"))), 0o600);
    }
}

#[test]
fn init_overwrites_nothing() {
    let directory = demo();
    let cluster = directory.path().join("demo/cluster.toml");
    let before = fs::read(&cluster).unwrap();
    let again = run(directory.path(), &["init", "demo"]);
    assert_eq!(again.code, 1);
    assert_eq!(
        again.error,
        "error: demo/cluster.toml: exists already\n  remedy: choose another directory; keys and votes are not overwritten\n"
    );
    assert_eq!(fs::read(&cluster).unwrap(), before);
}

#[test]
fn init_takes_every_setting() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("hosts"), "192.0.2.1 # first\n\n192.0.2.2\n192.0.2.3\n192.0.2.3\n")
        .unwrap();
    let arguments =
        "init far --hosts hosts --auth ecdsa-p256 --clients 1 --pillars 4 --set batch_max=100 --json";
    let made = run(directory.path(), &arguments.split(' ').collect::<Vec<_>>());
    assert_eq!((made.code, made.error.as_str()), (0, ""));
    let cluster = ClusterConfig::load(directory.path().join("far/cluster.toml")).unwrap();
    assert_eq!((cluster.pillars, cluster.batch_max), (4, 100));
    let peers: Vec<String> = cluster.replicas.iter().map(|replica| replica.peer.to_string()).collect();
    assert_eq!(peers, ["192.0.2.1:7400", "192.0.2.2:7400", "192.0.2.3:7400", "192.0.2.3:7403"]);
    let json: serde_json::Value = serde_json::from_str(&made.out).unwrap();
    assert_eq!(json["configuration"], cluster.hash().to_string());
    assert_eq!(json["replicas"][3], "far/replica-3");
}

#[test]
fn init_refuses_what_makes_no_cluster() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("hosts"), "192.0.2.1\nlocalhost\n").unwrap();
    let table = [
        (
            "init x --replicas 5",
            2,
            "error: the cluster's size: 5 replicas: n must be 3f+1 with f from 1 to 33\n  remedy: have 4 or 7 replicas\n",
        ),
        ("init x --pillars 0", 2, "error: [cluster]: pillars: 0 is out of range\n"),
        (
            "init x --set pilars=2",
            2,
            "error: --set pilars=2: no setting is called \"pilars\"\n  remedy: did you mean \"pillars\"?\n",
        ),
        (
            "init x --set request_max=1MiB",
            2,
            "error: [cluster]: request_max: a request of 1.0 MiB fits no batch",
        ),
        (
            "init x --set auth=ed25519",
            2,
            "error: --set auth: the keys are made for --auth\n  remedy: write --auth ed25519\n",
        ),
        ("init x --auth rsa-1024", 2, "error: invalid value 'rsa-1024' for '--auth <AUTH>'"),
        ("init x --base-port 65535", 2, "error: base port 65535: 4 replicas on one host need 3 ports each"),
        (
            "init x --hosts hosts",
            1,
            "error: hosts:2:1: \"localhost\" is no IP address\n  remedy: write one, such as 192.0.2.7\n",
        ),
        (
            "init x --hosts none",
            1,
            "error: none cannot be read: No such file or directory (os error 2)\n  remedy: name a file with one IP address a line\n",
        ),
        ("init", 2, "error: the following required arguments were not provided:"),
        ("innit", 2, "error: unrecognized subcommand 'innit'"),
    ];
    for (arguments, code, error) in table {
        let outcome = run(directory.path(), &arguments.split(' ').collect::<Vec<_>>());
        assert_eq!(outcome.code, code, "{arguments}: {}", outcome.error);
        assert!(outcome.error.starts_with(error), "{arguments}: {}", outcome.error);
    }
    assert!(!directory.path().join("x").exists());
}

#[test]
fn keys_are_made_shown_and_checked() {
    let directory = demo();
    let path = directory.path();
    let made = run(path, &["key", "new", "k.pem", "--auth", "ed25519"]);
    assert_eq!((made.code, mode(&path.join("k.pem"))), (0, 0o600));
    assert!(made.out.starts_with("ed25519:"), "{}", made.out);
    assert_eq!(run(path, &["key", "show", "k.pem"]).out, made.out);
    let json: serde_json::Value =
        serde_json::from_str(&run(path, &["key", "show", "k.pem", "--json"]).out).unwrap();
    assert_eq!((json["suite"].as_str(), json["public"].as_str()), (Some("ed25519"), Some(made.out.trim())));
    assert_eq!(run(path, &["key", "check", "k.pem"]).out, "k.pem: usable, ed25519\n");

    let cluster = ["--cluster", "demo/cluster.toml"];
    let check = |key: &str| run(path, &[&["key", "check", key][..], &cluster].concat());
    assert_eq!(
        check("demo/replica-2/key.pem").out,
        "demo/replica-2/key.pem: usable, ed25519, replica 2 of cluster hypostyle\n"
    );
    assert_eq!(
        check("demo/clients/client-1.pem").out,
        "demo/clients/client-1.pem: usable, ed25519, client 1 of cluster hypostyle\n"
    );
    let stranger = check("k.pem");
    assert_eq!(stranger.code, 1);
    assert!(
        stranger.error.starts_with("error: the key belongs to nobody in demo/cluster.toml\n  remedy:"),
        "{}",
        stranger.error
    );
}

#[test]
fn keys_that_cannot_be_used_are_refused() {
    let directory = demo();
    let path = directory.path();
    let twice = run(path, &["key", "new", "demo/replica-0/key.pem"]);
    assert_eq!(twice.code, 1);
    assert!(twice.error.contains("demo/replica-0/key.pem exists already"), "{}", twice.error);

    let key = path.join("demo/replica-0/key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let open = run(path, &["key", "show", "demo/replica-0/key.pem"]);
    assert_eq!(open.code, 1);
    assert!(open.error.contains("chmod 600 demo/replica-0/key.pem"), "{}", open.error);

    let missing = run(path, &["key", "show", "none.pem"]);
    assert_eq!(missing.code, 1);
    assert!(missing.error.contains("none.pem"), "{}", missing.error);
    fs::write(path.join("text.pem"), "no key").unwrap();
    fs::set_permissions(path.join("text.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(run(path, &["key", "check", "text.pem"]).code, 1);
}

#[test]
fn a_dead_replica_has_no_status() {
    let directory = demo();
    // Free, as nobody listens on it any more.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for verb in ["status", "order-log"] {
        let dead = run(directory.path(), &[verb, &free]);
        assert_eq!(dead.code, 1);
        assert!(dead.error.starts_with(&format!("error: {free}: no answer (")), "{}", dead.error);
        assert!(
            dead.error.contains("remedy: start the replica with `hypostyle replica HOME`"),
            "{}",
            dead.error
        );
    }
    let nowhere = run(directory.path(), &["status", "nowhere"]);
    assert_eq!(nowhere.code, 1);
    assert!(
        nowhere.error.starts_with("error: nowhere: neither an address, nor the home of a replica"),
        "{}",
        nowhere.error
    );
    let many = run(directory.path(), &["order-log", "demo"]);
    assert!(many.error.starts_with("error: demo: 4 replicas\n  remedy: name one of them"), "{}", many.error);
}

#[test]
fn a_home_without_admin_listener_says_so() {
    let directory = demo();
    fs::write(directory.path().join("demo/replica-1/replica.toml"), "id = 1\n").unwrap();
    let silent = run(directory.path(), &["status", "demo/replica-1"]);
    assert_eq!(silent.code, 1);
    assert!(
        silent
            .error
            .starts_with("error: demo/replica-1/replica.toml: no admin listener\n  remedy: add admin"),
        "{}",
        silent.error
    );

    fs::write(directory.path().join("demo/replica-1/replica.toml"), "id = 1\nadmn = 2\n").unwrap();
    let wrong = run(directory.path(), &["status", "demo/replica-1"]);
    let expected = "error: demo/replica-1/replica.toml:2:1: unknown key \"admn\" in replica.toml\n  remedy: did you mean \"admin\"?\n";
    assert_eq!((wrong.code, wrong.error.as_str()), (1, expected));
    let variable = run_with(directory.path(), &["status", "demo/replica-2"], &[("HYPOSTYLE_WORKRS", "2")]);
    assert_eq!(variable.code, 1);
    assert!(
        variable.error.contains("HYPOSTYLE_WORKRS") && variable.error.contains("did you mean \"workers\"?"),
        "{}",
        variable.error
    );
}

#[test]
fn every_verb_has_help_with_an_example() {
    let directory = tempfile::tempdir().unwrap();
    let help = run(directory.path(), &["--help"]);
    let verbs: Vec<&str> = help
        .out
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|verb| !["help", "key"].contains(verb))
        .collect();
    assert!(verbs.len() >= 3, "{}", help.out);
    let keys = ["new", "show", "check"].map(|verb| vec!["key", verb]);
    for verb in verbs.into_iter().map(|verb| vec![verb]).chain(keys) {
        let help = run(directory.path(), &[&verb[..], &["--help"]].concat());
        assert_eq!(help.code, 0);
        assert!(
            help.out.contains("Example") && help.out.contains(&format!("hypostyle {}", verb.join(" "))),
            "{verb:?}"
        );
    }
}

#[test]
fn a_profile_goes_into_a_new_cluster_and_must_fit_an_old_one() {
    let directory = demo();
    let profile = "[cluster]\npillars = 2\nbatch_max = 100\n\n[replica]\nworkers = 2\n";
    fs::write(directory.path().join("tuned.toml"), profile).unwrap();
    let init = ["init", "tuned", "--auth", "ed25519", "--profile", "tuned.toml", "--set", "batch_max=50"];
    let made = run(directory.path(), &init);
    assert_eq!((made.code, made.error.as_str()), (0, ""));
    let cluster = ClusterConfig::load(directory.path().join("tuned/cluster.toml")).unwrap();
    assert_eq!((cluster.pillars, cluster.batch_max), (2, 50));
    let replica = fs::read_to_string(directory.path().join("tuned/replica-3/replica.toml")).unwrap();
    assert!(replica.contains("workers = 2\n"), "{replica}");

    let refused = run(directory.path(), &["replica", "demo/replica-0", "--profile", "tuned.toml"]);
    assert_eq!(refused.code, 1);
    assert!(refused.error.contains("tuned.toml: it sets pillars = 2"), "{}", refused.error);
}
