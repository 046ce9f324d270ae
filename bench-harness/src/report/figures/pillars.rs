use super::super::axis::Axis;
use super::super::chart::{Body, COLOURS, Figure, Key, Mark, Panel, Shape, Stroke};
use super::super::folder::Folder;
use super::super::groups::{Group, Variant, gather, labeller};
use super::super::measured::{FACETS, Measured};
use super::super::words;
use super::{dots, line_key, marked_key, pages};

/// A setting under several pillar counts: its best load for each of them.
struct Series<'a> {
    label: String,
    colour: usize,
    groups: Vec<Group<'a>>,
}

/// A quantity that is drawn over pillars.
struct Quantity {
    stem: &'static str,
    title: &'static str,
    axis: &'static str,
    value: fn(&Measured) -> f64,
    /// What it would be with so many times the pillars.
    ideal: fn(at_one: f64, pillars: f64) -> f64,
    ideal_label: &'static str,
}

const QUANTITIES: [Quantity; 2] = [
    Quantity {
        stem: "pillars-throughput",
        title: "Throughput over pillars",
        axis: "throughput, op/s",
        value: |point| point.throughput_ops_per_s,
        ideal: |at_one, pillars| at_one * pillars,
        ideal_label: "ideal: linear from P = 1, a core a pillar",
    },
    Quantity {
        stem: "pillars-cpu",
        title: "Cost of an operation over pillars",
        axis: "CPU-µs an operation, all replicas, scaled",
        value: |point| point.replica_cpu_us_per_op_scaled,
        ideal: |at_one, _| at_one,
        ideal_label: "ideal: as with P = 1",
    },
];

/// Throughput, and CPU time an operation, over the pillar count.
pub(super) fn figures(folder: &Folder, variants: &[Variant<'_>]) -> Vec<Figure> {
    let series = series(folder, variants);
    let draw = |quantity: &'static Quantity| {
        pages(quantity.stem, &series, COLOURS)
            .map(|(stem, series)| figure(stem, quantity, folder, series))
            .collect::<Vec<_>>()
    };
    QUANTITIES.iter().flat_map(draw).collect()
}

fn series<'a>(folder: &Folder, variants: &[Variant<'a>]) -> Vec<Series<'a>> {
    let label = labeller(&folder.points, |facet| facet.column != "pillars");
    let alike =
        |a: &Variant<'a>, b: &Variant<'a>| apart_from_pillars(a.first()).eq(apart_from_pillars(b.first()));
    let mut all: Vec<Series<'a>> = Vec::new();
    for variants in gather(variants, alike) {
        let mut groups: Vec<Group<'a>> =
            variants.iter().filter_map(|variant| variant.best().or(variant.groups.last()).cloned()).collect();
        groups.sort_by_key(|group| group.first().pillars);
        if groups.windows(2).any(|pair| pair[0].first().pillars != pair[1].first().pillars) {
            let label = Some(label(variants[0].first())).filter(|label| !label.is_empty());
            let label = label.unwrap_or_else(|| "measured".to_owned());
            all.push(Series { label, colour: all.len(), groups });
        }
    }
    all
}

fn apart_from_pillars(point: &Measured) -> impl Iterator<Item = &String> {
    let facets = FACETS.iter().zip(&point.facets);
    facets.filter(|(facet, _)| facet.column != "pillars" && !facet.follows).map(|(_, value)| value)
}

fn figure(stem: String, quantity: &'static Quantity, folder: &Folder, series: &[Series<'_>]) -> Figure {
    let groups = || series.iter().flat_map(|series| &series.groups);
    let mut pillars: Vec<f64> = groups().map(pillars_of).collect();
    pillars.sort_by(f64::total_cmp);
    pillars.dedup();
    let most = pillars.last().copied().unwrap_or(1.0);
    let marks: Vec<Mark> = series.iter().flat_map(|series| marks(series, quantity, most)).collect();
    let highest = marks.iter().map(highest).fold(0.0, f64::max);
    let mut legend: Vec<(Key, String)> =
        series.iter().map(|series| line_key(series.colour, &series.label)).collect();
    if marks.iter().any(|mark| matches!(mark, Mark::Line(Stroke::Ideal, _))) {
        legend.push((Key::Line(Stroke::Ideal), quantity.ideal_label.to_owned()));
    }
    legend.extend(marked_key(groups()));
    let subtitle = words::measured(&folder.points);
    let loads = groups().any(|group| group.first().load != series[0].groups[0].first().load);
    Figure {
        stem,
        title: quantity.title.to_owned(),
        subtitle: if loads { format!("{subtitle}; each at its best load") } else { subtitle },
        legend,
        body: Body::Panels(vec![Panel {
            x: Axis::at("pillars", &pillars),
            y: Axis::linear(quantity.axis, highest, 5),
            marks,
        }]),
    }
}

fn pillars_of(group: &Group<'_>) -> f64 {
    f64::from(group.first().pillars)
}

fn marks(series: &Series<'_>, quantity: &'static Quantity, most: f64) -> Vec<Mark> {
    let value = quantity.value;
    let place = move |point: &Measured| (f64::from(point.pillars), value(point));
    let median = |group: &Group<'_>| Some((pillars_of(group), group.spread(value)?.median));
    let medians: Vec<(f64, f64)> = series.groups.iter().filter_map(median).collect();
    let mut marks = Vec::new();
    if let Some((_, at_one)) = medians.iter().find(|(pillars, _)| *pillars <= 1.0) {
        marks.push(Mark::Line(Stroke::Ideal, vec![(1.0, *at_one), (most, (quantity.ideal)(*at_one, most))]));
    }
    marks.push(Mark::Line(Stroke::Solid(series.colour), medians));
    for group in &series.groups {
        let label = format!("P = {}", group.first().pillars);
        marks.extend(dots(&label, group, Shape::Full(series.colour), place).collect::<Vec<_>>());
    }
    marks
}

fn highest(mark: &Mark) -> f64 {
    match mark {
        Mark::Line(_, points) => points.iter().map(|(_, y)| *y).fold(0.0, f64::max),
        Mark::Dot(_, (_, y), _) => *y,
        Mark::Rule(..) => 0.0,
    }
}
