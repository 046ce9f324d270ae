use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use super::chart::Width;
use super::figures::{self, way, ways};
use super::folder::Folder;
use super::groups::{Group, Variant};
use super::tables::Played;
use super::text::{grouped, quantity, quoted};
use super::words;
use crate::summary::Spread;

/// All that a report says, as text: what the page and the Markdown are made from.
#[derive(Debug, Serialize)]
pub(crate) struct Facts {
    /// What a person calls it, else the folder's name.
    pub(crate) title: String,
    /// The folder's name.
    pub(crate) folder: String,
    /// When it began.
    pub(crate) began: String,
    /// Commit of the sources.
    pub(crate) commit: String,
    /// The exact command, each word as a shell takes it.
    pub(crate) command: Vec<String>,
    /// Why the run ended early, if it did.
    pub(crate) error: Option<String>,
    /// The figures a reader asks for first.
    pub(crate) headline: Vec<Headline>,
    /// What was signed and checked by whom.
    pub(crate) signed: Vec<String>,
    /// The pictures.
    pub(crate) figures: Vec<Picture>,
    /// Medians and spreads.
    pub(crate) tables: Vec<Table>,
    /// Points that are no results, with the reason.
    pub(crate) marked: Vec<(String, String)>,
    /// The machine.
    pub(crate) environment: Vec<(String, String)>,
    /// The folder's files.
    pub(crate) files: Vec<String>,
}

/// A large number.
#[derive(Debug, Serialize)]
pub(crate) struct Headline {
    /// What it is.
    pub(crate) label: String,
    /// With its unit.
    pub(crate) value: String,
    /// Where it was reached.
    pub(crate) note: String,
}

/// A figure, drawn.
#[derive(Debug, Serialize)]
pub(crate) struct Picture {
    /// Its file.
    pub(crate) file: String,
    /// What it shows.
    pub(crate) title: String,
    /// For a screen, and for its file.
    pub(crate) wide: String,
    /// For a phone.
    pub(crate) narrow: String,
}

/// A table; the first column names the row.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Table {
    /// The columns' names.
    pub(crate) header: Vec<String>,
    /// The cells.
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// A cell: a text, and where it is a median of several the extremes.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Cell {
    /// What it says.
    pub(crate) text: String,
    /// "least–greatest", else empty.
    pub(crate) extremes: String,
}

/// A later moment has no calendar date with four digits.
const YEAR_10000_UNIX_S: u64 = 253_402_300_800;

impl Facts {
    /// What there is to say of this folder.
    pub(crate) fn of(folder: &Folder) -> Self {
        let variants = Variant::all(folder);
        let tables = [points_table(&variants), scaling_table(folder)];
        Self {
            title: folder.title.clone().unwrap_or_else(|| folder.name.clone()),
            folder: folder.name.clone(),
            began: began(folder.manifest.began_unix_s),
            commit: folder.manifest.commit.clone(),
            command: folder.manifest.command.iter().map(|word| quoted(word)).collect(),
            error: folder.manifest.error.clone(),
            headline: if folder.points.is_empty() { of_scaling(folder) } else { of_points(&variants) },
            signed: words::signed(&folder.points),
            figures: figures::all(folder).iter().map(Picture::of).collect(),
            tables: tables.into_iter().filter(|table| !table.rows.is_empty()).collect(),
            marked: marked(&variants),
            environment: machine(&folder.environment),
            files: folder.files.clone(),
        }
    }
}

impl Cell {
    /// Median and extremes; the one value where they read alike, a dash where there is none.
    pub(crate) fn spread(spread: Option<Spread>, number: impl Fn(f64) -> String) -> Self {
        let Some(spread) = spread else { return Self::from("–") };
        let [text, min, max] = [spread.median, spread.min, spread.max].map(number);
        let extremes = if min == max { String::new() } else { format!("{min}–{max}") };
        Self { text, extremes }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), extremes: String::new() }
    }
}

impl Picture {
    fn of(figure: &super::chart::Figure) -> Self {
        Self {
            file: format!("{}.svg", figure.stem),
            title: figure.title.clone(),
            wide: figure.draw(Width::Wide),
            narrow: figure.draw(Width::Narrow),
        }
    }
}

/// The day and time, UTC.
pub(crate) fn began(unix_s: u64) -> String {
    if unix_s == 0 || unix_s >= YEAR_10000_UNIX_S {
        return "at an unknown time".to_owned();
    }
    let text = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(unix_s)).to_string();
    format!("{} UTC", text.replace('T', " ").trim_end_matches('Z'))
}

fn of_points(variants: &[Variant<'_>]) -> Vec<Headline> {
    let median = |group: &Group<'_>, value| group.spread(value).map_or(0.0, |spread: Spread| spread.median);
    let throughput = |group: &Group<'_>| median(group, |point| point.throughput_ops_per_s);
    let cpu = |group: &Group<'_>| median(group, |point| point.replica_cpu_us_per_op_scaled);
    let p50 = |group: &Group<'_>| median(group, |point| point.latency_us_p50);
    let results = variants.iter().filter_map(|variant| Some((variant.label.as_str(), variant.best()?)));
    let Some((label, best)) = results.max_by(|a, b| throughput(a.1).total_cmp(&throughput(b.1))) else {
        return Vec::new();
    };
    let place = |label: &str, group: &Group<'_>| format!("{label}, {}", group.first().load.brief());
    let mut headline = vec![
        Headline {
            label: "best throughput".into(),
            value: format!("{} op/s", grouped(throughput(best), 0)),
            note: place(label, best),
        },
        Headline {
            label: "latency there, p50 / p99".into(),
            value: format!(
                "{} / {} ms",
                quantity(p50(best) / 1e3),
                quantity(median(best, |point| point.latency_us_p99) / 1e3)
            ),
            note: match best.first().load.model.as_str() {
                "closed" => "from sending to f+1 valid matching replies".into(),
                _ => "from the intended time of sending to f+1 valid matching replies".into(),
            },
        },
        Headline {
            label: "cost of an operation there".into(),
            value: format!("{} CPU-µs", quantity(cpu(best))),
            note: "all replicas together, scaled to the reference".into(),
        },
    ];
    let groups = || variants.iter().flat_map(|v| v.groups.iter().map(|group| (v.label.as_str(), group)));
    let quickest =
        groups().filter(|(_, group)| p50(group) > 0.0).min_by(|a, b| p50(a.1).total_cmp(&p50(b.1)));
    if let Some((label, group)) = quickest.filter(|(_, group)| p50(group) < p50(best)) {
        headline.push(Headline {
            label: "lowest latency, p50".into(),
            value: format!("{} ms", quantity(p50(group) / 1e3)),
            note: place(label, group),
        });
    }
    headline
}

fn of_scaling(folder: &Folder) -> Vec<Headline> {
    let ways = ways(&folder.scaling);
    let median =
        |rows: &[&Played]| Spread::of(rows.iter().map(|one| one.throughput_ops_per_s).collect()).median;
    let best = ways.iter().max_by(|a, b| median(a).total_cmp(&median(b)));
    best.map(|best| Headline {
        label: "one replica alone, best".into(),
        value: format!("{} op/s", grouped(median(best), 0)),
        note: way(best[0]),
    })
    .into_iter()
    .collect()
}

fn points_table(variants: &[Variant<'_>]) -> Table {
    let header = [
        "setting",
        "load (clients × outstanding)",
        "op/s",
        "p50, ms",
        "p99, ms",
        "CPU-µs/op, scaled",
        "raw",
        "client, scaled",
        "peak RSS, MB",
        "view changes",
        "results",
    ];
    let groups = variants.iter().flat_map(|variant| variant.groups.iter().map(move |group| (variant, group)));
    Table {
        header: header.map(str::to_owned).to_vec(),
        rows: groups.map(|(variant, group)| points_row(variant, group)).collect(),
    }
}

fn points_row(variant: &Variant<'_>, group: &Group<'_>) -> Vec<Cell> {
    let results = group.results().count();
    let all = results + group.marked().count();
    let whole = |value| grouped(value, 0);
    let view_changes: Option<Vec<f64>> = group.results().map(|point| point.view_changes).collect();
    let view_changes = view_changes.filter(|changes| !changes.is_empty()).map(Spread::of);
    vec![
        variant.label.as_str().into(),
        group.first().load.brief().into(),
        Cell::spread(group.spread(|point| point.throughput_ops_per_s), whole),
        Cell::spread(group.spread(|point| point.latency_us_p50 / 1e3), quantity),
        Cell::spread(group.spread(|point| point.latency_us_p99 / 1e3), quantity),
        Cell::spread(group.spread(|point| point.replica_cpu_us_per_op_scaled), quantity),
        Cell::spread(group.spread(|point| point.replica_cpu_us_per_op), quantity),
        Cell::spread(group.spread(|point| point.client_cpu_us_per_op_scaled), quantity),
        Cell::spread(group.spread(|point| point.rss_mb_max), quantity),
        Cell::spread(view_changes, whole),
        if results == all { all.to_string() } else { format!("{results} of {all}") }.into(),
    ]
}

/// One replica alone: a row for each way to place its threads.
pub(crate) fn scaling_table(folder: &Folder) -> Table {
    let header = ["one replica alone", "op/s", "over the first", "CPU-ns/op", "results"];
    let ways = ways(&folder.scaling);
    let spread =
        |rows: &[&Played], value: fn(&Played) -> f64| Spread::of(rows.iter().map(|one| value(one)).collect());
    let base = ways.first().map_or(0.0, |first| spread(first, |one| one.throughput_ops_per_s).median);
    let row = |rows: &Vec<&Played>| {
        let throughput = spread(rows, |one| one.throughput_ops_per_s);
        vec![
            way(rows[0]).into(),
            Cell::spread(Some(throughput), |value| grouped(value, 0)),
            if base > 0.0 { format!("{:.2}", throughput.median / base) } else { "–".to_owned() }.into(),
            Cell::spread(Some(spread(rows, |one| one.cpu_ns_per_op)), quantity),
            rows.len().to_string().into(),
        ]
    };
    Table { header: header.map(str::to_owned).to_vec(), rows: ways.iter().map(row).collect() }
}

fn marked(variants: &[Variant<'_>]) -> Vec<(String, String)> {
    let groups = variants.iter().flat_map(|variant| variant.groups.iter().map(move |group| (variant, group)));
    groups
        .flat_map(|(variant, group)| group.marked().map(move |point| (variant, point)))
        .map(|(variant, point)| {
            let what = format!(
                "{}, {}, repetition {}: {} op/s",
                variant.label,
                point.load.brief(),
                point.repeat,
                grouped(point.throughput_ops_per_s, 0)
            );
            (what, point.marks.clone())
        })
        .collect()
}

/// The fields of an environment that a reader looks for first, and what a person calls them.
const MACHINE: &[(&str, &str)] = &[
    ("cpu_model", "processor"),
    ("cores", "cores"),
    ("threads_per_core", "threads a core"),
    ("memory_mb", "memory, MB"),
    ("kernel", "kernel"),
    ("governor", "frequency governor"),
    ("load", "load averages before"),
    ("cpu_pressure_avg10", "waiting for a processor before, % of 10 s"),
    ("open_files", "limit of open files"),
    ("build", "build profile"),
];

fn machine(fields: &[(String, String)]) -> Vec<(String, String)> {
    let place = |name: &str| MACHINE.iter().position(|(field, _)| *field == name);
    let mut fields: Vec<&(String, String)> = fields.iter().collect();
    fields.sort_by_key(|(name, _)| place(name).unwrap_or(MACHINE.len()));
    let told =
        |name: &str| place(name).map_or_else(|| name.replace('_', " "), |index| MACHINE[index].1.to_owned());
    fields.into_iter().map(|(name, value)| (told(name), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::groups::tests::folder;
    use crate::report::measured::tests::old_row;

    #[test]
    fn the_headline_is_the_best_result_and_no_marked_point() {
        let folder = folder(&[
            old_row(1, 0, 1000.0, ""),
            old_row(1, 1, 3000.0, ""),
            old_row(2, 0, 1500.0, ""),
            old_row(2, 1, 99_000.0, "noisy machine"),
        ]);
        let facts = Facts::of(&folder);
        assert_eq!(facts.headline[0].value, "2,000 op/s");
        assert_eq!(facts.headline[0].note, "P = 1, 24×100");
        assert_eq!(facts.headline[1].value, "8.60 / 16.0 ms");
        assert_eq!(facts.marked.len(), 1);
        assert!(facts.marked[0].0.contains("P = 2, 24×100, repetition 1: 99,000 op/s"), "{:?}", facts.marked);
        let row = &facts.tables[0].rows[1];
        assert_eq!((row[2].text.as_str(), row[10].text.as_str()), ("1,500", "1 of 2"));
        let best = &facts.tables[0].rows[0];
        assert_eq!((best[2].text.as_str(), best[2].extremes.as_str()), ("2,000", "1,000–3,000"));
        assert_eq!(best[9].text, "–", "the folder doesn't tell view changes");
    }

    #[test]
    fn where_all_is_marked_there_is_no_headline() {
        let facts = Facts::of(&folder(&[old_row(1, 0, 1000.0, "noisy")]));
        assert!(facts.headline.is_empty());
        assert_eq!(facts.tables[0].rows[0][2], Cell::from("–"));
    }

    #[test]
    fn a_folder_without_points_says_so() {
        let facts = Facts::of(&folder(&[]));
        assert!(facts.headline.is_empty() && facts.tables.is_empty() && facts.figures.is_empty());
    }

    #[test]
    fn moments_are_told_as_days() {
        assert_eq!(began(1_795_288_365), "2026-11-21 19:12:45 UTC");
        assert_eq!(began(1_767_268_800), "2026-01-01 12:00:00 UTC");
        assert_eq!((began(0), began(u64::MAX)), ("at an unknown time".into(), "at an unknown time".into()));
    }
}
