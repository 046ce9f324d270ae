//! Profiles: settings that were measured to suit a machine and a workload. `hypostyle-tune` writes them.

use std::path::Path;

use hypostyle_crypto::Suite;
use toml::de::DeTable;

use super::cluster::{self, ClientAuth, ClusterConfig, Replies};
use super::document::{Document, Item, Places, items};
use super::error::{ConfigError, Place, Wrong, suggestion};
use super::field::{Field, check_ranges, field, write_toml};
use super::overrides::Overrides;
use super::replica::{Count, Executor, ReplicaConfig, Threads};

/// Settings that suit a machine and a workload, and the measurement that says so.
///
/// In force between the defaults and the files: `init` and `local` write its `[cluster]` and `[replica]` into the files
/// of a new cluster; a replica takes its `[replica]` where its own settings are "auto".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Which stage is the bottleneck, with the figures, for a person.
    pub why: Option<String>,
    /// What it was measured with.
    pub workload: Workload,
    /// Where it was measured.
    pub machine: Machine,
    /// What it sets of `cluster.toml`.
    pub cluster: TunedCluster,
    /// What it sets of `replica.toml`; "auto" sets nothing.
    pub threads: Threads,
    /// What was measured.
    pub measured: Measured,
}

/// The members and the load that a profile was measured with: `[workload]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// Replicas.
    pub n: Option<u16>,
    /// The signatures of replicas and clients.
    pub auth: Option<Suite>,
    /// How clients authenticate requests.
    pub client_auth: Option<ClientAuth>,
    /// How replicas sign replies.
    pub replies: Option<Replies>,
    /// Clients.
    pub clients: Option<u32>,
    /// Operations each client keeps in flight.
    pub outstanding: Option<u32>,
    /// Bytes of an operation.
    pub payload: Option<u32>,
    /// Bytes of a result.
    pub reply_bytes: Option<u32>,
    /// Requests signed before the load.
    pub presign: Option<u32>,
}

/// The machine that a profile was measured on: `[machine]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// The processor's own name.
    pub cpu_model: Option<String>,
    /// Cores there were for all replicas and the load.
    pub cores: Option<u32>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// Memory, MB of 10^6 bytes.
    pub memory_mb: Option<u32>,
}

/// What a profile sets of `cluster.toml`: `[cluster]`. It has to be the same on all replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TunedCluster {
    /// P.
    pub pillars: Option<u16>,
    /// The most statements of a bundle.
    pub bundle: Option<u16>,
    /// The most operations of a batch.
    pub batch_max: Option<u32>,
    /// The most slots a primary has open beyond the frontier.
    pub pipeline: Option<u32>,
}

/// How a profile was found: `[measured]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// What was looked for: "throughput" or "p99=10ms".
    pub target: Option<String>,
    /// The exact command.
    pub command: Option<String>,
    /// Commit of the sources.
    pub commit: Option<String>,
    /// When, in UTC.
    pub date: Option<String>,
    /// What every setting at its default showed: `[measured.default]`.
    pub default: Figures,
    /// What the profile's settings showed in the same comparison: `[measured.chosen]`.
    pub chosen: Figures,
}

/// Medians of repetitions of one setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Repetitions.
    pub repeats: Option<u32>,
    /// Operations a second.
    pub ops_per_s: Option<u32>,
    /// The least of the repetitions.
    pub ops_per_s_min: Option<u32>,
    /// The greatest.
    pub ops_per_s_max: Option<u32>,
    /// Latency of 99 of 100 operations, µs.
    pub p99_us: Option<u32>,
    /// CPU time of all replicas an operation, ns.
    pub replica_cpu_ns_per_op: Option<u32>,
}

const TOP: &[Field<Profile>] = &[field!(Profile, why)];

const WORKLOAD: &[Field<Workload>] = &[
    field!(Workload, n),
    field!(Workload, auth),
    field!(Workload, client_auth),
    field!(Workload, replies),
    field!(Workload, clients),
    field!(Workload, outstanding),
    field!(Workload, payload),
    field!(Workload, reply_bytes),
    field!(Workload, presign),
];

const MACHINE: &[Field<Machine>] = &[
    field!(Machine, cpu_model),
    field!(Machine, cores),
    field!(Machine, kernel),
    field!(Machine, memory_mb),
];

const CLUSTER: &[Field<TunedCluster>] = &[
    field!(TunedCluster, pillars),
    field!(TunedCluster, bundle),
    field!(TunedCluster, batch_max),
    field!(TunedCluster, pipeline),
];

const THREADS: &[Field<Threads>] =
    &[field!(Threads, workers), field!(Threads, executor), field!(Threads, crypto_threads)];

const MEASURED: &[Field<Measured>] =
    &[field!(Measured, target), field!(Measured, command), field!(Measured, commit), field!(Measured, date)];

const FIGURES: &[Field<Figures>] = &[
    field!(Figures, repeats),
    field!(Figures, ops_per_s),
    field!(Figures, ops_per_s_min),
    field!(Figures, ops_per_s_max),
    field!(Figures, p99_us),
    field!(Figures, replica_cpu_ns_per_op),
];

const SECTIONS: [&str; 5] = ["workload", "machine", "cluster", "replica", "measured"];

impl Profile {
    /// Reads and checks a profile.
    ///
    /// # Errors
    /// The first fault, with its line and remedy.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|error| {
            ConfigError::unreadable(path, &error, "name a profile that `hypostyle-tune` wrote")
        })?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Reads and checks a text that faults call `file`.
    ///
    /// # Errors
    /// The first fault, with its line and remedy.
    pub fn parse(text: &str, file: &str) -> Result<Self, ConfigError> {
        let document = Document::new(file, text);
        let table = document.parse()?;
        let mut profile = Self::default();
        let mut places = Places::new();
        read(&document, &table, &mut profile, &mut places)?;
        profile.check().map_err(|(name, wrong)| {
            ConfigError::new(places.get(name).cloned().unwrap_or_else(|| document.file()), wrong)
        })?;
        Ok(profile)
    }

    /// The same as a file: [`parse`](Self::parse) reads it back.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        write_toml(self, TOP, &mut out);
        section("workload", &self.workload, WORKLOAD, &mut out);
        section("machine", &self.machine, MACHINE, &mut out);
        section("cluster", &self.cluster, CLUSTER, &mut out);
        section("replica", &self.threads, THREADS, &mut out);
        section("measured", &self.measured, MEASURED, &mut out);
        section("measured.default", &self.measured.default, FIGURES, &mut out);
        section("measured.chosen", &self.measured.chosen, FIGURES, &mut out);
        out
    }

    /// Takes what it sets of `cluster.toml` over into `cluster`.
    pub fn apply(&self, cluster: &mut ClusterConfig) {
        let tuned = self.cluster;
        cluster.pillars = tuned.pillars.unwrap_or(cluster.pillars);
        cluster.bundle = tuned.bundle.unwrap_or(cluster.bundle);
        cluster.batch_max = tuned.batch_max.unwrap_or(cluster.batch_max);
        cluster.pipeline = tuned.pipeline.unwrap_or(cluster.pipeline);
    }

    /// Overrides with its threads what `config` leaves at "auto".
    ///
    /// # Errors
    /// Never: the settings it names exist.
    pub fn complete(&self, config: &ReplicaConfig, overrides: &mut Overrides) -> Result<(), ConfigError> {
        let Threads { workers, executor, crypto_threads } = self.threads;
        let open = |own: Count, tuned: Count| own == Count::Auto && tuned != Count::Auto;
        for (name, open) in [
            ("workers", open(config.workers, workers)),
            ("executor", config.executor == Executor::Auto && executor != Executor::Auto),
            ("crypto_threads", open(config.crypto_threads, crypto_threads)),
        ] {
            let field = THREADS.iter().find(|field| field.name == name);
            if let Some(text) = field.filter(|_| open).and_then(|field| (field.show)(&self.threads)) {
                overrides.flag(&format!("{name}={text}"))?;
            }
        }
        Ok(())
    }

    /// Checks that its `[cluster]` is what the cluster's members have agreed on. `file` is the profile's name.
    ///
    /// # Errors
    /// The first setting in which they differ.
    pub fn check_cluster(&self, file: &Path, cluster: &ClusterConfig) -> Result<(), ConfigError> {
        let mut tuned = cluster.clone();
        self.apply(&mut tuned);
        let Some(difference) = tuned.first_difference(&cluster.summary()) else { return Ok(()) };
        let what = format!(
            "it sets {} = {}, but this cluster has {}, and all its members must agree",
            difference.setting, difference.here, difference.there
        );
        let remedy =
            "make a cluster with `hypostyle init --profile`, or leave out the line to take [replica] only";
        Err(ConfigError::new(Place::File(file.display().to_string()), Wrong::new(what, remedy)))
    }

    /// What it sets is within the ranges of the files that it goes into.
    fn check(&self) -> Result<(), (&'static str, Wrong)> {
        let mut cluster = ClusterConfig::default();
        self.apply(&mut cluster);
        check_ranges(&cluster, cluster::FIELDS)?;
        ReplicaConfig::new(hypostyle_app_api::ReplicaId(0)).with_threads(self.threads).check()
    }
}

fn section<C>(header: &str, config: &C, fields: &[Field<C>], out: &mut String) {
    out.push_str(&format!("\n[{header}]\n"));
    write_toml(config, fields, out);
}

fn read<'a>(
    document: &Document<'_>,
    table: &'a DeTable<'a>,
    profile: &mut Profile,
    places: &mut Places,
) -> Result<(), ConfigError> {
    // Where the others stand nobody asks.
    let elsewhere = &mut Places::new();
    for item in items(table) {
        match item.key {
            "why" => document.apply(profile, TOP, "the profile", &[item], elsewhere)?,
            "workload" => part(document, &item, "[workload]", &mut profile.workload, WORKLOAD, elsewhere)?,
            "machine" => part(document, &item, "[machine]", &mut profile.machine, MACHINE, elsewhere)?,
            "cluster" => {
                part(document, &item, "[cluster] of a profile", &mut profile.cluster, CLUSTER, places)?
            }
            "replica" => {
                part(document, &item, "[replica] of a profile", &mut profile.threads, THREADS, places)?
            }
            "measured" => read_measured(document, &item, &mut profile.measured)?,
            other => {
                let what = format!("unknown section \"{}\"", other.escape_debug());
                return Err(document.error(item.key_at, Wrong::new(what, suggestion(other, SECTIONS))));
            }
        }
    }
    Ok(())
}

fn part<C>(
    document: &Document<'_>,
    item: &Item<'_>,
    header: &str,
    config: &mut C,
    fields: &'static [Field<C>],
    places: &mut Places,
) -> Result<(), ConfigError> {
    document.apply(config, fields, header, &items(document.table(item, header)?), places)
}

fn read_measured(
    document: &Document<'_>,
    item: &Item<'_>,
    measured: &mut Measured,
) -> Result<(), ConfigError> {
    let elsewhere = &mut Places::new();
    let (sections, settings): (Vec<_>, Vec<_>) = items(document.table(item, "[measured]")?)
        .into_iter()
        .partition(|item| matches!(item.key, "default" | "chosen"));
    document.apply(measured, MEASURED, "[measured]", &settings, elsewhere)?;
    for item in &sections {
        match item.key {
            "default" => {
                part(document, item, "[measured.default]", &mut measured.default, FIGURES, elsewhere)?;
            }
            _ => part(document, item, "[measured.chosen]", &mut measured.chosen, FIGURES, elsewhere)?,
        }
    }
    Ok(())
}
