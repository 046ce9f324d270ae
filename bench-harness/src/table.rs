use std::fmt::Write;

use crate::label::labels;
use crate::point::Point;
use crate::summary::{Spread, settings};

/// The figures for a person: a column for each setting, a row for each quantity; medians where there are repeats.
#[must_use]
pub fn table(points: &[Point]) -> String {
    let groups = settings(points);
    let Some(first) = groups.first().map(|group| group[0]) else { return String::new() };
    let mut out = heading(first);
    let headings = headings(&groups);
    let width = headings.iter().map(|heading| heading.chars().count()).fold(COLUMN_WIDTH, usize::max);
    row(&mut out, "", &headings, width);
    for (name, value, digits) in ROWS {
        row(&mut out, name, &each(&groups, |group| number(spread(group, *value).median, *digits)), width);
    }
    row(&mut out, "CPU-µs/op of each replica, raw", &each(&groups, |group| of_each_replica(group[0])), width);
    row(
        &mut out,
        "window, s",
        &each(&groups, |group| number(spread(group, |point| point.measured_s).median, 2)),
        width,
    );
    if groups.iter().any(|group| group.len() > 1) {
        spreads(&mut out, &groups, width);
    }
    out.push_str(&notes(points));
    out
}

type Quantity = fn(&Point) -> f64;

#[allow(clippy::cast_precision_loss, reason = "view changes are few")]
const ROWS: &[(&str, Quantity, usize)] = &[
    ("throughput, op/s", |p| p.throughput_ops_per_s, 0),
    ("latency p50, ms", |p| p.latency_us.p50 / 1e3, 2),
    ("latency p90, ms", |p| p.latency_us.p90 / 1e3, 2),
    ("latency p99, ms", |p| p.latency_us.p99 / 1e3, 2),
    ("latency p99.9, ms", |p| p.latency_us.p999 / 1e3, 2),
    ("latency max, ms", |p| p.latency_us.max / 1e3, 2),
    ("latency mean, ms", |p| p.latency_us.mean / 1e3, 2),
    ("replicas' CPU-µs/op, Σ scaled", |p| p.replica_cpu_us_per_op_scaled, 1),
    ("replicas' CPU-µs/op, Σ raw", |p| p.replica_cpu_us_per_op, 1),
    ("  of that in the kernel, raw", |p| p.replica_cpu_us_per_op_system, 1),
    ("clients' CPU-µs/op, scaled", |p| p.client_cpu_us_per_op_scaled, 1),
    ("clients' CPU-µs/op, raw", |p| p.client_cpu_us_per_op, 1),
    ("peak memory of a replica, MB", |p| p.rss_mb_max, 1),
    ("operations a batch", |p| p.ops_per_batch, 1),
    ("statements a bundle", |p| p.statements_per_bundle, 2),
    ("signatures/op, all replicas", |p| p.signatures_per_op, 3),
    ("verifications/op, all replicas", |p| p.verifications_per_op, 3),
    ("system calls/op, all replicas", |p| p.syscalls_per_op, 3),
    ("allocations/op, all replicas", |p| p.allocations_per_op, 3),
    ("view changes", |p| p.view_changes as f64, 0),
];

const NAME_WIDTH: usize = 32;
/// Characters of a column, unless its heading needs more.
pub(crate) const COLUMN_WIDTH: usize = 16;

fn heading(point: &Point) -> String {
    let authenticated = match point.client_auth.as_str() {
        "mac" => format!(
            "every statement bundle signed and verified: {}; every request and reply group with BLAKE3 tags",
            point.auth
        ),
        _ => format!(
            "every request, statement bundle and reply group signed and verified: {} (replies: {})",
            point.auth, point.replies
        ),
    };
    let signed = match (point.client_auth.as_str(), point.presign) {
        ("mac", _) => "tagged as they are sent",
        (_, 0) => "signed as they are sent",
        _ => "presigned",
    };
    format!(
        "n = {}, f = {}; {} (bundle {}, batches up to {})\n{}, {} B operations ({signed}), {} B \
         results; an operation counts at f+1 valid matching replies\nworkers {}, executor {}, crypto threads {}; \
         state digests agree and executed = acknowledged at every point\n\n",
        point.n,
        point.f,
        authenticated,
        point.bundle,
        point.batch_max,
        load(point),
        point.payload_bytes,
        point.reply_bytes,
        point.workers,
        point.executor,
        point.crypto_threads,
    )
}

fn load(point: &Point) -> String {
    match point.load.as_str() {
        "closed" => {
            format!("closed loop: {} clients x {} outstanding", point.clients, point.outstanding_per_client)
        }
        arrivals => format!(
            "open loop, {arrivals} arrivals: {} operations a second by {} clients, latency from when they were due",
            point.offered_ops_per_s, point.clients
        ),
    }
}

fn headings(groups: &[Vec<&Point>]) -> Vec<String> {
    let firsts: Vec<&Point> = groups.iter().map(|group| group[0]).collect();
    let heading = |(label, group): (String, &Vec<&Point>)| match group.len() {
        1 => label,
        repeats => format!("{label} ({repeats}x)"),
    };
    labels(&firsts).into_iter().zip(groups).map(heading).collect()
}

fn spread(group: &[&Point], value: Quantity) -> Spread {
    Spread::of(group.iter().map(|point| value(point)).collect())
}

fn each(groups: &[Vec<&Point>], cell: impl Fn(&[&Point]) -> String) -> Vec<String> {
    groups.iter().map(|group| cell(group)).collect()
}

fn of_each_replica(point: &Point) -> String {
    let each: Vec<String> =
        point.replica_cpu_us_per_op_each.iter().map(|cost| format!("{cost:.0}")).collect();
    each.join(" ")
}

fn number(value: f64, digits: usize) -> String {
    format!("{value:.digits$}")
}

/// A line of a table: a name, then a cell for each column.
pub(crate) fn row(out: &mut String, name: &str, cells: &[String], width: usize) {
    let padding = " ".repeat(NAME_WIDTH.saturating_sub(name.chars().count()));
    let _ = write!(out, "{name}{padding}");
    for cell in cells {
        let _ = write!(out, "  {cell:>width$}");
    }
    out.push('\n');
}

fn spreads(out: &mut String, groups: &[Vec<&Point>], width: usize) {
    out.push_str("least to greatest:\n");
    let range = |value: Quantity, digits: usize| {
        each(groups, |group| {
            let spread = spread(group, value);
            format!("{:.digits$} - {:.digits$}", spread.min, spread.max)
        })
    };
    row(out, "  throughput, op/s", &range(|point| point.throughput_ops_per_s, 0), width);
    row(out, "  latency p50, ms", &range(|point| point.latency_us.p50 / 1e3, 2), width);
    row(out, "  replicas' CPU-µs/op, Σ scaled", &range(|point| point.replica_cpu_us_per_op_scaled, 1), width);
}

/// What has to be said beside figures, a line each.
#[must_use]
pub(crate) fn notes(points: &[Point]) -> String {
    let mut out = String::new();
    for point in points {
        let place = &point.name;
        for mark in &point.marks {
            let _ = writeln!(out, "not a result to quote ({place}): {mark}");
        }
        if point.ended_by != "duration" {
            let _ = writeln!(
                out,
                "note ({place}): the window ended after {:.2} s: {}",
                point.measured_s, point.ended_by
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::tests::example;

    #[test]
    fn a_column_for_each_setting_and_marks_below() {
        let marked = Point {
            pillars: 4,
            configuration: "4".into(),
            marks: vec!["a noisy machine".into()],
            ended_by: "presigned requests used up".into(),
            ..example()
        };
        let text = table(&[example(), marked]);
        assert!(text.contains("P = 2") && text.contains("P = 4"), "{text}");
        let throughput = text.lines().find(|line| line.starts_with("throughput")).expect("a row");
        assert_eq!(
            throughput.split_whitespace().collect::<Vec<_>>(),
            ["throughput,", "op/s", "10000", "10000"]
        );
        assert!(text.contains("not a result to quote (p2-00000000-c8x100-0): a noisy machine"), "{text}");
        assert!(text.contains("used up") && !text.contains("least to greatest"), "{text}");
    }

    #[test]
    fn repeats_show_their_spread() {
        let fast = Point { throughput_ops_per_s: 30_000.0, repeat: 1, ..example() };
        let text = table(&[example(), fast]);
        assert!(text.contains("P = 2 (2x)") && text.contains("10000 - 30000"), "{text}");
    }

    #[test]
    fn nothing_gives_nothing() {
        assert_eq!(table(&[]), "");
    }
}
