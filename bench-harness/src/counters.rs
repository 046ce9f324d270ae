use std::collections::BTreeMap;

use crate::point::ThreadCosts;

/// A replica's counters at one moment, as its status tells them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Operations executed.
    pub(crate) executed: u64,
    /// By name.
    pub(crate) values: BTreeMap<String, u64>,
    /// CPU time of each thread, ns, by its name.
    pub(crate) threads: BTreeMap<String, u64>,
}

/// Averages over a span of time, of all replicas together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Averages {
    /// Operations a batch held.
    pub(crate) ops_per_batch: f64,
    /// Statements a bundle held.
    pub(crate) statements_per_bundle: f64,
    /// Signatures made per operation.
    pub(crate) signatures_per_op: f64,
    /// Signatures verified per operation.
    pub(crate) verifications_per_op: f64,
    /// System calls per operation.
    pub(crate) syscalls_per_op: f64,
    /// Allocations per operation.
    pub(crate) allocations_per_op: f64,
    /// CPU time of a replica's threads per operation.
    pub(crate) threads: ThreadCosts,
}

/// Counters that a status must have, or figures would be made up.
pub(crate) const NEEDED: &[&str] = &[
    "signatures",
    "verifications",
    "statements",
    "bundles",
    "batches",
    "batched_operations",
    "syscalls",
    "allocations",
];

impl Averages {
    /// From each replica's counters before and after. A replica's counters and its executed operations are
    /// of the same moment, so each replica's cost per operation is exact though they are asked one after the other.
    ///
    /// # Errors
    /// The name of a counter that is missing, or that nothing was executed.
    pub(crate) fn between(before: &[Counters], after: &[Counters]) -> Result<Self, String> {
        for name in NEEDED {
            if before.iter().chain(after).any(|counters| !counters.values.contains_key(*name)) {
                return Err(format!("a replica's status has no counter \"{name}\""));
            }
        }
        let spans: Vec<Span<'_>> =
            before.iter().zip(after).map(|(before, after)| Span { before, after }).collect();
        if spans.iter().any(|span| span.executed() == 0.0) {
            return Err("a replica executed nothing".into());
        }
        let per_op = |name| spans.iter().map(|span| span.counted(name) / span.executed()).sum::<f64>();
        let all = |name| spans.iter().map(|span| span.counted(name)).sum::<f64>();
        let ratio = |what, each| if all(each) > 0.0 { all(what) / all(each) } else { 0.0 };
        Ok(Self {
            ops_per_batch: ratio("batched_operations", "batches"),
            statements_per_bundle: ratio("statements", "bundles"),
            signatures_per_op: per_op("signatures"),
            verifications_per_op: per_op("verifications"),
            syscalls_per_op: per_op("syscalls"),
            allocations_per_op: per_op("allocations"),
            threads: thread_costs(&spans),
        })
    }
}

/// The busiest worker of all, and means over the replicas.
#[allow(clippy::cast_precision_loss, reason = "replicas are few")]
fn thread_costs(spans: &[Span<'_>]) -> ThreadCosts {
    let mut costs = ThreadCosts::default();
    for span in spans {
        for (name, after_ns) in &span.after.threads {
            let before_ns = span.before.threads.get(name).copied().unwrap_or(0);
            let us = difference(before_ns, *after_ns) / 1e3 / span.executed();
            let mean = us / spans.len() as f64;
            match name.split('-').next() {
                Some("worker") => {
                    costs.workers_us += mean;
                    costs.busiest_worker_us = costs.busiest_worker_us.max(us);
                }
                Some("executor") => costs.executor_us += mean,
                Some("crypto") => costs.crypto_us += mean,
                _ => costs.others_us += mean,
            }
        }
    }
    costs
}

struct Span<'a> {
    before: &'a Counters,
    after: &'a Counters,
}

impl Span<'_> {
    fn executed(&self) -> f64 {
        difference(self.before.executed, self.after.executed)
    }

    fn counted(&self, name: &str) -> f64 {
        difference(self.before.values[name], self.after.values[name])
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts of a run are below 2^53")]
fn difference(before: u64, after: u64) -> f64 {
    after.saturating_sub(before) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(executed: u64, each: u64) -> Counters {
        let values = NEEDED.iter().map(|name| ((*name).to_owned(), each)).collect();
        Counters { executed, values, threads: BTreeMap::new() }
    }

    #[test]
    fn costs_are_per_replica_and_summed() {
        let before = [counters(0, 0), counters(100, 1000)];
        let mut after = [counters(100, 100), counters(300, 1400)];
        after[0].values.insert("batched_operations".into(), 5000);
        let averages = Averages::between(&before, &after).expect("complete");
        // 100 in 100 operations and 400 in 200.
        assert_eq!(averages.signatures_per_op, 3.0);
        assert_eq!(averages.ops_per_batch, 5400.0 / 500.0);
        assert_eq!(averages.statements_per_bundle, 1.0);
    }

    #[test]
    fn thread_costs_are_means_over_replicas_and_the_busiest_worker() {
        let with = |executed, threads: [(&str, u64); 3]| Counters {
            threads: threads.map(|(name, ns)| (name.to_owned(), ns)).into(),
            ..counters(executed, executed)
        };
        let before = [counters(0, 0), with(10, [("worker-0", 1000), ("executor", 0), ("control", 0)])];
        let after = [
            with(10, [("worker-0", 40_000), ("worker-1", 20_000), ("crypto-3", 10_000)]),
            with(20, [("worker-0", 11_000), ("executor", 20_000), ("control", 4000)]),
        ];
        let costs = Averages::between(&before, &after).expect("complete").threads;
        assert_eq!((costs.busiest_worker_us, costs.workers_us), (4.0, 3.5));
        assert_eq!((costs.executor_us, costs.crypto_us, costs.others_us), (1.0, 0.5, 0.2));
    }

    #[test]
    fn a_missing_counter_is_named() {
        let mut after = counters(10, 10);
        after.values.remove("bundles");
        let missing = Averages::between(&[counters(0, 0)], &[after]).expect_err("missing");
        assert!(missing.contains("\"bundles\""), "{missing}");
    }

    #[test]
    fn nothing_executed_is_no_average() {
        assert!(Averages::between(&[counters(5, 0)], &[counters(5, 10)]).is_err());
    }
}
