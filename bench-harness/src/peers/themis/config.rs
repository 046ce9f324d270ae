use std::fmt::Write;
use std::path::PathBuf;

use crate::peers::plan::Site;
use crate::peers::work::{Auth, PeerWork, REPLY_BYTES};

/// As it is shipped.
pub(super) const PBFT: &str = "[pbft]
faults = 1
first_primary = 0
checkpoint_interval = 1000
high_mark_delta = 3000
request_timeout = 1000
keep_checkpoints = 2
primary_forwarding = 'Full'
backup_forwarding = 'Full'
reply_mode = 'All'
";

pub(super) fn private_key(id: usize) -> PathBuf {
    PathBuf::from(format!("keys/private-{id}"))
}

pub(super) fn public_key(id: usize) -> PathBuf {
    PathBuf::from(format!("keys/public-{id}"))
}

pub(super) fn config(work: &PeerWork, site: Site<'_>) -> String {
    let peers = match work.auth {
        Auth::R | Auth::T => "Rsa",
        Auth::D => "Ed25519",
    };
    // More than are ever in flight would fill no batch: each would wait for its timeout.
    let batch = work.batch_max.min(work.clients.saturating_mul(work.outstanding));
    let mut text = format!(
        "reply_size = {REPLY_BYTES}\nexecution = 'Single'\nbatching = true\n\n[authentication]\npeers = \"{peers}\"\n\
         clients = \"Hmac\"\n\n[batch]\nmin = {batch}\nmax = {batch}\ntimeout = {{ secs = 0, nanos = 10_000_000 }}\n"
    );
    for (id, own) in site.addresses.chunks_exact(3).enumerate() {
        let path = |file: PathBuf| toml_string(&site.scratch.join(file).display().to_string());
        let _ = write!(
            text,
            "\n[[peers]]\nid = {id}\nhost = '{}'\nbind = '{}'\nclient_port = {}\npeer_port = {}\nprivate_key = {}\n\
             public_key = {}\ncertificate = ''\nprometheus_port = {}\n",
            own[0].ip(),
            own[0].ip(),
            own[0].port(),
            own[1].port(),
            path(private_key(id)),
            path(public_key(id)),
            own[2].port(),
        );
    }
    text
}

/// A directory's name may hold anything.
fn toml_string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::work::Install;
    use crate::peers::work::tests::work;
    use std::net::SocketAddr;
    use std::path::Path;

    fn with(work: &PeerWork) -> String {
        let install = Install { directory: "/opt/themis".into(), java: PathBuf::new() };
        let addresses: Vec<SocketAddr> =
            (1..=12).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect();
        config(work, Site { install: &install, scratch: Path::new("/a \"b\""), addresses: &addresses })
    }

    #[test]
    fn four_peers_on_loopback_with_their_keys() {
        let text = with(&work(Auth::T));
        assert_eq!(text.matches("[[peers]]").count(), 4);
        assert_eq!(text.matches("bind = '127.0.0.1'").count(), 4, "else it listens on every interface");
        assert!(text.contains("peers = \"Rsa\"") && text.contains("batching = true"));
        assert!(text.contains("client_port = 10\npeer_port = 11\n") && text.contains("prometheus_port = 12"));
        assert!(text.contains(r#"private_key = "/a \"b\"/keys/private-3""#), "{text}");
    }

    #[test]
    fn a_batch_is_no_larger_than_the_load() {
        let text = with(&PeerWork { clients: 2, outstanding: 10, ..work(Auth::D) });
        assert!(text.contains("min = 20\nmax = 20\n") && text.contains("\"Ed25519\""), "{text}");
    }
}
