//! `model`: the shell around the model.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Parser as _;
use hypostyle_bench::bench::Places;
use hypostyle_bench::cli::{Cli, Command, ScalingArgs};
use hypostyle_bench::progress::Progress;
use hypostyle_bench::scaling;
use serde::Serialize;

use crate::cli::ModelArgs;
use crate::model::calibration::{self, Calibration};
use crate::model::figure::svg;
use crate::model::table::{Row, core_counts, rows, text};

/// What `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Predicted {
    /// The results that it is calibrated by.
    pub from: PathBuf,
    /// Costs, and the measurements beside their predictions.
    pub calibration: Calibration,
    /// As in `model.csv`.
    pub rows: Vec<Row>,
    /// Where model.csv and model.svg are.
    pub files: PathBuf,
    /// The same for a person.
    #[serde(skip)]
    pub text: String,
}

/// Calibrates by the results that are named, or measures first; writes the table and the figure.
///
/// # Errors
/// A usage error when the results can't be read; else when the measurement is invalid or the files can't be written.
pub fn run(arguments: &ModelArgs, places: &Places, progress: &Progress) -> anyhow::Result<Predicted> {
    let from = match &arguments.from {
        Some(directory) => directory.clone(),
        None => scaling::run(&scaling_flags(), places, progress)?.files,
    };
    let calibration = calibration::read(&from)?;
    let rows = rows(&calibration, &core_counts(arguments.cores.0, arguments.cores.1));
    let files = arguments.out.clone().unwrap_or_else(|| places.cache.join("model"));
    std::fs::create_dir_all(&files)
        .with_context(|| format!("{}: choose another directory with --out", files.display()))?;
    write_csv(&files.join("model.csv"), &rows)?;
    let figure = files.join("model.svg");
    std::fs::write(&figure, svg(&calibration, &rows)?).with_context(|| figure.display().to_string())?;
    Ok(Predicted { text: text(&calibration, &rows), from, calibration, rows, files })
}

fn scaling_flags() -> ScalingArgs {
    match Cli::parse_from(["hypostyle-bench", "pillar-scaling"]).command {
        Command::PillarScaling(flags) => flags,
        _ => unreachable!("the words name it"),
    }
}

fn write_csv(path: &Path, rows: &[Row]) -> anyhow::Result<()> {
    let write = || {
        let mut csv = csv::Writer::from_path(path)?;
        rows.iter().try_for_each(|row| csv.serialize(row))?;
        anyhow::Ok(csv.flush()?)
    };
    write().with_context(|| format!("{}: cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_the_repository_become_a_table_and_a_figure() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results");
        for from in ["2026-11-21-f61fa28-scaling/d", "2026-11-21-f5fa116-figures/d"] {
            let arguments = ModelArgs {
                cores: (1, 8),
                from: Some(results.join(from)),
                out: Some(directory.path().to_owned()),
                json: false,
            };
            let places = Places { program: PathBuf::new(), cache: directory.path().to_owned() };
            let predicted = run(&arguments, &places, &Progress::on_terminal()).expect("predicted");
            assert!(predicted.calibration.checks.len() >= 3, "{from}");
            assert!(predicted.calibration.checks.iter().any(|check| !check.fitted), "{from}");
            let csv = std::fs::read_to_string(directory.path().join("model.csv")).expect("written");
            assert_eq!(csv.lines().count(), predicted.rows.len() + 1, "{csv}");
            assert!(directory.path().join("model.svg").exists());
        }
    }
}
