use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::Value;

use super::csv_table::CsvTable;
use super::histogram::{Recorded, parse_hlog};
use super::index::Notes;
use super::measured::Measured;
use super::tables::{Interval, Phase, Played};
use crate::error::usage;

/// A results folder, read.
#[derive(Debug)]
pub(crate) struct Folder {
    /// Its own name.
    pub(crate) name: String,
    /// The title of its `notes.md`.
    pub(crate) title: Option<String>,
    /// What was run, when and where.
    pub(crate) manifest: Manifest,
    /// The machine: what `env.json` tells, or older manifests.
    pub(crate) environment: Vec<(String, String)>,
    /// `points.csv`.
    pub(crate) points: Vec<Measured>,
    /// `scaling.csv`.
    pub(crate) scaling: Vec<Played>,
    /// `timeline.csv`.
    pub(crate) timeline: Vec<Interval>,
    /// `phases.csv`.
    pub(crate) phases: Vec<Phase>,
    /// `knees.csv`: names of points at a knee.
    pub(crate) knees: BTreeSet<String>,
    /// The `.hlog` of each point that has one, by the point's name.
    pub(crate) latencies: BTreeMap<String, Recorded>,
    /// The files in it that make up the measurement, by name.
    pub(crate) files: Vec<String>,
}

/// `manifest.json`, as far as a report needs it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Manifest {
    /// The exact command.
    pub(crate) command: Vec<String>,
    /// Commit of the sources.
    pub(crate) commit: String,
    /// When it began, seconds since the Unix epoch.
    pub(crate) began_unix_s: u64,
    /// Why it ended early, if it did.
    pub(crate) error: Option<String>,
    /// The machine, in folders without `env.json`.
    environment: Value,
}

/// The largest table or histogram that is read.
const TABLE_MAX: u64 = 64 << 20;
/// The largest other file.
const TEXT_MAX: u64 = 1 << 20;

/// Whether this directory is a results folder.
pub(crate) fn is_results(directory: &Path) -> bool {
    directory.join("manifest.json").is_file()
}

impl Folder {
    /// Reads all that a report needs.
    ///
    /// # Errors
    /// When it is no results folder, or one of its files is malformed.
    pub(crate) fn read(directory: &Path) -> anyhow::Result<Self> {
        let place = directory.display();
        let Some(manifest) = read(directory, "manifest.json")? else {
            return usage(format!(
                "{place}: no manifest.json; name a folder that hypostyle-bench has written"
            ));
        };
        let manifest: Manifest =
            serde_json::from_str(&manifest).with_context(|| format!("{place}/manifest.json"))?;
        let environment = match read(directory, "env.json")? {
            Some(text) => serde_json::from_str(&text).with_context(|| format!("{place}/env.json"))?,
            None => manifest.environment.clone(),
        };
        let points = rows(directory, "points.csv", Measured::all)?;
        let scaling = rows(directory, "scaling.csv", Played::all)?;
        if points.is_none() && scaling.is_none() {
            let why = manifest.error.as_deref().unwrap_or("it says no reason");
            return usage(format!(
                "{place}: neither points.csv nor scaling.csv, so nothing was measured: {why}"
            ));
        }
        let points = points.unwrap_or_default();
        Ok(Self {
            name: folder_name(directory),
            title: Notes::of(directory)?.title,
            environment: leaves(&environment),
            latencies: latencies(directory, &points)?,
            points,
            scaling: scaling.unwrap_or_default(),
            timeline: rows(directory, "timeline.csv", Interval::all)?.unwrap_or_default(),
            phases: rows(directory, "phases.csv", Phase::all)?.unwrap_or_default(),
            knees: rows(directory, "knees.csv", knees)?.unwrap_or_default().into_iter().collect(),
            files: names(directory).with_context(|| place.to_string())?,
            manifest,
        })
    }
}

/// The name of a directory, also of ".".
pub(crate) fn folder_name(directory: &Path) -> String {
    let whole = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    whole.file_name().map_or_else(|| whole.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// The text of a file that isn't a table; nothing when there is no such file.
pub(crate) fn read(directory: &Path, name: &str) -> anyhow::Result<Option<String>> {
    read_at_most(TEXT_MAX, directory, name)
}

fn read_at_most(bytes: u64, directory: &Path, name: &str) -> anyhow::Result<Option<String>> {
    let path = directory.join(name);
    let place = || path.display().to_string();
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(place),
    };
    let mut text = String::new();
    file.take(bytes + 1).read_to_string(&mut text).with_context(place)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > bytes {
        bail!("{}: larger than {} MiB", place(), bytes >> 20);
    }
    Ok(Some(text))
}

fn rows<T>(
    directory: &Path,
    name: &str,
    all: fn(&CsvTable) -> anyhow::Result<Vec<T>>,
) -> anyhow::Result<Option<Vec<T>>> {
    let Some(text) = read_at_most(TABLE_MAX, directory, name)? else { return Ok(None) };
    let file = directory.join(name).display().to_string();
    all(&CsvTable::parse(&file, &text)?).map(Some)
}

fn knees(table: &CsvTable) -> anyhow::Result<Vec<String>> {
    table.rows().map(|row| row.stem("name")).collect()
}

/// Different latencies of all points together: 64 MiB.
const LATENCIES_MAX: usize = 4 << 20;

fn latencies(directory: &Path, points: &[Measured]) -> anyhow::Result<BTreeMap<String, Recorded>> {
    let mut latencies = BTreeMap::new();
    let mut room = LATENCIES_MAX;
    for point in points.iter().filter(|point| point.is_result()) {
        let name = format!("{}.hlog", point.name);
        if let Some(text) = read_at_most(TABLE_MAX, directory, &name)? {
            let file = directory.join(&name).display().to_string();
            let recorded = parse_hlog(&file, &text)?;
            let Some(left) = room.checked_sub(recorded.len()) else {
                bail!("{file}: with those before more than {LATENCIES_MAX} different latencies");
            };
            room = left;
            latencies.insert(point.name.clone(), recorded);
        }
    }
    Ok(latencies)
}

const OF_A_MEASUREMENT: &[&str] = &["csv", "json", "hlog"];

/// The names of the files that a measurement leaves, sorted.
fn names(directory: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        if name.rsplit_once('.').is_some_and(|(_, end)| OF_A_MEASUREMENT.contains(&end)) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The plain values of an object, with their names.
fn leaves(value: &Value) -> Vec<(String, String)> {
    let Some(object) = value.as_object() else { return Vec::new() };
    let plain =
        object.iter().filter(|(_, value)| !value.is_null() && !value.is_object() && !value.is_array());
    plain
        .map(|(name, value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::error::exit_code;
    use crate::report::measured::tests::{OLD_HEADER, old_row};
    use std::fs;

    /// A manifest with this command.
    pub(crate) fn manifest(command: &str) -> String {
        serde_json::json!({
            "command": command.split(' ').collect::<Vec<_>>(),
            "commit": "0123456789abcdef",
            "began_unix_s": 1_795_288_365_u64,
            "environment": {"cpu_model": "Some CPU", "cores": 2, "governor": null},
            "error": null,
        })
        .to_string()
    }

    #[test]
    fn a_folder_is_read_with_what_is_there() {
        let directory = tempfile::tempdir().expect("temporary directory");
        fs::write(directory.path().join("manifest.json"), manifest("hypostyle-bench run")).expect("written");
        let points = format!("{OLD_HEADER}\n{}\n", old_row(1, 0, 1000.0, ""));
        fs::write(directory.path().join("points.csv"), points).expect("written");
        let folder = Folder::read(directory.path()).expect("reads");
        assert_eq!((folder.points.len(), folder.manifest.command.len()), (1, 2));
        assert_eq!(folder.environment[0], ("cores".to_owned(), "2".to_owned()));
        assert_eq!(folder.files, ["manifest.json", "points.csv"]);
        fs::write(directory.path().join("env.json"), r#"{"kernel": "6.18"}"#).expect("written");
        let folder = Folder::read(directory.path()).expect("reads");
        assert_eq!(folder.environment, [("kernel".to_owned(), "6.18".to_owned())]);
    }

    #[test]
    fn what_is_no_results_folder_is_told_with_a_remedy() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let error = Folder::read(directory.path()).expect_err("refused");
        assert!(error.to_string().contains("no manifest.json"), "{error}");
        assert_eq!(exit_code(&error), 2);
        fs::write(directory.path().join("manifest.json"), r#"{"error": "digests differ"}"#).expect("written");
        let error = Folder::read(directory.path()).expect_err("refused").to_string();
        assert!(error.contains("digests differ"), "{error}");
        let error = Folder::read(&directory.path().join("missing")).expect_err("refused");
        assert!(error.to_string().contains("missing"), "{error}");
        assert_eq!(exit_code(&error), 2);
    }

    #[test]
    fn a_malformed_file_is_named() {
        let directory = tempfile::tempdir().expect("temporary directory");
        fs::write(directory.path().join("manifest.json"), "{").expect("written");
        let error = Folder::read(directory.path()).expect_err("refused");
        assert!(format!("{error:#}").contains("manifest.json"), "{error:#}");
    }
}
