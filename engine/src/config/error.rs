use std::fmt;
use std::path::Path;

/// What is wrong with a configuration, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}\n  remedy: {remedy}")]
pub struct ConfigError {
    /// The place that has to change.
    pub place: Place,
    /// What is wrong there.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// Where a configuration is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A place in a file; line and column count from 1, columns in characters.
    At {
        /// The file as its reader named it.
        file: String,
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// A file as a whole.
    File(String),
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(String),
    /// A setting of a configuration that was built in memory or left at its default.
    Setting(String),
}

impl ConfigError {
    pub(crate) fn new(place: Place, wrong: Wrong) -> Self {
        Self { place, what: wrong.what, remedy: wrong.remedy }
    }

    /// A file that could not be read.
    pub(crate) fn unreadable(path: &Path, error: &std::io::Error, remedy: &str) -> Self {
        let place = Place::File(path.display().to_string());
        Self { place, what: format!("cannot be read: {error}"), remedy: remedy.to_owned() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Self::File(file) => f.write_str(file),
            Self::Environment(variable) => write!(f, "environment variable {variable}"),
            Self::Flag(flag) => f.write_str(flag),
            Self::Setting(name) => f.write_str(name),
        }
    }
}

/// What is wrong and its remedy, before the place is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) what: String,
    pub(crate) remedy: String,
}

impl Wrong {
    pub(crate) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}

/// The known word that `written` most likely meant: at most a third of it is mistyped.
pub(crate) fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (written.chars().count() / 3).max(1);
    let scored = known.into_iter().map(|word| (edits(written, word), word));
    scored.filter(|(edits, _)| *edits <= limit).min().map(|(_, word)| word)
}

/// "did you mean …?" or the list of what is known.
pub(crate) fn suggestion<'a>(written: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(written, known.clone()) {
        Some(word) => format!("did you mean \"{word}\"?"),
        None => format!("known are: {}", known.into_iter().collect::<Vec<_>>().join(", ")),
    }
}

/// Levenshtein's distance in characters.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_was_mistyped_only() {
        let known = ["pillars", "pipeline", "window"];
        assert_eq!(nearest("pilars", known), Some("pillars"));
        assert_eq!(nearest("pipelnie", known), Some("pipeline"));
        assert_eq!(nearest("durability", known), None);
        assert_eq!(suggestion("x", known), "known are: pillars, pipeline, window");
    }
}
