use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;
use hypostyle::config::ClusterConfig;
use hypostyle::crypto::Suite;
use serde::Serialize;

use crate::children;
use crate::choice::{Choice, check_usage};
use crate::cli::{OutputArgs, RunArgs};
use crate::environment::{self, Environment};
use crate::error::{invalid, usage};
use crate::files::{Files, Manifest};
use crate::keys::{KeyRing, Keys};
use crate::measure::{Measured, Meter, Task};
use crate::point::{Point, point_name};
use crate::progress::{Progress, watch};
use crate::setting::Setting;
use crate::signing;
use crate::summary::{Summary, settings};
use crate::timeline::Interval;

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
    /// Digest of the program.
    pub program: String,
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

/// What to do with what is found in the directory of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// It is replaced.
    Replaced,
    /// Measurements found there are not made again.
    Continued,
}

impl Report {
    /// Fails unless every setting was measured at least once without a mark.
    ///
    /// # Errors
    /// The settings that have no result.
    pub fn check_marks(&self) -> anyhow::Result<()> {
        let without = settings(&self.points);
        let without = without.iter().filter(|group| group.iter().all(|point| !point.marks.is_empty()));
        let names: Vec<&str> = without.map(|group| group[0].name.as_str()).collect();
        if names.is_empty() {
            return Ok(());
        }
        invalid(format!(
            "every measurement of {} is marked as no result, for the reasons above: make the machine quiet and measure again, \
             or say --accept-marks",
            names.join(", ")
        ))
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
    before: Before,
    places: &Places,
    progress: &Progress,
) -> anyhow::Result<(Report, Option<anyhow::Error>)> {
    check_usage(flags)?;
    let open_files = children::raise_open_files();
    let environment = Environment::now(open_files);
    let choices = Choice::all(flags);
    let replicas = flags.n.iter().copied().max().unwrap_or(0).into();
    let open = |suite| places.keys(suite, replicas, flags.clients as usize, progress);
    let keys = KeyRing::open(&flags.auth, open)?;
    let setting = |choice: &Choice| {
        let keys = keys.of(choice.auth);
        Setting::new(flags, choice, &keys.replicas(), &keys.clients())
    };
    let settings: Vec<Setting> = choices.iter().map(setting).collect::<anyhow::Result<_>>()?;
    check_open_files(&settings, open_files)?;
    let files = places.files(&flags.output)?;
    let mut report = Report {
        points: Vec::new(),
        medians: Vec::new(),
        command: std::env::args().collect(),
        commit: environment::commit(),
        program: environment::program(),
        environment,
        files: files.directory().to_owned(),
        error: None,
    };
    let mut timeline = Vec::new();
    match before {
        Before::Replaced => files.clear()?,
        Before::Continued => (report.points, timeline) = finished(&files, &settings, &report.program)?,
    }
    let began = SystemTime::now();
    write_manifest(&files, &report, &settings, began)?;
    let work = Work { flags, places, progress, keys: &keys, settings: &settings, files: &files };
    let ended = work.measure_all(&mut report.points, &mut timeline).err();
    report.medians = Summary::of(&report.points);
    report.error = ended.as_ref().map(|error| format!("{error:#}"));
    write_manifest(&files, &report, &settings, began)?;
    Ok((report, ended))
}

/// What is left of an earlier, interrupted call with the same settings.
fn finished(
    files: &Files,
    settings: &[Setting],
    program: &str,
) -> anyhow::Result<(Vec<Point>, Vec<Interval>)> {
    let (points, timeline) = files.read()?;
    let directory = files.directory().display();
    if !points.is_empty() && files.program()?.as_deref() != Some(program) {
        return usage(format!(
            "{directory} was begun with another build of this program: choose another --out"
        ));
    }
    let names: Vec<String> = settings.iter().map(Setting::name).collect();
    let foreign = |point: &&Point| !names.iter().any(|name| point.name == point_name(name, point.repeat));
    if let Some(point) = points.iter().find(foreign) {
        return usage(format!(
            "{directory} holds {}, which is none of this command's settings: choose another --out",
            point.name
        ));
    }
    Ok((points, timeline))
}

/// Measurements to be made one after the other.
struct Work<'a> {
    flags: &'a RunArgs,
    places: &'a Places,
    progress: &'a Progress,
    keys: &'a KeyRing,
    settings: &'a [Setting],
    files: &'a Files,
}

impl Work<'_> {
    fn measure_all(&self, points: &mut Vec<Point>, timeline: &mut Vec<Interval>) -> anyhow::Result<()> {
        let presign = self.places.cache.join("presign");
        let presigned = |setting: &Setting| {
            signing::presigned(setting, self.keys.of(setting.cluster.auth), &presign, self.progress)
        };
        // All before the first measurement, so that these follow each other closely; then they are read one by one.
        self.settings.iter().try_for_each(|setting| presigned(setting).map(drop))?;
        let mut meter = Meter::new(&self.places.program, &self.places.cache.join("bench-run"))?;
        let total = u64::from(self.flags.repeat) * self.settings.len() as u64;
        let bar = self.progress.counted("measuring", total);
        bar.set_position(points.len() as u64);
        bar.reset_eta();
        for repeat in 0..self.flags.repeat {
            for setting in self.settings {
                let name = point_name(&setting.name(), repeat);
                if points.iter().any(|point| point.name == name) {
                    continue;
                }
                bar.set_message(name.clone());
                let presigned = presigned(setting)?;
                let keys = self.keys.of(setting.cluster.auth);
                let task = Task { setting, keys, presigned: presigned.as_ref(), repeat };
                let measured = meter.measure(task).with_context(|| name)?;
                self.keep(measured, points, timeline)?;
                bar.inc(1);
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// The point comes last: what it stands for is there when it is.
    fn keep(
        &self,
        measured: Measured,
        points: &mut Vec<Point>,
        timeline: &mut Vec<Interval>,
    ) -> anyhow::Result<()> {
        timeline.extend(measured.timeline);
        self.files.write_timeline(timeline)?;
        let point = measured.point;
        self.files.write_latencies(&point, &measured.latencies, measured.began, measured.measured)?;
        points.push(point);
        self.files.write_points(points)
    }
}

/// A run's sockets: a replica holds all clients' and peers' connections, the generator those to all replicas.
pub(crate) fn check_open_files(settings: &[Setting], open_files: u64) -> anyhow::Result<()> {
    let needed = settings.iter().map(Setting::connections).max().unwrap_or(0) + 256;
    if needed > open_files {
        return usage(format!(
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
        program: &report.program,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::exit_code;
    use crate::point::tests::example;

    fn report(points: Vec<Point>) -> Report {
        Report {
            points,
            medians: Vec::new(),
            command: Vec::new(),
            commit: String::new(),
            program: String::new(),
            environment: Environment::now(1024),
            files: PathBuf::new(),
            error: None,
        }
    }

    #[test]
    fn a_setting_with_no_measurement_without_a_mark_is_invalid() {
        let marked = Point { marks: vec!["noisy".into()], ..example() };
        let again = Point { repeat: 1, ..example() };
        report(vec![marked.clone(), again]).check_marks().expect("one of two is a result");
        let error = report(vec![marked]).check_marks().expect_err("no result");
        assert!(exit_code(&error) == 3 && error.to_string().contains(&example().name), "{error}");
    }
}
