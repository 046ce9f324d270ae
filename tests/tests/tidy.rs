//! Rules of style that a compiler doesn't hold: short files, no stubs, `unsafe` only where it is explained, no sleep in
//! place of a condition.

use hypostyle_tests::source::{Source, root, rust_files};

/// A file that passes this has two subjects.
const LINES_MAX: usize = 500;

/// The files that may hold `unsafe`, each for one reason.
const UNSAFE_IN: &[&str] = &[
    // The counting global allocator: `GlobalAlloc` is an unsafe trait.
    "bench-harness/src/allocation.rs",
    // The same trait: who holds how much memory in the simulator.
    "tests/src/memory.rs",
];

/// The files that may sleep: between two looks at a process of which nothing can be waited for, with a deadline.
const SLEEP_IN: &[&str] = &[
    "bench-harness/src/cluster.rs",
    "bench-harness/src/measure.rs",
    "bench-harness/src/remote.rs",
    "bench-harness/tests/load.rs",
    "bench-harness/tests/run.rs",
    "tests/src/poll.rs",
];

/// How far above `unsafe` its SAFETY comment may stand.
const SAFETY_WITHIN: usize = 4;

fn everywhere(rule: impl Fn(&Source) -> Vec<String>) -> Vec<String> {
    let files = rust_files("");
    assert!(files.len() > 20, "the scan must see the repository");
    files.iter().flat_map(rule).collect()
}

#[track_caller]
fn assert_none(offences: &[String], rule: &str) {
    assert!(offences.is_empty(), "{rule}:\n  {}", offences.join("\n  "));
}

fn listed(list: &[&str], file: &Source) -> bool {
    list.contains(&file.path.as_str())
}

#[test]
fn files_are_short() {
    let long = everywhere(|file| {
        let lines = file.text.lines().count();
        (lines > LINES_MAX).then(|| format!("{}: {lines} lines", file.path)).into_iter().collect()
    });
    assert_none(&long, "more than 500 lines: two subjects");
}

#[test]
fn nothing_is_left_for_later() {
    let stubs = everywhere(|file| {
        let words = ["todo!", "unimplemented!", "#[ignore", "dbg!", "allow(dead_code"];
        // What several test binaries share, none of them uses whole.
        let shared = file.path.contains("/tests/common/");
        let wrong = words.iter().filter(|words| !(shared && **words == "allow(dead_code"));
        wrong.flat_map(|words| file.places_of(words)).collect()
    });
    assert_none(&stubs, "stubs, disabled tests, dead code");
}

#[test]
fn unsafe_stands_where_it_is_explained() {
    let offences = everywhere(|file| {
        let places = file.lines_with("unsafe");
        let allowed = listed(UNSAFE_IN, file);
        let wrong = places.into_iter().filter(|line| !(allowed && has_safety_comment(file, *line)));
        wrong.map(|line| format!("{}:{line}", file.path)).collect()
    });
    assert_none(&offences, "unsafe outside the files of UNSAFE_IN or without a SAFETY comment");
}

/// Signatures of unsafe functions carry none of their own: what they promise is written at the blocks inside.
fn has_safety_comment(file: &Source, line: usize) -> bool {
    let lines: Vec<&str> = file.text.lines().collect();
    let from = line.saturating_sub(SAFETY_WITHIN + 1);
    lines[line - 1].contains("unsafe fn") || lines[from..line].iter().any(|line| line.contains("// SAFETY:"))
}

#[test]
fn nothing_sleeps_in_place_of_a_condition() {
    let sleeps =
        everywhere(|file| if listed(SLEEP_IN, file) { Vec::new() } else { file.places_of("thread::sleep") });
    assert_none(&sleeps, "wait for the condition itself, or poll it with a deadline in a file of SLEEP_IN");
}

/// At most 300 lines, and every file it names is there: above all the test that holds an invariant.
#[test]
fn the_architecture_is_short_and_true() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is there");
    assert!(text.lines().count() <= 300, "ARCHITECTURE.md is too long to be read");
    let quoted = text.split('`').skip(1).step_by(2);
    let files =
        quoted.filter(|name| name.contains('/') && (name.ends_with(".rs") || name.ends_with(".toml")));
    let missing: Vec<String> = files.filter(|name| !root().join(name).exists()).map(String::from).collect();
    assert_none(&missing, "named in ARCHITECTURE.md, but not there");
}

#[test]
fn the_lists_name_files_that_need_them() {
    let files = rust_files("");
    for (list, words) in [(UNSAFE_IN, "unsafe"), (SLEEP_IN, "thread::sleep")] {
        for path in list {
            let used = files.iter().any(|file| file.path == *path && !file.lines_with(words).is_empty());
            assert!(used, "{path} no longer holds {words}: take it off the list");
        }
    }
}
