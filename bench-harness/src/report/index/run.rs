use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::super::facts::{Cell, Table, began, scaling_table};
use super::super::figures;
use super::super::folder::{Folder, folder_name};
use super::super::groups::{Group, Variant};
use super::super::markdown::{plain, table};
use super::super::page::encoded;
use super::super::text::{command_line, grouped, quantity};
use super::super::words;
use super::Notes;

/// One run: its notes, and the results folders it consists of.
#[derive(Debug)]
pub(crate) struct Run {
    /// The folder's name.
    pub(crate) name: String,
    notes: Notes,
    parts: Vec<Part>,
}

/// A results folder of a run.
#[derive(Debug)]
struct Part {
    /// Its address from the index.
    address: String,
    /// Whether it is the run's own folder, and its notes those of the run.
    alone: bool,
    notes: Notes,
    folder: Folder,
    /// Figures that lie in it: their files and titles.
    figures: Vec<(String, String)>,
    /// Whether its page lies in it.
    has_page: bool,
}

impl Run {
    /// Reads the run in this directory, which may be its only part.
    pub(crate) fn read(directory: &Path, parts: &[PathBuf]) -> anyhow::Result<Self> {
        let name = folder_name(directory);
        let part = |path: &PathBuf| {
            let alone = path == directory;
            let run = encoded(&name);
            let address = if alone { run } else { format!("{run}/{}", encoded(&folder_name(path))) };
            Part::read(path, address, alone)
        };
        let mut parts = parts.iter().map(part).collect::<anyhow::Result<Vec<_>>>()?;
        parts.sort_by_key(|part| part.notes.front.order);
        Ok(Self { notes: Notes::of(directory)?, name, parts })
    }

    /// When its last part began.
    pub(crate) fn began(&self) -> u64 {
        self.parts.iter().map(|part| part.folder.manifest.began_unix_s).max().unwrap_or(0)
    }

    /// Its section of the index.
    pub(crate) fn section(&self) -> String {
        let title = self.notes.title.clone().unwrap_or_else(|| plain(&self.name));
        let mut out = format!("\n## {title}\n{}\n", self.origin());
        if !self.notes.text.is_empty() {
            let _ = write!(out, "\n{}\n", self.notes.text);
        }
        let headline = self.headline();
        if !headline.rows.is_empty() {
            let _ = write!(out, "\n{}", table(&headline));
        }
        for part in &self.parts {
            let ways = scaling_table(&part.folder);
            if !ways.rows.is_empty() {
                let title = part.notes.title.as_deref().unwrap_or(&part.folder.name);
                let _ = write!(out, "\n{}:\n\n{}", plain(title), table(&ways));
            }
            if !part.alone && !part.notes.text.is_empty() {
                let _ = write!(out, "\n{}\n", part.notes.text);
            }
        }
        out.push_str("\nMedians; in brackets the least and the greatest.\n");
        self.parts.iter().for_each(|part| out.push_str(&part.not_results()));
        out.push_str("\n```sh\n");
        for part in &self.parts {
            let _ = writeln!(out, "{}", command_line(&part.folder.manifest.command));
        }
        out.push_str("```\n");
        self.parts.iter().for_each(|part| out.push_str(&part.pictures()));
        out
    }

    /// When, from which commits and on what it was made.
    fn origin(&self) -> String {
        let mut commits: Vec<String> = Vec::new();
        for part in &self.parts {
            let commit = plain(&part.folder.manifest.commit.chars().take(12).collect::<String>());
            if !commits.contains(&commit) {
                commits.push(commit);
            }
        }
        let environment =
            self.parts.first().map(|part| part.folder.environment.as_slice()).unwrap_or_default();
        let told =
            |name: &str| environment.iter().find(|(field, _)| field == name).map(|(_, value)| plain(value));
        let mut origin = format!("{}, commit {}", began(self.began()), commits.join(", "));
        for (name, before) in [("cpu_model", ""), ("cores", "cores: "), ("kernel", "kernel ")] {
            if let Some(value) = told(name) {
                let _ = write!(origin, "; {before}{value}");
            }
        }
        format!("{origin}.")
    }

    fn headline(&self) -> Table {
        let header = [
            "setting, load (clients × outstanding)",
            "P",
            "op/s",
            "p50 / p99, ms",
            "CPU-µs/op, scaled",
            "raw",
            "floor",
            "goal",
            "client, scaled",
            "peak RSS, MB",
        ];
        Table {
            header: header.map(str::to_owned).to_vec(),
            rows: self.parts.iter().flat_map(Part::rows).collect(),
        }
    }
}

impl Part {
    fn read(directory: &Path, address: String, alone: bool) -> anyhow::Result<Self> {
        let folder = Folder::read(directory)?;
        let figures =
            figures::all(&folder).into_iter().map(|figure| (format!("{}.svg", figure.stem), figure.title));
        Ok(Self {
            address,
            alone,
            notes: Notes::of(directory)?,
            figures: figures.filter(|(file, _)| directory.join(file).is_file()).collect(),
            has_page: directory.join("report.html").is_file(),
            folder,
        })
    }

    /// A row for each setting, at its best load.
    fn rows(&self) -> Vec<Vec<Cell>> {
        let mut last = String::new();
        let mut rows = Vec::new();
        for variant in &Variant::all(&self.folder) {
            let Some(group) = variant.best().or(variant.groups.last()) else { continue };
            let name = self.name(group);
            // The pillar count has a column.
            let own = variant.label.split(", ").filter(|part| !part.starts_with("P = ")).map(str::to_owned);
            let load = (variant.groups.len() > 1).then(|| group.first().load.brief());
            let own: Vec<String> = own.chain(load).collect();
            let mut shown = if name == last { String::new() } else { plain(&name) };
            if !own.is_empty() {
                let colon = if shown.is_empty() { "" } else { ": " };
                let _ = write!(shown, "{colon}{}", plain(&own.join(", ")));
            }
            last = name;
            rows.push(self.row(shown, group));
        }
        rows
    }

    fn name(&self, group: &Group<'_>) -> String {
        let own = self.notes.title.as_ref().filter(|_| !self.alone);
        own.cloned().unwrap_or_else(|| {
            let point = group.first();
            format!("{}, {}, batch {}", words::setting(point), point.load.brief(), point.facet("batch_max"))
        })
    }

    fn row(&self, name: String, group: &Group<'_>) -> Vec<Cell> {
        let median = |value| group.spread(value).map(|spread| spread.median);
        let text = |value, number: fn(f64) -> String| median(value).map_or_else(|| "–".to_owned(), number);
        let pillars = group.first().pillars;
        let latency: [String; 2] = [
            text(|point| point.latency_us_p50 / 1e3, quantity),
            text(|point| point.latency_us_p99 / 1e3, quantity),
        ];
        let front = &self.notes.front;
        let throughput = median(|point| point.throughput_ops_per_s);
        vec![
            name.into(),
            pillars.to_string().into(),
            throughput.map_or_else(|| "marked".to_owned(), |median| grouped(median, 0)).into(),
            latency.join(" / ").into(),
            Cell::spread(group.spread(|point| point.replica_cpu_us_per_op_scaled), quantity),
            text(|point| point.replica_cpu_us_per_op, quantity).into(),
            front.bound(front.floor_cpu_us, pillars).into(),
            front.bound(front.goal_cpu_us, pillars).into(),
            text(|point| point.client_cpu_us_per_op_scaled, quantity).into(),
            text(|point| point.rss_mb_max, quantity).into(),
        ]
    }

    /// How many of its points are in no median, and why.
    fn not_results(&self) -> String {
        let marked: Vec<&str> = self.folder.points.iter().map(|point| point.marks.as_str()).collect();
        let mut reasons: Vec<&str> = Vec::new();
        for reason in marked.iter().filter(|reason| !reason.is_empty()) {
            if !reasons.contains(reason) {
                reasons.push(reason);
            }
        }
        if reasons.is_empty() {
            return String::new();
        }
        let count = marked.iter().filter(|reason| !reason.is_empty()).count();
        format!(
            "\n{}: {count} of {} points are marked and in no median: {}.\n",
            plain(&self.folder.name),
            marked.len(),
            plain(&reasons.join("; "))
        )
    }

    /// Folded away: a run of many parts has dozens.
    fn pictures(&self) -> String {
        if self.figures.is_empty() && !self.has_page {
            return String::new();
        }
        let title = plain(self.notes.title.as_deref().unwrap_or(&self.folder.name));
        let mut out = format!("\n<details><summary>Figures: {title}</summary>\n\n");
        for (file, title) in &self.figures {
            let _ =
                writeln!(out, "<img src=\"{}/{file}\" alt=\"{}\" width=\"49%\">", self.address, plain(title));
        }
        if self.has_page {
            let _ = writeln!(out, "\n[The whole report]({}/report.html)", self.address);
        }
        out.push_str("\n</details>\n");
        out
    }
}
