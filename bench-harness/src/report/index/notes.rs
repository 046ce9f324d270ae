use std::path::Path;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use super::super::folder::read;

/// A hand-written `notes.md`: what a run or a part of it is for, and what it should reach.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Notes {
    /// What should be reached, and where it stands in the index.
    pub(crate) front: Front,
    /// The first heading.
    pub(crate) title: Option<String>,
    /// What follows it, as it is.
    pub(crate) text: String,
}

/// The lines between `+++` at the beginning of `notes.md`, as TOML.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Front {
    /// CPU-µs an operation, all replicas, scaled: worse than this was not to be.
    pub(crate) floor_cpu_us: Option<f64>,
    /// The same: what is aimed at.
    pub(crate) goal_cpu_us: Option<f64>,
    /// The pillar counts that floor and goal are for; all, where none is named.
    pub(crate) pillars: Vec<u32>,
    /// Parts of a run stand in this order.
    pub(crate) order: i64,
}

const FENCE: &str = "+++";

impl Notes {
    /// Those of a directory; nothing where there are none.
    ///
    /// # Errors
    /// Those of [`Notes::parse`], and of the file.
    pub(crate) fn of(directory: &Path) -> anyhow::Result<Self> {
        let file = directory.join("notes.md").display().to_string();
        Self::parse(&file, &read(directory, "notes.md")?.unwrap_or_default())
    }

    /// Reads the text of `file`.
    ///
    /// # Errors
    /// When the lines between `+++` are no TOML of the known keys.
    fn parse(file: &str, text: &str) -> anyhow::Result<Self> {
        let (front, rest) = match text.strip_prefix(FENCE) {
            None => (Front::default(), text),
            Some(after) => {
                let Some((front, rest)) = after.split_once("\n+++") else {
                    bail!("{file}: begins with {FENCE}, but no second {FENCE} ends the keys");
                };
                (toml::from_str(front).with_context(|| file.to_owned())?, rest)
            }
        };
        let rest = rest.trim();
        let (first, after) = rest.split_once('\n').unwrap_or((rest, ""));
        Ok(match first.strip_prefix("# ") {
            Some(title) => {
                Self { front, title: Some(title.trim().to_owned()), text: after.trim().to_owned() }
            }
            None => Self { front, title: None, text: rest.to_owned() },
        })
    }
}

impl Front {
    /// What a cell says of a floor or a goal with so many pillars.
    pub(crate) fn bound(&self, value: Option<f64>, pillars: u32) -> String {
        let holds = self.pillars.is_empty() || self.pillars.contains(&pillars);
        value.filter(|_| holds).map_or_else(String::new, |value| format!("≤ {value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_title_and_text_are_told_apart() {
        let notes = Notes::parse(
            "notes.md",
            "+++\nfloor_cpu_us = 4.0\npillars = [1, 2]\n+++\n# D, as fast as it goes\n\nText.\n\n## More\n",
        )
        .expect("parses");
        assert_eq!(notes.title.as_deref(), Some("D, as fast as it goes"));
        assert_eq!(notes.text, "Text.\n\n## More");
        assert_eq!(notes.front.bound(notes.front.floor_cpu_us, 2), "≤ 4");
        assert_eq!(notes.front.bound(notes.front.floor_cpu_us, 4), "");
        assert_eq!(notes.front.bound(notes.front.goal_cpu_us, 1), "");
    }

    #[test]
    fn notes_need_no_keys_and_no_title() {
        assert_eq!(Notes::parse("notes.md", "Only text.\n").expect("parses").text, "Only text.");
        assert_eq!(Notes::parse("notes.md", "").expect("parses"), Notes::default());
    }

    #[test]
    fn a_misspelt_key_is_refused_with_the_file() {
        for text in ["+++\nfloor = 4.0\n+++\n", "+++\norder = 1\n"] {
            let error = Notes::parse("d/notes.md", text).expect_err("refused");
            assert!(format!("{error:#}").starts_with("d/notes.md"), "{error:#}");
        }
    }
}
