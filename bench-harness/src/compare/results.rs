use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use super::bootstrap::{REPETITIONS_MIN, Ratio, ratio_of_medians};
use crate::cli::{FailIf, Gate};
use crate::error::{Failure, invalid};
use crate::point::SETTING;
use crate::summary::Spread;

/// Two results of our own, set against each other: the object that `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The first, to which the ratios refer.
    pub a: PathBuf,
    /// The second.
    pub b: PathBuf,
    /// What was measured in both.
    pub pairs: Vec<Pair>,
    /// Settings that were measured in one of them only.
    pub unpaired: Vec<String>,
}

/// One setting, measured in both.
#[derive(Clone, Debug, Serialize)]
pub struct Pair {
    /// The setting.
    pub setting: String,
    /// Measurements in each.
    pub repetitions: [usize; 2],
    /// Measurements in each that are marked as no result.
    pub marked: [usize; 2],
    /// What changed.
    pub changes: Vec<Change>,
}

/// One figure of a setting.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    /// Its column in points.csv.
    pub figure: &'static str,
    /// The medians.
    pub medians: [f64; 2],
    /// The second by the first; `None` where so few measurements can't tell.
    pub ratio: Option<Ratio>,
    /// What that says.
    pub verdict: &'static str,
}

/// A figure that is compared, and how a change of it is called.
struct Figure {
    column: &'static str,
    more: &'static str,
    less: &'static str,
}

const THROUGHPUT: &str = "throughput_ops_per_s";
const CPU: &str = "replica_cpu_us_per_op_scaled";
const FIGURES: &[Figure] = &[
    Figure { column: THROUGHPUT, more: "faster", less: "slower" },
    Figure { column: "latency_us_p50", more: "slower", less: "faster" },
    Figure { column: "latency_us_p99", more: "slower", less: "faster" },
    Figure { column: "replica_cpu_us_per_op", more: "more CPU", less: "less CPU" },
    Figure { column: CPU, more: "more CPU", less: "less CPU" },
];
const NO_DIFFERENCE: &str = "no difference shown";
const TOO_FEW: &str = "can't be said from so few repetitions";

/// Reads `points.csv` of both directories and compares what was measured in both.
///
/// # Errors
/// When a file can't be used, or nothing was measured in both.
pub fn compare_results(a: &Path, b: &Path) -> anyhow::Result<Comparison> {
    let (first, second) = (read(a)?, read(b)?);
    let pairs = pair(&first, &second);
    if pairs.is_empty() {
        return invalid(format!(
            "{} and {} have no setting in common: they measured{}",
            a.display(),
            b.display(),
            unpaired(&first, &second).iter().map(|setting| format!("\n  {setting}")).collect::<String>()
        ));
    }
    Ok(Comparison { a: a.to_owned(), b: b.to_owned(), pairs, unpaired: unpaired(&first, &second) })
}

impl Comparison {
    /// Judges the second of the two results.
    ///
    /// # Errors
    /// A failed check when a figure is worse than a gate allows, with its whole interval; an invalid run when there are
    /// too few repetitions to tell.
    pub fn judge(&self, gates: &[FailIf]) -> anyhow::Result<()> {
        for gate in gates {
            for pair in &self.pairs {
                pair.judge(*gate)?;
            }
        }
        Ok(())
    }
}

impl Pair {
    fn judge(&self, gate: FailIf) -> anyhow::Result<()> {
        let column = match gate.gate {
            Gate::Slower => THROUGHPUT,
            Gate::Cpu => CPU,
        };
        let ratio =
            self.changes.iter().find(|change| change.figure == column).and_then(|change| change.ratio);
        let Some(Ratio { low, high, .. }) = ratio else {
            return invalid(format!(
                "{}: {} and {} repetitions can't tell whether {column} changed: measure at least {REPETITIONS_MIN}",
                self.setting, self.repetitions[0], self.repetitions[1]
            ));
        };
        let beyond = match gate.gate {
            Gate::Slower => high < 1.0 - gate.by,
            Gate::Cpu => low > 1.0 + gate.by,
        };
        if beyond {
            return Err(Failure::Check(format!(
                "{}: {column} is {low:.3} to {high:.3} times what it was: beyond the {:.1} % allowed",
                self.setting,
                gate.by * 100.0
            ))
            .into());
        }
        Ok(())
    }
}

/// A measurement as its row tells it.
#[derive(Debug)]
struct Row {
    /// What was measured.
    key: Vec<String>,
    /// One for each of [`FIGURES`].
    figures: Vec<f64>,
    marked: bool,
}

fn read(directory: &Path) -> anyhow::Result<Vec<Row>> {
    let path = directory.join("points.csv");
    let file = std::fs::File::open(&path).with_context(|| {
        format!("{}: name a directory that `hypostyle-bench run --out` wrote", path.display())
    })?;
    rows(file).with_context(|| path.display().to_string())
}

/// More rows are no results of ours.
const ROWS_MAX: usize = 100_000;

fn rows(file: impl std::io::Read) -> anyhow::Result<Vec<Row>> {
    let mut csv = csv::Reader::from_reader(file.take(ROWS_MAX as u64 * 4096));
    let headers = csv.headers()?.clone();
    let column = |name: &str| headers.iter().position(|header| header == name);
    let needed =
        |name: &str| column(name).with_context(|| format!("it has no column {name}: it is not ours"));
    let figures =
        FIGURES.iter().map(|figure| needed(figure.column)).collect::<anyhow::Result<Vec<usize>>>()?;
    // A column that came later is missing in earlier results: there it is empty.
    let keys: Vec<Option<usize>> = SETTING.iter().map(|name| column(name)).collect();
    let (presign, marks) = (needed("presign")?, column("marks"));
    let mut rows = Vec::new();
    for (index, record) in csv.records().enumerate() {
        let place = || format!("line {}", index + 2);
        let record = record.with_context(place)?;
        anyhow::ensure!(index < ROWS_MAX, "more than {ROWS_MAX} rows");
        let text = |column: usize| record.get(column).unwrap_or_default();
        let mut key: Vec<String> =
            keys.iter().map(|column| column.map(text).unwrap_or_default().to_owned()).collect();
        key.push(if text(presign) == "0" { "signed as sent" } else { "presigned" }.to_owned());
        let figure = |column: &usize| {
            text(*column)
                .parse::<f64>()
                .with_context(|| format!("{}: {} is no number", place(), text(*column)))
        };
        rows.push(Row {
            key,
            figures: figures.iter().map(figure).collect::<anyhow::Result<_>>()?,
            marked: marks.is_some_and(|column| !text(column).is_empty()),
        });
    }
    Ok(rows)
}

/// The different settings, in the order in which they first occur.
fn settings(rows: &[Row]) -> Vec<&Vec<String>> {
    let mut settings: Vec<&Vec<String>> = Vec::new();
    for row in rows {
        if !settings.contains(&&row.key) {
            settings.push(&row.key);
        }
    }
    settings
}

fn pair(a: &[Row], b: &[Row]) -> Vec<Pair> {
    let of = |rows: &'_ [Row], key: &[String]| -> (Vec<Vec<f64>>, usize) {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.key == *key).collect();
        let figures = (0..FIGURES.len()).map(|index| rows.iter().map(|row| row.figures[index]).collect());
        (figures.collect(), rows.iter().filter(|row| row.marked).count())
    };
    let both = settings(a).into_iter().filter(|key| b.iter().any(|row| row.key == **key));
    let pairs = both.map(|key| {
        let ((first, first_marked), (second, second_marked)) = (of(a, key), of(b, key));
        Pair {
            setting: label(key),
            repetitions: [first[0].len(), second[0].len()],
            marked: [first_marked, second_marked],
            changes: FIGURES
                .iter()
                .zip(first.iter().zip(&second))
                .map(|(figure, (a, b))| change(figure, a, b))
                .collect(),
        }
    });
    pairs.collect()
}

fn change(figure: &Figure, a: &[f64], b: &[f64]) -> Change {
    let ratio = ratio_of_medians(a, b);
    let verdict = match ratio {
        None => TOO_FEW,
        Some(ratio) if ratio.is_more() => figure.more,
        Some(ratio) if ratio.is_less() => figure.less,
        Some(_) => NO_DIFFERENCE,
    };
    let medians = [a, b].map(|values| Spread::of(values.to_vec()).median);
    Change { figure: figure.column, medians, ratio, verdict }
}

fn unpaired(a: &[Row], b: &[Row]) -> Vec<String> {
    let only = |rows: &[Row], others: &[Row], whose: &str| {
        let lone = settings(rows).into_iter().filter(|key| others.iter().all(|row| row.key != **key));
        lone.map(|key| format!("only in the {whose}: {}", label(key))).collect::<Vec<String>>()
    };
    [only(a, b, "first"), only(b, a, "second")].concat()
}

/// A setting in words: everything that points tell of it.
fn label(key: &[String]) -> String {
    let named = SETTING.iter().zip(key).filter(|(_, value)| !value.is_empty());
    let mut words: Vec<String> = named.map(|(name, value)| format!("{name} {value}")).collect();
    words.extend(key.last().cloned());
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::exit_code;
    use crate::files::Files;
    use crate::point::Point;
    use crate::point::tests::example;

    /// A results directory with a point for each of these rates.
    fn results(of: &Point, rates: &[f64]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("temporary directory");
        let points: Vec<Point> =
            rates.iter().map(|rate| Point { throughput_ops_per_s: *rate, ..of.clone() }).collect();
        Files::create(directory.path()).and_then(|files| files.write_points(&points)).expect("written");
        directory
    }

    const RATES: [f64; 6] = [100.0, 101.0, 102.0, 99.0, 98.0, 100.0];

    fn verdict(comparison: &Comparison, figure: &str) -> &'static str {
        comparison.pairs[0].changes.iter().find(|change| change.figure == figure).expect("compared").verdict
    }

    #[test]
    fn what_was_measured_in_both_is_compared() {
        let other_keys = Point { configuration: "11".repeat(32), ..example() };
        let (a, b) = (results(&example(), &RATES), results(&other_keys, &RATES.map(|rate| rate * 0.9)));
        let comparison = compare_results(a.path(), b.path()).expect("compared");
        assert_eq!((comparison.pairs.len(), comparison.unpaired.len()), (1, 0));
        assert_eq!(comparison.pairs[0].repetitions, [6, 6]);
        assert_eq!(verdict(&comparison, THROUGHPUT), "slower");
        assert_eq!(verdict(&comparison, "latency_us_p50"), NO_DIFFERENCE);
        let gate = |by| FailIf { gate: Gate::Slower, by };
        assert_eq!(exit_code(&comparison.judge(&[gate(0.03)]).expect_err("10 % slower")), 1);
        comparison.judge(&[gate(0.2), FailIf { gate: Gate::Cpu, by: 0.05 }]).expect("allowed");
    }

    #[test]
    fn cpu_is_a_gate_of_its_own() {
        let dear = Point { replica_cpu_us_per_op_scaled: 90.0, ..example() };
        let (a, b) = (results(&example(), &RATES), results(&dear, &RATES));
        let comparison = compare_results(a.path(), b.path()).expect("compared");
        assert_eq!(verdict(&comparison, CPU), "more CPU");
        let gate = |by| [FailIf { gate: Gate::Cpu, by }];
        assert_eq!(exit_code(&comparison.judge(&gate(0.05)).expect_err("18 % more")), 1);
        comparison.judge(&gate(0.2)).expect("allowed");
    }

    #[test]
    fn too_few_repetitions_are_no_verdict_and_pass_no_gate() {
        let (a, b) = (results(&example(), &RATES[..3]), results(&example(), &RATES));
        let comparison = compare_results(a.path(), b.path()).expect("compared");
        assert_eq!(verdict(&comparison, THROUGHPUT), TOO_FEW);
        let refused = comparison.judge(&[FailIf { gate: Gate::Slower, by: 0.03 }]).expect_err("can't tell");
        assert!(exit_code(&refused) == 3 && refused.to_string().contains("at least 5"), "{refused}");
    }

    #[test]
    fn different_settings_are_not_compared() {
        let two = Point { batch_max: 10, ..example() };
        let presigned = Point { presign: 0, ..example() };
        for other in [two, presigned] {
            let (a, b) = (results(&example(), &RATES), results(&other, &RATES));
            let refused = compare_results(a.path(), b.path()).expect_err("nothing in common");
            assert!(
                exit_code(&refused) == 3 && refused.to_string().contains("only in the second"),
                "{refused}"
            );
        }
    }

    #[test]
    fn the_columns_of_a_setting_are_columns_of_a_point() {
        let columns = example().columns();
        for name in SETTING.iter().copied().chain(FIGURES.iter().map(|figure| figure.column)) {
            assert!(columns.iter().any(|(column, _)| column == name), "{name}");
        }
    }

    #[test]
    fn strange_files_are_refused_with_their_place() {
        let missing = compare_results(Path::new("/nowhere"), Path::new("/nowhere")).expect_err("not there");
        assert!(format!("{missing:#}").contains("/nowhere/points.csv"));
        assert!(rows("a,b\n1,2\n".as_bytes()).expect_err("foreign").to_string().contains("not ours"));
        let header: Vec<&str> = FIGURES.iter().map(|figure| figure.column).chain(["presign"]).collect();
        let text = format!("{}\n1,2,3,4,x,0\n", header.join(","));
        assert!(rows(text.as_bytes()).expect_err("no number").to_string().contains("line 2"));
        let text = format!("{}\n1,2\n", header.join(","));
        assert!(rows(text.as_bytes()).is_err(), "a cut line");
    }
}
