use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};

use crate::environment::Environment;
use crate::latency::Latencies;
use crate::point::Point;
use crate::timeline::Interval;

/// The directory that a measurement leaves behind: `points.csv`, `timeline.csv`, one `.hlog` a point, `manifest.json`,
/// `env.json`; and `points.jsonl`, by which an interrupted one goes on.
#[derive(Debug)]
pub(crate) struct Files {
    directory: PathBuf,
}

/// What reproduces a measurement and what it was made with.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Manifest<'a> {
    /// The exact command.
    pub(crate) command: &'a [String],
    /// Commit of the sources.
    pub(crate) commit: &'a str,
    /// Digest of the program.
    pub(crate) program: &'a str,
    /// When it began, seconds since the Unix epoch.
    #[serde(rename = "began_unix_s", serialize_with = "unix_seconds")]
    pub(crate) began: SystemTime,
    /// The machine.
    pub(crate) environment: &'a Environment,
    /// The cluster configurations measured, as TOML, without their members.
    pub(crate) configurations: &'a [String],
    /// Points written.
    pub(crate) points: usize,
    /// Why no further points were written.
    pub(crate) error: Option<String>,
}

impl Files {
    /// Creates the directory, and those above it.
    ///
    /// # Errors
    /// When that can't be done.
    pub(crate) fn create(directory: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(directory)
            .with_context(|| format!("{}: choose another directory with --out", directory.display()))?;
        let directory = directory.canonicalize().with_context(|| directory.display().to_string())?;
        Ok(Self { directory })
    }

    /// Where the files are.
    #[must_use]
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes the latencies of one point.
    ///
    /// # Errors
    /// When the file can't be written.
    pub(crate) fn write_latencies(
        &self,
        point: &Point,
        latencies: &Latencies,
        started: SystemTime,
        measured: Duration,
    ) -> anyhow::Result<()> {
        self.write(&format!("{}.hlog", point.name), |file| Ok(latencies.write_hlog(file, started, measured)?))
    }

    /// Writes a table: a row for each, under the names of its fields.
    ///
    /// # Errors
    /// When the file can't be written.
    pub(crate) fn write_rows(&self, name: &str, rows: &[impl Serialize]) -> anyhow::Result<()> {
        self.write(name, |file| {
            let mut csv = csv::Writer::from_writer(file);
            rows.iter().try_for_each(|row| csv.serialize(row))?;
            Ok(csv.flush()?)
        })
    }

    /// Writes all points so far, the last of which is new.
    ///
    /// # Errors
    /// When a file can't be written.
    pub(crate) fn write_points(&self, points: &[Point]) -> anyhow::Result<()> {
        self.write_columns("points.csv", points.iter().map(Point::columns))?;
        self.write(JOURNAL, |file| {
            for point in points {
                serde_json::to_writer(&mut *file, point)?;
                file.write_all(b"\n")?;
            }
            Ok(())
        })
    }

    /// The intervals of all points so far.
    ///
    /// # Errors
    /// When the file can't be written.
    pub(crate) fn write_timeline(&self, intervals: &[Interval]) -> anyhow::Result<()> {
        self.write_rows(TIMELINE, intervals)
    }

    /// What an interrupted measurement had finished: its points and their intervals.
    ///
    /// # Errors
    /// When a file can't be read, with the line that is wrong.
    pub(crate) fn read(&self) -> anyhow::Result<(Vec<Point>, Vec<Interval>)> {
        let mut points = Vec::new();
        for (index, line) in self.read_text(JOURNAL)?.lines().enumerate() {
            let point: Point = serde_json::from_str(line).with_context(|| self.place(JOURNAL, index + 1))?;
            points.push(point);
        }
        let mut timeline = csv_rows(&self.read_text(TIMELINE)?)
            .with_context(|| self.directory.join(TIMELINE).display().to_string())?;
        // The intervals of a point are written before it.
        timeline.retain(|interval: &Interval| points.iter().any(|point| point.name == interval.name));
        Ok((points, timeline))
    }

    /// Removes what an earlier measurement left here.
    ///
    /// # Errors
    /// When that can't be done.
    pub(crate) fn clear(&self) -> anyhow::Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let is_log = path.extension().is_some_and(|extension| extension == "hlog");
            let is_table = OF_A_MEASUREMENT.iter().any(|name| path.ends_with(name));
            if is_log || is_table {
                fs::remove_file(&path).with_context(|| path.display().to_string())?;
            }
        }
        Ok(())
    }

    /// Digest of the program that wrote here before, if it told.
    ///
    /// # Errors
    /// When the manifest can't be read.
    pub(crate) fn program(&self) -> anyhow::Result<Option<String>> {
        #[derive(Deserialize)]
        struct Written {
            program: Option<String>,
        }
        let text = self.read_text(MANIFEST)?;
        if text.is_empty() {
            return Ok(None);
        }
        let written: Written = serde_json::from_str(&text).with_context(|| self.place(MANIFEST, 1))?;
        Ok(written.program)
    }

    /// Nothing when there is no such file.
    fn read_text(&self, name: &str) -> anyhow::Result<String> {
        match fs::read_to_string(self.directory.join(name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
            other => other.with_context(|| self.directory.join(name).display().to_string()),
        }
    }

    fn place(&self, name: &str, line: usize) -> String {
        format!("{}:{line}: not as it was written; choose another --out", self.directory.join(name).display())
    }

    /// Writes a table of rows that name their columns, all alike.
    ///
    /// # Errors
    /// When the file can't be written.
    pub(crate) fn write_columns(
        &self,
        name: &str,
        rows: impl Iterator<Item = Vec<(String, String)>>,
    ) -> anyhow::Result<()> {
        self.write(name, |file| write_csv(rows, file))
    }

    /// Writes the manifest.
    ///
    /// # Errors
    /// When the file can't be written.
    pub(crate) fn write_manifest(&self, manifest: &Manifest<'_>) -> anyhow::Result<()> {
        self.write_json(MANIFEST, manifest)?;
        self.write_json("env.json", manifest.environment)
    }

    fn write_json(&self, name: &str, value: &impl Serialize) -> anyhow::Result<()> {
        self.write(name, |file| {
            serde_json::to_writer_pretty(&mut *file, value)?;
            Ok(file.write_all(b"\n")?)
        })
    }

    /// Beside its place, then renamed: a program that is killed meanwhile leaves the file that was there.
    fn write(
        &self,
        name: &str,
        content: impl FnOnce(&mut BufWriter<File>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let path = self.directory.join(name);
        let partial = self.directory.join(format!("{name}.partial"));
        let create = || {
            let mut file = BufWriter::new(File::create(&partial)?);
            content(&mut file)?;
            file.flush()?;
            anyhow::Ok(fs::rename(&partial, &path)?)
        };
        create().with_context(|| format!("{}: cannot be written", path.display()))
    }
}

/// Beside latencies.
const OF_A_MEASUREMENT: &[&str] = &["points.csv", JOURNAL, TIMELINE, "knees.csv"];
const JOURNAL: &str = "points.jsonl";
const TIMELINE: &str = "timeline.csv";
const MANIFEST: &str = "manifest.json";

fn csv_rows<T: DeserializeOwned>(text: &str) -> anyhow::Result<Vec<T>> {
    csv::Reader::from_reader(text.as_bytes()).deserialize().map(|row| Ok(row?)).collect()
}

fn unix_seconds<S: Serializer>(moment: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(moment.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

fn write_csv(rows: impl Iterator<Item = Vec<(String, String)>>, to: impl Write) -> anyhow::Result<()> {
    let mut csv = csv::Writer::from_writer(to);
    for (index, columns) in rows.enumerate() {
        if index == 0 {
            csv.write_record(columns.iter().map(|(name, _)| name))?;
        }
        csv.write_record(columns.iter().map(|(_, text)| text))?;
    }
    Ok(csv.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::tests::example;

    #[test]
    fn points_csv_has_a_row_a_point_under_named_columns() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let files = Files::create(&directory.path().join("a/b")).expect("created");
        let second = Point { pillars: 4, marks: vec!["noisy, very".into()], ..example() };
        files.write_points(&[example(), second]).expect("written");
        let mut csv = csv::Reader::from_path(files.directory().join("points.csv")).expect("opens");
        let column = |name: &str, csv: &mut csv::Reader<File>| {
            csv.headers().expect("headers").iter().position(|header| header == name).expect("a column")
        };
        let (pillars, marks) = (column("pillars", &mut csv), column("marks", &mut csv));
        let rows: Vec<csv::StringRecord> = csv.records().map(|row| row.expect("a row")).collect();
        assert_eq!(rows.len(), 2);
        assert_eq!((&rows[0][pillars], &rows[1][pillars], &rows[1][marks]), ("2", "4", "noisy, very"));
    }

    #[test]
    fn each_point_leaves_its_latencies() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let files = Files::create(directory.path()).expect("created");
        let mut latencies = Latencies::new();
        latencies.record(Duration::from_millis(1));
        files
            .write_latencies(&example(), &latencies, SystemTime::now(), Duration::from_secs(1))
            .expect("written");
        assert!(
            fs::read_to_string(directory.path().join("p2-00000000-c8x100-0.hlog"))
                .expect("there")
                .contains('#')
        );
    }

    #[test]
    fn an_interrupted_measurement_finds_what_it_had_finished() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let files = Files::create(directory.path()).expect("created");
        assert_eq!(files.read().expect("nothing yet"), (Vec::new(), Vec::new()));
        let interval = |name: &str| Interval {
            name: name.into(),
            second: 0.1,
            operations: 3,
            throughput_ops_per_s: 30.0,
            latency_us_p50: 1.0,
            latency_us_p99: 2.0,
            latency_us_max: 3.0,
            view_changes: 1,
            event: "a \"fault\", made".into(),
        };
        let kept = interval(&example().name);
        files.write_timeline(&[kept.clone(), interval("cut off before its point")]).expect("written");
        files.write_points(&[example()]).expect("written");
        assert_eq!(files.read().expect("reads back"), (vec![example()], vec![kept]));
        fs::write(directory.path().join(JOURNAL), "{}\n").expect("written");
        let refused = format!("{:#}", files.read().expect_err("refused"));
        assert!(refused.contains("points.jsonl:1") && refused.contains("--out"), "{refused}");
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let file = directory.path().join("file");
        fs::write(&file, "").expect("written");
        let refused = Files::create(&file.join("out")).expect_err("refused");
        assert!(refused.to_string().contains("--out"), "{refused}");
    }
}
