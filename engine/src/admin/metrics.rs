//! A status as OpenMetrics text: from the same counters, so that both never disagree.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::status::{PillarStatus, ReplicaStatus};

pub(super) fn encode(status: &ReplicaStatus) -> String {
    let mut registry = Registry::with_prefix("hypostyle");
    registry.register_collector(Box::new(Snapshot(status.clone())));
    let mut out = String::new();
    text::encode(&mut out, &registry).expect("a string grows");
    out
}

#[derive(Debug)]
struct Snapshot(ReplicaStatus);

impl Collector for Snapshot {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> fmt::Result {
        let status = &self.0;
        execution(&mut to, status)?;
        for (name, help, value) in PILLAR {
            let values = status.pillars.iter().map(|pillar| (pillar.pillar.to_string(), value(pillar)));
            family(
                &mut to,
                name,
                help,
                MetricType::Gauge,
                values.map(|(id, value)| ([("pillar", id)], value)),
            )?;
        }
        for (name, count) in named(&status.counters) {
            family(
                &mut to,
                &name,
                "How often since the start.",
                MetricType::Counter,
                [([("replica", replica(status))], count)],
            )?;
        }
        let refusals = status.refusals.iter().map(|(what, count)| {
            let (source, reason) = what.split_once(": ").unwrap_or(("", what));
            ([("source", source.to_owned()), ("reason", reason.to_owned())], *count)
        });
        family(&mut to, "refusals", "Messages refused, by source and reason.", MetricType::Counter, refusals)
    }
}

type PillarValue = fn(&PillarStatus) -> u64;

const PILLAR: &[(&str, &str, PillarValue)] = &[
    ("pillar_view", "The pillar's view.", |pillar| pillar.view),
    ("pillar_primary", "The replica that leads the pillar.", |pillar| u64::from(pillar.primary)),
    ("pillar_decided", "All slots up to this one are decided.", |pillar| pillar.decided),
    ("pillar_decided_high", "The highest decided slot.", |pillar| pillar.decided_high),
    ("pillar_in_flight", "Slots proposed beyond the frontier.", |pillar| pillar.in_flight),
    ("pillar_owed", "Slots owed.", |pillar| pillar.owed),
    ("pillar_queued", "Operations that wait for a batch.", |pillar| pillar.queued),
    ("pillar_peers", "Replicas whose link for the pillar is up.", |pillar| u64::from(pillar.peers)),
];

fn execution(to: &mut DescriptorEncoder<'_>, status: &ReplicaStatus) -> fmt::Result {
    let executed = &status.execution;
    let label = || [("replica", replica(status))];
    let counters = [
        ("executed_positions", "Executed positions of the global order.", executed.executed_position),
        ("executed_operations", "Executed operations.", executed.executed_operations),
    ];
    for (name, help, value) in counters {
        family(to, name, help, MetricType::Counter, [(label(), value)])?;
    }
    family(
        to,
        "stable_round",
        "The latest stable checkpoint.",
        MetricType::Gauge,
        [(label(), executed.stable_round)],
    )
}

fn replica(status: &ReplicaStatus) -> String {
    status.replica.to_string()
}

/// Counters under the names that Prometheus allows; those that collide are added up.
fn named(counters: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut named = BTreeMap::new();
    for (name, count) in counters {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
        *named.entry(name.chars().map(plain).collect()).or_default() += count;
    }
    named
}

fn family<const N: usize>(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    kind: MetricType,
    values: impl IntoIterator<Item = ([(&'static str, String); N], u64)>,
) -> fmt::Result {
    let mut metric = to.encode_descriptor(name, help.trim_end_matches('.'), None, kind)?;
    for (labels, value) in values {
        let mut one = metric.encode_family(&labels)?;
        match kind {
            MetricType::Counter => one.encode_counter::<[(&str, String); N], _, u64>(&value, None)?,
            _ => one.encode_gauge(&value)?,
        }
    }
    Ok(())
}
