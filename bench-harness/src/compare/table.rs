use std::fmt::Write;

use super::peers::Report;
use crate::peers::{PeerPoint, System};
use crate::point::Point;
use crate::summary::Spread;
use crate::table::{COLUMN_WIDTH, row};

/// The figures for a person: a column for each system, a row for each quantity; medians where there are repeats. Below: who
/// signs what, and what to know of each.
#[must_use]
pub fn table(report: &Report) -> String {
    let mut out = String::new();
    let columns = columns(report);
    if !columns.is_empty() {
        out.push_str(&heading(report));
        row(&mut out, "", &each(&columns, Column::heading), COLUMN_WIDTH);
        for (name, ours, theirs, digits) in ROWS {
            row(&mut out, name, &each(&columns, |column| column.cell(*ours, *theirs, *digits)), COLUMN_WIDTH);
        }
        if let Some(base) = columns.first().filter(|column| matches!(column, Column::Ours(_))) {
            row(
                &mut out,
                "throughput, ours / theirs",
                &each(&columns, |column| ratio(base, column, THROUGHPUT)),
                COLUMN_WIDTH,
            );
            row(
                &mut out,
                "Σ CPU scaled, theirs / ours",
                &each(&columns, |column| ratio(column, base, CPU)),
                COLUMN_WIDTH,
            );
        }
        out.push('\n');
    }
    notes(&mut out, report);
    for failed in &report.failed {
        let _ = writeln!(
            out,
            "{}: no figures after {} repeats: {}",
            failed.system, failed.repeats_before, failed.error
        );
    }
    out
}

/// The measurements of one system: at least one.
enum Column<'a> {
    Ours(Vec<&'a Point>),
    Theirs(System, Vec<&'a PeerPoint>),
}

type Of<T> = fn(&T) -> Option<f64>;
type Row = (&'static str, Of<Point>, Of<PeerPoint>, usize);

const THROUGHPUT: (Of<Point>, Of<PeerPoint>) =
    (|p| Some(p.throughput_ops_per_s), |p| Some(p.throughput_ops_per_s));
const CPU: (Of<Point>, Of<PeerPoint>) =
    (|p| Some(p.replica_cpu_us_per_op_scaled), |p| Some(p.replica_cpu_us_per_op_scaled));

const ROWS: &[Row] = &[
    ("throughput, op/s", THROUGHPUT.0, THROUGHPUT.1, 0),
    ("latency p50, ms", |p| Some(p.latency_us.p50 / 1e3), |p| p.latency_us_p50.map(|us| us / 1e3), 2),
    ("latency p99, ms", |p| Some(p.latency_us.p99 / 1e3), |p| p.latency_us_p99.map(|us| us / 1e3), 2),
    ("latency mean, ms", |p| Some(p.latency_us.mean / 1e3), |p| p.latency_us_mean.map(|us| us / 1e3), 2),
    ("replicas' CPU-µs/op, Σ raw", |p| Some(p.replica_cpu_us_per_op), |p| Some(p.replica_cpu_us_per_op), 1),
    ("replicas' CPU-µs/op, Σ scaled", CPU.0, CPU.1, 1),
    ("clients' CPU-µs/op, raw", |p| Some(p.client_cpu_us_per_op), |p| Some(p.client_cpu_us_per_op), 1),
    ("peak memory of a replica, MB", |p| Some(p.rss_mb_max), |p| Some(p.rss_mb_max), 1),
    ("window, s", |p| Some(p.measured_s), |p| Some(p.measured_s), 2),
];

impl Column<'_> {
    fn heading(&self) -> String {
        let (name, repeats) = match self {
            Self::Ours(points) => ("Hypostyle", points.len()),
            Self::Theirs(system, points) => (system.name(), points.len()),
        };
        if repeats == 1 { name.to_owned() } else { format!("{name} ({repeats}x)") }
    }

    /// The median, where the system tells this quantity in every repeat.
    fn median(&self, ours: Of<Point>, theirs: Of<PeerPoint>) -> Option<f64> {
        let values: Option<Vec<f64>> = match self {
            Self::Ours(points) => points.iter().map(|point| ours(point)).collect(),
            Self::Theirs(_, points) => points.iter().map(|point| theirs(point)).collect(),
        };
        values.map(|values| Spread::of(values).median)
    }

    fn cell(&self, ours: Of<Point>, theirs: Of<PeerPoint>, digits: usize) -> String {
        self.median(ours, theirs).map_or_else(|| "-".to_owned(), |median| format!("{median:.digits$}"))
    }
}

fn columns(report: &Report) -> Vec<Column<'_>> {
    let mut columns = Vec::new();
    if !report.points.is_empty() {
        columns.push(Column::Ours(report.points.iter().collect()));
    }
    for point in &report.peers {
        let known = columns.iter_mut().find_map(|column| match column {
            Column::Theirs(system, points) if *system == point.system => Some(points),
            _ => None,
        });
        match known {
            Some(points) => points.push(point),
            None => columns.push(Column::Theirs(point.system, vec![point])),
        }
    }
    columns
}

fn ratio(over: &Column<'_>, under: &Column<'_>, of: (Of<Point>, Of<PeerPoint>)) -> String {
    match (over.median(of.0, of.1), under.median(of.0, of.1)) {
        (Some(over), Some(under)) if under > 0.0 => format!("{:.2}", over / under),
        _ => "-".to_owned(),
    }
}

fn each<'a>(columns: &[Column<'a>], cell: impl Fn(&Column<'a>) -> String) -> Vec<String> {
    columns.iter().map(cell).collect()
}

fn heading(report: &Report) -> String {
    format!(
        "setting {}; n = 4, f = 1; the same load on each, closed loop; results are the smallest that each can give\n\
         an operation counts at f+1 valid matching replies in ours; in the others as their own client counts\n\n",
        report.setting.name()
    )
}

fn notes(out: &mut String, report: &Report) {
    if !report.points.is_empty() {
        let _ = writeln!(out, "Hypostyle: {}", report.signed);
    }
    let mut told: Vec<System> = Vec::new();
    for point in &report.peers {
        if !told.contains(&point.system) {
            told.push(point.system);
            let _ = writeln!(
                out,
                "{}: {}\n  load: {}\n  latency of: {}",
                point.system.name(),
                point.signed,
                point.load,
                point.latency_of
            );
        }
    }
    let ours = report.points.iter().map(|point| ("Hypostyle", point.repeat, &point.marks));
    let theirs = report.peers.iter().map(|point| (point.system.name(), point.repeat, &point.marks));
    for (name, repeat, marks) in ours.chain(theirs) {
        for mark in marks {
            let _ = writeln!(out, "not a result to quote ({name}, repeat {repeat}): {mark}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Failed;
    use crate::environment::Environment;
    use crate::peers::Auth;

    fn report() -> Report {
        Report {
            setting: Auth::D,
            signed: "tags".into(),
            points: vec![crate::point::tests::example()],
            peers: vec![
                crate::peers::tests::example(System::Reptor),
                crate::peers::tests::example(System::Reptor),
            ],
            failed: vec![Failed { system: "Themis".into(), repeats_before: 1, error: "it stalled".into() }],
            command: Vec::new(),
            commit: String::new(),
            environment: Environment::now(0),
            files: "x".into(),
        }
    }

    #[test]
    fn a_column_for_each_system_and_who_failed_below() {
        let text = table(&report());
        assert!(text.contains("Hypostyle") && text.contains("Reptor (2x)"), "{text}");
        let words = |start: &str| {
            let line = text.lines().find(|line| line.starts_with(start)).expect("a row");
            line[start.len()..].split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(words("throughput, op/s"), ["10000", "500"]);
        assert_eq!(words("latency p50, ms"), ["0.00", "-"], "Reptor tells no percentiles");
        assert_eq!(words("throughput, ours / theirs"), ["1.00", "20.00"]);
        assert!(text.contains("Reptor: nothing is signed: HMAC"), "{text}");
        assert!(text.contains("Themis: no figures after 1 repeats: it stalled"), "{text}");
        assert!(text.contains("not a result to quote (Reptor, repeat 0): a noisy machine"), "{text}");
    }

    #[test]
    fn where_nothing_was_measured_only_the_reasons_stand() {
        let text = table(&Report { points: Vec::new(), peers: Vec::new(), ..report() });
        assert!(text.starts_with("Themis: no figures"), "{text}");
    }
}
