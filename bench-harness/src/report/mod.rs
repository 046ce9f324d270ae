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
fn write(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
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
