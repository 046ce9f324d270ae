//! Each wrong `cluster.toml` and what is said about it.

use hypostyle_crypto::{SigningKey, Suite};

use super::{cluster, keys};
use crate::config::{ClusterConfig, Overrides};

/// The fault of the good file with `from` replaced by `to`, once.
fn fault(from: &str, to: &str) -> String {
    let good = cluster().to_toml();
    assert!(good.contains(from), "{from:?} is in\n{good}");
    ClusterConfig::parse(&good.replacen(from, to, 1), "c.toml").unwrap_err().to_string()
}

#[test]
fn each_wrong_setting_is_refused_at_its_line() {
    let table = [
        (
            "pillars = 1",
            "pilars = 1",
            "c.toml:3:1: unknown key \"pilars\" in [cluster]\n  remedy: did you mean \"pillars\"?",
        ),
        (
            "pillars = 1",
            "pillars = 0",
            "c.toml:3:11: pillars: 0 is out of range\n  remedy: choose a value from 1 to 256",
        ),
        (
            "pillars = 1",
            "pillars = \"many\"",
            "c.toml:3:11: pillars: \"many\" is no whole number from 0 to 65535\n  \
             remedy: write a whole number without a unit, such as 4",
        ),
        (
            "pillars = 1",
            "pillars = true",
            "c.toml:3:11: pillars: boolean is no value for a setting\n  \
             remedy: write a decimal number or a text in quotes",
        ),
        (
            "id = \"hypostyle\"",
            "id = \"two words\"",
            "c.toml:2:6: id: \"two words\" is no name\n  \
             remedy: choose 1 to 64 letters, digits, dots, dashes and underscores",
        ),
        (
            "\"request\"",
            "\"requests\"",
            "c.toml:4:10: assign: \"requests\" is no choice here\n  remedy: did you mean \"request\"?",
        ),
        (
            "\"spread\"",
            "\"none\"",
            "c.toml:5:11: leaders: \"none\" is no choice here\n  remedy: known are: spread, single",
        ),
        (
            "auth = \"ed25519\"",
            "auth = \"rsa-1024\"",
            "c.toml:6:8: auth: \"rsa-1024\" is no suite\n  \
             remedy: known are: rsa-2048, rsa-3072, rsa-4096, ed25519, ecdsa-p256",
        ),
        (
            "client_auth = \"signature\"",
            "client_auth = \"tags\"",
            "c.toml:7:15: client_auth: \"tags\" is no choice here\n  remedy: known are: signature, mac",
        ),
        (
            "bundle = 64",
            "bundle = 65",
            "c.toml:9:10: bundle: 65 is out of range\n  remedy: choose a value from 1 to 64",
        ),
        (
            "batch_bytes = \"256KiB\"",
            "batch_bytes = \"256 apples\"",
            "c.toml:11:15: batch_bytes: \"256 apples\" is no size\n  \
             remedy: write a number of bytes with its unit, such as \"256KiB\"",
        ),
        (
            "window = 128",
            "window = 130",
            "c.toml:15:10: window: 130 is no multiple of checkpoint_interval 32 from twice it on\n  \
             remedy: choose window = 160, or change checkpoint_interval",
        ),
        (
            "window = 128",
            "window = 32",
            "c.toml:15:10: window: 32 is no multiple of checkpoint_interval 32 from twice it on\n  \
             remedy: choose window = 64, or change checkpoint_interval",
        ),
        (
            "request_operations = 1",
            "request_operations = 500",
            "c.toml:17:22: request_operations: 500 operations exceed batch_max = 400\n  \
             remedy: choose at most 400, or raise batch_max",
        ),
        (
            "request_max = \"64KiB\"",
            "request_max = \"1MiB\"",
            "c.toml:18:15: request_max: a request of 1.0 MiB fits no batch of 256.0 KiB (batch_bytes)\n  \
             remedy: choose at most 256.0 KiB, or raise batch_bytes",
        ),
        (
            "view_timeout = \"500ms\"",
            "view_timeout = 500",
            "c.toml:22:16: view_timeout: \"500\" is no duration\n  \
             remedy: write a number with its unit, such as \"1ms\" or \"5s\"",
        ),
        (
            "view_timeout = \"500ms\"",
            "view_timeout = \"2h\"",
            "c.toml:22:16: view_timeout: 2h is out of range\n  remedy: choose a value from 10ms to 1h",
        ),
    ];
    for (from, to, message) in table {
        assert_eq!(fault(from, to), message, "for {to}");
    }
}

#[test]
fn each_wrong_member_is_refused_at_its_line() {
    let table = [
        (
            "id = 1\n",
            "id = 0\n",
            "c.toml:33:6: id: replica 0 is there twice or out of order\n  \
             remedy: number the replicas 0, 1, 2… in this order; this one is 1",
        ),
        (
            "id = 1\n",
            "id = 7\n",
            "c.toml:33:6: id: replica 7 follows where 1 is missing\n  \
             remedy: number the replicas 0, 1, 2… in this order; this one is 1",
        ),
        ("id = 1\n", "", "c.toml:32:1: [[replica]] lacks id\n  remedy: add it, such as id = 0"),
        (
            "127.0.0.1:7402",
            "127.0.0.1:7400",
            "c.toml:34:8: peer: 127.0.0.1:7400 is the peer address of replica 0 too\n  \
             remedy: give every listener an address of its own",
        ),
        (
            "127.0.0.1:7403",
            "127.0.0.1:7402",
            "c.toml:35:10: client: 127.0.0.1:7402 is the peer address of replica 1 too\n  \
             remedy: give every listener an address of its own",
        ),
        (
            "127.0.0.1:7402",
            "localhost:7402",
            "c.toml:34:8: peer: \"localhost:7402\" is no address with a port\n  \
             remedy: write an IP address and a port, such as \"127.0.0.1:7400\" or \"[::1]:7400\"; \
             names of hosts are not looked up",
        ),
        (
            "127.0.0.1:7402",
            "0.0.0.0:7402",
            "c.toml:34:8: peer: 0.0.0.0:7402 cannot be dialled\n  \
             remedy: write the address and port that others dial",
        ),
        (
            "peer = ",
            "per = ",
            "c.toml:28:1: unknown key \"per\" in [[replica]]\n  remedy: did you mean \"peer\"?",
        ),
        (
            "[[client]]",
            "[[clients]]",
            "c.toml:50:3: unknown section \"clients\"\n  remedy: did you mean \"client\"?",
        ),
    ];
    for (from, to, message) in table {
        let text = fault(from, to);
        assert_eq!(text, message, "for {to}");
    }
}

#[test]
fn keys_are_distinct_and_of_the_suite() {
    let config = cluster();
    let (first, last) = (config.replicas[0].key.to_string(), config.clients[2].key.to_string());
    let fault = |text: String| ClusterConfig::parse(&text, "c.toml").unwrap_err().to_string();
    let place = "c.toml:60:7";
    assert_eq!(
        fault(config.to_toml().replace(&last, &first)),
        format!(
            "{place}: key: the same key as of replica 0\n  remedy: make a key of its own with `hypostyle key new`"
        )
    );
    let other = SigningKey::generate(Suite::EcdsaP256).public().to_string();
    assert_eq!(
        fault(config.to_toml().replace(&last, &other)),
        format!(
            "{place}: key: a key of suite ecdsa-p256, but auth = \"ed25519\"\n  \
             remedy: make another with `hypostyle key new --auth ed25519`, or change auth everywhere"
        )
    );
    let broken = fault(config.to_toml().replace(&last, "ed25519:nonsense"));
    assert!(broken.starts_with(&format!("{place}: key: no public key (")), "{broken}");
    assert!(broken.ends_with("remedy: copy the line that `hypostyle key show FILE` prints"), "{broken}");
}

#[test]
fn n_is_three_f_plus_one() {
    for (n, choice) in [(1, "4"), (3, "4"), (5, "4 or 7"), (6, "4 or 7"), (8, "7 or 10"), (101, "100")] {
        let mut config = cluster();
        let entry = config.replicas[0].clone();
        config.replicas = vec![entry; n];
        let message = config.validate().unwrap_err().to_string();
        let expected = format!(
            "[[replica]]: {n} replicas: n must be 3f+1 with f from 1 to 33\n  remedy: have {choice} replicas"
        );
        assert_eq!(message, expected);
    }
    let mut config = cluster();
    config.replicas.truncate(3);
    let message = ClusterConfig::parse(&config.to_toml(), "c.toml").unwrap_err().to_string();
    assert!(message.starts_with("c.toml:38:1: 3 replicas: n must be 3f+1"), "{message}");
}

#[test]
fn files_that_are_no_configuration_are_refused() {
    let fault = |text: &str| ClusterConfig::parse(text, "c.toml").unwrap_err().to_string();
    assert!(fault("").starts_with("c.toml: 0 replicas"), "{}", fault(""));
    assert!(fault("[cluster]\nid = \n").starts_with("c.toml:2:"), "{}", fault("[cluster]\nid = \n"));
    assert!(fault("[cluster]\nid = \"a\"\nid = \"b\"\n").starts_with("c.toml:3:1: duplicate key"));
    assert_eq!(
        fault("pillars = 2"),
        "c.toml:1:1: unknown section \"pillars\"\n  remedy: it is a setting: write it under [cluster]"
    );
    assert_eq!(
        fault("[[cluster]]\nid = \"a\""),
        "c.toml:1:3: \"cluster\" is no table\n  remedy: write it as a section of its own: [cluster]"
    );
    assert_eq!(
        fault("[replica]\nid = 0"),
        "c.toml:1:2: \"replica\" is no table\n  remedy: write it as a section of its own: [[replica]]"
    );
    let missing = ClusterConfig::load_with("/no/cluster.toml", &Overrides::none()).unwrap_err().to_string();
    assert!(missing.starts_with("/no/cluster.toml: cannot be read: No such file"), "{missing}");
}

#[test]
fn a_window_whose_view_changes_fit_no_frame_is_refused() {
    let mut config = cluster();
    config.replicas = (0..100).map(|_| config.replicas[0].clone()).collect();
    for (index, (replica, key)) in config.replicas.iter_mut().zip(keys(100)).enumerate() {
        let port = 7000 + 2 * u16::try_from(index).unwrap();
        replica.id.0 = u16::try_from(index).unwrap();
        (replica.key, replica.peer) = (key, ([127, 0, 0, 1], port).into());
        replica.client = ([127, 0, 0, 1], port + 1).into();
    }
    config.validate().unwrap();
    config.window = 4096;
    let message = config.validate().unwrap_err().to_string();
    assert!(message.starts_with("[cluster]: window: messages of up to 1."), "{message}");
}

#[test]
fn environment_and_flags_are_in_force_over_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cluster.toml");
    std::fs::write(&path, cluster().to_toml()).unwrap();
    let variables = |pairs: &[(&str, &str)]| {
        Overrides::from_variables(pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())))
    };

    let mut overrides =
        variables(&[("HYPOSTYLE_PILLARS", "2"), ("HYPOSTYLE_BUNDLE", "8"), ("PATH", "x")]).unwrap();
    overrides.flag("pillars=4").unwrap();
    let config = ClusterConfig::load_with(&path, &overrides).unwrap();
    assert_eq!((config.pillars, config.bundle, config.batch_max), (4, 8, 400));

    let wrong = variables(&[("HYPOSTYLE_PILLARS", "0")]).unwrap();
    assert_eq!(
        ClusterConfig::load_with(&path, &wrong).unwrap_err().to_string(),
        "environment variable HYPOSTYLE_PILLARS: pillars: 0 is out of range\n  remedy: choose a value from 1 to 256"
    );
    assert_eq!(
        variables(&[("HYPOSTYLE_PILARS", "2")]).unwrap_err().to_string(),
        "environment variable HYPOSTYLE_PILARS: no setting is called \"pilars\"\n  remedy: did you mean \"pillars\"?"
    );
    assert_eq!(
        overrides.flag("pillars").unwrap_err().to_string(),
        "--set pillars: no \"=\" in it\n  remedy: write --set SETTING=VALUE, such as --set workers=2"
    );
}
