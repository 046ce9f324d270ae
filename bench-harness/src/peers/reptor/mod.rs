//! Reptor: how it is configured and started. Its benchmark `zero` is driven, over PBFT with one to four pillars.

mod config;
pub(super) mod output;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::plan::{Need, Plan, Program, Site};
use super::work::{Auth, PeerWork, REPLICAS};

/// Four a replica and one for control each; one more for the load generator's control.
pub(super) const ADDRESSES: usize = 5 * REPLICAS + 1;

/// Keys are looked for in `config/keys` two directories above the one that this lies in.
const CONFIGURATION: &str = "run/cfg/bench.cfg";
/// A run without a result shorter than this, in seconds, leaves none.
const RUN_MIN_S: u64 = 10;

pub(super) fn signed(auth: Auth) -> Result<&'static str, &'static str> {
    match auth {
        Auth::R => {
            Ok("RSA-2048 on everything, one signature a message: each request, each protocol message, each \
                       reply (replies follow the clients' setting); verified by whoever gets it")
        }
        Auth::T => {
            Ok("replicas sign each protocol message with RSA-2048; requests carry an HMAC-SHA256 for each \
                       replica, replies one HMAC-SHA256")
        }
        Auth::D => {
            Ok("nothing is signed: HMAC-SHA256 for each receiver on requests, protocol messages and replies")
        }
    }
}

/// What certifies messages of clients (and replies to them), and those between replicas.
fn certificates(auth: Auth) -> (&'static str, &'static str) {
    const RSA: &str = "RSA_2048_SHA256";
    const HMAC: &str = "HMAC_SHA256";
    match auth {
        Auth::R => (RSA, RSA),
        Auth::T => (HMAC, RSA),
        Auth::D => (HMAC, HMAC),
    }
}

pub(super) fn refuse(work: &PeerWork) -> Result<(), String> {
    if schedule(work.pillars).is_none() {
        return Err(format!(
            "--pillars {}: Reptor's install has schedules for 1, 2 and 4 pillars",
            work.pillars
        ));
    }
    if work.clients < work.pillars.into() {
        return Err(format!(
            "--clients {}: Reptor stops for ever at the first empty instance, so every one of its {} pillars needs \
             a client",
            work.clients, work.pillars
        ));
    }
    Ok(())
}

pub(super) fn needs(work: &PeerWork) -> Vec<Need> {
    let mut needs = vec![
        Need {
            any_of: &["build/classes/reptor/start/reptor/start/ReplicaHost.class", "lib/*.jar"],
            what: "its classes",
        },
        Need { any_of: &["config/base.cfg"], what: "its base settings" },
        Need { any_of: &["config/pbftx.cfg"], what: "its settings of PBFT" },
    ];
    if let Some(any_of) = schedule(work.pillars) {
        needs.push(Need { any_of, what: "its schedule for so many pillars" });
    }
    needs
}

fn schedule(pillars: u16) -> Option<&'static [&'static str]> {
    match pillars {
        1 => Some(&["config/rep-sched-SCOP1I4.cfg"]),
        2 => Some(&["config/rep-sched-SCOP2I4.cfg"]),
        4 => Some(&["config/rep-sched-SCOP4I4.cfg"]),
        _ => None,
    }
}

pub(super) fn plan(work: &PeerWork, site: Site<'_>) -> anyhow::Result<Plan> {
    let schedule = schedule(work.pillars).context("no schedule for so many pillars")?[0];
    let shipped =
        ["config/base.cfg", "config/pbftx.cfg", schedule].map(|name| read(&site.install.directory, name));
    let shipped = shipped.into_iter().collect::<anyhow::Result<Vec<String>>>()?;
    let text = config::configuration(&shipped, work, site.addresses);
    let addresses = config::Addresses::of(site.addresses);
    let results = path(site.scratch, "results");
    let configuration = path(site.scratch, CONFIGURATION);
    let run = |name: String, main: &str, arguments: Vec<String>| {
        let options = options(&site.install.directory, site.scratch, main);
        Program::java(name, &site.install.java, PathBuf::from("results"), &options, arguments)
    };
    let warm = work.warmup.as_secs().to_string();
    let rest = (work.load_seconds() - work.warmup.as_secs()).max(RUN_MIN_S).to_string();
    let phases = [warm, rest, "0".to_owned()];
    let replica = |id: usize| {
        let mut arguments = vec![id.to_string(), configuration.clone(), "zero".to_owned()];
        arguments.extend(phases.iter().cloned());
        arguments.push(results.clone());
        run(format!("replica {id}"), "reptor.start.ReplicaHost", arguments)
    };
    let mut arguments = vec!["0".to_owned(), configuration.clone()];
    arguments.extend(phases.iter().cloned());
    arguments.extend(["0".to_owned(), "zero".to_owned(), results.clone()]);
    let keys = match work.auth {
        Auth::R => REPLICAS + work.clients as usize,
        Auth::T => REPLICAS,
        Auth::D => 0,
    };
    let make_keys = |count: usize| {
        let arguments =
            [path(site.scratch, "config"), "RSA".into(), "2048".into(), "0".into(), count.to_string()];
        run("its key generator".to_owned(), "reptor.start.Configurator", arguments.into())
    };
    Ok(Plan {
        files: vec![
            (CONFIGURATION.into(), text.into_bytes()),
            ("logback.xml".into(), config::LOGBACK.into()),
            ("results/.empty".into(), Vec::new()),
        ],
        links: Vec::new(),
        prepare: (keys > 0).then(|| make_keys(keys)).into_iter().collect(),
        replicas: (0..REPLICAS).map(replica).collect(),
        client: run("the load generator".to_owned(), "reptor.start.BenchmarkerHost", arguments),
        go: addresses.control(),
    })
}

fn read(directory: &Path, name: &str) -> anyhow::Result<String> {
    let path = directory.join(name);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

fn path(scratch: &Path, name: &str) -> String {
    scratch.join(name).display().to_string()
}

fn options(install: &Path, scratch: &Path, main: &str) -> [String; 4] {
    let class_path: Vec<String> =
        CLASS_PATH.iter().map(|entry| install.join(entry).display().to_string()).collect();
    [
        format!("-Dlogback.configurationFile={}", path(scratch, "logback.xml")),
        "-cp".to_owned(),
        class_path.join(":"),
        main.to_owned(),
    ]
}

/// Java leaves out what isn't there.
const CLASS_PATH: &[&str] = &[
    "build/classes/base/jlib",
    "build/classes/base/chronos",
    "build/classes/exprmt/measr",
    "build/classes/distrbt/distrbt",
    "build/classes/tbft/tbft",
    "build/classes/replct/replct",
    "build/classes/replct/bench",
    "build/classes/reptor/start",
    "build/deps/*",
    "lib/*",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::work::Install;
    use crate::peers::work::tests::work;
    use std::net::SocketAddr;

    fn plan_in(directory: &Path, work: &PeerWork) -> Plan {
        let install = Install { directory: directory.to_owned(), java: "/usr/bin/java".into() };
        let addresses: Vec<SocketAddr> =
            (1..=21).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect();
        plan(work, Site { install: &install, scratch: Path::new("/s"), addresses: &addresses })
            .expect("whole")
    }

    #[test]
    fn keys_are_made_for_who_signs() {
        let install = tempfile::tempdir().expect("temporary directory");
        fs::create_dir(install.path().join("config")).expect("created");
        for name in ["base", "pbftx", "rep-sched-SCOP1I4"] {
            fs::write(install.path().join(format!("config/{name}.cfg")), format!("of = {name}\n"))
                .expect("written");
        }
        let keys = |auth| {
            let plan = plan_in(install.path(), &work(auth));
            plan.prepare.first().and_then(|program| program.arguments.last().cloned())
        };
        assert_eq!(
            (keys(Auth::R).as_deref(), keys(Auth::T).as_deref(), keys(Auth::D)),
            (Some("12"), Some("4"), None)
        );
        let plan = plan_in(install.path(), &work(Auth::D));
        assert_eq!((plan.replicas.len(), plan.go.len()), (4, 5));
        let tail = &plan.replicas[2].arguments[4..];
        assert_eq!(tail, ["2", "/s/run/cfg/bench.cfg", "zero", "3", "20", "0", "/s/results"]);
        let tail = &plan.client.arguments[4..];
        assert_eq!(tail, ["0", "/s/run/cfg/bench.cfg", "3", "20", "0", "0", "zero", "/s/results"]);
    }

    #[test]
    fn a_pillar_without_a_client_is_refused() {
        assert!(
            refuse(&PeerWork { clients: 1, pillars: 2, ..work(Auth::D) })
                .expect_err("stalls")
                .contains("client")
        );
        assert!(
            refuse(&PeerWork { pillars: 3, ..work(Auth::D) })
                .expect_err("no schedule")
                .contains("1, 2 and 4")
        );
        assert!(refuse(&PeerWork { pillars: 4, ..work(Auth::D) }).is_ok());
    }
}
