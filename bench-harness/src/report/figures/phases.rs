use std::collections::BTreeMap;

use super::super::axis::Axis;
use super::super::chart::{Bar, Body, COLOURS, Figure, Key};
use super::super::folder::Folder;
use super::super::groups::{Group, Variant};
use super::super::tables::Phase;
use super::super::text::quantity;
use super::super::words;
use super::{milliseconds, pages};
use crate::summary::Spread;

/// Bars of one figure.
const BARS: usize = 16;

/// Where operations spend their time: a bar a setting, stacked in the order of the phases.
pub(super) fn figures(folder: &Folder, variants: &[Variant<'_>]) -> Vec<Figure> {
    let mut phases: Vec<&str> = Vec::new();
    for phase in &folder.phases {
        if !phases.contains(&phase.phase.as_str()) && phases.len() < COLOURS {
            phases.push(&phase.phase);
        }
    }
    let mut by_name: BTreeMap<&str, Vec<&Phase>> = BTreeMap::new();
    for phase in &folder.phases {
        by_name.entry(&phase.name).or_default().push(phase);
    }
    let bars: Vec<Bar> = variants
        .iter()
        .flat_map(|variant| variant.groups.iter().filter_map(|group| bar(&by_name, &phases, variant, group)))
        .collect();
    pages("latency-phases", &bars, BARS).map(|(stem, bars)| figure(stem, folder, &phases, bars)).collect()
}

/// Medians of the repetitions' means.
fn bar(
    by_name: &BTreeMap<&str, Vec<&Phase>>,
    phases: &[&str],
    variant: &Variant<'_>,
    group: &Group<'_>,
) -> Option<Bar> {
    let rows: Vec<&Phase> =
        group.results().filter_map(|point| by_name.get(point.name.as_str())).flatten().copied().collect();
    let mean_ms = |phase: &str| {
        let means = rows.iter().filter(|row| row.phase == phase).map(|row| milliseconds(row.mean_us));
        let means: Vec<f64> = means.collect();
        (!means.is_empty()).then(|| Spread::of(means).median)
    };
    let means = phases.iter().enumerate().filter_map(|(index, phase)| Some((index, *phase, mean_ms(phase)?)));
    let segments: Vec<(usize, f64, String)> =
        means.map(|(index, phase, ms)| (index, ms, format!("{phase}: {} ms", quantity(ms)))).collect();
    let whole: f64 = segments.iter().map(|(_, ms, _)| ms).sum();
    (!segments.is_empty()).then(|| Bar {
        label: format!("{}, {}", variant.label, group.first().load.brief()),
        value: format!("{} ms", quantity(whole)),
        segments,
        dots: Vec::new(),
    })
}

fn figure(stem: String, folder: &Folder, phases: &[&str], bars: &[Bar]) -> Figure {
    let longest = |bar: &Bar| bar.segments.iter().map(|(_, ms, _)| ms).sum();
    let longest = bars.iter().map(longest).fold(0.0, f64::max);
    Figure {
        stem,
        title: "Where latency comes from: mean time in each phase".to_owned(),
        subtitle: words::measured(&folder.points),
        legend: phases
            .iter()
            .enumerate()
            .map(|(index, phase)| (Key::Bar(index), (*phase).to_owned()))
            .collect(),
        body: Body::Bars(Axis::linear("mean latency, ms", longest, 5), bars.to_vec()),
    }
}
