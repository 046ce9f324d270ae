//! Who may import whom (ARCHITECTURE.md), what a pure core may not touch, and what every member of the workspace
//! inherits. A rule that isn't tested is gone within a month.
#![allow(clippy::unwrap_used)]

use hypostyle_tests::source::{root, rust_files};
use std::collections::BTreeSet;
use std::fs;
use toml::{Table, Value};

struct Layer {
    folder: &'static str,
    package: &'static str,
    may_import: &'static [&'static str],
}

const LAYERS: &[Layer] = &[
    Layer { folder: "tests/probe", package: "hypostyle-probe", may_import: &[] },
    Layer { folder: "app-api", package: "hypostyle-app-api", may_import: &[] },
    Layer { folder: "crypto", package: "hypostyle-crypto", may_import: &["hypostyle-app-api"] },
    Layer { folder: "net", package: "hypostyle-net", may_import: &["hypostyle-app-api", "hypostyle-crypto"] },
    Layer {
        folder: "pillars",
        package: "hypostyle-pillars",
        may_import: &["hypostyle-app-api", "hypostyle-crypto", "hypostyle-probe"],
    },
    Layer {
        folder: "engine",
        package: "hypostyle",
        may_import: &[
            "hypostyle-app-api",
            "hypostyle-crypto",
            "hypostyle-net",
            "hypostyle-pillars",
            "hypostyle-probe",
        ],
    },
    Layer { folder: "bench-harness", package: "hypostyle-bench", may_import: &["hypostyle"] },
    Layer { folder: "tuning", package: "hypostyle-tuning", may_import: &["hypostyle", "hypostyle-bench"] },
    Layer {
        folder: "tests",
        package: "hypostyle-tests",
        may_import: &[
            "hypostyle-app-api",
            "hypostyle-crypto",
            "hypostyle-net",
            "hypostyle-pillars",
            "hypostyle-probe",
            "hypostyle",
            "hypostyle-bench",
            "hypostyle-tuning",
        ],
    },
    Layer { folder: "tests/verify", package: "hypostyle-verify", may_import: &[] },
];

/// What the core of a pillar may use from outside the repository: nothing that reads a clock, waits or talks.
const OF_A_CORE: &[&str] = &["bytes", "thiserror", "zerocopy"];

/// Where everything is sans I/O: the cores of ARCHITECTURE.md.
const CORES: &[&str] = &[
    "pillars/src/",
    "engine/src/node/",
    "engine/src/executor/",
    "engine/src/recovery/",
    "engine/src/reply/",
    "engine/src/transfer/",
    "engine/src/client/core",
    "engine/src/client/tally.rs",
    "engine/src/client/window.rs",
];

/// What no source of a pure core holds.
const IMPURE: &[&str] = &[
    "net::",
    "thread::",
    "fs::",
    "env::",
    "process::",
    "std::time::Instant",
    "Instant::now",
    "SystemTime",
    "HashMap",
    "HashSet",
    "RandomState",
    "Mutex",
    "RwLock",
    "Condvar",
    "async fn",
];

fn table(path: &str) -> Table {
    let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.parse().unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn manifest(layer: &Layer) -> Table {
    table(&format!("{}/Cargo.toml", layer.folder))
}

/// The names under `[kind]` of a manifest and of each of its `[target.*]`.
fn dependencies(manifest: &Table, kind: &str) -> Vec<(String, Value)> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let of_targets = targets.into_iter().flat_map(|targets| targets.values()).filter_map(Value::as_table);
    let all = std::iter::once(manifest).chain(of_targets).filter_map(|table| table.get(kind)?.as_table());
    all.flatten().map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// What ends up in the crate: dev-dependencies apart.
fn imports(manifest: &Table) -> BTreeSet<String> {
    let kinds = ["dependencies", "build-dependencies"];
    kinds.iter().flat_map(|kind| dependencies(manifest, kind)).map(|(name, _)| name).collect()
}

fn inherits(value: Option<&Value>) -> bool {
    value.and_then(|value| value.get("workspace")).and_then(Value::as_bool) == Some(true)
}

#[track_caller]
fn assert_none(offences: &[String], rule: &str) {
    assert!(offences.is_empty(), "{rule}:\n  {}", offences.join("\n  "));
}

#[test]
fn every_member_has_its_layer() {
    let workspace = table("Cargo.toml");
    let members: BTreeSet<&str> =
        workspace["workspace"]["members"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let layers: BTreeSet<&str> = LAYERS.iter().map(|layer| layer.folder).collect();
    assert_eq!(members, layers, "a new crate gets a line in LAYERS and in ARCHITECTURE.md");
    let architecture = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for layer in LAYERS {
        assert_eq!(manifest(layer)["package"]["name"].as_str(), Some(layer.package), "{}", layer.folder);
        let told = architecture.contains(&format!("| `{}` | {} |", layer.folder, layer.package));
        assert!(told || layer.folder == "tests/verify", "ARCHITECTURE.md has no line for {}", layer.folder);
    }
}

#[test]
fn a_crate_imports_only_what_its_layer_may() {
    let mut offences = Vec::new();
    for layer in LAYERS {
        let ours = imports(&manifest(layer)).into_iter().filter(|name| name.starts_with("hypostyle"));
        let wrong = ours.filter(|name| !layer.may_import.contains(&name.as_str()));
        offences.extend(wrong.map(|name| format!("{} imports {name}", layer.package)));
    }
    assert_none(&offences, "imports against the direction of ARCHITECTURE.md");
}

/// `tests` is imported by no one, and no crate reaches above itself even in its own tests.
#[test]
fn dev_dependencies_do_not_reach_above() {
    let mut offences = Vec::new();
    for (height, layer) in LAYERS.iter().enumerate() {
        let above: BTreeSet<&str> = LAYERS[height + 1..].iter().map(|layer| layer.package).collect();
        let names = dependencies(&manifest(layer), "dev-dependencies").into_iter().map(|(name, _)| name);
        let wrong = names.filter(|name| above.contains(name.as_str()));
        offences.extend(wrong.map(|name| format!("{} tests with {name}", layer.package)));
    }
    assert_none(&offences, "dev-dependencies that reach above");
}

#[test]
fn verify_needs_only_the_standard_library() {
    let manifest = table("tests/verify/Cargo.toml");
    assert_eq!(imports(&manifest), BTreeSet::new());
    assert!(dependencies(&manifest, "dev-dependencies").is_empty());
}

#[test]
fn a_core_depends_on_nothing_that_acts() {
    let names =
        imports(&table("pillars/Cargo.toml")).into_iter().filter(|name| !name.starts_with("hypostyle"));
    let wrong: Vec<String> = names.filter(|name| !OF_A_CORE.contains(&name.as_str())).collect();
    assert_none(&wrong, "pillars may not depend on");
}

#[test]
fn a_core_neither_acts_nor_looks_at_clocks() {
    let files = [rust_files("pillars/src"), rust_files("engine/src")].concat();
    for core in CORES {
        assert!(files.iter().any(|file| file.path.starts_with(core)), "{core} has moved");
    }
    // A core's tests may make up addresses and threads.
    let of_tests = |path: &str| path.contains("/tests/") || path.ends_with("/tests.rs");
    let in_core = |path: &str| CORES.iter().any(|core| path.starts_with(core)) && !of_tests(path);
    let cores = files.iter().filter(|file| in_core(&file.path));
    let offences: Vec<String> =
        cores.flat_map(|file| IMPURE.iter().flat_map(|words| file.places_of(words))).collect();
    assert_none(&offences, "not in a pure core");
}

#[test]
fn nothing_unsafe_can_come_into_the_interface_and_the_cores() {
    for crate_root in ["app-api/src", "pillars/src"] {
        let files = rust_files(crate_root);
        let library = files.iter().find(|file| file.path.ends_with("/src/lib.rs")).unwrap();
        assert!(library.code.contains("#![forbid(unsafe_code)]"), "{} must forbid unsafe_code", library.path);
    }
}

#[test]
fn every_member_inherits_from_the_workspace() {
    let mut offences = Vec::new();
    for layer in LAYERS {
        let manifest = manifest(layer);
        if !inherits(manifest.get("lints")) {
            offences.push(format!("{}: [lints] workspace = true", layer.folder));
        }
        for field in ["version", "edition", "rust-version", "license", "publish"] {
            if !inherits(manifest["package"].get(field)) {
                offences.push(format!("{}: {field}.workspace = true", layer.folder));
            }
        }
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let own = dependencies(&manifest, kind).into_iter().filter(|(_, value)| !inherits(Some(value)));
            offences.extend(own.map(|(name, _)| format!("{}: {name}.workspace = true", layer.folder)));
        }
    }
    assert_none(&offences, "not inherited");
}
