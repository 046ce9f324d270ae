//! What makes a cluster's configuration valid: ranges, and what settings demand of each other.

use std::collections::BTreeMap;

use bytesize::ByteSize;
use hypostyle_crypto::{PublicKey, Suite};

use super::cluster::{ClusterConfig, FIELDS};
use super::error::{ConfigError, Place, Wrong};
use super::field::check_ranges;

/// f is at most 33: a quorum's certificate stays a small message.
const REPLICAS_MAX: usize = 100;
const CLIENTS_MAX: usize = 1_000_000;
/// Frames carry their length in 32 bits; a receiver reserves memory for the largest one.
const FRAME_MAX: usize = 1 << 30;
const ID_MAX: usize = 64;

/// What of a configuration is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Setting(&'static str),
    Replicas,
    Replica(usize, &'static str),
    Client(usize, &'static str),
}

pub(crate) struct Fault {
    pub(crate) subject: Subject,
    pub(crate) wrong: Wrong,
}

impl ClusterConfig {
    /// Checks every range and what settings demand of each other.
    ///
    /// # Errors
    /// The first fault found, with its remedy.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.check().map_err(|fault| ConfigError::new(Place::Setting(fault.subject.to_string()), fault.wrong))
    }

    pub(crate) fn check(&self) -> Result<(), Fault> {
        check_ranges(self, FIELDS)
            .map_err(|(name, wrong)| Fault { subject: Subject::Setting(name), wrong })?;
        self.check_name()?;
        self.check_window()?;
        self.check_requests()?;
        self.check_counts()?;
        self.check_members()?;
        self.check_keys()?;
        self.check_addresses()?;
        self.check_frames()
    }

    fn check_name(&self) -> Result<(), Fault> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if !self.id.is_empty() && self.id.len() <= ID_MAX && self.id.chars().all(plain) {
            return Ok(());
        }
        let remedy = format!("choose 1 to {ID_MAX} letters, digits, dots, dashes and underscores");
        setting("id", format!("id: \"{}\" is no name", self.id.escape_debug()), remedy)
    }

    fn check_window(&self) -> Result<(), Fault> {
        let (k, l) = (self.checkpoint_interval, self.window);
        if l >= 2 * k && l.is_multiple_of(k) {
            return Ok(());
        }
        let what = format!("window: {l} is no multiple of checkpoint_interval {k} from twice it on");
        let above = l.div_ceil(k).max(2) * k;
        setting("window", what, format!("choose window = {above}, or change checkpoint_interval"))
    }

    fn check_requests(&self) -> Result<(), Fault> {
        if self.request_max > self.batch_bytes {
            let (request, batch) = (bytes(self.request_max), bytes(self.batch_bytes));
            let what = format!("request_max: a request of {request} fits no batch of {batch} (batch_bytes)");
            return setting("request_max", what, format!("choose at most {batch}, or raise batch_bytes"));
        }
        let m = u32::from(self.request_operations);
        for (name, limit) in [("batch_max", self.batch_max), ("client_window", self.client_window)] {
            if m > limit {
                let what = format!("request_operations: {m} operations exceed {name} = {limit}");
                let remedy = format!("choose at most {limit}, or raise {name}");
                return setting("request_operations", what, remedy);
            }
        }
        Ok(())
    }

    fn check_counts(&self) -> Result<(), Fault> {
        check_n(self.n()).map_err(|wrong| Fault { subject: Subject::Replicas, wrong })?;
        if self.clients.len() > CLIENTS_MAX {
            let what = format!("{} clients are too many", self.clients.len());
            return fault(Subject::Client(CLIENTS_MAX, "id"), what, format!("have at most {CLIENTS_MAX}"));
        }
        Ok(())
    }

    fn check_members(&self) -> Result<(), Fault> {
        let replicas = self.replicas.iter().map(|replica| u32::from(replica.id.0));
        dense(replicas, "replica", |index| Subject::Replica(index, "id"))?;
        dense(self.clients.iter().map(|client| client.id.0), "client", |index| Subject::Client(index, "id"))
    }

    fn check_keys(&self) -> Result<(), Fault> {
        let replicas = self.replicas.iter().enumerate();
        let clients = self.clients.iter().enumerate();
        let keys = replicas
            .map(|(index, replica)| (Subject::Replica(index, "key"), &replica.key))
            .chain(clients.map(|(index, client)| (Subject::Client(index, "key"), &client.key)));
        let mut owners: BTreeMap<&PublicKey, Subject> = BTreeMap::new();
        for (subject, key) in keys {
            check_suite(subject, key.suite(), self.auth)?;
            if let Some(owner) = owners.insert(key, subject) {
                let what = format!("key: the same key as of {}", owner.member());
                return fault(subject, what, "make a key of its own with `hypostyle key new`".to_owned());
            }
        }
        Ok(())
    }

    fn check_addresses(&self) -> Result<(), Fault> {
        let mut owners = BTreeMap::new();
        for (index, replica) in self.replicas.iter().enumerate() {
            for (name, address) in [("peer", replica.peer), ("client", replica.client)] {
                let subject = Subject::Replica(index, name);
                if address.port() == 0 || address.ip().is_unspecified() {
                    let remedy = "write the address and port that others dial".to_owned();
                    return fault(subject, format!("{name}: {address} cannot be dialled"), remedy);
                }
                if let Some((owner, other)) = owners.insert(address, (index, name)) {
                    let what = format!("{name}: {address} is the {other} address of replica {owner} too");
                    return fault(subject, what, "give every listener an address of its own".to_owned());
                }
            }
        }
        Ok(())
    }

    fn check_frames(&self) -> Result<(), Fault> {
        let largest = self.frame_max_replica();
        if largest <= FRAME_MAX {
            return Ok(());
        }
        let what = format!("window: messages of up to {} follow from it and n", bytes(largest));
        setting("window", what, format!("choose a smaller window: {} is the limit", bytes(FRAME_MAX)))
    }
}

impl Subject {
    /// The one a key or address belongs to.
    fn member(self) -> String {
        match self {
            Self::Replica(index, _) => format!("replica {index}"),
            Self::Client(index, _) => format!("client {index}"),
            Self::Replicas | Self::Setting(_) => "the cluster".to_owned(),
        }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // What is wrong begins with the setting's name.
            Self::Setting(_) => f.write_str("[cluster]"),
            Self::Replicas => f.write_str("[[replica]]"),
            Self::Replica(index, _) => write!(f, "[[replica]] {index}"),
            Self::Client(index, _) => write!(f, "[[client]] {index}"),
        }
    }
}

/// n = 3f+1 with f from 1 on.
pub(crate) fn check_n(n: usize) -> Result<(), Wrong> {
    if (4..=REPLICAS_MAX).contains(&n) && n % 3 == 1 {
        return Ok(());
    }
    let below = (n.clamp(4, REPLICAS_MAX) - 1) / 3 * 3 + 1;
    let choice = match below {
        _ if n < 4 => "4".to_owned(),
        REPLICAS_MAX => REPLICAS_MAX.to_string(),
        _ => format!("{below} or {}", below + 3),
    };
    let what = format!("{n} replicas: n must be 3f+1 with f from 1 to {}", (REPLICAS_MAX - 1) / 3);
    Err(Wrong::new(what, format!("have {choice} replicas")))
}

fn dense(
    ids: impl Iterator<Item = u32>,
    kind: &str,
    subject: impl Fn(usize) -> Subject,
) -> Result<(), Fault> {
    for (index, id) in ids.enumerate() {
        if u32::try_from(index) != Ok(id) {
            let what = if (id as usize) < index {
                format!("id: {kind} {id} is there twice or out of order")
            } else {
                format!("id: {kind} {id} follows where {index} is missing")
            };
            let remedy = format!("number the {kind}s 0, 1, 2… in this order; this one is {index}");
            return fault(subject(index), what, remedy);
        }
    }
    Ok(())
}

fn check_suite(subject: Subject, suite: Suite, auth: Suite) -> Result<(), Fault> {
    if suite == auth {
        return Ok(());
    }
    let what = format!("key: a key of suite {suite}, but auth = \"{auth}\"");
    let remedy = format!("make another with `hypostyle key new --auth {auth}`, or change auth everywhere");
    fault(subject, what, remedy)
}

fn setting<T>(name: &'static str, what: String, remedy: String) -> Result<T, Fault> {
    fault(Subject::Setting(name), what, remedy)
}

fn fault<T>(subject: Subject, what: String, remedy: String) -> Result<T, Fault> {
    Err(Fault { subject, wrong: Wrong { what, remedy } })
}

fn bytes(size: usize) -> ByteSize {
    ByteSize::b(u64::try_from(size).unwrap_or(u64::MAX))
}
