//! Each wrong `replica.toml` and home, and what is said about it.

use hypostyle_app_api::ReplicaId;
use hypostyle_crypto::{SigningKey, Suite, write_key};

use super::cluster;
use crate::config::{
    Cores, Count, Executor, Home, Overrides, Plan, ReplicaConfig, Threads, init, replica_home,
};

fn fault(text: &str) -> String {
    ReplicaConfig::parse(text, "r.toml").unwrap_err().to_string()
}

#[test]
fn each_wrong_line_is_refused() {
    let threads = "choose \"auto\" or a number from 1 to 256";
    let cores = "write \"auto\", \"shared\", or cores from 0 to 1023, each once, such as \"0-3,8\"";
    let table = [
        ("", "r.toml: id is missing".to_owned(), "add it, such as id = 0: the [[replica]] of cluster.toml this is"),
        ("id = 0\nworker = 1", "r.toml:2:1: unknown key \"worker\" in replica.toml".to_owned(), "did you mean \"workers\"?"),
        ("id = 0\nworkers = 0", "r.toml:2:11: workers: 0 is out of range".to_owned(), threads),
        ("id = 0\nworkers = 257", "r.toml:2:11: workers: 257 is out of range".to_owned(), threads),
        ("id = 0\nworkers = \"all\"", "r.toml:2:11: workers: \"all\" is no number of threads".to_owned(), "write \"auto\" or a number, such as 2"),
        ("id = 0\nexecutor = \"inlined\"", "r.toml:2:12: executor: \"inlined\" is no choice here".to_owned(), "did you mean \"inline\"?"),
        ("id = 0\ncores = \"3-1\"", "r.toml:2:9: cores: \"3-1\" is no list of cores".to_owned(), cores),
        ("id = 0\ncores = \"1,1\"", "r.toml:2:9: cores: \"1,1\" is no list of cores".to_owned(), cores),
        ("id = 0\ncores = \"0-999999999\"", "r.toml:2:9: cores: \"0-999999999\" is no list of cores".to_owned(), cores),
        ("id = 0\ndurability = \"sync\"", "r.toml:2:14: durability: \"sync\" is not implemented in this version".to_owned(), "write \"none\""),
        (
            "id = 0\nadmin = \"0.0.0.0:9000\"",
            "r.toml:2:9: admin: 0.0.0.0:9000 is not on loopback, and whoever reaches it is not asked who he is".to_owned(),
            "write \"127.0.0.1:9000\" and reach it through ssh -L",
        ),
        ("id = 0\nsource = \"here\"", "r.toml:2:10: source: \"here\" is no IP address".to_owned(), "write an address without a port, such as \"192.0.2.7\""),
        ("id = 0\n[limits]\nconections = 5", "r.toml:3:1: unknown key \"conections\" in [limits]".to_owned(), "did you mean \"connections\"?"),
        ("id = 0\n[limits]\nconnections = 5", "r.toml:3:15: connections: 5 is out of range".to_owned(), "choose a value from 16 to 1000000"),
        ("id = 0\n[dial]\nx = \"127.0.0.1:1\"", "r.toml:3:1: \"x\" is no replica's id".to_owned(), "write lines such as 2 = \"192.0.2.7:7400\""),
        ("id = 0\n[dial]\n0 = \"127.0.0.1:1\"", "r.toml:3:1: a replica does not dial itself".to_owned(), "remove the line"),
    ];
    for (text, what, remedy) in table {
        assert_eq!(fault(text), format!("{what}\n  remedy: {remedy}"), "for {text}");
    }
}

#[test]
fn a_configuration_reads_what_it_writes() {
    let mut config = ReplicaConfig::new(ReplicaId(2));
    assert_eq!(ReplicaConfig::parse(&config.to_toml(), "r.toml").unwrap(), config);
    config.workers = Count::Fixed(3);
    config.executor = Executor::Thread;
    config.cores = Cores::List(vec![0, 1, 2, 8]);
    config.admin = Some("[::1]:9000".parse().unwrap());
    config.source = Some("192.0.2.7".parse().unwrap());
    config.order_log = Some("order.jsonl".into());
    config.limits.memory = Some(1 << 30);
    config.dial.insert(ReplicaId(0), "192.0.2.1:7400".parse().unwrap());
    assert_eq!(ReplicaConfig::parse(&config.to_toml(), "r.toml").unwrap(), config);
    let ranges = ReplicaConfig::parse("id = 2\ncores = \"0-2,8\"", "r.toml").unwrap();
    assert_eq!(ranges.cores, config.cores);
}

fn plan() -> Plan {
    Plan {
        hosts: vec!["127.0.0.1".parse().unwrap(); 4],
        base_port: 7400,
        clients: 2,
        auth: Suite::Ed25519,
        settings: cluster(),
        threads: Threads::default(),
    }
}

#[test]
fn what_init_writes_opens() {
    let directory = tempfile::tempdir().unwrap();
    let mut keys = 0;
    let written = init(directory.path(), &plan(), &mut || keys += 1).unwrap();
    assert_eq!(keys, 6);
    for id in (0..4).map(ReplicaId) {
        let home = Home::open(replica_home(directory.path(), id), &Overrides::none()).unwrap();
        assert_eq!((home.cluster.clone(), home.replica.id), (written.clone(), id));
        assert_eq!(home.entry().key, home.key.public());
        assert_eq!(home.entry().peer.port(), 7400 + 3 * id.0);
        assert_eq!(home.replica.admin.unwrap().port(), 7402 + 3 * id.0);
        assert_eq!(home.replica.cores, Cores::Shared, "they share a host");
        home.check_memory().unwrap();
    }
    let again = init(directory.path(), &plan(), &mut || ()).unwrap_err().to_string();
    assert!(again.contains("cluster.toml: exists already") && again.contains("remedy"), "{again}");
}

#[test]
fn another_replicas_or_clusters_key_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    init(directory.path(), &plan(), &mut || ()).unwrap();
    let home = replica_home(directory.path(), ReplicaId(1));
    let key = home.join("key.pem");
    let open = || Home::open(&home, &Overrides::none()).err().expect("a fault").to_string();

    std::fs::remove_file(&key).unwrap();
    assert!(open().contains("no usable private key: no private key at"), "{}", open());
    write_key(&key, &SigningKey::generate(Suite::Ed25519)).unwrap();
    assert!(open().contains("not the private key of replica 1 in"), "{}", open());

    std::fs::write(home.join("replica.toml"), "id = 4").unwrap();
    assert!(open().contains("replica 4 is not among the 4 of"), "{}", open());
}

#[test]
fn a_bound_above_the_memory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    init(directory.path(), &plan(), &mut || ()).unwrap();
    let mut overrides = Overrides::none();
    overrides.flag("limits_memory=64MiB").unwrap();
    let home = Home::open(replica_home(directory.path(), ReplicaId(0)), &overrides).unwrap();
    let message = home.check_memory().unwrap_err().to_string();
    assert!(message.contains("more than the 64.0 MiB there are"), "{message}");
}

#[test]
fn ports_beyond_the_last_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let plan = Plan { base_port: 65_530, ..plan() };
    let message = init(directory.path(), &plan, &mut || ()).unwrap_err().to_string();
    assert!(message.starts_with("base port 65530: 4 replicas on one host need 3 ports each"), "{message}");
}
