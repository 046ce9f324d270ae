use std::collections::BTreeMap;

use super::super::axis::Axis;
use super::super::chart::{Body, Figure, Key, Mark, Panel, Stroke};
use super::super::folder::Folder;
use super::super::groups::{Group, Variant};
use super::super::measured::Measured;
use super::super::tables::Interval;
use super::super::words;
use super::{line_key, milliseconds};

/// Throughput and p99 over the window: the first result of each setting in which something was done to the cluster;
/// where nothing was, of the best setting.
pub(super) fn figures(folder: &Folder, variants: &[Variant<'_>]) -> Vec<Figure> {
    let groups =
        || variants.iter().flat_map(|variant| variant.groups.iter().map(move |group| (variant, group)));
    let mut by_name: BTreeMap<&str, Vec<&Interval>> = BTreeMap::new();
    for interval in &folder.timeline {
        by_name.entry(&interval.name).or_default().push(interval);
    }
    let told: Vec<Told<'_>> =
        groups().filter_map(|(variant, group)| Told::of(&by_name, variant, group)).collect();
    let eventful =
        told.iter().filter(|told| told.intervals.iter().any(|interval| !interval.event.is_empty()));
    let mut shown: Vec<&Told<'_>> = eventful.collect();
    if shown.is_empty() {
        shown.extend(
            told.iter().max_by(|a, b| a.point.throughput_ops_per_s.total_cmp(&b.point.throughput_ops_per_s)),
        );
    }
    shown.iter().enumerate().map(|(index, told)| told.figure(index, folder)).collect()
}

/// One measurement's course.
struct Told<'a> {
    label: &'a str,
    colour: usize,
    point: &'a Measured,
    repetitions: usize,
    intervals: Vec<&'a Interval>,
}

impl<'a> Told<'a> {
    fn of(
        by_name: &BTreeMap<&str, Vec<&'a Interval>>,
        variant: &'a Variant<'_>,
        group: &Group<'a>,
    ) -> Option<Self> {
        let course = |point: &'a Measured| Some((point, by_name.get(point.name.as_str())?.clone()));
        let (point, intervals) = group.results().find_map(course)?;
        let repetitions = group.results().count();
        Some(Self { label: &variant.label, colour: variant.colour, point, repetitions, intervals })
    }

    fn figure(&self, index: usize, folder: &Folder) -> Figure {
        let end = self.intervals.iter().map(|interval| interval.second).fold(0.0, f64::max);
        let x = || Axis::linear("seconds (each interval at its end)", end, 8);
        let throughput: Vec<(f64, f64)> =
            self.intervals.iter().map(|interval| (interval.second, interval.throughput_ops_per_s)).collect();
        let highest = throughput.iter().map(|(_, y)| *y).fold(0.0, f64::max);
        let runs = self.runs_of_p99();
        let latencies: Vec<f64> = runs.iter().flatten().map(|(_, ms)| *ms).collect();
        let events = || self.intervals.iter().filter(|interval| !interval.event.is_empty());
        let rules = |label: fn(&Interval) -> String| {
            events().map(move |interval| Mark::Rule(interval.second, label(interval)))
        };
        let mut throughput_marks = vec![Mark::Line(Stroke::Solid(self.colour), throughput)];
        throughput_marks.extend(rules(|interval| interval.event.clone()));
        let mut latency_marks: Vec<Mark> =
            runs.into_iter().map(|run| Mark::Line(Stroke::Solid(self.colour), run)).collect();
        latency_marks.extend(rules(|_| String::new()));
        let mut legend = vec![line_key(self.colour, &format!("{}, {}", self.label, self.point.load.brief()))];
        if events().next().is_some() {
            legend.push((Key::Rule, "what was done to the cluster".to_owned()));
        }
        Figure {
            stem: if index == 0 { "timeline".to_owned() } else { format!("timeline-{}", index + 1) },
            title: "Throughput and p99 over time".to_owned(),
            subtitle: format!(
                "{}; repetition {} of {}",
                words::measured(&folder.points),
                self.point.repeat + 1,
                self.repetitions
            ),
            legend,
            body: Body::Panels(vec![
                Panel { x: x(), y: Axis::linear("throughput, op/s", highest, 4), marks: throughput_marks },
                Panel {
                    x: x(),
                    y: Axis::log("p99, ms (log); a gap: no operation ended", latencies),
                    marks: latency_marks,
                },
            ]),
        }
    }

    /// Intervals in which operations ended, apart where none did.
    fn runs_of_p99(&self) -> Vec<Vec<(f64, f64)>> {
        let mut runs = vec![Vec::new()];
        for interval in &self.intervals {
            match interval.latency_us_p99 {
                Some(us) => {
                    runs.last_mut().expect("never empty").push((interval.second, milliseconds(us)));
                }
                None => runs.push(Vec::new()),
            }
        }
        runs.retain(|run| !run.is_empty());
        runs
    }
}
