use std::path::PathBuf;

use clap::Args;

const REPORT_EXAMPLE: &str = "Examples:
  hypostyle-bench report target/bench/2026-11-21T19-12-45-000Z
  hypostyle-bench report --index results";

/// Flags of `report`.
#[derive(Clone, Debug, Args)]
#[command(after_help = REPORT_EXAMPLE)]
pub struct ReportArgs {
    /// Results folders, as `run` and the others write them. Each gets figures (.svg), summary.md and report.html.
    #[arg(value_name = "DIR")]
    pub directories: Vec<PathBuf>,
    /// Writes README.md in this directory anew, between its markers, from the results folders below it.
    #[arg(long, value_name = "RESULTS_DIR")]
    pub index: Option<PathBuf>,
    /// Print one JSON object: the files that were written.
    #[arg(long)]
    pub json: bool,
}
