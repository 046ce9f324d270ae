//! BFT-SMaRt 2.0: how it is configured and started. Its newer benchmark is driven, `bftsmart.benchmark`.

mod config;
pub(super) mod output;

use std::path::PathBuf;

use super::plan::{Need, Plan, Program, Site};
use super::work::{Auth, Install, PeerWork, REPLICAS, REPLY_BYTES};

/// Two a replica: for clients and for replicas.
pub(super) const ADDRESSES: usize = 2 * REPLICAS;
/// The id of the first client; replicas have those from 0 on.
const FIRST_CLIENT: u32 = 1001;
const KEY_STORES: &str = "config/keysSSL_TLS";

pub(super) fn signed(auth: Auth) -> Result<&'static str, &'static str> {
    match auth {
        Auth::R => Ok(
            "clients sign requests with RSA-2048, all with the one default key, and each replica verifies \
                       what it gets from a client, but not the requests inside a proposal; replies and client links \
                       (plain TCP) carry nothing; replicas authenticate each other by TLS with one shared key store, \
                       so no protocol message is signed",
        ),
        Auth::T => Err("BFT-SMaRt has no setting with MACs for clients and RSA between replicas; its \
                        useSignatures=2 verifies one constant signature for each request and so authenticates \
                        nothing: use --setting R or D"),
        Auth::D => {
            Ok("nothing is signed and clients authenticate nothing (plain TCP, no MACs on requests or \
                       replies); replicas authenticate each other by TLS with one shared key store")
        }
    }
}

pub(super) fn load_note(work: &PeerWork) -> String {
    format!("closed: {} threads with one operation each, one connection a thread and replica", threads(work))
}

pub(super) fn needs() -> Vec<Need> {
    vec![
        Need { any_of: &["lib/*.jar"], what: "its jars" },
        Need {
            any_of: &["config/keysSSL_TLS/EC_KeyPair_256.pkcs12"],
            what: "the key store of replica links",
        },
    ]
}

pub(super) fn plan(work: &PeerWork, site: Site<'_>) -> Plan {
    let mut plan = Plan::default();
    for id in 0..REPLICAS {
        let directory = PathBuf::from(format!("replica-{id}"));
        let arguments = vec![id.to_string(), REPLY_BYTES.to_string()];
        let main = "bftsmart.benchmark.ThroughputLatencyServer";
        plan.replicas.push(program(site.install, format!("replica {id}"), &directory, main, arguments));
        add_directory(&mut plan, &directory, work, site);
    }
    let directory = PathBuf::from("client");
    let arguments = vec![
        FIRST_CLIENT.to_string(),
        threads(work).to_string(),
        // The launcher ends it: the load must not end by itself.
        i32::MAX.to_string(),
        work.payload.to_string(),
        "true".to_owned(),
        "false".to_owned(),
        "true".to_owned(),
    ];
    let main = "bftsmart.benchmark.ThroughputLatencyClient";
    plan.client = program(site.install, "the load generator".to_owned(), &directory, main, arguments);
    add_directory(&mut plan, &directory, work, site);
    plan
}

/// Its clients keep one operation in flight: the load takes as many clients as there are to be operations.
fn threads(work: &PeerWork) -> u32 {
    work.clients.saturating_mul(work.outstanding)
}

fn program(
    install: &Install,
    name: String,
    directory: &std::path::Path,
    main: &str,
    arguments: Vec<String>,
) -> Program {
    let options = [
        "-Djava.security.properties=config/java.security".to_owned(),
        "-Dlogback.configurationFile=config/logback.xml".to_owned(),
        "-cp".to_owned(),
        format!("{}/lib/*", install.directory.display()),
        main.to_owned(),
    ];
    Program::java(name, &install.java, directory.to_owned(), &options, arguments)
}

/// Each process has a directory of its own: it writes into it.
fn add_directory(plan: &mut Plan, directory: &std::path::Path, work: &PeerWork, site: Site<'_>) {
    for (name, text) in [
        ("hosts.config", config::hosts(site.addresses)),
        ("system.config", config::system(work)),
        ("java.security", config::JAVA_SECURITY.to_owned()),
        ("logback.xml", config::LOGBACK.to_owned()),
    ] {
        plan.files.push((directory.join("config").join(name), text.into_bytes()));
    }
    plan.links.push((directory.join(KEY_STORES), site.install.directory.join(KEY_STORES)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::work::tests::work;
    use std::net::SocketAddr;
    use std::path::Path;

    #[test]
    fn every_process_has_a_directory_of_its_own() {
        let install = Install { directory: "/opt/smart".into(), java: "/usr/bin/java".into() };
        let addresses: Vec<SocketAddr> =
            (1..=8).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect();
        let site = Site { install: &install, scratch: Path::new("/s"), addresses: &addresses };
        let plan = plan(&work(Auth::D), site);
        let mut directories: Vec<_> =
            plan.replicas.iter().chain([&plan.client]).map(|one| &one.directory).collect();
        directories.dedup();
        assert_eq!((directories.len(), plan.files.len(), plan.links.len()), (5, 20, 5));
        let tail = &plan.client.arguments[5..];
        assert_eq!(
            tail,
            ["1001", "800", "2147483647", "100", "true", "false", "true"],
            "800 = 8 x 100 threads"
        );
        assert_eq!(&plan.replicas[3].arguments[5..], ["3", "1"]);
    }
}
