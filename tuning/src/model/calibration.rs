//! The model's costs from what was measured, and what else was measured to check it by. Fit and check are never
//! of the same measurement: one pillar is calibrated on, the others are predicted.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use hypostyle::crypto::Suite;
use hypostyle_bench::error::usage;
use hypostyle_bench::reference::SuiteCost;
use hypostyle_bench::summary::Spread;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Costs, Deployment};

/// Costs, and the measurements that belong to them.
#[derive(Clone, Debug, Serialize)]
pub struct Calibration {
    /// What was measured.
    pub what: String,
    /// What the costs are taken from.
    pub from: String,
    /// Of one operation.
    pub costs: Costs,
    /// Replicas on one machine: 1, or all of them with the generator.
    pub replicas: u32,
    /// What was measured, the calibrating ones first.
    pub checks: Vec<Check>,
}

/// A measurement beside its prediction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Check {
    /// The threads and cores.
    pub on: Deployment,
    /// Median of its repetitions.
    pub measured_ops_per_s: f64,
    /// What the model says.
    pub predicted_ops_per_s: f64,
    /// Whether the costs are from this very measurement, so that it proves nothing.
    pub fitted: bool,
}

impl Check {
    /// How far the prediction is off: 0.1 is 10 % too much.
    #[must_use]
    pub fn error(&self) -> f64 {
        self.predicted_ops_per_s / self.measured_ops_per_s - 1.0
    }
}

/// A row of `scaling.csv`.
#[derive(Clone, Debug, Deserialize)]
struct Played {
    threads: String,
    throughput_ops_per_s: f64,
    cpu_ns_per_op: f64,
    executor_ns_per_op: Option<f64>,
    verifications_per_op: f64,
    signatures_per_op: f64,
}

/// A row of `points.csv`, of which earlier versions lack the last.
#[derive(Clone, Debug, Deserialize)]
struct Row {
    n: u32,
    pillars: u32,
    workers: u32,
    executor: String,
    crypto_threads: u32,
    configuration: String,
    clients: u32,
    outstanding_per_client: u64,
    throughput_ops_per_s: f64,
    replica_cpu_us_per_op: f64,
    client_cpu_us_per_op: f64,
    verifications_per_op: f64,
    signatures_per_op: f64,
    #[serde(default)]
    threads_cpu_per_op_executor_us: f64,
}

/// What the manifest beside either of them says.
#[derive(Clone, Debug, Deserialize)]
struct Manifest {
    configurations: Vec<String>,
    environment: Environment,
}

#[derive(Clone, Debug, Deserialize)]
struct Environment {
    cores: u32,
}

/// `scaling.csv`'s name for one pillar on one core.
const ONE_ON_ONE: &str = "one worker does all";
/// One pillar with an executor's thread on two.
const ONE_ON_TWO: &str = "worker | executor";
/// The ways to have two pillars on two cores, and whether the executor has a thread.
const TWO: [(&str, bool); 2] =
    [("worker, executor | worker", false), ("two workers, executor, not pinned", true)];
/// A file of results is a few MB; anything longer is none.
const FILE_MAX: u64 = 64 << 20;

/// Reads a directory that `hypostyle-bench pillar-scaling` or `run` left.
///
/// # Errors
/// A usage error when there is neither, or what is there can't be read or doesn't suffice: says which file and why.
pub fn read(directory: &Path) -> anyhow::Result<Calibration> {
    let manifest: Manifest = match serde_json::from_str(&text(&directory.join("manifest.json"))?) {
        Ok(manifest) => manifest,
        Err(error) => return usage(format!("{}/manifest.json: {error}", directory.display())),
    };
    let Some(suite) = manifest.configurations.first().and_then(|text| suite(text)) else {
        return usage(format!("{}/manifest.json: its configurations can't be read", directory.display()));
    };
    let crypto = SuiteCost::measure(suite)?;
    let [scaling, points] = ["scaling.csv", "points.csv"].map(|name| directory.join(name));
    let (file, found) = if scaling.exists() {
        let rows = rows(&scaling)?;
        (scaling, isolated(&rows, suite, crypto))
    } else if points.exists() {
        let rows = rows(&points)?;
        (points, whole(&rows, suite, crypto, manifest.environment.cores))
    } else {
        return usage(format!(
            "{}: neither scaling.csv nor points.csv is there; name a directory that `hypostyle-bench pillar-scaling` \
             or `run --pillars 1,2,4` left",
            directory.display()
        ));
    };
    found.or_else(|why| usage(format!("{}: {why}", file.display())))
}

/// From one replica alone: of one pillar on one core all costs, and of one pillar on two what an executor's thread
/// costs. Two pillars are predicted.
fn isolated(rows: &[Played], suite: Suite, crypto: SuiteCost) -> Result<Calibration, String> {
    let of = |name: &str, value: &dyn Fn(&Played) -> Option<f64>| {
        let values: Vec<f64> = rows.iter().filter(|row| row.threads == name).filter_map(value).collect();
        median(values).ok_or_else(|| format!("no figure for \"{name}\""))
    };
    let cpu_us = |name| of(name, &|row| Some(row.cpu_ns_per_op / 1e3));
    let (inline_us, apart_us) = (cpu_us(ONE_ON_ONE)?, cpu_us(ONE_ON_TWO)?);
    let executor_us = of(ONE_ON_TWO, &|row| row.executor_ns_per_op.map(|ns| ns / 1e3))?.min(inline_us);
    let signed = of(ONE_ON_ONE, &|row| Some(row.signatures_per_op))? * crypto.sign_us;
    let verified = of(ONE_ON_ONE, &|row| Some(row.verifications_per_op))? * crypto.verify_us;
    let crypto_us = (signed + verified).min(inline_us - executor_us);
    let costs = Costs {
        worker_us: inline_us - executor_us - crypto_us,
        crypto_us,
        executor_us,
        hand_off_us: (apart_us - inline_us).max(0.0),
        generator_us: 0.0,
        usable: 1.0,
        crypto_threads_pay: pays(suite),
    };
    let one = Deployment {
        cores: 1,
        replicas: 1,
        pillars: 1,
        workers: 1,
        executor_thread: false,
        crypto_threads: 0,
    };
    let ways =
        [(ONE_ON_ONE, one, true), (ONE_ON_TWO, Deployment { cores: 2, executor_thread: true, ..one }, true)];
    let two = |(name, executor_thread)| {
        (name, Deployment { cores: 2, pillars: 2, workers: 2, executor_thread, ..one }, false)
    };
    let checks = ways.into_iter().chain(TWO.map(two)).filter_map(|(name, on, fitted)| {
        let measured = of(name, &|row| Some(row.throughput_ops_per_s)).ok()?;
        Some(check(&costs, on, measured, fitted))
    });
    Ok(Calibration {
        what: format!("one replica alone, {suite}"),
        from: "its costs with one pillar".to_owned(),
        checks: checks.collect(),
        costs,
        replicas: 1,
    })
}

/// From whole clusters on one machine: of the fewest pillars all costs, and the share of the cores that was busy. More
/// pillars are predicted.
fn whole(rows: &[Row], suite: Suite, crypto: SuiteCost, cores: u32) -> Result<Calibration, String> {
    let mut groups: Vec<Vec<&Row>> = Vec::new();
    for row in rows {
        match groups.iter_mut().find(|group| group[0].setting() == row.setting()) {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    groups.sort_by_key(|group| group[0].pillars);
    let first = groups.first().ok_or("it has no rows")?;
    let of = |value: fn(&Row) -> f64| {
        median(first.iter().map(|row| value(row)).collect()).ok_or("it has no figures")
    };
    let replicas = first[0].n.max(1);
    let each_us = of(|row| row.replica_cpu_us_per_op)? / f64::from(replicas);
    let generator_us = of(|row| row.client_cpu_us_per_op)?;
    let per_replica = |sum: f64, us: f64| sum / f64::from(replicas) * us;
    let executor_us = of(|row| row.threads_cpu_per_op_executor_us)?.min(each_us);
    let crypto_us = per_replica(of(|row| row.signatures_per_op)?, crypto.sign_us)
        + per_replica(of(|row| row.verifications_per_op)?, crypto.verify_us);
    let crypto_us = crypto_us.min(each_us - executor_us);
    let busy_us = each_us * f64::from(replicas) + generator_us;
    let usable = of(|row| row.throughput_ops_per_s)? * busy_us / 1e6 / f64::from(cores.max(1));
    let costs = Costs {
        worker_us: each_us - executor_us - crypto_us,
        crypto_us,
        executor_us,
        hand_off_us: 0.0,
        generator_us,
        usable: usable.min(1.0),
        crypto_threads_pay: pays(suite),
    };
    let checks = groups.iter().enumerate().filter_map(|(index, group)| {
        let on = Deployment {
            cores,
            replicas,
            pillars: group[0].pillars,
            workers: group[0].workers,
            executor_thread: group[0].executor == "thread",
            crypto_threads: group[0].crypto_threads,
        };
        let measured = median(group.iter().map(|row| row.throughput_ops_per_s).collect())?;
        Some(check(&costs, on, measured, index == 0))
    });
    Ok(Calibration {
        what: format!(
            "{replicas} replicas and the load on one machine, {suite}, {} clients with {} operations each",
            first[0].clients, first[0].outstanding_per_client
        ),
        from: format!("their costs with P = {}", first[0].pillars),
        checks: checks.collect(),
        costs,
        replicas,
    })
}

impl Row {
    fn setting(&self) -> (&str, u32, &str, u32, u32, u64) {
        let Self { configuration, workers, executor, crypto_threads, clients, .. } = self;
        (configuration, *workers, executor, *crypto_threads, *clients, self.outstanding_per_client)
    }
}

fn check(costs: &Costs, on: Deployment, measured_ops_per_s: f64, fitted: bool) -> Check {
    Check { on, measured_ops_per_s, predicted_ops_per_s: costs.predict(on).ops_per_s, fitted }
}

fn pays(suite: Suite) -> bool {
    matches!(suite, Suite::Rsa2048 | Suite::Rsa3072 | Suite::Rsa4096)
}

/// Of what is a figure at all.
fn median(values: Vec<f64>) -> Option<f64> {
    let values: Vec<f64> = values.into_iter().filter(|value| value.is_finite() && *value >= 0.0).collect();
    (!values.is_empty()).then(|| Spread::of(values).median)
}

/// The suite of a manifest's configuration.
fn suite(configuration: &str) -> Option<Suite> {
    let table: toml::Table = configuration.parse().ok()?;
    table.get("cluster")?.get("auth")?.as_str()?.parse().ok()
}

fn text(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    match File::open(path).and_then(|file| file.take(FILE_MAX).read_to_string(&mut text)) {
        Ok(_) => Ok(text),
        Err(error) => usage(format!(
            "{}: {error}; name a directory that `hypostyle-bench pillar-scaling` or `run` left",
            path.display()
        )),
    }
}

fn rows<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Vec<T>> {
    let text = text(path)?;
    let read: Result<Vec<T>, csv::Error> = csv::Reader::from_reader(text.as_bytes()).deserialize().collect();
    read.or_else(|error| usage(format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRYPTO: SuiteCost = SuiteCost { sign_us: 7.0, verify_us: 29.0 };

    fn played(threads: &str, ops: f64, cpu_ns: f64, executor_ns: Option<f64>) -> Played {
        Played {
            threads: threads.to_owned(),
            throughput_ops_per_s: ops,
            cpu_ns_per_op: cpu_ns,
            executor_ns_per_op: executor_ns,
            verifications_per_op: 0.005,
            signatures_per_op: 0.0015,
        }
    }

    /// The medians of results/2026-11-21-f61fa28-scaling/d.
    fn recorded() -> Vec<Played> {
        vec![
            played(ONE_ON_ONE, 1_392_000.0, 717.0, None),
            played(ONE_ON_TWO, 1_539_000.0, 781.0, Some(132.0)),
            played(TWO[0].0, 2_417_000.0, 725.0, None),
            played(TWO[1].0, 2_469_000.0, 757.0, Some(135.0)),
        ]
    }

    #[test]
    fn two_pillars_are_predicted_from_one() {
        let found = isolated(&recorded(), Suite::Ed25519, CRYPTO).expect("complete");
        let costs = found.costs;
        assert!((costs.worker_us + costs.crypto_us - 0.585).abs() < 1e-9, "{costs:?}");
        assert!((costs.executor_us - 0.132).abs() < 1e-9 && (costs.hand_off_us - 0.064).abs() < 1e-9);
        let errors: Vec<(bool, f64)> = found.checks.iter().map(|c| (c.fitted, c.error())).collect();
        assert_eq!(errors.iter().map(|(fitted, _)| *fitted).collect::<Vec<_>>(), [true, true, false, false]);
        // 1 / (0.585 / 2 + 0.132) = 2.356 M; 2 / 0.781 = 2.561 M.
        assert!((errors[2].1 - (2_355_713.0 / 2_417_000.0 - 1.0)).abs() < 1e-4, "{errors:?}");
        assert!((errors[3].1 - (2_560_819.0 / 2_469_000.0 - 1.0)).abs() < 1e-4, "{errors:?}");
    }

    #[test]
    fn what_is_missing_is_named() {
        let rows = &recorded()[..1];
        assert!(isolated(rows, Suite::Ed25519, CRYPTO).expect_err("refused").contains(ONE_ON_TWO));
        assert!(whole(&[], Suite::Ed25519, CRYPTO, 2).is_err());
    }

    fn row(pillars: u32, ops: f64, cpu_us: f64) -> Row {
        Row {
            n: 4,
            pillars,
            workers: 1,
            executor: "inline".to_owned(),
            crypto_threads: 0,
            configuration: pillars.to_string(),
            clients: 24,
            outstanding_per_client: 100,
            throughput_ops_per_s: ops,
            replica_cpu_us_per_op: cpu_us,
            client_cpu_us_per_op: 1.1,
            verifications_per_op: 0.04,
            signatures_per_op: 0.02,
            threads_cpu_per_op_executor_us: 0.0,
        }
    }

    #[test]
    fn more_pillars_on_the_same_full_cores_are_predicted_to_bring_nothing() {
        let rows = [row(2, 210_669.0, 6.7), row(1, 272_060.0, 5.0), row(4, 140_469.0, 10.2)];
        let found = whole(&rows, Suite::Ed25519, CRYPTO, 2).expect("complete");
        assert!((found.costs.usable - 272_060.0 * 6.1 / 2e6).abs() < 1e-9);
        let pillars: Vec<(u32, bool)> = found.checks.iter().map(|c| (c.on.pillars, c.fitted)).collect();
        assert_eq!(pillars, [(1, true), (2, false), (4, false)]);
        assert!(found.checks[0].error().abs() < 1e-9, "it is fitted");
        assert!((found.checks[1].error() - (272_060.0 / 210_669.0 - 1.0)).abs() < 1e-9);
    }

    #[test]
    fn hostile_figures_are_no_figures() {
        let rows = [row(1, f64::NAN, -1.0), row(1, 1e308, f64::INFINITY)];
        assert!(whole(&rows, Suite::Ed25519, CRYPTO, 2).is_err());
    }

    #[test]
    fn a_directory_without_results_is_named() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let refused = |words: &str| {
            let error = read(directory.path()).expect_err("refused").to_string();
            assert!(error.contains(words), "{error}");
        };
        refused("manifest.json");
        let manifest = |text: &str| {
            std::fs::write(directory.path().join("manifest.json"), text).expect("written");
        };
        manifest("{");
        refused("manifest.json: EOF");
        manifest(r#"{"configurations":["[cluster]\nauth = \"ed25519\""],"environment":{"cores":2}}"#);
        refused("neither scaling.csv nor points.csv");
        std::fs::write(directory.path().join("scaling.csv"), "threads\nx\n").expect("written");
        refused("scaling.csv: CSV deserialize error");
    }
}
