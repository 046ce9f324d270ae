use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;
use hypostyle::config::ClusterConfig;
use hypostyle::crypto::Suite;
use serde::Serialize;

use crate::children;
use crate::cli::{OutputArgs, RunArgs};
use crate::environment::{self, Environment};
use crate::files::{Files, Manifest};
use crate::keys::Keys;
use crate::measure::{Meter, Task};
use crate::point::Point;
use crate::presign::Presigned;
use crate::progress::{Progress, watch};
use crate::setting::{Setting, check_usage};
use crate::signing;
use crate::summary::Summary;

/// Where a measurement keeps what it needs and what it finds.
#[derive(Clone, Debug)]
pub struct Places {
    /// This program, which is also a replica.
    pub program: PathBuf,
    /// Keys, presigned requests and the replicas' directories: usually `target`.
    pub cache: PathBuf,
}

/// What a measurement found, and what reproduces it: the object that `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Every measurement, in the order in which they were made.
    pub points: Vec<Point>,
    /// Medians and spreads, one for each setting.
    pub medians: Vec<Summary>,
    /// The exact command.
    pub command: Vec<String>,
    /// Commit of the sources.
    pub commit: String,
    /// The machine.
    pub environment: Environment,
    /// Where the files are.
    pub files: PathBuf,
    /// Why there are no further points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Places {
    /// The program that runs, and the `target` directory it lies in; `target` in the working directory when it
    /// was moved elsewhere.
    ///
    /// # Errors
    /// When the system doesn't tell, or the directory can't be created.
    pub fn of_this_program() -> anyhow::Result<Self> {
        let path = std::env::current_exe().context("this program's own path is unknown")?;
        let target = path.ancestors().find(|path| path.file_name().is_some_and(|name| name == "target"));
        let cache = target.map_or_else(|| PathBuf::from("target"), Path::to_owned);
        std::fs::create_dir_all(&cache).with_context(|| cache.display().to_string())?;
        // Not by its path: that may be built anew while a long measurement runs.
        Ok(Self { cache: cache.canonicalize()?, program: PathBuf::from("/proc/self/exe") })
    }

    /// The keys of so many replicas and clients; those that are missing are made.
    pub(crate) fn keys(
        &self,
        suite: Suite,
        n: usize,
        clients: usize,
        progress: &Progress,
    ) -> anyhow::Result<Keys> {
        let bar = progress.counted("keys", (n + clients) as u64);
        watch(&bar, |count| Keys::open(&self.cache.join("bench-keys"), suite, n, clients, count))
    }

    /// Where a measurement leaves its files.
    pub(crate) fn files(&self, output: &OutputArgs) -> anyhow::Result<Files> {
        let out = output.out.clone().unwrap_or_else(|| self.cache.join("bench").join(timestamp()));
        Files::create(&out)
    }
}

/// Measures what `flags` ask for. The second value is why it ended early, if it did: the report holds what was
/// measured before.
///
/// Call it from a thread that lives as long as the replicas should, usually the main one.
///
/// # Errors
/// When nothing could be measured at all.
pub fn run(
    flags: &RunArgs,
    places: &Places,
    progress: &Progress,
) -> anyhow::Result<(Report, Option<anyhow::Error>)> {
    check_usage(flags)?;
    let open_files = children::raise_open_files();
    let environment = Environment::now(open_files);
    let keys = places.keys(flags.auth, usize::from(flags.n), flags.clients as usize, progress)?;
    let settings = Setting::all(flags, &keys.replicas(), &keys.clients())?;
    check_open_files(&settings, open_files)?;
    let files = places.files(&flags.output)?;
    let mut report = Report {
        points: Vec::new(),
        medians: Vec::new(),
        command: std::env::args().collect(),
        commit: environment::commit(),
        environment,
        files: files.directory().to_owned(),
        error: None,
    };
    let began = SystemTime::now();
    let ended = measure_all(flags, places, progress, &keys, &settings, &files, &mut report.points).err();
    report.medians = Summary::of(&report.points);
    report.error = ended.as_ref().map(|error| format!("{error:#}"));
    write_manifest(&files, &report, &settings, began)?;
    Ok((report, ended))
}

fn measure_all(
    flags: &RunArgs,
    places: &Places,
    progress: &Progress,
    keys: &Keys,
    settings: &[Setting],
    files: &Files,
    points: &mut Vec<Point>,
) -> anyhow::Result<()> {
    let directory = places.cache.join("presign");
    let presigned: Vec<Option<Presigned>> = settings
        .iter()
        .map(|setting| signing::presigned(setting, keys, &directory, progress))
        .collect::<anyhow::Result<_>>()?;
    let mut meter = Meter::new(&places.program, &places.cache.join("bench-run"))?;
    for repeat in 0..flags.repeat {
        for (setting, presigned) in settings.iter().zip(&presigned) {
            let label = format!("P = {}, {} of {}", setting.cluster.pillars, repeat + 1, flags.repeat);
            let spinner = progress.spinner(&format!("measuring {label}"));
            let measured = meter.measure(Task { setting, keys, presigned: presigned.as_ref(), repeat });
            spinner.finish_and_clear();
            let measured = measured.with_context(|| label)?;
            files.write_latencies(&measured.point, &measured.latencies, measured.began, measured.measured)?;
            points.push(measured.point);
            files.write_points(points)?;
        }
    }
    Ok(())
}

/// A run's sockets: a replica holds all clients' and peers' connections, the generator those to all replicas.
pub(crate) fn check_open_files(settings: &[Setting], open_files: u64) -> anyhow::Result<()> {
    let needed = settings.iter().map(Setting::connections).max().unwrap_or(0) + 256;
    if needed > open_files {
        return crate::error::usage(format!(
            "{needed} open files are needed, {open_files} are allowed: use fewer --clients or --pillars, or raise the \
             hard limit (ulimit -Hn)"
        ));
    }
    Ok(())
}

fn write_manifest(
    files: &Files,
    report: &Report,
    settings: &[Setting],
    began: SystemTime,
) -> anyhow::Result<()> {
    let configurations: Vec<String> =
        settings.iter().map(|setting| settings_alone(&setting.cluster)).collect();
    files.write_manifest(&Manifest {
        command: &report.command,
        commit: &report.commit,
        began,
        environment: &report.environment,
        configurations: &configurations,
        points: report.points.len(),
        error: report.error.clone(),
    })
}

/// The configuration without its members: their keys say nothing, and their ports were chosen anew for each run.
pub(crate) fn settings_alone(cluster: &ClusterConfig) -> String {
    let toml = cluster.to_toml();
    toml.split_once("[[").map_or(toml.as_str(), |(settings, _)| settings).trim_end().to_owned()
}

/// Now, as a directory's name that sorts by time.
fn timestamp() -> String {
    let now = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    now.replace([':', '.'], "-")
}
