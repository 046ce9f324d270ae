//! `cluster.toml`: read, with every fault at its line, and written.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use hypostyle_app_api::{ClientId, ReplicaId};
use hypostyle_crypto::PublicKey;
use toml::de::DeTable;

use super::check::{Fault, Subject};
use super::cluster::{ClientEntry, ClusterConfig, FIELDS, ReplicaEntry};
use super::document::{Document, Places, items};
use super::error::{ConfigError, Place, Wrong, suggestion};
use super::field::{Field, field, write_toml};
use super::overrides::Overrides;

/// Where everything of a cluster's configuration stands.
#[derive(Default)]
struct Map {
    settings: Places,
    replicas: Vec<Member>,
    clients: Vec<Member>,
}

/// Where a `[[replica]]` or `[[client]]` and its keys stand.
struct Member {
    header: Place,
    keys: Places,
}

#[derive(Default)]
struct ReplicaDraft {
    id: Option<u16>,
    peer: Option<SocketAddr>,
    client: Option<SocketAddr>,
    key: Option<PublicKey>,
}

#[derive(Default)]
struct ClientDraft {
    id: Option<u32>,
    key: Option<PublicKey>,
}

const REPLICA: &[Field<ReplicaDraft>] = &[
    field!(ReplicaDraft, id),
    field!(ReplicaDraft, peer),
    field!(ReplicaDraft, client),
    field!(ReplicaDraft, key),
];

const CLIENT: &[Field<ClientDraft>] = &[field!(ClientDraft, id), field!(ClientDraft, key)];

impl ClusterConfig {
    /// Reads and checks a `cluster.toml`; the environment's `HYPOSTYLE_*` are in force over it.
    ///
    /// # Errors
    /// The first fault, with its line and remedy.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        Self::load_with(path, &Overrides::from_environment()?)
    }

    /// Reads and checks a `cluster.toml` under these overrides.
    ///
    /// # Errors
    /// The first fault, with its line and remedy.
    pub fn load_with(path: impl AsRef<Path>, overrides: &Overrides) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|error| {
            let remedy =
                "name the cluster.toml that `hypostyle init` wrote; every replica and client has a copy";
            ConfigError::unreadable(path, &error, remedy)
        })?;
        Self::parse_with(&text, &path.display().to_string(), overrides)
    }

    /// Reads and checks a text that faults call `file`.
    ///
    /// # Errors
    /// The first fault, with its line and remedy.
    pub fn parse(text: &str, file: &str) -> Result<Self, ConfigError> {
        Self::parse_with(text, file, &Overrides::none())
    }

    /// This configuration with these overrides in force.
    ///
    /// # Errors
    /// The first fault, with its place and remedy.
    pub fn overridden(mut self, overrides: &Overrides) -> Result<Self, ConfigError> {
        overrides.apply(&mut self, FIELDS, &mut Places::new())?;
        Ok(self)
    }

    /// The same as a file: [`parse`](Self::parse) reads it back.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut out = String::from("[cluster]\n");
        write_toml(self, FIELDS, &mut out);
        let mut section = |header: &str, write: &dyn Fn(&mut String)| {
            write!(out, "\n[[{header}]]\n").expect("a string grows");
            write(&mut out);
        };
        for replica in &self.replicas {
            let draft = ReplicaDraft {
                id: Some(replica.id.0),
                peer: Some(replica.peer),
                client: Some(replica.client),
                key: Some(replica.key.clone()),
            };
            section("replica", &|out| write_toml(&draft, REPLICA, out));
        }
        for client in &self.clients {
            let draft = ClientDraft { id: Some(client.id.0), key: Some(client.key.clone()) };
            section("client", &|out| write_toml(&draft, CLIENT, out));
        }
        out
    }

    fn parse_with(text: &str, file: &str, overrides: &Overrides) -> Result<Self, ConfigError> {
        let document = Document::new(file, text);
        let table = document.parse()?;
        let mut config = Self::default();
        let mut map = Map::default();
        read(&document, &table, &mut config, &mut map)?;
        overrides.apply(&mut config, FIELDS, &mut map.settings)?;
        config.check().map_err(|fault| map.locate(&document, fault))?;
        Ok(config)
    }
}

impl Map {
    fn locate(&self, document: &Document<'_>, fault: Fault) -> ConfigError {
        let member = |members: &[Member], index: usize, name: &str| {
            members.get(index).map(|member| member.keys.get(name).unwrap_or(&member.header).clone())
        };
        let place = match fault.subject {
            Subject::Setting(name) => self.settings.get(name).cloned(),
            Subject::Replicas => self.replicas.last().map(|last| last.header.clone()),
            Subject::Replica(index, name) => member(&self.replicas, index, name),
            Subject::Client(index, name) => member(&self.clients, index, name),
        };
        ConfigError::new(place.unwrap_or_else(|| document.file()), fault.wrong)
    }
}

fn read<'a>(
    document: &Document<'_>,
    table: &'a DeTable<'a>,
    config: &mut ClusterConfig,
    map: &mut Map,
) -> Result<(), ConfigError> {
    for item in items(table) {
        match item.key {
            "cluster" => {
                let settings = items(document.table(&item, "[cluster]")?);
                document.apply(config, FIELDS, "[cluster]", &settings, &mut map.settings)?;
            }
            "replica" => {
                for (at, table) in document.tables(&item)? {
                    let (draft, member) = read_member(document, at, table, REPLICA, "[[replica]]")?;
                    config.replicas.push(replica(document, at, draft)?);
                    map.replicas.push(member);
                }
            }
            "client" => {
                for (at, table) in document.tables(&item)? {
                    let (draft, member) = read_member(document, at, table, CLIENT, "[[client]]")?;
                    config.clients.push(client(document, at, draft)?);
                    map.clients.push(member);
                }
            }
            other => return Err(document.error(item.key_at, unknown_section(other))),
        }
    }
    Ok(())
}

fn read_member<'a, D: Default>(
    document: &Document<'_>,
    at: usize,
    table: &'a DeTable<'a>,
    fields: &'static [Field<D>],
    section: &str,
) -> Result<(D, Member), ConfigError> {
    let mut draft = D::default();
    let mut keys = Places::new();
    document.apply(&mut draft, fields, section, &items(table), &mut keys)?;
    Ok((draft, Member { header: document.place(at), keys }))
}

fn replica(document: &Document<'_>, at: usize, draft: ReplicaDraft) -> Result<ReplicaEntry, ConfigError> {
    Ok(ReplicaEntry {
        id: ReplicaId(present(document, at, draft.id, "[[replica]]", "id = 0")?),
        peer: present(document, at, draft.peer, "[[replica]]", "peer = \"127.0.0.1:7400\"")?,
        client: present(document, at, draft.client, "[[replica]]", "client = \"127.0.0.1:7401\"")?,
        key: present(document, at, draft.key, "[[replica]]", "key = \"rsa-2048:…\"")?,
    })
}

fn client(document: &Document<'_>, at: usize, draft: ClientDraft) -> Result<ClientEntry, ConfigError> {
    Ok(ClientEntry {
        id: ClientId(present(document, at, draft.id, "[[client]]", "id = 0")?),
        key: present(document, at, draft.key, "[[client]]", "key = \"rsa-2048:…\"")?,
    })
}

fn present<T>(
    document: &Document<'_>,
    at: usize,
    value: Option<T>,
    section: &str,
    example: &str,
) -> Result<T, ConfigError> {
    value.ok_or_else(|| {
        let name = example.split(' ').next().unwrap_or(example);
        document
            .error(at, Wrong::new(format!("{section} lacks {name}"), format!("add it, such as {example}")))
    })
}

fn unknown_section(name: &str) -> Wrong {
    let known = ["cluster", "replica", "client"];
    let what = format!("unknown section \"{}\"", name.escape_debug());
    match FIELDS.iter().any(|field| field.name == name) {
        true => Wrong::new(what, "it is a setting: write it under [cluster]"),
        false => Wrong::new(what, suggestion(name, known)),
    }
}
