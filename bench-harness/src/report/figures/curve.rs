use super::super::axis::Axis;
use super::super::chart::{Body, COLOURS, Figure, Key, Mark, OF_ALL, Panel, Shape, Stroke};
use super::super::folder::Folder;
use super::super::groups::{Group, Variant};
use super::super::measured::Measured;
use super::super::words;
use super::{dots, line_key, marked_key, milliseconds, pages};

/// Latency over throughput: a line a setting through the medians of its loads, every repetition as a dot.
pub(super) fn figures(folder: &Folder, variants: &[Variant<'_>]) -> Vec<Figure> {
    pages("throughput-latency", variants, COLOURS)
        .map(|(stem, variants)| figure(stem, folder, variants))
        .collect()
}

fn figure(stem: String, folder: &Folder, variants: &[Variant<'_>]) -> Figure {
    let groups = || variants.iter().flat_map(|variant| &variant.groups);
    let points = || groups().flat_map(|group| group.results().chain(group.marked()));
    let latencies = points().flat_map(|point| [point.latency_us_p50, point.latency_us_p99]).map(milliseconds);
    let fastest = points().map(|point| point.throughput_ops_per_s).fold(0.0, f64::max);
    let mut legend: Vec<(Key, String)> = variants.iter().map(key).collect();
    legend.push((Key::Dot(Shape::Full(OF_ALL)), "p50".to_owned()));
    legend.push((Key::Dot(Shape::Open(OF_ALL)), "p99".to_owned()));
    if groups().any(|group| group.knee) {
        legend.push((Key::Dot(Shape::Knee), "knee".to_owned()));
    }
    legend.extend(marked_key(groups()));
    Figure {
        stem,
        title: "Latency over throughput".to_owned(),
        subtitle: words::measured(&folder.points),
        legend,
        body: Body::Panels(vec![Panel {
            x: Axis::linear("throughput, op/s", fastest, 6),
            y: Axis::log("latency, ms (log)", latencies),
            marks: variants.iter().flat_map(marks).collect(),
        }]),
    }
}

/// One load makes no line.
fn key(variant: &Variant<'_>) -> (Key, String) {
    match variant.groups.len() {
        1 => (Key::Dot(Shape::Full(variant.colour)), variant.label.clone()),
        _ => line_key(variant.colour, &variant.label),
    }
}

/// Lines below dots, so that no dot is hidden.
fn marks(variant: &Variant<'_>) -> Vec<Mark> {
    let p50 = |point: &Measured| (point.throughput_ops_per_s, milliseconds(point.latency_us_p50));
    let p99 = |point: &Measured| (point.throughput_ops_per_s, milliseconds(point.latency_us_p99));
    let mut marks = vec![
        Mark::Line(Stroke::Solid(variant.colour), medians(variant, |point| point.latency_us_p50)),
        Mark::Line(Stroke::Dashed(variant.colour), medians(variant, |point| point.latency_us_p99)),
    ];
    for group in &variant.groups {
        marks.extend(dots(&variant.label, group, Shape::Open(variant.colour), p99));
        marks.extend(dots(&variant.label, group, Shape::Full(variant.colour), p50));
        if let Some(place) = median(group, |point| point.latency_us_p50).filter(|_| group.knee) {
            marks.push(Mark::Dot(Shape::Knee, place, format!("knee: {}", group.first().load.brief())));
        }
    }
    marks
}

fn medians(variant: &Variant<'_>, latency: fn(&Measured) -> f64) -> Vec<(f64, f64)> {
    variant.groups.iter().filter_map(|group| median(group, latency)).collect()
}

fn median(group: &Group<'_>, latency: fn(&Measured) -> f64) -> Option<(f64, f64)> {
    let throughput = group.spread(|point| point.throughput_ops_per_s)?;
    Some((throughput.median, milliseconds(group.spread(latency)?.median)))
}
