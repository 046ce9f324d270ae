//! The repository's own Rust files, with comments and strings blanked out, for tests that hold rules about code.

use std::fs;
use std::path::{Path, PathBuf};

/// One file. `code` has the lines and columns of `text`, with spaces for comments and the contents of literals.
#[derive(Clone)]
pub struct Source {
    /// Relative to the repository's root.
    pub path: String,
    /// As it is written.
    pub text: String,
    /// What the compiler sees of it.
    pub code: String,
}

/// The repository's root.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Rust file under a folder of the repository ("" for all), by path; build output and hidden folders apart.
///
/// # Panics
/// When a file can't be read: a test that sees nothing would pass.
#[must_use]
pub fn rust_files(folder: &str) -> Vec<Source> {
    let root = root();
    let mut files = Vec::new();
    collect(&root.join(folder), &mut files);
    files.sort();
    files.iter().map(|file| Source::read(&root, file)).collect()
}

impl Source {
    fn read(root: &Path, file: &Path) -> Self {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let path = file.strip_prefix(root).unwrap_or(file).display().to_string();
        let code = blank(&text);
        Self { path, text, code }
    }

    /// The lines, counted from 1, whose code holds `words` with no further letter of a name before or after it.
    #[must_use]
    pub fn lines_with(&self, words: &str) -> Vec<usize> {
        let lines = self.code.lines().enumerate();
        lines.filter(|(_, line)| holds(line, words)).map(|(index, _)| index + 1).collect()
    }

    /// Where `words` stand in the code, as `path:line: words`.
    #[must_use]
    pub fn places_of(&self, words: &str) -> Vec<String> {
        self.lines_with(words).iter().map(|line| format!("{}:{line}: {words}", self.path)).collect()
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.unwrap_or_else(|error| panic!("{}: {error}", folder.display())).path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn holds(line: &str, words: &str) -> bool {
    let of_a_name = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(words).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + words.len()..].chars().next();
        let goes_on_before = of_a_name(before) && of_a_name(words.chars().next());
        let goes_on_after = of_a_name(after) && of_a_name(words.chars().next_back());
        !goes_on_before && !goes_on_after
    })
}

/// The text with everything but code replaced by spaces, line by line the same.
fn blank(text: &str) -> String {
    let mut blanked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let comment_or_literal = not_code(rest, blanked.chars().next_back());
        let (skipped, taken) = rest.split_at(comment_or_literal.unwrap_or(first.len_utf8()));
        if comment_or_literal.is_some() {
            blanked.extend(skipped.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        } else {
            blanked.push_str(skipped);
        }
        rest = taken;
    }
    blanked
}

/// The length of the comment or literal that `rest` begins with.
fn not_code(rest: &str, before: Option<char>) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    let in_a_name = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if !in_a_name && let Some(length) = raw_string(rest) {
        return Some(length);
    }
    match rest.as_bytes()[0] {
        b'"' => Some(quoted(rest, b'"')),
        b'\'' if is_character(rest) => Some(quoted(rest, b'\'')),
        _ => None,
    }
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let step = &rest.as_bytes()[at..];
        match step {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// `r"..."`, `br#"..."#` and so on.
fn raw_string(rest: &str) -> Option<usize> {
    let prefix = ["r", "br", "cr"].into_iter().find(|prefix| {
        rest.strip_prefix(prefix).is_some_and(|after| after.trim_start_matches('#').starts_with('"'))
    })?;
    let after = &rest[prefix.len()..];
    let hashes = after.len() - after.trim_start_matches('#').len();
    let opened = prefix.len() + hashes + 1;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(rest[opened..].find(&end).map_or(rest.len(), |at| opened + at + end.len()))
}

/// A quoted literal from its opening quote to its closing one.
fn quoted(rest: &str, quote: u8) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// Whether the apostrophe begins a character and not a lifetime or label.
fn is_character(rest: &str) -> bool {
    let mut after = rest.chars().skip(1);
    after.next() == Some('\\') || after.next() == Some('\'')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { path: "a.rs".into(), text: text.into(), code: blank(text) }
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        let text = "let a = \"unsafe \\\" unsafe\"; // unsafe\n/* unsafe /* unsafe */ unsafe */ let b = r#\"unsafe \" \"#;\n\
                    let c = ('\\'', '\"', br\"unsafe\"); /// unsafe\nfn f<'a>(x: &'a str) { unsafe { g(x) } }";
        assert_eq!(source(text).lines_with("unsafe"), [4]);
        assert!(source(text).code.contains("let b =") && source(text).code.contains("fn f<'a>(x: &'a str)"));
    }

    #[test]
    fn lines_stay_where_they_are() {
        let text = "a\n/* b\nc */ d\n\"e\nf\" g é \"é\" h";
        let code = source(text).code;
        assert_eq!(code.lines().count(), text.lines().count());
        assert_eq!(source(text).lines_with("h"), [5]);
    }

    #[test]
    fn words_are_whole() {
        let source =
            source("#![forbid(unsafe_code)]\nHashMap::new()\nMyHashMap::new()\nstd::net::TcpStream\n");
        assert!(source.lines_with("unsafe").is_empty());
        assert_eq!(source.places_of("HashMap"), ["a.rs:2: HashMap"]);
        assert_eq!(source.lines_with("std::net"), [4]);
    }

    #[test]
    fn finds_this_file() {
        let files = rust_files("tests/src");
        assert!(
            files
                .iter()
                .any(|file| file.path == "tests/src/source.rs" && file.text.contains("finds_this_file"))
        );
    }
}
