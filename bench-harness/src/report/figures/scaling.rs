use super::super::axis::Axis;
use super::super::chart::{Bar, Body, Figure, Key};
use super::super::folder::Folder;
use super::super::groups::gather;
use super::super::tables::Played;
use super::super::text::grouped;
use crate::summary::Spread;

/// One replica alone: a bar for each way to place its threads, every repetition as a dot on it.
pub(super) fn figures(folder: &Folder) -> Vec<Figure> {
    let mut ways = ways(&folder.scaling);
    ways.truncate(16);
    if ways.is_empty() {
        return Vec::new();
    }
    let fastest = folder.scaling.iter().map(|one| one.throughput_ops_per_s).fold(0.0, f64::max);
    vec![Figure {
        stem: "pillar-scaling".to_owned(),
        title: "One replica alone: what a second pillar on a second core brings".to_owned(),
        subtitle: "a backup in all pillars, played what a recorded cluster sent it: no network, no primary's work; bars are \
                   medians, the factor is over the first"
            .to_owned(),
        legend: vec![(Key::Bar(0), "median".to_owned()), (Key::OnBar, "each repetition".to_owned())],
        body: Body::Bars(Axis::linear("throughput, op/s", fastest, 5), bars(&ways)),
    }]
}

/// The rows of each way, in the order in which they first occur.
pub(crate) fn ways(played: &[Played]) -> Vec<Vec<&Played>> {
    gather(played, |a, b| a.threads == b.threads && a.pillars == b.pillars && a.cores == b.cores)
}

/// What a way is called.
pub(crate) fn way(one: &Played) -> String {
    let plural = if one.cores == 1 { "" } else { "s" };
    format!("P = {} on {} core{plural}: {}", one.pillars, one.cores, one.threads)
}

fn bars(ways: &[Vec<&Played>]) -> Vec<Bar> {
    let median =
        |way: &[&Played]| Spread::of(way.iter().map(|one| one.throughput_ops_per_s).collect()).median;
    let base = median(&ways[0]);
    let bar = |rows: &Vec<&Played>| {
        let middle = median(rows);
        let factor = if base > 0.0 { format!(" ({:.2}×)", middle / base) } else { String::new() };
        Bar {
            label: way(rows[0]),
            value: format!("{}{factor}", grouped(middle, 0)),
            segments: vec![(0, middle, format!("median: {} op/s", grouped(middle, 0)))],
            dots: rows.iter().map(|one| one.throughput_ops_per_s).collect(),
        }
    };
    ways.iter().map(bar).collect()
}
