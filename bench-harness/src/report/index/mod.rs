mod notes;
mod run;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::folder::{is_results, read};
use crate::error::usage;
use run::Run;

pub(crate) use notes::Notes;

const BEGIN: &str =
    "<!-- begin: written by `hypostyle-bench report --index` from intro.md, notes.md and the results -->";
const END: &str = "<!-- end: written by `hypostyle-bench report --index` -->";

/// Writes the index of a directory of results.
pub(super) fn write(directory: &Path) -> anyhow::Result<PathBuf> {
    let text = contents(directory)?;
    let path = directory.join("README.md");
    fs::write(&path, text).with_context(|| format!("{}: cannot be written", path.display()))?;
    Ok(path)
}

/// `README.md` of a directory of results as it should be: what stands outside the markers stays.
///
/// # Errors
/// When there is a `README.md` without markers, no results folder, or a malformed file in one.
pub fn contents(directory: &Path) -> anyhow::Result<String> {
    let (before, after) = match read(directory, "README.md")? {
        None => (String::new(), String::new()),
        Some(readme) => match around_markers(&readme) {
            Some((before, after)) => (before.to_owned(), after.to_owned()),
            None => {
                return usage(format!(
                    "{}/README.md has no place for the index: move what was written by hand into intro.md and the \
                     folders' notes.md, and leave these two lines:\n{BEGIN}\n{END}",
                    directory.display()
                ));
            }
        },
    };
    let mut runs = runs(directory)?;
    if runs.is_empty() {
        return usage(format!("{}: no folder with a manifest.json below it", directory.display()));
    }
    // The newest first.
    runs.sort_by(|a, b| (b.began(), &b.name).cmp(&(a.began(), &a.name)));
    let intro = read(directory, "intro.md")?.unwrap_or_default();
    let mut text = format!("{before}{BEGIN}\n");
    if !intro.trim().is_empty() {
        text.push_str(intro.trim());
        text.push('\n');
    }
    runs.iter().for_each(|run| text.push_str(&run.section()));
    text.push_str(&format!("{END}{after}"));
    if after.is_empty() {
        text.push('\n');
    }
    Ok(text)
}

fn around_markers(readme: &str) -> Option<(&str, &str)> {
    let (before, rest) = readme.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some((before, after))
}

fn runs(directory: &Path) -> anyhow::Result<Vec<Run>> {
    let mut runs = Vec::new();
    for run in folders(directory)? {
        let mut parts: Vec<PathBuf> = folders(&run)?.into_iter().filter(|part| is_results(part)).collect();
        if is_results(&run) {
            parts.insert(0, run.clone());
        }
        if !parts.is_empty() {
            runs.push(Run::read(&run, &parts)?);
        }
    }
    Ok(runs)
}

/// The directories in this one, by name.
fn folders(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let place = || directory.display().to_string();
    let mut folders = Vec::new();
    for entry in fs::read_dir(directory).with_context(place)? {
        let path = entry.with_context(place)?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::exit_code;
    use crate::report::folder::tests::manifest;
    use crate::report::measured::tests::{OLD_HEADER, old_row};

    fn put(directory: &Path, name: &str, text: &str) {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("created");
        fs::write(path, text).expect("written");
    }

    fn part(directory: &Path, name: &str, began: u64, rows: &[String]) {
        let manifest = manifest(&format!("hypostyle-bench run --out results/{name}"))
            .replace("1795288365", &began.to_string());
        put(directory, &format!("{name}/manifest.json"), &manifest);
        put(directory, &format!("{name}/points.csv"), &format!("{OLD_HEADER}\n{}\n", rows.join("\n")));
    }

    /// Two runs, the newer one with two parts.
    fn results() -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("temporary directory");
        let root = directory.path();
        put(root, "intro.md", "# Results\n\nWritten by hand.\n");
        put(root, "simulator.csv", "a,b\n");
        part(root, "2026-01-01-aaa-old", 1_700_000_000, &[old_row(1, 0, 500.0, "")]);
        let rows = [old_row(1, 0, 1000.0, ""), old_row(1, 1, 3000.0, ""), old_row(2, 0, 7.0, "noisy")];
        part(root, "2026-02-02-bbb-new/a", 1_800_000_000, &rows);
        part(root, "2026-02-02-bbb-new/b", 1_800_000_100, &[old_row(1, 0, 9000.0, "")]);
        put(root, "2026-02-02-bbb-new/notes.md", "# The new run\n\nWhy it was made.\n");
        put(
            root,
            "2026-02-02-bbb-new/a/notes.md",
            "+++\nfloor_cpu_us = 4.0\ngoal_cpu_us = 2.2\npillars = [1]\norder = 10\n+++\n",
        );
        put(root, "2026-02-02-bbb-new/b/notes.md", "+++\norder = 5\n+++\n# Nine thousand\n");
        put(root, "2026-02-02-bbb-new/a/throughput-latency.svg", "<svg/>");
        directory
    }

    fn place(text: &str, what: &str) -> usize {
        text.find(what).unwrap_or_else(|| panic!("{what} in {text}"))
    }

    #[test]
    fn the_newest_run_comes_first_and_its_parts_are_rows_of_one_table() {
        let directory = results();
        let text = contents(directory.path()).expect("generates");
        assert!(place(&text, "Written by hand.") < place(&text, "## The new run"), "{text}");
        assert!(place(&text, "Why it was made.") < place(&text, "## 2026-01-01-aaa-old"), "{text}");
        assert!(
            place(&text, "| Nine thousand | 1 | 9,000 |")
                < place(&text, "| D, 24×100, batch 400 | 1 | 2,000")
        );
        assert!(text.contains("| ≤ 4 | ≤ 2.2 |"), "{text}");
        assert!(text.contains("hypostyle-bench run --out results/2026-02-02-bbb-new/b\n"), "{text}");
        assert!(text.contains("src=\"2026-02-02-bbb-new/a/throughput-latency.svg\""), "{text}");
        let marked =
            text.lines().find(|line| line.starts_with("|  | 2 |")).expect("a row of the marked setting");
        assert!(marked.starts_with("|  | 2 | marked | – / – | – |"), "{marked}");
        assert!(text.contains("noisy"), "{text}");
    }

    #[test]
    fn generating_again_changes_nothing_and_keeps_what_is_outside() {
        let directory = results();
        write(directory.path()).expect("written");
        let readme = directory.path().join("README.md");
        let first = fs::read_to_string(&readme).expect("there");
        write(directory.path()).expect("written");
        assert_eq!(fs::read_to_string(&readme).expect("there"), first);
        fs::write(&readme, format!("Above.\n{first}Below.\n")).expect("written");
        write(directory.path()).expect("written");
        assert_eq!(fs::read_to_string(&readme).expect("there"), format!("Above.\n{first}Below.\n"));
    }

    #[test]
    fn what_was_written_by_hand_is_never_overwritten() {
        let directory = results();
        fs::write(directory.path().join("README.md"), "By hand.\n").expect("written");
        let error = write(directory.path()).expect_err("refused");
        assert_eq!(exit_code(&error), 2);
        assert!(error.to_string().contains("intro.md"), "{error}");
        assert_eq!(fs::read_to_string(directory.path().join("README.md")).expect("there"), "By hand.\n");
    }

    #[test]
    fn a_directory_without_results_is_refused() {
        let directory = tempfile::tempdir().expect("temporary directory");
        assert_eq!(exit_code(&contents(directory.path()).expect_err("refused")), 2);
    }
}
