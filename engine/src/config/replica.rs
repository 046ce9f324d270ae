use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hypostyle_app_api::ReplicaId;
use toml::de::DeTable;

use super::document::{Document, Item, Places, items};
use super::error::{ConfigError, Place, Wrong};
use super::field::{Field, check_ranges, field, write_toml};
use super::overrides::Overrides;
use super::value::{Value, Word, word_value};

/// What concerns one replica's machine alone: `replica.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaConfig {
    /// Which replica this is.
    pub id: ReplicaId,
    /// The directory of its state. Like all paths here, relative to the directory of the file.
    pub home: PathBuf,
    /// The cluster's configuration.
    pub cluster: PathBuf,
    /// Its private key.
    pub private_key: PathBuf,
    /// What is on disk before a statement leaves.
    pub durability: Durability,
    /// Threads that own pillars.
    pub workers: Count,
    /// Where the executor runs.
    pub executor: Executor,
    /// Threads that verify and sign.
    pub crypto_threads: Count,
    /// The cores it may use.
    pub cores: Cores,
    /// Where status and metrics are served, on loopback; nowhere when absent.
    pub admin: Option<SocketAddr>,
    /// The address its own connections leave from.
    pub source: Option<IpAddr>,
    /// Where the whole executed order is written, one JSON object a line; nowhere when absent.
    pub order_log: Option<PathBuf>,
    /// What is logged: a level, or the directives of tracing's `EnvFilter`.
    pub log: String,
    /// Where it dials other replicas when that is not their `peer` address.
    pub dial: BTreeMap<ReplicaId, SocketAddr>,
    /// What it grants its connections.
    pub limits: Limits,
}

/// What a replica grants its connections: `[limits]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most connections.
    pub connections: u32,
    /// The most connections that are not authenticated yet.
    pub handshakes: u32,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// The most bytes that wait in a connection's write buffer.
    pub write_buffer: usize,
    /// The memory it may come to hold; the machine's when absent.
    pub memory: Option<usize>,
}

/// What is on disk before a statement leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: a replica that stops has forgotten its votes.
    None,
}

/// A number of threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// By the cores.
    Auto,
    /// So many.
    Fixed(u16),
}

/// Where the executor runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Executor {
    /// By the cores.
    Auto,
    /// On the first worker's thread.
    Inline,
    /// On a thread of its own.
    Thread,
}

/// How a replica spreads its work over threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threads {
    /// Threads that own pillars.
    pub workers: Count,
    /// Where the executor runs.
    pub executor: Executor,
    /// Threads that verify and sign.
    pub crypto_threads: Count,
}

/// The cores a replica may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cores {
    /// Those this process may run on.
    Auto,
    /// None of its own: it shares whatever there is.
    Shared,
    /// These, of those this process may run on.
    List(Vec<usize>),
}

const THREADS_MAX: u16 = 256;
const CORE_MAX: usize = 1023;

const FIELDS: &[Field<ReplicaConfig>] = &[
    field!(ReplicaConfig, id as "replica_id"),
    field!(ReplicaConfig, home),
    field!(ReplicaConfig, cluster),
    field!(ReplicaConfig, private_key),
    field!(ReplicaConfig, durability),
    field!(ReplicaConfig, workers),
    field!(ReplicaConfig, executor),
    field!(ReplicaConfig, crypto_threads),
    field!(ReplicaConfig, cores),
    field!(ReplicaConfig, admin),
    field!(ReplicaConfig, source),
    field!(ReplicaConfig, order_log),
    field!(ReplicaConfig, log),
];

const LIMITS: &[Field<Limits>] = &[
    field!(Limits, connections as "limits_connections", 16, 1_000_000),
    field!(Limits, handshakes as "limits_handshakes", 1, 65_536),
    field!(
        Limits,
        handshake_timeout as "limits_handshake_timeout",
        Duration::from_millis(100),
        Duration::from_secs(60)
    ),
    field!(Limits, write_buffer as "limits_write_buffer", 64 << 10, 1 << 30),
    field!(Limits, memory as "limits_memory"),
];

/// The names of all settings of this file among all settings.
pub(crate) fn setting_names() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().map(|field| field.global).chain(LIMITS.iter().map(|field| field.global))
}

/// Where everything of the file stands.
#[derive(Default)]
struct Map {
    settings: Places,
    limits: Places,
    dial: BTreeMap<ReplicaId, Place>,
}

impl ReplicaConfig {
    /// The defaults of replica `id` in a directory that `hypostyle init` made.
    #[must_use]
    pub fn new(id: ReplicaId) -> Self {
        Self {
            id,
            home: PathBuf::from("."),
            cluster: PathBuf::from("../cluster.toml"),
            private_key: PathBuf::from("key.pem"),
            durability: Durability::None,
            workers: Count::Auto,
            executor: Executor::Auto,
            crypto_threads: Count::Auto,
            cores: Cores::Auto,
            admin: None,
            source: None,
            order_log: None,
            log: "info".to_owned(),
            dial: BTreeMap::new(),
            limits: Limits::default(),
        }
    }

    /// The same with these threads.
    #[must_use]
    pub fn with_threads(self, threads: Threads) -> Self {
        let Threads { workers, executor, crypto_threads } = threads;
        Self { workers, executor, crypto_threads, ..self }
    }

    /// Reads and checks a `replica.toml`; the environment's `HYPOSTYLE_*` are in force over it. Paths come out relative
    /// to the working directory.
    ///
    /// # Errors
    /// The first fault, with its line and remedy.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        Self::load_with(path, &Overrides::from_environment()?)
    }

    /// Reads and checks a `replica.toml` under these overrides.
    ///
    /// # Errors
    /// The first fault, with its line and remedy.
    pub fn load_with(path: impl AsRef<Path>, overrides: &Overrides) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|error| {
            let remedy =
                "name a directory that `hypostyle init` wrote for a replica, such as cluster/replica-0";
            ConfigError::unreadable(path, &error, remedy)
        })?;
        let config = Self::parse_with(&text, &path.display().to_string(), overrides)?;
        Ok(config.relative_to(path.parent().unwrap_or(Path::new(""))))
    }

    /// Reads and checks a text that faults call `file`; paths stay as written.
    ///
    /// # Errors
    /// The first fault, with its line and remedy.
    pub fn parse(text: &str, file: &str) -> Result<Self, ConfigError> {
        Self::parse_with(text, file, &Overrides::none())
    }

    /// The same as a file: [`parse`](Self::parse) reads it back.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        write_toml(self, FIELDS, &mut out);
        out.push_str("\n[limits]\n");
        write_toml(&self.limits, LIMITS, &mut out);
        if !self.dial.is_empty() {
            out.push_str("\n[dial]\n");
        }
        for (id, address) in &self.dial {
            out.push_str(&format!("{id} = \"{address}\"\n"));
        }
        out
    }

    fn parse_with(text: &str, file: &str, overrides: &Overrides) -> Result<Self, ConfigError> {
        let document = Document::new(file, text);
        let table = document.parse()?;
        let mut config = Self::new(ReplicaId(0));
        let mut map = Map::default();
        read(&document, &table, &mut config, &mut map)?;
        overrides.apply(&mut config, FIELDS, &mut map.settings)?;
        overrides.apply(&mut config.limits, LIMITS, &mut map.limits)?;
        let place = |places: &Places, name| places.get(name).cloned().unwrap_or_else(|| document.file());
        if !map.settings.contains_key("id") {
            let remedy = "add it, such as id = 0: the [[replica]] of cluster.toml this is";
            return Err(ConfigError::new(document.file(), Wrong::new("id is missing", remedy)));
        }
        config.check().map_err(|(name, wrong)| ConfigError::new(place(&map.settings, name), wrong))?;
        check_ranges(&config.limits, LIMITS)
            .map_err(|(name, wrong)| ConfigError::new(place(&map.limits, name), wrong))?;
        if let Some(place) = map.dial.get(&config.id) {
            let wrong = Wrong::new("a replica does not dial itself", "remove the line");
            return Err(ConfigError::new(place.clone(), wrong));
        }
        Ok(config)
    }

    pub(crate) fn check(&self) -> Result<(), (&'static str, Wrong)> {
        for (name, count) in [("workers", self.workers), ("crypto_threads", self.crypto_threads)] {
            let least = u16::from(name == "workers");
            if let Count::Fixed(threads) = count
                && !(least..=THREADS_MAX).contains(&threads)
            {
                let what = format!("{name}: {threads} is out of range");
                let remedy = format!("choose \"auto\" or a number from {least} to {THREADS_MAX}");
                return Err((name, Wrong::new(what, remedy)));
            }
        }
        match self.admin {
            Some(admin) if !admin.ip().is_loopback() => {
                let what = format!(
                    "admin: {admin} is not on loopback, and whoever reaches it is not asked who he is"
                );
                let remedy = format!("write \"127.0.0.1:{}\" and reach it through ssh -L", admin.port());
                Err(("admin", Wrong::new(what, remedy)))
            }
            _ => Ok(()),
        }
    }

    fn relative_to(mut self, directory: &Path) -> Self {
        let paths = [&mut self.home, &mut self.cluster, &mut self.private_key];
        for path in paths.into_iter().chain(self.order_log.as_mut()) {
            *path = directory.join(&*path);
        }
        self
    }
}

impl Default for Threads {
    /// By the cores.
    fn default() -> Self {
        Self { workers: Count::Auto, executor: Executor::Auto, crypto_threads: Count::Auto }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            handshakes: 256,
            handshake_timeout: Duration::from_secs(5),
            write_buffer: 16 << 20,
            memory: None,
        }
    }
}

fn read<'a>(
    document: &Document<'_>,
    table: &'a DeTable<'a>,
    config: &mut ReplicaConfig,
    map: &mut Map,
) -> Result<(), ConfigError> {
    let (sections, settings): (Vec<_>, Vec<_>) =
        items(table).into_iter().partition(|item| matches!(item.key, "limits" | "dial"));
    document.apply(config, FIELDS, "replica.toml", &settings, &mut map.settings)?;
    for section in sections {
        if section.key == "limits" {
            let settings = items(document.table(&section, "[limits]")?);
            document.apply(&mut config.limits, LIMITS, "[limits]", &settings, &mut map.limits)?;
            continue;
        }
        for item in items(document.table(&section, "[dial]")?) {
            let (id, address) = read_dial(document, &item)?;
            config.dial.insert(id, address);
            map.dial.insert(id, document.place(item.key_at));
        }
    }
    Ok(())
}

fn read_dial(document: &Document<'_>, item: &Item<'_>) -> Result<(ReplicaId, SocketAddr), ConfigError> {
    let id = item.key.parse().map_err(|_| {
        let what = format!("\"{}\" is no replica's id", item.key.escape_debug());
        document.error(item.key_at, Wrong::new(what, "write lines such as 2 = \"192.0.2.7:7400\""))
    })?;
    let address = SocketAddr::read(&document.scalar(item)?);
    Ok((ReplicaId(id), address.map_err(|wrong| document.error(item.value_at, wrong))?))
}

impl Word for Durability {
    const WORDS: &'static [(&'static str, Self)] = &[("none", Self::None)];

    fn absent(word: &str) -> Option<Wrong> {
        (word == "sync").then(|| Wrong::new("\"sync\" is not implemented in this version", "write \"none\""))
    }
}

impl Word for Executor {
    const WORDS: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("inline", Self::Inline), ("thread", Self::Thread)];
}

word_value!(Durability, Executor);

impl Value for Count {
    const BARE: bool = true;

    fn read(text: &str) -> Result<Self, Wrong> {
        match text {
            "auto" => Ok(Self::Auto),
            number => u16::read(number).map(Self::Fixed).map_err(|_| {
                let what = format!("\"{}\" is no number of threads", text.escape_debug());
                Wrong::new(what, "write \"auto\" or a number, such as 2")
            }),
        }
    }

    fn show(&self) -> Option<String> {
        match self {
            Self::Auto => Some("auto".to_owned()),
            Self::Fixed(threads) => Some(threads.to_string()),
        }
    }
}

impl Value for Cores {
    fn read(text: &str) -> Result<Self, Wrong> {
        match text {
            "auto" => Ok(Self::Auto),
            "shared" => Ok(Self::Shared),
            list => read_cores(list).map(Self::List).ok_or_else(|| {
                let what = format!("\"{}\" is no list of cores", text.escape_debug());
                let remedy = format!(
                    "write \"auto\", \"shared\", or cores from 0 to {CORE_MAX}, each once, such as \"0-3,8\""
                );
                Wrong::new(what, remedy)
            }),
        }
    }

    fn show(&self) -> Option<String> {
        Some(match self {
            Self::Auto => "auto".to_owned(),
            Self::Shared => "shared".to_owned(),
            Self::List(cores) => cores.iter().map(usize::to_string).collect::<Vec<_>>().join(","),
        })
    }
}

fn read_cores(list: &str) -> Option<Vec<usize>> {
    let mut cores = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last > CORE_MAX {
            return None;
        }
        cores.extend(first..=last);
    }
    let mut distinct = cores.clone();
    distinct.sort_unstable();
    distinct.dedup();
    (distinct.len() == cores.len()).then_some(cores)
}

impl Value for ReplicaId {
    const BARE: bool = true;

    fn read(text: &str) -> Result<Self, Wrong> {
        u16::read(text).map(Self)
    }

    fn show(&self) -> Option<String> {
        self.0.show()
    }
}
