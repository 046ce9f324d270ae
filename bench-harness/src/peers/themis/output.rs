use std::time::SystemTime;

use crate::peers::output::Interval;
use crate::peers::work::REPLICAS;

/// There is no line that says so: a replica is ready when it is connected to the three others.
pub(in crate::peers) fn is_ready(output: &str) -> bool {
    let mut peers = [false; REPLICAS];
    for line in output.lines() {
        let connected = line.split_once("Connected ").and_then(|(_, rest)| rest.split_once(" from "));
        if let Some(peer) = connected.and_then(|(id, _)| peers.get_mut(id.parse::<usize>().ok()?)) {
            *peer = true;
        }
    }
    peers.iter().filter(|peer| **peer).count() == REPLICAS - 1
}

pub(in crate::peers) fn load_has_begun(output: &str) -> bool {
    reports(output).any(|(_, text)| text == "go")
}

/// Each RPS line is the mean of the last three seconds (of fewer at first), cut to a whole number: what each new
/// second brought follows from the lines before it.
pub(in crate::peers) fn intervals(output: &str) -> Vec<Interval> {
    const SMOOTH: usize = 3;
    let mut intervals: Vec<Interval> = Vec::new();
    let mut since = None;
    for (at, text) in reports(output) {
        if text == "go" {
            since = Some(at);
        } else if let Some(rate) = number(text, "RPS: ") {
            let Some(began) = since.replace(at) else { continue };
            let known = &intervals[intervals.len().saturating_sub(SMOOTH - 1)..];
            let lines = known.iter().fold(1.0, |count, _| count + 1.0);
            let before: f64 = known.iter().map(|interval| interval.operations).sum();
            let Ok(seconds) = at.duration_since(began) else { continue };
            intervals.push(Interval {
                operations: (rate * lines - before).max(0.0),
                seconds: seconds.as_secs_f64(),
                mean_us: None,
                max_us: None,
            });
        } else if let (Some(lag), Some(last)) = (number(text, "LAG: "), intervals.last_mut()) {
            last.mean_us = Some(lag * 1e3);
        }
    }
    intervals.retain(|interval| interval.seconds > 0.0);
    intervals
}

fn number(text: &str, name: &str) -> Option<f64> {
    text.strip_prefix(name)?.trim().parse::<u32>().ok().map(f64::from)
}

/// What the load generator itself says, and when: `<time> INFO bench_client: <text>`, with colours.
fn reports(output: &str) -> impl Iterator<Item = (SystemTime, &str)> {
    const DIM: &str = "\u{1b}[2m";
    const PLAIN: &str = "\u{1b}[0m";
    output.lines().filter_map(|line| {
        let (head, text) = line.split_once("bench_client")?;
        let time = head.trim_start_matches(DIM).split([' ', '\u{1b}']).next()?;
        let text = text.trim_start_matches(PLAIN).trim_start_matches(DIM).strip_prefix(':')?;
        let text = text.trim_start_matches(PLAIN).strip_prefix(' ')?;
        Some((humantime::parse_rfc3339(time).ok()?, text.trim_end()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::output::{latency_of_intervals, total, trouble};

    const CLIENT: &str = include_str!("../../../tests/fixtures/peers/themis/client.txt");
    const REPLICA: &str = include_str!("../../../tests/fixtures/peers/themis/replica.txt");
    const NO_REPLICAS: &str = include_str!("../../../tests/fixtures/peers/themis/client-no-replicas.txt");
    const PORT_IN_USE: &str = include_str!("../../../tests/fixtures/peers/themis/fail-port-in-use.txt");
    const MISSING_KEYS: &str = include_str!("../../../tests/fixtures/peers/themis/fail-missing-keys.txt");

    #[test]
    fn means_of_three_seconds_are_unwound() {
        assert!(load_has_begun(CLIENT));
        let intervals = intervals(CLIENT);
        let operations: Vec<f64> = intervals.iter().map(|interval| interval.operations).collect();
        assert_eq!(operations[..4], [25_600.0, 24_400.0, 22_999.0, 23_599.0]);
        assert_eq!(intervals.len(), 14);
        let (operations, seconds) = total(&intervals[4..]);
        assert!((operations / seconds - 23_434.0).abs() < 50.0, "{operations} in {seconds} s");
        assert_eq!(latency_of_intervals(&intervals[..4], "").mean_us, Some(7000.0));
    }

    #[test]
    fn a_replica_is_ready_with_three_others() {
        assert!(is_ready(REPLICA));
        let lines: Vec<&str> = REPLICA.lines().collect();
        let third = lines.iter().rposition(|line| line.contains("Connected 2 from")).expect("its third peer");
        assert!(!is_ready(&lines[..third].join("\n")));
        assert!(
            !is_ready("Connected 1 from x\nConnected 100 from x\nConnected 101 from x\n"),
            "clients don't count"
        );
        assert!(!is_ready("Connected 1 from x\nConnected 1 from x\nConnected 1 from x\n"));
    }

    #[test]
    fn failing_starts_say_why() {
        assert!(trouble(PORT_IN_USE).expect("trouble").contains("port is taken"));
        let keys = trouble(MISSING_KEYS).expect("trouble");
        assert!(keys.contains("Unable to load Public Keys"), "{keys}");
        assert!(!load_has_begun(NO_REPLICAS) && intervals(NO_REPLICAS).is_empty());
        assert_eq!(trouble(NO_REPLICAS), None, "it waits for ever and says nothing");
    }

    #[test]
    fn lines_without_colours_are_read_too_and_strange_ones_are_not() {
        let go = "2026-11-21T06:31:31.000000Z  INFO bench_client: go\n";
        let one = "2026-11-21T06:31:32.000000Z  INFO bench_client: RPS: 5\n";
        assert_eq!(total(&intervals(&format!("{go}{one}"))), (5.0, 1.0));
        assert!(intervals(one).is_empty(), "nothing says when it began");
        for strange in
            ["2026-11-21T06:31:32Z INFO bench_client: RPS: -5", "x INFO bench_client: RPS: 5", "bench_client"]
        {
            assert!(intervals(&format!("{go}{strange}\n")).is_empty(), "{strange}");
        }
        let back = "2026-11-21T06:31:30.000000Z  INFO bench_client: RPS: 5\n";
        assert!(intervals(&format!("{go}{back}")).is_empty(), "time doesn't run backwards");
    }
}
