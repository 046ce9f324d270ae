//! The configuration as the bytes that every member hashes.

use bytes::Bytes;
use hypostyle_app_api::Digest;
use hypostyle_crypto::{PublicKey, sha256};

use super::cluster::{ClusterConfig, FIELDS};
use super::field::Field;

/// Tells the form of what follows; changes when a version of this program understands a configuration differently.
const FORMAT: &str = "hypostyle configuration 1";
/// What is shown of another's value.
const SHOWN: usize = 80;

/// The first setting in which two configurations differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The setting.
    pub setting: String,
    /// Its value here.
    pub here: String,
    /// Its value there.
    pub there: String,
}

impl ClusterConfig {
    /// What has to be equal everywhere, as lines `name=value`, at most 4 KiB: every setting of `[cluster]`, the number of
    /// replicas and of clients, and one digest over the keys of each. Addresses are not in it.
    #[must_use]
    pub fn summary(&self) -> Bytes {
        let mut text = format!("format={FORMAT}\n");
        let mut line = |name: &str, value: &str| {
            text.push_str(name);
            text.push('=');
            text.push_str(value);
            text.push('\n');
        };
        for Field { name, show, .. } in FIELDS {
            // A line break inside a value would forge a line: validate() refuses it, this makes it harmless.
            line(name, &show(self).unwrap_or_default().replace('\n', " "));
        }
        let replicas = self.replicas.iter().map(|replica| (u32::from(replica.id.0), &replica.key));
        let clients = self.clients.iter().map(|client| (client.id.0, &client.key));
        line("replicas", &self.replicas.len().to_string());
        line("replica_keys", &keys_digest(replicas).to_string());
        line("clients", &self.clients.len().to_string());
        line("client_keys", &keys_digest(clients).to_string());
        Bytes::from(text)
    }

    /// The first setting in which this configuration differs from the one `there` is a [`summary`](Self::summary) of.
    /// `there` may be any bytes.
    #[must_use]
    pub fn first_difference(&self, there: &[u8]) -> Option<Difference> {
        first_difference(&self.summary(), there)
    }
}

/// The hash of a summary.
pub(crate) fn hash(summary: &[u8]) -> Digest {
    sha256(&[summary])
}

/// The first line in which two summaries differ. Both may be any bytes: what is shown of them is short and printable.
#[must_use]
pub fn first_difference(here: &[u8], there: &[u8]) -> Option<Difference> {
    let lines = |bytes: &[u8]| bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
    let (ours, theirs) = (lines(here), lines(there));
    let same = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
    let (our_line, their_line) = (ours.get(same), theirs.get(same));
    if our_line.is_none() && their_line.is_none() {
        return None;
    }
    let (setting, here) = split(our_line);
    let (their_setting, there) = split(their_line);
    let absent = || "absent".to_owned();
    // Names differ between versions that know different settings.
    Some(match (setting.is_empty(), setting == their_setting) {
        (true, _) => Difference { setting: their_setting, here: absent(), there },
        (false, true) => Difference { setting, here, there },
        (false, false) => Difference { setting, here, there: absent() },
    })
}

fn split(line: Option<&Vec<u8>>) -> (String, String) {
    let line = line.map_or(&[][..], Vec::as_slice);
    let equals = line.iter().position(|byte| *byte == b'=').unwrap_or(line.len());
    (printable(&line[..equals]), printable(line.get(equals + 1..).unwrap_or_default()))
}

fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().take(SHOWN).flat_map(char::escape_debug).collect()
}

fn keys_digest<'a>(keys: impl Iterator<Item = (u32, &'a PublicKey)>) -> Digest {
    let mut hasher = hypostyle_crypto::Hasher::new();
    for (id, key) in keys {
        let key = key.to_string();
        let length = u32::try_from(key.len()).expect("a key is short");
        hasher.update(&id.to_le_bytes()).update(&length.to_le_bytes()).update(key.as_bytes());
    }
    hasher.finish()
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is {} here and {} there", self.setting, self.here, self.there)
    }
}
