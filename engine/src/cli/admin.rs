//! Asks a replica's admin listener.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use hypostyle::config::ReplicaConfig;

const TIMEOUT: Duration = Duration::from_secs(5);
/// An order log of 65,536 requests is some 10 MiB.
const ANSWER_MAX: u64 = 256 << 20;

/// The admin addresses that a target of the command line stands for: an address, the home of a replica, or a
/// directory that `init` wrote, which stands for all its replicas.
pub(super) fn addresses(target: &str) -> anyhow::Result<Vec<SocketAddr>> {
    if let Ok(address) = target.parse() {
        return Ok(vec![address]);
    }
    let directory = Path::new(target);
    if directory.join("replica.toml").exists() {
        return Ok(vec![admin_of(directory)?]);
    }
    let homes: Vec<PathBuf> =
        (0..).map(|id| directory.join(format!("replica-{id}"))).take_while(|home| home.exists()).collect();
    if homes.is_empty() {
        bail!(
            "{target}: neither an address, nor the home of a replica, nor a directory of homes\n  \
             remedy: name one, such as 127.0.0.1:7402, demo/replica-0 or demo"
        );
    }
    homes.iter().map(|home| admin_of(home)).collect()
}

/// What the listener answers to a GET.
pub(super) fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    // It is on loopback: no proxy knows the way.
    let config =
        ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).proxy(None).http_status_as_error(false);
    let agent: ureq::Agent = config.build().into();
    let mut response = agent.get(format!("http://{address}{path}")).call().map_err(|error| {
        anyhow!(
            "{address}: no answer ({error})\n  \
             remedy: start the replica with `hypostyle replica HOME`, or name the `admin` address of its replica.toml"
        )
    })?;
    let status = response.status();
    let body = response.body_mut().with_config().limit(ANSWER_MAX).read_to_string();
    let body = body.with_context(|| format!("{address}: the answer breaks off"))?;
    if !status.is_success() {
        bail!("{address}: {} ({status})\n  remedy: see the replica's log", body.trim());
    }
    Ok(body)
}

fn admin_of(home: &Path) -> anyhow::Result<SocketAddr> {
    let file = home.join("replica.toml");
    let config = ReplicaConfig::load(&file)?;
    config.admin.ok_or_else(|| {
        let file = file.display();
        anyhow!("{file}: no admin listener\n  remedy: add admin = \"127.0.0.1:7402\" there and start the replica anew")
    })
}
