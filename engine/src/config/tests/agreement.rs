//! What is agreed on: the file's round trip, the hash, the difference between two configurations, derived limits.

use std::net::SocketAddr;
use std::time::Duration;

use hypostyle_crypto::Suite;

use super::{cluster, keys};
use crate::config::{Assign, ClusterConfig, Leaders, Replies, first_difference};

type Change = fn(&mut ClusterConfig);

/// Each changes one setting.
const CHANGES: &[(&str, Change)] = &[
    ("id", |c| c.id.push('2')),
    ("pillars", |c| c.pillars = 2),
    ("assign", |c| c.assign = Assign::Client),
    ("leaders", |c| c.leaders = Leaders::Single),
    ("auth", |c| c.auth = Suite::Rsa3072),
    ("replies", |c| c.replies = Replies::Each),
    ("bundle", |c| c.bundle = 1),
    ("batch_max", |c| c.batch_max = 100),
    ("batch_bytes", |c| c.batch_bytes += 1),
    ("batch_delay", |c| c.batch_delay = Duration::from_micros(50)),
    ("pipeline", |c| c.pipeline = 3),
    ("checkpoint_interval", |c| c.checkpoint_interval = 64),
    ("window", |c| c.window = 256),
    ("client_window", |c| c.client_window = 64),
    ("request_operations", |c| c.request_operations = 10),
    ("request_max", |c| c.request_max = 5000),
    ("reply_max", |c| c.reply_max = 100),
    ("client_result_bytes", |c| c.client_result_bytes = 0),
    ("catch_up_bytes", |c| c.catch_up_bytes = 1 << 20),
    ("view_timeout", |c| c.view_timeout = Duration::from_millis(1500)),
    ("client_timeout", |c| c.client_timeout = Duration::from_secs(1)),
    ("max_clock_skew", |c| c.max_clock_skew = Duration::from_secs(1)),
    ("replica_keys", |c| c.replicas[3].key = keys(1)[0].clone()),
    ("clients", |c| c.clients.truncate(2)),
    ("client_keys", |c| c.clients[1].key = keys(1)[0].clone()),
];

#[test]
fn a_configuration_reads_what_it_writes() {
    let mut config = cluster();
    assert_eq!(ClusterConfig::parse(&config.to_toml(), "c.toml").unwrap(), config);
    for (name, change) in CHANGES.iter().filter(|(name, _)| *name != "auth") {
        change(&mut config);
        assert_eq!(ClusterConfig::parse(&config.to_toml(), "c.toml").unwrap(), config, "after {name}");
    }
}

#[test]
fn what_the_file_leaves_out_has_its_default() {
    let config = cluster();
    let text = config.to_toml();
    let members = &text[text.find("[[replica]]").unwrap()..];
    let read = ClusterConfig::parse(&format!("[cluster]\nauth = \"ed25519\"\n{members}"), "c.toml").unwrap();
    assert_eq!(read, config);
}

#[test]
fn the_hash_differs_with_every_setting_and_names_it() {
    let config = cluster();
    let settings = crate::config::cluster::FIELDS.len();
    // `client_auth` has one value only, so far; three more lines are about members.
    assert_eq!(CHANGES.len(), settings - 1 + 3, "every setting is tried");
    for (name, change) in CHANGES {
        let mut other = config.clone();
        change(&mut other);
        assert_ne!(config.hash(), other.hash(), "{name}");
        let difference = config.first_difference(&other.summary()).unwrap();
        assert_eq!(difference.setting, *name);
        assert_ne!(difference.here, difference.there);
    }
    let mut other = config.clone();
    other.pillars = 4;
    let difference = config.first_difference(&other.summary()).unwrap();
    assert_eq!(difference.to_string(), "pillars is 1 here and 4 there");
}

#[test]
fn the_hash_does_not_depend_on_addresses_or_the_order_in_the_file() {
    let config = cluster();
    let mut moved = config.clone();
    for replica in &mut moved.replicas {
        let far = |address: SocketAddr| SocketAddr::from(([192, 0, 2, 1], address.port() + 1000));
        (replica.peer, replica.client) = (far(replica.peer), far(replica.client));
    }
    assert_eq!(config.hash(), moved.hash());
    assert_eq!(config.first_difference(&moved.summary()), None);

    let text = config.to_toml();
    let (settings, members) = text.split_at(text.find("[[replica]]").unwrap());
    let mut lines: Vec<&str> = settings.trim().lines().skip(1).collect();
    lines.reverse();
    let reversed = format!("{members}\n[cluster]\n{}\n", lines.join("\n"));
    assert_eq!(ClusterConfig::parse(&reversed, "c.toml").unwrap().hash(), config.hash());
}

#[test]
fn a_difference_from_any_bytes_is_short_and_printable() {
    let config = cluster();
    let hostile: &[&[u8]] = &[b"", b"\n\n\n", b"format=\x1b[31m\0\xff", &[b'x'; 100_000], &[0xff; 64]];
    for bytes in hostile {
        let difference = config.first_difference(bytes).unwrap().to_string();
        assert!(difference.len() < 2000 && !difference.chars().any(char::is_control), "{difference:?}");
    }
    let summary = config.summary();
    let longer = [&summary[..], b"later=1\n"].concat();
    assert_eq!(config.first_difference(&longer).unwrap().to_string(), "later is absent here and 1 there");
    let difference = first_difference(&longer, &summary).unwrap();
    assert_eq!(difference.to_string(), "later is 1 here and absent there");
    assert!(summary.len() <= 16 << 10);
}

#[test]
fn members_keys_verify_under_the_hash() {
    let config = cluster();
    let keyring = config.keyring().unwrap();
    assert_eq!((keyring.replicas(), keyring.clients()), (4, 3));
    assert_eq!(keyring.domain().configuration, config.hash());
    assert_eq!(config.client_with(&config.clients[2].key), Some(config.clients[2].id));
    assert_eq!(config.client_with(&config.replicas[2].key), None);
}

#[test]
fn the_limits_are_those_of_the_design() {
    let mut config = cluster();
    config.auth = Suite::Rsa2048;
    let kilobytes = |size: usize| size / 100;
    assert_eq!(kilobytes(config.sealed_bundle_max()), 58, "5.8 KB");
    assert_eq!(config.view_change_max() / 100_000, 22, "2.2 MB at n = 4");
    assert_eq!(config.frame_max_replica(), config.view_change_max());
    // Six windows of bodies with as much room again, VIEW-CHANGEs, votes, queues and `catch_up_bytes`.
    assert!(config.memory_bound() > 6 * 128 * 2 * (256 << 10) + (64 << 20));
    assert!(config.memory_bound() < 1 << 30);

    (config.window, config.checkpoint_interval, config.batch_bytes) = (2, 1, 64 << 20);
    assert_eq!(config.frame_max_replica(), config.body_max());
    assert!(config.frame_max_client() > config.client_result_bytes + config.reply_max);
}
