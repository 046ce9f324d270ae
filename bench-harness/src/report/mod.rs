mod axis;
mod chart;
mod csv_table;
mod facts;
// The figures of a results folder, each from the folder's tables alone. A figure without data isn't made.
mod figures;
mod folder;
mod groups;
mod histogram;
mod index;
mod markdown;
mod measured;
mod page;
mod svg;
mod tables;
mod text;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use crate::cli::ReportArgs;
use crate::error::usage;
use facts::Facts;
use folder::Folder;

pub use index::contents;

/// What was written: the object that `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Written {
    /// The files, folder by folder.
    pub files: Vec<PathBuf>,
}

/// Writes what the flags ask for: a report into each results folder, or the index above them.
///
/// # Errors
/// When a folder holds no results or a malformed file, or can't be written to.
pub fn run(flags: &ReportArgs) -> anyhow::Result<Written> {
    let mut files = Vec::new();
    for directory in &flags.directories {
        files.extend(write(directory)?);
    }
    if let Some(directory) = &flags.index {
        files.push(index::write(directory)?);
    }
    if files.is_empty() {
        return usage("name the results folders to report on, or --index with the directory that holds them");
    }
    Ok(Written { files })
}

/// Writes `summary.md`, the figures and `report.html` into a results folder.
///
/// # Errors
/// When the folder holds no results or a malformed file, or can't be written to.
pub fn write(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let facts = Facts::of(&Folder::read(directory)?);
    let mut written = Vec::new();
    let mut put = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).with_context(|| format!("{}: cannot be written", path.display()))?;
        written.push(path);
        anyhow::Ok(())
    };
    for figure in &facts.figures {
        put(&figure.file, &figure.wide)?;
    }
    put("summary.md", &markdown::summary(&facts))?;
    put("report.html", &page::html(&facts)?)?;
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::exit_code;
    use crate::report::folder::tests::manifest;
    use crate::report::measured::tests::{OLD_HEADER, old_row};

    fn flags(directories: Vec<PathBuf>) -> ReportArgs {
        ReportArgs { directories, index: None, json: false }
    }

    #[test]
    fn a_report_lies_beside_what_it_is_about_and_is_the_same_when_made_again() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let put = |name: &str, text: &str| fs::write(directory.path().join(name), text).expect("written");
        put("manifest.json", &manifest("hypostyle-bench run"));
        put("points.csv", &format!("{OLD_HEADER}\n{}\n", old_row(1, 0, 1000.0, "")));
        let flags = flags(vec![directory.path().to_owned()]);
        let written = run(&flags).expect("written").files;
        let names: Vec<_> = written.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        assert_eq!(names, ["throughput-latency.svg", "summary.md", "report.html"]);
        let read = || written.iter().map(|path| fs::read_to_string(path).expect("there")).collect::<Vec<_>>();
        let first = read();
        run(&flags).expect("written again");
        assert_eq!(read(), first);
    }

    #[test]
    fn nothing_to_report_on_is_wrong_usage() {
        assert_eq!(exit_code(&run(&flags(Vec::new())).expect_err("refused")), 2);
    }

    #[test]
    fn a_malformed_folder_gets_no_files() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let put = |name: &str, text: &str| fs::write(directory.path().join(name), text).expect("written");
        put("manifest.json", &manifest("hypostyle-bench run"));
        put("points.csv", &format!("{OLD_HEADER}\n{}\n", old_row(1, 0, f64::NAN, "")));
        let error = run(&flags(vec![directory.path().to_owned()])).expect_err("refused");
        assert!(error.to_string().contains("points.csv:2: throughput_ops_per_s is \"NaN\""), "{error:#}");
        assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 2);
    }
}
