mod curve;
mod latency;
mod phases;
mod pillars;
mod scaling;
mod timeline;

pub(crate) use scaling::{way, ways};

use super::chart::{Figure, Key, Mark, Shape, Stroke};
use super::folder::Folder;
use super::groups::{Group, Variant};
use super::measured::Measured;
use super::text::{grouped, quantity};

/// Figures of one kind at most: a sweep's table says the rest.
const OF_A_KIND: usize = 12;

/// All figures that the folder has data for.
pub(crate) fn all(folder: &Folder) -> Vec<Figure> {
    let variants = Variant::all(folder);
    [
        curve::figures(folder, &variants),
        pillars::figures(folder, &variants),
        latency::figures(folder, &variants),
        phases::figures(folder, &variants),
        timeline::figures(folder, &variants),
        scaling::figures(folder),
    ]
    .into_iter()
    .flat_map(|kind| kind.into_iter().take(OF_A_KIND))
    .collect()
}

/// So many at a time, with the stem of each figure's file.
fn pages<'a, T>(stem: &'a str, items: &'a [T], at_a_time: usize) -> impl Iterator<Item = (String, &'a [T])> {
    items.chunks(at_a_time).enumerate().map(move |(index, chunk)| match index {
        0 => (stem.to_owned(), chunk),
        _ => (format!("{stem}-{}", index + 1), chunk),
    })
}

fn milliseconds(us: f64) -> f64 {
    us / 1e3
}

/// What a dot says of its measurement.
fn tip(label: &str, point: &Measured) -> String {
    let marked = if point.is_result() { String::new() } else { format!("; marked: {}", point.marks) };
    format!(
        "{label}, {}, repetition {}: {} op/s, p50 {} ms, p99 {} ms, {} CPU-µs/op scaled{marked}",
        point.load.brief(),
        point.repeat,
        grouped(point.throughput_ops_per_s, 0),
        quantity(milliseconds(point.latency_us_p50)),
        quantity(milliseconds(point.latency_us_p99)),
        quantity(point.replica_cpu_us_per_op_scaled),
    )
}

/// Dots for all repetitions of a group: results in their shape, marked ones hollow and grey.
fn dots<'a>(
    label: &'a str,
    group: &'a Group<'a>,
    shape: Shape,
    place: impl Fn(&Measured) -> (f64, f64) + 'a,
) -> impl Iterator<Item = Mark> + 'a {
    let results = group.results().map(move |point| (shape, point));
    let marked = group.marked().map(|point| (Shape::Marked, point));
    marked.chain(results).map(move |(shape, point)| Mark::Dot(shape, place(point), tip(label, point)))
}

/// The legend's last entry, where there are marked points.
fn marked_key<'a>(groups: impl IntoIterator<Item = &'a Group<'a>>) -> Option<(Key, String)> {
    let any = groups.into_iter().any(|group| group.marked().next().is_some());
    any.then(|| (Key::Dot(Shape::Marked), "marked: not a result".to_owned()))
}

/// An entry a line.
fn line_key(colour: usize, label: &str) -> (Key, String) {
    (Key::Line(Stroke::Solid(colour)), label.to_owned())
}

#[cfg(test)]
mod tests;
