//! Each figure as it is drawn: where its dots, lines and bars lie, told by the labels of its axes.

use std::time::{Duration, SystemTime};

use roxmltree::{Document, Node};

use super::super::chart::Width;
use super::super::csv_table::CsvTable;
use super::super::folder::Folder;
use super::super::groups::tests::folder;
use super::super::histogram::parse_hlog;
use super::super::measured::tests::old_row;
use super::super::tables::{Interval, Phase, Played};
use super::all;
use crate::latency::Latencies;

fn drawn(folder: &Folder, stem: &str, width: Width) -> String {
    let figures = all(folder);
    let stems: Vec<&str> = figures.iter().map(|figure| figure.stem.as_str()).collect();
    let figure =
        figures.iter().find(|figure| figure.stem == stem).unwrap_or_else(|| panic!("{stem} in {stems:?}"));
    figure.draw(width)
}

fn stems(folder: &Folder) -> Vec<String> {
    all(folder).into_iter().map(|figure| figure.stem).collect()
}

fn attribute(node: Node<'_, '_>, name: &str) -> f64 {
    node.attribute(name).and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{name} of {node:?}"))
}

fn of_class<'a>(document: &'a Document<'a>, class: &str) -> Vec<Node<'a, 'a>> {
    let named = |node: &Node<'_, '_>| {
        let classes: Vec<&str> = node.attribute("class").unwrap_or_default().split(' ').collect();
        class.split(' ').all(|class| classes.contains(&class)) && !classes.contains(&"key")
    };
    document.descendants().filter(named).collect()
}

/// Where a value lies between two labels of an axis: what a reader does with a ruler.
struct Ruler {
    from: (f64, f64),
    to: (f64, f64),
    log: bool,
}

impl Ruler {
    fn of(document: &Document<'_>, axis: &str, log: bool) -> Self {
        let labels = of_class(document, &format!("tick {axis}"));
        let place = |node: &Node<'_, '_>| match axis {
            "x" => attribute(*node, "x"),
            // The label's baseline stands below its line.
            _ => attribute(*node, "y") - 4.0,
        };
        let value = |node: &Node<'_, '_>| {
            let text = node.text().expect("a label");
            let unit = text.chars().last().map_or(1.0, |c| match c {
                'k' => 1e3,
                'M' => 1e6,
                _ => 1.0,
            });
            unit * text.trim_end_matches(['k', 'M']).parse::<f64>().expect("a number")
        };
        let (first, last) = (labels.first().expect("labels"), labels.last().expect("labels"));
        Self { from: (value(first), place(first)), to: (value(last), place(last)), log }
    }

    fn place(&self, value: f64) -> f64 {
        let on = |value: f64| if self.log { value.ln() } else { value };
        let share = (on(value) - on(self.from.0)) / (on(self.to.0) - on(self.from.0));
        self.from.1 + share * (self.to.1 - self.from.1)
    }
}

#[track_caller]
fn assert_near(actual: f64, expected: f64) {
    assert!((actual - expected).abs() < 0.05, "{actual} where {expected} was expected");
}

fn vertices(line: Node<'_, '_>) -> Vec<(f64, f64)> {
    let pair = |pair: &str| {
        let (x, y) = pair.split_once(',').expect("a pair");
        (x.parse().expect("a number"), y.parse().expect("a number"))
    };
    line.attribute("points").expect("points").split(' ').map(pair).collect()
}

/// A row with p50 and p99 of its own, under a load of its own.
fn loaded(
    pillars: u32,
    repeat: u32,
    throughput: f64,
    outstanding: u32,
    latencies: &str,
    marks: &str,
) -> String {
    old_row(pillars, repeat, throughput, marks)
        .replace(",24,100,", &format!(",24,{outstanding},"))
        .replace(",8600,16000,", &format!(",{latencies},"))
}

#[test]
fn the_curve_has_every_repetition_at_its_throughput_and_latency() {
    let rows = [
        loaded(1, 0, 1000.0, 10, "2000,4000", ""),
        loaded(1, 1, 1200.0, 10, "2200,4400", ""),
        loaded(1, 0, 3000.0, 50, "9000,30000", ""),
        loaded(1, 1, 4500.0, 50, "8000,20000", "noisy machine"),
    ];
    for width in [Width::Wide, Width::Narrow] {
        let text = drawn(&folder(&rows), "throughput-latency", width);
        let document = Document::parse(&text).expect("well-formed");
        let (x, y) = (Ruler::of(&document, "x", false), Ruler::of(&document, "y", true));
        let dots = of_class(&document, "dot");
        assert_eq!(dots.len(), 3, "the marked repetition is no dot");
        for (dot, (throughput, p50_ms)) in dots.iter().zip([(1000.0, 2.0), (1200.0, 2.2), (3000.0, 9.0)]) {
            assert_near(attribute(*dot, "cx"), x.place(throughput));
            assert_near(attribute(*dot, "cy"), y.place(p50_ms));
        }
        let rings = of_class(&document, "open");
        assert_eq!(rings.len(), 3);
        assert_near(attribute(rings[2], "cy"), y.place(30.0));
        let line = of_class(&document, "series");
        let medians = vertices(line[0]);
        assert_eq!(medians.len(), 2);
        assert_near(medians[0].0, x.place(1100.0));
        assert_near(medians[0].1, y.place(2.1));
        assert_near(medians[1].0, x.place(3000.0));
    }
}

#[test]
fn marked_points_are_hollow_and_grey_and_the_legend_says_so() {
    let rows = [old_row(1, 0, 1000.0, ""), old_row(1, 1, 2000.0, "noisy machine")];
    let text = drawn(&folder(&rows), "throughput-latency", Width::Wide);
    let document = Document::parse(&text).expect("well-formed");
    let x = Ruler::of(&document, "x", false);
    let marked = of_class(&document, "marked");
    assert_eq!(marked.len(), 2, "its p50 and its p99");
    assert_near(attribute(marked[0], "cx"), x.place(2000.0));
    let tip = marked[0].descendants().find_map(|node| node.text()).expect("a tip");
    assert!(tip.contains("marked: noisy machine"), "{tip}");
    assert!(text.contains("marked: not a result"));
    assert!(text.contains("svg.figure .marked { fill:none;"));
    let unmarked = drawn(&folder(&rows[..1]), "throughput-latency", Width::Wide);
    assert!(!unmarked.contains("marked: not a result"));
}

#[test]
fn a_knee_is_ringed_where_it_was_found() {
    let rows = [loaded(1, 0, 1000.0, 10, "2000,4000", ""), loaded(1, 0, 3000.0, 50, "9000,30000", "")];
    let mut folder = folder(&rows);
    folder.points[1].name = "at-the-knee".into();
    folder.knees.insert("at-the-knee".into());
    let text = drawn(&folder, "throughput-latency", Width::Wide);
    let document = Document::parse(&text).expect("well-formed");
    let knees = of_class(&document, "knee");
    assert_eq!(knees.len(), 1);
    assert_near(attribute(knees[0], "cx"), Ruler::of(&document, "x", false).place(3000.0));
}

#[test]
fn over_pillars_the_ideal_goes_straight_from_one_pillar_on() {
    let rows = [old_row(1, 0, 1000.0, ""), old_row(2, 0, 1800.0, ""), old_row(4, 0, 2500.0, "")];
    let text = drawn(&folder(&rows), "pillars-throughput", Width::Wide);
    let document = Document::parse(&text).expect("well-formed");
    let (x, y) = (Ruler::of(&document, "x", false), Ruler::of(&document, "y", false));
    for (dot, (pillars, throughput)) in of_class(&document, "dot").iter().zip([(1.0, 1000.0), (2.0, 1800.0)])
    {
        assert_near(attribute(*dot, "cx"), x.place(pillars));
        assert_near(attribute(*dot, "cy"), y.place(throughput));
    }
    let ideal = vertices(of_class(&document, "ideal")[0]);
    assert_near(ideal[0].1, y.place(1000.0));
    assert_near(ideal[1].1, y.place(4000.0));
    assert!(text.contains("linear from P = 1"));
    let cost = drawn(&folder(&rows), "pillars-cpu", Width::Wide);
    let document = Document::parse(&cost).expect("well-formed");
    let y = Ruler::of(&document, "y", false);
    let ideal = vertices(of_class(&document, "ideal")[0]);
    assert_near(ideal[0].1, y.place(3.7));
    assert_near(ideal[1].1, y.place(3.7));
}

#[test]
fn the_distribution_goes_through_the_percentiles() {
    let mut folder = folder(&[old_row(1, 0, 1000.0, "")]);
    let mut latencies = Latencies::new();
    (1..=100_000).for_each(|us| latencies.record(Duration::from_micros(us)));
    let mut log = Vec::new();
    latencies.write_hlog(&mut log, SystemTime::now(), Duration::from_secs(1)).expect("written");
    let log = String::from_utf8(log).expect("text");
    folder.latencies.insert(folder.points[0].name.clone(), parse_hlog("a.hlog", &log).expect("reads"));
    let text = drawn(&folder, "latency-distribution", Width::Wide);
    let document = Document::parse(&text).expect("well-formed");
    let y = Ruler::of(&document, "y", true);
    let label = |label: &str| {
        let labels = of_class(&document, "tick x");
        attribute(*labels.iter().find(|node| node.text() == Some(label)).expect("a label"), "x")
    };
    let curve = vertices(of_class(&document, "series")[0]);
    for (share, ms) in [("50 %", 50.0), ("90 %", 90.0), ("99 %", 99.0)] {
        let nearest =
            curve.iter().min_by(|a, b| (a.0 - label(share)).abs().total_cmp(&(b.0 - label(share)).abs()));
        let (_, actual) = nearest.expect("a curve");
        assert!((actual - y.place(ms)).abs() < 4.0, "{share}: {actual} for {}", y.place(ms));
    }
}

fn table(name: &str, text: &str) -> CsvTable {
    CsvTable::parse(name, text).expect("parses")
}

#[test]
fn phases_are_stacked_to_scale_in_their_order() {
    let mut folder = folder(&[old_row(1, 0, 1000.0, "")]);
    let name = folder.points[0].name.clone();
    let rows = format!("name,phase,mean_us\n{name},ordering,3000\n{name},reply,1000\n");
    folder.phases = Phase::all(&table("phases.csv", &rows)).expect("reads");
    let text = drawn(&folder, "latency-phases", Width::Narrow);
    let document = Document::parse(&text).expect("well-formed");
    let x = Ruler::of(&document, "x", false);
    let bars = of_class(&document, "bar");
    assert_eq!(bars.len(), 2);
    assert_near(attribute(bars[0], "x"), x.place(0.0));
    assert_near(attribute(bars[1], "x"), x.place(3.0));
    assert_near(attribute(bars[1], "x") + attribute(bars[1], "width"), x.place(4.0));
}

#[test]
fn the_timeline_has_a_line_at_each_event_and_a_gap_where_nothing_ended() {
    let mut folder = folder(&[old_row(1, 0, 1000.0, "")]);
    let name = folder.points[0].name.clone();
    let header = "name,second,operations,throughput_ops_per_s,latency_us_p99,event";
    let rows = format!(
        "{header}\n{name},1,900,900,2000,\n{name},2,0,0,0,replica 0 <killed>\n{name},3,500,500,4000,\n{name},4,950,950,2000,\n"
    );
    folder.timeline = Interval::all(&table("timeline.csv", &rows)).expect("reads");
    let text = drawn(&folder, "timeline", Width::Wide);
    let document = Document::parse(&text).expect("well-formed");
    let x = Ruler::of(&document, "x", false);
    let rules = of_class(&document, "rule");
    assert_eq!(rules.len(), 2, "one in each panel");
    assert_near(attribute(rules[0], "x1"), x.place(2.0));
    assert_eq!(of_class(&document, "rule-label")[0].text(), Some("replica 0 <killed>"));
    let lines = of_class(&document, "series");
    assert_eq!(lines.len(), 3, "throughput, and p99 before and after the gap");
    assert_eq!(vertices(lines[0]).len(), 4);
    assert_near(vertices(lines[2])[0].0, x.place(3.0));
}

#[test]
fn one_replica_alone_has_a_bar_a_way_and_every_repetition_on_it() {
    let mut folder = folder(&[]);
    let rows = "threads,pillars,cores,throughput_ops_per_s,cpu_ns_per_op\n\
                one,1,1,1000,700\ntwo,2,2,1900,700\none,1,1,1100,700\ntwo,2,2,2100,700\n";
    folder.scaling = Played::all(&table("scaling.csv", rows)).expect("reads");
    let text = drawn(&folder, "pillar-scaling", Width::Wide);
    let document = Document::parse(&text).expect("well-formed");
    let x = Ruler::of(&document, "x", false);
    let bars = of_class(&document, "bar");
    assert_eq!(bars.len(), 2);
    assert_near(attribute(bars[1], "x") + attribute(bars[1], "width"), x.place(2000.0));
    let dots = of_class(&document, "on-bar");
    assert_near(attribute(dots[1], "cx"), x.place(1100.0));
    assert!(text.contains("2,000 (1.90×)"), "{text}");
}

#[test]
fn a_figure_without_data_is_not_made() {
    assert_eq!(stems(&folder(&[])), Vec::<String>::new());
    assert_eq!(stems(&folder(&[old_row(1, 0, 1000.0, "")])), ["throughput-latency"]);
    assert_eq!(stems(&folder(&[old_row(1, 0, 1000.0, "noisy")])), ["throughput-latency"]);
    let two = [old_row(1, 0, 1000.0, ""), old_row(2, 0, 1000.0, "")];
    assert_eq!(stems(&folder(&two)), ["throughput-latency", "pillars-throughput", "pillars-cpu"]);
}

#[test]
fn many_settings_are_spread_over_figures() {
    let rows: Vec<String> = (1..=9)
        .map(|batch| old_row(1, 0, 1000.0, "").replace(",64,400,", &format!(",64,{batch},")))
        .collect();
    assert_eq!(stems(&folder(&rows)), ["throughput-latency", "throughput-latency-2"]);
}

#[test]
fn extreme_values_stay_inside_the_picture() {
    let rows = [
        loaded(1, 0, 1e15, 1, "0,1e15", ""),
        loaded(2, 0, 0.0, 1, "1e-300,0", ""),
        loaded(4, 0, 0.0, 1, "0,0", "<script>alert(1)</script>"),
    ];
    let folder = folder(&rows);
    for figure in all(&folder) {
        for width in [Width::Wide, Width::Narrow] {
            let text = figure.draw(width);
            let document = Document::parse(&text).expect("well-formed");
            let right = attribute(document.root_element(), "width");
            for dot in document.descendants().filter(|node| node.tag_name().name() == "circle") {
                assert!((0.0..=right).contains(&attribute(dot, "cx")), "{}: {dot:?}", figure.stem);
            }
            assert!(document.descendants().all(|node| node.tag_name().name() != "script"));
        }
    }
}
