//! Predictions in rows: for a person, and for `model.csv`.

use std::fmt::Write as _;

use serde::Serialize;

use super::calibration::Calibration;
use super::{Bound, Costs};

/// A row of `model.csv`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// "predicted" or "measured".
    pub kind: &'static str,
    /// Replicas on one machine.
    pub replicas: u32,
    /// Cores of that machine.
    pub cores: u32,
    /// P.
    pub pillars: u32,
    /// Workers of each replica.
    pub workers: u32,
    /// Whether the executor has a thread of its own.
    pub executor_thread: bool,
    /// Crypto threads of each replica.
    pub crypto_threads: u32,
    /// Operations a second.
    pub ops_per_s: f64,
    /// What bounds a prediction.
    pub bound: Option<Bound>,
    /// How far the model is off from a measurement: 0.1 is 10 % too much.
    pub error: Option<f64>,
    /// Whether the costs are from this very measurement.
    pub fitted: Option<bool>,
}

/// Pillar counts that are predicted.
pub const PILLARS: [u32; 5] = [1, 2, 4, 8, 16];

/// The core counts of a range that are predicted: 1, 2, 3, 4, 6, 8, 12 and on, and its ends.
#[must_use]
pub fn core_counts(first: u32, last: u32) -> Vec<u32> {
    let steps = (0..31).flat_map(|power| [1 << power, (1 << power) + (1 << power) / 2]);
    let mut counts: Vec<u32> = steps.filter(|cores| (first..=last).contains(cores)).collect();
    counts.extend([first, last]);
    counts.sort_unstable();
    counts.dedup();
    counts
}

/// The measured ones, then the best placement of threads for each of `cores` and [`PILLARS`].
#[must_use]
pub fn rows(calibration: &Calibration, cores: &[u32]) -> Vec<Row> {
    let measured = calibration.checks.iter().map(|check| Row {
        kind: "measured",
        replicas: check.on.replicas,
        cores: check.on.cores,
        pillars: check.on.pillars,
        workers: check.on.workers,
        executor_thread: check.on.executor_thread,
        crypto_threads: check.on.crypto_threads,
        ops_per_s: check.measured_ops_per_s.round(),
        bound: None,
        error: Some((check.error() * 1e4).round() / 1e4),
        fitted: Some(check.fitted),
    });
    let scenarios = scenarios(calibration);
    let cells = scenarios.iter().flat_map(|(costs, replicas)| {
        cores.iter().flat_map(move |cores| PILLARS.map(|pillars| (costs, *replicas, *cores, pillars)))
    });
    let predicted = cells.map(|(costs, replicas, cores, pillars)| {
        let (on, prediction) = costs.best(cores, replicas, pillars);
        Row {
            kind: "predicted",
            replicas,
            cores,
            pillars,
            workers: on.workers,
            executor_thread: on.executor_thread,
            crypto_threads: on.crypto_threads,
            ops_per_s: prediction.ops_per_s.round(),
            bound: Some(prediction.bound),
            error: None,
            fitted: None,
        }
    });
    measured.chain(predicted).collect()
}

/// Where it was measured, and a machine for each replica with the load elsewhere.
fn scenarios(calibration: &Calibration) -> Vec<(Costs, u32)> {
    let costs = calibration.costs;
    let apart = (Costs { generator_us: 0.0, usable: 1.0, ..costs }, 1);
    match calibration.replicas {
        1 => vec![apart],
        replicas => vec![(costs, replicas), apart],
    }
}

/// The same for a person.
#[must_use]
pub fn text(calibration: &Calibration, rows: &[Row]) -> String {
    let Costs { worker_us, crypto_us, executor_us, hand_off_us, generator_us, usable, .. } =
        calibration.costs;
    let mut out = format!(
        "{}, predicted from {}: CPU-µs an operation and replica: worker {worker_us:.3}, verify and sign {crypto_us:.3}, \
         executor {executor_us:.3}, hand-off to its thread {hand_off_us:.3}",
        calibration.what, calibration.from
    );
    if generator_us > 0.0 {
        let _ = write!(out, "; generator {generator_us:.3}; {:.0} % of the cores busy", usable * 100.0);
    }
    out.push_str("\n\nmeasured            P   cores   measured, op/s   predicted, op/s    error\n");
    for check in &calibration.checks {
        let _ = writeln!(
            out,
            "{:<18} {:>2} {:>7} {:>16.0} {:>17.0} {:>+7.1} %  {}",
            if check.fitted { "calibrated on it" } else { "predicted" },
            check.on.pillars,
            check.on.cores,
            check.measured_ops_per_s,
            check.predicted_ops_per_s,
            check.error() * 100.0,
            check.on,
        );
    }
    for (_, replicas) in scenarios(calibration) {
        let place = match replicas {
            1 => "a machine for each replica, the load elsewhere".to_owned(),
            _ => format!("{replicas} replicas and the load on one machine"),
        };
        let _ = writeln!(out, "\npredicted, op/s, {place}; in brackets what bounds it");
        predictions(&mut out, rows, replicas);
    }
    out
}

fn predictions(out: &mut String, rows: &[Row], replicas: u32) {
    let _ = writeln!(
        out,
        "{:>5} {}",
        "cores",
        PILLARS.map(|pillars| format!("{:>22}", format!("P = {pillars}"))).concat()
    );
    let predicted: Vec<&Row> =
        rows.iter().filter(|row| row.kind == "predicted" && row.replicas == replicas).collect();
    for line in predicted.chunks(PILLARS.len()) {
        let cells = line.iter().map(|row| {
            let bound = row.bound.map_or("", Bound::name);
            format!("{:>22}", format!("{:.0} ({bound})", row.ops_per_s))
        });
        let _ = writeln!(out, "{:>5} {}", line[0].cores, cells.collect::<String>());
    }
}

impl Bound {
    /// As tables name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Executor => "executor",
            Self::Crypto => "crypto",
            Self::Generator => "generator",
            Self::Cores => "cores",
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::Deployment;
    use crate::model::calibration::Check;

    pub(crate) fn calibration(replicas: u32) -> Calibration {
        let on = Deployment {
            cores: 2,
            replicas,
            pillars: 2,
            workers: 2,
            executor_thread: false,
            crypto_threads: 0,
        };
        Calibration {
            what: "one replica alone, ed25519".into(),
            from: "its costs with one pillar".into(),
            costs: Costs {
                worker_us: 0.5,
                crypto_us: 0.1,
                executor_us: 0.1,
                hand_off_us: 0.05,
                generator_us: 0.3,
                usable: 0.9,
                crypto_threads_pay: true,
            },
            replicas,
            checks: vec![Check {
                on,
                measured_ops_per_s: 2_000_000.0,
                predicted_ops_per_s: 2_500_000.0,
                fitted: false,
            }],
        }
    }

    #[test]
    fn core_counts_are_dense_at_first_and_end_at_the_ends() {
        assert_eq!(core_counts(1, 16), [1, 2, 3, 4, 6, 8, 12, 16]);
        assert_eq!(core_counts(5, 7), [5, 6, 7]);
        assert_eq!(core_counts(2, 2), [2]);
    }

    #[test]
    fn measured_and_predicted_are_told_apart() {
        let rows = rows(&calibration(1), &[1, 2]);
        assert_eq!(rows.len(), 1 + 2 * PILLARS.len());
        assert_eq!((rows[0].kind, rows[0].error, rows[0].fitted), ("measured", Some(0.25), Some(false)));
        assert!(rows[1..].iter().all(|row| row.kind == "predicted" && row.error.is_none()));
        let text = text(&calibration(1), &rows);
        assert!(text.contains("+25.0 %") && text.contains("worker)"), "{text}");
    }

    #[test]
    fn replicas_of_one_machine_are_predicted_on_machines_of_their_own_too() {
        let rows = rows(&calibration(4), &[2, 8]);
        let scenario =
            |replicas| rows.iter().filter(move |row| row.kind == "predicted" && row.replicas == replicas);
        assert_eq!((scenario(4).count(), scenario(1).count()), (2 * PILLARS.len(), 2 * PILLARS.len()));
        assert!(scenario(4).zip(scenario(1)).all(|(shared, own)| shared.ops_per_s <= own.ops_per_s));
        assert!(scenario(4).next().expect("one").ops_per_s < scenario(1).next().expect("one").ops_per_s);
    }
}
