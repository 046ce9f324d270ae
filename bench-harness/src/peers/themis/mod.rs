//! Themis: how it is configured and started. Its `themis-bench-app` is driven by its `bench-client`.

mod config;
mod keys;
pub(super) mod output;

use std::path::PathBuf;

use anyhow::Context as _;

use super::install::find_one;
use super::plan::{Need, Plan, Program, Site};
use super::work::{Auth, PeerWork, REPLICAS};

/// Three a replica: for clients, for replicas, and for metrics where they were built in.
pub(super) const ADDRESSES: usize = 3 * REPLICAS;

const REPLICA: Need = Need {
    any_of: &["themis-bench-app", "bin/themis-bench-app", "target/release/themis-bench-app"],
    what: "its replica program",
};
const CLIENT: Need = Need {
    any_of: &["bench-client", "bin/bench-client", "target/release/bench-client"],
    what: "its load generator",
};

pub(super) fn signed(auth: Auth) -> Result<&'static str, &'static str> {
    match auth {
        Auth::R => {
            Err("Themis can't let clients sign with RSA: its load generator panics; use --setting T or D")
        }
        Auth::T => Ok(
            "replicas sign each protocol message with RSA-2048; requests and replies carry an HMAC of the \
                       client's connection to one replica, so no replica can check a request that the primary passes on",
        ),
        Auth::D => {
            Ok("replicas sign each protocol message with Ed25519; requests and replies carry an HMAC of the \
                       client's connection to one replica, so no replica can check a request that the primary passes on")
        }
    }
}

pub(super) fn needs() -> Vec<Need> {
    vec![REPLICA, CLIENT]
}

pub(super) fn plan(work: &PeerWork, site: Site<'_>) -> anyhow::Result<Plan> {
    let executable = |need: &Need| {
        find_one(&site.install.directory, need).with_context(|| format!("{} has gone", need.any_of[0]))
    };
    let (replica, client) = (executable(&REPLICA)?, executable(&CLIENT)?);
    let mut files = vec![
        (PathBuf::from("config/config.toml"), config::config(work, site).into_bytes()),
        (PathBuf::from("config/pbft.toml"), config::PBFT.into()),
    ];
    for (id, pair) in keys::pairs(work.auth)?.into_iter().enumerate() {
        files.push((config::private_key(id), pair.private));
        files.push((config::public_key(id), pair.public));
    }
    let directory = site.scratch.join("config").display().to_string();
    let program = |name: String, executable: PathBuf, arguments: Vec<String>| Program {
        name,
        executable,
        arguments,
        directory: PathBuf::new(),
        // Its reports are at this level.
        environment: vec![("RUST_LOG".to_owned(), "info".to_owned())],
    };
    let replicas = (0..REPLICAS).map(|id| {
        let arguments = vec![id.to_string(), "--config".to_owned(), directory.clone()];
        program(format!("replica {id}"), replica.clone(), arguments)
    });
    let flags = [
        ("--config", directory.clone()),
        ("-c", work.clients.to_string()),
        ("-a", work.outstanding.to_string()),
        ("--payload", work.payload.to_string()),
        ("-d", work.load_seconds().to_string()),
    ];
    let arguments = flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect();
    Ok(Plan {
        files,
        replicas: replicas.collect(),
        client: program("the load generator".to_owned(), client, arguments),
        ..Plan::default()
    })
}
