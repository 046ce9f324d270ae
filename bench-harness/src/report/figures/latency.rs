use hdrhistogram::Histogram;

use super::super::axis::Axis;
use super::super::chart::{Body, COLOURS, Figure, Mark, Panel, Stroke};
use super::super::folder::Folder;
use super::super::groups::{Group, Variant};
use super::super::words;
use super::{line_key, milliseconds, pages};

/// The distribution of latencies: all repetitions of a setting together, at its knee or its best load.
pub(super) fn figures(folder: &Folder, variants: &[Variant<'_>]) -> Vec<Figure> {
    let lines: Vec<Distribution> =
        variants.iter().filter_map(|variant| distribution(folder, variant)).collect();
    pages("latency-distribution", &lines, COLOURS).map(|(stem, lines)| figure(stem, folder, lines)).collect()
}

struct Distribution {
    label: String,
    colour: usize,
    latencies: Histogram<u64>,
}

fn distribution(folder: &Folder, variant: &Variant<'_>) -> Option<Distribution> {
    let group = variant.at_knee()?;
    let latencies = merged(folder, group)?;
    let label = match variant.groups.len() {
        1 => variant.label.clone(),
        _ => format!("{}, {}", variant.label, group.first().load.brief()),
    };
    Some(Distribution { label, colour: variant.colour, latencies })
}

fn merged(folder: &Folder, group: &Group<'_>) -> Option<Histogram<u64>> {
    // This kind grows to hold what is added.
    let mut all = Histogram::new(3).ok()?;
    let recorded = group.results().filter_map(|point| folder.latencies.get(&point.name));
    for (value, operations) in recorded.flatten() {
        all.record_n(*value, *operations).ok()?;
    }
    (!all.is_empty()).then_some(all)
}

fn figure(stem: String, folder: &Folder, lines: &[Distribution]) -> Figure {
    let greatest = lines.iter().map(|line| count(line.latencies.len())).fold(10.0, f64::max);
    let nines: Vec<(f64, String)> =
        NINES.iter().map(|(one_of, label)| (*one_of, (*label).to_owned())).collect();
    let shown = nines.iter().position(|(one_of, _)| *one_of >= greatest).map_or(nines.len(), |last| last + 1);
    let curves: Vec<(usize, Vec<(f64, f64)>)> =
        lines.iter().map(|line| (line.colour, curve(&line.latencies))).collect();
    let values = curves.iter().flat_map(|(_, points)| points.iter().map(|(_, y)| *y));
    Figure {
        stem,
        title: "Latency distribution".to_owned(),
        subtitle: words::measured(&folder.points),
        legend: lines.iter().map(|line| line_key(line.colour, &line.label)).collect(),
        body: Body::Panels(vec![Panel {
            x: Axis::log_at("share of operations that took no longer", nines[..shown].to_vec()),
            y: Axis::log("latency, ms (log)", values),
            marks: curves
                .into_iter()
                .map(|(colour, points)| Mark::Line(Stroke::Solid(colour), points))
                .collect(),
        }]),
    }
}

/// One in so many operations takes longer.
const NINES: &[(f64, &str)] = &[
    (1.0, ""),
    (2.0, "50 %"),
    (10.0, "90 %"),
    (100.0, "99 %"),
    (1e3, "99.9 %"),
    (1e4, "99.99 %"),
    (1e5, "99.999 %"),
    (1e6, "99.9999 %"),
    (1e7, "99.99999 %"),
];

/// Places on the axis of "one in so many", evenly spread on it, up to the slowest operation.
fn curve(latencies: &Histogram<u64>) -> Vec<(f64, f64)> {
    let last = count(latencies.len()).min(1e7);
    let mut points = Vec::new();
    let mut one_of = 1.0;
    while one_of < last {
        points.push((one_of, at(latencies, one_of)));
        one_of *= 1.12;
    }
    points.push((last, at(latencies, last)));
    points
}

fn at(latencies: &Histogram<u64>, one_of: f64) -> f64 {
    milliseconds(count(latencies.value_at_quantile(1.0 - 1.0 / one_of)))
}

#[allow(clippy::cast_precision_loss, reason = "a picture's precision")]
fn count(value: u64) -> f64 {
    value as f64
}
