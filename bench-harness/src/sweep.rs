use std::fmt::Write as _;

use serde::Serialize;

use crate::bench::{self, Before, Places, Report};
use crate::cli::{LatencyLimit, SweepArgs};
use crate::curve::{Curve, Loaded, curves};
use crate::error::usage;
use crate::progress::Progress;
use crate::table::notes;

/// What a sweep found: the object that `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct SweepReport {
    /// As of `run`.
    #[serde(flatten)]
    pub report: Report,
    /// Throughput and latency over load, one for each setting.
    pub curves: Vec<Curve>,
}

/// A row of `knees.csv`, for figures: a point of a curve's knee.
#[derive(Serialize)]
struct Knee<'a> {
    name: &'a str,
}

/// Measures every combination of the lists, interleaved, and goes on where an earlier call in the same directory was
/// interrupted. The second value is why it ended early, if it did.
///
/// # Errors
/// When nothing could be measured at all.
pub fn run(
    flags: &SweepArgs,
    places: &Places,
    progress: &Progress,
) -> anyhow::Result<(SweepReport, Option<anyhow::Error>)> {
    if flags.run.output.out.is_none() {
        return usage(
            "sweep needs --out DIR: called again with the same one, it goes on where it was interrupted",
        );
    }
    let (report, ended) = bench::run(&flags.run, Before::Continued, places, progress)?;
    let curves = curves(&report.points, flags.latency_limit);
    let knees = curves.iter().filter_map(|curve| Some(Knee { name: &curve.loads[curve.knee?].name }));
    places.files(&flags.run.output)?.write_rows("knees.csv", &knees.collect::<Vec<_>>())?;
    Ok((SweepReport { report, curves }, ended))
}

/// The curves for a person: a row for each load.
#[must_use]
pub fn table(report: &SweepReport, limit: Option<LatencyLimit>) -> String {
    let mut out = curve_table(&report.curves, limit);
    out.push_str(&notes(&report.report.points));
    out
}

fn curve_table(curves: &[Curve], limit: Option<LatencyLimit>) -> String {
    let mut out = String::new();
    for curve in curves {
        let _ = writeln!(out, "{}", curve.label);
        let _ = writeln!(
            out,
            "  {:>12}  {:>10}  {:>23}  {:>9}  {:>9}  {:>16}",
            "load", "op/s", "least to greatest", "p50, ms", "p99, ms", "CPU-µs/op scaled"
        );
        for (index, loaded) in curve.loads.iter().enumerate() {
            row(&mut out, loaded, &remarks(curve, index, limit));
        }
        if let (Some(limit), None) = (limit, curve.best_within_limit) {
            let _ = writeln!(out, "  no load has a {limit} or less");
        }
    }
    out
}

fn row(out: &mut String, loaded: &Loaded, remarks: &str) {
    let throughput = loaded.throughput_ops_per_s;
    let range = format!("{:.0} - {:.0}", throughput.min, throughput.max);
    let _ = writeln!(
        out,
        "  {:>12}  {:>10.0}  {range:>23}  {:>9.2}  {:>9.2}  {:>16.1}{remarks}",
        loaded.load,
        throughput.median,
        loaded.latency_us_p50 / 1e3,
        loaded.latency_us_p99 / 1e3,
        loaded.replica_cpu_us_per_op_scaled,
    );
}

fn remarks(curve: &Curve, index: usize, limit: Option<LatencyLimit>) -> String {
    let here = |place: Option<usize>| place == Some(index);
    let mut remarks = Vec::new();
    if here(curve.best) {
        remarks.push("most throughput".to_owned());
    }
    if here(curve.knee) {
        remarks.push("knee".to_owned());
    }
    if let Some(limit) = limit.filter(|_| here(curve.best_within_limit)) {
        remarks.push(format!("most with a {limit} or less"));
    }
    let loaded = &curve.loads[index];
    if loaded.marked > 0 {
        remarks.push(format!("{} of {} marked", loaded.marked, loaded.repeats));
    }
    if remarks.is_empty() { String::new() } else { format!("  {}", remarks.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::Point;
    use crate::point::tests::example;

    #[test]
    fn the_table_says_where_a_curve_bends() {
        let fast = Point { outstanding_per_client: 200, throughput_ops_per_s: 20_000.0, ..example() };
        let limit: LatencyLimit = "p99=1us".parse().expect("a limit");
        let text = curve_table(&curves(&[example(), fast], Some(limit)), Some(limit));
        let row = text.lines().find(|line| line.contains("8x200")).expect("a row");
        assert!(row.contains("20000") && row.ends_with("most throughput, knee"), "{text}");
        assert!(text.contains("no load has a p99 of 1us or less"), "{text}");
    }
}
