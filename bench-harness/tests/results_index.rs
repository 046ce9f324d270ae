//! The index of the committed results: every folder is read, and `results/README.md` says what they say.

use std::fs;
use std::path::{Path, PathBuf};

use hypostyle_bench::report::contents;

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../results")
}

#[test]
fn every_committed_folder_is_in_an_index_made_anew() {
    let directory = tempfile::tempdir().expect("temporary directory");
    copy(&committed(), directory.path());
    fs::remove_file(directory.path().join("README.md")).expect("there was one");
    let index = contents(directory.path()).expect("every folder reads");
    let folders = manifests(directory.path());
    assert!(!folders.is_empty());
    for folder in folders {
        let manifest = fs::read_to_string(folder.join("manifest.json")).expect("a manifest");
        let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
        let words =
            manifest["command"].as_array().expect("a list").iter().map(|word| word.as_str().expect("a word"));
        let command = words.collect::<Vec<_>>().join(" ");
        assert!(index.contains(&command), "{command} is missing from:\n{index}");
    }
}

/// Until it is converted, what was written by hand stays as it is.
#[test]
fn the_committed_index_is_up_to_date() {
    let readme = fs::read_to_string(committed().join("README.md")).expect("there");
    match contents(&committed()) {
        Ok(generated) => assert_eq!(generated, readme, "run: hypostyle-bench report --index results"),
        Err(error) => {
            assert!(error.to_string().contains("intro.md"), "{error:#}");
            assert!(!readme.contains("<!-- begin: written by"), "it has markers, but: {error:#}");
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("created");
    for entry in fs::read_dir(from).expect("readable") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("copied");
        }
    }
}

fn manifests(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("readable") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(manifests(&path));
            if path.join("manifest.json").exists() {
                found.push(path);
            }
        }
    }
    found
}
